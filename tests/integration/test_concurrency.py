# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs at the same time: for one image they build once, for different images side by side."""

from __future__ import annotations

import itertools
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry
from ansible_collections.rootless.buildah.tests.integration.workshop import Workshop, recipe
from ansible_collections.rootless.buildah.tests.tools.waiting import until


@pytest.fixture
def workshop(builder: Builder, registry: Registry, base: str, request: pytest.FixtureRequest) -> Workshop:
    """An image of this test's own, and a directory ``shared`` that RUN steps write to."""
    shop = Workshop(builder, registry, base, request.node.name.removeprefix("test_").replace("_", "-"))
    shop.files("shared", ready="")
    # Volumes reach RUN steps without an entry in the key; each build executes its steps, whatever was built before.
    shop.options |= {"volumes": [f"{shop.path / 'shared'}:/shared"], "nocache": True}
    return shop


def at_once(workshop: Workshop, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run buildah_build several times at the same time."""
    with ThreadPoolExecutor(len(runs)) as pool:
        return list(pool.map(lambda options: workshop.build(**options), runs))


def shared(workshop: Workshop, name: str) -> Path:
    """Return a file that RUN steps find in /shared."""
    return workshop.path / "shared" / name


def test_runs_for_the_same_image_build_it_once(workshop: Workshop) -> None:
    text = recipe(workshop, "RUN echo run >>/shared/count; sleep 1; cat /proc/sys/kernel/random/uuid >/uuid")
    results = at_once(workshop, [text] * 4)
    assert shared(workshop, "count").read_text() == "run\n"
    assert sorted(result["built"] for result in results) == [False, False, False, True]
    assert sorted(result["changed"] for result in results) == [False, False, False, True]
    assert {(result["image_id"], result["digest"]) for result in results} == {
        (results[0]["image_id"], workshop.image().digest)
    }
    assert [step for result in results for step in result["steps"] if not result["built"]] == []


def test_runs_for_different_contents_of_one_image_take_turns(workshop: Workshop) -> None:
    texts = [recipe(workshop, f"RUN echo {number} >/n", beats(str(number), 5)) for number in range(3)]
    results = at_once(workshop, texts)
    assert [result["built"] for result in results] == [True] * 3
    order = turns(workshop)
    assert sorted(order) == ["0", "1", "2"]
    # The last one has the tag, the whole of it.
    assert workshop.image().file("n").strip() == order[-1]
    assert not workshop.build(**texts[int(order[-1])])["changed"]


def test_different_images_are_built_side_by_side(workshop: Workshop) -> None:
    # Each step waits for the others' beginning.
    names = ["one", "two", "three"]
    wait = "for _ in $(seq 300); do [ $(ls /shared | grep -c began) = 3 ] && exit 0; sleep 0.1; done; exit 1"
    runs = [
        {**recipe(workshop, f"RUN touch /shared/began-{name}; {wait}"), "name": f"{workshop.name}-{name}"}
        for name in names
    ]
    assert [result["built"] for result in at_once(workshop, runs)] == [True] * 3
    assert not any(result["changed"] for result in at_once(workshop, runs))


def test_what_a_killed_run_left_running_never_meets_the_next_one(workshop: Workshop) -> None:
    text = recipe(workshop, beats("$(cat /proc/sys/kernel/random/uuid)", 50))
    dead = workshop.builder.start({**workshop.options, **text})
    until(lambda: shared(workshop, "beats").exists())
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait()
    assert dead.stdout
    dead.stdout.close()
    assert workshop.build(**text)["built"]
    assert len(turns(workshop)) == 2
    assert not workshop.build(**text)["changed"]


def beats(name: str, times: int) -> str:
    """Return a step that notes its name in a file of all runs again and again, ten times a second."""
    return f"RUN name={name}; for _ in $(seq {times}); do echo $name >>/shared/beats; sleep 0.1; done"


def turns(workshop: Workshop) -> list[str]:
    """Return who noted its name in which order; somebody who was interrupted appears more than once."""
    return [name for name, _beats in itertools.groupby(shared(workshop, "beats").read_text().split())]

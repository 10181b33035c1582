# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._half_made import HalfMade, abandoned, half_made
from ansible_collections.rootless.buildah.plugins.module_utils._process import running_since, started

# 2026-11-29 00:41:12 UTC
CREATED, TEXT = 1795912872.25, "2026-11-29T00:41:12.25Z"


def store(root: Path, table: str, *containers: dict[str, str]) -> str:
    """Write a table of an image store as containers/storage does; return the store's directory."""
    (root / "overlay-containers").mkdir(parents=True, exist_ok=True)
    text = json.dumps([{"created": TEXT, **one} for one in containers])
    (root / f"overlay-containers/{table}.json").write_text(text)
    return str(root)


def test_a_container_without_a_word_of_its_maker_is_half_made(tmp_path: Path) -> None:
    podman = {"id": "other", "metadata": "{}"}
    lasting = store(tmp_path / "lasting", "containers", {"id": "half"}, {"id": "whole"}, podman)
    store(tmp_path / "lasting", "volatile-containers", {"id": "newer"}, {"id": "done"})
    passing = store(tmp_path / "passing", "volatile-containers", {"id": "light"})
    for name in ("whole", "done"):
        state = tmp_path / f"lasting/overlay-containers/{name}/userdata/buildah.json"
        state.parent.mkdir(parents=True)
        state.write_text("{}")
    found = half_made(lasting, passing)
    assert [(one.id, one.created) for one in found] == [(name, CREATED) for name in ("half", "newer", "light")]
    # Once it is whole it is not touched any more.
    assert [one.complete() for one in found] == [True] * 3
    assert half_made(lasting, passing) == []
    assert not found[0].complete()


@pytest.mark.parametrize("created", ["2026-11-29T00:41:12Z", "2026-11-29T00:41:12.123456789Z"])
def test_seconds_may_have_nine_digits_or_none(tmp_path: Path, created: str) -> None:
    root = store(tmp_path, "containers", {"id": "half", "created": created})
    assert [int(one.created) for one in half_made(root, root)] == [int(CREATED)]


@pytest.mark.parametrize("entry", [{}, {"id": "a"}, {"id": "a", "created": "yesterday"}, {"id": 1}, {"created": 1}])
def test_what_cannot_be_read_is_left_alone(tmp_path: Path, entry: dict[str, Any]) -> None:
    (tmp_path / "overlay-containers").mkdir()
    (tmp_path / "overlay-containers/containers.json").write_text(json.dumps([entry, "text", None]))
    assert half_made(str(tmp_path), str(tmp_path)) == []


@pytest.mark.parametrize("table", ["", "null", "[]", None])
def test_a_store_without_containers_has_none(tmp_path: Path, table: Optional[str]) -> None:
    root = store(tmp_path, "containers")
    path = tmp_path / "overlay-containers/containers.json"
    path.unlink() if table is None else path.write_text(table)
    assert half_made(root, root) == []


@pytest.mark.parametrize("busy_since, gone", [
    (None, True), (CREATED - 60, False), (CREATED, False), (CREATED + 1, False), (CREATED + 3, True),
])  # fmt: skip
def test_only_a_program_that_was_there_may_be_making_it(busy_since: Optional[float], gone: bool) -> None:
    half = HalfMade("half", CREATED, "/state")
    assert abandoned([half], since=0, looked=CREATED + 9, busy_since=busy_since) == ([half] if gone else [])


@pytest.mark.parametrize("since, looked, gone", [
    (CREATED - 1, CREATED + 0.1, True),
    # An older one is not of the run; the program of one that came after the look was not seen.
    (CREATED + 0.1, CREATED + 1, False), (CREATED - 1, CREATED, False),
])  # fmt: skip
def test_it_was_made_between_the_beginning_of_the_run_and_the_look(since: float, looked: float, gone: bool) -> None:
    half = HalfMade("half", CREATED, "/state")
    assert abandoned([half], since=since, looked=looked, busy_since=None) == ([half] if gone else [])


def test_it_is_known_since_when_a_program_runs() -> None:
    name = Path("/proc/self/cmdline").read_bytes().partition(b"\0")[0].decode()
    since = running_since(os.path.basename(name))
    own = started(os.getpid())
    assert since and own and since <= own + 0.1 <= time.time() + 0.2
    assert running_since("no-such-program", "nor-this") is None
    assert started(2**22 + 1) is None

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls are made again only for what may pass by itself: the option retries, with recorded messages of the tools."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS
from ansible_collections.rootless.buildah.plugins.module_utils._patience import Patience
from ansible_collections.rootless.buildah.plugins.module_utils._process import Completed

FIXTURES = Path(__file__).parents[3] / "fixtures"
RECORDINGS = sorted(
    path.relative_to(FIXTURES) for tool in ("skopeo-*", "buildah-*") for path in FIXTURES.glob(f"{tool}/refusals/*.txt")
)
IMAGE = ImageName.parse("registry.example.com/team/app:1")
# What a registry that is restarted, a proxy before it or a network that is disturbed answer. Everything else is an
# answer: a port where nothing listens, a login that is wrong, an image that is not there, a tag that may not be moved.
PASSING = {"500", "502", "503", "eof", "no-such-host"}


class Calls:
    """Stands for a program: ends in turn as it is told, the last way for ever, and notes calls and pauses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: str) -> None:
        self._ends = list(ends)
        self.events: list[object] = []
        monkeypatch.setattr(time, "sleep", self.events.append)

    def __call__(self) -> Completed:
        self.events.append("call")
        stderr = self._ends.pop(0) if len(self._ends) > 1 else self._ends[0]
        return Completed(["skopeo"], 1 if stderr else 0, f"{self.count}".encode(), stderr, 0.0)

    @property
    def count(self) -> int:
        return self.events.count("call")


def recorded(case: str) -> str:
    return (FIXTURES / f"skopeo-1.9.3/refusals/inspect-{case}.txt").read_text()


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_what_is_tried_again(monkeypatch: pytest.MonkeyPatch, recording: Path) -> None:
    calls = Calls(monkeypatch, (FIXTURES / recording).read_text())
    done = Patience(retries=2, delay=0.5).call(calls, IMAGE)
    assert done.rc == 1
    assert calls.count == (3 if recording.stem.partition("-")[2] in PASSING else 1)


def test_what_is_tried_again_was_recorded_with_both_tools() -> None:
    for tool in ("skopeo", "buildah"):
        assert {path.stem.partition("-")[2] for path in RECORDINGS if path.parts[0].startswith(tool)} >= PASSING


def test_a_registry_that_limits_requests_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, "toomanyrequests: You have reached your pull rate limit.", "")
    assert Patience(delay=0).call(calls, IMAGE).rc == 0 and calls.count == 2


def test_success_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, "")
    assert Patience().call(calls, IMAGE).rc == 0
    assert calls.events == ["call"]


def test_a_program_that_succeeds_may_warn() -> None:
    calls = []

    def warn() -> Completed:
        calls.append("call")
        return Completed(["skopeo"], 0, b"", recorded("503"), 0.0)

    Patience(delay=0).call(warn, IMAGE)
    assert calls == ["call"]


def test_the_first_success_ends_it_and_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, recorded("503"), recorded("500"), "")
    done = Patience(retries=5, delay=1.5).call(calls, IMAGE)
    assert (done.rc, done.text) == (0, "3")
    assert calls.events == ["call", 1.5, "call", 1.5, "call"]


def test_the_first_answer_ends_it_and_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, recorded("503"), recorded("no-password"))
    done = Patience(retries=5, delay=1.5).call(calls, IMAGE)
    assert done.stderr == recorded("no-password") and calls.events == ["call", 1.5, "call"]


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_there_is_one_call_more_than_retries_and_no_pause_at_the_end(
    monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    calls = Calls(monkeypatch, recorded("503"))
    done = Patience(retries, 0.25).call(calls, IMAGE)
    assert calls.events == ["call"] + [0.25, "call"] * retries
    # The last refusal is what the user is told.
    assert done.text == str(retries + 1)


def test_the_defaults_are_those_of_the_options() -> None:
    defaults = {option.name: option.spec.get("default") for option in OPTIONS}
    assert (Patience().retries, f"{Patience().delay:g}s") == (defaults["retries"], defaults["retry_delay"])


@pytest.mark.parametrize("image", ["registry.example.com/eof/503:EOF", "502.example.com/eof:no-such-host"])
def test_the_names_of_images_say_nothing(monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    source = ImageName.parse(image)
    # As skopeo 1.9.3 says it, see the fixtures.
    message = f"reading manifest {source.tag} in {source.repository}: manifest unknown: manifest unknown"
    for images in ((source,), (IMAGE, source)):
        calls = Calls(monkeypatch, message)
        Patience(delay=0).call(calls, *images)
        assert calls.count == 1

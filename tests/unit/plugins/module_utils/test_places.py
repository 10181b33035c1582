# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._places import (
    empty_places,
    image_places,
    owned_places,
    place_plan,
)

HOME = "/home/ci"


def made(path: str, own: bool) -> dict[str, Any]:
    return {"path": path, "own": own}


@pytest.mark.parametrize(
    "places, seen, foreign, make",
    [
        (["/srv/ci"], ["0 /", "0 /srv"], [], [made("/srv/ci", True)]),
        (["/srv/ci"], ["0 /", "0 /srv", "7 /srv/ci"], [], []),
        # Several users meet in what lies above; none of them may own it.
        (["/srv/a/b/ci"], ["0 /", "0 /srv"], [],
         [made("/srv/a", False), made("/srv/a/b", False), made("/srv/a/b/ci", True)]),
        (["/srv"], ["0 /", "0 /srv"], ["/srv"], []),
        (["/srv/ci"], ["0 /", "0 /srv", "8 /srv/ci"], ["/srv/ci"], []),
        (["/home/ci/a/b"], ["0 /", "0 /home", "7 /home/ci"], [],
         [made("/home/ci/a", True), made("/home/ci/a/b", True)]),
        # A place within a place is no reason to leave the outer one to root.
        (["/srv/i", "/srv/i/s/ci"], ["0 /", "0 /srv"], [],
         [made("/srv/i", True), made("/srv/i/s", False), made("/srv/i/s/ci", True)]),
        (["/srv//a b/"], ["0 /", "0 /srv", "8 /srv/a b"], ["/srv/a b"], []),
    ],
)  # fmt: skip
def test_only_what_is_missing_is_made(places: list[str], seen: list[str], foreign: list[str], make: Any) -> None:
    plan = place_plan(places, seen, "7", HOME)
    assert (plan["foreign"], plan["make"]) == (foreign, make)


def test_it_asks_for_places_and_all_above() -> None:
    assert place_plan(["/srv/a/ci", "/srv/b"], [], "7", HOME)["ask"] == ["/", "/srv", "/srv/a", "/srv/a/ci", "/srv/b"]


def test_a_noted_place_of_somebody_else_is_not_the_users() -> None:
    seen = ["7 /srv/a b", "0 /srv/b", "17 /srv/c"]
    assert owned_places(["/srv/a b", "/srv/b", "/srv/c", "/srv/d"], seen, "7") == ["/srv/a b"]


@pytest.mark.parametrize("place, noted, seen, going", [
    ("/srv/r", ["/srv/r"], ["7 /srv/r"], ["/srv/r"]),
    ("/srv/r", ["/srv/r", "/srv/old"], ["7 /srv/r", "7 /srv/old"], ["/srv/r", "/srv/old"]),
    # It was there before, and only what registries make is theirs.
    ("/srv/r", [], ["7 /srv/r"], ["/srv/r/docker/registry"]),
    ("/srv/r", ["/srv/old"], ["7 /srv/r", "0 /srv/old"], ["/srv/r/docker/registry"]),
    ("/srv", [], ["0 /srv"], []),
    ("/srv/r", ["/srv/r"], [], []),
])  # fmt: skip
def test_only_what_a_registry_made_goes_with_its_images(
    place: str, noted: list[str], seen: list[str], going: list[str]
) -> None:
    assert image_places(place, noted, seen, "7") == going
    # Without the user nothing is known to be the registry's.
    assert image_places(place, noted, seen, "") == []


@pytest.mark.parametrize("children, gone, found", [
    (["/s/a", "/s/a/ci"], ["/s/a/ci"], ["/s/a", "/s"]),
    (["/s/a", "/s/a/ci", "/s/a/other"], ["/s/a/ci"], []),
    (["/s/a", "/s/file"], [], ["/s/a"]),
    ([], [], ["/s/a", "/s"]),
])  # fmt: skip
def test_a_directory_goes_when_nothing_is_left_in_it(children: list[str], gone: list[str], found: list[str]) -> None:
    assert empty_places(["/s", "/s/a"], children, gone) == found

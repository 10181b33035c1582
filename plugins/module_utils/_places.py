# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directories of images that roles make, and those that they may take away. Pure."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any, Iterable, Sequence


def place_plan(places: Sequence[str], seen: Iterable[str], uid: str, home: str) -> dict[str, Any]:
    """Return what has to happen so that a user has its places. What is there is never changed.

    :param places: absolute paths.
    :param seen: ``stat --format='%u %n'`` of what ``ask`` names, without what is not there.
    :param uid: the user's number.
    :param home: what is made below it is the user's, too.
    :return: ``ask``, all paths that matter; ``foreign``, places that belong to somebody else; ``make``, what is
        missing, from above to below, each with ``path`` and ``own``, which is false where several users may meet.
    """
    wanted = [os.path.normpath(place) for place in places]
    above = {str(parent) for place in wanted for parent in PurePosixPath(place).parents}
    ask = sorted({*wanted, *above})
    owners = {path: owner for owner, path in (line.split(" ", 1) for line in seen)}
    return {
        "ask": ask,
        "foreign": [place for place in wanted if owners.get(place, uid) != uid],
        "make": [
            {"path": path, "own": path in wanted or PurePosixPath(home) in PurePosixPath(path).parents}
            for path in ask
            if path not in owners
        ],
    }


def owned_places(places: Iterable[str], seen: Iterable[str], uid: str) -> list[str]:
    """Return the places that are there and the user's.

    A note alone does not suffice: whoever was killed between note and directory made none, and somebody else may have
    made it since.

    :param seen: ``stat --format='%u %n'`` of the places.
    """
    lines = set(seen)
    return [place for place in places if f"{uid} {place}" in lines]


def image_places(place: str, noted: Sequence[str], seen: Iterable[str], uid: str) -> list[str]:
    """Return what goes with the images of a registry: what its role made, and elsewhere what only registries make.

    :param place: where the registry has its images now.
    :param noted: the directories that the role made for images; each goes as a whole.
    :param seen: ``stat --format='%u %n'`` of all of them.
    """
    lines = list(seen)
    there_before = [place] if place not in noted else []
    # Source: rootfs and version of distribution's storage drivers (registry/storage/paths.go, "/docker/registry/").
    return owned_places(noted, lines, uid) + [
        f"{owned}/docker/registry" for owned in owned_places(there_before, lines, uid)]


def empty_places(directories: Iterable[str], children: Iterable[str], gone: Iterable[str]) -> list[str]:
    """Return the directories that hold nothing any more, from below to above.

    :param children: the paths of what is in them.
    :param gone: what is removed before, or would be in check mode.
    """
    left = set(children) - set(gone)
    found: list[str] = []
    for directory in sorted(directories, reverse=True):
        if not any(os.path.dirname(child) == directory for child in left):
            found.append(directory)
            left.discard(directory)
    return found

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a list of images: who needs whom. Pure."""

from __future__ import annotations

from typing import Mapping, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError


def levels(names: Sequence[str], needs: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Return the names in levels: each image's bases are in earlier levels, the order within a level is the list's.

    :param needs: for each name those of the list that it is built from.
    :raises InputError: when images need each other in a circle.
    """
    left = list(names)
    done: set[str] = set()
    found = []
    while left:
        ready = [name for name in left if needs.get(name, frozenset()) <= done]
        if not ready:
            raise InputError(
                "images need each other in a circle",
                f"none of {', '.join(left)} can be built first",
                "Break the circle with another base",
            )
        found.append(ready)
        done.update(ready)
        left = [name for name in left if name not in done]
    return found

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SELinux has to learn of where a builder user has images, and to forget again. Pure."""

from __future__ import annotations

import os
from typing import Any, Container, Iterable, Sequence

#: The system's own store, which the policy knows.
LIKE = "/var/lib/containers/storage"
#: What lets containers use NFS: in the reference policy, Debian's, and where container-selinux adds to Fedora's.
#: The first that a policy has.
NFS_BOOLEANS = ("container_use_nfs", "virt_use_nfs")


def label_plan(places: Sequence[str], user: str, labels: Sequence[str], notes: Container[str]) -> dict[str, Any]:
    """Return which places are to be labelled as the system's own image store.

    :param places: where images are; absolute paths.
    :param labels: ``matchpathcon -n`` of what ``ask`` names.
    :param notes: the keys of the role's notes.
    :return: ``like``, the system's own store; ``ask``, the paths whose labels matter; ``add``, places that the policy
        does not know; ``relabel``, places whose content has other labels than the policy says, as far as the role
        knows.
    """
    known = [os.path.normpath(place) for place in places]
    # A label is user:role:type:level; homes have other users than the system, and only the type counts. Layers have a
    # type of their own.
    like, *types = [label.split(":")[2] for label in labels] or [""]
    add = [place for place, found in zip(known, types) if found != like]
    return {
        "like": LIKE,
        "ask": [f"{place}/overlay" for place in (LIKE, *known)],
        "add": add,
        "relabel": [place for place in known if place in add or f"relabel:{user}:{place}" in notes],
    }


def forget_plan(user: str, notes: Iterable[str]) -> dict[str, Any]:
    """Return what SELinux has to forget when a builder user goes.

    :param notes: the keys of the role's notes.
    :return: ``places`` that the policy shall not know any more; ``booleans`` that shall keep containers from NFS again,
        because no other builder user needs that; ``notes`` that are done with then.
    """
    label, relabel, booleans = f"selinux:{user}:", f"relabel:{user}:", [f"{name}:{user}" for name in NFS_BOOLEANS]
    keys = sorted(notes)
    places = [key[len(label):] for key in keys if key.startswith(label)]
    return {
        "places": places,
        "booleans": [name for name, key in zip(NFS_BOOLEANS, booleans) if _users(name, keys) == [key]],
        "notes": [key for key in keys if key in booleans or key.startswith((label, relabel))],
    }


def nfs_plan(lines: Sequence[str], user: str, notes: Iterable[str]) -> dict[str, Any]:
    """Return what is to be done so that a builder user's containers may use NFS, where images or the home lie on it.

    :param lines: what the role has asked: types of file systems, and what ``getsebool`` prints of booleans,
        ``container_use_nfs --> off``. Others do not matter.
    :param notes: the keys of the role's notes; whom the role has let use NFS before needs it as much as the first.
    :return: the ``boolean``; ``switch_on``, whether it is off; ``note``, the key of a note that this user lives by it,
        empty where there is one or the role has not switched it on. Nothing of it where no NFS is used, or where the
        policy has no boolean for it.
    """
    known = dict(line.split(" --> ", 1) for line in lines if " --> " in line)
    boolean = next((name for name in NFS_BOOLEANS if name in known), "")
    if "nfs" not in lines or not boolean:
        return {"boolean": "", "switch_on": False, "note": ""}
    off = known[boolean].strip() == "off"
    given = _users(boolean, notes)
    key = f"{boolean}:{user}"
    return {"boolean": boolean, "switch_on": off, "note": key if key not in given and (off or given) else ""}


def _users(boolean: str, notes: Iterable[str]) -> list[str]:
    """Return the notes of users that live by a boolean."""
    return [key for key in notes if key.startswith(f"{boolean}:")]

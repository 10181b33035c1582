# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SELinux has to learn of where a builder user has images, and to forget again. Pure."""

from __future__ import annotations

import os
from typing import Any, Container, Iterable, Sequence

#: The system's own store, which the policy knows.
LIKE = "/var/lib/containers/storage"


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
    :return: ``places`` that the policy shall not know any more; ``nfs``, whether container tools shall be kept from
        NFS, which no other builder user may need; ``notes`` that are done with then.
    """
    label, relabel, nfs = f"selinux:{user}:", f"relabel:{user}:", f"virt_use_nfs:{user}"
    keys = sorted(notes)
    places = [key[len(label):] for key in keys if key.startswith(label)]
    users = [key for key in keys if key.startswith("virt_use_nfs:")]
    return {
        "places": places,
        "nfs": users == [nfs],
        "notes": [key for key in keys if key == nfs or key.startswith((label, relabel))],
    }


def needs_nfs(user: str, boolean: str, notes: Iterable[str]) -> bool:
    """Return whether it is to be noted that container tools may use NFS for a builder user because the role lets them.

    :param boolean: what ``getsebool`` prints.
    :param notes: the keys of the role's notes; whom the role has let use it before needs it as much as the first.
    """
    given = [key for key in notes if key.startswith("virt_use_nfs:")]
    return f"virt_use_nfs:{user}" not in given and (bool(given) or not boolean.rstrip().endswith(" on"))

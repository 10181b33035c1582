# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Working containers that buildah was killed over: in the image store already, and unknown to buildah itself.

buildah has the store make a container, and writes into it what it is (buildah, new.go: newBuilder). In between nothing
tells whose it is; what is left then is not among ``buildah containers`` and keeps the image that it was made from.
Touches no Ansible.
"""

from __future__ import annotations

import calendar
import glob
import json
import os
import time
from dataclasses import dataclass
from typing import Iterable, Optional

#: Seconds that the start of a process, which is counted in ticks of the kernel, may be off.
_SLACK = 2


@dataclass(frozen=True)
class HalfMade:
    """A container without a word of buildah's.

    :param created: in seconds since the epoch, rounded down.
    """

    id: str
    created: float


def half_made(graph_root: str, run_root: str) -> list[HalfMade]:
    """Return the half-made containers of an image store.

    :param graph_root: and ``run_root``, where that keeps what a reboot takes, as ``buildah info`` tells them.
    """
    found = []
    for root, name in ((graph_root, "containers.json"), (run_root, "volatile-containers.json")):
        for path in glob.glob(os.path.join(glob.escape(root), "*-containers", name)):
            try:
                with open(path, encoding="utf-8") as file:
                    containers = json.load(file) or []
            except (OSError, ValueError):
                continue
            kind = os.path.basename(os.path.dirname(path))
            for one in containers:
                state = os.path.join(graph_root, kind, one["id"], "userdata", "buildah.json")
                # podman and others note there what a container is to them, in the same moment.
                if not one.get("metadata") and not os.path.exists(state):
                    created = calendar.timegm(time.strptime(one["created"][:19], "%Y-%m-%dT%H:%M:%S"))
                    found.append(HalfMade(one["id"], created))
    return found


def abandoned(containers: Iterable[HalfMade], busy_since: Optional[float]) -> list[HalfMade]:
    """Return the containers that nobody goes on making.

    :param busy_since: since when the oldest program runs that makes containers, in seconds since the epoch; None
        when there is none. A program that is younger than a container does not make it.
    """
    return [one for one in containers if busy_since is None or busy_since > one.created + _SLACK]

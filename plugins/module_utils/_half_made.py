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
from typing import Any, Iterable, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._process import START_SLACK

#: What buildah calls a container of its own (buildah.go: containerType).
_TYPE = "buildah 0.0.1"


@dataclass(frozen=True)
class HalfMade:
    """A container without a word of its maker.

    :param created: in seconds since the epoch.
    :param state: the path of the file that buildah would have written next.
    """

    id: str
    created: float
    state: str

    def complete(self) -> bool:
        """Write what ``buildah rm`` needs to know, for it refuses a container that has neither a state nor an image.

        :return: False when it is not half-made any more.
        """
        try:
            os.makedirs(os.path.dirname(self.state), mode=0o700, exist_ok=True)
            with open(self.state, "x", encoding="ascii") as file:
                json.dump({"type": _TYPE, "container-id": self.id}, file)
        except OSError:
            return False
        return True


def half_made(graph_root: str, run_root: str) -> list[HalfMade]:
    """Return the half-made containers of an image store.

    :param graph_root: and ``run_root``, as ``buildah info`` tells them.
    """
    # buildah's are volatile since storage 1.45, and lie in the run root with transient_store only (containers.go:
    # newContainerStore).
    tables = (
        (graph_root, "containers.json"),
        (graph_root, "volatile-containers.json"),
        (run_root, "volatile-containers.json"),
    )
    found = []
    for root, name in tables:
        for path in glob.glob(os.path.join(glob.escape(root), "*-containers", name)):
            try:
                with open(path, encoding="utf-8") as file:
                    containers = list(json.load(file) or ())
            except (OSError, TypeError, ValueError):
                continue
            kind = os.path.join(graph_root, os.path.basename(os.path.dirname(path)))
            found += [half for half in (_half_made(kind, one) for one in containers) if half]
    return found


def _half_made(directory: str, entry: Any) -> Optional[HalfMade]:
    """Return a container of a table if it is half-made."""
    try:
        # podman and others note there what a container is to them, in the same moment.
        if entry.get("metadata"):
            return None
        # RFC 3339 in UTC, with up to nine digits behind the point.
        whole, _point, rest = entry["created"].rstrip("Z").partition(".")
        created = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{rest or 0}")
        half = HalfMade(entry["id"], created, os.path.join(directory, entry["id"], "userdata", "buildah.json"))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    try:
        os.stat(half.state)
    except FileNotFoundError:
        return half
    except OSError:
        pass
    return None


def abandoned(
    containers: Iterable[HalfMade], *, since: float, looked: float, busy_since: Optional[float]
) -> list[HalfMade]:
    """Return the containers that nobody goes on making. All times are in seconds since the epoch.

    :param containers: as they were after the look at the programs that run.
    :param since: when the run began that is tidied up after; what is older was not made by it.
    :param looked: when that look began. A program that came later makes later containers.
    :param busy_since: since when the oldest program that may make containers was running then; None when none was. One
        that is younger than a container does not make it, and one that had ended has written its file.
    """
    return [
        one
        for one in containers
        if since <= one.created < looked and (busy_since is None or busy_since > one.created + START_SLACK)
    ]

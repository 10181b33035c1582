# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which isolation RUN steps get where the user does not say. Touches no Ansible."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from typing import Callable, Optional

from ansible_collections.rootless.buildah.plugins.module_utils import _containers_conf as containers_conf
from ansible_collections.rootless.buildah.plugins.module_utils._errors import CommandError
from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner

MOUNTS = "/proc/self/mountinfo"
UNSHARE = ("--user", "--map-root-user")  # a user namespace with a root in it, as buildah makes one
RUNTIMES = ("crun", "runc")  # buildah takes the first that is there (containers/common: findRuntime)
# Which hierarchies a host has: version 2 only, both with controllers, none but version 1 with any, none at all.
V2, HYBRID, V1, NONE = "v2", "hybrid", "v1", "none"


@dataclass(frozen=True)
class HostFacts:
    """What the choice depends on.

    :param cgroup: V2, HYBRID, V1 or NONE.
    :param programs: those that are installed, of RUNTIMES at least.
    :param requested: the value of BUILDAH_ISOLATION, in the environment or in containers.conf.
    :param proc_masked: no process here can mount /proc anew, as runtimes do for each RUN step.
    """

    cgroup: str
    programs: Collection[str]
    requested: Optional[str] = None
    proc_masked: bool = False


def choose(facts: HostFacts) -> Optional[str]:
    """Return buildah's isolation, None for its own default.

    Where no OCI runtime works chroot is all that is left, with what that means: a RUN step shares the PID and network
    namespaces of the build.
    """
    if facts.requested:
        return facts.requested
    works = has_runtime(facts.programs) and not cgroup_refused(facts.cgroup, facts.programs) and not facts.proc_masked
    return None if works else "chroot"


def has_runtime(programs: Collection[str]) -> bool:
    """Say whether an OCI runtime is among some programs."""
    return any(name in programs for name in RUNTIMES)


def cgroup_refused(cgroup: str, programs: Collection[str]) -> bool:
    """Say whether the runtime that builds take refuses to start users' containers with such a cgroup hierarchy.

    Neither minds that a user may make no cgroup: both do without. crun refuses controllers in version 2 beside those of
    version 1 (its cgroup.c: libcrun_cgroup_enter), and both may refuse where there is no hierarchy at all.
    """
    return cgroup == NONE or (cgroup == HYBRID and "crun" in programs)


def cgroup_hierarchy(root: str = "/") -> str:
    """Return V2, HYBRID, V1 or NONE, by where systemd mounts them.

    :param root: where the host's files are.
    """
    place = os.path.join(root, "sys/fs/cgroup")
    try:
        names = os.listdir(place)
    except OSError:
        return NONE
    if "cgroup.controllers" in names:
        return V2
    try:
        with open(os.path.join(place, "unified/cgroup.controllers"), encoding="ascii") as file:
            return HYBRID if file.read().strip() else V1
    except OSError:
        return V1 if names else NONE


def proc_covered(mounts: str) -> bool:
    """Say whether something is mounted below /proc.

    :param mounts: the text of /proc/PID/mountinfo.
    """
    return bool(re.search(r"(?m)^\d+ \d+ \S+ \S+ /proc/", mounts))


def proc_masked(mounts: str, unshare: Callable[..., Optional[tuple[int, str]]]) -> bool:
    """Say whether no process here can mount /proc anew: the kernel refuses where parts of the present one are covered.

    There are mounts that it does not mind (fs/namespace.c: mnt_already_visible), so it is tried.

    :param unshare: calls unshare(1) with UNSHARE and more; returns exit status and words, None where it cannot.
    """
    if not proc_covered(mounts):
        return False
    answer = unshare("--mount", "--pid", "--fork", "--mount-proc", "true")
    return answer is not None and answer[0] != 0 and "mount /proc failed" in answer[1]


def observe(path: str, home: str) -> HostFacts:
    """Look at this host.

    :param path: the search path for programs.
    :param home: of the user who builds.
    """

    def unshare(*words: str) -> Optional[tuple[int, str]]:
        try:
            done = Runner({"PATH": path}).run(["unshare", *UNSHARE, *words], check=False)
        except CommandError:
            return None
        return done.rc, done.stderr

    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        mounts = file.read()
    return HostFacts(
        cgroup=cgroup_hierarchy(),
        programs=[name for name in RUNTIMES if shutil.which(name, path=path)],
        requested=os.environ.get("BUILDAH_ISOLATION")
        or containers_conf.variable("BUILDAH_ISOLATION", containers_conf.read(home)),
        proc_masked=proc_masked(mounts, unshare),
    )

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which isolation RUN steps get where the user does not say. Touches no Ansible."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class HostFacts:
    """What the choice depends on.

    :param cgroup_v2_only: the unified hierarchy is the only one.
    :param runtime: an OCI runtime (crun or runc) is installed.
    :param requested: the value of BUILDAH_ISOLATION.
    """

    cgroup_v2_only: bool
    runtime: bool
    requested: Optional[str] = None


def choose(facts: HostFacts) -> Optional[str]:
    """Return buildah's isolation, None for its own default.

    A rootless OCI runtime needs a delegated cgroup v2: crun refuses a hybrid hierarchy and runc a v1 one. There
    chroot is all that is left, with what that means: a RUN step shares the PID and network namespaces of the build.
    """
    if facts.requested:
        return facts.requested
    if facts.runtime and facts.cgroup_v2_only:
        return None
    return "chroot"


def observe(path: str) -> HostFacts:
    """Look at this host; ``path`` is the search path for programs."""
    return HostFacts(
        cgroup_v2_only=os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
        runtime=any(shutil.which(name, path=path) for name in ("crun", "runc")),
        requested=os.environ.get("BUILDAH_ISOLATION"),
    )

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of what makes rootless builds fail: data in one place for all who explain failures. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional, Pattern


@dataclass(frozen=True)
class Finding:
    """A known cause.

    :param id: its name for ever.
    :param pattern: what tools print when it strikes.
    :param remedy: what to do, naming the role that does it.
    """

    id: str
    pattern: Pattern[str]
    cause: str
    remedy: str


def _finding(name: str, pattern: str, cause: str, remedy: str) -> Finding:
    return Finding(name, re.compile(pattern), cause, remedy)


# The first that matches counts: the most specific message stands first.
FINDINGS: tuple[Finding, ...] = (
    _finding(
        "userns_off",
        r"User namespaces are not enabled in /proc/sys/user/max_user_namespaces"
        r"|unshare\(CLONE_NEWUSER\): (Invalid argument|No space left on device)",
        "user namespaces are switched off, or there are too few",
        "Raise user.max_user_namespaces (role userns)",
    ),
    _finding(
        "userns_blocked",
        r"unshare\(CLONE_NEWUSER\): Operation not permitted",
        "unprivileged user namespaces are blocked by a sysctl, AppArmor or seccomp",
        "Allow them for the builder user (role userns)",
    ),
    _finding(
        "subid_missing",
        r"no subuid ranges found|cannot find (UID|GID)/(UID|GID) for user|"
        r"potentially insufficient UIDs or GIDs available in user namespace|"
        r"error setting owner of .*: chown .*: invalid argument",
        "the builder user has no or too few subordinate ids",
        "Allocate them (role subid)",
    ),
    _finding(
        "newuidmap",
        r"new[ug]idmap: .*(not found|not permitted)|exec: \\?\"new[ug]idmap|"
        r"writing \\?\".*\" to /proc/\d+/[ug]id_map: .*not permitted",
        "the id map could not be written: newuidmap or newgidmap is missing or has no privilege",
        "Install uidmap with its setuid bit or file capabilities (role builder_tools)",
    ),
    _finding(
        "netavark_missing",
        r"could not find \"netavark\"",
        "netavark is not where buildah looks for it",
        "Install netavark (role builder_tools)",
    ),
    _finding(
        "network_helper",
        r"failed to read from slirp4netns sync pipe|could not find (slirp4netns|pasta)|pasta failed with exit code",
        "the network of RUN steps cannot be made: slirp4netns or pasta is missing, or users cannot open /dev/net/tun",
        "Install them (role builder_tools), load the module tun, give a container the device, "
        "let users open /dev/net/tun (mode 0666); or use network: host",
    ),
    _finding(
        "cgroup_hybrid",
        r"cgroups in hybrid mode not supported",
        "crun cannot use a hybrid cgroup hierarchy",
        "Use isolation: chroot, or boot with cgroup v2 only (role crun decides)",
    ),
    _finding(
        "runtime_missing",
        r"default OCI runtime \"[^\"]*\" not found|exec: \"(crun|runc)\": executable file not found",
        "the OCI runtime is not installed",
        "Install crun (role crun)",
    ),
    _finding(
        "native_overlay",
        r"/merged(, mount_data=.*)?: invalid argument",
        "the kernel and the overlay driver do not fit together",
        "Use fuse-overlayfs 0.7.6 or newer, or a kernel from 5.13 on (roles fuse and builder_tools)",
    ),
    _finding(
        "not_unshared",
        r"cannot mount using driver \S+ in rootless mode",
        "buildah mount was called outside of the builder user's user namespace",
        "Call it under buildah unshare, as native scripts are",
    ),
    _finding(
        "mount_denied",
        r"remount /, flags: 0x44000: permission denied",
        "a security module (AppArmor or SELinux) forbids mounts",
        "Run the pod with the profile of role cluster_node",
    ),
    _finding(
        "disk_full",
        r"no space left on device",
        "the disk that holds the image store is full",
        "Free space, or prune images (role builder)",
    ),
)


def finding_for(output: str) -> Optional[Finding]:
    """Return the known cause that a failed program's output points to."""
    return next((finding for finding in FINDINGS if finding.pattern.search(output)), None)

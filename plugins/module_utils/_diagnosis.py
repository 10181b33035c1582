# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which findings the facts of a host amount to. Pure.

One check for each finding: it returns the evidence, or nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable

from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID, ERROR, Finding
from ansible_collections.rootless.buildah.plugins.module_utils._host_facts import (
    CAPABILITIES,
    NETWORK_FILESYSTEMS,
    POD_ROOT,
    POD_USER,
    ROOM,
    Facts,
    Subids,
    can_be_native,
    mount_program_filesystems,
    version,
)
from ansible_collections.rootless.buildah.plugins.module_utils._isolation import (
    HostFacts,
    cgroup_refused,
    choose,
    has_runtime,
)
from ansible_collections.rootless.buildah.plugins.module_utils._options import FLOOR
from ansible_collections.rootless.buildah.plugins.module_utils._remedies import commands_for, network_command, no_home
from ansible_collections.rootless.buildah.plugins.module_utils._shadow import root_is_lent
from ansible_collections.rootless.buildah.plugins.module_utils._subid import outside

ENOUGH_IDS = 65536  # uids and gids of distributions are 16 bits wide
ENOUGH_IN_POD = ENOUGH_IDS - 2  # of those that a pod has one is the user's own, and one is root's
ENOUGH_NAMESPACES = 100  # each RUN step of each build has some, and other users have theirs
FULL, LOW = 256 * 2**20, ROOM  # bytes: a base image does not fit any more; an application's does not
FULL_INODES, LOW_INODES = 1000, 50000  # the same in files
NO_CNI_FROM = (1, 35, 0)  # containers/common 0.58
# Of those that need a mount program, where containers/storage tries one overlay and then looks for fuse-overlayfs
# (drivers/overlay: Init). The others are shared disks and hypervisors', of which nothing was seen.
TRIED_FILESYSTEMS = ("overlay", "aufs", "ecryptfs", "zfs")
OLDEST_FUSE_OVERLAYFS = (0, 7, 6)
OLDEST_RUNC = (1, 0, 0)


def isolated_by_runtime(facts: Facts) -> bool:
    """Say whether RUN steps would get an OCI runtime."""
    return choose(_chosen_by(facts)) != "chroot"


def _chosen_by(facts: Facts) -> HostFacts:
    return HostFacts(facts.cgroup, facts.tools, facts.isolation, facts.proc_masked)


def _userns_off(facts: Facts) -> str:
    few = facts.max_user_namespaces is not None and facts.max_user_namespaces < ENOUGH_NAMESPACES
    return f"user.max_user_namespaces is {facts.max_user_namespaces}" if few else ""


def _userns_blocked(facts: Facts) -> str:
    # The kernel wants SETFCAP of a root who maps itself.
    if _userns_off(facts) or not facts.userns_error or (_pod_capabilities(facts) and "uid_map" in facts.userns_error):
        return ""
    settings = {
        "kernel.unprivileged_userns_clone": facts.unprivileged_userns_clone == 0,
        "kernel.apparmor_restrict_unprivileged_userns": bool(facts.apparmor_restrict_unprivileged_userns),
    }
    named = [f"{name} is {'0' if name.endswith('clone') else '1'}" for name, blocks in settings.items() if blocks]
    filtered = ["a seccomp filter is in force"] if facts.profile and facts.seccomp else []
    return "; ".join([facts.userns_error, *named, *filtered])


def _of_both(facts: Facts, words: Callable[[Subids], str]) -> str:
    """Return what is to be said of uids and of gids."""
    place = "/etc/" if facts.subid_service == "files" else f"{facts.subid_service}, "
    both = (("subuid", words(facts.subuid)), ("subgid", words(facts.subgid)))
    return "; ".join(f"{place}{name}: {text}" for name, text in both if text)


def _subid_missing(facts: Facts) -> str:
    if facts.subid_closed:
        return ""  # what is in it cannot be told
    if not facts.has_account:
        return f"no account has the uid {facts.uid}, and newuidmap serves nobody else"
    unread = f"this buildah reads the files only: {'; '.join(facts.subid_unread)}" if facts.subid_unread else ""
    return _of_both(facts, lambda ids: "" if ids.ranges else f"no range of {facts.user}") or unread


def _subid_unreadable(facts: Facts) -> str:
    # Another service than the files is asked by getsubids.
    closed = facts.subid_closed if facts.subid_service == "files" else ()
    return f"{facts.user} may not read {' and '.join(closed)}" if closed else ""


def _subid_malformed(facts: Facts) -> str:
    return "; ".join(facts.subid_refused)


def _subid_short(facts: Facts) -> str:
    enough = ENOUGH_IN_POD if facts.profile else ENOUGH_IDS
    return _of_both(facts, lambda ids: f"{ids.count} ids of {enough}" if ids.ranges and ids.count < enough else "")


def _subid_doubled(facts: Facts) -> str:
    return _of_both(facts, lambda ids: ", ".join(ids.doubled))


def _subid_shared(facts: Facts) -> str:
    return _of_both(facts, lambda ids: ", ".join(ids.shared))


def _subid_covers_account(facts: Facts) -> str:
    return _of_both(facts, lambda ids: ", ".join(ids.covered[:5]))


def _newuidmap(facts: Facts) -> str:
    said = []
    for name, helper in (("newuidmap", facts.newuidmap), ("newgidmap", facts.newgidmap)):
        if not helper.path:
            said.append(f"{name} is not installed")
        elif helper.kind == "none":
            said.append(f"{helper.path} has mode {helper.mode} and no right to write maps")
    return "; ".join(said)


def _single_mapping(facts: Facts) -> str:
    if not facts.mapping_error or _pod_capabilities(facts):
        return ""
    known = {
        "no_new_privs is set": facts.no_new_privs,
        "CAP_SYS_ADMIN is not to be had": not facts.sys_admin,
        "this container lacks ids of the user's ranges": any(
            lacking.overlaps(item) for lacking in outside(facts.uid_map) for item in facts.subuid.ranges),
    }
    return "; ".join([facts.mapping_error, *(words for words, true in known.items() if true)])


def _tools_missing(facts: Facts) -> str:
    missing = [name for name in ("buildah", "skopeo") if name not in facts.tools]
    said = [f"not in PATH: {', '.join(missing)}"] if missing else []
    found = facts.tools.get("buildah")
    if found and version(found) < FLOOR:
        said.append(f"buildah is {found}, {'.'.join(map(str, FLOOR))} is needed")
    return "; ".join(said)


def _netavark_missing(facts: Facts) -> str:
    found = facts.tools.get("buildah")
    if not found:
        return ""
    # An older one takes CNI where netavark is missing and nobody demands it.
    with_cni = version(found) < NO_CNI_FROM
    if facts.network_backend == "cni" and facts.network_backend_named and not with_cni:
        return f"containers.conf sets network_backend to cni, which buildah {found} does not have"
    wanted = facts.network_backend == "netavark" or not with_cni
    return "it is in none of buildah's helper directories" if wanted and not facts.netavark else ""


def _network_helper(facts: Facts) -> str:
    # Chroot isolation shares the network of the host; and which program it is, buildah's version decides.
    if not isolated_by_runtime(facts) or not facts.tools.get("buildah"):
        return ""
    if network_command(facts) not in facts.tools:
        return f"{network_command(facts)}, which this buildah uses, is not in PATH"
    return "" if facts.tun_device == "open" else f"/dev/net/tun is {facts.tun_device}"


def _cgroup_hybrid(facts: Facts) -> str:
    refused = has_runtime(facts.tools) and cgroup_refused(facts.cgroup, facts.tools)
    return f"the cgroup hierarchy is {facts.cgroup}" if refused else ""


def _runtime_missing(facts: Facts) -> str:
    if facts.runtime and not facts.runtime_path:
        return f"containers.conf makes {facts.runtime} the default runtime, and it is not in PATH"
    return "" if has_runtime(facts.tools) else "neither crun nor runc is in PATH"


def _crun_missing(facts: Facts) -> str:
    if facts.cgroup != "v2" or "crun" in facts.tools or "runc" not in facts.tools:
        return ""
    old = " and too old" if version(facts.tools["runc"]) < OLDEST_RUNC else ""
    return f"runc {facts.tools['runc']} is all there is{old}"


def _needs_fuse(facts: Facts) -> bool:
    store = facts.store
    return store.driver in ("", "overlay") and (facts.native_overlay is False or _is_fuse(facts))


def _is_fuse(facts: Facts) -> bool:
    store = facts.store
    return store.driver != "vfs" and (
        store.mount_program.endswith("fuse-overlayfs") or store.made_with_fuse or _takes_fuse(facts))


def _takes_fuse(facts: Facts) -> bool:
    """Say whether buildah finds out that an overlay cannot be there and takes fuse-overlayfs by itself.

    A ZFS that could (2.2) and a buildah that does not know it are left out: no distribution has both.
    """
    kind = facts.store.filesystem
    there = kind in mount_program_filesystems(facts.tools) and kind in TRIED_FILESYSTEMS
    return there and not facts.store.mount_program and "fuse-overlayfs" in facts.tools


def _fuse_missing(facts: Facts) -> str:
    if not _needs_fuse(facts):
        return ""
    if "fuse-overlayfs" not in facts.tools:
        return "fuse-overlayfs is not in PATH"
    return "" if facts.fuse_device == "open" else f"/dev/fuse is {facts.fuse_device}"


def _native_overlay(facts: Facts) -> str:
    found = facts.tools.get("fuse-overlayfs", "")
    old = _needs_fuse(facts) and found and version(found) < OLDEST_FUSE_OVERLAYFS
    return f"fuse-overlayfs is {found}, the kernel {facts.kernel}" if old else ""


def _fuse_needless(facts: Facts) -> str:
    if not (_is_fuse(facts) and can_be_native(facts)):
        return ""
    program = facts.store.mount_program
    return f"mount_program is {program}" if program else f"{facts.store.graphroot} was made with fuse-overlayfs"


def _graphroot_filesystem(facts: Facts) -> str:
    native = not (facts.store.mount_program or _is_fuse(facts)) and facts.store.driver != "vfs"
    stacked = facts.store.filesystem in mount_program_filesystems(facts.tools) and native
    wrong = facts.store.filesystem in NETWORK_FILESYSTEMS or stacked
    return f"{facts.store.graphroot} is on {facts.store.filesystem}" if wrong else ""


def _store_lacks(flag: str) -> Callable[[Facts], str]:
    # An overlay is a mount of its own and does not inherit the flags of what lies below it.
    return lambda facts: (
        f"{facts.store.mount_point}, which holds {facts.store.graphroot}, is mounted {flag}"
        if facts.store.driver == "vfs" and flag in facts.store.mount_flags else ""
    )


def _store_not_writable(facts: Facts) -> str:
    store = facts.store
    if not store.unmade:
        return f"{facts.user} may not write to {store.closed}" if store.closed else ""
    if no_home(facts):
        source = f"; {facts.home_source} provides it" if facts.home_source else ""
        return f"the home {facts.home} does not exist{source}"
    return f"{store.unmade} does not exist, and {facts.user} cannot make it in {store.closed}"


def _left(facts: Facts, least: int, least_inodes: int) -> str:
    """Return what of a disk is nearly used up: less is left than this many bytes, or inodes."""
    store = facts.store
    said = []
    if store.free is not None and store.free < least:
        said.append(f"{store.free // 2**20} MiB")
    if store.free_inodes is not None and store.free_inodes < least_inodes:
        said.append(f"{store.free_inodes} inodes")
    return f"{' and '.join(said)} are free below {store.graphroot}" if said else ""


def _disk_full(facts: Facts) -> str:
    return _left(facts, FULL, FULL_INODES)


def _disk_low(facts: Facts) -> str:
    return "" if _disk_full(facts) else _left(facts, LOW, LOW_INODES)


def _runtime_dir(facts: Facts) -> str:
    if not facts.runtime_dir or facts.runtime_dir_owner == facts.uid:
        return ""
    owner = "does not exist" if facts.runtime_dir_owner is None else f"belongs to uid {facts.runtime_dir_owner}"
    return f"XDG_RUNTIME_DIR is {facts.runtime_dir}, which {owner}"


def _temporary_dir(facts: Facts) -> str:
    return f"{facts.user} cannot write to {facts.temporary_dir}" if facts.temporary_dir_closed else ""


def _no_linger(facts: Facts) -> str:
    if facts.linger and not facts.session_dir:
        return f"{facts.user} lingers, and its service manager does not run: there is no /run/user/{facts.uid}"
    return f"{facts.user} does not linger" if facts.linger is False else ""


def _pause_stale(facts: Facts) -> str:
    return "podman's pause process maps other ids than the user has now" if facts.pause_stale else ""


def _ping_group_range(facts: Facts) -> str:
    if facts.ping_group_range is None or facts.ping_group_range[0] <= facts.gid <= facts.ping_group_range[1]:
        return ""
    return f"it is {facts.ping_group_range[0]} to {facts.ping_group_range[1]}, the user's group is {facts.gid}"


def _mount_denied(facts: Facts) -> str:
    if not facts.mount_error:
        return ""
    return "; ".join([facts.mount_error, *([f"the label is {facts.security_label}"] if facts.security_label else [])])


def _pod_capabilities(facts: Facts) -> str:
    """Return what root needs to map ids, and another user for newuidmap and newgidmap."""
    needed = {POD_ROOT: set(CAPABILITIES.values()), POD_USER: {"SETUID", "SETGID"}}.get(facts.profile, set())
    missing = sorted(needed.difference(facts.capabilities))
    return f"not in the bounding set: {', '.join(missing)}" if missing else ""


def _pod_host_users(facts: Facts) -> str:
    own = facts.profile != POD_ROOT or root_is_lent(facts.uid_map)
    return "" if own else "uid 0 of the pod is uid 0 of the node"


def _pod_isolation(facts: Facts) -> str:
    # A pod has no runtime to choose: its image says how it builds.
    wanted = facts.isolation if facts.profile else choose(replace(_chosen_by(facts), proc_masked=False))
    if wanted == "chroot" or not facts.proc_masked:
        return ""
    return f"BUILDAH_ISOLATION is {facts.isolation or 'not set'}"


CHECKS: dict[str, Callable[[Facts], str]] = {
    "tools_missing": _tools_missing,
    "userns_off": _userns_off,
    "userns_blocked": _userns_blocked,
    "subid_missing": _subid_missing,
    "subid_unreadable": _subid_unreadable,
    "subid_malformed": _subid_malformed,
    "subid_short": _subid_short,
    "subid_doubled": _subid_doubled,
    "subid_shared": _subid_shared,
    "subid_covers_account": _subid_covers_account,
    "newuidmap": _newuidmap,
    "single_mapping": _single_mapping,
    "pause_stale": _pause_stale,
    "netavark_missing": _netavark_missing,
    "network_helper": _network_helper,
    "cgroup_hybrid": _cgroup_hybrid,
    "runtime_missing": _runtime_missing,
    "crun_missing": _crun_missing,
    "fuse_missing": _fuse_missing,
    "native_overlay": _native_overlay,
    "fuse_needless": _fuse_needless,
    "graphroot_filesystem": _graphroot_filesystem,
    "store_not_writable": _store_not_writable,
    "store_noexec": _store_lacks("noexec"),
    "store_nosuid": _store_lacks("nosuid"),
    "disk_full": _disk_full,
    "disk_low": _disk_low,
    "runtime_dir": _runtime_dir,
    "temporary_dir": _temporary_dir,
    "no_linger": _no_linger,
    "ping_group_range": _ping_group_range,
    "mount_denied": _mount_denied,
    "pod_capabilities": _pod_capabilities,
    "pod_host_users": _pod_host_users,
    "pod_isolation": _pod_isolation,
}
# What pods have no part in: runtimes and networks of their own for RUN steps, sessions, settings of the node's kernel,
# ids that mean somebody outside.
_OF_HOSTS = {
    "subid_shared", "subid_covers_account", "pause_stale", "network_helper", "cgroup_hybrid", "runtime_missing",
    "crun_missing", "fuse_needless", "no_linger", "ping_group_range",
}  # fmt: skip
# What is needed by whoever is not root of a user namespace already.
_OF_USERS = {
    "subid_missing", "subid_unreadable", "subid_malformed", "subid_short", "subid_doubled", "newuidmap",
    "single_mapping",
}  # fmt: skip


def diagnose(facts: Facts) -> list[tuple[Finding, str]]:
    """Return the findings with their evidence, errors first."""
    silent = (_OF_HOSTS if facts.profile else set()) | (_OF_USERS if facts.profile == POD_ROOT else set())
    found = [(BY_ID[name], check(facts)) for name, check in CHECKS.items() if name not in silent]
    return sorted(((finding, seen) for finding, seen in found if seen), key=lambda pair: pair[0].severity != ERROR)


def as_results(found: list[tuple[Finding, str]], facts: Facts) -> list[dict[str, Any]]:
    """Return findings as a module returns them.

    :param facts: those that the findings were concluded from.
    """
    pod = bool(facts.profile)
    return [
        finding.as_result(seen, () if pod else commands_for(finding.id, facts), pod) for finding, seen in found
    ]

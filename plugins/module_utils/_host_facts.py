# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be known of a host and the user who runs this before rootless builds can be judged. Touches no Ansible.

Needs no rights and changes nothing. What a pod adds (its bounding set, seccomp, AppArmor label, procMount) belongs here
too, as fields of :class:`Facts`.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
import re
import stat
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._errors import CommandError
from ansible_collections.rootless.buildah.plugins.module_utils._host_choices import helper_kind
from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner
from ansible_collections.rootless.buildah.plugins.module_utils._shadow import Shadow, read_mapping
from ansible_collections.rootless.buildah.plugins.module_utils._subid import (
    IdRange,
    Table,
    mapping_is_stale,
    owners,
    subid_service,
)

VERSIONED = ("buildah", "skopeo", "crun", "runc", "fuse-overlayfs")
PRESENT = ("podman", "slirp4netns", "pasta")
# containers.conf(5): helper_binaries_dir
HELPER_DIRECTORIES = ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman")
# Read in this order, the last one wins: containers.conf(5).
CONTAINERS_CONF = (
    "/usr/share/containers/containers.conf",
    "/etc/containers/containers.conf",
    "/etc/containers/containers.conf.d/*.conf",
    "{home}/.config/containers/containers.conf",
    "{home}/.config/containers/containers.conf.d/*.conf",
)
CAP_SETGID, CAP_SETUID = 6, 7  # capabilities(7), linux/capability.h
# In memory that goes with the mount namespace. Directories of the host do not serve: the kernel refuses layers that
# have other mounts below them, as /etc has in a container. Without an upper one, since tmpfs has user.* attributes only
# from Linux 6.6 on.
_OVERLAY = """
mount -t tmpfs tmpfs /tmp && cd /tmp && mkdir one two merged &&
mount -t overlay overlay -o ro,userxattr,lowerdir=one:two merged
"""


@dataclass(frozen=True)
class IdHelper:
    """newuidmap or newgidmap.

    :param path: empty where it is missing.
    :param kind: ``setuid``, ``filecaps``, or ``none``: it has no right to write maps.
    """

    path: str = ""
    mode: str = ""
    kind: str = "none"


@dataclass(frozen=True)
class Subids:
    """A user's subordinate ids of one kind.

    :param ranges: what the user has.
    :param doubled: pairs of the user's own ranges that overlap, in words.
    :param shared: ranges of other owners that overlap one of them, in words.
    :param covered: accounts whose id lies in a range, in words.
    """

    ranges: tuple[IdRange, ...] = ()
    doubled: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    covered: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many ids there are."""
        return sum(item.count for item in self.ranges)


@dataclass(frozen=True)
class Store:
    """The user's image store.

    :param driver: what storage.conf sets; empty where nothing does.
    :param mount_program: the same.
    :param graphroot: where it is or will be.
    :param filesystem: its type there, as in /proc/PID/mountinfo.
    :param free: bytes that users may still write; None where that cannot be told.
    :param closed: what the user may not write although it must.
    """

    driver: str = ""
    mount_program: str = ""
    graphroot: str = ""
    filesystem: str = ""
    free: Optional[int] = None
    closed: str = ""


@dataclass(frozen=True)
class Facts:
    """A host as one user sees it.

    :param cgroup: ``v2``, ``hybrid``, ``v1`` or ``none``.
    :param isolation: what BUILDAH_ISOLATION is set to, in the environment or in containers.conf.
    :param max_user_namespaces: and the other settings: None where this kernel lacks them.
    :param userns_error: what the kernel said when a user namespace was tried; empty: it works, None: not tried.
    :param native_overlay: whether an overlay could be mounted in a user namespace; None: not tried.
    :param subid_service: which service of nsswitch.conf answers for subordinate ids.
    :param tools: version by program, empty where it tells none; those that are missing are left out.
    :param netavark: its path where buildah looks for it, otherwise empty.
    :param runtime_dir: XDG_RUNTIME_DIR, empty where it is not set.
    :param runtime_dir_owner: its owner's uid, None where there is no such directory.
    :param linger: whether the user lingers; None without systemd.
    :param fuse_device: ``open``, ``closed`` for this user, or ``missing``; the same for ``tun_device``.
    :param pause_stale: whether podman keeps a user namespace that was made with other ranges.
    """

    user: str
    uid: int
    gid: int
    kernel: str = ""
    cgroup: str = "none"
    isolation: str = ""
    max_user_namespaces: Optional[int] = None
    unprivileged_userns_clone: Optional[int] = None
    apparmor_restrict_unprivileged_userns: Optional[int] = None
    ping_group_range: Optional[tuple[int, int]] = None
    userns_error: Optional[str] = None
    native_overlay: Optional[bool] = None
    subid_service: str = "files"
    subuid: Subids = Subids()
    subgid: Subids = Subids()
    newuidmap: IdHelper = IdHelper()
    newgidmap: IdHelper = IdHelper()
    tools: Mapping[str, str] = field(default_factory=dict)
    netavark: str = ""
    store: Store = Store()
    runtime_dir: str = ""
    runtime_dir_owner: Optional[int] = None
    linger: Optional[bool] = None
    fuse_device: str = "missing"
    tun_device: str = "missing"
    pause_stale: bool = False

    def as_result(self) -> dict[str, Any]:
        """Return the facts as a module returns them."""
        return asdict(self)


def subids(
    table: Table, names: Sequence[str], accounts: Mapping[int, str], served: Optional[Sequence[IdRange]] = None
) -> Subids:
    """Return what is to be known of a user's ranges.

    :param table: /etc/subuid or /etc/subgid.
    :param names: the owners under which the user's ranges may stand.
    :param accounts: the name of every account or group by its id.
    :param served: the user's ranges where another service than the file answers.
    """
    own = sorted(table.granted_to(*names) if served is None else served)
    others = [(line.granted, line.owner) for line in table.lines if line.granted and line.owner not in names]
    return Subids(
        ranges=tuple(own),
        doubled=tuple(
            f"{one} and {two}" for place, one in enumerate(own) for two in own[place + 1:] if one.overlaps(two)
        ),
        # What the file says does not count where another service answers.
        shared=tuple(
            f"{item} and {owner}'s {other}"
            for item in own for other, owner in others if served is None and item.overlaps(other)
        ),
        covered=tuple(
            f"{number} ({name})" for number, name in sorted(accounts.items())
            if any(item.start <= number <= item.last for item in own)
        ),
    )


class Look:
    """One look at a host.

    :param run: how programs are called; its environment is that of the user.
    :param account: the user.
    :param environment: the variables that count.
    :param root: where the host's files are; tests lay out recorded ones.
    """

    def __init__(
        self, run: Runner, account: pwd.struct_passwd, environment: Mapping[str, str], root: str = "/"
    ) -> None:
        self._runner = run
        self._account = account
        self._environment = environment
        self._root = root

    def facts(self, uids: Mapping[int, str], gids: Mapping[int, str]) -> Facts:
        """Return everything.

        :param uids: the name of every account that can be listed, by uid.
        :param gids: the same of groups.
        """
        account = self._account
        service = subid_service(self._read("/etc/nsswitch.conf") or "")
        names = owners(account.pw_name, account.pw_uid)
        subuid, subgid = (
            subids(Table.parse(path, self._read(path) or ""), names, accounts, self._served(service, option))
            for path, accounts, option in (("/etc/subuid", uids, ()), ("/etc/subgid", gids, ("-g",)))
        )
        ping = (self._read("/proc/sys/net/ipv4/ping_group_range") or "").split()
        runtime_dir = self._environment.get("XDG_RUNTIME_DIR", "")
        userns_error = self._try_userns()
        return Facts(
            user=account.pw_name,
            uid=account.pw_uid,
            gid=account.pw_gid,
            kernel=(self._read("/proc/sys/kernel/osrelease") or "").strip(),
            cgroup=self._cgroup(),
            isolation=self._environment.get("BUILDAH_ISOLATION", "") or self._setting(r"BUILDAH_ISOLATION=(\w+)"),
            max_user_namespaces=self._number("/proc/sys/user/max_user_namespaces"),
            unprivileged_userns_clone=self._number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restrict_unprivileged_userns=self._number(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            ping_group_range=(int(ping[0]), int(ping[1])) if len(ping) == 2 else None,
            userns_error=userns_error,
            native_overlay=self._try_overlay() if userns_error == "" else None,
            subid_service=service,
            subuid=subuid,
            subgid=subgid,
            newuidmap=self._id_helper("newuidmap", "cap_setuid", CAP_SETUID),
            newgidmap=self._id_helper("newgidmap", "cap_setgid", CAP_SETGID),
            tools=self._tools(),
            netavark=self._netavark(),
            store=self._store(),
            runtime_dir=runtime_dir,
            runtime_dir_owner=self._owner(runtime_dir),
            linger=self._exists(f"/var/lib/systemd/linger/{account.pw_name}")
            if self._exists("/run/systemd/system") else None,
            fuse_device=self._device("/dev/fuse"),
            tun_device=self._device("/dev/net/tun"),
            pause_stale=self._pause_is_stale(subuid.ranges),
        )

    # -- files

    def _at(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))

    def _exists(self, path: str) -> bool:
        return os.path.exists(self._at(path))

    def _read(self, path: str) -> Optional[str]:
        try:
            with open(self._at(path), encoding="utf-8", errors="surrogateescape") as handle:
                return handle.read()
        except OSError:
            return None

    def _number(self, path: str) -> Optional[int]:
        text = (self._read(path) or "").strip()
        return int(text) if text.isdecimal() else None

    def _owner(self, directory: str) -> Optional[int]:
        try:
            status = os.stat(self._at(directory)) if directory else None
        except OSError:
            return None
        return status.st_uid if status and stat.S_ISDIR(status.st_mode) else None

    def _device(self, path: str) -> str:
        if not self._exists(path):
            return "missing"
        return "open" if os.access(self._at(path), os.R_OK | os.W_OK) else "closed"

    def _cgroup(self) -> str:
        if self._exists("/sys/fs/cgroup/cgroup.controllers"):
            return "v2"
        try:
            hierarchies = os.listdir(self._at("/sys/fs/cgroup"))
        except OSError:
            return "none"
        if any(self._exists(f"/sys/fs/cgroup/{name}/cgroup.controllers") for name in hierarchies):
            return "hybrid"
        return "v1" if hierarchies else "none"

    # -- settings of containers/common and containers/storage

    def _setting(self, pattern: str) -> str:
        """Return what the last of the configuration files says; Python has no reader of TOML before 3.11."""
        found = ""
        for place in CONTAINERS_CONF:
            for path in sorted(glob.glob(self._at(place.format(home=self._account.pw_dir)))):
                match = _search(pattern, self._read(os.path.join("/", os.path.relpath(path, self._root))))
                found = match or found
        return found

    def _netavark(self) -> str:
        listed = re.findall(r"\"([^\"]+)\"", self._setting(r"(?s)helper_binaries_dir\s*=\s*\[(.*?)\]"))
        directories = [self._environment.get("CONTAINERS_HELPER_BINARY_DIR", ""), *(listed or HELPER_DIRECTORIES)]
        places = [os.path.join(directory, "netavark") for directory in directories if directory]
        return next((path for path in places if os.access(self._at(path), os.X_OK)), "")

    def _store(self) -> Store:
        """Return the store of containers-storage.conf(5) for a rootless user."""
        home, environment = self._account.pw_dir, self._environment
        own = environment.get("CONTAINERS_STORAGE_CONF") or f"{home}/.config/containers/storage.conf"
        user = self._read(own)
        system = self._read("/etc/containers/storage.conf") or self._read("/usr/share/containers/storage.conf") or ""
        data = environment.get("XDG_DATA_HOME") or f"{home}/.local/share"
        graphroot = (
            _toml_value("graphroot", user) or _toml_value("rootless_storage_path", user)
            or _toml_value("rootless_storage_path", system) or f"{data}/containers/storage"
        )
        # The three that containers/storage expands.
        for name, value in (("HOME", home), ("USER", self._account.pw_name), ("UID", str(self._account.pw_uid))):
            graphroot = graphroot.replace(f"${name}", value)
        settings = user if user is not None else system
        driver = environment.get("STORAGE_DRIVER") or _toml_value("driver", settings)
        place = self._nearest(graphroot)
        try:
            disk = os.statvfs(self._at(place))
            free: Optional[int] = disk.f_bavail * disk.f_frsize
        except OSError:
            free = None
        return Store(
            driver=driver,
            mount_program=_toml_value("mount_program", settings),
            graphroot=graphroot,
            filesystem=filesystem(self._read("/proc/self/mountinfo") or "", self._real(place)),
            free=free,
            closed=self._closed(graphroot, place),
        )

    def _nearest(self, path: str) -> str:
        """Return a path or the nearest directory above it that is there."""
        while path != "/" and not self._exists(path):
            path = os.path.dirname(path)
        return path

    def _real(self, path: str) -> str:
        """Return a path without symbolic links."""
        real = os.path.realpath(self._at(path))
        return os.path.normpath(os.path.join("/", os.path.relpath(real, os.path.realpath(self._root))))

    def _closed(self, graphroot: str, place: str) -> str:
        locks = glob.glob(self._at(f"{graphroot}/*-images/images.lock"))
        needed = [(self._at(place), os.W_OK | os.X_OK), *((lock, os.R_OK | os.W_OK) for lock in locks)]
        return next((path for path, wanted in needed if not os.access(path, wanted)), "")

    # -- programs

    def _find(self, name: str) -> str:
        """Return the path of a program on the host, empty where it is missing."""
        for directory in self._runner.environment.get("PATH", "").split(os.pathsep):
            path = os.path.join(directory, name)
            if directory and os.path.isfile(self._at(path)) and os.access(self._at(path), os.X_OK):
                return path
        return ""

    def _call(self, name: str, *arguments: str) -> Optional[tuple[int, str]]:
        """Return exit status and words of a program; None where it cannot be started."""
        path = self._find(name)
        if not path:
            return None
        try:
            done = self._runner.run([self._at(path), *arguments], check=False)
        except CommandError:
            return None
        return done.rc, f"{done.text}\n{done.stderr}"

    def _tools(self) -> dict[str, str]:
        versions = {name: self._call(name, "--version") for name in VERSIONED}
        found = {
            name: _search(rf"(?m)^{name}:? version:? v?(\d[\d.]*)", answer[1]) for name, answer in versions.items()
            if answer
        }
        return {**found, **{name: "" for name in PRESENT if self._find(name)}}

    def _id_helper(self, name: str, wanted: str, number: int) -> IdHelper:
        path = self._find(name)
        if not path:
            return IdHelper()
        status, disk = os.stat(self._at(path)), os.statvfs(self._at(path))
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        capability = f"{wanted}=ep" if has_file_capability(_attribute(self._at(path)), number) else ""
        # On such a file system neither the bit nor capabilities count: mount(8).
        kind = "none" if disk.f_flag & os.ST_NOSUID else helper_kind(mode, status.st_uid, capability, wanted)
        return IdHelper(path, mode, kind)

    def _served(self, service: str, option: Sequence[str]) -> Optional[tuple[IdRange, ...]]:
        """Return the user's ranges as another service than the files knows them."""
        if service == "files":
            return None
        answer = self._call("getsubids", *option, self._account.pw_name)
        lines = re.findall(r"(?m)^\d+: .+ (\d+) (\d+)$", answer[1] if answer else "")
        return tuple(IdRange(int(start), int(count)) for start, count in lines)

    def _try_userns(self) -> Optional[str]:
        answer = self._call("unshare", "--user", "--map-root-user", "true")
        return None if answer is None else "" if answer[0] == 0 else answer[1].strip()

    def _try_overlay(self) -> Optional[bool]:
        answer = self._call("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _OVERLAY)
        return None if answer is None else answer[0] == 0

    def _pause_is_stale(self, ranges: Iterable[IdRange]) -> bool:
        pid = Shadow().pause_process(self._account)
        if pid is None:
            return False
        try:
            mapped = [IdRange(outside, count) for _inside, outside, count in read_mapping(pid, "uid_map")]
        except OSError:
            return False
        return mapping_is_stale(mapped, self._account.pw_uid, ranges)


def look(run: Runner) -> Facts:
    """Return the facts of this host and the user who runs this.

    :param run: with the environment that builds get.
    """
    account = pwd.getpwuid(os.getuid())
    # What builds get, but the runtime directory that was handed in: builds find the right one by themselves.
    variables = {**run.environment, "XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR", "")}
    return Look(run, account, variables).facts(
        {entry.pw_uid: entry.pw_name for entry in reversed(pwd.getpwall())},
        {group.gr_gid: group.gr_name for group in reversed(grp.getgrall())},
    )


def filesystem(mountinfo: str, path: str) -> str:
    """Return the type of the file system that holds a path.

    :param mountinfo: the text of /proc/PID/mountinfo, proc_pid_mountinfo(5).
    :param path: an absolute path without symbolic links.
    """
    found, longest = "", -1
    for line in mountinfo.splitlines():
        before, _dash, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), before.split()[4])
        # Of several on the same place the last one is on top.
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= longest:
            found, longest = after.split()[0], len(point)
    return found


def has_file_capability(attribute: bytes, number: int) -> bool:
    """Say whether a program gets a capability from its file.

    :param attribute: the extended attribute security.capability, struct vfs_cap_data in linux/capability.h.
    :param number: of a capability below 32.
    """
    if len(attribute) < 8:
        return False
    magic, permitted = struct.unpack_from("<II", attribute)
    return bool(magic & 1) and bool(permitted >> number & 1)


def _attribute(path: str) -> bytes:
    try:
        return os.getxattr(path, "security.capability")
    except OSError:
        return b""


def _search(pattern: str, text: Optional[str]) -> str:
    """Return the first group of a pattern's first match outside of comments, or nothing."""
    bare = re.sub(r"(?m)^\s*#.*$", "", text or "")
    match = re.search(pattern, bare)
    return match.group(1) if match else ""


def _toml_value(name: str, text: Optional[str]) -> str:
    return _search(rf"(?m)^\s*{name}\s*=\s*[\"']([^\"']*)[\"']", text)

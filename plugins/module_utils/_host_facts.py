# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be known of a host and the user who runs this before rootless builds can be judged. Touches no Ansible.

Needs no rights and changes nothing. In a pod, how the pod is confined belongs to it.
"""

from __future__ import annotations

import functools
import glob
import os
import pwd
import re
import stat
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from ansible_collections.rootless.buildah.plugins.module_utils import _containers_conf as containers_conf
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, CommandError, InputError
from ansible_collections.rootless.buildah.plugins.module_utils._host_choices import helper_kind
from ansible_collections.rootless.buildah.plugins.module_utils._isolation import (
    MOUNTS,
    UNSHARE,
    cgroup_hierarchy,
    proc_covered,
    proc_masked,
)
from ansible_collections.rootless.buildah.plugins.module_utils._managed_file import MARKER
from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner
from ansible_collections.rootless.buildah.plugins.module_utils._shadow import (
    BOOTED,
    SUBGID,
    SUBUID,
    Shadow,
    known_ids,
    parse_mapping,
)
from ansible_collections.rootless.buildah.plugins.module_utils._storage import (
    DEFAULTS,
    DRIVER,
    HOST,
    STORES,
    read_defaults,
    stores_directory,
    usual_driver,
)
from ansible_collections.rootless.buildah.plugins.module_utils._subid import (
    Host,
    IdRange,
    Limits,
    Table,
    outside,
    owners,
    subid_service,
)

VERSIONED = ("buildah", "skopeo", "crun", "runc", "fuse-overlayfs")
PRESENT = ("podman", "slirp4netns", "pasta", "setcap", "modprobe")
PACKAGE_MANAGERS = ("apt-get", "dnf", "zypper")  # those whose packages _remedies knows
NETWORK_FILESYSTEMS = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "9p",
)
# On these, containers/storage makes no overlay of a user's without a mount program (drivers/overlay: Init).
MOUNT_PROGRAM_FILESYSTEMS = (
    "overlay", "aufs", "ecryptfs", "acfs", "gpfs", "lustre", "ocfs2", "panfs", "prl_fs", "vboxsf", "vxfs",
)
ZFS_FROM = (1, 30, 0)  # buildah with containers/storage 1.46, which leaves it to the kernel whether zfs can hold one
# Where images may go when the home cannot hold them, and the bytes that such a place has to have at least.
OTHER_PLACES, ROOM = ("/var/lib", "/srv", "/home"), 2 * 2**30
# containers.conf(5): helper_binaries_dir
HELPER_DIRECTORIES = ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman")
CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN = 6, 7, 21  # capabilities(7), linux/capability.h
# Those that builds in pods want, by number.
CAPABILITIES = {CAP_SETUID: "SETUID", CAP_SETGID: "SETGID", 31: "SETFCAP"}
# Of Ubuntu's package apparmor: it lets buildah create user namespaces where that is restricted.
APPARMOR_PROFILE = "buildah"
# How a pod builds, docs/cluster-builds.md: as root of its own user namespace, or as another user.
POD_ROOT, POD_USER = "a", "b"
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
    :param nosuid: where the file system is mounted that takes it its rights; empty where none does.
    """

    path: str = ""
    mode: str = ""
    kind: str = "none"
    nosuid: str = ""


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
    """The image store that the user's builds use.

    :param strategy: how builds choose it; with another one than ``host`` there are several, all below ``graphroot``.
    :param driver: what builds use; empty where they take overlay if it works, as with a storage.conf that names none.
    :param driver_set: whether STORAGE_DRIVER or a storage.conf names it; otherwise this buildah has chosen.
    :param mount_program: what the user's storage.conf sets; what the system's sets is for root.
    :param graphroot: where it is or will be.
    :param there: whether it exists.
    :param config: the user's own storage.conf.
    :param config_kind: as :func:`config_kind` tells it.
    :param made_with_fuse: whether fuse-overlayfs made it, and keeps it whatever storage.conf says now.
    :param filesystem: its type there, as in /proc/PID/mountinfo.
    :param mount_point: where that is mounted.
    :param mount_flags: how, the flags of mount(8).
    :param free: bytes that users may still write; None where that cannot be told.
    :param free_inodes: how many files they may still make; None where the file system sets no limit.
    :param closed: what the user may not write although it must.
    :param unmade: what does not exist on the way there and has to be made in ``closed``; empty where all is there.
    :param closed_top: the highest directory on the way there that is another user's.
    :param closed_owner: whose ``closed`` is.
    :param closed_at_home: whether ``closed`` is really the home or below it, and no link leads elsewhere on the way.
    :param elsewhere: a place that could hold a store; empty where none is known.
    """

    strategy: str = HOST
    driver: str = ""
    driver_set: bool = True
    mount_program: str = ""
    graphroot: str = ""
    there: bool = False
    config: str = ""
    config_kind: str = "missing"
    made_with_fuse: bool = False
    filesystem: str = ""
    mount_point: str = ""
    mount_flags: tuple[str, ...] = ()
    free: Optional[int] = None
    free_inodes: Optional[int] = None
    closed: str = ""
    unmade: str = ""
    closed_top: str = ""
    closed_owner: Optional[int] = None
    closed_at_home: bool = False
    elsewhere: str = ""


@dataclass(frozen=True)
class Mount:
    """A mounted file system: where, which type, and the flags of mount(8)."""

    point: str = ""
    type: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """A host as one user sees it.

    :param home_there: whether the home exists, as far as that can be seen.
    :param home_source: what provides the home, ``systemd-homed`` or ``an automount``; empty where it just lies there.
    :param has_account: whether passwd or another service of nsswitch.conf knows the user. newuidmap and newgidmap serve
        nobody else (get_my_pwent of shadow).
    :param profile: how this pod builds, POD_ROOT or POD_USER; empty outside of pods.
    :param uid_map: the user namespace of this process, lines of /proc/PID/uid_map: first id here, outside, how many.
    :param capabilities: which of CAPABILITIES this process and what it calls can have.
    :param seccomp: whether a seccomp filter holds for this process.
    :param security_label: what AppArmor or SELinux knows this process by; empty without both.
    :param proc_masked: whether parts of /proc are covered, so that no process here can mount it anew.
    :param mount_error: what was said when the mounts of an own namespace were made private, as each build does; empty:
        it works, None: not tried.
    :param package_manager: one of PACKAGE_MANAGERS, empty where none is there.
    :param settings_closed: whether nobody here can change the kernel's settings: /proc/sys is read-only.
    :param cgroup: ``v2``, ``hybrid``, ``v1`` or ``none`` (_isolation).
    :param isolation: what BUILDAH_ISOLATION is set to, in the environment or in containers.conf.
    :param max_user_namespaces: and the other settings: None where this kernel lacks them.
    :param userns_error: what the kernel said when a user namespace was tried; empty: it works, None: not tried.
    :param native_overlay: whether an overlay could be mounted in a user namespace; None: not tried.
    :param subid_service: which service of nsswitch.conf answers for subordinate ids.
    :param subid_closed: the tables that the user may not read.
    :param subid_refused: the lines at which this buildah gives up the tables, in words; the programs of shadow do not.
    :param subid_unread: what the files say otherwise than the service that answers, where this buildah reads the files
        only; in words.
    :param subid_tables: what a new range has to keep clear of; not returned.
    :param mapping_error: what was said when newuidmap and newgidmap were to map the ranges; empty: it works, None: not
        tried, because something else is known to stand in the way.
    :param no_new_privs: whether this process cannot gain privileges.
    :param sys_admin: whether CAP_SYS_ADMIN could be had; containers usually cannot.
    :param tools: version by program, empty where it tells none; those that are missing are left out.
    :param network_backend: what makes networks, ``netavark`` or ``cni``; empty where nothing says it.
    :param network_backend_named: whether containers.conf says it; otherwise the image store remembers it.
    :param netavark: its path where buildah looks for it, otherwise empty.
    :param netavark_elsewhere: where it is instead.
    :param helper_directory: the first directory in which buildah looks for it.
    :param runtime: the OCI runtime that is set as the default; empty where nothing does.
    :param runtime_path: where that is.
    :param network_command: which of pasta and slirp4netns is set for users; empty where nothing does.
    :param session_dir: the runtime directory that builds find; empty where there is none.
    :param runtime_dir: XDG_RUNTIME_DIR, empty where it is not set.
    :param runtime_dir_owner: its owner's uid, None where there is no such directory.
    :param temporary_dir: TMPDIR, empty where it is not set.
    :param temporary_dir_closed: whether it is set and the user cannot write to it.
    :param linger: whether the user lingers; None without systemd.
    :param fuse_device: ``open``, ``closed`` for this user, or ``missing``; the same for ``tun_device``.
    :param pause_stale: whether podman keeps a user namespace that was made with other ranges.
    """

    user: str
    uid: int
    gid: int
    home: str = ""
    home_there: bool = True
    home_source: str = ""
    has_account: bool = True
    profile: str = ""
    uid_map: tuple[tuple[int, int, int], ...] = ()
    capabilities: tuple[str, ...] = ()
    seccomp: bool = False
    security_label: str = ""
    proc_masked: bool = False
    mount_error: Optional[str] = None
    package_manager: str = ""
    settings_closed: bool = False
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
    subid_closed: tuple[str, ...] = ()
    subid_refused: tuple[str, ...] = ()
    subid_unread: tuple[str, ...] = ()
    subid_tables: Optional[Host] = None
    mapping_error: Optional[str] = None
    no_new_privs: bool = False
    sys_admin: bool = True
    newuidmap: IdHelper = IdHelper()
    newgidmap: IdHelper = IdHelper()
    tools: Mapping[str, str] = field(default_factory=dict)
    network_backend: str = ""
    network_backend_named: bool = False
    netavark: str = ""
    netavark_elsewhere: str = ""
    helper_directory: str = ""
    runtime: str = ""
    runtime_path: str = ""
    network_command: str = ""
    store: Store = Store()
    session_dir: str = ""
    runtime_dir: str = ""
    runtime_dir_owner: Optional[int] = None
    temporary_dir: str = ""
    temporary_dir_closed: bool = False
    linger: Optional[bool] = None
    fuse_device: str = "missing"
    tun_device: str = "missing"
    pause_stale: bool = False

    def as_result(self) -> dict[str, Any]:
        """Return the facts as a module returns them: without the tables, which name every user."""
        result = asdict(replace(self, subid_tables=None))
        result.pop("subid_tables")
        return result


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
    :param account: the user; a pod may run one whom no passwd knows.
    :param environment: the variables that count.
    :param root: where the host's files are; tests lay out recorded ones.
    :param profile: how this pod builds; empty outside of pods.
    """

    def __init__(
        self, run: Runner, account: pwd.struct_passwd, environment: Mapping[str, str], root: str = "/",
        profile: str = "", has_account: bool = True,
    ) -> None:
        self._runner = run
        self._account = account
        self._has_account = has_account
        self._environment = environment
        self._root = root
        self._profile = profile

    def facts(self, uids: Mapping[int, str], gids: Mapping[int, str]) -> Facts:
        """Return everything.

        :param uids: the name of every account that can be listed, by uid.
        :param gids: the same of groups.
        """
        account = self._account
        service = subid_service(self._read("/etc/nsswitch.conf") or "")
        names = owners(account.pw_name, account.pw_uid)
        tables = [Table.parse(path, self._read(path) or "") for path in (SUBUID, SUBGID)]
        subuid, subgid = (
            subids(table, names, accounts, self._served(service, option))
            for table, accounts, option in zip(tables, (uids, gids), ((), ("-g",)))
        )
        closed = tuple(
            path for path in (SUBUID, SUBGID) if self._exists(path) and not os.access(self._at(path), os.R_OK)
        )
        refused = [(table.path, line) for table in tables for line in [table.refused(*names)] if line]
        otherwise = [
            f"{service} gives {_listed(ids.ranges)}, {table.path} {_listed(table.granted_to(*names))}"
            for table, ids in zip(tables, (subuid, subgid))
            if ids.ranges and not set() < set(table.granted_to(*names)) <= set(ids.ranges)
        ] if service != "files" else []
        reads_tables = bool(refused or otherwise) and self._reads_tables()
        helpers = (
            self._id_helper("newuidmap", "cap_setuid", CAP_SETUID),
            self._id_helper("newgidmap", "cap_setgid", CAP_SETGID),
        )
        status = dict(re.findall(r"(?m)^(\w+):\s+(.+)$", self._read("/proc/self/status") or ""))
        bounding = int(status.get("CapBnd", "ffffffff"), 16)
        uid_map = self._mapping("uid_map")
        mounts = self._read(MOUNTS) or ""
        directories = self._helper_directories()
        tools = self._tools()
        store = self._store(tools)
        runtime = self._environment.get("BUILDAH_RUNTIME", "") or self._setting(_in_toml("runtime"))
        backend = self._setting(_in_toml("network_backend"))
        ping = (self._read("/proc/sys/net/ipv4/ping_group_range") or "").split()
        runtime_dir = self._environment.get("XDG_RUNTIME_DIR", "")
        temporary_dir = self._environment.get("TMPDIR", "")
        userns_error = self._try_userns()
        mount_error = self._try_mounts() if userns_error == "" else None
        # Root of a pod writes the map itself; and what is tried under buildah's AppArmor profile makes one only.
        mappable = self._profile != POD_ROOT and not self._confined() and userns_error == "" and not closed and all(
            item.ranges and not item.doubled for item in (subuid, subgid)
        ) and all(helper.kind != "none" for helper in helpers)
        return Facts(
            user=account.pw_name,
            uid=account.pw_uid,
            gid=account.pw_gid,
            home=account.pw_dir,
            home_there=self._exists(account.pw_dir) or not self._may_enter(account.pw_dir),
            home_source=self._home_source(),
            has_account=self._has_account,
            profile=self._profile,
            uid_map=tuple(uid_map),
            capabilities=tuple(name for number, name in CAPABILITIES.items() if bounding >> number & 1),
            seccomp=status.get("Seccomp", "0") != "0",
            security_label=self._security_label(),
            # What a pod's runtime covers there always counts.
            proc_masked=proc_covered(mounts) if self._profile else proc_masked(mounts, self._unshare),
            mount_error=mount_error,
            package_manager=next((name for name in PACKAGE_MANAGERS if self._find(name)), ""),
            settings_closed=self._read_only("/proc/sys"),
            kernel=(self._read("/proc/sys/kernel/osrelease") or "").strip(),
            cgroup=cgroup_hierarchy(self._root),
            isolation=self._environment.get("BUILDAH_ISOLATION", "")
            or containers_conf.variable("BUILDAH_ISOLATION", self._containers_conf),
            max_user_namespaces=self._number("/proc/sys/user/max_user_namespaces"),
            unprivileged_userns_clone=self._number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restrict_unprivileged_userns=self._number(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            ping_group_range=(int(ping[0]), int(ping[1])) if len(ping) == 2 else None,
            userns_error=userns_error,
            native_overlay=self._try_overlay() if mount_error == "" else None,
            subid_service=service,
            subuid=subuid,
            subgid=subgid,
            subid_closed=closed,
            subid_refused=tuple(f"{path}, line {line.number}: {line.text!r}" for path, line in refused)
            if reads_tables else (),
            subid_unread=tuple(otherwise) if reads_tables else (),
            subid_tables=Host(tables[0], tables[1], Limits.parse(self._read("/etc/login.defs") or ""), uids, gids,
                              unmapped=outside(uid_map) + outside(self._mapping("gid_map"))),
            mapping_error=self._try_mapping(subuid.ranges, subgid.ranges) if mappable else None,
            no_new_privs=status.get("NoNewPrivs") == "1",
            sys_admin=bool(bounding >> CAP_SYS_ADMIN & 1),
            newuidmap=helpers[0],
            newgidmap=helpers[1],
            tools=tools,
            network_backend=backend
            or (self._read(f"{store.graphroot}/defaultNetworkBackend") or "").strip(),
            network_backend_named=bool(backend),
            netavark=self._program_in(directories, "netavark"),
            netavark_elsewhere=self._program_in(HELPER_DIRECTORIES, "netavark") or self._find("netavark"),
            helper_directory=directories[0],
            runtime=runtime,
            runtime_path=self._find(runtime) if runtime else "",
            network_command=self._setting(_in_toml("default_rootless_network_cmd")),
            store=store,
            session_dir=self._runner.environment.get("XDG_RUNTIME_DIR", ""),
            runtime_dir=runtime_dir,
            runtime_dir_owner=self._owner(runtime_dir),
            temporary_dir=temporary_dir,
            temporary_dir_closed=temporary_dir != "" and not os.access(self._at(temporary_dir), os.W_OK | os.X_OK),
            linger=self._exists(f"/var/lib/systemd/linger/{account.pw_name}")
            if self._exists(BOOTED) else None,
            fuse_device=self._device("/dev/fuse"),
            tun_device=self._device("/dev/net/tun"),
            pause_stale=Shadow().pause_is_stale(self._account, subuid.ranges, subgid.ranges),
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

    def _read_only(self, path: str) -> bool:
        try:
            return bool(os.statvfs(self._at(path)).f_flag & os.ST_RDONLY)
        except OSError:
            return False

    def _device(self, path: str) -> str:
        if not self._exists(path):
            return "missing"
        return "open" if os.access(self._at(path), os.R_OK | os.W_OK) else "closed"

    def _security_label(self) -> str:
        # The second is that of whichever module is the first; without one it cannot be read.
        for path in ("/proc/self/attr/apparmor/current", "/proc/self/attr/current"):
            label = (self._read(path) or "").strip("\0\n ")
            if label:
                return label
        return ""

    # -- settings of containers/common and containers/storage

    @functools.cached_property
    def _containers_conf(self) -> list[str]:
        return containers_conf.read(self._account.pw_dir, self._root)

    def _setting(self, pattern: str) -> str:
        """Return what the last of the configuration files says; Python has no reader of TOML before 3.11."""
        found = ""
        for text in self._containers_conf:
            found = _search(pattern, text) or found
        return found

    def _helper_directories(self) -> list[str]:
        listed = re.findall(r"\"([^\"]+)\"", self._setting(r"(?s)helper_binaries_dir\s*=\s*\[(.*?)\]"))
        directories = [self._environment.get("CONTAINERS_HELPER_BINARY_DIR", ""), *(listed or HELPER_DIRECTORIES)]
        return [directory for directory in directories if directory]

    def _program_in(self, directories: Iterable[str], name: str) -> str:
        places = [os.path.join(directory, name) for directory in directories]
        return next((path for path in places if os.access(self._at(path), os.X_OK)), "")

    def _store(self, tools: Mapping[str, str]) -> Store:
        """Return the store of containers-storage.conf(5) for a rootless user; root of a pod has that of root.

        :param tools: as in Facts.
        """
        home, environment = self._account.pw_dir, self._environment
        root = self._profile == POD_ROOT
        places = "/etc/containers" if root else f"{home}/.config/containers"
        own = environment.get("CONTAINERS_STORAGE_CONF") or f"{places}/storage.conf"
        user = self._read(own)
        shipped = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
        system = next(filter(None, map(self._read, shipped)), "")
        data = environment.get("XDG_DATA_HOME") or f"{home}/.local/share"
        settings = user if user is not None else system
        graphroot = _toml_value("graphroot", settings) or "/var/lib/containers/storage" if root else (
            _toml_value("graphroot", user) or _toml_value("rootless_storage_path", user)
            or _toml_value("rootless_storage_path", system) or f"{data}/containers/storage"
        )
        # The three that containers/storage expands.
        for name, value in (("HOME", home), ("USER", self._account.pw_name), ("UID", str(self._account.pw_uid))):
            graphroot = graphroot.replace(f"${name}", value)
        # What role builder says counts for builds only, whatever storage.conf names.
        builds = self._defaults()
        usual, graphroot = graphroot, stores_directory(builds, f"{home}/{STORES}") or graphroot
        strategy = builds.get("strategy", HOST)
        # With a directory of the role's, builds bring a storage.conf along.
        named = environment.get("STORAGE_DRIVER") or (
            DRIVER if strategy == HOST and builds.get("graphroot") else _toml_value("driver", settings))
        own_rules = not named and user is None and not root and tools.get("buildah")
        driver = named if not own_rules else usual_driver(
            version(tools["buildah"]), version(self._read("/proc/sys/kernel/osrelease") or ""), self._names(usual),
            bool(self._find("fuse-overlayfs")))
        place = self._nearest(graphroot)
        mount = self._mount(place)
        free, free_inodes = self._free(place)
        closed = self._closed(graphroot, place)
        return Store(
            strategy=strategy,
            driver=driver,
            driver_set=bool(named),
            # Of the system's file a user inherits little (containers/storage, types: getRootlessStorageOpts).
            mount_program=_toml_value("mount_program", settings if root else user),
            graphroot=graphroot,
            there=place == graphroot,
            config=own,
            config_kind=config_kind(user),
            # containers/storage, drivers/overlay: SupportsNativeOverlay.
            made_with_fuse=(self._read(f"{graphroot}/overlay/.has-mount-program") or "").strip() == "true",
            filesystem=mount.type,
            mount_point=mount.point,
            mount_flags=mount.flags,
            free=free,
            free_inodes=free_inodes,
            closed=closed,
            unmade=self._next(place, graphroot) if closed == place != graphroot and self._may_enter(graphroot) else "",
            closed_top=self._top(closed, graphroot),
            closed_owner=self._uid(closed) if closed else None,
            closed_at_home=f"{closed}/".startswith(f"{home}/") and self._real(closed) == closed,
            elsewhere=self._elsewhere(tools),
        )

    def _defaults(self) -> dict[str, str]:
        try:
            return read_defaults(self._read(f"{self._account.pw_dir}/{DEFAULTS}") or "")
        except InputError:
            return {}  # each build says so

    def _elsewhere(self, tools: Mapping[str, str]) -> str:
        unfit = (*NETWORK_FILESYSTEMS, *mount_program_filesystems(tools), "tmpfs")
        places = [f"{path}/{self._account.pw_name}-containers" for path in OTHER_PLACES
                  if self._mount(path).type not in unfit and self._has_room(path)]
        # What is there already may be somebody else's home.
        return next((place for place in places if self._uid(place) in (None, self._account.pw_uid)), "")

    def _mount(self, path: str) -> Mount:
        return mount_of(self._read(MOUNTS) or "", self._real(path))

    def _free(self, path: str) -> tuple[Optional[int], Optional[int]]:
        """Return how many bytes users may still write there, and how many files they may make."""
        try:
            disk = os.statvfs(self._at(path))
        except OSError:
            return None, None
        return disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else None

    def _has_room(self, path: str) -> bool:
        return self._exists(path) and not self._read_only(path) and (self._free(path)[0] or 0) >= ROOM

    def _names(self, directory: str) -> list[str]:
        try:
            return os.listdir(self._at(directory))
        except OSError:
            return []

    def _nearest(self, path: str) -> str:
        """Return a path or the nearest directory above it that is there."""
        while path != "/" and not self._exists(path):
            path = os.path.dirname(path)
        return path

    def _next(self, above: str, path: str) -> str:
        """Return the first step from a directory down to a path below it."""
        return os.path.join(above, os.path.relpath(path, above).split(os.sep)[0])

    def _may_enter(self, path: str) -> bool:
        """Say whether the user sees what is in the nearest directory above a path; otherwise nobody knows what is."""
        return os.access(self._at(self._nearest(path)), os.X_OK)

    def _home_source(self) -> str:
        """Return what puts the home into place when its user logs in, or where it is looked at."""
        home = self._account.pw_dir
        # The image or directory of a home lies beside it, or elsewhere and its record is here: homectl(1).
        records = (f"{home}.home", f"{home}.homedir", f"/var/lib/systemd/home/{self._account.pw_name}.identity")
        if any(map(self._exists, records)):
            return "systemd-homed"
        return "an automount" if self._mount(self._nearest(home)).type == "autofs" else ""

    def _real(self, path: str) -> str:
        """Return a path without symbolic links."""
        real = os.path.realpath(self._at(path))
        return os.path.normpath(os.path.join("/", os.path.relpath(real, os.path.realpath(self._root))))

    def _closed(self, graphroot: str, place: str) -> str:
        def below(pattern: str) -> list[str]:
            return sorted(os.path.join(graphroot, os.path.relpath(path, self._at(graphroot)))
                          for path in glob.glob(self._at(f"{graphroot}/{pattern}")))

        directories = [place, *(path for path in below("*") if os.path.isdir(self._at(path)))]
        locks = [*below("*.lock"), *below("*-images/images.lock"), *below("*-layers/layers.lock")]
        needed = [*((path, os.W_OK | os.X_OK) for path in directories), *((path, os.R_OK | os.W_OK) for path in locks)]
        return next((path for path, wanted in needed if not self._may(path, wanted)), "")

    def _may(self, path: str, wanted: int) -> bool:
        """Return whether a build may use a path: modes of the user's own files do not bind root of its namespace."""
        if os.access(self._at(path), wanted):
            return True
        try:
            found = os.stat(self._at(path))
        except OSError:
            return False
        own = (found.st_uid, found.st_gid) == (self._account.pw_uid, self._account.pw_gid)
        return own and not self._read_only(path)

    def _uid(self, path: str) -> Optional[int]:
        try:
            return os.stat(self._at(path)).st_uid
        except OSError:
            return None

    def _top(self, closed: str, graphroot: str) -> str:
        """Return the highest directory that is not the user's own, from the home or else the store on downwards."""
        home = self._account.pw_dir
        begin = home if closed == home or closed.startswith(f"{home}/") else graphroot
        ways = [closed]
        while ways[-1].startswith(f"{begin}/"):
            ways.append(os.path.dirname(ways[-1]))
        return next((path for path in reversed(ways) if self._uid(path) not in (None, self._account.pw_uid)), closed)

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
        if disk.f_flag & os.ST_NOSUID:
            return IdHelper(path, mode, "none", self._mount(path).point)
        return IdHelper(path, mode, helper_kind(mode, status.st_uid, capability, wanted))

    def _reads_tables(self) -> bool:
        """Say whether buildah reads the tables of subordinate ids by itself: it is not linked with libsubid."""
        path = self._find("buildah")
        try:
            with open(self._at(path), "rb") as program:
                # A script calls another one.
                return program.read(4) == b"\x7fELF" and b"libsubid.so" not in program.read()
        except OSError:
            return False

    def _served(self, service: str, option: Sequence[str]) -> Optional[tuple[IdRange, ...]]:
        """Return the user's ranges as another service than the files knows them."""
        if service == "files":
            return None
        answer = self._call("getsubids", *option, self._account.pw_name)
        lines = re.findall(r"(?m)^\d+: .+ (\d+) (\d+)$", answer[1] if answer else "")
        return tuple(IdRange(int(start), int(count)) for start, count in lines)

    def _try_userns(self) -> Optional[str]:
        return self._try_unshare()

    def _try_mounts(self) -> Optional[str]:
        # It makes all mounts private by itself (unshare(1), --propagation).
        return self._try_unshare("--mount")

    def _try_unshare(self, *more: str) -> Optional[str]:
        """Return what is said when namespaces are to be made; empty: they are, None: not tried."""
        answer = self._unshare(*more, "true")
        return None if answer is None else "" if answer[0] == 0 else answer[1].strip()

    def _unshare(self, *more: str) -> Optional[tuple[int, str]]:
        """Return how a user namespace with a mapped root goes, as buildah may make one; None: that cannot be tried."""
        arguments = (*UNSHARE, *more)
        if not self._confined():
            return self._call("unshare", *arguments)
        answer = self._call("aa-exec", f"--profile={APPARMOR_PROFILE}", "--", "unshare", *arguments)
        # That aa-exec may not says nothing of what buildah may.
        return None if answer is None or answer[1].lstrip().startswith("aa-exec:") else answer

    def _confined(self) -> bool:
        """Say whether AppArmor lets programs with a profile alone use user namespaces, and buildah has one (Ubuntu)."""
        restricted = self._number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1
        # The profile is for the packaged program only.
        packaged = self._find("buildah") in ("", "/usr/bin/buildah")
        return restricted and packaged and self._exists(f"/etc/apparmor.d/{APPARMOR_PROFILE}")

    def _mapping(self, name: str) -> list[tuple[int, int, int]]:
        return parse_mapping(self._read(f"/proc/self/{name}") or "")

    def _try_overlay(self) -> Optional[bool]:
        if not self._find("mount"):
            return None
        answer = self._unshare("--mount", "sh", "-c", _OVERLAY)
        return None if answer is None else answer[0] == 0

    def _try_mapping(self, uids: Sequence[IdRange], gids: Sequence[IdRange]) -> str:
        try:
            Shadow(find=lambda name: self._at(self._find(name)) if self._find(name) else None).probe(
                self._account, uids, gids)
        except OSError as error:
            # The kernel executes no program whose file has capabilities that are not to be had.
            return f"{error.filename}: {error.strerror}"
        except BuildahError as error:
            stderr = error.stderr if isinstance(error, CommandError) else ""
            return " ".join(stderr.split()) or error.message
        return ""


def look(run: Runner) -> Facts:
    """Return the facts of this host and the user who runs this.

    :param run: with the environment that builds get.
    """
    uid = os.getuid()
    account = _account(uid)
    nobody = pwd.struct_passwd((str(uid), "x", uid, os.getgid(), "", run.environment.get("HOME", "/"), "/bin/sh"))
    # What builds get, but the directories that were handed in: builds find the right ones by themselves.
    variables = {**run.environment, **{name: os.environ.get(name, "") for name in ("XDG_RUNTIME_DIR", "TMPDIR")}}
    profile = pod_profile(os.environ, uid)
    someone = account or nobody
    # A directory service may list nobody.
    return Look(run, someone, variables, profile=profile, has_account=account is not None).facts(*known_ids([someone]))


def _account(uid: int) -> Optional[pwd.struct_passwd]:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def pod_profile(environment: Mapping[str, str], uid: int) -> str:
    """Return how a pod builds, POD_ROOT or POD_USER; nothing outside of pods.

    :param environment: all variables of the process. Kubernetes gives every container the address of the API server,
        whatever enableServiceLinks says; pods of builds also say how they build.
    """
    inside = environment.get("ROOTLESS_BUILD_PROFILE") or environment.get("KUBERNETES_SERVICE_HOST")
    return "" if not inside else POD_USER if uid else POD_ROOT


def mount_of(mountinfo: str, path: str) -> Mount:
    """Return the file system that holds a path.

    :param mountinfo: the text of /proc/PID/mountinfo, proc_pid_mountinfo(5).
    :param path: an absolute path without symbolic links.
    """
    found, longest = Mount(), -1
    for line in mountinfo.splitlines():
        before, _dash, after = line.partition(" - ")
        fields = before.split()
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[4])
        # Of several on the same place the last one is on top.
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= longest:
            found, longest = Mount(point, after.split()[0], tuple(fields[5].split(","))), len(point)
    return found


def version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, padded to three."""
    numbers = [int(part) for part in re.findall(r"\d+", text)]
    return tuple((numbers + [0, 0, 0])[:3])


def mount_program_filesystems(tools: Mapping[str, str]) -> tuple[str, ...]:
    """Return the file systems on which this host's buildah makes no overlay without a mount program.

    :param tools: as in Facts.
    """
    found = tools.get("buildah", "")
    old = found and version(found) < ZFS_FROM
    return (*MOUNT_PROGRAM_FILESYSTEMS, "zfs") if old else MOUNT_PROGRAM_FILESYSTEMS


def can_be_native(facts: Facts) -> bool:
    """Say whether a native overlay can be where the store is."""
    unfit = (*NETWORK_FILESYSTEMS, *mount_program_filesystems(facts.tools))
    return bool(facts.native_overlay) and facts.store.filesystem not in unfit


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


def config_kind(text: Optional[str]) -> str:
    """Say how a user's storage.conf can be changed.

    :param text: the file's; None where there is none.
    :return: ``missing`` also where it says nothing at all, ``managed`` by role builder, ``sections`` where it has a
        table storage, ``inline`` where that stands in one line or in keys with dots, or ``bare``.
    """
    if text is None or not text.strip():
        return "missing"
    if MARKER in text:
        return "managed"
    if _search(r"(?m)^[ \t]*(\[[ \t]*[\"']?storage[\"']?[ \t]*\])", text):
        return "sections"
    return "inline" if _search(r"(?m)^[ \t]*([\"']?storage[\"']?[ \t]*[.=])", text) else "bare"


def _listed(ranges: Sequence[IdRange]) -> str:
    return " ".join(map(str, ranges)) or "nothing"


def _in_toml(name: str) -> str:
    return rf"(?m)^\s*{name}\s*=\s*[\"']([^\"']*)[\"']"


def _toml_value(name: str, text: Optional[str]) -> str:
    return _search(_in_toml(name), text)

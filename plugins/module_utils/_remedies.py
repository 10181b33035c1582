# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that cure a finding on the very host where it was found. Pure.

Each is a line for a shell of root's, complete as it is; they are meant in their order. What is set stays set after a
reboot where the host has a place for that. The roles do the same and can take it back; so files of the system's have
other names here than the roles' own, and where both set something the roles' files are read later and win. storage.conf
of the user has one name only: it is changed where it is the user's own, never where role builder keeps it or the
system's serves. Whoever wrote these values is not trusted: paths that the user chooses are changed with the user's
rights, or below the home, and no named image is removed to make room.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Callable, Iterable, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._host_choices import network_helper
from ansible_collections.rootless.buildah.plugins.module_utils._host_facts import (
    HELPER_DIRECTORIES,
    Facts,
    IdHelper,
    can_be_native,
)
from ansible_collections.rootless.buildah.plugins.module_utils._storage import HOST
from ansible_collections.rootless.buildah.plugins.module_utils._subid import (
    Change,
    Host,
    IdRange,
    Spans,
    Table,
    Wish,
    after,
    outside,
    overlapping,
    owners,
    plan,
)
from ansible_collections.rootless.buildah.plugins.module_utils._sysctl import proc_path

MAX_USER_NAMESPACES, PING_GROUPS = "15000", "0 2147483647"  # the defaults of role userns
OWN_CONFIG = ("sections", "inline", "bare")
# The head of the table storage as config_kind() finds it: with blanks, quotes and a comment where TOML allows them.
STORAGE = r"""^[[:space:]]*\[[[:space:]]*["']\{0,1\}storage["']\{0,1\}[[:space:]]*\]"""
LAST_ID = 2**32 - 2  # the one above is no id but -1
# The package of a program, where it has another name than the program.
PACKAGES = {
    "apt-get": {"newuidmap": "uidmap", "setcap": "libcap2-bin", "pasta": "passt"},
    "dnf": {"newuidmap": "shadow-utils", "setcap": "libcap", "pasta": "passt"},
    "zypper": {"newuidmap": "shadow", "setcap": "libcap-progs", "pasta": "passt"},
}
INSTALL = {
    "apt-get": ["apt-get update", "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {}"],
    "dnf": ["dnf install -y {}"],
    "zypper": ["zypper --non-interactive install {}"],
}
_q = shlex.quote


def install(package_manager: str, *programs: str) -> list[str]:
    """Return how programs get onto a host, nothing where its packages' names are not known."""
    names = PACKAGES.get(package_manager, {})
    packages = " ".join(dict.fromkeys(names.get(program, program) for program in programs))
    return [line.format(packages) for line in INSTALL.get(package_manager, [])] if packages else []


def as_user(facts: Facts, command: str) -> str:
    """Return a command as the builder user calls it, with nothing of root's environment that matters to buildah."""
    session = f"XDG_RUNTIME_DIR={_q(facts.session_dir)}" if facts.session_dir else "-u XDG_RUNTIME_DIR"
    return f"runuser -u {_q(facts.user)} -- env -C / -u TMPDIR {session} HOME={_q(facts.home)} {command}"


def _setting(facts: Facts, name: str, value: str) -> list[str]:
    if facts.settings_closed:
        return []
    return [
        # Read before the file of role userns.
        f"mkdir -p /etc/sysctl.d && echo '{name} = {value}' > /etc/sysctl.d/zz-builder-{name}.conf",
        f"echo '{value}' > {proc_path(name)}",
    ]


def _userns_off(facts: Facts) -> list[str]:
    return _setting(facts, "user.max_user_namespaces", MAX_USER_NAMESPACES)


def _userns_blocked(facts: Facts) -> list[str]:
    commands = []
    if facts.unprivileged_userns_clone == 0:
        commands += _setting(facts, "kernel.unprivileged_userns_clone", "1")
    if facts.apparmor_restrict_unprivileged_userns:
        commands += _setting(facts, "kernel.apparmor_restrict_unprivileged_userns", "0")
    return commands


def _ping_group_range(facts: Facts) -> list[str]:
    return _setting(facts, "net.ipv4.ping_group_range", PING_GROUPS)


# ---------------------------------------------------------------------------------------------------------------------
# Subordinate ids


def _writable(facts: Facts) -> Host | None:
    """Return the tables when usermod can change the user's ranges in them and all that is in them is known."""
    host = facts.subid_tables
    if host is None or facts.subid_service != "files" or facts.subid_closed or not facts.has_account:
        return None
    under_uid = any(table.granted_to(str(facts.uid)) for table in (host.subuid, host.subgid))
    return None if under_uid else host  # usermod sees what stands under the name only


def _fill_up(facts: Facts, host: Host) -> Change | None:
    """Return what role subid would add, nothing when there is no room."""
    try:
        return plan(host, [Wish(facts.user)], {facts.user: facts.uid})[0]
    except InputError:
        return None


def _usermod(change: Change | None) -> list[str]:
    return [" ".join(["usermod", *change.options(), _q(change.name)])] if change else []


def _while_idle(facts: Facts, steps: Sequence[str]) -> list[str]:
    """Return how ranges are taken away: usermod does it only while the user has no process (user_busy of shadow).

    :param steps: they become one line, so that none is taken after one that failed.
    """
    # All that the user's logins and lingering services run is in that slice: user@.service(5).
    end = [f"systemctl stop user-{facts.uid}.slice"] if facts.linger is not None else []
    again = [_start_services(facts)] if facts.linger else []
    return [*end, " && ".join(steps), *again]


def _add_ranges(facts: Facts) -> list[str]:
    host = _writable(facts)
    if host is None:
        return []
    # usermod does not make a table that is not there.
    make = [f"touch {table.path} && chmod a+r {table.path}" for table in (host.subuid, host.subgid) if not table.text]
    change = _usermod(_fill_up(facts, host))
    return [*make, *change] if change else []


def _unite_ranges(facts: Facts) -> list[str]:
    host = _writable(facts)
    if host is None:
        return []
    leaving = [overlapping(table.granted_to(facts.user)) for table in (host.subuid, host.subgid)]
    remove = Change(facts.user, del_uids=leaving[0], del_gids=leaving[1])
    # The user keeps the very ids, each once: whatever is in the image store belongs to them.
    united = [Spans(ranges).ranges() for ranges in leaving]
    left = after(after(host, remove), Change(facts.user, add_uids=united[0], add_gids=united[1]))
    more = _fill_up(facts, left)
    if more is None:
        return []
    add = Change(facts.user, add_uids=united[0] + more.add_uids, add_gids=united[1] + more.add_gids)
    return _while_idle(facts, _usermod(remove) + _usermod(add))


def _replace_ranges(facts: Facts, unwanted: Callable[[Table, IdRange], bool]) -> list[str]:
    """Take ranges away and give others.

    What the image store holds would belong to nobody, and who has no ids any more cannot remove it: it goes first.
    """
    host = _writable(facts)
    if host is None:
        return []
    leaving = [
        tuple(dict.fromkeys(item for item in table.granted_to(facts.user) if unwanted(table, item)))
        for table in (host.subuid, host.subgid)
    ]
    remove = Change(facts.user, del_uids=leaving[0], del_gids=leaving[1])
    add = _fill_up(facts, after(host, remove))
    # Somebody may keep images in the home itself, beside all else.
    several = facts.store.strategy != HOST  # beside the user's own, and each where its project wants it
    all_of_it = facts.store.there and f"{facts.home}/".startswith(f"{facts.store.graphroot.rstrip('/')}/")
    if add is None or all_of_it or several:
        return []
    return _while_idle(facts, [*_empty_store(facts, remove), *_usermod(remove), *_usermod(add)])


def _empty_store(facts: Facts, remove: Change) -> list[str]:
    if not facts.store.there:
        return []
    # Its runtime directory goes with the user's last process.
    user = replace(facts, session_dir="") if facts.linger is not None else facts
    return [
        # The last id belongs to nobody, so this changes nothing; but it fails when the removal would fail.
        f"usermod {'--del-subuids' if remove.del_uids else '--del-subgids'} {LAST_ID}-{LAST_ID} {_q(facts.user)}",
        as_user(user, f"buildah unshare find {_q(facts.store.graphroot)}/ -mindepth 1 -delete"),
    ]


def _leave_shared(facts: Facts) -> list[str]:
    names = owners(facts.user, facts.uid)

    def shared(table: Table, item: IdRange) -> bool:
        return any(line.granted.overlaps(item) for line in table.lines if line.granted and line.owner not in names)

    return _replace_ranges(facts, shared)


def _leave_accounts(facts: Facts) -> list[str]:
    def covers(table: Table, item: IdRange) -> bool:
        host = facts.subid_tables
        accounts = () if host is None else host.uids if table is host.subuid else host.gids
        return any(item.start <= number <= item.last for number in accounts)

    return _replace_ranges(facts, covers)


def _open_tables(facts: Facts) -> list[str]:
    return [f"chmod a+r {path}" for path in facts.subid_closed]


# ---------------------------------------------------------------------------------------------------------------------
# Programs


def _install(facts: Facts, *programs: str) -> list[str]:
    return install(facts.package_manager, *programs)


def _tools(facts: Facts) -> list[str]:
    return _install(facts, *(name for name in ("buildah", "skopeo") if name not in facts.tools))


def _give_capabilities(facts: Facts, helpers: Iterable[tuple[str, IdHelper]]) -> list[str]:
    given = [f"setcap {capability}=ep {_q(helper.path)}" for capability, helper in helpers]
    return given if not given or "setcap" in facts.tools else _install(facts, "setcap") + given


def _helpers(facts: Facts) -> tuple[tuple[str, IdHelper], ...]:
    return (("cap_setuid", facts.newuidmap), ("cap_setgid", facts.newgidmap))


def _newuidmap(facts: Facts) -> list[str]:
    helpers = _helpers(facts)
    absent = any(not helper.path for _capability, helper in helpers)
    mounted = dict.fromkeys(helper.nosuid for _capability, helper in helpers if helper.nosuid)
    weak = [(capability, helper) for capability, helper in helpers
            if helper.path and helper.kind == "none" and not helper.nosuid]
    return [
        *(_install(facts, "newuidmap") if absent else []),
        *(f"mount -o remount,bind,suid {_q(point)}" for point in mounted),
        *_give_capabilities(facts, weak),
    ]


def _single_mapping(facts: Facts) -> list[str]:
    if facts.no_new_privs or facts.sys_admin:
        return []
    setuid = [(capability, helper) for capability, helper in _helpers(facts) if helper.kind == "setuid"]
    # The bit is taken first: chmod and chown take capabilities away.
    return [f"chmod u-s {_q(helper.path)}" for _capability, helper in setuid] + _give_capabilities(facts, setuid)


def _netavark(facts: Facts) -> list[str]:
    if facts.network_backend == "cni" and facts.network_backend_named:
        return []
    if not facts.netavark_elsewhere:
        # Packages put it where buildah looks by default.
        return _install(facts, "netavark") if facts.helper_directory in ("", *HELPER_DIRECTORIES) else []
    directory = facts.helper_directory
    return [f"mkdir -p {_q(directory)} && ln -sf {_q(facts.netavark_elsewhere)} {_q(f'{directory}/netavark')}"]


def network_command(facts: Facts) -> str:
    """Return what makes the network of RUN steps on this host, whose buildah is known."""
    return network_helper(f"version {facts.tools['buildah']}", facts.network_command)


def _network(facts: Facts) -> list[str]:
    program = network_command(facts)
    commands = [] if program in facts.tools else _install(facts, program)
    return commands + _device(facts, "tun", "/dev/net/tun", facts.tun_device)


def _device(facts: Facts, module: str, path: str, state: str) -> list[str]:
    # The files are those of modules-load.d(5) and tmpfiles.d(5).
    load = [f"mkdir -p /etc/modules-load.d && echo {module} > /etc/modules-load.d/builder-{module}.conf",
            f"modprobe {module}"]
    opening = [f"mkdir -p /etc/tmpfiles.d && echo 'z {path} 0666 - - -' > /etc/tmpfiles.d/builder-{module}.conf",
               f"chmod 0666 {path}"]
    if state == "missing":
        # Who has a part of all ids is in a container, and loads no modules.
        return load + opening if "modprobe" in facts.tools and not outside(facts.uid_map) else []
    return opening if state == "closed" else []


def _runtime(facts: Facts) -> list[str]:
    wanted = facts.runtime.rpartition("/")[2] if facts.runtime and not facts.runtime_path else "crun"
    return _install(facts, wanted) if wanted in ("crun", "runc") else []


def _fuse(facts: Facts) -> list[str]:
    program = [] if "fuse-overlayfs" in facts.tools else _install(facts, "fuse-overlayfs")
    return program + _device(facts, "fuse", "/dev/fuse", facts.fuse_device)


# ---------------------------------------------------------------------------------------------------------------------
# The image store


def _edit(facts: Facts, *expressions: str) -> str:
    """Return how the user's storage.conf is edited, with the user's rights: it may be a link to anywhere."""
    return as_user(facts, " ".join(["sed -i", *(f"-e {_q(one)}" for one in expressions), _q(facts.store.config)]))


def _new_config(facts: Facts, *settings: str) -> str:
    """Return how a user who has no storage.conf gets one."""
    config, directory = _q(facts.store.config), _q(facts.store.config.rpartition("/")[0])
    text = "".join(rf"{line}\n" for line in ("[storage]", *settings))
    return as_user(facts, "sh -c " + _q(f"mkdir -p {directory} && printf '{text}' > {config}"))


def _drop_mount_program(facts: Facts) -> list[str]:
    store = facts.store
    own = store.config_kind in OWN_CONFIG and not store.made_with_fuse
    return [_edit(facts, "/^[[:space:]]*mount_program[[:space:]]*=/d")] if own else []


def _choose_overlay(facts: Facts) -> list[str]:
    store = facts.store
    if not can_be_native(facts):
        return []
    if not store.driver_set:
        return [_new_config(facts, 'driver = "overlay"')] if store.config_kind == "missing" else []
    if store.config_kind != "sections":
        return []
    return [_edit(facts, r's/^\([[:space:]]*driver[[:space:]]*=\).*/\1 "overlay"/')]


def _move_store(facts: Facts) -> list[str]:
    store = facts.store
    # Where there is a table storage without a head, another one would be its second: only its user can say where to.
    if not store.elsewhere or store.config_kind in ("managed", "inline") or store.strategy != HOST:
        return []
    line = f'graphroot = "{store.elsewhere}"'
    driver = "vfs" if store.driver == "vfs" else "overlay"
    drop = "/^[[:space:]]*graphroot[[:space:]]*=/d"
    write = {
        "sections": _edit(facts, drop, f"/{STORAGE}/a {line}"),
        # Inserted before the first line can be dropped.
        "bare": _edit(facts, rf"1i [storage]\n{line}\n", drop),
    }.get(store.config_kind) or _new_config(facts, f'driver = "{driver}"', line)
    return [
        f"install -d -m 0700 -o {_q(facts.user)} -g {facts.gid} {_q(store.elsewhere)}",
        write,
        *([_try_overlays_anew(facts)] if driver == "overlay" else []),
    ]


def _try_overlays_anew(facts: Facts) -> str:
    """Return how buildah forgets that no overlay could be; else it says so of the new place, too, until a reboot.

    containers/storage, drivers/overlay: cachedFeatureCheck; in the directory of _user.buildah_runtime_dir.
    """
    base = facts.session_dir or f"/var/tmp/containers-user-{facts.uid}/containers"
    places = (f"{base}/overlay/overlay-false", f"{base}/containers/overlay/overlay-false")
    return as_user(facts, " ".join(["rm -f", *map(_q, places)]))


def no_home(facts: Facts) -> bool:
    """Say whether the store lacks nothing but the home above it."""
    return not facts.home_there and f"{facts.home}/".startswith(f"{facts.store.unmade}/")


def _make_home(facts: Facts) -> list[str]:
    # Debian's name for a home that is to be none; and of a user without account the home is what the environment says.
    if facts.home_source or facts.home == "/nonexistent" or not facts.has_account:
        return []
    return [f"install -d -m 0700 -o {_q(facts.user)} -g {facts.gid} {_q(facts.home)}"]


def _give_back(facts: Facts) -> list[str]:
    if facts.store.unmade and no_home(facts):
        return _make_home(facts)
    store, user = facts.store, _q(facts.user)
    # The user chooses graphroot: what lies elsewhere, /etc as well as the system's own store, is not to be given away.
    # What is the user's own and closed all the same is on a file system that nobody may write to.
    if store.closed_owner in (None, facts.uid) or not store.closed_at_home:
        return []
    if store.closed_top == facts.home:
        # A home by another name may be everybody's, as /var/lib or /.
        own = facts.home.rpartition("/")[2] == facts.user and store.closed_owner == 0
        return [f"chown -h {user}:{facts.gid} {_q(facts.home)}"] if own else []
    # The user can put links into the way while this runs: it works from where it has arrived. Only that owner's files:
    # the others belong to images.
    above, _slash, name = store.closed_top.rpartition("/")
    return [
        (f"cd -P {_q(above)} && [ \"$(pwd -P)\" = {_q(above)} ] && find {_q(f'./{name}')} -xdev "
         f"-uid {store.closed_owner} -execdir chown -h {user}:{facts.gid} {{}} +")
    ]


def _prune(facts: Facts) -> list[str]:
    # Images without a name: another one was perhaps never pushed. buildah has `prune` from 1.30 on only.
    return [as_user(facts, "buildah rmi --prune")] if facts.store.strategy == HOST else []


# ---------------------------------------------------------------------------------------------------------------------
# Logins


def _linger(facts: Facts) -> list[str]:
    return [_start_services(facts) if facts.linger else f"loginctl enable-linger {_q(facts.user)}"]


def _start_services(facts: Facts) -> str:
    """Return what starts the service manager of a user who lingers, and makes the runtime directory."""
    return f"systemctl start user@{facts.uid}.service"


def _runtime_dir(facts: Facts) -> list[str]:
    own = facts.runtime_dir == f"/run/user/{facts.uid}" and facts.runtime_dir_owner is None
    return _linger(facts) if own and facts.linger is not None else []


# A finding that is missing here has no command anywhere; Finding.by_hand says why.
COMMANDS: dict[str, Callable[[Facts], list[str]]] = {
    "userns_off": _userns_off,
    "userns_blocked": _userns_blocked,
    "subid_missing": _add_ranges,
    "subid_short": _add_ranges,
    "subid_unreadable": _open_tables,
    "subid_doubled": _unite_ranges,
    "subid_shared": _leave_shared,
    "subid_covers_account": _leave_accounts,
    "newuidmap": _newuidmap,
    "single_mapping": _single_mapping,
    "pause_stale": lambda facts: [as_user(facts, "podman system migrate")],
    "tools_missing": _tools,
    "netavark_missing": _netavark,
    "network_helper": _network,
    "runtime_missing": _runtime,
    "crun_missing": lambda facts: _install(facts, "crun"),
    "fuse_missing": _fuse,
    "native_overlay": lambda facts: _install(facts, "fuse-overlayfs"),
    "fuse_needless": _drop_mount_program,
    "graphroot_filesystem": _move_store,
    "store_not_writable": _give_back,
    "store_noexec": _choose_overlay,
    "store_nosuid": _choose_overlay,
    "disk_full": _prune,
    "disk_low": _prune,
    "runtime_dir": _runtime_dir,
    "no_linger": _linger,
    "ping_group_range": _ping_group_range,
}


def commands_for(name: str, facts: Facts) -> list[str]:
    """Return the commands that cure a finding, in their order; none where no command can."""
    return COMMANDS[name](facts) if name in COMMANDS else []

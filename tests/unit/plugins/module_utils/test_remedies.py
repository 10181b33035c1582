# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each finding has its commands, complete and for this very host, or a reason why no command serves.

That they cure is shown on real hosts, in tests/integration/test_doctor.py.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._diagnosis import as_results, diagnose
from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID, FINDINGS
from ansible_collections.rootless.buildah.plugins.module_utils._host_facts import (
    Facts,
    IdHelper,
    Store,
    Subids,
    config_kind,
)
from ansible_collections.rootless.buildah.plugins.module_utils._remedies import COMMANDS, as_user, commands_for, install
from ansible_collections.rootless.buildah.plugins.module_utils._subid import Host, IdRange, Limits, Table

# pytest brings the other one along where Python has none.
toml = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
TOOLS = {"buildah": "1.39.3", "skopeo": "1.18.0", "crun": "1.21", "setcap": "", "modprobe": ""}
APT = ["apt-get update", "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {}"]
AS_USER = "runuser -u builder -- env -C / -u TMPDIR XDG_RUNTIME_DIR=/run/user/1001 HOME=/home/builder "


def tables(subuid: str, subgid: str | None = None, **accounts: Any) -> Host:
    return Host(Table.parse("/etc/subuid", subuid), Table.parse("/etc/subgid", subuid if subgid is None else subgid),
                Limits(), **accounts)


def at_boot(name: str, value: str) -> str:
    return f"mkdir -p /etc/sysctl.d && echo '{name} = {value}' > /etc/sysctl.d/zz-builder-{name}.conf"


FACTS = Facts(
    user="builder", uid=1001, gid=1002, home="/home/builder", package_manager="apt-get", tools=TOOLS,
    session_dir="/run/user/1001", subid_tables=tables("builder:100000:65536\n"),
    newuidmap=IdHelper("/usr/bin/newuidmap", "4755", "setuid"),
    newgidmap=IdHelper("/usr/bin/newgidmap", "4755", "setuid"),
    fuse_device="open", tun_device="open", helper_directory="/usr/local/libexec/podman",
)
WEAK = IdHelper("/usr/bin/newuidmap", "0755", "none")
STORE = Store(graphroot="/home/builder/.local/share/containers/storage", there=True,
              config="/home/builder/.config/containers/storage.conf", mount_point="/home")
PROJECTS = replace(STORE, strategy="project", graphroot="/srv/builds")
HEADER = r"""^[[:space:]]*\[[[:space:]]*["']\{0,1\}storage["']\{0,1\}[[:space:]]*\]"""
SET_DRIVER = rf"""{AS_USER}sed -i -e 's/^\([[:space:]]*driver[[:space:]]*=\).*/\1 "overlay"/' {STORE.config}"""


def closed(place: str, owner: int, **more: Any) -> Store:
    """Return a store to which the user may not write."""
    return Store(**{"graphroot": place, "closed": place, "closed_top": place, "closed_owner": owner,
                    "closed_at_home": True, **more})


NO_HOME: dict[str, Any] = {
    "home_there": False, "store": closed("/", 0, closed_at_home=False, unmade="/home", graphroot=STORE.graphroot)}
EXPECTED: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "a setting, now and at boot": ("userns_off", {}, [
        at_boot("user.max_user_namespaces", "15000"),
        "echo '15000' > /proc/sys/user/max_user_namespaces"]),
    "a setting that only the host of a container has": ("userns_off", {"settings_closed": True}, []),
    "namespaces for users": ("userns_blocked", {"unprivileged_userns_clone": 0}, [
        at_boot("kernel.unprivileged_userns_clone", "1"),
        "echo '1' > /proc/sys/kernel/unprivileged_userns_clone"]),
    "namespaces where AppArmor restricts them": ("userns_blocked", {"apparmor_restrict_unprivileged_userns": 1}, [
        at_boot("kernel.apparmor_restrict_unprivileged_userns", "0"),
        "echo '0' > /proc/sys/kernel/apparmor_restrict_unprivileged_userns"]),
    "namespaces that seccomp denies": ("userns_blocked", {}, []),
    "ids that a container does not have": (
        "subid_missing", {"subid_tables": replace(tables(""), unmapped=(IdRange(65536, 2**32 - 65537),))}, []),
    "the user's own uid, which no directory lists": (
        "subid_missing", {"subid_tables": tables("bob:300000:1\n", uids={100123: "builder"})},
        ["usermod --add-subuids 100124-165659 --add-subgids 100124-165659 builder"]),
    "a process without an account": ("subid_missing", {"has_account": False, "subid_tables": tables("")}, []),
    "the first free range": ("subid_missing", {"subid_tables": tables("bob:100000:65536\n")}, [
        "usermod --add-subuids 165536-231071 --add-subgids 165536-231071 builder"]),
    "gids like the uids, when those are free": (
        "subid_missing", {"subid_tables": tables("builder:100000:65536\n", "bob:100000:65536\n")}, [
            "usermod --add-subgids 165536-231071 builder"]),
    "no tables": ("subid_missing", {"subid_tables": tables("")}, [
        "touch /etc/subuid && chmod a+r /etc/subuid", "touch /etc/subgid && chmod a+r /etc/subgid",
        "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 builder"]),
    "ranges of a directory service": ("subid_missing", {"subid_service": "sss", "subid_tables": tables("")}, []),
    "no ids left": ("subid_missing", {"subid_tables": tables("bob:65536:4294901759\n")}, []),
    "ids above the user's own": ("subid_short", {"subid_tables": tables("builder:300000:1000\n")}, [
        "usermod --add-subuids 301000-365535 --add-subgids 301000-365535 builder"]),
    "a range under the uid": ("subid_short", {"subid_tables": tables("1001:300000:1000\n")}, []),
    "a table that cannot be read": ("subid_short", {"subid_closed": ("/etc/subuid",)}, []),
    "a table to be opened": ("subid_unreadable", {"subid_closed": ("/etc/subuid",)}, ["chmod a+r /etc/subuid"]),
    "the same range twice": ("subid_doubled", {"subid_tables": tables("builder:100000:65536\n" * 2)}, [
        ("usermod --del-subuids 100000-165535 --del-subgids 100000-165535 builder && "
         "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 builder")]),
    "the same range twice, of a user who lingers": (
        "subid_doubled", {"subid_tables": tables("builder:100000:65536\n" * 2, "builder:100000:65536\n"),
                          "linger": True},
        ["systemctl stop user-1001.slice",
         "usermod --del-subuids 100000-165535 builder && usermod --add-subuids 100000-165535 builder",
         "systemctl start user@1001.service"]),
    "overlapping ranges, too short together": (
        "subid_doubled", {"subid_tables": tables("builder:100000:100\nbuilder:100050:100\n", "builder:100000:65536\n")},
        [("usermod --del-subuids 100000-100099 --del-subuids 100050-100149 builder && "
         "usermod --add-subuids 100000-100149 --add-subuids 165536-230921 builder")]),
    "a shared range and what was stored with it": (
        "subid_shared",
        {"subid_tables": tables("builder:100000:65536\nbuilder:300000:5\nbob:165535:1\n"), "store": STORE},
        [("usermod --del-subuids 4294967294-4294967294 builder && "
         f"{AS_USER}buildah unshare find {STORE.graphroot}/ -mindepth 1 -delete && "
          "usermod --del-subuids 100000-165535 --del-subgids 100000-165535 builder && "
          "usermod --add-subuids 300005-365535 --add-subgids 300005-365535 builder")]),
    "a shared range of gids where systemd runs": (
        "subid_shared",
        {"subid_tables": tables("builder:100000:65536\n", "builder:100000:65536\nbob:165535:1\n"), "store": STORE,
         "linger": False},
        ["systemctl stop user-1001.slice",
         ("usermod --del-subgids 4294967294-4294967294 builder && "
          "runuser -u builder -- env -C / -u TMPDIR -u XDG_RUNTIME_DIR HOME=/home/builder "
          f"buildah unshare find {STORE.graphroot}/ -mindepth 1 -delete && "
          "usermod --del-subgids 100000-165535 builder && usermod --add-subgids 165536-231071 builder")]),
    "a store that is the home": (
        "subid_shared", {"subid_tables": tables("builder:100000:65536\nbob:165535:1\n"),
                         "store": replace(STORE, graphroot="/home/builder/")}, []),
    "a range with an account": (
        "subid_covers_account", {"subid_tables": tables("builder:100000:65536\n", uids={100007: "eve"})},
        ["usermod --del-subuids 100000-165535 builder && usermod --add-subuids 165536-231071 builder"]),
    "no newuidmap": ("newuidmap", {"newuidmap": IdHelper()}, [APT[0], APT[1].format("uidmap")]),
    "no newuidmap on Red Hat": (
        "newuidmap", {"newuidmap": IdHelper(), "package_manager": "dnf"}, ["dnf install -y shadow-utils"]),
    "a helper without right": ("newuidmap", {"newuidmap": WEAK}, ["setcap cap_setuid=ep /usr/bin/newuidmap"]),
    "a helper without right, and no setcap": (
        "newuidmap", {"newuidmap": WEAK, "tools": {}, "package_manager": "zypper"},
        ["zypper --non-interactive install libcap-progs", "setcap cap_setuid=ep /usr/bin/newuidmap"]),
    "helpers on a file system without setuid": (
        "newuidmap", {name: replace(WEAK, nosuid="/usr") for name in ("newuidmap", "newgidmap")},
        ["mount -o remount,bind,suid /usr"]),
    "the wrong kind of helper": ("single_mapping", {"sys_admin": False}, [
        "chmod u-s /usr/bin/newuidmap", "chmod u-s /usr/bin/newgidmap",
        "setcap cap_setuid=ep /usr/bin/newuidmap", "setcap cap_setgid=ep /usr/bin/newgidmap"]),
    "a process without privileges": ("single_mapping", {"no_new_privs": True, "sys_admin": False}, []),
    "podman's namespace": ("pause_stale", {}, [f"{AS_USER}podman system migrate"]),
    "one tool of two": ("tools_missing", {"tools": {"buildah": "1.39.3"}}, [APT[0], APT[1].format("skopeo")]),
    "tools of an unknown host": ("tools_missing", {"tools": {}, "package_manager": ""}, []),
    "netavark": ("netavark_missing", {}, [APT[0], APT[1].format("netavark")]),
    "netavark in another directory": (
        "netavark_missing", {"netavark_elsewhere": "/usr/lib/podman/netavark", "helper_directory": "/opt/my helpers"},
        ["mkdir -p '/opt/my helpers' && ln -sf /usr/lib/podman/netavark '/opt/my helpers/netavark'"]),
    "CNI that is demanded": (
        "netavark_missing", {"network_backend": "cni", "network_backend_named": True, "netavark": "/x"}, []),
    "netavark for a directory that no package knows": ("netavark_missing", {"helper_directory": "/opt"}, []),
    "pasta": ("network_helper", {}, [APT[0], APT[1].format("passt")]),
    "slirp4netns": ("network_helper", {"tools": {"buildah": "1.28.2"}}, [APT[0], APT[1].format("slirp4netns")]),
    "a closed device": ("network_helper", {"tools": {**TOOLS, "pasta": ""}, "tun_device": "closed"}, [
        "mkdir -p /etc/tmpfiles.d && echo 'z /dev/net/tun 0666 - - -' > /etc/tmpfiles.d/builder-tun.conf",
        "chmod 0666 /dev/net/tun"]),
    "a missing device": ("fuse_missing", {"tools": {**TOOLS, "fuse-overlayfs": "1.10"}, "fuse_device": "missing"}, [
        "mkdir -p /etc/modules-load.d && echo fuse > /etc/modules-load.d/builder-fuse.conf", "modprobe fuse",
        "mkdir -p /etc/tmpfiles.d && echo 'z /dev/fuse 0666 - - -' > /etc/tmpfiles.d/builder-fuse.conf",
        "chmod 0666 /dev/fuse"]),
    "a missing device in a container": (
        "fuse_missing", {"tools": {"fuse-overlayfs": "1.10"}, "fuse_device": "missing"}, []),
    "no fuse-overlayfs": ("fuse_missing", {}, [APT[0], APT[1].format("fuse-overlayfs")]),
    "no runtime": ("runtime_missing", {}, [APT[0], APT[1].format("crun")]),
    "the runtime that is set": ("runtime_missing", {"runtime": "/usr/bin/runc"}, [APT[0], APT[1].format("runc")]),
    "a runtime that no package has": ("runtime_missing", {"runtime": "my-runtime"}, []),
    "a store that cannot stay": (
        "graphroot_filesystem", {"store": replace(STORE, elsewhere="/srv/builder-containers", config_kind="sections")},
        ["install -d -m 0700 -o builder -g 1002 /srv/builder-containers",
         AS_USER + "sed -i -e '/^[[:space:]]*graphroot[[:space:]]*=/d' "
         + "-e " + shlex.quote(f'/{HEADER}/a graphroot = "/srv/builder-containers"') + " " + STORE.config,
         AS_USER + "rm -f /run/user/1001/overlay/overlay-false /run/user/1001/containers/overlay/overlay-false"]),
    "a store that cannot stay, without a file": (
        "graphroot_filesystem", {"store": replace(STORE, elsewhere="/srv/b", driver="vfs")},
        ["install -d -m 0700 -o builder -g 1002 /srv/b",
         AS_USER + "sh -c " + shlex.quote(
             "mkdir -p /home/builder/.config/containers && "
             r"""printf '[storage]\ndriver = "vfs"\ngraphroot = "/srv/b"\n' > """ + STORE.config)]),
    "a store that the role set": (
        "graphroot_filesystem", {"store": replace(STORE, elsewhere="/srv/b", config_kind="managed")}, []),
    "a store that the user sets with keys that have dots": (
        "graphroot_filesystem", {"store": replace(STORE, elsewhere="/srv/b", config_kind="inline")}, []),
    "a store that has no other place": ("graphroot_filesystem", {"store": STORE}, []),
    "a home of root": ("store_not_writable", {"store": closed("/home/builder", 0)},
                       ["chown -h builder:1002 /home/builder"]),
    "no home": ("store_not_writable", NO_HOME, ["install -d -m 0700 -o builder -g 1002 /home/builder"]),
    "no home while its user is away": ("store_not_writable", {**NO_HOME, "home_source": "systemd-homed"}, []),
    "a home that is to be none": (
        "store_not_writable", {**NO_HOME, "home": "/nonexistent", "store": closed("/", 0, unmade="/nonexistent")}, []),
    "no home of nobody": ("store_not_writable", {**NO_HOME, "has_account": False}, []),
    "a place where the user can make nothing": (
        "store_not_writable",
        {"store": closed("/srv", 0, closed_at_home=False, unmade="/srv/a", graphroot="/srv/a/b")}, []),
    "a home that is everybody's": (
        "store_not_writable", {"home": "/var/lib", "store": closed("/var/lib", 0)}, []),
    "a home that is another user's": ("store_not_writable", {"store": closed("/home/builder", 1005)}, []),
    "a store of root": ("store_not_writable", {"store": closed("/home/builder/.local", 0)}, [
        ('cd -P /home/builder && [ "$(pwd -P)" = /home/builder ] && '
         "find ./.local -xdev -uid 0 -execdir chown -h builder:1002 {} +")]),
    "a store on a file system that is mounted read-only": (
        "store_not_writable", {"store": closed("/home/builder/.local", 1001)}, []),
    "the store of the system": (
        "store_not_writable", {"store": closed("/var/lib/containers/storage", 0, closed_at_home=False)}, []),
    "a directory of the system": ("store_not_writable", {"store": closed("/etc", 0, closed_at_home=False)}, []),
    "a link out of the home": (
        "store_not_writable", {"store": closed("/home/builder/link", 0, closed_at_home=False)}, []),
    "a place that is not the user's to take": (
        "store_not_writable", {"store": closed("/srv", 0, closed_at_home=False, graphroot="/srv/a/b")}, []),
    "vfs that cannot execute": (
        "store_noexec", {"store": replace(STORE, config_kind="sections"), "native_overlay": True}, [SET_DRIVER]),
    "vfs without setuid": (
        "store_nosuid", {"store": replace(STORE, config_kind="sections"), "native_overlay": True}, [SET_DRIVER]),
    "vfs that nothing sets": (
        "store_noexec", {"store": replace(STORE, driver="vfs", driver_set=False), "native_overlay": True},
        [AS_USER + "sh -c " + shlex.quote(
            "mkdir -p /home/builder/.config/containers && "
            r"""printf '[storage]\ndriver = "overlay"\n' > """ + STORE.config)]),
    "vfs that is taken because overlay does not work": (
        "store_noexec", {
            "store": replace(STORE, driver="vfs", driver_set=False, config_kind="sections"), "native_overlay": True},
        []),
    "vfs that the system's file sets": ("store_nosuid", {"store": STORE, "native_overlay": True}, []),
    "vfs that the role set": (
        "store_nosuid", {"store": replace(STORE, config_kind="managed"), "native_overlay": True}, []),
    "vfs where overlays cannot be mounted": (
        "store_noexec", {"store": replace(STORE, config_kind="sections"), "native_overlay": False}, []),
    "vfs where overlays cannot be put": (
        "store_noexec", {"store": replace(STORE, config_kind="sections", filesystem="overlay"),
                         "native_overlay": True}, []),
    "vfs on zfs, which an old buildah takes for a place where overlays cannot be put": (
        "store_noexec", {"store": replace(STORE, config_kind="sections", filesystem="zfs"), "native_overlay": True,
                         "tools": {**TOOLS, "buildah": "1.28.2"}}, []),
    "vfs on zfs": (
        "store_noexec", {"store": replace(STORE, config_kind="sections", filesystem="zfs"), "native_overlay": True,
                         "tools": {**TOOLS, "buildah": "1.39.3"}}, [SET_DRIVER]),
    "a needless mount program": (
        "fuse_needless", {"store": replace(STORE, config_kind="sections", mount_program="/x")},
        [f"{AS_USER}sed -i -e '/^[[:space:]]*mount_program[[:space:]]*=/d' {STORE.config}"]),
    # Only who has the images can say whether they may go.
    "a store that was made with it": (
        "fuse_needless",
        {"store": replace(STORE, config_kind="sections", mount_program="/x", made_with_fuse=True)}, []),
    "a needless mount program of the role's": (
        "fuse_needless", {"store": replace(STORE, config_kind="managed", mount_program="/x")}, []),
    "a full disk": ("disk_full", {"store": STORE}, [f"{AS_USER}buildah rmi --prune"]),
    "a disk that is nearly full": ("disk_low", {"store": STORE}, [f"{AS_USER}buildah rmi --prune"]),
    "a full disk of projects": ("disk_full", {"store": PROJECTS}, []),
    "a disk of projects that is nearly full": ("disk_low", {"store": PROJECTS}, []),
    "stores of projects that cannot stay": (
        "graphroot_filesystem", {"store": replace(PROJECTS, elsewhere="/srv/b", config_kind="sections")}, []),
    "stores of projects with a shared range": (
        "subid_shared", {"subid_tables": tables("builder:100000:65536\nbob:165535:1\n"), "store": PROJECTS}, []),
    "a directory that systemd makes": (
        "runtime_dir", {"runtime_dir": "/run/user/1001", "linger": False}, ["loginctl enable-linger builder"]),
    "a directory of somebody else": (
        "runtime_dir", {"runtime_dir": "/run/user/0", "runtime_dir_owner": 0, "linger": False}, []),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_commands_are_for_this_host(case: str) -> None:
    name, facts, expected = EXPECTED[case]
    commands = commands_for(name, replace(FACTS, **facts))
    assert commands == expected
    # Where there is none, the catalogue says why.
    assert commands or BY_ID[name].by_hand


@pytest.mark.parametrize("case", EXPECTED)
def test_they_are_complete_lines_of_a_shell(case: str) -> None:
    name, facts, _expected = EXPECTED[case]
    for command in commands_for(name, replace(FACTS, **facts)):
        assert "\n" not in command and not {"USER", "FIRST", "LAST"} & set(command.replace("-", " ").split())
        subprocess.run(["sh", "-n", "-c", command], check=True)


def test_a_finding_without_commands_says_why() -> None:
    assert all(finding.by_hand for finding in FINDINGS if finding.id not in COMMANDS)
    assert set(COMMANDS) <= set(BY_ID)


@pytest.mark.parametrize("text, others", [
    (None, {"driver": "overlay"}),
    ("", {"driver": "overlay"}),
    (" \n\t\n", {"driver": "overlay"}),
    ("# mine\n#[storage]\n", {}),
    ("# mine", {}),
    ('[storage]\ndriver = "overlay"\n', {"driver": "overlay"}),
    ('[storage]', {}),
    ('[storage] # mine\ndriver = "overlay"\n', {"driver": "overlay"}),
    ('[storage]#mine\r\ndriver = "overlay"\r\n', {"driver": "overlay"}),
    ('  [storage]\n  driver = "overlay"\n  graphroot = "/nfs"\n', {"driver": "overlay"}),
    ('\t[ storage ]\ndriver = "overlay"\n', {"driver": "overlay"}),
    ('["storage"]\ngraphroot = "/nfs"\n', {}),
    ("[ 'storage' ]\ngraphroot = '/nfs'\n", {}),
    ('[storage.options]\nmount_program = "/x"\n[ storage ] # late\ngraphroot = "/nfs"\n',
     {"options": {"mount_program": "/x"}}),
    ('[storage.options]\nmount_program = "/x"\n', {"options": {"mount_program": "/x"}}),
    # A key of no table; the table that comes above it would take it in.
    ('graphroot = "/nfs"\n[storage.options]\nmount_program = "/x"\n', {"options": {"mount_program": "/x"}}),
    ('graphroot = "/nfs"', {}),
])
def test_a_moved_store_leaves_a_file_that_can_be_read(text: str | None, others: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "own" / "storage.conf"
    if text is not None:
        config.parent.mkdir()
        config.write_bytes(text.encode())
    store = replace(STORE, config=str(config), config_kind=config_kind(text), elsewhere="/srv/b")
    written = commands_for("graphroot_filesystem", replace(FACTS, store=store))[1]
    assert written.startswith(AS_USER)
    subprocess.run(["sh", "-c", written.removeprefix(AS_USER)], check=True)
    assert toml.loads(config.read_text())["storage"] == {"graphroot": "/srv/b", **others}
    # What else the user wrote is there as it was.
    kept = [line for line in (text or "").splitlines() if line.strip() and not re.match(r"\s*graphroot", line)]
    assert not set(kept) - set(config.read_text().splitlines())


@pytest.mark.parametrize("text", [
    'storage = {graphroot = "/nfs"}\n', '# mine\nstorage.driver = "overlay"\n', ' "storage" . driver = "overlay"\n',
    'storage.driver = "overlay"\n[storage.options]\nmount_program = "/x"\n',
])
def test_a_file_that_no_line_can_be_added_to_is_left_to_its_user(text: str) -> None:
    assert "storage" in toml.loads(text)
    store = replace(STORE, config_kind=config_kind(text), elsewhere="/srv/b")
    assert commands_for("graphroot_filesystem", replace(FACTS, store=store)) == []
    assert "dots" in BY_ID["graphroot_filesystem"].by_hand


def test_names_cannot_break_out() -> None:
    facts = replace(FACTS, user="a b", home="/home/it's", session_dir="")
    words = shlex.split(as_user(facts, "true"))
    assert words == ["runuser", "-u", "a b", "--", "env", "-C", "/", "-u", "TMPDIR", "-u", "XDG_RUNTIME_DIR",
                     "HOME=/home/it's", "true"]  # fmt: skip


def test_a_package_is_asked_for_once() -> None:
    assert install("dnf", "crun", "crun", "newuidmap") == ["dnf install -y crun shadow-utils"]
    assert install("dnf") == install("pacman", "crun") == []


def test_results_carry_them() -> None:
    facts = replace(FACTS, linger=False)
    found = [one for one in as_results(diagnose(facts), facts) if one["id"] == "no_linger"]
    assert found[0]["commands"] == ["loginctl enable-linger builder"]


def test_the_tables_of_all_users_are_not_returned() -> None:
    facts = replace(FACTS, subuid=Subids((IdRange(1, 2),)))
    assert "subid_tables" not in facts.as_result()
    assert facts.as_result()["subuid"]["ranges"] == ({"start": 1, "count": 2},)

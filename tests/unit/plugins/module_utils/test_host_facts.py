# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a host: from files laid out as on real ones, and programs that print what the real ones printed."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._host_facts import (
    Facts,
    Look,
    Mount,
    has_file_capability,
    look,
    mount_of,
    pod_profile,
    subids,
)
from ansible_collections.rootless.buildah.plugins.module_utils._managed_file import marker_line
from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner
from ansible_collections.rootless.buildah.plugins.module_utils._subid import IdRange, Table

# Printed by the tools of Debian 12 (buildah, crun, fuse-overlayfs) and by those of the projects' documentation.
PRINTED = {
    "buildah": "buildah version 1.28.2 (image-spec 1.1.0-rc2, runtime-spec 1.0.2-dev)",
    "skopeo": "skopeo version 1.9.3",
    "crun": "crun version 1.8.1\ncommit: f8a096be060b22ccd3d5f3ebe44108517fbf6c30\nrundir: /run/crun\nspec: 1.0.0",
    "runc": "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\ngo: go1.19.8",
    "fuse-overlayfs": "unknown argument ignored: lazytime\nfusermount3 version: 3.14.0\n"
                      "fuse-overlayfs: version 1.10\nFUSE library version 3.14.0",
}
VERSIONS = {"buildah": "1.28.2", "skopeo": "1.9.3", "crun": "1.8.1", "runc": "1.1.5", "fuse-overlayfs": "1.10"}
# /proc/self/mountinfo of a Debian with a volume for homes and, on top of a part of it, NFS.
MOUNTS = """\
24 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 24 0:25 / /home rw,relatime shared:9 - xfs /dev/vdb rw
31 30 0:26 / /home/builder/.local rw,relatime - nfs4 server:/export rw,vers=4.2
32 24 0:27 / /srv/with\\040space rw - btrfs /dev/vdc rw
33 30 0:28 / /home/two rw - tmpfs tmpfs rw
34 33 0:29 / /home/two rw - overlay overlay rw
"""


class Host:
    """A directory that holds the files of a host."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.account = pwd.struct_passwd(
            ("builder", "x", os.getuid(), os.getgid(), "", "/home/builder", "/bin/sh"))
        self.environment: dict[str, str] = {}
        self.profile = ""
        self.write("/proc/self/mountinfo", MOUNTS)
        (root / "home/builder").mkdir(parents=True)

    def write(self, path: str, text: str = "", mode: int = 0o644) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def program(self, name: str, text: str = "", status: int = 0) -> None:
        self.write(f"/usr/bin/{name}.txt", text)
        self.write(f"/usr/bin/{name}", f'#!/bin/sh\n/bin/cat "$0.txt" >&2\nexit {status}\n', 0o755)

    def facts(self, uids: dict[int, str] | None = None) -> Facts:
        runner = Runner({"PATH": "/usr/local/bin:/usr/bin"})
        return Look(runner, self.account, self.environment, str(self.root), self.profile).facts(uids or {}, {})


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_an_empty_host_is_no_trouble(host: Host) -> None:
    facts = host.facts()
    assert (facts.cgroup, facts.tools, facts.netavark, facts.newuidmap.path) == ("none", {}, "", "")
    assert (facts.max_user_namespaces, facts.userns_error, facts.native_overlay, facts.linger) == (None,) * 4


@pytest.mark.parametrize("name", PRINTED)
def test_versions_are_what_the_tools_print(host: Host, name: str) -> None:
    host.program(name, PRINTED[name])
    assert host.facts().tools == {name: VERSIONS[name]}


class TestUbuntu:
    """AppArmor lets programs with a profile use user namespaces: buildah, and not unshare."""

    @pytest.fixture(autouse=True)
    def _restricted(self, host: Host) -> None:
        host.write("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
        host.program("unshare", "unshare: write failed /proc/self/uid_map: Operation not permitted", 1)
        host.program("mount")

    def test_what_counts_is_what_buildah_may(self, host: Host) -> None:
        assert "Operation not permitted" in (host.facts().userns_error or "")
        host.write("/etc/apparmor.d/buildah")
        host.write("/usr/bin/aa-exec", '#!/bin/sh\n[ "$1 $2 $3" = "--profile=buildah -- unshare" ]\n', 0o755)
        assert (host.facts().userns_error, host.facts().native_overlay) == ("", True)

    def test_a_profile_that_cannot_be_had_says_nothing(self, host: Host) -> None:
        host.write("/etc/apparmor.d/buildah")
        assert (host.facts().userns_error, host.facts().native_overlay) == (None, None)
        host.program("aa-exec", "aa-exec: ERROR: profile 'buildah' does not exist", 1)
        assert (host.facts().userns_error, host.facts().native_overlay) == (None, None)

    def test_it_is_for_the_packaged_program_only(self, host: Host) -> None:
        host.write("/etc/apparmor.d/buildah")
        host.program("aa-exec")
        host.write("/usr/local/bin/buildah", mode=0o755)
        assert "Operation not permitted" in (host.facts().userns_error or "")


def test_a_user_of_a_directory_that_lists_nobody_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwall", list)
    monkeypatch.setattr(grp, "getgrall", list)
    tables = look(Runner({"PATH": ""})).subid_tables
    own = pwd.getpwuid(os.getuid())
    assert tables and (tables.uids, set(tables.gids)) == ({own.pw_uid: own.pw_name}, {own.pw_gid})


@pytest.mark.parametrize("name", ["podman", "slirp4netns", "pasta", "setcap", "modprobe"])
def test_some_tools_only_have_to_be_there(host: Host, name: str) -> None:
    host.program(name, status=1)
    assert host.facts().tools == {name: ""}


def test_a_file_that_cannot_be_executed_is_no_program(host: Host) -> None:
    host.write("/usr/bin/podman")
    host.write("/usr/bin/buildah", "not a program", 0o755)
    assert host.facts().tools == {}


@pytest.mark.parametrize(
    "path, text, name, expected",
    [
        ("/proc/sys/user/max_user_namespaces", "15000\n", "max_user_namespaces", 15000),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0\n", "unprivileged_userns_clone", 0),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "apparmor_restrict_unprivileged_userns", 1),
        ("/proc/sys/net/ipv4/ping_group_range", "0\t2147483647\n", "ping_group_range", (0, 2147483647)),
        ("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n", "kernel", "6.1.0-18-amd64"),
        ("/sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n", "cgroup", "v2"),
        ("/sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n", "cgroup", "hybrid"),
        ("/sys/fs/cgroup/unified/cgroup.controllers", "", "cgroup", "v1"),
        ("/sys/fs/cgroup/memory/tasks", "", "cgroup", "v1"),
        ("/etc/nsswitch.conf", "passwd: files\nsubid: sss\n", "subid_service", "sss"),
        ("/usr/libexec/podman/netavark", "", "netavark", "/usr/libexec/podman/netavark"),
        ("/usr/bin/netavark", "", "netavark_elsewhere", "/usr/bin/netavark"),
        ("/etc/containers/containers.conf", '[network]\nnetwork_backend = "cni"\n', "network_backend", "cni"),
        ("/home/builder/.local/share/containers/storage/defaultNetworkBackend", "cni\n", "network_backend", "cni"),
        ("/proc/self/uid_map", "         0     100000      65536\n", "uid_map", ((0, 100000, 65536),)),
        ("/usr/bin/dnf", "", "package_manager", "dnf"),
        ("/etc/containers/containers.conf", "[engine]\nruntime = 'runc'\n", "runtime", "runc"),
        ("/etc/containers/containers.conf", '[network]\ndefault_rootless_network_cmd = "pasta"\n', "network_command",
         "pasta"),
        ("/proc/self/status", "Name:\tx\nCapBnd:\t00000000a80425fb\n", "sys_admin", False),
        ("/proc/self/status", "CapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\n", "no_new_privs", True),
        ("/dev/fuse", "", "fuse_device", "open"),
        ("/dev/net/tun", "", "tun_device", "open"),
    ],
)
def test_settings_are_read_from_files(host: Host, path: str, text: str, name: str, expected: object) -> None:
    assert vars(host.facts())[name] != expected
    host.write(path, text, 0o755)
    assert vars(host.facts())[name] == expected


def test_who_says_what_makes_networks_is_known(host: Host) -> None:
    host.write("/home/builder/.local/share/containers/storage/defaultNetworkBackend", "netavark")
    assert (host.facts().network_backend, host.facts().network_backend_named) == ("netavark", False)
    host.write("/etc/containers/containers.conf", '[network]\nnetwork_backend = "cni"\n')
    assert (host.facts().network_backend, host.facts().network_backend_named) == ("cni", True)


def test_netavark_is_looked_for_where_containers_conf_says(host: Host) -> None:
    host.write("/opt/helpers/netavark", "", 0o755)
    host.write("/usr/lib/podman/netavark", "", 0o755)
    host.write("/etc/containers/containers.conf", '[engine]\nhelper_binaries_dir = [\n  "/opt/helpers",\n]\n')
    assert host.facts().netavark == "/opt/helpers/netavark"
    (host.root / "opt/helpers/netavark").unlink()
    facts = host.facts()
    assert (facts.netavark, facts.netavark_elsewhere, facts.helper_directory) == (
        "", "/usr/lib/podman/netavark", "/opt/helpers")
    host.write("/etc/containers/containers.conf", '[engine]\n#helper_binaries_dir = ["/opt/helpers"]\n')
    assert host.facts().netavark == "/usr/lib/podman/netavark"


def test_a_default_runtime_is_looked_for(host: Host) -> None:
    host.write("/etc/containers/containers.conf", '[engine]\nruntime = "runc"\n')
    assert (host.facts().runtime, host.facts().runtime_path) == ("runc", "")
    host.program("runc")
    assert host.facts().runtime_path == "/usr/bin/runc"
    host.write("/etc/containers/containers.conf", '[engine]\nruntime = "/opt/crun"\n')
    assert host.facts().runtime_path == ""
    host.write("/opt/crun", mode=0o755)
    assert host.facts().runtime_path == "/opt/crun"


def test_isolation_is_what_the_builder_role_writes(host: Host) -> None:
    host.write("/home/builder/.config/containers/containers.conf.d/50-rootless-buildah.conf",
               '[engine]\nenv = ["BUILDAH_ISOLATION=chroot"]\n')
    assert host.facts().isolation == "chroot"
    host.environment["BUILDAH_ISOLATION"] = "rootless"
    assert host.facts().isolation == "rootless"


def test_isolation_that_a_later_file_does_not_repeat_is_none(host: Host) -> None:
    host.write("/etc/containers/containers.conf", '[engine]\nenv = ["BUILDAH_ISOLATION=chroot"]\n')
    host.write("/home/builder/.config/containers/containers.conf", '[engine]\nenv = ["A=1"]\n')
    assert host.facts().isolation == ""


class TestUserNamespaces:
    def test_the_words_of_a_refusal_are_kept(self, host: Host) -> None:
        host.program("unshare", "unshare: unshare failed: Operation not permitted\n", 1)
        facts = host.facts()
        assert facts.userns_error == "unshare: unshare failed: Operation not permitted"
        assert facts.native_overlay is None

    def test_an_overlay_is_tried_where_namespaces_work(self, host: Host) -> None:
        host.write("/usr/bin/unshare", '#!/bin/sh\ncase "$*" in *overlay*) exit 32;; esac\n', 0o755)
        assert host.facts().native_overlay is None  # nothing mounts
        host.program("mount")
        assert (host.facts().userns_error, host.facts().native_overlay) == ("", False)
        host.write("/usr/bin/unshare", "#!/bin/sh\n", 0o755)
        assert host.facts().native_overlay is True

    def test_mounts_are_tried_in_one_that_works(self, host: Host) -> None:
        denied = "unshare: cannot change root filesystem propagation: Permission denied"
        host.program("unshare", denied, 1)
        host.write("/usr/bin/unshare", '#!/bin/sh\ncase $* in *--mount*) /bin/cat "$0.txt" >&2; exit 1;; esac\n', 0o755)
        host.program("mount")
        facts = host.facts()
        assert (facts.userns_error, facts.mount_error, facts.native_overlay) == ("", denied, None)


@pytest.mark.parametrize("environment, uid, profile", [
    ({}, 0, ""),
    ({}, 1000, ""),
    ({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, 0, "a"),
    ({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, 1000, "b"),
    ({"ROOTLESS_BUILD_PROFILE": "a"}, 0, "a"),
])  # fmt: skip
def test_a_pod_is_known_by_its_environment(environment: dict[str, str], uid: int, profile: str) -> None:
    assert pod_profile(environment, uid) == profile


class TestPods:
    """Recorded in a pod of profile A."""

    def test_root_has_the_store_of_root(self, host: Host) -> None:
        host.write("/etc/containers/storage.conf", '[storage]\ndriver = "overlay"\n')
        host.profile = "a"
        store = host.facts().store
        assert (store.graphroot, store.driver) == ("/var/lib/containers/storage", "overlay")
        host.write("/etc/containers/storage.conf", '[storage]\ngraphroot = "/srv/with space"\n')
        assert host.facts().store.graphroot == "/srv/with space"

    def test_how_it_is_confined_is_read(self, host: Host) -> None:
        host.write("/proc/self/uid_map", "         0 2147549184      65536\n")
        host.write("/proc/self/status", "CapBnd:\t00000000800000c1\nNoNewPrivs:\t1\nSeccomp:\t2\n")
        facts = host.facts()
        assert (facts.uid_map, facts.capabilities) == (((0, 2147549184, 65536),), ("SETUID", "SETGID", "SETFCAP"))
        assert (facts.no_new_privs, facts.seccomp, facts.proc_masked, facts.security_label) == (True, True, False, "")
        host.write("/proc/self/mountinfo", "1 0 1:1 / / rw - overlay x rw\n2 1 0:5 / /proc/kcore rw - tmpfs x rw\n")
        host.profile = "a"
        host.write("/proc/self/attr/current", "system_u:system_r:container_t:s0:c1,c2\0")
        assert (host.facts().proc_masked, host.facts().security_label) == (
            True, "system_u:system_r:container_t:s0:c1,c2")
        host.write("/proc/self/attr/apparmor/current", "rootless-build (enforce)\n")
        assert host.facts().security_label == "rootless-build (enforce)"

    def test_outside_of_pods_it_is_tried_whether_what_covers_proc_counts(self, host: Host) -> None:
        host.write("/proc/self/mountinfo", f"{MOUNTS}35 24 0:5 / /proc/keys rw - tmpfs x rw\n")
        host.program("unshare", "unshare: mount /proc failed: Operation not permitted", 1)
        assert host.facts().proc_masked is True
        host.program("unshare")
        assert host.facts().proc_masked is False

    def test_newuidmap_that_cannot_be_executed_is_an_answer(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        both = struct.pack("<II", 1, 1 << 6 | 1 << 7)
        monkeypatch.setattr(os, "getxattr", lambda *_: both)
        for name in ("unshare", "newuidmap", "newgidmap", "cat"):
            host.program(name)
        host.write("/usr/bin/unshare", "#!/bin/sh\nexec unshare --user cat\n", 0o755)
        # A kernel answers with EPERM where the program's capabilities are not to be had.
        (host.root / "usr/bin/newuidmap").write_text("no program")
        host.write("/etc/subuid", "builder:100000:65536\n")
        host.write("/etc/subgid", "builder:100000:65536\n")
        assert host.facts().mapping_error == f"{host.root}/usr/bin/newuidmap: Exec format error"


class TestStore:
    def test_the_default_is_below_home(self, host: Host) -> None:
        store = host.facts().store
        assert store.graphroot == "/home/builder/.local/share/containers/storage"
        # Of the directories on the way only the home is there.
        assert store.filesystem == "xfs"
        assert (store.driver, store.closed) == ("", "")
        assert store.free is not None and store.free > 0

    def test_the_users_file_wins(self, host: Host) -> None:
        host.write("/etc/containers/storage.conf",
                   '[storage]\ndriver = "vfs"\nrootless_storage_path = "/srv/$USER/$UID"\n')
        assert host.facts().store.graphroot == f"/srv/builder/{os.getuid()}"
        assert host.facts().store.driver == "vfs"
        host.write("/home/builder/.config/containers/storage.conf",
                   '[storage]\ndriver = "overlay"\ngraphroot = "/srv/with space"\n'
                   '[storage.options.overlay]\nmount_program = "/usr/bin/fuse-overlayfs"\n')
        store = host.facts().store
        assert (store.driver, store.graphroot, store.mount_program) == (
            "overlay", "/srv/with space", "/usr/bin/fuse-overlayfs")

    @pytest.mark.parametrize("buildah, kernel, others, driver", [
        ("1.28.2", "6.1.0", ["/usr/bin/fuse-overlayfs", "overlay-images/images.json"], "vfs"),
        ("1.30.0", "6.1.0", [], "vfs"),
        ("1.31.0", "5.13.0-1", [], "overlay"),
        ("1.31.0", "5.12.0-1", [], "vfs"),
        ("1.31.0", "4.18.0-1", ["/usr/bin/fuse-overlayfs"], "overlay"),
        ("1.39.3", "6.1.0", ["vfs-images/images.json", "vfs-layers/layers.json"], "vfs"),
        ("1.39.3", "4.18.0", ["overlay-images/images.json", "vfs-images/images.json"], "overlay"),
    ])
    def test_where_nothing_names_a_driver_buildah_has_its_own_rules(
        self, host: Host, buildah: str, kernel: str, others: list[str], driver: str
    ) -> None:
        host.program("buildah", PRINTED["buildah"].replace("1.28.2", buildah))
        host.write("/proc/sys/kernel/osrelease", kernel)
        for path in others:
            host.write(path if path[0] == "/" else f"/home/builder/.local/share/containers/storage/{path}", mode=0o755)
        assert (host.facts().store.driver, host.facts().store.driver_set) == (driver, False)
        # The file that builds of the role's have when it names a directory, containers/storage's own, the system's.
        host.write("/home/builder/.config/rootless.buildah/storage.json", '{"graphroot": "/srv/x"}')
        assert (host.facts().store.driver, host.facts().store.driver_set) == ("overlay", True)
        (host.root / "home/builder/.config/rootless.buildah/storage.json").unlink()
        host.write("/home/builder/.config/containers/storage.conf", "[storage]\n")
        assert (host.facts().store.driver, host.facts().store.driver_set) == ("", False)
        (host.root / "home/builder/.config/containers/storage.conf").unlink()
        host.write("/usr/share/containers/storage.conf", '[storage]\ndriver = "btrfs"\n')
        assert (host.facts().store.driver, host.facts().store.driver_set) == ("btrfs", True)

    @pytest.mark.parametrize("text, kept", [("true", True), ("false", False), (None, False)])
    def test_who_made_a_store_keeps_it(self, host: Host, text: str | None, kept: bool) -> None:
        if text is not None:
            host.write("/home/builder/.local/share/containers/storage/overlay/.has-mount-program", text)
        assert host.facts().store.made_with_fuse is kept

    @pytest.mark.parametrize("text, strategy, graphroot, kind", [
        ('{"strategy": "project", "graphroot": "/srv/with space"}', "project", "/srv/with space", "btrfs"),
        ('{"strategy": "isolated", "graphroot": ""}', "isolated", "/home/builder/.local/share/containers/stores",
         "xfs"),
        # A build refuses it; until then what storage.conf names is as good as any.
        ("what", "host", "/home/two", "overlay"),
    ])
    def test_builds_use_the_one_that_the_role_says(
        self, host: Host, text: str, strategy: str, graphroot: str, kind: str
    ) -> None:
        host.write("/home/builder/.config/containers/storage.conf", 'graphroot = "/home/two"\n')
        (host.root / "home/two").mkdir()
        (host.root / "srv/with space").mkdir(parents=True)
        host.write("/home/builder/.config/rootless.buildah/storage.json", text)
        store = host.facts().store
        assert (store.strategy, store.graphroot, store.filesystem) == (strategy, graphroot, kind)

    def test_the_graphroot_of_root_is_not_the_users(self, host: Host) -> None:
        host.write("/etc/containers/storage.conf", '[storage]\ngraphroot = "/var/lib/containers/storage"\n')
        assert host.facts().store.graphroot == "/home/builder/.local/share/containers/storage"

    def test_where_settings_stand_is_known(self, host: Host) -> None:
        assert host.facts().store.config_kind == "missing"
        assert host.facts().store.config == "/home/builder/.config/containers/storage.conf"
        host.write("/etc/containers/storage.conf", '[storage.options.overlay]\nmount_program = "/x"\n')
        assert host.facts().store.mount_program == ""
        host.write("/home/builder/.config/containers/storage.conf", '[storage.options]\nmount_program = "/x"\n')
        assert host.facts().store.config_kind == "bare"
        assert host.facts().store.mount_program == "/x"
        host.write("/home/builder/.config/containers/storage.conf", "[storage]\n")
        assert host.facts().store.config_kind == "sections"
        host.write("/home/builder/.config/containers/storage.conf", f"{marker_line('builder')}\n[storage]\n")
        assert host.facts().store.config_kind == "managed"

    @pytest.mark.parametrize("text, kind", [
        ("", "missing"), (" \n\n", "missing"), ("# mine\n", "bare"), ("# [storage]\n", "bare"),
        ("[storage.options]\n", "bare"), ("[[storage]]\n", "bare"),
        ("[storage] # mine\n", "sections"), ("  [storage]\n", "sections"), ("\t[ storage\t]\r\n", "sections"),
        ("[storage.options]\n\n['storage']\n", "sections"),
        ('storage = {driver = "vfs"}\n', "inline"), ('"storage".driver = "vfs"\n', "inline"),
    ])
    def test_a_table_is_known_in_every_spelling(self, host: Host, text: str, kind: str) -> None:
        host.write("/home/builder/.config/containers/storage.conf", text)
        assert host.facts().store.config_kind == kind

    def test_another_place_has_to_be_a_local_disk(self, host: Host) -> None:
        (host.root / "srv").mkdir()
        host.write("/proc/self/mountinfo", "1 0 1:1 / / rw - overlay overlay rw\n2 1 1:2 / /srv rw - ext4 /dev/x rw\n")
        assert host.facts().store.elsewhere == "/srv/builder-containers"
        host.write("/proc/self/mountinfo", "1 0 1:1 / / rw - overlay overlay rw\n2 1 1:2 / /srv rw - zfs tank/srv rw\n")
        assert host.facts().store.elsewhere == "/srv/builder-containers"
        # It would not make an overlay there.
        host.program("buildah", PRINTED["buildah"])
        assert host.facts().store.elsewhere == ""
        host.write("/proc/self/mountinfo", "1 0 1:1 / / rw - overlay overlay rw\n2 1 1:2 / /srv rw - ext4 /dev/x rw\n")
        host.account = pwd.struct_passwd((*host.account[:2], host.account.pw_uid + 1, *host.account[3:]))
        (host.root / "srv/builder-containers").mkdir()
        assert host.facts().store.elsewhere == ""
        (host.root / "srv/builder-containers").rmdir()
        host.write("/proc/self/mountinfo", "1 0 1:1 / / rw - overlay overlay rw\n2 1 1:2 / /srv rw - nfs4 s:/x rw\n")
        assert host.facts().store.elsewhere == ""

    @pytest.fixture(name="somebody")
    def _somebody(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """The user is not the one who runs the tests, and may write nothing."""
        host.account = pwd.struct_passwd((*host.account[:2], host.account.pw_uid + 1, *host.account[3:]))
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)

    @pytest.mark.usefixtures("somebody")
    def test_what_would_have_to_be_made_is_known(self, host: Host) -> None:
        facts = host.facts()
        assert (facts.home_there, facts.store.closed, facts.store.unmade) == (
            True, "/home/builder", "/home/builder/.local")
        (host.root / "home/builder").rmdir()
        facts = host.facts()
        assert (facts.home_there, facts.store.closed, facts.store.unmade) == (False, "/home", "/home/builder")
        (host.root / "home/builder/.local/share/containers/storage").mkdir(parents=True)
        assert (host.facts().home_there, host.facts().store.unmade) == (True, "")

    @pytest.mark.usefixtures("somebody")
    def test_what_cannot_be_seen_may_be_there(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        (host.root / "home/builder").rmdir()
        monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)
        facts = host.facts()
        assert (facts.home_there, facts.store.closed, facts.store.unmade) == (True, "/home", "")

    @pytest.mark.parametrize("path", [
        "/home/builder.home", "/home/builder.homedir/x", "/var/lib/systemd/home/builder.identity",
    ])
    def test_homes_that_come_with_their_user_are_known(self, host: Host, path: str) -> None:
        assert host.facts().home_source == ""
        host.write(path)
        assert host.facts().home_source == "systemd-homed"

    def test_homes_that_come_when_they_are_looked_at_are_known(self, host: Host) -> None:
        host.write("/proc/self/mountinfo", "1 0 1:1 / / rw - ext4 x rw\n2 1 0:5 / /home rw - autofs auto rw\n")
        assert host.facts().home_source == "an automount"

    def test_a_link_leads_to_another_file_system(self, host: Host) -> None:
        (host.root / "srv/with space").mkdir(parents=True)
        (host.root / "home/builder/.local").symlink_to("../../srv/with space")
        assert host.facts().store.filesystem == "btrfs"

    @pytest.mark.parametrize("graphroot, at_home", [
        ("/home/builder/images", True), ("/home/builder/out/images", False), ("/home/builder2", False),
        ("/home/builder/../two", False), ("/etc", False),
    ])
    def test_a_closed_place_is_at_home_when_it_really_is(
        self, host: Host, monkeypatch: pytest.MonkeyPatch, graphroot: str, at_home: bool
    ) -> None:
        for name in ("home/builder/images", "etc/images", "home/builder2", "home/two"):
            (host.root / name).mkdir(parents=True)
        (host.root / "home/builder/out").symlink_to("../../etc")
        host.write("/home/builder/.config/containers/storage.conf", f'graphroot = "{graphroot}"\n')
        # Root may write everywhere, and the user to what is its own.
        monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)
        assert host.facts().store.closed == ""
        host.account = pwd.struct_passwd((*host.account[:2], host.account.pw_uid + 1, *host.account[3:]))
        store = host.facts().store
        assert (store.closed, store.closed_at_home) == (graphroot, at_home)


@pytest.mark.parametrize(
    "path, kind",
    [
        ("/", "ext4"), ("/homes", "ext4"), ("/home", "xfs"), ("/home/builder", "xfs"),
        ("/home/builder/.local/share", "nfs4"), ("/srv/with space/x", "btrfs"), ("/home/two/x", "overlay"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert mount_of(MOUNTS, path).type == kind


def test_a_mount_has_its_own_flags() -> None:
    text = "30 24 0:25 / /home rw,nosuid,nodev,noexec,relatime shared:9 - xfs /dev/vdb rw,attr2\n"
    assert mount_of(text, "/home/x") == Mount("/home", "xfs", ("rw", "nosuid", "nodev", "noexec", "relatime"))
    assert mount_of("", "/home/x") == Mount()


class TestHelpers:
    @pytest.mark.parametrize("mode, kind", [(0o4755, "setuid"), (0o755, "none")])
    def test_the_bit_counts_for_roots_file_only(self, host: Host, mode: int, kind: str) -> None:
        host.write("/usr/bin/newuidmap", mode=mode)
        helper = host.facts().newuidmap
        owned_by_root = (host.root / "usr/bin/newuidmap").stat().st_uid == 0
        assert helper.path == "/usr/bin/newuidmap"
        assert helper.mode == f"{mode:04o}"
        assert helper.kind == (kind if owned_by_root else "none")

    @pytest.mark.parametrize(
        "attribute, uid, gid",
        [
            # What setcap writes, revision 2: magic with the effective bit, permitted and inheritable, twice.
            (struct.pack("<5I", 0x02000001, 1 << 7, 0, 0, 0), True, False),  # cap_setuid=ep
            (struct.pack("<5I", 0x02000001, 1 << 6, 0, 0, 0), False, True),  # cap_setgid=ep
            (struct.pack("<5I", 0x02000000, 1 << 7, 0, 0, 0), False, False),  # cap_setuid=p
            (struct.pack("<6I", 0x03000001, 1 << 7, 0, 0, 0, 100000), True, False),  # of a user namespace
            (b"", False, False),
        ],
    )
    def test_capabilities_are_read_from_the_attribute(self, attribute: bytes, uid: bool, gid: bool) -> None:
        assert (has_file_capability(attribute, 7), has_file_capability(attribute, 6)) == (uid, gid)


class TestSubids:
    TABLE = Table.parse("/etc/subuid", (
        "builder:100000:65536\nbob:165536:65536\n1001:300000:10\neve:165535:2\nbuilder:300005:10\n# old:100000:5\n"))

    def test_names_and_numbers_are_owners(self) -> None:
        found = subids(self.TABLE, ("builder", "1001"), {})
        assert found.ranges == (IdRange(100000, 65536), IdRange(300000, 10), IdRange(300005, 10))
        assert found.count == 65556

    def test_overlaps_are_told_apart(self) -> None:
        found = subids(self.TABLE, ("builder", "1001"), {})
        assert found.doubled == ("300000:10 and 300005:10",)
        assert found.shared == ("100000:65536 and eve's 165535:2",)

    @pytest.mark.parametrize("number, seen", [(99999, False), (100000, True), (165535, True), (165536, False)])
    def test_accounts_within_a_range_are_covered(self, number: int, seen: bool) -> None:
        found = subids(self.TABLE, ("builder",), {number: "anna"})
        assert found.covered == ((f"{number} (anna)",) if seen else ())

    def test_what_another_service_says_counts_alone(self, host: Host) -> None:
        host.write("/etc/nsswitch.conf", "subid: sss\n")
        host.write("/etc/subuid", "builder:100000:65536\nbob:2000000:65536\n")
        # As getsubids prints it.
        host.program("getsubids", "0: builder 2000000 65536\n")
        facts = host.facts({2000001: "anna"})
        assert facts.subuid.ranges == facts.subgid.ranges == (IdRange(2000000, 65536),)
        assert (facts.subuid.shared, facts.subuid.covered) == ((), ("2000001 (anna)",))


class TestLinesThatBuildahCannotRead:
    @pytest.fixture(autouse=True)
    def _tables(self, host: Host) -> None:
        host.write("/etc/subuid", "builder:100000:65536\nbob\n")
        host.write("/etc/subgid", "builder:100000:65536\nbuilder:0xdead0000:65536\n")

    def buildah(self, host: Host, content: bytes) -> None:
        host.write("/usr/bin/buildah", mode=0o755)
        (host.root / "usr/bin/buildah").write_bytes(content)

    def test_they_are_told_of_one_that_reads_the_tables_itself(self, host: Host) -> None:
        self.buildah(host, b"\x7fELF, libseccomp.so.2")
        assert host.facts().subid_refused == (
            "/etc/subuid, line 2: 'bob'", "/etc/subgid, line 2: 'builder:0xdead0000:65536'")

    @pytest.mark.parametrize("content", [b"\x7fELF, libsubid.so.4", b"#!/bin/sh\nexec buildah"])
    def test_one_with_libsubid_does_as_shadow(self, host: Host, content: bytes) -> None:
        self.buildah(host, content)
        assert host.facts().subid_refused == ()

    @pytest.mark.parametrize("subuid, content, unread", [
        ("bob:1:1\n", b"\x7fELF", ("sss gives 2000000:65536, /etc/subuid nothing",)),
        ("builder:100000:65536\n", b"\x7fELF", ("sss gives 2000000:65536, /etc/subuid 100000:65536",)),
        ("builder:2000000:65536\n", b"\x7fELF", ()),
        ("", b"\x7fELF libsubid.so.4", ()),
    ])
    def test_ranges_of_another_service_have_to_be_in_files_for_it(
        self, host: Host, subuid: str, content: bytes, unread: tuple[str, ...]
    ) -> None:
        self.buildah(host, content)
        host.write("/etc/nsswitch.conf", "subid: sss\n")
        host.program("getsubids", "0: builder 2000000 65536\n")
        host.write("/etc/subuid", subuid)
        host.write("/etc/subgid", "builder:2000000:65536\n")
        assert host.facts().subid_unread == unread

    def test_without_buildah_nobody_gives_up(self, host: Host) -> None:
        assert host.facts().subid_refused == ()


def test_the_runtime_directory_has_an_owner(host: Host) -> None:
    host.environment["XDG_RUNTIME_DIR"] = "/run/user/7"
    assert (host.facts().runtime_dir, host.facts().runtime_dir_owner) == ("/run/user/7", None)
    host.write("/run/user/7/file")
    assert host.facts().runtime_dir_owner == os.getuid()


def test_a_place_for_temporary_files_is_open_or_closed(host: Host) -> None:
    assert (host.facts().temporary_dir, host.facts().temporary_dir_closed) == ("", False)
    host.environment["TMPDIR"] = "/tmp/user/7"
    assert (host.facts().temporary_dir, host.facts().temporary_dir_closed) == ("/tmp/user/7", True)
    host.write("/tmp/user/7/file")
    assert not host.facts().temporary_dir_closed


def test_lingering_is_a_file_of_systemd(host: Host) -> None:
    host.write("/run/systemd/system/file")
    assert host.facts().linger is False
    host.write("/var/lib/systemd/linger/builder")
    assert host.facts().linger is True


def test_nothing_is_written(host: Host) -> None:
    for name, text in PRINTED.items():
        host.program(name, text)
    before = {path: stat.S_IFMT(path.stat().st_mode) for path in host.root.rglob("*")}
    host.facts()
    assert {path: stat.S_IFMT(path.stat().st_mode) for path in host.root.rglob("*")} == before

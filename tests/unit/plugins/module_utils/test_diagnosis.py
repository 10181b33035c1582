# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each finding comes from one broken fact and comes alone; a healthy host is silent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._diagnosis import CHECKS, as_results, diagnose
from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID, FINDINGS, TOLD
from ansible_collections.rootless.buildah.plugins.module_utils._host_facts import Facts, IdHelper, Store, Subids
from ansible_collections.rootless.buildah.plugins.module_utils._subid import IdRange

# Shared with test_remedies.
FULL = Subids((IdRange(100000, 65536),))
GIB = 2**30
UBUNTU = "unshare: write failed /proc/self/uid_map: Operation not permitted"  # as reported of 24.04
TOOLS = {"buildah": "1.39.3", "skopeo": "1.18.0", "crun": "1.21", "pasta": "", "fuse-overlayfs": "1.14", "setcap": ""}
HEALTHY = Facts(
    user="builder",
    uid=1001,
    gid=1001,
    home="/home/builder",
    package_manager="apt-get",
    kernel="6.12.0",
    cgroup="v2",
    max_user_namespaces=15000,
    unprivileged_userns_clone=1,
    apparmor_restrict_unprivileged_userns=0,
    ping_group_range=(0, 2147483647),
    userns_error="",
    native_overlay=True,
    subuid=FULL,
    subgid=FULL,
    mapping_error="",
    newuidmap=IdHelper("/usr/bin/newuidmap", "4755", "setuid"),
    newgidmap=IdHelper("/usr/bin/newgidmap", "0755", "filecaps"),
    tools=TOOLS,
    netavark="/usr/lib/podman/netavark",
    helper_directory="/usr/local/libexec/podman",
    store=Store(
        driver="overlay",
        graphroot="/home/builder/.local/share/containers/storage",
        config="/home/builder/.config/containers/storage.conf",
        config_kind="sections",
        filesystem="ext4",
        mount_point="/home",
        mount_flags=("rw", "relatime"),
        free=50 * GIB,
        elsewhere="/var/lib/builder-containers",
    ),
    session_dir="/run/user/1001",
    runtime_dir="/run/user/1001",
    runtime_dir_owner=1001,
    linger=True,
    fuse_device="open",
    tun_device="open",
)
STORE = HEALTHY.store


# Recorded by rootless_info in pods of Kubernetes 1.36.3, containerd 2.1.9 and crun 1.28. The first two are as builds
# have them, in the others one setting is another.
PODS = Path(__file__).parents[3] / "fixtures/kubernetes-1.36.3/pods"
IN_PODS = {
    "a": [],
    "b": [],
    "a-default-apparmor": ["mount_denied"],
    "a-default-seccomp": ["userns_blocked"],
    "a-without-capabilities": ["pod_capabilities"],
    "a-without-setfcap": ["pod_capabilities"],
    "a-host-users": ["pod_host_users"],
    "b-no-new-privs": ["single_mapping"],
    "b-without-capabilities": ["pod_capabilities"],
}


def recorded(name: str) -> Facts:
    """Return the facts of a pod."""
    told = json.loads((PODS / f"{name}.json").read_text())
    for table in ("subuid", "subgid"):
        told[table]["ranges"] = tuple(IdRange(**item) for item in told[table]["ranges"])
        told[table] = Subids(**told[table])
    for helper in ("newuidmap", "newgidmap"):
        told[helper] = IdHelper(**told[helper])
    told["store"] = Store(**told["store"])
    return Facts(**told)


def without(*names: str, **others: str) -> dict[str, Any]:
    """Return the fact that these programs are missing, and that others are there."""
    return {"tools": {**{name: text for name, text in TOOLS.items() if name not in names}, **others}}


OLD = without("pasta", slirp4netns="", buildah="1.34.9")  # the last one with CNI
# How a pod of profile A differs from a host.
POD: dict[str, Any] = {
    "profile": "a", "uid_map": ((0, 2147549184, 65536),), "capabilities": ("SETUID", "SETGID", "SETFCAP"),
    "isolation": "chroot", "proc_masked": True, "seccomp": True,
}  # fmt: skip
# What is broken, and what the evidence names.
BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("userns_off", {"max_user_namespaces": 0, "userns_error": "unshare failed: No space left on device"},
     "user.max_user_namespaces is 0"),
    ("userns_off", {"max_user_namespaces": 10}, "user.max_user_namespaces is 10"),
    ("userns_blocked", {"userns_error": "unshare failed: Operation not permitted"}, "Operation not permitted"),
    ("userns_blocked", {"userns_error": "denied", "unprivileged_userns_clone": 0},
     "kernel.unprivileged_userns_clone is 0"),
    ("userns_blocked", {"userns_error": UBUNTU, "apparmor_restrict_unprivileged_userns": 1},
     "kernel.apparmor_restrict_unprivileged_userns is 1"),
    ("subid_missing", {"subuid": Subids(), "subgid": Subids()}, "/etc/subuid: no range of builder; /etc/subgid: no"),
    ("subid_missing", {"subgid": Subids()}, "/etc/subgid: no range of builder"),
    ("subid_missing", {"subuid": Subids(), "subid_service": "sss"}, "sss, subuid: no range of builder"),
    ("subid_missing", {"subid_service": "sss", "subid_unread": ("sss gives 1:2, /etc/subuid nothing",)},
     "this buildah reads the files only: sss gives 1:2, /etc/subuid nothing"),
    ("subid_missing", {"subuid": Subids(), "subgid": Subids(), "has_account": False}, "no account has the uid 1001"),
    ("subid_short", {"subuid": Subids((IdRange(100000, 1000), IdRange(300000, 1000)))}, "2000 ids of 65536"),
    ("subid_short", {"subgid": Subids((IdRange(100000, 65535),))}, "/etc/subgid: 65535 ids of 65536"),
    ("subid_doubled", {"subuid": replace(FULL, doubled=("1:2 and 2:1",))}, "/etc/subuid: 1:2 and 2:1"),
    ("subid_shared", {"subgid": replace(FULL, shared=("1:2 and bob's 2:1",))}, "/etc/subgid: 1:2 and bob's 2:1"),
    ("subid_covers_account", {"subuid": replace(FULL, covered=("100001 (bob)",))}, "/etc/subuid: 100001 (bob)"),
    ("newuidmap", {"newuidmap": IdHelper()}, "newuidmap is not installed"),
    ("newuidmap", {"newgidmap": IdHelper("/usr/bin/newgidmap", "0755", "none")}, "/usr/bin/newgidmap has mode 0755"),
    ("single_mapping", {"mapping_error": "newuidmap: write failed", "no_new_privs": True}, "no_new_privs is set"),
    ("single_mapping", {"mapping_error": "denied", "sys_admin": False}, "CAP_SYS_ADMIN is not to be had"),
    ("single_mapping", {"mapping_error": "denied", "uid_map": ((0, 100000, 65536),)}, "this container lacks ids"),
    ("subid_unreadable", {"subid_closed": ("/etc/subuid",), "subuid": Subids()}, "builder may not read /etc/subuid"),
    ("subid_malformed", {"subid_refused": ("/etc/subuid, line 2: 'bob'", "/etc/subgid, line 1: '+'")},
     "/etc/subuid, line 2: 'bob'; /etc/subgid, line 1: '+'"),
    ("tools_missing", without("skopeo"), "skopeo"),
    ("tools_missing", without(buildah="1.27.4", slirp4netns=""), "buildah is 1.27.4, 1.28 is needed"),
    ("tools_missing", {**without("buildah", "pasta"), "store": replace(STORE, filesystem="zfs")},
     "not in PATH: buildah"),
    ("netavark_missing", {"netavark": ""}, "helper directories"),
    ("netavark_missing", {"netavark": "", "network_backend": "netavark", **OLD}, "helper directories"),
    ("netavark_missing", {"network_backend": "cni", "network_backend_named": True},
     "containers.conf sets network_backend to cni"),
    # What the image store remembers of CNI turns into netavark.
    ("netavark_missing", {"network_backend": "cni", "netavark": ""}, "helper directories"),
    ("network_helper", without("pasta"), "pasta, which this buildah uses, is not in PATH"),
    ("network_helper", without("pasta", slirp4netns=""), "pasta, which"),
    ("network_helper", without(buildah="1.28.2"), "slirp4netns, which"),
    ("network_helper", {"network_command": "slirp4netns"}, "slirp4netns, which"),
    ("network_helper", {"tun_device": "closed"}, "/dev/net/tun is closed"),
    ("cgroup_hybrid", {"cgroup": "hybrid"}, "hybrid"),
    ("cgroup_hybrid", {"cgroup": "hybrid", **without(runc="1.1.5")}, "hybrid"),
    ("cgroup_hybrid", {"cgroup": "none"}, "none"),
    ("network_helper", {"cgroup": "v1", **without("pasta")}, "pasta, which"),
    ("runtime_missing", without("crun"), "neither crun nor runc"),
    ("runtime_missing", {"runtime": "runc"}, "containers.conf makes runc the default runtime"),
    ("crun_missing", without("crun", runc="1.1.5"), "runc 1.1.5 is all there is"),
    ("crun_missing", without("crun", runc="0.1.1"), "too old"),
    ("fuse_missing", {"native_overlay": False, "fuse_device": "missing"}, "/dev/fuse is missing"),
    ("fuse_missing", {"native_overlay": False, "fuse_device": "closed"}, "/dev/fuse is closed"),
    ("fuse_missing", {"native_overlay": False, **without("fuse-overlayfs")}, "fuse-overlayfs is not in PATH"),
    ("native_overlay", {"native_overlay": False, **without(**{"fuse-overlayfs": "0.7.5"})}, "fuse-overlayfs is 0.7.5"),
    ("fuse_missing", {"fuse_device": "closed", "store": replace(
        STORE, filesystem="overlay", mount_program="/usr/bin/fuse-overlayfs")}, "/dev/fuse is closed"),
    ("fuse_missing", {
        **without("fuse-overlayfs"), "store": replace(STORE, filesystem="overlay", made_with_fuse=True)},
     "fuse-overlayfs is not in PATH"),
    ("fuse_needless", {"store": replace(STORE, mount_program="/usr/bin/fuse-overlayfs")}, "/usr/bin/fuse-overlayfs"),
    ("fuse_needless", {"store": replace(STORE, made_with_fuse=True)}, "was made with fuse-overlayfs"),
    ("graphroot_filesystem", {"store": replace(STORE, filesystem="nfs4")}, "on nfs4"),
    # With fuse-overlayfs in PATH buildah takes it there by itself.
    ("graphroot_filesystem", {"store": replace(STORE, filesystem="overlay"), **without("fuse-overlayfs")},
     "on overlay"),
    ("fuse_missing", {"store": replace(STORE, filesystem="overlay"), "fuse_device": "closed"}, "/dev/fuse is closed"),
    ("graphroot_filesystem", {"store": replace(STORE, filesystem="lustre")}, "on lustre"),
    ("graphroot_filesystem", {"store": replace(STORE, filesystem="zfs"), **without(
        "fuse-overlayfs", buildah="1.28.2", slirp4netns="")},
     "on zfs"),
    ("store_not_writable", {"store": replace(STORE, closed="/s/overlay-images/images.lock")}, "images.lock"),
    ("store_not_writable", {"home_there": False, "store": replace(STORE, closed="/", unmade="/home")},
     "the home /home/builder does not exist"),
    ("store_not_writable", {
        "home_there": False, "home_source": "an automount",
        "store": replace(STORE, closed="/home", unmade="/home/builder")},
     "the home /home/builder does not exist; an automount provides it"),
    ("store_not_writable", {"store": replace(STORE, closed="/srv", unmade="/srv/images")},
     "/srv/images does not exist, and builder cannot make it in /srv"),
    ("store_not_writable", {"home_there": False, "store": replace(STORE, closed="/srv", unmade="/srv/images")},
     "/srv/images does not exist, and builder cannot make it in /srv"),
    ("store_noexec", {"store": replace(STORE, driver="vfs", mount_flags=("rw", "noexec"))}, "is mounted noexec"),
    ("store_nosuid", {"store": replace(STORE, driver="vfs", mount_flags=("rw", "nosuid"))}, "/home, which holds"),
    ("disk_full", {"store": replace(STORE, free=255 * 2**20)}, "255 MiB are free"),
    ("disk_full", {"store": replace(STORE, free=1, free_inodes=999)}, "0 MiB and 999 inodes are free"),
    ("disk_full", {"store": replace(STORE, free_inodes=0)}, "0 inodes are free"),
    ("disk_low", {"store": replace(STORE, free_inodes=1000)}, "1000 inodes are free"),
    ("disk_low", {"store": replace(STORE, free=256 * 2**20)}, "256 MiB are free"),
    ("disk_low", {"store": replace(STORE, free=2 * GIB - 1)}, "2047 MiB are free"),
    ("runtime_dir", {"runtime_dir": "/run/user/0", "runtime_dir_owner": 0}, "/run/user/0, which belongs to uid 0"),
    ("runtime_dir", {"runtime_dir_owner": None}, "/run/user/1001, which does not exist"),
    ("temporary_dir", {"temporary_dir": "/tmp/user/0", "temporary_dir_closed": True}, "write to /tmp/user/0"),
    ("no_linger", {"linger": False}, "builder does not linger"),
    ("no_linger", {"linger": True, "session_dir": ""}, "there is no /run/user/"),
    ("pause_stale", {"pause_stale": True}, "pause process"),
    ("ping_group_range", {"ping_group_range": (1, 0)}, "1 to 0, the user's group is 1001"),
    ("mount_denied", {"mount_error": "Permission denied", "native_overlay": None, "security_label": "docker-default"},
     "Permission denied; the label is docker-default"),
    ("pod_capabilities", {**POD, "capabilities": ("SETUID",)}, "SETFCAP, SETGID"),
    ("pod_capabilities", {**POD, "profile": "b", "capabilities": (), "mapping_error": "denied"}, "SETGID, SETUID"),
    ("pod_host_users", {**POD, "uid_map": ((0, 0, 4294967295),)}, "uid 0 of the pod is uid 0 of the node"),
    ("pod_isolation", {**POD, "isolation": "oci"}, "BUILDAH_ISOLATION is oci"),
    ("pod_isolation", {**POD, "isolation": ""}, "BUILDAH_ISOLATION is not set"),
    ("pod_isolation", {"proc_masked": True}, "BUILDAH_ISOLATION is not set"),
    ("pod_isolation", {"proc_masked": True, "isolation": "oci", "cgroup": "v1"}, "BUILDAH_ISOLATION is oci"),
]
# What looks similar and does no harm.
HARMLESS: dict[str, dict[str, Any]] = {
    "a kernel without the settings": {
        "max_user_namespaces": None, "unprivileged_userns_clone": None, "apparmor_restrict_unprivileged_userns": None,
        "ping_group_range": None,
    },
    "settings that block others, while this user gets a namespace": {"apparmor_restrict_unprivileged_userns": 1},
    "no way to try": {"userns_error": None, "native_overlay": None},
    "ids in two ranges": {"subuid": Subids((IdRange(100000, 65535), IdRange(300000, 1)))},
    "slirp4netns instead of pasta, before buildah 1.35": without("pasta", slirp4netns="", buildah="1.34.9"),
    "pasta because it is asked for": {"network_command": "pasta", **without(buildah="1.34.9")},
    "a default runtime that is there": {"runtime": "/opt/crun", "runtime_path": "/opt/crun"},
    "a table that cannot be read where nobody reads it": {"subid_closed": ("/etc/subuid",), "subid_service": "sss"},
    "a mapping that could not be tried": {"mapping_error": None, "no_new_privs": True, "sys_admin": False},
    "cgroup v1": {"cgroup": "v1"},
    "runc, which takes a hybrid hierarchy": {"cgroup": "hybrid", **without("crun", runc="1.1.5")},
    "runc beside crun": {"tools": {**TOOLS, "runc": "0.1.1"}},
    "chroot isolation needs no network of its own": {
        "isolation": "chroot", "tun_device": "missing", **without("pasta")},
    "an overlay is a mount of its own": {"store": replace(STORE, mount_flags=("rw", "nosuid", "nodev", "noexec"))},
    "vfs without devices": {"store": replace(STORE, driver="vfs", mount_flags=("rw", "nodev"))},
    "an old kernel with fuse-overlayfs": {
        "native_overlay": False, "store": replace(STORE, mount_program="/usr/bin/fuse-overlayfs")},
    "the oldest fuse-overlayfs that serves": {"native_overlay": False, **without(**{"fuse-overlayfs": "0.7.6"})},
    "no fuse where the kernel needs none": {"fuse_device": "missing", **without("fuse-overlayfs")},
    "vfs needs neither": {
        "native_overlay": False, "fuse_device": "missing", "store": replace(STORE, driver="vfs", filesystem="overlay")},
    "fuse-overlayfs that buildah finds on an overlay": {"store": replace(STORE, filesystem="overlay")},
    "fuse-overlayfs that an old buildah finds on zfs": {
        "store": replace(STORE, filesystem="zfs"), **without(buildah="1.28.2", slirp4netns="")},
    "vfs beside what fuse-overlayfs has made": {"store": replace(STORE, driver="vfs", made_with_fuse=True)},
    "fuse-overlayfs on an overlay": {
        "native_overlay": False,
        "store": replace(STORE, filesystem="overlay", mount_program="/usr/bin/fuse-overlayfs")},
    "fuse-overlayfs where nothing else serves": {
        "store": replace(STORE, filesystem="lustre", mount_program="/usr/bin/fuse-overlayfs")},
    "zfs, since buildah leaves it to the kernel": {"store": replace(STORE, filesystem="zfs")},
    "no netavark where networks are made otherwise": {"network_backend": "cni", "netavark": "", **OLD},
    "no netavark where CNI is the way out": {"netavark": "", **OLD},
    "CNI where it can be had": {"network_backend": "cni", "network_backend_named": True, **OLD},
    "CNI that the image store remembers": {"network_backend": "cni"},
    "another mount program on an overlay": {"store": replace(STORE, filesystem="overlay", mount_program="/opt/mount")},
    "fuse-overlayfs on an overlay of a kernel that needs none elsewhere": {
        "store": replace(STORE, filesystem="overlay", mount_program="/usr/bin/fuse-overlayfs")},
    "no runtime directory": {"runtime_dir": "", "runtime_dir_owner": None},
    "no systemd": {"linger": None},
    "just enough room": {"store": replace(STORE, free=2 * GIB, free_inodes=50000)},
    "room that cannot be told": {"store": replace(STORE, free=None)},
    "just enough namespaces": {"max_user_namespaces": 100},
    "a pod": POD,
    "ids of users, to root of a pod": {
        **POD, "subuid": Subids(), "subgid": Subids(), "newuidmap": IdHelper(), "mapping_error": None},
    "what a pod has no part in": {
        **POD, "linger": False, "ping_group_range": (1, 0), "cgroup": "hybrid", "pause_stale": True, **without("crun")},
    "the ids of user build in a pod": {
        **POD, "profile": "b", "subuid": Subids((IdRange(1, 999), IdRange(1001, 64535)), covered=("1 (daemon)",))},
    "chroot isolation, where it cannot": {"proc_masked": True, "isolation": "chroot"},
    "chroot isolation or not, where /proc can be mounted": {**POD, "isolation": "rootless", "proc_masked": False},
}


def test_a_healthy_host_is_silent() -> None:
    assert diagnose(HEALTHY) == []


@pytest.mark.parametrize("name, broken, evidence", BROKEN)
def test_one_broken_fact_is_one_finding(name: str, broken: dict[str, Any], evidence: str) -> None:
    found = diagnose(replace(HEALTHY, **broken))
    assert [finding.id for finding, _seen in found] == [name]
    assert evidence in found[0][1]


@pytest.mark.parametrize("harmless", HARMLESS.values(), ids=HARMLESS)
def test_what_does_no_harm_is_no_finding(harmless: dict[str, Any]) -> None:
    assert diagnose(replace(HEALTHY, **harmless)) == []


@pytest.mark.parametrize("name, expected", IN_PODS.items())
def test_a_pod_of_a_real_cluster_is_told_what_it_lacks_and_nothing_else(name: str, expected: list[str]) -> None:
    facts = recorded(name)
    results = as_results(diagnose(facts), facts)
    assert [result["id"] for result in results] == expected
    # What is wrong is the pod, its image or its node, and no command in the pod mends these.
    assert all(result["commands"] == [] for result in results)


def test_in_a_pod_the_remedy_is_that_of_pods() -> None:
    facts = replace(HEALTHY, **POD, netavark="")
    (result,) = as_results(diagnose(facts), facts)
    assert result["remedy"] == BY_ID["netavark_missing"].in_pod != BY_ID["netavark_missing"].remedy


def test_every_check_is_tried_here() -> None:
    assert {name for name, _broken, _evidence in BROKEN} == set(CHECKS)


def test_what_the_doctor_does_not_look_for_is_told_by_tools() -> None:
    # Causes that only a build can show.
    unchecked = {finding for finding in FINDINGS if finding.id not in CHECKS}
    assert {finding.id for finding in unchecked} <= {name for name, _words in TOLD}
    assert {finding.id for finding in unchecked} == {"not_unshared", "selinux_labels"}


def test_errors_come_first_and_say_everything() -> None:
    facts = replace(HEALTHY, linger=False, subuid=Subids())
    results = as_results(diagnose(facts), facts)
    assert [(result["id"], result["severity"]) for result in results] == [
        ("subid_missing", "error"), ("no_linger", "warning")]
    # Nothing is known of the tables.
    assert (results[0]["commands"], results[0]["by_hand"]) == ([], BY_ID["subid_missing"].by_hand)
    assert (results[1]["commands"], results[1]["by_hand"]) == (["loginctl enable-linger builder"], "")
    assert all(result["evidence"] and result["cause"] and result["remedy"] for result in results)
    assert results[0]["guide"].endswith("docs/findings.md#subid_missing")

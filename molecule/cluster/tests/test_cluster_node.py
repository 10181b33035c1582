# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role cluster_node promises of a node, asked from the node itself: after it ran, and after a reboot."""

from __future__ import annotations

import json
import re
import shlex
from typing import Iterator

import pytest
from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.machines import addresses

testinfra_hosts = addresses("cluster_nodes")

SECCOMP = "/var/lib/kubelet/seccomp/rootless-build.json"
# Called by number: tools for them would look at capabilities first. x86_64, syscalls(2).
CALLS = {
    "bpf": 321, "keyctl": 250, "add_key": 248, "request_key": 249, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "userfaultfd": 323, "perf_event_open": 298,
}  # fmt: skip
# Prints the error of each call. Arguments are such that the kernel itself would say something else than EPERM.
CALLER = """\
import ctypes, errno, json, sys
libc = ctypes.CDLL(None, use_errno=True)
found = {}
for name, number in json.loads(sys.argv[1]).items():
    ctypes.set_errno(0)
    result = libc.syscall(number, -1, 0, 0, 0, 0, 0)
    found[name] = errno.errorcode.get(ctypes.get_errno(), "") if result < 0 else "allowed"
print(json.dumps(found))
"""
ASK = f"python3 -c {shlex.quote(CALLER)} {shlex.quote(json.dumps(CALLS))}"
# What a build does, as root of a user namespace in the container.
STEPS = """\
set -eux
mount --make-rprivate /
mount -t tmpfs tmpfs /tmp
mkdir /tmp/lower /tmp/upper /tmp/work /tmp/root
mount --bind /tmp/lower /tmp/root
umount /tmp/root
mount -t overlay overlay -o userxattr,lowerdir=/usr,upperdir=/tmp/upper,workdir=/tmp/work /tmp/root
echo written > /tmp/root/file
umount /tmp/root
hostname builds
unshare --user --map-root-user --mount --net true
sleep 60 &
kill $!
mount --rbind / /tmp/root
mount -t tmpfs tmpfs /tmp/root/mnt
mkdir /tmp/root/mnt/old
cd /tmp/root
python3 -c 'import ctypes; exit(ctypes.CDLL(None).syscall(155, b".", b"mnt/old"))'  # pivot_root
umount -l /mnt/old
echo built
"""
BUILD = f"unshare --user --map-root-user --mount --uts sh -c {shlex.quote(STEPS)}"
ROOT = "/run/rootless-buildah-tests"
PROFILES = f"--seccomp --seccomp-profile={SECCOMP} --apparmor-profile=rootless-build"
DROPPED = ("AUDIT_WRITE", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETPCAP", "SYS_CHROOT")
# What pods of builds get: both profiles, and a few capabilities.
CONFINED = f"{PROFILES} {' '.join(f'--cap-drop=CAP_{name}' for name in DROPPED)}"


@pytest.fixture(scope="module")
def root(host: Host) -> Iterator[str]:
    """A directory that shows the node's own files: they serve as the image of containers."""
    host.run_expect([0], f"mkdir -p {ROOT} && mount --bind / {ROOT}")
    yield ROOT
    host.run_expect([0], f"umount {ROOT} && rmdir {ROOT}")


def contained(host: Host, options: str, command: str) -> str:
    """Run a program in a container of containerd under crun; return what it prints and, after it, its exit status."""
    done = host.run(
        f"ctr --namespace=rootless-buildah-tests run --rm --rootfs --read-only --runc-binary=/usr/bin/crun "
        "--env=PATH=/usr/sbin:/usr/bin --mount=type=tmpfs,dst=/tmp,options=mode=1777 "
        f"{options} {ROOT} one {command} 2>&1; echo status=$?")
    return str(done.stdout)


@pytest.fixture(scope="module")
def seccomp(host: Host) -> dict[str, list[str]]:
    """The names that the profile answers whatever the arguments, by answer."""
    rules = json.loads(host.check_output("cat %s", SECCOMP))["syscalls"]
    return {action: [name for rule in rules if rule["action"] == action and not rule.get("args")
                     for name in rule["names"]] for action in ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO")}


class TestIds:
    def test_the_kubelet_gets_one_range_that_it_can_use(self, host: Host) -> None:
        uids, gids = (host.check_output(f"getsubids {option} kubelet") for option in ("", "-g"))
        assert uids == gids
        found = re.fullmatch(r"0: kubelet (\d+) (\d+)", uids)
        assert found, uids
        start, count = int(found[1]), int(found[2])
        assert start % 65536 == count % 65536 == 0
        assert start >= 65536
        assert count >= 110 * 65536

    def test_nobody_can_log_in_as_that_user(self, host: Host) -> None:
        _name, _word, uid, _gid, _words, home, shell = host.check_output("getent passwd kubelet").split(":")
        assert shell.endswith("/nologin")
        assert int(uid) < 1000
        assert host.run("test -e %s", home).rc != 0

    def test_the_running_kubelet_took_it(self, host: Host) -> None:
        start = host.check_output("systemctl show --property=ActiveState,SubState --value kubelet").split()
        assert start == ["active", "running"]


class TestSeccomp:
    def test_the_file_is_what_containerd_reads(self, host: Host) -> None:
        profile = json.loads(host.check_output("cat %s", SECCOMP))
        assert set(profile) == {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}
        assert all(set(rule) <= {"names", "action", "args", "errnoRet"} for rule in profile["syscalls"])
        assert host.check_output("stat -c %%a %s", SECCOMP) == "644"

    @pytest.mark.parametrize("name", CALLS)
    def test_a_call_is_refused_by_the_file(self, seccomp: dict[str, list[str]], name: str) -> None:
        assert name in seccomp["SCMP_ACT_ERRNO"]
        assert name not in seccomp["SCMP_ACT_ALLOW"]


class TestAppArmor:
    def test_the_profile_is_loaded_and_enforced(self, host: Host) -> None:
        loaded = host.check_output("cat %s", "/sys/kernel/security/apparmor/profiles")
        assert "rootless-build (enforce)" in loaded.split("\n")

    def test_it_is_loaded_at_every_boot(self, host: Host) -> None:
        assert host.check_output("systemctl is-enabled apparmor") == "enabled"
        assert host.run("test -e /etc/apparmor.d/rootless-build").rc == 0


class TestEngine:
    def test_containerd_offers_crun_beside_what_it_had(self, host: Host) -> None:
        dump = host.check_output("containerd config dump")
        runtimes = set(re.findall(r"containerd\.runtimes\.([\w-]+)\.options\]", dump))
        assert runtimes >= {"crun", "runc"}
        assert "BinaryName = '/usr/bin/crun'" in dump
        # What the main file says about the network is still heard.
        assert "bin_dirs = ['/usr/lib/cni']" in dump

    def test_both_runtimes_name_control_groups_alike(self, host: Host) -> None:
        dump = host.check_output("containerd config dump")
        assert len(set(re.findall(r"SystemdCgroup = (\w+)", dump))) == 1

    def test_the_running_containerd_has_read_it(self, host: Host) -> None:
        started = host.check_output("stat -c %Y /proc/$(systemctl show --property=MainPID --value containerd)")
        written = host.check_output("stat -c %Y /etc/containerd/conf.d/50-rootless-buildah.toml")
        assert int(started) >= int(written)


@pytest.mark.usefixtures("root")
class TestContainer:
    """A container that containerd makes under crun with both profiles."""

    def test_it_is_confined(self, host: Host) -> None:
        printed = contained(host, CONFINED, "sh -c 'cat /proc/self/attr/current; grep Seccomp: /proc/self/status'")
        assert "rootless-build" in printed
        assert re.search(r"Seccomp:\s+2", printed)

    def test_what_builds_do_works(self, host: Host) -> None:
        assert "built\nstatus=0" in contained(host, CONFINED, BUILD)

    def test_what_builds_do_not_need_is_refused(self, host: Host) -> None:
        printed = contained(host, CONFINED, ASK)
        assert json.loads(printed.partition("\n")[0]) == dict.fromkeys(CALLS, "EPERM")

    def test_it_is_the_profile_that_refuses(self, host: Host) -> None:
        # Without it the kernel looks at the arguments, and finds them wrong.
        found = json.loads(contained(host, "--privileged", ASK).partition("\n")[0])
        assert set(found) == set(CALLS)
        assert "EPERM" not in found.values()

    def test_the_engines_own_profiles_let_no_build_through(self, host: Host) -> None:
        own = "--apparmor-default-profile=rootless-buildah-tests"
        printed = contained(host, f"--seccomp {own}", BUILD)
        assert "unshare failed: Operation not permitted" in printed
        printed = contained(host, f"--seccomp --seccomp-profile={SECCOMP} {own}", BUILD)
        assert "cannot change root filesystem propagation: Permission denied" in printed

    @pytest.mark.parametrize("path", ["/proc/sys/vm/swappiness", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"])
    def test_settings_of_the_kernel_stay_out_of_reach_even_of_root(self, host: Host, path: str) -> None:
        printed = contained(host, "--privileged --apparmor-profile=rootless-build", f"sh -c 'echo 1 > {path}'")
        assert "Permission denied" in printed
        assert "status=0" not in printed


class TestKubelet:
    def test_pods_have_a_limit_of_processes(self, host: Host) -> None:
        written = host.check_output("cat %s", "/etc/kubernetes/kubelet.conf.d/90-rootless-buildah.conf")
        assert "podPidsLimit: 4096" in written
        # In control groups of pods, whatever their class; the sandbox is there as soon as a pod is.
        limits = host.check_output(
            "find /sys/fs/cgroup/kubepods* -maxdepth 3 -regex '.*[-/]pod[0-9a-f].*/pids.max' -exec cat {} + | sort -u")
        assert limits in ("4096", ""), limits

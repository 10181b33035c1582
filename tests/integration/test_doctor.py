# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on a host that is broken in one way: it names that and nothing else, and its remedy makes it go away.

Each test has a mount namespace whose ``/etc`` is a copy. What is broken is broken there, for a user of its own; the
machine and the tests beside it notice nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import pytest
import yaml

from ansible_collections.rootless.buildah.tests.integration.harness import CHECKOUT, PYTHON, Builder
from ansible_collections.rootless.buildah.tests.tools.checkout import ENVIRONMENT

STORE = ".local/share/containers/storage"
ELSEWHERE = "1073741824-1073807359"  # ids that nobody has
RENEW = f"usermod --add-subuids {ELSEWHERE} --add-subgids {ELSEWHERE} $USER"
LEAVE = "usermod --del-subuids $FIRST-$LAST --del-subgids $FIRST-$LAST $USER"


class Host:
    """This machine in a mount namespace of its own, and a user who wants to build there."""

    def __init__(self, builder: Builder, base: Path) -> None:
        self.builder = builder
        subprocess.run(["cp", "-a", "/etc", str(base)], check=True)
        for name in ("subuid.lock", "subgid.lock", "passwd.lock", "group.lock", "shadow.lock", "gshadow.lock"):
            (base / "etc" / name).unlink(missing_ok=True)
        # Ends by itself when its standard input closes, that is with this process.
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             'mount --bind "$0" /etc && echo ready && exec cat', str(base / "etc")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n"
        line = next(line for line in (base / "etc/subuid").read_text().splitlines()
                    if line.startswith(f"{builder.name}:"))
        first, count = (int(number) for number in line.split(":")[1:])
        self.words = {
            "USER": builder.name, "UID_": str(builder.uid), "HOME": str(builder.home), "BASE": str(base),
            "STORE": str(builder.home / STORE), "FIRST": str(first), "LAST": str(first + count - 1),
            "PATH": os.environ["PATH"], "LC_ALL": "C",
            # Where they are before something else lies there.
            **{name.upper(): shutil.which(name) or "" for name in ("newuidmap", "newgidmap", "skopeo", "crun")},
        }

    def close(self) -> None:
        assert self.holder.stdin is not None
        self.holder.stdin.close()
        self.holder.wait(10)

    def enter(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--", *argv]

    def sh(self, script: str) -> None:
        """Do something as root."""
        done = subprocess.run(
            self.enter(["sh", "-ec", script]), env=self.words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (script, done.stderr)

    def ask(self, prefix: Sequence[str] = (), env: Mapping[str, str] | None = None, check: bool = False) -> Any:
        """Ask the doctor as the user.

        :param prefix: a program that calls what stands behind it in other circumstances.
        """
        argv, environment = self.builder.module_argv("rootless_info")
        call = self.builder.argv(argv, {**environment, **(env or {})})
        done = subprocess.run(
            self.enter([*prefix, *call]), input=Builder.arguments({}, check=check), capture_output=True, text=True,
            check=False)
        assert done.stdout.strip().startswith("{"), done.stderr[-3000:]
        result = json.loads(done.stdout)
        assert not result.get("failed"), result
        return result

    def findings(self, **options: Any) -> dict[str, dict[str, str]]:
        return {finding["id"]: finding for finding in self.ask(**options)["findings"]}


@pytest.fixture(name="patient", scope="module")
def _patient(library: Path) -> Iterator[Builder]:
    user = Builder(f"rbtd-{os.getpid()}", library)
    yield user
    user.remove()


@pytest.fixture(name="host")
def _host(patient: Builder) -> Iterator[Host]:
    base = Path(tempfile.mkdtemp(prefix="rbdoctor-"))
    base.chmod(0o755)
    host = None
    try:
        host = Host(patient, base)
        yield host
    finally:
        if host is not None:
            host.close()
        # What a test left at home.
        shutil.rmtree(patient.home / ".local", ignore_errors=True)
        patient.write(".config/containers/storage.conf", '[storage]\ndriver = "overlay"\n')
        shutil.rmtree(base)


# Which finding, what breaks the host, what its remedy must say, and how that is carried out.
CASES = {
    "no ranges": (
        "subid_missing", "sed -i /^$USER:/d /etc/subuid /etc/subgid", "usermod --add-subuids", RENEW),
    "no range of gids": (
        "subid_missing", "sed -i /^$USER:/d /etc/subgid", "--add-subgids", "usermod --add-subgids $FIRST-$LAST $USER"),
    "short ranges": (
        "subid_short", f"{LEAVE}; usermod --add-subuids 900000-900999 --add-subgids 900000-900999 $USER",
        "usermod --add-subuids", RENEW),
    "the same range twice": (
        "subid_doubled", "for file in /etc/subuid /etc/subgid; do echo $USER:$FIRST:65536 >> $file; done",
        "usermod --del-subuids", f"{LEAVE}; {RENEW}"),
    "a range of another user": (
        "subid_shared", "for file in /etc/subuid /etc/subgid; do echo somebody:$LAST:65536 >> $file; done",
        "usermod --del-subuids", f"{LEAVE}; {RENEW}"),
    "a range that covers an account": (
        "subid_covers_account", "echo somebody:x:$((FIRST + 7)):100::/:/bin/sh >> /etc/passwd",
        "usermod --del-subuids", f"{LEAVE}; {RENEW}"),
    "no newuidmap": (
        "newuidmap", "mount --bind /dev/null $NEWUIDMAP", "Install uidmap",
        "umount $NEWUIDMAP"),
    "newuidmap without its bit": (
        "newuidmap", "cp $NEWUIDMAP $BASE/helper; mount --bind $BASE/helper $NEWUIDMAP",
        "setcap cap_setuid=ep", "setcap cap_setuid=ep $NEWUIDMAP"),
    "newgidmap without its bit": (
        "newuidmap", "cp $NEWGIDMAP $BASE/helper; mount --bind $BASE/helper $NEWGIDMAP",
        "cap_setgid=ep", "setcap cap_setgid=ep $NEWGIDMAP"),
    "newuidmap on a file system without setuid": (
        "newuidmap", "mount --bind $NEWUIDMAP $NEWUIDMAP; mount -o remount,bind,nosuid $NEWUIDMAP",
        "setuid bit", "umount $NEWUIDMAP"),
    "no skopeo": (
        "tools_missing", "mount --bind /dev/null $SKOPEO", "apt install buildah skopeo",
        "umount $SKOPEO"),
    "no netavark": (
        "netavark_missing", "mount --bind /dev/null /usr/lib/podman/netavark", "Install netavark",
        "umount /usr/lib/podman/netavark"),
    "a full disk": (
        "disk_full", "mkdir -p $STORE; mount -t tmpfs -o size=200m,uid=$UID_ tmpfs $STORE", "Free space",
        "mount -o remount,size=4g $STORE"),
    "a disk that is nearly full": (
        "disk_low", "mkdir -p $STORE; mount -t tmpfs -o size=1g,uid=$UID_ tmpfs $STORE", "Free space",
        "mount -o remount,size=4g $STORE"),
    "a store on an overlay": (
        "graphroot_filesystem",
        ("mkdir -p $STORE $BASE/upper $BASE/work; chown -R $USER: $HOME/.local $BASE/upper; "
         "mount -t overlay overlay -o lowerdir=$STORE,upperdir=$BASE/upper,workdir=$BASE/work $STORE"),
        "local file system", "umount $STORE"),
    "a store of root": (
        "store_not_writable", "mkdir -p $STORE", "chown -R USER:", "chown -R $USER: $HOME/.local"),
    "a lock of root": (
        "store_not_writable",
        "mkdir -p $STORE/overlay-images; chown -R $USER: $HOME/.local; touch $STORE/overlay-images/images.lock",
        "chown -R USER:", "chown -R $USER: $STORE/overlay-images/images.lock"),
    "fuse-overlayfs without need": (
        "fuse_needless",
        ("printf '[storage.options.overlay]\\nmount_program = \"/usr/bin/fuse-overlayfs\"\\n' "
         ">> $HOME/.config/containers/storage.conf"),
        "mount_program", "sed -i /mount_program/d $HOME/.config/containers/storage.conf"),
    "no lingering": (
        "no_linger",
        ("mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/system $BASE/systemd/linger; "
         "mount --bind $BASE/systemd /var/lib/systemd"),
        "loginctl enable-linger", "touch /var/lib/systemd/linger/$USER"),  # all that loginctl does
}


@pytest.mark.parametrize("name, broken, words, cure", CASES.values(), ids=CASES)
def test_what_is_broken_is_named_and_its_remedy_works(
    host: Host, name: str, broken: str, words: str, cure: str
) -> None:
    before = host.ask()
    host.sh(broken)
    after = host.ask()
    usual = {finding["id"] for finding in before["findings"]}
    assert name not in usual
    found = {finding["id"]: finding for finding in after["findings"]}
    assert set(found) - usual == {name}
    assert usual <= set(found)
    assert words in found[name]["remedy"]
    assert after["ready"] is (before["ready"] and found[name]["severity"] == "warning")
    host.sh(cure)
    cured = host.ask()
    assert {finding["id"] for finding in cured["findings"]} == usual
    assert cured["ready"] is before["ready"]


def test_the_only_runtime_is_missed(host: Host) -> None:
    usual = host.findings()
    host.sh("for name in crun runc; do path=$(command -v $name) && mount --bind /dev/null $path; done; true")
    found = host.findings()
    # Nothing is left that a hybrid hierarchy could disturb.
    assert set(found) == (set(usual) | {"runtime_missing"}) - {"cgroup_hybrid", "network_helper", "crun_missing"}
    host.sh("umount $CRUN")
    assert set(host.findings()) == set(usual)


@pytest.mark.parametrize("directory, evidence", [("/run", "belongs to uid 0"), ("/run/none", "does not exist")])
def test_the_runtime_directory_of_somebody_else(host: Host, directory: str, evidence: str) -> None:
    usual = host.findings()
    found = host.findings(env={"XDG_RUNTIME_DIR": directory})
    assert set(found) - set(usual) == {"runtime_dir"}
    assert found["runtime_dir"]["evidence"] == f"XDG_RUNTIME_DIR is {directory}, which {evidence}"
    assert "unset XDG_RUNTIME_DIR" in found["runtime_dir"]["remedy"]
    assert set(host.findings(env={"XDG_RUNTIME_DIR": str(host.builder.home)})) == set(usual)


# Calls a program in a user namespace that maps every id to itself, after something was done there as root.
IN_USER_NAMESPACE = """
exec 3<&0
mkfifo "$BASE/map"
unshare --user --keep-caps sh -ec 'read -r _mapped < "$0/map"; what=$1; shift; sh -ec "$what"; exec "$@" <&3' \
  "$BASE" "$@" &
inside=$!
while [ "$(readlink /proc/$inside/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.02; done
echo '0 0 4294967295' > /proc/$inside/uid_map
echo '0 0 4294967295' > /proc/$inside/gid_map
echo mapped > "$BASE/map"
wait $inside
status=$?
rm "$BASE/map"
exit $status
"""


def test_user_namespaces_that_are_switched_off(host: Host) -> None:
    def within(number: int) -> list[str]:
        script = f"BASE='{host.words['BASE']}'; {IN_USER_NAMESPACE}"
        return ["sh", "-c", script, "sh", f"echo {number} > /proc/sys/user/max_user_namespaces"]

    usual = host.findings(prefix=within(15000))
    found = host.findings(prefix=within(0))
    assert "userns_off" not in usual
    assert set(found) - set(usual) == {"userns_off"}
    assert found["userns_off"]["evidence"] == "user.max_user_namespaces is 0"
    assert "sysctl -w user.max_user_namespaces=15000" in found["userns_off"]["remedy"]


def test_user_namespaces_that_are_denied(host: Host) -> None:
    usual = host.findings()
    # A process in a chroot may not make any: clone(2). It gets EPERM, as from a seccomp filter.
    host.sh("mkdir $BASE/root; mount --rbind / $BASE/root")
    found = host.findings(prefix=["chroot", f"{host.words['BASE']}/root"])
    assert set(found) - set(usual) == {"userns_blocked"}
    assert "Operation not permitted" in found["userns_blocked"]["evidence"]


def test_ping_groups_are_those_of_the_network_namespace(host: Host) -> None:
    def within(groups: str) -> list[str]:
        return ["unshare", "--net", "sh", "-ec",
                f"echo {groups} > /proc/sys/net/ipv4/ping_group_range; exec \"$@\"", "sh"]

    found = host.findings(prefix=within("1 0"))
    cured = host.findings(prefix=within("0 2147483647"))
    assert set(found) - set(cured) == {"ping_group_range"}
    assert "net.ipv4.ping_group_range='0 2147483647'" in found["ping_group_range"]["remedy"]


def test_a_healthy_user_can_build_and_the_doctor_says_so(host: Host) -> None:
    assert host.ask()["ready"] is True
    host.builder.run(["buildah", "unshare", "true"])


def test_it_is_quick_writes_nothing_and_check_mode_makes_no_difference(host: Host) -> None:
    def state() -> list[tuple[str, float]]:
        return sorted((str(path), path.lstat().st_mtime) for path in host.builder.home.rglob("*"))

    before = state()
    begun = time.monotonic()
    result = host.ask()
    assert time.monotonic() - begun < 2
    predicted = host.ask(check=True)
    for one in (result, predicted):
        assert one["changed"] is False
        one["facts"]["store"].pop("free")  # others use the disk, too
        one.pop("invocation")
    assert predicted == result
    assert state() == before


def play(host: Host, book: Path, inventory: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run a playbook on this host, which is all hosts of an inventory."""
    base = host.words["BASE"]
    hosts = {**inventory, "vars": {"ansible_connection": "local", "ansible_python_interpreter": PYTHON}}
    (Path(base) / "hosts.yml").write_text(json.dumps({"builders": hosts}))
    return subprocess.run(
        host.enter([sys.executable, "-m", "ansible", "playbook", "-i", f"{base}/hosts.yml", str(book)]),
        env={**ENVIRONMENT, "LC_ALL": "C.UTF-8", "ANSIBLE_LOCAL_TEMP": base, "ANSIBLE_REMOTE_TEMP": base},
        capture_output=True, text=True, check=False)


def test_the_playbook_ends_with_a_table_of_all_hosts(host: Host) -> None:
    def doctor() -> tuple[int, str, list[str]]:
        done = play(host, CHECKOUT / "playbooks/doctor.yml", {
            "hosts": {"asked": {"builder_user": host.builder.name}, "bare": {"builder_user": "rbtd-nobody"}}})
        shown = done.stdout.partition("TASK [Show the hosts]")[2]
        table = json.loads("{" + shown.partition("=> {")[2].partition("\n}")[0] + "}")["msg"]
        return done.returncode, done.stdout, table

    status, _output, table = doctor()
    rows = {line.split()[0]: line.split()[1:] for line in table[2:4]}
    warnings = len(host.findings())
    assert rows == {"asked": ["yes", "0", str(warnings)], "bare": ["NO", "-", "-"]}
    assert "bare: There is no user rbtd-nobody. Remedy: the role builder makes it." in table
    assert status != 0

    host.sh("sed -i /^$USER:/d /etc/subuid /etc/subgid")
    status, output, table = doctor()
    assert table[2].split() == ["asked", "NO", "1", str(warnings)]
    line = next(line for line in table if line.startswith("asked: error subid_missing: "))
    assert host.findings()["subid_missing"]["remedy"] in line
    assert "asked is not ready" in output
    assert status != 0
    assert "changed=0" in output and "changed=1" not in output


def test_the_examples_of_the_documentation_work(host: Host) -> None:
    source = (CHECKOUT / "plugins/modules/rootless_info.py").read_text()
    examples = source.split('EXAMPLES = r"""')[1].split('"""')[0]
    assert "become_user: builder\n" in examples
    tasks = yaml.safe_load(examples.replace("become_user: builder\n", f"become_user: {host.builder.name}\n"))
    book = Path(host.words["BASE"]) / "examples.yml"
    book.write_text(yaml.safe_dump([{"hosts": "builders", "gather_facts": False, "tasks": tasks}]))
    done = play(host, book, {"hosts": {"one": {}}})
    assert "ok=2 " in done.stdout and "changed=0 " in done.stdout, done.stdout + done.stderr
    host.sh("sed -i /^$USER:/d /etc/subuid")
    done = play(host, book, {"hosts": {"one": {}}})
    assert done.returncode != 0
    assert "usermod --add-subuids" in done.stdout


def test_root_is_refused(host: Host) -> None:
    argv, environment = host.builder.module_argv("rootless_info")
    done = subprocess.run(
        argv, env={**os.environ, **environment}, input=Builder.arguments({}), capture_output=True, text=True,
        check=False)
    result = json.loads(done.stdout)
    assert result["failed"] is True
    assert "become_user" in result["msg"]

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on a host that is broken in one way: it names that and nothing else, and its commands make it go away.

Each test has a mount namespace whose ``/etc`` is a copy, and copies of more where packages are removed and installed.
What is broken is broken there, for a user of its own; the machine and the tests beside it notice nothing. The commands
of a finding are executed as they are returned, and then that user builds.
"""

from __future__ import annotations

import html
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from string import Template
from typing import Any, Iterator, Mapping, Sequence

import pytest
import yaml

from ansible_collections.rootless.buildah.plugins.module_utils._findings import finding_for
from ansible_collections.rootless.buildah.tests.integration import test_subid
from ansible_collections.rootless.buildah.tests.integration.harness import CHECKOUT, PYTHON, Builder
from ansible_collections.rootless.buildah.tests.tools.checkout import ENVIRONMENT

STORE = ".local/share/containers/storage"
LEAVE = "usermod --del-subuids $FIRST-$LAST --del-subgids $FIRST-$LAST $USER"
# Directories of packages, as copies that are written to.
PACKAGES = """
for name in lib cache; do mount --bind $APT/$name /var/$name/apt; done
for place in /usr /var/lib/dpkg; do
  mkdir -p $BASE/upper$place $BASE/work$place
  mount -t overlay overlay -o lowerdir=$place,upperdir=$BASE/upper$place,workdir=$BASE/work$place $place
done
"""
REMOVE = f"{PACKAGES} dpkg --remove --force-depends"
# An image of 400 MB that nobody needs, in a store in memory.
FILL = """
mkdir -p $STORE $BASE/big
mount -t tmpfs -o size=2500m,uid=$UID_,mode=0700 tmpfs $STORE
chown -R $USER: $HOME/.local
fallocate -l 400M $BASE/big/big
printf 'FROM scratch\\nCOPY big /\\n' > $BASE/big/Containerfile
setpriv --reuid=$UID_ --regid=$GID_ --init-groups env HOME=$HOME buildah build $BASE/big
rm -r $BASE/big
"""
# A store on an overlay, on which no other overlay can lie; fuse-overlayfs can.
OVERLAY = """
mkdir -p $STORE $BASE/upper $BASE/work
chown -R $USER: $HOME/.local $BASE/upper
mount -t overlay overlay -o lowerdir=$STORE,upperdir=$BASE/upper,workdir=$BASE/work $STORE
"""
DEVICE = "mknod -m {mode} $BASE/fuse c 10 229; mount --bind $BASE/fuse /dev/fuse;"
FUSE = (
    "printf '[storage.options.overlay]\\nmount_program = \"/usr/bin/fuse-overlayfs\"\\n' "
    ">> $HOME/.config/containers/storage.conf"
)
RUN_STEP = CHECKOUT / "roles/builder/files/run-step.sh"


class Host:
    """This machine in a mount namespace of its own, and a user who wants to build there."""

    def __init__(self, builder: Builder, base: Path, apt: Path) -> None:
        self.builder = builder
        self.deeper: list[str] = []
        self.others: list[subprocess.Popen[bytes]] = []
        subprocess.run(["cp", "-a", "/etc", str(base)], check=True)
        for name in ("subuid.lock", "subgid.lock", "passwd.lock", "group.lock", "shadow.lock", "gshadow.lock"):
            (base / "etc" / name).unlink(missing_ok=True)
        for name in ("subuid", "subgid"):
            table = base / "etc" / name
            # Users of tests that run at the same time may have the ranges beside this one's.
            own = [line for line in table.read_text().splitlines(True) if line.startswith(f"{builder.name}:")]
            table.write_text("".join(own))
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
            "USER": builder.name, "UID_": str(builder.uid), "GID_": str(builder.gid), "HOME": str(builder.home),
            "BASE": str(base), "APT": str(apt),
            "STORE": str(builder.home / STORE), "FIRST": str(first), "LAST": str(first + count - 1),
            "PATH": os.environ["PATH"], "LC_ALL": "C",
            # Where they are before something else lies there.
            **{name.upper(): shutil.which(name) or "" for name in ("newuidmap", "newgidmap", "skopeo", "crun")},
            "FUSE_OVERLAYFS": shutil.which("fuse-overlayfs") or "",
        }

    def close(self) -> None:
        for process in (*self.others, self.holder):
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)

    def enter(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--", *self.deeper, *argv]

    def go_into(self, option: str) -> None:
        """Do everything from now on in a further namespace, in which every id is itself.

        :param option: --net or --user.
        """
        inside = subprocess.Popen(
            self.enter(["unshare", option, *(["--keep-caps"] if option == "--user" else []), "sh", "-c",
                        "echo ready; exec cat"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.others.append(inside)
        assert inside.stdout is not None and inside.stdout.readline() == b"ready\n"
        if option == "--user":
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{inside.pid}/{name}").write_text("0 0 4294967295\n")
        self.deeper = ["nsenter", f"{option}=/proc/{inside.pid}/ns/{option.strip('-')}", "--"]

    def filled(self, text: str) -> str:
        """Return a text with this host's words in place of their names."""
        return Template(text).safe_substitute(self.words)

    def sh(self, script: str, **words: str) -> None:
        """Do something as root."""
        done = subprocess.run(
            self.enter(["sh", "-ec", script]), env={**self.words, **words}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (script, done.stdout[-1000:], done.stderr)

    def carry_out(self, finding: Mapping[str, Any]) -> None:
        """Do what a finding says, as root who has just logged in would."""
        assert finding["commands"], finding
        for command in finding["commands"]:
            done = subprocess.run(
                self.enter(["env", "-i", f"PATH={os.environ['PATH']}", "HOME=/root", "XDG_RUNTIME_DIR=/run/user/0",
                            "sh", "-c", command]),
                cwd="/root", capture_output=True, text=True, check=False)
            assert done.returncode == 0, (command, done.stdout[-1000:], done.stderr)

    def build(self) -> None:
        """Build an image with a RUN step, and with a file of another owner, as the user."""
        done = subprocess.run(
            self.enter(self.builder.argv(["sh", "-c", RUN_STEP.read_text(), "run", "configured"])),
            cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def attempt(
        self, prefix: Sequence[str] = (), env: Mapping[str, str] | None = None, big: bool = False, **options: Any
    ) -> dict[str, Any]:
        """Build an image with the module, one that needs a RUN step, many ids and perhaps much room; return its result.

        :param prefix: as for :meth:`ask`.
        :param options: more of them for the module.
        """
        argv, environment = self.builder.module_argv("buildah_build")
        call = self.builder.argv(argv, {**environment, **(env or {})})
        context = self.builder.context("trial", {
            "busybox": Path("/bin/busybox").read_bytes(),
            "big": b"",
            "Containerfile": (
                'FROM scratch\nCOPY --chown=12345 --chmod=755 busybox big /\nRUN ["/busybox", "true"]\n'),
        })
        os.truncate(context / "big", 400 << 20 if big else 0)
        wish = Builder.arguments({"name": "localhost/trial", "path": str(context), **options})
        done = subprocess.run(
            self.enter([*prefix, *call]), input=wish, capture_output=True, text=True, check=False)
        assert done.stdout.strip().startswith("{"), done.stderr[-3000:]
        return dict(json.loads(done.stdout))

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

    def findings(self, **options: Any) -> dict[str, dict[str, Any]]:
        return {finding["id"]: finding for finding in self.ask(**options)["findings"]}


@pytest.fixture(name="patient", scope="module")
def _patient(library: Path) -> Iterator[Builder]:
    user = Builder(f"rbtd-{os.getpid()}", library)
    yield user
    user.remove()


@pytest.fixture(name="apt", scope="module")
def _apt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of what apt keeps, so that only the first of the tests waits for its lists."""
    place = tmp_path_factory.mktemp("apt")
    for name in ("lib", "cache"):
        subprocess.run(["cp", "-a", f"/var/{name}/apt", str(place / name)], check=True)
    return place


@pytest.fixture(name="host")
def _host(patient: Builder, apt: Path) -> Iterator[Host]:
    base = Path(tempfile.mkdtemp(prefix="rbdoctor-"))
    base.chmod(0o755)
    host = None
    try:
        host = Host(patient, base, apt)
        yield host
    finally:
        if host is not None:
            host.close()
        # What a test left at home.
        for name in (".local", "trap"):
            shutil.rmtree(patient.home / name, ignore_errors=True)
        (patient.home / ".config/containers/containers.conf").unlink(missing_ok=True)
        patient.write(".config/containers/storage.conf", '[storage]\ndriver = "overlay"\n')
        shutil.rmtree(base)


# Which finding, what breaks the host, and what its commands must say.
CASES = {
    "no ranges": ("subid_missing", "sed -i /^$USER:/d /etc/subuid /etc/subgid", "usermod --add-subuids"),
    "no range of gids": ("subid_missing", "sed -i /^$USER:/d /etc/subgid", "--add-subgids"),
    "no tables": ("subid_missing", "rm /etc/subuid /etc/subgid", "touch /etc/subuid"),
    "a table that only root reads": ("subid_unreadable", "chmod 0640 /etc/subgid", "chmod a+r /etc/subgid"),
    "short ranges": (
        "subid_short", f"{LEAVE}; usermod --add-subuids 900000-900999 --add-subgids 900000-900999 $USER",
        "usermod --add-subuids"),
    "the same range twice": (
        "subid_doubled", "for file in /etc/subuid /etc/subgid; do echo $USER:$FIRST:65536 >> $file; done",
        "usermod --del-subuids"),
    "ranges that overlap": (
        "subid_doubled", "for file in /etc/subuid /etc/subgid; do echo $USER:$LAST:1000 >> $file; done",
        "usermod --del-subuids"),
    "a range of another user": (
        "subid_shared", "for file in /etc/subuid /etc/subgid; do echo somebody:$LAST:65536 >> $file; done",
        "usermod --del-subuids"),
    "a range that covers an account": (
        "subid_covers_account", "echo somebody:x:$((FIRST + 7)):100::/:/bin/sh >> /etc/passwd",
        "usermod --del-subuids"),
    "no newuidmap": ("newuidmap", f"{REMOVE} uidmap", "install -y --no-install-recommends uidmap"),
    "newuidmap without its bit": (
        "newuidmap", "cp $NEWUIDMAP $BASE/helper; mount --bind $BASE/helper $NEWUIDMAP", "setcap cap_setuid=ep"),
    "newgidmap without its bit": (
        "newuidmap", "cp $NEWGIDMAP $BASE/helper; mount --bind $BASE/helper $NEWGIDMAP", "setcap cap_setgid=ep"),
    "newuidmap on a file system without setuid": (
        "newuidmap", "mount --bind $NEWUIDMAP $NEWUIDMAP; mount -o remount,bind,nosuid $NEWUIDMAP",
        "mount -o remount,bind,suid"),
    "no skopeo": ("tools_missing", f"{REMOVE} skopeo", "install -y --no-install-recommends skopeo"),
    "no netavark": ("netavark_missing", f"{REMOVE} netavark", "install -y --no-install-recommends netavark"),
    "netavark elsewhere": (
        "netavark_missing",
        ("mkdir -p $BASE/helpers /etc/containers/containers.conf.d; "
         "printf '[engine]\\nhelper_binaries_dir = [\"%s\"]\\n' $BASE/helpers > /etc/containers/containers.conf; "
         "mkdir -p $HOME/.config/containers; cp /etc/containers/containers.conf $HOME/.config/containers"),
        "ln -sf /usr/lib/podman/netavark"),
    "a full disk": ("disk_full", f"{FILL} mount -o remount,size=600m $STORE", "buildah rmi --prune"),
    "a disk that is nearly full": ("disk_low", f"{FILL} mount -o remount,size=2300m $STORE", "buildah rmi --prune"),
    "a store on an overlay": (
        "graphroot_filesystem",
        f"mount --bind /dev/null $FUSE_OVERLAYFS; {OVERLAY} mkdir $BASE/lib; mount --bind $BASE/lib /var/lib",
        "/var/lib/$USER-containers"),
    "a store on an overlay, and a file of the user's own style": (
        "graphroot_filesystem",
        (f"mount --bind /dev/null $FUSE_OVERLAYFS; {OVERLAY} mkdir $BASE/lib; mount --bind $BASE/lib /var/lib; "
         "printf '\\t[ storage ] # mine\\ngraphroot = \"%s\" # here\\ndriver = \"overlay\"\\n' $STORE "
         "> $HOME/.config/containers/storage.conf"),
        "/var/lib/$USER-containers"),
    "a store on an overlay, and a file that is empty": (
        "graphroot_filesystem",
        (f"mount --bind /dev/null $FUSE_OVERLAYFS; {OVERLAY} mkdir $BASE/lib; mount --bind $BASE/lib /var/lib; "
         ": > $HOME/.config/containers/storage.conf"),
        "/var/lib/$USER-containers"),
    "a store of root": ("store_not_writable", "mkdir -p $STORE", "find ./.local -xdev -uid 0"),
    "a store that is another user's": (
        "store_not_writable", "mkdir -p $STORE/overlay; chown -R $USER: $HOME/.local; chown 12345 $STORE/overlay",
        "-uid 12345"),
    "a lock of root": (
        "store_not_writable",
        "mkdir -p $STORE/overlay-images; chown -R $USER: $HOME/.local; touch $STORE/overlay-images/images.lock",
        "find ./images.lock -xdev -uid 0"),
    "vfs where nothing can be executed": (
        "store_noexec",
        ("sed -i s/overlay/vfs/ $HOME/.config/containers/storage.conf; "
         "mount --bind $HOME $HOME; mount -o remount,bind,noexec $HOME"),
        "sed -i"),
    "vfs where setuid has no effect": (
        "store_nosuid",
        ("sed -i s/overlay/vfs/ $HOME/.config/containers/storage.conf; "
         "mount --bind $HOME $HOME; mount -o remount,bind,nosuid $HOME"),
        "sed -i"),
    "fuse-overlayfs that cannot run where it is needed": (
        "fuse_missing", f"{DEVICE.format(mode=600)} {OVERLAY} {FUSE}", "chmod 0666 /dev/fuse"),
    "fuse-overlayfs without need": (
        "fuse_needless", f"{DEVICE.format(mode=666)} {FUSE}", "sed -i"),
    "a default runtime that is not installed": (
        "runtime_missing",
        (f"{PACKAGES} mkdir -p /etc/containers; "
         "printf '[engine]\\nruntime = \"runc\"\\n' > /etc/containers/containers.conf"),
        "install -y --no-install-recommends runc"),
}
# What the finding says of this host.
EVIDENCE = {
    "no ranges": "/etc/subuid: no range of $USER; /etc/subgid: no range of $USER",
    "no range of gids": "/etc/subgid: no range of $USER",
    "no tables": "/etc/subuid: no range of $USER; /etc/subgid: no range of $USER",
    "a table that only root reads": "$USER may not read /etc/subgid",
    "short ranges": "/etc/subuid: 1000 ids of 65536; /etc/subgid: 1000 ids of 65536",
    "the same range twice": "$FIRST",
    "ranges that overlap": "$LAST",
    "a range of another user": "somebody",
    "a range that covers an account": "somebody",
    "no newuidmap": "newuidmap is not installed; newgidmap is not installed",
    "newuidmap without its bit": "$NEWUIDMAP has mode 0755 and no right to write maps",
    "newgidmap without its bit": "$NEWGIDMAP has mode 0755 and no right to write maps",
    "newuidmap on a file system without setuid": "$NEWUIDMAP has mode 4755 and no right to write maps",
    "no skopeo": "not in PATH: skopeo",
    "no netavark": "in none of buildah's helper directories",
    "netavark elsewhere": "in none of buildah's helper directories",
    "a full disk": "MiB are free below $STORE",
    "a disk that is nearly full": "MiB are free below $STORE",
    "a store on an overlay": "$STORE is on overlay",
    "a store on an overlay, and a file of the user's own style": "$STORE is on overlay",
    "a store on an overlay, and a file that is empty": "$STORE is on overlay",
    "a store of root": "$USER may not write to $STORE",
    "a store that is another user's": "$USER may not write to $STORE/overlay",
    "a lock of root": "$USER may not write to $STORE/overlay-images/images.lock",
    "vfs where nothing can be executed": "which holds $STORE, is mounted noexec",
    "vfs where setuid has no effect": "which holds $STORE, is mounted nosuid",
    "fuse-overlayfs that cannot run where it is needed": "/dev/fuse is closed",
    "fuse-overlayfs without need": "mount_program is",
    "a default runtime that is not installed": "containers.conf makes runc the default runtime, and it is not in PATH",
}
# Packages take their time: one of them has to do for every day.
LONG = {"no newuidmap", "no skopeo", "a default runtime that is not installed"}
# What is left when there is nothing more to remove.
LEFT = {"a full disk": {"disk_low"}}
# What a build with the module comes to meanwhile: most fail and name the finding. These succeed,
BUILDS = {
    "a range of another user", "a range that covers an account", "a disk that is nearly full",
    "vfs where setuid has no effect", "fuse-overlayfs without need", "a default runtime that is not installed",
}
# these fail with words of the system that have many causes,
MUTE = {"a store of root", "vfs where nothing can be executed"}
# and of this one buildah says no more than that ids are missing.
TOLD_AS = {"short ranges": "subid_missing"}


@pytest.mark.parametrize("case", [pytest.param(case, marks=pytest.mark.long if case in LONG else ()) for case in CASES])
def test_what_is_broken_is_named_and_its_commands_cure_it(host: Host, case: str) -> None:
    name, broken, words = CASES[case]
    before = host.ask()
    if name == "netavark_missing":
        # Where netavark has never been, buildah 1.28 does without.
        host.build()
    host.sh(broken)
    after = host.ask()
    usual = {finding["id"] for finding in before["findings"]}
    assert name not in usual
    found = {finding["id"]: finding for finding in after["findings"]}
    assert set(found) - usual == {name}
    assert usual <= set(found)
    assert host.filled(words) in "\n".join(found[name]["commands"])
    assert host.filled(EVIDENCE[case]) in found[name]["evidence"]
    assert after["ready"] is (before["ready"] and found[name]["severity"] == "warning")
    # The store would remember that fuse-overlayfs has made it.
    if case != "fuse-overlayfs without need":
        built = host.attempt(big=name == "disk_full")
        assert built.get("failed", False) is (case not in BUILDS), built
        assert built.get("finding", "") == ("" if case in BUILDS | MUTE else TOLD_AS.get(case, name)), built
    host.carry_out(found[name])
    cured = host.ask()
    assert {finding["id"] for finding in cured["findings"]} - LEFT.get(case, set()) == usual
    assert cured["ready"] is before["ready"]
    host.build()


@pytest.mark.parametrize("case", ["a range of another user", "a range that covers an account"])
def test_what_is_stored_under_lost_ids_goes_with_them(host: Host, case: str) -> None:
    name, broken, _words = CASES[case]
    host.build()
    host.sh(broken)
    host.carry_out(host.findings()[name])
    host.build()
    assert name not in host.findings()


def test_nothing_is_deleted_while_the_user_is_busy(host: Host) -> None:
    name, broken, _words = CASES["a range of another user"]
    host.build()
    host.sh(broken)
    (command,) = host.findings()[name]["commands"]
    tables = [Path(host.words["BASE"], "etc", table).read_text() for table in ("subuid", "subgid")]

    def stored() -> list[str]:
        return sorted(str(path) for path in host.builder.home.joinpath(STORE).rglob("*.json"))

    before = stored()
    assert before
    with subprocess.Popen(host.builder.argv(["sleep", "600"])) as busy:
        try:
            deadline = time.monotonic() + 10
            while Path(f"/proc/{busy.pid}").stat().st_uid != host.builder.uid and time.monotonic() < deadline:
                time.sleep(0.05)
            done = subprocess.run(host.enter(["sh", "-c", command]), capture_output=True, text=True, check=False)
        finally:
            busy.kill()
    assert done.returncode == 8  # E_USER_BUSY
    assert f"user {host.builder.name} is currently used by process" in done.stderr
    assert stored() == before
    assert [Path(host.words["BASE"], "etc", table).read_text() for table in ("subuid", "subgid")] == tables


def test_a_home_that_does_not_exist_is_made_and_nothing_is_given_away(host: Host) -> None:
    usual = host.findings()
    host.sh("mkdir -m 755 $BASE/homes; sed -i s,:$HOME:,:$BASE/homes/one/$USER:, /etc/passwd")
    home = {"HOME": host.filled("$BASE/homes/one/$USER")}
    found = host.findings(env=home)
    assert set(found) - set(usual) == {"store_not_writable"}
    assert found["store_not_writable"]["evidence"] == host.filled("the home $BASE/homes/one/$USER does not exist")
    host.carry_out(found["store_not_writable"])
    assert set(host.findings(env=home)) == set(usual)
    assert not host.attempt(env=home).get("failed")
    assert [Path(host.filled(name)).stat().st_uid for name in ("$BASE/homes/one", "$BASE/homes/one/$USER")] == [
        0, host.builder.uid]


def test_who_cannot_make_a_store_is_told_so(host: Host) -> None:
    host.sh("printf 'graphroot = \"/srv/%s/images\"\n' $USER >> $HOME/.config/containers/storage.conf")
    found = host.findings()["store_not_writable"]
    assert found["evidence"] == host.filled("/srv/$USER does not exist, and $USER cannot make it in /srv")
    assert found["commands"] == []


@pytest.mark.parametrize("graphroot", ["$BASE/images", "/etc/containers", "$HOME/trap/containers"])
def test_what_is_not_the_users_is_not_given_away(host: Host, graphroot: str) -> None:
    host.sh(f"mkdir -p /etc/containers $HOME/trap; ln -s /etc/containers $HOME/trap; "
            f"printf 'graphroot = \"%s\"\\n' {graphroot} >> $HOME/.config/containers/storage.conf")
    found = host.findings()["store_not_writable"]
    assert found["commands"] == []


@pytest.mark.parametrize("line", ["somebody", "somebody:900000:1000:", "$USER:900000:0x3e8"])
def test_a_line_at_which_buildah_gives_up_is_shown(host: Host, line: str) -> None:
    """shadow's programs skip it, or read it, and go on."""
    usual = host.findings()
    assert "subid_malformed" not in usual
    host.sh(f"echo '{host.filled(line)}' >> /etc/subuid")
    found = host.findings()
    assert set(found) - set(usual) == {"subid_malformed"}
    number = len(Path(host.words["BASE"], "etc/subuid").read_text().splitlines())
    assert found["subid_malformed"]["evidence"] == f"/etc/subuid, line {number}: {host.filled(line)!r}"
    assert found["subid_malformed"]["commands"] == []
    assert host.attempt()["finding"] == "subid_malformed"
    # What the remedy says of a line that nobody can correct.
    host.sh("sed -i '$s/^/# /' /etc/subuid")
    assert set(host.findings()) == set(usual)
    host.build()


def test_ranges_that_a_service_gives_have_to_be_in_the_files_for_this_buildah(host: Host) -> None:
    usual = host.findings()
    source = test_subid.TestOtherServices.PLUGIN.replace("rbsuba", host.builder.name).replace("false", "true")
    plugin = f"{host.words['BASE']}/libsubid_rbtd.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", plugin, "-x", "c", "-"], check=True, input=source, text=True)
    libraries = host.builder.run(["sh", "-c", "ldd $(command -v getsubids) | grep -o '/[^ ]*/libsubid'"]).stdout.strip()
    host.sh(f"{PACKAGES} cp {plugin} {os.path.dirname(libraries)}; echo subid: rbtd >> /etc/nsswitch.conf; "
            "sed -i /^$USER:/d /etc/subuid /etc/subgid")
    found = host.findings()
    assert set(found) - set(usual) == {"subid_missing"}
    assert found["subid_missing"]["evidence"].startswith(
        "this buildah reads the files only: rbtd gives 7000000:65536, /etc/subuid nothing; ")
    assert found["subid_missing"]["commands"] == []
    assert host.attempt()["finding"] == "subid_missing"
    # As the remedy has it.
    host.sh("for file in /etc/subuid /etc/subgid; do echo $USER:7000000:65536 >> $file; done")
    assert set(host.findings()) == set(usual)
    host.build()


def test_united_ranges_are_the_same_ids(host: Host) -> None:
    host.build()
    host.sh(CASES["ranges that overlap"][1])
    host.carry_out(host.findings()["subid_doubled"])
    seen = host.ask()["facts"]
    first, last = int(host.words["FIRST"]), int(host.words["LAST"])
    assert seen["subuid"]["ranges"] == seen["subgid"]["ranges"] == [{"start": first, "count": last - first + 1000}]
    host.build()


def test_buildah_1_28_does_without_netavark_until_it_has_had_it(host: Host) -> None:
    usual = host.findings()
    host.sh("rm -rf $STORE; mount --bind /dev/null /usr/lib/podman/netavark")
    assert set(host.findings()) == set(usual)
    assert not host.attempt().get("failed")
    assert Path(host.filled("$STORE/defaultNetworkBackend")).read_text() == "cni"
    host.sh("echo -n netavark > $STORE/defaultNetworkBackend")
    assert set(host.findings()) - set(usual) == {"netavark_missing"}
    assert host.attempt()["finding"] == "netavark_missing"


def test_buildah_takes_fuse_overlayfs_on_an_overlay_by_itself(host: Host) -> None:
    usual = host.findings()
    # Its run-time directory, of which a host that boots so has none, says that overlays are native.
    host.sh(f"rm -rf /var/tmp/containers-user-$UID_; {DEVICE.format(mode=600)} {OVERLAY}")
    found = host.findings()
    assert set(found) - set(usual) == {"fuse_missing"}
    assert host.attempt()["finding"] == "fuse_missing"
    host.carry_out(found["fuse_missing"])
    assert set(host.findings()) == set(usual)
    host.build()
    host.sh("rm -rf /var/tmp/containers-user-$UID_")


def test_without_any_storage_conf_buildah_takes_vfs(host: Host) -> None:
    """So does buildah before 1.31, which is Debian 12's: what overlay minds is no trouble, and the other way about."""
    host.sh("rm -f $HOME/.config/containers/storage.conf /etc/containers/storage.conf")
    usual = host.findings()
    host.sh(OVERLAY)
    assert set(host.findings()) == set(usual)
    assert not host.attempt().get("failed")
    host.sh("umount $STORE; mount --bind $HOME $HOME; mount -o remount,bind,noexec $HOME")
    found = host.findings()
    assert set(found) - set(usual) == {"store_noexec"}
    assert host.attempt()["failed"]
    host.carry_out(found["store_noexec"])
    assert set(host.findings()) == set(usual)
    host.build()


def test_modes_of_the_users_own_store_do_not_matter(host: Host) -> None:
    usual = host.findings()
    host.sh("mkdir -p $STORE; chown -R $USER: $HOME/.local; chmod 0500 $STORE")
    assert set(host.findings()) == set(usual)
    host.build()


def test_a_store_that_fuse_overlayfs_has_made_stays_with_it_until_it_is_emptied(host: Host) -> None:
    usual = host.findings()
    host.sh(f"{DEVICE.format(mode=666)} {FUSE}")
    host.build()
    host.sh("sed -i /mount_program/d $HOME/.config/containers/storage.conf")
    found = host.findings()
    assert set(found) - set(usual) == {"fuse_needless"}
    assert found["fuse_needless"]["evidence"] == f"{host.words['STORE']} was made with fuse-overlayfs"
    assert found["fuse_needless"]["commands"] == []
    # It cannot do without, whatever the kernel can.
    host.sh("chmod 600 /dev/fuse")
    assert set(host.findings()) - set(usual) == {"fuse_needless", "fuse_missing"}
    assert host.attempt()["finding"] == "fuse_missing"
    host.sh("chmod 666 /dev/fuse")
    # As docs/findings.md has it.
    for command in ("buildah rmi --all --force", f"buildah unshare rm -rf {host.words['STORE']}"):
        subprocess.run(host.enter(host.builder.argv(["sh", "-c", command])), cwd="/", check=True)
    assert set(host.findings()) == set(usual)
    host.build()


def test_a_hybrid_cgroup_hierarchy_is_told(host: Host) -> None:
    # As a host that was booted with one hierarchy has it, and then as one that was booted with both.
    host.sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    usual = host.findings()
    host.sh("mount -t tmpfs tmpfs /sys/fs/cgroup; cd /sys/fs/cgroup; mkdir unified systemd; "
            "mount -t cgroup2 cgroup2 unified; mount -t cgroup -o none,name=systemd cgroup systemd; "
            # This kernel's, or those of one that has left controllers to it.
            "grep -q . unified/cgroup.controllers || "
            "{ echo pids > $BASE/pids; mount --bind $BASE/pids unified/cgroup.controllers; }")
    found = host.findings()
    assert set(found) - set(usual) == {"cgroup_hybrid"}
    assert found["cgroup_hybrid"]["commands"] == []
    assert host.attempt(env={"BUILDAH_ISOLATION": "rootless"})["finding"] == "cgroup_hybrid"
    # What the remedy says where the host is not to be booted otherwise.
    assert not host.attempt(env={"BUILDAH_ISOLATION": "chroot"}).get("failed")
    # It is what builds get where nothing is said.
    assert not host.attempt(env={"BUILDAH_ISOLATION": ""}, force=True).get("failed")


@pytest.mark.parametrize("beside", [
    "", "mkdir unified; mount -t cgroup2 cgroup2 unified; mount --bind /dev/null unified/cgroup.controllers"])
def test_version_1_of_cgroups_runs_steps(host: Host, beside: str) -> None:
    """With the second one beside it that has no controllers, or alone: as systemd makes them, and RHEL 8."""
    host.sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    usual = host.findings()
    host.sh("mount -t tmpfs tmpfs /sys/fs/cgroup; cd /sys/fs/cgroup; mkdir systemd; "
            f"mount -t cgroup -o none,name=systemd cgroup systemd; {beside}")
    asked = host.ask()
    assert asked["facts"]["cgroup"] == "v1"
    assert {finding["id"] for finding in asked["findings"]} == set(usual)
    # Where nothing is said, a step is process 1 of its own namespace. The network is another matter.
    built = host.attempt(env={"BUILDAH_ISOLATION": ""}, network="host", containerfile_content=(
        'FROM scratch\nCOPY --chmod=755 busybox /\nRUN ["/busybox", "sh", "-c", "test $$ = 1"]\n'))
    assert not built.get("failed"), built


def test_chroot_that_containers_conf_asks_for_hides_the_hosts_processes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As role builder leaves it where no runtime works: the environment of a build says nothing."""
    monkeypatch.delitem(host.builder.environment, "BUILDAH_ISOLATION")
    host.sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup; mkdir -p $HOME/.config/containers; "
            "printf '[engine]\\nenv = [\"BUILDAH_ISOLATION=chroot\"]\\n' > $HOME/.config/containers/containers.conf")
    assert len([name for name in os.listdir("/proc") if name.isdecimal()]) > 30
    built = host.attempt(containerfile_content=(
        'FROM scratch\nCOPY --chmod=755 busybox /\n'
        'RUN ["/busybox", "sh", "-c", "set -- /proc/[0-9]*; test $# -lt 30"]\n'))
    assert not built.get("failed"), built


def test_a_runtime_that_can_mount_no_proc_is_told(host: Host) -> None:
    """As in a container of Docker's or Podman's that may make namespaces: parts of its /proc are covered."""
    unset = {"BUILDAH_ISOLATION": ""}
    host.sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    usual = host.findings(env=unset)
    assert "pod_isolation" not in usual
    host.sh("mount --bind /dev/null /proc/keys")
    found = host.findings(env=unset)
    # Steps get the network of their host now.
    assert set(found) - set(usual) == {"pod_isolation"} and set(usual) - set(found) <= {"network_helper"}
    finding = found["pod_isolation"]
    assert finding["evidence"] == "BUILDAH_ISOLATION is not set" and "--security-opt" in finding["remedy"]
    assert finding["commands"] == []
    failed = host.attempt(env={"BUILDAH_ISOLATION": "oci"}, network="host")
    assert failed["finding"] == "pod_isolation" and "Operation not permitted" in failed["stderr"]
    # What a build gets by itself, and what the remedy says: of whoever builds,
    assert not host.attempt(env=unset).get("failed")
    assert "pod_isolation" not in host.findings(env={"BUILDAH_ISOLATION": "chroot"})
    host.build()
    # and of whoever starts the container.
    host.sh("umount /proc/keys")
    assert set(host.findings(env=unset)) == set(usual)
    assert not host.attempt(env={"BUILDAH_ISOLATION": "oci"}, network="host", force=True).get("failed")


def test_a_tunnel_that_users_cannot_open_is_opened(host: Host) -> None:
    """RUN steps under an OCI runtime get their network through it."""
    isolated = {"BUILDAH_ISOLATION": "rootless"}
    host.sh("mkdir -p /dev/net; touch /dev/net/tun || true; "
            "mknod -m 666 $BASE/tun c 10 200; mount --bind $BASE/tun /dev/net/tun")
    usual = host.findings(env=isolated)
    host.sh("chmod 600 /dev/net/tun")
    found = host.findings(env=isolated)
    assert set(found) - set(usual) == {"network_helper"}
    assert "/dev/net/tun is closed" in found["network_helper"]["evidence"]
    host.carry_out(found["network_helper"])
    assert set(host.findings(env=isolated)) == set(usual)
    host.build()


def test_a_mount_outside_of_the_users_namespace_is_told(host: Host) -> None:
    container = host.builder.sh("buildah from scratch").strip()
    outside = host.builder.run(["buildah", "mount", container], check=False)
    told = finding_for(outside.stderr)
    assert outside.returncode != 0 and told and told.id == "not_unshared"
    # What its remedy says.
    assert STORE in host.builder.run(["buildah", "unshare", "buildah", "mount", container]).stdout


def test_a_user_without_linger_gets_it(host: Host) -> None:
    usual = host.findings()
    host.sh("mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/systemd/system $BASE/systemd/linger; "
            "mount --bind $BASE/systemd /var/lib/systemd")
    found = host.findings()
    assert set(found) - set(usual) == {"no_linger"}
    assert found["no_linger"]["commands"] == [f"loginctl enable-linger {host.builder.name}"]
    # No systemd listens here; this is all that it does, the service manager last.
    host.sh("touch /var/lib/systemd/linger/$USER")
    found = host.findings()
    uid = host.builder.uid
    assert set(found) - set(usual) == {"no_linger"}
    assert f"there is no /run/user/{uid}" in found["no_linger"]["evidence"]
    assert found["no_linger"]["commands"] == [f"systemctl start user@{uid}.service"]
    host.sh(f"install -d -m 0700 -o $USER /run/user/{uid}")
    assert set(host.findings()) == set(usual)


@pytest.mark.long
def test_the_only_runtime_is_missed(host: Host) -> None:
    usual = host.findings()
    host.sh(f"{REMOVE} crun; ! command -v runc")
    found = host.findings()
    # Nothing is left that a hybrid hierarchy could disturb.
    assert set(found) == (set(usual) | {"runtime_missing"}) - {"cgroup_hybrid", "network_helper", "crun_missing"}
    host.carry_out(found["runtime_missing"])
    assert set(host.findings()) == set(usual)
    host.build()


def test_a_buildah_that_every_build_refuses_is_told(host: Host) -> None:
    usual = host.findings()
    host.sh("printf '#!/bin/sh\necho buildah version 1.23.1\n' > $BASE/old; chmod 755 $BASE/old; "
            "mount --bind $BASE/old $(command -v buildah)")
    found = host.findings()
    assert set(found) - set(usual) == {"tools_missing"}
    assert found["tools_missing"]["evidence"] == "buildah is 1.23.1, 1.28 is needed"
    assert found["tools_missing"]["commands"] == [] != found["tools_missing"]["by_hand"]
    assert "buildah 1.23.1 is too old" in host.attempt()["msg"]


@pytest.mark.parametrize("directory, evidence", [("/run", "belongs to uid 0"), ("/run/none", "does not exist")])
def test_the_runtime_directory_of_somebody_else(host: Host, directory: str, evidence: str) -> None:
    usual = host.findings()
    found = host.findings(env={"XDG_RUNTIME_DIR": directory})
    assert set(found) - set(usual) == {"runtime_dir"}
    assert found["runtime_dir"]["evidence"] == f"XDG_RUNTIME_DIR is {directory}, which {evidence}"
    assert "unset XDG_RUNTIME_DIR" in found["runtime_dir"]["remedy"]
    assert set(host.findings(env={"XDG_RUNTIME_DIR": str(host.builder.home)})) == set(usual)
    host.build()


def test_a_place_for_temporary_files_that_is_closed(host: Host, tmp_path: Path) -> None:
    usual = host.findings()
    found = host.findings(env={"TMPDIR": str(tmp_path)})
    assert set(found) - set(usual) == {"temporary_dir"}
    assert found["temporary_dir"]["evidence"] == f"{host.builder.name} cannot write to {tmp_path}"
    assert "unset TMPDIR" in found["temporary_dir"]["remedy"]
    by_hand = host.builder.run(["buildah", "images"], env={"TMPDIR": str(tmp_path)}, check=False)
    told = finding_for(by_hand.stderr)
    assert by_hand.returncode != 0 and told and told.id == "temporary_dir"
    assert set(host.findings(env={"TMPDIR": "/var/tmp"})) == set(usual)
    host.build()


def test_user_namespaces_that_are_switched_off(host: Host) -> None:
    host.go_into("--user")
    usual = host.findings()
    assert "userns_off" not in usual
    host.sh("echo 0 > /proc/sys/user/max_user_namespaces")
    found = host.findings()
    assert set(found) - set(usual) == {"userns_off"}
    assert found["userns_off"]["evidence"] == "user.max_user_namespaces is 0"
    host.carry_out(found["userns_off"])
    assert set(host.findings()) == set(usual)
    host.build()
    # And so it is after a reboot.
    host.sh("echo 0 > /proc/sys/user/max_user_namespaces; sysctl --load=/etc/sysctl.d/zz-builder-*.conf")
    assert set(host.findings()) == set(usual)


def test_user_namespaces_that_are_denied(host: Host) -> None:
    usual = host.findings()
    # A process in a chroot may not make any: clone(2). It gets EPERM, as from a seccomp filter.
    host.sh("mkdir $BASE/root; mount --rbind / $BASE/root")
    found = host.findings(prefix=["chroot", f"{host.words['BASE']}/root"])
    assert set(found) - set(usual) == {"userns_blocked"}
    assert "Operation not permitted" in found["userns_blocked"]["evidence"]
    # No setting of the host can change that.
    assert found["userns_blocked"]["commands"] == []


def test_a_uid_without_an_account_is_told(host: Host) -> None:
    """As OpenShift and docker run --user give it to containers: the user of this process, unknown to passwd."""
    usual = host.findings()
    argv, environment = host.builder.module_argv("rootless_info")
    as_nobody = "sed -i /^$USER:/d /etc/passwd; exec setpriv --reuid=$UID_ --regid=$GID_ --clear-groups \"$@\""
    done = subprocess.run(
        host.enter(["sh", "-ec", as_nobody, "sh", *argv]), input=Builder.arguments({}),
        env={**host.words, **host.builder.environment, **environment}, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout)
    found = {finding["id"]: finding for finding in result["findings"]}
    assert set(found) - set(usual) == {"subid_missing"}
    assert found["subid_missing"]["evidence"] == (
        f"no account has the uid {host.builder.uid}, and newuidmap serves nobody else")
    assert found["subid_missing"]["commands"] == []
    assert result["ready"] is False


def test_ping_groups_are_those_of_the_network_namespace(host: Host) -> None:
    host.go_into("--net")
    host.sh("echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range")
    usual = host.findings()
    host.sh("echo 1 0 > /proc/sys/net/ipv4/ping_group_range")
    found = host.findings()
    assert set(found) - set(usual) == {"ping_group_range"}
    host.carry_out(found["ping_group_range"])
    assert set(host.findings()) == set(usual)
    host.build()
    host.sh("echo 1 0 > /proc/sys/net/ipv4/ping_group_range; sysctl --load=/etc/sysctl.d/zz-builder-*.conf")
    assert set(host.findings()) == set(usual)


def test_a_process_that_gains_no_privileges_has_a_single_mapping(host: Host) -> None:
    usual = host.findings()
    found = host.findings(prefix=["setpriv", "--no-new-privs"])
    assert set(found) - set(usual) == {"single_mapping"}
    assert found["single_mapping"]["evidence"].endswith("; no_new_privs is set")
    # It is said by whoever starts the process.
    assert found["single_mapping"]["commands"] == []


def test_the_setuid_bit_is_the_wrong_kind_in_a_container(host: Host) -> None:
    without = ["setpriv", "--bounding-set", "-sys_admin"]
    usual = host.findings()
    host.sh("for name in $NEWUIDMAP $NEWGIDMAP; do "
            "cp -p $name $BASE; mount --bind $BASE/${name##*/} $name; done")
    assert set(host.findings()) == set(usual)
    found = host.findings(prefix=without)
    assert set(found) - set(usual) == {"single_mapping"}
    assert "CAP_SYS_ADMIN is not to be had" in found["single_mapping"]["evidence"]
    host.carry_out(found["single_mapping"])
    assert set(host.findings(prefix=without)) == set(usual)
    assert not host.attempt(prefix=without).get("failed")


@pytest.mark.parametrize("flags", ["noexec", "nosuid", "nodev", "noexec,nosuid,nodev"])
def test_a_hardened_home_is_no_trouble_for_overlays(host: Host, flags: str) -> None:
    usual = host.findings()
    host.sh(f"mount --bind $HOME $HOME; mount -o remount,bind,{flags} $HOME; "
            f"for place in /tmp /var/tmp; do mount --bind $place $place; mount -o remount,bind,{flags} $place; done; "
            "mount -t proc -o hidepid=2 proc /proc")
    assert set(host.findings()) == set(usual)
    host.build()
    # That ran a program of the host's; this one is the image's own.
    context = host.builder.context("own", {
        "busybox": Path("/bin/busybox").read_bytes(),
        "Containerfile": "FROM scratch\nCOPY --chmod=0755 busybox /busybox\nRUN [\"/busybox\", \"true\"]\nUSER 1234\n"
                         "RUN [\"/busybox\", \"true\"]\n",
    })
    done = subprocess.run(
        host.enter(host.builder.argv(["buildah", "build", str(context)])), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_healthy_user_can_build_and_the_doctor_says_so(host: Host) -> None:
    result = host.ask()
    assert result["ready"] is True, result["findings"]
    host.build()


def test_it_is_quick_writes_nothing_and_check_mode_makes_no_difference(host: Host) -> None:
    def state() -> list[tuple[str, float]]:
        return sorted((str(path), path.lstat().st_mtime) for path in host.builder.home.rglob("*"))

    before = state()

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    begun, before_call = time.monotonic(), used()
    result = host.ask()
    # It waits for nothing but its programs, so this is what it takes where nobody else is at work.
    seconds = used() - before_call
    print(f"\nThe doctor took {seconds:.2f} s of the processor, {time.monotonic() - begun:.2f} s in all.")
    assert seconds < 2
    predicted = host.ask(check=True)
    for one in (result, predicted):
        assert one["changed"] is False
        for name in ("free", "free_inodes"):  # others use the disk, too
            one["facts"]["store"].pop(name)
        one.pop("invocation")
    assert predicted == result
    assert state() == before


# Nobody listens there.
OFF = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0}


def play(host: Host, book: Path, inventory: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook on this host, which is all hosts of an inventory."""
    base = host.words["BASE"]
    hosts = {**inventory, "vars": {"ansible_connection": "local", "ansible_python_interpreter": PYTHON}}
    (Path(base) / "hosts.yml").write_text(json.dumps({"builders": hosts}))
    # Entering a namespace ends in its root directory.
    ansible = ["env", f"--chdir={base}", sys.executable, "-m", "ansible", "playbook"]
    return subprocess.run(
        host.enter([*ansible, "-i", f"{base}/hosts.yml", str(book), *arguments]),
        env={**ENVIRONMENT, "LC_ALL": "C.UTF-8", "ANSIBLE_LOCAL_TEMP": base, "ANSIBLE_REMOTE_TEMP": base},
        capture_output=True, text=True, check=False)


def doctor(host: Host, hosts: dict[str, Any], *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the playbook; return what it did and the lines that it shows."""
    done = play(host, CHECKOUT / "playbooks/doctor.yml", {"hosts": hosts}, *arguments)
    shown = done.stdout.partition("TASK [Show the hosts]")[2]
    assert shown, done.stdout[-3000:] + done.stderr
    return done, json.loads("{" + shown.partition("=> {")[2].partition("\n}")[0] + "}")["msg"]


def changes(done: subprocess.CompletedProcess[str]) -> set[str]:
    return set(re.findall(r"changed=(\d+)", done.stdout))


def test_the_playbook_ends_with_a_table_of_all_hosts(host: Host) -> None:
    hosts = {"asked": {"builder_user": host.builder.name}, "bare": {"builder_user": "rbtd-nobody"}, "off": OFF}
    done, table = doctor(host, hosts)
    assert not list(Path(host.words["BASE"]).glob("*.html"))
    rows = {line.split()[0]: line.split()[1:] for line in table[2:5]}
    warnings = str(len(host.findings()))
    assert rows == {
        "asked": ["yes", "0", warnings], "bare": ["not", "asked", "-", "-"], "off": ["no", "answer", "-", "-"]}
    assert "bare: There is no user rbtd-nobody. Remedy: the role builder makes it." in table
    assert any(line.startswith("off: ") and "port 9: Connection refused" in line for line in table)
    assert done.returncode != 0
    assert "asked is not ready" not in done.stdout
    assert "bare is not ready. There is no user" in done.stdout
    assert re.search(r"off is not ready\. .*Connection refused", done.stdout)

    host.sh("sed -i /^$USER:/d /etc/subuid /etc/subgid")
    done, table = doctor(host, hosts)
    assert table[2].split() == ["asked", "NO", "1", warnings]
    found = host.findings()["subid_missing"]
    text = " ".join(line.strip() for line in table)
    assert f"error subid_missing: {found['evidence']}" in text
    assert f"subid_missing: {found['cause']}. Remedy: {found['remedy']}." in text
    assert f"asked is not ready. subid_missing: {found['evidence']}. {found['remedy']}." in done.stdout
    assert done.returncode != 0
    assert changes(done) == {"0"}


def test_a_fleet_of_which_no_host_answers_is_told_of_too(host: Host) -> None:
    done, table = doctor(host, {"one": OFF, "two": OFF}, "-e", "doctor_json=report.json")
    assert [line.split()[:3] for line in table[2:4]] == [["one", "no", "answer"], ["two", "no", "answer"]]
    assert done.returncode != 0
    report = json.loads(Path(host.words["BASE"], "report.json").read_text())
    assert report["summary"] == {"hosts": 2, "ready": 0, "not_ready": 0, "not_asked": 0, "no_answer": 2}


def test_the_report_is_written_where_it_is_wanted(host: Host) -> None:
    base = Path(host.words["BASE"])
    page, data = base / "page.html", base / "data.json"
    hosts = {"asked": {"builder_user": host.builder.name}, "bare": {"builder_user": "rbtd-nobody"}}
    # Not absolute: it is the directory in which ansible-playbook was called.
    wanted = ["-e", "doctor_html=page.html", "-e", f"doctor_json={data}", "-e", "doctor_note='build 7'"]
    checked, _table = doctor(host, hosts, *wanted, "--check", "--diff")
    assert not page.exists() and not data.exists()
    assert changes(checked) == {"0", "2"}
    assert "+<!DOCTYPE html>" in checked.stdout
    first, _table = doctor(host, hosts, *wanted)
    assert changes(first) == {"0", "2"}
    assert page.read_text().startswith("<!DOCTYPE html>\n")
    assert "build 7" in page.read_text()
    report = json.loads(data.read_text())
    assert report["note"] == "build 7"
    assert [one["name"] for one in report["hosts"]] == ["asked", "bare"]
    kept = {name: report["hosts"][0]["findings"][0][name] for name in ("id", "evidence", "cause", "remedy", "guide")}
    known = host.findings()[kept["id"]]
    assert kept == {name: known[name] for name in kept}
    second, _table = doctor(host, hosts, *wanted)
    assert changes(second) == {"0"}


def test_nothing_that_a_host_says_is_carried_out(host: Host) -> None:
    """A host's words come to the controller, to a page and to a terminal, and are words there."""
    place = f"{host.builder.home}/trap/{{{{ 6 * 7 }}}}<b>x<script>"
    host.sh(f"mkdir -p '{place}'; chmod 0755 $HOME/trap")
    host.builder.write(
        ".config/containers/storage.conf", f"[storage]\ndriver = \"overlay\"\ngraphroot = \"{place}\"\n")
    evidence = host.findings()["store_not_writable"]["evidence"]
    assert place in evidence
    done, table = doctor(host, {"asked": {"builder_user": host.builder.name}},
                         "-e", "doctor_html=page.html", "-e", "doctor_json=data.json")
    assert evidence in " ".join(line.strip() for line in table)
    assert f"asked is not ready. store_not_writable: {evidence}." in done.stdout
    base = Path(host.words["BASE"])
    (asked,) = json.loads((base / "data.json").read_text())["hosts"]
    assert evidence in [one["evidence"] for one in asked["findings"]]
    page = (base / "page.html").read_text()
    assert html.escape(evidence) in page
    assert "<script" not in page


def test_the_examples_of_the_documentation_work(host: Host) -> None:
    source = (CHECKOUT / "plugins/modules/rootless_info.py").read_text()
    examples = source.split('EXAMPLES = r"""')[1].split('"""')[0]
    assert "become_user: builder\n" in examples
    tasks = yaml.safe_load(examples.replace("become_user: builder\n", f"become_user: {host.builder.name}\n"))
    book = Path(host.words["BASE"]) / "examples.yml"
    book.write_text(yaml.safe_dump([{"hosts": "builders", "gather_facts": False, "tasks": tasks}]))
    done = play(host, book, {"hosts": {"one": {}}})
    assert "ok=3 " in done.stdout and "changed=0 " in done.stdout, done.stdout + done.stderr
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

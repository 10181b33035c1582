# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that has never seen the project: a fresh Debian in namespaces of its own, with or without systemd.

Mounts, processes, host name, IPC, cgroups and network are its own; the kernel and its settings are this machine's. It
reaches the same package mirrors as this machine, with the same certificates, through slirp4netns. Needs root.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT, files

# What the README asks for, and what a minimal installation from Debian's installer has.
ASKED_FOR = ("git", "make", "python3")
INSTALLED = ("ca-certificates", "dbus", "iproute2", "libpam-systemd", "procps", "sudo", "systemd-sysv")
# Where a site's own mirrors and certificates are set up; a user's machine would have the same.
OF_THE_SITE = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt", "/usr/local/share/ca-certificates")
NAME = "newcomer"
VARIABLES = re.compile(r"^(PIP_|UV_|SSL_CERT_|REQUESTS_CA_BUNDLE$|(https?|no)_proxy$)", re.IGNORECASE)

BOOT = r"""
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mkdir -p proc sys dev run tmp old
mount -t proc proc proc
mount --rbind /sys sys
umount -l sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net
# As udev makes them on a host, open to every user; where that is forbidden, those of this machine.
while read -r device major minor; do
    mknod -m 0666 "dev/$device" c "$major" "$minor" || {
        touch "dev/$device"
        mount --bind "/dev/$device" "dev/$device"
    }
done <<LIST
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
fuse 10 229
net/tun 10 200
LIST
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777 tmpfs dev/shm
hostname "$2"
pivot_root . old
shift 2
exec chroot . sh -c 'umount -l /old && rmdir /old && exec "$@"' boot env -i container=rootless-buildah-test \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""
# Without systemd process 1 only takes in orphans.
REAPER = 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'


def mirror() -> Optional[str]:
    """Return the Debian mirror that this machine uses; none when it is not Debian."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(place.read_text(encoding="utf-8", errors="replace") for place in places if place.is_file())
    found = re.search(r"^(?:URIs:|deb(?: \[[^\]]*\])?) +(\S+/debian/?)(?: |$)", text, re.MULTILINE)
    return found.group(1) if found else None


def make_base(suite: str, archive: Path) -> Path:
    """Make the tar archive that machines of a Debian release begin with."""
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"]
    argv += [f"--include={','.join([*ASKED_FOR, *INSTALLED])}", suite, str(archive), *filter(None, [mirror()])]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return archive


class Machine:
    """One such machine. Use it as a context manager; afterwards nothing of it is left.

    :param base: an archive from make_base().
    :param systemd: whether systemd is process 1, as on a host, or nothing is, as in most containers.
    """

    def __init__(self, base: Path, systemd: bool) -> None:
        self.base = base
        self.systemd = systemd
        self.place = Path(tempfile.mkdtemp(prefix="rootless-buildah-machine-", dir="/var/tmp"))
        self.root = self.place / "root"
        self.environment = {name: value for name, value in os.environ.items() if VARIABLES.search(name)}
        self.init = 0
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Machine:
        try:
            self._install()
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_problem: object) -> None:
        if self.init:
            # Process 1 of a namespace takes all others with it.
            try:
                os.kill(self.init, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self.processes:
            process.kill()
            process.wait()
        # Files of builder users belong to ids of this machine's root namespace: root removes them as they are.
        for _attempt in range(50):
            shutil.rmtree(self.place, ignore_errors=True)
            if not self.place.exists():
                return
            time.sleep(0.2)
        raise AssertionError(f"{self.place} cannot be removed")

    def _install(self) -> None:
        self.place.chmod(0o755)
        self.root.mkdir(mode=0o755)
        subprocess.run(["tar", "-x", "--xattrs", "--xattrs-include=*", "-C", self.root, "-f", self.base], check=True)
        for name in OF_THE_SITE:
            source_path, target = Path(name), self.root / name.lstrip("/")
            if source_path.is_dir():
                shutil.copytree(source_path, target, dirs_exist_ok=True)
            elif source_path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source_path, target)
        (self.root / "etc/resolv.conf").unlink(missing_ok=True)
        (self.root / "etc/resolv.conf").write_text("nameserver 10.0.2.3\n", encoding="ascii")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost {NAME}\n", encoding="ascii")

    def _boot(self) -> None:
        init = (
            ["/sbin/init", "--log-target=console", "--show-status=0"] if self.systemd else ["/bin/bash", "-c", REAPER]
        )
        with open(self.place / "boot.log", "wb") as log:
            argv = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net", "--fork", "--kill-child"]
            unshare = subprocess.Popen(
                [*argv, "sh", "-c", BOOT, "boot", str(self.root), NAME, *init],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            self.processes.append(unshare)
            self._until(lambda: self._child(unshare.pid) != 0, "its process 1 does not start")
            self.init = self._child(unshare.pid)
            self._until(lambda: os.readlink(f"/proc/{self.init}/exe").endswith(("systemd", "bash")), "it does not boot")
            read, write = os.pipe()
            network = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", f"--ready-fd={write}"]
            self.processes.append(
                subprocess.Popen([*network, str(self.init), "tap0"], pass_fds=[write], stdout=log, stderr=log)
            )
            os.close(write)
            with os.fdopen(read) as ready:
                assert ready.read(1) == "1", f"no network: {(self.place / 'boot.log').read_text(errors='replace')}"
        if self.systemd:
            running = ("running", "degraded")
            self._until(
                lambda: self.run(["systemctl", "is-system-running"], check=False).strip() in running,
                "systemd does not start",
            )

    def _child(self, pid: int) -> int:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        except FileNotFoundError:
            raise AssertionError(f"the machine died: {(self.place / 'boot.log').read_text(errors='replace')}") from None
        return int(children[0]) if children else 0

    def _until(self, holds: object, otherwise: str, seconds: float = 60) -> None:
        assert callable(holds)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.1)
        raise AssertionError(f"{otherwise}: {(self.place / 'boot.log').read_text(errors='replace')[-3000:]}")

    def run(
        self,
        argv: Sequence[str],
        user: str = "root",
        cwd: str = "/",
        check: bool = True,
        minutes: float = 20,
        stdin: str = "",
    ) -> str:
        """Run a command as a user who has just logged in; return its combined output."""
        environment: Mapping[str, str] = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root" if user == "root" else f"/home/{user}",
            "USER": user,
            "LANG": "C.UTF-8",
            **self.environment,
        }
        pairs = [f"{name}={value}" for name, value in environment.items()]
        become = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net", "--root", "--wd"]
        done = subprocess.run(
            [
                "nsenter",
                f"--target={self.init}",
                *namespaces,
                "env",
                "-i",
                *pairs,
                *become,
                "env",
                f"--chdir={cwd}",
                *argv,
            ],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=minutes * 60,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-12000:]}"
        )
        return done.stdout


def give_checkout(machine: Machine, folder: str, owner: str) -> None:
    """Lay the checkout's files, tracked and new ones, on the machine, as git would."""
    target = machine.root / folder.lstrip("/")
    target.mkdir(parents=True)
    archive = machine.place / "checkout.tar"
    with tarfile.open(archive, "w") as tar:
        for name in files():
            tar.add(ROOT / name, name)
    subprocess.run(["tar", "-x", "-C", str(target), "-f", str(archive)], check=True)
    archive.unlink()
    machine.run(["chown", "-R", f"{owner}:", folder])
    machine.run(["git", "init", "-q", folder], user=owner)

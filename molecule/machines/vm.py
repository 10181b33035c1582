#!/usr/bin/env python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of the scenarios: QEMU guests that live as long as they are wanted and leave nothing behind.

A machine's disk is written to a file without a name, and a keeper ends it when its owner is gone: a run that crashes
leaves neither a process nor an image. Each machine has two networks: QEMU's own, through which it reaches the outside
and is reached by ssh on the loopback address, and one that the machines of a scenario share.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Iterator, Mapping, NoReturn, Optional, Sequence

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "machines"
# Several checkouts may share them.
IMAGES = Path(os.environ.get("MACHINES_IMAGES") or CACHE / "images")
RUNNING, CONSOLES = CACHE / "running", CACHE / "consoles"
SSH_CONFIG = CACHE / "ssh_config"
TRIAL = "the trial guest runs"
PR_SET_PDEATHSIG = 1  # prctl(2)
# -cx16: QEMU 7.2 emulates it in a way that makes kernels panic at random. A small translation buffer is flushed all
# the time: 1 GiB makes a boot three times as fast.
EMULATION = ("-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max,-cx16")
KVM = ("-accel", "kvm", "-cpu", "host")
# Kernels watch their own memory at a cost that an emulated one feels: a sixth of a busy node (DAMON, huge pages).
CHEAP = "mitigations=off transparent_hugepage=never damon_stat.enabled=N"
# What its keeper is sent for a machine that hangs.
START_AGAIN = signal.SIGUSR1
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
CLOUD_DISK = 20 << 30  # bytes; published images have 2 to 10 GiB, most of which they fill
# The networks inside a machine, told apart by the last byte of the address of the card.
NETWORKS = {
    "10-outside": "[Match]\nMACAddress={mac}:01\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseDNS=no\n",
    "20-scenario": "[Match]\nMACAddress={mac}:02\n[Network]\nAddress={address}/24\nLinkLocalAddressing=no\n",
}


class Problem(Exception):
    """What keeps a machine from running, in words for its user."""


@dataclass(frozen=True)
class Image:
    """What a machine boots from.

    :param disk: of any format that QEMU reads, never written; its name does not tell: Ubuntu's ``.img`` are qcow2.
    :param kernel: with ``initrd``: the machine is started without a boot loader and told who it is by a second
        archive behind the initrd. Without: by a NoCloud seed, as cloud images want it.
    """

    disk: Path
    kernel: Optional[Path] = None
    initrd: Optional[Path] = None


@dataclass(frozen=True)
class Machine:
    """One machine.

    :param name: its host name, and its name everywhere else.
    :param address: on the network of the scenario.
    :param scenario: whose network it joins.
    :param memory: in MiB.
    :param forwards: ports of it that are reached at an address of their own on this machine, as
        ``ADDRESS:PORT:PORT_INSIDE``.
    :param tree: a directory whose content it has before its system starts for the first time.
    :param kernel_arguments: more of them than every machine has.
    """

    name: str
    address: str
    scenario: str
    memory: int = 2048
    cpus: int = 2
    forwards: tuple[str, ...] = ()
    tree: Optional[Path] = None
    kernel_arguments: tuple[str, ...] = ()

    @property
    def reached_at(self) -> list[str]:
        """The addresses of its forwarded ports."""
        return sorted({forward.split(":")[0] for forward in self.forwards})

    @property
    def place(self) -> Path:
        """Where its state is kept."""
        return RUNNING / self.name

    @property
    def mac(self) -> str:
        """All but the last byte of its cards' addresses; locally administered."""
        return "52:54:" + ":".join(hashlib.sha256(self.name.encode()).hexdigest()[at:at + 2] for at in (0, 2, 4))


def group(scenario: str, checkout: Path = HERE) -> str:
    """Return the multicast group that is a scenario's network, another one for each checkout."""
    number = int(hashlib.sha256(f"{checkout}/{scenario}".encode()).hexdigest()[:4], 16)
    return f"230.0.0.1:{20000 + number % 20000}"


def qemu(machine: Machine, image: Image, accelerator: Sequence[str], port: int, disk: int) -> list[str]:
    """Return the call that runs a machine.

    :param port: on the loopback address, forwarded to the machine's port 22.
    :param disk: the descriptor of what ``disk_over`` opened, which the call inherits.
    """
    forwards = [f"127.0.0.1:{port}-:22", *("{}:{}-:{}".format(*forward.split(":")) for forward in machine.forwards)]
    argv = [
        "qemu-system-x86_64", *accelerator, "-name", machine.name, "-m", str(machine.memory), "-smp", str(machine.cpus),
        "-nodefaults", "-display", "none", "-serial", f"file:{CONSOLES / machine.name}.log",
        "-drive", f"file=/dev/fd/{disk},format=qcow2,if=virtio,cache=unsafe",
        "-netdev", ",".join(["user,id=outside", *(f"hostfwd=tcp:{forward}" for forward in forwards)]),
        "-device", f"virtio-net-pci,netdev=outside,mac={machine.mac}:01",
        "-netdev", f"socket,id=scenario,mcast={group(machine.scenario)},localaddr=127.0.0.1",
        "-device", f"virtio-net-pci,netdev=scenario,mac={machine.mac}:02",
        "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
    ]  # fmt: skip
    if image.kernel:
        words = f"root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet random.trust_cpu=on {CHEAP}"
        words = " ".join([words, *machine.kernel_arguments])
        initrd = machine.place / "initrd"
        return [*argv, "-kernel", str(image.kernel), "-initrd", str(initrd), "-append", words]
    seed = f"driver=vvfat,dir={machine.place / 'seed'},label=CIDATA,if=virtio,read-only=on"
    return [*argv, "-drive", seed]


def hosts(names: Mapping[str, str]) -> str:
    """Return /etc/hosts.

    :param names: address by name.
    """
    lines = ["127.0.0.1 localhost", "::1 localhost", *(f"{address} {name}" for name, address in names.items())]
    return "".join(f"{line}\n" for line in lines)


def identity(machine: Machine, names: Mapping[str, str], authorized_key: str) -> dict[str, str]:
    """Return the files that make a machine this machine, by path."""
    return {
        "etc/hostname": f"{machine.name}\n",
        "etc/hosts": hosts(names),
        "root/.ssh/authorized_keys": authorized_key,
        **{
            f"etc/systemd/network/{name}.network": text.format(mac=machine.mac, address=machine.address)
            for name, text in NETWORKS.items()
        },
    }


def seed(machine: Machine, names: Mapping[str, str], authorized_key: str) -> dict[str, str]:
    """Return the files of a NoCloud seed (cloud-init's documentation, datasource NoCloud)."""
    table = "".join(f"      {line}\n" for line in hosts(names).splitlines())
    return {
        "meta-data": f"instance-id: {machine.name}\nlocal-hostname: {machine.name}\n",
        "user-data": (
            "#cloud-config\n"
            "disable_root: false\n"
            "manage_etc_hosts: false\n"
            f"users:\n  - name: root\n    ssh_authorized_keys: ['{authorized_key.strip()}']\n"
            f"write_files:\n  - path: /etc/hosts\n    content: |\n{table}"
        ),
        "network-config": (
            "version: 2\nethernets:\n"
            f"  outside: {{match: {{macaddress: '{machine.mac}:01'}}, dhcp4: true}}\n"
            f"  scenario: {{match: {{macaddress: '{machine.mac}:02'}}, addresses: [{machine.address}/24]}}\n"
        ),
    }


def archive(files: Mapping[str, str], tree: Optional[Path] = None) -> bytes:
    """Return a cpio archive of files below /identity, in the form that the kernel unpacks (its initramfs document).

    :param tree: a directory; what is below it is in the archive, too, with its modes.
    """
    # sshd refuses keys that others may read.
    found = {
        path: (0o100600 if "/ssh_host_" in path or ".ssh/" in path else 0o100644, text.encode())
        for path, text in files.items()
    }
    directories = {"identity"}
    for entry in sorted(tree.rglob("*")) if tree else ():
        assert tree is not None
        inside = str(entry.relative_to(tree))
        if entry.is_symlink():
            found[inside] = entry.lstat().st_mode, os.fsencode(os.readlink(entry))
        elif entry.is_dir():
            directories.add(f"identity/{inside}")
        else:
            found[inside] = entry.stat().st_mode, entry.read_bytes()
    directories |= {str(parent) for path in found for parent in Path("identity", path).parents} - {"."}
    entries = [(path, 0o40700 if path.endswith("/.ssh") else 0o40755, b"") for path in sorted(directories)]
    entries += [(f"identity/{path}", mode, data) for path, (mode, data) in found.items()]
    made = []
    for number, (path, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        made += [_padded(b"070701" + b"".join(b"%08X" % field for field in fields) + name), _padded(data)]
    return b"".join(made)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


# Below this line: what is done with it.


def image(wanted: str, things: Sequence[str] = ()) -> Image:
    """Return an image.

    :param wanted: ``debian-12`` and the like, made from packages; or the path or the URL of a cloud image.
    :param things: that it has from the beginning, as the recipe ``image`` takes them; not for a cloud image.
    """
    if wanted.startswith("debian-"):
        argv = [str(HERE / "image"), wanted[7:], str(IMAGES), *things]
        made = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
        if made.returncode != 0:
            raise Problem(f"The image {wanted} could not be made; the lines above say why.")
        place = Path(made.stdout.strip())
        return Image(place / "disk.raw", place / "vmlinuz", place / "initrd")
    if things:
        raise Problem(f"Nothing can be put into {wanted}, which is no image of ours: {', '.join(things)}.")
    path = downloaded(wanted) if "://" in wanted else Path(wanted).expanduser().resolve()
    if not path.is_file():
        raise Problem(f"There is no image {path}.")
    return Image(path)


def disk_over(image: Path, place: Path) -> int:
    """Return a disk, open and without a name, that begins as an image and has room for builds.

    It outlives QEMU, so that a machine that is started again finds what it has written. The system of a cloud image
    grows into the room.

    :param place: where the disk is made.
    """
    try:
        argv = ["qemu-img", "info", "--output=json", str(image)]
        shown = subprocess.run(argv, capture_output=True, text=True, check=True)
        known = json.loads(shown.stdout)
        size = max(known["virtual-size"], CLOUD_DISK)
        over = place / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", known["format"], "-b", str(image), str(over),
                        str(size)], capture_output=True, text=True, check=True)  # fmt: skip
    except FileNotFoundError:
        raise Problem("There is no qemu-img. Remedy: install qemu-utils (Debian) or qemu-img (RHEL).") from None
    except subprocess.CalledProcessError as problem:
        raise Problem(f"{image} is no disk that QEMU can use: {problem.stderr.strip()}") from None
    disk = os.open(over, os.O_RDWR)
    over.unlink()
    return disk


def downloaded(url: str) -> Path:
    """Return the image of an address, which is fetched once."""
    path = IMAGES / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{url.rsplit('/', 1)[-1]}"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Machines of a scenario start side by side. What a run that was killed left is written over.
    with path.with_name(path.name + ".part").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not path.exists():
            print(f"Fetching {url}", file=sys.stderr)
            file.truncate(0)
            try:
                _fetch(url, file)
            except (OSError, http.client.HTTPException) as problem:
                file.truncate(0)
                raise Problem(f"{url} cannot be fetched: {problem}. Remedy: check the address and the connection and "
                              "start again, or fetch it yourself and name the file.") from None
            Path(file.name).rename(path)
    return path


def _fetch(url: str, file: BinaryIO) -> None:
    """Write what is behind an address to a file that is empty."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        shutil.copyfileobj(answer, file)
        length = answer.headers.get("Content-Length")
    file.flush()
    came = os.fstat(file.fileno()).st_size
    # A connection that breaks off looks like an end: reading by pieces raises nothing.
    if length is not None and came != int(length):
        raise OSError(f"the connection broke off, {came} of {length} bytes came")


def accelerator(kernel: Optional[Path], initrd: Optional[Path]) -> Sequence[str]:
    """Return what runs a guest here: KVM where a guest really runs with it, otherwise emulation.

    A device that opens proves nothing: there are machines whose KVM makes guests and lets every one of them die.

    :param kernel: of the trial guest, with ``initrd``; without, this machine's own kernel where its file is there (in a
        container it is not), and otherwise that of a Debian.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return EMULATION
    verdict = RUNNING / "kvm"
    RUNNING.mkdir(parents=True, exist_ok=True)
    with (RUNNING / "kvm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        if not verdict.exists() or not verdict.read_text(encoding="ascii").startswith(boot):
            own = Path("/boot/vmlinuz-" + os.uname().release)
            if kernel is None and os.access(own, os.R_OK):
                kernel = own
            elif kernel is None:
                trial = image("debian-13")
                kernel, initrd = trial.kernel, trial.initrd
            assert kernel is not None
            verdict.write_text(boot + ("works" if _kvm_works(kernel, initrd) else "fails"), encoding="ascii")
        works = verdict.read_text(encoding="ascii").endswith("works")
    if not works:
        print("KVM is there, but no guest runs with it: emulating.", file=sys.stderr)
    return KVM if works else EMULATION


def _kvm_works(kernel: Path, initrd: Optional[Path]) -> bool:
    argv = [
        "qemu-system-x86_64", *KVM, "-m", "256", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
        "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1 trial",
    ]  # fmt: skip
    argv += ["-initrd", str(initrd)] if initrd else []
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return False
    # Without an initrd the kernel gets as far as missing its root.
    return (TRIAL if initrd else "Unable to mount root").encode() in done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(machine: Machine, wanted: str, names: Mapping[str, str], things: Sequence[str] = ()) -> None:
    """Start a machine that does not run yet; it goes on when this returns."""
    if alive(machine.place):
        print(f"{machine.name} runs already.")
        return
    if shutil.which("qemu-system-x86_64") is None:
        raise Problem("There is no qemu-system-x86_64. Remedy: install qemu-system-x86 (Debian) or qemu-kvm (RHEL).")
    booted = image(wanted, things)
    if machine.tree and not booted.kernel:
        raise Problem(f"Nothing can be put into {wanted}, which is no image of ours: {machine.tree}.")
    if machine.kernel_arguments and not booted.kernel:
        raise Problem(f"{wanted} has its own boot loader, which takes no kernel arguments from here.")
    shutil.rmtree(machine.place, ignore_errors=True)
    for place in (machine.place, CONSOLES):
        place.mkdir(parents=True, exist_ok=True)
    (CONSOLES / f"{machine.name}.log").unlink(missing_ok=True)
    key = access_key()
    try:
        disk = disk_over(booted.disk, machine.place)
    except Problem:
        shutil.rmtree(machine.place)
        raise
    files = (identity if booted.kernel else seed)(machine, names, key.with_suffix(".pub").read_text(encoding="ascii"))
    if booted.kernel:
        assert booted.initrd is not None
        host_key = machine.place / "host-key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)], check=True)
        files["etc/ssh/ssh_host_ed25519_key"] = host_key.read_text(encoding="ascii")
        (machine.place / "initrd").write_bytes(booted.initrd.read_bytes() + archive(files, machine.tree))
    else:
        (machine.place / "seed").mkdir()
        for name, text in files.items():
            (machine.place / "seed" / name).write_text(text, encoding="utf-8")
    port = free_port()
    _write_ssh_config(machine, port, key)
    argv = qemu(machine, booted, accelerator(booted.kernel, booted.initrd), port, disk)
    owner = int(os.environ.get("MACHINES_OWNER") or 0)
    if os.fork() == 0:
        _keep(machine, argv, disk, owner)
    for _each in range(100):
        if alive(machine.place):
            return
        time.sleep(0.1)
    raise Problem(f"{machine.name} does not start. {said(machine.place / 'words')}")


def access_key() -> Path:
    """Return the key that opens all machines, made on first use, by the first of those that start side by side."""
    key = CACHE / "key"
    with (CACHE / "key.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not key.exists():
            made = CACHE / "key-new"
            for half in (made, made.with_suffix(".pub")):
                half.unlink(missing_ok=True)
            call = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "machines", "-f", str(made)]
            subprocess.run(call, check=True)
            made.with_suffix(".pub").rename(key.with_suffix(".pub"))
            made.rename(key)
    return key


def _write_ssh_config(machine: Machine, port: int, key: Path) -> None:
    """Let ssh and Ansible find a machine by its name."""
    (machine.place / "ssh_config").write_text(
        f"Host {machine.name}\n"
        f"  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
        # The key is made anew with each machine, and nobody else can listen there.
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        "  ControlMaster auto\n  ControlPersist 300\n  ControlPath /tmp/rbvm-%C\n"
        "  ServerAliveInterval 15\n  ServerAliveCountMax 8\n",
        encoding="ascii",
    )
    SSH_CONFIG.write_text(f"Include {RUNNING}/*/ssh_config\n", encoding="ascii")


def detach(log: Path) -> None:
    """Make this process go on without who started it; what it says goes to a file."""
    os.setsid()
    with open(os.devnull, "r+b") as null, log.open("wb") as words:
        for number, file in enumerate((null, words, words)):
            os.dup2(file.fileno(), number)


@contextlib.contextmanager
def answering(addresses: Sequence[str]) -> Iterator[None]:
    """Let this machine answer at addresses that it does not have; several processes may want the same.

    A route is enough for that. With an address the connections of this machine would come from that address, and a
    guest whose own address it is would drop them; from 127.0.0.1 QEMU makes the guest's gateway.
    """
    with contextlib.ExitStack() as ends:
        for address in addresses:
            # What several use is taken away by the last one. No lock is left by a process that was killed.
            lock = ends.enter_context(open(f"/run/lock/rootless-buildah-{address}", "wb"))
            fcntl.flock(lock, fcntl.LOCK_SH)
            route = ["local", f"{address}/32", "dev", "lo"]
            call = ["ip", "route", "replace", *route, "src", "127.0.0.1"]
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Problem(f"This machine cannot answer at {address}: {done.stderr.strip()}. Remedy: be root.")
            ends.callback(_answer_no_more, route, lock)
        yield


def _answer_no_more(route: Sequence[str], lock: BinaryIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    subprocess.run(["ip", "route", "del", *route], check=False)


def _keep(machine: Machine, argv: Sequence[str], disk: int, owner: int) -> NoReturn:
    """Run a machine until it ends, it is told to, or its owner is gone; then remove what is left of it."""
    detach(machine.place / "words")
    again, over, failed = True, False, True
    process: Optional[subprocess.Popen[bytes]] = None

    def end(number: int, _frame: object) -> None:
        nonlocal again, over
        again = number == START_AGAIN
        over = not again
        if process:
            process.kill()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, START_AGAIN):
        signal.signal(number, end)
    watched = []
    if owner:
        try:
            watched.append(os.pidfd_open(owner))
        except ProcessLookupError:
            again = False
    try:
        with answering(machine.reached_at):
            (machine.place / "pid").write_text(str(os.getpid()), encoding="ascii")
            while again:
                again = False
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, pass_fds=[disk], preexec_fn=die_with_parent)
                if over:  # the signal came before there was anything to end
                    process.kill()
                select.select([os.pidfd_open(process.pid), *watched], [], [])
                process.kill()
                process.wait()
        failed = process is not None and process.returncode not in (-signal.SIGKILL, 0)
    except Problem as problem:
        print(problem, flush=True)
    if failed:
        (machine.place / "pid").unlink(missing_ok=True)  # and leave its words to who started it
    else:
        shutil.rmtree(machine.place, ignore_errors=True)
    os._exit(0)


def die_with_parent() -> None:
    """End a new process when the one that makes it ends, however that happens."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def alive(place: Path) -> bool:
    """Say whether a machine runs."""
    try:
        keeper = int((place / "pid").read_text(encoding="ascii"))
        return b"vm.py" in Path(f"/proc/{keeper}/cmdline").read_bytes() and (place / "ssh_config").exists()
    except (OSError, ValueError):
        return False


def stop(place: Path) -> None:
    """End a machine; it need not run."""
    if alive(place):
        keeper = int((place / "pid").read_text(encoding="ascii"))
        os.kill(keeper, signal.SIGTERM)
        for _each in range(100):
            if not Path(f"/proc/{keeper}").exists() or not place.exists():
                break
            time.sleep(0.1)
    shutil.rmtree(place, ignore_errors=True)


def ssh(name: str, *words: str, options: Sequence[str] = (), seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command on a machine; the status is 255, as ssh's, where it has no answer in time."""
    argv = ["ssh", "-F", str(SSH_CONFIG), *options, name, *words]
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=seconds)  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 255, "", f"no answer in {seconds:g} seconds")


def wait(name: str, seconds: float, other_than: str = "") -> None:
    """Return when a machine has started its system.

    :param seconds: that it may take. One that has let nobody in when half of them are over is started again, once.
    :param other_than: the boot id (random(4)) of a system that is about to end.
    """
    ends = time.monotonic() + seconds
    # One in a hundred emulated guests hangs in its first seconds, with its processors idle.
    hangs: Optional[float] = time.monotonic() + seconds / 2
    # A connection that is kept for others would outlive the system at its other end.
    options = ["-S", "none", "-o", f"ConnectTimeout={max(1, min(20, int(seconds / 8)))}"]
    while time.monotonic() < ends and alive(RUNNING / name):
        answer = ssh(name, f"{BOOT_ID}; systemctl is-system-running --wait", options=options,
                     seconds=max(ends - time.monotonic(), 1))  # fmt: skip
        boot, _end, state = answer.stdout.strip().partition("\n")
        # `degraded` is a system that has started, too.
        if boot != other_than and state in ("running", "degraded"):
            return
        if hangs is not None and time.monotonic() > hangs:
            hangs = None
            print(f"{name} has not started its system in {seconds / 2:g} seconds: starting it again.", file=sys.stderr)
            os.kill(int((RUNNING / name / "pid").read_text(encoding="ascii")), START_AGAIN)
        time.sleep(1)
    console = said(CONSOLES / f"{name}.log")
    state = f"did not start its system in {seconds:g} seconds" if alive(RUNNING / name) else "ended"
    lines = [f"{name} {state}. {said(RUNNING / name / 'words')}".rstrip()]
    lines += ["Its console:", *console.splitlines()[-20:], console_hint(console)] if console else []
    raise Problem("\n".join(lines).rstrip("\n"))


def said(log: Path) -> str:
    """Return what was written to a log; nothing where there is none."""
    return log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""


def reboot(name: str, seconds: float) -> None:
    """Start the system of a machine anew, and return when that is done.

    :param seconds: that it may take; as with ``wait``, which Ansible's own ``reboot`` cannot do for a guest that hangs.
    """
    require_running(name)
    asked = ssh(name, BOOT_ID)
    if asked.returncode != 0:
        raise Problem(f"{name} cannot be asked which system it runs: {asked.stderr.strip()}")
    told = ssh(name, "systemctl reboot")
    if told.returncode not in (0, 255):  # 255: the connection ended first
        raise Problem(f"{name} does not reboot: {told.stderr.strip()}")
    ssh(name, options=["-O", "exit"])
    wait(name, seconds, other_than=asked.stdout.strip())


def console_hint(console: str) -> str:
    """Return why a machine's system did not start, where its console tells that; empty where it does not."""
    # glibc's words; rtld checks the processor before the first program runs.
    if "CPU does not support x86-64-v" not in console:
        return ""
    return ("Its system is built for processors that an emulated machine does not have: QEMU 7.2 emulates CMPXCHG16B "
            "wrongly. Remedy: use a machine with KVM, or an image of an older system.")


def require_key(name: str) -> None:
    """Stop where the key of the machines belongs to somebody else; one that is not there is ssh's to tell."""
    key = CACHE / "key"
    try:
        key.open("rb").close()
    except PermissionError:
        raise Problem(f"{key}, which opens {name}, cannot be read by this user: the machines were started by root. "
                      f"Remedy: sudo make vm-shell HOST={name}") from None
    except FileNotFoundError:
        pass


def running() -> list[str]:
    """Return the names of the machines that run."""
    return sorted(place.name for place in RUNNING.glob("*/") if alive(place))


def require_running(name: str) -> None:
    if name not in running():
        raise Problem(f"{name} does not run; {', '.join(running()) or 'none'} does.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    starting = verbs.add_parser("start", help="start a machine")
    starting.add_argument("name")
    starting.add_argument("--scenario", required=True)
    starting.add_argument("--image", required=True)
    starting.add_argument("--memory", type=int, default=2048, help="MiB")
    starting.add_argument("--cpus", type=int, default=2)
    starting.add_argument("--with", action="append", default=[], dest="things", metavar="THING",
                          help="a package, or SOURCE=PATH for a program, that an image made from packages has")
    starting.add_argument("--tree", type=Path, help="a directory whose content it has from the beginning; its own")
    starting.add_argument("--forward", action="append", default=[], metavar="ADDRESS:PORT:PORT_INSIDE",
                          help="let this machine answer there for a port of the machine")  # fmt: skip
    starting.add_argument("--kernel-argument", action="append", default=[], metavar="ARGUMENT",
                          help="one more than every machine has, such as security=selinux")  # fmt: skip
    starting.add_argument("--host", action="append", default=[], help="NAME=ADDRESS, for every machine of the scenario")
    for verb, words in {"wait": "wait until a machine has started its system",
                        "reboot": "start its system anew, and wait for it"}.items():
        waiting = verbs.add_parser(verb, help=words)
        waiting.add_argument("name")
        waiting.add_argument("--seconds", type=float, default=900)
    for verb, words in {"stop": "end a machine", "shell": "log in to a machine, or run a command there"}.items():
        verbs.add_parser(verb, help=words).add_argument("name")
    verbs.choices["shell"].add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("list", help="list the machines that run")
    chosen = parser.parse_args()
    try:
        if chosen.verb == "start":
            names = dict(entry.split("=", 1) for entry in chosen.host)
            if chosen.name not in names:
                raise Problem(f"None of --host gives the address of {chosen.name}.")
            machine = Machine(chosen.name, names[chosen.name], chosen.scenario, chosen.memory, chosen.cpus,
                              tuple(chosen.forward), chosen.tree, tuple(chosen.kernel_argument))  # fmt: skip
            start(machine, chosen.image, names, chosen.things)
        elif chosen.verb == "stop":
            stop(RUNNING / chosen.name)
        elif chosen.verb == "wait":
            wait(chosen.name, chosen.seconds)
        elif chosen.verb == "reboot":
            reboot(chosen.name, chosen.seconds)
        elif chosen.verb == "list":
            print("\n".join(running()))
        else:
            require_running(chosen.name)
            require_key(chosen.name)
            os.execvp("ssh", ["ssh", "-F", str(SSH_CONFIG), chosen.name, *chosen.command])
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

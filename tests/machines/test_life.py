# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual machines of tests leave nothing behind, however a run ends. Needs root, as making their disks does."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.machines import vm
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT
from ansible_collections.rootless.buildah.tests.tools.waiting import until

NAME = "life-one"
PLACE = vm.RUNNING / NAME
TOOL = str(ROOT / "molecule/machines/vm.py")


def call(*arguments: str, owner: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MACHINES_OWNER": str(owner or "")}
    return subprocess.run([TOOL, *arguments], env=environment, capture_output=True, text=True, check=False)


def start(owner: int = 0, image: str = "debian-13", *more: str) -> subprocess.CompletedProcess[str]:
    host = f"{NAME}=10.76.8.1"
    return call("start", NAME, "--scenario", "life", "--image", image, "--host", host, *more, owner=owner)


def guests() -> list[int]:
    """Return the QEMU processes that run the machine."""
    words = f"\0-name\0{NAME}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture(autouse=True)
def _nothing_runs() -> Iterator[None]:
    vm.stop(PLACE)
    assert not guests()
    yield
    vm.stop(PLACE)


def test_it_goes_on_without_who_started_it_and_ends_when_told() -> None:
    assert start().returncode == 0
    assert len(guests()) == 1
    assert NAME in call("list").stdout.split()
    assert "runs already" in start().stdout
    assert call("stop", NAME).returncode == 0
    until(lambda: not guests() and not PLACE.exists(), otherwise="something is left")


def test_it_ends_with_the_run_that_owns_it() -> None:
    with subprocess.Popen(["sleep", "600"]) as owner:
        assert start(owner.pid).returncode == 0
        assert guests()
        owner.kill()
    until(lambda: not guests() and not PLACE.exists(), otherwise="the machine outlives its owner")


def test_it_ends_with_its_keeper() -> None:
    assert start().returncode == 0
    os.kill(int((PLACE / "pid").read_text()), signal.SIGKILL)
    until(lambda: not guests(), otherwise="the machine outlives its keeper")
    assert NAME not in call("list").stdout.split()
    # What the keeper could not remove does not keep the next one from running.
    assert start().returncode == 0


def test_a_machine_that_hangs_is_started_again() -> None:
    assert start().returncode == 0
    (first,) = guests()
    os.kill(first, signal.SIGSTOP)
    waited = call("wait", NAME, "--seconds", "8")
    assert "starting it again" in waited.stderr
    (second,) = guests()
    assert second != first
    assert call("stop", NAME).returncode == 0
    until(lambda: not guests() and not PLACE.exists(), otherwise="something is left")


def test_a_machine_that_is_started_again_has_what_it_wrote() -> None:
    assert start().returncode == 0
    assert call("wait", NAME).returncode == 0
    assert call("shell", NAME, "echo kept > /root/note && sync").returncode == 0
    before = call("shell", NAME, vm.BOOT_ID).stdout
    (first,) = guests()
    os.kill(int((PLACE / "pid").read_text()), vm.START_AGAIN)
    until(lambda: guests() not in ([first], []), otherwise="it is not started again")
    waited = call("wait", NAME)
    assert waited.returncode == 0, waited.stderr
    assert call("shell", NAME, "cat /root/note").stdout == "kept\n"
    rebooted = call("reboot", NAME)
    assert rebooted.returncode == 0, rebooted.stderr
    assert call("shell", NAME, "cat /root/note").stdout == "kept\n"
    assert call("shell", NAME, vm.BOOT_ID).stdout not in ("", before)


def test_what_it_writes_has_no_name_and_its_image_stays_as_it_is() -> None:
    image = vm.image("debian-13").disk
    before = image.stat()
    assert start().returncode == 0
    (guest,) = guests()
    files = {os.readlink(path) for path in Path(f"/proc/{guest}/fd").iterdir()}
    assert f"{PLACE}/disk.qcow2 (deleted)" in files
    assert str(image) in files
    assert call("stop", NAME).returncode == 0
    assert (image.stat().st_mtime_ns, image.stat().st_size) == (before.st_mtime_ns, before.st_size)


def test_machines_that_start_side_by_side_are_opened_by_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "CACHE", tmp_path)
    with ThreadPoolExecutor(8) as pool:
        halves = set(pool.map(lambda _each: vm.access_key().with_suffix(".pub").read_text(), range(8)))
    assert len(halves) == 1


@pytest.mark.parametrize("image, words", [
    ("/nowhere/disk.qcow2", "There is no image /nowhere/disk.qcow2."),
    ("debian-99", "There is no recipe for Debian 99"),
    (f"{ROOT}/molecule", "There is no image"),
    ("/proc/self/mem", "/mem is no disk that QEMU can use"),
])  # fmt: skip
def test_an_image_that_is_not_there_is_told(image: str, words: str) -> None:
    done = start(image=image)
    assert done.returncode == 1
    assert words in done.stderr
    assert not guests() and not PLACE.exists()


def test_what_qemu_says_when_it_ends_is_told() -> None:
    started = start(0, "debian-13", "--memory", str(200 << 20))  # 200 TiB, more than a process can address
    waited = call("wait", NAME, "--seconds", "60")
    assert waited.returncode == 1
    assert "cannot set up guest memory" in started.stderr + waited.stderr
    assert not guests()


def test_only_a_kernel_that_is_started_from_here_takes_arguments(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"")
    done = start(0, f"{tmp_path}/disk.raw", "--kernel-argument", "security=selinux")
    assert done.returncode == 1
    assert f"{tmp_path}/disk.raw has its own boot loader" in done.stderr
    assert start(0, "debian-13", "--kernel-argument", "security=selinux").returncode == 0
    (guest,) = guests()
    assert " security=selinux\0" in Path(f"/proc/{guest}/cmdline").read_text()


def test_what_a_killed_run_has_half_made_goes_with_the_next() -> None:
    image = vm.image("debian-13")
    left = vm.IMAGES / "making-debian-13-killed"
    (left / "root").mkdir(parents=True)
    assert vm.image("debian-13") == image
    assert not left.exists()


@pytest.mark.parametrize("verb", ["shell", "reboot"])
def test_asking_for_what_does_not_run_is_told(verb: str) -> None:
    done = call(verb, NAME)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{NAME} does not run")

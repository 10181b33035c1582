# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks between runs: processes that exclude one another, whoever of them is killed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils import _lock
from ansible_collections.rootless.buildah.plugins.module_utils._errors import LockError
from ansible_collections.rootless.buildah.plugins.module_utils._lock import FileLock

# Takes the lock as flock(2) says, tells so, and holds it until its input ends.
HOLD = """
import fcntl, sys
with open(sys.argv[1], "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""
# Asks whether the lock is free.
TRY = """
import fcntl, sys
with open(sys.argv[1], "a") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(1)
"""


def is_free(path: Path) -> bool:
    """Return whether another process could take the lock."""
    return subprocess.run([sys.executable, "-c", TRY, str(path)], check=False).returncode == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    call = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


class TestTry:
    def test_a_free_lock_is_taken_and_keeps_others_out(self, path: Path) -> None:
        lock = FileLock(str(path))
        assert lock.try_acquire() is True
        assert not is_free(path)
        lock.release()
        assert is_free(path)

    def test_a_held_one_is_not(self, path: Path, holder: subprocess.Popen[str]) -> None:
        assert FileLock(str(path)).try_acquire() is False

    def test_a_failed_try_leaves_nothing_open(self, path: Path, holder: subprocess.Popen[str]) -> None:
        before = os.listdir("/proc/self/fd")
        lock = FileLock(str(path))
        lock.try_acquire()
        assert os.listdir("/proc/self/fd") == before and lock.inheritable == ()

    def test_the_lock_of_a_killed_process_is_free(self, path: Path, holder: subprocess.Popen[str]) -> None:
        holder.kill()
        holder.wait()
        assert FileLock(str(path)).try_acquire()

    def test_two_locks_of_one_process_exclude_each_other(self, path: Path) -> None:
        # Threads look at images side by side.
        first, second = FileLock(str(path)), FileLock(str(path))
        assert first.try_acquire() and not second.try_acquire()
        first.release()
        assert second.try_acquire()
        second.release()

    def test_the_file_is_for_its_owner_and_stays_where_it_is(self, path: Path) -> None:
        # A file that was removed could be locked by one and made anew and locked by another.
        lock = FileLock(str(path))
        lock.try_acquire()
        inode = path.stat().st_ino
        lock.release()
        assert path.stat().st_ino == inode and path.stat().st_mode & 0o777 == 0o600

    def test_what_the_file_holds_is_kept(self, path: Path) -> None:
        path.write_text("kept")
        lock = FileLock(str(path))
        lock.try_acquire()
        lock.release()
        assert path.read_text() == "kept"


class TestRelease:
    def test_what_is_not_held_may_be_released(self, path: Path, holder: subprocess.Popen[str]) -> None:
        lock = FileLock(str(path))
        lock.release()
        lock.try_acquire()
        lock.release()
        assert not is_free(path)

    def test_it_may_be_taken_again(self, path: Path) -> None:
        lock = FileLock(str(path))
        for _again in range(2):
            assert lock.try_acquire()
            lock.release()
            lock.release()
        assert is_free(path)


class TestWaiting:
    def test_a_free_lock_is_not_waited_for(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "sleep", pytest.fail)
        lock = FileLock(str(path))
        lock.acquire(0)
        assert not is_free(path)
        lock.release()

    def test_it_is_had_as_soon_as_the_other_has_ended(self, path: Path, holder: subprocess.Popen[str]) -> None:
        threading.Timer(0.3, holder.kill).start()
        begun = time.monotonic()
        lock = FileLock(str(path))
        lock.acquire(20)
        assert 0.2 < time.monotonic() - begun < 10
        assert not is_free(path)
        lock.release()

    @pytest.mark.parametrize("timeout", [0, 0.3])
    def test_after_the_time_it_is_an_error(self, path: Path, holder: subprocess.Popen[str], timeout: float) -> None:
        begun = time.monotonic()
        with pytest.raises(LockError) as raised:
            FileLock(str(path), "registry.example.com/app:1").acquire(timeout)
        assert timeout <= time.monotonic() - begun < timeout + 5
        assert raised.value.message == "registry.example.com/app:1 is being built by another run"
        assert raised.value.cause == f"it has not finished within {timeout} seconds"
        assert "lock_timeout" in raised.value.remedy

    def test_without_a_name_the_file_is_named(self, path: Path, holder: subprocess.Popen[str]) -> None:
        with pytest.raises(LockError, match="lock is being built"):
            FileLock(str(path)).acquire(0)

    def test_what_a_dead_holder_left_running_can_be_ended_while_waiting(
        self, path: Path, holder: subprocess.Popen[str]
    ) -> None:
        calls = []

        def end() -> None:
            calls.append("end")
            holder.kill()
            holder.wait()

        lock = FileLock(str(path))
        lock.acquire(20, end)
        assert calls == ["end"] and not is_free(path)
        lock.release()

    def test_pauses_grow_up_to_a_second(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[float] = []
        lock = FileLock(str(path))
        monkeypatch.setattr(lock, "try_acquire", lambda: len(pauses) == 12)
        monkeypatch.setattr(time, "sleep", pauses.append)
        lock.acquire(60)
        assert pauses == sorted(pauses) and 0 < pauses[0] <= 0.1 and pauses[-1] == 1


class TestChildren:
    """A child that gets the descriptor keeps the lock: what a killed run left building still excludes others."""

    def test_a_child_with_the_descriptor_keeps_the_lock(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # pytest itself holds the lower ones, and this child is no shell.
        monkeypatch.setattr(_lock, "_HIGHEST", 1000)
        lock = FileLock(str(path))
        assert lock.try_acquire()
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=lock.inheritable) as child:
            lock.release()
            assert not is_free(path)
            assert child.stdin
            child.stdin.close()
            child.wait()
        assert is_free(path)

    def test_a_child_without_it_does_not(self, path: Path) -> None:
        lock = FileLock(str(path))
        assert lock.try_acquire()
        # Even one that is started without care: the descriptor closes itself (open(2), O_CLOEXEC).
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
            lock.release()
            assert is_free(path)
            child.kill()

    def test_a_descriptor_that_shells_cannot_close_is_not_given_to_children(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # POSIX, shell command language, 2.7: a redirection has one digit.
        numbers: list[int] = []

        def opened(number: int) -> FileLock:
            monkeypatch.setattr(os, "open", lambda *_arguments: number)
            monkeypatch.setattr(fcntl, "flock", lambda descriptor, _how: numbers.append(descriptor))
            lock = FileLock(str(path))
            assert lock.try_acquire()
            return lock

        assert opened(9).inheritable == (9,) and opened(10).inheritable == ()
        assert numbers == [9, 10]

    def test_a_lock_that_is_not_held_has_none(self, path: Path) -> None:
        lock = FileLock(str(path))
        assert lock.inheritable == ()
        lock.try_acquire()
        lock.release()
        assert lock.inheritable == ()

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door to all programs. Knows processes; touches no Ansible."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess  # the only import of it among the build's utilities
import time
from dataclasses import dataclass
from typing import Callable, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._errors import CommandError
from ansible_collections.rootless.buildah.plugins.module_utils._findings import known

LineReader = Callable[[str, float], None]

#: Seconds by which what :func:`started` tells may be off.
START_SLACK = 2

# Written by the child itself before anything else runs, so that whoever finds the file after a SIGKILL of
# ours knows which session to end. $0 is the directory.
_ANNOUNCE = 'echo > "$0/$$" && exec "$@"'


@dataclass(frozen=True)
class Completed:
    """A program that ended; ``seconds`` is wall time."""

    argv: Sequence[str]
    rc: int
    stdout: bytes
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        """What was printed, as text without the last line break."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


class Runner:
    """Runs argv lists with a fixed environment.

    :param environment: the whole environment of the programs; ``LC_ALL=C`` is added.
    :param sessions: a directory in which each program leaves a file named by its session id; None: no trace.
    :param inherit: file descriptors that the programs keep open, so that a lock outlives this process.
    """

    def __init__(
        self, environment: Mapping[str, str], sessions: Optional[str] = None, inherit: Sequence[int] = ()
    ) -> None:
        self.environment = {**environment, "LC_ALL": "C"}
        self.sessions = sessions
        self.inherit = tuple(inherit)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        cwd: str = "/",
        on_line: Optional[LineReader] = None,
        check: bool = True,
        alone: bool = False,
    ) -> Completed:
        """Run a program to its end.

        :param env: variables to add.
        :param on_line: called for each line of both outputs with the monotonic time in seconds, as it comes.
        :param check: raise :class:`CommandError` when the exit status is not 0.
        :param alone: what the program leaves running in its session ends with it; needs ``sessions``.
        :raises CommandError: also when the program cannot be started (``rc`` 127).
        """
        call = list(argv)
        if self.sessions:
            call = ["/bin/sh", "-c", _ANNOUNCE, self.sessions] + call
        begun = time.monotonic()
        try:
            process = subprocess.Popen(
                call,
                env={**self.environment, **(env or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=self.inherit,
                start_new_session=self.sessions is not None,
            )
        except OSError as error:
            raise CommandError(
                f"{argv[0]} cannot be started",
                argv,
                127,
                cause=error.strerror or str(error),
                remedy=known("tools_missing")["remedy"],
            ) from error
        try:
            stdout, stderr = _pump(process, on_line)
        except BaseException:
            end_session(process.pid) if self.sessions else process.kill()
            process.wait()
            raise
        done = Completed(argv, process.wait(), stdout, stderr.decode("utf-8", "replace"), time.monotonic() - begun)
        if self.sessions:
            if alone:
                end_session(process.pid)
            _forget(os.path.join(self.sessions, str(process.pid)))
        if check and done.rc != 0:
            raise CommandError(
                f"{describe(argv)} failed with exit status {done.rc}", argv, done.rc, done.text, done.stderr
            )
        return done


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _pump(process: subprocess.Popen[bytes], on_line: Optional[LineReader]) -> tuple[bytes, bytes]:
    """Read both outputs until they close, line by line where somebody listens."""
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    collected = {pipe.fileno(): bytearray() for pipe in pipes}
    pending = {descriptor: bytearray() for descriptor in collected}
    with selectors.DefaultSelector() as selector:
        for descriptor in collected:
            selector.register(descriptor, selectors.EVENT_READ)
        ended = False
        while selector.get_map():
            # A RUN step may leave a daemon that keeps the pipes open: the program's own end decides.
            ready = selector.select(timeout=0 if ended else 0.2)
            for key, _events in ready:
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fd)
                collected[key.fd] += data
                if on_line:
                    _lines(pending[key.fd], data, on_line)
            if not ready:
                if ended:
                    break
                # It may have written its last words after the look above: look once more.
                ended = process.poll() is not None
    stdout, stderr = (bytes(collected[pipe.fileno()]) for pipe in pipes)
    for pipe in pipes:
        pipe.close()
    return stdout, stderr


def _lines(buffer: bytearray, data: bytes, on_line: LineReader) -> None:
    buffer += data
    end = buffer.rfind(b"\n") + 1 if data else len(buffer)
    now = time.monotonic()
    for line in bytes(buffer[:end]).decode("utf-8", "replace").splitlines():
        on_line(line, now)
    del buffer[:end]


def describe(argv: Sequence[str]) -> str:
    """Return program and subcommand, for messages."""
    words = [os.path.basename(argv[0])]
    words += [word for word in argv[1:3] if not word.startswith("-")][:1]
    return " ".join(words)


def end_session(session: int) -> None:
    """Kill every process of a session and wait until none is left.

    RUN steps of chroot isolation stay in the session of the build although their user differs; the owner
    of the user namespace may signal them (user_namespaces(7)).
    """
    for _attempt in range(200):
        members = session_members(session)
        if not members:
            return
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        time.sleep(0.02)


def session_members(session: int) -> list[int]:
    """Return the live processes of a session, zombies excluded."""
    members = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = _stat(int(entry))
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in (b"Z", b"X"):
            members.append(int(entry))
    return members


def _stat(pid: int) -> list[bytes]:
    """Return the fields of proc_pid_stat(5) behind the name, which may hold anything; the first is the state."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def started(pid: int) -> Optional[float]:
    """Return when a process was started, in seconds since the epoch; None when there is none.

    The kernel counts it in ticks since the boot (proc_pid_stat(5)); the clock may have been set since then.
    """
    try:
        ticks = int(_stat(pid)[19])
    except OSError:
        return None
    # Not from /proc/uptime, which is a container's own under lxcfs.
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def running_since(*names: str) -> Optional[float]:
    """Return since when the oldest process of this user runs whose name begins with one of some names.

    :return: seconds since the epoch, or None when there is none.
    """
    found = []
    for entry in os.listdir("/proc"):
        try:
            if not entry.isdigit() or os.stat(f"/proc/{entry}").st_uid != os.getuid():
                continue
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                name = os.path.basename(os.fsdecode(file.read().partition(b"\0")[0]))
        except OSError:
            continue
        since = started(int(entry)) if name.startswith(names) else None
        if since is not None:
            found.append(since)
    return min(found, default=None)

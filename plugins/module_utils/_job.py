# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The working directory of one run, and the tidying up after runs that were killed. Touches no Ansible."""

from __future__ import annotations

import glob
import json
import os
import shutil
import stat
import tempfile
import time
from typing import Any

from ansible_collections.rootless.buildah.plugins.module_utils._lock import FileLock
from ansible_collections.rootless.buildah.plugins.module_utils._process import START_SLACK, end_session, started
from ansible_collections.rootless.buildah.plugins.module_utils._storage import ISOLATED

JOB_IMAGE = "localhost/rootless-buildah-job"
#: What buildah and skopeo make and remove within microseconds when they start, wherever TMPDIR is: the place to mount
#: their own program at (containers/storage, pkg/unshare/unshare.c, try_bindfd).
START_FILES = "/tmp/containers.??????"
#: The file of a job that is there while working containers of a build may be.
MARKER = "marker"


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


class Job:
    """A directory below ``jobs`` that lives as long as its run; whoever can lock it knows that the run is dead.

    Everything that must not outlive the run lies in it: credentials, secrets, temporary files of buildah.
    """

    def __init__(self, jobs: str, image: str, storage: str = "") -> None:
        # The number tells whether somebody is just making it, as long as there is no lock.
        self.path = tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=jobs)
        self.id = os.path.basename(self.path)
        self._alive = FileLock(os.path.join(self.path, "alive"))
        self._alive.try_acquire()
        self.sessions = self.directory("sessions")
        self.write("job.json", json.dumps({"image": image, "storage": storage, "boot": _boot_id()}).encode())

    @property
    def image(self) -> str:
        """A local image name that only this run uses."""
        return f"{JOB_IMAGE}:{self.id}"

    def directory(self, name: str) -> str:
        """Make a directory in the job and return its path."""
        path = os.path.join(self.path, name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def scratch(self) -> str:
        """Return a new empty directory."""
        return tempfile.mkdtemp(dir=self.directory("scratch"))

    def outside(self, path: str) -> str:
        """Note a temporary path outside of the job before it is made, so that it goes with the job; return it."""
        with open(os.path.join(self.path, "outside"), "ab") as file:
            file.write(os.fsencode(path) + b"\0")
        return path

    def exporting_container(self) -> str:
        """Return a name for a working container that is no build's; it is noted before the container is made."""
        name = f"rootless-buildah-export-{self.id}"
        self.directory("exports")
        self.write(os.path.join("exports", name), b"")
        return name

    def write(self, name: str, data: bytes, mode: int = 0o600) -> str:
        """Write a file into the job and return its path."""
        path = os.path.join(self.path, name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        return path

    def marker(self) -> str:
        """Write the empty file by whose path a build's working containers are found; return the path."""
        return self.write(MARKER, b"")

    def forget_marker(self) -> None:
        """Note that no working container of a build is left."""
        os.unlink(os.path.join(self.path, MARKER))

    def close(self) -> None:
        """Give the directory up; the caller removes it."""
        self._alive.release()


def dead_jobs(jobs: str, storage: str = "") -> list[str]:
    """Return the directories of runs that ended without tidying up, with this image store or with one of their own."""
    found = []
    for name in sorted(os.listdir(jobs)) if os.path.isdir(jobs) else ():
        path = os.path.join(jobs, name)
        try:
            # A job that is being made holds no lock yet for a moment.
            if not os.path.exists(os.path.join(path, "job.json")) and os.path.exists(f"/proc/{name.partition('-')[0]}"):
                continue
            lock = FileLock(os.path.join(path, "alive"))
            if _facts(path).get("storage", storage) in (storage, ISOLATED) and lock.try_acquire():
                lock.release()
                found.append(path)
        except OSError:
            continue
    return found


def noted_outside(path: str) -> list[str]:
    """Return the temporary paths outside of a job that are still there."""
    try:
        with open(os.path.join(path, "outside"), "rb") as file:
            noted = [os.fsdecode(name) for name in file.read().split(b"\0")[:-1]]
    except OSError:
        return []
    return [name for name in noted if os.path.lexists(name)]


def began(path: str) -> float:
    """Return when a job began, in seconds since the epoch; now, when nothing tells it."""
    try:
        return os.stat(os.path.join(path, "job.json")).st_mtime
    except OSError:
        return time.time()


def has_own_store(path: str) -> bool:
    """Return whether a job's image store goes with the job."""
    return bool(_facts(path).get("storage") == ISOLATED)


def exporting_containers(path: str) -> list[str]:
    """Return the names of the working containers that a job's exports may have left."""
    try:
        return os.listdir(os.path.join(path, "exports"))
    except OSError:
        return []


def remove_start_files(pattern: str = START_FILES, age: float = 1.0) -> None:
    """Remove the empty files that programs which were killed while they started have left.

    :param age: seconds; what is younger may belong to a program that is just starting.
    """
    for path in glob.glob(pattern):
        try:
            status = os.lstat(path)
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and status.st_size == 0
            if ours and time.time() - status.st_mtime > age:
                os.unlink(path)
        except OSError:
            continue


def _facts(path: str) -> dict[str, Any]:
    try:
        with open(os.path.join(path, "job.json"), encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


def end_dead_sessions(path: str) -> None:
    """Kill what a dead run left running."""
    if _facts(path).get("boot") != _boot_id():
        return
    try:
        sessions = os.listdir(os.path.join(path, "sessions"))
    except OSError:
        return
    for session in sessions:
        if session.isdigit() and not _is_younger(int(session), os.path.join(path, "sessions", session)):
            end_session(int(session))


def _is_younger(pid: int, announcement: str) -> bool:
    """Whether a process was started after a file was written: then its number was given away again."""
    since = started(pid)
    try:
        return since is not None and since > os.stat(announcement).st_mtime + START_SLACK
    except OSError:
        return False


def remove_plain(path: str) -> bool:
    """Remove a job directory as far as the user himself may; return whether nothing is left."""
    shutil.rmtree(path, ignore_errors=True)
    return not os.path.exists(path)

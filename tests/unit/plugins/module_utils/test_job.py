# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a killed run leaves is found by the next one, and what belongs to a living run is not touched."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from ansible_collections.rootless.buildah.plugins.module_utils._job import (
    Job,
    dead_jobs,
    end_dead_sessions,
    exporting_containers,
    noted_outside,
    remove_plain,
    remove_start_files,
)
from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner, session_members
from ansible_collections.rootless.buildah.plugins.module_utils._state import State


def dead_process() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_job_is_dead_when_its_run_has_ended(tmp_path: Path) -> None:
    job = Job(str(tmp_path), "image")
    assert dead_jobs(str(tmp_path)) == []
    job.close()
    assert dead_jobs(str(tmp_path)) == [job.path]
    assert remove_plain(job.path) and dead_jobs(str(tmp_path)) == []


def test_a_job_of_another_image_store_is_left_to_runs_with_that_store(tmp_path: Path) -> None:
    job = Job(str(tmp_path), "image", "storage.conf")
    job.close()
    assert dead_jobs(str(tmp_path)) == [] and dead_jobs(str(tmp_path), "storage.conf") == [job.path]


def test_a_job_that_is_being_made_is_not_dead(tmp_path: Path) -> None:
    (tmp_path / f"{os.getpid()}-abc").mkdir()
    assert dead_jobs(str(tmp_path)) == []


def test_a_job_whose_run_was_killed_while_making_it_is_dead(tmp_path: Path) -> None:
    path = tmp_path / f"{dead_process()}-abc"
    path.mkdir()
    assert dead_jobs(str(tmp_path)) == [str(path)]


def test_what_a_job_noted_outside_is_told_while_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    job = Job(str(tmp_path / "jobs"), "image")
    for name in ("one\nline", "two"):
        Path(job.outside(str(tmp_path / name))).touch()
    assert noted_outside(job.path) == [str(tmp_path / "one\nline"), str(tmp_path / "two")]
    (tmp_path / "two").unlink()
    assert noted_outside(job.path) == [str(tmp_path / "one\nline")]


def test_a_container_that_exports_is_noted_before_it_is_made(tmp_path: Path) -> None:
    job = Job(str(tmp_path), "image")
    assert exporting_containers(job.path) == []
    name = job.exporting_container()
    assert exporting_containers(job.path) == [name]


def test_what_a_dead_run_left_running_is_ended(tmp_path: Path) -> None:
    job = Job(str(tmp_path), "image")
    # As a program does that is started for a job: it notes its session, and outlives who started it.
    call = ["sh", "-c", 'echo > "$0/$$"; sleep 60 & sleep 60', job.sessions]
    program = subprocess.Popen(call, start_new_session=True)
    for _attempt in range(200):
        if os.listdir(job.sessions) and len(session_members(program.pid)) > 2:
            break
        time.sleep(0.02)
    end_dead_sessions(job.path)
    assert program.wait(5) == -9 and session_members(program.pid) == []


def test_a_program_that_runs_alone_leaves_nothing_running(tmp_path: Path) -> None:
    job = Job(str(tmp_path), "image")
    runner = Runner({"PATH": os.environ["PATH"]}, job.sessions)
    done = runner.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], alone=True)
    assert not os.path.exists(f"/proc/{done.text}") or Path(f"/proc/{done.text}/stat").read_text().split()[2] == "Z"
    assert os.listdir(job.sessions) == []


def test_half_written_state_of_killed_runs_goes_and_that_of_others_stays(tmp_path: Path) -> None:
    state = State(str(tmp_path))
    state.prepare()
    (tmp_path / "records/abc").mkdir()
    killed = [tmp_path / "images" / f".new-{dead_process()}-x", tmp_path / "records/abc" / f".new-{dead_process()}-y"]
    writing = tmp_path / "images" / f".new-{os.getpid()}-z"
    for path in (*killed, writing):
        path.touch()
    state.prepare()
    assert writing.exists() and not any(path.exists() for path in killed)


def test_what_a_program_that_was_killed_at_its_start_left_goes(tmp_path: Path) -> None:
    names = ["containers.aaaaaa", "containers.bbbbbb", "containers.cccccc", "containers.storage", "other.dddddd"]
    for name in names:
        (tmp_path / name).write_bytes(b"content" if name == "containers.bbbbbb" else b"")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "containers.cccccc").touch()
    (tmp_path / "containers.eeeeee").mkdir()
    remove_start_files(str(tmp_path / "containers.??????"))
    # The young one may belong to a program that is just starting.
    assert sorted(os.listdir(tmp_path)) == [
        "containers.bbbbbb",
        "containers.cccccc",
        "containers.eeeeee",
        "containers.storage",
        "other.dddddd",
    ]

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What native scripts may ask of buildah. The generated program runs before a stand-in that notes its arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._script_guard import guard, interpreter

DECLARED = "registry.example.com/team/base@sha256:" + "a" * 64
OTHER = "docker.io/library/debian:12"
# An id as commit prints it, and the global flags of a chosen store.
BUILT = "b" * 64
FLAGS = ["--root", "/a store/it's", "--storage-driver=vfs"]
# Notes each call, knows the working container c-1, prints an id for commit, and ends as it is told.
STAND_IN = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["NOTES"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
words = [word for word in sys.argv[1:] if word not in {FLAGS!r}]
if words[0] == "inspect":
    print("{{}}")
    sys.exit(words != ["inspect", "--type", "container", "c-1"])
if words[0] == "commit":
    print("{BUILT}")
print("said by buildah", file=sys.stderr)
sys.exit(int(os.environ.get("STATUS", "0")))
"""


class Job:
    """A run's directory with the guarded buildah in it."""

    def __init__(self, path: Path) -> None:
        # Nothing in the template may depend on the names.
        self.path = path / "a job's $(directory)"
        (self.path / "cids").mkdir(parents=True)
        (self.path / "allowed").write_text(f"{DECLARED}\n")
        self._notes = path / "notes"
        self._program = self.path / "buildah"
        real = path / "the real one's place"
        real.write_text(STAND_IN)
        real.chmod(0o700)
        self._program.write_bytes(guard([str(real), *FLAGS], str(self.path)))
        self._program.chmod(0o700)

    def buildah(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Call buildah as a script does; the real one ends with ``status``."""
        call, environment = [str(self._program), *words], {"NOTES": str(self._notes), "STATUS": str(status)}
        return subprocess.run(call, env={**os.environ, **environment}, text=True, capture_output=True, check=False)

    @property
    def calls(self) -> list[list[str]]:
        """What the real program was called with, without the global flags, which it always gets first."""
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        found = [json.loads(line) for line in lines]
        assert all(call[: len(FLAGS)] == FLAGS for call in found), found
        return [call[len(FLAGS) :] for call in found]

    def refuses(self, *words: str) -> str:
        """Expect that a call is refused and nothing is done; return what is said."""
        done = self.buildah(*words)
        assert done.returncode == 125 and done.stdout == ""
        assert done.stderr.startswith("rootless.buildah: ")
        assert [call for call in self.calls if call[0] != "inspect"] == []
        return done.stderr


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


class TestFrom:
    @pytest.mark.parametrize("image", ["scratch", DECLARED])
    def test_declared_bases_and_scratch_are_allowed(self, job: Job, image: str) -> None:
        assert job.buildah("from", "--name", "two words", image).returncode == 0
        (call,) = job.calls
        # Nothing is fetched while a script runs, and its containers are found afterwards.
        assert call[:3] == ["from", "--pull-never", "--cidfile"] and call[4:] == ["--name", "two words", image]

    def test_each_container_notes_its_id_in_a_file_of_its_own(self, job: Job) -> None:
        for _again in range(2):
            job.buildah("from", DECLARED)
        files = [Path(call[3]) for call in job.calls]
        assert len(set(files)) == 2 and all(file.parent == job.path / "cids" for file in files)

    @pytest.mark.parametrize("image", [
        OTHER,
        # The image is declared by its digest: the tag may be another by now.
        "registry.example.com/team/base:1",
        DECLARED[:-1],
        DECLARED + "0",
        DECLARED.replace(".", "x"),
        ".*",
        "docker://" + DECLARED,
        "",
        "--version",
    ])
    def test_everything_else_is_refused_by_name(self, job: Job, image: str) -> None:
        assert f"the base image {image}, which base_images does not declare" in job.refuses("from", image)

    def test_the_exit_status_is_buildahs(self, job: Job) -> None:
        done = job.buildah("from", "scratch", status=7)
        assert done.returncode == 7 and done.stderr == "said by buildah\n"


class TestCommit:
    def test_what_was_committed_may_be_built_upon_by_name_and_by_id(self, job: Job) -> None:
        assert job.buildah("from", "localhost/stage:1").returncode == 125
        done = job.buildah("commit", "--quiet", "c-1", "localhost/stage:1")
        assert (done.returncode, done.stdout) == (0, BUILT + "\n")
        for image in ("localhost/stage:1", BUILT, DECLARED):
            assert job.buildah("from", image).returncode == 0
        assert job.buildah("from", "localhost/stage:2").returncode == 125

    def test_arguments_pass_unchanged(self, job: Job) -> None:
        job.buildah("commit", "--format", "two  words", "c-1", "*")
        assert job.calls == [["commit", "--format", "two  words", "c-1", "*"]]

    def test_a_commit_that_fails_allows_nothing(self, job: Job) -> None:
        done = job.buildah("commit", "c-1", "localhost/stage:1", status=3)
        assert (done.returncode, done.stdout) == (3, "")
        assert job.buildah("from", "localhost/stage:1").returncode == 125
        assert (job.path / "allowed").read_text() == f"{DECLARED}\n"


@pytest.mark.parametrize("command", ["copy", "add"])
class TestCopyAndAdd:
    @pytest.mark.parametrize("source", [DECLARED, "c-1", "scratch"])
    @pytest.mark.parametrize("joined", [True, False])
    def test_from_declared_images_and_own_containers(self, job: Job, command: str, source: str, joined: bool) -> None:
        flag = [f"--from={source}"] if joined else ["--from", source]
        done = job.buildah(command, *flag, "c-1", "/a b", "/x")
        assert (done.returncode, done.stdout) == (0, "")
        assert job.calls[-1] == [command, *flag, "c-1", "/a b", "/x"]

    @pytest.mark.parametrize("flag", [(f"--from={OTHER}",), ("--from", OTHER), ("--chown", "0:0", "--from", OTHER)])
    def test_from_other_images_is_refused_by_name(self, job: Job, command: str, flag: tuple[str, ...]) -> None:
        assert f"copies from the image {OTHER}, which" in job.refuses(command, *flag, "c-1", "/a", "/b")

    def test_without_from_nobody_is_asked(self, job: Job, command: str) -> None:
        # A file may have any name.
        words = [command, "--chown", "0:0", "c-1", OTHER, "from", "/x"]
        assert job.buildah(*words).returncode == 0
        assert job.calls == [words]

    def test_the_exit_status_is_buildahs(self, job: Job, command: str) -> None:
        assert job.buildah(command, "c-1", "/a", "/b", status=9).returncode == 9


class TestRun:
    @pytest.mark.parametrize("mount", [
        f"type=bind,from={DECLARED},target=/m", f"from={DECLARED},type=bind,target=/m", "type=tmpfs,target=/x"])
    @pytest.mark.parametrize("joined", [True, False])
    def test_declared_images_may_be_mounted(self, job: Job, mount: str, joined: bool) -> None:
        words = ["run", *([f"--mount={mount}"] if joined else ["--mount", mount]), "c-1", "--", "ls", "/m"]
        assert job.buildah(*words).returncode == 0
        assert job.calls == [words]

    @pytest.mark.parametrize("words", [
        ["--mount", f"type=bind,from={OTHER},target=/m"],
        [f"--mount=type=bind,target=/m,from={OTHER}"],
        [f"--mount=from={OTHER},target=/m"],
        ["--mount", f"type=bind,from={DECLARED},target=/a", "--mount", f"type=bind,from={OTHER},target=/b"],
    ])
    def test_other_images_are_refused_by_name(self, job: Job, words: list[str]) -> None:
        assert f"mounts the image {OTHER}, which" in job.refuses("run", *words, "c-1", "--", "ls")

    def test_words_of_the_command_are_its_own(self, job: Job) -> None:
        words = ["run", "--env", f"A=,from={OTHER}", "c-1", "--", "x", f"--mount=type=bind,from={OTHER}"]
        assert job.buildah(*words, status=5).returncode == 5
        assert job.calls == [words]


class TestOtherCommands:
    @pytest.mark.parametrize("command", ["build", "bud", "build-using-dockerfile", "pull", "push", "login"])
    def test_what_reaches_registries_or_builds_by_itself_is_refused_by_name(self, job: Job, command: str) -> None:
        assert f"cannot call buildah {command}:" in job.refuses(command, DECLARED)

    @pytest.mark.parametrize("words", [
        ["run", "c-1", "--", "sh", "-c", "echo 'a  b' \"$c\" `d` $(e); exit 1"],
        ["config", "--env", "A=b c", "--label", "", "c-1"],
        ["mount", "c-1"],
        ["unshare", "--mount", "ROOT=c-1", "sh"],
        ["rm", "--all"],
        # Not commands, but a container and a file of these names.
        ["rm", "push"],
        ["run", "c-1", "from", OTHER],
        ["--version"],
        ["-v"],
        ["--help"],
        ["-h"],
    ])
    def test_all_else_passes_unchanged(self, job: Job, words: list[str]) -> None:
        done = job.buildah(*words, status=4)
        assert (job.calls, done.returncode, done.stderr) == ([words], 4, "said by buildah\n")

    @pytest.mark.parametrize("flags", [["--log-level", "debug"], ["--storage-driver=vfs"], ["--root", "/x"]])
    @pytest.mark.parametrize("command", ["from", "pull", "run"])
    def test_flags_before_the_command_do_not_hide_it(self, job: Job, flags: list[str], command: str) -> None:
        assert f"without {flags[0]} before it" in job.refuses(*flags, command, OTHER)


@pytest.mark.parametrize("script, words", [
    (b"buildah from scratch\n", ["/bin/sh", "-e"]),
    (b"", ["/bin/sh", "-e"]),
    (b"\n#!/bin/bash\n", ["/bin/sh", "-e"]),
    (b"#!/bin/bash\nexit\n", ["/bin/bash"]),
    (b"#! /bin/bash \n", ["/bin/bash"]),
    (b"#!/bin/bash -eux\n", ["/bin/bash", "-eux"]),
    # execve(2): all that follows the program's name is one argument.
    (b"#!/usr/bin/env -S python3 -B\n", ["/usr/bin/env", "-S python3 -B"]),
    (b"#!/usr/bin/env   python3", ["/usr/bin/env", "python3"]),
])
def test_the_first_line_names_the_interpreter(script: bytes, words: list[str]) -> None:
    assert interpreter(script) == words

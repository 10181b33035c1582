# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers between runs: it comes back as it was, is nobody else's to read, and may be lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._key import Variant
from ansible_collections.rootless.buildah.plugins.module_utils._record import BuildRecord
from ansible_collections.rootless.buildah.plugins.module_utils._state import (
    LOGS_KEPT,
    State,
    remove_file,
    write_atomically,
)

IMAGE, OTHER = "a" * 64, "b" * 64
NAME = "registry.example.com/team/app:1"


@pytest.fixture
def state(tmp_path: Path) -> State:
    found = State(str(tmp_path / "state"))
    found.prepare()
    return found


def record(key: str) -> BuildRecord:
    return BuildRecord(f"sha256:{key}", {"linux/amd64": Variant(f"sha256:{key}", {"platform": "linux/amd64"}, {})})


def files(state: State) -> list[Path]:
    return [path for path in Path(state.root).rglob("*") if path.is_file()]


class TestWriteAtomically:
    def test_a_file_is_made_and_replaced(self, tmp_path: Path) -> None:
        for data in (b"one", b""):
            write_atomically(str(tmp_path / "file"), data)
            assert (tmp_path / "file").read_bytes() == data
        assert os.listdir(tmp_path) == ["file"]

    def test_only_its_owner_reads_it(self, tmp_path: Path) -> None:
        write_atomically(str(tmp_path / "file"), b"")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600

    def test_a_failure_leaves_the_old_one_and_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "directory").mkdir()
        with pytest.raises(OSError):
            write_atomically(str(tmp_path / "directory"), b"one")
        assert os.listdir(tmp_path) == ["directory"]

    def test_a_reader_sees_the_old_or_the_new_one_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        write_atomically(str(path), b"x" * 100000)
        with path.open("rb") as reader:
            write_atomically(str(path), b"y" * 100000)
            assert reader.read() == b"x" * 100000
        assert path.read_bytes() == b"y" * 100000


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for _again in range(2):
        remove_file(str(tmp_path / "file"))
    assert os.listdir(tmp_path) == []


class TestPrepare:
    def test_only_the_owner_may_look_inside(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            State(str(tmp_path / "a" / "state")).prepare()
        finally:
            os.umask(before)
        made = [tmp_path / "a" / "state", *(tmp_path / "a" / "state").iterdir()]
        assert len(made) > 5 and {path.stat().st_mode & 0o777 for path in made} == {0o700}

    def test_what_is_there_stays(self, state: State) -> None:
        state.add_record(IMAGE, record("1"), NAME)
        state.remember(NAME, {"image_id": IMAGE})
        before = {path: path.read_bytes() for path in files(state)}
        state.prepare()
        assert {path: path.read_bytes() for path in files(state)} == before and len(before) == 2

    def test_a_root_with_special_characters_is_tidied_too(self, tmp_path: Path) -> None:
        state = State(str(tmp_path / "[a]*"))
        state.prepare()
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        (Path(state.root) / "images" / f".new-{gone.pid}-x").touch()
        state.prepare()
        assert files(state) == []


class TestLocks:
    def test_each_image_has_one_of_its_own(self, state: State) -> None:
        names = [NAME, "registry.example.com/team/app:2", "localhost/app:1", "x" * 1000]
        paths = [state.lock_path(name) for name in names]
        assert len(set(paths)) == len(names) and paths == [state.lock_path(name) for name in names]
        for path in paths:
            Path(path).touch()


class TestRecords:
    def test_a_record_comes_back(self, state: State) -> None:
        state.add_record(IMAGE, record("1"), NAME)
        assert state.records(IMAGE) == [record("1")]

    def test_one_image_may_have_several_the_newest_last(self, state: State) -> None:
        # Times that differ, whatever the file system counts in.
        for number, key in enumerate("312"):
            state.add_record(IMAGE, record(key), NAME)
            for path in files(state):
                if path.stat().st_mtime > 1000:
                    os.utime(path, (number, number))
        assert [one.key for one in state.records(IMAGE)] == ["sha256:3", "sha256:1", "sha256:2"]

    def test_of_one_key_the_last_counts(self, state: State) -> None:
        state.add_record(IMAGE, record("1"), NAME)
        later = BuildRecord(**{**vars(record("1")), "started": "2026-01-02T03:04:05Z"})
        state.add_record(IMAGE, later, NAME)
        assert state.records(IMAGE) == [later]

    @pytest.mark.parametrize("image", [None, "", OTHER])
    def test_without_an_image_there_is_none(self, state: State, image: str | None) -> None:
        state.add_record(IMAGE, record("1"), NAME)
        assert state.records(image) == []

    def test_images_are_found_by_key(self, state: State) -> None:
        state.add_record(IMAGE, record("1"), NAME)
        state.add_record(OTHER, record("1"), NAME)
        state.add_record(OTHER, record("2"), NAME)
        assert sorted(state.images_with_key("sha256:1")) == [IMAGE, OTHER]
        assert state.images_with_key("sha256:2") == [OTHER] and state.images_with_key("sha256:3") == []

    @pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"predicate": {}}'])
    def test_a_damaged_one_is_passed_over(self, state: State, damage: bytes) -> None:
        state.add_record(IMAGE, record("1"), NAME)
        files(state)[0].write_bytes(damage)
        state.add_record(IMAGE, record("2"), NAME)
        assert [one.key for one in state.records(IMAGE)] == ["sha256:2"]

    def test_those_of_another_store_are_apart(self, state: State) -> None:
        other = State(state.root, "/elsewhere/storage.conf")
        other.prepare()
        other.add_record(IMAGE, record("1"), NAME)
        other.keep_apart(IMAGE)
        assert state.records(IMAGE) == [] and state.kept_apart() == frozenset()
        assert State(state.root, "/elsewhere/storage.conf").records(IMAGE) == [record("1")]


class TestForgetting:
    def fill(self, state: State) -> None:
        for image in (IMAGE, OTHER):
            state.add_record(image, record("1"), NAME)
            state.keep_apart(image)

    def age(self, state: State) -> None:
        """Let everything be a day older."""
        for path in [Path(state.root), *Path(state.root).rglob("*")]:
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 86401))

    def test_what_is_known_of_images_that_are_gone_is_dropped(self, state: State) -> None:
        self.fill(state)
        self.age(state)
        state.forget_gone_images(lambda: [IMAGE, "c" * 64])
        assert state.records(OTHER) == [] and state.images_with_key("sha256:1") == [IMAGE]
        assert state.kept_apart() == {IMAGE} and state.records(IMAGE) == [record("1")]
        assert not [path for path in Path(state.root).rglob("*") if path.name == OTHER]

    def test_what_was_added_just_now_stays(self, state: State) -> None:
        self.fill(state)
        state.forget_gone_images(lambda: [IMAGE])
        assert state.records(OTHER) == [record("1")] and state.kept_apart() == {IMAGE, OTHER}

    def test_the_store_is_asked_once_a_day(self, state: State) -> None:
        asked: list[str] = []

        def present() -> list[str]:
            asked.append("")
            return []

        for _run in range(3):
            state.forget_gone_images(present)
        assert len(asked) == 1
        self.age(state)
        state.forget_gone_images(present)
        assert len(asked) == 2


class TestApart:
    def test_it_is_remembered(self, state: State) -> None:
        assert state.kept_apart() == frozenset()
        for image in (IMAGE, OTHER, IMAGE):
            state.keep_apart(image)
        assert state.kept_apart() == {IMAGE, OTHER}


class TestMemory:
    def test_it_comes_back_by_name(self, state: State) -> None:
        state.remember(NAME, {"image_id": IMAGE, "pushed": {"a": "b"}})
        state.remember("localhost/app:1", {"image_id": OTHER})
        assert state.memory(NAME) == {"name": NAME, "image_id": IMAGE, "pushed": {"a": "b"}}
        assert state.memory("localhost/app:1")["image_id"] == OTHER

    def test_it_is_replaced_as_a_whole(self, state: State) -> None:
        state.remember(NAME, {"image_id": IMAGE})
        state.remember(NAME, {"outputs": {}})
        assert state.memory(NAME) == {"name": NAME, "outputs": {}}

    def test_of_an_unknown_name_it_is_empty(self, state: State) -> None:
        assert state.memory(NAME) == {}

    @pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"\xff"])
    def test_what_is_damaged_is_forgotten(self, state: State, damage: bytes) -> None:
        state.remember(NAME, {"image_id": IMAGE})
        files(state)[0].write_bytes(damage)
        assert state.memory(NAME) == {}


class TestTriggers:
    def test_they_come_back_by_base_and_platform(self, state: State) -> None:
        state.remember_triggers("sha256:1", "linux/amd64", ["RUN a", "COPY . /"])
        state.remember_triggers("sha256:1", "linux/arm64", [])
        assert state.triggers("sha256:1", "linux/amd64") == ("RUN a", "COPY . /")
        assert state.triggers("sha256:1", "linux/arm64") == ()

    def test_none_is_not_the_same_as_not_read(self, state: State) -> None:
        state.remember_triggers("sha256:1", "linux/amd64", [])
        assert state.triggers("sha256:2", "linux/amd64") is None and state.triggers("sha256:1", "linux/arm64") is None

    @pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"null", b'{"triggers": null}', b"\xff"])
    def test_what_is_damaged_is_read_again(self, state: State, damage: bytes) -> None:
        state.remember_triggers("sha256:1", "linux/amd64", ["RUN a"])
        files(state)[0].write_bytes(damage)
        assert state.triggers("sha256:1", "linux/amd64") is None


class TestLogs:
    def test_its_name_says_the_image_and_is_a_plain_file_name(self, state: State) -> None:
        path = Path(state.new_log("registry.example.com:5000/team/../app:1 x"))
        assert path.parent == Path(state.root) / "logs" and path.suffix == ".log"
        assert path.name.startswith("registry.example.com_5000_team_.._app_1_x-")

    def test_a_long_name_keeps_its_end(self, state: State) -> None:
        path = Path(state.new_log("registry.example.com/" + "a/" * 300 + "app:1"))
        assert "app_1" in path.name
        path.touch()

    def test_the_oldest_logs_of_an_image_go(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        made = []
        for number in range(LOGS_KEPT + 3):
            monkeypatch.setattr("time.strftime", lambda _form, number=number: f"20260101T{number:06}")
            made.append(Path(state.new_log(NAME)))
            made[-1].touch()
        assert sorted(files(state)) == made[3:]

    def test_those_of_other_images_stay(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        # Their readable parts are the same.
        other = Path(state.new_log("registry.example.com/team/app_1"))
        other.touch()
        for number in range(LOGS_KEPT + 1):
            monkeypatch.setattr("time.strftime", lambda _form, number=number: f"2026{number:02}")
            Path(state.new_log(NAME)).touch()
        assert other.exists() and len(files(state)) == LOGS_KEPT + 1


@pytest.mark.parametrize("call", [
    lambda state: state.memory(NAME),
    lambda state: state.records(IMAGE),
    lambda state: state.images_with_key("sha256:1"),
    lambda state: state.triggers("sha256:1", "linux/amd64"),
])
def test_all_may_be_deleted_at_any_time(state: State, call: Any) -> None:
    subprocess.run(["rm", "-rf", state.root], check=True)
    assert not call(state)

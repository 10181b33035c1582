# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files written, overwritten and given back, on a real file system."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils import _file_keeper
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError
from ansible_collections.rootless.buildah.plugins.module_utils._file_keeper import (
    FileKeeper,
    FileOptions,
    ForeignFileError,
    keep_files,
    other_files,
)
from ansible_collections.rootless.buildah.plugins.module_utils._way_back import WayBack


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the notes below the test's own directory."""
    place = tmp_path / "notes"

    def own(role: str) -> WayBack:
        return WayBack(role, str(place))

    monkeypatch.setattr(_file_keeper, "WayBack", own)
    return place


def keeper(path: Path, check_mode: bool = False, **options: Any) -> FileKeeper:
    return FileKeeper(FileOptions(str(path), "test", **{"owner": getpass.getuser(), **options}), check_mode)


def test_twelve_states_agree(tmp_path: Path, notes: Path) -> None:
    path = tmp_path / "new" / "deep" / "file.conf"
    for content, action in (("a = 1", "write"), ("a = 2", "write")):
        assert keeper(path, check_mode=True).present(content)["action"] == action
        done = keeper(path).present(content)
        assert (done["action"], done["changed"]) == (action, True)
        assert content in done["diff"]["after"]
        assert path.read_text() == f"# Managed by rootless.buildah, role test\n{content}\n"
        assert keeper(path, check_mode=True).present(content)["changed"] is False
        assert keeper(path).present(content)["changed"] is False
    assert keeper(path, check_mode=True).absent()["changed"] is True
    assert path.exists()
    assert keeper(path).absent()["changed"] is True
    assert keeper(path, check_mode=True).absent()["changed"] is False
    assert keeper(path).absent()["changed"] is False
    # Neither the directories made for the file nor notes stay behind.
    assert os.listdir(tmp_path) == []
    assert not notes.exists()


def test_directories_that_were_there_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    keeper(tmp_path / "there" / "new" / "file").present("x")
    keeper(tmp_path / "there" / "new" / "file").absent()
    assert os.listdir(tmp_path) == ["there"]
    assert os.listdir(tmp_path / "there") == []


def test_the_last_file_takes_the_shared_directory_along(tmp_path: Path) -> None:
    first, second = tmp_path / "new" / "first", tmp_path / "new" / "second"
    keeper(first).present("x")
    keeper(second).present("x")
    keeper(first).absent()
    assert os.listdir(tmp_path / "new") == ["second"]
    keeper(second).absent()
    assert not (tmp_path / "new").exists()


def test_somebody_elses_file_is_refused_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "file.conf"
    path.write_text("theirs = 1\n")
    with pytest.raises(ForeignFileError) as caught:
        keeper(path).present("ours = 1")
    assert caught.value.diffs[0]["before"] == "theirs = 1\n"
    assert "ours = 1" in caught.value.diffs[0]["after"]
    assert "test_overwrite" in str(caught.value)
    assert path.read_text() == "theirs = 1\n"


def test_somebody_elses_file_comes_back_with_its_mode(tmp_path: Path, notes: Path) -> None:
    path = tmp_path / "file.conf"
    path.write_text("theirs = 1\n")
    path.chmod(0o640)
    done = keeper(path, overwrite=True).present("ours = 1")
    assert Path(done["backup"]).read_text() == "theirs = 1\n"
    assert keeper(path).present("ours = 1")["changed"] is False
    assert keeper(path).absent()["action"] == "restore"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("theirs = 1\n", 0o640)
    assert not notes.exists()


def test_somebody_elses_link_comes_back(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "file.conf"
    target.write_text("theirs\n")
    path.symlink_to(target)
    keeper(path, overwrite=True).present("ours")
    assert not path.is_symlink()
    assert target.read_text() == "theirs\n"
    keeper(path).absent()
    assert os.readlink(path) == str(target)


def test_a_file_without_comments_is_known_by_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    keeper(path, comment="").present("{}")
    assert path.read_text() == "{}\n"
    assert keeper(path, comment="").present('{"a": 1}')["changed"] is True
    path.write_text('{"a": 2}\n')
    with pytest.raises(ForeignFileError):
        keeper(path, comment="").present('{"a": 1}')


def test_absent_needs_to_know_nothing_but_the_path(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    keeper(path, comment="", secret=True).present("canary")
    done = keeper(path).absent()
    assert done["action"] == "remove"
    assert "canary" not in str(done)
    assert not path.exists()


def test_no_diff_shows_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first = keeper(path, comment="", secret=True).present("canary-one")
    second = keeper(path, comment="", secret=True).present("canary-two")
    assert first["diff"]["before"] != first["diff"]["after"]
    assert second["diff"]["before"] != second["diff"]["after"]
    assert "canary" not in str([first, second])


def test_killed_between_note_and_file_the_next_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "auth.json"
    keeper(path, comment="").present("one")

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    for moment in ("write", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(FileKeeper, moment, killed)
            with pytest.raises(KeyboardInterrupt):
                keeper(path, comment="").present("two")
        assert path.read_text() == "one\n"
    assert keeper(path, comment="").present("two")["changed"] is True
    assert path.read_text() == "two\n"


def test_an_owner_that_does_not_exist_is_about_to_be_made_in_check_mode_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert keeper(path, check_mode=True, owner="rb-nobody-here").present("x")["changed"] is True
    with pytest.raises(BuildahError, match="rb-nobody-here"):
        keeper(path, owner="rb-nobody-here").present("x")


def test_the_mode_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "file"
    keeper(path, mode="0600").present("x")
    path.chmod(0o666)
    done = keeper(path, mode="0600").present("x")
    assert done["changed"] is True
    assert "0666" in done["diff"]["before"]
    assert path.stat().st_mode & 0o777 == 0o600


def wish(path: Path, content: str | None, **options: Any) -> tuple[FileOptions, str | None]:
    return FileOptions(str(path), "test", **{"owner": getpass.getuser(), **options}), content


def test_many_files_are_kept_in_one_call(tmp_path: Path) -> None:
    first, second, third = (tmp_path / "new" / name for name in ("first", "second", "third"))
    wishes = [wish(first, "a"), wish(second, "b", mode="0600"), wish(third, None)]
    assert [one["action"] for one in keep_files(wishes, check_mode=True)] == ["write", "write", "keep"]
    assert not first.exists()
    assert [one["changed"] for one in keep_files(wishes)] == [True, True, False]
    assert second.stat().st_mode & 0o777 == 0o600
    assert not any(one["changed"] for one in keep_files(wishes))
    keep_files([wish(first, None), wish(second, None)])
    assert os.listdir(tmp_path) == []


def test_one_file_of_somebody_else_keeps_all_from_being_written(tmp_path: Path) -> None:
    ours, theirs, more = tmp_path / "ours", tmp_path / "theirs", tmp_path / "more"
    theirs.write_text("theirs\n")
    more.write_text("more\n")
    with pytest.raises(ForeignFileError) as caught:
        keep_files([wish(ours, "a"), wish(theirs, "b"), wish(more, "c")])
    assert not ours.exists()
    for path in (theirs, more):
        assert f"{path} was written by somebody else and is left alone." in str(caught.value)
    assert {"-theirs", "-more"} <= set(caught.value.as_result()["difference"])


def test_other_files_are_those_of_the_same_role_and_owner(tmp_path: Path) -> None:
    listed, other, root = tmp_path / "listed", tmp_path / "other", tmp_path / "of-somebody"
    keep_files([wish(listed, "a"), wish(other, "b")])
    FileKeeper(FileOptions(str(root), "test", owner="somebody")).remember(["digest"])
    assert other_files("test", getpass.getuser(), [str(listed)]) == [str(other)]
    assert other_files("another", getpass.getuser(), []) == []

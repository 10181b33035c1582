# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes of what was there: the first one counts, nothing is left behind, nobody else's are lost."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._way_back import WayBack


def test_a_note_can_take_the_place_of_another(tmp_path: Path) -> None:
    notes = WayBack("test", str(tmp_path / "notes"))
    notes.note_first("names", ["a"])
    notes.replace("names", {"b": []})
    assert notes.read() == {"names": {"b": []}}


def test_the_first_note_counts(tmp_path: Path) -> None:
    notes = WayBack("test", str(tmp_path / "notes"))
    assert notes.note_first("mode", "0600") == "0600"
    assert notes.note_first("mode", "0666") == "0600"
    assert notes.read() == {"mode": "0600"}


def test_only_root_reads_the_notes(tmp_path: Path) -> None:
    WayBack("test", str(tmp_path / "notes")).note_first("a", 1)
    assert (tmp_path / "notes").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "notes" / "test.json").stat().st_mode & 0o777 == 0o600


def test_the_last_note_takes_file_and_directory_along(tmp_path: Path) -> None:
    notes = WayBack("test", str(tmp_path / "notes"))
    notes.note_first("a", 1)
    assert notes.forget("a") == 1
    assert notes.forget("a") is None
    assert os.listdir(tmp_path) == []


def test_another_roles_notes_stay(tmp_path: Path) -> None:
    first, second = (WayBack(role, str(tmp_path / "notes")) for role in ("first", "second"))
    first.note_first("a", 1)
    second.note_first("a", 2)
    first.forget("a")
    assert second.read() == {"a": 2}


def test_what_was_noted_before_an_error_is_kept(tmp_path: Path) -> None:
    notes = WayBack("test", str(tmp_path / "notes"))
    with pytest.raises(RuntimeError), notes.change() as found:
        found["done"] = True
        raise RuntimeError
    assert notes.read() == {"done": True}


def test_notes_that_cannot_be_read_are_an_error_and_not_overwritten(tmp_path: Path) -> None:
    notes = WayBack("test", str(tmp_path))
    (tmp_path / "test.json").write_text("[]")
    with pytest.raises(ValueError, match="test.json"):
        notes.note_first("a", 1)
    assert (tmp_path / "test.json").read_text() == "[]"


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    # Several names in an inventory may be one machine.
    place = str(tmp_path / "notes")

    def work(number: int) -> None:
        for item in range(20):
            WayBack("test", place).note_first(f"{number}-{item}", item)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(WayBack("test", place).read()) == 100

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles found before they changed it, so that ``state: absent`` can put it back.

One JSON file per role below one directory that only root reads. Standard library only; knows nothing of Ansible.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from typing import Any, Iterator

DIRECTORY = "/var/lib/rootless-buildah"
# Directories are shared by files of several roles: whoever empties one last removes it.
SHARED = "directories"
# What the keys of notes about files begin with.
FILE_KEY = "file:"
# And of those that roles make themselves.
NOTE_KEY = "note:"


class WayBack:
    """The notes of one role.

    :param role: whose notes; the name of the file.
    :param directory: where the notes of all roles are kept.
    """

    def __init__(self, role: str, directory: str = DIRECTORY) -> None:
        self.directory = directory
        self.path = os.path.join(directory, f"{role}.json")

    def read(self) -> dict[str, Any]:
        """Return all notes; none when there is no file. A file that is not JSON is an error: it holds the way back."""
        try:
            with open(self.path, encoding="utf-8") as handle:
                notes = json.load(handle)
        except FileNotFoundError:
            return {}
        if not isinstance(notes, dict):
            raise ValueError(f"{self.path} does not hold a JSON object")
        return notes

    @contextlib.contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """Yield the notes for changing, under a lock, and write them when they differ; an empty file is removed.

        The write is atomic: whoever is killed here leaves the old notes or the new ones.
        """
        created = not os.path.isdir(self.directory)
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        if created:
            os.chmod(self.directory, 0o700)
        lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            notes = self.read()
            before = json.dumps(notes, sort_keys=True)
            try:
                yield notes
            finally:
                # Also after an error: what was noted so far describes what was done so far.
                if json.dumps(notes, sort_keys=True) != before:
                    self._write(notes)
                if not notes:
                    with contextlib.suppress(OSError):
                        os.rmdir(self.directory)
        finally:
            os.close(lock)

    def note_first(self, key: str, value: Any) -> Any:
        """Note ``value`` unless the key is noted already, and return what is noted then.

        The first value counts because later runs find what this collection has set, not what was there.
        """
        with self.change() as notes:
            return notes.setdefault(key, value)

    def replace(self, key: str, value: Any) -> None:
        """Note ``value`` whatever is noted already, in one step: there is no moment without either."""
        with self.change() as notes:
            notes[key] = value

    def forget(self, key: str) -> Any:
        """Remove a note and return what it said; None when there was none."""
        if key not in self.read():
            return None
        with self.change() as notes:
            return notes.pop(key, None)

    def _write(self, notes: dict[str, Any]) -> None:
        if not notes:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            return
        temporary = f"{self.path}.new"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(notes, stream, sort_keys=True, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, self.path)

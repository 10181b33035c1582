# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a role keeps: the marker line, who wrote a file, what has to happen to it. Pure."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any, Mapping

MARKER = "Managed by rootless.buildah, role"


def marker_line(role: str, comment: str = "#") -> str:
    """Return the line that tells a reader, and a later run, which role keeps a file."""
    return f"{comment} {MARKER} {role}"


def render(content: str, role: str, comment: str) -> bytes:
    """Return what the file shall hold.

    :param content: the text without marker.
    :param comment: what begins a comment in this format; empty where there are no comments (JSON, PEM).
    """
    if content and not content.endswith("\n"):
        content += "\n"
    if comment:
        # The line that names an interpreter has to stay the first.
        first, rest = content.split("\n", 1) if content.startswith("#!") else ("", content)
        content = f"{first}\n{marker_line(role, comment)}\n{rest}" if first else f"{marker_line(role, comment)}\n{rest}"
    return content.encode("utf-8")


def digest(data: bytes) -> str:
    """Return the digest by which a file without comments is known again."""
    return hashlib.sha256(data).hexdigest()


def files_below(contents: Mapping[str, str], directory: str) -> list[dict[str, str]]:
    """Return the option ``files`` of the module managed_file for contents by path; an empty one means no such file.

    :param directory: what the paths are relative to.
    """
    return [
        {"path": os.path.join(directory, path), "content": content, "state": "present" if content else "absent",
         "comment": "" if path.endswith(".json") else "#"}
        for path, content in contents.items()
    ]


@dataclass(frozen=True)
class Seen:
    """What is at the path now. ``kind`` is absent, file, link or other; ``uid``, ``gid`` are numbers."""

    kind: str = "absent"
    data: bytes = b""
    target: str = ""
    uid: int = 0
    gid: int = 0
    mode: int = 0


@dataclass(frozen=True)
class Wanted:
    """What shall be there."""

    data: bytes
    uid: int
    gid: int
    mode: int


@dataclass(frozen=True)
class Plan:
    """``action`` is keep, write, refuse, restore, remove or forget; ``save``: the file is kept as a backup first."""

    action: str
    save: bool = False
    differences: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return self.action in ("write", "restore", "remove")


def is_ours(seen: Seen, note: dict[str, Any] | None, comment: str) -> bool:
    """Tell whether this collection wrote the file as it is now.

    By the marker where the format has comments (it survives the loss of the notes and small edits), otherwise by the
    digest of what was written last.
    """
    if seen.kind != "file":
        return False
    if comment:
        return MARKER.encode("ascii") in seen.data[:4096]
    return note is not None and digest(seen.data) in note.get("digests", [])


def plan_present(seen: Seen, wanted: Wanted, note: dict[str, Any] | None, comment: str, overwrite: bool) -> Plan:
    """Decide what makes the file hold what is wanted.

    A file of somebody else that holds exactly what is wanted is taken over only with ``overwrite``, too: removing it
    later would take away what was theirs.
    """
    if seen.kind == "absent":
        return Plan("write", differences=["content"])
    if seen.kind == "other":
        return Plan("refuse", differences=["kind"])
    differences = []
    if seen.kind == "link" or seen.data != wanted.data:
        differences.append("content")
    if (seen.uid, seen.gid) != (wanted.uid, wanted.gid):
        differences.append("owner")
    if seen.kind == "file" and seen.mode != wanted.mode:
        differences.append("mode")
    if not is_ours(seen, note, comment):
        if not overwrite:
            return Plan("refuse", differences=differences)
        return Plan("write", save=True, differences=differences)
    return Plan("write" if differences else "keep", differences=differences)


def plan_absent(seen: Seen, note: dict[str, Any] | None, comment: str) -> Plan:
    """Decide what puts back what was there before: the backup where there is one, otherwise nothing.

    A file of somebody else stays, whatever the notes say about an earlier one of ours.
    """
    if seen.kind == "absent" or is_ours(seen, note, comment):
        if note and note.get("backup"):
            return Plan("restore")
        if seen.kind != "absent":
            return Plan("remove")
    return Plan("forget" if note else "keep")

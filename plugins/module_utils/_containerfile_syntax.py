# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containerfiles: from bytes to instructions. Pure: touches neither Ansible nor processes.

The rules are those of buildah's own parser (openshift/imagebuilder, dockerfile/parser), whose habits differ from
BuildKit's in places: ``# escape=`` counts only on the first line, and an instruction that nobody knows is kept.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._containerfile_words import (
    Heredoc,
    find_heredocs,
    split_flags,
    split_words,
)
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

_SPACE = re.compile(r"[\t\v\f\r ]+")
_ESCAPE_DIRECTIVE = re.compile(r"#[ \t]*escape[ \t]*=[ \t]*(.)")
_HEREDOC_INSTRUCTIONS = ("ADD", "COPY", "RUN")


@dataclass(frozen=True)
class Instruction:
    """One instruction, continuation lines joined.

    :param line: the number of its first line, from 1.
    :param flags: what stands before the arguments as ``--flag``, without quotes.
    :param words: its arguments as they stand, variables and quotes included; those of a shell form are one word.
    :param text: the whole line.
    :param heredocs: the here-documents that follow it.
    :param trigger: what an ONBUILD defers.
    """

    name: str
    line: int
    flags: tuple[str, ...]
    words: tuple[str, ...]
    text: str
    heredocs: tuple[Heredoc, ...] = ()
    trigger: Optional[Instruction] = None


@dataclass(frozen=True)
class Containerfile:
    """A parsed Containerfile.

    :param open_heredoc: the line of a here-document without an end; for buildah before 1.33 it is an ordinary line.
    """

    name: str
    instructions: tuple[Instruction, ...]
    open_heredoc: Optional[int] = None

    @property
    def has_bare_stage(self) -> bool:
        """Whether a stage has no instruction but its FROM; buildah 1.28 leaves its working container behind."""
        names = [instruction.name for instruction in self.instructions] + ["FROM"]
        return ("FROM", "FROM") in zip(names, names[1:])


def parse(text: bytes, name: str = "Containerfile") -> Containerfile:
    """Read a Containerfile.

    :param name: its path, for messages; a name in ``.in`` is refused, because buildah runs cpp over it.
    :raises InputError: with the line, for what no buildah can read. Instructions that nobody knows are kept.
    """
    if name.endswith(".in"):
        raise InputError(f"{name} cannot be built from",
                         "buildah runs the C preprocessor over a Containerfile that ends in .in, and no build key sees "
                         "the files that it includes",
                         f"Run cpp yourself, for example: cpp -E -traditional -undef {name} > {name[:-len('.in')]}")
    if not text:
        raise InputError(f"{name} is empty", "", "Write at least a FROM")
    if b"\0" in text:
        line = text[:text.index(b"\0")].count(b"\n") + 1
        raise InputError(f"{name} line {line} holds a NUL byte", "it is no text, or not UTF-8",
                         "Save the file as UTF-8")
    parsed = _Reader(text, name).read()
    early = next((each for each in parsed.instructions if each.name != "ARG"), None)
    if early is None or not any(each.name == "FROM" for each in parsed.instructions):
        raise InputError(f"{name} has no FROM", "every stage begins with one",
                         "Begin with FROM and the base image, or FROM scratch")
    if early.name != "FROM":
        raise InputError(f"{name} line {early.line} has {early.name} before the first FROM",
                         "only ARG may stand there; buildah before 1.41 passes over anything else in silence",
                         "Move it behind FROM")
    return parsed


def parse_triggers(lines: Sequence[str], image: str) -> tuple[Instruction, ...]:
    """Read the ONBUILD triggers of an image; ``image`` is for messages."""
    return _Reader("\n".join(lines).encode("utf-8", "surrogateescape"), f"ONBUILD of {image}").read().instructions


class _Reader:
    def __init__(self, text: bytes, name: str) -> None:
        self._name = name
        body = text[3:] if text.startswith(b"\xef\xbb\xbf") else text
        lines = body.decode("utf-8", "surrogateescape").split("\n")
        # As Go's bufio.ScanLines: no empty last line, one carriage return off each.
        self._lines = [line[:-1] if line.endswith("\r") else line for line in (lines if lines[-1] else lines[:-1])]
        self._at = 0
        self._escape = "\\"
        self._open_heredoc: Optional[int] = None

    def read(self) -> Containerfile:
        self._read_directives()
        return Containerfile(self._name, tuple(self._instructions()), self._open_heredoc)

    def _read_directives(self) -> None:
        """Directives end at the first line that is none that buildah knows; ``# syntax=`` is none for it."""
        seen = False
        for number, line in enumerate(self._lines, 1):
            match = _ESCAPE_DIRECTIVE.match(line.lstrip().lower())
            if not match:
                return
            if seen:
                raise self._error(number, "sets the escape character twice", "Remove one of the directives")
            if match.group(1) not in "\\`":
                raise self._error(number, f"sets the escape character to {match.group(1)!r}",
                                  "Only a backslash and a backquote can be the escape character")
            seen, self._escape = True, match.group(1)

    def _error(self, line: int, what: str, remedy: str) -> InputError:
        return InputError(f"{self._name} line {line} {what}", "", remedy)

    def _instructions(self) -> Iterator[Instruction]:
        while self._at < len(self._lines):
            number = self._at + 1
            text, goes_on = self._cut(_without_comment(self._lines[self._at].lstrip()))
            self._at += 1
            if not text and not goes_on:
                continue
            while goes_on and self._at < len(self._lines):
                line = self._lines[self._at]
                self._at += 1
                # Empty lines and comments do not end a continued instruction.
                if _without_comment(line.lstrip()):
                    more, goes_on = self._cut(_without_comment(line))
                    text += more
            yield self._instruction(text, number)

    def _cut(self, line: str) -> tuple[str, bool]:
        """Return a line without its continuation mark, and whether it had one."""
        bare = line.rstrip(" \t")
        return (bare[:-1], True) if bare.endswith(self._escape) else (line, False)

    def _instruction(self, text: str, number: int) -> Instruction:
        found = self._node(text, number)
        shown = found.trigger or found
        if shown.name not in _HEREDOC_INSTRUCTIONS or _json_strings(_arguments(shown.text)) is not None:
            return found
        heredocs = find_heredocs(text)
        if heredocs and not self._skip_heredocs(heredocs):
            self._open_heredoc = self._open_heredoc or number
            return found
        return Instruction(found.name, number, found.flags, found.words, text, heredocs, found.trigger)

    def _skip_heredocs(self, heredocs: tuple[Heredoc, ...]) -> bool:
        """Go on behind the here-documents; stay where we are and return False when one of them never ends."""
        at = self._at
        for heredoc in heredocs:
            while True:
                if at == len(self._lines):
                    return False
                line = self._lines[at].rstrip("\r")
                at += 1
                if (line.lstrip("\t") if heredoc.chomp else line) == heredoc.name:
                    break
        self._at = at
        return True

    def _node(self, text: str, number: int) -> Instruction:
        parts = _SPACE.split(text.strip(), 1)
        name = parts[0].upper()
        flags, rest = split_flags(parts[1]) if len(parts) == 2 else ([], "")
        rest = rest.strip()
        trigger = None
        words: list[str] = []
        if name == "ONBUILD":
            if not rest:
                raise self._error(number, "is an ONBUILD without an instruction", "Write the instruction behind it")
            trigger = self._node(rest, number)
        elif name in ("ADD", "COPY", "VOLUME"):
            words = self._json(rest, number) or _SPACE.split(rest) if rest else []
        elif name in ("CMD", "ENTRYPOINT", "RUN", "SHELL"):
            words = self._json(rest, number) or [rest] if rest else []
        elif name == "ARG":
            words = split_words(rest, self._escape)
        elif name in ("ENV", "LABEL"):
            words = self._pairs(name, rest, number)
        elif name in ("EXPOSE", "FROM"):
            words = _SPACE.split(rest) if rest else []
        elif rest:
            words = [rest]
        return Instruction(name, number, tuple(flags), tuple(words), text, (), trigger)

    def _json(self, text: str, number: int) -> Optional[list[str]]:
        values = _json_strings(text)
        if values is None:
            return None
        if not all(isinstance(value, str) for value in values):
            raise self._error(number, "has a JSON array that holds more than strings", "Quote every element")
        return [str(value) for value in values]

    def _pairs(self, name: str, text: str, number: int) -> list[str]:
        words = split_words(text, self._escape)
        if not words:
            return []
        if "=" not in words[0]:
            parts = _SPACE.split(text, 1)
            if len(parts) < 2:
                raise self._error(number, f"is {name} with a name but no value", f"Write {name} {words[0]}=value")
            return parts
        for word in words:
            if "=" not in word:
                raise self._error(number, f"has {word!r} where {name} needs name=value",
                                  "Quote values that hold spaces")
        return [part for word in words for part in word.split("=", 1)]


def _without_comment(line: str) -> str:
    return "" if line.startswith("#") else line


def _arguments(text: str) -> str:
    parts = _SPACE.split(text.strip(), 1)
    return split_flags(parts[1])[1].strip() if len(parts) == 2 else ""


def _json_strings(text: str) -> Optional[list[object]]:
    """Return the array that a text begins with, or None; like buildah, pass over what follows it."""
    if not text.startswith("["):
        return None
    try:
        values, _end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    return list(values)

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which paths of a build context an ignore file hides from COPY and ADD. Pure, but for reading that one file.

The rules are buildah's, as its source has them (the same in 1.28, 1.39 and 1.43): ``ContainerIgnoreFile`` in buildah
``pkg/parse`` picks the file, ``ParseIgnore`` in openshift/imagebuilder splits it, ``PatternMatcher`` in
containers/storage ``pkg/fileutils`` matches. A pattern becomes a regular expression of Go there, with few special
characters quoted, so that ``c(1)`` or ``bin\\debug`` mean something unexpected. The context digest has to share that.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.rootless.buildah.plugins.module_utils._errors import ContextError

# What Go's unicode.IsSpace accepts; str.strip() would take four control characters more.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200b))) + "\u2028\u2029\u202f\u205f\u3000"

_INVALID_BYTES = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class IgnoreFile:
    """The ignore file that a build uses: its path (None: there is none) and its patterns, uninterpreted."""

    path: str | None
    patterns: tuple[str, ...]


def find_ignore_file(context_dir: str, containerfile: str | None) -> IgnoreFile:
    """Find and read the ignore file that buildah uses for a build.

    ``FILE.dockerignore`` beats ``FILE.containerignore``; either replaces those of the context, where
    ``.containerignore`` beats ``.dockerignore``. An empty file counts: it hides nothing.

    :param context_dir: the build context.
    :param containerfile: absolute path of the Containerfile; None for one that lies in no lasting place (inline).
    :raises ContextError: it cannot be read, holds a pattern that buildah refuses, or is a symbolic link whose
        meaning depends on buildah's version.
    """
    if containerfile is not None:
        for suffix in (".dockerignore", ".containerignore"):
            if os.path.exists(containerfile + suffix):
                return _read(containerfile + suffix)
    for name in (".containerignore", ".dockerignore"):
        path = os.path.join(context_dir, name)
        if os.path.islink(path) and not _stays_inside(path, context_dir):
            # buildah 1.28 follows it anywhere, later versions resolve it as if the context were the root directory.
            raise ContextError(f"The ignore file {path} is a symbolic link that leads out of the build context",
                               cause="versions of buildah disagree on what it means",
                               remedy="replace it by a copy, or by a relative link within the context")
        if os.path.exists(path):
            return _read(path)
    return IgnoreFile(None, ())


def _stays_inside(link: str, directory: str) -> bool:
    inside = os.path.realpath(directory) + os.sep
    return not os.path.isabs(os.readlink(link)) and os.path.realpath(link).startswith(inside)


def _read(path: str) -> IgnoreFile:
    try:
        with open(path, "rb") as file:
            patterns = parse_ignore(file.read())
    except OSError as error:
        raise ContextError(f"The ignore file {path} cannot be read", cause=error.strerror or str(error),
                           remedy="make it a regular file that the builder user can read, or remove it") from error
    try:
        IgnoreMatcher(patterns)
    except ContextError as error:
        raise ContextError(f"{path}: {error.message}", cause=error.cause, remedy=error.remedy) from error
    return IgnoreFile(path, patterns)


def parse_ignore(content: bytes) -> tuple[str, ...]:
    """Split an ignore file into patterns: only a line that begins with ``#`` is a comment, outer slashes go first.

    :returns: the patterns; bytes that are not UTF-8 as surrogates (``surrogateescape``).
    """
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    return tuple(filter(None, (line.strip("/") for line in lines if not line.startswith("#"))))


class IgnoreMatcher:
    """Tells what the patterns of an ignore file hide. The last pattern that matches a path decides.

    :param patterns: as :func:`parse_ignore` gives them.
    :raises ContextError: a pattern that buildah refuses, or one that cannot be evaluated here exactly as there.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._exceptions: list[bytes] = []
        runs: list[tuple[bool, list[str]]] = []
        for pattern in patterns:
            # On their way to the process that reads the context (as JSON) other bytes than UTF-8 become U+FFFD.
            cleaned = _INVALID_BYTES.sub("\ufffd", pattern).strip(_SPACE)
            if not cleaned:
                continue
            cleaned = _clean(cleaned)
            exception = cleaned.startswith("!")
            try:
                if exception:
                    if cleaned == "!":
                        raise _BadPattern("an exception that names nothing")
                    cleaned = _clean(cleaned[1:])
                    cleaned = cleaned[1:] if cleaned.startswith("/") else cleaned
                    self._exceptions.append(cleaned.strip("/").encode() + b"/")
                _check_glob(cleaned)
                regex = _to_python(_to_go(cleaned))
                re.compile(regex)
            except (_BadPattern, re.error) as error:
                raise ContextError(f"The ignore pattern {pattern!r} cannot be used", cause=str(error),
                                   remedy="correct it; a special character is quoted by a backslash") from None
            if not runs or runs[-1][0] != exception:
                runs.append((exception, []))
            runs[-1][1].append(f"(?:{regex})")
        # Last first, and one regular expression for each run of the same kind: the first hit decides, cheaply.
        self._runs = [(exception, re.compile("|".join(run), re.ASCII).search) for exception, run in reversed(runs)]

    def __bool__(self) -> bool:
        return bool(self._runs)

    def ignores(self, path: str) -> bool:
        """Tell whether a path is hidden.

        :param path: relative to the context, with ``/``; bytes that are not UTF-8 as surrogates.
        """
        if not path.isascii():
            path = _INVALID_BYTES.sub("\ufffd", path)  # as Go's regular expressions read each such byte
        for exception, search in self._runs:
            if search(path):
                return not exception
        return False

    def may_hold_exceptions(self, path: str) -> bool:
        """Tell whether buildah still looks into a hidden directory: by the spelling of the exceptions alone.

        So ``!dir/*/x`` is found under a hidden ``dir`` but not under ``dir/sub``, and ``!**/x`` nowhere.
        """
        prefix = path.encode("utf-8", "surrogateescape")
        return any(exception.startswith(prefix) for exception in self._exceptions)


class _BadPattern(Exception):
    """A pattern is not valid; says why."""


def _clean(path: str) -> str:
    """Do what Go's filepath.Clean does: normpath() would keep two leading slashes."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _check_glob(pattern: str) -> None:
    """Refuse what Go's filepath.Match refuses: buildah matches each pattern with "." for its syntax alone.

    Only the part before the first lone ``*`` is looked at there for certain, so only that is checked here.
    """
    part, inside = "", False
    for token in re.findall(r"\\.|.", pattern.lstrip("*"), re.DOTALL):
        if token == "*" and not inside:
            break
        inside = token == "[" or inside and token != "]"
        part += token
    one = r"(?:\\.|[^]\\-])"
    if not re.fullmatch(rf"(?:\\.|\[\^?(?:{one}(?:-{one})?)+\]|[^\\[])*", part, re.DOTALL):
        raise _BadPattern("a [ that is not closed, an incomplete range, or a backslash at the end")


def _to_go(pattern: str) -> str:
    """Write the regular expression that buildah makes of a pattern, knowing nothing of sets and groups, as it does."""
    text = pattern[1:] if pattern.startswith("\ufeff") else pattern
    tokens = re.findall(r"\*\*/?|\\.|.", text, re.DOTALL)
    made = [_GO.get(token, token) for token in tokens]
    if tokens and tokens[-1].startswith("**"):
        made[-1] = ".*"
    return "^" + "".join(made) + "(/.*)?$"


_GO = {"**": "(.*/)?", "**/": "(.*/)?", "*": "[^/]*", "?": "[^/]", ".": r"\.", "$": r"\$"}

# Classes of Go, ASCII only: written so that they hold inside and outside of a set of Python; \s of Go lacks \v.
_CLASSES = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": r"\t\n\f\r ", "S": r"\S\x0b"}
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASSERTIONS = {"A": r"\A", "b": r"\b", "B": r"\B", "z": r"\Z"}


def _to_python(regex: str) -> str:
    """Translate a regular expression of Go to Python's, as far as patterns can produce it.

    Rule: Go's regexp/syntax with its Perl flags. Python differs in what may be repeated, in possessive
    quantifiers, in ``$``, in escapes and in nested sets.
    """
    return _Translation(regex).all()


class _Translation:
    def __init__(self, regex: str) -> None:
        self._regex = regex
        self._at = 0

    def all(self) -> str:
        made = self._alternatives()
        if self._at < len(self._regex):
            raise _BadPattern("an unexpected )")
        return made

    def _peek(self, length: int = 1) -> str:
        return self._regex[self._at:self._at + length]

    def _take(self, length: int = 1) -> str:
        taken = self._peek(length)
        self._at += length
        return taken

    def _match(self, pattern: str) -> str | None:
        found = re.compile(pattern, re.ASCII).match(self._regex, self._at)
        if not found:
            return None
        self._at = found.end()
        return found.group()

    def _alternatives(self) -> str:
        branches: list[list[str]] = [[]]
        repeated = False
        while self._peek() not in ("", ")"):
            if self._peek() == "|":
                self._take()
                branches.append([])
                continue
            quantifier = self._match(r"[*+?]|\{(?:0|[1-9]\d*)(?:,(?:0|[1-9]\d*)?)?\}")
            if quantifier:
                if repeated or not branches[-1]:
                    raise _BadPattern(f"nothing that {quantifier} could repeat")
                branches[-1][-1] += quantifier
            else:
                branches[-1].append(self._atom())
            repeated = bool(quantifier)
        return "|".join("".join(branch) for branch in branches)

    def _atom(self) -> str:
        char = self._take()
        if char == "(":
            made = self._alternatives()
            if self._take() != ")":
                raise _BadPattern("a ( that is not closed")
            return f"(?:{made})"
        if char == "[":
            return self._set()
        if char == "\\":
            return self._escape()
        return {".": ".", "^": r"(?:\A)", "$": r"(?:\Z)"}.get(char) or re.escape(char)

    def _escape(self) -> str:
        char = self._peek()
        if char in _CLASSES:
            return f"[{_CLASSES[self._take()]}]"
        if char in _ASSERTIONS:
            return f"(?:{_ASSERTIONS[self._take()]})"
        if char == "Q":
            self._take()
            literal, end, _rest = self._regex[self._at:].partition("\\E")
            self._at += len(literal) + len(end)
            return f"(?:{re.escape(literal)})"
        return re.escape(self._escaped_char())

    def _escaped_char(self) -> str:
        digits = self._match(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
        if digits:
            return chr(int(digits, 8))
        digits = self._match(r"x(?:[0-9A-Fa-f]{2}|\{[0-9A-Fa-f]+\})")
        if digits and int(digits.strip("x{}"), 16) < 0x110000:
            return chr(int(digits.strip("x{}"), 16))
        char = self._take()
        if char in _CONTROLS:
            return _CONTROLS[char]
        if digits or not char.isascii() or char.isalnum():
            raise _BadPattern(f"the escape \\{char} is unknown, or one that is not supported here")
        return char

    def _set(self) -> str:
        made = self._match(r"\^") or ""
        first = True
        while first or self._peek() != "]":
            if self._match(r"\[:.*?:\]"):
                raise _BadPattern("named character classes are not supported here")
            first = False
            if self._peek() == "\\" and self._peek(2)[1:] in _CLASSES:
                made += _CLASSES[self._take(2)[1:]]
                continue
            low = self._set_char()
            if self._peek() == "-" and self._peek(2)[1:] not in ("", "]"):
                self._take()
                high = self._set_char()
                if high < low:
                    raise _BadPattern(f"the range {low}-{high} is empty")
                made += f"{re.escape(low)}-{re.escape(high)}"
            else:
                made += re.escape(low)
        self._take()
        return f"[{made}]"

    def _set_char(self) -> str:
        char = self._take()
        if not char:
            raise _BadPattern("a [ that is not closed")
        return self._escaped_char() if char == "\\" else char

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of a Containerfile: quotes, variables, here-documents. Pure: touches neither Ansible nor processes.

The rules are those of buildah's own parser (openshift/imagebuilder, shell_parser.go and the line parsers; for
here-documents buildkit's shell lexer), not those of a shell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._options import Version

_ANY_VERSION: Version = (0,)
_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)\Z")
_SPECIAL_PARAMETERS = "@*#?-$!0"


class WordError(ValueError):
    """A word that buildah refuses; its text says why."""


@dataclass(frozen=True)
class Expansion:
    """What became of a word.

    :param names: every variable that was looked up, set or not.
    :param since: the first buildah that knows all the substitutions in the word.
    """

    text: str
    names: frozenset[str]
    since: Version


@dataclass(frozen=True)
class Heredoc:
    """A here-document that a line opens; ``chomp`` says that tabs before its end marker do not count."""

    name: str
    chomp: bool


def expand(word: str, variables: Mapping[str, str]) -> Expansion:
    """Replace variables and remove quotes as buildah does for one word.

    :param variables: what is set; anything else is empty.
    :raises WordError: for a quote or a brace that never ends and for an unknown substitution.
    """
    # Go's scanner hands out U+FFFD for each byte that is no UTF-8.
    reader = _Expander(re.sub("[\udc80-\udcff]", "\ufffd", word), variables)
    text, _end = reader.until("")
    return Expansion(text, frozenset(reader.names), reader.since)


class _Expander:
    def __init__(self, word: str, variables: Mapping[str, str]) -> None:
        self._word = word
        self._at = 0
        self._variables = variables
        self.names: set[str] = set()
        self.since = _ANY_VERSION

    def _peek(self) -> str:
        return self._word[self._at:self._at + 1]

    def _next(self) -> str:
        char = self._peek()
        self._at += len(char)
        return char

    def until(self, ends: str) -> tuple[str, str]:
        """Return the text up to one of ``ends``, and which one it was; ``ends`` empty means the end of the word."""
        result = ""
        while self._peek():
            char = self._peek()
            if char in ends:
                return result, self._next()
            if char == "'":
                result += self._single_quoted()
            elif char == '"':
                result += self._double_quoted()
            elif char == "$":
                result += self._dollar()
            elif self._next() == "\\":
                result += self._next()
            else:
                result += char
        if ends:
            raise WordError(f"it ends before a {' or '.join(ends)}")
        return result, ""

    def _single_quoted(self) -> str:
        end = self._word.find("'", self._at + 1)
        if end < 0:
            raise WordError("a single quote is never closed")
        text = self._word[self._at + 1:end]
        self._at = end + 1
        return text

    def _double_quoted(self) -> str:
        result = ""
        self._next()
        while True:
            char = self._peek()
            if not char:
                raise WordError("a double quote is never closed")
            if char == "$":
                result += self._dollar()
                continue
            self._next()
            if char == '"':
                return result
            if char == "\\":
                if not self._peek():
                    continue
                if self._peek() in '"$\\':
                    char = self._next()
            result += char

    def _dollar(self) -> str:
        self._next()
        if self._peek() != "{":
            name = self._name()
            return self._value(name) if name else "$"
        self._next()
        name = self._name()
        char = self._next()
        if char == "}":
            return self._value(name)
        if char == ":":
            return self._default(name)
        if char and char in "#%/":
            self.since = max(self.since, (1, 37))
            return self._replace(name) if char == "/" else self._strip(name, char)
        raise WordError(f"${{{name} is followed by none of }} : # % /")

    def _name(self) -> str:
        start = self._at
        if self._peek().isdecimal():
            return self._next()
        while self._peek() and (self._peek().isalpha() or self._peek().isdecimal() or self._peek() == "_"):
            self._next()
        return self._word[start:self._at]

    def _value(self, name: str) -> str:
        self.names.add(name)
        return self._variables.get(name, "")

    def _default(self, name: str) -> str:
        modifier = self._next()
        word, _end = self.until("}")
        value = self._value(name)
        if modifier == "+":
            return word if value else ""
        if modifier == "-":
            return value or word
        if modifier == "?":
            self.since = max(self.since, (1, 30))
            # Not the shell's meaning: buildah takes the message as a default.
            if not (value or word):
                raise WordError(f"{name} must be set")
            return value or word
        raise WordError(f"${{{name}:{modifier} is no substitution that buildah knows")

    def _strip(self, name: str, side: str) -> str:
        greedy = self._peek() == side
        if greedy:
            self._next()
        pattern, _end = self.until("}")
        if not pattern:
            raise WordError(f"${{{name}{side}}} names nothing to remove")
        value = self._value(name)
        # The bounds are buildah's: a pattern that matches the whole value is passed over.
        short_first = range(len(value) - 1)
        long_first = range(len(value) - 1, -1, -1)
        if side == "#":
            for at in long_first if greedy else short_first:
                if _go_match(pattern, value[:at]):
                    return value[at:]
        else:
            for at in short_first if greedy else long_first:
                if _go_match(pattern, value[at:]):
                    return value[:at]
        return value

    def _replace(self, name: str) -> str:
        kind = self._peek() if self._peek() and self._peek() in "/#%" else ""
        if kind:
            self._next()
        pattern, end = self.until("/}")
        if not pattern:
            raise WordError(f"${{{name}/}} names nothing to replace")
        replacement = self.until("}")[0] if end == "/" else ""
        value = self._value(name)
        start = 0
        while start < len(value):
            for stop in range(len(value), start, -1):
                if (kind == "#" and start) or (kind == "%" and stop != len(value)):
                    continue
                if _go_match(pattern, value[start:stop]):
                    value = value[:start] + replacement + value[stop:]
                    if kind != "/":
                        return value
                    start += len(replacement) - 1
                    break
            start += 1
        return value


def _go_match(pattern: str, text: str) -> bool:
    """Tell whether a shell pattern matches a whole text, as Go's path.Match does; malformed patterns match nothing."""
    parts, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[":
            found = re.compile(r"(\^?)((?:(?:\\.|[^\\\]-])(?:-(?:\\.|[^\\\]-]))?)+)\]", re.DOTALL).match(pattern, at)
            if not found:
                return False
            inside = re.sub(r"([\[&~|^])", r"\\\1", found.group(2))
            parts.append(f"[{found.group(1)}{inside}]")
            at = found.end()
        elif char == "\\":
            if at == len(pattern):
                return False
            parts.append(re.escape(pattern[at]))
            at += 1
        else:
            parts.append(re.escape(char))
    try:
        return re.fullmatch("".join(parts), text, re.DOTALL) is not None
    except re.error:
        return False


def split_words(text: str, escape: str) -> list[str]:
    """Split at white space, keeping quoted text together and the quotes in place (ARG, ENV and LABEL).

    :param escape: the character that takes the next one's meaning away.
    """
    words: list[str] = []
    word, quote, some = "", "", False
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if not quote and char.isspace():
            if some or word:
                words.append(word)
            word, some = "", False
            continue
        if not quote and char in "'\"":
            quote, some = char, True
        elif quote and char == quote:
            quote = ""
        elif char == escape and quote != "'":
            if at == len(text):
                break
            word += char
            char = text[at]
            at += 1
        word += char
    if some or word:
        words.append(word)
    return words


def split_flags(text: str) -> tuple[list[str], str]:
    """Take the ``--flags`` off the front of an instruction's arguments; return them unquoted, and the rest.

    buildah goes through the bytes here, so a flag's letters outside ASCII come out as Latin-1.
    """
    data = text.encode("utf-8", "surrogateescape").decode("latin-1")
    flags: list[str] = []
    at = 0
    while True:
        while at < len(data) and _is_latin1_space(data[at]):
            at += 1
        if data[at:at + 2] != "--":
            break
        word, quote, some = "", "", False
        while at < len(data):
            char = data[at]
            if not quote and _is_latin1_space(char):
                break
            at += 1
            if char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote, some = char, True
            elif char == "\\":
                word += data[at:at + 1]
                at += 1
            else:
                word += char
        if word == "--":
            break
        if word or some:
            flags.append(word)
    return flags, data[at:].encode("latin-1").decode("utf-8", "surrogateescape")


def _is_latin1_space(char: str) -> bool:
    # unicode.IsSpace of Go, below 256.
    return char in "\t\n\v\f\r \x85\xa0"


def find_heredocs(line: str) -> tuple[Heredoc, ...]:
    """Return the here-documents that a RUN, COPY or ADD line opens; a line that cannot be lexed opens none."""
    try:
        words = _Lexer(line, keep=True).words()
    except WordError:
        return ()
    found = (_heredoc(word) for word in words)
    return tuple(heredoc for heredoc in found if heredoc)


def _heredoc(word: str) -> Optional[Heredoc]:
    match = _HEREDOC.match(word)
    if not match or not match.group(3):
        return None
    try:
        names = _Lexer(match.group(3), keep=False).words()
    except WordError:
        return None
    return Heredoc(names[0], match.group(2) == "-") if len(names) == 1 else None


class _Lexer:
    """buildkit's shell lexer with no variable set: it only splits words, because unset variables stay as they are.

    :param keep: leave quotes and escapes in the words.
    """

    def __init__(self, text: str, keep: bool) -> None:
        self._text = text
        self._at = 0
        self._keep = keep

    def words(self) -> list[str]:
        words: list[str] = []
        word = ""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in "'\"":
                word += self._quoted(char)
            elif char == "$":
                for piece in self._dollar():
                    word = self._add(words, word, piece)
            elif self._text.startswith("<<", self._at):
                end = self._at + 2
                while self._text[end:end + 1] in (" ", "\t"):
                    end += 1
                word += self._text[self._at:end]
                self._at = end
            elif char == "\\":
                word += self._text[self._at if self._keep else self._at + 1:self._at + 2]
                self._at += 2
            else:
                self._at += 1
                word = self._add(words, word, char)
        return words + ([word] if word else [])

    @staticmethod
    def _add(words: list[str], word: str, char: str) -> str:
        if not char.isspace():
            return word + char
        if word:
            words.append(word)
        return ""

    def _quoted(self, quote: str) -> str:
        start = self._at
        self._at += 1
        text = ""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == quote:
                self._at += 1
                return self._text[start:self._at] if self._keep else text
            if quote == '"' and char == "$":
                text += self._dollar()
                continue
            if quote == '"' and char == "\\":
                self._at += 1
                char = self._text[self._at:self._at + 1]
                text += char if char in '"$\\' else "\\" + char
                self._at += 1
                continue
            text += char
            self._at += 1
        raise WordError("a quote is never closed")

    def _dollar(self) -> str:
        start = self._at
        self._at += 1
        if self._text[self._at:self._at + 1] == "{":
            self._at += 1
            self._braces()
        else:
            self._name()
        return self._text[start:self._at]

    def _name(self) -> None:
        text, start = self._text, self._at
        if text[start:start + 1].isdecimal():
            while text[self._at:self._at + 1].isdecimal():
                self._at += 1
        elif text[start:start + 1] and text[start] in _SPECIAL_PARAMETERS:
            self._at += 1
        else:
            while text[self._at:self._at + 1] and (text[self._at].isalnum() or text[self._at] == "_"):
                self._at += 1

    def _braces(self) -> None:
        if self._text[self._at:self._at + 1] in ("", "{", "}", ":"):
            raise WordError("a bad substitution")
        self._name()
        operator = self._text[self._at:self._at + 1]
        self._at += 1
        if operator == "}":
            return
        if operator == ":":
            operator = self._text[self._at:self._at + 1]
            self._at += 1
            if operator not in ("+", "-", "?"):
                raise WordError("a bad substitution")
        if operator == "/":
            self._inside("/")
        elif operator not in ("+", "-", "?", "#", "%"):
            raise WordError("a bad substitution")
        self._inside("}")

    def _inside(self, end: str) -> None:
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == end:
                self._at += 1
                return
            if char in "'\"":
                self._quoted(char)
            elif char == "$":
                self._dollar()
            else:
                self._at += 2 if char == "\\" else 1
        raise WordError("a brace is never closed")

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that are easy to find again, and the search for them in every form that a program could give them."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import secrets
import stat
import tarfile
import urllib.parse
from pathlib import Path
from typing import Iterable, Iterator

_GZIP = b"\x1f\x8b"
# Bytes that differ from their URL-encoded and JSON-encoded forms.
_SPECIAL = '+/=& %"'


def base64_forms(text: bytes) -> set[bytes]:
    """Return what every base64 text holds that encodes ``text`` somewhere inside, at each of the three alignments."""
    found = set()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + text).rstrip(b"=")
        # Characters at both ends also hold bits of the neighbours.
        coded = coded[(shift * 8 + 5) // 6 :]
        if (shift + len(text)) % 3:
            coded = coded[:-1]
        found |= {coded, coded.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def forms(text: str) -> dict[str, set[bytes]]:
    """Return the encoded forms of a secret by the name of the encoding."""
    plain = text.encode()
    quoted = {urllib.parse.quote(text, safe=""), urllib.parse.quote(text), urllib.parse.quote_plus(text)}
    return {
        "plain": {plain, json.dumps(text)[1:-1].encode()},
        "base64": base64_forms(plain),
        "URL": {form.encode() for one in quoted for form in (one, re.sub("%..", lambda m: m.group().lower(), one))},
        "hexadecimal": {plain.hex().encode(), plain.hex().upper().encode()},
    }


class Canaries:
    """The secrets of one test, by name.

    :ivar prefix: what all of them begin with; it holds letters and digits only and occurs nowhere else.
    """

    def __init__(self, *names: str) -> None:
        self.prefix = f"cnry{secrets.token_hex(4)}"
        self.texts = {name: f"{self.prefix}-{name}-{secrets.token_hex(4)}{_SPECIAL}" for name in names}
        plain = self.prefix.encode()
        self._marks = {plain, plain.hex().encode(), plain.hex().upper().encode(), *base64_forms(plain)}
        self._forms = {name: forms(text) for name, text in self.texts.items()}

    def __getitem__(self, name: str) -> str:
        return self.texts[name]

    def needles(self) -> list[str]:
        """Return texts one of which every plain, URL-encoded or base64-encoded canary holds."""
        return sorted({self.prefix, *(form.decode() for form in base64_forms(self.prefix.encode()))})

    def named_in(self, word: str) -> set[str]:
        """Return the names of the canaries that a word holds, plain or in base64."""
        texts = [word]
        for part in re.findall(r"[A-Za-z0-9+/_-]{8,}", word):
            for start in range(4):
                piece = part[start:].replace("-", "+").replace("_", "/")
                texts.append(base64.b64decode(piece[: len(piece) // 4 * 4]).decode("latin-1"))
        return {name for text in texts for name in re.findall(rf"{self.prefix}-([a-z_]+)-", text)}

    def find(self, data: bytes) -> set[tuple[str, str]]:
        """Return name and encoding of each canary in some bytes; compressed data and archives are opened."""
        found: set[tuple[str, str]] = set()
        if any(mark in data for mark in self._marks):
            found = {
                (name, encoding)
                for name, encodings in self._forms.items()
                for encoding, texts in encodings.items()
                if any(text in data for text in texts)
            }
        for inner in _opened(data):
            found |= self.find(inner)
        return found

    def find_in_file(self, path: str | Path) -> set[tuple[str, str]]:
        """Return what a file, a link's target or a name holds; nothing for a file that is gone."""
        found = self.find(os.fsencode(str(path)))
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found |= self.find(os.fsencode(os.readlink(path)))
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    found |= self.find(file.read())
        except OSError:
            pass
        return found

    def find_below(self, roots: Iterable[str | Path], *, but: Iterable[str | Path] = ()) -> list[str]:
        """Search trees.

        :param but: trees to leave out.
        :return: a line for each finding, sorted.
        """
        left_out = {str(path) for path in but}
        return sorted(
            f"{path}: {name} ({encoding})"
            for path in _files([str(root) for root in roots], left_out)
            for name, encoding in self.find_in_file(path)
        )


def _files(roots: Iterable[str], left_out: set[str]) -> Iterator[str]:
    for root in roots:
        if not os.path.isdir(root):
            yield root
        for directory, directories, names in os.walk(root):
            directories[:] = [name for name in directories if os.path.join(directory, name) not in left_out]
            yield from (path for name in names if (path := os.path.join(directory, name)) not in left_out)


def _opened(data: bytes) -> Iterator[bytes]:
    """Return what compressed data and archives hold. A tar archive itself is searched as it is: it is not packed."""
    if data.startswith(_GZIP):
        try:
            yield gzip.decompress(data)
        except (OSError, EOFError):
            pass
    elif data[257:262] == b"ustar":
        # Members may be compressed in their turn.
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isfile() else None
                    inner = content.read() if content else b""
                    if inner.startswith(_GZIP) or inner[257:262] == b"ustar":
                        yield inner
        except tarfile.TarError:
            pass

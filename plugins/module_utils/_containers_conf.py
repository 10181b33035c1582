# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of containers.conf(5): where they are, and the environment that they give to containers tools."""

from __future__ import annotations

import glob
import json
import os
import re
from typing import Iterable, Iterator, Mapping, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._managed_file import MARKER

# Read in this order, the last one wins: containers.conf(5).
FILES = (
    "/usr/share/containers/containers.conf",
    "/etc/containers/containers.conf",
    "/etc/containers/containers.conf.d/*.conf",
    "{home}/.config/containers/containers.conf",
    "{home}/.config/containers/containers.conf.d/*.conf",
)
# Stands between them where several are printed one after the other: no file has one.
BETWEEN = "\f"
_STRING = r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'"
_LIST = re.compile(rf"(?m)^\s*env\s*=\s*\[((?:{_STRING}|[^\]\"'])*)\]")
_APPEND = re.compile(r"append\s*=\s*(true|false)")


def engine_environment(texts: Iterable[str]) -> list[str]:
    """Return what the files set in ``env`` of ``[engine]``, as ``NAME=value``; of a name, the first counts.

    Python has no reader of TOML before 3.11.

    :param texts: the files' texts in their order.
    """
    found: list[str] = []
    append = False  # lasts from the file that says so until one says otherwise
    for text in texts:
        for listed in _LIST.findall(_section("engine", text)):
            said = _APPEND.search(re.sub(_STRING, "", listed))
            append = said.group(1) == "true" if said else append
            found = [*(found if append else []), *_strings(listed)]
    return found


def variable(name: str, texts: Iterable[str]) -> str:
    """Return what the files set a variable of the environment to, empty where they do not.

    :param texts: the files' texts in their order.
    """
    said = (pair.partition("=") for pair in engine_environment(texts))
    return next((value for found, _sign, value in said if found == name), "")


def files(home: str) -> list[str]:
    """Return patterns of the files that a user's tools read, in their order."""
    return [name.format(home=home) for name in FILES]


def read(home: str, root: str = "/") -> list[str]:
    """Return the texts of these files in their order; one that cannot be read says nothing.

    :param root: where the host's files are.
    """
    found = []
    for pattern in files(home):
        for path in sorted(glob.glob(os.path.join(root, pattern.lstrip("/")))):
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    found.append(file.read())
            except OSError:
                continue
    return found


def engine_conf(environment: Mapping[str, str], others: str = "", usual: Optional[Mapping[str, str]] = None) -> str:
    """Return a file that adds to the environment of containers tools what it lacks.

    A list of one file replaces that of the files before it, so what those say is said again. ``{append=true}`` would do
    that by itself, but containers tools do not start with it before containers/common 0.58.

    :param environment: values by name; an empty one is not set. Nothing to set gives an empty text.
    :param others: the texts of the files, with BETWEEN between them; those that a role of ours keeps do not count.
    :param usual: what the tools take by themselves, by name: set where the others say something else.
    """
    theirs = engine_environment(text for text in others.split(BETWEEN) if MARKER not in text)
    said = dict(pair.split("=", 1) for pair in reversed(theirs) if "=" in pair)
    corrected = {name: value for name, value in (usual or {}).items() if said.get(name, value) != value}
    wanted = {**corrected, **{name: value for name, value in environment.items() if value}}
    ours = {name: f"{name}={value}" for name, value in wanted.items()}
    kept = [pair for pair in theirs if pair.partition("=")[0] not in ours]
    # A list of JSON is one of TOML.
    return f"[engine]\nenv = {json.dumps([*ours.values(), *kept])}\n" if ours else ""


def _section(name: str, text: str) -> str:
    """Return the lines of a section, without comments."""
    bare = re.sub(rf"({_STRING})|#[^\n]*", lambda match: match.group(1) or "", text)
    parts = re.split(r"(?m)^[ \t]*\[[ \t]*([\w.]+)[ \t]*\][ \t]*$", bare)
    return "\n".join(body for found, body in zip(parts[1::2], parts[2::2]) if found == name)


def _strings(listed: str) -> Iterator[str]:
    for string in re.findall(_STRING, listed):
        try:
            yield string[1:-1] if string[0] == "'" else str(json.loads(string))
        except ValueError:
            yield string[1:-1]  # an escape that JSON does not have

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What registries.conf says about names. Reads files; touches neither Ansible nor processes.

The files and their order are those of containers-registries.conf(5) and containers-registries.conf.d(5). Only what
decides where a short name leads, which registry speaks plain HTTP and whether mirrors exist is read, in the forms that
the manual shows.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, field
from typing import Iterator, Optional

_HEADER = re.compile(r"\[\[?\s*([\w.]+)\s*\]\]?\Z")
_PAIR = re.compile(r"""(?:"([^"]+)"|'([^']+)'|([\w-]+))\s*=\s*(.+)\Z""", re.DOTALL)
_STRING = re.compile(r'"([^"]*)"|\'([^\']*)\'')
SYSTEM = "/etc/containers/registries.conf"
# Written by the tools themselves when somebody chose at a prompt what a short name means.
SYSTEM_ALIASES = "/var/cache/containers/short-name-aliases.conf"
USER_ALIASES = ".cache/containers/short-name-aliases.conf"


@dataclass
class RegistriesConf:
    """The parts of the configuration that concern us.

    :param aliases: full names by short name.
    :param search: registries to try for short names, in order.
    :param insecure: prefixes that are reached without TLS or without verification.
    :param mirrors: whether any registry is read from elsewhere.
    :param helpers: programs that keep logins.
    """

    aliases: dict[str, str] = field(default_factory=dict)
    search: list[str] = field(default_factory=list)
    insecure: set[str] = field(default_factory=set)
    mirrors: bool = False
    helpers: list[str] = field(default_factory=list)

    def candidates(self, short: str) -> list[str]:
        """Return the full names that a short name without tag may mean, the likeliest first."""
        if short in self.aliases:
            return [self.aliases[short]]
        # A Docker Hub name of one word lies below library/ (containers/image, docker/reference).
        return [
            f"{host}/library/{short}" if host == "docker.io" and "/" not in short else f"{host}/{short}"
            for host in self.search
        ]

    def without_mirrors(self) -> str:
        """Return a registries.conf that reads every registry at its own place."""
        entries = []
        for prefix in sorted(self.insecure):
            # *.example.com is no place: with a location, every name below it would be rewritten to nonsense.
            location = "" if prefix.startswith("*.") else f'location = "{prefix}"\n'
            entries.append(f'[[registry]]\nprefix = "{prefix}"\n{location}insecure = true\n')
        helpers = ", ".join(f'"{helper}"' for helper in self.helpers)
        return (f"credential-helpers = [{helpers}]\n" if helpers else "") + "".join(entries)


def load(home: str, environment_file: Optional[str] = None) -> RegistriesConf:
    """Read the configuration that buildah reads for a user.

    :param home: the user's home directory.
    :param environment_file: the value of CONTAINERS_REGISTRIES_CONF.
    """
    user = os.path.join(home, ".config/containers/registries.conf")
    main = environment_file or (user if os.path.exists(user) else SYSTEM)
    conf = RegistriesConf()
    # A user's own file keeps the host's drop-ins from being read (containers/image, newConfigWrapperWithHomeDir).
    system = _drop_ins(SYSTEM + ".d") if main != user else []
    aliases = SYSTEM_ALIASES if os.geteuid() == 0 else os.path.join(home, USER_ALIASES)
    for path in [main, *system, *_drop_ins(user + ".d"), aliases]:
        try:
            with open(path, encoding="utf-8") as file:
                _read(file.read(), conf)
        except OSError:
            continue
    return conf


def home_without_mirrors(home: str, directory: str, conf: RegistriesConf) -> None:
    """Make a home directory that shows the user's own, but for a registries.conf without mirrors.

    Only a user's registries.conf keeps the drop-ins in /etc from being read; naming a file in the environment does not.
    """
    places = (
        (".", (".config",)),
        (".config", ("containers",)),
        (".config/containers", ("registries.conf", "registries.conf.d")),
    )
    for place, but in places:
        real, shown = os.path.join(home, place), os.path.join(directory, place)
        os.makedirs(shown, mode=0o700)
        for name in os.listdir(real) if os.path.isdir(real) else ():
            # Of the home itself only the programs' settings are of interest.
            if name not in but and (place != "." or name.startswith(".")):
                os.symlink(os.path.join(real, name), os.path.join(shown, name))
    with open(os.path.join(directory, ".config/containers/registries.conf"), "w", encoding="utf-8") as file:
        file.write(conf.without_mirrors())


def _drop_ins(directory: str) -> list[str]:
    return sorted(glob.glob(os.path.join(directory, "*.conf")))


def _read(text: str, conf: RegistriesConf) -> None:
    table = ""
    entry: dict[str, str] = {}
    for header, name, value in _statements(text):
        if header is not None:
            _close(table, entry, conf)
            table, entry = header, {}
            conf.mirrors = conf.mirrors or header == "registry.mirror"
        elif table == "aliases":
            conf.aliases.pop(name, None)
            if _text(value):
                conf.aliases[name] = _text(value)
        elif table == "registry":
            entry[name] = value
        elif (table, name) in (("", "unqualified-search-registries"), ("registries.search", "registries")):
            conf.search = _texts(value)
        elif (table, name) == ("registries.insecure", "registries"):
            conf.insecure.update(_texts(value))
        elif table == "" and name == "credential-helpers":
            conf.helpers = _texts(value)
    _close(table, entry, conf)


def _close(table: str, entry: dict[str, str], conf: RegistriesConf) -> None:
    if table != "registry" or not entry:
        return
    prefix, location = _text(entry.get("prefix", "")), _text(entry.get("location", ""))
    # A table takes the place of an earlier one with its prefix.
    conf.insecure.discard(prefix or location)
    if entry.get("insecure", "").strip() == "true":
        conf.insecure.add(prefix or location)
    if "mirror" in entry or (prefix and location and prefix != location):
        conf.mirrors = True


def _text(value: str) -> str:
    match = _STRING.match(value.strip())
    return (match.group(1) or match.group(2) or "") if match else ""


def _texts(value: str) -> list[str]:
    return [first or second for first, second in _STRING.findall(value)]


def _statements(text: str) -> Iterator[tuple[Optional[str], str, str]]:
    """Yield (table, "", "") for a header and (None, name, value) for a pair; lists may span lines."""
    pending = ""
    for line in text.splitlines():
        line = re.sub(r"""^((?:[^"'#]|"[^"]*"|'[^']*')*)#.*""", r"\1", line).strip()
        pending = f"{pending} {line}".strip()
        if not pending or (pending.count("[") > pending.count("]")):
            continue
        header, pair = _HEADER.match(pending), _PAIR.match(pending)
        if header:
            yield header.group(1), "", ""
        elif pair:
            yield None, pair.group(1) or pair.group(2) or pair.group(3), pair.group(4)
        pending = ""

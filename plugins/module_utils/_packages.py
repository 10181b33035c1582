# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages: which are missing, how they are had, what a transaction brought. Pure.

A listing is what ``dpkg-query -W -f '${db:Status-Abbrev}${Package}\n'`` or ``rpm -qa --qf 'ii %{NAME}\n'`` prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Iterable

QUERIES = {
    "Debian": ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n"],
    "RedHat": ["rpm", "-qa", "--qf", "ii %{NAME}\n"],
}
# Ends well when nothing that stays needs one of the packages that follow; changes nothing. These and not the package
# managers above them, which take along what needs them, and install something in its place.
TRIALS = {
    "Debian": ["env", "LC_ALL=C", "dpkg", "--no-act", "--abort-after=9999", "--purge"],
    "RedHat": ["env", "LC_ALL=C", "rpm", "--erase", "--test", "--allmatches"],
}
# Names the packages that provide what follows.
PROVIDERS = ["env", "LC_ALL=C", "rpm", "-q", "--qf", "%{NAME}\n", "--whatprovides"]


def installed(listing: str) -> set[str]:
    """Return the names of the packages that are wholly installed: the second letter of the state is ``i``."""
    names = set()
    for line in listing.splitlines():
        state, _space, name = line.partition(" ")
        if state[1:2] == "i" and name:
            names.add(name.strip().partition(":")[0])
    return names


def missing(wanted: Iterable[str], listing: str) -> list[str]:
    """Return which of the wanted packages are missing, in the order asked for, each once."""
    have = installed(listing)
    return [name for name in dict.fromkeys(wanted) if name not in have]


def brought(before: str, after: str) -> list[str]:
    """Return what a transaction installed, dependencies included."""
    return sorted(installed(after) - installed(before))


@dataclass(frozen=True)
class Note:
    """What is noted of a role's packages.

    :param came: what the role brought, as far as a run saw it.
    :param asked: what was asked for in a transaction whose end no run has seen yet.
    :param before: what was installed before it; nothing when there is no such transaction.
    """

    came: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, value: Any) -> Note:
        """Understand what ``value`` made; None when nothing is noted."""
        return cls(**value) if isinstance(value, dict) else cls(came=value or [])

    @property
    def value(self) -> list[str] | dict[str, list[str]]:
        """What is noted: a list, and a mapping until the end of a transaction is seen."""
        return {"came": self.came, "asked": self.asked, "before": self.before} if self.before else self.came

    def opened(self, packages: Iterable[str], listing: str) -> Note:
        """Return the note for the time of a transaction. What another one found before it is as good now."""
        asked = sorted({*self.asked, *packages})
        return Note(self.came, asked, self.before or sorted(installed(listing)))

    def new(self, listing: str) -> tuple[list[str], list[str]]:
        """Return what was asked for and what else came since the transaction began, whoever brought it."""
        new = installed(listing) - set(self.before) if self.before else set()
        return sorted(new & set(self.asked)), sorted(new - set(self.asked))


def dnf_command(state: str, packages: Iterable[str], install_recommends: bool) -> list[str]:
    """Return the command that installs or removes packages on the RHEL family.

    The program and not the modules of Ansible that stand for it: these need its Python bindings, which RHEL 8 has for
    a Python that ansible-core 2.17 and newer refuse, and Fedora for version 5 under another name. Its options are the
    same everywhere; dnf(8), dnf5(8).

    :param state: present or absent; absent takes nothing along that only came as a dependency.
    """
    settings = {"install_weak_deps": install_recommends, "clean_requirements_on_remove": False}
    options = [f"--setopt={name}={int(value)}" for name, value in settings.items()]
    # A locale of its own, for its words are shown.
    verb = "install" if state == "present" else "remove"
    return ["env", "LC_ALL=C", "dnf", "--assumeyes", *options, verb, *packages]


def needed(family: str, words: str) -> list[str]:
    """Return what a trial says that others need: names on the Debian family, what names provide on the RHEL family.

    dpkg also refuses essential packages, and names that mean packages of several architectures.

    :param words: what a trial printed.
    """
    found: set[str] = set()
    if family == "Debian":
        refused = re.findall(r"^dpkg: error processing package (\S+) \(--purge\):", words, re.MULTILINE)
        unclear = re.findall(r"ambiguous package name '(\S+)'", words)
        found.update(name.partition(":")[0] for name in [*refused, *unclear])
        return sorted(found)
    for requirement in re.findall(r"^\t(.+) is needed by \(installed\) ", words, re.MULTILINE):
        if requirement.startswith("("):
            # A boolean dependency: its operators are nobody's names. The outermost parentheses are its own.
            parts = [part.lstrip("(") for part in requirement[:-1].split()]
            found.update(part[:-1] if part.count(")") > part.count("(") else part for part in parts)
        else:
            found.add(requirement.split(" ")[0])
    return sorted(found)

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages: which are missing, what a transaction brought. Pure.

A listing is what ``dpkg-query -W -f '${db:Status-Abbrev}${Package}\n'`` or ``rpm -qa --qf 'ii %{NAME}\n'`` prints.
"""

from __future__ import annotations

from typing import Iterable

QUERIES = {
    "Debian": ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n"],
    "RedHat": ["rpm", "-qa", "--qf", "ii %{NAME}\n"],
}


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

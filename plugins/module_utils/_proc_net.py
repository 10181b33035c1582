# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on a port, from /proc/net/tcp and tcp6. Pure. Source: proc_pid_net(5)."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any

LISTEN = "0A"


def _address(hexadecimal: str) -> str:
    """Return an address; the kernel prints each 32-bit word in the byte order of the machine."""
    raw = bytes.fromhex(hexadecimal)
    words = [raw[start:start + 4] for start in range(0, len(raw), 4)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return str(ipaddress.ip_address(b"".join(words)))


def listeners(tables: str, port: int) -> list[dict[str, Any]]:
    """Return who listens on ``port``: dictionaries with address and uid, sorted by address.

    :param tables: the text of /proc/net/tcp, /proc/net/tcp6 or both.
    :param port: the TCP port.
    """
    found = set()
    for line in tables.splitlines():
        fields = line.split()
        if len(fields) < 8 or fields[3] != LISTEN or ":" not in fields[1]:
            continue
        address, _colon, number = fields[1].rpartition(":")
        if int(number, 16) == port:
            found.add((_address(address), int(fields[7])))
    return [{"address": address, "uid": uid} for address, uid in sorted(found)]

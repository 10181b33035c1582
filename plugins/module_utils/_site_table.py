# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short tables that end the playbooks site and doctor. Pure."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

HEADER = ("host", "ready", "images", "seconds")
DOCTOR_HEADER = ("host", "ready", "errors", "warnings")


def site_table(names: Iterable[str], variables: Mapping[str, Mapping[str, Any]], fact: str) -> list[str]:
    """Return the table's lines.

    :param names: the hosts, in the order of the table.
    :param variables: the variables of all hosts.
    :param fact: the variable that holds what is known of a host: ready (bool), reason (why not), built, unchanged
        (numbers, missing where the host builds nothing), seconds. Without it, or without ready, the host stopped
        answering on the way.
    """
    hosts = [(name, variables.get(name, {}).get(fact)) for name in names]
    return _aligned([HEADER, *(_row(name, host) for name, host in hosts)]) + _reasons(hosts)


def doctor_table(names: Iterable[str], variables: Mapping[str, Mapping[str, Any]], fact: str) -> list[str]:
    """Return the lines of the doctor's table, and below it each finding with its remedy.

    :param names: the hosts, in the order of the table.
    :param variables: the variables of all hosts.
    :param fact: the variable that holds what rootless_info returned for a host, or a reason why it could not be asked.
        Without it the host stopped answering.
    """
    hosts = [(name, variables.get(name, {}).get(fact)) for name in names]
    found = [
        f"{name}: {one['severity']} {one['id']}: {one['evidence']}. {one['remedy']}."
        for name, host in hosts for one in (host or {}).get("findings", ())
    ]
    return _aligned([DOCTOR_HEADER, *(_doctor_row(name, host) for name, host in hosts)]) + _reasons(hosts) + found


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table whose first row is its header."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _doctor_row(name: str, host: Mapping[str, Any] | None) -> tuple[str, ...]:
    if host is None or "ready" not in host:
        return (name, "no answer", "-", "-")
    severities = [one["severity"] for one in host.get("findings", ())]
    ready = "yes" if host["ready"] else "NO"
    return (name, ready, *("-" if host.get("reason") else str(severities.count(one)) for one in ("error", "warning")))


def _row(name: str, host: Mapping[str, Any] | None) -> tuple[str, str, str, str]:
    if host is None or "ready" not in host:
        return (name, "no answer", "-", "-")
    built, unchanged = host.get("built"), host.get("unchanged")
    images = "-" if built is None else f"{built} built, {unchanged or 0} unchanged"
    return (name, "yes" if host.get("ready") else "NO", images, f"{float(host.get('seconds') or 0):.1f}")


def _reasons(hosts: Iterable[tuple[str, Mapping[str, Any] | None]]) -> list[str]:
    failed = [(name, host) for name, host in hosts if host and not host.get("ready")]
    return [f"{name}: {host['reason']}" for name, host in failed if host.get("reason")]

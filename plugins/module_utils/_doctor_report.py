# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor says of a fleet: as plain data, as lines for a terminal, as one sentence for a host. Pure.

Everything about a host came from that host: it is text to be shown, of whatever length and content.
"""

from __future__ import annotations

import textwrap
from typing import Any, Iterable, Mapping, TypedDict

from ansible_collections.rootless.buildah.plugins.module_utils._findings import ERROR, WARNING
from ansible_collections.rootless.buildah.plugins.module_utils._text_table import aligned, plain, printable

SCHEMA = 1
READY, NOT_READY, NOT_ASKED, NO_ANSWER = "ready", "not_ready", "not_asked", "no_answer"
HEADER = ("host", "ready", "errors", "warnings")
WORDS = {READY: "yes", NOT_READY: "NO", NOT_ASKED: "not asked", NO_ANSWER: "no answer"}
WIDTH = 110


class Found(TypedDict):
    """One finding on one host; the fields are those of rootless_info."""

    id: str
    severity: str
    evidence: str
    cause: str
    remedy: str
    commands: list[str]
    by_hand: str
    guide: str


class Host(TypedDict):
    """One host. ``reason`` says why nothing is known of it, where ``state`` is not_asked or no_answer."""

    name: str
    state: str
    reason: str
    findings: list[Found]


class Report(TypedDict):
    """A fleet. ``summary`` counts the hosts by their state."""

    schema: int
    note: str
    summary: dict[str, int]
    hosts: list[Host]


Kinds = dict[tuple[str, ...], list[tuple[Host, Found]]]


def doctor_report(
    names: Iterable[str], variables: Mapping[str, Mapping[str, Any]], fact: str, note: str = "", pods: str = ""
) -> Report:
    """Return what is known of all hosts.

    :param names: the hosts, in the order of the report.
    :param variables: the variables of all hosts.
    :param fact: the variable that holds what rootless_info returned for a host (ready, findings); or a reason why it
        could not be asked, with ``unreachable`` where it did not answer. Without it the host stopped answering.
    :param note: a line of the user's own, for example a date.
    :param pods: the variable that holds the same for each profile of pods on a host that is a node of a cluster.
    """
    hosts = [row for name in names for row in _rows(name, variables.get(name, {}), fact, pods)]
    states = [host["state"] for host in hosts]
    summary = {"hosts": len(hosts), **{state: states.count(state) for state in WORDS}}
    return {"schema": SCHEMA, "note": str(note), "summary": summary, "hosts": hosts}


def count(host: Host, severity: str) -> int:
    """Return how many findings of a severity a host has."""
    return sum(one["severity"] == severity for one in host["findings"])


def doctor_table(report: Report) -> list[str]:
    """Return the lines of the table of hosts, below them what was seen on each, and in the end each remedy once."""
    lines = aligned([HEADER, *(_row(host) for host in report["hosts"])])
    for host in report["hosts"]:
        if host["reason"]:
            lines += ["", *_wrapped(f"{plain(host['name'])}: {plain(host['reason'])}", "", "  ")]
        elif host["findings"]:
            lines += ["", f"{plain(host['name'])}:"]
        for one in host["findings"]:
            lines += _wrapped(f"{one['severity']} {plain(one['id'])}: {plain(one['evidence'])}", "  ", "    ")
            # Not wrapped: a command is to be copied.
            lines += [f"    $ {line}" for command in one["commands"] for line in printable(command).splitlines()]
            lines += _wrapped(f"No command: {_sentence(one['by_hand'])}", "    ", "    ") if one["by_hand"] else []
    for ((_first, one), *_others) in by_kind(report["hosts"]).values():
        lines += ["", *_wrapped(f"{plain(one['id'])}: {_sentence(one['cause'])}", "", "  ")]
        lines += _wrapped(f"Remedy: {_sentence(one['remedy'])}", "  ", "    ")
        lines += [f"  {plain(one['guide'])}"] if one["guide"] else []
    return lines


def by_kind(hosts: Iterable[Host]) -> Kinds:
    """Return the hosts of each finding: errors first, and of those the first that most hosts have."""
    found: Kinds = {}
    for host in hosts:
        for one in host["findings"]:
            found.setdefault(kind(one), []).append((host, one))
    order = {ERROR: 0, WARNING: 1}
    return dict(sorted(found.items(), key=lambda item: (order[item[1][0][1]["severity"]], -len(item[1]), item[0])))


def doctor_reason(host: Mapping[str, Any]) -> str:
    """Return why a host that was asked cannot build: each error with its remedy, or why it could not be asked.

    :param host: the value of the fact, as for doctor_report().
    """
    known = _host("", host)
    errors = [
        f"{one['id']}: {_sentence(one['evidence'])} {_sentence(one['remedy'])}"
        for one in known["findings"] if one["severity"] == ERROR
    ]
    return plain(" ".join(errors) or known["reason"])


def kind(one: Found) -> tuple[str, ...]:
    """Return what two findings have in common that are the same on different hosts."""
    return (one["id"], one["severity"], one["cause"], one["remedy"], one["guide"])


def _rows(name: str, known: Mapping[str, Any], fact: str, pods: str) -> list[Host]:
    asked = known.get(pods) or {}
    itself = [_host(name, known.get(fact))] if fact in known or not asked else []
    return itself + [_host(f"{name}, profile {profile.upper()}", asked[profile]) for profile in sorted(asked)]


def _host(name: str, fact: Mapping[str, Any] | None) -> Host:
    if not fact or "ready" not in fact:
        return {"name": name, "state": NO_ANSWER, "reason": "It stopped answering.", "findings": []}
    if fact.get("reason"):
        state = NO_ANSWER if fact.get("unreachable") else NOT_ASKED
        return {"name": name, "state": state, "reason": str(fact["reason"]), "findings": []}
    findings = [_found(one) for one in fact.get("findings") or ()]
    return {"name": name, "state": READY if fact["ready"] else NOT_READY, "reason": "", "findings": findings}


def _found(one: Mapping[str, Any]) -> Found:
    return {
        "id": str(one["id"]),
        # What is neither is taken for the worse.
        "severity": WARNING if one.get("severity") == WARNING else ERROR,
        "evidence": str(one.get("evidence") or ""),
        "cause": str(one.get("cause") or ""),
        "remedy": str(one.get("remedy") or ""),
        "commands": [str(command) for command in one.get("commands") or ()],
        "by_hand": str(one.get("by_hand") or ""),
        "guide": str(one.get("guide") or ""),
    }


def _row(host: Host) -> tuple[str, ...]:
    asked = host["state"] in (READY, NOT_READY)
    numbers = [str(count(host, severity)) if asked else "-" for severity in (ERROR, WARNING)]
    return (plain(host["name"]), WORDS[host["state"]], *numbers)


def _sentence(text: str) -> str:
    line = plain(text)
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)

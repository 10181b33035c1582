# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor says of a fleet, as data and on a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._doctor_report import (
    WIDTH,
    doctor_reason,
    doctor_report,
    doctor_table,
)

ERROR: dict[str, Any] = {
    "id": "subid_missing", "severity": "error", "evidence": "no range of ci", "cause": "there are no ids",
    "remedy": "Allocate them", "commands": ["usermod --add-subuids 1-2 ci", "podman  system migrate"], "by_hand": "",
    "guide": "https://example.org/findings.md#subid_missing",
}  # fmt: skip
# As a host tells that does not know commands.
WARNING: dict[str, Any] = {
    "id": "no_linger", "severity": "warning", "evidence": "ci does not linger", "cause": "logins end builds.",
    "remedy": "Let it linger", "guide": "https://example.org/findings.md#no_linger",
}  # fmt: skip
FLEET: dict[str, dict[str, Any]] = {
    "healthy": {"doctor": {"ready": True, "findings": []}},
    "fair": {"doctor": {"ready": True, "findings": [WARNING]}},
    "broken": {"doctor": {"ready": False, "findings": [
        ERROR, {**WARNING, "evidence": "root does not", "by_hand": "systemd does not run"}]}},
    "strange": {"doctor": {"ready": False, "reason": "There is no user ci.", "unreachable": False}},
    "off": {"doctor": {"ready": False, "reason": "Connection refused", "unreachable": True}},
    "gone": {},
}


def test_the_table_tells_what_was_seen_where_and_each_remedy_once() -> None:
    assert doctor_table(doctor_report(FLEET, FLEET, "doctor")) == [
        "host     ready      errors  warnings",
        "-------  ---------  ------  --------",
        "healthy  yes        0       0",
        "fair     yes        0       1",
        "broken   NO         1       1",
        "strange  not asked  -       -",
        "off      no answer  -       -",
        "gone     no answer  -       -",
        "",
        "fair:",
        "  warning no_linger: ci does not linger",
        "",
        "broken:",
        "  error subid_missing: no range of ci",
        "    $ usermod --add-subuids 1-2 ci",
        "    $ podman  system migrate",
        "  warning no_linger: root does not",
        "    No command: systemd does not run.",
        "",
        "strange: There is no user ci.",
        "",
        "off: Connection refused",
        "",
        "gone: It stopped answering.",
        "",
        "subid_missing: there are no ids.",
        "  Remedy: Allocate them.",
        "  https://example.org/findings.md#subid_missing",
        "",
        "no_linger: logins end builds.",
        "  Remedy: Let it linger.",
        "  https://example.org/findings.md#no_linger",
    ]


def test_a_fleet_without_findings_is_the_table_alone() -> None:
    assert len(doctor_table(doctor_report(["healthy"], FLEET, "doctor"))) == 3


def test_a_host_that_the_inventory_lost_has_no_answer() -> None:
    assert doctor_table(doctor_report(["lost"], {}, "doctor"))[2].split() == ["lost", "no", "answer", "-", "-"]


def test_a_node_has_a_line_for_each_profile_of_pods() -> None:
    ready, broken = {"ready": True, "findings": []}, {"ready": False, "findings": [ERROR]}
    hosts: dict[str, dict[str, Any]] = {
        "node": {"pods": {"b": broken, "a": ready}},
        "both": {"doctor": ready, "pods": {"a": broken}},
        "gone": {},
    }
    report = doctor_report(hosts, hosts, "doctor", pods="pods")
    assert [(row["name"], row["state"]) for row in report["hosts"]] == [
        ("node, profile A", "ready"), ("node, profile B", "not_ready"), ("both", "ready"),
        ("both, profile A", "not_ready"), ("gone", "no_answer")]  # fmt: skip
    assert report["summary"]["hosts"] == 5


def test_long_texts_are_wrapped_and_commands_are_not() -> None:
    command = "usermod " + "--add-subuids 100000-165535 " * 8 + "ci"
    long = {**ERROR, "evidence": "word " * 60, "remedy": "do this " * 40, "commands": [command]}
    hosts = {"one": {"doctor": {"ready": False, "findings": [long]}}}
    lines = doctor_table(doctor_report(hosts, hosts, "doctor"))
    assert f"    $ {command}" in lines
    assert [line for line in lines if len(line) > WIDTH] == [f"    $ {command}"]


def test_a_host_cannot_steer_the_terminal() -> None:
    hostile = {**ERROR, "evidence": "\x1b[2J\r\nroot", "commands": ["true\x07\nrm"], "by_hand": "\x1b[2J",
               "guide": "\x1b]8;;x"}
    hosts = {"a\x1bb": {"doctor": {"ready": False, "findings": [hostile]}}}
    for line in doctor_table(doctor_report(hosts, hosts, "doctor")):
        assert line.isprintable() or line == ""


def test_the_report_is_data_for_machines() -> None:
    report = doctor_report(FLEET, FLEET, "doctor", "build 7")
    assert json.loads(json.dumps(report)) == report
    assert report["note"] == "build 7"
    assert report["summary"] == {"hosts": 6, "ready": 2, "not_ready": 1, "not_asked": 1, "no_answer": 2}
    assert [host["name"] for host in report["hosts"]] == list(FLEET)
    assert {host["name"]: host["state"] for host in report["hosts"]} == {
        "healthy": "ready", "fair": "ready", "broken": "not_ready", "strange": "not_asked", "off": "no_answer",
        "gone": "no_answer",
    }  # fmt: skip
    broken = next(host for host in report["hosts"] if host["name"] == "broken")
    assert broken["findings"][0] == ERROR
    assert broken["findings"][1]["commands"] == []
    off = next(host for host in report["hosts"] if host["name"] == "off")
    assert (off["reason"], off["findings"]) == ("Connection refused", [])


def test_a_severity_that_nobody_knows_is_an_error() -> None:
    hosts = {"one": {"doctor": {"ready": False, "findings": [{**ERROR, "severity": "<b>"}]}}}
    assert doctor_report(hosts, hosts, "doctor")["hosts"][0]["findings"][0]["severity"] == "error"


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("broken", "subid_missing: no range of ci. Allocate them."),
        ("strange", "There is no user ci."),
        ("fair", ""),
        ("gone", "It stopped answering."),
    ],
)
def test_the_reason_of_a_host_is_its_errors_or_why_it_was_not_asked(host: str, reason: str) -> None:
    assert doctor_reason(FLEET[host].get("doctor", {})) == reason

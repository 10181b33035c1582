# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seccomp profile, made of the lists that two releases of Debian ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._seccomp import (
    ALLOW,
    ERRNO,
    NEEDED,
    REFUSED,
    build_profile,
)

FIXTURES = Path(__file__).parents[3] / "fixtures"
# Debian 12 and Debian 14: /usr/share/containers/seccomp.json of golang-github-containers-common.
LISTS = {version: (FIXTURES / f"containers-common-{version}" / "seccomp.json").read_text(encoding="utf-8")
         for version in ("0.50.1", "0.67.1")}
every_list = pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)


def made(text: str, machine: str = "x86_64", release: str = "7.2.12+deb14-amd64") -> dict[str, Any]:
    profile = json.loads(build_profile(text, machine, release))
    assert isinstance(profile, dict)
    return profile


def answers(profile: dict[str, Any], name: str) -> list[tuple[str, int | None]]:
    """Return all answers that the profile has for a call whatever its arguments."""
    return [(rule["action"], rule.get("errnoRet")) for rule in profile["syscalls"]
            if name in rule["names"] and not rule.get("args")]


def conditional(profile: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [rule for rule in profile["syscalls"] if name in rule["names"] and rule.get("args")]


def rule(*names: str, action: str = ALLOW, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def source(*rules: dict[str, Any], **more: Any) -> str:
    return json.dumps({"defaultAction": ERRNO, "syscalls": list(rules), **more})


@every_list
@pytest.mark.parametrize("name", [
    "bpf", "keyctl", "add_key", "request_key", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd",
    "perf_event_open",
])
def test_what_builds_do_not_need_is_refused(text: str, name: str) -> None:
    assert answers(made(text), name) == [(ERRNO, 1)]
    assert conditional(made(text), name) == []


@every_list
@pytest.mark.parametrize("name", [
    "mount", "umount", "umount2", "unshare", "setns", "pivot_root", "clone", "clone3", "open_tree", "move_mount",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "chroot", "sethostname", "setdomainname",
    "mknod", "mknodat",
])
def test_what_builds_need_is_allowed_whatever_its_arguments(text: str, name: str) -> None:
    assert answers(made(text), name) == [(ALLOW, None)]
    assert conditional(made(text), name) == []


@every_list
@pytest.mark.parametrize("name", ["init_module", "finit_module", "delete_module", "kexec_load", "open_by_handle_at",
                                  "swapon", "acct", "settimeofday", "iopl", "ioperm", "quotactl", "kcmp"])
def test_what_only_capabilities_would_allow_is_refused(text: str, name: str) -> None:
    assert answers(made(text), name) == [(ERRNO, 1)]


@every_list
@pytest.mark.parametrize("name", ["read", "openat2", "execve", "fchmodat2", "statx", "futex"])
def test_the_rest_is_the_distributions_list(text: str, name: str) -> None:
    listed = any(name in entry["names"] and entry["action"] == ALLOW for entry in json.loads(text)["syscalls"])
    assert answers(made(text), name) == ([(ALLOW, None)] if listed else [])


@every_list
@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "s390x", "riscv64", "ppc64le"])
def test_the_form_is_the_flat_one_of_the_runtime_specification(text: str, machine: str) -> None:
    profile = made(text, machine)
    assert set(profile) == {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == (ERRNO, 38)
    for entry in profile["syscalls"]:
        assert set(entry) <= {"names", "action", "errnoRet", "args"}
        assert entry["names"]
        assert entry["action"] in (ALLOW, ERRNO)
        for argument in entry.get("args", []):
            assert set(argument) == {"index", "value", "valueTwo", "op"}


@every_list
def test_no_call_has_two_answers(text: str) -> None:
    plain = [name for entry in made(text)["syscalls"] if not entry.get("args") for name in entry["names"]]
    assert len(plain) == len(set(plain))


@every_list
def test_the_order_is_always_the_same(text: str) -> None:
    shuffled = json.loads(text)
    shuffled["syscalls"].reverse()
    for entry in shuffled["syscalls"]:
        entry["names"].reverse()
    again = build_profile(json.dumps(shuffled), "x86_64", "7.2.12")
    assert again == build_profile(text, "x86_64", "7.2.12")
    assert [entry["names"] for entry in json.loads(again)["syscalls"]] == [
        sorted(entry["names"]) for entry in json.loads(again)["syscalls"]]


@every_list
def test_arguments_are_kept(text: str) -> None:
    personalities = {entry["args"][0]["value"] for entry in conditional(made(text), "personality")}
    assert personalities == {0, 8, 131072, 131080, 4294967295}
    # Without CAP_AUDIT_WRITE a program that asks for the audit system is told that there is none; useradd goes on then.
    audit = [entry for entry in conditional(made(text), "socket")
             if entry["action"] == ERRNO and len(entry["args"]) == 2]
    assert [entry["errnoRet"] for entry in audit] == [22]


class TestConditions:
    def test_architectures_are_those_of_the_machine(self) -> None:
        known = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]
        assert made(source(archMap=known))["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
        assert made(source(archMap=known), "aarch64")["architectures"] == ["SCMP_ARCH_AARCH64"]

    @pytest.mark.parametrize("condition, machine, expected", [
        ({"includes": {"arches": ["amd64"]}}, "x86_64", True),
        ({"includes": {"arches": ["amd64"]}}, "aarch64", False),
        ({"excludes": {"arches": ["arm64"]}}, "aarch64", False),
        ({"excludes": {"arches": ["arm64"]}}, "x86_64", True),
        ({"includes": {"caps": ["CAP_BPF"]}}, "x86_64", False),
        ({"excludes": {"caps": ["CAP_BPF"]}}, "x86_64", True),
        ({"includes": {"minKernel": "4.8"}}, "x86_64", True),
        ({"includes": {"minKernel": "9.1"}}, "x86_64", False),
        ({"excludes": {"minKernel": "4.8"}}, "x86_64", False),
        ({"includes": None, "excludes": {}}, "x86_64", True),
    ])
    def test_each_is_decided(self, condition: dict[str, Any], machine: str, expected: bool) -> None:
        profile = made(source(rule("ptrace", **condition)), machine)
        assert bool(answers(profile, "ptrace")) is expected

    def test_refusals_win_against_the_list_but_not_against_needs(self) -> None:
        text = source(rule("acct", "setns"), rule("acct", "setns", action=ERRNO, errnoRet=1))
        assert answers(made(text), "acct") == [(ERRNO, 1)]
        assert answers(made(text), "setns") == [(ALLOW, None)]

    def test_another_errno_stays(self) -> None:
        assert answers(made(source(rule("nice", action=ERRNO, errnoRet=38))), "nice") == [(ERRNO, 38)]


@pytest.mark.parametrize("text, machine, why", [
    ("not json", "x86_64", "not understood"),
    ("[]", "x86_64", "not understood"),
    ("{}", "x86_64", "it has no 'syscalls'"),
    (source(rule("x", action="SCMP_ACT_TRAP")), "x86_64", "SCMP_ACT_TRAP"),
    (source(rule("x", includes={"moon": "full", "caps": [], "arches": [], "minKernel": ""})), "x86_64", "moon"),
    (source(), "vax", "There is no seccomp profile for the machine vax"),
])
def test_what_is_not_understood_is_said(text: str, machine: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        build_profile(text, machine, "6.1.0")


def test_each_call_has_a_reason_and_one_side() -> None:
    assert not set(NEEDED) & set(REFUSED)
    assert all({**NEEDED, **REFUSED}.values())

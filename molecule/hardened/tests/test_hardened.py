# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardened host is still hardened after the roles have been there, but for what builds need."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.machines import addresses, as_builder

testinfra_hosts = addresses("builders")


def setting(host: Host, name: str) -> str:
    return str(host.check_output(f"sysctl --values {name}")).strip()


def test_the_one_setting_that_forbids_builds_is_lifted(host: Host) -> None:
    assert setting(host, "kernel.unprivileged_userns_clone") == "1"


def test_the_others_stay(host: Host) -> None:
    kept = {"kernel.unprivileged_bpf_disabled": "1", "kernel.kptr_restrict": "2", "kernel.yama.ptrace_scope": "2",
            "net.ipv4.ip_forward": "0"}  # fmt: skip
    assert {name: setting(host, name) for name in kept} == kept


@pytest.mark.parametrize("place", ["/home", "/tmp", "/var/tmp", "/dev/shm"])
def test_homes_and_temporary_files_stay_closed(host: Host, place: str) -> None:
    options = host.check_output(f"findmnt --noheadings --output OPTIONS {place}").split(",")
    assert {"nosuid", "noexec", "nodev"} <= set(options)


def test_new_files_stay_closed_to_others(host: Host) -> None:
    assert as_builder(host, "umask").strip() == "0027"
    assert host.check_output("sed -n 's/^UMASK\\s*//p' /etc/login.defs").strip() == "027"


def test_processes_of_others_stay_hidden(host: Host) -> None:
    options = host.check_output("findmnt --noheadings --output OPTIONS /proc")
    assert "hidepid=2" in options or "hidepid=invisible" in options


def test_id_helpers_have_capabilities_and_no_setuid_bit(host: Host) -> None:
    for name, capability in (("newuidmap", "cap_setuid"), ("newgidmap", "cap_setgid")):
        assert not int(host.check_output(f"stat --format %a /usr/bin/{name}"), 8) & 0o4000
        assert f"{capability}=ep" in host.check_output(f"getcap /usr/bin/{name}")

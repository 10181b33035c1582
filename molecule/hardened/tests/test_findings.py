# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a machine with a kernel and a systemd of its own can break: the doctor names it, its commands cure it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

import pytest
from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.machines import addresses, as_builder, doctor
from ansible_collections.rootless.buildah.tests.tools.checkout import read

testinfra_hosts = addresses("builders")

RUN_STEP = read("roles/builder/files/run-step.sh")
APT = "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends"
REMOVE = "dpkg --remove --force-depends"


@dataclass(frozen=True)
class Case:
    """What breaks a host, and what the doctor says of it."""

    finding: str
    evidence: str
    broken: str
    # What makes the host as it was where the finding's commands do not.
    repaired: str = "true"


def _other_ids(kind: str) -> Case:
    """A pause process that maps other ids than the user has now, of subuids or of subgids."""
    later = "3000000000-3000000999 builder"
    return Case(
        "pause_stale",
        "podman's pause process maps other ids than the user has now",
        f"runuser -l builder -c 'podman unshare true' && usermod --add-{kind} {later}",
        # usermod refuses for a user who has processes.
        "uid=$(id -u builder) && systemctl stop user-$uid.slice && "
        f"usermod --del-{kind} {later} && systemctl start user@$uid",
    )


CASES = {
    "a kernel without user namespaces for users": Case(
        "userns_off", "user.max_user_namespaces is 0", "sysctl -qw user.max_user_namespaces=0"),
    "a kernel that allows them to root only": Case(
        "userns_blocked", "kernel.unprivileged_userns_clone is 0", "sysctl -qw kernel.unprivileged_userns_clone=0"),
    "a network that lets no group ping": Case(
        "ping_group_range", "it is 1 to 0", "sysctl -qw 'net.ipv4.ping_group_range=1 0'"),
    "services that end with the login": Case(
        "no_linger", "builder does not linger", "loginctl disable-linger builder"),
    "services that were stopped": Case(
        "no_linger", "builder lingers, and its service manager does not run",
        "uid=$(id -u builder) && systemctl stop user-$uid.slice && "
        "timeout 60 sh -c \"while test -e /run/user/$uid; do sleep 1; done\""),
    "no pasta": Case("network_helper", "pasta, which this buildah uses, is not in PATH", f"{REMOVE} passt"),
    # As without role crun: no containers.conf names a default.
    "runc alone": Case(
        "crun_missing", "is all there is",
        f"{APT} runc && {REMOVE} crun && mkdir /root/aside && mv /etc/containers/containers.conf* /root/aside",
        "mv /root/aside/* /etc/containers && rmdir /root/aside && apt-get purge -qq runc"),
    "a pause process with the uids of yesterday": _other_ids("subuids"),
    "a pause process with the gids of yesterday": _other_ids("subgids"),
}  # fmt: skip


def ids(found: Mapping[str, Any]) -> set[str]:
    return {finding["id"] for finding in found["findings"]}


@pytest.mark.parametrize("name", CASES)
def test_it_is_named_and_its_commands_cure_it(host: Host, name: str) -> None:
    case = CASES[name]
    host.check_output(case.broken)
    try:
        found = doctor(host)
        assert ids(found) == {case.finding}
        (finding,) = found["findings"]
        assert case.evidence in finding["evidence"]
        for command in finding["commands"]:
            host.check_output(f"cd /root && {command}")
        assert ids(doctor(host)) == set()
        as_builder(host, f"set -- configured\n{RUN_STEP}")
    finally:
        host.check_output(case.repaired)
        # What the role has set is to hold by itself after the reboot.
        host.check_output("rm -f /etc/sysctl.d/zz-builder-*.conf")

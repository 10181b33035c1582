# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a machine with a kernel and a systemd of its own can break: the doctor names it, its commands cure it."""

from __future__ import annotations

from typing import Any, Mapping

import pytest
from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.machines import addresses, as_builder, doctor
from ansible_collections.rootless.buildah.tests.tools.checkout import read

testinfra_hosts = addresses("builders")

RUN_STEP = read("roles/builder/files/run-step.sh")
APT = "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends"
REMOVE = "dpkg --remove --force-depends"

# Which finding, what breaks the host, and what makes it as it was where the finding's commands do not.
CASES = {
    "a kernel without user namespaces for users": ("userns_off", "sysctl -qw user.max_user_namespaces=0", "true"),
    "a kernel that allows them to root only": (
        "userns_blocked", "sysctl -qw kernel.unprivileged_userns_clone=0", "true"),
    "a network that lets no group ping": ("ping_group_range", "sysctl -qw 'net.ipv4.ping_group_range=1 0'", "true"),
    "services that end with the login": ("no_linger", "loginctl disable-linger builder", "true"),
    "no pasta": ("network_helper", f"{REMOVE} passt", "true"),
    # As without role crun: no containers.conf names a default.
    "runc alone": (
        "crun_missing",
        f"{APT} runc && {REMOVE} crun && mkdir /root/aside && mv /etc/containers/containers.conf* /root/aside",
        "mv /root/aside/* /etc/containers && rmdir /root/aside && apt-get purge -qq runc"),
    "a pause process with the ids of yesterday": (
        "pause_stale",
        "runuser -l builder -c 'podman unshare true' && usermod --add-subuids 3000000000-3000000999 builder",
        ("uid=$(id -u builder) && systemctl stop user-$uid.slice && "
         "usermod --del-subuids 3000000000-3000000999 builder && systemctl start user@$uid")),
}  # fmt: skip


def ids(found: Mapping[str, Any]) -> set[str]:
    return {finding["id"] for finding in found["findings"]}


@pytest.mark.parametrize("case", CASES)
def test_it_is_named_and_its_commands_cure_it(host: Host, case: str) -> None:
    name, broken, repaired = CASES[case]
    host.check_output(broken)
    try:
        found = doctor(host)
        assert ids(found) == {name}
        (finding,) = found["findings"]
        for command in finding["commands"]:
            host.check_output(f"cd /root && {command}")
        assert ids(doctor(host)) == set()
        as_builder(host, f"set -- configured\n{RUN_STEP}")
    finally:
        host.check_output(repaired)
        # What the role has set is to hold by itself after the reboot.
        host.check_output("rm -f /etc/sysctl.d/zz-builder-*.conf")

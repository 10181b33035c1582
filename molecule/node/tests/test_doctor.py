# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on hosts where everything is right."""

from __future__ import annotations

from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.machines import addresses, doctor

testinfra_hosts = addresses("builders")


def test_it_finds_nothing(host: Host) -> None:
    found = doctor(host)
    assert (found["state"], found["findings"]) == ("ready", [])

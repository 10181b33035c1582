# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""managed_packages with the real dnf and rpm. The machine is a Debian that is told to be of the RHEL family, and its
packages are made here: there is nothing in them but what depends on what.
"""

from __future__ import annotations

from typing import Any, Iterator

import pytest
import yaml

from ansible_collections.rootless.buildah.tests.demo.machine import Machine
from ansible_collections.rootless.buildah.tests.integration.test_roles import Host, Outcome, make_base

pytestmark = pytest.mark.long

# Requires and recommends; rpm's words.
PACKAGES = {
    "rbtool": ["Requires: rblib", "Recommends: rbextra"],
    "rblib": [],
    "rbextra": [],
    "rbolder": [],
}
SPEC = """\
Name: {name}
Version: 1
Release: 1
Summary: nothing
License: none
BuildArch: noarch
{relations}
%description
Nothing.
%files
"""
REPOSITORY = "[ours]\nname=ours\nbaseurl=file:///srv/repository\ngpgcheck=0\n"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    archive = tmp_path_factory.mktemp("base") / "dnf.tar"
    with Machine(make_base(archive, ["python3", "dnf", "rpm", "createrepo-c", "iproute2"]), systemd=False) as machine:
        host = Host(machine)
        for name, relations in PACKAGES.items():
            host.write(f"/srv/specs/{name}.spec", SPEC.format(name=name, relations="\n".join(relations)))
        host.write("/etc/yum.repos.d/ours.repo", REPOSITORY)
        host.sh("rpmbuild -bb --quiet --define '_rpmdir /srv/repository' /srv/specs/*.spec")
        host.sh("createrepo_c /srv/repository")
        # Somebody else's package, which came as a dependency of something that is gone.
        host.sh("dnf --assumeyes install rbolder; dnf mark remove rbolder")
        yield host


def packages(host: Host, *arguments: str, **options: Any) -> Outcome:
    place = host.machine.place / "packages.yml"
    tasks = [
        {"ansible.builtin.set_fact": {"os_family": "RedHat", "cacheable": True}},
        {"rootless.buildah.managed_packages": {"role": "ours", **options}},
    ]
    place.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    return host.ansible(str(place), host.inventory(["all"]), {}, *arguments)


def ours(host: Host) -> list[str]:
    return sorted(host.sh("rpm -qa --qf '%{NAME}\\n'").split())


def test_what_is_missing_comes_once_and_goes_again(host: Host) -> None:
    assert packages(host, "--check", names=["rbtool"]).changed == 1
    assert ours(host) == ["rbolder"]
    assert packages(host, names=["rbtool"]).changed == 1
    assert ours(host) == ["rblib", "rbolder", "rbtool"]
    assert packages(host, names=["rbtool"]).changed == 0
    assert packages(host, "--check", state="absent").changed == 1
    assert packages(host, state="absent").changed == 1
    # rbolder is superfluous to dnf, but it is not ours.
    assert ours(host) == ["rbolder"]
    assert packages(host, state="absent").changed == 0


def test_recommended_packages_come_when_asked_for(host: Host) -> None:
    assert packages(host, names=["rbtool"], install_recommends=True).changed == 1
    assert "rbextra" in ours(host)
    assert packages(host, state="absent").changed == 1
    assert ours(host) == ["rbolder"]


def test_a_package_that_there_is_not_is_named(host: Host) -> None:
    failed = packages(host, names=["rbnowhere"])
    assert failed.count("failed") == 1
    assert "dnf failed: " in failed.words
    assert "No match for argument: rbnowhere" in failed.words


def test_a_host_without_dnf_is_told_that_it_is_too_old(host: Host) -> None:
    host.sh("mv /usr/bin/dnf /usr/bin/dnf.away")
    try:
        failed = packages(host, names=["rbtool"])
    finally:
        host.sh("mv /usr/bin/dnf.away /usr/bin/dnf")
    assert failed.count("failed") == 1
    assert "This host has no dnf, as RHEL 7 and older." in failed.words

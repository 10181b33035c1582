# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""managed_packages with the real dnf and rpm, and with the real apt and dpkg. The machine is a Debian, which is told to
be of the RHEL family for the former, and its packages are made here: there is nothing in them but what depends on what.
"""

from __future__ import annotations

import json
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
    "rbbuild": ["Requires: rbruntime", "Requires: rbshell"],
    "rbruntime": ["Provides: rbcap = 3", "Requires: rbbase"],
    "rbbase": [],
    "rbshell": [],
    # Somebody else's.
    "rbuser": ["Requires: rbcap >= 2"],
    "rbchooser": ["Requires: (rbshell or rbother)"],
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
# The same for apt, as far as both are asked the same.
DEBS = {
    "rbbuild": "Depends: rbruntime, rbshell",
    "rbruntime": "Provides: rbcap (= 3)\nDepends: rbbase",
    "rbbase": "Section: misc",
    "rbshell": "Section: misc",
    "rbuser": "Depends: rbcap (>= 2)",
    "rbchooser": "Depends: rbother | rbshell",
}
DEB = """\
Package: {name}
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: nothing
{relations}
"""
# What apt's own programs for it would print, which Debian has in packages of their own.
INDEX = """\
cd /srv/debs
for name in */; do
    dpkg-deb --build "${name%/}" >&2
    dpkg-deb --field "${name%/}.deb"
    printf 'Filename: ./%s\\nSize: %s\\nSHA256: ' "${name%/}.deb" "$(stat -c %s "${name%/}.deb")"
    sha256sum "${name%/}.deb" | cut -d ' ' -f 1
    echo
done > Packages
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/debs ./' > /etc/apt/sources.list
"""
# How others install and remove, and how it is asked what there is.
BY_HAND = {
    "Debian": (
        "apt-get -q -y install", "apt-get -q -y remove",
        "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | sed -n 's/^installed rb/rb/p'"),
    "RedHat": (
        "dnf --assumeyes install", "dnf --assumeyes --setopt=clean_requirements_on_remove=0 remove",
        "rpm -qa --qf '%{NAME}\\n'"),
}  # fmt: skip
REPOSITORY = "[ours]\nname=ours\nbaseurl=file:///srv/repository\ngpgcheck=0\n"
HAS = ["python3", "python3-apt", "dnf", "rpm", "createrepo-c", "iproute2"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    archive = tmp_path_factory.mktemp("base") / "dnf.tar"
    with Machine(make_base(archive, HAS), systemd=False) as machine:
        host = Host(machine)
        for name, relations in PACKAGES.items():
            host.write(f"/srv/specs/{name}.spec", SPEC.format(name=name, relations="\n".join(relations)))
        host.write("/etc/yum.repos.d/ours.repo", REPOSITORY)
        host.sh("rpmbuild -bb --quiet --define '_rpmdir /srv/repository' /srv/specs/*.spec")
        host.sh("createrepo_c /srv/repository")
        # Somebody else's package, which came as a dependency of something that is gone.
        host.sh("dnf --assumeyes install rbolder; dnf mark remove rbolder")
        for name, relation in DEBS.items():
            host.write(f"/srv/debs/{name}/DEBIAN/control", DEB.format(name=name, relations=relation))
        host.sh(INDEX)
        yield host


def packages(host: Host, *arguments: str, family: str = "RedHat", **options: Any) -> Outcome:
    place = host.machine.place / "packages.yml"
    tasks = [
        {"ansible.builtin.set_fact": {"os_family": family, "cacheable": True}},
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


@pytest.mark.parametrize("family", BY_HAND)
def test_what_somebody_elses_packages_need_stays_until_they_are_gone(host: Host, family: str) -> None:
    install, remove, ask = BY_HAND[family]

    def there() -> list[str]:
        return sorted(set(host.sh(ask).split()) - {"rbolder"})

    assert packages(host, family=family, names=["rbbuild"]).changed == 1
    host.sh(f"{install} rbuser rbchooser")
    for arguments in (["--check"], []):
        done = packages(host, *arguments, family=family, state="absent")
        assert done.changed == 1
        assert "Other packages need rbbase, rbruntime, rbshell by now" in done.words
    # rbruntime is needed, and needs rbbase.
    assert there() == ["rbbase", "rbchooser", "rbruntime", "rbshell", "rbuser"]
    again = packages(host, family=family, state="absent")
    assert again.changed == 0
    assert "Other packages need rbbase, rbruntime, rbshell by now" in again.words
    # What stayed is still known to be ours.
    host.sh(f"{remove} rbuser rbchooser")
    last = packages(host, family=family, state="absent")
    assert last.changed == 1
    assert "Other packages need" not in last.words
    assert there() == []
    assert packages(host, family=family, state="absent").changed == 0


def test_a_role_that_forgets_all_else_knows_what_stayed(host: Host) -> None:
    install, remove, _ask = BY_HAND["Debian"]
    note = "/var/lib/rootless-buildah/build_registry.json"
    assert packages(host, family="Debian", role="build_registry", names=["rbbuild"]).changed == 1
    host.sh(f"{install} rbuser")
    purge = {"build_registry_purge": True}
    done = host.away("build_registry", purge)
    assert done.changed > 0
    assert "Other packages need rbbase, rbruntime by now" in done.words
    assert json.loads(host.run(["cat", note])) == {"note:packages": ["rbbase", "rbruntime"]}
    host.sh(f"{remove} rbuser")
    assert host.away("build_registry", purge).changed > 0
    assert host.run(["ls", note], check=False).startswith("ls: ")


def test_packages_that_were_left_go_when_it_is_asked_for_later(host: Host) -> None:
    _install, _remove, ask = BY_HAND["Debian"]
    assert packages(host, family="Debian", role="build_registry", names=["rbbuild"]).changed == 1
    there = host.sh(ask)
    assert "rbbuild" in there
    host.away("build_registry")
    assert host.sh(ask) == there
    assert host.away("build_registry", {"build_registry_purge": True}).changed > 0
    assert "rbbuild" not in host.sh(ask)


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

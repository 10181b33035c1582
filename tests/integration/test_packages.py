# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""managed_packages with the real dnf and rpm, and with the real apt and dpkg. The machine is a Debian, which is told to
be of the RHEL family for the former, and its packages are made here: there is nothing in them but what depends on what.
"""

from __future__ import annotations

import concurrent.futures
import functools
import json
import os
import signal
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import yaml

from ansible_collections.rootless.buildah.tests.demo.machine import Machine
from ansible_collections.rootless.buildah.tests.integration.test_roles import Host, Outcome, make_base
from ansible_collections.rootless.buildah.tests.tools.waiting import until

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
    # No package of the Debian provides the shell that its script needs.
    "rbslow": ["Requires: rbruntime", "Provides: /bin/sh"],
    # Somebody else's.
    "rbuser": ["Requires: rbcap >= 2"],
    "rbchooser": ["Requires: (rbshell or rbother)"],
    "rbother": [],
    "rbstranger": ["Requires: rbstrange", "Requires: rbbase"],
    "rbstrange": [],
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
{scripts}
%files
"""
# The same for apt, as far as both are asked the same.
DEBS = {
    "rbbuild": "Depends: rbruntime, rbshell",
    "rbruntime": "Provides: rbcap (= 3)\nDepends: rbbase",
    "rbbase": "Section: misc",
    "rbshell": "Section: misc",
    "rbslow": "Depends: rbruntime",
    "rbuser": "Depends: rbcap (>= 2)",
    "rbchooser": "Depends: rbother | rbshell",
    "rbother": "Section: misc",
    "rbstranger": "Depends: rbstrange, rbbase",
    "rbstrange": "Section: misc",
}
DEB = """\
Package: {name}
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: nothing
{relations}
"""
# What rbslow does while it is installed: a test is told, and may hold it up.
SLOW = """\
echo > /srv/begun
while [ -e /srv/hold ]; do sleep 0.1; done
"""
# Takes the place of what stands in for ssh. When it is killed nobody hears any more what the machine says; what runs
# there does not notice.
LOST = """\
#!/bin/sh
{ssh} "$@" 2> /dev/null | sed -u "#$0"
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
apt-get -q update
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
            scripts = f"%post\n{SLOW}" if name == "rbslow" else ""
            spec = SPEC.format(name=name, relations="\n".join(relations), scripts=scripts)
            host.write(f"/srv/specs/{name}.spec", spec)
        host.write("/etc/yum.repos.d/ours.repo", REPOSITORY)
        host.sh("rpmbuild -bb --quiet --define '_rpmdir /srv/repository' /srv/specs/*.spec")
        host.sh("createrepo_c /srv/repository")
        # Somebody else's package, which came as a dependency of something that is gone.
        host.sh("dnf --assumeyes install rbolder; dnf mark remove rbolder")
        for name, relation in DEBS.items():
            host.write(f"/srv/debs/{name}/DEBIAN/control", DEB.format(name=name, relations=relation))
        host.write("/srv/debs/rbslow/DEBIAN/postinst", f"#!/bin/sh\n{SLOW}", 0o755)
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


def there(host: Host, family: str) -> list[str]:
    """The packages of this test that are installed by now."""
    return sorted(set(host.sh(BY_HAND[family][2]).split()) - {"rbolder"})


def here(word: str) -> list[int]:
    """The processes beside the machine, not in it, whose command line has a word."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if word in words and os.readlink(place / "ns/pid") == os.readlink("/proc/self/ns/pid"):
                found.append(int(place.name))
        except OSError:
            # It has ended.
            continue
    return found


def cut_off(host: Host, run: Callable[[], Outcome], *words: str) -> Outcome:
    """Kill processes of a run, by words of their command lines, while it installs rbslow. That comes to its end."""
    host.sh("rm -f /srv/begun; touch /srv/hold")

    def killed() -> bool:
        found = {pid for word in words for pid in here(word)}
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return not found

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        going = pool.submit(run)
        try:
            until(lambda: going.done() or "begun" in host.run(["ls", "/srv"]), 120, "rbslow is not installed")
            assert not going.done(), going.result().output
            until(killed)
        finally:
            host.sh("rm -f /srv/hold")
    managers = "grep -lxE 'apt-get|dpkg|dnf|python3' /proc/[0-9]*/comm 2>/dev/null || :"
    until(lambda: not host.sh(managers), 60, "the package manager does not come to its end")
    return going.result()


def note(host: Host, role: str) -> Any:
    """What is noted for a role."""
    text = host.run(["cat", f"/var/lib/rootless-buildah/{role}.json"], check=False)
    return json.loads(text) if text.startswith("{") else text


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
    install, remove, _ask = BY_HAND[family]
    assert packages(host, family=family, names=["rbbuild"]).changed == 1
    host.sh(f"{install} rbuser rbchooser")
    for arguments in (["--check"], []):
        done = packages(host, *arguments, family=family, state="absent")
        assert done.changed == 1
        assert "Other packages need rbbase, rbruntime, rbshell by now" in done.words
    # rbruntime is needed, and needs rbbase.
    assert there(host, family) == ["rbbase", "rbchooser", "rbruntime", "rbshell", "rbuser"]
    again = packages(host, family=family, state="absent")
    assert again.changed == 0
    assert "Other packages need rbbase, rbruntime, rbshell by now" in again.words
    # What stayed is still known to be ours.
    host.sh(f"{remove} rbuser rbchooser")
    last = packages(host, family=family, state="absent")
    assert last.changed == 1
    assert "Other packages need" not in last.words
    assert there(host, family) == []
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


@pytest.mark.parametrize("family", BY_HAND)
def test_a_run_that_is_cut_off_while_packages_come_forgets_none(host: Host, family: str) -> None:
    install, remove, _ask = BY_HAND[family]
    host.sh(f"{install} rbchooser rbshell")
    # Ansible with its workers, and what stands in for ssh.
    playbook, connection = str(host.machine.place / "packages.yml"), f"--target={host.machine.init}"
    run = functools.partial(packages, host, family=family, names=["rbslow"])
    killed = cut_off(host, run, playbook, connection)
    assert killed.status == -signal.SIGKILL
    # Before anybody reckons somebody else brings more. rbchooser, which was there, needs rbother then.
    host.sh(f"{install} rbstranger rbother; {remove} rbshell")
    left = note(host, "ours")
    assert packages(host, "--check", family=family, names=["rbslow"]).changed == 0
    assert packages(host, "--check", family=family, state="absent").changed == 1
    assert note(host, "ours") == left
    assert packages(host, family=family, names=["rbslow"]).changed == 0
    assert note(host, "ours") == {"note:packages": ["rbbase", "rbruntime", "rbslow"]}
    gone = packages(host, family=family, state="absent")
    assert gone.changed == 1
    assert "Other packages need rbbase by now" in gone.words
    others = ["rbchooser", "rbother", "rbstrange", "rbstranger"]
    assert there(host, family) == ["rbbase", *others]
    host.sh(f"{remove} {' '.join(others)}")
    assert packages(host, family=family, state="absent").changed == 1
    assert there(host, family) == []
    assert note(host, "ours").startswith("cat: ")


def test_packages_come_to_light_again_whose_run_lost_its_connection(host: Host) -> None:
    purge = {"build_registry_purge": True}
    assert packages(host, family="Debian", role="build_registry", names=["rbshell"]).changed == 1
    connection = host.machine.place / "lost-ssh"
    connection.write_text(LOST.format(ssh=host.variables["ansible_ssh_executable"]), encoding="ascii")
    connection.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(host.variables, "ansible_ssh_executable", str(connection))
        run = functools.partial(packages, host, family="Debian", role="build_registry", names=["rbslow"])
        failed = cut_off(host, run, str(connection), f"#{connection}")
    assert failed.count("failed") == 1
    assert there(host, "Debian") == ["rbbase", "rbruntime", "rbshell", "rbslow"]
    # The role forgets all else, and no later run of it installs anything.
    host.away("build_registry")
    assert there(host, "Debian") == ["rbbase", "rbruntime", "rbshell", "rbslow"]
    assert host.away("build_registry", purge).changed > 0
    assert there(host, "Debian") == []
    assert note(host, "build_registry").startswith("cat: ")


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


def test_a_family_that_is_not_known_is_no_matter_where_there_is_nothing_to_do(host: Host) -> None:
    failed = packages(host, family="Suse", names=["rbtool"])
    assert failed.count("failed") == 1
    assert "not on 'Suse'. " in failed.words
    assert "install them yourself and give empty lists of packages." in failed.words
    assert packages(host, family="Suse", names=[]).changed == 0
    assert packages(host, family="Suse", state="absent").changed == 0

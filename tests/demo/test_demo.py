# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo` on machines that never saw the project: it works, changes nothing the second time, can be taken back.

The tests of a class run in the order in which they stand here, on one machine, as a newcomer would go on.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.rootless.buildah.tests.demo.machine import Machine, give_checkout, make_base

HERE = Path(__file__).parent
State = dict[str, dict[str, str]]
# Installing the package alone starts it, on all addresses and without a password; the role leaves it stopped.
STOPPED = "docker-registry.service"
NO_MORE = ["--no-install-recommends"]
NOTES = "/var/lib/rootless-buildah"
# What Debian's packages leave when they are purged: their accounts, and a log.
OF_PACKAGES = {"/etc/group", "/etc/gshadow", "/etc/passwd", "/etc/shadow", "/var/log/alternatives.log"}


@pytest.fixture(scope="session")
def bookworm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base("bookworm", tmp_path_factory.mktemp("base") / "bookworm.tar")


@pytest.fixture(scope="session")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base("trixie", tmp_path_factory.mktemp("base") / "trixie.tar")


def look(machine: Machine) -> State:
    state = json.loads(machine.run(["python3", "-"], stdin=(HERE / "state.py").read_text(encoding="utf-8")))
    assert isinstance(state, dict)
    return state


def recap(output: str) -> dict[str, int]:
    lines = re.findall(r"^localhost +: (ok=.*)$", output, re.MULTILINE)
    assert lines, output[-3000:]
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", lines[-1])}


def images(output: str) -> tuple[int, int]:
    found = re.search(r"localhost +yes +(\d+) built, (\d+) unchanged", output)
    assert found, output[-3000:]
    return int(found.group(1)), int(found.group(2))


def differences(before: State, after: State) -> list[str]:
    """Return how two states differ, a line for each difference."""
    found = []
    for part in before:
        for name in sorted(set(before[part]) | set(after[part])):
            was, now = before[part].get(name, "absent"), after[part].get(name, "absent")
            if was != now:
                found.append(f"{part}: {name}: {was} -> {now}")
    return found


class Journey:
    """What the tests of one machine hand to the next."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.before: State = {}
        self.first = ""
        self.first_seconds = 0.0
        self.second = ""
        self.second_seconds = 0.0


def timed(machine: Machine, argv: list[str], user: str, cwd: str) -> tuple[str, float]:
    started = time.monotonic()
    return machine.run(argv, user=user, cwd=cwd), time.monotonic() - started


class TestAsRootWithSystemd:
    """Debian 12, systemd, root, from a checkout."""

    @pytest.fixture(scope="class")
    @classmethod
    def journey(cls, bookworm: Path) -> Iterator[Journey]:
        with Machine(bookworm, systemd=True) as machine:
            give_checkout(machine, "/srv/project", "root")
            yield Journey(machine)

    def test_make_shows_what_there_is(self, journey: Journey) -> None:
        assert "make demo" in journey.machine.run(["make"], cwd="/srv/project")

    def test_check_mode_predicts_the_first_run_and_leaves_the_machine_bare(self, journey: Journey) -> None:
        # The virtual environment and the package that it needs are the toolchain's, and not the demo's to take back.
        journey.machine.run(["make", ".venv-run"], cwd="/srv/project")
        journey.before = look(journey.machine)
        output = journey.machine.run(["make", "demo", "ARGS=--check"], cwd="/srv/project")
        assert recap(output)["failed"] == 0, output
        built, unchanged = images(output)
        assert built >= 3
        assert unchanged == 0
        assert differences(journey.before, look(journey.machine)) == []

    def test_the_demo_builds_and_pushes(self, journey: Journey) -> None:
        journey.first, journey.first_seconds = timed(journey.machine, ["make", "demo"], "root", "/srv/project")
        built, unchanged = images(journey.first)
        assert built >= 3
        assert unchanged == 0
        assert recap(journey.first)["failed"] == 0

    def test_the_registry_listens_on_loopback_only(self, journey: Journey) -> None:
        heard = journey.machine.run(["ss", "-H", "-l", "-n", "-t"])
        addresses = {line.split()[3] for line in heard.splitlines() if line.split()[3].endswith(":5000")}
        assert addresses == {"127.0.0.1:5000"}

    def test_the_registry_wants_a_password(self, journey: Journey) -> None:
        ask = "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/v2/_catalog')"
        assert "401" in journey.machine.run(["python3", "-c", ask], check=False)

    def test_the_second_run_changes_nothing_and_is_fast(self, journey: Journey) -> None:
        journey.second, journey.second_seconds = timed(journey.machine, ["make", "demo"], "root", "/srv/project")
        assert recap(journey.second)["changed"] == 0, journey.second
        built, unchanged = images(journey.second)
        assert built == 0
        assert unchanged == images(journey.first)[0]
        assert journey.second_seconds < journey.first_seconds

    def test_check_mode_agrees(self, journey: Journey) -> None:
        output = journey.machine.run(["make", "demo", "ARGS=--check --diff"], cwd="/srv/project")
        assert recap(output)["changed"] == 0, output
        assert recap(output)["failed"] == 0

    def test_a_host_with_an_error_of_the_doctors_builds_nothing(self, journey: Journey) -> None:
        machine = journey.machine
        first = int(machine.run(["sed", "-n", "s/^builder:\\([0-9]*\\):.*/\\1/p", "/etc/subuid"]))
        # Images are built none the worse for it, so no role notices.
        machine.run(["useradd", "--system", "--no-create-home", f"--uid={first + 7}", "covered"])
        try:
            output = machine.run(["make", "demo"], cwd="/srv/project", check=False)
        finally:
            machine.run(["userdel", "covered"])
        assert re.search(r"localhost +NO +- ", output), output[-3000:]
        reason = re.search(r"localhost: (subid_covers_account: .*)", output)
        assert reason, output[-3000:]
        assert "covered" in reason.group(1)
        assert "usermod --del-subuids" in reason.group(1)
        assert "Ask what is due" not in output
        assert recap(output)["failed"] == 1

    def test_taking_it_back_leaves_the_packages_and_the_note_of_them(self, journey: Journey, bookworm: Path) -> None:
        journey.machine.run(["make", "undemo"], cwd="/srv/project")
        after = look(journey.machine)
        new = sorted(set(after["packages"]) - set(journey.before["packages"]))
        # The same machine, on which somebody has installed just these packages by hand.
        with Machine(bookworm, systemd=True) as other:
            give_checkout(other, "/srv/project", "root")
            other.run(["make", ".venv-run"], cwd="/srv/project")
            other.run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-q", "-y", *NO_MORE, *new])
            other.run(["systemctl", "disable", "--now", STOPPED])
            # What a package's script did as another user lingers for seconds.
            other.run(["timeout", "60", "sh", "-c", 'while [ -n "$(ls /run/user)" ]; do sleep 1; done'])
            expected = look(other)
        rest = differences(expected, after)
        assert rest == [f"places: {NOTES}: absent -> present"], "\n".join(rest)
        notes = journey.machine.run(["sh", "-c", f"for f in {NOTES}/*; do tr -d '\\n' < $f; echo; done"])
        assert {key for note in notes.splitlines() for key in json.loads(note)} == {"note:packages"}, notes

    def test_taking_it_back_again_changes_nothing(self, journey: Journey) -> None:
        output = journey.machine.run(["make", "undemo"], cwd="/srv/project")
        assert recap(output)["changed"] == 0, output

    def test_the_packages_go_when_that_is_asked_for(self, journey: Journey) -> None:
        journey.machine.run(["make", "undemo", "ARGS=-e teardown_packages=true"], cwd="/srv/project")
        rest = differences(journey.before, look(journey.machine))
        assert [line for line in rest if line.split(": ")[1] not in OF_PACKAGES] == [], "\n".join(rest)


class TestAsUserWithoutSystemd:
    """Debian 13, no systemd, a user with sudo; first from the published tarball, then from a checkout."""

    @pytest.fixture(scope="class")
    @classmethod
    def journey(cls, trixie: Path) -> Iterator[Journey]:
        with Machine(trixie, systemd=False) as machine:
            machine.run(["useradd", "--create-home", "--shell", "/bin/bash", "newcomer"])
            (machine.root / "etc/sudoers.d/newcomer").write_text("newcomer ALL=(ALL) NOPASSWD: ALL\n", encoding="ascii")
            machine.run(["chmod", "0440", "/etc/sudoers.d/newcomer"])
            give_checkout(machine, "/home/newcomer/project", "newcomer")
            yield Journey(machine)

    def test_the_tarball_is_enough(self, journey: Journey) -> None:
        machine, project = journey.machine, "/home/newcomer/project"
        machine.run(["make", ".venv-run"], user="newcomer", cwd=project)
        script = f"""
            set -eu
            PATH={project}/.venv/bin:$PATH
            export ANSIBLE_COLLECTIONS_PATH=$HOME/collections LC_ALL=C.UTF-8
            ansible-galaxy collection build --output-path "$HOME/built" {project}
            ansible-galaxy collection install --offline -p "$HOME/collections" "$HOME"/built/*.tar.gz
            chmod 0755 "$HOME"
            cd "$HOME"
            # As many inventories say it. It must not reach what the builder user does.
            printf '[all:vars]\nansible_become=true\nansible_become_user=root\n' > become.ini
            ansible-playbook rootless.buildah.site -i become.ini \
                -i "$HOME/collections/ansible_collections/rootless/buildah/examples/localhost"
        """
        journey.first, journey.first_seconds = timed(machine, ["bash", "-c", script], "newcomer", "/home/newcomer")
        assert images(journey.first)[0] >= 3

    def test_the_checkout_then_finds_nothing_to_do(self, journey: Journey) -> None:
        output = journey.machine.run(["make", "demo"], user="newcomer", cwd="/home/newcomer/project")
        assert recap(output)["changed"] == 0, output
        assert images(output) == (0, images(journey.first)[0])

    def test_taking_it_back_leaves_no_process_and_no_user(self, journey: Journey) -> None:
        journey.machine.run(["make", "undemo"], user="newcomer", cwd="/home/newcomer/project")
        state = look(journey.machine)
        assert state["listeners"] == {}
        assert [name for name in state["processes"] if "sleep" not in name and "bash" not in name] == []
        assert journey.machine.run(["getent", "passwd", "builder"], check=False) == ""

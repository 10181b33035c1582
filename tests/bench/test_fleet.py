# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the second run of site.yml grows with the number of hosts: many inventory names, all of them one machine.

The names share the machine's cores with each other and with the controller, as hosts of a fleet do not. So beside the
time stands the processor time: of everything, and of the controller's main process, through which every result goes.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Iterator

import pytest

from ansible_collections.rootless.buildah.tests.bench.ratios import Row, Table
from ansible_collections.rootless.buildah.tests.demo.machine import Machine, give_checkout, make_base

# Pairs of names and forks; the first is what the others are compared with.
RUNS = [(1, 5), (10, 5), (50, 10)]
AIM = 1.3
PROJECT = "/srv/project"
# Prints seconds, processor seconds of everything and those of the main process without its children.
TIMED = r"""
set -eu
export PATH=$PWD/.venv/bin:$PATH ANSIBLE_HOME=$PWD/.ansible ANSIBLE_COLLECTIONS_PATH=$PWD/.ansible/collections
export LC_ALL=C.UTF-8
begun=$EPOCHREALTIME
ansible-playbook "$@" >/tmp/fleet.log 2>&1 &
main=$!
while stat=$(cat /proc/$main/stat) && [[ $stat != *') Z '* ]]; do
    last=$stat
    sleep 0.5
done 2>/dev/null
wait $main && status=0 || status=$?
ended=$EPOCHREALTIME
# Not in a pipe: that is another shell, with other children.
times >/tmp/fleet.times
tail -n 1 /tmp/fleet.times
echo "main ${last##*) }"
echo "seconds $begun $ended status $status"
tail -n 80 /tmp/fleet.log
"""


@dataclass(frozen=True)
class Run:
    """One run; seconds."""

    wall: float
    everything: float
    main: float
    tasks: int


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that site.yml has already made a builder with a registry and an image."""
    base = make_base("bookworm", tmp_path_factory.mktemp("base") / "bookworm.tar")
    with Machine(base, systemd=True) as machine:
        give_checkout(machine, PROJECT, "root")
        machine.run(["make", ".venv-run"], cwd=PROJECT)
        site(machine, 1, 5)
        yield machine


def site(machine: Machine, names: int, forks: int) -> str:
    """Run site.yml on the machine under many names; return the output of the script above."""
    hosts: dict[str, dict[str, str]] = {f"builder{number:02}": {} for number in range(names)}
    image = {"name": "127.0.0.1:5000/bench/fleet:1", "containerfile_content": "FROM scratch\nLABEL a=b\n", "push": True}
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "/usr/bin/python3",
        "build_images_images": [image],
        "builder_user": "builder",
    }
    groups = {"builders": {"hosts": hosts, "vars": variables}, "registry": {"hosts": {"builder00": {}}}}
    inventory = machine.root / "srv/fleet.yml"
    inventory.write_text(json.dumps(groups), encoding="ascii")
    arguments = ["-i", "/srv/fleet.yml", f"--forks={forks}", "playbooks/site.yml"]
    return machine.run(["bash", "-c", TIMED, "timed", *arguments], cwd=PROJECT, minutes=60)


def second_run(machine: Machine, names: int, forks: int) -> Run:
    """Run site.yml where there is nothing left to do."""
    output = site(machine, names, forks)
    recap = r"^builder\d+ +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)"
    recaps = re.findall(recap, output, re.MULTILINE)
    assert len(recaps) == names, output[-3000:]
    assert all(numbers[1:] == ("0", "0", "0") for numbers in recaps), output[-3000:]
    children = re.search(r"^(\d+)m([\d.]+)s (\d+)m([\d.]+)s$", output, re.MULTILINE)
    main = re.search(r"^main (.*)$", output, re.MULTILINE)
    clock = re.search(r"^seconds ([\d.]+) ([\d.]+) status 0$", output, re.MULTILINE)
    assert children and main and clock, output[-3000:]
    parts = [float(part) for part in children.groups()]
    # proc(5): utime and stime are the 14th and 15th field; "main" stands for the first two.
    ticks = sum(int(number) for number in main.group(1).split()[11:13])
    return Run(
        wall=float(clock.group(2)) - float(clock.group(1)),
        everything=parts[0] * 60 + parts[1] + parts[2] * 60 + parts[3],
        main=ticks / os.sysconf("SC_CLK_TCK"),
        tasks=int(recaps[-1][0]),
    )


def test_the_second_run_of_many_hosts(fleet: Machine, table: Table) -> None:
    cores = len(os.sched_getaffinity(0))
    one = second_run(fleet, *RUNS[0])
    lines = []
    for names, forks in RUNS:
        run = one if (names, forks) == RUNS[0] else second_run(fleet, names, forks)
        wanted = one.wall * max(1.0, names / forks)
        if names > 1:
            what = f"second run of `site.yml`, {names} hosts, {forks} forks"
            table.rows.append(Row(what, f"{names} / {forks} × one host", run.wall, wanted, AIM))
            print(f"\n{table.rows[-1]}")
        lines.append(
            f"{names} hosts, {forks} forks: {run.wall:.0f} s; processor {run.everything:.0f} s, that is "
            f"{run.everything / names:.1f} s a host and {run.everything / run.wall:.1f} of {cores} cores, of them "
            f"{run.main / names:.2f} s a host in the controller's main process; {run.tasks} tasks")
        print(f"\n{lines[-1]}")
    table.remarks.append(
        "Those hosts are names of one machine, which is the controller, too: where all cores are busy, they and not "
        f"the playbook set the time. {'. '.join(lines)}.")

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second run of site.yml on machines of their own, those of the scenario `node`: on all of them, and on one."""

from __future__ import annotations

import re
import time
from typing import Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.verify.machines import names, playbook
from ansible_collections.rootless.buildah.tests.bench.ratios import Row, Table
from ansible_collections.rootless.buildah.tests.bench.scenario import converged

# More than there are machines: they wait for each other at the end of a task, and for the controller.
FORKS = 5


@pytest.fixture(scope="module")
def machines() -> Iterator[list[str]]:
    """Machines that site.yml has made builders already."""
    with converged("node"):
        yield names("builders")


def second_run(machines: list[str]) -> tuple[float, int]:
    """Run site.yml where nothing is left to do; return the seconds, and the most tasks that a machine had."""
    begun = time.monotonic()
    done = playbook("playbooks/site.yml", ",".join(machines), {}, f"--forks={FORKS}")
    seconds = time.monotonic() - begun
    recaps = re.findall(r"^\S+ +: ok=(\d+) +changed=(\d+) +unreachable=0 +failed=(\d+)", done.stdout, re.MULTILINE)
    assert done.returncode == 0 and len(recaps) == len(machines), done.stdout[-3000:] + done.stderr[-3000:]
    assert all(numbers[1:] == ("0", "0") for numbers in recaps), done.stdout[-3000:]
    return seconds, max(int(numbers[0]) for numbers in recaps)


def test_the_second_run_on_virtual_machines(machines: list[str], table: Table) -> None:
    # They are of different releases, and all together end with the slowest.
    one, tasks = max(second_run([machine]) for machine in machines)
    all_of_them, _tasks = second_run(machines)
    many = len(machines)
    what = f"second run of `site.yml`, {many} virtual machines, {FORKS} forks"
    table.rows.append(Row(what, "the slowest of them alone", all_of_them, one, None))
    print(f"\n{table.rows[-1]}")
    table.remarks.append(
        f"Virtual machines of two processors each: {one:.0f} s for one, {all_of_them / many:.0f} s a host for {many}, "
        f"{tasks} tasks. Where they are emulated, they share the cores of this machine.")

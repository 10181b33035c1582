# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of the scenario that is being verified, for its tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Mapping

import yaml
from testinfra.host import Host

from ansible_collections.rootless.buildah.tests.tools.checkout import ENVIRONMENT, ROOT

SCENARIO = Path(os.environ.get("MOLECULE_SCENARIO_DIRECTORY", ROOT / "molecule" / "node"))
INVENTORIES = [ROOT / "molecule/machines/common.yml", SCENARIO / "hosts.yml"]
# Where the guests reach what listens on this machine's loopback address (QEMU's user-mode network).
OUTSIDE = "10.0.2.2"


def names(group: str) -> list[str]:
    """Return the scenario's machines of a group, of those that MACHINES chooses."""
    inventory = yaml.safe_load((SCENARIO / "hosts.yml").read_text(encoding="utf-8"))
    chosen = os.environ.get("MACHINES", "all").split(",")
    return [name for name in inventory[group]["hosts"] if "all" in chosen or name in chosen]


def addresses(group: str) -> list[str]:
    """Return the same, in testinfra's words."""
    return [f"ssh://{name}" for name in names(group)]


def name_of(host: Host) -> str:
    """Return a machine's name in the inventory."""
    return str(host.backend.get_pytest_id()).removeprefix("ssh://")


def as_builder(host: Host, script: str, check: bool = True) -> str:
    """Run a shell script in a login of the builder user; return what it prints."""
    done = host.run("runuser -l builder -c %s", f"set -eu\n{script}")
    assert not check or done.rc == 0, (script, done.stdout[-3000:], done.stderr[-3000:])
    return str(done.stdout)


def playbook(path: str, limit: str, variables: Mapping[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the checkout on machines of the scenario."""
    argv = [sys.executable, "-m", "ansible", "playbook", *(f"--inventory={path}" for path in INVENTORIES)]
    return subprocess.run(
        [*argv, f"--limit={limit}", "--extra-vars", json.dumps(variables), *arguments, str(ROOT / path)],
        env={**ENVIRONMENT, "ANSIBLE_SSH_ARGS": f"-F {ROOT}/.cache/machines/ssh_config",
             "ANSIBLE_PIPELINING": "true", "LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, check=False)  # fmt: skip


def doctor(host: Host) -> dict[str, Any]:
    """Ask the doctor about one machine; return what its report for machines holds of it (docs/findings.md)."""
    with tempfile.TemporaryDirectory() as place:
        done = playbook("playbooks/doctor.yml", name_of(host), {"doctor_json": f"{place}/doctor.json"})
        assert os.listdir(place), done.stdout[-3000:] + done.stderr[-3000:]
        report = json.loads(Path(place, "doctor.json").read_text(encoding="utf-8"))
    (found,) = report["hosts"]
    assert (done.returncode == 0) is (found["state"] == "ready"), done.stdout[-3000:]
    return dict(found)

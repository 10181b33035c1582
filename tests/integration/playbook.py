# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks run by the real ansible-playbook: root connects locally and becomes the builder user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.tests.integration.harness import CHECKOUT, PYTHON, Builder


@dataclass
class Played:
    """What a run of ansible-playbook left.

    :ivar results: the tasks' results in their order.
    """

    output: str
    results: list[dict[str, Any]]


class Playbooks:
    """Runs plays.

    :param inputs: a new directory for playbooks and variables; only root may enter.
    :param home: a new directory that Ansible uses for itself.
    """

    def __init__(self, builder: Builder, inputs: Path, home: Path) -> None:
        self.builder, self.inputs, self.home = builder, inputs, home
        inputs.mkdir(mode=0o700, parents=True)
        home.mkdir(mode=0o755)
        self._serial = 0

    def play(
        self,
        tasks: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        pipelining: bool,
        env: Optional[Mapping[str, str]] = None,
    ) -> Played:
        """Run tasks of buildah_build with -vvv; those that fail do not end the play.

        :param tasks: the parameters of each.
        :param env: variables of ansible-playbook that become hands on by their names.
        """
        self._serial += 1
        stem = self.inputs / str(self._serial)
        book = {
            "hosts": "localhost",
            "gather_facts": False,
            "become": True,
            "become_user": self.builder.name,
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": PYTHON,
                "ansible_pipelining": pipelining,
                "ansible_become_flags": f"-H -S -n --preserve-env={','.join(env or ['LC_ALL'])}",
            },
            "tasks": [
                {
                    "name": f"Task {number}",
                    "rootless.buildah.buildah_build": task,
                    "register": f"result_{number}",
                    "ignore_errors": True,
                }
                for number, task in enumerate(tasks)
            ]
            + [
                {
                    "name": "Keep the results",
                    "become": False,
                    "ansible.builtin.copy":
                        {"dest": f"{stem}.results", "mode": "0600", "content": "{{ results | to_json }}"},
                    "vars": {"results": [f"{{{{ result_{number} }}}}" for number in range(len(tasks))]},
                    "diff": False,
                }
            ],
        }  # fmt: skip
        Path(f"{stem}.yml").write_text(json.dumps([book]))
        Path(f"{stem}.json").write_text(json.dumps(variables))
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **(env or {}),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(self.home),
            "ANSIBLE_LOG_PATH": str(self.home / "ansible.log"),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".ansible/collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [str(program), "-vvv", "--diff", "-i", "localhost,", "-e", f"@{stem}.json", f"{stem}.yml"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output[-5000:]
        return Played(output, json.loads(Path(f"{stem}.results").read_text()))

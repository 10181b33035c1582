# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floors of the README are real: ansible-core 2.16 on the controller, Python 3.9 on hosts."""

from __future__ import annotations

import json
import pwd
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.tests.floor.conftest import Floor, pythons
from ansible_collections.rootless.buildah.tests.tools.checkout import COLLECTION, files, load, plugins, roles

PLAYBOOKS = [name for name in files("playbooks/*.yml") if name.count("/") == 1]
every_python = pytest.mark.parametrize("python", pythons())


def test_this_is_the_oldest_ansible_core_that_is_promised(floor: Floor) -> None:
    promised = load("meta/runtime.yml")["requires_ansible"].removeprefix(">=").rsplit(".", 1)[0]
    assert re.search(rf"\[core {re.escape(promised)}\.", floor.run("ansible-playbook", "--version").stdout)


def test_it_knows_all_modules(floor: Floor) -> None:
    names = [f"{COLLECTION}.{name}" for name in plugins("modules")]
    assert set(json.loads(floor.run("ansible-doc", "--json", *names).stdout)) == set(names)


def test_it_knows_all_roles(floor: Floor) -> None:
    names = [f"{COLLECTION}.{role}" for role in roles()]
    assert set(json.loads(floor.run("ansible-doc", "--json", "-t", "role", *names).stdout)) == set(names)


@pytest.mark.parametrize("inventory", ["localhost", "three-hosts"])
@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_it_accepts_the_playbooks(floor: Floor, playbook: str, inventory: str) -> None:
    floor.run("ansible-playbook", "-i", f"examples/{inventory}", "--syntax-check", playbook)


@every_python
@pytest.mark.parametrize("module", plugins("modules"))
def test_modules_answer_with_words_when_called_wrongly(floor: Floor, module: str, python: str) -> None:
    variables = ["-e", f"ansible_connection=local ansible_python_interpreter={python}"]
    argv = ["localhost", "-m", f"{COLLECTION}.{module}", "-a", "no_such_option=1", *variables]
    answer = floor.run("ansible", *argv, check=False)
    assert answer.returncode != 0
    said = answer.stdout + answer.stderr
    assert re.search(r"Unsupported parameters|missing required arguments|is required", said), said
    assert "Traceback" not in said


@every_python
class TestBuilding:
    """A real build by a real unprivileged user, with each interpreter."""

    def tasks(self, user: str, python: str, **args: str) -> list[dict[str, Any]]:
        name = f"localhost/floor-{re.sub(r'[^a-z0-9]', '', python)}"
        # With the argument it is another image: one that exists under another name is not built again.
        module = {"name": name, "script": SCRIPT, "isolation": "chroot", "args": {"PYTHON": python, **args}}
        become = {"become": True, "become_user": user}
        return [
            {"name": "Build", f"{COLLECTION}.buildah_build": module, "register": "result", **become},
            {
                "name": "Tell",
                "ansible.builtin.debug": {
                    "msg": "changed={{ result.changed }} built={{ result.built }} {{ result.reasons }}"
                },
            },
        ]

    def test_an_image_is_built_once(
        self, floor: Floor, host_pythons: dict[str, str], user: str, python: str, tmp_path: Path
    ) -> None:
        interpreter = host_pythons[python]
        first = floor.play(self.tasks(user, python), interpreter, tmp_path)
        assert "changed=True built=True" in first
        second = floor.play(self.tasks(user, python), interpreter, tmp_path)
        assert "changed=False built=False" in second, second
        third = floor.play(self.tasks(user, python, WORD="new"), interpreter, tmp_path)
        assert "changed=True built=True" in third

    def test_subordinate_ids_are_kept(
        self, floor: Floor, host_pythons: dict[str, str], user: str, python: str, tmp_path: Path
    ) -> None:
        before = Path("/etc/subuid").read_text(encoding="utf-8")
        task = {"name": "Give ids", f"{COLLECTION}.subid": {"name": user}, "register": "result"}
        tell = {"name": "Tell", "ansible.builtin.debug": {"msg": "changed={{ result.changed }}"}}
        assert "changed=False" in floor.play([task, tell], host_pythons[python], tmp_path)
        assert Path("/etc/subuid").read_text(encoding="utf-8") == before
        assert pwd.getpwnam(user).pw_name in before


SCRIPT = """
set -eu
container=$(buildah from scratch)
root=$(buildah mount "$container")
echo "${WORD:-old}" > "$root/word"
buildah umount "$container"
buildah commit "$container" "$IMAGE"
"""

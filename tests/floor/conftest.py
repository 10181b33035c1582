# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oldest controller and the oldest Python that are promised, with a user to build as. `make floor` sets them up."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from ansible_collections.rootless.buildah.tests.tools.checkout import ENVIRONMENT, ROOT


@dataclass(frozen=True)
class Floor:
    """ansible-core 2.16, and the interpreters that hosts may have.

    :param programs: the folder of that ansible-core's commands.
    :param pythons: interpreters for the hosts: the system's, and Python 3.9 where there is one.
    """

    programs: Path
    pythons: list[str] = field(default_factory=list)

    def run(self, program: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**ENVIRONMENT, "PATH": f"{self.programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
        environment["ANSIBLE_HOME"] = tempfile.mkdtemp()
        done = subprocess.run(
            [str(self.programs / program), *argv],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        shutil.rmtree(environment["ANSIBLE_HOME"], ignore_errors=True)
        assert not check or done.returncode == 0, f"{program} {' '.join(argv)}\n{done.stdout}{done.stderr}"
        return done

    def play(self, tasks: list[dict[str, Any]], python: str, folder: Path, check: bool = True) -> str:
        """Run tasks on this machine with an interpreter; return what Ansible prints."""
        book = folder / "play.yml"
        play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
        book.write_text(yaml.safe_dump([play]), encoding="utf-8")
        variables = f"ansible_connection=local ansible_python_interpreter={python}"
        return self.run("ansible-playbook", "-i", "localhost,", "-e", variables, str(book), check=check).stdout


@pytest.fixture(scope="session")
def floor() -> Floor:
    programs = os.environ.get("FLOOR_BIN")
    if not programs:
        pytest.fail("FLOOR_BIN is not set: run `make floor`")
    return Floor(Path(programs))


def pythons() -> list[str]:
    return ["/usr/bin/python3", *filter(None, [os.environ.get("FLOOR_PYTHON")])]


@pytest.fixture(scope="session")
def host_pythons() -> Iterator[dict[str, str]]:
    """Interpreters that every user may run, as on a host: those below a home directory get a copy."""
    place = Path(tempfile.mkdtemp(prefix="rootless-buildah-floor-", dir="/var/tmp"))
    place.chmod(0o755)
    found = {}
    for python in pythons():
        if python.startswith("/usr/"):
            found[python] = python
        else:
            prefix = Path(python).resolve().parents[1]
            shutil.copytree(
                prefix, place / "python", symlinks=True, ignore=shutil.ignore_patterns("test", "__pycache__")
            )
            # Its own shared library is looked for where it was built.
            wrapper = place / Path(python).name
            library, program = place / "python" / "lib", place / "python" / "bin" / Path(python).name
            wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={library} exec {program} "$@"\n', encoding="ascii")
            wrapper.chmod(0o755)
            found[python] = str(wrapper)
    yield found
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def user() -> Iterator[str]:
    """An unprivileged user with subordinate ids."""
    name = f"rbfloor-{os.getpid()}"
    subprocess.run(["useradd", "--create-home", name], check=True)
    entry = pwd.getpwnam(name)
    configuration = Path(entry.pw_dir, ".config", "containers")
    configuration.mkdir(parents=True)
    (configuration / "storage.conf").write_text('[storage]\ndriver = "overlay"\n', encoding="ascii")
    subprocess.run(["chown", "-R", f"{name}:", entry.pw_dir], check=True)
    yield name
    store = f"{entry.pw_dir}/.local/share/containers"
    as_user = ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "env", f"HOME={entry.pw_dir}"]
    subprocess.run([*as_user, "buildah", "unshare", "rm", "-rf", store], cwd="/", check=False)
    subprocess.run(["pkill", "-9", "-u", name], check=False)
    for _attempt in range(50):
        if subprocess.run(["userdel", "--remove", name], check=False, capture_output=True).returncode in (0, 6):
            break
        time.sleep(0.1)
    for left in (f"/var/tmp/containers-user-{entry.pw_uid}", f"/run/user/{entry.pw_uid}"):
        shutil.rmtree(left, ignore_errors=True)

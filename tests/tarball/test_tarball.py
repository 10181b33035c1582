# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is published is complete, holds nothing of the checkout's own, and works where nothing else is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.tests.tarball.conftest import Installed
from ansible_collections.rootless.buildah.tests.tools.checkout import COLLECTION, files, load, plugins, roles

# What serves the checkout and nobody who installs the collection.
CHECKOUT_ONLY = re.compile(r"^(\.ci/|\.github/|\.ansible-lint$|\.gitignore$|\.yamllint$|galaxy\.yml$)")
PLAYBOOKS = [Path(name).stem for name in files("playbooks/*.yml") if name.count("/") == 1]


def test_it_holds_exactly_the_files_of_the_repository(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        held = {member.name for member in archive.getmembers() if not member.isdir()}
    made = {"MANIFEST.json", "FILES.json"}
    assert held - made == {name for name in files() if not CHECKOUT_ONLY.search(name)}


def test_it_belongs_to_nobody_and_keeps_the_modes(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        members = archive.getmembers()
    assert {(member.uid, member.uname) for member in members} == {(0, "")}
    executable = {member.name for member in members if member.isfile() and member.mode & 0o111}
    assert "tests/tools/venv" in executable
    assert not {member.name for member in members if member.mode & 0o022}


def test_its_manifest_says_what_galaxy_yml_says(installed: Installed) -> None:
    manifest = json.loads((installed.path / "MANIFEST.json").read_text(encoding="utf-8"))["collection_info"]
    source = load("galaxy.yml")
    for key in ("namespace", "name", "version", "license", "dependencies", "tags"):
        assert manifest[key] == source[key], key


def test_the_installed_files_verify(installed: Installed) -> None:
    installed.run("ansible-galaxy", "collection", "verify", "--offline", "-p", str(installed.collections), COLLECTION)


def test_ansible_lists_all_modules(installed: Installed) -> None:
    listed = json.loads(installed.run("ansible-doc", "--json", "-l", COLLECTION).stdout)
    assert set(listed) == {f"{COLLECTION}.{name}" for name in plugins("modules")}


def test_ansible_lists_all_roles(installed: Installed) -> None:
    listed = json.loads(installed.run("ansible-doc", "--json", "-t", "role", "-l", COLLECTION).stdout)
    assert set(listed) == {f"{COLLECTION}.{role}" for role in roles()}


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbooks_are_found_by_their_full_name(installed: Installed, playbook: str) -> None:
    inventory = installed.path / "examples" / "localhost"
    installed.run("ansible-playbook", "-i", str(inventory), "--syntax-check", f"{COLLECTION}.{playbook}")


@pytest.mark.parametrize("module", plugins("modules"))
def test_modules_answer_with_words_when_called_wrongly(installed: Installed, module: str) -> None:
    argv = ["ansible", "localhost", "-m", f"{COLLECTION}.{module}", "-a", "no_such_option=1"]
    answer = installed.run(*argv, check=False)
    assert answer.returncode != 0
    assert re.search(r"Unsupported parameters|missing required arguments|is required", answer.stdout), answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr


def test_the_importer_of_galaxy_accepts_it(tarball: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "importer.cfg"
    # Its own runs of ansible-test and ansible-lint need containers and a network; ours are stages of `make test`.
    configuration.write_text(
        "[galaxy-importer]\nRUN_ANSIBLE_TEST = False\nRUN_ANSIBLE_LINT = False\nCHECK_REQUIRED_TAGS = True\n"
        "REQUIRE_V1_OR_GREATER = False\nRUN_FLAKE8 = False\nCHECK_CHANGELOG = True\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "galaxy_importer.main", str(tarball)],
        cwd=tmp_path,
        env={**os.environ, "GALAXY_IMPORTER_CONFIG": str(configuration), "ANSIBLE_COLLECTIONS_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Importer processing completed successfully" in said
    assert re.findall(r"^(?:ERROR|WARNING):.*", said, re.MULTILINE) == []

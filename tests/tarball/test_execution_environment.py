# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection goes into an execution environment, and asks for nothing there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ansible_collections.rootless.buildah.tests.tarball.conftest import Installed
from ansible_collections.rootless.buildah.tests.tools.checkout import COLLECTION, files, load


@pytest.fixture
def build_context(tarball: Path, tmp_path: Path) -> Path:
    """What ansible-builder makes of a definition that names the tarball."""
    definition = {
        "version": 3,
        "images": {"base_image": {"name": "localhost/base:latest"}},
        "dependencies": {
            "ansible_core": {"package_pip": "ansible-core>=2.16"},
            "ansible_runner": {"package_pip": "ansible-runner"},
            "galaxy": {"collections": [{"name": f"files/{tarball.name}", "type": "file"}]},
        },
        "additional_build_files": [{"src": str(tarball), "dest": "files"}],
    }
    (tmp_path / "execution-environment.yml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    argv = ["ansible-builder", "create", "--output-filename", "Containerfile"]
    made = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return tmp_path / "context"


def test_its_build_context_is_complete(build_context: Path, tarball: Path) -> None:
    assert "FROM" in (build_context / "Containerfile").read_text(encoding="utf-8")
    assert list(build_context.rglob(tarball.name))
    assert tarball.name in (build_context / "_build" / "requirements.yml").read_text(encoding="utf-8")


def asked_for(collections: Path) -> dict[str, list[str]]:
    argv = ["ansible-builder", "introspect", str(collections)]
    found = subprocess.run(argv, capture_output=True, text=True, check=True)
    listed = yaml.safe_load(found.stdout)
    assert isinstance(listed, dict)
    return listed


def test_it_asks_for_no_packages(installed: Installed, tmp_path: Path) -> None:
    assert asked_for(installed.collections) == {"python": [], "system": []}
    # The same place with something planted, to know that it was looked at.
    shutil.copytree(installed.collections, tmp_path, dirs_exist_ok=True)
    planted = tmp_path / installed.path.relative_to(installed.collections) / "meta" / "execution-environment.yml"
    planted.write_text("version: 1\ndependencies: {python: planted.txt}\n", encoding="utf-8")
    (planted.parent.parent / "planted.txt").write_text("planted\n", encoding="utf-8")
    found = asked_for(tmp_path)
    assert [line.split("#")[0].strip() for line in found["python"]] == ["planted"]
    assert COLLECTION in found["python"][0]


def test_its_metadata_says_so() -> None:
    assert load("meta/execution-environment.yml") == {"version": 1, "dependencies": {}}
    # These would be read in its place by tools that do not know it.
    assert files("bindep.txt", "meta/requirements.txt") == []

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as users get it: built once, installed once, without the checkout's link in sight."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import pytest

from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT


@dataclass(frozen=True)
class Installed:
    """An empty place that holds the collection, installed from its tarball, and nothing else."""

    collections: Path
    path: Path

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command that finds this collection and those that Ansible brings, outside of the checkout."""
        env = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_HOME": str(self.collections.parent / "home"),
        }
        done = subprocess.run(
            argv,
            cwd=self.collections.parent,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}"
        return done


def call(argv: Sequence[str], cwd: Path, home: Path) -> None:
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(home), "ANSIBLE_HOME": str(home / "home")}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it in the checkout itself, with everything in the way that a developer's checkout has lying about."""
    target = tmp_path_factory.mktemp("tarball")
    call(["ansible-galaxy", "collection", "build", "--output-path", str(target)], ROOT, target)
    return next(target.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place = tmp_path_factory.mktemp("installed")
    collections = place / "collections"
    argv = [
        "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "--collections-path",
        str(collections),
        str(tarball),
    ]
    call(argv, place, collections)
    return Installed(collections, collections / "ansible_collections" / "rootless" / "buildah")

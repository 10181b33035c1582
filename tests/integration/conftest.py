# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures with real parts. Everything made here is gone afterwards."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / ".ansible/collections")]
from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry, make_library  # noqa: E402


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A directory that every user may enter; pytest's own are private, and older ones go while others still run."""
    with tempfile.TemporaryDirectory(prefix="rootless-buildah-tests-", ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def library(place: Path) -> Path:
    """Ansible's module library and the collection, readable by every user."""
    return make_library(place / "library")


@pytest.fixture(scope="session", autouse=True)
def no_leftovers() -> None:
    """Remove the users of runs that were killed: their names hold the number of a process that is gone."""
    for entry in pwd.getpwall():
        match = re.fullmatch(r"rbt[a-z]-(\d+)", entry.pw_name)
        if match and not os.path.exists(f"/proc/{match.group(1)}"):
            subprocess.run(["pkill", "-9", "-u", entry.pw_name], check=False)
            subprocess.run(["userdel", "--remove", entry.pw_name], check=False)


@pytest.fixture(scope="session")
def builder(library: Path) -> Iterator[Builder]:
    """An unprivileged user with a store of his own."""
    assert os.getuid() == 0, "the integration tests make users and need root"
    user = Builder(f"rbta-{os.getpid()}", library)
    yield user
    user.remove()


@pytest.fixture(scope="session")
def second_builder(library: Path) -> Iterator[Builder]:
    """Another user, who stands for another host: nothing is shared with the first."""
    user = Builder(f"rbtb-{os.getpid()}", library)
    yield user
    user.remove()


@pytest.fixture(scope="session")
def registry(place: Path) -> Iterator[Registry]:
    """A registry that wants a password."""
    server = Registry(place / "registry")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def base(builder: Builder, registry: Registry) -> str:
    """A small base image with a shell, at the registry; its name."""
    name = f"{registry.address}/base/busybox:1"
    with open("/bin/busybox", "rb") as file:
        builder.context(
            "base-image",
            {
                "busybox": file.read(),
                "Containerfile": (
                    'FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\n'
                    'ENV PATH=/bin\nCMD ["/bin/sh"]\n'
                ),
            },
        )
    builder.build(name=name, path=str(builder.home / "base-image"), push=True, **registry.login)
    return name

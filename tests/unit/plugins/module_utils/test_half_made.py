# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._half_made import HalfMade, abandoned, half_made
from ansible_collections.rootless.buildah.plugins.module_utils._process import running_since, started

# 2026-11-29 00:41:12 UTC
CREATED, TEXT = 1795912872, "2026-11-29T00:41:12.123456789Z"


def store(root: Path, table: str, *containers: dict[str, str]) -> str:
    """Write a table of an image store as containers/storage does; return the store's directory."""
    (root / "overlay-containers").mkdir(parents=True, exist_ok=True)
    text = json.dumps([{"created": TEXT, **one} for one in containers])
    (root / f"overlay-containers/{table}.json").write_text(text)
    return str(root)


def test_a_container_without_a_word_of_its_maker_is_half_made(tmp_path: Path) -> None:
    podman = {"id": "other", "metadata": "{}"}
    lasting = store(tmp_path / "lasting", "containers", {"id": "half"}, {"id": "whole"}, podman)
    passing = store(tmp_path / "passing", "volatile-containers", {"id": "light"}, {"id": "done"})
    for name in ("whole", "done"):
        state = tmp_path / f"lasting/overlay-containers/{name}/userdata/buildah.json"
        state.parent.mkdir(parents=True)
        state.write_text("{}")
    assert half_made(lasting, passing) == [HalfMade("half", CREATED), HalfMade("light", CREATED)]


@pytest.mark.parametrize("table", ["", "null", "[]", None])
def test_a_store_without_containers_has_none(tmp_path: Path, table: Optional[str]) -> None:
    root = store(tmp_path, "containers")
    path = tmp_path / "overlay-containers/containers.json"
    path.unlink() if table is None else path.write_text(table)
    assert half_made(root, root) == []


@pytest.mark.parametrize("busy_since, gone", [
    (None, True), (CREATED - 60, False), (CREATED, False), (CREATED + 1, False), (CREATED + 3, True),
])  # fmt: skip
def test_only_a_program_that_was_there_may_be_making_it(busy_since: Optional[float], gone: bool) -> None:
    half = HalfMade("half", CREATED)
    assert abandoned([half], busy_since) == ([half] if gone else [])


def test_it_is_known_since_when_a_program_runs() -> None:
    name = Path("/proc/self/cmdline").read_bytes().partition(b"\0")[0].decode()
    since = running_since(os.path.basename(name))
    own = started(os.getpid())
    assert since and own and since <= own + 0.1 <= time.time() + 0.2
    assert running_since("no-such-program", "nor-this") is None
    assert started(2**22 + 1) is None

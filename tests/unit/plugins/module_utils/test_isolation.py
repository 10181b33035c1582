# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which isolation RUN steps get: chroot only where namespaces are not to be had, or where somebody asks for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._isolation import HostFacts, choose, observe


@pytest.mark.parametrize("cgroup_v2_only, runtime, isolation", [
    (True, True, None),
    (True, False, "chroot"),
    # crun 1.8.1: "cgroups in hybrid mode not supported"
    (False, True, "chroot"),
    (False, False, "chroot"),
])
def test_without_a_wish_the_host_decides(cgroup_v2_only: bool, runtime: bool, isolation: str | None) -> None:
    assert choose(HostFacts(cgroup_v2_only, runtime)) == isolation


@pytest.mark.parametrize("requested", ["oci", "rootless", "chroot"])
@pytest.mark.parametrize("able", [True, False])
def test_a_wish_is_granted_whatever_the_host_is_like(requested: str, able: bool) -> None:
    assert choose(HostFacts(able, able, requested)) == requested


def test_an_empty_wish_is_none() -> None:
    # As for buildah, which takes its default where BUILDAH_ISOLATION is empty.
    assert choose(HostFacts(True, True, "")) is None


def program(directory: Path, name: str, mode: int = 0o755) -> str:
    """Make a program and return the search path that leads to it."""
    directory.mkdir(exist_ok=True)
    (directory / name).touch()
    (directory / name).chmod(mode)
    return str(directory)


class TestObserve:
    @pytest.mark.parametrize("name, found", [("crun", True), ("runc", True), ("crun2", False), ("kata-runtime", False)])
    def test_a_runtime_is_crun_or_runc(self, tmp_path: Path, name: str, found: bool) -> None:
        assert observe(program(tmp_path, name)).runtime is found

    def test_it_is_looked_for_all_along_the_search_path(self, tmp_path: Path) -> None:
        assert observe(f"{tmp_path / 'none'}:{program(tmp_path / 'bin', 'runc')}").runtime

    def test_a_file_that_cannot_be_run_is_none(self, tmp_path: Path) -> None:
        assert not observe(program(tmp_path, "crun", 0o644)).runtime

    def test_the_search_path_of_this_process_does_not_matter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", program(tmp_path, "crun"))
        assert not observe(str(tmp_path / "none")).runtime

    @pytest.mark.parametrize("value", ["chroot", "", None])
    def test_a_wish_comes_from_buildahs_own_variable(self, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
        monkeypatch.delenv("BUILDAH_ISOLATION", raising=False)
        if value is not None:
            monkeypatch.setenv("BUILDAH_ISOLATION", value)
        assert observe("").requested == value

    @pytest.mark.parametrize("unified", [True, False])
    def test_only_a_unified_hierarchy_has_its_controllers_at_the_top(
        self, monkeypatch: pytest.MonkeyPatch, unified: bool
    ) -> None:
        # cgroups(7): cgroup.controllers is in every cgroup of version 2; a hybrid hierarchy has that in "unified".
        there = "/sys/fs/cgroup/" + ("cgroup.controllers" if unified else "unified/cgroup.controllers")
        monkeypatch.setattr(os.path, "exists", lambda path: path == there)
        assert observe("").cgroup_v2_only is unified

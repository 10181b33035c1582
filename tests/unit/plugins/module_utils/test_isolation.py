# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which isolation RUN steps get: chroot only where namespaces are not to be had, or where somebody asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._isolation import (
    HostFacts,
    cgroup_hierarchy,
    choose,
    observe,
    proc_masked,
)


# Measured with RUN steps of buildah 1.28.2 as a user without cgroups, crun 1.8.1 and runc 1.1.5, on Linux 6.18.
@pytest.mark.parametrize("cgroup, programs, isolation", [
    *((cgroup, [runtime], None) for cgroup in ("v2", "v1") for runtime in ("crun", "runc")),
    # "cgroups in hybrid mode not supported, drop all controllers from cgroupv2"
    ("hybrid", ["crun"], "chroot"),
    ("hybrid", ["runc"], None),
    # buildah takes crun where both are there.
    ("hybrid", ["crun", "runc"], "chroot"),
    # "invalid file system type on '/sys/fs/cgroup'", "no cgroup mount found in mountinfo"
    ("none", ["crun"], "chroot"),
    ("none", ["runc"], "chroot"),
    *((cgroup, [], "chroot") for cgroup in ("v2", "hybrid", "v1", "none")),
])
def test_without_a_wish_the_host_decides(cgroup: str, programs: list[str], isolation: str | None) -> None:
    assert choose(HostFacts(cgroup, programs)) == isolation


def test_no_runtime_works_where_no_process_may_mount_proc() -> None:
    assert choose(HostFacts("v2", ["crun"], proc_masked=True)) == "chroot"
    assert choose(HostFacts("v2", ["crun"], "oci", proc_masked=True)) == "oci"


@pytest.mark.parametrize("requested", ["oci", "rootless", "chroot"])
@pytest.mark.parametrize("cgroup, programs", [("v2", ["crun"]), ("none", [])])
def test_a_wish_is_granted_whatever_the_host_is_like(cgroup: str, programs: list[str], requested: str) -> None:
    assert choose(HostFacts(cgroup, programs, requested)) == requested


def test_an_empty_wish_is_none() -> None:
    # As for buildah, which takes its default where BUILDAH_ISOLATION is empty.
    assert choose(HostFacts("v2", ["crun"], "")) is None


# /proc/self/mountinfo of a host with systemd, and of a container of Docker's.
UNCOVERED = "20 25 0:21 / /proc rw - proc proc rw\n25 1 254:0 / / rw - ext4 /dev/vda rw\n"
BINFMT = f"{UNCOVERED}29 20 0:28 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw,fd=29\n"
COVERED = f"{UNCOVERED}99 20 0:5 / /proc/keys rw,nosuid - tmpfs tmpfs rw\n"


@pytest.mark.parametrize("mounts, answer, masked", [
    (UNCOVERED, (1, "unshare: mount /proc failed: Operation not permitted"), False),
    (COVERED, (1, "unshare: mount /proc failed: Operation not permitted"), True),
    # The kernel does not mind what lies on the places that it keeps for file systems.
    (BINFMT, (0, ""), False),
    # What stops the trial before it comes to /proc says nothing of it: Ubuntu's AppArmor stops unshare, not buildah.
    (COVERED, (1, "unshare: write failed /proc/self/uid_map: Operation not permitted"), False),
    (COVERED, None, False),
])  # fmt: skip
def test_whether_proc_can_be_mounted_is_tried(mounts: str, answer: tuple[int, str] | None, masked: bool) -> None:
    tried = []

    def unshare(*words: str) -> tuple[int, str] | None:
        tried.append(words)
        return answer

    assert proc_masked(mounts, unshare) is masked
    assert len(tried) == (mounts != UNCOVERED)


@pytest.mark.parametrize("files, hierarchy", [
    ({}, "none"),
    # cgroups(7): cgroup.controllers is in every cgroup of version 2.
    ({"cgroup.controllers": "cpu io memory pids\n"}, "v2"),
    ({"unified/cgroup.controllers": "hugetlb\n", "memory/tasks": ""}, "hybrid"),
    # As systemd makes it with unified_cgroup_hierarchy=0: it follows its own processes there, and limits nothing.
    ({"unified/cgroup.controllers": "", "memory/tasks": ""}, "v1"),
    ({"unified/cgroup.controllers": "\n", "memory/tasks": ""}, "v1"),
    ({"memory/tasks": ""}, "v1"),
])  # fmt: skip
def test_a_hierarchy_is_told_by_where_controllers_are(tmp_path: Path, files: dict[str, str], hierarchy: str) -> None:
    assert cgroup_hierarchy(str(tmp_path)) == "none"
    place = tmp_path / "sys/fs/cgroup"
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    assert cgroup_hierarchy(str(tmp_path)) == hierarchy


def program(directory: Path, name: str, mode: int = 0o755) -> str:
    """Make a program and return the search path that leads to it."""
    directory.mkdir(exist_ok=True)
    (directory / name).touch()
    (directory / name).chmod(mode)
    return str(directory)


class TestObserve:
    @pytest.mark.parametrize("name, found", [("crun", True), ("runc", True), ("crun2", False), ("kata-runtime", False)])
    def test_a_runtime_is_crun_or_runc(self, tmp_path: Path, name: str, found: bool) -> None:
        assert observe(program(tmp_path, name), "").programs == ([name] if found else [])

    def test_it_is_looked_for_all_along_the_search_path(self, tmp_path: Path) -> None:
        assert observe(f"{tmp_path / 'none'}:{program(tmp_path / 'bin', 'runc')}", "").programs

    def test_a_file_that_cannot_be_run_is_none(self, tmp_path: Path) -> None:
        assert not observe(program(tmp_path, "crun", 0o644), "").programs

    def test_the_search_path_of_this_process_does_not_matter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", program(tmp_path, "crun"))
        assert not observe(str(tmp_path / "none"), "").programs

    @pytest.mark.parametrize("variable, file, requested", [
        ("chroot", "oci", "chroot"),
        # What role builder writes where no runtime works.
        ("", "chroot", "chroot"),
        (None, "chroot", "chroot"),
        (None, None, ""),
    ])  # fmt: skip
    def test_a_wish_comes_from_buildahs_own_variable_or_from_containers_conf(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, file: str | None, requested: str
    ) -> None:
        monkeypatch.delenv("BUILDAH_ISOLATION", raising=False)
        if variable is not None:
            monkeypatch.setenv("BUILDAH_ISOLATION", variable)
        if file is not None:
            place = tmp_path / ".config/containers/containers.conf.d/50-rootless-buildah.conf"
            place.parent.mkdir(parents=True)
            place.write_text(f'[engine]\nenv = ["BUILDAH_ISOLATION={file}"]\n')
        assert observe("", str(tmp_path)).requested == requested

    @pytest.mark.parametrize("covered", [False, True])
    def test_proc_is_tried_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, covered: bool) -> None:
        path = program(tmp_path, "unshare")
        (tmp_path / "unshare").write_text(
            '#!/bin/sh\n[ "$LC_ALL $*" = "C --user --map-root-user --mount --pid --fork --mount-proc true" ] && '
            "echo 'unshare: mount /proc failed: Operation not permitted' >&2\nexit 1\n")
        mounts = tmp_path / "mountinfo"
        mounts.write_text(COVERED if covered else UNCOVERED)
        monkeypatch.setattr("ansible_collections.rootless.buildah.plugins.module_utils._isolation.MOUNTS", str(mounts))
        assert observe(path, "").proc_masked is covered

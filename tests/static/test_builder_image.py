# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The builder image of the role cluster_builder: what its entry point lets pass, and what its files say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT, files, read

CONTEXT = "roles/cluster_builder/files/builder"
A, NODE = "0 2147483648 65536", "0 0 4294967295"
BOTH, NEITHER = "00000000000000c0", "0000000000000000"


def guard(place: Path, user: int, uid_map: str, profile: str = "", limit: int = 0, bounding: str = BOTH) -> str:
    """Run the entry point with a proc of its own and a program `id` that names the user; return what it says."""
    (place / "uid_map").write_text(f"{uid_map}\n")
    (place / "status").write_text(f"Name:\tsh\nNoNewPrivs:\t{limit}\nCapBnd:\t{bounding}\n")
    (place / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (place / "id").chmod(0o755)
    environment = {"PATH": f"{place}:/usr/bin:/bin", "ROOTLESS_BUILD_PROC": str(place)}
    if profile:
        environment["ROOTLESS_BUILD_PROFILE"] = profile
    argv = [str(ROOT / CONTEXT / "rootless-build-guard"), "echo", "started", "with words"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert done.stderr == ""
        return done.stdout
    assert (done.returncode, done.stdout) == (78, ""), done
    return done.stderr


@pytest.mark.parametrize(
    ("user", "uid_map", "profile"),
    [(0, A, ""), (0, A, "a"), (0, "1 5000 10\n0 100000 1", ""), (1000, A, ""), (1000, NODE, ""), (1000, NODE, "c")],
)
def test_it_runs_what_it_is_given(tmp_path: Path, user: int, uid_map: str, profile: str) -> None:
    assert guard(tmp_path, user, uid_map, profile) == "started with words\n"


@pytest.mark.parametrize(
    ("user", "uid_map", "profile", "words"),
    [
        (0, NODE, "", "uid 0 of this pod is uid 0 of the node: hostUsers: false was not kept."),
        (0, "1 5000 10", "", "this user namespace has no uid 0."),
        (1000, A, "a", "profile A runs as uid 0 of the pod, and this is uid 1000: set runAsUser: 0."),
        (0, A, "b", "profile B runs as uid 1000, and this is root: set runAsUser: 1000."),
        (0, A, "c", "profile C runs as uid 1000, and this is root: set runAsUser: 1000."),
        (0, A, "z", "there is no profile z: ROOTLESS_BUILD_PROFILE is a, b or c."),
    ],
)
def test_it_stops_before_anything_else(tmp_path: Path, user: int, uid_map: str, profile: str, words: str) -> None:
    assert f"rootless-build-guard: {words}\n" in guard(tmp_path, user, uid_map, profile)


@pytest.mark.parametrize(
    ("limit", "bounding", "words"),
    [
        (1, BOTH, "set allowPrivilegeEscalation: true (profile B)."),
        (0, NEITHER, "add both to the capabilities of the container (profile B)."),
        (0, "0000000000000040", "add both"),
        (0, "0000000000000080", "add both"),
    ],
)
def test_newuidmap_must_work_for_profile_b(tmp_path: Path, limit: int, bounding: str, words: str) -> None:
    assert words in guard(tmp_path, 1000, NODE, "", limit, bounding)


def test_every_file_of_the_context_gets_into_the_image() -> None:
    containerfile = read(f"{CONTEXT}/Containerfile")
    for name in files(f"{CONTEXT}/*"):
        assert name.endswith("/Containerfile") or f" {Path(name).name} " in containerfile, name


def test_the_ids_lie_inside_those_of_a_pod() -> None:
    ranges = [line.split(":") for line in read(f"{CONTEXT}/subids").splitlines()]
    assert {name for name, _first, _count in ranges} == {"root", "build"}
    assert all(int(first) >= 0 and int(first) + int(count) <= 65536 for _name, first, count in ranges)
    own = [range(int(first), int(first) + int(count)) for name, first, count in ranges if name == "build"]
    assert not any(1000 in each or 0 in each for each in own)


def test_the_policy_of_signatures_is_json() -> None:
    assert json.loads(read(f"{CONTEXT}/policy.json")) == {"default": [{"type": "insecureAcceptAnything"}]}

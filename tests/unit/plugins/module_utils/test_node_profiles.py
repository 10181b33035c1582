# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which builds a node can run, and why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._node_profiles import NodeFacts, labels, profiles

GOOD = NodeFacts(
    kernel=(7, 2, 12), kubernetes=(1, 36, 3), engine="containerd", engine_version=(2, 1, 9), crun=(1, 28),
    runc=(1, 3, 6), max_user_namespaces=15000, ids="", getsubids=True, seccomp=True, security="apparmor",
    apparmor_loaded=True)


def able(node: NodeFacts) -> str:
    return "".join(name for name, found in profiles(node).items() if found["able"])


def test_a_node_with_everything_runs_everything() -> None:
    assert able(GOOD) == "abc"
    assert all(found["reasons"] == [] for found in profiles(GOOD).values())


@pytest.mark.parametrize("change, left, reason", [
    ({"kernel": (6, 2, 16)}, "b", "kernel is 6.2.16 and 6.3 is needed"),
    ({"kubernetes": (1, 32, 9)}, "b", "kubernetes is 1.32.9 and 1.33 is needed"),
    ({"kubernetes": ()}, "b", "kubernetes was not found"),
    ({"engine_version": (1, 7, 27)}, "b", "containerd is 1.7.27 and 2.0 is needed"),
    ({"engine": "crio", "engine_version": (1, 24, 1)}, "b", "crio is 1.24.1 and 1.25 is needed"),
    ({"crun": (1, 8, 1), "runc": (1, 1, 5)}, "b",
     "crun is 1.8.1 and 1.9 is needed and runc is 1.1.5 and 1.2 is needed"),
    ({"crun": (), "runc": ()}, "b", "crun was not found and runc was not found"),
    ({"ids": "there are 2 ranges instead of one"}, "b",
     "the ids of the user kubelet: there are 2 ranges instead of one"),
    ({"getsubids": False}, "b", "getsubids is not in the PATH"),
    ({"seccomp": False}, "", "the seccomp profile is missing"),
    ({"apparmor_loaded": False}, "", "the AppArmor profile is not loaded"),
    ({"max_user_namespaces": 0}, "", "user.max_user_namespaces is 0"),
    ({"engine": "", "engine_version": ()}, "", "there is neither containerd nor CRI-O"),
])
def test_each_condition_counts(change: dict[str, Any], left: str, reason: str) -> None:
    node = replace(GOOD, **change)
    assert able(node) == left
    assert profiles(node)["a"]["reasons"] == profiles(node)["c"]["reasons"] == [reason]


@pytest.mark.parametrize("change", [
    {"crun": ()}, {"runc": ()}, {"crun": (1, 8, 1)}, {"runc": (1, 1, 5)},
    {"engine": "crio", "engine_version": (1, 33, 0)},
    {"security": "selinux", "apparmor_loaded": False}, {"security": "none", "apparmor_loaded": False},
    {"kernel": (6, 3)},
])
def test_one_runtime_and_the_security_module_that_is_there_suffice(change: dict[str, Any]) -> None:
    assert able(replace(GOOD, **change)) == "abc"


def test_labels_say_what_can_run_and_take_away_what_cannot() -> None:
    assert labels(profiles(replace(GOOD, kernel=(5, 15)))) == {
        "rootless.buildah/profile-a": None, "rootless.buildah/profile-b": "true", "rootless.buildah/profile-c": None}
    assert set(labels({"a": {}, "b": {}, "c": {}}).values()) == {None}

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build in a cluster refuses, and which kind of pod it chooses."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs, validate
from ansible_collections.rootless.buildah.plugins.module_utils._kube_options import (
    choose_profile,
    mounts_context,
    refuse_many_ids,
    refuse_what_no_pod_does,
)
from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS


def inputs(**given: Any) -> BuildInputs:
    defaults = {option.name: option.spec.get("default") for option in OPTIONS}
    given.setdefault("containerfile_content", "FROM scratch\n")
    return validate({**defaults, "name": "registry.example.com/app:1", "push": True, **given})


def test_a_plain_build_is_taken() -> None:
    refuse_what_no_pod_does(inputs())


@pytest.mark.parametrize("given, words", [
    ({"load": True}, "load means nothing"),
    ({"outputs": [{"type": "oci", "dest": "/x"}]}, "outputs means nothing"),
    ({"storage": {"strategy": "isolated"}}, "Use job.storage"),
    ({"isolation": "oci"}, "always have chroot isolation"),
    ({"volumes": ["/a:/b"]}, "Use build_contexts"),
    ({"ssh": ["default"]}, "Use secrets"),
    ({"memory": "1g"}, "Use job.resources"),
    ({"cpuset_cpus": "0"}, "Use job.resources"),
    ({"ulimits": ["nofile=1:1"]}, "Use job.resources"),
    ({"push": False}, "needs push"),
    ({"pull": "never"}, "begins with an empty store"),
    ({"platform": ["linux/amd64", "linux/arm64"]}, "one platform"),
    ({"network": "none", "cache_from": ["registry.example.com/layers"]}, "exclude each other"),
    ({"network": "none", "cache_to": ["registry.example.com/layers"]}, "exclude each other"),
    ({"script": "buildah from scratch", "containerfile_content": None}, "native script"),
])  # fmt: skip
def test_what_no_pod_can_do_is_refused_with_a_way_out(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_what_no_pod_does(inputs(**given))
    assert words in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("wanted, release, nodes, chosen", [
    ("auto", (1, 36), {"a": 2, "b": 2}, "a"),
    ("auto", (1, 36), {"a": 0, "b": 1}, "b"),
    ("auto", (1, 32), {"a": 2, "b": 2}, "b"),
    ("auto", (1, 33), None, "a"),
    ("auto", (1, 22), None, "b"),
    ("b", (1, 36), {"a": 2, "b": 0}, "b"),
    ("a", (1, 33), {"a": 0, "b": 0}, "a"),
    ("c", (1, 33), {"a": 2, "b": 2}, "c"),
])  # fmt: skip
def test_the_profile_follows_from_release_and_nodes(
    wanted: str, release: tuple[int, int], nodes: Optional[Mapping[str, int]], chosen: str
) -> None:
    assert choose_profile(wanted, release, nodes, offline=False) == chosen


@pytest.mark.parametrize("wanted, release, nodes, offline, words", [
    ("auto", (1, 36), {"a": 0, "b": 0}, False, "Apply the role cluster_node"),
    ("a", (1, 32), None, False, "drops hostUsers"),
    ("c", (1, 32), None, False, "drops hostUsers"),
    ("b", (1, 36), None, True, "network: none needs job.profile: a"),
    ("auto", (1, 32), None, True, "network: none needs job.profile: a"),
])  # fmt: skip
def test_a_profile_that_cannot_be_is_told(
    wanted: str, release: tuple[int, int], nodes: Optional[Mapping[str, int]], offline: bool, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        choose_profile(wanted, release, nodes, offline)
    assert words in str(caught.value)


@pytest.mark.parametrize("wanted, release, mounts", [
    ("auto", (1, 35), True),
    ("auto", (1, 34), False),
    ("volume", (1, 33), True),
    ("fetch", (1, 36), False),
])
def test_who_brings_the_context(wanted: str, release: tuple[int, int], mounts: bool) -> None:
    assert mounts_context(wanted, release) is mounts


@pytest.mark.parametrize("found, given", [(("RUN at line 2",), {}), ((), {"squash": True})])
def test_profile_c_takes_nothing_that_wants_many_ids(found: tuple[str, ...], given: dict[str, Any]) -> None:
    refuse_many_ids(inputs(), ())
    with pytest.raises(InputError, match="RUN at line 2|squash"):
        refuse_many_ids(inputs(**given), found)

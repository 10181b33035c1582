# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubelet's configuration decides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._kubelet import (
    USUAL_DIRECTORY,
    Kubelet,
    argument,
    kubelet_plan,
    stranded,
)

CONFIG = "/var/lib/kubelet/config.yaml"
WITH_DIRECTORY = ["--config=" + CONFIG, "--config-dir", "/etc/k.d"]
OWN = "/etc/k.d/90-rootless-buildah.conf"


def seen(*files: tuple[str, dict[str, Any]], arguments: list[str] | None = None) -> Kubelet:
    return Kubelet(WITH_DIRECTORY if arguments is None else arguments, files)


@pytest.mark.parametrize("arguments, value", [
    (["--config=/a"], "/a"), (["--config", "/a"], "/a"), (["-config=/a"], "/a"), (["--config-dir=/a"], ""),
    (["--config=/a", "--config=/b"], "/b"), (["--config"], ""), ([], ""),
])
def test_options_are_read_in_both_forms(arguments: list[str], value: str) -> None:
    assert argument(arguments, "config") == value


class TestPods:
    def test_the_defaults_are_the_kubelets(self) -> None:
        plan = kubelet_plan(seen(), 4096)
        assert (plan.max_pods, plan.ids_per_pod, plan.healthz) == (110, 65536, 10248)

    def test_the_last_file_counts(self) -> None:
        plan = kubelet_plan(seen((CONFIG, {"maxPods": 50}), ("/etc/k.d/10.conf", {"maxPods": 250})), 0)
        assert plan.max_pods == 250

    def test_the_configuration_counts_before_the_variable_and_the_command_line_before_both(self) -> None:
        assert kubelet_plan(seen((CONFIG, {"maxPods": 50})), 0, 30).max_pods == 50
        assert kubelet_plan(seen(), 0, 30).max_pods == 30
        assert kubelet_plan(seen((CONFIG, {"maxPods": 50}), arguments=["--max-pods=70"]), 0, 30).max_pods == 70

    def test_a_pod_may_get_more_ids(self) -> None:
        assert kubelet_plan(seen((CONFIG, {"userNamespaces": {"idsPerPod": 131072}})), 0).ids_per_pod == 131072


class TestProcesses:
    def test_the_limit_goes_to_the_directory_of_drop_ins(self) -> None:
        plan = kubelet_plan(seen((CONFIG, {})), 4096)
        assert (plan.path, plan.gives_way) == (OWN, [])
        assert plan.content.splitlines() == [
            "apiVersion: kubelet.config.k8s.io/v1beta1", "kind: KubeletConfiguration", "podPidsLimit: 4096"]

    def test_it_stays_once_it_is_there(self) -> None:
        plan = kubelet_plan(seen((CONFIG, {}), (OWN, {"podPidsLimit": 4096})), 4096)
        assert plan.content == kubelet_plan(seen((CONFIG, {})), 4096).content
        assert plan.pids_limit == 4096

    @pytest.mark.parametrize("files", [
        ((CONFIG, {"podPidsLimit": 1000}),), (("/etc/k.d/10.conf", {"podPidsLimit": 4096}),)])
    def test_a_smaller_limit_of_somebody_else_suffices(self, files: Any) -> None:
        assert kubelet_plan(seen(*files), 4096).content == ""

    @pytest.mark.parametrize("theirs", [-1, 100000])
    def test_none_or_a_bigger_one_does_not(self, theirs: int) -> None:
        assert kubelet_plan(seen((CONFIG, {"podPidsLimit": theirs})), 4096).content

    def test_without_a_wish_nothing_is_written(self) -> None:
        assert kubelet_plan(seen((CONFIG, {})), 0).content == ""

    @pytest.mark.parametrize("kubelet, path, why", [
        (seen((CONFIG, {}), arguments=["--config=" + CONFIG]), CONFIG, f"--config-dir={USUAL_DIRECTORY}"),
        (seen(arguments=[]), f"{USUAL_DIRECTORY}/90-rootless-buildah.conf", "no kubelet runs"),
        (seen((CONFIG, {}), ("/etc/k.d/99.conf", {"podPidsLimit": 9999})), "/etc/k.d/99.conf", "read after ours"),
        (seen(arguments=[*WITH_DIRECTORY, "--pod-max-pids=9999"]), "the kubelet's command line", "--pod-max-pids"),
    ])
    def test_it_gives_way_to_others_and_says_what_it_would_write(self, kubelet: Kubelet, path: str, why: str) -> None:
        plan = kubelet_plan(kubelet, 4096)
        assert plan.content == ""
        assert [way["path"] for way in plan.gives_way] == [path]
        assert why in plan.gives_way[0]["why"]
        assert plan.gives_way[0]["would"] == "podPidsLimit: 4096"

    def test_a_kubelet_may_be_silent_about_its_health(self) -> None:
        assert kubelet_plan(seen((CONFIG, {"healthzPort": 0})), 0).healthz == 0


def mapping(first: int, length: int = 65536) -> str:
    one = [{"hostId": first, "containerId": 0, "length": length}]
    return json.dumps({"uidMappings": one, "gidMappings": one})


@pytest.mark.parametrize("texts, expected", [
    ([], []),
    (["", mapping(2147483648), mapping(2154627072)], []),
    ([mapping(65536)], [65536]),  # what a kubelet without a user of its own gives to the first pod
    ([mapping(2154692608), mapping(131072)], [131072, 2154692608]),
    ([mapping(2147483648, 131072)], [2147483648]),
])
def test_pods_outside_of_the_range_are_found(texts: list[str], expected: list[int]) -> None:
    assert stranded(texts, 2147483648, 7208960, 65536) == expected

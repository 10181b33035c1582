# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a namespace ready for builds, and what undoes it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._cluster_network import network_policy_spec
from ansible_collections.rootless.buildah.plugins.module_utils._cluster_objects import (
    cluster_plan,
    cluster_way_back,
    own_objects,
    secret_objects,
)
from ansible_collections.rootless.buildah.plugins.module_utils._cluster_trials import (
    admission_problems,
    admission_trials,
)
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

DIGEST = "sha256:" + "1" * 64
IMAGE = f"registry.example.com/rootless-buildah/builder@{DIGEST}"
SETTINGS: dict[str, Any] = {
    "namespace": "builds",
    "namespace_labels": {"team": "x"},
    "pod_security": "baseline",
    "pod_security_version": "latest",
    "pod_security_report": False,
    "allow_profile_b": False,
    "policy": True,
    "runtime_class": False,
    "quota": {"pods": 20, "limits.memory": "8Gi"},
    "limits": {"default": {"memory": "1Gi"}},
    "network_policy": True,
    "registries": [],
    "dns": [],
    "egress": [],
    "pull": False,
    "push": True,
    "context_repository": "",
    "selinux_type": "",
    "image": IMAGE,
    "undecided": False,
}
MANAGED = {"app.kubernetes.io/managed-by": "rootless.buildah"}


def namespace(name: str, phase: str = "Active", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "status": {"phase": phase}}


def plan(found: tuple[dict[str, Any], ...] = (), **settings: Any) -> dict[str, Any]:
    return cluster_plan({**SETTINGS, **settings}, found)


def kinds(objects: list[dict[str, Any]]) -> list[str]:
    return [each["kind"] for each in objects]


def test_the_whole_plan() -> None:
    made = plan()
    assert made["names"] == [
        "ServiceAccount rootless-buildah",
        "ServiceAccount default",
        "ResourceQuota rootless-buildah",
        "LimitRange rootless-buildah",
        "NetworkPolicy rootless-buildah",
        "ConfigMap rootless-buildah",
        "Secret rootless-buildah-push",
    ]
    assert made["unwanted"] == [{"api_version": "v1", "kind": "Secret", "name": "rootless-buildah-pull"}]
    assert all(each["metadata"]["namespace"] == "builds" for each in made["objects"])
    accounts = [each for each in made["objects"] if each["kind"] == "ServiceAccount"]
    assert [each["automountServiceAccountToken"] for each in accounts] == [False, False]
    # The default account is not ours to remove.
    assert "labels" not in accounts[1]["metadata"]
    # Quantities are text, whatever YAML made of them.
    assert made["objects"][2]["spec"]["hard"] == {"pods": "20", "limits.memory": "8Gi"}
    assert made["defaults"] == {"image": IMAGE, "contexts": "registry.example.com/rootless-buildah/contexts/builds"}
    assert kinds(made["whole"]) == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]


def test_what_is_switched_off_is_looked_for_to_be_removed() -> None:
    made = plan(quota={}, limits={}, network_policy=False, push=False, pull=True, policy=False, runtime_class=True)
    assert [each["kind"] for each in made["unwanted"]] == ["ResourceQuota", "LimitRange", "NetworkPolicy", "Secret"]
    assert made["unwanted"][-1]["name"] == "rootless-buildah-push"
    assert kinds(made["whole"]) == ["RuntimeClass"]
    assert made["whole"][0]["metadata"] == {"name": "crun", "labels": MANAGED}


@pytest.mark.parametrize(
    ("found", "ours"), [((), True), ((namespace("builds", **MANAGED),), True), ((namespace("builds"),), False)]
)
def test_a_namespace_that_was_there_does_not_become_ours(found: tuple[dict[str, Any], ...], ours: bool) -> None:
    labels = plan(found)["namespace"]["metadata"]["labels"]
    assert (MANAGED.items() <= labels.items()) == ours
    assert {name: value for name, value in labels.items() if name not in MANAGED} == {
        "team": "x",
        "rootless.buildah/builds": "true",
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/enforce-version": "latest",
    }


def test_more_labels_when_they_are_asked_for() -> None:
    labels = plan(allow_profile_b=True, pod_security_report=True, pod_security_version="v1.36")["namespace"][
        "metadata"
    ]["labels"]
    assert labels["rootless.buildah/allow-profile-b"] == "true"
    assert labels["pod-security.kubernetes.io/warn"] == labels["pod-security.kubernetes.io/audit"] == "restricted"
    assert labels["pod-security.kubernetes.io/warn-version"] == "v1.36"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image": ""}, "is no image name"),
        ({"image": "registry.example.com/builder:1"}, "is no builder image"),
        ({"image": f"builder@{DIGEST}"}, "is no builder image"),
        ({"context_repository": "registry.example.com/contexts:1"}, "is no repository"),
        ({"context_repository": "contexts"}, "is no repository"),
    ],
)
def test_images_have_full_names(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan(**settings)


def test_check_mode_knows_no_digest_of_what_it_does_not_build() -> None:
    name = "registry.example.com/builder:1"
    assert plan(image=name, undecided=True)["defaults"]["image"] == name


def test_secrets_hold_the_logins() -> None:
    login = {"registry": "r.example.com:5000", "username": "u", "password": "p"}
    made = secret_objects({"namespace": "builds", "pull_logins": [], "push_logins": [login]})
    assert [(each["metadata"]["name"], each["type"]) for each in made] == [
        ("rootless-buildah-push", "kubernetes.io/dockerconfigjson")
    ]
    content = json.loads(base64.b64decode(made[0]["data"][".dockerconfigjson"]))
    assert content == {"auths": {"r.example.com:5000": {"auth": base64.b64encode(b"u:p").decode()}}}


@pytest.mark.parametrize(
    ("registry", "peers", "port"),
    [
        ({"registry": "192.0.2.7:5000"}, [{"ipBlock": {"cidr": "192.0.2.7/32"}}], 5000),
        ({"registry": "192.0.2.7"}, [{"ipBlock": {"cidr": "192.0.2.7/32"}}], 443),
        ({"registry": "[2001:db8::7]:5000"}, [{"ipBlock": {"cidr": "2001:db8::7/128"}}], 5000),
        ({"registry": "r.example.com", "cidrs": ["192.0.2.0/24"]}, [{"ipBlock": {"cidr": "192.0.2.0/24"}}], 443),
        ({"registry": "r.svc:80", "peers": [{"podSelector": {}}], "port": 5000}, [{"podSelector": {}}], 5000),
    ],
)
def test_a_registry_is_addresses_and_a_port(registry: dict[str, Any], peers: list[dict[str, Any]], port: int) -> None:
    spec = network_policy_spec([registry], [], [])
    assert spec["egress"] == [{"to": peers, "ports": [{"protocol": "TCP", "port": port}]}]


def test_nothing_comes_in_and_without_rules_nothing_goes_out() -> None:
    spec = network_policy_spec([], [], [])
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    names = network_policy_spec([], [{"podSelector": {}}], [{"ports": [{"port": 80}]}])["egress"]
    assert [each["port"] for each in names[0]["ports"]] == [53, 53]
    assert names[1] == {"ports": [{"port": 80}]}


@pytest.mark.parametrize(
    ("registry", "words"),
    [
        ({"registry": "r.example.com:5000"}, "r.example.com:5000 cannot be allowed"),
        ({"registry": "r.example.com", "cidrs": ["192.0.2.1/24"]}, "is no block of addresses"),
    ],
)
def test_names_are_no_addresses(registry: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        network_policy_spec([registry], [], [])


def test_the_way_back() -> None:
    ours, theirs, other = namespace("builds", **MANAGED), namespace("builds"), {"rootless.buildah/builds": "true"}
    back = cluster_way_back([ours], "builds")
    assert (back["remove"], back["bare"], back["unwanted"]) == (True, [], [])
    assert kinds(back["whole"]) == ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy", "RuntimeClass"]
    back = cluster_way_back([theirs, namespace("else", **other)], "builds")
    assert back["remove"] is False and back["whole"] == []
    assert [(each["kind"], each["metadata"]["name"]) for each in back["bare"]] == [
        ("Namespace", "builds"),
        ("ServiceAccount", "default"),
    ]
    assert len(back["unwanted"]) == 7
    gone = cluster_way_back([namespace("default")], "builds")
    assert (gone["remove"], gone["bare"], gone["unwanted"]) == (False, [], [])


def test_only_what_the_collection_made_is_its_own() -> None:
    def secret(name: str, labels: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}}

    found = [secret("ours", {**MANAGED, "more": "x"}), secret("theirs", {"more": "x"}), secret("bare", None)]
    assert own_objects(found) == [{"api_version": "v1", "kind": "Secret", "name": "ours"}]


def trials(**settings: Any) -> list[dict[str, Any]]:
    return admission_trials({**SETTINGS, **settings}, [namespace("builds"), namespace("zoo"), namespace("default")])


def test_pods_to_show() -> None:
    refused = {each["what"]: each["refused"] for each in trials()}
    assert refused == {
        "a build of profile A": "",
        "a build of profile C": "",
        "a privileged pod": "violates PodSecurity",
        "a build of profile B": "label rootless.buildah/allow-profile-b=true",
        "a pod with the profiles in default": "with the label rootless.buildah/builds=true",
    }
    assert {each["what"]: each["refused"] for each in trials(allow_profile_b=True)}["a build of profile B"] == ""
    always = ["a build of profile A", "a build of profile C", "a privileged pod"]
    assert [each["what"] for each in trials(policy=False)] == always
    busy = [namespace("builds"), namespace("x", **{"rootless.buildah/builds": "true"}), namespace("y", "Terminating")]
    assert len(admission_trials(SETTINGS, busy)) == 4


def test_where_restricted_is_enforced_only_profile_c_builds() -> None:
    assert {each["what"]: each["refused"] for each in trials(pod_security="restricted")} == {
        "a build of profile A": "violates PodSecurity",
        "a build of profile C": "",
        "a privileged pod": "violates PodSecurity",
        "a pod with the profiles in default": "with the label rootless.buildah/builds=true",
    }
    labels = plan(pod_security="restricted")["namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_answers_that_are_as_they_must_be() -> None:
    shown = trials()
    answers: list[dict[str, Any]] = [{"msg": f"x {each['refused']} y"} for each in shown]
    answers[:2] = [{"result": one["pod"]} for one in shown[:2]]
    assert admission_problems(shown, answers) == []


def test_a_cluster_without_user_namespaces_builds_as_profile_b_where_that_is_allowed() -> None:
    def dropped(pod: dict[str, Any]) -> dict[str, Any]:
        return {**pod, "spec": {name: value for name, value in pod["spec"].items() if name != "hostUsers"}}

    for allowed in (True, False):
        shown = [one for one in trials(allow_profile_b=allowed) if not one["refused"]]
        problems = admission_problems(shown, [{"result": dropped(one["pod"])} for one in shown])
        assert len(problems) == (0 if allowed else 2)
        assert all("cluster_builder_allow_profile_b" in each for each in problems)


def test_where_nodes_have_selinux_builds_ask_for_a_type() -> None:
    labelled = {"type": "container_engine_t"}
    for one in trials(selinux_type="container_engine_t"):
        if one["what"] != "a privileged pod":
            assert one["pod"]["spec"]["securityContext"]["seLinuxOptions"] == labelled
    assert plan(selinux_type="container_engine_t")["defaults"]["selinux_type"] == "container_engine_t"
    assert "selinux_type" not in plan()["defaults"]
    assert not any("seLinuxOptions" in one["pod"]["spec"].get("securityContext", {}) for one in trials())


@pytest.mark.parametrize(
    ("number", "answer", "words"),
    [
        (0, {"msg": "no room"}, "a build of profile A is refused: no room"),
        (0, {"result": {"spec": {}}}, "the API server drops hostUsers: false"),
        (2, {"result": {"spec": {}}}, "a privileged pod is admitted"),
        (2, {"msg": "timeout"}, "a privileged pod is refused, but not because of"),
    ],
)
def test_answers_that_are_not(number: int, answer: dict[str, Any], words: str) -> None:
    problems = admission_problems([trials()[number]], [answer])
    assert len(problems) == 1 and words in problems[0]

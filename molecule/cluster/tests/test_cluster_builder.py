# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role cluster_builder against a real API server; no node is needed for what these tests ask."""

from __future__ import annotations

import json
import time
from typing import Any, Iterator, Mapping, Optional

import pytest

from ansible_collections.rootless.buildah.molecule.verify.clusters import CLUSTER_BUILDER, Cluster, Played

IMAGE = f"registry.example.com/builder@sha256:{'1' * 64}"
BUILDS, ALLOW_B = "rootless.buildah/builds", "rootless.buildah/allow-profile-b"
PASSWORD = "p4ssword-that-nobody-sees"
SECCOMP = {"seccompProfile": {"type": "Localhost", "localhostProfile": "rootless-build.json"}}
APPARMOR = {"appArmorProfile": {"type": "Localhost", "localhostProfile": "rootless-build"}}
POLICIES = "validatingadmissionpolicies"


def role(space: Cluster, *arguments: str, check: bool = True, **options: Any) -> Played:
    """Run the role for a namespace.

    :param options: its variables without their prefix.
    """
    login = {"registry": "registry.example.com", "username": "user", "password": PASSWORD}
    given = {
        "kubeconfig": str(space.place.kubeconfig), "namespace": space.namespace, "image": IMAGE,
        "registries": [{"registry": "registry.example.com", "cidrs": ["192.0.2.10/32"]}],
        "pull_logins": [login], "push_logins": [login], **options,
    }  # fmt: skip
    return space.play(CLUSTER_BUILDER, {f"cluster_builder_{name}": value for name, value in given.items()}, *arguments,
                      check=check)  # fmt: skip


def named(prefix: str, cluster: Cluster) -> Cluster:
    return Cluster(cluster.place, f"{prefix}-{time.time_ns():x}")


def namespace(space: Cluster) -> Optional[dict[str, Any]]:
    """Return the namespace; None where there is none."""
    found = (one for one in space.get("namespaces") if one["metadata"]["name"] == space.namespace)
    return next(found, None)


@pytest.fixture(name="ready", scope="module")
def _ready(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace that the role made, and that lets profile A in only."""
    space = named("ready", cluster)
    role(space)
    yield space
    space.kubectl("delete", "namespace", space.namespace, "--wait=false")


@pytest.fixture(name="space")
def _space(cluster: Cluster) -> Iterator[Cluster]:
    """A name for a namespace that is not there."""
    space = named("space", cluster)
    yield space
    space.kubectl("delete", "namespace", space.namespace, "--wait=false", "--ignore-not-found")


def pod(spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return a pod whose only container does nothing of its own."""
    container = {"name": "one", "image": IMAGE, "securityContext": spec.get("container", {})}
    rest = {name: value for name, value in spec.items() if name != "container"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial", **metadata},
            "spec": {"containers": [container], **rest}}  # fmt: skip


def shown(space: Cluster, manifest: Mapping[str, Any]) -> str:
    """Return what the API server says of a pod that is only shown to it; nothing when it is admitted."""
    said = space.kubectl("create", "--dry-run=server", "--filename=-", manifest=manifest, check=False)
    return "" if "created (server dry run)" in said else said


def test_check_mode_makes_nothing_and_the_second_run_neither(space: Cluster) -> None:
    predicted = role(space, "--check")
    assert predicted.changed > 0 and namespace(space) is None
    for kind in ("ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "Secret", "ConfigMap"):
        assert kind in predicted.text
    made = role(space)
    found = namespace(space)
    assert made.changed > 0 and found is not None
    assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    assert role(space).changed == 0 and role(space, "--check").changed == 0
    other: Any = {"quota": {"pods": "3"}}
    assert role(space, "--check", **other).changed == 1
    assert space.get("resourcequotas")[0]["spec"]["hard"] != {"pods": "3"}
    assert role(space, **other).changed == 1
    assert space.get("resourcequotas")[0]["spec"]["hard"] == {"pods": "3"}


def test_logins_are_in_secrets_and_nowhere_else(space: Cluster) -> None:
    said = role(space, "--diff", "-vvv")
    assert PASSWORD not in said.text
    everything = [space.get(kind) for kind in ("configmaps", "resourcequotas", "networkpolicies", "serviceaccounts")]
    assert PASSWORD not in json.dumps(everything)
    kept = {one["metadata"]["name"]: one["type"] for one in space.get("secrets")}
    assert kept == dict.fromkeys(("rootless-buildah-pull", "rootless-buildah-push"), "kubernetes.io/dockerconfigjson")
    # A new password is a change, and shown to nobody either.
    login = {"registry": "registry.example.com", "username": "user", "password": f"new-{PASSWORD}"}
    said = role(space, "--diff", "-vvv", push_logins=[login], pull_logins=[])
    assert said.changed > 0 and PASSWORD not in said.text
    assert [one["metadata"]["name"] for one in space.get("secrets")] == ["rootless-buildah-push"]


def test_no_account_of_the_namespace_gets_a_token(ready: Cluster) -> None:
    accounts = {
        one["metadata"]["name"]: one.get("automountServiceAccountToken") for one in ready.get("serviceaccounts")
    }
    assert accounts == {"default": False, "rootless-buildah": False}


def test_a_pod_that_asks_for_nothing_gets_limits(ready: Cluster) -> None:
    made = json.loads(ready.kubectl("create", "--dry-run=server", "--output=json", "--filename=-", manifest=pod({})))
    limits = made["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"memory": "4Gi", "ephemeral-storage": "20Gi"}


def test_only_names_and_registries_are_open(ready: Cluster) -> None:
    (policy,) = ready.get("networkpolicies")
    assert policy["spec"]["podSelector"] == {} and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert not policy["spec"].get("ingress")
    ports = [{port["port"] for port in rule["ports"]} for rule in policy["spec"]["egress"]]
    assert ports == [{53}, {443}]
    assert {"ipBlock": {"cidr": "192.0.2.10/32"}} in policy["spec"]["egress"][1]["to"]


@pytest.mark.parametrize(
    "spec, words",
    [
        ({"hostUsers": False, "container": {**SECCOMP, **APPARMOR}}, ""),
        ({"container": {"privileged": True}}, "violates PodSecurity"),
        ({"hostPID": True}, "violates PodSecurity"),
        ({"container": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "violates PodSecurity"),
        ({"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}, "violates PodSecurity"),
        ({"container": {"seccompProfile": {"type": "Unconfined"}}}, "violates PodSecurity"),
        ({"container": {"appArmorProfile": {"type": "Unconfined"}}}, "violates PodSecurity"),
        ({"container": SECCOMP}, f"label {ALLOW_B}=true"),
        ({"securityContext": APPARMOR, "hostUsers": True}, f"label {ALLOW_B}=true"),
    ],
    ids=[
        "profile-a",
        "privileged",
        "host-pid",
        "capability",
        "host-path",
        "no-seccomp",
        "no-apparmor",
        "b",
        "b-of-pod",
    ],
)
# fmt: skip
def test_the_namespace_admits_builds_of_profile_a_and_nothing_that_baseline_refuses(
    ready: Cluster, spec: dict[str, Any], words: str
) -> None:
    said = shown(ready, pod(spec))
    assert words in said and bool(words) == bool(said)


@pytest.mark.parametrize("spec", [
    {"securityContext": SECCOMP},
    {"securityContext": APPARMOR},
    {"container": SECCOMP},
    {"container": {"seccompProfile": {"type": "Localhost", "localhostProfile": "./rootless-build.json"}}},
    {"initContainers": [{"name": "init", "image": IMAGE, "securityContext": APPARMOR}]},
], ids=["pod-seccomp", "pod-apparmor", "container", "spelled-otherwise", "init-container"])  # fmt: skip
def test_pods_of_other_namespaces_cannot_use_the_profiles_of_builds(ready: Cluster, spec: dict[str, Any]) -> None:
    elsewhere = Cluster(ready.place, "default")
    own = {"hostUsers": False, **spec}
    assert f"namespaces with the label {BUILDS}=true" in shown(elsewhere, pod(own))
    # The same pod is admitted where builds are at home, and any other pod there: it is the policy that says so.
    assert shown(ready, pod(own)) == ""
    assert shown(elsewhere, pod({"hostUsers": False})) == ""


def test_a_container_that_joins_a_pod_later_cannot_use_them_either(ready: Cluster) -> None:
    elsewhere = Cluster(ready.place, "default")
    name = f"trial-{time.time_ns():x}"
    elsewhere.kubectl("create", "--filename=-", manifest=pod({"nodeSelector": {"no": "where"}}, name=name))
    try:
        late = {"name": "late", "image": IMAGE, "securityContext": SECCOMP}
        patch = json.dumps({"spec": {"ephemeralContainers": [late]}})
        said = elsewhere.kubectl("patch", "pod", name, "--subresource=ephemeralcontainers", f"--patch={patch}",
                                 check=False)  # fmt: skip
        assert f"namespaces with the label {BUILDS}=true" in said
        harmless = patch.replace(json.dumps(SECCOMP), "{}")
        assert "patched" in elsewhere.kubectl(
            "patch", "pod", name, "--subresource=ephemeralcontainers", f"--patch={harmless}")  # fmt: skip
    finally:
        elsewhere.kubectl("delete", "pod", name, "--grace-period=0", "--force")


def test_profile_b_is_admitted_where_it_is_allowed(space: Cluster) -> None:
    as_b = pod({"container": {**SECCOMP, **APPARMOR, "runAsUser": 1000}})
    role(space, allow_profile_b=True)
    assert shown(space, as_b) == ""
    role(space)
    assert f"label {ALLOW_B}=true" in shown(space, as_b)


def test_absent_takes_the_namespace_that_the_role_made(space: Cluster, ready: Cluster) -> None:
    role(space)
    assert role(space, "--check", state="absent").changed > 0 and namespace(space)
    assert role(space, state="absent").changed > 0 and namespace(space) is None
    assert role(space, state="absent").changed == 0
    # Another namespace still builds, and needs what belongs to the whole cluster.
    assert "rootless-buildah-profiles" in ready.kubectl("get", POLICIES)


def test_a_namespace_that_was_there_before_stays_with_what_is_in_it(space: Cluster) -> None:
    space.kubectl("create", "namespace", space.namespace)
    space.kubectl("create", "configmap", "of-somebody-else")
    role(space)
    role(space, state="absent")
    found = namespace(space)
    assert found is not None
    assert {name for name in found["metadata"]["labels"] if "kubernetes.io/metadata" not in name} == set()
    left = {one["metadata"]["name"] for kind in ("configmaps", "secrets", "resourcequotas", "limitranges",
            "networkpolicies", "serviceaccounts") for one in space.get(kind)}  # fmt: skip
    assert left <= {"of-somebody-else", "default", "kube-root-ca.crt"} and "of-somebody-else" in left


def test_what_somebody_else_has_set_is_an_error_until_it_may_be_overwritten(space: Cluster) -> None:
    space.kubectl("create", "namespace", space.namespace)
    space.kubectl("label", "namespace", space.namespace, "pod-security.kubernetes.io/enforce=privileged")
    refused = role(space, check=False)
    assert refused.status != 0 and "conflict" in refused.text
    assert (namespace(space) or {})["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    role(space, overwrite=True)
    assert (namespace(space) or {})["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"


def test_without_an_image_nothing_is_made(space: Cluster) -> None:
    for options, words in (
        ({"image": "registry.example.com/builder:1"}, "digest"),
        ({"image_build": True, "image": "registry.example.com/builder:1"}, "cluster_builder_base_image"),
    ):
        refused = role(space, check=False, **options)
        assert refused.status != 0 and words in refused.text and namespace(space) is None

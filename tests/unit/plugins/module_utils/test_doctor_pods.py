# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod that the doctor asks is that of a build, and one that cannot be asked is told of in the cluster's words."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._doctor_pods import (
    doctor_admission,
    doctor_pod,
    doctor_trial,
)
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import PodSettings, Work, pod_spec

IMAGE = "registry.example.com/builder@sha256:" + "1" * 64
DEFAULTS = {"image": IMAGE, "contexts": "registry.example.com/contexts", "selinux_type": "container_engine_t"}
NAME = "doctor-a-x7k2p"
WAITING: dict[str, Any] = {"metadata": {"name": NAME}}


def pod(state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """Return the Job's pod on a node with its container in a state (core/v1, ContainerState)."""
    statuses = [{"name": "build", "state": state}] if state else []
    return {
        "metadata": {"name": f"{NAME}-abcde", "creationTimestamp": "2026-11-28T09:00:00Z"},
        "spec": {"nodeName": "node-1"}, "status": {"containerStatuses": statuses, **status},
    }  # fmt: skip


def event(reason: str, message: str, name: str = f"{NAME}-abcde", count: int = 1) -> dict[str, Any]:
    return {"reason": reason, "message": message, "count": count, "lastTimestamp": "2026-11-28T09:00:00Z",
            "involvedObject": {"name": name}}  # fmt: skip


def ids(told: dict[str, Any]) -> list[str]:
    return [one["id"] for one in told["findings"]]


@pytest.mark.parametrize("profile", ["a", "b"])
def test_the_pod_has_the_settings_of_a_build(profile: str) -> None:
    settings = PodSettings(IMAGE, profile, selinux_type="container_engine_t")
    build = pod_spec(Work("i", "k", "c", "d", True, (), (), ()), settings)
    trial = doctor_trial("node-1", profile, "builds", DEFAULTS)
    asked = trial["job"]["spec"]["template"]["spec"]
    for name in ("securityContext", "hostUsers", "nodeSelector", "serviceAccountName", "automountServiceAccountToken"):
        assert asked.get(name) == build.get(name)
    (container,) = asked["containers"]
    step = next(one for one in build["initContainers"] if one["name"] == "build")
    for name in ("image", "env", "securityContext"):
        assert container[name] == step[name]
    assert [one["mountPath"] for one in container["volumeMounts"]] == [
        one["mountPath"] for one in step["volumeMounts"] if one["name"] != "context"]  # fmt: skip
    assert trial["pod"]["spec"] == asked


def test_it_is_for_one_node_and_goes_by_itself() -> None:
    job = doctor_trial("node-1", "a", "builds", DEFAULTS)["job"]
    (term,) = job["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]  # fmt: skip
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    assert job["metadata"]["generateName"] == "doctor-a-" and "name" not in job["metadata"]
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] and job["spec"]["ttlSecondsAfterFinished"]


@pytest.mark.parametrize("words, finding", [
    ('pods "doctor" is forbidden: ValidatingAdmissionPolicy denied: label rootless.buildah/allow-profile-b=true',
     "pod_policy"),
    ('pods "doctor" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities', "pod_security"),
    ('pods "doctor" is forbidden: exceeded quota: rootless-buildah', "pod_quota"),
])  # fmt: skip
def test_a_pod_that_the_server_refuses_is_told_with_its_words(words: str, finding: str) -> None:
    told = doctor_admission({"failed": True, "msg": words}, "b")
    assert (told["ready"], ids(told), told["findings"][0]["evidence"]) == (False, [finding], words)


def test_what_the_server_drops_is_noticed() -> None:
    assert ids(doctor_admission({"result": {"spec": {}}}, "a")) == ["pod_host_users"]
    assert doctor_admission({"result": {"spec": {"hostUsers": False}}}, "a") == {}
    assert doctor_admission({"result": {"spec": {}}}, "b") == {}


def test_an_answer_that_is_no_known_refusal_is_a_reason() -> None:
    assert doctor_admission({"msg": "Connection refused"}, "a") == {"ready": False, "reason": "Connection refused"}


def test_a_pod_that_runs_can_be_asked() -> None:
    assert doctor_pod(WAITING, [pod({"running": {}})], [], True) == {
        "state": "running", "pod": f"{NAME}-abcde", "told": {}}  # fmt: skip


def test_a_pod_that_may_still_start_is_waited_for_and_not_for_ever() -> None:
    creating = pod({"waiting": {"reason": "ContainerCreating"}})
    assert doctor_pod(WAITING, [creating], [], False)["state"] == "waiting"
    assert doctor_pod(WAITING, [], [], False)["state"] == "waiting"
    late = doctor_pod(WAITING, [creating], [event("Pulling", "Pulling image x")], True)
    assert late["state"] == "failed"
    assert late["told"]["reason"] == "the pod did not start in time: node-1 prepares the pod: Pulling image x"


SECCOMP = 'cannot load seccomp profile "/var/lib/kubelet/seccomp/rootless-build.json": no such file or directory'


@pytest.mark.parametrize("found, events, finding", [
    (pod({"waiting": {"reason": "CreateContainerError", "message": SECCOMP}}), [], "pod_seccomp_missing"),
    (pod({"waiting": {"reason": "CreateContainerError", "message": "apparmor profile not found"}}), [],
     "pod_apparmor_missing"),
    (pod({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}), [event("Failed", "Failed to pull image")],
     "pod_image_pull"),
    (pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}]), [],
     "pod_unschedulable"),
    (pod(), [event("FailedCreatePodSandBox", "idmap mounts are not supported", count=3)], "pod_userns"),
])  # fmt: skip
def test_a_pod_that_cannot_start_is_told_by_its_finding(
    found: dict[str, Any], events: list[dict[str, Any]], finding: str
) -> None:
    view = doctor_pod(WAITING, [found], events, False)
    assert (view["state"], ids(view["told"])) == ("failed", [finding])


def test_what_happens_to_other_pods_does_not_count() -> None:
    others = [event("FailedCreatePodSandBox", "idmap mounts are not supported", "build-x", 9)]
    assert doctor_pod(WAITING, [pod()], others, False)["state"] == "waiting"


@pytest.mark.parametrize("name, expected", [(NAME, ["pod_host_users"]), ("doctor-b-x7k2p", None)])
def test_a_pod_that_refuses_itself_is_root_of_the_node(name: str, expected: list[str] | None) -> None:
    ended = pod({"terminated": {"exitCode": 78}}, phase="Failed")
    told = doctor_pod({"metadata": {"name": name}}, [ended], [], False)["told"]
    assert (ids(told) if expected else told.get("findings")) == expected

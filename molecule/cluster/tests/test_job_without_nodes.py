# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What buildah_job says to a real API server, and that nothing is left there; no node is needed for that."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.verify.clusters import Cluster
from ansible_collections.rootless.buildah.tests.tools.waiting import until

NOWHERE = {"node_selector": {"no.such/node": "true"}, "profile": "a"}
TOKEN = "t0ken-that-nobody-sees"


@pytest.fixture(name="space")
def _space(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace that is ready for builds, and nothing more."""
    space = Cluster(cluster.place, f"trial-{time.time_ns():x}")
    space.kubectl("create", "namespace", space.namespace)
    labels = ("pod-security.kubernetes.io/enforce=baseline", "rootless.buildah/builds=true")
    space.kubectl("label", "namespace", space.namespace, *labels)
    space.kubectl("create", "serviceaccount", "rootless-buildah")
    defaults = {
        "image": f"{space.registry}/builder@sha256:{'1' * 64}", "contexts": f"{space.registry}/contexts",
        "selinux_type": "container_engine_t",
    }  # fmt: skip
    literals = (f"--from-literal={name}={value}" for name, value in defaults.items())
    space.kubectl("create", "configmap", "rootless-buildah", *literals)
    yield space
    space.kubectl("delete", "namespace", space.namespace, "--wait=false")


@pytest.fixture(name="context")
def _context(tmp_path: Path) -> Path:
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Containerfile").write_text("FROM scratch\nCOPY file /file\n")
    (tmp_path / "context/file").write_text(f"{time.time_ns()}\n")
    return tmp_path / "context"


def nothing_is_left(space: Cluster) -> bool:
    return not any(space.names(kind) for kind in ("jobs", "secrets", "configmaps", "pods"))


def test_check_mode_makes_nothing_and_predicts_the_build(space: Cluster, context: Path) -> None:
    result = space.build(context, "checked:1", check=True)
    assert (result["changed"], result["built"], [one["reason"] for one in result["reasons"]]) == (
        True, True, ["not_at_destination"])  # fmt: skip
    assert nothing_is_left(space)


def test_a_build_that_no_node_takes_ends_early_with_the_schedulers_words(space: Cluster, context: Path) -> None:
    secrets = [{"id": "token", "value": TOKEN}]
    begun = time.monotonic()
    result = space.build(context, "nowhere:1", job={**NOWHERE, "schedule_timeout": 4}, secrets=secrets)
    assert time.monotonic() - begun < 30
    assert (result["failed"], result["finding"]) == (True, "pod_unschedulable")
    assert "nodes" in result["cause"] and "Remedy" in result["msg"]
    until(lambda: nothing_is_left(space))


def test_secrets_are_in_secrets_that_go_with_the_job(space: Cluster, context: Path) -> None:
    secrets = [{"id": "token", "value": TOKEN}]
    run = space.start("buildah_job", space.options(
        context, "secret:1", job={**NOWHERE, "schedule_timeout": 60}, secrets=secrets))  # fmt: skip
    try:
        until(lambda: space.names("pods"))
        (job,) = space.get("jobs")
        told = json.dumps([job, space.get("pods"), space.get("configmaps"), space.get("events")])
        login = json.loads(Path(space.login()).read_text())["auths"][space.registry]["auth"]
        assert TOKEN not in told and login not in told
        assert TOKEN not in Path(f"/proc/{run.pid}/cmdline").read_text()
        kept = space.get("secrets")
        assert {one["metadata"]["name"].rpartition("-")[2] for one in kept} == {"pull", "push", "secrets"}
        assert {one["metadata"]["ownerReferences"][0]["uid"] for one in kept} == {job["metadata"]["uid"]}
        # What the namespace says of all builds.
        labelled = job["spec"]["template"]["spec"]["securityContext"]["seLinuxOptions"]
        assert labelled == {"type": "container_engine_t"}
    finally:
        run.kill()
        run.communicate()
    # The controller is dead. Whoever removes the Job, or its time, removes everything.
    assert job["spec"]["ttlSecondsAfterFinished"] and job["spec"]["activeDeadlineSeconds"]
    space.kubectl("delete", "job", job["metadata"]["name"])
    until(lambda: nothing_is_left(space))


def test_two_controllers_meet_in_one_job_and_a_third_joins_when_one_is_killed(space: Cluster, context: Path) -> None:
    options = space.options(context, "meet:1", job={**NOWHERE, "schedule_timeout": 12})
    first = space.start("buildah_job", options)
    until(lambda: space.names("pods"))
    uid = space.get("jobs")[0]["metadata"]["uid"]
    first.kill()
    first.communicate()
    second = space.start("buildah_job", options)
    time.sleep(4)
    assert [one["metadata"]["uid"] for one in space.get("jobs")] == [uid]
    result = space.result(second)
    assert result["finding"] == "pod_unschedulable"
    until(lambda: nothing_is_left(space))


def test_a_job_of_the_same_name_that_does_something_else_is_replaced(space: Cluster, context: Path) -> None:
    options = space.options(context, "planted:1", job={**NOWHERE, "schedule_timeout": 6})
    first = space.start("buildah_job", options)
    until(lambda: space.names("pods"))
    (job,) = space.get("jobs")
    first.kill()
    first.communicate()
    name, spec = job["metadata"]["name"], job["spec"]
    space.kubectl("delete", "job", name)
    until(lambda: nothing_is_left(space))
    for label in list(spec["template"]["metadata"]["labels"]):
        if "job-name" in label or "controller-uid" in label:
            del spec["template"]["metadata"]["labels"][label]
    spec.pop("selector")
    spec["template"]["spec"]["containers"][0]["command"] = ["/bin/sh", "-c", "echo intruder"]
    told = {key: job["metadata"][key] for key in ("name", "labels", "annotations")}
    planted = {"apiVersion": "batch/v1", "kind": "Job", "metadata": told, "spec": spec}
    space.kubectl("create", "--filename=-", manifest=planted)
    uid = space.get("jobs")[0]["metadata"]["uid"]
    second = space.start("buildah_job", options)
    until(lambda: [one["metadata"]["uid"] for one in space.get("jobs")] not in ([], [uid]))
    assert "intruder" not in json.dumps(space.get("jobs")[0]["spec"])
    assert space.result(second)["finding"] == "pod_unschedulable"


def test_a_job_that_was_made_and_never_begun_is_made_anew(space: Cluster, context: Path) -> None:
    """As a controller leaves it that dies between making the Job and resuming it."""
    options = space.options(context, "unborn:1", job={**NOWHERE, "schedule_timeout": 3})
    first = space.start("buildah_job", options)
    (name,) = until(lambda: space.names("jobs"))
    first.kill()
    first.communicate()
    space.kubectl("patch", "job", name, "--patch", '{"spec": {"suspend": true}}')
    uid = space.get("jobs")[0]["metadata"]["uid"]
    second = space.start("buildah_job", options)
    until(lambda: [one["metadata"]["uid"] for one in space.get("jobs")] not in ([], [uid]), 60)
    assert space.result(second)["finding"] == "pod_unschedulable"


@pytest.mark.parametrize("level, manifest, finding, words", [
    ("restricted", None, "pod_security", 'violates PodSecurity "restricted'),
    ("baseline", {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
                  "spec": {"hard": {"limits.ephemeral-storage": "1Gi"}}}, "pod_quota", "exceeded quota: small"),
])  # fmt: skip
def test_what_the_namespace_refuses_is_told_before_anything_is_made(
    space: Cluster, context: Path, level: str, manifest: Any, finding: str, words: str
) -> None:
    space.kubectl("label", "--overwrite", "namespace", space.namespace, f"pod-security.kubernetes.io/enforce={level}")
    if manifest:
        space.kubectl("create", "--filename=-", manifest=manifest)
        until(lambda: space.get("resourcequotas")[0].get("status", {}).get("hard"))
    result = space.build(context, "refused:1", job=NOWHERE)
    assert (result["failed"], result["finding"]) == (True, finding)
    assert words in result["cause"]
    assert nothing_is_left(space)


def test_a_context_with_a_key_does_not_leave_this_machine(space: Cluster, context: Path) -> None:
    (context / "id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (context / "Containerfile").write_text("FROM scratch\nCOPY . /\n")
    result = space.build(context, "keys:1", job=NOWHERE)
    assert result["failed"] and "id_ed25519" in result["msg"] and ".containerignore" in result["remedy"]
    (context / ".containerignore").write_text("id_*\n")
    result = space.build(context, "keys:1", job={**NOWHERE, "schedule_timeout": 2})
    assert result["finding"] == "pod_unschedulable"


def test_a_namespace_that_is_not_ready_is_told(space: Cluster, context: Path) -> None:
    space.kubectl("delete", "configmap", "rootless-buildah")
    result = space.build(context, "unready:1", job=NOWHERE)
    assert result["failed"] and "cluster_builder" in result["remedy"]


def test_rights_that_are_missing_are_named(space: Cluster, context: Path, tmp_path: Path) -> None:
    result = space.build(context, "powerless:1", job=NOWHERE, kubeconfig=space.account("rootless-buildah", tmp_path))
    assert result["failed"] and 'cannot get resource "configmaps"' in result["cause"]
    assert "rights.yml" in result["remedy"]
    assert nothing_is_left(space)


@pytest.mark.parametrize("change, words", [
    ({"kubeconfig": "/nowhere"}, "the cluster cannot be reached"),
    ({"context": "nobody"}, "the cluster cannot be reached"),
    ({"namespace": "no-such-namespace"}, "refuses"),
])  # fmt: skip
def test_a_cluster_that_cannot_be_used_is_told(
    space: Cluster, context: Path, change: dict[str, Any], words: str
) -> None:
    job = {**NOWHERE, "image": "x@sha256:1", "context_repository": f"{space.registry}/contexts"}
    result = space.build(context, "unreached:1", **change, job=job)
    assert result["failed"] and words in result["msg"] and result["cause"]

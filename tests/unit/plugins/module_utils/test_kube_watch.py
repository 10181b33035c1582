# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Job is doing, told from what a real API server said of real Jobs (tests/fixtures/kubernetes-1.36.3/jobs)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._kube_watch import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    View,
    is_unschedulable,
    is_working,
    look,
    refusal,
    runs_on_a_node,
    wants_room,
)

RECORDED = Path(__file__).parents[3] / "fixtures/kubernetes-1.36.3/jobs"


def recorded(name: str) -> dict[str, Any]:
    return dict(json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8")))


def seen(found: dict[str, Any], waited: float = 0, patience: float = 300) -> View:
    return look(found["job"], found["pods"], found["events"], waited, patience)


@pytest.mark.parametrize("name, state, doing", [
    ("preparing", WAITING, "cluster-one prepares the pod: "),
    ("fetch", RUNNING, "fetch on cluster-one"),
    ("build", RUNNING, "build on cluster-one"),
    ("push", RUNNING, "push on cluster-one"),
    ("done", DONE, "done"),
])  # fmt: skip
def test_a_build_that_gets_on(name: str, state: str, doing: str) -> None:
    view = seen(recorded(name))
    assert (view.state, view.problem) == (state, None)
    assert view.doing.startswith(doing)


@pytest.mark.parametrize("name, working", [
    ("preparing", False), ("fetch", True), ("build", True), ("push", True), ("done", False), ("image-pull", False),
])  # fmt: skip
def test_of_a_step_that_runs_nothing_else_is_asked(name: str, working: bool) -> None:
    found = recorded(name)
    assert is_working(found["pods"]) is working and not is_working([])
    if working:
        assert seen(found) == seen({**found, "events": []})


def test_the_digest_comes_from_the_push_alone() -> None:
    found = recorded("done")
    digest = seen(found).digest
    assert digest.startswith("sha256:") and len(digest) == 71
    (push,) = found["pods"][0]["status"]["containerStatuses"]
    for message in ("", "sha256:123", f"{digest} and more", "error: no"):
        push["state"]["terminated"]["message"] = message
        assert seen(found).digest == ""


def test_a_push_that_succeeded_is_the_end_whatever_else_is_to_be_cleared_away() -> None:
    found = recorded("push")
    ended = recorded("done")["pods"][0]["status"]["containerStatuses"]
    found["pods"][0]["status"]["containerStatuses"] = ended
    view = seen(found)
    assert view.state == DONE and view.digest
    ended[0]["state"]["terminated"]["exitCode"] = 1
    assert seen(found).state != DONE


@pytest.mark.parametrize("name, finding, words", [
    ("image-pull", "pod_image_pull", "not found"),
    ("deadline", "pod_deadline", "longer than specified deadline"),
])  # fmt: skip
def test_a_build_that_does_not_is_told_with_the_clusters_words(name: str, finding: str, words: str) -> None:
    view = seen(recorded(name))
    assert view.state == FAILED and view.problem
    assert view.problem.finding == finding
    assert words in view.problem.words


def failed(step: str, **terminated: Any) -> dict[str, Any]:
    """Return a recorded Job as it is after a step of it has failed (core/v1, ContainerStateTerminated)."""
    found = copy.deepcopy(recorded("build"))
    failure = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "Container failed"}
    found["job"]["status"]["conditions"] = [failure]
    for status in found["pods"][0]["status"]["initContainerStatuses"]:
        if status["name"] == step:
            status["state"] = {"terminated": terminated}
    return found


@pytest.mark.parametrize("terminated, finding", [
    ({"exitCode": 1, "reason": "Error"}, ""),
    ({"exitCode": 78, "reason": "Error"}, ""),
    ({"exitCode": 137, "reason": "OOMKilled"}, "pod_memory"),
])  # fmt: skip
def test_the_step_that_failed_is_named(terminated: dict[str, Any], finding: str) -> None:
    view = seen(failed("build", **terminated))
    assert view.state == FAILED and view.problem
    assert (view.problem.step, view.problem.status, view.problem.finding) == (
        "build", terminated["exitCode"], finding)  # fmt: skip


def test_a_pod_that_took_too_much_room_is_not_tried_again() -> None:
    # The first pod was evicted, and the Job has made a second one already.
    found = copy.deepcopy(recorded("build"))
    words = 'Usage of EmptyDir volume "store" exceeds the limit "100Mi". '
    gone: dict[str, Any] = {"metadata": {"name": "older", "creationTimestamp": "2026-11-27T00:00:00Z"},
                            "status": {"phase": "Failed", "reason": "Evicted", "message": words}}  # fmt: skip
    found["pods"].append(gone)
    view = seen(found)
    assert view.state == FAILED and view.problem
    assert (view.problem.finding, view.problem.words) == ("pod_evicted", words.strip())
    # What a node does for its own sake is none of the build's fault.
    gone["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert seen(found).state == RUNNING


def test_too_many_disruptions() -> None:
    found = failed("build", exitCode=137, reason="Error")
    found["pods"][0]["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    view = seen(found)
    assert view.problem and view.problem.finding == "pod_disrupted"


def unscheduled() -> dict[str, Any]:
    found = copy.deepcopy(recorded("preparing"))
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}
    found["pods"][0]["status"] = {"phase": "Pending", "conditions": [said]}
    return found


def test_a_cluster_gets_time_to_find_a_node() -> None:
    found = unscheduled()
    assert is_unschedulable(found["pods"])
    assert seen(found, waited=299).state == WAITING
    view = seen(found, waited=301)
    assert view.state == FAILED and view.problem
    assert (view.problem.finding, view.problem.words) == ("pod_unschedulable", "0/2 nodes are available")


# As the scheduler of Kubernetes 1.36 says it.
FULL = ("0/2 nodes are available: 2 Insufficient memory. no new claims to deallocate, preemption: 0/2 nodes are "
        "available: 2 No preemption victims found for incoming pod.")  # fmt: skip


@pytest.mark.parametrize("words, room", [
    (FULL, True),
    ("0/2 nodes are available: 1 Insufficient cpu, 1 Too many pods.", True),
    ("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.", False),
])  # fmt: skip
def test_a_build_that_wants_room_only_waits_for_other_builds(words: str, room: bool) -> None:
    found = unscheduled()
    found["pods"][0]["status"]["conditions"][0]["message"] = words
    assert wants_room(found["pods"]) is room and not runs_on_a_node({"spec": {}, "status": {"phase": "Pending"}})
    assert not wants_room(recorded("build")["pods"]) and not wants_room([])
    assert runs_on_a_node(recorded("preparing")["pods"][0]) and runs_on_a_node(recorded("build")["pods"][0])
    assert not runs_on_a_node(recorded("done")["pods"][0])


def test_a_quota_that_other_builds_use_up_is_waited_for() -> None:
    job = {"metadata": {"name": "x"}, "status": {}}
    words = 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=20, limited: pods=20'
    said = [{"reason": "FailedCreate", "message": words}]
    view = look(job, [], said, 0, 300, busy=True)
    assert (view.state, view.doing) == (WAITING, f"waiting for other builds: {words}")
    assert look(job, [], said, 0, 300).state == FAILED


@pytest.mark.parametrize("message, finding", [
    ('cannot load seccomp profile "/var/lib/kubelet/seccomp/rootless-build.json": no such file', "pod_seccomp_missing"),
    ("write to `/proc/thread-self/attr/apparmor/exec`: apparmor: No such file or directory", "pod_apparmor_missing"),
    ("something else", "pod_container"),
])  # fmt: skip
def test_a_container_that_cannot_be_made(message: str, finding: str) -> None:
    found = copy.deepcopy(recorded("preparing"))
    found["pods"][0]["status"]["initContainerStatuses"][0]["state"] = {
        "waiting": {"reason": "CreateContainerError", "message": message}}  # fmt: skip
    view = seen(found)
    assert view.problem and (view.problem.finding, view.problem.words) == (finding, message)


@pytest.mark.parametrize("words, finding", [
    ('pods "x" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities', "pod_security"),
    ('pods "x" is forbidden: exceeded quota: small, requested: limits.ephemeral-storage=20Gi', "pod_quota"),
    ("ValidatingAdmissionPolicy 'rootless-buildah' with binding 'rootless-buildah' denied request: no", "pod_policy"),
    ('error looking up service account builds/nobody: serviceaccount "nobody" not found', ""),
])  # fmt: skip
def test_what_the_api_server_refuses(words: str, finding: str) -> None:
    assert refusal(words) == finding
    job = {"metadata": {"name": "x"}, "status": {}}
    view = look(job, [], [{"reason": "FailedCreate", "message": words}], 0, 300)
    assert view.state == FAILED and view.problem and view.problem.finding == finding

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Job is doing and, when it does not get on, why. Pure: reads what the API server says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import (
    BUILD,
    FETCH,
    PUSH,
)

Object = Mapping[str, Any]
#: States of a Job.
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
# What is as hopeless in a minute as it is now (kubelet, pkg/kubelet/images and kuberuntime, the reasons of a waiting
# container).
_HOPELESS = {
    "ImagePullBackOff": "pod_image_pull",
    "ErrImagePull": "pod_image_pull",
    "ErrImageNeverPull": "pod_image_pull",
    "InvalidImageName": "pod_image_pull",
    "RegistryUnavailable": "pod_image_pull",
    "SignatureValidationFailed": "pod_image_pull",
    "CreateContainerConfigError": "pod_container",
    "CreateContainerError": "pod_container",
    "RunContainerError": "pod_container",
    "ImageVolumeMountFailed": "pod_container",
}
# A pull that failed once may succeed the next time; the kubelet has waited when it says this.
_MAY_PASS = ("ErrImagePull", "RegistryUnavailable")
# What the words of a container that cannot be made tell.
_CONTAINER = (
    ("pod_seccomp_missing", re.compile(r"cannot load seccomp profile|seccomp.*no such file", re.I)),
    ("pod_apparmor_missing", re.compile(r"apparmor", re.I)),
    ("pod_userns", re.compile(r"user.?namespace|idmap|subuid|uidmap", re.I)),
)
# What keeps pods from being made at all (events of the Job).
_REFUSED = (
    ("pod_security", re.compile(r"violates PodSecurity")),
    ("pod_quota", re.compile(r"exceeded quota|must specify .* for:|maximum .* usage per|minimum .* usage per")),
    ("pod_policy", re.compile(r"ValidatingAdmissionPolicy|admission webhook .* denied")),
)


@dataclass(frozen=True)
class Problem:
    """Why a Job does not end well.

    :param finding: the id of what the doctor's catalogue knows of it; empty for a step that simply failed.
    :param step: the container that failed.
    :param words: what the cluster says.
    :param status: the step's exit status.
    """

    finding: str
    words: str
    step: str = ""
    status: Optional[int] = None


@dataclass(frozen=True)
class View:
    """A Job at one moment.

    :param doing: what it is doing, for people: a progress line.
    :param pod: the name of its newest pod.
    :param started: the steps whose containers have started.
    :param digest: of the pushed image, from the termination message of ``push``.
    """

    state: str
    doing: str
    pod: str = ""
    started: tuple[str, ...] = ()
    digest: str = ""
    problem: Optional[Problem] = None


def look(
    job: Object,
    pods: Sequence[Object],
    events: Sequence[Object],
    unschedulable_for: float,
    patience: float,
    busy: bool = False,
) -> View:
    """Return what a Job is doing.

    :param pods: its pods.
    :param events: those of the Job and of its newest pod.
    :param unschedulable_for: seconds that its pod has been without a node.
    :param patience: seconds after which that is a problem; clusters that grow take minutes for a node.
    :param busy: whether other builds run in the namespace, which will leave room.
    """
    conditions = {one["type"]: one for one in job.get("status", {}).get("conditions") or () if one["status"] == "True"}
    newest = newest_of(pods)
    name = newest["metadata"]["name"] if newest else ""
    statuses = _statuses(newest or {})
    started = tuple(step for step, status in statuses.items() if "waiting" not in status.get("state", {"waiting": {}}))
    # The push has succeeded: the node may take its time to clear the pod away, and the Job to be called complete.
    if "Complete" in conditions or _digest(statuses):
        return View(DONE, "done", name, started, _digest(statuses))
    evicted = _evicted(pods)
    if evicted:
        return View(FAILED, "evicted", name, started, problem=evicted)
    if "Failed" in conditions or "FailureTarget" in conditions:
        condition = conditions.get("Failed") or conditions["FailureTarget"]
        return View(FAILED, "failed", name, started, problem=_ended(condition, newest, statuses))
    if newest is None:
        refused = _refused(events)
        if refused and busy and "exceeded quota" in refused.words:
            return View(WAITING, f"waiting for other builds: {refused.words}")
        if refused:
            return View(FAILED, "no pod is made", problem=refused)
        return View(WAITING, "waiting for a pod")
    stuck = _stuck(statuses, events)
    if stuck:
        return View(FAILED, stuck.words, name, started, problem=stuck)
    scheduled: Object = next(
        (one for one in newest.get("status", {}).get("conditions") or () if one["type"] == "PodScheduled"), {}
    )
    if scheduled.get("status") == "False":
        words = str(scheduled.get("message", "no node takes the pod"))
        problem = Problem("pod_unschedulable", words) if unschedulable_for > patience else None
        return View(FAILED if problem else WAITING, f"waiting for a node: {words}", name, started, problem=problem)
    running = _running(statuses)
    if running:
        return View(RUNNING, f"{running[-1]} on {newest['spec'].get('nodeName', '')}", name, started)
    node = newest.get("spec", {}).get("nodeName")
    return View(WAITING, f"{node} prepares the pod: {_last(events)}" if node else "waiting for a node", name, started)


def newest_of(pods: Sequence[Object]) -> Optional[Object]:
    """Return the newest pod; None of none. Its name tells nothing of its age: it ends at random."""
    return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def is_unschedulable(pods: Sequence[Object]) -> bool:
    """Say whether no node takes the newest pod."""
    return _unscheduled(pods) is not None


def is_working(pods: Sequence[Object]) -> bool:
    """Say whether a step of the newest pod runs; then events tell nothing new."""
    return bool(_running(_statuses(newest_of(pods) or {})))


def wants_room(pods: Sequence[Object]) -> bool:
    """Say whether the newest pod is without a node for nothing but the room that others take.

    The scheduler's words (pkg/scheduler/framework/plugins/noderesources).
    """
    return bool(re.search(r"Insufficient|Too many pods", str((_unscheduled(pods) or {}).get("message"))))


def runs_on_a_node(pod: Object) -> bool:
    """Say whether a pod takes room on a node."""
    return bool(pod["spec"].get("nodeName")) and pod.get("status", {}).get("phase") in ("Pending", "Running")


def _unscheduled(pods: Sequence[Object]) -> Optional[Object]:
    """Return why the newest pod is without a node: a condition; None when it has one."""
    conditions = (newest_of(pods) or {}).get("status", {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == "PodScheduled" and one["status"] == "False"), None)


def _statuses(pod: Object) -> dict[str, Object]:
    """Return the statuses of the steps in their order."""
    status = pod.get("status", {})
    found = {
        one["name"]: one
        for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    }
    return {step: found[step] for step in (FETCH, BUILD, PUSH) if step in found}


def _running(statuses: Mapping[str, Object]) -> list[str]:
    """Return the steps that run."""
    return [step for step, status in statuses.items() if "running" in status.get("state", {})]


def _digest(statuses: Mapping[str, Object]) -> str:
    """Return what a push that succeeded said; the message is at most a digest, or worth nothing."""
    ended = statuses.get(PUSH, {}).get("state", {}).get("terminated") or {}
    text = str(ended.get("message", "")).strip()
    return text if ended.get("exitCode") == 0 and _DIGEST.match(text) else ""


def _evicted(pods: Sequence[Object]) -> Optional[Problem]:
    """Return why a pod was put out for what it did itself.

    The Job would try that once more, for such a pod ends without an exit status. One that is put out because its node
    is short of something is marked as disrupted and may be tried again.
    """
    for pod in pods:
        status = pod.get("status", {})
        disrupted = any(one["type"] == "DisruptionTarget" for one in status.get("conditions") or ())
        if status.get("reason") == "Evicted" and not disrupted:
            return Problem("pod_evicted", str(status.get("message", "")).strip())
    return None


def _ended(condition: Object, pod: Optional[Object], statuses: Mapping[str, Object]) -> Problem:
    """Return why a Job has failed."""
    words = str(condition.get("message") or condition.get("reason"))
    if condition.get("reason") == "DeadlineExceeded":
        return Problem("pod_deadline", words)
    status = (pod or {}).get("status", {})
    if any(one["type"] == "DisruptionTarget" and one["status"] == "True" for one in status.get("conditions") or ()):
        return Problem("pod_disrupted", words)
    for step, one in statuses.items():
        ended = one.get("state", {}).get("terminated") or {}
        code = ended.get("exitCode", 0)
        if not code:
            continue
        if ended.get("reason") == "OOMKilled":
            return Problem("pod_memory", f"{step} was ended for its memory", step, code)
        return Problem("", words, step, code)
    return Problem("", words)


def _stuck(statuses: Mapping[str, Object], events: Sequence[Object]) -> Optional[Problem]:
    """Return what keeps a pod on a node from starting, when waiting does not help."""
    for step, status in statuses.items():
        waiting = status.get("state", {}).get("waiting") or {}
        reason, words = str(waiting.get("reason", "")), str(waiting.get("message", ""))
        if reason not in _HOPELESS or reason in _MAY_PASS:
            continue
        finding = _HOPELESS[reason]
        if finding == "pod_container":
            finding = _unmade(words)
        pulled = [
            str(one.get("message"))
            for one in events
            if one.get("reason") == "Failed" and "pull" in str(one.get("message"))
        ]
        return Problem(finding, (pulled[-1] if finding == "pod_image_pull" and pulled else words) or reason, step)
    for one in events:
        if one.get("reason") == "FailedCreatePodSandBox" and int(one.get("count") or 1) >= 2:
            words = str(one.get("message"))
            return Problem(_unmade(words), words)
    return None


def _unmade(words: str) -> str:
    """Return the finding that explains why a container cannot be made."""
    return next((name for name, pattern in _CONTAINER if pattern.search(words)), "pod_container")


def _refused(events: Sequence[Object]) -> Optional[Problem]:
    """Return why no pod is made."""
    for one in events:
        words = str(one.get("message"))
        if one.get("reason") == "FailedCreate":
            return Problem(refusal(words), words)
    return None


def refusal(words: str) -> str:
    """Return the finding that explains why the API server does not take a pod; empty for none."""
    return next((name for name, pattern in _REFUSED if pattern.search(words)), "")


def _last(events: Sequence[Object]) -> str:
    if not events:
        return "it was scheduled"
    return str(
        max(events, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or "")).get("message", "")
    )

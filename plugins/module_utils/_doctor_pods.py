# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor in pods: which pod is asked, and what is told of one that cannot be asked. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import REFUSED, A, doctor_job, pod_of
from ansible_collections.rootless.buildah.plugins.module_utils._kube_watch import FAILED, WAITING, look, refusal

Object = Mapping[str, Any]


def doctor_trial(node: str, profile: str, namespace: str, defaults: Mapping[str, str]) -> dict[str, Any]:
    """Return the ``job`` whose pod is asked on a node, and its ``pod`` alone.

    :param defaults: what builds of the namespace have in common: the data of its ConfigMap.
    """
    job = doctor_job(profile, node, namespace, defaults)
    return {"job": job, "pod": pod_of(job, f"doctor-{profile}-trial")}


def doctor_admission(answer: Object, profile: str) -> dict[str, Any]:
    """Return why the API server does not take the pod, as for doctor_report(); nothing when it takes it.

    :param answer: what came of showing it: ``result`` with the pod as the server has it, or without it ``msg``.
    """
    words = str(answer.get("msg", ""))
    if "result" not in answer:
        return _told(refusal(words), words)
    if profile == A and answer["result"].get("spec", {}).get("hostUsers") is not False:
        return _told("pod_host_users", "the API server dropped hostUsers")
    return {}


def doctor_pod(job: Object, pods: Sequence[Object], events: Sequence[Object], waited: bool) -> dict[str, Any]:
    """Return what has become of the pod that is to be asked.

    :param job: its Job as it was made.
    :param pods: those of the Job.
    :param events: of the namespace.
    :param waited: whether it had all the time that it may take.
    :return: ``state`` (``waiting``, ``running``, ``failed``), the name of the ``pod``, and ``told``: why it cannot be
        asked, as for doctor_report(), empty while that is not settled.
    """
    names = {each["metadata"]["name"] for each in (job, *pods)}
    own = [one for one in events if (one.get("involvedObject") or {}).get("name") in names]
    own.sort(key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))
    # It is not to end at all, and its Job would try no second one.
    ended = next((str(pod["status"].get("message") or "it ended") for pod in pods if _phase(pod) == "Failed"), "")
    conditions = [{"type": "Failed", "status": "True", "message": ended}] if ended else []
    # A pod that is so small and for one node is refused for good.
    view = look({**job, "status": {"conditions": conditions}}, pods, own, unschedulable_for=1, patience=0)
    if view.problem:
        problem = view.problem
        # The guard of the builder image: as root of the node nothing builds.
        refused = problem.status == REFUSED and job["metadata"]["name"].startswith("doctor-a-")
        told = _told("pod_host_users" if refused else problem.finding, problem.words)
    elif waited and view.state in (WAITING, FAILED):
        told = _told("", f"the pod did not start in time: {view.doing}")
    else:
        told = {}
    return {"state": FAILED if told else view.state, "pod": view.pod, "told": told}


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def _told(finding: str, words: str) -> dict[str, Any]:
    if finding:
        return {"ready": False, "findings": [BY_ID[finding].as_result(words, pod=True)]}
    return {"ready": False, "reason": words}

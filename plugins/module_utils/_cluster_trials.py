# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that are shown to an API server to learn what it admits, and what its answers mean. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._cluster_objects import NAME
from ansible_collections.rootless.buildah.plugins.module_utils._cluster_policy import ALLOW_B, BUILDS
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import (
    MANAGER,
    NO_WORK,
    A,
    B,
    C,
    PodSettings,
    pod_spec,
)


def admission_trials(settings: Mapping[str, Any], namespaces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return pods to show, each with what must come of it.

    :param settings: the variables of the role cluster_builder without their prefix.
    :param namespaces: all namespaces; pods of one without the label must not use the profiles.
    :return: dictionaries with ``what``, ``pod``, ``refused``: words of the refusal, empty when it must be admitted, and
        ``may_drop``: whether the API server may drop hostUsers, because builds do without.
    """
    namespace, image = settings["namespace"], settings["image"]
    foreign = foreign_namespace(namespaces, namespace)
    against = "violates PodSecurity"
    restricted = against if settings["pod_security"] == "restricted" else ""
    trials = [
        {"what": "a build of profile A", "pod": trial_pod(A, settings), "refused": restricted},
        {"what": "a build of profile C", "pod": trial_pod(C, settings), "refused": ""},
        {"what": "a privileged pod", "pod": _privileged(namespace, image), "refused": against},
    ]
    if settings["policy"] and not restricted:
        refused = "" if settings["allow_profile_b"] else f"label {ALLOW_B}=true"
        trials.append({"what": "a build of profile B", "pod": trial_pod(B, settings), "refused": refused})
    if settings["policy"] and foreign:
        pod = trial_pod(A, {**settings, "namespace": foreign}, account="default")
        trials.append(
            {"what": f"a pod with the profiles in {foreign}", "pod": pod, "refused": f"with the label {BUILDS}=true"}
        )
    return [{**trial, "may_drop": bool(settings["allow_profile_b"])} for trial in trials]


def trial_pod(profile: str, settings: Mapping[str, Any], account: str = NAME) -> dict[str, Any]:
    """Return the pod of a build of a profile, with nothing to do and little room on the disk.

    :param settings: as for :func:`admission_trials`; those of a build are ``namespace``, ``image``, ``selinux_type``.
    """
    labelled = settings["selinux_type"]
    pod = PodSettings(settings["image"], profile, storage="64Mi", service_account=account, selinux_type=labelled)
    return _pod(settings["namespace"], pod_spec(NO_WORK, pod))


def _privileged(namespace: str, image: str) -> dict[str, Any]:
    container = {"name": "trial", "image": image, "securityContext": {"privileged": True}}
    spec = {"restartPolicy": "Never", "serviceAccountName": NAME, "containers": [container]}
    return _pod(namespace, spec)


def _pod(namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": f"{NAME}-trial", "namespace": namespace, "labels": dict(MANAGER)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(spec)}


def admission_problems(trials: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is not as it must be, in words; empty when all is well.

    :param answers: what came of each trial: ``result`` with the pod as the server has it, or without it ``msg``.
    """
    problems = []
    for trial, answer in zip(trials, answers):
        words = str(answer.get("msg", ""))
        if "result" not in answer:
            if not trial["refused"]:
                problems.append(f"{trial['what']} is refused: {words}")
            elif trial["refused"] not in words:
                problems.append(f"{trial['what']} is refused, but not because of {trial['refused']!r}: {words}")
        elif trial["refused"]:
            problems.append(f"{trial['what']} is admitted")
        elif not trial["may_drop"] and trial["pod"]["spec"].get("hostUsers") != _spec(answer).get("hostUsers"):
            problems.append(
                f"{trial['what']} is admitted, but the API server drops hostUsers: false; it is older than Kubernetes "
                "1.33, or its feature UserNamespacesSupport is off; profile B remains, with "
                "cluster_builder_allow_profile_b: true"
            )
    return problems


def _spec(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict((answer.get("result") or {}).get("spec") or {})


def foreign_namespace(namespaces: Sequence[Mapping[str, Any]], own: str) -> str:
    """Return a namespace whose pods must not use the profiles, ``default`` if it is one; empty without any."""
    free = [
        each["metadata"]["name"]
        for each in namespaces
        if (each["metadata"].get("labels") or {}).get(BUILDS) != "true"
        and each["metadata"]["name"] != own
        and (each.get("status") or {}).get("phase", "Active") == "Active"
    ]
    return "default" if "default" in free else (sorted(free) or [""])[0]

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build in a cluster is told besides the build's own options, and which of these it cannot honour. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import A, B, C, PodSettings
from ansible_collections.rootless.buildah.plugins.module_utils._node_profiles import NODE_LABEL
from ansible_collections.rootless.buildah.plugins.module_utils._options import is_given

AUTO, VOLUME, FETCH = "auto", "volume", "fetch"
#: The ConfigMap in which the role cluster_builder keeps what builds of its namespace have in common.
DEFAULTS = "rootless-buildah"
#: The first releases in which a feature is on unless somebody switches it off (Kubernetes enhancements 127 and 4639).
USER_NAMESPACES, IMAGE_VOLUMES = (1, 33), (1, 35)

_NO_HOST = "a pod has no part of the host"
_ONLY_IMAGE = "nothing comes back from a pod but the image"
_WHOLE_POD = ("limits hold for the containers of the pod", "Use job.resources")
_REFUSED: dict[str, tuple[str, str]] = {
    "load": ("the image is in no store of this host", "Pull it where it is wanted"),
    "outputs": (_ONLY_IMAGE, "Export from the registry, for example with skopeo copy"),
    "artifacts": (_ONLY_IMAGE, "Put the files into an image"),
    "storage": (_NO_HOST, "Use job.storage and job.cache_claim"),
    "isolation": ("RUN steps of a pod always have chroot isolation", "Remove isolation"),
    "volumes": (_NO_HOST, "Use build_contexts"),
    "ssh": ("an agent of this host cannot be reached from a pod", "Use secrets"),
    "ulimits": ("chroot isolation knows no limits of its own", "Use job.resources"),
    **dict.fromkeys(("memory", "cpu_shares", "cpu_period", "cpu_quota", "cpuset_cpus"), _WHOLE_POD),
    "cache_auth_file": (
        "RUN steps never share a container with a credential",
        "Let the cache's repository be read without a login, or use job.cache_claim",
    ),
}

JOB_SPEC: dict[str, Any] = {
    "profile": {"type": "str", "choices": [AUTO, A, B, C], "default": AUTO},
    "image": {"type": "str"},
    "context_repository": {"type": "str"},
    "context_mount": {"type": "str", "choices": [AUTO, VOLUME, FETCH], "default": AUTO},
    "deadline": {"type": "int", "default": PodSettings.deadline},
    "ttl": {"type": "int", "default": PodSettings.ttl},
    "schedule_timeout": {"type": "int", "default": 300},
    "storage": {"type": "str", "default": PodSettings.storage},
    "resources": {"type": "dict"},
    "cache_claim": {"type": "str"},
    "node_selector": {"type": "dict"},
    "tolerations": {"type": "list", "elements": "dict"},
    "priority_class": {"type": "str"},
    "runtime_class": {"type": "str"},
    "selinux_type": {"type": "str"},
    "annotations": {"type": "dict"},
    "labels": {"type": "dict"},
    "service_account": {"type": "str", "default": PodSettings.service_account},
    # Names of Secrets, which are none.
    "pull_secret": {"type": "str", "default": "rootless-buildah-pull", "no_log": False},
    "push_secret": {"type": "str", "default": "rootless-buildah-push", "no_log": False},
    "allow_credentials": {"type": "bool", "default": False},
}


def refuse_what_no_pod_does(inputs: BuildInputs) -> None:
    """Refuse options that a build in a cluster cannot honour.

    :raises InputError: naming the option and what serves instead.
    """
    if inputs["state"] == "absent":
        return
    for name, (cause, remedy) in _REFUSED.items():
        if is_given(inputs[name]):
            raise InputError(f"{name} means nothing to a build in a cluster", cause, remedy)
    if not inputs["push"]:
        raise InputError(
            "a build in a cluster needs push", "without it nothing would be left of the image", "Set push: true"
        )
    if inputs.is_script:
        raise InputError(
            "a native script cannot be built in a cluster",
            "buildah unshare does not work as root of a pod",
            "Use a Containerfile, or buildah_build on a builder host",
        )
    if inputs["network"] == "none" and (inputs["cache_from"] or inputs["cache_to"]):
        raise InputError(
            "network: none and cache_from or cache_to exclude each other in a cluster",
            "there buildah itself runs without a network, so that RUN steps have none",
            "Use job.cache_claim",
        )
    if len(inputs.platforms) > 1:
        raise InputError(
            "a build in a cluster is for one platform",
            f"asked for: {', '.join(inputs.platforms)}",
            "Build the platforms in tasks of their own, each with job.node_selector",
        )
    if inputs["pull"] == "never":
        raise InputError(
            "pull: never means nothing to a build in a cluster", "a pod begins with an empty store", "Remove pull"
        )


def choose_profile(wanted: str, release: tuple[int, int], nodes: Optional[Mapping[str, int]], offline: bool) -> str:
    """Return the kind of pod that builds.

    :param wanted: what the user forces, or :data:`AUTO`.
    :param release: of the API server.
    :param nodes: how many nodes can run each profile; None where that may not be asked.
    :param offline: whether RUN steps shall have no network, which takes a root who may make namespaces.
    :raises InputError: when there is none.
    """
    chosen = wanted
    if wanted == AUTO:
        possible = [A, B] if release >= USER_NAMESPACES else [B]
        chosen = next((one for one in possible if nodes is None or nodes.get(one)), "")
        if not chosen:
            raise InputError(
                "no node of the cluster is ready for builds",
                f"none has the label {' or '.join(f'{NODE_LABEL}{one}' for one in possible)}",
                "Apply the role cluster_node to nodes",
            )
    elif wanted in (A, C) and release < USER_NAMESPACES:
        raise InputError(
            f"profile {wanted} needs Kubernetes {USER_NAMESPACES[0]}.{USER_NAMESPACES[1]}",
            f"the API server is {release[0]}.{release[1]} and drops hostUsers without a word",
            "Use job.profile: b",
        )
    if chosen == B and offline:
        raise InputError(
            "network: none needs job.profile: a",
            "without a user namespace of the pod's own RUN steps keep its network",
            "Upgrade the cluster, or remove network",
        )
    return chosen


def refuse_many_ids(inputs: BuildInputs, instructions: Sequence[str]) -> None:
    """Refuse for profile c what would be another image there than elsewhere, or none.

    :param instructions: those that need more than one user id.
    :raises InputError: naming them.
    """
    found = [*instructions, *(["squash"] if inputs["squash"] else [])]
    if found:
        raise InputError(
            f"profile c cannot build {inputs.image}: {', '.join(found)}",
            "it has a single user id, so it runs no steps and gives files to nobody but root",
            "Use job.profile: a in a namespace whose Pod Security level is baseline",
        )


def mounts_context(wanted: str, release: tuple[int, int]) -> bool:
    """Say whether a node mounts the context image; otherwise a container fetches it."""
    return wanted == VOLUME or (wanted == AUTO and release >= IMAGE_VOLUMES)

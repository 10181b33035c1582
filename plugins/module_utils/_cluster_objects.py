# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that make a namespace ready for builds, and what becomes of those that are there. Pure."""

from __future__ import annotations

import base64
from typing import Any, Iterable, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._cluster_network import network_policy_spec
from ansible_collections.rootless.buildah.plugins.module_utils._cluster_policy import ALLOW_B, BUILDS, profile_policy
from ansible_collections.rootless.buildah.plugins.module_utils._cluster_policy import NAME as POLICY
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import MANAGER
from ansible_collections.rootless.buildah.plugins.module_utils._registry_settings import auth_json

Object = dict[str, Any]
Settings = Mapping[str, Any]

#: The name of everything that there is one of.
NAME = "rootless-buildah"
SECRETS = {"pull": f"{NAME}-pull", "push": f"{NAME}-push"}
RUNTIME_CLASS = "crun"
_PREFIX = "pod-security.kubernetes.io"


def cluster_plan(settings: Settings, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a namespace shall have.

    :param settings: the role's variables without their prefix.
    :param found: the namespace as it is, or nothing.
    :return: ``whole`` for the whole cluster, ``namespace``, ``objects`` in it without Secrets, ``names`` of all that
        is in it, ``unwanted``: what may be there of earlier settings, and ``defaults``: what its builds have in common.
    :raises InputError: when it cannot be.
    """
    objects = namespaced_objects(settings)
    wanted = [(each["kind"], each["metadata"]["name"]) for each in objects]
    wanted += [("Secret", name) for purpose, name in SECRETS.items() if settings[purpose]]
    return {
        "whole": cluster_objects(settings),
        "namespace": namespace_object(settings, found[0] if found else None),
        "objects": objects,
        "names": [" ".join(each) for each in wanted],
        "unwanted": [each for each in _INSIDE if (each["kind"], each["name"]) not in wanted],
        "defaults": build_defaults(settings),
    }


def cluster_objects(settings: Settings) -> list[Object]:
    """Return what belongs to the whole cluster."""
    objects = profile_policy() if settings["policy"] else []
    if settings["runtime_class"]:
        objects.append(
            {
                "apiVersion": "node.k8s.io/v1",
                "kind": "RuntimeClass",
                "metadata": {"name": RUNTIME_CLASS},
                "handler": RUNTIME_CLASS,
            }
        )
    for made in objects:
        made["metadata"]["labels"] = dict(MANAGER)
    return objects


def namespace_object(settings: Settings, found: Optional[Mapping[str, Any]]) -> Object:
    """Return the namespace with the labels of this role.

    :param found: the namespace as it is, None where there is none.
    """
    version = settings["pod_security_version"]
    modes = {"enforce": settings["pod_security"]}
    if settings["pod_security_report"]:
        modes.update(warn="restricted", audit="restricted")
    labels = {**settings["namespace_labels"], BUILDS: "true"}
    for mode, level in modes.items():
        labels[f"{_PREFIX}/{mode}"] = level
        labels[f"{_PREFIX}/{mode}-version"] = version
    if settings["allow_profile_b"]:
        labels[ALLOW_B] = "true"
    if found is None or is_ours(found):
        labels.update(MANAGER)
    return _object("v1", "Namespace", settings["namespace"], labels=labels)


def is_ours(found: Mapping[str, Any]) -> bool:
    """Say whether the collection made an object."""
    # Ansible's own dictionaries have items that cannot be compared.
    return MANAGER.items() <= dict(found["metadata"].get("labels") or {}).items()


def namespaced_objects(settings: Settings) -> list[Object]:
    """Return what is in the namespace, Secrets excepted."""
    namespace = settings["namespace"]
    silent: Object = {"automountServiceAccountToken": False}
    objects = [
        _object("v1", "ServiceAccount", NAME, namespace, MANAGER, **silent),
        # Every namespace has it, and pods that name no account get it.
        _object("v1", "ServiceAccount", "default", namespace, **silent),
    ]
    if settings["quota"]:
        hard = {name: str(quantity) for name, quantity in settings["quota"].items()}
        objects.append(_object("v1", "ResourceQuota", NAME, namespace, MANAGER, spec={"hard": hard}))
    if settings["limits"]:
        limits = {kind: {key: str(value) for key, value in each.items()} for kind, each in settings["limits"].items()}
        spec = {"limits": [{"type": "Container", **limits}]}
        objects.append(_object("v1", "LimitRange", NAME, namespace, MANAGER, spec=spec))
    if settings["network_policy"]:
        spec = network_policy_spec(settings["registries"], settings["dns"], settings["egress"])
        objects.append(_object("networking.k8s.io/v1", "NetworkPolicy", NAME, namespace, MANAGER, spec=spec))
    objects.append(_object("v1", "ConfigMap", NAME, namespace, MANAGER, data=build_defaults(settings)))
    return objects


def build_defaults(settings: Settings) -> dict[str, str]:
    """Return what builds of the namespace have in common, in the words of ``job`` of the module buildah_job.

    :raises InputError: for a builder image without a digest.
    """
    image = ImageName.parse(str(settings["image"]))
    if not image.host or not (image.digest or settings["undecided"]):
        raise InputError(
            f"{settings['image']} is no builder image",
            "a name and a tag can be another image tomorrow",
            "Name it with its registry and its digest, or let cluster_builder_image_build make it",
        )
    contexts = settings["context_repository"] or f"{image.host}/{NAME}/contexts/{settings['namespace']}"
    if ImageName.parse(contexts).host == "" or ImageName.parse(contexts).repository != contexts:
        raise InputError(
            f"{contexts} is no repository", "it has no registry, or a tag", "Write it as registry[:port]/path"
        )
    # The names that buildah_job reads.
    found = {"image": str(settings["image"]), "contexts": contexts}
    return {**found, "selinux_type": settings["selinux_type"]} if settings["selinux_type"] else found


def secret_objects(settings: Settings) -> list[Object]:
    """Return the Secrets with the logins for pulling and for pushing, each where there is one.

    :param settings: ``namespace``, ``pull_logins`` and ``push_logins``.
    """
    objects = []
    for purpose, name in SECRETS.items():
        logins = settings[f"{purpose}_logins"]
        if logins:
            data = {".dockerconfigjson": base64.b64encode(auth_json(logins).encode("utf-8")).decode("ascii")}
            made = _object("v1", "Secret", name, settings["namespace"], MANAGER, data=data)
            objects.append({**made, "type": "kubernetes.io/dockerconfigjson"})
    return objects


def own_objects(found: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return which of some objects the collection made: ``api_version``, ``kind`` and ``name``."""
    return [_identity(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in found if is_ours(each)]


def cluster_way_back(namespaces: Sequence[Mapping[str, Any]], own: str) -> dict[str, Any]:
    """Return how the role's work is undone.

    :param namespaces: all namespaces.
    :param own: the namespace that shall be as before.
    :return: ``remove``: whether the namespace goes. For one that stays ``unwanted``: what may have to go, and ``bare``:
        objects to apply, which say nothing more, so that the API server takes away what they said. And ``whole``: what
        may have to go for the whole cluster, when nothing is left that needs it.
    """
    found = next((each for each in namespaces if each["metadata"]["name"] == own), None)
    stays = found is not None and not is_ours(found)
    bare = [_object("v1", "Namespace", own), _object("v1", "ServiceAccount", "default", own)] if stays else []
    others = any(
        (each["metadata"].get("labels") or {}).get(BUILDS) == "true"
        for each in namespaces
        if each["metadata"]["name"] != own
    )
    return {
        "remove": found is not None and not stays,
        "unwanted": _INSIDE if stays else [],
        "bare": bare,
        "whole": [] if others else _WHOLE,
    }


def _identity(version: str, kind: str, name: str) -> dict[str, str]:
    return {"api_version": version, "kind": kind, "name": name}


# What this role makes in a namespace, and for the whole cluster.
_INSIDE = [
    _identity("v1", "ServiceAccount", NAME),
    _identity("v1", "ResourceQuota", NAME),
    _identity("v1", "LimitRange", NAME),
    _identity("networking.k8s.io/v1", "NetworkPolicy", NAME),
    _identity("v1", "ConfigMap", NAME),
    *(_identity("v1", "Secret", name) for name in SECRETS.values()),
]
_WHOLE = [
    _identity("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", POLICY),
    _identity("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", POLICY),
    _identity("node.k8s.io/v1", "RuntimeClass", RUNTIME_CLASS),
]


def _object(
    version: str,
    kind: str,
    name: str,
    namespace: str = "",
    labels: Optional[Mapping[str, str]] = None,
    **fields: Any,
) -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}

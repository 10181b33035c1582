# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes Job that builds an image: fetch, build and push in containers of their own. Pure.

Credentials are mounted where they are used: that for pulling into ``fetch``, that for pushing into ``push``. The
container in which RUN steps run has none, no service account and, where the build is told so, no network. A RUN step
may leave its root and write to whatever its container can write to. So ``push``, which comes later, sees of that the
image only, as plain files: not the store, whose files name others that buildah reads and quotes in its errors.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._confinement import LENT_ROOT_UNSHARE
from ansible_collections.rootless.buildah.plugins.module_utils._context_image import ARCHIVE
from ansible_collections.rootless.buildah.plugins.module_utils._node_profiles import NODE_LABEL

#: The kinds of pods that can build. A: root of a user namespace that the kubelet makes (Kubernetes 1.33). B: uid 1000,
#: which makes one itself by newuidmap and newgidmap with file capabilities. C: uid 1000 without any right, for the Pod
#: Security level restricted; it has a single id, and its pod a user namespace as A.
A, B, C = "a", "b", "c"
SECCOMP_PROFILE, APPARMOR_PROFILE = "rootless-build.json", "rootless-build"
MANAGER = {"app.kubernetes.io/managed-by": "rootless.buildah"}
IMAGE_ANNOTATION, KEY_ANNOTATION = "rootless.buildah/image", "rootless.buildah/key"
#: Exit status of a step whose rights are not those of its profile (EX_CONFIG of sysexits.h).
REFUSED = 78
FETCH, BUILD, PUSH = "fetch", "build", "push"
#: Disruptions of nodes that a build survives by starting again.
DISRUPTIONS = 3

# What root of the pod's user namespace keeps to unpack layers and to make the namespaces of a build.
_CAPABILITIES = {A: ("SETUID", "SETGID", "SETFCAP", "CHOWN", "DAC_OVERRIDE", "FOWNER"), B: ("SETUID", "SETGID"), C: ()}
_HOMES = {A: "/root", B: "/home/build", C: "/home/build"}
_STORES = {A: "/var/lib/containers", **dict.fromkeys((B, C), "/home/build/.local/share/containers")}
_CONTEXT, _WORK, _AUTH = "/run/build/context", "/run/build/work", "/run/build/auth"
SECRETS, CERTS = "/run/build/secrets", "/run/build/certs"
#: Where a build finds what the context's archive holds.
UNPACKED = f"{_WORK}/unpacked"
IIDFILE = f"{_WORK}/iid"
# What ``build`` leaves for ``push``: the image in a directory (``dir:`` of containers-transports(5)).
_IMAGE = f"{_WORK}/image"
# Where ``fetch`` leaves what it learned of the bases' blobs, so that ``push`` uploads none of them.
_KNOWN = "/run/build/known"
# In the builder image: it stops where the pod's rights are not those of its profile (docs/cluster-builder.md).
_GUARD = "/usr/local/bin/rootless-build-guard"
# RUN steps under chroot isolation have the network of whoever runs buildah, so buildah itself runs without one.
_OFFLINE = (*LENT_ROOT_UNSHARE, "--net")


@dataclass(frozen=True)
class PodSettings:
    """What a user may say about the pod; every field is a suboption of ``job``.

    :param deadline: seconds until the Job is ended.
    :param ttl: seconds that an ended Job stays, for whoever was killed before it read the result.
    :param storage: a quantity: how much room a build has on its node.
    :param resources: requests and limits of the containers.
    :param cache_claim: a claim of a volume that keeps layers from one Job to the next.
    :param selinux_type: what the pod asks for where nodes have SELinux; None: nothing.
    """

    image: str
    profile: str = A
    deadline: int = 3600
    ttl: int = 3600
    storage: str = "20Gi"
    resources: Mapping[str, Any] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    priority_class: Optional[str] = None
    runtime_class: Optional[str] = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "rootless-buildah"
    cache_claim: Optional[str] = None
    selinux_type: Optional[str] = None


@dataclass(frozen=True)
class Work:
    """What a Job does.

    :param image: where the image is pushed: its full name.
    :param key: the build key.
    :param context: the context image by digest.
    :param content: the digest of its layer, unpacked, in hexadecimal.
    :param mounted: whether the node mounts the context image; otherwise a container fetches it.
    :param bases: the bases to fetch, by digest, each with the platform to choose from an index, or None.
    :param build: the arguments of ``buildah`` that build.
    :param push: how the image is pushed: flags that ``buildah push`` and ``skopeo copy`` share, and those of
        ``buildah push`` for compression.
    :param flags: how registries are reached (the flags that buildah's and skopeo's commands share).
    :param offline: whether RUN steps have no network.
    :param pull_secret: a Secret with the login for pulling; None without.
    :param push_secret: the same for pushing.
    :param build_secret: a Secret with the build's secrets by id.
    :param certificates: a ConfigMap with certificates of registries.
    """

    image: str
    key: str
    context: str
    content: str
    mounted: bool
    bases: tuple[tuple[str, Optional[str]], ...]
    build: tuple[str, ...]
    push: tuple[str, ...]
    flags: tuple[str, ...] = ()
    offline: bool = False
    pull_secret: Optional[str] = None
    push_secret: Optional[str] = None
    build_secret: Optional[str] = None
    certificates: Optional[str] = None


#: What pods do that are shown to an API server, or that wait to be asked.
NO_WORK = Work("", "", "", "", False, (), (), ())


def job_name(image: str, key: str) -> str:
    """Return the name of the Job that builds an image of a key: equal builds meet in one Job.

    A name has 63 characters at most, for pods get it as a label (RFC 1123).
    """
    readable = re.sub(r"[^a-z0-9]+", "-", image.rpartition("/")[2].lower()).strip("-")[:30].strip("-")
    return f"build-{readable}-{hashlib.sha256(f'{image} {key}'.encode()).hexdigest()[:16]}"


def job(work: Work, settings: PodSettings, namespace: str) -> dict[str, Any]:
    """Return the Job (batch/v1), suspended: its Secrets do not exist yet."""
    labels = {**MANAGER, **settings.labels}
    name = job_name(work.image, work.key)
    told = {IMAGE_ANNOTATION: work.image, KEY_ANNOTATION: work.key}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": told},
        "spec": {
            "suspend": True,
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": DISRUPTIONS,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": settings.deadline,
            "ttlSecondsAfterFinished": settings.ttl,
            # The first rule that matches counts. A drained node is none of the build's fault; everything else that
            # fails once fails again.
            "podFailurePolicy": {
                "rules": [
                    {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
                ]
            },
            "template": {
                "metadata": {"labels": labels, "annotations": {**told, **settings.annotations}},
                "spec": pod_spec(work, settings),
            },
        },
    }


def pod_spec(work: Work, settings: PodSettings) -> dict[str, Any]:
    """Return the pod of a Job (core/v1, PodSpec)."""
    fetching = [line for line in (_fetch_context(work), *_fetch_bases(work, settings)) if line]
    steps = [_container(FETCH, fetching, work, settings)] if fetching else []
    steps.append(_container(BUILD, _build(work), work, settings))
    user = (
        {"runAsUser": 0, "runAsGroup": 0}
        if settings.profile == A
        else {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "runAsNonRoot": True}
    )
    labelled = {"seLinuxOptions": {"type": settings.selinux_type}} if settings.selinux_type else {}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": settings.service_account,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            **user,
            **labelled,
            "seccompProfile": {"type": "Localhost", "localhostProfile": SECCOMP_PROFILE},
            "appArmorProfile": {"type": "Localhost", "localhostProfile": APPARMOR_PROFILE},
        },
        "nodeSelector": {f"{NODE_LABEL}{settings.profile}": "true", **settings.node_selector},
        "volumes": _volumes(work, settings),
        "initContainers": steps,
        "containers": [_container(PUSH, _push(work), work, settings)],
    }
    if settings.profile != B:
        spec["hostUsers"] = False
    if work.pull_secret:
        spec["imagePullSecrets"] = [{"name": work.pull_secret}]
    optional = {
        "tolerations": [dict(one) for one in settings.tolerations],
        "priorityClassName": settings.priority_class,
        "runtimeClassName": settings.runtime_class,
    }
    return {**spec, **{name: value for name, value in optional.items() if value}}


def pod_of(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the pod of a Job, to be shown to the API server by this name: admission judges pods, not Jobs."""
    template = manifest["spec"]["template"]
    metadata = {**template["metadata"], "name": name, "namespace": manifest["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def doctor_job(profile: str, node: str, namespace: str, defaults: Mapping[str, str]) -> dict[str, Any]:
    """Return a Job (batch/v1) whose pod waits on a node to be asked: the pod of a build, with nothing to do.

    It ends and goes by itself, should nobody be left to delete it.

    :param defaults: what builds of the namespace have in common.
    """
    # The room on the disk is for what Ansible copies there.
    settings = PodSettings(defaults["image"], profile, storage="64Mi", selinux_type=defaults.get("selinux_type"))
    spec = pod_spec(NO_WORK, settings)
    del spec["initContainers"]
    only = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [only]}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"doctor-{profile}-", "namespace": namespace, "labels": MANAGER},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 900,
            "ttlSecondsAfterFinished": 60,
            "template": {
                "metadata": {"labels": MANAGER},
                "spec": {
                    **spec,
                    "containers": [_container(BUILD, ["exec tini -- sleep infinity"], NO_WORK, settings)],
                    "imagePullSecrets": [{"name": "rootless-buildah-pull"}],
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
                },
            },
        },
    }


def _volumes(work: Work, settings: PodSettings) -> list[dict[str, Any]]:
    store: dict[str, Any] = {"emptyDir": {"sizeLimit": settings.storage}}
    if settings.cache_claim:
        store = {"persistentVolumeClaim": {"claimName": settings.cache_claim}}
    volumes: list[dict[str, Any]] = [
        {"name": "store", **store},
        {"name": "work", "emptyDir": {"sizeLimit": settings.storage}},
        {"name": "known", "emptyDir": {"sizeLimit": settings.storage}},
    ]
    if work.mounted:
        volumes.append({"name": "context", "image": {"reference": work.context, "pullPolicy": "Always"}})
    for name, secret in (("pull", work.pull_secret), ("push", work.push_secret), ("secrets", work.build_secret)):
        if secret:
            volumes.append({"name": name, "secret": {"secretName": secret, "defaultMode": 0o400}})
    if work.certificates:
        volumes.append({"name": "certificates", "configMap": {"name": work.certificates}})
    return volumes


def _container(step: str, lines: Sequence[str], work: Work, settings: PodSettings) -> dict[str, Any]:
    """Return the container of one step with the mounts of that step and no others."""
    store = _STORES[settings.profile]
    mounts: list[dict[str, Any]] = []
    if step == PUSH:
        mounts.append({"name": "work", "mountPath": _WORK, "readOnly": True})
    else:
        mounts += [{"name": "store", "mountPath": store}, {"name": "work", "mountPath": _WORK}]
    if step != BUILD:
        mounts.append({"name": "known", "mountPath": _KNOWN if step == FETCH else f"{store}/cache"})
    # Root of the pod could write to files that its containers share, such as resolv.conf (containerd mounts them as the
    # root is). Then buildah needs places for its locks.
    sealed = step == BUILD and settings.profile == A
    if sealed:
        mounts += [{"name": "work", "mountPath": f"/run/{name}", "subPath": name} for name in ("containers", "lock")]
    if step == BUILD and work.mounted:
        mounts.append({"name": "context", "mountPath": _CONTEXT, "readOnly": True})
    if step == BUILD and work.build_secret:
        mounts.append({"name": "secrets", "mountPath": SECRETS, "readOnly": True})
    login = {FETCH: ("pull", work.pull_secret), PUSH: ("push", work.push_secret)}.get(step)
    if login and login[1]:
        mounts.append({"name": login[0], "mountPath": _AUTH, "readOnly": True})
    if work.certificates:
        mounts.append({"name": "certificates", "mountPath": CERTS, "readOnly": True})
    environment = {
        "ROOTLESS_BUILD_PROFILE": settings.profile,
        "HOME": _HOMES[settings.profile],
        "LC_ALL": "C.UTF-8",
    }
    if step != PUSH:
        environment |= {
            "TMPDIR": f"{_WORK}/tmp",
            "XDG_RUNTIME_DIR": f"{_WORK}/run",
            "BUILDAH_ISOLATION": "chroot",
            "STORAGE_DRIVER": "overlay",
        }
        # The store cannot keep owners then; layers of bases are pushed as they came (containers/storage, tar-split).
        environment |= {"STORAGE_OPTS": "overlay.ignore_chown_errors=true"} if settings.profile == C else {}
        lines = [f"mkdir -p {_WORK}/tmp {_WORK}/run", *lines]
    return {
        "name": step,
        "image": settings.image,
        "command": [_GUARD, "/bin/sh", "-euc", "\n".join(lines)],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": _resources(settings),
        "securityContext": {
            "allowPrivilegeEscalation": settings.profile == B,
            "capabilities": _capabilities(settings.profile),
            **({"readOnlyRootFilesystem": True} if sealed else {}),
        },
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }


def _capabilities(profile: str) -> dict[str, list[str]]:
    added = list(_CAPABILITIES[profile])
    return {"drop": ["ALL"], **({"add": added} if added else {})}


def _resources(settings: PodSettings) -> dict[str, Any]:
    """Return a container's resources; room on the node's disk is always limited."""
    given = {kind: dict(settings.resources.get(kind) or {}) for kind in ("requests", "limits")}
    given["limits"].setdefault("ephemeral-storage", settings.storage)
    # What is not requested is requested as the limit says, and no node would have that much left.
    least = "1Gi" if _bytes(settings.storage) >= _bytes("1Gi") else settings.storage
    given["requests"].setdefault("ephemeral-storage", least)
    return given


def _bytes(quantity: str) -> float:
    """Return what a quantity of bytes means (apimachinery, resource.Quantity); 0 for what is none."""
    match = re.fullmatch(r"([0-9.]+)(|[kMGTPE]|[KMGTPE]i)", quantity)
    if not match:
        return 0.0  # the API server says what is wrong with it
    power = "kMGTPE".find(match[2][:1].replace("K", "k")) + 1 if match[2] else 0
    base = 1024.0 if match[2].endswith("i") else 1000.0
    return float(float(match[1]) * base**power)


def _fetch_context(work: Work) -> str:
    if work.mounted:
        return ""
    image, layer = f"{_WORK}/image", f"{_WORK}/layer.tar"
    flags = [f"--src-{flag[2:]}" for flag in (*work.flags, *_login(work.pull_secret))]
    return "\n".join([
        shlex.join(["skopeo", "copy", "--quiet", *flags, f"docker://{work.context}", f"dir:{image}"]),
        # The only layer is what neither the manifest nor the configuration is.
        f"""blob=$(sed -n 's/.*"layers":.*"digest":"sha256:\\([0-9a-f]*\\)".*/\\1/p' {image}/manifest.json)""",
        f"gzip -dc {image}/$blob > {layer}",
        # As a node does that unpacks it: what is in the layer is what the configuration says, whoever packed it.
        f'[ "$(sha256sum < {layer})" = "{work.content}  -" ] || {{ echo "this is another context" >&2; exit 1; }}',
        f"tar -C {_WORK} -xf {layer} {ARCHIVE}",
        f"rm -r {image} {layer}",
    ])  # fmt: skip


def _fetch_bases(work: Work, settings: PodSettings) -> list[str]:
    pulls = [
        shlex.join([
            "buildah", "pull", "--quiet", "--retry=3", *work.flags, *_login(work.pull_secret),
            *([f"--platform={platform}"] if platform else []), f"docker://{reference}",
        ])
        for reference, platform in work.bases
    ]  # fmt: skip
    return [*pulls, f"cp -R {_STORES[settings.profile]}/cache/. {_KNOWN}"] if pulls else []


def _login(secret: Optional[str]) -> list[str]:
    return [f"--authfile={_AUTH}/.dockerconfigjson"] if secret else []


def _build(work: Work) -> list[str]:
    archive = f"{_CONTEXT}/{ARCHIVE}" if work.mounted else f"{_WORK}/{ARCHIVE}"
    argv = [*(_OFFLINE if work.offline else ()), "buildah", *work.build]
    return [
        # After a disruption a pod begins with empty volumes, but a step may be repeated on its own.
        f"rm -rf {UNPACKED} {_IMAGE} && mkdir -p {UNPACKED}/context",
        f"tar -C {UNPACKED} -xpf {archive} --numeric-owner --xattrs --xattrs-include='*'",
        shlex.join(argv),
        f"id=$(cat {IIDFILE})",
        # Compressed while it is pushed, where it is known which layers the registry has.
        f'buildah push --quiet --disable-compression "${{id#sha256:}}" dir:{_IMAGE}',
    ]


def _push(work: Work) -> list[str]:
    # What a RUN step has left can be anything: a link could lead to the login. Of plain files nothing is read but the
    # image, and each blob is checked by its digest while it is sent.
    login = [f"--dest-{flag[2:]}" for flag in (*work.flags, *_login(work.push_secret))]
    how = [flag.replace("--compression-", "--dest-compress-", 1) for flag in work.push]
    return [
        f"kinds=$(find {_IMAGE} ! -type f -printf %y) || true",
        '[ "$kinds" = d ] || { echo "the build left no image" >&2; exit 1; }',
        shlex.join([
            "skopeo", "copy", "--quiet", "--retry-times=3", "--digestfile=/dev/termination-log", *login, *how,
            f"dir:{_IMAGE}", f"docker://{work.image}",
        ]),
    ]  # fmt: skip


def secret(name: str, namespace: str, owner: Mapping[str, Any], data: Mapping[str, str], kind: str) -> dict[str, Any]:
    """Return a Secret (core/v1) that goes with its Job.

    :param data: values in base64.
    :param kind: the Secret's type.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "immutable": True,
        "metadata": {"name": name, "namespace": namespace, "labels": MANAGER, "ownerReferences": [dict(owner)]},
        "data": dict(data),
    }


def config_map(name: str, namespace: str, owner: Mapping[str, Any], data: Mapping[str, str]) -> dict[str, Any]:
    """Return a ConfigMap (core/v1) that goes with its Job; values in base64."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "immutable": True,
        "metadata": {"name": name, "namespace": namespace, "labels": MANAGER, "ownerReferences": [dict(owner)]},
        "binaryData": dict(data),
    }


def owner(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reference to a Job that makes an object go with it."""
    metadata = found["metadata"]
    return {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}


def same_work(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Say whether a Job that is there does what is wanted.

    :param wanted: the Job as the API server would make it (a dry run), with its defaults.
    :param found: the Job that is there.
    """
    return _comparable(wanted) == _comparable(found)


def _comparable(made: Mapping[str, Any]) -> str:
    spec = {name: value for name, value in made["spec"].items() if name not in ("selector", "suspend")}
    template = json.loads(json.dumps(spec["template"]))
    labels = template.get("metadata", {}).get("labels", {})
    # The controller's own.
    for name in list(labels):
        if name in ("controller-uid", "job-name") or name.startswith("batch.kubernetes.io/"):
            del labels[name]
    template.get("metadata", {}).pop("creationTimestamp", None)
    return json.dumps({**spec, "template": template}, sort_keys=True)

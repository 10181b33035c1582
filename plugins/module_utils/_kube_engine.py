# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds in a cluster: planned here with the same code and the same keys as on a host, carried out by a Job."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from typing import Any, Mapping, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._auth import picked_logins
from ansible_collections.rootless.buildah.plugins.module_utils._build_command import (
    BuildFiles,
    build_arguments,
    image_push_arguments,
)
from ansible_collections.rootless.buildah.plugins.module_utils._build_secrets import Mask, secret_bytes
from ansible_collections.rootless.buildah.plugins.module_utils._context import credential_files
from ansible_collections.rootless.buildah.plugins.module_utils._context_image import ContextImage, read_context
from ansible_collections.rootless.buildah.plugins.module_utils._engine import Outcome, Outlook, Settings, now
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError, RegistryError
from ansible_collections.rootless.buildah.plugins.module_utils._executor import VariantWork
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs, host_platform
from ansible_collections.rootless.buildah.plugins.module_utils._kube_door import Cluster
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import (
    CERTS,
    IIDFILE,
    SECRETS,
    UNPACKED,
    A,
    B,
    C,
    PodSettings,
    Work,
    job_name,
)
from ansible_collections.rootless.buildah.plugins.module_utils._kube_options import (
    DEFAULTS,
    choose_profile,
    mounts_context,
    refuse_many_ids,
)
from ansible_collections.rootless.buildah.plugins.module_utils._kube_planner import KubePlanner
from ansible_collections.rootless.buildah.plugins.module_utils._kube_run import JobRun, Vanished
from ansible_collections.rootless.buildah.plugins.module_utils._lock import FileLock
from ansible_collections.rootless.buildah.plugins.module_utils._node_profiles import NODE_LABEL
from ansible_collections.rootless.buildah.plugins.module_utils._plan import Delivery, Destination
from ansible_collections.rootless.buildah.plugins.module_utils._record import BuildRecord
from ansible_collections.rootless.buildah.plugins.module_utils._registry import Access
from ansible_collections.rootless.buildah.plugins.module_utils._skopeo import Skopeo, digest_of

_DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"
_ATTEMPTS = 3


class KubeEngine(KubePlanner):
    """Plans images here and builds them as Jobs.

    :param job: the option ``job``.
    """

    def __init__(self, like: BuildInputs, settings: Settings, cluster: Cluster, job: Mapping[str, Any]) -> None:
        super().__init__(like, settings)
        self._cluster = cluster
        self._options = job
        self._run: Optional[JobRun] = None
        self.progress: list[dict[str, Any]] = []

    def run(self, inputs: BuildInputs) -> tuple[Outlook, Outcome]:
        for attempt in range(_ATTEMPTS):
            try:
                return super().run(inputs)
            except Vanished:
                # Another controller finished it, or somebody deleted it; the registry tells.
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _build(
        self, outlook: Outlook, outcome: Outcome, record: BuildRecord, lock: FileLock
    ) -> tuple[str, BuildRecord]:
        inputs = outlook.inputs
        (work,) = outlook.resolution.work.values()
        self._refuse_credentials(work)
        defaults = self._defaults()
        release = self._cluster.version()
        offline = inputs["network"] == "none"
        profile = choose_profile(self._options["profile"], release, self._ready_nodes(), offline)
        if profile == C:
            refuse_many_ids(inputs, work.many_ids)
        settings = self._pod_settings(defaults, profile)
        image = read_context(
            work.parts,
            {"Containerfile": inputs.recipe, **self._ignorefile(work)},
            os.path.join(self._open_job(inputs).scratch(), "build.tar"),
            host_platform(),
        )
        repository = self._option("context_repository", defaults, "contexts")
        context = self._with_credentials(inputs, lambda access: self._upload(inputs, image, repository, access))
        target = outlook.plan.deliveries[0].destination
        name = job_name(str(target), outlook.key)
        held = {secret.id: secret_bytes(secret) for secret in inputs.secrets}
        secrets = self._secrets(inputs, name, work, target, context, held)
        todo = Work(
            image=str(target),
            key=outlook.key,
            context=str(context),
            content=image.tag,
            mounted=mounts_context(self._options["context_mount"], release),
            bases=tuple(
                dict.fromkeys((str(base.reference), base.platform) for base in work.bases.values() if base.reference)
            ),
            build=tuple(self._build_arguments(inputs, work)),
            push=(*image_push_arguments(inputs), *inputs["extra_push_args"]),
            flags=tuple(self._access(inputs).flags()),
            # Without steps nothing is to be kept from the network.
            offline=offline and profile != C,
            pull_secret=self._secret_name("pull", secrets, name),
            push_secret=self._secret_name("push", secrets, name),
            build_secret=f"{name}-secrets" if f"{name}-secrets" in secrets else None,
            certificates=f"{name}-certificates" if f"{name}-certificates" in secrets else None,
        )
        self._run = JobRun(self._cluster, todo, settings, secrets, self._options["schedule_timeout"], self.progress)
        digest = self._run.finish(inputs, Mask(held.values()), self._state.new_log(str(inputs.image)), outcome.report)
        record = replace(
            record, finished=now(), versions={"rootless.buildah": self._settings.version, "builder": settings.image}
        )
        return self._read_back(inputs, target, digest), record

    def _deliver(self, outlook: Outlook, image: str, record: BuildRecord, outcome: Outcome, access: Access) -> None:
        super()._deliver(outlook, image, record, outcome, access)
        if self._run:
            # Its result is kept for good now.
            self._run.delete()

    def _send(
        self, delivery: Delivery, outlook: Outlook, image: str, skopeo: Skopeo, access: Access, before: Destination
    ) -> None:
        if self._run and delivery == outlook.plan.deliveries[0]:
            # A Job that was joined may have ended a while ago, and somebody may have moved the tag since.
            name, signer = delivery.destination, outlook.inputs["sign_by"]
            found = skopeo.manifest(name)
            if signer or found is None or digest_of(found) != self._run.digest:
                skopeo.copy_between(name.with_digest(self._run.digest), name, sign_by=signer)
            return
        super()._send(delivery, outlook, image, skopeo, access, before)

    # What the Job is told.

    def _defaults(self) -> Mapping[str, str]:
        found = self._cluster.get("configmaps", DEFAULTS)
        return dict((found or {}).get("data") or {})

    def _option(self, option: str, defaults: Mapping[str, str], key: str) -> str:
        chosen = self._options[option] or defaults.get(key)
        if not chosen:
            raise InputError(
                f"job.{option} is not given",
                f"the namespace {self._cluster.namespace} has no ConfigMap {DEFAULTS} with {key}",
                f"Apply the role cluster_builder to the namespace, or set job.{option}",
            )
        return str(chosen)

    def _ready_nodes(self) -> Optional[dict[str, int]]:
        nodes = self._cluster.nodes()
        if nodes is None:
            return None
        labels = [
            node["metadata"].get("labels") or {} for node in nodes if not node.get("spec", {}).get("unschedulable")
        ]
        return {one: sum(each.get(f"{NODE_LABEL}{one}") == "true" for each in labels) for one in (A, B)}

    def _pod_settings(self, defaults: Mapping[str, str], profile: str) -> PodSettings:
        chosen: dict[str, Any] = {}
        taken = ("deadline", "ttl", "storage", "service_account", "cache_claim", "priority_class", "runtime_class")
        chosen.update({name: self._options[name] for name in taken})
        chosen.update(
            {name: self._options[name] or {} for name in ("resources", "node_selector", "annotations", "labels")}
        )
        return PodSettings(
            image=self._option("image", defaults, "image"),
            profile=profile,
            selinux_type=self._options["selinux_type"] or defaults.get("selinux_type"),
            tolerations=tuple(self._options["tolerations"] or ()),
            **chosen,
        )

    def _refuse_credentials(self, work: VariantWork) -> None:
        """Refuse a context with credentials: it stays at a registry, where others may read it."""
        if self._options["allow_credentials"]:
            return
        for part in work.parts:
            held = credential_files(part.files, part.root)
            if held:
                raise InputError(
                    f"the build context holds what looks like credentials: {', '.join(held[:5])}",
                    "the context goes to a registry, where whoever may pull from its repository can read it",
                    "List the files in .containerignore, or set job.allow_credentials: true",
                )

    @staticmethod
    def _ignorefile(work: VariantWork) -> dict[str, bytes]:
        if not work.ignorefile:
            return {}
        with open(work.ignorefile, "rb") as file:
            return {"ignore": file.read()}

    def _build_arguments(self, inputs: BuildInputs, work: VariantWork) -> list[str]:
        pins = [(word, f"container-image://{base.reference}") for word, base in work.bases.items()]
        packed = {part.name for part in work.parts}
        named = [
            (name, f"{UNPACKED}/named/{name}" if f"named/{name}" in packed else value)
            for name, value in work.contexts.items()
        ]
        files = BuildFiles(
            context=f"{UNPACKED}/context",
            containerfile=f"{UNPACKED}/Containerfile",
            iidfile=IIDFILE,
            ignorefile=f"{UNPACKED}/ignore" if work.ignorefile else None,
            pins=[*pins, *named],
            secrets={secret.id: f"{SECRETS}/{secret.id}" for secret in inputs.secrets},
            certificates=self._access(inputs).ca_dir,
        )
        return build_arguments(
            inputs,
            files,
            platform=None if work.platform == host_platform() else work.platform,
            isolation="chroot",
            nocache=work.nocache or bool(inputs["refresh"]),
            base_name=work.base_name,
        )

    def _access(self, inputs: BuildInputs) -> Access:
        """Return how the steps reach registries, logins apart."""
        return Access(None, CERTS if inputs["registry_ca_dir"] else None, inputs["registry_validate_certs"])

    # What goes along with it.

    def _upload(self, inputs: BuildInputs, image: ContextImage, repository: str, access: Access) -> ImageName:
        """Bring a context to its repository, unless it is there, and return it by digest."""
        name = ImageName.parse(f"{repository}:{image.tag}")
        skopeo = self._skopeo(inputs, access, mirrors=False)
        found = skopeo.manifest(name)
        if found is None or not image.is_at(found):
            directory = self._open_job(inputs).scratch()
            found = image.write(directory)
            skopeo.upload(directory, name)
        return name.with_digest(digest_of(found))

    def _secret_name(self, use: str, secrets: Mapping[str, Any], job: str) -> Optional[str]:
        """Return the Secret with the login for a use: the task's, else that of the namespace where there is one."""
        if f"{job}-{use}" in secrets:
            return f"{job}-{use}"
        named = str(self._options[f"{use}_secret"])
        return named if self._cluster.get("secrets", named) else None

    def _secrets(
        self,
        inputs: BuildInputs,
        job: str,
        work: VariantWork,
        target: ImageName,
        context: ImageName,
        held: Mapping[str, bytes],
    ) -> dict[str, tuple[str, dict[str, str]]]:
        """Return what goes with the Job, kind and values in base64 by name.

        Only a login that the task was given travels into the cluster, never the user's own, and each use gets the
        logins of its registries.

        :param held: what the build's secrets hold, by id.
        """
        made: dict[str, tuple[str, dict[str, str]]] = {}
        if inputs["registry_auth_file"] or inputs["registry_username"] is not None:
            hosts = {
                "pull": {context.host, *(base.reference.host for base in work.bases.values() if base.reference)},
                "push": {target.host},
            }
            for use, needed in hosts.items():
                data = picked_logins(inputs["registry_auth_file"], sorted(needed), self._own_logins(inputs))
                made[f"{job}-{use}"] = (_DOCKER_CONFIG, {".dockerconfigjson": _base64(data)})
        values = {name: _base64(data) for name, data in held.items()}
        if values:
            made[f"{job}-secrets"] = ("Opaque", values)
        if inputs["registry_ca_dir"]:
            made[f"{job}-certificates"] = ("", _certificates(inputs["registry_ca_dir"]))
        return made

    def _own_logins(self, inputs: BuildInputs) -> Mapping[str, tuple[str, str]]:
        if inputs["registry_username"] is None:
            return {}
        hosts = {image.host for image in (*inputs.destinations, inputs.image) if image.has_registry}
        return dict.fromkeys(hosts, (inputs["registry_username"], inputs["registry_password"]))

    def _read_back(self, inputs: BuildInputs, target: ImageName, digest: str) -> str:
        """Return the id of the pushed image; fail when the registry does not have what was pushed."""

        def read(access: Access) -> Optional[bytes]:
            return self._skopeo(inputs, access, mirrors=False).manifest(target.with_digest(digest))

        found: Optional[bytes] = self._with_credentials(inputs, read)
        if found is None or digest_of(found) != digest:
            raise RegistryError(
                "not_found",
                f"{target} is not what the Job pushed",
                [],
                0,
                "",
                "",
                f"{target.host} has no {digest}",
                "Check that the registry's name means the same to pods and to this host",
            )
        return str(json.loads(found).get("config", {}).get("digest", "")).partition(":")[2]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _certificates(directory: str) -> dict[str, str]:
    made = {}
    for name in sorted(os.listdir(directory)):
        # Keys of clients would be credentials; a ConfigMap is none's place.
        if name.endswith((".crt", ".pem")):
            with open(os.path.join(directory, name), "rb") as file:
                made[name] = _base64(file.read())
    return made

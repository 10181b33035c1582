# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of one build: resolve, observe, plan, and - unless only asked - fetch, build, push, record."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._auth import login_hosts, merged_auth, own_auth_file
from ansible_collections.rootless.buildah.plugins.module_utils._bases import Base, BaseResolver
from ansible_collections.rootless.buildah.plugins.module_utils._buildah import Buildah
from ansible_collections.rootless.buildah.plugins.module_utils._errors import (
    ContextError,
    InputError,
    RegistryError,
)
from ansible_collections.rootless.buildah.plugins.module_utils._executor import BuildReport
from ansible_collections.rootless.buildah.plugins.module_utils._host_executor import HostExecutor
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import (
    BuildInputs,
    check_versions,
    duration_seconds,
    refuse_to_lose,
    unseen_by_cache,
    warnings,
)
from ansible_collections.rootless.buildah.plugins.module_utils._isolation import choose
from ansible_collections.rootless.buildah.plugins.module_utils._isolation import observe as observe_host
from ansible_collections.rootless.buildah.plugins.module_utils._job import (
    JOB_IMAGE,
    MARKER,
    Job,
    began,
    dead_jobs,
    end_dead_sessions,
    exporting_containers,
    has_own_store,
    noted_outside,
    remove_plain,
    remove_start_files,
)
from ansible_collections.rootless.buildah.plugins.module_utils._key import overall_key, refresh_age
from ansible_collections.rootless.buildah.plugins.module_utils._lock import FileLock
from ansible_collections.rootless.buildah.plugins.module_utils._observe import (
    DestinationObserver,
    LocalObserver,
    output_digest,
    side_by_side,
)
from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS, Version, is_given
from ansible_collections.rootless.buildah.plugins.module_utils._patience import Patience
from ansible_collections.rootless.buildah.plugins.module_utils._plan import (
    COPY,
    PUSH,
    SIGN,
    Delivery,
    Destination,
    Local,
    Plan,
    Wanted,
    plan,
)
from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner
from ansible_collections.rootless.buildah.plugins.module_utils._record import BuildRecord
from ansible_collections.rootless.buildah.plugins.module_utils._referrers import Referrers
from ansible_collections.rootless.buildah.plugins.module_utils._registries_conf import home_without_mirrors, load
from ansible_collections.rootless.buildah.plugins.module_utils._registry import Access
from ansible_collections.rootless.buildah.plugins.module_utils._resolve import (
    ContextReader,
    Resolution,
    containerfile_of,
    resolve,
)
from ansible_collections.rootless.buildah.plugins.module_utils._skopeo import Skopeo, digest_of
from ansible_collections.rootless.buildah.plugins.module_utils._state import State, write_atomically
from ansible_collections.rootless.buildah.plugins.module_utils._storage import (
    DEFAULTS,
    ISOLATED,
    PROJECT,
    STORES,
    Places,
    choose_store,
    read_defaults,
    united,
)
from ansible_collections.rootless.buildah.plugins.module_utils._triggers import TriggerReader
from ansible_collections.rootless.buildah.plugins.module_utils._user import (
    buildah_runtime_dir,
    credential_paths,
    environment,
    home,
    refuse_root,
    require,
    runtime_dir,
)


@dataclass(frozen=True)
class Settings:
    """What a run needs to know besides the images.

    :param version: this collection's version, for records.
    :param hide: further files and directories that hold secrets while builds run, such as Ansible's own.
    """

    version: str = ""
    hide: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outlook:
    """One image with everything that was found out about it."""

    inputs: BuildInputs
    resolution: Resolution
    key: str
    wanted: Wanted
    destinations: tuple[Destination, ...]
    local: Local
    plan: Plan


@dataclass
class Outcome:
    """What a run did to one image; the fields of the module's result."""

    changed: bool = False
    built: bool = False
    pushed: list[dict[str, str]] = field(default_factory=list)
    image_id: str = ""
    digest: str = ""
    report: BuildReport = field(default_factory=BuildReport)


class Engine:
    """Plans and builds images of one builder user on this host.

    :param like: the inputs whose storage and registry settings hold for all images of this engine.
    """

    def __init__(self, like: BuildInputs, settings: Settings) -> None:
        self._require(like)
        self._settings = settings
        self._environment = environment()
        self._like = like
        self._job: Optional[Job] = None
        self._job_guard = threading.Lock()
        self._open_store(storage_of(like))
        self._conf = load(home(), self._environment.get("CONTAINERS_REGISTRIES_CONF"))
        self._contexts = ContextReader()
        self._base_answers: dict[str, Optional[bytes]] = {}
        self._version: Optional[Version] = None

    @staticmethod
    def _require(like: BuildInputs) -> None:
        """Refuse to go on where a build cannot work."""
        refuse_root(like["allow_root"])
        for program in ("buildah", "skopeo"):
            require(program)

    def _open_store(self, chosen: Mapping[str, Any]) -> None:
        """Settle which image store is used, and with it what is remembered."""
        root = os.path.join(home(), ".local/share/rootless.buildah")
        places = Places(os.path.join(home(), STORES), runtime_dir() or buildah_runtime_dir())
        if chosen.get("strategy") == ISOLATED:
            self._state = State(root, ISOLATED)
            self._state.prepare()
            # The store is named after the run, and goes with it.
            self._job = Job(self._state.jobs, self._like.local_name, ISOLATED)
            self._store = choose_store(chosen, places, self._job.id)
            for path in self._store.scratch:
                self._job.outside(path)
        else:
            self._store = choose_store(chosen, places)
        self.program = ["buildah", *self._store.flags]
        if self._store.conf:
            self._environment["CONTAINERS_STORAGE_CONF"] = _kept(self._store.conf.encode(), root)
        own = self._environment.get("CONTAINERS_STORAGE_CONF", "")
        named = {ISOLATED: ISOLATED, PROJECT: self._store.graphroot}
        self._storage_id = named.get(self._store.strategy, own)
        if self._store.lasting:
            self._state = State(root, self._storage_id)
            self._state.prepare()

    @property
    def local_buildah(self) -> list[str]:
        """How to call buildah to find the images of this engine; nothing where none is left."""
        return self.program if self._store.lasting else []

    # Doors. Each is made for a step with just the credentials of that step.

    def _runner(self, inherit: Sequence[int] = ()) -> Runner:
        return self._runner_in(self._environment, inherit)

    def _runner_in(self, environment: Mapping[str, str], inherit: Sequence[int] = ()) -> Runner:
        """Return a runner whose programs' sessions and temporary files belong to the job, once there is one."""
        if self._job is None:
            return Runner(environment, None, inherit)
        return Runner({**environment, "TMPDIR": self._job.directory("tmp")}, self._job.sessions, inherit)

    def _buildah(self, access: Optional[Access] = None, inherit: Sequence[int] = ()) -> Buildah:
        return Buildah(self._runner(inherit), access or Access(), _patience(self._like), self.program)

    def _skopeo(self, inputs: BuildInputs, access: Access, mirrors: bool = True) -> Skopeo:
        """Return the door to registries; a destination is never looked up at its mirrors."""
        environment = self._environment
        if self._conf.mirrors and not mirrors:
            environment = {name: value for name, value in environment.items() if name != "CONTAINERS_REGISTRIES_CONF"}
            environment["HOME"] = self._home_without_mirrors()
        return Skopeo(self._runner_in(environment), access, _patience(inputs))

    def _home_without_mirrors(self) -> str:
        job = self._open_job(self._like)
        with self._job_guard:
            path = os.path.join(job.path, "home")
            if not os.path.isdir(path):
                home_without_mirrors(home(), path, self._conf)
        return path

    def _with_credentials(self, inputs: BuildInputs, action: Callable[[Access], Any]) -> Any:
        """Call ``action`` with the way to the registries; a temporary authfile exists no longer than that."""
        auth_file = inputs["registry_auth_file"] or own_auth_file(
            self._environment, os.path.join(self._state.root, "no-logins.json")
        )
        logins = login_hosts(inputs["registry_auth_file"], self._environment)
        access = Access(auth_file, inputs["registry_ca_dir"], inputs["registry_validate_certs"], logins)
        if inputs["registry_username"] is None:
            return action(access)
        hosts = sorted({image.host for image in (*inputs.destinations, inputs.image) if image.has_registry})
        job = self._open_job(inputs)
        path = job.write(
            f"auth-{threading.get_ident()}.json",
            merged_auth(
                inputs["registry_auth_file"],
                self._environment,
                hosts,
                inputs["registry_username"],
                inputs["registry_password"],
            ),
        )
        try:
            return action(replace(access, auth_file=path, logins=logins | set(hosts)))
        finally:
            os.unlink(path)

    def _open_job(self, inputs: BuildInputs) -> Job:
        with self._job_guard:
            if self._job is None:
                self._job = Job(self._state.jobs, inputs.local_name, self._storage_id)
            return self._job

    def close(self) -> None:
        """Remove what this run kept in files, and what killed runs left behind."""
        try:
            if self._job:
                self._clean(self._job.path)
                self._job.close()
                self._job = None
        finally:
            for path in dead_jobs(self._state.jobs, self._storage_id):
                end_dead_sessions(path)
                self._clean(path)
            # Not only after dead runs: somebody may have killed just a program of a run.
            remove_start_files()

    def _clean(self, path: str) -> None:
        """Remove the working containers, the temporary image and the files of a job."""
        if has_own_store(path):
            self._clean_with_store(path)
            return
        buildah = Buildah(Runner(self._environment), Access(), _patience(self._like), self.program)
        has_built = os.path.exists(os.path.join(path, MARKER)) or os.path.isdir(os.path.join(path, "cids"))
        found = exporting_containers(path)
        if has_built:
            found += buildah.left_containers(lambda marker: marker.startswith(path + os.sep), began(path))
            cids = os.path.join(path, "cids")
            for name in os.listdir(cids) if os.path.isdir(cids) else ():
                with open(os.path.join(cids, name), encoding="ascii") as file:
                    found += file.read().split()
        buildah.remove_containers(found)
        for name in buildah.names(f"{JOB_IMAGE}:{os.path.basename(path)}") if has_built else ():
            buildah.untag(name)
        for outside in noted_outside(path):
            buildah.remove_tree(outside)
        if not remove_plain(path):
            buildah.remove_tree(path)

    def _clean_with_store(self, path: str) -> None:
        """Remove a job with its image store, and with that whatever was made in it."""
        usual = {name: value for name, value in self._environment.items() if name != "CONTAINERS_STORAGE_CONF"}
        buildah = Buildah(Runner(usual), Access(), _patience(self._like))
        for outside in noted_outside(path):
            buildah.remove_tree(outside)
            # What all such stores lie in goes with the last of them.
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(outside))
        if not remove_plain(path):
            buildah.remove_tree(path)

    # Planning.

    def outlook(self, inputs: BuildInputs, *, check: bool = False, pending: frozenset[str] = frozenset()) -> Outlook:
        """Find out what would happen to an image, changing nothing.

        :param check: bases that do not exist yet are tolerated.
        :param pending: names of images that are going to be built before.
        """
        if not self._store.lasting:
            refuse_to_lose(inputs)
        gated = [option.name for option in OPTIONS if option.since]
        if any(is_given(inputs[name]) for name in (*gated, "cache_from", "cache_to", "cache_ttl", "refresh")):
            self._check_version(inputs)
        return self._with_credentials(inputs, lambda access: self._look(inputs, access, check, pending))  # type: ignore[no-any-return]

    def _look(self, inputs: BuildInputs, access: Access, check: bool, pending: frozenset[str]) -> Outlook:
        doors = self._skopeo(inputs, access), self._buildah(access)
        resolution = resolve(
            inputs,
            BaseResolver(*doors, self._conf, self._base_answers),
            TriggerReader(*doors, self._state).read,
            self._contexts,
            tolerate_missing_bases=check,
            pending=pending,
        )
        key = overall_key(resolution.variants)
        wanted = Wanted(
            key,
            resolution.variants,
            bool(inputs["push"]),
            bool(inputs["load"]),
            bool(inputs["force"]),
            inputs["sign_by"],
            inputs["compression_format"],
            resolution.early_reasons,
            self._store.lasting,
        )
        observer = LocalObserver(self._buildah(), self._state)
        destinations: tuple[Destination, ...] = ()
        local = Local()
        if inputs["push"]:
            skopeo = self._skopeo(inputs, access, mirrors=False)
            referrers = self._referrers(inputs, skopeo)
            destinations = tuple(DestinationObserver(skopeo, referrers, self._state).observe(inputs, key))
            local = Local(
                stale_artifacts=observer.stale_artifacts(inputs, key), stale_outputs=observer.stale_outputs(inputs, key)
            )
        chosen = plan(wanted, local, destinations)
        # With everything in place at the registry the local store is not even looked at.
        if not inputs["push"] or inputs["load"] or chosen.changes:
            local = observer.observe(inputs, key) if self._store.lasting else observer.observe_exports(inputs, key)
            chosen = plan(wanted, local, destinations)
        return Outlook(inputs, resolution, key, wanted, destinations, local, chosen)

    def _referrers(self, inputs: BuildInputs, skopeo: Skopeo) -> Referrers:
        return Referrers(
            skopeo,
            lambda: self._open_job(inputs).scratch(),
            inputs["trust_policy"] if inputs["trust"] == "signed" else None,
        )

    def outlooks(
        self, images: Sequence[BuildInputs], *, check: bool, pending: Mapping[str, frozenset[str]]
    ) -> list[Outlook]:
        """Return the outlook of many images, asked side by side."""
        return side_by_side(
            lambda inputs: self.outlook(inputs, check=check, pending=pending.get(inputs.local_name, frozenset())),
            images,
        )

    def _check_version(self, inputs: BuildInputs) -> Version:
        if self._version is None:
            self._version = self._buildah().version()
        check_versions(inputs, self._version)
        return self._version

    # Carrying out.

    def run(self, inputs: BuildInputs) -> tuple[Outlook, Outcome]:
        """Make an image what its inputs say, and tell what was found and what was done.

        Looking and doing are one step under the image's lock. Where another run holds it, looking alone may show that
        there is nothing to do; otherwise that run is waited for, and may have done the work.
        """
        lock = FileLock(self._state.lock_path(inputs.local_name), str(inputs.image))
        try:
            if not lock.try_acquire():
                outlook = self.outlook(inputs)
                if not outlook.plan.changes:
                    return outlook, self._unchanged(outlook)
                lock.acquire(inputs["lock_timeout"], self._end_dead_runs)
                self._contexts, self._base_answers = ContextReader(), {}
            self._end_dead_runs()
            outlook = self.outlook(inputs)
            if not outlook.plan.changes:
                return outlook, self._unchanged(outlook)
            self._check_version(inputs)
            self._open_job(inputs)
            return outlook, self._carry_out(outlook, lock)
        finally:
            lock.release()

    def _end_dead_runs(self) -> None:
        for path in dead_jobs(self._state.jobs, self._storage_id):
            end_dead_sessions(path)

    @staticmethod
    def _unchanged(outlook: Outlook) -> Outcome:
        digest = next((there.digest for there in outlook.destinations if there.digest), "")
        config = next((there.config for there in outlook.destinations if there.config), None)
        return Outcome(image_id=(config or "").partition(":")[2] or outlook.local.tag_id or "", digest=digest or "")

    def _carry_out(self, outlook: Outlook, lock: FileLock) -> Outcome:
        inputs, todo = outlook.inputs, outlook.plan
        outcome = Outcome()
        started = now()
        image = ""
        record = BuildRecord(
            outlook.key, outlook.resolution.variants, uncovered=outlook.resolution.uncovered, started=started
        )
        if todo.build:
            image, record = self._build(outlook, outcome, record, lock)
            outcome.built = True
        elif outlook.local.ready_id:
            image = outlook.local.ready_id
            known = [one for one in self._state.records(image) if one.key == outlook.key]
            record = known[-1] if known else record
        self._with_credentials(inputs, lambda access: self._deliver(outlook, image, record, outcome, access))
        if todo.tag:
            self._buildah().tag(todo.tag, inputs.local_name)
            outcome.changed = outcome.changed or outlook.local.tag_id != todo.tag
        if todo.load:
            image = self._load(outlook, todo.load, record)
            outcome.changed = True
        outcome.image_id = outcome.image_id or image
        due = self._state.memory(inputs.local_name).get("outputs", {}) if not todo.build else {}
        if inputs.outputs and (todo.build or todo.export):
            outcome.changed = self._export(outlook, image, due) or outcome.changed
        return outcome

    def _build(
        self, outlook: Outlook, outcome: Outcome, record: BuildRecord, lock: FileLock
    ) -> tuple[str, BuildRecord]:
        """Fetch and build every platform; keep the result only if the inputs stayed what they were."""
        inputs = outlook.inputs
        job = self._open_job(inputs)
        hide = [
            *credential_paths(),
            *self._settings.hide,
            *([inputs["registry_auth_file"]] if inputs["registry_auth_file"] else []),
        ]
        buildah = self._buildah(inherit=lock.inheritable)
        executor = HostExecutor(
            buildah,
            job,
            path=self._environment["PATH"],
            hide=hide,
            stores=self._store.paths,
            log_path=self._state.new_log(str(inputs.image)),
            isolation=inputs["isolation"] or choose(observe_host(self._environment["PATH"], home())),
        )
        # A build sees of hidden places only what is there when it begins.
        for path in (self._store.graphroot, self._store.runroot):
            if path:
                os.makedirs(path, mode=0o700, exist_ok=True)
        images = []
        for platform in inputs.platforms:
            work = outlook.resolution.work[platform]
            if inputs["refresh"]:
                # Later builds of the same period may use the cache, but for what is older than the period.
                age = refresh_age(inputs["refresh"], str(inputs.image), time.time())
                work = replace(work, oldest_layer=age, nocache=work.nocache or self._bucket_moved(outlook, platform))
            unseen = unseen_by_cache(inputs, self._check_version(inputs))
            apart = bool(unseen) or (work.platform_unseen and self._check_version(inputs) < (1, 41))
            work = replace(work, apart=apart, avoid=self._state.kept_apart())
            pins = self._with_credentials(
                inputs,
                lambda access, work=work: HostExecutor(self._buildah(access), job).fetch(inputs, work),  # type: ignore[misc]
            )
            image = executor.build(inputs, work, pins, outcome.report)
            if work.apart:
                self._state.keep_apart(image)
            images.append(image)
        self._refuse_moved(outlook)
        record = replace(record, finished=now(), artifacts=outcome.report.artifacts, versions=self._versions())
        self._keep_artifacts(outlook, job, outcome)
        image, before = images[0], outlook.local.tag_id
        if len(images) > 1:
            image = buildah.create_list(f"{job.image}-list", images)
            # Ids of lists are random: an equal one is no change.
            if before and buildah.is_list(before) and buildah.list_content(before) == buildah.list_content(image):
                image = before
        self._state.add_record(image, record, str(inputs.image))
        if before != image:
            buildah.tag(image, inputs.local_name)
            # A name in a store that goes is nothing that a user could see.
            outcome.changed = outcome.changed or self._store.lasting
        self._remember(inputs, image_id=image)
        if len(images) > 1:
            buildah.untag(f"{job.image}-list")
        if not may_leave_containers(inputs):
            job.forget_marker()
        self._state.forget_gone_images(buildah.image_ids if self._store.lasting else self._state.last_images)
        outcome.image_id = image
        return image, record

    def _bucket_moved(self, outlook: Outlook, platform: str) -> bool:
        """Whether a new refresh period is why this is built; then the layer cache would bring back the old packages."""
        known = [one.record for one in outlook.destinations if one.record] + (
            [outlook.local.record] if outlook.local.record else []
        )
        wanted = outlook.resolution.variants[platform].components.get("refresh")
        return not known or any(
            platform not in record.variants or record.variants[platform].components.get("refresh") != wanted
            for record in known
        )

    def _refuse_moved(self, outlook: Outlook) -> None:
        """Hash the context again: an image of something that moved while it was read has no key."""
        self._contexts = ContextReader()
        for platform in outlook.resolution.work:
            before = outlook.resolution.variants[platform]
            again = self._rehash(outlook.inputs, outlook.resolution, platform)
            if any(
                before.components.get(name) != again.get(name) for name in ("context", "bind_sources", "build_context")
            ):
                raise ContextError(
                    f"the build context of {outlook.inputs.image} changed while it was built",
                    "files were written to it after they had been hashed; nothing was recorded or pushed",
                    "Stop what writes there during the build, or build from a copy",
                )

    def _rehash(self, inputs: BuildInputs, resolution: Resolution, platform: str) -> Mapping[str, Any]:
        known = _KnownBases(resolution)
        again = resolve(inputs, known, known.triggers, self._contexts)  # type: ignore[arg-type]
        return again.variants[platform].components

    def _keep_artifacts(self, outlook: Outlook, job: Job, outcome: Outcome) -> None:
        """Move a script's exports to where they are wanted, each whole or not at all."""
        inputs = outlook.inputs
        if not inputs["artifacts"]:
            return
        os.makedirs(inputs["artifacts"], exist_ok=True)
        for name in outcome.report.artifacts:
            target = os.path.join(inputs["artifacts"], name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            temporary = job.outside(f"{target}.{job.id}.new")
            shutil.copyfile(os.path.join(job.path, "artifacts", name), temporary)
            os.replace(temporary, target)
        outcome.changed = outcome.changed or bool(outcome.report.artifacts)
        self._remember(
            inputs, artifacts={"key": outlook.key, "directory": inputs["artifacts"], "files": outcome.report.artifacts}
        )

    def _versions(self) -> dict[str, str]:
        return {
            "buildah": ".".join(str(part) for part in self._version or ()),
            "rootless.buildah": self._settings.version,
        }

    # Delivering.

    def _deliver(self, outlook: Outlook, image: str, record: BuildRecord, outcome: Outcome, access: Access) -> None:
        inputs = outlook.inputs
        skopeo = self._skopeo(inputs, access, mirrors=False)
        referrers = self._referrers(inputs, skopeo)
        source: Optional[ImageName] = None
        there = {one.name: one for one in outlook.destinations}
        for delivery in outlook.plan.deliveries:
            before = there[delivery.destination]
            if source is not None and delivery.action == PUSH:
                delivery = Delivery(delivery.destination, COPY, source)
            if delivery.action == COPY and delivery.source:
                record = self._record_of(delivery.source, outlook, referrers) or record
            self._send(delivery, outlook, image, skopeo, access, before)
            data = skopeo.manifest(delivery.destination)
            if data is None:
                raise InputError(
                    f"{delivery.destination} is gone right after the push",
                    "somebody deletes it, or the registry answers from elsewhere",
                    "Look at the registry",
                )
            digest = digest_of(data)
            source = source or delivery.destination.with_digest(digest)
            announced = [ref for ref in referrers.announced(delivery.destination, digest) if ref.key == record.key]
            if not announced or (inputs["sign_by"] and all(ref.signed_by != inputs["sign_by"] for ref in announced)):
                referrers.write(delivery.destination, digest, data, record, inputs["sign_by"])
                outcome.changed = True
            outcome.changed = outcome.changed or before.digest != digest or bool(before.missing)
            outcome.pushed.append(
                {"destination": str(delivery.destination), "digest": digest, "action": delivery.action}
            )
            outcome.digest = digest
            pushed = self._state.memory(inputs.local_name).get("pushed", {})
            self._remember(inputs, pushed={**pushed, str(delivery.destination): {"digest": digest, "key": outlook.key}})
        outcome.digest = outcome.digest or next((one.digest for one in outlook.destinations if one.digest), "") or ""

    def _record_of(self, source: ImageName, outlook: Outlook, referrers: Referrers) -> Optional[BuildRecord]:
        """Return the record that travels with a copy."""
        refs = [ref for ref in referrers.announced(source, str(source.digest)) if ref.key == outlook.key]
        return referrers.read(source, str(source.digest), refs[-1]) if refs else None

    def _send(
        self,
        delivery: Delivery,
        outlook: Outlook,
        image: str,
        skopeo: Skopeo,
        access: Access,
        before: Destination,
    ) -> None:
        inputs = outlook.inputs
        if delivery.action == COPY and delivery.source:
            skopeo.copy_between(delivery.source, delivery.destination, sign_by=inputs["sign_by"])
        elif delivery.action == SIGN and before.digest:
            skopeo.copy_between(
                delivery.destination.with_digest(before.digest), delivery.destination, sign_by=inputs["sign_by"]
            )
        elif delivery.action == PUSH:
            if before.config == f"sha256:{image}" and not inputs["sign_by"] and not inputs["compression_format"]:
                return
            executor = HostExecutor(self._buildah(access), self._open_job(inputs))
            # A push takes layers that the registry has in another compression for the ones it was asked to make.
            apart = bool(inputs["compression_format"]) and len(inputs.platforms) == 1
            if not apart:
                try:
                    executor.push(inputs, image, delivery.destination)
                except RegistryError as error:
                    apart = error.kind == "compression" and len(inputs.platforms) == 1
                    if not apart:
                        raise
            if apart:
                skopeo.upload(executor.pack(inputs, image), delivery.destination, sign_by=inputs["sign_by"])

    def _load(self, outlook: Outlook, source: ImageName, record: BuildRecord) -> str:
        """Bring the registry's image into the local store under the image's name."""

        def bring(access: Access) -> str:
            image = self._buildah(access).pull(source)
            self._buildah().tag(image, outlook.inputs.local_name)
            return image

        image: str = self._with_credentials(outlook.inputs, bring)
        self._state.add_record(image, record, str(outlook.inputs.image))
        return image

    def _export(self, outlook: Outlook, image: str, known: Mapping[str, Any]) -> bool:
        """Write the outputs that are due; return whether any was written."""
        inputs, job, buildah = outlook.inputs, self._open_job(outlook.inputs), self._buildah()
        current = dict(known)
        for output in inputs.outputs:
            if current.get(output.dest) == {"key": outlook.key, "type": output.type, "digest": output_digest(output)}:
                continue
            temporary = job.outside(f"{output.dest}.{job.id}.new")
            if output.type in ("local", "tar"):
                buildah.export_files(image, temporary, job.exporting_container(), as_tar=output.type == "tar")
            else:
                buildah.export(image, output.type, temporary)
            if os.path.isdir(output.dest) and not os.path.islink(output.dest):
                os.rename(output.dest, job.outside(f"{output.dest}.{job.id}.old"))
            os.rename(temporary, output.dest)
            buildah.remove_tree(f"{output.dest}.{job.id}.old")
            current[output.dest] = {"key": outlook.key, "type": output.type, "digest": output_digest(output)}
        self._remember(inputs, outputs=current)
        return current != known

    def _remember(self, inputs: BuildInputs, **news: Any) -> None:
        self._state.remember(inputs.local_name, {**self._state.memory(inputs.local_name), **news})

    # Absent.

    def remove(self, inputs: BuildInputs, check: bool) -> Outcome:
        """Take the name from the local image; registries are never touched."""
        image = self._buildah().list_id(inputs.local_name) if self._store.lasting else None
        if image and not check:
            self._buildah().untag(inputs.local_name)
        return Outcome(changed=image is not None, image_id=image or "")


class _KnownBases:
    """Answers with the bases that were resolved before, so that only files are read again."""

    def __init__(self, resolution: Resolution) -> None:
        self._answers = resolution.answers
        self._triggers = resolution.triggers

    def resolve(self, name: str, platform: str, _pull: str) -> Base:
        """Return what a base was found to be."""
        return self._answers[name, platform]

    def triggers(self, base: Base, platform: str) -> tuple[str, ...]:
        """Return a base's ONBUILD lines as they were read."""
        return self._triggers[base.name, platform]


def storage_of(inputs: BuildInputs) -> dict[str, Any]:
    """Return the option ``storage`` of an image with what the role builder chose for this user."""
    try:
        with open(os.path.join(home(), DEFAULTS), encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    return united(inputs["storage"] or {}, read_defaults(text))


def _kept(text: bytes, state: str) -> str:
    """Keep a store's configuration file in the directory ``state`` and return its path."""
    path = os.path.join(state, f"storage-{hashlib.sha256(text).hexdigest()[:16]}.conf")
    os.makedirs(state, mode=0o700, exist_ok=True)
    write_atomically(path, text)
    return path


def may_leave_containers(inputs: BuildInputs) -> bool:
    """Return whether working containers may be there after a successful build.

    Of a Containerfile's build buildah removes them itself, but for those of stages that do nothing.
    """
    if inputs.is_script or inputs["extra_build_args"]:
        return True
    return containerfile_of(inputs).has_bare_stage


def _patience(inputs: BuildInputs) -> Patience:
    return Patience(inputs["retries"], duration_seconds(inputs["retry_delay"]))


def now() -> str:
    """Return the present as RFC 3339 writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def input_warnings(outlook: Outlook) -> list[str]:
    """Return everything that a user should be warned of."""
    return [
        *warnings(outlook.inputs),
        *outlook.resolution.warnings,
        *(
            f"The build key cannot cover {what}: a change there is not noticed."
            for what in outlook.resolution.uncovered
        ),
    ]

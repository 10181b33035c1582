# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Job from its trial to its digest: made once however many ask for it, watched, and never left behind."""

from __future__ import annotations

import time
from calendar import timegm
from dataclasses import asdict, replace
from typing import Any, Mapping, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._build_secrets import Mask
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError
from ansible_collections.rootless.buildah.plugins.module_utils._executor import BuildReport
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs
from ansible_collections.rootless.buildah.plugins.module_utils._job_failure import explained_by, job_failure
from ansible_collections.rootless.buildah.plugins.module_utils._kube_door import Cluster, KubernetesError
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import (
    BUILD,
    FETCH,
    MANAGER,
    PUSH,
    A,
    PodSettings,
    Work,
    config_map,
    job,
    owner,
    pod_of,
    same_work,
    secret,
)
from ansible_collections.rootless.buildah.plugins.module_utils._kube_watch import (
    DONE,
    FAILED,
    Problem,
    View,
    is_unschedulable,
    is_working,
    look,
    newest_of,
    refusal,
    runs_on_a_node,
    wants_room,
)
from ansible_collections.rootless.buildah.plugins.module_utils._steps import StepReader

_POLL = 1.0  # seconds
# Hundreds of builds may wait for each other in a namespace.
_POLL_IN_LINE = 5.0
#: Seconds that another controller may take from making a Job to resuming it. After that it is dead.
_BIRTH = 20.0


class Vanished(BuildahError):
    """The Job is gone before it was seen to end."""


class JobRun:
    """Runs a Job.

    :param extras: what goes with the Job: kind of Secret (empty: a ConfigMap) and values in base64, by name.
    :param patience: seconds without a node that are no problem yet.
    :param progress: takes lines that tell what happens, each with the second at which it did.
    """

    def __init__(
        self,
        cluster: Cluster,
        work: Work,
        settings: PodSettings,
        extras: Mapping[str, tuple[str, Mapping[str, str]]],
        patience: float,
        progress: list[dict[str, Any]],
    ) -> None:
        self._cluster = cluster
        self._work = work
        self._settings = settings
        self._extras = extras
        self._patience = patience
        self._progress = progress
        self._wanted = job(work, settings, cluster.namespace)
        self._name = self._wanted["metadata"]["name"]
        self._uid = ""
        self._began = time.monotonic()
        self.digest = ""

    def finish(self, inputs: BuildInputs, mask: Mask, log_path: str, report: BuildReport) -> str:
        """Make the Job, or take the one that does the same work already, wait for its end and return the digest.

        :param report: takes the steps of the build and where its log is.
        :raises BuildahError: when the build fails; then nothing of it is left in the cluster.
        """
        self._uid = self._ensure()
        try:
            view = self._wait()
        except KeyboardInterrupt:
            self.delete()
            raise
        lines = self._keep_log(view, mask, log_path, report)
        if view.state == DONE and view.digest:
            self.digest = view.digest
            return view.digest
        problem = view.problem or Problem("", "the push told no digest", PUSH)
        problem = replace(problem, words=mask(problem.words))
        self.delete()
        raise job_failure(inputs, self._work, self._settings.profile, problem, lines, log_path)

    def delete(self) -> None:
        """Remove the Job with all that belongs to it."""
        self._cluster.delete_job(self._name, self._uid)

    # Making it.

    def _ensure(self) -> str:
        """Return the uid of the Job that does the work; make it if there is none."""
        expected = self._try()
        while True:
            found = self._cluster.get("jobs", self._name)
            if found is None:
                made = self._create()
                if made:
                    return made
            elif self._is_welcome(found, expected):
                self._tell(f"joining the Job {self._name}, which is there already")
                return str(found["metadata"]["uid"])
            else:
                self._tell(f"replacing the Job {self._name}")
                self._cluster.delete_job(self._name, found["metadata"]["uid"])
                time.sleep(_POLL)

    def _try(self) -> Mapping[str, Any]:
        """Show pod and Job to the API server, which makes neither; return the Job as it would make it."""
        name = f"{self._name[:57]}-trial"
        try:
            pod = self._cluster.create(pod_of(self._wanted, name), dry_run=True)
        except KubernetesError as error:
            found = refusal(error.cause)
            if found:
                raise explained_by(
                    found, f"the cluster takes no pod that builds {self._work.image}", error.cause
                ) from error
            raise
        if self._settings.profile == A and pod["spec"].get("hostUsers") is not False:
            raise explained_by(
                "pod_host_users", f"{self._work.image} cannot be built as profile a", "the API server dropped hostUsers"
            )
        if self._work.mounted and any("image" not in one for one in pod["spec"]["volumes"] if one["name"] == "context"):
            raise explained_by(
                "pod_image_volume",
                f"the context of {self._work.image} cannot be mounted",
                "the API server dropped the volume",
            )
        trial = {**self._wanted, "metadata": {**self._wanted["metadata"], "name": name}}
        return self._cluster.create(trial, dry_run=True)

    def _is_welcome(self, found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
        """Say whether a Job that is there may be waited for."""
        failed = any(
            one["type"] == "Failed" and one["status"] == "True"
            for one in found.get("status", {}).get("conditions") or ()
        )
        return not failed and not found["metadata"].get("deletionTimestamp") and same_work(expected, found)

    def _create(self) -> Optional[str]:
        """Make the Job with all that belongs to it; None when somebody else was faster."""
        try:
            made = self._cluster.create(self._wanted)
        except KubernetesError as error:
            if error.status == 409:
                return None
            raise
        uid = str(made["metadata"]["uid"])
        try:
            for name, (kind, data) in self._extras.items():
                of = owner(made)
                extra = (
                    secret(name, self._cluster.namespace, of, data, kind)
                    if kind
                    else config_map(name, self._cluster.namespace, of, data)
                )
                self._create_extra(extra)
            self._cluster.resume(self._name)
        except BaseException:
            self._cluster.delete_job(self._name, uid)
            raise
        self._tell(f"made the Job {self._name}")
        return uid

    def _create_extra(self, extra: Mapping[str, Any]) -> None:
        """Make what belongs to the Job; one of the same name belongs to a Job that is being removed."""
        for _each in range(30):
            try:
                self._cluster.create(extra)
                return
            except KubernetesError as error:
                if error.status != 409:
                    raise
                time.sleep(_POLL)
        raise KubernetesError(
            f"{extra['kind']} {extra['metadata']['name']} is there already", "it belongs to another Job", "Delete it"
        )

    # Watching it.

    def _wait(self) -> View:
        without_node: Optional[float] = None
        begun = time.monotonic()
        while True:
            found = self._cluster.get("jobs", self._name)
            if found is None or found["metadata"]["uid"] != self._uid:
                raise Vanished(f"the Job {self._name} is gone", "somebody deleted it", "Run the task again")
            if found["spec"].get("suspend") and time.monotonic() - begun > _BIRTH:
                self.delete()
                raise Vanished(f"the Job {self._name} was never begun", "who made it died", "Run the task again")
            pods = self._cluster.find("pods", labelSelector=f"batch.kubernetes.io/controller-uid={self._uid}")
            busy = (not pods or wants_room(pods)) and self._others_build()
            if not is_unschedulable(pods) or busy:
                without_node = None
            elif without_node is None:
                without_node = time.monotonic()
            waited = time.monotonic() - without_node if without_node is not None else 0.0
            events = [] if is_working(pods) else self._events(pods)
            view = look(found, pods, events, waited, self._patience, busy)
            self._tell(view.doing)
            if view.state in (DONE, FAILED):
                return view
            time.sleep(_POLL_IN_LINE if busy else _POLL)

    def _others_build(self) -> bool:
        """Say whether other builds of the namespace run: in a long list, each waits for its turn."""
        pods = self._cluster.find("pods", labelSelector=",".join("=".join(pair) for pair in MANAGER.items()))
        return any(runs_on_a_node(pod) for pod in pods)

    def _events(self, pods: list[Any]) -> list[Any]:
        """Return what is told about the Job and its newest pod, the oldest first."""
        newest = newest_of(pods)
        names = [self._name, *([newest["metadata"]["name"]] if newest else [])]
        found = [
            one for name in names for one in self._cluster.find("events", fieldSelector=f"involvedObject.name={name}")
        ]
        return sorted(found, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))

    def _tell(self, text: str) -> None:
        if not self._progress or self._progress[-1]["text"] != text:
            self._progress.append({"seconds": round(time.monotonic() - self._began, 1), "text": text})

    # Its end.

    def _keep_log(self, view: View, mask: Mask, log_path: str, report: BuildReport) -> list[str]:
        """Write what the steps printed into a file and return the lines of the build."""
        logs = {step: self._lines(view, step, mask) for step in (FETCH, BUILD, PUSH) if step in view.started}
        with open(log_path, "w", encoding="utf-8") as file:
            for step, lines in logs.items():
                file.writelines(f"{step}: {text}\n" for _time, text in lines)
        reader = StepReader()
        for moment, text in logs.get(BUILD, []):
            reader.feed(text, moment)
        report.steps += [asdict(step) for step in reader.steps()]
        report.commands.append(["buildah", *self._work.build])
        report.log_path = log_path
        step = view.problem.step if view.problem and view.problem.step else BUILD
        return [text for _time, text in logs.get(step, [])]

    def _lines(self, view: View, step: str, mask: Mask) -> list[tuple[float, str]]:
        """Return what a step printed, secrets masked, each line with its time in seconds."""
        found = []
        for line in self._cluster.log(view.pod, step).splitlines():
            moment, _space, text = line.partition(" ")
            found.append((_seconds(moment), mask(text)))
        return found


def _seconds(moment: str) -> float:
    """Return a time that the kubelet wrote (RFC 3339 with nanoseconds) in seconds since the epoch."""
    whole, _dot, part = moment.rstrip("Z").partition(".")
    try:
        return timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{part or 0}")
    except ValueError:
        return 0.0

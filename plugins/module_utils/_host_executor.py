# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds on this host: the executor that runs buildah as the builder user."""

from __future__ import annotations

import glob
import os
import shutil
from dataclasses import asdict, replace
from typing import Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._build_command import (
    BuildFiles,
    build_arguments,
    image_push_arguments,
    list_push_arguments,
    push_arguments,
)
from ansible_collections.rootless.buildah.plugins.module_utils._build_failure import build_failure
from ansible_collections.rootless.buildah.plugins.module_utils._build_secrets import Mask, secret_bytes
from ansible_collections.rootless.buildah.plugins.module_utils._buildah import Buildah
from ansible_collections.rootless.buildah.plugins.module_utils._confinement import Confinement, confine
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._executor import BuildReport, VariantWork
from ansible_collections.rootless.buildah.plugins.module_utils._files import sha256_file
from ansible_collections.rootless.buildah.plugins.module_utils._host_facts import pod_profile
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import (
    BuildInputs,
    Secret,
    host_platform,
    normalise_platform,
)
from ansible_collections.rootless.buildah.plugins.module_utils._job import Job
from ansible_collections.rootless.buildah.plugins.module_utils._process import Completed
from ansible_collections.rootless.buildah.plugins.module_utils._script_guard import guard, interpreter
from ansible_collections.rootless.buildah.plugins.module_utils._steps import StepReader
from ansible_collections.rootless.buildah.plugins.module_utils._user import buildah_runtime_dir, home, runtime_dir

# buildah's log tells which image stood in for a step.
_USING_CACHE = "--> Using cache "


class HostExecutor:
    """Fetch, build and push with the local buildah.

    :param hide: files and directories that hold credentials.
    :param stores: directories of the image store that are not where buildah looks by itself.
    :param isolation: for RUN steps; None for buildah's default.
    :param log_path: where the build's output goes.
    """

    def __init__(
        self,
        buildah: Buildah,
        job: Job,
        *,
        path: str = "",
        hide: Sequence[str] = (),
        stores: Sequence[str] = (),
        isolation: Optional[str] = None,
        log_path: str = "",
    ) -> None:
        self._buildah = buildah
        self._job = job
        self._path = path
        self._hide = list(hide)
        self._stores = list(stores)
        self._isolation = isolation
        self._log_path = log_path

    def fetch(self, inputs: BuildInputs, work: VariantWork) -> Mapping[str, str]:
        pins = {}
        fetched: dict[str, str] = {}
        for word, base in work.bases.items():
            if base.reference is None:
                pins[word] = str(base.image_id)
                continue
            name = str(base.reference)
            if name not in fetched:
                fetched[name] = self._fetch_one(base.reference, base.platform, work.platform)
            pins[word] = name if inputs.is_script else fetched[name]
        return pins

    def _fetch_one(self, image: ImageName, of_index: Optional[str], platform: str) -> str:
        """Return the local id of an image that is named by digest.

        :param of_index: the platform that is wanted where the digest may be an index's.
        """
        here = self._buildah.image_id(str(image))
        if here is None:
            wanted = of_index or platform
            return self._buildah.pull(image, None if wanted == host_platform() else wanted)
        if of_index and not _serves(self._buildah.platform(here), of_index):
            # The index's image for another platform has the name. A pull that is told the platform moves it.
            return self._buildah.pull(image, of_index)
        return here

    def build(self, inputs: BuildInputs, work: VariantWork, pins: Mapping[str, str], report: BuildReport) -> str:
        report.log_path = self._log_path
        secrets = {secret.id: self._secret_file(secret) for secret in inputs.secrets}
        if inputs.is_script:
            done = self._run_script(inputs, work, pins, report)
        else:
            done = self._run_build(inputs, work, pins, secrets, report)
        report.commands.append(list(done.argv))
        if inputs.is_script:
            image_id = self._buildah.image_id(self._job.image)
            if image_id is None:
                raise InputError(
                    "the script committed no image",
                    "nothing is named $IMAGE after it ended",
                    'End the script with: buildah commit "$container" "$IMAGE"',
                )
            return self._refuse_other(inputs, work.platform, image_id)
        with open(os.path.join(self._job.directory("tmp"), "iid"), encoding="ascii") as file:
            return self._refuse_other(inputs, work.platform, file.read().strip().partition(":")[2])

    def _refuse_other(self, inputs: BuildInputs, platform: str, image: str) -> str:
        """Return an image, but refuse one for another platform than the one that was asked for."""
        if not inputs["platform"]:
            return image
        found = self._buildah.platform(image)
        if not _serves(found, platform):
            raise InputError(
                f"{inputs.image} was built for {normalise_platform(found)}, not for {platform}",
                "the script chooses the platform" if inputs.is_script else "FROM --platform chooses the platform",
                'Use $PLATFORM, for example: buildah config --arch "${PLATFORM#*/}" "$container"'
                if inputs.is_script
                else "Remove --platform from the FROM of the last stage",
            )
        return image

    def push(self, inputs: BuildInputs, image: str, target: ImageName) -> None:
        digestfile = os.path.join(self._job.path, "digest")
        flags = push_arguments(inputs, digestfile)
        if len(inputs.platforms) == 1:
            self._buildah.push(image, target, [*flags, *image_push_arguments(inputs), *inputs["extra_push_args"]])
        else:
            self._buildah.push_list(image, target, [*flags, *list_push_arguments(inputs), *inputs["extra_push_args"]])

    def pack(self, inputs: BuildInputs, image: str) -> str:
        """Write an image as it would be pushed into a new directory and return that."""
        directory = self._job.scratch()
        self._buildah.pack(image, directory, [*image_push_arguments(inputs), *inputs["extra_push_args"]])
        return directory

    # One platform from a Containerfile.

    def _run_build(
        self,
        inputs: BuildInputs,
        work: VariantWork,
        pins: Mapping[str, str],
        secrets: Mapping[str, str],
        report: BuildReport,
    ) -> Completed:
        named = [(name, f"container-image://{image}") for name, image in pins.items()]
        files = BuildFiles(
            context=inputs.path or self._job.directory("context"),
            containerfile=self._job.write("Containerfile", inputs.recipe),
            iidfile=os.path.join(self._job.directory("tmp"), "iid"),
            marker=self._job.marker(),
            ignorefile=work.ignorefile,
            pins=[*named, *work.contexts.items()],
            secrets=secrets,
            certificates=inputs["registry_ca_dir"],
        )
        platform = None if work.platform == host_platform() and len(inputs.platforms) == 1 else work.platform
        arguments = build_arguments(
            inputs,
            files,
            platform=platform,
            isolation=self._isolation,
            nocache=work.nocache,
            apart=work.apart,
            oldest_layer=work.oldest_layer,
            base_name=work.base_name,
        )
        steps = len(report.steps)
        cached: list[str] = []
        done = self._logged([*self._buildah.program, *arguments], inputs, work, report, env={}, cwd="/", cached=cached)
        if work.avoid.isdisjoint(cached):
            return done
        del report.steps[steps:]
        return self._run_build(inputs, replace(work, nocache=True, avoid=frozenset()), pins, secrets, report)

    # One platform from a native script.

    def _run_script(
        self, inputs: BuildInputs, work: VariantWork, pins: Mapping[str, str], report: BuildReport
    ) -> Completed:
        real = shutil.which("buildah", path=self._path) or "buildah"
        self._job.write("allowed", "".join(f"{image}\n" for image in pins.values()).encode())
        self._job.directory("cids")
        directory = self._job.directory("bin")
        self._job.write("bin/buildah", guard([real, *self._buildah.program[1:]], self._job.path), 0o700)
        script = self._job.write("script", inputs.recipe, 0o700)
        artifacts = self._job.directory("artifacts")
        env = {
            **inputs["args"],
            **pins,
            "IMAGE": self._job.image,
            "ARTIFACTS": artifacts,
            "PLATFORM": work.platform,
            "PATH": f"{directory}:{self._path}",
            "BUILDAH_FORMAT": inputs["format"],
            **({"BUILDAH_ISOLATION": self._isolation} if self._isolation else {}),
        }
        done = self._logged(
            [*interpreter(inputs.recipe), script],
            inputs,
            work,
            report,
            env=env,
            cwd=inputs.path or self._job.directory("context"),
        )
        report.artifacts = {
            os.path.relpath(path, artifacts): sha256_file(path) or ""
            for path in sorted(glob.glob(os.path.join(artifacts, "**"), recursive=True))
            if os.path.isfile(path)
        }
        return done

    def _logged(
        self,
        command: Sequence[str],
        inputs: BuildInputs,
        work: VariantWork,
        report: BuildReport,
        env: Mapping[str, str],
        cwd: str,
        cached: Optional[list[str]] = None,
    ) -> Completed:
        """Run what builds, out of sight of credentials, its output in the log; raise when it fails.

        :param cached: takes the ids of the images that came from the layer cache.
        """
        mask = self._mask(inputs)
        temporary = self._temporary_directory(inputs)
        reader = StepReader()
        lines: list[str] = []
        with open(self._log_path, "a", encoding="utf-8", opener=_private) as log:

            def on_line(line: str, now: float) -> None:
                line = mask(line)
                log.write(line + "\n")
                log.flush()
                lines.append(line)
                del lines[:-2000]
                reader.feed(line, now)
                if line.startswith(_USING_CACHE) and cached is not None:
                    cached.append(line[len(_USING_CACHE) :].strip())

            done = self._buildah.confined(
                command,
                self._confinement(inputs, work, temporary),
                script=self._job.write("confined", b""),
                env={**env, "TMPDIR": temporary},
                cwd=cwd,
                on_line=on_line,
            )
        report.steps += [asdict(step) for step in reader.steps()]
        done = replace(done, stdout=b"", stderr="")
        if done.rc != 0:
            pod = bool(pod_profile(os.environ, os.getuid()))
            raise build_failure(inputs, done.argv, done.rc, lines, self._log_path, pod)
        return done

    def _temporary_directory(self, inputs: BuildInputs) -> str:
        """Return where the build keeps its temporary files."""
        if not inputs["ssh"]:
            return self._job.directory("tmp")
        # buildah makes the agent's socket there, and the path of a socket has 107 characters at most (unix(7)).
        path = f"/tmp/rootless-buildah-{self._job.id}"
        if not os.path.isdir(path):
            os.mkdir(self._job.outside(path), 0o700)
        return path

    def _confinement(self, inputs: BuildInputs, work: VariantWork, temporary: str) -> Confinement:
        """Return what this build gets to see of the host: the credentials' places only if it was told to use them."""
        needed = [
            inputs.path,
            temporary,
            work.ignorefile,
            inputs["cache_auth_file"],
            inputs["registry_ca_dir"] if inputs["cache_auth_file"] else None,
            *work.contexts.values(),
            *(volume.partition(":")[0] for volume in inputs["volumes"]),
            *(path for source in inputs["ssh"] for path in source.partition("=")[2].split(",")),
            *self._stores,
            os.environ.get("SSH_AUTH_SOCK") if inputs["ssh"] else None,
        ]
        agent = os.environ.get("SSH_AUTH_SOCK", "")
        return confine(
            hide=self._hide if inputs["ssh"] else [*self._hide, agent],
            needed=[path for path in needed if path and os.path.isabs(path)],
            home=home(),
            runtime=runtime_dir() or buildah_runtime_dir(),
            state=os.path.dirname(os.path.dirname(self._job.path)),
            job=self._job.path,
            chroot=self._isolation == "chroot",
            offline=inputs["network"] == "none",
        )

    def _secret_file(self, secret: Secret) -> str:
        """Put a secret where only the build finds it; it goes with the job."""
        data = secret_bytes(secret)
        self._job.directory("secrets")
        return self._job.write(f"secrets/{secret.id}", data)

    def _mask(self, inputs: BuildInputs) -> Mask:
        """Return what keeps from the log what RUN steps could print of their secrets."""
        held = []
        for secret in inputs.secrets:
            with open(os.path.join(self._job.path, "secrets", secret.id), "rb") as file:
                held.append(file.read())
        return Mask(held)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _serves(found: str, platform: str) -> bool:
    """Whether an image is one for a platform; one that names no variant serves every variant."""
    return all(there == asked for there, asked in zip(normalise_platform(found).split("/"), platform.split("/")))

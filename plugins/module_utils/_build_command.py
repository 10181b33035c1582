# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument list of ``buildah build``. Pure: a host and a Kubernetes Job build with the same words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs, duration_seconds
from ansible_collections.rootless.buildah.plugins.module_utils._registry import Access

#: The id of the secret that marks the working containers of a job: buildah keeps it with each of them, which
#: is how the containers that a killed build left behind are told from everybody else's.
MARKER_SECRET = "rootless-buildah-job"
BASE_NAME = "org.opencontainers.image.base.name"


@dataclass(frozen=True)
class BuildFiles:
    """Where an executor put what the build reads and writes; all paths absolute.

    :param marker: an empty file; None where no killed build has to be tidied up after.
    :param pins: names of bases (as written and as expanded) and named contexts, with what they stand for.
    :param secrets: paths of secret files by id.
    :param certificates: the directory with certificates of registries.
    """

    context: str
    containerfile: str
    iidfile: str
    marker: Optional[str] = None
    ignorefile: Optional[str] = None
    pins: Sequence[tuple[str, str]] = ()
    secrets: Mapping[str, str] = ()  # type: ignore[assignment]
    certificates: Optional[str] = None


def build_arguments(
    inputs: BuildInputs,
    files: BuildFiles,
    *,
    platform: Optional[str] = None,
    isolation: Optional[str] = None,
    nocache: bool = False,
    apart: bool = False,
    oldest_layer: Optional[float] = None,
    base_name: Optional[str] = None,
) -> list[str]:
    """Return the arguments that follow ``buildah``.

    :param platform: the platform to build for; None for the host's own.
    :param isolation: buildah's isolation; None for its default.
    :param nocache: go around the layer cache, whatever the user asked for.
    :param apart: neither take layers from the cache nor leave any there.
    :param oldest_layer: the age in seconds of the oldest layer that may come from the cache; None for no limit.
    :param base_name: the base that the annotation of the final stage names; pinning would replace it.
    """
    argv = [
        "build",
        "--pull=never",
        f"--file={files.containerfile}",
        f"--iidfile={files.iidfile}",
        f"--layers={str(bool(inputs['layers']) and not apart).lower()}",
        f"--format={inputs['format']}",
    ]
    argv += [f"--platform={platform}"] if platform else []
    argv += [f"--isolation={isolation}"] if isolation else []
    argv += ["--no-cache"] if nocache or inputs["nocache"] else []
    argv += [f"--ignorefile={files.ignorefile}"] if files.ignorefile else []
    argv += [f"--build-context={name}={value}" for name, value in files.pins]
    if base_name and inputs["format"] == "oci" and BASE_NAME not in inputs["annotations"]:
        argv += [f"--annotation={BASE_NAME}={base_name}"]
    for option, flag in (("args", "build-arg"), ("labels", "label"), ("annotations", "annotation"), ("env", "env")):
        argv += [f"--{flag}={name}={value}" for name, value in sorted(inputs[option].items())]
    argv += [f"--secret=id={MARKER_SECRET},src={files.marker}"] if files.marker else []
    argv += [f"--secret=id={name},src={path}" for name, path in dict(files.secrets).items()]
    for option, flag in (
        ("ssh", "ssh"),
        ("volumes", "volume"),
        ("ulimits", "ulimit"),
        ("cache_from", "cache-from"),
        ("cache_to", "cache-to"),
    ):
        argv += [f"--{flag}={value}" for value in inputs[option]]
    for option in (
        "target",
        "timestamp",
        "source_date_epoch",
        "memory",
        "cpu_shares",
        "cpu_period",
        "cpu_quota",
        "cpuset_cpus",
    ):
        argv += [f"--{option.replace('_', '-')}={inputs[option]}"] if inputs[option] is not None else []
    ages = [oldest_layer] if oldest_layer is not None else []
    ages += [duration_seconds(inputs["cache_ttl"])] if inputs["cache_ttl"] else []
    argv += [f"--cache-ttl={min(ages):.3f}s"] if ages else []
    # Without a network namespace of its own a RUN step of chroot isolation has the network of whoever runs it.
    if inputs["network"] and not (inputs["network"] == "none" and isolation == "chroot"):
        argv += [f"--network={inputs['network']}"]
    argv += ["--squash"] if inputs["squash"] else []
    argv += ["--rewrite-timestamp"] if inputs["rewrite_timestamp"] else []
    if inputs["cache_from"] or inputs["cache_to"]:
        argv += Access(inputs["cache_auth_file"], files.certificates, inputs["registry_validate_certs"]).flags()
    return argv + list(inputs["extra_build_args"]) + [files.context]


def push_arguments(inputs: BuildInputs, digestfile: str) -> list[str]:
    """Return the flags of ``buildah push`` and ``buildah manifest push`` that both understand."""
    argv = [f"--digestfile={digestfile}"]
    argv += [f"--sign-by={inputs['sign_by']}"] if inputs["sign_by"] else []
    return argv


def list_push_arguments(inputs: BuildInputs) -> list[str]:
    """Return the flags that only ``buildah manifest push`` understands.

    Without the format, buildah 1.28 pushes images of OCI's format in a list of Docker's.
    """
    return [f"--format={'v2s2' if inputs['format'] == 'docker' else 'oci'}"]


def image_push_arguments(inputs: BuildInputs) -> list[str]:
    """Return the flags that only ``buildah push`` of a single image understands."""
    # Otherwise buildah pushes an image of OCI's format as soon as the registry has a layer of it compressed with zstd.
    argv = ["--format=v2s2"] if inputs["format"] == "docker" and not inputs.is_script else []
    argv += [f"--compression-format={inputs['compression_format']}"] if inputs["compression_format"] else []
    argv += [f"--compression-level={inputs['compression_level']}"] if inputs["compression_level"] is not None else []
    return argv

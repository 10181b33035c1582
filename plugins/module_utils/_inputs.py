# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asked for: one validated value per build. Reads scripts and Containerfiles, nothing else."""

from __future__ import annotations

import os
import platform as platform_module
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import (
    ImageName,
    destination,
    name_and_tag,
)
from ansible_collections.rootless.buildah.plugins.module_utils._options import (
    FLOOR,
    OPTIONS,
    Version,
    is_given,
)

# Names of args whose values are rarely meant for everybody who may pull the image.
_SECRET_LOOKING = re.compile(r"pass(word|wd|phrase)?($|_)|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
# Variables of a script are exported by these names.
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
#: Names that a native script gets from us; neither args nor base images may take them.
RESERVED_VARIABLES = ("IMAGE", "ARTIFACTS", "PLATFORM", "PATH", "HOME")
_SECRET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_REFRESH = re.compile(r"([1-9][0-9]*)([hdw])\Z")
_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}
# Go's names of processor architectures, by the kernel's.
_GOARCH = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}
DEFAULT_NAMES = ("Containerfile", "Dockerfile")


@dataclass(frozen=True)
class Secret:
    """A build secret; exactly one of ``src``, ``env`` and ``value`` says where its bytes are."""

    id: str
    src: Optional[str] = None
    env: Optional[str] = None
    value: Optional[str] = field(default=None, repr=False)
    version: Optional[str] = None


@dataclass(frozen=True)
class Output:
    """An export of the image to a file or a directory."""

    type: str
    dest: str


@dataclass(frozen=True)
class BuildInputs:
    """One image as the user asked for it, validated; every field is an option of the same name."""

    image: ImageName
    path: Optional[str]
    containerfile: Optional[str]
    recipe: bytes = field(repr=False)
    is_script: bool
    platforms: tuple[str, ...]
    destinations: tuple[ImageName, ...]
    secrets: tuple[Secret, ...]
    outputs: tuple[Output, ...]
    base_images: Mapping[str, ImageName]
    options: Mapping[str, Any] = field(repr=False)

    @property
    def local_name(self) -> str:
        """The image's name in the local store."""
        return str(self.image.in_local_store())

    def __getitem__(self, option: str) -> Any:
        return self.options[option]


def host_platform() -> str:
    """Return this host's platform as ``os/arch[/variant]`` in Go's names."""
    machine = platform_module.machine()
    return "linux/" + _GOARCH.get(machine, machine)


def normalise_platform(text: str) -> str:
    """Return a platform as buildah writes it; raise :class:`InputError` for a malformed one."""
    parts = text.strip().lower().split("/")
    if len(parts) == 1:
        parts = ["linux"] + parts
    if not 2 <= len(parts) <= 3 or not all(re.match(r"[a-z0-9_.-]+\Z", part) for part in parts):
        raise InputError(
            f"platform {text!r} is malformed", "", "Write it as os/arch or os/arch/variant, for example linux/arm64"
        )
    parts[1] = {"x86_64": "amd64", "aarch64": "arm64"}.get(parts[1], parts[1])
    if parts[1:] == ["arm64", "v8"]:
        parts = parts[:2]
    return "/".join(parts)


def refresh_seconds(text: str) -> int:
    """Return the length of a refresh period such as ``7d`` in seconds."""
    match = _REFRESH.match(text)
    if not match:
        raise InputError(f"refresh {text!r} is malformed", "", "Write a number and h, d or w, for example 7d")
    return int(match.group(1)) * _SECONDS[match.group(2)]


def duration_seconds(text: str, option: str = "retry_delay") -> float:
    """Return a duration as Go writes it, for example ``1m30s`` or ``500ms``, in seconds."""
    if not re.match(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+\Z", text):
        raise InputError(f"{option} {text!r} is malformed", "", "Write a number and ms, s, m or h, for example 2s")
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", text))


def _strings(values: Optional[Mapping[str, Any]], option: str) -> dict[str, str]:
    """Return a mapping with the values as text, as a YAML author means them."""
    result = {}
    for name, value in (values or {}).items():
        if isinstance(value, bool):
            value = str(value).lower()
        if value is None or isinstance(value, (dict, list)):
            raise InputError(f"{option}.{name} must be text", f"it is {type(value).__name__}", "Quote the value")
        result[str(name)] = str(value)
    return result


def _read(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(
            f"{what} {path} cannot be read",
            error.strerror or str(error),
            "Check the path and that the builder user may read it",
        ) from error


def _recipe(params: Mapping[str, Any]) -> tuple[Optional[str], bytes, bool]:
    """Return the Containerfile's path if it has one, the recipe's bytes and whether it is a native script."""
    path = params.get("path")
    if params.get("script") is not None:
        return None, str(params["script"]).encode(), True
    if params.get("script_file") is not None:
        return None, _read(params["script_file"], "The script"), True
    if params.get("containerfile_content") is not None:
        return None, str(params["containerfile_content"]).encode(), False
    if path is None:
        raise InputError(
            "there is nothing to build",
            "none of path, containerfile, containerfile_content, script and script_file is given",
            "Name a build context with path, or a recipe",
        )
    name = params.get("containerfile")
    if name is not None:
        # As buildah does: relative to the working directory first would depend on where a task runs.
        chosen = name if os.path.isabs(name) else os.path.join(path, name)
        return chosen, _read(chosen, "The Containerfile"), False
    for candidate in DEFAULT_NAMES:
        chosen = os.path.join(path, candidate)
        if os.path.isfile(chosen):
            return chosen, _read(chosen, "The Containerfile"), False
    if not os.path.isdir(path):
        raise InputError(f"path {path} is no directory", "", "Name the directory that holds the build context")
    raise InputError(
        f"path {path} holds no Containerfile",
        "neither Containerfile nor Dockerfile is there",
        "Name the file with containerfile",
    )


def _secrets(params: Mapping[str, Any]) -> tuple[Secret, ...]:
    secrets = []
    for entry in params.get("secrets") or ():
        secret = Secret(**{name: entry.get(name) for name in ("id", "src", "env", "value", "version")})
        given = [name for name in ("src", "env", "value") if getattr(secret, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"secret {secret.id!r} needs exactly one of src, env and value",
                f"given: {', '.join(given) or 'none'}",
                "Remove the others",
            )
        if not _SECRET_ID.match(secret.id):
            raise InputError(
                f"secret id {secret.id!r} is malformed", "", "Use letters, digits, dots, underscores and dashes"
            )
        secrets.append(secret)
    ids = [secret.id for secret in secrets]
    if len(set(ids)) != len(ids):
        raise InputError("two secrets have the same id", "", "Give each secret an id of its own")
    return tuple(sorted(secrets, key=lambda secret: secret.id))


def _destinations(params: Mapping[str, Any], image: ImageName) -> tuple[ImageName, ...]:
    if not params.get("push") or params.get("state") == "absent":
        return ()
    texts = params.get("destinations")
    if texts:
        return tuple(dict.fromkeys(destination(text) for text in texts))
    if not image.has_registry:
        raise InputError(
            f"push: there is nowhere to push {image} to",
            "the name holds no registry",
            "Put the registry into name, or list destinations",
        )
    return (image,)


def validate(params: Mapping[str, Any]) -> BuildInputs:
    """Check a task's parameters and return them as one value.

    :raises InputError: for everything that can be seen to be wrong before any work is done.
    """
    image = name_and_tag(params["name"], params.get("tag"))
    options = {option.name: params.get(option.name) for option in OPTIONS}
    for name in ("args", "labels", "annotations", "env", "build_contexts"):
        options[name] = _strings(params.get(name), name)
    for name in ("ssh", "volumes", "cache_from", "cache_to", "ulimits", "extra_build_args", "extra_push_args"):
        options[name] = list(params.get(name) or ())
    if params.get("state") == "absent":
        containerfile, recipe, is_script = None, b"", False
    else:
        containerfile, recipe, is_script = _recipe(params)
    platforms = tuple(sorted({normalise_platform(text) for text in params.get("platform") or ()}))
    inputs = BuildInputs(
        image=image,
        path=os.path.abspath(params["path"]) if params.get("path") else None,
        containerfile=os.path.abspath(containerfile) if containerfile else None,
        recipe=recipe,
        is_script=is_script,
        platforms=platforms or (host_platform(),),
        destinations=_destinations(params, image),
        secrets=_secrets(params),
        outputs=tuple(Output(entry["type"], entry["dest"]) for entry in params.get("outputs") or ()),
        base_images={
            name: ImageName.parse(text).tagged()
            for name, text in _strings(params.get("base_images"), "base_images").items()
        },
        options=options,
    )
    _check(inputs)
    return inputs


# Options that only one of the two kinds of recipes can honour.
_NOT_FOR_SCRIPTS = (
    "target",
    "build_contexts",
    "ssh",
    "squash",
    "cache_from",
    "cache_to",
    "volumes",
    "ulimits",
    "memory",
    "cpu_shares",
    "cpu_period",
    "cpu_quota",
    "cpuset_cpus",
    "labels",
    "annotations",
    "env",
    "timestamp",
    "source_date_epoch",
    "rewrite_timestamp",
    "extra_build_args",
    "secrets",
)


def _check(inputs: BuildInputs) -> None:
    if inputs["state"] == "absent":
        return
    if inputs.is_script:
        given = [name for name in _NOT_FOR_SCRIPTS if is_given(inputs[name])]
        if given:
            raise InputError(
                f"a native script takes no {', '.join(given)}",
                "the script itself calls buildah and decides",
                "Do it in the script with buildah config, buildah run or buildah copy",
            )
        for name in [*inputs["args"], *inputs.base_images]:
            if not _VARIABLE.match(name) or name in RESERVED_VARIABLES:
                raise InputError(
                    f"{name!r} cannot be a variable of the script",
                    f"reserved: {', '.join(RESERVED_VARIABLES)}",
                    "Choose another name",
                )
        both = sorted(set(inputs["args"]) & set(inputs.base_images))
        if both:
            raise InputError(f"args and base_images both define {', '.join(both)}", "", "Rename one of them")
    elif inputs.base_images or inputs["artifacts"]:
        raise InputError(
            "base_images and artifacts belong to native scripts",
            "a Containerfile names its bases itself",
            "Use FROM and outputs, or write a script",
        )
    if inputs["refresh"]:
        refresh_seconds(inputs["refresh"])
    duration_seconds(inputs["retry_delay"])
    storage = inputs["storage"] or {}
    if storage.get("runroot") and not storage.get("graphroot"):
        raise InputError(
            "storage.runroot needs storage.graphroot",
            "buildah takes the two together only",
            "Give storage.graphroot, or set runroot in the builder user's storage.conf (role builder)",
        )
    if inputs["cache_ttl"]:
        duration_seconds(inputs["cache_ttl"], "cache_ttl")
    if len(inputs.platforms) > 1 and (inputs.outputs or inputs["artifacts"]):
        raise InputError(
            "outputs and artifacts need a single platform",
            "an export holds one root file system",
            "Build the platforms in tasks of their own",
        )
    if inputs["format"] == "docker" and inputs["compression_format"] == "zstd":
        raise InputError(
            "compression_format: zstd needs format: oci",
            "Docker's format knows no such layers",
            "Remove format, or compression_format",
        )
    if len(inputs.platforms) > 1 and inputs["compression_format"] == "zstd":
        raise InputError(
            "compression_format: zstd needs a single platform",
            "buildah pushes the images of an index compressed with gzip",
            "Remove compression_format, or build the platforms in tasks of their own",
        )
    if inputs["trust"] == "signed" and not inputs["trust_policy"]:
        raise InputError(
            "trust: signed needs trust_policy",
            "which signatures count is said by a policy file",
            "Name a containers-policy.json(5) file that requires signedBy",
        )
    if inputs["cache_to"] and not inputs["layers"] or inputs["cache_from"] and not inputs["layers"]:
        raise InputError(
            "cache_from and cache_to need layers",
            "buildah exchanges layers only when it keeps them",
            "Remove layers: false",
        )
    if inputs["load"] and not inputs["push"]:
        raise InputError("load needs push", "without push the image is in the local store anyway", "Remove load")


def refuse_to_lose(inputs: BuildInputs) -> None:
    """Refuse an image of which nothing would be left when its store goes with the build."""
    if inputs["load"]:
        raise InputError(
            "load and storage.strategy: isolated exclude each other",
            "the store into which the image would be loaded goes with the build",
            "Remove load, or choose another storage.strategy",
        )
    if not (inputs["push"] or inputs.outputs or inputs["artifacts"]):
        raise InputError(
            f"nothing would be left of {inputs.image}",
            "with storage.strategy: isolated its store goes with the build, and it is neither pushed nor exported",
            "Set push, outputs or artifacts, or choose another storage.strategy (builder_store_strategy in the role "
            "builder)",
        )


def unpinned_with_push(inputs: BuildInputs, bases: Sequence[ImageName]) -> None:
    """Refuse bases that two builders would read differently.

    With ``pull: missing`` or ``never`` each builder's own store decides what a tag means; with a push they
    would overwrite each other's images for ever.
    """
    if not inputs["push"] or inputs["pull"] not in ("missing", "never"):
        return
    loose = [str(base) for base in bases if not base.is_local and not base.digest]
    if loose:
        raise InputError(
            f"pull: {inputs['pull']} with push needs bases pinned by digest",
            f"not pinned: {', '.join(loose)}",
            "Write the base as name@sha256:…, or as localhost/name if the local store is meant, or use pull: newer",
        )


def warnings(inputs: BuildInputs) -> list[str]:
    """Return what a user should know about inputs that are valid."""
    return [
        f"args.{name} looks like a secret, but args are public: they are kept in the image's history and record. "
        "Use secrets instead."
        for name in inputs["args"]
        if _SECRET_LOOKING.search(name)
    ]


def check_versions(inputs: BuildInputs, found: Version) -> None:
    """Refuse options that this host's buildah lacks.

    :param found: the version of buildah.
    """

    def text(version: Version) -> str:
        return ".".join(str(part) for part in version)

    if found < FLOOR:
        raise InputError(
            f"buildah {text(found)} is too old",
            f"this collection needs {text(FLOOR)} or newer",
            "Upgrade buildah (role builder_tools)",
        )
    for option in OPTIONS:
        if option.since and is_given(inputs[option.name]) and found < option.since:
            raise InputError(
                f"{option.name} needs buildah {text(option.since)}",
                f"this host has {text(found)}",
                f"Remove {option.name}, or upgrade buildah",
            )
    unseen = unseen_by_cache(inputs, found)
    if unseen and (inputs["cache_from"] or inputs["cache_to"]):
        raise InputError(
            f"{', '.join(unseen)} cannot be used with cache_from and cache_to",
            f"the layer cache of buildah {text(found)} does not compare that: a layer could be another build's",
            "Remove cache_from and cache_to",
        )
    for name in ("cache_from", "cache_to"):
        if len(inputs[name]) > 1 and found < (1, 29):
            raise InputError(
                f"more than one {name} needs buildah 1.29",
                f"this host has {text(found)}",
                "Name a single repository, or upgrade buildah",
            )


def unseen_by_cache(inputs: BuildInputs, found: Version) -> tuple[str, ...]:
    """Return the options in use that this buildah's layer cache does not compare.

    :param found: the version of buildah.
    """
    return tuple(
        option.name
        for option in OPTIONS
        if option.unseen_until and found < option.unseen_until and is_given(inputs[option.name])
    )

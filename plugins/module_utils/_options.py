# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of build options. Pure: touches neither Ansible nor processes.

Everything that must know all options reads them here: the argument specs of the build modules, the build
key, the version gates and the tests that turn every option once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._storage import STRATEGIES

Version = tuple[int, ...]

#: What an option changes. KEY: the image, so it is part of the build key. DESTINATION: where the result goes
#: and in which wrapping; compared with what is there. RUNTIME: how the work is done, never its result.
KEY, DESTINATION, RUNTIME = "key", "destination", "runtime"

#: The oldest buildah that the collection supports: build contexts by image are there, Debian 12 has it.
FLOOR: Version = (1, 28)

#: A version that no buildah has.
NEVER: Version = (9999,)


@dataclass(frozen=True)
class Option:
    """One option of the build modules.

    :param role: :data:`KEY`, :data:`DESTINATION` or :data:`RUNTIME`.
    :param spec: its entry in Ansible's argument spec.
    :param component: the name that reasons use for it; the option's own name when empty.
    :param since: the first buildah that has it, when that is above :data:`FLOOR`.
    :param unseen_until: the first buildah whose layer cache compares it, :data:`NEVER` for none. An older one takes a
        layer that was built with another value (read in buildah's source, imagebuildah/stage_executor.go, and seen).
    """

    name: str
    role: str
    spec: dict[str, Any] = field(default_factory=dict)
    component: str = ""
    since: Optional[Version] = None
    unseen_until: Optional[Version] = None


def _str(**more: Any) -> dict[str, Any]:
    return {"type": "str", **more}


def _bool(**more: Any) -> dict[str, Any]:
    return {"type": "bool", **more}


def _int(**more: Any) -> dict[str, Any]:
    return {"type": "int", **more}


def _path(**more: Any) -> dict[str, Any]:
    return {"type": "path", **more}


def _strings(**more: Any) -> dict[str, Any]:
    return {"type": "list", "elements": "str", **more}


def _dict(**more: Any) -> dict[str, Any]:
    return {"type": "dict", **more}


_SECRET = {
    "id": _str(required=True),
    "src": _path(),
    "env": _str(),
    "value": _str(no_log=True),
    "version": _str(),
}
_OUTPUT = {
    "type": _str(required=True, choices=["local", "tar", "oci", "oci-archive", "docker-archive"]),
    "dest": _path(required=True),
}
_STORAGE = {
    "strategy": _str(choices=list(STRATEGIES)),
    "project": _str(),
    "driver": _str(),
    "graphroot": _path(),
    "runroot": _path(),
    "additional_stores": {"type": "list", "elements": "path"},
}

OPTIONS: tuple[Option, ...] = (
    # What is built.
    Option("name", DESTINATION, _str(required=True)),
    Option("tag", DESTINATION, _str()),
    Option("state", RUNTIME, _str(choices=["present", "absent"], default="present")),
    Option("path", KEY, _path(), component="context"),
    Option("containerfile", KEY, _path(aliases=["dockerfile", "file"])),
    Option("containerfile_content", KEY, _str(), component="containerfile"),
    Option("script", KEY, _str()),
    Option("script_file", KEY, _path(), component="script"),
    Option("base_images", KEY, _dict(), component="base_image"),
    Option("target", KEY, _str()),
    Option("args", KEY, _dict()),
    Option("labels", KEY, _dict()),
    Option("annotations", KEY, _dict(), unseen_until=(1, 41)),
    Option("env", KEY, _dict(), unseen_until=(1, 29)),
    Option("platform", KEY, _strings()),
    Option("build_contexts", KEY, _dict(), component="build_context"),
    Option("secrets", KEY, {"type": "list", "elements": "dict", "options": _SECRET, "no_log": False}),
    Option("ssh", KEY, _strings()),
    Option("format", KEY, _str(choices=["oci", "docker"], default="oci")),
    Option("squash", KEY, _bool(default=False)),
    Option("timestamp", KEY, _int(), unseen_until=(1, 41)),
    Option("source_date_epoch", KEY, _int(), since=(1, 41), unseen_until=NEVER),
    Option("rewrite_timestamp", KEY, _bool(default=False), since=(1, 41)),
    Option("volumes", KEY, _strings(), unseen_until=NEVER),
    Option("refresh", KEY, _str()),
    Option("extra_build_args", KEY, _strings(), unseen_until=NEVER),
    # How it is built.
    Option("pull", RUNTIME, _str(choices=["newer", "missing", "always", "never"], default="newer")),
    Option("nocache", RUNTIME, _bool(default=False)),
    Option("layers", RUNTIME, _bool(default=True)),
    Option("cache_from", RUNTIME, _strings()),
    Option("cache_to", RUNTIME, _strings()),
    Option("cache_ttl", RUNTIME, _str()),
    Option("cache_auth_file", RUNTIME, _path()),
    Option("network", RUNTIME, _str()),
    Option("isolation", RUNTIME, _str(choices=["oci", "rootless", "chroot"])),
    Option("ulimits", RUNTIME, _strings()),
    Option("memory", RUNTIME, _str()),
    Option("cpu_shares", RUNTIME, _int()),
    Option("cpu_period", RUNTIME, _int()),
    Option("cpu_quota", RUNTIME, _int()),
    Option("cpuset_cpus", RUNTIME, _str()),
    Option("retries", RUNTIME, _int(default=3)),
    Option("retry_delay", RUNTIME, _str(default="2s")),
    Option("storage", RUNTIME, _dict(options=_STORAGE)),
    Option("force", RUNTIME, _bool(default=False)),
    Option("allow_root", RUNTIME, _bool(default=False)),
    Option("lock_timeout", RUNTIME, _int(default=3600)),
    # Where the result goes.
    Option("load", DESTINATION, _bool(default=False)),
    Option("outputs", DESTINATION, {"type": "list", "elements": "dict", "options": _OUTPUT}),
    Option("artifacts", DESTINATION, _path()),
    Option("push", DESTINATION, _bool(default=False)),
    Option("destinations", DESTINATION, _strings()),
    Option("compression_format", DESTINATION, _str(choices=["gzip", "zstd"])),
    Option("compression_level", RUNTIME, _int()),
    Option("sign_by", DESTINATION, _str()),
    Option("trust", RUNTIME, _str(choices=["any", "signed"], default="any")),
    Option("trust_policy", RUNTIME, _path()),
    Option("extra_push_args", RUNTIME, _strings()),
    # How registries are reached.
    Option("registry_auth_file", RUNTIME, _path()),
    Option("registry_username", RUNTIME, _str()),
    Option("registry_password", RUNTIME, _str(no_log=True)),
    Option("registry_ca_dir", RUNTIME, _path()),
    Option("registry_validate_certs", RUNTIME, _bool()),
)

BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}

#: Options that exclude each other, in the form of Ansible's argument specs.
MUTUALLY_EXCLUSIVE: list[list[str]] = [
    ["containerfile", "containerfile_content", "script", "script_file"],
    ["timestamp", "source_date_epoch"],
]
REQUIRED_TOGETHER: list[list[str]] = [["registry_username", "registry_password"]]


def argument_spec() -> dict[str, Any]:
    """Return Ansible's argument spec of one image."""
    return {option.name: dict(option.spec) for option in OPTIONS}


def is_given(value: Any) -> bool:
    """Return whether an option's value asks for anything; 0 does, as a time or a size."""
    return value is not None and value is not False and value not in ("", (), [], {})


def component_name(option: Option) -> str:
    """Return the name of the key component that an option feeds."""
    return option.component or option.name

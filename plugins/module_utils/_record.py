# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build record: what an image was built from, bound to the image's digest. Pure.

An in-toto Statement v1 with the predicate SLSA provenance v1; both specifications are at in-toto.io and slsa.dev.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, TypeVar

from ansible_collections.rootless.buildah.plugins.module_utils._key import SCHEMA, Variant

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
MEDIA_TYPE = "application/vnd.in-toto+json"
# Tag URIs (RFC 4151): names for ever, no promise that anything answers there.
BUILD_TYPE = "tag:rootless.buildah,2026:build/v1"
BUILDER = "tag:rootless.buildah,2026:builder/host"
_T = TypeVar("_T")


@dataclass(frozen=True)
class BuildRecord:
    """What was built from what.

    :param key: the build key of the whole image.
    :param variants: each platform's key with its components and the context's files.
    :param artifacts: sha256 digests of exported files by name.
    :param uncovered: inputs that the key does not cover.
    :param started: RFC 3339 times, as is ``finished``.
    """

    key: str
    variants: Mapping[str, Variant]
    artifacts: Mapping[str, str] = field(default_factory=dict)
    uncovered: tuple[str, ...] = ()
    started: str = ""
    finished: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def statement(self, name: str, digest: str) -> dict[str, Any]:
        """Return the statement about the image ``digest``, ``sha256:…``, that is known as ``name``."""
        algorithm, _colon, value = digest.partition(":")
        platforms = {
            platform: {"key": one.key, "components": dict(one.components), "files": dict(one.files)}
            for platform, one in self.variants.items()
        }
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {algorithm: value}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {
                        "image": name,
                        "platforms": {platform: dict(one.components) for platform, one in self.variants.items()},
                    },
                    "internalParameters": {
                        "schema": self.schema,
                        "key": self.key,
                        "variants": platforms,
                        "uncovered": list(self.uncovered),
                    },
                    "resolvedDependencies": self._dependencies(),
                },
                "runDetails": {
                    "builder": {"id": BUILDER, "version": dict(self.versions)},
                    "metadata": {"startedOn": self.started, "finishedOn": self.finished},
                    "byproducts": [
                        {"name": file, "digest": {"sha256": value}} for file, value in self.artifacts.items()
                    ],
                },
            },
        }

    def _dependencies(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for one in self.variants.values():
            for name, digest in one.components.get("base_image", {}).items():
                algorithm, _colon, value = digest.partition(":")
                algorithm = "sha256" if algorithm == "image" else algorithm
                # Behind the variable of a script or the name of a context stands the image.
                uri = f"docker://{name.rpartition('=')[2]}"
                found[f"{name} {digest}"] = {"name": name, "uri": uri, "digest": {algorithm: value}}
        return [found[name] for name in sorted(found)]


def read_statement(data: bytes, digest: Optional[str] = None) -> Optional[BuildRecord]:
    """Return the record in a statement, or None for a statement that is not ours or not readable.

    A record only ever saves a build: one that cannot be understood is worth as much as none.

    :param digest: the image that the statement must be about.
    """
    try:
        statement = json.loads(data)
        definition = statement["predicate"]["buildDefinition"]
        if statement["predicateType"] != PREDICATE_TYPE or definition["buildType"] != BUILD_TYPE:
            return None
        algorithm, _colon, value = (digest or "").partition(":")
        if digest and statement["subject"][0]["digest"].get(algorithm) != value:
            return None
        internal = definition["internalParameters"]
        run = statement["predicate"]["runDetails"]
        return BuildRecord(
            key=_a(str, internal["key"]),
            variants={
                platform: Variant(_a(str, one["key"]), _a(dict, one["components"]), _a(dict, one["files"]))
                for platform, one in internal["variants"].items()
            },
            artifacts={entry["name"]: entry["digest"]["sha256"] for entry in run.get("byproducts", ())},
            uncovered=tuple(internal.get("uncovered", ())),
            started=run["metadata"]["startedOn"],
            finished=run["metadata"]["finishedOn"],
            versions=run["builder"].get("version", {}),
            schema=internal["schema"],
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _a(kind: type[_T], value: Any) -> _T:
    """Return a value of a statement that must be of a kind, or else the statement is not readable."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def dump(statement: Mapping[str, Any]) -> bytes:
    """Return a statement's bytes; equal statements give equal bytes."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build key: one digest over everything that determines an image. Pure."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs, refresh_seconds
from ansible_collections.rootless.buildah.plugins.module_utils._options import (
    KEY,
    OPTIONS,
    component_name,
    is_given,
)

#: The number of today's schema. A change of what the components are or how they are written adds a schema and
#: keeps the function of each older one, so that records written by an older release still verify.
SCHEMA = 1

Components = Mapping[str, Any]


@dataclass(frozen=True)
class Resolved:
    """What the inputs turned out to be for one platform.

    :param bases: digest (``sha256:…`` at a registry, ``image:<id>`` in a local store) by the name used.
    :param contexts: digest, or the reference itself where none can be had, by the name of the context.
    :param files: the context's files with their fingerprints; kept in the record to explain a later change.
    """

    bases: Mapping[str, str] = field(default_factory=dict)
    context: Optional[str] = None
    files: Mapping[str, str] = field(default_factory=dict)
    bind_sources: Optional[str] = None
    contexts: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """One platform's image: its key, and what the key was made of."""

    key: str
    components: Components
    files: Mapping[str, str] = field(default_factory=dict)


def components(inputs: BuildInputs, platform: str, resolved: Resolved, now: Optional[float] = None) -> dict[str, Any]:
    """Return the named parts of the build key; parts that are not used are left out.

    :param now: seconds since the epoch, for ``refresh``; the present when None.
    """
    special: dict[str, Any] = {
        "script" if inputs.is_script else "containerfile": "sha256:" + hashlib.sha256(inputs.recipe).hexdigest(),
        "platform": platform,
        "context": resolved.context,
        "bind_sources": resolved.bind_sources,
        "base_image": dict(resolved.bases),
        "build_context": dict(resolved.contexts),
        # An arg that no reachable ARG declares does not reach the build, nor do proxy variables.
        "args": {name: value for name, value in inputs["args"].items() if name in resolved.args},
        "secrets": {secret.id: secret.version or "" for secret in inputs.secrets},
        "ssh": sorted(text.partition("=")[0] for text in inputs["ssh"]),
        "refresh": refresh_bucket(inputs["refresh"], str(inputs.image), time.time() if now is None else now),
    }
    taken = {component_name(option) for option in OPTIONS if option.role == KEY and component_name(option) in special}
    plain = {
        option.name: inputs[option.name]
        for option in OPTIONS
        if option.role == KEY
        and component_name(option) not in taken
        and component_name(option) not in ("containerfile", "script")
    }
    return {name: value for name, value in {**special, **plain}.items() if is_given(value)}


def refresh_bucket(period: Optional[str], name: str, now: float) -> Optional[int]:
    """Return the number of the period that ``now`` lies in, shifted by the image's name.

    The shift spreads a fleet's rebuilds over the period and is the same on every builder.
    """
    return int(_shifted(period, name, now) // refresh_seconds(period)) if period else None


def refresh_age(period: str, name: str, now: float) -> float:
    """Return how many seconds before ``now`` its period began."""
    return _shifted(period, name, now) % refresh_seconds(period)


def _shifted(period: str, name: str, now: float) -> float:
    return now + int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % refresh_seconds(period)


def variant(parts: Components, files: Mapping[str, str]) -> Variant:
    """Return one platform's variant with its key."""
    return Variant(_digest({"schema": SCHEMA, "components": parts}), parts, files)


def overall_key(variants: Mapping[str, Variant]) -> str:
    """Return the image's key: that of its only platform, or an index key over the sorted pairs."""
    if len(variants) == 1:
        return next(iter(variants.values())).key
    return _digest({"schema": SCHEMA, "platforms": {platform: one.key for platform, one in variants.items()}})


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

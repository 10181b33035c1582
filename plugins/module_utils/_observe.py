# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there already: at the destinations and on this host."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Callable, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._bases import platform_entry
from ansible_collections.rootless.buildah.plugins.module_utils._buildah import Buildah
from ansible_collections.rootless.buildah.plugins.module_utils._context import digest_context
from ansible_collections.rootless.buildah.plugins.module_utils._files import sha256_file
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs, Output
from ansible_collections.rootless.buildah.plugins.module_utils._plan import Destination, Local
from ansible_collections.rootless.buildah.plugins.module_utils._referrers import Referrers
from ansible_collections.rootless.buildah.plugins.module_utils._skopeo import Skopeo, digest_of
from ansible_collections.rootless.buildah.plugins.module_utils._state import State

# Media types end in these words (OCI image specification, layer.md; Docker's image manifest v2 schema 2).
_COMPRESSIONS = {"gzip": "gzip", "zstd": "zstd", "tar": "none"}


def compressions(manifest: Mapping[str, Any]) -> frozenset[str]:
    """Return the compression formats of an image's layers."""
    kinds = [str(layer.get("mediaType", "")) for layer in manifest.get("layers", ())]
    return frozenset(_COMPRESSIONS.get(kind.replace("+", ".").rpartition(".")[2], "other") for kind in kinds)


class DestinationObserver:
    """Looks up destinations.

    :param skopeo: one that goes to the registries themselves, not to their mirrors.
    """

    def __init__(self, skopeo: Skopeo, referrers: Referrers, state: State) -> None:
        self._skopeo = skopeo
        self._referrers = referrers
        self._state = state

    def observe(self, inputs: BuildInputs, key: str) -> list[Destination]:
        """Return the state of all destinations of an image, asked side by side."""
        memory = self._state.memory(inputs.local_name).get("pushed", {})
        return side_by_side(
            lambda name: self._one(name, inputs.platforms, key, memory.get(str(name), {})), inputs.destinations
        )

    def _one(self, name: ImageName, platforms: Sequence[str], key: str, last: Mapping[str, str]) -> Destination:
        data = self._skopeo.manifest(name)
        free = Destination(name, last_digest=last.get("digest"), last_key=last.get("key"))
        if data is None:
            return free
        digest = digest_of(data)
        manifest = json.loads(data)
        records = self._referrers.announced(name, digest)
        there = replace(free, digest=digest, records=records)
        if records and all(ref.key != key for ref in records):
            there = replace(there, record=self._referrers.read(name, digest, records[-1]))
        if "manifests" not in manifest:
            return replace(
                there,
                config=str(manifest.get("config", {}).get("digest")),
                missing=tuple(platforms) if len(platforms) > 1 else (),
                compressions=compressions(manifest),
            )
        children = {platform: self._child(name, manifest, platform) for platform in platforms}
        return replace(
            there,
            missing=tuple(platform for platform, child in children.items() if child is None),
            compressions=frozenset().union(*(compressions(json.loads(child)) for child in children.values() if child)),
        )

    def _child(self, name: ImageName, index: Mapping[str, Any], platform: str) -> Optional[bytes]:
        entry = platform_entry(index, platform)
        return self._skopeo.manifest(name.with_digest(str(entry["digest"]))) if entry else None


class LocalObserver:
    """Looks at the local store, at this host's memory and at exported files."""

    def __init__(self, buildah: Buildah, state: State) -> None:
        self._buildah = buildah
        self._state = state

    def observe(self, inputs: BuildInputs, key: str) -> Local:
        """Return what is known locally about an image."""
        name = inputs.local_name
        several = len(inputs.platforms) > 1
        tag_id = self._buildah.list_id(name) if several else self._buildah.image_id(name)
        records = self._state.records(tag_id)
        known = self._state.images_with_key(key)
        # What the name means comes first. An index that was loaded is only this host's image of it.
        candidates = [image for image in (tag_id, *known) if image in known]
        ready = next((image for image in candidates if image and self._is_there(image, tag_id, several)), None)
        if not records:
            # The name is free or somebody else's image has it: what was last built under it explains most.
            records = self._state.records(self._state.memory(name).get("image_id"))
        return Local(
            tag_id,
            frozenset(record.key for record in self._state.records(tag_id)),
            ready,
            records[-1] if records else None,
            self.stale_artifacts(inputs, key),
            self.stale_outputs(inputs, key),
        )

    def observe_exports(self, inputs: BuildInputs, key: str) -> Local:
        """Return what is known about an image whose store does not last."""
        records = self._state.records(self._state.memory(inputs.local_name).get("image_id"))
        return Local(
            record=records[-1] if records else None,
            stale_artifacts=self.stale_artifacts(inputs, key),
            stale_outputs=self.stale_outputs(inputs, key),
        )

    def _is_there(self, image: str, tag_id: Optional[str], several: bool) -> bool:
        if several:
            return self._buildah.is_list(image)
        return image == tag_id or self._buildah.image_id(image) is not None

    def stale_artifacts(self, inputs: BuildInputs, key: str) -> tuple[str, ...]:
        """Return the artifacts of a native script that are missing or altered."""
        if not inputs["artifacts"]:
            return ()
        known = self._state.memory(inputs.local_name).get("artifacts", {})
        if known.get("key") != key or known.get("directory") != inputs["artifacts"]:
            return (inputs["artifacts"],)
        return tuple(
            name
            for name, digest in known["files"].items()
            if sha256_file(os.path.join(inputs["artifacts"], name)) != digest
        )

    def stale_outputs(self, inputs: BuildInputs, key: str) -> tuple[str, ...]:
        """Return the outputs that are missing, altered, or of another image."""
        known = self._state.memory(inputs.local_name).get("outputs", {})
        return tuple(
            output.dest
            for output in inputs.outputs
            if known.get(output.dest) != {"key": key, "type": output.type, "digest": output_digest(output)}
        )


def output_digest(output: Output) -> Optional[str]:
    """Return the digest of an exported file or directory, None when it is not there."""
    if os.path.isdir(output.dest):
        return digest_context(output.dest).digest
    return sha256_file(output.dest)


def side_by_side(function: Callable[[Any], Any], values: Sequence[Any], workers: int = 8) -> list[Any]:
    """Return ``[function(value) for value in values]``, by threads: each waits for a program most of the time."""
    if len(values) < 2:
        return [function(value) for value in values]
    with ThreadPoolExecutor(max_workers=min(workers, len(values))) as pool:
        return list(pool.map(function, values))

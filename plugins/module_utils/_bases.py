# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base images: from the name in a recipe to the digest that is built from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._buildah import Buildah
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import normalise_platform
from ansible_collections.rootless.buildah.plugins.module_utils._registries_conf import RegistriesConf
from ansible_collections.rootless.buildah.plugins.module_utils._skopeo import Skopeo, digest_of


@dataclass(frozen=True)
class Base:
    """One base image for one platform.

    :param name: as the recipe says it, ARGs expanded.
    :param reference: the full name with the digest to pull, or None for an image of the local store.
    :param image_id: the local image, when it is known already.
    :param identity: what the build key holds: the registry's digest, or ``image:<id>``.
    :param platform: the platform that was asked for where the digest may be that of an index, so that it does not say
        which image is meant; else None.
    """

    name: str
    reference: Optional[ImageName]
    image_id: Optional[str]
    identity: str
    platform: Optional[str] = None


# What else processors run, the most capable first (containers/image, platform_matcher.go, compatibility).
_COMPATIBLE = ("linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5")


class BaseMissing(InputError):
    """A base image that is nowhere; in check mode this very play may still build it."""


def platform_entry(index: Mapping[str, Any], platform: str) -> Optional[Mapping[str, Any]]:
    """Return an index's entry for a platform (OCI image index specification), or None."""
    # An index that names no variant serves every one of them.
    return _first_entry(index, (platform, _without_variant(platform)))


def base_entry(index: Mapping[str, Any], platform: str) -> Optional[Mapping[str, Any]]:
    """Return an index's entry that a build for a platform starts from, which may be of a lesser processor."""
    compatible = _COMPATIBLE[_COMPATIBLE.index(platform) :] if platform in _COMPATIBLE else (platform,)
    return _first_entry(index, (*compatible, _without_variant(platform)))


def _first_entry(index: Mapping[str, Any], platforms: Sequence[str]) -> Optional[Mapping[str, Any]]:
    for platform in platforms:
        for entry in index.get("manifests") or ():
            has = entry.get("platform") or {}
            parts = [has.get("os", ""), has.get("architecture", "")] + ([has["variant"]] if has.get("variant") else [])
            if all(parts) and normalise_platform("/".join(parts)) == platform:
                return dict(entry)
    return None


def _without_variant(platform: str) -> str:
    return "/".join(platform.split("/")[:2])


class BaseResolver:
    """Finds bases.

    :param answers: what registries said, by image name; shared by all images of a run, so that each is asked once.
    """

    def __init__(
        self, skopeo: Skopeo, buildah: Buildah, conf: RegistriesConf, answers: dict[str, Optional[bytes]]
    ) -> None:
        self._skopeo = skopeo
        self._buildah = buildah
        self._conf = conf
        self._manifests = answers

    def resolve(self, name: str, platform: str, pull: str) -> Base:
        """Return what a base name means for a platform.

        :param pull: the policy: ``newer`` and ``always`` ask the registry, ``missing`` does for what is not local,
            ``never`` does not.
        :raises BaseMissing: when it is nowhere to be found.
        """
        image = ImageName.parse(name).tagged()
        if image.is_local or pull == "never":
            return self._local(name, image) or self._missing(name, "the local store has no such image")
        if pull == "missing" or not image.host:
            found = self._local(name, image)
            # A short name that exists locally means the local image, as for buildah.
            if found:
                return found
        if image.digest and image.host:
            return Base(name, image, None, image.digest, platform)
        candidates = (
            [image]
            if image.host
            else [
                replace(ImageName.parse(full), tag=image.tag, digest=image.digest)
                for full in self._conf.candidates(image.path)
            ]
        )
        if not candidates:
            raise InputError(
                f"{name} is a short name that leads nowhere",
                "registries.conf has neither an alias nor unqualified-search-registries for it",
                "Write the name with its registry, for example docker.io/library/debian:12",
            )
        for candidate in candidates:
            digest = self._digest(candidate, platform)
            if digest:
                return Base(name, candidate.with_digest(digest), None, digest)
        return self._missing(name, f"{' and '.join(candidate.host for candidate in candidates)} has no such image")

    def _local(self, name: str, image: ImageName) -> Optional[Base]:
        local_name = str(image.in_local_store() if not image.host else image)
        image_id = self._buildah.image_id(local_name)
        if image_id is None:
            return None
        # What is pinned by digest has the same identity here as at the registry, so that the policy does not matter.
        identity = self._buildah.manifest_digest(local_name) if image.digest else f"image:{image_id}"
        return Base(name, None, image_id, identity)

    @staticmethod
    def _missing(name: str, cause: str) -> Base:
        raise BaseMissing(
            f"the base image {name} does not exist", cause, "Check the name, or build or push the base first"
        )

    def _digest(self, image: ImageName, platform: str) -> Optional[str]:
        text = str(image)
        if text not in self._manifests:
            self._manifests[text] = self._skopeo.manifest(image)
        data = self._manifests[text]
        if data is None:
            return None
        manifest = json.loads(data)
        if "manifests" not in manifest:
            return digest_of(data)
        entry = base_entry(manifest, platform)
        if entry is None:
            raise InputError(
                f"the base image {image} has no variant for {platform}",
                "its index lists other platforms",
                "Choose another base or platform",
            )
        return str(entry["digest"])

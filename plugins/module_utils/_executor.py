# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a build is carried out, whatever carries it out: fetch, build, push. Pure: interfaces and values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Protocol

from ansible_collections.rootless.buildah.plugins.module_utils._bases import Base
from ansible_collections.rootless.buildah.plugins.module_utils._context_archive import Part
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs


@dataclass(frozen=True)
class VariantWork:
    """What is needed to build one platform.

    :param bases: each base under every word that the recipe uses for it.
    :param contexts: named contexts that are no images, as given.
    :param parts: the directories that the build reads, with what of them; ``context`` and ``named/NAME``.
    :param nocache: the layer cache cannot see an input of this recipe.
    :param platform_unseen: nor that a layer is one of another platform, because it lies on no base.
    :param apart: take no layer from the cache and leave none there, because others would take it.
    :param avoid: ids of images that must not come from the cache.
    :param oldest_layer: the age in seconds beyond which a cached layer is not used; None: none is too old.
    :param base_name: the base of the target stage.
    :param many_ids: instructions for which a builder with a single user id makes another image, or none.
    """

    platform: str
    bases: Mapping[str, Base] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    ignorefile: Optional[str] = None
    nocache: bool = False
    platform_unseen: bool = False
    apart: bool = False
    avoid: frozenset[str] = frozenset()
    oldest_layer: Optional[float] = None
    base_name: Optional[str] = None
    many_ids: tuple[str, ...] = ()


@dataclass
class BuildReport:
    """What a build tells besides its image; filled while it goes on."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    log_path: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)


class Executor(Protocol):
    """Carries out what was planned. Credentials are within reach of ``fetch`` and ``push`` only."""

    def fetch(self, inputs: BuildInputs, work: VariantWork) -> Mapping[str, str]:
        """Bring the bases to where the build runs; return what to pin each word to."""

    def build(self, inputs: BuildInputs, work: VariantWork, pins: Mapping[str, str], report: BuildReport) -> str:
        """Build one platform's image and return its id."""

    def push(self, inputs: BuildInputs, image: str, target: ImageName) -> None:
        """Push an image, or a manifest list with what it lists when there are several platforms."""

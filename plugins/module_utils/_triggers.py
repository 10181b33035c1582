# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ONBUILD triggers of base images: instructions of a build that its Containerfile does not show."""

from __future__ import annotations

import json
from typing import Any, Mapping

from ansible_collections.rootless.buildah.plugins.module_utils._bases import Base
from ansible_collections.rootless.buildah.plugins.module_utils._buildah import Buildah
from ansible_collections.rootless.buildah.plugins.module_utils._skopeo import Skopeo
from ansible_collections.rootless.buildah.plugins.module_utils._state import State


class TriggerReader:
    """Reads triggers from the configurations of base images.

    :param state: remembers them: what a digest or an id names never changes, so that each is read once on a host.
    """

    def __init__(self, skopeo: Skopeo, buildah: Buildah, state: State) -> None:
        self._skopeo = skopeo
        self._buildah = buildah
        self._state = state

    def read(self, base: Base, platform: str) -> tuple[str, ...]:
        """Return the ONBUILD lines of a base image for a platform.

        :raises RegistryError: when the registry does not hand out the configuration.
        """
        known = self._state.triggers(base.identity, platform)
        if known is None:
            known = triggers_of(self._config(base, platform))
            self._state.remember_triggers(base.identity, platform, known)
        return known

    def _config(self, base: Base, platform: str) -> Mapping[str, Any]:
        if base.reference is None:
            return self._buildah.docker_config(str(base.image_id))
        # A manifest of Docker's first schema has no configuration.
        return dict(json.loads(self._skopeo.config(base.reference, platform) or b"{}"))


def triggers_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ONBUILD lines of an image configuration (Docker's image specification 1.2, ``OnBuild``).

    OCI's specification knows none, but other tools write them into OCI images, and buildah carries them out there too.
    """
    return tuple(str(line) for line in (config.get("config") or {}).get("OnBuild") or ())

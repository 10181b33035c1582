# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans images that are built in a cluster: with the code and the keys of a host, but without an image store."""

from __future__ import annotations

import os
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._buildah import Buildah
from ansible_collections.rootless.buildah.plugins.module_utils._engine import Engine, Outlook
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs
from ansible_collections.rootless.buildah.plugins.module_utils._kube_options import refuse_what_no_pod_does
from ansible_collections.rootless.buildah.plugins.module_utils._options import FLOOR, Version
from ansible_collections.rootless.buildah.plugins.module_utils._patience import Patience
from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner
from ansible_collections.rootless.buildah.plugins.module_utils._registry import Access
from ansible_collections.rootless.buildah.plugins.module_utils._state import State
from ansible_collections.rootless.buildah.plugins.module_utils._storage import ISOLATED, Store
from ansible_collections.rootless.buildah.plugins.module_utils._user import home, require


class NoStore(Buildah):
    """Stands in for buildah where there is no image store: nothing is there, and nothing needs to be removed."""

    def __init__(self) -> None:
        super().__init__(Runner({}), Access(), Patience(0, 0))

    def image_id(self, name: str) -> Optional[str]:
        return None

    def names(self, prefix: str) -> list[str]:
        return []

    def remove_containers(self, ids: Sequence[str]) -> None:
        """There are none."""


class KubePlanner(Engine):
    """Plans images of a cluster on the host that has their contexts. It builds nothing itself."""

    @staticmethod
    def _require(like: BuildInputs) -> None:
        require("skopeo")

    def _open_store(self, chosen: Mapping[str, Any]) -> None:
        self._state = State(os.path.join(home(), ".local/share/rootless.buildah"), "cluster")
        self._state.prepare()
        self._store = Store(ISOLATED)
        self.program = []
        self._storage_id = "cluster"

    def _buildah(self, access: Optional[Access] = None, inherit: Sequence[int] = ()) -> Buildah:
        return NoStore()

    def _check_version(self, inputs: BuildInputs) -> Version:
        # The builder image's buildah refuses by itself what it does not know.
        return FLOOR

    def outlook(self, inputs: BuildInputs, *, check: bool = False, pending: frozenset[str] = frozenset()) -> Outlook:
        refuse_what_no_pod_does(inputs)
        return super().outlook(inputs, check=check, pending=pending)

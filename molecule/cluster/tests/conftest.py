# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the cluster share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.molecule.machines import vm
from ansible_collections.rootless.buildah.molecule.machines.control_plane import Place
from ansible_collections.rootless.buildah.molecule.verify.clusters import Cluster


@pytest.fixture(name="cluster", scope="session")
def _cluster() -> Cluster:
    return Cluster(Place(Path(os.environ.get("MACHINES_CLUSTER") or vm.CACHE)))

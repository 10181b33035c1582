# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the cluster share."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.molecule.machines import vm
from ansible_collections.rootless.buildah.molecule.machines.control_plane import Place
from ansible_collections.rootless.buildah.molecule.verify.clusters import Cluster
from ansible_collections.rootless.buildah.molecule.verify.conftest import oci_layout


@pytest.fixture(name="cluster", scope="session")
def _cluster() -> Cluster:
    return Cluster(Place(Path(os.environ.get("MACHINES_CLUSTER") or vm.CACHE)))


@pytest.fixture(name="debian", scope="session")
def _debian(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of Debian in the cluster's registry, by its full name."""
    place = tmp_path_factory.mktemp("debian")
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--include=libcap2-bin", "bookworm",
         str(place / "layer.tar")], capture_output=True, text=True, check=False)  # fmt: skip
    assert made.returncode == 0, made.stderr
    return cluster.copy_here(f"oci:{oci_layout(place / 'layer.tar', place / 'layout')}:debian", "bases/debian:12")

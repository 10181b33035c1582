# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster itself: its nodes run pods, and whoever may ask the API server sees what they do."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.rootless.buildah.molecule.verify.machines import SCENARIO, names


@pytest.mark.parametrize("node", names("cluster_nodes"))
def test_a_node_runs_pods_with_images_of_the_registry(node: str) -> None:
    done = subprocess.run([str(SCENARIO / "try-node"), node], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

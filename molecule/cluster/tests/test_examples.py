# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of buildah_job's documentation, run by ansible-playbook against the cluster."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from ansible_collections.rootless.buildah.molecule.verify.clusters import Cluster
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT


def test_the_examples_build_once(
    builds: Cluster, small: str, layers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = ast.parse((ROOT / "plugins/modules/buildah_job.py").read_text())
    (text,) = (node.value.value for node in tree.body if isinstance(node, ast.Assign)  # type: ignore[attr-defined]
               and getattr(node.targets[0], "id", "") == "EXAMPLES")  # fmt: skip
    for name in ("app", "tool"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Containerfile").write_text(f"FROM {small}\nRUN echo {name} > /name\n")
    # Where the module looks for kubeconfig files.
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    for name in ("config", "build"):
        (tmp_path / ".kube" / name).symlink_to(builds.place.kubeconfig)
    for documented, real in (
        ("registry.example.com/team", f"{builds.registry}/examples"),
        ("{{ playbook_dir }}", str(tmp_path)),
        ("namespace: builds", f"namespace: {builds.namespace}"),
        ("cache_claim: layers", f"cache_claim: {layers}"),
        # The nodes are small.
        ("memory: 4Gi", "memory: 1Gi"),
    ):
        assert documented in text
        text = text.replace(documented, real)
    assert "example.com" not in text
    options = builds.options(None, "")
    reach = {name: options[name] for name in ("registry_auth_file", "registry_ca_dir")}
    tasks = [
        {**task, "rootless.buildah.buildah_job": {**task["rootless.buildah.buildah_job"], **reach}}
        for task in yaml.safe_load(text)
    ]
    # The first and the last make the same image, which is then there.
    assert builds.play(tasks, {}).changed == len(tasks) - 1
    assert builds.play(tasks, {}).changed == 0

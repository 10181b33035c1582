# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of buildah_job's documentation, run by ansible-playbook against the cluster."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rootless.buildah.molecule.verify.clusters import Cluster, environment
from ansible_collections.rootless.buildah.tests.integration.harness import PYTHON, base_script
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT

IMAGE = "cluster_builder_image"


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


def test_the_example_makes_a_namespace_from_a_builder_host_and_a_registry(
    cluster: Cluster, builds: Cluster, builder_role: dict[str, Any], tmp_path: Path
) -> None:
    space = Cluster(cluster.place, "example")
    text = (ROOT / "examples/cluster/namespace.yml").read_text()
    user, authority = (builder_role[f"{IMAGE}_{name}"] for name in ("user", "ca_dir"))
    for documented, real in (
        # As the fixtures call them, so that the images are there.
        ("registry.example.com/base/debian:forky", builder_role["cluster_builder_base_image"]),
        ("registry.example.com", cluster.registry),
        ("../scripts/debian-base.sh", str(tmp_path / "debian-base.sh")),
        ("namespace: builds", f"namespace: {space.namespace}"),
        ("become_user: builder", f"become_user: {user}\n  become_method: ansible.builtin.su"),
        # This registry's certificate is its own.
        ("        push: true\n", f"        push: true\n        registry_ca_dir: {authority}\n"),
        ("image_host: builder1",
         f"image_host: builder1\n        {IMAGE}_user: {user}\n        {IMAGE}_ca_dir: {authority}"),
        # Its address is its name.
        ("\n            cidrs: [192.0.2.10/32]", ""),
    ):  # fmt: skip
        assert documented in text
        text = text.replace(documented, real)
    (tmp_path / "namespace.yml").write_text(text)
    (tmp_path / "debian-base.sh").write_text(base_script())
    here = {"ansible_connection": "local", "ansible_python_interpreter": PYTHON}
    hosts = {"localhost": {**here, "ansible_python_interpreter": sys.executable}, "builder1": here}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    logins = {f"{name}_login": cluster.credentials(who) for name, who in
              (("build", "push"), ("push", "push"), ("pull", "pull"))}  # fmt: skip
    (tmp_path / "logins.yml").write_text(yaml.safe_dump(logins))
    try:
        for changed in (True, False):
            done = subprocess.run(
                [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.yml", "namespace.yml", "-e", "@logins.yml"],
                cwd=tmp_path, env={**environment(), "KUBECONFIG": str(cluster.place.kubeconfig), "ANSIBLE_NOCOLOR": "1",
                                   "K8S_AUTH_KUBECONFIG": str(cluster.place.kubeconfig), "BUILDAH_ISOLATION": "chroot"},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # fmt: skip
            assert done.returncode == 0, done.stdout
            assert ("changed=0 " not in done.stdout.rpartition("localhost  ")[2]) == changed, done.stdout
        (told,) = (one for one in space.get("configmaps") if one["metadata"]["name"] == "rootless-buildah")
        assert told["data"]["image"].startswith(f"{cluster.registry}/rootless-buildah/builder@sha256:")
    finally:
        space.kubectl("delete", "namespace", space.namespace, "--wait=false", "--ignore-not-found")

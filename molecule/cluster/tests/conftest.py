# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the cluster share."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.machines import vm
from ansible_collections.rootless.buildah.molecule.machines.control_plane import Place
from ansible_collections.rootless.buildah.molecule.verify.clusters import Cluster
from ansible_collections.rootless.buildah.molecule.verify.conftest import oci_layout
from ansible_collections.rootless.buildah.tests.integration.harness import CHECKOUT, Builder, base_script, make_library


@pytest.fixture(name="cluster", scope="session")
def _cluster() -> Cluster:
    return Cluster(Place(Path(os.environ.get("MACHINES_CLUSTER") or vm.CACHE)))


@pytest.fixture(name="builder_image", scope="session")
def _builder_image(cluster: Cluster) -> Iterator[str]:
    """The builder image in the cluster's registry, by digest: made by an unprivileged user, from packages up."""
    place = Path(tempfile.mkdtemp(prefix="rootless-buildah-tests-"))
    place.chmod(0o755)
    user = Builder(f"rbtk-{os.getpid()}", make_library(place / "library"))
    try:
        login = user.write("auth.json", Path(cluster.login()).read_text(), 0o600)
        authority = user.write("certs/ca.crt", (cluster.place.registry / "ca.crt").read_text())
        reach = {"registry_auth_file": str(login), "registry_ca_dir": str(authority.parent), "push": True}
        base = f"{cluster.registry}/bases/forky:1"
        user.build(name=base, script=base_script(), args={"SUITE": "forky"}, **reach)
        files = CHECKOUT / "roles/cluster_builder/files/builder"
        context = user.context("builder", {path.name: path.read_text() for path in files.iterdir()})
        name = f"{cluster.registry}/rootless-buildah/builder"
        built = user.build(name=f"{name}:1", path=str(context), args={"BASE": base}, **reach)
        yield f"{name}@{built['digest']}"
    finally:
        user.remove()
        shutil.rmtree(place)


@pytest.fixture(name="builds", scope="session")
def _builds(cluster: Cluster, builder_image: str) -> Cluster:
    """The namespace that images are built in."""
    if f'"{cluster.namespace}"' not in cluster.kubectl("get", "namespaces", "--output=json"):
        cluster.kubectl("create", "namespace", cluster.namespace)
        labels = ("pod-security.kubernetes.io/enforce=baseline", "rootless.buildah/builds=true")
        cluster.kubectl("label", "namespace", cluster.namespace, *labels)
        cluster.kubectl("create", "serviceaccount", "rootless-buildah")
        defaults = (f"--from-literal=image={builder_image}", f"--from-literal=contexts={cluster.registry}/contexts")
        cluster.kubectl("create", "configmap", "rootless-buildah", *defaults)
        for use in ("pull", "push"):
            cluster.kubectl(
                "create", "secret", "generic", f"rootless-buildah-{use}", "--type=kubernetes.io/dockerconfigjson",
                f"--from-file=.dockerconfigjson={cluster.login(use)}")
    return cluster


@pytest.fixture(name="debian", scope="session")
def _debian(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of Debian in the cluster's registry, by its full name."""
    place = tmp_path_factory.mktemp("debian")
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--include=libcap2-bin", "bookworm",
         str(place / "layer.tar")], capture_output=True, text=True, check=False)  # fmt: skip
    assert made.returncode == 0, made.stderr
    return cluster.copy_here(f"oci:{oci_layout(place / 'layer.tar', place / 'layout')}:debian", "bases/debian:12")

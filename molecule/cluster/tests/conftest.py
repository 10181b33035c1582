# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the cluster share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.machines import vm
from ansible_collections.rootless.buildah.molecule.machines.control_plane import Place, registry_settings
from ansible_collections.rootless.buildah.molecule.verify.clusters import BUILDER_HOST, CLUSTER_BUILDER, Cluster
from ansible_collections.rootless.buildah.molecule.verify.conftest import oci_layout
from ansible_collections.rootless.buildah.tests.integration.harness import Builder, answers, base_script, make_library
from ansible_collections.rootless.buildah.tests.tools.waiting import until


@pytest.fixture(name="cluster", scope="session")
def _cluster() -> Cluster:
    return Cluster(Place(Path(os.environ.get("MACHINES_CLUSTER") or vm.CACHE)))


@pytest.fixture(name="builder_role", scope="session")
def _builder_role(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """What a play says to role cluster_builder, so that an unprivileged user makes the builder image from packages."""
    place = Path(tempfile.mkdtemp(prefix="rootless-buildah-tests-"))
    place.chmod(0o755)
    user = Builder(f"rbtk-{os.getpid()}", make_library(place / "library"))
    try:
        login = user.write(".config/containers/auth.json", Path(cluster.login()).read_text(), 0o600)
        authority = user.write("certs/ca.crt", (cluster.place.registry / "ca.crt").read_text()).parent
        base = f"{cluster.registry}/bases/forky:1"
        user.build(name=base, script=base_script(), args={"SUITE": "forky"}, push=True,
                   registry_auth_file=str(login), registry_ca_dir=str(authority))  # fmt: skip
        yield {
            "cluster_builder_kubeconfig": str(cluster.place.kubeconfig),
            "cluster_builder_namespace": cluster.namespace,
            "cluster_builder_registries": [{"registry": cluster.registry}],
            "cluster_builder_pull_logins": [cluster.credentials("pull")],
            "cluster_builder_push_logins": [cluster.credentials("push")],
            "cluster_builder_context_repository": f"{cluster.registry}/contexts",
            "cluster_builder_image": f"{cluster.registry}/rootless-buildah/builder:1",
            "cluster_builder_image_build": True,
            "cluster_builder_base_image": base,
            "cluster_builder_image_host": BUILDER_HOST,
            "cluster_builder_image_user": user.name,
            "cluster_builder_image_ca_dir": str(authority),
        }
    finally:
        user.remove()
        shutil.rmtree(place)


@pytest.fixture(name="builds", scope="session")
def _builds(cluster: Cluster, builder_role: dict[str, Any]) -> Cluster:
    """The namespace that images are built in, as the role makes it."""
    cluster.play(CLUSTER_BUILDER, builder_role)
    return cluster


@pytest.fixture(name="builder_image", scope="session")
def _builder_image(builds: Cluster) -> str:
    """The builder image in the cluster's registry, by digest."""
    (told,) = (one for one in builds.get("configmaps") if one["metadata"]["name"] == "rootless-buildah")
    return str(told["data"]["image"])


@pytest.fixture(name="builds_b", scope="session")
def _builds_b(builds: Cluster, builder_role: dict[str, Any], builder_image: str) -> Cluster:
    """Another such namespace, which allows profile B."""
    return _another(builds, builder_role, builder_image, "builds-b", cluster_builder_allow_profile_b=True)


@pytest.fixture(name="builds_c", scope="session")
def _builds_c(builds: Cluster, builder_role: dict[str, Any], builder_image: str) -> Cluster:
    """Another one, where the Pod Security level restricted is enforced, as on nodes with SELinux."""
    return _another(builds, builder_role, builder_image, "builds-c", cluster_builder_pod_security="restricted",
                    cluster_builder_selinux_type="container_engine_t")  # fmt: skip


def _another(builds: Cluster, role: dict[str, Any], image: str, namespace: str, **variables: Any) -> Cluster:
    space = Cluster(builds.place, namespace)
    space.play(CLUSTER_BUILDER, {
        **role, "cluster_builder_namespace": namespace, "cluster_builder_image": image,
        "cluster_builder_image_build": False, **variables})  # fmt: skip
    return space


@pytest.fixture(name="small", scope="session")
def _small(cluster: Cluster) -> str:
    """An image with a shell and little more, by its full name: emulated nodes unpack it in a moment."""
    return f"{cluster.registry}/machines/busybox:1"


@pytest.fixture(name="debian", scope="session")
def _debian(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small image of Debian in the cluster's registry, by its full name; nodes take half a minute to unpack it."""
    place = tmp_path_factory.mktemp("debian")
    unread = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "zoneinfo")]
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--include=libcap2-bin,passwd", *unread,
         "bookworm", str(place / "layer.tar")], capture_output=True, text=True, check=False)  # fmt: skip
    assert made.returncode == 0, made.stderr
    return cluster.copy_here(f"oci:{oci_layout(place / 'layer.tar', place / 'layout')}:debian", "bases/debian:12")


@pytest.fixture(name="open_registry")
def _open_registry(cluster: Cluster, tmp_path: Path) -> Iterator[int]:
    """A registry that asks nobody for a login, by the port at which all addresses of this machine have it."""
    port = vm.free_port()
    settings = registry_settings(cluster.place.state, port)
    del settings["auth"]
    settings["storage"]["filesystem"]["rootdirectory"] = str(tmp_path / "images")
    (tmp_path / "registry.json").write_text(json.dumps(settings))
    serve = ["docker-registry", "serve", str(tmp_path / "registry.json")]
    with subprocess.Popen(serve, preexec_fn=vm.die_with_parent) as registry:
        try:
            until(lambda: answers(port), otherwise="the registry does not start")
            yield port
        finally:
            registry.terminate()


@pytest.fixture(name="layers")
def _layers(builds: Cluster) -> Iterator[str]:
    """A claim of a volume on a node, by its name."""
    name = f"layers-{time.time_ns():x}"
    size = {"storage": "5Gi"}
    shared = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    for manifest in (
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
            **shared, "capacity": size, "hostPath": {"path": f"/var/lib/{name}", "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": ["cluster-one"]}]}]}}}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
            **shared, "volumeName": name, "resources": {"requests": size}}},
    ):  # fmt: skip
        builds.kubectl("create", "--filename=-", manifest=manifest)
    yield name
    builds.kubectl("delete", "pvc", name, "--wait=false")
    builds.kubectl("delete", "pv", name, "--wait=false")

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many builds of a cluster, and builds that leave something for the next one."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rootless.buildah.molecule.machines.control_plane import ADDRESS
from ansible_collections.rootless.buildah.molecule.verify.clusters import OURS, Cluster
from ansible_collections.rootless.buildah.molecule.verify.machines import names
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT

IMAGES = 10


class Watcher:
    """Remembers which pods of builds there were, and where."""

    def __init__(self, cluster: Cluster) -> None:
        self.nodes: dict[str, str] = {}
        self._cluster = cluster
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._ended.wait(1):
            for pod in self._cluster.get("pods", OURS):
                self.nodes[pod["metadata"]["name"]] = pod["spec"].get("nodeName", "")

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()


def test_ten_images_are_built_on_two_nodes_and_their_parent_first(
    builds: Cluster, small: str, tmp_path: Path
) -> None:
    parent = f"{builds.registry}/trials/parent:1"
    for number in range(IMAGES):
        context = tmp_path / str(number)
        context.mkdir()
        (context / "file").write_text(f"{number} {time.time_ns()}\n")
        base = small if number == 0 else parent
        (context / "Containerfile").write_text(f"FROM {base}\nCOPY file /file-{number}\nRUN cat /file-{number}\n")
    tags = ["trials/parent:1", *(f"trials/child-{number}:1" for number in range(1, IMAGES))]
    images = [builds.options(tmp_path / str(number), name) for number, name in enumerate(tags)]
    variables = {
        "build_images_backend": "kubernetes",
        **{f"build_images_{name}": [one.pop(name) for one in images][0] for name in ("kubeconfig", "namespace")},
        # A node has room for one at a time: the others wait.
        "build_images_job": {"resources": {"requests": {"memory": "1Gi"}}},
        # The parent is the last of the list, and still comes first.
        "build_images_images": images[::-1],
    }
    tasks = [{"ansible.builtin.import_role": {"name": "rootless.buildah.build_images"}},
             {"ansible.builtin.debug": {"msg": "BUILT {{ rootless_buildah_images.built }}, "
                                        "UNCHANGED {{ rootless_buildah_images.unchanged }}"}}]  # fmt: skip
    assert f"BUILT {IMAGES}, UNCHANGED 0" in builds.play(tasks, variables, "--check").text
    with Watcher(builds) as seen:
        done = builds.play(tasks, variables)
    assert f"BUILT {IMAGES}, UNCHANGED 0" in done.text
    assert len(seen.nodes) == IMAGES and len(set(seen.nodes.values())) == 2
    assert all(builds.digest(name) for name in tags)
    with Watcher(builds) as seen:
        again = builds.play(tasks, variables)
    assert (again.changed, seen.nodes) == (0, {}) and f"BUILT 0, UNCHANGED {IMAGES}" in again.text


def built_twice(builds: Cluster, base: str, context: Path, *options: dict[str, Any]) -> list[dict[str, bool]]:
    """Build twice, a file of the context changed in between; return which steps came from the layer cache.

    :param options: of the first and of the second build.
    """
    context.mkdir()
    steps = "RUN date > /made\nCOPY file /file\nRUN cat /made /file\n"
    (context / "Containerfile").write_text(f"FROM {base}\n{steps}")
    results = []
    for content, given in zip(("one\n", "two\n"), options):
        (context / "file").write_text(content)
        result = builds.build(context, f"trials/{context.name}:1", **given)
        assert not result["failed"], result
        results.append({one["instruction"].split()[1]: one["cached"] for one in result["steps"]})
    return results


def test_layers_stay_on_a_volume_from_one_job_to_the_next(
    builds: Cluster, small: str, layers: str, tmp_path: Path
) -> None:
    claim = {"job": {"cache_claim": layers}}
    first, second = built_twice(builds, small, tmp_path / "layers", claim, claim)
    assert first["date"] is False and second["date"] is True
    # What depends on the changed file is made anew.
    assert second["cat"] is False


def test_layers_go_through_a_registry_from_one_node_to_the_other(
    builds: Cluster, small: str, open_registry: int, tmp_path: Path
) -> None:
    cache = f"{ADDRESS}:{open_registry}/layers"
    on = [{"cache_from": [cache], "cache_to": [cache], "job": {"node_selector": {"kubernetes.io/hostname": node}}}
          for node in names("cluster_nodes")]  # fmt: skip
    first, second = built_twice(builds, small, tmp_path / "passed-on", *on)
    assert (first["date"], second["date"], second["cat"]) == (False, True, False)


def test_an_image_that_was_built_in_a_pod_runs_as_a_pod(builds: Cluster, debian: str, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(
        f'FROM {debian}\nRUN useradd --uid 4321 app\nUSER app\nCMD ["sh", "-c", "id; sleep 600"]\n'
    )
    built = builds.build(tmp_path, "trials/app:1")
    assert not built["failed"], built
    name = f"app-{time.time_ns():x}"
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsUser": 4321,
                  "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
    image = f"{builds.registry}/trials/app@{built['digest']}"
    builds.kubectl("create", "--filename=-", manifest={
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "imagePullSecrets": [{"name": "rootless-buildah-pull"}], "automountServiceAccountToken": False,
            "containers": [{"name": "app", "image": image, "securityContext": restricted}]}})  # fmt: skip
    try:
        builds.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=180s")
        assert "uid=4321(app)" in builds.kubectl("logs", name)
    finally:
        builds.kubectl("delete", "pod", name, "--grace-period=0", "--force")


def test_a_pod_that_waits_is_a_builder_host_of_an_inventory(
    builds: Cluster, builder_image: str, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = yaml.safe_load((ROOT / "examples/cluster/builder-pod.yml").read_text())
    hosts = yaml.safe_load((ROOT / "examples/cluster/hosts.yml").read_text())
    (container,) = pod["spec"]["containers"]
    container["image"] = builder_image
    monkeypatch.setenv("KUBECONFIG", str(builds.place.kubeconfig))
    login = builds.credentials("push")
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.copy": {"dest": "/root/trial/Containerfile", "mode": "0644",
                                  "content": f"FROM {small}\nRUN id > /who\nCOPY Containerfile /\n"}},
        {"ansible.builtin.copy": {"dest": "/root/certs/ca.crt", "mode": "0644",
                                  "content": (builds.place.registry / "ca.crt").read_text()}},
        {"rootless.buildah.buildah_build": {
            "name": f"{builds.registry}/trials/inventory:1", "path": "/root/trial", "push": True,
            "network": "none", "registry_username": login["username"], "registry_password": login["password"],
            "registry_ca_dir": "/root/certs"}},
    ]  # fmt: skip
    for directory in ("/root/trial", "/root/certs"):
        tasks.insert(0, {"ansible.builtin.file": {"path": directory, "state": "directory", "mode": "0755"}})
    builds.kubectl("create", "--filename=-", manifest=pod)
    try:
        builds.kubectl("wait", "--for=condition=Ready", "pod/builder", "--timeout=180s")
        first = builds.play(tasks, {}, inventory=hosts)
        assert first.changed == len(tasks) and builds.digest("trials/inventory:1"), first.text
        assert builds.play(tasks, {}, inventory=hosts).changed == 0
    finally:
        builds.kubectl("delete", "pod", "builder", "--grace-period=0", "--force")

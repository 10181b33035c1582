# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster itself: its nodes run pods, pods reach each other, and the API server shows what they do."""

from __future__ import annotations

import json
import subprocess
import uuid
from typing import Any, Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.verify.machines import SCENARIO, names
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT

NODES = names("cluster_nodes")
REGISTRY = ROOT / ".cache/machines/registry"


def kubectl(*arguments: str, manifest: Any = None) -> str:
    argv = [str(ROOT / "molecule/machines/control_plane.py"), "kubectl", *arguments]
    text = json.dumps(manifest) if manifest else ""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


@pytest.fixture(name="namespace")
def _namespace() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("create", "secret", "generic", "pull", f"--namespace={name}", "--type=kubernetes.io/dockerconfigjson",
            f"--from-file=.dockerconfigjson={REGISTRY}/pull.json")  # fmt: skip
    yield name
    kubectl("delete", "namespace", name)


@pytest.mark.parametrize("node", NODES)
def test_a_node_runs_pods_with_images_of_the_registry(node: str) -> None:
    done = subprocess.run([str(SCENARIO / "try-node"), node], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pods_reach_each_other_across_nodes(namespace: str) -> None:
    image = f"{(REGISTRY / 'address').read_text()}/machines/busybox:1"
    for node in NODES:
        kubectl("create", f"--namespace={namespace}", "--filename=-", manifest={
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": node},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "imagePullSecrets": [{"name": "pull"}],
                     "containers": [
                         {"name": "one", "image": image, "command": ["nc", "-ll", "-p", "8080", "-e", "hostname"]}]},
        })  # fmt: skip
    pods = [f"pod/{node}" for node in NODES]
    kubectl("wait", f"--namespace={namespace}", "--for=condition=Ready", "--timeout=180s", *pods)
    found = json.loads(kubectl("get", "pods", f"--namespace={namespace}", "--output=json"))["items"]
    addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in found}
    assert len(set(addresses.values())) == len(NODES)
    for one in NODES:
        for other, address in addresses.items():
            call = ["exec", f"--namespace={namespace}", one, "--", "nc", "-w", "20", address, "8080"]
            assert kubectl(*call).strip() == other

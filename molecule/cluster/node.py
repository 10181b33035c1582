#!/usr/bin/env python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the files that make a bare machine a node of the cluster when it starts; prints the directory of them.

They are what an administrator has who follows the guides of Kubernetes and containerd: nothing is about builds. Every
node has a range of addresses for its pods, and knows the ways to the others'.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import sys
from pathlib import Path
from typing import Any, Mapping

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ansible" / "collections"))
from ansible_collections.rootless.buildah.molecule.machines import control_plane, vm

HERE = Path(__file__).resolve().parent
SECRET = "etc/kubernetes/kubelet.conf"


def pods(address: str) -> str:
    """Return the range of addresses of a node's pods.

    :param address: of the node; its last number makes the range.
    """
    return f"{control_plane.PODS.rsplit('.', 2)[0]}.{address.rsplit('.', 1)[1]}.0/24"


def network(address: str) -> dict[str, Any]:
    """Return how pods of a node are connected (CNI's specification, "Network configuration format")."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": pods(address)}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipMasq": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def files(name: str, nodes: Mapping[str, str], kubeconfig: str, registry_authority: str) -> dict[str, str]:
    """Return the files that only this node has, by their path.

    :param nodes: address by name.
    :param kubeconfig: of the kubelet.
    """
    cluster = json.loads(kubeconfig)["clusters"][0]["cluster"]
    ways = [f"[Route]\nDestination={pods(address)}\nGateway={address}\n"
            for other, address in nodes.items() if other != name]  # fmt: skip
    return {
        SECRET: kubeconfig,
        "etc/kubernetes/ca.crt": base64.b64decode(cluster["certificate-authority-data"]).decode("ascii"),
        "etc/default/kubelet": f"ADDRESS={nodes[name]}\n",
        "etc/cni/net.d/10-pods.conflist": json.dumps(network(nodes[name]), indent=2) + "\n",
        "etc/systemd/network/20-scenario.network.d/pods.conf": "".join(ways),
        # Go's programs read every file there, and no bundle has to be made.
        "etc/ssl/certs/registry-of-machines.pem": registry_authority,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--host", action="append", default=[], help="NAME=ADDRESS, for every node")
    parser.add_argument("--sandbox", type=Path, required=True, help="archive of the image of the pods' sandboxes")
    chosen = parser.parse_args()
    place = control_plane.Place(vm.CACHE)
    tree = place.state / "nodes" / chosen.name
    try:
        login = control_plane.node_kubeconfig(place, chosen.name)
    except vm.Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(HERE / "root", tree)
    authority = (place.registry / "ca.crt").read_text(encoding="ascii")
    nodes = dict(entry.split("=", 1) for entry in chosen.host)
    for path, text in files(chosen.name, nodes, login, authority).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).touch(mode=0o600 if path == SECRET else 0o644)
        (tree / path).write_text(text, encoding="ascii")
    shutil.copy(chosen.sandbox, tree / "var/lib/kubelet/sandbox.tar")
    units = tree / "etc/systemd/system"
    (units / "multi-user.target.wants").mkdir()
    (units / "multi-user.target.wants/kubelet.service").symlink_to("/etc/systemd/system/kubelet.service")
    (tree / "etc/kubernetes/kubelet.conf.d").mkdir()
    print(tree)
    return 0


if __name__ == "__main__":
    sys.exit(main())

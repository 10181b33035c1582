# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes to a node that works: it is drained first, other tools' files stay theirs, and what goes missing is told."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.clusters import PATIENCE, Cluster
from ansible_collections.rootless.buildah.molecule.verify.machines import addresses, name_of, playbook
from ansible_collections.rootless.buildah.tests.tools.waiting import until

testinfra_hosts = addresses("cluster_nodes")[-1:]

THEIRS = "/etc/containerd/certs.d/registry.example.com/hosts.toml"
LIMIT = "podPidsLimit"
SECCOMP, APPARMOR = "/var/lib/kubelet/seccomp/rootless-build.json", "/etc/apparmor.d/rootless-build"


def converge(node: str, variables: dict[str, Any]) -> str:
    done = playbook("playbooks/cluster.yml", node, variables)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_a_node_is_drained_for_a_restart_and_gets_pods_again(host: Host, cluster: Cluster) -> None:
    node = name_of(host)
    there = Cluster(cluster.place, "default")
    pod = f"resident-{time.time_ns():x}"
    image = f"{cluster.registry}/machines/busybox:1"
    there.kubectl("create", "secret", "generic", pod, "--type=kubernetes.io/dockerconfigjson",
                  f"--from-file=.dockerconfigjson={cluster.login('pull')}")  # fmt: skip
    container = {"name": "one", "image": image, "command": ["sleep", "3600"]}
    there.kubectl("create", "--filename=-", manifest={
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": pod}, "spec": {
            "selector": {"matchLabels": {"of": pod}}, "template": {"metadata": {"labels": {"of": pod}}, "spec": {
                "containers": [container], "imagePullSecrets": [{"name": pod}], "terminationGracePeriodSeconds": 1,
                "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 100, "preference": {"matchExpressions": [
                        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}}]}}}}}})  # fmt: skip

    def nodes() -> set[str]:
        return {one["spec"].get("nodeName", "") for one in there.get("pods", f"--selector=of={pod}")
                if not one["metadata"].get("deletionTimestamp")}  # fmt: skip

    # Somebody has a file where the role would write one.
    host.run_test("mkdir -p $(dirname %s) && echo '# kept by hand' > %s", THEIRS, THEIRS)
    registries = [{"host": "registry.example.com", "server": "https://192.0.2.1"}]
    try:
        there.kubectl("wait", f"deployment/{pod}", "--for=condition=Available", "--timeout=240s")
        assert nodes() == {node}
        said = converge(node, {"cluster_node_drain": True, "cluster_node_pod_pids_limit": 3333,
                               "cluster_node_registries": registries})  # fmt: skip
        assert re.search(r"changed: \[\S+ -> localhost\].*", said) and nodes() and node not in nodes()
        found = next(one for one in there.get("nodes") if one["metadata"]["name"] == node)
        assert not found["spec"].get("unschedulable")
        assert f'"{LIMIT}":3333' in there.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/configz")
        # It said what it would have written, and wrote nothing.
        assert THEIRS in said and "192.0.2.1" in said
        assert host.check_output("cat %s", THEIRS) == "# kept by hand"
    finally:
        there.kubectl("delete", f"deployment/{pod}", f"secret/{pod}")
        host.run_test("rm -r $(dirname %s)", THEIRS)
    converge(node, {})
    assert f'"{LIMIT}":4096' in there.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/configz")
    assert playbook("playbooks/cluster.yml", node, {}).stdout.count("changed=0") == 1


@pytest.mark.parametrize("finding, take, give", [
    ("pod_seccomp_missing", f"mv {SECCOMP} {SECCOMP}.away", f"mv {SECCOMP}.away {SECCOMP}"),
    ("pod_apparmor_missing", f"apparmor_parser --remove {APPARMOR}", f"apparmor_parser --replace {APPARMOR}"),
])  # fmt: skip
def test_a_profile_that_a_node_lacks_is_told_by_the_build(
    host: Host, builds: Cluster, small: str, tmp_path: Path, finding: str, take: str, give: str
) -> None:
    (tmp_path / "Containerfile").write_text(f"FROM {small}\nRUN echo {finding}\n")
    on = {"node_selector": {"kubernetes.io/hostname": name_of(host)}}
    host.check_output(take)
    try:
        result = builds.build(tmp_path, "trials/no-profile:1", job=on)
    finally:
        host.check_output(give)
    assert (result["failed"], result.get("finding")) == (True, finding), result
    until(lambda: not any("no-profile" in name for name in builds.names("jobs")), PATIENCE)
    cured = builds.build(tmp_path, "trials/no-profile:1", job=on)
    assert not cured["failed"], cured

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds as Jobs against builds by hand on the same node, and two nodes against one.

Wants the cluster of the scenario `cluster`, prepared (MACHINES_CLUSTER says where its files are); makes one otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import pytest
import yaml

from ansible_collections.rootless.buildah.molecule.cluster.tests import conftest as parts
from ansible_collections.rootless.buildah.molecule.machines import vm
from ansible_collections.rootless.buildah.molecule.machines.control_plane import Place
from ansible_collections.rootless.buildah.molecule.verify.clusters import Cluster
from ansible_collections.rootless.buildah.tests.bench.ratios import Table
from ansible_collections.rootless.buildah.tests.bench.scenario import converged
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT

builder_role, builds, builder_image = parts._builder_role, parts._builds, parts._builder_image
builds_b, debian, layers, small = parts._builds_b, parts._debian, parts._layers, parts._small

NODES = ("cluster-one", "cluster-two")
IMAGES = 4
# A step of some seconds, so that not only what surrounds it is measured.
STEPS = "COPY file /file\nRUN dd if=/dev/zero bs=1M count=400 | sha256sum > /sum\n"
# A Job may take a quarter longer than the same by hand, and this many seconds.
ALLOWANCE = 10


@pytest.fixture(name="cluster", scope="session")
def _cluster() -> Iterator[Cluster]:
    there = os.environ.get("MACHINES_CLUSTER")
    if there:
        yield Cluster(Place(Path(there)))
        return
    with converged("cluster"):
        yield Cluster(Place(vm.CACHE))


@pytest.fixture(name="context")
def _context(debian: str, tmp_path: Path) -> Path:
    (tmp_path / "Containerfile").write_text(f"FROM {debian}\n{STEPS}")
    return tmp_path


def job(builds: Cluster, context: Path, name: str, node: str, **options: object) -> None:
    """Build something new on a node."""
    result = builds.build(
        context, f"bench/{name}:1", job={"node_selector": {"kubernetes.io/hostname": node}, **options}, force=True)
    assert not result["failed"] and result["built"], result


def moved(builds: Cluster, node: str) -> int:
    """Return the bytes that a node has received and sent to where registry and control plane are."""
    told = json.loads(builds.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    cards = {card["name"]: card for card in told["node"]["network"]["interfaces"]}
    return int(cards["eth0"]["rxBytes"]) + int(cards["eth0"]["txBytes"])


def test_a_warm_job_against_the_same_by_hand(
    builds: Cluster, builder_image: str, debian: str, layers: str, context: Path, table: Table
) -> None:
    node = NODES[0]
    pod = yaml.safe_load((ROOT / "examples/cluster/builder-pod.yml").read_text())
    pod["metadata"]["name"] = "by-hand"
    pod["spec"]["nodeName"] = node
    pod["spec"]["containers"][0]["image"] = builder_image
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "login", "mountPath": "/login"})
    pod["spec"]["volumes"].append({"name": "login", "secret": {"secretName": "rootless-buildah-push"}})
    builds.kubectl("create", "--filename=-", manifest=pod)

    def by_hand(script: str) -> None:
        builds.kubectl("exec", "by-hand", "--", "sh", "-euc", script)

    def build_by_hand() -> None:
        by_hand("date +%s%N > /tmp/context/file; buildah build --quiet --layers --pull=never --iidfile /tmp/id "
                "/tmp/context; buildah push --quiet --tls-verify=false --authfile /login/.dockerconfigjson "
                f'"$(cat /tmp/id)" docker://{builds.registry}/bench/by-hand:1')  # fmt: skip

    def build_as_job() -> None:
        (context / "file").write_text(f"{time.time_ns()}\n")
        job(builds, context, "job", node, cache_claim=layers)

    try:
        builds.kubectl("wait", "--for=condition=Ready", "pod/by-hand", "--timeout=300s")
        by_hand(f"mkdir /tmp/context; printf 'FROM {debian}\\n{STEPS}' > /tmp/context/Containerfile; buildah pull "
                f"--quiet --tls-verify=false --authfile /login/.dockerconfigjson docker://{debian}")  # fmt: skip
        build_by_hand()
        (context / "file").write_text("first\n")
        before = moved(builds, node)
        job(builds, context, "job", node, cache_claim=layers)
        cold = moved(builds, node) - before
        before = moved(builds, node)
        build_as_job()
        warm = moved(builds, node) - before
        row = table.compare("warm Job on a node, context and record included",
                            "`buildah build` and `buildah push` by hand in a pod that waits on the same node",
                            build_as_job, build_by_hand)  # fmt: skip
    finally:
        builds.kubectl("delete", "pod", "by-hand", "--grace-period=0", "--force")
    allowed = 1.25 * row.theirs + ALLOWANCE
    table.remarks.append(
        f"The aim of a warm Job is 1.25 × by hand and {ALLOWANCE} s, here {allowed:.1f} s: "
        f"{'met' if row.ours <= allowed else 'missed'}. The node's network moved {cold / 1e6:.1f} MB for the first Job "
        f"with an empty volume for layers, which pulls the base, and {warm / 1e6:.1f} MB for the next, talk with the "
        "control plane included.")


def test_profile_b_against_profile_a(
    builds: Cluster, builds_b: Cluster, context: Path, table: Table
) -> None:
    def build(cluster: Cluster, profile: str) -> None:
        (context / "file").write_text(f"{time.time_ns()}\n")
        job(cluster, context, f"profile-{profile}", NODES[0], profile=profile)

    table.compare("Job of profile b, with an empty store", "of profile a, with an empty store",
                  lambda: build(builds_b, "b"), lambda: build(builds, "a"))  # fmt: skip


@contextmanager
def one_processor(place: Path) -> Iterator[None]:
    """Take each node's second processor away: two nodes have the two cores of this machine then, and one has one."""

    def set_online(online: int) -> None:
        for node in NODES:
            word = f"echo {online} > /sys/devices/system/cpu/cpu1/online"
            subprocess.run(["ssh", "-F", str(place / "ssh_config"), node, word], check=True)

    set_online(0)
    try:
        yield
    finally:
        set_online(1)


def test_two_nodes_against_one(builds: Cluster, small: str, context: Path, table: Table) -> None:
    (context / "Containerfile").write_text(f"FROM {small}\n{STEPS}")

    def on(nodes: tuple[str, ...], images: int = IMAGES) -> None:
        (context / "file").write_text(f"{time.time_ns()}\n")
        with ThreadPoolExecutor(images) as pool:
            list(pool.map(lambda number: job(builds, context, f"many-{number}", nodes[number % len(nodes)]),
                          range(images)))  # fmt: skip

    with one_processor(builds.place.root):
        # Each node has the builder image then.
        on(NODES, len(NODES))
        row = table.compare(f"{IMAGES} images on 2 nodes with a processor each", "on 1 of them", lambda: on(NODES),
                            lambda: on(NODES[:1]), aim=1 / 1.7, runs=1)  # fmt: skip
    rates = [IMAGES * 60 / seconds for seconds in (row.ours, row.theirs)]
    table.remarks.append(
        f"Images a minute: {rates[0]:.2f} on 2 nodes and {rates[1]:.2f} on 1, {row.theirs / row.ours:.2f} times as "
        "many (aim: 1.7). The nodes are emulated by 2 cores, which control plane, registry and controller use, too.")

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane without nodes: it answers as a real one does, and leaves nothing behind. Needs root (its address)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.machines import control_plane, vm
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT
from ansible_collections.rootless.buildah.tests.tools.waiting import until

# The programs are built first, which takes minutes and Go.
pytestmark = pytest.mark.long

TOOL = str(ROOT / "molecule/machines/control_plane.py")
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "docker-registry")


def call(place: Path, *arguments: str, owner: int = 0, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MACHINES_OWNER": str(owner or "")}
    environment.pop("KUBECONFIG", None)
    argv = [TOOL, f"--place={place}", *arguments]
    return subprocess.run(argv, env=environment, input=text, capture_output=True, text=True, check=False)


def kubectl(place: Path, *arguments: str, manifest: Any = None) -> subprocess.CompletedProcess[str]:
    return call(place, "kubectl", *arguments, text=json.dumps(manifest) if manifest else "")


def processes(place: Path) -> list[str]:
    """Return the programs that run in the place."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if str(place) in os.readlink(directory / "cwd"):
                found.append((directory / "comm").read_text().strip())
        except OSError:
            continue
    return found


def routed() -> bool:
    done = subprocess.run(["ip", "route", "show", "table", "local"], capture_output=True, text=True, check=True)
    return f"local {control_plane.ADDRESS} " in done.stdout


def nothing_is_left(place: Path) -> bool:
    # What was said stays, for whoever wants to know why.
    left = {path.name for path in place.iterdir()} - {"consoles", "control-plane.lock"}
    return not left and not processes(place)


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert call(tmp_path, "stop").returncode == 0
    assert nothing_is_left(tmp_path)


def test_it_answers_as_a_cluster_does_and_ends_when_told(place: Path) -> None:
    before = routed()
    done = call(place, "start", "--registry", str(vm.free_port()))
    assert done.returncode == 0, done.stderr
    assert len(processes(place)) == len(PROGRAMS), processes(place)
    assert "runs already" in call(place, "start").stdout
    answer = json.loads(kubectl(place, "version", "--output=json").stdout)
    assert answer["serverVersion"]["gitVersion"] == answer["clientVersion"]["gitVersion"]
    _pods_are_admitted_or_not(place)
    _who_may_what(place)
    _the_registry_wants_a_login(place)
    assert call(place, "stop").returncode == 0
    assert nothing_is_left(place)
    assert routed() == before


def _pods_are_admitted_or_not(place: Path) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "guarded", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}  # fmt: skip
    assert kubectl(place, "create", "-f", "-", manifest=namespace).returncode == 0
    account = ("-n", "guarded", "get", "serviceaccount", "default")
    until(lambda: kubectl(place, *account).returncode == 0, otherwise="no account")
    for host_network, admitted in ((False, True), (True, False)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": "guarded"}, "spec": {
            "hostNetwork": host_network, "containers": [{"name": "one", "image": "none.invalid/none"}]}}  # fmt: skip
        done = kubectl(place, "create", "--dry-run=server", "-f", "-", manifest=pod)
        assert (done.returncode == 0) is admitted, done.stderr
        assert admitted or 'violates PodSecurity "baseline:latest"' in done.stderr


def _who_may_what(place: Path) -> None:
    node = place / "node"
    node.write_text(call(place, "node-kubeconfig", "one").stdout)
    try:
        asked = kubectl(place, f"--kubeconfig={node}", "auth", "whoami", "--output=json")
        user = json.loads(asked.stdout)["status"]["userInfo"]
        assert user["username"] == "system:node:one" and "system:nodes" in user["groups"]
        assert "Forbidden" in kubectl(place, f"--kubeconfig={node}", "get", "secrets", "-n", "kube-system").stderr
    finally:
        node.unlink()


def _the_registry_wants_a_login(place: Path) -> None:
    address = (place / "registry/address").read_text()
    argv = ["skopeo", "list-tags", f"--cert-dir={place}/registry", f"docker://{address}/none"]
    refused = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "unauthorized" in refused.stderr
    for user in control_plane.REGISTRY_USERS:
        login = f"--authfile={place}/registry/{user}.json"
        known = subprocess.run([*argv, login], capture_output=True, text=True, check=False)
        assert "404" in known.stderr, known.stderr


def test_it_ends_with_the_run_that_owns_it(place: Path) -> None:
    before = routed()
    with subprocess.Popen(["sleep", "600"]) as owner:
        done = call(place, "start", owner=owner.pid)
        assert done.returncode == 0, done.stderr
        owner.kill()
    until(lambda: nothing_is_left(place), otherwise="the control plane outlives its owner")
    assert routed() == before


def test_all_of_it_ends_with_one_part_or_with_its_keeper(place: Path) -> None:
    assert call(place, "start").returncode == 0
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            found = os.readlink(directory / "cwd") == str(place / "control-plane")
        except OSError:
            continue
        if found and (directory / "comm").read_text().startswith("kube-sched"):
            os.kill(int(directory.name), signal.SIGKILL)
    until(lambda: nothing_is_left(place), otherwise="the control plane goes on without its scheduler")
    assert "kube-scheduler ended" in (place / "consoles/control-plane.log").read_text()

    assert call(place, "start").returncode == 0
    os.kill(int((place / "control-plane/pid").read_text()), signal.SIGKILL)
    until(lambda: not processes(place), otherwise="the control plane outlives its keeper")


def test_what_keeps_it_from_starting_is_told(place: Path) -> None:
    taken = vm.free_port()
    with subprocess.Popen(["busybox", "nc", "-l", "-p", str(taken)]) as other:
        time.sleep(0.5)
        done = call(place, "start", "--registry", str(taken))
        other.kill()
    assert done.returncode == 1
    assert "registry ended" in done.stderr and "address already in use" in done.stderr
    assert nothing_is_left(place)

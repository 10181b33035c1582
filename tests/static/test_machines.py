# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of the Molecule scenarios, as far as that can be told without starting one."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rootless.buildah.molecule.cluster import node
from ansible_collections.rootless.buildah.molecule.machines import control_plane, vm
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT, files, load

SCENARIOS = sorted(Path(name).parent.name for name in files("molecule/*/molecule.yml"))
MACHINE = vm.Machine("one", "10.76.9.1", "trial")
KEY = "ssh-ed25519 AAAA machines\n"
PLANE = control_plane.ControlPlane(control_plane.Place(Path("/place")), Path("/programs"), 6443, 2379, 2380)


def machines(scenario: str) -> dict[str, dict[str, Any]]:
    """Return a scenario's machines with their variables, which may stand in several groups."""
    found: dict[str, dict[str, Any]] = {}
    for group in load(f"molecule/{scenario}/hosts.yml").values():
        for name, variables in group["hosts"].items():
            found.setdefault(name, {}).update(variables or {})
    return found


def test_names_and_addresses_belong_to_one_machine() -> None:
    everywhere = [(name, about) for scenario in SCENARIOS for name, about in machines(scenario).items()]
    assert len({name for name, _about in everywhere}) == len(everywhere)
    assert len({about["vm_address"] for _name, about in everywhere}) == len(everywhere)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_machines_of_a_scenario_share_a_network(scenario: str) -> None:
    addresses = [ipaddress.ip_address(about["vm_address"]) for about in machines(scenario).values()]
    network = ipaddress.ip_network(f"{addresses[0]}/24", strict=False)
    assert all(address in network for address in addresses)


def test_networks_differ_by_scenario_and_by_checkout() -> None:
    groups = {vm.group(scenario, Path(place)) for scenario in SCENARIOS for place in ("/one", "/two")}
    assert len(groups) == 2 * len(SCENARIOS)


def test_the_kernel_unpacks_what_makes_a_machine_itself(tmp_path: Path) -> None:
    identity = vm.identity(MACHINE, {"one": "10.76.9.1", "two": "10.76.9.2"}, KEY)
    subprocess.run(["busybox", "cpio", "-idu"], input=vm.archive(identity), cwd=tmp_path, check=True,
                   capture_output=True)  # fmt: skip
    place = tmp_path / "identity"
    assert (place / "etc/hostname").read_text() == "one\n"
    assert "10.76.9.2 two" in (place / "etc/hosts").read_text()
    assert (place / "root/.ssh/authorized_keys").read_text() == KEY
    assert oct((place / "root/.ssh").stat().st_mode)[-3:] == "700"
    assert oct((place / "root/.ssh/authorized_keys").stat().st_mode)[-3:] == "600"
    network = (place / "etc/systemd/network/20-scenario.network").read_text()
    assert f"MACAddress={MACHINE.mac}:02" in network and "Address=10.76.9.1/24" in network


def test_a_machine_has_files_of_its_own(tmp_path: Path) -> None:
    tree, place = tmp_path / "tree", tmp_path / "unpacked"
    (tree / "etc/one").mkdir(parents=True)
    (tree / "etc/empty").mkdir()
    place.mkdir()
    (tree / "etc/one/data").write_bytes(bytes(range(256)))
    (tree / "etc/secret").write_text("of the tree\n")
    (tree / "etc/secret").chmod(0o600)
    (tree / "etc/link").symlink_to("/nowhere")
    subprocess.run(["busybox", "cpio", "-idu"], input=vm.archive({"etc/hostname": "one\n"}, tree), cwd=place,
                   check=True, capture_output=True)  # fmt: skip
    assert (place / "identity/etc/one/data").read_bytes() == bytes(range(256))
    assert (place / "identity/etc/empty").is_dir()
    assert oct((place / "identity/etc/secret").stat().st_mode)[-3:] == "600"
    assert os.readlink(place / "identity/etc/link") == "/nowhere"
    assert (place / "identity/etc/hostname").read_text() == "one\n"


def test_a_cloud_image_is_told_the_same_by_its_seed() -> None:
    seed = vm.seed(MACHINE, {"one": "10.76.9.1", "two": "10.76.9.2"}, KEY)
    assert seed["user-data"].startswith("#cloud-config\n")
    user = yaml.safe_load(seed["user-data"])
    assert user["users"] == [{"name": "root", "ssh_authorized_keys": [KEY.strip()]}]
    assert user["write_files"][0]["content"].splitlines()[-1] == "10.76.9.2 two"
    network = yaml.safe_load(seed["network-config"])["ethernets"]
    assert network["scenario"]["addresses"] == ["10.76.9.1/24"]
    assert yaml.safe_load(seed["meta-data"])["local-hostname"] == "one"


@pytest.mark.parametrize("image, wanted", [
    (vm.Image(Path("/disk.raw"), Path("/vmlinuz"), Path("/initrd")), "-kernel"),
    (vm.Image(Path("/cloud.qcow2")), "label=CIDATA"),
])  # fmt: skip
def test_no_machine_writes_to_an_image(image: vm.Image, wanted: str) -> None:
    call = " ".join(vm.qemu(MACHINE, image, vm.EMULATION, 2222, 9))
    assert wanted in call
    assert str(image.disk) not in call
    assert "-drive file=/dev/fd/9," in call
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in call


def test_machines_that_start_side_by_side_fetch_an_image_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "IMAGES", tmp_path / "images")
    content, asked = os.urandom(1 << 20), []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for begin in range(0, len(content), 1 << 18):
                time.sleep(0.05)
                self.wfile.write(content[begin : begin + (1 << 18)])

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server, ThreadPoolExecutor() as threads:
        threads.submit(server.serve_forever)
        url = f"http://127.0.0.1:{server.server_port}/debian.qcow2"
        # A run that was killed left this.
        name = hashlib.sha256(url.encode()).hexdigest()[:12]
        (tmp_path / "images").mkdir()
        (tmp_path / f"images/{name}-debian.qcow2.part").write_bytes(b"half of it")
        found = list(threads.map(lambda _number: vm.downloaded(url), range(4)))
        server.shutdown()
    assert asked == ["/debian.qcow2"] and len(set(found)) == 1
    assert found[0].read_bytes() == content
    assert list((tmp_path / "images").iterdir()) == [found[0]]


@pytest.mark.parametrize("sent, told", [
    (1 << 18, "262144 of 1048576 bytes came"),
    (None, "HTTP Error 404"),
])  # fmt: skip
def test_a_download_that_breaks_off_is_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: int | None, told: str
) -> None:
    monkeypatch.setattr(vm, "IMAGES", tmp_path / "images")
    content, whole = os.urandom(1 << 20), threading.Event()

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if sent is None and not whole.is_set():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if whole.is_set() else content[:sent])

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server, ThreadPoolExecutor() as threads:
        threads.submit(server.serve_forever)
        url = f"http://127.0.0.1:{server.server_port}/debian.qcow2"
        try:
            with pytest.raises(vm.Problem) as problem:
                vm.downloaded(url)
            left = [path.name for path in (tmp_path / "images").iterdir() if not path.name.endswith(".part")]
            whole.set()
            found = vm.downloaded(url)
        finally:
            server.shutdown()
    assert str(problem.value).startswith(f"{url} cannot be fetched: ") and told in str(problem.value)
    assert "Remedy: " in str(problem.value)
    assert left == []
    assert found.read_bytes() == content


def test_a_machine_of_root_is_not_entered_by_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm, "CACHE", tmp_path)
    vm.require_key("node-12")  # there is none yet: ssh says so
    key = tmp_path / "key"
    key.touch(mode=0o600)
    vm.require_key("node-12")
    key.chmod(0)
    # Root reads everything.
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        with pytest.raises(vm.Problem, match=r"Remedy: sudo make vm-shell HOST=node-12$"):
            vm.require_key("node-12")
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("console, told", [
    ("Welcome to AlmaLinux\n", False),
    ("Fatal glibc error: CPU does not support x86-64-v2\nKernel panic - not syncing: Attempted to kill init!\n", True),
    ("Fatal glibc error: CPU does not support x86-64-v3\n", True),
])
def test_a_system_that_misses_an_instruction_is_told_why(console: str, told: bool) -> None:
    """glibc's words when it was built for newer processors."""
    assert ("Remedy: use a machine with KVM" in vm.console_hint(console)) is told


def test_a_release_without_a_recipe_is_told(tmp_path: Path) -> None:
    done = subprocess.run([str(ROOT / "molecule/machines/image"), "99", str(tmp_path)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("There is no recipe for Debian 99;")
    assert not list(tmp_path.iterdir())


def test_ports_of_a_machine_are_forwarded_from_addresses_of_their_own() -> None:
    machine = vm.Machine("one", "10.76.9.1", "trial", forwards=("10.76.9.1:10250:10250", "10.76.9.1:80:8080"))
    call = " ".join(vm.qemu(machine, vm.Image(Path("/cloud.qcow2")), vm.EMULATION, 2222, 9))
    assert "hostfwd=tcp:10.76.9.1:10250-:10250,hostfwd=tcp:10.76.9.1:80-:8080 " in call
    assert machine.reached_at == ["10.76.9.1"]
    assert MACHINE.reached_at == []


def test_nothing_is_put_into_a_cloud_image() -> None:
    with pytest.raises(vm.Problem, match=r"Nothing can be put into /cloud\.qcow2, .*: crun"):
        vm.image("/cloud.qcow2", ["crun"])


def test_networks_of_a_cluster_are_apart() -> None:
    addresses = [about["vm_address"] for scenario in SCENARIOS for about in machines(scenario).values()]
    scenarios = {ipaddress.ip_network(f"{address}/24", strict=False) for address in addresses}
    inside = [ipaddress.ip_network(network) for network in (control_plane.PODS, control_plane.SERVICES)]
    everything = [*scenarios, *inside, ipaddress.ip_network("10.0.2.0/24")]
    assert not any(one.overlaps(other) for one in everything for other in everything if one is not other)
    # The API server takes the first of them for itself, and its certificate says so.
    assert ipaddress.ip_address(control_plane.FIRST_SERVICE) == next(inside[1].hosts())


def test_the_programs_of_a_control_plane_agree() -> None:
    server, store = control_plane.api_server(PLANE), control_plane.etcd(PLANE)
    assert f"--etcd-servers={store[store.index('--listen-client-urls') + 1]}" in server
    assert PLANE.server == "https://10.0.2.2:6443" and "--secure-port=6443" in server
    manager = control_plane.others(PLANE)["system:kube-controller-manager"]
    assert {option for option in manager if "service-cluster-ip-range" in option} <= set(server)


def test_a_kubeconfig_needs_no_other_file() -> None:
    made = control_plane.kubeconfig(PLANE.server, "admin", b"ca", b"certificate", b"key")
    assert made["clusters"][0]["cluster"] == {"server": PLANE.server, "certificate-authority-data": "Y2E="}
    assert made["users"][0]["user"] == {"client-certificate-data": "Y2VydGlmaWNhdGU=", "client-key-data": "a2V5"}
    assert made["current-context"] == made["contexts"][0]["name"]


def test_logins_are_in_the_form_of_registries_clients() -> None:
    made = control_plane.login("10.0.2.2:5443", "push", "secret")
    assert made == {"auths": {"10.0.2.2:5443": {"auth": "cHVzaDpzZWNyZXQ="}}}


@pytest.mark.parametrize("signed", [True, False])
def test_certificates_are_what_they_are_for(signed: bool) -> None:
    text = control_plane.extensions(signed, ["IP:10.0.2.2", "DNS:one"])
    assert ("CA:TRUE" in text) is not signed
    assert ("serverAuth" in text) is signed
    assert "subjectAltName = IP:10.0.2.2, DNS:one\n" in text


@pytest.mark.parametrize("chosen, used", [
    (None, None),
    ("", None),
    ("/place/kubeconfig", None),
    ("/home/me/.kube/config", "/home/me/.kube/config"),
])  # fmt: skip
def test_another_cluster_can_be_used(chosen: str | None, used: str | None) -> None:
    environment = {} if chosen is None else {"KUBECONFIG": chosen}
    assert control_plane.elsewhere(environment, PLANE.place) == used


def test_a_machine_without_go_is_told(tmp_path: Path) -> None:
    """There, an old Go says what it is."""
    recipe = str(ROOT / "molecule/machines/kubernetes")
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.25.4\n")
    old.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([recipe, str(tmp_path / "cache")], env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 1
    assert "built by Go 1.26 or newer; here is go1.25.4. Remedy:" in done.stderr
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["kubernetes.lock"]


def test_registry_settings_are_json_that_says_where_everything_is() -> None:
    settings = json.loads(json.dumps(control_plane.registry_settings(Path("/place"), 5443)))
    assert settings["http"]["addr"] == "0.0.0.0:5443"
    assert settings["auth"]["htpasswd"]["path"] == "/place/htpasswd"


def test_nodes_know_the_ways_to_each_others_pods() -> None:
    nodes = {name: about["vm_address"] for name, about in machines("cluster").items()}
    login = json.dumps(control_plane.kubeconfig(PLANE.server, "system:node:cluster-one", b"of the cluster", b"", b""))
    made = {name: node.files(name, nodes, login, "of the registry") for name in nodes}
    assert len(made) == 2
    for name, found in made.items():
        (subnet,) = re.findall(r'"subnet": "(.*)"', found["etc/cni/net.d/10-pods.conflist"])
        assert ipaddress.IPv4Network(subnet).subnet_of(ipaddress.IPv4Network(control_plane.PODS))
        others = [other for key, other in made.items() if key != name]
        way = f"Destination={subnet}\nGateway={nodes[name]}\n"
        assert all(way in other["etc/systemd/network/20-scenario.network.d/pods.conf"] for other in others)
        assert way not in found["etc/systemd/network/20-scenario.network.d/pods.conf"]
        assert found["etc/kubernetes/ca.crt"] == "of the cluster"
        assert found["etc/default/kubelet"] == f"ADDRESS={nodes[name]}\n"


def test_the_sandboxes_image_is_the_one_that_nodes_bring() -> None:
    (name,) = re.findall(r"oci-archive:\$1:(\S+)\"", (ROOT / "molecule/cluster/busybox").read_text())
    assert f'sandbox_image = "{name}"' in (ROOT / "molecule/cluster/root/etc/containerd/config.toml").read_text()

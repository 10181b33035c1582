# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of the Molecule scenarios, as far as that can be told without starting one."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rootless.buildah.molecule.machines import vm
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT, files, load

SCENARIOS = sorted(Path(name).parent.name for name in files("molecule/*/molecule.yml"))
MACHINE = vm.Machine("one", "10.76.9.1", "trial")
KEY = "ssh-ed25519 AAAA machines\n"


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
    call = " ".join(vm.qemu(MACHINE, image, vm.EMULATION, 2222))
    assert wanted in call
    assert f"file={image.disk},format={'raw' if image.kernel else 'qcow2'},if=virtio,snapshot=on" in call
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in call


def test_a_release_without_a_recipe_is_told(tmp_path: Path) -> None:
    done = subprocess.run([str(ROOT / "molecule/machines/image"), "99", str(tmp_path)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("There is no recipe for Debian 99;")
    assert not list(tmp_path.iterdir())


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


def test_ports_of_a_machine_are_forwarded_from_addresses_of_their_own() -> None:
    machine = vm.Machine("one", "10.76.9.1", "trial", forwards=("10.76.9.1:10250:10250", "10.76.9.1:80:8080"))
    call = " ".join(vm.qemu(machine, vm.Image(Path("/cloud.qcow2")), vm.EMULATION, 2222))
    assert "hostfwd=tcp:10.76.9.1:10250-:10250,hostfwd=tcp:10.76.9.1:80-:8080 " in call
    assert machine.reached_at == ["10.76.9.1"]
    assert MACHINE.reached_at == []


def test_nothing_is_put_into_a_cloud_image() -> None:
    with pytest.raises(vm.Problem, match=r"Nothing can be put into the image /cloud\.qcow2: crun"):
        vm.image("/cloud.qcow2", ["crun"])

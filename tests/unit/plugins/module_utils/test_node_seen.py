# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role's script prints, read."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._node_seen import (
    crio_plan,
    default_handler,
    handlers,
    node_facts,
    node_files,
    ranges,
    read_node,
)
from ansible_collections.rootless.buildah.plugins.module_utils._subid import IdRange

ROOT = Path(__file__).parents[4]
SCRIPT = ROOT / "roles/cluster_node/files/observe.sh"
DUMP = (ROOT / "tests/fixtures/containerd-2.1.9/version-2-into-2.toml").read_text(encoding="utf-8")
CRIO = '[crio.runtime]\n  default_runtime = "crun"\n[crio.runtime.runtimes.crun]\n[crio.runtime.runtimes.runc]\n'
PROFILES = "docker-default (enforce)\nrootless-build (enforce)\n"
UNITS = ("containerd.service loaded active running containerd container runtime\n"
         "crio.service not-found inactive dead crio.service\nkubelet.service loaded activating auto-restart kubelet\n")
TEXTS = {
    "kernel": "7.2.12+deb14-amd64\n", "machine": "x86_64\n", "max_user_namespaces": "15000\n", "units": UNITS,
    "getsubids": "/usr/bin/getsubids\n", "subuid": "0: kubelet 2147483648 7208960\n",
    "subgid": "0: kubelet 2147483648 7208960\n", "seccomp_source": "{}", "seccomp_profile": "{}",
    "apparmor_enabled": "Y\n",
    "apparmor_profiles": PROFILES, "apparmor_parser": "/usr/sbin/apparmor_parser\n", "apparmor_service": "enabled\n",
    "apparmor_rules": "abi/3.0\nabi/4.0\nabstractions/base\n", "apparmor_users": "", "selinux_enforce": "",
    "containerd_version": "containerd github.com/containerd/containerd/v2 2.1.9+unknown\n", "containerd_main": "yes\n",
    "containerd_config": "version = 2\n", "containerd_own": "", "containerd_dump": DUMP, "crio_version": "",
    "crio_config": "", "crun_version": "crun version 1.28\ncommit: 1\n", "crun_path": "/usr/bin/crun\n",
    "runc_version": "runc version 1.3.6+ds1\n", "kubelet_version": "Kubernetes v1.36.3\n",
    "kubelet_arguments": "--config=/k.yaml\n--v=2",
}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def printed(**changes: str) -> str:
    lines = [f"{name} {encoded(text)}" for name, text in {**TEXTS, **changes}.items()]
    more = [("kubelet_path", "/k.yaml"), ("kubelet_content", "maxPods: 50\n"), ("mapping", "{}")]
    return "\n".join([*lines, *(f"{name} {encoded(text)}" for name, text in more)]) + "\n"


def seen(**changes: str) -> dict[str, Any]:
    return read_node(printed(**changes))


def test_a_node_is_read() -> None:
    node = seen()
    assert (node["kernel"], node["machine"], node["max_user_namespaces"]) == ("7.2.12+deb14-amd64", "x86_64", 15000)
    assert (node["security"], node["engine"]) == ("apparmor", "containerd")
    assert node["apparmor"] == {"parser": True, "loaded": True, "at_boot": True, "abi": "4.0", "tunables": False,
                                "base": True, "used": False}
    assert node["units"] == {"containerd.service": "active", "kubelet.service": "activating"}
    assert node["kubelet"]["arguments"] == ["--config=/k.yaml", "--v=2"]
    assert node["kubelet"]["files"] == [{"path": "/k.yaml", "content": "maxPods: 50\n"}]
    assert node["mappings"] == ["{}"]
    assert node["containerd"]["main"] == "version = 2\n"
    assert seen(containerd_main="", containerd_config="")["containerd"]["main"] is None


@pytest.mark.parametrize("changes, module", [
    ({"apparmor_enabled": "N\n"}, "none"), ({"apparmor_enabled": ""}, "none"),
    ({"apparmor_enabled": "", "selinux_enforce": "0"}, "selinux"), ({}, "apparmor"),
])
def test_which_security_module_there_is(changes: dict[str, str], module: str) -> None:
    assert seen(**changes)["security"] == module


@pytest.mark.parametrize("profiles, loaded", [
    (PROFILES, True), ("rootless-builder (enforce)\n", False), ("", False), ("a//rootless-build (enforce)\n", False)])
def test_a_profile_is_loaded_under_its_very_name(profiles: str, loaded: bool) -> None:
    assert seen(apparmor_profiles=profiles)["apparmor"]["loaded"] is loaded


@pytest.mark.parametrize("changes, engine", [
    ({}, "containerd"),
    ({"units": "crio.service loaded active running CRI-O\n"}, "crio"),
    ({"units": "", "containerd_version": "", "crio_version": "crio version 1.33.1"}, "crio"),
    ({"units": "", "containerd_version": ""}, ""),
])
def test_the_engine_is_the_one_that_runs(changes: dict[str, str], engine: str) -> None:
    assert seen(**changes)["engine"] == engine


def test_an_engine_can_be_named() -> None:
    assert read_node(printed(), "crio")["engine"] == "crio"


def test_handlers_are_those_of_the_engine() -> None:
    assert (handlers(seen()), default_handler(seen())) == (["crun", "runc"], "runc")
    other = read_node(printed(crio_config=CRIO), "crio")
    assert (handlers(other), default_handler(other)) == (["crun", "runc"], "crun")


def test_what_labels_depend_on() -> None:
    facts = node_facts(seen(), 110, 65536, True)
    assert (facts.kernel, facts.kubernetes, facts.engine_version) == ((7, 2, 12), (1, 36, 3), (2, 1, 9))
    assert (facts.crun, facts.runc, facts.ids) == ((1, 28), (1, 3, 6), "")
    assert facts.apparmor_loaded and facts.seccomp and facts.getsubids
    assert node_facts(seen(), 250, 65536, True).ids == "2147483648:7208960 holds 110 pods and 250 are wanted"
    assert node_facts(seen(subuid="", subgid=""), 110, 65536, True).ids == "there are 0 ranges instead of one"
    assert node_facts(seen(containerd_dump=""), 110, 65536, True).crun == ()
    assert node_facts(seen(units="", containerd_version=""), 110, 65536, True).engine_version == ()


def test_ranges_are_what_getsubids_prints() -> None:
    assert ranges("0: kubelet 100000 65536\n1: kubelet 200000 5\nError fetching ranges\n") == [
        IdRange(100000, 65536), IdRange(200000, 5)]


def test_files_are_sorted_by_who_reads_them() -> None:
    drop_in, line = "/etc/k.d/90-rootless-buildah.conf", "/srv/50-rootless-buildah.toml"
    main, certificate = "/etc/containerd/config.toml", "/etc/containerd/certs.d/r/ca.crt"
    assert node_files([drop_in, line, main, certificate, "/etc/other"]) == {
        "engine": [line, main], "kubelet": [drop_in], "registries": [certificate], "import_path": line}
    assert node_files([])["import_path"] == "/etc/containerd/conf.d/50-rootless-buildah.toml"


def test_crio_gets_a_drop_in() -> None:
    plan = crio_plan("/usr/bin/crun", "crun")
    assert plan.path == "/etc/crio/crio.conf.d/50-rootless-buildah.conf"
    assert '[crio.runtime.runtimes.crun]\nruntime_path = "/usr/bin/crun"' in plan.drop_in
    assert 'default_runtime = "crun"' in plan.drop_in
    assert crio_plan("", "").drop_in == ""


def test_garbage_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"observe\.sh printed"):
        read_node("kernel not-base64!\n")


def test_the_script_runs_anywhere_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "pods/one").mkdir(parents=True)
    (tmp_path / "pods/one/userns").write_text("{}")
    listed = tmp_path / "list.json"
    listed.write_text("a list")
    argv = ["sh", str(SCRIPT), str(tmp_path), str(listed), str(tmp_path / "none")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    node = read_node(done.stdout)
    assert node["seccomp_source"] == "a list"
    assert node["mappings"] == ["{}"]
    assert node["kernel"]
    assert node["machine"]

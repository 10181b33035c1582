# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's engine is told about registries."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._node_registries import (
    check_registry,
    containerd_files,
    crio_files,
    given_way,
    hosts_toml,
    registry_places,
)

SERVICE = {"host": "registry.builds.svc:5000", "server": "https://10.96.0.20:5000", "ca_cert": "PEM\n"}


def test_a_service_is_reached_at_its_address() -> None:
    assert hosts_toml(SERVICE) == (
        'server = "https://10.96.0.20:5000"\n\n[host."https://10.96.0.20:5000"]\n'
        '  capabilities = ["pull", "resolve"]\n  ca = "ca.crt"\n')


@pytest.mark.parametrize("entry, line", [
    ({"host": "r:5000"}, 'server = "https://r:5000"'),
    ({"host": "r:5000", "server": "http://10.0.0.1:5000/"}, 'server = "http://10.0.0.1:5000"'),
    ({"host": "r", "skip_verify": True}, "  skip_verify = true"),
    ({"host": "r", "server": "https://mirror/v2/r"}, "  override_path = true"),
])
def test_what_is_asked_for_is_written(entry: dict[str, Any], line: str) -> None:
    assert line in hosts_toml(entry).splitlines()


def test_nothing_else_is_written() -> None:
    text = hosts_toml({"host": "r:5000", "ca_cert": None, "skip_verify": False})
    assert "ca =" not in text
    assert "skip_verify" not in text
    assert "override_path" not in text


def test_each_registry_has_a_directory() -> None:
    files = containerd_files(SERVICE, "/etc/containerd/certs.d")
    assert [file["path"] for file in files] == [
        "/etc/containerd/certs.d/registry.builds.svc:5000/ca.crt",
        "/etc/containerd/certs.d/registry.builds.svc:5000/hosts.toml"]
    # A certificate knows no comments.
    assert files[0] == {"path": files[0]["path"], "content": "PEM\n", "comment": ""}


def test_crio_reads_what_podman_reads() -> None:
    files = {file["path"]: file["content"] for file in crio_files(SERVICE)}
    assert files["/etc/containers/certs.d/registry.builds.svc:5000/ca.crt"] == "PEM\n"
    assert files["/etc/containers/registries.conf.d/50-rootless-buildah-registry.builds.svc-5000.conf"] == (
        '[[registry]]\nprefix = "registry.builds.svc:5000"\nlocation = "10.96.0.20:5000"\n')
    assert crio_files({"host": "r"}) == []
    assert crio_files({"host": "r", "skip_verify": True})[0]["content"].endswith("insecure = true\n")


@pytest.mark.parametrize("entry", [
    {"host": "../../etc"}, {"host": "a/b"}, {"host": ""}, {"host": "a..b"}, {"host": "r:"}, {"host": "https://r"},
    {"host": "r", "server": "10.0.0.1:5000"}, {"host": "r", "server": "ftp://r"}, {"host": "r", "server": "https://"},
])
def test_what_is_no_registry_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        check_registry(entry)


@pytest.mark.parametrize("host", ["r", "localhost:5000", "10.0.2.2:5443", "[fd00::1]:5000", "a.b-c.example:1"])
def test_names_and_addresses_are_registries(host: str) -> None:
    check_registry({"host": host})


def test_engines_differ() -> None:
    assert registry_places([SERVICE], "containerd", "/c")[0]["files"] == containerd_files(SERVICE, "/c")
    assert registry_places([SERVICE], "crio", "")[0] == {"host": SERVICE["host"], "files": crio_files(SERVICE)}


def test_what_others_wrote_is_told() -> None:
    refused = {"difference": ["-a", "+b"], "diff": [{"before_header": "/c/hosts.toml"}], "failed": True}
    assert given_way([{"changed": True}, refused]) == [
        {"path": "/c/hosts.toml", "why": "somebody else wrote it", "would": "-a\n+b"}]

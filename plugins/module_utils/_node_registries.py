# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's container engine has to know about registries. Pure.

Sources: docs/hosts.md of containerd (certs.d), containers-certs.d(5) and containers-registries.conf(5) for CRI-O.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterable, Mapping
from urllib.parse import urlsplit

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

# A name or an address, with a port: what stands before the first slash of an image's name.
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")


def check_registry(entry: Mapping[str, Any]) -> None:
    """Refuse a registry that would be written to the wrong place or to no effect.

    :raises InputError: its host is no host, or its server no address.
    """
    host, server = str(entry["host"]), server_of(entry)
    if not _HOST.fullmatch(host) or ".." in host:
        raise InputError(f"{host!r} is no registry", remedy="give what stands before the first slash of images' names")
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"{server!r} is no address of the registry {host}",
                         remedy="give it as https://ADDRESS:PORT, or http:// for one without TLS")


def server_of(entry: Mapping[str, Any]) -> str:
    """Return the address of a registry's server; the host of images' names unless another one is given.

    A Service name means something to pods only: the node's engine resolves names as the node does. There the server is
    the Service's cluster address or a node port.
    """
    return str(entry.get("server") or f"https://{entry['host']}").rstrip("/")


def hosts_toml(entry: Mapping[str, Any]) -> str:
    """Return the file ``hosts.toml`` of a registry."""
    server = json.dumps(server_of(entry))
    lines = [f"server = {server}", "", f"[host.{server}]", '  capabilities = ["pull", "resolve"]']
    if entry.get("ca_cert"):
        # Read relative to the file itself.
        lines.append('  ca = "ca.crt"')
    if entry.get("skip_verify"):
        lines.append("  skip_verify = true")
    if urlsplit(server_of(entry)).path:
        # Everything after the host is taken as it is; otherwise /v2 would be put behind it.
        lines.append("  override_path = true")
    return "\n".join(lines) + "\n"


def containerd_files(entry: Mapping[str, Any], directory: str) -> list[dict[str, str]]:
    """Return the option ``files`` of the module managed_file for a registry.

    :param directory: containerd's config_path.
    """
    check_registry(entry)
    place = f"{directory}/{entry['host']}"
    files = [{"path": f"{place}/hosts.toml", "content": hosts_toml(entry)}]
    if entry.get("ca_cert"):
        files.insert(0, {"path": f"{place}/ca.crt", "content": str(entry["ca_cert"]), "comment": ""})
    return files


def crio_files(entry: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the same for CRI-O, which reads what podman and buildah read."""
    check_registry(entry)
    files = []
    if entry.get("ca_cert"):
        path = f"/etc/containers/certs.d/{entry['host']}/ca.crt"
        files.append({"path": path, "content": str(entry["ca_cert"]), "comment": ""})
    server = urlsplit(server_of(entry))
    insecure = server.scheme == "http" or bool(entry.get("skip_verify"))
    location = f"{server.netloc}{server.path}"
    if insecure or location != entry["host"]:
        name = re.sub(r"[^\w.-]", "-", str(entry["host"]))
        text = [f"[[registry]]\nprefix = {json.dumps(entry['host'])}\nlocation = {json.dumps(location)}"]
        text += ["insecure = true"] if insecure else []
        files.append({"path": f"/etc/containers/registries.conf.d/50-rootless-buildah-{name}.conf",
                      "content": "\n".join(text) + "\n"})
    return files


def given_way(results: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return what was not written because somebody else had: path, why, would.

    :param results: those of a loop over M(managed_file), of which some may have been refused.
    """
    return [
        {"path": ", ".join(diff["before_header"] for diff in result["diff"]),
         "why": "somebody else wrote it", "would": "\n".join(result["difference"])}
        for result in results if result.get("difference") is not None
    ]


def registry_places(registries: Iterable[Mapping[str, Any]], engine: str, directory: str) -> list[dict[str, Any]]:
    """Return each registry's host with its files.

    :param engine: containerd or crio.
    """
    return [{"host": entry["host"],
             "files": crio_files(entry) if engine == "crio" else containerd_files(entry, directory)}
            for entry in registries]

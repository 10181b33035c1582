# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files by which containers tools know registries: registries.conf and the authfile. Pure.

Sources: containers-registries.conf(5), containers-auth.json(5).
"""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping

from ansible_collections.rootless.buildah.plugins.module_utils._auth import login_entry
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

Registry = Mapping[str, Any]
_LOCAL = ("local", "ansible.builtin.local")


def unite(*lists: Iterable[Registry]) -> list[dict[str, Any]]:
    """Return one list, each registry once; a later entry adds to and replaces the settings of an earlier one."""
    found: dict[str, dict[str, Any]] = {}
    for entries in lists:
        for entry in entries:
            settings = {key: value for key, value in entry.items() if value is not None}
            found.setdefault(str(entry["registry"]), {}).update(settings)
    return list(found.values())


def known(
    names: Iterable[str], variables: Mapping[str, Mapping[str, Any]], fact: str, builder: str
) -> list[dict[str, Any]]:
    """Return what a builder has to know about the registries of an inventory.

    :param names: the hosts that run a registry.
    :param variables: the variables of all hosts.
    :param fact: the variable in which a registry host tells about itself; a host without it has no registry (yet).
    :param builder: the host that builds.
    :raises InputError: for a registry that only its own host can reach.
    """
    found = []
    for name in names:
        told = variables.get(name, {}).get(fact)
        if told:
            if _is_loopback(told["address"]) and _machine(name, variables) != _machine(builder, variables):
                raise InputError(
                    f"the registry of {name} cannot be reached from {builder}",
                    f"its address is {told['address']}, which means {builder} itself there",
                    f"Set build_registry_listen: 0.0.0.0, build_registry_address: {name}:5000 and "
                    f"build_registry_tls: true for {name}",
                )
            authority = told["ca_cert"] or None
            found.append({"registry": told["address"], "insecure": bool(told["insecure"]), "ca_cert": authority})
    return unite(found)


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def _machine(host: str, variables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return by what a host of the inventory is reached; names of one machine have that in common."""
    told = variables.get(host, {})
    return "local" if told.get("ansible_connection") in _LOCAL else str(told.get("ansible_host", host))


def registries_conf(registries: Iterable[Registry]) -> str:
    """Return the drop-in for registries.conf.d: the registries that need more than the defaults."""
    parts = []
    for entry in registries:
        if entry.get("insecure"):
            # A JSON string is a TOML basic string.
            parts.append(f"[[registry]]\nlocation = {json.dumps(entry['registry'])}\ninsecure = true\n")
    return "\n".join(parts)


def registry_files(registries: Iterable[Registry]) -> dict[str, str]:
    """Return what has to be below ``~/.config`` for the registries: contents by path, empty where nothing is needed."""
    entries = list(registries)
    authorities = {
        f"containers/certs.d/{entry['registry']}/ca.crt": str(entry["ca_cert"])
        for entry in entries if entry.get("ca_cert")
    }
    return {"containers/registries.conf.d/50-rootless-buildah.conf": registries_conf(entries), **authorities}


def auth_json(registries: Iterable[Registry]) -> str:
    """Return the authfile for the registries that have a user name; an empty string when there is none."""
    logins = {}
    for entry in registries:
        if entry.get("username"):
            logins[str(entry["registry"])] = login_entry(str(entry["username"]), str(entry.get("password") or ""))
    return json.dumps({"auths": logins}, indent=2, sort_keys=True) + "\n" if logins else ""

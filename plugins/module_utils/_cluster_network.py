# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods of builds may reach: a NetworkPolicy (networking.k8s.io/v1). Pure.

Where no network plugin of the cluster enforces policies the object is there and does nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

Registry = Mapping[str, Any]
_HTTPS = 443


def network_policy_spec(
    registries: Sequence[Registry], dns: Sequence[Mapping[str, Any]], egress: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the spec for all pods of a namespace: nothing comes in, and out go names, registries and what is declared.

    :param registries: each with ``registry`` (host and port), and where its host is a name, ``cidrs`` or ``peers``.
    :param dns: peers that answer for names; empty for none.
    :param egress: further rules (NetworkPolicyEgressRule).
    :raises InputError: for a registry whose addresses nobody named.
    """
    rules: list[dict[str, Any]] = []
    if dns:
        ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
        rules.append({"to": [dict(peer) for peer in dns], "ports": ports})
    rules += [_registry_rule(entry) for entry in registries]
    rules += [dict(rule) for rule in egress]
    spec: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if rules:
        spec["egress"] = rules
    return spec


def _registry_rule(entry: Registry) -> dict[str, Any]:
    host, port = _split(str(entry["registry"]))
    peers = [{"ipBlock": {"cidr": _block(text, str(entry["registry"]))}} for text in entry.get("cidrs") or []]
    peers += [dict(peer) for peer in entry.get("peers") or []]
    if not peers:
        address = _address(host)
        if address is None:
            raise InputError(
                f"{entry['registry']} cannot be allowed by a network policy",
                "policies know addresses and pods, and no names",
                "Give its cidrs, or peers where it runs in the cluster, in cluster_builder_registries",
            )
        peers = [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}]
    # The port of a pod, where a Service's is another (NetworkPolicy works behind it).
    return {"to": peers, "ports": [{"protocol": "TCP", "port": int(entry.get("port") or port)}]}


def _split(registry: str) -> tuple[str, int]:
    """Return host and port of a registry, as in an image's name."""
    host, colon, port = registry.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return host.strip("[]"), int(port)
    return registry.strip("[]"), _HTTPS


def _address(host: str) -> Optional[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _block(text: str, registry: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise InputError(
            f"{text!r} is no block of addresses for {registry}", str(error), "Write it like 192.0.2.0/24"
        ) from error

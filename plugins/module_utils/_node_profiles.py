# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which builds a node can run: its labels, each with its reasons. Pure.

Profiles: A is the root of a pod with a user namespace (hostUsers: false) and both node profiles, B an ordinary user
with both. C is an ordinary user in a pod like that of A, and needs of the node what A needs. Floors: Kubernetes'
documentation of user namespaces for pods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Labels of nodes, with the letter of a profile behind.
NODE_LABEL = "rootless.buildah/profile-"
FLOORS: dict[str, tuple[int, ...]] = {
    "kernel": (6, 3), "kubernetes": (1, 33), "containerd": (2, 0), "crio": (1, 25), "crun": (1, 9), "runc": (1, 2),
}


@dataclass(frozen=True)
class NodeFacts:
    """What was seen of a node once it was prepared. Versions are empty where the program is missing.

    :param kernel: the running kernel.
    :param kubernetes: the kubelet.
    :param engine: containerd or crio; empty where neither is there.
    :param engine_version: its version.
    :param crun: crun, where the engine offers a handler for it.
    :param runc: runc.
    :param max_user_namespaces: user.max_user_namespaces.
    :param ids: why a kubelet would not start with the ids of its user; empty when they are right.
    :param getsubids: whether it is in the PATH.
    :param seccomp: whether the seccomp profile is there and is ours.
    :param security: apparmor, selinux or none.
    :param apparmor_loaded: whether the AppArmor profile is loaded.
    """

    kernel: tuple[int, ...] = ()
    kubernetes: tuple[int, ...] = ()
    engine: str = ""
    engine_version: tuple[int, ...] = ()
    crun: tuple[int, ...] = ()
    runc: tuple[int, ...] = ()
    max_user_namespaces: int = 0
    ids: str = ""
    getsubids: bool = False
    seccomp: bool = False
    security: str = "none"
    apparmor_loaded: bool = False


def _older(name: str, version: tuple[int, ...]) -> str:
    floor = FLOORS[name]
    if not version:
        return f"{name} was not found"
    if version[:2] < floor:
        return f"{name} is {'.'.join(map(str, version))} and {'.'.join(map(str, floor))} is needed"
    return ""


def against_b(node: NodeFacts) -> list[str]:
    """Return what stands in the way of builds as an ordinary user with both node profiles."""
    reasons = []
    if not node.engine:
        reasons.append("there is neither containerd nor CRI-O")
    if not node.seccomp:
        reasons.append("the seccomp profile is missing")
    if node.security == "apparmor" and not node.apparmor_loaded:
        reasons.append("the AppArmor profile is not loaded")
    if node.max_user_namespaces <= 0:
        reasons.append("user.max_user_namespaces is 0")
    return reasons


def against_a(node: NodeFacts) -> list[str]:
    """Return what stands in the way of builds in pods with a user namespace."""
    reasons = against_b(node)
    reasons += [_older("kernel", node.kernel), _older("kubernetes", node.kubernetes)]
    if node.engine:
        reasons.append(_older(node.engine, node.engine_version))
    runtimes = [_older(name, version) for name, version in (("crun", node.crun), ("runc", node.runc))]
    if all(runtimes):
        reasons.append(" and ".join(runtimes))
    if node.ids:
        reasons.append(f"the ids of the user kubelet: {node.ids}")
    if not node.getsubids:
        reasons.append("getsubids is not in the PATH")
    return [reason for reason in reasons if reason]


def profiles(node: NodeFacts) -> dict[str, dict[str, Any]]:
    """Return for a, b and c whether the node can run it and, if not, why."""
    against = {"a": against_a(node), "b": against_b(node), "c": against_a(node)}
    return {name: {"able": not reasons, "reasons": reasons} for name, reasons in against.items()}


def labels(able: dict[str, dict[str, Any]]) -> dict[str, str | None]:
    """Return the node's labels; None takes one away."""
    return {f"{NODE_LABEL}{name}": "true" if found.get("able") else None for name, found in sorted(able.items())}

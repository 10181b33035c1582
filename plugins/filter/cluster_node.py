# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role cluster_node as filters, each documented in the YAML file of its name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Callable, Mapping, Sequence

import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.rootless.buildah.plugins.filter.hosts import explained
from ansible_collections.rootless.buildah.plugins.module_utils import _node_seen as node
from ansible_collections.rootless.buildah.plugins.module_utils._containerd import Engine, Wishes, engine_plan
from ansible_collections.rootless.buildah.plugins.module_utils._kubelet import Kubelet, kubelet_plan, stranded
from ansible_collections.rootless.buildah.plugins.module_utils._node_profiles import labels, profiles
from ansible_collections.rootless.buildah.plugins.module_utils._node_registries import given_way, registry_places
from ansible_collections.rootless.buildah.plugins.module_utils._seccomp import build_profile


def of_engine(seen: Mapping[str, Any], crun: bool, default_runtime: str, cgroup_driver: str,
              registries: bool) -> dict[str, Any]:
    """Return what makes the node's engine offer crun and know registries, as a dictionary."""
    # In check mode on a bare node crun is yet to be installed.
    path = (seen["crun"]["path"] or "/usr/bin/crun") if crun else ""
    if seen["engine"] == "crio":
        offered = "crun" in node.handlers(seen)
        return asdict(node.crio_plan("" if offered and not default_runtime else path, default_runtime))
    if seen["engine"] != "containerd":
        return {**asdict(engine_plan(Engine("", "", "", ""), Wishes()))}
    systemd = {"systemd": True, "cgroupfs": False}.get(cgroup_driver)
    return asdict(engine_plan(Engine(**seen["containerd"]), Wishes(path, default_runtime, systemd, registries)))


def of_kubelet(seen: Mapping[str, Any], pids_limit: int, max_pods: int = 0) -> dict[str, Any]:
    """Return what its configuration means and what to write, as a dictionary."""
    files = []
    for file in seen["kubelet"]["files"]:
        try:
            content = yaml.safe_load(file["content"]) or {}
        except yaml.YAMLError as error:
            raise AnsibleFilterError(f"{file['path']} is not the configuration of a kubelet: {error}") from error
        files.append((file["path"], content if isinstance(content, dict) else {}))
    return asdict(kubelet_plan(Kubelet(seen["kubelet"]["arguments"], files), int(pids_limit), int(max_pods)))


def stranded_pods(mappings: Sequence[str], ranges: Sequence[Mapping[str, int]], ids_per_pod: int) -> list[int]:
    """Return the first ids of running pods that none of the ranges holds whole."""
    outside = [set(stranded(mappings, item["start"], item["count"], ids_per_pod)) for item in ranges]
    return sorted(set.intersection(*outside)) if outside else []


class FilterModule:
    """Names and functions."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        functions: dict[str, Callable[..., Any]] = {
            "engine_plan": of_engine,
            "files_given_way": given_way,
            "kubelet_plan": of_kubelet,
            "node_files": node.node_files,
            "node_labels": labels,
            "node_profiles": lambda seen, max_pods, ids_per_pod, seccomp: profiles(
                node.node_facts(seen, int(max_pods), int(ids_per_pod), bool(seccomp))),
            "node_runtime": lambda seen: {"handlers": node.handlers(seen), "default": node.default_handler(seen)},
            "node_seen": node.read_node,
            "registry_places": registry_places,
            "seccomp_profile": build_profile,
            "stranded_pods": stranded_pods,
        }
        return {name: explained(name, function) for name, function in functions.items()}

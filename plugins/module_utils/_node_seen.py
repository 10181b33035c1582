# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role cluster_node's observe.sh prints, as values that decisions can use. Pure."""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import Any, Iterable, Mapping

from ansible_collections.rootless.buildah.plugins.module_utils._containerd import (
    DROP_INS,
    MAIN,
    NAME,
    EnginePlan,
    default_runtime,
    runtimes,
    tables,
    version_of,
)
from ansible_collections.rootless.buildah.plugins.module_utils._kubelet import DROP_IN
from ansible_collections.rootless.buildah.plugins.module_utils._node_profiles import NodeFacts
from ansible_collections.rootless.buildah.plugins.module_utils._subid import IdRange, misaligned

PROFILE = "rootless-build"
_RANGE = re.compile(r"\d+: \S+ (\d+) (\d+)")
_SERVICES = {"containerd": "containerd.service", "crio": "crio.service"}


def read_node(printed: str, engine: str = "auto") -> dict[str, Any]:
    """Return what was seen of a node.

    :param printed: what observe.sh printed.
    :param engine: containerd, crio or auto: the one whose service is there, containerd where both are.
    :raises ValueError: it is not that.
    """
    texts: dict[str, str] = {}
    mappings: list[str] = []
    files: list[dict[str, str]] = []
    for line in printed.splitlines():
        name, _space, encoded = line.partition(" ")
        try:
            text = base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
        except binascii.Error as error:
            raise ValueError(f"observe.sh printed {line[:80]!r}: {error}") from error
        if name == "mapping":
            mappings.append(text)
        elif name == "kubelet_path":
            files.append({"path": text, "content": ""})
        elif name == "kubelet_content":
            files[-1]["content"] = text
        else:
            texts[name] = text
    bare = {name: text.strip() for name, text in texts.items()}
    rules = bare["apparmor_rules"].split()
    enabled = bare["apparmor_enabled"].startswith("Y")
    units = {line.split()[0]: line.split()[2] for line in bare["units"].splitlines() if len(line.split()) > 3
             and line.split()[1] != "not-found"}
    return {
        "kernel": bare["kernel"],
        "machine": bare["machine"],
        "max_user_namespaces": int(bare["max_user_namespaces"] or 0),
        "getsubids": bool(bare["getsubids"]),
        "subuid": texts["subuid"],
        "subgid": texts["subgid"],
        "seccomp_source": texts["seccomp_source"],
        "seccomp_profile": texts["seccomp_profile"],
        "security": "apparmor" if enabled else "selinux" if bare["selinux_enforce"] else "none",
        "apparmor": {
            "parser": bool(bare["apparmor_parser"]),
            "loaded": any(line.split()[:1] == [PROFILE] for line in texts["apparmor_profiles"].splitlines()),
            "at_boot": bare["apparmor_service"] == "enabled",
            "abi": next((name for name in ("4.0", "3.0") if f"abi/{name}" in rules), ""),
            "tunables": "tunables/global" in rules,
            "base": "abstractions/base" in rules,
            "used": bool(bare["apparmor_users"]),
        },
        "engine": _engine(engine, bare, units),
        "units": units,
        "containerd": {
            "version": bare["containerd_version"],
            "main": texts["containerd_config"] if bare["containerd_main"] else None,
            "own": texts["containerd_own"],
            "dump": texts["containerd_dump"],
        },
        "crio": {"version": bare["crio_version"], "config": texts["crio_config"]},
        "crun": {"version": bare["crun_version"].partition("\n")[0], "path": bare["crun_path"]},
        "runc": bare["runc_version"].partition("\n")[0],
        "kubelet": {
            "version": bare["kubelet_version"],
            "arguments": texts["kubelet_arguments"].split("\n") if texts["kubelet_arguments"] else [],
            "files": files,
        },
        "mappings": mappings,
    }


def _engine(wanted: str, bare: Mapping[str, str], units: Mapping[str, str]) -> str:
    if wanted != "auto":
        return wanted
    for name, unit in _SERVICES.items():
        if unit in units:
            return name
    return next((name for name in _SERVICES if bare[f"{name}_version"]), "")


def node_files(paths: Iterable[str]) -> dict[str, Any]:
    """Sort the files that the role keeps by what has to hear of a change.

    :return: engine, kubelet and registries, lists, and import_path: where the import for containerd is or will be.
    """
    found: dict[str, Any] = {"engine": [], "kubelet": [], "registries": [], "import_path": ""}
    for path in paths:
        name = os.path.basename(path)
        if "/certs.d/" in path or "/registries.conf.d/" in path:
            found["registries"].append(path)
        elif name == DROP_IN:
            found["kubelet"].append(path)
        elif name == NAME or path == MAIN or path.startswith("/etc/crio/"):
            found["engine"].append(path)
        if name == NAME:
            found["import_path"] = path
    return {**found, "import_path": found["import_path"] or f"{DROP_INS}/{NAME}"}


def ranges(printed: str) -> list[IdRange]:
    """Return what getsubids printed."""
    found = (_RANGE.fullmatch(line.strip()) for line in printed.splitlines())
    return [IdRange(int(match[1]), int(match[2])) for match in found if match]


def node_facts(seen: Mapping[str, Any], max_pods: int, ids_per_pod: int, seccomp: bool) -> NodeFacts:
    """Return what the labels depend on.

    :param seen: what :func:`read_node` returned.
    :param max_pods: how many pods the kubelet takes.
    :param ids_per_pod: how many ids each gets.
    :param seccomp: whether the seccomp profile is the one that this collection writes.
    """
    engine = seen["engine"]
    offered = handlers(seen)
    return NodeFacts(
        kernel=version_of(seen["kernel"]),
        kubernetes=version_of(seen["kubelet"]["version"]),
        engine=engine,
        engine_version=version_of(seen[engine]["version"]) if engine else (),
        crun=version_of(seen["crun"]["version"]) if "crun" in offered else (),
        runc=version_of(seen["runc"]) if "runc" in offered else (),
        max_user_namespaces=seen["max_user_namespaces"],
        ids=misaligned(ranges(seen["subuid"]), ranges(seen["subgid"]), max_pods * ids_per_pod, ids_per_pod),
        getsubids=seen["getsubids"],
        seccomp=seccomp,
        security=seen["security"],
        apparmor_loaded=seen["apparmor"]["loaded"],
    )


def handlers(seen: Mapping[str, Any]) -> list[str]:
    """Return the runtime handlers that the engine offers."""
    if seen["engine"] == "crio":
        offered = re.findall(r"^\s*\[crio\.runtime\.runtimes\.([\w-]+)\]", seen["crio"]["config"], re.MULTILINE)
        return sorted(set(offered))
    return sorted(runtimes(tables(seen["containerd"]["dump"])))


def default_handler(seen: Mapping[str, Any]) -> str:
    """Return the handler of pods that name none."""
    if seen["engine"] == "crio":
        found = re.search(r'^\s*default_runtime\s*=\s*"([^"]+)"', seen["crio"]["config"], re.MULTILINE)
        return found[1] if found else ""
    return default_runtime(tables(seen["containerd"]["dump"]))


def crio_plan(crun: str, default: str) -> EnginePlan:
    """Return the drop-in for CRI-O; crio.conf.d(5)."""
    parts = []
    if default:
        parts.append(f'[crio.runtime]\ndefault_runtime = "{default}"\n')
    if crun:
        parts.append(f'[crio.runtime.runtimes.crun]\nruntime_path = "{crun}"\nruntime_type = "oci"\n'
                     'runtime_root = "/run/crun"\n')
    return EnginePlan(drop_in="\n".join(parts), path="/etc/crio/crio.conf.d/50-rootless-buildah.conf", certs_d="")

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubelet's configuration means for builds in pods, and what may be written to it. Pure.

Source: pkg/kubelet and cmd/kubelet/app of Kubernetes 1.36. The kubelet merges its file (``--config``) with every
``*.conf`` below its directory (``--config-dir``, since 1.30), in the order of their names; later ones win.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

MAX_PODS = 110
IDS_PER_POD = 65536
DROP_IN = "90-rootless-buildah.conf"
# The directory that the kubelet's own documentation proposes.
USUAL_DIRECTORY = "/etc/kubernetes/kubelet.conf.d"


@dataclass(frozen=True)
class Kubelet:
    """What was seen of a kubelet.

    :param arguments: its command line without its own name; empty where none runs.
    :param files: its configuration, in the order in which the kubelet reads it: path and what the file holds.
    """

    arguments: Sequence[str] = ()
    files: Sequence[tuple[str, Mapping[str, Any]]] = ()


@dataclass(frozen=True)
class KubeletPlan:
    """What is true of it and what has to be written.

    :param max_pods: how many pods it takes.
    :param ids_per_pod: how many ids a pod with a user namespace gets.
    :param pids_limit: how many processes a pod may have at present; -1 for no limit.
    :param healthz: the port on which it says that it is well; 0 where it does not.
    :param path: the drop-in; empty where nothing can be written.
    :param content: what it shall hold; empty when it shall not be there.
    :param gives_way: what is not written because the file is somebody else's: path, why, would.
    """

    max_pods: int = MAX_PODS
    ids_per_pod: int = IDS_PER_POD
    pids_limit: int = -1
    healthz: int = 10248
    path: str = ""
    content: str = ""
    gives_way: list[dict[str, str]] = field(default_factory=list)


def argument(arguments: Sequence[str], name: str) -> str:
    """Return the value of a command-line option, given as ``--name=value`` or as two words; the last one counts."""
    value = ""
    for place, word in enumerate(arguments):
        bare = word.lstrip("-") if word.startswith("-") else ""
        if bare == name and place + 1 < len(arguments):
            value = arguments[place + 1]
        elif bare.startswith(f"{name}="):
            value = bare.split("=", 1)[1]
    return value


def kubelet_plan(seen: Kubelet, pids_limit: int, max_pods: int = 0) -> KubeletPlan:
    """Decide what to write so that no pod has more processes than wanted.

    :param pids_limit: the most that a pod shall have; 0 leaves the kubelet's own setting alone.
    :param max_pods: what to reckon with where the configuration does not say it; 0 is the kubelet's default.
    """
    directory = argument(seen.arguments, "config-dir")
    own = os.path.join(directory, DROP_IN) if directory else ""
    others = [(path, content) for path, content in seen.files if path != own]
    pods = argument(seen.arguments, "max-pods") or _last(others, "maxPods") or max_pods or MAX_PODS
    namespaces = _last(others, "userNamespaces") or {}
    theirs = int(argument(seen.arguments, "pod-max-pids") or _last(others, "podPidsLimit") or -1)
    plan: dict[str, Any] = {
        "max_pods": int(pods), "ids_per_pod": int(namespaces.get("idsPerPod") or IDS_PER_POD),
        "pids_limit": int(_last(seen.files, "podPidsLimit") or theirs), "path": own,
        "healthz": int(_healthz(others)),
    }
    if not pids_limit or 0 < theirs <= pids_limit:
        return KubeletPlan(**plan)
    later = [path for path, content in others if "podPidsLimit" in content
             and os.path.dirname(path) == directory and os.path.basename(path) > DROP_IN]
    config = argument(seen.arguments, "config")
    why = ""
    place = own
    if argument(seen.arguments, "pod-max-pids"):
        place, why = "the kubelet's command line", "its option --pod-max-pids wins against every file"
    elif later:
        place, why = later[-1], "it is read after ours and has another limit"
    elif not directory:
        place = config or os.path.join(USUAL_DIRECTORY, DROP_IN)
        why = ("the kubelet reads no directory of drop-ins, and its file belongs to what installed it; start it with "
               f"--config-dir={USUAL_DIRECTORY}" if seen.arguments else
               f"no kubelet runs; start it with --config-dir={USUAL_DIRECTORY} and run the role again")
    if why:
        return KubeletPlan(**plan, gives_way=[
            {"path": place, "why": why, "would": f"podPidsLimit: {pids_limit}"}])
    return KubeletPlan(**plan, content=drop_in(pids_limit))


def _healthz(files: Sequence[tuple[str, Mapping[str, Any]]]) -> Any:
    port = _last(files, "healthzPort")
    return KubeletPlan.healthz if port is None else port


def drop_in(pids_limit: int) -> str:
    """Return the drop-in."""
    return ("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
            f"podPidsLimit: {pids_limit}\n")


def _last(files: Sequence[tuple[str, Mapping[str, Any]]], name: str) -> Any:
    values = [content[name] for _path, content in files if content.get(name) is not None]
    return values[-1] if values else None


def stranded(mappings: Sequence[str], start: int, count: int, ids_per_pod: int) -> list[int]:
    """Return the first ids of running pods that lie outside of a range: the kubelet would not start again.

    Source: recordPodMappings() of the kubelet's user namespace manager, which ends the kubelet for any such pod.

    :param mappings: the files ``pods/*/userns`` below the kubelet's directory.
    """
    found = []
    for text in mappings:
        for mapping in json.loads(text).get("uidMappings", []) if text.strip() else []:
            first = int(mapping["hostId"])
            whole = start <= first and first + ids_per_pod <= start + count
            if not whole or int(mapping["length"]) != ids_per_pod:
                found.append(first)
    return sorted(found)

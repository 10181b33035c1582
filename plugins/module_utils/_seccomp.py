# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seccomp profile for builds in pods, made of the list that the distribution maintains. Pure.

The distribution's list (seccomp.json of containers-common) has conditions: by architecture, capability and kernel. A
container engine like podman evaluates them for each container. containerd and CRI-O hand a Localhost profile to the
runtime as it is, in the form of the OCI runtime specification, which knows no conditions: they are decided here.

Capabilities are decided as for a process that has none. What a build needs beyond that it may call in a user namespace
of its own, where the kernel decides what the call may do; each such call is named below with its reason.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterable, Mapping

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
EPERM = 1

#: What builds call, and what for. Allowed whatever the distribution's list says.
NEEDED: dict[str, str] = {
    "chroot": "chroot isolation enters the root of a RUN step",
    "clone": "makes namespaces together with a process",
    "clone3": "as clone; its flags are in memory that a filter cannot read",
    "fsconfig": "mounts by the new interface: newer libraries and crun",
    "fsmount": "mounts by the new interface",
    "fsopen": "mounts by the new interface",
    "fspick": "mounts by the new interface: remounting",
    "mknod": "whiteouts of the native overlay are devices 0:0, which a user namespace may make",
    "mknodat": "as mknod",
    "mount": "overlay of layers, bind mounts of RUN steps, /proc",
    "mount_setattr": "read-only and idmapped mounts",
    "move_mount": "mounts by the new interface",
    "open_tree": "bind mounts by the new interface",
    "pivot_root": "an OCI runtime enters the root of a RUN step",
    "setdomainname": "in a UTS namespace of its own",
    "sethostname": "in a UTS namespace of its own, for RUN steps",
    "setns": "joins namespaces of the same build: network and mounts",
    "umount": "takes the mounts of a RUN step away",
    "umount2": "takes the mounts of a RUN step away",
    "unshare": "makes the user, mount and network namespace of a build",
}
#: What no build needs and what has been a way out of containers. Refused whatever the distribution's list says.
REFUSED: dict[str, str] = {
    "add_key": "kernel keyrings are not divided between containers",
    "bpf": "programs for the kernel",
    "io_uring_enter": "calls that the filter would not see",
    "io_uring_register": "calls that the filter would not see",
    "io_uring_setup": "calls that the filter would not see",
    "keyctl": "kernel keyrings are not divided between containers",
    "perf_event_open": "looks at what the whole node does",
    "request_key": "kernel keyrings are not divided between containers",
    "userfaultfd": "halts the kernel in the middle of a copy",
}

# uname(2) names machines otherwise than Go, whose names the list uses.
ARCHITECTURES = {
    "x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i386": "386", "i686": "386",
    "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64", "loongarch64": "loong64", "mips64": "mips64le",
}
# What libseccomp calls them.
TOKENS = {
    "amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64", "arm": "SCMP_ARCH_ARM", "386": "SCMP_ARCH_X86",
    "ppc64le": "SCMP_ARCH_PPC64LE", "s390x": "SCMP_ARCH_S390X", "riscv64": "SCMP_ARCH_RISCV64",
    "loong64": "SCMP_ARCH_LOONGARCH64", "mips64le": "SCMP_ARCH_MIPSEL64",
}


def build_profile(text: str, machine: str, release: str) -> str:
    """Return the profile as JSON, always the same for the same input.

    :param text: the distribution's seccomp.json.
    :param machine: the node's machine as ``uname -m`` prints it.
    :param release: the node's kernel as ``uname -r`` prints it.
    :raises InputError: the list or the machine is not one that is understood.
    """
    try:
        source = json.loads(text)
        architecture = ARCHITECTURES[machine]
        profile = _flatten(source, architecture, _numbers(release))
    except KeyError as error:
        if machine in ARCHITECTURES:
            raise _strange(f"it has no {error}") from error
        raise InputError(f"There is no seccomp profile for the machine {machine}",
                         cause=f"known are {', '.join(sorted(ARCHITECTURES))}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise _strange(str(error)) from error
    return json.dumps(profile, indent=2, sort_keys=True) + "\n"


def _strange(why: str) -> InputError:
    return InputError("The distribution's list of system calls is not understood", cause=why,
                      remedy="look at /usr/share/containers/seccomp.json, or name another file in "
                             "cluster_node_seccomp_source")


def _flatten(source: Mapping[str, Any], architecture: str, kernel: tuple[int, ...]) -> dict[str, Any]:
    rules = [rule for rule in source["syscalls"] if _applies(rule, architecture, kernel)]
    plain = [rule for rule in rules if not rule.get("args")]
    # One call with two answers depends on the version of libseccomp: refusals win, and then what builds need.
    refused = _by_errno(plain)
    decided = set(NEEDED) | set(REFUSED)
    allowed = {name for rule in plain if rule["action"] == ALLOW for name in rule["names"]}
    allowed = (allowed - {name for names in refused.values() for name in names} | set(NEEDED)) - set(REFUSED)
    entries: list[dict[str, Any]] = [{"action": ALLOW, "names": sorted(allowed)}]
    for errno, names in {**refused, EPERM: refused.get(EPERM, set()) | set(REFUSED)}.items():
        kept = names - set(NEEDED) - (set(REFUSED) if errno != EPERM else set())
        if kept:
            entries.append({"action": ERRNO, "errnoRet": errno, "names": sorted(kept)})
    entries += [_with_arguments(rule, decided) for rule in rules
                if rule.get("args") and set(rule["names"]) - decided - allowed]
    entries.sort(key=lambda entry: json.dumps(entry, sort_keys=True))
    return {
        "defaultAction": source["defaultAction"],
        **({"defaultErrnoRet": source["defaultErrnoRet"]} if "defaultErrnoRet" in source else {}),
        "architectures": _architectures(source.get("archMap") or [], architecture),
        "syscalls": entries,
    }


def _by_errno(rules: Iterable[Mapping[str, Any]]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for rule in rules:
        if rule["action"] == ERRNO:
            found.setdefault(int(rule.get("errnoRet") or EPERM), set()).update(rule["names"])
        elif rule["action"] != ALLOW:
            raise ValueError(f"it has the action {rule['action']}")
    return found


def _with_arguments(rule: Mapping[str, Any], decided: set[str]) -> dict[str, Any]:
    entry = {
        "action": rule["action"],
        "names": sorted(set(rule["names"]) - decided),
        "args": [{name: argument[name] for name in ("index", "value", "valueTwo", "op") if name in argument}
                 for argument in rule["args"]],
    }
    return {**entry, "errnoRet": rule["errnoRet"]} if rule.get("errnoRet") is not None else entry


def _applies(rule: Mapping[str, Any], architecture: str, kernel: tuple[int, ...]) -> bool:
    """Evaluate the conditions of a rule as containers/common does it, for a process without capabilities."""
    wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
    if set(wanted) | set(unwanted) > {"arches", "caps", "minKernel"}:
        raise ValueError(f"it has conditions by {', '.join(sorted({*wanted, *unwanted}))}")
    if wanted.get("arches") and architecture not in wanted["arches"]:
        return False
    if wanted.get("caps"):
        return False
    if wanted.get("minKernel") and kernel < _numbers(wanted["minKernel"]):
        return False
    if architecture in (unwanted.get("arches") or []):
        return False
    return not (unwanted.get("minKernel") and kernel >= _numbers(unwanted["minKernel"]))


def _architectures(known: Iterable[Mapping[str, Any]], architecture: str) -> list[str]:
    # A program may switch to a smaller variant of its machine; without a filter for that it would be killed.
    token = TOKENS[architecture]
    for entry in known:
        if entry["architecture"] == token:
            return [token, *(entry.get("subArchitectures") or [])]
    return [token]


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found:
        raise ValueError(f"{version} is no version of a kernel")
    return int(found[1]), int(found[2])

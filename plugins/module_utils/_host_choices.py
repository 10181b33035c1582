# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's observed abilities mean for its set-up: fuse or native overlay, OCI runtime or chroot. Pure."""

from __future__ import annotations

import re
from typing import Any, Mapping

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID, finding_for

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
# time.Duration of Go counts nanoseconds in 63 bits.
_LONGEST = (2**63 - 1) / 10**9


def overlays(facts: Mapping[str, Any]) -> list[str]:
    """Return the names of the variable files for a host, general before specific.

    What is newest stands in the general files: a release that has no number yet, as Debian's next one, is like that.

    :param facts: os_family, distribution and distribution_major_version, as ``ansible.builtin.setup`` returns them.
    """
    family, distribution = facts["os_family"], facts["distribution"]
    # Red Hat's clones share its numbers. Fedora counts otherwise, but it has been past them for long.
    names = [family, distribution, f"{distribution}-{facts['distribution_major_version']}"]
    if family == "RedHat":
        names.insert(1, f"{family}-{facts['distribution_major_version']}")
    return [f"{name}.yml" for name in dict.fromkeys(names)]


def explain(message: str) -> str:
    """Return why a trial failed in one line: cause and remedy from the catalogue, otherwise the last line printed."""
    finding = finding_for(message)
    return finding.sentence if finding else _last_line(message)


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "it failed without a message"


def explain_finding(name: str) -> str:
    """Return cause and remedy of a finding in one line.

    :raises KeyError: the catalogue does not have it.
    """
    return BY_ID[name].sentence


# A trial that ends with one of these says nothing about what it tried: errno(3) in the words of Go, C and the kernel.
_PASSING = re.compile(
    r"(?i)no space left on device|disk quota exceeded|resource temporarily unavailable|cannot allocate memory|"
    r"too many open files|signal: killed")


def _untried(what: str, trial: Mapping[str, Any], setting: str) -> str:
    """Return why a trial that failed decides nothing, in sentences; nothing where it does."""
    message = trial.get("stderr") or ""
    if message.strip() and not _PASSING.search(message):
        return ""
    finding = finding_for(message)
    cure = finding.remedy if finding else "see to that"
    return str(InputError(f"Whether {what} works could not be tried", cause=_last_line(message),
                          remedy=f"{cure}; then run this again, or set {setting}"))


def choose_isolation(requested: str, trial: dict[str, Any] | None) -> dict[str, str]:
    """Decide how RUN steps are isolated.

    :param requested: auto, oci or chroot; only auto lets the trial decide.
    :param trial: ``rc`` and ``stderr`` of a real RUN step under an OCI runtime; None when none could be made.
    :return: isolation (oci or chroot) and reason. Without a trial oci is assumed, as buildah itself would. problem when
        the trial failed for a reason that passes.
    """
    if requested != "auto":
        return {"isolation": requested, "reason": "asked for"}
    if not trial or trial.get("rc") is None:
        return {"isolation": "oci", "reason": "not tried yet"}
    if trial["rc"] == 0:
        return {"isolation": "oci", "reason": "a RUN step under the OCI runtime worked"}
    problem = _untried("a RUN step under an OCI runtime", trial, "builder_isolation")
    if problem:
        return {"isolation": "oci", "reason": "not tried yet", "problem": problem}
    cause = explain(trial.get("stderr") or "")
    return {"isolation": "chroot", "reason": f"a RUN step under the OCI runtime failed: {cause}"}


def choose_runtime(requested: str, trial: dict[str, Any] | None) -> dict[str, Any]:
    """Decide whether crun becomes the default runtime.

    :param requested: auto, always or never.
    :param trial: ``rc`` and ``stderr`` of a real container under crun; None when none could be made.
    :return: default (bool) and reason; problem when the trial failed for a reason that passes.
    """
    if requested != "auto":
        return {"default": requested == "always", "reason": "asked for"}
    if not trial or trial.get("rc") is None:
        return {"default": True, "reason": "not tried yet"}
    if trial["rc"] == 0:
        return {"default": True, "reason": "a container under crun worked"}
    problem = _untried("a container under crun", trial, "crun_default")
    if problem:
        return {"default": True, "reason": "not tried yet", "problem": problem}
    return {"default": False, "reason": explain(trial.get("stderr") or "")}


UNIFIED = "systemd.unified_cgroup_hierarchy=1"


def cgroup_plan(seen: str) -> dict[str, Any]:
    """Decide what makes a host boot with cgroup v2.

    :param seen: the type of the file system at /sys/fs/cgroup as ``stat -f -c %T`` prints it, and, on the lines after
        it, what ``grubby --info=ALL`` prints; nothing where there is no grubby.
    :return: switch (the kernels' argument has to be set), reboot_due (it is set or will be, and this boot is without
        it), problem (why it cannot be had; empty otherwise).
    """
    filesystem, _newline, info = seen.partition("\n")
    plan = {"switch": False, "reboot_due": False, "problem": ""}
    if filesystem.strip() == "cgroup2fs":
        return plan
    arguments = re.findall(r'^args="(.*)"$', info, re.MULTILINE)
    if not arguments:
        plan["problem"] = (
            f"this host has no pure cgroup v2, and no grubby, which could set the kernel's argument; a host boots with "
            f"cgroup v2 by {UNIFIED}, a container gets it from the host that runs it")
        return plan
    switch = not all(UNIFIED in line.split() for line in arguments)
    return {**plan, "switch": switch, "reboot_due": True}


def fuse_plan(
    requested: str,
    native_overlay: bool,
    known: bool,
    builtin: bool,
    module: bool,
    device_mode: str,
    untried: str = "",
) -> dict[str, Any]:
    """Decide what the host needs so that fuse-overlayfs can run.

    :param requested: auto or always.
    :param native_overlay: whether an unprivileged user could mount an overlay in a user namespace.
    :param known: whether /proc/filesystems has fuse now.
    :param builtin: whether the kernel's modules.builtin has it.
    :param module: whether modprobe knows a module fuse.
    :param device_mode: the mode of /dev/fuse as octal digits, empty where it is missing.
    :param untried: why no overlay could be tried; empty when one was.
    :return: needed, load (the module has to be loaded now), boot (and at boot), open_device (its mode has to allow
        users), problem (why it cannot be had; empty otherwise), untried (why nobody knows, in sentences; empty where
        it does not matter), reason.
    """
    needed = requested == "always" or not native_overlay
    usable_module = module and not builtin
    plan: dict[str, Any] = {
        "needed": needed,
        "load": needed and not known and usable_module,
        "boot": needed and usable_module,
        "open_device": needed and bool(device_mode) and int(device_mode, 8) & 0o006 != 0o006,
        "problem": "",
        "untried": "" if requested == "always" or not untried else str(InputError(
            "No overlay could be tried where images will be", cause=untried,
            remedy="set fuse_directory to a directory on their file system in which root, or whoever owns it, may make "
                   "another one")),
        "reason": "asked for" if requested == "always" else
                  "native overlay works in user namespaces" if native_overlay else
                  "native overlay does not work in user namespaces here",
    }
    if needed and not known and not usable_module:
        plan["problem"] = "this kernel has no fuse, neither built in nor as a module"
    elif needed and known and not device_mode:
        plan["problem"] = "/dev/fuse is missing although the kernel has fuse; a container needs --device /dev/fuse"
    return plan


def go_duration(age: Any) -> str:
    """Return an age as Go's time.ParseDuration() reads it, which knows no days.

    :param age: hours, minutes and seconds, also with fractions, after whole days. A bare number is refused: buildah
        takes it for a point in time.
    :raises InputError: it is none.
    """
    text = "" if age is None else str(age)
    found = re.fullmatch(r"([0-9]+d)?((?:[0-9]+(?:\.[0-9]+)?[hms])*)", text)
    days = int(found[1][:-1]) if found and found[1] else 0
    parts = re.findall(r"([0-9.]+)([hms])", found[2]) if found else []
    seconds = days * _SECONDS["d"] + sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not found or not text or seconds > _LONGEST:
        raise InputError(f"{text if text.strip() else repr(text)} is no duration",
                         cause="an age is made of days, hours, minutes and seconds with their letters",
                         remedy="set builder_prune_age to one like 7d, 168h or 1h30m")
    return (f"{days * 24}h" if days or not parts else "") + found[2]


def prune_problem(age: Any, calendar: Any, answer: Mapping[str, Any]) -> str:
    """Return why a timer could not prune, in sentences; nothing when it can.

    :param age: builder_prune_age.
    :param calendar: builder_prune_calendar.
    :param answer: ``rc`` and ``stderr`` of ``systemd-analyze calendar``; empty when it was not asked.
    """
    try:
        go_duration(age)
    except InputError as error:
        return str(error)
    if answer.get("rc", 0) == 0:
        return ""
    return str(InputError(f"{calendar or repr(calendar)} is no time for a timer", cause=explain(answer["stderr"]),
                          remedy="set builder_prune_calendar to one that systemd.time(7) has, like daily or Sun 03:00"))


def network_helper(version: str, setting: str = "") -> str:
    """Return the program that buildah makes the network of users' RUN steps with; it never takes the other instead.

    :param version: what ``buildah --version`` prints. Release notes of buildah 1.35: pasta became the default.
    :param setting: default_rootless_network_cmd of containers.conf(5); empty where nothing sets it.
    """
    if setting:
        return setting
    found = re.search(r"version (\d+)\.(\d+)", version)
    if not found:
        raise ValueError(f"this is not what buildah --version prints: {version}")
    return "pasta" if (int(found[1]), int(found[2])) >= (1, 35) else "slirp4netns"


def helper_kind(mode: str, uid: int, capabilities: str, wanted: str, nosuid: bool = False) -> str:
    """Tell how newuidmap or newgidmap may write other people's maps.

    :param mode: its mode as octal digits.
    :param uid: its owner.
    :param capabilities: what ``getcap`` prints for it.
    :param wanted: the capability, cap_setuid or cap_setgid.
    :param nosuid: whether its file system is mounted so that neither bit nor capabilities count; mount(8).
    :return: filecaps, setuid, nosuid or none.
    """
    if nosuid:
        return "nosuid"
    if re.search(rf"\b{wanted}[=+,a-z_]*[=+][a-z]*e[a-z]*p|\b{wanted}[=+,a-z_]*[=+][a-z]*p[a-z]*e", capabilities):
        return "filecaps"
    if uid == 0 and int(mode, 8) & 0o4000:
        return "setuid"
    return "none"


def mapped_ids(uid_map: str) -> int:
    """Return how many ids a text of /proc/PID/uid_map maps (user_namespaces(7)); the second line on is from subids."""
    return sum(int(fields[2]) for fields in (line.split() for line in uid_map.splitlines()) if len(fields) == 3)

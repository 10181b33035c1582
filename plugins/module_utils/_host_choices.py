# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's observed abilities mean for its set-up: fuse or native overlay, OCI runtime or chroot. Pure."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.rootless.buildah.plugins.module_utils._findings import finding_for


def explain(message: str) -> str:
    """Return why a trial failed in one line: cause and remedy from the catalogue, otherwise the last line printed."""
    finding = finding_for(message)
    if finding:
        return f"{finding.cause} ({finding.id}). {finding.remedy}"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "it failed without a message"


def choose_isolation(requested: str, trial: dict[str, Any] | None) -> dict[str, str]:
    """Decide how RUN steps are isolated.

    :param requested: auto, oci or chroot; only auto lets the trial decide.
    :param trial: ``rc`` and ``stderr`` of a real RUN step under an OCI runtime; None when none could be made.
    :return: isolation (oci or chroot) and reason. Without a trial oci is assumed, as buildah itself would.
    """
    if requested != "auto":
        return {"isolation": requested, "reason": "asked for"}
    if not trial or trial.get("rc") is None:
        return {"isolation": "oci", "reason": "not tried yet"}
    if trial["rc"] == 0:
        return {"isolation": "oci", "reason": "a RUN step under the OCI runtime worked"}
    cause = explain(trial.get("stderr") or "")
    return {"isolation": "chroot", "reason": f"a RUN step under the OCI runtime failed: {cause}"}


def choose_runtime(requested: str, trial: dict[str, Any] | None) -> dict[str, Any]:
    """Decide whether crun becomes the default runtime.

    :param requested: auto, always or never.
    :param trial: ``rc`` and ``stderr`` of a real container under crun; None when none could be made.
    :return: default (bool) and reason.
    """
    if requested != "auto":
        return {"default": requested == "always", "reason": "asked for"}
    if not trial or trial.get("rc") is None:
        return {"default": True, "reason": "not tried yet"}
    if trial["rc"] == 0:
        return {"default": True, "reason": "a container under crun worked"}
    return {"default": False, "reason": explain(trial.get("stderr") or "")}


def fuse_plan(
    requested: str,
    native_overlay: bool,
    known: bool,
    builtin: bool,
    module: bool,
    device_mode: str,
) -> dict[str, Any]:
    """Decide what the host needs so that fuse-overlayfs can run.

    :param requested: auto or always.
    :param native_overlay: whether an unprivileged user could mount an overlay in a user namespace.
    :param known: whether /proc/filesystems has fuse now.
    :param builtin: whether the kernel's modules.builtin has it.
    :param module: whether modprobe knows a module fuse.
    :param device_mode: the mode of /dev/fuse as octal digits, empty where it is missing.
    :return: needed, load (the module has to be loaded now), boot (and at boot), open_device (its mode has to allow
        users), problem (why it cannot be had; empty otherwise), reason.
    """
    needed = requested == "always" or not native_overlay
    usable_module = module and not builtin
    plan: dict[str, Any] = {
        "needed": needed,
        "load": needed and not known and usable_module,
        "boot": needed and usable_module,
        "open_device": needed and bool(device_mode) and int(device_mode, 8) & 0o006 != 0o006,
        "problem": "",
        "reason": "asked for" if requested == "always" else
                  "native overlay works in user namespaces" if native_overlay else
                  "native overlay does not work in user namespaces here",
    }
    if needed and not known and not usable_module:
        plan["problem"] = "this kernel has no fuse, neither built in nor as a module"
    elif needed and known and not device_mode:
        plan["problem"] = "/dev/fuse is missing although the kernel has fuse; a container needs --device /dev/fuse"
    return plan


def helper_kind(mode: str, uid: int, capabilities: str, wanted: str) -> str:
    """Tell how newuidmap or newgidmap may write other people's maps.

    :param mode: its mode as octal digits.
    :param uid: its owner.
    :param capabilities: what ``getcap`` prints for it.
    :param wanted: the capability, cap_setuid or cap_setgid.
    :return: filecaps, setuid or none.
    """
    if re.search(rf"\b{wanted}[=+,a-z_]*[=+][a-z]*e[a-z]*p|\b{wanted}[=+,a-z_]*[=+][a-z]*p[a-z]*e", capabilities):
        return "filecaps"
    if uid == 0 and int(mode, 8) & 0o4000:
        return "setuid"
    return "none"


def mapped_ids(uid_map: str) -> int:
    """Return how many ids a text of /proc/PID/uid_map maps (user_namespaces(7)); the second line on is from subids."""
    return sum(int(fields[2]) for fields in (line.split() for line in uid_map.splitlines()) if len(fields) == 3)

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the build modules share at the edge to Ansible.

Touches of the module: ``check_mode``, ``_diff``, ``warn``, ``_remote_tmp``, ``_tmpdir``.
"""

from __future__ import annotations

import os
from typing import Any, Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils._engine import (
    Engine,
    Outcome,
    Outlook,
    Settings,
    input_warnings,
)
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs
from ansible_collections.rootless.buildah.plugins.module_utils._plan import Reason
from ansible_collections.rootless.buildah.plugins.module_utils._user import home
from ansible_collections.rootless.buildah.plugins.module_utils._version import VERSION


def settings(module: AnsibleModule) -> Settings:
    """Return what the engine must know about this Ansible run.

    The arguments of every running task, passwords included, lie in Ansible's temporary directories. They are not
    asked for through ``tmpdir``, which would make one.
    """
    remote = os.path.expanduser(getattr(module, "_remote_tmp", None) or "")
    # What is in the directories for everybody's temporary files is sorted out by its names.
    places = {remote} if remote not in ("/tmp", "/var/tmp", "/dev/shm") else set()
    places |= {getattr(module, "_tmpdir", None) or "", _script_directory(), os.environ.get("ANSIBLE_ASYNC_DIR", "")}
    places |= {os.path.join(home(), name) for name in (".ansible", ".ansible_async")}
    return Settings(VERSION, tuple(sorted(place for place in places if os.path.isdir(place))))


def _script_directory() -> str:
    """Return where Ansible put the script that is this process, with the task's arguments in it."""
    with open("/proc/self/cmdline", "rb") as file:
        words = os.fsdecode(file.read()).split("\0")
    return next((os.path.dirname(word) for word in words if os.path.basename(word).startswith("AnsiballZ_")), "")


def build(module: AnsibleModule, engine: Engine, inputs: BuildInputs) -> dict[str, Any]:
    """Build and push an image, or in check mode tell what would come of it; return the module's result."""
    if module.check_mode:
        outlook = engine.outlook(inputs, check=True)
        outcome = Outcome(changed=outlook.plan.changes, built=outlook.plan.build)
    else:
        outlook, outcome = engine.run(inputs)
    return {
        **outlook_fields(module, outlook),
        **outcome_fields(outcome, outlook.plan.reasons),
        **diff(module, outlook),
    }


def outlook_fields(module: AnsibleModule, outlook: Outlook) -> dict[str, Any]:
    """Return what was found out about an image."""
    for text in input_warnings(outlook):
        module.warn(text)
    return {
        "key": outlook.key,
        "base_images": outlook.resolution.base_images,
        "uncovered": list(outlook.resolution.uncovered),
    }


def outcome_fields(outcome: Outcome, reasons: Sequence[Reason]) -> dict[str, Any]:
    """Return what was done to an image."""
    fields = {
        "changed": outcome.changed,
        "built": outcome.built,
        "pushed": outcome.pushed,
        "reasons": [reason.as_result() for reason in reasons],
        "image_id": outcome.image_id,
        "digest": outcome.digest,
        "steps": outcome.report.steps,
        "command": outcome.report.commands,
    }
    return {**fields, **({"log_path": outcome.report.log_path} if outcome.report.log_path else {})}


def diff(module: AnsibleModule, outlook: Outlook) -> dict[str, Any]:
    """Return the difference that Ansible shows in diff mode."""
    if not module._diff:
        return {}
    before, after = [], []
    for reason in outlook.plan.reasons:
        label = ".".join(part for part in (reason.reason, reason.name) if part)
        label += f" at {reason.destination}" if reason.destination else ""
        before.append(f"{label}: {'' if reason.old is None else reason.old}\n")
        after.append(f"{label}: {'' if reason.new is None else reason.new}\n")
        before += [f"  {path}\n" for path in (*reason.removed, *reason.changed)]
        after += [f"  {path}\n" for path in reason.added] + [f"  {path} (changed)\n" for path in reason.changed]
    return {
        "diff": {
            "before_header": str(outlook.inputs.image),
            "after_header": str(outlook.inputs.image),
            "before": "".join(before),
            "after": "".join(after),
        }
    }

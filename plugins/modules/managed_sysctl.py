#!/usr/bin/python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_sysctl
short_description: Raise kernel settings where they do not suffice, and give them back
version_added: 0.1.0
author: rootless.buildah contributors (@rootless-buildah)
description:
  - Sets kernel settings now, and at boot by a drop-in in C(/etc/sysctl.d), but only those that do not suffice already.
  - A value that somebody made bigger than asked for is left alone. A setting that this kernel lacks is skipped.
  - The drop-in is written when the kernel has taken the values. One that the kernel refuses is in no file.
  - O(state=absent) puts back the values that were found first, unless somebody changed them since. The same happens to
    a setting that is not among O(settings) any more.
  - A building block of the collection's roles; playbooks may use it for settings of their own.
options:
  path:
    description:
      - The drop-in. It must sort after the files that it has to win against, and the last one read wins.
    type: path
    required: true
  role:
    description: Who keeps the drop-in, and no other one; stands in its marker line.
    type: str
    required: true
  settings:
    description: The settings. With O(state=absent) they are not needed.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name with dots.
        type: str
        required: true
      value:
        description: The wanted value.
        type: str
        required: true
      rule:
        description: When a value that is there suffices. The wanted value must be what the rule compares.
        type: str
        choices:
          exact: It is the same.
          at_least: It is a number that is not smaller.
          covers: It is a range of two numbers that holds the wanted range.
        default: exact
  overwrite:
    description: Whether a file that somebody else wrote at O(path) may be replaced.
    type: bool
    default: false
  state:
    description: V(absent) removes the drop-in and gives the values back.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: >-
      Predicts what a run would do, and warns of a setting that is read-only here. It cannot ask the kernel whether it
      would take a value.
  diff_mode:
    support: full
    description: Shows the drop-in and the kernel's values before and after.
  idempotent:
    support: full
    description: A second run changes nothing.
  platform:
    support: full
    platforms: posix
    description: Linux.
"""

EXAMPLES = r"""
- name: Allow enough user namespaces
  rootless.buildah.managed_sysctl:
    path: /etc/sysctl.d/zz-ours.conf
    role: ours
    settings:
      - name: user.max_user_namespaces
        value: "15000"
        rule: at_least

- name: Give the values back
  rootless.buildah.managed_sysctl:
    path: /etc/sysctl.d/zz-ours.conf
    role: ours
    state: absent
"""

RETURN = r"""
values:
  description: What the kernel says after the run, or would say in check mode. Settings that it lacks are missing.
  type: dict
  returned: always
  sample: {"user.max_user_namespaces": "15000"}
written:
  description: The settings that had to be written to the kernel.
  type: dict
  returned: always
  sample: {"user.max_user_namespaces": "15000"}
missing:
  description: The settings that this kernel lacks.
  type: list
  elements: str
  returned: always
  sample: ["kernel.unprivileged_userns_clone"]
"""

import errno
import glob
import os
from typing import Any, Collection, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils import _sysctl
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError
from ansible_collections.rootless.buildah.plugins.module_utils._failure import OF_ROOT, fail
from ansible_collections.rootless.buildah.plugins.module_utils._file_keeper import FileKeeper, FileOptions
from ansible_collections.rootless.buildah.plugins.module_utils._way_back import WayBack

# The keys of the notes: the values that were found, and those of runs that did not come to writing the drop-in.
FOUND = "sysctl"
TRIED = "sysctl_tried"


def read(path: str) -> str | None:
    """Return a file's text, None when it cannot be had."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return None


def others(ours: str) -> dict[str, str]:
    """Return what the files of others set at boot."""
    texts = {}
    for directory in _sysctl.DIRECTORIES:
        for path in glob.glob(f"{directory}/*.conf"):
            texts[path] = read(path) or ""
    return _sysctl.effective(texts, ours)


def apply(module: AnsibleModule) -> dict[str, Any]:
    """Bring drop-in and kernel to the wanted state. Touches params, check_mode, warn."""
    params = module.params
    path: str = params["path"]
    way_back = WayBack(params["role"])
    keeper = FileKeeper(FileOptions(path, params["role"], overwrite=params["overwrite"]), module.check_mode)
    settings = [_sysctl.Setting(**item) for item in params["settings"]]
    _sysctl.require_usable(settings)
    notes = way_back.read()
    noted: dict[str, str] = notes.get(FOUND, {})
    names = sorted({setting.name for setting in settings} | set(noted))
    texts = {name: read(_sysctl.proc_path(name)) for name in names}
    current = {name: _sysctl.normal(text) for name, text in texts.items() if text is not None}
    ours = _sysctl.set_by_us(_sysctl.parse(read(path) or ""), notes.get(TRIED, {})) if noted else {}

    if params["state"] == "present":
        plan = _sysctl.plan_present(settings, current, others(path), noted, ours)
    else:
        plan = _sysctl.plan_absent(current, ours, noted)
    require_writable(module, plan.write, current)
    look = keeper.allowed(_sysctl.render(plan.lines) if plan.lines else None)
    before = {name: current[name] for name in plan.write}
    if not module.check_mode:
        if params["state"] == "present" and (plan.note or plan.write):
            # Before the change: whoever is killed in between still knows what was there, and what is ours.
            remember(way_back, plan.note, tried=plan.write)
        # Before the drop-in: what the kernel refuses must not be tried again at every boot.
        write(way_back, plan, path)
    kept = keeper.apply(look)
    result: dict[str, Any] = {
        "changed": kept["changed"] or bool(plan.write),
        "written": plan.write,
        "missing": sorted({setting.name for setting in settings} - set(current)),
        "values": {**current, **plan.write},
        "diff": [kept["diff"], {"before": _sysctl.render(before), "after": _sysctl.render(plan.write),
                                "before_header": "/proc/sys", "after_header": "/proc/sys"}],
    }
    if module.check_mode:
        return result
    result["values"] = {name: _sysctl.normal(read(_sysctl.proc_path(name)) or "") for name in current}
    if plan.forget or TRIED in way_back.read():
        # The drop-in tells by now what is ours.
        remember(way_back, {}, forget=plan.forget)
    return result


def write(way_back: WayBack, plan: _sysctl.SysctlPlan, path: str) -> None:
    """Give the kernel the values, as far as it takes them.

    :param path: the drop-in, for the message about a value that the kernel refuses.
    """
    unchanged = set(plan.note)
    for name, value in plan.write.items():
        try:
            with open(_sysctl.proc_path(name), "w", encoding="ascii") as handle:
                handle.write(value)
        except OSError as error:
            if unchanged:
                # There is nothing to put back, and somebody may set it before the next run.
                remember(way_back, {}, forget=unchanged, tried=plan.write)
            refused = error.errno in (errno.EINVAL, errno.ERANGE)
            raise BuildahError(
                f"{name} could not be set to {value}. {path} was left as it was.",
                cause=f"The kernel refuses it: {error.strerror}",
                remedy="Correct the value" if refused else OF_ROOT) from error
        unchanged.discard(name)


def require_writable(module: AnsibleModule, write: dict[str, str], current: dict[str, str]) -> None:
    """Stop, or warn in check mode, where /proc/sys is read-only, as it is in containers. Touches check_mode, warn."""
    blocked = [name for name in write if os.statvfs(_sysctl.proc_path(name)).f_flag & os.ST_RDONLY]
    if not blocked:
        return
    error = BuildahError(
        f"{', '.join(f'{name} is {current[name]}' for name in blocked)} and cannot be changed from here.",
        cause="/proc/sys is read-only, as it is in a container.",
        remedy="On the machine that runs the container: "
               + "; ".join(f"sysctl -w {name}='{write[name]}'" for name in blocked))
    if not module.check_mode:
        raise error
    module.warn(str(error))


def remember(
    way_back: WayBack, new: Mapping[str, str], forget: Collection[str] = (), tried: Mapping[str, str] | None = None
) -> None:
    """Note what was found; what was noted first stays.

    :param tried: what is about to be set, besides what earlier runs were about to; None when the drop-in is written.
    """
    with way_back.change() as notes:
        kept = {name: value for name, value in {**new, **notes.pop(FOUND, {})}.items() if name not in forget}
        if kept:
            notes[FOUND] = kept
        known = {} if tried is None else notes.get(TRIED, {})
        for name, value in (tried or {}).items():
            known[name] = [*dict.fromkeys([*known.get(name, []), value])]
        notes[TRIED] = {name: values for name, values in known.items() if name in kept}
        if not notes[TRIED]:
            del notes[TRIED]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "role": {"type": "str", "required": True},
            "settings": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "value": {"type": "str", "required": True},
                    "rule": {"type": "str", "choices": ["exact", "at_least", "covers"], "default": "exact"},
                },
            },
            "overwrite": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    try:
        result = apply(module)
    except (BuildahError, OSError) as error:
        fail(module, error, OF_ROOT)
    except ValueError as error:
        module.fail_json(msg=f"{module.params['path']}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()

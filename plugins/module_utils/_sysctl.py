# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings: which have to be set, which kept, which given back. Pure.

Sources: sysctl.d(5) for the order of files, proc_sys_user(5), Documentation/networking/ip-sysctl (ping_group_range).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Collection, Iterable, Mapping

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

# What the rules that compare numbers can compare, in words, and how it is written.
_NUMBERS = {
    "at_least": (1, "one whole number", "Write the number alone, such as 15000"),
    "covers": (2, "two whole numbers, the smaller one first",
               "Write the smaller one, a space and the bigger one, such as 0 2147483647"),
}  # fmt: skip
DIRECTORIES = ("/run/sysctl.d", "/etc/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")


@dataclass(frozen=True)
class Setting:
    """One wanted setting.

    ``rule``: exact; at_least (one number, a bigger one is left alone); covers (two numbers, a wider range is left
    alone).
    """

    name: str
    value: str
    rule: str = "exact"


@dataclass(frozen=True)
class SysctlPlan:
    """``lines`` go into the drop-in, ``write`` to the kernel; ``note`` is remembered, ``forget`` not any more."""

    lines: dict[str, str] = field(default_factory=dict)
    write: dict[str, str] = field(default_factory=dict)
    note: dict[str, str] = field(default_factory=dict)
    forget: list[str] = field(default_factory=list)


def normal(value: str) -> str:
    """Return a value as it compares: the kernel separates numbers by tabs."""
    return " ".join(value.split())


def require_usable(settings: Iterable[Setting]) -> None:
    """Stop where a wanted value is not what its rule compares.

    :raises InputError: for the first one.
    """
    for setting in settings:
        if setting.rule not in _NUMBERS:
            continue
        count, what, remedy = _NUMBERS[setting.rule]
        words = setting.value.split()
        whole = len(words) == count and all(re.fullmatch(r"-?[0-9]+", word) for word in words)
        if not whole or int(words[0]) > int(words[-1]):
            raise InputError(f"{setting.name} cannot be set to '{normal(setting.value)}'.",
                             cause=f"It is compared by the rule {setting.rule}, which takes {what}",
                             remedy=remedy)


def set_by_us(lines: Mapping[str, str], tried: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return the values of each setting that are from this collection.

    :param lines: what the drop-in sets now.
    :param tried: what runs were about to set that did not come to writing the drop-in.
    """
    return {name: [*([lines[name]] if name in lines else []), *tried.get(name, [])] for name in {*lines, *tried}}


def satisfied(setting: Setting, value: str) -> bool:
    """Tell whether a value serves; one that is not made of numbers serves only when it is the very same."""
    have, want = normal(value).split(), normal(setting.value).split()
    try:
        if setting.rule == "at_least":
            return int(have[0]) >= int(want[0])
        if setting.rule == "covers":
            return int(have[0]) <= int(want[0]) and int(have[1]) >= int(want[1])
    except (ValueError, IndexError):
        return False
    return have == want


def plan_present(
    settings: Collection[Setting],
    current: Mapping[str, str],
    configured: Mapping[str, str],
    noted: Mapping[str, str],
    ours: Mapping[str, Collection[str]],
) -> SysctlPlan:
    """Decide what the drop-in holds and what is written to the kernel now.

    :param settings: what is wanted; what is noted besides is given back, as by :func:`plan_absent`.
    :param current: the kernel's values; a setting that this kernel lacks is missing here and is skipped.
    :param configured: what the files of others set at boot.
    :param noted: the values found before this collection set its own.
    :param ours: the values that this collection set, as :func:`set_by_us` returns them.
    """
    plan = SysctlPlan()
    for setting in settings:
        value = current.get(setting.name)
        if value is None:
            if setting.name in noted:
                plan.forget.append(setting.name)
            continue
        serves = satisfied(setting, value)
        # A value that somebody made even better since is theirs now; a value as we set it stays ours.
        mine = setting.name in noted and (
            not serves or normal(value) in ours.get(setting.name, [normal(setting.value)]))
        boot = configured.get(setting.name)
        undone_at_boot = boot is not None and not satisfied(setting, boot)
        if serves and not mine and not undone_at_boot:
            if setting.name in noted:
                plan.forget.append(setting.name)
            continue
        plan.lines[setting.name] = normal(value) if serves else normal(setting.value)
        if not serves:
            plan.write[setting.name] = normal(setting.value)
        if setting.name not in noted:
            plan.note[setting.name] = normal(value)
    wanted = {setting.name for setting in settings}
    gone = plan_absent(current, ours, {name: before for name, before in noted.items() if name not in wanted})
    plan.write.update(gone.write)
    plan.forget.extend(gone.forget)
    return plan


def plan_absent(
    current: Mapping[str, str], ours: Mapping[str, Collection[str]], noted: Mapping[str, str]
) -> SysctlPlan:
    """Decide which values go back to what they were: those that still are as this collection set them."""
    plan = SysctlPlan(forget=sorted(noted))
    for name, before in noted.items():
        value = current.get(name)
        if value is not None and normal(value) != normal(before) and normal(value) in ours.get(name, [normal(value)]):
            plan.write[name] = before
    return plan


def parse(text: str) -> dict[str, str]:
    """Return the settings of a sysctl.d file.

    ``name = value``, slashes or dots in names, ``-`` before a name, comments after # and ;.
    """
    found = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line[0] in "#;" or "=" not in line:
            continue
        name, value = line.split("=", 1)
        found[name.strip().lstrip("-").replace("/", ".")] = normal(value)
    return found


def effective(files: Mapping[str, str], ours: str) -> dict[str, str]:
    """Return what the files of others set at boot.

    A name in an earlier directory hides the same name in a later one; the rest is read in the order of the names,
    whatever the directory.

    :param files: path to text.
    :param ours: the path of the drop-in, which does not count.
    """
    chosen: dict[str, str] = {}
    for directory in DIRECTORIES:
        for path in files:
            if os.path.dirname(path) == directory:
                chosen.setdefault(os.path.basename(path), path)
    found: dict[str, str] = {}
    for name in sorted(chosen):
        if chosen[name] != ours:
            found.update(parse(files[chosen[name]]))
    return found


def render(lines: Mapping[str, str]) -> str:
    """Return the drop-in's text, without the marker."""
    return "".join(f"{name} = {lines[name]}\n" for name in sorted(lines))


def proc_path(name: str, root: str = "/proc/sys") -> str:
    """Return the file of a setting below /proc/sys."""
    return os.path.join(root, *name.split("."))

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes this machine one random host after the other and runs the module's work there, with the real usermod.

Overwrites the account tables in /etc: only for a mount namespace with an /etc of its own. Runs in one process, because
a module's start takes ten times as long as its work. Called with the first seed, the one after the last, and the copy
that must be mounted on /etc; prints what it did as JSON.
"""

from __future__ import annotations

import collections
import ctypes
import ctypes.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._shadow import Shadow
from ansible_collections.rootless.buildah.plugins.modules.subid import Run
from ansible_collections.rootless.buildah.tests.unit.plugins.module_utils.random_subids import (
    Asked,
    Oracle,
    RandomHost,
)

ETC = Path("/etc")
LIBSUBID = ctypes.CDLL(ctypes.util.find_library("subid"))


def become(case: RandomHost) -> None:
    """Make this machine that host."""
    root = "root:x:0:0:root:/root:/bin/sh\n"
    for name, text in (("passwd", root + case.passwd()), ("group", "root:x:0:\n" + case.group()),
                       ("login.defs", case.login_defs()), ("subuid", case.subuid), ("subgid", case.subgid)):
        (ETC / name).write_bytes(text.encode("utf-8", "surrogateescape"))


def tables() -> tuple[str, str]:
    """Return both tables as they are."""
    subuid, subgid = ((ETC / name).read_bytes().decode("utf-8", "surrogateescape") for name in ("subuid", "subgid"))
    return subuid, subgid


def run(case: RandomHost, asked: list[Asked], check: bool = False) -> dict[str, Any]:
    """Do what the module does with these options."""
    users = [{"name": one.name, "count": one.count, "start": one.start, "state": "present" if one.present else "absent"}
             for one in asked]
    reserved = [{"start": item.start, "count": len(item)} for item in case.reserved]
    params = {"name": None, "users": users, "state": "present", "count": 65536, "start": None, "align": 1,
              "probe": False, "reserved": reserved, "lock_timeout": 60}
    return Run(params, check, lambda _message: None, Shadow())()


class SubidRange(ctypes.Structure):
    """A range as libsubid returns it."""

    _fields_ = (("start", ctypes.c_ulong), ("count", ctypes.c_ulong))


def ranges_of(name: str, groups: bool) -> list[range]:
    """Return the ranges that libsubid tells, which is all there is to getsubids, as far as a kernel can map them."""
    ranges = ctypes.POINTER(SubidRange)()
    ask = LIBSUBID.subid_get_gid_ranges if groups else LIBSUBID.subid_get_uid_ranges
    count = ask(name.encode(), ctypes.byref(ranges))
    found = [(ranges[position].start, ranges[position].count) for position in range(count)]
    return [range(start, start + length) for start, length in found if length and start + length < 2**32]


def ask_libsubid(case: RandomHost, oracle: Oracle, more_fields: bool) -> None:
    """Fail if libsubid reads the tables differently from the oracle."""
    for name in case.accounts:
        for groups, expected in zip((False, True), oracle.listed(name, more_fields)):
            answer = ranges_of(name, groups)
            assert answer == expected, f"libsubid says {answer} for {name} and the oracle {expected}"


def apply(case: RandomHost, more_fields: bool) -> collections.Counter[str]:
    """Do on that host what is asked for: all at once, and what remains when that is refused, one by one."""
    become(case)
    counts: collections.Counter[str] = collections.Counter(tables=1)
    ask_libsubid(case, Oracle(case, *tables()), more_fields)
    for asked in [case.asked, *([one] for one in case.asked)]:
        before = tables()
        try:
            predicted = run(case, asked, check=True)
        except InputError as error:
            assert tables() == before
            if len(asked) == 1:
                counts["refused"] += 1
                assert Oracle(case, *before).refusal_is_right(asked[0]), f"{asked[0]} was refused: {error}"
            continue
        assert tables() == before, "check mode changed something"
        real = run(case, asked)
        now = tables()
        assert {**predicted, "commands": []} == {**real, "commands": []}, "check mode predicted something else"
        changed = now != before
        assert real["changed"] == changed
        counts.update(runs=1, changed=changed, commands=len(real["commands"]))
        Oracle(case, *before).judge(Oracle(case, *now), asked)
        again = run(case, asked)
        assert (again["changed"], again["commands"], tables()) == (False, [], now), "a second run changed something"
        if changed:
            ask_libsubid(case, Oracle(case, *now), more_fields)
        if asked is case.asked:
            break
    return counts


def main() -> None:
    """Apply the hosts of all seeds from one number to below another."""
    if not os.path.samefile(ETC, sys.argv[3]):
        raise SystemExit("this is the machine's own /etc")
    (ETC / "subuid").write_text("root:100000:1:\n")
    more_fields = bool(ranges_of("root", groups=False))
    counts: collections.Counter[str] = collections.Counter()
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        case = RandomHost(seed)
        try:
            counts += apply(case, more_fields)
        except Exception:
            print(f"seed {seed}: {case}\nnow: {tables()}", file=sys.stderr)
            raise
    print(json.dumps(counts))


if __name__ == "__main__":
    main()

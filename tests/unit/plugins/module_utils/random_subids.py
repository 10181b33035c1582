# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random hosts with untidy tables of subordinate ids, and an oracle that says what must be true of any change there.

The oracle shares no code with what it judges. It reads numbers with the C library's own strtoul(), as shadow does, and
as Go programs do; of ranges it knows Python's ``range``.
"""

from __future__ import annotations

import ctypes
import functools
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NAMES = ("build", "ci", "r.doe", "jane.doe@ex.com", "EX\\bob", "4711", "domain users", "kubelet")
TOP = 2**32 - 1  # one above the highest id
KUBELET = range(2147483648, 2147483648 + 7208960)

_strtoul = ctypes.CDLL(None).strtoul
_strtoul.restype = ctypes.c_ulong
_strtoul.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_int)


@dataclass(frozen=True)
class Asked:
    """What is asked for one user."""

    name: str
    present: bool
    count: int
    start: int | None


@dataclass
class RandomHost:
    """One host: accounts, both tables, limits, and what is asked for.

    :param accounts: uid and gid by name; each of them has a group of the same name.
    :param strangers: names of other accounts by uid.
    :param foreign_groups: names of other groups by gid.
    """

    seed: int
    accounts: dict[str, tuple[int, int]] = field(init=False)
    strangers: dict[int, str] = field(init=False)
    foreign_groups: dict[int, str] = field(init=False)
    sub_uids: tuple[int, int] = field(init=False)
    sub_gids: tuple[int, int] = field(init=False)
    people: tuple[int, int] = field(init=False)
    reserved: list[range] = field(init=False)
    subuid: str = field(init=False)
    subgid: str = field(init=False)
    asked: list[Asked] = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        low = rng.choice([1000, 100000, 100000, 100000, 2147000000])
        high = low + rng.choice([700000, 3000000, 600000000])
        self.people = (1000, rng.choice([60000, 60000, 60000, low + 30000]))
        uids = rng.sample(range(5000, 59000), len(NAMES))
        # A user's group has the user's number, or one of its own, or that of another user.
        gids = [*uids[2:4], *uids[:2], 59001, 59002, *uids[6:]]
        if rng.random() < 0.5:
            gids = list(uids)
        self.accounts = dict(zip(NAMES, zip(uids, gids)))
        self.strangers = {low + rng.randrange(400000): f"s{number}" for number in range(rng.randrange(5))}
        self.foreign_groups = {low + rng.randrange(400000): f"g{number}" for number in range(rng.randrange(5))}
        self.reserved = []
        for _each in range(rng.randrange(3)):
            start = low + rng.randrange(300000)
            self.reserved.append(range(start, start + rng.choice([1, 50000])))
        self.subuid = self._table(rng, low)
        # Most hosts have the same ranges in both files.
        self.subgid = self.subuid if rng.random() < 0.4 else self._table(rng, low)
        if rng.random() < 0.3:
            # Just enough room above everything, or one id too few.
            ends = [item.stop for line in lines_of(self.subuid + self.subgid) for item in seen(line)]
            high = max([low, *(stop for stop in ends if stop < low + 700000)]) + rng.choice([65535, 65534, 999, 998])
        self.sub_uids = (low, high)
        self.sub_gids = rng.choice([(low, high), (low, high), (low + 50000, high + 50000)])
        self.asked = [
            Asked(name, rng.random() < 0.8, rng.choice([1, 10, 1000, 65536, 65536, 100000]),
                  rng.choice([None, None, None, 65536 + rng.randrange(600000), low + rng.randrange(400000)]))
            for name in rng.sample(NAMES, rng.randrange(1, 5))
        ]

    def _table(self, rng: random.Random, low: int) -> str:
        lines: list[str] = []
        end = low  # of the line before: real tables are packed, so that every id next to a range counts
        for _each in range(rng.randrange(14)):
            name = rng.choice(NAMES)
            uid, gid = self.accounts[name]
            owner = rng.choice([name, name, name, name, str(uid), str(gid), "gone", "65999"])
            start = max(0, rng.choice([end, end, low + rng.randrange(-2000, 400000)]))
            count = rng.choice([1, 2, 10, 1000, 65535, 65536, 65537])
            end = start + count
            lines.append(rng.choices([
                f"{owner}:{start}:{count}",
                rng.choice([f"{owner}:{start}:{count}\r", f"# {owner}:{start}:{count}", f"#{owner}:{start}:{count}\r"]),
                rng.choice([f"{owner}:{start:#x}:{count}", f"{owner}:{start:#X}:{count:#o}".replace("0o", "0"),
                            f"{owner}:0{start}:{count}", f"{owner}:{start}:0{count}", f"{owner}: {start}:+{count}"]),
                rng.choice([f"{owner}:{start}", f"{owner}:{start}:", f":{start}:{count}", "nonsense", "+nis", "::",
                            f"{owner}:-{start}:{count}", f"{owner}:{start}:{count} ", f"{owner}:{start}:{count}x",
                            f"{owner}:{start}:0", f"{owner}:eins:{count}", f"{owner};{start};{count}", "\udcff:",
                            f"+{owner}"]),
                # Apart from all others, because usermod before 4.18 would take such lines away together with those.
                rng.choice([f"{owner}:{start + 500000}:{count}:", f"{owner}:{start + 500000}:{count}:extra",
                            f"gone:{start}:{count}:5", f"{owner} :{start}:{count}",
                            f"gone:{start}:99999999999", f"gone:{TOP - 5}:65536", "gone:0:0", "gone:1:-1"]),
                rng.choice(["", "\r", "   ", "# note", "#", "\t# note\r"]),
                # What shadow takes for every id there is.
                rng.choice([f"{owner}:{start}:99999999999", f"{owner}:0:0", f"{owner}:{start}:-{start + 1}"]),
            ], weights=[70, 8, 8, 8, 3, 5, 0.5])[0])
            if rng.random() < 0.1:  # the same range once more, for this owner or another, or an empty one in it
                lines.append(rng.choice([lines[-1], f"{rng.choice(NAMES)}:{start}:{count}", f"{owner}:{start + 1}:0"]))
        lines += rng.sample(lines, min(len(lines), rng.choice([0, 0, 1, 3])))
        return "\n".join(lines) + rng.choice(["", "\n", "\n", "\n", "\n\n"])

    @property
    def uids(self) -> dict[int, str]:
        return {**self.strangers, **{uid: name for name, (uid, _gid) in self.accounts.items()}}

    @property
    def gids(self) -> dict[int, str]:
        return {**self.foreign_groups, **{gid: name for name, (_uid, gid) in self.accounts.items()}}

    def login_defs(self) -> str:
        pairs = {"SUB_UID": self.sub_uids, "SUB_GID": self.sub_gids, "UID": self.people, "GID": self.people}
        return "".join(f"{name}_MIN {low}\n{name}_MAX {high}\n" for name, (low, high) in pairs.items())

    def passwd(self) -> str:
        return "".join([f"{name}:x:{uid}:{gid}::/nonexistent:/bin/sh\n" for name, (uid, gid) in self.accounts.items()]
                       + [f"{name}:x:{uid}:100::/nonexistent:/bin/sh\n" for uid, name in self.strangers.items()])

    def group(self) -> str:
        return "".join(f"{name}:x:{gid}:\n" for gid, name in self.gids.items())


# ---------------------------------------------------------------------------------------------------------------------
# How programs read a line


def strtoul(text: str) -> int | None:
    """Return what shadow's getulong() makes of a text."""
    raw = text.encode("utf-8", "surrogateescape")
    if not raw or b"\0" in raw:
        return None
    buffer = ctypes.create_string_buffer(raw)
    end = ctypes.c_void_p()
    value = int(_strtoul(buffer, ctypes.byref(end), 0))
    return value if end.value == ctypes.addressof(buffer) + len(raw) else None


@functools.cache
def shadow_reads(line: str) -> tuple[str, int, int] | None:
    """Return owner, start and count as every shadow of the last years reads them, in its 64 bits."""
    fields = line.split(":")
    if line[:1] in ("+", "-") or len(fields) != 3 or "" in fields:
        return None
    start, count = strtoul(fields[1]), strtoul(fields[2])
    return None if start is None or count is None else (fields[0], start, count)


def swallowed(line: str) -> int | None:
    """Return the id from which on shadow takes every id for the owner's, where its sums leave the bounds of ids."""
    read = shadow_reads(line)
    if read is None:
        return None
    last = (read[1] + read[2] - 1) % 2**64
    return read[1] if last >= TOP and last >= read[1] and read[1] < TOP else None


def granted(line: str) -> tuple[str, range] | None:
    """Return a line's owner and range if it is one that shadow grants and the kernel can map."""
    read = shadow_reads(line)
    if read is None or read[2] == 0 or read[1] + read[2] > TOP:
        return None
    return read[0], range(read[1], read[1] + read[2])


@functools.cache
def seen(line: str) -> list[range]:
    """Return every range that a program may see in a line, be it commented out or ended by a carriage return."""
    bare = line.strip()
    found = []
    fields = bare.lstrip("# ").split(":")
    if len(fields) >= 3:
        if all(re.fullmatch("[0-9]+", part) for part in fields[1:3]):
            found.append((int(fields[1]), int(fields[2])))  # Go's Atoi() knows no octal numbers
        start, count = strtoul(fields[1]), strtoul(fields[2])
        if start is not None and count is not None and "-" not in fields[1] + fields[2]:
            found.append((start, count))
    return [range(start, min(start + count, TOP)) for start, count in found if count > 0 and start < TOP]


def lines_of(text: str) -> list[str]:
    """Return a table's lines."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def meet(one: range, other: range) -> bool:
    """Say whether two ranges have an id in common."""
    return len(range(max(one.start, other.start), min(one.stop, other.stop))) > 0


def ids_in(ranges: Iterable[range]) -> int:
    """Count the ids in ranges, each once."""
    total = stop = 0
    for item in sorted(ranges, key=lambda one: one.start):
        total += len(range(max(item.start, stop), item.stop))
        stop = max(stop, item.stop)
    return total


# ---------------------------------------------------------------------------------------------------------------------
# What must be true


class Oracle:
    """Both tables of a random host at one moment."""

    def __init__(self, host: RandomHost, subuid: str, subgid: str) -> None:
        self.host = host
        self.tables = (lines_of(subuid), lines_of(subgid))

    def own_words(self, name: str) -> tuple[set[str], set[str]]:
        """Return what getsubids takes for a user's lines: in /etc/subgid, the number of the group of that name."""
        uid, gid = self.host.accounts[name]
        return {name, str(uid)}, {name, str(gid)}

    def listed(self, name: str, more_fields: bool) -> tuple[list[range], list[range]]:
        """Return what getsubids answers; before 4.18 it reads lines with more than three fields too."""
        words = self.own_words(name)
        fields = 3 if more_fields else None
        found = [[read for line in table for read in [granted(":".join(line.split(":")[:fields]))]
                  if read and read[0] in own] for table, own in zip(self.tables, words)]
        return [item for _owner, item in found[0]], [item for _owner, item in found[1]]

    def usable(self, name: str) -> tuple[list[range], list[range]]:
        """Return what getsubids answers and newuidmap or newgidmap lets the user map: they take numbers for uids."""
        numbers = {name, str(self.host.accounts[name][0])}
        found = [[read for line in table for read in [granted(line)] if read and read[0] in own & numbers]
                 for table, own in zip(self.tables, self.own_words(name))]
        return [item for _owner, item in found[0]], [item for _owner, item in found[1]]

    def own(self, name: str) -> tuple[list[range], list[range]]:
        """Return whatever any program may take for the user's, by name or number."""
        number = str(self.host.accounts[name][0])
        uids, gids = ([item for line in table if line.split(":")[0] in words | {number} for item in seen(line)]
                      for table, words in zip(self.tables, self.own_words(name)))
        return uids, gids

    def taken(self, besides: str | None = None) -> list[range]:
        """Return every id that no new range may hold; of one user, only what others do not have."""
        host = self.host
        mine = {besides, str(host.accounts[besides][0])} if besides else set()
        found = [item for table in self.tables for line in table
                 if not (line.split(":")[0] in mine and granted(line)) for item in seen(line)]
        found += [range(number, number + 1) for number in (*host.uids, *host.gids)]
        found += [range(65536), range(host.people[0], host.people[1] + 1), *host.reserved]
        return found + ([] if besides == "kubelet" else [KUBELET])

    def swallowing(self, name: str) -> bool:
        """Say whether shadow believes that the user has ids without end."""
        words = {name, str(self.host.accounts[name][0])}
        return any(line.split(":")[0] in words and swallowed(line) is not None
                   for table in self.tables for line in table)

    def refusal_is_right(self, asked: Asked) -> bool:
        """Say whether what is asked cannot be done."""
        name = asked.name
        if self.swallowing(name):
            return True
        if not asked.present:
            number = str(self.host.accounts[name][0])  # usermod finds no line that names its owner by number
            return any(read and read[0] == number for table in self.tables for read in map(granted, table))
        above = [max((item.stop for item in items), default=0) for items in self.own(name)]
        if asked.start is not None:
            wanted = range(asked.start, asked.start + asked.count)
            if any(item.start < asked.start for items in self.usable(name) for item in items):
                return True
            for kind, items in enumerate(self.usable(name)):
                fresh = [number for number in _edges(wanted, [*items, *self.taken(name)])
                         if not any(number in item for item in items)]
                if any(number < above[kind] or any(number in item for item in self.taken(name)) for number in fresh):
                    return True
            return False
        needs = [asked.count - ids_in(items) for items in self.usable(name)]
        limits = (self.host.sub_uids, self.host.sub_gids)
        lows = [max(above[kind], limits[kind][0]) for kind in (0, 1)]
        if min(needs) > 0 and self._lowest(max(needs), max(lows), min(high for _low, high in limits)) is not None:
            return False
        taken: list[range] = []  # where no numbers suit both files, the second range must keep off the first one too
        for kind, need in enumerate(needs):
            if need > 0:
                start = self._lowest(need, lows[kind], limits[kind][1], taken)
                if start is None:
                    return True
                taken.append(range(start, start + need))
        return False

    def _lowest(self, need: int, low: int, high: int, besides: Sequence[range] = ()) -> int | None:
        taken = [*self.taken(), *besides]
        return min((start for start in {low, *(item.stop for item in taken)}
                    if start >= low and start + need - 1 <= min(high, TOP - 1)
                    and not any(meet(range(start, start + need), item) for item in taken)), default=None)

    def judge(self, after: Oracle, accepted: Sequence[Asked]) -> None:
        """Fail if the tables before may not become the tables after by what was accepted."""
        host = self.host
        absent = {asked.name for asked in accepted if not asked.present}
        added: list[list[tuple[str, range]]] = []
        left: list[list[str]] = []
        for old, new in zip(self.tables, after.tables):
            gone = {line for line in old for read in [granted(line)] if read and read[0] in absent}
            kept = [line for line in old if line not in gone]
            kept = [line for line in kept if line not in _empty_lines(old, absent)]
            assert new[:len(kept)] == kept, "a line was moved, changed or dropped"
            left.append(kept)
            added.append([])
            for line in new[len(kept):]:
                match = re.fullmatch(r"([^:\r]+):([1-9][0-9]*):([1-9][0-9]*)", line)
                assert match, f"{line!r} was added"
                start = int(match.group(2))
                added[-1].append((match.group(1), range(start, start + int(match.group(3)))))

        # What absent takes away is free for the others in the same call.
        rest = Oracle(host, *("".join(f"{line}\n" for line in lines) for lines in left))
        by_name = {asked.name: asked for asked in accepted}
        for kind, limits in ((0, host.sub_uids), (1, host.sub_gids)):
            for position, (owner, item) in enumerate(added[kind]):
                asked = by_name[owner]
                assert asked.present
                fixed = asked.start is not None
                assert fixed or limits[0] <= item.start and item.stop - 1 <= limits[1], (owner, item, limits)
                assert item.stop <= TOP
                forbidden = rest.taken(owner if fixed else None)
                # What others got in this call, and a user's own uids and gids unless they begin with the same number.
                forbidden += [other for which in (0, 1) for place, (name, other) in enumerate(added[which])
                              if (name != owner if fixed else name != owner or other.start != item.start)
                              or which == kind and place != position]
                for other in forbidden:
                    assert not meet(item, other), f"{owner} got {item}, which meets {other}"
                assert item.start >= max((mine.stop for mine in self.own(owner)[kind]), default=0), "ids would shift"
        for asked in accepted:
            if self.swallowing(asked.name):  # then usermod would do nothing or something else
                assert all(name != asked.name for kind in added for name, _item in kind)
                assert asked.present or rest.listed(asked.name, False) == self.listed(asked.name, False)
            names = [[name for name, _item in kind].count(asked.name) for kind in added]
            if not asked.present:
                assert names == [0, 0]
                continue
            for has in after.usable(asked.name):
                assert ids_in(has) >= asked.count, f"{asked} has {has}"
                if asked.start is not None:
                    inside = [range(max(item.start, asked.start), min(item.stop, asked.start + asked.count))
                              for item in has]
                    assert ids_in(inside) == asked.count, f"{asked} has {has}"
                    assert min(item.start for item in has) == asked.start, "a container's ids begin elsewhere"
            assert asked.start is not None or max(names) <= 1, f"{asked} got more than one range"


def _empty_lines(lines: list[str], absent: set[str]) -> set[str]:
    # usermod takes a line of no ids away together with the range of the same user that it stands in.
    gone = [read for read in map(granted, lines) if read and read[0] in absent]
    found = set()
    for line in lines:
        read = shadow_reads(line)
        if read and read[2] == 0 and read[1] > 0 and any(
                owner == read[0] and item.start < read[1] < item.stop for owner, item in gone):
            found.add(line)
    return found


def _edges(wanted: range, others: list[range]) -> list[int]:
    # Whether any id of a range is bad shows at the ends of what it consists of.
    ends = {wanted.start, wanted.stop - 1}
    for item in others:
        ends |= {item.start - 1, item.start, item.stop - 1, item.stop}
    return sorted(number for number in ends if number in wanted)

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets which subordinate ids. Pure: touches neither Ansible nor processes nor files.

Rules that are not our own come from subuid(5), login.defs(5), getsubids(1) and user_namespaces(7), from what shadow
4.13, 4.17 and 4.20 do with odd lines (measured), and from containers/storage, which sorts a user's ranges by their
first id before it numbers the ids of a container.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

MAX_ID = 2**32 - 2  # (uid_t) -1 means "no id" to the kernel
HOST_IDS = 65536  # accounts, the distributions' system ranges, nobody and systemd's dynamic users live below
KUBELET_USER = "kubelet"


@dataclass(frozen=True, order=True)
class IdRange:
    """``count`` ids from ``start`` on."""

    start: int
    count: int

    @property
    def last(self) -> int:
        """The highest id of the range."""
        return self.start + self.count - 1

    def overlaps(self, other: IdRange) -> bool:
        """Say whether any id is in both ranges."""
        return self.start <= other.last and other.start <= self.last

    def __str__(self) -> str:
        return f"{self.start}:{self.count}"


def overlapping(own: Sequence[IdRange]) -> tuple[IdRange, ...]:
    """Return the ranges that overlap another one of the same user, each once."""
    return tuple(dict.fromkeys(
        item for place, item in enumerate(own)
        if any(item.overlaps(other) for other in (*own[:place], *own[place + 1:]))
    ))


def outside(mapping: Iterable[tuple[int, int, int]]) -> tuple[IdRange, ...]:
    """Return the ids that a user namespace does not have, user_namespaces(7).

    :param mapping: its uid_map or gid_map: first id inside, first id outside, count. Without one nothing is missing.
    """
    inside = [IdRange(first, count) for first, _outside, count in mapping]
    return Spans(inside).missing(IdRange(0, MAX_ID + 1)) if inside else ()


KUBELET_RANGE = IdRange(2147483648, 7208960)  # for 110 pods, above every range that distributions give out


def _rounded_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


class Spans:
    """A set of ids, kept as sorted spans that neither touch nor overlap."""

    def __init__(self, ranges: Iterable[IdRange] = ()) -> None:
        self._spans: list[tuple[int, int]] = []
        for first, last in sorted((item.start, item.last) for item in ranges if item.count > 0):
            if self._spans and first <= self._spans[-1][1] + 1:
                self._spans[-1] = (self._spans[-1][0], max(last, self._spans[-1][1]))
            else:
                self._spans.append((first, last))

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._spans)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and self._spans == other._spans

    def ranges(self) -> tuple[IdRange, ...]:
        """Return the set as the fewest ranges that make it up, lowest first."""
        return tuple(IdRange(first, last - first + 1) for first, last in self._spans)

    def missing(self, wanted: IdRange) -> tuple[IdRange, ...]:
        """Return the parts of a range that are not in the set, lowest first."""
        parts = []
        start = wanted.start
        for first, last in self._spans:
            if first > wanted.last:
                break
            if first > start:
                parts.append(IdRange(start, first - start))
            start = max(start, last + 1)
        if start <= wanted.last:
            parts.append(IdRange(start, wanted.last - start + 1))
        return tuple(parts)

    def first_gap(self, count: int, low: int, high: int, align: int = 1) -> int | None:
        """Return the lowest id from which ``count`` ids are free and within ``low`` and ``high``, both inclusive.

        :param align: what the id has to be a multiple of.
        """
        start = _rounded_up(low, align)
        for first, last in self._spans:
            if last < start:
                continue
            if first - start >= count:
                break
            start = _rounded_up(last + 1, align)
        return start if start + count - 1 <= high else None


# ---------------------------------------------------------------------------------------------------------------------
# /etc/subuid and /etc/subgid

BLANK, COMMENT, RANGE, ODD, MALFORMED = "blank", "comment", "range", "odd", "malformed"
_PLAIN_NUMBER = re.compile(r"0|[1-9][0-9]*")
_C_NUMBER = re.compile(r"\s*\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_GO_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")  # strconv.Atoi: decimal, in 64 bits


@dataclass(frozen=True)
class Line:
    """One line of a table, kept word for word.

    :param number: its place, from 1.
    :param text: the line without its line feed; a carriage return stays.
    :param kind: ``range`` in the form that every reader accepts; ``odd`` where shadow reads a range and others may not;
        ``malformed`` where shadow reads no range; ``comment``; ``blank``.
    :param owner: the name or number before the first colon.
    :param granted: the range that every shadow reads.
    :param taken: every range that some reader might see; no new range may touch them.
    :param why: what is wrong with an odd or malformed line.
    :param boundless_from: the id from which on shadow before 4.20 takes every id for the owner's.
    :param empty_at: where a range of no ids stands.
    """

    number: int
    text: str
    kind: str
    owner: str = ""
    granted: IdRange | None = None
    taken: tuple[IdRange, ...] = ()
    why: str = ""
    boundless_from: int | None = None
    empty_at: int | None = None


def _c_number(text: str) -> int | None:
    # shadow calls strtoul() with base 0: 0x10 and 010 are 16 and 8.
    match = _C_NUMBER.fullmatch(text)
    if match is None:
        return None
    digits = match.group(1)
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    return int(digits, 8 if digits.startswith("0") else 10)


def _boundless_from(start: str, count: str) -> int | None:
    # Before shadow 4.20, newuidmap and usermod add up in 64 bits and ask for no upper bound, so that the last id of
    # 100:99999999999, of 0:0 and, before 4.17, of 1:-1 is beyond every id.
    first, length = _wrapped(start), _wrapped(count)
    if first is None or length is None or first > MAX_ID:
        return None
    last = (first + length - 1) % 2**64
    return first if last > MAX_ID else None


def _wrapped(text: str) -> int | None:
    # strtoul() takes a minus, and the number from 2**64.
    digits = text.lstrip()
    negative = digits.startswith("-")
    value = _c_number(digits[1:] if negative else digits)
    if value is None or value >= 2**64 or (negative and not digits[1].isdigit()):
        return None
    return -value % 2**64 if negative else value


def _readings(start: str, count: str) -> list[IdRange]:
    """Return what different programs make of the two numbers; shadow's own reading first, when it has one."""
    found = []
    for first, length in (
        (_c_number(start), _c_number(count)),
        (int(start) if start.strip().isdecimal() else None, int(count) if count.strip().isdecimal() else None),
    ):
        if first is None or length is None or length == 0 or first > MAX_ID:
            continue
        reading = IdRange(first, min(length, MAX_ID - first + 1))
        if reading not in found:
            found.append(reading)
    return found


def parse_line(number: int, text: str) -> Line:
    """Read one line of ``/etc/subuid`` or ``/etc/subgid``; never fails.

    :param number: its place, from 1.
    :param text: the line without its line feed.
    """
    bare = text.strip()
    if not bare:
        return Line(number, text, BLANK)
    fields = text.split(":")
    readings = _readings(fields[1], fields[2]) if len(fields) >= 3 else []
    if bare.startswith("#"):
        # A range that was commented out may still own files, and shadow itself reads "# name" as an owner.
        return Line(number, text, COMMENT, taken=tuple(readings))

    def malformed(why: str, **more: Any) -> Line:
        return Line(number, text, MALFORMED, owner=fields[0].strip(), taken=tuple(readings), why=why, **more)

    if len(fields) < 3:
        return malformed("it has fewer than three fields")
    if text[0] in "+-":
        return malformed("entries of NIS are not supported")
    if not fields[0]:
        return malformed("it names no owner")
    if len(fields) > 3:
        return Line(number, text, ODD, fields[0], None, tuple(readings),
                    "it has more than three fields, which shadow reads only before 4.18")
    first, length = _c_number(fields[1]), _c_number(fields[2])
    boundless_from = _boundless_from(fields[1], fields[2])
    if first is None or length is None:
        if text.endswith("\r"):
            return malformed("it ends with a carriage return")
        return malformed("first id and count must be numbers", boundless_from=boundless_from)
    if length == 0:
        return malformed("its count is 0", boundless_from=boundless_from, empty_at=first)
    if first + length - 1 > MAX_ID:
        return malformed("it ends beyond the highest id", boundless_from=boundless_from)
    granted = IdRange(first, length)
    plain = _PLAIN_NUMBER.fullmatch(fields[1]) and _PLAIN_NUMBER.fullmatch(fields[2])
    if not plain:
        why = "its numbers are not plain decimal ones"
    elif fields[0] != fields[0].strip():
        why = "there are spaces around its owner"
    else:
        return Line(number, text, RANGE, fields[0], granted, (granted,))
    return Line(number, text, ODD, fields[0], granted, tuple(readings), why)


def _read_alike(line: Line, fields: Sequence[str]) -> bool:
    if line.owner != fields[0] or not all(map(_GO_NUMBER.fullmatch, fields[1:])):
        return False
    return line.granted == IdRange(int(fields[1]), int(fields[2]))


@dataclass(frozen=True)
class Table:
    """The content of ``/etc/subuid`` or ``/etc/subgid``.

    :param path: the file.
    :param text: what it holds; bytes that are no UTF-8 as surrogates.
    :param lines: the same, line by line.
    """

    path: str
    text: str
    lines: tuple[Line, ...] = field(repr=False)

    @classmethod
    def parse(cls, path: str, text: str) -> Table:
        """Read a table; every line is kept."""
        texts = text.split("\n")
        if texts[-1] == "":
            texts.pop()
        return cls(path, text, tuple(parse_line(number, line) for number, line in enumerate(texts, 1)))

    def granted_to(self, *owners: str) -> tuple[IdRange, ...]:
        """Return the ranges that stand under one of these owners, in the file's order."""
        return tuple(line.granted for line in self.lines if line.granted is not None and line.owner in owners)

    def refused(self, *owners: str) -> Line | None:
        """Return the line that leaves these owners a single id where buildah is built without libsubid.

        Then it reads the table by itself: containers/storage, pkg/idtools: parseSubidFile. It gives up at a line that
        has not three fields and, of the user's own, at one whose numbers are not decimal; and newuidmap refuses all
        where it reads the user's own line otherwise.
        """
        for line in self.lines:
            fields = line.text.strip().split(":")
            if line.kind in (BLANK, COMMENT):
                continue
            if len(fields) != 3 or (fields[0] in owners and not _read_alike(line, fields)):
                return line
        return None

    def taken(self) -> Iterable[IdRange]:
        """Return every range that any reader might see in the table, whoever owns it."""
        return (item for line in self.lines for item in line.taken)

    def end_of(self, owners: Sequence[str]) -> int:
        """Return the id after the last one that any reader might take for one of these owners'."""
        return max((item.last + 1 for line in self.lines if line.owner in owners for item in line.taken), default=0)

    def after(self, owner: str, added: Iterable[IdRange], removed: Iterable[IdRange]) -> Table:
        """Return the table as usermod leaves it: lines of the owner gone, new ones at the end, all others untouched."""
        gone = set(removed)

        def stays(line: Line) -> bool:
            if line.owner != owner:
                return True
            if line.empty_at is not None:  # goes together with a range that it stands in
                return not any(item.start < line.empty_at <= item.last for item in gone)
            return line.granted not in gone

        text = "".join(line.text + "\n" for line in self.lines if stays(line))
        new = "".join(f"{owner}:{item}\n" for item in added)
        if text + new == self.text + "\n":
            return self  # only the last line feed is missing: nobody would write the file for that
        return Table.parse(self.path, text + new)


# ---------------------------------------------------------------------------------------------------------------------
# login.defs and nsswitch.conf


@dataclass(frozen=True)
class Limits:
    """What ``/etc/login.defs`` says, in ids; the defaults are those of login.defs(5).

    :param sub_uids: first and last subordinate uid that may be given out.
    :param sub_gids: the same for gids.
    :param uids: first and last uid of people's accounts.
    :param gids: the same for gids.
    """

    sub_uids: tuple[int, int] = (100000, 600100000)
    sub_gids: tuple[int, int] = (100000, 600100000)
    uids: tuple[int, int] = (1000, 60000)
    gids: tuple[int, int] = (1000, 60000)

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Read ``/etc/login.defs``; what is missing or no number keeps its default, as shadow does it."""
        values: dict[str, int] = {}
        for line in text.splitlines():
            words = line.split()
            if len(words) >= 2 and not words[0].startswith("#"):
                value = _c_number(words[1].strip('"'))
                if value is not None:
                    values[words[0]] = value
        usual = cls()

        def pair(name: str, default: tuple[int, int]) -> tuple[int, int]:
            return values.get(f"{name}_MIN", default[0]), values.get(f"{name}_MAX", default[1])

        return cls(pair("SUB_UID", usual.sub_uids), pair("SUB_GID", usual.sub_gids),
                   pair("UID", usual.uids), pair("GID", usual.gids))


def subid_service(nsswitch: str) -> str:
    """Return the service that answers for subordinate ids, ``files`` when nothing else is set.

    :param nsswitch: the text of ``/etc/nsswitch.conf``. Of its ``subid`` line only the first service counts.
    """
    for line in nsswitch.splitlines():
        name, colon, rest = line.split("#", 1)[0].partition(":")
        if colon and name.strip().lower() == "subid":
            words = rest.split()
            return words[0] if words else "files"
    return "files"


# ---------------------------------------------------------------------------------------------------------------------
# The host, the wishes and the plan


@dataclass(frozen=True)
class Host:
    """What was seen on a host.

    :param subuid: ``/etc/subuid``.
    :param subgid: ``/etc/subgid``.
    :param limits: ``/etc/login.defs``.
    :param uids: the name of every account that can be listed, by uid.
    :param gids: the name of every group that can be listed, by gid.
    :param reserved: ranges that the user wants left alone.
    :param unmapped: ids that there are elsewhere only: a container may have a part of them.
    """

    subuid: Table
    subgid: Table
    limits: Limits = Limits()
    uids: Mapping[int, str] = field(default_factory=dict)
    gids: Mapping[int, str] = field(default_factory=dict)
    reserved: tuple[IdRange, ...] = ()
    unmapped: tuple[IdRange, ...] = ()

    def owned(self, name: str, uid: int | None) -> tuple[tuple[IdRange, ...], tuple[IdRange, ...]]:
        """Return the ranges of uids and of gids that every program takes for a user's, in the files' order."""
        # In /etc/subgid libsubid takes a number for that of the group with the user's name, and newgidmap for a uid.
        both = owners(name, uid) if uid is not None and self._group_of(name) == uid else (name,)
        return self.subuid.granted_to(*owners(name, uid)), self.subgid.granted_to(*both)

    def ends(self, name: str, uid: int | None) -> tuple[int, int]:
        """Return the ids, one for each file, below which a new range might shift the others of a user.

        containers/storage numbers the ids of a container in the order of the ranges' first ids: a range below an
        existing one would shift the ids of every image that the user has stored.
        """
        group = self._group_of(name)
        either = owners(name, uid) + (() if group is None else (str(group),))
        return self.subuid.end_of(owners(name, uid)), self.subgid.end_of(either)

    def _group_of(self, name: str) -> int | None:
        return next((gid for gid, group in self.gids.items() if group == name), None)

    def obstacles(self, besides: Sequence[str] = ()) -> Iterable[tuple[IdRange, str]]:
        """Return every range that a new one must not touch, and what it is.

        :param besides: owners whose own lines are no obstacle. The kubelet may also have what is reserved for it.
        """
        yield IdRange(0, HOST_IDS), "the host's own ids"
        for low, high in (self.limits.uids, self.limits.gids):
            yield IdRange(low, max(0, high - low + 1)), "set aside for accounts in /etc/login.defs"
        if KUBELET_USER not in besides:
            yield KUBELET_RANGE, "reserved for the kubelet's pods"
        for item in self.reserved:
            yield item, "reserved by the caller"
        for item in self.unmapped:
            yield item, "not an id of this container"
        for table in (self.subuid, self.subgid):
            for line in table.lines:
                if not (line.granted and line.owner in besides):
                    for item in line.taken:
                        yield item, f"taken by line {line.number} of {table.path}"
        for accounts, what in ((self.uids, "uid of"), (self.gids, "gid of the group")):
            for number, name in accounts.items():
                yield IdRange(number, 1), f"the {what} {name}"


@dataclass(frozen=True)
class Wish:
    """What is wanted for one user.

    :param name: the user.
    :param present: whether to have ranges at all.
    :param count: how many ids at least, uids and gids each.
    :param start: the user's first id, when it may not be chosen freely.
    :param align: when not 1, one range is wanted for uids and the same for gids; its start and length are multiples of
        this, and it begins above the first so many ids. That is what a kubelet demands of its own user.
    """

    name: str
    present: bool = True
    count: int = 65536
    start: int | None = None
    align: int = 1


@dataclass(frozen=True)
class Change:
    """What to write for one user; ranges are either added or removed, never both."""

    name: str
    add_uids: tuple[IdRange, ...] = ()
    add_gids: tuple[IdRange, ...] = ()
    del_uids: tuple[IdRange, ...] = ()
    del_gids: tuple[IdRange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add_uids or self.add_gids or self.del_uids or self.del_gids)

    def options(self) -> list[str]:
        """Return what usermod has to be told: usermod(8)."""
        return [
            word
            for option, ranges in (("--del-subuids", self.del_uids), ("--del-subgids", self.del_gids),
                                   ("--add-subuids", self.add_uids), ("--add-subgids", self.add_gids))
            for item in ranges for word in (option, f"{item.start}-{item.last}")
        ]

    def undo_additions(self) -> Change:
        """Return the change that takes the added ranges away again."""
        return Change(self.name, del_uids=self.add_uids, del_gids=self.add_gids)


def owners(name: str, uid: int | None) -> tuple[str, ...]:
    """Return under which owners a user's ranges may stand: subuid(5) allows the name and the uid."""
    return (name,) if uid is None else (name, str(uid))


def check_wishes(wishes: Sequence[Wish]) -> None:
    """Refuse wishes that no host could fulfil.

    :raises InputError: a user is named twice, or a number is out of bounds.
    """
    seen = set()
    for wish in wishes:
        if not wish.name or ":" in wish.name or "\n" in wish.name or wish.name.startswith(("-", "+", "#")):
            raise InputError(f"{wish.name!r} is no user name")
        if wish.name in seen:
            raise InputError(f"The user {wish.name} is named twice", remedy="name each user once")
        seen.add(wish.name)
        if wish.present and not 1 <= wish.count <= MAX_ID:
            raise InputError(f"A count of {wish.count} ids for {wish.name} is out of bounds",
                             remedy="ask for at least 1; an image of a distribution wants 65536")
        if wish.present and wish.start is not None and not HOST_IDS <= wish.start <= MAX_ID - wish.count + 1:
            raise InputError(f"The range {wish.start}:{wish.count} for {wish.name} is out of bounds",
                             cause=f"ids below {HOST_IDS} belong to the host and {MAX_ID} is the highest",
                             remedy="choose another start, or none")
        if wish.present and (wish.align < 1 or wish.count % wish.align or (wish.start or 0) % wish.align):
            raise InputError(f"The range for {wish.name} cannot be aligned",
                             cause=f"start and count must be multiples of {wish.align}, which must be at least 1",
                             remedy="ask for a count, and for a start if any, that is a multiple of align")


def plan(host: Host, wishes: Sequence[Wish], uids: Mapping[str, int]) -> list[Change]:
    """Decide what to write for each wish, in their order.

    :param host: what was seen.
    :param wishes: what is wanted, checked by :func:`check_wishes`.
    :param uids: the uid of every wished user that exists; a user that is missing gets ranges planned as any other.
    :raises InputError: a wish cannot be fulfilled; nothing of the plan may be executed then.
    """
    changes = []
    for wish in wishes:
        change = _plan_one(host, wish, uids.get(wish.name))
        if change:
            host = after(host, change)  # the next user must not get the same ids
        changes.append(change)
    return changes


def after(host: Host, change: Change) -> Host:
    """Return the host as it will be once a change is made."""
    return replace(
        host,
        subuid=host.subuid.after(change.name, change.add_uids, change.del_uids),
        subgid=host.subgid.after(change.name, change.add_gids, change.del_gids),
    )


def _plan_one(host: Host, wish: Wish, uid: int | None) -> Change:
    if not wish.present:
        return _plan_removal(host, wish.name, uid)
    if wish.align > 1:
        return _plan_aligned(host, wish, uid)
    if wish.start is not None:
        return _plan_fixed(host, wish, wish.start, uid)
    need_uids, need_gids = (wish.count - len(Spans(has)) for has in host.owned(wish.name, uid))
    if need_uids <= 0 and need_gids <= 0:
        return Change(wish.name)
    _check_bounds(host, wish.name, uid)
    return Change(wish.name, *_allocate(host, wish, need_uids, need_gids, *host.ends(wish.name, uid)))


def misaligned(uids: Sequence[IdRange], gids: Sequence[IdRange], count: int, align: int) -> str:
    """Say why a kubelet would not start with these ranges of its user; empty when it would.

    Source: MakeUserNsManager() and getKubeletMappings() of the kubelet, 1.33 to 1.36. It asks getsubids, and wants one
    line for uids and the same one for gids.

    :param count: how many ids its pods need together.
    :param align: how many ids a pod gets.
    """
    if tuple(uids) != tuple(gids):
        return "the ranges of uids and of gids differ"
    if len(uids) != 1:
        return f"there are {len(uids)} ranges instead of one"
    only = uids[0]
    if only.start % align or only.count % align:
        return f"start and length of {only} are not both multiples of {align}"
    if only.start < align:
        return f"{only} begins below {align}, where the host's own ids are"
    if only.count < count:
        return f"{only} holds {only.count // align} pods and {count // align} are wanted"
    return ""


def _plan_aligned(host: Host, wish: Wish, uid: int | None) -> Change:
    own = host.owned(wish.name, uid)
    if any(own):
        why = misaligned(*own, wish.count, wish.align)
        if not why and wish.start is not None and own[0][0].start != wish.start:
            why = f"{own[0][0]} does not begin at {wish.start}"
        if not why:
            return Change(wish.name)
        # A second range would be no help, and pods may be running with ids of the first.
        raise InputError(
            f"The ranges of {wish.name} cannot be used as they are", cause=why,
            remedy=f"end what runs with ids of {wish.name} (for a kubelet: drain the node), take the ranges away with "
                   "state: absent, and run this again")
    _check_bounds(host, wish.name, uid)
    taken = [item for item, what in host.obstacles(besides=(wish.name,))]
    usual = KUBELET_RANGE.start if wish.start is None else wish.start
    start = None
    for low, high in ((usual, usual + wish.count - 1), *(() if wish.start is not None else (
            (usual, MAX_ID), (max(HOST_IDS, wish.align), usual - 1)))):
        start = Spans(taken).first_gap(wish.count, low, min(high, MAX_ID), wish.align)
        if start is not None:
            break
    if start is None:
        where = "anywhere" if wish.start is None else f"at {wish.start}"
        raise InputError(f"There is no room for {wish.count} ids in one range for {wish.name} {where}",
                         remedy="ask for fewer ids (a kubelet's maxPods), or free some in /etc/subuid and /etc/subgid")
    only = (IdRange(start, wish.count),)
    return Change(wish.name, only, only)


def _check_bounds(host: Host, name: str, uid: int | None) -> None:
    # usermod would change nothing, because the user seems to have every range already, or cut that line into pieces.
    for table in (host.subuid, host.subgid):
        for line in table.lines:
            if line.boundless_from is not None and line.owner in owners(name, uid):
                raise InputError(f"The ranges of {name} cannot be changed",
                                 cause=f"by line {line.number} of {table.path} shadow before 4.20 takes every id from "
                                       f"{line.boundless_from} on for theirs: {line.why}",
                                 remedy=f"delete the line '{line.text}' from {table.path} by hand")


def _allocate(host: Host, wish: Wish, need_uids: int, need_gids: int,
              low_uid: int, low_gid: int) -> tuple[tuple[IdRange, ...], tuple[IdRange, ...]]:
    taken = [item for item, what in host.obstacles()]
    sub_uids, sub_gids = host.limits.sub_uids, host.limits.sub_gids
    if need_uids > 0 and need_gids > 0:
        low = max(low_uid, low_gid, sub_uids[0], sub_gids[0])
        start = Spans(taken).first_gap(max(need_uids, need_gids), low, min(sub_uids[1], sub_gids[1], MAX_ID))
        if start is not None:
            return (IdRange(start, need_uids),), (IdRange(start, need_gids),)
    more = ", or give this container more ids: it has a part of all only" if host.unmapped else ""
    new_uids = _gap(wish, taken, need_uids, low_uid, sub_uids, "SUB_UID_MAX", more)
    new_gids = _gap(wish, [*taken, *new_uids], need_gids, low_gid, sub_gids, "SUB_GID_MAX", more)
    return new_uids, new_gids


def _gap(wish: Wish, taken: Iterable[IdRange], need: int, low: int, limits: tuple[int, int],
         setting: str, more: str) -> tuple[IdRange, ...]:
    if need <= 0:
        return ()
    start = Spans(taken).first_gap(need, max(low, limits[0]), min(limits[1], MAX_ID))
    if start is None:
        above = f" above the user's own ranges, which end at {low - 1}," if low > limits[0] else ""
        raise InputError(
            f"There is no room for {need} more ids for {wish.name}",
            cause=f"no gap of that length is free{above} up to {setting} {limits[1]}",
            remedy=f"raise {setting} in /etc/login.defs, ask for fewer ids, or give the range's start yourself{more}",
        )
    return (IdRange(start, need),)


def _plan_fixed(host: Host, wish: Wish, start: int, uid: int | None) -> Change:
    wanted = IdRange(start, wish.count)
    owned = host.owned(wish.name, uid)
    missing = [Spans(has).missing(wanted) for has in owned]
    if any(missing):
        _check_bounds(host, wish.name, uid)
    for table, has in zip((host.subuid, host.subgid), owned):
        # Hosts ask for a start to agree on every id of a container, and those count from the user's lowest.
        if any(item.start < start for item in has):
            raise InputError(
                f"The ids of {wish.name} would not begin at {start}",
                cause=f"the user has the range {min(has)} in {table.path}, and a container's ids are numbered from "
                      "the user's lowest on: they would differ from those of other hosts",
                remedy="take the user's ranges away first (state: absent) and reset the stores; useradd gives new "
                       "accounts none with -K SUB_UID_COUNT=0 -K SUB_GID_COUNT=0",
            )
    for table, parts, end in zip((host.subuid, host.subgid), missing, host.ends(wish.name, uid)):
        if any(part.start < end for part in parts):
            raise InputError(
                f"The range {wanted} cannot be given to {wish.name}",
                cause=f"the user has ids up to {end - 1} in {table.path}, and new ones below would shift the "
                      "ids of every image in the user's stores",
                remedy="choose a higher start, or take the user's ranges away first (state: absent) and reset the "
                       "stores",
            )
        for part in parts:
            for item, what in host.obstacles(besides=owners(wish.name, uid)):
                if item.count and item.overlaps(part):
                    raise InputError(f"The range {wanted} cannot be given to {wish.name}",
                                     cause=f"it overlaps {item}, which is {what}",
                                     remedy="choose another start, or none to have a free range chosen")
    return Change(wish.name, *missing)


def _plan_removal(host: Host, name: str, uid: int | None) -> Change:
    for table in (host.subuid, host.subgid):
        for line in table.lines:
            if line.granted is None or line.owner not in owners(name, uid):
                continue
            if line.owner != name:
                raise InputError(
                    f"The range {line.granted} of {name} cannot be removed",
                    cause=f"line {line.number} of {table.path} names its owner by uid, and usermod removes only what "
                          "stands under the name",
                    remedy=f"delete the line '{line.text}' from {table.path} by hand",
                )
            if uid is None:
                raise InputError(
                    f"The range {line.granted} of {name} cannot be removed",
                    cause=f"there is no account {name}, and usermod changes only accounts that exist",
                    remedy=f"delete the line '{line.text}' from {table.path} by hand",
                )
    change = Change(name, del_uids=_each_once(host.subuid.granted_to(name)),
                    del_gids=_each_once(host.subgid.granted_to(name)))
    if change:
        _check_bounds(host, name, uid)
    return change


def _each_once(ranges: Iterable[IdRange]) -> tuple[IdRange, ...]:
    return tuple(dict.fromkeys(ranges))


# ---------------------------------------------------------------------------------------------------------------------
# What is wrong with a host, and what came in between


@dataclass(frozen=True)
class Problem:
    """Something in the tables that was found and left alone.

    :param kind: ``malformed``, ``odd``, ``overlap``, ``duplicate`` or ``covers_account``.
    :param path: the file.
    :param line: the line's number, from 1.
    :param owners: whom it concerns.
    :param message: one sentence.
    """

    kind: str
    path: str
    line: int
    owners: tuple[str, ...]
    message: str


def find_problems(host: Host) -> list[Problem]:
    """Return what is wrong in both tables, in their order."""
    found: list[Problem] = []
    for table, accounts, what in ((host.subuid, host.uids, "uid"), (host.subgid, host.gids, "gid")):
        problems = [Problem(line.kind, table.path, line.number, (line.owner,), _what_is_wrong(table, line))
                    for line in table.lines if line.kind in (ODD, MALFORMED)]
        problems += _ambiguous(host, table) if table is host.subgid else []
        problems += _overlaps(table, host.uids)
        numbers = sorted(accounts)
        for line in table.lines:
            if line.granted is not None:
                position = bisect.bisect_left(numbers, line.granted.start)
                if position < len(numbers) and numbers[position] <= line.granted.last:
                    number = numbers[position]
                    problems.append(Problem(
                        "covers_account", table.path, line.number, (_person(line.owner, host.uids), accounts[number]),
                        f"Line {line.number} of {table.path} covers the {what} {number} of {accounts[number]}"))
        found += sorted(problems, key=lambda problem: problem.line)
    return found


def _what_is_wrong(table: Table, line: Line) -> str:
    if line.boundless_from is not None:
        what = f"lets {line.owner} use every id from {line.boundless_from} on with shadow before 4.20"
    else:
        what = "is not understood by every program" if line.kind == ODD else "is ignored by shadow"
    return f"Line {line.number} of {table.path} {what}: {line.why}"


def _ambiguous(host: Host, subgid: Table) -> list[Problem]:
    found = []
    people = set(host.uids.values())
    for line in subgid.lines:
        if line.granted is None or not line.owner.isdecimal():
            continue
        user, group = host.uids.get(int(line.owner)), host.gids.get(int(line.owner))
        concerned = tuple(dict.fromkeys(name for name in (user, group) if name in people))
        if user != group and concerned:
            found.append(Problem(
                ODD, subgid.path, line.number, concerned,
                f"Line {line.number} of {subgid.path} is not understood by every program: its owner {line.owner} is "
                f"{user or 'no user'} for newgidmap, and for getsubids the group {group or 'of that number'}"))
    return found


def _person(owner: str, uids: Mapping[int, str]) -> str:
    return uids.get(int(owner), owner) if owner.isdecimal() else owner


def _overlaps(table: Table, uids: Mapping[int, str]) -> Iterable[Problem]:
    granted = [(line.granted, line) for line in table.lines if line.granted]
    furthest: tuple[IdRange, Line] | None = None
    for ids, line in sorted(granted, key=lambda one: (one[0], one[1].number)):
        if furthest is not None and ids.start <= furthest[0].last:
            other = furthest[1]
            owners = (_person(other.owner, uids), _person(line.owner, uids))
            kind = "duplicate" if owners[0] == owners[1] else "overlap"
            yield Problem(kind, table.path, line.number, owners,
                          f"Line {line.number} of {table.path} ({line.text}) overlaps line {other.number} "
                          f"({other.text})")
        if furthest is None or ids.last > furthest[0].last:
            furthest = (ids, line)


def clashes(host: Host, change: Change, uid: int | None = None) -> list[str]:
    """Say what the ranges that were just added have in common with others that came at the same time.

    :param host: what was seen after the change.
    :param change: the change.
    :param uid: the user's uid.
    :return: one sentence for each clash, none when all is well.
    """
    new = _each_once(change.add_uids + change.add_gids)
    return [f"{mine} overlaps {item}, which is {what}"
            for item, what in host.obstacles(besides=owners(change.name, uid)) if item.count
            for mine in new if mine.overlaps(item)]


def mapping_is_stale(outside: Iterable[IdRange], own_id: int, ranges: Iterable[IdRange]) -> bool:
    """Say whether a user namespace was made with other ranges than the user has now.

    :param outside: the host's ids that the namespace maps, from ``/proc/PID/uid_map``.
    :param own_id: the user's own id, which every rootless namespace maps besides.
    :param ranges: the user's ranges.
    """
    own = IdRange(own_id, 1)
    return Spans([*outside, own]) != Spans([*ranges, own])

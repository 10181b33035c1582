# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets which ids: decisions about tables, without a host."""

from __future__ import annotations

import collections
import functools
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._subid import (
    KUBELET_RANGE,
    MAX_ID,
    Change,
    Host,
    IdRange,
    Limits,
    Spans,
    Table,
    Wish,
    after,
    check_wishes,
    clashes,
    find_problems,
    mapping_is_stale,
    misaligned,
    parse_line,
    plan,
    subid_service,
)
from ansible_collections.rootless.buildah.tests.unit.plugins.module_utils.random_subids import (
    Asked,
    Oracle,
    RandomHost,
)

FULL = IdRange(100000, 65536)


def host(subuid: str = "", subgid: str | None = None, **others: Any) -> Host:
    """Return a host with these tables; one text for both unless a second is given."""
    return Host(Table.parse("/etc/subuid", subuid), Table.parse("/etc/subgid", subuid if subgid is None else subgid),
                **others)


def plan_one(seen: Host, name: str = "build", uid: int | None = 1001, **wish: Any) -> Change:
    """Return what is planned for one user."""
    wishes = [Wish(name, **wish)]
    check_wishes(wishes)
    return plan(seen, wishes, {} if uid is None else {name: uid})[0]


class TestLines:
    # What "granted" holds was observed with getsubids of shadow 4.13 on exactly these lines.
    @pytest.mark.parametrize("text, kind, owner, granted", [
        ("build:100000:65536", "range", "build", (100000, 65536)),
        ("1001:920000:10", "range", "1001", (920000, 10)),
        ("rb.sub@ex.com:980000:10", "range", "rb.sub@ex.com", (980000, 10)),
        ("EX\\build:980000:10", "range", "EX\\build", (980000, 10)),
        ("domain users:980000:10", "range", "domain users", (980000, 10)),
        ("build:4294967294:1", "range", "build", (4294967294, 1)),
        ("build:0x100000:10", "odd", "build", (1048576, 10)),
        ("build:0110000:10", "odd", "build", (36864, 10)),
        ("build: 960000:5", "odd", "build", (960000, 5)),
        ("build:970000:5:extra", "odd", "build", None),  # 4.18 and newer read nothing there
        (" build:970000:5", "odd", " build", (970000, 5)),
        ("build:910000:10\r", "malformed", "build", None),
        ("build:oops:5", "malformed", "build", None),
        ("build:7", "malformed", "build", None),
        ("broken line", "malformed", "broken line", None),
        (":950000:5", "malformed", "", None),
        ("+nis", "malformed", "+nis", None),
        ("+nis:1:1", "malformed", "+nis", None),
        ("build:930000:0", "malformed", "build", None),
        ("build:-5:5", "malformed", "build", None),
        ("build:4294967290:10", "malformed", "build", None),
        ("build:4294967296:10", "malformed", "build", None),
        ("build:099999:10", "malformed", "build", None),
        ("# build:900000:10", "comment", "", None),
        ("  # a comment", "comment", "", None),
        ("", "blank", "", None),
        ("\r", "blank", "", None),
    ])
    def test_a_line_is_read_as_shadow_reads_it(self, text: str, kind: str, owner: str,
                                               granted: tuple[int, int] | None) -> None:
        line = parse_line(1, text)
        assert (line.kind, line.owner, line.granted) == (kind, owner, IdRange(*granted) if granted else None)
        assert line.text == text
        assert bool(line.why) == (kind in ("odd", "malformed"))

    @pytest.mark.parametrize("text, taken", [
        ("build:100000:65536", [(100000, 65536)]),
        ("build:910000:10\r", [(910000, 10)]),  # buildah without libsubid reads it
        ("build:0110000:10", [(36864, 10), (110000, 10)]),  # octal for shadow 4.13, decimal for Go programs
        ("# build:900000:10", [(900000, 10)]),
        ("build:4294967290:10", [(4294967290, 5)]),
        (":950000:5", [(950000, 5)]),
        ("broken line", []),
    ])
    def test_whatever_any_program_could_read_is_taken(self, text: str, taken: list[tuple[int, int]]) -> None:
        assert parse_line(1, text).taken == tuple(IdRange(*item) for item in taken)

    def test_a_table_gives_back_every_line_word_for_word(self) -> None:
        text = "# head\r\n\nbroken\nbuild:100000:65536\n\udcff:x\nlast:200000:1"
        table = Table.parse("/etc/subuid", text)
        assert "\n".join(line.text for line in table.lines) == text
        assert [line.number for line in table.lines] == [1, 2, 3, 4, 5, 6]

    def test_a_change_touches_only_lines_of_the_user_and_appends(self) -> None:
        text = "# head\nbuild:100000:5\nbroken\nother:200000:5\nbuild:100000:5\n1001:300000:5"
        table = Table.parse("/etc/subuid", text)
        now = table.after("build", [IdRange(400000, 7)], [IdRange(100000, 5)])
        assert now.text == "# head\nbroken\nother:200000:5\n1001:300000:5\nbuild:400000:7\n"

    def test_nothing_to_change_leaves_even_a_missing_line_feed(self) -> None:
        table = Table.parse("/etc/subuid", "build:100000:5")
        assert table.after("build", [], []) == table


class TestReaderOfStorage:
    """What containers/storage gives up, measured with buildah 1.28.2 on Debian 12."""

    @pytest.mark.parametrize("line", [
        "bob", "+", "bob:1", "bob:300000:65536:", ":::", "anna:300000:0x10000", "anna:300000: 1", "1001:x:1",
        # These it reads, and newuidmap reads them otherwise or not at all.
        "anna:0300000:65536", "anna:300000:65536\r", "anna:300000:0", " anna:300000:65536", "anna:4294967000:65536",
    ])
    def test_one_line_is_enough(self, line: str) -> None:
        found = Table.parse("/etc/subuid", f"anna:100000:65536\n{line}\nbob\n").refused("anna", "1001")
        assert found is not None and (found.number, found.text) == (2, line)

    @pytest.mark.parametrize("line", [
        "", "  ", "# bob", "  #", "bob:x:y", "bob:300000:0x10000", "anna:300000:+65536", "::",
    ])
    def test_it_takes_others(self, line: str) -> None:
        assert Table.parse("/etc/subuid", f"{line}\nanna:100000:65536\n").refused("anna", "1001") is None


class TestSettings:
    def test_login_defs_are_read_and_gaps_keep_the_documented_defaults(self) -> None:
        limits = Limits.parse("# SUB_UID_MIN 5\nSUB_UID_MIN\t\t 200000\nSUB_GID_MAX 0x10000000\n"
                              "UID_MAX oops\nGID_MIN\n")
        assert limits == Limits(sub_uids=(200000, 600100000), sub_gids=(100000, 0x10000000), uids=(1000, 60000),
                                gids=(1000, 60000))

    @pytest.mark.parametrize("text, service", [
        ("", "files"),
        ("passwd: files sss\n", "files"),
        ("#subid: sss\n", "files"),
        ("subid: files\n", "files"),
        ("subid:\tsss files\n", "sss"),
        ("subid: files sss # both\n", "files"),
        ("SUBID: sss#x\n", "sss"),
        ("subid:\n", "files"),
    ])
    def test_the_first_service_answers_for_subordinate_ids(self, text: str, service: str) -> None:
        assert subid_service(text) == service


class TestSpans:
    def test_ids_in_several_ranges_count_once(self) -> None:
        assert len(Spans([IdRange(10, 5), IdRange(12, 5), IdRange(10, 5), IdRange(30, 1)])) == 8

    @pytest.mark.parametrize("count, low, high, start", [
        (5, 0, 99, 0), (10, 0, 99, 0), (11, 0, 99, 30), (1, 5, 99, 5), (6, 5, 99, 30), (5, 12, 99, 30), (70, 0, 99, 30),
        (71, 0, 99, None), (1, 100, 99, None),
    ])
    def test_the_first_gap_that_is_long_enough_is_found(self, count: int, low: int, high: int,
                                                        start: int | None) -> None:
        assert Spans([IdRange(10, 10), IdRange(20, 10)]).first_gap(count, low, high) == start

    def test_what_is_missing_of_a_range(self) -> None:
        spans = Spans([IdRange(10, 5), IdRange(20, 5)])
        assert spans.missing(IdRange(8, 20)) == (IdRange(8, 2), IdRange(15, 5), IdRange(25, 3))
        assert spans.missing(IdRange(11, 3)) == ()
        assert spans.missing(IdRange(30, 3)) == (IdRange(30, 3),)


class TestAllocation:
    def test_the_first_user_of_a_host_gets_what_useradd_would_give(self) -> None:
        assert plan_one(host()) == Change("build", (FULL,), (FULL,))

    def test_the_second_user_comes_after_the_first(self) -> None:
        assert plan_one(host("other:100000:65536\n")).add_uids == (IdRange(165536, 65536),)

    def test_users_of_one_call_do_not_get_the_same_ids(self) -> None:
        changes = plan(host(), [Wish("one"), Wish("two")], {"one": 1001, "two": 1002})
        assert [change.add_uids for change in changes] == [(FULL,), (IdRange(165536, 65536),)]

    @pytest.mark.parametrize("table", [
        "build:100000:65536\n",
        "1001:100000:65536\n",
        "build:100000:40000\nbuild:200000:25536\n",
        "build:100000:40000\n1001:200000:25536\n",
        "build:0x186A0:65536\n",
        "build:100000:200000\n",
    ])
    def test_enough_ids_under_the_name_or_the_uid_need_nothing(self, table: str) -> None:
        assert not plan_one(host(table, gids={1001: "build"}))

    @pytest.mark.parametrize("groups", [{}, {1002: "build"}, {1001: "staff", 1002: "build"}])
    def test_gids_under_a_number_that_is_not_the_group_s_too_do_not_count(self, groups: dict[int, str]) -> None:
        # getsubids -g and every program with libsubid look for the gid of the group build there, newgidmap for the uid.
        change = plan_one(host("1001:100000:65536\n", gids=groups))
        assert change == Change("build", (), (IdRange(165536, 65536),))

    @pytest.mark.parametrize("line", ["build:200000:10:extra", "build:200000:10\r", "1001:200000:10", "1002:200000:10"])
    def test_a_new_range_is_above_whatever_any_program_takes_for_the_user_s(self, line: str) -> None:
        change = plan_one(host("", f"{line}\n", gids={1002: "build"}))
        assert change.add_gids == (IdRange(200010, 65536),)

    @pytest.mark.parametrize("line", ["build:0:0", "build:1:-1", "1001:100:99999999999", "build:200000:4294967296"])
    @pytest.mark.parametrize("wish", [{}, {"start": 100000}, {"present": False}], ids=str)
    def test_a_line_that_shadow_takes_for_every_id_must_go_first(self, line: str, wish: dict[str, Any]) -> None:
        table = f"x\n{line}\n" + ("" if wish.get("present", True) else "build:100000:5\n")
        told = f"line 2 of /etc/subuid shadow before 4.20 takes every id.*delete the line '{line}'"
        with pytest.raises(InputError, match=told):
            plan_one(host(table), **wish)
        assert not plan_one(host(f"{line}\nbuild:100000:65536\n"))

    def test_such_a_line_of_somebody_else_is_no_obstacle(self) -> None:
        assert plan_one(host("other:0:0\nother:1:-1\n")) == Change("build", (FULL,), (FULL,))

    @pytest.mark.parametrize("table, added", [
        ("build:100000:1000\n", (101000, 64536)),
        ("build:100000:1000\nother:101000:5\n", (101005, 64536)),
        ("build:100000:1000\nbuild:100000:1000\n", (101000, 64536)),
        ("build:300000:1000\n", (301000, 64536)),
        ("2001:100000:65536\n", (165536, 65536)),
        ("build:100000:65536\r\n", (165536, 65536)),
    ])
    def test_too_few_ids_get_one_range_more_above_the_old_ones(self, table: str, added: tuple[int, int]) -> None:
        assert plan_one(host(table)) == Change("build", (IdRange(*added),), (IdRange(*added),))

    def test_only_the_file_with_too_few_ids_grows(self) -> None:
        assert plan_one(host("build:100000:65536\n", "")) == Change("build", (), (IdRange(165536, 65536),))

    def test_both_files_get_the_same_start_when_they_lack_different_amounts(self) -> None:
        change = plan_one(host("build:100000:30000\n", "build:100000:60000\n"))
        assert change == Change("build", (IdRange(160000, 35536),), (IdRange(160000, 5536),))

    def test_limits_that_have_nothing_in_common_give_different_numbers(self) -> None:
        limits = Limits(sub_uids=(100000, 199999), sub_gids=(300000, 399999))
        assert plan_one(host(limits=limits)) == Change("build", (FULL,), (IdRange(300000, 65536),))

    def test_limits_with_little_in_common_still_give_numbers_apart_from_each_other(self) -> None:
        limits = Limits(sub_uids=(100000, 165535), sub_gids=(150000, 300000))
        assert plan_one(host(limits=limits)) == Change("build", (FULL,), (IdRange(165536, 65536),))

    @pytest.mark.parametrize("others, start", [
        ({"subgid": "other:100000:65536\n"}, 165536),
        ({"uids": {150000: "ldap"}}, 150001),
        ({"gids": {100000: "ldap"}}, 100001),
        ({"reserved": (IdRange(90000, 20000),)}, 110000),
        ({"subuid": "# build:100000:10\n"}, 100010),
        ({"subuid": ":100000:10\n"}, 100010),
        ({"limits": Limits(sub_uids=(1, 10**9), sub_gids=(1, 10**9))}, 65536),
        ({"limits": Limits(sub_uids=(1, 10**9), sub_gids=(1, 10**9), gids=(1000, 200000))}, 200001),
        ({"limits": Limits(sub_uids=(2147483640, MAX_ID), sub_gids=(2147483640, MAX_ID))}, 2154692608),
        ({"limits": Limits(sub_uids=(5000000, MAX_ID))}, 5000000),
    ])
    def test_a_new_range_lies_outside_everything_that_is_taken(self, others: dict[str, Any], start: int) -> None:
        assert plan_one(host(**{"subuid": "", "subgid": "", **others})).add_uids == (IdRange(start, 65536),)

    def test_no_room_names_the_limit_and_the_way_out(self) -> None:
        with pytest.raises(InputError, match="no room for 65536 more ids for build.*SUB_UID_MAX 150000.*login.defs"):
            plan_one(host(limits=Limits(sub_uids=(100000, 150000))))

    def test_room_below_the_user_s_ranges_is_no_room(self) -> None:
        seen = host("build:600000000:100001\n")
        with pytest.raises(InputError, match="above the user's own ranges, which end at 600100000"):
            plan_one(seen, count=200000)


class TestFixedStart:
    def test_a_free_range_is_given_also_outside_the_limits(self) -> None:
        wanted = IdRange(3000000000, 65536)
        assert plan_one(host(), start=3000000000) == Change("build", (wanted,), (wanted,))

    def test_a_larger_count_adds_only_what_is_missing(self) -> None:
        change = plan_one(host("build:100000:65536\n"), start=100000, count=70000)
        assert change.add_uids == change.add_gids == (IdRange(165536, 4464),)

    @pytest.mark.parametrize("owner", ["build", "1001"])
    def test_the_other_file_s_line_of_the_same_user_is_no_obstacle(self, owner: str) -> None:
        assert plan_one(host(f"{owner}:100000:65536\n", ""), start=100000) == Change("build", (), (FULL,))

    def test_what_is_there_already_needs_nothing(self) -> None:
        seen = host("build:100000:90000\n1001:190000:2000\nbuild:500000:10\n", gids={1001: "build"})
        assert not plan_one(seen, start=100000, count=90900)

    @pytest.mark.parametrize("subuid, subgid, cause", [
        # What useradd gave.
        ("build:165536:65536\n", None, "the range 165536:65536 in /etc/subuid"),
        ("build:300000:65536\nbuild:165536:65536\n", None, "the range 165536:65536 in /etc/subuid"),
        ("build:300000:65536\n", "1001:300000:65536\n1001:200000:1\n", "the range 200000:1 in /etc/subgid"),
        ("build:299999:65537\n", None, "the range 299999:65537 in /etc/subuid"),
    ])
    def test_ids_below_are_refused_for_they_would_be_the_first_of_a_container(
        self, subuid: str, subgid: str | None, cause: str
    ) -> None:
        seen = host(subuid, subgid, gids={1001: "build"})
        with pytest.raises(InputError, match="would not begin at 300000") as raised:
            plan_one(seen, start=300000)
        assert cause in str(raised.value)
        assert "state: absent" in raised.value.remedy
        assert "-K SUB_UID_COUNT=0" in raised.value.remedy

    @pytest.mark.parametrize("others, cause", [
        ({"subuid": "x\nother:150000:1\n"}, "overlaps 150000:1, which is taken by line 2 of /etc/subuid"),
        ({"subgid": "other:150000:1\n"}, "overlaps 150000:1, which is taken by line 1 of /etc/subgid"),
        ({"uids": {150000: "ldap"}}, "overlaps 150000:1, which is the uid of ldap"),
        ({"gids": {150000: "staff"}}, "overlaps 150000:1, which is the gid of the group staff"),
        ({"reserved": (IdRange(150000, 7),)}, "overlaps 150000:7, which is reserved by the caller"),
        ({"limits": Limits(uids=(1000, 100000))}, "overlaps 1000:99001, which is set aside for accounts"),
        ({"subuid": "build:200000:5\n"}, "the user has ids up to 200004 in /etc/subuid"),
    ])
    def test_a_range_that_is_not_free_is_refused_with_the_obstacle(self, others: dict[str, Any], cause: str) -> None:
        with pytest.raises(InputError, match=cause):
            plan_one(host(**{"subuid": "", "subgid": "", **others}), start=100000)

    def test_only_the_kubelet_gets_what_is_kept_for_it(self) -> None:
        fixed: dict[str, Any] = {"start": KUBELET_RANGE.start, "count": KUBELET_RANGE.count}
        assert plan_one(host(), "kubelet", 998, **fixed).add_uids == (KUBELET_RANGE,)
        with pytest.raises(InputError, match="reserved for the kubelet"):
            plan_one(host(), **fixed)


class TestAligned:
    """What a kubelet demands of its user."""

    WISH: dict[str, Any] = {"count": 7208960, "align": 65536}

    def planned(self, seen: Host, **wish: Any) -> tuple[IdRange, ...]:
        change = plan_one(seen, "kubelet", 998, **{**self.WISH, **wish})
        assert change.add_uids == change.add_gids
        assert len(change.add_uids) <= 1
        assert not change.del_uids + change.del_gids
        return change.add_uids

    @pytest.mark.parametrize("tables", ["", "build:100000:65536\nci:165536:65536\n", "x:2147483647:1\n"])
    def test_the_usual_range_is_taken_where_it_is_free(self, tables: str) -> None:
        assert self.planned(host(tables)) == (KUBELET_RANGE,)

    def test_fewer_pods_need_fewer_ids(self) -> None:
        assert self.planned(host(), count=50 * 65536) == (IdRange(2147483648, 50 * 65536),)

    @pytest.mark.parametrize("other, start", [
        ("ipa:2147483648:1\n", 2147483648 + 65536),
        ("ipa:2147480000:100000\n", 2147483648 + 2 * 65536),  # ends at 2147579999
        ("ipa:2150000000:2140000000\n", 65536 * 2),  # nothing fits above: below, and after the host's own ids
    ])
    def test_otherwise_the_next_that_is_free_and_aligned(self, other: str, start: int) -> None:
        found = self.planned(host(other, uids={65537: "someone"}))
        assert found == (IdRange(start, 7208960),)
        assert found[0].start % 65536 == 0

    @pytest.mark.parametrize("more", [
        {"uids": {2147483700: "ad-user"}}, {"gids": {2147483700: "ad-group"}},
        {"reserved": (IdRange(2147483648, 10),)}, {"subgid": "other:2147483648:10\n"},
    ])
    def test_it_keeps_off_whatever_there_is(self, more: dict[str, Any]) -> None:
        assert self.planned(host("", **more)) == (IdRange(2147483648 + 65536, 7208960),)

    @pytest.mark.parametrize("line", [
        "kubelet:2147483648:7208960", "kubelet:65536:7208960", "kubelet:131072:14417920", "998:2147483648:7208960"])
    def test_a_range_that_will_do_stays(self, line: str) -> None:
        assert self.planned(host(f"{line}\n", gids={998: "kubelet"})) == ()

    @pytest.mark.parametrize("subuid, subgid, why", [
        ("kubelet:100000:7208960\n", None, "not both multiples of 65536"),
        ("kubelet:131072:7208961\n", None, "not both multiples of 65536"),
        ("kubelet:131072:65536\n", None, "holds 1 pods and 110 are wanted"),
        ("kubelet:0:7208960\n", None, "begins below 65536"),
        ("kubelet:131072:7208960\n", "", "the ranges of uids and of gids differ"),
        ("kubelet:131072:7208960\n", "kubelet:65536:7208960\n", "the ranges of uids and of gids differ"),
        ("kubelet:131072:7208960\nkubelet:2147483648:65536\n", None, "there are 2 ranges instead of one"),
    ])
    def test_one_that_will_not_do_is_an_error_and_never_moved(self, subuid: str, subgid: str | None, why: str) -> None:
        with pytest.raises(InputError, match="cannot be used as they are") as error:
            self.planned(host(subuid, subgid))
        assert why in error.value.cause
        assert "drain the node" in error.value.remedy

    def test_a_start_may_be_given(self) -> None:
        assert self.planned(host(), start=1048576) == (IdRange(1048576, 7208960),)
        with pytest.raises(InputError, match="at 1048576"):
            self.planned(host("other:1048576:1\n"), start=1048576)
        with pytest.raises(InputError, match="does not begin at 1048576"):
            self.planned(host("kubelet:2147483648:7208960\n"), start=1048576)

    @pytest.mark.parametrize("wish", [{"count": 65537}, {"align": 0}, {"start": 100000}])
    def test_numbers_that_cannot_be_aligned_are_refused(self, wish: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="cannot be aligned"):
            self.planned(host(), **wish)

    def test_a_full_host_is_told(self) -> None:
        with pytest.raises(InputError, match="no room for 7208960 ids"):
            self.planned(host("other:65536:4294901759\n"))

    def test_other_users_keep_off_afterwards(self) -> None:
        wishes = [Wish("kubelet", **self.WISH), Wish("build")]
        first, second = plan(host(), wishes, {})
        assert not first.add_uids[0].overlaps(second.add_uids[0])

    def test_the_rule_is_the_kubelets(self) -> None:
        assert misaligned([KUBELET_RANGE], [KUBELET_RANGE], 7208960, 65536) == ""
        assert misaligned([], [], 7208960, 65536) == "there are 0 ranges instead of one"
        assert "multiples of 131072" in misaligned([IdRange(65536, 131072)], [IdRange(65536, 131072)], 131072, 131072)


class TestRemoval:
    def test_all_ranges_under_the_name_go_each_named_once(self) -> None:
        change = plan_one(host("build:1000000:5\nother:2000000:5\nbuild:1000000:5\nbuild:x:5\n", "build:0x100000:9\n"),
                          present=False)
        assert change == Change("build", del_uids=(IdRange(1000000, 5),), del_gids=(IdRange(1048576, 9),))

    def test_a_range_without_ids_goes_with_the_one_that_it_stands_in(self) -> None:
        # usermod of shadow 4.13 to 4.20 does that.
        others = "build:100000:0\nbuild:100010:0\nother:100001:0\n"
        table = Table.parse("/etc/subuid", f"build:100001:0\n{others}build:100000:9\nbuild:100008:0\n")
        assert table.after("build", [], [IdRange(100000, 9)]).text == others

    def test_nothing_to_remove_needs_no_account(self) -> None:
        assert not plan_one(host("other:1000000:5\n"), uid=None, present=False)

    @pytest.mark.parametrize("table, uid, cause", [
        ("x\n1001:1000000:5\n", 1001, "line 2 of /etc/subuid names its owner by uid.*delete the line '1001:1000000:5'"),
        ("build:1000000:5\n", None, "there is no account build.*delete the line 'build:1000000:5'"),
    ])
    def test_what_usermod_cannot_remove_is_refused_before_anything_is_done(self, table: str, uid: int | None,
                                                                           cause: str) -> None:
        with pytest.raises(InputError, match=cause):
            plan_one(host(table), uid=uid, present=False)


class TestWishes:
    @pytest.mark.parametrize("wishes, message", [
        ([Wish("a"), Wish("a")], "named twice"),
        ([Wish("")], "no user name"),
        ([Wish("a:b")], "no user name"),
        ([Wish("-a")], "no user name"),
        ([Wish("a", count=0)], "out of bounds"),
        ([Wish("a", count=-1)], "out of bounds"),
        ([Wish("a", start=1000)], "belong to the host"),
        ([Wish("a", start=MAX_ID)], "out of bounds"),
    ])
    def test_wishes_that_no_host_could_fulfil_are_refused(self, wishes: list[Wish], message: str) -> None:
        with pytest.raises(InputError, match=message):
            check_wishes(wishes)


class TestProblems:
    def test_each_kind_is_found_and_told_by_line(self) -> None:
        seen = host("one:100000:10\ntwo:100005:10\n1001:100008:1\nbuild:100008:1\nbroken\none:0x200:1\n", "",
                    uids={1001: "build", 100000: "ldap"})
        assert [(problem.kind, problem.line, problem.owners) for problem in find_problems(seen)] == [
            ("covers_account", 1, ("one", "ldap")),
            ("overlap", 2, ("one", "two")),
            ("overlap", 3, ("two", "build")),
            ("overlap", 4, ("two", "build")),
            ("malformed", 5, ("broken",)),
            ("odd", 6, ("one",)),
        ]

    def test_the_same_owner_by_name_and_by_number_is_a_duplicate(self) -> None:
        seen = host("build:100000:10\n1001:100009:10\n", "", uids={1001: "build"})
        found = [(problem.kind, problem.owners) for problem in find_problems(seen)]
        assert found == [("duplicate", ("build", "build"))]

    @pytest.mark.parametrize("line, first", [
        ("one:100:99999999999", 100), ("one:0:0", 0), ("one:7:-7", 7), ("one:4294967290:10", 4294967290),
        ("one:7:-6", None), ("one:-5:5", None), ("one:7:0", None), ("one:4294967296:10", None),
        ("one:7:18446744073709551617", None),
    ])
    def test_a_line_by_which_newuidmap_gives_every_id_is_told_as_such(self, line: str, first: int | None) -> None:
        # Observed with newuidmap of shadow 4.13.
        message = find_problems(host(f"{line}\n", ""))[0].message
        assert (f"lets one use every id from {first} on with shadow before 4.20" in message) is (first is not None)
        assert ("is ignored by shadow" in message) is (first is None)

    @pytest.mark.parametrize("gids, told", [
        ({1001: "build"}, []),
        ({1002: "build"}, ["build"]),
        ({1001: "other", 1002: "build"}, ["build", "other"]),
        ({1001: "staff"}, ["build"]),
    ])
    def test_a_number_in_subgid_that_is_not_of_one_user_and_group_is_told(self, gids: dict[int, str],
                                                                          told: list[str]) -> None:
        seen = host("1001:100000:10\n", uids={1001: "build", 1005: "other"}, gids=gids)
        found = find_problems(seen)
        assert [(problem.kind, problem.path, list(problem.owners)) for problem in found] == (
            [("odd", "/etc/subgid", told)] if told else [])

    def test_a_healthy_host_has_none(self) -> None:
        assert find_problems(host("# x\na:100000:65536\nb:165536:65536\n\n", uids={1000: "a"}, gids={1000: "a"})) == []

    def test_a_range_that_came_at_the_same_moment_clashes(self) -> None:
        change = Change("build", (FULL,), (FULL,))
        now = host("build:100000:65536\n")
        assert clashes(now, change, 1001) == []
        now = host("build:100000:65536\nnew:100000:65536\n", "build:100000:65536\n")
        assert clashes(now, change, 1001) == [
            "100000:65536 overlaps 100000:65536, which is taken by line 2 of /etc/subuid"]

    @pytest.mark.parametrize("outside, stale", [
        ([IdRange(1001, 1), FULL], False),
        ([IdRange(1001, 1)], True),
        ([IdRange(1001, 1), IdRange(100000, 65535)], True),
        ([IdRange(1001, 1), IdRange(100000, 5), IdRange(100005, 65531)], False),
    ])
    def test_a_namespace_is_stale_when_it_maps_other_ids_than_the_user_has(self, outside: list[IdRange],
                                                                           stale: bool) -> None:
        assert mapping_is_stale(outside, 1001, [FULL]) is stale


# ---------------------------------------------------------------------------------------------------------------------
# A thousand random hosts


def as_host(case: RandomHost, subuid: str, subgid: str) -> Host:
    """Return what would be seen of a random host with these tables."""
    return host(subuid, subgid, limits=Limits.parse(case.login_defs()), uids=case.uids, gids=case.gids,
                reserved=tuple(IdRange(item.start, len(item)) for item in case.reserved))


def accept(case: RandomHost) -> tuple[list[Asked], Host]:
    """Plan as much as can be had of what is asked for, and return it and the host afterwards.

    What is refused must be impossible.
    """
    before = now = as_host(case, case.subuid, case.subgid)
    uids = {name: uid for name, (uid, _gid) in case.accounts.items()}
    accepted: list[Asked] = []
    for asked in case.asked:
        tried = [*accepted, asked]
        wishes = [Wish(each.name, each.present, each.count, each.start) for each in tried]
        try:
            changes = plan(before, wishes, uids)
        except InputError as error:
            seen = Oracle(case, now.subuid.text, now.subgid.text)
            assert seen.refusal_is_right(asked), f"{asked} was refused: {error}"
            continue
        accepted, now = tried, functools.reduce(after, changes, before)
        assert not any(plan(now, wishes, uids)), "a second run would change something"
    return accepted, now


def test_a_thousand_random_hosts() -> None:
    counts: collections.Counter[str] = collections.Counter()
    for seed in range(1000):
        case = RandomHost(seed)
        try:
            accepted, now = accept(case)
            Oracle(case, case.subuid, case.subgid).judge(Oracle(case, now.subuid.text, now.subgid.text), accepted)
        except Exception:
            print(f"seed {seed}: {case}")
            raise
        changed = (now.subuid.text, now.subgid.text) != (case.subuid, case.subgid)
        counts.update(asked=len(case.asked), accepted=len(accepted), changed=changed,
                      fixed=sum(each.start is not None for each in accepted),
                      absent=sum(not each.present for each in accepted))
    print(counts)
    # Hosts that are too crowded or too tidy for anything to go wrong would prove nothing.
    assert counts["accepted"] > 1500 and counts["changed"] > 700, counts
    assert counts["fixed"] > 300 and counts["absent"] > 300, counts

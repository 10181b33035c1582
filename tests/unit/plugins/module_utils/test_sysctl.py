# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel settings are set, kept and given back."""

from __future__ import annotations

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._sysctl import (
    Setting,
    effective,
    parse,
    plan_absent,
    plan_present,
    proc_path,
    render,
    require_usable,
    satisfied,
    set_by_us,
)

NAMESPACES = Setting("user.max_user_namespaces", "15000", "at_least")
CLONE = Setting("kernel.unprivileged_userns_clone", "1")
PING = Setting("net.ipv4.ping_group_range", "0 2147483647", "covers")


class TestSatisfied:
    @pytest.mark.parametrize("setting, value, serves", [
        (NAMESPACES, "0", False),
        (NAMESPACES, "14999", False),
        (NAMESPACES, "15000", True),
        (NAMESPACES, "96365\n", True),
        (NAMESPACES, "", False),
        (NAMESPACES, "many", False),
        (CLONE, "1\n", True),
        (CLONE, "0", False),
        (PING, "1\t0", False),
        (PING, "0\t2147483647\n", True),
        (PING, "0 100", False),
        (PING, "0", False),
        (Setting("net.ipv4.ping_group_range", "100 200", "covers"), "0 2147483647", True),
    ])
    def test_a_value_serves_or_not(self, setting: Setting, value: str, serves: bool) -> None:
        assert satisfied(setting, value) is serves


class TestUsable:
    @pytest.mark.parametrize("rule, value, usable", [
        ("at_least", "15000", True),
        ("at_least", " -1\n", True),
        ("at_least", "", False),
        ("at_least", "many", False),
        ("at_least", "15_000", False),
        ("at_least", "1 2", False),
        ("covers", "0 2147483647", True),
        ("covers", "0\t0", True),
        ("covers", "0-2147483647", False),
        ("covers", "2147483647 0", False),
        ("covers", "0", False),
        ("covers", "0 1 2", False),
        ("exact", "0-2147483647", True),
    ])
    def test_a_value_is_what_its_rule_compares(self, rule: str, value: str, usable: bool) -> None:
        settings = [CLONE, Setting("a.b", value, rule)]
        if usable:
            require_usable(settings)
            return
        with pytest.raises(InputError, match=r"^a\.b cannot be set to '.*'\. Cause: .* Remedy: .*such as"):
            require_usable(settings)


class TestPresent:
    def test_a_value_that_is_too_low_is_raised_and_noted(self) -> None:
        plan = plan_present([NAMESPACES], {NAMESPACES.name: "0"}, {}, {}, {})
        assert plan.write == plan.lines == {NAMESPACES.name: "15000"}
        assert plan.note == {NAMESPACES.name: "0"}

    def test_a_bigger_value_is_left_alone(self) -> None:
        plan = plan_present([NAMESPACES], {NAMESPACES.name: "96365"}, {}, {}, {})
        assert (plan.lines, plan.write, plan.note, plan.forget) == ({}, {}, {}, [])

    def test_a_setting_that_the_kernel_lacks_is_skipped(self) -> None:
        plan = plan_present([CLONE], {}, {}, {}, {})
        assert (plan.lines, plan.write, plan.note) == ({}, {}, {})

    def test_the_second_run_keeps_what_the_first_set(self) -> None:
        name = NAMESPACES.name
        plan = plan_present([NAMESPACES], {name: "15000"}, {}, {name: "0"}, {name: ["15000"]})
        assert plan.lines == {name: "15000"}
        assert (plan.write, plan.note, plan.forget) == ({}, {}, [])

    def test_what_somebody_made_bigger_since_is_theirs_now(self) -> None:
        name = NAMESPACES.name
        plan = plan_present([NAMESPACES], {name: "30000"}, {}, {name: "0"}, {name: ["15000"]})
        assert (plan.lines, plan.write, plan.forget) == ({}, {}, [name])

    def test_what_somebody_lowered_since_is_raised_again_and_the_first_value_stays_noted(self) -> None:
        name = NAMESPACES.name
        plan = plan_present([NAMESPACES], {name: "5"}, {}, {name: "0"}, {name: ["15000"]})
        assert plan.write == {name: "15000"}
        assert plan.note == {}

    def test_a_floor_that_went_down_does_not_lower_the_value(self) -> None:
        name = NAMESPACES.name
        lower = Setting(name, "10000", "at_least")
        plan = plan_present([lower], {name: "15000"}, {}, {name: "0"}, {name: ["15000"]})
        assert plan.lines == {name: "15000"}
        assert plan.write == {}

    @pytest.mark.parametrize("floor", ["10000", "20000", "25000"])
    def test_a_value_whose_run_was_killed_before_the_drop_in_was_written_is_ours(self, floor: str) -> None:
        name = NAMESPACES.name
        ours = set_by_us({name: "15000"}, {name: ["20000"]})
        plan = plan_present([Setting(name, floor, "at_least")], {name: "20000"}, {}, {name: "0"}, ours)
        assert plan.lines == {name: str(max(20000, int(floor)))}
        assert (plan.note, plan.forget) == ({}, [])

    def test_what_is_not_wanted_any_more_gets_its_first_value_back(self) -> None:
        current = {NAMESPACES.name: "15000", PING.name: "0\t2147483647"}
        noted = {NAMESPACES.name: "0", PING.name: "1 0"}
        ours = {NAMESPACES.name: ["15000"], PING.name: ["0 2147483647"]}
        plan = plan_present([NAMESPACES], current, {}, noted, ours)
        assert plan.lines == {NAMESPACES.name: "15000"}
        assert (plan.write, plan.note, plan.forget) == ({PING.name: "1 0"}, {}, [PING.name])

    @pytest.mark.parametrize("current", [{}, {PING.name: "5 6"}, {PING.name: "1\t0"}])
    def test_what_is_not_wanted_any_more_and_not_ours_is_only_forgotten(self, current: dict[str, str]) -> None:
        plan = plan_present([], current, {}, {PING.name: "1 0"}, {PING.name: ["0 2147483647"]})
        assert (plan.lines, plan.write, plan.note, plan.forget) == ({}, {}, {}, [PING.name])

    def test_a_value_that_another_file_would_undo_at_boot_is_kept(self) -> None:
        plan = plan_present([CLONE], {CLONE.name: "1"}, {CLONE.name: "0"}, {}, {})
        assert plan.lines == {CLONE.name: "1"}
        assert plan.write == {}

    def test_tabs_of_the_kernel_make_no_difference(self) -> None:
        plan = plan_present([PING], {PING.name: "0\t2147483647"}, {}, {PING.name: "1 0"}, {PING.name: ["0 2147483647"]})
        assert plan.lines == {PING.name: "0 2147483647"}
        assert plan.write == {}


class TestAbsent:
    def test_the_first_value_comes_back(self) -> None:
        plan = plan_absent({PING.name: "0\t2147483647"}, {PING.name: ["0 2147483647"]}, {PING.name: "1 0"})
        assert plan.write == {PING.name: "1 0"}
        assert plan.forget == [PING.name]

    @pytest.mark.parametrize("value", ["15000", "20000"])
    def test_the_first_value_comes_back_after_a_run_that_was_killed(self, value: str) -> None:
        name = NAMESPACES.name
        ours = set_by_us({name: "15000"}, {name: ["20000"]})
        assert plan_absent({name: value}, ours, {name: "0"}).write == {name: "0"}

    def test_a_value_that_somebody_changed_since_stays(self) -> None:
        plan = plan_absent({PING.name: "5 6"}, {PING.name: ["0 2147483647"]}, {PING.name: "1 0"})
        assert plan.write == {}
        assert plan.forget == [PING.name]

    def test_a_setting_that_is_gone_is_only_forgotten(self) -> None:
        assert plan_absent({}, {}, {CLONE.name: "0"}).write == {}

    def test_nothing_was_set(self) -> None:
        plan = plan_absent({CLONE.name: "1"}, {}, {})
        assert (plan.write, plan.forget) == ({}, [])


class TestFiles:
    def test_comments_slashes_and_dashes_are_understood(self) -> None:
        text = "# a = 1\n;b = 2\n\n-user/max_user_namespaces=7\nnet.ipv4.ping_group_range =  0\t1 \nno value\n"
        assert parse(text) == {"user.max_user_namespaces": "7", "net.ipv4.ping_group_range": "0 1"}

    def test_what_is_rendered_is_parsed(self) -> None:
        assert parse(render({"b.c": "1", "a.b": "0 2"})) == {"a.b": "0 2", "b.c": "1"}

    def test_the_name_decides_the_order_whatever_the_directory(self) -> None:
        files = {"/etc/sysctl.d/10-a.conf": "x.y=1", "/usr/lib/sysctl.d/50-b.conf": "x.y=2"}
        assert effective(files, "/etc/sysctl.d/zz.conf") == {"x.y": "2"}

    def test_a_file_in_etc_hides_one_of_that_name_in_usr(self) -> None:
        files = {"/etc/sysctl.d/50-b.conf": "", "/usr/lib/sysctl.d/50-b.conf": "x.y=2"}
        assert effective(files, "/etc/sysctl.d/zz.conf") == {}

    def test_our_own_file_does_not_count(self) -> None:
        assert effective({"/etc/sysctl.d/zz.conf": "x.y=1"}, "/etc/sysctl.d/zz.conf") == {}

    def test_the_file_of_a_setting(self) -> None:
        assert proc_path("user.max_user_namespaces") == "/proc/sys/user/max_user_namespaces"

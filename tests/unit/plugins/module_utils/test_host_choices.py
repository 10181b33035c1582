# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What observations on a host decide."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._host_choices import (
    UNIFIED,
    cgroup_plan,
    choose_isolation,
    choose_runtime,
    explain,
    fuse_plan,
    go_duration,
    helper_kind,
    mapped_ids,
    network_helper,
    overlays,
    prune_problem,
)

# Printed by buildah 1.28.2 with crun 1.8.1 on a machine with a hybrid cgroup hierarchy.
HYBRID = (
    "error running container: from /usr/bin/crun creating container for [/usr/bin/true]: cgroups in hybrid mode not "
    "supported, drop all controllers from cgroupv2\n: exit status 1\n"
    'Error: building at STEP "RUN /usr/bin/true": while running runtime: exit status 1\n'
)
# Printed by buildah 1.28.2 where users may not open /dev/net/tun.
NO_TUN = (
    "error running container: did not get container start message from parent: EOF\n"
    'Error: building at STEP "RUN true": failed to read from slirp4netns sync pipe: EOF\n'
)


# What passes: words of mktemp, dash, Go, the kernel where there are too many user namespaces, and none at all.
PASSING = (
    "mktemp: failed to create directory via template '/tmp/tmp.XXXXXXXXXX': No space left on device\n",
    "sh: 0: Cannot fork: Resource temporarily unavailable\n",
    "Error: fork/exec /usr/bin/newuidmap: cannot allocate memory\n",
    "error running container: signal: killed\n",
    "Error during unshare(CLONE_NEWUSER): No space left on device\n",
    "",
)


class TestIsolation:
    def test_a_run_step_that_worked_decides_for_oci(self) -> None:
        assert choose_isolation("auto", {"rc": 0, "stderr": ""})["isolation"] == "oci"

    @pytest.mark.parametrize("stderr, finding", [(HYBRID, "cgroup_hybrid"), (NO_TUN, "network_helper")])
    def test_a_run_step_that_failed_decides_for_chroot_and_says_why(self, stderr: str, finding: str) -> None:
        choice = choose_isolation("auto", {"rc": 1, "stderr": stderr})
        assert choice["isolation"] == "chroot"
        assert finding in choice["reason"]

    @pytest.mark.parametrize("stderr", PASSING)
    def test_a_trial_that_came_at_a_bad_time_decides_nothing(self, stderr: str) -> None:
        problem = choose_isolation("auto", {"rc": 1, "stderr": stderr})["problem"]
        assert "could not be tried" in problem
        assert "then run this again, or set builder_isolation" in problem

    @pytest.mark.parametrize("trial", [None, {}, {"skipped": True}])
    def test_without_a_trial_buildahs_own_default_is_assumed(self, trial: dict[str, Any] | None) -> None:
        assert choose_isolation("auto", trial) == {"isolation": "oci", "reason": "not tried yet"}

    @pytest.mark.parametrize("requested", ["oci", "chroot"])
    def test_a_wish_is_not_tried(self, requested: str) -> None:
        assert choose_isolation(requested, {"rc": 1, "stderr": HYBRID})["isolation"] == requested


class TestRuntime:
    @pytest.mark.parametrize("requested, trial, default", [
        ("auto", {"rc": 0, "stderr": ""}, True),
        ("auto", {"rc": 1, "stderr": HYBRID}, False),
        ("auto", {}, True),
        ("always", {"rc": 1, "stderr": HYBRID}, True),
        ("never", {"rc": 0, "stderr": ""}, False),
    ])
    def test_the_trial_decides_unless_asked(self, requested: str, trial: dict[str, Any], default: bool) -> None:
        assert choose_runtime(requested, trial)["default"] is default

    @pytest.mark.parametrize("stderr", PASSING)
    def test_a_trial_that_came_at_a_bad_time_decides_nothing(self, stderr: str) -> None:
        assert "or set crun_default" in choose_runtime("auto", {"rc": 1, "stderr": stderr})["problem"]


class TestExplain:
    @pytest.mark.parametrize("message, words", [
        (HYBRID, "hybrid"),
        (NO_TUN, "/dev/net/tun"),
        ("one\n  two  \n\n", "two"),
        ("", "without a message"),
    ])
    def test_a_known_cause_or_the_last_line(self, message: str, words: str) -> None:
        assert words in explain(message)
        assert "\n" not in explain(message)


def seen(**changes: Any) -> dict[str, Any]:
    return {"native_overlay": False, "known": True, "builtin": True, "module": False, "device_mode": "666", **changes}


class TestFuse:
    def test_native_overlay_needs_nothing(self) -> None:
        plan = fuse_plan("auto", **seen(native_overlay=True, known=False, builtin=False, device_mode=""))
        assert (plan["needed"], plan["load"], plan["boot"], plan["open_device"], plan["problem"]) == (
            False, False, False, False, "")

    def test_always_asks_for_it_anyway(self) -> None:
        assert fuse_plan("always", **seen(native_overlay=True))["needed"] is True

    def test_a_module_is_loaded_now_and_at_boot(self) -> None:
        plan = fuse_plan("auto", **seen(known=False, builtin=False, module=True, device_mode=""))
        assert (plan["load"], plan["boot"], plan["problem"]) == (True, True, "")

    def test_a_module_that_is_loaded_is_still_wanted_at_boot(self) -> None:
        plan = fuse_plan("auto", **seen(builtin=False, module=True))
        assert (plan["load"], plan["boot"]) == (False, True)

    def test_what_is_built_in_is_not_loaded_although_modprobe_knows_it(self) -> None:
        plan = fuse_plan("auto", **seen(module=True))
        assert (plan["load"], plan["boot"]) == (False, False)

    @pytest.mark.parametrize("mode, open_device", [("600", True), ("660", True), ("666", False), ("604", True)])
    def test_users_have_to_read_and_write_the_device(self, mode: str, open_device: bool) -> None:
        assert fuse_plan("auto", **seen(device_mode=mode))["open_device"] is open_device

    def test_a_kernel_without_fuse_is_a_problem(self) -> None:
        assert "no fuse" in fuse_plan("auto", **seen(known=False, builtin=False, device_mode=""))["problem"]

    def test_a_container_without_the_device_is_a_problem(self) -> None:
        assert "--device /dev/fuse" in fuse_plan("auto", **seen(device_mode=""))["problem"]

    def test_what_could_not_be_tried_is_told_with_the_remedy_unless_nobody_asked(self) -> None:
        words = "/home: mktemp: failed to create directory: Permission denied"
        plan = fuse_plan("auto", **seen(native_overlay=False, untried=words))
        assert plan["needed"] is True
        assert words in plan["untried"] and "Remedy: set fuse_directory" in plan["untried"]
        assert fuse_plan("always", **seen(native_overlay=False, untried=words))["untried"] == ""
        assert fuse_plan("auto", **seen(native_overlay=True, untried=""))["untried"] == ""


class TestDuration:
    @pytest.mark.parametrize("age, duration", [
        ("168h", "168h"), ("1h30m", "1h30m"), ("1.5h", "1.5h"), ("0.5s", "0.5s"), ("7d", "168h"), ("1d12h", "24h12h"),
    ])
    def test_what_go_understands_stays_and_days_become_hours(self, age: str, duration: str) -> None:
        assert go_duration(age) == duration

    # 168 would be a time in 1970, and 2562048h more than Go can count.
    @pytest.mark.parametrize("age", [
        "", " ", 168, "168", None, "7 d", "1.5d", "12h1d", "-1h", "1h\n", "1w", "2562048h",
    ])
    def test_anything_else_is_refused_with_the_remedy(self, age: Any) -> None:
        with pytest.raises(InputError, match="Remedy: .*168h") as caught:
            go_duration(age)
        assert str(age or "''") in str(caught.value)

    def test_what_systemd_says_of_a_calendar_is_told(self) -> None:
        said = "Failed to parse calendar specification 'often': Invalid argument\n"
        told = prune_problem("7d", "often", {"rc": 1, "stderr": said})
        assert "often is no time for a timer" in told and said.strip() in told and "Remedy:" in told
        assert prune_problem("7d", "daily", {"rc": 0, "stderr": ""}) == ""
        # It was not asked.
        assert prune_problem("7d", "daily", {"skipped": True}) == ""
        assert "1w is no duration" in prune_problem("1w", "daily", {})


class TestHelpers:
    @pytest.mark.parametrize("mode, uid, capabilities, kind", [
        ("4755", 0, "", "setuid"),
        ("755", 0, "", "none"),
        ("4755", 1000, "", "none"),
        # As getcap of libcap 2.66 and of 2.32 print it.
        ("755", 0, "/usr/bin/newuidmap cap_setuid=ep", "filecaps"),
        ("755", 0, "/usr/bin/newuidmap = cap_setuid+ep", "filecaps"),
        ("755", 0, "/usr/bin/newuidmap cap_setgid=ep", "none"),
        ("755", 0, "/usr/bin/newuidmap cap_setuid=p", "none"),
        ("755", 0, "/usr/bin/newuidmap cap_setgid,cap_setuid=eip", "filecaps"),
    ])
    def test_setuid_bit_or_capability(self, mode: str, uid: int, capabilities: str, kind: str) -> None:
        assert helper_kind(mode, uid, capabilities, "cap_setuid") == kind

    def test_nothing_counts_on_a_file_system_without_suid(self) -> None:
        capabilities = "/usr/bin/newuidmap cap_setuid=ep"
        assert helper_kind("4755", 0, capabilities, "cap_setuid", nosuid=True) == "nosuid"
        assert helper_kind("4755", 0, capabilities, "cap_setuid", nosuid=False) == "filecaps"


class TestCgroup:
    # As grubby of RHEL 8 prints it, cut to what is read.
    KERNEL = 'index=0\nkernel="/boot/vmlinuz-4.18.0-553.el8_10.x86_64"\nargs="ro rhgb quiet $tuned_params{}"\nid="a"\n'
    WITHOUT, WITH = KERNEL.format(""), KERNEL.format(f" {UNIFIED}")

    @pytest.mark.parametrize("seen, switch, reboot_due", [
        ("cgroup2fs\n", False, False),
        (f"cgroup2fs\n{WITHOUT}", False, False),
        (f"tmpfs\n{WITHOUT}", True, True),
        (f"tmpfs\n{WITH}", False, True),
        # A kernel that was installed later.
        (f"tmpfs\n{WITH}{WITHOUT}", True, True),
        (f"tmpfs\n{KERNEL.format(f' {UNIFIED}0')}", True, True),
    ])
    def test_every_kernel_needs_the_argument(self, seen: str, switch: bool, reboot_due: bool) -> None:
        assert cgroup_plan(seen) == {"switch": switch, "reboot_due": reboot_due, "problem": ""}

    def test_without_grubby_it_is_a_problem(self) -> None:
        assert "no grubby" in cgroup_plan("tmpfs\n")["problem"]


class TestNetworkHelper:
    @pytest.mark.parametrize("version, program", [
        # Printed by the buildah of Debian 12; the others are cut to the number.
        ("buildah version 1.28.2 (image-spec 1.0.2-dev, runtime-spec 1.0.2-dev)", "slirp4netns"),
        ("buildah version 1.34.9", "slirp4netns"),
        ("buildah version 1.35.0-dev", "pasta"),
        ("buildah version 2.0.0", "pasta"),
    ])
    def test_the_version_decides(self, version: str, program: str) -> None:
        assert network_helper(version) == program

    @pytest.mark.parametrize("version", ["buildah version 1.28.2", "buildah version 1.35.0"])
    @pytest.mark.parametrize("setting", ["pasta", "slirp4netns"])
    def test_a_setting_wins(self, version: str, setting: str) -> None:
        assert network_helper(version, setting) == setting

    def test_other_words_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not what buildah --version prints: v1.35"):
            network_helper("v1.35")


class TestMap:
    @pytest.mark.parametrize("text, count", [
        ("         0       1001          1\n         1     165536      65536\n", 65537),
        ("         0          0 4294967295\n", 4294967295),
        ("         0       1001          1\n", 1),
        ("", 0),
    ])
    def test_ids_are_counted(self, text: str, count: int) -> None:
        assert mapped_ids(text) == count


@pytest.mark.parametrize("family, distribution, major, names", [
    ("Debian", "Debian", "12", ["Debian", "Debian-12"]),
    ("Debian", "Ubuntu", "24", ["Debian", "Ubuntu", "Ubuntu-24"]),
    ("RedHat", "RedHat", "9", ["RedHat", "RedHat-9"]),
    ("RedHat", "Rocky", "8", ["RedHat", "RedHat-8", "Rocky", "Rocky-8"]),
])  # fmt: skip
def test_variables_are_read_from_the_general_to_the_specific(
    family: str, distribution: str, major: str, names: list[str]
) -> None:
    facts = {"os_family": family, "distribution": distribution, "distribution_major_version": major}
    assert overlays(facts) == [f"{name}.yml" for name in names]

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/support.md says is what the roles do and what the tests prove."""

from __future__ import annotations

import re
from typing import Callable

import jinja2
import pytest
from ansible.module_utils.facts.system.distribution import Distribution

from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID
from ansible_collections.rootless.buildah.plugins.module_utils._host_choices import network_helper
from ansible_collections.rootless.buildah.tests.tools import distributions
from ansible_collections.rootless.buildah.tests.tools.checkout import files, load, read, roles

SUPPORT = read("docs/support.md")
COLUMNS = ("distribution", "release", "name", "buildah", "roles", "proved")
LINES = [line for line in SUPPORT.splitlines() if line.startswith("| ")]
ROWS = [dict(zip(COLUMNS, (cell.strip() for cell in line.strip("|").split("|")))) for line in LINES[1:]]
PREPARED = [row for row in ROWS if row["roles"] != "no"]
# What the scenarios' machines are made of, as their hosts.yml name it.
MACHINES = {
    match for name in files("molecule/*/hosts.yml") for match in re.findall(r"vm_image: ([\w.-]+)", read(name))
}


def has_machine(row: dict[str, str]) -> bool:
    """Say whether a scenario has a machine of that release; one that is not out yet has a number in another row."""
    numbers = {other["release"] for other in ROWS if other["name"] == row["name"]} | {row["release"]}
    return any(f"{row['distribution'].lower()}-{number}" in MACHINES for number in numbers)


# What proves a claim about a row.
EVIDENCE: dict[str, Callable[[dict[str, str]], bool]] = {
    "namespaces": lambda row: row["name"] in read("tests/integration/test_roles.py"),
    "VM": has_machine,
    "untested": lambda row: True,
}
SERVES = {"pasta": "passt", "slirp4netns": "slirp4netns"}


def facts(row: dict[str, str]) -> dict[str, str]:
    """Return the facts of a host; which family a distribution is of is Ansible's own knowledge."""
    return {
        "distribution": row["distribution"],
        "distribution_major_version": row["release"],
        "os_family": Distribution.OS_FAMILY[row["distribution"]],
    }


def named(row: dict[str, str]) -> str:
    return f"{row['distribution']} {row['release']}"


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


every_row = pytest.mark.parametrize("row", ROWS, ids=named)
every_prepared_row = pytest.mark.parametrize("row", PREPARED, ids=named)


def test_the_table_is_read() -> None:
    assert [cell.strip().lower() for cell in LINES[0].strip("|").split("|")] == list(COLUMNS)
    assert len({named(row) for row in ROWS}) == len(ROWS) > 10
    assert {row["roles"] for row in ROWS} <= {"yes", "no", "too old"}


@every_row
def test_a_claim_has_a_test(row: dict[str, str]) -> None:
    assert EVIDENCE[row["proved"]](row), f"no test uses {named(row)}"


@every_prepared_row
def test_what_is_older_than_the_floor_is_said_to_be_too_old(row: dict[str, str]) -> None:
    floors = distributions.variable("builder_tools", "floors", facts(row), _builder_tools_fuse=False)
    assert (number(row["buildah"]) < number(floors["buildah"])) == (row["roles"] == "too old")


BASE = {
    "Debian": {"acl", "buildah", "ca-certificates", "libcap2-bin", "skopeo", "uidmap"},
    "RedHat": {"acl", "buildah", "ca-certificates", "libcap", "shadow-utils", "skopeo"},
}
NETWORK = {
    "Debian 12": {"netavark", "slirp4netns"},
    # CNI's time; there is no netavark.
    "Ubuntu 22": {"slirp4netns"},
    "Ubuntu 24": {"netavark", "slirp4netns"},
    "RedHat 8": {"netavark", "slirp4netns"},
    "Rocky 8": {"netavark", "slirp4netns"},
    "AlmaLinux 8": {"netavark", "slirp4netns"},
    "RedHat 9": {"netavark", "passt", "slirp4netns"},
    "CentOS 9": {"netavark", "passt", "slirp4netns"},
    "Rocky 9": {"netavark", "passt", "slirp4netns"},
    "AlmaLinux 9": {"netavark", "passt", "slirp4netns"},
}
POLICY = {
    "Debian": ["policycoreutils-python-utils", "selinux-utils"],
    "RedHat": ["container-selinux", "libselinux-utils", "policycoreutils-python-utils"],
}
MAPPERS = {"Debian": {"passwd", "uidmap"}, "RedHat": {"shadow-utils", "shadow-utils-subid"}}


@every_prepared_row
def test_the_programs_are_named_as_the_distribution_names_them(row: dict[str, str]) -> None:
    seen = facts(row)
    tools = set(distributions.variable("builder_tools", "packages", seen))
    assert tools == BASE[seen["os_family"]] | NETWORK.get(named(row), {"netavark", "passt"})
    mappers = MAPPERS[seen["os_family"]]
    # RHEL 8 has getsubids in the package itself or not at all.
    assert set(distributions.variable("subid", "packages", seen)) == (
        {"shadow-utils"} if seen["os_family"] == "RedHat" and row["release"] == "8" else mappers)
    assert distributions.variable("crun", "packages", seen) == ["crun"]


@every_prepared_row
def test_the_program_that_buildah_makes_networks_with_comes_along(row: dict[str, str]) -> None:
    wanted = SERVES[network_helper(f"buildah version {row['buildah']}.0")]
    assert wanted in distributions.variable("builder_tools", "packages", facts(row))


@every_prepared_row
@pytest.mark.parametrize("systemd, selinux", [(False, False), (True, False), (True, True)])
def test_systemd_and_selinux_bring_their_own(row: dict[str, str], systemd: bool, selinux: bool) -> None:
    seen = facts(row)
    base = ["the packages"]
    signs = {"systemd": systemd, "selinux": selinux}
    wanted = distributions.variable(
        "builder_tools", "wanted", seen, builder_tools_packages=base, builder_tools_extra_packages=["extra"],
        builder_tools_fuse_overlayfs="never", rootless_buildah_signs=signs)  # fmt: skip
    logins = ["dbus-user-session", "libpam-systemd"] if systemd and seen["os_family"] == "Debian" else []
    assert wanted == [*base, "extra", *logins, *(POLICY[seen["os_family"]] if selinux else [])]


@pytest.mark.parametrize("mode, native, comes", [
    ("auto", True, False), ("auto", False, True), ("never", False, False), ("always", True, True),
])  # fmt: skip
def test_fuse_overlayfs_comes_where_native_overlay_cannot_be_used(mode: str, native: bool, comes: bool) -> None:
    given = {"builder_tools_fuse_overlayfs": mode, "rootless_buildah_native_overlay": native}
    assert distributions.variable("builder_tools", "fuse", facts(ROWS[0]), **given) is comes
    floors = distributions.variable("builder_tools", "floors", facts(ROWS[0]), **given)
    assert floors.get("fuse-overlayfs") == ("0.7.6" if comes else None)


@pytest.mark.parametrize("role", roles())
def test_every_overlay_is_chosen_by_a_supported_distribution(role: str) -> None:
    chosen = {name for row in PREPARED for name in distributions.read(role, facts(row))}
    assert [name for name in files(f"roles/{role}/vars/*") if name not in chosen] == []


@pytest.mark.parametrize("role", roles())
def test_metadata_of_roles_does_not_say_it_again(role: str) -> None:
    info = load(f"roles/{role}/meta/main.yml")["galaxy_info"]
    assert "platforms" not in info
    # A role of a collection, for which Galaxy wants no platforms.
    assert info["standalone"] is False


DOCTOR = "tests/integration/test_doctor.py"
CURED = "molecule/hardened/tests/test_findings.py::test_it_is_named_and_its_commands_cure_it"
PODS, JOBS = "molecule/cluster/tests/test_doctor_in_pods.py", "molecule/cluster/tests/test_job.py"
BROKEN = f"{DOCTOR}::test_what_is_broken_is_named_and_its_commands_cure_it"
ONE_SETTING = f"{PODS}::test_one_wrong_setting_is_told_by_the_build_and_by_the_doctor_and_its_cure_builds"
NOWHERE = "molecule/cluster/tests/test_job_without_nodes.py"
REFUSED = f"{NOWHERE}::test_what_the_namespace_refuses_is_told_before_anything_is_made"
NODE = "molecule/cluster/tests/test_node_changes.py::test_a_profile_that_a_node_lacks_is_told_by_the_build"
# On a real system each is brought about by this test, which sees it named and what its remedy says help.
PROVOKED = {
    "userns_off": f"{DOCTOR}::test_user_namespaces_that_are_switched_off",
    "userns_blocked": CURED,
    **dict.fromkeys(("pod_capabilities", "mount_denied", "pod_isolation"), ONE_SETTING),
    **dict.fromkeys((
        "newuidmap", "subid_missing", "subid_unreadable", "subid_short", "subid_doubled", "subid_shared",
        "subid_covers_account", "netavark_missing", "runtime_missing", "tools_missing", "fuse_missing", "fuse_needless",
        "graphroot_filesystem", "store_not_writable", "store_noexec", "store_nosuid", "disk_full", "disk_low"), BROKEN),
    **dict.fromkeys(("network_helper", "crun_missing", "pause_stale", "ping_group_range", "no_linger"), CURED),
    "subid_malformed": f"{DOCTOR}::test_a_line_at_which_buildah_gives_up_is_shown",
    "cgroup_hybrid": f"{DOCTOR}::test_a_hybrid_cgroup_hierarchy_is_told",
    "not_unshared": f"{DOCTOR}::test_a_mount_outside_of_the_users_namespace_is_told",
    "selinux_labels": "molecule/selinux/tests/test_selinux.py::"
                      "test_what_debians_policy_denies_is_named_and_the_remedy_builds",
    "single_mapping": f"{DOCTOR}::test_the_setuid_bit_is_the_wrong_kind_in_a_container",
    "runtime_dir": f"{DOCTOR}::test_the_runtime_directory_of_somebody_else",
    "temporary_dir": f"{DOCTOR}::test_a_place_for_temporary_files_that_is_closed",
    "pod_security": REFUSED,
    "pod_quota": REFUSED,
    "pod_policy": f"{PODS}::test_the_playbook_tells_which_profiles_can_run_where",
    "pod_host_users": f"{PODS}::test_root_of_the_node_is_no_root_of_a_pod",
    **dict.fromkeys(
        ("pod_image_pull", "pod_deadline", "pod_memory", "pod_evicted"),
        f"{JOBS}::test_what_ends_a_build_early_is_named"),
    "pod_registry": f"{JOBS}::test_a_registry_that_refuses_a_step_is_named",
    "pod_unschedulable": f"{NOWHERE}::test_a_build_that_no_node_takes_ends_early_with_the_schedulers_words",
    **dict.fromkeys(("pod_seccomp_missing", "pod_apparmor_missing"), NODE),
}


def test_findings_that_no_test_provokes_are_listed() -> None:
    section = SUPPORT.split("## Findings that no test provokes\n")[1].split("\nOthers are provoked")[0]
    listed = set(re.findall(r"^- `(\w+)`:", section, re.MULTILINE))
    assert listed == set(BY_ID) - set(PROVOKED)


@pytest.mark.parametrize("finding", PROVOKED)
def test_every_other_is_provoked_by_a_test(finding: str) -> None:
    path, _colons, name = PROVOKED[finding].partition("::")
    assert f"\ndef {name}(" in read(path) and f'"{finding}"' in read(path)


@pytest.mark.parametrize("linger", [True, False])
def test_the_pruning_names_the_runtime_directory_of_a_user_that_lingers_only(linger: bool) -> None:
    """/run/user/UID may not be there otherwise, and buildah refuses one that is not."""
    usual = {"os_family": "Debian", "distribution": "Debian", "distribution_major_version": "12"}
    seen = {"_builder_found": True, "_builder_systemd": True, "_builder_account": ["x", "7"], "builder_linger": linger}
    directory = distributions.variable("builder", "runtime_dir", usual, **seen)
    unit = jinja2.Template(read("roles/builder/templates/prune.service.j2"))
    assert ("XDG_RUNTIME_DIR=/run/user/7\n" in unit.render(_builder_runtime_dir=directory)) == linger

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._labels import forget_plan, label_plan, nfs_plan

LAYER, OTHER = "system_u:object_r:container_ro_file_t:s0", "system_u:object_r:var_t:s0"
HOMES = "unconfined_u:object_r:container_ro_file_t:s0"
IMAGES, STORES = "/srv/images", "/srv/stores/ci"


@pytest.mark.parametrize("labels, notes, add, relabel", [
    ([LAYER, LAYER, HOMES], [], [], []),
    ([LAYER, OTHER, OTHER], [], [IMAGES, STORES], [IMAGES, STORES]),
    ([LAYER, HOMES, OTHER], [], [STORES], [STORES]),
    # Killed after semanage: the policy knows the place, and its content has the old labels.
    ([LAYER, LAYER, LAYER], [f"selinux:ci:{STORES}", f"relabel:ci:{STORES}"], [], [STORES]),
    # Killed before it.
    ([LAYER, LAYER, OTHER], [f"selinux:ci:{STORES}", f"relabel:ci:{STORES}"], [STORES], [STORES]),
    ([LAYER, LAYER, LAYER], [f"selinux:ci:{STORES}"], [], []),
    ([LAYER, LAYER, LAYER], [f"relabel:ci2:{STORES}"], [], []),
])  # fmt: skip
def test_unknown_places_are_added_and_relabelled_until_that_is_done(
    labels: list[str], notes: list[str], add: list[str], relabel: list[str]
) -> None:
    plan = label_plan([IMAGES, f"{STORES}/"], "ci", labels, notes)
    assert (plan["add"], plan["relabel"]) == (add, relabel)


def test_it_asks_for_the_systems_layers_first() -> None:
    ask = label_plan([IMAGES], "ci", [], [])["ask"]
    assert ask == ["/var/lib/containers/storage/overlay", "/srv/images/overlay"]


def test_a_user_takes_its_own_labels_and_no_others() -> None:
    notes = ["account:ci", "selinux:ci:/srv/a", "selinux:ci2:/srv/b", "relabel:ci:/srv/a", "relabel:ci2:/srv/b"]
    assert forget_plan("ci", notes) == {
        "places": ["/srv/a"], "booleans": [], "notes": ["relabel:ci:/srv/a", "selinux:ci:/srv/a"]
    }  # fmt: skip


@pytest.mark.parametrize("notes, off, done", [
    (["virt_use_nfs:ci"], ["virt_use_nfs"], ["virt_use_nfs:ci"]),
    (["container_use_nfs:ci"], ["container_use_nfs"], ["container_use_nfs:ci"]),
    (["virt_use_nfs:ci", "virt_use_nfs:ci2"], [], ["virt_use_nfs:ci"]),
    (["virt_use_nfs:ci2"], [], []),
    ([], [], []),
])  # fmt: skip
def test_the_last_user_of_nfs_switches_it_off(notes: list[str], off: list[str], done: list[str]) -> None:
    plan = forget_plan("ci", notes)
    assert (plan["booleans"], plan["notes"]) == (off, done)


@pytest.mark.parametrize("lines, notes, boolean, switch_on, note", [
    (["virt_use_nfs --> off"], [], "virt_use_nfs", True, "virt_use_nfs:ci"),
    (["virt_use_nfs --> on"], [], "virt_use_nfs", False, ""),
    (["virt_use_nfs --> on"], ["virt_use_nfs:ci"], "virt_use_nfs", False, ""),
    # It is on because the role has switched it on for another user.
    (["virt_use_nfs --> on"], ["virt_use_nfs:ci2"], "virt_use_nfs", False, "virt_use_nfs:ci"),
    # Somebody has switched it off again.
    (["virt_use_nfs --> off"], ["virt_use_nfs:ci"], "virt_use_nfs", True, ""),
    # Debian's has both, and the one for virtual machines does not count.
    (["container_use_nfs --> off", "virt_use_nfs --> on", "xen_use_nfs --> on"], [],
     "container_use_nfs", True, "container_use_nfs:ci"),
    (["xen_use_nfs --> off"], ["virt_use_nfs:ci2"], "", False, ""),
    ([], ["virt_use_nfs:ci2"], "", False, ""),
])  # fmt: skip
def test_whoever_lives_by_the_boolean_is_noted(
    lines: list[str], notes: list[str], boolean: str, switch_on: bool, note: str
) -> None:
    layer = "system_u:object_r:container_ro_file_t:s0"
    plan = {"boolean": boolean, "switch_on": switch_on, "note": note}
    assert nfs_plan([layer, "ext2/ext3", "nfs", *lines], "ci", notes) == plan
    assert nfs_plan([layer, "ext2/ext3", *lines], "ci", notes) == {"boolean": "", "switch_on": False, "note": ""}

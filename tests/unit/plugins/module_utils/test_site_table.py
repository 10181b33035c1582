# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that ends site.yml."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._site_table import failure_reason, site_table

HOSTS: dict[str, dict[str, Any]] = {
    "builder1": {"site": {"ready": True, "built": 2, "unchanged": 1, "seconds": 61.24}},
    "b2": {"site": {"ready": False, "reason": "Install: no network", "seconds": 3}},
    "b3": {"other": {}},
    "b4": {"site": {"started": 1.0}},
    "b5": {"site": {"ready": False, "unreachable": True, "reason": "no answer: No route to host", "seconds": 3}},
    "registry": {"site": {"ready": True, "seconds": 4.0}},
}


def test_every_host_has_a_line_and_a_failed_one_its_reason() -> None:
    assert site_table(HOSTS, HOSTS, "site") == [
        "host      ready      images                seconds",
        "--------  ---------  --------------------  -------",
        "builder1  yes        2 built, 1 unchanged  61.2",
        "b2        NO         -                     3.0",
        "b3        no answer  -                     -",
        "b4        no answer  -                     -",
        "b5        no answer  -                     -",
        "registry  yes        -                     4.0",
        "b2: Install: no network",
        "b5: no answer: No route to host",
    ]


def test_a_host_that_the_inventory_lost_has_no_answer() -> None:
    assert site_table(["gone"], {}, "site")[-1].startswith("gone  no answer")


@pytest.mark.parametrize("result, reason", [
    ({"failed": True, "msg": "No space left.\n"}, "Do it: No space left."),
    # A loop, as its rescue sees it: what failed says why.
    ({"msg": "One or more items failed", "results": [
        {"failed": False, "msg": "built"}, {"failed": True, "msg": "no such file"}, {"failed": True, "msg": "other"},
    ]}, "Do it: no such file"),
    # A command that was waited for in vain.
    ({"failed": True, "msg": "", "stderr": "cat: no such file"}, "Do it: cat: no such file"),
    ({"failed": True}, "Do it: no message"),
])  # fmt: skip
def test_a_reason_names_the_task_and_what_it_said(result: dict[str, Any], reason: str) -> None:
    assert failure_reason(result, "Do it") == reason

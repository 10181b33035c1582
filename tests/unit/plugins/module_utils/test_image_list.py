# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of images of the role build_images."""

from __future__ import annotations

from typing import Any

from ansible_collections.rootless.buildah.plugins.module_utils._image_list import (
    below_home,
    extra_files,
    image_report,
    wanted_images,
)

REGISTRY = {"address": "registry.example.com:5000", "username": "builder"}
LOGIN = {"registry_username": "builder", "registry_password": "pass"}


def test_an_image_wins_over_the_defaults() -> None:
    images: list[dict[str, Any]] = [{"name": "a", "push": False}, {"name": "b"}]
    assert wanted_images(images, {"push": True}, {}, "") == [{"name": "a", "push": False}, {"name": "b", "push": True}]


def test_only_images_of_the_inventorys_registry_get_its_login() -> None:
    names = ["registry.example.com:5000/app", "registry.example.com:50001/app", "other.example.com/app", "app"]
    found = wanted_images([{"name": name} for name in names], {}, REGISTRY, "pass")
    assert found == [{"name": names[0], **LOGIN}] + [{"name": name} for name in names[1:]]


def test_an_image_with_a_login_of_its_own_keeps_it() -> None:
    own = {"name": "registry.example.com:5000/app", "registry_auth_file": "/auth.json"}
    assert wanted_images([own], {}, REGISTRY, "pass") == [own]


def test_without_a_password_there_is_no_login() -> None:
    image = {"name": "registry.example.com:5000/app"}
    assert wanted_images([image], {}, REGISTRY, "") == [image]


def test_relative_destinations_lie_below_the_home() -> None:
    assert below_home([{"src": "/a", "dest": "x/y"}, {"src": "/b", "dest": "/z"}], "/home/builder") == [
        {"src": "/a", "dest": "/home/builder/x/y"},
        {"src": "/b", "dest": "/z"},
    ]


def _found(*paths: str) -> dict[str, Any]:
    return {"files": [{"path": path} for path in paths]}


def test_files_that_are_gone_at_the_source_are_extra_and_a_directory_goes_as_a_whole() -> None:
    there = _found("/dest/keep", "/dest/gone", "/dest/old", "/dest/old/file")
    here = _found("/src/keep", "/src/new")
    assert extra_files([(there, here)], [{"src": "/src", "dest": "/dest"}]) == ["/dest/gone", "/dest/old"]


def _entry(index: int, due: bool) -> dict[str, Any]:
    reasons = [{"reason": "context"}] if due else []
    return {"name": f"image{index}", "index": index, "due": due, "build": due, "digest": "", "reasons": reasons}


def test_the_report_joins_results_with_images_by_the_order_of_the_levels() -> None:
    plan = {"images": [_entry(0, True), _entry(1, False), _entry(2, True)], "levels": [[2], [0]]}
    done = [
        {"changed": True, "built": True, "duration": 2.0, "digest": "sha256:2", "reasons": [{"reason": "args"}]},
        {"changed": False, "built": True, "duration": 1.0, "digest": "sha256:0", "reasons": [{"reason": "forced"}]},
    ]
    report = image_report(plan, done)
    assert (report["changed"], report["built"], report["unchanged"]) == (True, 2, 2)
    assert [image["digest"] for image in report["images"]] == ["sha256:0", "", "sha256:2"]


def test_in_check_mode_the_plan_is_the_report() -> None:
    report = image_report({"images": [_entry(0, True), _entry(1, False)], "levels": [[0]]}, [])
    assert (report["changed"], report["built"], report["unchanged"]) == (True, 1, 1)

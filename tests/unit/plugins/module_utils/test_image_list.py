# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of images of the role build_images."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._image_list import (
    below_home,
    context_changes,
    image_report,
    trial_words,
    unseen_images,
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


def test_images_belong_to_the_project_that_they_do_not_name_themselves() -> None:
    own = {"storage": {"project": "own"}}
    found = wanted_images([{"name": "a"}, {"name": "b", **own}], {}, {}, "", "theirs")
    assert [image["storage"] for image in found] == [{"project": "theirs"}, {"project": "own"}]


def test_a_trial_looks_into_the_store_of_its_image() -> None:
    planned = [{"name": "app:latest", "buildah": ["buildah", "--root=/a b"]}, {"name": "r.example/x:1", "buildah": []}]
    assert trial_words([{"name": "app", "argv": ["/app", "a b"]}, {"name": "other", "argv": ["id"]}], planned) == [
        "buildah '--root=/a b'", "app", "/app 'a b'", "buildah", "other", "id"]
    with pytest.raises(ValueError, match="nothing of r.example/x:1 is left on this host to try"):
        trial_words([{"name": "r.example/x:1", "argv": ["id"]}], planned)


def test_relative_destinations_lie_below_the_home() -> None:
    assert below_home([{"src": "/a", "dest": "x/y"}, {"src": "/b", "dest": "/z"}], "/home/builder") == [
        {"src": "/a", "dest": "/home/builder/x/y"},
        {"src": "/b", "dest": "/z"},
    ]


@pytest.mark.parametrize(("src", "clean"), [
    ("/play/../ctx", "/ctx"), ("/play//ctx", "/play/ctx"), ("//ctx", "/ctx"), ("/ctx/", "/ctx"), ("/ctx/.", "/ctx"),
    ("~/ctx", "/home/me/ctx"), ("~", "/home/me"), ("$PLAY/ctx/", "/play/ctx"),
])
def test_a_source_is_written_as_find_writes_paths(src: str, clean: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLAY", "/play")
    assert below_home([{"src": src, "dest": "x"}], "/home/builder") == [{"src": clean, "dest": "/home/builder/x"}]


@pytest.mark.parametrize(("dest", "clean"), [
    ("x/", "/home/builder/x"), ("./x//y", "/home/builder/x/y"), ("x/../y", "/home/builder/y"), ("/srv//x/", "/srv/x"),
    ("~/x", "/home/builder/x"), ("~//x", "/home/builder/x"), ("../other/x", "/home/other/x"), ("//srv", "/srv"),
    ("/home/builder2", "/home/builder2"),
])
def test_a_destination_is_written_as_find_writes_paths(dest: str, clean: str) -> None:
    assert below_home([{"src": "/a", "dest": dest}], "/home/builder/") == [{"src": "/a", "dest": clean}]


@pytest.mark.parametrize("src", ["ctx", "./ctx", "../ctx", "", "~no-such-user/ctx"])
def test_a_relative_source_is_refused(src: str) -> None:
    with pytest.raises(ValueError, match="is not an absolute path.*Remedy: write playbook_dir"):
        below_home([{"src": src, "dest": "x"}], "/home/builder")


@pytest.mark.parametrize("home", ["/home/builder", ""])
@pytest.mark.parametrize("dest", ["", ".", "~", "~/", "x/..", "..", "../", "/"])
def test_a_destination_that_holds_the_home_is_refused(dest: str, home: str) -> None:
    with pytest.raises(ValueError, match="builder user's home or holds it.*Remedy: name a directory"):
        below_home([{"src": "/a", "dest": dest}], home)


def test_a_destination_in_the_home_of_somebody_by_name_is_refused() -> None:
    with pytest.raises(ValueError, match="names the home of a user. Remedy"):
        below_home([{"src": "/a", "dest": "~builder/x"}], "/home/builder")


@pytest.mark.parametrize("dests", [("x", "x/y"), ("x/y", "x"), ("x", "~/x/"), ("/home/builder/x", "x")])
def test_destinations_that_hold_each_other_are_refused(dests: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="each would remove what the other brings. Remedy"):
        below_home([{"src": "/a", "dest": dest} for dest in dests], "/home/builder")


def test_destinations_whose_names_begin_alike_lie_beside_each_other() -> None:
    assert len(below_home([{"src": "/a", "dest": dest} for dest in ("x", "x2", "x-y")], "/home/builder")) == 3


def test_before_there_is_a_user_destinations_stay_relative() -> None:
    assert below_home([{"src": "/a", "dest": "~/x/"}], "") == [{"src": "/a", "dest": "x"}]


def _file(path: str, **facts: Any) -> dict[str, Any]:
    usual = {"path": path, "isreg": True, "isdir": False, "islnk": False, "mode": "0644", "checksum": "1"}
    return {**usual, "pw_name": "builder", **facts}


PAIR = {"src": "/src", "dest": "/dest"}
NOTHING: dict[str, Any] = {"remove": [], "copy": [], "blocked": []}
FILE = {"isreg": True, "isdir": False, "islnk": False}
DIRECTORY = {"isreg": False, "isdir": True, "islnk": False}
LINK = {"isreg": False, "isdir": False, "islnk": True}


@pytest.mark.parametrize(("there", "copy"), [
    ({}, False), ({"checksum": "2"}, True), ({"mode": "0755"}, True), ({"pw_name": "root"}, True),
])
def test_a_context_is_copied_when_a_file_differs(there: dict[str, Any], copy: bool) -> None:
    found = context_changes([_file("/src/a", pw_name="me")], [_file("/dest/a", **there)], [PAIR], "builder")
    assert found["copy"] == ([PAIR] if copy else [])


def test_a_context_is_copied_when_a_file_is_missing_or_may_lead_elsewhere() -> None:
    assert context_changes([_file("/src/a")], [], [PAIR], "builder")["copy"] == [PAIR]
    assert context_changes([_file("/src/a"), _file("/src/b")], [_file("/dest/a")], [PAIR], "builder")["copy"] == [PAIR]
    assert context_changes([_file("/src/a", **LINK)], [_file("/dest/a", **LINK)], [PAIR], "builder")["copy"] == [PAIR]


def test_each_context_is_compared_with_its_own_directory_only() -> None:
    pairs = [PAIR, {"src": "/src2", "dest": "/dest2/"}]
    here = [_file("/src/a"), _file("/src2/b", checksum="2")]
    assert context_changes(here, [_file("/dest/a"), _file("/dest2/b")], pairs, "builder") == {
        "remove": [], "copy": pairs[1:], "blocked": []}


def test_the_mode_of_a_directory_is_the_hosts_affair() -> None:
    here, there = [_file("/src/d", **DIRECTORY)], [_file("/dest/d", mode="0700", **DIRECTORY)]
    assert context_changes(here, there, [PAIR], "builder") == NOTHING


def test_files_that_are_gone_at_the_source_go_and_a_directory_goes_as_a_whole() -> None:
    there = [_file(f"/dest/{name}") for name in ("keep", "gone", "old", "old/file")]
    found = context_changes([_file("/src/keep"), _file("/src/new")], there, [PAIR], "builder")
    assert found["remove"] == ["/dest/gone", "/dest/old"]


@pytest.mark.parametrize("old", [FILE, DIRECTORY, LINK])
@pytest.mark.parametrize("new", [FILE, DIRECTORY, LINK])
def test_what_became_something_else_goes_as_a_whole_before_it_is_copied(
    old: dict[str, bool], new: dict[str, bool]
) -> None:
    there = [_file("/dest/a", **old), *([_file("/dest/a/b")] if old is DIRECTORY and new is not DIRECTORY else [])]
    found = context_changes([_file("/src/a", **new)], there, [PAIR], "builder")
    turned = {"remove": ["/dest/a"], "copy": [PAIR], "blocked": [PAIR]}
    assert found == (turned if old is not new else {**NOTHING, "copy": [PAIR] if new is LINK else []})


@pytest.mark.parametrize(("src", "dest"), [
    ("/play/../src", "/dest/"), ("//src", "//dest"), ("/src/", "/x/../dest"), ("/src/.", "/dest//"),
])
def test_however_the_directories_are_written_nothing_that_is_wanted_goes(src: str, dest: str) -> None:
    pair = {"src": src, "dest": dest}
    same, changed = [_file("/dest/a")], [_file("/dest/a", checksum="2")]
    assert context_changes([_file("/src/a")], same, [pair], "builder") == NOTHING
    assert context_changes([_file("/src/a")], changed, [pair], "builder") == {**NOTHING, "copy": [pair]}


@pytest.mark.parametrize("there", [[], [_file("/dest/a")]])
def test_an_empty_source_is_refused(there: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="/src on the controller is empty, and would empty /dest.*Remedy: correct src"):
        context_changes([_file("/src2/a")], there, [PAIR], "builder")


def test_a_source_that_is_not_seen_whole_is_refused() -> None:
    unread = {"/src/closed": "Permission denied", "/src2": "not a directory"}
    with pytest.raises(ValueError, match=r"/src/closed \(Permission denied\); /src2 \(not a directory\).*Remedy"):
        context_changes([_file("/src/a")], [_file("/dest/closed/a")], [PAIR], "builder", unread)


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


def test_what_cannot_be_looked_up_will_be_built() -> None:
    report = unseen_images(["localhost/one", "localhost/two"])
    assert (report["changed"], report["built"], report["unchanged"]) == (True, 2, 0)
    assert [image["reasons"] for image in report["images"]] == [[{"reason": "cannot_look_up"}]] * 2
    planned = image_report({"images": [_entry(0, True)], "levels": [[0]]}, [])
    assert set(report["images"][0]) == set(planned["images"][0])
    assert not unseen_images([])["changed"]

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a file is, and what happens to it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._managed_file import (
    Plan,
    Seen,
    Wanted,
    digest,
    files_below,
    is_ours,
    marker_line,
    plan_absent,
    plan_present,
    render,
)

OURS = render("a = 1\n", "test", "#")
WANTED = Wanted(OURS, 0, 0, 0o644)
FOREIGN = Seen("file", b"a = 1\n", mode=0o644)


def written(data: bytes = OURS, mode: int = 0o644) -> Seen:
    return Seen("file", data, mode=mode)


class TestRender:
    def test_the_marker_comes_first(self) -> None:
        assert render("a\n", "test", "#") == b"# Managed by rootless.buildah, role test\na\n"

    def test_but_after_the_interpreter(self) -> None:
        assert render("#!/bin/sh\na\n", "test", "#").splitlines() == [
            b"#!/bin/sh", b"# Managed by rootless.buildah, role test", b"a"]

    def test_a_format_without_comments_has_no_marker(self) -> None:
        assert render("{}", "test", "") == b"{}\n"

    def test_nothing_stays_nothing_but_the_marker(self) -> None:
        assert render("", "test", ";") == marker_line("test", ";").encode() + b"\n"


class TestOwnership:
    @pytest.mark.parametrize("seen, note, comment, ours", [
        (Seen(), None, "#", False),
        (written(), None, "#", True),
        (written(OURS + b"edited = true\n"), None, "#", True),
        (FOREIGN, None, "#", False),
        (FOREIGN, {"digests": [digest(FOREIGN.data)]}, "#", False),
        (FOREIGN, {"digests": ["other", digest(FOREIGN.data)]}, "", True),
        (FOREIGN, {"digests": ["other"]}, "", False),
        (FOREIGN, None, "", False),
        (Seen("link", target="/elsewhere"), {"digests": []}, "#", False),
    ])
    def test_marker_or_digest_tell(self, seen: Seen, note: dict[str, Any] | None, comment: str, ours: bool) -> None:
        assert is_ours(seen, note, comment) is ours


class TestPresent:
    def test_a_missing_file_is_written(self) -> None:
        assert plan_present(Seen(), WANTED, None, "#", False).action == "write"

    def test_the_same_file_is_kept(self) -> None:
        plan = plan_present(written(), WANTED, None, "#", False)
        assert plan == Plan("keep")
        assert not plan.changed

    @pytest.mark.parametrize("seen, difference", [
        (written(OURS + b"x"), "content"),
        (written(mode=0o600), "mode"),
        (Seen("file", OURS, uid=5, mode=0o644), "owner"),
    ])
    def test_what_differs_is_put_right(self, seen: Seen, difference: str) -> None:
        plan = plan_present(seen, WANTED, None, "#", False)
        assert (plan.action, plan.differences, plan.save) == ("write", [difference], False)

    def test_somebody_elses_file_is_refused(self) -> None:
        plan = plan_present(FOREIGN, WANTED, None, "#", False)
        assert plan.action == "refuse"
        assert not plan.changed

    def test_somebody_elses_file_is_kept_aside_where_allowed(self) -> None:
        plan = plan_present(FOREIGN, WANTED, None, "#", True)
        assert (plan.action, plan.save) == ("write", True)

    def test_a_link_is_somebody_elses(self) -> None:
        assert plan_present(Seen("link", target="/x"), WANTED, None, "#", False).action == "refuse"

    def test_a_directory_is_refused_even_where_overwriting_is_allowed(self) -> None:
        assert plan_present(Seen("other"), WANTED, None, "#", True).action == "refuse"


class TestAbsent:
    def test_ours_is_removed(self) -> None:
        assert plan_absent(written(), {"digests": []}, "#").action == "remove"

    def test_ours_is_removed_although_the_notes_are_lost(self) -> None:
        assert plan_absent(written(), None, "#").action == "remove"

    def test_what_was_there_comes_back(self) -> None:
        assert plan_absent(written(), {"backup": "/b"}, "#").action == "restore"

    def test_what_was_there_comes_back_although_ours_is_gone(self) -> None:
        assert plan_absent(Seen(), {"backup": "/b"}, "#").action == "restore"

    def test_somebody_elses_file_stays(self) -> None:
        assert plan_absent(FOREIGN, {"backup": "/b"}, "#").action == "forget"
        assert plan_absent(FOREIGN, None, "#").action == "keep"

    def test_nothing_is_kept(self) -> None:
        assert plan_absent(Seen(), None, "#") == Plan("keep")


def test_files_below_a_directory_are_there_when_they_have_a_content() -> None:
    assert files_below({"a/b.conf": "x", "c.conf": "", "d.json": "{}"}, "/home/u/.config") == [
        {"path": "/home/u/.config/a/b.conf", "content": "x", "state": "present", "comment": "#"},
        {"path": "/home/u/.config/c.conf", "content": "", "state": "absent", "comment": "#"},
        {"path": "/home/u/.config/d.json", "content": "{}", "state": "present", "comment": ""},
    ]

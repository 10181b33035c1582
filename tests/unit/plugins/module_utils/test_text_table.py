# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for people."""

from __future__ import annotations

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._text_table import aligned, plain, printable


def test_a_column_is_as_wide_as_its_widest_cell() -> None:
    assert aligned([("a", "long header"), ("wide cell", "b")]) == [
        "a          long header",
        "---------  -----------",
        "wide cell  b",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 漢字", "plain ünïcode 漢字"),
        ("two\nlines\tand   spaces ", "two lines and spaces"),
        ("\x1b[31mred\x07", "\ufffd[31mred\ufffd"),
        ("a\u202eb\u200bc", "a\ufffdb\ufffdc"),
        ("\udc80", "\ufffd"),
        (7, "7"),
    ],
)
def test_what_a_host_says_is_one_line_that_steers_nothing(text: object, shown: str) -> None:
    assert plain(text) == shown
    assert plain(text).encode("utf-8")


def test_printable_keeps_lines_and_spaces() -> None:
    assert printable("echo 'a  b'\necho\x00") == "echo 'a  b'\necho\ufffd"

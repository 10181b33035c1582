# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML whose texts stay texts."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Optional

from ansible_collections.rootless.buildah.plugins.module_utils._html import element, joined

HOSTILE = "</p><script>alert('x')</script> & \"quoted\" <img src=x>"


class Reader(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Optional[str]]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_text_stays_a_text() -> None:
    read = Reader(element("p", HOSTILE, title=HOSTILE).text)
    assert read.tags == [("p", {"title": HOSTILE})]
    assert read.text == HOSTILE


def test_elements_hold_elements() -> None:
    read = Reader(element("p", "a ", element("code", "<b>", class_="x", aria_label="y"), joined(" c", "&d")).text)
    assert read.tags == [("p", {}), ("code", {"class": "x", "aria-label": "y"})]
    assert read.text == "a <b> c&d"


def test_some_elements_have_no_end() -> None:
    assert element("meta", charset="utf-8").text == '<meta charset="utf-8">'


def test_control_characters_do_not_get_into_a_page() -> None:
    assert Reader(element("p", "\x00\x1b\u202e", title="a\x00\nb").text).tags == [("p", {"title": "a\ufffd b"})]
    assert Reader(element("p", "\x00\x1b\u202e").text).text == "\ufffd" * 3

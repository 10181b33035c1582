# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML in which a text cannot become markup by mistake: every string is escaped, only elements are not. Pure."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Union

from ansible_collections.rootless.buildah.plugins.module_utils._text_table import plain, printable

VOID = frozenset({"meta", "wbr"})
BLOCKS = frozenset({"body", "head", "header", "li", "main", "section", "table", "tbody", "thead", "tr"})


@dataclass(frozen=True)
class Html:
    """Finished markup."""

    text: str


Content = Union[str, Html]


def element(tag: str, /, *children: Content, **attributes: str) -> Html:
    """Return an element.

    :param children: elements, and strings that are text.
    :param attributes: ``class_`` stands for class, and an underscore for a hyphen.
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(plain(value))}"' for key, value in attributes.items())
    if tag in VOID:
        return Html(f"<{tag}{pairs}>")
    # Lines end where white space means nothing, so that a diff of two pages can be read.
    end = "\n" if tag in BLOCKS else ""
    return Html(f"<{tag}{pairs}>{joined(*children).text}</{tag}>{end}")


def joined(*children: Content) -> Html:
    """Return elements and texts in a row."""
    parts = (child.text if isinstance(child, Html) else html.escape(printable(child)) for child in children)
    return Html("".join(parts))

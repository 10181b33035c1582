# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for people: tables for a terminal, and what came from elsewhere made fit to be shown. Pure."""

from __future__ import annotations

from typing import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose first row is its header."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def printable(text: object) -> str:
    """Return a text in which nothing is left that could steer a terminal or a page; line ends stay.

    Control characters, lone surrogates and marks that turn the direction of writing become U+FFFD.
    """
    return "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in str(text))


def plain(text: object) -> str:
    """As printable(), as one line."""
    return printable(" ".join(str(text).split()))

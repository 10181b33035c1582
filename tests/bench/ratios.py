# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures two things side by side and keeps the ratios. Nothing is asserted: machines differ and are noisy."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

INTRODUCTION = """# Benchmark

Each line was measured side by side in one run, `ours` and `theirs` in turn, on a machine with 2 cores. Ratios of
medians; only they carry over to other machines. `make bench` measures anew and writes this page.

| what | against | ours | theirs | ratio | aim |
|---|---|---:|---:|---:|---:|
"""


@dataclass(frozen=True)
class Row:
    """One comparison; seconds."""

    what: str
    against: str
    ours: float
    theirs: float
    aim: Optional[float]

    def __str__(self) -> str:
        ratio = self.ours / self.theirs
        aim = "" if self.aim is None else f"≤ {self.aim:g}" + ("" if ratio <= self.aim else ", missed")
        return f"| {self.what} | {self.against} | {self.ours:.2f} s | {self.theirs:.2f} s | {ratio:.3f} | {aim} |"


class Table:
    """The rows that were measured, and remarks on what cannot be said in a ratio."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.remarks: list[str] = []

    def compare(
        self,
        what: str,
        against: str,
        ours: Callable[[], object],
        theirs: Callable[[], object],
        *,
        aim: Optional[float] = None,
        runs: int = 3,
    ) -> Row:
        """Run both in turn and add a row of the medians."""
        seconds: tuple[list[float], list[float]] = ([], [])
        for _run in range(runs):
            for function, kept in zip((ours, theirs), seconds):
                begun = time.perf_counter()
                function()
                kept.append(time.perf_counter() - begun)
        row = Row(what, against, statistics.median(seconds[0]), statistics.median(seconds[1]), aim)
        self.rows.append(row)
        print(f"\n{row}")
        return row

    def write(self, path: Path) -> None:
        """Write the page and print it."""
        text = INTRODUCTION + "\n".join(str(row) for row in self.rows) + "\n"
        text += "".join(f"\n{remark}\n" for remark in self.remarks)
        path.write_text(text, encoding="utf-8")
        print("\n" + text)

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""buildah's build log as steps. Pure: touches neither Ansible nor processes.

Instructions appear as the Containerfile has them, variables unreplaced, because that is how buildah prints them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Iterable, Optional

# Several platforms and several stages put prefixes in front; labels that buildah appends itself have no total.
_STEP = re.compile(
    r"(?:\[(?P<platform>[a-z][a-z0-9]*/[^\] ]+)\] )?(?:\[(?P<stage>[0-9]+)/[0-9]+\] )?"
    r"STEP (?P<number>[0-9]+)(?:/(?P<total>[0-9]+))?: (?P<instruction>.*)\Z")
_COMMIT = re.compile(r"(?:\[[^\]]+\] ){0,2}COMMIT\b")
_STAGE_NAME = re.compile(r"FROM .* AS (\S+)\Z")
_USING_CACHE = "--> Using cache "
_ERROR = re.compile(r"Error: |time=\"[^\"]*\" level=(?:error|fatal) ")


@dataclass(frozen=True)
class Step:
    """One instruction of a build.

    :param stage: the stage's name or number, behind the platform where several are built at once.
    :param total: how many steps the stage has; 0 where buildah does not say.
    :param seconds: from its line in the log to the next step's, or to the last line there is.
    :param cached: whether the layer cache had it.
    """

    stage: str
    number: int
    total: int
    instruction: str
    seconds: Optional[float]
    cached: bool


class StepReader:
    """Reads a build log line by line."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._began = 0.0
        self._last = 0.0
        self._names: dict[tuple[str, int], str] = {}

    def feed(self, line: str, now: float) -> None:
        """Take the next line.

        :param now: when it came, in seconds of a clock that never goes back.
        """
        self._last = now
        match = _STEP.match(line.rstrip("\r\n"))
        if match:
            self._end(now)
            self._began = now
            self._steps.append(self._step(match))
        elif line.startswith(_USING_CACHE) and self._steps:
            self._steps[-1] = replace(self._steps[-1], cached=True)

    def steps(self) -> list[Step]:
        """Return the steps so far, in the log's order."""
        self._end(self._last)
        return list(self._steps)

    def _step(self, match: re.Match[str]) -> Step:
        platform, instruction = match["platform"] or "", match["instruction"]
        stage = int(match["stage"] or 1) - 1
        named = _STAGE_NAME.match(instruction)
        if named:
            self._names[platform, stage] = named.group(1)
        name = self._names.get((platform, stage), str(stage))
        number, total = int(match["number"]), int(match["total"] or 0)
        return Step(f"{platform} {name}".strip(), number, total, instruction, None, False)

    def _end(self, now: float) -> None:
        if self._steps:
            self._steps[-1] = replace(self._steps[-1], seconds=now - self._began)


def failing_step(log_lines: Iterable[str]) -> Optional[str]:
    """Return the step that a log breaks off at, as ``INSTRUCTION (2/5 of stage build)``.

    None when the log shows no step, or its last step came to its commit without an error.
    """
    reader = StepReader()
    committed = failed = False
    for line in log_lines:
        if _STEP.match(line.rstrip("\r\n")):
            committed = failed = False
        committed = committed or bool(_COMMIT.match(line))
        failed = failed or bool(_ERROR.match(line))
        reader.feed(line, 0.0)
    steps = reader.steps()
    if not steps or (committed and not failed):
        return None
    last = steps[-1]
    place = f"{last.number}/{last.total}" if last.total else str(last.number)
    stage = f" of stage {last.stage}" if last.stage != "0" else ""
    return f"{last.instruction} ({place}{stage})"


def last_lines(log_lines: Iterable[str], count: int = 20) -> list[str]:
    """Return the last lines that say something, each as a terminal would show it in the end."""
    shown = (line.rstrip().rpartition("\r")[2] for line in log_lines)
    return [line for line in shown if line][-count:]

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build logs of the real buildah, read into steps. tests/fixtures/record-build-logs.sh made the recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._steps import Step, StepReader, failing_step, last_lines

FIXTURES = Path(__file__).parents[3] / "fixtures"
VERSIONS = ("1.28.2", "1.39.3", "1.43.2")
LINK = 'RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]'


def log(version: str, name: str) -> list[str]:
    return (FIXTURES / f"buildah-{version}/build-logs/{name}.log").read_text().splitlines()


def read(lines: list[str]) -> list[Step]:
    """Read lines that come one second after another, the first at 100."""
    reader = StepReader()
    for number, line in enumerate(lines):
        reader.feed(line, 100.0 + number)
    return reader.steps()


def brief(steps: list[Step]) -> list[tuple[str, int, int, str, bool]]:
    return [(step.stage, step.number, step.total, step.instruction, step.cached) for step in steps]


@pytest.mark.parametrize("version", VERSIONS)
def test_each_instruction_of_a_single_stage_is_a_step(version: str) -> None:
    assert brief(read(log(version, "single-stage"))) == [
        ("0", 1, 3, "FROM scratch", False),
        ("0", 2, 3, "COPY busybox /bin/busybox", False),
        ("0", 3, 3, LINK, False),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_steps_out_of_the_layer_cache_say_so(version: str) -> None:
    assert [step.cached for step in read(log(version, "single-stage-cached"))] == [False, True, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_layer_that_comes_from_a_registry_counts_as_cached(version: str) -> None:
    assert [step.cached for step in read(log(version, "cache-from"))] == [False, True, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_layer_that_goes_to_a_registry_is_not_cached(version: str) -> None:
    assert [step.cached for step in read(log(version, "cache-to"))] == [False, False, False]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["no-layers", "single-stage"])
def test_a_build_without_layers_has_the_same_steps(version: str, name: str) -> None:
    assert [step.number for step in read(log(version, name))] == [1, 2, 3]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cached_step_is_noticed_when_buildah_prints_no_image_ids(version: str) -> None:
    assert [step.cached for step in read(log(version, "with-iidfile"))] == [False, True, True, False]


@pytest.mark.parametrize("version", VERSIONS)
def test_stages_go_by_their_names_and_else_by_their_numbers_and_skipped_ones_have_no_steps(version: str) -> None:
    stages: dict[str, list[tuple[int, int]]] = {}
    for step in read(log(version, "multi-stage")):
        stages.setdefault(step.stage, []).append((step.number, step.total))
    # buildah may begin a stage before those that it needs, and wait.
    assert stages == {
        "tools": [(1, 3), (2, 3), (3, 3)],
        "2": [(1, 4), (2, 4), (3, 4), (4, 4)],
        "result": [(1, 4), (2, 4), (3, 4), (4, 4)],
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_args_appear_as_the_file_has_them(version: str) -> None:
    instructions = [step.instruction for step in read(log(version, "multi-stage"))]
    assert "ARG GREETING=hello" in instructions
    assert "LABEL greeting=$GREETING" in instructions


@pytest.mark.parametrize("version", VERSIONS)
def test_steps_of_two_platforms_carry_the_platform(version: str) -> None:
    found = {(step.stage, step.number) for step in read(log(version, "two-platforms"))}
    assert found == {(f"linux/{arch} 0", number) for arch in ("amd64", "arm64") for number in (1, 2)}


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_of_the_command_line_are_steps_too(version: str) -> None:
    last = read(log(version, "labels"))[-1]
    assert last.instruction.startswith("LABEL ")
    assert last.number == last.total


@pytest.mark.parametrize("version", ["1.39.3", "1.43.2"])
def test_a_here_document_is_shown_by_its_first_line(version: str) -> None:
    assert [step.instruction.split(" (")[0] for step in read(log(version, "heredoc"))][-2:] == [
        "RUN <<EOF",
        "COPY <<EOF /words",
    ]


def test_a_step_lasts_until_the_next_begins_and_the_last_one_until_the_last_line() -> None:
    lines = log("1.28.2", "single-stage")
    starts = [number for number, line in enumerate(lines) if line.startswith("STEP ")]
    assert [step.seconds for step in read(lines)] == [
        float(after - start) for start, after in zip(starts, [*starts[1:], len(lines) - 1])
    ]


def test_a_running_step_has_lasted_until_now() -> None:
    reader = StepReader()
    reader.feed("STEP 1/2: FROM scratch", 10.0)
    reader.feed("STEP 2/2: RUN make", 12.5)
    reader.feed("compiling", 20.0)
    assert [step.seconds for step in reader.steps()] == [2.5, 7.5]
    reader.feed("still compiling", 21.0)
    assert [step.seconds for step in reader.steps()] == [2.5, 8.5]


def test_what_comes_before_the_first_step_is_nobodys() -> None:
    reader = StepReader()
    reader.feed('time="2026-11-21T05:49:02Z" level=warning msg="missing \\"X\\" build argument"', 1.0)
    reader.feed("--> Using cache 0a76", 2.0)
    assert reader.steps() == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("failing-run", "RUN echo before && exit 3 (4/5)"),
        ("failing-run-in-stage", 'RUN busybox false &&     echo "$GREETING" > /made/it (4/4 of stage 2)'),
        ("failing-copy", "COPY missing / (4/4)"),
        ("failing-from", "FROM localhost/missing:1 (1/2)"),
    ],
)
def test_a_failed_build_names_its_step(version: str, name: str, step: str) -> None:
    assert failing_step(log(version, name)) == step


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["failing-parse", "single-stage", "multi-stage", "with-iidfile", "no-layers"])
def test_a_build_that_never_began_or_went_well_names_no_step(version: str, name: str) -> None:
    assert failing_step(log(version, name)) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_build_that_was_killed_names_the_step_that_it_was_at(version: str) -> None:
    lines = log(version, "failing-run")
    assert failing_step(lines[: lines.index("before") + 1]) == "RUN echo before && exit 3 (4/5)"


def test_an_error_while_committing_is_the_last_steps() -> None:
    until_commit = log("1.28.2", "no-layers")[:4]
    assert until_commit[-1] == "COMMIT demo"
    assert failing_step([*until_commit, log("1.28.2", "failing-copy")[-1]]) == f"{LINK} (3/3)"


def test_the_last_lines_are_those_that_say_something() -> None:
    lines = ["one", "", "two  ", "10%\r50%\r100%", "   ", "three"]
    assert last_lines(lines, 3) == ["two", "100%", "three"]
    assert last_lines(lines) == ["one", "two", "100%", "three"]
    assert last_lines([]) == []

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order images are built that are each other's bases."""

from __future__ import annotations

import itertools
from typing import Mapping, Sequence

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._order import levels


def needs(**each: str) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(bases.split()) for name, bases in each.items()}


@pytest.mark.parametrize(
    ("names", "bases", "expected"),
    [
        ([], {}, []),
        (["a"], {}, [["a"]]),
        (["b", "a", "c"], {}, [["b", "a", "c"]]),
        (["app", "base"], needs(app="base"), [["base"], ["app"]]),
        (["c", "b", "a"], needs(c="b", b="a"), [["a"], ["b"], ["c"]]),
        # A diamond: what needs two images waits for both; what needs none of them does not wait.
        (
            ["top", "right", "left", "free", "base"],
            needs(top="left right", left="base", right="base"),
            [["free", "base"], ["right", "left"], ["top"]],
        ),
        # The longest way counts.
        (["app", "tool", "base"], needs(app="base tool", tool="base"), [["base"], ["tool"], ["app"]]),
    ],
    ids=["none", "one", "independent", "base", "chain", "diamond", "longest way"],
)
def test_levels(names: Sequence[str], bases: Mapping[str, frozenset[str]], expected: list[list[str]]) -> None:
    assert levels(names, bases) == expected


def test_the_order_of_the_list_decides_only_within_a_level() -> None:
    bases = needs(app="base tool", tool="base", other="base")
    for names in itertools.permutations(["app", "base", "other", "tool"]):
        expected = [["base"], [name for name in names if name in ("tool", "other")], ["app"]]
        assert levels(names, bases) == expected


@pytest.mark.parametrize(
    ("bases", "stuck"),
    [
        (needs(a="a"), "a"),
        (needs(a="b", b="a"), "a, b"),
        (needs(a="b", b="c", c="a"), "a, b, c"),
        # What needs a circle cannot be built either.
        (needs(b="b", c="b"), "b, c"),
    ],
)
def test_a_circle_is_refused_with_the_images_in_it(bases: Mapping[str, frozenset[str]], stuck: str) -> None:
    with pytest.raises(InputError) as error:
        levels(["a", "b", "c"], bases)
    assert error.value.message == "images need each other in a circle"
    assert error.value.cause == f"none of {stuck} can be built first"
    assert "Break the circle" in error.value.remedy


def test_the_callers_list_is_left_alone() -> None:
    names = ["app", "base"]
    levels(names, needs(app="base"))
    assert names == ["app", "base"]

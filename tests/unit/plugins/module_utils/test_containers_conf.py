# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What files of containers.conf(5) set for containers tools, and a file that takes none of it away."""

from __future__ import annotations

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._containers_conf import (
    BETWEEN,
    engine_conf,
    engine_environment,
    files,
)

SYSTEM = """\
# The proxy's address is the network team's.
[containers]
env = ["IN=containers"]

[engine]
# env = ["COMMENTED=out"]
env = [
  "https_proxy=http://proxy.example:3128",  # it's not for images
  'no_proxy=.example]',
]
"""
OURS = '# Managed by rootless.buildah, role builder.\n[engine]\nenv = ["BUILDAH_ISOLATION=chroot", "X=stale"]\n'
PROXY = ["https_proxy=http://proxy.example:3128", "no_proxy=.example]"]


@pytest.mark.parametrize("texts, environment", [
    ([], []),
    (["[engine]\nruntime = \"crun\"\n"], []),
    (["env = [\"NO=section\"]\n"], []),
    ([SYSTEM], PROXY),
    # A list replaces the one before.
    ([SYSTEM, "[engine]\nenv = [\"A=1\"]\n"], ["A=1"]),
    ([SYSTEM, "[engine]\nenv = []\n"], []),
    # ... unless it says otherwise, and what it says lasts.
    ([SYSTEM, "[engine]\nenv = [\"A=1\", {append=true}]\n"], [*PROXY, "A=1"]),
    (["[engine]\nenv = [\"A=1\", {append = true}]\n", "[engine]\nenv=[\"B=2\"]\n"], ["A=1", "B=2"]),
    (["[engine]\nenv = [\"A=1\",{append=true}]\n", "[engine]\nenv=[\"B=2\", {append=false}]\n"], ["B=2"]),
    (["[engine]\nenv = [\"A=append=true\"]\n", "[engine]\nenv=[\"B=2\"]\n"], ["B=2"]),
    (["[engine]\nenv = [\"A=\\\"quoted\\\"\", 'B=\\']\n"], ["A=\"quoted\"", "B=\\"]),
])  # fmt: skip
def test_the_environment_is_that_of_the_section_engine(texts: list[str], environment: list[str]) -> None:
    assert engine_environment(texts) == environment


def test_only_variables_with_a_value_are_set() -> None:
    assert engine_conf({"A": "1", "B": "", "C": 'x"y'}) == '[engine]\nenv = ["A=1", "C=x\\"y"]\n'
    assert engine_conf({"A": ""}, SYSTEM) == ""
    # What is usual has to be said where others say something else.
    assert engine_conf({"A": ""}, SYSTEM, {"A": "usual"}) == ""
    assert engine_environment([engine_conf({}, '[engine]\nenv = ["A=1", "B=2"]', {"A": "usual"})]) == ["A=usual", "B=2"]
    assert engine_conf({}, '[engine]\nenv = ["A=usual"]', {"A": "usual"}) == ""


def test_what_others_set_is_said_again_and_what_we_said_before_is_not() -> None:
    written = engine_conf({"BUILDAH_ISOLATION": "chroot"}, BETWEEN.join([SYSTEM, OURS]))
    assert engine_environment([SYSTEM, written]) == ["BUILDAH_ISOLATION=chroot", *PROXY]


def test_a_variable_is_not_set_twice() -> None:
    theirs = '[engine]\nenv = ["A=theirs", "B=2"]\n'
    assert engine_environment([engine_conf({"A": "ours"}, theirs)]) == ["A=ours", "B=2"]


def test_the_users_files_come_after_the_systems() -> None:
    assert files("/home/b")[2:] == [
        "/etc/containers/containers.conf.d/*.conf", "/home/b/.config/containers/containers.conf",
        "/home/b/.config/containers/containers.conf.d/*.conf"]  # fmt: skip

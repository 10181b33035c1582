# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What buildah is told about a store (containers-storage.conf(5), buildah(1))."""

from __future__ import annotations

from typing import Any, Mapping

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._storage import storage_conf, storage_flags


@pytest.mark.parametrize(
    ("chosen", "lines"),
    [
        ({}, ["[storage]", 'driver = "overlay"', "[storage.options]", "additionalimagestores = []"]),
        (
            {"driver": "vfs", "graphroot": None, "runroot": None, "additional_stores": None},
            ["[storage]", 'driver = "vfs"', "[storage.options]", "additionalimagestores = []"],
        ),
        # The graphroot of an unprivileged user has a name of its own.
        (
            {"graphroot": "/store"},
            [
                "[storage]",
                'driver = "overlay"',
                'graphroot = "/store"',
                'rootless_storage_path = "/store"',
                "[storage.options]",
                "additionalimagestores = []",
            ],
        ),
        (
            {"graphroot": "/store", "runroot": "/run/store", "additional_stores": ["/a", "/b c"]},
            [
                "[storage]",
                'driver = "overlay"',
                'graphroot = "/store"',
                'rootless_storage_path = "/store"',
                'runroot = "/run/store"',
                "[storage.options]",
                'additionalimagestores = ["/a", "/b c"]',
            ],
        ),
    ],
    ids=["nothing", "driver", "graphroot", "everything"],
)
def test_the_file_says_what_was_chosen_and_the_driver(chosen: Mapping[str, Any], lines: list[str]) -> None:
    assert storage_conf(chosen) == "\n".join(lines) + "\n"


def test_every_path_is_a_string_of_toml() -> None:
    path = '/a "b" \\c'
    text = storage_conf({"graphroot": path, "additional_stores": [path]})
    assert text.count(r'"/a \"b\" \\c"') == 3


@pytest.mark.parametrize(
    ("chosen", "flags"),
    [
        ({}, []),
        ({"graphroot": "/store"}, []),
        ({"graphroot": "/store", "runroot": None}, []),
        ({"driver": "vfs", "additional_stores": ["/a"]}, []),
        ({"graphroot": "/store", "runroot": "/run/store"}, ["--root=/store", "--runroot=/run/store"]),
    ],
)
def test_only_a_runroot_needs_flags_and_then_both(chosen: Mapping[str, Any], flags: list[str]) -> None:
    assert storage_flags(chosen) == flags

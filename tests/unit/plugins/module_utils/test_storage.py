# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What buildah is told about a store (containers-storage.conf(5), buildah(1))."""

from __future__ import annotations

from typing import Any, Mapping

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._storage import (
    HOST,
    ISOLATED,
    PROJECT,
    Places,
    Store,
    choose_store,
    read_defaults,
    storage_conf,
    united,
)

PLACES = Places("/home/u/stores", "/run/user/7")


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
    assert choose_store(chosen, PLACES).flags == flags


def test_the_users_own_configuration_serves_where_nothing_else_is_asked_for() -> None:
    assert choose_store({}, PLACES) == choose_store({"project": "ignored"}, PLACES) == Store(HOST)
    assert choose_store({"strategy": HOST}, PLACES).paths == ()


def test_each_project_has_directories_of_its_own() -> None:
    one, other = (choose_store({"strategy": PROJECT, "project": name}, PLACES) for name in ("a", "b.c-d_e"))
    assert one == Store(
        PROJECT, "/home/u/stores/projects/a", "/run/user/7/rootless.buildah/projects/a")
    assert one.flags == [
        "--root=/home/u/stores/projects/a", "--runroot=/run/user/7/rootless.buildah/projects/a"]
    assert not set(one.paths) & set(other.paths)
    assert (one.lasting, one.scratch) == (True, ())


def test_an_isolated_store_is_named_after_its_run_and_goes_with_it() -> None:
    store = choose_store({"strategy": ISOLATED, "graphroot": "/srv/s"}, PLACES, "17-x")
    assert store.graphroot == "/srv/s/isolated/17-x"
    assert not store.lasting
    assert store.scratch == (store.graphroot, store.runroot)


@pytest.mark.parametrize("strategy", [PROJECT, ISOLATED])
def test_further_stores_and_a_driver_go_with_every_strategy(strategy: str) -> None:
    chosen = {"strategy": strategy, "project": "a", "additional_stores": ["/s"], "driver": "vfs"}
    store = choose_store(chosen, PLACES, "17-x")
    assert 'additionalimagestores = ["/s"]' in store.conf
    assert 'driver = "vfs"' in store.conf
    # The flags say where it is.
    assert "graphroot" not in store.conf
    assert "/s" in store.paths


@pytest.mark.parametrize(("chosen", "cause"), [
    ({"strategy": PROJECT}, "each project has an image store of its own"),
    ({"strategy": PROJECT, "project": "../other"}, "the name becomes that of a directory"),
    ({"strategy": PROJECT, "project": "."}, "the name becomes that of a directory"),
    ({"strategy": ISOLATED, "runroot": "/run/x", "graphroot": "/g"}, "a run-time state of its own"),
])
def test_what_names_no_store_is_refused_with_a_remedy(chosen: Mapping[str, Any], cause: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_store(chosen, PLACES, "17-x")
    assert cause in caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize(("given", "effective"), [
    ({}, {"strategy": "project", "graphroot": "/srv"}),
    ({"project": "a", "driver": None}, {"strategy": "project", "graphroot": "/srv", "project": "a"}),
    ({"strategy": "isolated"}, {"strategy": "isolated"}),
    # Somebody who names a directory means that directory.
    ({"graphroot": "/mine", "additional_stores": []}, {"graphroot": "/mine"}),
])
def test_the_defaults_fill_up_what_a_task_does_not_say(given: dict[str, Any], effective: dict[str, Any]) -> None:
    assert united(given, {"strategy": "project", "graphroot": "/srv"}) == effective


def test_the_roles_file_is_read() -> None:
    assert read_defaults("") == {}
    assert read_defaults('{"strategy": "isolated"}\n') == {"strategy": "isolated"}


@pytest.mark.parametrize("text", ["{", "[]", '{"strategy": "other"}', '{"driver": "vfs"}'])
def test_a_file_that_is_not_the_roles_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_defaults(text)
    assert "storage.json" in str(caught.value)
    assert "role builder" in caught.value.remedy

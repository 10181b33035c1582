# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What containers tools are told about registries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._registry_settings import (
    auth_json,
    known,
    registries_conf,
    registry_files,
    unite,
)


def test_a_later_entry_adds_to_an_earlier_one_and_wins() -> None:
    first = [{"registry": "a", "insecure": True, "ca_cert": "x"}]
    second = [{"registry": "a", "ca_cert": "y"}, {"registry": "b"}]
    assert unite(first, second) == [{"registry": "a", "insecure": True, "ca_cert": "y"}, {"registry": "b"}]


def test_what_is_not_given_does_not_win() -> None:
    assert unite([{"registry": "a", "username": "u"}], [{"registry": "a", "username": None}]) == [
        {"registry": "a", "username": "u"}]


def test_only_insecure_registries_need_a_drop_in() -> None:
    plain, secure = {"registry": "localhost:5000", "insecure": True}, {"registry": "b.example", "insecure": False}
    text = registries_conf([plain, secure])
    assert text == '[[registry]]\nlocation = "localhost:5000"\ninsecure = true\n'
    assert registries_conf([{"registry": "b.example"}]) == ""


def test_each_authority_has_a_file_that_tools_look_for() -> None:
    # containers-certs.d(5)
    files = registry_files([{"registry": "a:5000", "ca_cert": "PEM"}, {"registry": "b", "ca_cert": None}])
    assert files == {
        "containers/registries.conf.d/50-rootless-buildah.conf": "", "containers/certs.d/a:5000/ca.crt": "PEM"}


def test_logins_are_encoded_as_the_manual_says() -> None:
    # echo -n 'ci:pass:word' | base64
    login = {"registry": "a:5000", "username": "ci", "password": "pass:word"}
    found = json.loads(auth_json([login, {"registry": "b"}]))
    assert found == {"auths": {"a:5000": {"auth": "Y2k6cGFzczp3b3Jk"}}}


def test_without_logins_there_is_no_authfile() -> None:
    assert auth_json([{"registry": "a"}]) == ""


def test_registries_of_the_inventory_come_without_credentials() -> None:
    login = {"password_file": "/p", "username": "u"}
    variables = {
        "one": {"fact": {"address": "one:5000", "insecure": False, "ca_cert": "PEM", **login}},
        "two": {"fact": {"address": "two:5000", "insecure": True, "ca_cert": "", **login}},
        "three": {},
    }
    assert known(["one", "two", "three", "four"], variables, "fact", "five") == [
        {"registry": "one:5000", "insecure": False, "ca_cert": "PEM"}, {"registry": "two:5000", "insecure": True}]


@pytest.mark.parametrize("builder, registry, reachable", [
    ({}, {}, False),
    ({"ansible_host": "10.0.0.1"}, {"ansible_host": "10.0.0.2"}, False),
    ({"ansible_host": "10.0.0.1"}, {"ansible_host": "10.0.0.1"}, True),
    ({"ansible_connection": "local"}, {"ansible_connection": "ansible.builtin.local"}, True),
])
@pytest.mark.parametrize("address", ["127.0.0.1:5000", "localhost:5000", "[::1]:5000"])
def test_a_registry_on_loopback_is_for_its_own_machine(
    builder: dict[str, Any], registry: dict[str, Any], reachable: bool, address: str
) -> None:
    told = {"address": address, "insecure": True, "ca_cert": ""}
    variables: dict[str, dict[str, Any]] = {"builder": builder, "registry": {**registry, "fact": told}}
    assert known(["registry"], variables, "fact", "registry") == [{"registry": address, "insecure": True}]
    if reachable:
        assert known(["registry"], variables, "fact", "builder") == [{"registry": address, "insecure": True}]
    else:
        with pytest.raises(InputError, match="build_registry_address: registry:5000"):
            known(["registry"], variables, "fact", "builder")

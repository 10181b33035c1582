# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins: which file counts, and what a task's own login adds to it. The format is that of containers-auth.json(5)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._auth import (
    login_hosts,
    merged_auth,
    own_auth_file,
    picked_logins,
)

# In the order in which the manual has them searched.
PLACES = ("run/containers/auth.json", "home/.config/containers/auth.json", "home/.docker/config.json")
# The manual's example of several logins for one registry.
PATHS = {
    "my-registry.local/foo/bar/image": {"auth": "YTpi"},
    "my-registry.local/foo": {"auth": "YTpi"},
    "my-registry.local": {"auth": "YTpi"},
}


class User:
    """A user with a home and a runtime directory.

    :param runtime: whether XDG_RUNTIME_DIR is set.
    """

    def __init__(self, root: Path, runtime: bool = True) -> None:
        self.root = root
        self.environment = {"HOME": str(root / "home")}
        if runtime:
            self.environment["XDG_RUNTIME_DIR"] = str(root / "run")

    def write(self, place: str, content: Any) -> str:
        """Write a file of logins and return its path."""
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def auths(*hosts: str) -> dict[str, Any]:
    return {"auths": {host: {"auth": "YTpi"} for host in hosts}}


def merged(user: User, named: str | None = None, hosts: tuple[str, ...] = ("a.example",)) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(merged_auth(named, user.environment, hosts, "me", "pass:wörd"))
    return found


class TestMerged:
    def test_the_token_is_encoded_as_the_manual_says(self, user: User) -> None:
        # "built from the concatenation of the username, a colon, and the password"; base64 of "me:pass:wörd" in UTF-8
        assert merged(user) == {"auths": {"a.example": {"auth": "bWU6cGFzczp3w7ZyZA=="}}}
        assert base64.b64decode("bWU6cGFzczp3w7ZyZA==").decode() == "me:pass:wörd"

    def test_each_host_gets_the_login(self, user: User) -> None:
        found = merged(user, hosts=("a.example", "b.example:5000"))["auths"]
        assert set(found) == {"a.example", "b.example:5000"} and len({one["auth"] for one in found.values()}) == 1

    def test_the_users_other_logins_stay(self, user: User) -> None:
        user.write(PLACES[0], {"auths": PATHS})
        assert merged(user)["auths"] == {**PATHS, "a.example": {"auth": "bWU6cGFzczp3w7ZyZA=="}}

    def test_the_tasks_login_wins(self, user: User) -> None:
        user.write(PLACES[0], auths("a.example"))
        assert merged(user)["auths"] == {"a.example": {"auth": "bWU6cGFzczp3w7ZyZA=="}}

    def test_the_tasks_login_goes_before_a_helper_and_helpers_of_others_stay(self, user: User) -> None:
        # "If the credential helpers are configured for specific registries, the base64 encoded authentication will not
        # be used"
        user.write(PLACES[0], {**auths(), "credHelpers": {"a.example": "pass", "b.example": "secretservice"}})
        assert merged(user)["credHelpers"] == {"b.example": "secretservice"}

    def test_the_users_file_is_not_written(self, user: User) -> None:
        path = Path(user.write(PLACES[0], auths("b.example")))
        merged(user)
        assert json.loads(path.read_text()) == auths("b.example")


class TestWhichFile:
    @pytest.mark.parametrize("number", range(len(PLACES)))
    def test_the_first_place_that_has_one_counts(self, user: User, number: int) -> None:
        for place in PLACES[number:]:
            user.write(place, auths(place.replace("/", "-")))
        assert login_hosts(None, user.environment) == {PLACES[number].replace("/", "-")}

    def test_a_named_file_alone_counts(self, user: User) -> None:
        user.write(PLACES[0], auths("a.example"))
        named = user.write("named.json", auths("b.example"))
        assert login_hosts(named, user.environment) == {"b.example"}
        assert set(merged(user, named, ("c.example",))["auths"]) == {"b.example", "c.example"}

    def test_a_named_file_that_is_not_there_has_no_logins(self, user: User) -> None:
        user.write(PLACES[0], auths("a.example"))
        assert login_hosts(str(user.root / "none"), user.environment) == frozenset()

    @pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"auths": 7}', "\udcff"])
    def test_a_file_that_cannot_be_understood_is_passed_over(self, user: User, content: str) -> None:
        path = Path(user.write(PLACES[0], "{}"))
        path.write_bytes(content.encode(errors="surrogateescape"))
        user.write(PLACES[1], auths("a.example"))
        assert login_hosts(None, user.environment) == {"a.example"}

    @pytest.mark.parametrize("content", [{}, {"auths": {}}, {"auths": None}, {"credsStore": "pass"}])
    def test_a_file_without_logins_ends_the_search(self, user: User, content: dict[str, Any]) -> None:
        user.write(PLACES[0], content)
        assert login_hosts(None, user.environment) == frozenset()

    def test_without_a_runtime_directory_buildahs_own_place_counts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user = User(tmp_path, runtime=False)
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        monkeypatch.setattr("os.getuid", lambda: 1001)
        # containers/storage, GetRootlessRuntimeDir, and below it the manual's place
        user.write("tmp/containers-user-1001/containers/containers/auth.json", auths("a.example"))
        user.write(PLACES[1], auths("b.example"))
        assert login_hosts(None, user.environment) == {"a.example"}


class TestHosts:
    def test_paths_belong_to_their_registry(self, user: User) -> None:
        user.write(PLACES[0], {"auths": {**PATHS, "b.example:5000/team": {"auth": "YTpi"}}})
        assert login_hosts(None, user.environment) == {"my-registry.local", "b.example:5000"}

    def test_helpers_are_logins(self, user: User) -> None:
        user.write(PLACES[0], {"credHelpers": {"a.example": "secretservice"}})
        assert login_hosts(None, user.environment) == {"a.example"}

    def test_docker_writes_an_address_for_its_hub(self, user: User) -> None:
        # As docker login writes it; containers/image, normalizeRegistry, reads it as docker.io.
        user.write(PLACES[2], auths("https://index.docker.io/v1/", "http://b.example/v2/"))
        assert login_hosts(None, user.environment) == {"docker.io", "b.example"}


class TestOwnFile:
    """Without XDG_RUNTIME_DIR the tools insist on /run/containers/<uid>, which may not be readable."""

    def test_with_a_runtime_directory_the_tools_find_everything(self, user: User) -> None:
        user.write(PLACES[1], auths("a.example"))
        assert own_auth_file(user.environment, str(user.root / "empty")) is None
        assert not (user.root / "empty").exists()

    @pytest.mark.parametrize("place", PLACES[1:])
    def test_the_users_file_is_named(self, tmp_path: Path, place: str) -> None:
        user = User(tmp_path, runtime=False)
        path = user.write(place, auths("a.example"))
        assert own_auth_file(user.environment, str(tmp_path / "empty")) == path
        assert not (tmp_path / "empty").exists()

    def test_of_two_the_first_is_named(self, tmp_path: Path) -> None:
        user = User(tmp_path, runtime=False)
        first = user.write(PLACES[1], auths("a.example"))
        user.write(PLACES[2], auths("b.example"))
        assert own_auth_file(user.environment, str(tmp_path / "empty")) == first

    def test_where_there_is_none_an_empty_one_is_written(self, tmp_path: Path) -> None:
        user = User(tmp_path, runtime=False)
        empty = str(tmp_path / "empty")
        assert own_auth_file(user.environment, empty) == empty
        assert json.loads(Path(empty).read_text()) == {} and login_hosts(empty, user.environment) == frozenset()


class TestPickedLogins:
    """What travels into a cluster: the logins of the registries that a step needs, and no others."""

    @pytest.fixture(name="file")
    def _file(self, tmp_path: Path) -> str:
        auths = {name: {"auth": name} for name in ("one.example.com", "one.example.com/team", "two.example.com:5000",
                                                   "https://index.docker.io/v1/")}  # fmt: skip
        (tmp_path / "auth.json").write_text(json.dumps({"auths": auths, "credHelpers": {"one.example.com": "pass"}}))
        return str(tmp_path / "auth.json")

    @pytest.mark.parametrize("hosts, picked", [
        (["one.example.com"], {"one.example.com", "one.example.com/team"}),
        (["two.example.com:5000", "three.example.com"], {"two.example.com:5000"}),
        (["docker.io"], {"https://index.docker.io/v1/"}),
        ([], set()),
    ])  # fmt: skip
    def test_of_a_file_only_what_is_needed(self, file: str, hosts: list[str], picked: set[str]) -> None:
        found = json.loads(picked_logins(file, hosts, {}))
        assert (set(found), set(found["auths"])) == ({"auths"}, picked)

    def test_the_tasks_login_comes_first_and_goes_nowhere_else(self, file: str) -> None:
        given = {"one.example.com": ("u", "p:w"), "three.example.com": ("x", "y")}
        found = json.loads(picked_logins(file, ["one.example.com"], given))["auths"]
        assert base64.b64decode(found["one.example.com"]["auth"]) == b"u:p:w"
        assert "three.example.com" not in found

    def test_without_a_file_the_users_own_is_not_looked_for(self, user: User) -> None:
        assert json.loads(picked_logins(None, ["registry.example.com"], {})) == {"auths": {}}

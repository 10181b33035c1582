# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes the build key and what cannot (docs/build-key.md)."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Mapping, Optional

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs, validate
from ansible_collections.rootless.buildah.plugins.module_utils._key import (
    Resolved,
    Variant,
    components,
    overall_key,
    refresh_age,
    refresh_bucket,
    variant,
)
from ansible_collections.rootless.buildah.plugins.module_utils._options import KEY, OPTIONS, component_name

AMD64, ARM64 = "linux/amd64", "linux/arm64"
HOUR, DAY, WEEK = 3600, 86400, 7 * 86400
NOW = 1_800_000_000.0
RECIPE = "FROM registry.example.com/base/debian:12\nARG RELEASE\nRUN make\n"
SCRIPT = 'buildah commit "$(buildah from "$BASE")" "$IMAGE"\n'
BASE = "registry.example.com/base/debian:12"
BASE_DIGEST = "sha256:" + "b" * 64
CONTEXT_DIGEST = "sha256:" + "c" * 64


def task(**given: Any) -> BuildInputs:
    return validate({**{option.name: option.spec.get("default") for option in OPTIONS}, "name": "app", **given})


def inputs(**given: Any) -> BuildInputs:
    """One image of a Containerfile, unless a script is given."""
    return task(**given) if "script" in given else task(**{"containerfile_content": RECIPE, **given})


def resolved(**given: Any) -> Resolved:
    return Resolved(**{"bases": {BASE: BASE_DIGEST}, "context": CONTEXT_DIGEST, "args": ("RELEASE",), **given})


def parts(found: Optional[Resolved] = None, of: str = AMD64, now: float = NOW, **given: Any) -> dict[str, Any]:
    return components(inputs(**given), of, found or resolved(), now)


def key(found: Optional[Resolved] = None, of: str = AMD64, now: float = NOW, **given: Any) -> str:
    return variant(parts(found, of, now, **given), (found or resolved()).files).key


def sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


# Records at registries hold keys, so the text that is hashed may never change without a new schema number. Which parts
# it has is said in docs/build-key.md. How they are written is said nowhere else: this text was read off the code of
# schema 1 and is frozen here, JSON in its shortest form with sorted names and ASCII only.
def test_the_text_of_a_key_is_stable() -> None:
    text = (
        '{"components":{'
        '"args":{"RELEASE":"1"},'
        '"base_image":{"' + BASE + '":"' + BASE_DIGEST + '"},'
        '"bind_sources":"sha256:dddd",'
        '"build_context":{"docs":"sha256:eeee"},'
        '"containerfile":"' + sha256(RECIPE) + '",'
        '"context":"' + CONTEXT_DIGEST + '",'
        '"format":"oci",'
        '"labels":{"a":"\\u00e9","b":"\\"x\\""},'
        '"platform":"linux/amd64",'
        '"secrets":{"token":"2026-11","unversioned":""},'
        '"timestamp":0,'
        '"volumes":["/a:/b:ro"]'
        '},"schema":1}'
    )
    found = resolved(bind_sources="sha256:dddd", contexts={"docs": "sha256:eeee"})
    given: dict[str, Any] = {
        "args": {"RELEASE": 1},
        "labels": {"b": '"x"', "a": "é"},
        "secrets": [{"id": "unversioned", "env": "X"}, {"id": "token", "value": "hush", "version": "2026-11"}],
        "timestamp": 0,
        "volumes": ["/a:/b:ro"],
    }
    assert key(found, **given) == sha256(text)


def test_the_text_of_an_index_key_is_stable() -> None:
    text = '{"platforms":{"linux/amd64":"sha256:1","linux/arm64":"sha256:2"},"schema":1}'
    assert overall_key({ARM64: Variant("sha256:2", {}), AMD64: Variant("sha256:1", {})}) == sha256(text)


def test_a_single_platform_has_no_index_key() -> None:
    assert overall_key({AMD64: Variant("sha256:1", {})}) == "sha256:1"


def test_an_index_key_tells_which_platform_has_which_key() -> None:
    one, two = Variant("sha256:1", {}), Variant("sha256:2", {})
    keys = {overall_key({AMD64: one, ARM64: two}), overall_key({AMD64: two, ARM64: one}), overall_key({AMD64: one})}
    assert len(keys) == 3


def test_parts_that_are_not_used_are_left_out() -> None:
    assert parts(Resolved()) == {"containerfile": sha256(RECIPE), "format": "oci", "platform": AMD64}


def test_a_script_is_a_part_of_its_own() -> None:
    found = parts(Resolved(), script=SCRIPT)
    assert found == {"script": sha256(SCRIPT), "format": "oci", "platform": AMD64}


# For every option of the key what is given before, and what after.
CHANGES: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "containerfile_content": ({}, {"containerfile_content": RECIPE + "\n"}),
    "script": ({"script": SCRIPT}, {"script": SCRIPT + "\n"}),
    "target": ({}, {"target": "debug"}),
    "args": ({"args": {"RELEASE": "1"}}, {"args": {"RELEASE": "2"}}),
    "labels": ({"labels": {"a": "1"}}, {"labels": {"a": "2"}}),
    "annotations": ({"annotations": {"a": "1"}}, {"annotations": {"b": "1"}}),
    "env": ({}, {"env": {"a": "1"}}),
    "secrets": ({}, {"secrets": [{"id": "token", "env": "TOKEN"}]}),
    "ssh": ({"ssh": ["default"]}, {"ssh": ["deploy"]}),
    "format": ({}, {"format": "docker"}),
    "squash": ({}, {"squash": True}),
    "timestamp": ({}, {"timestamp": 0}),
    "source_date_epoch": ({"source_date_epoch": 0}, {"source_date_epoch": 1}),
    "rewrite_timestamp": ({}, {"rewrite_timestamp": True}),
    "volumes": ({"volumes": ["/a:/a"]}, {"volumes": ["/a:/a:ro"]}),
    "refresh": ({}, {"refresh": "7d"}),
    "extra_build_args": ({}, {"extra_build_args": ["--security-opt=x"]}),
}
# These are in the key by what they were found to be, see RESOLUTIONS.
LOOKED_UP = {"path", "containerfile", "script_file", "base_images", "platform", "build_contexts"}

RESOLUTIONS: dict[str, Resolved] = {
    "base_image": resolved(bases={BASE: "sha256:" + "d" * 64}),
    "base_image by another name": resolved(bases={"other": BASE_DIGEST}),
    "another base_image": resolved(bases={BASE: BASE_DIGEST, "other": BASE_DIGEST}),
    "context": resolved(context="sha256:" + "d" * 64),
    "no context": resolved(context=None),
    "bind_sources": resolved(bind_sources="sha256:" + "d" * 64),
    "build_context": resolved(contexts={"docs": "sha256:" + "d" * 64}),
}


def test_every_option_of_the_key_is_changed_here() -> None:
    assert set(CHANGES) | LOOKED_UP == {option.name for option in OPTIONS if option.role == KEY}


@pytest.mark.parametrize("option", CHANGES)
def test_an_option_that_shapes_the_image_changes_the_key_and_is_told_by_its_name(option: str) -> None:
    before, after = (parts(**given) for given in CHANGES[option])
    component = next(component_name(each) for each in OPTIONS if each.name == option)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == {component}
    assert key(**CHANGES[option][0]) != key(**CHANGES[option][1])


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_what_was_looked_up_changes_the_key(resolution: str) -> None:
    assert key(RESOLUTIONS[resolution]) != key()


def test_the_platform_changes_the_key() -> None:
    assert key(of=ARM64) != key(of=AMD64)


@pytest.mark.parametrize("name", ["args", "labels", "annotations", "env"])
def test_values_do_not_wander_to_other_names(name: str) -> None:
    found = resolved(args=("A", "B"))
    one: dict[str, Any] = {name: {"A": "1", "B": "2"}}
    other: dict[str, Any] = {name: {"A": "2", "B": "1"}}
    assert key(found, **one) != key(found, **other)


def test_equal_bytes_of_a_script_and_a_containerfile_are_different_recipes() -> None:
    assert key(script=RECIPE) != key(containerfile_content=RECIPE)


# For every option that has nothing to do with the image: another value than the default.
HARMLESS: dict[str, Any] = {
    "name": "registry.example.com/team/other",
    "tag": "2",
    "state": "present",
    "pull": "always",
    "nocache": True,
    "layers": False,
    "cache_from": ["registry.example.com/cache"],
    "cache_to": ["registry.example.com/cache"],
    "cache_ttl": "1h",
    "cache_auth_file": "/auth.json",
    "network": "none",
    "isolation": "chroot",
    "ulimits": ["nofile=1024"],
    "memory": "512m",
    "cpu_shares": 1,
    "cpu_period": 1000,
    "cpu_quota": 1000,
    "cpuset_cpus": "0",
    "retries": 0,
    "retry_delay": "1s",
    "storage": {"graphroot": "/store"},
    "force": True,
    "allow_root": True,
    "lock_timeout": 1,
    "load": True,
    "outputs": [{"type": "tar", "dest": "/app.tar"}],
    "artifacts": "/artifacts",
    "push": True,
    "destinations": ["registry.example.com/team/app"],
    "compression_format": "zstd",
    "compression_level": 9,
    "sign_by": "0123ABCD",
    "trust": "signed",
    "trust_policy": "/policy.json",
    "extra_push_args": ["--quiet"],
    "registry_auth_file": "/auth.json",
    "registry_username": "builder",
    "registry_password": "hush",
    "registry_ca_dir": "/certs",
    "registry_validate_certs": False,
}
# What another option is refused without.
TOGETHER: dict[str, Mapping[str, Any]] = {
    "load": {"push": True, "name": "registry.example.com/team/app"},
    "push": {"name": "registry.example.com/team/app"},
    "trust": {"trust_policy": "/policy.json"},
    "artifacts": {"script": SCRIPT},
}


@pytest.mark.parametrize("option", [option.name for option in OPTIONS if option.role != KEY])
def test_an_option_that_does_not_shape_the_image_cannot_change_the_key(option: str) -> None:
    together = TOGETHER.get(option, {})
    assert key(**{**together, option: HARMLESS[option]}) == key(**together)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"args": {"RELEASE": "1", "B": "2"}}, {"args": {"B": "2", "RELEASE": "1"}}),
        ({"labels": {"a": "1", "b": "2"}}, {"labels": {"b": "2", "a": "1"}}),
        ({"env": {"a": "1", "b": "2"}}, {"env": {"b": "2", "a": "1"}}),
        ({"platform": [AMD64, ARM64]}, {"platform": [ARM64, AMD64]}),
        ({"ssh": ["a", "b"]}, {"ssh": ["b", "a"]}),
        ({"args": {"RELEASE": 1}}, {"args": {"RELEASE": "1"}}),
        ({"args": {"RELEASE": True}}, {"args": {"RELEASE": "true"}}),
        # What no ARG declares does not reach the build, proxies among it.
        ({"args": {"UNDECLARED": "1", "HTTP_PROXY": "http://proxy.example.com"}}, {}),
        ({"labels": {}}, {}),
        ({"secrets": [{"id": "a", "value": "1"}]}, {"secrets": [{"id": "a", "value": "2"}]}),
        ({"secrets": [{"id": "a", "value": "1"}]}, {"secrets": [{"id": "a", "src": "/a"}]}),
        (
            {"secrets": [{"id": "a", "env": "A"}, {"id": "b", "env": "B"}]},
            {"secrets": [{"id": "b", "env": "B"}, {"id": "a", "env": "A"}]},
        ),
    ],
)
def test_what_cannot_matter(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert key(**one) == key(**other)


def test_the_order_in_which_things_were_found_cannot_matter() -> None:
    names = {"a": "sha256:1", "b": "sha256:2"}
    backwards = dict(reversed(list(names.items())))
    assert key(resolved(bases=names, contexts=names)) == key(resolved(bases=backwards, contexts=backwards))
    one, two = Variant("sha256:1", {}), Variant("sha256:2", {})
    assert overall_key({AMD64: one, ARM64: two}) == overall_key({ARM64: two, AMD64: one})


def test_the_list_of_files_explains_and_is_no_part_of_the_key() -> None:
    assert variant(parts(), {"a": "file"}).key == variant(parts(), {}).key
    assert variant(parts(), {"a": "file"}).files == {"a": "file"}


def test_the_file_that_a_recipe_is_in_cannot_matter(tmp_path: Path) -> None:
    for name, text in (("Containerfile", RECIPE), ("other", RECIPE), ("script", SCRIPT)):
        (tmp_path / name).write_text(text)
    for given in ({}, {"containerfile": "other"}):
        assert components(task(path=str(tmp_path), **given), AMD64, resolved(), NOW) == parts()
    assert components(task(script_file=str(tmp_path / "script")), AMD64, resolved(), NOW) == parts(script=SCRIPT)


def test_the_place_of_the_context_cannot_matter() -> None:
    assert key(path="/srv/one") == key(path="/srv/two")


class TestSecrets:
    TOKEN: Mapping[str, Any] = {"id": "token", "value": "hush"}

    @pytest.mark.parametrize("change", [{"version": "1"}, {"id": "other"}])
    def test_ids_and_versions_count(self, change: Mapping[str, Any]) -> None:
        assert key(secrets=[{**self.TOKEN, **change}]) != key(secrets=[self.TOKEN])

    def test_values_are_nowhere(self) -> None:
        assert parts(secrets=[self.TOKEN])["secrets"] == {"token": ""}
        assert "hush" not in str(parts(secrets=[self.TOKEN]))


class TestRefresh:
    @pytest.mark.parametrize(("period", "seconds"), [("1h", HOUR), ("12h", 12 * HOUR), ("7d", WEEK), ("2w", 2 * WEEK)])
    def test_the_number_goes_up_once_in_a_period(self, period: str, seconds: int) -> None:
        begin = NOW - refresh_age(period, "app", NOW)
        number = refresh_bucket(period, "app", NOW)
        assert number is not None
        assert [refresh_bucket(period, "app", begin + second) for second in (-1, 0, seconds - 1, seconds)] == [
            number - 1,
            number,
            number,
            number + 1,
        ]

    def test_the_age_is_that_of_the_period(self) -> None:
        begin = NOW - refresh_age("1d", "app", NOW)
        assert [refresh_age("1d", "app", begin + second) for second in (0, 1, DAY - 1, DAY)] == [0, 1, DAY - 1, 0]

    def test_the_moments_of_many_images_are_spread_over_the_period(self) -> None:
        ages = sorted(refresh_age("7d", f"registry.example.com/app{number}:1", NOW) for number in range(700))
        assert all(0 <= age < WEEK for age in ages)
        quarters = [sum(1 for age in ages if age // (WEEK / 4) == quarter) for quarter in range(4)]
        assert min(quarters) > 100

    # Equal on all builders, of every release: another way to shift would build every image anew once. The documentation
    # says only that it is by the name, so this is the code's own way, frozen.
    def test_the_moment_of_an_image_is_the_same_everywhere(self) -> None:
        shift = int(hashlib.sha256(b"registry.example.com/team/app:1").hexdigest()[:8], 16) % WEEK
        assert refresh_bucket("7d", "registry.example.com/team/app:1", NOW) == int((NOW + shift) // WEEK)
        assert refresh_age("7d", "registry.example.com/team/app:1", NOW) == (NOW + shift) % WEEK

    def test_without_it_time_does_not_matter(self) -> None:
        assert refresh_bucket(None, "app", NOW) is None
        assert "refresh" not in parts()
        assert key(now=NOW) == key(now=NOW + WEEK)

    def test_a_new_period_is_a_new_key(self) -> None:
        assert parts(refresh="7d", now=NOW)["refresh"] + 1 == parts(refresh="7d", now=NOW + WEEK)["refresh"]
        assert key(refresh="7d", now=NOW) != key(refresh="7d", now=NOW + WEEK)

    def test_the_name_with_its_tag_and_registry_shifts_it(self) -> None:
        name = "registry.example.com/team/app"
        assert parts(refresh="1h", name=name, tag="1")["refresh"] == refresh_bucket("1h", f"{name}:1", NOW)

    def test_now_is_the_present(self) -> None:
        before = refresh_bucket("1h", "localhost/app:1", time.time())
        found = components(inputs(name="localhost/app:1", refresh="1h"), AMD64, Resolved())["refresh"]
        assert before is not None and found in (before, before + 1)

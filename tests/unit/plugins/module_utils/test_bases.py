# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the name of a base image means: which store or registry answers, and with which digest for which platform."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Optional, cast

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._bases import (
    Base,
    BaseMissing,
    BaseResolver,
    base_entry,
    platform_entry,
)
from ansible_collections.rootless.buildah.plugins.module_utils._buildah import Buildah
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._registries_conf import RegistriesConf
from ansible_collections.rootless.buildah.plugins.module_utils._skopeo import Skopeo

MANIFEST = b'{"schemaVersion": 2, "config": {"digest": "sha256:0"}, "layers": []}'
DIGEST = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
PINNED = "sha256:" + "9" * 64


def index(*platforms: str) -> dict[str, Any]:
    """Return an index with an image for each platform; the digest of each is its number."""
    entries = []
    for number, platform in enumerate(platforms):
        words = dict(zip(("os", "architecture", "variant"), platform.split("/")))
        entries.append({"digest": f"sha256:{number:064x}", "platform": words})
    return {"schemaVersion": 2, "manifests": entries}


@dataclass
class Registries:
    """Stands for skopeo: the manifests by name, and who was asked for what."""

    images: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def manifest(self, image: ImageName) -> Optional[bytes]:
        self.asked.append(str(image))
        return self.images.get(str(image))


@dataclass
class Store:
    """Stands for buildah: the ids and the manifest digests of local images by name."""

    images: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def image_id(self, name: str) -> Optional[str]:
        return self.images.get(name)

    def manifest_digest(self, name: str) -> str:
        return self.digests[name]


@dataclass
class World:
    """Registries, a local store and a registries.conf."""

    registries: Registries = field(default_factory=Registries)
    store: Store = field(default_factory=Store)
    conf: RegistriesConf = field(default_factory=RegistriesConf)
    answers: dict[str, Optional[bytes]] = field(default_factory=dict)

    def resolve(self, name: str, platform: str = "linux/amd64", pull: str = "newer") -> Base:
        skopeo, buildah = cast(Skopeo, self.registries), cast(Buildah, self.store)
        return BaseResolver(skopeo, buildah, self.conf, self.answers).resolve(name, platform, pull)


@pytest.fixture
def world() -> World:
    return World()


class TestEntries:
    """Checked with skopeo 1.9.3 and indexes of these platforms (skopeo --override-arch --override-variant copy)."""

    @pytest.mark.parametrize("platform, offered, chosen", [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["windows/amd64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v2", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64/v3", ["linux/amd64/v2", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/arm64"], None),
        ("linux/amd64", [], None),
        # arm64 means v8 and the other way round.
        ("linux/arm64", ["linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm64", ["linux/arm64"], "linux/arm64"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v7", ["linux/arm"], "linux/arm"),
        # A lesser variant will do, a greater one will not.
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v7", ["linux/arm", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v8", ["linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], "linux/arm/v5"),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/arm/v6", ["linux/arm64"], None),
    ])
    def test_the_entry_that_a_build_starts_from(self, platform: str, offered: list[str], chosen: Optional[str]) -> None:
        entry = base_entry(index(*offered), platform)
        assert (entry and entry["digest"]) == (chosen and f"sha256:{offered.index(chosen):064x}")

    @pytest.mark.parametrize("platform, offered, chosen", [
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/arm/v7", ["linux/amd64", "linux/arm"], 1),
        # What was wanted is not there, however well it would run.
        ("linux/arm/v7", ["linux/arm/v6"], None),
    ])
    def test_the_entry_of_an_image_that_was_built(self, platform: str, offered: list[str], chosen: Any) -> None:
        entry = platform_entry(index(*offered), platform)
        assert (entry and int(entry["digest"][7:])) == chosen

    def test_of_several_entries_the_first_counts(self) -> None:
        entry = base_entry(index("linux/amd64", "linux/amd64"), "linux/amd64")
        assert entry and entry["digest"].endswith("0")

    @pytest.mark.parametrize("platform", [
        None, {}, {"os": "linux"}, {"architecture": "amd64"}, {"os": "unknown", "architecture": "unknown"}])
    def test_entries_without_a_platform_are_passed_over(self, platform: Any) -> None:
        # Attestations of BuildKit are for the platform unknown/unknown.
        found = index("linux/amd64")
        found["manifests"].insert(0, {"digest": "sha256:x", "platform": platform})
        entry = base_entry(found, "linux/amd64")
        assert entry and entry["digest"] == f"sha256:{0:064x}"

    def test_an_entry_without_the_field_platform_is_passed_over(self) -> None:
        assert base_entry({"manifests": [{"digest": "sha256:x"}]}, "linux/amd64") is None

    @pytest.mark.parametrize("empty", [{}, {"manifests": None}])
    def test_an_index_without_entries(self, empty: dict[str, Any]) -> None:
        # Go writes null for an empty list.
        assert base_entry(empty, "linux/amd64") is None


class TestRegistry:
    def test_a_single_image_is_its_manifest(self, world: World) -> None:
        world.registries.images = {"a.example/base:1": MANIFEST}
        base = world.resolve("a.example/base:1")
        assert base == Base("a.example/base:1", ImageName.parse(f"a.example/base@{DIGEST}"), None, DIGEST)

    def test_of_an_index_it_is_the_entry_of_the_platform(self, world: World) -> None:
        world.registries.images = {"a.example/base:1": json.dumps(index("linux/amd64", "linux/arm64/v8")).encode()}
        assert world.resolve("a.example/base:1", "linux/arm64").identity == f"sha256:{1:064x}"
        assert world.resolve("a.example/base:1", "linux/amd64").identity == f"sha256:{0:064x}"

    def test_a_variant_that_the_processor_runs_will_do(self, world: World) -> None:
        world.registries.images = {"a.example/base:1": json.dumps(index("linux/arm/v6")).encode()}
        assert world.resolve("a.example/base:1", "linux/arm/v7").identity == f"sha256:{0:064x}"

    def test_an_index_without_the_platform_is_an_error_that_names_both(self, world: World) -> None:
        world.registries.images = {"a.example/base:1": json.dumps(index("linux/amd64")).encode()}
        with pytest.raises(InputError) as raised:
            world.resolve("a.example/base:1", "linux/s390x")
        assert raised.value.message == "the base image a.example/base:1 has no variant for linux/s390x"
        # The base is there: check mode has nothing to wait for.
        assert not isinstance(raised.value, BaseMissing)

    def test_no_tag_is_latest(self, world: World) -> None:
        world.registries.images = {"a.example/base:latest": MANIFEST}
        assert world.resolve("a.example/base").identity == DIGEST

    def test_the_name_stays_as_the_recipe_says_it(self, world: World) -> None:
        world.registries.images = {"a.example/base:latest": MANIFEST}
        assert world.resolve("docker://a.example/base").name == "docker://a.example/base"

    def test_a_digest_is_not_looked_up(self, world: World) -> None:
        base = world.resolve(f"a.example/base:1@{PINNED}")
        assert base.identity == PINNED and base.reference == ImageName.parse(f"a.example/base:1@{PINNED}")
        assert world.registries.asked == []

    def test_each_image_is_asked_for_once_in_a_run(self, world: World) -> None:
        world.registries.images = {"a.example/base:1": json.dumps(index("linux/amd64", "linux/arm64")).encode()}
        for platform in ("linux/amd64", "linux/arm64", "linux/amd64"):
            world.resolve("a.example/base:1", platform)
        for _again in range(2):
            with pytest.raises(BaseMissing):
                world.resolve("a.example/none:1")
        assert world.registries.asked == ["a.example/base:1", "a.example/none:1"]

    def test_what_is_nowhere_is_missing(self, world: World) -> None:
        with pytest.raises(BaseMissing) as raised:
            world.resolve("a.example/base:1")
        assert raised.value.message == "the base image a.example/base:1 does not exist"
        assert raised.value.cause == "a.example has no such image"


class TestPolicies:
    """The policies of the option pull, which are those of buildah-build(1)."""

    @pytest.mark.parametrize("pull", ["newer", "always"])
    def test_the_registry_is_asked_although_the_image_is_local(self, world: World, pull: str) -> None:
        world.store.images = {"a.example/base:1": "i"}
        world.registries.images = {"a.example/base:1": MANIFEST}
        assert world.resolve("a.example/base:1", pull=pull).identity == DIGEST

    @pytest.mark.parametrize("pull", ["missing", "never"])
    def test_the_local_image_is_taken(self, world: World, pull: str) -> None:
        world.store.images = {"a.example/base:1": "i"}
        assert world.resolve("a.example/base:1", pull=pull) == Base("a.example/base:1", None, "i", "image:i")
        assert world.registries.asked == []

    def test_missing_asks_for_what_is_not_local(self, world: World) -> None:
        world.registries.images = {"a.example/base:1": MANIFEST}
        assert world.resolve("a.example/base:1", pull="missing").identity == DIGEST

    @pytest.mark.parametrize("name", ["a.example/base:1", f"a.example/base@{PINNED}", "base"])
    def test_never_asks_nobody(self, world: World, name: str) -> None:
        world.registries.images = {"a.example/base:1": MANIFEST}
        with pytest.raises(BaseMissing) as raised:
            world.resolve(name, pull="never")
        assert raised.value.cause == "the local store has no such image" and world.registries.asked == []

    @pytest.mark.parametrize("pull", ["missing", "never", "newer", "always"])
    def test_what_is_pinned_has_one_identity_under_all_policies(self, world: World, pull: str) -> None:
        name = f"a.example/base@{PINNED}"
        world.store.images, world.store.digests = {name: "i"}, {name: PINNED}
        assert world.resolve(name, pull=pull).identity == PINNED


class TestLocalNames:
    @pytest.mark.parametrize("pull", ["missing", "never", "newer", "always"])
    def test_localhost_is_never_asked_for_at_a_registry(self, world: World, pull: str) -> None:
        world.store.images = {"localhost/base:1": "i"}
        assert world.resolve("localhost/base:1", pull=pull).identity == "image:i"
        with pytest.raises(BaseMissing):
            world.resolve("localhost/other:1", pull=pull)
        assert world.registries.asked == []

    @pytest.mark.parametrize("pull", ["missing", "never", "newer", "always"])
    def test_a_short_name_means_the_local_image_when_there_is_one(self, world: World, pull: str) -> None:
        world.store.images = {"localhost/base:latest": "i"}
        world.conf.search = ["a.example"]
        assert world.resolve("base", pull=pull) == Base("base", None, "i", "image:i")
        assert world.registries.asked == []

    def test_a_registry_on_this_host_is_a_registry(self, world: World) -> None:
        world.registries.images = {"localhost:5000/base:1": MANIFEST}
        assert world.resolve("localhost:5000/base:1").identity == DIGEST


class TestShortNames:
    def test_an_alias_leads_to_one_place(self, world: World) -> None:
        world.conf = RegistriesConf(aliases={"base": "b.example/team/base"}, search=["a.example"])
        world.registries.images = {"b.example/team/base:1": MANIFEST, "a.example/base:1": MANIFEST}
        assert str(world.resolve("base:1").reference) == f"b.example/team/base@{DIGEST}"

    def test_search_registries_are_asked_in_order_until_one_has_it(self, world: World) -> None:
        world.conf.search = ["a.example", "b.example", "c.example"]
        world.registries.images = {"b.example/base:1": MANIFEST, "c.example/base:1": MANIFEST}
        assert str(world.resolve("base:1").reference) == f"b.example/base@{DIGEST}"
        assert world.registries.asked == ["a.example/base:1", "b.example/base:1"]

    def test_when_none_has_it_all_are_named(self, world: World) -> None:
        world.conf.search = ["a.example", "b.example"]
        with pytest.raises(BaseMissing) as raised:
            world.resolve("base")
        assert raised.value.cause == "a.example and b.example has no such image"

    def test_a_digest_goes_along(self, world: World) -> None:
        # "Stripped off tags and digests are later appended to the resolved alias", containers-registries.conf(5)
        world.conf.aliases = {"base": "b.example/base"}
        world.registries.images = {f"b.example/base@{PINNED}": MANIFEST}
        assert str(world.resolve(f"base@{PINNED}").reference) == f"b.example/base@{DIGEST}"

    def test_a_short_name_that_leads_nowhere_is_an_error_and_not_missing(self, world: World) -> None:
        with pytest.raises(InputError) as raised:
            world.resolve("base")
        assert "short name" in raised.value.message and not isinstance(raised.value, BaseMissing)


@pytest.mark.parametrize("name", ["a.example/Base", "", "a.example/base:", "a.example/base@sha256:1"])
def test_what_is_no_image_name_is_refused(world: World, name: str) -> None:
    with pytest.raises(InputError):
        world.resolve(name)
    assert world.registries.asked == []

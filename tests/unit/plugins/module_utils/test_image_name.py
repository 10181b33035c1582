# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of images: the grammar of the OCI distribution specification; skopeo 1.9 decided where that says nothing."""

from __future__ import annotations

from typing import Optional

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import (
    ImageName,
    destination,
    name_and_tag,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest"),
    [
        ("app", "", "app", None, None),
        ("app:1.0", "", "app", "1.0", None),
        ("team/app", "", "team/app", None, None),
        ("library/debian:12", "", "library/debian", "12", None),
        ("localhost/app", "localhost", "app", None, None),
        ("localhost:5000/app", "localhost:5000", "app", None, None),
        ("localhost:5000", "", "localhost", "5000", None),
        ("registry.example.com/team/app", "registry.example.com", "team/app", None, None),
        ("registry.example.com:5000/app:1", "registry.example.com:5000", "app", "1", None),
        ("registry:5000/app", "registry:5000", "app", None, None),
        ("127.0.0.1:5000/app", "127.0.0.1:5000", "app", None, None),
        ("[::1]:5000/app", "[::1]:5000", "app", None, None),
        ("REGISTRY.example.com/app", "REGISTRY.example.com", "app", None, None),
        (f"app@{DIGEST}", "", "app", None, DIGEST),
        (f"registry.example.com:5000/app:1@{DIGEST}", "registry.example.com:5000", "app", "1", DIGEST),
        ("registry.example.com/a.b/c_d/e__f/g--h:X", "registry.example.com", "a.b/c_d/e__f/g--h", "X", None),
        ("app:_1", "", "app", "_1", None),
        ("app:" + "a" * 128, "", "app", "a" * 128, None),
    ],
)
def test_a_name_is_read_into_its_parts_and_written_back(
    text: str, host: str, path: str, tag: Optional[str], digest: Optional[str]
) -> None:
    name = ImageName.parse(text)
    assert (name.host, name.path, name.tag, name.digest) == (host, path, tag, digest)
    assert str(name) == text


def test_skopeos_way_of_writing_is_understood() -> None:
    assert ImageName.parse("docker://registry.example.com/app:1") == ImageName.parse("registry.example.com/app:1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "docker://",
        " app",
        "app\n",
        "App",
        "Team/app",
        "/app",
        "team//app",
        "team/app/",
        "team/-app",
        "team/app-",
        "a___b",
        "a._b",
        "a..b",
        "app:1:2",
        "team/app:1/2",
        "http://registry.example.com/app",
        "registry.example.com/App",
        "registry.example.com:/app",
        "registry.example.com:port/app",
        "-registry.example.com/app",
        "registry-.example.com/app",
        "registry..example.com/app",
        "registry.example.com./app",
        "regis_try.example.com/app:1",
        "[::1/app",
    ],
)
def test_what_is_no_name_is_refused_with_the_form_that_names_have(text: str) -> None:
    with pytest.raises(InputError) as error:
        ImageName.parse(text)
    assert error.value.message == f"{text!r} is no image name"
    assert error.value.remedy == "Write it as [registry[:port]/]path[:tag], the path in lower case"


@pytest.mark.parametrize("tag", ["", ".1", "-1", "1+2", "ä", "1 ", "a" * 129])
@pytest.mark.parametrize("name", ["app", "registry.example.com:5000/app"])
def test_a_bad_tag_is_named(name: str, tag: str) -> None:
    with pytest.raises(InputError) as error:
        ImageName.parse(f"{name}:{tag}")
    assert error.value.message == f"{name + ':' + tag!r} is no image name"
    assert error.value.cause == f"{tag!r} is no tag"
    assert "128" in error.value.remedy


@pytest.mark.parametrize(
    "digest",
    ["", "sha256", "sha256:", DIGEST[:-1], DIGEST + "0", DIGEST.upper(), DIGEST.replace("256", "512"), f"{DIGEST}@x"],
)
def test_a_bad_digest_is_named(digest: str) -> None:
    with pytest.raises(InputError) as error:
        ImageName.parse(f"registry.example.com/app@{digest}")
    assert error.value.message == f"{'registry.example.com/app@' + digest!r} is no image name"
    assert error.value.cause == f"{digest!r} is no sha256 digest"
    assert "64 hexadecimal digits" in error.value.remedy


# What containers/image calls NameTotalLengthMax; the tag is not counted.
def test_a_repository_has_at_most_255_characters() -> None:
    longest = "registry.example.com/" + "a" * (255 - len("registry.example.com/"))
    assert ImageName.parse(f"{longest}:1").repository == longest
    with pytest.raises(InputError) as error:
        ImageName.parse(f"{longest}a:1")
    assert "255" in error.value.cause


@pytest.mark.parametrize(
    ("text", "is_local", "has_registry"),
    [
        ("app", False, False),
        ("team/app", False, False),
        ("localhost/app", True, False),
        ("localhost:5000/app", False, True),
        ("registry.example.com/app", False, True),
    ],
)
def test_localhost_without_a_port_is_the_local_store_and_no_registry(
    text: str, is_local: bool, has_registry: bool
) -> None:
    name = ImageName.parse(text)
    assert (name.is_local, name.has_registry) == (is_local, has_registry)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("app", "localhost/app:latest"),
        ("team/app:1", "localhost/team/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("registry.example.com/app", "registry.example.com/app:latest"),
        (f"app@{DIGEST}", f"localhost/app@{DIGEST}"),
    ],
)
def test_the_local_store_keeps_short_names_under_localhost(text: str, local: str) -> None:
    assert str(ImageName.parse(text).in_local_store()) == local


@pytest.mark.parametrize(
    ("text", "tagged"), [("app", "app:latest"), ("app:1", "app:1"), (f"app@{DIGEST}", f"app@{DIGEST}")]
)
def test_latest_is_the_tag_of_a_name_without_tag_and_digest(text: str, tagged: str) -> None:
    assert str(ImageName.parse(text).tagged()) == tagged


def test_tag_and_digest_replace_each_other() -> None:
    name = ImageName.parse("registry.example.com:5000/team/app:1")
    pinned = name.with_digest(DIGEST)
    assert str(pinned) == f"registry.example.com:5000/team/app@{DIGEST}"
    assert str(pinned.with_tag("2")) == "registry.example.com:5000/team/app:2"
    assert pinned.repository == name.repository == "registry.example.com:5000/team/app"


class TestNameAndTag:
    @pytest.mark.parametrize(
        ("name", "tag", "image"),
        [
            ("app", None, "app:latest"),
            ("app", "1", "app:1"),
            ("app:1", None, "app:1"),
            ("app:1", "1", "app:1"),
            ("registry.example.com:5000/app", "1", "registry.example.com:5000/app:1"),
        ],
    )
    def test_the_tag_is_in_either_of_them(self, name: str, tag: Optional[str], image: str) -> None:
        assert str(name_and_tag(name, tag)) == image

    def test_two_tags_have_to_agree(self) -> None:
        with pytest.raises(InputError) as error:
            name_and_tag("app:1", "2")
        assert error.value.message == "name 'app:1' and tag '2' disagree"
        assert error.value.remedy == "Give the tag once"

    @pytest.mark.parametrize("tag", ["a/b", "1:2", "-1", "a" * 129])
    def test_the_tag_alone_is_checked_too(self, tag: str) -> None:
        with pytest.raises(InputError) as error:
            name_and_tag("app", tag)
        assert error.value.message == f"{tag!r} is no tag"
        assert "128" in error.value.remedy

    def test_what_is_built_has_no_digest_yet(self) -> None:
        with pytest.raises(InputError) as error:
            name_and_tag(f"app:1@{DIGEST}", None)
        assert error.value.message == f"name {'app:1@' + DIGEST!r} holds a digest"
        assert error.value.cause == "an image that is yet to be built has none"
        assert "tag" in error.value.remedy


class TestDestination:
    @pytest.mark.parametrize(
        ("text", "image"),
        [
            ("registry.example.com/app", "registry.example.com/app:latest"),
            ("docker://registry.example.com/app:1", "registry.example.com/app:1"),
            ("localhost:5000/app:1", "localhost:5000/app:1"),
        ],
    )
    def test_a_registry_and_a_tag(self, text: str, image: str) -> None:
        assert str(destination(text)) == image

    def test_a_digest_is_refused(self) -> None:
        with pytest.raises(InputError) as error:
            destination(f"registry.example.com/app@{DIGEST}")
        assert error.value.message == f"destination {'registry.example.com/app@' + DIGEST!r} holds a digest"
        assert error.value.cause == "a digest names what is already there"
        assert "tag" in error.value.remedy

    @pytest.mark.parametrize("text", ["app:1", "team/app", "localhost/app:1"])
    def test_a_name_without_registry_is_refused(self, text: str) -> None:
        with pytest.raises(InputError) as error:
            destination(text)
        assert error.value.message == f"destination {text!r} names no registry"
        assert "registry.example.com/team/app:1.0" in error.value.remedy

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build record: an in-toto Statement v1 with SLSA provenance v1 about one image, read back as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._inputs import validate
from ansible_collections.rootless.buildah.plugins.module_utils._key import Resolved, Variant, components, variant
from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS
from ansible_collections.rootless.buildah.plugins.module_utils._record import BuildRecord, dump, read_statement

IMAGE = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
BASE = "sha256:" + "c" * 64
NAME = "registry.example.com/team/app"
AMD64 = Variant(
    "sha256:" + "1" * 64,
    {"platform": "linux/amd64", "base_image": {"docker.io/library/debian:12": BASE}, "args": {"VERSION": "1.5"}},
    {"src/main.c": "file 0644 " + "d" * 64},
)
ARM = Variant("sha256:" + "2" * 64, {"platform": "linux/arm/v7"}, {})
RECORD = BuildRecord(
    key="sha256:" + "3" * 64,
    variants={"linux/amd64": AMD64, "linux/arm/v7": ARM},
    artifacts={"app.tar": "e" * 64},
    uncovered=("ADD https://example.com/x",),
    started="2026-01-02T03:04:05Z",
    finished="2026-01-02T03:05:00Z",
    versions={"buildah": "1.28.2"},
)


def statement(**changes: Any) -> dict[str, Any]:
    """Return a statement about the image as it is read from somewhere."""
    found: dict[str, Any] = json.loads(dump(RECORD.statement(NAME, IMAGE)))
    return {**found, **changes}


def definition(one: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = one["predicate"]["buildDefinition"]
    return found


class TestStatement:
    def test_it_is_a_statement_of_in_toto_about_the_image(self) -> None:
        one = statement()
        # in-toto attestation framework, spec/v1/statement.md: a DigestSet maps algorithms to bare hex.
        assert one["_type"] == "https://in-toto.io/Statement/v1"
        assert one["subject"] == [{"name": NAME, "digest": {"sha256": "a" * 64}}]
        assert one["predicateType"] == "https://slsa.dev/provenance/v1"

    def test_it_says_what_was_asked_for_and_what_it_was_built_from(self) -> None:
        # slsa.dev/spec/v1.0/provenance
        found = definition(statement())
        assert found["externalParameters"]["image"] == NAME
        assert found["externalParameters"]["platforms"]["linux/amd64"] == dict(AMD64.components)
        assert found["internalParameters"]["variants"]["linux/amd64"]["files"] == dict(AMD64.files)
        assert found["internalParameters"]["uncovered"] == ["ADD https://example.com/x"]

    def test_it_says_when_it_was_built_with_what_and_what_else_came_of_it(self) -> None:
        run = statement()["predicate"]["runDetails"]
        assert run["metadata"] == {"startedOn": "2026-01-02T03:04:05Z", "finishedOn": "2026-01-02T03:05:00Z"}
        assert run["builder"]["version"] == {"buildah": "1.28.2"}
        assert run["byproducts"] == [{"name": "app.tar", "digest": {"sha256": "e" * 64}}]

    @pytest.mark.parametrize("names, dependencies", [
        ({"docker.io/library/debian:12": BASE}, [("docker.io/library/debian:12", "docker://docker.io/library/debian:12")]),
        # The variable of a native script, the name of a named context.
        ({"BASE=docker.io/library/debian:12": BASE},
         [("BASE=docker.io/library/debian:12", "docker://docker.io/library/debian:12")]),
        # An image of the local store has an id, which is the digest of its configuration.
        ({"localhost/base:1": "image:" + "c" * 64}, [("localhost/base:1", "docker://localhost/base:1")]),
        ({"b.example/b:1": BASE, "a.example/a:1": BASE},
         [("a.example/a:1", "docker://a.example/a:1"), ("b.example/b:1", "docker://b.example/b:1")]),
        ({}, []),
    ])
    def test_bases_are_resolved_dependencies(self, names: dict[str, str], dependencies: list[tuple[str, str]]) -> None:
        record = BuildRecord("k", {"linux/amd64": Variant("k", {"base_image": names})})
        found = definition(record.statement(NAME, IMAGE))["resolvedDependencies"]
        assert found == [{"name": name, "uri": uri, "digest": {"sha256": "c" * 64}} for name, uri in dependencies]

    def test_a_base_of_all_platforms_is_told_once_and_others_apart(self) -> None:
        bases = [{"a.example/a:1": BASE}, {"a.example/a:1": BASE}, {"a.example/a:1": OTHER}]
        variants = {f"linux/{number}": Variant("k", {"base_image": base}) for number, base in enumerate(bases)}
        found = definition(BuildRecord("k", variants).statement(NAME, IMAGE))["resolvedDependencies"]
        assert [one["digest"]["sha256"][0] for one in found] == ["b", "c"]

    def test_its_names_are_for_ever(self) -> None:
        # Readers of older records know them by these.
        one = statement()
        assert definition(one)["buildType"] == "tag:rootless.buildah,2026:build/v1"
        assert one["predicate"]["runDetails"]["builder"]["id"] == "tag:rootless.buildah,2026:builder/host"

    def test_equal_statements_give_equal_bytes(self) -> None:
        backwards = BuildRecord(**{**vars(RECORD), "variants": {"linux/arm/v7": ARM, "linux/amd64": AMD64}})
        assert dump(backwards.statement(NAME, IMAGE)) == dump(RECORD.statement(NAME, IMAGE))

    def test_the_bytes_are_json_without_blanks(self) -> None:
        assert dump({"b": [1, 2], "a": "ü"}) == b'{"a":"\\u00fc","b":[1,2]}'


class TestReading:
    def test_a_record_comes_back_as_it_was_written(self) -> None:
        assert read_statement(dump(RECORD.statement(NAME, IMAGE)), IMAGE) == RECORD

    def test_nothing_but_the_key_and_the_variants_is_needed(self) -> None:
        record = BuildRecord("k", {"linux/amd64": AMD64})
        assert read_statement(dump(record.statement(NAME, IMAGE)), IMAGE) == record

    def test_without_a_digest_the_subject_does_not_matter(self) -> None:
        assert read_statement(dump(RECORD.statement(NAME, OTHER))) == RECORD

    def test_a_record_of_another_key_schema_keeps_its_number(self) -> None:
        older = BuildRecord("k", {"linux/amd64": AMD64}, schema=0)
        found = read_statement(dump(older.statement(NAME, IMAGE)), IMAGE)
        assert found and found.schema == 0

    def test_a_record_of_another_image_is_none(self) -> None:
        assert read_statement(dump(RECORD.statement(NAME, OTHER)), IMAGE) is None

    @pytest.mark.parametrize("digest", [{}, {"sha512": "a" * 64}, {"sha256": "a" * 63}, {"sha256": ""}])
    def test_a_subject_without_the_digest_is_none(self, digest: dict[str, str]) -> None:
        assert read_statement(json.dumps(statement(subject=[{"name": NAME, "digest": digest}])).encode(), IMAGE) is None

    @pytest.mark.parametrize("spoil", [
        lambda one: one.update(predicateType="https://slsa.dev/provenance/v0.2"),
        lambda one: one.update(predicateType="https://spdx.dev/Document"),
        lambda one: definition(one).update(buildType="https://actions.github.io/buildtypes/workflow/v1"),
        lambda one: definition(one).update(buildType="tag:rootless.buildah,2026:build/v2"),
    ], ids=["older provenance", "another predicate", "another builder", "a later build type"])
    def test_a_statement_that_is_not_ours_is_none(self, spoil: Callable[[dict[str, Any]], None]) -> None:
        one = statement()
        spoil(one)
        assert read_statement(json.dumps(one).encode(), IMAGE) is None

    @pytest.mark.parametrize("text", [
        b"", b"{", b"null", b"[]", b"7", b'"text"', b"\xff\xfe", b"{}", b'{"predicate": null}',
        b'{"predicate": {"buildDefinition": []}}',
    ])
    def test_what_is_no_statement_is_none(self, text: bytes) -> None:
        assert read_statement(text, IMAGE) is None

    @pytest.mark.parametrize("spoil", [
        lambda one: one.pop("predicate"),
        lambda one: one.pop("subject"),
        lambda one: one.update(subject=[]),
        lambda one: one.update(subject=["image"]),
        lambda one: one["subject"][0].pop("digest"),
        lambda one: one["predicate"].pop("runDetails"),
        lambda one: one["predicate"]["runDetails"].pop("metadata"),
        lambda one: one["predicate"]["runDetails"].update(byproducts=[{"name": "x"}]),
        lambda one: one["predicate"]["runDetails"].update(byproducts=None),
        lambda one: definition(one).pop("internalParameters"),
        lambda one: definition(one)["internalParameters"].pop("key"),
        lambda one: definition(one)["internalParameters"].pop("schema"),
        lambda one: definition(one)["internalParameters"].update(variants=["linux/amd64"]),
        lambda one: definition(one)["internalParameters"]["variants"]["linux/amd64"].pop("key"),
        # What is compared with the wanted inputs must be what such things are.
        lambda one: definition(one)["internalParameters"].update(key=7),
        lambda one: definition(one)["internalParameters"]["variants"]["linux/amd64"].update(components=["context"]),
        lambda one: definition(one)["internalParameters"]["variants"]["linux/amd64"].update(files="all"),
    ])
    def test_what_is_malformed_is_none(self, spoil: Callable[[dict[str, Any]], None]) -> None:
        one = statement()
        spoil(one)
        assert read_statement(json.dumps(one).encode(), IMAGE) is None


def test_nothing_secret_is_inside(tmp_path: Path) -> None:
    """Of a secret its id and version are kept, of the agent's keys their id, of logins nothing."""
    (tmp_path / "secret").write_text("canary-of-the-file")
    params = {
        **{option.name: option.spec.get("default") for option in OPTIONS},
        "name": f"{NAME}:1",
        "state": "present",
        "path": str(tmp_path),
        "containerfile_content": "FROM scratch\n",
        "secrets": [
            {"id": "value", "value": "canary-of-the-value", "version": "7"},
            {"id": "file", "src": str(tmp_path / "secret")},
            {"id": "env", "env": "CANARY_VARIABLE"},
        ],
        "ssh": ["deploy=/home/canary/.ssh/id_ed25519"],
        "registry_username": "canary-user",
        "registry_password": "canary-password",
        "registry_auth_file": "/home/canary/auth.json",
        "pull": "newer",
    }
    parts = components(validate(params), "linux/amd64", Resolved())
    record = BuildRecord("k", {"linux/amd64": variant(parts, {})})
    text = dump(record.statement(NAME, IMAGE)).decode()
    assert "canary" not in text.lower()
    kept = json.loads(text)["predicate"]["buildDefinition"]["externalParameters"]["platforms"]["linux/amd64"]
    assert kept["secrets"] == {"value": "7", "file": "", "env": ""} and kept["ssh"] == ["deploy"]

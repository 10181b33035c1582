# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build records as others see them, and images as plain buildah makes them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Iterator

import jsonschema
import pytest

from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry

SCHEMA = json.loads((Path(__file__).parents[1] / "fixtures/in-toto-statement-v1.schema.json").read_text())
IN_TOTO = "application/vnd.in-toto+json"
CANARIES = ("canary-of-the-secret", "canary-of-the-file")
FILES = {
    ".containerignore": "ignored\n",
    "Containerfile": "FROM {base}\nARG VERSION=0\nCOPY . /ctx/\nRUN echo $VERSION >/version\n",
    "data": "one",
    "ignored": "not there",
    "sub/spaces in its name": "two",
    "sub/übung": "three",
}


def get(registry: Registry, path: str) -> tuple[bytes, str]:
    """Fetch something as any client of the OCI distribution specification would; return it with its digest."""
    status, body, _headers = registry.request(path)
    assert status == 200, (path, body)
    return body, "sha256:" + hashlib.sha256(body).hexdigest()


def blob(registry: Registry, repository: str, descriptor: dict[str, Any]) -> bytes:
    """Fetch the blob that a descriptor describes, and check that it is that."""
    body, digest = get(registry, f"{repository}/blobs/{descriptor['digest']}")
    assert (digest, len(body)) == (descriptor["digest"], descriptor["size"])
    return body


def record(registry: Registry, repository: str, tag: str = "1") -> tuple[dict[str, Any], str, bytes]:
    """Follow the trail from an image to its record: the statement, the image's digest, and the statement's bytes."""
    subject, digest = get(registry, f"{repository}/manifests/{tag}")
    index = json.loads(get(registry, f"{repository}/manifests/{digest.replace(':', '-')}")[0])
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    (entry,) = index["manifests"]
    # skopeo 1.9 cannot write the type into the list; the record itself always tells it.
    assert entry.get("artifactType", IN_TOTO) == IN_TOTO
    data, found = get(registry, f"{repository}/manifests/{entry['digest']}")
    assert (found, len(data)) == (entry["digest"], entry["size"])
    manifest = json.loads(data)
    assert manifest["mediaType"] == entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["artifactType"] == IN_TOTO
    kind = json.loads(subject)["mediaType"]
    assert manifest["subject"] == {"mediaType": kind, "digest": digest, "size": len(subject)}
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert blob(registry, repository, manifest["config"]) == b"{}"
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == IN_TOTO
    statement = blob(registry, repository, layer)
    return json.loads(statement), digest, statement


@pytest.fixture(scope="module")
def built(builder: Builder, registry: Registry, base: str) -> dict[str, Any]:
    """An image with a bit of everything; its options and its result."""
    context = builder.context("recorded", {name: text.format(base=base) for name, text in FILES.items()})
    (context / "link").symlink_to("data")
    secret = builder.write("recorded-secret", CANARIES[1], 0o600)
    options = {
        "name": f"{registry.address}/records/all:1",
        "path": str(context),
        "args": {"VERSION": "1.5"},
        "labels": {"team": "blue"},
        "secrets": [
            {"id": "value", "value": CANARIES[0], "version": "7"},
            {"id": "file", "src": str(secret)},
        ],
        "push": True,
        **registry.login,
    }
    return {"options": options, "result": builder.build(**options)}


def test_any_client_finds_the_record_and_it_is_a_statement_of_in_toto(
    registry: Registry, built: dict[str, Any]
) -> None:
    statement, digest, _data = record(registry, "records/all")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(statement, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert statement["subject"] == [
        {"name": f"{registry.address}/records/all", "digest": {"sha256": digest.partition(":")[2]}}
    ]
    assert digest == built["result"]["digest"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda statement: statement.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda statement: statement["subject"][0].pop("digest"),
        lambda statement: statement["predicate"]["buildDefinition"].pop("externalParameters"),
        lambda statement: statement["predicate"]["runDetails"]["builder"].pop("id"),
        lambda statement: statement["predicate"]["runDetails"]["metadata"].update(startedOn="yesterday"),
        lambda statement: statement["predicate"]["buildDefinition"]["resolvedDependencies"].append({"name": "x"}),
    ],
    ids=["type", "subject", "parameters", "builder", "time", "dependency"],
)
def test_the_schema_refuses_what_is_no_such_statement(registry: Registry, built: dict[str, Any], spoil: Any) -> None:
    statement, _digest, _data = record(registry, "records/all")
    spoil(statement)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(statement, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_record_says_what_it_was_built_from(registry: Registry, base: str, built: dict[str, Any]) -> None:
    statement, _digest, _data = record(registry, "records/all")
    definition, run = (statement["predicate"][part] for part in ("buildDefinition", "runDetails"))
    external, internal = definition["externalParameters"], definition["internalParameters"]
    # "The same field name SHOULD NOT be used for both" (SLSA provenance v1, BuildDefinition).
    assert not set(external) & set(internal)
    (components,) = external["platforms"].values()
    assert components["args"] == {"VERSION": "1.5"} and components["labels"] == {"team": "blue"}
    assert components["secrets"] == {"file": "", "value": "7"}
    digest = registry.digest("base/busybox", "1")
    assert components["base_image"] == {base: digest}
    (dependency,) = definition["resolvedDependencies"]
    assert dependency["name"] == base and f"sha256:{dependency['digest']['sha256']}" == digest
    assert internal["key"] == built["result"]["key"]
    assert run["builder"]["version"]["buildah"].startswith("1.")
    assert run["metadata"]["startedOn"] <= run["metadata"]["finishedOn"]


def test_every_file_of_the_context_is_in_the_record(registry: Registry, built: dict[str, Any]) -> None:
    statement, _digest, _data = record(registry, "records/all")
    (variant,) = statement["predicate"]["buildDefinition"]["internalParameters"]["variants"].values()
    files = variant["files"]
    assert set(files) - {"", ".", "sub"} == {*FILES, "link"} - {"ignored"}
    for name in ("data", "sub/spaces in its name", "sub/übung"):
        assert hashlib.sha256(FILES[name].encode()).hexdigest() in json.dumps(files[name]), (name, files[name])


def test_nothing_secret_is_in_the_record(builder: Builder, registry: Registry, built: dict[str, Any]) -> None:
    _statement, _digest, data = record(registry, "records/all")
    kept = b"".join(path.read_bytes() for path in builder.state.rglob("*") if path.is_file())
    assert b"1.5" in data and b"1.5" in kept, "this looks in the wrong place"
    for word in (*CANARIES, registry.password, f"{registry.username}:{registry.password}"):
        for form in (word.encode(), base64.b64encode(word.encode())):
            assert form not in data and form not in kept, word


def test_the_record_of_an_index_is_about_the_index(builder: Builder, registry: Registry) -> None:
    context = builder.context("recorded-index", {"Containerfile": "FROM scratch\nCOPY data /\n", "data": "index"})
    platforms = ["linux/amd64", "linux/arm64"]
    result = builder.build(
        name=f"{registry.address}/records/index:1", path=str(context), platform=platforms, push=True, **registry.login
    )
    statement, digest, _data = record(registry, "records/index")
    jsonschema.validate(statement, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert digest == result["digest"] and statement["subject"][0]["digest"]["sha256"] == digest.partition(":")[2]
    definition = statement["predicate"]["buildDefinition"]
    assert sorted(definition["externalParameters"]["platforms"]) == platforms
    assert sorted(definition["internalParameters"]["variants"]) == platforms


@pytest.fixture(scope="module")
def new_builders(library: Path) -> Iterator[tuple[Builder, Builder]]:
    """Two builders who have pushed nothing yet: buildah remembers in which compressions registries have layers."""
    users = Builder(f"rbtm-{os.getpid()}", library), Builder(f"rbtn-{os.getpid()}", library)
    yield users
    for user in users:
        user.remove()


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize("on", ["base", "scratch"])
def test_an_image_is_what_plain_buildah_makes(
    new_builders: tuple[Builder, Builder], registry: Registry, base: str, form: str, on: str
) -> None:
    """On another builder, so that no cached layer of the one can help the other."""
    builder, second_builder = new_builders
    name = f"records/plain-{form}-{on}"
    recipe = (
        "FROM scratch\nCOPY data /\n" if on == "scratch" else f"FROM {base}\nARG V\nCOPY data /\nRUN echo $V >/made\n"
    )
    files = {"Containerfile": recipe + "LABEL a=b\n", "data": "plain"}
    result = builder.build(
        name=f"{registry.address}/{name}:ours",
        path=str(builder.context("plain-context", files)),
        timestamp=0,
        format=form,
        args={"V": "1"},
        labels={"c": "d"},
        push=True,
        **registry.login,
    )
    # Whether layers are kept shows in the history; everything else is as somebody would type it.
    layers = next(word for word in result["command"][0] if word.startswith("--layers="))
    login = f"--tls-verify=false --creds {registry.username}:{registry.password}"
    second_builder.sh(
        f"buildah build --quiet {login} {layers} --timestamp 0 --format {form} --build-arg V=1 --label c=d "
        f"--tag localhost/{name} {second_builder.context('plain-context', files)}\n"
        f"buildah push --quiet {login} localhost/{name} docker://{registry.address}/{name}:plain"
    )
    found, wanted = (registry.manifest(name, tag) for tag in ("ours", "plain"))
    configs = [json.loads(blob(registry, name, one["config"])) for one in (found, wanted)]
    assert found["layers"] == wanted["layers"]
    assert found.get("annotations") == wanted.get("annotations")
    if on == "base":
        # The one trace of the pinned base: the history's comment names it with its digest, not with its tag, and by
        # whichever of its names in this store buildah comes upon.
        assert (
            configs[0]["history"][-1].pop("comment").endswith(f"/base/busybox@{registry.digest('base/busybox', '1')}")
        )
        assert configs[1]["history"][-1].pop("comment") == f"FROM {base}"
    elif form == "oci":
        assert registry.digest(name, "ours") == registry.digest(name, "plain")
    if form == "docker":
        # Docker's format holds the name of the container, which plain buildah too makes up each time.
        for config in configs:
            for key in ("container", "container_config", "parent"):
                config.pop(key, None)
            config["config"].pop("Hostname", None)
    assert configs[0] == configs[1]

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ONBUILD triggers of base images: what only they read belongs to the build key like what the Containerfile reads."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry
from ansible_collections.rootless.buildah.tests.integration.workshop import Workshop, without_destination


@pytest.fixture
def shop(builder: Builder, registry: Registry, base: str, request: pytest.FixtureRequest) -> Workshop:
    """An image of this test's own."""
    token = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().replace("test_", "")).strip("-")
    return Workshop(builder, registry, base, f"onbuild/{token}")


def trigger_base(shop: Workshop, *lines: str, image_format: str = "docker", name: str = "base") -> str:
    """Push an image of plain buildah with ONBUILD triggers and return its name."""
    full = f"{shop.registry.address}/{shop.token}/{name}:1"
    recipe = shop.file(f"{name}/Containerfile", "\n".join([f"FROM {shop.base}", *lines]) + "\n")
    build = f"buildah build -q --pull=never --no-cache --format={image_format} -f {recipe} {Path(recipe).parent}"
    shop.push_by_hand(full, build)
    return full


def by_tag(shop: Workshop, name: str) -> dict[str, Any]:
    return {"containerfile_content": f"FROM {name}\n"}


def by_digest(shop: Workshop, name: str) -> dict[str, Any]:
    return {"containerfile_content": f"FROM {name.rpartition(':')[0]}@{shop.image(name).digest}\n"}


def by_variable(shop: Workshop, name: str) -> dict[str, Any]:
    return {"containerfile_content": "ARG BASE\nFROM $BASE AS one\nFROM one\nLABEL last=1\n", "args": {"BASE": name}}


def by_named_context(shop: Workshop, name: str) -> dict[str, Any]:
    return {"containerfile_content": "FROM root\n", "build_contexts": {"root": f"docker-image://{name}"}}


def in_local_store(shop: Workshop, name: str) -> dict[str, Any]:
    login = f"--creds {shop.registry.username}:{shop.registry.password} --tls-verify=false"
    shop.builder.sh(f"buildah pull -q {login} {name}")
    return {"containerfile_content": f"FROM {name}\n", "pull": "never", "push": False}


@pytest.mark.parametrize("ask", [by_tag, by_digest, by_variable, by_named_context, in_local_store])
def test_a_file_that_only_a_trigger_copies_is_an_input(shop: Workshop, ask: Callable[..., dict[str, Any]]) -> None:
    options = ask(shop, trigger_base(shop, "ONBUILD COPY data /data"))
    options["path"] = shop.files(data="one")
    built = shop.build(**options)

    def copied() -> str:
        return shop.image().file("data") if options.get("push", True) else shop.builder.image_file(shop.name, "data")

    assert built["built"] and copied() == "one"
    assert not shop.build(**options)["changed"]
    shop.files(data="two")
    assert shop.call(check=True, **options)["changed"]
    again = shop.build(**options)
    assert again["built"] and copied() == "two"
    assert [(reason["reason"], reason["changed"]) for reason in without_destination(again)] == [("context", ["data"])]
    assert not shop.build(**options)["changed"]


def test_images_that_a_trigger_copies_from_are_bases(shop: Workshop) -> None:
    source = shop.base_image("source", "one")
    options = by_tag(shop, trigger_base(shop, f"ONBUILD COPY --from={source} /marker /made"))
    built = shop.build(**options)
    assert source in built["base_images"]
    assert shop.image().file("made").strip() == "one"
    shop.base_image("source", "two")
    assert shop.build(**options)["built"]
    assert shop.image().file("made").strip() == "two"


def test_args_that_a_trigger_declares_are_inputs(shop: Workshop) -> None:
    options = by_tag(shop, trigger_base(shop, "ONBUILD ARG V", "ONBUILD RUN echo $V >/made"))
    assert shop.build(**options, args={"V": "1"})["built"]
    assert shop.build(**options, args={"V": "2"})["built"]
    assert shop.image().file("made").strip() == "2"
    assert not shop.build(**options, args={"V": "2"})["changed"]


def test_an_image_in_oci_format_holds_no_triggers(shop: Workshop) -> None:
    options = by_tag(shop, trigger_base(shop, "ONBUILD COPY data /data", image_format="oci"))
    options["path"] = shop.files(data="one")
    assert shop.build(**options)["built"]
    shop.files(data="two")
    assert not shop.build(**options)["changed"]
    assert not shop.image().holds("data")


def test_a_trigger_that_copies_needs_a_context(shop: Workshop) -> None:
    refused = shop.refused(**by_tag(shop, trigger_base(shop, "ONBUILD COPY data /data")))
    assert "there is none" in refused["msg"]


def test_what_an_image_triggers_is_asked_once(shop: Workshop) -> None:
    """A digest stays what it is: an unchanged image costs no further questions to the base's registry."""
    name = trigger_base(shop, "ONBUILD COPY data /data")
    options = {**by_digest(shop, name), "path": shop.files(data="one"), "push": False}
    assert shop.build(**options)["built"]
    shop.builder.sh("buildah rmi --force $(buildah images -q --no-trunc --filter reference=" + name + ") || true")
    shop.registry.stop()
    try:
        assert not shop.build(**options)["changed"]
    finally:
        shop.registry.start()


OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def put_blob(shop: Workshop, data: bytes) -> str:
    """Upload a blob to this test's repository of bases (OCI distribution specification, "Single POST")."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    status, _body, headers = shop.registry.request(f"{shop.token}/base/blobs/uploads/", "POST", b"")
    assert status == 202
    place = headers["Location"].partition("/v2/")[2]
    joint = "&" if "?" in place else "?"
    assert shop.registry.request(f"{place}{joint}digest={digest}", "PUT", data, "application/octet-stream")[0] == 201
    return digest


def put_manifest(shop: Workshop, manifest: dict[str, Any]) -> dict[str, Any]:
    """Upload a manifest and return its descriptor."""
    data = json.dumps(manifest).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    path = f"{shop.token}/base/manifests/{digest}"
    assert shop.registry.request(path, "PUT", data, manifest["mediaType"])[0] == 201
    return {"mediaType": manifest["mediaType"], "digest": digest, "size": len(data)}


def test_triggers_in_an_oci_image_of_another_tool_and_of_the_platform_that_is_built_for(shop: Workshop) -> None:
    """BuildKit writes ``OnBuild`` into OCI configurations, and buildah carries it out."""
    plain = shop.image(trigger_base(shop, "LABEL base=1", image_format="oci"))
    entries = []
    for architecture, triggers in {"amd64": [], "arm64": ["COPY data /data"]}.items():
        config = {**plain.config, "architecture": architecture}
        config["config"] = {**config["config"], "OnBuild": triggers}
        data = json.dumps(config).encode()
        there = {**plain.manifest["config"], "digest": put_blob(shop, data), "size": len(data)}
        child = put_manifest(shop, {**plain.manifest, "mediaType": OCI_MANIFEST, "config": there})
        entries.append({**child, "platform": {"os": "linux", "architecture": architecture}})
    index = put_manifest(shop, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    options: dict[str, Any] = {
        "containerfile_content": f"FROM {shop.registry.address}/{shop.token}/base@{index['digest']}\n",
        "path": shop.files(data="first"), "platform": ["linux/arm64"],
    }  # fmt: skip
    assert shop.build(**options)["built"]
    # Contents of its own: the layer cache of 1.28 does not tell images for two platforms apart when their layers and
    # history are the same.
    shop.files(data="second")
    assert shop.build(**options)["built"]
    assert shop.image().file("data") == "second"
    assert not shop.build(**options)["changed"]

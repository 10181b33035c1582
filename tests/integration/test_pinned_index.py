# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bases pinned by the digest of an index: one name for several images, of which each build takes its platform's."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry
from ansible_collections.rootless.buildah.tests.integration.workshop import Workshop


@pytest.fixture
def shop(builder: Builder, registry: Registry, base: str, request: pytest.FixtureRequest) -> Workshop:
    """An image of this test's own."""
    token = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().replace("test_", "")).strip("-")
    return Workshop(builder, registry, base, f"pinned/{token}")


def pinned(shop: Workshop) -> str:
    """Push an index of plain buildah whose images name their platforms, and return it by digest."""
    name = f"{shop.registry.address}/{shop.token}/base"
    recipe = shop.file("base/Containerfile", "FROM scratch\nARG TARGETARCH\nLABEL base=$TARGETARCH\n")
    login = f"--creds {shop.registry.username}:{shop.registry.password} --tls-verify=false"
    builds = "\n".join(
        f"buildah build -q --layers=false --platform linux/{arch} --manifest {shop.token} -f {recipe} {shop.path}/base"
        for arch in ("amd64", "arm64")
    )
    shop.builder.sh(f"{builds}\nbuildah manifest push -q --all {login} {shop.token} docker://{name}:1")
    return f"{name}@{shop.image(f'{name}:1').digest}"


def bases(shop: Workshop, *architectures: str) -> dict[str, str]:
    """Return which base's label each platform's image has."""
    return {arch: shop.image().child(arch).config["config"]["Labels"]["base"] for arch in architectures}


@pytest.mark.parametrize("order", [["linux/amd64", "linux/arm64"], ["linux/arm64", "linux/amd64"]])
def test_each_platform_gets_its_own_image(shop: Workshop, order: list[str]) -> None:
    options: dict[str, Any] = {"containerfile_content": f"FROM {pinned(shop)}\nLABEL mine=1\n"}
    for platform in order:
        assert shop.build(**options, platform=[platform])["built"]
        assert shop.image().config["config"]["Labels"]["base"] == platform.partition("/")[2]
    assert shop.build(**options, platform=order)["built"]
    assert bases(shop, "amd64", "arm64") == {"amd64": "amd64", "arm64": "arm64"}
    assert not shop.build(**options, platform=order)["changed"]


def test_a_stage_for_another_platform_gets_that_platforms_image(shop: Workshop) -> None:
    text = f"FROM --platform=linux/arm64 {pinned(shop)} AS tools\nLABEL mine=1\nFROM tools\nLABEL last=1\n"
    shop.build(containerfile_content=text)
    assert shop.image().config["config"]["Labels"]["base"] == "arm64"


def test_one_name_for_two_platforms_in_one_file_is_refused(shop: Workshop) -> None:
    name = pinned(shop)
    text = f"FROM --platform=linux/arm64 {name} AS other\nFROM {name}\nCOPY --from=other /x /x\n"
    assert "used for two platforms" in shop.refused(containerfile_content=text, platform=["linux/amd64"])["msg"]

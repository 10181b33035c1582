# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What buildah_build promises first: build once, say why, and do nothing the second time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.tests.integration.harness import CHECKOUT, Builder, Registry

CONTAINERFILE = "FROM {base}\nARG VERSION=0\nCOPY data /data\nRUN echo $VERSION > /version\n"


@pytest.fixture
def image(builder: Builder, registry: Registry, base: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Parameters of an image whose name no other test uses."""
    name = request.node.name.replace("_", "-")
    context = builder.context(name, {"data": "one", "Containerfile": CONTAINERFILE.format(base=base)})
    return {"name": f"{registry.address}/basics/{name}:1", "path": str(context), "push": True, **registry.login}


def test_first_run_builds_and_pushes_and_second_run_does_nothing(
    builder: Builder, registry: Registry, image: dict[str, Any]
) -> None:
    predicted = builder.module("buildah_build", check=True, **image)
    first = builder.module("buildah_build", **image)
    second = builder.module("buildah_build", **image)
    repository = str(image["name"]).split("/", 1)[1].rpartition(":")[0]
    assert (predicted["changed"], first["changed"], second["changed"]) == (True, True, False)
    assert predicted["reasons"] == first["reasons"] == [{"reason": "not_at_destination", "destination": image["name"]}]
    assert predicted["key"] == first["key"] == second["key"]
    assert registry.digest(repository, "1") == first["digest"] == second["digest"]
    assert not second["built"] and second["pushed"] == [] and second["reasons"] == []


def test_unchanged_on_another_builder_with_an_empty_store(
    builder: Builder, second_builder: Builder, image: dict[str, Any]
) -> None:
    assert builder.module("buildah_build", **image)["changed"]
    before = second_builder.sh("buildah images --quiet")
    second_builder.context(
        str(image["path"]).rpartition("/")[2],
        {name: (builder.home / str(image["path"]) / name).read_bytes() for name in ("data", "Containerfile")},
    )
    elsewhere = {**image, "path": str(image["path"]).replace(str(builder.home), str(second_builder.home))}
    result = second_builder.module("buildah_build", **elsewhere)
    assert not result["failed"] and not result["changed"], result
    assert second_builder.sh("buildah images --quiet") == before, "something came into the other store"


def test_the_place_for_temporary_files_may_be_closed_to_the_builder(
    builder: Builder, registry: Registry, image: dict[str, Any], tmp_path: Path
) -> None:
    """su leaves TMPDIR as the caller has it, who may keep it to himself."""
    closed = {"TMPDIR": str(tmp_path)}
    # A login of the task would have a place of its own made for the build before it is looked for.
    login = str(builder.write("login.json", registry.auth_file, 0o600))
    image = {**image, "registry_auth_file": login, "registry_username": None, "registry_password": None, "load": True}
    predicted = builder.module("buildah_build", check=True, env=closed, **image)
    first = builder.module("buildah_build", env=closed, **image)
    second = builder.module("buildah_build", env=closed, **image)
    assert [(result["failed"], result["changed"]) for result in (predicted, first, second)] == [
        (False, True), (False, True), (False, False)], (predicted, first, second)  # fmt: skip
    trials = (CHECKOUT / "roles/build_images/files/try-images.sh").read_text()
    tried = builder.run(["sh", "-uc", trials, "try-images", "buildah", image["name"], "cat /version"], env=closed)
    assert tried.stdout == f"{image['name']}: 0\n"


def test_an_image_that_is_tried_has_no_input(builder: Builder, image: dict[str, Any]) -> None:
    """A program that reads would wait for whoever ran the playbook, and buildah leaves the input non-blocking."""
    builder.build(**{**image, "load": True})
    trials = (CHECKOUT / "roles/build_images/files/try-images.sh").read_text()
    words = ["sh", "-uc", trials, "try-images", "buildah", str(image["name"]), "cat - /version"]
    assert builder.run(words, stdin="of the caller\n").stdout == f"{image['name']}: 0\n"


def test_a_changed_file_is_the_reason_and_is_in_the_image(builder: Builder, image: dict[str, Any]) -> None:
    builder.module("buildah_build", **image)
    builder.write(f"{str(image['path']).rpartition('/')[2]}/data", "two")
    result = builder.module("buildah_build", **image)
    assert [(reason["reason"], reason["changed"]) for reason in result["reasons"]] == [("context", ["data"])]
    assert builder.image_file(str(image["name"]), "data") == "two"


@pytest.mark.parametrize(
    "recipe",
    [
        "FROM {base}",
        "FROM {base} AS a\nLABEL x=1\nFROM a",
        "FROM {base} AS a\nFROM scratch\nCOPY --from=a /bin/busybox /b",
        "FROM {base}\nLABEL x=1",
    ],
)
def test_no_working_container_is_left(builder: Builder, base: str, registry: Registry, recipe: str) -> None:
    # buildah 1.28 itself leaves those of stages without an instruction.
    text = recipe.format(base=base) + "\n"
    name = f"{registry.address}/basics/no-container:1"
    assert builder.build(name=name, containerfile_content=text, push=True, **registry.login)["built"]
    assert builder.run(["buildah", "containers", "--quiet"]).stdout == ""


def test_a_host_forgets_images_that_are_gone(builder: Builder, base: str, registry: Registry) -> None:
    def build(number: int) -> str:
        text = f"FROM {base}\nRUN echo {number} >/n\n"
        name = f"{registry.address}/basics/forgotten:{number}"
        return str(builder.build(name=name, containerfile_content=text, push=True, **registry.login)["image_id"])

    records = builder.state / "records"
    gone, kept = build(1), build(2)
    builder.run(["buildah", "rmi", "--force", gone])
    yesterday = time.time() - 86401
    for path in (builder.state / "looked", records / gone, records / kept):
        os.utime(path, (yesterday, yesterday))
    build(3)
    assert not (records / gone).exists() and (records / kept).exists()


def test_what_a_buildah_left_that_was_killed_at_its_start_goes(builder: Builder, image: dict[str, Any]) -> None:
    left = Path(f"/tmp/containers.{os.urandom(3).hex()}")
    left.touch()
    os.chown(left, builder.uid, builder.gid)
    os.utime(left, (0, 0))
    builder.build(**image)
    assert not left.exists()

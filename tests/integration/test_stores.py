# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store strategies: the same build with each, what it leaves, what others see of it, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._storage import DEFAULTS
from ansible_collections.rootless.buildah.tests.integration.harness import CHECKOUT, Builder, Registry
from ansible_collections.rootless.buildah.tests.integration.workshop import Workshop, auth_file, recipe

STEP = "RUN echo made >/made"


@pytest.fixture
def shop(builder: Builder, registry: Registry, base: str) -> Iterator[Workshop]:
    """A workshop whose login serves images of the local store with bases at the registry, too."""
    found = Workshop(builder, registry, base, f"stores-{time.time_ns()}")
    found.options.update(registry_username=None, registry_password=None, registry_auth_file=auth_file(found))
    yield found
    (builder.home / DEFAULTS).unlink(missing_ok=True)


def stores(builder: Builder) -> list[Path]:
    """Every place where stores of projects and builds, and their run-time state, may be."""
    runtime = (f"/run/user/{builder.uid}", f"/var/tmp/containers-user-{builder.uid}/containers")
    return [builder.home / ".local/share/containers/stores", *(Path(place) / "rootless.buildah" for place in runtime)]


def left(builder: Builder) -> list[str]:
    """What is left of isolated stores, and of the runs themselves."""
    found = [str(path) for place in stores(builder) for path in place.glob("isolated/*")]
    return found + [str(path) for path in builder.state.glob("jobs/*")]


def images_of(builder: Builder, *flags: str) -> set[str]:
    listed = builder.run(["buildah", *flags, "images", "--all", "--quiet", "--no-trunc"]).stdout.split()
    return {line.partition(":")[2] for line in listed}


STRATEGIES: dict[str, dict[str, Any]] = {
    "host": {"strategy": "host"}, "project": {"strategy": "project", "project": "a"},
    "isolated": {"strategy": "isolated"},
}  # fmt: skip


@pytest.mark.parametrize("storage", STRATEGIES.values(), ids=STRATEGIES)
def test_a_build_is_pushed_once_and_then_unchanged(shop: Workshop, storage: dict[str, Any]) -> None:
    options = {**recipe(shop, STEP), "storage": storage}
    assert shop.call(check=True, **options)["changed"]
    first = shop.build(**options)
    assert (first["built"], [one["action"] for one in first["pushed"]]) == (True, ["push"])
    assert shop.image().file("/made") == "made\n"
    again = shop.build(**options)
    assert not again["changed"] and not again["built"] and again["digest"] == first["digest"]
    assert not shop.call(check=True, **options)["changed"]
    # The record is at the registry, so the other strategies know it too.
    for other in STRATEGIES.values():
        assert not shop.build(**recipe(shop, STEP), storage=other)["changed"]
    changed = shop.build(**recipe(shop, "RUN echo other >/made"), storage=storage)
    assert [reason["reason"] for reason in changed["reasons"]] == ["containerfile"]
    assert left(shop.builder) == []
    assert (first["image_id"] in images_of(shop.builder)) is (storage["strategy"] == "host")


def test_two_projects_do_not_see_each_others_images(shop: Workshop) -> None:
    name = f"localhost/{shop.token}"
    one, two = ({"strategy": "project", "project": f"{shop.token}-{name}"} for name in ("one", "two"))
    shop.build(**recipe(shop, STEP), name=name, push=False, storage=one)
    child = {"containerfile_content": f"FROM {name}\nRUN cat /made\n", "name": f"{name}-child", "push": False}
    refused = shop.refused(**child, storage=two)
    assert f"the base image {name} does not exist" in refused["msg"]
    assert shop.build(**child, storage=one)["built"]
    assert not shop.build(**child, storage=one)["changed"]
    # Nor does the builder user's own store.
    assert "does not exist" in shop.refused(**child)["msg"]
    # What is forgotten in one project is still there in another.
    shop.build(**recipe(shop, STEP), name=name, push=False, storage=two)
    assert shop.build(name=name, push=False, state="absent", storage=one)["changed"]
    assert not shop.build(name=name, push=False, state="absent", storage=one)["changed"]
    assert not shop.build(**recipe(shop, STEP), name=name, push=False, storage=two)["changed"]


def test_a_plan_looks_into_the_store_of_each_image(shop: Workshop) -> None:
    images = [
        {**shop.options, **recipe(shop, STEP), "name": f"localhost/{shop.token}-{number}", "push": False,
         "storage": storage}
        for number, storage in enumerate([*STRATEGIES.values(), {"strategy": "project", "project": "b"}])
    ]
    images[2].update(push=True, name=shop.name)
    for due in (4, 3, 2, 1, 0):
        planned = shop.builder.call("buildah_plan", {"images": images})
        assert not planned["failed"], planned
        assert planned["due"] == due
        if due:
            shop.builder.build(**images[due - 1])
    calls = [entry["buildah"] for entry in planned["images"]]
    assert [len(call) for call in calls] == [1, 3, 0, 3]
    # Without --all, buildah 1.28 fails on a store with a manifest list and an image that has neither layer nor name.
    listing = ["images", "--all", "--format", "{{.Name}}:{{.Tag}}"]
    for call, entry in zip(calls, planned["images"]):
        assert not call or entry["name"] in shop.builder.run([*call, *listing]).stdout
    assert left(shop.builder) == []


@pytest.mark.parametrize("whose", ["task", "user"])
@pytest.mark.parametrize("strategy", ["project", "isolated"])
def test_a_read_only_store_saves_the_pull(shop: Workshop, strategy: str, whose: str) -> None:
    """Whether the task names it or, as role builder with builder_additional_stores does, the user's storage.conf."""
    base = shop.base_image("shared", "shared")
    flags = [f"--root={shop.path}/shared", f"--runroot={shop.path}/run"]
    login = f"--creds={shop.registry.username}:{shop.registry.password}"
    shop.builder.run(["buildah", *flags, "pull", "-q", login, "--tls-verify=false", base])
    # The registry loses the layers; what needs a pull fails.
    blobs = shop.image(base).manifest["layers"]
    gone = [shop.registry.root / f"data/docker/registry/v2/blobs/sha256/{layer['digest'][7:9]}" / layer["digest"][7:]
            for layer in blobs]
    for path in gone:
        path.rename(path.with_name("gone"))
    storage = {"strategy": strategy, "project": shop.token}
    settings = shop.builder.home / ".config/containers/storage.conf"
    usual = settings.read_text()
    try:
        assert "pull" in shop.refused(**recipe(shop, STEP, base=base), storage=storage)["msg"]
        shared = [f"{shop.path}/shared"]
        with_store = {**storage, "additional_stores": shared} if whose == "task" else storage
        if whose == "user":
            settings.write_text(f"{usual}[storage.options]\nadditionalimagestores = {json.dumps(shared)}\n")
        name = {"push": False, "name": f"localhost/{shop.token}",
                "outputs": [{"type": "oci-archive", "dest": f"{shop.path}/image.tar"}]}
        built = shop.build(**recipe(shop, STEP, base=base), **name, storage=with_store)
        assert built["built"]
        assert not shop.build(**recipe(shop, STEP, base=base), **name, storage=with_store)["changed"]
    finally:
        settings.write_text(usual)
        for path in gone:
            path.with_name("gone").rename(path)
    assert left(shop.builder) == []


def test_an_isolated_build_without_push_lives_on_in_its_exports(shop: Workshop) -> None:
    archive = shop.path / "image.tar"
    options = {"push": False, "name": f"localhost/{shop.token}", "storage": {"strategy": "isolated"},
               "outputs": [{"type": "oci-archive", "dest": str(archive)}]}  # fmt: skip
    assert shop.build(**recipe(shop, STEP), **options)["changed"]
    assert not shop.build(**recipe(shop, STEP), **options)["changed"]
    changed = shop.build(**recipe(shop, "RUN echo 2 >/made"), **options)
    assert [reason["reason"] for reason in changed["reasons"]] == ["containerfile"]
    archive.unlink()
    again = shop.build(**recipe(shop, "RUN echo 2 >/made"), **options)
    assert again["reasons"] == [{"reason": "output", "name": str(archive)}]
    assert archive.exists()
    assert left(shop.builder) == []


def test_a_native_script_uses_the_store_and_may_leave_artifacts_only(shop: Workshop) -> None:
    script = {
        "script": 'c=$(buildah from "$BASE"); buildah run "$c" -- touch /made\n'
                  'cp "$(buildah mount "$c")/bin/busybox" "$ARTIFACTS/"; buildah commit "$c" "$IMAGE"\n',
        "base_images": {"BASE": shop.base}, "artifacts": str(shop.path / "made"),
    }  # fmt: skip
    for storage in (STRATEGIES["isolated"], STRATEGIES["project"]):
        options = {**script, "push": False, "name": f"localhost/{shop.token}-{storage['strategy']}", "storage": storage}
        assert shop.build(**options)["changed"]
        assert not shop.build(**options)["changed"]
    assert (shop.path / "made/busybox").stat().st_size > 100_000
    (shop.path / "made/busybox").unlink()
    options["storage"] = STRATEGIES["isolated"]
    assert shop.build(**options)["reasons"][0]["reason"] == "artifact"
    assert left(shop.builder) == []


@pytest.mark.parametrize(("options", "words"), [
    ({"push": False}, "Set push, outputs or artifacts, or choose another storage.strategy"),
    ({"load": True}, "Remove load, or choose another storage.strategy"),
    ({"storage": {"strategy": "project"}}, "Name the project (build_images_project in the role build_images)"),
])
def test_what_makes_no_sense_is_refused(shop: Workshop, options: dict[str, Any], words: str) -> None:
    refused = shop.refused(**{**recipe(shop, STEP), "storage": {"strategy": "isolated"}, **options})
    assert words in refused["msg"]
    assert left(shop.builder) == []


def test_a_build_that_fails_leaves_nothing(shop: Workshop) -> None:
    failed = shop.refused(**recipe(shop, STEP, "RUN false"), storage={"strategy": "isolated"})
    assert "RUN false" in failed["msg"]
    assert left(shop.builder) == []


def test_what_a_killed_run_leaves_goes_with_the_next_one_whatever_its_strategy(shop: Workshop) -> None:
    slow = {**shop.options, **recipe(shop, STEP, "RUN sleep 60"), "storage": {"strategy": "isolated"}}
    for storage in ({"strategy": "isolated"}, {}):
        process = shop.builder.start(slow)
        end = time.monotonic() + 60
        while not any(path.name == "images.json" for place in stores(shop.builder) for path in
                      place.glob("isolated/*/overlay-images/images.json")):
            assert time.monotonic() < end and process.poll() is None, "no image is pulled"
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert left(shop.builder)
        shop.build(**recipe(shop, STEP), storage=storage)
        assert left(shop.builder) == []


@pytest.mark.parametrize(("prefix", "mode"), [("passage-", 0o711), ("ansible-", 0o755), ("ssh-", 0o711)])
def test_a_home_below_a_temporary_directory_is_in_sight(library: Path, prefix: str, mode: int) -> None:
    """Chroot isolation takes out of sight there what looks like somebody else's secrets, or cannot be listed."""
    place = Path(tempfile.mkdtemp(prefix=prefix, dir="/var/tmp"))
    place.chmod(mode)
    builder = Builder(f"rbth-{os.getpid()}", library)
    try:
        subprocess.run(["usermod", "--move-home", "--home", place / "home", builder.name], check=True)
        builder.home = place / "home"
        builder.environment["HOME"] = str(builder.home)
        context = builder.context("context", {"data": "one", "Containerfile": "FROM scratch\nCOPY data /\n"})
        assert builder.build(name="localhost/passage", path=str(context), isolation="chroot")["changed"]
    finally:
        builder.remove()
        place.rmdir()


def test_the_roles_file_decides_where_the_task_does_not(shop: Workshop) -> None:
    builder = shop.builder
    builder.write(DEFAULTS, json.dumps({"strategy": "isolated"}))
    assert "nothing would be left" in shop.refused(**recipe(shop, STEP), push=False)["msg"]
    built = shop.build(**recipe(shop, STEP))
    assert built["image_id"] not in images_of(builder)
    place = builder.home / f"{shop.token}-stores"
    builder.write(DEFAULTS, json.dumps({"strategy": "project", "graphroot": str(place)}))
    name = f"localhost/{shop.token}"
    shop.build(**recipe(shop, STEP), push=False, name=name, storage={"project": "p"})
    assert (place / "projects/p/overlay-images/images.json").exists()
    # A task that says it wins.
    assert shop.build(**recipe(shop, STEP), push=False, name=name, storage={"strategy": "host"})["built"]
    builder.write(DEFAULTS, "no JSON")
    refused = shop.refused(**recipe(shop, STEP))
    assert f"~/{DEFAULTS} cannot be used" in refused["msg"]
    assert "role builder" in refused["remedy"]


@pytest.fixture
def pruned(library: Path) -> Iterator[Builder]:
    """A builder user with the script of the timer, whose store holds nothing else."""
    builder = Builder(f"rbtp-{os.getpid()}", library)
    try:
        builder.write("prune.sh", (CHECKOUT / "roles/builder/files/prune.sh").read_text(encoding="utf-8"))
        builder.write("pruned/f", "FROM scratch\nCOPY f /\n")
        yield builder
    finally:
        builder.remove()


def test_pruning_keeps_what_a_named_manifest_list_holds(pruned: Builder) -> None:
    for name in ("dropped", "kept"):
        pruned.sh(f"cd pruned && buildah build -q --label name={name} --platform linux/amd64,linux/arm64 "
                  f"--manifest {name} -f f .")
    pruned.sh(f"buildah manifest rm dropped; sleep 1; sh {pruned.home}/prune.sh 1ms")
    # The list that is left and its two images, which can still be pushed.
    assert len(images_of(pruned)) == 3
    pruned.sh("buildah manifest push --all kept dir:pushed")


def test_pruning_fails_when_a_store_cannot_be_read_and_prunes_the_others(pruned: Builder) -> None:
    builder = pruned
    places = builder.home / "prune-stores"
    for step in ("dropped", "kept"):
        builder.sh(f"cd pruned && buildah build -q --label step={step} -t prune -f f .")
    builder.sh("sleep 1")  # ages count in whole seconds
    prune = ["sh", str(builder.home / "prune.sh"), "1ms", str(places)]
    before = images_of(builder)
    (places / "projects").mkdir(parents=True)
    (places / "projects").chmod(0o755)
    closed = places / "projects/closed"
    closed.mkdir(mode=0o700)  # root's: buildah cannot make its store there
    done = builder.run(prune, check=False)
    assert done.returncode != 0 and str(closed) in done.stderr, done
    assert images_of(builder) < before
    closed.rmdir()
    assert builder.run(prune, check=False).returncode == 0

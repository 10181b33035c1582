# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The promises that are measured: ratios against the bare tools, side by side in one run."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.tests.bench.ratios import Row, Table
from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry

FILES, TOTAL = 20_000, 200_000_000


@pytest.fixture(scope="session")
def large(builder: Builder) -> Path:
    """A context of 20,000 files and 200 MB in 200 directories."""
    root = builder.home / "large"
    for number in range(FILES):
        directory = root / f"d{number % 200:03}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(os.urandom(TOTAL // FILES))
    (root / "Containerfile").write_text("FROM scratch\nARG N\nCOPY . /\nLABEL n=$N\n")
    subprocess.run(["chown", "-R", f"{builder.uid}:{builder.gid}", str(root)], check=True)
    return root


def test_an_unchanged_build_of_a_large_context(builder: Builder, registry: Registry, large: Path, table: Table) -> None:
    image: dict[str, Any] = {
        "name": f"{registry.address}/bench/large:1",
        "path": str(large),
        "push": True,
        **registry.login,
    }
    plain = ["buildah", "build", "--layers", "--quiet", "--tag", "localhost/plain", str(large)]
    builder.build(**image)
    builder.run(plain)
    table.compare(
        "unchanged `buildah_build`, 20,000 files, 200 MB",
        "`buildah build --layers` of the same, all cached",
        lambda: _unchanged(builder.build(**image)),
        lambda: builder.run(plain),
        aim=0.05,
    )


def _unchanged(result: dict[str, Any]) -> None:
    assert not result["changed"], result["reasons"]


def test_podman_image_beside_it(builder: Builder, registry: Registry, library: Path, base: str, table: Table) -> None:
    if subprocess.run(["which", "podman"], capture_output=True, check=False).returncode != 0:
        subprocess.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", "podman"], check=True)
    source = Path(next(path for path in sys.path if (Path(path) / "ansible_collections/containers/podman").is_dir()))
    subprocess.run(
        ["cp", "-r", str(source / "ansible_collections/containers"), str(library / "ansible_collections/containers")],
        check=True,
    )
    context = builder.context("podman", {"Containerfile": f"FROM {base}\nCOPY data /data\n", "data": "one"})
    insecure = f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n'
    builder.write(".config/containers/registries.conf", insecure)
    module = "ansible_collections.containers.podman.plugins.modules.podman_image"

    def podman_image() -> dict[str, Any]:
        import json

        done = builder.run(
            ["/usr/bin/python3", "-m", module],
            env={"PYTHONPATH": str(library)},
            check=False,
            stdin=builder.arguments({"name": "localhost/podman-image", "path": str(context), "state": "build"}),
        )
        return dict(json.loads(done.stdout))

    auth = builder.write("bench-auth.json", registry.auth_file, 0o600)
    image = {
        "name": "localhost/ours",
        "path": str(context),
        "registry_validate_certs": False,
        "registry_auth_file": str(auth),
    }
    assert not podman_image().get("failed") and builder.build(**image)["changed"]
    table.compare(
        "unchanged `buildah_build`, one file",
        "`containers.podman.podman_image`, state build",
        lambda: _unchanged(builder.build(**image)),
        podman_image,
    )
    builder.write("podman/data", "two")
    ours, theirs = builder.build(**image)["changed"], podman_image()["changed"]
    table.remarks.append(
        f"After a changed file in the context: `buildah_build` noticed: {_word(ours)}; "
        f"`containers.podman.podman_image` noticed: {_word(theirs)}."
    )


def _word(noticed: bool) -> str:
    return "yes" if noticed else "**no**"


def test_the_first_build_and_push(builder: Builder, registry: Registry, base: str, table: Table) -> None:
    context = builder.context(
        "first",
        {
            "payload": os.urandom(30_000_000),
            "Containerfile": (
                f"FROM {base}\nARG N\nCOPY payload /payload\n"
                "RUN for i in $(seq 60); do sha256sum /payload; done >/sum; echo $N >>/sum\n"
            ),
        },
    )
    row = first_build(builder, registry, context, table, "first build and push")
    table.remarks.append(
        f"What `buildah_build` adds to a build and push does not grow with its steps: {row.ours - row.theirs:.1f} s "
        "here. With the context it does: that is hashed before and after, so that no image of files that moved is kept."
    )


def test_the_first_build_and_push_of_a_large_context(
    builder: Builder, registry: Registry, large: Path, table: Table
) -> None:
    first_build(builder, registry, large, table, "first build and push, 20,000 files, 200 MB")


def first_build(builder: Builder, registry: Registry, context: Path, table: Table, what: str) -> Row:
    """Compare a build that has never been, with everything made and pushed anew."""
    login = f"--creds={registry.username}:{registry.password}"
    numbers = itertools.count()

    def name() -> str:
        return f"{registry.address}/bench/{context.name}-first:{next(numbers)}"

    def ours() -> None:
        image = {"name": name(), "path": str(context), "push": True, "nocache": True, **registry.login}
        assert builder.build(args={"N": next(numbers)}, **image)["built"]

    def theirs() -> None:
        image = name()
        flags = ["--quiet", "--tls-verify=false", login]
        number = f"--build-arg=N={next(numbers)}"
        builder.run(["buildah", "build", "--layers", "--no-cache", *flags, number, f"--tag={image}", str(context)])
        builder.run(["buildah", "push", *flags, image, f"docker://{image}"])

    return table.compare(what, "`buildah build` and `buildah push` by hand", ours, theirs, aim=1.05)


def test_hashing(builder: Builder, large: Path, library: Path, table: Table) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(library)!r}); "
        "from ansible_collections.rootless.buildah.plugins.module_utils._context import digest_context; "
        f"digest_context({str(large)!r})"
    )
    table.compare(
        "hashing 20,000 files, 200 MB, two cores, start of Python included",
        "`sha256sum` of the same, one core",
        lambda: subprocess.run(["/usr/bin/python3", "-c", code], check=True),
        lambda: subprocess.run(f"find {large} -type f -print0 | xargs -0 sha256sum >/dev/null", shell=True, check=True),
        aim=0.8,
        runs=5,
    )


def test_fifty_unchanged_images_against_one(builder: Builder, registry: Registry, base: str, table: Table) -> None:
    context = builder.context(
        "fifty", {"Containerfile": f"FROM {base}\nARG N\nCOPY data /data\nENV N=$N\n", "data": "x"}
    )
    images = [
        {
            "name": f"{registry.address}/bench/fifty:{number}",
            "path": str(context),
            "push": True,
            "args": {"N": number},
            **registry.login,
        }
        for number in range(50)
    ]
    for image in images:
        builder.build(**image)

    def plan(some: list[dict[str, Any]]) -> None:
        assert builder.module("buildah_plan", images=some)["due"] == 0

    table.compare(
        "`buildah_plan` of 50 unchanged images", "of 1", lambda: plan(images), lambda: plan(images[:1]), aim=3, runs=5
    )
    table.remarks.append(
        "Each unchanged image costs two calls of skopeo, side by side; with a registry on the same two cores they are "
        "processor time, with one across a network mostly waiting."
    )

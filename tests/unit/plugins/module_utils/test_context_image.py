# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A context becomes an image: equal contexts are equal images, and nothing is in one that was not hashed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Callable

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._context import digest_context
from ansible_collections.rootless.buildah.plugins.module_utils._context_archive import Part
from ansible_collections.rootless.buildah.plugins.module_utils._context_image import ContextImage, read_context
from ansible_collections.rootless.buildah.plugins.module_utils._errors import ContextError


def context(path: Path) -> Path:
    """Make a context with everything that is difficult."""
    root = path / "context"
    (root / "deep/er").mkdir(parents=True)
    (root / "plain").write_text("plain\n")
    (root / "tool").write_text("#!/bin/sh\n")
    (root / "tool").chmod(0o755)
    (root / "private").write_text("for its owner\n")
    (root / "private").chmod(0o600)
    (root / "deep/er/.wh.gone").write_text("no whiteout\n")
    (root / "deep/er/ünïcode \\ name").write_text("x")
    (root / "link").symlink_to("deep/er")
    (root / "hidden").write_text("secret")
    (root / ".containerignore").write_text("hidden\n")
    return root


def part(root: Path, copies: tuple[str, ...] = (".",)) -> Part:
    return Part("context", str(root), digest_context(str(root), ["hidden"], copies=copies).files)


def read(root: Path, place: Path, **more: Part) -> ContextImage:
    return read_context([more.get("part", part(root))], {"Containerfile": b"FROM scratch\n"}, str(place), "linux/amd64")


def entries(image: ContextImage) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(image.archive) as archive:
        return {entry.name: entry for entry in archive}


def test_it_holds_what_was_hashed_as_it_is(tmp_path: Path) -> None:
    found = entries(read(context(tmp_path), tmp_path / "archive"))
    assert set(found) == {
        "Containerfile", "context", "context/.containerignore", "context/plain", "context/tool", "context/private",
        "context/link", "context/deep", "context/deep/er", "context/deep/er/.wh.gone",
        "context/deep/er/ünïcode \\ name",
    }  # fmt: skip
    assert stat.S_IMODE(found["context/tool"].mode) == 0o755
    assert stat.S_IMODE(found["context/private"].mode) == 0o600
    assert found["context/link"].linkname == "deep/er"
    assert {(entry.uid, entry.gid, entry.uname) for entry in found.values()} == {(0, 0, "")}
    # An archive for zip, which knows no earlier time.
    assert {entry.mtime for entry in found.values()} == {315532800}


def test_equal_contexts_are_equal_images_whenever_and_whoever(tmp_path: Path) -> None:
    one = read(context(tmp_path / "a"), tmp_path / "one")
    root = context(tmp_path / "b")
    for path in root.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    two = read(root, tmp_path / "two")
    assert (one.tag, one.config) == (two.tag, two.config)
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    assert one.write(str(tmp_path / "x")) == two.write(str(tmp_path / "y"))


@pytest.mark.parametrize("change", [
    lambda root: (root / "plain").write_text("other\n"),
    lambda root: (root / "tool").chmod(0o644),
    lambda root: (root / "new").write_text(""),
    lambda root: (root / "link").unlink(),
], ids=["content", "mode", "added", "removed"])  # fmt: skip
def test_a_changed_context_is_another_image(tmp_path: Path, change: Callable[[Path], object]) -> None:
    root = context(tmp_path)
    before = read(root, tmp_path / "one")
    change(root)
    assert read(root, tmp_path / "two").tag != before.tag


def test_the_image_is_one_that_registries_and_nodes_accept(tmp_path: Path) -> None:
    image = read(context(tmp_path), tmp_path / "archive")
    (tmp_path / "image").mkdir()
    manifest = json.loads(image.write(str(tmp_path / "image")))
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "image").iterdir()}
    for blob in (manifest["config"], *manifest["layers"]):
        data = blobs[blob["digest"].partition(":")[2]]
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (blob["digest"].partition(":")[2], blob["size"])
    config = json.loads(blobs[manifest["config"]["digest"].partition(":")[2]])
    layer = gzip.decompress(blobs[manifest["layers"][0]["digest"].partition(":")[2]])
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        assert archive.getnames() == ["build.tar"]
        file = archive.extractfile("build.tar")
        assert file and file.read() == (tmp_path / "archive").read_bytes()


def test_another_image_under_its_tag_is_not_taken_for_it(tmp_path: Path) -> None:
    root = context(tmp_path)
    image = read(root, tmp_path / "archive")
    (tmp_path / "a").mkdir()
    assert image.is_at(image.write(str(tmp_path / "a")))
    (root / "plain").write_text("planted\n")
    other = read(root, tmp_path / "other")
    (tmp_path / "b").mkdir()
    assert not image.is_at(other.write(str(tmp_path / "b")))
    for broken in (b"", b"{}", b"[]", b'{"config": {"digest": "sha256:0"}, "layers": []}'):
        assert not image.is_at(broken)


def test_what_changed_since_it_was_hashed_is_refused(tmp_path: Path) -> None:
    root = context(tmp_path)
    hashed = part(root)
    (root / "plain").write_text("later\n")
    with pytest.raises(ContextError, match="changed while it was read"):
        read(root, tmp_path / "archive", part=hashed)
    (root / "plain").unlink()
    with pytest.raises(ContextError, match="changed while it was read"):
        read(root, tmp_path / "archive", part=hashed)


def test_what_is_reached_through_a_link_is_there_once_behind_the_link(tmp_path: Path) -> None:
    root = context(tmp_path)
    hashed = Part("context", str(root), digest_context(str(root), ["deep"], copies=("link/.wh.gone",)).files)
    # buildah compares patterns with the path as it is spelled (see digest_context).
    assert [path for path in hashed.files if path.startswith(("deep", "link/"))] == ["link/.wh.gone"]
    found = entries(read(root, tmp_path / "archive", part=hashed))
    below = {name for name in found if name.startswith(("context/deep", "context/link"))}
    assert below == {"context/link", "context/deep", "context/deep/er", "context/deep/er/.wh.gone"}
    assert found["context/link"].issym()


def test_owners_count_where_they_reach_the_image(tmp_path: Path) -> None:
    root = tmp_path / "named"
    root.mkdir()
    (root / "file").write_text("x")
    files = digest_context(str(root), preserve=True).files
    found = entries(read(root, tmp_path / "archive", part=Part("named/tools", str(root), files, owners=True)))
    # The user who runs this is root in an image.
    assert found["named/tools/file"].uid == 0

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of machines share: a registry beside them, and an image to begin with."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.rootless.buildah.tests.integration.harness import Registry


@pytest.fixture(name="registry", scope="session")
def _registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry") / "registry", password=False)
    yield registry
    registry.stop()


@pytest.fixture(name="debian", scope="session")
def _debian(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The repository and tag of an image of Debian with apt, in the registry."""
    place = tmp_path_factory.mktemp("debian")
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "bookworm", str(place / "layer.tar")],
        capture_output=True, text=True, check=False)  # fmt: skip
    assert made.returncode == 0, made.stderr
    layout = oci_layout(place / "layer.tar", place / "layout")
    target = f"docker://{registry.address}/debian:12"
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:debian", target], check=True)
    return "debian:12"


def oci_layout(layer: Path, place: Path) -> Path:
    """Write an image of one layer as an OCI image layout (image-layout.md of the OCI image specification)."""
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def add(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    plain = layer.read_bytes()
    packed = add(gzip.compress(plain, 1, mtime=0), "layer.v1.tar+gzip")
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]}
    # The history is optional there, but buildah 1.28 cannot build two layers upon an image without one.
    about = {"architecture": "amd64", "os": "linux", "rootfs": rootfs, "history": [{"created_by": "mmdebstrap"}],
             "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}}  # fmt: skip
    config = add(json.dumps(about).encode(), "config.v1+json")
    manifest = add(json.dumps({"schemaVersion": 2, "config": config, "layers": [packed]}).encode(), "manifest.v1+json")
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": "debian"}}
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="ascii")
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}), encoding="ascii")
    return place

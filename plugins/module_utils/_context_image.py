# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build context as an OCI image, which is how it gets to a node: fetched once and checked by its digest.

The image has one layer with one file, an archive of the context. Unpacked into the layer, files whose names begin with
``.wh.`` would vanish (OCI image specification, layer.md), and files of mode 0600 would be closed to a build that is not
their owner on the node.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._context_archive import MODIFIED, Part, write_archive
from ansible_collections.rootless.buildah.plugins.module_utils._skopeo import digest_of

#: The file in the layer.
ARCHIVE = "build.tar"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_PIECE = 1 << 20


@dataclass(frozen=True)
class ContextImage:
    """A context that was read.

    :param archive: the path of the archive.
    :param diff_id: digest of the layer, uncompressed; whoever unpacks the layer checks it.
    :param platform: of the node that mounts the image.
    """

    archive: str
    diff_id: str
    platform: str

    @property
    def tag(self) -> str:
        """The tag that the image has in its repository; equal contexts have equal ones."""
        return self.diff_id.partition(":")[2]

    @property
    def config(self) -> bytes:
        """The image's configuration, which names what is in the layer."""
        parts = self.platform.split("/")
        platform = dict(zip(("os", "architecture", "variant"), parts))
        return _dump({**platform, "config": {}, "rootfs": {"type": "layers", "diff_ids": [self.diff_id]}})

    def is_at(self, manifest: bytes) -> bool:
        """Say whether a manifest from the registry is this image's, however its layer is compressed."""
        try:
            found = json.loads(manifest)
            return bool(found["config"]["digest"] == digest_of(self.config) and len(found["layers"]) == 1)
        except (ValueError, LookupError, TypeError):
            return False

    def write(self, directory: str) -> bytes:
        """Write a ``dir:`` directory (containers-transports(5)) and return the manifest."""
        layer = os.path.join(directory, "layer")
        with open(layer, "wb") as raw:
            hashed = _Hashing(raw)
            # Fast rather than small: most contexts travel once, over a near network.
            with gzip.GzipFile(fileobj=hashed, mode="wb", compresslevel=1, mtime=0, filename="") as packed:
                _write_layer(self.archive, packed)
        digest, size = hashed.digest(), os.path.getsize(layer)
        os.rename(layer, os.path.join(directory, digest.partition(":")[2]))
        manifest = _dump(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {"mediaType": _CONFIG, "digest": digest_of(self.config), "size": len(self.config)},
                "layers": [{"mediaType": _LAYER, "digest": digest, "size": size}],
            }
        )
        files = {"version": b"Directory Transport Version: 1.1\n", "manifest.json": manifest}
        files[digest_of(self.config).partition(":")[2]] = self.config
        for name, data in files.items():
            with open(os.path.join(directory, name), "wb") as file:
                file.write(data)
        return manifest


def read_context(parts: Sequence[Part], texts: Mapping[str, bytes], archive: str, platform: str) -> ContextImage:
    """Read a context into an archive.

    :param texts: further files, such as the Containerfile.
    :param archive: the path of the file that is written.
    :raises ContextError: when something is not what was hashed.
    """
    with open(archive, "wb") as file:
        write_archive(parts, texts, file)
    nowhere = _Hashing(None)
    _write_layer(archive, nowhere)
    return ContextImage(archive, nowhere.digest(), platform)


class _Hashing:
    """A file that hashes what is written to it and passes it on."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._made = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._made.update(data)
        if self._file is not None:
            self._file.write(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def digest(self) -> str:
        return "sha256:" + self._made.hexdigest()


def _write_layer(archive: str, file: Any) -> None:
    """Write a tar archive that holds the archive."""
    entry = tarfile.TarInfo(ARCHIVE)
    entry.size, entry.mode, entry.mtime = os.path.getsize(archive), 0o444, MODIFIED
    file.write(entry.tobuf(tarfile.PAX_FORMAT))
    with open(archive, "rb") as source:
        shutil.copyfileobj(source, file, _PIECE)
    file.write(b"\0" * (-entry.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE))


def _dump(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

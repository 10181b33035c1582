# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build records at a registry: OCI referrers through the referrers tag schema.

OCI distribution specification 1.1, "Unavailable Referrers API": an index under the tag ``sha256-<hex>`` lists the
artifacts that refer to an image. The tag is kept at registries with a referrers API too, because skopeo, the one door
to registries here, reads tags only; such registries list the record by its ``subject`` besides.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Mapping, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, RegistryError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._plan import RecordRef
from ansible_collections.rootless.buildah.plugins.module_utils._record import (
    MEDIA_TYPE,
    BuildRecord,
    dump,
    read_statement,
)
from ansible_collections.rootless.buildah.plugins.module_utils._skopeo import Skopeo, digest_of

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
KEY_ANNOTATION = "rootless.buildah.build-key"
SIGNED_ANNOTATION = "rootless.buildah.signed-by"


def index_tag(image: ImageName, digest: str) -> ImageName:
    """Return the name under which the referrers of a digest are listed."""
    return image.with_tag(digest.replace(":", "-", 1))


def own_tag(image: ImageName, digest: str) -> ImageName:
    """Return the name of a list of our own, for an index that a skopeo cannot write without harm to other tools."""
    index = index_tag(image, digest)
    return index.with_tag(f"{index.tag}.rootless-buildah")


def read_index(data: Optional[bytes]) -> tuple[list[dict[str, Any]], tuple[RecordRef, ...]]:
    """Return the entries of a referrers' index and, among them, ours, the newest last."""
    try:
        entries = [entry for entry in json.loads(data or b"{}").get("manifests", []) if isinstance(entry, dict)]
    except (ValueError, AttributeError, TypeError):
        entries = []
    return entries, tuple(ref for ref in (_ref(entry) for entry in entries) if ref)


def _ref(entry: Mapping[str, Any]) -> Optional[RecordRef]:
    """Return what an entry of an index announces, or None when it is not ours; anybody may have written it."""
    annotations, digest = entry.get("annotations"), entry.get("digest")
    if not isinstance(annotations, dict) or not isinstance(annotations.get(KEY_ANNOTATION), str):
        return None
    if not isinstance(digest, str):
        return None
    return RecordRef(annotations[KEY_ANNOTATION], digest, annotations.get(SIGNED_ANNOTATION))


class Referrers:
    """Reads and writes the build records of images at a registry.

    :param directory: gives a new empty directory for each transfer.
    :param policy: a signature policy that records must satisfy before they are believed; None believes all.
    """

    def __init__(self, skopeo: Skopeo, directory: Any, policy: Optional[str] = None) -> None:
        self._skopeo = skopeo
        self._directory = directory
        self._policy = policy

    def announced(self, image: ImageName, digest: str) -> tuple[RecordRef, ...]:
        """Return what is announced about an image; with a policy only what was verified."""
        entries, refs = read_index(self._skopeo.manifest(index_tag(image, digest)))
        if entries and not refs:
            refs = read_index(self._skopeo.manifest(own_tag(image, digest)))[1]
        if self._policy is None:
            return refs
        return tuple(ref for ref in refs if self._verified(image, digest, ref))

    def _verified(self, image: ImageName, digest: str, ref: RecordRef) -> bool:
        record = self.read(image, digest, ref)
        return record is not None and record.key == ref.key

    def read(self, image: ImageName, digest: str, ref: RecordRef) -> Optional[BuildRecord]:
        """Return a record of the image ``digest``, or None when it cannot be had, read or believed.

        A record of another image, listed where it does not belong, is not believed, however well it is signed.
        """
        directory = self._directory()
        try:
            self._skopeo.download(image.with_digest(ref.digest), directory, policy=self._policy)
            with open(os.path.join(directory, "manifest.json"), "rb") as file:
                layer = json.load(file)["layers"][0]["digest"].partition(":")[2]
            with open(os.path.join(directory, layer), "rb") as file:
                return read_statement(file.read(), digest)
        except (BuildahError, OSError, ValueError, LookupError, TypeError, AttributeError):
            # Whatever is wrong with a record, it is worth no more than none: the image is built again.
            return None

    def write(
        self, image: ImageName, digest: str, subject: bytes, record: BuildRecord, sign_by: Optional[str] = None
    ) -> None:
        """Store a record of an image and list it.

        :param subject: the image's manifest or index as the registry holds it.
        """
        manifest = self._upload_record(image, digest, subject, record, sign_by)
        annotations = {KEY_ANNOTATION: record.key, **({SIGNED_ANNOTATION: sign_by} if sign_by else {})}
        ours = {
            "mediaType": _MANIFEST,
            "artifactType": MEDIA_TYPE,
            "digest": digest_of(manifest),
            "size": len(manifest),
            "annotations": annotations,
        }
        tag = index_tag(image, digest)
        others = _without(ours, self._skopeo.manifest(tag))
        if self._list(tag, [*others, ours]):
            return
        # This skopeo loses artifactType. Ours can be told by the annotation; those of others need it.
        del ours["artifactType"]
        if any("artifactType" in entry for entry in others):
            tag = own_tag(image, digest)
            others = _without(ours, self._skopeo.manifest(tag))
        if not self._list(tag, [*others, ours]):
            raise BuildahError(f"the record of {image} cannot be listed", "skopeo rewrites the list", "Upgrade skopeo")

    def _list(self, tag: ImageName, entries: list[dict[str, Any]]) -> bool:
        """Write an index; return False, with nothing written, when skopeo would change it on the way."""
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}
        try:
            self._skopeo.upload_index(self._layout(json.dumps(index, separators=(",", ":")).encode()), tag)
        except RegistryError as error:
            if "cannot modify it" not in error.stderr:
                raise
            return False
        return True

    def _upload_record(
        self, image: ImageName, digest: str, subject: bytes, record: BuildRecord, sign_by: Optional[str]
    ) -> bytes:
        statement = dump(record.statement(image.repository, digest))
        descriptor = _descriptor(MEDIA_TYPE, statement)
        kind = json.loads(subject).get("mediaType", _MANIFEST)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "artifactType": MEDIA_TYPE,
                "config": _descriptor(_EMPTY, b"{}"),
                "layers": [descriptor],
                "subject": {"mediaType": kind, "digest": digest, "size": len(subject)},
                "annotations": {KEY_ANNOTATION: record.key},
            },
            separators=(",", ":"),
        ).encode()
        directory = self._layout(manifest, statement, b"{}")
        self._skopeo.upload(directory, image.with_digest(digest_of(manifest)), sign_by=sign_by)
        return manifest

    def _layout(self, manifest: bytes, *blobs: bytes) -> str:
        """Write a ``dir:`` directory (containers-transports(5))."""
        directory = str(self._directory())
        files = {"version": b"Directory Transport Version: 1.1\n", "manifest.json": manifest}
        files.update({hashlib.sha256(blob).hexdigest(): blob for blob in blobs})
        for name, data in files.items():
            with open(os.path.join(directory, name), "wb") as file:
                file.write(data)
        return directory


def _without(ours: Mapping[str, Any], index: Optional[bytes]) -> list[dict[str, Any]]:
    """Return the entries of an index but those that ``ours`` replaces: the same record, or an older one of its key."""
    entries, refs = read_index(index)
    gone = [ref.digest for ref in refs if ref.key == ours["annotations"][KEY_ANNOTATION]] + [ours["digest"]]
    return [entry for entry in entries if entry.get("digest") not in gone]


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

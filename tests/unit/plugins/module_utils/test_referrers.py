# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records at a registry, as the OCI distribution specification 1.1 wants them: "Referrers Tag Schema"."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Callable, Optional, cast

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, RegistryError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._key import Variant
from ansible_collections.rootless.buildah.plugins.module_utils._plan import RecordRef
from ansible_collections.rootless.buildah.plugins.module_utils._record import BuildRecord
from ansible_collections.rootless.buildah.plugins.module_utils._referrers import (
    Referrers,
    index_tag,
    own_tag,
    read_index,
)
from ansible_collections.rootless.buildah.plugins.module_utils._skopeo import Skopeo

IN_TOTO = "application/vnd.in-toto+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
KEY = "rootless.buildah.build-key"
SIGNED = "rootless.buildah.signed-by"
IMAGE = ImageName.parse("registry.example.com:5000/team/app:1.0")
SUBJECT = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}).encode()
HEX = hashlib.sha256(SUBJECT).hexdigest()
DIGEST = f"sha256:{HEX}"
LIST = f"registry.example.com:5000/team/app:sha256-{HEX}"
# As cosign lists a signature.
FOREIGN = {
    "mediaType": MANIFEST,
    "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json",
    "digest": "sha256:" + "f" * 64,
    "size": 7,
    "annotations": {"org.opencontainers.image.created": "2026-01-02T03:04:05Z"},
}
# What skopeo 1.9.3 says when it would lose artifactType (copy --preserve-digests).
CANNOT_MODIFY = (
    "Manifest list must be converted to type application/vnd.oci.image.index.v1+json to be written to destination, but "
    "we cannot modify it: Instructed to preserve digests"
)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def record(key: str = "one") -> BuildRecord:
    one = Variant(f"sha256:{key}", {}, {})
    return BuildRecord(f"sha256:{key}", {"linux/amd64": one}, started="2026-01-02T03:04:05Z")


class Registry:
    """Stands for skopeo and a registry behind it, whose content it shows.

    :param loses: names the indexes that this skopeo cannot write as they are.
    """

    def __init__(self, loses: Callable[[dict[str, Any]], bool] = lambda _entry: False) -> None:
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.signed: list[tuple[str, Optional[str]]] = []
        self.policies: list[Optional[str]] = []
        self._loses = loses

    def manifest(self, image: ImageName) -> Optional[bytes]:
        return self.manifests.get(str(image))

    def upload(self, directory: str, image: ImageName, *, sign_by: Optional[str] = None) -> None:
        data = self._read(directory)
        # A registry refuses a manifest under another's digest, and one whose blobs it does not have.
        assert image.digest == digest_of(data)
        manifest = json.loads(data)
        for descriptor in (manifest["config"], *manifest["layers"]):
            blob = (Path(directory) / descriptor["digest"].partition(":")[2]).read_bytes()
            assert (digest_of(blob), len(blob)) == (descriptor["digest"], descriptor["size"])
            self.blobs[descriptor["digest"]] = blob
        self.manifests[str(image)] = data
        self.signed.append((str(image), sign_by))

    def upload_index(self, directory: str, image: ImageName) -> None:
        data = self._read(directory)
        if any(self._loses(entry) for entry in json.loads(data)["manifests"]):
            raise RegistryError("other", "cannot write", ["skopeo"], 1, "", CANNOT_MODIFY)
        self.manifests[str(image)] = data

    def download(self, image: ImageName, directory: str, *, policy: Optional[str] = None) -> None:
        self.policies.append(policy)
        data = self.manifests.get(str(image))
        if data is None:
            raise RegistryError("not_found", "cannot read", ["skopeo"], 1)
        place = Path(directory)
        (place / "manifest.json").write_bytes(data)
        for layer in json.loads(data)["layers"]:
            (place / layer["digest"].partition(":")[2]).write_bytes(self.blobs[layer["digest"]])

    @staticmethod
    def _read(directory: str) -> bytes:
        # containers-transports(5), dir: "an image [...] as individual files"; skopeo wants to see the version.
        assert (Path(directory) / "version").read_text() == "Directory Transport Version: 1.1\n"
        return (Path(directory) / "manifest.json").read_bytes()

    def listed(self, tag: str = LIST) -> list[dict[str, Any]]:
        index = json.loads(self.manifests[tag])
        assert index["schemaVersion"] == 2 and index["mediaType"] == INDEX
        found: list[dict[str, Any]] = index["manifests"]
        return found

    def put_list(self, *entries: dict[str, Any], tag: str = LIST) -> None:
        self.manifests[tag] = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


class Directories:
    """Gives new empty directories."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count = 0

    def __call__(self) -> str:
        self._count += 1
        path = self._root / str(self._count)
        path.mkdir()
        return str(path)


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    return Directories(tmp_path)


def referrers(registry: Registry, directories: Directories, policy: Optional[str] = None) -> Referrers:
    return Referrers(cast(Skopeo, registry), directories, policy)


class TestNames:
    def test_the_tag_of_the_specification(self) -> None:
        # "the digest [...] with the colon replaced by a dash": sha256-<hex>
        assert str(index_tag(IMAGE, DIGEST)) == LIST

    def test_the_tag_and_the_digest_of_the_image_do_not_matter(self) -> None:
        for image in (IMAGE.with_tag("other"), IMAGE.with_digest("sha256:" + "0" * 64)):
            assert str(index_tag(image, DIGEST)) == LIST

    def test_our_own_list_has_a_name_that_is_a_tag_and_nobody_elses(self) -> None:
        name = str(own_tag(IMAGE, DIGEST))
        assert name == LIST + ".rootless-buildah" and ImageName.parse(name).tag


class TestReadIndex:
    def test_ours_are_told_by_their_annotation_in_the_order_of_the_list(self) -> None:
        ours = [
            {"digest": "sha256:1", "annotations": {KEY: "k1"}},
            {"digest": "sha256:2", "annotations": {KEY: "k2", SIGNED: "me@example.com"}},
        ]
        entries, refs = read_index(json.dumps({"manifests": [ours[0], FOREIGN, ours[1]]}).encode())
        assert entries == [ours[0], FOREIGN, ours[1]]
        assert refs == (RecordRef("k1", "sha256:1", None), RecordRef("k2", "sha256:2", "me@example.com"))

    @pytest.mark.parametrize("data", [
        None, b"", b"{", b"[]", b"null", b"7", b"{}", b'{"manifests": []}', b'{"manifests": null}', b'{"manifests": 7}',
        b'{"manifests": ["x", null]}',
    ])
    def test_what_lists_nothing(self, data: Optional[bytes]) -> None:
        assert read_index(data) == ([], ())

    @pytest.mark.parametrize("entry", [
        {}, {"annotations": None}, {"annotations": KEY}, {"annotations": [KEY]}, {"annotations": {KEY: "k"}},
        {"digest": 7, "annotations": {KEY: "k"}}, {"digest": "sha256:1", "annotations": {KEY: None}},
    ])
    def test_a_malformed_entry_is_kept_and_not_ours(self, entry: dict[str, Any]) -> None:
        assert read_index(json.dumps({"manifests": [entry]}).encode()) == ([entry], ())


class TestWrite:
    def test_a_record_is_an_artifact_whose_subject_is_the_image(self, directories: Directories) -> None:
        registry = Registry()
        referrers(registry, directories).write(IMAGE, DIGEST, SUBJECT, record())
        (entry,) = registry.listed()
        data = registry.manifests[f"{IMAGE.repository}@{entry['digest']}"]
        assert (entry["mediaType"], entry["size"]) == (MANIFEST, len(data))
        manifest = json.loads(data)
        # image specification 1.1, "Guidelines for Artifact Usage", and distribution specification, "Pushing Manifests
        # with Subject"
        assert manifest["schemaVersion"] == 2 and manifest["mediaType"] == MANIFEST
        assert manifest["artifactType"] == entry["artifactType"] == IN_TOTO
        assert manifest["config"] == {
            "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2}
        assert manifest["subject"] == {"mediaType": MANIFEST, "digest": DIGEST, "size": len(SUBJECT)}
        assert manifest["annotations"] == entry["annotations"] == {KEY: "sha256:one"}
        (layer,) = manifest["layers"]
        statement = json.loads(registry.blobs[layer["digest"]])
        assert layer["mediaType"] == IN_TOTO
        assert statement["subject"] == [{"name": IMAGE.repository, "digest": {"sha256": HEX}}]

    def test_the_subject_may_be_an_index_or_of_docker(self, directories: Directories) -> None:
        for kind in (INDEX, "application/vnd.docker.distribution.manifest.v2+json"):
            registry, subject = Registry(), json.dumps({"mediaType": kind}).encode()
            referrers(registry, directories).write(IMAGE, digest_of(subject), subject, record())
            (data,) = (data for name, data in registry.manifests.items() if "@" in name)
            assert json.loads(data)["subject"]["mediaType"] == kind

    def test_a_subject_that_does_not_say_what_it_is_is_an_oci_manifest(self, directories: Directories) -> None:
        # mediaType is a "SHOULD" of the image specification, which has no other manifest without it but the index.
        registry = Registry()
        referrers(registry, directories).write(IMAGE, digest_of(b"{}"), b"{}", record())
        (data,) = (data for name, data in registry.manifests.items() if "@" in name)
        assert json.loads(data)["subject"] == {"mediaType": MANIFEST, "digest": digest_of(b"{}"), "size": 2}

    @pytest.mark.parametrize("entry", [FOREIGN, {**FOREIGN, "annotations": None}, {**FOREIGN, "digest": [KEY]}])
    def test_entries_of_others_are_kept_as_they_are(self, directories: Directories, entry: dict[str, Any]) -> None:
        registry = Registry()
        registry.put_list(entry)
        referrers(registry, directories).write(IMAGE, DIGEST, SUBJECT, record())
        assert registry.listed()[0] == entry and len(registry.listed()) == 2

    def test_the_same_record_is_listed_once(self, directories: Directories) -> None:
        registry = Registry()
        for _again in range(2):
            referrers(registry, directories).write(IMAGE, DIGEST, SUBJECT, record())
        assert len(registry.listed()) == 1

    def test_a_new_record_of_a_key_takes_the_place_of_the_older_one(self, directories: Directories) -> None:
        registry = Registry()
        one = referrers(registry, directories)
        one.write(IMAGE, DIGEST, SUBJECT, record())
        first = registry.listed()[0]["digest"]
        one.write(IMAGE, DIGEST, SUBJECT, BuildRecord(**{**vars(record()), "started": "2027-01-01T00:00:00Z"}))
        assert [entry["digest"] for entry in registry.listed()] != [first] and len(registry.listed()) == 1

    def test_records_of_other_keys_stay_and_the_newest_is_last(self, directories: Directories) -> None:
        registry = Registry()
        one = referrers(registry, directories)
        for key in ("one", "two", "one"):
            one.write(IMAGE, DIGEST, SUBJECT, record(key))
        assert [ref.key for ref in one.announced(IMAGE, DIGEST)] == ["sha256:two", "sha256:one"]

    def test_a_signature_is_made_of_the_record_and_announced(self, directories: Directories) -> None:
        registry = Registry()
        one = referrers(registry, directories)
        one.write(IMAGE, DIGEST, SUBJECT, record(), sign_by="me@example.com")
        (entry,) = registry.listed()
        assert entry["annotations"][SIGNED] == "me@example.com"
        assert registry.signed == [(f"{IMAGE.repository}@{entry['digest']}", "me@example.com")]
        assert one.announced(IMAGE, DIGEST) == (RecordRef("sha256:one", entry["digest"], "me@example.com"),)


class TestOldSkopeo:
    """skopeo 1.9 cannot write artifactType into an index: ours can be told without it, entries of others cannot."""

    @staticmethod
    def loses(entry: dict[str, Any]) -> bool:
        return "artifactType" in entry

    def test_ours_goes_without_it(self, directories: Directories) -> None:
        registry = Registry(self.loses)
        plain = {"mediaType": MANIFEST, "digest": "sha256:" + "e" * 64, "size": 7}
        registry.put_list(plain)
        referrers(registry, directories).write(IMAGE, DIGEST, SUBJECT, record())
        kept, ours = registry.listed()
        assert kept == plain and "artifactType" not in ours and ours["annotations"][KEY] == "sha256:one"

    def test_the_record_itself_tells_its_type(self, directories: Directories) -> None:
        registry = Registry(self.loses)
        referrers(registry, directories).write(IMAGE, DIGEST, SUBJECT, record())
        data = registry.manifests[f"{IMAGE.repository}@{registry.listed()[0]['digest']}"]
        assert json.loads(data)["artifactType"] == IN_TOTO

    def test_a_list_that_names_types_of_others_is_left_alone(self, directories: Directories) -> None:
        registry = Registry(self.loses)
        registry.put_list(FOREIGN)
        one = referrers(registry, directories)
        for key in ("one", "two"):
            one.write(IMAGE, DIGEST, SUBJECT, record(key))
        assert registry.listed() == [FOREIGN]
        assert len(registry.listed(LIST + ".rootless-buildah")) == 2
        assert [ref.key for ref in one.announced(IMAGE, DIGEST)] == ["sha256:one", "sha256:two"]

    def test_a_skopeo_that_writes_no_list_at_all_is_an_error(self, directories: Directories) -> None:
        with pytest.raises(BuildahError) as raised:
            referrers(Registry(lambda _entry: True), directories).write(IMAGE, DIGEST, SUBJECT, record())
        assert raised.value.remedy == "Upgrade skopeo"

    def test_another_refusal_is_not_taken_for_this(self, directories: Directories) -> None:
        class Denying(Registry):
            def upload_index(self, directory: str, image: ImageName) -> None:
                raise RegistryError("denied", "cannot write", ["skopeo"], 1, "", "denied")

        with pytest.raises(RegistryError) as raised:
            referrers(Denying(), directories).write(IMAGE, DIGEST, SUBJECT, record())
        assert raised.value.kind == "denied"


class TestAnnounced:
    def test_nothing_where_nothing_is_listed(self, directories: Directories) -> None:
        assert referrers(Registry(), directories).announced(IMAGE, DIGEST) == ()

    def test_nothing_where_only_others_are_listed(self, directories: Directories) -> None:
        registry = Registry()
        registry.put_list(FOREIGN)
        assert referrers(registry, directories).announced(IMAGE, DIGEST) == ()

    def test_with_a_policy_only_what_satisfies_it(self, directories: Directories) -> None:
        class Unsigned(Registry):
            def download(self, image: ImageName, directory: str, *, policy: Optional[str] = None) -> None:
                super().download(image, directory, policy=policy)
                raise RegistryError("other", "cannot read", ["skopeo"], 1, "", "A signature was required, but none")

        good, bad = Registry(), Unsigned()
        for registry in (good, bad):
            referrers(registry, directories).write(IMAGE, DIGEST, SUBJECT, record())
            assert len(referrers(registry, directories).announced(IMAGE, DIGEST)) == 1
        assert len(referrers(good, directories, "/policy.json").announced(IMAGE, DIGEST)) == 1
        assert referrers(bad, directories, "/policy.json").announced(IMAGE, DIGEST) == ()
        assert good.policies == bad.policies == ["/policy.json"]

    def test_with_a_policy_the_announced_key_must_be_the_records(self, directories: Directories) -> None:
        registry = Registry()
        referrers(registry, directories).write(IMAGE, DIGEST, SUBJECT, record())
        (entry,) = registry.listed()
        registry.put_list({**entry, "annotations": {KEY: "sha256:another"}})
        assert referrers(registry, directories, "/policy.json").announced(IMAGE, DIGEST) == ()


class TestRead:
    def written(self, registry: Registry, directories: Directories) -> RecordRef:
        one = referrers(registry, directories)
        one.write(IMAGE, DIGEST, SUBJECT, record())
        return one.announced(IMAGE, DIGEST)[0]

    def test_what_was_written_is_read(self, directories: Directories) -> None:
        registry = Registry()
        ref = self.written(registry, directories)
        assert referrers(registry, directories).read(IMAGE, DIGEST, ref) == record()

    def test_a_record_of_another_image_is_not_believed(self, directories: Directories) -> None:
        registry = Registry()
        ref = self.written(registry, directories)
        assert referrers(registry, directories).read(IMAGE, "sha256:" + "0" * 64, ref) is None

    def test_a_record_that_is_gone_is_none(self, directories: Directories) -> None:
        missing = RecordRef("k", "sha256:" + "0" * 64, None)
        assert referrers(Registry(), directories).read(IMAGE, DIGEST, missing) is None

    @pytest.mark.parametrize("manifest", [
        b'{"layers": []}', b'{"layers": [{"digest": 7}]}', b'{"layers": [{}]}', b"[]", b"{", b'{"layers": null}',
        b'{"layers": [{"digest": "sha256:none"}]}',
    ])
    def test_what_is_no_record_is_none(self, directories: Directories, manifest: bytes) -> None:
        class Odd(Registry):
            def download(self, image: ImageName, directory: str, *, policy: Optional[str] = None) -> None:
                (Path(directory) / "manifest.json").write_bytes(manifest)

        ref = RecordRef("k", "sha256:" + "0" * 64, None)
        assert referrers(Odd(), directories).read(IMAGE, DIGEST, ref) is None

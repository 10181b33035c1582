# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of options need: images of their own to build, and a look at the result that no tool under test gives."""

from __future__ import annotations

import io
import json
import tarfile
from functools import cached_property
from pathlib import Path
from typing import Any, Mapping

from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry


class ServedImage:
    """An image as a registry serves it, read over plain HTTP.

    :param name: with registry and tag, or digest.
    """

    def __init__(self, registry: Registry, name: str) -> None:
        rest = name.partition("/")[2]
        self.repository, _mark, self.reference = rest.partition("@") if "@" in rest else rest.rpartition(":")
        self._registry = registry

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest or index."""
        return self._registry.manifest(self.repository, self.reference)

    @property
    def digest(self) -> str:
        """The digest that the registry tells."""
        found = self._registry.digest(self.repository, self.reference)
        assert found, f"{self.repository}:{self.reference} is not there"
        return found

    @cached_property
    def config(self) -> dict[str, Any]:
        """The image configuration."""
        return dict(json.loads(self._blob(self.manifest["config"]["digest"])))

    @property
    def media_types(self) -> list[str]:
        """The media types of the layers, lowest first."""
        return [layer["mediaType"] for layer in self.manifest["layers"]]

    def child(self, architecture: str) -> ServedImage:
        """Return an index's image for an architecture."""
        digest = next(
            entry["digest"] for entry in self.manifest["manifests"] if entry["platform"]["architecture"] == architecture
        )
        return ServedImage(self._registry, f"{self._registry.address}/{self.repository}@{digest}")

    @cached_property
    def _layers(self) -> list[tarfile.TarFile]:
        """The layers, uppermost first."""
        blobs = [self._blob(layer["digest"]) for layer in reversed(self.manifest["layers"])]
        return [tarfile.open(fileobj=io.BytesIO(blob)) for blob in blobs]

    def member(self, path: str) -> tarfile.TarInfo:
        """Return what the uppermost layer that holds a path says of it."""
        return self._find(path)[1]

    def file(self, path: str) -> str:
        """Return a file's content."""
        layer, member = self._find(path)
        stream = layer.extractfile(member)
        assert stream is not None, f"{path} is no file"
        return stream.read().decode()

    def holds(self, path: str) -> bool:
        """Whether any layer has a path."""
        return any(path.strip("/") in layer.getnames() for layer in self._layers)

    @property
    def names(self) -> list[list[str]]:
        """The paths in each layer, the uppermost layer first."""
        return [layer.getnames() for layer in self._layers]

    def _find(self, path: str) -> tuple[tarfile.TarFile, tarfile.TarInfo]:
        for layer in self._layers:
            if path.strip("/") in layer.getnames():
                return layer, layer.getmember(path.strip("/"))
        raise AssertionError(f"{path} is in no layer")

    def _blob(self, digest: str) -> bytes:
        status, body, _headers = self._registry.request(f"{self.repository}/blobs/{digest}")
        assert status == 200, (status, body)
        return body


class Workshop:
    """One test's own image, build context and repository.

    :param token: what no other test's names begin with.
    """

    def __init__(self, builder: Builder, registry: Registry, base: str, token: str) -> None:
        self.builder = builder
        self.registry = registry
        self.base = base
        self.token = token
        self.name = f"{registry.address}/{token}:1"
        self.path = builder.home / token
        builder.run(["mkdir", "-p", str(self.path)])
        self.options: dict[str, Any] = {"name": self.name, "push": True, **registry.login}

    def files(self, directory: str = "context", /, **files: str | bytes) -> str:
        """Write files into a directory of this test and return its path; ``__`` in a name stands for a dot."""
        named = {name.replace("__", "."): content for name, content in files.items()}
        for name, content in named.items():
            self.builder.write(f"{self.token}/{directory}/{name}", content)
        return str(self.path / directory)

    def file(self, name: str, content: str | bytes, mode: int = 0o644) -> str:
        """Write a file that is in no context and return its path."""
        return str(self.builder.write(f"{self.token}/{name}", content, mode))

    def call(
        self,
        *,
        builder: Builder | None = None,
        check: bool = False,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Run buildah_build with this test's image and these options, come what may; None takes an option away."""
        user = builder or self.builder
        given = {name: value for name, value in {**self.options, **options}.items() if value is not None}
        return user.call("buildah_build", given, check=check, env=environment)

    def build(self, **options: Any) -> dict[str, Any]:
        """Run buildah_build and expect that it does not fail."""
        result = self.call(**options)
        assert not result["failed"], result
        return result

    def refused(self, **options: Any) -> dict[str, Any]:
        """Run buildah_build and expect that it fails with a message, not with a traceback."""
        result = self.call(**options)
        assert result["failed"] and "Traceback" not in result["msg"], result
        return result

    def image(self, name: str | None = None) -> ServedImage:
        """Return this test's image, or another, as it is at the registry now."""
        return ServedImage(self.registry, name or self.name)

    def base_image(self, name: str, content: str, *instructions: str) -> str:
        """Push an image of plain buildah, its file ``/marker`` holding ``content``, and return its name."""
        full = f"{self.registry.address}/{self.token}/{name}:1"
        recipe = self.file(
            f"bases/{name}/Containerfile",
            "\n".join([f"FROM {self.base}", f"RUN echo {content} >/marker", *instructions]) + "\n",
        )
        self.push_by_hand(full, f"buildah build -q --pull=never --no-cache -f {recipe} {Path(recipe).parent}")
        return full

    def push_by_hand(self, name: str, build: str) -> None:
        """Push what a shell command builds and prints the id of; the module learns nothing of it."""
        login = f"--creds {self.registry.username}:{self.registry.password} --tls-verify=false"
        self.builder.sh(
            f"buildah inspect --type image {self.base} >/dev/null 2>&1 || "
            f"buildah pull -q {login} {self.base}\n"
            f"buildah push -q {login} $({build}) docker://{name}"
        )


def without_destination(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a result's reasons without the place they were found at."""
    return [{name: value for name, value in reason.items() if name != "destination"} for reason in result["reasons"]]


def make_signing_key(builder: Builder) -> str:
    """Make a GPG key without a passphrase for a builder user and return its fingerprint."""
    builder.run(
        [
            "gpg",
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--quick-generate-key",
            "tests <tests@example.test>",
            "ed25519",
            "sign",
            "never",
        ]
    )
    listed = builder.run(["gpg", "--batch", "--with-colons", "--list-keys", "tests@example.test"]).stdout
    builder.run(["sh", "-c", "gpg --batch --armor --export tests@example.test >~/signer.asc"])
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


def signing_policy(shop: Workshop) -> str:
    """Return a policy that believes only what the builder user's key has signed."""
    rule = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(shop.builder.home / "signer.asc")}
    return shop.file("signed.json", json.dumps({"default": [rule]}))


def recipe(shop: Workshop, *instructions: str, base: str | None = None) -> dict[str, Any]:
    """Return options of a Containerfile without a context, of which no other test has the equal."""
    return {"containerfile_content": "\n".join([f"# {shop.token}", f"FROM {base or shop.base}", *instructions]) + "\n"}


def auth_file(shop: Workshop) -> str:
    """Return the registry's login as a file."""
    return shop.file("auth.json", shop.registry.auth_file, 0o600)

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door to skopeo: everything that is said to registries apart from pulls and pushes of builds."""

from __future__ import annotations

import hashlib
import json
from typing import Optional

from ansible_collections.rootless.buildah.plugins.module_utils._errors import CommandError, RegistryError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._patience import Patience
from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner
from ansible_collections.rootless.buildah.plugins.module_utils._registry import Access, classify, explained


class Skopeo:
    """Calls skopeo.

    :param patience: with registries that are out of order for a moment.
    """

    def __init__(self, runner: Runner, access: Access, patience: Patience, program: str = "skopeo") -> None:
        self._runner = runner
        self._access = access
        self._patience = patience
        # Unlike buildah it does not know the variable.
        conf = runner.environment.get("CONTAINERS_REGISTRIES_CONF")
        self._program = [program, *([f"--registries-conf={conf}"] if conf else [])]

    def manifest(self, image: ImageName) -> Optional[bytes]:
        """Return the manifest's or index's bytes as the registry serves them, or None when it has no such image.

        :raises RegistryError: for every other refusal.
        """
        argv = [*self._program, "inspect", "--raw", *self._access.flags(), f"docker://{image}"]
        done = self._patience.call(lambda: self._runner.run(argv, check=False), image)
        if done.rc == 0:
            return self._checked(done.stdout, image, argv)
        if classify(done.stderr, image) == "not_found":
            return None
        raise explained(CommandError("", argv, done.rc, done.text, done.stderr), image, "look up", self._access)

    @staticmethod
    def _checked(data: bytes, image: ImageName, argv: list[str]) -> bytes:
        """Return what a registry served for a manifest, if it is one."""
        try:
            if "schemaVersion" in json.loads(data):
                return data
        except (ValueError, TypeError):
            pass  # What is no JSON is no manifest either.
        raise RegistryError(
            "other",
            f"cannot look up {image}",
            argv,
            0,
            data.decode("utf-8", "replace")[:1000],
            cause=f"{image.host} answers with no manifest",
            remedy="Check the address; something else than a registry may answer there",
        )

    def config(self, image: ImageName, platform: str) -> bytes:
        """Return the image configuration's bytes; of an index those of the image for a platform."""
        names = ("os", "arch", "variant")
        chosen = [f"--override-{name}={value}" for name, value in zip(names, platform.split("/"))]
        argv = [*chosen, "inspect", "--raw", "--config", *self._access.flags(), f"docker://{image}"]
        return self._call(argv, image, "read")

    def copy_between(self, source: ImageName, target: ImageName, *, sign_by: Optional[str] = None) -> None:
        """Copy an image with everything it lists and its digest unchanged from one name to another."""
        argv = [
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
            *self._access.flags("src-"),
            *self._access.flags("dest-"),
        ]
        argv += [f"--sign-by={sign_by}"] if sign_by else []
        self._call([*argv, f"docker://{source}", f"docker://{target}"], target, "push to", source)

    def download(self, image: ImageName, directory: str, *, policy: Optional[str] = None) -> None:
        """Copy one image as a ``dir:`` directory; ``policy`` is the signature policy that it must satisfy."""
        options = [f"--policy={policy}"] if policy else []
        self._call(
            [*options, "copy", "--quiet", *self._access.flags("src-"), f"docker://{image}", f"dir:{directory}"],
            image,
            "read",
        )

    def upload(self, directory: str, image: ImageName, *, sign_by: Optional[str] = None) -> None:
        """Copy a ``dir:`` directory to a registry."""
        argv = ["copy", "--quiet", "--preserve-digests", *self._access.flags("dest-")]
        argv += [f"--sign-by={sign_by}"] if sign_by else []
        self._call([*argv, f"dir:{directory}", f"docker://{image}"], image, "write to")

    def upload_index(self, directory: str, image: ImageName) -> None:
        """Copy the index of a ``dir:`` directory to a registry, byte for byte and without the images that it lists."""
        argv = ["copy", "--quiet", "--multi-arch=index-only", "--preserve-digests"]
        self._call([*argv, *self._access.flags("dest-"), f"dir:{directory}", f"docker://{image}"], image, "write to")

    def _call(self, arguments: list[str], image: ImageName, action: str, *others: ImageName) -> bytes:
        argv = [*self._program, *arguments]
        done = self._patience.call(lambda: self._runner.run(argv, check=False), image, *others)
        if done.rc != 0:
            raise explained(
                CommandError("", argv, done.rc, done.text, done.stderr), image, action, self._access, *others
            )
        return done.stdout


def digest_of(manifest: bytes) -> str:
    """Return the digest of a manifest: that of its bytes (OCI image specification, descriptor.md)."""
    return "sha256:" + hashlib.sha256(manifest).hexdigest()

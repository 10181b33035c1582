# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of images. Pure: touches neither Ansible nor processes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Optional

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

# The grammar is that of the OCI distribution specification 1.1, "Pulling manifests", and of the
# reference package that containers/image uses: [host[:port]/]path[:tag][@digest].
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?\Z")
# The reference package counts registry and path, not the tag.
_LONGEST = 255

LOCAL_HOST = "localhost"


@dataclass(frozen=True)
class ImageName:
    """One image reference.

    ``host`` is empty for a short name. ``localhost`` without a port names images that exist in a
    local image store only, as buildah itself does.
    """

    host: str
    path: str
    tag: Optional[str] = None
    digest: Optional[str] = None

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Read a reference; raise :class:`InputError` when it is none.

        ``docker://`` in front is accepted, because that is how users of skopeo write it.
        """
        rest = text[len("docker://") :] if text.startswith("docker://") else text
        digest: Optional[str] = None
        tag: Optional[str] = None
        if "@" in rest:
            rest, digest = rest.split("@", 1)
            if not _DIGEST.match(digest):
                raise InputError(
                    f"{text!r} is no image name",
                    f"{digest!r} is no sha256 digest",
                    "Write the digest as sha256: and 64 hexadecimal digits",
                )
        head, colon, last = rest.rpartition(":")
        if colon and "/" not in last:
            rest, tag = head, last
            if not _TAG.match(tag):
                raise InputError(
                    f"{text!r} is no image name",
                    f"{tag!r} is no tag",
                    "A tag has at most 128 letters, digits, underscores, dots and dashes",
                )
        host, slash, path = rest.partition("/")
        if not slash or not ("." in host or ":" in host or host == LOCAL_HOST):
            host, path = "", rest
        if (host and not _HOST.match(host)) or not _PATH.match(path):
            raise InputError(
                f"{text!r} is no image name", "", "Write it as [registry[:port]/]path[:tag], the path in lower case"
            )
        if len(rest) > _LONGEST:
            raise InputError(
                f"{text!r} is no image name",
                f"registry and path have {len(rest)} characters, {_LONGEST} are allowed",
                "Choose a shorter name",
            )
        return cls(host, path, tag, digest)

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def repository(self) -> str:
        """The name without tag and digest."""
        return f"{self.host}/{self.path}" if self.host else self.path

    @property
    def is_local(self) -> bool:
        """Whether the name can exist in a local image store only."""
        return self.host == LOCAL_HOST

    @property
    def has_registry(self) -> bool:
        """Whether the name says which registry holds the image."""
        return bool(self.host) and not self.is_local

    def with_tag(self, tag: str) -> ImageName:
        """Return the same repository with a tag and no digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: str) -> ImageName:
        """Return the same repository with a digest and no tag."""
        return replace(self, tag=None, digest=digest)

    def in_local_store(self) -> ImageName:
        """Return the name that buildah gives the image in a local store."""
        named = self if self.host else replace(self, host=LOCAL_HOST)
        return named if named.tag or named.digest else named.with_tag("latest")

    def tagged(self) -> ImageName:
        """Return the name with ``latest`` where it has neither tag nor digest."""
        return self if self.tag or self.digest else self.with_tag("latest")


def name_and_tag(name: str, tag: Optional[str]) -> ImageName:
    """Return the image that the options ``name`` and ``tag`` mean.

    A tag inside the name wins nothing: both at once must agree, or it is an :class:`InputError`.
    """
    parsed = ImageName.parse(name)
    if parsed.digest:
        raise InputError(
            f"name {name!r} holds a digest",
            "an image that is yet to be built has none",
            "Name a tag, and pin base images by digest instead",
        )
    if parsed.tag and tag and parsed.tag != tag:
        raise InputError(f"name {name!r} and tag {tag!r} disagree", "", "Give the tag once")
    if tag and not _TAG.match(tag):
        raise InputError(
            f"{tag!r} is no tag", "", "A tag has at most 128 letters, digits, underscores, dots and dashes"
        )
    return parsed.with_tag(parsed.tag or tag or "latest")


def destination(text: str) -> ImageName:
    """Return a push destination; raise :class:`InputError` for one that cannot be pushed to by tag."""
    parsed = ImageName.parse(text)
    if parsed.digest:
        raise InputError(
            f"destination {text!r} holds a digest",
            "a digest names what is already there",
            "Name a tag; the digest of what was pushed is returned",
        )
    if not parsed.has_registry:
        raise InputError(
            f"destination {text!r} names no registry",
            "",
            "Write it as registry[:port]/path[:tag], for example registry.example.com/team/app:1.0",
        )
    return parsed.tagged()

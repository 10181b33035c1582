# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How registries are reached and what their refusals mean. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from ansible_collections.rootless.buildah.plugins.module_utils._errors import CommandError, RegistryError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName


@dataclass(frozen=True)
class Access:
    """How to reach registries.

    :param auth_file: a containers-auth.json(5) file; None: the user's own is found by the tools.
    :param ca_dir: a directory of certificates as containers-certs.d(5) describes it.
    :param validate_certs: None leaves the decision to registries.conf.
    :param logins: the registries that there is a login for.
    """

    auth_file: Optional[str] = None
    ca_dir: Optional[str] = None
    validate_certs: Optional[bool] = None
    logins: frozenset[str] = frozenset()

    def flags(self, prefix: str = "") -> list[str]:
        """Return the flags that buildah and skopeo share; skopeo copy wants ``src-`` or ``dest-``."""
        flags = []
        if self.auth_file:
            flags += [f"--{prefix}authfile={self.auth_file}"]
        if self.ca_dir:
            flags += [f"--{prefix}cert-dir={self.ca_dir}"]
        if self.validate_certs is not None:
            flags += [f"--{prefix}tls-verify={str(self.validate_certs).lower()}"]
        return flags


# What containers/image and registries print, by kind, most specific first. Recorded in tests/fixtures.
_KINDS = (
    ("immutable", re.compile(r"immutab|tag .*already exists|cannot be overwritten", re.I)),
    (
        "plain_http",
        re.compile(r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake", re.I),
    ),
    ("compression", re.compile(r"compression is not supported for type", re.I)),
    ("certificate", re.compile(r"x509|certificate|tls: ", re.I)),
    ("limited", re.compile(r"toomanyrequests|too many requests|\b429\b", re.I)),
    ("unauthorized", re.compile(r"unauthori[sz]ed|authentication required|invalid username/password|\b401\b", re.I)),
    ("denied", re.compile(r"(?<!permission )\bdenied\b|forbidden|\b403\b", re.I)),
    (
        "not_found",
        re.compile(r"manifest unknown|name unknown|repository name not known|not found|\b404\b|no such manifest", re.I),
    ),
    ("failing", re.compile(r"\b50[0-4] \(?[A-Z]|server misbehaving", re.I)),
    (
        "down",
        re.compile(
            r"connection refused|no such host|i/o timeout|connect: |connection reset|\bEOF\b|no route to host|"
            r"deadline exceeded|Temporary failure",
            re.I,
        ),
    ),
)

_EXPLANATIONS = {
    "down": ("{host} does not answer", "Check that the registry runs and is reachable from this host"),
    "failing": ("{host} answers that it is out of order", "Look at the registry's log, or try again later"),
    "limited": ("{host} answers no more requests for now", "Log in, or try again later"),
    "unauthorized": (
        "{host} wants a login",
        (
            "Give registry_auth_file, or log in as the builder user; registry_username and registry_password are for "
            "the registries of name and destinations only"
        ),
    ),
    "wrong_login": (
        "{host} does not accept the login",
        "Check registry_username and registry_password, or registry_auth_file",
    ),
    "denied": ("{host} refuses this user", "Grant the user the right to the repository"),
    "not_found": ("{host} has no such image", "Check the name and the tag"),
    "certificate": ("the certificate of {host} is not trusted", "Name the directory with its CA in registry_ca_dir"),
    "plain_http": (
        "{host} speaks plain HTTP where TLS is wanted",
        "Let it speak TLS, or set registry_validate_certs: false for a registry on loopback",
    ),
    "compression": (
        "{host} holds a layer in a compression that Docker's format lacks, and buildah would reuse it",
        "Set format: oci, or compression_format: gzip",
    ),
    "immutable": (
        "{host} does not let anybody overwrite this tag",
        "Push to a new tag, or make the tag mutable at the registry",
    ),
    "other": ("{host} refused", "See stderr"),
}


def classify(stderr: str, *images: ImageName) -> str:
    """Return the kind of refusal that a tool's message tells of.

    :param images: the images that the call was about; their names are no part of what the message says.
    """
    text = re.sub(r"https?://[^\s\"\\]+", "URL", stderr)
    for image in images:
        text = text.replace(image.repository, "IMAGE").replace(f"repository {image.path}", "repository")
    text = re.sub(r"manifest \S+ (in|to) IMAGE|IMAGE[:@][^\s\"\\]*[^\s\"\\:]", "IMAGE", text)
    for image in images:
        text = text.replace(image.host, "HOST") if image.host else text
    return next((kind for kind, pattern in _KINDS if pattern.search(text)), "other")


def may_pass(stderr: str, *images: ImageName) -> bool:
    """Return whether a refusal may pass by itself; a refused connection is an answer and does not."""
    return classify(stderr, *images) in ("down", "failing", "limited") and "connection refused" not in stderr


def explained(error: CommandError, image: ImageName, action: str, access: Access, *others: ImageName) -> RegistryError:
    """Return a failed call to a registry as an error that says why and what to do.

    :param action: the verb, for example ``look up``.
    :param access: how the registry was approached.
    :param others: further images that the call named.
    """
    kind = classify(error.stderr, image, *others)
    cause, remedy = _EXPLANATIONS["wrong_login" if kind == "unauthorized" and image.host in access.logins else kind]
    last = error.stderr.strip().splitlines()[-1:] or [""]
    return RegistryError(
        kind,
        f"cannot {action} {image}",
        error.argv,
        error.rc,
        error.stdout,
        error.stderr,
        cause=cause.format(host=image.host) + (f" ({_shortened(last[0])})" if last[0] else ""),
        remedy=remedy,
    )


def _shortened(line: str) -> str:
    match = re.search(r'msg="(.*)"', line)
    return (match.group(1).replace('\\"', '"') if match else line)[-300:]

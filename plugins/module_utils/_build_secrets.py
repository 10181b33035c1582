# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets of a build: where their bytes are, and how they are kept out of logs. Touches no Ansible."""

from __future__ import annotations

import os
from typing import Iterable

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import Secret

_MASK = "********"


def secret_bytes(secret: Secret) -> bytes:
    """Return what a secret holds.

    :raises InputError: when its file or variable cannot be read.
    """
    if secret.src is not None:
        try:
            with open(secret.src, "rb") as file:
                return file.read()
        except OSError as error:
            raise InputError(
                f"secret {secret.id!r} cannot be read",
                f"{secret.src}: {error.strerror}",
                "Check the path and that the builder user may read it",
            ) from error
    if secret.env is not None:
        if secret.env not in os.environ:
            raise InputError(
                f"secret {secret.id!r} has no value",
                f"the variable {secret.env} is not set for the task",
                "Let become hand it on (--preserve-env), or use src or value; environment: would show it to all",
            )
        return os.environ[secret.env].encode("utf-8", "surrogateescape")
    return (secret.value or "").encode()


class Mask:
    """Takes secrets out of what a build prints.

    :param secrets: what they hold. Their lines are masked one by one, for a RUN step may print a part.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        lines = [line.strip() for data in secrets for line in data.decode("utf-8", "replace").splitlines()]
        # Shorter ones would make a log unreadable and give away what they are.
        self._texts = sorted({line for line in lines if len(line) >= 4}, key=len, reverse=True)

    def __call__(self, line: str) -> str:
        for text in self._texts:
            line = line.replace(text, _MASK)
        return line

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors that users meet. Pure: touches neither Ansible nor processes."""

from __future__ import annotations

from typing import Any, Sequence


class BuildahError(Exception):
    """A failure with what a user needs to act on it.

    :param message: what failed, one sentence.
    :param cause: why, when known.
    :param remedy: what to do about it.
    :param finding: the id of the finding in the doctor's catalogue, when one matches.
    :param commands: what root would type on this host, where that is known.
    """

    def __init__(
        self, message: str, cause: str = "", remedy: str = "", finding: str = "", commands: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.remedy = remedy
        self.finding = finding
        self.commands = list(commands)

    def __str__(self) -> str:
        parts = [self.message]
        if self.cause:
            parts.append(f"Cause: {self.cause}")
        if self.remedy:
            parts.append(f"Remedy: {self.remedy}")
        return " ".join(part if part.endswith((".", "!", "?")) else part + "." for part in parts)

    def as_result(self) -> dict[str, Any]:
        """Return the fields that a module adds to a failed result."""
        fields = {"cause": self.cause, "remedy": self.remedy, "finding": self.finding, "commands": self.commands}
        return {name: value for name, value in fields.items() if value}


class InputError(BuildahError):
    """An option, a Containerfile or a context that cannot be used; nothing was changed."""


class ContextError(InputError):
    """A build context that cannot be read as a whole."""


class LockError(BuildahError):
    """Another run holds the image for longer than allowed."""


class CommandError(BuildahError):
    """A program that was called failed.

    :param argv: the call, never holding a secret.
    :param rc: its exit status; negative for a signal.
    :param stdout: what it printed.
    :param stderr: what it printed on standard error.
    """

    def __init__(
        self,
        message: str,
        argv: Sequence[str],
        rc: int,
        stdout: str = "",
        stderr: str = "",
        cause: str = "",
        remedy: str = "",
        finding: str = "",
    ) -> None:
        super().__init__(message, cause, remedy, finding)
        self.argv = list(argv)
        self.rc = rc
        self.stdout = stdout
        self.stderr = stderr

    def as_result(self) -> dict[str, Any]:
        return {**super().as_result(), "cmd": self.argv, "rc": self.rc, "stderr": self.stderr[-4000:]}


class RegistryError(CommandError):
    """A registry refused or did not answer; ``kind`` says how.

    ``kind`` is one of ``down``, ``failing``, ``limited``, ``unauthorized``, ``denied``, ``not_found``,
    ``compression``, ``certificate``, ``plain_http``, ``immutable`` or ``other``.
    """

    def __init__(self, kind: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind

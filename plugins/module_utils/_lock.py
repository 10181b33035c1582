# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks between runs on one host. Touches no Ansible."""

from __future__ import annotations

import fcntl
import os
import time
from typing import Any, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._errors import LockError

# Shells can close single-digit descriptors only; the wrapper around a build must close ours (see _buildah).
_HIGHEST = 9


class FileLock:
    """An exclusive flock(2) on a file that stays where it is.

    :param path: the lock file; its directory exists.
    :param what: what is locked, for messages.
    """

    def __init__(self, path: str, what: str = "") -> None:
        self._path = path
        self._what = what
        self._fd: Optional[int] = None

    @property
    def inheritable(self) -> tuple[int, ...]:
        """Return the descriptor that children shall keep open, if it is one that shells can close."""
        return (self._fd,) if self._fd is not None and self._fd <= _HIGHEST else ()

    def try_acquire(self) -> bool:
        """Take the lock if it is free; return whether it is held now."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._fd = descriptor
        return True

    def acquire(self, timeout: float, between: Any = None) -> None:
        """Wait for the lock.

        :param timeout: seconds.
        :param between: called now and then while waiting, to end what a dead holder left running.
        :raises LockError: when the time is up.
        """
        deadline = time.monotonic() + timeout
        pause = 0.05
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                raise LockError(
                    f"{self._what or self._path} is being built by another run",
                    f"it has not finished within {timeout:g} seconds",
                    "Wait for it, raise lock_timeout, or look for a hanging buildah with ps",
                )
            if between:
                between()
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._fd is not None:
            # Not LOCK_UN: a child that still works for us shares the lock and shall keep it.
            os.close(self._fd)
            self._fd = None

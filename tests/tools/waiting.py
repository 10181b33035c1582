# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what others do in their own time."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

Found = TypeVar("Found")


def until(holds: Callable[[], Found], seconds: float = 30, otherwise: str = "it did not come to that") -> Found:
    """Ask again and again and return the first answer that is true; fail when there is none in time.

    :param otherwise: what it means then.
    """
    ends = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        found = holds()
        if found:
            return found
        now = time.monotonic()
        assert now < ends, otherwise
        # Asking takes processor time from those who are waited for: half of the time at most.
        time.sleep(max(0.1, now - begun))

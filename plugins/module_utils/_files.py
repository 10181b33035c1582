# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of single files. Touches neither Ansible nor processes."""

from __future__ import annotations

import hashlib
from typing import Optional


def sha256_file(path: str) -> Optional[str]:
    """Return a file's SHA-256 in hexadecimal, or None when it cannot be read."""
    total = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                total.update(chunk)
    except OSError:
        return None
    return total.hexdigest()

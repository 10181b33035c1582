# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which root is one: mappings as they were read on hosts and in pods."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils import _user
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

HOST = "         0          0 4294967295\n"
POD = "         0 2147549184      65536\n"
UNSHARED = "         0       1000          1\n         1     100000      65536\n"


@pytest.mark.parametrize("uid, mapping, lent", [
    (0, HOST, False),
    (0, POD, True),
    (0, UNSHARED, True),
    (1000, POD, False),
])  # fmt: skip
def test_root_of_a_pods_own_user_namespace_is_no_root_of_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid: int, mapping: str, lent: bool
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: uid)
    (tmp_path / "uid_map").write_text(mapping)
    assert _user.is_lent_root(str(tmp_path / "uid_map")) is lent
    monkeypatch.setattr(_user, "is_lent_root", lambda: lent)
    if uid == 0 and not lent:
        with pytest.raises(InputError, match="runs as root"):
            _user.refuse_root(allow_root=False)
    else:
        _user.refuse_root(allow_root=False)

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens, from the kernel's own tables."""

from __future__ import annotations

import sys

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._proc_net import listeners

# /proc/net/tcp and tcp6: loopback:5000 by uid 102, every address:22, a connection, [::]:5001, [::1]:5000.
TABLES = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000   102        0 1 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0100007F:1388 0100007F:D431 01 00000000:00000000 00:00000000 00000000   102        0 3 1 0 20 4 30 10 -1
  sl  local_address                         remote_address                        st tx_queue rx_queue uid
   0: 00000000000000000000000000000000:1389 00000000000000000000000000000000:0000 0A 0:0 00:0 0  1000        0 4
   1: 00000000000000000000000001000000:1388 00000000000000000000000000000000:0000 0A 0:0 00:0 0   102        0 5
"""

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine")


@pytest.mark.parametrize("port, found", [
    (5000, [("127.0.0.1", 102), ("::1", 102)]),
    (5001, [("::", 1000)]),
    (22, [("0.0.0.0", 0)]),
    (5002, []),
])
def test_addresses_and_owners(port: int, found: list[tuple[str, int]]) -> None:
    assert [(entry["address"], entry["uid"]) for entry in listeners(TABLES, port)] == found


def test_an_empty_table_has_no_listener() -> None:
    assert listeners("", 5000) == []

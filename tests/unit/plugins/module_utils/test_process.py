# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs print arrives, whenever they end."""

from __future__ import annotations

import os
from typing import Any, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner, _pump


class Late:
    """A program that prints its answer and ends between two looks at it; a daemon of its own keeps the pipes open."""

    def __init__(self) -> None:
        (read_out, self.write_out), (read_err, self.write_err) = os.pipe(), os.pipe()
        self.stdout, self.stderr = os.fdopen(read_out, "rb"), os.fdopen(read_err, "rb")

    def poll(self) -> Optional[int]:
        os.write(self.write_out, b"the answer\n")
        os.write(self.write_err, b"a warning\n")
        return 0


def test_nothing_is_lost_that_was_printed_just_before_the_end() -> None:
    process: Any = Late()
    assert _pump(process, None) == (b"the answer\n", b"a warning\n")


def test_a_daemon_that_keeps_the_pipes_open_does_not_hold_us() -> None:
    done = Runner({"PATH": os.environ["PATH"]}).run(["sh", "-c", "sleep 60 & echo done; echo $! >&2"])
    os.kill(int(done.stderr), 9)
    assert (done.rc, done.text) == (0, "done") and done.seconds < 30

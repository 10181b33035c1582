# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to registries that are made again when what refused them may pass by itself. Touches no Ansible.

buildah and skopeo have flags for this too, but the versions of Debian 12 give up at an answer such as 503.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable

from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._process import Completed
from ansible_collections.rootless.buildah.plugins.module_utils._registry import may_pass


@dataclass(frozen=True)
class Patience:
    """How often and when a call is made again.

    :param retries: how often at most, after the first call.
    :param delay: seconds between two calls.
    """

    retries: int = 3
    delay: float = 2.0

    def call(self, action: Callable[[], Completed], *images: ImageName) -> Completed:
        """Return what the last call did, a refusal included.

        :param images: the images that the call is about.
        """
        done = action()
        for _again in range(self.retries):
            if done.rc == 0 or not may_pass(done.stderr, *images):
                break
            time.sleep(self.delay)
            done = action()
        return done

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role build_images hands every option of an image on to the module."""

from __future__ import annotations

import yaml

from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT


def test_the_role_hands_on_every_option_of_the_module() -> None:
    tasks = yaml.safe_load((ROOT / "roles/build_images/tasks/level.yml").read_text(encoding="utf-8"))
    handed = next(task["rootless.buildah.buildah_build"] for task in tasks if "rootless.buildah.buildah_build" in task)
    assert set(handed) == {option.name for option in OPTIONS}
    for name, value in handed.items():
        assert f"_build_images_image.{name} " in value or f"['{name}']" in value, name

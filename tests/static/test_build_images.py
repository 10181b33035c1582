# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role build_images hands every option of an image on to the modules."""

from __future__ import annotations

import yaml

from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT


def test_the_role_hands_on_every_option_of_the_modules() -> None:
    tasks = yaml.safe_load((ROOT / "roles/build_images/tasks/level.yml").read_text(encoding="utf-8"))
    handed = next(task["args"] for task in tasks if "action" in task)
    in_cluster = {"kubeconfig", "context", "namespace", "job"}
    assert set(handed) == {option.name for option in OPTIONS} | in_cluster
    for name, value in handed.items():
        if name in in_cluster:
            assert f"build_images_{name}" in value and value.startswith("{{ omit if _build_images_on_host"), name
            continue
        assert f"_build_images_image.{name} " in value or f"['{name}']" in value, name

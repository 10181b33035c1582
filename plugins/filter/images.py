# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role build_images as filters, each documented in the YAML file of its name."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.rootless.buildah.plugins.filter.hosts import explained
from ansible_collections.rootless.buildah.plugins.module_utils._image_list import (
    below_home,
    context_changes,
    image_report,
    trial_words,
    unseen_images,
    wanted_images,
)


class FilterModule:
    """Names and functions."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        functions: dict[str, Callable[..., Any]] = {
            "below_home": below_home,
            "context_changes": context_changes,
            "image_report": image_report,
            "trial_words": trial_words,
            "unseen_images": unseen_images,
            "wanted_images": wanted_images,
        }
        return {name: explained(name, function) for name, function in functions.items()}

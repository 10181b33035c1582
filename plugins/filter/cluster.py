# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role cluster_builder as filters, each documented in the YAML file of its name."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.rootless.buildah.plugins.filter.hosts import explained
from ansible_collections.rootless.buildah.plugins.module_utils._cluster_objects import (
    cluster_plan,
    cluster_way_back,
    own_objects,
    secret_objects,
)
from ansible_collections.rootless.buildah.plugins.module_utils._cluster_trials import (
    admission_problems,
    admission_trials,
)


class FilterModule:
    """Names and functions."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        functions: dict[str, Callable[..., Any]] = {
            "admission_problems": lambda answers, trials: admission_problems(trials, answers),
            "admission_trials": admission_trials,
            "cluster_plan": cluster_plan,
            "cluster_way_back": cluster_way_back,
            "own_objects": own_objects,
            "secret_objects": secret_objects,
        }
        return {name: explained(name, function) for name, function in functions.items()}

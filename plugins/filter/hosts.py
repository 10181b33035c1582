# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the host roles as filters. Each is documented in the YAML file beside this one that has its name."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.rootless.buildah.plugins.module_utils import _host_choices as choices
from ansible_collections.rootless.buildah.plugins.module_utils import _registry_settings as registry
from ansible_collections.rootless.buildah.plugins.module_utils._proc_net import listeners
from ansible_collections.rootless.buildah.plugins.module_utils._site_table import doctor_table, site_table


def explained(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn what a wrong input raises into an error that names the filter."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AnsibleFilterError(f"rootless.buildah.{name}: {error!r}") from error

    return call


class FilterModule:
    """Names and functions."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        functions: dict[str, Callable[..., Any]] = {
            "auth_json": registry.auth_json,
            "choose_isolation": lambda trial, requested="auto": choices.choose_isolation(requested, trial),
            "choose_runtime": lambda trial, requested="auto": choices.choose_runtime(requested, trial),
            "doctor_table": doctor_table,
            "explain_failure": choices.explain,
            "fuse_plan": lambda seen, requested="auto": choices.fuse_plan(requested, **seen),
            "helper_kind": lambda seen: choices.helper_kind(**seen),
            "known_registries": registry.known,
            "listeners": listeners,
            "mapped_ids": choices.mapped_ids,
            "registries_conf": registry.registries_conf,
            "site_table": site_table,
            "unite_registries": registry.unite,
        }
        return {name: explained(name, function) for name, function in functions.items()}

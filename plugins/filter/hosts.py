# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the host roles as filters. Each is documented in the YAML file beside this one that has its name."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.rootless.buildah.plugins.module_utils import _containers_conf as containers_conf
from ansible_collections.rootless.buildah.plugins.module_utils import _host_choices as choices
from ansible_collections.rootless.buildah.plugins.module_utils import _labels as labels
from ansible_collections.rootless.buildah.plugins.module_utils import _places as places
from ansible_collections.rootless.buildah.plugins.module_utils import _registry_settings as registry
from ansible_collections.rootless.buildah.plugins.module_utils._doctor_page import doctor_page
from ansible_collections.rootless.buildah.plugins.module_utils._doctor_pods import (
    doctor_admission,
    doctor_pod,
    doctor_trial,
)
from ansible_collections.rootless.buildah.plugins.module_utils._doctor_report import (
    doctor_reason,
    doctor_report,
    doctor_table,
)
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError
from ansible_collections.rootless.buildah.plugins.module_utils._managed_file import files_below
from ansible_collections.rootless.buildah.plugins.module_utils._proc_net import listeners
from ansible_collections.rootless.buildah.plugins.module_utils._site_table import failure_reason, site_table


def explained(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the collection's own errors, which have cause and remedy, and what a wrong input raises into Ansible's."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BuildahError as error:
            raise AnsibleFilterError(str(error)) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AnsibleFilterError(f"rootless.buildah.{name}: {error!r}") from error

    return call


class FilterModule:
    """Names and functions."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        functions: dict[str, Callable[..., Any]] = {
            "auth_json": registry.auth_json,
            "cgroup_plan": choices.cgroup_plan,
            "choose_isolation": lambda trial, requested="auto": choices.choose_isolation(requested, trial),
            "choose_runtime": lambda trial, requested="auto": choices.choose_runtime(requested, trial),
            "containers_conf_files": containers_conf.files,
            "doctor_admission": doctor_admission,
            "doctor_page": doctor_page,
            "doctor_pod": doctor_pod,
            "doctor_reason": doctor_reason,
            "doctor_report": doctor_report,
            "doctor_table": doctor_table,
            "doctor_trial": doctor_trial,
            "empty_places": places.empty_places,
            "engine_conf": containers_conf.engine_conf,
            "explain_failure": choices.explain,
            "explain_finding": choices.explain_finding,
            "failure_reason": failure_reason,
            "files_below": files_below,
            "forget_plan": lambda notes, user: labels.forget_plan(user, notes),
            "fuse_plan": lambda seen, requested="auto": choices.fuse_plan(requested, **seen),
            "go_duration": choices.go_duration,
            "helper_kind": lambda seen: choices.helper_kind(**seen),
            "image_places": places.image_places,
            "known_registries": registry.known,
            "label_plan": labels.label_plan,
            "listeners": listeners,
            "mapped_ids": choices.mapped_ids,
            "nfs_plan": labels.nfs_plan,
            "network_helper": choices.network_helper,
            "overlays": choices.overlays,
            "owned_places": places.owned_places,
            "place_plan": places.place_plan,
            "prune_problem": choices.prune_problem,
            "registry_files": registry.registry_files,
            "site_table": site_table,
            "unite_registries": registry.unite,
        }
        return {name: explained(name, function) for name, function in functions.items()}

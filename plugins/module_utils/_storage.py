# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How buildah is told which image store to use (containers-storage.conf(5)). Pure."""

from __future__ import annotations

import json
from typing import Any, Mapping


def storage_conf(chosen: Mapping[str, Any]) -> str:
    """Return the configuration file for a store.

    A file instead of flags, because native scripts and the programs that buildah starts must use it too.

    :param chosen: the module's option ``storage``.
    """
    # JSON's strings and lists are TOML's.
    lines = ["[storage]", f"driver = {json.dumps(chosen.get('driver') or 'overlay')}"]
    for name, settings in {"graphroot": ("graphroot", "rootless_storage_path"), "runroot": ("runroot",)}.items():
        lines += [f"{setting} = {json.dumps(chosen[name])}" for setting in settings if chosen.get(name)]
    stores = json.dumps(list(chosen.get("additional_stores") or ()))
    return "\n".join([*lines, "[storage.options]", f"additionalimagestores = {stores}", ""])


def storage_flags(chosen: Mapping[str, Any]) -> list[str]:
    """Return buildah's global flags for a store.

    Of a file that CONTAINERS_STORAGE_CONF names, buildah 1.28 ignores the runroot; with the flag for it alone it takes
    root's graphroot.
    """
    return [f"--root={chosen['graphroot']}", f"--runroot={chosen['runroot']}"] if chosen.get("runroot") else []

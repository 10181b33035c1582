# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary credentials files. Reads files; touches neither Ansible nor processes."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._user import buildah_runtime_dir

# Under these names docker keeps the login for docker.io (containers/image, normalizeRegistry).
_DOCKER_HUB = ("index.docker.io", "registry-1.docker.io")


def merged_auth(
    named: Optional[str], environment: Mapping[str, str], hosts: Sequence[str], username: str, password: str
) -> bytes:
    """Return a containers-auth.json(5) file with a login for some hosts and, beneath, the user's own logins.

    :param named: the file the user named; None to find it where buildah does.
    """
    auths, helpers = _logins(named, environment)
    auths.update({host: login_entry(username, password) for host in hosts})
    # The tools ask a registry's helper in the first place.
    helpers = {host: helper for host, helper in helpers.items() if host not in hosts}
    return json.dumps({"auths": auths, **({"credHelpers": helpers} if helpers else {})}).encode()


def picked_logins(named: Optional[str], hosts: Sequence[str], given: Mapping[str, tuple[str, str]]) -> bytes:
    """Return a containers-auth.json(5) file with the logins for some hosts and no others.

    :param named: a file with logins; None for none.
    :param given: name and password by host, which come first.
    """
    auths, _helpers = _logins(named, {}) if named else ({}, {})
    # A login may be for a part of a registry.
    picked = {place: login for place, login in auths.items() if _host(place) in hosts}
    for host in hosts:
        if host in given:
            picked[host] = login_entry(*given[host])
    return json.dumps({"auths": picked}).encode()


def login_entry(username: str, password: str) -> dict[str, str]:
    """Return a login as containers-auth.json(5) has it under the name of a registry."""
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode("ascii")}


def login_hosts(named: Optional[str], environment: Mapping[str, str]) -> frozenset[str]:
    """Return the registries that a user has a login for.

    :param named: the file the user named; None to find it where buildah does.
    """
    auths, helpers = _logins(named, environment)
    return frozenset(_host(place) for place in (*auths, *helpers))


def _host(place: str) -> str:
    """Return the registry that an entry of a file with logins is for."""
    host = re.sub(r"^https?://", "", place).partition("/")[0]
    return "docker.io" if host in _DOCKER_HUB else host


def own_auth_file(environment: Mapping[str, str], empty: str) -> Optional[str]:
    """Return the file to name to the tools where they would not find the user's own logins by themselves.

    Without XDG_RUNTIME_DIR they insist on ``/run/containers/<uid>``, which a buildah of root makes unreadable for
    others, and fail instead of looking further.

    :param empty: where a file without logins may be written.
    :return: None when the tools find everything.
    """
    if "XDG_RUNTIME_DIR" in environment:
        return None
    found = next((path for path in _own_files(environment) if os.path.exists(path)), None)
    if found is None:
        with open(empty, "w", encoding="ascii") as file:
            file.write("{}")
    return found or empty


def _logins(named: Optional[str], environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the entries of the file that counts, and the helpers that keep logins for it."""
    for path in [named] if named else _own_files(environment):
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            return dict(found.get("auths") or {}), dict(found.get("credHelpers") or {})
        except (OSError, ValueError, AttributeError, TypeError):
            continue
    return {}, {}


def _own_files(environment: Mapping[str, str]) -> list[str]:
    return [
        os.path.join(environment.get("XDG_RUNTIME_DIR") or buildah_runtime_dir(), "containers/auth.json"),
        os.path.join(environment["HOME"], ".config/containers/auth.json"),
        os.path.join(environment["HOME"], ".docker/config.json"),
    ]

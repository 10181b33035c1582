# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short table that ends the playbook site, with the reasons below it. Pure."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ansible_collections.rootless.buildah.plugins.module_utils._text_table import aligned

HEADER = ("host", "ready", "images", "seconds")


def site_table(names: Iterable[str], variables: Mapping[str, Mapping[str, Any]], fact: str) -> list[str]:
    """Return the table's lines.

    :param names: the hosts, in the order of the table.
    :param variables: the variables of all hosts.
    :param fact: the variable that holds what is known of a host: ready (bool), reason (why not), built, unchanged
        (numbers, missing where the host builds nothing), seconds, unreachable (bool). Without it, or without ready, the
        host stopped answering on the way.
    """
    hosts = [(name, variables.get(name, {}).get(fact)) for name in names]
    return aligned([HEADER, *(_row(name, host) for name, host in hosts)]) + _reasons(hosts)


def _row(name: str, host: Mapping[str, Any] | None) -> tuple[str, str, str, str]:
    if host is None or "ready" not in host or host.get("unreachable"):
        return (name, "no answer", "-", "-")
    built, unchanged = host.get("built"), host.get("unchanged")
    images = "-" if built is None else f"{built} built, {unchanged or 0} unchanged"
    return (name, "yes" if host.get("ready") else "NO", images, f"{float(host.get('seconds') or 0):.1f}")


def _reasons(hosts: Iterable[tuple[str, Mapping[str, Any] | None]]) -> list[str]:
    failed = [(name, host) for name, host in hosts if host and not host.get("ready")]
    return [f"{name}: {host['reason']}" for name, host in failed if host.get("reason")]


def failure_reason(result: Mapping[str, Any], task: str) -> str:
    """Return why a task failed: its name, and what it said.

    :param result: of the task. A loop only says that some of its items failed; the first of those says why.
    """
    failed = [one for one in result.get("results") or () if one.get("failed")]
    said = failed[0] if failed else result
    # A command that failed says nothing by itself, one that was waited for in vain not even that it failed.
    words = said.get("msg") or said.get("stderr") or "no message"
    return f"{task}: {str(words).strip()}"

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles' variables are on a distribution, read as Ansible reads them: vars/main.yml and the overlays."""

from __future__ import annotations

import functools
from typing import Any, Mapping

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.rootless.buildah.plugins.module_utils._host_choices import overlays
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT, files


def read(role: str, facts: Mapping[str, str]) -> list[str]:
    """Return the files of a role's variables that a host with these facts loads, the last one wins."""
    wanted = [f"roles/{role}/vars/{name}" for name in ("main.yml", *overlays(facts))]
    return [name for name in wanted if name in _there(role)]


@functools.cache
def _there(role: str) -> frozenset[str]:
    return frozenset(files(f"roles/{role}/vars/*.yml"))


def variable(role: str, name: str, facts: Mapping[str, str], **others: Any) -> Any:
    """Return a variable of a role's vars; it may name others of them, and those that are given."""
    loader = DataLoader()
    values: dict[str, Any] = {}
    for place in read(role, facts):
        values.update(loader.load_from_file(str(ROOT / place), trusted_as_template=True) or {})
    values.update(others)
    return Templar(loader, values).template(trust_as_template(f"{{{{ _{role}_{name} }}}}"))

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the collection as a whole read from the checkout."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path
from typing import Any, Iterator

import yaml

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "rootless.buildah"
# Where Ansible finds the checkout under its full name; made by the Makefile.
ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
    "ANSIBLE_HOME": str(ROOT / ".ansible"),
}


def files(*patterns: str) -> list[str]:
    """Return the files of the checkout that match git's patterns, tracked and new ones, sorted."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def load(name: str) -> Any:
    """Return what a YAML file of the checkout holds; Ansible's own tags become plain values."""
    return yaml.load(read(name), Loader=_Loader)


class _Loader(yaml.SafeLoader):
    """Knows !unsafe and !vault as the strings they mark."""


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_Loader.add_multi_constructor("!", _plain)


def roles() -> list[str]:
    return sorted({name.split("/")[1] for name in files("roles/*")})


def plugins(kind: str) -> list[str]:
    """Return the names of the plugins of a kind (`modules`, `filter` …), private files left out."""
    names = {Path(name).stem for name in files(f"plugins/{kind}/*.py", f"plugins/{kind}/*.yml")}
    return sorted(name for name in names if not name.startswith("_"))


def constants(name: str) -> dict[str, Any]:
    """Return the literal values that a Python file assigns at its top level (DOCUMENTATION and the like)."""
    found: dict[str, Any] = {}
    for node in ast.parse(read(name)).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def imports(name: str) -> Iterator[str]:
    """Yield the full names of the modules that a Python file imports, wherever in it."""
    for node in ast.walk(ast.parse(read(name))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            module = node.module or ""
            if module.endswith(".module_utils"):
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def tasks(block: Any) -> Iterator[dict[str, Any]]:
    """Yield every task of a loaded task file or playbook, also those inside blocks."""
    for item in block or []:
        if not isinstance(item, dict):
            continue
        if "hosts" not in item:
            yield item
        for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks(item.get(key))

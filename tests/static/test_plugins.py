# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every plugin promises: complete documentation, imports that exist on a host, the layers of the design."""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from typing import Any, Iterator

import pytest
import yaml

from ansible_collections.rootless.buildah.tests.tools.checkout import (
    COLLECTION,
    constants,
    files,
    imports,
    load,
    plugins,
    read,
)

OURS = f"ansible_collections.{COLLECTION}.plugins."
ON_HOSTS = files("plugins/modules/*.py", "plugins/module_utils/*.py")
UTILS = files("plugins/module_utils/*.py")
MODULES = plugins("modules")
PURE = [name for name in UTILS if re.search(r"\bPure[:.,]", ast.get_docstring(ast.parse(read(name))) or "")]
WITH_YAML = [(kind, name) for kind in ("filter", "lookup", "test") for name in plugins(kind)]

every_module = pytest.mark.parametrize("module", MODULES)


def documentation(module: str) -> dict[str, Any]:
    loaded = yaml.safe_load(constants(f"plugins/modules/{module}.py")["DOCUMENTATION"])
    assert isinstance(loaded, dict)
    return loaded


def fragments(module: str) -> list[str]:
    wanted = documentation(module).get("extends_documentation_fragment", [])
    return [wanted] if isinstance(wanted, str) else list(wanted)


def all_options(module: str) -> dict[str, Any]:
    """The options of a module with those of this collection's fragments."""
    found = dict(documentation(module).get("options", {}))
    for fragment in fragments(module):
        if fragment.startswith(f"{COLLECTION}."):
            name, _dot, part = fragment.removeprefix(f"{COLLECTION}.").partition(".")
            fragment_class = import_module(f"ansible_collections.{COLLECTION}.plugins.doc_fragments.{name}")
            text = getattr(fragment_class.ModuleDocFragment, (part or "documentation").upper())
            found.update(yaml.safe_load(text).get("options", {}))
    return found


@every_module
def test_documentation_is_complete(module: str) -> None:
    document = documentation(module)
    assert document["module"] == module
    assert document["author"]
    assert document["version_added"]
    assert document["short_description"]
    for attribute in ("check_mode", "diff_mode", "idempotent", "platform"):
        promised = {**document.get("attributes", {})}
        if attribute in promised:
            assert promised[attribute].get("support") in ("full", "partial", "none", "N/A"), attribute
            # A limit is worth nothing unless it is described.
            if promised[attribute]["support"] == "partial":
                assert promised[attribute].get("details"), attribute
        else:
            assert any("attributes" in fragment for fragment in fragments(module)), f"{module}: attribute {attribute}"


@every_module
def test_examples_are_tasks_of_this_module(module: str) -> None:
    examples = yaml.safe_load(constants(f"plugins/modules/{module}.py")["EXAMPLES"])
    assert isinstance(examples, list)
    assert all(example.get("name") for example in examples)
    assert any(f"{COLLECTION}.{module}" in str(example) for example in examples)


def fields(returned: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    for name, field in returned.items():
        yield f"{path}{name}", field, not path
        yield from fields(field.get("contains", {}), f"{path}{name}.")


@every_module
def test_return_values_are_typed(module: str) -> None:
    returned = yaml.safe_load(constants(f"plugins/modules/{module}.py")["RETURN"])
    assert isinstance(returned, dict)
    for name, field, top in fields(returned):
        assert field.get("description"), name
        assert field.get("type") in ("str", "int", "float", "bool", "list", "dict", "raw", "complex"), name
        if field["type"] == "list":
            assert field.get("elements"), name
        if top:
            assert field.get("returned"), name


@pytest.mark.parametrize(("kind", "name"), WITH_YAML)
def test_small_plugins_are_documented(kind: str, name: str) -> None:
    beside = files(f"plugins/{kind}/{name}.yml")
    if beside:
        loaded = load(beside[0])
        document, examples, returned = loaded["DOCUMENTATION"], loaded["EXAMPLES"], loaded["RETURN"]
    else:
        found = constants(f"plugins/{kind}/{name}.py")
        if "DOCUMENTATION" not in found:
            # A file that holds several plugins has one document for each beside it.
            assert files(f"plugins/{kind}/*.yml")
            return
        document = yaml.safe_load(found["DOCUMENTATION"])
        examples, returned = found["EXAMPLES"], yaml.safe_load(found["RETURN"])
    assert document["name"] == name
    assert document["version_added"]
    assert examples
    assert all(field.get("type") and field.get("description") for field in returned.values())


def test_action_groups_hold_the_modules_that_share_registry_options() -> None:
    groups = load("meta/runtime.yml")["action_groups"]
    assert all(set(members) <= set(MODULES) for members in groups.values())
    sharing = {name for name in MODULES if any(option.startswith("registry_") for option in all_options(name))}
    assert sharing == set(groups["build"])


@pytest.mark.parametrize("name", ON_HOSTS)
def test_hosts_need_the_standard_library_only(name: str) -> None:
    allowed = set(sys.stdlib_module_names) | {"ansible", "ansible_collections"}
    if name.endswith("/_kube_door.py"):  # runs where the kubeconfig is, and tells when its library is missing
        allowed |= {"kubernetes", "urllib3"}
    assert {module.split(".")[0] for module in imports(name)} <= allowed
    for module in imports(name):
        if module.split(".")[0] == "ansible":
            assert module.startswith("ansible.module_utils"), module
        if module.split(".")[0] == "ansible_collections":
            assert module.startswith(f"{OURS}module_utils._"), module


@pytest.mark.parametrize("name", UTILS)
def test_module_utils_are_private(name: str) -> None:
    assert name.rsplit("/", 1)[1].startswith("_")


@pytest.mark.parametrize("name", PURE)
def test_what_calls_itself_pure_is_pure(name: str) -> None:
    outside = {"ansible", "subprocess", "socket", "urllib.request", "http.client"}
    assert {module for module in imports(name) if module in outside or module.startswith("ansible.")} == set()


@pytest.mark.parametrize("name", UTILS)
def test_module_utils_do_not_import_modules(name: str) -> None:
    assert [module for module in imports(name) if module.startswith((f"{OURS}modules", f"{OURS}action"))] == []


@pytest.mark.parametrize("name", files("plugins/*.py"))
def test_programs_are_called_without_a_shell(name: str) -> None:
    for node in ast.walk(ast.parse(read(name))):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg in ("shell", "use_unsafe_shell"):
                    assert isinstance(keyword.value, ast.Constant), f"{name}:{node.lineno}"
                    assert keyword.value.value is False, f"{name}:{node.lineno}"
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                called = f"{node.func.value.id}.{node.func.attr}"
                assert called not in {"os.system", "os.popen"}, f"{name}:{node.lineno}"


@pytest.mark.parametrize("name", files("plugins/*.py"))
def test_no_exception_is_swallowed_bare(name: str) -> None:
    for node in ast.walk(ast.parse(read(name))):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{name}:{node.lineno}"

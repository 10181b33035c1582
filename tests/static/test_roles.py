# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role looks like every other one, and says about its variables what is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.rootless.buildah.tests.tools.checkout import files, load, read, roles, tasks

SKELETON = {
    "README.md",
    "defaults/main.yml",
    "meta/argument_specs.yml",
    "meta/main.yml",
    "tasks/absent.yml",
    "tasks/main.yml",
    "tasks/present.yml",
    "tasks/verify.yml",
    "vars/main.yml",
}
FOLDERS = {"defaults", "files", "handlers", "meta", "tasks", "templates", "vars"}

every_role = pytest.mark.parametrize("role", roles())


def options(role: str) -> dict[str, Any]:
    specs = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    found = specs["main"].get("options", {})
    assert isinstance(found, dict)
    return found


def nested(options: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options.items():
        yield f"{path}{name}", option
        yield from nested(option.get("options", {}), f"{path}{name}.")


def task_files(role: str) -> list[str]:
    return files(f"roles/{role}/tasks/*.yml", f"roles/{role}/handlers/*.yml")


@every_role
def test_it_has_the_skeleton_and_no_other_folders(role: str) -> None:
    present = {name.split("/", 2)[2] for name in files(f"roles/{role}/*")}
    assert present >= SKELETON
    assert {name.split("/")[0] for name in present if "/" in name} <= FOLDERS
    assert {name for name in present if "/" not in name} == {"README.md"}


@every_role
def test_defaults_and_argument_specs_agree(role: str) -> None:
    declared = {name: option["default"] for name, option in options(role).items() if "default" in option}
    defaults = load(f"roles/{role}/defaults/main.yml") or {}
    assert defaults == declared
    # Equal in type too: True is not 1, and "0644" is not 420.
    assert {name: type(value) for name, value in defaults.items()} == {name: type(v) for name, v in declared.items()}


@every_role
def test_options_are_documented(role: str) -> None:
    for name, option in nested(options(role)):
        assert option.get("description"), name
        assert option.get("type"), name
        if option["type"] == "list":
            assert option.get("elements"), name
        if "choices" in option and "default" in option and "{{" not in str(option["default"]):
            chosen = option["default"] if option["type"] == "list" else [option["default"]]
            assert set(chosen) <= set(option["choices"]), name
        assert not (option.get("required") and "default" in option), name


@every_role
def test_secrets_are_not_logged(role: str) -> None:
    telling = re.compile(r"(^|_)(password|secret|token|passphrase|private_key)$")
    for name, option in nested(options(role)):
        if telling.search(name.rsplit(".", 1)[-1]) and option["type"] in ("str", "raw"):
            assert option.get("no_log") is True, name


@every_role
def test_variables_carry_the_name_of_the_role(role: str) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []
    for place in files(f"roles/{role}/vars/*.yml"):
        assert [name for name in load(place) or {} if not name.startswith(f"_{role}_")] == [], place


@every_role
def test_registered_variables_and_facts_carry_the_name_of_the_role(role: str) -> None:
    for place in task_files(role):
        for task in tasks(load(place)):
            registered = task.get("register")
            assert registered is None or registered.startswith(f"__{role}_"), f"{place}: register: {registered}"
            facts = task.get("ansible.builtin.set_fact", {})
            for name in set(facts) - {"cacheable"}:
                assert re.match(rf"_{{1,2}}{role}_|rootless_buildah_", name), f"{place}: set_fact: {name}"
            for name in task.get("vars", {}):
                # A task that includes another role gives that role its variables.
                included = "ansible.builtin.include_role" in task or "ansible.builtin.import_role" in task
                assert included or re.match(rf"_{{1,2}}{role}_|ansible_", name), f"{place}: vars: {name}"
            loop = task.get("loop_control", {}).get("loop_var")
            assert loop is None or re.match(rf"_{{1,2}}{role}_", loop), f"{place}: loop_var: {loop}"


@every_role
def test_task_files_say_what_they_read_and_leave(role: str) -> None:
    for place in files(f"roles/{role}/tasks/*.yml"):
        comments = [line for line in read(place).split("\n") if line.startswith("#")]
        assert any(line.startswith("# Inputs:") for line in comments), place
        assert any(line.startswith("# Outputs:") for line in comments), place
        produced = {
            name
            for task in tasks(load(place))
            for name in task.get("ansible.builtin.set_fact", {})
            if name.startswith("rootless_buildah_")
        }
        for name in produced:
            assert name in " ".join(comments), f"{place} sets {name} and does not say so"


@every_role
def test_every_file_is_used(role: str) -> None:
    text = "".join(read(place) for place in files(f"roles/{role}/*.yml", f"roles/{role}/*.j2"))
    for place in files(f"roles/{role}/tasks/*", f"roles/{role}/files/*", f"roles/{role}/templates/*"):
        name = Path(place).name
        stem = re.sub(r"\.(yml|j2)$", "", name)
        by_state = place.endswith(("/tasks/present.yml", "/tasks/absent.yml")) and f"{role}_state" in text
        assert name == "main.yml" or by_state or name in text or stem in text, place


@every_role
def test_no_fact_is_used_that_nobody_makes(role: str) -> None:
    places = files("roles/*/tasks/*.yml", "playbooks/*.yml", "roles/*/vars/*.yml", "examples/*.yml")
    made = {name for place in places for name in re.findall(r"^\s*(rootless_buildah_\w+):", read(place), re.MULTILINE)}
    # Those that a role documents may come from the inventory.
    for spec in files("roles/*/meta/argument_specs.yml"):
        made |= set(re.findall(r"C\((rootless_buildah_\w+)\)", read(spec)))
    for place in files(f"roles/{role}/*.yml", f"roles/{role}/*.j2"):
        if "/meta/" in place:
            continue
        for name in re.findall(r"(?<![\w.])rootless_buildah_\w+", read(place)):
            assert name in made, f"{place} uses {name}"


@every_role
def test_it_points_to_the_reference_instead_of_copying_it(role: str) -> None:
    readme = read(f"roles/{role}/README.md")
    assert readme.startswith(f"# rootless.buildah.{role}\n")
    assert "meta/argument_specs.yml" in readme
    assert readme.count("\n") <= 80


@every_role
def test_the_metadata_is_the_roles_own(role: str) -> None:
    info = load(f"roles/{role}/meta/main.yml")["galaxy_info"]
    assert info["role_name"] == role
    assert info["license"] == "GPL-3.0-or-later"
    specs = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]
    assert specs.get("short_description")
    assert specs.get("description")
    assert specs.get("version_added")
    # Composition happens in playbooks only.
    assert load(f"roles/{role}/meta/main.yml").get("dependencies") == []

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the repository as a whole, whoever adds a file."""

from __future__ import annotations

import ast
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ansible_collections
import pytest
import tomllib  # type: ignore[import-not-found]  # the floor that mypy checks is below the tests' own
import yaml
from packaging.specifiers import SpecifierSet

from ansible_collections.rootless.buildah.tests.tools.checkout import COLLECTION, ROOT, files, load, read, roles

HEADER = """\
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""

# Written in pieces: this file obeys its own rule.
PACKAGE_REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("registry", "npmjs", "org"),
        ("maven", "apache", "org"),
        ("galaxy", "ansible", "com"),
    )
]
MACHINE_PATHS = [
    "/".join(parts) for parts in (("", "work", ""), ("", "root", "."), ("", "tmp", "plan"), ("", "opt", "wheels"))
]

TEXT = [name for name in files() if name != "LICENSE" and b"\0" not in (ROOT / name).read_bytes()]
PYTHON = files("*.py")


def test_nothing_generated_is_committed() -> None:
    generated = re.compile(
        r"(^|/)(__pycache__|\.venv|\.cache|\.ansible|\.mypy_cache|\.pytest_cache|\.ruff_cache)/"
        r"|\.pyc$|\.tar\.gz$|^CHANGELOG\.|^tests/output/|^docs/(reference|collections)/"
        r"|\.egg-info/|(^|/)uv\.lock$|\.log$|\.orig$|\.rej$"
    )
    # What the real tools printed is recorded on purpose.
    recorded = "tests/fixtures/"
    assert [name for name in files() if generated.search(name) and not name.startswith(recorded)] == []


def test_no_file_is_empty_or_huge() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in files()}
    allowed_empty = {".gitkeep", "__init__.py"}
    assert [name for name, size in sizes.items() if size == 0 and Path(name).name not in allowed_empty] == []
    assert [name for name, size in sizes.items() if size > 500_000] == []


@pytest.mark.parametrize("word", PACKAGE_REGISTRIES)
def test_no_package_registry_is_named(word: str) -> None:
    # Users have mirrors; an address in a file would go around them.
    assert [name for name in TEXT if word in read(name)] == []


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_no_path_of_one_machine_is_named(path: str) -> None:
    pattern = re.compile(r"(?<![\w.}/-])" + re.escape(path))
    found = [
        f"{name}:{number}"
        for name in TEXT
        for number, line in enumerate(read(name).split("\n"), 1)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("name", PYTHON)
def test_python_file_has_the_header(name: str) -> None:
    text = read(name)
    if text.startswith("#!"):
        text = text.split("\n", 1)[1].lstrip("\n")
    assert text.startswith(HEADER)


@pytest.mark.parametrize("name", PYTHON)
def test_python_file_postpones_annotations(name: str) -> None:
    body = ast.parse(read(name)).body
    if body and isinstance(body[0], ast.Expr):
        body = body[1:]
    if all(isinstance(node, ast.Assign) for node in body):
        return  # Constants have no annotations to postpone.
    first = body[0]
    assert isinstance(first, ast.ImportFrom)
    assert first.module == "__future__"
    assert [alias.name for alias in first.names] == ["annotations"]


def test_scripts_are_executable() -> None:
    scripts = [name for name in files("tests/tools/*", ".ci/*") if read(name).startswith("#!")]
    assert scripts
    assert [name for name in scripts if not (ROOT / name).stat().st_mode & 0o111] == []


# Versions have one source each.


def galaxy() -> dict[str, Any]:
    loaded = load("galaxy.yml")
    assert isinstance(loaded, dict)
    return loaded


def test_the_ansible_floor_is_said_alike() -> None:
    floor = load("meta/runtime.yml")["requires_ansible"].removeprefix(">=")
    for role in roles():
        assert load(f"roles/{role}/meta/main.yml")["galaxy_info"]["min_ansible_version"] == floor, role
    assert f"ansible-core {'.'.join(floor.split('.')[:2])}" in read("README.md")
    pinned = re.search(r"^ansible-core==(\d+\.\d+)\.", read("tests/floor/requirements-core216.txt"), re.MULTILINE)
    assert pinned is not None
    assert pinned.group(1) == floor.rsplit(".", 1)[0]


def test_nothing_is_newer_than_the_collection() -> None:
    newest = tuple(map(int, galaxy()["version"].split(".")))
    for name in files("plugins/*", "roles/*/meta/*"):
        for added in re.findall(r"^\s*version_added: [\"']?([\d.]+)", read(name), re.MULTILINE):
            assert tuple(map(int, added.split("."))) <= newest, name


def test_the_collections_used_are_the_dependencies() -> None:
    known = {"ansible.builtin", "ansible.legacy", COLLECTION}
    bundled = {
        f"{place.parent.parent.name}.{place.parent.name}"
        for path in ansible_collections.__path__
        for place in Path(path).glob("*/*/MANIFEST.json")
    }
    used = set()
    for name in files("roles/*.yml", "playbooks/*.yml", "roles/*.j2"):
        used |= set(re.findall(r"(?<![\w./-])(\w+\.\w+)\.\w+", read(name))) & (bundled | known)
    for name in files("plugins/*.py"):
        used |= set(re.findall(r"ansible_collections\.(\w+\.\w+)\.", read(name)))
    assert used - known == set(galaxy()["dependencies"])


def test_the_pinned_ansible_satisfies_the_dependencies() -> None:
    for dependency, wanted in galaxy()["dependencies"].items():
        versions = [
            yaml.safe_load(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
            for place in ansible_collections.__path__
            if (manifest := Path(place, *dependency.split("."), "MANIFEST.json")).is_file()
        ]
        assert versions, f"{dependency} is not in the pinned ansible package"
        assert versions[0] in SpecifierSet(wanted.replace(" ", "")), dependency


def test_the_requirements_are_pinned_for_every_group() -> None:
    groups = tomllib.loads(read("pyproject.toml"))["dependency-groups"]
    places = {
        "run": "requirements.txt",
        "dev": "requirements-dev.txt",
        "core216": "tests/floor/requirements-core216.txt",
        "python39": "tests/floor/requirements-python39.txt",
    }
    assert set(groups) == set(places)
    for group, place in places.items():
        pins = set(re.findall(r"^([a-z0-9-]+)==\S+", read(place), re.MULTILINE))
        for wanted in groups[group]:
            if isinstance(wanted, str):
                name = re.split(r"[^A-Za-z0-9-]", wanted)[0].lower()
                assert name in pins, f"{wanted} is not in {place}: make requirements"
        assert "://" not in read(place)
        assert "--index" not in read(place)


def test_the_tools_that_run_are_those_that_are_pinned() -> None:
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", read("requirements-dev.txt"), re.MULTILINE))
    for name in ("ansible-lint", "mypy", "pytest", "ruff"):
        assert version(name) == pins[name], "make removes and remakes .venv when the requirements change"


# The README and the guides.


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z0-9-]*):.*##", read("Makefile"), re.MULTILINE))


def test_the_readme_names_the_test_command() -> None:
    assert "make test" in read("README.md")


def test_every_make_target_in_the_documentation_exists() -> None:
    for name in files("*.md"):
        for block in re.findall(r"`([^`]+)`|^( *\$? ?make [^\n]+)", read(name), re.MULTILINE):
            for target in re.findall(r"(?:^|\s)make ((?:[a-z][a-z-]*))", " ".join(block)):
                assert target in targets(), f"{name}: make {target}"


def test_every_make_target_is_described() -> None:
    rules = set(re.findall(r"^([a-z][a-z0-9-]*)(?: [a-z ]+)?:(?!=)", read("Makefile"), re.MULTILINE))
    assert rules <= targets()


def test_ci_runs_what_users_run() -> None:
    assert re.search(r"^make test ", read(".ci/run"), re.MULTILINE)
    steps = load(".github/workflows/ci.yml")["jobs"]["test"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}


def test_the_workflow_runs_all_that_test_all_runs() -> None:
    jobs = load(".github/workflows/ci.yml")["jobs"]
    scenarios = {path.split("/")[1] for path in files("molecule/*/molecule.yml")}
    assert set(jobs["scenarios"]["strategy"]["matrix"]["scenario"]) == scenarios
    assert jobs["scenarios"]["steps"][-1] == {"run": "make scenarios SCENARIO=${{ matrix.scenario }}"}
    assert jobs["long"]["steps"][-1] == {"run": "make test-long"}


def test_jobs_that_build_kubernetes_have_go() -> None:
    jobs = load(".github/workflows/ci.yml")["jobs"]
    for name in ("long", "scenarios"):
        assert [step for step in jobs[name]["steps"] if step.get("uses", "").startswith("actions/setup-go@")]

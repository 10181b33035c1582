# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of every module's documentation, run by ansible-playbook against real parts.

Only places are replaced: names of registries by real ones, and directories by ones that exist.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rootless.buildah.tests.integration.harness import CHECKOUT, PYTHON, Builder, Registry

MODULES = sorted(path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py"))
# Run as the builder user; run as root on copies of what they change; and run by a test that has the parts they need.
AS_BUILDER = ("buildah_build", "buildah_plan")
AS_ROOT = ("managed_file", "managed_note", "managed_packages", "managed_sysctl")
ELSEWHERE = {
    "buildah_job": "molecule/cluster/tests/test_examples.py",
    "rootless_info": "tests/integration/test_doctor.py",
    "subid": "tests/integration/test_subid.py",
}

SECRETS = {"vault_registry_password": Registry.password, "vault_token": "example-of-a-token"}
CONTEXTS = {
    "src/app/Containerfile": (
        "FROM scratch AS debug\nCOPY app /\nFROM scratch AS result\nARG VERSION\nLABEL version=$VERSION\nCOPY app /\n"
    ),
    "src/app/app": "app\n",
    "src/tool/install.sh": '#!/bin/sh\n[ "$(cat /run/secrets/token)" = example-of-a-token ] && touch /installed\n',
    "src/small/Containerfile": "FROM scratch\nCOPY small /\n",
    "src/small/small": "small\n",
}


def examples(module: str) -> str:
    """Return a module's EXAMPLES as they stand in its source."""
    tree = ast.parse((CHECKOUT / f"plugins/modules/{module}.py").read_text())
    values = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and "EXAMPLES" in ast.dump(node.targets[0])
    )
    return str(ast.literal_eval(next(values)))


def play(
    place: Path, tasks: list[dict[str, Any]], keywords: dict[str, Any], prefix: Sequence[str] = (), facts: bool = False
) -> tuple[int, int]:
    """Run tasks on this machine; return how many were ok and how many changed something."""
    collections = place / "collections/ansible_collections/rootless"
    collections.mkdir(parents=True, exist_ok=True)
    if not (collections / "buildah").is_symlink():
        (collections / "buildah").symlink_to(CHECKOUT)
    variables = {**SECRETS, "ansible_python_interpreter": PYTHON}
    book = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": facts,
        "vars": variables,
        "tasks": tasks,
        **keywords,
    }
    (place / "book.yml").write_text(yaml.safe_dump([book], sort_keys=False))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "ANSIBLE_COLLECTIONS_PATH": str(place / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", str(place / "book.yml")],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stdout + done.stderr
    found = re.search(r"ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0 +skipped=0", done.stdout)
    assert found, done.stdout
    return int(found.group(1)) - facts, int(found.group(2))


@pytest.fixture(scope="module")
def mirror(place: Path) -> Iterator[Registry]:
    """The second registry of the examples."""
    server = Registry(place / "mirror")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def owner(library: Path, registry: Registry, mirror: Registry, base: str) -> Iterator[Builder]:
    """A builder user who is logged in at both registries and has the directories that the examples speak of."""
    user = Builder(f"rbte-{os.getpid()}", library)
    try:
        token = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
        addresses = (registry.address, mirror.address)
        logins = json.dumps({"auths": {address: {"auth": token} for address in addresses}})
        user.write(".config/containers/auth.json", logins, 0o600)
        tables = "".join(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n' for address in addresses)
        user.write(".config/containers/registries.conf.d/examples.conf", tables)
        for name, content in CONTEXTS.items():
            user.write(f"examples/{name}", content, 0o755 if name.endswith(".sh") else 0o644)
        user.sh(
            f"skopeo copy --quiet --authfile ~/.config/containers/auth.json docker://{base} "
            f"docker://{registry.address}/base/debian:12"
        )
        yield user
    finally:
        user.remove()


@pytest.mark.parametrize("module", AS_BUILDER)
def test_the_examples_of_building_do_what_they_say_once(
    owner: Builder, registry: Registry, mirror: Registry, place: Path, module: str
) -> None:
    text = examples(module)
    for documented, real in (
        ("registry.example.com", registry.address),
        ("mirror.example.com", mirror.address),
        ("/srv/", f"{owner.home}/examples/"),
    ):
        text = text.replace(documented, real)
    assert "example.com" not in text and "/srv" not in text
    tasks = yaml.safe_load(text)
    keywords = {"become": True, "become_user": owner.name, "become_method": "su"}
    own = place / f"examples-{module}"
    own.mkdir()
    first, second = (play(own, tasks, keywords) for _run in range(2))
    if module == "buildah_plan":
        assert first == second == (len(tasks), 0)
        return
    # All but the last, which takes away a name that nothing has, make something; the next run finds it.
    assert (first, second) == ((len(tasks), len(tasks) - 1), (len(tasks), 0))
    pushed = registry.digest("team/app", "1.0")
    assert pushed is not None
    assert pushed == mirror.digest("team/app", "1.0")
    assert sorted(path.name for path in (owner.home / "examples/artifacts").iterdir()) == [
        "app-debug.tar",
        "small-1.tar",
    ]
    assert owner.image_file("localhost/tool", "installed") == ""


@pytest.fixture
def home(place: Path) -> Path:
    """What is the home of the examples' builder user in the namespace."""
    path = place / "examples-home"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture
def namespace(tmp_path: Path, home: Path) -> Iterator[list[str]]:
    """The words before a call that show it a copy of /etc with a user, an empty home, and no notes of roles."""
    subprocess.run(["cp", "-a", "/etc", str(tmp_path)], check=True)
    for table, line in (("passwd", f"builder:x:54321:54321::{home}:/bin/sh"), ("group", "builder:x:54321:")):
        with open(tmp_path / "etc" / table, "a") as file:
            file.write(f"{line}\n")
    notes = Path("/var/lib/rootless-buildah")
    made = not notes.exists()
    notes.mkdir(exist_ok=True)
    mounts = f'mount --bind "{tmp_path}/etc" /etc && mount -t tmpfs none {notes} && mount -t tmpfs none "{home}"'
    script = f'{mounts} && chown 54321:54321 "{home}" && exec "$@"'
    yield ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    if made:
        notes.rmdir()


@pytest.mark.parametrize("module", AS_ROOT)
def test_the_examples_of_building_blocks_do_and_undo(
    namespace: list[str], tmp_path: Path, place: Path, home: Path, module: str
) -> None:
    before = _tree(tmp_path / "etc")
    tasks = yaml.safe_load(examples(module).replace("/home/builder/", f"{home}/"))
    own = place / f"examples-{module}"
    own.mkdir()
    counts = [play(own, tasks, {"gather_subset": ["min"]}, namespace, facts=True) for _run in range(2)]
    assert [ok for ok, _changed in counts] == [len(tasks)] * 2
    assert counts[0] == counts[1], "the examples end as they began, so that each run does the same"
    assert _tree(tmp_path / "etc") == before


def _tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_no_module_is_left_out() -> None:
    assert sorted([*AS_BUILDER, *AS_ROOT, *ELSEWHERE]) == MODULES
    for module, test in ELSEWHERE.items():
        source = (CHECKOUT / test).read_text()
        assert f"plugins/modules/{module}.py" in source and "EXAMPLES" in source, test


def test_what_is_replaced_is_all_that_is_replaced() -> None:
    """The examples name nothing else of a machine that is not there."""
    for module in AS_BUILDER:
        assert set(re.findall(r"[a-z]+\.example\.com", examples(module))) <= {
            "registry.example.com",
            "mirror.example.com",
        }
        assert set(re.findall(r"\{\{ (vault_\w+) \}\}", examples(module))) <= set(SECRETS)
    assert shutil.which("su")

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contexts of the role build_images: the host gets what the controller has, however paths are written, and loses
nothing when they are wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.tests.integration.harness import CHECKOUT, PYTHON


class Ground:
    """A controller with a home and a playbook, and a user's home on the host, which is the same machine."""

    def __init__(self, place: Path) -> None:
        self.place, self.home = place, place / "host"
        for name in ("controller/ctx/below", "playbooks", "host", "ansible"):
            (place / name).mkdir(parents=True)
        (place / "controller/ctx/Containerfile").write_text("FROM scratch\n")
        (place / "controller/ctx/below/file").write_text("one")

    def bring(self, *contexts: tuple[str, str], check: bool = False) -> tuple[int, str]:
        """Run the role's tasks for contexts, each source and destination.

        :param check: whether in check mode.
        :return: how many tasks changed something, or -1 for a run that failed; and the output without line breaks.
        """
        role = {"name": "rootless.buildah.build_images", "tasks_from": "contexts.yml"}
        book = [{
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": PYTHON,
                "ansible_become_method": "ansible.builtin.su",
                "build_images_user": "root",
                "build_images_contexts": [{"src": src, "dest": dest} for src, dest in contexts],
            },
            # Variables of a task win over those of the role.
            "tasks": [{"name": "Bring the contexts", "ansible.builtin.include_role": role,
                       "vars": {"_build_images_home": str(self.home)}}],
        }]  # fmt: skip
        path = self.place / "playbooks/contexts.yml"
        path.write_text(json.dumps(book))
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.place / "controller"),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(self.place / "ansible"),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".ansible/collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [str(program), "-i", "localhost,", *(["--check"] if check else []), str(path)], env=environment,
            cwd=self.place, capture_output=True, text=True, check=False)  # fmt: skip
        output = done.stdout + done.stderr
        words = re.sub(r"\s+", " ", output.replace("\\n", " ").replace('\\"', '"'))
        recap = re.search(r"localhost : ok=\d+ changed=(\d+) unreachable=0 failed=(\d+)", words)
        assert recap and (recap.group(2) == "0") == (done.returncode == 0), output
        return (int(recap.group(1)) if done.returncode == 0 else -1), words


def tree(directory: Path) -> dict[str, str]:
    """Return the contents of all files below a directory."""
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def whole(directory: Path) -> dict[str, tuple[str, str]]:
    """Return what is below a directory as a build sees it: each link with its target, each file with its mode and
    contents."""
    found = {}
    for path in directory.rglob("*"):
        if path.is_symlink():
            entry = ("link", os.readlink(path))
        elif path.is_dir():
            entry = ("directory", "")
        else:
            entry = (f"{path.stat().st_mode & 0o7777:o}", path.read_text())
        found[str(path.relative_to(directory))] = entry
    return found


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_however_the_paths_are_written_the_host_has_what_the_controller_has(ground: Ground) -> None:
    source = ground.place / "controller/ctx"
    contexts = [
        ("{{ playbook_dir }}/../controller/ctx", "a/"), (f"{source.parent}//ctx/.", "./below//b"),
        ("~/ctx", "~/c"), (f"/{source}/", f"/{ground.home}/x/../d"),
    ]  # fmt: skip
    dests = [ground.home / name for name in ("a", "below/b", "c", "d")]

    changed, _words = ground.bring(*contexts)
    assert changed > 0
    assert [tree(dest) for dest in dests] == [tree(source)] * len(dests)
    assert ground.bring(*contexts)[0] == 0
    assert [tree(dest) for dest in dests] == [tree(source)] * len(dests)

    (source / "below/file").write_text("two")
    (source / "Containerfile").rename(source / "Dockerfile")
    changed, _words = ground.bring(*contexts)
    assert changed > 0
    assert [tree(dest) for dest in dests] == [{"below/file": "two", "Dockerfile": "FROM scratch\n"}] * len(dests)


@pytest.mark.parametrize("src, dest, said", [
    ("ctx", "ctx", "'ctx' is not an absolute path"),
    ("~/gone", "ctx", "on the controller this cannot be read: {place}/controller/gone ("),
    ("~/empty", "ctx", "{place}/controller/empty on the controller is empty, and would empty {place}/host/ctx"),
    ("~/ctx", "~/", "'~/' is the builder user's home or holds it"),
])  # fmt: skip
def test_a_wrong_path_removes_nothing(ground: Ground, src: str, dest: str, said: str) -> None:
    assert ground.bring(("~/ctx", "ctx"))[0] > 0
    (ground.home / "own").write_text("the user's")
    (ground.place / "controller/empty").mkdir()
    # Where a relative path would lead, and something to change before the wrong one is reached.
    (ground.place / "ctx").mkdir()
    (ground.place / "controller/ctx/below/file").write_text("two")
    before = tree(ground.home)
    changed, words = ground.bring(("~/ctx", "first"), (src, dest))
    assert changed == -1
    assert said.format(place=ground.place) in words and "Remedy: " in words
    assert tree(ground.home) == before


def test_links_arrive_as_links_wherever_they_lead(ground: Ground) -> None:
    source, dest = ground.place / "controller/ctx", ground.home / "ctx"
    (source / "v1").mkdir()
    (source / "v1/data").write_text("data")
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o755)
    (ground.place / "outside").mkdir()
    (ground.place / "outside/secret").write_text("the controller's own")
    links = {"below/tool": "../tool", "dangling": "nowhere/at/all", "outside": str(ground.place / "outside")}
    for name, target in links.items():
        (source / name).symlink_to(target)
    # pathlib takes the last slash away.
    os.symlink("v1/", source / "current")

    assert ground.bring(("~/ctx", "ctx"))[0] > 0
    assert whole(dest) == whole(source)
    assert whole(source)["current"] == ("link", "v1/")
    for _each in range(2):
        assert ground.bring(("~/ctx", "ctx"))[0] == 0
        assert whole(dest) == whole(source)

    (source / "dangling").unlink()
    (source / "dangling").symlink_to("v1/data")
    assert ground.bring(("~/ctx", "ctx"))[0] > 0
    assert whole(dest) == whole(source)


def test_an_entry_that_became_something_else_is_replaced(ground: Ground) -> None:
    source, dest = ground.place / "controller/ctx", ground.home / "ctx"
    kept = ground.place / "kept"
    kept.mkdir()
    (kept / "file").write_text("not of the context")
    # Each pair of kinds of which one is in the other's way; two of them lead out of the context.
    kinds = ("file", "directory", "link")

    def make(path: Path, kind: str) -> None:
        if kind == "file":
            path.write_text("one")
        elif kind == "link":
            path.symlink_to(kept)
        else:
            path.mkdir()
            (path / "file").write_text("two")

    pairs = [(old, new) for old in kinds for new in kinds if old != new]
    for old, new in pairs:
        make(source / f"{old}-{new}", old)
    assert ground.bring(("~/ctx", "ctx"))[0] > 0
    assert whole(dest) == whole(source)

    for old, new in pairs:
        path = source / f"{old}-{new}"
        if old == "directory":
            (path / "file").unlink()
            path.rmdir()
        else:
            path.unlink()
        make(path, new)
    before = whole(dest)
    assert ground.bring(("~/ctx", "ctx"), check=True)[0] > 0
    assert whole(dest) == before
    assert ground.bring(("~/ctx", "ctx"))[0] > 0
    assert whole(dest) == whole(source)
    assert whole(kept) == {"file": ("644", "not of the context")}
    assert ground.bring(("~/ctx", "ctx"))[0] == 0

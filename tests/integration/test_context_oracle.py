# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The context digest against its oracle: what the real buildah, run by a real unprivileged user, puts into an image.

Random trees under random ignore files are built with ``FROM scratch`` and ``COPY . /``, and the images listed.
``ORACLE_SEED=7 ORACLE_CASES=1000 pytest tests/integration/test_context_oracle.py`` looks further than the default.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._context import digest_context, escape_path
from ansible_collections.rootless.buildah.plugins.module_utils._errors import ContextError
from ansible_collections.rootless.buildah.plugins.module_utils._ignore import find_ignore_file
from ansible_collections.rootless.buildah.tests.integration.harness import PYTHON, Builder
from ansible_collections.rootless.buildah.tests.integration.random_context import RandomContext, subordinate_id

SEED = int(os.environ.get("ORACLE_SEED", "1"))
CASES = int(os.environ.get("ORACLE_CASES", "100"))

# Runs as root of the builder user's namespace. For each build: exit status, errors, and what the image holds.
BUILDER = r"""
import hashlib, json, os, stat, subprocess, sys

def call(*argv):
    return subprocess.run(["buildah", *argv], capture_output=True, check=True, text=True).stdout.strip()

def listing(top):
    found = {}
    for directory, directories, names in os.walk(os.fsencode(top)):
        for name in directories + names:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            kind = stat.S_IFMT(info.st_mode)
            detail = ""
            if kind == stat.S_IFREG:
                with open(path, "rb") as file:
                    detail = hashlib.sha256(file.read()).hexdigest()
            elif kind == stat.S_IFLNK:
                detail = os.readlink(path).hex()
            xattrs = {key: os.getxattr(path, key, follow_symlinks=False).hex()
                      for key in os.listxattr(path, follow_symlinks=False)}
            facts = [kind, stat.S_IMODE(info.st_mode), detail, xattrs, info.st_uid, info.st_gid]
            found[path[len(top) + 1:].hex()] = facts
    return found

results = []
for options in json.load(sys.stdin):
    build = subprocess.run(["buildah", "build", "--quiet", "--layers=false", *options], capture_output=True, text=True,
                           errors="backslashreplace")
    files = {}
    if build.returncode == 0:
        image = build.stdout.strip()
        container = call("from", "--pull-never", image)
        files = listing(call("mount", container))
        call("rm", container)
        call("rmi", "--force", image)
    results.append([build.returncode, build.stderr, files])
json.dump(results, sys.stdout)
"""


def as_user(builder: Builder, function: Callable[[], Any]) -> Any:
    """Call a function in a process of the builder user; return what it returns or raise what it raises."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.initgroups(builder.name, builder.gid)
            os.setgid(builder.gid)
            os.setuid(builder.uid)
            result = function()
        except BaseException as error:  # noqa: BLE001 - it is raised again on the other side
            result = error
        with open(writable, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)
    os.close(writable)
    with open(readable, "rb") as file:
        result = pickle.load(file)
    os.waitpid(pid, 0)
    if isinstance(result, BaseException):
        raise result
    return result


@pytest.fixture
def workspace(builder: Builder) -> Iterator[Path]:
    """A directory of the builder user."""
    path = Path(tempfile.mkdtemp(prefix="context-", dir=builder.home))
    path.chmod(0o755)
    os.chown(path, builder.uid, builder.gid)
    yield path
    shutil.rmtree(path)


@dataclass(frozen=True)
class Built:
    """How a build ended: its errors, and path -> [kind, mode, detail, xattrs, uid, gid] of what the image holds."""

    ok: bool
    errors: str
    files: dict[bytes, list[Any]]

    @property
    def content(self) -> dict[bytes, list[Any]]:
        return {path: facts[:4] for path, facts in self.files.items()}


def build(builder: Builder, *options: list[str]) -> list[Built]:
    results = json.loads(builder.run(["buildah", "unshare", PYTHON, "-c", BUILDER], stdin=json.dumps(options)).stdout)
    return [Built(rc == 0, errors, {bytes.fromhex(path): facts for path, facts in files.items()})
            for rc, errors, files in results]


def copy_all(workspace: Path) -> Path:
    """The Containerfile that copies the whole context; outside of the context."""
    containerfile = workspace / "Containerfile"
    containerfile.write_text("FROM scratch\nCOPY . /\n")
    return containerfile


def expected(files: dict[bytes, list[Any]]) -> dict[str, str]:
    """Write an image's listing as the digest writes files, but for extended attributes."""
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFIFO: "fifo"}
    return {escape_path(path.decode("utf-8", "surrogateescape")):
            f"link {escape_path(bytes.fromhex(detail).decode('utf-8', 'surrogateescape'))}" if kind == stat.S_IFLNK else
            f"{kinds[kind]} {mode:04o} {detail}".rstrip() for path, (kind, mode, detail, _xattrs) in files.items()}


@dataclass(frozen=True)
class Case:
    """Two contexts that differ in one change at most, and how both are built."""

    number: int
    contexts: tuple[Path, Path]
    containerfile: Path
    change: str
    ignore: str

    def digest(self, which: int) -> tuple[str, dict[str, str]]:
        ignore = find_ignore_file(str(self.contexts[which]), str(self.containerfile))
        made = digest_context(str(self.contexts[which]), ignore.patterns)
        return made.digest, dict(made.files)


def make_case(workspace: Path, builder: Builder, number: int) -> Case:
    home = workspace / str(number)
    home.mkdir()
    containerfile = copy_all(home)
    twins = [RandomContext(home / name, builder, f"{SEED}/{number}") for name in ("before", "after")]
    ignores = [twin.ignore_files(containerfile) for twin in twins]
    return Case(number, (twins[0].root, twins[1].root), containerfile, twins[1].change(), repr(ignores[0]))


def test_digest_is_what_copy_puts_into_the_image(builder: Builder, workspace: Path) -> None:
    """Equal in every entry; and a change to the context changes the digest if and only if it changes the image."""
    cases = [make_case(workspace, builder, number) for number in range(CASES)]
    calls = [["--file", str(case.containerfile), str(context)] for case in cases for context in case.contexts]
    images = iter(build(builder, *calls))
    compared = refused = mattered = 0
    for case in cases:
        story = f"ORACLE_SEED={SEED}, case {case.number}: {case.change}; ignore files {case.ignore}"
        before, after = next(images), next(images)
        digests = []
        for which, image in enumerate((before, after)):
            try:
                digest, files = case.digest(which)
            except ContextError as error:
                assert not image.ok, f"refused, but buildah takes it: {error}; {story}"
                assert "pattern" in str(error), story
                refused += 1
                continue
            if not image.ok:
                assert "syntax error in pattern" in image.errors, f"{image.errors}; {story}"
                refused += 1
                continue
            assert {path: made.split(" xattrs=")[0] for path, made in files.items()} == expected(image.content), story
            digests.append(digest)
            compared += 1
        if len(digests) == 2:
            assert (digests[0] != digests[1]) == (before.content != after.content), story
            mattered += before.content != after.content
    print(f"seed {SEED}: {compared} images compared, {refused} refused, {mattered} of {CASES} changes mattered")
    assert compared > CASES and mattered > CASES // 8, "the random trees prove too little"


def write(builder: Builder, root: Path, files: dict[str, str]) -> Path:
    """Make a context of the builder user; a content ``-> target`` is a symbolic link."""
    root.mkdir(exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(content[3:]) if content.startswith("-> ") else path.write_text(content)
    for directory, directories, names in os.walk(root):
        for entry in [directory, *(os.path.join(directory, name) for name in directories + names)]:
            os.lchown(entry, builder.uid, builder.gid)
    return root


@pytest.mark.parametrize("source", ["link/sub", "link/sub/hidden", "li*/sub/hid*", "hop/hidden", "deep/one/keep",
                                    "deep/*/keep", "[d]eep/o?e/keep"])
def test_copies_cover_what_passes_the_ignore_file(builder: Builder, workspace: Path, source: str) -> None:
    """buildah compares patterns with paths as they are spelled: what is hidden arrives through a linked directory."""
    context = write(builder, workspace / "context", {
        ".dockerignore": "real/sub/hidden\ndeep\n!**/keep\n", "real/sub/hidden": "1", "real/sub/open": "1",
        "link": "-> real", "hop": "-> /link/sub", "deep/one/keep": "1", "deep/one/other": "1"})
    containerfile = workspace / "Containerfile"
    containerfile.write_text(f"FROM scratch\nCOPY {source} /x/\n")
    patterns = find_ignore_file(str(context), str(containerfile)).patterns

    def observe() -> tuple[Any, str, str]:
        [image] = build(builder, ["--file", str(containerfile), str(context)])
        assert image.ok, image.errors
        return (image.content, digest_context(str(context), patterns).digest,
                digest_context(str(context), patterns, copies=[source]).digest)

    before = observe()
    write(builder, context, {"real/sub/hidden": "2", "deep/one/keep": "2"})
    after = observe()
    assert before[0] != after[0]
    assert before[1] == after[1], "COPY . sees none of it"
    assert before[2] != after[2]


def test_a_named_context_keeps_owners_and_setuid_and_knows_no_ignore_file(builder: Builder, workspace: Path) -> None:
    named = write(builder, workspace / "named", {"file": "1", "ignored": "1", ".dockerignore": "ignored"})
    (workspace / "context").mkdir()
    containerfile = workspace / "Containerfile"
    containerfile.write_text("FROM scratch\nCOPY --from=named . /\n")

    def observe() -> tuple[Any, str]:
        [image] = build(builder, ["--file", str(containerfile), "--build-context", f"named={named}",
                                  str(workspace / "context")])
        assert image.ok, image.errors
        return image.files, as_user(builder, lambda: digest_context(str(named), preserve=True).digest)

    seen = [observe()]
    assert b"ignored" in seen[0][0] and seen[0][0][b"file"][4:] == [0, 0]
    for owner, mode in ((subordinate_id(builder), 0o644), (subordinate_id(builder), 0o4755)):
        os.chown(named / "file", owner, -1)
        (named / "file").chmod(mode)
        seen.append(observe())
        assert seen[-2][0] != seen[-1][0] and seen[-2][1] != seen[-1][1]
    assert seen[-1][0][b"file"][4] == 5


def test_special_entries_end_as_buildah_treats_them(builder: Builder, workspace: Path) -> None:
    """Pipes, hard links, file capabilities and user.* attributes arrive, sockets never, devices not without root."""
    files = {"one": "1", "capable": "1", "attributed": "1", "dangling": "-> nowhere", "absolute": "-> /etc/passwd",
             "outside": "-> ../../..", "loop": "-> loop"}
    context = write(builder, workspace / "context", files)
    os.link(context / "one", context / "two")
    os.mkfifo(context / "pipe")
    os.mknod(context / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(context / "socket"))
    write(builder, context, {})
    os.setxattr(context / "attributed", "user.color", b"blue")
    subprocess.run(["setcap", "cap_net_raw+ep", str(context / "capable")], check=True)
    [image] = build(builder, ["--file", str(copy_all(workspace)), str(context)])
    digest = digest_context(str(context))
    assert image.ok, image.errors
    assert {name.decode() for name in image.files} == {*files, "two", "pipe"}
    assert set(digest.files) == {*files, "two", "pipe", "device"}
    assert image.files[b"attributed"][3] == {"user.color": b"blue".hex()}
    assert set(image.files[b"capable"][3]) == {"security.capability"}
    builder.run(["buildah", "unshare", "setcap", "cap_net_raw+ep", str(context / "capable")])
    assert len(os.getxattr(context / "capable", "security.capability")) == 24, "now with the builder user's uid in it"
    [again] = build(builder, ["--file", str(copy_all(workspace)), str(context)])
    assert again.content == image.content and digest_context(str(context)) == digest


@pytest.mark.parametrize("name", ["secret", "closed/file"])
def test_what_the_builder_user_cannot_read_is_named(builder: Builder, workspace: Path, name: str) -> None:
    context = write(builder, workspace / "context", {"open": "1", name: "1"})
    top = name.partition("/")[0]
    unreadable = context / top
    os.chown(unreadable, 0, 0)
    unreadable.chmod(0o700)
    with pytest.raises(ContextError) as raised:
        as_user(builder, lambda: digest_context(str(context)))
    assert f"{unreadable} in the build context cannot be read" in str(raised.value)
    assert "Permission denied" in raised.value.cause and "chown" in raised.value.remedy
    [image] = build(builder, ["--file", str(copy_all(workspace)), str(context)])
    assert not image.ok
    write(builder, context, {".containerignore": top})
    os.chown(unreadable, 0, 0)
    patterns = find_ignore_file(str(context), None).patterns
    assert set(as_user(builder, lambda: digest_context(str(context), patterns)).files) == {".containerignore", "open"}
    [image] = build(builder, ["--file", str(copy_all(workspace)), str(context)])
    assert image.ok and set(image.files) == {b".containerignore", b"open"}


def test_a_hundred_thousand_files(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}").mkdir()
        for file in range(1000):
            (tmp_path / f"{number}/{file}").write_bytes(b"%d" % file)
    before = digest_context(str(tmp_path))
    (tmp_path / "57/321").write_bytes(b"X")
    after = digest_context(str(tmp_path), workers=1)
    assert len(before.files) == 100_100
    assert [path for path in before.files if before.files[path] != after.files[path]] == ["57/321"]


def test_a_file_of_several_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as file:
        file.truncate(3 << 30)  # sparse
        file.seek(3 << 30)
        file.write(b"!")
    wanted = hashlib.sha256()
    for _piece in range(3 << 10):
        wanted.update(bytes(1 << 20))
    wanted.update(b"!")
    program = f"""import sys
from {digest_context.__module__} import digest_context
print(digest_context(sys.argv[1], workers=1).files["large"])
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    fingerprint, peak = done.stdout.splitlines()
    assert fingerprint == f"file 0644 {wanted.hexdigest()}"
    assert int(peak) < 64 << 10, f"{peak} KiB"

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a build context counts, and what happens when it cannot be read. Its oracle is in the integration tests."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils import _context
from ansible_collections.rootless.buildah.plugins.module_utils._context import (
    ContextChange,
    compare_files,
    credential_files,
    digest_context,
    escape_path,
    unescape_path,
)
from ansible_collections.rootless.buildah.plugins.module_utils._errors import ContextError

SHA256_OF_ONE = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"  # printf 1 | sha256sum

FILE = f"file 0644 {SHA256_OF_ONE}"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    return path


def write(context: Path, *names: str, content: str = "1") -> None:
    for name in names:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(content)
        (context / name).chmod(0o644)
    for directory, directories, _names in os.walk(context):
        for name in directories:
            os.chmod(os.path.join(directory, name), 0o755)


def digest(context: Path, *ignore: str, **options: Any) -> str:
    return digest_context(str(context), ignore, **options).digest


def files(context: Path, *ignore: str, **options: Any) -> dict[str, str]:
    return dict(digest_context(str(context), ignore, **options).files)


def test_the_digest_is_over_sorted_paths_and_fingerprints(context: Path) -> None:
    write(context, "b", "a/c")
    (context / "link").symlink_to("a/nothing here")
    os.mkfifo(context / "pipe")
    (context / "pipe").chmod(0o600)
    made = digest_context(str(context))
    assert list(made.files.items()) == [
        ("a", "dir 0755"), ("a/c", f"file 0644 {SHA256_OF_ONE}"), ("b", f"file 0644 {SHA256_OF_ONE}"),
        ("link", "link a/nothing here"), ("pipe", "fifo 0600")]
    listing = "".join(f"{path}\0{fingerprint}\n" for path, fingerprint in made.files.items())
    assert made.digest == "sha256:" + hashlib.sha256(listing.encode()).hexdigest()


def test_an_empty_context_has_a_digest(context: Path) -> None:
    assert digest_context(str(context)).files == {}
    assert digest(context).startswith("sha256:")


def chmod_setgid(context: Path) -> None:
    (context / "a").chmod(0o2755)
    (context / "b").chmod(0o4644)


def copy_elsewhere(context: Path) -> None:
    """Another path, another order of creation, other times."""
    shutil.copytree(context, context.parent / "copy", symlinks=True)
    shutil.rmtree(context)
    (context.parent / "copy").rename(context)


@pytest.mark.parametrize("change", [
    lambda context: os.utime(context / "b", (1, 1)),
    lambda context: os.utime(context / "link", (1, 1), follow_symlinks=False),
    lambda context: context.chmod(0o700),
    lambda context: (context / "ignored").write_text("other"),
    chmod_setgid,
    copy_elsewhere,
], ids=["time", "time of a link", "mode of the root", "ignored content", "setuid and setgid", "place"])
def test_what_cannot_matter(context: Path, change: Callable[[Path], Any]) -> None:
    write(context, "a/c", "b", "ignored")
    (context / "link").symlink_to("b")
    before = digest(context, "ignored")
    change(context)
    assert digest(context, "ignored") == before


def same_size_and_time(context: Path) -> None:
    info = (context / "b").stat()
    (context / "b").write_text("2")
    os.utime(context / "b", ns=(info.st_atime_ns, info.st_mtime_ns))


def other_target(context: Path) -> None:
    (context / "link").unlink()
    (context / "link").symlink_to("c")


@pytest.mark.parametrize("change, changed", [
    (same_size_and_time, ContextChange((), (), ("b",))),
    (lambda context: (context / "b").chmod(0o755), ContextChange((), (), ("b",))),
    (lambda context: (context / "a").chmod(0o1755), ContextChange((), (), ("a",))),
    (lambda context: (context / "b").unlink(), ContextChange((), ("b",), ())),
    (lambda context: (context / "b").rename(context / "d"), ContextChange(("d",), ("b",), ())),
    (lambda context: (context / "new").mkdir(mode=0o755), ContextChange(("new",), (), ())),
    (lambda context: (context / "a/c").rename(context / "a/ignored"), ContextChange((), ("a/c",), ())),
    (other_target, ContextChange((), (), ("link",))),
])
def test_what_matters(context: Path, change: Callable[[Path], Any], changed: ContextChange) -> None:
    write(context, "a/c", "b")
    (context / "link").symlink_to("b")
    before = digest_context(str(context), ["**/ignored"])
    change(context)
    after = digest_context(str(context), ["**/ignored"])
    assert compare_files(before.files, after.files) == changed
    assert before.digest != after.digest
    assert changed and not compare_files(after.files, after.files)


def test_every_kind_of_link_is_taken_as_it_is_written(context: Path) -> None:
    targets = {"dangling": "nowhere", "absolute": "/etc/passwd", "outside": "../../..", "loop": "loop", "inside": "a"}
    write(context, "a/c")
    for name, target in targets.items():
        (context / name).symlink_to(target)
    found = files(context)
    assert {name: found[name] for name in targets} == {name: f"link {target}" for name, target in targets.items()}
    assert set(found) == {*targets, "a", "a/c"}


def test_hard_links_are_files(context: Path) -> None:
    write(context, "a")
    os.link(context / "a", context / "b")
    linked = digest(context)
    (context / "b").unlink()
    write(context, "b")
    assert digest(context) == linked


def test_a_socket_does_not_count_nor_what_holds_nothing_else(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(context, "hidden/open/.keep")
    monkeypatch.chdir(context / "hidden/open")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    assert set(files(context, "hidden", "!hidden/open/socket")) == set()
    assert set(files(context)) == {"hidden", "hidden/open", "hidden/open/.keep"}


def test_a_device_counts_by_its_number(context: Path) -> None:
    os.mknod(context / "whiteout", 0o600 | stat.S_IFCHR, os.makedev(0, 0))  # the one device that needs no root
    (context / "whiteout").chmod(0o600)
    assert files(context) == {"whiteout": "char 0600 0:0"}


def test_a_hidden_directory_with_visible_content_is_what_the_copier_makes_of_it(context: Path) -> None:
    write(context, "a/b/c", "a/b/d", "a/e", "x/y")
    (context / "a").chmod(0o700)
    (context / "a/b").chmod(0o711)
    assert files(context, "a", "!a/b/c", "x") == {
        "a": "dir 0755", "a/b": "dir 0755", "a/b/c": f"file 0644 {SHA256_OF_ONE}"}
    assert files(context, "a/*", "!a/b/c", "x")["a"] == "dir 0700"


def test_a_hidden_directory_is_not_even_read(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(context, "a/b", "c")
    real = os.open

    def opened(path: Any, *args: Any, **options: Any) -> int:
        assert path != b"a"
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", opened)
    assert set(files(context, "a")) == {"c"}


@pytest.mark.parametrize("name", [b"plain", "\u00e9".encode(), b"bad\xff\xfe", b"new\nline", b"back\\slash", b"\\x41",
                                  b"\x1b[31m", "\u202egpj".encode(), b"\xed\xb3\xbf"])
def test_names_are_escaped_reversibly(context: Path, name: bytes) -> None:
    with open(os.path.join(os.fsencode(context), name), "wb"):
        pass
    os.symlink(name, os.path.join(os.fsencode(context), b"link"))
    [shown] = set(files(context)) - {"link"}
    assert shown.isprintable() and unescape_path(shown) == name
    assert files(context)["link"] == f"link {shown}"


def test_escaping_loses_nothing() -> None:
    rng = random.Random(1)
    names = {bytes(rng.choices(b"\\x41\xff\xc3\xa9\n af", k=rng.randint(0, 8))) for _name in range(5000)}
    shown = {escape_path(name.decode("utf-8", "surrogateescape")): name for name in names}
    assert len(shown) == len(names)
    assert all(unescape_path(path) == name for path, name in shown.items())


def test_attributes_count_that_the_copier_keeps(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(context, "a")
    held: dict[str, bytes] = {}
    monkeypatch.setattr(os, "listxattr", lambda _fd: list(held))
    monkeypatch.setattr(os, "getxattr", lambda _fd, name: held[os.fsdecode(name)])
    seen = [digest(context)]
    held.update({"security.selinux": b"label", "trusted.x": b"1", "system.posix_acl_access": b"1"})
    assert digest(context) == seen[0]
    capability = b"\1\0\0\2" + bytes(16)
    for name, value in (("user.x", b"1"), ("user.x", b"2"), ("user.y", b""), ("security.capability", capability)):
        held[name] = value
        assert digest(context) not in seen
        seen.append(digest(context))
    held["security.capability"] = b"\1\0\0\3" + bytes(16) + b"\xe8\3\0\0"  # set in a user namespace of the uid 1000
    assert digest(context) == seen[-1]


def test_a_file_system_without_attributes_is_fine(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def listxattr(_fd: int) -> list[str]:
        raise OSError(95, "Operation not supported")

    write(context, "a")
    before = digest(context)
    monkeypatch.setattr(os, "listxattr", listxattr)
    assert digest(context) == before


def test_bind_mounts_show_hidden_files_and_setuid(context: Path) -> None:
    write(context, "a/b", "a/c/d", "e")
    (context / "a/b").chmod(0o4755)
    assert files(context, only=["a"]) == {"a": "dir 0755", "a/b": f"file 4755 {SHA256_OF_ONE}", "a/c": "dir 0755",
                                          "a/c/d": f"file 0644 {SHA256_OF_ONE}"}
    assert set(files(context, only=["/e", "./a/c/", "none"])) == {"e", "a/c", "a/c/d"}
    assert set(files(context, only=[""])) == set(files(context, only=["."])) == set(files(context))


def test_a_bind_mount_through_a_link_is_what_the_link_names(context: Path) -> None:
    write(context, "a/b/c")
    (context / "link").symlink_to("a")
    (context / "a/up").symlink_to("../a/b")
    assert files(context, only=["link/b/c"]) == {"link/b/c": f"file 0644 {SHA256_OF_ONE}"}
    assert set(files(context, only=["link/up"])) == {"link/up", "link/up/c"}


@pytest.mark.parametrize("target", ["/a", "../other", "a/../../other"])
def test_a_bind_mount_that_leads_out_is_refused(context: Path, target: str) -> None:
    write(context, "a/b")
    (context / "link").symlink_to(target)
    with pytest.raises(ContextError, match="The mount source link/x leads out of the build context"):
        digest(context, only=["link/x"])


@pytest.mark.parametrize("source, found", [
    (".", set()),
    ("real/hidden", set()),
    ("link", set()),  # the link itself is followed to where patterns apply
    ("link/sub", {"link/sub/hidden", "link/sub/open"}),
    ("link/sub/hidden", {"link/sub/hidden"}),
    ("l?nk/s*/h[a-j]dden", {"link/sub/hidden"}),
    ("absolute/hidden", {"absolute/hidden"}),
    ("../link/sub/hidden", {"link/sub/hidden"}),
    ("deep/one/keep", {"deep/one/keep"}),
    ("deep/*/keep", {"deep/one/keep"}),
    ("**/keep", {"deep/one/keep"}),
    ("deep/one/other", set()),
    ("loop/x", set()),
    ("none", set()),
    ("https://example.org/x", set()),
])
def test_copies_add_what_passes_the_ignore_file(context: Path, source: str, found: set[str]) -> None:
    ignore = ["real/sub/hidden", "deep", "!**/keep"]
    write(context, "real/sub/hidden", "real/sub/open", "deep/one/keep", "deep/one/other")
    for name, target in {"link": "real", "absolute": "/link/sub", "loop": "loop"}.items():
        (context / name).symlink_to(target)
    assert set(files(context, *ignore, copies=[source])) - set(files(context, *ignore)) == found


def test_copies_add_nothing_without_an_ignore_file(context: Path) -> None:
    write(context, "real/a")
    (context / "link").symlink_to("real")
    assert digest(context, copies=["link/a"]) == digest(context)


def test_named_contexts_keep_owners_and_setuid(context: Path) -> None:
    write(context, "a/b")
    (context / "a/b").chmod(0o4755)
    (context / "link").symlink_to("a")
    assert files(context, preserve=True) == {
        "a": "dir 0755 owner=0:0", "a/b": f"file 4755 {SHA256_OF_ONE} owner=0:0", "link": "link a owner=0:0"}


def test_another_owner_shows_in_a_named_context(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(context, "a")
    info = (context / "a").stat()
    monkeypatch.setattr(os, "geteuid", lambda: info.st_uid + 1)
    assert files(context, preserve=True)["a"].endswith(f" owner={info.st_uid}:0")


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_does_not_matter(context: Path, workers: int) -> None:
    rng = random.Random(2)
    contents = {f"{number % 7}/{number}": rng.randbytes(rng.randint(0, 3000)) for number in range(1500)}
    contents["large"] = bytes(5 << 20)
    for name, content in contents.items():
        (context / name).parent.mkdir(exist_ok=True)
        (context / name).write_bytes(content)
    found = files(context, workers=workers)
    assert {name: found[name].split()[-1] for name in contents} == {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def test_threads_may_read_contexts_at_once(context: Path) -> None:
    write(context, *map(str, range(100)))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _number: digest(context, workers=3), range(24)))) == 1


def test_a_dead_worker_costs_no_file(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(context, *map(str, range(200)))
    before = digest(context, workers=1)
    parent, real = os.getpid(), _context._read_file

    def read_file(root_fd: int, path: bytes) -> Any:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(root_fd, path)

    monkeypatch.setattr(_context, "_read_file", read_file)
    assert digest(context, workers=4) == before


def test_without_the_right_to_fork_it_goes_alone(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    write(context, *map(str, range(100)))
    before = digest(context)
    monkeypatch.setattr(os, "fork", fork)
    assert digest(context, workers=4) == before


def test_an_interrupt_leaves_no_process_behind(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(context, *map(str, range(200)))
    parent = os.getpid()

    def read_file(_root_fd: int, _path: bytes) -> Any:
        if os.getpid() == parent:
            raise KeyboardInterrupt
        signal.pause()

    monkeypatch.setattr(_context, "_read_file", read_file)
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        digest(context, workers=4)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("make, cause", [
    (lambda path: None, "No such file or directory"),
    (lambda path: path.write_text(""), "Not a directory"),
])
def test_a_context_that_is_no_directory(tmp_path: Path, make: Callable[[Path], Any], cause: str) -> None:
    make(tmp_path / "it")
    with pytest.raises(ContextError, match=f"The build context {tmp_path}/it cannot be opened. Cause: {cause}. Remedy"):
        digest(tmp_path / "it")


def test_a_context_may_be_a_link_to_a_directory(context: Path) -> None:
    write(context, "a")
    (context.parent / "link").symlink_to(context)
    assert digest(context.parent / "link") == digest(context)


@pytest.mark.parametrize("name", ["a/file", "a"])
def test_what_cannot_be_read_is_named_with_a_remedy(context: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The permissions themselves are tested with a real user, in the integration tests."""
    write(context, "a/file", "b")
    real = os.open

    def opened(path: Any, *args: Any, **options: Any) -> int:
        if path == name.encode():
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(ContextError) as raised:
        digest(context)
    assert raised.value.message == f"{context}/{name} in the build context cannot be read"
    assert raised.value.cause == "Permission denied" and ".containerignore" in raised.value.remedy
    assert set(files(context, "a")) == {"b"}


def vanish(path: Path) -> None:
    path.unlink()


def become_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("move", [vanish, become_a_link, become_a_pipe, become_a_directory])
def test_a_file_that_is_replaced_before_it_is_read(
        context: Path, move: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    write(context, "a/victim")
    real = os.open

    def opened(path: Any, *args: Any, **options: Any) -> int:
        if path == b"a/victim":
            move(context / "a/victim")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(ContextError, match="a/victim in the build context moved while it was read"):
        digest(context)


@pytest.mark.parametrize("size", [10, 3 << 20])
@pytest.mark.parametrize("move", [
    lambda path: path.write_bytes(path.read_bytes() + b"more"),
    lambda path: os.truncate(path, 5),
    lambda path: path.write_bytes(b"x" * path.stat().st_size),
    lambda path: path.chmod(0o600),
], ids=["grows", "shrinks", "is overwritten", "gets another mode"])
def test_a_file_that_changes_while_it_is_read(
        context: Path, size: int, move: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    victim = context / "victim"
    victim.write_bytes(bytes(size))
    victim.chmod(0o644)
    os.utime(victim, (1, 1))
    real = _context._sha256

    def sha256(fd: int, size: int) -> Any:
        move(victim)
        return real(fd, size)

    monkeypatch.setattr(_context, "_sha256", sha256)
    with pytest.raises(ContextError, match="victim in the build context moved while it was read. Cause: its size or"):
        digest(context)


def test_a_directory_that_vanishes_moved(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(context, "a/b")
    real = os.open

    def opened(path: Any, *args: Any, **options: Any) -> int:
        if path == b"a":
            shutil.rmtree(context / "a")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(ContextError, match="/a in the build context moved while it was read"):
        digest(context)


@pytest.mark.parametrize("name", [
    ".env", "app/.env.production", ".netrc", "_netrc", ".git-credentials", ".pgpass", "keys/id_rsa", ".ssh/id_ed25519",
    "a.p12", "store.jks", ".aws/credentials", "home/.kube/config", ".dockercfg", ".vault_pass", ".config/gh/hosts.yml"])
def test_names_that_give_credentials_away(name: str) -> None:
    assert credential_files({name: FILE}) == [name]


@pytest.mark.parametrize("name", [
    ".env.example", "env", "a.env.md", "id_rsa.pub", "netrc", "credentials", "src/auth.py", "config", ".kube/config.md",
    "a.pem"])
def test_names_that_do_not(name: str) -> None:
    assert credential_files({name: FILE}) == []


@pytest.mark.parametrize("name, content, secret", [
    ("tls.pem", "-----BEGIN RSA PRIVATE KEY-----\n", True),
    ("tls.key", "-----BEGIN PRIVATE KEY-----\n", True),
    ("tls.pem", "-----BEGIN CERTIFICATE-----\n", False),
    (".docker/config.json", '{"auths": {"quay.io": {"auth": "eDp5"}}}', True),
    (".docker/config.json", '{"auths": {}, "credHelpers": {"quay.io": "pass"}}', False),
    ("auth.json", '{"auths": {"quay.io": {"identitytoken": "x"}}}', True),
    (".npmrc", "//registry.example.org/:_authToken=npm_abc", True),
    (".npmrc", "//registry.example.org/:_authToken=${TOKEN}", False),
    (".npmrc", "save-exact=true", False),
    (".pypirc", "[pypi]\npassword = pypi-abc", True),
    (".pypirc", "[pypi]\nusername = __token__", False),
    ("pip.conf", "index-url = https://user:secret@example.org/simple", True),
    (".git/config", "url = https://user:token@example.org/x.git", True),
    (".git/config", "url = https://example.org/x.git", False),
    ("service.json", '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----"}', True),
    ("package.json", '{"private": true}', False),
    ("bad\udcff/x.pem", "-----BEGIN OPENSSH PRIVATE KEY-----", True),
])
def test_contents_that_give_credentials_away(context: Path, name: str, content: str, secret: bool) -> None:
    write(context, name, content=content)
    assert credential_files(files(context), str(context)) == [escape_path(name)] * secret


def test_what_cannot_be_looked_into_counts_as_a_credential(context: Path) -> None:
    assert credential_files({"gone.pem": FILE}, str(context)) == ["gone.pem"]


def test_a_directory_is_no_credential(context: Path) -> None:
    write(context, ".env/bin/python")
    assert credential_files(files(context), str(context)) == []

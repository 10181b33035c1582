# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random build contexts with random ignore files, and random changes to them: the same again from the same seed."""

from __future__ import annotations

import os
import random
import shutil
import socket
import stat
from pathlib import Path

from ansible_collections.rootless.buildah.tests.integration.harness import Builder

# Names that ignore files, regular expressions, tar or terminals could stumble over.
NAMES = ("a", "b", "ab", "a.b", "b.log", "c d", "dir", "src", "keep", "é", "-x", "#h", "!n", "c++", "f(1)", "x\\y",
         "[z]", "bad\udcff", "new\nline", ".hidden", "A", "$1")
TARGETS = ("a", "nowhere", "..", "../../..", "/etc", ".", "dir", "b/../a", "t\udcff")
MODES = (0o644, 0o644, 0o755, 0o600, 0o400, 0o000, 0o4755, 0o2755, 0o1644, 0o777)
CONTENTS = (b"", b"one", b"two", b"x" * 5000)
CHANGES = ("touch", "chown", "mode", "mode", "setid", "content", "content", "xattr", "remove", "add file",
           "add directory", "rename", "retarget", "replace", "unlink hard", "nothing")
ODD_LINES = ("", "# comment", " # no comment", "*", "**", "!**", ".dockerignore", ".*", "[", "!", "a{1,2}")
IGNORE_FILES = ((), (".dockerignore",), (".dockerignore",), (".containerignore",),
                (".containerignore", ".dockerignore"),
                ("FILE.containerignore", ".dockerignore"),
                ("FILE.dockerignore", "FILE.containerignore", ".containerignore"))


def subordinate_id(builder: Builder) -> int:
    """Return the fifth of the builder user's subordinate ids: uid 5 in an image."""
    return next(int(line.split(":")[1]) for line in Path("/etc/subuid").read_text().splitlines()
                if line.startswith(f"{builder.name}:")) + 4


class RandomContext:
    """A context of the builder user."""

    def __init__(self, root: Path, builder: Builder, seed: str) -> None:
        self.root = root
        self.builder = builder
        self.rng = random.Random(seed)
        self.paths: list[str] = []
        root.mkdir()
        self._fill("", depth=0)

    def ignore_files(self, containerfile: Path) -> dict[str, bytes]:
        """Write the ignore files of one case, in the context and beside the Containerfile; return them."""
        made = {}
        for name in self.rng.choice(IGNORE_FILES):
            content = made[name] = self._ignore_file()
            if name.startswith("FILE"):
                containerfile.with_name(name.replace("FILE", containerfile.name)).write_bytes(content)
                continue
            path = self.root / name
            path.write_bytes(content)
            os.chown(path, self.builder.uid, self.builder.gid)
            self.paths.append(name)
        return made

    def change(self) -> str:
        """Do one thing to the context, which may matter or not; say what."""
        path = self.rng.choice(self.paths)
        what = self.rng.choice(CHANGES)
        return f"{what} {path!r}{'' if self._do(what, path) else ' (not possible)'}"

    def _do(self, what: str, path: str) -> bool:
        full = self.root / path
        info = full.lstat()
        kind, mode = stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode)
        if what == "touch":
            os.utime(full, (1, 1), follow_symlinks=False)
        elif what == "chown":
            os.lchown(full, subordinate_id(self.builder), self.builder.gid)
            if kind != stat.S_IFLNK:
                full.chmod(mode)  # which chown cleared of setuid
        elif what == "mode" and kind != stat.S_IFLNK:
            full.chmod(mode ^ self.rng.choice([0o100, 0o040, 0o002, 0o1000]))
        elif what == "setid" and kind != stat.S_IFLNK:
            full.chmod(mode ^ self.rng.choice([0o2000, 0o4000]))
        elif what == "content" and kind == stat.S_IFREG:
            content = full.read_bytes()
            full.write_bytes(bytes([content[0] ^ 1]) + content[1:] if content else b"new")
            os.utime(full, ns=(info.st_atime_ns, info.st_mtime_ns))  # the same size and time
        elif what == "xattr" and kind in (stat.S_IFREG, stat.S_IFDIR):
            os.setxattr(full, "user.oracle", b"\0value")
        elif what == "remove":
            shutil.rmtree(full) if kind == stat.S_IFDIR else full.unlink()
        elif what.startswith("add "):
            parent = path if kind == stat.S_IFDIR else os.path.dirname(path)
            self._make(os.path.join(parent, self.rng.choice(["new", "a.new", "keep.new"])), what[4])
        elif what == "rename":
            full.rename(full.with_name(full.name + "2"))
        elif what == "retarget" and kind == stat.S_IFLNK:
            full.unlink()
            full.symlink_to("elsewhere")
        elif what == "replace" and kind == stat.S_IFREG and not path.endswith("ignore"):
            full.unlink()
            self._make(path, "l")
        elif what == "unlink hard" and kind == stat.S_IFREG and info.st_nlink > 1:
            content = full.read_bytes()
            full.unlink()
            full.write_bytes(content)
            os.chown(full, self.builder.uid, self.builder.gid)
            full.chmod(mode)
        else:
            return False
        return True

    def _fill(self, directory: str, depth: int) -> None:
        count = self.rng.randint(0, 4) if depth else self.rng.randint(2, 7)
        for name in self.rng.sample(NAMES, count):
            path = os.path.join(directory, name)
            kind = self.rng.choice("dddddfffffffllpsh" if depth < 3 else "ffflp")
            self._make(path, kind)
            if kind == "d":
                self._fill(path, depth + 1)

    def _make(self, path: str, kind: str) -> None:
        full = self.root / path
        files = [other for other in map(self.root.joinpath, self.paths) if other.is_file() and not other.is_symlink()]
        if kind == "d":
            full.mkdir()
        elif kind == "l":
            full.symlink_to(self.rng.choice(TARGETS))
        elif kind == "p":
            os.mkfifo(full)
        elif kind == "s":
            parent = os.open(full.parent, os.O_PATH)  # an address has 108 bytes at most
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(os.fsencode(f"/proc/self/fd/{parent}/{full.name}"))
            os.close(parent)
        elif kind == "h" and files:
            os.link(self.rng.choice(files), full)
        else:
            full.write_bytes(self.rng.choice(CONTENTS))
        os.lchown(full, self.builder.uid, self.builder.gid)
        if kind != "l":
            full.chmod(self.rng.choice(MODES))
        self.paths.append(path)

    def _ignore_file(self) -> bytes:
        lines = [self._pattern() for _line in range(self.rng.choice([0, 1, 1, 2, 3, 5]))]
        inner = [path.replace("\n", "?") for path in self.paths if "/" in path]
        if inner and self.rng.random() < 0.4:  # a hidden directory with something to be found in it
            path = self.rng.choice(inner)
            lines += [path.partition("/")[0], "!" + self.rng.choice([path, path + "*", os.path.dirname(path) + "/*"])]
        start = self.rng.choice(["", "", "", "", "\ufeff"])
        end = self.rng.choice(["\n", "\n", "\r\n"])
        return (start + end.join(lines)).encode("utf-8", "surrogateescape")

    def _pattern(self) -> str:
        """Return a line of an ignore file; most often one that has to do with the context."""
        choose = self.rng.choice
        parts = choose([*self.paths, "no/such/file"]).split("/")[:self.rng.randint(1, 4)]
        made = "/".join(
            choose([part] * 6 + ["*", "**", "?", part[0] + "*", "*" + part[-1], "[a-z]", "[^a]*", "\\" + part])
            for part in parts).replace("\n", "?")
        made = choose([made] * 8 + [f"/{made}", f"{made}/", f" {made}\t", f"./{made}", f"{made}/**", f"**/{made}",
                                    f"{made}/*"])
        made = choose([made] * 4 + [f"!{made}"] * 3)
        return choose([made] * 20 + list(ODD_LINES))

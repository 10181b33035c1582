# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build context as an archive: equal contexts give equal bytes. Reads the file system, starts no program.

Only what a build may see goes in, and it must be what was hashed: the archive is made of the build key's own list.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from dataclasses import dataclass
from typing import BinaryIO, Iterator, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._context import unescape_path
from ansible_collections.rootless.buildah.plugins.module_utils._errors import ContextError

#: The time of every file, in seconds since the epoch: times are no part of the build key. Zip archives, which many
#: build tools write, know none before 1980.
MODIFIED = 315532800
_MAX_LINKS = 64
_PIECE = 1 << 20


@dataclass(frozen=True)
class Part:
    """A directory that a build reads.

    :param name: the directory of the archive that it becomes.
    :param root: where it is.
    :param files: what of it is read, as :attr:`ContextDigest.files`.
    :param owners: whether the owners of its files count; those of the user who runs this are 0, as in an image.
    """

    name: str
    root: str
    files: Mapping[str, str]
    owners: bool = False


def write_archive(parts: Sequence[Part], texts: Mapping[str, bytes], file: BinaryIO) -> None:
    """Write a tar archive (pax format, POSIX.1-2001).

    :param texts: further files by name.
    :raises ContextError: when something is not what was hashed.
    """
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(texts.items()):
            entry = _entry(name, tarfile.REGTYPE, 0o644)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for part in parts:
            _Writer(part, archive).write()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, MODIFIED
    return entry


class _Writer:
    """Writes one part: what was hashed, and the directories and links that lead there."""

    def __init__(self, part: Part, archive: tarfile.TarFile) -> None:
        self._part = part
        self._archive = archive
        self._root = os.fsencode(part.root)
        # Real paths, so that what is reached through a link is there once.
        self._wanted: dict[bytes, Optional[str]] = {}

    def write(self) -> None:
        self._archive.addfile(self._owned(b"", _entry(self._part.name, tarfile.DIRTYPE, 0o755)))
        for path, fingerprint in self._part.files.items():
            self._want(unescape_path(path), fingerprint)
        for real in sorted(self._wanted):
            self._add(real, self._wanted[real])

    def _want(self, path: bytes, fingerprint: str) -> None:
        """Note a path and all that leads to it; links are resolved as if the part were the root directory."""
        real = b""
        ahead = [name for name in path.split(b"/") if name]
        hops = 0
        while ahead:
            name = ahead.pop(0)
            if name == b"..":
                real = os.path.dirname(real)
                continue
            here = os.path.join(real, name)
            if not ahead:
                self._wanted[here] = fingerprint
                return
            self._wanted.setdefault(here, None)
            if os.path.islink(os.path.join(self._root, here)) and hops < _MAX_LINKS:
                hops += 1
                target = os.readlink(os.path.join(self._root, here))
                ahead = [name for name in target.split(b"/") if name not in (b"", b".")] + ahead
                real = b"" if target.startswith(b"/") else real
            else:
                real = here

    def _add(self, path: bytes, fingerprint: Optional[str]) -> None:
        full = os.path.join(self._root, path)
        name = f"{self._part.name}/{os.fsdecode(path)}"
        try:
            found = os.lstat(full)
            if stat.S_ISREG(found.st_mode):
                with open(full, "rb") as file:
                    self._add_file(path, name, os.fstat(file.fileno()), file, fingerprint)
                return
            kinds = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}
            kind = kinds.get(stat.S_IFMT(found.st_mode))
            if kind is None:
                raise ContextError(
                    f"{os.fsdecode(full)} cannot go into a cluster", "it is a device", "List it in .containerignore"
                )
            entry = _entry(name, kind, stat.S_IMODE(found.st_mode))
            if kind == tarfile.SYMTYPE:
                entry.linkname = os.fsdecode(os.readlink(full))
            self._archive.addfile(self._owned(path, entry))
        except OSError as error:
            raise self._moved(full, error.strerror or str(error)) from error

    def _add_file(
        self, path: bytes, name: str, found: os.stat_result, file: BinaryIO, fingerprint: Optional[str]
    ) -> None:
        entry = _entry(name, tarfile.REGTYPE, stat.S_IMODE(found.st_mode))
        entry.size = found.st_size
        entry.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in _attributes(file.fileno())}
        hashed = _Hashed(file)
        try:
            self._archive.addfile(self._owned(path, entry), hashed)
        except OSError as error:  # tarfile's word for a file that ends too early
            raise self._moved(os.path.join(self._root, path), str(error)) from error
        # file 0644 <sha256> and more
        if fingerprint is not None and hashed.digest() not in fingerprint.split():
            raise self._moved(os.path.join(self._root, path), "its content changed meanwhile")

    def _owned(self, path: bytes, entry: tarfile.TarInfo) -> tarfile.TarInfo:
        if self._part.owners:
            found = os.lstat(os.path.join(self._root, path))
            entry.uid = 0 if found.st_uid == os.getuid() else found.st_uid
            entry.gid = 0 if found.st_gid == os.getgid() else found.st_gid
        return entry

    @staticmethod
    def _moved(full: bytes, why: str) -> ContextError:
        return ContextError(
            f"the build context changed while it was read: {os.fsdecode(full)}",
            why,
            "Stop what writes there during the build, or build from a copy",
        )


class _Hashed:
    """A file that hashes what is read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._made = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._made.update(data)
        return data

    def digest(self) -> str:
        return self._made.hexdigest()


def _attributes(fd: int) -> Iterator[tuple[str, str]]:
    """Return the extended attributes that buildah's copier keeps, values as tarfile wants bytes that are no text."""
    try:
        names = sorted(os.listxattr(fd))
    except OSError:
        return
    for name in names:
        if name == "security.capability" or (name.startswith("user.") and "/" not in name):
            value = os.getxattr(fd, name)
            if name == "security.capability" and len(value) == 24:
                # Set by the root of a user namespace: version 3, which adds its uid on the host (capabilities(7)).
                value = (int.from_bytes(value[:4], "little") & 0x00FFFFFF | 0x02000000).to_bytes(4, "little") + value[
                    4:20
                ]
            yield name, value.decode("utf-8", "surrogateescape")

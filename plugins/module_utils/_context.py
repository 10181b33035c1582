# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of a build context: all of it that can reach an image. Reads the file system, starts no program.

What counts is what buildah's copier (1.28, 1.39, 1.43) puts into an image when it executes ``COPY . /``:

- regular files with content and permission bits, directories with permission bits, symbolic links with their target
  as it is written, named pipes; of extended attributes ``user.*``, file capabilities and ``security.ima``;
- hard links as the files that they are: buildah links them again, which no reader of the image can tell;
- no owners, no times, no setuid and setgid bits; but see ``preserve`` and ``only`` of :func:`digest_context`;
- a hidden directory with visible content as a directory of mode 0755;
- no sockets. Devices reach an image only when root builds; they count always.

Nothing is remembered between calls: a wrong hit of a cache would be a stale image.
"""

from __future__ import annotations

import errno
import gc
import hashlib
import mmap
import os
import posixpath
import re
import signal
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ansible_collections.rootless.buildah.plugins.module_utils._errors import ContextError
from ansible_collections.rootless.buildah.plugins.module_utils._ignore import IgnoreMatcher

_MAX_LINKS = 64  # as many as buildah's copier follows
_MAX_WORKERS = 8
_GLOB = {"*": ".*", "?": "."}


@dataclass(frozen=True)
class ContextDigest:
    """What a context holds.

    :param digest: ``sha256:<hex>`` over all entries.
    :param files: escaped relative path -> fingerprint: ``file 0644 <sha256>``, ``dir 0755``, ``link <target>``, ...
    """

    digest: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class ContextChange:
    """How two contexts differ: escaped paths, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Switch the search for reference cycles off: hashing makes none, and it takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_no_collector()
def digest_context(root: str, ignore: Sequence[str] = (), *, only: Sequence[str] | None = None,
                   copies: Sequence[str] = (), preserve: bool = False, workers: int | None = None) -> ContextDigest:
    """Digest a build context, or parts of it.

    :param root: the context's directory; a symbolic link to one is followed.
    :param ignore: the patterns of the ignore file.
    :param only: digest just these relative sources as ``RUN --mount=type=bind`` shows them: with setuid and setgid
        bits and, with ``ignore=()``, with what the ignore file hides. A source that does not exist is left out.
    :param copies: the sources of COPY and ADD, where ``*``, ``?``, ``[]`` and ``**`` are wildcards. They add what
        ``COPY .`` does not reach but they do: buildah compares patterns with a path as it is spelled, so a path
        through a linked directory passes the ignore file, and an exception is found even below a hidden directory
        that ``COPY .`` would not enter.
    :param preserve: count owners, setuid and setgid bits, as ``COPY --from`` a named context does. The builder user
        and its group count as 0, which they are in an image.
    :param workers: processes that read; None: one for each usable processor, 8 at most.
    :raises ContextError: something cannot be read, or changed while it was read.
    """
    matcher = IgnoreMatcher(ignore)
    with _opened(root) as root_fd:
        mode_mask = 0o1777 if only is None and not preserve else 0o7777
        scan = _Scan(root, root_fd, matcher, mode_mask=mode_mask, owners=preserve)
        if only is None:
            scan.walk("", "")
            for source in copies if matcher else ():
                scan.copy(source)
        else:
            for source in only:
                scan.mount(source)
        scan.read_files(workers or min(len(os.sched_getaffinity(0)), _MAX_WORKERS))
    files = {escape_path(path): fingerprint for path, fingerprint in sorted(scan.found.items())}
    listing = "".join(f"{path}\0{fingerprint}\n" for path, fingerprint in files.items())
    return ContextDigest("sha256:" + hashlib.sha256(listing.encode()).hexdigest(), files)


def compare_files(old: Mapping[str, str], new: Mapping[str, str]) -> ContextChange:
    """Compare the files of two digests."""
    return ContextChange(
        added=tuple(sorted(new.keys() - old.keys())), removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(path for path in old.keys() & new.keys() if old[path] != new[path])))


def escape_path(path: str) -> str:
    """Make a path printable, reversibly: a backslash is doubled, each byte that cannot be printed becomes ``\\xHH``.

    :param path: bytes that are not UTF-8 as surrogates (``surrogateescape``).
    """
    if path.isprintable() and "\\" not in path:
        return path
    return "".join("\\\\" if char == "\\" else char if char.isprintable() else
                   "".join(f"\\x{byte:02x}" for byte in _encode(char)) for char in path)


def unescape_path(path: str) -> bytes:
    """Undo :func:`escape_path`."""
    return re.sub(rb"\\(?:\\|x([0-9a-f]{2}))", lambda found: bytes.fromhex(found[1].decode()) if found[1] else b"\\",
                  path.encode())


# Files that hold secrets: ends of paths, and what has to be in the file (None: its name says enough). A user who wants
# such a file in an image can allow it; a template (.env.example) holds none.
_SECRETS: tuple[tuple[str, str | None], ...] = (
    (r"\.env(?:\.(?!example$|sample$|template$|dist$|defaults$)[^/]+)?", None),
    (r"[._]netrc|\.git-credentials|\.pgpass|\.my\.cnf|\.s3cfg|\.boto|\.dockercfg|\.vault[-_]pass(?:word)?", None),
    (r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?|\.gnupg/private-keys-v1\.d/[^/]+|[^/]+\.(?:p12|pfx|jks|kdbx)", None),
    (r"\.aws/credentials|\.kube/config|gh/hosts\.yml|\.azure/[^/]*[tT]oken[^/]*", None),
    (r"gcloud/(?:application_default_credentials\.json|credentials\.db|access_tokens\.db)", None),
    (r"[^/]+\.(?:pem|key|crt|cert)|ssh_host_[^/]+_key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    (r"\.docker/config\.json|auth\.json", r'"(?:auth|identitytoken|registrytoken)"\s*:\s*"[^"]'),
    (r"\.npmrc|\.yarnrc|\.yarnrc\.yml", r"(?i)_?(?:auth|authtoken|password)[\"']?\s*[=:]\s*[^\s$]"),
    (r"\.pypirc|pip\.conf|\.cargo/credentials(?:\.toml)?", r"(?i)(?:password|token)\s*=\s*[^\s$]|://[^\s/:@]+:[^\s/@]+@"),
    (r"\.git/config|\.gitmodules", r"://[^\s/:@]+:[^\s/@]+@"),
    (r"[^/]+\.json", r'"private_key"\s*:\s*"-----BEGIN'),
)
_SECRET_PATH = re.compile("(?:^|/)(?:" + "|".join(f"({names})" for names, _content in _SECRETS) + ")$")
_SECRET_WITHIN = 1 << 16  # bytes; a key or a token that begins later is not looked for


def credential_files(files: Mapping[str, str], root: str | None = None) -> list[str]:
    """List what of a context looks like a private key or a credential. Signs, not proof.

    :param files: as :attr:`ContextDigest.files`.
    :param root: the context, to look into files whose name alone does not tell; None: such files are not listed.
    """
    listed = []
    for path, fingerprint in files.items():
        found = _SECRET_PATH.search(path)
        if found and found.lastindex and fingerprint.startswith("file "):
            content = _SECRETS[found.lastindex - 1][1]
            if content is None or root is not None and _holds(root, path, content):
                listed.append(path)
    return listed


def _holds(root: str, path: str, content: str) -> bool:
    """Look for a regular expression at the beginning of a file; one that cannot be read might hold it."""
    try:
        fd = os.open(os.path.join(os.fsencode(root), unescape_path(path)), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        return re.search(content.encode(), os.read(fd, _SECRET_WITHIN)) is not None
    except OSError:
        return True
    finally:
        os.close(fd)


def _encode(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _decode(name: str) -> str:
    """Read a name as UTF-8 whatever the locale is: all builders have to agree on the digest."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _rooted(path: str) -> str:
    """Give a path relative to the context; as in a root directory, there is no way up from it."""
    return posixpath.normpath("/" + path).lstrip("/")


@contextmanager
def _opened(root: str) -> Iterator[int]:
    try:
        root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ContextError(f"The build context {root} cannot be opened", cause=error.strerror or str(error),
                           remedy="name an existing directory that the builder user can read") from error
    try:
        yield root_fd
    finally:
        os.close(root_fd)


class _Scan:
    """Collects what is visible: everything but regular files at once, those in :meth:`read_files`."""

    def __init__(self, root: str, root_fd: int, matcher: IgnoreMatcher, *, mode_mask: int, owners: bool) -> None:
        self.found: dict[str, str] = {}
        self._root = root
        self._root_fd = root_fd
        self._matcher = matcher
        self._mode_mask = mode_mask
        self._owners = owners
        self._walked: set[str] = set()
        self._files: list[tuple[str, str]] = []

    def walk(self, top: str, real_top: str, visible: bool = False) -> None:
        """Collect what lies below a directory.

        :param top: its path as it is spelled, which is what patterns are compared with.
        :param real_top: the same without symbolic links.
        :param visible: whether the directory itself counts.
        """
        pending = [(top, real_top, visible)]
        while pending:
            directory, real, visible = pending.pop()
            if directory in self._walked:
                continue
            self._walked.add(directory)
            with self._listed(real) as (fd, entries):
                if visible:
                    info = os.fstat(fd)
                    self.found[directory] = self._fingerprint("dir", info.st_mode, info.st_uid, info.st_gid,
                                                              attributes=_attributes(fd))
                for entry in entries:
                    name = _decode(entry.name)
                    path, real_path = _join(directory, name), _join(real, name)
                    visible = not self._matcher.ignores(path)
                    if entry.is_dir(follow_symlinks=False):
                        if visible or self._matcher.may_hold_exceptions(path):
                            pending.append((path, real_path, visible))
                    elif visible:
                        visible = self._add(path, real_path, entry)
                    if visible:
                        self._imply(directory, top)

    def copy(self, source: str) -> None:
        """Collect what COPY finds under a source; links are resolved as if the context were the root directory."""
        for item in self._glob(_rooted(source)):
            for _hop in range(_MAX_LINKS):
                real = _join(self._resolve(posixpath.dirname(item))[0], posixpath.basename(item))
                mode = self._mode(real)
                if stat.S_ISDIR(mode):
                    self.walk(item, real)
                elif mode and not self._matcher.ignores(item):
                    self._add(item, real)
                if not stat.S_ISLNK(mode):
                    break
                item = _rooted(posixpath.join(posixpath.dirname(item), self._target(real)))

    def mount(self, source: str) -> None:
        """Collect what a bind mount of a source shows."""
        path = _rooted(source)
        real, escapes = self._resolve(path)
        if escapes:
            # Whether that names a file outside, which no digest of the context covers, depends on buildah's version.
            raise ContextError(f"The mount source {source} leads out of the build context {self._root}",
                               cause="a symbolic link on its way is absolute or climbs too far",
                               remedy="make it relative within the context, or use a named build context")
        mode = self._mode(real)
        if stat.S_ISDIR(mode):
            self.walk(path, real, visible=bool(path))
        elif mode:
            self._add(path, real)

    def read_files(self, workers: int) -> None:
        """Read the regular files that were collected, side by side."""
        results = _read_files(self._root_fd, [_encode(real) for _path, real in self._files], workers)
        for (path, real), (status, mode, uid, gid, content, attributes) in zip(self._files, results):
            if status == _MOVED:
                raise self._moved(real, "its size or its time changed meanwhile")
            if status != _READ:
                raise self._unreadable(real, OSError(status, os.strerror(status)))
            self.found[path] = self._fingerprint("file", mode, uid, gid, content.hex(), attributes)

    def _add(self, path: str, real: str, entry: os.DirEntry[str] | None = None) -> bool:
        """Note what is no directory. Tells whether it can reach an image."""
        if path in self.found:
            return True
        self.found[path] = ""
        if entry is not None and entry.is_file(follow_symlinks=False):
            self._files.append((path, real))  # the usual case, without a stat
            return True
        try:
            info = entry.stat(follow_symlinks=False) if entry else self._lstat(real)
        except OSError as error:
            raise self._unreadable(real, error) from error
        facts = (info.st_mode, info.st_uid, info.st_gid)
        if stat.S_ISREG(info.st_mode):
            self._files.append((path, real))
        elif stat.S_ISLNK(info.st_mode):
            self.found[path] = self._fingerprint("link", *facts, escape_path(self._target(real)))
        elif stat.S_ISFIFO(info.st_mode):
            self.found[path] = self._fingerprint("fifo", *facts)
        elif stat.S_ISSOCK(info.st_mode):
            del self.found[path]
            return False
        else:
            kind = "block" if stat.S_ISBLK(info.st_mode) else "char"
            device = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
            self.found[path] = self._fingerprint(kind, *facts, device)
        return True

    def _imply(self, directory: str, top: str) -> None:
        """Note the hidden directories above something visible: the copier makes them with the mode 0755."""
        while directory != top and directory not in self.found:
            self.found[directory] = "dir 0755"
            directory = posixpath.dirname(directory)

    def _fingerprint(self, kind: str, mode: int, uid: int, gid: int, detail: str = "", attributes: bytes = b"") -> str:
        made = kind if kind == "link" else f"{kind} {mode & self._mode_mask:04o}"
        if detail:
            made += f" {detail}"
        if any(attributes):
            made += f" xattrs={attributes.hex()}"
        if self._owners:
            made += f" owner={0 if uid == os.geteuid() else uid}:{0 if gid == os.getegid() else gid}"
        return made

    @contextmanager
    def _listed(self, path: str) -> Iterator[tuple[int, Iterator[os.DirEntry[str]]]]:
        try:
            fd = os.open(_encode(path) or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                         dir_fd=self._root_fd)
        except OSError as error:
            raise self._unreadable(path, error) from error
        try:
            with os.scandir(fd) as entries:
                yield fd, entries
        finally:
            os.close(fd)

    def _lstat(self, path: str) -> os.stat_result:
        return os.stat(_encode(path) or b".", dir_fd=self._root_fd, follow_symlinks=False)

    def _mode(self, path: str) -> int:
        """Give the mode of what lies at a path without links; 0 for nothing, which is buildah's to complain about."""
        try:
            return self._lstat(path).st_mode
        except OSError:
            return 0

    def _target(self, path: str) -> str:
        try:
            return os.readlink(_encode(path), dir_fd=self._root_fd).decode("utf-8", "surrogateescape")
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _resolve(self, path: str) -> tuple[str, bool]:
        """Follow all links of a path as if the context were the root directory; tell whether one leads out of it."""
        real, rest, escapes = "", path.split("/"), False
        for _step in range(_MAX_LINKS * 64):
            if not rest:
                break
            name = rest.pop(0)
            if name == "..":
                escapes |= not real
                real = posixpath.dirname(real)
            elif name not in ("", "."):
                here = _join(real, name)
                if stat.S_ISLNK(self._mode(here)):
                    target = self._target(here)
                    if target.startswith("/"):
                        real, escapes = "", True
                    rest[:0] = target.split("/")
                else:
                    real = here
        return real, escapes

    def _glob(self, source: str) -> list[str]:
        """Expand wildcards, rather too far than not far enough: a set stands for any character."""
        found = [""]
        for part in source.split("/"):
            if part == "**":
                found = [below for directory in found for below in self._below(directory)]
            elif re.search(r"[][*?\\]", part):
                regex = "".join(_GLOB.get(token) or ("." if len(token) > 2 else re.escape(token[-1]))
                                for token in re.findall(r"\[(?:\\.|[^]])+\]|\\.|.", part, re.DOTALL))
                found = [_join(directory, name) for directory in found for name in self._names(directory)
                         if name == part or re.fullmatch(regex, name, re.DOTALL)]
            else:
                found = [_join(directory, part) for directory in found]
        return found

    def _below(self, directory: str) -> Iterator[str]:
        yield directory
        for name in self._names(directory):
            path = _join(directory, name)
            if stat.S_ISDIR(self._mode(path)):
                yield from self._below(path)
            else:
                yield path

    def _names(self, directory: str) -> list[str]:
        real = self._resolve(directory)[0]
        if not stat.S_ISDIR(self._mode(real)):
            return []
        with self._listed(real) as (_fd, entries):
            return [_decode(entry.name) for entry in entries]

    def _unreadable(self, path: str, error: OSError) -> ContextError:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO):
            return self._moved(path, f"it is no longer what its directory said ({error.strerror})")
        remedy = ""
        if error.errno in (errno.EACCES, errno.EPERM):
            remedy = ("let the builder user read it (chmod, chown; of a subordinate id: buildah unshare chown) "
                      "or name it in .containerignore")
        return ContextError(f"{self._shown(path)} in the build context cannot be read",
                            cause=error.strerror or str(error), remedy=remedy)

    def _moved(self, path: str, cause: str) -> ContextError:
        return ContextError(f"{self._shown(path)} in the build context moved while it was read", cause=cause,
                            remedy="build when nothing writes to the context, or build from a copy of it")

    def _shown(self, path: str) -> str:
        return posixpath.join(self._root, escape_path(path))


# How a file was read, one fixed slot each in memory that all workers share: status, mode, uid, gid, sha256 of the
# content, digest of the extended attributes. A status is 0 before, an errno, or one of these.
_SLOT = struct.Struct("=HHII32s16s")
_READ, _MOVED = 0xFFFF, 0xFFFE
_NO_ATTRIBUTES = bytes(16)
_PIECE = 1 << 20  # bytes; files up to this size are read by one call, larger ones piece by piece


def _read_files(root_fd: int, paths: Sequence[bytes], workers: int) -> list[tuple[int, int, int, int, bytes, bytes]]:
    """Read files side by side in forked processes; threads would wait for the interpreter's lock (measured).

    The numbers of the shares lie ready in a pipe, from which each process takes the next one. A process that dies
    costs time, not the result: what it leaves is read at the end.
    """
    if not paths:
        return []
    share = max(1, len(paths) // 512)  # 512 numbers fit into the smallest pipe
    slots = mmap.mmap(-1, len(paths) * _SLOT.size)
    queue, filling = os.pipe()
    # Empty is the end, closed or not: processes that other threads start may hold its other end open.
    os.set_blocking(queue, False)
    os.write(filling, b"".join(number.to_bytes(2, "big") for number in range(-(-len(paths) // share))))
    os.close(filling)
    parent = os.getpid()

    def read(numbers: Iterable[int]) -> None:
        for number in numbers:
            _SLOT.pack_into(slots, number * _SLOT.size, *_read_file(root_fd, paths[number]))

    def work() -> None:
        while os.getpid() == parent or os.getppid() == parent:
            token = b""
            with suppress(BlockingIOError):
                token = os.read(queue, 2)
            if not token:
                break
            first = int.from_bytes(token, "big") * share
            read(range(first, min(first + share, len(paths))))

    helpers: list[int] = []
    try:
        if _worth_helpers(root_fd, paths):
            for _helper in range(min(workers, len(paths)) - 1):
                with suppress(OSError):  # no more processes allowed: the ones there are do it
                    helpers.append(_fork(work))
        work()
    except BaseException:
        for helper in helpers:
            os.kill(helper, signal.SIGKILL)
        raise
    finally:
        for helper in helpers:
            with suppress(ChildProcessError):
                os.waitpid(helper, 0)
        os.close(queue)
    read(number for number, slot in enumerate(_SLOT.iter_unpack(slots[:])) if not slot[0])
    return list(_SLOT.iter_unpack(slots[:]))


def _worth_helpers(root_fd: int, paths: Sequence[bytes]) -> bool:
    """Tell whether reading takes longer than starting a process (1 ms)."""
    if len(paths) >= 64:
        return True
    size = 0
    for path in paths:
        with suppress(OSError):
            size += os.stat(path, dir_fd=root_fd, follow_symlinks=False).st_size
    return size >= 4 * _PIECE


def _fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    finally:
        os._exit(0)  # nothing of the parent's: no cleanup, no buffers, no result on stdout


def _read_file(root_fd: int, path: bytes) -> tuple[int, int, int, int, bytes, bytes]:
    """Read a regular file from its beginning to its end; gives what fills its slot."""
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root_fd)
        before = os.fstat(fd)
        count, content = _sha256(fd, before.st_size)
        attributes = _attributes(fd)
        after = os.fstat(fd)
    except OSError as error:
        return error.errno or errno.EIO, 0, 0, 0, b"", b""
    finally:
        if fd >= 0:
            os.close(fd)
    if not stat.S_ISREG(before.st_mode) or count != before.st_size or (
            before.st_size, before.st_mtime_ns, before.st_mode) != (after.st_size, after.st_mtime_ns, after.st_mode):
        return _MOVED, 0, 0, 0, b"", b""
    return _READ, after.st_mode, after.st_uid, after.st_gid, content, attributes


def _sha256(fd: int, size: int) -> tuple[int, bytes]:
    """Hash a file of a size that is expected; gives the size that it had: more only if it grew."""
    if size <= _PIECE:
        content = os.read(fd, size + 1)
        return len(content), hashlib.sha256(content).digest()
    made, buffer, count = hashlib.sha256(), memoryview(bytearray(_PIECE)), 0
    while count <= size:
        length = os.readv(fd, [buffer])
        if not length:
            break
        made.update(buffer[:length])
        count += length
    return count, made.digest()


def _attributes(fd: int) -> bytes:
    """Digest the extended attributes that the copier keeps; zeros for none."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return _NO_ATTRIBUTES
        raise
    made = hashlib.sha256()
    kept = [name for name in sorted(map(os.fsencode, names)) if name in (b"security.capability", b"security.ima")
            or name.startswith(b"user.") and b"/" not in name]
    for name in kept:
        value = os.getxattr(fd, name)
        if name == b"security.capability" and len(value) == 24:
            # Set by the root of a user namespace: version 3, which adds its uid on the host. The image has version 2.
            value = (int.from_bytes(value[:4], "little") & 0x00FFFFFF | 0x02000000).to_bytes(4, "little") + value[4:20]
        made.update(b"%d %s %d " % (len(name), name, len(value)) + value)
    return made.digest()[:16] if kept else _NO_ATTRIBUTES

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a role keeps: look, decide with _managed_file, apply. Knows nothing of Ansible."""

from __future__ import annotations

import contextlib
import difflib
import grp
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass, replace
from typing import Any, Collection, Iterator, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError
from ansible_collections.rootless.buildah.plugins.module_utils._managed_file import (
    Plan,
    Seen,
    Wanted,
    digest,
    plan_absent,
    plan_present,
    render,
)
from ansible_collections.rootless.buildah.plugins.module_utils._way_back import FILE_KEY, SHARED, WayBack


class ForeignFileError(BuildahError):
    """Files that somebody else wrote are in the way; ``diffs`` show what would have become of each."""

    def __init__(self, role: str, diffs: Sequence[dict[str, str]]) -> None:
        told = " ".join(
            f"{diff['before_header']} was written by somebody else and is left alone." for diff in diffs)
        super().__init__(
            told,
            cause="It does not carry the line by which this collection knows its own files, or was changed since.",
            remedy=f"Move its settings elsewhere and remove it, or set {role}_overwrite: true; then it is kept, and "
                   "put back by the state absent.")
        self.diffs = list(diffs)

    def as_result(self) -> dict[str, Any]:
        # Ansible shows the diff of a task that changes something, not that of one that fails: hence the lines.
        lines: list[str] = []
        for diff in self.diffs:
            before, after = (diff[side].splitlines() for side in ("before", "after"))
            lines += difflib.unified_diff(before, after, "theirs", "ours", lineterm="")
        return {**super().as_result(), "diff": self.diffs, "difference": lines}


@dataclass(frozen=True)
class FileOptions:
    """What the user asked for; the fields are the options of the module managed_file."""

    path: str
    role: str
    comment: str = "#"
    owner: str = "root"
    group: str = ""
    mode: str = "0644"
    directory_mode: str = "0755"
    as_owner: bool = False
    overwrite: bool = False
    secret: bool = False


@dataclass(frozen=True)
class Look:
    """What was found at a path and what is going to be done about it; ``result`` tells the user."""

    note: dict[str, Any] | None
    account: pwd.struct_passwd | None
    seen: Seen
    wanted: Wanted | None
    plan: Plan
    result: dict[str, Any]


def keep_files(wishes: Sequence[tuple[FileOptions, str | None]], check_mode: bool = False) -> list[dict[str, Any]]:
    """Make all files what they shall be; none is touched when one of them belongs to somebody else.

    :param wishes: for each file its options, and its content or None to remove it.
    :return: the results in the same order, as :meth:`FileKeeper.present` and :meth:`FileKeeper.absent` give them.
    :raises ForeignFileError: somebody else wrote some of them and overwriting is not allowed.
    """
    keepers = [FileKeeper(options, check_mode) for options, _content in wishes]
    looks = [keeper.look(content) for keeper, (_options, content) in zip(keepers, wishes)]
    foreign = [look.result["diff"] for look in looks if look.plan.action == "refuse"]
    if foreign:
        raise ForeignFileError(wishes[0][0].role, foreign)
    return [keeper.apply(look) for keeper, look in zip(keepers, looks)]


def other_files(role: str, owner: str, listed: Collection[str]) -> list[str]:
    """Return the files that a role keeps for an owner besides the listed ones."""
    noted = WayBack(role).read()
    mine = {key[len(FILE_KEY):]: note for key, note in noted.items() if key.startswith(FILE_KEY)}
    return sorted(
        path for path, note in mine.items() if note.get("options", {}).get("owner") == owner and path not in listed)


class FileKeeper:
    """Keeps one file.

    :param options: what the user asked for.
    :param check_mode: only predict. An owner or group that does not exist counts as one that is about to be made.
    """

    def __init__(self, options: FileOptions, check_mode: bool = False) -> None:
        self.options = options
        self.check_mode = check_mode
        self.path = options.path
        self.key = f"{FILE_KEY}{options.path}"
        self.way_back = WayBack(options.role)

    def present(self, content: str) -> dict[str, Any]:
        """Make the file hold the marker and ``content``.

        :return: changed, path, action, diff, and backup where somebody else's file was kept.
        :raises ForeignFileError: somebody else wrote it and overwriting is not allowed.
        """
        return self.apply(self.allowed(content))

    def allowed(self, content: str | None) -> Look:
        """Find out like :meth:`look` what has to be done, for what must not begin where the file is in the way.

        :raises ForeignFileError: somebody else wrote it and overwriting is not allowed.
        """
        look = self.look(content)
        if look.plan.action == "refuse":
            raise ForeignFileError(self.options.role, [look.result["diff"]])
        return look

    def absent(self) -> dict[str, Any]:
        """Remove the file if it is ours, put back what it replaced, and remove directories made for it.

        :return: changed, path, action, diff.
        """
        return self.apply(self.look(None))

    def look(self, content: str | None) -> Look:
        """Find out what has to be done for the file to hold ``content``, or with None for it not to be there."""
        note = self.way_back.read().get(self.key)
        if note and content is None:
            # Whoever removes a file need not know how it was written.
            self.options = replace(self.options, **note.get("options", {}))
        account = self.account()
        with self.rights(account):
            seen = self.observe()
        wanted = None if content is None else self.wanted(content, account)
        if wanted is None:
            plan = plan_absent(seen, note, self.options.comment)
        else:
            plan = plan_present(seen, wanted, note, self.options.comment, self.options.overwrite)
        return Look(note, account, seen, wanted, plan, self.result(seen, wanted, plan, note))

    def apply(self, look: Look) -> dict[str, Any]:
        """Do what was found to be necessary, unless only predictions are wanted, and return the result."""
        if self.check_mode:
            return look.result
        if look.wanted is None:
            self.take_away(look)
            return look.result
        backup = {"backup": self.save(look.seen)} if look.plan.save else {}
        # The digest is noted first: killed in between, however often, the next run still knows the file as its own.
        written = digest(look.wanted.data)
        if look.plan.action == "write":
            self.remember([*(look.note or {}).get("digests", []), written])
            self.write(look.wanted, look.account)
        self.remember([written])
        return {**look.result, **backup}

    def take_away(self, look: Look) -> None:
        if look.plan.action == "restore":
            self.restore(look.note or {}, look.account)
        elif look.plan.action == "remove":
            with self.rights(look.account):
                os.unlink(self.path)
        self.way_back.forget(self.key)
        self.remove_directories(look.account)

    # -- what is there --------------------------------------------------------------------------------------------

    def observe(self) -> Seen:
        try:
            status = os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return Seen()
        fields: dict[str, Any] = {"uid": status.st_uid, "gid": status.st_gid, "mode": stat.S_IMODE(status.st_mode)}
        if stat.S_ISLNK(status.st_mode):
            return Seen("link", target=os.readlink(self.path), **fields)
        if not stat.S_ISREG(status.st_mode):
            return Seen("other", **fields)
        with open(self.path, "rb") as handle:
            return Seen("file", data=handle.read(), **fields)

    def wanted(self, content: str, account: pwd.struct_passwd | None) -> Wanted:
        uid, gid = (account.pw_uid, account.pw_gid) if account else (-1, -1)
        if self.options.group:
            try:
                gid = grp.getgrnam(self.options.group).gr_gid
            except KeyError:
                if not self.check_mode:
                    raise BuildahError(f"There is no group {self.options.group} for {self.path}.") from None
                gid = -1
        data = render(content, self.options.role, self.options.comment)
        return Wanted(data, uid, gid, int(self.options.mode, 8))

    def account(self) -> pwd.struct_passwd | None:
        """Return the owner; None where it does not exist, so that there is nothing to read with its rights."""
        try:
            return pwd.getpwnam(self.options.owner)
        except KeyError:
            return None

    def result(self, seen: Seen, wanted: Wanted | None, plan: Plan, note: dict[str, Any] | None) -> dict[str, Any]:
        return {"changed": plan.changed, "path": self.path, "action": plan.action,
                "diff": self.diff(seen, wanted, plan, note)}

    def diff(self, seen: Seen, wanted: Wanted | None, plan: Plan, note: dict[str, Any] | None) -> dict[str, str]:
        before = seen.data.decode("utf-8", "replace") if seen.kind == "file" else ""
        if seen.kind == "link":
            before = f"a link to {seen.target}\n"
        if wanted is not None:
            after = wanted.data.decode("utf-8")
        elif plan.action == "restore" and note:
            after = f"what was there before, kept in {note['backup']}\n"
        else:
            after = before if plan.action in ("keep", "forget") else ""
        if self.options.secret:
            same = "content" not in plan.differences and plan.action in ("keep", "write", "forget")
            before, after = ("a secret\n" if before else "", before and "a secret\n") if same else (
                "a secret\n" if before else "", "another secret\n" if after else "")
        if wanted is not None and seen.kind != "absent" and {"owner", "mode"} & set(plan.differences):
            before = f"{seen.uid}:{seen.gid} {seen.mode:04o}\n{before}"
            after = f"{wanted.uid}:{wanted.gid} {wanted.mode:04o}\n{after}"
        return {"before": before, "after": after, "before_header": self.path, "after_header": self.path}

    # -- changes --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def rights(self, account: pwd.struct_passwd | None) -> Iterator[None]:
        """Work with the owner's rights, so that links in a home lead nowhere that the owner could not write."""
        if not self.options.as_owner or account is None or os.geteuid() != 0:
            yield
            return
        groups = os.getgroups()
        os.setgroups(os.getgrouplist(account.pw_name, account.pw_gid))
        os.setegid(account.pw_gid)
        os.seteuid(account.pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def write(self, wanted: Wanted, account: pwd.struct_passwd | None) -> None:
        if account is None:
            raise BuildahError(f"There is no user {self.options.owner} to own {self.path}.")
        made = self.make_directories(account)
        if made:
            shared = WayBack(SHARED)
            for directory in made:
                shared.note_first(directory, self.options.owner if self.options.as_owner else "root")
        self.replace(wanted, account)

    def replace(self, wanted: Wanted, account: pwd.struct_passwd | None) -> None:
        """Put a whole new file into place, so that no reader ever sees half of it."""
        with self.rights(account):
            handle, temporary = tempfile.mkstemp(prefix=".rootless-buildah-", dir=os.path.dirname(self.path))
        try:
            with os.fdopen(handle, "wb") as stream:
                with self.rights(account):
                    stream.write(wanted.data)
                    stream.flush()
                    os.fchmod(handle, wanted.mode)
                status = os.fstat(handle)
                if (status.st_uid, status.st_gid) != (wanted.uid, wanted.gid):
                    # Nobody can give a file away, and one that is put back may have been root's. Through the
                    # descriptor: whatever is in the file's place by now is left alone.
                    os.fchown(handle, wanted.uid, wanted.gid)
                    if not self.options.as_owner:
                        os.fchmod(handle, wanted.mode)  # chown(2) takes setuid bits
                os.fsync(handle)
            with self.rights(account):
                os.replace(temporary, self.path)
        except BaseException:
            with self.rights(account), contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def make_directories(self, account: pwd.struct_passwd | None) -> list[str]:
        missing = []
        directory = os.path.dirname(self.path)
        with self.rights(account):
            while not os.path.isdir(directory):
                missing.append(directory)
                directory = os.path.dirname(directory)
            for directory in reversed(missing):
                os.mkdir(directory)
                os.chmod(directory, int(self.options.directory_mode, 8))
        return missing

    def remove_directories(self, account: pwd.struct_passwd | None) -> None:
        """Remove the parents that this collection made, as far as they are empty now."""
        shared = WayBack(SHARED)
        noted = shared.read()
        directory = os.path.dirname(self.path)
        while directory in noted:
            try:
                with self.rights(account):
                    os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                return
            shared.forget(directory)
            directory = os.path.dirname(directory)

    def save(self, seen: Seen) -> str:
        directory = os.path.join(self.way_back.directory, f"{self.options.role}.backups")
        with self.way_back.change() as notes:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            backup = os.path.join(directory, self.path.strip("/").replace("/", "-"))
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(seen.data)
                stream.flush()
                os.fsync(stream.fileno())
            rights = {"uid": seen.uid, "gid": seen.gid, "mode": seen.mode}
            notes[self.key] = {"backup": backup, "target": seen.target, **rights}
        return backup

    def restore(self, note: dict[str, Any], account: pwd.struct_passwd | None) -> None:
        # The directory may have gone meanwhile; with its owner nothing is left that could be put back.
        if account is not None or not self.options.as_owner:
            self.make_directories(account)
            self._put_back(note, account)
        os.unlink(note["backup"])
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(note["backup"]))

    def _put_back(self, note: dict[str, Any], account: pwd.struct_passwd | None) -> None:
        if note["target"]:
            temporary = f"{self.path}.rootless-buildah"
            with self.rights(account):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)  # of a run that was killed here
                os.symlink(note["target"], temporary)
                os.replace(temporary, self.path)
            return
        with open(note["backup"], "rb") as handle:
            data = handle.read()
        self.replace(Wanted(data, note["uid"], note["gid"], note["mode"]), account)

    def remember(self, written: list[str]) -> None:
        options = {name: getattr(self.options, name) for name in ("owner", "as_owner", "comment", "secret")}
        fields = {"digests": written, "options": options}
        noted = self.way_back.read().get(self.key, {})
        if {**noted, **fields} == noted:
            return
        with self.way_back.change() as notes:
            notes[self.key] = {**notes.get(self.key, {}), **fields}

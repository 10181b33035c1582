# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door to the account tables: shadow's programs and the files that they own. Touches no member of ``module``."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Callable

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, CommandError, LockError
from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID, finding_for, known
from ansible_collections.rootless.buildah.plugins.module_utils._subid import (
    Change,
    Host,
    IdRange,
    Limits,
    Table,
    mapping_is_stale,
    outside,
    overlapping,
    subid_service,
)

SUBUID, SUBGID = "/etc/subuid", "/etc/subgid"
OWN_LOCK = "/run/rootless.buildah-subid.lock"
BOOTED = "/run/systemd/system"  # sd_booted(3)
USER_BUSY = 8  # usermod(8): somebody runs something with the user's ids
_PACKAGES = "install its package (Debian: uidmap, Red Hat: shadow-utils-subid), or apply rootless.buildah.subid"
# It says that the table does not exist, which _create_missing() rules out.
_COUNT_OF_NONE = ("where SUB_UID_COUNT or SUB_GID_COUNT is 0 in /etc/login.defs, usermod of shadow 4.19 and newer "
                  "touches no table: set them to 65536, or delete them")
_RANGE = re.compile(r"\d+: .+ (\d+) (\d+)")

Runner = Callable[..., "subprocess.CompletedProcess[str]"]


def call(argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program with plain messages and without input; ``options`` go to :func:`subprocess.run`."""
    return subprocess.run(
        list(argv), stdin=subprocess.DEVNULL, capture_output=True, check=False,
        encoding="utf-8", errors="surrogateescape", env={**os.environ, "LC_ALL": "C"}, **options)


def find_program(name: str) -> str | None:
    """Return the path of a program, also when PATH lacks the directories of the administrator."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
    return shutil.which(name, path=os.pathsep.join(places))


class Shadow:
    """The account tables of this host.

    :param run: how to call a program; tests replay recorded output here.
    :param find: how to find a program.
    """

    def __init__(self, run: Runner = call, find: Callable[[str], str | None] = find_program) -> None:
        self._run = run
        self._find = find
        self.created: list[str] = []

    # -- observe

    def account(self, name: str) -> pwd.struct_passwd | None:
        """Return a user's account from whatever service knows it."""
        try:
            return pwd.getpwnam(name)
        except KeyError:
            return None

    def service(self) -> str:
        """Return which service of nsswitch.conf answers for subordinate ids."""
        return subid_service(_read("/etc/nsswitch.conf"))

    def observe(self, reserved: Iterable[IdRange] = (), accounts: Iterable[pwd.struct_passwd] = ()) -> Host:
        """Return the tables, the limits, every account that can be listed, and these: a directory may list none."""
        uids, gids = known_ids(accounts)
        return Host(
            subuid=Table.parse(SUBUID, _read(SUBUID)),
            subgid=Table.parse(SUBGID, _read(SUBGID)),
            limits=Limits.parse(_read("/etc/login.defs")),
            uids=uids,
            gids=gids,
            reserved=tuple(reserved),
            unmapped=sum((outside(parse_mapping(_read(f"/proc/self/{name}"))) for name in ("uid_map", "gid_map")), ()),
        )

    def has_getsubids(self) -> bool:
        """Say whether the oracle is installed."""
        return self._find("getsubids") is not None

    def ranges(self, name: str, groups: bool = False) -> tuple[IdRange, ...]:
        """Return what getsubids says that a user has.

        :param name: the user.
        :param groups: gids instead of uids.
        :raises BuildahError: getsubids is missing.
        """
        argv = [self._program("getsubids"), *(["-g"] if groups else []), name]
        found = self._run(argv)
        # It ends with 1 and "Error fetching ranges" for a user without any, so its exit status says nothing more.
        matches = (_RANGE.fullmatch(line) for line in found.stdout.splitlines())
        return tuple(IdRange(int(match.group(1)), int(match.group(2))) for match in matches if match)

    # -- write

    def usermod(self, change: Change) -> list[str]:
        """Return the call that makes a change.

        :raises BuildahError: usermod is missing, or too old to know subordinate ids.
        """
        return [self._program("usermod"), *change.options(), change.name]

    def check_usermod(self) -> None:
        """Fail before any work when usermod cannot do it.

        :raises BuildahError: usermod is missing, or too old to know subordinate ids.
        """
        argv = [self._program("usermod"), "--help"]
        if "--add-subuids" not in self._run(argv).stdout:
            raise BuildahError(
                f"{argv[0]} does not know --add-subuids",
                cause="it is older than shadow 4.2, or built without subordinate ids",
                remedy="install shadow 4.2 or newer (Debian: passwd, Red Hat: shadow-utils, Alpine: shadow)")

    def write(self, change: Change, deadline: float) -> list[str]:
        """Make a change with usermod, which takes shadow's locks; wait while somebody else holds them.

        :param change: the change.
        :param deadline: until when to try, on the clock of :func:`time.monotonic`.
        :return: the call.
        :raises LockError: the lock was not to be had in time.
        :raises CommandError: usermod refused.
        """
        argv = self.usermod(change)
        if change.add_uids or change.add_gids:
            self._create_missing()
        while True:
            done = self._run(argv)
            if done.returncode == 0:
                return argv
            if "cannot lock" not in done.stderr:
                raise CommandError(f"usermod could not change the ranges of {change.name}", argv, done.returncode,
                                   done.stdout, done.stderr, cause=" ".join(done.stderr.split()),
                                   remedy=self._remedy(change.name, done))
            if time.monotonic() > deadline:
                stale = re.search(r"existing lock file (\S+)", done.stderr)
                raise LockError(
                    "Another program has been changing the accounts for longer than lock_timeout allows",
                    cause=" ".join(done.stderr.split()),
                    remedy=f"remove {stale.group(1)} if no program that changes accounts is running" if stale
                    else "find out which program holds /etc/.pwd.lock, or wait longer")
            time.sleep(0.2)

    def _remedy(self, name: str, done: subprocess.CompletedProcess[str]) -> str:
        if done.returncode == USER_BUSY:
            return f"{self.how_to_end(name)}, and run this again"
        return _COUNT_OF_NONE if "does not exist, you cannot use" in done.stderr else ""

    def how_to_end(self, name: str) -> str:
        """Return what ends all that a user runs, as the beginning of a remedy."""
        account = self.account(name)
        # All that the user's logins and lingering services run is in that slice: user@.service(5).
        stop = f" (systemctl stop user-{account.pw_uid}.slice)" if account and os.path.isdir(BOOTED) else ""
        return f"end what {name} runs{stop}"

    def process_of(self, uid: int, ranges: Iterable[IdRange]) -> tuple[int, str] | None:
        """Return a process that keeps usermod from taking ids from a user, with its name, as usermod looks for it.

        One whose root directory is another one, as in a container, does not count (src/usermod.c and
        lib/user_busy.c of shadow). What has a subordinate uid counts in another user namespace only.

        :param uid: the user's id.
        :param ranges: what the user has of subordinate uids.
        """
        theirs = (IdRange(uid, 1), *ranges)
        root, namespace = os.stat("/"), os.readlink("/proc/self/ns/user")
        for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
            try:
                if not os.path.samestat(os.stat(f"/proc/{pid}/root"), root):
                    continue
                counting = theirs[:1] if os.readlink(f"/proc/{pid}/ns/user") == namespace else theirs
                lines = _read(f"/proc/{pid}/status").splitlines()
            except OSError:
                continue  # it has ended
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            ids = [int(word) for word in status.get("Uid", "").split()[:3]]
            if any(one.start <= number <= one.last for one in counting for number in ids):
                return pid, status.get("Name", "")
        return None

    def _create_missing(self) -> None:
        # usermod refuses to work on a table that does not exist.
        for path in (SUBUID, SUBGID):
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
                os.chmod(path, 0o644)  # whatever the umask: every user's newuidmap and buildah read it
                self.created.append(path)
            except FileExistsError:
                pass

    @contextmanager
    def alone(self, deadline: float) -> Iterator[None]:
        """Keep other runs of this module out, from looking to having looked again.

        Shadow's own lock cannot be held meanwhile: usermod, which has to take it, would wait for us.

        :raises LockError: another run holds it beyond the deadline.
        """
        with open(OWN_LOCK, "w", encoding="utf-8") as handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise LockError(
                            "Another run of rootless.buildah.subid has not finished within lock_timeout",
                            remedy=f"look for the process that has {OWN_LOCK} open, or wait longer") from None
                    time.sleep(0.1)
            yield

    # -- ask the kernel

    def probe(self, account: pwd.struct_passwd, uids: Sequence[IdRange], gids: Sequence[IdRange]) -> None:
        """Make a user namespace as the user and have newuidmap and newgidmap map every range there.

        :raises BuildahError: it does not work, with what stands in the way.
        """
        identity: dict[str, Any] = {}
        if os.geteuid() != account.pw_uid:
            identity = {"user": account.pw_uid, "group": account.pw_gid,
                        "extra_groups": os.getgrouplist(account.pw_name, account.pw_gid)}
        argv = [self._program("unshare"), "--user", self._program("cat")]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/",
                              env={**os.environ, "LC_ALL": "C"}, **identity) as inside:
            try:
                self._await_namespace(argv, inside, account)
                for program, own_id, ranges, shown in (("newuidmap", account.pw_uid, uids, "uid_map"),
                                                       ("newgidmap", account.pw_gid, gids, "gid_map")):
                    self._map(program, inside.pid, own_id, ranges, shown, account.pw_name, identity)
            finally:
                inside.kill()

    def _await_namespace(self, argv: Sequence[str], inside: subprocess.Popen[bytes],
                         account: pwd.struct_passwd) -> None:
        own = os.readlink("/proc/self/ns/user")
        for _attempt in range(1000):
            if inside.poll() is not None:
                stderr = inside.stderr.read().decode("utf-8", "replace") if inside.stderr else ""
                raise CommandError(f"{account.pw_name} cannot make a user namespace", argv, inside.returncode, "",
                                   stderr, **_explained("userns_blocked", stderr))
            try:
                if os.readlink(f"/proc/{inside.pid}/ns/user") != own:
                    return
            except OSError:
                pass  # between fork and exec the process cannot be looked at
            time.sleep(0.005)
        raise BuildahError(f"{account.pw_name} did not get a user namespace within 5 seconds")

    def _map(self, program: str, pid: int, own_id: int, ranges: Sequence[IdRange], shown: str, name: str,
             identity: dict[str, Any]) -> None:
        wanted = [(0, own_id, 1)]
        for item in sorted(ranges):
            wanted.append((wanted[-1][0] + wanted[-1][2], item.start, item.count))
        argv = [self._program(program), str(pid), *(str(number) for line in wanted for number in line)]
        done = self._run(argv, cwd="/", **identity)
        if done.returncode != 0:
            finding = "subid_doubled" if overlapping(ranges) else "newuidmap"
            raise CommandError(f"{program} cannot map the ranges of {name}", argv, done.returncode, done.stdout,
                               done.stderr, **_explained(finding, done.stderr))
        seen = read_mapping(pid, shown)
        if seen != wanted:
            raise BuildahError(f"The kernel shows another mapping for {name} than {program} was asked for",
                               cause=f"{shown} is {seen}, wanted {wanted}")

    def pause_process(self, account: pwd.struct_passwd) -> int | None:
        """Return the process that keeps podman's user namespace of this user alive, if there is one."""
        uid = account.pw_uid
        for directory in (f"/run/user/{uid}", f"/tmp/podman-run-{uid}", f"/tmp/run-{uid}"):
            try:
                with open(f"{directory}/libpod/tmp/pause.pid", encoding="ascii") as handle:
                    pid = int(handle.read())
                if os.stat(f"/proc/{pid}").st_uid == uid:
                    return pid
            except (OSError, ValueError):
                continue
        return None

    def pause_is_stale(
        self, account: pwd.struct_passwd, uids: Iterable[IdRange], gids: Iterable[IdRange]
    ) -> bool:
        """Say whether podman keeps a user namespace of this user that was made with other ranges than these."""
        pid = self.pause_process(account)
        if pid is None:
            return False
        try:
            return any(
                mapping_is_stale([IdRange(outside, count) for _inside, outside, count in read_mapping(pid, name)],
                                 own_id, ranges)
                for name, own_id, ranges in (("uid_map", account.pw_uid, uids), ("gid_map", account.pw_gid, gids)))
        except OSError:
            return False  # it ended meanwhile

    def has_store(self, account: pwd.struct_passwd) -> bool:
        """Say whether the user has an image store at the usual place; yes when that cannot be seen."""
        try:
            os.stat(os.path.join(account.pw_dir, ".local/share/containers/storage"))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def _program(self, name: str) -> str:
        path = self._find(name)
        if path is None:
            remedy = {
                "usermod": "install it (Debian: passwd, Red Hat: shadow-utils, Alpine: shadow)",
                "unshare": "install util-linux",
            }
            raise BuildahError(f"{name} is not installed", remedy=remedy.get(name, _PACKAGES))
        return path


def _explained(name: str, stderr: str) -> dict[str, str]:
    """Return a finding as an error wants it, with what the program said.

    :param name: the finding, unless the words point to another one.
    """
    found = known((finding_for(stderr) or BY_ID[name]).id)
    return {**found, "cause": f"{found['cause']} ({' '.join(stderr.split())})"}


def known_ids(accounts: Iterable[pwd.struct_passwd]) -> tuple[dict[int, str], dict[int, str]]:
    """Return the name of every account and group that can be listed, by uid and by gid, and those of these accounts."""
    uids = {account.pw_uid: account.pw_name for account in reversed(pwd.getpwall())}
    gids = {group.gr_gid: group.gr_name for group in reversed(grp.getgrall())}
    for account in accounts:
        uids[account.pw_uid] = account.pw_name
        gids.setdefault(account.pw_gid, f"of {account.pw_name}")
        try:
            gids[grp.getgrnam(account.pw_name).gr_gid] = account.pw_name
        except KeyError:
            pass
    return uids, gids


def read_mapping(pid: int, name: str) -> list[tuple[int, int, int]]:
    """Return a mapping of a process: first id inside, first id outside, count.

    :param pid: the process.
    :param name: ``uid_map`` or ``gid_map``.
    :raises OSError: the process is gone.
    """
    with open(f"/proc/{pid}/{name}", encoding="ascii") as handle:
        return parse_mapping(handle.read())


def parse_mapping(text: str) -> list[tuple[int, int, int]]:
    """As read_mapping(), of the text of the file."""
    lines = (line.split() for line in text.splitlines())
    return [(int(inside), int(outside), int(count)) for inside, outside, count in lines]


def root_is_lent(mapping: Iterable[tuple[int, int, int]]) -> bool:
    """Say whether root of a user namespace is another user outside of it.

    :param mapping: the namespace's uid_map, as parse_mapping() returns it.
    """
    return any(inside == 0 and outside != 0 for inside, outside, _count in mapping)


def _read(path: str) -> str:
    # Nobody promises that these files are UTF-8, and universal newlines would hide a carriage return.
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as handle:
            return handle.read()
    except FileNotFoundError:
        return ""

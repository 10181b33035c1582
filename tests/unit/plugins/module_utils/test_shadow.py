# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door to shadow's programs, with what shadow 4.13 really printed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils import _shadow
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, CommandError, LockError
from ansible_collections.rootless.buildah.plugins.module_utils._shadow import Shadow
from ansible_collections.rootless.buildah.plugins.module_utils._subid import Change, IdRange

Answer = tuple[int, str, str]  # exit status, output, errors
FULL = IdRange(100000, 65536)
ADD = Change("build", (FULL,), (FULL,))
LOCKED_PASSWD = (1, "", "usermod: cannot lock /etc/passwd; try again later.\n")
LOCKED_SUBUID = (16, "", """usermod: existing lock file /etc/subuid.lock with an invalid PID '99999
'
usermod: cannot lock /etc/subuid; try again later.
""")
HELP = """Usage: usermod [options] LOGIN

Options:
  -v, --add-subuids FIRST-LAST  add range of subordinate uids
  -V, --del-subuids FIRST-LAST  remove range of subordinate uids
"""


class Recorded:
    """Answers calls with recorded exit status, output and errors; the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.calls: list[list[str]] = []

    def __call__(self, argv: Sequence[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        self.calls.append(list(argv))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return subprocess.CompletedProcess(argv, *answer)


def shadow(*answers: Answer, find: Callable[[str], str | None] = lambda name: f"/usr/bin/{name}",
           ) -> tuple[Shadow, Recorded]:
    """Return the door with a recorded program behind it, and the record of the calls."""
    run = Recorded(*answers)
    return Shadow(run=run, find=find), run


@pytest.fixture(autouse=True)
def _tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUBUID", "SUBGID"):
        monkeypatch.setattr(_shadow, name, str(tmp_path / name.lower()))


@pytest.mark.parametrize("answer, ranges", [
    ((0, "0: build 165536 65536\n1: build 920000 10\n", ""), (IdRange(165536, 65536), IdRange(920000, 10))),
    ((0, "0: domain users 165536 65536\n", ""), (IdRange(165536, 65536),)),
    ((1, "", "Error fetching ranges\n"), ()),
    ((0, "0: build 100000 5\n", "Error opening libsubid_sss.so: cannot open shared object file\nUsing files\n"),
     (IdRange(100000, 5),)),
])
def test_what_getsubids_prints_is_understood(answer: Answer, ranges: Any) -> None:
    door, run = shadow(answer)
    assert door.ranges("build") == ranges
    assert door.ranges("build", groups=True) == ranges
    assert run.calls == [["/usr/bin/getsubids", "build"], ["/usr/bin/getsubids", "-g", "build"]]


def test_a_change_is_one_call_with_first_and_last_ids() -> None:
    door, _run = shadow((0, "", ""))
    assert door.usermod(Change("build", add_uids=(FULL,), add_gids=(IdRange(7, 1),))) == [
        "/usr/bin/usermod", "--add-subuids", "100000-165535", "--add-subgids", "7-7", "build"]
    assert door.usermod(Change("build", del_uids=(FULL, IdRange(7, 1)), del_gids=(FULL,))) == [
        "/usr/bin/usermod", "--del-subuids", "100000-165535", "--del-subuids", "7-7",
        "--del-subgids", "100000-165535", "build"]


def test_writing_waits_while_the_accounts_are_locked() -> None:
    door, run = shadow(LOCKED_PASSWD, LOCKED_SUBUID, (0, "", ""))
    argv = door.write(ADD, time.monotonic() + 60)
    assert run.calls == [argv] * 3


@pytest.mark.parametrize("answer, remedy", [
    (LOCKED_PASSWD, "which program holds /etc/.pwd.lock"),
    (LOCKED_SUBUID, "remove /etc/subuid.lock if no program"),
])
def test_a_lock_beyond_the_deadline_names_what_to_look_at(answer: Answer, remedy: str) -> None:
    door, _run = shadow(answer)
    with pytest.raises(LockError, match=remedy):
        door.write(ADD, time.monotonic() - 1)


def test_any_other_failure_carries_the_call_and_the_words() -> None:
    door, run = shadow((6, "", "usermod: user 'build' does not exist\n"))
    with pytest.raises(CommandError, match="could not change.*of build.*user 'build' does not exist") as caught:
        door.write(ADD, time.monotonic() + 60)
    assert (caught.value.argv, caught.value.rc) == (run.calls[0], 6)


@pytest.mark.parametrize("systemd, remedy", [
    (True, r"end what build runs \(systemctl stop user-1001.slice\), and run this again"),
    (False, "end what build runs, and run this again"),
])
def test_a_user_who_is_busy_is_told_with_the_remedy(systemd: bool, remedy: str, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shadow, "BOOTED", str(tmp_path if systemd else tmp_path / "missing"))
    door, _run = shadow((8, "", "usermod: user build is currently used by process 4711\n"))
    monkeypatch.setattr(door, "account", lambda name: SimpleNamespace(pw_uid=1001))
    with pytest.raises(CommandError, match=f"could not change.*of build.*by process 4711.*{remedy}"):
        door.write(Change("build", del_uids=(FULL,)), time.monotonic() + 60)


def test_a_count_of_none_in_login_defs_is_told_with_the_remedy() -> None:
    # What usermod of shadow 4.20 prints where SUB_UID_COUNT is 0, though the table exists.
    words = "usermod: /etc/subuid does not exist, you cannot use the flags -v or -V\n"
    door, _run = shadow((2, "", words))
    with pytest.raises(CommandError, match="cannot use the flags.*SUB_UID_COUNT or SUB_GID_COUNT is 0"):
        door.write(ADD, time.monotonic() + 60)


def test_missing_tables_are_made_before_ids_are_added_and_only_then() -> None:
    door, _run = shadow((0, "", ""))
    door.write(Change("build", del_uids=(FULL,)), time.monotonic() + 60)
    assert door.created == []
    door.write(ADD, time.monotonic() + 60)
    door.write(ADD, time.monotonic() + 60)
    assert door.created == [_shadow.SUBUID, _shadow.SUBGID]


def test_a_usermod_that_knows_subordinate_ids_is_accepted() -> None:
    door, _run = shadow((0, HELP, ""))
    door.check_usermod()


def test_a_usermod_that_does_not_is_told_with_the_version_needed() -> None:
    door, _run = shadow((0, "Usage: usermod [options] LOGIN\n", ""))
    with pytest.raises(BuildahError, match="does not know --add-subuids.*shadow 4.2"):
        door.check_usermod()


@pytest.mark.parametrize("program, work, package", [
    ("usermod", lambda door: door.check_usermod(), "Debian: passwd"),
    ("getsubids", lambda door: door.ranges("build"), "Debian: uidmap"),
])
def test_a_program_that_is_missing_is_told_with_its_package(program: str, work: Callable[[Shadow], object],
                                                            package: str) -> None:
    door, _run = shadow((0, "", ""), find=lambda name: None)
    with pytest.raises(BuildahError, match=f"{program} is not installed.*{package}"):
        work(door)


def test_another_run_is_waited_for_until_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shadow, "OWN_LOCK", str(tmp_path / "lock"))
    door, _run = shadow((0, "", ""))
    second = door.alone(time.monotonic() - 1)
    with door.alone(time.monotonic() + 1), pytest.raises(LockError, match="Another run"), second:
        pass
    with door.alone(time.monotonic() - 1):
        pass

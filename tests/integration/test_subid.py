# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and the role ``subid`` with the real usermod, useradd, getsubids, newuidmap and buildah.

Everything happens in a mount namespace whose ``/etc`` is a copy: the programs are the real ones at their real paths,
and the accounts of the machine stay as they are whatever becomes of a test.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FULL = {"start": 100000, "count": 65536}
SECOND = {"start": 165536, "count": 65536}
THIRD = {"start": 231072, "count": 65536}


class Machine:
    """A mount namespace with an ``/etc`` of its own."""

    def __init__(self, base: Path) -> None:
        assert os.geteuid() == 0, "these tests make users and need root"
        self.base = base
        self.etc = base / "etc"
        self.bin = base / "bin"
        self.homes = base / "homes"
        self.bin.mkdir()
        self.homes.mkdir()
        subprocess.run(["cp", "-a", "/etc", str(base)], check=True)
        for name in ("subuid.lock", "subgid.lock", "passwd.lock", "group.lock", "shadow.lock", "gshadow.lock"):
            (self.etc / name).unlink(missing_ok=True)
        collections = base / "collections"
        (collections / "ansible_collections" / "rootless").mkdir(parents=True)
        (collections / "ansible_collections" / "rootless" / "buildah").symlink_to(ROOT)
        self.environment = {
            "PATH": f"{self.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.homes),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join([str(collections), *(entry for entry in sys.path if entry)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_LOCAL_TEMP": str(base / "ansible"),
            "ANSIBLE_REMOTE_TEMP": str(base / "ansible"),
        }
        # Ends by itself when its standard input closes, that is with this process.
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             'mount --bind "$0" /etc && echo ready && exec cat', str(self.etc)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n"

    def close(self) -> None:
        assert self.holder.stdin is not None
        self.holder.stdin.close()
        self.holder.wait(10)

    def argv(self, *argv: str) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--", *argv]

    def run(self, *argv: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.argv(*argv), capture_output=True, text=True, env=self.environment, timeout=120,
                              check=False, **options)
        assert not check or done.returncode == 0, (argv, done.stdout, done.stderr)
        return done

    def add_user(self, name: str, uid: int, *options: str) -> None:
        """Make an account without ranges."""
        self.run("useradd", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", "-u", str(uid), "-s", "/bin/sh",
                 "-d", str(self.homes / name), *options, name)

    def write(self, subuid: str, subgid: str | None = None) -> None:
        """Put down both tables; the same text for both unless a second is given."""
        (self.etc / "subuid").write_text(subuid, newline="")
        (self.etc / "subgid").write_text(subuid if subgid is None else subgid, newline="")

    def tables(self) -> tuple[str, str]:
        with open(self.etc / "subuid", newline="") as subuid, open(self.etc / "subgid", newline="") as subgid:
            return subuid.read(), subgid.read()

    def getsubids(self, name: str) -> list[list[dict[str, int]]]:
        """Ask the oracle for the ranges of uids and of gids."""
        found = []
        for option in ([], ["-g"]):
            lines = self.run("getsubids", *option, name, check=False).stdout.splitlines()
            words = [line.rsplit(" ", 2)[1:] for line in lines if re.match(r"\d+: ", line)]
            found.append([{"start": int(start), "count": int(count)} for start, count in words])
        return found

    def start_module(self, check: bool = False, prefix: tuple[str, ...] = (), environment: dict[str, str] | None = None,
                     **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.argv(*prefix, sys.executable, str(ROOT / "plugins/modules/subid.py")), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**self.environment, **(environment or {})})
        assert process.stdin is not None
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process.stdin.close()
        process.stdin = None
        return process

    def subid(self, check: bool = False, failed: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module and return its result."""
        return finish(self.start_module(check, **options), failed)

    @contextmanager
    def process_of(self, uid: int, *how: str) -> Iterator[int]:
        """Have a user run something meanwhile.

        :param how: what calls it.
        """
        with subprocess.Popen(self.argv("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *how, "cat"),
                              stdin=subprocess.PIPE) as busy:
            try:
                deadline = time.monotonic() + 10
                while Path(f"/proc/{busy.pid}").stat().st_uid != uid and time.monotonic() < deadline:
                    time.sleep(0.05)
                yield busy.pid
            finally:
                busy.kill()


def finish(process: subprocess.Popen[str], failed: bool = False) -> dict[str, Any]:
    """Wait for a module; it must fail exactly when that is expected, and never with a traceback."""
    stdout, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stdout + stderr, stdout + stderr
    result: dict[str, Any] = json.loads(stdout)
    assert bool(result.get("failed")) is failed, result
    return result


@pytest.fixture(name="machine")
def _machine() -> Iterator[Machine]:
    base = Path(tempfile.mkdtemp(prefix="rbsub-"))
    base.chmod(0o755)
    machine = None
    try:
        machine = Machine(base)
        machine.write("")
        machine.add_user("rbsuba", 52001)
        machine.add_user("rbsubb", 52002)
        yield machine
    finally:
        if machine is not None:
            machine.close()
        shutil.rmtree(base)


def diff_of(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {part["before_header"]: (part["before"], part["after"]) for part in result["diff"]}


def ranges_of(result: dict[str, Any], name: str | None = None) -> list[list[dict[str, int]]]:
    user = next(user for user in result["users"] if name in (None, user["name"]))
    return [user["subuid"], user["subgid"]]


class TestLawOfTwelve:
    """Create, modify, delete: predicted twice, done, and then nothing left to do."""

    OTHERS = "rbsubb:100000:65536\nnonsense\n"

    @pytest.mark.parametrize("before, options, after, ranges", [
        ("", {}, "rbsuba:165536:65536\n", [SECOND]),
        ("rbsuba:200000:1000\n", {"count": 70000}, "rbsuba:200000:1000\nrbsuba:201000:69000\n",
         [{"start": 200000, "count": 1000}, {"start": 201000, "count": 69000}]),
        ("rbsuba:200000:1000\nrbsuba:300000:7\n", {"state": "absent"}, "", []),
    ], ids=["create", "modify", "delete"])
    def test_prediction_execution_and_rest(self, machine: Machine, before: str, options: dict[str, Any], after: str,
                                           ranges: Any) -> None:
        old, new = (before + self.OTHERS, "".join(
            [line + "\n" for line in before.splitlines() if line + "\n" in after]) + self.OTHERS
            + "".join(line + "\n" for line in after.splitlines() if line + "\n" not in before))
        machine.write(old)
        predicted = [machine.subid(check=True, name="rbsuba", **options) for _each in range(2)]
        assert machine.tables() == (old, old)
        real = machine.subid(name="rbsuba", **options)
        for result in (*predicted, real):
            assert result["changed"] is True
            assert diff_of(result) == {"/etc/subuid": (old, new), "/etc/subgid": (old, new)}
            assert ranges_of(result) == [ranges, ranges]
            assert result["users"] == real["users"] and result["commands"] == real["commands"]
        assert machine.tables() == (new, new)
        assert machine.getsubids("rbsuba") == [ranges, ranges]
        for check in (False, False, True, True):
            result = machine.subid(check=check, name="rbsuba", **options)
            assert (result["changed"], result["diff"], result["commands"]) == (False, [], [])
            assert ranges_of(result) == [ranges, ranges]
        assert machine.tables() == (new, new)


class TestTables:
    UNTIDY = ("# head\n\nbroken line\nrbsubb:oops:5\nrbsubb:7\n# rbsubb:900000:10\r\nrbsubb:910000:10\r\n"
              "52002:920000:10\nrbsubb:0x100000:10\nrbsubb:0110000:10\nrbsubb:930000:0\nrbsubb:940000:5\n"
              "rbsubb:940000:5\n:950000:5\nrbsubb: 960000:5\nrbsubb:970000:5:extra\nrbsubb:-5:5\n"
              "rbsubb:4294967296:10\n+nis\nrb.sub@ex.com:980000:10\ncaf\u00e9:985000:5\nlast:990000:5")

    def test_malformed_lines_survive_and_are_told(self, machine: Machine) -> None:
        machine.write(self.UNTIDY)
        result = machine.subid(name="rbsuba")
        assert machine.tables() == (self.UNTIDY + "\nrbsuba:110010:65536\n",) * 2  # octal 0110000 could be decimal
        told = {(problem["line"], problem["kind"]) for problem in result["problems"]
                if problem["path"] == "/etc/subuid"}
        assert told == {(3, "malformed"), (4, "malformed"), (5, "malformed"), (7, "malformed"), (9, "odd"), (10, "odd"),
                        (11, "malformed"), (13, "duplicate"), (14, "malformed"), (15, "odd"), (16, "odd"),
                        (17, "malformed"), (18, "malformed"), (19, "malformed")}
        assert "Line 3 of /etc/subuid is ignored by shadow: it has fewer than three fields" in str(result["warnings"])
        machine.subid(name="rbsuba", state="absent")
        assert machine.tables() == (self.UNTIDY + "\n",) * 2

    def test_bytes_that_are_no_text_survive(self, machine: Machine) -> None:
        for name in ("subuid", "subgid"):
            (machine.etc / name).write_bytes(b"\xff\xfe:100000:5\n\xff\n")
        result = machine.subid(name="rbsuba")
        assert (machine.etc / "subuid").read_bytes() == b"\xff\xfe:100000:5\n\xff\nrbsuba:100005:65536\n"
        assert result["diff"][0]["before"] == "\\xff\\xfe:100000:5\n\\xff\n"

    def test_missing_files_are_made_readable_for_everybody(self, machine: Machine) -> None:
        for name in ("subuid", "subgid"):
            (machine.etc / name).unlink()
        assert machine.subid(check=True, name="rbsuba")["changed"] is True
        assert not (machine.etc / "subuid").exists()
        finish(machine.start_module(name="rbsuba", prefix=("sh", "-c", 'umask 077; exec "$@"', "sh")))
        assert machine.getsubids("rbsuba") == [[FULL], [FULL]]
        assert [(machine.etc / name).stat().st_mode & 0o777 for name in ("subuid", "subgid")] == [0o644, 0o644]
        (machine.etc / "subuid").unlink()
        (machine.etc / "subgid").unlink()
        assert machine.subid(name="rbsubb", state="absent")["changed"] is False

    def test_several_users_in_one_call(self, machine: Machine) -> None:
        machine.write("rbsubb:100000:65536\n")
        users = [{"name": "rbsuba"}, {"name": "rbsubb", "state": "absent"}, {"name": "rbsubnone", "state": "absent"}]
        result = machine.subid(users=users)
        assert machine.tables() == ("rbsuba:165536:65536\n",) * 2
        assert [user["uid"] for user in result["users"]] == [52001, 52002, None]
        assert result["users"][1]["removed"] == {"subuid": [FULL], "subgid": [FULL]}
        assert machine.subid(users=users)["changed"] is False
        assert machine.subid(users=[])["changed"] is False

    def test_ranges_under_the_uid_count_and_cannot_be_removed(self, machine: Machine) -> None:
        machine.write("52001:100000:65536\n")
        assert machine.subid(name="rbsuba")["changed"] is False
        for check in (True, False):
            failure = machine.subid(check=check, name="rbsuba", state="absent", failed=True)
            assert "names its owner by uid" in failure["cause"]
            assert "52001:100000:65536" in failure["remedy"]
        assert machine.tables() == ("52001:100000:65536\n",) * 2

    def test_a_fixed_start_is_given_or_refused(self, machine: Machine) -> None:
        wanted = {"start": 3000000000, "count": 65536}
        assert ranges_of(machine.subid(name="rbsuba", start=3000000000)) == [[wanted], [wanted]]
        assert machine.getsubids("rbsuba") == [[wanted], [wanted]]
        assert machine.subid(name="rbsuba", start=3000000000)["changed"] is False
        failure = machine.subid(name="rbsubb", start=3000000001, failed=True)
        assert "taken by line 1 of /etc/subuid" in failure["cause"]

    def test_a_fixed_start_means_the_same_ids_on_every_host(self, machine: Machine) -> None:
        # As on a host whose useradd has chosen already.
        machine.run("useradd", "-u", "52003", "rbsubc")
        before = machine.tables()
        assert machine.getsubids("rbsubc") == [[FULL], [FULL]]
        for check in (True, False):
            failure = machine.subid(check=check, name="rbsubc", start=300000, failed=True)
            assert "would not begin at 300000" in failure["msg"]
            assert "100000:65536 in /etc/subuid" in failure["cause"]
            assert "state: absent" in failure["remedy"]
            assert machine.tables() == before
        # Nor is a range at that place enough while there is the other.
        machine.run("usermod", "--add-subuids", "300000-365535", "--add-subgids", "300000-365535", "rbsubc")
        machine.subid(name="rbsubc", start=300000, failed=True)
        # The remedy.
        machine.subid(name="rbsubc", state="absent")
        wanted = {"start": 300000, "count": 65536}
        assert ranges_of(machine.subid(name="rbsubc", start=300000)) == [[wanted], [wanted]]
        assert machine.subid(name="rbsubc", start=300000)["changed"] is False

    def test_new_accounts_of_useradd_keep_off_our_ranges(self, machine: Machine) -> None:
        machine.subid(name="rbsuba")
        machine.run("useradd", "-u", "52003", "rbsubc")
        assert machine.getsubids("rbsubc") == [[SECOND], [SECOND]]

    @pytest.mark.parametrize("block", range(20))
    def test_a_thousand_random_tables_with_the_real_usermod(self, machine: Machine, block: int) -> None:
        done = machine.run(sys.executable, str(ROOT / "tests/integration/apply_subids.py"), str(block * 50),
                           str(block * 50 + 50), str(machine.etc))
        counts = json.loads(done.stdout)
        print(counts)
        assert counts["tables"] == 50 and counts["changed"] >= 25, counts


class TestRaces:
    def assert_apart(self, machine: Machine, *names: str) -> None:
        """Everybody has exactly one full range in both files, and nobody shares an id."""
        for kind in (0, 1):
            ranges = [item for name in names for item in machine.getsubids(name)[kind]]
            assert len(ranges) == len(names)
            starts = sorted(item["start"] for item in ranges)
            assert all(later - earlier >= 65536 for earlier, later in zip(starts, starts[1:])), starts
            assert all(item["count"] == 65536 for item in ranges)

    @staticmethod
    def slow_down(machine: Machine) -> None:
        """Make it certain that whoever may look between somebody's look and writing does so."""
        (machine.bin / "usermod").write_text('#!/bin/sh\n[ "$1" = --help ] || sleep 0.7\nexec /usr/sbin/usermod "$@"\n')
        (machine.bin / "usermod").chmod(0o755)

    @pytest.mark.parametrize("slow", [False, True])
    def test_two_runs_for_two_users_end_with_two_ranges(self, machine: Machine, slow: bool) -> None:
        if slow:
            self.slow_down(machine)
        runs = [machine.start_module(name=name) for name in ("rbsuba", "rbsubb")]
        assert [finish(run)["changed"] for run in runs] == [True, True]
        self.assert_apart(machine, "rbsuba", "rbsubb")

    @pytest.mark.parametrize("slow", [False, True])
    def test_three_runs_for_the_same_user_change_once(self, machine: Machine, slow: bool) -> None:
        if slow:
            self.slow_down(machine)
        runs = [machine.start_module(name="rbsuba") for _each in range(3)]
        assert sorted(finish(run)["changed"] for run in runs) == [False, False, True]
        self.assert_apart(machine, "rbsuba")

    def test_runs_beside_useradd_end_with_ranges_apart(self, machine: Machine) -> None:
        self.slow_down(machine)
        names = [f"rbsubr{number}" for number in range(6)]
        adding = subprocess.Popen(
            machine.argv("sh", "-c", 'u=52100; for n in "$@"; do u=$((u+1)); sleep 0.2; '
                         'until useradd -u $u "$n"; do sleep 0.05; done; done', "sh", *names),
            env=machine.environment, stderr=subprocess.PIPE)
        taken_back = 0
        for name in ("rbsuba", "rbsubb"):
            taken_back += ["--del-subuids" in command for command in machine.subid(name=name)["commands"]].count(True)
        adding.communicate(timeout=60)
        assert adding.returncode == 0
        assert taken_back, "useradd was never in between"
        self.assert_apart(machine, "rbsuba", "rbsubb", *names)

    @staticmethod
    def have_useradd_in_between(machine: Machine) -> None:
        """Have useradd take the very range that was chosen, once, between our look and our writing."""
        (machine.bin / "usermod").write_text(
            "#!/bin/sh\n"
            f'if [ "$1" != --help ] && mkdir {machine.base}/once 2>/dev/null; then useradd -u 52003 rbsubc; fi\n'
            'exec /usr/sbin/usermod "$@"\n')
        (machine.bin / "usermod").chmod(0o755)

    def test_ids_that_useradd_takes_in_between_are_given_back(self, machine: Machine) -> None:
        self.have_useradd_in_between(machine)
        result = machine.subid(name="rbsuba")
        assert [command[1] for command in result["commands"]] == ["--add-subuids", "--del-subuids", "--add-subuids"]
        assert machine.getsubids("rbsubc") == [[FULL], [FULL]]
        assert machine.getsubids("rbsuba") == [[SECOND], [SECOND]] == ranges_of(result)
        assert machine.tables() == ("rbsubc:100000:65536\nrbsuba:165536:65536\n",) * 2
        # What useradd did is not told as ours.
        assert diff_of(result)["/etc/subuid"] == ("", "rbsuba:165536:65536\n")

    def test_ids_that_a_busy_user_cannot_give_back_are_told_of(self, machine: Machine) -> None:
        self.have_useradd_in_between(machine)
        with machine.process_of(52001) as busy:
            failure = machine.subid(name="rbsuba", failed=True)
        assert failure["finding"] == "subid_shared" and failure["changed"]
        assert f"user rbsuba is currently used by process {busy}" in failure["cause"]
        # The remedy: what the user ran has ended.
        machine.run("sh", "-c", failure["remedy"].split("call ")[1].split(", and run")[0])
        assert machine.getsubids("rbsuba") == [[], []]
        machine.subid(name="rbsuba")
        self.assert_apart(machine, "rbsuba", "rbsubc")

    def test_a_usermod_that_does_nothing_is_found_out(self, machine: Machine) -> None:
        (machine.bin / "usermod").write_text('#!/bin/sh\n[ "$1" = --help ] && echo --add-subuids\nexit 0\n')
        (machine.bin / "usermod").chmod(0o755)
        failure = machine.subid(name="rbsuba", failed=True)
        assert "did not settle" in failure["msg"] and "usermod has no effect" in failure["msg"]

    @pytest.mark.parametrize("kind", ["lckpwdf", "file"])
    def test_a_lock_that_is_held_for_a_while_is_waited_for(self, machine: Machine, kind: str) -> None:
        if kind == "file":
            # shadow's own lock files hold the process id and a NUL
            (machine.etc / "subuid.lock").write_text(f"{os.getpid()}\0")
            process = machine.start_module(name="rbsuba")
            time.sleep(1.5)
            assert process.poll() is None
            (machine.etc / "subuid.lock").unlink()
        else:
            with open(machine.etc / ".pwd.lock", "a") as handle:
                fcntl.lockf(handle, fcntl.LOCK_EX)
                process = machine.start_module(name="rbsuba")
                time.sleep(1.5)
                assert process.poll() is None
        assert finish(process)["changed"] is True
        assert machine.getsubids("rbsuba") == [[FULL], [FULL]]

    def test_a_lock_that_stays_is_an_error_with_its_file(self, machine: Machine) -> None:
        (machine.etc / "subuid.lock").write_text("nonsense\n")
        failure = machine.subid(name="rbsuba", lock_timeout=1, failed=True)
        assert "longer than lock_timeout" in failure["msg"]
        assert "remove /etc/subuid.lock" in failure["remedy"]
        assert machine.tables() == ("", "")

    def test_a_run_that_was_killed_leaves_nothing_that_stops_the_next(self, machine: Machine) -> None:
        rng = random.Random(3)
        for _each in range(5):
            process = machine.start_module(name="rbsuba")
            time.sleep(rng.uniform(0.1, 0.4))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert ranges_of(machine.subid(name="rbsuba")) == [[FULL], [FULL]]


class TestWhatCannotBeDone:
    def test_an_unknown_user_is_told_with_the_remedy(self, machine: Machine) -> None:
        failure = machine.subid(name="rbsubnone", failed=True)
        assert "There is no user rbsubnone" in failure["msg"] and "create the account first" in failure["remedy"]

    def test_an_unknown_user_is_only_warned_about_in_check_mode(self, machine: Machine) -> None:
        result = machine.subid(check=True, name="rbsubnone")
        assert result["changed"] is True and "There is no user rbsubnone" in str(result["warnings"])
        assert result["users"][0]["uid"] is None

    def test_ranges_of_a_removed_account_are_told(self, machine: Machine) -> None:
        machine.write("rbsubnone:100000:5\n")
        failure = machine.subid(name="rbsubnone", state="absent", failed=True)
        assert "there is no account rbsubnone" in failure["cause"]

    def test_only_root_changes_anything(self, machine: Machine) -> None:
        # The interpreter of the tests may lie where only root may read, so everything is loaded before the uid changes.
        code = ("import os, runpy, ansible.module_utils.basic, ansible.module_utils.testing\n"
                "import ansible_collections.rootless.buildah.plugins.modules.subid\n"
                "import ansible_collections.rootless.buildah.plugins.module_utils._host_facts\n"
                "source = open({path!r}).read(); os.setgroups([]); os.setgid(52001); os.setuid(52001)\n"
                "exec(compile(source, 'subid', 'exec'), {{'__name__': '__main__'}})").format(
                    path=str(ROOT / "plugins/modules/subid.py"))

        def as_user(**options: Any) -> Any:
            done = machine.run(sys.executable, "-c", code, check=False,
                               input=json.dumps({"ANSIBLE_MODULE_ARGS": options}))
            assert "Traceback" not in done.stdout + done.stderr, done.stderr
            return json.loads(done.stdout)

        failure = as_user(name="rbsuba")
        assert failure["failed"] and "Only root" in failure["msg"] and "become: true" in failure["remedy"]
        machine.subid(name="rbsuba")
        assert as_user(name="rbsuba")["changed"] is False

    def test_a_usermod_without_the_options_is_told_before_anything_is_done(self, machine: Machine) -> None:
        (machine.bin / "usermod").write_text("#!/bin/sh\necho 'Usage: usermod [-c COMMENT] LOGIN'\n")
        (machine.bin / "usermod").chmod(0o755)
        for check in (True, False):
            failure = machine.subid(check=check, name="rbsuba", failed=True)
            assert "does not know --add-subuids" in failure["msg"] and "shadow 4.2" in failure["remedy"]

    def test_no_room_is_told_with_the_limit(self, machine: Machine) -> None:
        login_defs = (machine.etc / "login.defs").read_text()
        (machine.etc / "login.defs").write_text(re.sub(r"(?m)^(SUB_.ID_MAX).*", r"\1 120000", login_defs))
        failure = machine.subid(name="rbsuba", failed=True)
        assert "no room for 65536 more ids for rbsuba" in failure["msg"] and "SUB_UID_MAX" in failure["remedy"]

    def test_a_line_that_shadow_takes_for_every_id_is_told_and_its_removal_helps(self, machine: Machine) -> None:
        machine.write("rbsubb:100000:5\nrbsuba:100:99999999999\n")
        failure = machine.subid(name="rbsuba", failed=True)
        assert "by line 2 of /etc/subuid shadow before 4.20 takes every id from 100 on" in failure["cause"]
        assert failure["remedy"] == "delete the line 'rbsuba:100:99999999999' from /etc/subuid by hand"
        told = [problem["message"] for problem in machine.subid(name="rbsubb", count=5)["problems"]]
        assert "Line 2 of /etc/subuid lets rbsuba use every id from 100 on with shadow before 4.20" in told[0]
        machine.write("rbsubb:100000:5\n")
        assert machine.subid(name="rbsuba")["changed"] is True

    def test_a_busy_user_can_grow(self, machine: Machine) -> None:
        machine.write("rbsuba:100000:5\n")
        busy = subprocess.Popen(machine.argv("setpriv", "--reuid=52001", "--clear-groups", "sleep", "60"))
        try:
            assert machine.subid(name="rbsuba")["changed"] is True
        finally:
            busy.kill()
            busy.wait()

    # By the account's own id, and by one that it lent to a process in a namespace.
    @pytest.mark.parametrize("uid, how", [(52001, []), (300004, ["unshare", "--user"])])
    def test_a_busy_user_keeps_its_ids_and_those_before_it_too(
        self, machine: Machine, uid: int, how: list[str]
    ) -> None:
        before = "rbsuba:300000:5\nrbsubb:100000:5\n"
        machine.write(before)
        users = [{"name": "rbsubb"}, {"name": "rbsuba"}]
        with machine.process_of(uid, *how) as busy:
            time.sleep(0.5 if how else 0)  # until it is in there
            for check in (True, False):
                failure = machine.subid(check=check, users=users, state="absent", failed=True)
                assert "The subordinate ids of rbsuba cannot be taken away" in failure["msg"]
                assert f"it runs process {busy} (cat)" in failure["cause"]
                assert failure["remedy"].startswith("end what rbsuba runs")
                assert (failure["changed"], machine.tables()) == (False, (before, before))
            # Nobody is asked to end anything for what stays.
            assert machine.subid(users=[{"name": "rbsubb", "state": "absent"}, {"name": "rbsuba"}])["changed"] is True
        assert machine.subid(users=users, state="absent")["changed"] is True
        assert machine.tables() == ("", "")

    def test_somebody_who_happens_to_have_such_an_id_does_not_keep_it(self, machine: Machine) -> None:
        machine.write("rbsuba:300000:5\n")
        with machine.process_of(300004):
            assert machine.subid(name="rbsuba", state="absent")["changed"] is True

    def test_processes_elsewhere_do_not_keep_ids_as_usermod_has_it(self, machine: Machine) -> None:
        machine.write("rbsuba:100000:5\n")
        apart = machine.base / "apart"
        apart.mkdir()
        code = f"import os; os.chroot({str(apart)!r}); os.setuid(52001); print('there', flush=True); os.read(0, 1)"
        with subprocess.Popen(machine.argv(sys.executable, "-c", code), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as busy:
            try:
                assert busy.stdout is not None and busy.stdout.readline() == b"there\n"
                assert machine.subid(name="rbsuba", state="absent")["changed"] is True
            finally:
                busy.kill()


class TestOtherServices:
    """Ranges that a plugin of libsubid serves; the plugin gives rbsuba 7000000:65536 for uids and for gids."""

    PLUGIN = """
    #include <stdbool.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/types.h>
    struct subid_range { unsigned long start, count; };
    int shadow_subid_list_owner_ranges(const char *owner, int type, struct subid_range **out, int *count) {
        *count = 0; *out = NULL;
        if (strcmp(owner, "rbsuba")) return 0;
        *out = malloc(sizeof **out); (*out)->start = 7000000; (*out)->count = 65536; *count = 1;
        return 0;
    }
    int shadow_subid_has_range(const char *o, unsigned long s, unsigned long n, int t, bool *r) {
        *r = false;
        return 0;
    }
    int shadow_subid_find_subid_owners(unsigned long id, int t, uid_t **u, int *c) { *c = 0; *u = NULL; return 0; }
    """

    @pytest.fixture(name="served")
    def _served(self, machine: Machine) -> Machine:
        library = machine.base / "lib"
        library.mkdir()
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library / "libsubid_rbsub.so"), "-x", "c", "-"],
                       check=True, input=self.PLUGIN, text=True)
        with open(machine.etc / "nsswitch.conf", "a") as handle:
            handle.write("subid: rbsub\n")
        machine.environment["LD_LIBRARY_PATH"] = str(library)
        return machine

    def test_served_ranges_are_told_and_nothing_is_written(self, served: Machine) -> None:
        wanted = {"start": 7000000, "count": 65536}
        assert served.getsubids("rbsuba") == [[wanted], [wanted]]
        result = served.subid(name="rbsuba")
        assert (result["changed"], result["source"], result["service"]) == (False, "nss", "rbsub")
        assert ranges_of(result) == [[wanted], [wanted]]
        assert served.subid(name="rbsuba", start=7000000)["changed"] is False
        assert served.subid(name="rbsubb", state="absent")["changed"] is False
        assert served.tables() == ("", "")

    @pytest.mark.parametrize("options, message", [
        ({"name": "rbsuba", "count": 70000}, "rbsuba has 65536 subordinate uids and 65536 gids instead of 70000"),
        ({"name": "rbsubb"}, "rbsubb has 0 subordinate uids"),
        ({"name": "rbsuba", "start": 100000}, "does not have the range 100000:65536"),
        ({"name": "rbsuba", "start": 7000001, "count": 65535}, "do not begin at 7000001"),
        ({"name": "rbsuba", "state": "absent"}, "cannot be removed"),
    ])
    def test_what_would_have_to_be_written_there_is_refused(self, served: Machine, options: dict[str, Any],
                                                            message: str) -> None:
        failure = served.subid(failed=True, **options)
        assert message in failure["msg"] and "served by rbsub" in failure["cause"]
        assert served.tables() == ("", "")

    DIRECTORY = r"""
    #include <errno.h>
    #include <nss.h>
    #include <pwd.h>
    #include <string.h>
    static enum nss_status fill(struct passwd *out) {
        *out = (struct passwd) {.pw_name = "rbsubd.doe@ex.com", .pw_passwd = "x", .pw_uid = 150000, .pw_gid = 150001,
                                .pw_gecos = "", .pw_dir = "/nonexistent", .pw_shell = "/bin/sh"};
        return NSS_STATUS_SUCCESS;
    }
    enum nss_status _nss_rbsub_getpwnam_r(const char *name, struct passwd *out, char *b, size_t n, int *error) {
        if (!strcmp(name, "EX\\rbsubd") || !strcmp(name, "rbsubd.doe@ex.com")) return fill(out);
        *error = ENOENT;
        return NSS_STATUS_NOTFOUND;
    }
    enum nss_status _nss_rbsub_getpwuid_r(uid_t uid, struct passwd *out, char *b, size_t n, int *error) {
        if (uid == 150000) return fill(out);
        *error = ENOENT;
        return NSS_STATUS_NOTFOUND;
    }
    """

    @pytest.fixture(name="domain")
    def _domain(self, machine: Machine) -> Machine:
        """A directory like that of a domain: it cannot be listed, and knows its user by a second name."""
        library = machine.base / "lib"
        library.mkdir()
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library / "libnss_rbsub.so.2"), "-x", "c", "-"],
                       check=True, input=self.DIRECTORY, text=True)
        switch = (machine.etc / "nsswitch.conf").read_text()
        (machine.etc / "nsswitch.conf").write_text(re.sub(r"(?m)^(passwd:.*)$", r"\1 rbsub", switch))
        machine.environment["LD_LIBRARY_PATH"] = str(library)
        assert machine.run("id", "-un", "150000").stdout == "rbsubd.doe@ex.com\n"
        return machine

    def test_the_ids_of_a_domain_s_user_are_covered_by_no_range(self, domain: Machine) -> None:
        for number, what in ((150000, "the uid of"), (150001, "the gid of the group of")):
            failure = domain.subid(name="rbsubd.doe@ex.com", start=number, count=1, failed=True)
            assert f"{what} rbsubd.doe@ex.com" in failure["cause"]
        first = {"start": 150002, "count": 65536}
        assert ranges_of(domain.subid(name="rbsubd.doe@ex.com")) == [[first], [first]]
        assert domain.getsubids("rbsubd.doe@ex.com") == [[first], [first]]
        assert domain.subid(name="rbsubd.doe@ex.com")["changed"] is False
        assert domain.subid(name="rbsubd.doe@ex.com", state="absent")["changed"] is True
        assert domain.tables() == ("", "")

    @pytest.mark.parametrize("state", ["present", "absent"])
    def test_another_name_of_the_account_is_refused_with_its_own(self, domain: Machine, state: str) -> None:
        failure = domain.subid(name="EX\\rbsubd", state=state, failed=True)
        assert "EX\\rbsubd is another name of the account rbsubd.doe@ex.com" in failure["msg"]
        assert failure["remedy"] == "name the user rbsubd.doe@ex.com"
        assert domain.tables() == ("", "")

    def test_accounts_of_a_directory_get_ranges_in_the_files(self, machine: Machine) -> None:
        # nss-systemd serves this account; /etc/passwd does not know it.
        (machine.etc / "userdb").mkdir(exist_ok=True)
        record = {"userName": "rbsubdir", "uid": 70001, "gid": 70001, "disposition": "regular"}
        (machine.etc / "userdb" / "rbsubdir.user").write_text(json.dumps(record))
        (machine.etc / "userdb" / "70001.user").symlink_to("rbsubdir.user")
        assert machine.subid(name="rbsubdir")["changed"] is True
        assert machine.getsubids("rbsubdir") == [[FULL], [FULL]]
        assert machine.subid(name="rbsubdir", state="absent")["changed"] is True
        assert machine.tables() == ("", "")


class TestKernel:
    def test_every_range_can_be_mapped(self, machine: Machine) -> None:
        machine.write("rbsuba:100000:1000\nrbsubb:101000:1000\n")
        result = machine.subid(name="rbsuba", probe=True)
        assert result["users"][0]["probed"] is True
        assert machine.subid(check=True, name="rbsuba", probe=True)["users"][0]["probed"] is True
        assert machine.subid(check=True, name="rbsubb", probe=True)["users"][0]["probed"] is False  # only predicted

    def test_buildah_maps_what_was_given(self, machine: Machine) -> None:
        home = machine.homes / "rbsuba"
        home.mkdir()
        os.chown(home, 52001, 52001)
        machine.write("rbsuba:200000:1000\n")

        def uid_map() -> list[list[int]]:
            done = machine.run("setpriv", "--reuid=52001", "--regid=52001", "--clear-groups", "env", f"HOME={home}",
                               f"XDG_RUNTIME_DIR={home}", "buildah", "unshare", "cat", "/proc/self/uid_map", cwd="/")
            return [[int(word) for word in line.split()] for line in done.stdout.splitlines()]

        assert uid_map() == [[0, 52001, 1], [1, 200000, 1000]]
        machine.subid(name="rbsuba")
        # The old ids keep their place: the new range comes after them.
        assert uid_map() == [[0, 52001, 1], [1, 200000, 1000], [1001, 201000, 64536]]

    def test_ranges_that_the_kernel_refuses_are_told(self, machine: Machine) -> None:
        machine.write("rbsuba:100000:65536\nrbsuba:100000:65536\n")
        failure = machine.subid(name="rbsuba", probe=True, failed=True)
        assert "newuidmap cannot map the ranges of rbsuba" in failure["msg"]
        assert "ranges of the builder user overlap one another" in failure["cause"]
        assert "usermod --del-subuids" in failure["remedy"]

    def test_migration_is_due_for_users_with_a_store_only_when_ranges_change(self, machine: Machine) -> None:
        assert machine.subid(check=True, name="rbsuba")["migrate_required"] is False
        (machine.homes / "rbsuba/.local/share/containers/storage").mkdir(parents=True)
        assert machine.subid(check=True, name="rbsuba")["migrate_required"] is True
        assert machine.subid(name="rbsuba")["migrate_required"] is True
        assert machine.subid(name="rbsuba")["migrate_required"] is False

    @pytest.mark.parametrize("mapped, uid_map", [
        (["--map-root-user"], "0 52001 1"),
        # Here the gids alone were too few.
        (["--map-user=0", "--map-users=100000,1,65536", "--map-group=0"], "0 52001 1 1 100000 65536"),
    ])  # fmt: skip
    def test_a_pause_process_with_older_ranges_makes_migration_due_until_it_ends(
        self, machine: Machine, mapped: list[str], uid_map: str
    ) -> None:
        machine.write("rbsuba:100000:65536\n")
        directory = Path("/tmp/podman-run-52001/libpod/tmp")
        directory.mkdir(parents=True)
        pause = subprocess.Popen(
            machine.argv("setpriv", "--reuid=52001", "--regid=52001", "--clear-groups", "unshare", "--user",
                         *mapped, "sleep", "60"))
        try:
            (directory / "pause.pid").write_text(str(pause.pid))
            deadline = time.monotonic() + 10
            while [*Path(f"/proc/{pause.pid}/uid_map").read_text().split(),
                   *Path(f"/proc/{pause.pid}/gid_map").read_text().split()] != [*uid_map.split(), "0", "52001", "1"]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            result = machine.subid(name="rbsuba")
            assert (result["changed"], result["migrate_required"]) == (False, True)
            pause.kill()
            pause.wait()
            assert machine.subid(name="rbsuba")["migrate_required"] is False
        finally:
            pause.kill()
            pause.wait()
            shutil.rmtree("/tmp/podman-run-52001")


def test_every_example_of_the_documentation_works_and_then_rests(machine: Machine) -> None:
    source = (ROOT / "plugins/modules/subid.py").read_text()
    examples = source.split('EXAMPLES = r"""')[1].split('"""')[0]
    for documented, real in (("name: build\n", "name: rbsuba\n"), ("name: ci\n", "name: rbsubb\n"),
                             ("name: shared\n", "name: rbsubc\n"), ("/home/shared, shared]", "/home/shared, rbsubc]"),
                             ("/home/shared", str(machine.homes / "rbsubc"))):
        assert documented in examples
        examples = examples.replace(documented, real)
    machine.run("useradd", "--system", "--no-create-home", "kubelet")
    book = machine.base / "examples.yml"
    book.write_text(yaml.safe_dump([{
        "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": yaml.safe_load(examples),
        "vars": {"ansible_python_interpreter": sys.executable}}]))
    outputs = [machine.run(sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", str(book)).stdout
               for _each in range(2)]
    assert [re.findall(r"ok=(\d+) +changed=(\d+)", output) for output in outputs] == [[("7", "5")], [("7", "0")]]
    shared = {"start": 300000, "count": 65536}
    assert machine.getsubids("rbsubc") == [[shared], [shared]]


class TestRole:
    def play(self, machine: Machine, *arguments: str, users: tuple[str, ...] = ("rbsuba", "rbsubb"),
             failed: bool = False, tasks: list[dict[str, Any]] | None = None, **variables: Any) -> str:
        book = machine.base / "play.yml"
        book.write_text(yaml.safe_dump([{
            "hosts": "localhost", "connection": "local", "gather_facts": False,
            **({"tasks": tasks} if tasks else {"roles": ["rootless.buildah.subid"]}),
            "vars": {"ansible_python_interpreter": sys.executable, "subid_users": [{"name": name} for name in users],
                     **variables},
            "post_tasks": [{"ansible.builtin.debug": {"msg": "MIGRATE={{ rootless_buildah_migrate_users }}"}}],
        }]))
        done = machine.run(sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", str(book), *arguments,
                           check=False)
        assert (done.returncode != 0) is failed, done.stdout + done.stderr
        return done.stdout

    @staticmethod
    def recap(output: str) -> tuple[int, int]:
        found = re.search(r"ok=(\d+) +changed=(\d+)", output)
        assert found, output
        return int(found.group(1)), int(found.group(2))

    def test_check_converge_rest_and_the_way_back(self, machine: Machine) -> None:
        (machine.homes / "rbsuba/.local/share/containers/storage").mkdir(parents=True)
        assert self.recap(self.play(machine, "--check"))[1] == 1
        assert machine.tables() == ("", "")
        output = self.play(machine)
        assert self.recap(output)[1] == 1 and "MIGRATE=['rbsuba']" in output
        assert machine.getsubids("rbsuba") == [[FULL], [FULL]] and machine.getsubids("rbsubb") == [[SECOND], [SECOND]]
        output = self.play(machine)
        assert self.recap(output)[1] == 0 and "MIGRATE=[]" in output
        tasks = self.recap(output)[0]
        assert self.recap(self.play(machine, "--check"))[1] == 0
        machine.add_user("rbsubc", 52003)
        self.play(machine, users=("rbsuba", "rbsubb", "rbsubc"))
        assert self.recap(self.play(machine, users=("rbsuba", "rbsubb", "rbsubc"))) == (tasks, 0)
        assert self.recap(self.play(machine, "--check", subid_state="absent"))[1] == 1
        assert self.recap(self.play(machine, subid_state="absent"))[1] == 1
        assert machine.getsubids("rbsubc") == [[THIRD], [THIRD]]
        assert machine.tables() == ("rbsubc:231072:65536\n",) * 2
        assert self.recap(self.play(machine, subid_state="absent"))[1] == 0

    def test_verification_asks_the_system_and_not_the_files(self, machine: Machine) -> None:
        machine.write("rbsuba:100000:65536\nrbsuba:100000:65536\n")
        output = self.play(machine, users=("rbsuba",), failed=True)
        assert "newuidmap cannot map the ranges of rbsuba" in output

    def test_verification_alone_tells_what_is_missing(self, machine: Machine) -> None:
        output = self.play(machine, users=("rbsuba",), failed=True, tasks=[{
            "ansible.builtin.include_role": {"name": "rootless.buildah.subid", "tasks_from": "verify.yml"}}])
        assert "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 rbsuba" in output

    def test_a_bare_host_can_be_checked(self, machine: Machine) -> None:
        assert self.recap(self.play(machine, "--check", users=("rbsubnone",)))[1] == 1

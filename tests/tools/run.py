# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the stages of `make test` and counts what really ran.

Every number comes from what a tool reported (junit files, its own summary), never from its exit status alone. A stage
in which nothing ran has failed. A failing stage does not stop the following ones: one run shows everything.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, Mapping, Optional, Sequence

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
LOGS = CACHE / "test"
COLLECTION = "rootless.buildah"
OURS = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit status (124: stopped by the time limit) and its combined output."""

    status: int
    text: str


@dataclass
class Stage:
    """One stage while it runs: where it logs, and what it has counted so far."""

    name: str
    scratch: Path
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.failed == 0 and self.passed > 0

    def count(self, passed: int = 0, failed: int = 0, skipped: int = 0) -> None:
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def check(self, label: str, ok: bool, why: str = "") -> None:
        """Count one check by its result."""
        self.count(passed=int(ok), failed=int(not ok))
        if not ok:
            self.note(f"{label}: {why or 'failed'}")

    def skip(self, label: str, why: str) -> None:
        self.count(skipped=1)
        self.note(f"{label}: skipped, {why}")

    def note(self, text: str) -> None:
        self.notes.append(text)
        print(f"   {text}", flush=True)

    def run(
        self,
        argv: Sequence[str],
        env: Optional[Mapping[str, str]] = None,
        cwd: Path = ROOT,
        minutes: float = 15,
        as_root: bool = False,
    ) -> Outcome:
        """Run one command, show and log its output.

        :param env: variables on top of this process's own.
        :param minutes: after which the command and its children are killed.
        :param as_root: use sudo unless this is root already; the environment is passed on by name.
        """
        extra = {"TMPDIR": str(self.scratch), **(env or {})}
        command = list(argv)
        if as_root and os.geteuid() != 0:
            kept = ("PATH", "LC_ALL", "ANSIBLE_HOME", "ANSIBLE_COLLECTIONS_PATH", "CI", "KUBECONFIG", "MACHINES_IMAGES",
                    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # fmt: skip
            passed_on = {name: os.environ[name] for name in kept if name in os.environ}
            passed_on["PYTHONDONTWRITEBYTECODE"] = "1"
            command = ["sudo", "env", *(f"{k}={v}" for k, v in {**passed_on, **extra}.items()), *command]
        print(f"\n== {self.name}: {' '.join(map(str, argv))[:200]}", flush=True)
        lines: list[str] = []
        with (LOGS / f"{self.name}.log").open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **extra},
                # sudo may ask for a password. Ansible wants no standard input that its caller made non-blocking.
                stdin=None if as_root and os.geteuid() != 0 else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=not (as_root and os.geteuid() != 0),
            )
            expired = threading.Event()

            def stop() -> None:
                expired.set()
                end(process)

            timer = threading.Timer(minutes * 60, stop)
            timer.start()
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    lines.append(line)
                    log.write(line)
                    sys.stdout.write(line)
                    sys.stdout.flush()
                status = process.wait()
            except BaseException:
                end(process)
                raise
            finally:
                timer.cancel()
        if expired.is_set():
            self.note(f"stopped after {minutes:g} minutes: {' '.join(command)[:120]}")
            status = 124
        return Outcome(status, "".join(lines))

    def pytest(
        self,
        label: str,
        arguments: Sequence[str],
        python: str = sys.executable,
        env: Optional[Mapping[str, str]] = None,
        minutes: float = 15,
        as_root: bool = False,
        spread: str = "",
    ) -> None:
        """Run pytest and count from its junit file. That none was collected is a failure.

        :param spread: what stays together when tests run side by side, as a value of xdist's --dist. They wait more
            than they compute: for disks, registries, and processes of their own.
        """
        junit = Path(tempfile.mkdtemp(dir=self.scratch)) / "junit.xml"
        # Root would leave a cache behind that its owner cannot remove.
        cache = ["-p", "no:cacheprovider"] if as_root else ["-o", "cache_dir=.cache/pytest"]
        argv = [python, "-m", "pytest", "-q", *cache, f"--junitxml={junit}", *arguments]
        if spread:
            argv += ["-n", str(min(4, os.cpu_count() or 1)), "--dist", spread]
        outcome = self.run(argv, env=env, minutes=minutes, as_root=as_root)
        ran = self.junit(junit)
        if ran == 0:
            self.check(label, False, f"pytest ran nothing (exit status {outcome.status})")
        elif outcome.status not in (0, 1):
            self.check(label, False, f"pytest ended with exit status {outcome.status}")
        if junit.is_file():
            shutil.copyfile(junit, LOGS / f"{self.name}-{re.sub(r'[^A-Za-z0-9.]+', '-', label)}.xml")

    def junit(self, path: Path) -> int:
        """Add the counts of a junit file; return how many tests it tells of."""
        if not path.is_file():
            return 0
        total = 0
        for case in ET.parse(path).getroot().iter("testcase"):
            total += 1
            skipped = case.find("skipped")
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            if case.find("failure") is not None or case.find("error") is not None:
                self.count(failed=1)
                self.notes.append(f"{name}: failed")
            elif skipped is not None:
                self.count(skipped=1)
                self.notes.append(f"{name}: skipped, {skipped.get('message', '')}")
            else:
                self.count(passed=1)
        return total


def end(process: subprocess.Popen[str]) -> None:
    """End a command together with what it started, first politely."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            process.send_signal(number)
        try:
            process.wait(timeout=10)
            return
        except subprocess.TimeoutExpired:
            continue


def files(*patterns: str) -> list[str]:
    """Return the checkout's files, tracked and new ones, deleted ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def copy_of_checkout(parent: Path) -> Path:
    """Lay a copy where ansible-test accepts it: a real path, a git repository, outside of the checkout."""
    target = parent.joinpath("ansible_collections", *COLLECTION.split("."))
    for name in files():
        destination = target / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, destination, follow_symlinks=False)
    subprocess.run(["git", "init", "-q", str(target)], check=True)
    return target


def find_python(*versions: str) -> Optional[str]:
    """Return an interpreter of the first of the versions that this machine has, or can get through uv."""
    for version in versions:
        candidates = [shutil.which(f"python{version}")]
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        candidates += [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python{version}"))]
        for candidate in filter(None, candidates):
            test = f"import sys, ctypes, ssl, zlib; assert '%d.%d' % sys.version_info[:2] == '{version}'"
            if subprocess.run([candidate, "-c", test], capture_output=True, check=False).returncode == 0:
                return candidate
    for version in versions:
        installed = CACHE / "pythons"
        command = ["uv", "python", "install", "-q", "--no-bin", "--install-dir", str(installed), version]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            found = sorted(installed.glob(f"cpython-{version}.*/bin/python{version}"))
            if found:
                return str(found[0])
    return None


def environment(python: str, name: str, requirements: str) -> Path:
    """Make (once) a virtual environment of another Python in the cache; return its folder."""
    folder = CACHE / name
    wanted = f"{python}\n{(ROOT / requirements).read_text(encoding='utf-8')}"
    stamp = folder / ".requirements"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        subprocess.run(["uv", "venv", "-q", "--clear", "--python", python, str(folder)], check=True)
        install = ["uv", "pip", "install", "-q", "--python", str(folder / "bin/python"), "--require-hashes", "-r"]
        subprocess.run([*install, requirements], cwd=ROOT, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return folder


def prepare(stage: Stage) -> bool:
    """Install the system's packages that the real tools come from; nothing when all are there."""
    outcome = stage.run(["tests/tools/prepare"], as_root=True)
    if outcome.status != 0:
        stage.check("system packages", False, "tests/tools/prepare failed")
    return outcome.status == 0


def by_file(stage: Stage, label: str, checked: Sequence[str], outcome: Outcome) -> None:
    """Count checked files by whether the output names them at the start of a line: `FILE:LINE…`."""
    named = {match.group(1).removeprefix("./") for match in re.finditer(r"^([^\s:]+):\d+", outcome.text, re.MULTILINE)}
    bad = sorted(named & set(checked))
    stage.count(passed=len(checked) - len(bad), failed=len(bad))
    for name in bad:
        stage.notes.append(f"{label}: {name}")
    if outcome.status != 0 and not bad:
        stage.check(label, False, f"exit status {outcome.status}")


# The stages


def lint(stage: Stage) -> None:
    outcome = stage.run(["ansible-lint", "--offline", "--nocolor", "--format", "pep8"])
    summary = re.search(r"(\d+) failure\(s\), (\d+) warning\(s\) .*?(\d+) files processed", outcome.text)
    if summary is None:
        stage.check("ansible-lint", False, f"no summary in its output (exit status {outcome.status})")
    else:
        named = set(re.findall(r"^([^\s:]+):\d+", outcome.text, re.MULTILINE))
        stage.count(passed=max(int(summary.group(3)) - len(named), 0), failed=len(named))
        stage.notes += [f"ansible-lint: {name}" for name in sorted(named)]
        if outcome.status != 0 and not named:
            stage.check("ansible-lint", False, f"exit status {outcome.status}")

    yaml = files("*.yml", "*.yaml", ".yamllint", ".ansible-lint")
    by_file(stage, "yamllint", yaml, stage.run(["yamllint", "--strict", "--format", "parsable", *yaml]))
    python = files("*.py")
    by_file(stage, "ruff", python, stage.run(["ruff", "check", "--no-fix", "--output-format", "concise", *python]))
    shell = [name for name in files() if is_shell(ROOT / name)]
    by_file(stage, "shellcheck", shell, stage.run(["shellcheck", "--format", "gcc", *shell]))


def is_shell(path: Path) -> bool:
    # A template is no shell script before it is rendered.
    if path.suffix == ".j2":
        return False
    with path.open("rb") as file:
        return re.match(rb"#!.*\b(ba|da)?sh\b", file.readline(80)) is not None


def types(stage: Stage) -> None:
    outcome = stage.run(["mypy", "--no-color-output", "-p", f"ansible_collections.{COLLECTION}"])
    summary = re.search(r"(?:no issues found in|checked) (\d+) source file", outcome.text)
    if summary is None:
        stage.check("mypy", False, f"no summary in its output (exit status {outcome.status})")
        return
    link = f".ansible/collections/ansible_collections/{COLLECTION.replace('.', '/')}/"
    bad = {name.removeprefix(link) for name in re.findall(r"^(\S+?\.pyi?):\d+: error", outcome.text, re.MULTILINE)}
    stage.count(passed=int(summary.group(1)) - len(bad), failed=len(bad))
    stage.notes += [f"mypy: {name}" for name in sorted(bad)]
    if outcome.status != 0 and not bad:
        stage.check("mypy", False, f"exit status {outcome.status}")


def unit(stage: Stage) -> None:
    stage.pytest(f"Python {OURS}", ["tests/unit"])
    stage.pytest("static", ["tests/static"])
    python = find_python("3.9")
    if python is None:
        stage.skip("Python 3.9", "none was found here, and uv could not get one")
        return
    folder = environment(python, "python39", "tests/floor/requirements-python39.txt")
    # On a host a module finds ansible.module_utils and nothing else of Ansible: so do these tests.
    host = CACHE / "host"
    import ansible

    package = Path(ansible.__file__).parent
    (host / "ansible").mkdir(parents=True, exist_ok=True)
    for name in ("__init__.py", "release.py", "module_utils"):
        (host / "ansible" / name).unlink(missing_ok=True)
        (host / "ansible" / name).symlink_to(package / name)
    controller = [f"--ignore=tests/unit/plugins/{kind}" for kind in ("action", "filter", "lookup")]
    env = {"PYTHONPATH": str(host), "PYTHONDONTWRITEBYTECODE": "1"}
    stage.pytest("Python 3.9", ["tests/unit", *controller], python=str(folder / "bin/python"), env=env)


def ansible_test_home() -> Path:
    """Return a home for ansible-test, with a stand-in for the get-pip script that it would download."""
    home = CACHE / "ansible-test"
    downloads = home / ".ansible" / "test" / "cache"
    downloads.mkdir(parents=True, exist_ok=True)
    script = ROOT / "tests" / "tools" / "get_pip.py"
    for version in ("24_2", "25_2"):
        shutil.copyfile(script, downloads / f"get_pip_{version}.py")
    return home


def sanity(stage: Stage) -> None:
    tree = copy_of_checkout(stage.scratch / "sanity")
    env = {"HOME": str(ansible_test_home()), "LC_ALL": "C.UTF-8"}
    configuration = Path.home() / ".config" / "pip" / "pip.conf"
    if configuration.is_file():
        env["PIP_CONFIG_FILE"] = str(configuration)
    ansible_test_sanity(stage, tree, env, [], OURS)
    python = find_python("3.9")
    if python is None:
        stage.skip("sanity with Python 3.9", "none was found here, and uv could not get one")
    else:
        env["PATH"] = f"{os.environ['PATH']}:{Path(python).parent}"
        ansible_test_sanity(stage, tree, env, ["--test", "compile", "--test", "import"], "3.9", python)

    outcome = stage.run(["ansible-test", "units", "--color", "no", "--local", "--python", OURS], env=env, cwd=tree)
    ran = sum(stage.junit(path) for path in sorted((tree / "tests/output/junit").glob("*.xml")))
    if ran == 0 or outcome.status not in (0, 1):
        stage.check("ansible-test units", False, f"{ran} tests ran, exit status {outcome.status}")


def ansible_test_sanity(
    stage: Stage, tree: Path, env: Mapping[str, str], tests: Sequence[str], version: str, python: str = ""
) -> None:
    interpreter = ["--python-interpreter", python] if python else []
    argv = ["ansible-test", "sanity", "--color", "no", "--local", "--python", version, *interpreter, *tests]
    outcome = stage.run(argv, env=env, cwd=tree)
    ran = len(re.findall(r'^Running sanity test "', outcome.text, re.MULTILINE))
    failures = re.search(
        r"sanity test\(s\) listed below .*failed.*\n((?:[a-z][\w-]*(?: --python .*)?\n)+)", outcome.text
    )
    bad = failures.group(1).split("\n")[:-1] if failures else []
    stage.count(passed=ran - len(bad), failed=len(bad))
    stage.notes += [f"ansible-test sanity {version}: {name}" for name in bad]
    if ran == 0 or (outcome.status != 0 and not bad):
        stage.check(f"ansible-test sanity {version}", False, f"{ran} tests ran, exit status {outcome.status}")


def docs(stage: Stage) -> None:
    argv = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."]
    outcome = stage.run(argv)
    stage.check("antsibull-docs", outcome.status == 0, "see the lines above")
    outcome = stage.run(["antsibull-changelog", "lint"])
    stage.check("antsibull-changelog", outcome.status == 0, "see the lines above")
    stage.pytest("documentation", ["tests/docs"])


def tarball(stage: Stage) -> None:
    stage.pytest("tarball", ["tests/tarball"])


def floor(stage: Stage) -> None:
    python = files("plugins/*.py")
    outcome = stage.run(
        ["vermin", "--no-tips", "--violations", "--eval-annotations", "--no-parse-comments", "-t=3.9-", *python]
    )
    stage.check("vermin", outcome.status == 0, "something in plugins/ needs more than Python 3.9")
    controller = find_python(*([OURS] if OURS in ("3.10", "3.11", "3.12") else []), "3.12", "3.11", "3.10")
    if controller is None:
        stage.skip("ansible-core 2.16", "it needs Python 3.10 to 3.12; none was found here, and uv could not get one")
        return
    folder = environment(controller, "core216", "tests/floor/requirements-core216.txt")
    env = {"FLOOR_BIN": str(folder / "bin"), "FLOOR_PYTHON": find_python("3.9") or ""}
    if prepare(stage):
        stage.pytest("ansible-core 2.16", ["tests/floor"], env=env, as_root=True, minutes=20)


def integration(stage: Stage) -> None:
    if prepare(stage):
        # usermod refuses ranges that a process on the machine uses, whosever it is. The mutations move bases and
        # settings of their builder; what comes after them must not see that.
        alone = ["tests/integration/test_subid.py", "tests/integration/test_mutations.py"]
        arguments = ["-m", "not long", "--durations=15", "-v"]
        others = ["tests/integration", *(f"--ignore={path}" for path in alone)]
        stage.pytest("integration", [*others, *arguments], as_root=True, minutes=60, spread="loadfile")
        stage.pytest("alone", [*alone, *arguments], as_root=True, minutes=40)


def long(stage: Stage) -> None:
    if prepare(stage):
        arguments = ["tests/integration", "tests/machines", "-m", "long", "--durations=15", "-v"]
        stage.pytest("long", arguments, as_root=True, minutes=80)


def demo(stage: Stage) -> None:
    if prepare(stage):
        stage.pytest("demo", ["tests/demo", "-v"], as_root=True, minutes=30, spread="loadscope")


def machine(stage: Stage) -> None:
    """The scenario of builder hosts on one of its machines, and what becomes of machines."""
    lives(stage)
    scenario(stage, "node", "node-13", minutes=40)


def scenarios(stage: Stage) -> None:
    """All scenarios and what becomes of machines; or those that SCENARIO names.

    On all of their machines, or on those that MACHINES names.
    """
    chosen = os.environ.get("SCENARIO")
    if not chosen:
        lives(stage)
    present = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    for name in chosen.split(",") if chosen else present:
        scenario(stage, name, os.environ.get("MACHINES") or "all", minutes=150)


def lives(stage: Stage) -> None:
    if prepare(stage):
        stage.pytest("life", ["tests/machines", "-m", "not long", "-v"], as_root=True)


def scenario(stage: Stage, name: str, machines: str, minutes: float) -> None:
    """Run a Molecule scenario; count its actions, and the tests that its verifier reports in its output.

    :param machines: those of the scenario's hosts that take part, with commas between them.
    """
    if not prepare(stage):
        return
    env = {**molecule(), "MACHINES": machines, "NO_COLOR": "1", "COLUMNS": "160"}
    outcome = stage.run(["molecule", "test", "--scenario-name", name], env=env, minutes=minutes, as_root=True)
    if outcome.status == 124:
        stage.run(["molecule", "destroy", "--scenario-name", name], env=env, as_root=True)
    details = outcome.text.rpartition("DETAILS")[2]
    actions = re.findall(rf"^{name} [➜>] ([\w-]+): Executed: (\w+)", details, re.MULTILINE)
    for action, result in actions:
        if result in ("Successful", "Failed"):
            stage.check(f"{name}: {action}", result == "Successful")
    for line in re.findall(r"=+ (.*\d+ (?:passed|failed|error).*) in [\d.]+s", outcome.text):
        counts = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) (\w+)", line)}
        failed = counts.get("failed", 0) + counts.get("error", 0)
        stage.count(passed=counts.get("passed", 0), failed=failed, skipped=counts.get("skipped", 0))
        if failed:
            stage.note(f"{name}: {failed} of its tests failed")
    if outcome.status != 0 or not actions:
        stage.check(name, False, f"exit status {outcome.status}, {len(actions)} actions")


def molecule() -> dict[str, str]:
    """Return what Molecule's environment needs: where scenarios are, and that machines end with this process."""
    return {"MOLECULE_GLOB": "molecule/*/molecule.yml", "MACHINES_OWNER": str(os.getpid())}


def bench(stage: Stage) -> None:
    if prepare(stage):
        stage.pytest("bench", ["tests/bench", "-v", "-s"], env=molecule(), as_root=True, minutes=180)


STAGES: dict[str, Callable[[Stage], None]] = {
    "lint": lint,
    "types": types,
    "unit": unit,
    "sanity": sanity,
    "docs": docs,
    "tarball": tarball,
    "floor": floor,
    "integration": integration,
    "demo": demo,
    "machine": machine,
}
EXTRA: dict[str, Callable[[Stage], None]] = {
    "bench": bench,
    "long": long,
    "scenarios": scenarios,
}


def system_state() -> dict[str, list[str]]:
    """Return what a test must leave as it was: accounts, their ids, mounts."""
    state = {name: Path(f"/etc/{name}").read_text(encoding="utf-8").splitlines() for name in ("passwd", "group")}
    for name in ("subuid", "subgid"):
        path = Path(f"/etc/{name}")
        state[name] = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        state["mounts"] = [line.split()[4] for line in mounts]
    return state


def leftovers(before: Mapping[str, Iterable[str]]) -> list[str]:
    """Return what is there now and was not before, as sentences."""
    now = system_state()
    return [
        f"left behind in {name}: {', '.join(sorted(new))}"
        for name, entries in now.items()
        if (new := set(entries) - set(before[name]))
    ]


def table(stages: Sequence[Stage]) -> str:
    lines = [f"{'stage':<12} {'passed':>7} {'failed':>7} {'skipped':>7} {'seconds':>8}"]
    lines += [f"{s.name:<12} {s.passed:>7} {s.failed:>7} {s.skipped:>7} {s.seconds:>8.0f}" for s in stages]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, *EXTRA, "all", []], help="those of make test by default")
    names = parser.parse_args().stages or list(STAGES)
    if names == ["all"]:
        names = [*(name for name in STAGES if name != "machine"), "long", "scenarios"]

    # As the Makefile says it too, for whoever calls this file directly.
    os.environ["PATH"] = f"{Path(sys.prefix, 'bin')}:{os.environ['PATH']}"
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ["ANSIBLE_HOME"] = str(ROOT / ".ansible")
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / ".ansible" / "collections")
    for number in (signal.SIGTERM, signal.SIGHUP):
        # What runs has sessions of its own, which the end of this one would not reach. nohup ignores the second.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda came, _frame: sys.exit(128 + came))
    LOGS.mkdir(parents=True, exist_ok=True)
    for old in LOGS.iterdir():
        old.unlink()
    scratch = Path(tempfile.mkdtemp(prefix="rootless-buildah-test-"))
    # Builder users pass through to what is theirs below; they cannot list it.
    scratch.chmod(0o711)
    watched = bool({"floor", "integration", "demo", "bench"} & set(names))
    if watched:
        # The accounts that packages make are not left behind by tests. A failure is counted where a stage asks again.
        prepare(Stage("packages", scratch))
    before = system_state()
    done: list[Stage] = []
    try:
        for name in names:
            stage = Stage(name, scratch)
            done.append(stage)
            started = time.monotonic()
            try:
                {**STAGES, **EXTRA}[name](stage)
            except Exception as problem:  # noqa: BLE001  # counted, and the other stages still run
                stage.check("the stage itself", False, f"{type(problem).__name__}: {problem}")
            if stage.passed + stage.failed == 0:
                stage.check("the stage itself", False, "nothing ran")
            stage.seconds = time.monotonic() - started
    finally:
        remove(scratch)
    rest = leftovers(before) if watched else []
    if rest:
        done[-1].check("cleaning up", False, "; ".join(rest))

    print()
    for stage in done:
        for note in stage.notes:
            print(f"{stage.name}: {note}")
    summary = f"\n{table(done)}\n"
    closing = f"{sum(s.passed for s in done)} passed, {sum(s.failed for s in done)} failed"
    print(f"{summary}\n{closing}")
    (LOGS / "summary.txt").write_text(f"{closing}\n", encoding="utf-8")
    return 0 if all(stage.ok for stage in done) else 1


def remove(folder: Path) -> None:
    """Remove a scratch folder, also what root or an id of a builder user's namespace owns in it."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and os.geteuid() != 0:
        subprocess.run(["sudo", "rm", "-rf", "--one-file-system", str(folder)], check=False)


if __name__ == "__main__":
    sys.exit(main())

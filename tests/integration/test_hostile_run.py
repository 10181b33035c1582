# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hostile RUN step under chroot isolation: it leaves its root, and still no registry's credentials are within reach.

What it tries is in hostile.pl. It is run by perl, which every Debian has, because shells cannot chroot twice.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from ansible_collections.rootless.buildah.tests.integration.canary import Canaries
from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry

HERE = Path(__file__).parent
CREDENTIALS = (
    "password",
    "auth_file",
    "persistent_auth",
    "runtime_auth",
    "docker",
    "netrc",
    "ssh",
    "gnupg",
    "ansible_home",
    "ansible_tmp",
    "ansible_var_tmp",
    "ansible_shared",
    "ansible_async",
)


@dataclass
class Finding:
    """One line of hostile.pl."""

    how: str
    place: str
    word: str


@dataclass
class Visit:
    """What a hostile build reported, by the name of the RUN step, and the build's result."""

    result: dict[str, Any]
    lines: dict[str, list[Finding]] = field(default_factory=dict)


class Cell:
    """A builder user with secrets in every usual place, and a registry that wants one of them."""

    def __init__(self, builder: Builder, root: Path) -> None:
        self.builder = builder
        self.canaries = Canaries(*CREDENTIALS, "notes", "later", "cache_auth", "other_run", "build_secret")
        kind = type("GuardedRegistry", (Registry,), {"username": "builder", "password": self.canaries["password"]})
        self.registry: Registry = kind(root / "registry")
        self.shared = builder.home / "shared"
        self.places: list[Path] = []
        self._serial = 0

    def remove(self) -> None:
        self.registry.stop()
        for place in self.places:
            shutil.rmtree(place, ignore_errors=True)

    def auth(self, name: str) -> str:
        """Return an authfile with a canary as its password."""
        token = base64.b64encode(f"somebody:{self.canaries[name]}".encode()).decode()
        return json.dumps({"auths": {"registry.example.com": {"auth": token}}})

    def directory(self, path: str, name: str, owner: int, mode: int = 0o700) -> None:
        """Make a temporary directory with a file as Ansible does."""
        place = Path(path)
        place.mkdir()
        self.places.append(place)
        (place / "AnsiballZ_buildah_build.py").write_text(f"ARGS = {self.canaries[name]!r}\n")
        for one in (place, place / "AnsiballZ_buildah_build.py"):
            os.chown(one, owner, self.builder.gid)
            one.chmod(mode)

    def plant(self) -> None:
        """Put a secret into every place that a build must not see, and one where nothing is promised."""
        home, uid = self.builder.write, self.builder.uid
        home(".config/containers/auth.json", self.auth("persistent_auth"), 0o600)
        home("ci/auth.json", self.auth("auth_file"), 0o600)
        home("cache/auth.json", self.auth("cache_auth"), 0o600)
        home(".docker/config.json", self.auth("docker"), 0o600)
        home(".netrc", f"machine registry.example.com password {self.canaries['netrc']}\n", 0o600)
        home(".ssh/id_ed25519", self.canaries["ssh"], 0o600)
        home(".gnupg/private-keys-v1.d/key", self.canaries["gnupg"], 0o600)
        home("notes", self.canaries["notes"], 0o600)
        home("needles", "\n".join(self.canaries.needles()) + "\n")
        home(".ansible/tmp/ansible-tmp-1/AnsiballZ_buildah_build.py", self.canaries["ansible_home"], 0o600)
        home(".ansible_async/j1.2", self.canaries["ansible_async"], 0o600)
        self.directory(f"/tmp/ansible-tmp-{os.getpid()}-own", "ansible_tmp", uid)
        self.directory(f"/var/tmp/ansible-tmp-{os.getpid()}-own", "ansible_var_tmp", uid)
        # With become the files belong to the user who connected; the builder may read them through his group or an ACL.
        self.directory(f"/var/tmp/ansible-tmp-{os.getpid()}-shared", "ansible_shared", 0, 0o750)
        runtime = Path(f"/run/user/{uid}")
        runtime.mkdir(parents=True)
        self.places.append(runtime)
        (runtime / "containers").mkdir()
        (runtime / "containers/auth.json").write_text(self.auth("runtime_auth"))
        (runtime / "containers/auth.json").chmod(0o600)
        for one in (runtime, runtime / "containers", runtime / "containers/auth.json"):
            os.chown(one, uid, self.builder.gid)
        runtime.chmod(0o700)
        self.shared.mkdir()
        os.chown(self.shared, uid, self.builder.gid)

    def base(self) -> str:
        """Make an image with a shell and perl; return its name."""
        libraries = sorted(set(re.findall(r"/\S+", subprocess.check_output(["ldd", "/usr/bin/perl"], text=True))))
        loader = next(name for name in libraries if "ld-linux" in name)
        files: dict[str, str | bytes] = {"busybox": Path("/bin/busybox").read_bytes()}
        files["perl"] = Path("/usr/bin/perl").read_bytes()
        files |= {f"lib{name}": Path(name).read_bytes() for name in libraries}
        files["Containerfile"] = (
            "FROM scratch\nCOPY --chmod=755 busybox perl /bin/\nCOPY --chmod=755 lib /\n"
            'RUN ["/bin/busybox", "--install", "/bin"]\n'
            f"ENV PATH=/bin LD_LIBRARY_PATH={':'.join(sorted({os.path.dirname(name) for name in libraries}))}\n"
            f"RUN {loader} /bin/perl -e 'print qq(perl runs\\n)'\n"
        )
        self.builder.context("perl", files)
        name = "localhost/hostile-base:1"
        self.builder.build(name=name, path=str(self.builder.home / "perl"))
        return name

    def places_to_search(self) -> str:
        """Return the directories of the host that matter, as words."""
        return f"{self.builder.home} /tmp /var/tmp /run /dev/shm"

    def options(self, *runs: str, **more: Any) -> dict[str, Any]:
        """Return the parameters of a build whose RUN steps call hostile.pl; ``$hostile`` is the call."""
        self._serial += 1
        name = f"hostile-{self._serial}"
        self.builder.context(
            name,
            {
                "hostile.pl": (HERE / "hostile.pl").read_bytes(),
                "needles": (self.builder.home / "needles").read_bytes(),
                "Containerfile": "FROM localhost/hostile-base:1\nCOPY hostile.pl needles /\n"
                'ENV hostile="perl /hostile.pl /needles"\n'
                + "".join(f"RUN echo PHASE {number}; {run}\n" for number, run in enumerate(runs)),
            },
        )
        return {
            "name": f"{self.registry.address}/hostile/{name}:1",
            "path": str(self.builder.home / name),
            "volumes": [f"{self.shared}:/shared"],
            "push": True,
            "retries": 0,
            **self.registry.login,
            **more,
        }

    def visit(self, *runs: str, during: Callable[[], None] = lambda: None, **more: Any) -> Visit:
        """Build with hostile RUN steps.

        :param during: called once a step has made the file /shared/ready; after it /shared/go is made.
        """
        for flag in ("ready", "go"):
            (self.shared / flag).unlink(missing_ok=True)
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                if (self.shared / "ready").exists():
                    try:
                        during()
                    finally:
                        (self.shared / "go").touch()
                    return
                time.sleep(0.02)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            result = self.builder.module("buildah_build", **self.options(*runs, **more))
        finally:
            done.set()
            watcher.join()
        visit = Visit(result)
        current: list[Finding] = []
        for line in Path(result["log_path"]).read_text().splitlines() if "log_path" in result else ():
            if line.startswith("PHASE "):
                current = visit.lines.setdefault(line.split()[1], [])
            elif line.count("\t") == 2:
                current.append(Finding(*line.split("\t")))
        return visit

    def found(self, findings: list[Finding]) -> set[str]:
        """Return the names of the canaries in findings."""
        return {name for one in findings if one.how.startswith("FOUND") for name in self.canaries.named_in(one.word)}


# Files of the user that no option named: nothing is promised of them, and the escape is seen by them.
ORDINARY = {"notes", "cache_auth", "auth_file"}
WAIT = "touch /shared/ready; while [ ! -e /shared/go ]; do sleep 0.05; done"


@pytest.fixture(scope="module")
def cell(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    user = Builder(f"rbth-{os.getpid()}", library)
    here = Cell(user, tmp_path_factory.mktemp("hostile"))
    try:
        here.plant()
        here.base()
        yield here
    finally:
        here.remove()
        user.remove()


@pytest.fixture(scope="module")
def visit(cell: Cell) -> Visit:
    """One build that tries everything that needs no second actor."""
    home = cell.builder.home
    visit = cell.visit(
        f"$hostile search {cell.places_to_search()}",
        f"$hostile processes {home} /tmp/ansible-tmp-{os.getpid()}-own",
        f"$hostile undo {home} /tmp /var/tmp /run",
        "env | while read -r line; do printf 'ENV\\t-\\t%s\\n' \"$line\"; done",
        "$hostile join",
        registry_auth_file=str(home / "ci/auth.json"),
        cache_auth_file=str(home / "cache/auth.json"),
        secrets=[{"id": "unused", "value": cell.canaries["build_secret"]}],
    )
    assert not visit.result["failed"] and visit.result["pushed"], visit.result
    assert sorted(visit.lines) == list("01234"), visit.lines.keys()
    return visit


def test_the_escape_works_and_reads_private_files(cell: Cell, visit: Visit) -> None:
    assert any(one.how == "ESCAPED" for one in visit.lines["0"])
    assert "notes" in cell.found(visit.lines["0"]), "without this nothing below proves anything"


def test_outside_its_root_it_finds_no_credentials(cell: Cell, visit: Visit) -> None:
    readable_by_design = {"notes", "cache_auth", "build_secret"}
    assert cell.found(visit.lines["0"]) - readable_by_design == set(), visit.lines["0"]


def test_of_credentials_it_finds_those_of_the_layer_cache_only(cell: Cell, visit: Visit) -> None:
    assert "cache_auth" in cell.found(visit.lines["0"])


def test_processes_show_it_no_credentials(cell: Cell, visit: Visit) -> None:
    assert cell.found(visit.lines["1"]) <= {"build_secret"}, visit.lines["1"]
    assert any(one.how == "PROCESS" for one in visit.lines["1"])


def test_it_sees_no_process_but_those_of_the_build(cell: Cell, visit: Visit) -> None:
    seen = [one.word for one in visit.lines["1"] if one.how == "PROCESS"]
    assert not [argv for argv in seen if "ansible_collections" in argv or "pytest" in argv], seen


def test_what_hides_credentials_cannot_be_undone(cell: Cell, visit: Visit) -> None:
    tried = [one for one in visit.lines["2"] if one.how.startswith("TRIED")]
    assert [one for one in visit.lines["2"] if one.how == "MOUNT"], "there was nothing to undo"
    assert not [one for one in tried if "umount" in one.how and one.word.startswith("0 ")], tried
    assert not [one for one in tried if one.how == "TRIED bind" and one.word.startswith("0 ")], tried
    assert cell.found(visit.lines["2"]) <= {"notes", "cache_auth", "build_secret"}, visit.lines["2"]


def test_its_environment_holds_no_credentials(cell: Cell, visit: Visit) -> None:
    words = [one.word for one in visit.lines["3"]]
    assert any(word.startswith("hostile=") for word in words)
    assert not [word for word in words if cell.canaries.named_in(word)], words
    assert not [word for word in words if re.match("REGISTRY|DOCKER|SSH_AUTH|GNUPG|ANSIBLE", word)], words


def test_credentials_that_appear_while_it_runs_stay_out_of_sight(cell: Cell) -> None:
    """Another play of the same user logs in, starts tasks, and asks a registry, while the RUN step executes."""
    home, later = cell.builder.home, f"/tmp/ansible-tmp-{os.getpid()}-later"
    options = {
        "name": "127.0.0.1:{port}/team/other:1",
        "containerfile_content": "FROM scratch\nLABEL a=b\n",
        "push": True,
        "retries": 0,
        "registry_username": "builder",
        "registry_password": cell.canaries["other_run"],
    }

    with Deaf() as deaf:

        def during() -> None:
            # As logins and Ansible's copy do it: a new file takes the place of the old one.
            fresh = cell.builder.write(".config/containers/auth.json.new", cell.auth("later"), 0o600)
            os.replace(fresh, home / ".config/containers/auth.json")
            cell.directory(later, "later", cell.builder.uid)
            cell.directory(later.replace("/tmp", "/var/tmp", 1), "later", cell.builder.uid)
            cell.builder.write(".ansible/tmp/ansible-tmp-later/AnsiballZ_x.py", cell.canaries["later"], 0o600)
            params = {**options, "name": options["name"].format(port=deaf.port)}  # type: ignore[attr-defined]
            deaf.others.append(cell.builder.start(params))
            assert deaf.called.wait(20), "the other run never asked its registry"

        visit = cell.visit(f"{WAIT}; $hostile search {cell.places_to_search()}", during=during)
        assert not visit.result["failed"], visit.result
        secret = cell.builder.state / "jobs"
        assert cell.canaries.find_below([secret]), "the other run did not hold its credentials at that moment"
    assert "notes" in cell.found(visit.lines["0"])
    assert cell.found(visit.lines["0"]) <= ORDINARY, visit.lines["0"]


class Deaf:
    """A listener that takes connections and never answers; who asks it waits, credentials in hand."""

    def __enter__(self) -> Deaf:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.called = threading.Event()
        self.others: list[subprocess.Popen[str]] = []
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()
        return self

    def _take(self) -> None:
        while True:
            try:
                self._kept.append(self.socket.accept()[0])
            except OSError:
                return
            self.called.set()

    def __exit__(self, *_error: object) -> None:
        self.socket.close()
        for one in self._kept:
            one.close()
        for other in self.others:
            other.wait(60)
            assert other.stdout
            other.stdout.close()


def test_what_it_leaves_running_is_gone_before_the_push(cell: Cell) -> None:
    log = cell.shared / "lurker"
    visit = cell.visit(
        f"setsid $hostile lurk 60 {log} {cell.builder.home} /tmp /var/tmp </dev/null >/dev/null 2>&1 & "
        "while [ ! -s /shared/lurker ]; do sleep 0.05; done; sleep 0.5"
    )
    assert not visit.result["failed"] and visit.result["pushed"], visit.result
    lines = [Finding(*line.split("\t")) for line in log.read_text().splitlines()]
    assert "notes" in cell.found(lines), "the lurker did not work"
    assert cell.found(lines) <= ORDINARY, lines
    assert cell.builder.run(["pgrep", "-u", str(cell.builder.uid), "perl"], check=False).stdout == ""


def test_it_cannot_release_the_lock_of_its_image(cell: Cell) -> None:
    free: list[str] = []
    locks = cell.builder.state / "locks"

    def during() -> None:
        for path in locks.iterdir():
            with open(path, "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    free.append(path.name)
                except BlockingIOError:
                    held.append(path.name)

    held: list[str] = []
    visit = cell.visit(f"$hostile unlock; {WAIT}", during=during)
    assert not visit.result["failed"], visit.result
    assert len(held) == 1, (held, free, visit.lines["0"])
    assert not [one for one in visit.lines["0"] if "rootless.buildah" in one.word], visit.lines["0"]


def test_killing_everything_ends_its_own_build_only(cell: Cell) -> None:
    bystander = subprocess.Popen(cell.builder.argv(["sleep", "60"]))
    try:
        visit = cell.visit("$hostile killall; sleep 1")
        assert visit.result["failed"], visit.result
        assert "signal" in visit.result["msg"] or "exit status" in visit.result["msg"], visit.result
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_native_script_and_its_steps_see_no_credentials(cell: Cell) -> None:
    options = cell.options()
    del options["volumes"]
    result = cell.builder.build(
        **options,
        base_images={"BASE": "localhost/hostile-base:1"},
        pull="never",
        script=f"""
container=$(buildah from -v {cell.shared}:/shared "$BASE")
buildah copy "$container" hostile.pl needles /
buildah run "$container" -- perl /hostile.pl /needles search {cell.places_to_search()}
cat {cell.builder.home}/.config/containers/auth.json {cell.builder.home}/.docker/config.json || true
buildah commit "$container" "$IMAGE"
""",
    )
    text = Path(result["log_path"]).read_text()
    assert "ESCAPED" in text
    assert cell.canaries.named_in(text) <= ORDINARY and "notes" in cell.canaries.named_in(text), text


# Networks.


@pytest.fixture
def listener() -> Iterator[tuple[list[tuple[str, int]], list[str]]]:
    """A listener on all of this host's addresses; yields the addresses and what was received."""
    received: list[str] = []
    server = socket.create_server(("0.0.0.0", 0))
    server.settimeout(0.1)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            try:
                connection, _peer = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(5)
                received.append(connection.recv(100).decode())
                connection.sendall(b"REACHED\n")

    thread = threading.Thread(target=serve)
    thread.start()
    addresses = ["127.0.0.1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: connecting a datagram socket only asks for the way out. TEST-NET-1, RFC 5737.
            probe.connect(("192.0.2.1", 9))
            addresses.append(probe.getsockname()[0])
        except OSError:
            pass
    yield [(address, server.getsockname()[1]) for address in addresses], received
    done.set()
    thread.join()
    server.close()


def calls(addresses: list[tuple[str, int]], program: str = "nc") -> str:
    """Return shell commands that try to get out to each address."""
    tries = (f"echo hello-{host} | {program} -w 3 {host} {port}" for host, port in addresses)
    return "; ".join(f"{one} || true" for one in tries)


def test_without_network_none_a_step_reaches_the_host(
    cell: Cell, listener: tuple[list[tuple[str, int]], list[str]]
) -> None:
    addresses, received = listener
    visit = cell.visit(calls(addresses))
    assert not visit.result["failed"], visit.result
    assert [text.strip() for text in received] == [f"hello-{host}" for host, _port in addresses]


@pytest.mark.parametrize("kind", ["containerfile", "script"])
def test_network_none_cuts_a_step_off(cell: Cell, kind: str, listener: tuple[list[tuple[str, int]], list[str]]) -> None:
    addresses, received = listener
    tries = (
        f"{calls(addresses)}; echo hello | nc -w 3 192.0.2.1 9; cat /proc/net/route /proc/net/dev; "
        f"$hostile join; {calls(addresses)}"
    )
    options = cell.options(tries, network="none")
    if kind == "script":
        hostile = "perl /hostile.pl /needles"
        del options["volumes"]
        options |= {
            "base_images": {"BASE": "localhost/hostile-base:1"},
            "pull": "never",
            "script": 'container=$(buildah from "$BASE")\nbuildah copy "$container" hostile.pl needles /\n'
            f"buildah run \"$container\" -- sh -c '{tries.replace('$hostile', hostile)}'\n"
            f"{calls(addresses, '/bin/busybox nc')}\n" + 'buildah commit "$container" "$IMAGE"\n',
        }
    result = cell.builder.build(**options)
    text = Path(result["log_path"]).read_text()
    assert received == [] and "REACHED" not in text
    interfaces = set(re.findall(r"^\s*(\w+):\s+\d", text, re.MULTILINE))
    assert interfaces == {"lo"}, text
    entered = [line for line in text.splitlines() if line.startswith("TRIED join")]
    assert entered

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed at any moment, the next run finishes the job and nothing is left behind.

The moments are random. The seed is printed; ROOTLESS_BUILDAH_SEED repeats a run's choices, ROOTLESS_BUILDAH_KILLS sets
how many there are.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import re
import signal
import subprocess
import tarfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Optional

import pytest

from ansible_collections.rootless.buildah.tests.integration.canary import Canaries
from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry
from ansible_collections.rootless.buildah.tests.tools.waiting import until

SEED = int(os.environ.get("ROOTLESS_BUILDAH_SEED") or random.SystemRandom().randrange(1 << 32))
KILLS = int(os.environ.get("ROOTLESS_BUILDAH_KILLS") or 20)
# The steps, with how long after its beginning each is broken off at most. Seconds on an idle machine.
PHASES = {"fetch": 0.1, "build": 0.8, "push": 0.07}


def processes() -> dict[int, tuple[int, str]]:
    """Return parent and command line of every process that still runs."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
                line = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if state not in "ZX":
                found[int(entry)] = (int(parent), line)
    return found


def descendants(root: int) -> dict[int, str]:
    """Return the command lines of a process's descendants."""
    known = processes()
    found: dict[int, str] = {}
    more = {root}
    while more:
        more = {pid for pid, (parent, _line) in known.items() if parent in more}
        found |= {pid: known[pid][1] for pid in more}
    return found


def phase(lines: list[str]) -> str:
    """Return which step of a build the programs that run belong to."""
    text = "\n".join(lines)
    if re.search(r"/confined |buildah(-\S+)? build ", text):
        return "build"
    if re.search(r"buildah(-\S+)? push .*docker://|skopeo copy ", text):
        return "push"
    if re.search(r"buildah(-\S+)? push | --name rootless-buildah-export", text):
        return "export"
    if "skopeo inspect" in text:
        return "look up"
    if re.search(r"buildah(-\S+)? pull ", text):
        return "fetch"
    return "between"


@dataclass
class Kill:
    """What was killed when."""

    number: int
    victim: str
    phase: str = "not at all"
    line: str = ""


@dataclass
class Ground:
    """One image that is built again and again, each time from nothing."""

    builder: Builder
    registry: Registry
    base: str
    canaries: Canaries
    temporary: set[Path] = field(default_factory=set)

    def options(self, number: int) -> dict[str, Any]:
        """Return a build's parameters: most are Containerfiles, some scripts, and some also export."""
        context = self.builder.context("kill", {"data": f"content {number}\n"})
        options: dict[str, Any] = {
            "name": f"{self.registry.address}/kill/image:1",
            "path": str(context),
            "push": True,
            **self.registry.login,
        }
        if number % 5 == 4:
            script = (
                'container=$(buildah from "$BASE")\nbuildah copy "$container" data /copy\n'
                'buildah run "$container" -- sh -c "sleep 0.2; head -c 1000000 /dev/urandom > /random"\n'
                'echo $BASE > "$ARTIFACTS/base"\nbuildah commit --rm "$container" "$IMAGE"\n'
            )
            return {**options, "script": script, "base_images": {"BASE": self.base}, "artifacts": str(self.out)}
        if number % 5 == 0:
            options["outputs"] = [
                {"type": "oci-archive", "dest": str(self.out / "image.tar")},
                {"type": "local", "dest": str(self.out / "tree")},
            ]
        return {
            **options,
            "containerfile_content": f"FROM {self.base}\nCOPY data /data\n"
            "RUN --mount=type=secret,id=token cat /run/secrets/token > /dev/null; sleep 0.2; cp /data /copy\n"
            "RUN head -c 1000000 /dev/urandom > /random\n",
            "secrets": [{"id": "token", "value": self.canaries["token"]}],
        }

    @property
    def storage(self) -> Path:
        """The user's image store."""
        return self.builder.home / ".local/share/containers/storage"

    @property
    def out(self) -> Path:
        """The directory for exports."""
        return self.builder.home / "out"

    def forget_images(self) -> None:
        """Empty the local store, so that the base has to be fetched again."""
        self.builder.run(["buildah", "rmi", "--all", "--force"])

    def image_content(self) -> str:
        """Return the file that the image at the registry holds."""
        for layer in reversed(self.registry.manifest("kill/image", "1")["layers"]):
            status, data, _headers = self.registry.request(f"kill/image/blobs/{layer['digest']}")
            assert status == 200
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
                if "copy" in archive.getnames():
                    file = archive.extractfile("copy")
                    assert file
                    return file.read().decode()
        raise AssertionError("the image at the registry lacks its file")

    def leftovers(self) -> list[str]:
        """Return everything that a finished run may not leave."""
        home, state = self.builder.home, self.builder.state
        found = [f"process {line}" for line in self.processes()]
        found += [f"job {path}" for path in (state / "jobs").iterdir()]
        found += [f"file {path}" for path in state.rglob(".new-*")]
        found += [f"output {path}" for path in self.out.iterdir() if path.name not in ("image.tar", "tree", "base")]
        # Newer releases have volatile ones, in a table of their own.
        for table in self.storage.glob("overlay-containers/*containers.json"):
            found += [f"container {one['id']}" for one in json.loads(table.read_text() or "[]")]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [f"mount {line}" for line in mounts if str(home) in line]
        found += [f"temporary {path}" for path in self.temporary_files() - self.temporary]
        for path in state.glob("records/*/*"):
            statement = json.loads(path.read_bytes())
            if statement["subject"][0]["digest"]["sha256"] != path.parent.name:
                found.append(f"record {path}")
        return found

    def processes(self) -> list[str]:
        """Return the command lines of all processes of the builder user and of his subordinate ids."""
        found = []
        for pid, (_parent, line) in processes().items():
            try:
                owner = os.stat(f"/proc/{pid}").st_uid
            except OSError:
                continue
            if owner == self.builder.uid or self.first_id <= owner < self.first_id + 65536:
                found.append(line)
        return found

    @property
    def first_id(self) -> int:
        """The first subordinate id."""
        text = Path("/etc/subuid").read_text()
        match = re.search(rf"^{self.builder.name}:(\d+):", text, re.MULTILINE)
        assert match
        return int(match.group(1))

    def temporary_files(self) -> set[Path]:
        """Return what the builder user has in directories for temporary files."""
        owners = {self.builder.uid, *range(self.first_id, self.first_id + 65536)}
        runtime = {f"containers-user-{self.builder.uid}", f"podman-run-{self.builder.uid}"}
        found = set()
        for directory in ("/tmp", "/var/tmp", "/dev/shm"):
            for path in Path(directory).iterdir():
                with contextlib.suppress(FileNotFoundError):  # others have files there that come and go
                    if path.name not in runtime and path.lstat().st_uid in owners:
                        found.add(path)
        return found


@pytest.fixture
def ground(library: Path, registry: Registry, place: Path) -> Iterator[Ground]:
    user = Builder(f"rbtk-{os.getpid()}", library)
    base = f"{registry.address}/kill/base:1"
    with open("/bin/busybox", "rb") as file:
        user.context(
            "base",
            {
                "busybox": file.read(),
                "ballast": os.urandom(4_000_000),
                "Containerfile": "FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nCOPY ballast /\n"
                'RUN ["/bin/busybox", "--install", "/bin"]\nENV PATH=/bin\n',
            },
        )
    user.build(name=base, path=str(user.home / "base"), push=True, **registry.login)
    yield Ground(user, registry, base, Canaries("token"))
    user.remove()


def strike(ground: Ground, number: int, choice: random.Random, length: float) -> Kill:
    """Start a run and kill a part of it at a random moment."""
    kill = Kill(number, choice.choice(("module", "module", "one program", "all programs", "everything")))
    # One of four moments is anywhere in a run; the others are in each of the steps, for short steps are rarely met.
    wanted: Optional[str] = [None, *PHASES][number % 4]
    delay = choice.uniform(0.05, length) if wanted is None else choice.uniform(0, PHASES[wanted])
    run = ground.builder.start(ground.options(number))
    begun = time.monotonic()
    while wanted and run.poll() is None and time.monotonic() - begun < 30:
        if phase(list(descendants(run.pid).values())) == wanted:
            break
        time.sleep(0.01)
    time.sleep(delay)
    programs = descendants(run.pid)
    # What env and setpriv become is the module; the rest are programs that it calls.
    if run.poll() is None:
        kill.phase = phase(list(programs.values()))
        victims = list(programs)
        if kill.victim == "module":
            victims = [run.pid]
        elif kill.victim == "one program" and programs:
            victims = [choice.choice(victims)]
            kill.line = programs[victims[0]]
        elif kill.victim == "everything":
            victims = [run.pid, *victims]
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    run.wait(60)
    assert run.stdout
    run.stdout.close()
    return kill


@pytest.mark.parametrize("times", [KILLS, pytest.param(5 * KILLS, marks=pytest.mark.long)], ids=["some", "many"])
def test_killed_at_random_moments(ground: Ground, capsys: pytest.CaptureFixture[str], times: int) -> None:
    choice = random.Random(SEED)
    with capsys.disabled():
        print(f"\nROOTLESS_BUILDAH_SEED={SEED} ROOTLESS_BUILDAH_KILLS={KILLS}", flush=True)
    ground.out.mkdir()
    os.chown(ground.out, ground.builder.uid, ground.builder.gid)
    ground.forget_images()
    begun = time.monotonic()
    ground.builder.build(**ground.options(-1))
    length = time.monotonic() - begun
    ground.temporary = ground.temporary_files()
    assert ground.leftovers() == []
    kills = []
    for number in range(times):
        ground.forget_images()
        kill = strike(ground, number, choice, length)
        kills.append(kill)
        result = ground.builder.module("buildah_build", **ground.options(number))
        # pytest would shorten the rest of it to nothing.
        assert not result["failed"], (SEED, kill, result.get("cause"), result.get("stderr"))
        assert ground.leftovers() == [], (SEED, kill)
        assert ground.image_content() == f"content {number}\n", (SEED, kill)
        if number % 5 == 0:
            assert (ground.out / "tree/copy").read_text() == f"content {number}\n", (SEED, kill)
        again = ground.builder.module("buildah_build", **ground.options(number))
        assert not again["failed"] and not again["changed"], (SEED, kill, again)
    phases = Counter(kill.phase for kill in kills)
    victims = Counter(kill.victim for kill in kills)
    with capsys.disabled():
        print(f"killed during: {dict(phases)}; what: {dict(victims)}; a whole run: {length:.1f} s", flush=True)
    assert all(phases[name] > 0 for name in PHASES), phases
    assert ground.canaries.find_below([ground.builder.home / ".local", "/dev/shm"]) == []
    assert ground.builder.run(["buildah", "images", "--all", "--quiet"]).returncode == 0
    orphans(ground)


def test_a_base_whose_fetch_was_broken_off_is_fetched_again(ground: Ground) -> None:
    ground.forget_images()
    ground.out.mkdir()
    os.chown(ground.out, ground.builder.uid, ground.builder.gid)
    ground.builder.build(**ground.options(1))
    base = ground.registry.manifest("kill/base", "1")["config"]["digest"].partition(":")[2]
    # What a pull leaves that is killed at the end: the image is in the table, its manifest is not in its place.
    (ground.storage / f"overlay-images/{base}/manifest").unlink()
    result = ground.builder.build(**ground.options(2))
    assert result["built"]
    assert ground.image_content() == "content 2\n"


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "beside another program"])
@pytest.mark.parametrize("image", ["base", "scratch"])
def test_a_container_whose_making_was_broken_off_goes_when_nobody_makes_it(
    ground: Ground, image: str, busy: bool
) -> None:
    ground.out.mkdir()
    os.chown(ground.out, ground.builder.uid, ground.builder.gid)
    before = ground.builder.sh("buildah from scratch; buildah containers --notruncate --quiet").split()[-1]
    forget(ground, before)
    other = subprocess.Popen(ground.builder.argv(["buildah", "unshare", "sleep", "60"]), start_new_session=True)
    try:
        if not busy:
            os.killpg(other.pid, signal.SIGKILL)
            other.wait()
        text = f"FROM {ground.base}\nRUN sleep 3; false\n"
        run = ground.builder.start({**ground.options(2), "containerfile_content": text})
        until(lambda: phase(list(descendants(run.pid).values())) == "build", 30, otherwise="it does not build")
        name = ground.builder.sh(f"buildah from {image.replace('base', ground.base)}").strip()
        made = json.loads(ground.builder.sh(f"buildah inspect {name}"))["ContainerID"]
        forget(ground, made)
        assert run.stdout and '"failed": true' in run.stdout.read()
        run.wait(60)
        left = {line for line in ground.leftovers() if line.startswith("container ")}
        # What was there before was not made by this run; and another program might be just about to write it.
        assert left == {f"container {before}", *([f"container {made}"] if busy else [])}
    finally:
        if busy:
            os.killpg(other.pid, signal.SIGKILL)
            other.wait()


def forget(ground: Ground, container: str) -> None:
    """Leave of a container what buildah leaves when it is killed between two writes, and does not know then."""
    (ground.storage / f"overlay-containers/{container}/userdata/buildah.json").unlink()


def orphans(ground: Ground) -> None:
    """No layer lies in the store that the store does not know of."""
    known = {layer["id"] for layer in json.loads((ground.storage / "overlay-layers/layers.json").read_text())}
    there = {path.name for path in (ground.storage / "overlay").iterdir() if re.fullmatch("[0-9a-f]{64}", path.name)}
    assert there <= known, there - known

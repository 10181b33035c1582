# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret leaks: canaries go through builds and pushes that succeed and that fail, then everything is searched.

Ansible runs with -vvv, with pipelining and without. A planted leak in every place proves first that it would be found.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.rootless.buildah.tests.integration.canary import Canaries
from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry
from ansible_collections.rootless.buildah.tests.integration.playbook import Playbooks, Played

# What modules start, and RUN steps. A secret in the environment passes other programs on its way to the module: sudo,
# Ansible, its shells and what they call.
STARTED = re.compile(
    r"(.*/(buildah|skopeo|unshare|newuidmap|newgidmap|slirp4netns|netavark|tar))|/memfd:.*|.*/rootfs/.*|/"
)


class Sampler:
    """Looks at all processes again and again: every argument list, and the environments of what modules start."""

    def __init__(self, canaries: Canaries) -> None:
        self.canaries = canaries
        self.found: set[str] = set()
        self.rounds = 0
        self.programs: set[str] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        own = f"/proc/{os.getpid()}"
        seen: dict[tuple[str, str], bytes] = {}
        while not self._done.wait(0.02):
            self.rounds += 1
            for entry in os.scandir("/proc"):
                if entry.name.isdigit() and entry.path != own:
                    try:
                        self._look(entry.path, seen)
                    except OSError:
                        continue

    def _look(self, process: str, seen: dict[tuple[str, str], bytes]) -> None:
        try:
            program = os.readlink(f"{process}/exe")
        except OSError:
            program = ""
        for kind in ("cmdline", "environ"):
            if kind == "environ" and not STARTED.fullmatch(program):
                continue
            with open(f"{process}/{kind}", "rb") as file:
                data = file.read()
            if seen.get((process, kind)) == data:
                continue
            seen[process, kind] = data
            self.programs.add(os.path.basename(program))
            self.found |= {f"{kind} of {program}: {name} ({how})" for name, how in self.canaries.find(data)}


class Scene:
    """A builder user, three registries with three ways to log in, and a place for playbooks."""

    def __init__(self, builder: Builder, place: Path) -> None:
        self.canaries = Canaries(
            "file", "env", "value", "password", "auth_file", "persistent", "wrong", "planted", "temporary"
        )
        self.builder = builder
        self.place = place
        self.there = {path for directory in ("/tmp", "/var/tmp") for path in Path(directory).iterdir()}
        self.books = Playbooks(builder, place / "inputs", place / "ansible")
        self.registries = {
            name: type("Guarded", (Registry,), {"username": "builder", "password": self.canaries[name]})(place / name)
            for name in ("password", "auth_file", "persistent")
        }
        with open("/bin/busybox", "rb") as file:
            builder.context("base", {
                "busybox": file.read(),
                "Containerfile": 'FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\n'
                'RUN ["/bin/busybox", "--install", "/bin"]\nENV PATH=/bin\n',
            })  # fmt: skip
        builder.build(name="localhost/base:1", path=str(builder.home / "base"))
        # What the user gave us on purpose.
        self.given = [
            builder.write("given/secret", self.canaries["file"] + "\n", 0o600),
            builder.write("given/auth.json", self.auth("auth_file"), 0o600),
            builder.write(".config/containers/auth.json", self.auth("persistent"), 0o600),
            place / "inputs",
        ]
        self._serial = 0

    def remove(self) -> None:
        for registry in self.registries.values():
            registry.stop()

    def auth(self, name: str) -> str:
        token = base64.b64encode(f"builder:{self.canaries[name]}".encode()).decode()
        return json.dumps({"auths": {self.registries[name].address: {"auth": token}}})

    def task(self, login: str, *runs: str, **more: Any) -> dict[str, Any]:
        """Return the parameters of a build with all secrets that pushes with one way to log in."""
        self._serial += 1
        mounts = " ".join(f"--mount=type=secret,id={name}" for name in ("file", "env", "value"))
        run = "cat /run/secrets/* >/dev/null; sleep 0.2"
        lines = "".join(f"RUN {mounts} {line}\n" for line in (run, *runs))
        context = self.builder.context(f"task-{self._serial}", {"data": f"{self._serial}"})
        options: dict[str, Any] = {
            "name": f"{self.registries[login].address}/leak/{self._serial}:1",
            "path": str(context),
            "containerfile_content": f"FROM localhost/base:1\nARG TOKEN\nCOPY data /\n{lines}",
            "secrets": [
                {"id": "file", "src": str(self.given[0])},
                {"id": "env", "env": "CANARY"},
                {"id": "value", "value": "{{ value }}"},
            ],
            "push": True,
            "isolation": "chroot",
            "retries": 0,
            "registry_validate_certs": False,
        }
        if login == "password":
            options |= {"registry_username": "builder", "registry_password": "{{ password }}"}
        elif login == "auth_file":
            options["registry_auth_file"] = str(self.given[1])
        return {**options, **more}

    def play(self, *tasks: dict[str, Any], pipelining: bool = True) -> Played:
        """Run tasks with all secrets at hand."""
        return self.books.play(tasks, self.canaries.texts, pipelining=pipelining, env={"CANARY": self.canaries["env"]})

    def search(self, played: Played, sampler: Sampler) -> dict[str, list[str]]:
        """Return what is found, by place; empty where nothing is."""
        canaries, home = self.canaries, self.builder.home
        storage = home / ".local/share/containers"
        registries = [registry.root / "data" for registry in self.registries.values()]
        others = [home, self.place / "ansible", Path.home() / ".ansible", Path("/run"), Path("/dev/shm")]
        found = {
            "output": [f"{name} ({how})" for name, how in canaries.find(played.output.encode())],
            "results": [f"{name} ({how})" for name, how in canaries.find(json.dumps(played.results).encode())],
            "processes": sorted(sampler.found),
            "logs": canaries.find_below([self.builder.state / "logs"]),
            "records": canaries.find_below([self.builder.state / "records", self.builder.state / "images"]),
            "jobs": canaries.find_below([self.builder.state / "jobs"]),
            "image store": canaries.find_below([storage]),
            "registries": canaries.find_below(registries),
            "image": [line for image in self.images(played) for line in self._in_image(*image)],
            "temporary files": canaries.find_below(self.temporary(), but=[*self.given, self.place]),
            "elsewhere": canaries.find_below(others, but=[*self.given, storage, self.builder.state]),
        }
        return {place: lines for place, lines in found.items() if lines}

    def temporary(self) -> list[Path]:
        """Return what came into the directories for temporary files, and what the tools keep there."""
        now = {path for directory in ("/tmp", "/var/tmp") for path in Path(directory).iterdir()}
        return sorted(path for path in now if path not in self.there or str(self.builder.uid) in path.name)

    def images(self, played: Played) -> list[tuple[Registry, str, str]]:
        """Return registry, repository and digest of everything that was pushed."""
        return [
            (registry, delivery["destination"].partition("/")[2].rpartition(":")[0], delivery["digest"])
            for result in played.results
            for delivery in result.get("pushed", [])
            for registry in self.registries.values()
            if delivery["destination"].startswith(registry.address)
        ]

    def _in_image(self, registry: Registry, repository: str, digest: str) -> list[str]:
        """Search manifest, configuration with history, unpacked layers and record of an image at a registry."""
        manifest = registry.manifest(repository, digest)
        index = registry.manifest(repository, digest.replace(":", "-"))
        records = [registry.manifest(repository, entry["digest"]) for entry in index["manifests"]]
        assert records, "there is no record to search"
        blobs = [blob for one in (manifest, *records) for blob in (one["config"], *one["layers"])]
        texts = [json.dumps(one).encode() for one in (manifest, index, *records)]
        for blob in blobs:
            status, data, _headers = registry.request(f"{repository}/blobs/{blob['digest']}")
            assert status == 200
            texts.append(data)
        return [f"{digest}: {name} ({how})" for text in texts for name, how in self.canaries.find(text)]


@pytest.fixture
def scene(library: Path, place: Path) -> Iterator[Scene]:
    """A scene of each test's own, so that it finds its own leaks only."""
    builder = Builder(f"rbts-{os.getpid()}", library)
    with tempfile.TemporaryDirectory(dir=place) as name:
        os.chmod(name, 0o755)
        here = Scene(builder, Path(name))
        try:
            yield here
        finally:
            here.remove()
            builder.remove()


def test_planted_leaks_are_found_in_every_place(scene: Scene) -> None:
    """A step that gives secrets away in every way it can, and an arg that should have been a secret."""
    quoted = 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g; s/&/%26/g; s/ /%20/g; s/%"$/%25%22/'
    task = scene.task(
        "password",
        "cp /run/secrets/value /copied && gzip -c /run/secrets/file > /packed.gz",
        "base64 -w0 /run/secrets/value; echo",
        f"sed '{quoted}' /run/secrets/value; echo",
        'sleep 0.5; sleep "0$(printf %.0s "$TOKEN")" "$TOKEN"; true',
        'export LEAK="$TOKEN"; sleep 0.5',
        args={"TOKEN": "{{ planted }}"},
    )
    planted = scene.builder.write("leak", scene.canaries["temporary"])
    beside = Path(f"/var/tmp/{scene.canaries.prefix}")
    beside.write_text(scene.canaries["temporary"])
    try:
        with Sampler(scene.canaries) as sampler:
            played = scene.play(task)
        found = scene.search(played, sampler)
    finally:
        planted.unlink()
        beside.unlink()
    assert not played.results[0]["failed"], played.results
    hows = {place: " ".join(lines) for place, lines in found.items()}
    assert "value (base64)" in hows["logs"] and "value (URL)" in hows["logs"], hows
    assert "planted (plain)" in hows["output"] and "planted (plain)" in hows["results"]
    assert re.search(r"cmdline of \S+: planted", hows["processes"]), hows["processes"]
    assert re.search(r"environ of \S+: planted", hows["processes"]), hows["processes"]
    assert "planted (plain)" in hows["records"]
    assert "value (plain)" in hows["image store"]
    assert "value (plain)" in hows["registries"] and "file (plain)" in hows["registries"]
    assert "value (plain)" in hows["image"] and "file (plain)" in hows["image"] and "planted (plain)" in hows["image"]
    assert "temporary (plain)" in hows["temporary files"] and "temporary (plain)" in hows["elsewhere"]


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "files"])
def test_nothing_leaks(scene: Scene, pipelining: bool) -> None:
    """Builds that succeed, that fail in a step, and whose push fails in three ways; each way to log in."""
    with Sampler(scene.canaries) as sampler:
        down = scene.task("password", registry_password="{{ wrong }}")
        played = scene.play(
            # What a step prints of its secrets is masked.
            scene.task("password", "cat /run/secrets/value; echo; echo x$(cat /run/secrets/file)x"),
            scene.task("auth_file"),
            scene.task("persistent"),
            scene.task("password", "cat /run/secrets/env; exit 7"),
            down,
            scene.task("auth_file", name="127.0.0.1:1/nobody/listens:1"),
            scene.task("password", state="absent", push=False),
            pipelining=pipelining,
        )
    failed = [bool(result["failed"]) for result in played.results]
    assert failed == [False, False, False, True, True, True, False], played.results
    assert "exit status 7" in played.results[3]["msg"] and "login" in played.results[4]["msg"], played.results
    assert "********" in Path(played.results[0]["log_path"]).read_text()
    assert sampler.rounds > 50 and {"buildah", "skopeo"} <= sampler.programs, sampler.programs
    assert scene.search(played, sampler) == {}
    assert list((scene.builder.state / "jobs").iterdir()) == []


def test_other_users_see_nothing_while_it_builds(scene: Scene) -> None:
    flags = scene.builder.context("flags", {"needle": scene.canaries.prefix, "control": scene.canaries["temporary"]})
    task = scene.task(
        "password",
        "touch /flags/ready; while [ ! -e /flags/go ]; do sleep 0.05; done",
        volumes=[f"{flags}:/flags"],
    )
    seen: list[str] = []

    def look() -> None:
        for _attempt in range(600):
            if (flags / "ready").exists():
                break
            time.sleep(0.05)
        try:
            shell = (
                f"cd /; grep -rlsF -f {flags}/needle {scene.builder.home} {scene.place} "
                "/var/tmp/ansible* /tmp/ansible* /dev/shm /run/user; "
                f"for p in /proc/[0-9]*; do tr '\\0' '\\n' 2>/dev/null <$p/cmdline | grep -v {flags} | "
                f"grep -qsF -f {flags}/needle && echo $p; tr '\\0' '\\n' 2>/dev/null <$p/environ "
                f"| grep -qsF -f {flags}/needle && echo $p; done"
            )
            done = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", shell],
                capture_output=True,
                text=True,
                check=False,
            )
            seen.extend(done.stdout.split())
        finally:
            (flags / "go").touch()

    os.chmod(scene.builder.home, 0o755)
    watcher = threading.Thread(target=look)
    watcher.start()
    played = scene.play(task, pipelining=False)
    watcher.join()
    assert not played.results[0]["failed"], played.results
    assert f"{flags}/control" in seen, "the search does not work"
    assert set(seen) == {f"{flags}/control", f"{flags}/needle"}

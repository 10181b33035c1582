# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How tests talk to the cluster of a scenario: with kubectl, and with the modules as its users call them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Sequence

import yaml

from ansible_collections.rootless.buildah.molecule.machines.control_plane import Place, programs
from ansible_collections.rootless.buildah.tests.integration.harness import PYTHON, Builder
from ansible_collections.rootless.buildah.tests.tools.checkout import ENVIRONMENT, ROOT

# A host that builds the builder image: this machine, with a Python that every user may run.
BUILDER_HOST = "builder"
# Of kubectl: the objects that the collection made.
OURS = "--selector=app.kubernetes.io/managed-by=rootless.buildah"
PATIENCE = 240  # seconds that an emulated node may take for what it does by itself
# The tasks of a play that makes a namespace ready.
CLUSTER_BUILDER = [{"ansible.builtin.import_role": {"name": "rootless.buildah.cluster_builder"}}]


def environment() -> dict[str, str]:
    """Return the variables of a controller: it has this checkout's collection, and kubectl for connections.

    What Molecule sets for its own plays is not among them: its callbacks would write into what tests read.
    """
    usual = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    own = {name: ENVIRONMENT[name] for name in ("ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_HOME")}
    return {**usual, **own, "PATH": f"{programs()}{os.pathsep}{os.environ['PATH']}"}


@dataclass(frozen=True)
class Played:
    """What ansible-playbook ended with: its exit status, and what it said."""

    status: int
    text: str

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        return sum(int(number) for number in re.findall(r"(?m)^\S+ +: ok=\d+ +changed=(\d+)", self.text))


@dataclass(frozen=True)
class Cluster:
    """A cluster with a registry beside it.

    :param place: where its files are.
    :param namespace: the one that images are built in.
    """

    place: Place
    namespace: str = "builds"

    @property
    def registry(self) -> str:
        """The registry's address, for this machine, nodes and pods."""
        return (self.place.registry / "address").read_text(encoding="ascii").strip()

    def login(self, user: str = "push") -> str:
        """Return the path of a file with a login to the registry."""
        return str(self.place.registry / f"{user}.json")

    def kubectl(self, *arguments: str, manifest: Any = None, check: bool = True) -> str:
        """Call kubectl as administrator in the namespace; return what it prints, errors included."""
        argv = [str(programs() / "kubectl"), f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(
            argv, env={**os.environ, "KUBECONFIG": str(self.place.kubeconfig)}, input=json.dumps(manifest or {}),
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def get(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """Return objects of the namespace."""
        return list(json.loads(self.kubectl("get", kind, "--output=json", *arguments))["items"])

    def account(self, name: str, place: Path) -> str:
        """Return the path of a kubeconfig file of a service account; it is written to a directory."""
        config = yaml.safe_load(self.place.kubeconfig.read_text(encoding="utf-8"))
        for user in config["users"]:
            user["user"] = {"token": self.kubectl("create", "token", name).strip()}
        path = place / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return str(path)

    def names(self, kind: str) -> set[str]:
        """Return the names of the objects of a kind that the collection made."""
        return {one["metadata"]["name"] for one in self.get(kind, OURS)}

    def start(self, module: str, params: Mapping[str, Any], check: bool = False) -> subprocess.Popen[str]:
        """Start a module as Ansible would on this machine."""
        process = subprocess.Popen(
            [sys.executable, "-m", f"ansible_collections.rootless.buildah.plugins.modules.{module}"],
            env={**os.environ, "PYTHONPATH": str(ROOT / ".ansible/collections")}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdin
        process.stdin.write(Builder.arguments(params, check))
        process.stdin.close()
        process.stdin = None
        return process

    @staticmethod
    def result(process: subprocess.Popen[str]) -> dict[str, Any]:
        """Return what a module answers."""
        out, error = process.communicate()
        assert out.strip().startswith("{"), (out, error)
        result = dict(json.loads(out))
        result.pop("invocation", None)
        return {"failed": False, **result}

    def build(self, path: Optional[Path], image: str, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run buildah_job."""
        return self.result(self.start("buildah_job", self.options(path, image, **options), check))

    def options(self, path: Optional[Path], image: str, **options: Any) -> dict[str, Any]:
        """Return what a task of buildah_job says for this cluster.

        :param image: without the registry.
        """
        return {
            "name": f"{self.registry}/{image}", "push": True, **({"path": str(path)} if path else {}),
            "kubeconfig": str(self.place.kubeconfig), "namespace": self.namespace,
            "registry_auth_file": self.login(), "registry_ca_dir": str(self.place.registry), **options,
        }  # fmt: skip

    def credentials(self, user: str) -> dict[str, str]:
        """Return a login to the registry as plays say it."""
        (entry,) = json.loads(Path(self.login(user)).read_text(encoding="ascii"))["auths"].values()
        name, _colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
        return {"registry": self.registry, "username": name, "password": password}

    def play(
        self, tasks: Sequence[Mapping[str, Any]], variables: Mapping[str, Any], *arguments: str, check: bool = True,
        inventory: Optional[Mapping[str, Any]] = None,
    ) -> Played:  # fmt: skip
        """Run tasks on all hosts.

        :param arguments: more of ansible-playbook's.
        :param check: whether it must not fail.
        :param inventory: the hosts; without it there is this machine. To ``BUILDER_HOST`` tasks may be delegated.
        """
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        book = [{"hosts": f"all:!{BUILDER_HOST}", "gather_facts": False, "vars": dict(variables), "tasks": list(tasks),
                 "environment": {"BUILDAH_ISOLATION": "chroot"}}]  # fmt: skip
        with tempfile.TemporaryDirectory() as place:
            hosts = {**(inventory or {"here": {"hosts": {"localhost": here}}}), "elsewhere": {"hosts": {
                BUILDER_HOST: {**here, "ansible_python_interpreter": PYTHON}}}}  # fmt: skip
            for name, content in (("hosts.yml", hosts), ("book.yml", book)):
                Path(place, name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.yml", "book.yml", *arguments], cwd=place,
                env={**environment(), "ANSIBLE_NOCOLOR": "1"},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # fmt: skip
        played = Played(done.returncode, done.stdout)
        assert not check or played.status == 0, played.text
        return played

    # What is at the registry.

    def manifest(self, image: str) -> bytes:
        """Return an image's manifest; nothing when there is none.

        :param image: without the registry, with a tag or a digest.
        """
        return _skopeo("inspect", "--raw", *self._reach(), f"docker://{self.registry}/{image}")

    def digest(self, image: str) -> Optional[str]:
        """Return the digest of an image; None when there is none."""
        found = self.manifest(image)
        return "sha256:" + hashlib.sha256(found).hexdigest() if found else None

    def blobs(self, image: str, digest: str) -> Iterator[bytes]:
        """Return the layers of an image, unpacked."""
        with tempfile.TemporaryDirectory() as place:
            source = f"docker://{self.registry}/{image}@{digest}"
            _skopeo("copy", "--quiet", *self._reach("src-"), source, f"dir:{place}")
            for layer in json.loads(Path(place, "manifest.json").read_bytes())["layers"]:
                yield gzip.decompress(Path(place, layer["digest"].partition(":")[2]).read_bytes())

    def copy_here(self, source: str, image: str) -> str:
        """Bring an image to the registry and return its name there.

        :param source: of a kind of containers-transports(5).
        """
        _skopeo("copy", "--quiet", *self._reach("dest-"), source, f"docker://{self.registry}/{image}")
        return f"{self.registry}/{image}"

    def _reach(self, side: str = "") -> list[str]:
        return [f"--{side}cert-dir={self.place.registry}", f"--{side}authfile={self.login()}"]


def _skopeo(*arguments: str) -> bytes:
    return subprocess.run(["skopeo", *arguments], capture_output=True, check=False).stdout

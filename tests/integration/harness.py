# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real parts that integration tests use: a builder user, a registry, and modules run as that user."""

from __future__ import annotations

import base64
import json
import os
import pwd
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.molecule.machines.vm import die_with_parent
from ansible_collections.rootless.buildah.tests.tools.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
# What the builder user runs modules with: a Python that every user may execute.
PYTHON = "/usr/bin/python3"


def base_script() -> str:
    """Return the script of the examples that makes a Debian base, as playbooks read files, for an archive that may be a
    snapshot."""
    text = (CHECKOUT / "examples/scripts/debian-base.sh").read_text().rstrip()
    changed = text.replace("mmdebstrap --quiet", "mmdebstrap --quiet --aptopt='Acquire::Check-Valid-Until \"false\"'")
    assert changed != text
    return changed


def make_library(library: Path) -> Path:
    """Copy Ansible's module library and the collection's plugins to where the builder user may read them."""
    import ansible

    shutil.copytree(
        Path(ansible.__file__).parent, library / "ansible", ignore=shutil.ignore_patterns("__pycache__", "galaxy")
    )
    shutil.copytree(
        CHECKOUT / "plugins",
        library / "ansible_collections/rootless/buildah/plugins",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    subprocess.run(["chmod", "-R", "a+rX", str(library)], check=True)
    return library


class Builder:
    """An unprivileged user who builds with the real buildah."""

    def __init__(self, name: str, library: Path, isolation: str = "chroot") -> None:
        self.name = name
        self.library = library
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "BUILDAH_ISOLATION": isolation}
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", name], check=True)
        entry = pwd.getpwnam(name)
        self.uid, self.gid, self.home = entry.pw_uid, entry.pw_gid, Path(entry.pw_dir)
        self.environment["HOME"] = str(self.home)
        self.write(".config/containers/storage.conf", '[storage]\ndriver = "overlay"\n')
        self.state = self.home / ".local/share/rootless.buildah"

    def remove(self) -> None:
        """Remove the user with everything he has."""
        self.run(["buildah", "unshare", "rm", "-rf", str(self.home / ".local/share/containers")], check=False)
        subprocess.run(["pkill", "-9", "-u", self.name], check=False)
        for _attempt in range(50):
            if subprocess.run(
                ["userdel", "--remove", self.name], check=False, stderr=subprocess.DEVNULL
            ).returncode in (0, 6):
                break
            time.sleep(0.1)
        shutil.rmtree(f"/var/tmp/containers-user-{self.uid}", ignore_errors=True)

    def argv(self, argv: Sequence[str], environment: Optional[Mapping[str, str]] = None) -> list[str]:
        """Return a call that runs as the builder user with a clean environment."""
        pairs = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "env", "-i", *pairs, *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        env: Optional[Mapping[str, str]] = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as the builder user.

        :param stdin: what it reads; never the tests' own input, which a buildah leaves non-blocking behind.
        """
        done = subprocess.run(
            self.argv(argv, env), cwd=self.home, capture_output=True, text=True, input=stdin, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{argv} ended with {done.returncode}: {done.stderr[-3000:]}{done.stdout[-1000:]}")
        return done

    def sh(self, script: str, check: bool = True) -> str:
        """Run a shell script as the builder user and return what it prints."""
        return self.run(["sh", "-ec", script], check=check).stdout

    def write(self, name: str, content: str | bytes, mode: int = 0o644) -> Path:
        """Write a file below the home directory, owned by the user."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        for part in [path, *path.parents]:
            if part == self.home.parent:
                break
            os.chown(part, self.uid, self.gid)
        return path

    def context(self, name: str, files: Mapping[str, str | bytes]) -> Path:
        """Make a build context below the home directory and return its path."""
        shutil.rmtree(self.home / name, ignore_errors=True)
        for file, content in files.items():
            self.write(f"{name}/{file}", content)
        return self.home / name

    def module_argv(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Return the call and the environment that run a module of the collection."""
        return (
            [PYTHON, "-m", f"ansible_collections.rootless.buildah.plugins.modules.{name}"],
            {"PYTHONPATH": str(self.library)},
        )

    def module(
        self,
        module: str,
        /,
        *,
        check: bool = False,
        diff: bool = True,
        env: Optional[Mapping[str, str]] = None,
        **params: Any,
    ) -> dict[str, Any]:
        """Run a module as Ansible would on the host and return its result; ``failed`` is always there."""
        return self.call(module, params, check=check, diff=diff, env=env)

    def call(
        self,
        module: str,
        params: Mapping[str, Any],
        *,
        check: bool = False,
        diff: bool = True,
        env: Optional[Mapping[str, str]] = None,
    ) -> dict[str, Any]:
        """Run a module with parameters of any name; ``env`` is the task's environment."""
        argv, environment = self.module_argv(module)
        done = self.run(
            argv, check=False, env={**environment, **(env or {})}, stdin=self.arguments(params, check, diff)
        )
        try:
            result: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise AssertionError(f"the module did not answer: {done.stderr[-3000:]}{done.stdout[-1000:]}") from error
        result.pop("invocation", None)
        return {"failed": False, **result}

    def start(self, params: Mapping[str, Any]) -> subprocess.Popen[str]:
        """Start buildah_build and return while it runs; what it prints is its ``stdout``."""
        argv, environment = self.module_argv("buildah_build")
        process = subprocess.Popen(
            self.argv(argv, environment),
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin
        process.stdin.write(self.arguments(params))
        process.stdin.close()
        return process

    def build(self, **options: Any) -> dict[str, Any]:
        """Run buildah_build and expect that it does not fail."""
        result = self.call("buildah_build", options)
        assert not result["failed"], result
        return result

    @staticmethod
    def arguments(params: Mapping[str, Any], check: bool = False, diff: bool = True) -> str:
        """Return a module's arguments as it reads them from its standard input."""
        return json.dumps(
            {
                "ANSIBLE_MODULE_ARGS": {
                    **params,
                    "_ansible_check_mode": check,
                    "_ansible_diff": diff,
                    "_ansible_remote_tmp": "/tmp",
                    "_ansible_keep_remote_files": False,
                }
            }
        )

    def image_file(self, image: str, path: str) -> str:
        """Return the content of a file in a local image."""
        return self.sh(
            f'buildah unshare -- sh -ec \'c=$(buildah from --pull-never {image}); m=$(buildah mount "$c"); '
            f'cat "$m/{path}"; buildah rm "$c" >/dev/null\''
        )


def answers(port: int) -> bool:
    """Say whether somebody listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Registry:
    """A real registry (distribution) on loopback with a password."""

    username, password = "builder", "correct-horse-battery"

    def __init__(self, root: Path, *, password: bool = True, tls: bool = False, cache: bool = False) -> None:
        self.root = root
        self.root.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.scheme = "https" if tls else "http"
        self.ca = root / "ca"
        lines = [
            "version: 0.1",
            f"storage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}",
            f"http: {{addr: {self.address}"
            + (f", tls: {{certificate: {root}/tls.crt, key: {root}/tls.key}}" if tls else "")
            + "}",
        ]
        if password:
            hashed = subprocess.run(
                ["htpasswd", "-Bbn", self.username, self.password], check=True, capture_output=True, text=True
            )
            (root / "htpasswd").write_text(hashed.stdout)
            lines.append(f"auth: {{htpasswd: {{realm: test, path: {root}/htpasswd}}}}")
        if tls:
            self._certificate()
        (root / "config.yml").write_text("\n".join(lines) + "\n")
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.start()

    def _certificate(self) -> None:
        self.ca.mkdir()
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                str(self.root / "tls.key"),
                "-out",
                str(self.root / "tls.crt"),
            ],
            check=True,
            capture_output=True,
        )
        shutil.copy(self.root / "tls.crt", self.ca / "ca.crt")

    def start(self) -> None:
        """Start the registry and wait until it answers."""
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(self.root / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        until(lambda: answers(self.port), 5, otherwise="the registry does not start")

    def stop(self) -> None:
        """Stop the registry."""
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    @property
    def login(self) -> dict[str, Any]:
        """Options that a build module reaches this registry with."""
        return {
            "registry_username": self.username,
            "registry_password": self.password,
            "registry_validate_certs": False,
        }

    @property
    def auth_file(self) -> str:
        """The login as the text of a containers-auth.json(5) file."""
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return json.dumps({"auths": {self.address: {"auth": token}}})

    def request(
        self, path: str, method: str = "GET", data: Optional[bytes] = None, kind: str = ""
    ) -> tuple[int, bytes, dict[str, str]]:
        """Ask the registry itself: status, body and headers."""
        request = urllib.request.Request(f"http://{self.address}/v2/{path}", data=data, method=method)
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        request.add_header(
            "Accept",
            "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
            "application/vnd.docker.distribution.manifest.list.v2+json, "
            "application/vnd.docker.distribution.manifest.v2+json",
        )
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def digest(self, repository: str, tag: str) -> Optional[str]:
        """Return the digest that the registry has under a tag."""
        status, _body, headers = self.request(f"{repository}/manifests/{tag}")
        return headers["Docker-Content-Digest"] if status == 200 else None

    def manifest(self, repository: str, reference: str) -> dict[str, Any]:
        """Return a manifest."""
        status, body, _headers = self.request(f"{repository}/manifests/{reference}")
        assert status == 200, (status, body)
        return dict(json.loads(body))

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository."""
        status, body, _headers = self.request(f"{repository}/tags/list")
        return sorted(json.loads(body).get("tags") or []) if status == 200 else []

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest."""
        assert self.request(f"{repository}/manifests/{digest}", "DELETE")[0] == 202

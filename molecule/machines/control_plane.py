#!/usr/bin/env python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane of a real Kubernetes cluster, and a registry beside it, as processes of this machine.

They live as the machines of ``vm.py`` do: a keeper ends them all when one of them ends, when it is told to, or when its
owner is gone, and removes what they wrote. Without any node the API server serves tests that only talk to it. All of it
has one address, for this machine and for the guests: the one at which QEMU lets its guests reach this machine.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import secrets
import select
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, NoReturn, Optional, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ansible" / "collections"))
from ansible_collections.rootless.buildah.molecule.machines import vm
from ansible_collections.rootless.buildah.molecule.machines.vm import Problem

ADDRESS = "10.0.2.2"  # QEMU's user-mode network leads it to this machine's loopback address
PODS, SERVICES, FIRST_SERVICE = "10.77.0.0/16", "10.78.0.0/16", "10.78.0.1"
NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
REGISTRY_USERS = ("pull", "push")
OTHERS = {"system:kube-controller-manager": "kube-controller-manager", "system:kube-scheduler": "kube-scheduler"}


@dataclass(frozen=True)
class Place:
    """Where one control plane keeps its files; there may be several on a machine.

    :param root: an absolute path.
    """

    root: Path

    @property
    def state(self) -> Path:
        """What its programs read and write."""
        return self.root / "control-plane"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.root / "kubeconfig"

    @property
    def registry(self) -> Path:
        """What users of the registry need: ``address``, ``ca.crt`` and a file of logins for each of them."""
        return self.root / "registry"

    def log(self, name: str) -> Path:
        """What a program says; it stays."""
        return self.root / "consoles" / f"{name}.log"

    def read(self, name: str) -> str:
        """Return the content of a file of the state."""
        return (self.state / name).read_text(encoding="ascii")


@dataclass(frozen=True)
class ControlPlane:
    """One control plane.

    :param programs: where its programs are.
    :param port: of the API server.
    :param etcd_port: of etcd; ``peer_port`` too.
    :param registry_port: 0 for no registry.
    """

    place: Place
    programs: Path
    port: int
    etcd_port: int
    peer_port: int
    registry_port: int = 0

    @property
    def server(self) -> str:
        """Where its API is, as this machine and the guests say it."""
        return f"https://{ADDRESS}:{self.port}"


def etcd(plane: ControlPlane) -> list[str]:
    """Return the call of etcd. Its data are gone with it: nothing needs to reach a disk."""
    clients, peers = f"https://127.0.0.1:{plane.etcd_port}", f"https://127.0.0.1:{plane.peer_port}"
    tls = {"cert-file": "etcd.crt", "key-file": "etcd.key", "trusted-ca-file": "ca.crt"}
    return [
        str(plane.programs / "etcd"), "--unsafe-no-fsync", "--data-dir", "etcd", "--log-level", "error",
        "--listen-client-urls", clients, "--advertise-client-urls", clients, "--listen-peer-urls", peers,
        "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}",
        "--client-cert-auth", "--peer-client-cert-auth",
        *(f"--{peer}{option}={file}" for peer in ("", "peer-") for option, file in tls.items()),
    ]  # fmt: skip


def api_server(plane: ControlPlane) -> list[str]:
    """Return the call of the API server."""
    return [
        str(plane.programs / "kube-apiserver"),
        # Guests come in at the loopback address, and this machine at the one that it does not really have.
        "--bind-address=0.0.0.0", f"--secure-port={plane.port}", f"--advertise-address={ADDRESS}",
        f"--etcd-servers=https://127.0.0.1:{plane.etcd_port}",
        "--etcd-cafile=ca.crt", "--etcd-certfile=etcd.crt", "--etcd-keyfile=etcd.key",
        "--tls-cert-file=server.crt", "--tls-private-key-file=server.key", "--client-ca-file=ca.crt",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-account-key-file=accounts.key", "--service-account-signing-key-file=accounts.key",
        f"--service-cluster-ip-range={SERVICES}",
        # For logs and exec; nothing tells this machine the names of the nodes.
        "--kubelet-client-certificate=to-kubelets.crt", "--kubelet-client-key=to-kubelets.key",
        "--kubelet-preferred-address-types=InternalIP",
    ]  # fmt: skip


def others(plane: ControlPlane) -> dict[str, list[str]]:
    """Return the calls of what talks to the API server, by the name of the user as which it does."""
    alone = ("--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0")
    options = {
        "kube-controller-manager": (
            f"--service-cluster-ip-range={SERVICES}",
            "--service-account-private-key-file=accounts.key", "--root-ca-file=ca.crt",
            "--use-service-account-credentials=true",
        ),
        "kube-scheduler": (),
    }  # fmt: skip
    return {
        user: [str(plane.programs / name), f"--kubeconfig={name}.kubeconfig", *alone, *options[name]]
        for user, name in OTHERS.items()
    }


def registry_settings(place: Path, port: int) -> dict[str, Any]:
    """Return the configuration of the registry (its document configuration.md); JSON is YAML."""
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(place / "images")}, "delete": {"enabled": True}},
        "http": {
            "addr": f"0.0.0.0:{port}",
            "tls": {"certificate": str(place / "registry.crt"), "key": str(place / "registry.key")},
        },
        "auth": {"htpasswd": {"realm": "test", "path": str(place / "htpasswd")}},
    }


def login(address: str, name: str, password: str) -> dict[str, Any]:
    """Return the content of a file of logins (containers-auth.json(5), and a dockerconfigjson Secret)."""
    return {"auths": {address: {"auth": base64.b64encode(f"{name}:{password}".encode()).decode("ascii")}}}


def kubeconfig(server: str, user: str, authority: bytes, certificate: bytes, key: bytes) -> dict[str, Any]:
    """Return a kubeconfig that needs no other file."""

    def plain(data: bytes) -> str:
        return base64.b64encode(data).decode("ascii")

    login = {"client-certificate-data": plain(certificate), "client-key-data": plain(key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "machines", "cluster": {"server": server, "certificate-authority-data": plain(authority)}}
        ],
        "users": [{"name": user, "user": login}],
        "contexts": [{"name": "machines", "context": {"cluster": "machines", "user": user}}],
        "current-context": "machines",
    }


def extensions(signed: bool, alternatives: Sequence[str]) -> str:
    """Return what openssl reads about a certificate (req(1), x509v3_config(5)).

    :param signed: by an authority; otherwise it is one.
    """
    lines = ["[req]", "distinguished_name = subject", "x509_extensions = wanted", "[subject]", "[wanted]",
             "subjectKeyIdentifier = hash", "authorityKeyIdentifier = keyid"]  # fmt: skip
    if signed:
        lines += ["basicConstraints = critical, CA:FALSE", "keyUsage = critical, digitalSignature, keyEncipherment",
                  "extendedKeyUsage = clientAuth, serverAuth"]  # fmt: skip
    else:
        lines += ["basicConstraints = critical, CA:TRUE", "keyUsage = critical, keyCertSign"]
    if alternatives:
        lines += ["subjectAltName = " + ", ".join(alternatives)]
    return "\n".join([*lines, ""])


def elsewhere(environment: Mapping[str, str], place: Place) -> Optional[str]:
    """Return the kubeconfig of the cluster that is to be used instead of one of ours."""
    chosen = environment.get("KUBECONFIG")
    return chosen if chosen and Path(chosen).resolve() != place.kubeconfig.resolve() else None


# Below this line: what is done with it.


def programs() -> Path:
    """Return the directory of the programs, which are built when they are not there."""
    made = subprocess.run(
        [str(vm.HERE / "kubernetes"), str(vm.IMAGES)], stdout=subprocess.PIPE, text=True, check=False)  # fmt: skip
    if made.returncode != 0:
        raise Problem("The programs of Kubernetes could not be built; the lines above say why.")
    return Path(made.stdout.strip())


def certify(directory: Path, name: str, subject: str, authority: str = "", alternatives: Sequence[str] = ()) -> None:
    """Make a key and a certificate, in two files.

    :param subject: in openssl's form, ``/O=GROUP/CN=USER``.
    :param authority: the name of the files of who signs it; without, it is an authority itself.
    :param alternatives: names and addresses of a server, as ``DNS:NAME`` and ``IP:ADDRESS``.
    """
    argv = ["openssl", "req", "-x509", "-config", "/dev/stdin", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "7", "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.crt"]  # fmt: skip
    if authority:
        argv += ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"]
    wanted = extensions(bool(authority), alternatives)
    done = subprocess.run(argv, cwd=directory, input=wanted, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"openssl makes no certificate for {subject}: {done.stderr.strip()}")


def kubeconfig_of(place: Place, name: str, user: str, group: str = "") -> str:
    """Return a new kubeconfig as text.

    :param name: of the files of its key and certificate.
    """
    certify(place.state, name, (f"/O={group}" if group else "") + f"/CN={user}", "ca")
    files = [(place.state / file).read_bytes() for file in ("ca.crt", f"{name}.crt", f"{name}.key")]
    return json.dumps(kubeconfig(place.read("server"), user, *files))


def prepare(plane: ControlPlane) -> None:
    """Write everything that the programs read."""
    state = plane.place.state
    state.mkdir(mode=0o700)
    (state / "server").write_text(plane.server, encoding="ascii")
    certify(state, "ca", "/CN=machines")
    here = ("IP:127.0.0.1", f"IP:{ADDRESS}")
    certify(state, "etcd", "/CN=etcd", "ca", here)
    service = (*(f"DNS:{name}" for name in NAMES), "DNS:localhost", f"IP:{FIRST_SERVICE}")
    certify(state, "server", "/CN=kube-apiserver", "ca", (*here, *service))
    certify(state, "to-kubelets", "/O=system:masters/CN=kube-apiserver", "ca")
    subprocess.run(["openssl", "genrsa", "-out", "accounts.key", "2048"], cwd=state, capture_output=True, check=True)
    for user, name in OTHERS.items():
        (state / f"{name}.kubeconfig").write_text(kubeconfig_of(plane.place, name, user), encoding="ascii")
    if plane.registry_port:
        prepare_registry(plane.place, plane.registry_port)


def prepare_registry(place: Place, port: int) -> None:
    """Write what the registry reads, and what its users need to reach it."""
    state, ours = place.state, place.registry
    ours.mkdir(mode=0o700)
    certify(state, "registry-ca", "/CN=registry of machines")
    certify(state, "registry", "/CN=registry", "registry-ca", ("IP:127.0.0.1", f"IP:{ADDRESS}"))
    shutil.copy(state / "registry-ca.crt", ours / "ca.crt")
    (ours / "address").write_text(f"{ADDRESS}:{port}", encoding="ascii")
    (state / "registry.json").write_text(json.dumps(registry_settings(state, port)), encoding="ascii")
    lines = []
    for name in REGISTRY_USERS:
        password = secrets.token_urlsafe()
        hashed = subprocess.run(
            ["htpasswd", "-Bin", name], input=password, check=True, capture_output=True, text=True)  # fmt: skip
        lines.append(hashed.stdout)
        (ours / f"{name}.json").write_text(json.dumps(login(f"{ADDRESS}:{port}", name, password)), encoding="ascii")
    (state / "htpasswd").write_text("".join(lines), encoding="ascii")


def ask(place: Place, path: str) -> Optional[bytes]:
    """Return what the API server answers to a request of an administrator; None when that is no success."""
    context = ssl.create_default_context(cafile=str(place.state / "ca.crt"))
    context.load_cert_chain(place.state / "admin.crt", place.state / "admin.key")
    try:
        with urllib.request.urlopen(place.read("server") + path, context=context, timeout=10) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError):
        return None


def start(place: Place, registry_port: int, seconds: float) -> None:
    """Start a control plane unless it runs; return when pods can be created.

    :param registry_port: 0 for no registry.
    :param seconds: that it may take.
    """
    place.log("").parent.mkdir(parents=True, exist_ok=True)
    with (place.root / "control-plane.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if alive(place):
            print("The control plane runs already.")
            return
        remove(place)
        plane = ControlPlane(
            place, programs(), vm.free_port(), vm.free_port(), vm.free_port(), registry_port)  # fmt: skip
        try:
            prepare(plane)
            administrator = kubeconfig_of(place, "admin", "admin", "system:masters")
            owner = int(os.environ.get("MACHINES_OWNER") or 0)
            keeper = os.fork()
            if keeper == 0:
                lock.close()
                _keep(plane, owner)
            _wait(place, keeper, seconds)
        except BaseException:
            stop(place)
            raise
        made = place.kubeconfig.with_suffix(".new")
        made.touch(mode=0o600)
        made.write_text(administrator, encoding="ascii")
        made.rename(place.kubeconfig)


def _wait(place: Place, keeper: int, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while os.waitpid(keeper, os.WNOHANG) == (0, 0):
        # Only with this account pods are admitted: the controller manager works, too.
        if ask(place, "/readyz") == b"ok" and ask(place, "/api/v1/namespaces/default/serviceaccounts/default"):
            return
        if time.monotonic() > ends:
            raise Problem(f"The control plane did not become ready in {seconds:g} seconds.")
        time.sleep(0.2)
    raise Problem(place.log("control-plane").read_text(encoding="utf-8", errors="replace"))


def _keep(plane: ControlPlane, owner: int) -> NoReturn:
    """Run everything until one of it ends, it is told to, or its owner is gone; then remove what is left of it."""
    vm.detach(plane.place.log("control-plane"))
    processes: dict[str, subprocess.Popen[bytes]] = {}
    told, tell = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.write(tell, b"."))
    state = plane.place.state
    (state / "pid").write_text(str(os.getpid()), encoding="ascii")
    watched: dict[int, str] = {told: ""}
    if owner:
        try:
            watched[os.pidfd_open(owner)] = ""
        except ProcessLookupError:
            os.write(tell, b".")

    def run(name: str, argv: Sequence[str]) -> None:
        with plane.place.log(name).open("wb") as log:
            processes[name] = subprocess.Popen(
                argv, cwd=state, env={"PATH": os.environ["PATH"], "HOME": str(state)}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=vm.die_with_parent)  # fmt: skip
        watched[os.pidfd_open(processes[name].pid)] = name

    try:
        with vm.answering([ADDRESS]):
            if plane.registry_port:
                run("registry", ["docker-registry", "serve", "registry.json"])
            run("etcd", etcd(plane))
            run("kube-apiserver", api_server(plane))
            ready = False
            while not (gone := select.select(watched, [], [], None if ready else 0.2)[0]):
                # They do not wait long for an API server.
                if not ready and ask(plane.place, "/readyz") == b"ok":
                    ready = True
                    for user, argv in others(plane).items():
                        run(OTHERS[user], argv)
            for name in filter(None, map(watched.get, gone)):
                last = plane.place.log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
                print("\n".join([f"{name} ended, and the others with it. Its last words:", *last]), flush=True)
    except Exception as problem:  # noqa: BLE001  # said to who started it, who waits
        print(problem, flush=True)
    finally:
        for process in processes.values():
            process.kill()
        for process in processes.values():
            process.wait()
        remove(plane.place)
    os._exit(0)


def remove(place: Place) -> None:
    """Remove what a control plane and its registry wrote, but for what they said."""
    place.kubeconfig.unlink(missing_ok=True)
    for directory in (place.registry, place.state):
        shutil.rmtree(directory, ignore_errors=True)


def alive(place: Place) -> bool:
    """Say whether a control plane runs."""
    try:
        return b"control_plane.py" in Path("/proc", place.read("pid"), "cmdline").read_bytes()
    except OSError:
        return False


def stop(place: Place) -> None:
    """End a control plane; it need not run."""
    if alive(place):
        keeper = int(place.read("pid"))
        os.kill(keeper, signal.SIGTERM)
        for _each in range(100):
            if not Path(f"/proc/{keeper}").exists() or not place.state.exists():
                break
            time.sleep(0.1)
    remove(place)


def node_kubeconfig(place: Place, name: str) -> str:
    """Return what the kubelet of a node reaches its API server with."""
    if not alive(place):
        raise Problem("The control plane does not run.")
    return kubeconfig_of(place, f"node-{name}", f"system:node:{name}", "system:nodes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, default=vm.CACHE, help="directory of its files; %(default)s by default")
    verbs = parser.add_subparsers(dest="verb", required=True)
    starting = verbs.add_parser("start", help="start it; the file kubeconfig in its place is the administrator's")
    starting.add_argument("--registry", type=int, default=0, metavar="PORT", help="start a registry beside it, too")
    starting.add_argument("--seconds", type=float, default=120, help="that it may take to become ready")
    verbs.add_parser("stop", help="end it, and remove everything that it wrote")
    verbs.add_parser("programs", help="print the directory of the programs; build them when they are not there")
    verbs.add_parser("node-kubeconfig", help="print what a node's kubelet needs").add_argument("name")
    verbs.add_parser("kubectl", help="call kubectl as administrator", add_help=False)
    chosen, rest = parser.parse_known_args()
    if rest and chosen.verb != "kubectl":
        parser.error(f"unknown arguments: {' '.join(rest)}")
    place = Place(chosen.place.absolute())
    used = elsewhere(os.environ, place)
    try:
        if chosen.verb == "start":
            if used:
                print(f"Nothing is started: KUBECONFIG is set, and the cluster of {used} used.")
            else:
                start(place, chosen.registry, chosen.seconds)
        elif chosen.verb == "stop":
            stop(place)
        elif chosen.verb == "programs":
            print(programs())
        elif chosen.verb == "node-kubeconfig":
            print(node_kubeconfig(place, chosen.name))
        else:
            environment = {**os.environ, "KUBECONFIG": used or str(place.kubeconfig)}
            os.execve(programs() / "kubectl", ["kubectl", *rest], environment)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hostile Containerfile stays in its pod, gets no login and harms no other build.

``hostile.pl`` says of each attack what it got. It is run with the guards removed first, so that a guard that is not
needed, or an attack that could not succeed, is seen.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.cluster.tests.test_job import running
from ansible_collections.rootless.buildah.molecule.verify.clusters import PATIENCE, Cluster
from ansible_collections.rootless.buildah.molecule.verify.conftest import oci_layout
from ansible_collections.rootless.buildah.plugins.module_utils._context_image import read_context
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import (
    CERTS,
    IIDFILE,
    UNPACKED,
    PodSettings,
    Work,
    pod_spec,
)
from ansible_collections.rootless.buildah.tests.tools.waiting import until

# A tag that the attacks try to overwrite.
VICTIM = "trials/hostile-victim:1"
NODE = {"kubernetes.io/hostname": "cluster-two"}
# What another container of the pod holds where nothing is between the steps: a login in its environment, in an open
# file and behind its root, and a socket without a path.
NEIGHBOUR = """
open(my $login, "<", "/run/build/auth/.dockerconfigjson") or die; socket(my $socket, 1, 1, 0);
bind($socket, pack("S a*", 1, "\\0hostile")) or die; print "ready\\n"; sleep 600;
"""
# The neighbour is ready.
TOGETHER = "until grep -q @hostile /proc/net/unix; do sleep 0.2; done"


@pytest.fixture(name="base", scope="module")
def _base(builds: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small image with a shell, perl and the attacks, by its digest."""
    place = tmp_path_factory.mktemp("hostile")
    files = {"hostile.pl": Path(__file__).with_name("hostile.pl")}
    for program in ("/bin/sh", "/usr/bin/perl"):
        needs = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for path in (program, *re.findall(r"(/\S+) \(0x", needs)):
            files[path.lstrip("/")] = Path(os.path.realpath(path))
    with tarfile.open(place / "layer.tar", "w") as archive:
        for name in ("dev", "etc", "proc", "root", "sys", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, source in files.items():
            archive.add(source, name, filter=_of_root)
    layout = f"oci:{oci_layout(place / 'layer.tar', place / 'layout')}:debian"
    builds.copy_here(layout, VICTIM)
    name = builds.copy_here(layout, "trials/hostile-base:1")
    digest = builds.digest("trials/hostile-base:1")
    assert digest
    return f"{name.rpartition(':')[0]}@{digest}"


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    return entry


@pytest.fixture(name="unguarded")
def _unguarded(builds: Cluster) -> Iterator[Cluster]:
    """A namespace where every pod may be made, with the logins."""
    cluster = Cluster(builds.place, f"unguarded-{os.getpid()}")
    cluster.kubectl("create", "namespace", cluster.namespace)
    try:
        for use in ("pull", "push"):
            cluster.kubectl(
                "create", "secret", "generic", f"rootless-buildah-{use}", "--type=kubernetes.io/dockerconfigjson",
                f"--from-file=.dockerconfigjson={cluster.login(use)}")
        until(lambda: "default" in {one["metadata"]["name"] for one in cluster.get("serviceaccounts")}, PATIENCE)
        yield cluster
    finally:
        cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false")


def make_pod(cluster: Cluster, name: str, spec: Any) -> None:
    metadata = {"name": name, "labels": {"trial": "hostile"}}
    cluster.kubectl("create", "--filename=-", manifest={
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})  # fmt: skip


def ended(cluster: Cluster, *names: str) -> bool:
    phases = {one["metadata"]["name"]: one["status"].get("phase") for one in cluster.get("pods")}
    return all(phases[name] in ("Succeeded", "Failed") for name in names)


def attacks(text: str) -> dict[str, str]:
    """Return what each attack got; nothing is the empty string."""
    return dict(re.findall(r"attack (\w+): (?:nothing|got (.*))$", text, re.M))


def secrets(cluster: Cluster) -> set[str]:
    """Return the words that would be a login in somebody's hands."""
    return {one["auth"] for use in ("pull", "push")
            for one in json.loads(Path(cluster.login(use)).read_text())["auths"].values()}  # fmt: skip


def test_a_hostile_step_finds_nothing(
    builds: Cluster, builder_image: str, unguarded: Cluster, base: str, small: str, tmp_path: Path
) -> None:
    # The volume of another pod on the node.
    make_pod(unguarded, "other", {
        "nodeSelector": NODE, "imagePullSecrets": [{"name": "rootless-buildah-pull"}],
        "volumes": [{"name": "store", "emptyDir": {}}],
        "containers": [{"name": "other", "image": small, "volumeMounts": [{"name": "store", "mountPath": "/store"}]}],
    })  # fmt: skip
    unguarded.kubectl("wait", "--for=condition=Ready", "pod/other", f"--timeout={PATIENCE}s")
    # The kubelet takes two dollars for one.
    script = (Path(__file__).with_name("hostile.pl")).read_text().replace("$", "$$")
    login = {"name": "login", "mountPath": "/run/build/auth"}
    make_pod(unguarded, "unguarded", {
        "restartPolicy": "Never", "shareProcessNamespace": True, "nodeSelector": NODE,
        "imagePullSecrets": [{"name": "rootless-buildah-pull"}],
        "volumes": [{"name": "login", "secret": {"secretName": "rootless-buildah-push"}},
                    {"name": "host", "hostPath": {"path": "/"}}],
        "containers": [
            {"name": "neighbour", "image": builder_image, "command": ["perl", "-e", f"$| = 1; {NEIGHBOUR}"],
             "env": [{"name": "LOGIN", "value": "x"}], "volumeMounts": [login]},
            {"name": "build", "image": builder_image, "volumeMounts": [login, {"name": "host", "mountPath": "/host"}],
             "command": ["sh", "-c", f"{TOGETHER}; exec perl -e \"$0\" {builds.registry}", script]},
        ]})  # fmt: skip
    text = ""

    def told() -> bool:
        nonlocal text
        text = unguarded.kubectl("logs", "unguarded", "--container=build", check=False)
        return "attack tag" in text

    (tmp_path / "Containerfile").write_text(f"FROM {base}\nRUN perl /hostile.pl {builds.registry} 2>&1\n")
    build = builds.start("buildah_job", builds.options(
        tmp_path, f"trials/hostile:{time.time_ns()}", network="none"))  # fmt: skip
    until(told, 600)
    open_to_all = attacks(text)
    assert [name for name, got in open_to_all.items() if not got] == [], text
    assert any(secret in text for secret in secrets(builds))
    assert builds.digest(VICTIM) != base.partition("@")[2]
    result = builds.result(build)
    assert not result["failed"], result
    log = Path(result["log_path"]).read_text()
    assert attacks(log) == dict.fromkeys(open_to_all, ""), log
    assert not any(secret in log for secret in secrets(builds))


@pytest.fixture(name="pods")
def _pods(builds: Cluster) -> Iterator[Cluster]:
    certificate = f"--from-file={builds.place.registry / 'ca.crt'}"
    builds.kubectl("create", "configmap", "hostile-certificates", certificate)
    yield builds
    builds.kubectl("delete", "pods", "--selector=trial=hostile", "--wait=false")
    builds.kubectl("delete", "configmap", "hostile-certificates")


def hostile_pod(cluster: Cluster, image: str, base: str, place: Path, attack: str) -> dict[str, Any]:
    """Return the pod of a build whose RUN step can leave its root: buildah uses chroot and not pivot_root."""
    place.mkdir()
    recipe = f"FROM {base}\nRUN perl /hostile.pl {cluster.registry} {attack} 2>&1\n".encode()
    context = read_context([], {"Containerfile": recipe}, str(place / "archive"), "linux/amd64")
    (place / "packed").mkdir()
    context.write(str(place / "packed"))
    tagged = f"contexts:{context.tag}"
    name = cluster.copy_here(f"dir:{place / 'packed'}", tagged)
    work = Work(
        image=f"{cluster.registry}/trials/hostile-root:{attack}", key="hostile",
        context=f"{name.rpartition(':')[0]}@{cluster.digest(tagged)}", content=context.tag, mounted=True,
        bases=((base, None),),
        build=("build", "--pull=never", f"--file={UNPACKED}/Containerfile", f"--iidfile={IIDFILE}", "--layers=true",
               f"{UNPACKED}/context"),
        push=(), flags=(f"--cert-dir={CERTS}",), pull_secret="rootless-buildah-pull",
        push_secret="rootless-buildah-push", certificates="hostile-certificates",
    )  # fmt: skip
    spec = pod_spec(work, PodSettings(image=image))
    spec["initContainers"][1]["env"].append({"name": "BUILDAH_NOPIVOT", "value": "1"})
    return spec


def test_what_a_step_writes_outside_of_its_root_brings_no_login_out(
    pods: Cluster, builder_image: str, base: str, tmp_path: Path
) -> None:
    store, image = (hostile_pod(pods, builder_image, base, tmp_path / attack, attack) for attack in ("store", "image"))
    # The guard removed: push reads the store, and the build's own root can be written to.
    unguarded = copy.deepcopy(store)
    build, push = unguarded["initContainers"][1], unguarded["containers"][0]
    del build["securityContext"]["readOnlyRootFilesystem"]
    build["command"][-1] = build["command"][-1].rpartition("\n")[0]
    # With what fetch knows of the base, push would not read its layer, which is where the link is.
    push["volumeMounts"] = [one for one in push["volumeMounts"] if one["name"] != "known"]
    push["volumeMounts"].append({"name": "store", "mountPath": "/var/lib/containers"})
    flags = f"--cert-dir={CERTS} --authfile=/run/build/auth/.dockerconfigjson"
    target = f"docker://{pods.registry}/trials/hostile-root:unguarded"
    pushing = f'id=$(cat {IIDFILE}); buildah push {flags} "${{id#*:}}" {target}'
    push["command"][-1] = f"cat /etc/resolv.conf /etc/hosts; {pushing}"
    push["env"].append({"name": "STORAGE_DRIVER", "value": "overlay"})
    specs = {f"hostile-{name}": spec for name, spec in (("unguarded", unguarded), ("store", store), ("image", image))}
    before = pods.digest(VICTIM)
    for name, spec in specs.items():
        make_pod(pods, name, spec)
    until(lambda: ended(pods, *specs), 600)
    assert pods.digest(VICTIM) == before
    # A step that has not begun has no log, which kubectl takes for an error.
    logs = {name: pods.kubectl("logs", name, "--all-containers", check=False) for name in specs}
    push_login = json.loads(Path(pods.login()).read_text())["auths"][pods.registry]["auth"]

    found = attacks(logs["hostile-unguarded"])
    assert (found["root"], found["names"]) == ("/usr/local/bin/rootless-build-guard", "/etc/resolv.conf")
    assert found["store"] and push_login in logs["hostile-unguarded"], logs
    # The kubelet writes /etc/hosts anew for each container, but nobody resolv.conf.
    assert logs["hostile-unguarded"].count("# hostile") == 1

    for name in ("hostile-store", "hostile-image"):
        found = attacks(logs[name])
        # It is outside of its root, and that brings it no more than the network that it had and the store.
        assert {one for one, got in found.items() if got} - {"store"} == {"root", "network"}, logs[name]
        assert not any(secret in logs[name] for secret in secrets(pods)), logs[name]
    assert attacks(logs["hostile-store"])["store"]
    assert "the build left no image" in logs["hostile-image"]


def test_a_step_that_kills_and_fills_ends_its_own_build_only(builds: Cluster, base: str, tmp_path: Path) -> None:
    """Side by side on one node: one forks until it may not and kills all, one fills the disk, and one builds."""
    tag = f"trials/hostile-victim:{time.time_ns()}"
    steps = {
        "killer": "my $n = 0; while (defined(my $p = fork)) { $p or sleep 60; last if ++$n > 5000 }"
                  " print qq(forks $n\\n); kill 9, -1; kill 9, getppid; sleep 60",
        "filler": "open my $f, q(>), q(/fill); print $f qq(x) x 1048576 for 1 .. 200; print qq(filled\\n); sleep 120",
        "neighbour": "sleep 45; print qq(unharmed\\n)",
    }  # fmt: skip
    runs = {}
    for name, step in steps.items():
        context = tmp_path / name
        context.mkdir()
        (context / "Containerfile").write_text(f"FROM {base}\nRUN perl -e '$| = 1; {step}'\n")
        job: dict[str, Any] = {"node_selector": NODE, "storage": "100Mi" if name == "filler" else "500Mi"}
        runs[name] = builds.start("buildah_job", builds.options(context, f"{tag}-{name}", job=job))
    until(lambda: running(builds, "build"), PATIENCE)
    results = {name: builds.result(run) for name, run in runs.items()}
    assert not results["neighbour"]["failed"], results["neighbour"]
    assert "unharmed" in Path(results["neighbour"]["log_path"]).read_text()
    assert results["killer"]["failed"] and results["filler"]["failed"], results
    assert results["filler"]["finding"] == "pod_evicted", results["filler"]
    assert "RUN perl" in results["killer"]["msg"], results["killer"]
    assert [builds.digest(f"{tag}-{name}") for name in ("killer", "filler")] == [None, None]
    left = ("jobs", "pods")
    until(lambda: not any("hostile-victim" in name for kind in left for name in builds.names(kind)), PATIENCE)

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images built by Jobs on real nodes, in a namespace that enforces the Pod Security level baseline."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import struct
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any, Mapping

import pytest

from ansible_collections.rootless.buildah.molecule.verify.clusters import OURS, PATIENCE, Cluster
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT
from ansible_collections.rootless.buildah.tests.tools.waiting import until

SECRET = "s3cret-of-a-build"
# What people do in Containerfiles: packages, users, stages, owners, rights, caches, secrets.
CONTAINERFILE = """
FROM {base} AS tools
RUN --mount=type=cache,target=/var/cache/trial echo kept > /var/cache/trial/file
RUN --mount=type=bind,source=package.deb,target=/package.deb dpkg --install /package.deb && dpkg --list trial \
 && useradd --uid 1234 --create-home someone
RUN --mount=type=secret,id=token grep -q {secret} /run/secrets/token
RUN mkdir /made && cp /bin/true /made/setuid && chmod 4755 /made/setuid \\
 && cp /bin/true /made/capable && setcap cap_net_raw=ep /made/capable \\
 && echo tree > /made/owned && chown 61234:61235 /made/owned

FROM {base}
COPY --from=tools --chown=4321:4322 /etc/hostname /chosen
COPY --from=tools /made /made
COPY --from=tools /usr/share/trial /usr/share/trial
COPY tool /context/tool
USER 1234
# In a layer such a file would be a whiteout, but a build may read it.
RUN --mount=type=bind,source=sub,target=/bound test "$(id -u)" = 1234 && cat /bound/.wh.name
"""


@pytest.fixture(name="context")
def _context(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    (place / "sub").mkdir(parents=True)
    (place / "sub/.wh.name").write_text("no whiteout\n")
    (place / "tool").write_text(f"#!/bin/sh\n# {time.time_ns()}\n")
    (place / "tool").chmod(0o750)
    (place / "sub").chmod(0o755)
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "usr/share/trial").mkdir(parents=True)
    (package / "usr/share/trial/file").write_text("of a package\n")
    (package / "DEBIAN/control").write_text(
        "Package: trial\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: trial\n"
    )
    subprocess.run(["dpkg-deb", "--build", str(package), str(place / "package.deb")], check=True, capture_output=True)
    return place


def layers(cluster: Cluster, image: str, digest: str) -> Mapping[str, tuple[tarfile.TarInfo, bytes]]:
    """Return the files of an image at the registry as a runtime would unpack them."""
    found: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for data in cluster.blobs(image, digest):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                file = archive.extractfile(entry) if entry.isreg() else None
                found[entry.name.lstrip("./")] = (entry, file.read() if file else b"")
    return found


def running(cluster: Cluster, step: str) -> bool:
    """Say whether a container of the step runs."""
    found = [status for pod in cluster.get("pods", OURS)
             for status in pod["status"].get("initContainerStatuses") or () if status["name"] == step]  # fmt: skip
    return any("running" in status["state"] for status in found)


def nothing_runs(cluster: Cluster) -> bool:
    """Say whether all that belongs to Jobs is gone; Kubernetes removes it in its own time."""
    owned = [one for kind in ("secrets", "configmaps") for one in cluster.get(kind, OURS)
             if one["metadata"].get("ownerReferences")]  # fmt: skip
    return not any((owned, *(cluster.names(kind) for kind in ("jobs", "pods"))))


def test_what_people_build_comes_out_as_it_does_on_a_host(builds: Cluster, debian: str, context: Path) -> None:
    (context / "Containerfile").write_text(CONTAINERFILE.format(base=debian, secret=SECRET))
    secrets = [{"id": "token", "value": SECRET}]
    built = builds.build(context, "trials/people:1", secrets=secrets)
    assert not built["failed"], built
    assert (built["changed"], built["built"]) == (True, True)
    assert [one["instruction"].partition(" ")[0] for one in built["steps"]].count("RUN") == 5
    assert all(one["seconds"] is not None for one in built["steps"])
    texts = [one["text"] for one in built["progress"]]
    assert texts[0].startswith("made the Job") and any(text.startswith("build on cluster-") for text in texts)
    assert SECRET not in Path(built["log_path"]).read_text()
    found = layers(builds, "trials/people", built["digest"])
    assert (found["chosen"][0].uid, found["chosen"][0].gid) == (4321, 4322)
    assert (found["made/owned"][0].uid, found["made/owned"][0].gid) == (61234, 61235)
    assert stat.S_IMODE(found["made/setuid"][0].mode) == 0o4755
    written = found["made/capable"][0].pax_headers["SCHILY.xattr.security.capability"]
    capability = written.encode("utf-8", "surrogateescape")
    # capabilities(7): version 2, effective, CAP_NET_RAW is 13.
    assert struct.unpack("<2I", capability[:8]) == (0x02000001, 1 << 13)
    assert "no whiteout" in Path(built["log_path"]).read_text()
    assert found["usr/share/trial/file"][1] == b"of a package\n"
    assert stat.S_IMODE(found["context/tool"][0].mode) == 0o750
    assert found["context/tool"][0].uid == 0

    # Nothing is left but the image and its record, and they are all that the next run needs.
    until(lambda: nothing_runs(builds), PATIENCE)
    events = len(builds.get("events"))
    begun = time.monotonic()
    again = builds.build(context, "trials/people:1", secrets=secrets)
    assert (again["changed"], again["built"], again["digest"], again["key"]) == (
        False, False, built["digest"], built["key"])  # fmt: skip
    assert again["progress"] == [] and time.monotonic() - begun < 10
    assert len(builds.get("events")) <= events

    (context / "tool").write_text("changed\n")
    expected = builds.build(context, "trials/people:1", check=True, secrets=secrets)
    assert expected["changed"] and expected["reasons"][0]["changed"] == ["tool"]


def test_an_ordinary_user_builds_what_root_of_a_pod_builds(
    builds: Cluster, builds_b: Cluster, debian: str, context: Path
) -> None:
    """Profile B, for clusters without user namespaces for pods; the context is fetched, for those without image
    volumes."""
    (context / "Containerfile").write_text(CONTAINERFILE.format(base=debian, secret=SECRET))
    secrets = [{"id": "token", "value": SECRET}]
    built = builds_b.build(context, "trials/older:1", secrets=secrets, job={"profile": "b", "context_mount": "fetch"})
    assert not built["failed"], built
    log = Path(built["log_path"]).read_text()
    assert "single mapping" not in log and "no whiteout" in log and SECRET not in log
    found = layers(builds_b, "trials/older", built["digest"])
    assert (found["made/owned"][0].uid, found["made/owned"][0].gid) == (61234, 61235)
    assert stat.S_IMODE(found["made/setuid"][0].mode) == 0o4755 and found["context/tool"][0].uid == 0
    # Which way an image was built is no part of what determines it.
    again = builds.build(context, "trials/older:1", secrets=secrets)
    assert (again["changed"], again["key"]) == (False, built["key"])


def test_without_steps_nothing_but_a_user_namespace_is_needed(
    builds: Cluster, builds_c: Cluster, debian: str, context: Path
) -> None:
    """Profile C, which the Pod Security level restricted admits, makes what profile A makes."""
    lines = "COPY --chown=0:0 package.deb /\nADD tool /tool\nUSER 1234\nENV NAME=value\n"
    (context / "Containerfile").write_text(f"FROM {debian}\n{lines}")
    options: dict[str, Any] = {"timestamp": 0, "network": "none"}
    built = builds_c.build(context, "trials/restricted:1", job={"profile": "c"}, **options)
    assert not built["failed"], built
    # Files of the base belong to others than root, too.
    owners = {entry.gid for entry, _data in layers(builds_c, "trials/restricted", built["digest"]).values()}
    assert len(owners) > 1
    plain = builds.build(context, "trials/baseline:1", **options)
    assert not plain["failed"] and (plain["digest"], plain["key"]) == (built["digest"], built["key"])

    result = builds_c.build(context, "trials/restricted:2", **options)
    assert (result["failed"], result.get("finding")) == (True, "pod_security") and "job.profile: c" in result["remedy"]
    (context / "Containerfile").write_text(f"FROM {debian}\nCOPY --from={debian} /etc/shadow /shadow\nRUN id\n")
    result = builds_c.build(context, "trials/restricted:3", job={"profile": "c"}, **options)
    assert result["failed"] and "COPY --from without --chown=0:0 at line 2, RUN at line 3" in result["msg"]
    assert not builds_c.names("jobs")


def test_the_rights_of_the_example_are_enough(builds: Cluster, small: str, context: Path, tmp_path: Path) -> None:
    builds.kubectl("apply", f"--filename={ROOT}/examples/cluster/rights.yml")
    kubeconfig = builds.account("ci", tmp_path)
    (context / "Containerfile").write_text(f"FROM {small}\nRUN echo made > /made\n")
    secrets = [{"id": "token", "value": SECRET}]
    built = builds.build(context, "trials/rights:1", secrets=secrets, kubeconfig=kubeconfig)
    assert (built["failed"], built["built"]) == (False, True), built
    again = builds.build(context, "trials/rights:1", secrets=secrets, kubeconfig=kubeconfig)
    assert (again["failed"], again["changed"]) == (False, False), again


def test_without_a_network_there_is_none(builds: Cluster, small: str, context: Path) -> None:
    host, port = builds.registry.split(":")
    probe = f"RUN nc -w 5 {host} {port} < /dev/null 2>&1 && echo got $((1 + 1)); cat /proc/net/dev\n"
    (context / "Containerfile").write_text(f"FROM {small}\n{probe}")
    # The guard removed: the same step gets out.
    open_net = builds.build(context, "trials/net:1")
    assert not open_net["failed"], open_net
    assert "got 2" in Path(open_net["log_path"]).read_text()
    closed = builds.build(context, "trials/net:2", network="none")
    assert not closed["failed"], closed
    log = Path(closed["log_path"]).read_text()
    assert "Network is unreachable" in log and "got 2" not in log
    assert "eth0" not in log and "lo:" in log


def test_a_step_that_fails_is_named_with_its_last_words_and_leaves_nothing(
    builds: Cluster, small: str, context: Path
) -> None:
    steps = "RUN echo before\nRUN echo these are the last words; exit 3\n"
    (context / "Containerfile").write_text(f"FROM {small}\n{steps}")
    result = builds.build(context, "trials/fails:1")
    assert result["failed"] and "RUN echo these are the last words; exit 3" in result["msg"]
    assert "these are the last words" in result["stderr"]
    until(lambda: nothing_runs(builds), PATIENCE)
    assert builds.digest("trials/fails:1") is None


def test_a_base_that_is_not_there_fails_before_anything_runs(builds: Cluster, context: Path) -> None:
    (context / "Containerfile").write_text(f"FROM {builds.registry}/no/such:1\n")
    result = builds.build(context, "trials/nobase:1")
    assert result["failed"] and "no/such:1 does not exist" in result["msg"]


@pytest.mark.parametrize("job, finding, words", [
    ({"image": "{registry}/rootless-buildah/builder@sha256:" + "0" * 64}, "pod_image_pull", "not found"),
    ({"deadline": 5}, "pod_deadline", "deadline"),
    ({"resources": {"limits": {"memory": "150Mi"}}}, "pod_memory", "memory"),
    ({"storage": "100Mi"}, "pod_evicted", ""),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_what_ends_a_build_early_is_named(
    builds: Cluster, small: str, context: Path, job: dict[str, Any], finding: str, words: str
) -> None:
    zeros = "dd if=/dev/zero bs=1M count="
    hungry = f"{zeros}300 of=/fills; data=$({zeros}200 | tr '\\0' x); echo ${{#data}}; sleep 60"
    (context / "Containerfile").write_text(f"FROM {small}\nRUN {hungry}\n")
    chosen = json.loads(json.dumps(job).replace("{registry}", builds.registry))
    result = builds.build(context, f"trials/{finding.replace('_', '-')}:1", job=chosen)
    assert (result["failed"], result.get("finding")) == (True, finding), result
    assert words in result["cause"]
    until(lambda: nothing_runs(builds), PATIENCE)


def test_a_registry_that_refuses_a_step_is_named(
    builds: Cluster, small: str, context: Path, open_registry: int
) -> None:
    """Under this name it is there for the controller, but not for pods."""
    (context / "Containerfile").write_text(f"FROM {small}\nCOPY tool /tool\n")
    image = f"127.0.0.1:{open_registry}/trials/unreachable:1"
    result = builds.build(context, "", name=image)
    assert (result["failed"], result.get("finding")) == (True, "pod_registry"), result
    assert f"{image} was not pushed" in result["msg"] and "does not answer" in result["cause"]
    assert "whether pods may reach the registry" in result["remedy"]
    until(lambda: nothing_runs(builds), PATIENCE)


def test_the_same_image_is_the_same_for_a_host_and_a_cluster(builds: Cluster, small: str, context: Path) -> None:
    """A record of a cluster's build is one for builder hosts, and the other way round."""
    (context / "Containerfile").write_text(f"FROM {small}\nCOPY tool /tool\n")
    built = builds.build(context, "trials/shared:1")
    assert not built["failed"], built
    options = builds.options(context, "trials/shared:1")
    plan = {name: options[name] for name in ("name", "path", "push", "registry_auth_file", "registry_ca_dir")}
    for backend in ("kubernetes", "host"):
        result = builds.result(builds.start("buildah_plan", {
            "images": [{**plan, "allow_root": True}], "backend": backend}))  # fmt: skip
        assert not result["failed"], result
        assert (result["due"], result["images"][0]["key"]) == (0, built["key"])
    assert hashlib.sha256(builds.manifest("trials/shared:1")).hexdigest() == built["digest"].partition(":")[2]


def test_a_run_that_was_killed_is_taken_up(builds: Cluster, small: str, context: Path) -> None:
    (context / "Containerfile").write_text(f"FROM {small}\nRUN sleep 15; date > /made\n")
    options = builds.options(context, "trials/killed:1")
    first = builds.start("buildah_job", options)
    until(lambda: running(builds, "build"), PATIENCE)
    first.kill()
    first.communicate()
    (job,) = builds.get("jobs")
    result = builds.build(context, "trials/killed:1")
    assert not result["failed"], result
    assert result["progress"][0]["text"] == f"joining the Job {job['metadata']['name']}, which is there already"
    assert builds.digest("trials/killed:1") == result["digest"]
    again = builds.build(context, "trials/killed:1")
    assert not again["changed"], again
    until(lambda: nothing_runs(builds), PATIENCE)


def test_a_node_that_is_drained_hands_its_build_on(builds: Cluster, small: str, context: Path) -> None:
    (context / "Containerfile").write_text(f"FROM {small}\nRUN sleep 30; cp /context /x 2> /dev/null; date > /made\n")
    run = builds.start("buildah_job", builds.options(context, "trials/drained:1"))
    until(lambda: running(builds, "build"), PATIENCE)
    (pod,) = builds.get("pods", OURS)
    node = pod["spec"]["nodeName"]
    try:
        builds.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s")
        result = builds.result(run)
    finally:
        builds.kubectl("uncordon", node)
    assert not result["failed"], result
    nodes = {text["text"].rpartition(" on ")[2] for text in result["progress"] if text["text"].startswith("build on ")}
    assert node in nodes and len(nodes) == 2

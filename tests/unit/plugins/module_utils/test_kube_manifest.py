# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Job of a build: who gets a credential, what is always limited, and which Jobs are the same."""

from __future__ import annotations

import copy
import os
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._context_image import read_context
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import (
    PodSettings,
    Work,
    job,
    job_name,
    owner,
    pod_spec,
    same_work,
    secret,
)

DIGEST = "@sha256:" + "1" * 64
WORK = Work(
    image="registry.example.com/team/app:1",
    key="sha256:" + "a" * 64,
    context=f"registry.example.com/contexts{DIGEST}",
    content="c" * 64,
    mounted=True,
    bases=((f"registry.example.com/base{DIGEST}", None), (f"registry.example.com/tools{DIGEST}", "linux/amd64")),
    build=("build", "--pull=never", "/run/build/work/unpacked/context"),
    push=("--compression-format=zstd",),
    pull_secret="pull-login",
    push_secret="push-login",
    build_secret="build-secrets",
    certificates="certificates",
)
SETTINGS = PodSettings(image=f"registry.example.com/builder{DIGEST}")


def steps(work: Work = WORK, settings: PodSettings = SETTINGS) -> dict[str, dict[str, Any]]:
    spec = pod_spec(work, settings)
    return {one["name"]: one for one in (*spec["initContainers"], *spec["containers"])}


def mounted(step: dict[str, Any]) -> set[str]:
    return {one["name"] for one in step["volumeMounts"]}


def script(step: dict[str, Any]) -> str:
    return str(step["command"][-1])


def test_each_credential_is_in_the_one_step_that_needs_it() -> None:
    found = {name: mounted(step) for name, step in steps().items()}
    assert {name for name, mounts in found.items() if "pull" in mounts} == {"fetch"}
    assert {name for name, mounts in found.items() if "push" in mounts} == {"push"}
    assert {name for name, mounts in found.items() if "secrets" in mounts} == {"build"}
    spec = pod_spec(WORK, SETTINGS)
    assert spec["automountServiceAccountToken"] is False
    assert {one["secret"]["defaultMode"] for one in spec["volumes"] if "secret" in one} == {0o400}


def test_no_step_runs_beside_another_one() -> None:
    # Init containers run one after the other, and a pod's containers after them (core/v1, PodSpec).
    spec = pod_spec(WORK, SETTINGS)
    assert [one["name"] for one in spec["initContainers"]] == ["fetch", "build"]
    assert [one["name"] for one in spec["containers"]] == ["push"]
    assert all("restartPolicy" not in one for one in spec["initContainers"])


def test_an_image_from_nothing_fetches_nothing() -> None:
    assert list(steps(replace(WORK, bases=()))) == ["build", "push"]
    assert list(steps(replace(WORK, bases=(), mounted=False))) == ["fetch", "build", "push"]


@pytest.mark.parametrize("profile, users, escalation, uid, capabilities", [
    ("a", False, False, 0, {"SETUID", "SETGID", "SETFCAP", "CHOWN", "DAC_OVERRIDE", "FOWNER"}),
    ("b", None, True, 1000, {"SETUID", "SETGID"}),
    ("c", False, False, 1000, set()),
])  # fmt: skip
def test_a_profile_has_the_rights_of_the_guide_and_no_more(
    profile: str, users: Any, escalation: bool, uid: int, capabilities: set[str]
) -> None:
    settings = replace(SETTINGS, profile=profile)
    spec = pod_spec(WORK, settings)
    assert spec.get("hostUsers") is users
    assert spec["securityContext"]["runAsUser"] == uid
    assert spec["securityContext"]["seccompProfile"] == {"type": "Localhost", "localhostProfile": "rootless-build.json"}
    assert spec["securityContext"]["appArmorProfile"] == {"type": "Localhost", "localhostProfile": "rootless-build"}
    assert spec["nodeSelector"] == {f"rootless.buildah/profile-{profile}": "true"}
    for step in steps(WORK, settings).values():
        assert step["securityContext"]["allowPrivilegeEscalation"] is escalation
        assert step["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert set(step["securityContext"]["capabilities"].get("add", ())) == capabilities
        assert "privileged" not in step["securityContext"]
    assert not set(spec) & {"hostNetwork", "hostPID", "hostIPC"}
    assert not any("hostPath" in one for one in spec["volumes"])


def test_time_and_room_are_always_limited() -> None:
    made = job(WORK, replace(SETTINGS, storage="7Gi", deadline=90, ttl=80), "builds")
    assert made["spec"]["activeDeadlineSeconds"] == 90
    assert made["spec"]["ttlSecondsAfterFinished"] == 80
    spec = made["spec"]["template"]["spec"]
    assert {one["emptyDir"]["sizeLimit"] for one in spec["volumes"] if "emptyDir" in one} == {"7Gi"}
    for step in (*spec["initContainers"], *spec["containers"]):
        assert step["resources"]["limits"]["ephemeral-storage"] == "7Gi"


@pytest.mark.parametrize("storage, requested", [
    ("20Gi", "1Gi"), ("1Gi", "1Gi"), ("1000Mi", "1000Mi"), ("50Mi", "50Mi"), ("2G", "1Gi"), ("1G", "1G"), ("5T", "1Gi"),
    ("2147483648", "1Gi"), ("1.5Gi", "1Gi"),
])  # fmt: skip
def test_a_request_is_never_above_the_limit(storage: str, requested: str) -> None:
    for step in steps(WORK, replace(SETTINGS, storage=storage)).values():
        assert step["resources"]["limits"]["ephemeral-storage"] == storage
        assert step["resources"]["requests"]["ephemeral-storage"] == requested


def test_three_disruptions_are_survived_and_a_failure_is_none() -> None:
    spec = job(WORK, SETTINGS, "builds")["spec"]
    assert spec["backoffLimit"] == 3
    assert [rule["action"] for rule in spec["podFailurePolicy"]["rules"]] == ["Count", "FailJob"]
    assert spec["suspend"] is True


def test_without_a_network_buildah_itself_has_none() -> None:
    line = next(line for line in script(steps(replace(WORK, offline=True))["build"]).splitlines() if "buildah" in line)
    maps = "--map-users=0:0:65536 --map-groups=0:0:65536"
    assert line.startswith(f"unshare --user --mount {maps} --keep-caps --net buildah")
    assert "unshare" not in script(steps()["build"])


@pytest.mark.parametrize("work", [WORK, replace(WORK, mounted=False, offline=True, pull_secret=None, push_secret=None)])
def test_what_the_steps_execute_is_shell(work: Work) -> None:
    for step in steps(work).values():
        assert step["command"][1:3] == ["/bin/sh", "-euc"]
        subprocess.run(["sh", "-n", "-c", script(step)], check=True)


@pytest.mark.parametrize("profile", ["a", "b"])
def test_no_step_begins_before_its_rights_are_those_of_the_profile(profile: str) -> None:
    for step in steps(WORK, replace(SETTINGS, profile=profile)).values():
        assert step["command"][0] == "/usr/local/bin/rootless-build-guard"
        assert {"name": "ROOTLESS_BUILD_PROFILE", "value": profile} in step["env"]


def leave(image: Path, *left: str) -> None:
    """Make what a build might leave: files, and links, directories and pipes by their names."""
    image.mkdir()
    for name in left:
        if name == "link":
            (image / name).symlink_to("/run/build/auth/.dockerconfigjson")
        elif name == "pipe":
            os.mkfifo(image / name)
        elif name == "directory":
            (image / name).mkdir()
        else:
            (image / name).write_text("{}")


def linked(image: Path) -> None:
    leave(image.with_name("other"), "manifest.json")
    image.symlink_to("other")


@pytest.mark.parametrize("left, pushed", [
    (lambda image: leave(image, "manifest.json", "version"), True),
    (lambda image: leave(image, "manifest.json", "link"), False),
    (lambda image: leave(image, "manifest.json", "pipe"), False),
    (lambda image: leave(image, "manifest.json", "directory"), False),
    (linked, False),
    (lambda image: image.write_text("{}"), False),
    (lambda image: None, False),
], ids=["image", "link", "pipe", "directory", "linked", "file", "nothing"])  # fmt: skip
def test_push_reads_plain_files_or_nothing(tmp_path: Path, left: Callable[[Path], Any], pushed: bool) -> None:
    left(tmp_path / "image")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/skopeo").write_text(f'#!/bin/sh\nfor word; do echo "$word"; done > {tmp_path}/argv\n')
    (tmp_path / "bin/skopeo").chmod(0o755)
    text = script(steps()["push"]).replace("/run/build/work", str(tmp_path))
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    done = subprocess.run(["sh", "-euc", text], env={"PATH": path}, capture_output=True, text=True, check=False)
    argv = (tmp_path / "argv").read_text().splitlines() if (tmp_path / "argv").exists() else []
    assert (done.returncode == 0, argv[-2:]) == (
        (True, [f"dir:{tmp_path}/image", f"docker://{WORK.image}"]) if pushed else (False, []))  # fmt: skip


def test_push_sees_of_what_a_run_step_could_write_the_image_only() -> None:
    found = steps()
    shared = {
        one["name"]: one
        for one in found["push"]["volumeMounts"]
        if one["name"] in mounted(found["build"])
    }  # fmt: skip
    assert {name: one.get("readOnly") for name, one in shared.items()} == {"work": True, "certificates": True}
    assert not [one for one in found["push"]["env"] if "/run/build/work" in one["value"]]
    assert found["build"]["securityContext"]["readOnlyRootFilesystem"] is True
    # What fetch knows of the registry's blobs; a RUN step could name blobs of others there.
    assert {name for name, step in found.items() if "known" in mounted(step)} == {"fetch", "push"}


def test_how_an_image_is_compressed_is_told_to_the_program_that_pushes() -> None:
    work = replace(WORK, push=("--format=v2s2", "--compression-format=zstd", "--compression-level=3"))
    words = shlex.split(script(steps(work)["push"]).splitlines()[-1])
    assert {"--format=v2s2", "--dest-compress-format=zstd", "--dest-compress-level=3"} <= set(words)
    assert "--dest-authfile=/run/build/auth/.dockerconfigjson" in words


@pytest.mark.parametrize("planted", [False, True])
def test_a_fetched_context_is_the_one_that_was_meant(tmp_path: Path, planted: bool) -> None:
    (tmp_path / "archive").write_bytes(b"")
    meant = read_context([], {"Containerfile": b"FROM scratch\n"}, str(tmp_path / "archive"), "linux/amd64")
    evil = read_context([], {"Containerfile": b"FROM evil\n"}, str(tmp_path / "other"), "linux/amd64")
    given = evil if planted else meant
    (tmp_path / "packed").mkdir()
    given.write(str(tmp_path / "packed"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/skopeo").write_text(f"#!/bin/sh\ncp -r {tmp_path}/packed {tmp_path}/image\n")
    (tmp_path / "bin/skopeo").chmod(0o755)
    work = replace(WORK, mounted=False, bases=(), content=meant.tag)
    text = script(steps(work)["fetch"]).partition("\n")[2].replace("/run/build/work", str(tmp_path))
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    done = subprocess.run(["sh", "-euc", text], env={"PATH": path}, capture_output=True, text=True, check=False)
    assert (done.returncode, (tmp_path / "build.tar").exists()) == ((1, False) if planted else (0, True)), done.stderr


@pytest.mark.parametrize("image", ["r.example.com/a/App_With.Dots:1-rc1", "r.example.com:5000/x" + "y" * 100, "r/-:0"])
def test_a_name_is_one_that_kubernetes_takes(image: str) -> None:
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", job_name(image, WORK.key))


def test_equal_builds_meet_and_others_do_not() -> None:
    name = job_name(WORK.image, WORK.key)
    assert name == job_name(WORK.image, WORK.key)
    assert name != job_name(WORK.image, "sha256:" + "c" * 64)
    assert name != job_name("registry.example.com/team/app:2", WORK.key)
    assert name != job_name("registry.example.com/other/app:1", WORK.key)


def served(made: dict[str, Any]) -> dict[str, Any]:
    """Return a Job as the API server has it while it runs."""
    found = copy.deepcopy(made)
    uid = "6f6c6f9e-1d5f-4f9b-8f4e-0a1b2c3d4e5f"
    found["spec"].update({"suspend": False, "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}})
    found["spec"]["template"]["metadata"]["labels"].update({
        "controller-uid": uid, "job-name": "x", "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "x"})  # fmt: skip
    return found


def test_a_job_that_does_the_same_work_is_known_whoever_made_it() -> None:
    assert same_work(job(WORK, SETTINGS, "builds"), served(job(WORK, SETTINGS, "builds")))


@pytest.mark.parametrize("change", [
    lambda spec: spec["containers"][0].update(image="registry.example.com/evil@sha256:2"),
    lambda spec: spec["initContainers"][1]["command"].append("x"),
    lambda spec: spec["initContainers"].append({"name": "more"}),
    lambda spec: spec["volumes"].append({"name": "more", "emptyDir": {}}),
    lambda spec: spec["initContainers"][1]["volumeMounts"].append({"name": "push", "mountPath": "/run/build/auth"}),
    lambda spec: spec.pop("hostUsers"),
])  # fmt: skip
def test_a_job_of_the_same_name_that_does_something_else_is_told_apart(change: Any) -> None:
    other = served(job(WORK, SETTINGS, "builds"))
    change(other["spec"]["template"]["spec"])
    assert not same_work(job(WORK, SETTINGS, "builds"), other)


def test_what_belongs_to_a_job_goes_with_it() -> None:
    found = {"metadata": {"name": "build-app", "uid": "7"}}
    made = secret("build-app-push", "builds", owner(found), {"x": "eA=="}, "Opaque")
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "build-app", "uid": "7"}]  # fmt: skip

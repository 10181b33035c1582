# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps pods from building is told in real pods: nothing where all is well, one finding where a setting is wrong.

The first three are the failures of a feasibility study, each with the settings that bring it about. The namespace
enforces the Pod Security level baseline, so whoever may make pods there could make these.
"""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.verify.clusters import PATIENCE, Cluster, environment
from ansible_collections.rootless.buildah.molecule.verify.machines import names
from ansible_collections.rootless.buildah.plugins.module_utils._doctor_pods import doctor_trial
from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID, finding_for
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT
from ansible_collections.rootless.buildah.tests.tools.waiting import until

NODES = names("cluster_nodes")
PULLED = 600  # seconds that an emulated node may take for the builder image
# A step that runs, and files of another owner: what builds need mounts and many ids for.
BUILD = r"""
rm -rf "$TMPDIR/context" && mkdir "$TMPDIR/context" && cd "$TMPDIR/context"
cp -L --parents /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*') .
printf 'FROM scratch\nCOPY --chown=5000:5000 . /\nRUN ["/bin/sh", "-c", "echo it is $((1 + 1))"]\n' > Containerfile
buildah build . 2>&1; echo "status $?"
"""
Pod = dict[str, Any]


class Pods:
    """Pods in a namespace of their own."""

    def __init__(self, space: Cluster, image: str) -> None:
        self.space = space
        self._image = image

    def start(self, name: str, profile: str, change: Callable[[Pod, Pod], object]) -> None:
        """Start the pod of a build with one thing changed, and wait until it runs.

        :param change: is handed the pod's specification and that of its container.
        """
        pod = doctor_trial(NODES[0], profile, self.space.namespace, {"image": self._image})["pod"]
        pod["metadata"]["name"] = name
        (container,) = pod["spec"]["containers"]
        # Without the guard, which stops some of these before they can be asked.
        container["command"] = container["command"][1:]
        change(pod["spec"], container)
        self.space.kubectl("create", "--filename=-", manifest=pod)
        self.space.kubectl("wait", "--for=condition=Ready", f"--timeout={PULLED}s", f"pod/{name}")

    def build(self, name: str, *environment: str) -> tuple[bool, str]:
        """Build in a pod; return whether it did, and what buildah printed."""
        told = self.space.kubectl("exec", name, "--", "env", *environment, "sh", "-c", BUILD)
        return "\nstatus 0" in told and "it is 2" in told, told

    def ask(self, name: str) -> dict[str, Any]:
        """Return what rootless_info says in a pod, over the connection kubernetes.core.kubectl."""
        variables = {
            "ansible_connection": "kubernetes.core.kubectl", "ansible_kubectl_pod": name,
            "ansible_kubectl_namespace": self.space.namespace,
            "ansible_kubectl_kubeconfig": str(self.space.place.kubeconfig),
            "ansible_python_interpreter": "/usr/bin/python3", "ansible_remote_tmp": "/run/build/work/ansible",
        }  # fmt: skip
        done = subprocess.run(
            ["ansible", "all", f"--inventory={name},", "--module-name=rootless.buildah.rootless_info",
             f"--extra-vars={json.dumps(variables)}"],
            env={**environment(), "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
                 "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
            capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout[done.stdout.index("{"):])
        return dict(told["plays"][0]["tasks"][0]["hosts"][name])


def as_it_is(_spec: Pod, _container: Pod) -> None:
    pass


def without_apparmor(spec: Pod, _container: Pod) -> None:
    del spec["securityContext"]["appArmorProfile"]


def runtimes_seccomp(spec: Pod, _container: Pod) -> None:
    spec["securityContext"]["seccompProfile"] = {"type": "RuntimeDefault"}


def users_of_the_node(spec: Pod, _container: Pod) -> None:
    del spec["hostUsers"]


def without(*capabilities: str) -> Callable[[Pod, Pod], None]:
    def change(_spec: Pod, container: Pod) -> None:
        given = container["securityContext"]["capabilities"]
        given["add"] = [one for one in given["add"] if one not in capabilities]

    return change


def no_new_privs(_spec: Pod, container: Pod) -> None:
    container["securityContext"]["allowPrivilegeEscalation"] = False


def another_isolation(_spec: Pod, container: Pod) -> None:
    (isolation,) = (one for one in container["env"] if one["name"] == "BUILDAH_ISOLATION")
    isolation["value"] = "oci"


def empty(directory: str) -> Callable[[Pod, Pod], None]:
    """Return what takes the files of a directory out of sight."""

    def change(spec: Pod, container: Pod) -> None:
        spec["volumes"].append({"name": "empty", "emptyDir": {}})
        container["volumeMounts"].append({"name": "empty", "mountPath": directory})

    return change


def without_a_store(spec: Pod, container: Pod) -> None:
    del spec["volumes"][0], container["volumeMounts"][0]
    del container["securityContext"]["readOnlyRootFilesystem"]


@pytest.fixture(name="pods", scope="module")
def _pods(cluster: Cluster, builder_image: str) -> Iterator[Pods]:
    space = Cluster(cluster.place, f"doctor-{time.time_ns():x}")
    space.kubectl("create", "namespace", space.namespace)
    try:
        labels = ("builds", "allow-profile-b")
        space.kubectl("label", "namespace", space.namespace, "pod-security.kubernetes.io/enforce=baseline",
                      *(f"rootless.buildah/{label}=true" for label in labels))  # fmt: skip
        space.kubectl("create", "serviceaccount", "rootless-buildah")
        space.kubectl("create", "secret", "generic", "rootless-buildah-pull", "--type=kubernetes.io/dockerconfigjson",
                      f"--from-file=.dockerconfigjson={space.login('pull')}")  # fmt: skip
        pods = Pods(space, builder_image)
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda profile: pods.start(f"healthy-{profile}", profile, as_it_is), "ab"))
        yield pods
    finally:
        space.kubectl("delete", "namespace", space.namespace, "--wait=false")


@pytest.mark.parametrize("profile", ["a", "b"])
def test_a_pod_as_builds_have_it_has_no_findings_and_builds(pods: Pods, profile: str) -> None:
    told = pods.ask(f"healthy-{profile}")
    assert (told["ready"], told["findings"], told["facts"]["profile"]) == (True, [], profile)
    done, words = pods.build(f"healthy-{profile}")
    assert done, words


VFS = ("STORAGE_DRIVER=vfs",)
# How it is brought about, the variables of the build, buildah's words, the finding that they name, and that of the
# doctor where it knows more.
BROKEN: list[tuple[str, str, Callable[[Pod, Pod], object], tuple[str, ...], str, str, str]] = [
    ("study-mount", "a", without_apparmor, VFS, "remount /, flags: 0x44000: permission denied", "mount_denied", ""),
    ("study-map", "a", without("SETUID", "SETGID", "SETFCAP"), (), "/gid_map: operation not permitted",
     "pod_capabilities", ""),
    ("study-netavark", "a", empty("/usr/lib/podman"), (), 'could not find "netavark" in one of [', "netavark_missing",
     ""),
    ("overlay", "a", without_apparmor, (), "native overlay not supported and fuse-overlayfs not found", "fuse_missing",
     "mount_denied"),
    ("no-store", "a", without_a_store, (), "native overlay not supported and fuse-overlayfs not found", "fuse_missing",
     "graphroot_filesystem"),
    ("setfcap", "a", without("SETFCAP"), (), "/uid_map: operation not permitted", "pod_capabilities", ""),
    ("seccomp", "a", runtimes_seccomp, (), "unshare(CLONE_NEWUSER): Operation not permitted", "userns_blocked", ""),
    ("isolation", "a", another_isolation, (), "exec: no command", "", "pod_isolation"),
    ("no-new-privs", "b", no_new_privs, (), "Falling back to single mapping", "newuidmap", "single_mapping"),
    ("no-setuid", "b", without("SETUID", "SETGID"), (), "Falling back to single mapping", "newuidmap",
     "pod_capabilities"),
]


@pytest.mark.parametrize(
    "name, profile, change, environment, words, told, asked", BROKEN, ids=[one[0] for one in BROKEN])
def test_one_wrong_setting_is_told_by_the_build_and_by_the_doctor_and_its_cure_builds(
    pods: Pods, name: str, profile: str, change: Callable[[Pod, Pod], object], environment: tuple[str, ...], words: str,
    told: str, asked: str,
) -> None:
    pods.start(name, profile, change)
    try:
        done, printed = pods.build(name, *environment)
        assert not done and words in printed, printed
        found = finding_for(printed)
        assert (found.id if found else "") == told
        answer = pods.ask(name)
    finally:
        pods.space.kubectl("delete", "pod", name, "--wait=false")
    (finding,) = answer["findings"]
    assert (finding["id"], answer["ready"]) == (asked or told, False)
    assert (finding["remedy"], finding["commands"]) == (BY_ID[finding["id"]].remedy_in(pod=True), [])
    # The same pod but for that setting.
    done, printed = pods.build(f"healthy-{profile}", *environment)
    assert done, printed


def test_root_of_the_node_is_no_root_of_a_pod(pods: Pods) -> None:
    """It would build, with root's power over the node."""
    pods.start("host-users", "a", users_of_the_node)
    try:
        (finding,) = pods.ask("host-users")["findings"]
    finally:
        pods.space.kubectl("delete", "pod", "host-users", "--wait=false")
    assert finding["id"] == "pod_host_users"


def test_the_playbook_tells_which_profiles_can_run_where(builds: Cluster, tmp_path: Path) -> None:
    node = {"cluster_node_kubeconfig": str(builds.place.kubeconfig), "cluster_builder_namespace": builds.namespace}
    hosts = {"cluster_nodes": {"hosts": {name: {} for name in NODES}, "vars": node}}
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    report = tmp_path / "doctor.json"
    done = subprocess.run(
        ["ansible-playbook", f"--inventory={tmp_path / 'hosts.json'}", str(ROOT / "playbooks/doctor.yml"),
         f"--extra-vars=doctor_json={report} doctor_wait={PULLED}"],
        env=environment(), capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = {row["name"]: row for row in json.loads(report.read_text())["hosts"]}
    assert set(rows) == {f"{name}, profile {profile}" for name in NODES for profile in "AB"}
    labels = json.loads(builds.kubectl("get", "namespace", builds.namespace, "--output=json"))["metadata"]["labels"]
    for name in NODES:
        assert (rows[f"{name}, profile A"]["state"], rows[f"{name}, profile A"]["findings"]) == ("ready", [])
        b = rows[f"{name}, profile B"]
        if labels.get("rootless.buildah/allow-profile-b") == "true":
            assert (b["state"], b["findings"]) == ("ready", [])
        else:
            assert [one["id"] for one in b["findings"]] == ["pod_policy"]
            assert "rootless.buildah/allow-profile-b" in b["findings"][0]["evidence"]
    until(lambda: not any(name.startswith("doctor-") for kind in ("jobs", "pods") for name in builds.names(kind)),
          PATIENCE, otherwise="the doctor left something")  # fmt: skip

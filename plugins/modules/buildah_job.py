#!/usr/bin/python

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build an image as a Kubernetes Job without privilege; do nothing when nothing changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: buildah_job
short_description: Build container images without root in a Kubernetes cluster and push them
version_added: 0.1.0
author: rootless.buildah contributors (@rootless-buildah)
description:
  - Builds an image as M(rootless.buildah.buildah_build) does, with the same build key and the same build record, but in
    an unprivileged pod of a Kubernetes cluster.
  - It runs where the build context and the kubeconfig file are, usually with C(delegate_to=localhost), and needs skopeo
    there. Nothing runs in the cluster when the registry already holds the wanted key.
  - The build context goes to a registry as an image of its own, named after its content, and reaches the pod as a
    read-only volume. Fetching bases, building and pushing are containers of their own. Only the first and the last
    have a login.
  - The role P(rootless.buildah.cluster_node#role) prepares nodes, P(rootless.buildah.cluster_builder#role) namespaces.
requirements:
  - kubernetes >= 24.2.0
extends_documentation_fragment:
  - rootless.buildah.build
options:
  kubeconfig:
    description:
      - Path of a kubeconfig file. Without, that of the variable E(K8S_AUTH_KUBECONFIG) or E(KUBECONFIG), or
        C(~/.kube/config); in a pod its own service account.
    type: path
  context:
    description:
      - Context of the kubeconfig file. Its current one when not given.
    type: str
  namespace:
    description:
      - Namespace that the Job runs in. That of the context when not given.
    type: str
  job:
    description:
      - How the pod is made.
    type: dict
    suboptions:
      profile:
        description:
          - V(a) is root of a user namespace that the cluster makes for the pod (Kubernetes 1.33). V(b) is uid 1000,
            which makes one itself, and needs C(allowPrivilegeEscalation).
          - V(c) is uid 1000 without any right, which the Pod Security level C(restricted) admits (Kubernetes 1.33). It
            has a single user id, so it takes no Containerfile with C(RUN), with C(--chown) to anybody but root, or with
            C(COPY --from) without C(--chown=0:0). What it builds is what the others build.
          - V(auto) takes V(a) where the API server and a node can do it, and never V(c).
        type: str
        choices: [auto, a, b, c]
        default: auto
      image:
        description:
          - The builder image, by digest. That of the namespace (role cluster_builder) when not given.
        type: str
      context_repository:
        description:
          - The repository for build contexts, one for each namespace. That of the namespace when not given.
          - Whoever may pull from it can read the contexts. Let the registry remove what is older than O(job.deadline).
        type: str
      context_mount:
        description:
          - V(volume) mounts the context as an image volume (Kubernetes 1.35). V(fetch) lets a container fetch it.
        type: str
        choices: [auto, volume, fetch]
        default: auto
      deadline:
        description:
          - Seconds after which the Job is ended.
        type: int
        default: 3600
      ttl:
        description:
          - Seconds that an ended Job stays for, so that a run that was killed can be taken up. It is removed at once
            when its result has been read.
        type: int
        default: 3600
      schedule_timeout:
        description:
          - Seconds without a node after which the build fails. Clusters that grow need minutes.
          - Those in which it waits for other builds of its namespace to leave room do not count.
        type: int
        default: 300
      storage:
        description:
          - How much room the build has on its node, as a quantity of Kubernetes. At its end the image is there twice.
        type: str
        default: 20Gi
      resources:
        description:
          - Requests and limits of the containers, as in a pod.
        type: dict
      cache_claim:
        description:
          - A PersistentVolumeClaim for the image store, so that bases and layers stay from one Job to the next.
          - Never let namespaces share what is behind it. A RUN step that left its root can write there what the next
            build reads.
        type: str
      node_selector:
        description:
          - Labels that the node must have, besides that of the profile.
        type: dict
      tolerations:
        description:
          - Tolerations of the pod.
        type: list
        elements: dict
      priority_class:
        description:
          - PriorityClass of the pod.
        type: str
      runtime_class:
        description:
          - RuntimeClass of the pod.
        type: str
      selinux_type:
        description:
          - SELinux type of the pod. On nodes with SELinux V(container_engine_t), which may mount and which the Pod
            Security level C(baseline) admits (Kubernetes 1.31). That of the namespace when not given.
        type: str
      annotations:
        description:
          - More annotations of the pod.
        type: dict
      labels:
        description:
          - More labels of the Job and the pod.
        type: dict
      service_account:
        description:
          - Service account of the pod, which gets no token of it.
        type: str
        default: rootless-buildah
      pull_secret:
        description:
          - Secret of the namespace with the login for pulling, used when the task has no login of its own and the
            Secret exists.
        type: str
        default: rootless-buildah-pull
      push_secret:
        description:
          - The same for pushing.
        type: str
        default: rootless-buildah-push
      allow_credentials:
        description:
          - Whether a build context may hold what looks like credentials. It stays at the registry for a while.
        type: bool
        default: false
attributes:
  check_mode:
    support: full
    description:
      - Runs the same code up to the plan and does not ask the cluster. A base image that does not exist yet is the
        reason C(base_will_change).
      - With O(force) a change is predicted, because only the build can tell that its result is identical.
  diff_mode:
    support: full
    description: Shows the parts of the build key that differ, and which files of the context do.
  idempotent:
    support: full
    description: Inputs that no key can cover are returned as RV(uncovered), with a warning.
  platform:
    support: full
    platforms: Linux
    description: The host that runs the module needs skopeo only; the nodes are prepared by this collection's roles.
notes:
  - Options that mean nothing to a pod are refused, among them O(load), O(outputs), O(artifacts), O(volumes), O(ssh) and
    native scripts. O(push) is necessary.
  - A login that the task is given travels into the cluster as a Secret that goes with the Job; the user's own logins
    are used here and never travel.
seealso:
  - module: rootless.buildah.buildah_build
"""

EXAMPLES = r"""
- name: Build in the cluster and push; nothing runs there when the registry has the image already
  rootless.buildah.buildah_job:
    name: registry.example.com/team/app:1.0
    path: "{{ playbook_dir }}/app"
    push: true
    namespace: builds
  delegate_to: localhost

- name: Build without a network, with room and a deadline
  rootless.buildah.buildah_job:
    name: registry.example.com/team/tool:1.0
    path: "{{ playbook_dir }}/tool"
    push: true
    network: none
    kubeconfig: ~/.kube/build
    namespace: builds
    job:
      storage: 40Gi
      deadline: 1800
      resources:
        limits:
          memory: 4Gi
  delegate_to: localhost

- name: Keep bases and layers on a volume
  rootless.buildah.buildah_job:
    name: registry.example.com/team/app:1.0
    path: "{{ playbook_dir }}/app"
    push: true
    namespace: builds
    job:
      cache_claim: layers
  delegate_to: localhost
"""

RETURN = r"""
built:
  description: Whether a build ran, or would run in check mode.
  returned: always
  type: bool
  sample: true
pushed:
  description: What was delivered where. C(action) is V(push), V(copy), V(record) or V(sign).
  returned: always
  type: list
  elements: dict
  sample:
    - destination: registry.example.com/team/app:1.0
      digest: sha256:0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8
      action: push
reasons:
  description:
    - Why something is built or pushed. C(reason) is the part of the build key that differs, with C(old) and C(new),
      or a word for
      the state of the destination such as V(not_at_destination), V(modified_elsewhere) or V(no_record).
    - For the context C(added), C(removed) and C(changed) list files.
  returned: always
  type: list
  elements: dict
  sample:
    - reason: context
      changed: [src/main.c]
key:
  description: The build key.
  returned: O(state=present)
  type: str
  sample: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
image_id:
  description: Id of the image in a local store; of an image that is at the registry only too, when it is a single one.
  returned: always
  type: str
  sample: 206bb9139a3b414e9770254f8774d18048f3c7c21f0950f9a53371d524187254
digest:
  description: Digest of the image at the destinations. Empty without O(push).
  returned: always
  type: str
  sample: sha256:0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8
base_images:
  description: Digest of each base image by name; C(image:ID) for one of the local store.
  returned: O(state=present)
  type: dict
  sample:
    registry.example.com/base/debian:12: sha256:c40a3e34830c704e45982d684f1f6f6dda36e8115f6a3e3ebf799e7efbcb368f
uncovered:
  description: Inputs that the build key cannot cover.
  returned: O(state=present)
  type: list
  elements: str
  sample: []
steps:
  description: The steps of the build with their seconds and whether they came from the layer cache.
  returned: always
  type: list
  elements: dict
  sample:
    - {stage: "1/2", number: 2, total: 3, instruction: RUN make, seconds: 12.5, cached: false}
log_path:
  description: File with what all steps printed, on the host that runs this module.
  returned: when something was built
  type: str
  sample: /home/builder/.local/share/rootless.buildah/logs/app-20261121T101500-4711.log
command:
  description: The calls that built.
  returned: always
  type: list
  elements: list
  sample: [[buildah, build, /srv/src/app]]
progress:
  description: What happened when, in seconds since the Job was wanted. Empty when nothing was built.
  returned: O(state=present)
  type: list
  elements: dict
  sample:
    - {seconds: 0.2, text: made the Job build-app-1-0-5f2d9c1e8a7b3c4d}
    - {seconds: 14.1, text: build on node-1}
duration:
  description: Seconds that the task took.
  returned: always
  type: float
  sample: 14.2
cause:
  description: Why it failed.
  returned: on failure
  type: str
  sample: registry.example.com does not answer
remedy:
  description: What to do about it.
  returned: on failure
  type: str
  sample: Check that the registry runs and is reachable from this host
finding:
  description: Id of the finding in the doctor's catalogue that explains the failure.
  returned: on failure, when one matches
  type: str
  sample: subid_missing
commands:
  description: What root would type on this host to cure that.
  returned: on failure, when a program is missing and its package is known
  type: list
  elements: str
  sample: [dnf install -y skopeo]
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.rootless.buildah.plugins.module_utils._engine import Outcome
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError
from ansible_collections.rootless.buildah.plugins.module_utils._failure import fail
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import validate
from ansible_collections.rootless.buildah.plugins.module_utils._kube_door import IMPORT_ERROR, Cluster
from ansible_collections.rootless.buildah.plugins.module_utils._kube_engine import KubeEngine
from ansible_collections.rootless.buildah.plugins.module_utils._kube_options import JOB_SPEC
from ansible_collections.rootless.buildah.plugins.module_utils._module import build, outcome_fields, settings
from ansible_collections.rootless.buildah.plugins.module_utils._options import (
    MUTUALLY_EXCLUSIVE,
    REQUIRED_TOGETHER,
    argument_spec,
)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the task asks and return the module's result."""
    inputs = validate(module.params)
    if inputs["state"] == "absent":
        # Registries are never touched, and there is no local image.
        return outcome_fields(Outcome(), [])
    job = {name: spec.get("default") for name, spec in JOB_SPEC.items()}
    job.update({name: value for name, value in (module.params["job"] or {}).items() if value is not None})
    kubeconfig = module.params["kubeconfig"] or os.environ.get("K8S_AUTH_KUBECONFIG")
    cluster = Cluster(
        kubeconfig, module.params["context"] or os.environ.get("K8S_AUTH_CONTEXT"), module.params["namespace"]
    )
    engine = KubeEngine(inputs, settings(module), cluster, job)
    try:
        return {**build(module, engine, inputs), "progress": engine.progress}
    finally:
        engine.close()


def main() -> None:
    """Entry point of the module."""
    places = {"kubeconfig": {"type": "path"}, "context": {"type": "str"}, "namespace": {"type": "str"}}
    module = AnsibleModule(
        argument_spec={**argument_spec(), **places, "job": {"type": "dict", "options": JOB_SPEC}},
        supports_check_mode=True,
        mutually_exclusive=MUTUALLY_EXCLUSIVE,
        required_together=REQUIRED_TOGETHER,
    )
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
    begun = time.monotonic()
    try:
        result = run(module)
    except (BuildahError, OSError) as error:
        fail(module, error, "Let it belong to the user who runs Ansible here")
    module.exit_json(duration=round(time.monotonic() - begun, 3), **result)


if __name__ == "__main__":
    main()

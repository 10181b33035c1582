#!/usr/bin/python

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build an image without root and push it; do nothing when nothing changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: buildah_build
short_description: Build container images without root and push them
version_added: 0.1.0
author: rootless.buildah contributors (@rootless-buildah)
description:
  - Builds an image with buildah from a Containerfile or a native script as an unprivileged user, and pushes it.
  - A digest over everything that determines an image, the build key, decides whether there is anything to do. With
    O(push)
    it is compared with the build record at the registry, so that an image built on one host is unchanged on all others.
  - Every build and every push comes with its reasons.
extends_documentation_fragment:
  - rootless.buildah.build
attributes:
  check_mode:
    support: full
    description:
      - Runs the same code up to the plan. A base image that does not exist yet is the reason C(base_will_change).
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
    description: Needs user namespaces; the roles of this collection provide them.
seealso:
  - module: rootless.buildah.buildah_plan
"""

EXAMPLES = r"""
- name: Build from a directory that holds a Containerfile
  rootless.buildah.buildah_build:
    name: app
    tag: "1.0"
    path: /srv/src/app

- name: Build and push; nothing happens where the registry has the image already
  rootless.buildah.buildah_build:
    name: registry.example.com/team/app:1.0
    path: /srv/src/app
    args:
      VERSION: "1.0"
    push: true

- name: Push to two registries with a login
  rootless.buildah.buildah_build:
    name: registry.example.com/team/app:1.0
    path: /srv/src/app
    args:
      VERSION: "1.0"
    push: true
    destinations:
      - registry.example.com/team/app:1.0
      - mirror.example.com/team/app:1.0
    registry_username: builder
    registry_password: "{{ vault_registry_password }}"

- name: Build from an inline Containerfile with a secret and without network
  rootless.buildah.buildah_build:
    name: tool
    path: /srv/src/tool
    containerfile_content: |
      FROM registry.example.com/base/debian:12
      COPY . /src
      RUN --mount=type=secret,id=token /src/install.sh
    secrets:
      - id: token
        value: "{{ vault_token }}"
        version: "2026-11"
    network: none

- name: Build a base image with a native script and export a file
  rootless.buildah.buildah_build:
    name: registry.example.com/base/small:1
    script: |
      container=$(buildah from scratch)
      root=$(buildah mount "$container")
      mkdir "$root/etc"
      echo "$RELEASE" > "$root/etc/release"
      tar -C "$root" -cf "$ARTIFACTS/small-$RELEASE.tar" .
      buildah commit "$container" "$IMAGE"
    args:
      RELEASE: "1"
    artifacts: /srv/artifacts
    push: true

- name: Build a native script on a base image
  rootless.buildah.buildah_build:
    name: child
    script: |
      container=$(buildah from "$BASE")
      buildah run "$container" -- touch /made
      buildah commit "$container" "$IMAGE"
    base_images:
      BASE: registry.example.com/base/debian:12

- name: Build a stage for debugging as an archive, the same bytes every time
  rootless.buildah.buildah_build:
    name: app-debug
    path: /srv/src/app
    target: debug
    timestamp: 0
    outputs:
      - type: oci-archive
        dest: /srv/artifacts/app-debug.tar

- name: Take the name from the local image
  rootless.buildah.buildah_build:
    name: app
    tag: "0.9"
    state: absent
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
  description: File with the whole output of the build on the host that built.
  returned: when something was built
  type: str
  sample: /home/builder/.local/share/rootless.buildah/logs/app-20261121T101500-4711.log
command:
  description: The calls that built.
  returned: always
  type: list
  elements: list
  sample: [[buildah, build, /srv/src/app]]
duration:
  description: Seconds that the task took on the host.
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

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils._engine import Engine
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError
from ansible_collections.rootless.buildah.plugins.module_utils._failure import OF_THE_BUILDER, fail
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import validate
from ansible_collections.rootless.buildah.plugins.module_utils._module import build, outcome_fields, settings
from ansible_collections.rootless.buildah.plugins.module_utils._options import (
    MUTUALLY_EXCLUSIVE,
    REQUIRED_TOGETHER,
    argument_spec,
)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the task asks and return the module's result."""
    inputs = validate(module.params)
    engine = Engine(inputs, settings(module))
    try:
        if inputs["state"] == "absent":
            return outcome_fields(engine.remove(inputs, module.check_mode), [])
        return build(module, engine, inputs)
    finally:
        engine.close()


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        mutually_exclusive=MUTUALLY_EXCLUSIVE,
        required_together=REQUIRED_TOGETHER,
    )
    begun = time.monotonic()
    try:
        result = run(module)
    except (BuildahError, OSError) as error:
        fail(module, error, OF_THE_BUILDER)
    module.exit_json(duration=round(time.monotonic() - begun, 3), **result)


if __name__ == "__main__":
    main()

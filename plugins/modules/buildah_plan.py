#!/usr/bin/python

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what would be built and pushed of a list of images, and why."""

from __future__ import annotations

DOCUMENTATION = r"""
module: buildah_plan
short_description: Tell what would be built and pushed, in which order, and why
version_added: 0.1.0
author: rootless.buildah contributors (@rootless-buildah)
description:
  - Takes a list of images with the options of M(rootless.buildah.buildah_build), orders them by dependency, asks the
    registries
    side by side and returns for each image what would happen. Changes nothing.
  - An image depends on another of the list when it is built from that one's name.
  - When nothing has changed, this one call is all that a list of images costs.
extends_documentation_fragment:
  - rootless.buildah.build.images
options:
  backend:
    description:
      - Where the images would be built. With V(kubernetes) no image store of this host is asked, and options that mean
        nothing to a pod are refused, as M(rootless.buildah.buildah_job) does.
    type: str
    choices: [host, kubernetes]
    default: host
attributes:
  check_mode:
    support: full
    description: The module changes nothing, in check mode or not.
  diff_mode:
    support: none
    description: Reasons are returned for every image.
  idempotent:
    support: full
    description: The module changes nothing.
  platform:
    support: full
    platforms: Linux
    description: Needs user namespaces; the roles of this collection provide them.
seealso:
  - module: rootless.buildah.buildah_build
"""

EXAMPLES = r"""
- name: What is there to do?
  rootless.buildah.buildah_plan:
    images:
      - name: registry.example.com/base/small:1
        path: /srv/src/small
        push: true
      - name: registry.example.com/team/app:1.0
        path: /srv/src/app
        push: true
  register: images

- name: Show it
  ansible.builtin.debug:
    msg: "{{ item.name }} {{ item.due | ternary('is due', 'is unchanged') }} {{ item.reasons }}"
  loop: "{{ images.images }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
images:
  description: One entry for each image, in the order of the list.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The image.
      type: str
      returned: always
      sample: registry.example.com/team/app:1.0
    index:
      description: Its place in the list, from 0.
      type: int
      returned: always
      sample: 0
    level:
      description: The number of the level it is built in, from 0.
      type: int
      returned: always
      sample: 1
    due:
      description: Whether there is anything to do.
      type: bool
      returned: always
      sample: true
    build:
      description: Whether it would be built.
      type: bool
      returned: always
      sample: true
    deliveries:
      description: Destinations that would be written.
      type: list
      elements: str
      returned: always
      sample: [registry.example.com/team/app:1.0]
    reasons:
      description: Why, as M(rootless.buildah.buildah_build) returns it.
      type: list
      elements: dict
      returned: always
      sample: [{reason: base_will_change, name: registry.example.com/base/small:1}]
    key:
      description: The build key. It is not final while a base is going to change.
      type: str
      returned: always
      sample: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    digest:
      description: Digest of the image that is at the destination now.
      type: str
      returned: always
      sample: sha256:0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8
    uncovered:
      description: Inputs that the build key cannot cover.
      type: list
      elements: str
      returned: always
      sample: []
    buildah:
      description:
        - How to call buildah by hand to find the image in the store that O(images[].storage) means. Empty where no
          image is left there, with the strategy V(isolated).
      type: list
      elements: str
      returned: always
      sample: [buildah]
levels:
  description: Places in the list of the images that are due, level by level. Those of one level may be built at once.
  returned: always
  type: list
  elements: list
  sample: [[0], [1]]
due:
  description: How many images are due.
  returned: always
  type: int
  sample: 2
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils._engine import (
    Engine,
    Outlook,
    input_warnings,
    storage_of,
)
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, InputError
from ansible_collections.rootless.buildah.plugins.module_utils._failure import OF_THE_BUILDER, fail
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs, validate
from ansible_collections.rootless.buildah.plugins.module_utils._kube_planner import KubePlanner
from ansible_collections.rootless.buildah.plugins.module_utils._module import settings
from ansible_collections.rootless.buildah.plugins.module_utils._options import (
    MUTUALLY_EXCLUSIVE,
    REQUIRED_TOGETHER,
    argument_spec,
)
from ansible_collections.rootless.buildah.plugins.module_utils._order import levels
from ansible_collections.rootless.buildah.plugins.module_utils._resolve import base_names


def look(module: AnsibleModule, images: list[BuildInputs]) -> list[tuple[int, Outlook, list[str]]]:
    """Return each image's level, its outlook and how to find it with buildah, in the order of the list."""
    names = [inputs.local_name for inputs in images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"the list names {', '.join(twice)} more than once",
            "one would overwrite the other",
            "Give each a tag of its own",
        )
    made_by = {
        str(name): inputs.local_name
        for inputs in images
        for name in (inputs.image, inputs.image.in_local_store(), *inputs.destinations)
    }
    needs = {
        inputs.local_name: frozenset(made_by[base] for base in base_names(inputs) if base in made_by)
        - {inputs.local_name}
        for inputs in images
    }
    by_name = dict(zip(names, images))
    found: dict[str, tuple[int, Outlook]] = {}
    # A circle is an error of the list, whatever the registries would say.
    order = levels(names, needs)
    planner = KubePlanner if module.params["backend"] == "kubernetes" else Engine
    engines: dict[str, Engine] = {}
    try:
        # One round of questions for everybody; those whose base turns out to be due are asked again with that
        # knowledge.
        of_store: dict[str, list[BuildInputs]] = {}
        for inputs in images:
            of_store.setdefault(json.dumps(storage_of(inputs), sort_keys=True), []).append(inputs)
        first: dict[str, Outlook] = {}
        for those in of_store.values():
            engine = planner(those[0], settings(module))
            engines.update((inputs.local_name, engine) for inputs in those)
            outlooks = engine.outlooks(those, check=True, pending={})
            first.update((outlook.inputs.local_name, outlook) for outlook in outlooks)
        for number, level in enumerate(order):
            for name in level:
                due = {base for base in needs[name] if found[base][1].plan.build}
                pending = frozenset(spelled for spelled, maker in made_by.items() if maker in due)
                outlook = engines[name].outlook(by_name[name], check=True, pending=pending) if pending else first[name]
                found[name] = (number, outlook)
    finally:
        for engine in {id(engine): engine for engine in engines.values()}.values():
            engine.close()
    return [(*found[name], engines[name].local_buildah) for name in names]


def describe(index: int, level: int, outlook: Outlook, buildah: list[str]) -> dict[str, Any]:
    """Return one image's entry of the result."""
    return {
        "name": str(outlook.inputs.image),
        "index": index,
        "level": level,
        "due": outlook.plan.changes,
        "build": outlook.plan.build,
        "deliveries": [str(delivery.destination) for delivery in outlook.plan.deliveries],
        "reasons": [reason.as_result() for reason in outlook.plan.reasons],
        "key": outlook.key,
        "digest": next((there.digest for there in outlook.destinations if there.digest), "") or "",
        "uncovered": list(outlook.resolution.uncovered),
        "buildah": buildah,
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "images": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": argument_spec(),
                "mutually_exclusive": MUTUALLY_EXCLUSIVE,
                "required_together": REQUIRED_TOGETHER,
            },
            "backend": {"type": "str", "choices": ["host", "kubernetes"], "default": "host"},
        },
        supports_check_mode=True,
    )
    try:
        images = [validate(entry) for entry in module.params["images"]]
        found = look(module, images) if images else []
    except (BuildahError, OSError) as error:
        fail(module, error, OF_THE_BUILDER)
    for _level, outlook, _buildah in found:
        for text in input_warnings(outlook):
            module.warn(text)
    entries = [describe(index, *about) for index, about in enumerate(found)]
    due = [entry for entry in entries if entry["due"]]
    module.exit_json(
        changed=False,
        images=entries,
        due=len(due),
        levels=[
            [entry["index"] for entry in due if entry["level"] == level]
            for level in sorted({entry["level"] for entry in due})
        ],
    )


if __name__ == "__main__":
    main()

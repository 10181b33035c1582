#!/usr/bin/python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_note
short_description: Note what a role found, so that it can be put back
version_added: 0.1.0
author: rootless.buildah contributors (@rootless-buildah)
description:
  - Keeps small notes on the host, below C(/var/lib/rootless-buildah), which only root reads.
  - A role notes what it found before it changes something that no file shows, for example whether an account was there.
    The first value counts; later runs find what the role itself has made.
  - A building block of the collection's roles.
options:
  role:
    description: Whose note.
    type: str
    required: true
  key:
    description:
      - What the note is about. Needed with O(state=present) and O(state=replaced).
      - Without it O(state=absent) forgets all notes of the role.
    type: str
  value:
    description: What was found. Needed with O(state=present) and O(state=replaced).
    type: raw
  state:
    description:
      - V(present) notes O(value) unless the key is noted already, V(absent) forgets it, V(read) only returns the notes.
      - V(replaced) notes O(value) in place of what is noted, in one step. Whoever is cut off leaves the old note or the
        new one.
    type: str
    choices: [present, replaced, absent, read]
    default: present
attributes:
  check_mode:
    support: full
    description: Returns what a run would return, and notes nothing.
  diff_mode:
    support: none
    description: A note is not part of what the host is; it never counts as a change.
  idempotent:
    support: full
    description: A note never counts as a change.
  platform:
    support: full
    platforms: posix
    description: Linux.
"""

EXAMPLES = r"""
- name: Note whether the account was there
  rootless.buildah.managed_note:
    role: ours
    key: account_found
    value: false

- name: Read all notes
  rootless.buildah.managed_note:
    role: ours
    state: read
"""

RETURN = r"""
notes:
  description: What is noted for the role, by key; with O(state=absent) what was noted before.
  type: dict
  returned: always
  sample: {"account_found": false}
files:
  description: The files that the role keeps with M(rootless.buildah.managed_file).
  type: list
  elements: str
  returned: always
  sample: [/etc/containers/containers.conf.d/50-ours.conf]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils._failure import OF_ROOT, fail
from ansible_collections.rootless.buildah.plugins.module_utils._way_back import FILE_KEY, NOTE_KEY, WayBack


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "required": True},
            "key": {"type": "str", "no_log": False},
            "value": {"type": "raw"},
            "state": {"type": "str", "choices": ["present", "replaced", "absent", "read"], "default": "present"},
        },
        required_if=[("state", "present", ["key", "value"]), ("state", "replaced", ["key", "value"])],
        supports_check_mode=True,
    )
    params = module.params
    way_back = WayBack(params["role"])
    try:
        notes = noted(way_back, NOTE_KEY)
        files = sorted(noted(way_back, FILE_KEY))
        if params["state"] == "present":
            notes.setdefault(params["key"], params["value"])
            if not module.check_mode:
                notes[params["key"]] = way_back.note_first(NOTE_KEY + params["key"], params["value"])
        elif params["state"] == "replaced":
            notes[params["key"]] = params["value"]
            if not module.check_mode:
                way_back.replace(NOTE_KEY + params["key"], params["value"])
        elif params["state"] == "absent" and not module.check_mode:
            for key in [params["key"]] if params["key"] else notes:
                way_back.forget(NOTE_KEY + key)
    except OSError as error:
        fail(module, error, OF_ROOT)
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, notes=notes, files=files)


def noted(way_back: WayBack, prefix: str) -> dict[str, Any]:
    """Return the notes of one kind, without what all their keys begin with."""
    return {key[len(prefix):]: value for key, value in way_back.read().items() if key.startswith(prefix)}


if __name__ == "__main__":
    main()

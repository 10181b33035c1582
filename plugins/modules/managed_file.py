#!/usr/bin/python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_file
short_description: Keep a configuration file that carries this collection's marker
version_added: 0.1.0
author: rootless.buildah contributors (@rootless-buildah)
description:
  - Writes a small text file whose first line says which role keeps it, and takes it away again.
  - A file that somebody else wrote at that path is never touched unless O(overwrite) is set. Then it is kept under
    C(/var/lib/rootless-buildah) and put back by O(state=absent).
  - Missing parent directories are made, and removed again when the last managed file in them goes.
  - A building block of the collection's roles; playbooks may use it for files of their own.
options:
  path:
    description: The file.
    type: path
    required: true
  role:
    description: Who keeps the file; stands in the marker line.
    type: str
    required: true
  content:
    description: The text, without the marker line. Needed with O(state=present).
    type: str
  comment:
    description:
      - What begins a comment in the file's format.
      - Empty where the format has no comments (JSON, PEM). Then there is no marker line, and the file is known again by
        the digest of what was written last.
    type: str
    default: "#"
  owner:
    description: The file's owner.
    type: str
    default: root
  group:
    description: The file's group; the owner's own group when empty.
    type: str
    default: ""
  mode:
    description: The file's mode as an octal number.
    type: str
    default: "0644"
  directory_mode:
    description: The mode of parent directories that have to be made.
    type: str
    default: "0755"
  as_owner:
    description:
      - Read and write with the rights of O(owner). Set this for files below a home, so that a link planted there by
        that account leads nowhere that it could not write itself.
    type: bool
    default: false
  overwrite:
    description: Whether a file that somebody else wrote may be replaced; it is kept and put back by O(state=absent).
    type: bool
    default: false
  secret:
    description: Whether the content is a secret, so that no diff shows it. Set C(no_log) on the task as well.
    type: bool
    default: false
  state:
    description: V(absent) removes the file, or puts back what was there before it was overwritten.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Predicts what a run would do. An owner that does not exist yet counts as one that is about to be made.
  diff_mode:
    support: full
    description: Shows the content before and after, and never that of a secret.
  idempotent:
    support: full
    description: A second run changes nothing.
  platform:
    support: full
    platforms: posix
    description: Linux.
"""

EXAMPLES = r"""
- name: Keep a drop-in of our own
  rootless.buildah.managed_file:
    path: /etc/containers/containers.conf.d/50-ours.conf
    role: ours
    content: |
      [engine]
      runtime = "crun"

- name: Take it away again
  rootless.buildah.managed_file:
    path: /etc/containers/containers.conf.d/50-ours.conf
    role: ours
    state: absent
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: always
  sample: /etc/containers/containers.conf.d/50-ours.conf
action:
  description: What was done, or would be done in check mode.
  type: str
  returned: always
  sample: write
difference:
  description: The lines in which a file of somebody else differs from the wanted one.
  type: list
  elements: str
  returned: when the file was refused
  sample: ["--- theirs", "+++ ours", "@@ -1 +1 @@", "-a = 1", "+a = 2"]
backup:
  description: Where the file of somebody else is kept.
  type: str
  returned: when a file was overwritten
  sample: /var/lib/rootless-buildah/ours.backups/etc-containers-containers.conf.d-50-ours.conf
"""

from dataclasses import fields

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError
from ansible_collections.rootless.buildah.plugins.module_utils._file_keeper import FileKeeper, FileOptions


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "role": {"type": "str", "required": True},
            "content": {"type": "str"},
            "comment": {"type": "str", "default": "#"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": ""},
            "mode": {"type": "str", "default": "0644"},
            "directory_mode": {"type": "str", "default": "0755"},
            "as_owner": {"type": "bool", "default": False},
            "overwrite": {"type": "bool", "default": False},
            "secret": {"type": "bool", "default": False, "no_log": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["content"])],
        supports_check_mode=True,
    )
    params = module.params
    options = FileOptions(**{item.name: params[item.name] for item in fields(FileOptions)})
    keeper = FileKeeper(options, module.check_mode)
    try:
        result = keeper.present(params["content"]) if params["state"] == "present" else keeper.absent()
    except BuildahError as error:
        module.fail_json(msg=str(error), **error.as_result())
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{params['path']}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()

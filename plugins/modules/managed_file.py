#!/usr/bin/python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_file
short_description: Keep configuration files that carry this collection's marker
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
    description: The file. Either this or O(files).
    type: path
  files:
    description:
      - Several files in one call. What an entry does not say it takes from the task's own options.
      - When one of them belongs to somebody else, none is touched.
    type: list
    elements: dict
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      content:
        description: As O(content).
        type: str
      comment:
        description: As O(comment).
        type: str
      mode:
        description: As O(mode).
        type: str
      directory_mode:
        description: As O(directory_mode).
        type: str
      state:
        description: As O(state).
        type: str
        choices: [present, absent]
  others:
    description:
      - What becomes of files that the role keeps for O(owner) and that O(files) does not name. V(absent) takes them
        away as O(state=absent) would.
    type: str
    choices: [keep, absent]
    default: keep
  others_except:
    description: Files that V(absent) of O(others) does not mean.
    type: list
    elements: path
    default: []
  role:
    description: Who keeps the file; stands in the marker line.
    type: str
    required: true
  content:
    description: The text, without the marker line. Needed with O(state=present).
    type: str
  secret_content:
    description:
      - O(content) of a file that is nobody else's to see. Neither result nor diff nor log shows it, or what was there
        before. So the task needs no C(no_log), which would hide why it failed as well.
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

- name: Keep two files and no others for this user
  rootless.buildah.managed_file:
    role: ours
    owner: builder
    as_owner: true
    others: absent
    files:
      - path: /home/builder/.config/containers/storage.conf
        content: |
          [storage]
          driver = "overlay"
      - path: /home/builder/.config/containers/containers.conf.d/50-ours.conf
        state: absent
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: with O(path)
  sample: /etc/containers/containers.conf.d/50-ours.conf
action:
  description: What was done, or would be done in check mode.
  type: str
  returned: with O(path)
  sample: write
files:
  description: With O(files), what RV(path), RV(action) and RV(backup) tell of each file that is named or taken away.
  type: list
  elements: dict
  returned: with O(files)
  sample: [{path: /etc/containers/containers.conf.d/50-ours.conf, action: write, changed: true}]
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

from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, InputError
from ansible_collections.rootless.buildah.plugins.module_utils._failure import OF_ROOT, OF_THE_BUILDER, fail
from ansible_collections.rootless.buildah.plugins.module_utils._file_keeper import (
    FileOptions,
    keep_files,
    other_files,
)

#: What an entry of ``files`` may say for itself.
OF_EACH = ("comment", "mode", "directory_mode")
OF_ALL = ("role", "owner", "group", "as_owner", "overwrite")


def wishes(params: dict[str, Any]) -> list[tuple[FileOptions, str | None]]:
    """Return each file with its options and its content, None for one that shall go."""
    common = FileOptions(
        path="", secret=params["secret_content"] is not None, **{name: params[name] for name in (*OF_EACH, *OF_ALL)})
    shared = params["secret_content"] if common.secret else params["content"]
    found = []
    for entry in [params] if params["files"] is None else params["files"]:
        own = {name: entry[name] for name in ("path", *OF_EACH) if entry[name] is not None}
        state = entry["state"] or params["state"]
        content = entry["content"] if entry["content"] is not None else shared
        if state == "present" and content is None:
            raise InputError(f"{entry['path']} shall be present and has no content", "", "Give its content")
        found.append((replace(common, **own), content if state == "present" else None))
    if params["others"] == "absent":
        named = {options.path for options, _content in found} | set(params["others_except"])
        gone = other_files(params["role"], params["owner"], named)
        found += [(replace(common, path=path), None) for path in gone]
    return found


def result(params: dict[str, Any], done: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the module tells of what was done."""
    if params["files"] is None:
        return done[0]
    return {
        "changed": any(one["changed"] for one in done),
        "files": [{name: value for name, value in one.items() if name != "diff"} for one in done],
        "diff": [one["diff"] for one in done if one["changed"]],
    }


def main() -> None:
    state = {"type": "str", "choices": ["present", "absent"]}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "files": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str"},
                    "comment": {"type": "str"},
                    "mode": {"type": "str"},
                    "directory_mode": {"type": "str"},
                    "state": state,
                },
            },
            "others": {"type": "str", "choices": ["keep", "absent"], "default": "keep"},
            "others_except": {"type": "list", "elements": "path", "default": []},
            "role": {"type": "str", "required": True},
            "content": {"type": "str"},
            "secret_content": {"type": "str", "no_log": True},
            "comment": {"type": "str", "default": "#"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": ""},
            "mode": {"type": "str", "default": "0644"},
            "directory_mode": {"type": "str", "default": "0755"},
            "as_owner": {"type": "bool", "default": False},
            "overwrite": {"type": "bool", "default": False},
            "state": {**state, "default": "present"},
        },
        required_one_of=[("path", "files")],
        mutually_exclusive=[("path", "files"), ("content", "secret_content"), ("files", "secret_content")],
        required_if=[("others", "absent", ["files"])],
        supports_check_mode=True,
    )
    params = module.params
    try:
        done = keep_files(wishes(params), module.check_mode)
    except (BuildahError, OSError) as error:
        fail(module, error, OF_THE_BUILDER if params["as_owner"] else OF_ROOT)
    except ValueError as error:
        named = params["path"] or "one of the files"
        module.fail_json(msg=f"{named}: {error}")
    module.exit_json(**result(params, done))


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_packages
short_description: Install the packages that are missing, and remember which came
version_added: 0.1.0
author: rootless.buildah contributors (@rootless-buildah)
description:
  - Asks the package database first. Only when something is missing is the package manager called, once for all, and are
    its lists refreshed.
  - Remembers on the host which packages came, dependencies included, so that O(state=absent) can remove exactly those.
    One that others need by now stays, is warned of and stays remembered.
  - When a run is cut off while packages come, the next one finds out which they are. What others installed meanwhile is
    not among them, unless O(names) asked for it or what it asked for needs it. What was only recommended is not
    remembered then.
  - Uses M(ansible.builtin.apt), or the program C(dnf), whatever Python Ansible runs under. Needs the fact
    C(os_family).
  - A building block of the collection's roles.
options:
  names:
    description:
      - The packages. With O(state=absent) they are not needed.
      - An empty list asks for nothing, which every distribution has.
    type: list
    elements: str
    default: []
  role:
    description: Who installs them.
    type: str
    required: true
  install_recommends:
    description: Whether packages come with what they only recommend.
    type: bool
    default: false
  start_services:
    description:
      - Whether services may start while they are installed. Where V(false), nothing runs before it is configured, not
        even for a moment.
      - Has an effect on the Debian family only; elsewhere packages do not start services.
    type: bool
    default: false
  state:
    description:
      - V(absent) purges what an earlier run installed for this role, and nothing else. What cannot go without a package
        that somebody else installed stays; see RV(kept).
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Says which packages would come or go. It does not ask a package source whether it has them.
  diff_mode:
    support: full
    description: Lists the packages.
  idempotent:
    support: full
    description: A second run changes nothing.
  platform:
    support: full
    platforms: posix
    description: Debian and RHEL families. On others it only accepts that there is nothing to install or to remove.
seealso:
  - module: ansible.builtin.package
"""

EXAMPLES = r"""
- name: Install what is missing
  rootless.buildah.managed_packages:
    role: ours
    names: [buildah, skopeo]

- name: Remove what that brought
  rootless.buildah.managed_packages:
    role: ours
    state: absent
"""

RETURN = r"""
packages:
  description: The packages that were missing, or with O(state=absent) that are removed.
  type: list
  elements: str
  returned: always
  sample: [skopeo]
kept:
  description: The packages that O(state=absent) leaves alone although they came for this role, for others need them.
  type: list
  elements: str
  returned: always
  sample: [crun]
"""

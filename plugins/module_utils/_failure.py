# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module of this collection ends when something failed: with cause and remedy, the catalogue's where it has them.

Touches of the module: ``fail_json``.
"""

from __future__ import annotations

import errno
import os
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, CommandError

OF_THE_BUILDER = (
    "Let it and the directories above it belong to the builder user; what was once called through sudo with the "
    "user's HOME belongs to root (chown, role builder)"
)
OF_ROOT = "Run this as root (become: true)"


def fail(module: AnsibleModule, error: BuildahError | OSError, remedy: str, **fields: Any) -> NoReturn:
    """End the module with an error. Where a program's own words tell a known cause, it is that of the catalogue.

    :param error: what failed. One of the system's is of a file that the module keeps: what it is given is checked
        before.
    :param remedy: of one of the system's, where the rights to that file are missing.
    :param fields: what the result tells besides.
    """
    # Imported by a module that fails only: modules are compiled on the host, for every task anew.
    from ansible_collections.rootless.buildah.plugins.module_utils._findings import finding_for
    from ansible_collections.rootless.buildah.plugins.module_utils._host_facts import pod_profile

    if isinstance(error, OSError):
        error = _of_the_system(error, remedy)
    found = finding_for(error.stderr) if isinstance(error, CommandError) and not error.finding else None
    if found:
        pod = bool(pod_profile(os.environ, os.getuid()))
        error.cause, error.remedy, error.finding = found.cause, found.remedy_in(pod), found.id
    module.fail_json(msg=str(error), **{**fields, **error.as_result()})


def _of_the_system(error: OSError, remedy: str) -> BuildahError:
    from ansible_collections.rootless.buildah.plugins.module_utils._findings import known

    path = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BuildahError(f"cannot write {path}", **{**known("disk_full"), "cause": "the disk that holds it is full"})
    cause = os.strerror(error.errno) if error.errno else str(error)
    return BuildahError(f"cannot use {path}", cause, remedy if error.errno in (errno.EACCES, errno.EPERM) else "")

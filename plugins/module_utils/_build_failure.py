# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build that failed, as the error that its user meets. Pure: a host and a Kubernetes Job fail with the same words."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._errors import CommandError
from ansible_collections.rootless.buildah.plugins.module_utils._findings import finding_for
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs
from ansible_collections.rootless.buildah.plugins.module_utils._steps import failing_step, last_lines


def build_failure(
    inputs: BuildInputs, argv: Sequence[str], rc: int, lines: Sequence[str], log_path: str, pod: bool
) -> CommandError:
    """Return the error of a build: the step that failed, why, and the last lines.

    :param argv: the call.
    :param rc: its exit status; negative for a signal.
    :param lines: what it printed.
    :param log_path: where all of that can be read.
    :param pod: whether it ran in one.
    """
    found = finding_for("\n".join(lines))
    step = None if inputs.is_script else failing_step(lines)
    what = "the native script" if inputs.is_script else f"the step {step}" if step else "the build"
    how = f"was ended by signal {-rc}" if rc < 0 else f"ended with exit status {rc}"
    last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
    return CommandError(
        f"{what} of {inputs.image} {how}",
        argv,
        rc,
        "",
        "\n".join(last_lines(lines)),
        cause=found.cause if found else last,
        remedy=found.remedy_in(pod) if found else f"Read the log: {log_path}",
        finding=found.id if found else "",
    )

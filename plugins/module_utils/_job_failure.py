# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Job that failed, as the error that its user meets. Pure."""

from __future__ import annotations

import re
from typing import Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._build_failure import build_failure
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, CommandError
from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID, finding_for
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import (
    BUILD,
    FETCH,
    PUSH,
    REFUSED,
    A,
    C,
    Work,
)
from ansible_collections.rootless.buildah.plugins.module_utils._kube_watch import Problem
from ansible_collections.rootless.buildah.plugins.module_utils._registry import Access, explained
from ansible_collections.rootless.buildah.plugins.module_utils._steps import last_lines

# A registry's refusals whose remedy is another one for a pod than for a host: it has other logins, and another network.
_PODS_OWN = ("down", "unauthorized", "denied")
# buildah says so before it does anything where newuidmap and newgidmap gain no privileges.
_SINGLE_ID = re.compile(r"level=warning .*(single mapping|new[ug]idmap)")


def job_failure(
    inputs: BuildInputs, work: Work, profile: str, problem: Problem, lines: Sequence[str], log_path: str
) -> BuildahError:
    """Return the error of a Job.

    :param lines: what the step that failed printed.
    :param log_path: where all that its steps printed can be read.
    """
    if profile == C:
        # A single id is all that it wants.
        lines = [line for line in lines if not _SINGLE_ID.search(line)]
    what = {FETCH: "the bases of {} were not fetched", PUSH: "{} was not pushed"}.get(problem.step, "{} was not built")
    message = what.format(work.image)
    if problem.finding:
        error = explained_by(problem.finding, f"{work.image} was not built", problem.words)
        error.message += "".join(f"\n  {line}" for line in last_lines(lines, 5)) if lines else ""
        return error
    if problem.status == REFUSED and profile == A:
        return explained_by("pod_host_users", f"{work.image} was not built", " ".join(last_lines(lines)))
    if problem.step == BUILD and problem.status is not None:
        return build_failure(inputs, ["buildah", *work.build], problem.status, lines, log_path, pod=True)
    last = (last_lines(lines, 1) or [problem.words])[-1]
    # Fetching needs nearly all that building does.
    found = finding_for("\n".join(lines))
    if found:
        return explained_by(found.id, message, last)
    return _refusal(work, problem, lines, message) or BuildahError(message, last, f"Read the log: {log_path}")


def explained_by(finding: str, message: str, words: str) -> BuildahError:
    """Return an error that the catalogue explains, with the cluster's own words."""
    known = BY_ID[finding]
    cause = f"{known.cause} ({words})" if words else known.cause
    return BuildahError(message, cause, known.remedy_in(pod=True), known.id)


def _refusal(work: Work, problem: Problem, lines: Sequence[str], message: str) -> Optional[BuildahError]:
    """Return the error of a step that a registry refused something; None when it failed for another reason."""
    text = "\n".join(lines)
    pushes = problem.step == PUSH
    asked = [work.image] if pushes else [work.context, *(reference for reference, _platform in work.bases)]
    names = [ImageName.parse(one) for one in asked]
    image = next((name for name in names if name.repository in text), names[0])
    login = work.push_secret if pushes else work.pull_secret
    access = Access(logins=frozenset([image.host] if login else []))
    refused = explained(CommandError("", [], problem.status or 1, "", text), image, "reach", access)
    if refused.kind == "other":
        return None
    error = explained_by("pod_registry", message, refused.cause)
    if refused.kind not in _PODS_OWN:
        error.remedy = refused.remedy
    return error

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the steps of a Job meet at registries, told with recorded messages of the tools (tests/fixtures)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import validate
from ansible_collections.rootless.buildah.plugins.module_utils._job_failure import job_failure
from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import Work
from ansible_collections.rootless.buildah.plugins.module_utils._kube_watch import Problem
from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS

FIXTURES = Path(__file__).parents[3] / "fixtures"
WORK = Work(
    image="registry.example.com/team/app:1",
    key="key",
    context=f"contexts.example.com/contexts@sha256:{'1' * 64}",
    content="c" * 64,
    mounted=True,
    bases=((f"registry.example.com/team/app@sha256:{'2' * 64}", None),),
    build=("build", "context"),
    push=(),
)
PUSHING = WORK.image + " was not pushed"
FETCHING = f"the bases of {WORK.image} were not fetched"


def failure(step: str, text: str, work: Work = WORK, profile: str = "a") -> BuildahError:
    given = {"name": work.image, "containerfile_content": "FROM scratch\n", "push": True}
    inputs = validate({**{option.name: option.spec.get("default") for option in OPTIONS}, **given})
    return job_failure(inputs, work, profile, Problem("", "it failed", step, 1), text.splitlines(), "/log")


def told(tool: str, case: str) -> str:
    return (FIXTURES / tool / "refusals" / f"{case}.txt").read_text()


@pytest.mark.parametrize("step, tool, case, message", [
    ("push", "skopeo-1.9.3", "copy-wrong-password", PUSHING),
    ("push", "skopeo-1.9.3", "copy-denied", PUSHING),
    ("push", "skopeo-1.9.3", "copy-down", PUSHING),
    ("fetch", "buildah-1.28.2", "pull-wrong-password", FETCHING),
])  # fmt: skip
def test_what_the_namespace_says_about_a_registry_is_the_remedy(step: str, tool: str, case: str, message: str) -> None:
    error = failure(step, told(tool, case))
    assert (error.finding, error.message) == ("pod_registry", message)
    assert "registry.example.com" in error.cause and "cluster_builder" in error.remedy


def test_a_login_that_is_not_accepted_is_told_from_one_that_is_missing() -> None:
    text = told("skopeo-1.9.3", "copy-wrong-password")
    assert "registry.example.com wants a login" in failure("push", text).cause
    with_login = failure("push", text, replace(WORK, push_secret="login"))
    assert "registry.example.com does not accept the login" in with_login.cause


@pytest.mark.parametrize("case, remedy", [
    ("copy-unknown-ca", "registry_ca_dir"),
    ("copy-immutable-harbor", "Push to a new tag"),
    ("copy-plain-http", "registry_validate_certs"),
])  # fmt: skip
def test_what_the_task_says_about_a_registry_is_the_remedy(case: str, remedy: str) -> None:
    error = failure("push", told("skopeo-1.9.3", case))
    assert error.finding == "pod_registry" and remedy in error.remedy


def test_what_no_registry_said_is_told_as_it_is() -> None:
    error = failure("fetch", "this is another context\n")
    assert (error.finding, error.cause, error.remedy) == ("", "this is another context", "Read the log: /log")


class TestASingleIdIsWhatProfileCHas:
    # As in each of its Jobs: what buildah prints before it does anything, in a pod that gains no privileges.
    WARNINGS = "".join(
        line for line in (FIXTURES / "buildah-1.43.2/findings/newuidmap/pod-no-new-privs.txt").open()
        if "level=warning" in line)  # fmt: skip
    MISSING = (FIXTURES / "buildah-1.43.2/build-logs/failing-copy.log").read_text()

    def test_a_build_that_fails_for_another_reason_is_told_that_reason(self) -> None:
        error = failure("build", self.WARNINGS + self.MISSING, profile="c")
        assert (error.finding, error.remedy) == ("", "Read the log: /log")
        assert "no such file or directory" in error.cause and "newuidmap" not in str(error)

    @pytest.mark.parametrize("case", ["pull-wrong-password", "pull-down"])
    def test_a_registry_that_refuses_is_told(self, case: str) -> None:
        assert failure("fetch", self.WARNINGS + told("buildah-1.28.2", case), profile="c").finding == "pod_registry"

    def test_another_finding_is_told(self) -> None:
        text = (FIXTURES / "buildah-1.28.2/findings/disk_full/small-tmpfs.txt").read_text()
        assert failure("build", self.WARNINGS + text, profile="c").finding == "disk_full"

    def test_a_step_that_names_the_program_is_still_the_one_that_failed(self) -> None:
        step = self.MISSING.replace("COPY missing", "COPY newuidmap")
        assert "COPY newuidmap" in failure("build", self.WARNINGS + step, profile="c").message

    def test_where_many_ids_are_needed_it_is_the_cause(self) -> None:
        assert failure("build", self.WARNINGS + self.MISSING, profile="b").finding == "newuidmap"

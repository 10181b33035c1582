# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users can read everything: ansible-doc shows it, the reference can be generated, links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._findings import BY_ID, Finding
from ansible_collections.rootless.buildah.tests.tools.checkout import (
    COLLECTION,
    ENVIRONMENT,
    ROOT,
    files,
    load,
    plugins,
    read,
    roles,
)

PAGES = files("*.md")
FILTERS = sorted(Path(name).stem for name in files("plugins/filter/*.yml"))
DOCUMENTED = [("module", name) for name in plugins("modules")] + [("filter", name) for name in FILTERS]


def headings(name: str) -> set[str]:
    """Return the anchors that a page's headings get: lower case, words joined by hyphens, punctuation dropped."""
    text = re.sub(r"^```.*?^```", "", read(name), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", read(page), flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"\]\(<?([^)>\s]+)>?(?: \"[^\"]*\")?\)", text)
    for link in inline + re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), link
            continue
        place, _hash, anchor = link.partition("#")
        target = (ROOT / page).parent / place if place else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in headings(str(target.resolve().relative_to(ROOT))), f"{page}: {link}"


def test_the_guide_has_a_section_for_each_finding() -> None:
    sections = re.findall(r"^## `(.+)`$", read("docs/findings.md"), re.MULTILINE)
    assert sorted(sections) == sorted(finding.id for finding in BY_ID.values())
    assert {finding.id for finding in BY_ID.values()} <= headings("docs/findings.md")
    repository = load("galaxy.yml")["repository"]
    pages = {finding.guide.partition("#")[0] for finding in BY_ID.values()}
    assert pages == {f"{repository}/blob/main/docs/findings.md"}
    assert [finding.id for finding in BY_ID.values() if finding.guide.partition("#")[2] != finding.id] == []


@pytest.mark.parametrize("finding", BY_ID.values(), ids=lambda finding: finding.id)
def test_the_role_that_a_remedy_names_exists(finding: Finding) -> None:
    named = re.findall(r"\broles? (\w+)(?: and (\w+))?", finding.remedy)
    missing = {role for pair in named for role in pair if role} - set(roles())
    assert missing == set()
    # For these a task's own options are the remedy, a command, or nothing.
    assert named or finding.id in {
        "not_unshared", "pod_host_users", "pod_image_volume", "pod_container", "pod_evicted", "pod_disrupted",
        "pod_memory", "pod_deadline", "temporary_dir", "subid_malformed", "subid_unreadable", "selinux_labels",
        "single_mapping"}  # fmt: skip


@pytest.fixture(scope="module")
def shown() -> dict[tuple[str, str], Any]:
    """What ansible-doc says of everything; asked once for each kind, a start takes it a second."""
    found: dict[tuple[str, str], Any] = {}
    for kind, names in {"module": plugins("modules"), "filter": FILTERS, "role": roles()}.items():
        argv = ["ansible-doc", "--json", "-t", kind, *(f"{COLLECTION}.{name}" for name in names)]
        answer = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        found.update({(kind, name): document for name, document in json.loads(answer.stdout).items()})
    return found


@pytest.mark.parametrize(("kind", "name"), DOCUMENTED)
def test_ansible_doc_shows_the_plugin(shown: dict[tuple[str, str], Any], kind: str, name: str) -> None:
    assert shown[kind, f"{COLLECTION}.{name}"]["doc"]


@pytest.mark.parametrize("role", roles())
def test_ansible_doc_shows_the_role(shown: dict[tuple[str, str], Any], role: str) -> None:
    assert shown["role", f"{COLLECTION}.{role}"]["entry_points"]["main"]["options"]


def test_the_reference_can_be_generated(tmp_path: Path) -> None:
    made = subprocess.run(
        ["antsibull-docs", "collection", "--use-current", "--fail-on-error", "--dest-dir", str(tmp_path), COLLECTION],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    for name in plugins("modules"):
        assert list(tmp_path.rglob(f"{name}_module.rst")), name
    for role in roles():
        assert list(tmp_path.rglob(f"{role}_role.rst")), role

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What registries' refusals mean, with recorded messages of the tools. tests/fixtures/record-refusals.py made them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import CommandError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._registry import Access, classify, explained

FIXTURES = Path(__file__).parents[3] / "fixtures"
RECORDINGS = sorted(
    path.relative_to(FIXTURES) for tool in ("skopeo-*", "buildah-*") for path in FIXTURES.glob(f"{tool}/refusals/*.txt")
)
IMAGE = ImageName.parse("registry.example.com/team/app:1")
# The kind of each recorded case, whatever the tool was doing.
KINDS = {
    "no-password": "unauthorized",
    "wrong-password": "unauthorized",
    "no-repository": "not_found",
    "no-tag": "not_found",
    "name-unknown": "not_found",
    "unknown-ca": "certificate",
    "plain-http": "plain_http",
    "denied": "denied",
    "forbidden": "denied",
    "500": "failing",
    "502": "failing",
    "503": "failing",
    "immutable-harbor": "immutable",
    "immutable-ecr": "immutable",
    "immutable-quay": "immutable",
    "immutable-artifact-registry": "immutable",
    "eof": "down",
    "no-such-host": "down",
    "down": "down",
}
# Names that say themselves what a refusal could say; registries.example may be called anything too.
MISLEADING = (
    "registry.example.com/team/immutable:1",
    "registry.example.com/certificate-manager/x509:403",
    "registry.example.com/unauthorized/denied:forbidden",
    "registry.example.com/404/not-found:500",
    "forbidden.example.com:5003/eof/eof:EOF",
)


def case(recording: Path) -> str:
    """Return the case that a recording is of; its name begins with what the tool was doing."""
    return recording.stem.partition("-")[2]


def failed(stderr: str) -> CommandError:
    return CommandError("", ["skopeo", "inspect", f"docker://{IMAGE}"], 1, "", stderr)


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_a_recorded_refusal_is_understood(recording: Path) -> None:
    assert classify((FIXTURES / recording).read_text(), IMAGE) == KINDS[case(recording)]


def test_every_case_was_recorded_with_both_tools() -> None:
    for tool in ("skopeo", "buildah"):
        assert {case(path) for path in RECORDINGS if path.parts[0].startswith(tool)} == set(KINDS), tool


@pytest.mark.parametrize("name", MISLEADING)
@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_the_name_of_the_image_does_not_mislead(recording: Path, name: str) -> None:
    image = ImageName.parse(name)
    text = (FIXTURES / recording).read_text()
    for old, new in (
        ("manifest 1 ", f"manifest {image.tag} "),
        (str(IMAGE), str(image)),
        (IMAGE.repository, image.repository),
        (f"repository {IMAGE.path}", f"repository {image.path}"),
        (IMAGE.host, image.host),
    ):
        text = text.replace(old, new)
    assert classify(text, image) == KINDS[case(recording)]


def test_a_copy_names_two_images() -> None:
    source = ImageName.parse("registry.example.com/immutable/app:1")
    message = f"initializing source docker://{source}: reading manifest 1 in {source.repository}: manifest unknown"
    assert classify(message, IMAGE, source) == "not_found"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("toomanyrequests: You have reached your pull rate limit.", "limited"),
        ('reading JSON file "/run/containers/1001/auth.json": permission denied', "other"),
        ("something nobody has seen before", "other"),
    ],
)
def test_what_was_not_recorded(message: str, kind: str) -> None:
    assert classify(message, IMAGE) == kind


@pytest.mark.parametrize("kind", sorted(set(KINDS.values())))
def test_every_kind_says_what_is_wrong_where_and_what_to_do(kind: str) -> None:
    recording = next(path for path in RECORDINGS if KINDS[case(path)] == kind)
    error = explained(failed((FIXTURES / recording).read_text()), IMAGE, "look up", Access())
    assert error.kind == kind
    assert error.message == "cannot look up registry.example.com/team/app:1"
    assert error.cause.partition(" (")[0].count("registry.example.com") == 1
    assert error.remedy.endswith(tuple("abcdefghijklmnopqrstuvwxyz"))


def test_kinds_do_not_share_their_words() -> None:
    told = set()
    for kind in set(KINDS.values()):
        recording = next(path for path in RECORDINGS if KINDS[case(path)] == kind)
        error = explained(failed((FIXTURES / recording).read_text()), IMAGE, "look up", Access())
        told.add((error.cause.partition(" (")[0], error.remedy))
    assert len(told) == len(set(KINDS.values()))


def test_a_wrong_login_is_not_a_missing_one() -> None:
    stderr = (FIXTURES / "skopeo-1.9.3/refusals/inspect-no-password.txt").read_text()
    missing = explained(failed(stderr), IMAGE, "look up", Access(logins=frozenset({"other.example.com"})))
    wrong = explained(failed(stderr), IMAGE, "look up", Access(logins=frozenset({"registry.example.com"})))
    assert missing.cause.startswith("registry.example.com wants a login")
    assert wrong.cause.startswith("registry.example.com does not accept the login")


def test_the_cause_ends_with_the_tools_own_words() -> None:
    stderr = (FIXTURES / "skopeo-1.9.3/refusals/inspect-no-tag.txt").read_text()
    error = explained(failed(stderr), IMAGE, "look up", Access())
    assert error.cause.endswith(
        "reading manifest 2 in registry.example.com/team/app: manifest unknown: manifest unknown)"
    )

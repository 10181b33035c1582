# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries that refuse, lose or change things: each case has its own words or its own reason, and none hides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.tests.integration.front import (
    Answer,
    Front,
    everything,
    immutable,
    overwriting,
)
from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry

QUICK = {"retries": 1, "retry_delay": "10ms"}
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PLATFORMS = ["linux/amd64", "linux/arm64"]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository that no other test uses."""
    return (
        "registries/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name).strip("-").lower()
    )


@pytest.fixture(scope="module")
def front(registry: Registry) -> Iterator[Front]:
    """A door to the registry at which tests refuse things."""
    door = Front(registry.port)
    yield door
    door.close()


@pytest.fixture(scope="module")
def tls(place: Path) -> Iterator[Registry]:
    """A registry whose certificate nobody knows."""
    server = Registry(place / "tls", tls=True, password=False)
    yield server
    server.stop()


def image(builder: Builder, address: str, name: str, content: str = "one", **options: Any) -> dict[str, Any]:
    """Return the options of a small image that no other test has; ``content`` is in it."""
    files = {"data": f"{name} {content}", "Containerfile": "FROM scratch\nCOPY data /\n"}
    context = builder.context(name.replace("/", "-"), files)
    return {"name": f"{address}/{name}:1", "path": str(context), "push": True, **QUICK, **options}


def local_id(builder: Builder, name: str) -> str:
    return builder.sh(f"buildah images --quiet --no-trunc {name} 2>/dev/null || true").strip()


def refused(result: dict[str, Any], *, doing: str, cause: str, remedy: str) -> None:
    """Expect an error that says what failed, why and what to do, in these words."""
    assert result["failed"] and "exception" not in result, result
    assert "Traceback" not in json.dumps(result)
    assert result["msg"].startswith(f"cannot {doing}"), result["msg"]
    assert result["cause"].startswith(cause), result["cause"]
    assert remedy in result["remedy"], result["remedy"]
    assert result["cause"] in result["msg"] and result["remedy"] in result["msg"]


def reasons(result: dict[str, Any]) -> list[str]:
    return [reason["reason"] for reason in result["reasons"]]


def index_tag(digest: str) -> str:
    """The tag of the referrers' index (OCI distribution specification 1.1, "Referrers Tag Schema")."""
    return digest.replace(":", "-")


def lose_record(registry: Registry, name: str, digest: str) -> None:
    found = registry.digest(name, index_tag(digest))
    assert found is not None
    registry.delete(name, found)


def overwrite(registry: Registry, name: str, content: bytes = b"{}") -> str:
    """Put another image under the tag 1, as somebody else with rights to the registry would; return its digest."""
    blob = "sha256:" + hashlib.sha256(content).hexdigest()
    _status, _body, headers = registry.request(f"{name}/blobs/uploads/", "POST", b"")
    location = headers["Location"].partition("/v2/")[2]
    status, body, _headers = registry.request(
        f"{location}{'&' if '?' in location else '?'}digest={blob}", "PUT", content, "application/octet-stream"
    )
    assert status == 201, body
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob, "size": len(content)},
            "layers": [],
        }
    ).encode()
    status, body, headers = registry.request(f"{name}/manifests/1", "PUT", manifest, MANIFEST)
    assert status == 201, body
    return headers["Docker-Content-Digest"]


class Surroundings:
    """The parts from which a situation takes its registry."""

    def __init__(self, registry: Registry, front: Front, tls: Registry) -> None:
        self.registry = registry
        self.front = front
        self.tls = tls


# How to meet each refusal: the registry's address and options of the task; then the words of the error.
SITUATIONS: dict[str, tuple[Callable[[Surroundings], tuple[str, dict[str, Any]]], str, str]] = {
    "down": (
        lambda _here: ("127.0.0.1:9", {"registry_validate_certs": False}),
        "does not answer",
        "runs and is reachable",
    ),
    "no host": (lambda _here: ("registry.invalid", {}), "does not answer", "runs and is reachable"),
    "no password": (
        lambda here: (here.registry.address, {"registry_validate_certs": False}),
        "wants a login",
        "registry_username and registry_password",
    ),
    "wrong password": (
        lambda here: (here.registry.address, {**here.registry.login, "registry_password": "wrong"}),
        "does not accept the login",
        "Check registry_username and registry_password",
    ),
    "unknown CA": (lambda here: (here.tls.address, {}), "is not trusted", "registry_ca_dir"),
    "plain HTTP": (
        lambda here: (here.registry.address, {**here.registry.login, "registry_validate_certs": True}),
        "speaks plain HTTP where TLS is wanted",
        "registry_validate_certs: false",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_look_up_that_fails_says_why_and_nothing_is_built(
    builder: Builder, registry: Registry, front: Front, tls: Registry, name: str, situation: str
) -> None:
    make, cause, remedy = SITUATIONS[situation]
    address, options = make(Surroundings(registry, front, tls))
    wanted = image(builder, address, name, **options)
    certificate = "the certificate of " if situation == "unknown CA" else ""
    for check in (True, False):
        result = builder.module("buildah_build", check=check, **wanted)
        refused(result, doing="look up", cause=f"{certificate}{address} {cause}", remedy=remedy)
    assert local_id(builder, wanted["name"]) == ""


@pytest.mark.parametrize(
    ("answer", "cause", "remedy"),
    [
        (
            Answer.error(403, "DENIED", "requested access to the resource is denied"),
            "refuses this user",
            "the right to",
        ),
        (Answer(503, b"Service Unavailable", "text/plain"), "answers that it is out of order", "try again later"),
        (Answer.error(500, "UNKNOWN", "unknown error"), "answers that it is out of order", "registry's log"),
        (
            Answer(200, b"<html>Please log in to the guest network</html>", "text/html"),
            "answers with no manifest",
            "address",
        ),
    ],
    ids=["403", "503", "500", "a page"],
)
def test_a_registry_that_refuses_everything_says_why(
    builder: Builder, registry: Registry, front: Front, name: str, answer: Answer, cause: str, remedy: str
) -> None:
    wanted = image(builder, front.address, name, **registry.login)
    with front.refusing(lambda _method, path: answer if "/manifests/" in path else None):
        result = builder.module("buildah_build", **wanted)
    refused(result, doing="look up", cause=f"{front.address} {cause}", remedy=remedy)
    assert local_id(builder, wanted["name"]) == ""


def test_a_registry_that_is_out_of_order_for_a_moment_costs_a_repetition(
    builder: Builder, registry: Registry, front: Front, name: str
) -> None:
    left = [Answer(503, b"", "text/plain"), Answer(502, b"", "text/plain")]
    wanted = image(builder, front.address, name, **{**registry.login, "retries": 3})
    with front.refusing(lambda _method, _path: left.pop() if left else None):
        assert builder.build(**wanted)["changed"]
    assert not left and registry.digest(name, "1")


def test_the_ca_directory_makes_it_right(builder: Builder, tls: Registry, name: str) -> None:
    wanted = image(builder, tls.address, name, registry_ca_dir=str(tls.ca))
    assert [builder.build(**wanted)["changed"] for _run in range(2)] == [True, False]


@pytest.mark.parametrize("absent", ["base/nowhere:1", "base/busybox:nowhere"], ids=["repository", "tag"])
def test_a_base_that_is_nowhere_is_named(
    builder: Builder, registry: Registry, base: str, name: str, absent: str
) -> None:
    wanted = image(builder, registry.address, name, **registry.login)
    missing = f"{registry.address}/{absent}"
    builder.write(f"{Path(wanted['path']).name}/Containerfile", f"FROM {missing}\nCOPY data /\n")
    result = builder.module("buildah_build", **wanted)
    assert result["failed"] and "Traceback" not in json.dumps(result)
    assert result["msg"] == (
        f"the base image {missing} does not exist. Cause: {registry.address} has no such image. "
        "Remedy: Check the name, or build or push the base first."
    )
    predicted = builder.module("buildah_build", check=True, **wanted)
    assert predicted["changed"] and {"reason": "base_will_change", "name": missing} in predicted["reasons"]


def test_a_base_behind_a_refusal_is_named(builder: Builder, registry: Registry, front: Front, name: str) -> None:
    wanted = image(builder, registry.address, name, **registry.login)
    base = f"{front.address}/base/busybox:1"
    builder.write(f"{Path(wanted['path']).name}/Containerfile", f"FROM {base}\nCOPY data /\n")
    with front.refusing(everything(Answer(503, b"", "text/plain"))):
        for check in (True, False):
            result = builder.module("buildah_build", check=check, **wanted)
            refused(result, doing=f"look up {base}", cause=f"{front.address} answers", remedy="try again later")


def test_a_free_destination_is_no_error(builder: Builder, registry: Registry, name: str) -> None:
    result = builder.build(**image(builder, registry.address, name, **registry.login))
    assert result["reasons"] == [{"reason": "not_at_destination", "destination": f"{registry.address}/{name}:1"}]
    another = builder.build(
        **{**image(builder, registry.address, name, **registry.login), "destinations": [f"{registry.address}/{name}:2"]}
    )
    assert another["reasons"] == [{"reason": "not_at_destination", "destination": f"{registry.address}/{name}:2"}]
    assert not another["built"]


def test_a_push_that_is_refused_keeps_the_build_for_the_next_run(
    builder: Builder, registry: Registry, front: Front, name: str
) -> None:
    wanted = image(builder, front.address, name, **registry.login)
    no_writing = Answer.error(403, "DENIED", "requested access to the resource is denied")
    with front.refusing(lambda method, _path: no_writing if method in ("POST", "PUT", "PATCH") else None):
        result = builder.module("buildah_build", **wanted)
        refused(
            result, doing="push to", cause=f"{front.address} refuses this user", remedy="the right to the repository"
        )
    assert registry.tags(name) == []
    repeated = builder.build(**wanted)
    assert (repeated["built"], repeated["pushed"][0]["action"]) == (False, "push")
    assert registry.digest(name, "1") == repeated["digest"]


@pytest.mark.parametrize("kind", ["harbor", "ecr", "quay", "artifact-registry"])
def test_an_immutable_tag_is_never_written_twice(
    builder: Builder, registry: Registry, front: Front, name: str, kind: str
) -> None:
    wanted = image(builder, front.address, name, **registry.login)
    first = builder.build(**wanted)
    with front.refusing(overwriting(immutable(kind, name, "1"), name, "1")):
        assert not builder.build(**wanted)["changed"]
        changed = image(builder, front.address, name, "two", **registry.login)
        result = builder.module("buildah_build", **changed)
        refused(
            result,
            doing=f"push to {wanted['name']}",
            cause=f"{front.address} does not let anybody overwrite this tag",
            remedy="Push to a new tag",
        )
        assert registry.digest(name, "1") == first["digest"]
        moved = builder.build(**{**changed, "destinations": [f"{front.address}/{name}:2"]})
    assert not moved["built"] and registry.digest(name, "2") == moved["digest"] != first["digest"]


def test_a_tag_that_somebody_else_moved_is_put_back_without_a_build(
    builder: Builder, registry: Registry, name: str
) -> None:
    wanted = image(builder, registry.address, name, **registry.login)
    ours = builder.build(**wanted)["digest"]
    theirs = overwrite(registry, name)
    assert registry.digest(name, "1") == theirs
    predicted, result = builder.module("buildah_build", check=True, **wanted), builder.build(**wanted)
    assert (
        predicted["reasons"]
        == result["reasons"]
        == [{"reason": "modified_elsewhere", "destination": wanted["name"], "old": ours, "new": theirs}]
    )
    assert (predicted["changed"], result["changed"], result["built"]) == (True, True, False)
    assert registry.digest(name, "1") == result["digest"] == ours
    assert not builder.build(**wanted)["changed"]


def test_an_image_without_record_is_the_reason(builder: Builder, registry: Registry, name: str) -> None:
    overwrite(registry, name)
    theirs = registry.digest(name, "1")
    wanted = image(builder, registry.address, name, **registry.login)
    result = builder.build(**wanted)
    assert result["reasons"] == [{"reason": "no_record", "destination": wanted["name"], "old": theirs}]
    assert result["built"] and registry.digest(name, "1") == result["digest"] != theirs


def test_a_lost_record_is_written_again_where_the_image_is_known(
    builder: Builder, registry: Registry, front: Front, name: str
) -> None:
    wanted = image(builder, front.address, name, **registry.login)
    first = builder.build(**wanted)
    lose_record(registry, name, first["digest"])
    front.seen.clear()
    predicted, result = builder.module("buildah_build", check=True, **wanted), builder.build(**wanted)
    assert predicted["reasons"] == result["reasons"]
    assert reasons(result) == ["no_record"]
    assert (predicted["changed"], result["changed"], result["built"]) == (True, True, False)
    assert result["pushed"] == [{"destination": wanted["name"], "digest": first["digest"], "action": "record"}]
    assert front.count("PUT", rf"{name}/manifests/1$") == 0, "the image itself was written"
    assert not builder.build(**wanted)["changed"]


def test_a_lost_record_costs_a_rebuild_at_worst(
    builder: Builder, second_builder: Builder, registry: Registry, name: str
) -> None:
    first = builder.build(**image(builder, registry.address, name, **registry.login))
    lose_record(registry, name, first["digest"])
    elsewhere = image(second_builder, registry.address, name, **registry.login)
    result = second_builder.build(**elsewhere)
    assert (reasons(result), result["built"]) == (["no_record"], True)
    assert not second_builder.build(**elsewhere)["changed"]
    assert not builder.build(**image(builder, registry.address, name, **registry.login))["changed"]


def test_a_record_that_nobody_can_read_is_worth_none(builder: Builder, registry: Registry, name: str) -> None:
    wanted = image(builder, registry.address, name, **registry.login)
    first = builder.build(**wanted)
    record = registry.manifest(name, index_tag(first["digest"]))["manifests"][0]["digest"]
    registry.delete(name, record)
    changed = image(builder, registry.address, name, "two", **registry.login)
    result = builder.build(**changed)
    assert result["built"] and registry.digest(name, "1") == result["digest"] != first["digest"]


def test_an_index_that_lost_a_platform_is_completed(builder: Builder, registry: Registry, name: str) -> None:
    wanted = image(builder, registry.address, name, platform=PLATFORMS, **registry.login)
    first = builder.build(**wanted)
    assert not builder.build(**wanted)["changed"]
    arm = next(
        entry["digest"]
        for entry in registry.manifest(name, "1")["manifests"]
        if entry["platform"]["architecture"] == "arm64"
    )
    registry.delete(name, arm)
    predicted, result = builder.module("buildah_build", check=True, **wanted), builder.build(**wanted)
    assert (
        predicted["reasons"]
        == result["reasons"]
        == [{"reason": "incomplete", "destination": wanted["name"], "old": ["linux/arm64"]}]
    )
    listed = registry.manifest(name, "1")["manifests"]
    assert [entry["platform"]["architecture"] for entry in listed] == ["amd64", "arm64"]
    assert all(registry.digest(name, entry["digest"]) for entry in listed)
    assert predicted["changed"] and result["changed"] and first["digest"]
    assert not builder.build(**wanted)["changed"]


def test_an_index_that_lost_a_platform_is_completed_by_another_builder(
    builder: Builder, second_builder: Builder, registry: Registry, name: str
) -> None:
    builder.build(**image(builder, registry.address, name, platform=PLATFORMS, **registry.login))
    registry.delete(name, registry.manifest(name, "1")["manifests"][0]["digest"])
    elsewhere = image(second_builder, registry.address, name, platform=PLATFORMS, **registry.login)
    result = second_builder.build(**elsewhere)
    assert (reasons(result), result["built"]) == (["incomplete"], True)
    assert all(registry.digest(name, entry["digest"]) for entry in registry.manifest(name, "1")["manifests"])
    assert not second_builder.build(**elsewhere)["changed"]


@pytest.mark.parametrize("option", ["name", "destinations"])
def test_a_digest_is_no_destination(builder: Builder, registry: Registry, name: str, option: str) -> None:
    digest = f"{registry.address}/{name}@sha256:{64 * '0'}"
    wanted = {**image(builder, registry.address, name), option: digest if option == "name" else [digest]}
    result = builder.module("buildah_build", **wanted)
    assert result["failed"] and "holds a digest" in result["msg"] and "Remedy: Name a tag" in result["msg"]


def test_two_destinations_get_one_push_and_a_copy(
    builder: Builder, registry: Registry, front: Front, name: str
) -> None:
    destinations = [f"{front.address}/{name}/{place}:1" for place in ("a", "b")]
    wanted = image(builder, front.address, name, destinations=destinations, **registry.login)
    front.seen.clear()
    result = builder.build(**wanted)
    assert [(one["destination"], one["action"]) for one in result["pushed"]] == [
        (destinations[0], "push"),
        (destinations[1], "copy"),
    ]
    assert registry.digest(f"{name}/a", "1") == registry.digest(f"{name}/b", "1") == result["digest"]
    for place in ("a", "b"):
        assert registry.digest(f"{name}/{place}", index_tag(result["digest"])), "no record came along"
    assert not builder.build(**wanted)["changed"]


def test_a_destination_that_lacks_the_image_gets_a_copy_and_no_build(
    builder: Builder, second_builder: Builder, registry: Registry, name: str
) -> None:
    destinations = [f"{registry.address}/{name}/{place}:1" for place in ("a", "b")]
    options = {**registry.login, "destinations": destinations[:1], "platform": PLATFORMS}
    digest = builder.build(**image(builder, registry.address, name, **options))["digest"]
    before = second_builder.sh("buildah images --quiet")
    elsewhere = image(second_builder, registry.address, name, **{**options, "destinations": destinations})
    result = second_builder.build(**elsewhere)
    assert result["reasons"] == [{"reason": "not_at_destination", "destination": destinations[1]}]
    assert (result["built"], result["pushed"]) == (
        False,
        [{"destination": destinations[1], "digest": digest, "action": "copy"}],
    )
    assert registry.digest(f"{name}/b", "1") == digest
    assert second_builder.sh("buildah images --quiet") == before, "an image came into the local store"
    assert not second_builder.build(**elsewhere)["changed"]


def test_copies_go_between_registries_too(builder: Builder, registry: Registry, tls: Registry, name: str) -> None:
    """Two registries, one with TLS and one with a password: one set of options must reach both."""
    both = [f"{registry.address}/{name}:1", f"{tls.address}/{name}:1"]
    wanted = image(builder, registry.address, name, destinations=both, **registry.login)
    result = builder.build(**wanted)
    assert [one["action"] for one in result["pushed"]] == ["push", "copy"]
    assert len({one["digest"] for one in result["pushed"]}) == 1
    assert not builder.build(**wanted)["changed"]


SPDX = {"artifactType": "application/spdx+json", "annotations": {"org.opencontainers.image.created": "2026-11-21"}}
PLAIN = {"annotations": {"org.opencontainers.image.created": "2026-11-21T10:15:00Z"}}


@pytest.mark.parametrize("extra", [PLAIN, SPDX], ids=["plain", "with artifactType"])
def test_what_other_tools_say_about_an_image_survives(
    builder: Builder, second_builder: Builder, registry: Registry, name: str, extra: dict[str, Any]
) -> None:
    """skopeo 1.9 would drop an artifactType from the list: then the list is left alone, and ours is found elsewhere."""
    wanted = image(builder, registry.address, name, **registry.login)
    digest = builder.build(**wanted)["digest"]
    tag = index_tag(digest)
    theirs = {"mediaType": MANIFEST, "digest": registry.digest(name, "1"), "size": 4711, **extra}
    # As another tool leaves the list that overwrites it without ours.
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [theirs]}).encode()
    assert registry.request(f"{name}/manifests/{tag}", "PUT", index, INDEX)[0] == 201
    assert builder.build(**wanted)["pushed"][0]["action"] == "record"
    assert theirs in registry.manifest(name, tag)["manifests"]
    assert not builder.build(**wanted)["changed"]
    assert not second_builder.build(**image(second_builder, registry.address, name, **registry.login))["changed"]


def test_a_record_of_another_image_proves_nothing(
    builder: Builder, second_builder: Builder, registry: Registry, name: str
) -> None:
    """Whoever lists the record of an old image under a new one gets no more than a build."""
    first = builder.build(**image(builder, registry.address, name, **registry.login))
    old = registry.manifest(name, index_tag(first["digest"]))["manifests"][0]
    theirs = overwrite(registry, name)
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [old]}).encode()
    assert registry.request(f"{name}/manifests/{index_tag(theirs)}", "PUT", index, INDEX)[0] == 201
    result = second_builder.build(**image(second_builder, registry.address, name, "two", **registry.login))
    assert reasons(result) == ["no_record"], "told of a difference to an image that is not there"
    assert result["built"] and registry.digest(name, "1") == result["digest"]


@pytest.mark.parametrize("where", ["main file", "drop-in"])
def test_mirrors_are_for_bases_and_not_for_destinations(
    builder: Builder, registry: Registry, base: str, name: str, where: str
) -> None:
    """The mirror serves what it has under the destination's name; nobody asks it."""
    mirror, seen = Front(registry.port), Front(registry.port)
    conf = (
        f'[[registry]]\nlocation = "{seen.address}"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{mirror.address}"\ninsecure = true\n'
    )
    drop_in = ".config/containers/registries.conf.d/mirrors.conf"
    main = builder.write("mirrors/registries.conf", conf if where == "main file" else "")
    if where == "drop-in":
        builder.write(drop_in, conf)
    try:
        env = {"CONTAINERS_REGISTRIES_CONF": str(main)}
        auth = {"auths": {address: json.loads(_auth(registry)) for address in (mirror.address, seen.address)}}
        login = {"registry_auth_file": str(builder.write("mirrors/auth.json", json.dumps(auth), 0o600))}
        wanted = image(builder, seen.address, name, **login)
        builder.write(
            f"{Path(wanted['path']).name}/Containerfile", f"FROM {seen.address}/base/busybox:1\nCOPY data /\n"
        )
        runs = [builder.module("buildah_build", env=env, **wanted) for _run in range(2)]
        assert [(run["failed"], run.get("changed")) for run in runs] == [(False, True), (False, False)], runs
        assert mirror.count("GET", "/base/busybox/manifests/") > 0, "the mirror was not in force"
        assert [path for _method, path, _status in mirror.seen if f"/{name}/" in path] == []
        assert seen.count("GET", f"/{name}/manifests/") > 0
    finally:
        (builder.home / drop_in).unlink(missing_ok=True)
        mirror.close()
        seen.close()


def _auth(registry: Registry) -> str:
    import base64

    token = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    return json.dumps({"auth": token})


def test_what_buildah_login_keeps_is_used_and_out_of_sight_of_builds(
    builder: Builder, registry: Registry, name: str
) -> None:
    """Without XDG_RUNTIME_DIR buildah keeps logins in a place of its own, which skopeo does not know."""
    builder.sh(f"buildah login --tls-verify=false -u {registry.username} -p {registry.password} {registry.address}")
    try:
        places = "/var/tmp/containers-user-$(id -u) /run/user/$(id -u) ~/.config"
        kept = builder.sh(f"find {places} -name auth.json 2>/dev/null || true")
        assert len(kept.split()) == 1, kept
        script = f'cat {kept.strip()} || true; c=$(buildah from scratch); buildah commit "$c" "$IMAGE"'
        result = builder.build(
            name=f"{registry.address}/{name}:1", script=script, push=True, registry_validate_certs=False, **QUICK
        )
        assert registry.digest(name, "1") == result["digest"]
        assert registry.address not in builder.sh(f"cat {result['log_path']}")
    finally:
        builder.sh(f"buildah logout {registry.address}")

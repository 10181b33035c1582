# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""buildah_plan tells what buildah_build then does, at the cost of few calls; buildah_build obeys the law of twelve."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.rootless.buildah.tests.integration.front import Front
from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry

FIFTY = 50


@pytest.fixture
def prefix(request: pytest.FixtureRequest, registry: Registry) -> str:
    """The part before the names of images that no other test has."""
    test = "".join(letter if letter.isalnum() else "-" for letter in request.node.name).strip("-").lower()
    return f"{registry.address}/plan/{test}"


@pytest.fixture(scope="module")
def front(registry: Registry) -> Iterator[Front]:
    """A door to the registry that counts."""
    door = Front(registry.port)
    yield door
    door.close()


@pytest.fixture
def counting(builder: Builder) -> Iterator[dict[str, str]]:
    """A task environment in which calls of buildah and skopeo leave a line in ~/calls."""
    for program in ("buildah", "skopeo"):
        builder.write(
            f"counting/{program}",
            f'#!/bin/sh\necho "{program} $*" >>"{builder.home}/calls"\nexec /usr/bin/{program} "$@"\n',
            0o755,
        )
    builder.write("calls", "")
    yield {"PATH": f"{builder.home}/counting:{builder.environment['PATH']}"}
    (builder.home / "calls").unlink()


def calls(builder: Builder) -> list[str]:
    return (builder.home / "calls").read_text().splitlines()


def image(builder: Builder, name: str, recipe: str = "FROM scratch\nCOPY data /\n", **options: Any) -> dict[str, Any]:
    """Return the options of an image whose content is its own name."""
    context = builder.context(name.replace("/", "-").replace(":", "-"), {"data": name, "Containerfile": recipe})
    return {"name": f"{name}:1", "path": str(context), **options}


def chain(builder: Builder, registry: Registry, prefix: str) -> list[dict[str, Any]]:
    """Four images, the last first: app on middle on bottom, and one that stands alone."""
    login = {"push": True, **registry.login}
    return [
        image(builder, f"{prefix}/app", f"FROM {prefix}/middle:1\nCOPY data /app\n", **login),
        image(builder, f"{prefix}/alone", **login),
        image(builder, f"{prefix}/middle", f"FROM {prefix}/bottom:1\nCOPY data /middle\n", **login),
        image(builder, f"{prefix}/bottom", **login),
    ]


def plan(builder: Builder, images: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    result = builder.module("buildah_plan", images=images, **more)
    assert not result["failed"] and not result["changed"], result
    return result


def touch(builder: Builder, options: dict[str, Any], content: str) -> None:
    builder.write(f"{options['path'].rpartition('/')[2]}/data", content)


def words(entry: dict[str, Any]) -> list[tuple[str, str]]:
    return [(reason["reason"], reason.get("name", "")) for reason in entry["reasons"]]


def test_a_list_is_ordered_by_what_needs_what(builder: Builder, registry: Registry, prefix: str) -> None:
    images = chain(builder, registry, prefix)
    before = plan(builder, images)
    assert [entry["name"] for entry in before["images"]] == [one["name"] for one in images]
    assert [entry["level"] for entry in before["images"]] == [2, 0, 1, 0]
    assert before["levels"] == [[1, 3], [2], [0]] and before["due"] == 4
    assert words(before["images"][2]) == [("base_will_change", f"{prefix}/bottom:1"), ("not_at_destination", "")]
    for level in before["levels"]:
        for index in level:
            built = builder.build(**images[index])
            assert built["changed"] and built["built"] == before["images"][index]["build"]
    after = plan(builder, images)
    assert (after["due"], after["levels"]) == (0, [])
    assert all(entry["reasons"] == [] and not entry["build"] for entry in after["images"])
    assert [entry["digest"] for entry in after["images"]] == [
        registry.digest(one["name"].partition("/")[2].rpartition(":")[0], "1") for one in images
    ]


def test_a_change_below_is_the_reason_above_and_nowhere_else(builder: Builder, registry: Registry, prefix: str) -> None:
    images = chain(builder, registry, prefix)
    for index in (3, 2, 1, 0):
        builder.build(**images[index])
    touch(builder, images[2], f"{prefix} changed")
    planned = plan(builder, images)
    app, alone, middle, bottom = planned["images"]
    assert planned["levels"] == [[2], [0]] and planned["due"] == 2
    assert [(entry["due"], entry["build"]) for entry in (alone, bottom)] == [(False, False)] * 2
    assert [reason["changed"] for reason in middle["reasons"]] == [["data"]]
    assert words(app) == [("base_will_change", f"{prefix}/middle:1")]
    assert middle["key"] == builder.build(**images[2])["key"]
    # Now that the base has moved, the reason has a digest instead of a prophecy.
    assert words(plan(builder, images)["images"][0]) == [("base_image", f"{prefix}/middle:1")]
    result = builder.build(**images[0])
    assert words(result) == [("base_image", f"{prefix}/middle:1")] and result["changed"]
    assert plan(builder, images)["due"] == 0


def test_a_delivery_that_is_missing_is_no_build(builder: Builder, registry: Registry, prefix: str) -> None:
    one = image(builder, f"{prefix}/one", push=True, **registry.login)
    builder.build(**one)
    planned = plan(builder, [{**one, "destinations": [f"{prefix}/one:1", f"{prefix}/two:1"]}])["images"][0]
    assert (planned["due"], planned["build"], planned["deliveries"]) == (True, False, [f"{prefix}/two:1"])
    assert words(planned) == [("not_at_destination", "")]


def test_images_that_need_each_other_are_refused(builder: Builder, prefix: str) -> None:
    images = [
        image(builder, f"{prefix}/{one}", f"FROM {prefix}/{other}:1\nCOPY data /\n")
        for one, other in (("egg", "hen"), ("hen", "egg"))
    ]
    result = builder.module("buildah_plan", images=images)
    assert result["failed"] and "exception" not in result
    assert result["msg"].startswith("images need each other in a circle. Cause: none of ")
    assert f"{prefix}/egg:1" in result["cause"] and f"{prefix}/hen:1" in result["cause"]
    assert result["remedy"] == "Break the circle with another base"


def test_an_image_may_be_named_once(builder: Builder, prefix: str) -> None:
    one = image(builder, f"{prefix}/one")
    result = builder.module("buildah_plan", images=[one, {**one, "name": f"{prefix}/one", "tag": "1"}])
    assert result["failed"] and result["msg"].startswith(f"the list names {prefix}/one:1 more than once.")
    assert result["remedy"] == "Give each a tag of its own"


def test_an_empty_list_is_nothing_to_do(builder: Builder) -> None:
    result = plan(builder, [])
    assert (result["images"], result["levels"], result["due"]) == ([], [], 0)


def test_planning_changes_nothing_anywhere(builder: Builder, registry: Registry, front: Front, prefix: str) -> None:
    images = chain(builder, registry, prefix)
    front.seen.clear()
    images.append(image(builder, f"{front.address}/plan/counted", push=True, **registry.login))
    before = builder.sh("buildah images --all --quiet --no-trunc; buildah containers --quiet")
    plan(builder, images, check=True)
    plan(builder, images)
    assert builder.sh("buildah images --all --quiet --no-trunc; buildah containers --quiet") == before
    assert {method for method, _path, _status in front.seen} <= {"GET", "HEAD"}
    assert list((builder.state / "jobs").iterdir()) == []


@pytest.fixture(scope="module")
def fifty(builder: Builder, registry: Registry, front: Front) -> list[dict[str, Any]]:
    """Fifty images at the registry: copies of one, so that their keys are one and they are made fast."""
    login = {"push": True, **registry.login}
    one = image(builder, f"{front.address}/plan/fifty/0", **login)
    names = [f"{front.address}/plan/fifty/{number}:1" for number in range(FIFTY)]
    builder.build(**{**one, "destinations": names})
    return [{**one, "name": name} for name in names]


def test_fifty_unchanged_images_cost_one_call_and_two_look_ups_each(
    builder: Builder, front: Front, fifty: list[dict[str, Any]], counting: dict[str, str]
) -> None:
    front.seen.clear()
    result = plan(builder, fifty, env=counting)
    assert result["due"] == 0 and len(result["images"]) == FIFTY
    made = calls(builder)
    # The image and the list of what refers to it; nothing is asked of the local store.
    assert len(made) == 2 * FIFTY and all(call.startswith("skopeo inspect --raw ") for call in made), made[:5]
    assert front.count("GET", "/manifests/") == 2 * FIFTY
    assert front.count("GET", "/blobs/") == 0


def test_one_changed_of_fifty_is_the_one_that_is_due(
    builder: Builder, fifty: list[dict[str, Any]], prefix: str
) -> None:
    other = image(builder, f"{prefix}/other")
    images = [*fifty[:7], {**fifty[7], "path": other["path"]}, *fifty[8:]]
    predicted = plan(builder, images, check=True)
    assert (predicted["due"], predicted["levels"]) == (1, [[7]])
    assert [reason["reason"] for reason in predicted["images"][7]["reasons"]] == ["context"]


def test_a_base_is_asked_for_once_for_all_images(
    builder: Builder, registry: Registry, front: Front, base: str, prefix: str
) -> None:
    name = f"{front.address}/base/busybox:1"
    images = [
        image(builder, f"{prefix}/{number}", f"FROM {name}\nCOPY data /\n", push=True, **registry.login)
        for number in range(3)
    ]
    for one in images:
        one["registry_auth_file"] = str(builder.write("plan-auth.json", _auth(registry, front), 0o600))
        del one["registry_username"], one["registry_password"]
    front.seen.clear()
    assert plan(builder, images)["due"] == 3
    # Those that begin at the same moment may each ask; nobody asks twice.
    assert 1 <= front.count("GET", "/base/busybox/manifests/1") <= 3
    assert base.endswith("/base/busybox:1")


def _auth(registry: Registry, front: Front) -> str:
    import base64

    token = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    return json.dumps({"auths": {address: {"auth": token} for address in (registry.address, front.address)}})


@pytest.mark.parametrize("push", [False, True], ids=["local", "pushed"])
def test_the_law_of_twelve(builder: Builder, registry: Registry, prefix: str, push: bool) -> None:
    """Create, modify and remove: predicted twice without effect, done once, and nothing is left to do."""
    options = image(builder, f"{prefix}/twelve", **({"push": True, **registry.login} if push else {}))
    repository = options["name"].partition("/")[2].rpartition(":")[0]

    def seen() -> tuple[str, Any]:
        return builder.sh(f"buildah images --quiet --no-trunc {options['name']} 2>/dev/null || true"), registry.digest(
            repository, "1"
        )

    def law(**more: Any) -> None:
        before = seen()
        predicted = [builder.module("buildah_build", check=True, **options, **more) for _twice in range(2)]
        assert seen() == before, "the prediction had an effect"
        done = [builder.module("buildah_build", **options, **more) for _twice in range(2)]
        again = [builder.module("buildah_build", check=True, **options, **more) for _twice in range(2)]
        results = [*predicted, *done, *again]
        assert not any(result["failed"] for result in results), results
        assert [result["changed"] for result in results] == [True, True, True, False, False, False]
        assert predicted[0]["reasons"] == predicted[1]["reasons"] == done[0]["reasons"]
        assert predicted[0].get("diff") == done[0].get("diff")
        assert all(result["reasons"] == [] for result in (done[1], *again))
        after = seen()
        assert after[0] != before[0] and (after[1] != before[1]) == (push and "state" not in more)

    law()
    touch(builder, options, f"{prefix} modified")
    law()
    law(state="absent")
    assert seen()[0] == "" and (seen()[1] is not None) == push

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mutation table: for every build option what its change leads to, with the real tools and the layer cache on.

The tests are generated from the table of options. An option that nobody says the consequences of fails them.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._inputs import host_platform
from ansible_collections.rootless.buildah.plugins.module_utils._key import refresh_age
from ansible_collections.rootless.buildah.plugins.module_utils._options import (
    BY_NAME,
    DESTINATION,
    KEY,
    OPTIONS,
    RUNTIME,
    Option,
    component_name,
)
from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry
from ansible_collections.rootless.buildah.tests.integration.workshop import (
    ServedImage,
    Workshop,
    auth_file,
    make_signing_key,
    recipe,
    signing_policy,
    without_destination,
)

Options = Mapping[str, Any]


def names(role: str) -> list[str]:
    """The options of a role."""
    return [option.name for option in OPTIONS if option.role == role]


@pytest.fixture
def workshop(builder: Builder, registry: Registry, base: str, request: pytest.FixtureRequest) -> Workshop:
    """An image of this test's own."""
    token = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().replace("test_", "")).strip("-")
    return Workshop(builder, registry, base, f"mutations/{token}")


# Options of the build key.


@dataclass(frozen=True)
class Mutation:
    """One change of one option.

    :param before: the options of the first build.
    :param after: what is different in the second one.
    :param proof: reads from the image what the option decides.
    :param shows: what the proof finds before and after; None: anything, as long as it differs.
    :param reasons: what the reasons hold besides the component's name; one entry for each of them.
    """

    before: Options
    after: Options
    proof: Callable[[ServedImage], Any]
    shows: tuple[Any, Any] | None = None
    reasons: Sequence[Options] = field(default_factory=lambda: ({},))


MUTATIONS: dict[str, Callable[[Workshop], Mutation]] = {}


def mutates(option: str) -> Callable[[Callable[[Workshop], Mutation]], Callable[[Workshop], Mutation]]:
    """Enter a function into the table."""

    def enter(function: Callable[[Workshop], Mutation]) -> Callable[[Workshop], Mutation]:
        MUTATIONS[option] = function
        return function

    return enter


def file_of(path: str) -> Callable[[ServedImage], str]:
    """Return a proof that reads a file."""
    return lambda image: image.file(path).strip()


@mutates("path")
def _mutates_path(shop: Workshop) -> Mutation:
    text = recipe(shop, "COPY data /data")
    return Mutation(
        {**text, "path": shop.files("one", data="one")},
        {"path": shop.files("two", data="two")},
        file_of("data"),
        ("one", "two"),
        [{"changed": ["data"]}],
    )


@mutates("containerfile")
def _mutates_containerfile(shop: Workshop) -> Mutation:
    path = shop.files(first=f"FROM {shop.base}\nRUN echo 1 >/made\n", second=f"FROM {shop.base}\nRUN echo 2 >/made\n")
    return Mutation({"path": path, "containerfile": "first"}, {"containerfile": "second"}, file_of("made"), ("1", "2"))


@mutates("containerfile_content")
def _mutates_containerfile_content(shop: Workshop) -> Mutation:
    return Mutation(recipe(shop, "RUN echo 1 >/made"), recipe(shop, "RUN echo 2 >/made"), file_of("made"), ("1", "2"))


def script(shop: Workshop, content: object) -> str:
    """Return a native script that makes one file."""
    return (
        f'# {shop.token}\nc=$(buildah from scratch)\nm=$(buildah mount "$c")\necho {content} >"$m/made"\n'
        'buildah commit "$c" "$IMAGE"\n'
    )


@mutates("script")
def _mutates_script(shop: Workshop) -> Mutation:
    return Mutation({"script": script(shop, 1)}, {"script": script(shop, 2)}, file_of("made"), ("1", "2"))


@mutates("script_file")
def _mutates_script_file(shop: Workshop) -> Mutation:
    first, second = shop.file("first", script(shop, 1)), shop.file("second", script(shop, 2))
    return Mutation({"script_file": first}, {"script_file": second}, file_of("made"), ("1", "2"))


@mutates("base_images")
def _mutates_base_images(shop: Workshop) -> Mutation:
    first, second = shop.base_image("first", "one"), shop.base_image("second", "two")
    text = 'c=$(buildah from "$BASE")\nbuildah run "$c" -- cp /marker /made\nbuildah commit "$c" "$IMAGE"\n'
    return Mutation(
        {"script": text, "base_images": {"BASE": first}},
        {"base_images": {"BASE": second}},
        file_of("made"),
        ("one", "two"),
        [
            {"name": f"BASE={first}", "old": shop.image(first).digest},
            {"name": f"BASE={second}", "new": shop.image(second).digest},
        ],
    )


@mutates("target")
def _mutates_target(shop: Workshop) -> Mutation:
    text = recipe(
        shop,
        "RUN echo 1 >/made",
        f"FROM {shop.base} AS two",
        "RUN echo 2 >/made",
        "FROM two AS three",
        "RUN echo 3 >/made",
    )
    return Mutation(
        {**text, "target": "two"}, {"target": "three"}, file_of("made"), ("2", "3"), [{"old": "two", "new": "three"}]
    )


@mutates("args")
def _mutates_args(shop: Workshop) -> Mutation:
    return Mutation(
        {**recipe(shop, "ARG VERSION", "RUN echo $VERSION >/made"), "args": {"VERSION": 1}},
        {"args": {"VERSION": 2}},
        file_of("made"),
        ("1", "2"),
        [{"name": "VERSION", "old": "1", "new": "2"}],
    )


@mutates("labels")
def _mutates_labels(shop: Workshop) -> Mutation:
    return Mutation(
        {**recipe(shop, "RUN echo 1 >/made"), "labels": {"x": "1", "y": "1"}},
        {"labels": {"x": "2", "y": "1"}},
        lambda image: image.config["config"]["Labels"]["x"],
        ("1", "2"),
        [{"name": "x", "old": "1", "new": "2"}],
    )


@mutates("annotations")
def _mutates_annotations(shop: Workshop) -> Mutation:
    return Mutation(
        {**recipe(shop, "RUN echo 1 >/made"), "annotations": {"x": "1"}},
        {"annotations": {"x": "2"}},
        lambda image: image.manifest["annotations"]["x"],
        ("1", "2"),
        [{"name": "x", "old": "1", "new": "2"}],
    )


@mutates("env")
def _mutates_env(shop: Workshop) -> Mutation:
    return Mutation(
        {**recipe(shop, "RUN echo 1 >/made"), "env": {"X": "1"}},
        {"env": {"X": "2"}},
        lambda image: [pair for pair in image.config["config"]["Env"] if pair.startswith("X=")],
        (["X=1"], ["X=2"]),
        [{"name": "X", "old": "1", "new": "2"}],
    )


@mutates("platform")
def _mutates_platform(shop: Workshop) -> Mutation:
    text = {"containerfile_content": "FROM scratch\nCOPY data /data\n", "path": shop.files(data="one")}
    return Mutation(
        {**text, "platform": ["linux/arm64"]},
        {"platform": ["linux/s390x"]},
        lambda image: image.config["architecture"],
        ("arm64", "s390x"),
        [{"old": ["linux/arm64"], "new": ["linux/s390x"]}],
    )


@mutates("build_contexts")
def _mutates_build_contexts(shop: Workshop) -> Mutation:
    first, second = shop.files("one", data="one"), shop.files("two", data="two")
    return Mutation(
        {**recipe(shop, "COPY --from=more data /data"), "build_contexts": {"more": first}},
        {"build_contexts": {"more": second}},
        file_of("data"),
        ("one", "two"),
        [{"name": "more", "old": ..., "new": ...}],
    )


@mutates("secrets")
def _mutates_secrets(shop: Workshop) -> Mutation:
    text = recipe(shop, "RUN --mount=type=secret,id=token wc -c </run/secrets/token >/made")
    return Mutation(
        {**text, "secrets": [{"id": "token", "value": "abc", "version": "1"}]},
        {"secrets": [{"id": "token", "value": "abcdef", "version": "2"}]},
        file_of("made"),
        ("3", "6"),
        [{"name": "token", "old": "1", "new": "2"}],
    )


@mutates("ssh")
def _mutates_ssh(shop: Workshop) -> Mutation:
    key = shop.path / "key"
    shop.builder.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    text = recipe(
        shop, 'RUN --mount=type=ssh,required=false [ -S "$SSH_AUTH_SOCK" ] && echo agent >/made || echo none >/made'
    )
    return Mutation(text, {"ssh": [f"default={key}"]}, file_of("made"), ("none", "agent"), [{"new": ["default"]}])


@mutates("format")
def _mutates_format(shop: Workshop) -> Mutation:
    return Mutation(
        recipe(shop, "RUN echo 1 >/made"),
        {"format": "docker"},
        lambda image: image.manifest["mediaType"],
        ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"),
        [{"old": "oci", "new": "docker"}],
    )


@mutates("squash")
def _mutates_squash(shop: Workshop) -> Mutation:
    return Mutation(
        recipe(shop, "RUN echo 1 >/made", "RUN echo 2 >/more"),
        {"squash": True},
        lambda image: len(image.media_types) == 1,
        (False, True),
        [{"new": True}],
    )


@mutates("timestamp")
def _mutates_timestamp(shop: Workshop) -> Mutation:
    def proof(image: ServedImage) -> Any:
        return image.config["created"], image.member("made").mtime

    return Mutation(
        {**recipe(shop, "RUN echo 1 >/made"), "timestamp": 86400},
        {"timestamp": 172800},
        proof,
        (("1970-01-02T00:00:00Z", 86400), ("1970-01-03T00:00:00Z", 172800)),
        [{"old": 86400, "new": 172800}],
    )


@mutates("source_date_epoch")
def _mutates_source_date_epoch(shop: Workshop) -> Mutation:
    return Mutation(
        {**recipe(shop, "RUN echo 1 >/made"), "source_date_epoch": 86400},
        {"source_date_epoch": 172800},
        lambda image: image.config["created"],
        ("1970-01-02T00:00:00Z", "1970-01-03T00:00:00Z"),
        [{"old": 86400, "new": 172800}],
    )


@mutates("rewrite_timestamp")
def _mutates_rewrite_timestamp(shop: Workshop) -> Mutation:
    return Mutation(
        {**recipe(shop, "RUN echo 1 >/made"), "source_date_epoch": 86400},
        {"rewrite_timestamp": True},
        lambda image: image.member("made").mtime == 86400,
        (False, True),
        [{"new": True}],
    )


@mutates("volumes")
def _mutates_volumes(shop: Workshop) -> Mutation:
    volumes = [f"{shop.files(name, data=name)}:/mnt:ro" for name in ("one", "two")]
    return Mutation(
        {**recipe(shop, "RUN cat /mnt/data >/made"), "volumes": volumes[:1]},
        {"volumes": volumes[1:]},
        file_of("made"),
        ("one", "two"),
        [{"old": volumes[:1], "new": volumes[1:]}],
    )


@mutates("refresh")
def _mutates_refresh(shop: Workshop) -> Mutation:
    # Nothing else differs, so the layer cache would bring back the first content.
    return Mutation(
        {**recipe(shop, "RUN cat /proc/sys/kernel/random/uuid >/made"), "refresh": "1h"},
        {"refresh": "52w"},
        file_of("made"),
        None,
        [{"old": ..., "new": ...}],
    )


@mutates("extra_build_args")
def _mutates_extra_build_args(shop: Workshop) -> Mutation:
    flags = [[f"--add-host=example.test:198.51.100.{number}"] for number in (1, 2)]
    return Mutation(
        {**recipe(shop, "RUN grep -o '198.51.100.[0-9]' /etc/hosts >/made"), "extra_build_args": flags[0]},
        {"extra_build_args": flags[1]},
        file_of("made"),
        ("198.51.100.1", "198.51.100.2"),
        [{"old": flags[0], "new": flags[1]}],
    )


def test_every_option_of_the_key_has_a_mutation() -> None:
    assert sorted(MUTATIONS) == sorted(names(KEY))


@pytest.fixture(scope="session")
def buildah_version(builder: Builder) -> tuple[int, ...]:
    """The version of buildah here."""
    found = re.search(r"version (\d+)\.(\d+)", builder.run(["buildah", "--version"]).stdout)
    assert found
    return tuple(int(part) for part in found.groups())


def is_ahead_of(version: tuple[int, ...], options: Options) -> Option | None:
    """Return the option that this buildah lacks, if any."""
    return next(
        (BY_NAME[name] for name in options if BY_NAME[name].since and version < (BY_NAME[name].since or ())), None
    )


@pytest.mark.parametrize("option", names(KEY))
def test_an_option_of_the_key_is_the_reason_and_reaches_the_image(
    option: str, workshop: Workshop, buildah_version: tuple[int, ...]
) -> None:
    mutation = MUTATIONS[option](workshop)
    after = {**mutation.before, **mutation.after}
    lacking = is_ahead_of(buildah_version, after)
    if lacking:
        told = workshop.refused(**after)
        assert f"{lacking.name} needs buildah {'.'.join(map(str, lacking.since or ()))}" in told["msg"]
        assert ".".join(map(str, buildah_version)) in told["msg"]
        assert workshop.registry.tags(workshop.token) == []
        return

    workshop.build(**mutation.before)
    was = mutation.proof(workshop.image())
    predicted = workshop.build(check=True, **after)
    result = workshop.build(**after)
    now = mutation.proof(workshop.image())
    again = workshop.build(**after)

    expected = [{"reason": component_name(BY_NAME[option]), **more} for more in mutation.reasons]
    assert with_digests_hidden(result) == expected
    assert result["built"] and result["changed"] and [entry["action"] for entry in result["pushed"]] == ["push"]
    assert (predicted["reasons"], predicted["changed"], predicted["built"]) == (result["reasons"], True, True)
    assert (was, now) == mutation.shows if mutation.shows else was != now
    assert_nothing_happened(again)


def with_digests_hidden(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the reasons with ``...`` for numbers and digests that no test can know beforehand."""

    def hidden(reason: dict[str, Any]) -> dict[str, Any]:
        if reason["reason"] in ("containerfile", "script", "context"):
            assert all(re.match("sha256:", reason.pop(side)) for side in ("old", "new"))
        elif reason["reason"] in ("build_context", "bind_sources", "refresh"):
            reason.update({side: ... for side in ("old", "new") if side in reason})
        return reason

    return [hidden(reason) for reason in without_destination(result)]


def assert_nothing_happened(result: Mapping[str, Any]) -> None:
    """The whole of what "unchanged" means."""
    assert (result["reasons"], result["changed"], result["built"], result["pushed"]) == ([], False, False, [])


# Layers in the cache that were built with what buildah does not compare.


@pytest.mark.parametrize("option", [option.name for option in OPTIONS if option.unseen_until])
def test_a_layer_that_was_built_with_an_option_is_not_taken_by_an_image_without_it(
    option: str, workshop: Workshop, buildah_version: tuple[int, ...]
) -> None:
    if is_ahead_of(buildah_version, {option: None}):
        assert workshop.refused(**recipe(workshop, "RUN echo 1 >/made"), **{option: 0})["msg"].startswith(option)
        return
    mutation = MUTATIONS[option](workshop)
    without = {name: value for name, value in mutation.before.items() if name != option}
    # One instruction and no other: what it makes is at once an image and a candidate of the layer cache.
    without["containerfile_content"] = re.sub(
        "RUN.*", "RUN ls -A /mnt >/made; cat /etc/hosts >>/made", without["containerfile_content"]
    )
    workshop.build(**{**without, option: mutation.before[option]})
    other = f"{workshop.registry.address}/{workshop.token}/other:1"
    result = workshop.build(**without, name=other)
    reference = workshop.build(
        **without, name=f"{workshop.registry.address}/{workshop.token}/reference:1", force=True, nocache=True
    )
    assert result["built"] and reference["built"]

    def seen(image: ServedImage) -> Any:
        return (
            image.file("made"),
            image.config["config"].get("Env"),
            image.manifest.get("annotations"),
            image.config["created"][:4],
            image.member("made").mtime > 10**9,
        )

    assert seen(workshop.image(other)) == seen(
        workshop.image(f"{workshop.registry.address}/{workshop.token}/reference:1")
    )


def test_a_layer_of_another_platform_is_not_taken(workshop: Workshop) -> None:
    text = {
        "containerfile_content": f"# {workshop.token}\nFROM scratch\nCOPY data /data\n",
        "path": workshop.files(data=workshop.token),
    }
    for number, platform in enumerate(("linux/arm64", "linux/amd64", "linux/s390x", "linux/amd64")):
        name = f"{workshop.registry.address}/{workshop.token}/{number}:1"
        workshop.build(**text, name=name, platform=[platform], force=True)
        assert f"linux/{workshop.image(name).config['architecture']}" == platform


def test_layers_from_before_a_period_of_refresh_are_not_taken(workshop: Workshop) -> None:
    text = {
        **recipe(workshop, "RUN cat /proc/sys/kernel/random/uuid >/made", "COPY data /data"),
        "path": workshop.files(data="1"),
    }
    workshop.build(**text)
    built = time.time()
    # An image whose period began after that: the period's beginning depends on the name.
    name = next(
        name
        for name in (f"{workshop.name}{number}" for number in itertools.count())
        if refresh_age("1h", name, built + 1) < 1
    )
    time.sleep(max(0.0, built + 1 - time.time()))
    workshop.build(**text, name=name, refresh="1h")
    refreshed = workshop.image(name).file("made")
    workshop.files(data="2")
    result = workshop.build(**text, name=name, refresh="1h")
    assert [reason["reason"] for reason in result["reasons"]] == ["context"]
    assert refreshed != workshop.image().file("made")
    assert workshop.image(name).file("made") == refreshed
    assert [step["cached"] for step in result["steps"] if step["instruction"].startswith("RUN")] == [True]


# The context and the bases, in every way in which they reach an image.


def test_every_kind_of_change_in_the_context_is_told_and_reaches_the_image(workshop: Workshop) -> None:
    path = workshop.files(kept="0", data="one", gone="1", link="x")
    context = Path(path)
    user = workshop.builder
    text = {**recipe(workshop, "COPY . /c/"), "path": path}

    def relink(target: str) -> None:
        (context / "link").unlink()
        user.run(["ln", "-s", target, str(context / "link")])

    relink("data")
    workshop.build(**text)
    same_size_and_time = (context / "data").stat()

    def other_bytes() -> None:
        workshop.files(data="two")
        os.utime(context / "data", ns=(same_size_and_time.st_atime_ns, same_size_and_time.st_mtime_ns))
        now = (context / "data").stat()
        assert (now.st_size, now.st_mtime_ns) == (same_size_and_time.st_size, same_size_and_time.st_mtime_ns)

    def into_a_directory() -> None:
        (context / "kept").unlink()
        user.run(["mkdir", str(context / "kept")])

    for change, told, proof in (
        (other_bytes, {"changed": ["data"]}, lambda image: image.file("c/data") == "two"),
        (
            lambda: workshop.files(**{"new file": "3"}),
            {"added": ["new file"]},
            lambda image: image.file("c/new file") == "3",
        ),
        ((context / "gone").unlink, {"removed": ["gone"]}, lambda image: not image.holds("c/gone")),
        (
            lambda: (context / "data").chmod(0o600),
            {"changed": ["data"]},
            lambda image: image.member("c/data").mode & 0o777 == 0o600,
        ),
        (lambda: relink("kept"), {"changed": ["link"]}, lambda image: image.member("c/link").linkname == "kept"),
        (into_a_directory, {"changed": ["kept"]}, lambda image: image.member("c/kept").isdir()),
    ):
        change()
        result = workshop.build(**text)
        assert with_digests_hidden(result) == [{"reason": "context", **told}]
        assert proof(workshop.image())
    assert_nothing_happened(workshop.build(**text))


@pytest.mark.parametrize("hidden", [False, True], ids=["visible", "ignored"])
def test_a_file_that_only_a_bind_mount_reads(workshop: Workshop, hidden: bool) -> None:
    path = workshop.files(data="one", __containerignore="data\n" if hidden else "nothing\n")
    text = {**recipe(workshop, "RUN --mount=type=bind,source=data,target=/data cat /data >/made"), "path": path}
    workshop.build(**text)
    assert workshop.image().file("made") == "one"
    before = (Path(path) / "data").stat()
    workshop.files(data="two")
    os.utime(Path(path) / "data", ns=(before.st_atime_ns, before.st_mtime_ns))
    result = workshop.build(**text)
    assert with_digests_hidden(result) == [{"reason": "bind_sources", "old": ..., "new": ...}]
    assert workshop.image().file("made") == "two"
    assert_nothing_happened(workshop.build(**text))


# How a Containerfile uses an image; FIXED stands for one that does not move, MOVING for the one that does.
USES: dict[str, Options] = {
    "FROM": {"containerfile_content": "FROM MOVING\nRUN cp /marker /made\n"},
    "FROM with ARG": {
        "containerfile_content": "ARG BASE=FIXED\nFROM $BASE\nRUN cp /marker /made\n",
        "args": {"BASE": "MOVING"},
    },
    "COPY --from": {"containerfile_content": "FROM FIXED\nCOPY --from=MOVING /marker /made\n"},
    "RUN --mount from": {
        "containerfile_content": ("FROM FIXED\nRUN --mount=type=bind,from=MOVING,target=/m cp /m/marker /made\n")
    },
    "named context": {
        "containerfile_content": "FROM FIXED\nCOPY --from=other /marker /made\n",
        "build_contexts": {"other": "docker-image://MOVING"},
    },
    "script": {
        "script": 'c=$(buildah from "$BASE")\nbuildah run "$c" -- cp /marker /made\nbuildah commit "$c" "$IMAGE"\n',
        "base_images": {"BASE": "MOVING"},
    },
}


@pytest.mark.parametrize("use", list(USES))
def test_a_base_that_moved_at_the_registry(workshop: Workshop, use: str) -> None:
    moving = workshop.base_image("moving", "one")
    written = json.loads(json.dumps(USES[use]).replace("MOVING", moving).replace("FIXED", workshop.base))
    workshop.build(**written)
    first = workshop.image(moving).digest
    workshop.base_image("moving", "two")
    result = workshop.build(**written)
    name = {"named context": f"other={moving}", "script": f"BASE={moving}"}.get(use, moving)
    assert without_destination(result) == [
        {"reason": "base_image", "name": name, "old": first, "new": workshop.image(moving).digest}
    ]
    assert workshop.image().file("made").strip() == "two"
    assert_nothing_happened(workshop.build(**written))


def test_a_base_that_this_module_built_itself(workshop: Workshop) -> None:
    parent = f"{workshop.registry.address}/{workshop.token}/parent:1"
    child = {"containerfile_content": f"FROM {parent}\nRUN cp /made /copied\n"}
    first = workshop.build(**recipe(workshop, "RUN echo 1 >/made"), name=parent)
    workshop.build(**child)
    second = workshop.build(**recipe(workshop, "RUN echo 2 >/made"), name=parent)
    result = workshop.build(**child)
    assert without_destination(result) == [
        {"reason": "base_image", "name": parent, "old": first["digest"], "new": second["digest"]}
    ]
    assert workshop.image().file("copied").strip() == "2"
    assert_nothing_happened(workshop.build(**child))


def test_an_image_that_its_own_child_replaced_is_not_taken_for_it(workshop: Workshop, second_builder: Builder) -> None:
    text = {**recipe(workshop, "RUN echo 1 >/made"), "labels": {"kept": "by children"}}
    ours = workshop.build(**text)
    patch = workshop.file("patch/Containerfile", f"FROM {workshop.name}\nRUN echo 2 >/made\n")
    workshop.push_by_hand(workshop.name, f"buildah build -q --pull=never --no-cache -f {patch} {Path(patch).parent}")
    assert workshop.image().config["config"]["Labels"]["kept"] == "by children"
    theirs = workshop.image().digest

    elsewhere = workshop.build(builder=second_builder, check=True, **text)
    assert elsewhere["reasons"] == [{"reason": "no_record", "destination": workshop.name, "old": theirs}]
    here = workshop.build(**text)
    assert here["reasons"] == [
        {"reason": "modified_elsewhere", "destination": workshop.name, "old": ours["digest"], "new": theirs}
    ]
    assert here["changed"] and [entry["action"] for entry in here["pushed"]] == ["push"]
    assert workshop.image().file("made").strip() == "1"
    assert_nothing_happened(workshop.build(**text))


# Options of how the work is done: a change of theirs causes nothing.


@pytest.fixture
def settled(workshop: Workshop) -> dict[str, Any]:
    """Options of an image that was built and pushed, on a base that is pinned."""
    base = workshop.base.rpartition(":")[0] + "@" + workshop.image(workshop.base).digest
    options = {
        **recipe(workshop, "COPY data /data", "RUN echo 1 >/made", base=base),
        "path": workshop.files(data="one", ignored="1", __containerignore="ignored*\n"),
    }
    workshop.build(**options)
    return options


def registries_conf(shop: Workshop) -> str:
    """Return a registries.conf that allows plain HTTP to the registry."""
    return shop.file("registries.conf", f'[[registry]]\nlocation = "{shop.registry.address}"\ninsecure = true\n')


RUNTIME_CHANGES: dict[str, Callable[[Workshop], Options]] = {
    # Only the local name goes.
    "state": lambda shop: {"force": not shop.build(state="absent")["changed"]},
    "pull": lambda shop: {"pull": "never"},
    "nocache": lambda shop: {"nocache": True},
    "layers": lambda shop: {"layers": False},
    "cache_from": lambda shop: {"cache_from": [f"{shop.registry.address}/cache"]},
    "cache_to": lambda shop: {"cache_to": [f"{shop.registry.address}/cache"]},
    "cache_ttl": lambda shop: {"cache_ttl": "1h"},
    "cache_auth_file": lambda shop: {"cache_auth_file": auth_file(shop)},
    "network": lambda shop: {"network": "none"},
    "isolation": lambda shop: {"isolation": "rootless"},
    "ulimits": lambda shop: {"ulimits": ["nofile=100:100"]},
    "memory": lambda shop: {"memory": "512m"},
    "cpu_shares": lambda shop: {"cpu_shares": 2},
    "cpu_period": lambda shop: {"cpu_period": 50000},
    "cpu_quota": lambda shop: {"cpu_quota": 10000},
    "cpuset_cpus": lambda shop: {"cpuset_cpus": "0"},
    "retries": lambda shop: {"retries": 1},
    "retry_delay": lambda shop: {"retry_delay": "5s"},
    "storage": lambda shop: {"storage": {"graphroot": str(shop.path / "store"), "runroot": str(shop.path / "run")}},
    "force": lambda shop: {"force": True},
    "allow_root": lambda shop: {"allow_root": True},
    "lock_timeout": lambda shop: {"lock_timeout": 1},
    "compression_level": lambda shop: {"compression_level": 9},
    "trust": lambda shop: {"trust": "signed", "trust_policy": signing_policy(shop)},
    "trust_policy": lambda shop: {"trust_policy": shop.file("policy.json", '{"default": [{"type": "reject"}]}')},
    "extra_push_args": lambda shop: {"extra_push_args": ["--remove-signatures"]},
    "registry_auth_file": lambda shop: {
        "registry_auth_file": auth_file(shop),
        "registry_username": None,
        "registry_password": None,
    },
    "registry_username": lambda shop: {
        "registry_username": None,
        "registry_password": None,
        "registry_auth_file": auth_file(shop),
    },
    "registry_password": lambda shop: {
        "registry_username": None,
        "registry_password": None,
        "registry_auth_file": auth_file(shop),
    },
    "registry_ca_dir": lambda shop: {"registry_ca_dir": str(shop.path)},
    "registry_validate_certs": lambda shop: {"registry_validate_certs": None},
}


def test_every_runtime_option_has_a_change() -> None:
    assert sorted(RUNTIME_CHANGES) == sorted(names(RUNTIME))


@pytest.mark.parametrize("option", names(RUNTIME))
def test_a_change_of_a_runtime_option_causes_nothing(
    option: str, workshop: Workshop, settled: dict[str, Any], signing_key: str
) -> None:
    if option == "trust":
        # Whose records count is no question for an image whose record is signed.
        settled["sign_by"] = signing_key
        workshop.build(**settled)
    digest = workshop.image().digest
    changed = RUNTIME_CHANGES[option](workshop)
    result = workshop.build(
        **{**settled, **changed}, environment={"CONTAINERS_REGISTRIES_CONF": registries_conf(workshop)}
    )
    if option == "force":
        # The one that is there to cause a build, and is its only reason.
        assert result["built"] and result["reasons"] == [{"reason": "forced"}]
    else:
        assert_nothing_happened(result)
        assert workshop.image().digest == digest


@pytest.fixture(scope="session")
def signing_key(builder: Builder) -> str:
    """The fingerprint of a throw-away GPG key of the builder user."""
    return make_signing_key(builder)


# Options of where the result goes: each has its reason, and none needs a build but artifacts, which only a build makes.


@dataclass(frozen=True)
class Redirection:
    """One change of one option.

    :param reasons: what the change's reasons are.
    :param proof: looks whether it took effect.
    :param action: how the destination gets it; None: it gets nothing.
    """

    before: Options
    after: Options
    reasons: Sequence[Options]
    proof: Callable[[], bool]
    action: str | None = None
    built: bool = False


REDIRECTIONS: dict[str, Callable[[Workshop, dict[str, Any], str], Redirection]] = {}


def redirects(option: str) -> Callable[[Any], Any]:
    """Enter a function into the table."""

    def enter(function: Any) -> Any:
        REDIRECTIONS[option] = function
        return function

    return enter


def not_there(name: str) -> dict[str, str]:
    """Return the reason for a destination that has nothing."""
    return {"reason": "not_at_destination", "destination": name}


@redirects("name")
def _redirects_name(shop: Workshop, settled: dict[str, Any], _key: str) -> Redirection:
    other = f"{shop.registry.address}/{shop.token}/other:1"
    return Redirection(
        settled, {"name": other}, [not_there(other)], lambda: shop.image(other).digest == shop.image().digest, "push"
    )


@redirects("tag")
def _redirects_tag(shop: Workshop, settled: dict[str, Any], _key: str) -> Redirection:
    repository = shop.name.rpartition(":")[0]
    return Redirection(
        {**settled, "name": repository, "tag": "1"},
        {"tag": "2"},
        [not_there(f"{repository}:2")],
        lambda: shop.image(f"{repository}:2").digest == shop.image().digest,
        "push",
    )


@redirects("load")
def _redirects_load(shop: Workshop, settled: dict[str, Any], _key: str) -> Redirection:
    shop.build(state="absent")
    local = ["buildah", "inspect", "--type=image", "--format={{.FromImageID}}", shop.name]
    return Redirection(
        settled,
        {"load": True},
        [{"reason": "not_loaded"}],
        lambda: f"sha256:{shop.builder.run(local).stdout.strip()}" == shop.image().manifest["config"]["digest"],
    )


@redirects("outputs")
def _redirects_outputs(shop: Workshop, settled: dict[str, Any], _key: str) -> Redirection:
    dest = shop.path / "out.tar"
    return Redirection(
        settled,
        {"outputs": [{"type": "tar", "dest": str(dest)}]},
        [{"reason": "output", "name": str(dest)}],
        lambda: "./made" in tarfile.open(dest).getnames(),
    )


@redirects("artifacts")
def _redirects_artifacts(shop: Workshop, _settled: dict[str, Any], _key: str) -> Redirection:
    dest = shop.path / "artifacts"
    text = {"script": script(shop, 1) + 'echo exported >"$ARTIFACTS/file"\n'}
    return Redirection(
        text,
        {"artifacts": str(dest)},
        [{"reason": "artifact", "name": str(dest)}],
        lambda: (dest / "file").read_text() == "exported\n",
        "push",
        True,
    )


@redirects("push")
def _redirects_push(shop: Workshop, settled: dict[str, Any], _key: str) -> Redirection:
    other = f"{shop.registry.address}/{shop.token}/other:1"
    return Redirection(
        {**settled, "name": other, "push": False},
        {"push": True},
        [not_there(other)],
        lambda: shop.image(other).file("data") == "one",
        "push",
    )


@redirects("destinations")
def _redirects_destinations(shop: Workshop, settled: dict[str, Any], _key: str) -> Redirection:
    other = f"{shop.registry.address}/{shop.token}/other:1"
    return Redirection(
        settled,
        {"destinations": [shop.name, other]},
        [not_there(other)],
        lambda: shop.image(other).digest == shop.image().digest,
        "copy",
    )


@redirects("compression_format")
def _redirects_compression_format(shop: Workshop, settled: dict[str, Any], _key: str) -> Redirection:
    return Redirection(
        settled,
        {"compression_format": "zstd"},
        [{"reason": "compression", "destination": shop.name, "old": ["gzip"], "new": "zstd"}],
        lambda: {kind.rpartition("+")[2] for kind in shop.image().media_types} == {"zstd"},
        "push",
    )


@redirects("sign_by")
def _redirects_sign_by(shop: Workshop, settled: dict[str, Any], key: str) -> Redirection:
    digest = shop.image().digest
    place = shop.builder.home / f".local/share/containers/sigstore/{shop.token}@sha256={digest.partition(':')[2]}"
    return Redirection(
        settled,
        {"sign_by": key},
        [{"reason": "signature", "destination": shop.name, "new": key}],
        lambda: shop.image().digest == digest and (place / "signature-1").exists(),
        "sign",
    )


def test_every_option_of_a_destination_has_a_consequence() -> None:
    assert sorted(REDIRECTIONS) == sorted(names(DESTINATION))


@pytest.mark.parametrize("option", names(DESTINATION))
def test_an_option_of_a_destination_acts_without_a_build(
    option: str, workshop: Workshop, settled: dict[str, Any], signing_key: str
) -> None:
    change = REDIRECTIONS[option](workshop, settled, signing_key)
    workshop.build(**change.before)
    after = {**change.before, **change.after}
    predicted = workshop.build(check=True, **after)
    result = workshop.build(**after)
    assert result["reasons"] == predicted["reasons"] == list(change.reasons)
    assert result["changed"] and predicted["changed"]
    assert result["built"] == predicted["built"] == change.built
    assert [entry["action"] for entry in result["pushed"]] == ([change.action] if change.action else [])
    assert change.proof()
    assert_nothing_happened(workshop.build(**after))


# What cannot matter.


def rewritten_backwards(shop: Workshop, settled: dict[str, Any]) -> Options:
    """Make the context's directory anew with its entries in another order."""
    context = Path(settled["path"])
    content = {path.name: path.read_bytes() for path in context.iterdir()}
    for name in content:
        (context / name).unlink()
    for name in sorted(content, reverse=True):
        shop.builder.write(f"{shop.token}/context/{name}", content[name])
    return {}


def elsewhere(shop: Workshop, settled: dict[str, Any]) -> Options:
    """Copy the context to another path."""
    shop.builder.run(["cp", "-r", settled["path"], str(shop.path / "elsewhere")])
    return {"path": str(shop.path / "elsewhere")}


def other_owner(_shop: Workshop, settled: dict[str, Any]) -> Options:
    """Give a file of the context to somebody else, who lets it be read."""
    os.chown(Path(settled["path"]) / "data", 65534, 65534)
    return {}


def other_time(_shop: Workshop, settled: dict[str, Any]) -> Options:
    """Change every time of the context."""
    for path in (Path(settled["path"]), *Path(settled["path"]).iterdir()):
        os.utime(path, (1, 1))
    return {}


def other_ignored_files(shop: Workshop, _settled: dict[str, Any]) -> Options:
    """Change a file that is ignored, and add one."""
    shop.files(ignored="2", ignored2="1")
    return {}


def containerfile_in_a_file(shop: Workshop, settled: dict[str, Any]) -> Options:
    """Take the same Containerfile from a file outside of the context."""
    return {"containerfile": shop.file("other/name", settled["containerfile_content"]), "containerfile_content": None}


PROXIES = dict.fromkeys(("http_proxy", "HTTPS_PROXY", "ftp_proxy", "no_proxy", "ALL_PROXY"), "http://192.0.2.1:1")

TRIFLES: dict[str, Callable[[Workshop, dict[str, Any]], Options]] = {
    "nothing": lambda shop, settled: {},
    "times": other_time,
    "owner": other_owner,
    "order of files": rewritten_backwards,
    "path of the context": elsewhere,
    "ignored files": other_ignored_files,
    "place of the Containerfile": containerfile_in_a_file,
    "proxy variables of the task": lambda shop, settled: {"environment": {"no_proxy": "127.0.0.1", "FTP_PROXY": "x"}},
    "proxy variables as args": lambda shop, settled: {"args": PROXIES},
    "args that no ARG declares": lambda shop, settled: {"args": {"UNKNOWN": "1"}},
    "this host's platform, said aloud": lambda shop, settled: {"platform": [host_platform()]},
    "named contexts that nothing uses": lambda shop, settled: {
        "build_contexts": {"unused": shop.files("unused", x="1")}
    },
    "empty values": lambda shop, settled: {"labels": {}, "volumes": [], "squash": False, "args": {}},
}


@pytest.mark.parametrize("trifle", list(TRIFLES))
def test_what_cannot_matter_causes_nothing(trifle: str, workshop: Workshop, settled: dict[str, Any]) -> None:
    digest = workshop.image().digest
    assert_nothing_happened(workshop.build(**{**settled, **TRIFLES[trifle](workshop, settled)}))
    assert workshop.image().digest == digest


def test_the_order_of_platforms_causes_nothing(workshop: Workshop) -> None:
    text = {"containerfile_content": "FROM scratch\nCOPY data /data\n", "path": workshop.files(data="one")}
    platforms = ["linux/amd64", "linux/arm64", "linux/s390x"]
    result = workshop.build(**text, platform=platforms)
    digest = workshop.image().digest
    assert result["digest"] == digest
    assert_nothing_happened(workshop.build(**text, platform=[*reversed(platforms), "linux/x86_64"]))
    assert workshop.image().digest == digest


def test_another_value_of_a_secret_without_another_version_causes_nothing(workshop: Workshop) -> None:
    text = recipe(workshop, "RUN --mount=type=secret,id=token wc -c </run/secrets/token >/made")
    first = workshop.build(**text, secrets=[{"id": "token", "value": "abc"}])
    assert_nothing_happened(workshop.build(**text, secrets=[{"id": "token", "value": "abcdef"}]))
    assert workshop.image().digest == first["digest"]

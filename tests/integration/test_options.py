# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each option really does, where the mutation table does not show it already."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import http.server
import io
import json
import os
import re
import subprocess
import tarfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import pytest
import yaml

from ansible_collections.rootless.buildah.plugins.doc_fragments.build import ModuleDocFragment
from ansible_collections.rootless.buildah.plugins.module_utils._options import DESTINATION, KEY, OPTIONS
from ansible_collections.rootless.buildah.plugins.module_utils._state import State
from ansible_collections.rootless.buildah.tests.integration.front import Answer, Front
from ansible_collections.rootless.buildah.tests.integration.harness import PYTHON, Builder, Registry
from ansible_collections.rootless.buildah.tests.integration.workshop import (
    Workshop,
    auth_file,
    make_signing_key,
    recipe,
    signing_policy,
)

UUID = "RUN cat /proc/sys/kernel/random/uuid >/uuid"

#: The tests that prove an option, a suboption (``storage.driver``) or a choice (``pull=never``).
PROOFS: dict[str, list[str]] = {}


def proves(*options: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enter a test into the register."""

    def enter(test: Callable[..., None]) -> Callable[..., None]:
        for option in options:
            PROOFS.setdefault(option, []).append(test.__name__)
        return test

    return enter


def claims(specs: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Return what there is to prove of argument specs."""
    for name, spec in specs.items():
        yield f"{prefix}{name}"
        yield from (f"{prefix}{name}={choice}" for choice in spec.get("choices", ()))
        yield from claims(spec.get("options", {}), f"{prefix}{name}.")


def test_every_option_is_proved() -> None:
    # test_mutations.py looks into images and registries before and after a change of each of these.
    shown = {option.name for option in OPTIONS if option.role in (KEY, DESTINATION)}
    shown |= {"format=oci", "format=docker", "compression_format=gzip", "compression_format=zstd"}
    wanted = set(claims({option.name: option.spec for option in OPTIONS}))
    assert wanted - shown - set(PROOFS) == set()
    assert set(PROOFS) <= wanted


@pytest.fixture
def workshop(builder: Builder, registry: Registry, base: str, request: pytest.FixtureRequest) -> Workshop:
    """An image of this test's own."""
    token = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().replace("test_", "")).strip("-")
    return Workshop(builder, registry, base, f"options/{token}")


def local_id(builder: Builder, name: str) -> str:
    """Return the id that a name has in a builder's store, empty when it has none."""
    argv = ["buildah", "inspect", "--type=image", "--format={{.FromImageID}}", name]
    return builder.run(argv, check=False).stdout.strip()


def by_file(workshop: Workshop) -> dict[str, Any]:
    """Return the login for the registry of a base, when that of the image is none."""
    return {"registry_username": None, "registry_password": None, "registry_auth_file": auth_file(workshop)}


def words(result: Mapping[str, Any]) -> list[str]:
    """Return the words of the calls that built."""
    return [word for call in result["command"] for word in call]


# Names and recipes.


@proves("name", "tag", "push", "state", "state=present", "state=absent")
def test_names_in_the_local_store_come_and_go(workshop: Workshop) -> None:
    text = {**recipe(workshop, "RUN echo 1 >/made"), "push": False, **by_file(workshop)}
    short = workshop.token.replace("/", "-")
    result = workshop.build(**text, name=short)
    workshop.build(**text, name=short, tag="1.0")
    workshop.build(**text)
    names = [f"localhost/{short}:latest", f"localhost/{short}:1.0", workshop.name]
    assert {local_id(workshop.builder, name) for name in names} == {result["image_id"]}
    assert workshop.registry.tags(workshop.token) == []

    workshop.build(**{**text, "push": True})
    gone = [workshop.build(name=name, state="absent", check=check) for name in names[1:] for check in (True, False)]
    assert [one["changed"] for one in gone] == [True] * 4
    assert [local_id(workshop.builder, name) for name in names] == [result["image_id"], "", ""]
    # The other tag is the record's.
    assert [tag for tag in workshop.registry.tags(workshop.token) if not tag.startswith("sha256-")] == ["1"]
    assert not workshop.build(state="absent")["changed"]


@proves("containerfile")
def test_a_containerfile_goes_by_three_names_and_an_inline_one_stays_out_of_the_context(workshop: Workshop) -> None:
    text = f"FROM {workshop.base}\nCOPY . /c\nRUN echo %s >/made\n"
    path = workshop.files(one=text % 1, Dockerfile=text % 2, Containerfile=text % 3)
    for options, made in (
        ({"containerfile": "one"}, "1"),
        ({"dockerfile": "Dockerfile"}, "2"),
        ({}, "3"),
        ({"file": f"{path}/one"}, "1"),
        ({"containerfile_content": text % 4}, "4"),
    ):
        workshop.build(path=path, **options)
        assert workshop.image().file("made").strip() == made
    held = {member for layer in workshop.image().names for member in layer if member.startswith("c/")}
    assert held == {"c/one", "c/Dockerfile", "c/Containerfile"}
    assert sorted(os.listdir(path)) == ["Containerfile", "Dockerfile", "one"]


@proves("script", "script_file", "args", "base_images", "path", "artifacts")
def test_a_script_gets_its_variables_and_its_artifacts_are_kept(workshop: Workshop) -> None:
    script = workshop.file(
        "script",
        (
            'c=$(buildah from "$BASE")\nbuildah copy "$c" data /data\n'
            'buildah run "$c" -- sh -c "echo $VERSION >/version"\n'
            'mkdir "$ARTIFACTS/sub"; echo "$BASE $PLATFORM" >"$ARTIFACTS/sub/file"\nbuildah commit "$c" "$IMAGE"\n'
        ),
    )
    kept = workshop.path / "kept"
    options = {
        "script_file": script,
        "args": {"VERSION": "1.5"},
        "base_images": {"BASE": workshop.base},
        "path": workshop.files(data="one"),
        "artifacts": str(kept),
    }
    workshop.build(**options)
    digest = workshop.image(workshop.base).digest
    assert (workshop.image().file("data"), workshop.image().file("version")) == ("one", "1.5\n")
    pinned = f"{workshop.base.rpartition(':')[0]}@{digest} linux/"
    assert (kept / "sub/file").read_text().startswith(pinned)

    for damage in ((kept / "sub/file").unlink, lambda: (kept / "sub/file").write_text("other")):
        damage()
        again = workshop.build(**options)
        assert again["built"] and again["reasons"] == [{"reason": "artifact", "name": "sub/file"}]
        assert (kept / "sub/file").read_text().startswith(pinned)
    assert not workshop.build(**options)["changed"]


# What RUN steps get.


@proves("secrets", "secrets.id", "secrets.src", "secrets.env", "secrets.value", "secrets.version")
def test_secrets_come_from_a_file_a_variable_or_a_value(workshop: Workshop) -> None:
    mounts = " ".join(f"--mount=type=secret,id={name}" for name in ("from.file", "from.env", "from.value"))
    text = recipe(workshop, f"RUN {mounts} cd /run/secrets && md5sum * >/made")
    secrets: list[dict[str, str]] = [
        {"id": "from.file", "src": workshop.file("secret", "filed secret\n", 0o600)},
        {"id": "from.env", "env": "SECRET"},
        {"id": "from.value", "value": "given secret"},
    ]
    workshop.build(**text, secrets=secrets, environment={"SECRET": "variable secret"})
    held = dict(line.split()[::-1] for line in workshop.image().file("made").splitlines())
    assert held == {
        name: md5(content)
        for name, content in (
            ("from.file", "filed secret\n"),
            ("from.env", "variable secret"),
            ("from.value", "given secret"),
        )
    }
    versioned = [*secrets[:2], {**secrets[2], "version": "2"}]
    result = workshop.build(**text, secrets=versioned, environment={"SECRET": "x"}, check=True)
    assert [(reason["name"], reason["new"]) for reason in result["reasons"]] == [("from.value", "2")]
    assert "the variable SECRET is not set" in workshop.refused(**text, secrets=versioned)["msg"]


def md5(text: str) -> str:
    """Return what md5sum prints."""
    return subprocess.run(["md5sum"], input=text, text=True, capture_output=True, check=True).stdout.split()[0]


@proves("ssh")
def test_ssh_hands_a_key_to_the_steps_that_ask_for_it(workshop: Workshop) -> None:
    program = "/usr/bin/ssh-add"
    libraries = re.findall(
        r"(/\S+) \(0x", subprocess.run(["ldd", program], text=True, capture_output=True, check=True).stdout
    )
    path = workshop.files(nothing="")
    for file in (program, *libraries):
        workshop.builder.write(f"{workshop.token}/context/root{file}", Path(file).read_bytes(), 0o755)
    key = workshop.path / "key"
    workshop.builder.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    fingerprint = workshop.builder.run(["ssh-keygen", "-lf", str(key)]).stdout.split()[1]
    workshop.build(
        **recipe(
            workshop,
            "COPY root /",
            "RUN --mount=type=ssh,id=deploy /usr/bin/ssh-add -l >/made",
            "RUN ls $SSH_AUTH_SOCK /none >/without 2>&1 || true",
        ),
        path=path,
        ssh=[f"deploy={key}"],
    )
    assert fingerprint in workshop.image().file("made")
    assert "sock" not in workshop.image().file("without")


@proves("volumes")
def test_volumes_are_mounted_and_said_to_be_uncovered(workshop: Workshop) -> None:
    volume = f"{workshop.files('shared', data='one')}:/mnt:ro"
    result = workshop.build(**recipe(workshop, "RUN cat /mnt/data >/made; ! touch /mnt/x"), volumes=[volume])
    assert workshop.image().file("made") == "one"
    assert result["uncovered"] == [f"volume {volume}"]
    assert not workshop.image().holds("mnt/data")


@proves("ulimits")
def test_ulimits_hold_in_steps(workshop: Workshop) -> None:
    text = recipe(workshop, "RUN ulimit -Sn >/made; ulimit -Hn >>/made")
    workshop.build(**text, ulimits=["nofile=321:654"])
    limited = workshop.image().file("made").split()
    workshop.build(**text, force=True, nocache=True)
    assert limited == ["321", "654"] != workshop.image().file("made").split()


LIMITS = {"memory": "512m", "cpu_shares": 512, "cpu_period": 50000, "cpu_quota": 25000, "cpuset_cpus": "0"}


@proves(*LIMITS)
def test_limits_of_memory_and_processors_are_handed_to_buildah(workshop: Workshop) -> None:
    # Only that: chroot isolation, all that this host may have, enforces none of them, which their documentation says.
    limited = workshop.build(**recipe(workshop, "RUN echo 1 >/made"), **LIMITS)
    plain = workshop.build(**recipe(workshop, "RUN echo 1 >/made"), force=True)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in LIMITS.items()]
    assert [flag for flag in flags if flag in words(limited)] == flags
    assert not any(word.split("=")[0] in {flag.split("=")[0] for flag in flags} for word in words(plain))
    for name in LIMITS:
        assert "Not enforced under V(chroot)" in documented(name)


def documented(option: str) -> str:
    """Return the text of the documentation about an option."""
    fragment = yaml.safe_load(getattr(ModuleDocFragment, "DOCUMENTATION"))  # noqa: B009 (set at run time)
    return " ".join(fragment["options"][option]["description"])


@proves("network")
def test_network_none_leaves_nobody_to_talk_to(workshop: Workshop) -> None:
    text = recipe(
        workshop,
        f"RUN nc -w 2 127.0.0.1 {workshop.registry.port} </dev/null && echo reached >/made || echo alone >/made",
        "RUN cat /proc/net/dev >/devices",
    )
    workshop.build(**text, network="none")
    alone = workshop.image().file("made").strip(), workshop.image().file("devices").count(":")
    result = workshop.build(**text, network="host", force=True, nocache=True)
    reached = workshop.image().file("made").strip(), workshop.image().file("devices").count(":")
    assert alone[0] == "alone" and reached[0] == "reached" and alone[1] <= reached[1]
    assert "--network=host" in words(result)


@proves("isolation", "isolation=chroot", "isolation=oci", "isolation=rootless")
def test_isolation_decides_whose_processes_a_step_sees(workshop: Workshop) -> None:
    text = recipe(workshop, "RUN echo $$ >/made")
    workshop.build(**text, isolation="chroot", environment={"BUILDAH_ISOLATION": "oci"})
    assert workshop.image().file("made").strip() != "1"
    for stronger in ("oci", "rootless"):
        result = workshop.call(**text, isolation=stronger, force=True, nocache=True)
        if result["failed"]:
            # crun refuses a hybrid cgroup hierarchy, for one: then it is that which says so.
            assert f"--isolation={stronger}" in result["cmd"]
            assert re.search(r"crun|runc|cgroup", result["stderr"] + result["msg"]), result
        else:
            assert workshop.image().file("made").strip() == "1"


# The layer cache.


@proves("nocache", "layers", "cache_ttl")
def test_the_layer_cache_is_used_unless_told_otherwise(workshop: Workshop) -> None:
    text = recipe(workshop, UUID, "RUN echo 1 >/made")

    def made(**options: Any) -> tuple[str, int]:
        workshop.build(**text, force=True, **options)
        return workshop.image().file("uuid"), len(workshop.image().manifest["layers"])

    first = made()
    assert made() == first
    assert made(cache_ttl="1h") == first
    expired, around, alone = made(cache_ttl="1ms"), made(nocache=True), made(layers=False)
    assert len({first[0], expired[0], around[0], alone[0]}) == 4
    # The layers of the base, and one for all steps.
    assert (around[1], alone[1]) == (first[1], first[1] - 1)


@proves("cache_from", "cache_to", "cache_auth_file")
def test_a_cache_in_a_registry_serves_a_builder_with_an_empty_store(
    workshop: Workshop, second_builder: Builder
) -> None:
    cache = f"{workshop.registry.address}/{workshop.token}/cache"
    text = {**recipe(workshop, UUID, "RUN cp /uuid /copy"), "registry_validate_certs": False}
    workshop.build(**text, cache_to=[cache], cache_auth_file=auth_file(workshop))
    content = workshop.image().file("copy")

    def elsewhere(name: str, **options: Any) -> tuple[list[bool], str]:
        other = f"{workshop.registry.address}/{workshop.token}/{name}:1"
        result = workshop.build(builder=second_builder, **text, name=other, **options)
        return [step["cached"] for step in result["steps"] if "RUN" in step["instruction"]], workshop.image(other).file(
            "copy"
        )

    login = auth_file(workshop)
    second_builder.write("cache-auth.json", Path(login).read_bytes(), 0o600)
    without_login = elsewhere("one", cache_from=[cache])
    assert without_login[0] == [False, False] and without_login[1] != content
    second_builder.run(["buildah", "rmi", "--all", "--force"])
    assert elsewhere("two", cache_from=[cache], cache_auth_file=str(second_builder.home / "cache-auth.json")) == (
        [True, True],
        content,
    )


@proves("cache_from", "cache_to")
def test_a_cache_in_a_registry_is_refused_where_it_could_lie(workshop: Workshop) -> None:
    cache = f"{workshop.registry.address}/{workshop.token}/cache"
    text = recipe(workshop, "RUN echo 1 >/made")
    refused = workshop.refused(**text, cache_from=[cache], volumes=["/srv:/srv"])
    assert "volumes cannot be used with cache_from and cache_to" in refused["msg"]
    assert "need layers" in workshop.refused(**text, cache_to=[cache], layers=False)["msg"]
    assert workshop.registry.tags(workshop.token) == []


@proves("force")
def test_a_forced_build_with_the_same_result_is_no_change(workshop: Workshop) -> None:
    text = {**recipe(workshop, "RUN echo 1 >/made"), "timestamp": 0}
    first = workshop.build(**text)
    forced = workshop.build(**text, force=True)
    assert forced["built"] and not forced["changed"] and forced["reasons"] == [{"reason": "forced"}]
    assert (forced["digest"], forced["image_id"]) == (first["digest"], first["image_id"])
    other = workshop.build(**recipe(workshop, UUID), force=True)
    assert other["changed"] and workshop.build(**recipe(workshop, UUID), force=True, nocache=True)["changed"]


# Bases and named contexts.


@proves("pull", "pull=newer", "pull=missing", "pull=always", "pull=never")
def test_pull_says_whether_the_store_or_the_registry_is_asked(workshop: Workshop) -> None:
    base = workshop.base_image("base", "old")
    workshop.builder.run(
        [
            "buildah",
            "pull",
            "-q",
            "--tls-verify=false",
            "--creds",
            f"{workshop.registry.username}:{workshop.registry.password}",
            base,
        ]
    )
    workshop.base_image("base", "new")
    text = {"containerfile_content": f"FROM {base}\nRUN cp /marker /made\n", "push": False}

    def made(**options: Any) -> str:
        workshop.build(**text, **options)
        return workshop.builder.image_file(workshop.name, "made").strip()

    assert {pull: made(pull=pull) for pull in ("never", "missing", "newer", "always")} == {
        "never": "old",
        "missing": "old",
        "newer": "new",
        "always": "new",
    }
    workshop.builder.run(["buildah", "rmi", "--force", base])
    assert made(pull="missing") == "new"
    assert "the local store has no such image" in workshop.refused(**text, pull="never")["msg"]
    both = {**text, "push": True}
    assert f"not pinned: {base}" in workshop.refused(**both, pull="missing")["msg"]


@proves("build_contexts")
def test_named_contexts_are_directories_images_and_addresses(workshop: Workshop, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("data")
        member.size = 7
        tar.addfile(member, io.BytesIO(b"address"))
    (tmp_path / "context.tar").write_bytes(archive.getvalue())
    image = workshop.base_image("other", "image")
    workshop.files("context/below", data="directory")
    with serving(tmp_path) as address:
        result = workshop.build(
            **recipe(
                workshop, "COPY --from=dir data /dir", "COPY --from=img /marker /img", "COPY --from=url data /url"
            ),
            path=str(workshop.path / "context"),
            build_contexts={"dir": "below", "img": f"docker-image://{image}", "url": f"{address}/context.tar"},
        )
    served = workshop.image()
    assert [served.file(name).strip() for name in ("dir", "img", "url")] == ["directory", "image", "address"]
    assert result["uncovered"] == [f"build context url at {address}/context.tar"]
    assert result["base_images"][image] == workshop.image(image).digest


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serve a directory over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@proves("platform")
def test_several_platforms_give_an_index_of_images_that_hold_the_same(workshop: Workshop) -> None:
    text = {
        "containerfile_content": "FROM scratch\nARG TARGETARCH\nCOPY data-$TARGETARCH /data\n",
        "path": workshop.files(**{f"data-{arch}": arch for arch in ("amd64", "arm64", "s390x")}),
    }
    result = workshop.build(**text, platform=["linux/amd64", "arm64", "linux/s390x"])
    index = workshop.image()
    assert index.manifest["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert {entry["mediaType"] for entry in index.manifest["manifests"]} == {
        "application/vnd.oci.image.manifest.v1+json"
    }
    assert result["digest"] == index.digest
    for architecture in ("amd64", "arm64", "s390x"):
        child = index.child(architecture)
        assert (child.config["architecture"], child.file("data")) == (architecture, architecture)
    workshop.build(**text, platform=["linux/amd64", "arm64"], format="docker")
    listed = workshop.image().manifest
    assert listed["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    assert {entry["mediaType"] for entry in listed["manifests"]} == {
        "application/vnd.docker.distribution.manifest.v2+json"
    }


# Where the result goes.


@proves(
    "outputs",
    "outputs.dest",
    "outputs.type",
    "outputs.type=local",
    "outputs.type=tar",
    "outputs.type=oci",
    "outputs.type=oci-archive",
    "outputs.type=docker-archive",
)
def test_outputs_of_every_type_are_written_and_written_again_when_damaged(workshop: Workshop) -> None:
    out = workshop.path / "out"
    workshop.builder.run(["mkdir", str(out)])
    outputs = [
        {"type": kind, "dest": str(out / kind)} for kind in ("local", "tar", "oci", "oci-archive", "docker-archive")
    ]
    text = {
        "containerfile_content": "FROM scratch\nCOPY data /sub/data\n",
        "path": workshop.files(data="one"),
        "outputs": outputs,
    }
    workshop.build(**text)
    assert (out / "local/sub/data").read_text() == "one"
    assert "./sub/data" in tar_names(out / "tar")
    config = workshop.image().manifest["config"]["digest"].partition(":")[2]
    assert (out / "oci/blobs/sha256" / config).exists()
    assert f"blobs/sha256/{config}" in tar_names(out / "oci-archive")
    with tarfile.open(out / "docker-archive") as archive:
        listed = archive.extractfile("manifest.json")
        assert listed and json.load(listed)[0]["Layers"]
    assert not workshop.build(**text)["changed"]

    (out / "tar").write_bytes(b"")
    (out / "local/sub/data").unlink()
    again = workshop.build(**text)
    assert again["changed"] and not again["built"] and again["pushed"] == []
    assert again["reasons"] == [{"reason": "output", "name": str(out / kind)} for kind in ("local", "tar")]
    assert (out / "local/sub/data").read_text() == "one" and "./sub/data" in tar_names(out / "tar")


def tar_names(path: Path) -> list[str]:
    """Return the names in a tar archive."""
    with tarfile.open(path) as archive:
        return archive.getnames()


@proves("push", "destinations", "load")
def test_a_build_goes_to_each_destination_and_only_load_brings_it_back(
    workshop: Workshop, second_builder: Builder
) -> None:
    places = [f"{workshop.registry.address}/{workshop.token}/{name}" for name in ("one:1", "two:2")]
    text = {**recipe(workshop, "RUN echo 1 >/made"), "destinations": places}
    result = workshop.build(**text)
    assert [(entry["destination"], entry["action"]) for entry in result["pushed"]] == [
        (places[0], "push"),
        (places[1], "copy"),
    ]
    assert {workshop.image(place).digest for place in places} == {result["digest"]}
    assert workshop.registry.tags(workshop.token) == []

    assert not workshop.build(builder=second_builder, **text)["changed"]
    assert local_id(second_builder, workshop.name) == ""
    loaded = workshop.build(builder=second_builder, **text, load=True)
    assert loaded["changed"] and not loaded["built"] and loaded["reasons"] == [{"reason": "not_loaded"}]
    assert local_id(second_builder, workshop.name) == result["image_id"]
    assert not workshop.build(builder=second_builder, **text, load=True)["changed"]


@proves("compression_level")
def test_the_level_of_compression_shows_in_the_size(workshop: Workshop) -> None:
    def pushed(level: int) -> int:
        lines = "".join(f"{number * 7919 % 65537} {number} some line of text\n" for number in range(20000))
        path = workshop.files(f"level{level}", data=f"{level}\n{lines}")
        workshop.build(**recipe(workshop, "COPY data /data"), path=path, compression_level=level)
        return int(workshop.image().manifest["layers"][-1]["size"])

    assert pushed(9) < 0.95 * pushed(1)


@proves("format=docker", "compression_format=zstd")
def test_dockers_format_holds_when_the_registry_has_the_layers_in_a_compression_that_docker_lacks(
    workshop: Workshop,
) -> None:
    text = recipe(workshop, "RUN echo 1 >/made")
    workshop.build(**text, compression_format="zstd")
    assert {media_type.rpartition("+")[2] for media_type in workshop.image().media_types} == {"zstd"}
    workshop.build(**text, format="docker")
    assert workshop.image().manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert set(workshop.image().media_types) == {"application/vnd.docker.image.rootfs.diff.tar.gzip"}


@proves("extra_push_args")
def test_further_arguments_reach_the_push(workshop: Workshop) -> None:
    text = {**recipe(workshop, "RUN echo 1 >/made"), "format": "oci"}
    workshop.build(**text, extra_push_args=["--format=v2s2"])
    assert workshop.image().manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture(scope="module")
def key(builder: Builder) -> str:
    """The fingerprint of a throw-away GPG key."""
    return make_signing_key(builder)


@proves("sign_by", "trust", "trust=any", "trust=signed", "trust_policy")
def test_a_record_that_nobody_signed_counts_only_where_everybody_is_trusted(
    workshop: Workshop, second_builder: Builder, key: str
) -> None:
    text = recipe(workshop, "RUN echo 1 >/made")
    strict = {"trust": "signed", "trust_policy": signing_policy(workshop)}
    first = workshop.build(**text)
    assert not workshop.build(**text, trust="any")["changed"]
    assert workshop.build(**text, **strict, check=True)["changed"]
    assert "needs trust_policy" in workshop.refused(**text, trust="signed")["msg"]

    signed = workshop.build(**text, sign_by=key)
    assert [entry["action"] for entry in signed["pushed"]] == ["sign"]
    assert (signed["built"], signed["digest"]) == (False, first["digest"])
    assert not workshop.build(**text, sign_by=key, **strict)["changed"]
    # The image is signed just as its record is: the policy holds for whoever pulls it.
    workshop.builder.run(
        [
            "skopeo",
            "--policy",
            str(strict["trust_policy"]),
            "copy",
            "--src-tls-verify=false",
            "--src-creds",
            f"{workshop.registry.username}:{workshop.registry.password}",
            f"docker://{workshop.name}",
            f"dir:{workshop.path}/copy",
        ]
    )


# How registries are reached.


@proves("retries", "retry_delay")
def test_a_registry_that_is_busy_for_a_moment_is_asked_again(workshop: Workshop) -> None:
    front = Front(workshop.registry.port)
    name = f"{front.address}/{workshop.token}:1"
    # Nothing to do, so that all there is are questions.
    text = {
        "containerfile_content": "FROM scratch\nCOPY data /data\n",
        "path": workshop.files(data="one"),
        "name": name,
    }
    workshop.build(**text)

    def asked(times: int, **options: Any) -> tuple[dict[str, Any], float]:
        """Return the result while the first answers are refusals, and the seconds between the first two questions."""
        moments: list[float] = []

        def refuse(_method: str, path: str) -> Answer | None:
            if not path.endswith(f"{workshop.token}/manifests/1"):
                return None
            moments.append(time.monotonic())
            return Answer.error(503, "UNAVAILABLE", "busy") if len(moments) <= times else None

        with front.refusing(refuse):
            result = workshop.call(**{**text, **options})
        return result, moments[1] - moments[0] if len(moments) > 1 else 0.0

    try:
        assert asked(1, retries=0)[0]["failed"]
        assert asked(3, retries=2, retry_delay="10ms")[0]["failed"]
        patient, pause = asked(2, retries=2, retry_delay="1500ms")
        hasty, no_pause = asked(2, retries=2, retry_delay="10ms")
        assert not patient["failed"] and not hasty["failed"]
        assert no_pause < 1.5 <= pause
        refused: list[str] = []

        def refuse_once(method: str, path: str) -> Answer | None:
            if method == "PUT" and path.endswith(f"{workshop.token}/manifests/1") and not refused:
                refused.append(path)
                return Answer.error(503, "UNAVAILABLE", "busy")
            return None

        with front.refusing(refuse_once):
            workshop.files(data="two")
            assert workshop.build(**text, retries=1, retry_delay="10ms")["changed"] and refused
    finally:
        front.close()


@proves("registry_auth_file", "registry_username", "registry_password")
def test_a_login_comes_from_a_file_or_from_name_and_password(workshop: Workshop) -> None:
    text = recipe(workshop, "RUN echo 1 >/made")
    nothing: dict[str, Any] = {"registry_username": None, "registry_password": None}
    assert "wants a login" in workshop.refused(**text, **nothing)["msg"]
    for wrong in ({"registry_password": "wrong"}, {"registry_username": "nobody"}):
        assert "does not accept the login" in workshop.refused(**text, **wrong)["msg"]
    assert workshop.build(**text, **nothing, registry_auth_file=auth_file(workshop))["changed"]
    assert not workshop.build(**text)["changed"]
    assert {"parameters are required together: registry_username, registry_password"} == {
        workshop.refused(**text, **{name: None})["msg"] for name in nothing
    }


@proves("registry_ca_dir", "registry_validate_certs")
def test_certificates_are_validated_against_a_directory_unless_told_otherwise(workshop: Workshop, place: Path) -> None:
    secure = Registry(place / "secure", tls=True)
    subprocess.run(["chmod", "-R", "a+rX", str(secure.ca)], check=True)
    text = {
        "containerfile_content": "FROM scratch\nCOPY data /data\n",
        "path": workshop.files(data="one"),
        "name": f"{secure.address}/{workshop.token}:1",
    }
    try:
        for trusting in ({"registry_validate_certs": True}, {"registry_validate_certs": None}):
            assert "the certificate of" in workshop.refused(**text, **trusting)["msg"]
        assert workshop.build(**text, registry_validate_certs=True, registry_ca_dir=str(secure.ca))["changed"]
        assert not workshop.build(**text, registry_validate_certs=False)["changed"]
    finally:
        secure.stop()


# Who builds, where, and who waits.


@proves("storage", "storage.driver", "storage.graphroot", "storage.runroot", "storage.additional_stores")
def test_another_store_holds_the_image_and_may_look_into_a_further_one(workshop: Workshop) -> None:
    builder = workshop.builder
    base = workshop.build(
        **recipe(workshop, "RUN echo 1 >/made"), name="localhost/only-here", push=False, **by_file(workshop)
    )
    text = {"containerfile_content": "FROM localhost/only-here\nRUN cp /made /copied\n", "push": False}

    def store(number: int, driver: str, *additional: str) -> dict[str, Any]:
        roots = {name: str(workshop.path / f"{name}{number}") for name in ("graphroot", "runroot")}
        return {"driver": driver, **roots, "additional_stores": list(additional)}

    assert "does not exist" in workshop.refused(**text, storage=store(1, "overlay"))["msg"]
    usual = json.loads(builder.run(["buildah", "info"]).stdout)["store"]["GraphRoot"]
    built = workshop.build(**text, storage=store(2, "overlay", usual))
    alone = workshop.build(
        containerfile_content="FROM scratch\nCOPY data /data\n",
        path=workshop.files(data="one"),
        push=False,
        name=f"{workshop.name}-alone",
        storage=store(3, "vfs"),
    )
    held = [
        json.loads((workshop.path / f"graphroot{number}/{driver}-images/images.json").read_text())
        for number, driver in ((2, "overlay"), (3, "vfs"))
    ]
    assert [
        built["image_id"] in {image["id"] for image in held[0]},
        base["image_id"] in {image["id"] for image in held[0]},
    ] == [True, False]
    assert alone["image_id"] in {image["id"] for image in held[1]}
    assert (workshop.path / "runroot2").is_dir() and (workshop.path / "runroot3").is_dir()
    assert local_id(builder, workshop.name) == ""
    assert not workshop.build(**text, storage=store(2, "overlay", usual))["changed"]


@proves("storage.strategy", "storage.project")
@proves("storage.strategy=host", "storage.strategy=project", "storage.strategy=isolated")
@pytest.mark.parametrize("strategy", ["host", "project", "isolated"])
def test_the_strategy_says_where_the_image_stays(workshop: Workshop, strategy: str) -> None:
    storage = {"strategy": strategy, "project": "of-options"}
    built = workshop.build(**recipe(workshop, "RUN echo 1 >/made"), storage=storage)
    # With the flag for the store alone buildah 1.28 takes root's place for its state.
    root = [f"--root={workshop.builder.home}/.local/share/containers/stores/projects/of-options",
            f"--runroot={workshop.path}/runroot"]
    known = {name: workshop.builder.run(["buildah", *flags, "images", "--all", "--quiet", "--no-trunc"]).stdout
             for name, flags in {"host": [], "project": root}.items()}
    assert {name for name, ids in known.items() if built["image_id"] in ids} == {strategy} - {"isolated"}


@proves("allow_root")
def test_root_is_refused_unless_told_otherwise(workshop: Workshop, library: Path) -> None:
    # In a mount namespace where what root would leave behind goes with it.
    path = workshop.files(data="one", Containerfile="FROM scratch\nCOPY data /data\n")
    script = (
        "for place in /root /var/lib /var/tmp /run /tmp-; do [ -d $place ] && mount -t tmpfs none $place; done\n"
        f'"{PYTHON}" -m ansible_collections.rootless.buildah.plugins.modules.buildah_build; echo; '
        "buildah inspect --type=image --format={{.FromImageID}} localhost/by-root 2>/dev/null"
    )

    def as_root(**options: Any) -> tuple[dict[str, Any], str]:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            text=True,
            capture_output=True,
            cwd="/",
            check=False,
            input=Builder.arguments({"name": "by-root", "path": path, "isolation": "chroot", **options}),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(library), "STORAGE_DRIVER": "overlay", "HOME": "/root"},
        )
        told, _line, image = done.stdout.strip().partition("\n")
        return json.loads(told), image.strip()

    refused, nothing = as_root()
    assert refused["failed"] and "runs as root" in refused["msg"] and nothing == ""
    built, image = as_root(allow_root=True)
    assert built["changed"] and built["image_id"] == image != ""


@proves("lock_timeout")
def test_a_run_waits_for_another_one_no_longer_than_allowed(workshop: Workshop) -> None:
    text = {"containerfile_content": "FROM scratch\nCOPY data /data\n", "path": workshop.files(data="one")}
    workshop.build(**text)
    workshop.files(data="two")
    with open(State(str(workshop.builder.state)).lock_path(workshop.name), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begun = time.monotonic()
        refused = workshop.refused(**text, lock_timeout=1)
        assert "is being built by another run" in refused["msg"] and "within 1 seconds" in refused["msg"]
        assert time.monotonic() - begun >= 1
        threading.Timer(1.5, fcntl.flock, (lock, fcntl.LOCK_UN)).start()
        begun = time.monotonic()
        assert workshop.build(**text, lock_timeout=60)["changed"]
        assert time.monotonic() - begun >= 1.5

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task may ask for, and the words in which it is refused."""

from __future__ import annotations

import ast
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils import _inputs
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import (
    DEFAULT_NAMES,
    RESERVED_VARIABLES,
    BuildInputs,
    Output,
    Secret,
    check_versions,
    duration_seconds,
    host_platform,
    normalise_platform,
    refresh_seconds,
    refuse_to_lose,
    unpinned_with_push,
    unseen_by_cache,
    validate,
    warnings,
)
from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS

RECIPE = "FROM scratch\n"
REGISTRY_NAME = "registry.example.com/team/app:1"
PINNED = "registry.example.com/base/debian@sha256:" + "1" * 64


def inputs(**given: Any) -> BuildInputs:
    """What Ansible hands over for a task: every option, with its default where nothing is given."""
    defaults = {option.name: option.spec.get("default") for option in OPTIONS}
    return validate({**defaults, "name": "app", **given})


def image(**given: Any) -> BuildInputs:
    return inputs(**{"containerfile_content": RECIPE, **given})


def script(**given: Any) -> BuildInputs:
    return inputs(**{"script": "true\n", **given})


@dataclass(frozen=True)
class Refusal:
    """An input that is refused, and the words: the message as a whole, of cause and remedy what is to be acted on."""

    call: Callable[[], Any]
    message: str
    cause: str
    remedy: str


BASES = [ImageName.parse(name) for name in ("registry.example.com/base/debian:12", "localhost/base:1", PINNED)]
BOTH = ["linux/amd64", "linux/arm64"]
SECRET = {"id": "token", "value": "hush"}

REFUSALS = {
    # The recipe.
    "nothing": Refusal(inputs, "there is nothing to build", "none of path, containerfile, ", "build context with path"),
    "no directory": Refusal(
        lambda: inputs(path="/nowhere"),
        "path /nowhere is no directory",
        "",
        "the directory that holds the build context",
    ),
    "no Containerfile": Refusal(
        lambda: inputs(path="/proc"),
        "path /proc holds no Containerfile",
        "neither Containerfile nor Dockerfile is there",
        "containerfile",
    ),
    "Containerfile that is not there": Refusal(
        lambda: inputs(path="/proc", containerfile="other"),
        "The Containerfile /proc/other cannot be read",
        "No such file or directory",
        "the builder user may read it",
    ),
    "script that is not there": Refusal(
        lambda: inputs(script_file="/nowhere/script"),
        "The script /nowhere/script cannot be read",
        "No such file or directory",
        "the builder user may read it",
    ),
    # Values.
    "platform": Refusal(
        lambda: image(platform=["linux/arm64/v8/x"]),
        "platform 'linux/arm64/v8/x' is malformed",
        "",
        "os/arch or os/arch/variant, for example linux/arm64",
    ),
    "refresh": Refusal(
        lambda: image(refresh="weekly"), "refresh 'weekly' is malformed", "", "h, d or w, for example 7d"
    ),
    "retry_delay": Refusal(
        lambda: image(retry_delay="2"), "retry_delay '2' is malformed", "", "ms, s, m or h, for example 2s"
    ),
    "cache_ttl": Refusal(
        lambda: image(cache_ttl="1d"), "cache_ttl '1d' is malformed", "", "ms, s, m or h, for example 2s"
    ),
    "list as text": Refusal(lambda: image(args={"A": ["x"]}), "args.A must be text", "it is list", "Quote the value"),
    "mapping as text": Refusal(
        lambda: image(labels={"a": {}}), "labels.a must be text", "it is dict", "Quote the value"
    ),
    "nothing as text": Refusal(
        lambda: image(env={"A": None}), "env.A must be text", "it is NoneType", "Quote the value"
    ),
    "base as text": Refusal(
        lambda: script(base_images={"BASE": ["x"]}), "base_images.BASE must be text", "it is list", "Quote the value"
    ),
    # Secrets.
    "secret from nowhere": Refusal(
        lambda: image(secrets=[{"id": "token"}]),
        "secret 'token' needs exactly one of src, env and value",
        "given: none",
        "Remove the others",
    ),
    "secret from two places": Refusal(
        lambda: image(secrets=[{**SECRET, "src": "/token"}]),
        "secret 'token' needs exactly one of src, env and value",
        "given: src, value",
        "Remove the others",
    ),
    "secret's id": Refusal(
        lambda: image(secrets=[{**SECRET, "id": "a,b"}]),
        "secret id 'a,b' is malformed",
        "",
        "letters, digits, dots, underscores and dashes",
    ),
    "two secrets": Refusal(
        lambda: image(secrets=[SECRET, SECRET]), "two secrets have the same id", "", "Give each secret an id of its own"
    ),
    # Destinations.
    "push to nowhere": Refusal(
        lambda: image(push=True),
        "push: there is nowhere to push app:latest to",
        "the name holds no registry",
        "Put the registry into name, or list destinations",
    ),
    "load": Refusal(
        lambda: image(load=True),
        "load needs push",
        "without push the image is in the local store anyway",
        "Remove load",
    ),
    # Scripts.
    "options that scripts do not take": Refusal(
        lambda: script(target="debug", labels={"a": "1"}, secrets=[SECRET]),
        "a native script takes no target, labels, secrets",
        "the script itself calls buildah and decides",
        "buildah config, buildah run or buildah copy",
    ),
    "variable": Refusal(
        lambda: script(args={"a-b": "1"}),
        "'a-b' cannot be a variable of the script",
        "reserved: IMAGE, ARTIFACTS, PLATFORM, PATH, HOME",
        "Choose another name",
    ),
    "variable twice": Refusal(
        lambda: script(args={"B": "1", "A": "1", "C": "1"}, base_images={"A": "debian:12", "B": "debian:12"}),
        "args and base_images both define A, B",
        "",
        "Rename one of them",
    ),
    "base_images of a Containerfile": Refusal(
        lambda: image(base_images={"BASE": "debian:12"}),
        "base_images and artifacts belong to native scripts",
        "a Containerfile names its bases itself",
        "Use FROM and outputs, or write a script",
    ),
    "artifacts of a Containerfile": Refusal(
        lambda: image(artifacts="/made"),
        "base_images and artifacts belong to native scripts",
        "a Containerfile names its bases itself",
        "Use FROM and outputs, or write a script",
    ),
    # Options that do not go together.
    "runroot": Refusal(
        lambda: image(storage={"runroot": "/run/store"}),
        "storage.runroot needs storage.graphroot",
        "buildah takes the two together only",
        "storage.conf (role builder)",
    ),
    "nothing left of an image": Refusal(
        lambda: refuse_to_lose(image()),
        "nothing would be left of app:latest",
        "its store goes with the build, and it is neither pushed nor exported",
        "Set push, outputs or artifacts",
    ),
    "load into a store that goes": Refusal(
        lambda: refuse_to_lose(image(name=REGISTRY_NAME, push=True, load=True)),
        "load and storage.strategy: isolated exclude each other",
        "the store into which the image would be loaded goes with the build",
        "Remove load",
    ),
    "outputs of two platforms": Refusal(
        lambda: image(platform=BOTH, outputs=[{"type": "tar", "dest": "/app.tar"}]),
        "outputs and artifacts need a single platform",
        "an export holds one root file system",
        "Build the platforms in tasks of their own",
    ),
    "artifacts of two platforms": Refusal(
        lambda: script(platform=BOTH, artifacts="/made"),
        "outputs and artifacts need a single platform",
        "an export holds one root file system",
        "Build the platforms in tasks of their own",
    ),
    "zstd in Docker's format": Refusal(
        lambda: image(format="docker", compression_format="zstd"),
        "compression_format: zstd needs format: oci",
        "Docker's format knows no such layers",
        "Remove format, or compression_format",
    ),
    "zstd of two platforms": Refusal(
        lambda: image(platform=BOTH, compression_format="zstd"),
        "compression_format: zstd needs a single platform",
        "buildah pushes the images of an index compressed with gzip",
        "build the platforms in tasks of their own",
    ),
    "signatures without a policy": Refusal(
        lambda: image(trust="signed"),
        "trust: signed needs trust_policy",
        "which signatures count is said by a policy file",
        "containers-policy.json(5)",
    ),
    **{
        f"{option} without layers": Refusal(
            lambda option=option: image(layers=False, **{option: ["registry.example.com/cache"]}),  # type: ignore[misc]
            "cache_from and cache_to need layers",
            "buildah exchanges layers only when it keeps them",
            "Remove layers: false",
        )
        for option in ("cache_from", "cache_to")
    },
    # What else is there.
    **{
        f"pull {pull} and push": Refusal(
            lambda pull=pull: unpinned_with_push(image(name=REGISTRY_NAME, push=True, pull=pull), BASES),  # type: ignore[misc]
            f"pull: {pull} with push needs bases pinned by digest",
            "not pinned: registry.example.com/base/debian:12",
            "Write the base as name@sha256:…, or as localhost/name if the local store is meant, or use pull: newer",
        )
        for pull in ("missing", "never")
    },
    "old buildah": Refusal(
        lambda: check_versions(image(), (1, 27, 3)),
        "buildah 1.27.3 is too old",
        "this collection needs 1.28 or newer",
        "role builder_tools",
    ),
    "option of a newer buildah": Refusal(
        lambda: check_versions(image(source_date_epoch=0), (1, 40, 9)),
        "source_date_epoch needs buildah 1.41",
        "this host has 1.40.9",
        "Remove source_date_epoch, or upgrade buildah",
    ),
    **{
        f"unseen by the cache and {option}": Refusal(
            lambda option=option: check_versions(  # type: ignore[misc]
                image(volumes=["/a:/a"], timestamp=0, **{option: ["registry.example.com/cache"]}), (1, 40, 0)
            ),
            "timestamp, volumes cannot be used with cache_from and cache_to",
            "the layer cache of buildah 1.40.0 does not compare that",
            "Remove cache_from and cache_to",
        )
        for option in ("cache_from", "cache_to")
    },
    **{
        f"two of {option}": Refusal(
            lambda option=option: check_versions(image(**{option: ["r.example/a", "r.example/b"]}), (1, 28, 2)),  # type: ignore[misc]
            f"more than one {option} needs buildah 1.29",
            "this host has 1.28.2",
            "Name a single repository, or upgrade buildah",
        )
        for option in ("cache_from", "cache_to")
    },
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_what_is_wrong_why_and_what_to_do(name: str) -> None:
    refusal = REFUSALS[name]
    with pytest.raises(InputError) as error:
        refusal.call()
    assert error.value.message == refusal.message
    assert refusal.cause in error.value.cause and bool(refusal.cause) == bool(error.value.cause)
    assert refusal.remedy in error.value.remedy


def test_every_refusal_of_the_module_is_met_here() -> None:
    source = Path(_inputs.__file__)
    raised = {
        (node.lineno, node.end_lineno or 0)
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and node.exc is not None
    }
    met = set()
    for refusal in REFUSALS.values():
        with pytest.raises(InputError) as error:
            refusal.call()
        met |= {entry.lineno + 1 for entry in error.traceback if Path(str(entry.path)) == source}
    missed = [first for first, last in raised if not met & set(range(first, last + 1))]
    assert raised and not missed, f"lines of {source.name}"


class TestRecipe:
    def test_a_text(self) -> None:
        found = image(containerfile_content="FROM ä\n")
        assert (found.recipe, found.containerfile, found.is_script) == ("FROM ä\n".encode(), None, False)

    def test_a_script(self) -> None:
        found = script(script="echo ä\n")
        assert (found.recipe, found.containerfile, found.is_script) == ("echo ä\n".encode(), None, True)

    def test_the_file_of_a_script(self, tmp_path: Path) -> None:
        (tmp_path / "script").write_bytes(b"\x00true\r\n")
        found = inputs(script_file=str(tmp_path / "script"))
        assert (found.recipe, found.is_script) == (b"\x00true\r\n", True)

    def test_a_path_alone_has_a_containerfile_or_a_dockerfile(self, tmp_path: Path) -> None:
        for name in reversed(DEFAULT_NAMES):
            (tmp_path / name).write_text(f"# {name}\n")
            found = inputs(path=str(tmp_path))
            assert (found.containerfile, found.is_script) == (str(tmp_path / name), False)
            assert found.recipe == f"# {name}\n".encode()
        assert DEFAULT_NAMES == ("Containerfile", "Dockerfile")

    def test_a_directory_is_no_containerfile(self, tmp_path: Path) -> None:
        (tmp_path / "Containerfile").mkdir()
        (tmp_path / "Dockerfile").write_text(RECIPE)
        assert inputs(path=str(tmp_path)).containerfile == str(tmp_path / "Dockerfile")

    def test_the_containerfile_is_relative_to_the_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "context/sub").mkdir(parents=True)
        (tmp_path / "context/sub/file").write_text("# in the context\n")
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub/file").write_text("# in the working directory\n")
        monkeypatch.chdir(tmp_path)
        found = inputs(path="context", containerfile="sub/file")
        assert (found.path, found.recipe) == (str(tmp_path / "context"), b"# in the context\n")
        assert (found.containerfile, found.is_script) == (str(tmp_path / "context/sub/file"), False)

    def test_an_absolute_containerfile_lies_where_it_says(self, tmp_path: Path) -> None:
        (tmp_path / "context").mkdir()
        (tmp_path / "file").write_text(RECIPE)
        found = inputs(path=str(tmp_path / "context"), containerfile=str(tmp_path / "file"))
        assert found.containerfile == str(tmp_path / "file")

    def test_a_recipe_needs_no_path_and_a_path_is_kept_with_one(self, tmp_path: Path) -> None:
        assert image().path is script().path is None
        assert image(path=str(tmp_path)).path == script(path=str(tmp_path)).path == str(tmp_path)


class TestValues:
    def test_numbers_and_truth_are_text_as_yaml_writes_them(self) -> None:
        found = image(args={"A": 1, "B": True, "C": False, "D": 1.5, 5: "x", "E": ""})
        assert found["args"] == {"A": "1", "B": "true", "C": "false", "D": "1.5", "5": "x", "E": ""}

    @pytest.mark.parametrize("option", ["args", "labels", "annotations", "env", "build_contexts"])
    def test_mappings_hold_text(self, option: str) -> None:
        assert image(**{option: {"A": 1}})[option] == {"A": "1"}
        assert image()[option] == {}

    @pytest.mark.parametrize(
        "option", ["ssh", "volumes", "cache_from", "cache_to", "ulimits", "extra_build_args", "extra_push_args"]
    )
    def test_lists_keep_their_order(self, option: str) -> None:
        assert image(**{option: ["b", "a"]})[option] == ["b", "a"]
        assert image()[option] == []

    def test_every_option_can_be_asked_for(self) -> None:
        found = image()
        for option in OPTIONS:
            if "default" in option.spec:
                assert found[option.name] == option.spec["default"], option.name
            else:
                found[option.name]

    def test_the_name_with_its_tag_and_the_name_in_the_local_store(self) -> None:
        found = image(name="app", tag="1")
        assert (str(found.image), found.local_name) == ("app:1", "localhost/app:1")
        assert image(name=REGISTRY_NAME).local_name == REGISTRY_NAME

    def test_outputs(self) -> None:
        outputs = [{"type": "tar", "dest": "/b.tar"}, {"type": "local", "dest": "/a"}]
        assert image(outputs=outputs).outputs == (Output("tar", "/b.tar"), Output("local", "/a"))

    def test_base_images_of_a_script(self) -> None:
        found = script(base_images={"BASE": "debian", "OTHER": PINNED})
        assert {word: str(name) for word, name in found.base_images.items()} == {
            "BASE": "debian:latest",
            "OTHER": PINNED,
        }


class TestSecrets:
    def test_they_are_sorted_by_id(self) -> None:
        found = image(
            secrets=[{"id": "b", "env": "B", "version": "2"}, {"id": "a", "src": "/a"}, {"id": "c", "value": ""}]
        )
        assert found.secrets == (
            Secret("a", src="/a"),
            Secret("b", env="B", version="2"),
            Secret("c", value=""),
        )

    @pytest.mark.parametrize("identifier", ["a", "A.b_c-1", "0"])
    def test_ids(self, identifier: str) -> None:
        assert image(secrets=[{**SECRET, "id": identifier}]).secrets[0].id == identifier

    # An id is a word of the flag --secret=id=…,src=… and the name of a file.
    @pytest.mark.parametrize("identifier", ["", ".", "..", "-a", "a/b", "a=b", "a b", "a\n", "ä"])
    def test_what_is_no_id(self, identifier: str) -> None:
        with pytest.raises(InputError, match="is malformed"):
            image(secrets=[{**SECRET, "id": identifier}])

    def test_a_value_is_not_shown_by_accident(self) -> None:
        assert "hush" not in repr(image(secrets=[SECRET]))


class TestDestinations:
    def test_without_push_there_are_none(self) -> None:
        assert image(name=REGISTRY_NAME, destinations=[REGISTRY_NAME]).destinations == ()

    def test_the_name_is_one_when_nothing_else_is_said(self) -> None:
        assert image(name=REGISTRY_NAME, push=True).destinations == (ImageName.parse(REGISTRY_NAME),)

    def test_the_list_replaces_the_name(self) -> None:
        names = ["registry.example.com/b", "mirror.example.com/a:2"]
        found = image(name=REGISTRY_NAME, push=True, destinations=names)
        assert [str(name) for name in found.destinations] == ["registry.example.com/b:latest", "mirror.example.com/a:2"]

    def test_a_name_without_registry_can_be_pushed_elsewhere(self) -> None:
        assert image(push=True, destinations=[REGISTRY_NAME]).destinations == (ImageName.parse(REGISTRY_NAME),)

    def test_the_same_twice_is_one(self) -> None:
        names = ["r.example/a", "docker://r.example/a:latest", "r.example/b"]
        found = image(push=True, destinations=names)
        assert [str(name) for name in found.destinations] == ["r.example/a:latest", "r.example/b:latest"]

    @pytest.mark.parametrize(("text", "words"), [(PINNED, "holds a digest"), ("localhost/app", "names no registry")])
    def test_what_cannot_be_pushed_to_is_refused(self, text: str, words: str) -> None:
        with pytest.raises(InputError, match=words):
            image(push=True, destinations=[text])

    @pytest.mark.parametrize("given", [{"name": PINNED}, {"name": "app:1", "tag": "2"}, {"tag": "a/b"}])
    def test_a_name_that_cannot_be_built_is_refused(self, given: Any) -> None:
        with pytest.raises(InputError):
            image(**given)


class TestAbsent:
    def test_it_needs_a_name_and_nothing_else(self) -> None:
        found = inputs(state="absent", tag="1")
        assert found.local_name == "localhost/app:1"
        assert (found.recipe, found.containerfile, found.is_script) == (b"", None, False)

    def test_registries_are_never_touched(self) -> None:
        assert inputs(state="absent", push=True).destinations == ()
        assert inputs(state="absent", name=REGISTRY_NAME, push=True, destinations=[REGISTRY_NAME]).destinations == ()

    def test_how_the_image_would_be_built_does_not_matter(self) -> None:
        assert inputs(state="absent", path="/nowhere", script="true", target="debug", refresh="x", load=True)["state"]


class TestPlatforms:
    @pytest.mark.parametrize(
        ("text", "platform_name"),
        [
            ("linux/amd64", "linux/amd64"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("amd64", "linux/amd64"),
            ("Linux/AMD64", "linux/amd64"),
            (" linux/amd64 ", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            # Every arm64 is v8 (containerd's platforms package, which buildah follows).
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64/v8", "linux/arm64"),
            ("linux/arm/v8", "linux/arm/v8"),
            ("windows/amd64", "windows/amd64"),
        ],
    )
    def test_a_platform_has_one_name(self, text: str, platform_name: str) -> None:
        assert normalise_platform(text) == platform_name

    @pytest.mark.parametrize(
        "text", ["", "/", "linux/", "/amd64", "linux//v8", "a/b/c/d", "linux/a b", "linux/amd64,x"]
    )
    def test_what_is_no_platform(self, text: str) -> None:
        with pytest.raises(InputError, match="is malformed"):
            normalise_platform(text)

    def test_they_are_sorted_and_each_is_there_once(self) -> None:
        found = image(platform=["s390x", "linux/arm64/v8", "arm64", "linux/arm/v7", "riscv64", "amd64", "386"])
        assert found.platforms == (
            "linux/386",
            "linux/amd64",
            "linux/arm/v7",
            "linux/arm64",
            "linux/riscv64",
            "linux/s390x",
        )

    @pytest.mark.parametrize("given", [None, []])
    def test_the_hosts_own_when_none_is_given(self, given: Optional[Sequence[str]]) -> None:
        assert image(platform=given).platforms == (host_platform(),)

    @pytest.mark.parametrize(
        ("machine", "name"),
        [
            ("x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("armv7l", "linux/arm/v7"),
            ("armv6l", "linux/arm/v6"),
            ("i686", "linux/386"),
            ("ppc64le", "linux/ppc64le"),
            ("s390x", "linux/s390x"),
            ("riscv64", "linux/riscv64"),
            ("loongarch64", "linux/loong64"),
            ("unheard-of", "linux/unheard-of"),
        ],
    )
    def test_the_host_has_gos_name(self, machine: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "machine", lambda: machine)
        assert host_platform() == name
        assert normalise_platform(name) == name


# Everything about the image that buildah build gets as a flag; a script says it itself.
NOT_FOR_SCRIPTS: dict[str, Any] = {
    "target": "debug",
    "build_contexts": {"docs": "docs"},
    "ssh": ["default"],
    "squash": True,
    "cache_from": ["registry.example.com/cache"],
    "cache_to": ["registry.example.com/cache"],
    "volumes": ["/a:/a"],
    "ulimits": ["nofile=1024"],
    "memory": "512m",
    "cpu_shares": 1,
    "cpu_period": 1000,
    "cpu_quota": 1000,
    "cpuset_cpus": "0",
    "labels": {"a": "1"},
    "annotations": {"a": "1"},
    "env": {"a": "1"},
    "timestamp": 0,
    "source_date_epoch": 0,
    "rewrite_timestamp": True,
    "extra_build_args": ["--no-hosts"],
    "secrets": [SECRET],
}


class TestScripts:
    @pytest.mark.parametrize("option", NOT_FOR_SCRIPTS)
    def test_what_only_a_containerfile_can_honour_is_refused(self, option: str) -> None:
        assert image(**{option: NOT_FOR_SCRIPTS[option]}).is_script is False
        with pytest.raises(InputError) as error:
            script(**{option: NOT_FOR_SCRIPTS[option]})
        assert error.value.message == f"a native script takes no {option}"

    @pytest.mark.parametrize("option", ["squash", "rewrite_timestamp"])
    def test_what_is_switched_off_asks_for_nothing(self, option: str) -> None:
        assert script(**{option: False}).is_script

    def test_what_a_script_can_honour_is_not(self) -> None:
        assert script(
            args={"A": "1", "_b": "2"},
            base_images={"BASE": "debian:12"},
            artifacts="/made",
            outputs=[{"type": "tar", "dest": "/app.tar"}],
            platform=["linux/arm64"],
            format="docker",
            refresh="7d",
            network="none",
            isolation="chroot",
        ).is_script

    @pytest.mark.parametrize("name", ["1A", "A-B", "A.B", "", "A B", "Ä", "A\n", *RESERVED_VARIABLES])
    @pytest.mark.parametrize("option", ["args", "base_images"])
    def test_names_that_cannot_be_variables(self, option: str, name: str) -> None:
        with pytest.raises(InputError, match="cannot be a variable of the script"):
            script(**{option: {name: "debian:12"}})

    # docs/native-scripts.md lists the first three; without the others nothing in the script would be found.
    def test_the_names_that_scripts_get(self) -> None:
        assert set(RESERVED_VARIABLES) == {"IMAGE", "ARTIFACTS", "PLATFORM", "PATH", "HOME"}

    def test_a_containerfile_may_have_args_of_any_name(self) -> None:
        assert image(args={"PATH": "/x", "a-b": "1"})["args"] == {"PATH": "/x", "a-b": "1"}


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("1h", 3600), ("12h", 43200), ("1d", 86400), ("7d", 604800), ("1w", 604800), ("2w", 1209600)],
    )
    def test_a_refresh_period(self, text: str, seconds: int) -> None:
        assert refresh_seconds(text) == seconds

    @pytest.mark.parametrize(
        "text", ["", "7", "d", "0d", "07d", "-7d", "1.5d", "7D", "7d ", " 7d", "7m", "1w2d", "7d\n"]
    )
    def test_what_is_no_refresh_period(self, text: str) -> None:
        with pytest.raises(InputError, match="is malformed"):
            refresh_seconds(text)

    # time.ParseDuration of Go, without the units below a millisecond.
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("0s", 0),
            ("2s", 2),
            ("1.5s", 1.5),
            ("500ms", 0.5),
            ("1m", 60),
            ("2h", 7200),
            ("1m30s", 90),
            ("1h2m3s4ms", 3723.004),
            ("1m500ms", 60.5),
        ],
    )
    def test_a_duration(self, text: str, seconds: float) -> None:
        assert duration_seconds(text) == pytest.approx(seconds)

    @pytest.mark.parametrize("text", ["", "2", "s", "-1s", "1 s", "1d", "1s ", "1.s", "1..5s", "1s2", "1S", "1s\n"])
    def test_what_is_no_duration(self, text: str) -> None:
        with pytest.raises(InputError) as error:
            duration_seconds(text, "cache_ttl")
        assert error.value.message == f"cache_ttl {text!r} is malformed"

    def test_they_are_checked_before_any_work_is_done(self) -> None:
        assert image(refresh="7d", retry_delay="500ms", cache_ttl="24h")["refresh"] == "7d"


class TestTogether:
    """The neighbours of what REFUSALS holds."""

    @pytest.mark.parametrize(
        "given",
        [
            {"storage": {"graphroot": "/store", "runroot": "/run/store"}},
            {"storage": {"graphroot": "/store", "runroot": None}},
            {"platform": ["linux/arm64"], "outputs": [{"type": "tar", "dest": "/a"}], "compression_format": "zstd"},
            {"platform": BOTH, "compression_format": "gzip"},
            {"format": "docker", "compression_format": "gzip"},
            {"trust": "signed", "trust_policy": "/policy.json"},
            {"trust": "any"},
            {"layers": False},
            {"cache_from": ["r.example/a"], "cache_to": ["r.example/a"]},
            {"load": True, "push": True, "name": REGISTRY_NAME},
        ],
    )
    def test_what_is_allowed(self, given: Any) -> None:
        assert not image(**given).is_script


class TestUnpinned:
    @pytest.mark.parametrize("pull", ["newer", "always"])
    def test_who_asks_the_registry_needs_no_digests(self, pull: str) -> None:
        unpinned_with_push(image(name=REGISTRY_NAME, push=True, pull=pull), BASES)

    @pytest.mark.parametrize("pull", ["missing", "never"])
    def test_without_push_nobody_is_overwritten(self, pull: str) -> None:
        unpinned_with_push(image(pull=pull), BASES)

    @pytest.mark.parametrize("pull", ["missing", "never"])
    def test_pinned_bases_are_the_same_everywhere(self, pull: str) -> None:
        unpinned_with_push(image(name=REGISTRY_NAME, push=True, pull=pull), [ImageName.parse(PINNED)])

    @pytest.mark.parametrize("pull", ["missing", "never"])
    def test_an_image_of_the_local_store_has_no_digest_at_a_registry(self, pull: str) -> None:
        unpinned_with_push(image(name=REGISTRY_NAME, push=True, pull=pull), [ImageName.parse("localhost/base:1")])

    def test_all_that_are_loose_are_named(self) -> None:
        with pytest.raises(InputError) as error:
            loose = [ImageName.parse(name) for name in ("r.example/a:1", PINNED, "short:1")]
            unpinned_with_push(image(name=REGISTRY_NAME, push=True, pull="missing"), loose)
        assert error.value.cause == "not pinned: r.example/a:1, short:1"


class TestWarnings:
    @pytest.mark.parametrize(
        "name",
        [
            "PASSWORD",
            "db_passwd",
            "DB_PASS",
            "PASS_WORD",
            "passphrase",
            "MY_SECRET",
            "GITHUB_TOKEN",
            "API_KEY",
            "apikey",
            "PRIVATE_KEY",
            "AWS_CREDENTIALS",
        ],
    )
    def test_an_arg_that_looks_like_a_secret(self, name: str) -> None:
        (text,) = warnings(image(args={name: "x", "VERSION": "1"}))
        assert text.startswith(f"args.{name} looks like a secret, but args are public")
        assert text.endswith("Use secrets instead.")

    @pytest.mark.parametrize("name", ["VERSION", "PASSENGERS", "MONKEY", "KEYBOARD", "PUBLIC_KEY", "COMPASSION"])
    def test_other_args_do_not(self, name: str) -> None:
        assert warnings(image(args={name: "x"}, labels={"password": "x"})) == []

    def test_values_are_not_in_the_warning(self) -> None:
        assert "hush" not in warnings(image(args={"TOKEN": "hush"}))[0]


class TestVersions:
    @pytest.mark.parametrize("version", [(1, 28), (1, 28, 0), (1, 43, 2), (2, 0)])
    def test_a_plain_build_works_from_the_floor_on(self, version: tuple[int, ...]) -> None:
        check_versions(image(), version)

    @pytest.mark.parametrize("given", [{"source_date_epoch": 0}, {"rewrite_timestamp": True}])
    def test_an_option_works_from_its_version_on(self, given: Any) -> None:
        for version in ((1, 41), (1, 41, 0), (1, 43, 2)):
            check_versions(image(**given), version)
        with pytest.raises(InputError, match="needs buildah 1.41"):
            check_versions(image(**given), (1, 40, 9))

    def test_an_option_that_asks_for_nothing_needs_no_version(self) -> None:
        check_versions(image(rewrite_timestamp=False, source_date_epoch=None), (1, 28))

    # The description of the option layers says which, and until when.
    @pytest.mark.parametrize(
        ("given", "until"),
        [
            ({"volumes": ["/a:/a"]}, None),
            ({"extra_build_args": ["--no-hosts"]}, None),
            ({"source_date_epoch": 0}, None),
            ({"env": {"a": "1"}}, (1, 29)),
            ({"annotations": {"a": "1"}}, (1, 41)),
            ({"timestamp": 0}, (1, 41)),
            ({"labels": {"a": "1"}, "args": {"A": "1"}, "target": "x"}, (1, 28)),
        ],
    )
    def test_what_the_layer_cache_does_not_compare(self, given: Any, until: Optional[tuple[int, ...]]) -> None:
        name = next(iter(given))
        for version in ((1, 28, 0), (1, 28, 9), (1, 29), (1, 40, 9), (1, 41), (1, 43, 2)):
            expected = (name,) if until is None or version < until else ()
            assert unseen_by_cache(image(**given), version) == expected

    @pytest.mark.parametrize("option", ["cache_from", "cache_to"])
    def test_caches_at_registries(self, option: str) -> None:
        check_versions(image(**{option: ["r.example/a"]}), (1, 28))
        check_versions(image(**{option: ["r.example/a", "r.example/b"]}), (1, 29))
        check_versions(image(timestamp=0, **{option: ["r.example/a"]}), (1, 41))

    def test_what_the_cache_does_not_compare_is_no_matter_without_one(self) -> None:
        check_versions(image(timestamp=0, volumes=["/a:/a"]), (1, 28))


def test_nothing_is_read_but_the_recipe(tmp_path: Path) -> None:
    """A secret's file is the business of the build, which may run elsewhere."""
    (tmp_path / "Containerfile").write_text(RECIPE)
    image_inputs = inputs(path=str(tmp_path), secrets=[{"id": "token", "src": str(tmp_path / "nothing")}])
    assert image_inputs.secrets[0].src == str(tmp_path / "nothing")
    assert os.listdir(tmp_path) == ["Containerfile"]

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From inputs to keys: which bases are asked for, which parts of which directories count, what is not known yet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils import _resolve
from ansible_collections.rootless.buildah.plugins.module_utils._bases import Base, BaseMissing, BaseResolver
from ansible_collections.rootless.buildah.plugins.module_utils._context import ContextDigest
from ansible_collections.rootless.buildah.plugins.module_utils._context import digest_context as real
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs, host_platform, validate
from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS
from ansible_collections.rootless.buildah.plugins.module_utils._plan import Reason
from ansible_collections.rootless.buildah.plugins.module_utils._resolve import (
    ContextReader,
    Resolution,
    base_names,
    resolve,
)

BASE = "a.example/base:1"
ELSEWHERE = next(platform for platform in ("linux/s390x", "linux/amd64") if platform != host_platform())


def digest(name: str, platform: str) -> str:
    return "sha256:" + hashlib.sha256(f"{name} {platform}".encode()).hexdigest()


@dataclass
class Bases:
    """Stands for the resolver of bases: every name is an image of each platform, unless it is missing."""

    missing: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    # ONBUILD lines by name.
    triggers: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def resolve(self, name: str, platform: str, pull: str) -> Base:
        self.asked.append((name, platform, pull))
        if name in self.missing:
            raise BaseMissing(f"the base image {name} does not exist")
        found = digest(name, platform)
        return Base(name, ImageName.parse(name).with_digest(found), None, found)

    def triggers_of(self, base: Base, _platform: str) -> tuple[str, ...]:
        return self.triggers.get(base.name, ())

    @property
    def names(self) -> set[str]:
        return {name for name, _platform, _pull in self.asked}


class Workshop:
    """A directory for contexts, and the way from a task's options to a resolution."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bases = Bases()

    def write(self, *names: str, text: str = "one") -> None:
        for name in names:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def inputs(self, containerfile: str | None = None, *, context: bool = True, **options: Any) -> BuildInputs:
        defaults = {option.name: option.spec.get("default") for option in OPTIONS}
        path = str(self.root / "context") if context else None
        (self.root / "context").mkdir(exist_ok=True)
        given = {"name": "b.example/app:1", "state": "present", "pull": "newer", "path": path}
        recipe = {} if containerfile is None else {"containerfile_content": containerfile}
        return validate({**defaults, **given, **recipe, **options})

    def resolve(
        self,
        containerfile: str | None = None,
        *,
        tolerate: bool = False,
        pending: frozenset[str] = frozenset(),
        contexts: ContextReader | None = None,
        **options: Any,
    ) -> Resolution:
        return resolve(
            self.inputs(containerfile, **options),
            cast(BaseResolver, self.bases),
            self.bases.triggers_of,
            contexts or ContextReader(),
            tolerate_missing_bases=tolerate,
            pending=pending,
        )

    def components(self, containerfile: str | None = None, **options: Any) -> dict[str, Any]:
        """Return the components of the only platform's key."""
        (one,) = self.resolve(containerfile, **options).variants.values()
        return dict(one.components)

    def changes(self, change: Callable[[], object], containerfile: str | None = None, **options: Any) -> set[str]:
        """Return the components that a change changes."""
        before = self.components(containerfile, **options)
        change()
        after = self.components(containerfile, **options)
        return {name for name in {*before, *after} if before.get(name) != after.get(name)}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


class TestBases:
    def test_the_digest_is_part_of_the_key(self, workshop: Workshop) -> None:
        assert workshop.components(f"FROM {BASE}\n")["base_image"] == {BASE: digest(BASE, host_platform())}

    def test_the_policy_of_the_task_is_asked_with(self, workshop: Workshop) -> None:
        workshop.resolve(f"FROM {BASE}\n", pull="always")
        assert workshop.bases.asked == [(BASE, host_platform(), "always")]

    def test_each_platform_has_its_own(self, workshop: Workshop) -> None:
        found = workshop.resolve(f"FROM {BASE}\n", platform=["linux/arm64", "linux/amd64"])
        for platform in ("linux/amd64", "linux/arm64"):
            assert found.variants[platform].components["base_image"] == {BASE: digest(BASE, platform)}
            assert found.work[platform].bases[BASE].identity == digest(BASE, platform)
        assert len({one.key for one in found.variants.values()}) == 2

    def test_args_are_expanded_and_the_word_as_written_is_pinned_too(self, workshop: Workshop) -> None:
        found = workshop.resolve("ARG TAG=1\nFROM a.example/base:${TAG}\n", args={"TAG": "2"})
        (work,) = found.work.values()
        assert set(work.bases) == {"a.example/base:${TAG}", "a.example/base:2"}
        assert found.base_images == {"a.example/base:2": digest("a.example/base:2", host_platform())}

    @pytest.mark.parametrize("instruction", [
        "COPY --from=b.example/x /x /x", "RUN --mount=type=bind,from=b.example/x true"])
    def test_images_that_are_copied_or_mounted_from_count(self, workshop: Workshop, instruction: str) -> None:
        assert set(workshop.components(f"FROM {BASE}\n{instruction}\n")["base_image"]) == {BASE, "b.example/x"}

    def test_stages_and_scratch_are_no_bases(self, workshop: Workshop) -> None:
        text = f"FROM {BASE} AS one\nFROM scratch\nCOPY --from=one /x /x\n"
        assert set(workshop.components(text)["base_image"]) == {BASE}

    def test_nobody_asks_for_bases_of_stages_that_are_not_reached(self, workshop: Workshop) -> None:
        workshop.resolve(f"FROM b.example/unused AS other\nFROM {BASE}\n")
        assert workshop.bases.names == {BASE}

    def test_a_stage_may_name_its_platform(self, workshop: Workshop) -> None:
        # Without the arg, buildah 1.28 takes it for empty: see the tests of Containerfiles.
        text = f"ARG BUILDPLATFORM\nFROM --platform=$BUILDPLATFORM b.example/go AS b\nFROM {BASE}\nCOPY --from=b . .\n"
        workshop.resolve(text, platform=[ELSEWHERE], args={"BUILDPLATFORM": host_platform()})
        assert {(name, platform) for name, platform, _pull in workshop.bases.asked} == {
            ("b.example/go", host_platform()), (BASE, ELSEWHERE)}

    def test_one_name_for_two_platforms_cannot_be_pinned(self, workshop: Workshop) -> None:
        text = f"ARG BUILDPLATFORM\nFROM --platform=$BUILDPLATFORM {BASE} AS b\nFROM {BASE}\nCOPY --from=b /x /x\n"
        args = {"BUILDPLATFORM": host_platform()}
        with pytest.raises(InputError, match="used for two platforms"):
            workshop.resolve(text, platform=[ELSEWHERE], args=args)
        workshop.resolve(text, platform=[host_platform()], args=args)

    @pytest.mark.parametrize("pull", ["missing", "never"])
    def test_bases_that_builders_would_read_differently_are_refused_before_anybody_is_asked(
        self, workshop: Workshop, pull: str
    ) -> None:
        with pytest.raises(InputError, match="pinned by digest"):
            workshop.resolve(f"FROM {BASE}\n", pull=pull, push=True)
        with pytest.raises(InputError, match="pinned by digest"):
            workshop.resolve(script="true\n", base_images={"BASE": BASE}, pull=pull, push=True)
        assert workshop.bases.asked == []
        workshop.resolve(f"FROM a.example/base@sha256:{'a' * 64}\n", pull=pull, push=True)

    def test_triggers_of_a_base_are_part_of_the_recipe(self, workshop: Workshop) -> None:
        workshop.write("context/file")
        assert "context" not in workshop.components(f"FROM {BASE}\n")
        workshop.bases.triggers[BASE] = ("COPY . /app", "COPY --from=c.example/tool /x /x")
        found = workshop.components(f"FROM {BASE}\n", format="docker")
        assert "context" in found and set(found["base_image"]) == {BASE, "c.example/tool"}

    def test_a_named_context_that_stages_begin_with_has_triggers_too(self, workshop: Workshop) -> None:
        workshop.write("context/file")
        workshop.bases.triggers[BASE] = ("COPY . /app",)
        options: dict[str, Any] = {"build_contexts": {"more": f"docker-image://{BASE}"}, "format": "docker"}
        assert "context" in workshop.components("FROM more\n", **options)

    def test_triggers_of_what_is_only_copied_from_are_not_read(self, workshop: Workshop) -> None:
        found = workshop.resolve(f"FROM {BASE}\nCOPY --from=c.example/tool x /\n")
        assert found.triggers == {(BASE, host_platform()): ()}

    def test_the_base_of_the_target_is_told(self, workshop: Workshop) -> None:
        (work,) = workshop.resolve(f"FROM b.example/go AS b\nFROM {BASE}\nCOPY --from=b /x /x\n").work.values()
        assert work.base_name == BASE


class TestMissing:
    def test_a_base_that_is_nowhere_is_an_error(self, workshop: Workshop) -> None:
        workshop.bases.missing = {BASE}
        with pytest.raises(BaseMissing):
            workshop.resolve(f"FROM {BASE}\n")

    @pytest.mark.parametrize("options", [
        {"containerfile": f"FROM {BASE}\nCOPY --from={BASE} x /y\n"}, {"script": "true\n", "base_images": {"B": BASE}}])
    def test_in_check_mode_it_may_be_about_to_be_built(self, workshop: Workshop, options: dict[str, Any]) -> None:
        workshop.bases.missing = {BASE}
        found = workshop.resolve(tolerate=True, platform=["linux/amd64", "linux/arm64"], **options)
        assert found.early_reasons == (Reason("base_will_change", name=BASE),)
        assert all("base_image" not in one.components for one in found.variants.values())

    @pytest.mark.parametrize("name, pending", [(BASE, BASE), ("a.example/base", "a.example/base:latest")])
    def test_what_is_built_before_is_not_asked_for(self, workshop: Workshop, name: str, pending: str) -> None:
        found = workshop.resolve(f"FROM {name}\n", pending=frozenset({pending}))
        assert found.early_reasons == (Reason("base_will_change", name=name),)
        assert workshop.bases.asked == []

    def test_with_all_bases_there_is_no_reason(self, workshop: Workshop) -> None:
        found = workshop.resolve(f"FROM {BASE}\n", tolerate=True, pending=frozenset({"a.example/other:1"}))
        assert found.early_reasons == () and found.answers[BASE, host_platform()].name == BASE


class TestContext:
    def test_what_is_copied_is_part_of_the_key_and_listed(self, workshop: Workshop) -> None:
        workshop.write("context/a", "context/sub/b")
        (one,) = workshop.resolve("FROM scratch\nCOPY . /\n").variants.values()
        assert {"a", "sub", "sub/b"} <= set(one.files)
        assert workshop.changes(lambda: workshop.write("context/sub/b", text="two"), "FROM scratch\nCOPY . /\n") == {
            "context"}

    def test_times_are_not(self, workshop: Workshop) -> None:
        workshop.write("context/a")
        path = workshop.root / "context/a"
        assert workshop.changes(lambda: os.utime(path, (1, 1)), "FROM scratch\nCOPY . /\n") == set()

    def test_without_a_copy_the_context_does_not_count(self, workshop: Workshop) -> None:
        workshop.write("context/a")
        assert workshop.changes(lambda: workshop.write("context/a", text="two"), f"FROM {BASE}\nRUN true\n") == set()

    @pytest.mark.parametrize("ignore", [".containerignore", ".dockerignore"])
    def test_what_is_ignored_does_not_count(self, workshop: Workshop, ignore: str) -> None:
        workshop.write("context/a", "context/b")
        workshop.write(f"context/{ignore}", text="b\n")
        text = "FROM scratch\nCOPY . /\n"
        assert workshop.changes(lambda: workshop.write("context/b", text="two"), text) == set()
        assert workshop.changes(lambda: workshop.write("context/a", text="two"), text) == {"context"}
        (work,) = workshop.resolve(text).work.values()
        assert work.ignorefile == str(workshop.root / "context" / ignore)

    def test_bind_mounts_see_what_is_ignored(self, workshop: Workshop) -> None:
        workshop.write("context/a", "context/b")
        workshop.write("context/.containerignore", text="b\n")
        text = f"FROM {BASE}\nRUN --mount=type=bind,target=/src make -C /src\n"
        assert workshop.changes(lambda: workshop.write("context/b", text="two"), text) == {"bind_sources"}

    def test_a_mount_of_one_directory_is_that_directory(self, workshop: Workshop) -> None:
        workshop.write("context/a/x", "context/b/x")
        text = f"FROM {BASE}\nRUN --mount=type=bind,source=a,target=/src true\n"
        assert workshop.changes(lambda: workshop.write("context/b/x", text="two"), text) == set()
        assert workshop.changes(lambda: workshop.write("context/a/x", text="two"), text) == {"bind_sources"}

    def test_a_copy_without_a_context_is_an_error(self, workshop: Workshop) -> None:
        with pytest.raises(InputError, match="there is none"):
            workshop.resolve("FROM scratch\nCOPY a /\n", context=False)
        workshop.resolve(f"FROM {BASE}\nRUN true\n", context=False)

    def test_a_platform_that_copies_nothing_has_no_context(self, workshop: Workshop) -> None:
        workshop.write("context/a")
        text = "ARG TARGETARCH\nFROM scratch AS amd64\nCOPY . /\nFROM scratch AS arm64\nENV a=b\nFROM ${TARGETARCH}\n"
        together = workshop.resolve(text, platform=["linux/amd64", "linux/arm64"])
        alone = workshop.resolve(text, platform=["linux/arm64"])
        assert "context" in together.variants["linux/amd64"].components
        assert together.variants["linux/arm64"] == alone.variants["linux/arm64"]

    def test_each_directory_is_read_once_in_a_run(self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[str] = []

        def digest_context(root: str, *words: Any, **options: Any) -> ContextDigest:
            read.append(root)
            return real(root, *words, **options)

        monkeypatch.setattr(_resolve, "digest_context", digest_context)
        workshop.write("context/a", "context/b")
        contexts, platforms = ContextReader(), ["linux/amd64", "linux/arm64"]
        for source in ("a", "a", "b"):
            workshop.resolve(f"FROM scratch\nCOPY {source} /\n", contexts=contexts, platform=platforms)
        # What COPY names matters where something is ignored, so the second source is read for itself.
        assert len(read) == 2


class TestNamedContexts:
    def test_a_directory_counts_with_all_that_it_holds(self, workshop: Workshop) -> None:
        workshop.write("other/x", "other/.containerignore", text="x\n")
        options: dict[str, Any] = {"build_contexts": {"more": "../other"}}
        text = "FROM scratch\nCOPY --from=more x /\n"
        assert workshop.changes(lambda: workshop.write("other/x", text="two"), text, **options) == {"build_context"}
        # COPY --from a named context keeps owners and setuid bits.
        path = workshop.root / "other/x"
        assert workshop.changes(lambda: path.chmod(0o4755), text, **options) == {"build_context"}
        assert workshop.resolve(text, **options).uncovered == ()
        (work,) = workshop.resolve(text, **options).work.values()
        assert os.path.realpath(work.contexts["more"]) == str(workshop.root / "other") and work.bases == {}

    @pytest.mark.parametrize("scheme", ["docker-image://", "container-image://", "docker://"])
    def test_an_image_is_a_base_under_the_name_of_the_context(self, workshop: Workshop, scheme: str) -> None:
        found = workshop.resolve("FROM more\n", build_contexts={"more": scheme + BASE})
        (one,), (work,) = found.variants.values(), found.work.values()
        assert one.components["base_image"] == {f"more={BASE}": digest(BASE, host_platform())}
        assert work.bases["more"].identity == digest(BASE, host_platform()) and work.contexts == {}

    @pytest.mark.parametrize("value", [
        "https://c.example/x.tar", "http://c.example/x.tar", "git://c.example/x", "git@c.example:x", "ssh://c.example/x"])
    def test_what_is_elsewhere_is_not_covered(self, workshop: Workshop, value: str) -> None:
        found = workshop.resolve("FROM scratch\nCOPY --from=more x /\n", build_contexts={"more": value})
        assert found.uncovered == (f"build context more at {value}",)
        (one,), (work,) = found.variants.values(), found.work.values()
        assert one.components["build_context"] == {"more": value} and work.contexts == {"more": value}

    @pytest.mark.parametrize("value", ["no-such-directory", f"docker-image://{BASE}", "https://c.example/x.tar"])
    def test_what_is_not_used_is_not_looked_at(self, workshop: Workshop, value: str) -> None:
        found = workshop.resolve("FROM scratch\nENV a=b\n", build_contexts={"more": value})
        (one,) = found.variants.values()
        assert "build_context" not in one.components and found.uncovered == () and workshop.bases.asked == []


class TestScripts:
    def test_bases_are_keyed_by_variable_and_name(self, workshop: Workshop) -> None:
        found = workshop.resolve(script="true\n", base_images={"ONE": BASE, "TWO": "b.example/x"}, context=False)
        (one,), (work,) = found.variants.values(), found.work.values()
        assert one.components["base_image"] == {
            f"ONE={BASE}": digest(BASE, host_platform()),
            "TWO=b.example/x:latest": digest("b.example/x:latest", host_platform()),
        }
        assert set(work.bases) == {"ONE", "TWO"}

    def test_a_script_reads_its_whole_context_and_all_args(self, workshop: Workshop) -> None:
        workshop.write("context/a", "context/b")
        workshop.write("context/.containerignore", text="b\n")
        options: dict[str, Any] = {"script": "true\n", "args": {"UNSEEN": "1"}}
        assert workshop.components(**options)["args"] == {"UNSEEN": "1"}
        assert workshop.changes(lambda: workshop.write("context/a", text="two"), **options) == {"context"}
        assert workshop.changes(lambda: workshop.write("context/b", text="two"), **options) == set()

    def test_without_a_context_there_is_none(self, workshop: Workshop) -> None:
        assert "context" not in workshop.components(script="true\n", context=False)


class TestTold:
    def test_volumes_and_unverified_urls_are_uncovered(self, workshop: Workshop) -> None:
        text = "FROM scratch\nADD https://c.example/x /\n"
        found = workshop.resolve(text, volumes=["/srv:/srv"], platform=["linux/amd64", "linux/arm64"])
        assert len(found.uncovered) == 2 and "https://c.example/x" in found.uncovered[0]
        assert found.uncovered[1] == "volume /srv:/srv"

    def test_what_the_cache_cannot_see_is_noted(self, workshop: Workshop) -> None:
        workshop.write("context/a")
        for line, blind in (("RUN true", False), ("RUN --mount=type=bind,target=/src true", True)):
            (work,) = workshop.resolve(f"FROM {BASE}\n{line}\n").work.values()
            assert work.nocache is blind

    @pytest.mark.parametrize("text, platform, unseen", [
        ("FROM scratch\n", ELSEWHERE, True),
        ("FROM scratch\n", host_platform(), False),
        (f"FROM {BASE}\n", ELSEWHERE, False),
        (f"FROM {BASE} AS a\nFROM scratch\nCOPY --from=a /x /\n", ELSEWHERE, True),
        (f"ARG B={BASE}\nFROM $B\n", ELSEWHERE, True),
    ])
    def test_layers_on_no_base_do_not_tell_their_platform(
        self, workshop: Workshop, text: str, platform: str, unseen: bool
    ) -> None:
        (work,) = workshop.resolve(text, platform=[platform]).work.values()
        assert work.platform_unseen is unseen

    def test_credentials_in_what_is_copied_are_warned_of(self, workshop: Workshop) -> None:
        workshop.write("context/.env", "context/a")
        found = workshop.resolve("FROM scratch\nCOPY . /\n", platform=["linux/amd64", "linux/arm64"])
        (warning,) = found.warnings
        assert ".env" in warning and ".containerignore" in warning
        assert workshop.resolve("FROM scratch\nENV a=b\n").warnings == ()
        (warning,) = workshop.resolve(script="true\n").warnings
        assert ".env" in warning

    def test_a_platform_that_copies_none_does_not_silence_the_warning(self, workshop: Workshop) -> None:
        workshop.write("context/.env")
        text = "ARG TARGETARCH\nFROM scratch AS amd64\nCOPY . /\nFROM scratch AS arm64\nENV a=b\nFROM ${TARGETARCH}\n"
        assert len(workshop.resolve(text, platform=["linux/amd64", "linux/arm64"]).warnings) == 1

    @pytest.mark.parametrize("count, more", [(5, False), (6, True)])
    def test_of_many_credentials_five_are_named(self, workshop: Workshop, count: int, more: bool) -> None:
        workshop.write(*(f"context/{number}/.env" for number in range(count)))
        (warning,) = workshop.resolve("FROM scratch\nCOPY . /\n").warnings
        assert warning.count(".env") == 5 and (" and more" in warning) is more


class TestBaseNames:
    """What an image is built from, told without asking: it decides the order of a list of images."""

    @pytest.mark.parametrize("containerfile, options, names", [
        (f"FROM {BASE}\n", {}, {BASE}),
        ("FROM a.example/base\n", {}, {"a.example/base:latest"}),
        ("ARG T=1\nFROM a.example/base:$T\n", {"args": {"T": "2"}}, {"a.example/base:2"}),
        (f"FROM b.example/x AS unused\nFROM {BASE}\n", {}, {BASE}),
        ("FROM more\n", {"build_contexts": {"more": f"docker-image://{BASE}"}}, {BASE}),
        ("FROM scratch\n", {"build_contexts": {"more": "directory"}}, set()),
        ("ARG TARGETARCH\nFROM a.example/base:$TARGETARCH\n", {"platform": ["linux/amd64", "linux/arm64"]},
         {"a.example/base:amd64", "a.example/base:arm64"}),
        ("FROM --platform=$BUILDPLATFORM b.example/go\n", {"platform": [ELSEWHERE]}, {"b.example/go:latest"}),
        (f"FROM {BASE} AS one\nFROM scratch AS two\n", {"target": "one"}, {BASE}),
        (None, {"script": "true\n", "base_images": {"B": "a.example/base"}}, {"a.example/base:latest"}),
    ])
    def test_names(
        self, workshop: Workshop, containerfile: str | None, options: dict[str, Any], names: set[str]
    ) -> None:
        assert base_names(workshop.inputs(containerfile, **options)) == names

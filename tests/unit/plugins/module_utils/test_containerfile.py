# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Containerfile needs. tests/integration/test_containerfile_oracle.py compares it with the real buildah."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._containerfile import BaseImage, Needs, needs, parse
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

HERE = "linux/amd64"
THERE = "linux/arm64"
DEBIAN12 = (1, 28, 2)
DEBIAN13 = (1, 39, 3)
NEWEST = (1, 44, 0)
# One for each way of reading that is known.
VERSIONS = [DEBIAN12, (1, 33, 7), DEBIAN13, (1, 41, 0), (1, 43, 2), NEWEST, None]

every_version = pytest.mark.parametrize("version", VERSIONS, ids=str)


def need(text: str, **options: Any) -> Needs:
    defaults: dict[str, Any] = {"args": {}, "target": None, "platform": HERE, "build_platform": HERE}
    return needs(parse(text.encode()), **{**defaults, **options})


def names(found: Needs) -> list[str]:
    return [base.name for base in found.bases]


# -- bases


@every_version
def test_bases_are_told_in_order_with_the_word_as_written_and_as_meant(version: Any) -> None:
    found = need(
        "ARG V=12\nFROM debian:$V AS a\nFROM scratch\nCOPY --from=a /x /\nCOPY --from=tools:1 /y /\n"
        "RUN --mount=type=bind,from=lib,target=/m true\nCOPY --from=tools:1 /z /\n",
        version=version,
    )
    assert found.bases == (
        BaseImage("debian:$V", "debian:12", None, "FROM"),
        BaseImage("tools:1", "tools:1", None, "COPY --from"),
        BaseImage("lib", "lib", None, "RUN --mount"),
    )


@every_version
@pytest.mark.parametrize(
    ("text", "args", "base"),
    [
        ("ARG B=x\nFROM $B\n", {}, "x"),
        ("ARG B=x\nFROM $B\n", {"B": "y"}, "y"),
        ("ARG B\nFROM $B\n", {"B": "y"}, "y"),
        ("ARG V=1\nARG B=x:$V\nFROM ${B}\n", {"V": "2"}, "x:2"),
        ("ARG V=1 B=x\nFROM $B:$V\n", {}, "x:1"),
        ("FROM ${B:-x}\n", {"B": "undeclared"}, "x"),
        ("ARG TARGETARCH\nFROM x:$TARGETARCH\n", {}, "x:amd64"),
        ("ARG BUILDOS\nFROM x:$BUILDOS\n", {}, "x:linux"),
        ("ARG B='x'\nFROM \"$B\"\n", {}, "x"),
    ],
)
def test_from_sees_the_args_before_it(version: Any, text: str, args: dict[str, str], base: str) -> None:
    assert names(need(text, args=args, version=version)) == [base]


@every_version
def test_automatic_args_are_those_of_the_platform_that_is_built_for(version: Any) -> None:
    text = "ARG TARGETOS\nARG TARGETARCH\nARG TARGETVARIANT\nFROM x:$TARGETOS-$TARGETARCH-${TARGETVARIANT:-none}\n"
    assert names(need(text, platform="linux/arm/v7", version=version)) == ["x:linux-arm-v7"]
    assert names(need(text, platform=THERE, version=version)) == ["x:linux-arm64-none"]


def test_args_of_a_stage_are_not_seen_by_the_next_from() -> None:
    assert need("ARG B=x\nFROM scratch AS a\nARG B=y\nFROM $B\nCOPY --from=a / /\n").target_base == "x"


@every_version
def test_an_empty_base_is_refused_with_a_remedy(version: Any) -> None:
    with pytest.raises(InputError, match="line 2: \\$B is empty") as caught:
        need("FROM a AS b\nFROM $B\nCOPY --from=b / /\n", version=version)
    assert "Declare it with ARG" in caught.value.remedy


def test_scratch_is_no_base_however_it_is_spelt() -> None:
    assert need("ARG B=scratch\nFROM $B\n").bases == ()
    assert need("FROM scratch\n").target_base is None


def test_the_targets_base_is_told_when_it_comes_from_outside() -> None:
    assert need("FROM x AS a\nFROM y:1\nCOPY --from=a / /\n").target_base == "y:1"
    assert need("FROM x AS a\nFROM a\n").target_base is None


@pytest.mark.parametrize("name", ["oci-archive:a.tar", "docker-archive:a.tar", "dir:/x", "oci:/x", "docker-daemon:x"])
def test_bases_that_are_files_are_not_covered(name: str) -> None:
    found = need(f"FROM {name}\n")
    assert found.bases == ()
    assert found.uncovered == (f"FROM {name} at line 1",)


# -- stages


@every_version
@pytest.mark.parametrize(
    ("target", "stages", "bases"),
    [
        (None, ("a", "3"), ["one", "four"]),
        ("a", ("a",), ["one"]),
        ("b", ("a", "b"), ["one"]),
        ("c", ("c",), ["three"]),
    ],
)
def test_only_stages_that_the_target_needs_count(version: Any, target: Any, stages: Any, bases: Any) -> None:
    text = "FROM one AS a\nFROM a AS b\nFROM three AS c\nFROM four\nCOPY --from=0 /x /\n"
    found = need(text, target=target, version=version)
    assert found.stages == stages
    assert names(found) == bases


def test_every_stage_up_to_the_target_counts_when_unused_ones_are_built() -> None:
    text = "FROM one AS a\nFROM two AS b\nFROM three AS c\n"
    assert need(text, target="b", skip_unused_stages=False).stages == ("a", "b")


def test_stages_are_needed_through_from_copy_and_mounts() -> None:
    text = (
        "FROM w AS a\nFROM x AS b\nFROM y AS c\nFROM z AS unused\n"
        "FROM a\nCOPY --from=b /x /\nRUN --mount=type=cache,from=c,target=/c true\n"
    )
    assert need(text).stages == ("a", "b", "c", "4")


def test_a_stages_name_counts_with_its_case_and_only_behind_it() -> None:
    assert names(need("FROM x AS Build\nFROM y\nCOPY --from=build / /\n")) == ["y", "build"]
    assert names(need("FROM x AS x\n")) == ["x"]
    assert names(need("FROM x\nCOPY --from=late / /\nFROM y AS late\n", target="0")) == ["x", "late"]


def test_what_goes_wrong_in_a_stage_that_is_not_built_does_not_matter() -> None:
    assert names(need("FROM $NOTHING AS a\nCOPY --from=9 ${ /\nFROM x\n")) == ["x"]


@every_version
def test_an_unknown_target_is_refused_with_the_stages_that_there_are(version: Any) -> None:
    with pytest.raises(InputError, match="has no stage 'tset'") as caught:
        need("FROM x AS test\nFROM y\nFROM z AS prod\n", target="tset", version=version)
    assert caught.value.cause == "its stages are test, 1, prod"


def test_a_named_stage_can_be_a_target_by_number_from_1_35_on() -> None:
    assert need("FROM x AS a\nFROM y AS b\n", target="0", version=(1, 35)).stages == ("a",)
    assert need("FROM x\nFROM y\n", target="0", version=DEBIAN12).stages == ("0",)
    with pytest.raises(InputError, match="by its number") as caught:
        need("FROM x AS a\nFROM y AS b\n", target="0", version=DEBIAN12)
    assert caught.value.remedy == "Write target: a"


def test_a_target_that_names_two_stages_is_refused() -> None:
    with pytest.raises(InputError, match="several stages named 'a'"):
        need("FROM x AS a\nFROM y AS a\n", target="a")


def test_of_two_stages_of_one_name_both_count() -> None:
    assert names(need("FROM x AS a\nFROM y AS a\nFROM a\n")) == ["x", "y"]


def test_copy_from_what_buildah_would_read_in_two_ways_is_refused() -> None:
    text = "FROM scratch\nARG I=x\nENV I=y\nCOPY --from=$I / /\n"
    for version in VERSIONS:
        with pytest.raises(InputError, match="line 4 cannot be built"):
            need(text, version=version)
    undeclared = "FROM scratch\nCOPY --from=${I:-x} / /\n"
    assert names(need(undeclared, args={"I": "y"}, version=DEBIAN13)) == ["x"]
    with pytest.raises(InputError, match="line 2 cannot be built"):
        need(undeclared, args={"I": "y"}, version=DEBIAN12)


def test_copy_from_a_stage_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="line 3: there is no stage 1 before this one"):
        need("FROM x\nFROM y\nCOPY --from=1 / /\n")


@pytest.mark.parametrize(
    ("text", "args", "fixed"),
    [
        ("ARG S=a\nFROM x AS a\nFROM $S\n", {}, (1, 29)),
        ("FROM x AS a\nFROM y\nARG S\nCOPY --from=$S / /\n", {"S": "a"}, (1, 30)),
        ("FROM x AS a\nFROM y\nARG S=a\nCOPY --from=$S / /\n", {}, (1, 44)),
    ],
)
def test_a_stage_that_buildah_would_skip_by_mistake_is_told(text: str, args: dict[str, str], fixed: Any) -> None:
    assert need(text, args=args, version=fixed).stages == ("a", "1")
    assert need(text, args=args).stages == ("a", "1")
    assert need(text, args=args, version=DEBIAN12, skip_unused_stages=False).stages == ("a", "1")
    with pytest.raises(InputError, match="would not build the stage 'a'"):
        need(text, args=args, version=DEBIAN12)


def test_a_stage_that_is_named_elsewhere_too_is_not_skipped() -> None:
    text = "FROM x AS a\nFROM y\nARG S=a\nCOPY --from=$S / /\nCOPY --from=a /etc /\n"
    assert need(text, version=DEBIAN12).stages == ("a", "1")


def test_a_stages_name_can_hold_an_arg_from_1_37_on() -> None:
    text = "ARG N=a\nFROM x AS $N\nFROM y\nCOPY --from=a / /\n"
    assert need(text, version=DEBIAN13).stages == ("a", "1")
    assert names(need(text, version=DEBIAN12)) == ["y", "a"]


# -- platforms


@every_version
def test_a_platform_is_told_where_it_is_not_the_builds_own(version: Any) -> None:
    assert need(f"FROM --platform={THERE} x\n", version=version).bases[0].platform == THERE
    assert need(f"FROM --platform={HERE} x\n", version=version).bases[0].platform is None
    assert need("FROM --platform=local x\n", platform=THERE, version=version).bases[0].platform == HERE
    assert need("FROM --platform=linux/x86_64 x\n", version=version).bases[0].platform is None


@every_version
def test_images_in_a_stage_of_another_platform_are_of_that_platform(version: Any) -> None:
    found = need(f"FROM --platform={THERE} x\nCOPY --from=y / /\nRUN --mount=from=z,target=/z true\n", version=version)
    assert [base.platform for base in found.bases] == [THERE] * 3


def test_the_platform_of_the_host_is_seen_without_arg_except_by_old_buildah() -> None:
    text = "FROM --platform=$BUILDPLATFORM x\n"
    assert need(text, version=DEBIAN12).bases[0].platform is None
    assert need(text, platform=THERE, version=DEBIAN13).bases[0].platform == HERE
    # As Debian builds 1.28.2 it is empty, as its own repository would have it it is not.
    with pytest.raises(InputError, match="more than one way"):
        need(text, platform=THERE, version=DEBIAN12)


def test_the_platform_of_the_host_as_a_given_arg_is_seen_by_every_buildah() -> None:
    text = "ARG BUILDPLATFORM\nFROM --platform=$BUILDPLATFORM x\n"
    for version in (DEBIAN12, (1, 33, 7), DEBIAN13, NEWEST):
        found = need(text, args={"BUILDPLATFORM": HERE}, platform=THERE, version=version)
        assert found.bases[0].platform == HERE


def test_old_buildah_keeps_a_stages_platform_for_later_stages_which_is_refused() -> None:
    text = f"FROM --platform={HERE} x AS a\nFROM y\nCOPY --from=a / /\n"
    for version in (DEBIAN12, DEBIAN13):
        with pytest.raises(InputError, match="line 2: y would be taken for linux/amd64, not for linux/arm64"):
            need(text, platform=THERE, version=version)
    assert [base.platform for base in need(text, platform=THERE, version=(1, 40)).bases] == [HERE, None]
    assert need(text, version=DEBIAN12).stages == ("a", "1")


def test_the_remedy_for_the_kept_platform_helps() -> None:
    text = f"ARG TARGETPLATFORM\nFROM --platform={HERE} x AS a\nFROM --platform=$TARGETPLATFORM y\nCOPY --from=a / /\n"
    for version in (DEBIAN12, DEBIAN13, NEWEST):
        found = need(text, platform=THERE, version=version)
        assert [(base.name, base.platform) for base in found.bases] == [("x", HERE), ("y", None)]


@pytest.mark.parametrize("name", ["BUILDPLATFORM", "BUILDARCH"])
def test_whether_the_building_platform_is_an_input_is_told(name: str) -> None:
    assert need(f"FROM x\nARG {name}\n").platforms_used
    assert need(f"ARG {name}\nARG B=x-${name}\nFROM x:${{B:+1}}\n").platforms_used
    assert not need(f"FROM x AS a\nARG {name}\nFROM y\n").platforms_used
    assert not need("FROM x\nARG TARGETARCH\n").platforms_used


def test_the_hosts_variant_is_seen_until_1_39() -> None:
    text = "ARG BUILDVARIANT\nFROM x:1${BUILDVARIANT}\n"
    for platform in (THERE, "linux/arm/v7"):
        variant = {THERE: "v8"}.get(platform, "v7")
        on_that = {"platform": platform, "build_platform": platform}
        assert names(need(text, version=DEBIAN12, **on_that)) == [f"x:1{variant}"]
        assert names(need(text, version=DEBIAN13, **on_that)) == [f"x:1{variant}"]
        assert names(need(text, version=(1, 41), **on_that)) == ["x:1"]


def test_the_target_platform_cannot_be_set_from_1_37_on_and_sets_its_parts_before() -> None:
    text = "FROM scratch\nARG TARGETPLATFORM=linux/s390x\nRUN --mount=source=$TARGETARCH,target=/m true\n"
    assert need(text, version=DEBIAN12).bind_sources == ("s390x",)
    with pytest.raises(InputError, match="line 2 cannot be built"):
        need(text, version=DEBIAN13)


def test_an_empty_platform_is_the_builds_own_until_1_33() -> None:
    text = "FROM --platform=$NOTHING x\n"
    assert need(text, version=(1, 33)).bases[0].platform is None
    assert need(text).bases[0].platform is None
    with pytest.raises(InputError, match="line 1 cannot be built"):
        need(text, version=(1, 34))


# -- args


def test_args_reach_the_build_where_a_reachable_stage_declares_them() -> None:
    text = "FROM x AS a\nARG ONLY_A\nFROM y\nARG B=1\nARG C D\n"
    given = dict.fromkeys(("ONLY_A", "B", "C", "D", "E"), "v")
    found = need(text, args=given)
    assert found.args == ("B", "C", "D")
    assert found.unused_args == ("E",)


def test_args_reach_the_build_through_from() -> None:
    text = "ARG V\nARG B=x:$V\nARG OTHER\nFROM $B\n"
    assert need(text, args={"V": "1", "OTHER": "2"}).args == ("V",)
    assert need(text, args={"V": "1", "OTHER": "2"}).unused_args == ()


def test_args_reach_the_build_through_a_default_of_the_heading() -> None:
    assert need("ARG A\nARG B=$A\nFROM x\nARG B\n", args={"A": "1"}).args == ("A",)


def test_proxies_are_never_inputs() -> None:
    given = dict.fromkeys(("HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "FTP_PROXY"), "v")
    found = need("ARG HTTP_PROXY\nFROM x\nARG HTTP_PROXY\nARG ALL_PROXY\n", args=given)
    assert (found.args, found.unused_args) == ((), ())


def test_the_source_date_epoch_needs_no_arg_from_1_41_on() -> None:
    given = {"SOURCE_DATE_EPOCH": "1"}
    assert need("FROM x\n", args=given, version=(1, 41)).args == ("SOURCE_DATE_EPOCH",)
    assert need("FROM x\n", args=given, version=DEBIAN13).unused_args == ("SOURCE_DATE_EPOCH",)


@every_version
@pytest.mark.parametrize(
    ("text", "args", "source"),
    [
        ("FROM scratch\nARG S=one\n", {}, "one"),
        ("FROM scratch\nARG S=one\n", {"S": "two"}, "two"),
        ("FROM scratch\nARG S=one\nENV S=env\n", {"S": "two"}, "env"),
        ("FROM scratch\nENV S=env\nARG S=one\n", {}, "env"),
        ("ARG S=heading\nFROM scratch\nARG S\n", {}, "heading"),
        ("ARG S=heading\nFROM scratch\nARG S=stage\n", {}, "stage"),
        ("ARG S=heading\nFROM scratch\n", {}, "."),
        ("ARG S=heading\nFROM scratch\nARG S\n", {"S": "two"}, "two"),
        ("FROM scratch\nARG A=1 \nARG S=s$A\n", {}, "s1"),
        ("FROM scratch AS a\nENV S=parent\nFROM a\n", {}, "parent"),
        ("FROM scratch\nARG S=one\nARG S=two\n", {}, "two"),
        ("FROM scratch\nARG TARGETARCH\nENV S=$TARGETARCH\n", {}, "amd64"),
    ],
)
def test_a_stage_sees_its_args_and_its_environment(version: Any, text: str, args: dict[str, str], source: str) -> None:
    found = need(f"{text}RUN --mount=target=/m,source=$S true\n", args=args, version=version)
    assert found.bind_sources == (source,)


def test_a_stage_inherits_the_args_of_its_base_stage_from_1_41_on() -> None:
    text = "FROM scratch AS a\nARG I=x\nFROM a\nCOPY --from=$I / /\n"
    assert names(need(text, version=(1, 41))) == ["x"]
    with pytest.raises(InputError, match="\\$I is empty"):
        need(text, version=DEBIAN13)


# -- the context


@pytest.mark.parametrize(
    ("line", "used"),
    [
        ("COPY . /", True),
        ("ADD app.tar.gz /", True),
        ('COPY ["a b", "/"]', True),
        ("COPY --from=x /a /b", False),
        ("ADD https://host/a --checksum=sha256:0 /", True),
        ("ADD --checksum=sha256:0 https://host/a /", False),
        ("ADD https://host/a.git#v1 /", False),
        ("ADD https://host/a local /", True),
        ("COPY <<EOF /x\ntext\nEOF", False),
        ("COPY <<EOF file /x/\ntext\nEOF", True),
        ("RUN --mount=target=/m true", True),
        ("RUN --mount=type=cache,target=/m true", False),
        ("RUN --mount=type=tmpfs,target=/m true", False),
        ("RUN --mount=type=secret,id=s true", False),
        ("RUN --mount=from=x,target=/m true", False),
        ("RUN make", False),
        ("ONBUILD COPY . /", False),
        ("copy . /", True),
    ],
)
def test_whether_the_context_is_read(line: str, used: bool) -> None:
    assert need(f"FROM scratch\n{line}\n").context_used is used


def test_a_context_that_only_an_unused_stage_reads_is_not_used() -> None:
    assert not need("FROM scratch AS a\nCOPY . /\nFROM x\n").context_used


def test_what_is_copied_from_the_context_is_told_as_meant() -> None:
    text = (
        "FROM scratch AS unused\nCOPY never /\nFROM scratch\nARG D=src\n"
        'COPY --chown=1 $D/*.c [ab] /\nCOPY ["a b", "/"]\nADD https://host/a local /\nCOPY --from=x /no /\nCOPY . /\n'
    )
    assert need(text, args={"D": "lib"}).copy_sources == ("lib/*.c", "[ab]", "a b", "local", ".")


def test_a_copied_source_that_the_base_image_may_change_means_the_whole_context() -> None:
    assert need("FROM x\nARG S=src\nCOPY $S /\n").copy_sources == (".",)
    assert need("FROM x\nENV S=src\nCOPY $S /\n").copy_sources == ("src",)


@pytest.mark.parametrize(
    ("mount", "source"),
    [
        ("target=/m", "."),
        ("type=bind,target=/m", "."),
        ("type=bind,source=.,target=/m", "."),
        ("type=bind,source=/,dst=/m", "."),
        ("type=bind,source=src,destination=/m", "src"),
        ("src=/src/../lib/,target=/m,rw", "lib"),
        ("source=../../etc,target=/m", "etc"),
        ("source=a b,target=/m", "a"),
    ],
)
def test_bind_mounts_name_what_they_read_below_the_context(mount: str, source: str) -> None:
    assert need(f"FROM scratch\nRUN --mount={mount} true\n").bind_sources == (source,)


def test_a_quoted_mount_may_hold_spaces() -> None:
    found = need("FROM scratch\nRUN --mount=type=bind,source='a b',target=/m --mount=\"source=c,target=/n\" true\n")
    assert found.bind_sources == ("a b", "c")


def test_a_source_that_the_base_image_may_change_means_the_whole_context() -> None:
    assert need("FROM x\nARG S=src\nRUN --mount=source=$S,target=/m true\n").bind_sources == ("src", ".")
    assert need("FROM x\nENV S=src\nRUN --mount=source=$S,target=/m true\n").bind_sources == ("src",)
    assert need("FROM x AS a\nFROM a\nARG S=src\nRUN --mount=source=$S,target=/m true\n").bind_sources == ("src", ".")


def test_an_untyped_mount_has_the_type_of_the_one_before_it_until_1_33() -> None:
    text = "FROM scratch\nRUN --mount=type=secret,id=a --mount=id=b,target=/b true\n"
    assert need(text, version=DEBIAN12).secret_ids == ("a", "b")
    assert need(text, version=(1, 33)).bind_sources == (".",)


@pytest.mark.parametrize("given", [["tools"], {"tools": "docker-image://x"}])
def test_named_contexts_stand_in_for_images_and_stages(given: Any) -> None:
    text = "FROM tools\nCOPY --from=tools /a /\nRUN --mount=from=tools,target=/m true\n"
    found = need(text, named_contexts=given)
    assert (found.bases, found.named_contexts) == ((), ("tools",))
    found = need("FROM x AS tools\nFROM scratch\nCOPY --from=tools / /\nCOPY --from=0 /a /\n", named_contexts=given)
    assert (found.stages, found.named_contexts) == (("1",), ("tools",))


def test_a_named_context_replaces_from_by_the_word_as_written() -> None:
    assert names(need("ARG B=x\nFROM $B\n", named_contexts=["x"])) == ["x"]
    assert need("ARG B=x\nFROM $B\n", named_contexts=["$B"]).named_contexts == ("$B",)


def test_named_contexts_that_nothing_uses_are_not_told() -> None:
    assert need("FROM x AS a\nCOPY --from=c / /\nFROM y\n", named_contexts=["c", "d"]).named_contexts == ()


# -- triggers


def test_triggers_of_a_stage_go_off_in_the_stage_that_begins_with_it() -> None:
    text = "FROM scratch AS a\nONBUILD ARG I=x\nONBUILD COPY --from=$I / /\nONBUILD COPY . /\nFROM a AS b\nFROM b\n"
    found = need(text)
    assert names(found) == ["x"]
    assert found.context_used
    assert need(text, target="a").bases == ()
    assert need(text, image_format="oci").bases == ()


def test_triggers_of_a_base_go_off_when_they_are_given() -> None:
    found = need("FROM x:1\n", triggers={"x:1": ["COPY . /src", "COPY --from=y / /"]})
    assert found.context_used
    assert names(found) == ["x:1", "y"]


def test_triggers_of_an_image_that_a_named_context_stands_for_go_off_too() -> None:
    found = need("FROM root\n", named_contexts=["root"], triggers={"root": ["COPY a /a"]})
    assert found.copy_sources == ("a",)


def test_a_trigger_may_make_a_stage_needed() -> None:
    text = "FROM z AS other\nFROM x:1\n"
    assert names(need(text)) == ["x:1"]
    assert names(need(text, triggers={"x:1": ["COPY --from=other / /"]})) == ["z", "x:1"]


# -- what the layer cache does not compare


@pytest.mark.parametrize(
    ("line", "blind"),
    [
        ("RUN --mount=target=/m true", "RUN --mount=type=bind at line 3"),
        ("RUN --mount=from=x,target=/m true", "RUN --mount=type=bind at line 3"),
        ("RUN --mount=type=secret,id=s true", "RUN --mount=type=secret at line 3"),
        ("RUN --mount=type=ssh true", "RUN --mount=type=ssh at line 3"),
        ("RUN --mount=type=cache,from=x,target=/m true", "RUN --mount=type=cache at line 3"),
        ("LABEL v=$V", "LABEL with $V at line 3"),
        ("ENV E=x${V:-1}", "ENV with $V at line 3"),
        ("WORKDIR /$V", "WORKDIR with $V at line 3"),
        ("COPY f /$V/", "COPY with $V at line 3"),
        ("ADD f $V", "ADD with $V at line 3"),
    ],
)
def test_instructions_that_the_layer_cache_compares_in_part_are_told(line: str, blind: str) -> None:
    assert need(f"FROM scratch\nARG V=1\n{line}\n", version=NEWEST).cache_blind == (blind,)


@pytest.mark.parametrize(
    "line",
    [
        "RUN echo $V",
        "RUN --mount=type=cache,target=/m true",
        "RUN --mount=type=tmpfs,target=/m true",
        "COPY $V /v",
        "COPY --chown=$V f /",
        "CMD echo $V",
        "LABEL v='$V' w=\\$V",
        "LABEL v=$OTHER",
        "ENV V=2\nLABEL v=$V",
    ],
)
def test_other_instructions_are_left_to_the_layer_cache(line: str) -> None:
    assert need(f"FROM scratch\nARG V=1\n{line}\n", version=NEWEST).cache_blind == ()


def test_a_value_out_of_an_arg_stays_one_in_the_environment_and_in_later_stages() -> None:
    text = "FROM scratch AS a\nARG V\nENV E=$V\nFROM a\nENV F=$E\nLABEL f=$F\nENV E=1\nLABEL e=$E\n"
    assert need(text).cache_blind == ("ENV with $V at line 3", "ENV with $E at line 5", "LABEL with $F at line 6")


def test_here_documents_are_compared_from_1_35_on() -> None:
    text = "FROM scratch\nRUN <<EOF\ntrue\nEOF\n"
    assert need(text, version=(1, 35)).cache_blind == ()
    assert need(text, version=(1, 34, 3)).cache_blind == ("RUN with a here-document at line 2",)
    assert need(text).cache_blind == ("RUN with a here-document at line 2",)


# -- secrets and what no digest covers


def test_secrets_and_agents_are_told_by_their_ids() -> None:
    text = (
        "FROM scratch AS unused\nRUN --mount=type=secret,id=never true\nFROM x\nARG I=b\n"
        "RUN --mount=type=secret,id=a --mount=id=$I,type=secret,target=/b --mount=type=ssh --mount=type=ssh,id=k true\n"
    )
    found = need(text)
    assert found.secret_ids == ("a", "b")
    assert found.ssh_ids == ("default", "k")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("line", "uncovered"),
    [
        ("ADD https://host/a.tar /", ("ADD of https://host/a.tar at line 2, without --checksum",)),
        ("ADD http://host/a.tar f /", ("ADD of http://host/a.tar at line 2, without --checksum",)),
        ("ADD --checksum=sha256:00 https://host/a.tar /", ()),
        ("ADD https://u:secret@host/a /", ("ADD of https://host/a at line 2, without --checksum",)),
        ("ADD https://host/a.git /", ("ADD of https://host/a.git at line 2, not pinned to a commit",)),
        ("ADD https://host/a.git#v1:dir /", ("ADD of https://host/a.git#v1:dir at line 2, not pinned to a commit",)),
        (f"ADD https://host/a.git#{COMMIT} /", ()),
        (f"ADD https://host/a.git#{COMMIT}:dir /", ()),
        ("ADD app.tar.gz /", ()),
        ("COPY f /", ()),
    ],
)
def test_what_comes_from_the_network_without_a_digest_is_told(line: str, uncovered: tuple[str, ...]) -> None:
    assert need(f"FROM scratch\n{line}\n", version=NEWEST).uncovered == uncovered


def test_a_url_may_come_out_of_an_arg() -> None:
    found = need("FROM scratch\nARG U=https://host\nADD $U/a /\n")
    assert found.uncovered == ("ADD of https://host/a at line 3, without --checksum",)


def test_a_source_that_only_the_base_image_knows_may_be_a_url() -> None:
    assert need("FROM x\nADD $U /\n").uncovered == ("ADD of $U at line 2, which the base image may set",)
    assert need("FROM scratch\nADD $U /\n").uncovered == ()


def test_before_1_38_a_commit_pins_nothing() -> None:
    assert need(f"FROM x\nADD https://host/a.git#{COMMIT} /\n", version=DEBIAN12).uncovered


# -- versions


@pytest.mark.parametrize(
    ("line", "since"),
    [("ENV A=${B:?x}", "1.30"), ("ENV A=${B%x}", "1.37"), ("ARG A=${B/x/y}", "1.37")],
)
def test_substitutions_that_this_buildah_lacks_are_refused(line: str, since: str) -> None:
    with pytest.raises(InputError, match="line 2 cannot be built") as caught:
        need(f"FROM x\n{line}\n", version=DEBIAN12)
    assert f"needs buildah {since}" in caught.value.cause
    need(f"FROM x\n{line}\n", version=NEWEST)
    need(f"FROM x\n{line}\n")


def test_here_documents_are_refused_before_1_33() -> None:
    text = "FROM x\nRUN <<EOF\nCOPY . /\nEOF\n"
    with pytest.raises(InputError, match="line 2: here-documents need buildah 1.33"):
        need(text, version=DEBIAN12)
    assert not need(text, version=(1, 33)).context_used


def test_a_here_document_without_an_end_is_refused_where_it_is_one() -> None:
    text = "FROM x\nRUN echo $((1 << 2))\nCOPY . /\n"
    assert need(text, version=DEBIAN12).context_used
    assert need(text).context_used
    with pytest.raises(InputError, match="line 2: the here-document never ends"):
        need(text, version=DEBIAN13)


@every_version
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM x y\n", "line 1 cannot be built"),
        ("FROM --fancy=1 x\n", "FROM has no --fancy"),
        ("FROM x\nENV a='b\n", "a single quote is never closed"),
        ("FROM x\nCOPY --from=${ / /\n", "line 2 cannot be built"),
        ("ARG A=${\nFROM x\n", "line 1 cannot be built"),
    ],
)
def test_what_buildah_refuses_is_refused_with_its_line(version: Any, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        need(text, version=version)
    assert words in str(caught.value)


def test_without_a_version_the_answer_covers_all_of_them() -> None:
    text = "ARG P=linux/arm64\nFROM --platform=$P x\n"
    assert need(text).bases == tuple(dict.fromkeys(need(text, version=version).bases[0] for version in VERSIONS[:-1]))
    assert len(need(text).bases) == 2


def test_a_default_in_words_that_nobody_needs_is_left_to_buildah() -> None:
    assert need("FROM x\nLABEL a=${\nEXPOSE ${\n").bases


def test_after_is_a_need_too() -> None:
    assert need("FROM x AS a\nFROM --after=a y\n", version=NEWEST).stages == ("a", "1")


@pytest.mark.parametrize("lines, found", [
    ("COPY a /a\nADD b /b\nUSER 1000\nENV A=b\nWORKDIR /c", ()),
    ("COPY --chown=root:root a /a\nADD --chown=0 b /b\nCOPY --from=tools --chown=0:0 a /a", ()),
    ("RUN id", ("RUN at line 4",)),
    ("COPY --chown=1000:1000 a /a", ("COPY --chown=1000:1000 at line 4",)),
    ("ADD --chown=app a /a", ("ADD --chown=app at line 4",)),
    ("COPY --from=tools a /a", ("COPY --from without --chown=0:0 at line 4",)),
    ("COPY --from=docs --chown=$OWNER a /a", ("COPY --chown=$OWNER at line 4",)),
])  # fmt: skip
def test_what_a_single_user_id_cannot_do(lines: str, found: tuple[str, ...]) -> None:
    text = f"FROM scratch AS tools\nCOPY a /a\nFROM scratch\n{lines}\n"
    assert need(text, named_contexts={"docs"}).many_ids == found


def test_stages_that_are_not_built_need_no_ids() -> None:
    assert need("FROM scratch AS other\nRUN id\nFROM scratch\nCOPY a /a\n").many_ids == ()
    assert need("FROM scratch AS last\nCOPY a /a\nFROM last\nRUN id\n", target="last").many_ids == ()

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Containerfile needs, against its oracle: the real buildah, run by a real unprivileged user, without network.

With ``--pull=never`` buildah names the first base that it misses. Given that one it names the next, until the build
ends: so it tells every base, in the right name and platform, and its log tells the stages that it built.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Optional

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._containerfile import Needs, needs, parse
from ansible_collections.rootless.buildah.plugins.module_utils._containerfile_words import WordError, expand
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.tests.integration.harness import PYTHON, Builder

SEED = int(os.environ.get("ORACLE_SEED", "1"))
FILES = int(os.environ.get("ORACLE_FILES", "10"))
HERE = "linux/amd64"
THERE = "linux/arm64"
MISSING = re.compile(
    r"^Error: (?:.*creating build container: (?P<base>\S+): image not known"
    r"|COPY --from=(?P<copy>\S+): no stage or image found with that name"
    r"|.* from=(?P<mount>[^\s:]+(?::[^\s:]+)?): no stage or image found with that name)",
    re.MULTILINE,
)
UNUSED = re.compile(r"build args were not consumed: \[(.*)\]")
STAGE = re.compile(r"^\[([0-9]+)/[0-9]+\] STEP 1/", re.MULTILINE)


# Calls buildah as root of the builder user's namespace, where it need not make one for each call.
SERVER = r"""
import json, subprocess, sys

for line in sys.stdin:
    done = subprocess.run(["buildah", *json.loads(line)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(json.dumps([done.returncode, done.stdout]), flush=True)
"""


class Oracle:
    """The real buildah with a store of its own."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._place = builder.home / "containerfile-oracle"
        self._storage = [f"--root={self._place}/root", f"--runroot={self._place}/run"]
        builder.write("containerfile-oracle/context/f", "content")
        found = re.search(r"version ([0-9.]+)", builder.run(["buildah", "--version"]).stdout)
        assert found
        self.version = tuple(int(part) for part in found.group(1).split("."))
        self._server = subprocess.Popen(
            builder.argv(["buildah", "unshare", PYTHON, "-c", SERVER]),
            cwd=builder.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for platform in (HERE, THERE):
            self.build("FROM scratch\nCOPY f /f\n", f"--platform={platform}", f"--tag=tiny/{platform}", "--no-cache")

    def close(self) -> None:
        """Let go of the store and remove it."""
        self._server.communicate()
        self._builder.run(["buildah", "unshare", "rm", "-rf", str(self._place)])

    def buildah(self, *argv: str, check: bool = True) -> str:
        assert self._server.stdin and self._server.stdout
        print(json.dumps([*self._storage, *argv]), file=self._server.stdin, flush=True)
        status, output = json.loads(self._server.stdout.readline())
        assert status == 0 or not check, f"{argv} ended with {status}:\n{output}"
        return str(output)

    def build(self, text: str, *options: str, check: bool = True) -> str:
        """Build a Containerfile; return the log."""
        file = self._builder.write("containerfile-oracle/Containerfile", text)
        context = str(self._place / "context")
        return self.buildah("build", "--pull=never", f"--file={file}", *options, context, check=check)

    def labels(self, text: str) -> dict[str, str]:
        """Return the labels of the image that a Containerfile makes."""
        self.build(text, "--layers=false", "--tag=labels")
        config = json.loads(self.buildah("inspect", "--type=image", "labels"))
        labels = config["OCIv1"]["config"]["Labels"]
        return {name: value for name, value in labels.items() if name != "io.buildah.version"}

    def bases(self, case: Case, expected: Mapping[str, str]) -> tuple[list[str], str]:
        """Give buildah each base that it misses; return them, and the log of the build that missed none.

        :param expected: the platform of the image to give under each name.
        """
        given: list[str] = []
        try:
            while True:
                log = self.build(case.text, *case.options(), check=False)
                match = MISSING.search(log)
                if not match:
                    return given, log
                name = match["base"] or match["copy"] or match["mount"]
                assert name not in given, f"{name} is there for {expected[name]}, and buildah misses it:\n{log}"
                assert name in expected, f"buildah wants {name}, which is not in {list(expected)}:\n{log}"
                self.buildah("tag", f"localhost/tiny/{expected[name]}", name)
                given.append(name)
        finally:
            if given:
                self.buildah("rmi", *given)


@pytest.fixture(scope="module")
def oracle(builder: Builder) -> Iterator[Oracle]:
    server = Oracle(builder)
    yield server
    server.close()


@dataclass(frozen=True)
class Case:
    """A Containerfile and how it is built.

    :param refused: words of the message with which it is refused; buildah must fail too.
    :param until: the first buildah for which it is not refused any more.
    """

    text: str
    args: Mapping[str, str] = field(default_factory=dict)
    target: Optional[str] = None
    platform: str = HERE
    contexts: Mapping[str, str] = field(default_factory=dict)
    skip_unused: bool = True
    image_format: str = "oci"
    refused: str = ""
    until: tuple[int, ...] = (99,)

    def options(self) -> list[str]:
        return [
            *(f"--build-arg={name}={value}" for name, value in self.args.items()),
            *([f"--target={self.target}"] if self.target else []),
            *([f"--platform={self.platform}"] if self.platform != HERE else []),
            *(f"--build-context={name}={value}" for name, value in self.contexts.items()),
            f"--format={self.image_format}",
            *([] if self.skip_unused else ["--skip-unused-stages=false"]),
        ]

    def needs(self, version: tuple[int, ...]) -> Needs:
        return needs(
            parse(self.text.encode()),
            args=self.args,
            target=self.target,
            platform=self.platform,
            build_platform=HERE,
            named_contexts=tuple(self.contexts),
            skip_unused_stages=self.skip_unused,
            image_format=self.image_format,
            version=version,
        )


# Words that may come to name an image hold a letter behind f: others could be taken for the beginning of an image's id.
STAGES = "FROM one AS a\nFROM two AS b\nCOPY f /b\nFROM three AS c\nCOPY --from=a /f /a\n"
TRIGGER = "FROM scratch AS a\nONBUILD COPY --from=x /f /\nCOPY f /\n"

CASES = {
    # Names of bases.
    "a plain base": Case("FROM localhost/x:1\nCOPY f /\n"),
    "two bases": Case("FROM x AS a\nFROM y\nCOPY --from=a /f /g\n"),
    "an unused base is not wanted": Case("FROM x AS a\nFROM y\nCOPY f /\n"),
    "an unused base is wanted when unused stages are built": Case("FROM x AS a\nFROM y\nCOPY f /\n", skip_unused=False),
    "lower-case instructions": Case("arg b=x\nfrom $b as s\ncopy f /\n"),
    "an arg's default": Case("ARG B=x:1\nFROM $B\nCOPY f /\n"),
    "an arg overridden": Case("ARG B=x:1\nFROM $B\nCOPY f /\n", {"B": "y:2"}),
    "an arg without a default": Case("ARG B\nFROM $B\nCOPY f /\n", {"B": "y:2"}),
    "an arg made of another": Case("ARG V=1\nARG B=x:$V\nFROM $B\nCOPY f /\n", {"V": "2"}),
    "several args on a line": Case('ARG A=x B="y"\nFROM $A AS a\nFROM $B\nCOPY --from=a /f /\n'),
    "an arg behind FROM does not count": Case("ARG B=x\nFROM $B AS a\nARG B=y\nFROM $B\nCOPY --from=a /f /\n"),
    "a default in place": Case("FROM ${B:-x}\nCOPY f /\n"),
    "an alternative in place": Case("ARG B=1\nFROM x${B:+y}\nCOPY f /\n"),
    "an undeclared arg does not reach FROM": Case("FROM ${B:-x}\nCOPY f /\n", {"B": "y"}),
    "quotes": Case("ARG B='x'\nFROM \"$B\"\nCOPY f /\n"),
    "a byte order mark and carriage returns": Case("\ufeffARG B=x\r\nFROM $B\r\nCOPY f /\r\n"),
    "a continued FROM": Case("FROM \\\n# why not\n\n  x \\\n  AS a\nCOPY f /\n"),
    "a base named like its own stage": Case("FROM x AS x\nCOPY f /\n"),
    "an empty base": Case("FROM $B\nCOPY f /\n", refused="$B is empty"),
    # Stages.
    "a stage as base": Case("FROM x AS a\nCOPY f /a\nFROM a\nCOPY f /b\n"),
    "a stage as base, named by a given arg": Case("ARG S=b\nFROM x AS a\nFROM $S\nCOPY f /b\n", {"S": "a"}),
    "a stage's name in another case": Case("FROM x AS Stage\nCOPY f /a\nFROM y\nCOPY --from=stage /f /\n"),
    "an unnamed stage as base, by its number": Case("FROM x\nCOPY f /a\nFROM 0\nCOPY f /b\n"),
    "all stages": Case(STAGES),
    "a target": Case(STAGES, target="b"),
    "a target that needs a stage": Case(STAGES + "FROM four\n", target="c"),
    "an unnamed stage as target": Case("FROM x\nCOPY f /\nFROM y\nCOPY f /\n", target="0"),
    "an unknown target": Case(STAGES, target="d", refused="no stage 'd'"),
    # COPY --from.
    "COPY from an image": Case("FROM scratch\nCOPY --from=x:1 /f /\n"),
    "COPY from an image by an arg": Case("FROM scratch\nARG I=x\nCOPY --from=$I:1 /f /\n", {"I": "y"}),
    "COPY from an image by an arg of the heading": Case("ARG I=x\nFROM scratch\nARG I\nCOPY --from=$I /f /\n"),
    "COPY from a stage by number": Case("FROM x AS a\nFROM y\nCOPY --from=0 /f /\n"),
    "COPY from a stage by number with a sign": Case("FROM x AS a\nFROM y\nCOPY --from=+0 /f /\n"),
    "COPY from what is a stage further down": Case("FROM x\nCOPY --from=z /f /\nFROM y AS z\nCOPY f /\n", target="0"),
    "COPY from an empty name": Case("FROM x\nCOPY --from=$I /f /\n", refused="$I is empty"),
    "ENV in the way": Case("FROM scratch\nARG I=x\nENV I=y\nCOPY --from=$I /f /\n", refused="'x' by its args"),
    # RUN --mount.
    "a mount from an image": Case('FROM scratch\nRUN --mount=type=bind,from=x:1,target=/m ["/none"]\n'),
    "a mount from a stage": Case('FROM x AS a\nCOPY f /\nFROM scratch\nRUN --mount=from=a,target=/m ["/none"]\n'),
    "a mount by an arg": Case('FROM scratch\nARG I=x\nRUN --mount=target=/m,from=$I ["/none"]\n'),
    "a quoted mount": Case('FROM scratch\nRUN --mount="type=bind,from=x,target=/m" ["/none"]\n'),
    "a mount from a stage by number": Case(
        'FROM x AS a\nCOPY f /\nFROM scratch\nRUN --mount=from=0,target=/m ["/none"]\n',
        refused="would not build the stage 'a'",
    ),
    "a mount without a type has the type of the one before, in old versions": Case(
        'FROM scratch\nRUN --mount=type=secret,id=s --mount=id=t ["/none"]\n'
    ),
    # Triggers.
    "a trigger of a stage": Case(TRIGGER + "FROM a\nCOPY f /g\n", image_format="docker"),
    "a trigger is lost in an OCI image": Case(TRIGGER + "FROM a\nCOPY f /g\n"),
    "a trigger goes off once": Case(TRIGGER + "FROM a AS b\nUSER 1\nFROM b\nCOPY f /g\n", image_format="docker"),
    # Build contexts.
    "a build context for FROM": Case("FROM x\nCOPY f /\n", contexts={"x": "docker-image://localhost/tiny/linux/amd64"}),
    "a build context matches FROM as written": Case(
        "ARG B=x\nFROM $B\nCOPY f /\n", contexts={"x": "docker-image://localhost/tiny/linux/amd64"}
    ),
    "a build context matches a variable": Case(
        "ARG B=x\nFROM $B\nCOPY f /\n", contexts={"$B": "docker-image://localhost/tiny/linux/amd64"}
    ),
    "a build context matches COPY --from replaced": Case(
        "FROM scratch\nARG B=x\nCOPY --from=$B /f /\n", contexts={"x": "docker-image://localhost/tiny/linux/amd64"}
    ),
    "a build context goes before a stage": Case(
        "FROM x AS a\nFROM y\nCOPY --from=a /f /\n", contexts={"a": "docker-image://localhost/tiny/linux/amd64"}
    ),
    "a build context instead of a stage by number": Case(
        "FROM x AS a\nFROM y\nCOPY --from=0 /f /\n", contexts={"a": "docker-image://localhost/tiny/linux/amd64"}
    ),
    # Platforms.
    "a base for another platform": Case("FROM x\nCOPY f /\n", platform=THERE),
    "a platform written out": Case(f"FROM --platform={THERE} x\nCOPY f /\n"),
    "the target platform, declared": Case(
        "ARG TARGETARCH\nFROM x:${TARGETARCH}\nCOPY f /\n", platform=THERE
    ),
    "the platform of this host, declared": Case("ARG BUILDARCH\nFROM x:${BUILDARCH}\nCOPY f /\n", platform=THERE),
    "a platform by a given arg": Case(
        "ARG BUILDPLATFORM\nFROM --platform=$BUILDPLATFORM x\nCOPY f /\n", {"BUILDPLATFORM": HERE}, platform=THERE
    ),
    "a platform for each stage": Case(
        f"ARG TARGETPLATFORM\nFROM --platform={HERE} x AS a\nFROM --platform=$TARGETPLATFORM y\nCOPY --from=a /f /\n",
        platform=THERE,
    ),
    "COPY from an image in a stage of another platform": Case(
        f"FROM --platform={THERE} scratch\nCOPY --from=x /f /\n"
    ),
    # What versions read differently.
    "a stage as base, named by a default": Case(
        "ARG S=p\nFROM x AS p\nCOPY f /\nFROM $S\nCOPY f /b\n", refused="would not build the stage 'p'", until=(1, 29)
    ),
    "COPY from a stage by a given arg": Case(
        "FROM x AS p\nFROM y\nARG S\nCOPY --from=$S /f /\n",
        {"S": "p"},
        refused="would not build the stage 'p'",
        until=(1, 30),
    ),
    "COPY from a stage by a default": Case(
        "FROM x AS p\nFROM y\nARG S=p\nCOPY --from=$S /f /\n", refused="would not build the stage 'p'", until=(1, 44)
    ),
    "a here-document": Case(
        "FROM scratch\nCOPY <<A <<-'B' f /d/\nFROM x\nA\nCOPY --from=y /f /\n\tB\n", refused="1.33", until=(1, 33)
    ),
    "a named stage as target, by its number": Case(STAGES, target="1", refused="by its number", until=(1, 35)),
    "a stage's name out of an arg": Case("ARG N=p\nFROM x AS $N\nFROM y\nCOPY --from=p /f /\n"),
    "an undeclared platform arg in a name": Case(
        "FROM x:${TARGETARCH}\nCOPY f /\n", platform=THERE, refused="more than one way", until=(1, 30)
    ),
    "the platform of this host, undeclared": Case(
        "FROM --platform=$BUILDPLATFORM x\nCOPY f /\n", platform=THERE, refused="more than one way", until=(1, 30)
    ),
    "a platform by a default": Case(f"ARG P={THERE}\nFROM --platform=$P x\nCOPY f /\n"),
    "a platform that stays in force": Case(
        f"FROM --platform={HERE} x AS a\nFROM y\nCOPY --from=a /f /\n",
        platform=THERE,
        refused="keeps the platform of an earlier FROM",
        until=(1, 40),
    ),
    "an arg of the heading made of a platform": Case(
        "ARG TARGETARCH\nARG B=x:$TARGETARCH\nFROM $B\nCOPY f /\n", platform=THERE
    ),
    "an arg of the stage that is the base": Case(
        "FROM scratch AS a\nARG I=x\nCOPY f /\nFROM a\nCOPY --from=$I /f /g\n", refused="$I is empty", until=(1, 41)
    ),
    # Build args.
    "an arg that nothing declares": Case("FROM scratch\nARG A\nCOPY f /\n", {"A": "1", "B": "2", "HTTP_PROXY": "p"}),
    "an arg that only an unused stage declares": Case("FROM x AS a\nARG A\nFROM scratch\nCOPY f /\n", {"A": "1"}),
}


@pytest.mark.parametrize("name", CASES)
def test_buildah_wants_the_bases_and_builds_the_stages_that_we_say(oracle: Oracle, name: str) -> None:
    case = CASES[name]
    if case.refused and oracle.version < case.until:
        with pytest.raises(InputError, match=re.escape(case.refused)):
            case.needs(oracle.version)
        assert fails(oracle.build(case.text, *case.options(), check=False))
    else:
        compare(oracle, case, case.needs(oracle.version))


@pytest.mark.parametrize("number", range(FILES))
def test_random_files_need_what_buildah_wants(oracle: Oracle, number: int) -> None:
    case = random_case(random.Random(f"{SEED}.{number}"))
    try:
        found = case.needs(oracle.version)
    except InputError as error:
        assert fails(oracle.build(case.text, *case.options(), check=False)), f"{error}\n{case}"
    else:
        compare(oracle, case, found)


def random_case(chance: random.Random) -> Case:
    """Stages that use each other and images by names, numbers and args, some of them wrongly."""
    stages = chance.randint(1, 4)
    words = ["x", "y:1", "s0", "s1", "s2", "$V", "$W", "${W:-y:1}", "s${N}", "${U:+x}z"]
    heading = ["V", "V=x", "V=s0", "W", "W=s1", "N=1", "N"]
    lines = [f"ARG {chance.choice(heading)}" for _each in range(chance.randint(0, 3))]
    for number in range(stages):
        base = chance.choice(["scratch", "scratch", *words])
        lines.append(f"FROM {base}" + (f" AS {chance.choice(['s', 'S'])}{number}" if chance.random() < 0.7 else ""))
        for _each in range(chance.randint(0, 3)):
            lines.append(
                chance.choice(
                    [
                        "COPY f /f",
                        f"COPY --from={chance.choice([*map(str, range(number)), *words])} /f /f",
                        f"ARG {chance.choice(['V', 'W=x', 'N=0', 'V=s1', 'U=1'])}",
                        f"ENV {chance.choice(['E=1', 'F=$V'])}",
                    ]
                )
            )
        # What is copied from a stage must be there.
        lines.append("COPY f /f")
    values = {"N": ["0", "1"]}
    args = {name: chance.choice(values.get(name, ["x", "s0", "s1"])) for name in "VWNU" if chance.random() < 0.3}
    target = chance.choice([None, None, "s0", "s1", "0", "1"])
    return Case("\n".join(lines) + "\n", args, target, skip_unused=chance.random() < 0.8)


def compare(oracle: Oracle, case: Case, found: Needs) -> None:
    """Let buildah build; compare the bases and stages with those found."""
    wanted = {base.name: base.platform or case.platform for base in found.bases}
    given, log = oracle.bases(case, wanted)
    assert sorted(given) == sorted(wanted), f"{log}\n{case}"
    if "/none" not in case.text:
        assert not fails(log), case
    built = STAGE.findall(log) or ["1"]
    numbers = {label: number for number, label in enumerate(stage_labels(case))}
    assert [numbers[label] for label in found.stages] == sorted(int(number) - 1 for number in built), f"{log}\n{case}"
    warned = UNUSED.search(log)
    if case.platform == HERE:
        assert " ".join(found.unused_args) == (warned.group(1) if warned else "")


def fails(log: str) -> bool:
    """Whether a build broke off; old buildah panics at a number that no stage has."""
    return "Error: " in log or "panic: " in log


def stage_labels(case: Case) -> list[str]:
    """Return each stage's name, or else its number."""
    instructions = parse(case.text.encode()).instructions
    args = [word for each in instructions if each.name == "ARG" for word in each.words if "=" in word]
    variables = {**dict(word.split("=", 1) for word in args), **case.args}
    starts = [each.words for each in instructions if each.name == "FROM"]
    return [expand(words[2], variables).text if len(words) == 3 else str(number) for number, words in enumerate(starts)]


# Words as LABEL takes them; U is not set.
WORDS = [
    "$A", "${A}", "x$A/y", "$AB", "${A}B", "$U", "${U}", "$E",
    "${A:-d}", "${U:-d}", "${E:-d}", "${U:-$A}", "${U:-${A}x}", "${U:-}", '${U:-"q r"}',
    "${A:+s}", "${U:+s}", "${E:+s}", "${A:+$A$A}",
    "\\$A", "a\\ b", '"$A b"', "'$A b'", '"\\$A"', '"\\x"', '"\\\\"', "'it'\"'\"'s'", '"a\'b"',
    "$", "a$", "$$A", "$1x", "${}",
    "$S", '"$S"', "é$A", "$Aé", "a#b", "~", "*",
]  # fmt: skip
LATER_WORDS = {
    (1, 30): ["${A:?must}", "${U:?must}"],
    (1, 37): [
        "${A#o}", "${A##*n}", "${A%e}", "${A%%n*}", "${A#?}", "${A#x}", "${A%[a-f]}", "${A#[^x]}", "${A#one}",
        "${A/n/N}", "${A//[oe]/-}", "${A/#o/O}", "${A/%e/E}", "${A/n}", "${A/x/y}", '"${S/ /_}"',
        "${P#*/}", "${P##*/}", "${P%/*}", "${P%%/*}", "${P//\\//-}", "${P/[a-z]/X}",
    ],
}  # fmt: skip
START = "FROM scratch\nARG A=one\nARG E=\nARG S='a b'\nARG P=/u/b:/c"
VARIABLES = {"A": "one", "E": "", "S": "a b", "P": "/u/b:/c"}


def test_words_come_out_as_buildah_puts_them_into_labels(oracle: Oracle) -> None:
    words = WORDS + [word for since, later in LATER_WORDS.items() if oracle.version >= since for word in later]
    lines = [START, *(f"LABEL w{number}={word}" for number, word in enumerate(words))]
    labels = oracle.labels("\n".join(lines))
    ours = {word: expand(word, VARIABLES).text for word in words}
    assert ours == {word: labels[f"w{number}"] for number, word in enumerate(words)}


# Each with names of its own, because one build holds them all.
LINES = [
    "LABEL a=1 \\\n  b=2 \\\n\n# a comment\n   # another\n c=3\n",
    "LABEL d=1 \\ \t\n e=2\n",
    "LABEL g=on\\\ne\n",
    " \t LABEL\t h=1\n",
    "LABEL i one  two\n",
    "LABEL \"j k\"='c d'\n",
    "label l=x'y z'w\n",
    "LABEL m=x#y n='# z'\n",
    "\n# LABEL o=1\n   # LABEL p=1\n",
    "LABEL q=1 \\\r\n r=2\r\n",
    "LABEL größe=über\n",
    "LABEL z=1 \\",
]
BACKSLASHES = ["LABEL s=1\\\\\nLABEL t=2\n", "LABEL u=x\\ y v=z\n", 'LABEL w="f\\"g"\n']


@pytest.mark.parametrize(
    ("first", "escape"),
    [
        ("", "\\"),
        ("# escape=`\n", "`"),
        ("#ESCAPE = `x\n", "`"),
        ("# syntax=x\n# escape=`\n", "\\"),
        ("\n# escape=`\n", "\\"),
    ],
)
def test_lines_are_joined_and_split_as_buildah_does(oracle: Oracle, first: str, escape: str) -> None:
    lines = [line.replace("\\", escape) for line in LINES]
    text = f"{first}FROM scratch\n{''.join((BACKSLASHES if escape != '`' else []) + lines)}"
    found: dict[str, str] = {}
    for instruction in parse(text.encode()).instructions:
        if instruction.name == "LABEL":
            words = [expand(word, {}).text for word in instruction.words]
            found.update(zip(words[::2], words[1::2]))
    assert found == oracle.labels(text)


PIECES = [
    "a", "b", " ", "=", "'", '"', "\\", "$", "{", "}", ":", "#", "é",
    "$A", "${A}", "${U:-", "${A:+", "$S", "'$A'", '"$S"', "\\$",
]  # fmt: skip


def test_random_lines_come_out_as_buildah_puts_them_into_labels(oracle: Oracle) -> None:
    chance = random.Random(SEED)
    texts = ("".join(chance.choices(PIECES, k=chance.randint(1, 8))) for _number in range(600))
    lines = [f"LABEL r{number}={text} e{number}=1" for number, text in enumerate(texts)]
    expected: dict[str, str] = {}
    good, bad = [], []
    for line in lines:
        try:
            words = [expand(word, VARIABLES).text for word in parse(f"FROM x\n{line}".encode()).instructions[1].words]
        except (InputError, WordError):
            bad.append(line)
        else:
            good.append(line)
            expected.update(zip(words[::2], words[1::2]))
    assert len(good) > 100 and len(bad) > 100
    assert oracle.labels(START + "\n" + "\n".join(good)) == expected
    for line in bad[:10]:
        assert fails(oracle.build(f"{START}\n{line}", "--layers=false", check=False)), line


BLIND = {
    "LABEL": "FROM scratch\nARG V\nLABEL v=$V\n",
    "ENV": "FROM scratch\nARG V\nENV E=$V\n",
    "USER": "FROM scratch\nARG V\nUSER $V\n",
    "WORKDIR": "FROM scratch\nARG V\nWORKDIR /$V\n",
    "COPY": "FROM scratch\nARG V\nCOPY f /$V/\n",
    "VOLUME": "FROM scratch\nARG V\nVOLUME /$V\n",
    "EXPOSE": "FROM scratch\nARG V\nEXPOSE $V\n",
    "STOPSIGNAL": "FROM scratch\nARG V\nSTOPSIGNAL $V\n",
    "a LABEL from ENV": "FROM scratch\nARG V\nENV E=$V\nLABEL v=$E\n",
    "a LABEL from a stage": "FROM scratch AS a\nARG V\nENV E=$V\nFROM a\nLABEL v=$E\n",
}
SEEING = {
    "the source of a COPY": "FROM scratch\nARG V\nCOPY $V /v\n",
    "the mode of a COPY": "FROM scratch\nARG V\nCOPY --chmod=$V f /v\n",
    "the stage of a COPY": "FROM scratch AS s1\nCOPY 1 /v\nFROM scratch AS s2\nCOPY 2 /v\nFROM scratch\nARG V\n"
                           "COPY --from=s$V /v /v\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BLIND)
def test_the_layer_cache_gives_an_old_image_where_we_call_it_blind(oracle: Oracle, name: str) -> None:
    text = BLIND[name] + f"LABEL test={name!r}\n"
    assert needs(parse(text.encode()), args={}, target=None, platform=HERE, build_platform=HERE).cache_blind
    first, second = (built(oracle, text, value) for value in ("1", "2"))
    assert first == second


@pytest.mark.parametrize("name", SEEING)
def test_the_layer_cache_sees_what_we_do_not_call_blind(oracle: Oracle, builder: Builder, name: str) -> None:
    for value in ("1", "2"):
        builder.write(f"containerfile-oracle/context/{value}", value)
    assert not needs(
        parse(SEEING[name].encode()), args={"V": "1"}, target=None, platform=HERE, build_platform=HERE
    ).cache_blind
    first, second = (built(oracle, SEEING[name], value, "--skip-unused-stages=false") for value in ("1", "2"))
    assert first != second


def built(oracle: Oracle, text: str, value: str, *options: str) -> str:
    """Build with the layer cache and V set; return the image's id."""
    return oracle.build(text, "--layers", "--quiet", f"--build-arg=V={value}", *options).strip().splitlines()[-1]

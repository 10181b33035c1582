# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containerfiles: what a build of one needs. Pure: touches neither Ansible nor processes.

buildah decides what an instruction means, so its source was read (imagebuildah/ and openshift/imagebuilder, 1.28.2
to 1.44.0) where its documentation is silent. Where versions differ, :class:`_Dialect` says how; where that cannot
be known, more is reported rather than less.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Collection, Iterable, Iterator, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._containerfile_syntax import (
    Containerfile,
    Instruction,
    parse,
    parse_triggers,
)
from ansible_collections.rootless.buildah.plugins.module_utils._containerfile_words import Expansion, WordError, expand
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import normalise_platform
from ansible_collections.rootless.buildah.plugins.module_utils._options import Version

__all__ = ["BaseImage", "Containerfile", "Needs", "needs", "parse"]

#: Args that buildah hands to every RUN without ARG and keeps out of images.
PROXIES = frozenset(name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
                    for name in (upper, upper.lower()))
_PLATFORM_PARTS = ("PLATFORM", "OS", "ARCH", "VARIANT")
_BUILD_NAMES = frozenset("BUILD" + part for part in _PLATFORM_PARTS)
_BUILTIN_NAMES = _BUILD_NAMES | {"TARGET" + part for part in _PLATFORM_PARTS}
# The variable that buildah gives a stage that begins with nothing.
_SCRATCH_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
# Instructions whose variables buildah replaces; its layer cache compares them as written.
_CONFIGURING = ("LABEL", "EXPOSE", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")
# Bases that are files or stores of other programs; docker:// is a registry.
_LOCAL_TRANSPORT = re.compile(
    r"(oci|oci-archive|docker-archive|docker-daemon|dir|containers-storage|sif|ostree|tarball):")
_GIT_URL = re.compile(r"\.git(?:#(.+))?\Z")
_COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
# What --chown says of files that belong to root.
_ROOTS = frozenset(("0", "root", *(f"{user}:{group}" for user in ("0", "root") for group in ("0", "root"))))
_NUMBER = re.compile(r"[+-]?[0-9]+\Z")
_USER_INFO = re.compile(r"//[^/@]*@")

# Which versions of its parser a buildah may have been built with, from which buildah on. Debian 12 builds 1.28.2
# with a parser that is older than the one in buildah's own repository.
_PARSERS: tuple[tuple[Version, tuple[Version, ...]], ...] = (
    ((1, 28), ((1, 2, 3), (1, 2, 4))),
    ((1, 30), ((1, 2, 4),)),
    ((1, 37), ((1, 2, 14),)),
    ((1, 41), ((1, 2, 16),)),
    ((1, 42), ((1, 2, 19),)),
    ((1, 44), ((1, 2, 21),)),
)


@dataclass(frozen=True)
class BaseImage:
    """An image from outside that a reachable stage uses.

    :param raw: the word as written; ``--build-context`` replaces a FROM by this word.
    :param name: the word with its variables replaced; COPY and RUN look a ``--build-context`` up by it.
    :param platform: None for the platform that is built for, else ``os/arch[/variant]``.
    :param used_by: ``FROM``, ``COPY --from`` or ``RUN --mount``.
    """

    raw: str
    name: str
    platform: Optional[str]
    used_by: str


@dataclass(frozen=True)
class Needs:
    """What a build takes in and what is to be known about it.

    :param stages: names or numbers of the stages that are built, in the file's order, the target last.
    :param bases: images from outside, in order of use.
    :param named_contexts: the given named contexts that are used.
    :param bind_sources: what RUN mounts from the main context, relative to it; ``.`` for all of it. buildah follows
        symbolic links there and disregards ignore files.
    :param copy_sources: what COPY and ADD take from the main context, wildcards included.
    :param context_used: whether anything is read from the main context.
    :param cache_blind: instructions with inputs that buildah's layer cache does not compare.
    :param secret_ids: ids of secrets that RUN mounts.
    :param ssh_ids: ids of SSH agents that RUN mounts.
    :param args: names of given args that reach the build.
    :param unused_args: names of given args that the Containerfile never declares.
    :param uncovered: inputs that no digest covers.
    :param many_ids: instructions for which a builder with a single user id makes another image, or none.
    :param platforms_used: whether the platform that the build runs on is an input.
    :param target_base: the base of the target stage, when that is an image from outside.
    """

    stages: tuple[str, ...]
    bases: tuple[BaseImage, ...]
    named_contexts: tuple[str, ...]
    bind_sources: tuple[str, ...]
    copy_sources: tuple[str, ...]
    context_used: bool
    cache_blind: tuple[str, ...]
    secret_ids: tuple[str, ...]
    ssh_ids: tuple[str, ...]
    args: tuple[str, ...]
    unused_args: tuple[str, ...]
    uncovered: tuple[str, ...]
    many_ids: tuple[str, ...]
    platforms_used: bool
    target_base: Optional[str]


def needs(containerfile: Containerfile, *, args: Mapping[str, str], target: Optional[str], platform: str,
          build_platform: str, named_contexts: Collection[str] = (), skip_unused_stages: bool = True,
          version: Optional[Version] = None, image_format: Optional[str] = None,
          triggers: Optional[Mapping[str, Sequence[str]]] = None) -> Needs:
    """Tell what a build of a Containerfile needs.

    :param args: the values of ``--build-arg``.
    :param target: the stage to stop at, by name or number; None for the last.
    :param platform: what is built for, as ``os/arch[/variant]``.
    :param build_platform: what the build runs on.
    :param named_contexts: the names of ``--build-context`` that the user gave.
    :param version: the version of buildah. Without it the answer covers all versions that are known; with it, a
        Containerfile that this buildah would misread is refused.
    :param image_format: ``oci`` or ``docker``; images of the first kind hold no ONBUILD. None assumes the second.
    :param triggers: the ONBUILD lines of bases, by :attr:`BaseImage.name` or by the named context that stands for one;
        nothing in the file shows them.
    :raises InputError: for an unknown target, and for what buildah would refuse or build wrongly.
    """
    request = _Request(args, target or None, normalise_platform(platform), normalise_platform(build_platform),
                       frozenset(named_contexts), skip_unused_stages, version, image_format != "oci", triggers or {})
    _check_heredocs(containerfile, version)
    found: list[Needs] = []
    refusals: list[_Refused] = []
    for dialect in _dialects(version):
        try:
            found.append(_Evaluation(containerfile, request, dialect).needs())
        except _Refused as error:
            refusals.append(error)
    if not found:
        raise refusals[0]
    if version:
        _check_agreement(containerfile.name, version, found)
    return _union(found)


class _Refused(InputError):
    """What buildah itself would stop at; another of the dialects in question may accept it."""


@dataclass(frozen=True)
class _Request:
    args: Mapping[str, str]
    target: Optional[str]
    platform: str
    build_platform: str
    named_contexts: frozenset[str]
    skip_unused_stages: bool
    version: Optional[Version]
    keeps_triggers: bool
    triggers: Mapping[str, Sequence[str]]

    def older_than(self, version: Version) -> bool:
        """Whether buildah is known to be older."""
        return self.version is not None and self.version < version


@dataclass(frozen=True)
class _Dialect:
    """How one generation of buildah reads variables.

    :param parser: the version of openshift/imagebuilder.
    :param leaks_platform: the platform of one FROM stays in force for the stages behind it (until 1.39).
    """

    parser: Version
    leaks_platform: bool


def _dialects(version: Optional[Version]) -> list[_Dialect]:
    if version is None:
        known = {parser for _since, parsers in _PARSERS for parser in parsers}
        return [_Dialect(parser, False) for parser in sorted(known)]
    parsers = [parsers for since, parsers in _PARSERS if version >= since] or [_PARSERS[0][1]]
    return [_Dialect(parser, version < (1, 40)) for parser in parsers[-1]]


def _check_heredocs(containerfile: Containerfile, version: Optional[Version]) -> None:
    if version is None:
        return
    first = next((each for each in containerfile.instructions if each.heredocs), None)
    if first and version < (1, 33):
        raise InputError(f"{containerfile.name} line {first.line}: here-documents need buildah 1.33",
                         f"this is buildah {_text(version)}", "Upgrade buildah, or put the text into a file of its own")
    if containerfile.open_heredoc and version >= (1, 33):
        raise InputError(f"{containerfile.name} line {containerfile.open_heredoc}: the here-document never ends", "",
                         "Write its end marker on a line of its own; quote << where it means something else")


def _check_agreement(name: str, version: Version, found: Sequence[Needs]) -> None:
    for one, other in zip(found, found[1:]):
        for first, second in zip_longest(one.bases, other.bases):
            if first != second:
                ways = " or ".join(f"{base.name} for {base.platform or 'the target platform'}" if base else "no image"
                                   for base in (first, second))
                raise InputError(
                    f"{name}: buildah {_text(version)} reads {(first or second).raw!r} in more than one way",
                    f"it means {ways}, depending on the parser that a distribution built buildah with",
                    "Declare each variable of FROM with ARG before the first FROM, and give BUILDPLATFORM and the like "
                    "in args or write the platform out")


def _text(version: Version) -> str:
    return ".".join(str(part) for part in version)


def _union(found: Sequence[Needs]) -> Needs:
    """Join what dialects need; they differ in rare cases only."""
    if len(set(found)) == 1:
        return found[0]

    def joined(part: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value for one in found for value in getattr(one, part)))

    longest = max(found, key=lambda one: len(one.stages))
    used = joined("args")
    return Needs(
        stages=longest.stages,
        bases=tuple(dict.fromkeys(base for one in found for base in one.bases)),
        named_contexts=joined("named_contexts"),
        bind_sources=joined("bind_sources"),
        copy_sources=joined("copy_sources"),
        context_used=any(one.context_used for one in found),
        cache_blind=joined("cache_blind"),
        secret_ids=joined("secret_ids"),
        ssh_ids=joined("ssh_ids"),
        args=tuple(sorted(used)),
        unused_args=tuple(name for name in longest.unused_args if name not in used),
        uncovered=joined("uncovered"),
        many_ids=joined("many_ids"),
        platforms_used=any(one.platforms_used for one in found),
        target_base=longest.target_base,
    )


class _Scope:
    """The args of one stage, or of the lines before the first FROM (imagebuilder: Builder, and ``arg`` in
    dispatchers.go)."""

    def __init__(self, dialect: _Dialect, user: Mapping[str, str], heading: Mapping[str, str],
                 builtin: Mapping[str, str], local: Mapping[str, str]) -> None:
        self._parser = dialect.parser
        self._user = user
        self._heading = heading
        self._builtin = builtin
        self._local = local
        self.values = dict(user)
        self.declared: set[str] = set()

    def variables(self) -> dict[str, str]:
        """What instructions can read."""
        return {name: value for name, value in self.values.items() if name in self.declared or name in PROXIES}

    def predeclare(self) -> None:
        """Take in the automatic args as if ARG named each of them."""
        for name, value in self._local.items():
            self.declared.add(name)
            self.values.setdefault(name, value)

    def declare(self, word: str) -> None:
        """Take in one word of an ARG, its variables replaced."""
        name, equals, value = word.partition("=")
        default: Optional[str] = value if equals else None
        self.declared.add(name)
        if self._parser >= (1, 2, 14):
            if name in _BUILTIN_NAMES:
                if equals and name in ("TARGETPLATFORM", "BUILDPLATFORM"):
                    raise WordError(f"{name} cannot be set")
                if name not in self._user:
                    self.values[name] = self._builtin[name]
                return
            if default is None:
                default = self._heading.get(name)
        elif equals and name == "TARGETPLATFORM":
            # Sets its parts too, whatever the user gave.
            parts = _platform_args("TARGET", value)
            self.declared.update(parts)
            self.values.update(parts)
        elif not equals and name in _BUILTIN_NAMES:
            default = self._local[name]
        elif default is None and name in self._heading:
            self.values[name] = self._heading[name]
        if default is not None and name not in self._user:
            self.values[name] = default


def _platform_args(prefix: str, platform: str) -> dict[str, str]:
    parts = (platform.split("/") + ["", ""])[:3]
    return dict(zip((prefix + part for part in _PLATFORM_PARTS), (platform, *parts)))


@dataclass
class _Edge:
    """One stage naming another; ``seen`` says that buildah notices before it decides which stages to skip."""

    stage: int
    seen: bool
    instruction: Instruction
    word: str


@dataclass
class _Stage:
    """One stage: first what the file says, then what its instructions come to.

    :param complete: every variable of its environment is known, because nothing came from outside.
    :param tainted: variables of the environment whose values come from args.
    :param reads: every variable that was looked up where buildah replaces variables.
    """

    number: int
    start: Instruction
    body: tuple[Instruction, ...]
    given_name: Optional[str]
    name: str
    scope: _Scope
    platform: Optional[str] = None
    edges: list[_Edge] = field(default_factory=list)
    bases: list[tuple[str, str, str]] = field(default_factory=list)
    base_name: Optional[str] = None
    named_contexts: list[str] = field(default_factory=list)
    bind_sources: list[str] = field(default_factory=list)
    copy_sources: list[str] = field(default_factory=list)
    context_used: bool = False
    cache_blind: list[str] = field(default_factory=list)
    secret_ids: list[str] = field(default_factory=list)
    ssh_ids: list[str] = field(default_factory=list)
    uncovered: list[str] = field(default_factory=list)
    many_ids: list[str] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    env: dict[str, str] = field(default_factory=dict)
    tainted: set[str] = field(default_factory=set)
    complete: bool = True
    triggers: list[Instruction] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.given_name or str(self.number)

    def variables(self) -> dict[str, str]:
        """What the next instruction can read: the environment wins over args."""
        return {**self.scope.variables(), **self.env}

    def from_args(self, names: Iterable[str]) -> list[str]:
        """Return those variables whose values come from args, given or default."""
        return sorted(name for name in names if name in (self.tainted if name in self.env else self.scope.declared))

    def unknown(self, names: Iterable[str]) -> bool:
        """Whether the base image may set one of the variables."""
        return not self.complete and any(name not in self.env for name in names)


class _Evaluation:
    """One reading of a Containerfile."""

    def __init__(self, containerfile: Containerfile, request: _Request, dialect: _Dialect) -> None:
        self._file = containerfile
        self._request = request
        self._dialect = dialect
        self._read_args()
        self._stages = list(self._split())
        self._evaluated: set[int] = set()

    # -- args before the first FROM

    def _read_args(self) -> None:
        request, parser = self._request, self._dialect.parser
        here = request.build_platform.split("/")
        variant = "" if parser >= (1, 2, 16) else here[2] if len(here) > 2 else "v8" if here[1] == "arm64" else ""
        local = "/".join(here[:2] + ([variant] if variant else []))
        self._local = {**_platform_args("TARGET", local), **_platform_args("BUILD", local)}
        wanted = _platform_args("TARGET", request.platform)
        self._user = dict(request.args)
        self._builtin = dict(self._local)
        cross = request.platform != request.build_platform
        if parser >= (1, 2, 14):
            self._user.pop("TARGETPLATFORM", None)
            self._builtin.update(wanted if cross else {})
        elif cross:
            for name, value in wanted.items():
                if value:
                    self._user.setdefault(name, value)
        scope = _Scope(self._dialect, self._user, {}, self._local, self._local)
        if parser >= (1, 2, 19):
            scope.predeclare()
        # Which heading args another one's default is made of.
        self._made_of: dict[str, set[str]] = {}
        for instruction in self._file.instructions:
            if instruction.name == "FROM":
                break
            variables = scope.variables()
            words = [self._expand(word, variables, instruction) for word in instruction.words]
            for word in words:
                self._declare(scope, word.text, instruction)
                self._made_of.setdefault(word.text.partition("=")[0], set()).update(word.names & variables.keys())
        self._heading = scope.variables()

    def _declare(self, scope: _Scope, word: str, instruction: Instruction) -> None:
        try:
            scope.declare(word)
        except WordError as error:
            raise self._refuse(instruction, str(error)) from error

    # -- stages

    def _split(self) -> Iterator[_Stage]:
        stages: list[tuple[Instruction, list[Instruction]]] = []
        for instruction in self._file.instructions:
            if instruction.name == "FROM":
                stages.append((instruction, []))
            elif stages:
                stages[-1][1].append(instruction)
        for number, (start, body) in enumerate(stages):
            words = start.words
            given = words[2] if len(words) > 2 and words[1].lower() == "as" and words[2] else None
            name = given or str(number)
            if given and self._dialect.parser >= (1, 2, 14):
                name = self._expand(given, {**self._heading, **self._local, **self._builtin}, start).text
            scope = _Scope(self._dialect, self._user, self._heading, self._builtin, self._local)
            yield _Stage(number, start, tuple(body), given and name, name, scope)

    def _target(self) -> int:
        wanted, request = self._request.target, self._request
        if wanted is None:
            return len(self._stages) - 1
        named = [stage.number for stage in self._stages if stage.name == wanted]
        if len(named) > 1:
            raise InputError(f"{self._file.name} has several stages named {wanted!r}",
                             "versions of buildah choose different ones", "Rename all but one")
        if named:
            return named[0]
        if _NUMBER.match(wanted) and 0 <= int(wanted) < len(self._stages):
            if not request.older_than((1, 35)):
                return int(wanted)
            raise InputError(f"target {wanted!r} names a stage by its number",
                             "this buildah is older than 1.35 and looks for its name",
                             f"Write target: {self._stages[int(wanted)].label}")
        raise InputError(f"{self._file.name} has no stage {wanted!r}",
                         f"its stages are {', '.join(stage.label for stage in self._stages)}",
                         "Set target to one of them; letters' case counts")

    def needs(self) -> Needs:
        target = self._target()
        reachable = self._reachable(target)
        stages = [self._stages[number] for number in reachable]
        reads = set().union(*(stage.reads | stage.scope.declared for stage in stages))
        reaching = self._reaching_args(reads)
        declared = {word.partition("=")[0] for each in self._file.instructions if each.name == "ARG"
                    for word in each.words}

        def joined(part: str) -> tuple[str, ...]:
            return tuple(dict.fromkeys(value for stage in stages for value in getattr(stage, part)))

        return Needs(
            stages=tuple(stage.label for stage in stages),
            bases=tuple(dict.fromkeys(self._bases(stages))),
            named_contexts=joined("named_contexts"),
            bind_sources=joined("bind_sources"),
            copy_sources=joined("copy_sources"),
            context_used=any(stage.context_used for stage in stages),
            cache_blind=joined("cache_blind"),
            secret_ids=joined("secret_ids"),
            ssh_ids=joined("ssh_ids"),
            args=tuple(sorted(reaching)),
            unused_args=tuple(sorted(set(self._request.args) - declared - reaching - PROXIES)),
            uncovered=joined("uncovered"),
            many_ids=joined("many_ids"),
            platforms_used=bool(_BUILD_NAMES & self._closure(reads)),
            target_base=self._stages[target].base_name,
        )

    def _reachable(self, target: int) -> list[int]:
        if not self._request.skip_unused_stages:
            for stage in self._stages[:target + 1]:
                self._evaluate(stage)
            return list(range(target + 1))
        needed = self._walk(target, only_seen=False)
        seen = self._walk(target, only_seen=True)
        for number in needed:
            for edge in self._stages[number].edges:
                if self._request.version and edge.stage not in seen:
                    name = edge.instruction.name
                    raise InputError(
                        f"{self._where(edge.instruction)}: buildah {_text(self._request.version)} would not build the "
                        f"stage {self._stages[edge.stage].label!r} that {name} needs",
                        f"it skips stages that nothing seems to use, and does not see this one behind {edge.word!r}",
                        "Give the value in args, or write the stage's name instead" if name == "FROM"
                        else "Write the stage's name instead")
        return sorted(needed)

    def _walk(self, start: int, only_seen: bool) -> set[int]:
        found, todo = set(), [start]
        while todo:
            number = todo.pop()
            if number not in found:
                found.add(number)
                stage = self._evaluate(self._stages[number])
                todo += [edge.stage for edge in stage.edges if edge.seen or not only_seen]
        return found

    def _bases(self, stages: Sequence[_Stage]) -> Iterator[BaseImage]:
        leaked: Optional[str] = None
        for stage in stages:
            platform = stage.platform
            if self._dialect.leaks_platform:
                if stage.platform is None and leaked not in (None, self._request.platform) and stage.bases:
                    raise InputError(
                        f"{self._where(stage.start)}: {stage.bases[0][1]} would be taken for {leaked}, "
                        f"not for {self._request.platform}",
                        "buildah before 1.40 keeps the platform of an earlier FROM --platform for the stages behind it",
                        "Put ARG TARGETPLATFORM before the first FROM and write FROM --platform=$TARGETPLATFORM here, "
                        "or upgrade buildah")
                leaked = stage.platform or leaked
            for raw, name, used_by in stage.bases:
                yield BaseImage(raw, name, None if platform == self._request.platform else platform, used_by)

    def _closure(self, names: set[str]) -> set[str]:
        """Return the names with all that the defaults of heading args are made of."""
        found, todo = set(), list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self._made_of.get(name, ())
        return found

    def _reaching_args(self, reads: set[str]) -> set[str]:
        given = set(self._request.args) - PROXIES
        reaching = given & self._closure(reads)
        # Without any ARG it sets the image's timestamps.
        if "SOURCE_DATE_EPOCH" in given and not self._request.older_than((1, 41)):
            reaching.add("SOURCE_DATE_EPOCH")
        return reaching

    # -- one stage

    def _evaluate(self, stage: _Stage) -> _Stage:
        if stage.number not in self._evaluated:
            self._evaluated.add(stage.number)
            self._inherit_args(stage)
            for instruction in [*self._start(stage), *stage.body]:
                self._apply(stage, instruction)
        return stage

    def _inherit_args(self, stage: _Stage) -> None:
        for word in self._arg_words(stage.start.words[0] if stage.start.words else "", stage.number):
            self._declare(stage.scope, word, stage.start)

    def _arg_words(self, base: str, before: int) -> list[str]:
        """Return the words of ARG that a stage takes over from the stage it begins with (parsers since 1.2.16)."""
        if self._dialect.parser < (1, 2, 16):
            return []
        for parent in reversed(self._stages[:before]):
            given = parent.start.words[2] if parent.given_name else None
            if base in (given, str(parent.number)):
                variables = {**self._heading, **self._local, **self._builtin}
                words = self._arg_words(parent.start.words[0], parent.number)
                for instruction in parent.body:
                    for word in instruction.words if instruction.name == "ARG" else ():
                        # Before 1.2.21 the text is taken over as it stands, quotes and variables included.
                        if self._dialect.parser >= (1, 2, 21):
                            word = self._expand(word, variables, instruction).text
                            name, _equals, value = word.partition("=")
                            variables[name] = value
                        words.append(word)
                return words
        return []

    def _start(self, stage: _Stage) -> list[Instruction]:
        """Take in FROM; return the ONBUILD triggers that it sets off."""
        start = stage.start
        if len(start.words) not in (1, 3) or (len(start.words) == 3 and start.words[1].lower() != "as"):
            raise self._refuse(start, "FROM takes an image, and optionally AS and a name")
        for_name, for_flags = self._from_variables()
        for flag in start.flags:
            option, _equals, value = self._read(stage, flag, for_flags, start).text.partition("=")
            if option == "--platform":
                stage.platform = self._platform(value, start)
            elif option == "--after":
                stage.edges += self._edges(stage, value, start, value, True)
            else:
                raise self._refuse(start, f"FROM has no {option}")
        raw = start.words[0]
        if raw == "scratch":
            stage.env = dict(_SCRATCH_ENV)
            return []
        if raw in self._request.named_contexts:
            stage.named_contexts.append(raw)
            stage.complete = False
            return list(parse_triggers(self._request.triggers.get(raw, ()), raw))
        name = self._read(stage, raw, for_name, start).text
        if not name:
            raise InputError(f"{self._where(start)}: {raw} is empty",
                             "FROM sees no variable but those of ARG before the first FROM",
                             "Declare it with ARG there, and give it a default or a value in args")
        if name == "scratch":
            stage.env = dict(_SCRATCH_ENV)
            return []
        edges = self._edges(stage, name, start, raw, self._sees_from(raw, name, start))
        if edges:
            stage.edges += edges
            parent = self._evaluate(self._stages[edges[-1].stage])
            stage.env, stage.tainted, stage.complete = dict(parent.env), set(parent.tainted), parent.complete
            return list(parent.triggers) if self._request.keeps_triggers else []
        stage.complete = False
        stage.base_name = name
        self._image(stage, raw, name, "FROM", start)
        return list(parse_triggers(self._request.triggers.get(name, ()), name))

    def _from_variables(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return what FROM sees in its image's name and what in its flags (imagebuilder: ``from``)."""
        parser = self._dialect.parser
        if parser < (1, 2, 4):
            return dict(self._heading), dict(self._user)
        if parser < (1, 2, 14):
            # Only an ARG without a default, anywhere in the file, lets the user's value in.
            named = {each.text.partition(" ")[2] for each in self._file.instructions
                     if each.text.partition(" ")[0].lower() == "arg"}
            for_flags = {**self._local, **{name: value for name, value in self._user.items() if name in named}}
            return {**self._heading, **for_flags}, for_flags
        chosen = {name: value for name, value in self._user.items() if name in self._heading}
        both = {**self._heading, **self._local, **self._builtin, **chosen}
        return both, both

    def _platform(self, text: str, instruction: Instruction) -> Optional[str]:
        if not text:
            if self._request.version and not self._request.older_than((1, 34)):
                raise self._refuse(instruction, "--platform has no value")
            return None
        return self._request.build_platform if text == "local" else normalise_platform(text)

    def _sees_from(self, raw: str, name: str, instruction: Instruction) -> bool:
        # 1.28 looks for stages with the user's args alone, without the defaults of the heading.
        return not self._request.older_than((1, 29)) or self._expand(raw, self._user, instruction).text == name

    def _edges(self, stage: _Stage, name: str, instruction: Instruction, word: str, seen: bool) -> list[_Edge]:
        return [_Edge(other.number, seen, instruction, word)
                for other in self._stages[:stage.number] if other.name == name]

    def _image(self, stage: _Stage, raw: str, name: str, used_by: str, instruction: Instruction) -> None:
        if _LOCAL_TRANSPORT.match(name):
            stage.uncovered.append(f"{used_by} {name} at line {instruction.line}")
        else:
            stage.bases.append((raw, name, used_by))

    # -- instructions

    def _apply(self, stage: _Stage, instruction: Instruction) -> None:
        name = instruction.name
        if name == "ARG":
            for word in [self._read(stage, word, stage.variables(), instruction) for word in instruction.words]:
                self._declare(stage.scope, word.text, instruction)
        elif name == "ENV":
            self._env(stage, instruction)
        elif name in _CONFIGURING:
            self._configuring(stage, instruction)
        elif name in ("ADD", "COPY"):
            self._copy(stage, instruction)
        elif name == "RUN":
            self._run(stage, instruction)
        elif instruction.trigger:
            stage.triggers.append(instruction.trigger)

    def _env(self, stage: _Stage, instruction: Instruction) -> None:
        variables = stage.variables()
        words = [self._read(stage, word, variables, instruction) for word in instruction.words]
        self._blind_to(stage, instruction, (name for word in words for name in word.names))
        for key, value in zip(words[::2], words[1::2]):
            tainted = bool(stage.from_args(key.names | value.names))
            stage.env[key.text] = value.text
            (stage.tainted.add if tainted else stage.tainted.discard)(key.text)

    def _configuring(self, stage: _Stage, instruction: Instruction) -> None:
        for word in instruction.words:
            try:
                names = expand(word, stage.variables()).names
            except WordError:
                continue  # No input depends on it; buildah says what is wrong.
            self._blind_to(stage, instruction, names)

    def _blind_to(self, stage: _Stage, instruction: Instruction, names: Iterable[str]) -> None:
        """The layer cache compares the instruction as written and ARG by its name, so values slip through (measured
        with 1.28.2, 1.39.3 and 1.43.2: ARG V and LABEL v=$V give the label of an earlier build)."""
        for name in stage.from_args(set(names)):
            stage.cache_blind.append(f"{instruction.name} with ${name} at line {instruction.line}")

    def _copy(self, stage: _Stage, instruction: Instruction) -> None:
        origin = None
        for flag in instruction.flags:
            if flag.startswith("--from=") and instruction.name == "COPY":
                origin = flag[len("--from="):]
                break
        owners = [flag[len("--chown="):] for flag in instruction.flags if flag.startswith("--chown=")]
        # What comes from an image or a named context keeps its owner, where the store knows it.
        if not set(owners) <= _ROOTS or (origin is not None and not owners):
            how = f"--chown={owners[-1]}" if owners else "--from without --chown=0:0"
            stage.many_ids.append(f"{instruction.name} {how} at line {instruction.line}")
        if origin is not None:
            self._check_origin(stage, origin, instruction)
            self._origin(stage, origin, "COPY --from", instruction)
        checksum = any(flag.startswith("--checksum=") for flag in instruction.flags)
        words = [self._read(stage, word, stage.variables(), instruction) for word in instruction.words]
        for raw, source in zip(instruction.words[:-1], words[:-1]):
            if instruction.heredocs and source.text.startswith("<<"):
                continue
            if instruction.name == "ADD" and source.text.startswith(("http://", "https://")):
                self._remote(stage, source.text, checksum, instruction)
            elif origin is None:
                stage.context_used = True
                stage.copy_sources.append("." if stage.unknown(source.names) else source.text)
                if instruction.name == "ADD" and raw.startswith("$") and stage.unknown(source.names):
                    stage.uncovered.append(f"ADD of {raw} at line {instruction.line}, which the base image may set")
        if words:
            self._blind_to(stage, instruction, words[-1].names)

    def _check_origin(self, stage: _Stage, word: str, instruction: Instruction) -> None:
        """buildah replaces the variables twice, by args to fetch and by args and environment to copy."""
        declared = stage.scope.variables()
        given = declared if self._dialect.parser >= (1, 2, 14) else stage.scope.values
        one = self._expand(word, declared, instruction).text
        other = self._expand(word, {**given, **stage.env}, instruction).text
        if one and one != other:
            raise self._refuse(instruction, f"{word!r} is {one!r} by its args, and {other!r} by undeclared args or ENV")

    def _remote(self, stage: _Stage, url: str, checksum: bool, instruction: Instruction) -> None:
        git = _GIT_URL.search(url)
        shown = _USER_INFO.sub("//", url)
        # Before 1.38 such a URL is downloaded like any other, whatever its fragment says.
        if git and not self._request.older_than((1, 38)):
            if not _COMMIT.match((git.group(1) or "").partition(":")[0]):
                stage.uncovered.append(f"ADD of {shown} at line {instruction.line}, not pinned to a commit")
        elif not checksum:
            stage.uncovered.append(f"ADD of {shown} at line {instruction.line}, without --checksum")

    def _run(self, stage: _Stage, instruction: Instruction) -> None:
        stage.many_ids.append(f"RUN at line {instruction.line}")
        if instruction.heredocs and (self._request.version is None or self._request.older_than((1, 35))):
            stage.cache_blind.append(f"RUN with a here-document at line {instruction.line}")
        variables = stage.variables()
        if self._dialect.parser < (1, 2, 4):
            variables = {**stage.scope.values, **stage.env}
        kind = "bind"
        for raw in instruction.flags:
            flag = self._read(stage, raw, variables, instruction)
            if not flag.text.startswith("--mount="):
                continue
            fields = [text.partition("=") for text in flag.text[len("--mount="):].split(",")]
            options = {name: value for name, _equals, value in fields}
            # Before 1.33 a mount that names no type has that of the mount before it.
            kind = options.get("type", kind if self._request.older_than((1, 33)) else "bind")
            self._mount(stage, kind, options, flag, instruction)

    def _mount(self, stage: _Stage, kind: str, options: Mapping[str, str], flag: Expansion,
               instruction: Instruction) -> None:
        origin = options.get("from")
        if kind == "secret":
            stage.secret_ids += [options["id"]] if options.get("id") else []
        elif kind == "ssh":
            stage.ssh_ids.append(options.get("id") or "default")
        elif kind == "bind" and origin is None:
            source = options.get("source", options.get("src", ""))
            stage.context_used = True
            # As buildah: what points above the context stays inside it.
            stage.bind_sources.append(posixpath.normpath("/" + source).strip("/") or ".")
            if stage.unknown(flag.names):
                stage.bind_sources.append(".")
        elif origin is None:
            return
        if origin is not None:
            self._origin(stage, origin, "RUN --mount", instruction)
        # Since 1.39 some bind mounts are compared, but none without type=, none of a stage and none behind a link.
        stage.cache_blind.append(f"RUN --mount=type={kind} at line {instruction.line}")

    def _origin(self, stage: _Stage, word: str, used_by: str, instruction: Instruction) -> None:
        """Take in what ``from`` names: a named context, an earlier stage or an image, in buildah's order."""
        name = self._read(stage, word, stage.scope.variables(), instruction).text
        if not name:
            raise InputError(f"{self._where(instruction)}: {word or 'from'} is empty",
                             "from needs a stage, an image or a build context",
                             "Declare the variable with ARG in this stage, and give it a default or a value in args")
        number = int(name) if _NUMBER.match(name) else -1
        by_number = self._stages[number] if 0 <= number < stage.number else None
        names = [name] if by_number is None or used_by == "RUN --mount" else [name, by_number.name]
        for context in names:
            if context in self._request.named_contexts:
                stage.named_contexts.append(context)
                return
        edges = self._edges(stage, name, instruction, word, self._sees_origin(word, name, used_by, instruction))
        if by_number:
            # A mount's number is looked up among names when buildah decides which stages to skip.
            seen = used_by == "COPY --from" and self._sees_origin(word, name, used_by, instruction)
            edges.append(_Edge(by_number.number, seen or by_number.name == name, instruction, word))
        if edges:
            stage.edges += edges
        elif number >= 0:
            raise InputError(f"{self._where(instruction)}: there is no stage {number} before this one",
                             f"it is in stage {stage.number}", "Name an earlier stage")
        else:
            self._image(stage, word, name, used_by, instruction)

    def _sees_origin(self, word: str, name: str, used_by: str, instruction: Instruction) -> bool:
        if used_by == "COPY --from" and not self._request.older_than((1, 44)):
            return True
        if used_by == "COPY --from" and not self._request.older_than((1, 30)):
            word = self._expand(word, {**self._heading, **self._user, **self._builtin}, instruction).text
        return word == name

    # -- words

    def _read(self, stage: _Stage, word: str, variables: Mapping[str, str], instruction: Instruction) -> Expansion:
        found = self._expand(word, variables, instruction)
        stage.reads |= found.names & variables.keys()
        return found

    def _expand(self, word: str, variables: Mapping[str, str], instruction: Instruction) -> Expansion:
        try:
            found = expand(word, variables)
        except WordError as error:
            raise self._refuse(instruction, f"{word!r}: {error}") from error
        if self._request.older_than(found.since):
            raise self._refuse(instruction, f"{word!r} needs buildah {_text(found.since)}")
        return found

    def _where(self, instruction: Instruction) -> str:
        return f"{self._file.name} line {instruction.line}"

    def _refuse(self, instruction: Instruction, why: str) -> _Refused:
        return _Refused(f"{self._where(instruction)} cannot be built", why, "Correct the instruction")

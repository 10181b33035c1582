# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a user asked for to the build key: digests of bases and contexts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._bases import Base, BaseMissing, BaseResolver
from ansible_collections.rootless.buildah.plugins.module_utils._containerfile import Containerfile, Needs, needs, parse
from ansible_collections.rootless.buildah.plugins.module_utils._context import (
    ContextDigest,
    credential_files,
    digest_context,
)
from ansible_collections.rootless.buildah.plugins.module_utils._context_archive import Part
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._executor import VariantWork
from ansible_collections.rootless.buildah.plugins.module_utils._ignore import IgnoreFile, find_ignore_file
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import (
    BuildInputs,
    host_platform,
    unpinned_with_push,
)
from ansible_collections.rootless.buildah.plugins.module_utils._key import Resolved, Variant, components, variant
from ansible_collections.rootless.buildah.plugins.module_utils._plan import Reason

_IMAGE_SCHEMES = ("docker-image://", "container-image://", "docker://")
_URL_SCHEMES = ("http://", "https://", "git://", "git@", "ssh://")
TriggersOf = Callable[[Base, str], "tuple[str, ...]"]


@dataclass(frozen=True)
class Resolution:
    """An image's inputs, resolved for each platform.

    :param early_reasons: why the key is not final: a base that does not exist yet.
    :param answers: what each base was found to be, by the name and the platform that were asked for.
    :param triggers: the ONBUILD lines of the bases that stages begin with, by the same.
    """

    variants: Mapping[str, Variant]
    work: Mapping[str, VariantWork]
    uncovered: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    early_reasons: tuple[Reason, ...] = ()
    answers: Mapping[tuple[str, str], Base] = field(default_factory=dict)
    triggers: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    @property
    def base_images(self) -> dict[str, str]:
        """Each base's digest by its name; of several platforms the last one's."""
        return {base.name: base.identity for work in self.work.values() for base in work.bases.values()}


@dataclass
class ContextReader:
    """Hashes directories, each one once for all images of a run."""

    _seen: dict[tuple[Any, ...], ContextDigest] = field(default_factory=dict)

    def copied(self, root: str, ignore: tuple[str, ...], sources: tuple[str, ...]) -> ContextDigest:
        """Return the digest of what COPY and ADD can take from a context."""
        return self._once(root, ignore, copies=sources)

    def mounted(self, root: str, sources: tuple[str, ...]) -> ContextDigest:
        """Return the digest of what RUN mounts from a context."""
        return self._once(root, (), only=sources)

    def named(self, root: str) -> ContextDigest:
        """Return the digest of a named context; nothing is ignored there and owners count."""
        return self._once(root, (), preserve=True)

    def _once(self, root: str, ignore: tuple[str, ...], **how: Any) -> ContextDigest:
        call = (root, ignore, *sorted(how.items()))
        if call not in self._seen:
            self._seen[call] = digest_context(root, ignore, **how)
        return self._seen[call]


def resolve(
    inputs: BuildInputs,
    bases: BaseResolver,
    triggers: TriggersOf,
    contexts: ContextReader,
    *,
    tolerate_missing_bases: bool = False,
    pending: frozenset[str] = frozenset(),
) -> Resolution:
    """Resolve an image's inputs.

    :param triggers: reads the ONBUILD lines of a base for a platform.
    :param tolerate_missing_bases: in check mode a base that is nowhere may be one that this very play builds.
    :param pending: names of bases that are known to be built before this image.
    """
    resolver = _Resolver(inputs, bases, triggers, contexts, tolerate_missing_bases, pending)
    return resolver.script() if inputs.is_script else resolver.containerfile()


class _Resolver:
    def __init__(
        self,
        inputs: BuildInputs,
        bases: BaseResolver,
        triggers: TriggersOf,
        contexts: ContextReader,
        tolerate: bool,
        pending: frozenset[str],
    ) -> None:
        self._inputs = inputs
        self._bases = bases
        self._triggers_of = triggers
        self._contexts = contexts
        self._tolerate = tolerate
        self._pending = pending
        self._early: list[Reason] = []
        self._answers: dict[tuple[str, str], Base] = {}
        self._triggers: dict[tuple[str, str], tuple[str, ...]] = {}

    def script(self) -> Resolution:
        inputs = self._inputs
        unpinned_with_push(inputs, list(inputs.base_images.values()))
        ignore = find_ignore_file(inputs.path, None) if inputs.path else IgnoreFile(None, ())
        context = self._contexts.copied(inputs.path, ignore.patterns, ()) if inputs.path else None
        variants, work = {}, {}
        for platform in inputs.platforms:
            found = {
                word: base
                for word, base in ((word, self._base(str(name), platform)) for word, name in inputs.base_images.items())
                if base
            }
            # A script sees the variable, not the name behind it, so the variable is what is keyed.
            resolved = Resolved(
                bases={f"{word}={inputs.base_images[word]}": base.identity for word, base in found.items()},
                context=context.digest if context else None,
                files=context.files if context else {},
                args=tuple(inputs["args"]),
            )
            variants[platform] = variant(components(inputs, platform, resolved), resolved.files)
            work[platform] = VariantWork(platform, found)
        early = tuple(dict.fromkeys(self._early))
        return Resolution(variants, work, self._uncovered(()), self._warn(context), early, self._answers)

    def containerfile(self) -> Resolution:
        inputs = self._inputs
        parsed = containerfile_of(inputs)
        named = inputs["build_contexts"]
        variants, work = {}, {}
        uncovered: list[str] = []
        warnings: list[str] = []
        ignore = find_ignore_file(inputs.path, inputs.containerfile) if inputs.path else IgnoreFile(None, ())
        for platform in inputs.platforms:
            need = self._needs(parsed, platform)
            uncovered += need.uncovered
            found = self._reachable_bases(need, platform)
            digests, plain = self._named_contexts(need, platform, found)
            uncovered += [
                f"build context {name} at {value}" for name, value in plain.items() if value.startswith(_URL_SCHEMES)
            ]
            context: Optional[ContextDigest] = None
            bound: Optional[ContextDigest] = None
            if inputs.path is None and need.context_used:
                raise InputError(
                    "the Containerfile copies from a build context, but there is none",
                    "path is not given",
                    "Name the directory with path",
                )
            if inputs.path and need.copy_sources:
                context = self._contexts.copied(inputs.path, ignore.patterns, need.copy_sources)
            if inputs.path and need.bind_sources:
                bound = self._contexts.mounted(inputs.path, need.bind_sources)
            resolved = Resolved(
                bases={
                    f"{word}={base.name}" if word in named else base.name: base.identity for word, base in found.items()
                },
                context=context.digest if context else None,
                files=context.files if context else {},
                bind_sources=bound.digest if bound else None,
                contexts=digests,
                args=need.args,
            )
            warnings += self._warn(context)
            variants[platform] = variant(components(inputs, platform, resolved), resolved.files)
            work[platform] = VariantWork(
                platform,
                found,
                plain,
                self._parts(context, bound, plain),
                ignore.path,
                bool(need.cache_blind),
                platform_unseen=platform != host_platform() and _may_begin_with_nothing(parsed),
                base_name=need.target_base,
                many_ids=need.many_ids,
            )
        return Resolution(
            variants,
            work,
            self._uncovered(uncovered),
            tuple(dict.fromkeys(warnings)),
            tuple(dict.fromkeys(self._early)),
            self._answers,
            self._triggers,
        )

    def _needs(self, parsed: Containerfile, platform: str) -> Needs:
        """Return what a platform's build needs, what triggers of its bases need included.

        A trigger may name a stage that nothing needed before, and so another base with triggers.
        """
        inputs = self._inputs
        triggers: dict[str, tuple[str, ...]] = {}
        while True:
            need = _needs_of(inputs, parsed, platform, image_format=inputs["format"], triggers=triggers)
            unpinned_with_push(inputs, [ImageName.parse(base.name) for base in need.bases])
            begun = {base.name: (base.name, base.platform or platform) for base in need.bases if base.used_by == "FROM"}
            for word in need.named_contexts:
                image = _image_of(inputs["build_contexts"][word])
                if image:
                    begun[word] = (image, platform)
            fresh = {word: self._read_triggers(*base) for word, base in begun.items() if word not in triggers}
            triggers.update(fresh)
            if not any(fresh.values()):
                return need

    def _read_triggers(self, name: str, platform: str) -> tuple[str, ...]:
        base = self._base(name, platform)
        if base is None:
            return ()
        self._triggers[name, platform] = self._triggers_of(base, platform)
        return self._triggers[name, platform]

    def _reachable_bases(self, need: Needs, platform: str) -> dict[str, Base]:
        """Return each base under both the word as written and the expanded one, because buildah matches either."""
        found: dict[str, Base] = {}
        for wanted in need.bases:
            base = self._base(wanted.name, wanted.platform or platform)
            if base is None:
                continue
            for word in (wanted.raw, wanted.name):
                other = found.get(word, base)
                if (other.identity, other.platform) != (base.identity, base.platform):
                    raise InputError(
                        f"{wanted.name} is used for two platforms in one Containerfile",
                        "a name can be pinned to one digest only",
                        "Give one of them another name with build_contexts",
                    )
                found[word] = base
        return found

    def _named_contexts(
        self, need: Needs, platform: str, found: dict[str, Base]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return digests of the named contexts in use that are no images, and those that buildah gets as they are."""
        digests, plain = {}, {}
        for name in need.named_contexts:
            value = self._inputs["build_contexts"][name]
            image = _image_of(value)
            if image:
                base = self._base(image, platform)
                if base:
                    found[name] = base
            elif value.startswith(_URL_SCHEMES):
                digests[name] = plain[name] = value
            else:
                root = os.path.join(self._inputs.path or "/", value)
                digests[name] = self._contexts.named(root).digest
                plain[name] = root
        return digests, plain

    def _parts(
        self, context: Optional[ContextDigest], bound: Optional[ContextDigest], plain: Mapping[str, str]
    ) -> tuple[Part, ...]:
        """Return what a build reads of the file system, all of which has been hashed by now."""
        files = {**(context.files if context else {}), **(bound.files if bound else {})}
        parts = [Part("context", self._inputs.path, files)] if self._inputs.path else []
        return (*parts, *(
            Part(f"named/{name}", root, self._contexts.named(root).files, owners=True)
            for name, root in plain.items() if not root.startswith(_URL_SCHEMES)
        ))  # fmt: skip

    def _base(self, name: str, platform: str) -> Optional[Base]:
        if str(ImageName.parse(name).tagged()) in self._pending:
            self._early.append(Reason("base_will_change", name=name))
            return None
        if (name, platform) in self._answers:
            return self._answers[name, platform]
        try:
            answer = self._bases.resolve(name, platform, self._inputs["pull"])
        except BaseMissing:
            if not self._tolerate:
                raise
            self._early.append(Reason("base_will_change", name=name))
            return None
        self._answers[name, platform] = answer
        return answer

    def _uncovered(self, found: object) -> tuple[str, ...]:
        volumes = [f"volume {volume}" for volume in self._inputs["volumes"]]
        return tuple(dict.fromkeys([*list(found), *volumes]))  # type: ignore[call-overload]

    def _warn(self, context: Optional[ContextDigest]) -> tuple[str, ...]:
        held = credential_files(context.files, self._inputs.path) if context else []
        if not held:
            return ()
        named = ", ".join(held[:5]) + (" and more" if len(held) > 5 else "")
        text = (
            f"The build context holds what looks like credentials: {named}. Whatever is copied from it can be read by "
            "whoever pulls the image; list such files in .containerignore."
        )
        return (text,)


def _image_of(context: str) -> Optional[str]:
    """Return the image that a named context is, None for other kinds."""
    return next((context[len(scheme) :] for scheme in _IMAGE_SCHEMES if context.startswith(scheme)), None)


def _may_begin_with_nothing(parsed: Containerfile) -> bool:
    """Return whether a stage has no base, as far as the file alone tells."""
    words = [each.words[0] for each in parsed.instructions if each.name == "FROM" and each.words]
    return any(word == "scratch" or "$" in word for word in words)


def containerfile_of(inputs: BuildInputs) -> Containerfile:
    """Return an image's Containerfile, parsed."""
    return parse(inputs.recipe, inputs.containerfile or "Containerfile")


def _needs_of(inputs: BuildInputs, parsed: Containerfile, platform: str, **more: Any) -> Needs:
    """Return what an image's inputs make its Containerfile need; ``more`` goes on to :func:`needs`."""
    return needs(
        parsed,
        args=inputs["args"],
        target=inputs["target"],
        platform=platform,
        build_platform=host_platform(),
        named_contexts=tuple(inputs["build_contexts"]),
        **more,
    )


def base_names(inputs: BuildInputs) -> set[str]:
    """Return the full names of the bases that an image is built from, without asking anybody."""
    if inputs.is_script:
        return {str(name) for name in inputs.base_images.values()}
    parsed = containerfile_of(inputs)
    found = {image for image in map(_image_of, inputs["build_contexts"].values()) if image}
    # For the order of images Docker's format is assumed, where ONBUILD counts: a base too many costs nothing but the
    # place in the row. The key is made with the image's own format.
    for platform in inputs.platforms:
        found |= {base.name for base in _needs_of(inputs, parsed, platform).bases}
    return {str(ImageName.parse(name).tagged()) for name in found}

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision: from what is wanted and what is there to what is done, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._context import compare_files
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._key import Variant
from ansible_collections.rootless.buildah.plugins.module_utils._record import BuildRecord

#: How many files of a changed context a reason lists of each kind.
FILES_SHOWN = 50


@dataclass(frozen=True)
class Reason:
    """Why something is built or pushed.

    ``reason`` is the name of the key component that differs (``context``, ``args``, ``base_image``, …) or one of
    ``forced``, ``first_build``, ``not_at_destination``, ``no_record``, ``modified_elsewhere``, ``incomplete``,
    ``compression``, ``signature``, ``local_tag``, ``not_loaded``, ``artifact``, ``output``, ``base_will_change``,
    ``cannot_look_up``.
    """

    reason: str
    name: str = ""
    old: Any = None
    new: Any = None
    destination: str = ""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Equal reasons of several platforms and destinations are told once, so they must be hashable.
        for name in ("old", "new"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))

    def as_result(self) -> dict[str, Any]:
        """Return the fields that say something."""
        fields = {
            "reason": self.reason,
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "destination": self.destination,
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": list(self.changed),
        }
        return {name: value for name, value in fields.items() if name == "reason" or value not in (None, "", [])}


@dataclass(frozen=True)
class Wanted:
    """What shall be there.

    :param lasting: whether the image store is there after the build.
    """

    key: str
    variants: Mapping[str, Variant]
    push: bool = False
    load: bool = False
    force: bool = False
    sign_by: Optional[str] = None
    compression: Optional[str] = None
    #: Reasons that are known before anything is looked at, such as a base that is about to change.
    early_reasons: tuple[Reason, ...] = ()
    lasting: bool = True


@dataclass(frozen=True)
class RecordRef:
    """A record of an image as its referrers' index announces it."""

    key: str
    digest: str
    signed_by: Optional[str] = None


@dataclass(frozen=True)
class Destination:
    """What a registry holds under a name.

    :param digest: None when the name is free.
    :param config: the digest of a single image's configuration, which is the id that a local store gives it.
    :param records: announcements of records for exactly this digest.
    :param record: the newest readable record, loaded only when no announced key is the wanted one.
    :param missing: platforms that an index lacks, wholly or in part.
    :param compressions: compression formats of the layers.
    :param last_digest: what this host remembers to have pushed there, with ``last_key``.
    """

    name: ImageName
    digest: Optional[str] = None
    config: Optional[str] = None
    records: tuple[RecordRef, ...] = ()
    record: Optional[BuildRecord] = None
    missing: tuple[str, ...] = ()
    compressions: frozenset[str] = frozenset()
    last_digest: Optional[str] = None
    last_key: Optional[str] = None


@dataclass(frozen=True)
class Local:
    """What the local store and this host's memory hold.

    :param tag_id: the image that the name means; None when the name is free.
    :param tag_keys: keys of the records of that image.
    :param ready_id: an image with the wanted key, whatever its name.
    :param record: the newest record of the image of this name, for the reasons.
    :param stale_artifacts: artifacts that are missing or altered.
    :param stale_outputs: outputs that are missing, altered or of another image.
    """

    tag_id: Optional[str] = None
    tag_keys: frozenset[str] = frozenset()
    ready_id: Optional[str] = None
    record: Optional[BuildRecord] = None
    stale_artifacts: tuple[str, ...] = ()
    stale_outputs: tuple[str, ...] = ()


#: What is done at one destination: upload the local image, copy from ``source`` with the digest preserved,
#: write only the record, or sign what is there.
PUSH, COPY, RECORD, SIGN = "push", "copy", "record", "sign"


@dataclass(frozen=True)
class Delivery:
    """One action at one destination."""

    destination: ImageName
    action: str
    source: Optional[ImageName] = None


@dataclass(frozen=True)
class Plan:
    """What is going to be done; nothing at all is the good case."""

    build: bool = False
    deliveries: tuple[Delivery, ...] = ()
    tag: Optional[str] = None
    load: Optional[ImageName] = None
    export: bool = False
    reasons: tuple[Reason, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything that a user can see would change."""
        return bool(self.build or self.deliveries or self.tag or self.load or self.export)


def plan(wanted: Wanted, local: Local, destinations: Sequence[Destination] = ()) -> Plan:
    """Decide what is done to get what is wanted."""
    reasons = list(wanted.early_reasons) + ([Reason("forced")] if wanted.force else [])
    decide = _deliver if wanted.push else _keep if wanted.lasting else _export
    found = decide(wanted, local, destinations, bool(reasons))
    if local.stale_artifacts and not found.build:
        # Only the build makes artifacts. Where it is due anyway they are no reason of their own.
        reasons += [Reason("artifact", name=name) for name in local.stale_artifacts]
        found = decide(wanted, local, destinations, True)
    # The key of an image whose base is about to change lacks that base; its absence is no difference to tell of.
    pending = {reason.name for reason in wanted.early_reasons}
    reasons += [
        reason
        for reason in found.reasons
        # Behind the variable of a script or the name of a context stands the image.
        if not (reason.reason == "base_image" and reason.new is None and reason.name.rpartition("=")[2] in pending)
    ]
    if not found.build and local.stale_outputs:
        reasons += [Reason("output", name=name) for name in local.stale_outputs]
        found = replace(found, export=True)
        if local.ready_id is None and found.load is None:
            found = replace(found, load=_source(wanted, destinations))
    return replace(found, reasons=tuple(dict.fromkeys(reasons)))


def _keep(wanted: Wanted, local: Local, _destinations: Sequence[Destination], must_build: bool) -> Plan:
    """Without push the local store is the truth."""
    if must_build:
        return Plan(build=True)
    if local.tag_id and wanted.key in local.tag_keys:
        return Plan()
    if local.ready_id:
        return Plan(tag=local.ready_id, reasons=(Reason("local_tag", old=local.tag_id, new=local.ready_id),))
    if local.record:
        return Plan(build=True, reasons=differences(local.record, wanted.variants) or (Reason("first_build"),))
    return Plan(build=True, reasons=(Reason("no_record", old=local.tag_id) if local.tag_id else Reason("first_build"),))


def _export(wanted: Wanted, local: Local, _destinations: Sequence[Destination], must_build: bool) -> Plan:
    """With neither push nor a store that lasts, what was exported is the truth."""
    if must_build or not local.stale_outputs:
        return Plan(build=must_build)
    why = differences(local.record, wanted.variants) if local.record else (Reason("first_build"),)
    # The exports of the wanted image are gone or altered.
    return Plan(build=True, reasons=why or tuple(Reason("output", name=name) for name in local.stale_outputs))


def _deliver(wanted: Wanted, local: Local, destinations: Sequence[Destination], must_build: bool) -> Plan:
    """With push the registry is the truth."""
    reasons: list[Reason] = []
    deliveries: list[Delivery] = []
    source = None if must_build else _source(wanted, destinations)
    for there in destinations:
        why = _why_not_current(wanted, there, local)
        if why is None and not must_build:
            continue
        if why is not None:
            reasons += why
        if source and why and why[0].reason == "signature":
            deliveries.append(Delivery(there.name, SIGN))
        elif source:
            deliveries.append(Delivery(there.name, COPY, source))
        elif (
            not must_build
            and local.ready_id
            and there.config == f"sha256:{local.ready_id}"
            and _form_is_right(wanted, there)
        ):
            # A record that says it is signed would hide for ever that the image is not.
            deliveries.append(Delivery(there.name, SIGN if wanted.sign_by else RECORD))
        else:
            deliveries.append(Delivery(there.name, PUSH))
    build = must_build or bool(deliveries and source is None and local.ready_id is None)
    load = None
    if wanted.load and not build and not (local.tag_id and wanted.key in local.tag_keys):
        if local.ready_id:
            return Plan(False, tuple(deliveries), tag=local.ready_id, reasons=(*reasons, Reason("not_loaded")))
        load = source
        reasons.append(Reason("not_loaded"))
    return Plan(build, tuple(deliveries), load=load, reasons=tuple(reasons))


def _source(wanted: Wanted, destinations: Sequence[Destination]) -> Optional[ImageName]:
    """Return a destination that holds the wanted image whole and in the wanted form."""
    for there in destinations:
        if (
            there.digest
            and any(ref.key == wanted.key for ref in there.records)
            and not there.missing
            and _form_is_right(wanted, there)
        ):
            return there.name.with_digest(there.digest)
    return None


def _form_is_right(wanted: Wanted, there: Destination) -> bool:
    return wanted.compression is None or there.compressions <= {wanted.compression}


def _why_not_current(wanted: Wanted, there: Destination, local: Local) -> Optional[list[Reason]]:
    """Return why a destination is not what is wanted; None when it is."""
    name = str(there.name)
    if there.digest is None:
        return [Reason("not_at_destination", destination=name)]
    ours = [ref for ref in there.records if ref.key == wanted.key]
    if ours:
        if there.missing:
            return [Reason("incomplete", destination=name, old=list(there.missing))]
        if not _form_is_right(wanted, there):
            return [Reason("compression", destination=name, old=sorted(there.compressions), new=wanted.compression)]
        if wanted.sign_by and all(ref.signed_by != wanted.sign_by for ref in ours):
            return [Reason("signature", destination=name, old=ours[0].signed_by, new=wanted.sign_by)]
        return None
    if there.last_digest and there.last_key == wanted.key and there.last_digest != there.digest:
        return [Reason("modified_elsewhere", destination=name, old=there.last_digest, new=there.digest)]
    if there.record:
        return list(differences(there.record, wanted.variants)) or [
            Reason("no_record", destination=name, old=there.digest)
        ]
    if there.last_digest and there.last_digest != there.digest:
        why = [Reason("modified_elsewhere", destination=name, old=there.last_digest, new=there.digest)]
        return why + list(differences(local.record, wanted.variants) if local.record else ())
    return [Reason("no_record", destination=name, old=there.digest)]


def differences(record: BuildRecord, variants: Mapping[str, Variant]) -> tuple[Reason, ...]:
    """Return a reason for each component in which a recorded build differs from the wanted one."""
    reasons: list[Reason] = []
    gone, come = sorted(set(record.variants) - set(variants)), sorted(set(variants) - set(record.variants))
    if gone or come:
        reasons.append(Reason("platform", old=sorted(record.variants), new=sorted(variants)))
    for platform in sorted(set(record.variants) & set(variants)):
        reasons += _component_differences(record.variants[platform], variants[platform])
    if not reasons and record.schema == 0:
        reasons.append(Reason("no_record"))
    return tuple(dict.fromkeys(reasons))


def _component_differences(old: Variant, new: Variant) -> list[Reason]:
    reasons = []
    for component in sorted(set(old.components) | set(new.components)):
        before, after = old.components.get(component), new.components.get(component)
        if before == after:
            continue
        if component == "context" and old.files and new.files:
            change = compare_files(old.files, new.files)
            reasons.append(
                Reason(
                    component,
                    added=tuple(change.added[:FILES_SHOWN]),
                    removed=tuple(change.removed[:FILES_SHOWN]),
                    changed=tuple(change.changed[:FILES_SHOWN]),
                    old=before,
                    new=after,
                )
            )
        elif isinstance(before, (dict, type(None))) and isinstance(after, (dict, type(None))):
            names = sorted(set(before or {}) | set(after or {}))
            reasons += [
                Reason(component, name=name, old=(before or {}).get(name), new=(after or {}).get(name))
                for name in names
                if (before or {}).get(name) != (after or {}).get(name)
            ]
        else:
            reasons.append(Reason(component, old=before, new=after))
    return reasons

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done, and why: docs/build-key.md case by case, then properties over all combinations of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Iterator, Mapping, Optional

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._key import Variant
from ansible_collections.rootless.buildah.plugins.module_utils._plan import (
    COPY,
    FILES_SHOWN,
    PUSH,
    RECORD,
    SIGN,
    Delivery,
    Destination,
    Local,
    Plan,
    Reason,
    RecordRef,
    Wanted,
    differences,
    plan,
)
from ansible_collections.rootless.buildah.plugins.module_utils._record import BuildRecord

AMD64, ARM64 = "linux/amd64", "linux/arm64"
KEY, OTHER_KEY = "sha256:wanted", "sha256:other"
DIGEST, OTHER_DIGEST = "sha256:" + "1" * 64, "sha256:" + "2" * 64
APP = ImageName.parse("registry.example.com/team/app:1")
MIRROR = ImageName.parse("mirror.example.com/team/app:1")
SIGNER = "0123ABCD"
COMPONENTS = {"containerfile": "sha256:new", "platform": AMD64}
OURS = RecordRef(KEY, "sha256:record")
SIGNED = RecordRef(KEY, "sha256:record", SIGNER)
THEIRS = RecordRef(OTHER_KEY, "sha256:record")
# What a build from other inputs recorded, and the reason that it gives.
OTHER_RECORD = BuildRecord(OTHER_KEY, {AMD64: Variant(OTHER_KEY, {**COMPONENTS, "containerfile": "sha256:old"})})
OTHER_RECIPE = Reason("containerfile", old="sha256:old", new="sha256:new")


def wanted(**given: Any) -> Wanted:
    return Wanted(**{"key": KEY, "variants": {AMD64: Variant(KEY, COMPONENTS)}, **given})


def pushed(**given: Any) -> Wanted:
    return wanted(push=True, **given)


def there(name: ImageName = APP, **given: Any) -> Destination:
    """A destination that holds an image of ours as wanted, unless said otherwise."""
    fields = {"digest": DIGEST, "config": "sha256:id", "records": (OURS,), "compressions": frozenset({"gzip"})}
    return Destination(name, **{**fields, **given})


def free(name: ImageName = APP, **given: Any) -> Destination:
    return Destination(name, **given)


CURRENT = Local(tag_id="id", tag_keys=frozenset({KEY}), ready_id="id")
ELSEWHERE = Local(ready_id="id")
NOTHING = Local()


class TestWithoutPush:
    def test_the_right_image_is_left_alone(self) -> None:
        assert plan(wanted(), CURRENT) == Plan()

    def test_the_right_image_may_have_further_records(self) -> None:
        assert plan(wanted(), replace(CURRENT, tag_keys=frozenset({OTHER_KEY, KEY}))) == Plan()

    def test_the_first_build(self) -> None:
        assert plan(wanted(), NOTHING) == Plan(build=True, reasons=(Reason("first_build"),))

    def test_an_image_that_nobody_knows_is_replaced(self) -> None:
        assert plan(wanted(), Local(tag_id="theirs")) == Plan(build=True, reasons=(Reason("no_record", old="theirs"),))

    def test_what_differs_from_the_record_is_the_reason(self) -> None:
        local = Local(tag_id="old", tag_keys=frozenset({OTHER_KEY}), record=OTHER_RECORD)
        assert plan(wanted(), local) == Plan(build=True, reasons=(OTHER_RECIPE,))

    def test_what_was_built_last_explains_a_build_when_the_name_is_free(self) -> None:
        assert plan(wanted(), Local(record=OTHER_RECORD)).reasons == (OTHER_RECIPE,)

    def test_an_image_that_is_gone_is_built_again_although_nothing_differs(self) -> None:
        record = BuildRecord(KEY, {AMD64: Variant(KEY, COMPONENTS)})
        assert plan(wanted(), Local(record=record)) == Plan(build=True, reasons=(Reason("first_build"),))

    @pytest.mark.parametrize("tag_id", [None, "old"])
    @pytest.mark.parametrize("record", [None, OTHER_RECORD])
    def test_an_image_that_exists_under_another_name_is_only_tagged(
        self, tag_id: Optional[str], record: Optional[BuildRecord]
    ) -> None:
        local = Local(tag_id=tag_id, tag_keys=frozenset({OTHER_KEY}), ready_id="ready", record=record)
        assert plan(wanted(), local) == Plan(tag="ready", reasons=(Reason("local_tag", old=tag_id, new="ready"),))

    def test_registries_are_none_of_its_business(self) -> None:
        assert plan(wanted(), CURRENT, [free()]) == Plan()
        assert plan(wanted(), NOTHING, [there()]).build

    def test_load_needs_a_registry(self) -> None:
        assert plan(wanted(load=True), CURRENT) == Plan()


# Each line of "With and without push" in docs/build-key.md, and the lines of the design that say more. What the local
# store holds is nothing; the second expectation is for one that holds the wanted image under any name.
CASES = {
    "nothing there": (free(), {}, Reason("not_at_destination"), PUSH, PUSH),
    "other inputs": (there(records=(THEIRS,), record=OTHER_RECORD, config="sha256:x"), {}, OTHER_RECIPE, PUSH, PUSH),
    "pushed over ours": (
        there(records=(), config="sha256:x", last_digest=OTHER_DIGEST, last_key=KEY),
        {},
        Reason("modified_elsewhere", old=OTHER_DIGEST, new=DIGEST),
        PUSH,
        PUSH,
    ),
    # Their record says what theirs was made from; the reason is that ours is gone.
    "pushed over ours with a record": (
        there(records=(THEIRS,), record=OTHER_RECORD, config="sha256:x", last_digest=OTHER_DIGEST, last_key=KEY),
        {},
        Reason("modified_elsewhere", old=OTHER_DIGEST, new=DIGEST),
        PUSH,
        PUSH,
    ),
    # We pushed it, and since then our inputs changed: that is no work of somebody else.
    "ours of other inputs": (
        there(records=(THEIRS,), record=OTHER_RECORD, config="sha256:x", last_digest=DIGEST, last_key=OTHER_KEY),
        {},
        OTHER_RECIPE,
        PUSH,
        PUSH,
    ),
    "no record": (there(records=(), config="sha256:x"), {}, Reason("no_record", old=DIGEST), PUSH, PUSH),
    "no record, same image": (there(records=()), {}, Reason("no_record", old=DIGEST), PUSH, RECORD),
    "a record that cannot be read": (there(records=(THEIRS,)), {}, Reason("no_record", old=DIGEST), PUSH, RECORD),
    "record lost since we pushed": (
        there(records=(), last_digest=DIGEST, last_key=KEY),
        {},
        Reason("no_record", old=DIGEST),
        PUSH,
        RECORD,
    ),
    "incomplete": (there(missing=(ARM64,), config=None), {}, Reason("incomplete", old=[ARM64]), PUSH, PUSH),
    "compression": (
        there(),
        {"compression": "zstd"},
        Reason("compression", old=["gzip"], new="zstd"),
        PUSH,
        PUSH,
    ),
    "some layers in another compression": (
        there(compressions=frozenset({"zstd", "gzip"})),
        {"compression": "zstd"},
        Reason("compression", old=["gzip", "zstd"], new="zstd"),
        PUSH,
        PUSH,
    ),
    "unsigned": (there(), {"sign_by": SIGNER}, Reason("signature", new=SIGNER), SIGN, SIGN),
    "signed by somebody else": (
        there(records=(replace(OURS, signed_by="FFFF"),)),
        {"sign_by": SIGNER},
        Reason("signature", old="FFFF", new=SIGNER),
        SIGN,
        SIGN,
    ),
    # The record would say signed, and the image would stay unsigned.
    "no record, same image, to be signed": (
        there(records=()),
        {"sign_by": SIGNER},
        Reason("no_record", old=DIGEST),
        PUSH,
        SIGN,
    ),
}
BUILDS = [name for name, case in CASES.items() if case[3] == PUSH]


def at(reason: Reason, name: ImageName = APP) -> Reason:
    """The reason with its destination, which a part of the key that differs does not have."""
    return reason if reason == OTHER_RECIPE else replace(reason, destination=str(name))


class TestWithPush:
    @pytest.mark.parametrize("case", CASES)
    def test_a_destination_that_is_not_as_wanted(self, case: str) -> None:
        destination, wish, reason, action, _ready = CASES[case]
        chosen = plan(pushed(**wish), NOTHING, [destination])
        assert chosen == Plan(case in BUILDS, (Delivery(APP, action),), reasons=(at(reason),))

    @pytest.mark.parametrize("case", CASES)
    def test_what_the_local_store_holds_is_not_built(self, case: str) -> None:
        destination, wish, reason, _action, action = CASES[case]
        assert plan(pushed(**wish), ELSEWHERE, [destination]) == Plan(
            deliveries=(Delivery(APP, action),), reasons=(at(reason),)
        )

    @pytest.mark.parametrize("case", CASES)
    def test_what_another_destination_holds_is_copied(self, case: str) -> None:
        destination, wish, reason, _action, _ready = CASES[case]
        good = there(
            MIRROR,
            digest=OTHER_DIGEST,
            records=(SIGNED,),
            compressions=frozenset({wish.get("compression", "gzip")}),
        )
        chosen = plan(pushed(**wish), NOTHING, [destination, good])
        if reason.reason == "signature":
            expected = Delivery(APP, SIGN)
        else:
            expected = Delivery(APP, COPY, MIRROR.with_digest(OTHER_DIGEST))
        assert chosen == Plan(deliveries=(expected,), reasons=(at(reason),))

    @pytest.mark.parametrize(
        ("wish", "destination"),
        [
            ({}, there()),
            ({}, there(records=(THEIRS, OURS))),
            ({}, there(compressions=frozenset({"gzip", "zstd"}))),
            ({"compression": "gzip"}, there()),
            ({"compression": "zstd"}, there(compressions=frozenset())),
            ({"sign_by": SIGNER}, there(records=(SIGNED,))),
            ({"sign_by": SIGNER}, there(records=(OURS, SIGNED))),
            ({}, there(records=(SIGNED,))),
            # Somebody pushed again what is wanted.
            ({}, there(last_digest=OTHER_DIGEST, last_key=KEY)),
        ],
    )
    @pytest.mark.parametrize("local", [NOTHING, CURRENT, ELSEWHERE, Local(tag_id="theirs", record=OTHER_RECORD)])
    def test_the_right_image_is_left_alone_whatever_the_local_store_holds(
        self, wish: Mapping[str, Any], destination: Destination, local: Local
    ) -> None:
        assert plan(pushed(**wish), local, [destination]) == Plan()

    @pytest.mark.parametrize(
        ("first", "second"),
        [("incomplete", "compression"), ("incomplete", "signature"), ("compression", "signature")],
    )
    def test_of_several_reasons_at_a_destination_the_weightiest_is_told(self, first: str, second: str) -> None:
        flaws = (first, second)
        destination = there(missing=(ARM64,) if "incomplete" in flaws else ())
        wish = pushed(
            compression="zstd" if "compression" in flaws else None, sign_by=SIGNER if "signature" in flaws else None
        )
        assert [reason.reason for reason in plan(wish, NOTHING, [destination]).reasons] == [first]

    def test_the_last_build_explains_what_differs_where_somebody_else_left_no_record(self) -> None:
        destination = there(records=(), last_digest=OTHER_DIGEST, last_key=OTHER_KEY)
        modified = Reason("modified_elsewhere", destination=str(APP), old=OTHER_DIGEST, new=DIGEST)
        assert plan(pushed(), NOTHING, [destination]).reasons == (modified,)
        assert plan(pushed(), Local(record=OTHER_RECORD), [destination]).reasons == (modified, OTHER_RECIPE)

    def test_a_record_of_the_same_inputs_with_another_key_is_none(self) -> None:
        same = BuildRecord(OTHER_KEY, {AMD64: Variant(OTHER_KEY, COMPONENTS)})
        chosen = plan(pushed(), NOTHING, [there(records=(THEIRS,), record=same, config="sha256:x")])
        assert chosen.reasons == (Reason("no_record", destination=str(APP), old=DIGEST),)
        assert chosen.build

    def test_an_equal_image_in_the_wrong_compression_is_pushed_and_not_only_recorded(self) -> None:
        chosen = plan(pushed(compression="zstd"), ELSEWHERE, [there(records=())])
        assert chosen.deliveries == (Delivery(APP, PUSH),)

    @pytest.mark.parametrize(
        "bad",
        [
            there(MIRROR, missing=(ARM64,)),
            there(MIRROR, records=(THEIRS,), record=OTHER_RECORD),
            there(MIRROR, compressions=frozenset({"none"})),
            free(MIRROR, records=(OURS,)),
        ],
        ids=["incomplete", "other inputs", "compression", "nothing"],
    )
    def test_nothing_is_copied_from_where_it_is_not_right_either(self, bad: Destination) -> None:
        chosen = plan(pushed(compression="gzip"), NOTHING, [free(), bad])
        assert chosen.build
        assert chosen.deliveries == (Delivery(APP, PUSH), Delivery(MIRROR, PUSH))

    def test_an_unsigned_image_is_a_source_that_is_signed_itself(self) -> None:
        chosen = plan(pushed(sign_by=SIGNER), NOTHING, [free(), there(MIRROR)])
        assert chosen.deliveries == (Delivery(APP, COPY, MIRROR.with_digest(DIGEST)), Delivery(MIRROR, SIGN))
        assert not chosen.build

    def test_every_destination_has_its_own_reason(self) -> None:
        chosen = plan(pushed(), NOTHING, [free(), free(MIRROR)])
        assert chosen.build
        assert chosen.reasons == (at(Reason("not_at_destination")), at(Reason("not_at_destination"), MIRROR))

    def test_a_difference_that_two_destinations_share_is_told_once(self) -> None:
        old = [there(name, records=(THEIRS,), record=OTHER_RECORD) for name in (APP, MIRROR)]
        assert plan(pushed(), NOTHING, old).reasons == (OTHER_RECIPE,)


class TestLoad:
    def test_an_image_of_the_registry_is_fetched(self) -> None:
        assert plan(pushed(load=True), NOTHING, [there()]) == Plan(
            load=APP.with_digest(DIGEST), reasons=(Reason("not_loaded"),)
        )

    def test_an_image_that_the_name_means_already_is_not(self) -> None:
        assert plan(pushed(load=True), CURRENT, [there()]) == Plan()

    def test_the_name_of_an_image_from_other_inputs_moves(self) -> None:
        local = Local(tag_id="old", tag_keys=frozenset({OTHER_KEY}), record=OTHER_RECORD)
        assert plan(pushed(load=True), local, [there()]).load == APP.with_digest(DIGEST)

    def test_an_image_that_exists_under_another_name_is_only_tagged(self) -> None:
        assert plan(pushed(load=True), ELSEWHERE, [there()]) == Plan(tag="id", reasons=(Reason("not_loaded"),))

    def test_the_name_moves_also_when_the_local_image_is_pushed(self) -> None:
        chosen = plan(pushed(load=True), ELSEWHERE, [free()])
        assert (chosen.build, chosen.tag, chosen.deliveries) == (False, "id", (Delivery(APP, PUSH),))
        assert chosen.reasons == (at(Reason("not_at_destination")), Reason("not_loaded"))

    def test_a_copy_and_a_load_go_together(self) -> None:
        chosen = plan(pushed(load=True), NOTHING, [free(), there(MIRROR)])
        assert (chosen.load, [each.action for each in chosen.deliveries]) == (MIRROR.with_digest(DIGEST), [COPY])

    def test_a_build_leaves_the_image_here_anyway(self) -> None:
        chosen = plan(pushed(load=True), NOTHING, [free()])
        assert (chosen.build, chosen.load, chosen.tag) == (True, None, None)
        assert chosen.reasons == (at(Reason("not_at_destination")),)


class TestForce:
    @pytest.mark.parametrize("local", [NOTHING, CURRENT, ELSEWHERE])
    def test_without_push_it_builds_whatever_is_there(self, local: Local) -> None:
        assert plan(wanted(force=True), local) == Plan(build=True, reasons=(Reason("forced"),))

    def test_with_push_it_builds_and_pushes_to_every_destination(self) -> None:
        assert plan(pushed(force=True), CURRENT, [there(), there(MIRROR)]) == Plan(
            True, (Delivery(APP, PUSH), Delivery(MIRROR, PUSH)), reasons=(Reason("forced"),)
        )

    @pytest.mark.parametrize("case", CASES)
    def test_other_reasons_are_told_besides(self, case: str) -> None:
        destination, wish, reason, _action, _ready = CASES[case]
        chosen = plan(pushed(force=True, **wish), ELSEWHERE, [destination])
        assert chosen == Plan(True, (Delivery(APP, PUSH),), reasons=(Reason("forced"), at(reason)))

    def test_nothing_is_loaded_or_exported_besides(self) -> None:
        chosen = plan(pushed(force=True, load=True), replace(NOTHING, stale_outputs=("/out",)), [there()])
        assert (chosen.build, chosen.load, chosen.export, chosen.tag) == (True, None, False, None)
        assert chosen.reasons == (Reason("forced"),)


class TestBaseThatWillChange:
    SOON = Reason("base_will_change", name="localhost/base:1")

    @pytest.mark.parametrize("local", [NOTHING, CURRENT, ELSEWHERE])
    def test_it_is_reason_enough(self, local: Local) -> None:
        assert plan(wanted(early_reasons=(self.SOON,)), local) == Plan(build=True, reasons=(self.SOON,))

    def test_all_destinations_are_due(self) -> None:
        chosen = plan(pushed(early_reasons=(self.SOON,)), NOTHING, [there(), there(MIRROR)])
        assert chosen == Plan(True, (Delivery(APP, PUSH), Delivery(MIRROR, PUSH)), reasons=(self.SOON,))

    # The variable of a native script and the name of a context stand before the image.
    @pytest.mark.parametrize("component", ["localhost/base:1", "BASE=localhost/base:1"])
    def test_that_its_digest_is_unknown_is_no_difference(self, component: str) -> None:
        was = {**COMPONENTS, "base_image": {component: "image:old", "tool:1": DIGEST}}
        record = BuildRecord(OTHER_KEY, {AMD64: Variant(OTHER_KEY, was)})
        chosen = plan(pushed(early_reasons=(self.SOON,)), NOTHING, [there(records=(THEIRS,), record=record)])
        # What is told of the other base stays: it is not pending, so it was taken out of the recipe.
        assert chosen.reasons == (self.SOON, Reason("base_image", name="tool:1", old=DIGEST))

    def test_a_known_digest_of_it_is_one(self) -> None:
        was, now = ({**COMPONENTS, "base_image": {"localhost/base:1": digest}} for digest in ("image:old", "image:new"))
        record = BuildRecord(OTHER_KEY, {AMD64: Variant(OTHER_KEY, was)})
        chosen = plan(
            pushed(early_reasons=(self.SOON,), variants={AMD64: Variant(KEY, now)}),
            NOTHING,
            [there(records=(THEIRS,), record=record)],
        )
        moved = Reason("base_image", name="localhost/base:1", old="image:old", new="image:new")
        assert chosen.reasons == (self.SOON, moved)

    def test_it_comes_before_the_force(self) -> None:
        assert plan(wanted(early_reasons=(self.SOON,), force=True), NOTHING).reasons == (self.SOON, Reason("forced"))


class TestArtifacts:
    STALE = ("small.tar", "notes")
    TOLD = (Reason("artifact", name="small.tar"), Reason("artifact", name="notes"))

    def test_a_missing_or_altered_one_is_a_reason_to_build(self) -> None:
        assert plan(wanted(), replace(CURRENT, stale_artifacts=self.STALE)) == Plan(build=True, reasons=self.TOLD)

    def test_a_tag_alone_does_not_bring_it_back(self) -> None:
        chosen = plan(wanted(), replace(ELSEWHERE, stale_artifacts=self.STALE))
        assert (chosen.build, chosen.tag, chosen.reasons) == (True, None, self.TOLD)

    def test_with_push_the_new_image_is_pushed_everywhere(self) -> None:
        chosen = plan(pushed(), replace(NOTHING, stale_artifacts=self.STALE), [there(), there(MIRROR)])
        assert chosen == Plan(True, (Delivery(APP, PUSH), Delivery(MIRROR, PUSH)), reasons=self.TOLD)

    def test_a_copy_does_not_bring_it_back(self) -> None:
        chosen = plan(pushed(), replace(NOTHING, stale_artifacts=self.STALE), [free(), there(MIRROR)])
        assert (chosen.build, [each.action for each in chosen.deliveries]) == (True, [PUSH, PUSH])
        assert chosen.reasons == (*self.TOLD, at(Reason("not_at_destination")))

    @pytest.mark.parametrize("wish", [{}, {"force": True}, {"early_reasons": (Reason("base_will_change"),)}])
    def test_where_a_build_is_due_anyway_it_is_no_reason_of_its_own(self, wish: Mapping[str, Any]) -> None:
        chosen = plan(wanted(**wish), replace(NOTHING, stale_artifacts=self.STALE))
        assert chosen.build
        assert "artifact" not in [reason.reason for reason in chosen.reasons]


class TestOutputs:
    STALE = ("/srv/app.tar", "/srv/app")
    TOLD = (Reason("output", name="/srv/app.tar"), Reason("output", name="/srv/app"))

    def test_they_are_exported_from_the_local_image(self) -> None:
        assert plan(wanted(), replace(CURRENT, stale_outputs=self.STALE)) == Plan(export=True, reasons=self.TOLD)

    def test_an_image_that_is_tagged_is_exported_too(self) -> None:
        chosen = plan(wanted(), replace(ELSEWHERE, stale_outputs=self.STALE))
        assert (chosen.build, chosen.tag, chosen.export) == (False, "id", True)
        assert chosen.reasons == (Reason("local_tag", new="id"), *self.TOLD)

    def test_an_image_of_the_registry_is_fetched_first(self) -> None:
        chosen = plan(pushed(), replace(NOTHING, stale_outputs=self.STALE), [there()])
        assert chosen == Plan(load=APP.with_digest(DIGEST), export=True, reasons=self.TOLD)

    def test_an_image_that_is_here_is_not_fetched(self) -> None:
        chosen = plan(pushed(), replace(ELSEWHERE, stale_outputs=self.STALE), [there()])
        assert chosen == Plan(export=True, reasons=self.TOLD)

    def test_with_load_it_is_fetched_once(self) -> None:
        chosen = plan(pushed(load=True), replace(NOTHING, stale_outputs=self.STALE), [there()])
        assert (chosen.load, chosen.export) == (APP.with_digest(DIGEST), True)
        assert chosen.reasons == (Reason("not_loaded"), *self.TOLD)

    def test_a_build_exports_without_being_told(self) -> None:
        chosen = plan(wanted(), replace(NOTHING, stale_outputs=self.STALE))
        assert (chosen.build, chosen.export, chosen.reasons) == (True, False, (Reason("first_build"),))


def variants(**platforms: Mapping[str, Any]) -> dict[str, Variant]:
    return {f"linux/{name}": Variant(f"sha256:{name}", parts) for name, parts in platforms.items()}


class TestDifferences:
    @pytest.mark.parametrize(
        ("old", "new", "reasons"),
        [
            ({"target": "a"}, {"target": "a"}, []),
            ({"target": "a"}, {"target": "b"}, [Reason("target", old="a", new="b")]),
            ({}, {"squash": True}, [Reason("squash", new=True)]),
            ({"refresh": 7}, {"refresh": 8}, [Reason("refresh", old=7, new=8)]),
            ({"refresh": 7}, {}, [Reason("refresh", old=7)]),
            # The epoch is a time like any other.
            ({}, {"timestamp": 0}, [Reason("timestamp", new=0)]),
            ({"timestamp": 0}, {}, [Reason("timestamp", old=0)]),
            ({"timestamp": 0}, {"timestamp": 1}, [Reason("timestamp", old=0, new=1)]),
            ({"args": {"A": "1", "B": "1"}}, {"args": {"A": "1", "B": "2"}}, [Reason("args", "B", "1", "2")]),
            ({"args": {"A": "1"}}, {"args": {"B": "1"}}, [Reason("args", "A", old="1"), Reason("args", "B", new="1")]),
            ({}, {"labels": {"b": "x", "a": ""}}, [Reason("labels", "a", new=""), Reason("labels", "b", new="x")]),
            ({"labels": {"b": "x"}}, {}, [Reason("labels", "b", old="x")]),
            ({"secrets": {"a": "1"}}, {"secrets": {"a": "2"}}, [Reason("secrets", "a", "1", "2")]),
            (
                {"base_image": {"x:1": "sha256:1"}},
                {"base_image": {"x:1": "sha256:2"}},
                [Reason("base_image", "x:1", "sha256:1", "sha256:2")],
            ),
            ({"ssh": ["a"]}, {"ssh": ["a", "b"]}, [Reason("ssh", old=["a"], new=["a", "b"])]),
            (
                {"bind_sources": "sha256:1"},
                {"bind_sources": "sha256:2"},
                [Reason("bind_sources", old="sha256:1", new="sha256:2")],
            ),
            (
                {"script": "sha256:1", "env": {"A": "1"}},
                {"containerfile": "sha256:2", "env": {"A": "2"}},
                [
                    Reason("containerfile", new="sha256:2"),
                    Reason("env", "A", "1", "2"),
                    Reason("script", old="sha256:1"),
                ],
            ),
        ],
    )
    def test_the_components_that_differ(
        self, old: Mapping[str, Any], new: Mapping[str, Any], reasons: list[Reason]
    ) -> None:
        found = differences(BuildRecord("", variants(amd64=old)), variants(amd64=new))
        assert found == tuple(reasons)

    def test_the_files_of_a_context(self) -> None:
        old = Variant("", {"context": "sha256:1", "target": "a"}, {"same": "x", "gone": "x", "other": "x"})
        new = Variant("", {"context": "sha256:2", "target": "b"}, {"same": "x", "other": "y", "come": "x"})
        assert differences(BuildRecord("", {AMD64: old}), {AMD64: new}) == (
            Reason("context", "", "sha256:1", "sha256:2", added=("come",), removed=("gone",), changed=("other",)),
            Reason("target", old="a", new="b"),
        )

    @pytest.mark.parametrize(("old", "new"), [({}, {"a": "x"}), ({"a": "x"}, {})])
    def test_without_both_lists_of_files_the_digests_have_to_do(
        self, old: Mapping[str, str], new: Mapping[str, str]
    ) -> None:
        record = BuildRecord("", {AMD64: Variant("", {"context": "sha256:1"}, old)})
        found = differences(record, {AMD64: Variant("", {"context": "sha256:2"}, new)})
        assert found == (Reason("context", old="sha256:1", new="sha256:2"),)

    def test_of_many_files_the_first_are_shown(self) -> None:
        names = [f"{number:04}" for number in range(FILES_SHOWN + 1)]
        old = {f"{kind}{name}": "x" for kind in ("gone", "other") for name in names}
        new = {**{f"other{name}": "y" for name in names}, **{f"come{name}": "x" for name in names}}
        record = BuildRecord("", {AMD64: Variant("", {"context": "sha256:1"}, old)})
        (reason,) = differences(record, {AMD64: Variant("", {"context": "sha256:2"}, new)})
        for shown, kind in ((reason.added, "come"), (reason.removed, "gone"), (reason.changed, "other")):
            assert list(shown) == [f"{kind}{name}" for name in names[:FILES_SHOWN]]

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (["amd64"], ["amd64", "arm64"]),
            (["amd64", "arm64"], ["amd64"]),
            (["s390x", "amd64"], ["arm64", "amd64"]),
        ],
    )
    def test_platforms_that_come_and_go(self, old: list[str], new: list[str]) -> None:
        record = BuildRecord("", variants(**{name: {"target": "a"} for name in old}))
        assert differences(record, variants(**{name: {"target": "a"} for name in new})) == (
            Reason(
                "platform",
                old=[f"linux/{name}" for name in sorted(old)],
                new=[f"linux/{name}" for name in sorted(new)],
            ),
        )

    def test_what_all_platforms_share_is_told_once_and_what_they_do_not_for_each(self) -> None:
        old, new = (
            variants(
                amd64={"target": target, "base_image": {"x:1": f"sha256:{target}-amd64"}},
                arm64={"target": target, "base_image": {"x:1": f"sha256:{target}-arm64"}},
            )
            for target in ("a", "b")
        )
        assert differences(BuildRecord("", old), new) == (
            Reason("base_image", "x:1", "sha256:a-amd64", "sha256:b-amd64"),
            Reason("target", old="a", new="b"),
            Reason("base_image", "x:1", "sha256:a-arm64", "sha256:b-arm64"),
        )


class TestReason:
    def test_the_result_holds_what_says_something(self) -> None:
        assert Reason("forced").as_result() == {"reason": "forced"}
        assert Reason("context", old="1", new="2", added=("a",)).as_result() == {
            "reason": "context",
            "old": "1",
            "new": "2",
            "added": ["a"],
        }
        assert Reason("x", "n", destination="d", removed=("r",), changed=("c",)).as_result() == {
            "reason": "x",
            "name": "n",
            "destination": "d",
            "removed": ["r"],
            "changed": ["c"],
        }

    def test_zero_and_false_say_something(self) -> None:
        assert Reason("timestamp", old=False, new=0).as_result() == {"reason": "timestamp", "old": False, "new": 0}


# Every state that a destination can be in, so that properties hold for all of them together.
HELD = {
    "right": there(),
    "signed": there(records=(SIGNED,)),
    "zstd": there(compressions=frozenset({"zstd"})),
    "config of theirs": there(records=(), config="sha256:theirs"),
    **{name: case[0] for name, case in CASES.items() if not case[1]},
}
STORES = {
    "nothing": NOTHING,
    "current": CURRENT,
    "elsewhere": ELSEWHERE,
    "elsewhere, name taken": replace(ELSEWHERE, tag_id="old", tag_keys=frozenset({OTHER_KEY}), record=OTHER_RECORD),
    "old": Local(tag_id="old", tag_keys=frozenset({OTHER_KEY}), record=OTHER_RECORD),
    "theirs": Local(tag_id="theirs"),
}


def worlds() -> Iterator[tuple[Wanted, Local, list[Destination]]]:
    """All combinations of wishes, of what the local store holds and of what two registries hold."""
    wishes = [
        pushed(load=load, sign_by=signer, compression=compression)
        for load, signer, compression in itertools.product((False, True), (None, SIGNER), (None, "zstd"))
    ]
    others = [HELD[name] for name in ("right", "signed", "zstd", "nothing there", "other inputs")]
    for wish, store, first, second in itertools.product(wishes, STORES.values(), HELD.values(), others):
        for artifacts, outputs in itertools.product(((), ("made",)), ((), ("/out",))):
            local = replace(store, stale_artifacts=artifacts, stale_outputs=outputs)
            yield wish, local, [first, replace(second, name=MIRROR)]
    for wish, store in itertools.product((wanted(), wanted(compression="zstd")), STORES.values()):
        for artifacts, outputs in itertools.product(((), ("made",)), ((), ("/out",))):
            yield wish, replace(store, stale_artifacts=artifacts, stale_outputs=outputs), []


def carried_out(
    wish: Wanted, local: Local, destinations: list[Destination], chosen: Plan
) -> tuple[Local, list[Destination]]:
    """What is there after a plan."""
    after = {each.name: each for each in destinations}
    for delivery in chosen.deliveries:
        held = after[delivery.destination]
        if delivery.action in (RECORD, SIGN):
            signer = wish.sign_by if delivery.action == SIGN else None
            held = replace(held, records=(replace(OURS, signed_by=signer),), record=None)
        else:
            kinds = frozenset({wish.compression or "gzip"})
            held = there(held.name, records=(replace(OURS, signed_by=wish.sign_by),), compressions=kinds)
        after[delivery.destination] = held
    here = local
    if chosen.build:
        here = CURRENT
    elif chosen.tag or chosen.load:
        image = chosen.tag or "loaded"
        here = replace(local, tag_id=image, tag_keys=frozenset({KEY}), ready_id=image, record=None)
    if chosen.export:
        here = replace(here, stale_outputs=())
    return here, list(after.values())


def test_a_plan_that_was_carried_out_leaves_nothing_to_do() -> None:
    for wish, local, destinations in worlds():
        chosen = plan(wish, local, destinations)
        assert plan(wish, *carried_out(wish, local, destinations, chosen)) == Plan(), (wish, local, destinations)


def test_there_are_reasons_exactly_where_something_changes() -> None:
    for wish, local, destinations in worlds():
        chosen = plan(wish, local, destinations)
        assert chosen.changes == bool(chosen.reasons), (wish, local, destinations)
        assert len(set(chosen.reasons)) == len(chosen.reasons)


def test_with_the_image_at_the_registry_the_local_store_need_not_be_looked_at() -> None:
    """What both check mode and a run rely on: they look closer only where a first look finds something to do."""
    for wish, local, destinations in worlds():
        if wish.push and not wish.load:
            glance = Local(stale_artifacts=local.stale_artifacts, stale_outputs=local.stale_outputs)
            first, second = plan(wish, glance, destinations), plan(wish, local, destinations)
            assert first.changes == second.changes, (wish, local, destinations)
            # A closer look may find the image here, never a need to build it.
            assert first.build or not second.build, (wish, local, destinations)


def test_nothing_is_built_that_is_here_or_at_a_registry() -> None:
    for wish, local, destinations in worlds():
        chosen = plan(wish, local, destinations)
        right = any(
            OURS.key in [ref.key for ref in each.records] and not each.missing and wish.compression is None
            for each in destinations
        )
        if local.ready_id or right:
            assert chosen.build == bool(local.stale_artifacts), (wish, local, destinations)


def test_the_actions_have_the_names_that_the_modules_return() -> None:
    assert (PUSH, COPY, RECORD, SIGN) == ("push", "copy", "record", "sign")


def test_something_is_changed_by_every_kind_of_action() -> None:
    """What check mode returns as changed."""
    assert not Plan().changes
    for action in (
        Plan(build=True),
        Plan(deliveries=(Delivery(APP, RECORD),)),
        Plan(tag="id"),
        Plan(load=APP),
        Plan(export=True),
    ):
        assert action.changes

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instructions of a Containerfile. tests/integration/test_containerfile_oracle.py asks buildah about many more."""

from __future__ import annotations

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._containerfile_syntax import (
    Containerfile,
    Instruction,
    parse,
    parse_triggers,
)
from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError


def instructions(text: str | bytes) -> list[Instruction]:
    """Parse what stands behind a FROM scratch on line 1."""
    body = text.encode() if isinstance(text, str) else text
    return list(parse(b"FROM scratch\n" + body).instructions[1:])


def only(text: str) -> Instruction:
    found = instructions(text)
    assert len(found) == 1
    return found[0]


def test_an_instruction_has_its_name_in_capitals_its_line_flags_and_words() -> None:
    assert only("\n# comment\n  copy --from=a  x\ty z\n") == Instruction(
        "COPY", 4, ("--from=a",), ("x", "y", "z"), "copy --from=a  x\ty z"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ADD a b", ("a", "b")),
        ('ADD ["a b", "c"]', ("a b", "c")),
        ('COPY ["a", "b"] and more', ("a", "b")),
        ("COPY [a, b]", ("[a,", "b]")),
        ("RUN make  all", ("make  all",)),
        ('RUN ["make", "all"]', ("make", "all")),
        ("CMD a b", ("a b",)),
        ("ARG A B=1 C='x y'", ("A", "B=1", "C='x y'")),
        ("ENV A=1 B='x y'", ("A", "1", "B", "'x y'")),
        ("ENV A x y", ("A", "x y")),
        ("LABEL a.b=1", ("a.b", "1")),
        ("EXPOSE 80 443/tcp", ("80", "443/tcp")),
        ("WORKDIR /a b", ("/a b",)),
        ("FROM x AS y", ("x", "AS", "y")),
        ("HEALTHCHECK CMD x", ("CMD x",)),
        ("RUN", ()),
        ("FANCY a  b", ("a  b",)),
    ],
)
def test_words_are_split_as_the_instruction_wants_it(line: str, words: tuple[str, ...]) -> None:
    assert only(line).words == words


def test_an_instruction_goes_on_behind_comments_and_empty_lines() -> None:
    found = instructions("RUN a && \\\n# one\n\n   # two\n  b && \\ \t\n c\nUSER x\n")
    assert [(each.name, each.line, each.text) for each in found] == [
        ("RUN", 2, "RUN a &&   b &&  c"),
        ("USER", 8, "USER x"),
    ]


def test_two_marks_at_the_end_leave_one() -> None:
    assert only("RUN a\\\\\nb\n").text == "RUN a\\b"


def test_the_last_line_may_ask_for_more() -> None:
    assert only("RUN a \\").text == "RUN a "


@pytest.mark.parametrize("first", ["# escape=`", "#escape = ` more", "# ESCAPE=`"])
def test_the_escape_character_can_be_chosen_on_the_first_line(first: str) -> None:
    found = parse(f"{first}\nFROM x \\\nRUN a `\n b\n".encode()).instructions
    assert [each.text for each in found] == ["FROM x \\", "RUN a  b"]


@pytest.mark.parametrize("before", ["# syntax=docker/dockerfile:1\n", "# comment\n", "\n"])
def test_an_escape_directive_further_down_is_a_comment(before: str) -> None:
    found = parse(f"{before}# escape=`\nFROM x\nRUN a \\\n b\n".encode()).instructions
    assert [each.text for each in found] == ["FROM x", "RUN a  b"]


@pytest.mark.parametrize("first", ["# escape=x\n", "# escape=`\n# escape=`\n"])
def test_a_wrong_escape_directive_is_refused(first: str) -> None:
    with pytest.raises(InputError, match="line [12] sets the escape character"):
        parse(f"{first}FROM x\n".encode())


def test_a_byte_order_mark_and_carriage_returns_go() -> None:
    found = parse(b"\xef\xbb\xbfFROM x \\\r\n AS y\r\nUSER z\r\n").instructions
    assert [each.text for each in found] == ["FROM x  AS y", "USER z"]


def test_bytes_that_are_no_utf_8_stay_as_they_are() -> None:
    found = instructions(b"# \xfc\nRUN echo \xfc\n")
    assert found[0].text.encode("utf-8", "surrogateescape") == b"RUN echo \xfc"


def test_unknown_instructions_are_left_to_buildah() -> None:
    assert only("FLY away").name == "FLY"


def test_onbuild_holds_an_instruction() -> None:
    trigger = only("ONBUILD COPY --from=a x y").trigger
    assert trigger is not None
    assert (trigger.name, trigger.line, trigger.flags, trigger.words) == ("COPY", 2, ("--from=a",), ("x", "y"))


def test_triggers_of_an_image_are_read_the_same_way() -> None:
    assert [each.name for each in parse_triggers(["COPY . /src", "RUN make"], "x")] == ["COPY", "RUN"]
    assert parse_triggers([], "x") == ()


def test_here_documents_belong_to_their_instruction() -> None:
    found = instructions("RUN <<EOF\nFROM nothing\nEOF\nCOPY <<a <<-'b' /\nx\na\n\ty\n\tb\nUSER z\n")
    assert [(each.name, [heredoc.name for heredoc in each.heredocs]) for each in found] == [
        ("RUN", ["EOF"]),
        ("COPY", ["a", "b"]),
        ("USER", []),
    ]
    assert [each.line for each in found] == [2, 5, 10]


def test_here_documents_may_hang_on_triggers_but_not_on_json() -> None:
    assert only("ONBUILD RUN <<EOF\nx\nEOF\n").heredocs
    assert [each.name for each in instructions('RUN ["echo", "<<EOF"]\nUSER x\n')] == ["RUN", "USER"]


def test_a_here_document_without_an_end_is_told_and_its_lines_are_instructions() -> None:
    found = parse(b"FROM x\nRUN echo $((1 << 2))\nUSER z\n")
    assert found.open_heredoc == 2
    assert [each.name for each in found.instructions] == ["FROM", "RUN", "USER"]


def test_a_file_without_here_documents_has_no_open_one() -> None:
    assert parse(b"FROM x\n") == Containerfile("Containerfile", (Instruction("FROM", 1, (), ("x",), "FROM x"),), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b"# nothing\n\n", "has no FROM"),
        (b"ARG A=1\n", "has no FROM"),
        (b"RUN make\n", "has no FROM"),
        (b"ARG A\nLABEL a=b\nFROM x\n", "line 2 has LABEL before the first FROM"),
        (b"FROM x\nRUN a\0b\n", "line 2 holds a NUL byte"),
        ("FROM x\n".encode("utf-16"), "line 1 holds a NUL byte"),
        (b"FROM x\n\nENV lonely\n", "line 3 is ENV with a name but no value"),
        (b"FROM x\nENV a=1 b\n", "line 2 has 'b' where ENV needs name=value"),
        (b'FROM x\nRUN ["a", 1]\n', "line 2 has a JSON array that holds more than strings"),
        (b"FROM x\nONBUILD\n", "line 2 is an ONBUILD without an instruction"),
    ],
)
def test_what_no_buildah_can_read_is_refused_with_its_line(text: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse(text, "ctx/Containerfile")
    assert caught.value.message.startswith("ctx/Containerfile")
    assert caught.value.remedy


def test_a_file_for_the_preprocessor_is_refused_with_the_command_that_replaces_it() -> None:
    with pytest.raises(InputError) as caught:
        parse(b"FROM x\n", "app/Containerfile.in")
    assert "cpp -E" in caught.value.remedy
    assert caught.value.remedy.endswith("app/Containerfile.in > app/Containerfile")

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of a Containerfile. tests/integration/test_containerfile_oracle.py asks buildah about many more."""

from __future__ import annotations

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._containerfile_words import (
    Heredoc,
    WordError,
    expand,
    find_heredocs,
    split_flags,
    split_words,
)

VARIABLES = {"A": "one", "PATH": "/usr/bin:/bin", "EMPTY": "", "SPACED": "a b", "FILE": "app.tar.gz"}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("plain", "plain"),
        ("$A", "one"),
        ("x$A/y", "xone/y"),
        ("${A}B", "oneB"),
        ("$AB", ""),
        ("$UNSET", ""),
        ("$", "$"),
        ("$1x", "x"),
        ("${}", ""),
        ("$SPACED", "a b"),
    ],
)
def test_variables_are_replaced_and_unset_ones_are_empty(word: str, text: str) -> None:
    assert expand(word, VARIABLES).text == text


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("${UNSET:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${A:-d}", "one"),
        ("${UNSET:-$A-${A}}", "one-one"),
        ("${UNSET:-${EMPTY:-x}}", "x"),
        ('${UNSET:-"a } b"}', "a } b"),
        ("${A:+s}", "s"),
        ("${UNSET:+s}", ""),
        ("${EMPTY:+s}", ""),
    ],
)
def test_defaults_and_alternatives_count_empty_as_unset(word: str, text: str) -> None:
    assert expand(word, VARIABLES).text == text


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("\\$A", "$A"),
        ("a\\ b", "a b"),
        ("end\\", "end"),
        ("'$A'", "$A"),
        ('"$A"', "one"),
        ('"\\$A"', "$A"),
        ('"\\x"', "\\x"),
        ('"it\'s"', "it's"),
        ("'a'\"b\"c", "abc"),
    ],
)
def test_quotes_and_backslashes_go(word: str, text: str) -> None:
    assert expand(word, VARIABLES).text == text


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("${FILE%.gz}", "app.tar"),
        ("${FILE%.*}", "app.tar"),
        ("${FILE%%.*}", "app"),
        ("${FILE#app.}", "tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE#x}", "app.tar.gz"),
        ("${FILE/a/A}", "App.tar.gz"),
        ("${FILE//a/A}", "App.tAr.gz"),
        ("${FILE/#app/lib}", "lib.tar.gz"),
        ("${FILE/%gz/xz}", "app.tar.xz"),
        ("${FILE//.}", "apptargz"),
        ("${FILE/[a-c]/x}", "xpp.tar.gz"),
        ("${FILE/[^a]/x}", "axp.tar.gz"),
        ("${FILE/?/x}", "xpp.tar.gz"),
        ("${FILE/\\a/x}", "xpp.tar.gz"),
        ("${FILE/[a/x}", "app.tar.gz"),
        ("${FILE#'a\\'}", "app.tar.gz"),
        # A star stops at a slash, as Go's path.Match has it.
        ("${PATH#*/}", "usr/bin:/bin"),
        ("${PATH##*/}", "usr/bin:/bin"),
    ],
)
def test_parts_are_removed_and_replaced_from_1_37_on(word: str, text: str) -> None:
    found = expand(word, VARIABLES)
    assert found.text == text
    assert found.since == (1, 37)


def test_a_required_variable_is_known_from_1_30_on_and_its_message_is_a_default() -> None:
    assert expand("${A:?must}", VARIABLES).since == (1, 30)
    assert expand("${UNSET:?must}", VARIABLES).text == "must"
    with pytest.raises(WordError, match="UNSET must be set"):
        expand("${UNSET:?}", VARIABLES)


@pytest.mark.parametrize("word", ["$A", "${A}", "${A:-x}", "${A:+x}", "'x'", "x"])
def test_other_words_are_known_to_every_buildah(word: str) -> None:
    assert expand(word, VARIABLES).since <= (1, 28)


def test_every_variable_that_was_looked_up_is_told_even_where_it_did_not_matter() -> None:
    assert expand("$A/${UNSET:-$EMPTY}'$FILE'", VARIABLES).names == {"A", "UNSET", "EMPTY"}
    assert expand("${A:-$SPACED}", VARIABLES).names == {"A", "SPACED"}


@pytest.mark.parametrize(
    "word", ["'a", '"a', "${A", "${A:-b", "${A-b}", "${A:=b}", "${A!}", "${A#}", "${A//}", "${A/a/b"]
)
def test_words_that_buildah_refuses_are_refused(word: str) -> None:
    with pytest.raises(WordError):
        expand(word, VARIABLES)


def test_a_byte_that_is_no_utf_8_becomes_the_replacement_character() -> None:
    assert expand(b"a\xffb".decode("utf-8", "surrogateescape"), {}).text == "a\ufffdb"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=1 b=2", ["a=1", "b=2"]),
        ("  a  ", ["a"]),
        ("a='x y' b", ["a='x y'", "b"]),
        ('a="x \\" y"', ['a="x \\" y"']),
        ("a=x\\ y b", ["a=x\\ y", "b"]),
        ("a='it\\' b", ["a='it\\'", "b"]),
        ("''", ["''"]),
        ("a\\", ["a"]),
        ("", []),
    ],
)
def test_words_keep_their_quotes(text: str, words: list[str]) -> None:
    assert split_words(text, "\\") == words


def test_words_follow_the_escape_character() -> None:
    assert split_words("a=x` y b=c\\ d", "`") == ["a=x` y", "b=c\\", "d"]


@pytest.mark.parametrize(
    ("text", "flags", "rest"),
    [
        ("--from=a /x /y", ["--from=a"], "/x /y"),
        ("--a=1  --b=2 c", ["--a=1", "--b=2"], "c"),
        ('--mount="type=bind, from=x" cmd', ["--mount=type=bind, from=x"], "cmd"),
        ("--mount='type=bind' cmd", ["--mount=type=bind"], "cmd"),
        ("--a=\\ b c", ["--a= b"], "c"),
        ("-- --a b", [], " --a b"),
        ("-x --a", [], "-x --a"),
        ("--a", ["--a"], ""),
        ("é --a", [], "é --a"),
        ("--a=é b", ["--a=Ã©"], "b"),
    ],
)
def test_flags_end_at_the_first_word_that_is_none(text: str, flags: list[str], rest: str) -> None:
    assert split_flags(text) == (flags, rest)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("RUN <<EOF", ["EOF"]),
        ("RUN cat <<EOF > /x", ["EOF"]),
        ("RUN <<'EOF'", ["EOF"]),
        ('RUN <<"E F"', ["E F"]),
        ("RUN << EOF", ["EOF"]),
        ("RUN 3<<EOF", ["EOF"]),
        ("COPY <<a <<b /", ["a", "b"]),
        ("RUN cat <<<word", []),
        ("RUN echo $((1<<2))", []),
        ("RUN echo '<<EOF'", []),
        ("RUN echo \\<<EOF", []),
        ("RUN echo ${x:-<<EOF}", []),
        ("RUN echo it's <<EOF", []),
        ("RUN echo ${x^^} <<EOF", []),
        ("RUN echo \"$x ${y:-'a'}\" <<EOF", ["EOF"]),
        ("RUN true <<", []),
        ("RUN true <<a'b c", []),
        ("RUN true \"a\\\"b ${x} \\c\" <<EOF", ["EOF"]),
        ("RUN true $12 $? $x_1 <<EOF", ["EOF"]),
        ("RUN true ${x} ${x:+y} ${x/a/b} ${x%\\}} <<EOF", ["EOF"]),
        ("RUN true ${} <<EOF", []),
        ("RUN true ${x:=y} <<EOF", []),
        ("RUN true ${x:-$y <<EOF", []),
        ("RUN <<E\\OF", ["EOF"]),
        ("RUN true", []),
    ],
)
def test_here_documents_are_found_where_buildkits_lexer_finds_them(line: str, names: list[str]) -> None:
    assert [heredoc.name for heredoc in find_heredocs(line)] == names


def test_a_dash_lets_tabs_stand_before_the_end_marker() -> None:
    assert find_heredocs("RUN <<-EOF") == (Heredoc("EOF", True),)
    assert find_heredocs("RUN <<EOF") == (Heredoc("EOF", False),)

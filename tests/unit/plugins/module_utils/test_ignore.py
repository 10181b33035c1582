# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which paths an ignore file hides. The oracle for it is buildah itself, in the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._errors import ContextError
from ansible_collections.rootless.buildah.plugins.module_utils._ignore import (
    IgnoreFile,
    IgnoreMatcher,
    find_ignore_file,
    parse_ignore,
)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    return path


@pytest.mark.parametrize("files, used", [
    (["FILE.dockerignore", "FILE.containerignore", ".containerignore", ".dockerignore"], "FILE.dockerignore"),
    (["FILE.containerignore", ".containerignore", ".dockerignore"], "FILE.containerignore"),
    ([".containerignore", ".dockerignore"], ".containerignore"),
    ([".dockerignore"], ".dockerignore"),
])
def test_one_ignore_file_counts(context: Path, files: list[str], used: str) -> None:
    containerfile = context.parent / "Containerfile"
    paths = {name: context / name if name.startswith(".") else context.parent / name.replace("FILE", containerfile.name)
             for name in files}
    for name, path in paths.items():
        path.write_text(name)
    assert find_ignore_file(str(context), str(containerfile)) == IgnoreFile(str(paths[used]), (used,))


def test_there_may_be_no_ignore_file(context: Path) -> None:
    assert find_ignore_file(str(context), str(context / "Containerfile")) == IgnoreFile(None, ())


def test_an_empty_file_beside_the_containerfile_replaces_that_of_the_context(context: Path) -> None:
    (context / ".dockerignore").write_text("*")
    (context / "Containerfile.dockerignore").write_text("")
    assert find_ignore_file(str(context), str(context / "Containerfile")).patterns == ()


def test_an_inline_containerfile_has_only_the_ignore_file_of_the_context(context: Path) -> None:
    (context / "Containerfile.dockerignore").write_text("a")
    (context / ".dockerignore").write_text("b")
    assert find_ignore_file(str(context), None).patterns == ("b",)


def test_a_link_within_the_context_is_followed(context: Path) -> None:
    (context / "ignores").write_text("a")
    (context / ".dockerignore").symlink_to("ignores")
    assert find_ignore_file(str(context), None).patterns == ("a",)


@pytest.mark.parametrize("target", ["../ignores", "{root}/ignores", "{root}/context/.containerignore"])
def test_a_link_that_versions_of_buildah_follow_differently_is_refused(context: Path, target: str) -> None:
    (context.parent / "ignores").write_text("a")
    (context / ".dockerignore").symlink_to(target.format(root=context.parent))
    with pytest.raises(ContextError, match="leads out of the build context.*relative link"):
        find_ignore_file(str(context), None)


@pytest.mark.parametrize("name", [".containerignore", "Containerfile.dockerignore"])
def test_an_ignore_file_that_cannot_be_read_is_named(context: Path, name: str) -> None:
    (context / name).mkdir()
    with pytest.raises(ContextError, match=f"{name} cannot be read. Cause: Is a directory"):
        find_ignore_file(str(context), str(context / "Containerfile"))


def test_an_invalid_pattern_is_named_with_its_file(context: Path) -> None:
    (context / ".dockerignore").write_text("fine\na[\n")
    with pytest.raises(ContextError, match=r"\.dockerignore: The ignore pattern 'a\[' cannot be used. Cause: a \["):
        find_ignore_file(str(context), None)


@pytest.mark.parametrize("content, patterns", [
    (b"", ()),
    (b"a\n\n\nb", ("a", "b")),
    (b"#a\n #b\n", (" #b",)),
    (b"/a/\n//\n!/b/\n", ("a", "!/b")),
    (b"a\r\nb/\r\n", ("a\r", "b/\r")),
    (b" a \n", (" a ",)),
    (b"\xef\xbb\xbfa\n", ("\ufeffa",)),
    (b"\xff\n", ("\udcff",)),
])
def test_lines_become_patterns(content: bytes, patterns: tuple[str, ...]) -> None:
    assert parse_ignore(content) == patterns


@pytest.mark.parametrize("lines, hidden, visible", [
    # Names and directories
    ("a", ["a", "a/b", "a/b/c"], ["b", "ab", "b/a"]),
    ("a/b", ["a/b", "a/b/c"], ["a", "b", "a/c"]),
    ("/a/", ["a", "a/b"], ["b/a"]),
    ("./a", ["a"], ["b"]),
    ("a//b/../c", ["a/c"], ["a/b"]),
    (".", [], ["a", ".a"]),
    ("a.b", ["a.b"], ["axb"]),
    # Wildcards
    ("*", ["a", "a/b", ".a"], []),
    ("*.log", ["a.log", ".log", "a.log/b"], ["a/b.log", "a.logs"]),
    ("*/b", ["a/b", "a/b/c"], ["b", "a/a/b"]),
    ("a?c", ["abc", "a.c", "a\u00e9c"], ["ac", "a/c", "abbc"]),
    ("**/b", ["b", "a/b", "a/a/b", "a/b/c"], ["ab", "a"]),
    ("a/**", ["a/b", "a/b/c"], ["b"]),
    ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/x", "b"]),
    ("**", ["a", "a/b"], []),
    ("[a-c]1", ["a1", "c1"], ["d1", "-1"]),
    ("[^a]", ["b", "-"], ["a"]),
    ("[!a]", ["a", "!"], ["b"]),  # not a negation in Go
    (r"\*", ["*"], ["a"]),
    # The last pattern that matches decides
    ("*.md\n!a.md", ["b.md"], ["a.md"]),
    ("!a.md\n*.md", ["a.md"], []),
    ("a\n!a/b\na/b/c", ["a", "a/x", "a/b/c"], ["a/b", "a/b/d"]),
    ("*\n!/a", ["b"], ["a", "a/b"]),
    ("!a", [], ["a", "b"]),
    # White space, line ends, comments, byte order mark
    ("  a\t\r\nb\r", ["a", "b"], []),
    (" # a", ["# a"], ["a"]),
    ("a b", ["a b"], ["a", "b"]),
    ("! a", [], [" a"]),
    (" /a", [], ["a"]),  # its slash was no longer at the start when slashes were taken off
    ("\ufeffa", ["a"], []),
    ("\ufeff!a\na", ["a", "!a"], []),  # no exception, as it does not begin with an exclamation mark
    # What is not quoted on the way to a regular expression
    ("a(b)", ["ab"], ["a(b)"]),
    ("a|b", ["a", "axx", "b", "xb", "xb/c"], ["c"]),
    ("a+", ["a", "aa"], ["a+", "b"]),
    ("a{2}", ["aa"], ["a{2}", "a"]),
    ("a{,2}", ["a{,2}"], ["aa"]),
    (r"bin\debug", ["bin7ebug"], ["bin/debug", r"bin\debug"]),
    (r"a\\b", [r"a\b"], ["ab"]),
    ("^a", ["a"], ["^a"]),
    ("a$", ["a$"], ["a"]),
    # Other bytes than UTF-8 are all the same
    ("\udcff", ["\udcff", "\udcfe", "\ufffd"], ["a"]),
    ("?", ["\udcff"], ["\udcff\udcff"]),
])
def test_patterns_hide_paths(lines: str, hidden: list[str], visible: list[str]) -> None:
    matcher = IgnoreMatcher(parse_ignore(lines.encode("utf-8", "surrogateescape")))
    assert [path for path in hidden + visible if matcher.ignores(path)] == hidden


@pytest.mark.parametrize("lines, entered, passed_by", [
    ("a\n!a/b/c", ["a", "a/b"], ["b", "a/c"]),
    ("a\n!a/*/c", ["a"], ["a/b"]),
    ("a\n!**/c", [], ["a"]),
    ("a\n!*", [], ["a"]),
    ("ab\na\n!ab/c", ["ab", "a"], ["b"]),  # compared as text: a begins ab
    ("a", [], ["a"]),
    ("bad\udcff\n!bad\udcff/b", [], ["bad\udcff"]),  # the exception was rewritten on its way to the copier
])
def test_hidden_directories_are_entered_where_an_exception_spells_them(
        lines: str, entered: list[str], passed_by: list[str]) -> None:
    matcher = IgnoreMatcher(parse_ignore(lines.encode("utf-8", "surrogateescape")))
    assert [path for path in entered + passed_by if matcher.may_hold_exceptions(path)] == entered


@pytest.mark.parametrize("pattern", ["!", "[", "a[", "[]", "[]a]", "[a-]", "[-a]", "a\\", "(", ")", "a++", "a**+",
                                     "[b-a]", r"\y", r"\p", "[[:alpha:]]"])
def test_patterns_that_buildah_or_this_cannot_evaluate_are_refused(pattern: str) -> None:
    with pytest.raises(ContextError) as raised:
        IgnoreMatcher([pattern])
    assert repr(pattern) in raised.value.message and raised.value.cause and raised.value.remedy


def test_without_patterns_nothing_is_hidden() -> None:
    assert not IgnoreMatcher([]) and not IgnoreMatcher([" "]) and IgnoreMatcher(["a"])
    assert not IgnoreMatcher([]).ignores("a")

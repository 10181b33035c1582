# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages are missing and which a transaction brought."""

from __future__ import annotations

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._packages import (
    Note,
    brought,
    dnf_command,
    installed,
    missing,
    needed,
)

# As dpkg-query printed it on Debian 12 with one package held, one removed but not purged, one half installed.
LISTING = "ii buildah\nhi crun\nrc skopeo\niU uidmap\nun passt\nii libc6\n"


def test_only_whole_packages_are_installed() -> None:
    assert installed(LISTING) == {"buildah", "crun", "libc6"}


def test_names_of_rpm_are_understood() -> None:
    assert installed("ii buildah\nii shadow-utils\n") == {"buildah", "shadow-utils"}


@pytest.mark.parametrize("wanted, lacking", [
    ([], []),
    (["buildah", "crun"], []),
    (["skopeo", "buildah", "uidmap"], ["skopeo", "uidmap"]),
    (["passt", "passt"], ["passt"]),
])
def test_what_is_missing_keeps_its_order(wanted: list[str], lacking: list[str]) -> None:
    assert missing(wanted, LISTING) == lacking


def test_dependencies_count_as_brought() -> None:
    assert brought("ii libc6\n", "ii libc6\nii skopeo\nii libgpgme11\n") == ["libgpgme11", "skopeo"]


@pytest.mark.parametrize("value", [
    [], ["skopeo"], {"came": ["crun"], "asked": ["skopeo"], "before": ["libc6"]},
])  # fmt: skip
def test_a_note_is_read_as_it_is_written(value: object) -> None:
    assert Note.read(value).value == value


def test_what_a_transaction_found_counts_until_its_end_is_seen() -> None:
    assert Note.read(None).value == []
    first = Note(["crun"]).opened(["skopeo"], "ii libc6\nii crun\n")
    assert first.value == {"came": ["crun"], "asked": ["skopeo"], "before": ["crun", "libc6"]}
    again = first.opened(["buildah"], "ii libc6\nii crun\nii libgpgme11\n")
    assert again.value == {"came": ["crun"], "asked": ["buildah", "skopeo"], "before": ["crun", "libc6"]}
    assert again.new("ii libc6\nii crun\nii libgpgme11\nii skopeo\niU buildah\n") == (["skopeo"], ["libgpgme11"])


def test_without_a_transaction_nothing_is_new() -> None:
    assert Note(["crun"]).new("ii libc6\n") == ([], [])


@pytest.mark.parametrize("state, recommends, words", [
    ("present", False, ["--setopt=install_weak_deps=0", "install"]),
    ("present", True, ["--setopt=install_weak_deps=1", "install"]),
    # Removing must not take what merely came along, for example with a package of the user's own.
    ("absent", False, ["--setopt=clean_requirements_on_remove=0", "remove"]),
])  # fmt: skip
def test_dnf_is_told_what_may_come_and_go(state: str, recommends: bool, words: list[str]) -> None:
    command = dnf_command(state, ["buildah", "skopeo"], recommends)
    assert [word for word in command if word in words] == words
    assert command[-2:] == ["buildah", "skopeo"]
    assert "--assumeyes" in command


# As dpkg 1.21 printed it: something needs the first, something the second or one that goes, too; the third belongs to
# every Debian; of the fourth there are two.
DPKG = """\
dpkg: dependency problems prevent removal of crun:
 podman depends on crun.

dpkg: error processing package crun (--purge):
 dependency problems - not removing
dpkg: dependency problems prevent removal of libgpgme11:amd64:
 ours depends on libgpgme10 | libgpgme11; however:
  Package libgpgme10 is not installed.
  Package libgpgme11:amd64 is to be removed.

dpkg: error processing package libgpgme11:amd64 (--purge):
 dependency problems - not removing
dpkg: error processing package base-files (--purge):
 this is an essential package; it should not be removed
dpkg: error: --purge needs a valid package name but 'libc6' is not: ambiguous package name 'libc6' with more than one \
installed instance
"""
# As rpm 4.18 printed it on Debian.
RPM = """\
rpm: However assuming you know what you are doing...
error: Failed dependencies:
\trbcap >= 2 is needed by (installed) podman-1-1.noarch
\tlibgpgme.so.11()(64bit) is needed by (installed) podman-1-1.noarch
\t(crun or runc(x)) is needed by (installed) podman-1-1.noarch
\t(crun or runc(x)) is needed by (installed) podman-1-1.noarch
\t/usr/bin/crun is needed by (installed) podman-1-1.noarch
"""


@pytest.mark.parametrize("family, words, names", [
    ("Debian", DPKG, ["base-files", "crun", "libc6", "libgpgme11"]),
    ("Debian", "(Reading database ...)\nWould remove or purge crun (1.8) ...\n", []),
    ("RedHat", RPM, ["/usr/bin/crun", "crun", "libgpgme.so.11()(64bit)", "or", "rbcap", "runc(x)"]),
    ("RedHat", "error: package crun is not installed\n", []),
])  # fmt: skip
def test_what_others_need_is_read_from_a_trial(family: str, words: str, names: list[str]) -> None:
    assert needed(family, words) == names

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known causes are told by what real tools print, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._findings import (
    ERROR,
    FINDINGS,
    TOLD,
    WARNING,
    finding_for,
)

FIXTURES = Path(__file__).parents[3] / "fixtures"
# Builds and lookups that failed for reasons of their own.
INNOCENT = sorted(
    path.relative_to(FIXTURES)
    for pattern in ("*/refusals/*.txt", "*/build-logs/*.log")
    for path in FIXTURES.glob(pattern)
)

# Those of a buildah were printed by it, once with each cause brought about; paths and ids are shortened. 1.28.2 ran
# with crun 1.8.1 on Linux 6.18, 1.39.3 on Debian 13 with SELinux, 1.43.2 in pods of a real cluster. A file's directory
# is the finding and its name the way: a user namespace whose user.max_user_namespaces is 0, seccomp filters that answer
# as a kernel or a security module does, empty or short files in /etc, programs taken away. Those of "reported" are the
# words of reports.
RECORDED = sorted(path.relative_to(FIXTURES) for path in FIXTURES.glob("*/findings/*/*.txt"))

# What users reported, word for word, and what it is.
REPORTED = {
    "User namespaces are not enabled in /proc/sys/user/max_user_namespaces": "userns_off",
    "Error during unshare(CLONE_NEWUSER): Invalid argument": "userns_off",
    "unshare: write failed /proc/self/uid_map: Operation not permitted": "userns_blocked",
    "/merged: invalid argument": "native_overlay",
    "remount /, flags: 0x44000: permission denied": "mount_denied",
    "/gid_map: operation not permitted": "pod_capabilities",
    'could not find "netavark"': "netavark_missing",
    'default OCI runtime "runc" not found': "runtime_missing",
    "cannot mount using driver overlay in rootless mode": "not_unshared",
    "cgroups in hybrid mode not supported": "cgroup_hybrid",
}

# Not to be had here: read in the sources of the tools.
READ = {
    # podman
    'command required for rootless mode with multiple IDs: exec: "newuidmap": executable file not found': "newuidmap",
    "cannot find UID/GID for user ci: open /etc/subuid: no such file or directory": "subid_missing",
    "could not find slirp4netns, the network namespace can't be configured": "network_helper",
    # containers/common, libnetwork/network
    'Error: cni support is not enabled in this build, only netavark. Got unsupported network backend "cni"':
        "netavark_missing",
    # containers/common, libnetwork/pasta
    "could not find pasta, the network namespace can't be configured": "network_helper",
    "pasta failed with exit code 1:\nFailed to open() /dev/net/tun: No such file or directory": "network_helper",
    # containers/storage, drivers/overlay
    "Error: a network file system with user namespaces is not supported.  Please use a mount_program: backing file "
    "system is unsupported for this graph driver": "graphroot_filesystem",
    "Error: 'overlay' is not supported over <unknown>, a mount_program is required: backing file system is unsupported "
    "for this graph driver": "graphroot_filesystem",
    **{f"Error: kernel does not support overlay fs: 'overlay' is not supported over {name} at "
       '"/home/ci/.local/share/containers/storage/overlay": backing file system is unsupported for this graph driver':
       "fuse_missing" for name in ("extfs", "xfs", "btrfs", "tmpfs", "f2fs")},
    'Error: kernel does not support overlay fs: \'overlay\' is not supported over ecryptfs at "/home/ci/x": backing '
    "file system is unsupported for this graph driver": "graphroot_filesystem",
    "Error: kernel does not support overlay fs: overlay: the backing xfs filesystem is formatted without d_type "
    "support, which leads to incorrect behavior. Reformat the filesystem with ftype=1 to enable d_type support. "
    "Running without d_type is not supported.: driver not supported": "graphroot_filesystem",
    # Go and the C library have different words for the same.
    "dpkg: error: failed to write status database: No space left on device": "disk_full",
    'Error: committing container: writing blob: write /home/b/x: disk quota exceeded': "disk_full",
}


def told(output: str) -> str | None:
    """Return the id of the finding that an output points to."""
    found = finding_for(output)
    return found.id if found else None


@pytest.mark.parametrize("recording", RECORDED, ids=str)
def test_what_the_tools_print_tells_the_cause(recording: Path) -> None:
    assert told((FIXTURES / recording).read_text()) == recording.parent.name


@pytest.mark.parametrize("recording", RECORDED, ids=str)
def test_it_is_found_in_the_midst_of_other_output(recording: Path) -> None:
    text = (FIXTURES / recording).read_text()
    assert told(f"STEP 1/2: FROM scratch\n+ make all\n{text}make: *** [all] Error 1\n") == recording.parent.name


@pytest.mark.parametrize("output, name", READ.items())
def test_what_the_tools_would_print_tells_the_cause(output: str, name: str) -> None:
    assert told(output) == name


@pytest.mark.parametrize("words", REPORTED)
def test_what_was_reported_is_known_word_for_word(words: str) -> None:
    assert REPORTED[words] in {path.parent.name for path in RECORDED if words in (FIXTURES / path).read_text()}


def test_every_finding_that_tools_tell_was_recorded() -> None:
    assert {recording.parent.name for recording in RECORDED} == {name for name, _words in TOLD}


@pytest.mark.parametrize("recording", INNOCENT, ids=str)
def test_what_failed_for_other_reasons_is_not_explained_away(recording: Path) -> None:
    assert told((FIXTURES / recording).read_text()) is None


@pytest.mark.parametrize(
    "output",
    [
        "",
        'Error: building at STEP "RUN make": exit status 2',
        # A RUN step may itself lack things.
        "cp: cannot stat 'x': No such file or directory",
        "/bin/sh: 1: pasta: not found",
        "bash: line 1: make: command not found",
        'exec: "make": executable file not found in $PATH',
        "chown: changing ownership of '/x': Operation not permitted",
        "mount: /mnt: permission denied.",
        "fuse: device not found, try 'modprobe fuse' first\n\nCannot mount AppImage, please check your FUSE setup.",
        "inotify_add_watch(/src) failed: No space left on device",
    ],
)
def test_what_a_recipe_does_wrong_itself_is_no_finding(output: str) -> None:
    assert told(output) is None


def test_user_namespaces_that_ran_out_are_not_a_full_disk() -> None:
    # The kernel says ENOSPC for both.
    assert told("Error during unshare(CLONE_NEWUSER): No space left on device") == "userns_off"


def test_ids_are_unique_and_for_ever() -> None:
    ids = [finding.id for finding in FINDINGS]
    assert len(set(ids)) == len(ids) and all(one == one.lower() and " " not in one for one in ids)


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.id)
def test_each_says_why_and_what_to_do(finding: object) -> None:
    # As in all messages: no capital and no full stop, which the error adds.
    cause, remedy = vars(finding)["cause"], vars(finding)["remedy"]
    assert cause and not cause.endswith(".") and (cause[0].islower() or cause.startswith(("OCI", "SELinux", "XDG_")))
    assert remedy[0].isupper() and not remedy.endswith(".")
    assert vars(finding)["severity"] in (ERROR, WARNING)

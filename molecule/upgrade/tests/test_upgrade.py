# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the upgrade the user builds with the new buildah, in the store of the old one."""

from __future__ import annotations

from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.machines import addresses, as_builder

testinfra_hosts = addresses("builders")


def test_buildah_moved_on(host: Host) -> None:
    before, now = as_builder(host, "cat version-before; buildah --version").splitlines()
    assert "version 1.28" in before
    assert "version 1.39" in now


def test_images_from_before_are_there_and_can_be_built_upon(host: Host) -> None:
    said = as_builder(host, """
    test "$(buildah images --quiet --no-trunc localhost/before)" = "$(cat image-id)"
    printf 'FROM localhost/before\nCOPY --from=localhost/before /note /again\n' > before/Containerfile
    buildah build --pull=never -t localhost/after before
    c=$(buildah from --pull-never localhost/after)
    buildah unshare sh -ec 'cat "$(buildah mount $1)/again"' sh "$c"
    buildah rm "$c"
    """)
    assert "kept" in said


def test_running_namespaces_know_the_new_ids(host: Host) -> None:
    """podman's commands share a namespace that the role ended, because its ids are not those of the user any more."""
    rows = as_builder(host, "podman unshare cat /proc/self/uid_map").splitlines()
    assert sum(int(row.split()[2]) for row in rows) > 131072

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two builders and a registry: what one has built, the other finds done."""

from __future__ import annotations

import re

from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.machines import as_builder, names, playbook

testinfra_hosts = ["ssh://site-two"]


def test_an_image_of_one_builder_is_unchanged_on_the_other(host: Host) -> None:
    assert names("builders") == ["site-one", "site-two"]
    # As on a builder that has never built: it neither has the images nor remembers any.
    as_builder(host, "buildah rmi --all --force && rm -rf ~/.local/share/rootless.buildah")
    images = {"build_images_images": "{{ site_images }}"}
    for arguments in (["--check"], []):
        done = playbook("playbooks/site.yml", "site-registry,site-two", images, *arguments)
        assert done.returncode == 0, done.stdout[-5000:]
        assert re.search(r"site-two +yes +0 built, 2 unchanged", done.stdout), done.stdout[-3000:]
        assert re.search(r"^site-two +: .*changed=0 ", done.stdout, re.MULTILINE), done.stdout[-3000:]
    assert "site-registry" not in as_builder(host, "buildah images --all")


def test_what_the_second_image_was_built_from_counts(host: Host) -> None:
    """A change on the other builder is seen there, and the first one takes part in it."""
    host.check_output("echo 'unchanged, nearly' > /srv/app/note")
    try:
        done = playbook("playbooks/site.yml", "site-registry,site-two", {"build_images_images": "{{ site_images }}"})
        assert done.returncode == 0, done.stdout[-5000:]
        assert re.search(r"site-two +yes +1 built, 1 unchanged", done.stdout), done.stdout[-3000:]
    finally:
        host.check_output("echo unchanged > /srv/app/note")
        done = playbook("playbooks/site.yml", "site-registry,site-two", {"build_images_images": "{{ site_images }}"})
    assert re.search(r"site-two +yes +1 built, 1 unchanged", done.stdout), done.stdout[-3000:]

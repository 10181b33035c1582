# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SELinux has learned of a builder user's images, asked of the system."""

from __future__ import annotations

from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.machines import addresses, as_builder
from ansible_collections.rootless.buildah.plugins.module_utils._findings import finding_for

testinfra_hosts = addresses("builders")

IMAGES = "/srv/images"
# A step keeps the label that it has itself.
BUILD = """
mkdir -p labelled && cp /usr/bin/busybox labelled/ && cat > labelled/Containerfile <<'END'
FROM scratch
COPY . /
RUN ["/busybox", "cp", "/proc/self/attr/current", "/label"]
END
buildah build --isolation=rootless --quiet --tag localhost/labelled labelled 2>&1
"""

# Prints whether a container may read a file on NFS.
MAY_READ = """
import os
def number(name):
    return int(open("/sys/fs/selinux/class/file/" + name).read())
access = os.open("/sys/fs/selinux/access", os.O_RDWR)
os.write(access, b"system_u:system_r:container_t:s0 system_u:object_r:nfs_t:s0 %d" % number("index"))
print(bool(int(os.read(access, 200).split()[0], 16) >> (number("perms/read") - 1) & 1))
"""


def kind(label: str) -> str:
    """Return the type of a label: the third of user:role:type:level."""
    return label.split(":")[2]


def test_the_policy_takes_them_for_images(host: Host) -> None:
    wanted = host.check_output("matchpathcon -n /var/lib/containers/storage/overlay")
    assert kind(host.check_output(f"matchpathcon -n {IMAGES}/overlay")) == kind(wanted) != "var_t"
    assert kind(host.check_output(f"stat --format %C {IMAGES}")) == "container_var_lib_t"


def test_containers_may_use_nfs_and_may_after_the_next_start(host: Host) -> None:
    assert host.check_output("stat --file-system --format %T /mnt/shared") == "nfs"
    (line,) = host.check_output("semanage boolean --list --locallist --noheading").splitlines()
    assert line.split(None, 1)[0] == "container_use_nfs"
    assert "(on   ,   on)" in line


def test_that_is_what_containers_need_for_it(host: Host) -> None:
    """The kernel is asked what its policy says (security/selinux/selinuxfs.c: sel_write_access)."""
    assert host.check_output("python3 -c %s", MAY_READ) == "True"
    host.check_output("setsebool container_use_nfs off")
    try:
        assert host.check_output("python3 -c %s", MAY_READ) == "False"
    finally:
        host.check_output("setsebool container_use_nfs on")


def test_a_step_runs_in_the_domain_of_containers(host: Host) -> None:
    as_builder(host, BUILD)
    label = as_builder(host, """
container=$(buildah from --pull-never localhost/labelled)
buildah unshare sh -c 'cat "$(buildah mount $1)/label"' sh "$container"
buildah rm "$container" > /dev/null
""")
    assert kind(label) == "container_t"


def test_what_debians_policy_denies_is_named_and_the_remedy_builds(host: Host) -> None:
    assert host.check_output("getenforce") == "Permissive"
    settings = "~builder/.config/containers/containers.conf"
    host.check_output("setenforce 1")
    try:
        found = finding_for(as_builder(host, BUILD, check=False))
        assert found and found.id == "selinux_labels"
        as_builder(host, f"printf '[containers]\\nlabel = false\\n' > {settings}\n{BUILD}")
    finally:
        # That policy does not let logind stay on the bus either.
        host.check_output(f"setenforce 0 && rm -f {settings} && systemctl restart systemd-logind")

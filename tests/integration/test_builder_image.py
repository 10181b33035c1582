# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The builder image of the role cluster_builder: built without root, pushed, pulled, and building like in a pod.

A pod is stood in for by a root of its own (pivot_root), the capabilities and the no_new_privs of its profile. What a
node adds, seccomp and AppArmor, is tested in the scenario ``cluster``.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from ansible_collections.rootless.buildah.tests.integration.harness import CHECKOUT, Builder, Registry, base_script

pytestmark = pytest.mark.long

CONTEXT = CHECKOUT / "roles/cluster_builder/files/builder"
# The rights of a container (docs/cluster-builder.md): its user, no_new_privs, the bounding set.
_ROOT = "setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,"
_BUILD = "setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all"
RIGHTS = {
    "a": f"{_ROOT}+setuid,+setgid,+setfcap,+chown,+dac_override,+fowner",
    "b": f"{_BUILD},+setuid,+setgid",
}
HOMES = {"a": "/root", "b": "/home/build"}
STORES = {"a": "/var/lib/containers", "b": "/home/build/.local/share/containers"}
# A pod's ids are one range, those of a user here are two, and a mapping must not cross a border (user_namespaces(7)).
_RANGES = " ".join(f"--map-{kind}={each}" for kind in ("users", "groups") for each in ("0:0:1", "1:1:65535"))
OFFLINE = f"unshare -U -n -m {_RANGES} --keep-caps"


@pytest.fixture(scope="module")
def image(builder: Builder, registry: Registry) -> str:
    """The builder image at the registry, by digest."""
    base = f"{registry.address}/base/forky:1"
    builder.build(name=base, script=base_script(), args={"SUITE": "forky"}, push=True, **registry.login)
    place = builder.home / "builder-context"
    shutil.copytree(CONTEXT, place)
    subprocess.run(["chown", "-R", f"{builder.uid}:{builder.gid}", str(place)], check=True)
    name = f"{registry.address}/rootless-buildah/builder:1"
    options = {"name": name, "path": str(place), "args": {"BASE": base}, "push": True, **registry.login}
    built = builder.build(**options)
    assert built["built"] and built["digest"].startswith("sha256:")
    again = builder.build(**options)
    assert not again["changed"] and not again["built"] and again["digest"] == built["digest"]
    return f"{registry.address}/rootless-buildah/builder@{built['digest']}"


@pytest.fixture(scope="module")
def node(second_builder: Builder, registry: Registry, image: str) -> Builder:
    """Somebody with an empty store who pulled the image; the working container is ``pod``."""
    auth = second_builder.write("auth.json", registry.auth_file, 0o600)
    second_builder.sh(f"buildah from --quiet --name pod --authfile {auth} --tls-verify=false {image}")
    return second_builder


def pod(
    node: Builder, profile: str, script: str, rights: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a script in a root of its own with the rights of a profile, as the entry point would run it.

    :param rights: in their place.
    """
    inner = f"""
set -eu
cd "$(buildah mount pod)"
for place in proc dev sys; do mount --rbind /$place $place; done
for place in tmp run .{STORES[profile]}; do mount -t tmpfs tmpfs $place; done
chown {0 if profile == "a" else 1000} .{STORES[profile]}
install -m 755 /bin/busybox tmp/busybox
mkdir -p old
pivot_root . old
cd /
python3 -c 'import ctypes; ctypes.CDLL(None).umount2(b"/old", 2)'
cd /tmp
exec env -i HOME={HOMES[profile]} PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  BUILDAH_ISOLATION=chroot {rights or RIGHTS[profile]} /usr/local/bin/rootless-build-guard sh -euc "$1"
"""
    return node.run(
        ["buildah", "unshare", "--", "unshare", "--mount", "--propagation", "private", "sh", "-c", inner, "sh", script],
        check=check,
    )


def test_helpers_have_file_capabilities_and_no_setuid_bit_after_a_pull(node: Builder) -> None:
    seen = node.sh(
        "buildah run pod -- sh -ec 'getcap /usr/bin/newuidmap /usr/bin/newgidmap; "
        'stat -c "%a %U %n" /usr/bin/newuidmap /usr/bin/newgidmap\''
    )
    assert seen.splitlines() == [
        "/usr/bin/newuidmap cap_setuid=ep",
        "/usr/bin/newgidmap cap_setgid=ep",
        "755 root /usr/bin/newuidmap",
        "755 root /usr/bin/newgidmap",
    ]


def test_what_a_build_needs_is_there(node: Builder) -> None:
    seen = node.sh(
        "buildah run pod -- sh -ec 'buildah --version; skopeo --version; unshare --version; python3 --version; "
        "test -x /usr/lib/podman/netavark; test -s /etc/ssl/certs/ca-certificates.crt; "
        "cat /etc/subuid; cat /etc/subgid; getent passwd root build; echo $BUILDAH_ISOLATION; "
        'stat -c "%U %a" /home/build/.local/share/containers; ls /etc/containers/registries.conf.d\''
    ).splitlines()
    versions = {line.split()[0]: next(word for word in line.split() if word[0].isdigit()) for line in seen[:4]}
    assert tuple(map(int, versions["buildah"].split(".")[:2])) >= (1, 43)
    assert tuple(map(int, versions["unshare"].split(".")[:2])) >= (2, 42)
    ranges = ["root:0:65536", "build:1:999", "build:1001:64535"]
    assert seen[4:] == [
        *ranges,
        *ranges,
        "root:x:0:0:root:/root:/bin/bash",
        "build:x:1000:1000::/home/build:/bin/bash",
        "chroot",
        "build 755",
    ]


def context(run: str) -> str:
    """Return a script that makes a build context: a file of another owner, and one RUN step."""
    return f"""
mkdir /tmp/context && cd /tmp/context && cp /tmp/busybox . && echo text > file
cat > Containerfile <<'END'
FROM scratch
COPY busybox /bin/
COPY --chown=33:44 file /
RUN ["/bin/busybox", "sh", "-c", "{run}"]
END
"""


LOOK = "buildah push --quiet result dir:/tmp/out; for f in /tmp/out/*; do tar -tvzf $f --numeric-owner 2>&1 || :; done"


@pytest.mark.parametrize("profile", ["a", "b"])
def test_it_builds_with_the_rights_of_a_pod(node: Builder, profile: str) -> None:
    """Owners survive: many ids are mapped, not one."""
    run = "/bin/busybox chown 100:101 /file && /bin/busybox touch /made"
    done = pod(node, profile, context(run) + "buildah build --quiet -t result . >&2\n" + LOOK)
    assert re.search(r"^-\S+ 100/101 .* file$", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert re.search(r"^-\S+ 0/0 .* made$", done.stdout, re.MULTILINE)


def test_run_steps_have_no_network_in_a_namespace_of_its_own(node: Builder, registry: Registry) -> None:
    """A RUN step tries to reach the registry, which listens on this machine; what it sees goes into a file."""
    host, port = registry.address.split(":")
    run = f"/bin/busybox nc -w 5 {host} {port} < /dev/null > /seen 2>&1 && echo reached > /seen || :"
    show = "\nbuildah push -q result dir:/tmp/out; for f in /tmp/out/*; do tar -xOzf $f seen 2>/dev/null || :; done"
    with_network = pod(node, "a", context(run) + "buildah build --quiet -t result . >&2" + show)
    assert with_network.stdout == "reached\n"
    without = pod(node, "a", context(run) + f"{OFFLINE} buildah build --quiet --pull=never -t result . >&2" + show)
    assert "Network is unreachable" in without.stdout


@pytest.mark.parametrize(
    ("profile", "rights", "words"),
    [
        ("b", f"{_BUILD},+setuid,+setgid --no-new-privs", "set allowPrivilegeEscalation: true (profile B)"),
        ("b", f"{_BUILD},+setuid", "add both to the capabilities of the container (profile B)"),
    ],
)
def test_the_entry_point_stops_where_a_build_would_go_wrong(
    node: Builder, profile: str, rights: str, words: str
) -> None:
    done = pod(node, profile, "echo started", rights, check=False)
    assert (done.returncode, done.stdout) == (78, "")
    assert words in done.stderr

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A builder host, asked itself: what the roles set is there, and its user builds and pushes what people build."""

from __future__ import annotations

import json

from testinfra.host import Host

from ansible_collections.rootless.buildah.molecule.verify.machines import OUTSIDE, addresses, as_builder, name_of
from ansible_collections.rootless.buildah.tests.integration.harness import Registry
from ansible_collections.rootless.buildah.tests.integration.workshop import ServedImage

testinfra_hosts = addresses("builders")

CONTAINERFILE = """
FROM {debian} AS tools
RUN apt-get -qq update && apt-get -qq install --no-install-recommends hello
RUN useradd --uid 1234 --create-home app && echo of app > /home/app/note && chown app: /home/app/note

FROM {debian}
COPY --from=tools --chown=4321:54321 /usr/bin/hello /srv/hello
COPY --from=tools /etc/passwd /etc/passwd
COPY --from=tools /home/app /home/app
USER app
RUN test "$(id -un)" = app && /srv/hello > /tmp/said && ! touch /srv/more 2>/dev/null
"""


def test_users_may_create_user_namespaces(host: Host) -> None:
    assert int(host.check_output("cat /proc/sys/user/max_user_namespaces")) >= 15000
    assert as_builder(host, "unshare --user --map-root-user id -u").strip() == "0"


def test_the_user_has_subordinate_ids_that_nobody_else_has(host: Host) -> None:
    for option, database in (("", "passwd"), ("-g", "group")):
        lines = host.check_output(f"getsubids {option} builder").splitlines()
        taken = [range(int(start), int(start) + int(count)) for *_owner, start, count in map(str.split, lines)]
        assert sum(map(len, taken)) >= 65536
        ids = {int(line.split(":")[2]) for line in host.check_output(f"getent {database}").splitlines()}
        assert not any(number in ids for one in taken for number in one)
        assert not any(set(one) & set(other) for one in taken for other in taken if one is not other)


def test_ids_are_mapped_by_helpers_that_may(host: Host) -> None:
    for name, capability in (("newuidmap", "cap_setuid"), ("newgidmap", "cap_setgid")):
        path = host.check_output(f"command -v {name}")
        setuid = int(host.check_output(f"stat --dereference --format %a {path}"), 8) & 0o4000
        assert setuid or f"{capability}=ep" in host.check_output(f"getcap {path}")
    mapped = as_builder(host, "buildah unshare cat /proc/self/uid_map").split()
    assert int(mapped[-1]) >= 65536


def test_groups_of_the_user_may_ping(host: Host) -> None:
    low, high = map(int, host.check_output("cat /proc/sys/net/ipv4/ping_group_range").split())
    assert low <= int(as_builder(host, "id -g")) <= high


def test_crun_runs_the_steps_and_the_kernel_mounts_the_layers(host: Host) -> None:
    info = json.loads(as_builder(host, "buildah info"))
    assert info["host"]["OCIRuntime"].endswith("crun")
    assert info["host"]["CgroupVersion"] == "v2"
    assert info["store"]["GraphDriverName"] == "overlay"
    assert "mount_program" not in as_builder(host, "cat ~/.config/containers/storage.conf")


def test_what_the_user_runs_outlives_its_logins(host: Host) -> None:
    assert "Linger=yes" in host.check_output("loginctl show-user builder --property=Linger")
    assert host.run("test -d /run/user/$(id -u builder)").rc == 0


def test_the_user_builds_and_pushes_what_people_build(host: Host, registry: Registry, debian: str) -> None:
    outside = f"{OUTSIDE}:{registry.port}"
    target = f"{outside}/of/{name_of(host)}:1"
    text = CONTAINERFILE.format(debian=f"{outside}/{debian}")
    as_builder(host, f"""
mkdir -p build && cat > build/Containerfile <<'END'
{text}
END
buildah build --layers --tls-verify=false -t {target} build
buildah push --tls-verify=false {target}
""")
    served = ServedImage(registry, f"{registry.address}/of/{name_of(host)}:1")
    hello, note = served.member("/srv/hello"), served.member("/home/app/note")
    assert (hello.uid, hello.gid) == (4321, 54321)
    assert (note.uid, note.gid) == (1234, 1234)
    assert served.file("/tmp/said") == "Hello, world!\n"
    assert served.member("/tmp/said").uid == 1234
    assert served.config["config"]["User"] == "app"


def test_a_login_through_su_builds_too(host: Host) -> None:
    """Without a session there is no XDG_RUNTIME_DIR, or it is that of the caller."""
    script = "cd /tmp && buildah from --name su-trial scratch && buildah rm su-trial"
    for caller in ("XDG_RUNTIME_DIR=/run/user/0", "-u XDG_RUNTIME_DIR"):
        done = host.run(f"env {caller} su -l builder -c %s", script)
        assert done.rc == 0, done.stderr

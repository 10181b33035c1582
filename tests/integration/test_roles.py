# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles that make a host ready, on machines of their own: what check mode says is what happens, twice is once, and
absent gives everything back.

The machines are Debian 12 in namespaces. Ansible reaches them as it reaches any host; a script stands in for ssh.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence

import pytest
import yaml

from ansible_collections.rootless.buildah.molecule.machines import control_plane
from ansible_collections.rootless.buildah.molecule.verify.clusters import Cluster
from ansible_collections.rootless.buildah.tests.demo import machine as machines
from ansible_collections.rootless.buildah.tests.demo.machine import Machine
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT
from ansible_collections.rootless.buildah.tests.tools.distributions import variable
from ansible_collections.rootless.buildah.tests.tools.waiting import until

USER, PORT, STORAGE = "rbroles", 5571, "/var/lib/rbroles-registry"
OURS: dict[str, Any] = {"builder_user": USER, "build_registry_port": PORT, "build_registry_storage": STORAGE}
ALL_BACK = {"builder_remove_home": True, "build_registry_remove_storage": True}
LOOK = (Path(machines.__file__).parent / "state.py").read_text(encoding="utf-8")
STAND_IN = """\
#!/bin/sh
# Runs the last argument on the machine, as ssh would.
for last; do :; done
exec nsenter --target={pid} --mount --pid --uts --ipc --cgroup --net --root --wd \\
  env -i HOME=/root USER=root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
  sh -c "$last"
"""
State = dict[str, dict[str, str]]


def role_packages() -> list[str]:
    """What the roles install on Debian 12, from the one place that says so."""
    facts = {"os_family": "Debian", "distribution": "Debian", "distribution_major_version": "12"}
    found = {name for role in ("builder_tools", "build_registry", "subid", "crun")
             for name in variable(role, "packages", facts)}
    return sorted(found)


# The host roles on machines that are made for them: a quarter of an hour.
pytestmark = pytest.mark.long


def make_base(archive: Path, packages: Iterable[str]) -> Path:
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io",
            f"--include={','.join(sorted(packages))}", "bookworm", str(archive), *filter(None, [machines.mirror()])]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return archive


class Outcome:
    """What a playbook run said."""

    def __init__(self, status: int, output: str) -> None:
        self.status, self.output = status, output

    def count(self, what: str, host: str = "machine") -> int:
        found = re.search(rf"^{host} +:.*\b{what}=(\d+)", self.output, re.MULTILINE)
        assert found, self.output[-4000:]
        return int(found.group(1))

    @property
    def changed(self) -> int:
        """How many tasks changed something; the run must not have failed."""
        assert self.status == 0, self.output[-8000:]
        return self.count("changed")

    @property
    def words(self) -> str:
        """The output without the line breaks and the quoting of Ansible's display."""
        return re.sub(r"\s+", " ", self.output.replace("\\n", " ").replace('\\"', '"'))


class Host:
    """A machine that playbooks run on."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        stand_in = machine.place / "ssh"
        stand_in.write_text(STAND_IN.format(pid=machine.init), encoding="ascii")
        stand_in.chmod(0o755)
        self.variables = {
            "ansible_connection": "ssh", "ansible_host": "machine", "ansible_user": "root", "ansible_ssh_args": "",
            "ansible_ssh_executable": str(stand_in), "ansible_ssh_transfer_method": "piped", "ansible_pipelining": True,
            "ansible_python_interpreter": "/usr/bin/python3",
        }  # fmt: skip

    def run(self, argv: Sequence[str], **options: Any) -> str:
        return self.machine.run(argv, **options)

    def sh(self, script: str, **options: Any) -> str:
        return self.run(["sh", "-euc", script], **options)

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        self.sh(f'mkdir -p "$(dirname {path})"; cat > {path}; chmod {mode:o} {path}', stdin=content)

    def look(self) -> State:
        state = json.loads(self.run(["python3", "-"], stdin=LOOK))
        assert isinstance(state, dict)
        return state

    def inventory(self, groups: Sequence[str], others: Optional[Mapping[str, Mapping[str, Any]]] = None) -> Path:
        place = self.machine.place / "inventory.yml"
        hosts = {"machine": self.variables, **(others or {})}
        place.write_text(yaml.safe_dump({group: {"hosts": hosts} for group in groups}), encoding="utf-8")
        return place

    def ansible(self, playbook: str, inventory: Path, variables: Mapping[str, Any], *arguments: str) -> Outcome:
        extra = self.machine.place / "variables.json"
        extra.write_text(json.dumps(variables), encoding="utf-8")
        environment = {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"), "ANSIBLE_HOME": str(ROOT / ".ansible"),
            **os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_SSH_RETRIES": "0",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", inventory, "-e", f"@{extra}", *arguments, playbook],
            env=environment, cwd=self.machine.place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=1200, check=False,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout)

    def role(self, role: str, variables: Optional[Mapping[str, Any]] = None, *arguments: str) -> Outcome:
        """Run one role as a user's playbook would."""
        place = self.machine.place / "role.yml"
        play = {"hosts": "all", "gather_facts": False, "roles": [f"rootless.buildah.{role}"]}
        place.write_text(yaml.safe_dump([play]), encoding="utf-8")
        return self.ansible(str(place), self.inventory(["all"]), {**OURS, **(variables or {})}, *arguments)

    def away(self, role: str, variables: Optional[Mapping[str, Any]] = None, *arguments: str) -> Outcome:
        return self.role(role, {**(variables or {}), **ALL_BACK, f"{role}_state": "absent"}, *arguments)

    def site(self, playbook: str = "site", variables: Optional[Mapping[str, Any]] = None, *arguments: str,
             groups: Sequence[str] = ("registry", "builders")) -> Outcome:
        everything = {**OURS, **(variables or {})}
        return self.ansible(f"rootless.buildah.{playbook}", self.inventory(groups), everything, *arguments)


def certificate(place: Path, name: str) -> dict[str, str]:
    """Return the role's variables for a new certificate of 127.0.0.1, which is its own authority."""
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(place / f"{name}.key"),
            "-out", str(place / f"{name}.crt")]
    subprocess.run(argv, check=True, capture_output=True)
    made, key = ((place / f"{name}.{ending}").read_text(encoding="ascii") for ending in ("crt", "key"))
    return {"build_registry_tls_certificate": made, "build_registry_tls_key": key, "build_registry_tls_ca": made}


def told_why_it_does_not_start(host: Host, place: Path) -> None:
    """Give the registry a certificate and the key of another one, and expect its own words."""
    one, other = certificate(place, "one"), certificate(place, "other")
    mixed = {"build_registry_tls": True, **one, "build_registry_tls_key": other["build_registry_tls_key"]}
    failed = host.role("build_registry", mixed)
    assert failed.status != 0
    assert f"Nobody listens on port {PORT}" in failed.words
    assert "private key does not match public key" in failed.words
    assert "Remedy: correct the setting that it names" in failed.words
    # The kernel's table is nothing to read.
    assert "local_address" not in failed.words


def differences(before: State, after: State) -> list[str]:
    return [
        f"{part}: {name}: {before[part].get(name, 'absent')} -> {after[part].get(name, 'absent')}"
        for part in before
        for name in sorted(set(before[part]) | set(after[part]))
        if before[part].get(name) != after[part].get(name)
    ]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A machine without systemd on which all packages are installed already."""
    packages = {"python3", "iproute2", "procps", *role_packages()}
    base = make_base(tmp_path_factory.mktemp("base") / "ready.tar", packages)
    with Machine(base, systemd=False) as machine:
        yield Host(machine)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A machine with systemd and as little else as Ansible can do with."""
    base = make_base(tmp_path_factory.mktemp("base") / "bare.tar", ["python3", "dbus", "systemd-sysv", "iproute2"])
    with Machine(base, systemd=True) as machine:
        yield Host(machine)


class TestBareHost:
    """From nothing to a builder and back; the tests run in the order in which they stand."""

    before: State = {}
    # What purging Debian's packages does not take away: accounts are never removed, logs of the package manager stay.
    STAYS = re.compile(
        r"(?!.*(rootless|rbroles))"
        r"(files: /etc/(passwd|group|shadow|gshadow|ssl|ca-certificates|alternatives|pam\.d|apt|rc[0-6S]\.d)(/|:|$)"
        r"|places: /var/(log|lib)/|packages: \S+: absent -> rc)"
    )

    def test_check_mode_on_a_bare_host_predicts_and_changes_nothing(self, bare: Host) -> None:
        type(self).before = bare.look()
        predicted = bare.site("site", None, "--check", "--diff")
        assert predicted.changed > 10
        assert differences(self.before, bare.look()) == []

    def test_a_builder_before_its_tools_is_told_which_role_is_missing(self, bare: Host) -> None:
        user = {"builder_user": f"{USER}-early"}
        failed = bare.role("builder", user)
        assert failed.status != 0
        assert "did not come within 60 seconds of lingering" in failed.words
        assert "Remedy: apply role builder_tools first" in failed.words
        assert bare.away("builder", user).changed > 0

    def test_the_host_becomes_ready(self, bare: Host) -> None:
        done = bare.site()
        assert done.changed > 10
        assert re.search(r"machine +yes", done.output)

    def test_the_second_run_changes_nothing(self, bare: Host) -> None:
        again = bare.site()
        assert again.changed == 0, again.output

    def test_check_mode_agrees(self, bare: Host) -> None:
        assert bare.site("site", None, "--check", "--diff").changed == 0

    def test_the_kernel_has_the_settings(self, bare: Host) -> None:
        assert bare.run(["cat", "/proc/sys/net/ipv4/ping_group_range"]).split() == ["0", "2147483647"]

    def test_the_user_lingers_and_has_a_runtime_directory_and_a_bus(self, bare: Host) -> None:
        uid = bare.run(["id", "-u", USER]).strip()
        assert bare.run(["systemctl", "is-active", f"user@{uid}"]).strip() == "active"
        assert bare.run(["stat", "-c", "%U %a", f"/run/user/{uid}"]).strip() == f"{USER} 700"
        assert bare.run(["stat", "-c", "%F", f"/run/user/{uid}/bus"]).strip() == "socket"

    def test_a_service_manager_that_was_stopped_is_started(self, bare: Host) -> None:
        uid = bare.run(["id", "-u", USER]).strip()
        bare.run(["systemctl", "stop", f"user-{uid}.slice"])
        bare.sh(f"timeout 60 sh -c 'while [ -e /run/user/{uid} ]; do sleep 1; done'")
        assert bare.site("site", None, "--check").changed == 1
        assert bare.site().changed == 1
        assert bare.run(["systemctl", "is-active", f"user@{uid}"]).strip() == "active"
        assert bare.run(["stat", "-c", "%U", f"/run/user/{uid}"]).strip() == USER

    def test_the_user_builds_under_an_oci_runtime_with_many_ids(self, bare: Host) -> None:
        # A pure cgroup v2 hierarchy, on which crun works: nothing may have chosen chroot.
        assert bare.run(["ls", "/sys/fs/cgroup/cgroup.procs"])
        script = """
            cd; mkdir context; cd context; for name in bin lib lib64; do ln -s "usr/$name" "$name"; done
            printf 'FROM scratch\\nCOPY . /\\nRUN install -d -o 1234 -g 4321 o && stat -c %%u:%%g o && hostname\\n' > f
            buildah build --volume /usr:/usr:ro -f f .; buildah rmi --all; rm -r ~/context
        """
        output = bare.sh(script, user=USER)
        assert "1234:4321" in output
        # Under chroot isolation the step would see the host's own name.
        assert machines.NAME not in output.split("1234:4321")[1].splitlines()[1]

    def test_a_login_through_su_from_a_session_of_root_shares_the_users_state(self, bare: Host) -> None:
        uid = bare.run(["id", "-u", USER]).strip()
        for session in (["su", "-", USER, "-c", "buildah info"], ["env", "-u", "XDG_RUNTIME_DIR", "runuser", "-u", USER,
                        "--", "buildah", "info"]):
            told = json.loads(bare.run(["setsid", *session]))
            assert told["store"]["RunRoot"] == f"/run/user/{uid}/containers"

    def test_logins_may_be_kept_where_a_reboot_takes_them(self, bare: Host) -> None:
        login = {"registry": "login.example", "username": "ci", "password": "kept-in-memory"}
        variables = {"builder_registries": [login], "builder_auth_location": "runtime"}
        uid = bare.run(["id", "-u", USER]).strip()
        assert bare.role("builder", variables).changed > 0
        assert bare.run(["stat", "-c", "%a %U", f"/run/user/{uid}/containers/auth.json"]).strip() == f"600 {USER}"
        # Where buildah looks first: containers-auth.json(5).
        ask = f"XDG_RUNTIME_DIR=/run/user/{uid} buildah login --get-login login.example"
        assert bare.sh(ask, user=USER).strip() == "ci"
        assert bare.role("builder", variables).changed == 0
        assert bare.role("builder").changed > 0
        assert bare.run(["ls", f"/run/user/{uid}/containers/auth.json"], check=False).startswith("ls: ")

    def test_a_user_that_neither_lingers_nor_may_log_in_builds(self, bare: Host) -> None:
        image = {"name": "localhost/service", "containerfile_content": "FROM scratch\nLABEL a=b\n"}
        variables = {
            "builder_user": f"{USER}-service", "builder_linger": False, "builder_shell": "/usr/sbin/nologin",
            "build_images_user": f"{USER}-service", "build_images_images": [image],
        }  # fmt: skip
        try:
            # The role ends with a build.
            first = bare.role("builder", variables)
            assert first.changed > 0
            assert "isolated by chroot" not in first.output
            assert bare.role("builder", variables).changed == 0
            asked = bare.ansible("rootless.buildah.doctor", bare.inventory(["builders"]), variables)
            assert (asked.status, "no_linger" in asked.output) == (0, True), asked.output
            assert bare.role("build_images", variables).changed > 0
        finally:
            bare.away("builder", variables)

    def test_lingering_ends_when_it_is_no_longer_wanted_unless_somebody_else_began_it(self, bare: Host) -> None:
        user = f"{USER}-once"
        lingers, wishes = f"/var/lib/systemd/linger/{user}", {"builder_user": user}
        alone = {**wishes, "builder_linger": False}
        try:
            assert bare.role("builder", wishes).changed > 0
            assert bare.run(["ls", lingers]).strip() == lingers
            assert bare.role("builder", alone, "--check").changed > 0
            assert bare.run(["ls", lingers]).strip() == lingers
            assert bare.role("builder", alone).changed > 0
            assert bare.run(["ls", lingers], check=False).startswith("ls: ")
            assert bare.role("builder", alone).changed == 0
            # What somebody else switched on is theirs.
            bare.run(["loginctl", "enable-linger", user])
            assert bare.role("builder", alone).changed == 0
            assert bare.run(["ls", lingers]).strip() == lingers
        finally:
            bare.run(["loginctl", "disable-linger", user], check=False)
            bare.away("builder", wishes)

    def test_a_timer_prunes_what_has_no_name_and_goes_again(self, bare: Host) -> None:
        unit = f"rootless-buildah-prune-{USER}"
        variables = {"builder_prune": True, "builder_prune_age": "0d1s"}
        assert bare.role("builder", variables, "--check").changed > 0
        assert bare.role("builder", variables).changed > 0
        assert bare.role("builder", variables).changed == 0
        assert bare.run(["systemctl", "is-active", f"{unit}.timer"]).strip() == "active"
        # As a run leaves it that was cut off between the file and systemd.
        asked = ["systemctl", "show", "--property=NeedDaemonReload", f"{unit}.timer"]
        bare.run(["touch", f"/etc/systemd/system/{unit}.timer"])
        assert bare.run(asked).strip() == "NeedDaemonReload=yes"
        assert bare.role("builder", variables).changed > 0
        assert bare.run(asked).strip() == "NeedDaemonReload=no"
        assert bare.role("builder", variables).changed == 0
        script = """
            cd; mkdir context; cd context; for step in kept dropped; do
                printf "FROM scratch\\nCOPY f /\\nLABEL step=$step\\n" > f; buildah build -q --layers -t named -f f .
            done; rm -r ~/context; sleep 2
        """
        bare.sh(script, user=USER)
        count = "buildah images --all --quiet | wc -l"
        before = int(bare.sh(count, user=USER))
        bare.run(["systemctl", "start", f"{unit}.service"])
        after = bare.sh(count, user=USER)
        assert 0 < int(after) < before
        assert "localhost/named" in bare.sh("buildah images", user=USER)
        bare.sh("buildah rmi --all", user=USER)
        assert bare.role("builder").changed > 0
        assert bare.role("builder").changed == 0
        assert "could not be found" in bare.run(["systemctl", "status", f"{unit}.timer"], check=False)

    @pytest.mark.parametrize("setting, value, words", [
        ("age", "168", "168 is no duration"),
        ("age", "", "'' is no duration"),
        ("calendar", "often", "Failed to parse calendar specification 'often'"),
        ("calendar", "", "Failed to parse calendar specification ''"),
    ])
    def test_a_timer_that_could_not_prune_is_refused(self, bare: Host, setting: str, value: str, words: str) -> None:
        for arguments in ([], ["--check"]):
            failed = bare.role("builder", {"builder_prune": True, f"builder_prune_{setting}": value}, *arguments)
            assert failed.status != 0
            assert words in failed.words
            assert f"Remedy: set builder_prune_{setting}" in failed.words
            assert failed.count("changed") == 0
        # Nobody wants the timer.
        assert bare.role("builder", {f"builder_prune_{setting}": value}, "--check").status == 0

    def test_the_packages_own_registry_never_ran(self, bare: Host) -> None:
        assert bare.run(["systemctl", "is-enabled", "docker-registry"], check=False).strip() == "masked"
        assert "Started" not in bare.run(["journalctl", "--quiet", "--unit=docker-registry.service"], check=False)

    def test_the_registry_listens_on_loopback_with_a_password(self, bare: Host) -> None:
        heard = bare.run(["ss", "-H", "-l", "-n", "-t", f"sport = :{PORT}"]).split()
        assert heard[3] == f"127.0.0.1:{PORT}"
        ask = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{PORT}/v2/')"
        assert "401" in bare.run(["python3", "-c", ask], check=False)
        assert bare.run(["stat", "-c", "%U %a", "/etc/rootless-buildah-registry/password"]).strip() == "root 600"

    def test_the_registry_may_have_a_port_of_root_and_keep_images_below_a_home(self, bare: Host) -> None:
        home = "/home/rbroles-images"
        bare.sh(f"install -d -m 700 {home}")
        wish = {"build_registry_port": 443, "build_registry_storage": f"{home}/registry"}
        begin = ("import base64, urllib.request as r; word = open('/etc/rootless-buildah-registry/password').read(); "
                 "word = base64.b64encode(('builder:' + word.strip()).encode()).decode(); "
                 "print(r.urlopen(r.Request('http://127.0.0.1:443/v2/one/blobs/uploads/', method='POST', "
                 "headers={'Authorization': 'Basic ' + word})).status)")
        try:
            assert bare.role("build_registry", wish).changed > 0
            assert bare.run(["python3", "-c", begin]).strip() == "202"
            assert "one" in bare.run(["ls", f"{home}/registry/docker/registry/v2/repositories"])
            assert bare.role("build_registry", wish).changed == 0
            # It sees nothing else below homes.
            unit = bare.run(["systemctl", "show", "--property=MainPID", "--value", "rootless-buildah-registry"]).strip()
            assert bare.run(["ls", "-A", f"/proc/{unit}/root/home"]).split() == ["rbroles-images"]
        finally:
            bare.away("build_registry", wish)
            bare.sh(f"rm -rf {home}")
            assert bare.role("build_registry").status == 0

    def test_a_registry_that_does_not_start_is_told_with_the_journal(self, bare: Host, tmp_path: Path) -> None:
        try:
            told_why_it_does_not_start(bare, tmp_path)
        finally:
            bare.away("build_registry")
            assert bare.role("build_registry").status == 0

    def test_check_mode_of_the_way_back_predicts_and_changes_nothing(self, bare: Host) -> None:
        ready = bare.look()
        assert bare.site("teardown", {"teardown_packages": True}, "--check", "--diff").changed > 5
        assert differences(ready, bare.look()) == []

    def test_everything_goes_back_packages_included(self, bare: Host) -> None:
        assert bare.site("teardown", {"teardown_packages": True}).changed > 5
        rest = [line for line in differences(self.before, bare.look()) if not self.STAYS.match(line)]
        assert rest == []
        assert bare.run(["getent", "passwd", USER], check=False) == ""

    def test_going_back_again_changes_nothing(self, bare: Host) -> None:
        assert bare.site("teardown", {"teardown_packages": True}).changed == 0


# For the roles that do more than TestBareHost sees: how to make something due, and what to ask for.
ROLES: dict[str, tuple[str, dict[str, Any]]] = {
    "fuse": ("chmod 600 /dev/fuse", {"fuse_mode": "always"}),
    # As hardening does it.
    "builder_tools": ("chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap", {}),
    "builder": ("true", {"builder_registries": [
        {"registry": "plain.example:5000", "insecure": True},
        {"registry": "login.example", "username": "ci", "password": "canary-password"},
        {"registry": "own.example", "ca_cert": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"},
    ], "builder_store_strategy": "project", "builder_store_directory": "/srv/rbroles-stores"}),
    "build_registry": ("true", {"build_registry_tls": True}),
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_twelve_runs_agree(host: Host, role: str) -> None:
    due, variables = ROLES[role]
    host.sh(due)
    before = host.look()
    try:
        assert host.role(role, variables, "--check", "--diff").changed > 0
        assert differences(before, host.look()) == [], "check mode changed something"
        assert host.role(role, variables).changed > 0
        ready = host.look()
        again = host.role(role, variables)
        assert again.changed == 0, again.output
        assert host.role(role, variables, "--check", "--diff").changed == 0
        assert host.away(role, variables, "--check", "--diff").changed > 0
        assert differences(ready, host.look()) == [], "check mode of absent changed something"
        assert host.away(role, variables).changed > 0
        assert differences(before, host.look()) == [], "absent did not give everything back"
        assert host.away(role, variables, "--check", "--diff").changed == 0
        assert host.away(role, variables).changed == 0
    finally:
        host.sh("chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap; chmod 666 /dev/fuse")


# A file that somebody else wrote: where, and what lets the role get there.
FOREIGN = {
    "userns": "/etc/sysctl.d/zz-rootless-buildah-userns.conf",
    "crun": "/etc/containers/containers.conf.d/50-rootless-buildah-crun.conf",
    "builder": f"/home/{USER}/.config/containers/storage.conf",
    "build_registry": "/etc/rootless-buildah-registry/config.yml",
}


@pytest.mark.parametrize("role", FOREIGN)
def test_a_file_of_somebody_else_is_refused_or_kept_aside(host: Host, role: str) -> None:
    path, content = FOREIGN[role], "# theirs\n"
    host.sh(f"getent passwd {USER} || useradd --create-home {USER}")
    host.write(path, content, 0o640)
    if role == "builder":
        host.sh(f"chown -R {USER}: /home/{USER}")
    before = host.run(["stat", "-c", "%a %U", path])
    try:
        refused = host.role(role, None, "--diff")
        assert refused.status != 0
        assert f"{path} was written by somebody else and is left alone" in refused.words
        assert f"{role}_overwrite: true" in refused.words
        assert "-# theirs" in refused.output
        assert host.run(["cat", path]) == content
        # The role says the same before it would do it.
        assert "is left alone" in host.role(role, None, "--check").words

        assert host.role(role, {f"{role}_overwrite": True}).changed > 0
        assert "Managed by rootless.buildah" in host.run(["cat", path])
        assert host.role(role).changed == 0
        assert host.away(role).changed > 0
        assert host.run(["cat", path]) == content
        assert host.run(["stat", "-c", "%a %U", path]) == before
    finally:
        host.away(role)
        host.sh(f"rm -f {path}; userdel --remove {USER} 2>/dev/null || true; rm -rf /etc/rootless-buildah-registry "
                "/etc/containers/containers.conf.d /var/tmp/containers-user-* /tmp/containers-user-* /tmp/podman-run-*")


class TestUserns:
    def test_a_setting_that_suffices_is_left_alone(self, host: Host) -> None:
        host.sh("echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range")
        try:
            assert host.role("userns").changed == 0
            assert host.run(["ls", "-A", FOREIGN["userns"]], check=False).startswith("ls: ")
            assert host.away("userns").changed == 0
            assert host.run(["cat", "/proc/sys/net/ipv4/ping_group_range"]).split() == ["0", "2147483647"]
        finally:
            host.sh("echo 1 0 > /proc/sys/net/ipv4/ping_group_range")

    def test_what_another_file_would_undo_at_boot_is_kept(self, host: Host) -> None:
        host.sh("echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range")
        host.write("/etc/sysctl.d/99-hardening.conf", "net.ipv4.ping_group_range = 1 0\n")
        try:
            assert host.role("userns").changed == 1
            assert host.role("userns").changed == 0
            # As a boot would do it.
            host.run(["sysctl", "--system"])
            assert host.run(["cat", "/proc/sys/net/ipv4/ping_group_range"]).split() == ["0", "2147483647"]
        finally:
            host.away("userns")
            host.sh("rm /etc/sysctl.d/99-hardening.conf; echo 1 0 > /proc/sys/net/ipv4/ping_group_range")

    @pytest.mark.parametrize("wanted, arguments, told", [
        ("0-2147483647", [], "Remedy: Write the smaller one, a space and the bigger one"),
        ("0-2147483647", ["--check"], "Remedy: Write the smaller one, a space and the bigger one"),
        # The highest group that the kernel takes is 2147483647.
        ("0 4294967295", [], "Cause: The kernel refuses it: Invalid argument. Remedy: Correct the value"),
    ])
    def test_a_value_that_cannot_be_set_is_in_no_file(
        self, host: Host, wanted: str, arguments: list[str], told: str
    ) -> None:
        failed = host.role("userns", {"userns_ping_group_range": wanted}, *arguments)
        assert failed.status != 0
        assert told in failed.words
        assert host.run(["ls", "-A", FOREIGN["userns"]], check=False).startswith("ls: ")
        assert host.run(["ls", "-A", "/var/lib/rootless-buildah/userns.json"], check=False).startswith("ls: ")
        assert host.run(["cat", "/proc/sys/net/ipv4/ping_group_range"]).split() == ["1", "0"]

    def test_a_run_that_ends_before_the_drop_in_is_written_has_a_way_back(self, host: Host) -> None:
        file = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
        before = host.run(["cat", file]).strip()
        port = {"name": "net.ipv4.ip_unprivileged_port_start", "rule": "at_least"}
        refused = {"name": "net.ipv4.ping_group_range", "value": "0 4294967295"}

        def run(*settings: dict[str, str], state: str = "present") -> Outcome:
            place = host.machine.place / "sysctl.yml"
            options = {"path": "/etc/sysctl.d/zz-trial.conf", "role": "trial", "settings": [*settings], "state": state}
            task = {"rootless.buildah.managed_sysctl": options}
            place.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
            return host.ansible(str(place), host.inventory(["all"]), {})

        try:
            assert run({**port, "value": "2000"}).changed == 1
            assert run({**port, "value": "3000"}, refused).status != 0
            assert host.run(["cat", file]).strip() == "3000"
            assert "ip_unprivileged_port_start = 2000\n" in host.run(["cat", "/etc/sysctl.d/zz-trial.conf"])
            # A smaller one suffices: what is there is still known to be ours.
            assert run({**port, "value": "2500"}).changed == 1
            assert "ip_unprivileged_port_start = 3000\n" in host.run(["cat", "/etc/sysctl.d/zz-trial.conf"])
            assert run({**port, "value": "2500"}).changed == 0
            assert run({**port, "value": "4000"}, refused).status != 0
            assert run(state="absent").changed == 1
            assert host.run(["cat", file]).strip() == before
            assert run(state="absent").changed == 0
            assert host.run(["ls", "-A", "/var/lib/rootless-buildah/trial.json"], check=False).startswith("ls: ")
        finally:
            host.sh(f"echo {before} > {file}; rm -f /etc/sysctl.d/zz-trial.conf /var/lib/rootless-buildah/trial.json")

    def test_a_setting_that_is_not_wanted_any_more_is_given_back(self, host: Host) -> None:
        less = {"userns_ping_group_range": ""}

        def value() -> list[str]:
            return host.run(["cat", "/proc/sys/net/ipv4/ping_group_range"]).split()

        before = host.look()
        try:
            assert host.role("userns").changed == 1
            assert value() == ["0", "2147483647"]
            predicted = host.role("userns", less, "--check", "--diff")
            assert predicted.changed == 1
            for line in ("-net.ipv4.ping_group_range = 0 2147483647", "+net.ipv4.ping_group_range = 1 0"):
                assert line in predicted.output
            assert value() == ["0", "2147483647"]
            assert host.role("userns", less).changed == 1
            assert value() == ["1", "0"]
            assert host.role("userns", less).changed == 0
            # Nothing is noted any more.
            assert differences(before, host.look()) == []
        finally:
            host.away("userns")

    def test_a_container_whose_settings_are_read_only_is_told_what_to_do(self, host: Host) -> None:
        host.sh("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys")
        try:
            failed = host.role("userns")
            assert failed.status != 0
            assert "net.ipv4.ping_group_range is 1 0 and cannot be changed from here" in failed.words
            assert "sysctl -w net.ipv4.ping_group_range='0 2147483647'" in failed.words
            warned = host.role("userns", None, "--check")
            assert warned.status == 0
            assert "cannot be changed from here" in warned.words
        finally:
            host.sh("umount /proc/sys")
        assert host.run(["ls", "-A", FOREIGN["userns"]], check=False).startswith("ls: ")

    def test_check_mode_does_not_go_by_a_kernel_that_a_run_would_have_changed(self, host: Host) -> None:
        # The setting is shared with the machine of the tests: a file and a program stand in for it.
        setting, program = "/proc/sys/user/max_user_namespaces", "/usr/local/bin/unshare"
        host.sh(f"useradd --create-home {USER}; echo 0 > /srv/none; mount --bind /srv/none {setting}")
        host.write(program, "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n", 0o755)
        try:
            predicted = host.site("site", None, "--check", "--diff", groups=["builders"])
            assert predicted.status == 0, predicted.output
            assert "+user.max_user_namespaces = 15000" in predicted.output
            assert '+runtime = "crun"' in predicted.output
            assert "by chroot" not in predicted.words
            assert "mount_program" not in predicted.output
            assert "/etc/modules-load.d" not in predicted.output
            # What suffices already lets the trials decide: here they fail.
            host.sh(f"umount {setting}")
            predicted = host.site("site", None, "--check", "--diff", groups=["builders"])
            assert '+runtime = "crun"' not in predicted.output
            assert '+mount_program = "/usr/bin/fuse-overlayfs"' in predicted.output
        finally:
            host.sh(f"umount {setting} 2> /dev/null || true; rm {program} /srv/none; "
                    f"userdel --remove {USER} 2> /dev/null; rm -rf /var/tmp/containers-user-* /tmp/containers-user-*")


# As in a container: no overlay on top of an overlay with user.* attributes.
STACK = ("mkdir -p /srv/l /srv/u /srv/w /srv/m; mount -t tmpfs none /srv/u; mkdir /srv/u/u /srv/u/w; "
         "mount -t overlay none -o lowerdir=/srv/l,upperdir=/srv/u/u,workdir=/srv/u/w /srv/m")
UNSTACK = "umount /srv/m /srv/u; rm -r /srv/l /srv/u /srv/w /srv/m"


class TestFuse:
    def test_nothing_is_set_up_where_native_overlay_works(self, host: Host) -> None:
        before = host.look()
        assert host.role("fuse").changed == 0
        assert differences(before, host.look()) == []

    def test_what_is_no_longer_needed_is_taken_away(self, host: Host) -> None:
        host.sh("chmod 600 /dev/fuse")
        before = host.look()
        assert host.role("fuse", {"fuse_mode": "always"}).changed > 0
        assert host.run(["stat", "-c", "%a", "/dev/fuse"]).strip() == "666"
        assert host.role("fuse").changed > 0
        assert host.run(["stat", "-c", "%a", "/dev/fuse"]).strip() == "600"
        assert differences(before, host.look()) == []
        host.sh("chmod 666 /dev/fuse")

    def test_an_overlay_below_makes_it_needed(self, host: Host) -> None:
        host.sh(STACK)
        try:
            done = host.role("fuse", {"fuse_directory": "/srv/m"}, "-v")
            assert done.status == 0, done.output
            assert "native overlay does not work in user namespaces here" in done.words
        finally:
            host.sh(UNSTACK)
            host.away("fuse")

    def test_it_is_tried_where_images_will_be_and_as_whoever_has_the_place(self, host: Host) -> None:
        host.sh(STACK)
        try:
            for wish in ({"builder_graphroot": "/srv/m/images/deep"}, {"builder_home": "/srv/m/home"}):
                done = host.role("fuse", wish, "--check", "-v")
                assert "native overlay does not work in user namespaces here" in done.words
            # A wish for this role wins.
            done = host.role("fuse", {"builder_graphroot": "/srv/m/images", "fuse_directory": "/srv"}, "--check", "-v")
            assert "native overlay works in user namespaces" in done.words
            # As a place of images that is there already: only its user may enter, and what root makes may be replaced.
            host.sh(f"useradd --create-home {USER}; install -d -o {USER} -m 700 /srv/images")
            done = host.role("fuse", {"builder_graphroot": "/srv/images"}, "-v")
            assert done.changed == 0
            assert "native overlay works in user namespaces" in done.words
            assert host.run(["ls", "-A", "/srv/images", "/srv/m"]).split() == ["/srv/images:", "/srv/m:"]
        finally:
            host.sh(f"{UNSTACK}; rm -rf /srv/images; userdel --remove {USER} 2> /dev/null")

    def test_a_place_where_nothing_can_be_tried_is_told(self, host: Host) -> None:
        host.sh("mkdir /srv/ro; mount -t tmpfs -o ro none /srv/ro")
        nowhere = {"fuse_directory": "/srv/ro/images"}
        try:
            for arguments in ([], ["--check"]):
                failed = host.role("fuse", nowhere, *arguments)
                assert failed.status != 0
                assert "/srv/ro: mktemp: failed to create directory" in failed.words
                assert "Read-only file system. Remedy: set fuse_directory" in failed.words
                assert failed.count("changed") == 0
            # Nothing needs to be tried to go back.
            assert host.away("fuse", nowhere).changed == 0
        finally:
            host.sh("umount /srv/ro; rmdir /srv/ro")

    def test_builds_go_through_fuse_overlayfs_where_nothing_else_serves(self, host: Host) -> None:
        variables = {"builder_graphroot": "/srv/m/images"}
        host.sh(f"{STACK}; chmod 600 /dev/fuse")
        try:
            # The role builder ends with a build of its own.
            assert host.site(variables=variables, groups=["builders"]).changed > 0
            assert 'mount_program = "/usr/bin/fuse-overlayfs"' in host.run(
                ["cat", f"/home/{USER}/.config/containers/storage.conf"])
            layer = 'c=$(buildah from scratch); grep " $(buildah mount $c) " /proc/self/mountinfo; buildah rm $c'
            mounted = host.run(["buildah", "unshare", "sh", "-euc", layer], user=USER)
            assert " /srv/m/images/overlay/" in mounted and "fuse.fuse-overlayfs" in mounted
            assert host.site(variables=variables, groups=["builders"]).changed == 0
        finally:
            host.site("teardown", variables, groups=["builders"])
            host.sh(f"{UNSTACK}; chmod 666 /dev/fuse")

    def test_a_container_without_the_device_is_told(self, host: Host) -> None:
        host.sh("rm /dev/fuse")
        try:
            failed = host.role("fuse", {"fuse_mode": "always"})
            assert failed.status != 0
            assert "/dev/fuse is missing although the kernel has fuse" in failed.words
        finally:
            host.sh("mknod -m 666 /dev/fuse c 10 229")


class TestBuilderTools:
    def test_helpers_without_the_setuid_bit_get_capabilities_that_work(self, host: Host) -> None:
        host.sh(f"useradd --create-home {USER}; chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap")
        try:
            ask = ["buildah", "unshare", "cat", "/proc/self/uid_map"]
            assert len(host.run(ask, user=USER, check=False).splitlines()) != 2
            assert host.role("builder_tools").changed == 1
            assert "cap_setuid=ep" in host.run(["getcap", "/usr/bin/newuidmap"])
            assert len(host.run(ask, user=USER).splitlines()) == 2
            assert host.away("builder_tools").changed == 1
            assert host.run(["getcap", "/usr/bin/newuidmap", "/usr/bin/newgidmap"]) == ""
        finally:
            host.sh(f"userdel --remove {USER} 2>/dev/null; chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap; "
                    "rm -rf /var/tmp/containers-user-*")

    def test_capabilities_that_went_with_an_upgrade_are_not_missed_on_the_way_back(self, host: Host) -> None:
        helpers = ["/usr/bin/newuidmap", "/usr/bin/newgidmap"]
        host.sh(f"chmod u-s {' '.join(helpers)}")
        before = host.look()
        try:
            assert host.role("builder_tools").changed == 1
            # As the package manager replaces a file.
            host.sh("cp /usr/bin/newuidmap /usr/bin/new; mv /usr/bin/new /usr/bin/newuidmap")
            assert host.away("builder_tools", None, "--check").changed == 1
            assert host.away("builder_tools").changed == 1
            assert host.run(["getcap", *helpers]) == ""
            # Nothing is noted any more.
            assert differences(before, host.look()) == []
            assert host.away("builder_tools").changed == 0
        finally:
            host.sh(f"chmod u+s {' '.join(helpers)}")

    def test_a_version_that_is_too_old_is_named(self, host: Host) -> None:
        host.write("/usr/local/bin/buildah", "#!/bin/sh\necho buildah version 1.23.1\n", 0o755)
        try:
            failed = host.role("builder_tools")
            assert "buildah is 1.23.1, older than 1.28" in failed.words
        finally:
            host.sh("rm /usr/local/bin/buildah")

    def test_helpers_where_no_right_counts_are_told_and_left_alone(self, host: Host) -> None:
        host.sh("chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap; "
                "mount --bind /usr/bin /usr/bin; mount -o remount,bind,nosuid /usr/bin")
        try:
            failed = host.role("builder_tools")
            assert "a file system that is not mounted nosuid" in failed.words
            assert failed.count("changed") == 0
            assert host.run(["getcap", "/usr/bin/newuidmap", "/usr/bin/newgidmap"]) == ""
        finally:
            host.sh("umount --lazy /usr/bin; chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap")

    def test_a_program_for_networks_that_is_missing_is_named(self, host: Host) -> None:
        host.sh("mv /usr/bin/slirp4netns /usr/bin/slirp4netns.away")
        try:
            failed = host.role("builder_tools")
            assert "makes the network of RUN steps with slirp4netns, which is missing" in failed.words
        finally:
            host.sh("mv /usr/bin/slirp4netns.away /usr/bin/slirp4netns")

    def test_fuse_overlayfs_that_is_too_old_is_named(self, host: Host) -> None:
        host.write("/usr/local/bin/fuse-overlayfs", "#!/bin/sh\necho fuse-overlayfs: version 0.7.5\n", 0o755)
        try:
            failed = host.role("builder_tools", {"builder_tools_fuse_overlayfs": "always"})
            assert "fuse-overlayfs is 0.7.5, older than 0.7.6" in failed.words
        finally:
            host.sh("rm /usr/local/bin/fuse-overlayfs")
            host.away("builder_tools", {"builder_tools_purge": True})


class TestIsolation:
    """Whether an OCI runtime can be used is tried, not looked up."""

    # The words of crun 1.8.1 on a hybrid hierarchy.
    BROKEN = "#!/bin/sh\necho 'cgroups in hybrid mode not supported, drop all controllers from cgroupv2' >&2\nexit 1\n"

    def test_a_runtime_that_works_is_used(self, host: Host) -> None:
        try:
            assert host.role("crun").status == 0
            assert 'runtime = "crun"' in host.run(["cat", FOREIGN["crun"]])
            assert host.role("builder").status == 0
            assert host.run(["ls", "-A", f"/home/{USER}/.config/containers"]).split() == ["storage.conf"]
        finally:
            host.away("builder")
            host.away("crun")

    def test_what_was_chosen_counts_whatever_the_system_says(self, host: Host) -> None:
        conf = "/etc/containers/containers.conf.d/workaround.conf"
        host.write(conf, '[engine]\nenv = ["BUILDAH_ISOLATION=chroot"]\n')
        ask = ["buildah", "unshare", "sh", "-c", "echo $BUILDAH_ISOLATION"]
        try:
            assert host.role("builder").changed > 0
            assert host.run(ask, user=USER).split() == ["rootless"]
            assert host.role("builder").changed == 0
        finally:
            host.away("builder")
            host.run(["rm", conf])

    def test_a_runtime_that_fails_is_not_and_chroot_takes_its_place(self, host: Host) -> None:
        host.sh("mv /usr/bin/crun /usr/bin/crun.real")
        host.write("/usr/bin/crun", self.BROKEN, 0o755)
        try:
            done = host.role("crun", {"crun_verify": False})
            assert done.changed == 0
            assert host.role("builder", None, "-v").changed > 0
            conf = f"/home/{USER}/.config/containers/containers.conf.d/50-rootless-buildah.conf"
            assert "BUILDAH_ISOLATION=chroot" in host.run(["cat", conf])
            assert host.role("builder").changed == 0
            # The runtime was repaired: the next run finds out.
            host.sh("mv /usr/bin/crun.real /usr/bin/crun")
            assert host.role("builder").changed == 1
            assert host.run(["cat", conf], check=False).startswith("cat: ")
        finally:
            host.sh("if [ -e /usr/bin/crun.real ]; then mv /usr/bin/crun.real /usr/bin/crun; fi")
            host.away("builder")
            host.away("crun")

    def test_a_trial_that_came_at_a_bad_time_changes_nothing(self, host: Host) -> None:
        try:
            host.role("crun")
            host.role("builder")
            before = host.look()
            # Full: not a single directory more.
            host.sh("mount -t tmpfs -o mode=1777,nr_inodes=1 none /tmp")
            for role in ("crun", "builder"):
                failed = host.role(role)
                assert failed.status != 0
                assert "could not be tried" in failed.words
                assert "No space left on device" in failed.words
            host.sh("umount /tmp")
            assert differences(before, host.look()) == []
            assert [host.role(role).changed for role in ("crun", "builder")] == [0, 0]
        finally:
            host.sh("if mountpoint -q /tmp; then umount /tmp; fi")
            host.away("builder")
            host.away("crun")

    def test_a_runtime_whose_steps_get_no_network_is_not_used_and_the_remedy_is_named(self, host: Host) -> None:
        # As outside of udev's rules, in a container for example: only root may open the device.
        host.sh("chmod 600 /dev/net/tun")
        conf = f"/home/{USER}/.config/containers/containers.conf.d/50-rootless-buildah.conf"
        try:
            # A wish is not overruled; it fails and says what to do.
            wished = host.role("builder", {"builder_isolation": "oci"})
            assert wished.status != 0
            assert "let users open /dev/net/tun" in wished.words
            # The verification builds with the network that the user's builds have.
            done = host.role("builder")
            assert done.changed == 1
            assert "BUILDAH_ISOLATION=chroot" in host.run(["cat", conf])
            assert "RUN steps are isolated by chroot" in done.words
            assert "let users open /dev/net/tun" in done.words
            assert host.role("builder").changed == 0
            host.sh("chmod 666 /dev/net/tun")
            repaired = host.role("builder")
            assert repaired.changed == 1
            assert "by chroot" not in repaired.words
            assert host.run(["cat", conf], check=False).startswith("cat: ")
        finally:
            host.sh("chmod 666 /dev/net/tun")
            host.away("builder")


class TestBuilder:
    def test_a_link_that_the_user_planted_does_not_turn_roots_hand(self, host: Host) -> None:
        host.sh(f"useradd --create-home {USER}; mkdir /srv/secret; ln -s /srv/secret /home/{USER}/.config; "
                f"chown -h {USER}: /home/{USER}/.config")
        try:
            failed = host.role("builder")
            assert failed.status != 0
            assert "Permission denied" in failed.words
            assert host.run(["ls", "-A", "/srv/secret"]) == ""
        finally:
            host.away("builder")
            host.sh(f"userdel --remove {USER} 2>/dev/null; rm -r /srv/secret; rm -rf /var/tmp/containers-user-*")

    def test_a_user_who_was_there_is_not_removed(self, host: Host) -> None:
        host.sh(f"useradd --create-home --home-dir /srv/theirs {USER}")
        before = host.look()
        try:
            assert host.role("builder").changed > 0
            assert host.run(["cat", "/srv/theirs/.config/containers/storage.conf"])
            assert host.away("builder").changed > 0
            assert host.run(["getent", "passwd", USER])
            state = [line for line in differences(before, host.look()) if "containers-user" not in line
                     and "podman-run" not in line]
            assert state == []
        finally:
            host.sh(f"userdel --remove {USER} 2>/dev/null; rm -rf /var/tmp/*-{USER} /var/tmp/containers-user-* "
                    "/tmp/containers-user-* /tmp/podman-run-* /var/tmp/podman-run-*")

    def test_nor_is_one_who_has_the_name_of_one_that_the_role_made(self, host: Host) -> None:
        try:
            assert host.role("builder").changed > 0
            host.sh(f"userdel --remove {USER}; useradd --create-home --uid 4321 {USER}")
            assert host.away("builder").status == 0
            assert host.run(["id", "-u", USER]).split() == ["4321"]
        finally:
            host.away("builder")
            host.sh(f"userdel --remove {USER} 2>/dev/null; rm -rf /var/tmp/containers-user-*")

    @pytest.mark.parametrize("option, path", [
        ("builder_graphroot", "~/images"), ("builder_store_directory", "/srv/$USER"), ("builder_runroot", "images"),
    ])
    def test_places_have_whole_paths(self, host: Host, option: str, path: str) -> None:
        before = host.look()
        failed = host.role("builder", {option: path})
        assert failed.status != 0
        assert f"{path}: neither ~ nor a variable stands for a directory here" in failed.words
        assert differences(before, host.look()) == []

    @pytest.mark.parametrize("setting, named", [
        ({"builder_additional_stores": ["/srv/none"]}, "/srv/none/overlay-layers/layers.lock"),
        ({"builder_runroot": "/run/none/of/them"}, "/run"),
    ])
    def test_settings_that_would_break_every_call_are_not_written(
        self, host: Host, setting: dict[str, Any], named: str
    ) -> None:
        try:
            host.role("builder")
            before = host.look()
            for more in ([], ["--check"]):
                failed = host.role("builder", setting, *more)
                assert failed.status != 0
                assert f"{named} cannot be used" in failed.words
            assert differences(before, host.look()) == []
            host.run(["buildah", "images"], user=USER)
        finally:
            host.away("builder")

    def test_files_that_were_replaced_are_put_back_where_there_is_still_a_home(self, host: Host) -> None:
        host.sh("mkdir -p /etc/skel/.config/containers; echo '[storage]' > /etc/skel/.config/containers/storage.conf")
        wishes = {"builder_overwrite": True}
        try:
            assert host.role("builder", wishes).changed > 0
            assert host.away("builder", wishes).status == 0
            assert host.run(["getent", "passwd", USER], check=False) == ""
            # Where the user, who stays, has cleared it away, they come back.
            host.sh(f"useradd --create-home {USER}")
            assert host.role("builder", wishes).changed > 0
            host.sh(f"rm -r /home/{USER}/.config")
            assert host.away("builder", wishes).status == 0
            assert host.run(["cat", f"/home/{USER}/.config/containers/storage.conf"]) == "[storage]\n"
        finally:
            host.away("builder", wishes)
            host.sh(f"userdel --remove {USER} 2>/dev/null; rm -r /etc/skel/.config; rm -rf /var/tmp/containers-user-*")

    def test_a_replaced_file_of_roots_is_roots_again(self, host: Host) -> None:
        config = f"/home/{USER}/.config"
        theirs = f"{config}/containers/storage.conf"
        host.sh(f"useradd --create-home {USER}; install -d -o {USER} {config} {config}/containers; echo '#' > {theirs}")
        before = host.run(["stat", "-c", "%U:%G %a %s", theirs])
        assert before.startswith("root:root")
        try:
            assert host.role("builder", {"builder_overwrite": True}).changed > 0
            assert host.run(["stat", "-c", "%U", theirs]).strip() == USER
            assert host.away("builder").changed > 0
            assert host.run(["stat", "-c", "%U:%G %a %s", theirs]) == before
        finally:
            host.away("builder")
            host.sh(f"userdel --remove {USER} 2>/dev/null; rm -rf /var/tmp/containers-user-*")

    def test_too_few_ids_are_found(self, host: Host) -> None:
        host.sh(f"useradd --create-home {USER}; sed -i '/^{USER}:/d' /etc/subuid /etc/subgid")
        try:
            failed = host.role("builder")
            assert failed.status != 0
            assert "role subid" in failed.words
        finally:
            host.away("builder")
            host.sh(f"userdel --remove {USER} 2>/dev/null; rm -rf /var/tmp/containers-user-*")

    def test_the_users_files_win_over_the_systems(self, host: Host) -> None:
        """containers-storage.conf(5), containers.conf(5), containers-registries.conf.d(5)."""
        system = {
            "storage.conf": '[storage]\ndriver = "vfs"\nrunroot = "/run/system"\ngraphroot = "/srv/system"\n',
            "containers.conf.d/99-system.conf": '[engine]\nenv = ["BUILDAH_ISOLATION=no-such-isolation"]\n',
            "registries.conf.d/99-system.conf": '[[registry]]\nlocation = "plain.invalid"\ninsecure = false\n',
        }
        for name, content in system.items():
            host.write(f"/etc/containers/{name}", content)
        plain = [{"registry": "plain.invalid", "insecure": True}]
        try:
            # The role builder ends with a build of its own.
            assert host.role("builder", {"builder_isolation": "chroot", "builder_registries": plain}).changed > 0
            store = json.loads(host.run(["buildah", "info"], user=USER))["store"]
            assert (store["GraphDriverName"], store["GraphRoot"]) == (
                "overlay", f"/home/{USER}/.local/share/containers/storage")
            refused = host.run(["buildah", "pull", "plain.invalid/image"], user=USER, check=False)
            assert "http://plain.invalid/v2/" in refused
        finally:
            host.away("builder")
            host.sh("cd /etc/containers; rm " + " ".join(system))

    def test_variables_that_the_system_gives_to_the_tools_stay(self, host: Host) -> None:
        proxy = "/etc/containers/containers.conf.d/proxy.conf"
        variables = {"builder_isolation": "chroot"}
        ask = ["buildah", "unshare", "sh", "-c", "echo $https_proxy $BUILDAH_ISOLATION"]
        try:
            host.role("builder", variables)
            host.write(proxy, '[engine]\nenv = ["https_proxy=http://proxy.invalid:3128"]\n')
            assert host.role("builder", variables, "--check").changed == 1
            assert host.role("builder", variables).changed == 1
            assert host.run(ask, user=USER).split() == ["http://proxy.invalid:3128", "chroot"]
            assert host.role("builder", variables).changed == 0
            host.run(["rm", proxy])
            assert host.role("builder", variables).changed == 1
            assert host.run(ask, user=USER).split() == ["chroot"]
        finally:
            host.away("builder", variables)
            host.run(["rm", "-f", proxy])

    def test_two_users_on_a_host_are_two_uses_of_the_role(self, host: Host) -> None:
        second = {"builder_user": f"{USER}-two"}
        try:
            assert host.role("builder").changed > 0
            assert host.role("builder", second).changed > 0
            assert host.role("builder").changed == 0
            assert host.role("builder", second).changed == 0
            assert host.away("builder").changed > 0
            assert host.role("builder", second).changed == 0
        finally:
            host.away("builder")
            host.away("builder", second)
        assert host.run(["sh", "-c", "ls /var/lib/rootless-buildah"], check=False).startswith("ls: ")

    def test_what_others_have_beside_images_is_left_alone(self, host: Host) -> None:
        shared, names = "/srv/shared", [USER, f"{USER}-two"]
        stores = {"builder_store_strategy": "project", "builder_store_directory": shared}
        uses = [{**stores, "builder_user": name, "builder_graphroot": f"/srv/made/images-{name}"} for name in names]
        host.sh(f"mkdir -m 2775 {shared}; echo word > {shared}/theirs")
        before = host.run(["stat", "-c", "%U %a", shared])
        try:
            for use in uses:
                assert host.role("builder", use).changed > 0
            for use in uses:
                assert host.role("builder", use).changed == 0
            assert host.run(["stat", "-c", "%U %a", shared]) == before
            for name in names:
                places = [f"{shared}/{name}", f"/srv/made/images-{name}"]
                assert host.run(["stat", "-c", "%U %a", *places]).splitlines() == [f"{name} 700"] * 2
            # Not even an empty one: who made it may have use for it.
            host.sh("mkdir /srv/empty")
            failed = host.role("builder", {**uses[0], "builder_graphroot": "/srv/empty"})
            assert failed.status != 0
            assert "/srv/empty cannot hold images" in failed.words
            assert f"chown {USER}: /srv/empty" in failed.words
            host.sh(f"chown {USER}: /srv/empty")
            assert host.role("builder", {**uses[0], "builder_graphroot": "/srv/empty"}).changed > 0
            assert host.away("builder").changed > 0
            assert host.run(["ls", shared]).split() == [names[1], "theirs"]
            assert host.run(["ls", "/srv/made"]).split() == [f"images-{names[1]}"]
            assert host.run(["ls", "/srv/empty"]) != ""
            assert host.role("builder", uses[1]).changed == 0
            assert host.away("builder", uses[1]).changed > 0
            assert host.run(["ls", shared]).split() == ["theirs"]
            assert host.run(["ls", "-d", "/srv/made"], check=False).startswith("ls: ")
        finally:
            for use in uses:
                host.away("builder", use)
            host.sh(f"rm -rf {shared} /srv/empty")
        assert host.run(["sh", "-c", "ls /var/lib/rootless-buildah"], check=False).startswith("ls: ")

    def test_a_private_root_mount_does_not_matter(self, host: Host) -> None:
        # As on a host without systemd; buildah makes a mount namespace of its own for every call.
        assert host.run(["findmnt", "-n", "-o", "PROPAGATION", "/"]).strip() == "private"
        try:
            # The verification builds.
            assert host.role("builder").changed > 0
        finally:
            host.away("builder")

    def test_what_is_no_longer_wanted_goes(self, host: Host) -> None:
        both = [{"registry": name, "ca_cert": "-----BEGIN CERTIFICATE-----\n", "username": "u", "password": "p"}
                for name in ("one.example", "two.example")]
        certificates = f"/home/{USER}/.config/containers/certs.d"
        try:
            host.role("builder", {"builder_registries": both})
            assert host.run(["ls", certificates]).split() == ["one.example", "two.example"]
            assert host.role("builder", {"builder_registries": both[:1]}).changed > 0
            assert host.run(["ls", certificates]).split() == ["one.example"]
            assert host.role("builder").changed > 0
            assert host.run(["ls", "-A", f"/home/{USER}/.config/containers"]).split() == ["storage.conf"]
        finally:
            host.away("builder")

    def test_passwords_are_in_the_authfile_and_nowhere_else(self, host: Host) -> None:
        secret = "canary-Gq7vX2"
        variables = {"builder_registries": [{"registry": "login.example", "username": "ci", "password": secret}]}
        try:
            seen = host.role("builder", variables, "-vvv", "--diff").output
            # The extra variables' file is named, not shown; the password must be nowhere in any form.
            assert secret not in seen
            assert "Y2k6Y2FuYXJ5LUdxN3ZYMg" not in seen
            authfile = f"/home/{USER}/.config/containers/auth.json"
            assert host.run(["stat", "-c", "%a %U", authfile]).strip() == f"600 {USER}"
            places = ["/home", "/etc", "/var/lib/rootless-buildah", "/var/log", "/tmp", "/var/tmp", "/run"]
            found = host.run(["grep", "-rlI", "-e", secret, "-e", "Y2k6Y2FuYXJ5LUdxN3ZYMg", *places], check=False)
            assert found.split() == [authfile]
        finally:
            host.away("builder")

    def test_logins_that_would_go_with_the_session_are_refused(self, host: Host) -> None:
        failed = host.role("builder", {"builder_auth_location": "runtime"})
        assert "set builder_linger: true, or builder_auth_location: persistent" in failed.words
        assert failed.count("changed") == 0

    def test_an_age_that_is_none_is_refused_where_cron_would_prune_too(self, host: Host) -> None:
        failed = host.role("builder", {"builder_prune": True, "builder_prune_age": "1 week"})
        assert failed.status != 0
        assert "Remedy: set builder_prune_age" in failed.words
        assert failed.count("changed") == 0

    def test_builds_take_bases_from_an_additional_store(self, host: Host) -> None:
        store = "/srv/additional"
        try:
            host.role("builder")
            # Whoever reads a store owns it.
            host.sh(f"install -d -o {USER} {store}")
            make = (f"cd; mkdir c; echo one > c/file; printf 'FROM scratch\\nCOPY file /\\n' > c/Containerfile; "
                    f"buildah --root {store} --runroot /tmp/additional build -q -t localhost/base c; rm -r c; "
                    "buildah images -q")
            assert len(host.sh(make, user=USER).split()) == 1
            variables = {"builder_additional_stores": [store]}
            assert host.role("builder", variables).changed > 0
            host.sh("buildah rm $(buildah from --pull-never localhost/base)", user=USER)
            assert host.role("builder", variables).changed == 0
        finally:
            host.away("builder")
            host.sh(f"rm -rf {store}")


class TestRegistry:
    def test_a_port_that_somebody_has_is_named(self, host: Host) -> None:
        host.sh("start-stop-daemon --start --background --make-pidfile --pidfile /run/taken.pid "
                f"--exec /usr/bin/python3 -- -m http.server --bind 127.0.0.1 {PORT}")
        try:
            failed = host.role("build_registry")
            assert failed.status != 0
            assert f"On port {PORT} listen" in failed.words
            assert "'uid': 0" in failed.words
        finally:
            host.sh("start-stop-daemon --stop --pidfile /run/taken.pid --remove-pidfile --retry 5")
            host.away("build_registry")

    def test_plain_passwords_do_not_cross_a_network(self, host: Host) -> None:
        failed = host.role("build_registry", {"build_registry_listen": "0.0.0.0"}, "--check")
        assert failed.status != 0
        assert "build_registry_tls" in failed.words

    def test_a_changed_setting_restarts_it_once(self, host: Host) -> None:
        pid = "/run/rootless-buildah-registry.pid"
        try:
            host.role("build_registry")
            first = host.run(["cat", pid])
            assert host.role("build_registry", {"build_registry_port": PORT + 1}).changed == 2
            second = host.run(["cat", pid])
            assert first != second
            assert f"127.0.0.1:{PORT + 1}" in host.run(["ss", "-H", "-l", "-n", "-t"])
            assert host.role("build_registry", {"build_registry_port": PORT + 1}).changed == 0
            assert host.run(["cat", pid]) == second
        finally:
            host.away("build_registry")

    def test_it_comes_back_after_it_died(self, host: Host) -> None:
        try:
            host.role("build_registry")
            host.sh("kill -9 $(cat /run/rootless-buildah-registry.pid); sleep 0.5")
            assert host.role("build_registry", None, "--check").changed == 1
            assert host.role("build_registry").changed == 1
        finally:
            host.away("build_registry")

    def test_a_password_is_kept_and_can_be_changed(self, host: Host) -> None:
        place = "/etc/rootless-buildah-registry/password"
        try:
            host.role("build_registry")
            generated = host.run(["cat", place]).strip()
            assert len(generated) == 32
            host.role("build_registry")
            assert host.run(["cat", place]).strip() == generated
            changed = host.role("build_registry", {"build_registry_password": "canary-chosen"}, "-vvv", "--diff")
            assert changed.changed == 2
            assert "canary-chosen" not in changed.output
            assert generated not in changed.output
            assert host.role("build_registry", {"build_registry_password": "canary-chosen"}).changed == 0
        finally:
            host.away("build_registry")

    def test_its_certificate_is_made_again_before_it_ends_or_for_other_names(self, host: Host) -> None:
        variables: dict[str, Any] = {"build_registry_tls": True}
        certificate = "/etc/rootless-buildah-registry/tls.crt"
        ask = ["openssl", "x509", "-in", certificate, "-noout", "-serial", "-ext", "subjectAltName"]
        authority = ["cat", "/etc/rootless-buildah-registry/ca.crt"]
        try:
            host.role("build_registry", variables)
            first, ca = host.run(ask), host.run(authority)
            assert "IP Address:127.0.0.1, DNS:localhost" in first
            variables["build_registry_tls_names"] = ["registry.example", "10.0.0.7"]
            assert host.role("build_registry", variables, "--check").changed == 2
            assert host.role("build_registry", variables).changed == 2
            second = host.run(ask)
            assert "DNS:registry.example, IP Address:10.0.0.7" in second
            assert host.role("build_registry", variables).changed == 0
            # Builders that trust the authority need not be told.
            assert host.run(authority) == ca
            host.sh("cd /etc/rootless-buildah-registry; openssl req -new -key tls.key -subj /CN=x 2>/dev/null | "
                    "openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial 7 -days 20 -out tls.crt 2>/dev/null")
            assert host.role("build_registry", variables).changed == 2
            assert "DNS:registry.example" in host.run(ask)
        finally:
            host.away("build_registry", variables)

    def test_a_given_certificate_takes_the_place_of_the_roles_own_and_the_other_way_round(
        self, host: Host, tmp_path: Path
    ) -> None:
        directory = "/etc/rootless-buildah-registry"
        own: dict[str, Any] = {"build_registry_tls": True}
        given = {**own, **certificate(tmp_path, "given")}
        served = (f"openssl s_client -connect 127.0.0.1:{PORT} < /dev/null 2> /dev/null | "
                  "openssl x509 -noout -subject")
        try:
            for variables, name in ((own, "rootless.buildah registry"), (given, "given"),
                                    (own, "rootless.buildah registry")):  # fmt: skip
                assert host.role("build_registry", variables, "--check").changed > 0
                done = host.role("build_registry", variables, "-vvvv", "--diff")
                assert done.changed > 0
                assert "PRIVATE" not in done.output
                assert given["build_registry_tls_key"].splitlines()[1] not in done.output
                # Its verification has asked by the authority that it tells other plays about.
                assert host.sh(served).strip() == f"subject=CN = {name}"
                assert host.role("build_registry", variables).changed == 0
            host.away("build_registry")
            assert host.run(["ls", directory], check=False).startswith("ls: ")
            host.write(f"{directory}/tls.crt", "theirs\n")
            refused = host.role("build_registry", given)
            assert f"{directory}/tls.crt was written by somebody else" in refused.words
        finally:
            host.away("build_registry")
            host.sh(f"rm -rf {directory}")

    def test_only_what_the_role_made_goes_with_the_images(self, host: Host) -> None:
        theirs, registry = "/srv/theirs", "docker-registry"
        wish = {"build_registry_storage": f"{theirs}/"}
        host.sh(f"install -d -m 751 {theirs}; echo kept > {theirs}/file")
        before = host.look()
        try:
            for arguments in ([], ["--check"]):
                refused = host.role("build_registry", wish, *arguments)
                assert f"{theirs} cannot hold the registry's images: it was there before" in refused.words
                assert f"chown {registry}: {theirs}" in refused.words
                assert refused.count("changed") == 0
            assert differences(before, host.look()) == []

            host.sh(f"chown {registry}: {theirs}")
            assert host.role("build_registry", wish).changed > 0
            assert host.run(["stat", "-c", "%U %a", theirs]).strip() == f"{registry} 751"
            host.sh(f"mkdir -p {theirs}/docker/registry/v2; chown -R {registry}: {theirs}/docker")
            assert host.away("build_registry", wish, "--check").changed > 0
            assert host.away("build_registry", wish).changed > 0
            assert host.sh(f"cd {theirs}; find . -type f -o -name registry") == "./file\n"
        finally:
            host.away("build_registry", wish)
            host.sh(f"rm -rf {theirs}")

    def test_what_the_role_made_for_images_goes_when_they_go(self, host: Host) -> None:
        wish = {"build_registry_storage": "/srv/new one/registry"}
        before = host.look()
        try:
            assert host.role("build_registry", wish).changed > 0
            assert host.sh("stat -c '%U %a' '/srv/new one' '/srv/new one/registry'").splitlines() == [
                "root 755", "docker-registry 750"]
            kept = {**wish, "build_registry_state": "absent"}
            assert host.role("build_registry", kept).changed > 0
            assert host.role("build_registry", kept).changed == 0
            assert host.run(["ls", "/srv/new one"]).strip() == "registry"
            # Whoever names the storage no longer gets what is noted removed all the same.
            assert host.away("build_registry").changed > 0
            assert differences(before, host.look()) == []
        finally:
            host.away("build_registry", wish)

    def test_a_registry_that_does_not_start_is_told_with_its_log(self, host: Host, tmp_path: Path) -> None:
        try:
            told_why_it_does_not_start(host, tmp_path)
        finally:
            host.away("build_registry")

    def test_a_port_that_only_root_may_have(self, host: Host) -> None:
        host.sh("echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start")
        wish = {"build_registry_port": 443}
        try:
            assert host.role("build_registry", wish).changed > 0
            assert host.role("build_registry", wish).changed == 0
            assert host.run(["ps", "-o", "user:20=", "-C", "docker-registry"]).strip() == "docker-registry"
        finally:
            host.away("build_registry", wish)


# The files that hold a secret: where they are, whose, and what makes the role write one.
SECRET = "canary-Gq7vX2"
SECRET_FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "builder": (f"/home/{USER}/.config/containers/auth.json", USER, {
        "builder_registries": [{"registry": "login.example", "username": "ci", "password": SECRET}]}),
    "build_registry": ("/etc/rootless-buildah-registry/password", "root", {"build_registry_password": SECRET}),
    "build_registry htpasswd": ("/etc/rootless-buildah-registry/htpasswd", "root", {"build_registry_password": SECRET}),
}  # fmt: skip


@pytest.mark.parametrize("case", SECRET_FILES)
def test_a_secret_file_of_somebody_else_is_told_and_no_secret_is(host: Host, case: str) -> None:
    role = case.split(" ", maxsplit=1)[0]
    path, owner, variables = SECRET_FILES[case]
    theirs = "their-canary-Kp3mZ8"
    host.sh(f"getent passwd {USER} || useradd --create-home {USER}")
    host.write(path, theirs + "\n", 0o600)
    host.sh(f"chown -R {owner}: $(dirname {path})")
    # As they are, in base64 (alone and in a login) and as hashes.
    hashes = [hashlib.sha256(f"{text}\n".encode()).hexdigest() for text in (SECRET, theirs)]
    parts = [SECRET, theirs, "Y2FuYXJ5", "dGhlaXIt", "Y2k6Y2FuYXJ5", "$2y$", *hashes]
    outputs = []
    try:
        for arguments in (["--check"], []):
            refused = host.role(role, variables, "-vvvv", "--diff", *arguments)
            assert refused.status != 0
            assert f"{path} was written by somebody else and is left alone" in refused.words
            assert f"set {role}_overwrite: true" in refused.words
            # Of what no_log hides, new versions of Ansible show the message; this they do not.
            assert "+another secret" in refused.output
            outputs.append(refused.output)
        for wish, arguments in (({f"{role}_overwrite": True}, []), ({}, ["--check"])):
            done = host.role(role, {**variables, **wish}, "-vvvv", "--diff", *arguments)
            assert done.status == 0, done.output
            outputs.append(done.output)
        outputs.append(host.away(role, variables, "-vvvv", "--diff").output)
        assert host.run(["cat", path]) == theirs + "\n"
        for output in outputs:
            assert [part for part in parts if part in output] == []
    finally:
        host.away(role)
        host.sh(f"rm -f {path}; userdel --remove {USER} 2>/dev/null || true; rm -rf /etc/rootless-buildah-registry "
                "/etc/containers/containers.conf.d /var/tmp/containers-user-* /tmp/containers-user-* /tmp/podman-run-*")


def silent_host(host: Host) -> dict[str, Any]:
    """Return the variables of a host that does not answer."""
    nobody = host.machine.place / "nobody"
    nobody.write_text("#!/bin/sh\necho 'ssh: connect to host silent: No route to host' >&2\nexit 255\n")
    nobody.chmod(0o755)
    return {**host.variables, "ansible_ssh_executable": str(nobody)}


def add_group(inventory: Path, name: str, hosts: Mapping[str, Mapping[str, Any]]) -> Path:
    """Add a group of other hosts to an inventory."""
    groups = yaml.safe_load(inventory.read_text(encoding="utf-8"))
    inventory.write_text(yaml.safe_dump({**groups, name: {"hosts": dict(hosts)}}), encoding="utf-8")
    return inventory


class TestSite:
    def test_a_host_that_fails_or_is_silent_is_in_the_table_and_the_others_go_on(self, host: Host) -> None:
        silent = silent_host(host)
        broken = {**host.variables, "builder_tools_extra_packages": ["no-such-package-anywhere"]}
        inventory = host.inventory(["builders"], {"silent": silent, "broken": broken})
        try:
            done = host.ansible("rootless.buildah.site", inventory, OURS, "--forks=1")
            assert done.status != 0
            assert re.search(r"machine +yes", done.output)
            assert re.search(r"broken +NO", done.output)
            assert re.search(r"silent +no answer", done.output)
            assert "silent: no answer: " in done.output and "No route to host" in done.output
            assert "broken: Install the programs that are missing" in done.output
        finally:
            host.site("teardown", groups=["builders"])

    def test_what_the_builder_cannot_have_is_told_before_there_is_one(self, host: Host) -> None:
        try:
            done = host.site(variables={"builder_prune": True, "builder_prune_age": "1 week"}, groups=["builders"])
            assert done.status != 0
            assert "Remedy: set builder_prune_age" in done.words
            assert host.run(["getent", "passwd", USER], check=False) == ""
        finally:
            host.site("teardown", groups=["builders"])

    def test_the_number_of_tasks_depends_on_neither_users_nor_images(self, host: Host) -> None:
        tasks = []
        try:
            for number in (1, 4):
                images = [{"name": f"localhost/tasks-{one}:1", "containerfile_content": "FROM scratch\nLABEL a=b\n"}
                          for one in range(number)]  # fmt: skip
                host.sh("".join(f"id more-{one} || useradd --create-home more-{one};" for one in range(number)))
                users = [{"name": f"more-{one}"} for one in range(number)]
                wish = {"build_images_images": images}
                host.role("subid", {"subid_users": users})
                host.site(variables=wish, groups=["builders"])
                again = [host.site(variables=wish, groups=["builders"]), host.role("subid", {"subid_users": users})]
                assert [one.changed for one in again] == [0, 0]
                tasks.append([one.count("ok") for one in again])
        finally:
            host.site("teardown", groups=["builders"])
            host.sh("for one in 0 1 2 3; do userdel --remove more-$one 2> /dev/null || true; done")
        assert tasks[0] == tasks[1]

    def test_every_group_may_be_empty(self, host: Host) -> None:
        assert host.site(groups=["image_store_server"]).changed == 0
        assert host.site("teardown", groups=["image_store_server"]).status == 0

    def test_a_registry_that_builders_cannot_reach_is_told(self, host: Host) -> None:
        elsewhere = {**host.variables, "ansible_host": "registry.invalid"}
        # As if its role had run there.
        told = {"rootless_buildah_registry": {"address": "127.0.0.1:5000", "insecure": True, "ca_cert": ""}}
        inventory = add_group(host.inventory(["builders"]), "registry", {"elsewhere": {**elsewhere, **told}})
        try:
            done = host.ansible("rootless.buildah.site", inventory, OURS, "--limit=machine")
            assert done.status != 0
            assert "the registry of elsewhere cannot be reached from machine" in done.words
            assert "build_registry_address: elsewhere:5000" in done.words
        finally:
            host.site("teardown", groups=["builders"])

    def test_builders_keep_what_they_know_of_a_registry_that_is_not_part_of_the_run(self, host: Host) -> None:
        inventory = add_group(host.inventory(["builders"]), "registry", {"elsewhere": host.variables})
        known = f"/home/{USER}/.config/containers/registries.conf.d/50-rootless-buildah.conf"
        try:
            assert host.ansible("rootless.buildah.site", inventory, OURS).status == 0
            before = host.run(["cat", known])
            alone = host.ansible("rootless.buildah.site", inventory, OURS, "--limit=machine")
            assert alone.status != 0
            assert "The registry of elsewhere is not ready or not part of this run. Remedy:" in alone.words
            assert alone.count("changed") == 0
            assert host.run(["cat", known]) == before
        finally:
            assert host.ansible("rootless.buildah.teardown", inventory, OURS).status == 0

    def test_a_group_of_which_no_host_answers_does_not_end_the_run(self, host: Host) -> None:
        inventory = add_group(host.inventory(["builders"]), "cluster_nodes", {"silent": silent_host(host)})
        try:
            done = host.ansible("rootless.buildah.site", inventory, OURS)
            assert done.status != 0
            assert re.search(r"machine +yes", done.output)
            assert re.search(r"silent +no answer", done.output)
        finally:
            done = host.ansible("rootless.buildah.teardown", inventory, OURS)
        assert done.status != 0
        assert "silent: no answer" in done.words
        assert host.run(["getent", "passwd", USER], check=False) == ""

    def test_the_table_tells_why_an_image_was_not_built(self, host: Host) -> None:
        images = [{"name": "localhost/broken:1", "containerfile_content": 'FROM scratch\nRUN ["/nowhere"]\n'}]
        try:
            done = host.site(variables={"build_images_images": images}, groups=["builders"])
            assert done.status != 0
            assert re.search(r"machine: Wait for them: .*/nowhere", done.words), done.words[-3000:]
        finally:
            host.site("teardown", groups=["builders"])

    def test_what_one_node_does_not_bear_is_not_tried_on_the_next(self, host: Host) -> None:
        others = {"another": silent_host(host), "second": host.variables}
        inventory = host.inventory(["cluster_nodes"], others)
        try:
            done = host.ansible("rootless.buildah.site", inventory, OURS)
            assert done.status != 0
            assert "machine: Check" in done.words
            assert "second: left alone, because machine is not ready" in done.words
            assert "another: no answer" in done.words
        finally:
            host.ansible("rootless.buildah.teardown", inventory, OURS)

    def test_a_host_that_is_no_node_is_told_so(self, host: Host) -> None:
        try:
            failed = host.site(groups=["cluster_nodes"])
            assert failed.status != 0
            assert "There is neither containerd nor CRI-O here" in failed.words
        finally:
            assert host.site("teardown", groups=["cluster_nodes"]).status == 0


# No Debian has grubby. This one does what is asked of it, and nothing else.
GRUBBY = """\
#!/bin/sh
case "$*" in
--info=ALL) printf 'index=0\\nargs="ro quiet%s"\\n' "$(cat /srv/arguments 2> /dev/null)" ;;
"--update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1") printf ' %s' "${2#--args=}" > /srv/arguments ;;
"--update-kernel=ALL --remove-args=systemd.unified_cgroup_hierarchy=1") rm /srv/arguments ;;
*) exit 64 ;;
esac
"""


class TestClusterNode:
    """A node of a real API server without a kubelet; on the machine a program stands in for systemd."""

    DUE = "/etc/containerd/conf.d/50-rootless-buildah.toml"
    SYSTEMCTL = """\
#!/bin/sh
case $1 in
  list-units) echo containerd.service loaded active running ;;
  show) printf 'LoadState=loaded\\nActiveState=active\\n' ;;
  restart) echo "$2" >> /srv/restarted ;;
esac
"""

    @pytest.fixture(name="cluster")
    def _cluster(self, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
        monkeypatch.delenv("KUBECONFIG", raising=False)
        tool = [sys.executable, control_plane.__file__, f"--place={tmp_path}"]
        there = Cluster(control_plane.Place(tmp_path), "default")
        ended = threading.Event()

        def beat() -> None:
            # As a kubelet would.
            while not ended.wait(5):
                now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                ready = {"type": "Ready", "status": "True", "reason": "Trial", "lastHeartbeatTime": now}
                there.kubectl("patch", "node/machine", "--subresource=status", "--type=merge",
                              f"--patch={json.dumps({'status': {'conditions': [ready]}})}", check=False)  # fmt: skip

        heart = threading.Thread(target=beat)
        host.write("/usr/local/bin/systemctl", self.SYSTEMCTL, 0o755)
        subprocess.run([*tool, "start"], check=True)
        try:
            there.kubectl("create", "--filename=-", manifest={
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": "machine"}})
            heart.start()
            yield there
        finally:
            ended.set()
            if heart.ident:
                heart.join()
            subprocess.run([*tool, "stop"], check=True)
            host.sh("rm -rf /usr/local/bin/systemctl /srv/restarted /etc/containerd /var/lib/rootless-buildah")

    def due(self, host: Host) -> None:
        """Let the way back find something after which the engine has to be restarted."""
        place = host.machine.place / "due.yml"
        task = {"rootless.buildah.managed_file": {"path": self.DUE, "role": "cluster_node", "content": "# due\n"}}
        place.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        assert host.ansible(str(place), host.inventory(["all"]), {}).changed == 1

    def test_a_node_that_the_role_cordoned_gets_pods_again_whatever_came_between(
        self, host: Host, cluster: Cluster
    ) -> None:
        to_api = {"cluster_node_kubeconfig": str(cluster.place.kubeconfig), "cluster_node_name": "machine"}
        drained = {**to_api, "cluster_node_drain": True}

        def away(variables: dict[str, Any], *arguments: str) -> Outcome:
            return host.away("cluster_node", variables, *arguments)

        def cordoned() -> bool:
            return bool(cluster.get("nodes")[0]["spec"].get("unschedulable"))

        # A pod that may not leave.
        labels = {"of": "trial"}
        cluster.kubectl("create", "--filename=-", manifest={
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "trial"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}}})  # fmt: skip
        cluster.kubectl("create", "--filename=-", manifest={
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "trial"},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                "nodeName": "machine", "containers": [{"name": "one", "image": "none.invalid/none"}]}}}})  # fmt: skip
        pod = until(lambda: cluster.get("pods"))[0]["metadata"]["name"]
        cluster.kubectl("patch", f"pod/{pod}", "--subresource=status", '--patch={"status": {"phase": "Running"}}')

        self.due(host)
        failed = away(drained)
        assert failed.status != 0
        assert "disruption budget" in failed.words
        assert cordoned()
        assert host.run(["cat", "/srv/restarted"], check=False).startswith("cat: ")
        # Restarts that it did not come to are made up for. Without a way to the cluster it is told what is left.
        assert "kubectl uncordon machine" in away({"cluster_node_name": "machine"}).words
        assert "containerd.service" in host.run(["cat", "/srv/restarted"])
        # Nothing else is to be done.
        assert away(to_api, "--check").changed == 1
        assert cordoned()
        assert away(to_api).changed == 1
        assert not cordoned()
        assert away(drained).changed == 0

        # Who cordoned it had a reason, and who has not is not asked.
        cluster.kubectl("delete", "replicaset/trial", "poddisruptionbudget/trial")
        cluster.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
        for others in (True, False):
            cluster.kubectl("cordon" if others else "uncordon", "machine")
            host.sh("rm -f /srv/restarted")
            self.due(host)
            assert away(drained).changed > 0
            assert host.run(["cat", "/srv/restarted"]) == "containerd.service\n"
            assert cordoned() is others
            assert away(drained).changed == 0
            assert cordoned() is others


class TestCgroup:
    WISH: dict[str, Any] = {"crun_cgroup_v2": True, "crun_default": "always"}

    @pytest.fixture
    def old(self, host: Host) -> Iterator[Host]:
        """The machine without the cgroup v2 hierarchy that it was booted with."""
        host.sh("umount /sys/fs/cgroup")
        try:
            yield host
        finally:
            host.sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup; rm -f /usr/local/sbin/grubby /srv/arguments")
            host.away("crun")

    def test_a_host_that_has_it_is_left_alone(self, host: Host) -> None:
        host.write("/usr/local/sbin/grubby", GRUBBY, 0o755)
        try:
            done = host.role("crun", self.WISH)
            assert done.status == 0, done.output
            assert "Reboot this host" not in done.words
            assert host.run(["ls", "/srv/arguments"], check=False).startswith("ls: ")
        finally:
            host.sh("rm /usr/local/sbin/grubby")
            host.away("crun")

    def test_without_grubby_the_role_says_what_to_do(self, old: Host) -> None:
        failed = old.role("crun", self.WISH)
        assert failed.status != 0
        assert "a host boots with cgroup v2 by systemd.unified_cgroup_hierarchy=1" in failed.words

    def test_the_kernels_get_the_argument_once_and_give_it_back(self, old: Host) -> None:
        old.write("/usr/local/sbin/grubby", GRUBBY, 0o755)
        assert old.role("crun", self.WISH, "--check").changed > 0
        assert old.run(["ls", "/srv/arguments"], check=False).startswith("ls: ")
        done = old.role("crun", self.WISH)
        assert done.changed > 0
        assert "Reboot this host" in done.words
        assert "systemd.unified_cgroup_hierarchy=1" in old.run(["grubby", "--info=ALL"])
        again = old.role("crun", self.WISH)
        assert again.changed == 0
        assert "Reboot this host" in again.words
        assert old.away("crun").changed > 0
        assert old.run(["ls", "/srv/arguments"], check=False).startswith("ls: ")
        assert old.away("crun").changed == 0

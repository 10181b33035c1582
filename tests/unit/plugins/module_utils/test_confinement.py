# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parts of its host a build gets to see."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils import _confinement
from ansible_collections.rootless.buildah.plugins.module_utils._confinement import Confinement, confine


class Host:
    """A home, a runtime directory and a directory for temporary files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in (
            "home/.docker/config.json",
            "home/.netrc",
            "home/.config/containers/auth.json",
            "home/.config/containers/.auth.json.new",
            "home/.config/containers/certs.d/host/client.key",
            "home/.config/containers/storage.conf",
            "home/src/Containerfile",
            "state/records/one",
            "state/storage-abc.conf",
            "state/jobs/mine/Containerfile",
            "state/jobs/mine/auth-1.json",
            "state/jobs/mine/secrets/token",
            "state/jobs/mine/sessions/7",
            "state/jobs/other/auth-2.json",
            "run/bus",
            "run/systemd/private",
            "run/containers/auth.json",
            "run/containers/overlay/x",
            "tmp/ansible-tmp-1/AnsiballZ_x.py",
            "tmp/ssh-abc/agent.1",
            "tmp/krb5cc_1000",
            "tmp/data/file",
        ):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)

    def confine(self, *hide: str, needed: tuple[str, ...] = (), **more: Any) -> dict[str, tuple[str, ...]]:
        """Return what stays of each restricted directory, all paths relative to the root."""
        found = self.whole(*hide, needed=needed, **more)
        return {str(Path(name).relative_to(self.root)): stays for name, stays in found.only.items()}

    def whole(self, *hide: str, needed: tuple[str, ...] = (), chroot: bool = True, **more: Any) -> Confinement:
        return confine(
            hide=[str(self.root / name) for name in hide],
            needed=[str(self.root / name) for name in needed],
            home=str(self.root / "home"),
            runtime=str(self.root / "run"),
            state=str(self.root / "state"),
            job=str(self.root / "state/jobs/mine"),
            chroot=chroot,
            **more,
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(_confinement, "_TEMPORARY", (str(tmp_path / "tmp"),))
    return Host(tmp_path.resolve())


def test_of_the_state_a_build_sees_its_own_files_only(host: Host) -> None:
    assert host.confine()["state"] == ("jobs/mine/Containerfile", "jobs/mine/secrets", "storage-abc.conf")


def test_of_the_configuration_it_sees_what_is_no_login(host: Host) -> None:
    assert host.confine()["home/.config/containers"] == ("storage.conf",)


def test_of_the_runtime_directory_it_sees_what_buildah_uses(host: Host) -> None:
    seen = host.confine()
    assert (seen["run"], seen["run/containers"]) == (("containers",), ("overlay",))


def test_of_temporary_files_it_sees_no_arguments_agents_and_tickets(host: Host) -> None:
    assert host.confine()["tmp"] == ("data",)


def test_with_an_isolation_that_holds_other_programs_stay_in_sight(host: Host) -> None:
    assert sorted(host.confine(chroot=False)) == ["home/.config/containers", "state"]
    assert not host.whole(chroot=False).alone and host.whole().alone


def test_a_hidden_directory_is_empty_and_a_hidden_file_covered(host: Host) -> None:
    found = host.whole("home/.docker", "home/.netrc", "home/.ssh")
    assert found.only[str(host.root / "home/.docker")] == ()
    assert found.files == (str(host.root / "home/.netrc"),)


@pytest.mark.parametrize(
    ("needed", "place", "seen"),
    [
        ("home/.docker/config.json", "home/.docker", ("config.json",)),
        ("home/.docker", "home/.docker", None),
        ("home", "home/.docker", None),
        ("tmp/ssh-abc/agent.1", "tmp", ("data", "ssh-abc/agent.1")),
        # One that is in sight anyway is not mentioned again: mounting into what is mounted would change the real one.
        ("tmp/data/file", "tmp", ("data",)),
        ("run/containers/auth.json", "run/containers", ("auth.json", "overlay")),
    ],
)
def test_what_the_build_was_told_to_use_stays_in_sight(
    host: Host, needed: str, place: str, seen: tuple[str, ...] | None
) -> None:
    assert host.confine("home/.docker", needed=(needed,)).get(place) == seen


def test_a_needed_file_is_not_covered(host: Host) -> None:
    assert host.whole("home/.netrc", needed=("home/.netrc",)).files == ()


def test_links_are_followed(host: Host) -> None:
    (host.root / "elsewhere").mkdir()
    (host.root / "home/.ssh").symlink_to(host.root / "elsewhere")
    assert host.confine("home/.ssh")["elsewhere"] == ()


def test_the_script_restricts_parents_before_what_is_below_them() -> None:
    text = Confinement({"/tmp/a": (), "/tmp": ("a",)}, modes={"/tmp": 0o1777, "/tmp/a": 0o700}).script("/")
    assert text.index("keep /tmp 1777 a\n") < text.index("keep /tmp/a 700\n")


def test_the_script_quotes_everything() -> None:
    text = Confinement({"/a b": ("$(c)",)}, ("/d;e",)).script("/f 'g'")
    assert "keep '/a b' 700 '$(c)'\n" in text and "hide '/d;e'\n" in text and "cd '/f '\"'\"'g'\"'\"'' ||" in text


def test_the_script_closes_descriptors_for_the_command_only(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    script = Confinement({}).script("/", close=(7,))
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec 7>{lock}; . /dev/stdin", "sh", "sh", "-c", "readlink /proc/$$/fd/7 || echo closed"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "closed\n"


def test_the_script_ends_as_its_command(tmp_path: Path) -> None:
    done = subprocess.run(["/bin/sh", "-s", "sh", "-c", "pwd; exit 7"], input=Confinement({}).script(str(tmp_path)),
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (7, str(tmp_path))

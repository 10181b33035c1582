# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What containerd is told, by configurations that containerd 2.1.9 printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._containerd import (
    DROP_INS,
    MAIN,
    NAME,
    Engine,
    EnginePlan,
    Wishes,
    default_runtime,
    engine_plan,
    foreign_marker,
    import_line,
    runtimes,
    tables,
    version_of,
)

FIXTURES = Path(__file__).parents[3] / "fixtures" / "containerd-2.1.9"
DEBIAN = (FIXTURES / "debian-config.toml").read_text(encoding="utf-8")
VERSION = "containerd github.com/containerd/containerd/v2 2.1.9+unknown "
CRUN = Wishes(crun="/usr/bin/crun")


def dump(name: str) -> str:
    return (FIXTURES / f"{name}.toml").read_text(encoding="utf-8")


def engine(**seen: Any) -> Engine:
    return Engine(**{"version": VERSION, "main": DEBIAN, "own": "", "dump": dump("debian-dump"), **seen})


def applied(plan: EnginePlan, main: str = DEBIAN) -> Engine:
    """What is seen of Debian's containerd once a plan with crun was carried out."""
    return engine(main=f"{plan.import_line}\n{main}", own=plan.drop_in, dump=dump("version-2-into-2"))


class TestReading:
    def test_a_dump_is_read(self) -> None:
        seen = tables(dump("debian-dump"))
        assert seen[()]["version"] == 3
        assert seen[("plugins", "io.containerd.cri.v1.runtime", "cni")]["bin_dirs"] == ["/usr/lib/cni"]
        assert default_runtime(seen) == "runc"
        assert list(runtimes(seen)) == ["runc"]
        assert runtimes(seen)["runc"]["SystemdCgroup"] is False

    def test_a_file_is_read(self) -> None:
        seen = tables(
            'version = 2 # two\nimports = ["/a/*.toml", \'b.toml\']\n[a."b.c".d]\n  e.f = "g#h"\n[[list]]\nx = {\n')
        assert seen[()] == {"version": 2, "imports": ["/a/*.toml", "b.toml"]}
        assert seen[("a", "b.c", "d", "e")] == {"f": "g#h"}

    @pytest.mark.parametrize("text, version", [
        (VERSION, (2, 1, 9)), ("containerd containerd.io v1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da", (1, 7, 27)),
        ("crun version 1.28\ncommit: 1", (1, 28)), ("6.12.1-1-amd64", (6, 12, 1)), ("Kubernetes v1.36.3", (1, 36, 3)),
        ("runc version 1.3.6+ds1", (1, 3, 6)), ("", ()), ("unknown", ()),
    ])
    def test_versions(self, text: str, version: tuple[int, ...]) -> None:
        assert version_of(text) == version


class TestMeasured:
    """What containerd does with imports, recorded; the rules of the plan come from here."""

    def test_an_import_of_another_version_loses_what_the_main_file_says(self) -> None:
        lost = tables(dump("version-3-into-2"))[("plugins", "io.containerd.cri.v1.runtime", "cni")]
        assert lost["bin_dirs"] != ["/usr/lib/cni"]

    def test_an_import_of_the_same_version_adds_to_it(self) -> None:
        kept = tables(dump("version-2-into-2"))
        assert kept[("plugins", "io.containerd.cri.v1.runtime", "cni")]["bin_dirs"] == ["/usr/lib/cni"]
        assert sorted(runtimes(kept)) == ["crun", "runc"]

    def test_tables_are_merged_key_by_key(self) -> None:
        merged = tables(dump("merged-3-dump"))
        assert {name: found["SystemdCgroup"] for name, found in runtimes(merged).items()} == {
            "crun": True, "runc": True}
        assert default_runtime(merged) == "crun"


class TestPlan:
    def test_debians_file_gets_one_line_and_an_import_of_its_own_version(self) -> None:
        plan = engine_plan(engine(), CRUN)
        assert plan.import_line == import_line()
        assert plan.path == f"{DROP_INS}/{NAME}"
        assert plan.main == ""
        assert plan.gives_way == []
        assert tables(plan.drop_in) == {
            (): {"version": 2},
            ("plugins", "io.containerd.grpc.v1.cri", "containerd", "runtimes", "crun"): {
                "runtime_type": "io.containerd.runc.v2"},
            ("plugins", "io.containerd.grpc.v1.cri", "containerd", "runtimes", "crun", "options"): {
                "BinaryName": "/usr/bin/crun", "SystemdCgroup": False},
        }

    @pytest.mark.parametrize("wishes", [CRUN, Wishes("/usr/bin/crun", "crun", True, True)])
    def test_twice_is_once(self, wishes: Wishes) -> None:
        first = engine_plan(engine(), wishes)
        second = engine_plan(applied(first), wishes)
        assert (second.drop_in, second.path, second.certs_d) == (first.drop_in, first.path, first.certs_d)
        assert (second.import_line, second.main, second.gives_way) == ("", "", [])

    def test_no_wish_is_no_file(self) -> None:
        plan = engine_plan(engine(), Wishes())
        assert (plan.drop_in, plan.import_line, plan.main) == ("", "", "")

    def test_a_main_file_of_version_3_gets_an_import_of_version_3(self) -> None:
        plan = engine_plan(engine(main="version = 3\n"), CRUN)
        assert tables(plan.drop_in)[()] == {"version": 3}
        assert ("plugins", "io.containerd.cri.v1.runtime", "containerd", "runtimes", "crun") in tables(plan.drop_in)

    def test_without_a_main_file_one_is_made(self) -> None:
        plan = engine_plan(engine(main=None, dump=dump("none-dump")), CRUN)
        assert tables(plan.main)[()] == {"version": 3, "imports": [f"{DROP_INS}/*.toml"]}
        assert tables(plan.drop_in)[()] == {"version": 3}
        assert plan.import_line == ""

    @pytest.mark.parametrize("pattern, directory", [
        ("/etc/containerd/conf.d/*.toml", DROP_INS), ("conf.d/*.toml", DROP_INS),
        ("/etc/containerd/certs/*.toml", "/etc/containerd/certs"), ("/opt/drop/*", "/opt/drop"),
    ])
    def test_a_directory_that_is_imported_already_is_used(self, pattern: str, directory: str) -> None:
        plan = engine_plan(engine(main=f'version = 2\nimports = ["/etc/one.toml", "{pattern}"]\n'), CRUN)
        assert plan.path == f"{directory}/{NAME}"
        assert (plan.import_line, plan.gives_way) == ("", [])

    @pytest.mark.parametrize("main, why", [
        ("# Ansible managed\nversion = 2\n", "it is another tool's: # Ansible managed"),
        ("# This file is managed by Puppet\nversion = 2\n", "Puppet"),
        ("# Generated by kubespray\nversion = 2\n", "kubespray"),
        ('version = 2\nimports = ["/etc/one.toml"]\n', "imports of its own"),
        ("version = 1\n", "the version 1"),
    ])
    def test_it_gives_way_and_says_what_it_would_write(self, main: str, why: str) -> None:
        plan = engine_plan(engine(main=main), CRUN)
        assert (plan.drop_in, plan.import_line, plan.main) == ("", "", "")
        assert [way["path"] for way in plan.gives_way] == [MAIN]
        assert why in plan.gives_way[0]["why"]
        assert "runtimes.crun" in plan.gives_way[0]["would"]

    def test_before_2_0_an_import_would_replace_the_whole_table(self) -> None:
        plan = engine_plan(engine(version="containerd github.com/containerd/containerd 1.7.24 x"), CRUN)
        assert plan.drop_in == ""
        assert "1.7.24" in plan.gives_way[0]["why"]

    def test_a_handler_of_somebody_else_stays_theirs(self) -> None:
        assert engine_plan(engine(dump=dump("version-2-into-2")), CRUN).drop_in == ""

    def test_crun_names_control_groups_as_the_default_runtime_does(self) -> None:
        systemd = dump("debian-dump").replace("SystemdCgroup = false", "SystemdCgroup = true")
        assert "SystemdCgroup = true" in engine_plan(engine(dump=systemd), CRUN).drop_in
        forced = engine_plan(engine(dump=systemd), Wishes("/usr/bin/crun", systemd_cgroup=False))
        assert "SystemdCgroup = false" in forced.drop_in

    def test_the_default_runtime_is_left_alone_unless_named(self) -> None:
        assert "default_runtime_name" not in engine_plan(engine(), CRUN).drop_in
        assert 'default_runtime_name = "crun"' in engine_plan(engine(), Wishes("/usr/bin/crun", "crun")).drop_in
        assert engine_plan(engine(), Wishes(default_runtime="runc")).drop_in == ""

    def test_registries_get_a_directory_only_when_there_are_some(self) -> None:
        assert "config_path" not in engine_plan(engine(), CRUN).drop_in
        plan = engine_plan(engine(), Wishes(registries=True))
        assert 'config_path = "/etc/containerd/certs.d"' in plan.drop_in

    def test_a_directory_for_registries_that_is_set_already_is_used(self) -> None:
        theirs = dump("debian-dump").replace("config_path = ''", "config_path = '/etc/theirs:/etc/docker/certs.d'", 1)
        plan = engine_plan(engine(dump=theirs), Wishes(registries=True))
        assert (plan.drop_in, plan.certs_d) == ("", "/etc/theirs")

    def test_mirrors_of_somebody_else_exclude_a_directory(self) -> None:
        theirs = dump("debian-dump") + (
            "\n[plugins.'io.containerd.cri.v1.images'.registry.mirrors.'docker.io']\nendpoint = ['https://m']\n")
        plan = engine_plan(engine(dump=theirs), Wishes("/usr/bin/crun", registries=True))
        assert plan.drop_in == ""
        assert "mirrors" in plan.gives_way[0]["why"]
        assert engine_plan(engine(dump=theirs), CRUN).drop_in


@pytest.mark.parametrize("text, found", [
    (DEBIAN, False), ("", False), ("# Managed by rootless.buildah, role cluster_node\n", False),
    (import_line(), False), ("; DO NOT EDIT\n", True), ("version = 2\n\n  # generated by nodeadm\n", True),
    ("root = 'managed by'\n", False), ("#\n" * 50 + "# Ansible managed\n", False),
])
def test_markers_of_other_tools(text: str, found: bool) -> None:
    assert bool(foreign_marker(text)) is found

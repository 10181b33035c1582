# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""registries.conf as containers-registries.conf(5) and containers-registries.conf.d(5) explain it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils import _registries_conf
from ansible_collections.rootless.buildah.plugins.module_utils._registries_conf import (
    RegistriesConf,
    home_without_mirrors,
    load,
)

USER = "home/.config/containers/registries.conf"
SYSTEM = "etc/containers/registries.conf"
PLACES = {
    "system": SYSTEM,
    "system_10": f"{SYSTEM}.d/10-first.conf",
    "system_20": f"{SYSTEM}.d/20-second.conf",
    "system_other": f"{SYSTEM}.d/30-third.conf.bak",
    "user": USER,
    "user_10": f"{USER}.d/10-first.conf",
    "chosen": "home/chosen.conf",
    "user_aliases": "home/.cache/containers/short-name-aliases.conf",
    "system_aliases": "var/cache/aliases.conf",
}
# The manual's own example.
MANUAL = """\
unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
insecure = false
blocked = false
location = "internal-registry-for-example.com/bar"

[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"

[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "registry.com"

[[registry.mirror]]
location = "mirror.registry.com"
"""
# The manual's example of the deprecated version 1.
VERSION_1 = """\
[registries.search]
registries = ['registry1.com', 'registry2.com']

[registries.insecure]
registries = ['registry3.com']

[registries.block]
registries = ['registry.untrusted.com', 'registry.unsafe.com']
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that stands for a host's root, with the home of an unprivileged user in ``home``."""
    monkeypatch.setattr(_registries_conf, "SYSTEM", str(tmp_path / SYSTEM))
    monkeypatch.setattr(_registries_conf, "SYSTEM_ALIASES", str(tmp_path / "var/cache/aliases.conf"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tmp_path


def write(host: Path, **texts: str) -> None:
    """Write files, each to the place that its name stands for."""
    for place, text in texts.items():
        path = host / PLACES[place]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(host: Path, text: str) -> RegistriesConf:
    """Return what a host's only file says."""
    write(host, system=text)
    return load(str(host / "home"))


def search(host: str) -> str:
    return f'unqualified-search-registries = ["{host}"]\n'


class TestFiles:
    """Which files count, and which of them wins."""

    def test_the_places_are_those_of_the_manual(self) -> None:
        assert _registries_conf.SYSTEM == "/etc/containers/registries.conf"
        assert _registries_conf.SYSTEM_ALIASES == "/var/cache/containers/short-name-aliases.conf"

    def test_without_any_file_a_short_name_leads_nowhere(self, host: Path) -> None:
        conf = load(str(host / "home"))
        assert conf == RegistriesConf() and conf.candidates("debian") == []

    @pytest.mark.parametrize("files, winner", [
        (("system",), "system"),
        (("system", "user"), "user"),
        (("system", "system_10"), "system_10"),
        # "loaded in alpha-numerical order. Then the conf files in $HOME/.config/containers/registries.conf.d"
        (("system", "system_20", "system_10"), "system_20"),
        (("system", "system_20", "user_10"), "user_10"),
        # "only files with the .conf suffix are loaded"
        (("system", "system_other"), "system"),
        # "If the $HOME/.config/containers/registries.conf is loaded, only the conf files under
        # $HOME/.config/containers/registries.conf.d are loaded"
        (("system", "system_20", "user"), "user"),
        (("system", "system_20", "user", "user_10"), "user_10"),
    ])
    def test_the_file_that_decides(self, host: Path, files: tuple[str, ...], winner: str) -> None:
        # Host names know no underscores.
        write(host, **{name: search(name.replace("_", "-")) for name in files})
        assert load(str(host / "home")).search == [winner.replace("_", "-")]

    def test_a_file_named_in_the_environment_takes_the_place_of_the_main_one(self, host: Path) -> None:
        write(host, system=search("system"), user=search("user"), chosen=search("chosen"))
        assert load(str(host / "home"), str(host / PLACES["chosen"])).search == ["chosen"]

    @pytest.mark.parametrize("drop_in", ["system_10", "user_10"])
    def test_drop_ins_count_beside_a_file_named_in_the_environment(self, host: Path, drop_in: str) -> None:
        # As buildah 1.28.2 does; the manual does not say.
        write(host, chosen=search("chosen"), **{drop_in: search("drop-in")})
        assert load(str(host / "home"), str(host / PLACES["chosen"])).search == ["drop-in"]

    def test_a_drop_in_overwrites_only_what_it_specifies(self, host: Path) -> None:
        first = search("a.example") + '[aliases]\n"x" = "b.example/x"\n'
        write(host, system=first, system_10='[aliases]\n"y" = "b.example/y"\n')
        conf = load(str(host / "home"))
        assert conf.search == ["a.example"] and conf.aliases == {"x": "b.example/x", "y": "b.example/y"}


class TestShortNames:
    def test_search_registries_are_tried_in_order(self, host: Path) -> None:
        conf = read(host, 'unqualified-search-registries = ["one.example", "two.example:5000"]\n')
        assert conf.candidates("team/app") == ["one.example/team/app", "two.example:5000/team/app"]

    def test_docker_io_means_library_where_no_namespace_is_named(self, host: Path) -> None:
        conf = read(host, search("docker.io"))
        assert conf.candidates("debian") == ["docker.io/library/debian"]
        assert conf.candidates("team/app") == ["docker.io/team/app"]

    def test_no_other_registry_has_a_library(self, host: Path) -> None:
        assert read(host, search("quay.io")).candidates("debian") == ["quay.io/debian"]

    def test_an_alias_is_used_without_consulting_the_search_registries(self, host: Path) -> None:
        conf = read(host, search("docker.io") + '[aliases]\n"fedora" = "registry.fedoraproject.org/fedora"\n')
        assert conf.candidates("fedora") == ["registry.fedoraproject.org/fedora"]
        assert conf.candidates("debian") == ["docker.io/library/debian"]

    @pytest.mark.parametrize("line", [
        '"team/app"="a.example/app"', "'team/app' = 'a.example/app'", '  "team/app"  =  "a.example/app"  # why'])
    def test_how_aliases_may_be_written(self, host: Path, line: str) -> None:
        assert read(host, f"[aliases]\n{line}\n").candidates("team/app") == ["a.example/app"]

    def test_an_alias_may_go_without_quotation_marks(self, host: Path) -> None:
        assert read(host, '[aliases]\napp-1 = "a.example/app"\n').candidates("app-1") == ["a.example/app"]

    def test_a_drop_in_overrides_an_alias(self, host: Path) -> None:
        write(host, system='[aliases]\n"x" = "a.example/x"\n', user_10='[aliases]\n"x" = "b.example/x"\n')
        assert load(str(host / "home")).candidates("x") == ["b.example/x"]

    def test_an_empty_alias_erases_an_earlier_one(self, host: Path) -> None:
        write(host, system=search("c.example") + '[aliases]\n"x" = "a.example/x"\n', system_10='[aliases]\n"x" = ""\n')
        assert load(str(host / "home")).candidates("x") == ["c.example/x"]

    def test_what_was_chosen_at_a_prompt_has_precedence(self, host: Path) -> None:
        write(
            host,
            system='[aliases]\n"x" = "a.example/x"\n',
            user_aliases='[aliases]\n  "x" = "chosen.example/x"\n',
            system_aliases='[aliases]\n  "x" = "root.example/x"\n',
        )
        assert load(str(host / "home")).candidates("x") == ["chosen.example/x"]

    def test_for_root_that_file_lies_elsewhere(self, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        write(host, user_aliases='[aliases]\n"x" = "a.example/x"\n')
        write(host, system_aliases='[aliases]\n"x" = "root.example/x"\n')
        assert load(str(host / "home")).candidates("x") == ["root.example/x"]


class TestSyntax:
    """TOML, as far as these files use it."""

    @pytest.mark.parametrize("text", [
        'unqualified-search-registries = ["a.example", "b.example"]',
        "unqualified-search-registries=['a.example','b.example',]",
        'unqualified-search-registries = [\n  "a.example", # "c.example"\n  # "d.example",\n  "b.example"\n]',
        '# unqualified-search-registries = ["c.example"]\nunqualified-search-registries = ["a.example","b.example"]# x',
        'short-name-mode = "enforcing"\n\n"unqualified-search-registries" = ["a.example", "b.example"]\n[aliases]\n',
    ])
    def test_lists(self, host: Path, text: str) -> None:
        assert read(host, text).search == ["a.example", "b.example"]

    def test_a_number_sign_within_a_string_is_no_comment(self, host: Path) -> None:
        assert read(host, 'credential-helpers = ["one#two"]').helpers == ["one#two"]

    def test_keys_of_another_table_are_not_taken_for_settings(self, host: Path) -> None:
        conf = read(host, '[other]\nunqualified-search-registries = ["a.example"]\ncredential-helpers = ["x"]\n')
        assert (conf.search, conf.helpers) == ([], [])

    def test_version_1_is_still_supported(self, host: Path) -> None:
        conf = read(host, VERSION_1)
        assert conf.search == ["registry1.com", "registry2.com"] and conf.insecure == {"registry3.com"}
        assert not conf.mirrors


class TestRegistries:
    def test_the_example_of_the_manual(self, host: Path) -> None:
        conf = read(host, MANUAL)
        assert conf.search == ["example.com"] and conf.mirrors
        # The insecure one is a mirror, not the registry.
        assert conf.insecure == set()

    @pytest.mark.parametrize("text, insecure", [
        ('location = "a.example:5000"\ninsecure = true', {"a.example:5000"}),
        ('location = "a.example"\ninsecure = false', set()),
        ('location = "a.example"', set()),
        # "the prefix field can be missing; if so, it defaults to the value of the location field"
        ('prefix = "a.example/team"\nlocation = "b.example/x"\ninsecure = true', {"a.example/team"}),
        # "With a prefix containing a wildcard [...] the location can be empty"
        ('prefix = "*.example.com"\ninsecure = true', {"*.example.com"}),
        ('location = "a.example"\nblocked = true', set()),
    ])
    def test_which_prefix_is_insecure(self, host: Path, text: str, insecure: set[str]) -> None:
        assert read(host, f"[[registry]]\n{text}\n").insecure == insecure

    def test_a_later_file_overwrites_the_table_of_a_prefix(self, host: Path) -> None:
        insecure = "".join(f'[[registry]]\nlocation = "{name}.example"\ninsecure = true\n' for name in "ab")
        write(host, system=insecure, system_10='[[registry]]\nlocation = "a.example"\ninsecure = false\n')
        assert load(str(host / "home")).insecure == {"b.example"}

    @pytest.mark.parametrize("text, mirrors", [
        ('[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "m.example"\n', True),
        ('[[registry]]\nlocation = "a.example"\nmirror = [{location = "m.example"}]\n', True),
        # "requests for the image example.com/foo/myimage:latest will actually work with [the location]"
        ('[[registry]]\nprefix = "example.com/foo"\nlocation = "internal.example/bar"\n', True),
        ('[[registry]]\nprefix = "a.example"\nlocation = "a.example"\n', False),
        ('[[registry]]\nlocation = "a.example"\nblocked = true\n', False),
        ('[[registry]]\nprefix = "*.example.com"\nblocked = true\n', False),
        ('# [[registry.mirror]]\nunqualified-search-registries = ["a.example"]\n', False),
    ])
    def test_whether_anything_is_read_from_elsewhere(self, host: Path, text: str, mirrors: bool) -> None:
        assert read(host, text).mirrors is mirrors


class TestWithoutMirrors:
    """A configuration in which every registry is reached at its own place, as pushes reach it."""

    def test_what_is_kept_and_what_is_not(self, host: Path) -> None:
        conf = read(host, MANUAL + '[[registry]]\nprefix = "a.example/x"\nlocation = "b.example"\ninsecure = true\n')
        again = read(host, conf.without_mirrors())
        assert again.insecure == {"a.example/x"} and not again.mirrors

    def test_credential_helpers_are_kept(self, host: Path) -> None:
        conf = read(host, 'credential-helpers = ["secretservice", "pass"]\n' + MANUAL)
        assert read(host, conf.without_mirrors()).helpers == ["secretservice", "pass"]

    def test_a_wildcard_gets_no_location(self, host: Path) -> None:
        # skopeo 1.9.3: rewriting reference: invalid reference format
        text = read(host, '[[registry]]\nprefix = "*.example.com"\ninsecure = true\n').without_mirrors()
        assert 'prefix = "*.example.com"' in text and "location" not in text and "insecure = true" in text

    def test_without_anything_special_it_is_empty(self, host: Path) -> None:
        assert read(host, MANUAL).without_mirrors() == ""


class TestHome:
    """The home directory that shows a lookup no mirrors."""

    def test_the_users_own_registries_conf_takes_the_drop_ins_along(self, host: Path) -> None:
        # The mirrors are in places that only a registries.conf in the home keeps from being read.
        write(host, system=MANUAL, system_10=MANUAL, user_10=MANUAL)
        home_without_mirrors(str(host / "home"), str(host / "copy"), load(str(host / "home")))
        assert load(str(host / "copy")) == RegistriesConf()

    def test_everything_else_of_the_tools_is_there(self, host: Path) -> None:
        home, copy = host / "home", host / "copy"
        write(host, user=MANUAL)
        for name in (".config/containers/auth.json", ".config/containers/certs.d/a/ca.crt", ".config/gh/hosts.yml",
                     ".docker/config.json", "documents/letter"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(name)
        home_without_mirrors(str(home), str(copy), load(str(home)))
        for name in (".config/containers/auth.json", ".config/containers/certs.d/a/ca.crt", ".config/gh/hosts.yml",
                     ".docker/config.json"):
            assert (copy / name).read_text() == name
        assert sorted(os.listdir(copy)) == [".config", ".docker"]

    def test_the_home_itself_is_not_touched(self, host: Path) -> None:
        home, copy = host / "home", host / "copy"
        write(host, user=MANUAL, user_10=MANUAL)
        home_without_mirrors(str(home), str(copy), load(str(home)))
        assert (host / USER).read_text() == MANUAL and (host / PLACES["user_10"]).read_text() == MANUAL
        assert not (copy / ".config/containers/registries.conf.d").exists()

    def test_a_home_without_settings_will_do(self, host: Path) -> None:
        (host / "home").mkdir()
        conf = RegistriesConf(insecure={"a.example"})
        home_without_mirrors(str(host / "home"), str(host / "copy"), conf)
        assert load(str(host / "copy")).insecure == {"a.example"}

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of buildah build and push (buildah-build(1), buildah-push(1), buildah-manifest-push(1))."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._build_command import (
    BuildFiles,
    build_arguments,
    image_push_arguments,
    list_push_arguments,
    push_arguments,
)
from ansible_collections.rootless.buildah.plugins.module_utils._inputs import BuildInputs, validate
from ansible_collections.rootless.buildah.plugins.module_utils._options import OPTIONS

FILES = BuildFiles("/context", "/job/Containerfile", "/job/iid", "/job/marker")
MARKER = "--secret=id=rootless-buildah-job,src=/job/marker"
BASE_NAME = "org.opencontainers.image.base.name"


def inputs(**given: Any) -> BuildInputs:
    defaults = {option.name: option.spec.get("default") for option in OPTIONS}
    return validate({**defaults, "name": "app", "containerfile_content": "FROM scratch\n", **given})


def argv(files: BuildFiles = FILES, how: Optional[dict[str, Any]] = None, **given: Any) -> list[str]:
    return build_arguments(inputs(**given), files, **(how or {}))


def added(files: BuildFiles = FILES, how: Optional[dict[str, Any]] = None, **given: Any) -> list[str]:
    """The words that a plain build does not have, in their order."""
    plain = argv()
    return [word for word in argv(files, how, **given) if word not in plain]


def test_a_plain_build() -> None:
    """Bases are fetched before, so buildah never pulls; the id goes to a file, so nothing is tagged too early."""
    assert argv() == [
        "build",
        "--pull=never",
        "--file=/job/Containerfile",
        "--iidfile=/job/iid",
        "--layers=true",
        "--format=oci",
        MARKER,
        "/context",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"format": "docker"}, ["--format=docker"]),
        ({"layers": False}, ["--layers=false"]),
        ({"nocache": True}, ["--no-cache"]),
        ({"squash": True}, ["--squash"]),
        ({"rewrite_timestamp": True}, ["--rewrite-timestamp"]),
        ({"args": {"B": "2", "A": "1 x"}}, ["--build-arg=A=1 x", "--build-arg=B=2"]),
        ({"labels": {"b": "", "a": "x=y"}}, ["--label=a=x=y", "--label=b="]),
        ({"annotations": {"b": "2", "a": "1"}}, ["--annotation=a=1", "--annotation=b=2"]),
        ({"env": {"B": "2", "A": "1"}}, ["--env=A=1", "--env=B=2"]),
        ({"ssh": ["default", "key=/k"]}, ["--ssh=default", "--ssh=key=/k"]),
        ({"volumes": ["/b:/b", "/a:/a:ro"]}, ["--volume=/b:/b", "--volume=/a:/a:ro"]),
        ({"ulimits": ["nofile=1:2"]}, ["--ulimit=nofile=1:2"]),
        ({"cache_from": ["r.example/a", "r.example/b"]}, ["--cache-from=r.example/a", "--cache-from=r.example/b"]),
        ({"cache_to": ["r.example/a"]}, ["--cache-to=r.example/a"]),
        ({"target": "debug"}, ["--target=debug"]),
        ({"timestamp": 0}, ["--timestamp=0"]),
        ({"source_date_epoch": 0}, ["--source-date-epoch=0"]),
        ({"memory": "512m"}, ["--memory=512m"]),
        ({"cpu_shares": 1}, ["--cpu-shares=1"]),
        ({"cpu_period": 1000}, ["--cpu-period=1000"]),
        ({"cpu_quota": 2000}, ["--cpu-quota=2000"]),
        ({"cpuset_cpus": "0-3"}, ["--cpuset-cpus=0-3"]),
        ({"cache_ttl": "1h30m"}, ["--cache-ttl=5400.000s"]),
        ({"network": "none"}, ["--network=none"]),
        ({"network": "host"}, ["--network=host"]),
    ],
)
def test_an_option_and_its_flag(given: dict[str, Any], words: list[str]) -> None:
    assert added(**given) == words


@pytest.mark.parametrize(
    "given",
    [
        {"push": True, "name": "registry.example.com/app"},
        {"registry_username": "builder", "registry_password": "hush", "registry_auth_file": "/auth.json"},
        {"registry_ca_dir": "/certs", "registry_validate_certs": False},
        {"cache_auth_file": "/auth.json"},
        {"pull": "always"},
        {"refresh": "7d", "force": True, "retries": 9, "sign_by": "0123ABCD", "compression_format": "zstd"},
        {"extra_push_args": ["--quiet"], "outputs": [{"type": "tar", "dest": "/app.tar"}]},
        {"secrets": [{"id": "token", "value": "hush"}]},
    ],
)
def test_what_is_no_business_of_the_build(given: dict[str, Any]) -> None:
    """Above all no credentials."""
    assert argv(**given) == argv()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"platform": "linux/arm64"}, ["--platform=linux/arm64"]),
        ({"isolation": "chroot"}, ["--isolation=chroot"]),
        ({"nocache": True}, ["--no-cache"]),
        ({"apart": True}, ["--layers=false"]),
        ({"oldest_layer": 1.5}, ["--cache-ttl=1.500s"]),
        ({"oldest_layer": 0.0}, ["--cache-ttl=0.000s"]),
        ({"base_name": "docker.io/library/debian:12"}, [f"--annotation={BASE_NAME}=docker.io/library/debian:12"]),
    ],
)
def test_what_the_executor_decides(how: dict[str, Any], words: list[str]) -> None:
    assert added(how=how) == words


def test_the_cache_is_gone_around_once() -> None:
    assert added(how={"nocache": True}, nocache=True) == ["--no-cache"]


@pytest.mark.parametrize(
    ("oldest", "option", "word"),
    [(60.0, "2m", "--cache-ttl=60.000s"), (60.0, "30s", "--cache-ttl=30.000s")],
)
def test_the_shorter_of_two_ages_counts(oldest: float, option: str, word: str) -> None:
    assert added(how={"oldest_layer": oldest}, cache_ttl=option) == [word]


@pytest.mark.parametrize(
    "given",
    [{"format": "docker"}, {"annotations": {BASE_NAME: "mine"}}],
    ids=["a format without annotations", "an annotation of the user's own"],
)
def test_the_base_is_not_named(given: dict[str, Any]) -> None:
    how = {"base_name": "docker.io/library/debian:12"}
    assert argv(how=how, **given) == argv(**given)


@pytest.mark.parametrize(
    ("network", "isolation", "words"),
    [
        # Chroot isolation has no network namespace to put a step into; the executor makes one.
        ("none", "chroot", ["--isolation=chroot"]),
        ("none", "oci", ["--isolation=oci", "--network=none"]),
        ("host", "chroot", ["--isolation=chroot", "--network=host"]),
    ],
)
def test_network_and_isolation(network: str, isolation: str, words: list[str]) -> None:
    assert added(how={"isolation": isolation}, network=network) == words


def test_the_files_of_a_build() -> None:
    files = replace(
        FILES,
        ignorefile="/job/ignore",
        pins=(("debian:12", "container-image://id"), ("docs", "/docs")),
        secrets={"token": "/job/secrets/token"},
    )
    assert added(files) == [
        "--ignorefile=/job/ignore",
        "--build-context=debian:12=container-image://id",
        "--build-context=docs=/docs",
        "--secret=id=token,src=/job/secrets/token",
    ]


@pytest.mark.parametrize("cache", ["cache_from", "cache_to"])
def test_a_cache_is_reached_with_its_own_credentials_and_the_registries_settings(cache: str) -> None:
    given: dict[str, Any] = {
        cache: ["registry.example.com/cache"],
        "cache_auth_file": "/cache.json",
        "registry_auth_file": "/auth.json",
        "registry_validate_certs": False,
    }
    assert added(replace(FILES, certificates="/certs"), **given)[1:] == [
        "--authfile=/cache.json",
        "--cert-dir=/certs",
        "--tls-verify=false",
    ]


def test_further_flags_stand_behind_all_others_so_that_they_win() -> None:
    words = argv(extra_build_args=["--format=docker", "--no-hosts"], squash=True, network="host")
    assert words[-3:] == ["--format=docker", "--no-hosts", "/context"]


class TestPush:
    def test_a_plain_push(self) -> None:
        assert push_arguments(inputs(), "/job/digest") == ["--digestfile=/job/digest"]
        assert image_push_arguments(inputs()) == []

    def test_a_signature(self) -> None:
        assert push_arguments(inputs(sign_by="0123ABCD"), "/job/digest")[1:] == ["--sign-by=0123ABCD"]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"compression_format": "zstd"}, ["--compression-format=zstd"]),
            ({"compression_level": 0}, ["--compression-level=0"]),
            (
                {"compression_format": "gzip", "compression_level": 9},
                ["--compression-format=gzip", "--compression-level=9"],
            ),
        ],
    )
    def test_the_compression_of_a_single_image(self, given: dict[str, Any], words: list[str]) -> None:
        assert image_push_arguments(inputs(**given)) == words
        assert push_arguments(inputs(**given), "/job/digest") == ["--digestfile=/job/digest"]

    # buildah-manifest-push(1) calls Docker's format v2s2.
    @pytest.mark.parametrize(("image_format", "word"), [("oci", "--format=oci"), ("docker", "--format=v2s2")])
    def test_a_list_has_the_format_of_its_images(self, image_format: str, word: str) -> None:
        assert list_push_arguments(inputs(format=image_format)) == [word]

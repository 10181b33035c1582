# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Native scripts: what they get, what they may not do, what they leave; and builds that fail or are disturbed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rootless.buildah.tests.integration.harness import Builder, Registry

COMMIT = 'buildah commit --quiet "$c" "$IMAGE" >/dev/null\n'


@pytest.fixture
def name(request: pytest.FixtureRequest, registry: Registry) -> str:
    """An image that no other test has."""
    test = "".join(letter if letter.isalnum() else "-" for letter in request.node.name).strip("-").lower()
    return f"{registry.address}/scripts/{test}:1"


@pytest.fixture
def login(registry: Registry) -> dict[str, Any]:
    return {**registry.login, "retries": 1, "retry_delay": "10ms"}


def containers(builder: Builder) -> str:
    """Return what a run could leave in the store: working containers, and names of its own."""
    return builder.sh("buildah containers --quiet --all; buildah images | grep rootless-buildah-job || true")


def mounts(builder: Builder) -> str:
    return builder.sh("buildah unshare -- buildah mount")


def refused(builder: Builder, name: str, login: dict[str, Any], script: str, **options: Any) -> dict[str, Any]:
    """Run a script that must fail, and expect that it left nothing behind."""
    before = containers(builder)
    result = builder.module("buildah_build", name=name, script=script, push=True, **login, **options)
    assert result["failed"] and "exception" not in result and "Traceback" not in json.dumps(result), result
    assert containers(builder) == before and mounts(builder) == ""
    assert builder.sh(f"buildah images --quiet {name} 2>/dev/null || true") == ""
    assert list((builder.state / "jobs").iterdir()) == []
    return result


def test_variables_and_pinned_bases_reach_the_script(
    builder: Builder, registry: Registry, base: str, login: dict[str, Any], name: str
) -> None:
    script = (
        'c=$(buildah from "$BASE")\nm=$(buildah mount "$c")\n'
        'printf "%s\\n" "$BASE" "$GREETING" "$PLATFORM" >"$m/told"\n' + COMMIT
    )
    result = builder.build(
        name=name, script=script, args={"GREETING": "hello; $(id)"}, base_images={"BASE": base}, push=True, **login
    )
    digest = registry.digest("base/busybox", "1")
    told = builder.image_file(name, "told").splitlines()
    assert told == [f"{base.rpartition(':')[0]}@{digest}", "hello; $(id)", told[2]]
    assert told[2].startswith("linux/")
    assert result["base_images"] == {base: digest}
    assert containers(builder) == ""


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("buildah from {other}", "the script uses the base image {other}, which base_images does not declare"),
        ("c=$(buildah from scratch); buildah copy --from={other} $c /bin/sh /", "copies from the image {other}"),
        ("c=$(buildah from scratch); buildah add --from {other} $c /bin/sh /", "copies from the image {other}"),
        ("buildah pull {other}", "cannot call buildah pull"),
        ("buildah push {other}", "cannot call buildah push"),
        ("buildah login {other}", "cannot call buildah login"),
        ("buildah bud .", "cannot call buildah bud"),
    ],
    ids=["from", "copy", "add", "pull", "push", "login", "bud"],
)
def test_what_is_not_declared_is_refused_by_name(
    builder: Builder, registry: Registry, base: str, login: dict[str, Any], name: str, line: str, word: str
) -> None:
    result = refused(builder, name, login, line.format(other=base) + "\n")
    assert word.format(other=base) in result["msg"], result["msg"]


def test_mount_and_unshare_mount_work_and_nothing_stays_mounted(
    builder: Builder, login: dict[str, Any], name: str
) -> None:
    script = (
        'c=$(buildah from scratch)\nm=$(buildah mount "$c")\nmkdir "$m/etc"\necho one >"$m/etc/one"\n'
        'buildah umount "$c"\n'
        'buildah unshare --mount ROOT="$c" sh -c \'echo two >"$ROOT/etc/two"; chown 5:6 "$ROOT/etc/two"\'\n' + COMMIT
    )
    builder.build(name=name, script=script, push=True, **login)
    assert [builder.image_file(name, f"etc/{file}") for file in ("one", "two")] == ["one\n", "two\n"]
    assert mounts(builder) == "" and containers(builder) == ""


def test_stages_and_conditions(builder: Builder, base: str, login: dict[str, Any], name: str) -> None:
    """The first container builds, the second keeps only the result; a variable decides what."""
    script = (
        'b=$(buildah from "$BASE")\n'
        'if [ "$KIND" = long ]; then buildah run "$b" -- sh -c "echo long >/made"; else exit 7; fi\n'
        'c=$(buildah from scratch)\nbuildah copy --quiet --from="$b" "$c" /made /kept\n'
        'i=$(buildah commit --quiet "$b" localhost/scripts-stage:1)\nd=$(buildah from localhost/scripts-stage:1)\n'
        'buildah rm "$d" >/dev/null\n' + COMMIT + "buildah rmi localhost/scripts-stage:1 >/dev/null 2>&1 || true\n"
    )
    options = {"name": name, "script": script, "base_images": {"BASE": base}, "push": True, **login}
    builder.build(args={"KIND": "long"}, **options)
    assert builder.image_file(name, "kept") == "long\n"
    assert containers(builder) == ""


def test_the_first_line_chooses_the_interpreter(builder: Builder, login: dict[str, Any], name: str) -> None:
    script = (
        "#!/usr/bin/python3 -B\nimport os, subprocess, sys\n"
        "def buildah(*words): return subprocess.run(['buildah', *words], check=True, text=True, "
        "stdout=subprocess.PIPE).stdout.strip()\n"
        "c = buildah('from', 'scratch')\n"
        "open(buildah('mount', c) + '/flag', 'w').write(str(sys.dont_write_bytecode))\n"
        "buildah('commit', '--quiet', c, os.environ['IMAGE'])\n"
    )
    builder.build(name=name, script=script, push=True, **login)
    assert builder.image_file(name, "flag") == "True"


def test_artifacts_arrive_whole_and_an_altered_one_is_made_again(
    builder: Builder, login: dict[str, Any], name: str
) -> None:
    places = builder.home / "artifacts-of-scripts"
    script = (
        'c=$(buildah from scratch)\nmkdir "$ARTIFACTS/sub"\nhead -c 3000000 /dev/zero >"$ARTIFACTS/sub/big"\n'
        'echo "$V" >"$ARTIFACTS/small-$V"\n' + COMMIT
    )
    wanted = {"name": name, "script": script, "args": {"V": "1.2"}, "artifacts": str(places), "push": True, **login}
    assert builder.build(**wanted)["changed"]
    found = sorted(str(path.relative_to(places)) for path in places.rglob("*") if path.is_file())
    assert found == ["small-1.2", "sub/big"]
    assert hashlib.sha256((places / "sub/big").read_bytes()).digest() == hashlib.sha256(bytes(3000000)).digest()
    assert (places / "small-1.2").stat().st_uid == builder.uid
    assert not builder.build(**wanted)["changed"]
    for disturb in (lambda: (places / "small-1.2").write_text("9\n"), (places / "small-1.2").unlink):
        disturb()
        predicted, result = builder.module("buildah_build", check=True, **wanted), builder.build(**wanted)
        assert predicted["reasons"] == result["reasons"] == [{"reason": "artifact", "name": "small-1.2"}]
        assert (places / "small-1.2").read_text() == "1.2\n" and predicted["changed"] and result["changed"]
        assert not builder.build(**wanted)["changed"]


def test_a_script_that_fails_publishes_nothing(
    builder: Builder, registry: Registry, login: dict[str, Any], name: str
) -> None:
    places = builder.home / "artifacts-of-a-failure"
    script = (
        'c=$(buildah from scratch)\necho one >"$ARTIFACTS/one"\n' + COMMIT + "echo last words >&2\nfalse\necho never\n"
    )
    result = refused(builder, name, login, script, artifacts=str(places))
    assert f"the native script of {name} ended with exit status 1" in result["msg"]
    assert result["cause"] == "last words" and "last words" in result["stderr"]
    log = Path(result["remedy"].rpartition(" ")[2].rstrip("."))
    assert "last words" in log.read_text() and "never" not in log.read_text()
    assert not places.exists() and registry.tags(name.partition("/")[2].rpartition(":")[0]) == []


def test_a_script_that_commits_nothing_is_told_how(builder: Builder, login: dict[str, Any], name: str) -> None:
    result = refused(builder, name, login, "c=$(buildah from scratch)\n")
    assert result["msg"].startswith("the script committed no image.")
    assert 'buildah commit "$container" "$IMAGE"' in result["remedy"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"args": {"IMAGE": "x"}}, "'IMAGE' cannot be a variable"),
        ({"args": {"not a name": "x"}}, "'not a name' cannot be a variable"),
        ({"labels": {"a": "b"}}, "takes no labels"),
        ({"args": {"B": "x"}, "base_images": {"B": "localhost/x"}}, "both define B"),
    ],
    ids=["reserved", "malformed", "labels", "twice"],
)
def test_options_that_a_script_cannot_honour(
    builder: Builder, login: dict[str, Any], name: str, options: dict[str, Any], words: str
) -> None:
    assert words in refused(builder, name, login, "true\n", **options)["msg"]


def test_a_context_that_moves_during_the_build_is_neither_recorded_nor_pushed(
    builder: Builder, registry: Registry, login: dict[str, Any], name: str
) -> None:
    """The script itself writes to its context: the surest way to move it at the right moment."""
    context = builder.context("moving-context", {"data": "one"})
    script = 'c=$(buildah from scratch)\nbuildah copy --quiet "$c" . /\necho two >data\n' + COMMIT
    before = sorted(path.name for path in (builder.state / "records").iterdir())
    result = refused(builder, name, login, script, path=str(context))
    assert result["msg"].startswith(f"the build context of {name} changed while it was built.")
    assert "nothing was recorded or pushed" in result["cause"] and result["remedy"].startswith("Stop what writes there")
    assert sorted(path.name for path in (builder.state / "records").iterdir()) == before
    assert registry.tags(name.partition("/")[2].rpartition(":")[0]) == []


def test_a_run_step_that_fails_is_named_with_its_last_words(
    builder: Builder, registry: Registry, base: str, login: dict[str, Any], name: str
) -> None:
    context = builder.context(
        "failing-run",
        {"Containerfile": f"FROM {base}\nRUN echo fine\nRUN echo last words >&2; exit 3\nRUN echo never\n"},
    )
    result = builder.module("buildah_build", name=name, path=str(context), push=True, **login)
    assert result["failed"] and "exception" not in result
    assert "RUN echo last words >&2; exit 3" in result["msg"], result["msg"]
    assert f"of {name} ended with exit status 3" in result["msg"], result["msg"]
    assert "last words" in result["stderr"]
    log = next(Path(word.rstrip(".")) for word in result["msg"].split() if word.startswith(f"{builder.state}/logs/"))
    assert "last words" in log.read_text() and "echo never" not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    assert registry.tags(name.partition("/")[2].rpartition(":")[0]) == [] and containers(builder) == ""

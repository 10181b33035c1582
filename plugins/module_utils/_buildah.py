# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door to buildah: local images, pulls, builds and pushes."""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import shutil
import time
from dataclasses import replace
from typing import Any, Callable, Mapping, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._build_command import MARKER_SECRET
from ansible_collections.rootless.buildah.plugins.module_utils._confinement import (
    LENT_ROOT_UNSHARE,
    Confinement,
)
from ansible_collections.rootless.buildah.plugins.module_utils._errors import CommandError
from ansible_collections.rootless.buildah.plugins.module_utils._half_made import abandoned, half_made
from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName
from ansible_collections.rootless.buildah.plugins.module_utils._options import Version
from ansible_collections.rootless.buildah.plugins.module_utils._patience import Patience
from ansible_collections.rootless.buildah.plugins.module_utils._process import (
    Completed,
    LineReader,
    Runner,
    running_since,
)
from ansible_collections.rootless.buildah.plugins.module_utils._registry import Access, explained
from ansible_collections.rootless.buildah.plugins.module_utils._user import is_lent_root, may_mount


class Buildah:
    """Calls buildah.

    :param access: how registries are reached by pulls and pushes.
    :param patience: with registries that are out of order for a moment.
    :param program: buildah, with global flags if need be.
    """

    def __init__(
        self,
        runner: Runner,
        access: Access,
        patience: Patience,
        program: Sequence[str] = ("buildah",),
    ) -> None:
        self._runner = runner
        self._access = access
        self._patience = patience
        self.program = list(program)

    def version(self) -> Version:
        """Return buildah's version, for example ``(1, 28, 2)``."""
        text = self._run(["--version"]).text
        match = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", text)
        if not match:
            raise CommandError("buildah tells no version", [*self.program, "--version"], 0, text)
        return tuple(int(part) for part in match.groups("0"))

    def image_id(self, name: str) -> Optional[str]:
        """Return the full id of a local image, 64 hexadecimal digits, or None when there is none of that name.

        A pull that was killed at its very end leaves an image that lacks a part; it is as good as none, and the next
        pull makes it whole.
        """
        done = self._run(["inspect", "--type=image", "--format={{.FromImageID}}", name], check=False)
        if done.rc == 0:
            return done.text.strip()
        if "image not known" in done.stderr or "consider removing the image to resolve the issue" in done.stderr:
            return None
        raise self._failed(done, f"cannot look up {name} in the local store")

    def platform(self, image_id: str) -> str:
        """Return a local image's platform as ``os/arch[/variant]``."""
        config = json.loads(self._run(["inspect", "--type=image", image_id]).text)["OCIv1"]
        return "/".join(config[name] for name in ("os", "architecture", "variant") if config.get(name))

    def docker_config(self, image_id: str) -> dict[str, Any]:
        """Return a local image's configuration as buildah reads it, with what OCI's format does not know."""
        return dict(json.loads(self._run(["inspect", "--type=image", image_id]).text)["Docker"])

    def manifest_digest(self, name: str) -> str:
        """Return the digest of a local image's manifest; of one that was pulled from an index that of its own entry."""
        return self._run(["inspect", "--type=image", "--format={{.FromImageDigest}}", name]).text.strip()

    def list_id(self, name: str) -> Optional[str]:
        """Return the id of what a full local name means, a manifest list included, or None when it means nothing.

        Every other look-up takes the host's own image out of a list.
        """
        return next((found for found, full in self._named(name) if full == name), None)

    def names(self, prefix: str) -> list[str]:
        """Return the full names in the local store that begin with ``prefix``."""
        return [full for _id, full in self._named(f"{prefix}*") if full.startswith(prefix)]

    def _named(self, pattern: str) -> list[tuple[str, str]]:
        """Return id and full name of images with a name that matches, under all of their names."""
        form = "{{.ID}} {{.Name}}:{{.Tag}}"
        # Without --all, buildah 1.28 looks for children and fails on a store with a manifest list and an image that has
        # no layer.
        lines = self._run(
            ["images", "--all", "--noheading", "--no-trunc", "--format", form, "--filter", f"reference={pattern}"]
        ).text.splitlines()
        # Columns are padded.
        pairs = [line.split() for line in lines]
        return [(found.partition(":")[2] or found, full) for found, full in pairs]

    def is_list(self, name: str) -> bool:
        """Return whether a name or an id is that of a local manifest list."""
        return self._run(["manifest", "exists", name], check=False).rc == 0

    def list_content(self, name: str) -> str:
        """Return a local manifest list as text; equal lists give equal texts, whatever their ids."""
        return self._run(["manifest", "inspect", name]).text

    def image_ids(self) -> set[str]:
        """Return the ids of all local images, intermediate ones included."""
        return {
            line.partition(":")[2] or line
            for line in self._run(["images", "--all", "--quiet", "--no-trunc"]).text.split()
        }

    def pull(self, image: ImageName, platform: Optional[str] = None, signature_policy: Optional[str] = None) -> str:
        """Pull an image and return its local id."""
        flags = [f"--platform={platform}"] if platform else []
        argv = ["pull", "--quiet", "--retry=0", *flags, *self._access.flags(), f"docker://{image}"]
        done = self._patience.call(lambda: self._run(argv, check=False), image)
        if done.rc != 0:
            raise explained(CommandError("", done.argv, done.rc, done.text, done.stderr), image, "pull", self._access)
        return done.text.split()[-1]

    def tag(self, image_id: str, name: str) -> None:
        """Give a local image one more name; the name moves if another image had it."""
        self._run(["tag", image_id, name])

    def untag(self, name: str) -> None:
        """Take a name from a local image or manifest list, which goes itself when nothing else names it.

        :raises CommandError: when a working container uses an image that has no other name.
        """
        # With the name of a list, rmi would remove the image of this host's platform that it lists.
        done = self._run(["manifest", "rm", name], check=False)
        if "not a manifest list" in done.stderr:
            done = self._run(["rmi", name], check=False)
        if done.rc != 0 and "image not known" not in done.stderr:
            last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1].strip()
            raise CommandError(
                f"{name} cannot be removed",
                done.argv,
                done.rc,
                done.text,
                done.stderr,
                last,
                "Remove what uses it first",
            )

    def push(self, image_id: str, target: ImageName, flags: Sequence[str]) -> None:
        """Push a local image."""
        self._push(["push", "--quiet", "--retry=0", *self._access.flags(), *flags, image_id], target)

    def pack(self, image_id: str, directory: str, flags: Sequence[str]) -> None:
        """Write a local image as it would be pushed into an empty directory (``dir:`` of containers-transports(5))."""
        self._run(["push", "--quiet", *flags, image_id, f"dir:{directory}"])

    def create_list(self, name: str, image_ids: Sequence[str]) -> str:
        """Make a manifest list of local images under a name that is free and return its id."""
        return self._run(["manifest", "create", name, *image_ids]).text.split()[-1]

    def push_list(self, name: str, target: ImageName, flags: Sequence[str]) -> None:
        """Push a manifest list with everything it lists."""
        self._push(["manifest", "push", "--quiet", "--all", *self._access.flags(), *flags, name], target)

    def _push(self, argv: Sequence[str], target: ImageName) -> None:
        done = self._patience.call(lambda: self._run([*argv, f"docker://{target}"], check=False), target)
        if done.rc != 0:
            raise explained(
                CommandError("", done.argv, done.rc, done.text, done.stderr), target, "push to", self._access
            )

    def export(self, image_id: str, kind: str, path: str) -> None:
        """Write a local image as an archive or layout of a containers-transports(5) kind."""
        self._run(["push", "--quiet", image_id, f"{kind}:{path}"])

    def export_files(self, image_id: str, path: str, container: str, as_tar: bool) -> None:
        """Write the image's root file system as a tar archive or into a new directory.

        :param container: the name of the working container that this takes; it is free.
        """
        script = (
            f'buildah() {{ command {shlex.join(self.program)} "$@"; }}; '
            'c=$(buildah from --pull-never --name "$2" "$0") || exit; m=$(buildah mount "$c") && '
            + ('tar -C "$m" --numeric-owner --sort=name -cf "$1" .' if as_tar else 'mkdir "$1" && cp -a "$m/." "$1/"')
            + '; rc=$?; buildah rm "$c" >/dev/null; exit $rc'
        )
        done = self._runner.run([*self._unshared(), "/bin/sh", "-c", script, image_id, path, container], check=False)
        if done.rc != 0:
            raise self._failed(done, f"cannot export the files of {image_id}")

    def _unshared(self) -> list[str]:
        """Return what runs a command with all ids of the user and with mounts of its own.

        ``buildah unshare`` is not for a root: neither for one who may mount, nor for one whom a pod has lent its ids.
        """
        if may_mount():
            return ["unshare", "--mount", "--"]
        if is_lent_root():
            return [*LENT_ROOT_UNSHARE, "--"]
        # By its path: a native script's PATH begins with what stands in for buildah.
        path = self._runner.environment.get("PATH")
        return [shutil.which(self.program[0], path=path) or self.program[0], *self.program[1:], "unshare", "--"]

    def confined(
        self,
        command: Sequence[str],
        confinement: Confinement,
        *,
        script: str,
        env: Optional[Mapping[str, str]] = None,
        cwd: str = "/",
        on_line: Optional[LineReader] = None,
    ) -> Completed:
        """Run a command in a user namespace with a limited sight of the host; does not raise on failure.

        :param script: the path of a file that may be written for this.
        """
        with open(script, "w", encoding="utf-8", errors="surrogateescape") as file:
            # The shell stays to hold the inherited lock; the build must not, or a RUN step could release it.
            file.write(confinement.script(cwd, self._runner.inherit))
        argv = [*self._unshared(), "/bin/sh", script, *command]
        done = self._runner.run(argv, env=env, on_line=on_line, check=False, alone=True)
        return replace(done, argv=list(command))

    def _roots(self) -> tuple[str, str]:
        """Return the directories of the image store: for what lasts, and for what a reboot takes."""
        store = json.loads(self._run(["info"]).text)["store"]
        return str(store["GraphRoot"]), str(store["RunRoot"])

    def left_containers(self, is_ours: Callable[[str], bool], since: float) -> list[str]:
        """Return the ids of working containers that a run has left, for :meth:`remove_containers`.

        :param is_ours: tells it by the job marker of those that buildah knows.
        :param since: when the run began, in seconds since the epoch; for those that were being made when their program
            was killed.
        """
        graph_root, run_root = self._roots()
        looked, busy_since = time.time(), running_since("buildah", "podman")
        halves = abandoned(half_made(graph_root, run_root), since=since, looked=looked, busy_since=busy_since)
        return [half.id for half in halves if half.complete()] + self._marked(graph_root, is_ours)

    @staticmethod
    def _marked(graph_root: str, is_ours: Callable[[str], bool]) -> list[str]:
        found = []
        for path in glob.glob(os.path.join(glob.escape(graph_root), "*-containers", "*", "userdata", "buildah.json")):
            try:
                with open(path, encoding="utf-8") as file:
                    container = json.load(file)
            except (OSError, ValueError):
                continue
            secrets = (container.get("CommonBuildOpts") or {}).get("Secrets") or ()
            marker = f"id={MARKER_SECRET},src="
            if any(text.startswith(marker) and is_ours(text[len(marker) :]) for text in secrets):
                found.append(str(container.get("container-id")))
        return found

    def remove_containers(self, ids: Sequence[str]) -> None:
        """Remove working containers, those that are gone already included."""
        for container in ids:
            self._run(["rm", container], check=False)

    def remove_tree(self, path: str) -> None:
        """Remove a directory that may hold files of subordinate ids."""
        self._runner.run([*self._unshared(), "rm", "-rf", "--", path], check=False)

    def _run(
        self,
        arguments: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        cwd: str = "/",
        on_line: Optional[LineReader] = None,
        check: bool = True,
    ) -> Completed:
        done = self._runner.run([*self.program, *arguments], env=env, cwd=cwd, on_line=on_line, check=False)
        if check and done.rc != 0:
            raise self._failed(done, f"buildah {arguments[0]} failed")
        return done

    @staticmethod
    def _failed(done: Completed, message: str) -> CommandError:
        last = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        return CommandError(message, done.argv, done.rc, done.text, done.stderr, cause=last[0])

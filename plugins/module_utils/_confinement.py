# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build gets to see of its host. Reads directories; touches neither Ansible nor processes.

Under chroot isolation a RUN step can leave its root. It is still the builder user then, but it lacks the capability to
mount or unmount, so what was taken out of sight in the build's mount namespace stays there.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import dataclass
from typing import Iterable, Mapping, Optional, Sequence

# Directories where everybody's programs leave things at any time, Ansible its tasks' arguments.
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
_ANSIBLE = re.compile(r"\.?ansible[-_.]")
_OTHER_SECRETS = re.compile(r"ssh-|krb5cc|tmux-|keyring|gpg-|rootless-buildah-\d+-")
# What buildah, its runtimes and their network helpers keep in the runtime directory. Sockets of other programs, the
# user's service manager first of all, would run commands outside of the build.
_RUNTIME = re.compile(r"(containers|libpod|networks|crun|runc|netns|buildah.*|overlay.*)\Z")
# Of a run's own directory, what only the run itself uses; its authfiles come and go there.
_RUN_ONLY = re.compile(r"(auth-.*|alive|sessions|scratch|home|outside|exports|job\.json)\Z")

#: A user and mount namespace with all ids that a pod has, for the root whom the pod has lent them: util-linux 2.42. The
#: capabilities are kept for what comes next: under no_new_privs a program starts with no others.
LENT_ROOT_UNSHARE = (
    "unshare", "--user", "--mount", "--map-users=0:0:65536", "--map-groups=0:0:65536", "--keep-caps",
)  # fmt: skip

# `keep DIRECTORY MODE NAME...` leaves nothing of a directory in sight but these entries, whatever else is in it or
# comes later. A mount on a single file would not do: it goes when somebody renames a new file over the old one.
_FUNCTIONS = r"""
failed() { echo "rootless.buildah: $1 cannot be hidden from the build" >&2; exit 125; }
keep() {
  place=$1; mode=$2; shift 2
  [ -d "$place" ] || return 0
  cd "$place" && mount -t tmpfs -o "mode=$mode" none "$place" || failed "$place"
  for name do
    target=$place/$name
    case $name in */*) mkdir -p "${target%/*}" || failed "$place" ;; esac
    if [ -h "./$name" ]; then cp -P "./$name" "$target"; continue
    elif [ -d "./$name" ]; then mkdir -p "$target"
    elif [ ! -e "./$name" ]; then continue
    elif [ ! -e "$target" ]; then : >"$target"
    fi
    mount -c --rbind "./$name" "$target" || [ ! -e "./$name" ] || failed "$place"
  done
  cd /
}
hide() {
  [ ! -e "$1" ] || mount --bind /dev/null "$1" || failed "$1"
}
"""

# With a process namespace of its own a build sees no other process, and what it leaves running ends with it. Where
# /proc cannot be mounted (a container that masks parts of it) there is none. The shell in between is the process 1.
_ALONE = """
if unshare --pid --fork --kill-child --mount-proc -- true 2>/dev/null; then
  set -- unshare --pid --fork --kill-child --mount-proc -- /bin/sh -c '"$@"; exit $?' sh "$@"
fi
"""


@dataclass(frozen=True)
class Confinement:
    """Limits of a build's sight.

    :param only: directories with the paths below them that stay in sight, relative to them.
    :param files: files that appear empty.
    :param modes: permissions of the directories in ``only``.
    :param alone: a process namespace of its own, where that is to be had.
    :param offline: a network namespace of its own: only a loopback that is down.
    """

    only: Mapping[str, tuple[str, ...]]
    files: tuple[str, ...] = ()
    modes: Optional[Mapping[str, int]] = None
    alone: bool = False
    offline: bool = False

    def script(self, cwd: str, close: Sequence[int] = ()) -> str:
        """Return a shell script that confines itself and then runs its arguments.

        It runs in ``buildah unshare`` and stays for as long as the command does.

        :param cwd: working directory of the command.
        :param close: descriptors of one digit that the command must not get.
        """
        lines = [_FUNCTIONS]
        for directory in sorted(self.only):
            words = [directory, format((self.modes or {}).get(directory, 0o700), "o"), *self.only[directory]]
            lines.append("keep " + " ".join(shlex.quote(word) for word in words))
        lines += [f"hide {shlex.quote(file)}" for file in self.files]
        lines.append(f"cd {shlex.quote(cwd)} || exit 125")
        if self.alone:
            lines.append(_ALONE)
        if self.offline:
            lines.append('set -- unshare --net -- "$@"')
        lines.append('"$@" ' + " ".join(f"{number}>&-" for number in close))
        return "\n".join(lines) + "\nexit $?\n"


def confine(
    *,
    hide: Sequence[str],
    needed: Sequence[str],
    home: str,
    runtime: Optional[str],
    state: str,
    job: str,
    chroot: bool,
    offline: bool = False,
) -> Confinement:
    """Return the confinement of a build as of now.

    :param hide: files and directories that hold secrets.
    :param needed: files and directories that the build was told to use; they stay in sight wherever they are.
    :param home: the builder user's home directory.
    :param runtime: his XDG_RUNTIME_DIR.
    :param state: the directory with all runs' memory.
    :param job: this run's directory below ``state``.
    :param chroot: RUN steps are able to leave their root.
    """
    needs = [os.path.realpath(path) for path in needed]
    only: dict[str, tuple[str, ...]] = {}
    files = []

    def restrict(directory: str, stays: Sequence[str]) -> None:
        place = os.path.realpath(directory)
        # A directory inside of what the user handed to the build is his explicit wish.
        if os.path.isdir(place) and not any(inside(place, need) for need in needs):
            wanted = {os.path.relpath(need, place) for need in needs if inside(need, place)}
            only[place] = _topmost(wanted.union(only.get(place, stays)))

    for path in hide:
        if os.path.isdir(path):
            restrict(path, ())
        elif os.path.exists(path) and not any(inside(os.path.realpath(path), need) for need in needs):
            files.append(os.path.realpath(path))
    here = os.path.relpath(job, state)
    settings = [name for name in _names(state) if name.startswith("storage-")]
    restrict(state, settings + [f"{here}/{name}" for name in _names(job) if not _RUN_ONLY.match(name)])
    configuration = os.path.join(home, ".config/containers")
    restrict(configuration, [name for name in _names(configuration) if "auth.json" not in name and name != "certs.d"])
    if chroot:
        if runtime:
            restrict(runtime, [name for name in _names(runtime) if _RUNTIME.match(name)])
            logins = os.path.join(runtime, "containers")
            restrict(logins, [name for name in _names(logins) if "auth.json" not in name])
        # Where the builder user lives stays in sight, whatever it is called.
        lives = [os.path.realpath(path) for path in (home, state)]
        for place in map(os.path.realpath, _TEMPORARY):
            stays = [name for name in _names(place) if _harmless(place, name)]
            restrict(place, stays + [os.path.relpath(path, place) for path in lives if inside(path, place)])
    modes = {directory: stat.S_IMODE(os.stat(directory).st_mode) for directory in only}
    return Confinement(only, tuple(dict.fromkeys(files)), modes, alone=chroot, offline=offline)


def _topmost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return paths without those that lie below another of them."""
    found: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not (found and inside(path, found[-1])):
            found.append(path)
    return tuple(found)


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _harmless(directory: str, name: str) -> bool:
    """Whether an entry of a directory for everybody's temporary files stays in sight."""
    if _ANSIBLE.match(name) or _OTHER_SECRETS.match(name):
        return False
    path = os.path.join(directory, name)
    # What the user can neither read nor pass through would only cost a mount.
    return os.access(path, os.R_OK) or os.access(path, os.X_OK)


def inside(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies below it; both are resolved already."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")

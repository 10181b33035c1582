# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what a machine looks like, as JSON: run before and after, the two must be equal. Standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from typing import Callable, Iterator

# Backups and locks that shadow's tools leave, caches that the package manager's triggers write.
PASSING = {
    "/etc/.pwd.lock", "/etc/group-", "/etc/gshadow-", "/etc/ld.so.cache", "/etc/machine-id", "/etc/passwd-",
    "/etc/resolv.conf", "/etc/shadow-", "/etc/subgid-", "/etc/subuid-",
}  # fmt: skip


def walk(top: str, deep: bool = True) -> Iterator[str]:
    for entry in sorted(os.scandir(top), key=lambda entry: entry.name):
        yield entry.path
        if deep and entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)


def of_file(path: str) -> str:
    status = os.lstat(path)
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
    return f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid} {content}".strip()


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def files() -> dict[str, str]:
    # The links in rcN.d serve no machine that runs systemd, and one that runs nothing neither.
    found = (path for path in walk("/etc") if path not in PASSING and not re.match(r"/etc/rc\w\.d/", path))
    return {path: of_file(path) for path in found}


def places() -> dict[str, str]:
    found: dict[str, str] = {}
    for top in ("/home", "/opt", "/usr/local", "/var/lib", "/var/tmp", "/tmp", "/run/user", "/var/log", "/srv"):
        if os.path.isdir(top):
            for path in walk(top, deep=top == "/usr/local"):
                found[re.sub(r"(/systemd-private-)[0-9a-f]+-(.*)-\w{6}$", r"\1\2", path)] = "present"
    if os.path.isdir("/var/lib/systemd/linger"):
        found.update(dict.fromkeys(walk("/var/lib/systemd/linger"), "present"))
    return found


def settings() -> dict[str, str]:
    names = ["kernel/unprivileged_userns_clone", "kernel/apparmor_restrict_unprivileged_userns"]
    names += [f"user/{name}" for name in os.listdir("/proc/sys/user")] + ["net/ipv4/ping_group_range"]
    found = {}
    for name in names:
        if os.path.exists(f"/proc/sys/{name}"):
            with open(f"/proc/sys/{name}", encoding="ascii") as file:
                found[name] = file.read().strip()
    return found


def units() -> dict[str, str]:
    if not os.path.isdir("/run/systemd/system"):
        return {}
    found = {}
    for line in output("systemctl", "list-unit-files", "--no-legend", "--plain").splitlines():
        name, state = line.split()[:2]
        found[name] = state
    active = output(
        "systemctl", "list-units", "--no-legend", "--plain", "--type=service,socket,timer,mount", "--state=active"
    )
    for line in active.splitlines():
        found[f"active {line.split()[0]}"] = "yes"
    return found


def processes() -> dict[str, str]:
    """Programs that run, by name; what was started to run this is left out."""
    mine, pid = set(), os.getpid()
    while pid > 1:
        mine.add(pid)
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            pid = int(file.read().rsplit(")", 1)[1].split()[1])
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) not in mine:
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    argv = file.read().split(b"\0")
            except OSError:
                continue
            found[" ".join(part.decode(errors="replace") for part in argv[:2]) or f"process {name}"] = "runs"
    return found


def listeners() -> dict[str, str]:
    found = {}
    for line in output("ss", "-H", "-l", "-n", "-t", "-u").splitlines():
        found[" ".join(line.split()[:5:4])] = "listens"
    return found


def mounts() -> dict[str, str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return {line.split()[4]: "mounted" for line in file}


def packages() -> dict[str, str]:
    shown = output("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n")
    return {line.split()[0]: line.split()[1] for line in shown.splitlines()}


PARTS: list[Callable[[], dict[str, str]]] = [
    files, places, settings, units, processes, listeners, mounts, packages,
]  # fmt: skip

if __name__ == "__main__":
    json.dump({part.__name__: part() for part in PARTS}, sys.stdout)

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The builder user: who runs this and with which environment programs are called. Touches no Ansible."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from typing import Optional

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError
from ansible_collections.rootless.buildah.plugins.module_utils._findings import known
from ansible_collections.rootless.buildah.plugins.module_utils._host_facts import PACKAGE_MANAGERS
from ansible_collections.rootless.buildah.plugins.module_utils._remedies import install
from ansible_collections.rootless.buildah.plugins.module_utils._shadow import parse_mapping, root_is_lent

# What buildah and skopeo may take from the caller. Everything else stays out: under become the caller's HOME and
# XDG_RUNTIME_DIR are somebody else's, and REGISTRY_AUTH_FILE or DOCKER_CONFIG would bring credentials into builds.
_PASSED_ON = (
    "PATH",
    "TZ",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CONTAINERS_REGISTRIES_CONF",
    "CONTAINERS_STORAGE_CONF",
    "CONTAINERS_CONF",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
    "BUILDAH_ISOLATION",
    "SSH_AUTH_SOCK",
    "GNUPGHOME",
)
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def home() -> str:
    """Return the home directory of the user who runs this, whatever HOME says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return os.environ.get("HOME", "/")


def runtime_dir() -> Optional[str]:
    """Return this user's own XDG_RUNTIME_DIR, or None when there is none (a login through su, no linger)."""
    for candidate in (f"/run/user/{os.getuid()}", os.environ.get("XDG_RUNTIME_DIR", "")):
        try:
            status = os.stat(candidate)
        except OSError:
            continue
        if status.st_uid == os.getuid() and stat.S_ISDIR(status.st_mode):
            return candidate
    return None


def may_mount() -> bool:
    """Return whether this is a root with the capability to mount: for buildah the one who is not rootless."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        capabilities = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    return os.geteuid() == 0 and bool(capabilities >> 21 & 1)  # CAP_SYS_ADMIN, capabilities(7)


def is_lent_root(mapping: str = "/proc/self/uid_map") -> bool:
    """Return whether this is the root of a user namespace that somebody else made, as in a pod with hostUsers: false.

    Outside of it such a root is an unprivileged user.

    :param mapping: where the kernel tells the user namespace of this process.
    """
    with open(mapping, encoding="ascii") as file:
        return os.getuid() == 0 and root_is_lent(parse_mapping(file.read()))


def temporary_dir() -> Optional[str]:
    """Return TMPDIR, or None where it is unset or closed to this user: su leaves the caller's as it is.

    With one that is closed buildah ends at once (``mkdir …/rundir/libpod: no such file or directory``).
    """
    found = os.environ.get("TMPDIR", "")
    return found if os.access(found, os.W_OK | os.X_OK) else None


def buildah_runtime_dir() -> str:
    """Return what buildah takes for XDG_RUNTIME_DIR where there is none (containers/storage, GetRootlessRuntimeDir)."""
    return os.path.join(temporary_dir() or "/var/tmp", f"containers-user-{os.getuid()}", "containers")


def environment() -> dict[str, str]:
    """Return the environment for all programs."""
    found = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    found["PATH"] = found.get("PATH", "") + ":" + _SYSTEM_PATH if found.get("PATH") else _SYSTEM_PATH
    found["HOME"] = home()
    places = {"TMPDIR": temporary_dir(), "XDG_RUNTIME_DIR": runtime_dir()}
    return {**found, **{name: path for name, path in places.items() if path}}


def refuse_root(allow_root: bool) -> None:
    """Refuse to build as root unless told to."""
    if os.getuid() == 0 and not allow_root and not is_lent_root():
        raise InputError(
            "this task runs as root",
            "a build as root gives RUN steps root's power over the host",
            "Run it as the builder user (become_user), or set allow_root: true",
        )


def require(program: str) -> None:
    """Raise a clear error when a program is not installed."""
    path = environment()["PATH"]
    if shutil.which(program, path=path) is None:
        package_manager = next((name for name in PACKAGE_MANAGERS if shutil.which(name, path=path)), "")
        raise InputError(
            f"{program} is not in PATH", commands=install(package_manager, program), **known("tools_missing")
        )


def credential_paths() -> list[str]:
    """Return the places of this user's credentials that exist; a build must not see them.

    The files of containers-auth.json(5), and what git, ssh, curl, gpg and the usual cloud clients keep.
    """
    base, directory = home(), runtime_dir()
    places = [
        os.path.join(base, name)
        for name in (
            ".config/containers/auth.json",
            ".docker",
            ".dockercfg",
            ".netrc",
            ".git-credentials",
            ".config/git/credentials",
            ".ssh",
            ".gnupg",
            ".aws",
            ".azure",
            ".kube",
            ".config/gcloud",
            ".vault-token",
            ".config/containers/certs.d",
        )
    ]
    if directory:
        places += [os.path.join(directory, "containers", "auth.json"), os.path.join(directory, "gnupg")]
    places += [os.environ[name] for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "GNUPGHOME") if name in os.environ]
    places += [f"/run/containers/{os.getuid()}/auth.json", os.path.join(buildah_runtime_dir(), "containers/auth.json")]
    return [place for place in places if os.path.exists(place)]

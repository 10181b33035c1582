# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image store a build uses, and how buildah is told (containers-storage.conf(5)). Pure."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._errors import InputError

#: The builder user's own store, one for each project, or a fresh one for each build that goes with it.
HOST, PROJECT, ISOLATED = "host", "project", "isolated"
STRATEGIES = (HOST, PROJECT, ISOLATED)
#: Where the role builder says, below the builder user's home, which strategy his builds have.
DEFAULTS = ".config/rootless.buildah/storage.json"
#: Where the stores of projects and of single builds are made unless something else is said, below the home.
STORES = ".local/share/containers/stores"
#: What builds that bring a storage.conf along use unless they say it.
DRIVER = "overlay"
#: What a graphroot has of each driver that was used in it, after the driver's name.
IMAGES = "-images"
_PROJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")


def read_defaults(text: str) -> dict[str, str]:
    """Return what a builder user's builds use when a task does not say it.

    :param text: the content of the file :data:`DEFAULTS`; empty where there is none.
    """
    try:
        found = json.loads(text or "{}")
        known = isinstance(found, dict) and set(found) <= {"strategy", "graphroot"}
        if not known or found.get("strategy", HOST) not in STRATEGIES:
            raise ValueError("it does not hold strategy and graphroot")
    except ValueError as error:
        raise InputError(
            f"~/{DEFAULTS} cannot be used", str(error), "Remove it and apply the role builder"
        ) from error
    return {name: str(value) for name, value in found.items()}


def united(given: Mapping[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    """Return the option ``storage`` with the builder user's defaults.

    A task that names a strategy or a directory means just that; the defaults would make another store of it.
    """
    known = {name: value for name, value in given.items() if value}
    return known if known.keys() & {"strategy", "graphroot"} else {**defaults, **known}


def usual_driver(buildah: Sequence[int], kernel: Sequence[int], found: Iterable[str], fuse: bool) -> str:
    """Return the driver that a user gets where nothing names one, neither STORAGE_DRIVER nor any storage.conf.

    The rules are those of containers/storage, types: getRootlessStorageOpts and canUseRootlessOverlay.

    :param buildah: its version.
    :param kernel: the version of Linux.
    :param found: the names in the user's graphroot.
    :param fuse: whether fuse-overlayfs is in PATH.
    """
    if tuple(buildah) < (1, 31):  # containers/storage 1.47
        return "vfs"
    made = (name[:-len(IMAGES)] for name in sorted(found) if name.endswith(IMAGES))
    return next(made, "overlay" if fuse or tuple(kernel) >= (5, 13) else "vfs")


@dataclass(frozen=True)
class Places:
    """Directories that stores are made in.

    :param stores: for the stores of projects and of single builds, unless the task or the role names another place.
    :param runtime: for their run-time state.
    """

    stores: str
    runtime: str


@dataclass(frozen=True)
class Store:
    """An image store.

    :param strategy: one of :data:`STRATEGIES`.
    :param graphroot: its directory; empty for the one that the builder user's storage.conf names.
    :param runroot: the directory of its run-time state; empty for the usual one.
    :param conf: a configuration file in place of the builder user's own; empty where that one serves.
    :param read_only: further stores that are looked into.
    """

    strategy: str = HOST
    graphroot: str = ""
    runroot: str = ""
    conf: str = ""
    read_only: tuple[str, ...] = ()

    @property
    def lasting(self) -> bool:
        """Whether images are there after the build."""
        return self.strategy != ISOLATED

    @property
    def flags(self) -> list[str]:
        """Buildah's global flags for this store.

        Flags leave the driver and its options to the builder user's configuration. Of a file that
        CONTAINERS_STORAGE_CONF names, buildah 1.28 ignores the runroot; with the flag for it alone it takes root's
        graphroot.
        """
        return [f"--root={self.graphroot}", f"--runroot={self.runroot}"] if self.runroot else []

    @property
    def paths(self) -> tuple[str, ...]:
        """Everything that a build has to see of it."""
        return tuple(path for path in (self.graphroot, self.runroot, *self.read_only) if path)

    @property
    def scratch(self) -> tuple[str, ...]:
        """The directories that go with the build."""
        return () if self.lasting else (self.graphroot, self.runroot)


def stores_directory(chosen: Mapping[str, Any], stores: str) -> str:
    """Return the directory that builds keep images in or below; empty for the one that storage.conf names.

    :param chosen: the module's option ``storage``, with the defaults.
    :param stores: where stores of projects and of single builds are made unless that says it.
    """
    return chosen.get("graphroot") or ("" if (chosen.get("strategy") or HOST) == HOST else stores)


def choose_store(chosen: Mapping[str, Any], places: Places, run: str = "") -> Store:
    """Return the store that is meant.

    :param chosen: the module's option ``storage``, with the defaults.
    :param run: the name of this run, for the strategy isolated.
    :raises InputError: the settings do not name a store.
    """
    strategy = chosen.get("strategy") or HOST
    read_only = tuple(chosen.get("additional_stores") or ())
    if strategy == HOST:
        graphroot, runroot = stores_directory(chosen, places.stores), chosen.get("runroot") or ""
        own = any(chosen.get(name) for name in ("driver", "graphroot", "additional_stores"))
        return Store(HOST, graphroot, runroot, storage_conf(chosen) if own else "", read_only)
    if chosen.get("runroot"):
        raise InputError(
            f"storage.runroot and storage.strategy: {strategy} exclude each other",
            "each of these stores needs a run-time state of its own",
            "Remove storage.runroot",
        )
    name = run if strategy == ISOLATED else _project(chosen.get("project"))
    above = "projects" if strategy == PROJECT else "isolated"
    conf = {name: chosen[name] for name in ("driver", "additional_stores") if chosen.get(name)}
    return Store(
        strategy,
        os.path.join(stores_directory(chosen, places.stores), above, name),
        os.path.join(places.runtime, "rootless.buildah", above, name),
        storage_conf(conf) if conf else "",
        read_only,
    )


def _project(name: Any) -> str:
    if not name:
        raise InputError(
            "storage.strategy: project needs storage.project",
            "each project has an image store of its own",
            "Name the project (build_images_project in the role build_images)",
        )
    if not _PROJECT_NAME.match(str(name)):
        raise InputError(
            f"{name!r} cannot be a project",
            "the name becomes that of a directory",
            "Use letters, digits, dots, hyphens and underscores, the first a letter or a digit",
        )
    return str(name)


def storage_conf(chosen: Mapping[str, Any]) -> str:
    """Return the configuration file for a store.

    A file instead of flags, because native scripts and the programs that buildah starts must use it too.

    :param chosen: the module's option ``storage``.
    """
    # JSON's strings and lists are TOML's.
    lines = ["[storage]", f"driver = {json.dumps(chosen.get('driver') or DRIVER)}"]
    for name, settings in {"graphroot": ("graphroot", "rootless_storage_path"), "runroot": ("runroot",)}.items():
        lines += [f"{setting} = {json.dumps(chosen[name])}" for setting in settings if chosen.get(name)]
    stores = json.dumps(list(chosen.get("additional_stores") or ()))
    return "\n".join([*lines, "[storage.options]", f"additionalimagestores = {stores}", ""])

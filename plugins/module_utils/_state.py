# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a builder user remembers on a host: records of local images, last pushes, logs. Touches no Ansible.

Everything lies below one directory and may be deleted at any time; that costs rebuilds, never wrong images.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from typing import Any, Callable, Iterable, Optional, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._record import BuildRecord, dump, read_statement

#: Logs kept of each image.
LOGS_KEPT = 10
_DAY = 86400.0  # seconds


def write_atomically(path: str, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".new-{os.getpid()}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def remove_file(path: str) -> None:
    """Remove a file; another run may have been faster."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _is_old(path: str) -> bool:
    """Whether a path was written more than a day ago, or never."""
    try:
        return time.time() - os.stat(path).st_mtime > _DAY
    except FileNotFoundError:
        return True


def _token(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


class State:
    """The memory below ``root``.

    :param root: normally ``~/.local/share/rootless.buildah``.
    :param store: what tells the image store from others; empty for the builder user's own. What is remembered of
        images is remembered for each store.
    """

    def __init__(self, root: str, store: str = "") -> None:
        of_store = f"-{_token(store)}" if store else ""
        self.root = root
        self.jobs = os.path.join(root, "jobs")
        self._records = os.path.join(root, f"records{of_store}")
        self._apart = os.path.join(root, f"apart{of_store}")
        self._looked = os.path.join(root, f"looked{of_store}")
        self._images = os.path.join(root, "images")
        self._locks = os.path.join(root, "locks")
        self._logs = os.path.join(root, "logs")
        self._triggers = os.path.join(root, "triggers")

    def prepare(self) -> None:
        """Make the directories; only their owner may look inside."""
        directories = (self._records, self._apart, self._images, self._locks, self._logs, self._triggers)
        for directory in (self.root, self.jobs, *directories):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        for depth in ("*", "*/*"):
            for leftover in glob.glob(os.path.join(glob.escape(self.root), depth, ".new-*")):
                # Written by a run that was killed: its number is in the name.
                if not os.path.exists(f"/proc/{os.path.basename(leftover).split('-')[1]}"):
                    remove_file(leftover)

    def lock_path(self, name: str) -> str:
        """Return the lock file of an image."""
        return os.path.join(self._locks, _token(name))

    # Records of local images, one file for each pair of image and key: two sets of inputs may give one image.

    def add_record(self, image_id: str, record: BuildRecord, name: str) -> None:
        """Remember what a local image was built from."""
        directory = os.path.join(self._records, image_id)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        write_atomically(
            os.path.join(directory, _token(record.key)), dump(record.statement(name, f"sha256:{image_id}"))
        )

    def records(self, image_id: Optional[str]) -> list[BuildRecord]:
        """Return the records of a local image, the newest last."""
        paths = glob.glob(os.path.join(self._records, image_id, "*")) if image_id else []
        return [record for record in (self._read(path) for path in sorted(paths, key=os.path.getmtime)) if record]

    def images_with_key(self, key: str) -> list[str]:
        """Return the ids of images that were built with a key; they may be gone from the store."""
        return [
            os.path.basename(os.path.dirname(path)) for path in glob.glob(os.path.join(self._records, "*", _token(key)))
        ]

    # Images that the layer cache must not take for others', because they were built with what it does not compare.

    def keep_apart(self, image_id: str) -> None:
        """Remember that no other build may use an image as a cached layer."""
        write_atomically(os.path.join(self._apart, image_id), b"")

    def kept_apart(self) -> frozenset[str]:
        """Return the ids of the images that :meth:`keep_apart` was told of."""
        return frozenset(os.listdir(self._apart))

    def forget_gone_images(self, present: Callable[[], Iterable[str]]) -> None:
        """Drop, once a day, what is remembered of images that the store no longer holds.

        What is younger than a day stays, for another run may just have added it.

        :param present: returns the ids of all images of the store; not called when nothing is due.
        """
        if not _is_old(self._looked):
            return
        write_atomically(self._looked, b"")
        keep = set(present())
        for directory in (self._records, self._apart):
            for image_id in set(os.listdir(directory)) - keep:
                path = os.path.join(directory, image_id)
                if not _is_old(path):
                    continue
                if os.path.isdir(path):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    remove_file(path)

    def last_images(self) -> set[str]:
        """Return the ids of the images that were last built under each name."""
        found = set()
        for path in glob.glob(os.path.join(glob.escape(self._images), "*")):
            found.add(str(_load(path).get("image_id")))
        return found

    @staticmethod
    def _read(path: str) -> Optional[BuildRecord]:
        try:
            with open(path, "rb") as file:
                return read_statement(file.read())
        except OSError:
            return None

    # What is remembered of an image's name: digests pushed, digests of what was exported.

    def memory(self, name: str) -> dict[str, Any]:
        """Return what was remembered under an image's name."""
        return _load(os.path.join(self._images, _token(name)))

    def remember(self, name: str, memory: dict[str, Any]) -> None:
        """Replace what is remembered under an image's name."""
        write_atomically(os.path.join(self._images, _token(name)), dump({"name": name, **memory}))

    # What base images hold, so that registries need not be asked again.

    def triggers(self, identity: str, platform: str) -> Optional[tuple[str, ...]]:
        """Return the ONBUILD lines of a base image, or None when they were not read yet.

        :param identity: a digest or an image's id; behind the digest of an index each platform has an image of its own.
        """
        try:
            with open(os.path.join(self._triggers, _token(f"{identity} {platform}")), encoding="utf-8") as file:
                return tuple(json.load(file)["triggers"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember_triggers(self, identity: str, platform: str, triggers: Sequence[str]) -> None:
        """Remember the ONBUILD lines of a base image."""
        about = {"base": identity, "platform": platform, "triggers": list(triggers)}
        write_atomically(os.path.join(self._triggers, _token(f"{identity} {platform}")), dump(about))

    def new_log(self, name: str) -> str:
        """Return the path of a new log file of an image; the oldest logs of that image go."""
        readable = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in name)[-60:]
        stem = os.path.join(self._logs, f"{readable}-{_token(name)[:8]}-")
        for old in sorted(glob.glob(glob.escape(stem) + "*.log"))[: -LOGS_KEPT + 1]:
            os.unlink(old)
        return f"{stem}{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"

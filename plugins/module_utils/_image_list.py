# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of images of the role build_images: what goes in, and what is told of a run. Pure."""

from __future__ import annotations

import os
import re
import shlex
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.rootless.buildah.plugins.module_utils._image_name import ImageName

_CONTEXTS = "build_images_contexts"


def wanted_images(
    images: Iterable[Mapping[str, Any]],
    defaults: Mapping[str, Any],
    registry: Mapping[str, Any],
    password: str,
    project: str = "",
) -> list[dict[str, Any]]:
    """Return the images with everything that they do not say themselves.

    :param defaults: options for all images.
    :param registry: the inventory's own registry (``address``, ``username``), or nothing; its images get its login.
    :param password: empty when there is none.
    :param project: whose image store they use where each project has its own; empty when nothing is said about that.
    """
    login = {"registry_username": registry.get("username"), "registry_password": password}
    filled = []
    for image in images:
        whole = {**defaults, **image}
        if project:
            whole["storage"] = {"project": project, **(whole.get("storage") or {})}
        ours = password and str(whole.get("name", "")).startswith(f"{registry.get('address')}/")
        given = {"registry_username", "registry_auth_file"} & set(whole)
        filled.append({**login, **whole} if ours and not given else whole)
    return filled


def image_report(plan: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what happened to each image of a plan.

    :param plan: the result of buildah_plan.
    :param done: the results of the builds, in the order of the plan's levels.
    :return: ``changed``, the numbers ``built`` and ``unchanged``, and ``images``: each with name, changed, built,
        seconds, digest and reasons.
    """
    places = [place for level in plan["levels"] for place in level]
    results = dict(zip(places, done))
    images = [_image(entry, results.get(entry["index"])) for entry in plan["images"]]
    return {
        "changed": any(image["changed"] for image in images),
        "built": sum(image["built"] for image in images),
        "unchanged": sum(not image["changed"] for image in images),
        "images": images,
    }


def _image(entry: Mapping[str, Any], result: Mapping[str, Any] | None) -> dict[str, Any]:
    # Without a result the image was not due, or this is check mode: then the plan is all there is.
    told = result or {"changed": entry["due"], "built": entry["build"], "duration": 0, **entry}
    return {
        "name": entry["name"],
        "changed": told["changed"],
        "built": told["built"],
        "seconds": told["duration"],
        "digest": told["digest"],
        "reasons": told["reasons"],
    }


def unseen_images(names: Iterable[str]) -> dict[str, Any]:
    """Return what image_report would, where nothing can be looked up yet: everything is built by the first run.

    :param names: of the images.
    """
    due = {"due": True, "build": True, "digest": "", "reasons": [{"reason": "cannot_look_up"}]}
    plan = {"images": [{"name": name, "index": index, **due} for index, name in enumerate(names)], "levels": []}
    return image_report(plan, [])


def trial_words(trials: Iterable[Mapping[str, Any]], planned: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the arguments of the script that runs commands in images, three for each trial.

    :param trials: each with ``name`` and ``argv``.
    :param planned: the images of a plan, each with ``name`` and ``buildah``, how to call buildah for it.
    :return: buildah's call and the command as words of a shell, with the image between them.
    :raises ValueError: an image is in no store that lasts.
    """
    calls = {_local(entry["name"]): entry["buildah"] for entry in planned}
    words = []
    for trial in trials:
        call = calls.get(_local(trial["name"]), ["buildah"])
        if not call:
            raise ValueError(
                f"build_images_trials: nothing of {trial['name']} is left on this host to try, because its store goes "
                "with the build (strategy isolated). Remove the trial, or choose another strategy")
        words += [shlex.join(call), trial["name"], shlex.join(trial["argv"])]
    return words


def _local(name: str) -> str:
    return str(ImageName.parse(name).tagged().in_local_store())


def context_changes(
    here: Iterable[Mapping[str, Any]],
    there: Iterable[Mapping[str, Any]],
    directories: Iterable[Mapping[str, str]],
    owner: str,
    unread: Mapping[str, str] | None = None,
) -> dict[str, list[Any]]:
    """Return what makes directories on a host equal to those of the controller.

    What the controller does not show would be removed on the host, so that a source which is not seen whole is refused.
    An entry of another type is removed before the copying: neither does a link replace a directory, nor a directory a
    file, and what is copied through a link lands where it leads.

    :param here: all files of the controller's directories, as ansible.builtin.find tells them, with checksums.
    :param there: those of the host.
    :param directories: for each ``dest``, the directory on the host, and ``src``, that on the controller.
    :param owner: who owns the files on the host.
    :param unread: the controller's paths that ansible.builtin.find skipped, with the reasons.
    :return: ``remove``, the paths on the host that have to go first, ``copy``, the directories that have to be copied,
        and ``blocked``, those of them that cannot be copied before something has gone.
    :raises ValueError: a directory of the controller is missing, empty or cannot be read.
    """
    if unread:
        raise ValueError(
            f"{_CONTEXTS}: on the controller this cannot be read: "
            f"{'; '.join(f'{path} ({reason})' for path, reason in unread.items())}. What is not seen there would be "
            "removed on the host, so nothing was done. Remedy: correct src, or make it readable for who runs Ansible")
    ours, theirs = list(here), list(there)
    changes: dict[str, list[Any]] = {"remove": [], "copy": [], "blocked": []}
    for pair in directories:
        wanted, found = _below(ours, pair["src"]), _below(theirs, pair["dest"])
        if not wanted:
            raise ValueError(
                f"{_CONTEXTS}: {pair['src']} on the controller is empty, and would empty {pair['dest']} on the host, "
                "so nothing was done. Remedy: correct src, or take the context out of the list")
        if not found or any(_differs(file, found.get(path), owner) for path, file in wanted.items()):
            changes["copy"].append(pair)
        turned = {path for path in found.keys() & wanted.keys() if _kind(found[path]) != _kind(wanted[path])}
        if turned:
            changes["blocked"].append(pair)
        extra = (found.keys() - wanted.keys()) | turned
        # The contents of a directory that goes need no task of their own.
        topmost = [path for path in extra if os.path.dirname(path) not in extra]
        changes["remove"] += sorted(os.path.join(pair["dest"], path) for path in topmost)
    return changes


def _below(files: Iterable[Mapping[str, Any]], directory: str) -> dict[str, Mapping[str, Any]]:
    top = _inside(_normal(directory))
    return {file["path"][len(top):]: file for file in files if file["path"].startswith(top)}


def _normal(path: str) -> str:
    """Return a path as ansible.builtin.find writes it; POSIX lets normpath keep two slashes in front."""
    return re.sub("^//", "/", os.path.normpath(path))


def _inside(directory: str) -> str:
    return directory.rstrip("/") + "/"


def _differs(wanted: Mapping[str, Any], found: Mapping[str, Any] | None, owner: str) -> bool:
    # What a link leads to is not told; the copying itself finds out.
    if found is None or wanted["islnk"] or _kind(wanted) != _kind(found):
        return True
    facts = ("mode", "checksum") if wanted["isreg"] else ()
    return found["pw_name"] != owner or any(wanted.get(fact) != found.get(fact) for fact in facts)


def _kind(file: Mapping[str, Any]) -> tuple[bool, ...]:
    return tuple(file[fact] for fact in ("isreg", "isdir", "islnk"))


def below_home(directories: Iterable[Mapping[str, str]], home: str) -> list[dict[str, str]]:
    """Return directories to copy with both paths absolute and normal.

    :param directories: each with ``src``, where ``~`` and ``$NAME`` mean the controller's, and ``dest``; a relative
        one and one with ``~/`` lie below the home.
    :param home: the home on the host; empty where there is no such user yet, as in check mode.
    :raises ValueError: a ``src`` is relative, or a ``dest`` holds more than its own context: the host is made equal to
        the controller there, which removes everything else.
    """
    pairs = [{"src": _on_controller(pair["src"]), "dest": _on_host(pair["dest"], home)} for pair in directories]
    targets = [pair["dest"] for pair in pairs]
    for number, outer in enumerate(targets):
        for inner in targets[:number] + targets[number + 1:]:
            if _inside(inner).startswith(_inside(outer)):
                raise ValueError(
                    f"{_CONTEXTS}: the dest {inner} lies in the dest {outer}, and each would remove what the other "
                    "brings. Remedy: directories beside each other")
    return pairs


def _on_controller(src: str) -> str:
    # As ansible.builtin.find and copy do it. They differ in where they look for a relative path.
    path = os.path.expandvars(os.path.expanduser(src))
    if not os.path.isabs(path):
        raise ValueError(
            f"{_CONTEXTS}: the src {src!r} is not an absolute path, and what it is relative to is not the same for all "
            "of Ansible. Remedy: write playbook_dir or inventory_dir in front of it")
    return _normal(path)


def _on_host(dest: str, home: str) -> str:
    below = re.sub("^~(/+|$)", "", dest)
    if below.startswith("~"):
        raise ValueError(
            f"{_CONTEXTS}: the dest {dest} names the home of a user. Remedy: an absolute path, or one relative to the "
            "builder user's home")
    path = _normal(os.path.join(home, below))
    # Without a home, "." is what remains of it.
    if path in (".", "..") or path.startswith("../") or _inside(_normal(home or "/")).startswith(_inside(path)):
        raise ValueError(
            f"{_CONTEXTS}: the dest {dest!r} is the builder user's home or holds it, and everything in it that is not "
            "in src would be removed. Remedy: name a directory that is for the context alone")
    return path

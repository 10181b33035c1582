# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of images of the role build_images: what goes in, and what is told of a run. Pure."""

from __future__ import annotations

import os
from typing import Any, Iterable, Mapping, Sequence


def wanted_images(
    images: Iterable[Mapping[str, Any]], defaults: Mapping[str, Any], registry: Mapping[str, Any], password: str
) -> list[dict[str, Any]]:
    """Return the images with everything that they do not say themselves.

    :param defaults: options for all images.
    :param registry: the inventory's own registry (``address``, ``username``), or nothing; its images get its login.
    :param password: empty when there is none.
    """
    login = {"registry_username": registry.get("username"), "registry_password": password}
    filled = []
    for image in images:
        whole = {**defaults, **image}
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


def extra_files(found: Iterable[Sequence[Mapping[str, Any]]], directories: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the files on a host that a copied directory of the controller does not hold (any more).

    :param found: for each directory two results of ansible.builtin.find, of the host and of the controller.
    :param directories: for each ``dest``, the directory on the host, and ``src``, that on the controller.
    """
    extra = []
    for (there, here), pair in zip(found, directories):
        wanted = {os.path.relpath(file["path"], pair["src"]) for file in here["files"]}
        extra += [file["path"] for file in there["files"] if os.path.relpath(file["path"], pair["dest"]) not in wanted]
    # The contents of a directory that goes need no task of their own.
    return sorted(path for path in extra if os.path.dirname(path) not in extra)


def below_home(directories: Iterable[Mapping[str, str]], home: str) -> list[dict[str, str]]:
    """Return directories to copy with ``dest`` absolute: a relative one lies below a home."""
    return [{"src": pair["src"], "dest": os.path.join(home, pair["dest"])} for pair in directories]

# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``buildah`` that native scripts call: the real one behind a check. Pure.

A script may start from ``scratch``, from its declared base images and from what it committed itself; anything else
would be an input that the build key does not hold. The check finds mistakes; it is no boundary against a hostile
script.
"""

from __future__ import annotations

import shlex
from typing import Sequence

_TEMPLATE = r"""#!/bin/sh
# The buildah of one run of rootless.buildah.
buildah() {{ {real} "$@"; }}
job={job}
allowed() {{ [ "$1" = scratch ] || grep -Fxq -e "$1" "$job/allowed"; }}
refuse() {{ echo "rootless.buildah: $1" >&2; exit 125; }}
last=
for last in "$@"; do :; done
case "$1" in
from)
  allowed "$last" || refuse "the script uses the base image $last, which base_images does not declare"
  shift
  exec {real} from --pull-never --cidfile "$(mktemp "$job/cids/XXXXXX")" "$@" ;;
commit)
  id=$(buildah "$@") || exit
  printf '%s\n' "$id"
  printf '%s\n' "$id" "$last" >>"$job/allowed" ;;
copy|add)
  previous=
  for word in "$@"; do
    source=
    case "$word" in --from=*) source=${{word#--from=}} ;; *) [ "$previous" = --from ] && source=$word ;; esac
    if [ -n "$source" ] && ! allowed "$source" && ! buildah inspect --type container "$source" >/dev/null 2>&1; then
      refuse "the script copies from the image $source, which base_images does not declare"
    fi
    previous=$word
  done
  exec {real} "$@" ;;
run)
  previous=
  for word in "$@"; do
    mount=
    [ "$word" = -- ] && break
    case "$word" in --mount=*) mount=${{word#--mount=}} ;; *) [ "$previous" = --mount ] && mount=$word ;; esac
    source=${{mount##*from=}}
    source=${{source%%,*}}
    case ",$mount" in
    *,from=*) allowed "$source" || refuse "the script mounts the image $source, which base_images does not declare" ;;
    esac
    previous=$word
  done
  exec {real} "$@" ;;
build|bud|build-using-dockerfile|pull|push|login)
  refuse "a native script cannot call buildah $1: base_images declares bases, and the module pushes the result" ;;
--help|-h|--version|-v)
  exec {real} "$@" ;;
-*)
  refuse "a native script gives buildah its command first, without $1 before it: the module chooses the store" ;;
*)
  exec {real} "$@" ;;
esac
"""


def guard(real: Sequence[str], job: str) -> bytes:
    """Return the shell script that stands in for ``buildah``.

    :param real: the path of the real program, and global flags.
    :param job: the run's directory, holding the file ``allowed`` and the directory ``cids``.
    """
    return _TEMPLATE.format(real=shlex.join(real), job=shlex.quote(job)).encode()


def interpreter(script: bytes) -> list[str]:
    """Return the words that run a script: its own first line decides, otherwise a shell that stops at a failure."""
    if not script.startswith(b"#!"):
        return ["/bin/sh", "-e"]
    line = script.splitlines()[0][2:].decode("utf-8", "replace").strip()
    program, _space, argument = line.partition(" ")
    return [program] + ([argument.strip()] if argument.strip() else [])

#!/bin/sh
# Runs a command in each of some images: BUILDAH IMAGE COMMAND, again and again. The first and the last are words of a
# shell. Prints the image and the first line of what the command printed.
# HOME and the working directory of another user may have come along with sudo, and a TMPDIR that is closed with su.
[ -w "${TMPDIR:-/tmp}/." ] || unset TMPDIR
HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
export HOME
cd "$HOME" || exit

try() {
  eval "buildah() { command $1 \"\$@\"; }"
  container=$(buildah from --pull-never "$2") || exit
  trap 'buildah rm "$container" > /dev/null' EXIT
  eval "set -- $3"
  buildah run "$container" -- "$@" < /dev/null
}

while [ $# -gt 0 ]; do
  printed=$(try "$1" "$2" "$3") || {
    echo "$2: $3 failed" >&2
    exit 1
  }
  echo "$2: $(printf '%s\n' "$printed" | head -n 1)"
  shift 3
done

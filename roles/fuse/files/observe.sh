#!/bin/sh
# Says in JSON what a host can do; changes nothing but a temporary directory of its own.
# $1: a directory on the file system that will hold images. $2: the id of a user without any rights.
set -eu
LC_ALL=C
export LC_ALL

trial=$(mktemp -d "$1/.rootless-buildah-XXXXXX")
trap 'rm -rf "$trial"' EXIT
mkdir "$trial/lower" "$trial/upper" "$trial/work" "$trial/merged"
chown -R "$2:$2" "$trial"
native=false
# The same mount that containers/storage tries: rootless overlays keep their marks in user.* attributes.
# shellcheck disable=SC2016
if setpriv --reuid="$2" --regid="$2" --clear-groups unshare --user --map-root-user --mount sh -c '
    cd "$1" && mount -t overlay overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work merged &&
    echo tried > merged/file' sh "$trial" > "$trial/words" 2>&1; then
  native=true
fi

answer() {
  if "$@" > /dev/null 2>&1; then echo true; else echo false; fi
}
mode=
if [ -c /dev/fuse ]; then mode=$(stat -c %a /dev/fuse); fi
printf '{"native_overlay": %s, "known": %s, "builtin": %s, "module": %s, "device_mode": "%s"}\n' \
  "$native" \
  "$(answer grep -qw fuse /proc/filesystems)" \
  "$(answer grep -q '/fuse\.ko' "/lib/modules/$(uname -r)/modules.builtin")" \
  "$(answer modprobe --dry-run --quiet fuse)" \
  "$mode"

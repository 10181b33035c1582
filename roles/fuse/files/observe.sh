#!/bin/sh
# Says in JSON what a host can do; changes nothing but a temporary directory of its own.
# $1: a directory on the file system that will hold images; it may not be there yet. $2: the id of a user without any
# rights.
set -eu
LC_ALL=C
export LC_ALL

directory=$1
while [ ! -d "$directory" ]; do directory=$(dirname -- "$directory"); done

# What belongs to a user is tried with that user's rights only: root would follow whatever link is planted there, and
# nobody else may enter.
rights="--reuid=$2 --regid=$2 --clear-groups"
maker=
owner=$(stat -L -c %u -- "$directory")
if [ "$owner" != 0 ]; then
  if group=$(id -g "$owner" 2> /dev/null); then
    rights="--reuid=$owner --regid=$group --init-groups"
  else
    rights="--reuid=$owner --regid=$2 --clear-groups"
  fi
  maker="setpriv $rights"
  rights=
fi

# $1: the directory. $2: the id of the user who tries. $3: how root becomes that user; empty for who is it already.
# The same mount that containers/storage tries: rootless overlays keep their marks in user.* attributes.
# shellcheck disable=SC2016
try='
  cd -- "$1" && trial=$(mktemp -d ./.rootless-buildah-XXXXXX) || exit
  trap "chmod -R u+rwx $trial; rm -rf $trial" EXIT
  cd "$trial" && mkdir lower upper work merged || exit
  if [ -n "$3" ]; then chown "$2:$2" . lower upper work merged || exit; fi
  native=false
  if ${3:+setpriv} $3 unshare --user --map-root-user --mount sh -c "
      mount -t overlay overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work merged &&
      echo tried > merged/file" > /dev/null 2>&1; then native=true; fi
  cd ..
  echo $native'
native=false
untried=
# shellcheck disable=SC2086
if said=$($maker sh -c "$try" try "$directory" "$2" "$rights" 2>&1); then
  case $said in *true) native=true ;; esac
else
  untried=$(printf '%s: %s' "$directory" "${said:-no message}" | tr '\n' ' ' | tr -c '[:alnum:] ,.:;/_-' "'")
fi

answer() {
  if "$@" > /dev/null 2>&1; then echo true; else echo false; fi
}
mode=
if [ -c /dev/fuse ]; then mode=$(stat -c %a /dev/fuse); fi
printf '{"native_overlay": %s, "known": %s, "builtin": %s, "module": %s, "device_mode": "%s", "untried": "%s"}\n' \
  "$native" \
  "$(answer grep -qw fuse /proc/filesystems)" \
  "$(answer grep -q '/fuse\.ko' "/lib/modules/$(uname -r)/modules.builtin")" \
  "$(answer modprobe --dry-run --quiet fuse)" \
  "$mode" \
  "$untried"

#!/bin/sh
# A Debian base image from the distribution's packages: no other image, no root.
# Variables: SUITE. Commits to $IMAGE.
set -eu
container=$(buildah from scratch)
root=$(buildah mount "$container")
mmdebstrap --quiet --mode=root --variant=apt --skip=check/empty,check/qemu --format=dir "$SUITE" "$root"
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/* "$root"/var/log/*.log
buildah umount "$container" >/dev/null
buildah config --cmd /bin/bash --env LANG=C.UTF-8 "$container"
buildah commit --quiet "$container" "$IMAGE"

#!/bin/sh
# Prints the runtime that buildah would use, nothing where there is no buildah; leaves no storage behind.
set -eu
LC_ALL=C
export LC_ALL

command -v buildah > /dev/null || exit 0
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs info --format '{{.host.OCIRuntime}}'

#!/bin/sh
# Builds an image with one RUN step and removes it again.
# $1: configured (as the user would build) or oci (with a store of its own, to try whether an OCI runtime works).
# Both with the network that builds have by default: where it cannot be made, an OCI runtime is of no use to them.
set -eu

command -v buildah > /dev/null || exit 127
scratch=$(mktemp -d)
trap 'buildah unshare rm -rf "$scratch" 2> /dev/null || rm -rf "$scratch"' EXIT
mkdir "$scratch/context"
# The host's own programs serve as the image: nothing has to be downloaded.
for name in bin lib lib64; do
  ln -s "usr/$name" "$scratch/context/$name"
done
step='["/usr/bin/true"]'
set -- "$1" build --volume /usr:/usr:ro --iidfile "$scratch/id" --file "$scratch/Containerfile" "$scratch/context"
case $1 in
  oci)
    BUILDAH_ISOLATION=rootless
    export BUILDAH_ISOLATION
    shift 2
    set -- buildah --root "$scratch/root" --runroot "$scratch/run" --storage-driver vfs build "$@"
    ;;
  *)
    # Fails unless more ids than one are mapped.
    step='["/usr/bin/install", "--directory", "--owner=1234", "--group=1234", "/owned"]'
    shift
    set -- buildah "$@"
    ;;
esac
printf 'FROM scratch\nCOPY . /\nRUN %s\n' "$step" > "$scratch/Containerfile"
"$@"
if [ "$1 $2" = 'buildah build' ]; then
  buildah rmi "$(cat "$scratch/id")"
fi

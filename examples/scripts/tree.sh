#!/bin/sh
# The program tree in two stages, with variables and conditions, and a tar archive of the program.
# Variables: BASE (a base image), OPTIMISE (yes or no). Commits to $IMAGE, exports to $ARTIFACTS.
set -eu

build=$(buildah from "$BASE")
buildah run "$build" -- sh -euc '
    sed "s/^deb /deb-src /" /etc/apt/sources.list >/etc/apt/sources.list.d/source.list
    apt-get update -q
    apt-get install -q -y --no-install-recommends dpkg-dev gcc libc6-dev make
    cd /usr/src
    apt-get source -q --download-only tree
    dpkg-source --no-check -x tree_*.dsc tree
'
if [ "$OPTIMISE" = yes ]; then
    flags=-O3
else
    flags=-O1
fi
buildah run "$build" -- make -C /usr/src/tree "CFLAGS=$flags -std=c11 -D_LARGEFILE64_SOURCE -D_FILE_OFFSET_BITS=64 -DLINUX"
version=$(buildah run "$build" -- /usr/src/tree/tree --version | cut -d " " -f 2)

runtime=$(buildah from "$BASE")
buildah copy --quiet --from "$build" "$runtime" /usr/src/tree/tree /usr/local/bin/tree
buildah config --label "version=$version" --entrypoint '["tree"]' "$runtime"

export version ARTIFACTS
# The program alone, under its version. The inner shell expands its own variables.
# shellcheck disable=SC2016
buildah unshare --mount ROOT="$runtime" sh -euc 'tar -C "$ROOT/usr/local/bin" -cf "$ARTIFACTS/tree-$version.tar" tree'
buildah commit --quiet "$runtime" "$IMAGE"

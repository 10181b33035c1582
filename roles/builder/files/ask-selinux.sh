#!/bin/sh
# Prints the labels that the policy has for paths, then the file systems of others, then the booleans that may let
# containers use NFS: PATH... -- PATH...
set -eu
while [ "$1" != -- ]; do
  matchpathcon -n "$1"
  shift
done
shift
# A place that does not exist yet is on no network.
stat --file-system --format=%T "$@" 2> /dev/null || true
# Each policy has one for it, by a name of its own (nfs_plan).
getsebool -a | grep _use_nfs || true

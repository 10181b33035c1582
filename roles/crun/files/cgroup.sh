#!/bin/sh
# Prints the type of the cgroup file system, then what grubby knows of the kernels, if there is one; changes nothing.
set -eu
LC_ALL=C
export LC_ALL

stat -f -c %T /sys/fs/cgroup
if command -v grubby > /dev/null; then grubby --info=ALL; fi

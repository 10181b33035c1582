#!/bin/sh
# Runs a container under crun in a user namespace, as buildah does; changes nothing but a temporary directory of its own.
# $1: the id of a user without any rights. Without crun: exit status 127.
set -eu
LC_ALL=C
export LC_ALL

command -v crun > /dev/null || exit 127
bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT
mkdir "$bundle/rootfs" "$bundle/rootfs/usr" "$bundle/rootfs/proc" "$bundle/rootfs/dev" "$bundle/run"
# The host's own programs serve as the image: nothing has to be downloaded.
for name in bin lib lib64; do
  ln -s "usr/$name" "$bundle/rootfs/$name"
done
cat > "$bundle/config.json" << 'JSON'
{
  "ociVersion": "1.0.0",
  "process": {
    "user": {"uid": 0, "gid": 0},
    "args": ["/usr/bin/true"],
    "env": ["PATH=/usr/bin"],
    "cwd": "/"
  },
  "root": {"path": "rootfs"},
  "mounts": [
    {"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755", "size=64k"]},
    {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}
  ],
  "linux": {"namespaces": [{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]}
}
JSON
chown -R "$1:$1" "$bundle"
# shellcheck disable=SC2016
setpriv --reuid="$1" --regid="$1" --clear-groups env -i PATH="$PATH" XDG_RUNTIME_DIR="$bundle/run" HOME="$bundle" \
  unshare --user --map-root-user --mount crun run --bundle "$bundle" "rootless-buildah-trial-$$" < /dev/null

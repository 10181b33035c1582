#!/bin/sh
# Runs a command in an image: IMAGE COMMAND [ARGUMENT...]
# HOME and the working directory of another user may have come along with sudo.
HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
export HOME
cd "$HOME" || exit
image=$1
shift
container=$(buildah from --pull-never "$image")
trap 'buildah rm "$container" >/dev/null' EXIT
buildah run "$container" -- "$@"

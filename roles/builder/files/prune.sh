#!/bin/sh
# Removes images that have no name, that no named manifest list holds, on which no other image is built and that are
# old: AGE [STORES]
# AGE is a duration of Go, for example 168h; STORES is where the stores of projects are. Fails when a store could not be
# read or an image that nothing uses could not be removed; the others are pruned all the same.
set -u
age=$1
stores=${2:-$HOME/.local/share/containers/stores}
runtime=${XDG_RUNTIME_DIR:-/var/tmp/containers-user-$(id -u)/containers}
status=0

# Prints the digests of what named manifest lists hold: those images have no name of their own.
held() {
  names=$(buildah "$@" images --all --noheading --format '{{.Name}}:{{.Tag}}') || return
  for name in $names; do
    case $name in
      '<none>':*) continue ;;
    esac
    if buildah "$@" manifest exists "$name" 2>/dev/null; then
      buildah "$@" manifest inspect "$name" || return
    fi
  done
}

prune() {
  if ! images=$(buildah "$@" images --noheading --no-trunc --format '{{.ID}} {{.Digest}}' --filter dangling=true \
    --filter "until=$age"); then
    status=1
    return
  fi
  [ -n "$images" ] || return 0
  held=$(held "$@") || {
    status=1
    return
  }
  while read -r image digest; do
    case $held in
      *"$digest"*) continue ;;
    esac
    said=$(buildah "$@" rmi "$image" 2>&1 </dev/null) && continue
    printf '%s\n' "$said" >&2
    case $said in
      # What a working container uses stays until it is gone, and another run may have been faster.
      *"in use by a container"* | *"image not known"*) ;;
      *) status=1 ;;
    esac
  done <<END
$images
END
}

cd "$HOME" || exit
prune
for store in "$stores"/projects/*; do
  if [ -d "$store" ]; then
    prune "--root=$store" "--runroot=$runtime/rootless.buildah/projects/${store##*/}"
  fi
done
exit "$status"

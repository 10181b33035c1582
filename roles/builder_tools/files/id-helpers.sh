#!/bin/sh
# Says in JSON which rights newuidmap and newgidmap have; changes nothing. A program that is missing is left out.
set -eu
LC_ALL=C
export LC_ALL

separator=
printf '{'
for name in newuidmap newgidmap; do
  path=$(command -v "$name") || continue
  capability=cap_setuid
  if [ "$name" = newgidmap ]; then capability=cap_setgid; fi
  nosuid=false
  if findmnt --noheadings --output OPTIONS --target "$path" | tr , '\n' | grep -qx nosuid; then nosuid=true; fi
  printf '%s"%s": {"mode": "%s", "uid": %s, "capabilities": "%s", "wanted": "%s", "nosuid": %s}' "$separator" "$path" \
    "$(stat -L -c %a "$path")" "$(stat -L -c %u "$path")" "$(getcap "$path" 2> /dev/null || true)" "$capability" \
    "$nosuid"
  separator=', '
done
printf '}\n'

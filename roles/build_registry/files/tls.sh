#!/bin/sh
# Makes a certificate authority and a certificate signed by it, as far as they are missing, about to end or for other names.
# $1: make or look. $2: the directory. $3: the group that may read the key. The rest: host names and addresses.
# Prints what was made, or would be made.
set -eu
LC_ALL=C
export LC_ALL
umask 077

action=$1 directory=$2 group=$3
shift 3
names=
for name; do
  case $name in
    *[!0-9.]*:* | *:*) kind=IP ;;
    *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
  esac
  names=${names:+$names,}$kind:$name
done

fresh() {
  # Thirty days before the end there is still time to notice a failure.
  [ -s "$directory/$1" ] && openssl x509 -in "$directory/$1" -noout -checkend 2592000 > /dev/null
}

if ! fresh ca.crt || [ ! -s "$directory/ca.key" ]; then
  echo authority
  if [ "$action" = make ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
      -subj '/CN=rootless.buildah registry authority' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
      -keyout "$directory/ca.key" -out "$directory/ca.crt.new" 2> /dev/null
    mv "$directory/ca.crt.new" "$directory/ca.crt"
    chmod 644 "$directory/ca.crt"
  fi
fi
if fresh tls.crt && [ -s "$directory/tls.key" ] && [ "$(cat "$directory/tls.names" 2> /dev/null)" = "$names" ] &&
  openssl verify -CAfile "$directory/ca.crt" "$directory/tls.crt" > /dev/null 2>&1; then
  exit 0
fi
echo certificate
[ "$action" = make ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' "$names" > "$work/extensions"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=rootless.buildah registry' \
  -keyout "$work/key" -out "$work/request" 2> /dev/null
openssl x509 -req -in "$work/request" -CA "$directory/ca.crt" -CAkey "$directory/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
  -days 397 -sha256 -extfile "$work/extensions" -out "$work/crt" 2> /dev/null
chgrp "$group" "$work/key"
chmod 640 "$work/key"
chmod 644 "$work/crt"
mv "$work/key" "$directory/tls.key"
mv "$work/crt" "$directory/tls.crt"
printf '%s\n' "$names" > "$directory/tls.names"

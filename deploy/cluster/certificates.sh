#!/usr/bin/env bash
# An authority, and for each server a certificate of its name: certificates.sh FOLDER SERVER…
#   FOLDER/SERVER/   server.pem, server.key, ca.pem: what that server needs
#   FOLDER/clients/  ca.pem: what its clients need
# To try a cluster with. What is there already is left alone; the authority's key is thrown away.
set -euo pipefail
folder=$1
shift
[ -e "$folder/clients/ca.pem" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
new_key "$work/ca.key"
openssl req -x509 -new -key "$work/ca.key" -sha256 -days 3650 -subj '/CN=Sokketsu cluster' -out "$work/ca.pem" \
  -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign'
for name in "$@"; do
  mkdir -p "$folder/$name"
  new_key "$folder/$name/server.key"
  openssl req -new -key "$folder/$name/server.key" -subj "/CN=$name" -out "$work/request"
  printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$name" > "$work/extensions"
  openssl x509 -req -in "$work/request" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -sha256 -days 3650 \
    -extfile "$work/extensions" -out "$folder/$name/server.pem"
  cp "$work/ca.pem" "$folder/$name/"
  chmod 600 "$folder/$name/server.key"
  # The server refuses a key that others own; as root it is given to the server's user.
  if [ "$(id -u)" = 0 ] && id postgres >/dev/null 2>&1; then chown -R postgres: "$folder/$name"; fi
done
mkdir -p "$folder/clients"
cp "$work/ca.pem" "$folder/clients/"
chmod -R a+rX "$folder/clients"

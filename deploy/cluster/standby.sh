#!/usr/bin/env bash
# A standby: copies the primary once, then runs with the same parameters. Its host name is its name in the cluster.
set -euo pipefail
name=$(hostname)
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  chown postgres "$PGDATA" && chmod 700 "$PGDATA"
  gosu postgres pg_basebackup -D "$PGDATA" -R -c fast \
    -d "host=s0 user=replicator password=$REPLICATOR_PASSWORD application_name=$name sslmode=verify-full sslrootcert=/tls/ca.pem"
fi
exec gosu postgres "$@"

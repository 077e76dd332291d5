#!/usr/bin/env bash
# The first server's roles and database (docs/cluster.md). The image runs it once, on a new server that nobody else reaches.
set -euo pipefail
psql -v ON_ERROR_STOP=1 -U postgres \
  -v replicator="$REPLICATOR_PASSWORD" -v owner="$OWNER_PASSWORD" -v node="$NODE_PASSWORD" -v operator="$OPERATOR_PASSWORD" <<'SQL'
SET password_encryption = 'scram-sha-256';
CREATE ROLE sokketsu_node NOLOGIN;
CREATE ROLE sokketsu_ledger NOLOGIN;
CREATE ROLE sokketsu_operator NOLOGIN;
CREATE ROLE sokketsu_analyst NOLOGIN;
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replicator';
CREATE ROLE sokketsu_owner LOGIN PASSWORD :'owner';
CREATE ROLE svc_sokketsu LOGIN PASSWORD :'node' IN ROLE sokketsu_node, sokketsu_ledger, pg_read_all_stats;
CREATE ROLE ops_sokketsu LOGIN PASSWORD :'operator' IN ROLE sokketsu_operator, pg_read_all_stats;
CREATE DATABASE sokketsu OWNER sokketsu_owner;
-- From the next start on: nothing here would be confirmed by a standby that does not exist yet. Standbys copy it.
ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (s0, s1, s2)';
SQL

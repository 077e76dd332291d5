-- The journal of a cluster, and who owns which stream of it (docs/decisions/0021). One transaction makes all of it.

-- What this database is: one row, made by `sokketsu cluster init`.
CREATE TABLE cluster (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id uuid NOT NULL,
  streams integer NOT NULL CHECK (streams IN (1, 2, 4, 8, 16, 32, 64)),
  format integer NOT NULL,
  sandbox boolean NOT NULL
);

-- Whose each stream is. An append locks its row, so an epoch that is over can add nothing.
CREATE TABLE owner (
  stream integer PRIMARY KEY,
  epoch bigint NOT NULL DEFAULT 0,
  node text NOT NULL DEFAULT '',
  boot text NOT NULL DEFAULT '', -- which process of the node
  lease_until timestamptz NOT NULL DEFAULT '-infinity', -- by this database's clock
  epoch_from_batch bigint NOT NULL DEFAULT 0 -- the epoch's barrier
) WITH (fillfactor = 10);

-- A batch is one row; its body has the records' bytes as a segment has them (docs/journal-format.md). A row without records is
-- the barrier with which an epoch begins. `month` is year * 12 + month - 1 in Japan and never goes back within a stream.
CREATE TABLE journal (
  stream integer NOT NULL,
  month integer NOT NULL,
  batch bigint NOT NULL,
  epoch bigint NOT NULL,
  first_lsn bigint NOT NULL,
  n integer NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (stream, month, batch)
) PARTITION BY RANGE (month);
ALTER TABLE journal ALTER COLUMN body SET STORAGE EXTERNAL;
-- Readers seek a record.
CREATE INDEX journal_by_record ON journal (stream, first_lsn);

-- Which nodes live.
CREATE TABLE member (
  node text PRIMARY KEY,
  boot text NOT NULL,
  address text NOT NULL DEFAULT '',
  seen_until timestamptz NOT NULL,
  build text NOT NULL DEFAULT '',
  draining boolean NOT NULL DEFAULT false,
  lag bigint NOT NULL DEFAULT 0
);

-- Merchants, policy and holidays as the nodes are to have them.
CREATE TABLE setting (
  kind text NOT NULL,
  id text NOT NULL,
  version bigint NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (kind, id)
);

-- Makes the partitions of a month and of the two after it. A table that is attached locks out no append, one that is made in
-- place would.
CREATE FUNCTION journal_months(first integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  name text;
BEGIN
  FOR m IN first .. first + 2 LOOP
    name := format('journal_%s_%s', m / 12, lpad((m % 12 + 1)::text, 2, '0'));
    IF to_regclass(name) IS NULL THEN
      EXECUTE format('CREATE TABLE %I (LIKE journal INCLUDING STORAGE)', name);
      EXECUTE format('ALTER TABLE journal ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', name, m, m + 1);
    END IF;
  END LOOP;
END $$;

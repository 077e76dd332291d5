-- Orders by the hash of their key, in runs of 64 blocks: one probe finds a key among four million records. A run is written
-- in the order of its hashes, by small steps, after all its records were posted, and never changed.
CREATE TABLE key_run (
  run INTEGER NOT NULL,       -- lsn >> 22
  key_hash INTEGER NOT NULL,
  lsn INTEGER NOT NULL,
  PRIMARY KEY (run, key_hash, lsn)
) STRICT, WITHOUT ROWID;

-- How far that has come: runs before `run` are whole, of `run` itself so many slices of the hashes.
CREATE TABLE key_run_built (
  run INTEGER NOT NULL,
  slices INTEGER NOT NULL
) STRICT;
INSERT INTO key_run_built VALUES (0, 0);

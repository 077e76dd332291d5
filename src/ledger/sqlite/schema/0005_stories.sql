-- A bill with a story has a row of its own, and each change of its principal another: a fact then writes what it
-- changed and no more, however many bills a customer has and however often one was paid on. The program moves what
-- `dossier` holds of them here; notes and the age of the credit stay there.

-- `kind` is 1 for a month, `number` then being the month, and 2 for an NP purchase, by its record. `body` is in the
-- bytes of the journal, without the changes.
CREATE TABLE story (
  customer INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  number INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (customer, kind, number)
) STRICT, WITHOUT ROWID;

-- What happened to its principal since it was issued, in the order in which we heard of it: 1 paid, 2 moved, 3 refunded.
CREATE TABLE story_change (
  customer INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  number INTEGER NOT NULL,
  place INTEGER NOT NULL,
  counts_from INTEGER NOT NULL,
  what INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (customer, kind, number, place)
) STRICT, WITHOUT ROWID;

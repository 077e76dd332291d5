-- What memory has let go of, as long as news may reach back to it: bills and payouts with all that happened in them.

-- The last day of which a story of this customer was let go, and the day on which some came back; as `YYYYMMDD`.
ALTER TABLE account ADD COLUMN let_go INTEGER;
ALTER TABLE account ADD COLUMN recalled_on INTEGER;

-- `kind` and `number` are those of `story`, and kind 3 is a payout, by its record, or what else left the
-- books or came back at once. `kept_until` is null of what stays for
-- good. `body` is in the bytes of the journal.
CREATE TABLE past_story (
  customer INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  number INTEGER NOT NULL,
  kept_until INTEGER,
  body BLOB NOT NULL,
  PRIMARY KEY (customer, kind, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX past_story_end ON past_story (kept_until) WHERE kept_until IS NOT NULL;

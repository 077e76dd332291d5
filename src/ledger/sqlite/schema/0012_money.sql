-- Money is told apart: each change of a bill says which money it is, and beside the bills lie sums with a day of their own.
-- An older ledger does not know that, and is posted anew from the journal.

-- What happened to a bill since it was issued, by the moment from which it counts, in the bytes of the journal.
DROP TABLE story_change;
CREATE TABLE story_change (
  customer INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  number INTEGER NOT NULL,
  place INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (customer, kind, number, place)
) STRICT, WITHOUT ROWID;

-- When it was journaled: its terms count from the day after.
ALTER TABLE policy ADD COLUMN set_at INTEGER NOT NULL DEFAULT 0;

-- Owed to the customer in cash.
ALTER TABLE account ADD COLUMN payout_due INTEGER NOT NULL DEFAULT 0 CHECK (payout_due >= 0);

DROP VIEW customers;
-- `exposure` holds the room of holds until their paper is posted.
CREATE VIEW customers AS
SELECT
  a.customer_id,
  (SELECT word FROM word WHERE list = 'identity' AND number = a.identity) AS identity,
  a.identity_reason,
  CASE WHEN a.birth_date IS NOT NULL THEN
    printf('%04d-%02d-%02d', a.birth_date / 10000, a.birth_date / 100 % 100, a.birth_date % 100)
  END AS birth_date,
  a.guardian_consent,
  (SELECT word FROM word WHERE list = 'payment_method' AND number = a.payment_method) AS payment_method,
  (SELECT word FROM word WHERE list = 'status' AND number = a.status) AS status,
  a.limit_total,
  a.limit_in_store,
  a.rung,
  a.in_store + a.online + a.story_principal
    + (SELECT coalesce(sum(amount), 0) FROM hold WHERE customer = a.customer) AS exposure,
  (SELECT coalesce(sum(amount), 0) FROM hold WHERE customer = a.customer) AS held,
  a.credit,
  a.on_time_bills,
  a.purchases,
  a.months_active,
  a.payout_due
FROM account a;

-- Lost phones that were told of are the last of a customer's notes, and the notes are the last of a dossier: an empty list.
UPDATE dossier SET body = CAST(body || x'0000' AS BLOB);

-- What a customer was told of a bill is its last byte: nothing so far.
UPDATE story SET body = CAST(body || x'00' AS BLOB);

-- A sale in suspense may be settled by the office: kind and far account of the movement that clears it; those of one that
-- was taken back are the kind `suspense_cleared` and what shops are to be paid.
ALTER TABLE suspense ADD COLUMN cleared_kind INTEGER NOT NULL DEFAULT 19;
ALTER TABLE suspense ADD COLUMN cleared_counter INTEGER NOT NULL DEFAULT 7;
CREATE INDEX suspense_open ON suspense (order_lsn) WHERE cleared_lsn IS NULL;
-- The customer whom the office charged for it; `customer` stays null, for the decision charged nobody.
ALTER TABLE decision ADD COLUMN charged INTEGER;

DROP VIEW entries;
-- As before; a sale in suspense that the office settled is cleared by the kind of its end.
CREATE VIEW entries AS
SELECT
  e.lsn,
  a.customer_id,
  (SELECT word FROM word WHERE list = 'kind' AND number = e.kind) AS kind,
  (SELECT word FROM word WHERE list = 'account' AND number = e.account) AS account,
  e.amount,
  CASE WHEN e.month IS NOT NULL THEN printf('%04d-%02d', e.month / 12, e.month % 12 + 1) END AS statement_month,
  d.authorization_id,
  strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000 + 32400, 'unixepoch')
    || printf('.%03d+09:00', e.recorded_at % 1000) AS recorded_at
FROM entry e
JOIN account a ON a.customer = e.customer
LEFT JOIN decision d ON d.lsn = e.order_lsn
UNION ALL
SELECT
  s.lsn,
  a.customer_id,
  (SELECT word FROM word WHERE list = 'kind' AND number = s.kind),
  (SELECT word FROM word WHERE list = 'account' AND number = 13),
  s.amount,
  NULL,
  d.authorization_id,
  strftime('%Y-%m-%dT%H:%M:%S', s.recorded_at / 1000 + 32400, 'unixepoch')
    || printf('.%03d+09:00', s.recorded_at % 1000)
FROM (
  SELECT order_lsn AS lsn, 18 AS kind, customer, amount, order_lsn, recorded_at FROM suspense
  UNION ALL
  SELECT cleared_lsn, cleared_kind, customer, -amount, order_lsn, cleared_at FROM suspense WHERE cleared_lsn IS NOT NULL
) s
LEFT JOIN account a ON a.customer = s.customer
LEFT JOIN decision d ON d.lsn = s.order_lsn;

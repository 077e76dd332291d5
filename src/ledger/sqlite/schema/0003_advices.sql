-- Sales that the network approved for us and told us of later.

-- How it was booked: 1 to the customer, 2 to the customer above a limit, 3 and more to suspense by reason; null for
-- what we decided ourselves. In suspense `customer` is null, though it is an approval. `trial` may be 4: the code paid
-- before we heard of it.
ALTER TABLE decision ADD COLUMN advice INTEGER;

-- What we owe the network and nobody is charged for: one row a sale. It is a movement to the account `suspense`, and a
-- movement back once the sale was taken back. `customer` is whom the sale named, if we know them.
CREATE TABLE suspense (
  order_lsn INTEGER PRIMARY KEY,
  customer INTEGER,
  amount INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  cleared_lsn INTEGER,
  cleared_at INTEGER
) STRICT;

DROP VIEW entry;
-- Every movement of a customer's books with its far side, as before; a decision without a customer moves none of them.
CREATE VIEW entry AS
SELECT lsn >> 16 AS block, lsn, iif(hold_expires_at IS NULL, 1, 2) AS kind, customer, 1 AS account,
  iif(hold_expires_at IS NULL, 7, 8) AS counter_account, amount, iif(hold_expires_at IS NULL, month, NULL) AS month,
  channel, lsn AS order_lsn, decided_at AS recorded_at
FROM decision WHERE state > 2 AND customer IS NOT NULL
UNION ALL
SELECT lsn >> 16, lsn, 7, customer, 6, 9, points, month, channel, lsn, decided_at
FROM decision WHERE state > 2 AND hold_expires_at IS NULL AND points > 0
UNION ALL
SELECT lsn >> 16, lsn, kind, customer, account, counter_account, amount, month, channel, order_lsn, recorded_at
FROM movement;

DROP VIEW entries;
-- With the movements of suspense, whose `customer_id` may be null.
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
  SELECT cleared_lsn, 19, customer, -amount, order_lsn, cleared_at FROM suspense WHERE cleared_lsn IS NOT NULL
) s
LEFT JOIN account a ON a.customer = s.customer
LEFT JOIN decision d ON d.lsn = s.order_lsn;

DROP VIEW decisions;
-- As before; a sale in suspense is on no statement.
CREATE VIEW decisions AS
SELECT
  d.authorization_id,
  d.order_id,
  d.merchant_id,
  d.store_id,
  d.terminal_id,
  a.customer_id,
  (SELECT word FROM word WHERE list = 'channel' AND number = d.channel) AS channel,
  d.amount,
  CASE d.state WHEN 2 THEN 'denied' ELSE 'approved' END AS decision,
  (SELECT word FROM word WHERE list = 'reason' AND number = d.reason) AS reason,
  strftime('%Y-%m-%dT%H:%M:%S', d.decided_at / 1000 + 32400, 'unixepoch')
    || printf('.%03d+09:00', d.decided_at % 1000) AS decided_at,
  CASE WHEN d.captured IS NOT NULL AND d.customer IS NOT NULL THEN
    printf('%04d-%02d', coalesce(d.capture_month, d.month) / 12, coalesce(d.capture_month, d.month) % 12 + 1)
  END AS statement_month,
  d.lsn
FROM decision d LEFT JOIN account a ON a.customer = d.customer
WHERE d.state <> 1;

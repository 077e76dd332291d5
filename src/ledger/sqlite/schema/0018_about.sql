-- A repayment is taken back part by part: each reversal but one has an id of its own, and says beside it which repayment it is
-- about.
ALTER TABLE receipt ADD COLUMN about TEXT;
CREATE INDEX receipt_about ON receipt (about) WHERE about IS NOT NULL;

DROP VIEW entries;
-- As before, and after that: the repayment that brought the money; the refund that it is of, or that freed the money; the
-- channel; from when it counts; the far side; the bill, which is the month or the NP purchase; the call of the office that
-- is the record, by its kind and id; the money's own day; the shop.
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
    || printf('.%03d+09:00', e.recorded_at % 1000) AS recorded_at,
  (SELECT coalesce(about, id) FROM receipt
    WHERE lsn = iif(e.money <> 0, e.money, iif(e.far = 1, e.lsn, NULL)) AND kind IN (1, 5, 9)) AS repayment_id,
  coalesce((SELECT refund_id FROM refund WHERE lsn = e.lsn), (SELECT refund_id FROM refund WHERE lsn = e.money))
    AS refund_id,
  CASE WHEN e.order_lsn <> 0 OR e.value_at IS NOT NULL THEN
    (SELECT word FROM word WHERE list = 'channel' AND number = e.channel)
  END AS channel,
  strftime('%Y-%m-%dT%H:%M:%S', e.value_at / 1000 + 32400, 'unixepoch')
    || printf('.%03d+09:00', e.value_at % 1000) AS value_at,
  (SELECT word FROM word WHERE list = 'account' AND number = e.counter_account) AS counter_account,
  CASE WHEN e.month IS NOT NULL THEN
    iif(e.channel = 3, d.authorization_id, printf('%04d-%02d', e.month / 12, e.month % 12 + 1))
  END AS bill,
  (SELECT word FROM receipt r JOIN word w ON w.list = 'receipt' AND w.number = r.kind WHERE r.lsn = e.lsn) AS cause,
  (SELECT id FROM receipt WHERE lsn = e.lsn) AS cause_id,
  strftime('%Y-%m-%dT%H:%M:%S', e.own_day / 1000 + 32400, 'unixepoch')
    || printf('.%03d+09:00', e.own_day % 1000) AS money_day,
  d.merchant_id
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
    || printf('.%03d+09:00', s.recorded_at % 1000),
  NULL,
  NULL,
  (SELECT word FROM word WHERE list = 'channel' AND number = d.channel),
  strftime('%Y-%m-%dT%H:%M:%S', s.recorded_at / 1000 + 32400, 'unixepoch')
    || printf('.%03d+09:00', s.recorded_at % 1000),
  (SELECT word FROM word WHERE list = 'account' AND number = s.counter_account),
  NULL,
  (SELECT word FROM receipt r JOIN word w ON w.list = 'receipt' AND w.number = r.kind WHERE r.lsn = s.lsn),
  (SELECT id FROM receipt WHERE lsn = s.lsn),
  NULL,
  d.merchant_id
FROM (
  SELECT order_lsn AS lsn, 18 AS kind, 7 AS counter_account, customer, amount, order_lsn, recorded_at FROM suspense
  UNION ALL
  SELECT cleared_lsn, cleared_kind, cleared_counter, customer, -amount, order_lsn, cleared_at FROM suspense
  WHERE cleared_lsn IS NOT NULL
) s
LEFT JOIN account a ON a.customer = s.customer
LEFT JOIN decision d ON d.lsn = s.order_lsn;

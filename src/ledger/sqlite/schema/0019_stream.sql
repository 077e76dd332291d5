-- Where several journals are posted to one database, each view with an `lsn` tells which one it is of, in a column behind the others:
-- here 0, the journal of files.

DROP VIEW decisions;
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
  d.lsn,
  0 AS stream
FROM decision d LEFT JOIN account a ON a.customer = d.customer
WHERE d.state <> 1;

DROP VIEW ledger_position;
CREATE VIEW ledger_position AS SELECT lsn, 0 AS stream FROM posted;

DROP VIEW entries;
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
  d.merchant_id,
  0 AS stream
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
  d.merchant_id,
  0
FROM (
  SELECT order_lsn AS lsn, 18 AS kind, 7 AS counter_account, customer, amount, order_lsn, recorded_at FROM suspense
  UNION ALL
  SELECT cleared_lsn, cleared_kind, cleared_counter, customer, -amount, order_lsn, cleared_at FROM suspense
  WHERE cleared_lsn IS NOT NULL
) s
LEFT JOIN account a ON a.customer = s.customer
LEFT JOIN decision d ON d.lsn = s.order_lsn;

DROP VIEW postings;
CREATE VIEW postings AS
SELECT
  e.lsn, e.customer_id, e.kind, e.account, e.counter_account, b.unit,
  iif(b.side = 'debit', e.amount, -e.amount) AS amount,
  e.amount AS change,
  e.statement_month, e.bill, e.channel, e.authorization_id, e.repayment_id, e.refund_id, e.cause, e.cause_id, e.merchant_id,
  e.recorded_at, e.value_at, e.money_day, e.stream
FROM entries e JOIN books b ON b.account = e.account
UNION ALL
SELECT
  e.lsn, e.customer_id, e.kind, e.counter_account, e.account, b.unit,
  iif(b.side = 'debit', -e.amount, e.amount),
  iif(b.side = c.side, -e.amount, e.amount),
  e.statement_month, e.bill, e.channel, e.authorization_id, e.repayment_id, e.refund_id, e.cause, e.cause_id, e.merchant_id,
  e.recorded_at, e.value_at, e.money_day, e.stream
FROM entries e JOIN books b ON b.account = e.account JOIN books c ON c.account = e.counter_account;

DROP VIEW cash;
CREATE VIEW cash AS
SELECT
  lsn,
  customer_id,
  substr(recorded_at, 1, 10) AS booked_day,
  substr(coalesce(max(iif(kind = 'repayment', money_day, NULL)), recorded_at), 1, 10) AS paid_day,
  cause AS source,
  cause_id AS id,
  sum(amount) AS amount,
  stream
FROM postings WHERE account = 'cash'
GROUP BY lsn, customer_id, recorded_at, cause, cause_id
HAVING sum(amount) <> 0;

DROP VIEW customer_account;
CREATE VIEW customer_account AS
SELECT
  customer_id, lsn, recorded_at, value_at, kind, account, bill, authorization_id, repayment_id, refund_id, cause, cause_id,
  amount,
  sum(amount) OVER (PARTITION BY customer_id ORDER BY lsn) AS balance,
  stream
FROM postings
WHERE account IN ('exposure', 'bill_fee', 'late_fee', 'damages', 'credit', 'payout_due', 'written_off')
  AND kind NOT IN ('hold', 'hold_released');

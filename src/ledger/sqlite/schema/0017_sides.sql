-- Both sides of each movement, its day of value, and what an analyst asks of them (`docs/analyst.md`). The views add rows up
-- and decide nothing.

-- From when a movement counts; null for those from before this column. Rows of principal on a month's bill name its channel
-- from here on, and what is about none has the channel 0; those of before say 1 whatever it was.
ALTER TABLE movement ADD COLUMN value_at INTEGER;

-- From what a customer's limits come: the rung, or staff's own limits in its place. One row each time that it changes, the
-- first when the customer is new; for those of before this table, one as they stand now.
CREATE TABLE grade (
  customer INTEGER NOT NULL,
  lsn INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  rung INTEGER NOT NULL,
  limit_total INTEGER,
  limit_in_store INTEGER,
  is_first INTEGER NOT NULL,
  PRIMARY KEY (customer, lsn)
) STRICT, WITHOUT ROWID;
INSERT INTO grade
SELECT a.customer, p.lsn, p.time, a.rung, a.limit_total, a.limit_in_store, 0 FROM account a, posted p;

CREATE INDEX receipt_lsn ON receipt (lsn);
CREATE INDEX refund_lsn ON refund (lsn);

-- The days in Japan, each from `starts_at` to before `ends_at`, for the views that need a date.
CREATE TABLE day (
  day TEXT PRIMARY KEY,
  month TEXT NOT NULL,
  is_month_end INTEGER NOT NULL,
  starts_at INTEGER NOT NULL,
  ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO day
WITH RECURSIVE dates (day) AS (
  SELECT '2021-01-01' UNION ALL SELECT date(day, '+1 day') FROM dates WHERE day < '2040-12-31'
)
SELECT day, substr(day, 1, 7), day = date(day, 'start of month', '+1 month', '-1 day'),
  (unixepoch(day) - 32400) * 1000, (unixepoch(day) + 54000) * 1000
FROM dates;

DROP VIEW entry;
-- Every movement of a customer's books with its far side, as before, and from when it counts.
CREATE VIEW entry AS
SELECT lsn >> 16 AS block, lsn, iif(hold_expires_at IS NULL, 1, 2) AS kind, customer, 1 AS account,
  iif(hold_expires_at IS NULL, 7, 8) AS counter_account, amount, iif(hold_expires_at IS NULL, month, NULL) AS month,
  channel, lsn AS order_lsn, decided_at AS recorded_at, NULL AS money, NULL AS own_day, NULL AS far, NULL AS far_bill,
  decided_at AS value_at
FROM decision WHERE state > 2 AND customer IS NOT NULL
UNION ALL
SELECT lsn >> 16, lsn, 7, customer, 6, 9, points, month, channel, lsn, decided_at, NULL, NULL, NULL, NULL, decided_at
FROM decision WHERE state > 2 AND hold_expires_at IS NULL AND points > 0
UNION ALL
SELECT lsn >> 16, lsn, kind, customer, account, counter_account, amount, month, channel, order_lsn, recorded_at, money,
  own_day, far, far_bill, value_at
FROM movement;

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
  (SELECT id FROM receipt WHERE lsn = iif(e.money <> 0, e.money, iif(e.far = 1, e.lsn, NULL)) AND kind IN (1, 5, 9))
    AS repayment_id,
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

-- The accounts: `side` is `debit` where more on it is more that is owed to us or in our hands, and `credit` where more is
-- more that we owe or earned.
CREATE VIEW books AS
SELECT
  w.word AS account,
  (SELECT word FROM word WHERE list = 'side' AND number = w.number) AS side,
  (SELECT word FROM word WHERE list = 'unit' AND number = w.number) AS unit
FROM word w WHERE w.list = 'account';

-- Both sides of each movement, as two rows. `amount` is more than nothing for a debit and less for a credit: the rows of a
-- record, of a customer and of all come to zero. `change` is the same in the account's own direction, as `entries` has it.
CREATE VIEW postings AS
SELECT
  e.lsn, e.customer_id, e.kind, e.account, e.counter_account, b.unit,
  iif(b.side = 'debit', e.amount, -e.amount) AS amount,
  e.amount AS change,
  e.statement_month, e.bill, e.channel, e.authorization_id, e.repayment_id, e.refund_id, e.cause, e.cause_id, e.merchant_id,
  e.recorded_at, e.value_at, e.money_day
FROM entries e JOIN books b ON b.account = e.account
UNION ALL
SELECT
  e.lsn, e.customer_id, e.kind, e.counter_account, e.account, b.unit,
  iif(b.side = 'debit', -e.amount, e.amount),
  iif(b.side = c.side, -e.amount, e.amount),
  e.statement_month, e.bill, e.channel, e.authorization_id, e.repayment_id, e.refund_id, e.cause, e.cause_id, e.merchant_id,
  e.recorded_at, e.value_at, e.money_day
FROM entries e JOIN books b ON b.account = e.account JOIN books c ON c.account = e.counter_account;

DROP VIEW customers;
-- As before, and when the customer was new; null for those of before that was kept.
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
  a.payout_due,
  (SELECT strftime('%Y-%m-%dT%H:%M:%S', g.recorded_at / 1000 + 32400, 'unixepoch')
    || printf('.%03d+09:00', g.recorded_at % 1000)
    FROM grade g WHERE g.customer = a.customer AND g.is_first ORDER BY g.lsn LIMIT 1) AS joined_at
FROM account a;

-- Every bill and invoice of which something is open at the end of a day, by the day of value; of one that is not issued by
-- then, what was bought so far. Name a day: without one it is worked out for each.
CREATE VIEW open_bills AS
SELECT
  o.day,
  o.month,
  o.is_month_end,
  a.customer_id,
  iif(o.np = 0, printf('%04d-%02d', o.billed_in / 12, o.billed_in % 12 + 1), d.authorization_id) AS bill,
  iif(o.np = 0, 'bill', 'invoice') AS kind,
  o.due,
  iif(o.day > o.due, CAST(julianday(o.day) - julianday(o.due) AS INTEGER), 0) AS days_late,
  CASE
    WHEN o.due IS NULL OR o.day <= o.due THEN 'not due'
    WHEN julianday(o.day) - julianday(o.due) <= 30 THEN '1-30'
    WHEN julianday(o.day) - julianday(o.due) <= 60 THEN '31-60'
    WHEN julianday(o.day) - julianday(o.due) <= 90 THEN '61-90'
    ELSE '90+'
  END AS bucket,
  o.principal,
  o.bill_fee,
  o.late_fees,
  o.damages
FROM (
  SELECT s.*, CASE WHEN s.due_number IS NOT NULL THEN
    printf('%04d-%02d-%02d', s.due_number / 10000, s.due_number / 100 % 100, s.due_number % 100)
  END AS due
  FROM (
    SELECT
      d.day, d.month, d.is_month_end, e.customer, e.month AS billed_in, iif(e.channel = 3, e.order_lsn, 0) AS np,
      CASE WHEN e.channel = 3 THEN
        (SELECT coalesce(capture_due, due) FROM decision WHERE lsn = e.order_lsn)
      ELSE
        (SELECT due FROM bill b WHERE b.customer = e.customer AND b.month = e.month)
      END AS due_number,
      sum(iif(e.account = 1, e.amount, 0)) AS principal,
      sum(iif(e.account = 2, e.amount, 0)) AS bill_fee,
      sum(iif(e.account = 3, e.amount, 0)) AS late_fees,
      sum(iif(e.account = 4, e.amount, 0)) AS damages
    FROM day d JOIN entry e ON coalesce(e.value_at, e.recorded_at) < d.ends_at
    WHERE e.account < 5 AND e.month IS NOT NULL
    GROUP BY d.day, d.month, d.is_month_end, e.customer, e.month, iif(e.channel = 3, e.order_lsn, 0)
  ) s
) o
JOIN account a ON a.customer = o.customer
LEFT JOIN decision d ON d.lsn = o.np AND o.np <> 0
WHERE o.principal <> 0 OR o.bill_fee <> 0 OR o.late_fees <> 0 OR o.damages <> 0;

-- What is owed of principal at the end of a month, by its channel and by the day of value; holds are none of it. Name a
-- month.
CREATE VIEW receivable AS
SELECT
  d.month,
  CASE WHEN e.order_lsn <> 0 OR e.value_at IS NOT NULL THEN
    (SELECT word FROM word WHERE list = 'channel' AND number = e.channel)
  END AS channel,
  sum(e.amount) AS principal
FROM day d JOIN entry e ON coalesce(e.value_at, e.recorded_at) < d.ends_at
WHERE d.is_month_end AND e.account = 1 AND e.month IS NOT NULL
GROUP BY d.month, 2;

-- Fees and damages by the day on which they fell due: what was charged, what was waived and what late news took back.
CREATE VIEW fees AS
SELECT
  substr(coalesce(value_at, recorded_at), 1, 10) AS due_day,
  account,
  sum(iif(amount > 0, amount, 0)) AS charged,
  -sum(iif(kind LIKE '%_waived', amount, 0)) AS waived,
  -sum(iif(kind LIKE '%_taken_back' OR kind LIKE '%_reversed', amount, 0)) AS taken_back,
  sum(amount) AS kept
FROM entries WHERE counter_account = 'fee_income'
GROUP BY 1, 2;

-- Each sum of money that is owed to a customer at the end of a day, by the day of entry: credit, and what is owed in cash,
-- with its own day. Name a day.
CREATE VIEW free_money AS
SELECT
  s.day, a.customer_id, s.account,
  strftime('%Y-%m-%d', s.own_day / 1000 + 32400, 'unixepoch') AS own_day,
  CAST(julianday(s.day) - julianday(strftime('%Y-%m-%d', s.own_day / 1000 + 32400, 'unixepoch')) AS INTEGER) AS age,
  s.amount
FROM (
  SELECT d.day, e.customer, (SELECT word FROM word WHERE list = 'account' AND number = e.account) AS account,
    min(e.own_day) AS own_day, sum(e.amount) AS amount
  FROM day d JOIN entry e ON e.recorded_at < d.ends_at
  WHERE e.account IN (5, 14)
  GROUP BY d.day, e.customer, e.account, e.money
) s JOIN account a ON a.customer = s.customer
WHERE s.amount <> 0;

-- What a shop is to be paid for a day, by the day of entry.
CREATE VIEW settlement AS
SELECT
  substr(recorded_at, 1, 10) AS day,
  merchant_id,
  sum(iif(kind IN ('purchase', 'capture', 'suspense'), amount, 0)) AS sold,
  -sum(iif(kind IN ('cancel', 'suspense_cleared', 'suspense_charged', 'suspense_returned'), amount, 0)) AS cancelled,
  -sum(iif(kind = 'refund', amount, 0)) AS refunded,
  sum(amount) AS net
FROM entries WHERE counter_account = 'merchant_payable'
GROUP BY 1, 2;

-- Money that came and went, one row a record; less than nothing is what was paid out.
CREATE VIEW cash AS
SELECT
  lsn,
  customer_id,
  substr(recorded_at, 1, 10) AS booked_day,
  substr(coalesce(max(iif(kind = 'repayment', money_day, NULL)), recorded_at), 1, 10) AS paid_day,
  cause AS source,
  cause_id AS id,
  sum(amount) AS amount
FROM postings WHERE account = 'cash'
GROUP BY lsn, customer_id, recorded_at, cause, cause_id
HAVING sum(amount) <> 0;

-- What moved between a customer and us, in the order of entry: `amount` is added to what the customer owes, `balance` is
-- that after the record. Holds and points are none of it.
CREATE VIEW customer_account AS
SELECT
  customer_id, lsn, recorded_at, value_at, kind, account, bill, authorization_id, repayment_id, refund_id, cause, cause_id,
  amount,
  sum(amount) OVER (PARTITION BY customer_id ORDER BY lsn) AS balance
FROM postings
WHERE account IN ('exposure', 'bill_fee', 'late_fee', 'damages', 'credit', 'payout_due', 'written_off')
  AND kind NOT IN ('hold', 'hold_released');

-- What was written off and not recovered, released or not, by the rung on which the customer then was and the month of joining.
CREATE VIEW losses AS
SELECT
  (SELECT g.rung FROM grade g JOIN account a ON a.customer = g.customer
    WHERE a.customer_id = e.customer_id AND g.lsn <= e.lsn ORDER BY g.lsn DESC LIMIT 1) AS rung,
  (SELECT substr(joined_at, 1, 7) FROM customers c WHERE c.customer_id = e.customer_id) AS joined,
  sum(e.amount) AS written_off
FROM entries e WHERE e.account = 'written_off' AND e.counter_account = 'loss'
GROUP BY 1, 2;

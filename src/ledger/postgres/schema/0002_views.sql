-- What issuers and analysts query: the same views with the same columns as in the embedded ledger, and `stream` at the end of
-- each that has an `lsn`.

-- A time in Japan, as an answer shows it.
CREATE FUNCTION jst(ms bigint) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN (to_char(timestamp 'epoch' + ms * interval '1 millisecond' + interval '9 hours', 'YYYY-MM-DD"T"HH24:MI:SS.MS') || '+09:00') COLLATE "C";

CREATE FUNCTION month_text(month integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad((month / 12)::text, 4, '0') || '-' || lpad((month % 12 + 1)::text, 2, '0')) COLLATE "C";

CREATE FUNCTION date_text(number integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad((number / 10000)::text, 4, '0') || '-' || lpad((number / 100 % 100)::text, 2, '0') || '-' || lpad((number % 100)::text, 2, '0')) COLLATE "C";

-- Each order: what was decided, and what became of it.
CREATE VIEW decided AS
SELECT d.*, n.state, n.captured, n.refunded, n.capture_at, n.capture_month, n.capture_due, n.capture_points, n.touched,
  n.touched_at, n.recalled, n.advice, n.charged
FROM decision d JOIN decision_now n ON n.stream = d.stream AND n.lsn = d.lsn;

CREATE VIEW ledger_position AS SELECT lsn, stream FROM posted;

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
  jst(d.decided_at) AS decided_at,
  CASE WHEN d.captured IS NOT NULL AND d.customer IS NOT NULL THEN
    month_text(coalesce(d.capture_month, d.month))
  END AS statement_month,
  d.lsn,
  d.stream
FROM decided d LEFT JOIN account a ON a.stream = d.stream AND a.customer = d.customer
WHERE d.state <> 1;

-- Every movement of a customer's books with its far side, and from when it counts; `id` orders those of one record.
CREATE VIEW entry AS
SELECT lsn, (CASE WHEN hold_expires_at IS NULL THEN 1 ELSE 2 END)::smallint AS kind, customer, 1::smallint AS account,
  (CASE WHEN hold_expires_at IS NULL THEN 7 ELSE 8 END)::smallint AS counter_account, amount,
  CASE WHEN hold_expires_at IS NULL THEN month END AS month, channel, lsn AS order_lsn, decided_at AS recorded_at,
  NULL::bigint AS money, NULL::bigint AS own_day, NULL::smallint AS far, NULL::bigint AS far_bill, decided_at AS value_at,
  stream, 0::bigint AS id
FROM decision WHERE customer IS NOT NULL AND reason IS NULL
UNION ALL
SELECT lsn, 7::smallint, customer, 6::smallint, 9::smallint, points, month, channel, lsn, decided_at,
  NULL, NULL, NULL, NULL, decided_at, stream, 0
FROM decision WHERE customer IS NOT NULL AND reason IS NULL AND hold_expires_at IS NULL AND points > 0
UNION ALL
SELECT lsn, kind, customer, account, counter_account, amount, month, channel, order_lsn, recorded_at, money, own_day, far,
  far_bill, value_at, stream, id
FROM movement;

CREATE VIEW entries AS
SELECT
  e.lsn,
  a.customer_id,
  (SELECT word FROM word WHERE list = 'kind' AND number = e.kind) AS kind,
  (SELECT word FROM word WHERE list = 'account' AND number = e.account) AS account,
  e.amount,
  month_text(e.month) AS statement_month,
  d.authorization_id,
  jst(e.recorded_at) AS recorded_at,
  (SELECT coalesce(about, id) FROM receipt r WHERE r.stream = e.stream
    AND r.lsn = CASE WHEN e.money <> 0 THEN e.money WHEN e.far = 1 THEN e.lsn END AND r.kind IN (1, 5, 9)) AS repayment_id,
  coalesce(
    (SELECT refund_id FROM refund r WHERE r.stream = e.stream AND r.lsn = e.lsn),
    (SELECT refund_id FROM refund r WHERE r.stream = e.stream AND r.lsn = e.money)
  ) AS refund_id,
  CASE WHEN e.order_lsn <> 0 OR e.value_at IS NOT NULL THEN
    (SELECT word FROM word WHERE list = 'channel' AND number = e.channel)
  END AS channel,
  jst(e.value_at) AS value_at,
  (SELECT word FROM word WHERE list = 'account' AND number = e.counter_account) AS counter_account,
  CASE WHEN e.month IS NOT NULL THEN
    CASE WHEN e.channel = 3 THEN d.authorization_id ELSE month_text(e.month) END
  END AS bill,
  (SELECT word FROM receipt r JOIN word w ON w.list = 'receipt' AND w.number = r.kind
    WHERE r.stream = e.stream AND r.lsn = e.lsn) AS cause,
  (SELECT id FROM receipt r WHERE r.stream = e.stream AND r.lsn = e.lsn) AS cause_id,
  jst(e.own_day) AS money_day,
  d.merchant_id,
  e.stream
FROM entry e
JOIN account a ON a.stream = e.stream AND a.customer = e.customer
LEFT JOIN decision d ON d.stream = e.stream AND d.lsn = e.order_lsn
UNION ALL
SELECT
  s.lsn,
  a.customer_id,
  (SELECT word FROM word WHERE list = 'kind' AND number = s.kind),
  (SELECT word FROM word WHERE list = 'account' AND number = 13),
  s.amount,
  NULL,
  d.authorization_id,
  jst(s.recorded_at),
  NULL,
  NULL,
  (SELECT word FROM word WHERE list = 'channel' AND number = d.channel),
  jst(s.recorded_at),
  (SELECT word FROM word WHERE list = 'account' AND number = s.counter_account),
  NULL,
  (SELECT word FROM receipt r JOIN word w ON w.list = 'receipt' AND w.number = r.kind
    WHERE r.stream = s.stream AND r.lsn = s.lsn),
  (SELECT id FROM receipt r WHERE r.stream = s.stream AND r.lsn = s.lsn),
  NULL,
  d.merchant_id,
  s.stream
FROM (
  SELECT order_lsn AS lsn, 18::smallint AS kind, 7::smallint AS counter_account, customer, amount, order_lsn, recorded_at, stream
  FROM suspense
  UNION ALL
  SELECT cleared_lsn, cleared_kind, cleared_counter, customer, -amount, order_lsn, cleared_at, stream FROM suspense
  WHERE cleared_lsn IS NOT NULL
) s
LEFT JOIN account a ON a.stream = s.stream AND a.customer = s.customer
LEFT JOIN decision d ON d.stream = s.stream AND d.lsn = s.order_lsn;

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
  CASE WHEN b.side = 'debit' THEN e.amount ELSE -e.amount END AS amount,
  e.amount AS change,
  e.statement_month, e.bill, e.channel, e.authorization_id, e.repayment_id, e.refund_id, e.cause, e.cause_id, e.merchant_id,
  e.recorded_at, e.value_at, e.money_day, e.stream
FROM entries e JOIN books b ON b.account = e.account
UNION ALL
SELECT
  e.lsn, e.customer_id, e.kind, e.counter_account, e.account, b.unit,
  CASE WHEN b.side = 'debit' THEN -e.amount ELSE e.amount END,
  CASE WHEN b.side = c.side THEN -e.amount ELSE e.amount END,
  e.statement_month, e.bill, e.channel, e.authorization_id, e.repayment_id, e.refund_id, e.cause, e.cause_id, e.merchant_id,
  e.recorded_at, e.value_at, e.money_day, e.stream
FROM entries e JOIN books b ON b.account = e.account JOIN books c ON c.account = e.counter_account;

CREATE VIEW customers AS
SELECT
  a.customer_id,
  (SELECT word FROM word WHERE list = 'identity' AND number = a.identity) AS identity,
  a.identity_reason,
  date_text(a.birth_date) AS birth_date,
  a.guardian_consent,
  (SELECT word FROM word WHERE list = 'payment_method' AND number = a.payment_method) AS payment_method,
  (SELECT word FROM word WHERE list = 'status' AND number = a.status) AS status,
  a.limit_total,
  a.limit_in_store,
  a.rung,
  a.in_store + a.online + a.story_principal + h.held AS exposure,
  h.held,
  a.credit,
  a.on_time_bills,
  a.purchases,
  a.months_active,
  a.payout_due,
  (SELECT jst(g.recorded_at) FROM grade g
    WHERE g.stream = a.stream AND g.customer = a.customer AND g.is_first = 1 ORDER BY g.lsn LIMIT 1) AS joined_at
FROM account a CROSS JOIN LATERAL (
  SELECT coalesce(sum(amount), 0)::bigint AS held FROM hold WHERE hold.stream = a.stream AND hold.customer = a.customer
) h;

CREATE VIEW statements AS
SELECT
  a.customer_id,
  month_text(s.month) AS month,
  (SELECT word FROM word WHERE list = 'payment_method' AND number = b.method) AS payment_method,
  date_text(b.due) AS due,
  s.principal,
  s.bill_fee,
  s.late_fees,
  s.damages,
  s.principal + s.bill_fee + s.late_fees + s.damages - s.open - s.released AS paid,
  s.unpaid_principal,
  s.points,
  s.given_up + s.released AS written_off
FROM (
  SELECT
    e.stream,
    e.customer,
    e.month,
    sum(CASE WHEN e.account = 1 AND e.kind IN (1, 4, 5, 6) THEN e.amount ELSE 0 END)::bigint AS principal,
    sum(CASE WHEN e.account = 2 AND e.kind IN (9, 10) THEN e.amount ELSE 0 END)::bigint AS bill_fee,
    sum(CASE WHEN e.account = 3 AND e.kind IN (11, 12, 42) THEN e.amount ELSE 0 END)::bigint AS late_fees,
    sum(CASE WHEN e.account = 4 AND e.kind IN (13, 20, 43) THEN e.amount ELSE 0 END)::bigint AS damages,
    sum(CASE WHEN e.account < 5 THEN e.amount ELSE 0 END)::bigint AS open,
    sum(CASE WHEN e.account < 5 AND e.kind = 46 THEN -e.amount ELSE 0 END)::bigint AS released,
    sum(CASE WHEN e.account = 22 THEN e.amount ELSE 0 END)::bigint AS given_up,
    sum(CASE WHEN e.account = 1 THEN e.amount ELSE 0 END)::bigint AS unpaid_principal,
    sum(CASE WHEN e.account = 6 THEN e.amount ELSE 0 END)::bigint AS points
  FROM entry e
  WHERE e.month IS NOT NULL AND e.channel <> 3
  GROUP BY e.stream, e.customer, e.month
) s
JOIN account a ON a.stream = s.stream AND a.customer = s.customer
LEFT JOIN bill b ON b.stream = s.stream AND b.customer = s.customer AND b.month = s.month;

-- Every bill and invoice of which something is open at the end of a day, by the day of value; of one that is not issued by
-- then, what was bought so far. Name a day: without one it is worked out for each.
CREATE VIEW open_bills AS
SELECT
  o.day,
  o.month,
  o.is_month_end,
  a.customer_id,
  CASE WHEN o.np = 0 THEN month_text(o.billed_in) ELSE d.authorization_id END AS bill,
  CASE WHEN o.np = 0 THEN 'bill' ELSE 'invoice' END AS kind,
  o.due,
  CASE WHEN o.day > o.due THEN o.day::date - o.due::date ELSE 0 END AS days_late,
  CASE
    WHEN o.due IS NULL OR o.day <= o.due THEN 'not due'
    WHEN o.day::date - o.due::date <= 30 THEN '1-30'
    WHEN o.day::date - o.due::date <= 60 THEN '31-60'
    WHEN o.day::date - o.due::date <= 90 THEN '61-90'
    ELSE '90+'
  END COLLATE "C" AS bucket,
  o.principal,
  o.bill_fee,
  o.late_fees,
  o.damages
FROM (
  SELECT s.*, date_text(CASE WHEN s.np <> 0 THEN
    (SELECT coalesce(capture_due, due) FROM decided d WHERE d.stream = s.stream AND d.lsn = s.np)
  ELSE
    (SELECT due FROM bill b WHERE b.stream = s.stream AND b.customer = s.customer AND b.month = s.billed_in)
  END) AS due
  FROM (
    SELECT
      d.day, d.month, d.is_month_end, e.stream, e.customer, e.month AS billed_in,
      CASE WHEN e.channel = 3 THEN e.order_lsn ELSE 0 END AS np,
      sum(CASE WHEN e.account = 1 THEN e.amount ELSE 0 END)::bigint AS principal,
      sum(CASE WHEN e.account = 2 THEN e.amount ELSE 0 END)::bigint AS bill_fee,
      sum(CASE WHEN e.account = 3 THEN e.amount ELSE 0 END)::bigint AS late_fees,
      sum(CASE WHEN e.account = 4 THEN e.amount ELSE 0 END)::bigint AS damages
    FROM day d JOIN entry e ON coalesce(e.value_at, e.recorded_at) < d.ends_at
    WHERE e.account < 5 AND e.month IS NOT NULL
    GROUP BY d.day, d.month, d.is_month_end, e.stream, e.customer, e.month, CASE WHEN e.channel = 3 THEN e.order_lsn ELSE 0 END
  ) s
) o
JOIN account a ON a.stream = o.stream AND a.customer = o.customer
LEFT JOIN decision d ON d.stream = o.stream AND d.lsn = o.np AND o.np <> 0
WHERE o.principal <> 0 OR o.bill_fee <> 0 OR o.late_fees <> 0 OR o.damages <> 0;

-- What is owed of principal at the end of a month, by its channel and by the day of value; holds are none of it. Name a
-- month.
CREATE VIEW receivable AS
SELECT
  d.month,
  CASE WHEN e.order_lsn <> 0 OR e.value_at IS NOT NULL THEN
    (SELECT word FROM word WHERE list = 'channel' AND number = e.channel)
  END AS channel,
  sum(e.amount)::bigint AS principal
FROM day d JOIN entry e ON coalesce(e.value_at, e.recorded_at) < d.ends_at
WHERE d.is_month_end = 1 AND e.account = 1 AND e.month IS NOT NULL
GROUP BY 1, 2;

-- Fees and damages by the day on which they fell due: what was charged, what was waived and what late news took back.
CREATE VIEW fees AS
SELECT
  substr(coalesce(value_at, recorded_at), 1, 10) AS due_day,
  account,
  sum(CASE WHEN amount > 0 THEN amount ELSE 0 END)::bigint AS charged,
  -sum(CASE WHEN kind LIKE '%\_waived' THEN amount ELSE 0 END)::bigint AS waived,
  -sum(CASE WHEN kind LIKE '%\_taken\_back' OR kind LIKE '%\_reversed' THEN amount ELSE 0 END)::bigint AS taken_back,
  sum(amount)::bigint AS kept
FROM entries WHERE counter_account = 'fee_income'
GROUP BY 1, 2;

-- Each sum of money that is owed to a customer at the end of a day, by the day of entry: credit, and what is owed in cash,
-- with its own day. Name a day.
CREATE VIEW free_money AS
SELECT
  s.day, a.customer_id, s.account,
  substr(jst(s.own_day), 1, 10) AS own_day,
  s.day::date - substr(jst(s.own_day), 1, 10)::date AS age,
  s.amount
FROM (
  SELECT d.day, e.stream, e.customer, (SELECT word FROM word WHERE list = 'account' AND number = e.account) AS account,
    min(e.own_day) AS own_day, sum(e.amount)::bigint AS amount
  FROM day d JOIN entry e ON e.recorded_at < d.ends_at
  WHERE e.account IN (5, 14)
  GROUP BY d.day, e.stream, e.customer, e.account, e.money
) s JOIN account a ON a.stream = s.stream AND a.customer = s.customer
WHERE s.amount <> 0;

-- What a shop is to be paid for a day, by the day of entry.
CREATE VIEW settlement AS
SELECT
  substr(recorded_at, 1, 10) AS day,
  merchant_id,
  sum(CASE WHEN kind IN ('purchase', 'capture', 'suspense') THEN amount ELSE 0 END)::bigint AS sold,
  -sum(CASE WHEN kind IN ('cancel', 'suspense_cleared', 'suspense_charged', 'suspense_returned') THEN amount ELSE 0 END)::bigint
    AS cancelled,
  -sum(CASE WHEN kind = 'refund' THEN amount ELSE 0 END)::bigint AS refunded,
  sum(amount)::bigint AS net
FROM entries WHERE counter_account = 'merchant_payable'
GROUP BY 1, 2;

-- Money that came and went, one row a record; less than nothing is what was paid out.
CREATE VIEW cash AS
SELECT
  lsn,
  customer_id,
  substr(recorded_at, 1, 10) AS booked_day,
  substr(coalesce(max(CASE WHEN kind = 'repayment' THEN money_day END), recorded_at), 1, 10) AS paid_day,
  cause AS source,
  cause_id AS id,
  sum(amount)::bigint AS amount,
  stream
FROM postings WHERE account = 'cash'
GROUP BY stream, lsn, customer_id, recorded_at, cause, cause_id
HAVING sum(amount) <> 0;

-- What moved between a customer and us, in the order of entry: `amount` is added to what the customer owes, `balance` is
-- that after the record. Holds and points are none of it.
CREATE VIEW customer_account AS
SELECT
  customer_id, lsn, recorded_at, value_at, kind, account, bill, authorization_id, repayment_id, refund_id, cause, cause_id,
  amount,
  (sum(amount) OVER (PARTITION BY stream, customer_id ORDER BY lsn))::bigint AS balance,
  stream
FROM postings
WHERE account IN ('exposure', 'bill_fee', 'late_fee', 'damages', 'credit', 'payout_due', 'written_off')
  AND kind NOT IN ('hold', 'hold_released');

-- What was written off and not recovered, released or not, by the rung on which the customer then was and the month of joining.
CREATE VIEW losses AS
SELECT
  (SELECT g.rung FROM grade g JOIN account a ON a.stream = g.stream AND a.customer = g.customer
    WHERE g.stream = e.stream AND a.customer_id = e.customer_id AND g.lsn <= e.lsn ORDER BY g.lsn DESC LIMIT 1) AS rung,
  (SELECT substr(jst(g.recorded_at), 1, 7) FROM grade g JOIN account a ON a.stream = g.stream AND a.customer = g.customer
    WHERE g.stream = e.stream AND a.customer_id = e.customer_id AND g.is_first = 1 ORDER BY g.lsn LIMIT 1) AS joined,
  sum(e.amount)::bigint AS written_off
FROM entries e WHERE e.account = 'written_off' AND e.counter_account = 'loss'
GROUP BY 1, 2;

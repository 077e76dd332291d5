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

-- Which money makes a movement: the record that brought or freed it, and its own day; and the other end: 1 received,
-- 2 refund, 3 a month's bill, 4 an NP invoice, 5 credit, 6 due for payout, 7 paid out. `far_bill` is the month, or the record
-- of the NP purchase.
ALTER TABLE movement ADD COLUMN money INTEGER;
ALTER TABLE movement ADD COLUMN own_day INTEGER;
ALTER TABLE movement ADD COLUMN far INTEGER;
ALTER TABLE movement ADD COLUMN far_bill INTEGER;

DROP VIEW entry;
-- Every movement of a customer's books with its far side, as before, and the money that makes it.
CREATE VIEW entry AS
SELECT lsn >> 16 AS block, lsn, iif(hold_expires_at IS NULL, 1, 2) AS kind, customer, 1 AS account,
  iif(hold_expires_at IS NULL, 7, 8) AS counter_account, amount, iif(hold_expires_at IS NULL, month, NULL) AS month,
  channel, lsn AS order_lsn, decided_at AS recorded_at, NULL AS money, NULL AS own_day, NULL AS far, NULL AS far_bill
FROM decision WHERE state > 2 AND customer IS NOT NULL
UNION ALL
SELECT lsn >> 16, lsn, 7, customer, 6, 9, points, month, channel, lsn, decided_at, NULL, NULL, NULL, NULL
FROM decision WHERE state > 2 AND hold_expires_at IS NULL AND points > 0
UNION ALL
SELECT lsn >> 16, lsn, kind, customer, account, counter_account, amount, month, channel, order_lsn, recorded_at, money,
  own_day, far, far_bill
FROM movement;

DROP VIEW statements;
-- As before; damages are those posted and not taken back.
CREATE VIEW statements AS
SELECT
  a.customer_id,
  printf('%04d-%02d', s.month / 12, s.month % 12 + 1) AS month,
  (SELECT word FROM word WHERE list = 'payment_method' AND number = b.method) AS payment_method,
  printf('%04d-%02d-%02d', b.due / 10000, b.due / 100 % 100, b.due % 100) AS due,
  s.principal,
  s.bill_fee,
  s.late_fees,
  s.damages,
  s.principal + s.bill_fee + s.late_fees + s.damages - s.open AS paid,
  s.unpaid_principal,
  s.points
FROM (
  SELECT
    e.customer,
    e.month,
    sum(CASE WHEN e.account = 1 AND e.kind IN (1, 4, 5, 6) THEN e.amount ELSE 0 END) AS principal,
    sum(CASE WHEN e.account = 2 AND e.kind IN (9, 10) THEN e.amount ELSE 0 END) AS bill_fee,
    sum(CASE WHEN e.account = 3 AND e.kind IN (11, 12) THEN e.amount ELSE 0 END) AS late_fees,
    sum(CASE WHEN e.account = 4 AND e.kind IN (13, 20) THEN e.amount ELSE 0 END) AS damages,
    sum(CASE WHEN e.account < 5 THEN e.amount ELSE 0 END) AS open,
    sum(CASE WHEN e.account = 1 THEN e.amount ELSE 0 END) AS unpaid_principal,
    sum(CASE WHEN e.account = 6 THEN e.amount ELSE 0 END) AS points
  FROM entry e
  WHERE e.month IS NOT NULL AND e.channel <> 3
  GROUP BY e.customer, e.month
) s
JOIN account a ON a.customer = s.customer
LEFT JOIN bill b ON b.customer = s.customer AND b.month = s.month;

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

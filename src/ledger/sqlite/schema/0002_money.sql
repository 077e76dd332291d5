-- What bills, payments and the office add to the books.

-- What the ladder counts.
ALTER TABLE account ADD COLUMN on_time_bills INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN purchases INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN months_active INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN latest_month INTEGER;
-- Unpaid principal of the bills in `dossier`.
ALTER TABLE account ADD COLUMN story_principal INTEGER NOT NULL DEFAULT 0;

-- The bills with a story, the notes and the age of the credit of a customer who has any, in the bytes of the journal
-- (`docs/journal-format.md`): what they come to is in `movement`, for everybody to read. A month or an NP purchase
-- that is in here is not in `account`, `open_month` or `np_bill`.
CREATE TABLE dossier (customer INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;

-- The amounts that were fixed when a month's bill was issued.
CREATE TABLE bill (
  customer INTEGER NOT NULL,
  month INTEGER NOT NULL,
  method INTEGER NOT NULL,
  due INTEGER NOT NULL,
  fee INTEGER NOT NULL,
  principal INTEGER NOT NULL,
  lsn INTEGER NOT NULL,
  PRIMARY KEY (customer, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE ladder_step (
  id INTEGER PRIMARY KEY,
  lsn INTEGER NOT NULL,
  customer INTEGER NOT NULL,
  from_rung INTEGER NOT NULL,
  to_rung INTEGER NOT NULL,
  why INTEGER NOT NULL,
  policy INTEGER NOT NULL
) STRICT;

-- The facts that answer for an id of the office, in the bytes of the journal.
CREATE TABLE receipt (
  customer INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  id TEXT NOT NULL,
  lsn INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  event BLOB NOT NULL,
  PRIMARY KEY (customer, kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_recorded ON receipt (recorded_at);

-- Where a refund's money went, and the room that came back with it.
ALTER TABLE refund ADD COLUMN applied BLOB NOT NULL DEFAULT x'0000';
ALTER TABLE refund ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;

DROP VIEW statements;
-- A month's bill as far as the books know it. Principal, fees and damages as charged less refunds; `paid` is what came
-- on them; `unpaid_principal` is what of the principal is open. Due date and method are those it was issued with.
-- Each NP purchase is a bill of its own and not among these.
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
    sum(CASE WHEN e.account = 4 AND e.kind = 13 THEN e.amount ELSE 0 END) AS damages,
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
    + (SELECT coalesce(sum(in_store + online), 0) FROM open_month WHERE customer = a.customer)
    + (SELECT coalesce(sum(unpaid), 0) FROM np_bill WHERE customer = a.customer)
    + (SELECT coalesce(sum(amount), 0) FROM hold WHERE customer = a.customer) AS exposure,
  (SELECT coalesce(sum(amount), 0) FROM hold WHERE customer = a.customer) AS held,
  a.credit,
  a.on_time_bills,
  a.purchases,
  a.months_active
FROM account a;

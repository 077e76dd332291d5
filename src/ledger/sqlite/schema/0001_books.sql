-- The books: derived from the journal, and the checkpoint from which the engine starts.
-- Money is whole yen, times are Unix milliseconds, dates YYYYMMDD, months year * 12 + (month - 1),
-- customers are numbers in order of appearance, channels and the like are numbers named in `word`.
-- 64-bit numbers without a sign keep their bits. No foreign keys: every row comes from a journaled fact.

-- Up to where the journal is posted. It moves in the same transaction as what it stands for.
CREATE TABLE posted (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  lsn INTEGER NOT NULL,
  time INTEGER,
  sandbox INTEGER NOT NULL
) STRICT;
INSERT INTO posted VALUES (1, 0, NULL, 0);

CREATE TABLE policy (lsn INTEGER PRIMARY KEY, version INTEGER NOT NULL, text TEXT NOT NULL) STRICT;
CREATE TABLE holiday_file (lsn INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;

CREATE TABLE merchant (
  merchant_id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  mcc INTEGER NOT NULL,
  status INTEGER NOT NULL,
  per_payment INTEGER,
  in_store INTEGER
) STRICT, WITHOUT ROWID;

-- One row a customer, and the only one that a purchase or a code changes: with millions of customers each changed
-- row is a page of its own to write. `month` is the month now filling up; older ones are in `open_month`.
CREATE TABLE account (
  customer INTEGER PRIMARY KEY,
  customer_id TEXT NOT NULL UNIQUE,
  identity INTEGER NOT NULL,
  identity_reason TEXT,
  birth_date INTEGER,
  guardian_consent INTEGER NOT NULL,
  payment_method INTEGER NOT NULL,
  status INTEGER NOT NULL,
  limit_total INTEGER,
  limit_in_store INTEGER,
  rung INTEGER NOT NULL,
  codes_issued INTEGER NOT NULL DEFAULT 0,
  live_code INTEGER,
  credit INTEGER NOT NULL DEFAULT 0 CHECK (credit >= 0),
  month INTEGER,
  in_store INTEGER NOT NULL DEFAULT 0 CHECK (in_store >= 0),  -- unpaid principal of `month`
  online INTEGER NOT NULL DEFAULT 0 CHECK (online >= 0)
) STRICT;

-- Unpaid principal of the months that `account` does not hold. The row goes when nothing is unpaid.
CREATE TABLE open_month (
  customer INTEGER NOT NULL,
  month INTEGER NOT NULL,
  billed_by INTEGER,
  in_store INTEGER NOT NULL CHECK (in_store >= 0),
  online INTEGER NOT NULL CHECK (online >= 0),
  PRIMARY KEY (customer, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE hold (
  customer INTEGER NOT NULL,
  order_lsn INTEGER NOT NULL,
  channel INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (customer, order_lsn)
) STRICT, WITHOUT ROWID;

CREATE TABLE np_bill (
  customer INTEGER NOT NULL,
  order_lsn INTEGER NOT NULL,
  charged_lsn INTEGER NOT NULL,
  due INTEGER NOT NULL,
  unpaid INTEGER NOT NULL CHECK (unpaid >= 0),
  PRIMARY KEY (customer, order_lsn)
) STRICT, WITHOUT ROWID;

-- Codes as they were issued, for as long as one could be remembered. What became of a code is not written to it but
-- follows, when the ledger is loaded, from `code_void`, from later codes and from `decision.trial`: so a code costs
-- one row at the end of one table.
CREATE TABLE code (
  lsn INTEGER PRIMARY KEY,
  handle INTEGER NOT NULL,
  id_random INTEGER NOT NULL,
  customer INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  counter INTEGER NOT NULL,
  random INTEGER NOT NULL,
  issued_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE code_void (lsn INTEGER PRIMARY KEY, handle INTEGER NOT NULL, voided_at INTEGER NOT NULL) STRICT;

-- Every decision and every tombstone, with what became of it. Rows stay for ever. An approval's row is also its
-- first movement: see `entry`.
CREATE TABLE decision (
  lsn INTEGER PRIMARY KEY,
  authorization_id TEXT NOT NULL,
  merchant_id TEXT NOT NULL,
  order_id TEXT NOT NULL,
  key_hash INTEGER NOT NULL,
  store_id TEXT,
  terminal_id TEXT,
  customer INTEGER,
  channel INTEGER NOT NULL,
  handle INTEGER,
  trial INTEGER,              -- what the try left on the code: 1 paid, 2 refused, 3 a wrong seal
  amount INTEGER NOT NULL,
  fingerprint INTEGER NOT NULL,
  policy INTEGER,
  decided_at INTEGER NOT NULL,
  state INTEGER NOT NULL,     -- 1 tombstone, 2 denied, 3 held, 4 captured, 5 cancelled
  reason INTEGER,
  hold_expires_at INTEGER,    -- of what was authorized as a hold, whatever became of it
  captured INTEGER,
  refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded = 0 OR refunded <= captured),
  month INTEGER NOT NULL,
  due INTEGER NOT NULL,
  points INTEGER NOT NULL,
  room INTEGER NOT NULL,
  first_lsn INTEGER,
  capture_at INTEGER,         -- of a hold captured later; month, due and points stay as first answered
  capture_month INTEGER,
  capture_due INTEGER,
  capture_points INTEGER,
  touched INTEGER,            -- last record and time that changed it, if one did
  touched_at INTEGER,
  recalled INTEGER NOT NULL DEFAULT 0
) STRICT;
-- The large indexes start with a block of 65,536 records, so that posting writes to the last block only,
-- however long the history; a search goes through the blocks, one step each.
CREATE INDEX decision_key ON decision (lsn >> 16, key_hash);
CREATE INDEX decision_customer ON decision (lsn >> 16, customer) WHERE state > 2;
CREATE INDEX decision_touched ON decision (touched_at) WHERE touched_at IS NOT NULL;
CREATE INDEX decision_held ON decision (hold_expires_at) WHERE state = 3;

CREATE TABLE refund (
  order_lsn INTEGER NOT NULL,
  lsn INTEGER NOT NULL,
  refund_id TEXT NOT NULL,
  amount INTEGER NOT NULL,
  left_after INTEGER NOT NULL, -- what could still be refunded then
  destination INTEGER NOT NULL,
  PRIMARY KEY (order_lsn, lsn)
) STRICT, WITHOUT ROWID;

-- The movements after an approval: `amount` is added to `account` and taken from `counter_account`.
CREATE TABLE movement (
  id INTEGER PRIMARY KEY,
  lsn INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  customer INTEGER NOT NULL,
  account INTEGER NOT NULL,
  counter_account INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  month INTEGER,
  channel INTEGER NOT NULL,
  order_lsn INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL
) STRICT;
CREATE INDEX movement_customer ON movement (lsn >> 16, customer);

-- Every movement with its far side. A purchase, a hold and the points of a purchase are read off the decision that
-- made them; storing them again would double what a decision costs to post. `block` is there for the indexes.
CREATE VIEW entry AS
SELECT lsn >> 16 AS block, lsn, iif(hold_expires_at IS NULL, 1, 2) AS kind, customer, 1 AS account,
  iif(hold_expires_at IS NULL, 7, 8) AS counter_account, amount, iif(hold_expires_at IS NULL, month, NULL) AS month,
  channel, lsn AS order_lsn, decided_at AS recorded_at
FROM decision WHERE state > 2
UNION ALL
SELECT lsn >> 16, lsn, 7, customer, 6, 9, points, month, channel, lsn, decided_at
FROM decision WHERE state > 2 AND hold_expires_at IS NULL AND points > 0
UNION ALL
SELECT lsn >> 16, lsn, kind, customer, account, counter_account, amount, month, channel, order_lsn, recorded_at
FROM movement;

-- The names of the numbers, written by the program when it opens the ledger.
CREATE TABLE word (
  list TEXT NOT NULL,
  number INTEGER NOT NULL,
  word TEXT NOT NULL,
  PRIMARY KEY (list, number)
) STRICT, WITHOUT ROWID;

CREATE VIEW ledger_position AS SELECT lsn FROM posted;

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
  CASE WHEN d.captured IS NOT NULL THEN
    printf('%04d-%02d', coalesce(d.capture_month, d.month) / 12, coalesce(d.capture_month, d.month) % 12 + 1)
  END AS statement_month,
  d.lsn
FROM decision d LEFT JOIN account a ON a.customer = d.customer
WHERE d.state <> 1;

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
LEFT JOIN decision d ON d.lsn = e.order_lsn;

-- A month's bill as far as the books know it; due date and status follow from the day it is asked about.
-- Each NP purchase is a bill of its own and not among these.
CREATE VIEW statements AS
SELECT
  a.customer_id,
  printf('%04d-%02d', s.month / 12, s.month % 12 + 1) AS month,
  CASE WHEN o.customer IS NOT NULL OR a.month = s.month AND a.in_store + a.online > 0 THEN
    (SELECT word FROM word WHERE list = 'payment_method' AND number = coalesce(o.billed_by, a.payment_method))
  END AS payment_method,
  s.principal,
  s.bill_fee,
  s.late_fees,
  s.damages,
  coalesce(o.in_store + o.online, iif(a.month = s.month, a.in_store + a.online, 0)) AS unpaid_principal,
  s.points
FROM (
  SELECT
    e.customer,
    e.month,
    sum(CASE e.account WHEN 1 THEN e.amount ELSE 0 END) AS principal,
    sum(CASE e.account WHEN 2 THEN e.amount ELSE 0 END) AS bill_fee,
    sum(CASE e.account WHEN 3 THEN e.amount ELSE 0 END) AS late_fees,
    sum(CASE e.account WHEN 4 THEN e.amount ELSE 0 END) AS damages,
    sum(CASE e.account WHEN 6 THEN e.amount ELSE 0 END) AS points
  FROM entry e
  WHERE e.month IS NOT NULL AND e.channel <> 3
  GROUP BY e.customer, e.month
) s
JOIN account a ON a.customer = s.customer
LEFT JOIN open_month o ON o.customer = s.customer AND o.month = s.month;

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
  a.in_store + a.online
    + (SELECT coalesce(sum(in_store + online), 0) FROM open_month WHERE customer = a.customer)
    + (SELECT coalesce(sum(unpaid), 0) FROM np_bill WHERE customer = a.customer)
    + (SELECT coalesce(sum(amount), 0) FROM hold WHERE customer = a.customer) AS exposure,
  (SELECT coalesce(sum(amount), 0) FROM hold WHERE customer = a.customer) AS held,
  a.credit
FROM account a;

-- The books: derived from the journal, and the checkpoint from which the engine starts.
-- Money is whole yen, times are Unix milliseconds, dates YYYYMMDD, months year * 12 + (month - 1), customers are numbers in
-- order of appearance within their stream, channels and the like are numbers named in `word`. 64-bit numbers without a sign
-- keep their bits. A stream is one journal; a journal of files is stream 0. Names and ids compare by their bytes (COLLATE "C").
-- No foreign keys: every row comes from a journaled fact.

-- Up to where each journal is posted. It moves in the same transaction as what it stands for.
CREATE TABLE posted (
  stream smallint PRIMARY KEY,
  lsn bigint NOT NULL,
  time bigint,
  sandbox smallint NOT NULL,
  secured bigint NOT NULL     -- up to here a commit was waited for: no power cut takes that back
);
INSERT INTO posted VALUES (0, 0, NULL, 0, 0);

CREATE TABLE policy (
  stream smallint NOT NULL,
  lsn bigint NOT NULL,
  version integer NOT NULL,
  text text NOT NULL,
  set_at bigint NOT NULL,
  PRIMARY KEY (stream, lsn)
);
CREATE TABLE holiday_file (stream smallint NOT NULL, lsn bigint NOT NULL, text text NOT NULL, PRIMARY KEY (stream, lsn));

CREATE TABLE merchant (
  stream smallint NOT NULL,
  merchant_id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  mcc integer NOT NULL,
  status smallint NOT NULL,
  per_payment bigint,
  in_store bigint,
  PRIMARY KEY (stream, merchant_id)
);

-- One row a customer, and the only one that a purchase or a code changes. Room is left on each page, so that a change stays
-- on it and no index is written.
CREATE TABLE account (
  stream smallint NOT NULL,
  customer integer NOT NULL,
  customer_id text COLLATE "C" NOT NULL,
  identity smallint NOT NULL,
  identity_reason text,
  birth_date integer,
  guardian_consent smallint NOT NULL,
  payment_method smallint NOT NULL,
  status smallint NOT NULL,
  limit_total bigint,
  limit_in_store bigint,
  codes_issued integer NOT NULL,
  live_code bigint,
  credit bigint NOT NULL CHECK (credit >= 0),
  month smallint,
  in_store bigint NOT NULL CHECK (in_store >= 0),   -- unpaid principal of `month`
  online bigint NOT NULL CHECK (online >= 0),
  rung smallint NOT NULL,
  on_time_bills integer NOT NULL,
  purchases integer NOT NULL,
  months_active integer NOT NULL,
  latest_month smallint,
  story_principal bigint NOT NULL,
  touched bigint NOT NULL,
  beside smallint NOT NULL,                         -- whether more of the customer lies in other tables
  payout_due bigint NOT NULL CHECK (payout_due >= 0),
  let_go integer,
  recalled_on integer,
  PRIMARY KEY (stream, customer)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX account_id ON account (stream, customer_id);
CREATE INDEX account_payout_due ON account (stream, customer_id) WHERE payout_due > 0;

CREATE TABLE hold (
  stream smallint NOT NULL,
  customer integer NOT NULL,
  order_lsn bigint NOT NULL,
  channel smallint NOT NULL,
  amount bigint NOT NULL,
  expires_at bigint NOT NULL,
  PRIMARY KEY (stream, customer, order_lsn)
);

CREATE TABLE dossier (stream smallint NOT NULL, customer integer NOT NULL, body bytea NOT NULL, PRIMARY KEY (stream, customer));

-- Bills, and their changes in order.
CREATE TABLE story (
  stream smallint NOT NULL,
  customer integer NOT NULL,
  kind smallint NOT NULL,
  number bigint NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (stream, customer, kind, number)
);
CREATE TABLE story_change (
  stream smallint NOT NULL,
  customer integer NOT NULL,
  kind smallint NOT NULL,
  number bigint NOT NULL,
  place integer NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (stream, customer, kind, number, place)
);
-- What memory has let go of.
CREATE TABLE past_story (
  stream smallint NOT NULL,
  customer integer NOT NULL,
  kind smallint NOT NULL,
  number bigint NOT NULL,
  kept_until integer,
  body bytea NOT NULL,
  PRIMARY KEY (stream, customer, kind, number)
);
CREATE INDEX past_story_end ON past_story (stream, kept_until) WHERE kept_until IS NOT NULL;

-- Codes as a log; those that nobody remembers are deleted from the oldest on.
CREATE TABLE code (
  stream smallint NOT NULL,
  lsn bigint NOT NULL,
  handle bigint NOT NULL,
  id_random bigint NOT NULL,
  customer integer NOT NULL,
  generation smallint NOT NULL,
  counter integer NOT NULL,
  random bigint NOT NULL,
  issued_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  form smallint NOT NULL,
  PRIMARY KEY (stream, lsn)
);
CREATE TABLE code_void (
  stream smallint NOT NULL,
  lsn bigint NOT NULL,
  handle bigint NOT NULL,
  voided_at bigint NOT NULL,
  PRIMARY KEY (stream, lsn)
);

-- What was decided, as it was decided: rows are added and never changed. A row of an approval is its movement.
CREATE TABLE decision (
  stream smallint NOT NULL,
  lsn bigint NOT NULL,
  authorization_id text COLLATE "C" NOT NULL,
  merchant_id text COLLATE "C" NOT NULL,
  order_id text COLLATE "C" NOT NULL,
  key_hash integer NOT NULL,  -- of merchant and order: equal keys have equal hashes
  store_id text COLLATE "C",
  terminal_id text COLLATE "C",
  customer integer,
  channel smallint NOT NULL,
  handle bigint,
  trial smallint,             -- what the try left on the code: 1 paid, 2 refused, 3 a wrong seal, 4 paid by an advice
  amount bigint NOT NULL,
  fingerprint bigint NOT NULL,
  policy integer,
  decided_at bigint NOT NULL,
  reason smallint,
  hold_expires_at bigint,     -- of what was authorized as a hold, whatever became of it
  month smallint NOT NULL,
  due integer NOT NULL,
  points bigint NOT NULL,
  room bigint NOT NULL,
  first_lsn bigint,
  PRIMARY KEY (stream, lsn)
);
CREATE INDEX decision_key ON decision (stream, key_hash);
CREATE INDEX decision_customer ON decision (stream, customer, lsn) WHERE customer IS NOT NULL AND reason IS NULL;
CREATE INDEX decision_held ON decision (stream, hold_expires_at) WHERE hold_expires_at IS NOT NULL;

-- What became of each.
CREATE TABLE decision_now (
  stream smallint NOT NULL,
  lsn bigint NOT NULL,
  state smallint NOT NULL,    -- 1 tombstone, 2 denied, 3 held, 4 captured, 5 cancelled, 6 lost
  captured bigint,
  refunded bigint NOT NULL,
  capture_at bigint,          -- of a hold captured later; month, due and points stay as first answered
  capture_month smallint,
  capture_due integer,
  capture_points bigint,
  touched bigint,             -- last record and time that changed it, if one did
  touched_at bigint,
  recalled bigint NOT NULL,
  advice smallint,
  charged integer,            -- the customer whom the office charged for it; the decision charged nobody
  CHECK (refunded = 0 OR refunded <= captured),
  PRIMARY KEY (stream, lsn)
) WITH (fillfactor = 90);
CREATE INDEX decision_touched ON decision_now (stream, touched_at) WHERE touched_at IS NOT NULL;

CREATE TABLE refund (
  stream smallint NOT NULL,
  order_lsn bigint NOT NULL,
  lsn bigint NOT NULL,
  refund_id text COLLATE "C" NOT NULL,
  amount bigint NOT NULL,
  left_after bigint NOT NULL, -- what could still be refunded then
  destination smallint NOT NULL,
  applied bytea NOT NULL,
  restored bigint NOT NULL,
  paid_at bigint,
  PRIMARY KEY (stream, order_lsn, lsn)
);
CREATE INDEX refund_lsn ON refund (stream, lsn);

-- Sales of the network that no customer is charged for.
CREATE TABLE suspense (
  stream smallint NOT NULL,
  order_lsn bigint NOT NULL,
  customer integer,
  amount bigint NOT NULL,
  recorded_at bigint NOT NULL,
  cleared_lsn bigint,
  cleared_at bigint,
  cleared_kind smallint,
  cleared_counter smallint,
  PRIMARY KEY (stream, order_lsn)
);
CREATE INDEX suspense_open ON suspense (stream, order_lsn) WHERE cleared_lsn IS NULL;

-- Every movement of a customer's books but those that a decision's row is.
CREATE TABLE movement (
  stream smallint NOT NULL,
  lsn bigint NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  kind smallint NOT NULL,
  customer integer NOT NULL,
  account smallint NOT NULL,
  counter_account smallint NOT NULL,
  amount bigint NOT NULL,
  month smallint,
  channel smallint NOT NULL,
  order_lsn bigint NOT NULL,
  recorded_at bigint NOT NULL,
  money bigint,
  own_day bigint,
  far smallint,
  far_bill bigint,
  value_at bigint,
  PRIMARY KEY (stream, lsn, id)
);
CREATE INDEX movement_customer ON movement (stream, customer, lsn);

CREATE TABLE bill (
  stream smallint NOT NULL,
  customer integer NOT NULL,
  month smallint NOT NULL,
  method smallint NOT NULL,
  due integer NOT NULL,
  fee bigint NOT NULL,
  principal bigint NOT NULL,
  lsn bigint NOT NULL,
  PRIMARY KEY (stream, customer, month)
);

CREATE TABLE ladder_step (
  stream smallint NOT NULL,
  lsn bigint NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  customer integer NOT NULL,
  from_rung smallint NOT NULL,
  to_rung smallint NOT NULL,
  why smallint NOT NULL,
  policy integer NOT NULL,
  recorded_at bigint,
  PRIMARY KEY (stream, lsn, id)
);
CREATE INDEX ladder_step_customer ON ladder_step (stream, customer);

-- From what a customer's limits come: the rung, or staff's own limits in its place. One row each time that it changes, the
-- first when the customer is new.
CREATE TABLE grade (
  stream smallint NOT NULL,
  customer integer NOT NULL,
  lsn bigint NOT NULL,
  recorded_at bigint NOT NULL,
  rung smallint NOT NULL,
  limit_total bigint,
  limit_in_store bigint,
  is_first smallint NOT NULL,
  PRIMARY KEY (stream, customer, lsn)
);

-- The office's facts, by its ids.
CREATE TABLE receipt (
  stream smallint NOT NULL,
  customer bigint NOT NULL,   -- 4294967295 where it is of none
  kind smallint NOT NULL,
  id text COLLATE "C" NOT NULL,
  lsn bigint NOT NULL,
  recorded_at bigint NOT NULL,
  event bytea NOT NULL,
  about text COLLATE "C",     -- of a reversal, the repayment that it is about, where that has another id
  PRIMARY KEY (stream, customer, kind, id)
);
CREATE INDEX receipt_recorded ON receipt (stream, recorded_at);
CREATE INDEX receipt_id ON receipt (stream, id);
CREATE INDEX receipt_about ON receipt (stream, about) WHERE about IS NOT NULL;
CREATE INDEX receipt_lsn ON receipt (stream, lsn);
CREATE INDEX receipt_payout ON receipt (stream, lsn) WHERE kind = 3;

-- What numbers are called in the views; the program that migrates writes its names here.
CREATE TABLE word (
  list text COLLATE "C" NOT NULL,
  number smallint NOT NULL,
  word text COLLATE "C" NOT NULL,
  PRIMARY KEY (list, number)
);

-- The days in Japan, each from `starts_at` to before `ends_at`, for the views that need a date.
CREATE TABLE day (
  day text COLLATE "C" PRIMARY KEY,
  month text COLLATE "C" NOT NULL,
  is_month_end integer NOT NULL,
  starts_at bigint NOT NULL,
  ends_at bigint NOT NULL
);
INSERT INTO day
SELECT to_char(d, 'YYYY-MM-DD'), to_char(d, 'YYYY-MM'),
  CASE WHEN to_char(d + interval '1 day', 'DD') = '01' THEN 1 ELSE 0 END,
  (extract(epoch FROM d)::bigint - 32400) * 1000, (extract(epoch FROM d)::bigint + 54000) * 1000
FROM generate_series(timestamp '2021-01-01', timestamp '2040-12-31', interval '1 day') d;

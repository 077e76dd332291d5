-- Lists of what was decided, captured and refunded, of a shop and of a customer, the newest first.

-- What came later to an order: 1 a capture, 2 a refund. A capture that is the decision itself is not told again. Without a merchant is
-- a sale that the office charged out of suspense: its shop had captured it when it sold.
CREATE TABLE order_step (
  stream smallint NOT NULL,
  lsn bigint NOT NULL,
  kind smallint NOT NULL,
  order_lsn bigint NOT NULL,
  merchant_id text COLLATE "C",
  customer integer,
  refund_id text COLLATE "C",
  amount bigint NOT NULL,
  recorded_at bigint NOT NULL,
  PRIMARY KEY (stream, lsn)
);
INSERT INTO order_step
SELECT r.stream, r.lsn, 2, r.order_lsn, d.merchant_id, coalesce(d.customer, d.charged), r.refund_id, r.amount,
  coalesce((SELECT m.recorded_at FROM movement m WHERE m.stream = r.stream AND m.lsn = r.lsn LIMIT 1),
    d.touched_at, d.decided_at)
FROM refund r JOIN decided d ON d.stream = r.stream AND d.lsn = r.order_lsn;
INSERT INTO order_step
SELECT m.stream, m.lsn, 1, m.order_lsn, CASE WHEN d.hold_expires_at IS NOT NULL THEN d.merchant_id END, m.customer, NULL,
  m.amount, m.recorded_at
FROM movement m JOIN decision d ON d.stream = m.stream AND d.lsn = m.order_lsn WHERE m.kind = 4 AND m.account = 1;
CREATE INDEX order_step_merchant ON order_step (stream, merchant_id, kind, lsn) WHERE merchant_id IS NOT NULL;
CREATE INDEX order_step_customer ON order_step (stream, customer, kind, lsn) WHERE customer IS NOT NULL;
CREATE INDEX order_step_refund ON order_step (stream, merchant_id, refund_id, lsn) WHERE refund_id IS NOT NULL;

CREATE INDEX decision_merchant ON decision (stream, merchant_id, lsn);
-- A customer's denials are listed too.
DROP INDEX decision_customer;
CREATE INDEX decision_customer ON decision (stream, customer, lsn) WHERE customer IS NOT NULL;
CREATE INDEX decision_charged ON decision_now (stream, charged, lsn) WHERE charged IS NOT NULL;
-- An approval code is the last six digits of the id in other signs.
CREATE INDEX decision_approval ON decision (stream, (right(authorization_id, 6)), lsn) WHERE reason IS NULL;

GRANT SELECT, INSERT ON order_step TO sokketsu_ledger;

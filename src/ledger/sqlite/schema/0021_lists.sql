-- Lists of what was decided, captured and refunded, of a shop and of a customer, the newest first.

-- What came later to an order: 1 a capture, 2 a refund. A capture that is the decision itself is not told again. Without a merchant is
-- a sale that the office charged out of suspense: its shop had captured it when it sold.
CREATE TABLE order_step (
  lsn INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  order_lsn INTEGER NOT NULL,
  merchant_id TEXT,
  customer INTEGER,
  refund_id TEXT,
  amount INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL
) STRICT;
INSERT INTO order_step
SELECT r.lsn, 2, r.order_lsn, d.merchant_id, coalesce(d.customer, d.charged), r.refund_id, r.amount,
  coalesce((SELECT m.recorded_at FROM movement m WHERE m.lsn >> 16 = r.lsn >> 16
    AND m.customer = coalesce(d.customer, d.charged) AND m.lsn = r.lsn LIMIT 1), d.touched_at, d.decided_at)
FROM refund r JOIN decision d ON d.lsn = r.order_lsn;
INSERT INTO order_step
SELECT m.lsn, 1, m.order_lsn, iif(d.hold_expires_at IS NULL, NULL, d.merchant_id), m.customer, NULL, m.amount, m.recorded_at
FROM movement m JOIN decision d ON d.lsn = m.order_lsn WHERE m.kind = 4 AND m.account = 1;
CREATE INDEX order_step_merchant ON order_step (merchant_id, kind, lsn) WHERE merchant_id IS NOT NULL;
CREATE INDEX order_step_customer ON order_step (customer, kind, lsn) WHERE customer IS NOT NULL;
CREATE INDEX order_step_refund ON order_step (merchant_id, refund_id, lsn) WHERE refund_id IS NOT NULL;

-- As the other large indexes, with a block of 65,536 records first. A customer's denials are listed too.
CREATE INDEX decision_merchant ON decision (lsn >> 16, merchant_id);
DROP INDEX decision_customer;
CREATE INDEX decision_customer ON decision (lsn >> 16, customer) WHERE customer IS NOT NULL;
CREATE INDEX decision_charged ON decision (charged) WHERE charged IS NOT NULL;
-- An approval code is the last six digits of the id in other signs.
CREATE INDEX decision_approval ON decision (lsn >> 16, substr(authorization_id, -6)) WHERE reason IS NULL;

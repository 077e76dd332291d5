-- What staff asks of a customer, and of all that is to be paid out.

-- When a step on the ladder was recorded; null for those from before this column.
ALTER TABLE ladder_step ADD COLUMN recorded_at INTEGER;
CREATE INDEX ladder_step_customer ON ladder_step (customer);

CREATE INDEX account_payout_due ON account (customer_id) WHERE payout_due > 0;
-- 3 is a payout.
CREATE INDEX receipt_payout ON receipt (lsn) WHERE kind = 3;

-- A sale in suspense may be settled by the office: kind and far account of the movement that clears it; those of one that
-- was taken back are the kind `suspense_cleared` and what shops are to be paid.
ALTER TABLE suspense ADD COLUMN cleared_kind INTEGER NOT NULL DEFAULT 19;
ALTER TABLE suspense ADD COLUMN cleared_counter INTEGER NOT NULL DEFAULT 7;
CREATE INDEX suspense_open ON suspense (order_lsn) WHERE cleared_lsn IS NULL;
-- The customer whom the office charged for it; `customer` stays null, for the decision charged nobody.
ALTER TABLE decision ADD COLUMN charged INTEGER;

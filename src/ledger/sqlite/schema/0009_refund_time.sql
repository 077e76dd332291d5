-- When the shop gave a refund back, where that was told: the same refund told again says the same, or nothing.
ALTER TABLE refund ADD COLUMN paid_at INTEGER;

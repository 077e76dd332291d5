-- Codes of 19 digits are made again in that form: 1 has 24 digits, 2 has 19.
ALTER TABLE code ADD COLUMN form INTEGER NOT NULL DEFAULT 1;

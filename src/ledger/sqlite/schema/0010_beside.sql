-- Whether anything of the customer lies in tables beside this row: open months, holds, NP purchases, bills with a story,
-- notes, credit. Most have nothing there, and one look-up then reads all of them.
ALTER TABLE account ADD COLUMN beside INTEGER NOT NULL DEFAULT 0;
UPDATE account SET beside = 1 WHERE credit > 0 OR customer IN (
  SELECT customer FROM open_month UNION SELECT customer FROM hold UNION SELECT customer FROM np_bill
  UNION SELECT customer FROM story UNION SELECT customer FROM dossier);

-- Nothing ever read it.
ALTER TABLE np_bill DROP COLUMN charged_lsn;

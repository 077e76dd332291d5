-- A bill has one form: a row of `story`. Only the newest month, while purchases of one channel are all of it, is a sum in
-- `account`. The program makes bills of `open_month` and `np_bill` and drops them.
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
    + (SELECT coalesce(sum(amount), 0) FROM hold WHERE customer = a.customer) AS exposure,
  (SELECT coalesce(sum(amount), 0) FROM hold WHERE customer = a.customer) AS held,
  a.credit,
  a.on_time_bills,
  a.purchases,
  a.months_active
FROM account a;

-- A month of which no bill was issued has no due date and no method yet.

DROP VIEW statements;
CREATE VIEW statements AS
SELECT
  a.customer_id,
  printf('%04d-%02d', s.month / 12, s.month % 12 + 1) AS month,
  (SELECT word FROM word WHERE list = 'payment_method' AND number = b.method) AS payment_method,
  CASE WHEN b.due > 0 THEN printf('%04d-%02d-%02d', b.due / 10000, b.due / 100 % 100, b.due % 100) END AS due,
  s.principal,
  s.bill_fee,
  s.late_fees,
  s.damages,
  s.principal + s.bill_fee + s.late_fees + s.damages - s.open - s.released AS paid,
  s.unpaid_principal,
  s.points,
  s.given_up + s.released AS written_off
FROM (
  SELECT
    e.customer,
    e.month,
    sum(CASE WHEN e.account = 1 AND e.kind IN (1, 4, 5, 6) THEN e.amount ELSE 0 END) AS principal,
    sum(CASE WHEN e.account = 2 AND e.kind IN (9, 10) THEN e.amount ELSE 0 END) AS bill_fee,
    sum(CASE WHEN e.account = 3 AND e.kind IN (11, 12, 42) THEN e.amount ELSE 0 END) AS late_fees,
    sum(CASE WHEN e.account = 4 AND e.kind IN (13, 20, 43) THEN e.amount ELSE 0 END) AS damages,
    sum(CASE WHEN e.account < 5 THEN e.amount ELSE 0 END) AS open,
    sum(CASE WHEN e.account < 5 AND e.kind = 46 THEN -e.amount ELSE 0 END) AS released,
    sum(CASE WHEN e.account = 22 THEN e.amount ELSE 0 END) AS given_up,
    sum(CASE WHEN e.account = 1 THEN e.amount ELSE 0 END) AS unpaid_principal,
    sum(CASE WHEN e.account = 6 THEN e.amount ELSE 0 END) AS points
  FROM entry e
  WHERE e.month IS NOT NULL AND e.channel <> 3
  GROUP BY e.customer, e.month
) s
JOIN account a ON a.customer = s.customer
LEFT JOIN bill b ON b.customer = s.customer AND b.month = s.month;

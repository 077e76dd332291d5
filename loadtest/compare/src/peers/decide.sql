-- The decision in PostgreSQL: one function, one transaction. :customers, :limit, :poor and :poor_limit come from psql.
CREATE TABLE customers (
    id bigint PRIMARY KEY,
    credit_limit bigint NOT NULL,
    exposure bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70); -- room on each page, so that a raise needs no new index entry

CREATE TABLE decisions (
    order_id text PRIMARY KEY,
    customer bigint NOT NULL,
    amount bigint NOT NULL,
    merchant text NOT NULL,
    terminal text NOT NULL,
    approved boolean NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO customers (id, credit_limit)
SELECT at, CASE at WHEN :poor THEN :poor_limit ELSE :limit END FROM generate_series(0, :customers - 1) AS at;

-- The first one to write an order's row decides it; a repeat waits for that and reads the verdict.
CREATE FUNCTION decide(the_order text, the_customer bigint, the_amount bigint, the_merchant text, the_terminal text)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO decisions (order_id, customer, amount, merchant, terminal, approved)
    VALUES (the_order, the_customer, the_amount, the_merchant, the_terminal, true)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN (SELECT approved FROM decisions WHERE order_id = the_order);
    END IF;
    UPDATE customers SET exposure = exposure + the_amount
    WHERE id = the_customer AND exposure + the_amount <= credit_limit;
    IF FOUND THEN
        RETURN true;
    END IF;
    UPDATE decisions SET approved = false WHERE order_id = the_order;
    RETURN false;
END
$$;

VACUUM ANALYZE customers;
CHECKPOINT;

-- An id of the office is one customer's, over all customers: it is looked for without knowing whose it is.
CREATE INDEX receipt_id ON receipt (id);

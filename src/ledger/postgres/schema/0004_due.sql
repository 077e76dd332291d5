-- A month of which no bill was issued has no due date yet: zero is no date.

CREATE OR REPLACE FUNCTION date_text(number integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN number > 0 THEN
  (lpad((number / 10000)::text, 4, '0') || '-' || lpad((number / 100 % 100)::text, 2, '0') || '-' || lpad((number % 100)::text, 2, '0')) COLLATE "C" END;

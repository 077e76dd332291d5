-- Merchants are set by a call to a node, or by an operator. Their versions are drawn one writer after the other, so whoever reads
-- those above the last one it knows misses none.

CREATE INDEX setting_by_version ON setting (kind, version);

-- Gives how many were written; NULL, and nothing is, where there would be more than `most` merchants.
CREATE FUNCTION put_merchants(ids text[], bodies bytea[], most bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  last bigint;
  fresh bigint;
  written bigint;
BEGIN
  LOCK TABLE setting IN SHARE ROW EXCLUSIVE MODE;
  SELECT count(*) INTO fresh FROM unnest(ids) AS given(id)
    WHERE NOT EXISTS (SELECT FROM setting WHERE kind = 'merchant' AND setting.id = given.id);
  IF fresh > 0 AND fresh + (SELECT count(*) FROM setting WHERE kind = 'merchant') > most THEN
    RETURN NULL;
  END IF;
  SELECT coalesce(max(version), 0) INTO last FROM setting WHERE kind = 'merchant';
  INSERT INTO setting (kind, id, version, body)
    SELECT 'merchant', given.id, last + given.nth, given.body
    FROM unnest(ids, bodies) WITH ORDINALITY AS given(id, body, nth)
    ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, body = excluded.body;
  GET DIAGNOSTICS written = ROW_COUNT;
  RETURN written;
END $$;

REVOKE ALL ON FUNCTION put_merchants(text[], bytea[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION put_merchants(text[], bytea[], bigint) TO sokketsu_node, sokketsu_operator;

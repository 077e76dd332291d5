-- What a node may do: add batches and read them, own streams, say that it lives. It can change or remove no batch.

REVOKE ALL ON FUNCTION journal_months(integer) FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO sokketsu_node;
GRANT SELECT ON cluster, setting TO sokketsu_node;
GRANT SELECT, INSERT ON journal TO sokketsu_node;
GRANT SELECT, UPDATE ON owner TO sokketsu_node;
GRANT SELECT, INSERT, UPDATE ON member TO sokketsu_node;
GRANT EXECUTE ON FUNCTION journal_months(integer) TO sokketsu_node;

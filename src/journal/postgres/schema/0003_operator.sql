-- What an operator may do: say which policy and holidays hold, ask a node to hand over, and see how the cluster stands. It can
-- read no record, and own no stream.

GRANT USAGE ON SCHEMA public TO sokketsu_operator;
GRANT SELECT ON journal_migrations, cluster, owner, member TO sokketsu_operator;
GRANT SELECT, INSERT, UPDATE ON setting TO sokketsu_operator;
GRANT UPDATE (draining) ON member TO sokketsu_operator;
GRANT SELECT (stream, month, batch, epoch, first_lsn, n) ON journal TO sokketsu_operator;

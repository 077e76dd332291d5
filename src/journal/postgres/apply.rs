//! Policy and holidays written into a cluster (`sokketsu cluster apply` and `init`).

use super::choose::choose;
use super::cluster::Cluster;
use super::schema;
use super::session::PgSession;
use super::setting::{IS_THERE, MAY_WRITE, Put};
use super::table::{Fault, told};
use crate::journal::JournalError;

impl Cluster {
    /// Writes texts by their kinds, all or none; a text that is there already keeps its version.
    pub fn apply(&self, given: &[(&str, &str)]) -> Result<Vec<Put>, JournalError> {
        let put = || {
            // A commit that waits for a standby, as a record's does: after a failover nobody has an older policy again.
            let (mut session, _) = PgSession::of_node(&self.server, self.wall, |said| choose(said, 0))?;
            schema::check_tables(&mut session)?;
            if session.text(MAY_WRITE)? != "yes" {
                return Err(Fault::Unfit(
                    "the role may not write settings: `GRANT sokketsu_operator` to it, or come as the owner of the tables".to_owned(),
                ));
            }
            session.put(given, true)
        };
        put().map_err(told)
    }

    /// Whether there is a policy, and are holidays; asked as the owner of the tables.
    pub fn is_applied(&self) -> Result<bool, JournalError> {
        let is_there = || Ok(PgSession::of_owner(&self.server)?.text(IS_THERE)? == "yes");
        is_there().map_err(told)
    }

    /// Writes those that are not there at all, as the owner of the tables, who may be there before the standbys are.
    pub fn apply_first(&self, given: &[(&str, &str)]) -> Result<Vec<Put>, JournalError> {
        let put = || PgSession::of_owner(&self.server)?.put(given, false);
        put().map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::setting::{Applied, HOLIDAYS, POLICY};
    use super::*;
    use crate::database::Server;
    use crate::postgres_server::cluster::{NODE, OPERATOR, OWNER, PgCluster};

    #[test]
    fn a_node_reads_what_an_operator_wrote() {
        let (pg, _turn) = PgCluster::shared();
        let (database, data) = (pg.database(), tempfile::tempdir().unwrap());
        let server = |role: &str| Arc::new(Server::parse(&pg.url(role, &database), None, None).unwrap());
        let cluster = |role: &str| Cluster::new(server(role), data.path(), || 0);
        cluster(OWNER).init(false).unwrap();
        let (mut node, _) = PgSession::of_node(&server(NODE), || 0, |said| choose(said, 0)).unwrap();
        assert_eq!(node.applied().unwrap(), Applied::default());
        let applied = |version, policy: &str, holidays: &str| Applied {
            policy: Some((version, policy.to_owned())),
            holidays: Some((1, holidays.to_owned())),
        };
        assert!(!cluster(OWNER).is_applied().unwrap());
        cluster(OWNER).apply_first(&[(POLICY, "one"), (HOLIDAYS, "祝日")]).unwrap();
        assert!(cluster(OWNER).is_applied().unwrap());
        assert_eq!(node.applied().unwrap(), applied(1, "one", "祝日"));
        cluster(OWNER).apply_first(&[(POLICY, "two"), (HOLIDAYS, "two")]).unwrap();
        assert_eq!(node.applied().unwrap(), applied(1, "one", "祝日"), "they were there");
        let put = cluster(OPERATOR).apply(&[(POLICY, "two"), (HOLIDAYS, "祝日")]).unwrap();
        let said: Vec<_> = put.iter().map(|put| (put.kind.as_str(), put.version, put.is_new)).collect();
        assert_eq!(said, [(POLICY, 2, true), (HOLIDAYS, 1, false)]);
        assert_eq!(node.applied().unwrap(), applied(2, "two", "祝日"));
        let refused = cluster(NODE).apply(&[(POLICY, "three")]).unwrap_err();
        assert!(matches!(&refused, JournalError::Unfit(why) if why.contains("GRANT sokketsu_operator")), "{refused}");
    }
}

//! Policy and holidays as all nodes are to have them: a row each in the table `setting`, whose version rises with each change. A node reads
//! them and may not write them; an operator, or the owner of the tables, does (`sokketsu cluster apply`).

use super::choose::choose;
use super::cluster::{Cluster, told};
use super::schema;
use super::session::{PgSession, fault};
use super::table::{Answer, Fault};
use crate::journal::JournalError;

pub const POLICY: &str = "policy";
pub const HOLIDAYS: &str = "holidays";

const READ: &str = "SELECT kind, version, body FROM setting WHERE id = '' AND kind IN ('policy', 'holidays')";

/// $1 kinds, $2 bodies, $3 whether those that are there may change. Gives each kind, its version now, and whether this statement made it.
const PUT: &str = "WITH given AS (SELECT * FROM unnest($1::text[], $2::bytea[]) AS t(kind, body)),
        put AS (INSERT INTO setting (kind, id, version, body) SELECT kind, '', 1, body FROM given
            ON CONFLICT (kind, id) DO UPDATE SET version = setting.version + 1, body = excluded.body
                WHERE $3 AND setting.body <> excluded.body
            RETURNING kind, version)
    SELECT given.kind, coalesce(put.version, setting.version, 1), put.version IS NOT NULL
        FROM given LEFT JOIN put ON put.kind = given.kind
            LEFT JOIN setting ON setting.kind = given.kind AND setting.id = ''";

pub(super) const MAY_WRITE: &str =
    "SELECT CASE WHEN has_table_privilege('setting', 'INSERT') AND has_table_privilege('setting', 'UPDATE')
    THEN 'yes' ELSE 'no' END";

const IS_THERE: &str = "SELECT CASE WHEN count(*) = 2 THEN 'yes' ELSE 'no' END
    FROM setting WHERE id = '' AND kind IN ('policy', 'holidays')";

/// What the cluster's nodes are to have; each with its version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub policy: Option<(i64, String)>,
    pub holidays: Option<(i64, String)>,
}

/// What became of one that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub kind: String,
    /// In the table now.
    pub version: i64,
    /// It was not there, or said something else.
    pub is_new: bool,
}

impl PgSession {
    /// Policy and holidays of one moment.
    pub fn applied(&mut self) -> Answer<Applied> {
        let mut applied = Applied::default();
        for row in self.rows(READ, &[])? {
            let kind: String = row.try_get(0).map_err(fault)?;
            let body: Vec<u8> = row.try_get(2).map_err(fault)?;
            let text = String::from_utf8(body)
                .map_err(|_| Fault::Unfit(format!("its {kind} is no text: `sokketsu cluster apply` writes it anew")))?;
            let found = Some((row.try_get(1).map_err(fault)?, text));
            if kind == POLICY { applied.policy = found } else { applied.holidays = found }
        }
        Ok(applied)
    }

    fn put(&mut self, given: &[(&str, &str)], replaces: bool) -> Answer<Vec<Put>> {
        let (kinds, bodies): (Vec<&str>, Vec<&[u8]>) =
            given.iter().map(|(kind, text)| (*kind, text.as_bytes())).unzip();
        let read = |row: &tokio_postgres::Row| {
            Ok(Put {
                kind: row.try_get(0).map_err(fault)?,
                version: row.try_get(1).map_err(fault)?,
                is_new: row.try_get(2).map_err(fault)?,
            })
        };
        self.rows(PUT, &[&kinds, &bodies, &replaces])?.iter().map(read).collect()
    }
}

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

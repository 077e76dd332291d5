//! Policy, holidays and merchants written into a cluster (`sokketsu cluster apply` and `init`).

use super::choose::choose;
use super::cluster::Cluster;
use super::schema;
use super::session::PgSession;
use super::setting::{IS_THERE, MAY_WRITE, MERCHANTS_TOGETHER, MerchantBody, Put};
use super::table::{Answer, Fault, told};
use crate::journal::JournalError;

impl Cluster {
    /// Writes texts by their kinds, all or none; a text that is there already keeps its version.
    pub fn apply(&self, given: &[(&str, &str)]) -> Result<Vec<Put>, JournalError> {
        self.operator().and_then(|mut session| session.put(given, true)).map_err(told)
    }

    /// Writes those merchants that say something else than the table, a thousand at a time; gives how many. None of them twice, and
    /// no more than `most` in all.
    pub fn apply_merchants(&self, given: &[MerchantBody], most: usize) -> Result<i64, JournalError> {
        let put = || {
            let (mut session, mut written) = (self.operator()?, 0);
            for some in given.chunks(MERCHANTS_TOGETHER) {
                written += session.put_merchants(some, false, most)?.ok_or_else(|| {
                    let what = format!("{written} merchants were written, and for the others there is no room");
                    Fault::Unfit(format!("{what}: there may be {most} in all (`merchants.max`, of each node)"))
                })?;
            }
            Ok(written)
        };
        put().map_err(told)
    }

    /// Its commits wait for a standby, as a record's do: after a failover nobody has an older policy again.
    fn operator(&self) -> Answer<PgSession> {
        let (mut session, _) = PgSession::of_node(&self.server, self.wall, |said| choose(said, 0))?;
        schema::check_tables(&mut session)?;
        if session.text(MAY_WRITE)? != "yes" {
            return Err(Fault::Unfit(
                "the role may not write settings: `GRANT sokketsu_operator` to it, or come as the owner of the tables"
                    .to_owned(),
            ));
        }
        Ok(session)
    }

    /// Whether there is a policy, and are holidays; asked as the owner of the tables.
    pub fn is_applied(&self) -> Result<bool, JournalError> {
        let is_there = || Ok(PgSession::of_owner(&self.server)?.text(IS_THERE)? == "yes");
        is_there().map_err(told)
    }

    /// Writes those that are not there at all, as the owner of the tables, who may be there before the standbys are; and the
    /// merchants.
    pub fn apply_first(&self, given: &[(&str, &str)], merchants: &[MerchantBody]) -> Result<Vec<Put>, JournalError> {
        let put = || {
            let mut session = PgSession::of_owner(&self.server)?;
            session.put_merchants(merchants, false, usize::MAX)?;
            session.put(given, false)
        };
        put().map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::thread;

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
        cluster(OWNER).apply_first(&[(POLICY, "one"), (HOLIDAYS, "祝日")], &[]).unwrap();
        assert!(cluster(OWNER).is_applied().unwrap());
        assert_eq!(node.applied().unwrap(), applied(1, "one", "祝日"));
        cluster(OWNER).apply_first(&[(POLICY, "two"), (HOLIDAYS, "two")], &[]).unwrap();
        assert_eq!(node.applied().unwrap(), applied(1, "one", "祝日"), "they were there");
        let put = cluster(OPERATOR).apply(&[(POLICY, "two"), (HOLIDAYS, "祝日")]).unwrap();
        let said: Vec<_> = put.iter().map(|put| (put.kind.as_str(), put.version, put.is_new)).collect();
        assert_eq!(said, [(POLICY, 2, true), (HOLIDAYS, 1, false)]);
        assert_eq!(node.applied().unwrap(), applied(2, "two", "祝日"));
        let refused = cluster(NODE).apply_merchants(&[("m".to_owned(), b"one".to_vec())], 9).unwrap_err();
        assert!(matches!(&refused, JournalError::Unfit(why) if why.contains("GRANT sokketsu_operator")), "{refused}");
        let refused = cluster(NODE).apply(&[(POLICY, "three")]).unwrap_err();
        assert!(matches!(&refused, JournalError::Unfit(why) if why.contains("GRANT sokketsu_operator")), "{refused}");
    }

    /// Two write all the time, and a reader that goes on from the last version it saw misses nothing.
    #[test]
    fn merchants_are_read_in_the_order_of_their_versions() {
        let (pg, _turn) = PgCluster::shared();
        let (database, data) = (pg.database(), tempfile::tempdir().unwrap());
        let server = |role: &str| Arc::new(Server::parse(&pg.url(role, &database), None, None).unwrap());
        let cluster = |role: &str| Cluster::new(server(role), data.path(), || 0);
        cluster(OWNER).init(false).unwrap();
        let body = |at: i32, says: &str| (format!("m{at}"), says.as_bytes().to_vec());
        let all: Vec<_> = (0..1_500).map(|at| body(at, "first")).collect();
        assert_eq!(cluster(OPERATOR).apply_merchants(&all, 1_500).unwrap(), 1_500);
        assert_eq!(cluster(OPERATOR).apply_merchants(&all, 1_500).unwrap(), 0, "they say the same");

        let refused = cluster(OPERATOR).apply_merchants(&[body(1, "other"), body(-1, "one more")], 1_500).unwrap_err();
        assert!(matches!(&refused, JournalError::Unfit(why) if why.contains("there may be 1500 in all")), "{refused}");

        let session = |role: &str| PgSession::of_node(&server(role), || 0, |said| choose(said, 0)).unwrap().0;
        let (mut reader, mut known) = (session(NODE), BTreeMap::new());
        let mut read = |known: &mut BTreeMap<i64, Vec<u8>>| loop {
            let seen = known.last_key_value().map_or(0, |(version, _)| *version);
            let page = reader.merchants_after(seen).unwrap();
            if page.is_empty() {
                return;
            }
            known.extend(page);
        };
        let writers: Vec<_> = [NODE, OPERATOR]
            .into_iter()
            .map(|role| {
                let mut writer = session(role);
                thread::spawn(move || {
                    for at in 0..50 {
                        let written = writer.put_merchants(&[body(at % 7, &format!("{role} {at}"))], true, 1_500);
                        assert_eq!(written.unwrap(), Some(1));
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            read(&mut known);
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        read(&mut known);
        let mut afresh = BTreeMap::new();
        read(&mut afresh);
        assert_eq!((afresh.len(), afresh.last_key_value().unwrap().0), (1_500, &1_600));
        let missed: Vec<_> = afresh.iter().filter(|(version, body)| known.get(version) != Some(body)).collect();
        assert!(missed.is_empty(), "{missed:?}");
    }
}

//! How a cluster stands, as its database tells it: who owns what, who lives, and who confirms.

use serde::Serialize;

use super::choose::{Said, Standing, choose};
use super::cluster::Cluster;
use super::schema;
use super::session::{PgSession, fault};
use super::table::{Answer, told};
use crate::domain::model::time::Millis;
use crate::journal::JournalError;

const CLUSTER: &str = "SELECT id::text, sandbox, current_database()::text, current_setting('server_version'),
    current_setting('synchronous_standby_names') FROM cluster";

/// The last row may be a barrier, which says which record comes next. What a move has left is no node's.
const STREAMS: &str = "SELECT o.stream, o.node, coalesce(m.address, ''), o.epoch,
        CASE WHEN o.lease_until > clock_timestamp() AND o.node NOT LIKE '(%'
            THEN (extract(epoch FROM o.lease_until - clock_timestamp()) * 1000)::bigint ELSE 0 END,
        coalesce((SELECT j.first_lsn + j.n - 1 FROM journal j WHERE j.stream = o.stream
            ORDER BY j.month DESC, j.batch DESC LIMIT 1), 0)
    FROM owner o LEFT JOIN member m ON m.node = o.node ORDER BY o.stream";

const MEMBERS: &str = "SELECT node, address, seen_until > clock_timestamp(),
        CASE WHEN isfinite(seen_until) THEN (extract(epoch FROM seen_until) * 1000)::bigint END, build, draining, lag
    FROM member ORDER BY node";

/// A role that may not see the standbys gets rows without their state.
const STANDBYS: &str = "SELECT application_name, host(client_addr), state, sync_state,
        pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn)::bigint, (extract(epoch FROM flush_lag) * 1000)::bigint
    FROM pg_stat_replication ORDER BY application_name, client_addr";

const SETTINGS: &str = "SELECT kind, count(*), max(version) FROM setting GROUP BY kind ORDER BY kind";

/// The JSON of `cluster status --json`: its names are in docs/cluster.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub cluster: String,
    pub sandbox: bool,
    /// Each stream has an owner whose lease runs.
    pub owned: bool,
    pub streams: Vec<Stream>,
    pub members: Vec<Member>,
    pub database: Primary,
    pub settings: Vec<Setting>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stream {
    pub stream: i32,
    /// None before the first.
    pub owner: Option<String>,
    pub address: Option<String>,
    pub epoch: i64,
    /// 0: it ran out, or was given back.
    pub lease_left_ms: i64,
    /// The last record of the table.
    pub last: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    pub node: String,
    pub address: Option<String>,
    pub alive: bool,
    /// When the node was last known to live, if it does not; none where it has said that it stops.
    pub silent_since: Option<String>,
    pub build: Option<String>,
    pub draining: bool,
    /// Records that it is behind the owner.
    pub lag: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Primary {
    pub name: String,
    /// The primary, as `journal.url` names it.
    pub primary: String,
    pub timeline: u32,
    pub version: String,
    pub synchronous_standby_names: String,
    /// What stream from the primary.
    pub standbys: Vec<Standby>,
    /// The other servers of `journal.url`, each with what it says of itself.
    pub others: Vec<Other>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standby {
    pub name: String,
    pub address: Option<String>,
    /// None where our role may not see it: `GRANT pg_read_all_stats`.
    pub state: Option<String>,
    pub sync_state: Option<String>,
    /// Bytes of the log that it has not on its disk yet.
    pub lag_bytes: Option<i64>,
    /// How long its last confirmation took; none where there is nothing to confirm.
    pub lag_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    pub server: String,
    pub says: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub kind: String,
    pub entries: i64,
    /// The highest of them.
    pub version: i64,
}

impl Cluster {
    /// Asks the primary, whether a standby confirms or not.
    pub fn status(&self) -> Result<Status, JournalError> {
        self.ask_status().map_err(told)
    }

    fn ask_status(&self) -> Answer<Status> {
        let mut hosts = Vec::new();
        let (mut session, timeline) = PgSession::of_node(&self.server, self.wall, |said| {
            hosts = said.to_vec();
            let with_standby = |said: &Said| said.clone().map(|it| Standing { has_sync_standby: true, ..it });
            choose(&said.iter().map(|(name, said)| (name.clone(), with_standby(said))).collect::<Vec<_>>(), 0)
        })?;
        schema::check_tables(&mut session)?;
        let streams = session.list(STREAMS, |row| {
            Ok(Stream {
                stream: row.try_get(0)?,
                owner: named(row.try_get(1)?),
                address: named(row.try_get(2)?),
                epoch: row.try_get(3)?,
                lease_left_ms: row.try_get(4)?,
                last: row.try_get(5)?,
            })
        })?;
        let mut cluster = session.list(CLUSTER, |row| {
            let primary = Primary {
                name: row.try_get(2)?,
                primary: String::new(),
                timeline,
                version: row.try_get(3)?,
                synchronous_standby_names: row.try_get(4)?,
                standbys: Vec::new(),
                others: Vec::new(),
            };
            Ok((row.try_get::<_, String>(0)?, row.try_get::<_, bool>(1)?, primary))
        })?;
        let missing = || super::table::Fault::Unfit("a row is missing: `sokketsu cluster init`".to_owned());
        let (cluster, sandbox, mut database) = cluster.pop().ok_or_else(missing)?;
        (database.primary, database.others) = sorted_out(hosts, timeline);
        database.standbys = session.list(STANDBYS, standby)?;
        let owned = streams.iter().all(|stream| stream.lease_left_ms > 0 && stream.owner.is_some());
        let members = session.list(MEMBERS, member)?;
        let settings = session.list(SETTINGS, |row| {
            Ok(Setting { kind: row.try_get(0)?, entries: row.try_get(1)?, version: row.try_get(2)? })
        })?;
        Ok(Status { cluster, sandbox, owned, streams, members, database, settings })
    }
}

impl PgSession {
    fn list<T>(
        &mut self,
        sql: &'static str,
        read: impl FnMut(&tokio_postgres::Row) -> Result<T, tokio_postgres::Error>,
    ) -> Answer<Vec<T>> {
        self.rows(sql, &[])?.iter().map(read).collect::<Result<_, _>>().map_err(fault)
    }
}

fn member(row: &tokio_postgres::Row) -> Result<Member, tokio_postgres::Error> {
    let (alive, seen_until): (bool, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
    Ok(Member {
        node: row.try_get(0)?,
        address: named(row.try_get(1)?),
        alive,
        silent_since: seen_until.filter(|_| !alive).map(|ms| Millis(ms).to_string()),
        build: named(row.try_get(4)?),
        draining: row.try_get(5)?,
        lag: row.try_get(6)?,
    })
}

fn standby(row: &tokio_postgres::Row) -> Result<Standby, tokio_postgres::Error> {
    Ok(Standby {
        name: row.try_get(0)?,
        address: row.try_get(1)?,
        state: row.try_get(2)?,
        sync_state: row.try_get(3)?,
        lag_bytes: row.try_get(4)?,
        lag_ms: row.try_get(5)?,
    })
}

/// What is not said is empty in the table.
fn named(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The one that was asked, and what the others say.
fn sorted_out(hosts: Vec<(String, Said)>, timeline: u32) -> (String, Vec<Other>) {
    let is_it = |said: &Said| matches!(said, Ok(it) if !it.in_recovery && it.timeline == timeline);
    let at = hosts.iter().position(|(_, said)| is_it(said));
    let primary = at.and_then(|at| hosts.get(at)).map_or_else(String::new, |(name, _)| name.clone());
    let others = hosts.into_iter().enumerate().filter(|(place, _)| Some(*place) != at).map(|(_, (server, said))| {
        let says = match said {
            Err(why) => why,
            Ok(it) if it.in_recovery => "is a standby".to_owned(),
            Ok(it) => format!("is a primary too, of timeline {}: stop it", it.timeline),
        };
        Other { server, says }
    });
    (primary, others.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_that_was_asked_is_told_from_the_others() {
        let primary =
            |timeline| Ok(Standing { in_recovery: false, has_sync_standby: false, is_asynchronous: false, timeline });
        let standby =
            || Ok(Standing { in_recovery: true, has_sync_standby: false, is_asynchronous: false, timeline: 0 });
        let said = [("a", primary(1)), ("b", standby()), ("c", primary(2)), ("d", Err("is away".to_owned()))];
        let (name, others) = sorted_out(said.map(|(name, said)| (name.to_owned(), said)).to_vec(), 2);
        let others: Vec<_> = others.iter().map(|it| format!("{}: {}", it.server, it.says)).collect();
        assert_eq!(name, "c");
        assert_eq!(others, ["a: is a primary too, of timeline 1: stop it", "b: is a standby", "d: is away"]);
    }
}

//! The cluster's database as a node reaches it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choose::{choose, choose_to_read};
use super::session::PgSession;
use super::table::{Answer, Database, Found, Seen};
use super::{node_file, schema, sql};
use crate::database::Server;
use crate::journal::{JournalError, Lease};

/// Between two tries to connect.
const REST: Duration = Duration::from_millis(200);

/// The cluster's database, wherever its primary is.
#[derive(Clone)]
pub(crate) struct PgDatabase {
    server: Arc<Server>,
    lease: Lease,
    /// Where this node keeps what it has seen.
    file: PathBuf,
    /// The wall clock, Unix ms.
    wall: fn() -> i64,
    tried: Option<Instant>,
    /// A primary that confirms nothing will do.
    only_reads: bool,
}

impl PgDatabase {
    pub fn new(server: Arc<Server>, lease: Lease, file: PathBuf, wall: fn() -> i64) -> Self {
        Self { server, lease, file, wall, tried: None, only_reads: false }
    }

    /// For one who reads what is there, whether or not a standby of the database is.
    pub fn for_reading(self) -> Self {
        Self { only_reads: true, ..self }
    }

    /// What this node keeps of it.
    pub fn seen(&self) -> Result<Seen, JournalError> {
        node_file::read(&self.file)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it hides no race: a database that is down is not asked all the time"
    )]
    fn rest(&mut self) {
        let now = Instant::now();
        if let Some(tried) = self.tried.replace(now) {
            std::thread::sleep(REST.saturating_sub(now.saturating_duration_since(tried)));
        }
    }
}

impl Database for PgDatabase {
    type Session = PgSession;

    fn connect(&mut self, least_timeline: u32) -> Answer<(PgSession, Found)> {
        self.rest();
        let choice = |said: &_| if self.only_reads { choose_to_read(said) } else { choose(said, least_timeline) };
        let (mut session, timeline) = PgSession::of_node(&self.server, self.wall, choice)?;
        schema::check(&mut session)?;
        let cluster = session.text(sql::CLUSTER)?;
        Ok((session, Found { cluster, timeline }))
    }

    fn now(&self) -> Duration {
        self.lease.now()
    }

    fn keep(&mut self, seen: &Seen) -> Result<(), String> {
        node_file::write(&self.file, seen).map_err(|error| error.to_string())
    }

    fn another(&self) -> Self {
        Self { tried: None, ..self.clone() }
    }
}

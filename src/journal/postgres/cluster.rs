//! The parts of a journal in a cluster, put together: what a service and the commands open.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::PgDatabase;
use super::reader::TableReader;
use super::table::{Fault, Node, Stream};
use super::{LEASE, Options, PostgresJournal, node_file, schema};
use crate::database::Server;
use crate::domain::model::time::Millis;
use crate::journal::{Journal, JournalError, JournalReader, Lease, Lsn, Release};

/// There is one stream.
pub(super) const STREAM: Stream = 0;

/// Whose the stream is when its records were moved to files. No node has such a name; its lease never ends.
pub(super) const MOVED_OUT: &str = "(moved to files)";

/// The database of a cluster as one node reaches it.
pub struct Cluster {
    pub(super) server: Arc<Server>,
    /// Where the node keeps what it has seen.
    pub(super) file: PathBuf,
    /// The wall clock, Unix ms.
    pub(super) wall: fn() -> i64,
}

/// A journal that is this node's.
pub struct Opened {
    pub journal: Box<dyn Journal>,
    pub reader: Box<dyn JournalReader>,
    pub release: Arc<dyn Release>,
}

impl Cluster {
    pub fn new(server: Arc<Server>, data: &Path, wall: fn() -> i64) -> Self {
        Self { server, file: data.join(node_file::NAME), wall }
    }

    /// Makes the tables, or brings them up to date, as their owner; and the cluster, if there is none.
    pub fn init(&self, sandbox: bool) -> Result<(), JournalError> {
        schema::migrate(&self.server, sandbox).map_err(told)
    }

    /// Waits until the journal is ours: as long as the database is away, or another node owns it.
    pub fn open(&self, node: Node) -> Result<Opened, JournalError> {
        let (began, mut told) = (Instant::now(), None);
        loop {
            let waits_for = match self.open_now(node.clone()) {
                Err(error @ (JournalError::Doubt(_) | JournalError::Fenced(_))) => error.to_string(),
                // A process of our name that has just died lives on in the table for as long as its lease.
                Err(error @ JournalError::InUse(_)) if began.elapsed() < LEASE + LEASE / 2 => error.to_string(),
                opened => return opened,
            };
            if told.as_ref() != Some(&waits_for) {
                tracing::warn!(waits_for, "the journal is not ours yet");
                told = Some(waits_for);
            }
            rest();
        }
    }

    fn open_now(&self, node: Node) -> Result<Opened, JournalError> {
        let seen = node_file::read(&self.file)?;
        let lease = Lease::new();
        let options = Options { node, stream: STREAM, now_ms: (self.wall)(), seen };
        let journal = match PostgresJournal::open(self.database(lease.clone()), options, lease) {
            Err(JournalError::Fenced(by)) if by == MOVED_OUT => {
                let what = "its records were moved to files, which are the journal now: leave `journal.url` out, or name another database";
                return Err(JournalError::Unfit(what.to_owned()));
            }
            opened => opened?,
        };
        let reader = Box::new(journal.reader());
        Ok(Opened { journal: Box::new(journal), reader, release: Arc::new(Kept) })
    }

    /// The table as it is now.
    pub fn at_rest(&self) -> Box<dyn JournalReader> {
        Box::new(TableReader::new(self.database(Lease::new()), STREAM, None))
    }

    fn database(&self, lease: Lease) -> PgDatabase {
        PgDatabase::new(Arc::clone(&self.server), lease, self.file.clone(), self.wall)
    }
}

/// Its address, without the password.
impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)
    }
}

/// As whoever opens a journal hears it.
pub(super) fn told(fault: Fault) -> JournalError {
    match fault {
        Fault::Doubt(why) => JournalError::Doubt(why),
        Fault::Unfit(why) => JournalError::Unfit(why),
    }
}

/// The database is asked no more often than a renewal would.
#[expect(clippy::disallowed_methods, reason = "it hides no race: whoever owns the journal is asked anew each time")]
fn rest() {
    std::thread::sleep(Duration::from_millis(300));
}

/// A node may remove nothing: months are detached and dropped by the owner of the tables.
struct Kept;

impl Release for Kept {
    fn release_oldest(&self, _: Lsn, _: Millis) -> Result<Option<Lsn>, JournalError> {
        Ok(None)
    }
}

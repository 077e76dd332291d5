//! The parts of a journal in a cluster, put together: what a service and the commands open.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::client::PgDatabase;
use super::member::{self, Following, Membership};
use super::reader::TableReader;
use super::table::{Database, MOVED_OUT, Node, STREAM, Session, told};
use super::{End, Options, PostgresJournal, node_file, schema};
use crate::database::Server;
use crate::domain::model::time::Millis;
use crate::journal::{Durable, Journal, JournalError, JournalReader, Lease, Lsn, Release};

/// The database of a cluster as one node reaches it.
pub struct Cluster {
    pub(super) server: Arc<Server>,
    /// Where the node keeps what it has seen.
    pub(super) file: PathBuf,
    /// The wall clock, Unix ms.
    pub(super) wall: fn() -> i64,
    lease: Lease,
    durable: Durable,
}

/// A journal that is this node's, and what it ends with.
pub struct Taken {
    pub journal: Box<dyn Journal>,
    pub end: End,
}

impl Cluster {
    pub fn new(server: Arc<Server>, data: &Path, wall: fn() -> i64) -> Self {
        let (lease, durable) = (Lease::new(), Durable::fixed(Lsn::ZERO));
        Self { server, file: data.join(node_file::NAME), wall, lease, durable }
    }

    /// Makes the tables, or brings them up to date, as their owner; and the cluster, if there is none.
    pub fn init(&self, sandbox: bool) -> Result<(), JournalError> {
        schema::migrate(&self.server, sandbox).map_err(told)
    }

    /// Until when this node owns the stream; it does not hold before the node has taken it.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// Reads what this node has made durable; nothing before it owns the stream.
    pub fn reader(&self) -> Box<dyn JournalReader> {
        Box::new(TableReader::new(self.database(), STREAM, Some(self.durable.clone())))
    }

    /// Removes nothing: months are detached and dropped by the owner of the tables.
    pub fn release(&self) -> Arc<dyn Release> {
        Arc::new(Kept)
    }

    /// Whether the database is one that this node may join.
    pub fn may_join(&self, sandbox: bool) -> Result<(), JournalError> {
        member::may_join(&mut self.database(), &node_file::read(&self.file)?.cluster, sandbox)
    }

    /// Whether the table can be read now, by this role and this program; and what a reader should know of it.
    pub fn may_be_read(&self) -> Result<Option<&'static str>, JournalError> {
        let (mut session, _) = self.database().for_reading().connect(0).map_err(told)?;
        schema::check_tables(&mut session).map_err(told)?;
        let is_out = session.holder(STREAM).map_err(told)?.name == MOVED_OUT;
        Ok(is_out.then_some("its records were moved to files, which are the journal now; this is the copy that stayed"))
    }

    /// `address` is where callers reach the node.
    pub fn member(&self, node: Node, address: String) -> Membership {
        Membership::new(self.database(), STREAM, node, address)
    }

    pub fn following(&self) -> Following {
        Following::new(self.database(), STREAM)
    }

    /// Makes the stream ours and finds its end, by one try. After [`JournalError::Doubt`] and [`JournalError::Fenced`] another may
    /// do it.
    pub fn take(&self, node: &Node) -> Result<Taken, JournalError> {
        let seen = node_file::read(&self.file)?;
        let (now_ms, durable) = ((self.wall)(), self.durable.clone());
        let options = Options { node: node.clone(), stream: STREAM, now_ms, seen, durable };
        let journal = PostgresJournal::open(self.database(), options, self.lease.clone())?;
        let end = journal.end();
        Ok(Taken { journal: Box::new(journal), end })
    }

    /// The table as it is now.
    pub fn at_rest(&self) -> Box<dyn JournalReader> {
        Box::new(TableReader::new(self.database().for_reading(), STREAM, None))
    }

    fn database(&self) -> PgDatabase {
        PgDatabase::new(Arc::clone(&self.server), self.lease.clone(), self.file.clone(), self.wall)
    }
}

/// Its address, without the password.
impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)
    }
}

/// A node may remove nothing: months are detached and dropped by the owner of the tables.
struct Kept;

impl Release for Kept {
    fn release_oldest(&self, _: Lsn, _: Millis) -> Result<Option<Lsn>, JournalError> {
        Ok(None)
    }
}

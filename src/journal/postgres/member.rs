//! A node as a member of its cluster: it says that it lives, sees who owns the stream, and reads what that one appends.

use std::time::{Duration, Instant};

use super::client::PgDatabase;
use super::reader::TableReader;
use super::regain::is_our_cluster;
use super::schema;
use super::session::PgSession;
use super::setting::{Applied, MerchantBody};
pub use super::table::View;
use super::table::{Database, Fault, Found, MOVED_OUT, Node, STREAM, Seen, Session, Stream, told};
use super::{End, LEASE, RENEW_EVERY, settings};
use crate::journal::cursor::Cursor;
use crate::journal::{JournalError, JournalReader, Lsn, Record};

/// One connection, by which a node is a member for as long as it asks.
pub struct Membership {
    database: PgDatabase,
    session: Option<PgSession>,
    /// With the session that was made last, until it is kept.
    found: Option<Found>,
    stream: Stream,
    node: Node,
    /// Where callers reach it.
    address: String,
    renewed: Option<Instant>,
    is_draining: bool,
    /// Version of the last merchant that was taken over, of those that this connection shows.
    merchants_seen: i64,
}

impl Membership {
    pub(super) fn new(database: PgDatabase, stream: Stream, node: Node, address: String) -> Self {
        Self {
            database,
            session: None,
            found: None,
            stream,
            node,
            address,
            renewed: None,
            is_draining: false,
            merchants_seen: 0,
        }
    }

    /// Looks, and renews the membership when it is time. [`JournalError::Doubt`] while the database is away or not as it has to
    /// be, [`JournalError::InUse`] while another process of our name lives. `lag` is told to the others, in records.
    pub fn look(&mut self, lag: u64) -> Result<View, JournalError> {
        let mut session = self.session()?;
        if self.renewed.is_none_or(|at| at.elapsed() >= RENEW_EVERY) {
            let began = Instant::now();
            let renewed = session.renew_member(&self.node, &self.address, lag, LEASE).map_err(doubt)?;
            self.is_draining = renewed.ok_or_else(|| self.in_use())?;
            self.renewed = Some(began);
        }
        let view = session.view(self.stream, &self.node).map_err(doubt)?;
        self.session = Some(session);
        Ok(view)
    }

    /// So that after a start, too, a primary of before a promotion is known for what it is. Of a standby only: an owner does it itself.
    pub fn keep_timeline(&mut self) -> Result<(), JournalError> {
        let Some(Found { cluster, timeline }) = self.found.take() else { return Ok(()) };
        let seen = self.database.seen()?;
        if timeline > seen.timeline
            && let Err(error) = self.database.keep(&Seen { cluster, timeline, ..seen })
        {
            tracing::warn!(error, "what was seen of the journal's database could not be kept");
        }
        Ok(())
    }

    /// Keeps a record that is on a standby of the database, read while `epoch` had the stream: a database without it was restored
    /// from the past.
    pub fn keep(&mut self, end: End, epoch: i64) -> Result<(), JournalError> {
        let seen = self.database.seen()?;
        if end.last <= seen.last || seen.cluster.is_empty() {
            return Ok(());
        }
        let epoch = epoch.max(seen.epoch);
        if let Err(error) = self.database.keep(&Seen { epoch, last: end.last, link: end.link, ..seen }) {
            tracing::warn!(error, "what was seen of the journal's database could not be kept");
        }
        Ok(())
    }

    /// Policy and holidays as the cluster is to have them.
    pub(crate) fn applied(&mut self) -> Result<Applied, JournalError> {
        let mut session = self.session()?;
        let applied = session.applied().map_err(doubt)?;
        self.session = Some(session);
        Ok(applied)
    }

    /// Writes merchants, all or none; of no merchant twice. Whether there was room: there may be so many of them.
    pub fn put_merchants(&mut self, given: &[MerchantBody], most: usize) -> Result<bool, JournalError> {
        let mut session = self.session()?;
        let written = session.put_merchants(given, true, most).map_err(doubt)?;
        self.session = Some(session);
        Ok(written.is_some())
    }

    /// The merchants, with their versions, that are not known to have been taken over yet; a page of them.
    pub fn merchants(&mut self) -> Result<Vec<(i64, Vec<u8>)>, JournalError> {
        let mut session = self.session()?;
        let merchants = session.merchants_after(self.merchants_seen).map_err(doubt)?;
        self.session = Some(session);
        Ok(merchants)
    }

    /// Those up to this version were.
    pub fn merchants_taken(&mut self, version: i64) {
        self.merchants_seen = version;
    }

    /// Whether an operator wants it to own nothing, as of the last renewal.
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Tells the others that the node is gone. Where that fails its membership runs out by itself.
    pub fn leave(mut self) {
        if let Some(mut session) = self.session.take()
            && let Err(fault) = session.leave(&self.node)
        {
            tracing::debug!(why = fault.why(), "the others were not told that this node is gone");
        }
    }

    /// A session that failed is given up; the next look makes another.
    fn session(&mut self) -> Result<PgSession, JournalError> {
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        // Another server may be the one now: what it knows of us may be old.
        self.renewed = None;
        // A version that a failover has lost is given to another merchant.
        self.merchants_seen = 0;
        let (session, found) = self.database.connect(0).map_err(doubt)?;
        self.found = Some(found);
        Ok(session)
    }

    fn in_use(&self) -> JournalError {
        JournalError::InUse(format!("the node name {} in the journal's database", self.node.name))
    }
}

/// Whatever the reason: a member waits for it to be mended.
fn doubt(fault: Fault) -> JournalError {
    JournalError::Doubt(fault.why().to_owned())
}

/// Reads what the owner appends, as soon as it is in the table. It may be there before a standby of the database has it, and
/// be gone after a failover: nothing of it is told to anybody before this node owns the stream and [`Following::end`] is
/// the journal's own.
pub struct Following(TableReader<PgDatabase>);

impl Following {
    pub(super) fn new(database: PgDatabase, stream: Stream) -> Self {
        Self(TableReader::new(database, stream, None))
    }

    /// The record after `after` into `out`, or false at the present end.
    pub fn next(&mut self, after: Lsn, out: &mut Record) -> Result<bool, JournalError> {
        self.0.next(after, out)
    }

    /// The last record read.
    pub fn end(&self) -> End {
        self.0.end().unwrap_or(End { last: Cursor::START.last(), link: Cursor::START.link })
    }

    /// The error for the record last read where it is whole and means nothing.
    pub fn unreadable(&self, problem: &dyn std::fmt::Display) -> JournalError {
        self.0.unreadable(problem)
    }
}

/// Whether the database is one that a node may join: ours, of this program, made for what we are, set as it has to be.
pub(super) fn may_join(database: &mut PgDatabase, known: &str, sandbox: bool) -> Result<(), JournalError> {
    let (mut session, found) = database.connect(0).map_err(told)?;
    is_our_cluster(known, &found).map_err(told)?;
    schema::check_tables(&mut session).map_err(told)?;
    schema::check_kind(&mut session, sandbox).map_err(told)?;
    settings::check(&session.settings().map_err(told)?).map_err(told)?;
    if session.holder(STREAM).map_err(told)?.name == MOVED_OUT {
        let what = "its records were moved to files, which are the journal now: leave `journal.url` out, or name another database";
        return Err(JournalError::Unfit(what.to_owned()));
    }
    Ok(())
}

/// Between two looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

//! The journal in a PostgreSQL cluster with synchronous standbys: the database replicates, its row locks fence, and we write no
//! consensus. A node owns a stream by an epoch in the table `owner` and appends batches of records, bytes as in a segment, to
//! the table `journal`: one statement, one at a time.
//!
//! In reading order: `table` is what is asked of the database, this file the owner's way when all is well, `regain` what is
//! done after every answer that is not sure, `settings` how the database has to be set, `choose` which server is the one,
//! `reader` reads. `client` and `session` ask a real database, `sim` is one that fails; [`cluster`] puts them together. The protocol is `docs/decisions/0021`.

mod apply;
mod choose;
mod client;
pub mod cluster;
pub mod draining;
#[cfg(test)]
mod history;
pub mod member;
pub mod moving;
#[cfg(test)]
mod moving_tests;
mod node_file;
mod reader;
#[cfg(test)]
mod real_tests;
mod regain;
mod schema;
mod session;
pub mod setting;
mod settings;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod sim_tests;
mod sql;
pub mod status;
mod table;

pub use sql::APPEND;
pub use table::Node;

use std::time::Duration;

use crate::journal::Link;
use crate::journal::cursor::Cursor;
use crate::journal::{Batch, Durable, Journal, JournalError, Lease, Lsn};
#[cfg(test)]
use reader::TableReader;
use table::{Database, Fault, Found, Held, Row, Seen, Session, Stream, month_of, told};

/// How long the database lets nobody else have a stream after it was renewed. By the database's clock.
const LEASE: Duration = Duration::from_secs(3);
/// Answers leave no later than this before the lease may have run out: clocks that run differently, a failover to a server
/// with another clock.
const MARGIN: Duration = Duration::from_secs(1);
/// How often lease and membership are renewed.
pub const RENEW_EVERY: Duration = Duration::from_millis(500);
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often what was seen is kept on our disk.
pub const KEEP_EVERY: Duration = Duration::from_secs(10);

/// What becomes ours, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub node: Node,
    pub stream: Stream,
    /// Only for the partition of the first rows of all.
    pub now_ms: i64,
    /// As the node's file has it.
    pub seen: Seen,
    /// New; what readers go by.
    pub durable: Durable,
}

pub(crate) struct PostgresJournal<D: Database> {
    database: D,
    /// None while the stream is not surely ours.
    session: Option<D::Session>,
    options: Options,
    /// The last one, and those before it since it was last sure that the stream is ours: nobody else had one in between.
    epochs: Vec<i64>,
    /// The last row that is surely in the table; none before the first look.
    tail: Option<Tail>,
    /// After the last durable record.
    cursor: Cursor,
    /// What was written and is not surely in the table.
    pending: Row,
    /// After the last record of it.
    written: Cursor,
    durable: Durable,
    lease: Lease,
    /// When renewal, look and note were last begun.
    renewed: Duration,
    checked: Duration,
    kept: Duration,
    /// Up to this month there are partitions.
    months: i32,
    /// Why there will be no partition next month.
    trouble: Option<String>,
    /// Somebody else has, or had, the stream.
    fenced: bool,
}

/// The last record of a journal, and by its link all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub last: Lsn,
    pub link: Link,
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail {
    month: i32,
    batch: i64,
    epoch: i64,
    /// Records in it.
    count: i32,
}

impl Tail {
    const fn of(row: &Row) -> Self {
        Self { month: row.month, batch: row.batch, epoch: row.epoch, count: row.count }
    }
}

impl<D: Database> PostgresJournal<D> {
    /// Makes the stream ours and finds its end. [`JournalError::Doubt`] may be mended by another try; nothing is kept of this
    /// one. `lease` is new, and its clock is the database's [`Database::now`].
    pub fn open(database: D, options: Options, lease: Lease) -> Result<Self, JournalError> {
        let mut this = Self {
            database,
            session: None,
            epochs: Vec::new(),
            tail: None,
            cursor: Cursor::START,
            pending: Row { stream: options.stream, ..Row::default() },
            written: Cursor::START,
            durable: options.durable.clone(),
            lease,
            renewed: Duration::ZERO,
            checked: Duration::ZERO,
            kept: Duration::ZERO,
            months: 0,
            trouble: None,
            fenced: false,
            options,
        };
        match this.regain() {
            Ok(session) => {
                this.session = Some(session);
                Ok(this)
            }
            Err(Stop::Fault(fault @ (Fault::Unfit(_) | Fault::Newer(_)))) => Err(told(fault)),
            Err(stop) => Err(this.stopped(stop)),
        }
    }

    /// The last position written, durable or not.
    pub fn last(&self) -> Lsn {
        self.written.last()
    }

    #[cfg(test)]
    pub fn durable(&self) -> Durable {
        self.durable.clone()
    }

    /// The last durable record.
    pub fn end(&self) -> End {
        End { last: self.cursor.last(), link: self.cursor.link }
    }

    /// Reads what this one writes, as far as it is durable.
    #[cfg(test)]
    pub fn reader(&self) -> TableReader<D> {
        TableReader::new(self.database.another(), self.options.stream, Some(self.durable()))
    }

    pub fn epoch(&self) -> i64 {
        self.epochs.last().copied().unwrap_or_default()
    }

    fn held(&self) -> Held<'_> {
        Held { stream: self.options.stream, epoch: self.epoch(), node: &self.options.node }
    }

    /// What is to be done now, by one statement that appends what was written, renews the lease if it is time, or both. What
    /// is not surely done is found out first: then this call does not return `Ok` before it is known to be in the table.
    fn advance(&mut self) -> Result<(), Stop> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.regain()?,
        };
        let sent = self.database.now();
        if sent.saturating_sub(self.checked) >= CHECK_EVERY {
            settings::check(&session.settings()?)?;
            self.checked = sent;
        }
        let is_due = sent.saturating_sub(self.renewed) >= RENEW_EVERY;
        let has_records = self.pending.count > 0;
        if has_records {
            self.address_pending(&mut session)?;
        }
        if has_records || is_due {
            let sent = self.database.now();
            let (row, renewal) = (has_records.then_some(&self.pending), is_due.then_some(LEASE));
            if !session.append(self.held(), row, renewal)? {
                return Err(Stop::Fault(Fault::Doubt("the stream is of another epoch".to_owned())));
            }
            if is_due {
                self.renewed_at(sent);
            }
            if has_records {
                self.pending_is_durable();
            }
        }
        self.session = Some(session);
        Ok(())
    }

    /// Gives what was written its place in the table, and makes the place if it is in a new month.
    fn address_pending(&mut self, session: &mut D::Session) -> Result<(), Fault> {
        let epoch = self.epoch();
        let batch = self.tail.map_or(0, |tail| tail.batch) + 1;
        (self.pending.epoch, self.pending.batch) = (epoch, batch);
        self.make_months(session, self.pending.month)
    }

    /// Two months ahead. Where that fails and there is one for today, it is only told.
    fn make_months(&mut self, session: &mut D::Session, month: i32) -> Result<(), Fault> {
        if self.months >= month + 2 {
            return Ok(());
        }
        match session.make_months(month) {
            Ok(()) => (self.months, self.trouble) = (month + 2, None),
            Err(fault) if self.months < month => return Err(fault),
            Err(fault) => {
                self.trouble = Some(format!("the partitions of the next months could not be made: {}", fault.why()));
                // Tried again with the next note of what was seen.
                self.months = month + 2;
                return Err(fault);
            }
        }
        Ok(())
    }

    fn renewed_at(&mut self, sent: Duration) {
        self.renewed = sent;
        self.lease.extend(sent + LEASE - MARGIN);
    }

    fn pending_is_durable(&mut self) {
        self.tail = Some(Tail::of(&self.pending));
        self.cursor = self.written;
        self.pending.count = 0;
        self.pending.body.clear();
        self.durable.publish(self.cursor.last());
    }

    /// From now on no answer leaves.
    fn stopped(&mut self, stop: Stop) -> JournalError {
        self.lease.end();
        self.session = None;
        match stop {
            Stop::Fault(fault) => JournalError::Doubt(fault.why().to_owned()),
            Stop::Fenced(by) => {
                self.fenced = true;
                JournalError::Fenced(by)
            }
            Stop::Other(error) => error,
        }
    }

    fn check(&self) -> Result<(), JournalError> {
        if self.fenced { Err(JournalError::Poisoned) } else { Ok(()) }
    }

    fn seen(&self, cluster: &str, timeline: u32) -> Seen {
        let (epoch, last) = (self.epoch(), self.cursor.last());
        Seen { cluster: cluster.to_owned(), timeline, epoch, last, link: self.cursor.link }
    }
}

/// Why a turn ended early.
enum Stop {
    Fault(Fault),
    /// By whom.
    Fenced(String),
    Other(JournalError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<D: Database> Journal for PostgresJournal<D> {
    /// Only into memory: the statement is [`Self::sync`]'s.
    fn write(&mut self, batch: &Batch) -> Result<Lsn, JournalError> {
        self.check()?;
        let mut last = self.written.last_time;
        for (given, _) in batch.payloads() {
            if given < last {
                return Err(JournalError::TimeBackwards { given, last });
            }
            last = given;
        }
        let Some((begins, _)) = batch.payloads().next() else { return Ok(self.last()) };
        if self.pending.count == 0 {
            self.pending.first = self.written.next;
            self.pending.month = month_of(begins).max(self.tail.map_or(0, |tail| tail.month));
        }
        let durable = self.durable.get();
        for (time_ms, payload) in batch.payloads() {
            self.written.append(&mut self.pending.body, durable, time_ms, payload)?;
            self.pending.count += 1;
        }
        Ok(self.last())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.check()?;
        if self.pending.count == 0 {
            return Ok(());
        }
        self.advance().map_err(|stop| self.stopped(stop))
    }

    fn tend(&mut self) -> Result<(), JournalError> {
        self.check()?;
        self.advance().map_err(|stop| self.stopped(stop))?;
        self.keep_now_and_then();
        Ok(())
    }

    fn lease(&self) -> Lease {
        self.lease.clone()
    }

    fn leave(&mut self) -> Result<(), JournalError> {
        self.lease.end();
        let Seen { cluster, timeline, .. } = self.options.seen.clone();
        self.keep(&Found { cluster, timeline });
        // Where that is not surely ours it runs out by itself.
        let Some(mut session) = self.session.take() else { return Ok(()) };
        session.release(self.held()).map_err(|fault| self.stopped(Stop::Fault(fault)))
    }

    fn room(&self) -> Result<(), String> {
        self.trouble.clone().map_or(Ok(()), Err)
    }
}

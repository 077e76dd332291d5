//! The journal: every fact, in order, durable before it is answered.
//!
//! It stores payloads it does not understand ([`codec`] does) as records that carry their position ([`Lsn`]) and their
//! time. What varies is where the records are kept, and that is behind three traits: the committer writes through
//! [`Journal`], everybody else reads through [`JournalReader`], and [`Release`] lets old records go. [`Follower`] is the
//! reader of a live journal: it makes events of records, and calls the alarm on damage that a start would refuse.
//!
//! [`local`] keeps records in files of this machine: one write and one sync a batch, `recover` decides what a crash left.
//! [`postgres`] keeps them in a database with synchronous standbys, for one owner at a time. `docs/journal-format.md` has the
//! bytes, which are the same in both. Another place is another folder beside it, and a line in `cli/serve/backends.rs`.

pub mod batch;
pub mod codec;
#[cfg(test)]
pub(crate) mod contract_tests;
pub(crate) mod cursor;
pub mod follower;
pub mod local;
pub mod postgres;
pub(crate) mod raw;
pub mod record;

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;

pub use batch::{Batch, TooLarge};
pub use follower::{Alarm, FeedError, Follower};
pub use record::Link;

/// Bytes of one file of a journal that is kept in files, where nobody says otherwise. They hold some 200,000 records: a
/// roll-over, which costs two extra syncs, is then rare, and the last file is read in well under a second at a start.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Where facts become durable; the committer's.
pub trait Journal: Send {
    /// Appends the payloads as consecutive records, in one write, and answers the last one's position. Nothing is
    /// durable, and no reader sees it, until [`Self::sync`] has returned.
    fn write(&mut self, batch: &Batch) -> Result<Lsn, JournalError>;

    /// Makes all that was written durable. After [`JournalError::Doubt`] it is to be called again, until it is known what
    /// became of the records; after another error never: the process must end, or the owner must begin anew if it was fenced.
    fn sync(&mut self) -> Result<(), JournalError>;

    /// What is to be done a few times a second, also while nothing is written. Its errors are those of [`Self::sync`].
    fn tend(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Until when answers may leave.
    fn lease(&self) -> Lease {
        Lease::forever()
    }

    /// Lets the next owner have the journal at once. Nothing is written or answered after it.
    fn leave(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Whether there is room for more records than the next few, so that readiness warns before a commit fails; if not,
    /// why.
    fn room(&self) -> Result<(), String>;
}

/// Lets old records go, beside the writer, on a thread that serves nobody: it may take long, and a failure is no reason to
/// stop.
pub trait Release: Send + Sync {
    /// Removes the oldest part of the journal if all of its records are at or before `upto` and older than `keep_after`,
    /// and answers the first record that went. The part in use stays.
    ///
    /// `upto` must be a position that the ledger has for good: what a power cut may take back from the ledger is posted
    /// again from these records.
    fn release_oldest(&self, upto: Lsn, keep_after: Millis) -> Result<Option<Lsn>, JournalError>;
}

/// Reads records in order, beside the writer or at rest, and verifies each as it goes. It only reads. Calls may block.
pub trait JournalReader: Send + Sync {
    /// The record after `after` into `out`, or false at the present end; a later call may find more. To ask for the next
    /// one each time is cheap, for any other a new place is sought.
    fn next(&mut self, after: Lsn, out: &mut Record) -> Result<bool, JournalError>;

    /// The last durable record. Nothing beyond it is read.
    fn last(&self) -> Lsn;

    /// Reads the whole of a journal as it is now, as a start with a ledger at `posted` would that trusts no part of it,
    /// and reads no further than that from now on. Damage is an error.
    fn examine(&mut self, posted: Lsn) -> Result<Examined, JournalError>;

    /// The error for the record last read where it is whole and means nothing: damage too, with its place.
    fn unreadable(&self, problem: &dyn Display) -> JournalError;

    /// Whether a start with a ledger at `posted` would look at this record, so that damage there would stop it.
    fn is_needed(&self, record: Lsn, posted: Lsn) -> bool;

    /// The first record behind the part that holds this one, which can't be read.
    fn behind(&self, record: Lsn) -> Option<Lsn>;

    /// Another reader of the same journal.
    fn another(&self) -> Box<dyn JournalReader>;
}

/// One record, its buffer kept from one to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub lsn: Lsn,
    pub time_ms: i64,
    /// Its hash, which the next record repeats, and by which this one follows on all before it.
    pub link: Link,
    pub payload: Vec<u8>,
}

/// What a look at a whole journal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The first record still kept; the next one if there is none.
    pub first: Lsn,
    /// The last one that a start would keep; zero if there never was one.
    pub last: Lsn,
    /// In what they are kept, in the words of the place, for people.
    pub kept_in: String,
    /// Bytes of a tail that was never answered; a start cuts it.
    pub torn_bytes: u64,
}

/// What a backend has to say of an error of its own.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why the journal did not do as asked. Exit codes: `InUse` 75, `Damaged`, `Released` and `Newer` 65, `Failed` and `Poisoned` 74, `Unfit` 78.
/// `Doubt` and `Fenced` end no service: nothing is answered meanwhile, and it comes back by itself.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{0} is held by another process")]
    InUse(String),
    /// What is kept is not what was written, or a newer version wrote it. Nothing was changed.
    #[error("{cause}")]
    Damaged {
        /// The record that belongs there.
        record: Lsn,
        /// Where, and what was found.
        cause: Cause,
    },
    /// The outside world refused. A failed write or sync is never tried again: what became of it is unknown.
    #[error("the journal could not {doing}: {cause}")]
    Failed { doing: &'static str, cause: Cause },
    #[error("the journal stopped at an earlier failure")]
    Poisoned,
    /// The database is away, or did not say for sure what became of the last records. Nothing is answered until it is known.
    #[error("the journal's database is away or in doubt: {0}")]
    Doubt(String),
    /// Somebody else owns the journal, or did in between: our state may be an old one, and is dropped unanswered.
    #[error("the journal is owned by {0}")]
    Fenced(String),
    /// What it confirms might be lost; the text says what to set.
    #[error("the journal's database: {0}")]
    Unfit(String),
    /// A later version of this program wrote it; nothing was touched.
    #[error("the journal's database: {0}")]
    Newer(String),
    #[error("record {wanted} was released; the journal now begins at {first}")]
    Released { wanted: Lsn, first: Lsn },
    /// A bug of the caller; nothing was written.
    #[error("a record of time {given} after records of time {last}")]
    TimeBackwards { given: i64, last: i64 },
    /// A bug of the caller; nothing was written.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl JournalError {
    pub fn failed<E: Into<Cause>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Failed { doing, cause: cause.into() }
    }
}

/// The last durable position, as the writer publishes it after each sync. Readers never look further.
#[derive(Clone, Debug)]
pub struct Durable(Arc<AtomicU64>);

impl Durable {
    /// A fixed position, for reading a journal at rest up to where recovery would keep it.
    #[must_use]
    pub fn fixed(lsn: Lsn) -> Self {
        Self(Arc::new(AtomicU64::new(lsn.0)))
    }

    #[must_use]
    pub fn get(&self) -> Lsn {
        Lsn(self.0.load(Ordering::Acquire))
    }

    /// Only the writer moves it, and only after a sync has returned.
    fn publish(&self, lsn: Lsn) {
        self.0.store(lsn.0, Ordering::Release);
    }
}

/// Until when answers may leave: after it somebody else may own the journal. The committer's thread extends it, and whoever
/// lets answers go asks.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Term>);

#[derive(Debug)]
struct Term {
    born: Instant,
    /// Since `born`, ns.
    until: AtomicU64,
}

impl Lease {
    /// Of a journal that nobody else can own.
    #[must_use]
    pub fn forever() -> Self {
        Self(Arc::new(Term { born: Instant::now(), until: AtomicU64::new(u64::MAX) }))
    }

    /// One that does not hold yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Term { born: Instant::now(), until: AtomicU64::new(0) }))
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        self.holds_at(self.now())
    }

    /// Monotonic, since it was born.
    pub(crate) fn now(&self) -> Duration {
        self.0.born.elapsed()
    }

    fn holds_at(&self, now: Duration) -> bool {
        nanos(now) < self.0.until.load(Ordering::Acquire)
    }

    pub(crate) fn extend(&self, until: Duration) {
        self.0.until.store(nanos(until), Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.0.until.store(0, Ordering::Release);
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

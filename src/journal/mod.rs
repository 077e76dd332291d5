//! The journal: every fact, in order, durable before it is answered.
//!
//! It stores payloads it does not understand ([`codec`] does) as records that carry their position ([`Lsn`]) and their
//! time. What varies is where the records are kept, and that is behind three traits: the committer writes through
//! [`Journal`], everybody else reads through [`JournalReader`], and [`Release`] lets old records go. [`Follower`] is the
//! reader of a live journal: it makes events of records, and calls the alarm on damage that a start would refuse.
//!
//! [`local`] keeps records in files of this machine: one write and one sync a batch, `recover` decides what a crash left.
//! `docs/journal-format.md` has the bytes. Another place is another folder beside it, and a line in `cli/serve/backends.rs`.

pub mod batch;
pub mod codec;
pub(crate) mod cursor;
pub mod follower;
pub mod local;
pub mod record;

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;

pub use batch::{Batch, TooLarge};
pub use follower::{Alarm, FeedError, Follower};

/// Bytes of one file of a journal that is kept in files, where nobody says otherwise. They hold some 200,000 records: a
/// roll-over, which costs two extra syncs, is then rare, and the last file is read in well under a second at a start.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Where facts become durable; the committer's.
pub trait Journal: Send {
    /// Appends the payloads as consecutive records, in one write, and answers the last one's position. Nothing is
    /// durable, and no reader sees it, until [`Self::sync`] has returned.
    fn write(&mut self, batch: &Batch) -> Result<Lsn, JournalError>;

    /// Makes all that was written durable. It is never tried again: after an error the process must end.
    fn sync(&mut self) -> Result<(), JournalError>;

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

/// Why the journal did not do as asked. Exit codes: `InUse` 75, `Damaged` and `Released` 65, `Failed` and `Poisoned` 74.
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

//! The journal: every fact, in order, on disk before anybody is told.
//!
//! It stores payloads it does not understand ([`codec`] does) as records that carry their position
//! ([`Lsn`]), their time and a hash of everything before them. [`local`] writes them to pre-zeroed segment
//! files, one write and one sync a batch; [`local::recover`] decides what a crash left; [`local::reader`] follows the
//! writer or reads at rest. `docs/journal-format.md` has the bytes.

pub mod batch;
pub mod codec;
pub mod local;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::domain::model::ids::Lsn;

pub use batch::{Batch, TooLarge};
pub use local::lock::DirLock;
pub use local::reader::{Reader, Record};
pub use local::recover::{Action, Finding, Recovery, Torn};
pub use local::{LocalJournal, Options, Room};

/// Where facts become durable.
pub trait Journal: Send {
    /// Appends the payloads as consecutive records, in one write, and answers the last one's position. Nothing is
    /// durable, and no reader sees it, until [`Self::sync`] has returned.
    fn write(&mut self, batch: &Batch) -> Result<Lsn, JournalError>;

    /// Makes all that was written durable. It is never tried again: after an error the process must end.
    fn sync(&mut self) -> Result<(), JournalError>;

    /// One write, one sync.
    fn commit(&mut self, batch: &Batch) -> Result<Lsn, JournalError> {
        let last = self.write(batch)?;
        self.sync()?;
        Ok(last)
    }
}

/// Why the journal did not do as asked. Exit codes: `InUse` 75, `Damaged` 65, `Failed` and `Poisoned` 74.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{0} is held by another process")]
    InUse(PathBuf),
    /// What is on disk is not what was written, or a newer version wrote it. Nothing was changed.
    #[error("the journal is damaged in {}, byte {offset}, record {record}: {finding}", local::segment::file_name(*segment))]
    Damaged {
        segment: Lsn,
        offset: u64,
        /// The record that belongs there.
        record: Lsn,
        finding: Finding,
    },
    /// The disk refused. A failed write or sync is never tried again: what the kernel then still holds is unknown.
    #[error("the journal could not {doing}: {source}")]
    Failed { doing: &'static str, source: io::Error },
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
    fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Failed { doing, source }
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

//! What is wrong with a journal, and where: the refusals in the table of [`super::recover`].

use crate::journal::cursor::Misplaced;
use crate::journal::{JournalError, Lsn};

/// Why a journal can't be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("record {lsn} is torn and no later record proves that it was ever durable")]
    TornTail { lsn: Lsn },
    #[error("record {lsn} is damaged: record {proof} was written after it was durable")]
    DurableDamaged { lsn: Lsn, proof: Lsn },
    #[error("record {lsn} is bad or missing, and the ledger has posted up to record {posted}: it once was durable")]
    PostedDamaged { lsn: Lsn, posted: Lsn },
    #[error("record {lsn} is damaged in a segment that is not the last")]
    DamagedBeforeLastSegment { lsn: Lsn },
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    #[error("a record of version {version}, kind {kind}, from a newer program")]
    UnknownVersion { version: u8, kind: u8 },
    #[error("a segment of version {version}, from a newer program")]
    UnknownSegmentVersion { version: u32 },
    #[error("the segment's header is damaged")]
    HeaderDamaged,
    #[error("the file has {found} bytes, its header says {expected}")]
    SegmentSize { expected: u64, found: u64 },
    #[error("record {expected} is missing, the next segment begins at {found}")]
    SegmentMissing { expected: Lsn, found: Lsn },
}

#[must_use]
pub fn file_name(first: Lsn) -> String {
    format!("{:020}.seg", first.0)
}

/// A finding with its place: what is inside a [`JournalError::Damaged`] of these files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is damaged in {}, byte {offset}, record {record}: {finding}", file_name(*segment))]
pub struct Damage {
    pub segment: Lsn,
    pub offset: u64,
    /// The record that belongs there.
    pub record: Lsn,
    pub finding: Finding,
}

impl From<Damage> for JournalError {
    fn from(damage: Damage) -> Self {
        Self::Damaged { record: damage.record, cause: Box::new(damage) }
    }
}

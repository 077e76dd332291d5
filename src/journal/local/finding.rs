//! What a look at the journal finds, and the action for each: the table of [`super::recover`].

use super::segment;
use crate::journal::{JournalError, Lsn};

/// What the journal looks like. Nothing in it is guessed: each has one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("there is no journal yet")]
    Empty,
    #[error("it ends cleanly")]
    CleanEnd,
    #[error("its last segment holds no record yet")]
    EmptyLastSegment,
    #[error("a temporary file was left over")]
    LeftoverTemp,
    #[error("the last file is {missing} bytes short, no record with it")]
    ShortFile { missing: u64 },
    #[error("record {lsn} is torn and no later record proves that it was ever durable")]
    TornTail { lsn: Lsn },
    #[error("record {lsn} is damaged: record {proof} was written after it was durable")]
    DurableDamaged { lsn: Lsn, proof: Lsn },
    #[error("record {lsn} is bad or missing, and the ledger has posted up to record {posted}: it once was durable")]
    PostedDamaged { lsn: Lsn, posted: Lsn },
    #[error("record {lsn} is damaged in a segment that is not the last")]
    DamagedBeforeLastSegment { lsn: Lsn },
    #[error("record {expected} is missing, {found} is in its place")]
    Gap { expected: Lsn, found: Lsn },
    #[error("record {found} comes again where {expected} belongs")]
    Repeat { expected: Lsn, found: Lsn },
    #[error("record {lsn} does not follow from the one before it")]
    ChainBreak { lsn: Lsn },
    #[error("record {lsn} is older than the one before it")]
    TimeBackwards { lsn: Lsn },
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Continue,
    Delete,
    /// What is after the last good record is copied aside and becomes zeros, durably.
    Cut,
    /// Start nothing, touch nothing.
    Refuse,
}

impl Finding {
    /// The decision table.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Empty => Action::Create,
            Self::CleanEnd | Self::EmptyLastSegment => Action::Continue,
            Self::LeftoverTemp => Action::Delete,
            Self::ShortFile { .. } | Self::TornTail { .. } => Action::Cut,
            Self::DurableDamaged { .. }
            | Self::PostedDamaged { .. }
            | Self::DamagedBeforeLastSegment { .. }
            | Self::Gap { .. }
            | Self::Repeat { .. }
            | Self::ChainBreak { .. }
            | Self::TimeBackwards { .. }
            | Self::UnknownVersion { .. }
            | Self::UnknownSegmentVersion { .. }
            | Self::HeaderDamaged
            | Self::SegmentSize { .. }
            | Self::SegmentMissing { .. } => Action::Refuse,
        }
    }
}

/// A finding that refuses a start, and where: what is inside a [`JournalError::Damaged`] of these files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is damaged in {}, byte {offset}, record {record}: {finding}", segment::file_name(*segment))]
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

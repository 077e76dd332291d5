//! The rule from one record to the next, the same wherever records are kept.

use super::record::{self, Link, Meta, View};
use super::{Lsn, TooLarge};

/// What the next record must be. It belongs to one stream of records; there is one, stream 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub next: Lsn,
    /// Of the record before.
    pub link: Link,
    /// Unix ms, of the record before.
    pub last_time: i64,
}

/// A whole record that is not the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    #[error("record {expected} is missing, {found} is in its place")]
    Gap { expected: Lsn, found: Lsn },
    #[error("record {found} comes again where {expected} belongs")]
    Repeat { expected: Lsn, found: Lsn },
    #[error("record {lsn} does not follow from the one before it")]
    ChainBreak { lsn: Lsn },
    #[error("record {lsn} is older than the one before it")]
    TimeBackwards { lsn: Lsn },
}

impl Cursor {
    /// Before the first record of all.
    pub const START: Self = Self { next: Lsn(1), link: Link([0; 16]), last_time: 0 };

    /// The position of the record before; zero if there is none.
    pub fn last(&self) -> Lsn {
        Lsn(self.next.0.saturating_sub(1))
    }

    /// Takes the record if it is the next one.
    pub fn accept(&mut self, view: &View<'_>) -> Result<(), Misplaced> {
        let meta = &view.meta;
        if meta.lsn > self.next {
            return Err(Misplaced::Gap { expected: self.next, found: meta.lsn });
        }
        if meta.lsn < self.next {
            return Err(Misplaced::Repeat { expected: self.next, found: meta.lsn });
        }
        if meta.prev != self.link {
            return Err(Misplaced::ChainBreak { lsn: meta.lsn });
        }
        if meta.time_ms < self.last_time {
            return Err(Misplaced::TimeBackwards { lsn: meta.lsn });
        }
        *self = Self { next: meta.lsn.next(), link: view.link, last_time: meta.time_ms };
        Ok(())
    }

    /// Appends a payload to `out` as the next record, written while `durable` was the last durable one.
    pub fn append(&mut self, out: &mut Vec<u8>, durable: Lsn, time_ms: i64, payload: &[u8]) -> Result<(), TooLarge> {
        let meta = Meta { lsn: self.next, durable, time_ms, prev: self.link };
        let link = record::encode(out, &meta, payload)?;
        *self = Self { next: self.next.next(), link, last_time: time_ms };
        Ok(())
    }
}

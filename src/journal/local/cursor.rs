//! The rule from one record to the next, shared by recovery and the reader.

use super::finding::Finding;
use super::segment::Header;
use crate::journal::Lsn;
use crate::journal::record::{Link, View};

/// What the next record must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub next: Lsn,
    /// Of the record before.
    pub link: Link,
    pub last_time: i64,
}

impl Cursor {
    pub(crate) fn at(header: &Header) -> Self {
        Self { next: header.first, link: header.prev, last_time: header.prev_time }
    }

    /// Takes the record if it is the next one.
    pub(crate) fn accept(&mut self, view: &View<'_>) -> Result<(), Finding> {
        let meta = &view.meta;
        if meta.lsn > self.next {
            return Err(Finding::Gap { expected: self.next, found: meta.lsn });
        }
        if meta.lsn < self.next {
            return Err(Finding::Repeat { expected: self.next, found: meta.lsn });
        }
        if meta.prev != self.link {
            return Err(Finding::ChainBreak { lsn: meta.lsn });
        }
        if meta.time_ms < self.last_time {
            return Err(Finding::TimeBackwards { lsn: meta.lsn });
        }
        *self = Self { next: meta.lsn.next(), link: view.link, last_time: meta.time_ms };
        Ok(())
    }

    /// Whether a segment with this header continues here.
    pub(crate) fn enter(&self, header: &Header) -> Result<(), Finding> {
        if header.first > self.next {
            return Err(Finding::SegmentMissing { expected: self.next, found: header.first });
        }
        if header.first < self.next {
            return Err(Finding::Repeat { expected: self.next, found: header.first });
        }
        if header.prev != self.link || header.prev_time != self.last_time {
            return Err(Finding::ChainBreak { lsn: header.first });
        }
        Ok(())
    }
}

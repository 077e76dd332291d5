//! Records as they lie there, byte by byte: for a journal that moves from one place to another.

use super::record::View;
use super::{JournalError, Lsn};

/// A journal at rest, read once from its first record to its last.
pub(crate) trait RawReader {
    /// The next record with all of its bytes; none behind the last one.
    fn next(&mut self) -> Result<Option<(View<'_>, &[u8])>, JournalError>;
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub first: Lsn,
    pub last: Lsn,
    pub records: u64,
    /// Of all records, headers and padding included.
    pub bytes: u64,
}

impl Counted {
    pub(crate) fn count(&mut self, lsn: Lsn, bytes: &[u8]) {
        if self.records == 0 {
            self.first = lsn;
        }
        self.last = lsn;
        self.records += 1;
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }
}

/// Whether one journal is the beginning of another, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    Same,
    /// The other one goes on behind it.
    Beginning,
    /// From this record on they are not the same.
    Other(Lsn),
}

/// Compares two journals, record by record and byte by byte; `each` hears how far it is.
pub(crate) fn compare(
    one: &mut dyn RawReader,
    other: &mut dyn RawReader,
    each: &mut dyn FnMut(Lsn),
) -> Result<(Compared, Counted), JournalError> {
    let mut counted = Counted::default();
    loop {
        match (one.next()?, other.next()?) {
            (Some((view, bytes)), Some((_, others))) if bytes == others => {
                counted.count(view.meta.lsn, bytes);
                each(view.meta.lsn);
            }
            (Some((view, _)), _) => return Ok((Compared::Other(view.meta.lsn), counted)),
            (None, Some(_)) => return Ok((Compared::Beginning, counted)),
            (None, None) => return Ok((Compared::Same, counted)),
        }
    }
}

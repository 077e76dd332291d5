//! Records as bytes, out of segments and into them: for a journal that moves to another place or comes from one.

use std::collections::VecDeque;
use std::path::Path;

use super::disk::{Disk, DiskFile, StdDisk, narrow, widen};
use super::finding::Damage;
use super::segment::{self, Header};
use super::{LocalJournal, LocalReader, finding};
use crate::journal::cursor::Cursor;
use crate::journal::raw::RawReader;
use crate::journal::record::{self, Parsed, View};
use crate::journal::{Examined, JournalError, JournalReader, Lsn};

/// The records of a folder, from the first to the last that a start would keep.
pub(crate) struct SegmentBytes {
    disk: StdDisk,
    /// Still to be read.
    segments: VecDeque<Lsn>,
    /// The records of the one being read, and what follows them.
    bytes: Vec<u8>,
    offset: usize,
    cursor: Cursor,
    last: Lsn,
}

impl SegmentBytes {
    /// Looks at all of it first, as a start with a ledger at `posted` would; damage is an error.
    pub fn open(dir: &Path, posted: Lsn) -> Result<(Self, Examined), JournalError> {
        let found = LocalReader::at_rest(dir).examine(posted)?;
        let disk = StdDisk::new(dir);
        let segments = segment::list(&disk)?.into();
        let (bytes, offset, cursor, last) = (Vec::new(), 0, Cursor::START, found.last);
        Ok((Self { disk, segments, bytes, offset, cursor, last }, found))
    }

    fn enter(&mut self, first: Lsn) -> Result<(), JournalError> {
        let file = self.disk.open(&finding::file_name(first)).map_err(JournalError::failed("open a segment"))?;
        let header = Header::read(&file, first)?;
        self.bytes.clear();
        self.bytes.resize(narrow(header.size).saturating_sub(segment::HEADER), 0);
        file.read_full_at(&mut self.bytes, widen(segment::HEADER)).map_err(JournalError::failed("read a segment"))?;
        header.follows(&self.cursor).map_err(|finding| Damage { segment: first, offset: 0, record: first, finding })?;
        self.offset = 0;
        Ok(())
    }
}

impl RawReader for SegmentBytes {
    fn next(&mut self) -> Result<Option<(View<'_>, &[u8])>, JournalError> {
        if self.cursor.last() >= self.last {
            return Ok(None);
        }
        let record = self.cursor.next;
        let gone = || JournalError::Damaged { record, cause: format!("record {record} is gone").into() };
        // Behind the last record of a segment are zeros, or nothing.
        while record::lsn_at(self.bytes.get(self.offset..).unwrap_or_default()) != Some(record) {
            let first = self.segments.pop_front().ok_or_else(gone)?;
            self.enter(first)?;
        }
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let Parsed::Good(view) = record::parse(rest) else { return Err(gone()) };
        self.cursor.accept(&view).map_err(|misplaced| JournalError::Damaged { record, cause: misplaced.into() })?;
        self.offset += view.size;
        Ok(rest.get(..view.size).map(|bytes| (view, bytes)))
    }
}

impl<D: Disk> LocalJournal<D> {
    /// Appends records as they are; they must follow. They are durable after [`crate::journal::Journal::sync`].
    pub(crate) fn append_as_is(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        self.check()?;
        let (mut cursor, mut rest, mut begins) = (self.cursor, bytes, None);
        while !rest.is_empty() {
            let record = cursor.next;
            let damaged = |what: String| JournalError::Damaged { record, cause: what.into() };
            let Parsed::Good(view) = record::parse(rest) else {
                return Err(damaged(format!("record {record} is damaged")));
            };
            cursor.accept(&view).map_err(|misplaced| damaged(misplaced.to_string()))?;
            begins = begins.or(Some(view.meta.time_ms));
            rest = rest.get(view.size..).unwrap_or_default();
        }
        let Some(begins) = begins else { return Ok(()) };
        if widen(bytes.len()) > self.size - self.offset {
            self.roll(begins, widen(bytes.len()))?;
        }
        self.dirty = true;
        if let Err(source) = self.file.write_all_at(bytes, self.offset) {
            return Err(self.poison("write records", source));
        }
        self.offset += widen(bytes.len());
        self.cursor = cursor;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::journal::contract_tests::{TIME, batch_at, payload};
    use crate::journal::local::Options;
    use crate::journal::raw::{Compared, Counted, compare};

    const OPTIONS: Options = Options { segment_size: 16 << 10, background: false, posted: Lsn::ZERO };

    /// Of records in several syncs, so that they say different things of what was durable.
    fn fill(dir: &Path, records: u64) {
        let (mut journal, _) = LocalJournal::open(dir, &OPTIONS, 0).unwrap();
        for n in 0..records {
            journal.write(&batch_at(TIME + i64::try_from(n).unwrap(), &[payload(n, 700), payload(n, 30)])).unwrap();
            if n % 3 == 0 {
                journal.sync().unwrap();
            }
        }
        journal.sync().unwrap();
    }

    fn compared(one: &Path, other: &Path) -> (Compared, Counted) {
        let (mut one, _) = SegmentBytes::open(one, Lsn::ZERO).unwrap();
        let (mut other, _) = SegmentBytes::open(other, Lsn::ZERO).unwrap();
        compare(&mut one, &mut other, &mut |_| {}).unwrap()
    }

    #[test]
    fn records_are_copied_byte_by_byte_into_segments_of_another_size() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to, longer] = ["from", "to", "longer"].map(|name| folder.path().join(name));
        fill(&from, 50);
        fill(&longer, 51);
        let (mut source, found) = SegmentBytes::open(&from, Lsn::ZERO).unwrap();
        let options = Options { segment_size: 64 << 10, ..OPTIONS };
        let (mut journal, _) = LocalJournal::open(&to, &options, 0).unwrap();
        while let Some((_, bytes)) = source.next().unwrap() {
            journal.append_as_is(bytes).unwrap();
        }
        journal.sync().unwrap();
        drop(journal);
        let (same, counted) = compared(&from, &to);
        assert_eq!((same, counted.first, counted.last, counted.records), (Compared::Same, Lsn(1), found.last, 100));
        assert_eq!(found.last, Lsn(100));
        let segments = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
        assert!(segments(&from) > segments(&to), "they were of several sizes");
        // A start takes what was copied.
        assert_eq!(LocalJournal::open(&to, &OPTIONS, 0).unwrap().1.last, Lsn(100));

        assert_eq!(compared(&from, &longer).0, Compared::Beginning);
        assert_eq!(compared(&longer, &from).0, Compared::Other(Lsn(101)));
    }

    #[test]
    fn what_does_not_follow_or_is_damaged_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fill(&from, 2);
        let (mut source, _) = SegmentBytes::open(&from, Lsn::ZERO).unwrap();
        let mut records = Vec::new();
        while let Some((_, bytes)) = source.next().unwrap() {
            records.push(bytes.to_vec());
        }
        let (mut journal, _) = LocalJournal::open(&to, &OPTIONS, 0).unwrap();
        assert!(journal.append_as_is(&records[1]).unwrap_err().to_string().contains("record 1 is missing"));
        let mut torn = records[0].clone();
        torn[60] ^= 1;
        assert!(journal.append_as_is(&torn).unwrap_err().to_string().contains("record 1 is damaged"));
        journal.append_as_is(&records[0]).unwrap();
        assert_eq!(journal.last(), Lsn(1));
    }
}

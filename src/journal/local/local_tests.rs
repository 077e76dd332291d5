//! The writer and the reader on a sound disk.

use std::path::PathBuf;
use std::thread;

use proptest::prelude::*;

use super::disk::StdDisk;
use super::sim::SimDisk;
use super::{recover, *};
use crate::domain::model::time::Millis;
use crate::journal::contract_tests::{Place, contract};
pub use crate::journal::contract_tests::{batch_at, payload};
use crate::journal::{JournalReader, Record, Release, record};

impl<D: disk::Disk> LocalJournal<D> {
    /// One write, one sync.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<Lsn, JournalError> {
        let last = self.write(batch)?;
        self.sync()?;
        Ok(last)
    }

    /// The time of the last record, 0 before the first.
    pub(crate) fn last_time(&self) -> i64 {
        self.cursor.last_time
    }
}

/// Small files, every call on one thread.
pub fn small() -> Options {
    Options { segment_size: 8 << 10, background: false, posted: Lsn::ZERO }
}

/// Segments on the disk.
pub fn segments<D: disk::Disk>(disk: &D) -> usize {
    segment::list(disk).unwrap().len()
}

/// One segment at most, as [`Release`] says.
pub fn release_oldest<D: disk::Disk>(disk: &D, upto: Lsn, keep_after: i64) -> Result<Option<Lsn>, JournalError> {
    LocalRelease(disk.clone()).release_oldest(upto, Millis(keep_after))
}

/// Reads on from where it is.
pub struct Reader<D: disk::Disk> {
    reader: LocalReader<D>,
    at: Lsn,
}

impl<D: disk::Disk> Reader<D> {
    pub fn open_on(disk: D, after: Lsn, durable: Option<Durable>) -> Self {
        Self { reader: LocalReader::new(disk, durable), at: after }
    }

    pub fn next(&mut self, out: &mut Record) -> Result<Option<Lsn>, JournalError> {
        let is_found = self.reader.next(self.at, out)?;
        if is_found {
            self.at = out.lsn;
        }
        Ok(is_found.then_some(self.at))
    }
}

/// Every record that opening would keep.
pub fn read_all<D: disk::Disk>(disk: &D) -> Result<Vec<Record>, JournalError> {
    let recovery = recover::plan(disk, Lsn::ZERO, Lsn::ZERO)?.recovery;
    let before = Lsn(recovery.first.0 - 1);
    let mut reader = Reader::open_on(disk.clone(), before, Some(Durable::fixed(recovery.last)));
    let mut all = Vec::new();
    let mut record = Record::default();
    while reader.next(&mut record)?.is_some() {
        all.push(Record { link: record::Link::default(), ..record.clone() });
    }
    Ok(all)
}

/// A folder, in small segments.
struct Folder {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        Self { _dir: dir, path }
    }
}

impl Place for Folder {
    fn open(&mut self) -> (Box<dyn Journal>, Box<dyn JournalReader>) {
        let options = Options { segment_size: 64 << 10, ..Options::default() };
        let (journal, _) = LocalJournal::open(&self.path, &options, 1).unwrap();
        let reader = journal.reader();
        (Box::new(journal), Box::new(reader))
    }

    fn at_rest(&self) -> Box<dyn JournalReader> {
        Box::new(LocalReader::at_rest(&self.path))
    }
}

contract!(Folder::new());

#[test]
fn what_was_committed_is_read_back_across_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_size: 64 << 10, ..Options::default() };
    let mut expected = Vec::new();
    for round in 0..4_i64 {
        let (mut journal, recovery) = LocalJournal::open(dir.path(), &options, 1).unwrap();
        assert_eq!(recovery.last.0, expected.len() as u64);
        assert_eq!(recovery.torn, None);
        for i in 0..40_i64 {
            let time_ms = 1_000 * round + i;
            let payloads: Vec<_> = (0..u64::try_from(i % 9).unwrap()).map(|n| payload(n, 260)).collect();
            let last = journal.commit(&batch_at(time_ms, &payloads)).unwrap();
            expected.extend(payloads.into_iter().map(|payload| (time_ms, payload)));
            assert_eq!(last.0, expected.len() as u64);
        }
        assert_eq!(journal.cursor.next, journal.last().next());
        assert!(segments(&StdDisk::new(dir.path())) > 1 || round == 0);
    }
    let got = read_all(&StdDisk::new(dir.path())).unwrap();
    assert_eq!(got.len(), expected.len());
    for (i, (record, (time_ms, payload))) in got.into_iter().zip(expected).enumerate() {
        assert_eq!((record.lsn, record.time_ms, record.payload), (Lsn(i as u64 + 1), time_ms, payload));
    }
}

#[test]
fn a_batch_larger_than_a_segment_gets_its_own() {
    for before in [0, 1] {
        let disk = SimDisk::new();
        let (mut journal, _) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
        let mut early = Reader::open_on(disk.clone(), Lsn::ZERO, Some(journal.durable()));
        let mut record = Record::default();
        assert_eq!(early.next(&mut record).unwrap(), None);
        for n in 0..before {
            journal.commit(&batch_at(1, &[payload(n, 10)])).unwrap();
        }
        let large: Vec<_> = (0..30).map(|n| payload(n, 2_000)).collect();
        journal.commit(&batch_at(2, &large)).unwrap();
        journal.commit(&batch_at(3, &[payload(77, 10)])).unwrap();
        assert_eq!(segments(&disk) as u64, 1 + before);
        assert_eq!(read_all(&disk).unwrap().len() as u64, 31 + before);
        for lsn in 1..=31 + before {
            assert_eq!(early.next(&mut record).unwrap(), Some(Lsn(lsn)));
        }
        drop(journal);
        let (_, recovery) = LocalJournal::open_on(disk, &small(), 1).unwrap();
        assert_eq!(recovery.last.0, 31 + before);
    }
}

#[test]
fn release_removes_whole_old_segments_only() {
    let disk = SimDisk::new();
    let (mut journal, _) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
    let mut slow = Reader::open_on(disk.clone(), Lsn::ZERO, Some(journal.durable()));
    for n in 1..=100 {
        journal.commit(&batch_at(i64::try_from(n).unwrap(), &[payload(n, 1_000)])).unwrap();
    }
    // Three records a segment.
    assert_eq!(segments(&disk), 34);
    let mut record = Record::default();
    assert_eq!(slow.next(&mut record).unwrap(), Some(Lsn(1)));
    let release = |upto, keep_after| release_oldest(&disk, Lsn(upto), keep_after).unwrap();
    assert_eq!(release(2, i64::MAX), None, "record 3 is in it and above");
    assert_eq!(release(5, i64::MAX), Some(Lsn(1)));
    assert_eq!(release(5, i64::MAX), None);
    assert_eq!(release(6, 6), None, "record 6 is not older than time 6");
    assert_eq!(release(6, 7), Some(Lsn(4)));
    // The file it has open is still there for it; the next one is not.
    assert_eq!(slow.next(&mut record).unwrap(), Some(Lsn(2)));
    assert_eq!(slow.next(&mut record).unwrap(), Some(Lsn(3)));
    let error = slow.next(&mut record).unwrap_err();
    assert!(matches!(error, JournalError::Released { wanted: Lsn(4), first: Lsn(7) }), "{error}");
    let error = Reader::open_on(disk.clone(), Lsn(5), None).next(&mut record).unwrap_err();
    assert!(matches!(error, JournalError::Released { wanted: Lsn(6), first: Lsn(7) }), "{error}");
    for gone in 2..33 {
        assert_eq!(release(1_000, i64::MAX), Some(Lsn(1 + 3 * gone)), "one a call");
    }
    assert_eq!((release(1_000, i64::MAX), segments(&disk)), (None, 1), "the one in use stays");
    drop(journal);
    let (mut journal, recovery) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
    assert_eq!((recovery.first, recovery.last, journal.last_time()), (Lsn(100), Lsn(100), 100));
    journal.commit(&batch_at(100, &[payload(101, 9)])).unwrap();
    let mut reader = Reader::open_on(disk, Lsn(99), None);
    assert_eq!(reader.next(&mut record).unwrap(), Some(Lsn(100)));
    assert_eq!(reader.next(&mut record).unwrap(), Some(Lsn(101)));
    assert_eq!(reader.next(&mut record).unwrap(), None);
}

#[test]
fn a_release_that_fails_harms_nobody() {
    let disk = SimDisk::new();
    let (mut journal, _) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
    for n in 1..=9 {
        journal.commit(&batch_at(1, &[payload(n, 1_000)])).unwrap();
    }
    disk.fail_at(1, super::sim::Fault::Eio, false);
    let error = release_oldest(&disk, Lsn(9), i64::MAX).unwrap_err();
    assert!(matches!(error, JournalError::Failed { doing: "release a segment", .. }), "{error}");
    disk.heal();
    journal.commit(&batch_at(2, &[payload(10, 1_000)])).unwrap();
    assert_eq!(release_oldest(&disk, Lsn(9), i64::MAX).unwrap(), Some(Lsn(1)));
    assert_eq!(journal.commit(&batch_at(2, &[payload(11, 1_000)])).unwrap(), Lsn(11));
}

#[test]
fn opening_may_pass_over_what_the_ledger_has() {
    let disk = SimDisk::new();
    let (mut journal, _) = LocalJournal::open_on(disk.clone(), &small(), 1).unwrap();
    for n in 1..=100 {
        journal.commit(&batch_at(i64::try_from(n).unwrap(), &[payload(n, 1_000)])).unwrap();
    }
    drop(journal);
    // Record 49 begins the segment of the position; the one before it is not even looked at.
    disk.set(&finding::file_name(Lsn(46)), vec![7; 8 << 10]);
    let posted = |lsn| Options { posted: Lsn(lsn), ..small() };
    assert!(LocalJournal::open_on(disk.fork(), &posted(48), 1).is_err());
    let (_, recovery) = LocalJournal::open_on(disk, &posted(49), 1).unwrap();
    assert_eq!((recovery.segments, recovery.last), (34, Lsn(100)));
}

#[test]
fn the_lock_is_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let held = lock::lock(dir.path()).unwrap();
    assert!(matches!(lock::lock(dir.path()), Err(JournalError::InUse(_))));
    drop(held);
    lock::lock(dir.path()).unwrap();
}

#[test]
fn the_next_segment_is_prepared_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_size: 64 << 10, ..Options::default() };
    let (journal, recovery) = LocalJournal::open(dir.path(), &options, 1).unwrap();
    assert_eq!((recovery.segments, recovery.last), (0, Lsn::ZERO));
    while !journal.preparer.is_ready() {
        thread::yield_now();
    }
    assert_eq!((journal.size - journal.offset, journal.room()), ((64 << 10) - 4096, Ok(())));
    assert_eq!(dir.path().join("next.tmp").metadata().unwrap().len(), 64 << 10);
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
        let _parsed = record::parse(&bytes);
        let mut real = Vec::new();
        let meta = record::Meta { lsn: Lsn(9), durable: Lsn(8), time_ms: -1, prev: record::Link([3; 16]) };
        record::encode(&mut real, &meta, &bytes).unwrap();
        prop_assert!(real.len() % 8 == 0);
        match record::parse(&real) {
            record::Parsed::Good(view) => {
                prop_assert_eq!(view.payload, &bytes[..]);
                prop_assert_eq!(view.meta, meta);
                prop_assert_eq!(view.size, real.len());
            }
            other => prop_assert!(false, "{:?}", other),
        }
        let cut = cut.min(real.len() - 1);
        prop_assert!(matches!(record::parse(&real[..cut]), record::Parsed::Short(_)));
        let _parsed = segment::Header::parse(&bytes);
    }
}

#[test]
fn segment_headers_survive_their_bytes() {
    let prev = record::Link([9; 16]);
    let header = segment::Header { first: Lsn(42), size: 8192, created_ms: 7, prev, prev_time: 6 };
    let page = header.encode();
    assert_eq!((page.len(), segment::Header::parse(&page)), (segment::HEADER, Ok(header)));
    assert_eq!(segment::parse_name(&finding::file_name(Lsn(42))), Some(Lsn(42)));
    assert_eq!(segment::parse_name("42.seg"), None);
}

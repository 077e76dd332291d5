//! What every journal has to do, wherever its records are kept: the tests of a backend run these with a place of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Batch, Journal, JournalError, JournalReader, Link, Lsn, Record, TooLarge, record};

/// A moment, Unix ms.
pub const TIME: i64 = 1_790_000_000_000;

/// A place with a journal.
pub trait Place {
    /// Opens it as the one owner, and gives a reader beside the writer. The one opened before is gone.
    fn open(&mut self) -> (Box<dyn Journal>, Box<dyn JournalReader>);
    /// Reads it at rest.
    fn at_rest(&self) -> Box<dyn JournalReader>;
}

pub fn add(batch: &mut Batch, time_ms: i64, payload: &[u8]) -> Result<(), TooLarge> {
    batch.offer(time_ms, |buf| {
        buf.extend_from_slice(payload);
        Ok(())
    })
}

pub fn batch_at(time_ms: i64, payloads: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::default();
    for payload in payloads {
        add(&mut batch, time_ms, payload).unwrap();
    }
    batch
}

/// A payload that says which it is.
pub fn payload(n: u64, len: usize) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(8 + len, u8::try_from(n % 251).unwrap());
    bytes
}

/// As the committer does.
fn commit(journal: &mut dyn Journal, batch: &Batch) -> Result<Lsn, JournalError> {
    let last = journal.write(batch)?;
    loop {
        match journal.sync() {
            Err(JournalError::Doubt(_)) => {}
            other => return other.map(|()| last),
        }
    }
}

fn read_after(reader: &mut dyn JournalReader, after: Lsn) -> Vec<Record> {
    let (mut record, mut all) = (Record { lsn: after, ..Record::default() }, Vec::new());
    while reader.next(record.lsn, &mut record).unwrap() {
        // The chain is the place's own.
        all.push(Record { link: Link::default(), ..record.clone() });
    }
    all
}

pub fn what_was_committed_is_read_back_across_restarts(place: &mut dyn Place) {
    let mut expected: Vec<Record> = Vec::new();
    for round in 0..4_i64 {
        let (mut journal, reader) = place.open();
        assert_eq!(reader.last().0, expected.len() as u64);
        for i in 0..12_i64 {
            let time_ms = TIME + 1_000 * round + i;
            let payloads: Vec<_> = (0..u64::try_from(i % 9).unwrap()).map(|n| payload(n, 260)).collect();
            let last = commit(journal.as_mut(), &batch_at(time_ms, &payloads)).unwrap();
            for payload in payloads {
                expected.push(Record { lsn: Lsn(expected.len() as u64 + 1), time_ms, payload, ..Record::default() });
            }
            assert_eq!(last.0, expected.len() as u64, "a batch without records takes no position");
        }
        assert_eq!(reader.last(), Lsn(expected.len() as u64));
    }
    let mut reader = place.at_rest();
    let found = reader.examine(Lsn(9)).unwrap();
    assert_eq!((found.first, found.last, found.torn_bytes), (Lsn(1), Lsn(expected.len() as u64), 0));
    assert!(read_after(reader.as_mut(), Lsn::ZERO) == expected);
    let posted_more = place.at_rest().examine(found.last.next()).unwrap_err();
    assert!(matches!(posted_more, JournalError::Damaged { .. }), "{posted_more}");
}

pub fn time_does_not_go_back(place: &mut dyn Place) {
    let (mut journal, _) = place.open();
    commit(journal.as_mut(), &batch_at(TIME + 5, &[payload(1, 1)])).unwrap();
    let error = journal.write(&batch_at(TIME + 4, &[payload(2, 1)])).unwrap_err();
    assert!(matches!(error, JournalError::TimeBackwards { .. }), "{error}");
    assert_eq!(commit(journal.as_mut(), &batch_at(TIME + 5, &[payload(2, 1)])).unwrap(), Lsn(2));
    drop(journal);
    let (mut journal, _) = place.open();
    assert!(journal.write(&batch_at(TIME + 4, &[payload(3, 1)])).is_err(), "nor across a restart");
}

pub fn the_largest_payload_fits_and_a_larger_one_is_refused_by_the_batch(place: &mut dyn Place) {
    let (mut journal, mut reader) = place.open();
    let mut batch = batch_at(TIME, &[vec![7; record::MAX_PAYLOAD], Vec::new()]);
    assert!(add(&mut batch, TIME, &vec![1; record::MAX_PAYLOAD + 1]).is_err());
    commit(journal.as_mut(), &batch).unwrap();
    let all = read_after(reader.as_mut(), Lsn::ZERO);
    assert_eq!(all.iter().map(|r| r.payload.len()).collect::<Vec<_>>(), [record::MAX_PAYLOAD, 0]);
}

pub fn readers_see_only_what_is_synced(place: &mut dyn Place) {
    let (mut journal, mut reader) = place.open();
    let mut record = Record::default();
    for n in 1..60 {
        journal.write(&batch_at(TIME, &[payload(n, 100)])).unwrap();
        if n % 5 == 4 {
            let at = record.lsn;
            assert!(!reader.next(at, &mut record).unwrap(), "nothing of a group is seen before its sync");
        }
        if n % 5 == 0 {
            commit(journal.as_mut(), &Batch::default()).unwrap();
            for lsn in n - 4..=n {
                let at = record.lsn;
                assert!(reader.next(at, &mut record).unwrap());
                assert_eq!((record.lsn, &record.payload), (Lsn(lsn), &payload(lsn, 100)));
            }
        }
    }
}

pub fn a_reader_begins_anywhere(place: &mut dyn Place) {
    let (mut journal, reader) = place.open();
    for n in 0..20 {
        let payloads: Vec<_> = (1..=5).map(|i| payload(5 * n + i, 300)).collect();
        commit(journal.as_mut(), &batch_at(TIME, &payloads)).unwrap();
    }
    let (mut record, mut moved) = (Record::default(), reader.another());
    for after in (0..=103).rev() {
        let (is_there, mut reader) = (after < 100, reader.another());
        assert_eq!(reader.next(Lsn(after), &mut record).unwrap(), is_there, "after {after}");
        assert!(!is_there || record.payload == payload(after + 1, 300));
        assert_eq!(moved.next(Lsn(after), &mut record).unwrap(), is_there, "the same one, moved to {after}");
    }
    assert!(reader.is_needed(Lsn(100), Lsn(99)) && reader.is_needed(Lsn(99), Lsn(99)));
    let unread = moved.unreadable(&"nonsense");
    assert!(matches!(unread, JournalError::Damaged { .. }) && unread.to_string().contains("nonsense"), "{unread}");
}

pub fn a_reader_follows_the_live_writer(place: &mut dyn Place) {
    let (mut journal, reader) = place.open();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = [reader.another(), reader.another()]
            .map(|mut reader| {
                let done = &done;
                scope.spawn(move || {
                    let (mut record, mut seen) = (Record::default(), 0);
                    loop {
                        let finished = done.load(Ordering::Acquire);
                        while reader.next(Lsn(seen), &mut record).unwrap() {
                            seen += 1;
                            assert_eq!(record.lsn, Lsn(seen));
                            assert_eq!(record.payload, payload(seen, usize::try_from(seen % 500).unwrap()));
                        }
                        if finished {
                            return seen;
                        }
                        thread::yield_now();
                    }
                })
            })
            .into();
        let mut n = 0;
        for i in 0..80_u64 {
            let count = 1 + i * 7 % 20;
            let payloads: Vec<_> = (n + 1..=n + count).map(|n| payload(n, (n % 500) as usize)).collect();
            n += count;
            commit(journal.as_mut(), &batch_at(TIME + i64::try_from(i).unwrap(), &payloads)).unwrap();
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), n);
        }
    });
}

/// The tests of one backend; `$place` makes an empty place.
macro_rules! contract {
    ($place:expr) => {
        $crate::journal::contract_tests::contract!($place;
            what_was_committed_is_read_back_across_restarts,
            time_does_not_go_back,
            the_largest_payload_fits_and_a_larger_one_is_refused_by_the_batch,
            readers_see_only_what_is_synced,
            a_reader_begins_anywhere,
            a_reader_follows_the_live_writer);
    };
    ($place:expr; $($name:ident),*) => {
        $(#[test]
        fn $name() {
            $crate::journal::contract_tests::$name(&mut $place);
        })*
    };
}
pub(crate) use contract;

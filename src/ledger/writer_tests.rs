//! The write-behind loop against ledgers that fail and journals that grow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::contract_tests::{loaded, postings};
use super::sqlite::SqliteLedger;
use super::write_loop::Condition;
use super::write_loop::{LOOK, Rate};
use super::writer::Writer;
use super::{Checkpoint, LedgerError, Posting, Snapshot};
use crate::domain::commands::history::{History, assert_alike};
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::journal::{Alarm, Examined, Follower, JournalError, JournalReader, Record, codec};

/// A journal that grows by hand.
#[derive(Clone, Default)]
struct FakeJournal(Arc<Mutex<Vec<Posting>>>);

impl FakeJournal {
    fn grow(&self, many: u64) -> Lsn {
        let mut journal = self.0.lock();
        for _ in 0..many {
            let lsn = Lsn(journal.len() as u64 + 1);
            journal.push(Posting { lsn, time: Millis(5), event: Event::Opened { sandbox: true } });
        }
        Lsn(journal.len() as u64)
    }
}

impl FakeJournal {
    fn into_follower(self) -> Follower {
        follow(Box::new(FakeReader { journal: self, errors: 0, flood: None }))
    }
}

fn stop(writer: &Writer) {
    assert!(writer.stop_by(Instant::now() + Duration::from_secs(5)), "the thread has ended");
    assert_eq!(writer.condition(), Condition::Stopped);
}

/// Nothing of these journals is ever damaged.
fn follow(reader: Box<dyn JournalReader>) -> Follower {
    Follower::new(reader, Alarm::new(&Arc::default(), Arc::new(|error| panic!("{error}"))))
}

/// Reads one.
#[derive(Clone)]
struct FakeReader {
    journal: FakeJournal,
    /// Calls that still fail once two records of the journal were read.
    errors: u32,
    /// Where the journal's end seems to be, fifty thousand further at each look: faster than the rush allows.
    flood: Option<Arc<AtomicU64>>,
}

impl JournalReader for FakeReader {
    fn next(&mut self, after: Lsn, out: &mut Record) -> Result<bool, JournalError> {
        if after == Lsn(2) && self.errors > 0 {
            self.errors -= 1;
            return Err(JournalError::failed("read records")("too many open files"));
        }
        let journal = self.journal.0.lock();
        let Some(posting) = journal.get(usize::try_from(after.0).unwrap()) else { return Ok(false) };
        out.payload.clear();
        codec::encode(&posting.event, &mut out.payload)?;
        (out.lsn, out.time_ms) = (posting.lsn, posting.time.0);
        Ok(true)
    }
    fn last(&self) -> Lsn {
        match &self.flood {
            Some(flood) => Lsn(flood.fetch_add(50_000, Ordering::Relaxed)),
            None => self.journal.0.lock().last().map_or(Lsn::ZERO, |posting| posting.lsn),
        }
    }
    fn examine(&mut self, _: Lsn) -> Result<Examined, JournalError> {
        unreachable!("nobody asks")
    }
    fn unreadable(&self, problem: &dyn std::fmt::Display) -> JournalError {
        unreachable!("{problem}")
    }
    fn is_needed(&self, _: Lsn, _: Lsn) -> bool {
        unreachable!("nothing is damaged")
    }
    fn behind(&self, _: Lsn) -> Option<Lsn> {
        unreachable!("nothing is damaged")
    }
    fn another(&self) -> Box<dyn JournalReader> {
        Box::new(self.clone())
    }
}

/// A ledger that keeps what was posted, after the errors it was given.
#[derive(Clone, Default)]
struct FakeLedger {
    posted: Arc<Mutex<Vec<Lsn>>>,
    errors: Arc<Mutex<VecDeque<LedgerError>>>,
    /// How long it takes to post.
    takes: Arc<Mutex<Duration>>,
    /// Steps of maintenance left.
    chores: Arc<AtomicU64>,
    /// How often it can't be made durable.
    in_the_way: Arc<AtomicU64>,
}

impl Checkpoint for FakeLedger {
    fn position(&mut self) -> Result<Lsn, LedgerError> {
        Ok(self.posted.lock().last().copied().unwrap_or(Lsn::ZERO))
    }
    fn post(&mut self, postings: &[Posting]) -> Result<(), LedgerError> {
        if let Some(error) = self.errors.lock().pop_front() {
            return Err(error);
        }
        let until = Instant::now() + *self.takes.lock();
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        self.posted.lock().extend(postings.iter().map(|posting| posting.lsn));
        Ok(())
    }
    fn maintain(&mut self) -> Result<bool, LedgerError> {
        let left = self.chores.load(Ordering::SeqCst);
        self.chores.store(left.saturating_sub(1), Ordering::SeqCst);
        Ok(left > 0)
    }
    fn secure(&mut self) -> Result<Option<Lsn>, LedgerError> {
        let less = |count: u64| count.checked_sub(1);
        if self.in_the_way.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Ok(None);
        }
        self.position().map(Some)
    }
}

impl Snapshot for FakeLedger {
    fn load(&self, _: &mut State) -> Result<(), LedgerError> {
        Ok(())
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn start(ledger: &FakeLedger, journal: &FakeJournal) -> (Writer, Arc<AtomicU64>) {
    let posted = Arc::new(AtomicU64::new(0));
    let writer =
        Writer::start(Box::new(ledger.clone()), journal.clone().into_follower(), Arc::clone(&posted), 1_000).unwrap();
    (writer, posted)
}

fn wait_for(writer: &Writer, wanted: impl Fn(&Condition) -> bool) -> Condition {
    let deadline = soon();
    loop {
        let condition = writer.condition();
        if wanted(&condition) {
            return condition;
        }
        assert!(Instant::now() < deadline, "still {condition:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn records_are_posted_once_in_order_as_they_come() {
    let (ledger, journal) = (FakeLedger::default(), FakeJournal::default());
    journal.grow(2_500);
    let (writer, posted) = start(&ledger, &journal);
    assert!(writer.drain(Lsn(2_500), soon()));
    for _ in 0..50 {
        assert!(writer.drain(journal.grow(3), soon()));
    }
    assert_eq!(posted.load(Ordering::Acquire), 2_650);
    assert!(!writer.drain(Lsn(9_999), Instant::now()), "a deadline that has passed");
    stop(&writer);
    assert_eq!(*ledger.posted.lock(), (1..=2_650).map(Lsn).collect::<Vec<_>>());
    journal.grow(10);
    let (writer, _) = start(&ledger, &journal);
    assert!(writer.drain(Lsn(2_660), soon()), "it goes on from the ledger's own position");
}

#[test]
fn a_ledger_that_is_away_is_tried_again() {
    let (ledger, journal) = (FakeLedger::default(), FakeJournal::default());
    let busy = || LedgerError::Busy("somebody".to_owned());
    ledger.errors.lock().extend([busy(), busy()]);
    journal.grow(10);
    let (writer, _) = start(&ledger, &journal);
    wait_for(&writer, |condition| matches!(condition, Condition::Waiting { tries: 1 | 2, .. }));
    assert!(writer.drain(Lsn(10), soon()));
    assert_eq!(writer.condition(), Condition::Working);
    assert_eq!(ledger.posted.lock().len(), 10);
}

#[test]
fn a_stop_does_not_wait_for_the_ledger_to_come_back() {
    let (ledger, journal) = (FakeLedger::default(), FakeJournal::default());
    ledger.errors.lock().extend((0..100).map(|_| LedgerError::Full("disk".to_owned())));
    journal.grow(1);
    let (writer, _) = start(&ledger, &journal);
    // By now it pauses for 1.6 s, and 25 minutes would pass before all tries have failed.
    wait_for(&writer, |condition| matches!(condition, Condition::Waiting { tries: 5, .. }));
    let told = Instant::now();
    stop(&writer);
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    assert_eq!(*ledger.posted.lock(), []);
}

#[test]
fn what_waiting_does_not_mend_stops_the_writer() {
    let (ledger, journal) = (FakeLedger::default(), FakeJournal::default());
    ledger.errors.lock().push_back(LedgerError::Corrupt("a page".to_owned()));
    journal.grow(1);
    let (writer, _) = start(&ledger, &journal);
    let condition = wait_for(&writer, |condition| matches!(condition, Condition::Failed { .. }));
    assert_eq!(condition, Condition::Failed { error: "the ledger is damaged: a page".to_owned() });
    assert!(!writer.drain(Lsn(1), soon()), "nobody will post it");
}

#[test]
fn a_journal_that_cannot_be_read_for_a_while_is_tried_again() {
    let (ledger, journal) = (FakeLedger::default(), FakeJournal::default());
    journal.grow(10);
    let flaky = FakeReader { journal, errors: 2, flood: None };
    let writer = Writer::start(Box::new(ledger.clone()), follow(Box::new(flaky)), Arc::default(), 1_000).unwrap();
    let condition = wait_for(&writer, |condition| matches!(condition, Condition::Waiting { tries: 1 | 2, .. }));
    assert!(matches!(condition, Condition::Waiting { error, .. } if error.contains("too many open files")));
    assert!(writer.drain(Lsn(10), soon()));
    assert_eq!(writer.condition(), Condition::Working);
    assert_eq!(*ledger.posted.lock(), (1..=10).map(Lsn).collect::<Vec<_>>(), "each once");
}

#[test]
fn a_ledger_that_hangs_is_left_behind_at_the_deadline() {
    let (ledger, journal) = (FakeLedger::default(), FakeJournal::default());
    *ledger.takes.lock() = Duration::from_secs(600);
    journal.grow(1);
    let (writer, _) = start(&ledger, &journal);
    let told = Instant::now();
    assert!(!writer.drain(Lsn(1), told + Duration::from_millis(100)));
    assert!(!writer.stop_by(told + Duration::from_millis(200)));
    drop(writer);
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
}

#[test]
fn what_was_posted_is_made_durable_before_the_end() {
    let (ledger, journal) = (FakeLedger::default(), FakeJournal::default());
    let (writer, _) = start(&ledger, &journal);
    let last = journal.grow(10);
    assert!(writer.drain(last, soon()));
    assert!(writer.stop_by(soon()));
    assert_eq!((writer.secured(), writer.condition()), (last, Condition::Stopped));
    // What could not be made durable at once is tried again, although nothing was posted since.
    ledger.in_the_way.store(1, Ordering::SeqCst);
    let (writer, _) = start(&ledger, &journal);
    wait_for(&writer, |_| ledger.in_the_way.load(Ordering::SeqCst) == 0);
    assert!(writer.stop_by(soon()));
    assert_eq!(writer.secured(), last);
}

#[test]
fn a_writer_that_is_stopped_anywhere_is_followed_by_another() {
    let history = History::new(17, 3_000);
    let all = postings(&history);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let journal = FakeJournal::default();
    for (n, part) in all.chunks(700).enumerate() {
        journal.0.lock().extend_from_slice(part);
        let ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
        let writer = Writer::start(Box::new(ledger), journal.clone().into_follower(), Arc::default(), 1_000).unwrap();
        if n % 2 == 0 {
            let last = part.last().unwrap().lsn;
            assert!(writer.drain(last, soon()));
        }
        stop(&writer);
    }
    let ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
    let writer = Writer::start(Box::new(ledger), journal.into_follower(), Arc::default(), 1_000).unwrap();
    assert!(writer.drain(history.state.lsn, soon()));
    drop(writer);
    let ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
    assert_alike(&loaded(&ledger), &history.state, history.now(), "posted by several writers");
}

#[test]
fn the_rate_is_that_of_the_last_look() {
    let start = Instant::now();
    let mut rate = Rate::new(Lsn(1_000), start);
    assert_eq!(rate.at(Lsn(9_000), start + LOOK / 2), 0, "too early to tell");
    assert_eq!(rate.at(Lsn(5_000), start + LOOK), 40_000);
    assert_eq!(rate.at(Lsn(5_000), start + LOOK * 3 / 2), 40_000);
    assert_eq!(rate.at(Lsn(5_000), start + LOOK * 3), 0, "it has ended");
}

#[test]
fn in_a_rush_it_rests_unless_somebody_waits_for_the_books() {
    let start = |ledger: &FakeLedger| {
        let journal = FakeJournal::default();
        journal.grow(8);
        // Two chunks of 200 ms each; the rest after the first is nine times as long.
        *ledger.takes.lock() = Duration::from_millis(200);
        let flood = FakeReader { journal, errors: 0, flood: Some(Arc::default()) };
        Writer::start(Box::new(ledger.clone()), follow(Box::new(flood)), Arc::default(), 4).unwrap()
    };
    let (resting, hurried) = (FakeLedger::default(), FakeLedger::default());
    let began = Instant::now();
    let (left_alone, waited_for) = (start(&resting), start(&hurried));
    assert!(waited_for.drain(Lsn(8), soon()));
    let drained = began.elapsed();
    while left_alone.posted() < Lsn(8) {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let rested = began.elapsed();
    let one_chunk_and_its_rest = Duration::from_millis(200 + 9 * 200);
    assert!(rested >= one_chunk_and_its_rest, "it rests after each chunk: {rested:?}");
    assert!(drained < one_chunk_and_its_rest, "and not while somebody waits: {drained:?}");
    stop(&waited_for);
}

#[test]
fn what_was_put_off_is_done_while_there_is_nothing_to_post() {
    let (ledger, journal) = (FakeLedger::default(), FakeJournal::default());
    ledger.chores.store(2_000, Ordering::SeqCst);
    let (writer, _) = start(&ledger, &journal);
    // What comes meanwhile does not wait until all of it is done.
    assert!(writer.drain(journal.grow(10), soon()));
    let end = soon();
    while ledger.chores.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < end && writer.condition() == Condition::Working);
        std::thread::yield_now();
    }
    stop(&writer);
    assert_eq!(ledger.posted.lock().len(), 10);
}

#[test]
fn a_ledger_that_lost_its_last_chunks_is_posted_again_but_not_one_that_lost_what_was_secured() {
    let (ledger, journal) = (FakeLedger::default(), FakeJournal::default());
    let (writer, posted) = start(&ledger, &journal);
    assert!(writer.drain(journal.grow(20), soon()));
    assert!(writer.drain(journal.grow(10), soon()));
    let secured = writer.secured();
    assert!(Lsn::ZERO < secured && secured <= Lsn(30));
    let lose = |position: Lsn, got: Lsn| {
        ledger.posted.lock().truncate(usize::try_from(position.0).unwrap());
        ledger.errors.lock().push_back(LedgerError::Gap { position, got });
    };
    lose(Lsn(29).max(secured), Lsn(31));
    assert!(writer.drain(journal.grow(5), soon()));
    assert_eq!(posted.load(Ordering::Acquire), 35);
    assert_eq!(*ledger.posted.lock(), (1..=35).map(Lsn).collect::<Vec<_>>());
    lose(Lsn(secured.0 - 1), Lsn(36));
    journal.grow(1);
    wait_for(&writer, |condition| matches!(condition, Condition::Failed { .. }));
}

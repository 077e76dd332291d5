//! The write-behind loop: tails the journal from the ledger's own position and posts it, chunk by chunk.
//! There is no queue: what is not posted yet is in the journal. The ledger may be away for as long as it likes;
//! decisions go on, the lag grows, and the writer tries again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Ledger, LedgerError, Posting};
use crate::domain::ids::Lsn;

/// Longest time that a record waits if nobody rings. Half a second: a page that many records change is then
/// written once, a third of the bytes of 100 ms, and the journal's syncs have the disk to themselves in between.
const POLL: Duration = Duration::from_millis(500);
/// The lowest there is, on Linux for this thread alone: posting comes in bursts, and while the cores are full it may
/// wait. It drains some 200,000 records a second once there is room.
const NICE: i32 = 19;
/// While more records a second than this come in, the ledger takes a tenth of the time: it shares cores and disk with
/// the answers, and the dirty pages of its transactions hold the journal's syncs up (`docs/decisions/0010`). An
/// authorization with its code makes two records, so up to 15,000 of them a second nothing is held back.
const RUSH: u64 = 30_000;
/// Behind by so many records it works on all the same: some ten seconds of draining, a gigabyte of journal.
const MOST_BEHIND: u64 = 2_000_000;
/// Rests of a tenth's worker, for each time it worked.
const RESTS: u32 = 9;
/// Rests after a step of what was put off, for each time it took: a fifth of a quiet ledger's time.
const HOUSE_RESTS: u32 = 4;
/// The rate is counted over at least so long, and a rest is looked at again after it.
pub(super) const LOOK: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where the records come from: the journal, as far as it is durable.
pub trait Source {
    type Error: std::fmt::Display;

    /// Adds the records after `after` to `out`, at most `max`, in order; none when there are none yet.
    /// An error is one that waiting does not mend: the journal is damaged.
    fn next_chunk(&mut self, after: Lsn, max: usize, out: &mut Vec<Posting>) -> Result<(), Self::Error>;

    /// The last record there is.
    fn last(&self) -> Lsn;
}

/// How fast records come in.
pub(super) struct Rate {
    since: Instant,
    last: Lsn,
    /// Records a second, lately.
    rate: u64,
}

impl Rate {
    pub(super) fn new(last: Lsn, now: Instant) -> Self {
        Self { since: now, last, rate: 0 }
    }

    pub(super) fn at(&mut self, last: Lsn, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.since);
        if passed >= LOOK {
            let records = last.0.saturating_sub(self.last.0);
            self.rate = records.saturating_mul(1_000) / u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
            (self.since, self.last) = (now, last);
        }
        self.rate
    }
}

/// How the writer is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Working,
    /// The ledger can't be reached; tried `tries` times.
    Waiting {
        tries: u32,
        error: String,
    },
    /// Stopped for good: somebody has to look. The service should not count as ready.
    Failed {
        error: String,
    },
    /// Stopped because it was told to.
    Stopped,
}

struct Desk {
    condition: Condition,
    stop: bool,
    /// How many wait for the books to catch up.
    hurry: u32,
}

struct Shared {
    posted: Arc<AtomicU64>,
    /// Set by the bell, so that ringing a bell that rings already costs one swap.
    rung: AtomicBool,
    desk: Mutex<Desk>,
    /// Wakes the writer.
    bell: Condvar,
    /// Wakes those who wait for the position or the condition to change.
    moved: Condvar,
}

/// Tells the writer that there are new records. Cheap enough for every batch.
#[derive(Clone)]
pub struct Bell(Arc<Shared>);

impl Bell {
    pub fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // Under the lock, so that a writer about to wait does not miss it.
            let _desk = self.0.desk.lock();
            self.0.bell.notify_one();
        }
    }
}

/// The writer's thread. Dropping it stops the thread after its present chunk.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts posting, at most `chunk` records a transaction: a page that many of them change is then written once,
    /// and 20,000 still take no more than a tenth of a second. `posted` is set to the last record posted, whenever it
    /// moves.
    pub fn start<L, S>(ledger: L, source: S, posted: Arc<AtomicU64>, chunk: usize) -> std::io::Result<Self>
    where
        L: Ledger + 'static,
        S: Source + Send + 'static,
    {
        let shared = Arc::new(Shared {
            posted,
            rung: AtomicBool::new(false),
            desk: Mutex::new(Desk { condition: Condition::Working, stop: false, hurry: 0 }),
            bell: Condvar::new(),
            moved: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let run = move || {
            // It may wait for a core, an authorization may not. A refusal changes nothing but tail latency.
            if let Err(error) = rustix::process::nice(NICE) {
                tracing::debug!(%error, "the ledger's thread keeps its priority");
            }
            Loop { ledger, source, shared: theirs, position: Lsn::ZERO, chunk }.run();
        };
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.shared))
    }

    /// Last record posted.
    pub fn posted(&self) -> Lsn {
        Lsn(self.shared.posted.load(Ordering::Acquire))
    }

    pub fn condition(&self) -> Condition {
        self.shared.desk.lock().condition.clone()
    }

    /// Waits until record `until` is posted; `false` if it is not by the deadline or the writer has stopped.
    pub fn drain(&self, until: Lsn, deadline: Instant) -> bool {
        self.bell().ring();
        let mut desk = self.shared.desk.lock();
        desk.hurry += 1;
        self.shared.bell.notify_one();
        while self.posted() < until {
            let ended = matches!(desk.condition, Condition::Failed { .. } | Condition::Stopped);
            if ended || self.shared.moved.wait_until(&mut desk, deadline).timed_out() {
                break;
            }
        }
        desk.hurry -= 1;
        self.posted() >= until
    }

    /// Stops after the present chunk and waits for the thread. What is not posted stays in the journal.
    pub fn stop(mut self) -> Condition {
        self.end();
        self.condition()
    }

    fn end(&mut self) {
        self.shared.desk.lock().stop = true;
        self.shared.bell.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.shared.set(Condition::Failed { error: "the writer panicked".to_owned() });
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn set(&self, condition: Condition) {
        self.desk.lock().condition = condition;
        self.moved.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.desk.lock().stop
    }

    /// Waits for the bell or the poll; not at all if it rang meanwhile.
    fn wait_for_records(&self) {
        let mut desk = self.desk.lock();
        if !desk.stop && !self.rung.load(Ordering::Acquire) {
            self.bell.wait_for(&mut desk, POLL);
        }
    }

    /// Rests for a while; a stop or somebody who waits for the books cuts it short. Whether it was cut short.
    fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut desk = self.desk.lock();
        while !desk.stop && desk.hurry == 0 {
            if self.bell.wait_until(&mut desk, until).timed_out() {
                return false;
            }
        }
        true
    }

    /// Waits out a pause; only a stop cuts it short.
    fn wait_for_ledger(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut desk = self.desk.lock();
        while !desk.stop && !self.bell.wait_until(&mut desk, until).timed_out() {}
    }
}

/// Why the loop ended.
enum End {
    Told,
    Failed(String),
}

struct Loop<L, S> {
    ledger: L,
    source: S,
    shared: Arc<Shared>,
    position: Lsn,
    /// Most records in one transaction.
    chunk: usize,
}

impl<L: Ledger, S: Source> Loop<L, S> {
    fn run(mut self) {
        let end = self.work();
        self.shared.set(match end {
            End::Told => Condition::Stopped,
            End::Failed(error) => {
                tracing::error!(%error, "the ledger's writer has stopped");
                Condition::Failed { error }
            }
        });
    }

    fn work(&mut self) -> End {
        match self.insist(L::position) {
            Ok(position) => self.moved_to(position),
            Err(end) => return end,
        }
        let mut chunk = Vec::with_capacity(self.chunk);
        let mut rate = Rate::new(self.source.last(), Instant::now());
        while !self.shared.is_stopping() {
            chunk.clear();
            // Before looking, so that what comes after the look rings again.
            self.shared.rung.store(false, Ordering::Release);
            if let Err(error) = self.source.next_chunk(self.position, self.chunk, &mut chunk) {
                return End::Failed(format!("the journal can't be read: {error}"));
            }
            let Some(last) = chunk.last().map(|posting| posting.lsn) else {
                if let Err(end) = self.use_the_quiet() {
                    return end;
                }
                continue;
            };
            let began = Instant::now();
            match self.insist(|ledger| ledger.post(&chunk)) {
                Ok(()) => self.moved_to(last),
                Err(end) => return end,
            }
            self.give_way(&mut rate, began.elapsed() * RESTS);
        }
        End::Told
    }

    /// Nothing is to be posted: time for what was put off, a step at a time, and the disk is left alone in between.
    fn use_the_quiet(&mut self) -> Result<(), End> {
        let began = Instant::now();
        if self.insist(L::keep_house)? {
            self.shared.rest(began.elapsed() * HOUSE_RESTS);
        } else {
            self.shared.wait_for_records();
        }
        Ok(())
    }

    /// In a rush the answers go first.
    fn give_way(&self, rate: &mut Rate, mut rest: Duration) {
        while !rest.is_zero() {
            let last = self.source.last();
            let behind = last.0.saturating_sub(self.position.0);
            if rate.at(last, Instant::now()) <= RUSH || behind >= MOST_BEHIND {
                return;
            }
            let slice = rest.min(LOOK);
            if self.shared.rest(slice) {
                return;
            }
            rest -= slice;
        }
    }

    fn moved_to(&mut self, position: Lsn) {
        self.position = position;
        self.shared.posted.store(position.0, Ordering::Release);
        // Under the lock, so that one about to wait does not miss it.
        drop(self.shared.desk.lock());
        self.shared.moved.notify_all();
    }

    /// Does it until it succeeds, with growing pauses while the ledger is away.
    fn insist<T>(&mut self, mut act: impl FnMut(&mut L) -> Result<T, LedgerError>) -> Result<T, End> {
        let (mut pause, mut tries) = (FIRST_PAUSE, 0);
        loop {
            match act(&mut self.ledger) {
                Ok(done) => {
                    if tries > 0 {
                        tracing::info!(tries, "the ledger is back");
                        self.shared.set(Condition::Working);
                    }
                    return Ok(done);
                }
                Err(error) if error.is_retriable() => {
                    tries += 1;
                    tracing::warn!(%error, tries, "the ledger can't be written; decisions go on");
                    self.shared.set(Condition::Waiting { tries, error: error.to_string() });
                }
                Err(error) => return Err(End::Failed(error.to_string())),
            }
            self.shared.wait_for_ledger(pause);
            if self.shared.is_stopping() {
                return Err(End::Told);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

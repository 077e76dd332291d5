//! The write-behind loop on its own thread: read, post, make durable now and then, and try again with growing pauses where
//! ledger or journal can't be reached.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Condvar;
use parking_lot::Mutex;

use super::{Checkpoint, LedgerError, Posting};
use crate::domain::model::ids::Lsn;
use crate::journal::Follower;

/// Longest time that a record waits if nobody asks. Half a second: a page that many records change is then
/// written once, a third of the bytes of 100 ms, and the journal's syncs have the disk to themselves in between.
const POLL: Duration = Duration::from_millis(500);
/// While more records a second than this come in, the ledger takes a tenth of the time: it shares cores and disk with
/// the answers, and the dirty pages of its transactions hold the journal's syncs up (`docs/decisions/0010`). An
/// authorization with its code makes two records, so up to 15,000 of them a second nothing is held back.
const RUSH: u64 = 30_000;
/// Behind by so many records it works on all the same: some ten seconds of draining, a gigabyte of journal.
const MOST_BEHIND: u64 = 2_000_000;
/// Rests of a tenth's worker, for each time it worked.
const RESTS: u32 = 9;
/// The rate is counted over at least so long, and a rest is looked at again after it.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// Rests after a step of what was put off, for each time it took: a fifth of a quiet ledger's time.
const MAINTENANCE_RESTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often what is posted is made durable in the ledger; old segments of the journal may go only then.
const SECURE_EVERY: Duration = Duration::from_secs(60);

/// How the writer is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Working,
    /// The ledger can't be reached, or the journal can't be read; tried `tries` times.
    Waiting {
        tries: u32,
        error: String,
    },
    /// Stopped for good: somebody has to look. Decisions go on, the books do not.
    Failed {
        error: String,
    },
    /// Stopped on request.
    Stopped,
}

pub(crate) struct State {
    pub condition: Condition,
    pub stop: bool,
    /// How many wait for the books to catch up.
    pub waiting: u32,
    /// One of them has come since the journal was last looked at.
    pub is_asked: bool,
}

pub(crate) struct Shared {
    pub posted: Arc<AtomicU64>,
    /// Last record that the ledger has durably.
    pub secured: AtomicU64,
    pub state: Mutex<State>,
    /// Wakes the writer.
    pub wake: Condvar,
    /// Wakes those who wait for the position or the condition to change.
    pub moved: Condvar,
}

impl Shared {
    pub fn set(&self, condition: Condition) {
        self.state.lock().condition = condition;
        self.moved.notify_all();
    }

    pub fn is_stopping(&self) -> bool {
        self.state.lock().stop
    }

    /// The journal is about to be looked at.
    pub fn begin_look(&self) {
        self.state.lock().is_asked = false;
    }

    /// Everything up to `position` is posted.
    pub fn moved_to(&self, position: Lsn) {
        self.posted.store(position.0, Ordering::Release);
        // Under the lock, so that one about to wait does not miss it.
        drop(self.state.lock());
        self.moved.notify_all();
    }

    /// Waits until somebody asks for the books or the poll is due; not at all if one asked since the last look.
    pub fn wait_for_records(&self) {
        let mut state = self.state.lock();
        if !state.stop && !state.is_asked {
            self.wake.wait_for(&mut state, POLL);
        }
    }

    /// Rests for a while; a stop or somebody who waits for the books cuts it short. Whether it was cut short.
    pub fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.state.lock();
        while !state.stop && state.waiting == 0 {
            if self.wake.wait_until(&mut state, until).timed_out() {
                return false;
            }
        }
        true
    }

    /// Waits out a pause; a stop cuts it short, and somebody who waits for the books makes it a short one.
    pub fn wait_for_ledger(&self, pause: Duration, short: Duration) {
        let began = Instant::now();
        let mut state = self.state.lock();
        while !state.stop {
            let pause = if state.waiting > 0 { short.min(pause) } else { pause };
            if began.elapsed() >= pause {
                return;
            }
            self.wake.wait_until(&mut state, began + pause);
        }
    }
}

/// Why the loop ended.
enum End {
    Stopped,
    Failed(String),
}

pub(crate) struct Loop {
    pub ledger: Box<dyn Checkpoint>,
    /// As far as it is durable.
    pub journal: Follower,
    pub shared: Arc<Shared>,
    pub position: Lsn,
    /// Most records in one transaction.
    pub chunk: usize,
    /// What the ledger has durably, and when it was last tried to move that.
    pub secured: Lsn,
    pub tried: Option<Instant>,
}

impl Loop {
    pub fn run(mut self) {
        let end = self.work();
        self.shared.set(match end {
            End::Stopped => Condition::Stopped,
            End::Failed(error) => {
                tracing::error!(%error, "the ledger's writer has stopped");
                Condition::Failed { error }
            }
        });
    }

    fn work(&mut self) -> End {
        match self.retry(|ledger| ledger.position()) {
            Ok(position) => self.moved_to(position),
            Err(end) => return end,
        }
        let mut chunk = Vec::with_capacity(self.chunk);
        let mut rate = Rate::new(self.journal.last(), Instant::now());
        while !self.shared.is_stopping() {
            chunk.clear();
            self.shared.begin_look();
            if let Err(end) = self.read(&mut chunk) {
                return end;
            }
            self.secure_now_and_then();
            let Some(last) = chunk.last().map(|posting| posting.lsn) else {
                if let Err(end) = self.maintain() {
                    return end;
                }
                continue;
            };
            let began = Instant::now();
            match self.post(&chunk, last) {
                Ok(position) => self.moved_to(position),
                Err(end) => return end,
            }
            self.give_way(&mut rate, began.elapsed() * RESTS);
        }
        if self.secured != self.position {
            self.secure();
        }
        End::Stopped
    }

    /// Where the ledger is then. A server that crashed may have taken back what it had not on disk yet; from there it is
    /// posted again, for the journal is kept from what is secured on.
    fn post(&mut self, chunk: &[Posting], last: Lsn) -> Result<Lsn, End> {
        let taken_back = self.secured..self.position;
        self.retry(|ledger| match ledger.post(chunk) {
            Ok(()) => Ok(last),
            Err(LedgerError::Gap { position, .. }) if taken_back.contains(&position) => {
                tracing::warn!(position = position.0, "the ledger has lost its last chunks; they are posted again");
                Ok(position)
            }
            Err(error) => Err(error),
        })
    }

    /// Nothing is to be posted: time for what was put off, a step at a time, and the disk is left alone in between.
    fn maintain(&mut self) -> Result<(), End> {
        let began = Instant::now();
        if self.retry(|ledger| ledger.maintain())? {
            self.shared.rest(began.elapsed() * MAINTENANCE_RESTS);
        } else {
            self.shared.wait_for_records();
        }
        Ok(())
    }

    /// The next chunk, with growing pauses while the journal can't be read.
    fn read(&mut self, chunk: &mut Vec<Posting>) -> Result<(), End> {
        let mut pause = Pause::default();
        loop {
            chunk.clear();
            let add = |lsn, time, event| chunk.push(Posting { lsn, time, event });
            match self.journal.read_all(self.position, self.chunk, add) {
                Ok(()) => {
                    pause.over(&self.shared);
                    return Ok(());
                }
                Err(error) => pause.wait(&self.shared, "the journal can't be read", &error.to_string())?,
            }
        }
    }

    fn secure_now_and_then(&mut self) {
        if self.secured != self.position && self.tried.is_none_or(|at| at.elapsed() >= SECURE_EVERY) {
            self.secure();
        }
    }

    /// A failure is no loss: the journal keeps its segments a while longer.
    fn secure(&mut self) {
        self.tried = Some(Instant::now());
        match self.ledger.secure() {
            Ok(Some(position)) => {
                self.secured = position;
                self.shared.secured.store(position.0, Ordering::Release);
            }
            Ok(None) => tracing::debug!("the ledger could not be made durable as a whole; a reader was in the way"),
            Err(error) => tracing::warn!(%error, "the ledger could not be made durable; it is tried again"),
        }
    }

    /// In a rush the answers go first.
    fn give_way(&self, rate: &mut Rate, mut rest: Duration) {
        while !rest.is_zero() {
            let last = self.journal.last();
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
        self.shared.moved_to(position);
    }

    /// Does it until it succeeds, with growing pauses while the ledger is away.
    fn retry<T>(&mut self, mut act: impl FnMut(&mut dyn Checkpoint) -> Result<T, LedgerError>) -> Result<T, End> {
        let mut pause = Pause::default();
        loop {
            match act(self.ledger.as_mut()) {
                Ok(done) => {
                    pause.over(&self.shared);
                    return Ok(done);
                }
                Err(error) if error.is_retriable() => {
                    pause.wait(&self.shared, "the ledger can't be written", &error.to_string())?;
                }
                Err(error) => return Err(End::Failed(error.to_string())),
            }
        }
    }
}

/// Tries of one thing, and the growing pauses between them.
#[derive(Default)]
struct Pause {
    tries: u32,
    next: Duration,
}

impl Pause {
    fn wait(&mut self, shared: &Shared, what: &str, error: &str) -> Result<(), End> {
        self.tries += 1;
        self.next = (self.next * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        tracing::warn!(error, tries = self.tries, "{what}; decisions go on");
        shared.set(Condition::Waiting { tries: self.tries, error: format!("{what}: {error}") });
        shared.wait_for_ledger(self.next, FIRST_PAUSE);
        if shared.is_stopping() { Err(End::Stopped) } else { Ok(()) }
    }

    /// It succeeded.
    fn over(&self, shared: &Shared) {
        if self.tries > 0 {
            tracing::info!(tries = self.tries, "the ledger's writer goes on");
            shared.set(Condition::Working);
        }
    }
}

/// How fast records come in.
pub(crate) struct Rate {
    since: Instant,
    last: Lsn,
    /// Records a second, lately.
    rate: u64,
}

impl Rate {
    pub(crate) fn new(last: Lsn, now: Instant) -> Self {
        Self { since: now, last, rate: 0 }
    }

    pub(crate) fn at(&mut self, last: Lsn, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.since);
        if passed >= LOOK {
            let records = last.0.saturating_sub(self.last.0);
            self.rate = records.saturating_mul(1_000) / u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
            (self.since, self.last) = (now, last);
        }
        self.rate
    }
}

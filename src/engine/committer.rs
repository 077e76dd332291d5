//! Makes groups durable, one after the other, on a thread of its own, while the owner goes on judging the next one:
//! nobody who serves sockets ever waits for a disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::journal::{Batch, Journal, JournalError};
use crate::metrics::{gauge_value, metrics};

use super::Sync;
use super::inbox::Waiting;
use super::owner::Group;
use super::pacing::Pacing;

/// How often the journal's room is looked at.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_secs(5);

/// The journal, and what of it is not synced yet.
pub struct Committer {
    journal: Box<dyn Journal>,
    sync: Sync,
    unsynced: bool,
}

impl Committer {
    pub fn new(journal: Box<dyn Journal>, sync: Sync) -> Self {
        Self { journal, sync, unsynced: false }
    }

    /// After it the answers of these records may leave, of which so many yen are lost with them. After an error nothing may be answered any more.
    pub fn commit(&mut self, records: &Batch, yen: u64) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        self.journal.write(records)?;
        self.unsynced = true;
        let may_wait = match self.sync {
            Sync::BeforeAnswer => false,
            Sync::Bounded { at_risk_yen } => yen <= at_risk_yen,
        };
        if may_wait {
            metrics().at_risk_yen.set(gauge_value(yen));
        } else {
            self.settle()?;
        }
        metrics().journal_sync.record(started.elapsed());
        metrics().batch_records.record(gauge_value(records.len()));
        Ok(())
    }

    /// Syncs what was answered ahead of its sync; nothing to do unless the mode is [`Sync::Bounded`]. It comes before
    /// the next commit, so that no more than one group's yen are ever at risk.
    pub fn settle(&mut self) -> Result<(), JournalError> {
        if std::mem::take(&mut self.unsynced) {
            self.journal.sync()?;
            metrics().at_risk_yen.set(0.0);
        }
        Ok(())
    }
}

/// A group with those who wait for its replies, in the same order.
#[derive(Default)]
pub(super) struct Pending {
    pub group: Group,
    pub waiting: Vec<Waiting>,
    /// Set when it is.
    pub durable: Option<Instant>,
}

/// What the committer's thread is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hand {
    Writing,
    /// Waits for something to write.
    Idle,
    /// Waits for the gap to pass.
    Pausing,
}

/// What owner and committer share.
pub(super) struct Desk {
    /// The group that is being filled.
    pub open: Pending,
    /// Emptied ones, to be filled again.
    pub spare: Vec<Pending>,
    /// Groups that were taken and not yet delivered, and how many wait for them.
    pub flying: usize,
    pub flying_waiting: usize,
    /// The open group should not wait for more.
    pub hurry: bool,
    hand: Hand,
    stop: bool,
}

/// The way from the owner to the committer and back.
pub(super) struct Line {
    pub desk: Mutex<Desk>,
    /// Tells the committer.
    filled: Condvar,
    /// Groups that are durable, or why no more will be.
    pub done: Mutex<(Vec<Pending>, Option<JournalError>)>,
    /// Tells the owner.
    news: Arc<Notify>,
    /// Requests in one group, at most.
    most: usize,
}

impl Line {
    pub fn new(most: usize, news: Arc<Notify>) -> Self {
        let desk = Desk {
            open: Pending::default(),
            spare: Vec::new(),
            flying: 0,
            flying_waiting: 0,
            hurry: false,
            hand: Hand::Writing,
            stop: false,
        };
        Self { desk: Mutex::new(desk), filled: Condvar::new(), done: Mutex::default(), news, most }
    }

    /// Wakes the committer if what is in the open group is something to it.
    pub fn tell(&self, desk: &mut Desk) {
        let wake = match desk.hand {
            Hand::Writing => false,
            Hand::Idle => !desk.open.group.is_empty(),
            Hand::Pausing => desk.hurry,
        };
        if wake {
            desk.hand = Hand::Writing;
            self.filled.notify_one();
        }
    }

    /// The committer ends once nothing is left to write.
    pub fn stop(&self) {
        self.desk.lock().stop = true;
        self.filled.notify_one();
    }

    fn take(&self, desk: &mut Desk) -> Pending {
        let empty = desk.spare.pop().unwrap_or_default();
        let taken = std::mem::replace(&mut desk.open, empty);
        desk.flying += 1;
        desk.flying_waiting += taken.waiting.len();
        (desk.hand, desk.hurry) = (Hand::Writing, false);
        if taken.waiting.len() >= self.most {
            // The owner stopped for want of room.
            self.news.notify_one();
        }
        taken
    }
}

enum Next {
    Group(Box<Pending>),
    /// Nothing to do for a while.
    Nothing,
    Stop,
}

/// The committer's thread.
pub(super) struct Thread<H> {
    pub committer: Committer,
    pub line: Arc<Line>,
    pub pacing: Pacing,
    /// Is told between groups, every few seconds, whether the journal has room, and if not, why.
    pub tell_room: H,
}

impl<H: FnMut(Result<(), String>)> Thread<H> {
    /// Works until it is stopped; an error goes to the owner.
    pub fn run(mut self) {
        // The gap ends when it is over, not 50 µs later.
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).ok();
        if let Err(error) = self.work() {
            self.line.done.lock().1 = Some(error);
            self.line.news.notify_one();
        }
    }

    fn work(&mut self) -> Result<(), JournalError> {
        let mut looked = Instant::now();
        loop {
            match self.next() {
                Next::Group(mut pending) => {
                    let group = &pending.group;
                    if !group.records.is_empty() {
                        self.pacing.began(group.replies.len(), Instant::now());
                    }
                    self.committer.commit(&group.records, group.at_risk_yen)?;
                    pending.durable = Some(Instant::now());
                    self.line.done.lock().0.push(*pending);
                    self.line.news.notify_one();
                    self.committer.settle()?;
                }
                Next::Nothing => {}
                Next::Stop => return Ok(()),
            }
            if looked.elapsed() >= LOOK_FOR_ROOM_EVERY {
                looked = Instant::now();
                (self.tell_room)(self.committer.journal.room());
            }
        }
    }

    fn next(&mut self) -> Next {
        let line = Arc::clone(&self.line);
        let mut desk = line.desk.lock();
        loop {
            if desk.open.group.is_empty() {
                if desk.stop {
                    return Next::Stop;
                }
                desk.hand = Hand::Idle;
                if line.filled.wait_for(&mut desk, LOOK_FOR_ROOM_EVERY).timed_out() {
                    return Next::Nothing;
                }
                continue;
            }
            let now = Instant::now();
            let due = self.pacing.due(now);
            // What holds no facts needs no sync, only its turn.
            if due <= now || desk.hurry || desk.stop || desk.open.group.records.is_empty() {
                return Next::Group(Box::new(line.take(&mut desk)));
            }
            desk.hand = Hand::Pausing;
            line.filled.wait_until(&mut desk, due);
        }
    }
}

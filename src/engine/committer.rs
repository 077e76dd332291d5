//! Makes groups durable, one after the other, on a thread of its own, while the owner goes on judging the next one:
//! nobody who serves sockets ever waits for a disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::journal::{Batch, Journal, JournalError, Lease};
use crate::metrics::{gauge_value, metrics};

use super::Sync;
use super::group::Group;
use super::outlet::Waiting;
use super::pacing::Pacing;

/// How often the journal's room is looked at, and a doubt that lasts is told again.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_secs(5);
/// How often the journal is tended, at the latest.
const TEND_EVERY: Duration = Duration::from_millis(250);

/// The journal, and what of it is not synced yet.
pub struct Committer {
    journal: Box<dyn Journal>,
    sync: Sync,
    unsynced: bool,
    /// Since when it is not known what became of the last records, and when that was told last.
    doubt: Option<(Instant, Instant)>,
}

impl Committer {
    pub fn new(journal: Box<dyn Journal>, sync: Sync) -> Self {
        Self { journal, sync, unsynced: false, doubt: None }
    }

    /// Until when answers may leave.
    pub fn lease(&self) -> Lease {
        self.journal.lease()
    }

    /// After it the answers of these records may leave; `yen` are lost if they are. After an error nothing may be answered
    /// any more.
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
            // As long as it is in doubt nothing else can be done, and nothing is answered.
            while !self.is_known(|journal| journal.sync())? {}
            metrics().at_risk_yen.set(0.0);
        }
        Ok(())
    }

    /// What is to be done a few times a second, also while nothing is written.
    fn tend(&mut self) -> Result<(), JournalError> {
        self.is_known(|journal| journal.tend()).map(drop)
    }

    /// Whether the journal did it and says so for sure; if not it is to be done again.
    fn is_known(
        &mut self,
        does: impl FnOnce(&mut dyn Journal) -> Result<(), JournalError>,
    ) -> Result<bool, JournalError> {
        match does(self.journal.as_mut()) {
            Err(JournalError::Doubt(why)) => {
                let now = Instant::now();
                let (since, told) = self.doubt.unwrap_or((now, now));
                let is_told = self.doubt.is_some() && now.saturating_duration_since(told) < LOOK_FOR_ROOM_EVERY;
                if !is_told {
                    tracing::warn!(
                        why,
                        "the journal's database is away or in doubt; nothing is answered until it is back"
                    );
                }
                self.doubt = Some((since, if is_told { told } else { now }));
                Ok(false)
            }
            Err(other) => Err(other),
            Ok(()) => {
                if let Some((since, _)) = self.doubt.take() {
                    tracing::info!(after_ms = since.elapsed().as_millis(), "the journal's database is back");
                }
                Ok(true)
            }
        }
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
enum Phase {
    Writing,
    /// Waits for something to write.
    Idle,
    /// Waits for the gap to pass.
    Pausing,
}

/// The groups between owner and committer.
pub(super) struct Groups {
    /// The group that is being filled.
    pub open: Pending,
    /// Emptied ones, to be filled again.
    pub spare: Vec<Pending>,
    /// Groups that were taken and not yet delivered, and how many requests wait for them.
    pub in_flight: usize,
    pub in_flight_requests: usize,
    /// The open group should not wait for more.
    pub hurry: bool,
    phase: Phase,
    stop: bool,
}

/// Groups that are durable, and why no more will be.
#[derive(Default)]
pub(super) struct Done {
    pub groups: Vec<Pending>,
    pub error: Option<JournalError>,
}

/// The way from the owner to the committer and back.
pub(super) struct CommitQueue {
    pub groups: Mutex<Groups>,
    wake_committer: Condvar,
    pub done: Mutex<Done>,
    wake_owner: Arc<Notify>,
    /// Requests in one group, at most.
    most: usize,
}

impl CommitQueue {
    pub fn new(most: usize, wake_owner: Arc<Notify>) -> Self {
        let groups = Groups {
            open: Pending::default(),
            spare: Vec::new(),
            in_flight: 0,
            in_flight_requests: 0,
            hurry: false,
            phase: Phase::Writing,
            stop: false,
        };
        Self { groups: Mutex::new(groups), wake_committer: Condvar::new(), done: Mutex::default(), wake_owner, most }
    }

    /// Wakes the committer if it would do something about the open group.
    pub fn wake(&self, groups: &mut Groups) {
        let wake = match groups.phase {
            Phase::Writing => false,
            Phase::Idle => !groups.open.group.is_empty(),
            Phase::Pausing => groups.hurry,
        };
        if wake {
            groups.phase = Phase::Writing;
            self.wake_committer.notify_one();
        }
    }

    /// The committer ends once nothing is left to write.
    pub fn stop(&self) {
        self.groups.lock().stop = true;
        self.wake_committer.notify_one();
    }

    fn take(&self, groups: &mut Groups) -> Pending {
        let empty = groups.spare.pop().unwrap_or_default();
        let taken = std::mem::replace(&mut groups.open, empty);
        groups.in_flight += 1;
        groups.in_flight_requests += taken.waiting.len();
        groups.phase = Phase::Writing;
        groups.hurry = false;
        if taken.waiting.len() >= self.most {
            // The owner stopped for want of room.
            self.wake_owner.notify_one();
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
    pub queue: Arc<CommitQueue>,
    pub pacing: Pacing,
    /// Called between groups, every few seconds, with whether the journal has room, and if not, why.
    pub report_room: H,
}

impl<H: FnMut(Result<(), String>)> Thread<H> {
    /// Works until it is stopped; an error goes to the owner.
    pub fn run(mut self) {
        // The gap ends when it is over, not 50 µs later.
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).ok();
        let worked = self.work();
        if let Err(error) = worked {
            self.queue.done.lock().error = Some(error);
            self.queue.wake_owner.notify_one();
        } else if let Err(error) = self.committer.journal.leave() {
            tracing::warn!(%error, "the journal could not be given away; the next owner waits for the lease");
        }
    }

    fn work(&mut self) -> Result<(), JournalError> {
        let (mut looked, mut tended) = (Instant::now(), Instant::now());
        let lease = self.committer.lease();
        loop {
            match self.next() {
                Next::Group(mut pending) => {
                    let group = &pending.group;
                    if !group.records.is_empty() {
                        self.pacing.began(group.replies.len(), Instant::now());
                    }
                    self.committer.commit(&group.records, group.at_risk_yen)?;
                    pending.durable = Some(Instant::now());
                    self.queue.done.lock().groups.push(*pending);
                    self.queue.wake_owner.notify_one();
                    self.committer.settle()?;
                }
                Next::Nothing => {}
                Next::Stop => return Ok(()),
            }
            if tended.elapsed() >= TEND_EVERY {
                tended = Instant::now();
                let held = lease.holds();
                self.committer.tend()?;
                if !held && lease.holds() {
                    // Answers that wait for it may leave.
                    self.queue.wake_owner.notify_one();
                }
            }
            if looked.elapsed() >= LOOK_FOR_ROOM_EVERY {
                looked = Instant::now();
                (self.report_room)(self.committer.journal.room());
            }
        }
    }

    fn next(&mut self) -> Next {
        let queue = Arc::clone(&self.queue);
        let mut groups = queue.groups.lock();
        loop {
            if groups.open.group.is_empty() {
                if groups.stop {
                    return Next::Stop;
                }
                groups.phase = Phase::Idle;
                if queue.wake_committer.wait_for(&mut groups, TEND_EVERY).timed_out() {
                    return Next::Nothing;
                }
                continue;
            }
            let now = Instant::now();
            let due = self.pacing.due(now);
            // What holds no facts needs no sync, only its turn.
            if due <= now || groups.hurry || groups.stop || groups.open.group.records.is_empty() {
                return Next::Group(Box::new(queue.take(&mut groups)));
            }
            groups.phase = Phase::Pausing;
            queue.wake_committer.wait_until(&mut groups, due);
        }
    }
}

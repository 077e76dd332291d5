//! The way into the engine: two bounded queues and the loop that serves them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TryRecvError, TrySendError, bounded, select, tick};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::domain::jst::{Millis, Now};
use crate::domain::request::Request;
use crate::domain::rule::Reply;
use crate::journal::{Journal, JournalError};
use crate::metrics::{gauge_value as depth, metrics};

use super::Engine;

/// How often an idle engine looks at the time: expired holds get their paper, memory is freed.
const IDLE_TICK: Duration = Duration::from_millis(500);

/// How often the journal's room is looked at and old segments are released.
const KEEP_HOUSE_EVERY: Duration = Duration::from_secs(5);

/// Where an answered request's time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    pub queue: Duration,
    pub decide: Duration,
    pub journal: Duration,
}

/// An answer that may leave: what it says is durable.
#[derive(Debug)]
pub struct Answered {
    pub reply: Reply,
    /// The engine's time of the answer.
    pub now: Now,
    pub stages: Stages,
}

/// A request on its way.
struct Ticket {
    request: Request,
    /// When it entered the queue; monotonic.
    queued: Instant,
    /// Past it the engine no longer approves; monotonic.
    deadline: Option<Instant>,
    reply: oneshot::Sender<Answered>,
}

/// Why a request was not taken in. No decision was made; it may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// The queue is full.
    Full,
    /// The engine is stopping.
    Stopping,
}

/// The front end's side. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    urgent: Sender<Ticket>,
    normal: Sender<Ticket>,
}

impl Inbox {
    /// Puts a request into the queue of its kind; never waits.
    pub fn submit(&self, request: Request, deadline: Option<Instant>) -> Result<oneshot::Receiver<Answered>, Shed> {
        let (reply, answer) = oneshot::channel();
        let queue = if request.is_urgent() { &self.urgent } else { &self.normal };
        let ticket = Ticket { request, queued: Instant::now(), deadline, reply };
        match queue.try_send(ticket) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(Shed::Full),
            Err(TrySendError::Disconnected(_)) => Err(Shed::Stopping),
        }
    }

    pub fn depth(&self) -> usize {
        self.urgent.len() + self.normal.len()
    }
}

/// The engine's side.
pub struct Queues {
    urgent: Receiver<Ticket>,
    normal: Receiver<Ticket>,
    most: usize,
    min_gap: Duration,
}

/// Bounds: requests waiting in each queue, requests in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub normal: usize,
    pub urgent: usize,
    pub batch: usize,
}

/// Makes the queues. Two batches begin at least `min_gap` apart under load (`journal.min_gap_us`): fewer, larger
/// syncs are kinder to some disks.
pub fn queues(bounds: Bounds, min_gap: Duration) -> (Inbox, Queues) {
    let (urgent, urgent_out) = bounded(bounds.urgent);
    let (normal, normal_out) = bounded(bounds.normal);
    (Inbox { urgent, normal }, Queues { urgent: urgent_out, normal: normal_out, most: bounds.batch, min_gap })
}

impl Queues {
    /// Waits for work or the tick, then takes what is there, urgent first. `false` when every sender is gone.
    fn fill(&self, batch: &mut Vec<Ticket>, idle: &Receiver<Instant>) -> bool {
        self.take_waiting(batch);
        if !batch.is_empty() {
            return true;
        }
        let first = select! {
            recv(self.urgent) -> ticket => ticket,
            recv(self.normal) -> ticket => ticket,
            recv(idle) -> _ => return true,
        };
        match first {
            Ok(ticket) => {
                batch.push(ticket);
                self.take_waiting(batch);
                true
            }
            // One side closed means that all senders are gone; take what is left on the other.
            Err(_) => {
                self.take_waiting(batch);
                !batch.is_empty()
            }
        }
    }

    /// Lets the gap since the batch before pass. `false` if there was nothing to wait for.
    #[expect(clippy::disallowed_methods, reason = "pacing is a pause by definition; it is bounded by the setting")]
    fn wait_out(&self, before: Instant) -> bool {
        let left = self.min_gap.saturating_sub(before.elapsed());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(left);
        true
    }

    fn take_waiting(&self, batch: &mut Vec<Ticket>) {
        for queue in [&self.urgent, &self.normal] {
            while batch.len() < self.most {
                match queue.try_recv() {
                    Ok(ticket) => batch.push(ticket),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
        }
    }
}

impl<J: Journal> Engine<J> {
    /// Serves the queues until every [`Inbox`] is dropped, then returns itself. An error means that the journal
    /// could not be written: nothing of the batch was answered, and the process must stop. `keep_house` is called
    /// between batches, every few seconds.
    pub fn serve(
        mut self,
        queues: &Queues,
        clock: &Clock,
        mut keep_house: impl FnMut(&mut J, Millis) -> Result<(), JournalError>,
    ) -> Result<Self, JournalError> {
        let idle = tick(IDLE_TICK);
        let mut house_kept = Instant::now();
        let mut tickets = Vec::with_capacity(queues.most);
        let mut picked_up = Instant::now();
        while queues.fill(&mut tickets, &idle) {
            if queues.wait_out(picked_up) {
                queues.take_waiting(&mut tickets);
            }
            picked_up = Instant::now();
            self.begin(clock.now());
            for ticket in &mut tickets {
                if ticket.deadline.is_some_and(|deadline| picked_up >= deadline) {
                    mark_late(&mut ticket.request);
                }
                self.take(&ticket.request);
            }
            let decided = Instant::now();
            let answers = self.commit()?;
            let durable = Instant::now();
            let stages = |queued: Instant| Stages {
                queue: picked_up.saturating_duration_since(queued),
                decide: decided.saturating_duration_since(picked_up),
                journal: durable.saturating_duration_since(decided),
            };
            let now = self.now();
            for (ticket, reply) in tickets.drain(..).zip(answers) {
                // The caller may have gone; what was decided stays decided.
                drop(ticket.reply.send(Answered { reply, now, stages: stages(ticket.queued) }));
            }
            self.settle()?;
            if durable.saturating_duration_since(house_kept) >= KEEP_HOUSE_EVERY {
                house_kept = durable;
                keep_house(self.journal_mut(), now.at)?;
            }
            self.show_lag();
            metrics().inbox_depth.set(depth(queues.urgent.len() + queues.normal.len()));
        }
        Ok(self)
    }
}

fn mark_late(request: &mut Request) {
    if let Request::Authorize { input, .. } = request {
        Arc::make_mut(input).late = true;
    }
}

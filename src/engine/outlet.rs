//! Where answers go: to one who waits for one, or to a link that asks much at once and takes what has come together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::domain::commands::reply::Reply;
use crate::domain::model::time::Now;

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

/// What comes back to a request.
pub type Outcome = Result<Answered, Shed>;

/// Why a request was not taken in. No decision was made; it may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// The queue is full.
    Full,
    /// The queue stands, and this one waited too long in it.
    Waited,
    /// The engine is stopping.
    Stopping,
}

/// The way back for one answer. Whoever asked may have gone; what was decided stays decided.
pub enum ReplyTo {
    One(oneshot::Sender<Outcome>),
    /// The number by which the link knows what it asked.
    Link(Outlet, u32),
}

impl ReplyTo {
    pub(super) fn send(self, outcome: Outcome) {
        match self {
            Self::One(waiting) => drop(waiting.send(outcome)),
            Self::Link(outlet, number) => outlet.put(number, outcome),
        }
    }
}

/// One who was judged and whose answer waits for the disk.
pub(super) struct Waiting {
    pub reply: ReplyTo,
    /// The engine's time of the judgement.
    pub now: Now,
    pub queued: Instant,
    pub picked_up: Instant,
    pub decided: Instant,
}

impl Waiting {
    pub fn stages(&self, durable: Instant) -> Stages {
        Stages {
            queue: self.picked_up.saturating_duration_since(self.queued),
            decide: self.decided.saturating_duration_since(self.picked_up),
            journal: durable.saturating_duration_since(self.decided),
        }
    }
}

/// The answers for one link, gathered until it looks: a whole group of them wakes it once. It holds no more than the
/// link has asked and not yet heard of, which the link bounds.
#[derive(Clone, Default)]
pub struct Outlet(Arc<Gathered>);

#[derive(Default)]
struct Gathered {
    answers: Mutex<Vec<(u32, Outcome)>>,
    ready: Notify,
}

impl Outlet {
    fn put(&self, number: u32, outcome: Outcome) {
        let mut answers = self.0.answers.lock();
        answers.push((number, outcome));
        let is_first = answers.len() == 1;
        drop(answers);
        if is_first {
            self.0.ready.notify_one();
        }
    }

    /// Ends when there is something to take.
    pub async fn ready(&self) {
        self.0.ready.notified().await;
    }

    /// Exchanges what has come with `taken`, which must be empty: its memory is used again.
    pub fn take(&self, taken: &mut Vec<(u32, Outcome)>) {
        debug_assert!(taken.is_empty(), "answers would be given twice");
        std::mem::swap(&mut *self.0.answers.lock(), taken);
    }
}

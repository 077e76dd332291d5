//! The way into the engine: three bounded queues, one for each rank of request.

use crate::engine::outlet::Outcome;
use crate::engine::outlet::Shed;
use crate::engine::outlet::Stages;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::{Notify, oneshot};

use crate::domain::commands::request::{Rank, Request};
use crate::domain::model::time::Now;

use super::outlet::{Outlet, ReplyTo};

/// A request on its way.
pub(super) struct Ticket {
    pub request: Request,
    /// When it entered the queue; monotonic.
    pub queued: Instant,
    /// Past it the engine no longer approves; monotonic.
    pub deadline: Option<Instant>,
    pub reply: ReplyTo,
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

/// The front end's side. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    urgent: Sender<Ticket>,
    sales: Sender<Ticket>,
    codes: Sender<Ticket>,
    wake: Arc<Notify>,
    is_full: Arc<AtomicBool>,
}

impl Inbox {
    /// Puts a request into the queue of its kind; never waits.
    pub fn submit(&self, request: Request, deadline: Option<Instant>) -> Result<oneshot::Receiver<Outcome>, Shed> {
        let (reply, answer) = oneshot::channel();
        self.enter(request, deadline, ReplyTo::One(reply)).map(|()| answer)
    }

    /// As [`Inbox::submit`]; the answer goes to `outlet` under `number`.
    pub fn submit_to(
        &self,
        request: Request,
        deadline: Option<Instant>,
        outlet: &Outlet,
        number: u32,
    ) -> Result<(), Shed> {
        self.enter(request, deadline, ReplyTo::Link(outlet.clone(), number))
    }

    fn enter(&self, request: Request, deadline: Option<Instant>, reply: ReplyTo) -> Result<(), Shed> {
        let queue = match request.rank() {
            Rank::Urgent => &self.urgent,
            Rank::Sale => &self.sales,
            Rank::Code => &self.codes,
        };
        let ticket = Ticket { request, queued: Instant::now(), deadline, reply };
        match queue.try_send(ticket) {
            Ok(()) => {
                if !self.is_full.load(Ordering::SeqCst) {
                    self.wake.notify_one();
                }
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(Shed::Full),
            Err(TrySendError::Disconnected(_)) => Err(Shed::Stopping),
        }
    }

    pub fn depth(&self) -> usize {
        self.urgent.len() + self.sales.len() + self.codes.len()
    }
}

/// The engine's side.
pub struct Queues {
    urgent: Receiver<Ticket>,
    sales: Receiver<Ticket>,
    codes: Receiver<Ticket>,
    /// Wakes the owner, at every request and at every group that became durable.
    pub(super) wake: Arc<Notify>,
    /// The open group is full: no request wakes the owner until it is taken away. Woken all the same, the owner would wait
    /// its turn behind every request that is being read, and the disk would wait for it.
    pub(super) is_full: Arc<AtomicBool>,
    /// The process is about to end: the calendar makes no more documents.
    pub is_stopping: Arc<AtomicBool>,
    /// The journal is damaged: nothing more is judged or answered, the process is ending.
    pub is_halted: Arc<AtomicBool>,
    /// Requests in one group, at most.
    pub(super) most: usize,
    /// Requests taken from the queues and not yet judged, at most.
    pub(super) most_waiting: usize,
    /// Longest wait in a queue that stands.
    pub(super) target: Duration,
    /// Between the begins of two syncs under full load.
    pub(super) longest_gap: Duration,
}

/// Bounds: requests waiting in each queue (`normal` of sales, and as many of codes), requests in one group, and the longest
/// wait in a queue that stands (`engine.queue_ms`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub normal: usize,
    pub urgent: usize,
    pub batch: usize,
    pub target: Duration,
}

/// Makes the queues. `longest_gap` is the most by which two syncs are kept apart (`journal.max_gap_us`,
/// [`super::pacing`]).
pub fn queues(bounds: Bounds, longest_gap: Duration) -> (Inbox, Queues) {
    let (urgent, urgent_out) = bounded(bounds.urgent);
    let (sales, sales_out) = bounded(bounds.normal);
    let (codes, codes_out) = bounded(bounds.normal);
    let wake = Arc::new(Notify::new());
    let is_full = Arc::new(AtomicBool::new(false));
    let queues = Queues {
        urgent: urgent_out,
        sales: sales_out,
        codes: codes_out,
        wake: Arc::clone(&wake),
        is_full: Arc::clone(&is_full),
        is_stopping: Arc::default(),
        is_halted: Arc::default(),
        most: bounds.batch,
        most_waiting: bounds.normal,
        target: bounds.target,
        longest_gap,
    };
    (Inbox { urgent, sales, codes, wake, is_full }, queues)
}

impl Queues {
    pub(super) fn urgent(&self) -> Option<Ticket> {
        self.urgent.try_recv().ok()
    }

    pub(super) fn sale(&self) -> Option<Ticket> {
        self.sales.try_recv().ok()
    }

    pub(super) fn code(&self) -> Option<Ticket> {
        self.codes.try_recv().ok()
    }

    pub(super) fn depth(&self) -> usize {
        self.urgent.len() + self.sales.len() + self.codes.len()
    }
}

//! The queues between the front end and the engine, as the engine sees them: three, one for each rank of request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use tokio::sync::Notify;

use super::inbox::{Inbox, Ticket};

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
    /// So many were taken from the queues and wait to be judged.
    pub(super) parked: Arc<AtomicUsize>,
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
    let parked = Arc::new(AtomicUsize::new(0));
    let queues = Queues {
        urgent: urgent_out,
        sales: sales_out,
        codes: codes_out,
        wake: Arc::clone(&wake),
        is_full: Arc::clone(&is_full),
        parked: Arc::clone(&parked),
        is_stopping: Arc::default(),
        is_halted: Arc::default(),
        most: bounds.batch,
        most_waiting: bounds.normal,
        target: bounds.target,
        longest_gap,
    };
    (Inbox { urgent, sales, codes, wake, is_full, parked }, queues)
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

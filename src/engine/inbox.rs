//! The way into the engine: a request goes into one of three bounded queues, by its rank.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam::channel::{Sender, TrySendError};
use tokio::sync::{Notify, oneshot};

use super::outlet::{Outlet, ReplyTo};
use crate::domain::commands::request::{Rank, Request};
use crate::engine::outlet::{Outcome, Shed};

/// A request on its way.
pub(super) struct Ticket {
    pub request: Request,
    /// When it entered the queue; monotonic.
    pub queued: Instant,
    /// Past it the engine no longer approves; monotonic.
    pub deadline: Option<Instant>,
    pub reply: ReplyTo,
}

/// The front end's side. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    pub(super) urgent: Sender<Ticket>,
    pub(super) sales: Sender<Ticket>,
    pub(super) codes: Sender<Ticket>,
    pub(super) wake: Arc<Notify>,
    pub(super) is_full: Arc<AtomicBool>,
    pub(super) parked: Arc<AtomicUsize>,
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

    /// Requests waiting to be judged.
    pub fn depth(&self) -> usize {
        self.urgent.len() + self.sales.len() + self.codes.len() + self.parked.load(Ordering::Relaxed)
    }
}

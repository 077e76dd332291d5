//! What waits while the open group is full, and who of it is told to come again.
//!
//! A burst may wait: a disk that pauses for a moment is no reason to send anybody away. A queue that stands is one:
//! everybody in it waits for nothing but the others. So once the queue has not been empty for [`STANDING`], whoever
//! waited longer than the target is turned away, and those who are served are served fast. (The idea is CoDel's, as
//! servers use it.) What settles uncertainty is never turned away and goes first: cancels, inquiries, and retries of
//! orders that are known.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::inbox::{Queues, Ticket};

/// A queue that was never empty for so long stands.
const STANDING: Duration = Duration::from_millis(100);

pub(super) struct Backlog {
    urgent: VecDeque<Ticket>,
    normal: VecDeque<Ticket>,
    /// When nobody waited last.
    last_empty: Instant,
    /// Longest wait in a queue that stands.
    target: Duration,
}

impl Backlog {
    pub fn new(target: Duration, now: Instant) -> Self {
        Self { urgent: VecDeque::new(), normal: VecDeque::new(), last_empty: now, target }
    }

    pub fn len(&self) -> usize {
        self.urgent.len() + self.normal.len()
    }

    /// The next ones to be judged, at most `most`, in their order.
    pub fn pick(
        &mut self,
        queues: &Queues,
        now: Instant,
        most: usize,
        is_known: impl Fn(&Ticket) -> bool,
        mut shed: impl FnMut(Ticket),
        picked: &mut Vec<Ticket>,
    ) {
        // Where somebody may be turned away, one by one: what was picked is known only once it is judged, and its retry
        // must not be told that no decision was made.
        let most = if self.stands(now) { 1 } else { most };
        while picked.len() < most
            && let Some(ticket) = self.next(queues, now, &is_known, &mut shed)
        {
            picked.push(ticket);
        }
    }

    /// The next to be judged, urgent ones first. Those turned away on the way to it are handed to `shed`.
    pub fn next(
        &mut self,
        queues: &Queues,
        now: Instant,
        is_known: impl Fn(&Ticket) -> bool,
        mut shed: impl FnMut(Ticket),
    ) -> Option<Ticket> {
        if let Some(ticket) = self.urgent.pop_front().or_else(|| queues.urgent()) {
            return Some(ticket);
        }
        while let Some(ticket) = self.normal.pop_front().or_else(|| queues.normal()) {
            // It may have become known since it was parked.
            if !self.is_too_late(&ticket, now) || is_known(&ticket) {
                return Some(ticket);
            }
            shed(ticket);
        }
        self.last_empty = now;
        None
    }

    /// The group is full: what waits in the queues is put in order, and whoever waits for nothing is turned away.
    pub fn park(
        &mut self,
        queues: &Queues,
        now: Instant,
        is_known: impl Fn(&Ticket) -> bool,
        mut shed: impl FnMut(Ticket),
    ) {
        while self.len() < queues.most_waiting
            && let Some(ticket) = queues.urgent()
        {
            self.urgent.push_back(ticket);
        }
        while self.len() < queues.most_waiting
            && let Some(ticket) = queues.normal()
        {
            let queue = if is_known(&ticket) { &mut self.urgent } else { &mut self.normal };
            queue.push_back(ticket);
        }
        // The oldest are in front.
        while self.normal.front().is_some_and(|ticket| self.is_too_late(ticket, now))
            && let Some(ticket) = self.normal.pop_front()
        {
            if is_known(&ticket) {
                self.urgent.push_back(ticket);
            } else {
                shed(ticket);
            }
        }
    }

    fn stands(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_empty) > STANDING
    }

    fn is_too_late(&self, ticket: &Ticket, now: Instant) -> bool {
        self.stands(now) && now.saturating_duration_since(ticket.queued) > self.target
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbox::{Bounds, Inbox, queues};
    use super::*;
    use crate::domain::account::Channel;
    use crate::domain::ids::{CustomerId, MerchantId, OrderId};
    use crate::domain::money::Yen;
    use crate::domain::request::{Authorize, Cancel, OrderKey, Payer, Request};

    const MS: Duration = Duration::from_millis(1);

    fn key(order: &str) -> OrderKey {
        OrderKey { merchant: MerchantId::new("m").unwrap(), order_id: OrderId::new(order).unwrap() }
    }

    fn buy(inbox: &Inbox, order: &str) {
        let payer = Payer::Customer(CustomerId::new("c").unwrap());
        let input = std::sync::Arc::new(Authorize::new(key(order), payer, Channel::Online, Yen::new(1)));
        drop(inbox.submit(Request::Authorize { input, throttled: false }, None).unwrap());
    }

    fn name(ticket: &Ticket) -> String {
        match &ticket.request {
            Request::Authorize { input, .. } => input.order_id.to_string(),
            Request::Cancel(cancel) => format!("cancel {}", cancel.key.order_id),
            other => panic!("{other:?}"),
        }
    }

    fn house() -> (Inbox, Queues) {
        let bounds = Bounds { normal: 100, urgent: 100, batch: 1, target: 5 * MS };
        queues(bounds, Duration::ZERO)
    }

    #[test]
    fn a_burst_waits_and_a_standing_queue_is_cut() {
        let (inbox, queues) = house();
        let start = Instant::now();
        let mut backlog = Backlog::new(5 * MS, start);
        buy(&inbox, "a");
        buy(&inbox, "b");
        let mut shed = Vec::new();
        let later = start + 90 * MS;
        backlog.park(&queues, later, |_| false, |ticket| shed.push(name(&ticket)));
        assert!(shed.is_empty() && backlog.len() == 2, "90 ms after it was empty it does not stand yet");
        let later = start + 300 * MS;
        backlog.park(&queues, later, |_| false, |ticket| shed.push(name(&ticket)));
        assert_eq!((shed.as_slice(), backlog.len()), (&["a".to_owned(), "b".to_owned()][..], 0));
        assert!(backlog.next(&queues, later, |_| false, |_| panic!("nobody is left")).is_none());
        buy(&inbox, "c");
        let soon = later + 50 * MS;
        let next = backlog.next(&queues, soon, |_| false, |_| panic!("it was empty lately"));
        assert_eq!(next.map(|ticket| name(&ticket)), Some("c".into()));
    }

    #[test]
    fn what_settles_uncertainty_goes_first_and_is_never_cut() {
        let (inbox, queues) = house();
        let start = Instant::now();
        let mut backlog = Backlog::new(5 * MS, start);
        buy(&inbox, "new");
        buy(&inbox, "known");
        drop(inbox.submit(Request::Cancel(Cancel { key: key("x"), handle: None }), None).unwrap());
        let later = start + 300 * MS;
        let mut shed = Vec::new();
        backlog.park(&queues, later, |ticket| name(ticket) == "known", |ticket| shed.push(name(&ticket)));
        assert_eq!(shed, ["new"]);
        let mut next =
            || backlog.next(&queues, later, |_| false, |_| panic!("none of these")).map(|ticket| name(&ticket));
        assert_eq!((next(), next(), next()), (Some("cancel x".into()), Some("known".into()), None));
    }
    #[test]
    fn a_known_order_is_not_cut_where_there_is_room_or_where_it_became_known_while_it_waited() {
        let (inbox, queues) = house();
        let start = Instant::now();
        let mut backlog = Backlog::new(5 * MS, start);
        let is_known = |ticket: &Ticket| name(ticket).starts_with("known");
        for order in ["known-a", "new", "known-b"] {
            buy(&inbox, order);
        }
        let later = start + 300 * MS;
        let mut shed = Vec::new();
        let first = backlog.next(&queues, later, is_known, |ticket| shed.push(name(&ticket)));
        let second = backlog.next(&queues, later, is_known, |ticket| shed.push(name(&ticket)));
        let order = |ticket: Option<Ticket>| ticket.map(|ticket| name(&ticket));
        assert_eq!((order(first), order(second)), (Some("known-a".into()), Some("known-b".into())));
        assert_eq!(shed, ["new"]);
        assert!(backlog.next(&queues, later, is_known, |_| panic!("nobody is left")).is_none());
        buy(&inbox, "known-c");
        backlog.park(&queues, later + MS, |_| false, |_| panic!("it was empty lately"));
        backlog.park(&queues, later + 300 * MS, is_known, |_| panic!("it is known by now"));
        assert_eq!(order(backlog.next(&queues, later + 301 * MS, |_| false, |_| ())), Some("known-c".into()));
    }

    #[test]
    fn many_are_picked_at_once_only_where_nobody_is_turned_away() {
        let (inbox, queues) = house();
        let start = Instant::now();
        let mut backlog = Backlog::new(5 * MS, start);
        ["a", "b", "c", "d"].iter().for_each(|order| buy(&inbox, order));
        let mut pick = |now, most| {
            let mut picked = Vec::new();
            backlog.pick(&queues, now, most, |_| true, |_| panic!("all are known"), &mut picked);
            picked.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(pick(start, 2), ["a", "b"]);
        assert_eq!(pick(start + 300 * MS, 9), ["c"], "the queue stands: d's fate may hang on c's");
    }
}

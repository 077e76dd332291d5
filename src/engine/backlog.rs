//! What waits while the open group is full, which of it is next, and what is turned away.
//!
//! A burst may wait, and is served in its order: a disk that pauses for a moment is no reason to send anybody away. A
//! queue that stands is one: everybody in it waits for nothing but the others. So once the queue has not been empty for
//! [`STANDING`], the newest is served first, and whoever has waited longer than the target is turned away. Served in
//! order, everybody would wait just as long as the target; so nearly all who are served hardly wait at all. (The ideas
//! are CoDel's and of adaptive LIFO, as servers use them.)
//!
//! What settles uncertainty is never turned away and goes first, in its order: cancels, inquiries, and retries of orders
//! that are known. Sales go before new codes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::inbox::Ticket;
use super::queues::Queues;

/// A queue that was never empty for so long stands; and it does until nobody had to be turned away for so long.
const STANDING: Duration = Duration::from_millis(100);

pub(super) struct Backlog {
    urgent: VecDeque<Ticket>,
    sales: VecDeque<Ticket>,
    codes: VecDeque<Ticket>,
    /// When nobody waited last, and not because all had been turned away.
    last_empty: Instant,
    last_shed: Option<Instant>,
    /// Longest wait in a queue that stands.
    target: Duration,
}

impl Backlog {
    pub fn new(target: Duration, now: Instant) -> Self {
        let [urgent, sales, codes] = std::array::from_fn(|_| VecDeque::new());
        Self { urgent, sales, codes, last_empty: now, last_shed: None, target }
    }

    pub fn len(&self) -> usize {
        self.urgent.len() + self.sales.len() + self.codes.len()
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
        // must not be answered that no decision was made.
        let most = if self.stands(now) { 1 } else { most };
        while picked.len() < most
            && let Some(ticket) = self.next(queues, now, &is_known, &mut shed)
        {
            picked.push(ticket);
        }
    }

    /// The next to be judged. Those turned away on the way to it are handed to `shed`.
    pub fn next(
        &mut self,
        queues: &Queues,
        now: Instant,
        is_known: impl Fn(&Ticket) -> bool,
        shed: impl FnMut(Ticket),
    ) -> Option<Ticket> {
        let urgent = self.urgent.pop_front().or_else(|| queues.urgent());
        let next = if urgent.is_some() {
            urgent
        } else if self.stands(now) {
            self.park(queues, now, is_known, shed);
            self.urgent.pop_front().or_else(|| self.sales.pop_back()).or_else(|| self.codes.pop_back())
        } else {
            let sale = self.sales.pop_front().or_else(|| queues.sale());
            sale.or_else(|| self.codes.pop_front()).or_else(|| queues.code())
        };
        if next.is_none() {
            self.is_empty_at(now);
        }
        next
    }

    /// What waits in the queues is put in order, and if the queue stands, whoever waits for nothing is turned away.
    pub fn park(
        &mut self,
        queues: &Queues,
        now: Instant,
        is_known: impl Fn(&Ticket) -> bool,
        mut shed: impl FnMut(Ticket),
    ) {
        self.take_in(queues, &is_known);
        if self.len() == 0 {
            self.is_empty_at(now);
        }
        if !self.stands(now) {
            return;
        }
        let target = self.target;
        let is_too_late = |ticket: &mut Ticket| now.saturating_duration_since(ticket.queued) > target;
        // The oldest are in front.
        while let Some(ticket) = self.sales.pop_front_if(is_too_late) {
            // It may have become known since it was parked.
            if is_known(&ticket) {
                self.urgent.push_back(ticket);
            } else {
                self.last_shed = Some(now);
                shed(ticket);
            }
        }
        while let Some(ticket) = self.codes.pop_front_if(is_too_late) {
            self.last_shed = Some(now);
            shed(ticket);
        }
    }

    fn take_in(&mut self, queues: &Queues, is_known: &impl Fn(&Ticket) -> bool) {
        let has_room = |backlog: &Self| backlog.len() < queues.most_waiting;
        while has_room(self)
            && let Some(ticket) = queues.urgent()
        {
            self.urgent.push_back(ticket);
        }
        while has_room(self)
            && let Some(ticket) = queues.sale()
        {
            let queue = if is_known(&ticket) { &mut self.urgent } else { &mut self.sales };
            queue.push_back(ticket);
        }
        while has_room(self)
            && let Some(ticket) = queues.code()
        {
            self.codes.push_back(ticket);
        }
    }

    fn is_empty_at(&mut self, now: Instant) {
        let is_calm = self.last_shed.is_none_or(|shed| now.saturating_duration_since(shed) > STANDING);
        if is_calm {
            self.last_empty = now;
        }
    }

    fn stands(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_empty) > STANDING
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::commands::request::{OnOrder, Request};
    use crate::domain::model::code::Form;
    use crate::domain::model::ids::{CustomerId, MerchantId, OrderId};
    use crate::domain::model::money::Yen;
    use crate::domain::model::purchase::Channel;
    use crate::domain::model::request::{Authorize, Cancel, OrderKey, Payer};
    use crate::engine::inbox::Inbox;
    use crate::engine::queues::{Bounds, queues};

    const MS: Duration = Duration::from_millis(1);

    fn key(order: &str) -> OrderKey {
        OrderKey { merchant: MerchantId::new("m").unwrap(), order_id: OrderId::new(order).unwrap() }
    }

    fn buy(inbox: &Inbox, order: &str) {
        let payer = Payer::Customer(CustomerId::new("c").unwrap());
        let input = std::sync::Arc::new(Authorize::new(key(order), payer, Channel::Online, Yen::new(1)));
        drop(inbox.submit(Request::Authorize { input, throttled: false, sealed_by: None }, None).unwrap());
    }

    fn show_code(inbox: &Inbox, customer: &str) {
        let customer = CustomerId::new(customer).unwrap();
        drop(inbox.submit(Request::IssueCode { customer, generation: 1, form: Form::L24 }, None).unwrap());
    }

    fn name(ticket: &Ticket) -> String {
        match &ticket.request {
            Request::IssueCode { customer, .. } => format!("code of {customer}"),
            Request::Authorize { input, .. } => input.order_id.to_string(),
            Request::OnOrder { .. } => format!("cancel {}", ticket.request.order_key().unwrap().order_id),
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
        backlog.park(&queues, later + 50 * MS, |_| false, |ticket| shed.push(name(&ticket)));
        assert_eq!(shed, ["a", "b", "c"], "it is empty because all were turned away: it still stands");
        let calm = later + 151 * MS;
        assert!(backlog.next(&queues, calm, |_| false, |_| panic!("nobody is left")).is_none());
        buy(&inbox, "d");
        let next = backlog.next(&queues, calm + 50 * MS, |_| false, |_| panic!("it was empty lately"));
        assert_eq!(next.map(|ticket| name(&ticket)), Some("d".into()));
    }

    #[test]
    fn what_settles_uncertainty_goes_first_and_is_never_cut() {
        let (inbox, queues) = house();
        let start = Instant::now();
        let mut backlog = Backlog::new(5 * MS, start);
        buy(&inbox, "new");
        buy(&inbox, "known");
        drop(inbox.submit(OnOrder::Cancel(Cancel::new(key("x"))).into(), None).unwrap());
        let later = start + 300 * MS;
        let mut shed = Vec::new();
        backlog.park(&queues, later, |ticket| name(ticket) == "known", |ticket| shed.push(name(&ticket)));
        assert_eq!(shed, ["new"]);
        let mut next =
            || backlog.next(&queues, later, |_| false, |_| panic!("none of these")).map(|ticket| name(&ticket));
        assert_eq!((next(), next(), next()), (Some("cancel x".into()), Some("known".into()), None));
    }

    #[test]
    fn a_burst_is_served_in_order_and_a_standing_queue_newest_first_sales_before_codes() {
        let (inbox, queues) = house();
        let start = Instant::now();
        let mut backlog = Backlog::new(1_000 * MS, start);
        show_code(&inbox, "1");
        for order in ["a", "b", "c", "d"] {
            buy(&inbox, order);
        }
        show_code(&inbox, "2");
        let mut next =
            |at| backlog.next(&queues, at, |_| false, |_| panic!("none is late")).map(|ticket| name(&ticket));
        let (soon, later) = (start + 90 * MS, start + 300 * MS);
        assert_eq!((next(soon), next(soon)), (Some("a".into()), Some("b".into())));
        assert_eq!((next(later), next(later)), (Some("d".into()), Some("c".into())));
        assert_eq!((next(later), next(later)), (Some("code of 2".into()), Some("code of 1".into())));
        assert_eq!(next(later), None);
        buy(&inbox, "e");
        buy(&inbox, "f");
        assert_eq!((next(later + 90 * MS), next(later + 90 * MS)), (Some("e".into()), Some("f".into())));
    }

    #[test]
    fn a_queue_that_was_seen_empty_while_the_group_was_full_does_not_stand() {
        let (inbox, queues) = house();
        let start = Instant::now();
        let mut backlog = Backlog::new(5 * MS, start);
        let later = start + 300 * MS;
        backlog.park(&queues, later, |_| false, |_| panic!("nobody is there"));
        buy(&inbox, "a");
        backlog.park(&queues, later + 50 * MS, |_| false, |_| panic!("it was empty lately"));
        assert_eq!(backlog.len(), 1);
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
        let calm = later + 101 * MS;
        assert!(backlog.next(&queues, calm, is_known, |_| panic!("nobody is left")).is_none());
        buy(&inbox, "known-c");
        backlog.park(&queues, calm + MS, |_| false, |_| panic!("it was empty lately"));
        backlog.park(&queues, calm + 300 * MS, is_known, |_| panic!("it is known by now"));
        assert_eq!(order(backlog.next(&queues, calm + 301 * MS, |_| false, |_| ())), Some("known-c".into()));
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

//! An order as it is told: with what the network booked beside it, as if it were one.

use std::borrow::Cow;

use super::money::Yen;
use super::order::{CaptureTerms, Order, OrderState};
use super::time::Millis;

impl Order {
    /// One order of the amounts of all: what was captured beyond a hold or after it counts as its own capture, and what the
    /// network approved in the stead of a denied order is what became of that one.
    pub fn with_beside<'a>(&'a self, beside: impl Iterator<Item = &'a Self>, now: Millis) -> Cow<'a, Self> {
        let beside: Vec<_> = beside.collect();
        let Some(first) = beside.first() else { return Cow::Borrowed(self) };
        let is_denied = matches!(self.state, OrderState::Denied(_) | OrderState::Tombstone);
        let mut told = if is_denied {
            Self { id: self.id, key: self.key, decided_at: self.decided_at, ..(*first).clone() }
        } else {
            self.clone()
        };
        let all = [self].into_iter().chain(beside.iter().copied());
        let captures = all.clone().filter_map(|order| match order.state {
            OrderState::Captured { amount, refunded } => Some((order, amount, refunded)),
            _ => None,
        });
        if let Some((captured, ..)) = captures.clone().next() {
            let sum = |of: fn(&(&Self, Yen, Yen)) -> Yen| captures.clone().map(|capture| of(&capture)).sum();
            let amount = sum(|(_, amount, _)| *amount);
            let refunded = sum(|(.., refunded)| *refunded);
            let points = captures.clone().map(|(order, ..)| order.terms().points).sum();
            told.state = OrderState::Captured { amount, refunded };
            told.capture = Some(Box::new(CaptureTerms { amount, points, ..captured.terms() }));
        } else if !told.is_open(now) {
            let cancelled = all.filter(|order| order.state == OrderState::Cancelled);
            let amount = |order: &Self| order.capture.as_deref().map_or(order.amount, |terms| terms.amount);
            if cancelled.clone().next().is_some() {
                told.state = OrderState::Cancelled;
                told.capture = Some(Box::new(CaptureTerms { amount: cancelled.map(amount).sum(), ..told.terms() }));
            }
        }
        Cow::Owned(told)
    }
}

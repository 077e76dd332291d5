//! A hold is captured: by its register, or as a network tells us afterwards.

use std::sync::Arc;

use super::Ruling;
use super::advise::advised;
use super::past::{Seen, Turn};
use super::refusal::{Refusal, Stop};
use super::reply::Reply;
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Order, OrderState};
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Advice, Authorize, Beside, Capture, CaptureAdvice, OrderKey, Payer, Post};
use crate::domain::state::event::{Captured, Event};

/// One capture a hold; the rest of it is released.
pub(super) fn capture(turn: &Turn<'_>, request: &Capture) -> Result<Ruling, Stop> {
    let seen = turn.by_id(request.authorization)?;
    let order = seen.order;
    let at = turn.now.at;
    let present = turn.present(seen)?;
    // One in suspense is no customer's.
    let not_standing = Refusal::NotStanding { status: present.status(at) };
    match order.state {
        _ if order.is_suspense() => Err(not_standing.into()),
        OrderState::Held { .. } if order.is_open(at) => {
            if request.amount > order.amount {
                return Err(Refusal::OverHold { amount: order.amount }.into());
            }
            record(turn, seen, request.amount)
        }
        OrderState::Captured { amount, .. } if amount == request.amount => {
            let order = Box::new(present.into_owned());
            Ok(Ruling::Answer(Reply::Captured { order, replayed: turn.steps == 0 }))
        }
        OrderState::Captured { amount, .. } => Err(Refusal::CapturedOtherwise { amount }.into()),
        OrderState::Held { .. }
        | OrderState::Denied(_)
        | OrderState::Cancelled
        | OrderState::Tombstone
        | OrderState::Lost => Err(not_standing.into()),
    }
}

/// Captures an open hold, of no more than was granted.
fn record(turn: &Turn<'_>, seen: Seen<'_>, amount: Yen) -> Result<Ruling, Stop> {
    if seen.is_past {
        // An open hold is always in memory; the ledger is behind.
        return Err(Refusal::LedgerKnows.into());
    }
    let state = turn.state;
    let order = seen.order;
    let now = turn.now;
    let customer = order.customer.ok_or(Refusal::AuthorizationUnknown)?;
    let account = state.account(customer).ok_or(Refusal::AuthorizationUnknown)?;
    let method = account.profile.payment_method;
    Ok(Ruling::Step(Event::Captured(Captured {
        order: order.id.lsn,
        customer,
        channel: order.channel,
        amount,
        released: order.amount.minus_or_zero(amount),
        month: now.month,
        due: super::authorize::due_of(state, order.channel, method, now),
        points: state.terms.on(now.date).points(amount),
    })))
}

/// An advice can't be refused, the goods are gone. As far as a hold was granted for it, the hold is captured; the rest is a
/// sale that nobody approved. A denied hold that the network then approved itself is captured in its stead.
pub(super) fn capture_advice(
    turn: &Turn<'_>,
    request: &CaptureAdvice,
    draw: &mut dyn FnMut() -> u64,
) -> Result<Ruling, Stop> {
    let amount = request.amount;
    let own = turn.by_key(&request.original)?.filter(|own| !own.order.is_tombstone());
    if own.is_none() && request.must_be_known {
        return Err(Refusal::AuthorizationUnknown.into());
    }
    let Some(own) = own else { return Told { turn, request, own, payer: request.payer }.beyond(amount, draw) };
    let family = turn.family(&request.original, Some(own))?;
    let hold = family.stood_in.unwrap_or(own);
    let order = hold.order;
    let at = turn.now.at;
    // Whoever it was is charged.
    let customer = order.customer.or(own.order.customer).and_then(|ix| turn.state.account(ix));
    let payer = customer.map_or(request.payer, |account| Payer::Customer(account.id));
    let told = Told { turn, request, own: Some(own), payer };
    let granted = amount.min(order.amount);
    match order.state {
        // No customer is charged, whatever is captured of it.
        _ if order.is_suspense() => Ok(Ruling::Answer(Reply::Done)),
        OrderState::Lost => Ok(Ruling::Answer(Reply::Done)),
        OrderState::Held { .. } if order.is_open(at) => record(turn, hold, granted),
        // The customer bought, only later than we waited.
        OrderState::Held { .. } => told.beyond(amount, draw),
        OrderState::Captured { amount: captured, .. } if captured == granted && amount > granted => {
            told.beyond(amount.minus_or_zero(granted), draw)
        }
        OrderState::Captured { amount: captured, .. } if captured == granted => Ok(known(order)),
        OrderState::Captured { .. } | OrderState::Denied(_) | OrderState::Cancelled | OrderState::Tombstone => {
            told.apart(draw)
        }
    }
}

fn known(order: &Order) -> Ruling {
    Ruling::Answer(Reply::Captured { order: Box::new(order.clone()), replayed: true })
}

/// A capture that is told, beside what there is of its hold, and whom it charges.
#[derive(Clone, Copy)]
struct Told<'t, 'a> {
    turn: &'t Turn<'a>,
    request: &'t CaptureAdvice,
    own: Option<Seen<'a>>,
    payer: Payer,
}

impl Told<'_, '_> {
    /// Books what was captured without a hold for it, or beyond it: once, of whatever amount came first.
    fn beyond(self, amount: Yen, draw: &mut dyn FnMut() -> u64) -> Result<Ruling, Stop> {
        let Some(key) = self.request.original.beside(Beside::Captured) else { return self.apart(draw) };
        let booked = self.turn.of(self.own, &key)?;
        match booked.map(|seen| seen.order) {
            // Its hold was taken back.
            Some(order)
                if order.is_blocked() && booked.is_some_and(|seen| !seen.order.is_tombstone() || seen.is_past) =>
            {
                Ok(Ruling::Answer(Reply::Done))
            }
            Some(order) if order.is_tombstone() => self.advise(key, amount, self.request.post, draw),
            Some(order) if order.amount == amount => Ok(known(order)),
            Some(_) => self.apart(draw),
            None => self.advise(key, amount, self.request.post, draw),
        }
    }

    /// Another amount than was captured, or of what does not stand, is nobody's.
    fn apart(self, draw: &mut dyn FnMut() -> u64) -> Result<Ruling, Stop> {
        let own = self.request.own;
        let amount = self.request.amount;
        match self.turn.by_key(&own)? {
            Some(seen) if seen.is_past && seen.order.amount == amount => Ok(known(seen.order)),
            _ => self.advise(own, amount, Post::Never, draw),
        }
    }

    fn advise(self, key: OrderKey, amount: Yen, post: Post, draw: &mut dyn FnMut() -> u64) -> Result<Ruling, Stop> {
        let Self { turn, request, payer, .. } = self;
        let sale = Authorize::new(key, payer, Channel::InStore, amount);
        let input = Arc::new(Authorize { terminal: request.terminal, ..sale });
        let sealed_by = request.sealed_by.filter(|_| payer == request.payer);
        Ok(advised(turn, &Advice { input, original: None, post, sealed_by, must_be_known: false }, draw))
    }
}

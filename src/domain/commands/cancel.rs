//! A register takes an order back, seen or not.

use super::Ruling;
use super::past::{Seen, Turn};
use super::refusal::{Refusal, Stop};
use super::reply::Reply;
use crate::domain::commands::reply::CancelAction;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Order, OrderState};
use crate::domain::model::request::{Cancel, OrderKey};
use crate::domain::model::time::{Now, void_window_end};
use crate::domain::state::State;
use crate::domain::state::event::{Event, Undone};

/// What an order needs to be undone.
pub(super) enum Undoing {
    /// It was denied, has run out or is undone.
    Nothing,
    Record(Event),
    /// Past the void window, paid or refunded in part: a refund of what is left.
    ByRefund(Yen),
}

pub(super) fn undoing(turn: &Turn<'_>, seen: Seen<'_>) -> Result<Undoing, Stop> {
    let state = turn.state;
    let order = seen.order;
    let now = turn.now;
    let undone = |amount, was_hold| match undone(order, amount, was_hold) {
        Some(undone) => Undoing::Record(cancelled_event(state, undone, now)),
        None => Undoing::Nothing,
    };
    Ok(match order.state {
        // What we bear stays so; what a network sends back for it later is the office's to book.
        OrderState::Tombstone | OrderState::Denied(_) | OrderState::Cancelled | OrderState::Lost => Undoing::Nothing,
        // No customer's bill is in the way, so it can be taken back at any age.
        _ if order.is_suspense() && seen.is_past => Undoing::Record(Event::recalled(order)),
        _ if order.is_suspense() => {
            Undoing::Record(Event::SuspenseCleared { order: order.id.lsn, amount: order.amount })
        }
        OrderState::Held { .. } if !order.is_open(now.at) => Undoing::Nothing,
        // An open hold is always in memory; the ledger is behind.
        OrderState::Held { .. } if seen.is_past => return Err(Refusal::LedgerKnows.into()),
        OrderState::Held { .. } => undone(order.amount, true),
        OrderState::Captured { amount, refunded } => {
            let is_over = now.at >= void_window_end(order.terms().at);
            if is_over || seen.is_past || !refunded.is_zero() {
                return Ok(Undoing::ByRefund(amount.minus_or_zero(refunded)));
            }
            undone(amount, false)
        }
    })
}

/// Undoes what stands, the order and what the network booked beside it, or nothing of it.
pub(super) fn cancel(turn: &Turn<'_>, request: &Cancel) -> Result<Ruling, Stop> {
    let own = match turn.by_key(&request.key) {
        Ok(own) => own,
        Err(stop) => return block_unseen(turn, request.key, stop),
    };
    let family = turn.family(&request.key, own)?;
    let is_cancelled = family.all().any(|seen| seen.order.state == OrderState::Cancelled);
    let mut next = None;
    for seen in family.all() {
        let refused = match undoing(turn, seen)? {
            Undoing::Nothing => continue,
            // Given back since, and the rest was cancelled before: a repeat.
            Undoing::ByRefund(left) if left.is_zero() && is_cancelled => continue,
            Undoing::ByRefund(_) => true,
            Undoing::Record(event) => {
                next = next.or(Some(event));
                false
            }
        };
        // Whoever may take the order back may take back what came of it.
        if !may_take_back(request, own.unwrap_or(seen)) {
            return Err(Refusal::OtherTerminal.into());
        }
        if refused {
            return Err(Refusal::UseRefund.into());
        }
    }
    match next {
        Some(event) => Ok(Ruling::Step(event)),
        // What was blocked long ago is blocked anew: memory has let go of that.
        None if is_unseen(own) => Ok(Ruling::Step(Event::Tombstoned { key: request.key })),
        None => Ok(Ruling::Answer(cancelled(turn, request.key, own, family.all()))),
    }
}

fn cancelled<'a>(
    turn: &Turn<'a>,
    key: OrderKey,
    own: Option<Seen<'a>>,
    mut all: impl Iterator<Item = Seen<'a>>,
) -> Reply {
    let undone = all.find(|seen| seen.order.state == OrderState::Cancelled);
    // What is blocked has no authorization, also after the late sale came and was denied.
    let own = own.filter(|own| !own.order.is_blocked());
    let (action, told) = match (undone, own) {
        (Some(undone), own) => (CancelAction::Reversed, Some(own.unwrap_or(undone))),
        (None, Some(own)) => (CancelAction::None, Some(own)),
        (None, None) => (CancelAction::Blocked, None),
    };
    // A cancel that finds nothing to undo leaves no trace, so no later one repeats it.
    let replayed = match action {
        CancelAction::None => false,
        CancelAction::Reversed => turn.steps == 0,
        CancelAction::Blocked => turn.steps == 0 || turn.past.has_blocked(&key),
    };
    Reply::Cancelled { action, authorization: told.map(|seen| seen.order.id), replayed }
}

/// Nothing has this name but what was blocked so long ago that memory has let go of it.
pub(super) fn is_unseen(own: Option<Seen<'_>>) -> bool {
    own.is_none_or(|own| own.is_past && own.order.is_blocked())
}

/// What is not in memory is blocked, should it still come, also while the ledger does not answer. But it may be a sale of
/// long ago, which stands: this is to be asked again.
pub(super) fn block_unseen(turn: &Turn<'_>, key: OrderKey, stop: Stop) -> Result<Ruling, Stop> {
    match stop {
        Stop::Refused(Refusal::LedgerKnows) if turn.in_memory(&key).is_none() => {
            Ok(Ruling::Step(Event::Tombstoned { key }))
        }
        stop => Err(stop),
    }
}

fn may_take_back(request: &Cancel, seen: Seen<'_>) -> bool {
    request.terminals.as_ref().is_none_or(|own| seen.terminal().is_some_and(|terminal| own.contains(&terminal)))
}

/// A sale on a bill that was issued, or on a month that credit was put on, takes its money with it; else only the usage
/// shrinks.
fn cancelled_event(state: &State, undone: Undone, now: &Now) -> Event {
    let bill = undone.purchase().bill();
    let is_mere_usage = state.account(undone.customer).is_none_or(|account| account.is_mere_usage(bill, now));
    if undone.was_hold || is_mere_usage {
        return Event::Cancelled(undone);
    }
    let Some(mut draft) = state.draft(undone.customer, now) else { return Event::Cancelled(undone) };
    draft.catch_up();
    draft.cancel(&undone.purchase());
    let (books, _) = draft.finish();
    if books.is_empty() { Event::Cancelled(undone) } else { Event::CancelledPaid { undone, books: Box::new(books) } }
}

fn undone(order: &Order, amount: Yen, was_hold: bool) -> Option<Undone> {
    Some(Undone {
        order: order.id.lsn,
        customer: order.customer?,
        channel: order.channel,
        amount,
        was_hold,
        month: order.terms().month,
        bought_at: order.terms().at,
        points: if was_hold { 0 } else { order.terms().points },
    })
}

/// Records that a hold's time ran out, once. It is made from the account, which keeps the hold until then;
/// the order itself may be forgotten the moment its hold has run out.
pub fn hold_expired(state: &State, customer: CustomerIx, order: Lsn, now: &Now) -> Option<Event> {
    let hold = state.account(customer)?.holds().iter().find(|hold| hold.order == order && hold.expires_at <= now.at)?;
    Some(Event::HoldExpired(Undone {
        order,
        customer,
        channel: hold.channel,
        amount: hold.amount,
        was_hold: true,
        month: now.month,
        bought_at: now.at,
        points: 0,
    }))
}

//! A network takes back an order, or a refund. It can't be refused: whatever became of the original, afterwards it is
//! undone, with all that came of it.

use std::sync::Arc;

use super::Ruling;
use super::advise::advised;
use super::cancel::{Undoing, block_unseen, is_unseen, undoing};
use super::past::{Family, Turn};
use super::refund::{Part, captured, refund_part};
use super::refusal::{Refusal, Stop};
use super::reply::Reply;
use crate::domain::model::denial::Reason;
use crate::domain::model::money::Yen;
use crate::domain::model::order::OrderState;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{
    Advice, Authorize, Beside, Of, OrderKey, Payer, Post, Reverse, ReverseRefund, Scanned,
};
use crate::domain::model::time::Now;
use crate::domain::state::State;
use crate::domain::state::event::Event;

/// Seen or not, and past the void window as a refund of all that is left.
pub(super) fn reverse(turn: &Turn<'_>, request: &Reverse) -> Result<Ruling, Stop> {
    let key = request.original;
    // A capture is booked with its hold, so it is the hold that is to be named. A sale that the network approved itself has
    // its own name, once it has come.
    let must_be_known = request.must_be_known || request.of == Of::Advice;
    let own = match turn.by_key(&key) {
        Ok(own) => own,
        Err(stop) if must_be_known => return Err(stop),
        Err(stop) => return block_unseen(turn, key, stop),
    };
    if must_be_known && own.is_none_or(|own| own.order.is_tombstone()) {
        return Err(Refusal::AuthorizationUnknown.into());
    }
    let family = turn.family(&key, own)?;
    if let Some(kept) = request.kept
        && let Some(step) = refund_down_to(turn, request, family, kept)?
    {
        return Ok(step);
    }
    for seen in family.all() {
        let event = match (undoing(turn, seen)?, captured(seen)) {
            (Undoing::Record(event), _) => event,
            (Undoing::ByRefund(left), Some(part)) if !left.is_zero() => {
                refund_part(turn, part, Part::of_reversal(request.refund_id, left))?
            }
            (Undoing::Nothing | Undoing::ByRefund(_), _) => continue,
        };
        let is_last = is_all(request, family, &event);
        return Ok(record(event, is_last));
    }
    if is_unseen(own) {
        // Beside a hold its capture is blocked, too. Who may only name what is known is told that it is not.
        let is_last = request.of != Of::Hold && !must_be_known;
        return Ok(record(Event::Tombstoned { key }, is_last));
    }
    block_beside(turn, request, family)
}

/// A fact of a reversal: with its answer where it is the last one, so that the reversal need not be judged once more to
/// find that nothing is left to do.
fn record(event: Event, is_last: bool) -> Ruling {
    if is_last { Ruling::Record(event, done) } else { Ruling::Step(event) }
}

fn done(_: &State, _: &Event, _: &Now) -> Reply {
    Reply::Done
}

/// Whether the fact that undoes an order, or gives back all that is left of it, is all that its reversal comes to. Where
/// something stands beside the order there may be more; and beside a hold that was captured, and is refunded, a later capture
/// is blocked.
fn is_all(request: &Reverse, family: Family<'_>, event: &Event) -> bool {
    let is_alone = family.own.is_some() && family.beside().next().is_none();
    match event {
        Event::Cancelled(_) | Event::SuspenseCleared { .. } => is_alone,
        Event::Refunded(_) => is_alone && request.of != Of::Hold,
        // It is undone next.
        _ => false,
    }
}

/// A part stays: the rest is refunded, what was captured beyond first. Nothing where this is to be a reversal of all.
fn refund_down_to(turn: &Turn<'_>, request: &Reverse, family: Family<'_>, kept: Yen) -> Result<Option<Ruling>, Stop> {
    let parts: Vec<_> = family.all().filter_map(captured).collect();
    // What a hold does not need any more is released at its capture; what is in suspense waits there, whole, for people.
    let stands = |state| matches!(state, OrderState::Held { .. } | OrderState::Captured { .. } | OrderState::Lost);
    if parts.is_empty() {
        return Ok(family.all().any(|seen| stands(seen.order.state)).then_some(Ruling::Answer(Reply::Done)));
    }
    let left: Yen = parts.iter().map(|part| part.left).sum();
    let too_much = left.minus_or_zero(kept);
    let part = parts.into_iter().rev().find(|part| !part.left.is_zero());
    match part.filter(|_| !too_much.is_zero()) {
        Some(part) => {
            let amount = too_much.min(part.left);
            let event = refund_part(turn, part, Part::of_reversal(request.refund_id, amount))?;
            let is_last = amount == too_much && matches!(event, Event::Refunded(_));
            Ok(Some(record(event, is_last)))
        }
        None => Ok(Some(Ruling::Answer(Reply::Done))),
    }
}

/// Nothing is captured any more of a hold that was taken back, and what the network tells of is not booked after its
/// reversal: where nothing has the name yet, it is blocked.
fn block_beside(turn: &Turn<'_>, request: &Reverse, family: Family<'_>) -> Result<Ruling, Stop> {
    let Some(own) = family.own else { return Ok(Ruling::Answer(Reply::Done)) };
    let beside = match (request.of, own.order.state) {
        (Of::Advice, OrderState::Denied(reason)) if reason != Reason::Cancelled => Beside::StoodIn,
        // A capture of it finds no hold to be captured by itself.
        (_, OrderState::Cancelled) => return Ok(Ruling::Answer(Reply::Done)),
        (_, OrderState::Denied(reason)) if reason != Reason::Cancelled => return Ok(Ruling::Answer(Reply::Done)),
        (Of::Hold, _) => Beside::Captured,
        (Of::Sale | Of::Advice, _) => return Ok(Ruling::Answer(Reply::Done)),
    };
    match request.original.beside(beside) {
        Some(key) if is_unseen(turn.of(family.own, &key)?) => Ok(record(Event::Tombstoned { key }, true)),
        _ => Ok(Ruling::Answer(Reply::Done)),
    }
}

/// Should the refund still come, it is denied. Whether it came before can't be told by its id, and what was given back
/// can't be charged again without the customer: the amount goes to suspense, for people to clear.
pub(super) fn reverse_refund(
    turn: &Turn<'_>,
    request: &ReverseRefund,
    draw: &mut dyn FnMut() -> u64,
) -> Result<Ruling, Stop> {
    let key = request.refund;
    let own = turn.by_key(&key)?;
    if own.is_some_and(|own| !own.order.is_tombstone()) {
        return Err(Refusal::NotARefund.into());
    }
    if own.is_none() && request.must_be_known {
        return Err(Refusal::AuthorizationUnknown.into());
    }
    let taken_back = request.amount.zip(key.beside(Beside::TakenBack));
    if is_unseen(own) {
        let is_last = taken_back.is_none();
        return Ok(record(Event::Tombstoned { key }, is_last));
    }
    let Some((amount, beside)) = taken_back else { return Ok(Ruling::Answer(Reply::Done)) };
    if turn.by_key(&beside)?.is_some() {
        return Ok(Ruling::Answer(Reply::Done));
    }
    Ok(match advised(turn, &nobodys(beside, amount, request), draw) {
        Ruling::Step(event) => record(event, true),
        known => known,
    })
}

fn nobodys(key: OrderKey, amount: Yen, request: &ReverseRefund) -> Advice {
    let sale = Authorize::new(key, Payer::Code(Scanned::Invalid), Channel::InStore, amount);
    let input = Arc::new(Authorize { terminal: request.terminal, ..sale });
    Advice { input, original: None, post: Post::Never, sealed_by: None, must_be_known: false }
}

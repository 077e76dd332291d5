//! A sale is given back, whole or in part.

use super::Ruling;
use super::past::{Family, Seen, Turn};
use super::reach::value_time;
use super::refusal::{Refusal, Stop};
use super::reply::Reply;
use crate::domain::billing::account::Account;
use crate::domain::billing::settlement::{Place, Settlement};
use crate::domain::billing::stories::Reach;
use crate::domain::model::bounds::MOST_REVERSALS;
use crate::domain::model::ids::{CustomerIx, OrderId, RefundId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Destination, OrderState, RefundMade};
use crate::domain::model::payment::BillKey;
use crate::domain::model::purchase::Purchase;
use crate::domain::model::request::{OrderKey, Refund};
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::State;
use crate::domain::state::event::{Event, Refunded, counts_from};

/// A captured sale and what is left of it.
#[derive(Clone, Copy)]
pub(super) struct Captured<'a> {
    seen: Seen<'a>,
    pub left: Yen,
}

/// Nothing of a sale in suspense: it is no customer's.
pub(super) fn captured(seen: Seen<'_>) -> Option<Captured<'_>> {
    match seen.order.state {
        OrderState::Captured { amount, refunded } if !seen.order.is_suspense() => {
            Some(Captured { seen, left: amount.minus_or_zero(refunded) })
        }
        _ => None,
    }
}

/// One of several partial refunds, each with its own id. It is of the order; only what is more than is left of that is of
/// what the network booked beside it.
pub(super) fn refund(turn: &Turn<'_>, request: &Refund) -> Result<Ruling, Stop> {
    let own = turn.by_name(&request.sale)?.ok_or(Refusal::AuthorizationUnknown)?;
    let family = turn.family(&own.order.key, Some(own))?;
    let is_theirs = request
        .customer
        .is_none_or(|id| own.order.customer.is_some() && turn.state.customer_ix(&id) == own.order.customer);
    let sale = family.own.and_then(captured).or(family.stood_in.and_then(captured));
    let beyond = family.beyond.and_then(captured);
    let made_of = |part: Option<Captured<'_>>| match part {
        Some(part) => turn.made_before(part.seen, request.refund_id).map(|made| made.cloned()),
        None => Ok(None),
    };
    let of_sale = made_of(sale)?;
    let of_beyond = made_of(beyond)?;
    let made: Yen = [&of_sale, &of_beyond].into_iter().flatten().map(|made| made.amount).sum();
    let left_of = |part: Option<Captured<'_>>| part.map_or(Yen::ZERO, |part| part.left);
    // What goes beyond is recorded first, and only where that empties the sale itself: so this one was begun.
    let is_begun = of_sale.is_none() && of_beyond.is_some() && !left_of(sale).is_zero() && made < request.amount;
    if !made.is_zero() && !is_begun {
        let known = [&of_sale, &of_beyond].into_iter().flatten();
        if made != request.amount || !is_theirs || known.into_iter().any(|made| is_other_time(made, request)) {
            return Err(Refusal::RefundIdReused { amount: made }.into());
        }
        let left = |made: &Option<RefundMade>, part| made.as_ref().map_or(left_of(part), |made| made.left);
        let left = left(&of_sale, sale) + left(&of_beyond, beyond);
        let parts = [of_sale, of_beyond].into_iter().flatten();
        let Some(made) = parts.reduce(with) else { return Err(Refusal::AuthorizationUnknown.into()) };
        let made = RefundMade { left, ..made };
        return Ok(Ruling::Answer(Reply::Refunded {
            order: Box::new(own.order.clone()),
            made,
            replayed: turn.steps == 0,
        }));
    }
    if !is_theirs {
        return Err(Refusal::OtherCustomer.into());
    }
    value_time(turn.now, request.paid_at)?;
    check_not_taken_back(turn, own, request.refund_id)?;
    if sale.is_none() && beyond.is_none() {
        return Err(not_captured(turn, family).into());
    }
    let is_before = |part: Captured<'_>| request.paid_at.is_some_and(|paid_at| paid_at < part.seen.order.terms().at);
    if sale.or(beyond).is_some_and(is_before) {
        return Err(Refusal::RefundedBeforeCapture.into());
    }
    let at_sale = left_of(sale);
    let at_beyond = left_of(beyond);
    let rest = request.amount.minus_or_zero(made);
    let beyond_rest = rest.minus_or_zero(at_sale);
    if beyond_rest > if is_begun { Yen::ZERO } else { at_beyond } {
        return Err(Refusal::OverRefundable { left: at_sale + at_beyond }.into());
    }
    let (part, amount) = if beyond_rest.is_zero() { (sale, rest) } else { (beyond, beyond_rest) };
    let Some(part) = part else { return Err(Refusal::AuthorizationUnknown.into()) };
    let part_of = Part { refund_id: request.refund_id, amount, paid_at: request.paid_at, is_reversal: false };
    refund_part(turn, part, part_of).map(Ruling::Step)
}

/// Where only one of them says when, it is the same refund.
fn is_other_time(made: &RefundMade, request: &Refund) -> bool {
    made.paid_at.is_some_and(|known| request.paid_at.is_some_and(|told| told != known))
}

/// Two parts of one refund, as one.
fn with(first: RefundMade, more: RefundMade) -> RefundMade {
    let mut applied = first.applied;
    for part in more.applied {
        match applied.iter_mut().find(|known| known.to == part.to) {
            Some(known) => known.amount += part.amount,
            None => applied.push(part),
        }
    }
    let amount = first.amount + more.amount;
    let restored = first.restored + more.restored;
    RefundMade { amount, restored, applied, ..first }
}

/// A network names refunds as it names sales, and takes them back the same way.
fn check_not_taken_back(turn: &Turn<'_>, own: Seen<'_>, refund_id: RefundId) -> Result<(), Refusal> {
    let key = OrderId::new(refund_id.as_str()).map(|order_id| OrderKey { merchant: own.order.key.merchant, order_id });
    let blocked = key.is_ok_and(|key| turn.in_memory(&key).is_some_and(|seen| seen.order.is_tombstone()));
    if blocked { Err(Refusal::Cancelled) } else { Ok(()) }
}

/// A refund needs a capture; one in suspense is no customer's.
fn not_captured(turn: &Turn<'_>, family: Family<'_>) -> Refusal {
    let at = turn.now.at;
    if family.all().any(|seen| seen.order.is_open(at) && !seen.order.is_suspense()) {
        return Refusal::NotCaptured;
    }
    match family.own {
        Some(own) => Refusal::NotStanding { status: own.order.with_beside(family.beside(), at).status(at) },
        None => Refusal::AuthorizationUnknown,
    }
}

/// What is given back of one purchase.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub refund_id: RefundId,
    pub amount: Yen,
    /// When the shop gave it back, where that was told.
    pub paid_at: Option<Millis>,
    pub is_reversal: bool,
}

impl Part {
    /// A network takes a sale back, and says no other time than now.
    pub(super) const fn of_reversal(refund_id: RefundId, amount: Yen) -> Self {
        Self { refund_id, amount, paid_at: None, is_reversal: true }
    }
}

/// One purchase's part of a refund; a purchase that memory has let go of is taken back into it first. A network's reversal
/// passes beyond the bound of refunds.
pub(super) fn refund_part(
    turn: &Turn<'_>,
    Captured { seen, left }: Captured<'_>,
    Part { refund_id, amount, paid_at, is_reversal }: Part,
) -> Result<Event, Stop> {
    if let Some(made) = turn.made_before(seen, refund_id)? {
        return Err(Refusal::RefundIdReused { amount: made.amount }.into());
    }
    let state = turn.state;
    let order = seen.order;
    let now = turn.now;
    let kept = left.checked_sub(amount).ok_or(Refusal::OverRefundable { left })?;
    let bounds = &state.settings.bounds;
    let most = if is_reversal { MOST_REVERSALS } else { bounds.refunds_per_purchase };
    if !kept.is_zero() && order.refunds.as_ref().is_some_and(|refunds| refunds.count() >= most) {
        return Err(Refusal::TooManyRefunds { most }.into());
    }
    let customer = order.customer.ok_or(Refusal::AuthorizationUnknown)?;
    let terms = order.terms();
    let purchase = Purchase { order: order.id.lsn, channel: order.channel, amount, month: terms.month, at: terms.at };
    let at = counts_from(paid_at, purchase.at, now);
    let bill = Some(purchase.bill()).filter(|bill| *bill != BillKey::Month(now.month));
    if let Some(known) = state.account(customer)
        && let Some(recalled) = turn.recall(customer, known, &Reach { since: at, bill })?
    {
        return Ok(recalled);
    }
    let (books, account) = refund_books(state, customer, &purchase, at, now).ok_or(Refusal::AuthorizationUnknown)?;
    if !is_reversal && !kept.is_zero() && account.has_full_bill(&books, Some(purchase.bill()), bounds) {
        return Err(Refusal::TooManyOpen { what: "changes of one bill", most: bounds.changes_per_bill }.into());
    }
    if seen.is_past {
        return Ok(Event::recalled(order));
    }
    let bought_on = state.terms.on(terms.at.date());
    let mut refunded = Refunded {
        order: order.id.lsn,
        refund_id,
        customer,
        channel: order.channel,
        amount,
        month: terms.month,
        bought_at: terms.at,
        destination: Destination::UsageReduced,
        // Points go down to those of what is kept, as if only that had been bought.
        points: bought_on.points(left) - bought_on.points(kept),
        books: Box::new(books),
        paid_at,
    };
    refunded.destination = destination(&refunded, now);
    Ok(Event::Refunded(refunded))
}

/// What the money of a refund does: nothing while no money was put on its month, where the usage only shrinks.
fn refund_books(
    state: &State,
    customer: CustomerIx,
    purchase: &Purchase,
    at: Millis,
    now: &Now,
) -> Option<(Settlement, Account)> {
    let mut draft = state.draft(customer, now)?;
    draft.catch_up();
    if !draft.account.is_mere_usage(purchase.bill(), now) {
        draft.refund(purchase, at);
    }
    Some(draft.finish())
}

/// The first destination of its money.
fn destination(refunded: &Refunded, now: &Now) -> Destination {
    if refunded.purchase().bill() == BillKey::Month(now.month) {
        return Destination::UsageReduced;
    }
    match refunded.freed().next() {
        Some(first) if refunded.freed_principal() >= refunded.amount => match first.to {
            Place::Line { .. } | Place::Freed { .. } => Destination::OtherBill,
            Place::PayoutDue | Place::PaidOut { .. } | Place::Reversed { .. } => Destination::PayoutDue,
            Place::Credit | Place::Received | Place::Refund | Place::Bounced { .. } => Destination::Credited,
        },
        Some(_) | None => Destination::BillReduced,
    }
}

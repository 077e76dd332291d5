//! After the decision: cancel, capture, refund. Each reads the order and says what is to be recorded.

use super::office::value_time;
use super::refusal::{Refusal, Step};
use crate::domain::billing::account::Account;
use crate::domain::billing::settlement::{Pot, Settlement, Transfer};
use crate::domain::model::bounds::MOST_REVERSALS;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CustomerIx, Lsn, OrderId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Applied, AppliedTo, Destination, Order, OrderState, RefundMade};
use crate::domain::model::payment::{BillKey, Line, Lines};
use crate::domain::model::policy::Policy;
use crate::domain::model::purchase::Purchase;
use crate::domain::model::request::{Cancel, Capture, OrderKey, Refund};
use crate::domain::model::time::{Now, void_window_end};
use crate::domain::state::State;
use crate::domain::state::event::{Captured, Event, Refunded, Undone};

/// What a cancellation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAction {
    /// An approval was undone.
    Reversed,
    /// There was only a denial, or a hold that had run out.
    None,
    /// The order had not been seen; should it come, it is denied.
    Blocked,
}

impl CancelAction {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reversed => "reversed",
            Self::None => "none",
            Self::Blocked => "blocked",
        }
    }
}

pub fn cancel(state: &State, request: &Cancel, now: &Now) -> Result<Step<CancelAction>, Refusal> {
    let Some(order) = state.orders.by_key(&request.key, now.at) else {
        return Ok(Step::Record(Event::Tombstoned { key: request.key }));
    };
    // No customer's bill is in the way, so it can be taken back at any age.
    if order.is_suspense() {
        return Ok(Step::Record(Event::SuspenseCleared { order: order.id.lsn, amount: order.amount }));
    }
    match order.state {
        // Denied as cancelled is what was blocked: the sale came after it was taken back.
        OrderState::Tombstone | OrderState::Denied(Reason::Cancelled) => Ok(Step::Answer(CancelAction::Blocked)),
        OrderState::Denied(_) => Ok(Step::Answer(CancelAction::None)),
        OrderState::Cancelled => Ok(Step::Answer(CancelAction::Reversed)),
        OrderState::Held { expires_at } if now.at >= expires_at => Ok(Step::Answer(CancelAction::None)),
        _ if !may_take_back(request, order) => Err(Refusal::OtherTerminal),
        OrderState::Held { .. } => Ok(record_undone(order, order.amount, true)),
        OrderState::Captured { amount, refunded, .. } => {
            let is_over = now.at >= void_window_end(order.terms().at);
            if is_over || !refunded.is_zero() || is_paid(state, order) {
                return Err(Refusal::UseRefund);
            }
            Ok(record_undone(order, amount, false))
        }
    }
}

fn may_take_back(request: &Cancel, order: &Order) -> bool {
    request.terminals.as_ref().is_none_or(|own| order.terminal.is_some_and(|terminal| own.contains(&terminal)))
}

/// Whether money lies on the bill of an NP purchase: a refund says where it goes, a cancel could not.
fn is_paid(state: &State, order: &Order) -> bool {
    let account = order.customer.and_then(|ix| state.account(ix));
    let bill = account.and_then(|account| account.bill(BillKey::Np(order.id.lsn)));
    bill.is_some_and(|bill| bill.paid() != Lines::default())
}

fn record_undone(order: &Order, amount: Yen, was_hold: bool) -> Step<CancelAction> {
    match undone(order, amount, was_hold) {
        Some(undone) => Step::Record(Event::Cancelled(undone)),
        None => Step::Answer(CancelAction::None),
    }
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

/// The paper of a hold whose time ran out, once. It is made from the account, which keeps the hold until then;
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

/// The order to be captured or refunded; one in suspense is no customer's, so neither says anything.
fn find<'a>(state: &'a State, id: AuthorizationId, now: &Now) -> Result<&'a Order, Refusal> {
    let order = state.orders.by_id(id, now.at).ok_or(Refusal::AuthorizationUnknown)?;
    if order.is_suspense() { Err(Refusal::NotStanding { status: order.status(now.at) }) } else { Ok(order) }
}

/// One capture a hold; the rest of it is released.
pub fn capture<'a>(
    state: &'a State,
    request: &Capture,
    now: &Now,
    policy: &Policy,
) -> Result<Step<&'a Order>, Refusal> {
    let order = find(state, request.authorization, now)?;
    match order.state {
        OrderState::Held { expires_at } if now.at < expires_at => {}
        OrderState::Captured { amount, .. } if amount == request.amount => return Ok(Step::Answer(order)),
        OrderState::Captured { amount, .. } => return Err(Refusal::CapturedOtherwise { amount }),
        OrderState::Held { .. } | OrderState::Denied(_) | OrderState::Cancelled | OrderState::Tombstone => {
            return Err(Refusal::NotStanding { status: order.status(now.at) });
        }
    }
    let released = order.amount.checked_sub(request.amount).ok_or(Refusal::OverHold { amount: order.amount })?;
    let customer = order.customer.ok_or(Refusal::AuthorizationUnknown)?;
    let method = state.account(customer).map(|account| account.profile.payment_method);
    let method = method.ok_or(Refusal::AuthorizationUnknown)?;
    Ok(Step::Record(Event::Captured(Captured {
        order: order.id.lsn,
        customer,
        channel: order.channel,
        amount: request.amount,
        released,
        month: now.month,
        due: super::authorize::due_of(state, order.channel, method, now, policy),
        points: policy.points(request.amount),
    })))
}

/// One of several partial refunds, each with its own id.
pub fn refund<'a>(
    state: &'a State,
    request: &Refund,
    now: &Now,
    policy: &Policy,
) -> Result<Step<(&'a Order, &'a RefundMade)>, Refusal> {
    let order = find(state, request.authorization, now)?;
    let is_theirs =
        request.customer.is_none_or(|id| order.customer.is_some() && state.customer_ix(&id) == order.customer);
    if let Some(made) = made_before(order, request)? {
        let same = is_theirs.then_some(Step::Answer((order, made)));
        return same.ok_or(Refusal::RefundIdReused { amount: made.amount });
    }
    if !request.is_new_to_ledger && order.refunds.as_ref().is_some_and(|refunds| refunds.before > 0) {
        return Err(Refusal::LedgerKnows);
    }
    if !is_theirs {
        return Err(Refusal::OtherCustomer);
    }
    value_time(now, request.paid_at)?;
    // A network names refunds as it names sales, and takes them back the same way.
    let own =
        OrderId::new(request.refund_id.as_str()).map(|order_id| OrderKey { merchant: order.key.merchant, order_id });
    if own.is_ok_and(|own| state.orders.by_key(&own, now.at).is_some_and(Order::is_tombstone)) {
        return Err(Refusal::Cancelled);
    }
    let (amount, refunded) = match order.state {
        OrderState::Captured { amount, refunded } => (amount, refunded),
        OrderState::Held { expires_at } if now.at < expires_at => return Err(Refusal::NotCaptured),
        OrderState::Held { .. } | OrderState::Denied(_) | OrderState::Cancelled | OrderState::Tombstone => {
            return Err(Refusal::NotStanding { status: order.status(now.at) });
        }
    };
    let left = amount.minus_or_zero(refunded);
    let kept = left.checked_sub(request.amount).ok_or(Refusal::OverRefundable { left })?;
    let bounds = &state.settings.bounds;
    let most = if request.is_reversal { MOST_REVERSALS } else { bounds.refunds_per_purchase };
    if !kept.is_zero() && order.refunds.as_ref().is_some_and(|refunds| refunds.count() >= most) {
        return Err(Refusal::TooManyRefunds { most });
    }
    let customer = order.customer.ok_or(Refusal::AuthorizationUnknown)?;
    let terms = order.terms();
    let purchase = Purchase {
        order: order.id.lsn,
        channel: order.channel,
        amount: request.amount,
        month: terms.month,
        at: terms.at,
    };
    let (books, account) = refund_books(state, customer, &purchase, now).ok_or(Refusal::AuthorizationUnknown)?;
    if !request.is_reversal && !kept.is_zero() && account.has_full_bill(&books, Some(purchase.bill()), bounds) {
        return Err(Refusal::TooManyOpen { what: "changes of one bill", most: bounds.changes_per_bill });
    }
    Ok(Step::Record(Event::Refunded(Refunded {
        order: order.id.lsn,
        refund_id: request.refund_id,
        customer,
        channel: order.channel,
        amount: request.amount,
        month: terms.month,
        bought_at: terms.at,
        destination: destination(&purchase, &books, now),
        // Points go down to those of what is kept, as if only that had been bought.
        points: policy.points(left) - policy.points(kept),
        books: Box::new(books),
        paid_at: request.paid_at,
    })))
}

/// What the money of a refund does: nothing more while the month is open, where the usage only shrinks.
fn refund_books(state: &State, customer: CustomerIx, purchase: &Purchase, now: &Now) -> Option<(Settlement, Account)> {
    let mut draft = state.draft(customer, now)?;
    if purchase.bill() != BillKey::Month(now.month) {
        draft.catch_up();
        draft.refund(purchase);
    }
    Some(draft.finish())
}

/// The refund that the id stands for, of those that the order knows.
pub fn made_before<'a>(order: &'a Order, request: &Refund) -> Result<Option<&'a RefundMade>, Refusal> {
    match order.refunds().iter().find(|made| made.id == request.refund_id) {
        Some(made) if made.amount != request.amount || is_other_time(made, request) => {
            Err(Refusal::RefundIdReused { amount: made.amount })
        }
        made => Ok(made),
    }
}

/// Where only one of them says when, it is the same refund.
fn is_other_time(made: &RefundMade, request: &Refund) -> bool {
    made.paid_at.is_some_and(|known| request.paid_at.is_some_and(|told| told != known))
}

/// Money that a refund set free on the purchase's own bill, or that met no bill of its own.
fn freed(bill: BillKey, books: &Settlement) -> impl Iterator<Item = &Transfer> {
    let own = Pot::Bill { bill, line: Line::Principal };
    books.transfers.iter().filter(move |transfer| transfer.from == own || transfer.from == Pot::Refund)
}

fn destination(purchase: &Purchase, books: &Settlement, now: &Now) -> Destination {
    let mut freed = freed(purchase.bill(), books);
    if purchase.bill() == BillKey::Month(now.month) {
        return Destination::UsageReduced;
    }
    match freed.next() {
        Some(first)
            if freed.map(|transfer| transfer.amount).fold(first.amount, |sum, amount| sum + amount)
                >= purchase.amount =>
        {
            match first.to {
                Pot::Bill { .. } => Destination::OtherBill,
                Pot::Payout => Destination::PayoutDue,
                Pot::Credit | Pot::Received | Pot::Refund => Destination::Credited,
            }
        }
        Some(_) | None => Destination::BillReduced,
    }
}

impl Refunded {
    /// Where its money went, the first destination first.
    pub fn applied(&self) -> Vec<Applied> {
        let purchase = self.purchase();
        let mut applied: Vec<Applied> = Vec::new();
        let mut add = |to, amount: Yen| match applied.iter_mut().find(|part| part.to == to) {
            Some(part) => part.amount += amount,
            None => applied.push(Applied { to, amount }),
        };
        let freed: Vec<_> = freed(purchase.bill(), &self.books).collect();
        let own = self.amount.minus_or_zero(freed.iter().map(|transfer| transfer.amount).sum());
        if !own.is_zero() {
            add(AppliedTo::Bill(purchase.bill()), own);
        }
        for transfer in freed {
            add(
                match transfer.to {
                    Pot::Bill { bill, .. } => AppliedTo::Bill(bill),
                    Pot::Payout => AppliedTo::Payout,
                    Pot::Credit | Pot::Received | Pot::Refund => AppliedTo::Credit,
                },
                transfer.amount,
            );
        }
        applied
    }

    /// Room that came back: principal that is no longer owed, here or on another bill. What credit paid of a bill that
    /// was issued with it is not the refund's doing.
    pub fn restored(&self) -> Yen {
        let by_credit = self.books.principal_in(|transfer| transfer.from == Pot::Credit);
        self.principal_gone().minus_or_zero(by_credit)
    }

    /// By how much the customer's exposure is less than before.
    pub fn principal_gone(&self) -> Yen {
        (self.amount + self.books.principal_in(|_| true)).minus_or_zero(self.books.principal_out())
    }

    pub fn purchase(&self) -> Purchase {
        let &Self { order, channel, amount, month, bought_at: at, .. } = self;
        Purchase { order, channel, amount, month, at }
    }
}

impl Undone {
    pub fn purchase(&self) -> Purchase {
        let &Self { order, channel, amount, month, bought_at: at, .. } = self;
        Purchase { order, channel, amount, month, at }
    }
}

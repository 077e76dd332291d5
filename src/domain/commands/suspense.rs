//! The office settles a sale in suspense: its customer is charged after all, it goes back to the shop, or we bear it.

use super::Ruling;
use super::authorize::{due_of, is_at_bound};
use super::past::Turn;
use super::refusal::{Refusal, Stop};
use super::reply::Reply;
use crate::domain::model::advice::{Booked, SuspenseAction, SuspenseWhy};
use crate::domain::model::bounds::Full;
use crate::domain::model::money::Yen;
use crate::domain::model::order::Order;
use crate::domain::model::request::SettleSuspense;
use crate::domain::state::State;
use crate::domain::state::event::{Captured, Event, SuspenseEnd, SuspenseSettled};
use crate::domain::state::receipts::{Known, Receipt, ReceiptKind, Receipts};

/// `ledger` is what only the ledger has of the id.
pub(super) fn settle(turn: &Turn<'_>, request: &SettleSuspense, ledger: Option<&Known>) -> Result<Ruling, Stop> {
    let state = turn.state;
    if state.receipts.len() >= Receipts::MOST {
        return Ok(Ruling::Answer(Reply::Full(Full::Receipts)));
    }
    if let Some(receipt) = told_before(state, request, ledger)? {
        return Ok(Ruling::Answer(settled(state, receipt.clone(), turn.steps == 0)));
    }
    let seen = turn.by_id(request.authorization)?;
    let order = seen.order;
    if !order.is_suspense() {
        return Err(Refusal::NotInSuspense { status: order.status(turn.now.at) }.into());
    }
    let end = match request.action {
        SuspenseAction::Charge => SuspenseEnd::Charged(charged(turn, request, order)?),
        SuspenseAction::Return => SuspenseEnd::Returned,
        SuspenseAction::Loss => SuspenseEnd::Lost,
    };
    if seen.is_past {
        return Ok(Ruling::Step(Event::recalled(order)));
    }
    let (id, staff) = (request.id, request.staff.clone());
    let fact = SuspenseSettled { id, order: order.id, amount: order.amount, end, staff };
    Ok(Ruling::Step(Event::SuspenseSettled(Box::new(fact))))
}

/// The fact that the id stands for, if it says the same.
fn told_before<'a>(
    state: &'a State,
    request: &SettleSuspense,
    ledger: Option<&'a Known>,
) -> Result<Option<&'a Receipt>, Refusal> {
    let ledger = ledger.filter(|known| known.as_of >= state.receipts.forgotten());
    let is_it = |receipt: &&Receipt| {
        let key = receipt.event.receipt_key();
        key.is_some_and(|key| (key.kind, key.id) == (ReceiptKind::Suspense, request.id))
    };
    let memory = state.receipts.get(ReceiptKind::Suspense, request.id);
    let Some(receipt) = memory.or_else(|| ledger.and_then(|known| known.receipts.iter().find(is_it))) else {
        return if ledger.is_some() { Ok(None) } else { Err(Refusal::LedgerKnows) };
    };
    let Event::SuspenseSettled(fact) = receipt.event.as_ref() else { return Ok(None) };
    let is_other_customer = request.customer.is_some_and(|told| {
        let known = fact.end.charged().and_then(|charged| state.account(charged.customer));
        known.is_none_or(|known| known.id != told)
    });
    let is_same = fact.order == request.authorization
        && fact.end.action() == request.action
        && fact.staff.reason == request.staff.reason;
    if is_same && !is_other_customer { Ok(Some(receipt)) } else { Err(Refusal::IdReused { amount: Some(fact.amount) }) }
}

/// The charge: from now on it is a purchase of this month, above a limit if need be, as an advice may be.
fn charged(turn: &Turn<'_>, request: &SettleSuspense, order: &Order) -> Result<Captured, Refusal> {
    let &Turn { state, now, .. } = turn;
    let not_yen = SuspenseWhy::CurrencyNotSupported;
    if request.why == Some(not_yen) || order.advice == Some(Booked::Suspense(not_yen)) {
        return Err(Refusal::NotChargeable);
    }
    let customer = match (request.customer, request.known_customer) {
        (Some(told), Some(known)) if told != known => return Err(Refusal::OtherCustomer),
        (told, known) => told.or(known).ok_or(Refusal::SuspenseOfNobody)?,
    };
    let found = state.customer_ix(&customer).and_then(|ix| Some((ix, state.account(ix)?)));
    let (customer, account) = found.ok_or(Refusal::CustomerUnknown)?;
    if is_at_bound(state, account, now) {
        return Err(Refusal::TooManyOpen { what: "bills and holds", most: state.settings.bounds.open_debts });
    }
    Ok(Captured {
        order: order.id.lsn,
        customer,
        channel: order.channel,
        amount: order.amount,
        released: Yen::ZERO,
        month: now.month,
        due: due_of(state, order.channel, account.profile.payment_method, now),
        points: state.terms.on(now.date).points(order.amount),
    })
}

fn settled(state: &State, receipt: Receipt, replayed: bool) -> Reply {
    let Event::SuspenseSettled(fact) = receipt.event.as_ref() else { return Reply::Unknown };
    let customer = fact.end.charged().and_then(|charged| state.account(charged.customer));
    let customer = customer.map(|account| account.id);
    Reply::SuspenseSettled { receipt: Box::new(receipt), customer, replayed }
}

//! One request in, one ruling out: a fact to record or an answer that needs none, and after the fact its answer.
//! This is the whole core behind one pair of functions; who drives it is the shell's choice.

pub mod advise;
pub mod authorize;
pub mod cancel;
mod capture;
pub(crate) mod claims;
pub mod customer;
#[cfg(test)]
pub mod history;
pub mod look_ahead;
pub mod office;
pub mod past;
mod refund;
pub mod refusal;
pub mod reply;
pub mod request;
mod reverse;

use std::sync::Arc;

use crate::domain::model::bounds::Full;
use crate::domain::model::code::{Code, Ending};
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::CustomerId;
use crate::domain::model::policy::Policy;
use crate::domain::model::request::{Authorize, CustomerChange, Payer, Scanned};
use crate::domain::model::time::Now;
use crate::domain::model::wording::Circumstances;
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::domain::state::receipts::{Receipt, Receipts};

use advise::stand_in;
use authorize::{Judgement, Verdict, decide, judge, recorded};
use cancel::cancel;
use capture::{capture, capture_advice};
use customer::{NoCode, issue_code, put_customer, void_code};
use office::instruct;
use past::{Turn, beside_in_memory, present_in_memory};
use refund::refund;
use refusal::{Refusal, Step, Stop};
use reply::{CodeView, Reply, Tried};
use request::{OnOrder, Request};
use reverse::{reverse, reverse_refund};

/// What the core makes of a request.
#[derive(Clone, Debug)]
pub enum Ruling {
    /// It is answered by [`reply_after`].
    Record(Event),
    /// One of several: then the request is judged again, until an answer comes.
    Step(Event),
    Answer(Reply),
}

/// Facts that one request comes to, at most. A reversal has the most: each of an order and the two beside it is taken back
/// into memory and undone, and two names are blocked.
pub const MOST_STEPS: usize = 16;

fn answer(reply: Reply) -> Ruling {
    Ruling::Answer(reply)
}

/// What is to be recorded, or else answered.
fn ruled<T>(step: Result<Step<T>, Refusal>, known: impl FnOnce(T) -> Reply) -> Ruling {
    match step {
        Ok(Step::Record(event)) => Ruling::Record(event),
        Ok(Step::Answer(found)) => answer(known(found)),
        Err(refusal) => answer(Reply::Refused(refusal)),
    }
}

/// Judges a request against the state as it is, after `steps` facts that it has come to in this turn. `draw` gives random
/// numbers.
pub fn rule(state: &State, request: &Request, now: &Now, steps: usize, draw: &mut dyn FnMut() -> u64) -> Ruling {
    let Some(in_force) = &state.policy else { return answer(Reply::Unknown) };
    let policy = &in_force.policy;
    match request {
        Request::Authorize { input, throttled, sealed_by } => match decide(state, input, now, policy) {
            Verdict::Replay(order) => {
                answer(Reply::Decision { order: present_in_memory(state, order, now).told(), replayed: true })
            }
            Verdict::Reused(order) => answer(Reply::OrderIdReused { first: order.id, terminal: order.terminal }),
            Verdict::Judged(_) if *throttled => answer(Reply::Throttled),
            Verdict::Judged(judgement) => {
                let (input, judgement) = with_a_wrong_seal(state, input, *sealed_by, now)
                    .map_or_else(|| (Arc::clone(input), judgement), |forged| judge_forged(state, forged, now, policy));
                Ruling::Record(recorded(input, judgement, in_force.version, draw()))
            }
        },
        Request::OnOrder { doing, past } => {
            let turn = Turn { state, past, now, in_force, steps };
            match on_order(&turn, doing, draw) {
                Ok(Step::Record(event)) => Ruling::Step(event),
                Ok(Step::Answer(reply)) => answer(reply),
                Err(Stop::Refused(refusal)) => answer(Reply::Refused(refusal)),
                Err(Stop::AskLedger) => answer(Reply::AskLedger),
            }
        }
        Request::IssueCode { customer, generation, form } => {
            match issue_code(state, customer, *generation, *form, now, policy, draw) {
                Ok(issued) => Ruling::Record(Event::issued(*form, issued)),
                Err(NoCode::Refused(reason)) => answer(code_refused(state, customer, reason)),
                Err(NoCode::TooMany { wait }) => answer(Reply::TooManyCodes { wait }),
                Err(NoCode::Full) => answer(Reply::Full(Full::Codes)),
            }
        }
        Request::VoidCode { code } => void_code(state, *code, now)
            .map_or_else(|| answer(look(state, &Request::FindCode(*code), now)), Ruling::Record),
        Request::PutCustomer { id, change } => rule_customer(state, id, change, now),
        Request::PutMerchant(merchant) if state.merchants.get(&merchant.id) == Some(merchant) => {
            answer(Reply::Merchant { merchant: merchant.clone(), created: false })
        }
        Request::PutMerchant(merchant)
            if state.merchants.len() >= state.settings.merchants_max && !state.merchants.contains_key(&merchant.id) =>
        {
            answer(Reply::Full(Full::Merchants))
        }
        Request::PutMerchant(merchant) => Ruling::Record(Event::MerchantSet(merchant.clone())),
        Request::Instruct { .. } if state.receipts.len() >= Receipts::MOST => answer(Reply::Full(Full::Receipts)),
        Request::Instruct { customer, instruction, ledger } => {
            let step = instruct(state, customer, (instruction, ledger.as_ref()), now, draw);
            ruled(step, |receipt| booked(state, receipt, true).unwrap_or(Reply::Unknown))
        }
        Request::FindCode(_)
        | Request::FindIssue(_)
        | Request::FindCustomer(_)
        | Request::NameCustomers(_)
        | Request::NameOrders(_) => answer(look(state, request, now)),
    }
}

fn on_order(turn: &Turn<'_>, doing: &OnOrder, draw: &mut dyn FnMut() -> u64) -> Result<Step<Reply>, Stop> {
    match doing {
        OnOrder::Find(name) => {
            let Some(seen) = turn.by_name(name)? else { return Ok(Step::Answer(Reply::Unknown)) };
            Ok(Step::Answer(Reply::Order(Box::new(turn.present(seen)?.into_owned()))))
        }
        OnOrder::Cancel(request) => cancel(turn, request),
        OnOrder::Capture(request) => capture(turn, request),
        OnOrder::Refund(request) => refund(turn, request),
        OnOrder::Reverse(request) => reverse(turn, request),
        OnOrder::ReverseRefund(request) => reverse_refund(turn, request, draw),
        OnOrder::CaptureAdvice(request) => capture_advice(turn, request, draw),
        OnOrder::StandIn(advice) => stand_in(turn, advice, draw),
    }
}

fn code_refused(state: &State, customer: &CustomerId, reason: Reason) -> Reply {
    let account = state.customer_ix(customer).and_then(|ix| state.account(ix));
    let circumstances = account.map(|account| Circumstances::of(&account.profile, None));
    Reply::CodeRefused(reason, circumstances.unwrap_or_default())
}

fn rule_customer(state: &State, id: &CustomerId, change: &CustomerChange, now: &Now) -> Ruling {
    if state.customer_ix(id).is_none() {
        if change.is_of_known {
            return answer(Reply::Unknown);
        }
        if state.next_customer().0 >= state.settings.customers_max {
            return answer(Reply::Full(Full::Customers));
        }
    }
    let known = || answer(look(state, &Request::FindCustomer(*id), now));
    put_customer(state, *id, change).map_or_else(known, Ruling::Record)
}

/// A seal counts only under the keys that its code was issued with: one made with other keys of ours, which may be known to
/// others by now, is a forged one, and judged and recorded as such. Nothing where it is not that.
fn with_a_wrong_seal(
    state: &State,
    input: &Arc<Authorize>,
    sealed_by: Option<u8>,
    now: &Now,
) -> Option<Arc<Authorize>> {
    let (Payer::Code(Scanned::Sealed { handle, .. }), Some(generation)) = (&input.payer, sealed_by) else {
        return None;
    };
    let code = state.codes.get(*handle, now.at).filter(|code| code.generation != generation)?;
    let payer = Payer::Code(Scanned::Forged { handle: code.handle });
    Some(Arc::new(Authorize { payer, ..input.as_ref().clone() }))
}

/// The same sale, with a forged code.
fn judge_forged(state: &State, input: Arc<Authorize>, now: &Now, policy: &Policy) -> (Arc<Authorize>, Judgement) {
    let tombstone = state.orders.by_key(&input.key(), now.at).is_some();
    let judgement = judge(state, &input, tombstone, now, policy);
    (input, judgement)
}

/// The customer of an office's fact as it is now, with the fact.
fn booked(state: &State, receipt: Receipt, replayed: bool) -> Option<Reply> {
    let customer = match receipt.event.as_ref() {
        Event::Settled { books, .. } => books.customer,
        Event::Noted { customer, .. } => *customer,
        _ => return None,
    };
    let account = Box::new(state.account(customer)?.clone());
    Some(Reply::Booked { account, receipt: Box::new(receipt), replayed })
}

/// Reads without recording.
fn look(state: &State, request: &Request, now: &Now) -> Reply {
    let found = match request {
        Request::FindCode(id) => state.codes.by_id(*id, now.at).and_then(|code| code_view(state, code, now)),
        Request::FindIssue(handle) => {
            let code = state.codes.get(*handle, now.at);
            code.map(|code| Reply::Issue { at: code.issued_at, generation: code.generation })
        }
        Request::FindCustomer(id) => state
            .customer_ix(id)
            .and_then(|ix| state.account(ix))
            .map(|account| Reply::Customer { account: Box::new(account.clone()), created: false }),
        Request::NameCustomers(list) => {
            Some(Reply::Names(list.iter().map(|ix| state.account(*ix).map(|account| account.id)).collect()))
        }
        Request::NameOrders(list) => {
            let ids = list.iter().filter_map(|lsn| state.orders.by_lsn(*lsn)).map(|order| order.id);
            Some(Reply::OrderNames(ids.collect()))
        }
        _ => None,
    };
    found.unwrap_or(Reply::Unknown)
}

fn code_view(state: &State, code: &Code, now: &Now) -> Option<Reply> {
    let tried = |lsn| {
        // In suspense it is charged to nobody, so there is nothing to show.
        let order = state.orders.by_lsn(lsn)?;
        let beside = beside_in_memory(state, order, now).filter(|order| order.customer.is_some());
        let order = order.with_beside(beside, now.at).into_owned();
        let shop = state.merchants.get(&order.key.merchant).map(|merchant| merchant.name.clone());
        Some(Tried { order, shop })
    };
    let sale = match code.ending {
        Some(Ending::Used { by, .. }) => tried(by),
        Some(Ending::Voided { .. }) | None => None,
    };
    let account = state.account(code.customer)?;
    let spendable = account.spendable(now, state.rules()?);
    let circumstances = Circumstances::of(&account.profile, Some(code));
    let latest = code.latest_attempt.and_then(tried);
    let version = state.version_of(code)?;
    Some(Reply::Code(Box::new(CodeView { code: *code, version, circumstances, spendable, sale, latest })))
}

/// The answer to a request whose event has just been applied.
pub fn reply_after(state: &State, request: &Request, event: &Event, existed: bool, now: &Now) -> Reply {
    let reply = match event {
        Event::Decided(_) => {
            state.orders.newest().map(|order| Reply::Decision { order: order.told(), replayed: false })
        }
        Event::CodeIssued(issued) | Event::Tok19Issued(issued) => {
            state.codes.get(issued.handle, now.at).and_then(|code| code_view(state, code, now))
        }
        Event::CodeVoided { handle } => state.codes.get(*handle, now.at).and_then(|code| code_view(state, code, now)),
        Event::CustomerSet { ix, .. } => {
            state.account(*ix).map(|account| Reply::Customer { account: Box::new(account.clone()), created: !existed })
        }
        Event::MerchantSet(merchant) => Some(Reply::Merchant { merchant: merchant.clone(), created: !existed }),
        Event::Settled { .. } | Event::Noted { .. } => {
            let receipt = Receipt { lsn: state.lsn, at: now.at, event: Box::new(event.clone()) };
            booked(state, receipt, false)
        }
        // No request comes to these, or one that goes on after them.
        _ => None,
    };
    reply.unwrap_or_else(|| look(state, request, now))
}

/// Whether what a request creates was there before.
pub fn existed(state: &State, request: &Request) -> bool {
    match request {
        Request::PutCustomer { id, .. } => state.customer_ix(id).is_some(),
        Request::PutMerchant(merchant) => state.merchants.contains_key(&merchant.id),
        _ => true,
    }
}

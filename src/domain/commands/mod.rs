//! One request in, one ruling out: a fact to record, with the answer that follows it, or an answer that needs none. This is
//! the whole core behind one function; who drives it is the shell's choice. Each file judges its requests and answers them.

pub mod advise;
pub mod authorize;
pub mod cancel;
mod capture;
pub(crate) mod claims;
mod correct;
mod customer;
pub mod explain;
#[cfg(test)]
pub mod history;
#[cfg(test)]
mod history_office;
mod issue_code;
pub mod look_ahead;
mod merchant;
pub mod notices;
pub mod office;
pub mod past;
mod reach;
mod refund;
pub mod refusal;
pub mod reply;
pub mod request;
mod reverse;
pub mod rules;
mod suspense;

use crate::domain::model::time::Now;
use crate::domain::state::State;
use crate::domain::state::event::Event;

use past::{Past, Turn};
use refusal::Stop;
use reply::Reply;
use request::{OnOrder, Request};

/// What the core makes of a request.
#[derive(Clone, Debug)]
pub enum Ruling {
    /// A fact to record. Once it is applied, the answer is made.
    Record(Event, Answer),
    /// One of several facts: once it is applied the request is judged again, until an answer comes.
    Step(Event),
    Answer(Reply),
}

/// Makes the answer to a request of the fact that it has come to, right after that was applied.
pub type Answer = fn(&State, &Event, &Now) -> Reply;

/// Facts that one request comes to, at most. A reversal has the most: each of an order and the two beside it is taken back
/// into memory and undone, and two names are blocked.
pub const MOST_STEPS: usize = 16;

/// Judges a request against the state as it is, after `steps` facts that it has come to in this turn. `draw` gives random
/// numbers.
pub fn dispatch(state: &State, request: &Request, now: &Now, steps: usize, draw: &mut dyn FnMut() -> u64) -> Ruling {
    let Some(in_force) = &state.policy else { return Ruling::Answer(Reply::Unknown) };
    let (request, kept) = match request {
        Request::Knowing { kept, question } => (question.as_ref(), Some(kept)),
        request => (request, None),
    };
    let past = if let Request::OnOrder { past, .. } = request { past } else { &Past::NotAsked };
    let turn = Turn { state, past, kept, now, in_force, steps };
    match request {
        Request::Authorize { input, throttled, sealed_by } => {
            authorize::authorize(&turn, input, *throttled, *sealed_by, draw)
        }
        Request::OnOrder { doing, .. } => match on_order(&turn, doing, draw) {
            Ok(ruling) => ruling,
            Err(Stop::Refused(refusal)) => Ruling::Answer(Reply::Refused(refusal)),
            Err(Stop::AskLedger) => Ruling::Answer(Reply::AskLedger),
            Err(Stop::AskStories(customer)) => Ruling::Answer(Reply::AskStories(customer)),
        },
        Request::IssueCode { customer, generation, form } => {
            issue_code::issue_code(&turn, customer, *generation, *form, draw)
        }
        Request::VoidCode { code } => issue_code::void_code(&turn, *code),
        Request::FindCode(id) => Ruling::Answer(issue_code::find(state, *id, now)),
        Request::FindIssue(handle) => Ruling::Answer(issue_code::find_issue(state, *handle, now)),
        Request::PutCustomer { id, change } => customer::put(state, *id, change),
        Request::FindCustomer(id) => Ruling::Answer(customer::find(state, id)),
        Request::NameCustomers(list) => Ruling::Answer(customer::name(state, list)),
        Request::PutMerchant(merchant) => merchant::put(state, merchant),
        Request::SetRules(rules) => rules::set(state, rules),
        Request::Instruct { customer, instruction, ledger } => {
            office::instruct(&turn, customer, instruction, ledger.as_ref(), draw)
        }
        Request::NameOrders(list) => {
            let ids = list.iter().filter_map(|lsn| state.orders.by_lsn(*lsn)).map(|order| order.id);
            Ruling::Answer(Reply::OrderNames(ids.collect()))
        }
        // One in another is not asked.
        Request::Knowing { .. } => Ruling::Answer(Reply::Unknown),
    }
}

fn on_order(turn: &Turn<'_>, doing: &OnOrder, draw: &mut dyn FnMut() -> u64) -> Result<Ruling, Stop> {
    match doing {
        OnOrder::Find(name) => {
            let Some(seen) = turn.by_name(name)? else { return Ok(Ruling::Answer(Reply::Unknown)) };
            Ok(Ruling::Answer(Reply::Order(Box::new(turn.present(seen)?.into_owned()))))
        }
        OnOrder::Cancel(request) => cancel::cancel(turn, request),
        OnOrder::Capture(request) => capture::capture(turn, request),
        OnOrder::Refund(request) => refund::refund(turn, request),
        OnOrder::Reverse(request) => reverse::reverse(turn, request),
        OnOrder::ReverseRefund(request) => reverse::reverse_refund(turn, request, draw),
        OnOrder::CaptureAdvice(request) => capture::capture_advice(turn, request, draw),
        OnOrder::SettleSuspense { settlement, ledger } => suspense::settle(turn, settlement, ledger.as_ref()),
        OnOrder::StandIn(advice) => advise::stand_in(turn, advice, draw),
    }
}

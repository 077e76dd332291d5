//! Reading ahead. Among a hundred thousand customers half of a decision's time is waiting for memory: for the indexes, the
//! code and the account. The processor fetches several lines at once where none of them says where the next one is, so
//! what a group of requests will need is read first, step by step, each step for all of them.

use std::hint::black_box;

use super::request::Request;
use crate::domain::billing::account::Account;
use crate::domain::model::code::Code;
use crate::domain::model::ids::Handle;
use crate::domain::model::request::{Authorize, OrderKey, Payer};
use crate::domain::state::State;

/// Brings into the cache what judging these requests will read. Without it all is as right, only slower.
pub fn look_ahead<'a>(state: &State, requests: impl Iterator<Item = &'a Request> + Clone) {
    let inputs = requests.filter_map(|request| match request {
        Request::Authorize { input, .. } => Some(input.as_ref()),
        _ => None,
    });
    for input in inputs.clone() {
        let key = OrderKey { merchant: input.merchant, order_id: input.order_id };
        black_box((state.orders.touch(&key), handle(input).is_some_and(|handle| state.codes.touch(handle))));
    }
    for input in inputs.clone() {
        black_box(code(state, input).is_some());
    }
    for input in inputs {
        // One field in each of its two lines of the cache.
        black_box(account(state, input).map(|account| (account.profile.status, account.latest_approval)));
    }
}

fn handle(input: &Authorize) -> Option<Handle> {
    match &input.payer {
        Payer::Code(scanned) => scanned.handle(),
        Payer::Customer(_) => None,
    }
}

fn code<'a>(state: &'a State, input: &Authorize) -> Option<&'a Code> {
    state.codes.get(handle(input)?, state.time)
}

fn account<'a>(state: &'a State, input: &Authorize) -> Option<&'a Account> {
    let ix = match &input.payer {
        Payer::Code(_) => code(state, input)?.customer,
        Payer::Customer(id) => state.customer_ix(id)?,
    };
    state.account(ix)
}

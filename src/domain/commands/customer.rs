//! Staff sets a customer, and what is known of one.

use super::Ruling;
use super::reply::Reply;
use crate::domain::model::bounds::Full;
use crate::domain::model::customer::Profile;
use crate::domain::model::ids::{CustomerId, CustomerIx};
use crate::domain::model::request::CustomerChange;
use crate::domain::state::State;
use crate::domain::state::event::Event;

/// A customer is made, or changed; one to whom nothing changes is only shown.
pub(super) fn put(state: &State, id: CustomerId, change: &CustomerChange) -> Ruling {
    let Some((ix, account)) = state.customer_ix(&id).and_then(|ix| Some((ix, state.account(ix)?))) else {
        return make(state, id, change);
    };
    let after = changed(&account.profile, change);
    if after == account.profile {
        return Ruling::Answer(shown(state, ix, false));
    }
    let event = Event::CustomerSet { ix, id, profile: Box::new(after) };
    Ruling::Record(event, |state, event, _| answer(state, event, false))
}

fn make(state: &State, id: CustomerId, change: &CustomerChange) -> Ruling {
    let ix = state.next_customer();
    if change.is_of_known {
        return Ruling::Answer(Reply::Unknown);
    }
    if ix.0 >= state.settings.customers_max {
        return Ruling::Answer(Reply::Full(Full::Customers));
    }
    let profile = Box::new(changed(&Profile::newcomer(), change));
    Ruling::Record(Event::CustomerSet { ix, id, profile }, |state, event, _| answer(state, event, true))
}

fn changed(before: &Profile, change: &CustomerChange) -> Profile {
    Profile {
        identity: change.identity.unwrap_or(before.identity),
        // A reason belongs to the state it was given with.
        identity_reason: match (change.identity, &change.identity_reason) {
            (_, Some(reason)) => reason.clone().map(Box::new),
            (Some(identity), None) if identity != before.identity => None,
            (_, None) => before.identity_reason.clone(),
        },
        birth_date: change.birth_date.unwrap_or(before.birth_date),
        guardian_consent: change.guardian_consent.unwrap_or(before.guardian_consent),
        payment_method: change.payment_method.unwrap_or(before.payment_method),
        status: change.status.unwrap_or(before.status),
        limits: change.limits.map_or_else(|| before.limits.clone(), |limits| limits.map(Box::new)),
        rung: change.rung.unwrap_or(before.rung),
    }
}

fn answer(state: &State, event: &Event, created: bool) -> Reply {
    match event {
        Event::CustomerSet { ix, .. } => shown(state, *ix, created),
        _ => Reply::Unknown,
    }
}

fn shown(state: &State, ix: CustomerIx, created: bool) -> Reply {
    let account = state.account(ix);
    account.map_or(Reply::Unknown, |account| Reply::Customer { account: Box::new(account.clone()), created })
}

pub(super) fn find(state: &State, id: &CustomerId) -> Reply {
    state.customer_ix(id).map_or(Reply::Unknown, |ix| shown(state, ix, false))
}

pub(super) fn name(state: &State, list: &[CustomerIx]) -> Reply {
    Reply::Names(list.iter().map(|ix| state.account(*ix).map(|account| account.id)).collect())
}

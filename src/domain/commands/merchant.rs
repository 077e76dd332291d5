//! Staff sets a merchant.

use super::Ruling;
use super::reply::Reply;
use crate::domain::model::bounds::Full;
use crate::domain::model::merchant::Merchant;
use crate::domain::state::State;
use crate::domain::state::event::Event;

pub(super) fn put(state: &State, merchant: &Merchant) -> Ruling {
    match state.merchants.get(&merchant.id) {
        Some(known) if known == merchant => {
            Ruling::Answer(Reply::Merchant { merchant: Box::new(merchant.clone()), created: false })
        }
        None if state.merchants.len() >= state.settings.merchants_max => Ruling::Answer(Reply::Full(Full::Merchants)),
        None => Ruling::Record(set(merchant), |_, event, _| answer(event, true)),
        Some(_) => Ruling::Record(set(merchant), |_, event, _| answer(event, false)),
    }
}

fn set(merchant: &Merchant) -> Event {
    Event::MerchantSet(Box::new(merchant.clone()))
}

fn answer(event: &Event, created: bool) -> Reply {
    match event {
        Event::MerchantSet(merchant) => Reply::Merchant { merchant: merchant.clone(), created },
        _ => Reply::Unknown,
    }
}

//! The sandbox's demo data: the customers and merchants that the contract promises.

use std::sync::Arc;

use crate::domain::commands::request::Request;
use crate::domain::model::customer::{Identity, Profile, Status};
use crate::domain::model::ids::{CustomerId, MerchantId, OrderId};
use crate::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::model::money::Yen;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Authorize, OrderKey, Payer};
use crate::domain::model::time::{DAY, Date, Millis};
use crate::domain::state::event::Event;
use crate::engine::Engine;
use crate::journal::{JournalError, TooLarge};

/// How long before the sandbox's birth customer 1004 bought something: long enough for its bill to be
/// overdue whatever day it is (a purchase is due at most 41 days later).
const OVERDUE_SINCE: i64 = 75 * DAY;
/// What 1004 owes, yen.
const OVERDUE_YEN: u64 = 3_000;
/// Customers for load: 2000 to 2999.
const LOAD: std::ops::Range<u32> = 2_000..3_000;

/// Writes the demo data into an empty journal, as a history that ends `now`.
pub fn fill(engine: &mut Engine, opening: &[Event], now: Millis) -> Result<(), JournalError> {
    let long_ago = now.plus(-OVERDUE_SINCE);
    engine.begin(long_ago);
    for event in opening {
        engine.record(event)?;
    }
    for merchant in merchants() {
        engine.record(&Event::MerchantSet(Box::new(merchant)))?;
    }
    let full = |engine: &Engine| engine.state().policy.as_ref().map_or(0, |in_force| in_force.policy.top_rung());
    let top = full(engine);
    let adult =
        Profile { identity: Identity::Verified, birth_date: Date::new(1990, 4, 1), rung: top, ..Profile::newcomer() };
    let overdue = customer(engine, "1004", adult.clone())?;
    engine.commit()?;
    if let (Some(customer), Ok(merchant), Ok(order_id)) =
        (overdue, MerchantId::new("mrc_electronics"), OrderId::new("demo-1004"))
    {
        engine.begin(long_ago);
        let key = OrderKey { merchant, order_id };
        let amount = Yen::new(OVERDUE_YEN);
        let input = Arc::new(Authorize::new(key, Payer::Customer(customer), Channel::Online, amount));
        engine.take(&Request::Authorize { input, throttled: false, sealed_by: None });
        engine.commit()?;
    }
    engine.begin(now);
    customer(engine, "1001", adult.clone())?;
    customer(engine, "1002", Profile { rung: 0, ..adult.clone() })?;
    customer(engine, "1003", Profile { identity: Identity::Unverified, rung: 0, ..adult.clone() })?;
    customer(engine, "1005", Profile { birth_date: born_years_ago(now, 16), rung: 0, ..adult.clone() })?;
    customer(engine, "1006", Profile { status: Status::Suspended, ..adult.clone() })?;
    for number in LOAD {
        customer(engine, &number.to_string(), adult.clone())?;
    }
    engine.commit()?;
    engine.settle()
}

fn born_years_ago(now: Millis, years: i16) -> Option<Date> {
    Some(crate::domain::model::time::Now::at(now).date.plus_years(-years))
}

pub fn merchants() -> Vec<Merchant> {
    let merchant = |(id, name, mcc): (&str, &str, u16)| {
        let (status, limits) = (MerchantStatus::Active, MerchantLimits::default());
        Some(Merchant { id: MerchantId::new(id).ok()?, name: name.into(), mcc, status, limits })
    };
    let shops = [
        ("mrc_konbini", "デモコンビニ", 5_499),
        ("mrc_electronics", "デモ電器", 5_732),
        ("mrc_giftcards", "デモギフトカード", 5_947),
    ];
    shops.into_iter().filter_map(merchant).collect()
}

fn customer(engine: &mut Engine, id: &str, profile: Profile) -> Result<Option<CustomerId>, TooLarge> {
    let Ok(id) = CustomerId::new(id) else { return Ok(None) };
    let ix = engine.state().next_customer();
    engine.record(&Event::CustomerSet { ix, id, profile: Box::new(profile) })?;
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purchase_of_75_days_ago_is_overdue_on_any_day() {
        let calendar = crate::domain::model::time::BankCalendar::default();
        let mut day = Date::new(2024, 1, 1).unwrap();
        for _ in 0..800 {
            let bought = crate::domain::model::time::Now::at(day.start().plus(-OVERDUE_SINCE));
            for method in crate::domain::model::payment::PaymentMethod::ALL {
                assert!(
                    crate::domain::model::terms::Billing::default().due(method, bought.month, &calendar) < day,
                    "{day}"
                );
            }
            day = day.plus_days(1);
        }
    }
}

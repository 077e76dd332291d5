//! One shop and as many verified customers as are wanted, for the benches of the core and the test of its allocations.

#![allow(dead_code, reason = "each of them uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test or a bench stops at the first surprise")]

use sokketsu::domain::model::customer::{Identity, Profile};
use sokketsu::domain::model::ids::{CustomerId, CustomerIx, Handle, MerchantId, OrderId, Part};
use sokketsu::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::purchase::Channel;
use sokketsu::domain::model::request::{Authorize, OrderKey, Payer, Proof, Scanned};
use sokketsu::domain::model::settings::Settings;
use sokketsu::domain::model::time::{Date, Millis, Now};
use sokketsu::domain::state::State;
use sokketsu::domain::state::event::{CodeIssued, Event};

/// 2026-11-23 in Japan.
pub const START: i64 = 1_795_423_500_000;

pub fn id(n: u32) -> CustomerId {
    CustomerId::new(&format!("{n:08}")).unwrap()
}

pub fn verified() -> Profile {
    Profile { identity: Identity::Verified, birth_date: Date::new(1990, 4, 1), rung: 3, ..Profile::newcomer() }
}

pub fn customer(n: u32, profile: Profile) -> Event {
    Event::CustomerSet { ix: CustomerIx(n), id: id(n), profile: Box::new(profile) }
}

/// The shipped policy and the shop.
pub fn open() -> State {
    let (mut state, now) = (State::new(Settings::default()), Now::at(Millis(START)));
    state.apply(&Event::PolicySet { version: 1, text: include_str!("../../config/policy.toml").into() }, &now);
    let id = MerchantId::new("mrc_konbini").unwrap();
    let (status, limits) = (MerchantStatus::Active, MerchantLimits::default());
    let merchant = Merchant { id, name: "konbini".into(), mcc: 5_499, status, limits };
    state.apply(&Event::MerchantSet(Box::new(merchant)), &now);
    state
}

/// The shop, and customers who each have a live code.
pub fn with_codes(customers: u32) -> State {
    let (mut state, now) = (open(), Now::at(Millis(START)));
    for n in 0..customers {
        state.apply(&customer(n, verified()), &now);
        state.apply(&Event::CodeIssued(issued(n)), &now);
    }
    state
}

pub fn issued(n: u32) -> CodeIssued {
    let handle = Handle::draw(Part::of(&id(n)), u64::from(n));
    let expires_at = Millis(START + 300_000);
    CodeIssued { customer: CustomerIx(n), handle, generation: 1, id_random: 1, counter: 1, random: 2, expires_at }
}

pub fn key(order: u32) -> OrderKey {
    let order_id = OrderId::new(&format!("R-{order:012}")).unwrap();
    OrderKey { merchant: MerchantId::new("mrc_konbini").unwrap(), order_id }
}

/// The purchase that shows customer `n`'s code.
pub fn purchase(n: u32, order: u32) -> Authorize {
    let epoch = u64::try_from(START / 1_000).unwrap() / 600;
    let payer = Payer::Code(Scanned::Sealed { handle: issued(n).handle, proof: Proof::Barcode { epoch } });
    Authorize::new(key(order), payer, Channel::InStore, Yen::new(1_980))
}

/// Who buys in which order: a stride prime to the number of customers visits all of them, as caches do not guess.
pub fn visit(order: u32, customers: u32) -> u32 {
    u32::try_from(u64::from(order) * 7_919 % u64::from(customers)).unwrap()
}

//! One purchase on its way, for the benches of the edges: what the register sends, the code it read, what is decided.

#![allow(dead_code, reason = "each of them uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench stops at the first surprise")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use sokketsu::code::{Form, Issuers, Keyring, Minted, mint};
use sokketsu::domain::commands::reply::Reply;
use sokketsu::domain::commands::request::Request;
use sokketsu::domain::commands::{Ruling, dispatch};
use sokketsu::domain::model::ids::Handle;
use sokketsu::domain::model::order::Told;
use sokketsu::domain::model::request::{Proof, Scanned};
use sokketsu::domain::model::time::{Millis, Now};
use sokketsu::domain::state::event::Event;
use sokketsu::engine::outlet::{Answered, Stages};
use sokketsu::engine::times::Times;

use super::shop::{START, purchase, with_codes};

/// The head of an authorization as the load generator sends it.
pub const HEAD: &str = "POST /v1/authorizations HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
                        Authorization: Bearer sandbox-register\r\nContent-Type: application/json\r\nContent-Length: 365\r\n\r\n";

/// Its body, with every field that registers send.
pub const BODY: &str = "{\"order_id\":\"R-000000001001\",\"code\":\"900099991314159265005632\",\"amount\":1980,\
                        \"currency\":\"JPY\",\"merchant\":{\"id\":\"mrc_konbini\",\"store_id\":\"S001\",\
                        \"terminal_id\":\"T01\"},\"capture\":true,\"entry_mode\":\"barcode\",\
                        \"requested_at\":\"2026-11-23T17:45:01+09:00\",\"deadline_ms\":1000,\"confirm_repeat\":false,\
                        \"items\":[{\"name\":\"onigiri\",\"category\":\"food\",\"quantity\":1,\"unit_price\":1980}]}";

/// What [`BODY`]'s code is told to be.
pub fn scanned(_: &str) -> Scanned {
    Scanned::Sealed { handle: Handle::new(314_159_265).unwrap(), proof: Proof::Barcode { epoch: 1 } }
}

/// The texts of a live code of [`START`].
pub fn minted(keys: &Keyring, issuers: &Issuers) -> Minted {
    let issuer = issuers.issuer(Form::L24).unwrap();
    mint(keys, keys.active(), &issuer, Handle::new(314_159_265).unwrap(), START, 300, 7, 0xA1B2_C3D4).ok().unwrap()
}

/// An approval: its fact, and what its answer tells.
pub fn approval() -> (Event, Told) {
    let (mut state, now) = (with_codes(1), Now::at(Millis(START + 1_000)));
    let request = Request::Authorize { input: Arc::new(purchase(0, 1_001)), throttled: false, sealed_by: None };
    let Ruling::Record(event, answer) = dispatch(&state, &request, &now, 0, &mut || 7) else { panic!("a new order") };
    state.apply(&event, &now);
    match answer(&state, &event, &now) {
        Reply::Decision { order, replayed: false } => (event, order),
        other => panic!("not a decision: {other:?}"),
    }
}

/// The times of an authorization that was read and verified within these, and decided.
pub fn decided_within(received: Instant, parse: Duration, verify: Duration) -> Times {
    let (_, order) = approval();
    let reply = Reply::Decision { order, replayed: false };
    let mut times = Times::since(received);
    times.parsed(received + parse);
    times.asked(received + parse + verify);
    times.answered(&Answered { reply, now: Now::at(Millis(START)), stages: Stages::default() });
    times
}

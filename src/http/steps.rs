//! Steps of an authorization that need neither a connection nor a caller, one by one: what benches count.
//! The calls take the same steps; `connection`, `call` and `authorizations` put them in order.

use std::time::Instant;

use bytes::Bytes;

use super::answer::{Answer, Body};
use super::calls::authorizations;
use super::decision::Decision;
use super::framing;
use super::problem::Problem;
use super::timing;
use crate::domain::model::order::Told;
use crate::domain::model::request::{Authorize, Scanned};
use crate::domain::model::time::Millis;
use crate::engine::times::Times;

/// A body into the question for the engine. `verify` judges the text that was scanned.
pub fn read_authorization(body: &[u8], verify: impl FnOnce(&str) -> Scanned) -> Result<Authorize, Problem> {
    authorizations::read_input(body, |_, _| Ok(()), verify).map(|(input, _)| input)
}

/// A decision into the body of its answer.
pub fn write_decision(order: &Told, replayed: bool, now: Millis) -> Result<Bytes, Problem> {
    match Answer::ok(&Decision::answered(order, replayed, now))?.body {
        Body::Whole(bytes) => Ok(bytes.unwrap_or_default()),
        Body::Stream(_) => Err(Problem::internal()),
    }
}

/// The `Server-Timing` of a call that is answered now. It also counts the stages of a decision.
pub fn write_timing(times: &Times, now: Instant) -> Option<String> {
    timing::server_timing(times, now)
}

/// Follows the bytes of one connection, read by read, and answers how many requests must be refused.
pub fn watch<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> usize {
    framing::refused(reads)
}

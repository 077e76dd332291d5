//! The pure core: no runtime, no clock, no I/O, no randomness of its own, no order that depends on a hash map.
//!
//! Four floors; what stands on one knows only those below it. From the ground up:
//!
//! 1. [`model`]: the vocabulary: ids, money, time, orders, codes, reasons, policy.
//! 2. [`billing`]: what a customer owes, as functions of the story and the time.
//! 3. [`state`]: everything the engine knows, and `apply`, the only function that changes it, by [`state::event`].
//! 4. [`commands`]: a request in, a fact to record or an answer out.

pub mod billing;
pub mod commands;
pub mod model;
pub mod state;

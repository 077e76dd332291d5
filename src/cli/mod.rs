//! The commands.

pub mod cluster;
pub mod keys;
pub mod ledger;
pub mod sandbox;
pub mod serve;
mod sums;
pub mod verify;

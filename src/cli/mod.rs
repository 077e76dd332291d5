//! The commands.

pub mod backtest;
pub mod cluster;
pub mod keys;
pub mod ledger;
pub mod policy_diff;
pub mod sandbox;
pub mod serve;
mod sums;
pub mod verify;

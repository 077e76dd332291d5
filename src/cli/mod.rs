//! The commands.

pub mod backtest;
pub mod cluster;
pub mod explain;
pub mod keys;
pub mod ledger;
#[cfg(test)]
mod on_disk_tests;
pub mod policy_diff;
pub mod sandbox;
pub mod serve;
mod sums;
pub mod verify;
pub mod whole;

//! The commands.

pub mod keys;
pub mod sandbox;
pub mod serve;
mod sums;
pub mod verify;

//! The commands.

pub mod keys;
pub mod sandbox;
pub mod serve;
pub mod verify;

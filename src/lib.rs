//! Sokketsu (即決): the authorizer behind in-store code payments.
pub mod clock;
pub mod code;
pub mod config;
pub mod domain;
pub mod engine;
mod files;
mod hex;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod metrics;
pub mod server;

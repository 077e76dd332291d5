//! Sokketsu (即決): the authorizer behind in-store code payments.
pub mod clock;
pub mod code;
pub mod domain;
pub mod engine;
mod files;
pub mod journal;
pub mod ledger;
pub mod metrics;
pub mod server;

//! Sokketsu (即決): the authorizer behind in-store code payments of a buy-now-pay-later issuer.
//!
//! The tour, in reading order:
//!
//! 1. [`domain`]: what a purchase is and how it is judged: pure, no I/O.
//! 2. [`code`]: the barcode and QR on the customer's screen.
//! 3. [`journal`]: facts in order, durable before they are answered.
//! 4. [`ledger`]: the books, written behind; the checkpoint of a start.
//! 5. [`engine`]: the one owner of all accounts, and how it comes back.
//! 6. [`net`], [`http`], [`link`]: the doors: sockets, calls over HTTP, the network's messages ([`iso8583`]).
//! 7. [`config`], [`clock`], [`metrics`]: their surroundings. [`cli`]: the commands, which put it all together.
//!
//! Where to find what: `docs/ARCHITECTURE.md`.
//!
//! Tenets, in this order: never lose an answered decision; never approve above a limit; never charge twice;
//! answer fast; stay readable.

pub mod cli;
pub mod clock;
pub mod code;
pub mod config;
pub mod database;
pub mod domain;
pub mod engine;
mod files;
mod hex;
pub mod http;
pub mod iso8583;
pub mod journal;
pub mod ledger;
pub mod link;
pub mod metrics;
mod migrations;
pub mod net;

#[cfg(test)]
#[path = "../tests/postgres/mod.rs"]
mod postgres_server;

//! Sokketsu (即決): the authorizer behind in-store code payments of a buy-now-pay-later issuer.
//!
//! The tour, in reading order:
//!
//! 1. [`domain`]: what a purchase is and how it is judged: pure, no I/O.
//! 2. [`code`]: the barcode and QR on the customer's screen.
//! 3. [`journal`]: facts in order, durable before they are answered.
//! 4. [`ledger`]: the books, written behind; the checkpoint of a start.
//! 5. [`engine`]: the one owner of all accounts, and how it comes back.
//! 6. [`server`]: the HTTP edge.
//! 7. [`serve`], [`sandbox`], [`tools`], [`keys`]: the commands. [`config`], [`clock`], [`metrics`]: their
//!    surroundings.
//!
//! Tenets, in this order: never lose an answered decision; never approve above a limit; never charge twice;
//! answer fast; stay readable.

pub mod clock;
pub mod code;
pub mod config;
pub mod domain;
pub mod engine;
mod files;
mod hex;
pub mod iso8583;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod metrics;
pub mod sandbox;
pub mod serve;
pub mod server;
pub mod tools;

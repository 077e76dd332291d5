//! The pure core: no runtime, no clock, no I/O, no randomness of its own, no order that depends on a hash map.
//!
//! Read in this order: [`request`] (what is asked), [`decide`] (the ladder), [`event`] (what becomes a fact),
//! [`state`] (`apply`, the only mutator), [`rule`] (request in, answer out).

pub mod account;
pub mod advice;
pub mod bill;
pub mod bounds;
pub mod changes;
mod chunks;
mod claims;
pub mod codes;
pub mod debts;
pub mod decide;
pub mod denial;
mod describe;
pub mod draft;
pub mod enroll;
pub mod event;
#[cfg(test)]
pub mod history;
pub mod ids;
mod index;
pub mod jst;
pub mod ladder;
pub mod lateness;
pub mod load;
pub mod look_ahead;
pub mod merchant;
pub mod moment;
pub mod money;
mod news;
pub mod next_step;
pub mod notes;
pub mod office;
pub mod order_book;
pub mod orders;
pub mod policy;
mod reason;
pub mod receipts;
pub mod request;
pub mod rule;
pub mod sale_words;
pub mod settings;
pub mod settle;
pub mod spare;
pub mod standing;
pub mod state;
pub mod terms;
pub mod undo;
pub mod wording;

//! What a customer owes: bills, lateness, money against bills, limits and their ladder.

pub mod account;
mod adjusted;
pub mod adjustments;
pub mod bill;
pub mod changes;
pub mod debts;
mod difference;
pub mod draft;
pub mod effects;
pub mod fold;
pub mod ladder;
pub mod lateness;
pub mod moment;
pub mod notes;
pub mod notices;
pub mod outflows;
pub mod posted;
mod replay;
mod reversal;
mod rolled_back;
pub mod settlement;
pub mod standing;
mod steps;
pub mod stories;
pub mod sums;
pub mod telling;
pub mod whereabouts;

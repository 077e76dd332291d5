//! Money that left the books: payouts, and repayments that were taken back; and payouts that the bank sent back.

use super::sums::Money;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::time::{Date, Millis};

/// One money's part of what left, or came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outflow {
    pub money: Money,
    pub amount: Yen,
    /// Of `amount`: was owed to the customer in cash before.
    pub due: Yen,
    pub at: Millis,
    /// The record that says so.
    pub fact: Lsn,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    PaidOut,
    /// The payout of this record came back.
    Bounced(Lsn),
    /// The money of this record had been booked by mistake.
    Reversed(Lsn),
}

impl Outflow {
    /// News of a payment that reaches further back leaves it as it was made; `news_from` is from when provisional news
    /// counts.
    pub fn is_kept(&self, today: Date, news_from: Option<Millis>) -> bool {
        /// Days.
        const KEPT: i64 = 92;
        today.day() <= self.at.day() + KEPT || news_from.is_some_and(|from| from <= self.at)
    }
}

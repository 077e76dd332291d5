//! The steps of a fold.

use super::adjustments::Adjustment;
use super::outflows::Outflow;
use super::posted::Posted;
use super::sums::Money;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::time::{Millis, Now};

/// What happens to money at one moment.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A bill is there, by this record, and what is free meets it.
    Issued(BillKey, Lsn),
    Came(Money, Yen),
    Refunded(BillKey, Money),
    Damages(BillKey, Posted),
    Adjusted(BillKey, Adjustment),
    PaidOut(Lsn, Payout),
    /// A payout came back: these parts, where the account does not remember it any more.
    Bounced {
        fact: Lsn,
        payout: Lsn,
        told: Vec<Outflow>,
    },
    Reversed {
        fact: Lsn,
        of: Lsn,
        amount: Yen,
    },
}

/// A payout: of these sums, which were owed in cash, and so much else.
#[derive(Clone, Debug, Default)]
pub(super) struct Payout {
    pub due: Vec<(Money, Yen)>,
    pub other: Yen,
}

impl Payout {
    pub fn of(parts: &[Outflow]) -> Self {
        let due = parts.iter().map(|part| (part.money, part.due)).collect();
        Self { due, other: parts.iter().map(|part| part.amount - part.due).sum() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub at: Millis,
    pub what: What,
}

impl Moment {
    pub const fn place(&self) -> (Millis, Lsn) {
        let fact = match &self.what {
            What::Issued(_, fact)
            | What::Damages(_, Posted { fact, .. })
            | What::Adjusted(_, Adjustment { fact, .. })
            | What::PaidOut(fact, _)
            | What::Bounced { fact, .. }
            | What::Reversed { fact, .. } => *fact,
            What::Came(money, _) | What::Refunded(_, money) => money.fact,
        };
        (self.at, fact)
    }
}

/// The moment that is played.
pub(super) struct Then {
    pub now: Now,
    /// Of what happened in this very moment, all up to this record has.
    pub upto: Lsn,
}

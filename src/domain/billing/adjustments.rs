//! What staff did to a bill. News of a payment undoes none of it: at its moment it is done again on what is there then.

use super::posted::{LateFee, Posted};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::time::Millis;

/// One act of staff on a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// Its record.
    pub fact: Lsn,
    pub at: Millis,
    pub what: Adjusted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjusted {
    /// The bill fee is charged no longer.
    BillFeeWaived(Yen),
    /// The late fee of a day is charged no longer, and never again.
    LateFeeWaived(LateFee),
    /// Damages, as they had been posted, are taken back.
    DamagesReversed(Posted),
    /// The bill is given up: fees and damages stop. What is open of it stays open, and blocks.
    WrittenOff,
    /// What is open of a bill that was given up is owed no longer.
    Released,
    /// So much credit was put on a month that was still open.
    CreditApplied(Yen),
}

/// All of one bill, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adjustments(Vec<Adjustment>);

impl Adjustments {
    pub fn as_slice(&self) -> &[Adjustment] {
        &self.0
    }

    pub(super) fn push(&mut self, adjustment: Adjustment) {
        self.0.push(adjustment);
    }

    pub(super) fn limit_applied_credit(&mut self, left: &mut Yen) {
        for adjustment in &mut self.0 {
            if let Adjusted::CreditApplied(amount) = &mut adjustment.what {
                *amount = (*amount).min(*left);
                *left -= *amount;
            }
        }
    }

    /// Takes those off that were made later than `from`.
    pub(super) fn take_later(&mut self, from: Millis) -> Vec<Adjustment> {
        let (later, kept): (Vec<_>, Vec<_>) = self.0.iter().partition(|adjustment| adjustment.at > from);
        self.0 = kept;
        later
    }
}

impl FromIterator<Adjustment> for Adjustments {
    fn from_iter<I: IntoIterator<Item = Adjustment>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

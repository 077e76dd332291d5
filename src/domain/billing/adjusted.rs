//! A bill as staff has changed it.

use super::adjustments::{Adjusted, Adjustment, Adjustments};
use super::bill::{Bill, ChangeKind};
use super::posted::{LateFee, Posted};
use crate::domain::model::time::{Date, Millis};

impl Bill {
    pub fn adjustments(&self) -> &[Adjustment] {
        self.adjustments.as_deref().map_or(&[], Adjustments::as_slice)
    }

    /// The first that is so, of those until a moment.
    fn adjusted<T>(&self, at: Millis, is_so: impl Fn(&Adjustment) -> Option<T>) -> Option<T> {
        self.adjustments().iter().filter(|adjustment| adjustment.at <= at).find_map(is_so)
    }

    /// Takes in what staff did, and what it does to the charges by itself.
    pub(super) fn adjust(&mut self, adjustment: Adjustment) {
        match adjustment.what {
            Adjusted::LateFeeWaived(LateFee { date, .. }) => self.late_fees.retain(|late| late.date != date),
            Adjusted::DamagesReversed(Posted { fact, .. }) => self.damages.retain(|posted| posted.fact != fact),
            Adjusted::BillFeeWaived(_) | Adjusted::WrittenOff | Adjusted::Released | Adjusted::CreditApplied(_) => {}
        }
        self.adjustments.get_or_insert_default().push(adjustment);
    }

    /// Takes those off that were made later than `from`.
    pub(super) fn take_adjustments_off(&mut self, from: Millis) -> Vec<Adjustment> {
        let later = self.adjustments.as_mut().map(|all| all.take_later(from)).unwrap_or_default();
        self.adjustments.take_if(|all| all.as_slice().is_empty());
        later
    }

    pub fn is_bill_fee_waived_by_staff(&self, at: Millis) -> bool {
        self.adjusted(at, |of| matches!(of.what, Adjusted::BillFeeWaived(_)).then_some(())).is_some()
    }

    pub fn is_late_fee_waived(&self, date: Date, at: Millis) -> bool {
        let is_it = |of: &Adjustment| matches!(of.what, Adjusted::LateFeeWaived(late) if late.date == date);
        self.adjusted(at, |of| is_it(of).then_some(())).is_some()
    }

    /// When the bill was given up, if it was by `at`.
    pub fn written_off_at(&self, at: Millis) -> Option<Millis> {
        self.adjusted(at, |of| (of.what == Adjusted::WrittenOff).then_some(of.at))
    }

    /// Credit that was put on the month while it was open covers no more than is left of its purchases, also of those that
    /// come later: what was put on last is credit again.
    pub(super) fn limit_applied_credit(&mut self) {
        let mut left = self.principal_at_issue();
        if let Some(adjustments) = &mut self.adjustments {
            adjustments.limit_applied_credit(&mut left);
        }
    }

    /// When money, a refund or staff last changed it.
    pub(super) fn latest(&self) -> Option<Millis> {
        let changed = self.changes.as_slice().last().map(|change| change.at);
        changed.max(self.adjustments().last().map(|adjustment| adjustment.at))
    }

    /// When a refund or staff last lowered what is charged.
    pub(super) fn latest_charged_less(&self) -> Option<Millis> {
        let refunds = self.changes.iter().filter(|change| change.kind == ChangeKind::Refunded).map(|change| change.at);
        refunds.chain(self.adjustments().iter().map(|adjustment| adjustment.at)).max()
    }

    pub(super) fn released_at(&self) -> Option<Millis> {
        self.adjustments().iter().find(|of| of.what == Adjusted::Released).map(|of| of.at)
    }
}

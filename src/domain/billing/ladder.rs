//! The open ladder of limits: what it counts, and when it takes a customer a rung up or down. Every step is in the
//! settlement that brought it, with its reason and the policy's version.

use super::bill::Bill;
use super::draft::Draft;
use super::settlement::{Counted, LadderStep, StepReason};
use crate::domain::model::customer::Record;
use crate::domain::model::payment::BillKey;
use crate::domain::model::terms::LateBill;

impl Draft<'_> {
    /// The ladder takes notice of what was paid: of each bill once, when its principal is.
    pub(super) fn take_notice(&mut self) {
        let by = self.by();
        let settled = |bill: &Bill| {
            let is_settled = bill.is_issued() && !bill.counted && bill.unpaid().is_zero();
            is_settled.then(|| {
                let on_time = bill.open_before(bill.due(&by).plus_days(1).start()).is_zero();
                (on_time, bill.net().is_zero())
            })
        };
        for (key, (on_time, is_empty)) in self.bills_where(settled) {
            self.count(key, on_time, is_empty);
        }
        self.climb();
    }

    /// A bill that refunds emptied was not paid.
    fn count(&mut self, bill: BillKey, on_time: bool, is_empty: bool) {
        self.account.bill_mut(bill).counted = true;
        self.books.counted.push(Counted { bill, on_time });
        let record = &mut self.account.record;
        if on_time {
            record.on_time_bills = record.on_time_bills.saturating_add(u16::from(!is_empty));
            return;
        }
        let rung = self.account.profile.rung;
        match self.rules.policy.terms.lateness.late_bill {
            LateBill::Keep => {}
            LateBill::Down => {
                let to = rung.saturating_sub(1);
                record.on_time_bills = self.rules.policy.rung(to).conditions.on_time_bills;
                self.step(to, StepReason::LateBill);
            }
            LateBill::Reset => {
                self.account.record = Record { latest: record.latest, ..Record::default() };
                self.step(0, StepReason::LateBill);
            }
        }
    }

    fn climb(&mut self) {
        while let Some(next) = self.rules.policy.next_rung(self.account.profile.rung)
            && next.conditions.are_met(&self.account.record)
        {
            self.step(self.account.profile.rung + 1, StepReason::ConditionsMet);
        }
    }

    fn step(&mut self, to: u8, why: StepReason) {
        let from = std::mem::replace(&mut self.account.profile.rung, to);
        if from != to {
            self.books.steps.push(LadderStep { from, to, why, policy: self.policy });
        }
    }
}

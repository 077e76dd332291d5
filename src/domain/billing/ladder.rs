//! The open ladder of limits: what it counts, and when it takes a customer a rung up or down. Every step is in the
//! settlement that brought it, with its reason and the policy's version.

use super::bill::{Bill, Lost};
use super::draft::Draft;
use super::settlement::{Counted, LadderStep, StepReason};
use crate::domain::model::customer::Record;
use crate::domain::model::payment::BillKey;
use crate::domain::model::terms::LateBill;

impl Draft<'_> {
    /// The ladder takes notice of what was paid: of each bill once, when its principal is; and again if news says that it
    /// was not late.
    pub(super) fn take_notice(&mut self) {
        let by = self.by();
        let settled = |bill: &Bill| {
            let is_in_question = !bill.counted || bill.lost.is_some();
            let is_settled = bill.is_issued() && is_in_question && bill.unpaid().is_zero();
            is_settled.then(|| {
                let on_time = bill.open_before(bill.due(&by).plus_days(1).start()).is_zero();
                (on_time, bill.net().is_zero(), bill.lost.as_deref().copied())
            })
        };
        for (key, (on_time, is_empty, lost)) in self.bills_where(settled) {
            match lost {
                Some(lost) if on_time => self.give_back(key, &lost),
                Some(_) => {}
                None => self.count(key, on_time, is_empty),
            }
        }
        self.climb();
    }

    /// A bill that refunds emptied was not paid.
    fn count(&mut self, bill: BillKey, on_time: bool, is_empty: bool) {
        let record = &mut self.account.record;
        let before = *record;
        let from = self.account.profile.rung;
        let mut to = from;
        if on_time {
            record.on_time_bills = record.on_time_bills.saturating_add(u16::from(!is_empty));
        } else {
            match self.rules.terms.on(self.now.date).lateness.late_bill {
                LateBill::Keep => {}
                LateBill::Down => {
                    to = from.saturating_sub(1);
                    record.on_time_bills = self.rules.policy.rung(to).conditions.on_time_bills;
                }
                LateBill::Reset => {
                    to = 0;
                    *record = Record { latest: record.latest, ..Record::default() };
                }
            }
        }
        let after = self.account.record;
        self.step(to, StepReason::LateBill);
        let lost = (!on_time).then_some(Lost { from, to, before, after });
        self.note(Counted { bill, on_time, lost: lost.filter(|_| (from, before) != (to, after)) });
    }

    /// The bill had been paid in time: what being late has cost comes back, beside all that was earned since.
    fn give_back(&mut self, bill: BillKey, lost: &Lost) {
        let Lost { from, to, before, after } = *lost;
        let record = &mut self.account.record;
        let restored = |now: u16, before: u16, after: u16| now.saturating_add(before.saturating_sub(after));
        record.on_time_bills =
            restored(record.on_time_bills, before.on_time_bills, after.on_time_bills).saturating_add(1);
        record.purchases = restored(record.purchases, before.purchases, after.purchases);
        record.months_active = restored(record.months_active, before.months_active, after.months_active);
        let rung = self.account.profile.rung;
        self.step(rung.max(from.min(rung.saturating_add(from - to))), StepReason::LateBillUndone);
        self.note(Counted { bill, on_time: true, lost: None });
    }

    fn note(&mut self, counted: Counted) {
        let bill = self.account.bill_mut(counted.bill);
        (bill.counted, bill.lost) = (true, counted.lost.map(Box::new));
        self.counted.push(counted);
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
            self.steps.push(LadderStep { from, to, why, policy: self.policy });
        }
    }
}

//! The open ladder of limits: what it counts, and when it takes a customer a rung up or down. Every step is in the
//! settlement that brought it, with its reason and the policy's version.

use super::bill::{Bill, Lost};
use super::draft::Draft;
use super::settlement::{Counted, LadderStep, StepReason};
use crate::domain::model::customer::Record;
use crate::domain::model::payment::BillKey;
use crate::domain::model::terms::LateBill;
use crate::domain::model::time::Millis;

/// So much more, as it should have been more than it was.
fn restored(now: u8, should: u8, was: u8) -> u8 {
    now.saturating_add(should.saturating_sub(was))
}

fn restored_record(now: Record, should: Record, was: Record) -> Record {
    let restored = |now: u16, should: u16, was: u16| now.saturating_add(should.saturating_sub(was));
    Record {
        on_time_bills: restored(now.on_time_bills, should.on_time_bills, was.on_time_bills),
        purchases: restored(now.purchases, should.purchases, was.purchases),
        months_active: restored(now.months_active, should.months_active, was.months_active),
        latest: now.latest,
    }
}

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
        if on_time {
            let record = &mut self.account.record;
            record.on_time_bills = record.on_time_bills.saturating_add(u16::from(!is_empty));
            return self.note(Counted { bill, on_time, lost: None });
        }
        let before = self.account.record;
        let lost = self.late(self.now.at, self.account.profile.rung, before);
        self.account.record = lost.after;
        self.step(lost.to, StepReason::LateBill);
        let costs = self.rules.terms.on(self.now.date).lateness.late_bill != LateBill::Keep;
        self.note(Counted { bill, on_time, lost: costs.then_some(lost) });
    }

    /// What a late bill costs that the ladder takes notice of at a moment.
    fn late(&self, at: Millis, from: u8, before: Record) -> Lost {
        let (to, after) = match self.rules.terms.on(at.date()).lateness.late_bill {
            LateBill::Keep => (from, before),
            LateBill::Down => {
                let to = from.saturating_sub(1);
                (to, Record { on_time_bills: self.rules.policy.rung(to).conditions.on_time_bills, ..before })
            }
            LateBill::Reset => (0, Record { latest: before.latest, ..Record::default() }),
        };
        Lost { at, from, to, before, after }
    }

    /// The bill had been paid in time: what being late has cost comes back, beside all that was earned since. Bills that
    /// were late after it cost what they would have cost without it.
    fn give_back(&mut self, bill: BillKey, lost: &Lost) {
        let was_late = |other: &Bill| other.lost.as_deref().copied().filter(|_| other.key != bill);
        let mut later = self.bills_where(was_late);
        later.retain(|(_, other)| other.at > lost.at);
        later.sort_by_key(|(_, other)| other.at);
        let on_time = |record: Record| Record { on_time_bills: record.on_time_bills.saturating_add(1), ..record };
        // Where the customer was from then on, and where the customer would have been.
        let (mut was, mut is) = ((lost.to, lost.after), (lost.from, on_time(lost.before)));
        for (key, other) in later {
            let from = restored(other.from, is.0, was.0);
            let cost = self.late(other.at, from, restored_record(other.before, is.1, was.1));
            (was, is) = ((other.to, other.after), (cost.to, cost.after));
            self.note(Counted { bill: key, on_time: false, lost: Some(cost) });
        }
        self.account.record = restored_record(self.account.record, is.1, was.1);
        let rung = self.account.profile.rung;
        self.step(rung.max(is.0.min(restored(rung, is.0, was.0))), StepReason::LateBillUndone);
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

//! What happens at each moment of a fold: bills are issued, money comes and meets them, refunds and waivers set money free,
//! damages are posted, money leaves the books and comes back.

use std::sync::Arc;

use super::adjustments::{Adjusted, Adjustment};
use super::bill::{Bill, Change, ChangeKind, Posted};
use super::fold::Fold;
use super::outflows::{Outflow, Why};
use super::steps::{Moment, Payout, Then, What};
use super::sums::{Money, Sum};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line, Lines};
use crate::domain::model::time::{Millis, Now};

impl Fold<'_> {
    pub(super) fn moment(&self, at: Millis) -> Now {
        if at < self.now.at { Now::at(at) } else { *self.now }
    }

    pub(super) fn play(&mut self, moment: Moment) {
        let (_, upto) = moment.place();
        let Moment { at, what } = moment;
        let then = Then { now: self.moment(at), upto };
        match what {
            What::Issued(key, _) => {
                self.issue(key, &then);
                self.meet(key, &then);
            }
            What::Came(money, amount) => {
                // Later, as credit, it is like any other.
                let lines = if money.on_old_slip { Line::PRINCIPAL_FIRST } else { Line::FEES_FIRST };
                self.place((money, amount), lines, &then);
            }
            What::Refunded(key, money) => self.free(key, money, &then),
            What::Damages(key, posted) => {
                self.post_damages(key, posted, &then);
                self.meet(key, &then);
            }
            What::Adjusted(key, adjustment) => self.adjust(key, adjustment, &then),
            What::PaidOut(fact, payout) => self.pay_out(fact, &payout, at),
            What::Bounced { fact, payout, told } => self.bounce((fact, payout), told, &then),
            What::Reversed { fact, of, amount } => self.reverse((fact, of), amount, &then),
        }
    }

    /// A payout stays as it was made. What of it was owed in cash is of the same sums, as far as they are free.
    fn pay_out(&mut self, fact: Lsn, payout: &Payout, at: Millis) {
        let debt = self.account.debt_mut();
        let mut parts = Vec::new();
        let mut other = payout.other;
        for (money, amount) in &payout.due {
            let due = debt.sums.find(*money).map_or(Yen::ZERO, |sum| sum.amount).min(*amount);
            debt.sums.take(*money, due, Yen::ZERO);
            parts.push((*money, due, due));
            other += *amount - due;
        }
        parts.extend(debt.sums.take_oldest(other).into_iter().map(|(money, amount)| (money, amount, Yen::ZERO)));
        for (money, amount, due) in parts.into_iter().filter(|(_, amount, _)| !amount.is_zero()) {
            debt.add_outflow(Outflow { money, amount, due, at, fact, why: Why::PaidOut });
        }
    }

    /// A payout came back: its money is there again, with the days that it had, and meets what is owed by now.
    fn bounce(&mut self, (fact, payout): (Lsn, Lsn), told: Vec<Outflow>, then: &Then) {
        self.covered = 0;
        let debt = self.account.debt_mut();
        let known: Vec<Outflow> = debt.payout(payout).copied().collect();
        for part in if known.is_empty() { told } else { known } {
            let money = part.money.or_named(fact);
            let back = Outflow { money, due: Yen::ZERO, at: then.now.at, fact, why: Why::Bounced(payout), ..part };
            self.account.debt_mut().add_outflow(back);
            self.place((money, part.amount), Line::FEES_FIRST, then);
        }
    }

    /// Staff changes a bill. What had been paid of a charge that is taken back is free.
    fn adjust(&mut self, key: BillKey, adjustment: Adjustment, then: &Then) {
        self.covered = 0;
        match adjustment.what {
            Adjusted::BillFeeWaived(_) => self.take_charge_back(key, adjustment, Line::BillFee, then),
            Adjusted::LateFeeWaived(_) => self.take_charge_back(key, adjustment, Line::LateFees, then),
            Adjusted::DamagesReversed(_) => self.take_charge_back(key, adjustment, Line::Damages, then),
            Adjusted::WrittenOff => self.account.bill_mut(key).adjust(adjustment),
            Adjusted::Released => {
                let owed = self.account.place(key).ok().and_then(|bill| self.owed(bill, then)).unwrap_or_default();
                let money = Money { fact: adjustment.fact, ..Money::own(then.now.at) };
                let bill = self.account.bill_mut(key);
                bill.changes.set_released(Change { at: then.now.at, kind: ChangeKind::Released, money, lines: owed });
                bill.adjust(adjustment);
            }
            Adjusted::CreditApplied(amount) => {
                self.apply_credit(key, amount, then);
                self.account.bill_mut(key).adjust(adjustment);
            }
        }
    }

    fn take_charge_back(&mut self, key: BillKey, adjustment: Adjustment, line: Line, then: &Then) {
        self.account.bill_mut(key).adjust(adjustment);
        let Some(bill) = self.account.listed_bill(key) else { return };
        let charged = Lines {
            late_fees: self.late_fees(bill, &then.now).iter().map(|late| late.amount).sum(),
            ..bill.charged_until(&self.by(), &then.now, then.upto)
        };
        let over = Lines::of(line, bill.covered().minus_or_zero(&charged).get(line));
        self.take_off(key, Money { fact: adjustment.fact, ..Money::own(then.now.at) }, over, then);
    }

    /// Credit lowers what a month that is still open will bill, the oldest first.
    fn apply_credit(&mut self, key: BillKey, most: Yen, then: &Then) {
        let bill = self.account.bill_mut(key);
        // What an older version's credit was put there stays: it is not taken off to be played again.
        let stays = |change: &&Change| change.at == then.now.at && !change.money.is_known();
        let there: Yen = bill.changes.iter().filter(stays).map(|change| change.lines.principal).sum();
        // What was refunded since had been bought by then.
        let bought = bill.net() + bill.changes.refunded_after(then.now.at, then.upto);
        let covered = bill.changes.covered_of(Line::Principal);
        let mut left = bought.minus_or_zero(covered).min(most.minus_or_zero(there));
        let sums: Vec<Sum> = self.account.sums().to_vec();
        for Sum { money, amount, .. } in sums {
            let part = amount.min(left);
            if part.is_zero() {
                return;
            }
            left -= part;
            self.account.debt_mut().sums.take(money, part, Yen::ZERO);
            let lines = Lines::of(Line::Principal, part);
            let change = Change { at: then.now.at, kind: ChangeKind::Paid, money, lines };
            self.account.bill_mut(key).changes.add(change);
        }
    }

    /// A month that has closed gets its bill; one that was recorded keeps it.
    fn issue(&mut self, key: BillKey, then: &Then) {
        let by = self.by();
        let bill = self.account.bill_mut(key);
        if !bill.is_issued() {
            bill.fee = Some(bill.bill_fee(&by, &then.now));
            bill.due = Some(bill.due(&by));
            bill.billed_by = Some(bill.method(&by));
        }
    }

    /// What is free meets a bill, the oldest money first.
    fn meet(&mut self, key: BillKey, then: &Then) {
        let sums: Vec<Sum> = self.account.sums().to_vec();
        let Ok(bill) = self.account.place(key) else { return };
        for Sum { money, amount, .. } in sums {
            let left = self.put_on(bill, (money, amount), Line::FEES_FIRST, then);
            self.account.debt_mut().sums.take(money, amount - left, Yen::ZERO);
            if !left.is_zero() {
                return;
            }
        }
    }

    /// Money meets the bills that stand, the oldest due date first; the rest is free.
    pub(super) fn place(&mut self, (money, amount): (Money, Yen), lines: [Line; 4], then: &Then) {
        let mut left = amount;
        for place in self.covered..self.order.len() {
            let Some((_, _, bill)) = self.order.get(place).copied().filter(|_| !left.is_zero()) else { break };
            let stands = |bill: &Bill| bill.is_issued() && (bill.issued_at, bill.issued_by) <= (then.now.at, then.upto);
            if !self.account.listed_bills().get(bill).is_some_and(|bill| stands(bill)) {
                continue;
            }
            left = self.put_on(bill, (money, left), lines, then);
            // With money left, it has taken all that it takes: its principal is paid, so no later fee day adds to it.
            if place == self.covered && !left.is_zero() {
                self.covered += 1;
            }
        }
        if !left.is_zero() {
            self.account.debt_mut().sums.add(money, left, Yen::ZERO);
        }
    }

    /// Puts money on one bill, as far as it goes; what is left is given back. What is owed is judged as of then.
    fn put_on(&mut self, bill: usize, (money, amount): (Money, Yen), order: [Line; 4], then: &Then) -> Yen {
        let Some(owed) = self.owed(bill, then) else { return amount };
        let mut left = amount;
        let mut lines = Lines::default();
        for line in order {
            let part = owed.get(line).min(left);
            *lines.get_mut(line) = part;
            left -= part;
        }
        if lines != Lines::default() {
            let change = Change { at: then.now.at, kind: ChangeKind::Paid, money, lines };
            if let Some(bill) = self.account.debt.as_mut().and_then(|debt| debt.bills.get_mut(bill)) {
                Arc::make_mut(bill).changes.add(change);
            }
        }
        left
    }

    /// What is owed on a bill at a moment; none of one that was paid before it was late.
    fn owed(&self, bill: usize, then: &Then) -> Option<Lines> {
        let by = self.by();
        let bill = self.account.listed_bills().get(bill)?;
        let paid = bill.covered();
        let charged = bill.charged_until(&by, &then.now, then.upto);
        let owed = charged.minus_or_zero(&paid);
        if then.now.date <= bill.due? {
            return (owed != Lines::default()).then_some(owed);
        }
        let late_fees = self.late_fees(bill, &then.now).iter().map(|late| late.amount).sum();
        Some(Lines { late_fees, ..charged }.minus_or_zero(&paid))
    }

    /// A refund took a part of a bill away: what had been paid of it is free.
    fn free(&mut self, key: BillKey, money: Money, then: &Then) {
        let by = self.by();
        let Some(bill) = self.account.listed_bill(key) else { return };
        let over = bill.covered().minus_or_zero(&bill.charged_until(&by, &then.now, then.upto));
        self.take_off(key, money, Lines { late_fees: Yen::ZERO, damages: Yen::ZERO, ..over }, then);
    }

    pub(super) fn take_off(&mut self, key: BillKey, money: Money, lines: Lines, then: &Then) {
        let lines = self.release_less(key, lines);
        if lines != Lines::default() {
            let change = Change { at: then.now.at, kind: ChangeKind::Freed, money, lines };
            self.account.bill_mut(key).changes.add(change);
            self.place((money, lines.total()), Line::FEES_FIRST, then);
        }
    }

    /// What was released and is charged no longer was never paid, so nothing of it is free. Gives back the rest.
    fn release_less(&mut self, key: BillKey, lines: Lines) -> Lines {
        let release = self.account.listed_bill(key).and_then(|bill| bill.changes.released().next().copied());
        let Some(release) = release.filter(|_| lines != Lines::default()) else { return lines };
        let less = lines.at_most(&release.lines);
        let lines_left = release.lines.minus_or_zero(&less);
        self.account.bill_mut(key).changes.set_released(Change { lines: lines_left, ..release });
        lines.minus_or_zero(&less)
    }

    /// Damages are posted at most as far as they had accrued. Afterwards money may be owed again on a bill that was paid.
    fn post_damages(&mut self, key: BillKey, posted: Posted, then: &Then) {
        self.covered = 0;
        let by = self.by();
        let Some(bill) = self.account.listed_bill(key) else { return };
        let most = bill.damages_accrued(&by, &then.now).minus_or_zero(bill.damages_posted());
        let amount = posted.amount.min(most);
        if !amount.is_zero() {
            self.account.bill_mut(key).damages.push(Posted { amount, ..posted });
        }
    }
}

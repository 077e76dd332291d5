//! Staff corrects something on both sides.

use super::act::Part;
use super::bill::Bill;
use super::books::Fact;
use super::calendar::{civil, day_of};
use super::play::{Checked, Payment, Play, check};
use sokketsu::domain::commands::refusal::Refusal;

impl Play {
    fn correct(&mut self, who: usize, name: &'static str, fact: Fact) {
        *self.done.by_name.entry(name).or_default() += 1;
        self.hear(who, self.now, fact);
    }

    pub(super) fn bounce(&mut self, who: usize, pick: usize) {
        let Some(at) = pick.checked_rem(self.told[who].payouts.len()) else { return };
        let (payout, id) = self.told[who].payouts.remove(at);
        self.product.bounce(who, id, self.now);
        self.correct(who, "payouts come back", Fact::Bounced { payout });
    }

    /// At most what lies on lines, in credit or is due, part by part; all that is left, if nothing is said.
    pub(super) fn reverse(&mut self, who: usize, pick: usize, part: Part) -> Checked {
        let Some(at) = pick.checked_rem(self.told[who].payments.len()) else { return Ok(()) };
        let Payment { fact: of, id, amount: whole, taken_back } = self.told[who].payments[at];
        let there = whole - taken_back;
        let amount = if matches!(part, Part::All) { there } else { part.of(whole).max(1) };
        let left = self.books(who).0.reversible(of).min(there);
        let expected = if amount > whole {
            Err("more than it was".to_owned())
        } else if amount > left || amount == 0 {
            Err(format!("{left} are left"))
        } else {
            Ok(())
        };
        let told = if matches!(part, Part::All) { None } else { Some(amount) };
        let reversal = self.id();
        let answer = self.product.reverse(who, (reversal, id), told, self.now).map_err(|refusal| match refusal {
            Refusal::OverRepayment { .. } => "more than it was".to_owned(),
            Refusal::AlreadyPaidOut { left, .. } => format!("{} are left", left.get()),
            other => format!("{other:?}"),
        });
        check(answer == expected, || {
            format!("C{who}: a reversal of {amount} is {answer:?}, by the model {expected:?}")
        })?;
        if answer.is_ok() {
            self.told[who].payments[at].taken_back += amount;
            self.correct(who, "repayments taken back", Fact::Reversed { of, amount });
        }
        Ok(())
    }

    /// While there is news of a payment, the product takes a late fee that is waived for waived from the first fact of that
    /// millisecond on.
    pub(super) fn waive(&mut self, who: usize, pick: usize) {
        self.now += 1;
        let books = self.books(who).0;
        let fees_of = |bill: &Bill| {
            let late = bill.fee_days.iter().filter(|day| !bill.waived_days.contains(day)).map(|day| Some(*day));
            (bill.charged.bill_fee > 0).then_some(None).into_iter().chain(late).collect::<Vec<_>>()
        };
        let fees: Vec<_> =
            books.bills.iter().flat_map(|bill| fees_of(bill).into_iter().map(move |late| (bill, late))).collect();
        let Some(at) = pick.checked_rem(fees.len()) else { return };
        let (bill, late) = fees[at];
        self.product.waive(who, self.name(who, bill), late, self.now);
        let bill = bill.key;
        self.correct(who, "fees waived", Fact::Waived { bill, late });
    }

    /// Of a posting that news has taken back there is nothing left.
    pub(super) fn reverse_damages(&mut self, who: usize, pick: usize) -> Checked {
        let Some(at) = pick.checked_rem(self.told[who].postings.len()) else { return Ok(()) };
        let (posting, id, bill) = self.told[who].postings[at];
        let left = self.books(who).0.bill(bill).map_or(0, |bill| bill.posted_by(posting));
        let answer = self.product.reverse_damages(who, id, self.now);
        check(answer.is_ok() == (left > 0), || format!("C{who}: a reversal of {left} yen of damages is {answer:?}"))?;
        if answer.is_ok() {
            self.told[who].postings.remove(at);
            self.correct(who, "damages taken back", Fact::DamagesReversed { bill, posting });
        }
        Ok(())
    }

    /// A bill is given up once, and only if something of it is owed.
    pub(super) fn write_off(&mut self, who: usize, pick: usize) -> Checked {
        let books = self.books(who).0;
        let Some(at) = pick.checked_rem(books.bills.len()) else { return Ok(()) };
        let (bill, id) = (&books.bills[at], self.id());
        let expected = bill.owed() > 0 && !bill.is_written_off;
        let answer = self.product.write_off(who, id, self.name(who, bill), self.now);
        check(answer.is_ok() == expected, || format!("C{who}: giving up {bill:?} is {answer:?}"))?;
        if answer.is_ok() {
            let bill = bill.key;
            self.told[who].write_offs.push((id, bill));
            self.correct(who, "given up", Fact::WrittenOff { bill });
        }
        Ok(())
    }

    pub(super) fn release(&mut self, who: usize, pick: usize) -> Checked {
        let Some(at) = pick.checked_rem(self.told[who].write_offs.len()) else { return Ok(()) };
        let (id, bill) = self.told[who].write_offs[at];
        let owed = self.books(who).0.bill(bill).map_or(0, Bill::owed);
        let answer = self.product.release(who, id, self.now);
        check(answer.is_ok() == (owed > 0), || format!("C{who}: a release of {owed} yen is {answer:?}"))?;
        if answer.is_ok() {
            self.told[who].write_offs.remove(at);
            self.correct(who, "released", Fact::Released { bill });
        }
        Ok(())
    }

    /// Of free money, at most what the month has used and credit does not cover yet.
    pub(super) fn apply_credit(&mut self, who: usize, part: Part) -> Checked {
        let books = self.books(who).0;
        let (free, used) = (books.credit() + books.payout_due(), books.open_usage(&self.customers[who], self.now));
        let (amount, id) = (part.of(free.min(used)).max(1), self.id());
        let month = civil(day_of(self.now)).0;
        let answer = self.product.apply_credit(who, id, (month, amount), self.now);
        check(answer.is_ok() == (amount <= free.min(used)), || {
            format!("C{who}: {amount} of {free} yen on a month of {used} is {answer:?}")
        })?;
        if answer.is_ok() {
            self.correct(who, "credit applied", Fact::Applied { amount });
        }
        Ok(())
    }
}

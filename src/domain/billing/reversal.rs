//! Taking back money that was booked by mistake. It counts from its own moment: until then the money had been there.

use std::collections::BTreeSet;

use super::account::Account;
use super::bill::{Bill, Change, ChangeKind};
use super::fold::Fold;
use super::outflows::{Outflow, Why};
use super::steps::Then;
use super::sums::Money;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{Line, Lines};

impl Bill {
    /// What of the money of these records lies on it, less what their reversals have taken back from here.
    fn lies(&self, of: impl Fn(Lsn) -> bool, reversals: impl Fn(Lsn) -> bool) -> Lines {
        let (mut put_on, mut gone) = (Lines::default(), Lines::default());
        for change in self.changes.iter() {
            match change.kind {
                ChangeKind::Paid if of(change.money.fact) => put_on += change.lines,
                ChangeKind::Freed if reversals(change.money.fact) => gone += change.lines,
                _ => {}
            }
        }
        put_on.minus_or_zero(&gone).at_most(&self.paid())
    }

    /// Money that refunds and waivers set free on it, if the money of the record had been put there.
    fn freed_beside(&self, of: Lsn) -> impl Iterator<Item = Money> {
        let had = self.changes.iter().any(|change| change.kind == ChangeKind::Paid && change.money.fact == of);
        let freed = self.changes.iter().filter(move |change| had && change.kind == ChangeKind::Freed);
        freed.map(|change| change.money)
    }
}

impl Account {
    /// How much of the money of a record can be taken back: it lies on bills, is credit or is owed in cash; the rest was
    /// paid out, or taken back before.
    pub fn reversible(&self, of: Lsn) -> Yen {
        let freed = self.freed_beside(of);
        let is_it = |fact: Lsn| fact == of || freed.contains(&fact);
        let free = self.sums().iter().filter(|sum| is_it(sum.money.fact)).map(|sum| sum.amount);
        let gone = |fact: Lsn| self.reversals_of(of).any(|part| part.fact == fact);
        free.sum::<Yen>() + self.listed_bills().iter().map(|bill| bill.lies(is_it, gone).total()).sum()
    }

    /// What reversals have taken back of the money of a record, as far as it is remembered.
    pub fn reversals_of(&self, of: Lsn) -> impl Iterator<Item = &Outflow> {
        let all = self.debt.iter().flat_map(|debt| &debt.outflows);
        all.filter(move |outflow| outflow.why == Why::Reversed(of))
    }

    /// The records that set money free on bills where money of this one had been put.
    fn freed_beside(&self, of: Lsn) -> BTreeSet<Lsn> {
        self.listed_bills().iter().flat_map(|bill| bill.freed_beside(of)).map(|money| money.fact).collect()
    }
}

impl Fold<'_> {
    /// Takes money back from where it lies: what is free, then what was put on bills, the latest due date first; then
    /// what became of it. What is still missing, because later news has moved it, comes from any other money.
    pub(super) fn reverse(&mut self, (fact, of): (Lsn, Lsn), amount: Yen, then: &Then) {
        let mut left = amount;
        let out =
            |money, amount| Outflow { money, amount, due: Yen::ZERO, at: then.now.at, fact, why: Why::Reversed(of) };
        let freed = self.account.freed_beside(of);
        let is_freed = |fact: Lsn| freed.contains(&fact);
        let own = Money { fact, ..Money::own(then.now.at) };
        let earlier: BTreeSet<Lsn> = self.account.reversals_of(of).map(|part| part.fact).collect();
        let gone = |by: Lsn| by == fact || earlier.contains(&by);
        self.take_sums(&mut left, &out, |sum| sum == of);
        self.take_lines(&mut left, (own, &out), |bill| bill.lies(|it| it == of, gone), then);
        self.take_sums(&mut left, &out, is_freed);
        self.take_lines(&mut left, (own, &out), |bill| bill.lies(|it| it == of || is_freed(it), gone), then);
        self.take_sums(&mut left, &out, |_| true);
        self.take_lines(&mut left, (own, &out), Bill::paid, then);
        // What is owed again meets what is free.
        self.covered = 0;
        self.place_again(then);
    }

    fn take_sums(&mut self, left: &mut Yen, out: &impl Fn(Money, Yen) -> Outflow, is_it: impl Fn(Lsn) -> bool) {
        let sums: Vec<_> = self.account.sums().iter().rev().filter(|sum| is_it(sum.money.fact)).copied().collect();
        for sum in sums {
            let part = sum.amount.min(*left);
            *left -= part;
            // Credit goes before what is owed in cash.
            let is_now = out(sum.money, part).fact == Money::OWN;
            let before = self.sums_before.iter_mut().find(|before| before.money.fact == sum.money.fact);
            if let Some(before) = before.filter(|_| is_now) {
                before.amount = before.amount.minus_or_zero(part);
                before.due = before.due.min(before.amount);
            }
            let debt = self.account.debt_mut();
            debt.sums.take(sum.money, part, Yen::ZERO);
            if !part.is_zero() {
                debt.add_outflow(out(sum.money, part));
            }
        }
    }

    fn take_lines(
        &mut self,
        left: &mut Yen,
        (own, out): (Money, &impl Fn(Money, Yen) -> Outflow),
        lies: impl Fn(&Bill) -> Lines,
        then: &Then,
    ) {
        /// Principal was paid last of all, so it is the first to be open again.
        const ORDER: [Line; 4] = [Line::Principal, Line::Damages, Line::BillFee, Line::LateFees];
        let by = self.by();
        // Credit on a month that is still open is the nearest to credit: it goes before what is on any issued bill.
        let place = |bill: &Bill| (!bill.is_issued(), bill.due(&by), bill.key);
        let mut bills: Vec<_> = self.account.listed_bills().iter().map(|bill| place(bill)).collect();
        bills.sort_unstable();
        for (.., key) in bills.into_iter().rev() {
            let Some(there) = self.account.listed_bill(key).map(&lies) else { continue };
            let mut lines = Lines::default();
            for line in ORDER {
                let part = there.get(line).min(*left);
                *lines.get_mut(line) = part;
                *left -= part;
            }
            if lines != Lines::default() {
                let change = Change { at: then.now.at, kind: ChangeKind::Freed, money: own, lines };
                self.account.bill_mut(key).changes.add(change);
                self.account.debt_mut().add_outflow(out(own, lines.total()));
            }
        }
    }
}

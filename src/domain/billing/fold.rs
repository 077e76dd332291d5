//! The books of a customer as a fold: money, in the order of its value time, meets the bills that stood then by their due
//! date; what is left is free and meets each later debt when it is made.
//!
//! What is heard now may count from an earlier moment. So the fold takes everything off the bills that was put on them
//! since, and plays that time again: bills are issued, money comes, refunds free money, damages are posted, payouts are
//! made. Purchases, refunds and payouts made stay as they are; what money does follows.
//!
//! An account may have a thousand bills and one bill thousands of changes, and all of it is worked out while everybody
//! waits. So a step looks a bill up and never through all of them, and each pass over the bills looks at each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::account::Account;
use super::bill::{Bill, Change, ChangeKind, LateFee, Posted};
use super::lateness::{BillRules, Rules};
use super::sums::{Money, PaidOut, Sum};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line, Lines};
use crate::domain::model::time::{Date, Millis, Now};

/// A fold meets at most so many moments; news that would need more counts from later on.
pub const MOST_MOMENTS: usize = 2_000;

/// What happens to money at one moment.
#[derive(Clone, Debug)]
enum What {
    /// A bill is there, by this record, and what is free meets it.
    Issued(BillKey, Lsn),
    Came(Money, Yen),
    Refunded(BillKey, Money),
    Damages(BillKey, Posted),
    PaidOut(Lsn, Payout),
}

/// A payout: of these sums, which were owed in cash, and so much else.
#[derive(Clone, Debug, Default)]
struct Payout {
    due: Vec<(Money, Yen)>,
    other: Yen,
}

#[derive(Clone, Debug)]
struct Moment {
    at: Millis,
    what: What,
}

impl Moment {
    const fn place(&self) -> (Millis, Lsn) {
        let fact = match &self.what {
            What::Issued(_, fact) | What::Damages(_, Posted { fact, .. }) | What::PaidOut(fact, _) => *fact,
            What::Came(money, _) | What::Refunded(_, money) => money.fact,
        };
        (self.at, fact)
    }
}

/// The moment that is played.
struct Then {
    now: Now,
    /// Of what happened in this very moment, all up to this record has.
    upto: Lsn,
}

/// What is new since the books were last worked out.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Money that came, each with a day of its own.
    pub came: Vec<(Money, Yen)>,
    /// From when something counts that stands in the account already.
    pub since: Option<Millis>,
    /// Damages that are posted now.
    pub posted: Option<(BillKey, Posted)>,
    /// Money that is paid to the customer now.
    pub paid_out: Yen,
}

impl News {
    fn is_nothing(&self) -> bool {
        self.came.is_empty() && self.since.is_none() && self.posted.is_none() && self.paid_out.is_zero()
    }
}

/// Books in the working.
pub struct Fold<'a> {
    pub account: Account,
    now: &'a Now,
    rules: Rules<'a>,
    /// The account as if provisional news of payments had come: a late fee stands only if it does there too.
    as_if: Option<&'a Account>,
    /// The bills that money may meet until now, the oldest due date first, and where each is in the list: none is added.
    order: Vec<(Date, BillKey, usize)>,
    /// So many of `order` owe nothing that money could still be put on.
    covered: usize,
    /// The sums as they were, for what of them was owed in cash.
    sums_before: Vec<Sum>,
}

impl<'a> Fold<'a> {
    pub fn new(account: Account, now: &'a Now, rules: Rules<'a>, as_if: Option<&'a Account>) -> Self {
        let sums_before = account.sums().to_vec();
        Self { account, now, rules, as_if, order: Vec::new(), covered: 0, sums_before }
    }

    fn by(&self) -> BillRules<'a> {
        self.account.bill_rules(self.rules)
    }

    /// Works the books out; says from when they were worked out anew.
    pub fn run(&mut self, news: &News) -> Millis {
        let wanted = self.since(news);
        if wanted == self.now.at && news.is_nothing() {
            return wanted;
        }
        let from = self.within_bound(wanted);
        let mut moments = self.roll_back(from);
        let came = news.came.iter().map(|(money, amount)| (money.day.max(from), What::Came(*money, *amount)));
        moments.extend(came.map(|(at, what)| Moment { at, what }));
        moments.extend(news.posted.map(|(key, posted)| Moment { at: posted.at, what: What::Damages(key, posted) }));
        if !news.paid_out.is_zero() {
            let payout = self.take_for_payout(news.paid_out);
            moments.push(Moment { at: self.now.at, what: What::PaidOut(Money::OWN, payout) });
        }
        moments.sort_by_key(Moment::place);
        self.put_in_order(&moments);
        self.place_again(from);
        for moment in moments {
            self.play(moment);
        }
        self.post_fees();
        self.free_what_is_too_much();
        self.mark_due();
        if let Some(debt) = &mut self.account.debt {
            debt.met = (self.now.at, Money::OWN);
        }
        from
    }

    /// A payout takes what is owed in cash, the oldest first, which is owed no longer; then credit.
    fn take_for_payout(&mut self, amount: Yen) -> Payout {
        let mut payout = Payout { due: Vec::new(), other: amount };
        for sum in &mut self.sums_before {
            let part = sum.due.min(payout.other);
            sum.due -= part;
            payout.other -= part;
            payout.due.push((sum.money, part));
        }
        payout
    }

    /// What was owed in cash is so still, as far as it is free.
    fn mark_due(&mut self) {
        let before = std::mem::take(&mut self.sums_before);
        let due_before = |money: Money| before.iter().find(|sum| sum.money.fact == money.fact).map(|sum| sum.due);
        if let Some(debt) = &mut self.account.debt {
            debt.sums.set_due(|sum| due_before(sum.money).unwrap_or_default());
        }
        self.account.mark_due_if_closed();
    }

    /// From when the books are to be worked out again.
    fn since(&self, news: &News) -> Millis {
        let mut since = self.now.at;
        let mut from = |at: Millis| since = since.min(at);
        news.came.iter().for_each(|(money, _)| from(money.day));
        news.since.into_iter().for_each(&mut from);
        let has_sums = !self.account.sums().is_empty();
        let met = self.account.met();
        let mut look_at = |bill: &Bill| {
            let is_unissued = !bill.is_issued() && bill.issued_at <= self.now.at && !bill.net().is_zero();
            // What is free meets it from the moment at which it was issued.
            if is_unissued || has_sums && bill.is_issued() && (bill.issued_at, bill.issued_by) > met {
                from(bill.issued_at.plus(-1));
            }
        };
        self.account.listed_bills().iter().for_each(|bill| look_at(bill));
        self.account.month.iter().for_each(|open| look_at(&Bill::of_month(open)));
        // A late fee that provisional news had held up, or has taken back.
        for (key, due) in self.late_bills() {
            let posted = self.account.listed_bill(key).map_or(&[][..], |bill| &bill.late_fees);
            let differ = due.iter().filter(|late| !posted.contains(late));
            let differs = differ.chain(posted.iter().filter(|late| !due.contains(late)));
            differs.for_each(|late| from(late.date.start().plus(-1)));
        }
        since
    }

    /// The bills on which late fees are due or were posted, with those that are due.
    fn late_bills(&self) -> Vec<(BillKey, Vec<LateFee>)> {
        let by = self.by();
        let is_late = |bill: &&Arc<Bill>| bill.is_issued() && bill.due.is_some_and(|due| due < self.now.date);
        let is_np_free = by.terms.is_np_free();
        let may_cost = |bill: &&Arc<Bill>| !is_np_free || bill.key.month().is_some() || !bill.late_fees.is_empty();
        let bills = self.account.listed_bills().iter().filter(is_late).filter(may_cost);
        let with_fees = bills.map(|bill| (bill, self.late_fees(bill, self.now)));
        let of_some = with_fees.filter(|(bill, due)| !due.is_empty() || !bill.late_fees.is_empty());
        of_some.map(|(bill, due)| (bill.key, due)).collect()
    }

    /// The late fees of a bill; while there is provisional news of a payment, those that it does not stop.
    fn late_fees(&self, bill: &Bill, now: &Now) -> Vec<LateFee> {
        let judged = self.as_if.and_then(|as_if| as_if.bill(bill.key));
        bill.late_fees_if(judged.as_deref(), &self.by(), now)
    }

    /// The earliest moment, not before the one wanted, from which no more is to be played again than the bound.
    fn within_bound(&self, from: Millis) -> Millis {
        let later = self.account.listed_bills().iter().flat_map(|bill| bill.changes.later(from));
        let mut moments: Vec<Millis> = later.map(|change| change.at).collect();
        if moments.len() <= MOST_MOMENTS {
            return from;
        }
        moments.sort_unstable_by(|a, b| b.cmp(a));
        moments.get(MOST_MOMENTS).copied().unwrap_or(from)
    }

    /// Takes the money off the bills that was put on them later than `from`; gives what happened since, to be played again.
    fn roll_back(&mut self, from: Millis) -> Vec<Moment> {
        let mut moments = Vec::new();
        let mut money: BTreeMap<Lsn, (Money, Yen)> = BTreeMap::new();
        let mut put = |of: Money, amount: Yen| money.entry(of.fact).or_insert((of, Yen::ZERO)).1 += amount;
        let mut freed = BTreeSet::new();
        let now = self.now.at;
        if self.account.month.is_some_and(|open| Bill::of_month(&open).issued_at <= now) {
            self.account.close_month();
        }
        for bill in self.account.debt.iter_mut().flat_map(|debt| &mut debt.bills) {
            let is_new = bill.issued_at > from || !bill.is_issued();
            if is_new && bill.issued_at <= now && !bill.principal_at_issue().is_zero() {
                moments.push(Moment { at: bill.issued_at, what: What::Issued(bill.key, bill.issued_by) });
            }
            let is_later = |posted: &Posted| posted.at > from;
            if bill.damages.iter().any(is_later) {
                let key = bill.key;
                let later = bill.damages.iter().copied().filter(is_later);
                moments.extend(later.map(|posted| Moment { at: posted.at, what: What::Damages(key, posted) }));
                Arc::make_mut(bill).damages.retain(|posted| !is_later(posted));
            }
            let later = bill.changes.later(from.plus(-1)).iter();
            let refunds = later.filter(|change| change.kind == ChangeKind::Refunded);
            for refund in refunds.filter(|refund| refund.at > from || refund.money.is_own()) {
                freed.insert(refund.money.fact);
                moments.push(Moment { at: refund.at, what: What::Refunded(bill.key, refund.money) });
            }
            let moves = |change: &Change| change.kind != ChangeKind::Refunded && change.money.is_known();
            if bill.changes.later(from).iter().any(moves) {
                let gone = Arc::make_mut(bill).changes.roll_back(from);
                let paid = gone.iter().filter(|change| change.kind == ChangeKind::Paid);
                paid.for_each(|change| put(change.money, change.lines.total()));
            }
        }
        let Some(debt) = &mut self.account.debt else { return moments };
        let is_later = |paid: &PaidOut| paid.at > from && paid.money.is_known();
        for paid in debt.paid_out.iter().filter(|paid| is_later(paid)) {
            put(paid.money, paid.amount);
            let is_next = |moment: &Moment| !matches!(moment.what, What::PaidOut(fact, _) if fact == paid.payout);
            if moments.last().is_none_or(is_next) {
                moments.push(Moment { at: paid.at, what: What::PaidOut(paid.payout, Payout::default()) });
            }
            if let Some(Moment { what: What::PaidOut(_, payout), .. }) = moments.last_mut() {
                payout.due.push((paid.money, paid.due));
                payout.other += paid.amount - paid.due;
            }
        }
        debt.paid_out.retain(|paid| !is_later(paid));
        let old = std::mem::take(&mut debt.sums);
        old.as_slice().iter().for_each(|sum| put(sum.money, sum.amount));
        // What a refund of this time freed is freed again.
        for (money, amount) in money.into_values().filter(|(money, _)| !freed.contains(&money.fact)) {
            if money.day <= from {
                debt.sums.add(money, amount, Yen::ZERO);
            } else {
                moments.push(Moment { at: money.day, what: What::Came(money, amount) });
            }
        }
        moments
    }

    /// Bills that owe something once the money is taken off, that are still to be issued or refunded, or on which damages are
    /// still to be posted. Of any other nothing is ever owed from then on.
    fn put_in_order(&mut self, moments: &[Moment]) {
        let by = self.by();
        let bills = self.account.listed_bills();
        let open = bills.iter().enumerate().filter(|(_, bill)| bill.is_issued() && bill.is_open());
        let mut places: Vec<usize> = open.map(|(at, _)| at).collect();
        places.extend(moments.iter().filter_map(|moment| match moment.what {
            What::Issued(key, _) | What::Damages(key, _) | What::Refunded(key, _) => self.account.place(key).ok(),
            What::Came(..) | What::PaidOut(..) => None,
        }));
        let ordered = |at: usize| bills.get(at).map(|bill| (bill.due(&by), bill.key, at));
        self.order = places.into_iter().filter_map(ordered).collect();
        self.order.sort_unstable();
        self.order.dedup();
    }

    /// Beside what is free nothing is owed, unless an older version left it so, or money counts from later than its own day.
    fn place_again(&mut self, from: Millis) {
        let sums = self.account.debt.as_mut().map(|debt| std::mem::take(&mut debt.sums)).unwrap_or_default();
        if !sums.is_empty() {
            let then = Then { now: self.moment(from), upto: Money::OWN };
            sums.as_slice().iter().for_each(|sum| self.place(sum.money, sum.amount, &then));
        }
    }

    fn moment(&self, at: Millis) -> Now {
        if at < self.now.at { Now::at(at) } else { *self.now }
    }

    fn play(&mut self, moment: Moment) {
        let (_, upto) = moment.place();
        let Moment { at, what } = moment;
        let then = Then { now: self.moment(at), upto };
        match what {
            What::Issued(key, _) => {
                self.issue(key, &then);
                self.meet(key, &then);
            }
            What::Came(money, amount) => self.place(money, amount, &then),
            What::Refunded(key, money) => self.free(key, money, &then),
            What::Damages(key, posted) => {
                self.post_damages(key, posted, &then);
                self.meet(key, &then);
            }
            What::PaidOut(fact, payout) => self.pay_out(fact, &payout, at),
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
            debt.pay_out(PaidOut { money, amount, due, at, payout: fact });
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
    fn place(&mut self, money: Money, amount: Yen, then: &Then) {
        // Later, as credit, it is like any other.
        let lines = if money.on_old_slip { Line::PRINCIPAL_FIRST } else { Line::FEES_FIRST };
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
        let paid = bill.paid();
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
        let over = bill.paid().minus_or_zero(&bill.charged_until(&by, &then.now, then.upto));
        self.take_off(key, money, Lines { late_fees: Yen::ZERO, damages: Yen::ZERO, ..over }, then);
    }

    fn take_off(&mut self, key: BillKey, money: Money, lines: Lines, then: &Then) {
        if lines != Lines::default() {
            let change = Change { at: then.now.at, kind: ChangeKind::Freed, money, lines };
            self.account.bill_mut(key).changes.add(change);
            self.place(money, lines.total(), then);
        }
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

    /// Late fees as they are due by now, and bill fees that refunds or cancels took away.
    fn post_fees(&mut self) {
        for (key, due) in self.late_bills() {
            if self.account.listed_bill(key).is_some_and(|bill| bill.late_fees != due) {
                self.account.bill_mut(key).late_fees = due;
            }
        }
        let by = self.by();
        let is_waived = |bill: &Arc<Bill>| {
            let has_fee = bill.fee.is_some_and(|fee| !fee.is_zero()) && !bill.is_fee_waived;
            has_fee && bill.net().is_zero() && bill.bill_fee(&by, self.now).is_zero()
        };
        let waived: Vec<_> =
            self.account.listed_bills().iter().filter(|bill| is_waived(bill)).map(|bill| bill.key).collect();
        for key in waived {
            self.account.bill_mut(key).is_fee_waived = true;
        }
    }

    /// What an older version put on a bill stays there until it is too much.
    fn free_what_is_too_much(&mut self) {
        let by = self.by();
        let is_old = |bill: &&Arc<Bill>| bill.changes.iter().any(|change| !change.money.is_known());
        let over = |bill: &Arc<Bill>| Some((bill.key, bill.overpaid(&by, self.now)));
        let over: Vec<_> = self.account.listed_bills().iter().filter(is_old).filter_map(over).collect();
        for (key, lines) in over {
            let then = Then { now: *self.now, upto: Money::OWN };
            self.take_off(key, Money::unknown(self.now.at), lines, &then);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::customer::Profile;
    use crate::domain::model::ids::CustomerId;
    use crate::domain::model::policy::Policy;
    use crate::domain::model::purchase::{Channel, Purchase};
    use crate::domain::model::terms::TermsByDay;
    use crate::domain::model::time::{BankCalendar, DAY, MINUTE};

    #[test]
    fn news_that_reaches_too_far_back_counts_from_later() {
        let policy = Policy::parse(include_str!("../../../config/policy.toml")).unwrap();
        let terms = TermsByDay::always(policy.terms.clone());
        let rules = Rules { policy: &policy, terms: &terms, calendar: &BankCalendar::default() };
        let bought_at = Millis::parse("2021-06-01T10:00:00+09:00").unwrap();
        let now = Now::at(bought_at.plus(3 * DAY));
        let amount = Yen::new(9_000);
        let purchase =
            Purchase { order: Lsn(1), channel: Channel::NpAtobarai, amount, month: now.month, at: bought_at };
        let paid_twice_a_minute = |payments: u32| {
            let mut account = Account::new(CustomerId::new("1001").unwrap(), Profile::newcomer());
            account.owe(&purchase, now.date.plus_days(14), Lsn(1));
            for number in 1..=payments {
                let at = bought_at.plus(i64::from(number) * MINUTE / 2);
                let money = Money { fact: Lsn(u64::from(number) + 1), day: at, on_old_slip: false };
                let lines = Lines::of(Line::Principal, Yen::new(1));
                account.bill_mut(purchase.bill()).changes.add(Change { at, kind: ChangeKind::Paid, money, lines });
            }
            account
        };
        let day = bought_at.plus(1);
        let most = u32::try_from(MOST_MOMENTS).unwrap();
        for (payments, counts_from) in [(most, day), (most + 100, bought_at.plus(100 * MINUTE / 2))] {
            let mut fold = Fold::new(paid_twice_a_minute(payments), &now, rules, None);
            let news = News { came: vec![(Money::own(day), Yen::new(500))], ..News::default() };
            assert_eq!(fold.run(&news), counts_from, "{payments} payments");
            let bill = fold.account.listed_bill(purchase.bill()).unwrap();
            let own = bill.changes.iter().find(|change| change.money.is_own()).unwrap();
            assert_eq!((own.at, own.money.day), (counts_from, day));
            assert_eq!(bill.paid().principal, Yen::new(u64::from(payments) + 500));
        }
    }
}

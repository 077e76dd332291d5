//! The books of a customer as a fold: money, in the order of its value time, meets the bills that stood then by their due
//! date; what is left is free and meets each later debt when it is made.
//!
//! What is heard now may count from an earlier moment. So the fold takes everything off the bills that was put on them
//! since, and plays that time again: bills are issued, money comes, refunds free money, damages are posted, payouts are
//! made. Purchases, refunds and payouts made stay as they are; what money does follows.
//!
//! An account may have a thousand bills and one bill thousands of changes, and all of it is worked out while everybody
//! waits. So a step looks a bill up and never through all of them, and each pass over the bills looks at each once.

use std::sync::Arc;

use super::account::Account;
use super::adjustments::{Adjusted, Adjustment};
use super::bill::{Bill, LateFee, Posted};
use super::lateness::{BillRules, Rules};
use super::outflows::Outflow;
use super::rolled_back::RolledBack;
use super::steps::{Moment, Payout, Then, What};
use super::sums::{Money, Sum};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line};
use crate::domain::model::time::{Date, Millis, Now};

/// A fold meets at most so many moments; news that would need more counts from later on.
pub const MOST_MOMENTS: usize = 2_000;

/// What is new since the books were last worked out.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Money that came, each with a day of its own.
    pub came: Vec<(Money, Yen)>,
    /// From when something counts that stands in the account already.
    pub since: Option<Millis>,
    /// Damages that are posted now.
    pub posted: Option<(BillKey, Posted)>,
    /// What staff does to a bill now.
    pub adjusted: Option<(BillKey, Adjusted)>,
    /// Money that is paid to the customer now.
    pub paid_out: Yen,
    /// The payout of this record comes back now: these parts.
    pub bounced: Option<(Lsn, Vec<Outflow>)>,
    /// So much of the money of this record is taken back now.
    pub reversed: Option<(Lsn, Yen)>,
}

impl News {
    fn is_nothing(&self) -> bool {
        let is_staff = self.posted.is_some() || self.adjusted.is_some() || self.reversed.is_some();
        let is_payout = !self.paid_out.is_zero() || self.bounced.is_some();
        self.came.is_empty() && self.since.is_none() && !is_staff && !is_payout
    }
}

/// Books in the working.
pub struct Fold<'a> {
    pub account: Account,
    pub(super) now: &'a Now,
    rules: Rules<'a>,
    /// The account as if provisional news of payments had come: a late fee stands only if it does there too.
    as_if: Option<&'a Account>,
    /// The bills that money may meet until now, the oldest due date first, and where each is in the list: none is added.
    pub(super) order: Vec<(Date, BillKey, usize)>,
    /// So many of `order` owe nothing that money could still be put on.
    pub(super) covered: usize,
    /// The sums as they were, for what of them was owed in cash.
    pub(super) sums_before: Vec<Sum>,
}

impl<'a> Fold<'a> {
    pub fn new(account: Account, now: &'a Now, rules: Rules<'a>, as_if: Option<&'a Account>) -> Self {
        let sums_before = account.sums().to_vec();
        Self { account, now, rules, as_if, order: Vec::new(), covered: 0, sums_before }
    }

    pub(super) fn by(&self) -> BillRules<'a> {
        self.account.bill_rules(self.rules)
    }

    /// Works the books out; says from when they were worked out anew, if that is later than what is new counts from.
    pub fn run(&mut self, news: &News) -> Option<Millis> {
        let wanted = self.since(news);
        if wanted == self.now.at && news.is_nothing() {
            return None;
        }
        let from = self.within_bound(wanted);
        let mut moments = self.roll_back(from);
        let came = news.came.iter().map(|(money, amount)| (money.day.max(from), What::Came(*money, *amount)));
        moments.extend(came.map(|(at, what)| Moment { at, what }));
        moments.extend(self.now_happens(news).into_iter().map(|what| Moment { at: self.now.at, what }));
        moments.sort_by_key(Moment::place);
        self.put_in_order(&moments);
        self.place_again(&Then { now: self.moment(from), upto: Money::OWN });
        for moment in moments {
            self.play(moment);
        }
        self.post_fees();
        self.free_what_is_too_much();
        self.mark_due();
        if let Some(debt) = &mut self.account.debt {
            debt.met = (self.now.at, Money::OWN);
        }
        (from != wanted).then_some(from)
    }

    /// What is done now, but for money that counts from its own day.
    fn now_happens(&mut self, news: &News) -> Vec<What> {
        let mut all = Vec::new();
        all.extend(news.posted.map(|(key, posted)| What::Damages(key, posted)));
        let adjustment = |what| Adjustment { fact: Money::OWN, at: self.now.at, what };
        all.extend(news.adjusted.map(|(key, what)| What::Adjusted(key, adjustment(what))));
        if !news.paid_out.is_zero() {
            all.push(What::PaidOut(Money::OWN, self.take_for_payout(news.paid_out)));
        }
        if let Some((payout, told)) = &news.bounced {
            // What of it was owed in cash is owed so again.
            for &Outflow { money, amount, due, .. } in told {
                let money = money.or_named(Money::OWN);
                match self.sums_before.iter_mut().find(|sum| sum.money.fact == money.fact) {
                    Some(sum) => (sum.amount, sum.due) = (sum.amount + amount, sum.due + due),
                    None => self.sums_before.push(Sum { money, amount, due }),
                }
            }
            all.push(What::Bounced { fact: Money::OWN, payout: *payout, told: told.clone() });
        }
        all.extend(news.reversed.map(|(of, amount)| What::Reversed { fact: Money::OWN, of, amount }));
        all
    }

    /// A payout takes what is owed in cash, the oldest first, which is owed no longer; then credit.
    fn take_for_payout(&mut self, amount: Yen) -> Payout {
        let mut payout = Payout { due: Vec::new(), other: amount };
        for sum in &mut self.sums_before {
            let part = sum.due.min(payout.other);
            (sum.amount, sum.due) = (sum.amount - part, sum.due - part);
            payout.other -= part;
            payout.due.push((sum.money, part));
        }
        let mut other = payout.other;
        for sum in &mut self.sums_before {
            let part = sum.amount.min(other);
            sum.amount -= part;
            other -= part;
        }
        payout
    }

    /// What was owed in cash is so still, as far as it is free: a debt that has met the sum since took of it first.
    fn mark_due(&mut self) {
        let before = std::mem::take(&mut self.sums_before);
        let due = |sum: &Sum| {
            let before = before.iter().find(|before| before.money.fact == sum.money.fact)?;
            Some(before.due.minus_or_zero(before.amount.minus_or_zero(sum.amount)))
        };
        if let Some(debt) = &mut self.account.debt {
            debt.sums.set_due(|sum| due(sum).unwrap_or_default());
        }
    }

    /// From when the books are to be worked out again.
    fn since(&self, news: &News) -> Millis {
        let told = news.came.iter().map(|(money, _)| money.day).chain(news.since);
        // Of what was let go nothing is played again unless it came back for that.
        let kept_from = self.account.let_go.plus_days(1).start();
        let of_time = self.since_by_time(news).max(kept_from).min(self.now.at);
        let since = told.fold(of_time, Millis::min);
        if since < self.now.at { self.with_releases(since) } else { since }
    }

    /// The same for what time has made true, and provisional news.
    fn since_by_time(&self, news: &News) -> Millis {
        let mut since = self.now.at;
        let mut from = |at: Millis| since = since.min(at);
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
        // A late fee that provisional news had held up, or has taken back; not the one that is waived now.
        let is_waived = |key: BillKey, late: &LateFee| matches!(news.adjusted, Some((bill, Adjusted::LateFeeWaived(of))) if bill == key && of.date == late.date);
        for (key, due) in self.late_bills() {
            let posted = self.account.listed_bill(key).map_or(&[][..], |bill| &bill.late_fees);
            let differ = due.iter().filter(|late| !posted.contains(late));
            let differs = differ.chain(posted.iter().filter(|late| !due.contains(late)));
            differs.filter(|late| !is_waived(key, late)).for_each(|late| from(late.date.start().plus(-1)));
        }
        since
    }

    /// What a release released is known at its own moment alone: refunds and waivers lower it later. So where one of them is
    /// played again, the release is too.
    fn with_releases(&self, since: Millis) -> Millis {
        let released = |bill: &Arc<Bill>| Some((bill.released_at()?, bill.latest_charged_less()?));
        let mut all: Vec<_> = self.account.listed_bills().iter().filter_map(released).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.into_iter()
            .fold(since, |since, (release, less)| if less > since { since.min(release.plus(-1)) } else { since })
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
    pub(super) fn late_fees(&self, bill: &Bill, now: &Now) -> Vec<LateFee> {
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

    /// Takes off what was done later than `from`; gives it as moments, to be played again.
    fn roll_back(&mut self, from: Millis) -> Vec<Moment> {
        let now = self.now.at;
        if self.account.month.is_some_and(|open| Bill::of_month(&open).issued_at <= now) {
            self.account.close_month();
        }
        let mut back = RolledBack::default();
        let by = self.by();
        for bill in self.account.debt.iter_mut().flat_map(|debt| &mut debt.bills) {
            let is_new = bill.issued_at > from || !bill.is_issued();
            if is_new && bill.issued_at <= now && !bill.principal_at_issue().is_zero() {
                back.moments.push(Moment { at: bill.issued_at, what: What::Issued(bill.key, bill.issued_by) });
            }
            back.charges(bill, from, &by);
            back.changes(bill, from);
        }
        if let Some(debt) = &mut self.account.debt {
            back.outflows(&mut debt.outflows, from);
            let sums = std::mem::take(&mut debt.sums);
            sums.as_slice().iter().for_each(|sum| back.put(sum.money, sum.amount));
            debt.sums = back.come_again(from);
        }
        back.moments
    }

    /// Bills that owe something once the money is taken off, that are still to be issued or refunded, or on which damages are
    /// still to be posted. Of any other nothing is ever owed from then on.
    fn put_in_order(&mut self, moments: &[Moment]) {
        let by = self.by();
        let bills = self.account.listed_bills();
        let open = bills.iter().enumerate().filter(|(_, bill)| bill.is_issued() && bill.is_open());
        let mut places: Vec<usize> = open.map(|(at, _)| at).collect();
        places.extend(moments.iter().filter_map(|moment| match moment.what {
            What::Issued(key, _) | What::Damages(key, _) | What::Refunded(key, _) | What::Adjusted(key, _) => {
                self.account.place(key).ok()
            }
            What::Came(..) | What::PaidOut(..) | What::Bounced { .. } | What::Reversed { .. } => None,
        }));
        // What is taken back may lie on any bill.
        if moments.iter().any(|moment| matches!(moment.what, What::Reversed { .. })) {
            places.extend(0..bills.len());
        }
        let ordered = |at: usize| bills.get(at).map(|bill| (bill.due(&by), bill.key, at));
        self.order = places.into_iter().filter_map(ordered).collect();
        self.order.sort_unstable();
        self.order.dedup();
    }

    /// Beside what is free nothing is owed, unless an older version left it so, or money counts from later than its own day.
    pub(super) fn place_again(&mut self, then: &Then) {
        let sums = self.account.debt.as_mut().map(|debt| std::mem::take(&mut debt.sums)).unwrap_or_default();
        sums.as_slice().iter().for_each(|sum| self.place((sum.money, sum.amount), Line::FEES_FIRST, then));
    }

    /// Late fees as they are due by now, and bill fees that refunds or cancels took away.
    fn post_fees(&mut self) {
        for (key, due) in self.late_bills() {
            if self.account.listed_bill(key).is_some_and(|bill| bill.late_fees != due) {
                self.account.bill_mut(key).late_fees = due.into();
            }
        }
        let by = self.by();
        let is_waived = |bill: &Arc<Bill>| {
            let has_fee = bill.fee.is_some_and(|fee| !fee.is_zero()) && !bill.is_fee_waived();
            has_fee && bill.net().is_zero() && bill.bill_fee(&by, self.now).is_zero()
        };
        let waived: Vec<_> =
            self.account.listed_bills().iter().filter(|bill| is_waived(bill)).map(|bill| bill.key).collect();
        for key in waived {
            self.account.bill_mut(key).is_fee_refunded = true;
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
    use crate::domain::billing::bill::{Change, ChangeKind};
    use crate::domain::model::customer::Profile;
    use crate::domain::model::ids::CustomerId;
    use crate::domain::model::payment::{Line, Lines};
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
        let later = bought_at.plus(100 * MINUTE / 2);
        for (payments, counts_from) in [(most, None), (most + 100, Some(later))] {
            let mut fold = Fold::new(paid_twice_a_minute(payments), &now, rules, None);
            let news = News { came: vec![(Money::own(day), Yen::new(500))], ..News::default() };
            assert_eq!(fold.run(&news), counts_from, "{payments} payments");
            let bill = fold.account.listed_bill(purchase.bill()).unwrap();
            let own = bill.changes.iter().find(|change| change.money.is_own()).unwrap();
            assert_eq!((own.at, own.money.day), (counts_from.unwrap_or(day), day));
            assert_eq!(bill.paid().principal, Yen::new(u64::from(payments) + 500));
        }
    }
}

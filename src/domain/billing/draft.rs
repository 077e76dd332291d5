//! Working out a settlement on a copy of the account: a step changes the copy and folds its books anew; at the end the
//! difference is what the fact records.

use super::account::Account;
use super::adjustments::Adjusted;
use super::bill::{Bill, Posted};
use super::difference;
use super::fold::{Fold, News};
use super::lateness::{BillRules, Rules};
use super::outflows::Outflow;
use super::settlement::{Back, Counted, LadderStep, Place, Settlement};
use super::sums::Money;
use crate::domain::model::ids::{CustomerIx, Lsn, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::purchase::Purchase;
use crate::domain::model::time::{Date, Millis, Now};

/// A settlement in the making.
pub struct Draft<'a> {
    pub account: Account,
    before: &'a Account,
    customer: CustomerIx,
    pub(super) now: &'a Now,
    pub(super) rules: Rules<'a>,
    pub(super) policy: u32,
    /// Where the money of this fact comes from.
    origin: Place,
    back: Option<Back>,
    counts_from: Option<Millis>,
    pub(super) counted: Vec<Counted>,
    pub(super) steps: Vec<LadderStep>,
}

impl<'a> Draft<'a> {
    /// `policy` is the version of the policy in force.
    pub fn new(customer: CustomerIx, before: &'a Account, now: &'a Now, rules: Rules<'a>, policy: u32) -> Self {
        let mut account = before.clone();
        account.tidy(now.date);
        Self {
            before,
            account,
            customer,
            now,
            rules,
            policy,
            origin: Place::Received,
            back: None,
            counts_from: None,
            counted: Vec::new(),
            steps: Vec::new(),
        }
    }

    pub(super) fn by(&self) -> BillRules<'a> {
        self.account.bill_rules(self.rules)
    }

    fn fold(&mut self, news: News) {
        let as_if = self.account.fees_as_if_paid(&news, self.now, self.rules);
        let account = std::mem::replace(&mut self.account, Account::new(self.before.id, self.before.profile.clone()));
        let mut fold = Fold::new(account, self.now, self.rules, as_if.as_ref());
        let counts_from = fold.run(&news);
        self.counts_from = self.counts_from.max(counts_from);
        self.account = fold.account;
    }

    /// What time has made so: bills are issued, credit meets them, late fees are due.
    pub fn catch_up(&mut self) {
        self.fold(News::default());
    }

    /// Money that came from the customer; it counts from its own day.
    pub fn receive(&mut self, money: Money, amount: Yen) {
        self.fold(News { came: vec![(money, amount)], ..News::default() });
    }

    /// A part of a purchase goes back to its shop at a moment: what had been paid of it is free for other bills.
    pub fn refund(&mut self, purchase: &Purchase, at: Millis) {
        if self.account.bill(purchase.bill()).is_some() {
            self.take_back(Back::Refunded(*purchase, at), at);
        } else {
            self.origin = Place::Refund;
            self.receive(Money::own(at), purchase.amount);
        }
    }

    /// A purchase is as if it had never been: money that had met it goes back to where it came from.
    pub fn cancel(&mut self, purchase: &Purchase) {
        let issued_at = self.account.bill(purchase.bill()).map_or(self.now.at, |bill| bill.issued_at);
        self.take_back(Back::Cancelled(*purchase), issued_at.plus(-1));
    }

    fn take_back(&mut self, back: Back, since: Millis) {
        self.account.take_back(back, Money::OWN);
        self.back = Some(back);
        let (Back::Refunded(purchase, _) | Back::Cancelled(purchase)) = back;
        // Credit that was put on the month while it was open covers what is left of it.
        let is_cancel = matches!(back, Back::Cancelled(_));
        let whole = self.account.listed_bill(purchase.bill()).filter(|bill| is_cancel || !bill.is_issued());
        let applied = whole.and_then(|bill| bill.changes.as_slice().first()).map(|first| first.at.plus(-1));
        let since = applied.map_or(since, |applied| applied.min(since)).min(self.now.at);
        self.fold(News { since: Some(since), ..News::default() });
    }

    /// What was provisional news of a payment has ended.
    pub fn forget_pending(&mut self, id: OfficeId) {
        self.account.forget_pending(id);
    }

    pub fn post_damages(&mut self, bill: BillKey, amount: Yen) {
        let posted = Posted { fact: Money::OWN, at: self.now.at, amount };
        self.fold(News { posted: Some((bill, posted)), ..News::default() });
    }

    /// Pays money out: what is owed in cash, then credit.
    pub fn pay_out(&mut self, amount: Yen) {
        self.fold(News { paid_out: amount, ..News::default() });
    }

    /// A payout came back: its money is free again, each sum with the day that it had, and what was owed in cash is owed so
    /// again. It meets what is owed by now. `told` is what the record of the payout says of it; the account knows
    /// better, while it remembers, for later news may have changed which money it was.
    pub fn bounce(&mut self, payout: Lsn, told: Vec<Outflow>) {
        let known: Vec<Outflow> = self.account.debt.iter().flat_map(|debt| debt.payout(payout)).copied().collect();
        let parts = if known.is_empty() { told } else { known };
        self.fold(News { bounced: Some((payout, parts)), ..News::default() });
    }

    /// So much of the money of a record had been booked by mistake, and is taken back.
    pub fn reverse(&mut self, of: Lsn, amount: Yen) {
        self.fold(News { reversed: Some((of, amount)), ..News::default() });
    }

    /// Staff changes a bill.
    pub fn adjust(&mut self, bill: BillKey, what: Adjusted) {
        self.fold(News { adjusted: Some((bill, what)), ..News::default() });
    }

    /// What can be paid out of what is owed in cash and of credit. While there is provisional news, no more than would be free
    /// without it: it may lift a late fee and end without money.
    pub fn payable(&self) -> Yen {
        let of = |account: &Account| {
            (account.payout_due() + account.credit()).minus_or_zero(account.kept_from_payouts(self.now))
        };
        let with_news = of(&self.account);
        if self.account.pending().is_empty() {
            return with_news;
        }
        let mut without = self.account.clone();
        without.notes_mut().pending.clear();
        let mut fold = Fold::new(without, self.now, self.rules, None);
        fold.run(&News::default());
        with_news.min(of(&fold.account))
    }

    /// Credit that met no bill for some months is owed in cash.
    pub fn make_old_credit_due(&mut self) {
        let today: Date = self.now.date;
        let months = self.rules.terms.on(today).payout_after_months;
        self.account.make_due(self.now, |sum| sum.is_old(months, today));
    }

    /// The listed bills for which something is so, oldest due date first.
    pub(super) fn bills_where<T>(&self, is_so: impl Fn(&Bill) -> Option<T>) -> Vec<(BillKey, T)> {
        let by = self.by();
        let place = |bill: &Bill| (bill.due(&by), bill.key);
        let bills = self.account.listed_bills().iter();
        let mut found: Vec<_> = bills.filter_map(|bill| is_so(bill).map(|what| (place(bill), what))).collect();
        found.sort_unstable_by_key(|(place, _)| *place);
        found.into_iter().map(|((_, key), what)| (key, what)).collect()
    }

    /// The settlement, and the account as it will be.
    pub fn finish(mut self) -> (Settlement, Account) {
        self.account.make_due_if_closed(self.now);
        self.take_notice();
        let by = self.by();
        let record = self.account.record;
        let mut books = Settlement {
            customer: self.customer,
            charges: difference::charges(self.before, &self.account),
            transfers: difference::transfers((self.before, &self.account), self.origin, &by, self.now.date),
            counted: self.counted,
            steps: self.steps,
            record: (record != self.before.record).then_some(record),
            counts_from: None,
        };
        // By itself it changes nothing.
        if !books.is_empty() {
            books.counts_from = self.counts_from;
        }
        if cfg!(debug_assertions) {
            let mut check = self.before.clone();
            check.settle(&books, self.back, Money::OWN, self.now);
            check.tidy(self.now.date);
            let mut after = self.account.clone();
            after.tidy(self.now.date);
            // Where nothing is recorded, nothing has met; and which news has ended is for the cause to say.
            for debt in check.debt.iter_mut().chain(&mut after.debt) {
                debt.met = <(Millis, Lsn)>::default();
                debt.notes = None;
            }
            check.tidy(self.now.date);
            after.tidy(self.now.date);
            assert_eq!(check, after, "the difference does not lead there: {books:#?}");
        }
        (books, self.account)
    }
}

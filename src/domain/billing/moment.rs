//! How an account looks at a moment on which nothing was recorded: bills that have closed since are issued, late fees and
//! damages have accrued, and provisional news of a payment stops them.

use std::borrow::Cow;
use std::sync::Arc;

use super::account::Account;
use super::bill::{Bill, LateFee};
use super::difference;
use super::fold::{Fold, News};
use super::lateness::{BillRules, Rules};
use super::notes::Pending;
use super::settlement::{Place, Transfer};
use super::sums::Money;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{Line, Lines, PaymentMethod};
use crate::domain::model::time::{Date, Now};

/// A bill at one moment.
#[derive(Clone, Debug)]
pub struct BillAt {
    pub bill: Bill,
    pub due: Date,
    pub method: PaymentMethod,
    /// As charged less refunds; damages as far as they are posted.
    pub charged: Lines,
    pub owed: Lines,
    /// The late fees in `charged`, by their days.
    pub late_fees: Vec<LateFee>,
    /// Damages by now, posted or not.
    pub accrued: Yen,
    pub is_overdue: bool,
}

/// What a customer owes on all issued bills.
pub struct Owed {
    /// The earliest of their due dates.
    pub oldest: Date,
    pub lines: Lines,
    /// The first day on which a late fee makes it more, if nothing is paid until then.
    pub grows: Option<Date>,
}

impl Account {
    /// The account as it is at `now`: bills that have closed since its last fact are issued, credit has met what is owed,
    /// and late fees that provisional news has held up, or holds up, are where they belong.
    pub fn as_of(&self, now: &Now, rules: Rules<'_>) -> Cow<'_, Self> {
        if self.debt.is_none() {
            // Of most customers, at each sale.
            return Cow::Borrowed(self);
        }
        let owes = || self.owes_a_closed_month(now) || self.listed_bills().iter().any(|bill| bill.is_open());
        let by = self.bill_rules(rules);
        let has_news = !self.pending().is_empty();
        let is_paid_otherwise =
            |bill: &Arc<Bill>| has_news && !bill.late_fees.is_empty() || bill.is_paid_beside_a_fee(&by, now);
        if (self.sums().is_empty() || !owes()) && !self.listed_bills().iter().any(is_paid_otherwise) {
            return Cow::Borrowed(self);
        }
        let as_if = self.fees_as_if_paid(&News::default(), now, rules);
        let mut fold = Fold::new(self.clone(), now, rules, as_if.as_ref());
        fold.run(&News::default());
        Cow::Owned(fold.account)
    }

    /// Where money lies by `now` because of time alone, and where it was: what no record says yet.
    pub fn moved_by(&self, now: &Now, rules: Rules<'_>) -> Vec<Transfer> {
        let present = self.as_of(now, rules);
        difference::transfers((self, &present), Place::Received, &present.bill_rules(rules), now.date)
    }

    fn owes_a_closed_month(&self, now: &Now) -> bool {
        let bills = self.listed_bills().iter().filter(|bill| !bill.is_issued()).filter_map(|bill| bill.key.month());
        self.month.iter().map(|open| open.month).chain(bills).any(|month| month < now.month)
    }

    /// Whether time could have changed anything: cheap, because it is asked of everybody every day.
    pub fn may_owe(&self, now: &Now) -> bool {
        self.month.is_some_and(|open| open.month < now.month)
            || self.debt.as_ref().is_some_and(|debt| !debt.bills.is_empty() || !debt.sums.is_empty())
    }

    /// As if the payments that are only provisional news had come, each from its own day on, beside what is news itself;
    /// none where there is no such news.
    pub(crate) fn as_if_paid(&self, news: &News, now: &Now, rules: Rules<'_>) -> Option<Self> {
        if self.pending().is_empty() {
            return None;
        }
        let mut came = news.came.clone();
        let live = self.pending().iter().filter(|pending| now.at < pending.expires_at);
        came.extend((1..).zip(live).map(|(number, pending)| {
            // A number for each, which no record has yet.
            let fact = Lsn(Money::OWN.0 - number);
            (Money { fact, ..Money::own(pending.paid_at) }, pending.amount)
        }));
        let mut fold = Fold::new(self.clone(), now, rules, None);
        fold.run(&News { came, ..news.clone() });
        Some(fold.account)
    }

    /// The same, by which late fees are judged; none where none can be due.
    pub(crate) fn fees_as_if_paid(&self, news: &News, now: &Now, rules: Rules<'_>) -> Option<Self> {
        let by = self.bill_rules(rules);
        let is_free = by.terms.is_np_free();
        let may_cost = |bill: &Bill| bill.key.month().is_some() || !is_free || !bill.late_fees.is_empty();
        let is_late = |bill: &Bill| may_cost(bill) && bill.due(&by) < now.date;
        if !self.pending().is_empty() && self.bills().any(|bill| is_late(&bill)) {
            self.as_if_paid(news, now, rules)
        } else {
            None
        }
    }

    /// So much credit is not paid out: usage that is not billed yet, and open holds.
    pub fn kept_back(&self, now: &Now) -> Yen {
        let exposure = self.exposure_as_it_stands(now);
        exposure.unbilled + exposure.held
    }

    /// Of it, what no payout takes: of credit alone, since an office pays what is listed as owed in cash.
    pub fn kept_from_payouts(&self, now: &Now) -> Yen {
        self.kept_back(now).min(self.credit())
    }

    /// Provisional news of payments, run out or not.
    pub fn pending(&self) -> &[Pending] {
        self.notes().map_or(&[], |notes| &notes.pending)
    }

    /// Its bills as they are at `now`, the oldest due date first. While there is provisional news of a payment, lateness
    /// is judged as if it had come.
    pub fn bills_at(&self, now: &Now, rules: Rules<'_>) -> Vec<BillAt> {
        let present = self.as_of(now, rules);
        let by = present.bill_rules(rules);
        let shadow = self.shadow(now, rules);
        let at = |bill: Bill| {
            let judged = judged(&bill, shadow.as_ref());
            let late_fees = late_fees(&bill, &judged, &by, now);
            let charged = charged(&bill, &late_fees, &by, now);
            let accrued = judged.damages_accrued(&by, now);
            // News lifts a block and never makes one.
            let is_overdue = bill.is_overdue(&by, now) && judged.is_overdue(&by, now);
            let due = bill.due(&by);
            let method = bill.method(&by);
            let owed = charged.minus_or_zero(&bill.covered());
            drop(judged);
            BillAt { due, method, charged, owed, late_fees, accrued, is_overdue, bill }
        };
        let keeps_from = self.keeps_from(now.date);
        let kept = present.bills().filter(|bill| !bill.is_over(now.date, keeps_from));
        // Put in order by their keys: a bill is large, and a thousand are moved by nobody for nothing.
        let mut order: Vec<_> = kept.map(|bill| (bill.due(&by), bill.key)).collect();
        order.sort_unstable();
        order.into_iter().filter_map(|(_, key)| Some(at(present.bill(key)?.into_owned()))).collect()
    }

    /// Damages that have accrued on a bill by now; while there is provisional news of a payment, as if it had come.
    pub fn accrued_on(&self, bill: &Bill, now: &Now, rules: Rules<'_>) -> Yen {
        let shadow = self.shadow(now, rules);
        judged(bill, shadow.as_ref()).damages_accrued(&self.bill_rules(rules), now)
    }

    /// What is owed on all issued bills at `now`; none where nothing is owed.
    pub fn owed_at(&self, now: &Now, rules: Rules<'_>) -> Option<Owed> {
        let present = self.as_of(now, rules);
        let by = present.bill_rules(rules);
        let mut shadow: Option<Option<Self>> = None;
        let mut all: Option<Owed> = None;
        for bill in present.bills().filter(|bill| bill.is_issued() && !bill.is_settled(now.date)) {
            let due = bill.due(&by);
            let in_question =
                if due < now.date { shadow.get_or_insert_with(|| self.shadow(now, rules)).as_ref() } else { None };
            let late_fees = late_fees(&bill, &judged(&bill, in_question), &by, now);
            let owed = charged(&bill, &late_fees, &by, now).minus_or_zero(&bill.covered());
            if !owed.total().is_zero() {
                let all = all.get_or_insert(Owed { oldest: due, lines: Lines::default(), grows: None });
                all.oldest = due.min(all.oldest);
                all.grows = bill.next_fee_day(&by, now.date).into_iter().chain(all.grows).min();
                Line::ALL.into_iter().for_each(|line| *all.lines.get_mut(line) += owed.get(line));
            }
        }
        all
    }

    /// By which lateness is judged while there is provisional news of a payment.
    fn shadow(&self, now: &Now, rules: Rules<'_>) -> Option<Self> {
        self.as_if_paid(&News::default(), now, rules)
    }

    /// How its bills are judged.
    pub fn bill_rules<'a>(&self, rules: Rules<'a>) -> BillRules<'a> {
        rules.bills_by(self.profile.payment_method)
    }
}

fn judged<'b>(bill: &'b Bill, shadow: Option<&'b Account>) -> Cow<'b, Bill> {
    shadow.and_then(|shadow| shadow.bill(bill.key)).unwrap_or(Cow::Borrowed(bill))
}

/// The late fees of a bill, as they are judged.
fn late_fees(bill: &Bill, judged: &Bill, by: &BillRules<'_>, now: &Now) -> Vec<LateFee> {
    let judged = (!std::ptr::eq(bill, judged)).then_some(judged);
    bill.late_fees_if(judged, by, now)
}

/// What is charged on a bill with these late fees.
fn charged(bill: &Bill, late_fees: &[LateFee], by: &BillRules<'_>, now: &Now) -> Lines {
    let late_fees = late_fees.iter().map(|late| late.amount).sum();
    Lines { late_fees, ..bill.lines_but_late_fees(by, now) }
}

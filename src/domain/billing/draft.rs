//! Working out a settlement on a copy of the account: money meets bills, fees are charged and taken back, the ladder
//! takes notice.

use std::borrow::Cow;

use super::account::Account;
use super::bill::{Bill, Change, ChangeKind, LateFee};
use super::lateness::{BillRules, Rules, is_closed};
use super::settlement::{Charge, Pot, Settlement, Transfer};
use crate::domain::model::customer::Status;
use crate::domain::model::ids::CustomerIx;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line, Lines};
use crate::domain::model::purchase::Purchase;
use crate::domain::model::time::{Millis, Now, VOID_WINDOW};

/// A settlement in the making. Every step is also made on the copy of the account.
///
/// An account may have a thousand bills and one bill thousands of changes, and all of it is worked out while everybody
/// waits. So a step looks a bill up and never through all of them, and each pass over the bills looks at each once.
pub struct Draft<'a> {
    pub account: Account,
    pub books: Settlement,
    now: &'a Now,
    pub(crate) rules: Rules<'a>,
    pub(crate) policy: u32,
    /// The oldest due date first. A draft makes no bill, and issues one with the due date that it has.
    order: Vec<BillKey>,
    /// So many of `order` owe nothing that money could still be put on.
    covered: usize,
    /// The bills by which lateness is judged while there is provisional news of a payment, once they are asked for.
    shadow: Option<Box<Account>>,
}

/// Money on its way to bills.
struct Paid<'o> {
    from: Pot,
    at: Millis,
    /// When it was paid, or now where that is said to be later.
    then: Now,
    order: &'o [Line],
}

impl<'o> Paid<'o> {
    fn at(at: Millis, now: &Now, from: Pot, order: &'o [Line]) -> Self {
        Self { from, at, then: if at < now.at { Now::at(at) } else { *now }, order }
    }
}

impl<'a> Draft<'a> {
    /// `policy` is the version of the policy in force.
    pub fn new(customer: CustomerIx, mut account: Account, now: &'a Now, rules: Rules<'a>, policy: u32) -> Self {
        account.tidy(now.date);
        let by = account.bill_rules(rules);
        let mut order: Vec<_> = account.bills().map(|bill| (bill.due(&by), bill.key)).collect();
        order.sort_unstable();
        let order = order.into_iter().map(|(_, key)| key).collect();
        let books = Settlement::nothing(customer);
        Self { account, books, now, rules, policy, order, covered: 0, shadow: None }
    }

    pub(crate) fn by(&self) -> BillRules<'a> {
        self.account.bill_rules(self.rules)
    }

    fn charge(&mut self, charge: Charge) {
        self.account.take_charge(&charge);
        self.books.charges.push(charge);
    }

    fn transfer(&mut self, from: Pot, to: Pot, amount: Yen, at: Millis) {
        let transfer = Transfer { from, to, amount, at };
        self.account.take_transfer(&transfer);
        self.books.transfers.push(transfer);
    }

    /// The bills for which something is so that has to do with being paid or late, oldest due date first.
    pub(crate) fn bills_where<T>(&self, is_so: impl Fn(&Bill) -> Option<T>) -> Vec<(BillKey, T)> {
        let by = self.by();
        let found = |bill: Cow<'_, Bill>| is_so(&bill).map(|what| ((bill.due(&by), bill.key), what));
        let mut found: Vec<_> = self.account.bills_in_question(self.now.date, &by).filter_map(found).collect();
        found.sort_unstable_by_key(|(place, _)| *place);
        found.into_iter().map(|((_, key), what)| (key, what)).collect()
    }

    /// Issues the bills of months that have closed, and puts credit on each at the moment it was issued.
    pub fn catch_up(&mut self) {
        let by = self.by();
        let is_due = |bill: &Bill| !bill.is_issued() && !bill.net().is_zero();
        let keys = self.order.iter().filter_map(|key| key.month()).filter(|month| is_closed(*month, self.now));
        let mut closed: Vec<_> = keys.collect();
        closed.sort_unstable();
        for month in closed {
            let key = BillKey::Month(month);
            let Some(bill) = self.account.bill(key).filter(|bill| is_due(bill)) else { continue };
            let method = bill.method(&by);
            let due = bill.due(&by);
            let principal = bill.net();
            let fee = by.terms.billing.fee(method);
            self.charge(Charge::Issued { month, method, due, fee, principal });
            let credit = self.account.credit();
            if !credit.is_zero() {
                let issued_at = month.next().day(1).start().plus(VOID_WINDOW);
                self.put_on(key, credit, &Paid::at(issued_at, self.now, Pot::Credit, &Line::FEES_FIRST));
            }
        }
    }

    /// Puts money on one bill, once it is issued, as far as it goes; what is left is given back. What is owed is judged as of
    /// when the money was paid. Of late fees no more is owed than provisional news of a payment leaves.
    fn put_on(&mut self, key: BillKey, money: Yen, paid: &Paid<'_>) -> Yen {
        let Some(owed) = self.owed(key, &paid.then) else { return money };
        let mut left = money;
        for line in paid.order {
            let part = owed.get(*line).min(left);
            if !part.is_zero() {
                self.transfer(paid.from, Pot::Bill { bill: key, line: *line }, part, paid.at);
                left -= part;
            }
        }
        left
    }

    fn owed(&mut self, key: BillKey, then: &Now) -> Option<Lines> {
        let by = self.by();
        let bill = self.account.bill(key).filter(|bill| bill.is_issued() && !bill.is_settled(self.now.date))?;
        let paid = bill.paid();
        let mut charged = bill.lines_but_late_fees(&by, self.now);
        charged.late_fees = bill.late_fee_sum(&by, then);
        if !charged.late_fees.is_zero() {
            drop(bill);
            let stopped = self.shadow().and_then(|shadow| Some(shadow.bill(key)?.late_fee_sum(&by, then)));
            charged.late_fees = stopped.map_or(charged.late_fees, |stopped| stopped.min(charged.late_fees));
        }
        Some(charged.minus_or_zero(&paid))
    }

    /// Allocates money to the bills that can be paid, oldest first; gives back what no bill takes.
    fn allocate(&mut self, from: Pot, money: Yen, at: Millis, order: &[Line]) -> Yen {
        let mut left = money;
        let paid = Paid::at(at, self.now, from, order);
        for place in self.covered..self.order.len() {
            let Some(key) = self.order.get(place).copied().filter(|_| !left.is_zero()) else { break };
            left = self.put_on(key, left, &paid);
            // With money left, it has taken all that it takes: its principal is paid, so no later fee day adds to it.
            if place == self.covered && !left.is_zero() {
                self.covered += 1;
            }
        }
        left
    }

    /// Money that came from outside: to the bills, then to credit.
    pub fn receive(&mut self, from: Pot, money: Yen, at: Millis, order: &[Line]) {
        self.take_in(from, money, at, order);
        self.reconcile();
    }

    pub(crate) fn take_in(&mut self, from: Pot, money: Yen, at: Millis, order: &[Line]) {
        let left = self.allocate(from, money, at, order);
        let left = self.displace(from, left, at);
        if !left.is_zero() {
            self.transfer(from, self.spare_pot(), left, self.now.at);
        }
    }

    /// Money that was paid before other money that has settled a bill takes its place there: the bill was paid when it
    /// first was, and the later money is free. It matters only to bills that were charged for being late.
    fn displace(&mut self, from: Pot, money: Yen, at: Millis) -> Yen {
        let by = self.by();
        let mut left = money;
        if left.is_zero() {
            return left;
        }
        let is_later = |change: &&Change| change.kind == ChangeKind::Paid && change.at > at;
        let later = |bill: &Bill| {
            let mut later: Vec<Change> = bill.changes.iter().filter(is_later).copied().collect();
            let was_late = !later.is_empty() && !bill.late_fees(&by, self.now).is_empty();
            later.sort_by_key(|change| std::cmp::Reverse(change.at));
            was_late.then(|| (bill.paid_principal(), later))
        };
        for (key, (mut paid, later)) in self.bills_where(later) {
            let own = Pot::Bill { bill: key, line: Line::Principal };
            for change in later {
                let part = change.amount.min(left).min(paid);
                if part.is_zero() {
                    break;
                }
                self.transfer(from, own, part, at);
                let free = self.allocate(own, part, change.at, &Line::FEES_FIRST);
                if !free.is_zero() {
                    self.transfer(own, self.spare_pot(), free, change.at);
                }
                (left, paid) = (left - part, paid - part);
            }
        }
        left
    }

    /// Where money goes that meets no bill. A closed account has no next bill.
    fn spare_pot(&self) -> Pot {
        if self.account.profile.status == Status::Closed { Pot::Payout } else { Pot::Credit }
    }

    /// Posts the late fees that are due and takes back those that no longer are; then money that became too much on its
    /// bill goes to the next. Each round moves money to where it is owed, so it ends.
    pub fn reconcile(&mut self) {
        loop {
            self.post_fees();
            let by = self.by();
            let now = self.now;
            let over = |bill: &Bill| Some(bill.overpaid(&by, now)).filter(|over| !over.total().is_zero());
            let freed = self.bills_where(over);
            if freed.is_empty() {
                return;
            }
            for (bill, over) in freed {
                for line in Line::ALL.into_iter().filter(|line| !over.get(*line).is_zero()) {
                    let from = Pot::Bill { bill, line };
                    let amount = over.get(line);
                    let left = self.allocate(from, amount, self.now.at, &Line::FEES_FIRST);
                    if !left.is_zero() {
                        self.transfer(from, self.spare_pot(), left, self.now.at);
                    }
                }
            }
        }
    }

    fn post_fees(&mut self) {
        let by = self.by();
        let now = self.now;
        // Money has moved since it was made.
        self.shadow = None;
        let own = |bill: &Bill| {
            let due = bill.late_fees(&by, now);
            let is_waived = !bill.fee.unwrap_or_default().is_zero() && bill.bill_fee(&by, now).is_zero();
            let says_something = bill.is_issued() && (!due.is_empty() || !bill.late_fees.is_empty() || is_waived);
            says_something.then(|| (due, bill.late_fees.clone(), bill.fee.unwrap_or_default(), is_waived))
        };
        for (key, (mut due, posted, fee, is_waived)) in self.bills_where(own) {
            if !due.is_empty()
                && let Some(judged) = self.shadow().and_then(|shadow| Some(shadow.bill(key)?.late_fees(&by, now)))
            {
                due = judged;
            }
            let is_in = |list: &[LateFee], date| list.binary_search_by_key(&date, |late| late.date).is_ok();
            for late in posted.iter().filter(|late| !is_in(&due, late.date)) {
                self.charge(Charge::LateFeeTakenBack { bill: key, date: late.date, amount: late.amount });
            }
            for late in due.iter().filter(|late| !is_in(&posted, late.date)) {
                self.charge(Charge::LateFee { bill: key, date: late.date, amount: late.amount });
            }
            if let Some(month) = key.month().filter(|_| is_waived) {
                self.charge(Charge::BillFeeWaived { month, amount: fee });
            }
        }
    }

    /// The account as if the payments had come that are only provisional news; none where there is no such news. It is
    /// made when a late fee is in question, and stands until fees are posted.
    fn shadow(&mut self) -> Option<&Account> {
        if self.shadow.is_none() {
            self.shadow = self.account.shadow(self.now, self.rules).map(Box::new);
        }
        self.shadow.as_deref()
    }

    /// Takes a part of a purchase back, as [`Account::discharge`] will: what had been paid of it is free for other bills.
    pub fn refund(&mut self, purchase: &Purchase) {
        if self.account.bill(purchase.bill()).is_some() {
            self.account.discharge(purchase, self.now);
            self.reconcile();
        } else {
            self.receive(Pot::Refund, purchase.amount, self.now.at, &Line::FEES_FIRST);
        }
    }

    pub fn post_damages(&mut self, bill: BillKey, amount: Yen) {
        self.charge(Charge::Damages { bill, amount });
    }

    /// Gives credit out.
    pub fn pay_out(&mut self, amount: Yen) {
        self.transfer(Pot::Credit, Pot::Payout, amount, self.now.at);
    }

    /// The settlement, and the account as it will be.
    pub fn finish(mut self) -> (Settlement, Account) {
        let before = self.account.record;
        self.take_notice();
        self.books.record = (self.account.record != before).then_some(self.account.record);
        (self.books, self.account)
    }

    /// Credit that met no bill for some months is owed in cash.
    pub fn pay_out_old_credit(&mut self) {
        let since = self.account.credit_since();
        let months = self.rules.policy.payout_after_months;
        if since.is_some_and(|since| since.date().plus_months(months) <= self.now.date) {
            self.pay_out(self.account.credit());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::billing::notes::Pending;
    use crate::domain::model::customer::Profile;
    use crate::domain::model::ids::{CustomerId, Lsn, OfficeId};
    use crate::domain::model::policy::Policy;
    use crate::domain::model::purchase::{Channel, Purchase};
    use crate::domain::model::time::{BankCalendar, Date, Month};

    #[test]
    fn money_beside_provisional_news_pays_no_fee_that_the_news_stopped() {
        let policy = Policy::parse(include_str!("../../../config/policy.toml")).unwrap();
        let rules = Rules { policy: &policy, calendar: &BankCalendar::default() };
        let at = |text| Millis::parse(text).unwrap();
        let mut account = Account::new(CustomerId::new("1001").unwrap(), Profile::newcomer());
        let amount = Yen::new(10_000);
        let month = Month::parse("2021-06").unwrap();
        let bought_at = at("2021-06-20T10:00:00+09:00");
        let purchase = Purchase { order: Lsn(1), channel: Channel::InStore, amount, month, at: bought_at };
        account.owe(&purchase, Date::MAX);
        // Paid the day before the first fee day: the whole bill, by what the slip said.
        account.notes_mut().pending.push(Pending {
            id: OfficeId::new("news").unwrap(),
            amount: Yen::new(10_209),
            paid_at: at("2021-08-09T12:00:00+09:00"),
            expires_at: at("2021-08-31T00:00:00+09:00"),
        });
        let now = Now::at(at("2021-08-12T12:00:00+09:00"));
        let owed = account.bills_at(&now, rules).remove(0).owed;
        assert_eq!((owed.late_fees, owed.total()), (Yen::ZERO, Yen::new(10_209)));
        let mut draft = Draft::new(CustomerIx(0), account, &now, rules, 1);
        draft.catch_up();
        draft.receive(Pot::Received, owed.total(), now.at, &Line::FEES_FIRST);
        let bill = draft.account.bills().next().unwrap().into_owned();
        assert_eq!(bill.paid(), Lines { bill_fee: Yen::new(209), principal: amount, ..Lines::default() });
    }

    #[test]
    fn money_that_was_first_takes_the_place_of_later_money() {
        let policy = Policy::parse(include_str!("../../../config/policy.toml")).unwrap();
        let rules = Rules { policy: &policy, calendar: &BankCalendar::default() };
        let at = |text| Millis::parse(text).unwrap();
        let mut account = Account::new(CustomerId::new("1001").unwrap(), Profile::newcomer());
        let amount = Yen::new(30_000);
        let month = Month::parse("2021-06").unwrap();
        let bought_at = at("2021-06-20T10:00:00+09:00");
        let purchase = Purchase { order: Lsn(1), channel: Channel::InStore, amount, month, at: bought_at };
        account.owe(&purchase, Date::MAX);
        let now = Now::at(at("2021-08-15T12:00:00+09:00"));
        let mut draft = Draft::new(CustomerIx(0), account, &now, rules, 1);
        draft.catch_up();
        draft.receive(Pot::Received, Yen::new(30_309), now.at, &Line::FEES_FIRST);
        assert_eq!(draft.account.bills().next().unwrap().paid().late_fees, Yen::new(100));
        // The konbini reports days later what was paid there before the first fee day.
        let now = Now::at(at("2021-08-20T12:00:00+09:00"));
        let mut draft = Draft::new(CustomerIx(0), draft.account, &now, rules, 1);
        draft.receive(Pot::Received, Yen::new(30_209), at("2021-08-05T12:00:00+09:00"), &Line::FEES_FIRST);
        let bill = draft.account.bills().next().unwrap().into_owned();
        assert_eq!(bill.paid(), Lines { bill_fee: Yen::new(209), principal: amount, ..Lines::default() });
        assert_eq!(draft.account.credit(), Yen::new(30_309), "all of the later money");
        assert!(bill.late_fees.is_empty() && bill.open_before(at("2021-08-10T00:00:00+09:00")).is_zero());
    }
}

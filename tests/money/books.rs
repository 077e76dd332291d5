//! One customer's books by the rules of the service, from the plain list of what happened: all of it in order of value
//! time, then of hearing, day by day from the first one, whenever somebody asks. Nothing is kept between two questions.
//!
//! The readings that the model takes:
//! - Money meets the issued bills that stand at its value time, the one that is due first before the others, and on an
//!   old slip too bill by bill. What is left is credit: sums, each with the value time of its money as its own day.
//! - A month's bill is issued at 00:00 of the 1st and can be paid from then on, an NP invoice when its purchase is
//!   captured. Credit meets bills when they are issued and damages when they are posted, oldest own day first.
//! - A payment at 00:00 belongs to the day that begins: the day's late fee and damages stand.
//! - A refund counts from when it is heard. What had been paid beyond the principal that is left, and the bill fee of a
//!   bill that refunds emptied by its due date, is one new sum of that moment.
//! - A purchase that is cancelled has never been.
//! - Posted damages are cut to what had accrued on their day, less what was posted on the bill before.
//! - A payout takes what is due first, oldest own day first, then credit. A debt takes the oldest sum first, and of one
//!   sum what is due first.
//! - What is due of a sum never grows by what is heard: of what comes back to it only the next run of the calendar makes
//!   something due.
//! - What became due of a sum is a fact of its own: when the calendar ran, of sums of three months; for a closed
//!   customer of all sums, at once. What usage without a bill and open holds come to is kept back, but
//!   not for a closed customer.
//! - While there is news of a payment, overdue and shown damages are judged as if its money had come, and a late fee
//!   stands only if it stands with that money and without.

use super::bill::{Bill, Key, Lines};
use super::calendar::{Banks, Day, MonthNo, civil, date, day_of, first_of, start_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    InStore,
    Online,
    Np,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Konbini,
    Postcard,
    Debit,
}

#[derive(Clone, Debug)]
pub struct Sale {
    /// Its number among everybody's.
    pub order: usize,
    pub way: Way,
    /// As authorized.
    pub amount: u64,
    /// Until when it is a hold, if it is one.
    pub held_until: Option<i64>,
    /// What was captured, and when.
    pub captured: Option<(u64, i64)>,
    pub cancelled: bool,
}

impl Sale {
    /// What was captured, else what is held.
    pub fn bought(&self) -> u64 {
        self.captured.map_or(self.amount, |(amount, _)| amount)
    }

    pub fn is_held(&self, now: i64) -> bool {
        !self.cancelled && self.captured.is_none() && self.held_until.is_some_and(|until| now < until)
    }
}

/// What happened to the customer's money.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A purchase was captured.
    Bought {
        sale: usize,
    },
    Refunded {
        sale: usize,
        amount: u64,
    },
    Paid {
        amount: u64,
        principal_first: bool,
    },
    DamagesPosted {
        bill: Key,
        amount: u64,
    },
    PaidOut {
        amount: u64,
    },
    /// So much of the sum that this fact made became due for payout.
    MadeDue {
        of: usize,
        amount: u64,
    },
    /// No more than so much of the sum is due from now on.
    DueAtMost {
        of: usize,
        amount: u64,
    },
}

impl Fact {
    fn made_due(&self) -> Option<usize> {
        match self {
            Self::MadeDue { of, .. } => Some(*of),
            _ => None,
        }
    }
}

/// News of a payment that is not money yet.
#[derive(Clone, Debug)]
pub struct Pending {
    pub id: usize,
    pub amount: u64,
    pub paid_at: i64,
    pub expires_at: i64,
    pub settled: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Customer {
    pub sales: Vec<Sale>,
    /// In the order in which we heard of them, with the moment from which each counts.
    pub facts: Vec<(i64, Fact)>,
    pub methods: Vec<(i64, Method)>,
    pub pending: Vec<Pending>,
    pub is_closed: bool,
}

/// Money that no debt has met.
#[derive(Clone, Debug)]
pub struct Sum {
    /// The fact that it came with.
    pub from: usize,
    /// Its own day, as a moment.
    pub day: i64,
    pub amount: u64,
    /// What of it is due for payout.
    pub due: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Issued bills, oldest due date first.
    pub bills: Vec<Bill>,
    /// Oldest own day first.
    pub free: Vec<Sum>,
    pub paid_out: u64,
    /// Captured sales, in order.
    bought: Vec<usize>,
    /// What each sale still counts for, refunds taken off.
    net: Vec<u64>,
}

impl Customer {
    fn method_at(&self, moment: i64) -> Method {
        let before = self.methods.iter().rev().find(|(at, _)| *at < moment);
        before.map_or(Method::Konbini, |(_, method)| *method)
    }

    /// The month's bill as it is issued on the 1st of the next one; none if nothing is left of its purchases.
    fn issue(&self, month: MonthNo, books: &Books, banks: &Banks) -> Option<Bill> {
        let sales: Vec<_> = books.unbilled(month, self).collect();
        let method = self.method_at(start_of(first_of(month + 1)));
        let (due, bill_fee) = match method {
            Method::Konbini => (date(month + 1, 10), 209),
            Method::Postcard => (date(month + 1, 20), 209),
            Method::Debit => (banks.open_from(date(month + 1, 27)), 0),
        };
        let principal = sales.iter().map(|sale| books.net[*sale]).sum();
        let charged = Lines { principal, bill_fee, ..Lines::default() };
        (principal > 0).then(|| Bill::new(Key::Month(month), due, sales, charged))
    }

    pub fn live_news(&self, now: i64) -> impl Iterator<Item = &Pending> {
        self.pending.iter().filter(move |news| !news.settled && now < news.expires_at)
    }

    /// The books at `now`, and the books as if the payments of which there is news had come.
    pub fn books(&self, now: i64, banks: &Banks) -> (Books, Books) {
        let (mut books, as_if) = self.books_by_facts(now, banks);
        if self.is_closed {
            // Also what news alone has freed for now.
            books.free.iter_mut().for_each(|sum| sum.due = sum.amount);
        }
        (books, as_if)
    }

    fn books_by_facts(&self, now: i64, banks: &Banks) -> (Books, Books) {
        let paid = |news: &Pending| (news.paid_at, Fact::Paid { amount: news.amount, principal_first: false });
        let as_if = Books::run(self, self.live_news(now).map(paid).collect(), now, banks, None);
        let books = Books::run(self, Vec::new(), now, banks, Some(&as_if));
        (books, as_if)
    }

    pub fn books_without_news(&self, now: i64, banks: &Banks) -> Books {
        Books::run(self, Vec::new(), now, banks, None)
    }

    /// We hear at `now` of something that counts from `at`.
    pub fn hear(&mut self, at: i64, fact: Fact, now: i64, banks: &Banks) {
        let is_in_month = matches!(fact, Fact::Bought { sale } if self.sales[sale].way != Way::Np);
        let before = self.books(now, banks).0;
        self.facts.push((at, fact));
        self.due_at_most_as(&before, now);
        if self.is_closed && !is_in_month {
            self.sweep(now, banks);
        }
    }

    /// A captured purchase is cancelled.
    pub fn cancel(&mut self, sale: usize, now: i64, banks: &Banks) {
        let before = self.books(now, banks).0;
        self.sales[sale].cancelled = true;
        self.due_at_most_as(&before, now);
        if self.is_closed {
            self.sweep(now, banks);
        }
    }

    /// Money that comes back to a sum is not due, whatever it was before.
    fn due_at_most_as(&mut self, before: &Books, now: i64) {
        let due = |of| before.free.iter().find(|sum| sum.from == of).map_or(0, |sum| sum.due);
        let made_due: Vec<usize> = self.facts.iter().filter_map(|(_, fact)| fact.made_due()).collect();
        self.facts.extend(made_due.into_iter().map(|of| (now, Fact::DueAtMost { of, amount: due(of) })));
    }

    pub fn set_closed(&mut self, closed: bool, now: i64, banks: &Banks) {
        self.is_closed = closed;
        if closed {
            self.sweep(now, banks);
        }
    }

    /// The calendar runs: old sums become due.
    pub fn sweep(&mut self, now: i64, banks: &Banks) {
        let books = self.books_by_facts(now, banks).0;
        let mut most = if self.is_closed { books.credit() } else { books.credit_to_spare(self, now) };
        for sum in &books.free {
            let (month, day) = civil(day_of(sum.day));
            if self.is_closed || date(month + 3, day) <= day_of(now) {
                let amount = most.min(sum.amount - sum.due);
                most -= amount;
                self.facts.push((now, Fact::MadeDue { of: sum.from, amount }));
            }
        }
    }
}

impl Books {
    fn run(customer: &Customer, news: Vec<(i64, Fact)>, now: i64, banks: &Banks, as_if: Option<&Self>) -> Self {
        let mut facts: Vec<_> = customer.facts.iter().chain(&news).enumerate().collect();
        facts.sort_by_key(|(_, (at, _))| *at);
        let mut books = Self { net: vec![0; customer.sales.len()], ..Self::default() };
        let Some(first) = facts.first().map(|(_, (at, _))| day_of(*at)) else { return books };
        let mut facts = facts.into_iter().peekable();
        for day in first..=day_of(now) {
            books.midnight(day, as_if);
            let (month, day_of_month) = civil(day);
            if day_of_month == 1 {
                books.add(customer.issue(month - 1, &books, banks));
            }
            while let Some((heard, (at, fact))) = facts.next_if(|(_, (at, _))| day_of(*at) == day) {
                books.post(heard, *at, fact, customer);
            }
        }
        books
    }

    /// A day begins: another day of damages, and on fee days the late fee.
    fn midnight(&mut self, day: Day, as_if: Option<&Self>) {
        let (month, day_of_month) = civil(day);
        for bill in self.bills.iter_mut().filter(|bill| bill.is_overdue(day)) {
            bill.yen_days += bill.open();
            let is_fee_day = [10, 25].contains(&day_of_month) && month > civil(bill.due).0;
            let stands =
                as_if.is_none_or(|other| other.bill(bill.key).is_some_and(|twin| twin.fee_days.contains(&day)));
            if matches!(bill.key, Key::Month(_)) && is_fee_day && stands {
                bill.fee_days.push(day);
                bill.charged.late_fees += 100;
            }
        }
    }

    /// A bill is issued.
    fn add(&mut self, bill: Option<Bill>) {
        self.bills.extend(bill);
        self.bills.sort_by_key(|bill| (bill.due, bill.key));
        self.meet(false);
    }

    pub fn bill(&self, key: Key) -> Option<&Bill> {
        self.bills.iter().find(|bill| bill.key == key)
    }

    fn post(&mut self, heard: usize, at: i64, fact: &Fact, customer: &Customer) {
        let day = day_of(at);
        match *fact {
            Fact::Bought { sale } if customer.sales[sale].cancelled => {}
            Fact::Bought { sale } => {
                let bought = &customer.sales[sale];
                let (amount, _) = bought.captured.unwrap();
                self.net[sale] = amount;
                self.bought.push(sale);
                if bought.way == Way::Np {
                    let charged = Lines { principal: amount, ..Lines::default() };
                    self.add(Some(Bill::new(Key::Np(sale), day + 14, vec![sale], charged)));
                }
            }
            Fact::Refunded { sale, amount } => {
                self.net[sale] -= amount;
                let bill = self.bills.iter_mut().find(|bill| bill.sales.contains(&sale));
                let freed = bill.map_or(0, |bill| bill.shrink(amount, day));
                self.receive(Sum { from: heard, day: at, amount: freed, due: 0 }, false);
            }
            Fact::Paid { amount, principal_first } => {
                self.receive(Sum { from: heard, day: at, amount, due: 0 }, principal_first);
            }
            Fact::DamagesPosted { bill, amount } => {
                let bill = self.bills.iter_mut().find(|one| one.key == bill).unwrap();
                bill.charged.damages += amount.min(bill.accrued().saturating_sub(bill.charged.damages));
                self.meet(false);
            }
            Fact::PaidOut { amount } => self.pay_out(amount),
            Fact::DueAtMost { of, amount } => {
                if let Some(sum) = self.free.iter_mut().find(|sum| sum.from == of) {
                    sum.due = sum.due.min(amount);
                }
            }
            Fact::MadeDue { of, amount } => {
                if let Some(sum) = self.free.iter_mut().find(|sum| sum.from == of) {
                    sum.due = (sum.due + amount).min(sum.amount);
                }
            }
        }
    }

    /// Where a bill stands open nothing else is free, so it is this money that goes to principal first.
    fn receive(&mut self, sum: Sum, principal_first: bool) {
        self.free.push(sum);
        self.free.sort_by_key(|sum| (sum.day, sum.from));
        self.meet(principal_first);
    }

    /// Free money meets the oldest bill first; what no bill takes stays free.
    fn meet(&mut self, principal_first: bool) {
        for bill in &mut self.bills {
            for sum in &mut self.free {
                let left = bill.take(sum.amount, principal_first);
                sum.due = sum.due.saturating_sub(sum.amount - left);
                sum.amount = left;
            }
        }
        self.free.retain(|sum| sum.amount > 0);
    }

    /// What is due goes first, then credit, of each the oldest first.
    fn pay_out(&mut self, amount: u64) {
        let mut left = amount;
        for is_due in [true, false] {
            for sum in &mut self.free {
                let part = left.min(if is_due { sum.due } else { sum.amount });
                left -= part;
                sum.amount -= part;
                sum.due = sum.due.saturating_sub(part);
            }
        }
        assert_eq!(left, 0, "a payout was made of money that is not there: {self:?}");
        self.paid_out += amount;
        self.free.retain(|sum| sum.amount > 0);
    }

    pub fn payout_due(&self) -> u64 {
        self.free.iter().map(|sum| sum.due).sum()
    }

    /// Free money that is not due for payout.
    pub fn credit(&self) -> u64 {
        self.free.iter().map(|sum| sum.amount - sum.due).sum()
    }

    /// Credit above what is kept back.
    pub fn credit_to_spare(&self, customer: &Customer, now: i64) -> u64 {
        self.credit().saturating_sub(self.kept_back(customer, now))
    }

    /// What can be paid out on request.
    pub fn payable(&self, customer: &Customer, now: i64) -> u64 {
        (self.payout_due() + self.credit()).saturating_sub(self.kept_back(customer, now))
    }

    /// Usage without a bill and open holds.
    fn kept_back(&self, customer: &Customer, now: i64) -> u64 {
        let unbilled: u64 = self.unbilled(civil(day_of(now)).0, customer).map(|sale| self.net[sale]).sum();
        let held: u64 = customer.sales.iter().filter(|sale| sale.is_held(now)).map(|sale| sale.amount).sum();
        unbilled + held
    }

    /// The sales for the month's bill, in order.
    fn unbilled(&self, month: MonthNo, customer: &Customer) -> impl Iterator<Item = usize> {
        let is_of_month = move |sale: &usize| {
            let of = &customer.sales[*sale];
            of.way != Way::Np && of.captured.is_some_and(|(_, at)| civil(day_of(at)).0 == month)
        };
        self.bought.iter().copied().filter(is_of_month).filter(|sale| self.net[*sale] > 0)
    }

    /// Total and in-store exposure: open holds and unpaid principal. Money settles purchases oldest first.
    pub fn exposure(&self, customer: &Customer, now: i64) -> (u64, u64) {
        let mut open = self.net.clone();
        for bill in &self.bills {
            let mut paid = bill.paid.principal;
            for sale in &bill.sales {
                let part = paid.min(open[*sale]);
                open[*sale] -= part;
                paid -= part;
            }
        }
        for (sale, open) in customer.sales.iter().zip(&mut open) {
            if sale.is_held(now) {
                *open = sale.amount;
            }
        }
        let in_store = customer.sales.iter().zip(&open).filter(|(sale, _)| sale.way == Way::InStore);
        (open.iter().sum(), in_store.map(|(_, open)| open).sum())
    }
}

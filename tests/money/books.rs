//! One customer's books by the rules of the service, from the plain list of what happened, day by day from the first
//! one, whenever somebody asks. Nothing is kept between two questions.
//!
//! Where the rules leave a question open, the model follows the product in these readings:
//! - A month's bill is issued on the 1st at 00:15, when nothing of the month can be cancelled any more. It can be paid
//!   from then on, and credit meets it then: no other bill, no NP invoice, and no damages posted later.
//! - The oldest bill is the one that is due first.
//! - A payment at 00:00 belongs to the day that begins: the day's late fee and damages stand.
//! - Money on an old slip goes bill by bill, and inside each to principal first.
//! - Damages that were posted stand, also when late news makes the accrued ones less.
//! - Credit is paid out whole, three months after it rose from nothing, when the calendar next runs.
//! - While there is news of a payment, fees, damages and overdue are judged as if its money came now, counting from the
//!   day it was paid.

use super::calendar::{Banks, Day, MINUTE, MonthNo, civil, date, day_of, first_of, start_of};

/// A month's bill, or the bill of one NP Atobarai purchase, by its place in the list of sales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Month(MonthNo),
    Np(usize),
}

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

/// What happened to the customer's money, with the moment from which it counts.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A purchase was captured.
    Bought {
        sale: usize,
    },
    /// A cancel of a captured purchase, or a refund.
    GivenBack {
        sale: usize,
        amount: u64,
    },
    /// Money came, and when we heard of it.
    Paid {
        amount: u64,
        principal_first: bool,
        heard: i64,
    },
    DamagesPosted {
        bill: Key,
        amount: u64,
    },
    PaidOut {
        amount: u64,
    },
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
    /// In the order in which we heard of them.
    pub facts: Vec<(i64, Fact)>,
    pub methods: Vec<(i64, Method)>,
    pub pending: Vec<Pending>,
}

/// Yen by ledger line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    pub principal: u64,
    pub bill_fee: u64,
    pub late_fees: u64,
    pub damages: u64,
}

impl Lines {
    pub fn total(&self) -> u64 {
        self.principal + self.bill_fee + self.late_fees + self.damages
    }
}

#[derive(Clone, Debug)]
pub struct Bill {
    pub key: Key,
    pub due: Day,
    pub sales: Vec<usize>,
    /// As charged, less refunds.
    pub charged: Lines,
    pub paid: Lines,
    /// On which a late fee fell due.
    fee_days: Vec<Day>,
    /// The sum over late days of that day's opening principal.
    yen_days: u64,
}

impl Bill {
    fn new(key: Key, due: Day, sales: Vec<usize>, charged: Lines) -> Self {
        Self { key, due, sales, charged, paid: Lines::default(), fee_days: Vec::new(), yen_days: 0 }
    }

    pub fn open(&self) -> u64 {
        self.charged.principal - self.paid.principal
    }

    pub fn owed(&self) -> u64 {
        self.charged.total() - self.paid.total()
    }

    /// Inside a bill late fees and bill fee, posted damages, principal. Gives back what it does not take.
    fn take(&mut self, mut money: u64, principal_first: bool) -> u64 {
        let (owed, paid) = (&self.charged, &mut self.paid);
        let mut lines = [
            (owed.late_fees, &mut paid.late_fees),
            (owed.bill_fee, &mut paid.bill_fee),
            (owed.damages, &mut paid.damages),
            (owed.principal, &mut paid.principal),
        ];
        if principal_first {
            lines.rotate_right(1);
        }
        for (owed, paid) in lines {
            let part = money.min(owed - *paid);
            *paid += part;
            money -= part;
        }
        money
    }

    /// A purchase goes back: what had been paid of it is free. One that refunds emptied by its due date costs no fee.
    fn shrink(&mut self, amount: u64, today: Day) -> u64 {
        self.charged.principal -= amount;
        let mut freed = self.paid.principal.saturating_sub(self.charged.principal);
        self.paid.principal -= freed;
        if self.charged.principal == 0 && today <= self.due {
            freed += self.paid.bill_fee;
            (self.charged.bill_fee, self.paid.bill_fee) = (0, 0);
        }
        freed
    }

    pub fn is_overdue(&self, today: Day) -> bool {
        self.due < today && self.open() > 0
    }

    /// 14.6 % a year of 365 days, floored once.
    pub fn accrued(&self) -> u64 {
        self.yen_days * 146 / 365_000
    }
}

#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Issued bills, oldest due date first.
    pub bills: Vec<Bill>,
    pub credit: u64,
    /// When we heard of the first money of the present credit, and of the latest.
    pub credit_heard: (i64, i64),
    pub paid_out: u64,
    /// Captured sales, in order.
    bought: Vec<usize>,
    /// What each sale still counts for, refunds taken off.
    net: Vec<u64>,
}

impl Customer {
    /// Whether a fact only makes an open month's usage larger.
    pub fn is_in_month(&self, fact: &Fact) -> bool {
        matches!(fact, Fact::Bought { sale } if self.sales[*sale].way != Way::Np)
    }

    fn method_at(&self, moment: i64) -> Method {
        let before = self.methods.iter().rev().find(|(at, _)| *at < moment);
        before.map_or(Method::Konbini, |(_, method)| *method)
    }

    /// The month's bill as it is issued on the 1st of the next one; none if nothing is left of its purchases.
    fn issue(&self, month: MonthNo, books: &Books, banks: &Banks) -> Option<Bill> {
        let is_of_month = |sale: &Sale| sale.captured.is_some_and(|(_, at)| civil(day_of(at)).0 == month);
        let is_on_bill =
            |sale: usize| self.sales[sale].way != Way::Np && books.net[sale] > 0 && is_of_month(&self.sales[sale]);
        let sales: Vec<_> = books.bought.iter().copied().filter(|sale| is_on_bill(*sale)).collect();
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

    /// The books at `now`, and the books as if the payments of which there is news had come: by these lateness is
    /// judged, so a late fee is charged only if it stands in both.
    pub fn books(&self, now: i64, banks: &Banks) -> (Books, Books) {
        let paid = |news: &Pending| Fact::Paid { amount: news.amount, principal_first: false, heard: now };
        let news = self.live_news(now).map(|news| (news.paid_at, paid(news)));
        let as_if = Books::run(self, news.collect(), now, banks, None);
        let books = Books::run(self, Vec::new(), now, banks, Some(&as_if));
        (books, as_if)
    }
}

impl Books {
    fn run(customer: &Customer, news: Vec<(i64, Fact)>, now: i64, banks: &Banks, as_if: Option<&Self>) -> Self {
        let mut facts = [customer.facts.clone(), news].concat();
        facts.sort_by_key(|(at, _)| *at);
        let mut books = Self { net: vec![0; customer.sales.len()], ..Self::default() };
        let Some(first) = facts.first().map(|(at, _)| day_of(*at)) else { return books };
        let mut facts = facts.iter().peekable();
        for day in first..=day_of(now) {
            books.midnight(day, as_if);
            // Nothing of a month can be cancelled from 00:15 on: then it closes.
            let closes = start_of(day) + 15 * MINUTE;
            while let Some(fact) = facts.next_if(|(at, _)| *at < closes) {
                books.post(fact, customer);
            }
            if civil(day).1 == 1 && now >= closes {
                books.close(civil(day).0 - 1, customer, banks);
            }
            while let Some(fact) = facts.next_if(|(at, _)| day_of(*at) == day) {
                books.post(fact, customer);
            }
        }
        books
    }

    /// A day begins: another day of damages, and on fee days the late fee.
    fn midnight(&mut self, day: Day, as_if: Option<&Self>) {
        let (month, day_of_month) = civil(day);
        for bill in self.bills.iter_mut().filter(|bill| bill.due < day && bill.open() > 0) {
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

    /// The month's bill is issued, and credit meets it.
    fn close(&mut self, month: MonthNo, customer: &Customer, banks: &Banks) {
        let Some(mut bill) = customer.issue(month, self, banks) else { return };
        self.credit = bill.take(self.credit, false);
        self.add(bill);
    }

    fn add(&mut self, bill: Bill) {
        self.bills.push(bill);
        self.bills.sort_by_key(|bill| (bill.due, bill.key));
    }

    pub fn bill(&self, key: Key) -> Option<&Bill> {
        self.bills.iter().find(|bill| bill.key == key)
    }

    fn post(&mut self, (at, fact): &(i64, Fact), customer: &Customer) {
        let day = day_of(*at);
        match *fact {
            Fact::Bought { sale } => {
                let bought = &customer.sales[sale];
                let (amount, _) = bought.captured.unwrap();
                self.net[sale] = amount;
                self.bought.push(sale);
                if bought.way == Way::Np {
                    let charged = Lines { principal: amount, ..Lines::default() };
                    self.add(Bill::new(Key::Np(sale), day + 14, vec![sale], charged));
                }
            }
            Fact::GivenBack { sale, amount } => {
                self.net[sale] -= amount;
                if let Some(bill) = self.bills.iter_mut().find(|bill| bill.sales.contains(&sale)) {
                    let freed = bill.shrink(amount, day);
                    self.receive(freed, false, *at);
                }
            }
            Fact::Paid { amount, principal_first, heard } => self.receive(amount, principal_first, heard),
            Fact::DamagesPosted { bill, amount } => {
                let bill = self.bills.iter_mut().find(|one| one.key == bill).unwrap();
                bill.charged.damages += amount;
            }
            Fact::PaidOut { amount } => {
                self.credit -= amount;
                self.paid_out += amount;
            }
        }
    }

    /// Money meets the oldest bill first; what no bill takes is credit.
    fn receive(&mut self, money: u64, principal_first: bool, heard: i64) {
        let left = self.bills.iter_mut().fold(money, |left, bill| bill.take(left, principal_first));
        if left > 0 {
            let first = if self.credit == 0 { heard } else { self.credit_heard.0 };
            self.credit_heard = (first, heard.max(first));
        }
        self.credit += left;
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

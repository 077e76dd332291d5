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
//! - What of a sum is due depends on what was booked when: the calendar makes sums of three months due, and all sums of a
//!   closed customer, the oldest first, but for what usage without a bill and open holds come to. From then on whatever
//!   goes from the sum takes what is due first (a reversal: credit first), whatever comes to it is credit.
//! - While there is news of a payment, who is overdue is overdue with its money and without; shown damages are judged as
//!   if it had come, and a late fee
//!   stands only if it stands with that money and without.
//!
//! Of what staff corrects, each from its own moment on, and played again in its place when earlier news comes:
//! - A payout that bounces puts each sum back with its old day, and what of it was due is due again; in between the money
//!   was away.
//! - A repayment is taken back from what is free of it, then from its bills, the latest due date first, inside a bill
//!   principal, damages, bill fee, late fees; then from what refunds, waivers and reversals set free on bills that it had
//!   met; and where news has moved all that, from any other money, the newest free sum first. More than lies in the first
//!   two is refused. Of a payment lies on a line what was put there, at most what is still paid of it: what goes from a
//!   line is first that of others.
//! - A fee that is waived and damages that are taken back are off their line. What had been paid of them is one new sum of
//!   that moment. A waived late fee is not charged again, and damages may be posted again up to what accrued.
//! - A bill is given up once, while something of it is owed: it accrues nothing from then on, stays overdue, and money
//!   meets it in its place. Its release, once too, forgives each line as far as it is open at that moment. That is no
//!   money: what is charged less afterwards lowers it first, and only what had been paid is free.
//! - Credit pays a month that is still open, at most what the month has used, and the bill takes it over. When purchases of
//!   the month go back, what is more than the rest is credit again in its own sums, what was put on last before the rest,
//!   and does not meet a later purchase by itself.

use std::collections::BTreeMap;

use super::bill::{Bill, Key, Lines};
use super::calendar::{Banks, Day, MonthNo, civil, date, day_of, first_of, start_of};
use super::fold::Books;

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
    /// The bank sent the payout of that fact back.
    Bounced {
        payout: usize,
    },
    /// So much of the payment of that fact had been booked by mistake.
    Reversed {
        of: usize,
        amount: u64,
    },
    /// The bill fee, or the late fee of a day.
    Waived {
        bill: Key,
        late: Option<Day>,
    },
    /// Damages that the fact posted are taken back.
    DamagesReversed {
        bill: Key,
        posting: usize,
    },
    WrittenOff {
        bill: Key,
    },
    Released {
        bill: Key,
    },
    /// Credit was put on the month that is open.
    Applied {
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
    /// In the order in which we heard of them, with the moment from which each counts.
    pub facts: Vec<(i64, Fact)>,
    pub methods: Vec<(i64, Method)>,
    pub pending: Vec<Pending>,
    pub is_closed: bool,
    /// As the payouts were made.
    pub due_paid_out: DuePaidOut,
    /// Each sum as it was when something was booked last, by the fact that made it.
    sums: BTreeMap<usize, Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    amount: u64,
    due: u64,
}

/// By the fact of a payout, then by the fact that made a sum: what of the sum had been due.
pub type DuePaidOut = BTreeMap<usize, BTreeMap<usize, u64>>;

impl Customer {
    fn method_at(&self, moment: i64) -> Method {
        let before = self.methods.iter().rev().find(|(at, _)| *at < moment);
        before.map_or(Method::Konbini, |(_, method)| *method)
    }

    /// The month's bill as it is issued on the 1st of the next one; none if nothing is left of its purchases.
    pub fn issue(&self, month: MonthNo, books: &Books, banks: &Banks) -> Option<Bill> {
        let sales: Vec<_> = books.unbilled(month, self).collect();
        let method = self.method_at(start_of(first_of(month + 1)));
        let (due, bill_fee) = match method {
            Method::Konbini => (date(month + 1, 10), 209),
            Method::Postcard => (date(month + 1, 20), 209),
            Method::Debit => (banks.open_from(date(month + 1, 27)), 0),
        };
        let principal = sales.iter().map(|sale| books.net(*sale)).sum();
        let charged = Lines { principal, bill_fee, ..Lines::default() };
        (principal > 0).then(|| Bill::new(Key::Month(month), due, sales, charged))
    }

    pub fn live_news(&self, now: i64) -> impl Iterator<Item = &Pending> {
        self.pending.iter().filter(move |news| !news.settled && now < news.expires_at)
    }

    /// The books at `now`, and the books as if the payments of which there is news had come.
    pub fn books(&self, now: i64, banks: &Banks) -> (Books, Books) {
        let (books, as_if) = self.books_by_facts(now, banks);
        (self.with_due(books), as_if)
    }

    fn with_due(&self, mut books: Books) -> Books {
        for sum in &mut books.free {
            let Seen { amount, due } = self.sums.get(&sum.money.from).copied().unwrap_or_default();
            sum.due = due.saturating_sub(amount.saturating_sub(sum.amount));
        }
        books
    }

    fn books_by_facts(&self, now: i64, banks: &Banks) -> (Books, Books) {
        let paid = |news: &Pending| (news.paid_at, Fact::Paid { amount: news.amount, principal_first: false });
        let as_if = Books::run(self, self.live_news(now).map(paid).collect(), now, banks, None);
        let books = Books::run(self, Vec::new(), now, banks, Some(&as_if));
        (books, as_if)
    }

    pub fn books_without_news(&self, now: i64, banks: &Banks) -> Books {
        self.with_due(Books::run(self, Vec::new(), now, banks, None))
    }

    /// We hear at `now` of something that counts from `at`; gives its number.
    pub fn hear(&mut self, at: i64, fact: Fact, now: i64, banks: &Banks) -> usize {
        let before = self.book(now, banks);
        let number = self.facts.len();
        match fact {
            Fact::PaidOut { amount } => {
                let mut left = amount;
                let due = self.due_paid_out.entry(number).or_default();
                for sum in &before.free {
                    let part = sum.due.min(left);
                    left -= part;
                    due.insert(sum.money.from, part);
                }
            }
            Fact::Bounced { payout } => {
                for part in &before.payouts[&payout] {
                    let seen = self.sums.entry(part.money.from).or_default();
                    (seen.amount, seen.due) = (seen.amount + part.amount, seen.due + part.due);
                }
            }
            _ => {}
        }
        let (is_refund, is_payout) = (matches!(fact, Fact::Refunded { .. }), matches!(fact, Fact::PaidOut { .. }));
        self.facts.push((at, fact));
        if is_refund {
            self.limit_applied_credit();
        }
        let after = self.books_by_facts(now, banks).0;
        for part in after.payouts.get(&number).into_iter().flatten().filter(|_| is_payout) {
            let seen = self.sums.entry(part.money.from).or_default();
            (seen.amount, seen.due) = (seen.amount - part.amount, seen.due - part.due);
        }
        for (of, taken) in after.free_reversed.get(&number).into_iter().flatten() {
            let seen = self.sums.entry(*of).or_default();
            seen.amount = seen.amount.saturating_sub(*taken);
            seen.due = seen.due.min(seen.amount);
        }
        self.book(now, banks);
        self.remember(now, banks);
        number
    }

    /// A captured purchase is cancelled.
    pub fn cancel(&mut self, sale: usize, now: i64, banks: &Banks) {
        self.book(now, banks);
        self.sales[sale].cancelled = true;
        self.limit_applied_credit();
        self.book(now, banks);
        self.remember(now, banks);
    }

    /// Keeps the sums as they are now.
    fn book(&mut self, now: i64, banks: &Banks) -> Books {
        let books = self.books(now, banks).0;
        self.keep(&books);
        books
    }

    fn keep(&mut self, books: &Books) {
        let seen = books.free.iter().map(|sum| (sum.money.from, Seen { amount: sum.amount, due: sum.due }));
        self.sums = seen.collect();
    }

    /// What was put on a month that is open is credit again as far as it is more than is left of the month's purchases,
    /// what was put on last before the rest.
    fn limit_applied_credit(&mut self) {
        let month_of = |at: i64| civil(day_of(at)).0;
        let mut left: BTreeMap<MonthNo, u64> = BTreeMap::new();
        for sale in self.sales.iter().filter(|sale| sale.way != Way::Np && !sale.cancelled) {
            sale.captured.iter().for_each(|(amount, at)| *left.entry(month_of(*at)).or_default() += amount);
        }
        for (at, fact) in &self.facts {
            let Fact::Refunded { sale, amount } = *fact else { continue };
            let bought = &self.sales[sale];
            if bought.way != Way::Np && bought.captured.is_some_and(|(_, bought)| month_of(bought) == month_of(*at)) {
                *left.entry(month_of(*at)).or_default() -= amount;
            }
        }
        for (at, fact) in &mut self.facts {
            if let Fact::Applied { amount } = fact {
                let left = left.entry(month_of(*at)).or_default();
                *amount = (*amount).min(*left);
                *left -= *amount;
            }
        }
    }

    /// What a fact has recorded stays, whatever provisional news comes to: what of a payout had been due, and how far damages
    /// were cut.
    fn remember(&mut self, now: i64, banks: &Banks) {
        let is_it = |fact: &Fact| matches!(fact, Fact::PaidOut { .. } | Fact::DamagesPosted { .. });
        if !self.facts.iter().any(|(_, fact)| is_it(fact)) {
            return;
        }
        let books = self.books_by_facts(now, banks).0;
        for (posting, left) in books.bills.iter().flat_map(|bill| &bill.postings) {
            if let (_, Fact::DamagesPosted { amount, .. }) = &mut self.facts[*posting] {
                *amount = *left;
            }
        }
        self.due_paid_out = books.due_paid_out;
    }

    pub fn set_closed(&mut self, closed: bool, now: i64, banks: &Banks) {
        self.is_closed = closed;
        if closed {
            self.sweep(now, banks);
        }
    }

    /// The calendar runs: old sums become due, and all of a closed customer.
    pub fn sweep(&mut self, now: i64, banks: &Banks) {
        let mut books = self.books(now, banks).0;
        let mut most = books.credit_to_spare(self, now);
        for sum in &mut books.free {
            let (month, day) = civil(day_of(sum.money.day));
            if self.is_closed || date(month + 3, day) <= day_of(now) {
                let amount = most.min(sum.amount - sum.due);
                most -= amount;
                sum.due += amount;
            }
        }
        self.keep(&books);
        self.remember(now, banks);
    }
}

//! The books as they follow from the facts: each is played in its place, day by day.

use std::collections::BTreeMap;

use super::bill::{Bill, Key, Line, Lines, Put};
use super::books::{Customer, DuePaidOut, Fact, Way};
use super::calendar::{Banks, Day, MonthNo, civil, day_of};

/// No payment.
const NOBODY: usize = usize::MAX;

/// Money, wherever it lies: the fact that it came with, and its own day, as a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    pub from: usize,
    pub day: i64,
}

/// Money that no debt has met.
#[derive(Clone, Debug)]
pub struct Sum {
    pub money: Money,
    pub amount: u64,
    /// What of it is due for payout: the customer says so, since it does not follow from the facts alone.
    pub due: u64,
}

/// What a payout took of a sum.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub money: Money,
    pub amount: u64,
    /// Of it, what had been due.
    pub due: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Issued bills, oldest due date first.
    pub bills: Vec<Bill>,
    /// Oldest own day first.
    pub free: Vec<Sum>,
    pub paid_out: u64,
    pub reversed: u64,
    /// What credit was put on, while its month is open.
    advance: Option<Bill>,
    /// The parts of each payout that has not come back.
    pub payouts: BTreeMap<usize, Vec<Part>>,
    /// What of each payout, come back or not, had been due, by the fact that made the sum.
    pub due_paid_out: DuePaidOut,
    /// What each reversal took of sums, by the fact that made the sum.
    pub free_reversed: BTreeMap<usize, Vec<(usize, u64)>>,
    /// Facts that set money free on a bill.
    freed: Vec<(usize, Key)>,
    /// Captured sales, in order.
    bought: Vec<usize>,
    /// What each sale still counts for, refunds taken off.
    net: Vec<u64>,
}

impl Books {
    pub fn run(customer: &Customer, news: Vec<(i64, Fact)>, now: i64, banks: &Banks, as_if: Option<&Self>) -> Self {
        let mut facts: Vec<_> = customer.facts.iter().chain(&news).enumerate().collect();
        facts.sort_by_key(|(_, (at, _))| *at);
        let mut books = Self { net: vec![0; customer.sales.len()], ..Self::default() };
        let Some(first) = facts.first().map(|(_, (at, _))| day_of(*at)) else { return books };
        let mut facts = facts.into_iter().peekable();
        for day in first..=day_of(now) {
            books.midnight(day, as_if);
            let (month, day_of_month) = civil(day);
            if day_of_month == 1 {
                books.close(month - 1, customer, banks);
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
        for bill in self.bills.iter_mut().filter(|bill| bill.is_overdue(day) && !bill.is_written_off) {
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

    /// A month is over: what credit was put on it is paid of its bill.
    fn close(&mut self, month: MonthNo, customer: &Customer, banks: &Banks) {
        let advance = self.advance.take().filter(|advance| advance.key == Key::Month(month));
        let mut bill = customer.issue(month, self, banks);
        if let (Some(bill), Some(advance)) = (&mut bill, advance) {
            (bill.paid, bill.puts, bill.taken_back) = (advance.paid, advance.puts, advance.taken_back);
        }
        self.add(bill);
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
                let bill = self.bills.iter().find(|bill| bill.sales.contains(&sale)).map(|bill| bill.key);
                if let Some(key) = bill {
                    self.set_free(heard, at, key, |bill| bill.shrink(amount, day));
                }
            }
            Fact::Paid { amount, principal_first } => {
                let money = Money { from: heard, day: at };
                self.receive(Sum { money, amount, due: 0 }, principal_first);
            }
            Fact::DamagesPosted { bill, amount } => {
                self.on_bill(bill, |bill| bill.post_damages(heard, amount));
                self.meet(false);
            }
            Fact::Waived { bill, late } => self.set_free(heard, at, bill, |bill| match late {
                None => bill.waive_bill_fee(),
                Some(day) => bill.waive_late_fee(day),
            }),
            Fact::DamagesReversed { bill, posting } => {
                self.set_free(heard, at, bill, |bill| bill.reverse_damages(posting));
            }
            Fact::WrittenOff { bill } => self.on_bill(bill, |bill| bill.is_written_off = true),
            Fact::Released { bill } => self.on_bill(bill, Bill::release),
            Fact::Applied { amount } => self.apply_credit(amount, civil(day).0),
            Fact::PaidOut { amount } => self.pay_out(heard, amount, &customer.due_paid_out[&heard]),
            Fact::Bounced { payout } => {
                self.put_back(payout);
                self.meet(false);
            }
            Fact::Reversed { of, amount } => self.reverse(heard, of, amount),
        }
    }

    /// The bill may not be there: cancels may have left nothing of its month.
    fn on_bill(&mut self, key: Key, change: impl FnOnce(&mut Bill)) {
        let open = self.advance.iter_mut();
        if let Some(bill) = self.bills.iter_mut().chain(open).find(|bill| bill.key == key) {
            change(bill);
        }
    }

    /// What had been paid of a charge that is taken back is one new sum of that moment.
    fn set_free(&mut self, heard: usize, at: i64, key: Key, change: impl FnOnce(&mut Bill) -> u64) {
        let mut freed = 0;
        self.on_bill(key, |bill| freed = change(bill));
        if freed > 0 {
            self.freed.push((heard, key));
        }
        self.receive(Sum { money: Money { from: heard, day: at }, amount: freed, due: 0 }, false);
    }

    /// Where a bill stands open nothing else is free, so it is this money that goes to principal first.
    fn receive(&mut self, sum: Sum, principal_first: bool) {
        self.set_aside(sum);
        self.meet(principal_first);
    }

    fn set_aside(&mut self, sum: Sum) {
        match self.free.iter_mut().find(|other| other.money == sum.money) {
            Some(same) => same.amount += sum.amount,
            None => self.free.push(sum),
        }
        self.free.sort_by_key(|sum| (sum.money.day, sum.money.from));
    }

    /// Free money meets the oldest bill first; what no bill takes stays free.
    fn meet(&mut self, principal_first: bool) {
        for bill in &mut self.bills {
            for sum in &mut self.free {
                sum.amount = bill.take(sum.money.from, sum.amount, principal_first);
            }
        }
        self.free.retain(|sum| sum.amount > 0);
    }

    /// Credit pays a month that is still open, oldest own day first.
    fn apply_credit(&mut self, mut amount: u64, month: MonthNo) {
        let new = || Bill::new(Key::Month(month), Day::MAX, Vec::new(), Lines::default());
        let open = self.advance.get_or_insert_with(new);
        for sum in &mut self.free {
            let part = amount.min(sum.amount);
            open.put(sum.money.from, Line::Principal, part);
            amount -= part;
            sum.amount -= part;
        }
        self.free.retain(|sum| sum.amount > 0);
    }

    /// What is due goes first, then credit, of each the oldest first. A payout stays as it was made: what was due of it is of
    /// the same sums, as far as they are there.
    fn pay_out(&mut self, heard: usize, amount: u64, told: &BTreeMap<usize, u64>) {
        let mut left = amount;
        let parts = self.payouts.entry(heard).or_default();
        let due_of = |sum: &Sum| told.get(&sum.money.from).copied().unwrap_or(0);
        for is_due in [true, false] {
            for sum in &mut self.free {
                let part = left.min(if is_due { due_of(sum).min(sum.amount) } else { sum.amount });
                left -= part;
                sum.amount -= part;
                parts.push(Part { money: sum.money, amount: part, due: if is_due { part } else { 0 } });
            }
        }
        assert_eq!(left, 0, "a payout was made of money that is not there: {self:?}");
        let due = parts.iter().filter(|part| part.due > 0).map(|part| (part.money.from, part.due));
        self.due_paid_out.insert(heard, due.collect());
        self.paid_out += amount;
        self.free.retain(|sum| sum.amount > 0);
    }

    /// A payout came back: each sum with its old day.
    fn put_back(&mut self, payout: usize) {
        for part in self.payouts.remove(&payout).unwrap_or_default() {
            self.paid_out -= part.amount;
            if part.amount > 0 {
                self.set_aside(Sum { money: part.money, amount: part.amount, due: 0 });
            }
        }
    }

    /// The payment's own money, then what was set free on bills that it had met, then any other.
    fn reverse(&mut self, heard: usize, of: usize, amount: u64) {
        let before = self.free.clone();
        let derived = self.derived(of);
        let left = self.take_away(of, amount, |from| from == of);
        let left = self.take_away(of, left, |from| from == of || derived.contains(&from));
        let left = self.take_away(NOBODY, left, |_| true);
        assert_eq!(left, 0, "taken back is money that is not there: {self:?}");
        self.reversed += amount;
        let is_left = |sum: &Sum| self.free.iter().find(|other| other.money == sum.money).map_or(0, |sum| sum.amount);
        let taken = before.iter().map(|sum| (sum.money.from, sum.amount - is_left(sum))).collect();
        self.free_reversed.insert(heard, taken);
        self.meet(false);
    }

    /// Issued bills, latest due date last, and after them the open month that credit was put on.
    pub fn all_bills(&self) -> impl Iterator<Item = &Bill> {
        self.bills.iter().chain(&self.advance)
    }

    /// The facts that set money free on bills which money of this fact had met.
    fn derived(&self, of: usize) -> Vec<usize> {
        let has_met = |bill: &Bill| bill.puts.iter().any(|put| put.from == of);
        let is_it = |key: &Key| self.all_bills().any(|bill| bill.key == *key && has_met(bill));
        self.freed.iter().filter(|(_, key)| is_it(key)).map(|(fact, _)| *fact).collect()
    }

    /// From what is free, the newest first; then from the bill that is due last before the
    /// others, inside it principal first. Gives back how much is missing.
    fn take_away(&mut self, of: usize, mut left: u64, is_meant: impl Fn(usize) -> bool) -> u64 {
        for sum in self.free.iter_mut().rev().filter(|sum| is_meant(sum.money.from)) {
            let part = left.min(sum.amount);
            left -= part;
            sum.amount -= part;
        }
        self.free.retain(|sum| sum.amount > 0);
        for bill in self.bills.iter_mut().chain(&mut self.advance).rev() {
            for line in [Line::Principal, Line::Damages, Line::BillFee, Line::LateFees] {
                let part = left.min(bill.lies(line, of, &is_meant));
                left -= part;
                *bill.paid.on_mut(line) -= part;
                bill.taken_back.push(Put { from: of, line, amount: part });
            }
        }
        left
    }

    /// How much of a payment can be taken back: what lies on lines, in credit or is due.
    pub fn reversible(&self, of: usize) -> u64 {
        let derived = self.derived(of);
        let is_meant = |from: usize| from == of || derived.contains(&from);
        let free = self.free.iter().filter(|sum| is_meant(sum.money.from)).map(|sum| sum.amount);
        let lines = [Line::Principal, Line::Damages, Line::BillFee, Line::LateFees];
        let on_lines = self.all_bills().flat_map(|bill| lines.map(|line| bill.lies(line, of, &is_meant)));
        free.sum::<u64>() + on_lines.sum::<u64>()
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

    /// What can be paid out: of what is due nothing is kept back.
    pub fn payable(&self, customer: &Customer, now: i64) -> u64 {
        self.payout_due() + self.credit_to_spare(customer, now)
    }

    /// Usage without a bill and open holds.
    fn kept_back(&self, customer: &Customer, now: i64) -> u64 {
        let held: u64 = customer.sales.iter().filter(|sale| sale.is_held(now)).map(|sale| sale.amount).sum();
        self.open_usage(customer, now) + held
    }

    /// What this month has used, less the credit that was put on it.
    pub fn open_usage(&self, customer: &Customer, now: i64) -> u64 {
        let used: u64 = self.unbilled(civil(day_of(now)).0, customer).map(|sale| self.net[sale]).sum();
        used - self.advance.as_ref().map_or(0, |open| open.paid.principal)
    }

    /// The sales for the month's bill, in order.
    pub fn unbilled(&self, month: MonthNo, customer: &Customer) -> impl Iterator<Item = usize> {
        let is_of_month = move |sale: &usize| {
            let of = &customer.sales[*sale];
            of.way != Way::Np && of.captured.is_some_and(|(_, at)| civil(day_of(at)).0 == month)
        };
        self.bought.iter().copied().filter(is_of_month).filter(|sale| self.net[*sale] > 0)
    }

    pub fn net(&self, sale: usize) -> u64 {
        self.net[sale]
    }

    pub fn exposure(&self, customer: &Customer, now: i64) -> Exposure {
        let mut open = self.net.clone();
        // Money settles purchases oldest first; after it what was released.
        let mut settle = |sales: &[usize], mut amount: u64| {
            for sale in sales {
                let part = amount.min(open[*sale]);
                open[*sale] -= part;
                amount -= part;
            }
        };
        for bill in &self.bills {
            settle(&bill.sales, bill.paid.principal + bill.released.principal);
        }
        let month: Vec<_> = self.unbilled(civil(day_of(now)).0, customer).collect();
        settle(&month, self.advance.as_ref().map_or(0, |open| open.paid.principal));
        let mut held = 0;
        for (sale, open) in customer.sales.iter().zip(&mut open) {
            if sale.is_held(now) {
                *open = sale.amount;
                held += sale.amount;
            }
        }
        let in_store = customer.sales.iter().zip(&open).filter(|(sale, _)| sale.way == Way::InStore);
        let of_bills = |is_given_up: bool| {
            self.bills.iter().filter(|bill| bill.is_written_off == is_given_up).map(Bill::open).sum::<u64>()
        };
        Exposure {
            total: open.iter().sum(),
            in_store: in_store.map(|(_, open)| open).sum(),
            held,
            unbilled: self.open_usage(customer, now),
            billed: of_bills(false),
            written_off: of_bills(true),
        }
    }
}

/// Open holds and unpaid principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    pub total: u64,
    pub in_store: u64,
    pub held: u64,
    pub unbilled: u64,
    pub billed: u64,
    /// On bills that were given up.
    pub written_off: u64,
}

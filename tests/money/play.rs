//! Plays a history on both sides and compares every figure after every step.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::act::{Act, Part, Until};
use super::bill::{Bill, Key};
use super::books::{Customer, Fact, Pending, Sale, Way};
use super::calendar::{Banks, DAY, MINUTE, civil, date, day_of, first_of, start_of};
use super::fold::Books;
use super::product::{HOLIDAYS, Product};
use sokketsu::domain::commands::refusal::Refusal;
use sokketsu::domain::model::denial::Reason;
use sokketsu::domain::model::payment::BillKey;

/// Total and in-store limits of the customers.
pub const LIMITS: [(u64, u64); 3] = [(50_000, 15_000), (50_000, 50_000), (3_000, 2_000)];

struct Slip {
    number: u64,
    expires_at: i64,
}

pub(super) struct Payment {
    pub fact: usize,
    pub id: usize,
    pub amount: u64,
    pub taken_back: u64,
}

/// What staff may still correct: numbers of facts with the ids that the office gave.
#[derive(Default)]
pub(super) struct Told {
    pub payments: Vec<Payment>,
    pub payouts: Vec<(usize, usize)>,
    pub postings: Vec<(usize, usize, Key)>,
    /// By id.
    pub write_offs: Vec<(usize, Key)>,
}

/// What was played, refused or not; and of what staff corrected, how often it was done.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub operations: usize,
    pub by_name: BTreeMap<&'static str, usize>,
}

impl AddAssign for Done {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        other.by_name.into_iter().for_each(|(name, times)| *self.by_name.entry(name).or_default() += times);
    }
}

pub struct Play {
    pub done: Done,
    pub(super) now: i64,
    banks: Banks,
    pub(super) product: Product,
    pub(super) customers: Vec<Customer>,
    /// All sales in order: whose, and the number among their own.
    sales: Vec<(usize, usize)>,
    slips: Vec<Option<Slip>>,
    pub(super) told: Vec<Told>,
    /// Ids given out.
    ids: usize,
}

pub type Checked = Result<(), String>;

pub fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Play {
    pub fn new(now: i64) -> Self {
        Self {
            done: Done::default(),
            now,
            banks: Banks::read(HOLIDAYS),
            product: Product::new(&LIMITS, now),
            customers: vec![Customer::default(); LIMITS.len()],
            sales: Vec::new(),
            slips: LIMITS.iter().map(|_| None).collect(),
            told: LIMITS.iter().map(|_| Told::default()).collect(),
            ids: 0,
        }
    }

    /// One step on both sides; then every figure is compared.
    pub fn step(&mut self, act: &Act) -> Checked {
        self.done.operations += 1;
        match *act {
            Act::Buy { who, way, amount, hold } => self.buy(who, way, amount, hold)?,
            Act::Capture { pick, part } => self.capture(pick, part),
            Act::Cancel { pick } => self.cancel(pick)?,
            Act::Refund { pick, part } => self.refund(pick, part),
            Act::Pay { who, part, late, slip } => self.pay(who, part, late, slip),
            Act::Slip { who } => self.issue_slip(who)?,
            Act::News { who, part, late, life } => self.news(who, part, late, life),
            Act::EndNews { who, came } => self.end_news(who, came),
            Act::SetMethod { who, method } => {
                self.customers[who].methods.push((self.now, method));
                self.product.set_method(who, method, self.now);
            }
            Act::PostDamages { who, pick, part } => self.post_damages(who, pick, part)?,
            Act::PayOut { who, part } => self.pay_out(who, part)?,
            Act::Bounce { who, pick } => self.bounce(who, pick),
            Act::Reverse { who, pick, part } => self.reverse(who, pick, part)?,
            Act::Waive { who, pick } => self.waive(who, pick),
            Act::ReverseDamages { who, pick } => self.reverse_damages(who, pick)?,
            Act::WriteOff { who, pick } => self.write_off(who, pick)?,
            Act::Release { who, pick } => self.release(who, pick)?,
            Act::ApplyCredit { who, part } => self.apply_credit(who, part)?,
            Act::SetClosed { who, closed } => {
                self.customers[who].set_closed(closed, self.now, &self.banks);
                self.product.set_closed(who, closed, self.now);
            }
            Act::Wait(until) => self.wait(until),
            Act::Sweep { who } => {
                self.customers[who].sweep(self.now, &self.banks);
                self.product.sweep(who, self.now);
            }
            Act::Restart => self.product.restart(self.now)?,
        }
        match self.customer_of(act) {
            Some(who) => {
                // What a fact makes due is booked just after it.
                self.customers[who].sweep(self.now, &self.banks);
                self.product.look_after(who, self.now);
                self.compare(who)
            }
            None => (0..LIMITS.len()).try_for_each(|who| self.compare(who)),
        }
    }

    /// Whose figures a step can change; none for everybody's.
    fn customer_of(&self, act: &Act) -> Option<usize> {
        match *act {
            Act::Wait(_) | Act::Restart => None,
            Act::Capture { pick, .. } | Act::Cancel { pick } | Act::Refund { pick, .. } => {
                Some(self.sales.get(pick.checked_rem(self.sales.len())?)?.0)
            }
            Act::Buy { who, .. }
            | Act::Pay { who, .. }
            | Act::Slip { who }
            | Act::News { who, .. }
            | Act::EndNews { who, .. }
            | Act::SetMethod { who, .. }
            | Act::PostDamages { who, .. }
            | Act::PayOut { who, .. }
            | Act::Bounce { who, .. }
            | Act::Reverse { who, .. }
            | Act::Waive { who, .. }
            | Act::ReverseDamages { who, .. }
            | Act::WriteOff { who, .. }
            | Act::Release { who, .. }
            | Act::ApplyCredit { who, .. }
            | Act::SetClosed { who, .. }
            | Act::Sweep { who } => Some(who),
        }
    }

    pub(super) fn books(&self, who: usize) -> (Books, Books) {
        self.customers[who].books(self.now, &self.banks)
    }

    /// The customer's side of what counts from `at`; gives the number of the fact.
    pub(super) fn hear(&mut self, who: usize, at: i64, fact: Fact) -> usize {
        self.customers[who].hear(at, fact, self.now, &self.banks)
    }

    pub(super) fn id(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    pub(super) fn is_overdue(&self, books: &Books, as_if: &Books) -> bool {
        let today = day_of(self.now);
        [books, as_if].iter().all(|books| books.bills.iter().any(|bill| bill.is_overdue(today)))
    }

    /// Two purchases of one customer in one millisecond are told apart by their channel alone: each has its own.
    fn let_pass_a_moment(&mut self, who: usize) {
        let is_now = |sale: &Sale| sale.captured.is_some_and(|(_, at)| at == self.now);
        if self.customers[who].sales.iter().any(is_now) {
            self.now += 1;
        }
    }

    fn buy(&mut self, who: usize, way: Way, amount: u64, hold: bool) -> Checked {
        self.let_pass_a_moment(who);
        let (books, as_if) = self.books(who);
        let (exposure, (most, most_in_store)) = (books.exposure(&self.customers[who], self.now), LIMITS[who]);
        let expected = if self.customers[who].is_closed {
            Err(Reason::Closed)
        } else if self.is_overdue(&books, &as_if) {
            Err(Reason::Overdue)
        } else if way == Way::InStore && exposure.in_store + amount > most_in_store {
            Err(Reason::OverInStoreLimit)
        } else if exposure.total + amount > most {
            Err(Reason::OverTotalLimit)
        } else {
            Ok(())
        };
        let decision = self.product.buy(who, way, amount, hold, self.now);
        check(decision == expected, || format!("decided {decision:?}, by the model {expected:?}"))?;
        if decision.is_ok() {
            let held_until = hold.then_some(self.now + 7 * DAY);
            let sale = Sale { order: self.sales.len(), way, amount, held_until, captured: None, cancelled: false };
            self.sales.push((who, self.customers[who].sales.len()));
            self.customers[who].sales.push(sale);
            if !hold {
                self.bought(self.sales.len() - 1, amount);
            }
        }
        Ok(())
    }

    fn bought(&mut self, order: usize, amount: u64) {
        let (who, sale) = self.sales[order];
        self.customers[who].sales[sale].captured = Some((amount, self.now));
        self.hear(who, self.now, Fact::Bought { sale });
    }

    /// The sale that is meant, and its number.
    fn sale(&self, pick: usize) -> Option<(usize, &Sale)> {
        let order = pick.checked_rem(self.sales.len())?;
        let (who, sale) = self.sales[order];
        Some((order, &self.customers[who].sales[sale]))
    }

    fn capture(&mut self, pick: usize, part: Part) {
        let Some((order, _)) = self.sale(pick) else { return };
        self.let_pass_a_moment(self.sales[order].0);
        let Some((order, sale)) = self.sale(pick).filter(|(_, sale)| sale.is_held(self.now)) else { return };
        let amount = part.of(sale.amount).clamp(1, sale.amount);
        self.product.capture(order, amount, self.now);
        self.bought(order, amount);
    }

    /// Holds at any age; what was captured until 00:14:59.999 of the next day, unless something was refunded.
    fn cancel(&mut self, pick: usize) -> Checked {
        let Some((order, sale)) = self.sale(pick).filter(|(_, sale)| !sale.cancelled) else { return Ok(()) };
        let (who, at) = self.sales[order];
        let is_held = sale.is_held(self.now);
        if !is_held && sale.captured.is_none() {
            return Ok(());
        }
        let is_in_window = sale.captured.is_some_and(|(_, at)| self.now < start_of(day_of(at) + 1) + 15 * MINUTE);
        let is_whole = self.refundable(who, at) == sale.bought();
        let expected = if is_held || is_in_window && is_whole { Ok(()) } else { Err(Refusal::UseRefund) };
        let answer = self.product.cancel(order, self.now);
        check(answer == expected, || format!("a cancel is {answer:?}, by the model {expected:?}"))?;
        if answer.is_ok() {
            self.customers[who].cancel(at, self.now, &self.banks);
        }
        Ok(())
    }

    fn refundable(&self, who: usize, sale: usize) -> u64 {
        let back = self.customers[who].facts.iter().filter_map(|(_, fact)| match fact {
            Fact::Refunded { sale: of, amount } if *of == sale => Some(amount),
            _ => None,
        });
        self.customers[who].sales[sale].bought() - back.sum::<u64>()
    }

    fn refund(&mut self, pick: usize, part: Part) {
        let is_sold = |sale: &Sale| sale.captured.is_some() && !sale.cancelled;
        let Some((order, _)) = self.sale(pick).filter(|(_, sale)| is_sold(sale)) else { return };
        let (who, sale) = self.sales[order];
        let left = self.refundable(who, sale);
        if left == 0 {
            return;
        }
        let (amount, id) = (part.of(left).clamp(1, left), self.id());
        self.product.refund(order, amount, id, self.now);
        self.hear(who, self.now, Fact::Refunded { sale, amount });
    }

    fn pay(&mut self, who: usize, part: Part, late: i64, slip: bool) {
        let owed = self.books(who).0.bills.iter().map(Bill::owed).sum();
        let (amount, id, paid_at) = (part.of(owed).max(1), self.id(), self.now - late);
        let slip = self.slips[who].as_ref().filter(|_| slip);
        // A slip is forgotten 92 days after it has expired, and counts as expired whenever it was paid.
        let is_forgotten = |slip: &Slip| day_of(slip.expires_at) + 92 < day_of(self.now);
        let principal_first = slip.is_some_and(|slip| slip.expires_at <= paid_at || is_forgotten(slip));
        self.product.repay(who, id, amount, paid_at, slip.map(|slip| slip.number), self.now);
        let fact = self.hear(who, paid_at, Fact::Paid { amount, principal_first });
        self.told[who].payments.push(Payment { fact, id, amount, taken_back: 0 });
    }

    /// Good for what is owed now, until the day before the next late fee; for a month where none is to come.
    fn issue_slip(&mut self, who: usize) -> Checked {
        let bills = self.books(who).0.bills;
        let owed = bills.iter().map(Bill::owed).sum::<u64>();
        let Some(oldest) = bills.iter().find(|bill| bill.owed() > 0).map(|bill| bill.due) else { return Ok(()) };
        let today = day_of(self.now);
        if today > oldest + 365 {
            return Ok(());
        }
        // Invoices cost nothing, and what was given up costs nothing more.
        let costs = |bill: &&Bill| {
            let is_open = bill.charged.principal > bill.paid.principal + bill.released.principal;
            is_open && !bill.is_written_off && matches!(bill.key, Key::Month(_))
        };
        let fee_day = |bill: &Bill| {
            let from = (today + 1).max(first_of(civil(bill.due).0 + 1));
            (from..).find(|day| [10, 25].contains(&civil(*day).1)).unwrap()
        };
        let (month, day) = civil(today);
        let next_fee = bills.iter().filter(costs).map(fee_day).min().unwrap_or(date(month + 1, day));
        let slip = self.product.issue_slip(who, self.now);
        let expires_at = slip.expires_at.0;
        check(expires_at == start_of(next_fee) - 1, || format!("the slip ends at {}", slip.expires_at))?;
        check(slip.lines.total().get() == owed, || format!("a slip of {:?} for {owed} yen", slip.lines))?;
        self.slips[who] = Some(Slip { number: slip.number, expires_at });
        Ok(())
    }

    fn news(&mut self, who: usize, part: Part, late: i64, life: i64) {
        let owed = self.books(who).0.bills.iter().map(Bill::owed).sum();
        let (amount, id, paid_at) = (part.of(owed).max(1), self.id(), self.now - late);
        let expires_at = self.now + life;
        self.product.expect(who, id, amount, (paid_at, expires_at), self.now);
        self.customers[who].pending.push(Pending { id, amount, paid_at, expires_at, settled: false });
    }

    fn end_news(&mut self, who: usize, came: bool) {
        let Some(news) = self.customers[who].pending.iter_mut().find(|news| !news.settled) else { return };
        news.settled = true;
        let Pending { id, amount, paid_at, .. } = *news;
        self.product.end_news(who, id, came, self.now);
        if came {
            let fact = self.hear(who, paid_at, Fact::Paid { amount, principal_first: false });
            self.told[who].payments.push(Payment { fact, id, amount, taken_back: 0 });
        }
    }

    /// Never more than accrued and is not posted; on a bill that was paid at any age, too, and on none that was given up.
    fn post_damages(&mut self, who: usize, pick: usize, part: Part) -> Checked {
        let (books, as_if) = self.books(who);
        let left = |bill: &Bill| as_if.bill(bill.key).map_or(0, Bill::accrued).saturating_sub(bill.charged.damages);
        let bills: Vec<_> = books.bills.iter().filter(|bill| left(bill) > 0).collect();
        let Some(at) = pick.checked_rem(bills.len()) else { return Ok(()) };
        let (bill, left, is_given_up) = (bills[at].key, left(bills[at]), bills[at].is_written_off);
        let (amount, id) = (part.of(left).clamp(1, left), self.id());
        let answer = self.product.post_damages(who, id, self.name(who, bills[at]), amount, self.now);
        check(answer.is_ok() != is_given_up, || format!("C{who}: {amount} yen of damages on {bill:?} are {answer:?}"))?;
        if answer.is_ok() {
            let fact = self.hear(who, self.now, Fact::DamagesPosted { bill, amount });
            self.told[who].postings.push((fact, id, bill));
        }
        Ok(())
    }

    /// The product's name of a bill.
    pub(super) fn name(&self, who: usize, bill: &Bill) -> BillKey {
        self.product.bill_key(bill.key, self.customers[who].sales[bill.sales[0]].order)
    }

    /// Of what is due, and of credit above what is kept back. News of a payment may lift a late fee and end without
    /// money: no more is paid out than is free without it.
    fn pay_out(&mut self, who: usize, part: Part) -> Checked {
        let customer = &self.customers[who];
        let free = |books: &Books| books.payable(customer, self.now);
        let most = free(&self.books(who).0).min(free(&customer.books_without_news(self.now, &self.banks)));
        let (amount, id) = (part.of(most).max(1), self.id());
        let answer = self.product.pay_out(who, id, amount, self.now);
        check(answer.is_ok() == (amount <= most), || format!("a payout of {amount} of {most} yen is {answer:?}"))?;
        if answer.is_ok() {
            let fact = self.hear(who, self.now, Fact::PaidOut { amount });
            self.told[who].payouts.push((fact, id));
        }
        Ok(())
    }

    fn wait(&mut self, until: Until) {
        self.now = match until {
            Until::Later(ms) => self.now + ms,
            Until::DayOfMonth(day, ms) => {
                let next = (day_of(self.now)..).map(|today| (start_of(today) + ms, civil(today)));
                next.into_iter().find(|(at, (_, of_month))| *at > self.now && *of_month == day).unwrap().0
            }
        };
    }
}

//! Plays a history on both sides and compares every figure after every step.

use super::books::{Bill, Books, Customer, Fact, Key, Method, Pending, Sale, Way};
use super::calendar::{Banks, DAY, Day, MINUTE, civil, date, day_of, first_of, start_of};
use super::product::{HOLIDAYS, Product, Standing, lines};
use sokketsu::domain::commands::refusal::Refusal;
use sokketsu::domain::model::denial::Reason;

/// Total and in-store limits of the customers.
pub const LIMITS: [(u64, u64); 3] = [(50_000, 15_000), (50_000, 50_000), (3_000, 2_000)];

/// How much of what there is.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    All,
    Half,
    AllButOne,
    More,
    Yen(u64),
}

impl Part {
    fn of(self, whole: u64) -> u64 {
        match self {
            Self::All => whole,
            Self::Half => whole / 2,
            Self::AllButOne => whole.saturating_sub(1),
            Self::More => whole + 777,
            Self::Yen(yen) => yen,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Until {
    Later(i64),
    /// So many milliseconds before or after the next day of the month that is this one.
    DayOfMonth(i64, i64),
}

/// `pick` chooses among the sales or news that there are.
#[derive(Clone, Debug)]
pub enum Act {
    Buy {
        who: usize,
        way: Way,
        amount: u64,
        hold: bool,
    },
    Capture {
        pick: usize,
        part: Part,
    },
    Cancel {
        pick: usize,
    },
    Refund {
        pick: usize,
        part: Part,
    },
    /// Paid that long before we heard of it; perhaps on the latest slip.
    Pay {
        who: usize,
        part: Part,
        late: i64,
        slip: bool,
    },
    Slip {
        who: usize,
    },
    News {
        who: usize,
        part: Part,
        late: i64,
        life: i64,
    },
    EndNews {
        who: usize,
        came: bool,
    },
    SetMethod {
        who: usize,
        method: Method,
    },
    PostDamages {
        who: usize,
        part: Part,
    },
    PayOut {
        who: usize,
        part: Part,
    },
    Wait(Until),
    Sweep {
        who: usize,
    },
    Restart,
}

struct Slip {
    number: u64,
    expires_at: i64,
}

pub struct Play {
    now: i64,
    banks: Banks,
    product: Product,
    customers: Vec<Customer>,
    /// All sales in order: whose, and the number among their own.
    sales: Vec<(usize, usize)>,
    slips: Vec<Option<Slip>>,
    /// Ids given out.
    ids: usize,
}

/// Of the product's date, by what it prints.
fn days(date_text: &str) -> Day {
    let parts: Vec<i64> = date_text.split('-').map(|part| part.parse().unwrap()).collect();
    date(parts[0] * 12 + parts[1] - 1, parts[2])
}

type Checked = Result<(), String>;

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Play {
    pub fn new(now: i64) -> Self {
        Self {
            now,
            banks: Banks::read(HOLIDAYS),
            product: Product::new(&LIMITS, now),
            customers: vec![Customer::default(); LIMITS.len()],
            sales: Vec::new(),
            slips: LIMITS.iter().map(|_| None).collect(),
            ids: 0,
        }
    }

    /// One step on both sides; then every figure is compared.
    pub fn step(&mut self, act: &Act) -> Checked {
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
            Act::PostDamages { who, part } => self.post_damages(who, part),
            Act::PayOut { who, part } => self.pay_out(who, part),
            Act::Wait(until) => self.wait(until),
            Act::Sweep { who } => self.sweep(who)?,
            Act::Restart => self.product.restart()?,
        }
        match self.customer_of(act) {
            Some(who) => self.compare(who),
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
            | Act::Sweep { who } => Some(who),
        }
    }

    fn books(&self, who: usize) -> (Books, Books) {
        self.customers[who].books(self.now, &self.banks)
    }

    fn id(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    /// While there is news of a payment, nothing else moves the customer's money: see [`Self::paid_at`].
    fn is_still(&self, who: usize) -> bool {
        self.customers[who].live_news(self.now).next().is_none()
    }

    fn is_overdue(&self, as_if: &Books) -> bool {
        as_if.bills.iter().any(|bill| bill.is_overdue(day_of(self.now)))
    }

    fn buy(&mut self, who: usize, way: Way, amount: u64, hold: bool) -> Checked {
        if way == Way::Np && !self.is_still(who) {
            return Ok(());
        }
        let (books, as_if) = self.books(who);
        let ((total, in_store), (most, most_in_store)) = (books.exposure(&self.customers[who], self.now), LIMITS[who]);
        let expected = if self.is_overdue(&as_if) {
            Err(Reason::Overdue)
        } else if way == Way::InStore && in_store + amount > most_in_store {
            Err(Reason::OverInStoreLimit)
        } else if total + amount > most {
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
        self.customers[who].facts.push((self.now, Fact::Bought { sale }));
    }

    /// The sale that is meant, and its number.
    fn sale(&self, pick: usize) -> Option<(usize, &Sale)> {
        let order = pick.checked_rem(self.sales.len())?;
        let (who, sale) = self.sales[order];
        Some((order, &self.customers[who].sales[sale]))
    }

    fn capture(&mut self, pick: usize, part: Part) {
        let Some((order, sale)) = self.sale(pick).filter(|(_, sale)| sale.is_held(self.now)) else { return };
        if sale.way == Way::Np && !self.is_still(self.sales[order].0) {
            return;
        }
        let amount = part.of(sale.amount).clamp(1, sale.amount);
        self.product.capture(order, amount, self.now);
        self.bought(order, amount);
    }

    /// Holds at any age; what was captured until 00:14:59 of the next day, unless something was refunded. An NP purchase
    /// that was paid in that time has to be refunded: only then the answer can say where the money goes.
    fn cancel(&mut self, pick: usize) -> Checked {
        let Some((order, sale)) = self.sale(pick).filter(|(_, sale)| !sale.cancelled) else { return Ok(()) };
        let (who, at) = self.sales[order];
        let (amount, is_held) = (sale.bought(), sale.is_held(self.now));
        let window = sale.captured.map(|(_, at)| start_of(day_of(at) + 1) + 15 * MINUTE);
        let is_open = window.is_some_and(|end| self.now < end) && self.refundable(who, at) == amount;
        if !(is_held || is_open && self.is_still(who)) {
            return Ok(());
        }
        let is_paid = self.books(who).0.bill(Key::Np(at)).is_some_and(|bill| bill.paid.total() > 0);
        let expected = if is_paid { Err(Refusal::UseRefund) } else { Ok(()) };
        let answer = self.product.cancel(order, self.now);
        check(answer == expected, || format!("a cancel is {answer:?}, by the model {expected:?}"))?;
        if answer.is_ok() {
            self.customers[who].sales[at].cancelled = true;
            let back = (self.now, Fact::GivenBack { sale: at, amount });
            self.customers[who].facts.extend(is_open.then_some(back));
        }
        Ok(())
    }

    fn refundable(&self, who: usize, sale: usize) -> u64 {
        let back = self.customers[who].facts.iter().filter_map(|(_, fact)| match fact {
            Fact::GivenBack { sale: of, amount } if *of == sale => Some(amount),
            _ => None,
        });
        self.customers[who].sales[sale].bought() - back.sum::<u64>()
    }

    fn refund(&mut self, pick: usize, part: Part) {
        let Some((order, _)) = self.sale(pick).filter(|(_, sale)| sale.captured.is_some()) else { return };
        let (who, sale) = self.sales[order];
        let left = self.refundable(who, sale);
        if left == 0 || !self.is_still(who) {
            return;
        }
        let (amount, id) = (part.of(left).clamp(1, left), self.id());
        self.product.refund(order, amount, id, self.now);
        self.customers[who].facts.push((self.now, Fact::GivenBack { sale, amount }));
    }

    /// News of payments comes late, but not about a time before the last thing that moved this customer's money: what
    /// was put where it lies stays there, so then the order in which we heard counts too. Nor, beside an open NP
    /// invoice, about a time before the last month closed: money goes to the bills that there are when we hear of it.
    fn paid_at(&self, who: usize, late: i64) -> i64 {
        let customer = &self.customers[who];
        let moved = customer.facts.iter().filter(|(_, fact)| !customer.is_in_month(fact)).map(|(at, _)| *at);
        let first = customer.facts.first().map_or(self.now, |(at, _)| *at);
        let closed = start_of(first_of(civil(day_of(self.now)).0)) + 15 * MINUTE;
        let bound = self.owes_np(who).then_some(closed.min(self.now));
        (self.now - late).max(moved.max().unwrap_or(first)).max(bound.unwrap_or(first))
    }

    fn owes_np(&self, who: usize) -> bool {
        self.books(who).0.bills.iter().any(|bill| matches!(bill.key, Key::Np(_)) && bill.owed() > 0)
    }

    fn pay(&mut self, who: usize, part: Part, late: i64, slip: bool) {
        if !self.is_still(who) {
            return;
        }
        let owed = self.books(who).0.bills.iter().map(Bill::owed).sum();
        let (amount, id, paid_at) = (part.of(owed).max(1), self.id(), self.paid_at(who, late));
        let slip = self.slips[who].as_ref().filter(|_| slip);
        let principal_first = slip.is_some_and(|slip| slip.expires_at <= paid_at);
        self.product.repay(who, id, amount, paid_at, slip.map(|slip| slip.number), self.now);
        self.customers[who].facts.push((paid_at, Fact::Paid { amount, principal_first, heard: self.now }));
    }

    /// Good for what is owed now, until the day before the next late fee.
    fn issue_slip(&mut self, who: usize) -> Checked {
        let bills = self.books(who).0.bills;
        let owed = bills.iter().map(Bill::owed).sum::<u64>();
        let Some(oldest) = bills.iter().find(|bill| bill.owed() > 0).map(|bill| bill.due) else { return Ok(()) };
        let today = day_of(self.now);
        if today > oldest + 365 {
            return Ok(());
        }
        let from = (today + 1).max(first_of(civil(oldest).0 + 1));
        let next_fee = (from..).find(|day| [10, 25].contains(&civil(*day).1)).unwrap();
        let slip = self.product.issue_slip(who, self.now);
        let expires_at = slip.expires_at.0;
        check(expires_at == start_of(next_fee) - 1, || format!("the slip ends at {}", slip.expires_at))?;
        check(slip.lines.total().get() == owed, || format!("a slip of {:?} for {owed} yen", slip.lines))?;
        self.slips[who] = Some(Slip { number: slip.number, expires_at });
        Ok(())
    }

    /// Its money will go to the bills that there are when it comes; beside an NP invoice they may be others than now.
    fn news(&mut self, who: usize, part: Part, late: i64, life: i64) {
        if !self.is_still(who) || self.owes_np(who) {
            return;
        }
        let owed = self.books(who).0.bills.iter().map(Bill::owed).sum();
        let (amount, id, paid_at) = (part.of(owed).max(1), self.id(), self.paid_at(who, late));
        let expires_at = self.now + life;
        self.product.expect(who, id, amount, (paid_at, expires_at), self.now);
        self.customers[who].pending.push(Pending { id, amount, paid_at, expires_at, settled: false });
    }

    fn end_news(&mut self, who: usize, came: bool) {
        let earliest = self.paid_at(who, i64::MAX / 2);
        let Some(news) = self.customers[who].pending.iter_mut().find(|news| !news.settled) else { return };
        news.settled = true;
        let Pending { id, amount, paid_at, .. } = *news;
        let came = came && paid_at >= earliest;
        self.product.end_news(who, id, came, self.now);
        if came {
            self.customers[who].facts.push((paid_at, Fact::Paid { amount, principal_first: false, heard: self.now }));
        }
    }

    /// Never more than accrued and is not posted.
    fn post_damages(&mut self, who: usize, part: Part) {
        if !self.is_still(who) {
            return;
        }
        let (books, as_if) = self.books(who);
        let left = |bill: &Bill| as_if.bill(bill.key).map_or(0, Bill::accrued).saturating_sub(bill.charged.damages);
        let is_month = |bill: &&Bill| matches!(bill.key, Key::Month(_)) && bill.owed() > 0;
        let Some(bill) = books.bills.iter().filter(is_month).find(|bill| left(bill) > 0) else { return };
        let (amount, id) = (part.of(left(bill)).clamp(1, left(bill)), self.id());
        let Key::Month(month) = bill.key else { return };
        self.product.post_damages(who, id, month, amount, self.now);
        self.customers[who].facts.push((self.now, Fact::DamagesPosted { bill: bill.key, amount }));
    }

    fn pay_out(&mut self, who: usize, part: Part) {
        let credit = self.books(who).0.credit;
        if credit > 0 && self.is_still(who) {
            let (amount, id) = (part.of(credit).clamp(1, credit), self.id());
            self.product.pay_out(who, id, amount, self.now);
            self.customers[who].facts.push((self.now, Fact::PaidOut { amount }));
        }
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

    /// Changes nothing but that credit of three months is paid out. Where there was late news, the credit that we knew
    /// of may have begun later than the credit that there was.
    fn sweep(&mut self, who: usize) -> Checked {
        let books = self.books(who).0;
        let is_old = |since: i64| {
            let (month, day) = civil(day_of(since));
            books.credit > 0 && date(month + 3, day) <= day_of(self.now)
        };
        let was_late = |(at, fact): &(i64, Fact)| matches!(fact, Fact::Paid { heard, .. } if heard != at);
        let is_exact = !self.customers[who].facts.iter().any(was_late);
        let (may, must) = (is_old(books.credit_heard.0), is_old(books.credit_heard.1));
        let must = if is_exact { may } else { must };
        let paid_out = self.product.sweep(who, self.now);
        if paid_out > 0 {
            self.customers[who].facts.push((self.now, Fact::PaidOut { amount: paid_out }));
        }
        let expected = if paid_out > 0 { may && paid_out == books.credit } else { !must };
        check(expected, || format!("C{who}: the calendar pays out {paid_out} of {books:?}"))
    }

    fn compare(&self, who: usize) -> Checked {
        let (books, as_if) = self.books(who);
        let customer = &self.customers[who];
        let standing = self.product.standing(who, self.now);
        let same = |what: &str, product: (u64, u64), model: (u64, u64)| {
            check(product == model, || format!("C{who}: {what} is {product:?}, by the model {model:?}"))
        };
        let (total, in_store) = books.exposure(customer, self.now);
        let online = LIMITS[who].0.saturating_sub(total);
        let room = LIMITS[who].1.saturating_sub(in_store).min(online);
        same("exposure", standing.exposure, (total, in_store))?;
        same("spendable", standing.spendable, (room, online))?;
        same("credit", (standing.credit, 0), (books.credit, 0))?;
        same("overdue", (standing.overdue.into(), 0), (self.is_overdue(&as_if).into(), 0))?;
        self.compare_bills(who, &books, &as_if, &standing)
    }

    fn compare_bills(&self, who: usize, books: &Books, as_if: &Books, standing: &Standing) -> Checked {
        let mut known = Vec::new();
        for bill in &books.bills {
            let key = self.product.bill_key(bill.key, self.customers[who].sales[bill.sales[0]].order);
            known.push(key);
            let Some(twin) = standing.bills.iter().find(|twin| twin.bill.key == key) else {
                // The product forgets a bill on which nothing is to be expected any more.
                check(bill.owed() == 0, || format!("C{who}: the bill {bill:?} is gone"))?;
                continue;
            };
            let judged = as_if.bill(bill.key).ok_or("a bill that is there only without the news")?;
            let product = (
                lines(&twin.charged),
                lines(&twin.bill.paid()),
                twin.owed.total().get(),
                (days(&twin.due.to_string()), twin.is_overdue, twin.accrued.get()),
            );
            let model = (
                bill.charged,
                bill.paid,
                bill.owed(),
                (bill.due, judged.is_overdue(day_of(self.now)), judged.accrued()),
            );
            check(product == model, || format!("C{who}: {key:?} is\n{product:?}, by the model\n{model:?}"))?;
        }
        let unknown = standing.bills.iter().find(|twin| twin.bill.is_issued() && !known.contains(&twin.bill.key));
        check(unknown.is_none(), || format!("C{who}: a bill the model does not have: {unknown:?}"))?;
        self.compare_money(who, books)
    }

    /// What the customer paid is on lines, is credit, or was paid out.
    fn compare_money(&self, who: usize, books: &Books) -> Checked {
        let (received, paid_out) = self.product.money(who);
        let paid = self.customers[who].facts.iter().map(|(_, fact)| match fact {
            Fact::Paid { amount, .. } => *amount,
            _ => 0,
        });
        let on_lines = books.bills.iter().map(|bill| bill.paid.total()).sum::<u64>();
        let model = (paid.sum(), books.paid_out);
        assert_eq!(model.0, on_lines + books.credit + books.paid_out, "the model loses money");
        check((received, paid_out) == model, || format!("C{who}: {received} came, {paid_out} went, not {model:?}"))
    }
}

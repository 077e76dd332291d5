//! Bills for people: the engine says what is owed now, the ledger what happened.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

use super::afterwards::{Applied, applied};
use super::bill_fees::{FeeShown, fees};
use super::bill_moves::{Move, Posted};
use super::customers::unknown;
use crate::domain::billing::account::Account;
use crate::domain::billing::moment::BillAt;
use crate::domain::billing::stories::Story;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::model::ids::{AuthorizationId, CustomerId, MerchantId, OfficeId, OrderId, RefundId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Destination, Order, OrderState, OrderStatus};
use crate::domain::model::payment::{BillKey, Lines, PaymentMethod};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Millis, Month, Now};
use crate::engine::board::Rules;
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::past::{BillName, BillNames, caught_up, customer_past, invoices};
use crate::http::problem::{Problem, STATEMENT_UNKNOWN};
use crate::ledger::{Book, CustomerPast, Entry, Far};

/// How often a statement is begun anew because its customer went on meanwhile.
const TRIES: usize = 5;

#[derive(Serialize)]
struct PurchaseShown {
    authorization_id: AuthorizationId,
    merchant_id: MerchantId,
    order_id: OrderId,
    channel: Channel,
    amount: Yen,
    refunded: Yen,
    status: OrderStatus,
    purchased_at: Millis,
    /// Less those that refunds took back.
    points: u64,
}

#[derive(Serialize)]
struct RefundShown {
    refund_id: RefundId,
    authorization_id: AuthorizationId,
    amount: Yen,
    outcome: Destination,
    applied: Vec<Applied>,
}

/// Money that was put on the bill, or left it.
#[derive(Serialize)]
struct PaymentShown {
    /// The repayment that brought the money; null where a refund freed it.
    repayment_id: Option<OfficeId>,
    /// When the customer paid it, else when it was freed.
    paid_at: Millis,
    recorded_at: Millis,
    /// Less than nothing for what left the bill.
    amount: i64,
    /// Of what was put on the bill.
    from: Option<Cow<'static, str>>,
    /// Of what left it.
    moved_to: Option<Cow<'static, str>>,
}

#[derive(Serialize)]
struct NpShown {
    authorization_id: AuthorizationId,
    merchant_id: MerchantId,
    amount: Yen,
    due: Date,
    status: &'static str,
    #[serde(flatten)]
    sums: Sums,
}

/// `principal` + `bill_fee` + `late_fees` + `damages_posted` − `paid` − `written_off` = `total_due`.
#[derive(Default, Serialize)]
struct Sums {
    /// As charged less refunds; damages as they have accrued by now, posted or not.
    #[serde(flatten)]
    lines: Lines,
    damages_posted: Yen,
    refunded: Yen,
    total_due: Yen,
    paid: Yen,
    written_off: Yen,
    points: u64,
}

#[derive(Serialize)]
struct Summary {
    /// The month, or the authorization id of an NP Atobarai purchase.
    bill: String,
    month: Option<Month>,
    status: &'static str,
    /// Of a month's bill.
    payment_method: Option<PaymentMethod>,
    due: Date,
    #[serde(flatten)]
    sums: Sums,
}

#[derive(Serialize)]
struct Statement {
    #[serde(flatten)]
    summary: Summary,
    /// Together `bill_fee` and `late_fees`.
    fees: Vec<FeeShown>,
    purchases: Vec<PurchaseShown>,
    refunds: Vec<RefundShown>,
    payments: Vec<PaymentShown>,
    np_purchases: Vec<NpShown>,
}

/// The customer now, and everything the ledger has of it up to now.
pub(crate) async fn both(asked: &Asked, id: CustomerId) -> Result<(Box<Account>, Now, CustomerPast), Problem> {
    let (mut account, _) = account_now(asked, id).await?;
    for _ in 0..TRIES {
        caught_up(&asked.edge).await?;
        let past = customer_past(&asked.edge, id).await?;
        let (after, now) = account_now(asked, id).await?;
        // What was recorded meanwhile may be in the one and not in the other.
        if account == after {
            return Ok((account, now, past));
        }
        account = after;
    }
    Err(Problem::not_ready())
}

pub(crate) async fn account_now(asked: &Asked, id: CustomerId) -> Result<(Box<Account>, Now), Problem> {
    let answered = asked.edge.client.ask(Request::FindCustomer(id), None).await?;
    match answered.reply {
        Reply::Customer { account, .. } => Ok((account, answered.now)),
        Reply::Unknown => Err(unknown()),
        other => Err(out_of_place(&other)),
    }
}

/// All that the statements of a customer are made of.
struct Seen<'a> {
    account: &'a Account,
    now: Now,
    past: &'a CustomerPast,
    bills: Vec<BillAt>,
    moves: Vec<Move>,
    rules: Arc<Rules>,
}

impl<'a> Seen<'a> {
    fn new(account: &'a Account, now: Now, past: &'a CustomerPast, rules: Arc<Rules>) -> Self {
        let bills = account.bills_at(&now, rules.by());
        let recorded = past.entries.iter().filter_map(Move::recorded);
        let of_time = account.moved_by(&now, rules.by());
        let by_now = of_time.iter().flat_map(|transfer| Move::of(transfer, now.at));
        let moves = recorded.chain(by_now).collect();
        Self { account, now, past, bills, moves, rules }
    }

    fn moves_of(&self, bill: BillKey) -> impl Iterator<Item = &Move> {
        self.moves.iter().filter(move |moved| moved.bill == bill)
    }

    /// Purchases that stand, refunded or not: one that was cancelled has never been.
    fn captured(&self) -> impl Iterator<Item = &'a Order> {
        self.past.orders.iter().filter(|order| matches!(order.state, OrderState::Captured { .. }))
    }

    fn purchases_of(&self, bill: BillKey) -> Vec<&'a Order> {
        self.captured().filter(|order| bill_of(order) == bill).collect()
    }

    /// The NP Atobarai purchases of a month.
    fn invoices_of(&self, month: Month) -> Vec<&'a Order> {
        let is_np = |order: &&Order| order.channel == Channel::NpAtobarai && order.terms().month == month;
        self.captured().filter(is_np).collect()
    }

    /// From the engine while it knows the bill and else from the ledger; nothing where neither does.
    fn sums(&self, bill: BillKey) -> Option<(Sums, Option<&BillAt>)> {
        let posted = Posted::of(&self.past.entries, bill);
        let at = self.bills.iter().find(|at| at.bill.key == bill);
        if at.is_none() && !posted.is_there {
            return None;
        }
        let charged = at.map_or(posted.charged, |at| at.charged);
        let accrued = at.map_or_else(|| self.accrued_long_ago(bill), |at| at.accrued);
        let moved: i64 = self.moves_of(bill).map(|moved| moved.amount).sum();
        let paid = at.map_or_else(|| Yen::new(u64::try_from(moved).unwrap_or(0)), |at| at.bill.paid().total());
        let released = at
            .map_or(posted.released.total(), |at| at.bill.changes.released().map(|change| change.lines.total()).sum());
        let owed = at.map_or(Yen::ZERO, |at| at.owed.total());
        let is_given_up = at.is_some_and(|at| at.bill.written_off_at(self.now.at).is_some());
        let (total_due, given_up) = if is_given_up { (Yen::ZERO, owed) } else { (owed, Yen::ZERO) };
        let sums = Sums {
            // Accrued damages are shown whether posted or not; only the posted ones are owed.
            lines: Lines { damages: accrued.max(charged.damages), ..charged },
            damages_posted: charged.damages,
            refunded: self.purchases_of(bill).into_iter().map(|order| purchased(order).1).sum(),
            total_due,
            paid,
            written_off: given_up + released,
            points: u64::try_from(posted.points).unwrap_or(0),
        };
        Some((sums, at))
    }

    /// Damages on a bill that the engine has let go because it is paid.
    fn accrued_long_ago(&self, bill: BillKey) -> Yen {
        let is_it = |story: &&Story| story.bill() == Some(bill);
        match self.past.stories.iter().find(is_it) {
            Some(Story::Bill(bill)) => self.account.accrued_on(bill, &self.now, self.rules.by()),
            Some(Story::Outflow(_)) | None => Yen::ZERO,
        }
    }

    /// A month's bill; where only NP Atobarai purchases were made, with nothing on its lines.
    fn of_month(&self, month: Month) -> Option<Summary> {
        let own = self.sums(BillKey::Month(month));
        if own.is_none() && self.invoices_of(month).is_empty() {
            return None;
        }
        let (sums, at) = own.unwrap_or_default();
        let issued = self.past.issued.iter().find(|issued| issued.month == month);
        let known = at.map(|at| (at.method, at.due)).or_else(|| issued.map(|issued| (issued.method, issued.due)));
        let (method, due) = known.unwrap_or_else(|| {
            let method = self.account.profile.payment_method;
            (method, self.rules.policy.terms.billing.due(method, month, &self.rules.calendar))
        });
        Some(Summary {
            bill: month.to_string(),
            month: Some(month),
            status: if month >= self.now.month { "open" } else { status(&sums, at) },
            payment_method: Some(method),
            due,
            sums,
        })
    }

    fn of_invoice(&self, order: &Order) -> Option<Summary> {
        let (sums, at) = self.sums(bill_of(order))?;
        Some(Summary {
            bill: order.id.to_string(),
            month: None,
            status: status(&sums, at),
            payment_method: None,
            due: order.terms().due,
            sums,
        })
    }
}

/// The bill that a captured purchase is on.
fn bill_of(order: &Order) -> BillKey {
    if order.channel == Channel::NpAtobarai { BillKey::Np(order.id.lsn) } else { BillKey::Month(order.terms().month) }
}

fn status(sums: &Sums, at: Option<&BillAt>) -> &'static str {
    match at {
        _ if !sums.written_off.is_zero() => "written_off",
        _ if sums.total_due.is_zero() => "paid",
        Some(at) if at.is_overdue => "overdue",
        _ => "billed",
    }
}

#[derive(Serialize)]
struct List {
    statements: Vec<Summary>,
}

/// `GET /v1/customers/{customer_id}/statements`
pub(crate) async fn list(asked: &Asked) -> Result<Answer, Problem> {
    let (account, now, past) = both(asked, asked.customer()?).await?;
    let seen = Seen::new(&account, now, &past, asked.edge.rules()?);
    let mut months: Vec<Month> = past.entries.iter().filter_map(|entry| entry.month).collect();
    months.extend(seen.bills.iter().filter_map(|at| at.bill.key.month()));
    months.sort_unstable_by(|a, b| b.cmp(a));
    months.dedup();
    Answer::ok(&List { statements: months.into_iter().filter_map(|month| seen.of_month(month)).collect() })
}

/// `GET /v1/customers/{customer_id}/statements/{bill}`
pub(crate) async fn get(asked: &Asked) -> Result<Answer, Problem> {
    let name = BillName::parse(asked.param("bill")).ok_or_else(|| Problem::in_path("bill", BillName::FORMS))?;
    let (account, now, past) = both(asked, asked.customer()?).await?;
    let seen = Seen::new(&account, now, &past, asked.edge.rules()?);
    let found = match name {
        BillName::Month(month) => {
            seen.of_month(month).map(|summary| (BillKey::Month(month), summary, seen.invoices_of(month)))
        }
        BillName::Np(id) => {
            // Also of one that was cancelled: money may have come from elsewhere and gone on.
            let order = past.orders.iter().find(|order| order.id == id && order.channel == Channel::NpAtobarai);
            order.and_then(|order| Some((bill_of(order), seen.of_invoice(order)?, Vec::new())))
        }
    };
    let (bill, summary, invoices) = found.ok_or_else(|| {
        Problem::new(&STATEMENT_UNKNOWN, "Nothing was bought in this month, or this is no NP Atobarai purchase of this customer. Take one from the list of statements.")
    })?;
    let purchases = seen.purchases_of(bill);
    let names = names(asked, &seen, bill, &purchases).await?;
    let np_purchase = |order: &Order| {
        let Summary { due, status, sums, .. } = seen.of_invoice(order)?;
        let amount = purchased(order).0;
        Some(NpShown { authorization_id: order.id, merchant_id: order.key.merchant, amount, due, status, sums })
    };
    let at = seen.bills.iter().find(|at| at.bill.key == bill);
    let fees = fees(at, &past.entries, bill, &summary.bill, &seen.rules.terms);
    Answer::ok(&Statement {
        summary,
        fees,
        purchases: purchases.iter().map(|order| purchase(order, &seen)).collect(),
        refunds: refunds(&purchases, &names)?,
        payments: payments(&seen, bill, &names)?,
        np_purchases: invoices.into_iter().filter_map(np_purchase).collect(),
    })
}

/// The names of the bills that the rows of a statement speak of.
async fn names(asked: &Asked, seen: &Seen<'_>, bill: BillKey, purchases: &[&Order]) -> Result<BillNames, Problem> {
    let mut names = BillNames::default();
    names.add(seen.past.orders.iter().map(|order| order.id));
    let ends = seen.moves_of(bill).filter_map(|moved| match moved.far {
        Far::Bill(bill) => Some(bill),
        _ => None,
    });
    let made = purchases.iter().flat_map(|order| order.refunds());
    let refunded = made.flat_map(|made| made.applied.iter().filter_map(|part| part.to.bill()));
    names.learn(&asked.edge, invoices(ends.chain(refunded))).await?;
    Ok(names)
}

/// What was captured, and what of it was refunded.
fn purchased(order: &Order) -> (Yen, Yen) {
    match order.state {
        OrderState::Captured { amount, refunded } => (amount, refunded),
        _ => (order.amount, Yen::ZERO),
    }
}

fn purchase(order: &Order, seen: &Seen<'_>) -> PurchaseShown {
    let (amount, refunded) = purchased(order);
    let is_its = |entry: &&Entry| {
        entry.account == Book::Points && entry.purchase.is_some_and(|purchase| purchase.authorization == order.id)
    };
    let points: i64 = seen.past.entries.iter().filter(is_its).map(|entry| entry.amount).sum();
    PurchaseShown {
        authorization_id: order.id,
        merchant_id: order.key.merchant,
        order_id: order.key.order_id,
        channel: order.channel,
        amount,
        refunded,
        status: order.status(seen.now.at),
        purchased_at: order.terms().at,
        points: u64::try_from(points).unwrap_or(0),
    }
}

fn refunds(purchases: &[&Order], names: &BillNames) -> Result<Vec<RefundShown>, Problem> {
    let made = purchases.iter().flat_map(|order| order.refunds().iter().map(move |made| (order.id, made)));
    let shown = made.map(|(authorization_id, made)| {
        Ok(RefundShown {
            refund_id: made.id,
            authorization_id,
            amount: made.amount,
            outcome: made.destination,
            applied: applied(made, names)?,
        })
    });
    shown.collect()
}

/// What came on a bill and what left it, record by record.
fn payments(seen: &Seen<'_>, bill: BillKey, names: &BillNames) -> Result<Vec<PaymentShown>, Problem> {
    let mut rows: Vec<Move> = Vec::new();
    // From line to line of the same bill nothing comes and nothing leaves.
    for moved in seen.moves_of(bill).filter(|moved| moved.far != Far::Bill(bill)) {
        match rows.iter_mut().find(|row| row.is_with(moved)) {
            Some(row) => row.amount += moved.amount,
            None => rows.push(*moved),
        }
    }
    let shown = rows.into_iter().filter(|row| row.amount != 0).map(|row| {
        let end = names.end(row.far).ok_or_else(Problem::internal)?;
        let (from, moved_to) = if row.amount > 0 { (Some(end), None) } else { (None, Some(end)) };
        Ok(PaymentShown {
            repayment_id: row.repayment(seen.past),
            paid_at: row.day,
            recorded_at: row.recorded_at,
            amount: row.amount,
            from,
            moved_to,
        })
    });
    shown.collect()
}

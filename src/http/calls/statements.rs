//! Bills for people: the engine says what is owed now, the ledger what happened.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::afterwards::{Applied, applied};
use super::bill_fees::{FeeShown, fees};
use super::bill_moves::{Move, Posted};
use super::customers::unknown;
use crate::domain::billing::account::Account;
use crate::domain::billing::bill::Bill;
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
    /// The name of its own statement: its authorization id.
    bill: String,
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
    /// Of the month: each has a statement of its own.
    np_purchases: Vec<NpShown>,
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

/// What there is of one bill.
#[derive(Default)]
struct OfBill<'a> {
    /// From the engine, while it knows the bill.
    at: Option<BillAt>,
    entries: Vec<&'a Entry>,
    moves: Vec<Move>,
    /// Purchases that stand, refunded or not: one that was cancelled has never been.
    purchases: Vec<&'a Order>,
    story: Option<&'a Bill>,
}

/// All that the statements of a customer are made of.
struct Seen<'a> {
    account: &'a Account,
    now: Now,
    past: &'a CustomerPast,
    bills: HashMap<BillKey, OfBill<'a>>,
    /// The NP Atobarai purchases of each month, and each month that has a bill.
    months: BTreeMap<Month, Vec<&'a Order>>,
    rules: Arc<Rules>,
}

impl<'a> Seen<'a> {
    fn new(account: &'a Account, now: Now, past: &'a CustomerPast, rules: Arc<Rules>) -> Self {
        let mut bills: HashMap<BillKey, OfBill<'a>> = HashMap::new();
        for at in account.bills_at(&now, rules.by()) {
            let key = at.bill.key;
            bills.entry(key).or_default().at = Some(at);
        }
        let mut months: BTreeMap<Month, Vec<&Order>> = BTreeMap::new();
        for entry in &past.entries {
            let (Some(bill), Some(month)) = (entry.bill(), entry.month) else { continue };
            bills.entry(bill).or_default().entries.push(entry);
            months.entry(month).or_default();
        }
        let of_time = account.moved_by(&now, rules.by());
        let by_now = of_time.iter().flat_map(|transfer| Move::of(transfer, now.at));
        for moved in past.entries.iter().filter_map(Move::recorded).chain(by_now) {
            bills.entry(moved.bill).or_default().moves.push(moved);
        }
        for order in past.orders.iter().filter(|order| matches!(order.state, OrderState::Captured { .. })) {
            bills.entry(bill_of(order)).or_default().purchases.push(order);
            let invoices = months.entry(order.terms().month).or_default();
            invoices.extend((order.channel == Channel::NpAtobarai).then_some(order));
        }
        for story in &past.stories {
            if let Story::Bill(bill) = story {
                bills.entry(bill.key).or_default().story = Some(bill);
            }
        }
        for month in bills.keys().filter_map(|bill| bill.month()) {
            months.entry(month).or_default();
        }
        Self { account, now, past, bills, months, rules }
    }

    /// From the engine while it knows the bill and else from the ledger; nothing where neither does.
    fn sums(&self, bill: BillKey) -> Option<(Sums, Option<&BillAt>)> {
        let of_bill = self.bills.get(&bill)?;
        let at = of_bill.at.as_ref();
        let posted = Posted::of(&of_bill.entries);
        if at.is_none() && of_bill.entries.is_empty() {
            return None;
        }
        let charged = at.map_or(posted.charged, |at| at.charged);
        // Damages on a bill that the engine has let go because it is paid.
        let long_ago = || of_bill.story.map(|bill| self.account.accrued_on(bill, &self.now, self.rules.by()));
        let accrued = at.map_or_else(|| long_ago().unwrap_or_default(), |at| at.accrued);
        let moved: i64 = of_bill.moves.iter().map(|moved| moved.amount).sum();
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
            refunded: of_bill.purchases.iter().map(|order| purchased(order).1).sum(),
            total_due,
            paid,
            written_off: given_up + released,
            points: u64::try_from(posted.points).unwrap_or(0),
        };
        Some((sums, at))
    }

    /// A month's bill; where only NP Atobarai purchases were made, with nothing on its lines.
    fn of_month(&self, month: Month) -> Option<Summary> {
        let own = self.sums(BillKey::Month(month));
        let invoices = self.months.get(&month).map_or(&[][..], Vec::as_slice);
        if own.is_none() && invoices.is_empty() {
            return None;
        }
        let (sums, at) = own.unwrap_or_default();
        let issued = self.past.issued.iter().find(|issued| issued.month == month);
        let known = at.map(|at| (at.method, at.due)).or_else(|| issued.map(|issued| (issued.method, issued.due)));
        let (method, due) = known.unwrap_or_else(|| {
            let method = self.account.profile.payment_method;
            (method, self.rules.policy.terms.billing.due(method, month, &self.rules.calendar))
        });
        let np_purchase = |order: &&Order| Some(NpShown::of(order, self.of_invoice(order)?));
        Some(Summary {
            bill: month.to_string(),
            month: Some(month),
            status: if month >= self.now.month { "open" } else { status(&sums, at) },
            payment_method: Some(method),
            due,
            sums,
            np_purchases: invoices.iter().filter_map(np_purchase).collect(),
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
            np_purchases: Vec::new(),
        })
    }
}

impl NpShown {
    fn of(order: &Order, invoice: Summary) -> Self {
        let Summary { bill, due, status, sums, .. } = invoice;
        let amount = purchased(order).0;
        Self { bill, authorization_id: order.id, merchant_id: order.key.merchant, amount, due, status, sums }
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
    let newest_first = seen.months.keys().rev();
    Answer::ok(&List { statements: newest_first.filter_map(|month| seen.of_month(*month)).collect() })
}

/// `GET /v1/customers/{customer_id}/statements/{bill}`
pub(crate) async fn get(asked: &Asked) -> Result<Answer, Problem> {
    let name = BillName::parse(asked.param("bill")).ok_or_else(|| Problem::in_path("bill", BillName::FORMS))?;
    let (account, now, past) = both(asked, asked.customer()?).await?;
    let seen = Seen::new(&account, now, &past, asked.edge.rules()?);
    let found = match name {
        BillName::Month(month) => seen.of_month(month).map(|summary| (BillKey::Month(month), summary)),
        BillName::Np(id) => {
            // Also of one that was cancelled: money may have come from elsewhere and gone on.
            let order = past.orders.iter().find(|order| order.id == id && order.channel == Channel::NpAtobarai);
            order.and_then(|order| Some((bill_of(order), seen.of_invoice(order)?)))
        }
    };
    let (bill, summary) = found.ok_or_else(|| {
        Problem::new(&STATEMENT_UNKNOWN, "Nothing was bought in this month, or this is no NP Atobarai purchase of this customer. Take one from the list of statements.")
    })?;
    let none = OfBill::default();
    let of_bill = seen.bills.get(&bill).unwrap_or(&none);
    let names = names(asked, &seen, of_bill).await?;
    let entries = of_bill.entries.iter().copied();
    let fees = fees(of_bill.at.as_ref(), entries, &past.receipts, (bill, &summary.bill), &seen.rules.terms);
    Answer::ok(&Statement {
        summary,
        fees,
        purchases: of_bill.purchases.iter().map(|order| purchase(order, of_bill, seen.now)).collect(),
        refunds: refunds(&of_bill.purchases, &names)?,
        payments: payments(&seen, (bill, of_bill), &names)?,
    })
}

/// The names of the bills that the rows of a statement speak of.
async fn names(asked: &Asked, seen: &Seen<'_>, of_bill: &OfBill<'_>) -> Result<BillNames, Problem> {
    let mut names = BillNames::default();
    names.add(seen.past.orders.iter().map(|order| order.id));
    let ends = of_bill.moves.iter().filter_map(|moved| match moved.far {
        Far::Bill(bill) => Some(bill),
        _ => None,
    });
    let made = of_bill.purchases.iter().flat_map(|order| order.refunds());
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

fn purchase(order: &Order, of_bill: &OfBill<'_>, now: Now) -> PurchaseShown {
    let (amount, refunded) = purchased(order);
    let is_its = |entry: &&&Entry| {
        entry.account == Book::Points && entry.purchase.is_some_and(|purchase| purchase.authorization == order.id)
    };
    let points: i64 = of_bill.entries.iter().filter(is_its).map(|entry| entry.amount).sum();
    PurchaseShown {
        authorization_id: order.id,
        merchant_id: order.key.merchant,
        order_id: order.key.order_id,
        channel: order.channel,
        amount,
        refunded,
        status: order.status(now.at),
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
fn payments(
    seen: &Seen<'_>,
    (bill, of_bill): (BillKey, &OfBill<'_>),
    names: &BillNames,
) -> Result<Vec<PaymentShown>, Problem> {
    let mut rows: Vec<Move> = Vec::new();
    // From line to line of the same bill nothing comes and nothing leaves.
    for moved in of_bill.moves.iter().filter(|moved| moved.far != Far::Bill(bill)) {
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

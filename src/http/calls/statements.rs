//! Bills and history for people: the engine says what is owed now, the ledger what happened.

use std::collections::BTreeMap;

use serde::Serialize;

use super::customers::unknown;
use crate::domain::billing::account::Account;
use crate::domain::billing::moment::BillAt;
use crate::domain::billing::notes::Cause;
use crate::domain::billing::settlement::Place;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::model::ids::{AuthorizationId, CustomerId, MerchantId, OfficeId, OrderId, RefundId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Destination, Order, OrderState, OrderStatus};
use crate::domain::model::payment::{BillKey, Lines, PaymentMethod};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Millis, Month, Now};
use crate::domain::state::event::Event;
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::past::{caught_up, customer_past};
use crate::http::problem::{Problem, STATEMENT_UNKNOWN};
use crate::ledger::{Book, CustomerPast, Entry, EntryKind};

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
    points: u64,
}

#[derive(Serialize)]
struct RefundShown {
    refund_id: RefundId,
    authorization_id: AuthorizationId,
    amount: Yen,
    outcome: Destination,
}

#[derive(Serialize)]
struct PaymentShown {
    /// Null for credit.
    repayment_id: Option<OfficeId>,
    paid_at: Millis,
    amount: u64,
}

#[derive(Serialize)]
struct NpShown {
    authorization_id: AuthorizationId,
    merchant_id: MerchantId,
    amount: Yen,
    due: Date,
    late_fees: Yen,
    total_due: Yen,
    status: &'static str,
}

#[derive(Serialize)]
struct Summary {
    month: Month,
    status: &'static str,
    payment_method: PaymentMethod,
    due: Date,
    #[serde(flatten)]
    lines: Lines,
    total_due: Yen,
    paid: Yen,
    points: u64,
}

#[derive(Serialize)]
struct Statement {
    #[serde(flatten)]
    summary: Summary,
    purchases: Vec<PurchaseShown>,
    refunds: Vec<RefundShown>,
    payments: Vec<PaymentShown>,
    np_purchases: Vec<NpShown>,
}

/// The customer now, and everything the ledger has of it up to now.
pub(crate) async fn both(asked: &Asked, id: CustomerId) -> Result<(Box<Account>, Now, CustomerPast), Problem> {
    let answered = asked.edge.client.ask(Request::FindCustomer(id), None).await?;
    let account = match answered.reply {
        Reply::Customer { account, .. } => account,
        Reply::Unknown => return Err(unknown()),
        other => return Err(out_of_place(&other)),
    };
    caught_up(&asked.edge).await?;
    Ok((account, answered.now, customer_past(&asked.edge, id).await?))
}

/// A month's bill as the ledger has it, for those that the engine has let go because they are paid.
#[derive(Clone, Copy, Default)]
struct Posted {
    charged: Lines,
    points: i64,
    is_there: bool,
}

fn posted(entries: &[Entry], month: Month) -> Posted {
    let mut posted = Posted::default();
    let mut sums = [0_i64; 4];
    for entry in entries.iter().filter(|entry| entry.month == Some(month) && !is_np(entry)) {
        use EntryKind as Kind;
        posted.is_there = true;
        match (entry.account, entry.kind) {
            (Book::Points, _) => posted.points += entry.amount,
            (Book::Exposure, Kind::Purchase | Kind::Capture | Kind::Cancel | Kind::Refund) => sums[0] += entry.amount,
            (Book::BillFee, Kind::BillFee | Kind::BillFeeWaived) => sums[1] += entry.amount,
            (Book::LateFee, Kind::LateFee | Kind::LateFeeTakenBack) => sums[2] += entry.amount,
            (Book::Damages, Kind::DamagesPosted) => sums[3] += entry.amount,
            _ => {}
        }
    }
    let [principal, bill_fee, late_fees, damages] = sums.map(|sum| u64::try_from(sum).unwrap_or(0).into());
    posted.charged = Lines { principal, bill_fee, late_fees, damages };
    posted
}

fn is_np(entry: &Entry) -> bool {
    entry.purchase.is_some_and(|purchase| purchase.channel == Channel::NpAtobarai)
}

/// A month's bill in four lines, from the engine while it knows the bill and else from the ledger.
fn summary(
    account: &Account,
    bills: &[BillAt],
    past: &CustomerPast,
    month: Month,
    now: &Now,
    asked: &Asked,
) -> Result<Option<Summary>, Problem> {
    let posted = posted(&past.entries, month);
    let at = bills.iter().find(|at| at.bill.key == BillKey::Month(month));
    if at.is_none() && !posted.is_there {
        return Ok(None);
    }
    let rules = asked.edge.rules()?;
    let issued = past.issued.iter().find(|issued| issued.month == month).map(|issued| (issued.method, issued.due));
    let (method, due) = at.map(|at| (at.method, at.due)).or(issued).unwrap_or_else(|| {
        let method = account.profile.payment_method;
        (method, rules.policy.terms.billing.due(method, month, &rules.calendar))
    });
    let charged = at.map_or(posted.charged, |at| at.charged);
    let owed = at.map_or(Lines::default(), |at| at.owed).total();
    let status = if month >= now.month {
        "open"
    } else if owed.is_zero() {
        "paid"
    } else if at.is_some_and(|at| at.is_overdue) {
        "overdue"
    } else {
        "billed"
    };
    // Accrued damages are shown whether posted or not; only the posted ones are owed.
    let damages = at.map_or(charged.damages, |at| at.accrued.max(at.charged.damages));
    Ok(Some(Summary {
        month,
        status,
        payment_method: method,
        due,
        lines: Lines { damages, ..charged },
        total_due: owed,
        paid: charged.total() - owed,
        points: u64::try_from(posted.points).unwrap_or(0),
    }))
}

#[derive(Serialize)]
struct List {
    statements: Vec<Summary>,
}

/// `GET /v1/customers/{customer_id}/statements`
pub(crate) async fn list(asked: &Asked) -> Result<Answer, Problem> {
    let (account, now, past) = both(asked, asked.customer()?).await?;
    let bills = account.bills_at(&now, asked.edge.rules()?.by());
    let mut months: Vec<Month> = past.entries.iter().filter_map(|entry| entry.month).collect();
    months.extend(bills.iter().filter_map(|at| at.bill.key.month()));
    months.sort_unstable_by(|a, b| b.cmp(a));
    months.dedup();
    let mut statements = Vec::new();
    for month in months {
        let is_np = |order: &Order| order.terms().month == month && order.channel == Channel::NpAtobarai;
        let own = summary(&account, &bills, &past, month, &now, asked)?;
        // Where nothing else was bought, the month's statement tells of NP Atobarai purchases all the same.
        let other = own.is_none() && past.orders.iter().any(is_np);
        statements.extend(own);
        if other {
            statements.push(empty(&account, month, &now, asked)?);
        }
    }
    Answer::ok(&List { statements })
}

/// `GET /v1/customers/{customer_id}/statements/{month}`
pub(crate) async fn get(asked: &Asked) -> Result<Answer, Problem> {
    let month = Month::parse(asked.param("month")).ok_or_else(|| Problem::in_path("month", "must be `YYYY-MM`"))?;
    let (account, now, past) = both(asked, asked.customer()?).await?;
    let bills = account.bills_at(&now, asked.edge.rules()?.by());
    let of_month = |order: &&Order| order.terms().month == month;
    let (np, own): (Vec<&Order>, Vec<&Order>) =
        past.orders.iter().filter(of_month).partition(|order| order.channel == Channel::NpAtobarai);
    let found = summary(&account, &bills, &past, month, &now, asked)?;
    let summary = match found {
        Some(summary) => summary,
        None if np.is_empty() => {
            return Err(Problem::new(
                &STATEMENT_UNKNOWN,
                "Nothing was bought in this month. Take one from the list of statements.",
            ));
        }
        None => empty(&account, month, &now, asked)?,
    };
    let refunds = own.iter().chain(&np).flat_map(|order| order.refunds().iter().map(move |made| (order, made)));
    Answer::ok(&Statement {
        summary,
        purchases: own.iter().map(|order| purchase(order, now.at)).collect(),
        refunds: refunds
            .map(|(order, made)| RefundShown {
                refund_id: made.id,
                authorization_id: order.id,
                amount: made.amount,
                outcome: made.destination,
            })
            .collect(),
        payments: payments(&past, month),
        np_purchases: np.iter().map(|order| np_purchase(order, &bills)).collect(),
    })
}

/// A month with NP Atobarai purchases alone.
fn empty(account: &Account, month: Month, now: &Now, asked: &Asked) -> Result<Summary, Problem> {
    let rules = asked.edge.rules()?;
    let method = account.profile.payment_method;
    Ok(Summary {
        month,
        status: if month >= now.month { "open" } else { "paid" },
        payment_method: method,
        due: rules.policy.terms.billing.due(method, month, &rules.calendar),
        lines: Lines::default(),
        total_due: Yen::ZERO,
        paid: Yen::ZERO,
        points: 0,
    })
}

/// What was captured, and what of it was refunded.
fn purchased(order: &Order) -> (Yen, Yen) {
    match order.state {
        OrderState::Captured { amount, refunded } => (amount, refunded),
        _ => (order.amount, Yen::ZERO),
    }
}

fn purchase(order: &Order, now: Millis) -> PurchaseShown {
    let (amount, refunded) = purchased(order);
    PurchaseShown {
        authorization_id: order.id,
        merchant_id: order.key.merchant,
        order_id: order.key.order_id,
        channel: order.channel,
        amount,
        refunded,
        status: order.status(now),
        purchased_at: order.terms().at,
        points: order.terms().points,
    }
}

fn np_purchase(order: &Order, bills: &[BillAt]) -> NpShown {
    let at = bills.iter().find(|at| at.bill.key == BillKey::Np(order.id.lsn));
    let owed = at.map_or(Yen::ZERO, |at| at.owed.total());
    NpShown {
        authorization_id: order.id,
        merchant_id: order.key.merchant,
        // Of a hold, what was captured.
        amount: purchased(order).0,
        due: order.terms().due,
        late_fees: at.map_or(Yen::ZERO, |at| at.charged.late_fees),
        total_due: owed,
        status: match at {
            Some(at) if at.is_overdue => "overdue",
            Some(_) if !owed.is_zero() => "billed",
            _ => "paid",
        },
    }
}

/// What came on a month's bill, by repayment; then what credit paid of it.
fn payments(past: &CustomerPast, month: Month) -> Vec<PaymentShown> {
    let on_bill = |place: Place| place.bill() == Some(BillKey::Month(month));
    let mut shown = Vec::new();
    for receipt in &past.payments {
        let Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), books } = receipt.event.as_ref()
        else {
            continue;
        };
        let came = books.transfers.iter().filter(|transfer| transfer.from == Place::Received && on_bill(transfer.to));
        let amount: u64 = came.map(|transfer| transfer.amount.get()).sum();
        if amount > 0 {
            shown.push(PaymentShown { repayment_id: Some(payment.id), paid_at: payment.paid_at, amount });
        }
    }
    let credit = past.entries.iter().filter(|entry| {
        entry.kind == EntryKind::CreditApplied && entry.month == Some(month) && entry.account != Book::Credit
    });
    let mut by_record: BTreeMap<Millis, u64> = BTreeMap::new();
    for entry in credit {
        *by_record.entry(entry.recorded_at).or_default() += entry.amount.unsigned_abs();
    }
    let credit = by_record.into_iter();
    shown.extend(credit.map(|(paid_at, amount)| PaymentShown { repayment_id: None, paid_at, amount }));
    shown
}

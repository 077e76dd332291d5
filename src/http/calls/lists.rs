//! Lists from the ledger: decisions, captures and refunds of a shop or a customer, the newest first, and what is found by an
//! approval code or a refund's id. A page is true at the position it states, which lags the answers by a moment.

use std::collections::BTreeMap;

use serde::Serialize;

use super::statements::account_now;
use crate::domain::model::ids::{
    ApprovalCode, AuthorizationId, CustomerId, MerchantId, OrderId, RefundId, StoreId, TerminalId,
};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Destination, OrderState, OrderStatus};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Millis, Month};
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::cursor::{self, CURSOR, End, PositionShown};
use crate::http::decision::Decision;
use crate::http::problem::{FORBIDDEN, Problem};
use crate::http::query::Query;
use crate::http::trust::callers::Role;
use crate::ledger::lists::{List, Listed, PageOf, Whose};

/// What all rows have.
#[derive(Serialize)]
struct Sold {
    store_id: Option<StoreId>,
    terminal_id: Option<TerminalId>,
    channel: Channel,
    /// Never told to a register; null where the decision found none.
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<Option<CustomerId>>,
}

#[derive(Serialize)]
struct Decided {
    #[serde(flatten)]
    decision: Decision,
    #[serde(flatten)]
    sold: Sold,
}

#[derive(Serialize)]
struct StatementShown {
    month: Month,
    due: Date,
}

#[derive(Serialize)]
struct Captured {
    authorization_id: AuthorizationId,
    merchant_id: MerchantId,
    order_id: OrderId,
    amount: Yen,
    captured_at: Millis,
    /// Of the authorization by now.
    status: OrderStatus,
    refunded_amount: Yen,
    statement: Option<StatementShown>,
    points: u64,
    #[serde(flatten)]
    sold: Sold,
}

#[derive(Serialize)]
struct Refunded {
    refund_id: RefundId,
    authorization_id: AuthorizationId,
    merchant_id: MerchantId,
    order_id: OrderId,
    amount: Yen,
    /// After it.
    refundable_left: Yen,
    outcome: Destination,
    refunded_at: Millis,
    /// When the shop gave it back, where that was told.
    paid_at: Option<Millis>,
    #[serde(flatten)]
    sold: Sold,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    Decided(Box<Decided>),
    Captured(Box<Captured>),
    Refunded(Box<Refunded>),
}

impl Row {
    fn of(row: Listed, list: &List, names_customers: bool, now: Millis) -> Result<Self, Problem> {
        let Listed { at, amount, order, store, terminal, customer, refund, .. } = row;
        let customer_id = names_customers.then_some(customer);
        let sold = Sold { store_id: store, terminal_id: terminal, channel: order.channel, customer_id };
        let (authorization_id, merchant_id, order_id) = (order.id, order.key.merchant, order.key.order_id);
        Ok(match list {
            List::Decisions(_) | List::Approved(_) => {
                let decision = Decision::stored(&order, true, now);
                // Another shop's sale is not told of to a shop.
                let decision = if names_customers { decision } else { decision.without_first() };
                Self::Decided(Box::new(Decided { decision, sold }))
            }
            List::Captures(_) => {
                let refunded_amount = match order.state {
                    OrderState::Captured { refunded, .. } => refunded,
                    _ => Yen::ZERO,
                };
                let terms = order.terms();
                let statement = order.customer.map(|_| StatementShown { month: terms.month, due: terms.due });
                Self::Captured(Box::new(Captured {
                    authorization_id,
                    merchant_id,
                    order_id,
                    amount,
                    captured_at: at,
                    status: order.status(now),
                    refunded_amount,
                    statement,
                    points: terms.points,
                    sold,
                }))
            }
            List::Refunds(_) | List::RefundsNamed(..) => {
                let made = refund.ok_or_else(Problem::internal)?;
                Self::Refunded(Box::new(Refunded {
                    refund_id: made.id,
                    authorization_id,
                    merchant_id,
                    order_id,
                    amount,
                    refundable_left: made.left,
                    outcome: made.destination,
                    refunded_at: at,
                    paid_at: made.paid_at,
                    sold,
                }))
            }
        })
    }
}

#[derive(Serialize)]
pub(super) struct Shown<T> {
    #[serde(flatten)]
    pub rows: BTreeMap<&'static str, Vec<T>>,
    pub end: End,
    pub position: PositionShown,
}

/// Which rows of a list a call asks for.
#[derive(Default)]
struct Filter {
    store: Option<StoreId>,
    status: Option<OrderStatus>,
    merchant: Option<MerchantId>,
}

/// The first day of a list and the day after its last, both in Japan.
fn span(query: &Query<'_>) -> Result<(Millis, Millis), Problem> {
    let (from, to) = (query.date("from")?, query.date("to")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::parameter("from", "must not be after `to`"));
    }
    Ok((from.map_or(Millis(0), Date::start), to.map_or(Millis(i64::MAX), |to| to.plus_days(1).start())))
}

async fn show(asked: &Asked, query: &Query<'_>, list: List, filter: Filter) -> Result<Answer, Problem> {
    let (from, to) = span(query)?;
    let (stream, before) = cursor::record(query)?;
    let limit = cursor::limit(query)?;
    let of = PageOf { list, from, to, before, limit };
    let caller = asked.known()?.caller.clone();
    let now = asked.edge.client.now();
    let names_customers = caller.role != Role::Register;
    let keep = move |row: &Listed| {
        caller.sees(&row.order.key.merchant)
            && caller.is_at(row.order.terminal)
            && filter.store.is_none_or(|store| row.store == Some(store))
            && filter.merchant.is_none_or(|merchant| row.order.key.merchant == merchant)
            && filter.status.is_none_or(|status| row.order.status(now) == status)
    };
    let found = asked.edge.client.ledger.ask(move |books| books.list(&of, &keep)).await?;
    let page = found.ok_or_else(Problem::not_ready)?;
    stream.check(page.position)?;
    let (end, position) = (End::of_records(&page, limit), page.position.into());
    let name = match list {
        List::Decisions(_) | List::Approved(_) => "authorizations",
        List::Captures(_) => "captures",
        List::Refunds(_) | List::RefundsNamed(..) => "refunds",
    };
    let rows: Result<Vec<Row>, Problem> =
        page.rows.into_iter().map(|row| Row::of(row, &list, names_customers, now)).collect();
    Answer::ok(&Shown { rows: BTreeMap::from([(name, rows?)]), end, position })
}

const OF_SHOP: [&str; 5] = ["store_id", "from", "to", CURSOR, "limit"];

/// The merchant of the path, if the caller speaks for it.
fn shop(asked: &Asked) -> Result<Whose, Problem> {
    let merchant = MerchantId::new(asked.param("merchant_id"));
    let merchant = merchant.map_err(|bad| Problem::parameter("merchant_id", bad.to_string()))?;
    own(asked, &merchant)?;
    Ok(Whose::Merchant(merchant))
}

fn own(asked: &Asked, merchant: &MerchantId) -> Result<(), Problem> {
    if asked.known()?.caller.sees(merchant) {
        return Ok(());
    }
    Err(Problem::new(&FORBIDDEN, "This key does not speak for this merchant. Use the merchant's own key."))
}

/// A list of the shop in the path.
async fn of_shop(asked: &Asked, list: fn(Whose) -> List) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &OF_SHOP)?;
    let filter = Filter { store: query.read_as("store_id")?, ..Filter::default() };
    show(asked, &query, list(shop(asked)?), filter).await
}

/// `GET /v1/merchants/{merchant_id}/authorizations?store_id=&from=&to=&status=&cursor=&limit=`
pub(crate) async fn shop_authorizations(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["store_id", "from", "to", "status", CURSOR, "limit"])?;
    let (store, status) = (query.read_as("store_id")?, query.read_as("status")?);
    show(asked, &query, List::Decisions(shop(asked)?), Filter { store, status, merchant: None }).await
}

/// `GET /v1/merchants/{merchant_id}/captures?store_id=&from=&to=&cursor=&limit=`
pub(crate) async fn shop_captures(asked: &Asked) -> Result<Answer, Problem> {
    of_shop(asked, List::Captures).await
}

/// `GET /v1/merchants/{merchant_id}/refunds?store_id=&from=&to=&cursor=&limit=`
pub(crate) async fn shop_refunds(asked: &Asked) -> Result<Answer, Problem> {
    of_shop(asked, List::Refunds).await
}

/// The customer of the path, if there is one.
async fn buyer(asked: &Asked) -> Result<Whose, Problem> {
    let customer = asked.customer()?;
    account_now(asked, customer).await?;
    Ok(Whose::Customer(customer))
}

async fn of_customer(asked: &Asked, list: fn(Whose) -> List) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["from", "to", CURSOR, "limit"])?;
    show(asked, &query, list(buyer(asked).await?), Filter::default()).await
}

/// `GET /v1/customers/{customer_id}/authorizations?from=&to=&status=&cursor=&limit=`
pub(crate) async fn customer_authorizations(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["from", "to", "status", CURSOR, "limit"])?;
    let filter = Filter { status: query.read_as("status")?, ..Filter::default() };
    show(asked, &query, List::Decisions(buyer(asked).await?), filter).await
}

/// `GET /v1/customers/{customer_id}/captures?from=&to=&cursor=&limit=`
pub(crate) async fn customer_captures(asked: &Asked) -> Result<Answer, Problem> {
    of_customer(asked, List::Captures).await
}

/// `GET /v1/customers/{customer_id}/refunds?from=&to=&cursor=&limit=`
pub(crate) async fn customer_refunds(asked: &Asked) -> Result<Answer, Problem> {
    of_customer(asked, List::Refunds).await
}

/// `GET /v1/refunds/{refund_id}?merchant_id=&cursor=&limit=`: an id is unique within its sale, so that there may be several.
pub(crate) async fn refund_named(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["merchant_id", CURSOR, "limit"])?;
    let id = RefundId::new(asked.param("refund_id"));
    let id = id.map_err(|bad| Problem::parameter("refund_id", bad.to_string()))?;
    let merchant: MerchantId =
        query.read_as("merchant_id")?.ok_or_else(|| Problem::parameter("merchant_id", "is missing"))?;
    own(asked, &merchant)?;
    show(asked, &query, List::RefundsNamed(merchant, id), Filter::default()).await
}

/// `GET /v1/approval-codes/{approval_code}?merchant_id=&from=&to=&cursor=&limit=`
pub(crate) async fn approved(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["merchant_id", "from", "to", CURSOR, "limit"])?;
    let code = ApprovalCode::parse(asked.param("approval_code")).ok_or_else(|| {
        Problem::parameter("approval_code", "must be the six letters and digits of a receipt, without 0, 1, I and O")
    })?;
    let merchant: Option<MerchantId> = query.read_as("merchant_id")?;
    if let Some(merchant) = &merchant {
        own(asked, merchant)?;
    }
    show(asked, &query, List::Approved(code), Filter { merchant, ..Filter::default() }).await
}

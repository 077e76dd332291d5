//! Sales that the network approved and nobody could be charged for: the list of them, and how the office settles one.

use serde::{Deserialize, Serialize};

use super::authorizations::id_in_path;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::OnOrder;
use crate::domain::model::advice::{SuspenseAction, SuspenseWhy};
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, MerchantId, OfficeId, OrderId};
use crate::domain::model::money::Yen;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{SettleSuspense, Staff};
use crate::domain::model::time::{Date, Millis, Month};
use crate::domain::state::event::{Event, SuspenseSettled};
use crate::domain::state::receipts::Receipt;
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::fields;
use crate::http::fields::{Text, Words};
use crate::http::past::{caught_up, known};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::refusal::refused;
use crate::ledger::InSuspense;

/// Sales of one answer when nothing is said.
const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;

#[derive(Serialize)]
struct SaleShown {
    authorization_id: AuthorizationId,
    merchant_id: MerchantId,
    order_id: OrderId,
    channel: Channel,
    amount: Yen,
    recorded_at: Millis,
    /// Why nobody could be charged.
    reason: SuspenseWhy,
    /// The customer it names; null where we know none.
    customer_id: Option<CustomerId>,
}

impl From<InSuspense> for SaleShown {
    fn from(sale: InSuspense) -> Self {
        Self {
            authorization_id: sale.authorization,
            merchant_id: sale.merchant,
            order_id: sale.order_id,
            channel: sale.channel,
            amount: sale.amount,
            recorded_at: sale.at,
            reason: sale.why,
            customer_id: sale.customer,
        }
    }
}

/// Where the page ended.
#[derive(Serialize)]
struct End {
    /// For the next page; null where nothing was given.
    after: Option<String>,
    more: bool,
}

#[derive(Serialize)]
struct Page {
    /// The oldest first.
    suspense: Vec<SaleShown>,
    end: End,
}

/// `GET /v1/suspense?after=&limit=`
pub(crate) async fn list(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["after", "limit"])?;
    let limit = query.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let limit = usize::try_from(limit).map_err(|_| Problem::internal())?;
    let after = Lsn(query.number("after", 0..=u64::MAX >> 1)?.unwrap_or(0));
    caught_up(&asked.edge).await?;
    // One more, to know whether there is more.
    let found = asked.edge.client.ledger.ask(move |books| books.suspense(after, limit + 1)).await?;
    let mut found = found.unwrap_or_default();
    let more = found.len() > limit;
    found.truncate(limit);
    let after = found.last().map(|sale| sale.authorization.lsn.to_string());
    Answer::ok(&Page { suspense: found.into_iter().map(SaleShown::from).collect(), end: End { after, more } })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettlementBody {
    settlement_id: Text<OfficeId>,
    action: Text<SuspenseAction>,
    /// Whom to charge, where the sale names nobody we know.
    customer_id: Option<Text<CustomerId>>,
    by: Text<Words<64>>,
    reason: Text<Words<200>>,
}

#[derive(Serialize)]
struct StatementShown {
    month: Month,
    due: Date,
}

#[derive(Serialize)]
struct SettlementShown<'a> {
    authorization_id: AuthorizationId,
    settlement_id: OfficeId,
    action: SuspenseAction,
    amount: Yen,
    /// Who was charged.
    customer_id: Option<CustomerId>,
    /// Where it is billed, if anybody was.
    statement: Option<StatementShown>,
    #[serde(flatten)]
    staff: &'a Staff,
    settled_at: Millis,
    replayed: bool,
}

/// `POST /v1/suspense/{authorization_id}/settlement`
pub(crate) async fn settle(asked: &Asked) -> Result<Answer, Problem> {
    let body: SettlementBody = fields::read(&asked.body)?;
    let authorization = id_in_path(asked)?;
    let (id, action) = (body.settlement_id.0, body.action.0);
    let customer = body.customer_id.map(|customer| customer.0);
    if customer.is_some() && action != SuspenseAction::Charge {
        return Err(Problem::field("/customer_id", "must be left out unless `action` is `charge`"));
    }
    let key = asked.known()?.caller.name.clone();
    let staff = Staff { by: body.by.0.0, key, reason: body.reason.0.0 };
    // Whom the sale named is in the ledger alone.
    caught_up(&asked.edge).await?;
    let sale = asked.edge.client.ledger.ask(move |books| books.suspense_of(authorization)).await?.flatten();
    let (known_customer, why) = (sale.as_ref().and_then(|sale| sale.customer), sale.map(|sale| sale.why));
    let settlement = SettleSuspense { authorization, id, action, customer, known_customer, why, staff };
    let ledger = known(&asked.edge, vec![id]).await;
    match asked.edge.client.ask_on_order(OnOrder::SettleSuspense { settlement, ledger }).await?.reply {
        Reply::SuspenseSettled { receipt, customer, replayed } => show(&receipt, customer, replayed),
        Reply::Refused(refusal) => Err(refused(refusal)),
        other => Err(out_of_place(&other)),
    }
}

fn show(receipt: &Receipt, customer_id: Option<CustomerId>, replayed: bool) -> Result<Answer, Problem> {
    let Event::SuspenseSettled(fact) = receipt.event.as_ref() else { return Err(Problem::internal()) };
    let SuspenseSettled { id, order, amount, end, staff } = fact.as_ref();
    Answer::ok(&SettlementShown {
        authorization_id: *order,
        settlement_id: *id,
        action: end.action(),
        amount: *amount,
        customer_id,
        statement: end.charged().map(|charged| StatementShown { month: charged.month, due: charged.due }),
        staff,
        settled_at: receipt.at,
        replayed,
    })
}

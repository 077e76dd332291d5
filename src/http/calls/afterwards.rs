//! After the decision: captures, refunds, cancellations.

use serde::{Deserialize, Serialize};

use super::authorizations::id_in_path;
use crate::domain::commands::past::Past;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::OnOrder;
use crate::domain::model::ids::{AuthorizationId, MerchantId, OrderId, RefundId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{AppliedTo, Destination, Order, RefundMade};
use crate::domain::model::request::{Cancel, Capture, Named, OrderKey, Refund};
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::decision::Decision;
use crate::http::fields::{Amount, Text};
use crate::http::past::{BillNames, check_terminal, find, invoices};
use crate::http::problem::Problem;
use crate::http::refusal::{NotDone, refused};
use crate::http::{Edge, fields};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptureBody {
    amount: Amount,
}

/// `POST /v1/authorizations/{authorization_id}/captures`
pub(crate) async fn capture(asked: &Asked) -> Result<Answer, Problem> {
    let body: CaptureBody = fields::read(&asked.body)?;
    let authorization = id_in_path(asked)?;
    let amount = Yen::new(body.amount.0);
    // Also for who sees all: an order that only the ledger knows may still be asked about.
    find(asked, Named::Id(authorization)).await?;
    let answered = asked.edge.client.ask_on_order(OnOrder::Capture(Capture { authorization, amount })).await?;
    match answered.reply {
        Reply::Captured { order, replayed } => Answer::ok(&Decision::stored(&order, replayed, answered.now.at)),
        Reply::Refused(refusal) => Err(refused(refusal)),
        other => Err(out_of_place(&other)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    refund_id: Text<RefundId>,
    amount: Amount,
}

#[derive(Serialize)]
pub(crate) struct Applied {
    to: String,
    amount: Yen,
}

#[derive(Serialize)]
struct RefundShown {
    refund_id: RefundId,
    authorization_id: AuthorizationId,
    amount: Yen,
    refundable_left: Yen,
    outcome: Destination,
    applied: Vec<Applied>,
    spendable_restored: Yen,
    replayed: bool,
}

/// Where a refund went, and the bill fee that was waived with it.
pub(crate) fn applied(made: &RefundMade, names: &BillNames) -> Result<Vec<Applied>, Problem> {
    let parts = made.applied.iter();
    parts.map(|part| Ok(Applied { to: applied_to(names, part.to)?, amount: part.amount })).collect()
}

/// A month, the authorization id of an NP Atobarai purchase, `credit` or `payout_due`; `fee_` and a month is the bill fee that
/// was waived, whose money, as far as it had been paid, went where the rest stands.
fn applied_to(names: &BillNames, to: AppliedTo) -> Result<String, Problem> {
    match to {
        AppliedTo::Bill(bill) => names.of(bill).ok_or_else(Problem::internal),
        AppliedTo::Credit => Ok("credit".to_owned()),
        AppliedTo::Payout => Ok("payout_due".to_owned()),
        AppliedTo::WaivedFee(month) => Ok(format!("fee_{month}")),
    }
}

async fn show_refund(edge: &Edge, order: &Order, made: &RefundMade, replayed: bool) -> Result<RefundShown, Problem> {
    let mut names = BillNames::default();
    // Mostly its own invoice.
    names.add([order.id]);
    names.learn(edge, invoices(made.applied.iter().filter_map(|part| part.to.bill()))).await?;
    Ok(RefundShown {
        refund_id: made.id,
        authorization_id: order.id,
        amount: made.amount,
        refundable_left: made.left,
        outcome: made.destination,
        applied: applied(made, &names)?,
        spendable_restored: made.restored,
        replayed,
    })
}

/// `POST /v1/authorizations/{authorization_id}/refunds`
pub(crate) async fn refund(asked: &Asked) -> Result<Answer, Problem> {
    let body: RefundBody = fields::read(&asked.body)?;
    let known = asked.known()?;
    known.caller.may_refund()?;
    let authorization = id_in_path(asked)?;
    let refund = Refund::new(authorization, body.refund_id.0, Yen::new(body.amount.0));
    // Whose sale it is, where that matters.
    if !known.caller.sees_all() {
        find(asked, Named::Id(authorization)).await?;
    }
    match asked.edge.client.ask_on_order(OnOrder::Refund(refund)).await?.reply {
        Reply::Refunded { order, made, replayed } => {
            Answer::ok(&show_refund(&asked.edge, &order, &made, replayed).await?)
        }
        Reply::Refused(refusal) => Err(refused(refusal)),
        other => Err(out_of_place(&other)),
    }
}

/// A refund by staff, who see all; gives whether it was known already.
pub(crate) async fn refund_by(edge: &Edge, refund: Refund, past: Past) -> Result<bool, NotDone> {
    match edge.client.ask_knowing(OnOrder::Refund(refund), past).await?.reply {
        Reply::Refunded { replayed, .. } => Ok(replayed),
        Reply::Refused(refusal) => Err(NotDone::Refused(refusal)),
        other => Err(NotDone::Other(out_of_place(&other))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    merchant_id: Text<MerchantId>,
    order_id: Text<OrderId>,
    /// Taken and not read: nothing is undone by whom the code names.
    #[serde(rename = "code")]
    _code: Option<String>,
}

#[derive(Serialize)]
struct CancelShown {
    action: &'static str,
    authorization_id: Option<AuthorizationId>,
    replayed: bool,
}

/// `POST /v1/cancellations`
pub(crate) async fn cancel(asked: &Asked) -> Result<Answer, Problem> {
    let body: CancelBody = fields::read(&asked.body)?;
    let key = OrderKey { merchant: body.merchant_id.0, order_id: body.order_id.0 };
    asked.known()?.caller.may_see(&key.merchant, "/merchant_id")?;
    check_terminal(asked, key).await?;
    let terminals = asked.known()?.caller.terminals.clone();
    match asked.edge.client.ask_on_order(OnOrder::Cancel(Cancel { key, terminals })).await?.reply {
        Reply::Cancelled { action, authorization, replayed } => {
            Answer::ok(&CancelShown { action: action.name(), authorization_id: authorization, replayed })
        }
        Reply::Refused(refusal) => Err(refused(refusal)),
        other => Err(out_of_place(&other)),
    }
}

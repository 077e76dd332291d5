//! After the decision: captures, refunds, cancellations.

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::authorizations::{id_in_path, verify};
use super::decision::Decision;
use super::event_json_books::bill_name;
use super::fields::{self, Amount, Text};
use super::flow::{Asked, ask, out_of_place};
use super::past::{Which, find, look};
use super::problem::Problem;
use super::refusal::refused;
use crate::domain::bill::BillKey;
use crate::domain::ids::{AuthorizationId, MerchantId, OrderId, RefundId};
use crate::domain::money::Yen;
use crate::domain::orders::{AppliedTo, Order, OrderState, RefundMade};
use crate::domain::request::{Cancel, Capture, OrderKey, Refund, Request};
use crate::domain::rule::Reply;
use crate::domain::undo::{CancelAction, Refusal};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptureBody {
    amount: Amount,
}

/// `POST /v1/authorizations/{authorization_id}/captures`
pub(super) async fn capture(asked: &Asked<'_>) -> Result<Answer, Problem> {
    let body: CaptureBody = fields::read(asked.body)?;
    let (authorization, amount) = (id_in_path(asked)?, Yen::new(body.amount.0));
    // Also for who sees all: an order that only the ledger knows may still be asked about.
    let found = find(asked, Which::Id(authorization)).await?;
    if found.is_past {
        return match found.order.state {
            OrderState::Captured { amount: captured, .. } if captured == amount => {
                Answer::ok(&Decision::stored(&found.order, true, found.at))
            }
            OrderState::Captured { amount, .. } => Err(refused(Refusal::CapturedOtherwise { amount })),
            OrderState::Tombstone | OrderState::Denied(_) | OrderState::Held { .. } | OrderState::Cancelled => {
                Err(refused(Refusal::NotStanding { status: found.order.status(found.at) }))
            }
        };
    }
    let answered = ask(asked.edge, Request::Capture(Capture { authorization, amount }), None).await?;
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
struct Applied {
    to: String,
    amount: u64,
}

#[derive(Serialize)]
struct RefundShown {
    refund_id: String,
    authorization_id: String,
    amount: u64,
    refundable_left: u64,
    outcome: &'static str,
    applied: Vec<Applied>,
    spendable_restored: u64,
    replayed: bool,
}

/// A month, `credit`, `payout`, or the purchase itself where that is its own bill.
fn applied_to(order: &Order, to: AppliedTo) -> String {
    match to {
        AppliedTo::Bill(BillKey::Np(np)) if np == order.id.lsn => order.id.to_string(),
        AppliedTo::Bill(bill) => bill_name(bill),
        AppliedTo::Credit => "credit".to_owned(),
        AppliedTo::Payout => "payout".to_owned(),
    }
}

fn show_refund(order: &Order, made: &RefundMade, replayed: bool) -> RefundShown {
    RefundShown {
        refund_id: made.id.to_string(),
        authorization_id: order.id.to_string(),
        amount: made.amount.get(),
        refundable_left: made.left.get(),
        outcome: made.destination.name(),
        applied: made
            .applied
            .iter()
            .map(|part| Applied { to: applied_to(order, part.to), amount: part.amount.get() })
            .collect(),
        spendable_restored: made.restored.get(),
        replayed,
    }
}

/// `POST /v1/authorizations/{authorization_id}/refunds`
pub(super) async fn refund(asked: &Asked<'_>) -> Result<Answer, Problem> {
    let body: RefundBody = fields::read(asked.body)?;
    let known = asked.known()?;
    known.caller.may_refund()?;
    let authorization = id_in_path(asked)?;
    let refund = Refund { authorization, refund_id: body.refund_id.0, amount: Yen::new(body.amount.0) };
    // Whose sale it is, where that matters; an order of the ledger is taken back into memory first.
    if !known.caller.sees_all() {
        recall_if_past(asked, authorization).await?;
        return refund_now(asked, refund).await;
    }
    match refund_now(asked, refund).await {
        Err(problem) if problem.reason() == "authorization_unknown" => {
            recall_if_past(asked, authorization).await?;
            refund_now(asked, refund).await
        }
        outcome => outcome,
    }
}

/// A refund by staff, who see all; gives whether it was known already.
pub(super) async fn refund_by(asked: &Asked<'_>, refund: Refund) -> Result<bool, Problem> {
    let authorization = refund.authorization;
    let answered = match ask(asked.edge, Request::Refund(refund), None).await?.reply {
        Reply::Refused(Refusal::AuthorizationUnknown) => {
            recall_if_past(asked, authorization).await?;
            ask(asked.edge, Request::Refund(refund), None).await?.reply
        }
        reply => reply,
    };
    match answered {
        Reply::Refunded { replayed, .. } => Ok(replayed),
        Reply::Refused(refusal) => Err(refused(refusal)),
        other => Err(out_of_place(&other)),
    }
}

async fn recall_if_past(asked: &Asked<'_>, authorization: AuthorizationId) -> Result<(), Problem> {
    let found = find(asked, Which::Id(authorization)).await?;
    if found.is_past {
        let answered = ask(asked.edge, Request::Recall(Box::new(found.order)), None).await?;
        let Reply::Order(_) = answered.reply else { return Err(out_of_place(&answered.reply)) };
    }
    Ok(())
}

async fn refund_now(asked: &Asked<'_>, refund: Refund) -> Result<Answer, Problem> {
    let answered = ask(asked.edge, Request::Refund(refund), None).await?;
    match answered.reply {
        Reply::Refunded { order, made, replayed } => Answer::ok(&show_refund(&order, &made, replayed)),
        Reply::Refused(refusal) => Err(refused(refusal)),
        other => Err(out_of_place(&other)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    merchant_id: Text<MerchantId>,
    order_id: Text<OrderId>,
    code: Option<String>,
}

#[derive(Serialize)]
struct CancelShown {
    action: &'static str,
    authorization_id: Option<String>,
    replayed: bool,
}

fn show_cancel(action: CancelAction, authorization: Option<AuthorizationId>, replayed: bool) -> CancelShown {
    CancelShown { action: action.name(), authorization_id: authorization.map(|id| id.to_string()), replayed }
}

/// `POST /v1/cancellations`
pub(super) async fn cancel(asked: &Asked<'_>) -> Result<Answer, Problem> {
    let body: CancelBody = fields::read(asked.body)?;
    let key = OrderKey { merchant: body.merchant_id.0, order_id: body.order_id.0 };
    if !asked.known()?.caller.sees(&key.merchant) {
        let problem = Problem::new(&super::problem::FORBIDDEN, "This key does not speak for this merchant.");
        return Err(problem.with_field("/merchant_id", "is not one of this key's"));
    }
    let handle = body.code.and_then(|text| verify(asked, &text).handle());
    if let Some(order) = past_sale(asked, key).await? {
        return settled_long_ago(asked, &order);
    }
    let answered = ask(asked.edge, Request::Cancel(Cancel { key, handle }), None).await?;
    match answered.reply {
        Reply::Cancelled { action, authorization, replayed } => {
            Answer::ok(&show_cancel(action, authorization, replayed))
        }
        Reply::Refused(refusal) => Err(refused(refusal)),
        other => Err(out_of_place(&other)),
    }
}

/// The decision of an order that only the ledger remembers. If the ledger can't tell, the cancel goes on: a
/// tombstone for an order of long ago does no harm, a cancel that is not heard does.
async fn past_sale(asked: &Asked<'_>, key: OrderKey) -> Result<Option<Order>, Problem> {
    if asked.edge.past.is_none() {
        return Ok(None);
    }
    match ask(asked.edge, Request::FindOrderByKey(key), None).await?.reply {
        Reply::Unknown => Ok(look(asked.edge, Which::Key(key)).await.unwrap_or(None)),
        _ => Ok(None),
    }
}

fn settled_long_ago(asked: &Asked<'_>, order: &Order) -> Result<Answer, Problem> {
    let id = Some(order.id);
    match order.state {
        OrderState::Captured { refunded, .. } if !refunded.is_zero() => Err(refused(Refusal::AlreadyRefunded)),
        OrderState::Captured { .. } => Err(refused(Refusal::UseRefund)),
        OrderState::Cancelled => Answer::ok(&show_cancel(CancelAction::Reversed, id, true)),
        OrderState::Denied(_) => Answer::ok(&show_cancel(CancelAction::None, id, true)),
        OrderState::Tombstone => Answer::ok(&show_cancel(CancelAction::Blocked, None, true)),
        OrderState::Held { expires_at } if asked.edge.clock.now() >= expires_at => {
            Answer::ok(&show_cancel(CancelAction::None, id, true))
        }
        // An open hold is always in memory; the ledger is behind.
        OrderState::Held { .. } => Err(Problem::not_ready()),
    }
}

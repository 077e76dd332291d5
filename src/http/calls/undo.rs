//! After the decision, whichever way it is asked for: captures, refunds and cancellations, of the orders in memory and of
//! those that only the ledger remembers. What comes back is the core's reply, to be put in words.

use crate::domain::commands::refusal::Refusal;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::commands::undo::{CancelAction, made_before};
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CustomerId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Order, OrderState};
use crate::domain::model::request::{Cancel, Capture, OrderKey, Refund};
use crate::domain::model::time::Millis;
use crate::http::Edge;
use crate::http::call::{ask, out_of_place};
use crate::http::past::{Found, Unavailable, Which, look, order};
use crate::http::problem::Problem;

/// A reply and its time.
pub(crate) type Replied = (Reply, Millis);

/// A refund of an old order takes three questions, and one more where another refund of it came between.
const REFUND_TRIES: usize = 4;

/// Captures a hold that was found.
pub(crate) async fn capture(edge: &Edge, found: Found, amount: Yen) -> Result<Replied, Problem> {
    if found.is_past {
        return Ok((captured_long_ago(found.order, amount, found.at), found.at));
    }
    let capture = Capture { authorization: found.order.id, amount };
    let answered = ask(edge, Request::Capture(capture), None).await?;
    Ok((answered.reply, answered.now.at))
}

/// A hold that is still open is in memory, always.
fn captured_long_ago(order: Order, amount: Yen, now: Millis) -> Reply {
    match order.state {
        OrderState::Captured { amount: captured, .. } if captured == amount => {
            Reply::Captured { order: Box::new(order), replayed: true }
        }
        OrderState::Captured { amount, .. } => Reply::Refused(Refusal::CapturedOtherwise { amount }),
        OrderState::Tombstone | OrderState::Denied(_) | OrderState::Held { .. } | OrderState::Cancelled => {
            Reply::Refused(Refusal::NotStanding { status: order.status(now) })
        }
    }
}

/// Refunds; an order of the ledger is taken back into memory first. Refunds made before it last was are in the ledger
/// alone, so it is looked there whether this one is among them.
pub(crate) async fn refund(edge: &Edge, mut refund: Refund) -> Result<Reply, Problem> {
    let which = Which::Id(refund.authorization);
    for _ in 0..REFUND_TRIES {
        let found = match ask(edge, Request::Refund(refund), None).await?.reply {
            Reply::Refused(Refusal::AuthorizationUnknown) => order(edge, which).await?,
            Reply::Refused(Refusal::LedgerKnows) => {
                let past = look(edge, which).await.map_err(|Unavailable| Problem::not_ready())?;
                Found { order: past.ok_or_else(Problem::not_ready)?, at: edge.now(), is_past: true }
            }
            reply => return Ok(reply),
        };
        if !found.is_past {
            // Somebody else has just taken it back into memory.
            continue;
        }
        match made_before(&found.order, &refund) {
            Ok(Some(made)) => {
                let made = made.clone();
                if !is_of(edge, &found.order, refund.customer).await? {
                    return Ok(Reply::Refused(Refusal::RefundIdReused { amount: made.amount }));
                }
                return Ok(Reply::Refunded { order: Box::new(found.order), made, replayed: true });
            }
            Ok(None) => recall(edge, found.order).await?,
            Err(refusal) => return Ok(Reply::Refused(refusal)),
        }
        refund.is_new_to_ledger = true;
    }
    Err(Problem::busy())
}

/// Whether an order that only the ledger has is the customer's who is named, if one is.
async fn is_of(edge: &Edge, order: &Order, customer: Option<CustomerId>) -> Result<bool, Problem> {
    let (Some(customer), Some(ix)) = (customer, order.customer) else { return Ok(customer.is_none()) };
    match ask(edge, Request::NameCustomers(Box::from([ix])), None).await?.reply {
        Reply::Names(names) => Ok(names.first() == Some(&Some(customer))),
        other => Err(out_of_place(&other)),
    }
}

/// Takes the order of a refund back into memory where only the ledger has it; whether a refund of it is one question then.
/// It is not where earlier refunds of it are in the ledger alone.
pub(crate) async fn bring_back(edge: &Edge, authorization: AuthorizationId) -> Result<bool, Problem> {
    let found = order(edge, Which::Id(authorization)).await?;
    let in_ledger = found
        .order
        .refunds
        .as_ref()
        .map_or(0, |refunds| if found.is_past { refunds.count() } else { usize::from(refunds.before) });
    if found.is_past {
        recall(edge, found.order).await?;
    }
    Ok(in_ledger == 0)
}

async fn recall(edge: &Edge, order: Order) -> Result<(), Problem> {
    match ask(edge, Request::Recall(Box::new(order)), None).await?.reply {
        Reply::Order(_) => Ok(()),
        other => Err(out_of_place(&other)),
    }
}

/// Takes an order back, seen or not. The code it came with, if it is known, speeds its way.
pub(crate) async fn cancel(edge: &Edge, cancel: Cancel) -> Result<Reply, Problem> {
    let past = past_sale(edge, cancel.key).await?;
    let was_blocked = matches!(&past, Ok(Some(order)) if is_blocked(order));
    if let Ok(Some(order)) = past.as_ref()
        && !was_blocked
    {
        return settled_long_ago(order, edge.now());
    }
    // What was blocked long ago is blocked anew: memory has let go of that.
    let mut reply = ask(edge, Request::Cancel(cancel), None).await?.reply;
    if let Reply::Cancelled { action: CancelAction::Blocked, replayed, .. } = &mut reply {
        *replayed |= was_blocked;
    }
    match (past, &reply) {
        // Should it still come, it is blocked. But it may be a sale of long ago, which stands: this is to be asked again.
        (Err(Unavailable), Reply::Cancelled { action: CancelAction::Blocked, .. }) => Err(Problem::not_ready()),
        _ => Ok(reply),
    }
}

/// The decision of an order that only the ledger remembers, if the ledger can tell.
async fn past_sale(edge: &Edge, key: OrderKey) -> Result<Result<Option<Order>, Unavailable>, Problem> {
    if edge.past.is_none() || is_in_memory(edge, key).await? {
        return Ok(Ok(None));
    }
    let order = match look(edge, Which::Key(key)).await {
        Ok(Some(order)) => order,
        other => return Ok(other),
    };
    // It may have been decided and posted since the first question: then it is a sale of now, not of long ago.
    Ok(Ok(if is_in_memory(edge, key).await? { None } else { Some(order) }))
}

async fn is_in_memory(edge: &Edge, key: OrderKey) -> Result<bool, Problem> {
    Ok(!matches!(ask(edge, Request::FindOrderByKey(key), None).await?.reply, Reply::Unknown))
}

/// Denied as cancelled is what was blocked.
const fn is_blocked(order: &Order) -> bool {
    matches!(order.state, OrderState::Tombstone | OrderState::Denied(Reason::Cancelled))
}

fn settled_long_ago(order: &Order, now: Millis) -> Result<Reply, Problem> {
    let cancelled = |action, authorization| Reply::Cancelled { action, authorization, replayed: true };
    Ok(match order.state {
        OrderState::Captured { .. } => Reply::Refused(Refusal::UseRefund),
        OrderState::Cancelled => cancelled(CancelAction::Reversed, Some(order.id)),
        OrderState::Tombstone | OrderState::Denied(_) => cancelled(CancelAction::None, Some(order.id)),
        OrderState::Held { expires_at } if now >= expires_at => cancelled(CancelAction::None, Some(order.id)),
        // An open hold is always in memory; the ledger is behind.
        OrderState::Held { .. } => return Err(Problem::not_ready()),
    })
}

//! What is asked of an order after its decision, and takes more than one question: reversals, refunds, captures.

use crate::domain::ids::{Handle, RefundId};
use crate::domain::money::Yen;
use crate::domain::orders::{Order, OrderState};
use crate::domain::request::{OrderKey, Refund};
use crate::domain::rule::Reply;
use crate::domain::undo::Refusal;
use crate::server::Edge;
use crate::server::past::{Which, order};
use crate::server::problem::Problem;
use crate::server::undo;

use super::verdict::Verdict;

/// One message's wish.
pub(super) struct After {
    /// The key of the message itself: a refund's id is its own order id.
    pub own: OrderKey,
    pub doing: Doing,
}

pub(super) enum Doing {
    Reversal { original: OrderKey, of_refund: bool, kept: Option<Yen>, handle: Option<Handle> },
    Refund { original: OrderKey, amount: Yen },
    Capture { original: OrderKey, amount: Yen },
}

impl After {
    pub async fn carry_out(self, edge: &Edge) -> Verdict {
        let done = match self.doing {
            Doing::Reversal { original, handle, .. } => self.reverse(edge, original, handle).await,
            Doing::Refund { original, amount } => self.refund(edge, original, amount).await,
            Doing::Capture { original, amount } => self.capture(edge, original, amount).await,
        };
        done.unwrap_or_else(|problem| Verdict::of_problem(&problem))
    }

    /// Whatever became of the original, afterwards it is undone: seen or not, and past the void window as a refund of all
    /// that is left of it.
    async fn reverse(&self, edge: &Edge, original: OrderKey, handle: Option<Handle>) -> Result<Verdict, Problem> {
        match undo::cancel(edge, original, handle).await? {
            Reply::Cancelled { .. } => Ok(Verdict::DONE),
            Reply::Refused(Refusal::UseRefund | Refusal::AlreadyRefunded) => self.refund_rest(edge, original).await,
            other => Ok(Verdict::of_other(&other)),
        }
    }

    async fn refund_rest(&self, edge: &Edge, original: OrderKey) -> Result<Verdict, Problem> {
        let mut found = order(edge, Which::Key(original)).await?;
        if found.is_past {
            // It may have been recalled for a refund that the ledger does not know of yet.
            found = order(edge, Which::Id(found.order.id)).await?;
        }
        let left = match found.order.state {
            OrderState::Captured { amount, refunded } => amount.minus_or_zero(refunded),
            _ => Yen::ZERO,
        };
        if left.is_zero() {
            return Ok(Verdict::DONE);
        }
        match self.refund_order(edge, &found.order, left).await? {
            // Another refund came between: what is left now is another amount.
            Reply::Refused(Refusal::OverRefundable { .. } | Refusal::RefundIdReused { .. }) => Ok(Verdict::busy()),
            Reply::Refunded { .. } => Ok(Verdict::DONE),
            other => Ok(Verdict::of_other(&other)),
        }
    }

    async fn refund(&self, edge: &Edge, original: OrderKey, amount: Yen) -> Result<Verdict, Problem> {
        let found = order(edge, Which::Key(original)).await?;
        match self.refund_order(edge, &found.order, amount).await? {
            Reply::Refunded { order, .. } => Ok(Verdict::done_to(order.id.approval_code())),
            other => Ok(Verdict::of_other(&other)),
        }
    }

    async fn refund_order(&self, edge: &Edge, order: &Order, amount: Yen) -> Result<Reply, Problem> {
        // An order's id is of the same alphabet and no longer than a refund's.
        let refund_id = RefundId::new(self.own.order_id.as_str()).map_err(|_| Problem::internal())?;
        undo::refund(edge, Refund { authorization: order.id, refund_id, amount }).await
    }

    async fn capture(&self, edge: &Edge, original: OrderKey, amount: Yen) -> Result<Verdict, Problem> {
        let found = order(edge, Which::Key(original)).await?;
        match undo::capture(edge, found, amount).await?.0 {
            Reply::Captured { order, .. } => Ok(Verdict::done_to(order.id.approval_code())),
            other => Ok(Verdict::of_other(&other)),
        }
    }
}

//! What is asked of an order after its decision, or told of one that the network decided, and takes more than one
//! question: reversals, refunds, captures, advices.

use std::sync::Arc;

use crate::domain::account::Channel;
use crate::domain::ids::{CustomerIx, Handle, RefundId, TerminalId};
use crate::domain::jst::Millis;
use crate::domain::money::Yen;
use crate::domain::orders::{Order, OrderState};
use crate::domain::request::{Advice, Authorize, OrderKey, Payer, Post, Refund, Request, Scanned};
use crate::domain::rule::Reply;
use crate::domain::undo::Refusal;
use crate::iso8583::translate::Wrong;
use crate::server::Edge;
use crate::server::flow::ask;
use crate::server::past::{Found, Which, order};
use crate::server::problem::Problem;
use crate::server::undo;

use super::verdict::Verdict;

/// One message's wish.
pub(super) struct After {
    /// The key of the message itself: a refund's id is its own order id.
    pub own: OrderKey,
    pub terminal: Option<TerminalId>,
    pub doing: Doing,
}

pub(super) enum Doing {
    /// `kept`: not all of it is taken back.
    Reversal {
        original: OrderKey,
        kept: Option<Yen>,
        handle: Option<Handle>,
    },
    /// Of a refund; its amount, where the message says it.
    RefundReversal {
        original: OrderKey,
        amount: Option<Yen>,
    },
    Refund {
        original: OrderKey,
        amount: Yen,
    },
    /// The code, where it was sent again, and what may be posted where there is no hold for it.
    Capture {
        original: OrderKey,
        amount: Yen,
        code: Option<Scanned>,
        post: Post,
    },
    StandIn(Advice),
}

type Done = Result<Verdict, Problem>;

impl After {
    pub async fn carry_out(self, edge: &Edge) -> Verdict {
        let done = match &self.doing {
            Doing::Reversal { original, kept, handle } => self.reverse(edge, *original, *kept, *handle).await,
            Doing::RefundReversal { original, amount } => self.reverse_refund(edge, *original, *amount).await,
            Doing::Refund { original, amount } => self.refund(edge, *original, *amount).await,
            Doing::Capture { original, amount, code, post } => {
                self.capture(edge, *original, *amount, *code, *post).await
            }
            Doing::StandIn(advice) => advise(edge, advice.clone()).await,
        };
        done.unwrap_or_else(|problem| Verdict::of_problem(&problem))
    }

    /// Whatever became of the original, afterwards it is undone: seen or not, and past the void window as a refund of all
    /// that is left of it.
    async fn reverse(&self, edge: &Edge, original: OrderKey, kept: Option<Yen>, handle: Option<Handle>) -> Done {
        if let Some(kept) = kept
            && let Some(found) = find(edge, original).await?
        {
            return match found.order.state {
                OrderState::Captured { .. } => self.refund_down_to(edge, &found.order, kept).await,
                // A hold can't be made smaller: less of it is captured.
                OrderState::Held { .. } => Ok(Verdict::wrong(Wrong { code: *b"30", element: 95 })),
                OrderState::Tombstone | OrderState::Denied(_) | OrderState::Cancelled => Ok(Verdict::DONE),
            };
        }
        match undo::cancel(edge, original, handle).await? {
            Reply::Cancelled { .. } => Ok(Verdict::DONE),
            Reply::Refused(Refusal::UseRefund | Refusal::AlreadyRefunded) => {
                let found = order(edge, Which::Key(original)).await?;
                // One of the ledger may have been recalled for a refund that the ledger does not know of yet.
                let fresh = if found.is_past { order(edge, Which::Id(found.order.id)).await? } else { found };
                self.refund_down_to(edge, &fresh.order, Yen::ZERO).await
            }
            other => Ok(Verdict::of_other(&other)),
        }
    }

    /// Refunds what is left of a sale but for `kept`.
    async fn refund_down_to(&self, edge: &Edge, order: &Order, kept: Yen) -> Done {
        let left = match order.state {
            OrderState::Captured { amount, refunded } => amount.minus_or_zero(refunded).minus_or_zero(kept),
            _ => Yen::ZERO,
        };
        if left.is_zero() {
            return Ok(Verdict::DONE);
        }
        match self.refund_order(edge, order, left).await? {
            // Another refund came between: what is left now is another amount.
            Reply::Refused(Refusal::OverRefundable { .. } | Refusal::RefundIdReused { .. }) => Ok(Verdict::busy()),
            Reply::Refunded { .. } => Ok(Verdict::DONE),
            other => Ok(Verdict::of_other(&other)),
        }
    }

    /// Should the refund still come, it is denied. Whether it came before can't be told by its id, and what was given back
    /// can't be charged again without the customer: the amount goes to suspense, for people to clear.
    async fn reverse_refund(&self, edge: &Edge, original: OrderKey, amount: Option<Yen>) -> Done {
        match undo::cancel(edge, original, None).await? {
            Reply::Cancelled { .. } => {}
            other => return Ok(Verdict::of_other(&other)),
        }
        match amount {
            Some(amount) => self.advise(edge, Payer::Code(Scanned::Invalid), amount, Post::Never).await,
            None => Ok(Verdict::DONE),
        }
    }

    async fn refund(&self, edge: &Edge, original: OrderKey, amount: Yen) -> Done {
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

    /// An advice can't be refused, the goods are gone. As far as a hold was granted for it, the hold is captured; the rest
    /// is a sale that nobody approved.
    async fn capture(&self, edge: &Edge, original: OrderKey, amount: Yen, code: Option<Scanned>, post: Post) -> Done {
        let by_code = Payer::Code(code.unwrap_or(Scanned::Invalid));
        let Some(found) = find(edge, original).await? else {
            return self.advise(edge, by_code, amount, post).await;
        };
        let (approval, granted) = (found.order.id.approval_code(), found.order.amount);
        let customer = found.order.customer;
        match hold_for(&found.order, found.at) {
            Hold::Open => {}
            // The customer bought, only later than we waited: whoever it was is charged.
            Hold::RanOut => return self.advise(edge, payer(edge, customer, by_code).await?, amount, post).await,
            Hold::Captured(captured) if captured == amount.min(granted) => {}
            Hold::Captured(_) | Hold::None => {
                let payer = payer(edge, customer, by_code).await?;
                return self.advise(edge, payer, amount, Post::Never).await;
            }
            Hold::InSuspense => return Ok(Verdict::DONE),
        }
        match undo::capture(edge, found, amount.min(granted)).await?.0 {
            Reply::Captured { .. } if amount > granted => {
                let payer = payer(edge, customer, by_code).await?;
                self.advise(edge, payer, amount.minus_or_zero(granted), post).await
            }
            Reply::Captured { .. } => Ok(Verdict::done_to(approval)),
            // Something came between; the network says it again.
            Reply::Refused(_) => Ok(Verdict::busy()),
            other => Ok(Verdict::of_other(&other)),
        }
    }

    /// Tells of a sale under this message's own key.
    async fn advise(&self, edge: &Edge, payer: Payer, amount: Yen, post: Post) -> Done {
        let sale = Authorize::new(self.own, payer, Channel::InStore, amount);
        let input = Arc::new(Authorize { terminal: self.terminal, ..sale });
        advise(edge, Advice { input, original: None, post }).await
    }
}

/// What there is of a hold to be captured.
enum Hold {
    Open,
    RanOut,
    Captured(Yen),
    /// No customer is charged, whatever is captured of it.
    InSuspense,
    None,
}

fn hold_for(order: &Order, now: Millis) -> Hold {
    match order.state {
        _ if order.is_suspense() => Hold::InSuspense,
        OrderState::Held { expires_at } if now < expires_at => Hold::Open,
        OrderState::Held { .. } => Hold::RanOut,
        OrderState::Captured { amount, .. } => Hold::Captured(amount),
        OrderState::Denied(_) | OrderState::Cancelled | OrderState::Tombstone => Hold::None,
    }
}

/// The order, where it was ever seen.
async fn find(edge: &Edge, key: OrderKey) -> Result<Option<Found>, Problem> {
    match order(edge, Which::Key(key)).await {
        Err(problem) if problem.reason() == "authorization_unknown" => Ok(None),
        found => found.map(Some),
    }
}

/// A customer by name, or else whoever the code names.
async fn payer(edge: &Edge, customer: Option<CustomerIx>, or: Payer) -> Result<Payer, Problem> {
    let Some(customer) = customer else { return Ok(or) };
    match ask(edge, Request::NameCustomers(Box::new([customer])), None).await?.reply {
        Reply::Names(names) => Ok(names.into_iter().flatten().next().map_or(or, Payer::Customer)),
        _ => Ok(or),
    }
}

/// Whatever it comes to is in the books, to a customer or in suspense; the network is told 00.
async fn advise(edge: &Edge, advice: Advice) -> Done {
    match ask(edge, Request::Advise(advice), None).await?.reply {
        Reply::Advised { order, .. } => Ok(Verdict::done_to(order.id.approval_code())),
        // It was reversed before it came, or is the network's word for what was decided here.
        Reply::Decision { .. } => Ok(Verdict::DONE),
        other => Ok(Verdict::of_other(&other)),
    }
}

//! What is asked of an order after its decision, or told of one that the network decided, and takes more than one
//! question: reversals, refunds, captures, advices.

use std::sync::Arc;

use crate::code::{InvalidWhy, Scan};
use crate::domain::commands::refusal::Refusal;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::commands::undo::CancelAction;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{CustomerIx, Handle, OrderId, RefundId, TerminalId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Order, OrderState};
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Advice, Authorize, Cancel, OrderKey, Payer, Post, Refund};
use crate::domain::model::time::Millis;
use crate::http::Edge;
use crate::http::call::ask;
use crate::http::calls::{scans, undo};
use crate::http::past::{Found, Which, order};
use crate::http::problem::Problem;
use crate::iso8583::translate::{Of, Wrong};

use super::verdict::Verdict;

/// One message's wish.
pub(crate) struct After {
    /// The key of the message itself: a refund's id is its own order id.
    pub own: OrderKey,
    pub terminal: Option<TerminalId>,
    pub doing: Doing,
    /// What is named as the original can be the name of one that is still to come.
    pub may_still_come: bool,
}

pub(crate) enum Doing {
    /// `kept`: not all of it is taken back.
    Reversal {
        original: OrderKey,
        of: Of,
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
        code: Option<Scan>,
        post: Post,
    },
    StandIn {
        advice: Advice,
        /// Its code.
        scan: Scan,
    },
}

impl Doing {
    /// What element 90 names.
    fn original(&self) -> Option<OrderKey> {
        match self {
            Self::Reversal { original, .. }
            | Self::RefundReversal { original, .. }
            | Self::Refund { original, .. }
            | Self::Capture { original, .. } => Some(*original),
            Self::StandIn { advice, .. } => advice.original,
        }
    }
}

/// What comes of an order beside itself has a name of its own, made of that order's: however many messages tell of it, it
/// is booked once.
const CAPTURED: &str = "-C";
/// Of a sale that we denied and the network then approved.
const STOOD_IN: &str = "-A";
/// Of a refund that was taken back.
const TAKEN_BACK: &str = "-R";

/// How often a refund of the rest is tried again because another came between.
const TRIES: usize = 3;

type Done = Result<Verdict, Problem>;

impl After {
    pub async fn carry_out(self, edge: &Edge) -> Verdict {
        self.carry_out_known(edge).await.unwrap_or_else(|problem| Verdict::of_problem(&problem))
    }

    async fn carry_out_known(&self, edge: &Edge) -> Done {
        // Fields in each other's place name nothing; to remember that for a sale to come would tell the network that its
        // own was undone.
        if !self.may_still_come
            && let Some(original) = self.doing.original()
            && find(edge, original).await?.is_none()
        {
            return Ok(Verdict::wrong(Wrong { code: *b"30", element: 90 }));
        }
        match &self.doing {
            Doing::Reversal { original, kept: Some(kept), .. } => self.reverse_part(edge, *original, *kept).await,
            Doing::Reversal { original, of, kept: None, handle } => self.reverse(edge, *original, *of, *handle).await,
            Doing::RefundReversal { original, amount } => self.reverse_refund(edge, *original, *amount).await,
            Doing::Refund { original, amount } => self.refund(edge, *original, *amount).await,
            Doing::Capture { original, amount, code, post } => {
                self.capture(edge, *original, *amount, *code, *post).await
            }
            Doing::StandIn { advice, scan } => self.stand_in(edge, advice, *scan).await,
        }
    }

    /// Whatever became of the original, afterwards it is undone: seen or not, and past the void window as a refund of all
    /// that is left of it.
    async fn reverse(&self, edge: &Edge, original: OrderKey, of: Of, handle: Option<Handle>) -> Done {
        // A capture is booked with its hold, so it is the hold that is to be named. A sale that the network approved
        // itself has its own name, once it has come.
        if of == Of::Advice && find(edge, original).await?.is_none() {
            return Ok(Verdict::wrong(Wrong { code: *b"30", element: 90 }));
        }
        let (verdict, action) = self.undo(edge, original, handle).await?;
        let beside = beside(original, CAPTURED)?;
        // What was captured beyond the hold, or after it. And nothing may be captured of what was taken back before.
        if of == Of::Hold && (action != Some(CancelAction::Reversed) || find(edge, beside).await?.is_some()) {
            return Ok(self.undo(edge, beside, None).await?.0);
        }
        Ok(verdict)
    }

    /// Undoes one order; with what a cancellation did, if it was one.
    async fn undo(
        &self,
        edge: &Edge,
        key: OrderKey,
        handle: Option<Handle>,
    ) -> Result<(Verdict, Option<CancelAction>), Problem> {
        match undo::cancel(edge, Cancel::new(key, handle)).await? {
            Reply::Cancelled { action, .. } => Ok((Verdict::DONE, Some(action))),
            Reply::Refused(Refusal::UseRefund) => Ok((self.refund_down_to(edge, key, Yen::ZERO).await?, None)),
            other => Ok((Verdict::of_other(&other), None)),
        }
    }

    async fn reverse_part(&self, edge: &Edge, original: OrderKey, kept: Yen) -> Done {
        match find(edge, original).await?.map(|found| found.order.state) {
            Some(OrderState::Captured { .. }) => self.refund_down_to(edge, original, kept).await,
            // What a hold does not need any more is released at its capture.
            Some(OrderState::Held { .. }) => Ok(Verdict::DONE),
            _ => self.reverse(edge, original, Of::Sale, None).await,
        }
    }

    /// Refunds what is left of a sale but for `kept`.
    async fn refund_down_to(&self, edge: &Edge, key: OrderKey, kept: Yen) -> Done {
        for _ in 0..TRIES {
            let order = order(edge, Which::Key(key)).await?.order;
            let left = match order.state {
                OrderState::Captured { amount, refunded } => amount.minus_or_zero(refunded).minus_or_zero(kept),
                _ => Yen::ZERO,
            };
            if left.is_zero() {
                return Ok(Verdict::DONE);
            }
            match self.refund_order(edge, &order, left, true).await? {
                // Another refund came between: what is left now is another amount.
                Reply::Refused(Refusal::OverRefundable { .. }) => {}
                Reply::Refunded { .. } => return Ok(Verdict::DONE),
                other => return Ok(Verdict::of_other(&other)),
            }
        }
        Ok(Verdict::busy())
    }

    /// Should the refund still come, it is denied. Whether it came before can't be told by its id, and what was given back
    /// can't be charged again without the customer: the amount goes to suspense, for people to clear.
    async fn reverse_refund(&self, edge: &Edge, original: OrderKey, amount: Option<Yen>) -> Done {
        if find(edge, original).await?.is_some() {
            // That is a sale.
            return Ok(Verdict::wrong(Wrong { code: *b"30", element: 3 }));
        }
        match undo::cancel(edge, Cancel::new(original, None)).await? {
            Reply::Cancelled { .. } => {}
            other => return Ok(Verdict::of_other(&other)),
        }
        let Some(amount) = amount else { return Ok(Verdict::DONE) };
        let nobody = Buyer::of(Scan::Invalid(InvalidWhy::Empty));
        advise(edge, self.advice(beside(original, TAKEN_BACK)?, nobody, amount, Post::Never)).await
    }

    async fn refund(&self, edge: &Edge, original: OrderKey, amount: Yen) -> Done {
        if self.own == original {
            return Ok(Verdict::id_reused());
        }
        let found = order(edge, Which::Key(original)).await?;
        match self.refund_order(edge, &found.order, amount, false).await? {
            Reply::Refunded { order, .. } => Ok(Verdict::done_to(order.id.approval_code())),
            other => Ok(Verdict::of_other(&other)),
        }
    }

    async fn refund_order(&self, edge: &Edge, order: &Order, amount: Yen, is_reversal: bool) -> Result<Reply, Problem> {
        // An order's id is of the same alphabet and no longer than a refund's.
        let refund_id = RefundId::new(self.own.order_id.as_str()).map_err(|_| Problem::internal())?;
        undo::refund(edge, Refund { is_reversal, ..Refund::new(order.id, refund_id, amount) }).await
    }

    /// An advice can't be refused, the goods are gone. As far as a hold was granted for it, the hold is captured; the rest
    /// is a sale that nobody approved.
    async fn capture(&self, edge: &Edge, original: OrderKey, amount: Yen, code: Option<Scan>, post: Post) -> Done {
        let code = code.unwrap_or(Scan::Invalid(InvalidWhy::Empty));
        let Some(found) = find(edge, original).await? else {
            return self.capture_beside(edge, original, buyer(edge, None, code).await?, amount, post).await;
        };
        let (approval, granted) = (found.order.id.approval_code(), found.order.amount);
        let buyer = buyer(edge, found.order.customer, code).await?;
        match hold_for(&found.order, found.at) {
            Hold::Open => {}
            // The customer bought, only later than we waited: whoever it was is charged.
            Hold::RanOut => return self.capture_beside(edge, original, buyer, amount, post).await,
            Hold::Captured(captured) if captured == amount.min(granted) => {}
            Hold::Captured(_) | Hold::None => {
                return advise(edge, self.advice(self.own, buyer, amount, Post::Never)).await;
            }
            Hold::InSuspense => return Ok(Verdict::DONE),
        }
        match undo::capture(edge, found, amount.min(granted)).await?.0 {
            Reply::Captured { .. } if amount > granted => {
                self.capture_beside(edge, original, buyer, amount.minus_or_zero(granted), post).await
            }
            Reply::Captured { .. } => Ok(Verdict::done_to(approval)),
            // Something came between; the network says it again.
            Reply::Refused(_) => Ok(Verdict::busy()),
            other => Ok(Verdict::of_other(&other)),
        }
    }

    /// Books what was captured without a hold for it, or beyond it: once, of whatever amount came first. Another amount is
    /// nobody's.
    async fn capture_beside(&self, edge: &Edge, original: OrderKey, buyer: Buyer, amount: Yen, post: Post) -> Done {
        let beside = beside(original, CAPTURED)?;
        match find(edge, beside).await?.map(|found| found.order) {
            Some(order) if order.amount == amount => Ok(Verdict::done_to(order.id.approval_code())),
            Some(_) => advise(edge, self.advice(self.own, buyer, amount, Post::Never)).await,
            None => advise(edge, self.advice(beside, buyer, amount, post)).await,
        }
    }

    async fn stand_in(&self, edge: &Edge, advice: &Advice, scan: Scan) -> Done {
        // Told again after days, it is in the ledger.
        if let Some(Found { order, is_past: true, .. }) = find(edge, self.own).await?
            && order.amount == advice.input.amount
        {
            return Ok(Verdict::done_to(order.id.approval_code()));
        }
        // An advice may come long after its code was shown.
        let mut advice = advice.clone();
        Arc::make_mut(&mut advice.input).payer = Buyer::of(scans::settle(edge, scan).await?).payer;
        match ask(edge, Request::Advise(advice.clone()), None).await?.reply {
            // We denied it under this very name; the network did not.
            Reply::Decision { order, .. } if order.denial().is_some_and(|reason| reason != Reason::Cancelled) => {
                let order_id = beside(self.own, STOOD_IN)?.order_id;
                let input = Arc::new(Authorize { order_id, ..advice.input.as_ref().clone() });
                advise(edge, Advice { input, ..advice }).await
            }
            reply => Ok(advised(&reply)),
        }
    }

    fn advice(&self, key: OrderKey, Buyer { payer, sealed_by }: Buyer, amount: Yen, post: Post) -> Advice {
        let sale = Authorize::new(key, payer, Channel::InStore, amount);
        let input = Arc::new(Authorize { terminal: self.terminal, ..sale });
        Advice { input, original: None, post, sealed_by }
    }
}

/// The name of what comes of an order beside itself.
fn beside(key: OrderKey, mark: &str) -> Result<OrderKey, Problem> {
    let order_id = OrderId::new(&format!("{}{mark}", key.order_id)).map_err(|_| Problem::internal())?;
    Ok(OrderKey { order_id, ..key })
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

/// Who is charged, and which keys vouch for it where that is told by a code.
#[derive(Clone, Copy)]
struct Buyer {
    payer: Payer,
    sealed_by: Option<u8>,
}

impl Buyer {
    fn of(scan: Scan) -> Self {
        Self { payer: Payer::Code(scan.into()), sealed_by: scan.sealed_by() }
    }
}

/// A customer by name, or else whoever the code names.
async fn buyer(edge: &Edge, customer: Option<CustomerIx>, code: Scan) -> Result<Buyer, Problem> {
    if let Some(customer) = customer
        && let Reply::Names(names) = ask(edge, Request::NameCustomers(Box::new([customer])), None).await?.reply
        && let Some(name) = names.into_iter().flatten().next()
    {
        return Ok(Buyer { payer: Payer::Customer(name), sealed_by: None });
    }
    Ok(Buyer::of(scans::settle(edge, code).await?))
}

async fn advise(edge: &Edge, advice: Advice) -> Done {
    Ok(advised(&ask(edge, Request::Advise(advice), None).await?.reply))
}

/// Whatever it comes to is in the books, to a customer or in suspense; the network is told 00.
fn advised(reply: &Reply) -> Verdict {
    match reply {
        Reply::Advised { order, .. } => Verdict::done_to(order.id.approval_code()),
        // It was reversed before it came, or is the network's word for what was decided here.
        Reply::Decision { .. } => Verdict::DONE,
        other => Verdict::of_other(other),
    }
}

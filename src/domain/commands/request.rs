//! Everything that can be asked of the engine.

use std::sync::Arc;

use crate::domain::model::code::Form;
use crate::domain::model::ids::{AuthorizationId, CodeId, CustomerId, CustomerIx, Handle, Lsn};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::order::Order;
use crate::domain::model::request::{
    Advice, Authorize, Cancel, Capture, CustomerChange, Instruction, OrderKey, Refund,
};
use crate::domain::state::receipts::Known;
/// Everything that can be asked of the engine. Each is answered once, after what it changed is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// With `throttled`, only a known order is answered; nothing new is decided. `sealed_by` is the key generation of the
    /// seal that holds: it is compared with that of the code's record and is not recorded.
    Authorize {
        input: Arc<Authorize>,
        throttled: bool,
        sealed_by: Option<u8>,
    },
    Advise(Advice),
    Cancel(Cancel),
    Capture(Capture),
    Refund(Refund),
    /// An old order read from the ledger, to be taken back into memory before it is refunded.
    Recall(Box<Order>),
    IssueCode {
        customer: CustomerId,
        /// Of the keys that will seal it.
        generation: u8,
        form: Form,
    },
    VoidCode {
        code: CodeId,
    },
    PutCustomer {
        id: CustomerId,
        change: Box<CustomerChange>,
    },
    PutMerchant(Box<Merchant>),
    /// What the back office says of a customer's money.
    Instruct {
        customer: CustomerId,
        instruction: Instruction,
        /// What the ledger has of its id; none where it could not be asked.
        ledger: Option<Known>,
    },
    FindOrder(AuthorizationId),
    FindOrderByKey(OrderKey),
    FindCode(CodeId),
    /// When the code with this handle was issued, and under which keys, while it is remembered.
    FindIssue(Handle),
    FindCustomer(CustomerId),
    /// The ids of customers by their index, for those who read the journal.
    NameCustomers(Box<[CustomerIx]>),
    /// The authorization ids of orders by their record, of those in memory.
    NameOrders(Box<[Lsn]>),
}

/// Who goes before whom when more is asked than can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Settles what is already uncertain.
    Urgent,
    /// A customer stands at the register.
    Sale,
    /// A customer may be on the way there: a code that is issued and then not judged was work for nothing.
    Code,
}

impl Request {
    /// The key of the order that it speaks of.
    pub fn order_key(&self) -> Option<OrderKey> {
        match self {
            Self::Authorize { input, .. } => Some(input.key()),
            Self::Advise(advice) => Some(advice.input.key()),
            Self::Cancel(cancel) => Some(cancel.key),
            Self::FindOrderByKey(key) => Some(*key),
            _ => None,
        }
    }

    pub const fn rank(&self) -> Rank {
        match self {
            Self::Authorize { .. } => Rank::Sale,
            Self::IssueCode { .. } => Rank::Code,
            _ => Rank::Urgent,
        }
    }
}

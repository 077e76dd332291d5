//! Everything that can be asked of the engine.

use std::sync::Arc;

use crate::domain::billing::stories::Kept;
use crate::domain::model::code::Form;
use crate::domain::model::ids::{CodeId, CustomerId, CustomerIx, Handle, Lsn};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::request::{
    Advice, Authorize, Beside, Cancel, Capture, CaptureAdvice, CustomerChange, Instruction, Named, OrderKey, Refund,
    Reverse, ReverseRefund, SettleSuspense,
};
use crate::domain::state::receipts::Known;

use super::past::Past;
use super::rules::Rules;

/// What is asked about an order that was decided before, or told of one that the network decided. It is judged step by
/// step within one turn, so nothing comes between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnOrder {
    Find(Named),
    Cancel(Cancel),
    Capture(Capture),
    Refund(Refund),
    Reverse(Reverse),
    ReverseRefund(ReverseRefund),
    CaptureAdvice(CaptureAdvice),
    /// The network approved a sale itself.
    StandIn(Advice),
    /// With what the ledger has of its id; none where it could not be asked.
    SettleSuspense {
        settlement: SettleSuspense,
        ledger: Option<Known>,
    },
}

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
    /// With what the ledger has of the orders that it names, once the owner has asked for that.
    OnOrder {
        doing: Box<OnOrder>,
        past: Past,
    },
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
    SetRules(Rules),
    /// What the back office says of a customer's money.
    Instruct {
        customer: CustomerId,
        instruction: Instruction,
        /// What the ledger has of its id; none where it could not be asked.
        ledger: Option<Known>,
    },
    FindCode(CodeId),
    /// When the code with this handle was issued, and under which keys, while it is remembered.
    FindIssue(Handle),
    FindCustomer(CustomerId),
    /// Another question, with the stories that the ledger keeps of the customer whom it is about.
    Knowing {
        kept: Kept,
        question: Box<Self>,
    },
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
            Self::OnOrder { doing, .. } => doing.order_key(),
            Self::Knowing { question, .. } => question.order_key(),
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

impl From<OnOrder> for Request {
    /// Before anybody has asked the ledger.
    fn from(doing: OnOrder) -> Self {
        Self::OnOrder { doing: Box::new(doing), past: Past::NotAsked }
    }
}

impl OnOrder {
    /// The key of the order that it speaks of, where it names one.
    fn order_key(&self) -> Option<OrderKey> {
        match self {
            Self::Find(Named::Key(key)) | Self::Refund(Refund { sale: Named::Key(key), .. }) => Some(*key),
            Self::Find(Named::Id(_)) | Self::Refund(_) | Self::Capture(_) | Self::SettleSuspense { .. } => None,
            Self::Cancel(cancel) => Some(cancel.key),
            Self::Reverse(reverse) => Some(reverse.original),
            Self::ReverseRefund(reverse) => Some(reverse.refund),
            Self::CaptureAdvice(capture) => Some(capture.original),
            Self::StandIn(advice) => Some(advice.input.key()),
        }
    }

    /// The orders that the ledger is to be asked for, where the owner wants to know. What stands beside an order that is
    /// named by its id is wanted too.
    pub fn names(&self) -> Vec<Named> {
        let with_beside = |key: OrderKey| {
            let beside = [Beside::Captured, Beside::StoodIn].into_iter().filter_map(move |what| key.beside(what));
            [key].into_iter().chain(beside).map(Named::Key)
        };
        match self {
            Self::Find(Named::Key(key)) | Self::Refund(Refund { sale: Named::Key(key), .. }) => {
                with_beside(*key).collect()
            }
            Self::Find(id) | Self::Refund(Refund { sale: id, .. }) => vec![*id],
            Self::Capture(capture) => vec![Named::Id(capture.authorization)],
            Self::SettleSuspense { settlement, .. } => vec![Named::Id(settlement.authorization)],
            Self::Cancel(cancel) => with_beside(cancel.key).collect(),
            Self::Reverse(reverse) => with_beside(reverse.original).collect(),
            Self::ReverseRefund(ReverseRefund { refund, .. }) => {
                [Some(*refund), refund.beside(Beside::TakenBack)].into_iter().flatten().map(Named::Key).collect()
            }
            Self::CaptureAdvice(capture) => with_beside(capture.original).chain([Named::Key(capture.own)]).collect(),
            Self::StandIn(advice) => with_beside(advice.input.key()).chain(advice.original.map(Named::Key)).collect(),
        }
    }
}

//! An answer, before it is put in the words of HTTP or ISO 8583.

use super::refusal::Refusal;
use crate::domain::billing::account::Account;
use crate::domain::billing::standing::Spendable;
use crate::domain::model::advice::SuspenseWhy;
use crate::domain::model::bounds::Full;
use crate::domain::model::code::Code;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, TerminalKey};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::order::{Order, RefundMade, Told};
use crate::domain::model::time::Millis;
use crate::domain::model::wording::Circumstances;
use crate::domain::state::receipts::Receipt;
/// An answer, before it is put in the words of HTTP or ISO 8583.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A decision, new or known.
    Decision {
        order: Told,
        replayed: bool,
    },
    /// What became of an advice.
    Advised {
        order: Told,
        advice: AdviceOutcome,
        replayed: bool,
    },
    /// The order id was used with other content.
    OrderIdReused {
        first: AuthorizationId,
        /// Where the first was sold, if it is known.
        terminal: Option<TerminalKey>,
    },
    /// The source sent too many bad codes, and this order is not known.
    Throttled,
    /// As many of these as may be are in memory; no decision was made.
    Full(Full),
    /// The fact would be larger than a record may be; nothing was recorded.
    TooLarge,
    /// The customer was given as many codes as in an hour may be.
    TooManyCodes {
        /// Until the next may be had, ms.
        wait: i64,
    },
    Cancelled {
        action: CancelAction,
        authorization: Option<AuthorizationId>,
        replayed: bool,
    },
    Captured {
        order: Box<Order>,
        replayed: bool,
    },
    Refunded {
        order: Box<Order>,
        made: RefundMade,
        replayed: bool,
    },
    /// It is carried out, or was before; there is nothing else to tell.
    Done,
    Refused(Refusal),
    /// Memory can't tell: the same is to be asked again with what the ledger has.
    AskLedger,
    /// The same is to be asked again with the stories that the ledger keeps of this customer.
    AskStories(CustomerId),
    /// A code was issued, found or voided; with its customer and, if any, the sale it last tried.
    Code(Box<CodeView>),
    CodeRefused(Reason, Circumstances),
    /// Of a code that is remembered.
    Issue {
        at: Millis,
        generation: u8,
    },
    Customer {
        account: Box<Account>,
        created: bool,
    },
    Merchant {
        merchant: Box<Merchant>,
        created: bool,
    },
    Order(Box<Order>),
    Names(Vec<Option<CustomerId>>),
    /// Those that are in memory.
    OrderNames(Vec<AuthorizationId>),
    /// What the office said is in the books, and what it came to.
    Booked {
        account: Box<Account>,
        receipt: Box<Receipt>,
        replayed: bool,
    },
    /// A sale in suspense is settled; the customer who was charged.
    SuspenseSettled {
        receipt: Box<Receipt>,
        customer: Option<CustomerId>,
        replayed: bool,
    },
    Unknown,
}

/// A code as its phone sees it.
#[derive(Clone, Debug)]
pub struct CodeView {
    pub code: Code,
    /// See [`State::version_of`](crate::domain::state::State::version_of).
    pub version: Lsn,
    /// What the words for a denial depend on.
    pub circumstances: Circumstances,
    /// What its customer can spend now.
    pub spendable: Spendable,
    /// The sale that used it.
    pub sale: Option<Tried>,
    /// The last try, which may be a later denial.
    pub latest: Option<Tried>,
}

/// A purchase tried with a code, and the name of its shop where we know it.
#[derive(Clone, Debug)]
pub struct Tried {
    pub order: Order,
    pub shop: Option<Box<str>>,
}

/// What became of an advice, for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdviceOutcome {
    Posted,
    OverLimit,
    Suspense(SuspenseWhy),
    /// The sale it speaks of is in the books under its own order; nothing was recorded.
    AlreadyCounted,
}

/// What a cancellation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAction {
    /// An approval was undone.
    Reversed,
    /// There was only a denial, or a hold that had run out.
    None,
    /// The order had not been seen; should it come, it is denied.
    Blocked,
}

impl CancelAction {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reversed => "reversed",
            Self::None => "none",
            Self::Blocked => "blocked",
        }
    }
}

//! What callers ask of the engine, after parsing and code verification.

use std::sync::Arc;

use serde::Serialize;

use super::advice::{SuspenseAction, SuspenseWhy};
use super::correction::Correction;
use super::customer::{Identity, Limits, Status};
use super::ids::{
    AuthorizationId, Category, CustomerId, Handle, MerchantId, OfficeId, OrderId, RefundId, StoreId, TerminalId,
    TerminalKey,
};
use super::money::Yen;
use super::payment::{BillKey, PaymentMethod, SlipKind};
use super::purchase::Channel;
use super::time::{Date, Millis};

/// What the seal of a scanned code vouches for; the engine compares it with its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Barcode: the 600-second epoch of its issue.
    Barcode { epoch: u64 },
    /// QR: counter and random of the record, the second of issue and the life in seconds.
    Qr { counter: u16, random: u32, issued_at: u32, ttl: u16 },
    /// 19-digit form: carries nothing but a check digit.
    Tok19,
}

/// What the register scanned, as far as it can be told without the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    Sealed {
        handle: Handle,
        proof: Proof,
    },
    /// Our seal, of an epoch too old to be alive.
    Stale {
        handle: Handle,
    },
    /// Well-formed, wrong seal.
    Forged {
        handle: Handle,
    },
    /// Well-formed, of a generation whose keys we do not have, or no longer.
    Unverifiable {
        handle: Handle,
    },
    /// Malformed.
    Invalid,
    /// Somebody else's code.
    Foreign,
}

impl Scanned {
    pub const fn handle(&self) -> Option<Handle> {
        match self {
            Self::Sealed { handle, .. }
            | Self::Stale { handle }
            | Self::Forged { handle }
            | Self::Unverifiable { handle } => Some(*handle),
            Self::Invalid | Self::Foreign => None,
        }
    }

    /// Nineteen digits and nothing that vouches for them.
    pub const fn is_bare(&self) -> bool {
        matches!(self, Self::Sealed { proof: Proof::Tok19, .. })
    }

    /// Whether it slows its source: a wrong seal, an unknown generation, garbage.
    pub const fn is_bad(&self) -> bool {
        matches!(self, Self::Forged { .. } | Self::Unverifiable { .. } | Self::Invalid)
    }
}

/// Who buys: whoever shows the code, or a named customer without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    Code(Scanned),
    Customer(CustomerId),
}

/// ISO 4217, three letters.
pub type Currency = [u8; 3];
pub const JPY: Currency = *b"JPY";

/// How the code reached the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryMode {
    Barcode = 1,
    Qr,
    Manual,
}

impl EntryMode {
    pub const ALL: [Self; 3] = [Self::Barcode, Self::Qr, Self::Manual];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Barcode => "barcode",
            Self::Qr => "qr",
            Self::Manual => "manual",
        }
    }
}

/// The inputs of one decision. They are journaled with it, so that it can be judged again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorize {
    pub merchant: MerchantId,
    pub order_id: OrderId,
    pub store: Option<StoreId>,
    pub terminal: Option<TerminalId>,
    pub payer: Payer,
    pub channel: Channel,
    pub amount: Yen,
    pub currency: Currency,
    pub capture: bool,
    pub confirm_repeat: bool,
    pub entry_mode: Option<EntryMode>,
    /// Categories of the items, where the register sends them.
    pub categories: Vec<Category>,
    /// The register's own time of the sale; never judged.
    pub requested_at: Option<Millis>,
    /// The deadline had passed when the engine picked the request up.
    pub late: bool,
}

impl Authorize {
    /// A purchase with the defaults of the contract: captured at once, in yen, judged in time.
    pub fn new(key: OrderKey, payer: Payer, channel: Channel, amount: Yen) -> Self {
        Self {
            merchant: key.merchant,
            order_id: key.order_id,
            store: None,
            terminal: None,
            payer,
            channel,
            amount,
            currency: JPY,
            capture: true,
            confirm_repeat: false,
            entry_mode: None,
            categories: Vec::new(),
            requested_at: None,
            late: false,
        }
    }

    pub const fn key(&self) -> OrderKey {
        OrderKey { merchant: self.merchant, order_id: self.order_id }
    }
}

/// An order, by the register's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OrderKey {
    #[serde(rename = "merchant_id")]
    pub merchant: MerchantId,
    pub order_id: OrderId,
}

/// A sale that the network approved for us while we were silent. It is booked, never refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The sale. Its deadline is not judged.
    pub input: Arc<Authorize>,
    /// The request that the network got no answer to, if the advice names one.
    pub original: Option<OrderKey>,
    pub post: Post,
    /// The key generation of the seal that holds; see [`Request::Authorize`](crate::domain::commands::request::Request).
    pub sealed_by: Option<u8>,
    /// The name of the original can be none of an order that is still to come.
    pub must_be_known: bool,
}

/// What the link that an advice comes by may post to a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Post {
    WithinLimits,
    /// Also above the limits, while the advices posted to the customer on this JST day, this one included, are at most
    /// so many yen.
    UpTo(Yen),
    /// Nothing.
    Never,
}

/// What is booked beside an order has a name of its own, made of that order's: however many messages tell of it, it is
/// booked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Captured beyond a hold, or after it ran out.
    Captured,
    /// Approved by the network after we had denied it.
    StoodIn,
    /// A refund that was taken back.
    TakenBack,
}

impl Beside {
    const fn mark(self) -> &'static str {
        match self {
            Self::Captured => "-C",
            Self::StoodIn => "-A",
            Self::TakenBack => "-R",
        }
    }
}

impl OrderKey {
    /// The name of what stands beside this order. Only a network's order has any: its name begins with the 27 digits of a
    /// message.
    pub fn beside(&self, what: Beside) -> Option<Self> {
        let digits = self.order_id.as_bytes().get(..27)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let order_id = OrderId::new(&format!("{}{}", self.order_id, what.mark())).ok()?;
        Some(Self { order_id, ..*self })
    }
}

/// An order, by either of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Id(AuthorizationId),
    Key(OrderKey),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    pub key: OrderKey,
    /// The caller takes back what was sold at these terminals; at any, if there are none.
    pub terminals: Option<Arc<[TerminalKey]>>,
}

impl Cancel {
    /// By a caller who is bound to no terminal.
    pub const fn new(key: OrderKey) -> Self {
        Self { key, terminals: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    pub authorization: AuthorizationId,
    pub amount: Yen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refund {
    pub sale: Named,
    pub refund_id: RefundId,
    pub amount: Yen,
    /// Whose purchase it is, where the caller says so.
    pub customer: Option<CustomerId>,
    /// When the shop gave it back, where the caller says so.
    pub paid_at: Option<Millis>,
}

impl Refund {
    pub const fn new(authorization: AuthorizationId, refund_id: RefundId, amount: Yen) -> Self {
        Self { sale: Named::Id(authorization), refund_id, amount, customer: None, paid_at: None }
    }
}

/// The office settles a sale in suspense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleSuspense {
    pub authorization: AuthorizationId,
    pub id: OfficeId,
    pub action: SuspenseAction,
    /// Whom to charge, where the caller says so.
    pub customer: Option<CustomerId>,
    /// Whom the sale named, as the ledger has it, and why it is in suspense.
    pub known_customer: Option<CustomerId>,
    pub why: Option<SuspenseWhy>,
    pub staff: Staff,
}

/// What a network's reversal is of, by the message that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Sale,
    Hold,
    Advice,
}

/// A network takes an order back, seen or not, with all that came of it. It can't be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reverse {
    pub original: OrderKey,
    pub of: Of,
    /// Not all of it is taken back: so much stays.
    pub kept: Option<Yen>,
    /// The name of a refund, where only a refund can give back what is left.
    pub refund_id: RefundId,
    /// The name can be none of an order that is still to come, so it is not remembered.
    pub must_be_known: bool,
}

/// A network takes a refund back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReverseRefund {
    pub refund: OrderKey,
    /// Where the message says it.
    pub amount: Option<Yen>,
    pub terminal: Option<TerminalId>,
    /// As in [`Reverse`].
    pub must_be_known: bool,
}

/// A network tells of the capture of a hold. It can't be refused: the goods are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureAdvice {
    /// The hold.
    pub original: OrderKey,
    /// The name of this message, for what can't be booked under the hold's.
    pub own: OrderKey,
    pub terminal: Option<TerminalId>,
    pub amount: Yen,
    /// By the code, where it was sent again: charged where no hold tells the customer.
    pub payer: Payer,
    pub sealed_by: Option<u8>,
    /// What may be posted where there is no hold for it.
    pub post: Post,
    /// As in [`Reverse`].
    pub must_be_known: bool,
}

/// Changes of a customer; what is `None` stays as it is. `Some(None)` clears what a customer may be without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomerChange {
    pub identity: Option<Identity>,
    pub identity_reason: Option<Option<Box<str>>>,
    pub birth_date: Option<Option<Date>>,
    pub guardian_consent: Option<bool>,
    pub payment_method: Option<PaymentMethod>,
    pub status: Option<Status>,
    /// `Some(None)` returns to the ladder.
    pub limits: Option<Option<Limits>>,
    pub rung: Option<u8>,
    /// It makes no new customer.
    pub is_of_known: bool,
}

/// What news says of a payment beside its id; what it does not say says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub amount: Option<Yen>,
    pub paid_at: Option<Millis>,
    pub expires_at: Option<Millis>,
    pub slip: Option<u64>,
}

/// Who of the staff wants something done, and why. The reason holds no personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Staff {
    /// The caller's user.
    pub by: Box<str>,
    /// The name of the key that was used.
    pub key: Box<str>,
    pub reason: Box<str>,
}

/// What the back office, or the customer's app, wants done. Each but a slip has an id of the caller's: the same id again
/// only repeats the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    Repay {
        id: OfficeId,
        amount: Yen,
        paid_at: Option<Millis>,
        slip: Option<u64>,
    },
    /// Provisional news of a payment.
    Expect {
        id: OfficeId,
        amount: Yen,
        paid_at: Option<Millis>,
        expires_at: Millis,
    },
    /// The money came. Amount and time are needed where there was no provisional news.
    Confirm {
        id: OfficeId,
        said: Said,
    },
    /// It did not.
    Withdraw {
        id: OfficeId,
        said: Said,
        staff: Option<Box<Staff>>,
    },
    PostDamages {
        id: OfficeId,
        bill: BillKey,
        amount: Yen,
        staff: Option<Box<Staff>>,
    },
    /// Money was transferred to the customer.
    PayOut {
        id: OfficeId,
        amount: Yen,
        bank_reference: Option<Box<str>>,
        staff: Option<Box<Staff>>,
    },
    /// The bank sent a payout back.
    Bounce {
        payout: OfficeId,
        staff: Staff,
    },
    /// Staff corrects something in the books.
    Correct {
        correction: Correction,
        staff: Staff,
    },
    Block {
        id: OfficeId,
        reason: Box<str>,
        by: Option<Box<str>>,
        /// Of the call, where it said who.
        key: Option<Box<str>>,
    },
    Release {
        id: OfficeId,
        staff: Option<Box<Staff>>,
    },
    /// A phone was lost.
    Freeze {
        id: OfficeId,
    },
    /// It was found or replaced.
    Unfreeze {
        id: OfficeId,
        staff: Staff,
    },
    IssueSlip {
        kind: SlipKind,
    },
}

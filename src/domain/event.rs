//! Facts. Whatever changes the state is one of these, journaled before it is answered.
//! An event holds every figure its effects need, so that nothing is judged again on replay.

use std::sync::Arc;

use super::account::{Channel, Profile};
use super::denial::Reason;
use super::ids::{AuthorizationId, CustomerId, CustomerIx, Handle, Lsn, OrderId, RefundId};
use super::jst::{Date, Millis, Month};
use super::merchant::Merchant;
use super::money::Yen;
use super::orders::Order;
use super::request::{Authorize, OrderKey};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// First record of a journal.
    Opened {
        sandbox: bool,
    },
    /// The text of the policy file from here on. `version` counts from 1.
    PolicySet {
        version: u32,
        text: Box<str>,
    },
    /// The text of the bank-holiday file from here on.
    HolidaysSet {
        text: Box<str>,
    },
    MerchantSet(Box<Merchant>),
    /// A customer's profile as it is from here on. A new `ix` is the next free one.
    CustomerSet {
        ix: CustomerIx,
        id: CustomerId,
        profile: Box<Profile>,
    },
    CodeIssued(CodeIssued),
    CodeVoided {
        handle: Handle,
    },
    Decided(Decided),
    /// A cancel that came before its order: the order, should it come, is denied.
    Tombstoned {
        key: OrderKey,
    },
    Cancelled(Undone),
    Captured(Captured),
    Refunded(Refunded),
    /// A hold's time ran out without a capture. The room came back by itself at `expires_at`; this is the paper.
    HoldExpired(Undone),
    /// An order read back from the ledger because something old is to be refunded.
    Recalled(Box<Order>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeIssued {
    pub customer: CustomerIx,
    pub handle: Handle,
    /// Key generation of its seals, so that its pictures can be made again.
    pub generation: u8,
    /// Of the public id.
    pub id_random: u64,
    /// Of the QR (9F36, 9F37).
    pub counter: u16,
    pub random: u32,
    pub expires_at: Millis,
}

/// One decision with its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Of the public id; the approval code comes from it too.
    pub random: u64,
    /// Version of the policy it was judged by.
    pub policy: u32,
    /// Shared with the request it came in.
    pub input: Arc<Authorize>,
    pub customer: Option<CustomerIx>,
    /// Room left in the channel after an approval, or found at a denial; for the customer's phone.
    pub room: Yen,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Approved(Approval),
    Denied { reason: Reason, first: Option<Box<FirstSale>> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The month that bills it (a hold's is that of its capture, told provisionally here).
    pub month: Month,
    pub due: Date,
    pub points: u64,
    /// Set for a hold; `None` when captured at once.
    pub hold_expires_at: Option<Millis>,
}

/// The earlier sale that a denial points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstSale {
    pub authorization: AuthorizationId,
    pub order_id: OrderId,
    pub decided_at: Millis,
    pub amount: Yen,
}

/// An approval taken back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    pub order: Lsn,
    pub customer: CustomerIx,
    pub channel: Channel,
    /// Principal given back, or the hold released.
    pub amount: Yen,
    pub was_hold: bool,
    /// Month that had billed it, for a captured one.
    pub month: Month,
    pub points: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    pub order: Lsn,
    pub customer: CustomerIx,
    pub channel: Channel,
    pub amount: Yen,
    /// Part of the hold that was not captured.
    pub released: Yen,
    pub month: Month,
    pub due: Date,
    pub points: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refunded {
    pub order: Lsn,
    pub refund_id: RefundId,
    pub customer: CustomerIx,
    pub channel: Channel,
    pub amount: Yen,
    pub month: Month,
    pub destination: Destination,
    /// Points taken back with it.
    pub points: u64,
}

/// Where refunded money goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Destination {
    /// The month has not closed: the usage shrinks.
    UsageReduced = 1,
    /// The bill is not paid: the bill shrinks.
    BillReduced,
}

impl Destination {
    pub const ALL: [Self; 2] = [Self::UsageReduced, Self::BillReduced];

    pub const fn name(self) -> &'static str {
        match self {
            Self::UsageReduced => "usage_reduced",
            Self::BillReduced => "bill_reduced",
        }
    }
}

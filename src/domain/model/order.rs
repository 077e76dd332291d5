//! An order: one decision, and what became of it. [`order_book`](crate::domain::state::order_book) keeps them.

use std::hash::BuildHasher;
use std::num::NonZero;
use std::sync::Arc;

use foldhash::fast::FixedState;

use serde::Serialize;

use super::advice::Booked;
use super::denial::Reason;
use super::ids::{AuthorizationId, CustomerIx, Handle, Lsn, OrderId, Part, RefundId, TerminalKey};
use super::money::Yen;
use super::payment::BillKey;
use super::purchase::Channel;
use super::request::{Authorize, OrderKey, Payer};
use super::time::{Date, Millis, Month, Now};

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// Cancelled before it came; no decision was made yet.
    Tombstone,
    Denied(Reason),
    /// Authorized, not captured; room is set aside until `expires_at`.
    Held {
        expires_at: Millis,
    },
    /// Captured, whole or in part; `refunded` of it has gone back.
    Captured {
        amount: Yen,
        refunded: Yen,
    },
    /// An approval taken back.
    Cancelled,
    /// In suspense no more: no customer is charged, and we bear it.
    Lost,
}

impl OrderState {
    /// Why no sale came of it; nothing of an approval, which may have been taken back since.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Denied(reason) => Some(reason),
            Self::Tombstone => Some(Reason::Cancelled),
            Self::Held { .. } | Self::Captured { .. } | Self::Cancelled | Self::Lost => None,
        }
    }

    /// Told as it is at `now`: a hold runs out by itself.
    pub fn status(self, now: Millis) -> OrderStatus {
        match self {
            Self::Denied(_) => OrderStatus::Denied,
            Self::Tombstone | Self::Cancelled => OrderStatus::Cancelled,
            Self::Held { expires_at } if now < expires_at => OrderStatus::Authorized,
            Self::Held { .. } => OrderStatus::Expired,
            // The shop is paid for it.
            Self::Lost => OrderStatus::Captured,
            Self::Captured { refunded, .. } if refunded.is_zero() => OrderStatus::Captured,
            Self::Captured { amount, refunded } if refunded < amount => OrderStatus::PartiallyRefunded,
            Self::Captured { .. } => OrderStatus::Refunded,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundMade {
    pub id: RefundId,
    pub amount: Yen,
    /// What could still be refunded after it.
    pub left: Yen,
    pub destination: Destination,
    /// Where its money went, the first destination first.
    pub applied: Vec<Applied>,
    /// Room that came back with it.
    pub restored: Yen,
    /// When the shop gave it back, where that was told.
    pub paid_at: Option<Millis>,
}

/// What was refunded of a purchase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refunds {
    /// So many were made before the order was last taken back into memory: the ledger has them.
    pub before: u16,
    /// Those since, in their order.
    pub made: Vec<RefundMade>,
}

impl Refunds {
    pub fn count(&self) -> usize {
        usize::from(self.before) + self.made.len()
    }
}

/// A part of a refund and what it was put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub to: AppliedTo,
    pub amount: Yen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppliedTo {
    Bill(BillKey),
    Credit,
    Payout,
    /// Because nothing was left of the month's bill by its due date.
    WaivedFee(Month),
}

impl AppliedTo {
    pub const fn bill(self) -> Option<BillKey> {
        match self {
            Self::Bill(bill) => Some(bill),
            Self::Credit | Self::Payout | Self::WaivedFee(_) => None,
        }
    }
}

/// What a hold's capture settled. The order keeps what was first answered beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureTerms {
    pub at: Millis,
    /// Part of the hold that was captured; zero once the order is recalled, and of one that was charged out of suspense, whole.
    pub amount: Yen,
    /// The month that bills it: a purchase's month is that of its capture.
    pub month: Month,
    pub due: Date,
    pub points: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: AuthorizationId,
    pub key: OrderKey,
    /// Where it was sold, if it was said; let go of when it is recalled, the ledger has it.
    pub terminal: Option<TerminalKey>,
    pub customer: Option<CustomerIx>,
    pub channel: Channel,
    pub handle: Option<Handle>,
    pub amount: Yen,
    /// Of the content, so that the same key with other content is told apart.
    pub fingerprint: u64,
    pub decided_at: Millis,
    pub state: OrderState,
    /// As first answered, and so answered again.
    pub month: Month,
    pub due: Date,
    pub points: u64,
    pub room: Yen,
    pub first: Option<Box<FirstSale>>,
    /// Set when a hold is captured.
    pub capture: Option<Box<CaptureTerms>>,
    /// Shared with the answers that tell of the order, which do not copy it.
    pub refunds: Option<Arc<Refunds>>,
    /// Last record and time that changed it.
    pub touched: Lsn,
    pub touched_at: Millis,
    /// The same customer's approval before this one.
    pub earlier: Option<Sequence>,
    /// How it was booked, of one that the network told us of; let go of when it is recalled.
    pub advice: Option<Booked>,
}

/// A day of a million orders is to fit into 300 MB, the index to them included.
const _: () = assert!(size_of::<Order>() <= 264);

/// Which of the recent orders, by the order of their decision. Kept one higher than it is, so that
/// `Option<Sequence>` takes 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence(NonZero<u64>);

impl Sequence {
    pub const fn new(number: u64) -> Self {
        Self(NonZero::<u64>::MIN.saturating_add(number))
    }

    pub const fn get(self) -> u64 {
        self.0.get() - 1
    }
}

/// What the answer to an authorization says of its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub id: AuthorizationId,
    pub order_id: OrderId,
    pub amount: Yen,
    pub decided_at: Millis,
    pub state: OrderState,
    pub month: Month,
    pub due: Date,
    pub points: u64,
    pub first: Option<Box<FirstSale>>,
    /// Whether it is some customer's; a sale in suspense is on no statement.
    pub billed: bool,
}

/// The present status, in the words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    Authorized,
    Captured,
    Denied,
    Cancelled,
    Refunded,
    PartiallyRefunded,
    Expired,
}

impl OrderStatus {
    pub const ALL: [Self; 7] = [
        Self::Authorized,
        Self::Captured,
        Self::Denied,
        Self::Cancelled,
        Self::Refunded,
        Self::PartiallyRefunded,
        Self::Expired,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Expired => "expired",
        }
    }

    /// Whether the customer still has this purchase: what the same-basket guard and velocity count.
    pub const fn stands(self) -> bool {
        matches!(self, Self::Authorized | Self::Captured | Self::PartiallyRefunded)
    }
}

impl Order {
    /// An order cancelled before it came; also where every decision starts from.
    pub fn tombstone(id: AuthorizationId, key: OrderKey, now: &Now) -> Self {
        Self {
            id,
            key,
            terminal: None,
            customer: None,
            channel: Channel::InStore,
            handle: None,
            amount: Yen::ZERO,
            fingerprint: 0,
            decided_at: now.at,
            state: OrderState::Tombstone,
            month: now.month,
            due: now.date,
            points: 0,
            room: Yen::ZERO,
            first: None,
            capture: None,
            refunds: None,
            touched: id.lsn,
            touched_at: now.at,
            earlier: None,
            advice: None,
        }
    }

    pub fn status(&self, now: Millis) -> OrderStatus {
        self.state.status(now)
    }

    /// As first answered, with the present state.
    pub fn told(&self) -> Told {
        Told {
            id: self.id,
            order_id: self.key.order_id,
            amount: self.amount,
            decided_at: self.decided_at,
            state: self.state,
            month: self.month,
            due: self.due,
            points: self.points,
            first: self.first.clone(),
            billed: self.customer.is_some(),
        }
    }

    /// Under which terms it is billed: those of its capture.
    pub fn terms(&self) -> CaptureTerms {
        let &Self { decided_at: at, amount, month, due, points, .. } = self;
        let at_once = CaptureTerms { at, amount, month, due, points };
        self.capture.as_deref().copied().unwrap_or(at_once)
    }

    pub fn is_tombstone(&self) -> bool {
        self.state == OrderState::Tombstone
    }

    /// The network sold, and no customer is charged: an approval without one.
    pub fn is_suspense(&self) -> bool {
        self.customer.is_none() && matches!(self.state, OrderState::Held { .. } | OrderState::Captured { .. })
    }

    /// Denied as cancelled is what was blocked: it came after it was taken back.
    pub fn is_blocked(&self) -> bool {
        matches!(self.state, OrderState::Tombstone | OrderState::Denied(Reason::Cancelled))
    }

    /// Of a hold: time is left to capture it.
    pub fn is_open(&self, now: Millis) -> bool {
        matches!(self.state, OrderState::Held { expires_at } if now < expires_at)
    }

    pub fn refunds(&self) -> &[RefundMade] {
        self.refunds.as_ref().map_or(&[], |refunds| &refunds.made)
    }

    /// See [`OrderStatus::stands`].
    pub fn stands(&self, now: Millis) -> bool {
        self.status(now).stands()
    }

    /// From when the retention counts: the last change, and a hold's running out is one.
    pub(crate) fn settled_at(&self) -> Millis {
        match self.state {
            OrderState::Held { expires_at } => self.touched_at.max(expires_at),
            _ => self.touched_at,
        }
    }

    pub fn as_first(&self) -> FirstSale {
        FirstSale {
            authorization: self.id,
            order_id: self.key.order_id,
            decided_at: self.decided_at,
            amount: self.amount,
        }
    }
}

impl Told {
    /// Why a register that asks again is told no; nothing of an approval that stands. Once a sale is cancelled its retry is
    /// a denial: a late retry must never print a paid receipt.
    pub fn denial(&self) -> Option<Reason> {
        if self.state == OrderState::Cancelled { Some(Reason::Cancelled) } else { self.state.reason() }
    }

    pub fn status(&self, now: Millis) -> OrderStatus {
        self.state.status(now)
    }
}

/// What makes two requests with one key the same: the code's handle or the customer, channel, amount,
/// currency, shop, store, terminal, capture, confirm_repeat.
pub fn fingerprint(input: &Authorize) -> u64 {
    let (handle, customer) = match &input.payer {
        Payer::Code(scanned) => (scanned.handle(), None),
        Payer::Customer(id) => (None, Some(id)),
    };
    hasher().hash_one((
        (handle, customer),
        input.channel as u8,
        input.amount,
        input.currency,
        input.merchant,
        (input.store, input.terminal, input.capture, input.confirm_repeat),
    ))
}

/// Fixed, so that one seed gives one run; the keys are bounded and come from callers with a key of ours.
pub(crate) fn hasher() -> FixedState {
    FixedState::with_seed(0x736f_6b6b)
}

/// Part of a decision: the customer's, or for an unknown payer that of the order's key.
pub fn part_of(input: &Authorize, customer: Option<Part>) -> Part {
    customer.unwrap_or_else(|| match input.payer {
        Payer::Code(scanned) => scanned.handle().map_or_else(Part::default, Handle::part),
        Payer::Customer(id) => Part::of(&id),
    })
}

/// The earlier sale that a denial points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FirstSale {
    #[serde(rename = "authorization_id")]
    pub authorization: AuthorizationId,
    pub order_id: OrderId,
    pub decided_at: Millis,
    pub amount: Yen,
}

/// Where refunded money goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Destination {
    /// The month has not closed: the usage shrinks.
    UsageReduced = 1,
    /// The bill is not paid: the bill shrinks.
    BillReduced,
    /// It was paid: the money goes to other unpaid bills, oldest first.
    OtherBill,
    /// Nothing is unpaid: it waits for the next bill.
    Credited,
    /// There will be no next bill: it is paid out.
    PayoutDue,
}

impl Destination {
    pub const ALL: [Self; 5] =
        [Self::UsageReduced, Self::BillReduced, Self::OtherBill, Self::Credited, Self::PayoutDue];

    pub const fn name(self) -> &'static str {
        match self {
            Self::UsageReduced => "usage_reduced",
            Self::BillReduced => "bill_reduced",
            Self::OtherBill => "other_bill",
            Self::Credited => "credited",
            Self::PayoutDue => "payout_due",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::ids::{CustomerId, MerchantId, StoreId, TerminalId};
    use crate::domain::model::request::Scanned;

    #[test]
    fn the_fingerprint_is_stored_in_the_ledger_so_it_never_changes() {
        let input = Authorize::new(
            OrderKey { merchant: MerchantId::new("mrc_konbini").unwrap(), order_id: OrderId::new("R-1001").unwrap() },
            Payer::Customer(CustomerId::new("1001").unwrap()),
            Channel::Online,
            Yen::new(1_980),
        );
        assert_eq!(
            fingerprint(&input),
            9_484_996_743_091_212_211,
            "an upgrade of the hasher would refuse retries across it"
        );
    }

    #[test]
    fn a_handle_enters_the_fingerprint_as_its_number() {
        let key =
            OrderKey { merchant: MerchantId::new("mrc_konbini").unwrap(), order_id: OrderId::new("R-1001").unwrap() };
        let scanned = Scanned::Stale { handle: Handle::new(314_159_265).unwrap() };
        let input = Authorize::new(key, Payer::Code(scanned), Channel::InStore, Yen::new(1_980));
        let as_numbers = hasher().hash_one((
            (Some(314_159_265_u32), None::<&CustomerId>),
            1_u8,
            1_980_u64,
            *b"JPY",
            key.merchant,
            (None::<StoreId>, None::<TerminalId>, true, false),
        ));
        assert_eq!(fingerprint(&input), as_numbers, "however a handle is kept in memory");
    }
}

//! The vocabulary of the books: what moved, on which account, and what was fixed with a bill.

use crate::domain::billing::account::Account;
use crate::domain::billing::settlement::{LadderStep, Place};
use crate::domain::billing::sums::Sum;
use crate::domain::model::advice::SuspenseWhy;
use crate::domain::model::customer::{Limits, Status};
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, MerchantId, OfficeId, OrderId, RefundId};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, PaymentMethod};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Millis, Month};
use crate::domain::state::receipts::{Receipt, ReceiptKind};

/// One movement of a customer's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub lsn: Lsn,
    pub kind: EntryKind,
    pub account: Book,
    /// Where the same amount goes or comes from.
    pub counter: Book,
    /// Added to `account`: yen, or points. The one place where money has a sign, so that sums come out right.
    pub amount: i64,
    /// The month whose statement it is on. A hold is on none.
    pub month: Option<Month>,
    pub recorded_at: Millis,
    /// From when it counts; none of one from before that was kept.
    pub value_at: Option<Millis>,
    pub purchase: Option<Purchase>,
    /// Of the principal that it is about, and of all of an invoice; none where that is not known.
    pub channel: Option<Channel>,
    /// Of an entry that money makes.
    pub moved: Option<Moved>,
}

impl Entry {
    /// The bill that it is on: the month's, or that of its NP Atobarai purchase.
    pub fn bill(&self) -> Option<BillKey> {
        let month = self.month?;
        let invoice = self.purchase.filter(|purchase| purchase.channel == Channel::NpAtobarai);
        Some(invoice.map_or(BillKey::Month(month), |purchase| BillKey::Np(purchase.authorization.lsn)))
    }
}

/// Which money moves, and what lies at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The record that brought it, or that freed it; zero where an older version did not say.
    pub money: Lsn,
    /// Its own day: when the customer paid it, else when it was freed.
    pub day: Millis,
    pub far: Far,
}

/// The other end of a movement of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Far {
    /// The customer paid it.
    Received,
    /// It came back from a shop, for a purchase whose bill is not kept any more.
    Refund,
    Bill(BillKey),
    Credit,
    PayoutDue,
    /// It was paid to the customer, or came back from there.
    PaidOut,
    /// It was taken back, because it had been booked by mistake.
    Reversed,
}

impl From<Place> for Far {
    fn from(place: Place) -> Self {
        match place {
            Place::Received => Self::Received,
            Place::Refund => Self::Refund,
            Place::Freed { bill, .. } | Place::Line { bill, .. } => Self::Bill(bill),
            Place::Credit => Self::Credit,
            Place::PayoutDue => Self::PayoutDue,
            Place::PaidOut { .. } | Place::Bounced { .. } => Self::PaidOut,
            Place::Reversed { .. } => Self::Reversed,
        }
    }
}

/// The purchase that an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    pub authorization: AuthorizationId,
    pub merchant: MerchantId,
    pub order_id: OrderId,
    pub channel: Channel,
}

/// What was fixed when a month's bill was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    pub month: Month,
    pub method: PaymentMethod,
    pub due: Date,
}

/// A step on the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// When it was recorded; none of one from before that was kept.
    pub at: Option<Millis>,
    pub step: LadderStep,
}

/// What a customer's limits come from: the ladder of the policy, or staff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graded {
    pub rung: u8,
    /// In place of those of the rung.
    pub limits: Option<Limits>,
}

impl Graded {
    pub(crate) fn of(account: &Account) -> Self {
        Self { rung: account.profile.rung, limits: account.profile.limits.as_deref().copied() }
    }
}

/// What the office or a shop calls a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordId {
    Office(ReceiptKind, OfficeId),
    Refund(RefundId),
}

/// A customer to whom money is owed in cash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedInCash {
    pub customer: CustomerId,
    pub status: Status,
    /// All that is free, the oldest own day first.
    pub sums: Vec<Sum>,
}

/// A payout that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidOut {
    pub customer: CustomerId,
    pub receipt: Receipt,
    /// When the bank had sent it back.
    pub bounced_at: Option<Millis>,
}

/// A sale in suspense that nobody has settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InSuspense {
    pub authorization: AuthorizationId,
    pub merchant: MerchantId,
    pub order_id: OrderId,
    pub channel: Channel,
    pub amount: Yen,
    pub at: Millis,
    pub why: SuspenseWhy,
    /// The customer it names, where we know them.
    pub customer: Option<CustomerId>,
}

impl Book {
    /// Whether more on it is more that is owed to us or in our hands. On the others more is more that we owe, or earned.
    pub const fn is_debit(self) -> bool {
        match self {
            Self::Exposure
            | Self::BillFee
            | Self::LateFee
            | Self::Damages
            | Self::PointsGranted
            | Self::Cash
            | Self::Clearing
            | Self::Suspense
            | Self::SuspenseLosses
            | Self::Loss => true,
            Self::Credit
            | Self::Points
            | Self::MerchantPayable
            | Self::HeldRoom
            | Self::FeeIncome
            | Self::PayoutDue
            | Self::WrittenOff => false,
        }
    }

    /// An amount as both sides of a movement are added up: less than nothing for what we owe.
    pub const fn debit(self, amount: i64) -> i64 {
        if self.is_debit() { amount } else { -amount }
    }

    /// What is counted in it.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Points | Self::PointsGranted => "points",
            _ => "yen",
        }
    }
}

/// Enums whose members have a number in the tables and a name in the views.
macro_rules! named {
    ($($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $member:ident = $number:literal, $text:literal;)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$about])* $member = $number,)*
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$member,)*];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$member => $text,)*
                }
            }
        }
    )*};
}

named! {
    /// What moved.
    EntryKind {
        /// Captured at once.
        Purchase = 1, "purchase";
        Hold = 2, "hold";
        /// The room of a hold came back: captured, cancelled or expired.
        HoldReleased = 3, "hold_released";
        Capture = 4, "capture";
        Cancel = 5, "cancel";
        Refund = 6, "refund";
        PointsEarned = 7, "points_earned";
        PointsTakenBack = 8, "points_taken_back";
        BillFee = 9, "bill_fee";
        BillFeeWaived = 10, "bill_fee_waived";
        LateFee = 11, "late_fee";
        LateFeeTakenBack = 12, "late_fee_taken_back";
        DamagesPosted = 13, "damages";
        /// Money from the customer.
        Repayment = 14, "repayment";
        /// Credit met a bill.
        CreditApplied = 15, "credit_applied";
        /// Money that was too much on one bill went elsewhere.
        Moved = 16, "moved";
        Payout = 17, "payout";
        /// A sale that the network approved for us went to suspense.
        Suspense = 18, "suspense";
        /// It was taken back.
        SuspenseCleared = 19, "suspense_cleared";
        DamagesTakenBack = 20, "damages_taken_back";
        /// Credit is owed to the customer in cash from here on.
        PayoutDue = 21, "payout_due";
        /// A sale in suspense was charged to a customer: a `capture` of theirs stands beside it.
        SuspenseCharged = 30, "suspense_charged";
        /// It went back to the shop.
        SuspenseReturned = 31, "suspense_returned";
        /// We bear it.
        SuspenseLost = 32, "suspense_lost";
        /// A payout came back.
        Bounced = 40, "payout_bounced";
        /// A repayment that was booked by mistake was taken back.
        Reversal = 41, "reversal";
        LateFeeWaived = 42, "late_fee_waived";
        /// By staff.
        DamagesReversed = 43, "damages_reversed";
        /// A bill was given up.
        WrittenOff = 44, "written_off";
        /// Money came on a bill that had been given up.
        Recovered = 45, "recovered";
        /// What was open of it is owed no longer.
        Released = 46, "released";
    }

    /// The accounts of the books. The first six are a customer's; the others are the far side of each movement, so that all
    /// accounts together always sum to zero, each by its [`Book::debit`].
    Book {
        /// Unpaid principal and open holds.
        Exposure = 1, "exposure";
        BillFee = 2, "bill_fee";
        LateFee = 3, "late_fee";
        Damages = 4, "damages";
        Credit = 5, "credit";
        Points = 6, "points";
        /// What shops are to be paid for captured purchases.
        MerchantPayable = 7, "merchant_payable";
        /// Room set aside; nobody is owed anything yet.
        HeldRoom = 8, "held_room";
        PointsGranted = 9, "points_granted";
        /// From fees and damages.
        FeeIncome = 10, "fee_income";
        /// What customers paid in, and what was paid out to them.
        Cash = 11, "cash";
        /// Between two accounts of one customer; zero after every fact.
        Clearing = 12, "clearing";
        /// What we owe the network for sales that no customer is charged for; its far side is what shops are to be paid.
        Suspense = 13, "suspense";
        /// Owed to the customer in cash; a customer's, as the first six are.
        PayoutDue = 14, "payout_due";
        /// Sales in suspense that we bear.
        SuspenseLosses = 20, "suspense_losses";
        /// Of what a customer owes, what was given up; a customer's too.
        WrittenOff = 22, "written_off";
        /// What bills that were given up have cost.
        Loss = 23, "loss";
    }
}

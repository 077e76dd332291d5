//! The vocabulary of the books: what moved, on which account, and what was fixed with a bill.

use crate::domain::model::ids::{AuthorizationId, Lsn, MerchantId};
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Millis, Month};

/// One movement of a customer's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub lsn: Lsn,
    pub kind: EntryKind,
    pub account: Book,
    /// Added to `account`: yen, or points. The one place where money has a sign, so that sums come out right.
    pub amount: i64,
    /// The month whose statement it is on. A hold is on none.
    pub month: Option<Month>,
    pub recorded_at: Millis,
    pub purchase: Option<Purchase>,
}

/// The purchase that an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    pub authorization: AuthorizationId,
    pub merchant: MerchantId,
    pub channel: Channel,
}

/// What was fixed when a month's bill was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    pub month: Month,
    pub method: PaymentMethod,
    pub due: Date,
}

/// What moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Captured at once.
    Purchase = 1,
    Hold,
    /// The room of a hold came back: captured, cancelled or expired.
    HoldReleased,
    Capture,
    Cancel,
    Refund,
    PointsEarned,
    PointsTakenBack,
    BillFee,
    BillFeeWaived,
    LateFee,
    LateFeeTakenBack,
    DamagesPosted,
    /// Money from the customer.
    Repayment,
    /// Credit met a bill.
    CreditApplied,
    /// Money that was too much on one bill went elsewhere.
    Moved,
    Payout,
    /// A sale that the network approved for us went to suspense.
    Suspense,
    /// It was taken back.
    SuspenseCleared,
}

impl EntryKind {
    pub const ALL: [Self; 19] = [
        Self::Purchase,
        Self::Hold,
        Self::HoldReleased,
        Self::Capture,
        Self::Cancel,
        Self::Refund,
        Self::PointsEarned,
        Self::PointsTakenBack,
        Self::BillFee,
        Self::BillFeeWaived,
        Self::LateFee,
        Self::LateFeeTakenBack,
        Self::DamagesPosted,
        Self::Repayment,
        Self::CreditApplied,
        Self::Moved,
        Self::Payout,
        Self::Suspense,
        Self::SuspenseCleared,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Hold => "hold",
            Self::HoldReleased => "hold_released",
            Self::Capture => "capture",
            Self::Cancel => "cancel",
            Self::Refund => "refund",
            Self::PointsEarned => "points_earned",
            Self::PointsTakenBack => "points_taken_back",
            Self::BillFee => "bill_fee",
            Self::BillFeeWaived => "bill_fee_waived",
            Self::LateFee => "late_fee",
            Self::LateFeeTakenBack => "late_fee_taken_back",
            Self::DamagesPosted => "damages",
            Self::Repayment => "repayment",
            Self::CreditApplied => "credit_applied",
            Self::Moved => "moved",
            Self::Payout => "payout",
            Self::Suspense => "suspense",
            Self::SuspenseCleared => "suspense_cleared",
        }
    }
}

/// The accounts of the books. The first six are a customer's; the others are the far side of each movement,
/// so that all accounts together always sum to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Book {
    /// Unpaid principal and open holds.
    Exposure = 1,
    BillFee,
    LateFee,
    Damages,
    Credit,
    Points,
    /// What shops are to be paid for captured purchases.
    MerchantPayable,
    /// Room set aside; nobody is owed anything yet.
    HeldRoom,
    PointsGranted,
    FeeIncome,
    /// What customers paid in, and what was paid out to them.
    Cash,
    /// Between two accounts of one customer; zero after every fact.
    Clearing,
    /// What we owe the network for sales that no customer is charged for; its far side is what shops are to be paid.
    Suspense,
}

impl Book {
    pub const ALL: [Self; 13] = [
        Self::Exposure,
        Self::BillFee,
        Self::LateFee,
        Self::Damages,
        Self::Credit,
        Self::Points,
        Self::MerchantPayable,
        Self::HeldRoom,
        Self::PointsGranted,
        Self::FeeIncome,
        Self::Cash,
        Self::Clearing,
        Self::Suspense,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Exposure => "exposure",
            Self::BillFee => "bill_fee",
            Self::LateFee => "late_fee",
            Self::Damages => "damages",
            Self::Credit => "credit",
            Self::Points => "points",
            Self::MerchantPayable => "merchant_payable",
            Self::HeldRoom => "held_room",
            Self::PointsGranted => "points_granted",
            Self::FeeIncome => "fee_income",
            Self::Cash => "cash",
            Self::Clearing => "clearing",
            Self::Suspense => "suspense",
        }
    }
}

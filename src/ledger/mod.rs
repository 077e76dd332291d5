//! The books: what the journal's facts come to, kept in a database for bills, history and the issuer's own
//! queries. The ledger is also the checkpoint: the engine starts from it and applies the journal after it.
//! It is written behind the decisions, never read on their way, and may be gone for an hour.
//!
//! [`writer`] tails the journal, in `write_loop`. [`posting`] makes rows of a chunk of facts, with [`movements`] and the
//! domain's own `Account::apply`; a backend reads and writes them. [`sqlite`] is the default backend: `rows` and `accounts`
//! write, `load` (with `parallel` and `codes`) rebuilds the engine's state, `read` answers questions about the past, `keys`
//! finds orders of any age by the register's key.

#[cfg(test)]
mod contract_tests;
pub(crate) mod error;
pub mod movements;
pub mod posting;
pub(crate) mod rate;
pub mod sqlite;
pub(crate) mod write_loop;
pub mod writer;
#[cfg(test)]
mod writer_tests;

pub use error::LedgerError;

use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, MerchantId, OfficeId};
use crate::domain::model::order::Order;
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::{Date, Millis, Month};
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::domain::state::receipts::Known;

/// A fact with its place and time in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    pub lsn: Lsn,
    pub time: Millis,
    pub event: Event,
}

/// Where the books are kept. Calls wait for the database; they belong on a thread of their own.
pub trait Ledger: Send {
    /// Last record posted.
    fn position(&mut self) -> Result<Lsn, LedgerError>;

    /// Posts the records after the position and moves it, all in one transaction: every record is posted
    /// exactly once. Records up to the position are skipped; one that does not follow on is refused.
    fn post(&mut self, postings: &[Posting]) -> Result<(), LedgerError>;

    /// Makes what is posted durable, as far as it is not yet, and says up to where that is: no power cut takes that
    /// back. `None` when not all of it could be made durable just now; nothing is lost by it.
    fn secure(&mut self) -> Result<Option<Lsn>, LedgerError>;

    /// Makes a fresh state what it was at the position. What is past its time is judged by the last posted
    /// record, not by the present: the records after it were made by an engine that remembered as much.
    fn load(&mut self, state: &mut State) -> Result<(), LedgerError>;

    /// A small step of what can be put off while there is something to post; whether more is left to do.
    fn keep_house(&mut self) -> Result<bool, LedgerError> {
        Ok(false)
    }

    /// A customer's movements recorded from `from` to before `to`, oldest first.
    fn entries(&mut self, customer: &CustomerId, from: Millis, to: Millis) -> Result<Vec<Entry>, LedgerError>;

    /// An order of any age, as [`Event::Recalled`] takes it.
    fn past_order(&mut self, id: AuthorizationId) -> Result<Option<Order>, LedgerError>;

    /// The facts that answer for ids of the office, of any age and of all customers.
    fn known(&mut self, ids: &[OfficeId]) -> Result<Known, LedgerError>;

    /// The latest decision with this key. Tombstones are none: past the retention they bind nobody.
    fn past_order_by_key(&mut self, key: &OrderKey) -> Result<Option<Order>, LedgerError>;
}

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

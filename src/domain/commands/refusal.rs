//! Why a call is refused, and what a judged request comes to.

use crate::domain::model::ids::CustomerId;
use crate::domain::model::money::Yen;
use crate::domain::model::order::OrderStatus;
use crate::domain::model::time::{Date, Millis};
use crate::domain::state::event::Event;
/// Why a call that is not a purchase is refused: an error of the call, nothing is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    AuthorizationUnknown,
    /// It was sold at another terminal than the caller's.
    OtherTerminal,
    /// Past the void window, paid by its customer, or refunded in part, so that it can't be cancelled whole.
    UseRefund,
    /// Captured already with this amount.
    CapturedOtherwise {
        amount: Yen,
    },
    /// More than was authorized.
    OverHold {
        amount: Yen,
    },
    /// Denied, cancelled or expired: there is nothing to capture or refund.
    NotStanding {
        status: OrderStatus,
    },
    /// A refund needs a capture.
    NotCaptured,
    /// It was taken back before it came.
    Cancelled,
    RefundIdReused {
        amount: Yen,
    },
    /// The purchase is not of the customer who is named.
    OtherCustomer,
    OverRefundable {
        left: Yen,
    },
    /// Of this purchase; a refund of all that is left passes.
    TooManyRefunds {
        most: usize,
    },
    /// Only the ledger can tell, and it could not be asked or is behind.
    LedgerKnows,
    /// A refund was to be taken back, and a sale was named.
    NotARefund,
    /// As many of them as one customer may have.
    TooManyOpen {
        what: &'static str,
        most: usize,
    },
    CustomerUnknown,
    /// The id stands for something else; its amount, if it has one.
    IdReused {
        amount: Option<Yen>,
    },
    PaidInFuture {
        now: Millis,
    },
    PaidTooLongAgo {
        oldest: Date,
    },
    /// Nothing is given back of a purchase before it was captured.
    RefundedBeforeCapture,
    ExpiryPassed,
    PaymentUnknown,
    /// The customer made no repayment under this id.
    RepaymentUnknown,
    PaymentFinal,
    PaymentWithdrawn,
    BlockUnknown,
    /// It was never in suspense, or is no more.
    NotInSuspense {
        status: OrderStatus,
    },
    /// No customer is known whom it could be charged to.
    SuspenseOfNobody,
    /// Its amount is not in yen.
    NotChargeable,
    FreezeUnknown,
    PayoutUnknown,
    /// No such bill, or it was paid long ago.
    BillUnknown,
    /// More damages than have accrued and are not posted.
    OverDamages {
        left: Yen,
    },
    OverCredit {
        credit: Yen,
    },
    /// More than is owed in cash and than is free of credit.
    OverPayable {
        payable: Yen,
    },
    /// More than the repayment was.
    OverRepayment {
        amount: Yen,
    },
    /// Of a repayment so much went back to the customer since, and so much was taken back before.
    AlreadyPaidOut {
        left: Yen,
        paid_out: Yen,
        taken_back: Yen,
    },
    /// No such fee is charged on this bill.
    FeeUnknown,
    /// By staff, or by a refund of all in time.
    FeeWaivedAlready,
    /// No such damages are posted.
    PostingUnknown,
    WriteOffUnknown,
    WrittenOffAlready,
    /// Credit is put on a month that is still open.
    NotAnOpenMonth,
    /// More than the open month has used.
    OverUsage {
        open: Yen,
    },
    NothingOwed,
    /// Nothing is open of this bill.
    BillPaid,
    SlipTooLate {
        last_day: Date,
    },
    /// More than its barcode has digits for.
    SlipTooLarge {
        most: Yen,
    },
}

/// Either a fact to record, or what is known already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<A> {
    Record(Event),
    Answer(A),
}

/// Why there is no step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    Refused(Refusal),
    /// Only the ledger can tell, and nobody has asked it yet.
    AskLedger,
    /// The request reaches further back than memory does, and what the ledger keeps of this customer did not come with it,
    /// or was read before the account last changed.
    AskStories(CustomerId),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

//! Facts. Whatever changes the state is one of these, journaled before it is answered.
//! An event holds every figure its effects need, so that nothing is judged again on replay.

use std::sync::Arc;

use super::account::{Channel, Profile};
use super::advice::Booked;
use super::bill::Lines;
use super::codes::Form;
use super::denial::Reason;
use super::ids::{AuthorizationId, CustomerId, CustomerIx, Handle, Lsn, OfficeId, OrderId, RefundId};
use super::jst::{Date, Millis, Month};
use super::merchant::Merchant;
use super::money::Yen;
use super::orders::Order;
use super::request::{Authorize, OrderKey, Post};
use super::settle::Settlement;

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
    /// Of 24 digits.
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
    /// An order read back from the ledger because something old is to be refunded, with all its refunds: how it was
    /// recorded before [`Event::Recalled`]. It is read and no longer made.
    RecalledWhole(Box<Order>),
    /// Money met bills, or fees were charged.
    Settled {
        cause: Cause,
        books: Box<Settlement>,
    },
    /// Something about a customer that moves no money yet.
    Noted {
        customer: CustomerIx,
        note: Note,
    },
    /// A sale that the network approved for us. Boxed: it is rare and large.
    Advised(Box<Advised>),
    /// A sale in suspense was taken back.
    SuspenseCleared {
        order: Lsn,
        amount: Yen,
    },
    /// A code of 19 digits, which carry no seal.
    Tok19Issued(CodeIssued),
    /// An order read back from the ledger because something old is to be refunded. Its refunds so far, of which there may
    /// be many, stay there.
    Recalled {
        order: Box<Order>,
        refunds_made: u16,
    },
}

impl Event {
    pub const fn issued(form: Form, issued: CodeIssued) -> Self {
        match form {
            Form::L24 => Self::CodeIssued(issued),
            Form::Tok19 => Self::Tok19Issued(issued),
        }
    }
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

/// What an advice came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advised {
    /// An approval; without a customer in suspense.
    pub decided: Decided,
    pub original: Option<OrderKey>,
    /// What its link might post.
    pub post: Post,
    pub booked: Booked,
    /// The customer it names, charged or not.
    pub known: Option<CustomerIx>,
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
    /// When it was captured.
    pub bought_at: Millis,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refunded {
    pub order: Lsn,
    pub refund_id: RefundId,
    pub customer: CustomerIx,
    pub channel: Channel,
    pub amount: Yen,
    pub month: Month,
    /// When it was captured.
    pub bought_at: Millis,
    pub destination: Destination,
    /// Points taken back with it.
    pub points: u64,
    /// What its money did besides making the purchase smaller.
    pub books: Box<Settlement>,
}

/// Why money met bills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Time passed: bills were issued, fees fell due, credit is to be paid out.
    Calendar,
    Repayment(Payment),
    /// Staff posts damages; the charge is in the books.
    Damages {
        id: OfficeId,
        month: Month,
        amount: Yen,
    },
    /// Credit is paid out.
    Payout {
        id: OfficeId,
        amount: Yen,
    },
    /// Provisional news of a payment became final; its id is that of the news.
    Final(Payment),
}

/// Money from a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    pub id: OfficeId,
    pub amount: Yen,
    /// When the customer paid: what counts for lateness.
    pub paid_at: Millis,
    /// The slip it was paid on, where that is known.
    pub slip: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Provisional news of a payment, or a submitted debit.
    Pending {
        id: OfficeId,
        amount: Yen,
        paid_at: Millis,
        expires_at: Millis,
    },
    /// It did not come.
    Withdrawn {
        id: OfficeId,
    },
    Blocked {
        id: OfficeId,
        reason: Box<str>,
    },
    Released {
        id: OfficeId,
    },
    SlipIssued(SlipIssued),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlipIssued {
    pub kind: SlipKind,
    pub number: u64,
    /// What was owed when it was issued, by line; its amount is their sum.
    pub lines: Lines,
    pub expires_at: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlipKind {
    /// GS1-128 on the phone.
    AppBarcode = 1,
    /// 受付番号
    TerminalNumber,
    Postcard,
}

impl SlipKind {
    pub const ALL: [Self; 3] = [Self::AppBarcode, Self::TerminalNumber, Self::Postcard];

    pub const fn name(self) -> &'static str {
        match self {
            Self::AppBarcode => "app_barcode",
            Self::TerminalNumber => "terminal_number",
            Self::Postcard => "postcard",
        }
    }
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

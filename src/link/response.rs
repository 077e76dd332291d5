//! What an answer says, in element 39 and, where it is no, element 44.

use smallvec::SmallVec;

use crate::domain::commands::refusal::Refusal;
use crate::domain::commands::reply::Reply;
use crate::domain::model::denial::Reason;
use crate::domain::model::order::{OrderStatus, Told};
use crate::domain::model::time::Millis;
use crate::engine::bad_codes::{Bound, Entry, Pass};
use crate::engine::client::NoAnswer;
use crate::engine::outlet::Answered;
use crate::iso8583::profile::Answer;
use crate::iso8583::translate::Wrong;

/// The answer to one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    code: [u8; 2],
    approval: Option<[u8; 6]>,
    details: SmallVec<[u8; 16]>,
}

impl Response {
    pub const DONE: Self = Self { code: *b"00", approval: None, details: SmallVec::new_const() };

    /// A refusal that is no denial of the table: the number is the code and two digits, which name no reason of it.
    fn refused(code: [u8; 2], details: &str) -> Self {
        Self { code, approval: None, details: SmallVec::from_slice(details.as_bytes()) }
    }

    /// No decision was made; it may be sent again.
    pub fn busy() -> Self {
        Self::refused(*b"91", "9101")
    }

    /// As [`Response::busy`]: starting, stopping, or the ledger did not answer.
    pub fn not_ready() -> Self {
        Self::refused(*b"91", "9102")
    }

    /// As [`Response::busy`]: its terminal sent too many bad codes, or all terminals of its acquirer together.
    fn throttled(entry: &Entry) -> Self {
        let is_acquirer = matches!(entry.pass, Pass::Shut { by: Bound::Key, .. });
        Self::refused(*b"91", if is_acquirer { "9105" } else { "9103" })
    }

    /// As [`Response::busy`]: this link wants a sign-on first.
    pub fn not_signed_on() -> Self {
        Self::refused(*b"91", "9104")
    }

    /// Not this acquirer's to ask: the element says for whom it spoke.
    pub fn not_permitted(element: u8) -> Self {
        Self::refused(*b"58", &format!("5800E{element:03}"))
    }

    /// An element is missing, not in its form, or asks for what we do not do.
    pub fn wrong(wrong: Wrong) -> Self {
        let [tens, ones] = wrong.code.map(char::from);
        Self::refused(wrong.code, &format!("{tens}{ones}00E{:03}", wrong.element))
    }

    /// The message as a whole is wrong.
    pub fn unreadable(element: Option<u8>) -> Self {
        element.map_or_else(|| Self::refused(*b"30", "3000"), |element| Self::wrong(Wrong { code: *b"30", element }))
    }

    /// The answer to an authorization. Nothing here tells the present status, so a repeat of a sale that was given back
    /// whole, or of a hold that ran out, is told as of a cancelled one: a till must not give out goods on it.
    fn decided(order: &Told, replayed: bool, now: Millis) -> Self {
        let is_over = matches!(order.status(now), OrderStatus::Refunded | OrderStatus::Expired);
        match order.denial().or(is_over.then_some(Reason::Cancelled)) {
            None => Self { code: *b"00", approval: Some(order.id.approval_code()), details: SmallVec::new() },
            Some(reason) => {
                let code = reason.row().response_code.as_bytes().try_into().unwrap_or(*b"05");
                Self::refused(code, &reason.details(replayed))
            }
        }
    }

    /// The answer to a sale.
    pub fn to_sale(answered: &Result<Answered, NoAnswer>, entry: &Entry) -> Self {
        match answered {
            Ok(Answered { reply: Reply::Throttled, .. }) => Self::throttled(entry),
            Ok(Answered { reply: Reply::Decision { order, replayed }, now, .. }) => {
                Self::decided(order, *replayed, now.at)
            }
            Ok(Answered { reply, .. }) => Self::of_other(reply),
            Err(why) => (*why).into(),
        }
    }

    /// Done to a sale, whose approval code it repeats.
    pub fn done_to(approval: [u8; 6]) -> Self {
        Self { approval: Some(approval), ..Self::DONE }
    }

    /// What the core refuses; numbers from 51 on, beyond those of the denials.
    fn of_refusal(refusal: Refusal) -> Self {
        let details = match refusal {
            Refusal::NotCaptured => "1251",
            Refusal::NotStanding { .. } => "1252",
            // As of a late sale: it was taken back before it came.
            Refusal::Cancelled => "1201",
            Refusal::TooManyRefunds { .. } => "1253",
            Refusal::TooManyOpen { .. } => "1254",
            // The ledger could not be asked.
            Refusal::LedgerKnows => "9102",
            Refusal::OverRefundable { .. } => "1351",
            Refusal::OverHold { .. } => "1352",
            Refusal::AuthorizationUnknown => "2551",
            Refusal::RefundIdReused { .. } => "9400",
            Refusal::CapturedOtherwise { .. } => "9451",
            // `on_order` says which element names no refund. The others are of calls that only HTTP has: a register's
            // cancel, a refund in a file, a customer's money.
            Refusal::NotARefund
            | Refusal::OtherTerminal
            | Refusal::UseRefund
            | Refusal::OtherCustomer
            | Refusal::PaidInFuture { .. }
            | Refusal::PaidTooLongAgo { .. }
            | Refusal::RefundedBeforeCapture
            | Refusal::CustomerUnknown
            | Refusal::IdReused { .. }
            | Refusal::ExpiryPassed
            | Refusal::PaymentUnknown
            | Refusal::RepaymentUnknown
            | Refusal::PaymentFinal
            | Refusal::PaymentWithdrawn
            | Refusal::BlockUnknown
            | Refusal::FreezeUnknown
            | Refusal::NotInSuspense { .. }
            | Refusal::SuspenseOfNobody
            | Refusal::NotChargeable
            | Refusal::PayoutUnknown
            | Refusal::BillUnknown
            | Refusal::OverDamages { .. }
            | Refusal::OverCredit { .. }
            | Refusal::OverRepayment { .. }
            | Refusal::AlreadyPaidOut { .. }
            | Refusal::FeeUnknown
            | Refusal::FeeWaivedAlready
            | Refusal::PostingUnknown
            | Refusal::WriteOffUnknown
            | Refusal::WrittenOffAlready
            | Refusal::OverPayable { .. }
            | Refusal::NotAnOpenMonth
            | Refusal::OverUsage { .. }
            | Refusal::NothingOwed
            | Refusal::BillPaid
            | Refusal::SlipTooLate { .. }
            | Refusal::SlipTooLarge { .. } => "1200",
        };
        let code = details.as_bytes().first_chunk().copied().unwrap_or(*b"12");
        Self::refused(code, details)
    }

    /// This name was used for something else.
    pub fn id_reused() -> Self {
        Self::refused(*b"94", "9400")
    }

    /// A reply that gives no decision.
    pub fn of_other(reply: &Reply) -> Self {
        match reply {
            Reply::OrderIdReused { .. } => Self::id_reused(),
            Reply::Refused(refusal) => Self::of_refusal(*refusal),
            // Before a policy is in force the engine knows nothing at all.
            Reply::Unknown => Self::not_ready(),
            _ => Self::refused(*b"96", "9600"),
        }
    }

    pub fn answer(&self) -> Answer<'_> {
        Answer { code: self.code, approval: self.approval, details: &self.details }
    }
}

impl From<NoAnswer> for Response {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Busy | NoAnswer::Full(_) => Self::busy(),
            NoAnswer::NotReady => Self::not_ready(),
            NoAnswer::TooLarge => Self::refused(*b"12", "1255"),
        }
    }
}

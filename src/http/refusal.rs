//! What the core refuses, as errors of the call that say what to do instead.

use super::past::{other_terminal, unknown};
use super::problem::{
    ALREADY_PAID_OUT, ALREADY_WAIVED, ALREADY_WRITTEN_OFF, BILL_UNKNOWN, BLOCK_UNKNOWN, CAPTURED_OTHERWISE,
    FEE_UNKNOWN, FREEZE_UNKNOWN, ID_REUSED, NOT_AN_OPEN_MONTH, NOT_CAPTURED, NOT_CHARGEABLE, NOT_IN_SUSPENSE,
    NOT_STANDING, NOTHING_OWED, OVER_CREDIT, OVER_DAMAGES, OVER_HOLD, OVER_REFUNDABLE, OVER_REPAYMENT, OVER_USAGE,
    PAYMENT_FINAL, PAYMENT_UNKNOWN, PAYMENT_WITHDRAWN, PAYOUT_UNKNOWN, POSTING_UNKNOWN, Problem, REFUND_ID_REUSED,
    SLIP_TOO_LARGE, SLIP_TOO_LATE, SUSPENSE_OF_NOBODY, TOO_MANY_OPEN, TOO_MANY_REFUNDS, USE_REFUND, WRITE_OFF_UNKNOWN,
};
use crate::domain::commands::refusal::Refusal;
use crate::engine::client::NoAnswer;

/// Why nothing was done, for a call that has its own words for some refusals.
pub(crate) enum NotDone {
    Refused(Refusal),
    Other(Problem),
}

impl From<NotDone> for Problem {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::Refused(refusal) => refused(refusal),
            NotDone::Other(problem) => problem,
        }
    }
}

impl From<NoAnswer> for NotDone {
    fn from(why: NoAnswer) -> Self {
        Self::Other(why.into())
    }
}

/// A refusal of the core as an error of the call, with what to do instead.
#[expect(clippy::too_many_lines, reason = "a table: one row a refusal, read top to bottom")]
pub(crate) fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::AuthorizationUnknown => unknown(),
        Refusal::OtherTerminal => other_terminal(),
        Refusal::UseRefund => {
            let why = "The void window is over, or the sale is paid or refunded in part.";
            Problem::new(&USE_REFUND, format!("{why} Refund what is left of it instead."))
        }
        Refusal::CapturedOtherwise { amount } => {
            let detail = "A hold is captured once. Refund the difference if there is one.";
            Problem::new(&CAPTURED_OTHERWISE, detail).with("captured_amount", amount.get())
        }
        Refusal::OverHold { amount } => Problem::new(&OVER_HOLD, "")
            .with_field("/amount", "must not be more than was authorized")
            .with("authorized_amount", amount.get()),
        Refusal::NotStanding { status } => {
            let detail = "It was denied, cancelled or has expired; nothing was done. Make a new sale if one is needed.";
            Problem::new(&NOT_STANDING, detail).with("authorization_status", status.name())
        }
        Refusal::Cancelled => Problem::new(
            &NOT_STANDING,
            "It was cancelled before it came; nothing was done. Use a new id if it is to be done after all.",
        ),
        Refusal::NotCaptured => Problem::new(&NOT_CAPTURED, "Cancel the hold, or capture less of it, instead."),
        Refusal::RefundIdReused { amount } => {
            Problem::new(&REFUND_ID_REUSED, "Use a new refund id for another refund.").with("amount", amount.get())
        }
        Refusal::OtherCustomer => {
            Problem::field("/customer_id", "must be the customer of this purchase, or be left out")
        }
        Refusal::OverRefundable { left } => Problem::new(&OVER_REFUNDABLE, "")
            .with_field("/amount", "must not be more than is left to refund")
            .with("refundable_left", left.get()),
        Refusal::TooManyRefunds { most } => Problem::new(
            &TOO_MANY_REFUNDS,
            "Refund all that is left at once, or settle the rest with the customer otherwise.",
        )
        .with("most", most),
        Refusal::LedgerKnows => Problem::not_ready(),
        // Only a network takes refunds back.
        Refusal::NotARefund => Problem::internal(),
        Refusal::TooManyOpen { what, most } => {
            let detail =
                format!("This customer has as many {what} as may be; end some first. What pays a bill off passes.");
            Problem::new(&TOO_MANY_OPEN, detail).with("most", most)
        }
        Refusal::CustomerUnknown => super::calls::customers::unknown(),
        Refusal::IdReused { amount } => {
            let problem = Problem::new(&ID_REUSED, "Use a new id for something else.");
            amount.into_iter().fold(problem, |problem, amount| problem.with("amount", amount.get()))
        }
        Refusal::PaidInFuture { now } => {
            Problem::field("/paid_at", "must not be later than now").with("now", now.to_string())
        }
        Refusal::PaidTooLongAgo { oldest } => {
            Problem::field("/paid_at", "must be a day of the last 400").with("oldest", oldest.to_string())
        }
        Refusal::RefundedBeforeCapture => {
            Problem::field("/paid_at", "must not be earlier than the capture of the purchase")
        }
        Refusal::ExpiryPassed => Problem::field("/expires_at", "must be later than now"),
        Refusal::PaymentUnknown => Problem::new(&PAYMENT_UNKNOWN, "Check the id, or tell `amount` and `paid_at`."),
        Refusal::RepaymentUnknown => {
            Problem::new(&PAYMENT_UNKNOWN, "Check the id: this customer made no repayment under it; nothing was done.")
        }
        Refusal::PaymentFinal => Problem::new(&PAYMENT_FINAL, "The money came. Pay it out if it has to go back."),
        Refusal::PaymentWithdrawn => {
            Problem::new(&PAYMENT_WITHDRAWN, "Post it under an id of its own if the money came.")
        }
        Refusal::BlockUnknown => Problem::new(&BLOCK_UNKNOWN, "Check the id: there is no such block, or no longer."),
        Refusal::NotInSuspense { status } => {
            let detail = "Ask for the authorization: it was never in suspense, was taken back, or is settled.";
            Problem::new(&NOT_IN_SUSPENSE, detail).with("authorization_status", status.name())
        }
        Refusal::SuspenseOfNobody => Problem::new(&SUSPENSE_OF_NOBODY, "Send `customer_id`, or take another action."),
        Refusal::NotChargeable => Problem::new(&NOT_CHARGEABLE, "Take another action: its number says nothing of yen."),
        Refusal::FreezeUnknown => Problem::new(&FREEZE_UNKNOWN, "Check the id: there is no such freeze, or no longer."),
        Refusal::PayoutUnknown => {
            Problem::new(&PAYOUT_UNKNOWN, "Check the id: this customer was paid nothing out under it.")
        }
        Refusal::BillUnknown => {
            let why = "This customer has no such bill: the month is not billed yet, nothing was bought, or its bill was \
                       settled more than 400 days ago.";
            Problem::new(&BILL_UNKNOWN, format!("{why} Take one from the list of statements."))
        }
        Refusal::OverDamages { left } => Problem::new(&OVER_DAMAGES, "")
            .with_field("/amount", "must not be more than has accrued and is not posted")
            .with("damages_left", left.get()),
        Refusal::OverCredit { credit } => Problem::new(&OVER_CREDIT, "")
            .with_field("/amount", "must not be more than the credit")
            .with("credit", credit.get()),
        Refusal::OverPayable { payable } => Problem::new(&OVER_CREDIT, "")
            .with_field("/amount", "must not be more than `payout_due` and the credit that is not kept back")
            .with("credit", payable.get()),
        Refusal::OverRepayment { amount } => Problem::new(&OVER_REPAYMENT, "")
            .with_field("/amount", "must not be more than the repayment")
            .with("repayment_amount", amount.get()),
        Refusal::AlreadyPaidOut { left, paid_out, taken_back } => {
            let detail = "Not so much of it is left. Take back no more than `reversible`, by `amount`.";
            Problem::new(&ALREADY_PAID_OUT, detail)
                .with("already_paid_out", paid_out.get())
                .with("already_reversed", taken_back.get())
                .with("reversible", left.get())
        }
        Refusal::FeeUnknown => Problem::new(
            &FEE_UNKNOWN,
            "No such fee is charged on this bill. Take a `fee_id` of its statement's `fees`.",
        ),
        Refusal::FeeWaivedAlready => Problem::new(
            &ALREADY_WAIVED,
            "It is charged no longer, and nothing was done. Take a fee of the statement that is not `waived`.",
        ),
        Refusal::PostingUnknown => {
            Problem::new(&POSTING_UNKNOWN, "Check the id: no damages stand under it for this customer.")
        }
        Refusal::WriteOffUnknown => {
            Problem::new(&WRITE_OFF_UNKNOWN, "Check the id: no bill of this customer was given up under it.")
        }
        Refusal::WrittenOffAlready => Problem::new(&ALREADY_WRITTEN_OFF, "Take its statement to see what is open."),
        Refusal::NotAnOpenMonth => {
            Problem::new(&NOT_AN_OPEN_MONTH, "Take the month that is not billed yet; credit meets bills by itself.")
        }
        Refusal::OverUsage { open } => Problem::new(&OVER_USAGE, "")
            .with_field("/amount", "must not be more than what the month has used and is not covered")
            .with("usage", open.get()),
        Refusal::NothingOwed => Problem::new(
            &NOTHING_OWED,
            "No bill is unpaid. Ask again when one is: a month's new bill can be paid from 00:00 on the 1st.",
        ),
        Refusal::BillPaid => Problem::new(
            &NOTHING_OWED,
            "Nothing of this bill is open: it is paid. Take one from the list of statements whose `status` is another.",
        ),
        Refusal::SlipTooLate { last_day } => {
            Problem::new(&SLIP_TOO_LATE, "Take the money by repayment.").with("last_day", last_day.to_string())
        }
        Refusal::SlipTooLarge { most } => Problem::new(&SLIP_TOO_LARGE, "Take another kind.").with("most", most.get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::money::Yen;
    use crate::domain::model::order::OrderStatus;
    use crate::domain::model::time::{Date, Millis};
    use crate::http::openapi_tests::{is_as_described, shown};

    /// The verbs that a detail tells its reader what to do with.
    const DO: [&str; 10] = ["Ask", "Cancel", "Check", "Make", "Pay", "Post", "Refund", "Send", "Take", "Use"];

    /// One sentence of it begins with a verb, or says what a field must be.
    fn says_what_to_do(detail: &str) -> bool {
        let mut sentences = detail.split(". ").flat_map(|sentence| sentence.split("; "));
        let begins = |sentence: &str| DO.iter().any(|verb| sentence.split_whitespace().next() == Some(verb));
        detail.contains(" must ") || detail.contains("; end some first") || sentences.any(begins)
    }

    #[test]
    fn every_refusal_has_its_error() {
        let yen = Yen::new(5);
        for (refusal, status, reason) in [
            (Refusal::AuthorizationUnknown, 404, "authorization_unknown"),
            (Refusal::OtherTerminal, 403, "forbidden"),
            (Refusal::UseRefund, 409, "use_refund"),
            (Refusal::CapturedOtherwise { amount: yen }, 409, "captured_otherwise"),
            (Refusal::OverHold { amount: yen }, 422, "over_hold"),
            (Refusal::NotStanding { status: OrderStatus::Denied }, 409, "not_standing"),
            (Refusal::NotCaptured, 409, "not_captured"),
            (Refusal::Cancelled, 409, "not_standing"),
            (Refusal::RefundIdReused { amount: yen }, 409, "refund_id_reused"),
            (Refusal::OtherCustomer, 422, "invalid_field"),
            (Refusal::OverRefundable { left: yen }, 422, "over_refundable"),
            (Refusal::TooManyRefunds { most: 100 }, 422, "too_many_refunds"),
            (Refusal::TooManyOpen { what: "blocks", most: 100 }, 409, "too_many_open"),
            (Refusal::LedgerKnows, 503, "not_ready"),
            (Refusal::IdReused { amount: None }, 409, "id_reused"),
            (Refusal::CustomerUnknown, 404, "customer_unknown"),
            (Refusal::IdReused { amount: Some(yen) }, 409, "id_reused"),
            (Refusal::PaidInFuture { now: Millis(0) }, 422, "invalid_field"),
            (Refusal::PaidTooLongAgo { oldest: Date::MAX }, 422, "invalid_field"),
            (Refusal::RefundedBeforeCapture, 422, "invalid_field"),
            (Refusal::ExpiryPassed, 422, "invalid_field"),
            (Refusal::PaymentUnknown, 404, "payment_unknown"),
            (Refusal::RepaymentUnknown, 404, "payment_unknown"),
            (Refusal::PaymentFinal, 409, "payment_final"),
            (Refusal::PaymentWithdrawn, 409, "payment_withdrawn"),
            (Refusal::BlockUnknown, 404, "block_unknown"),
            (Refusal::FreezeUnknown, 404, "freeze_unknown"),
            (Refusal::NotInSuspense { status: OrderStatus::Captured }, 409, "not_in_suspense"),
            (Refusal::SuspenseOfNobody, 409, "suspense_of_nobody"),
            (Refusal::NotChargeable, 409, "not_chargeable"),
            (Refusal::PayoutUnknown, 404, "payout_unknown"),
            (Refusal::BillUnknown, 404, "bill_unknown"),
            (Refusal::OverDamages { left: yen }, 422, "over_damages"),
            (Refusal::OverCredit { credit: yen }, 422, "over_credit"),
            (Refusal::OverPayable { payable: yen }, 422, "over_credit"),
            (Refusal::OverRepayment { amount: yen }, 422, "over_repayment"),
            (Refusal::AlreadyPaidOut { left: yen, paid_out: yen, taken_back: yen }, 409, "already_paid_out"),
            (Refusal::FeeUnknown, 404, "fee_unknown"),
            (Refusal::FeeWaivedAlready, 409, "already_waived"),
            (Refusal::BillPaid, 409, "nothing_owed"),
            (Refusal::PostingUnknown, 404, "posting_unknown"),
            (Refusal::WriteOffUnknown, 404, "write_off_unknown"),
            (Refusal::WrittenOffAlready, 409, "already_written_off"),
            (Refusal::NotAnOpenMonth, 409, "not_an_open_month"),
            (Refusal::OverUsage { open: yen }, 422, "over_usage"),
            (Refusal::NothingOwed, 409, "nothing_owed"),
            (Refusal::SlipTooLate { last_day: Date::MAX }, 409, "slip_too_late"),
            (Refusal::SlipTooLarge { most: yen }, 409, "slip_too_large"),
        ] {
            let problem = refused(refusal);
            assert_eq!((problem.status(), problem.reason()), (status, reason));
            assert!(says_what_to_do(problem.detail()), "{}", problem.detail());
            is_as_described(&shown(problem));
        }
    }
}

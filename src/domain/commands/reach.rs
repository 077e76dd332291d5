//! How far back the office's news counts.

use super::claims::Claim;
use super::refusal::Refusal;
use crate::domain::billing::notes::Cause;
use crate::domain::billing::stories::Reach;
use crate::domain::model::correction::{Correction, Fee};
use crate::domain::model::request::Instruction;
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::event::Event;

/// Days; a year's news of a payment may be late, an older one is a mistake in the year and would take fees back.
const OLDEST_PAYMENT: i32 = 400;

/// How far back an instruction reaches into the customer's books; none where it is about the present alone.
pub(super) fn reach(instruction: &Instruction, claim: &Claim<'_>, now: &Now) -> Result<Option<Reach>, Refusal> {
    let since = match (instruction, claim) {
        (Instruction::Confirm { .. }, Claim::Expected(pending)) => pending.paid_at,
        (Instruction::Repay { paid_at, .. } | Instruction::Expect { paid_at, .. }, _) => value_time(now, *paid_at)?,
        (Instruction::Confirm { said, .. }, _) => value_time(now, said.paid_at)?,
        (Instruction::Bounce { .. }, Claim::About(payout)) => payout.at,
        (Instruction::Correct { correction, .. }, _) => return Ok(of_correction(correction, claim, now)),
        (Instruction::PostDamages { bill, .. }, _) => return Ok(Some(Reach { since: now.at, bill: Some(*bill) })),
        _ => return Ok(None),
    };
    Ok(Some(Reach { since, bill: None }))
}

/// How far back a correction reaches into the customer's books.
fn of_correction(correction: &Correction, claim: &Claim<'_>, now: &Now) -> Option<Reach> {
    match (correction, claim.about().map(|receipt| receipt.event.as_ref())) {
        (Correction::WaiveFee { fee: Fee { bill, .. }, .. } | Correction::WriteOff { bill, .. }, _) => {
            Some(Reach { since: now.at, bill: Some(*bill) })
        }
        (_, Some(Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), .. })) => {
            Some(Reach { since: payment.paid_at, bill: None })
        }
        (_, Some(Event::Settled { cause, .. })) => {
            cause.posted().map(|(bill, _)| Reach { since: now.at, bill: Some(bill) })
        }
        _ => None,
    }
}

/// When money was paid, or given back; now, if nobody said.
pub(super) fn value_time(now: &Now, told: Option<Millis>) -> Result<Millis, Refusal> {
    let paid_at = told.unwrap_or(now.at);
    if paid_at > now.at {
        return Err(Refusal::PaidInFuture { now: now.at });
    }
    let oldest = now.date.plus_days(-OLDEST_PAYMENT);
    if paid_at.date() < oldest { Err(Refusal::PaidTooLongAgo { oldest }) } else { Ok(paid_at) }
}

//! Staff corrects something in a customer's books.

use super::claims::Claim;
use super::office::Office;
use super::refusal::Refusal;
use crate::domain::billing::adjustments::Adjusted;
use crate::domain::billing::bill::LateFee;
use crate::domain::billing::draft::Draft;
use crate::domain::billing::notes::Cause;
use crate::domain::model::correction::{Correction, Fee};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::request::Staff;
use crate::domain::state::event::Event;
use crate::domain::state::receipts::Receipt;

impl Office<'_> {
    /// `claim` has the earlier fact that it corrects, where it corrects one.
    pub(super) fn correct(&self, correction: &Correction, staff: &Staff, claim: &Claim<'_>) -> Result<Event, Refusal> {
        let about = claim.about();
        let mut draft = self.draft()?;
        let amount = match *correction {
            Correction::ReverseRepayment { amount, .. } => reverse(&mut draft, claim, amount)?,
            Correction::WaiveFee { fee, .. } => waive(&mut draft, fee)?,
            Correction::ReverseDamages { .. } => reverse_damages(&mut draft, about.ok_or(Refusal::PostingUnknown)?)?,
            Correction::WriteOff { bill, .. } => self.write_off(&mut draft, bill)?,
            Correction::ReleaseWriteOff { .. } => self.release(&mut draft, about.ok_or(Refusal::WriteOffUnknown)?)?,
            Correction::ApplyCredit { amount, bill, .. } => apply_credit(&mut draft, amount, bill)?,
        };
        self.settled(draft, Cause::Corrected { correction: correction.clone(), amount, staff: Box::new(staff.clone()) })
    }

    fn write_off(&self, draft: &mut Draft<'_>, key: BillKey) -> Result<Yen, Refusal> {
        let bill = draft.account.bill(key).filter(|bill| bill.is_issued()).ok_or(Refusal::BillUnknown)?;
        if bill.written_off_at(self.now.at).is_some() {
            return Err(Refusal::WrittenOffAlready);
        }
        let owed = bill.open_as_posted();
        drop(bill);
        if owed.is_zero() {
            return Err(Refusal::BillPaid);
        }
        draft.adjust(key, Adjusted::WrittenOff);
        Ok(owed)
    }

    fn release(&self, draft: &mut Draft<'_>, write_off: &Receipt) -> Result<Yen, Refusal> {
        let Event::Settled {
            cause: Cause::Corrected { correction: Correction::WriteOff { bill: key, .. }, .. }, ..
        } = *write_off.event
        else {
            return Err(Refusal::WriteOffUnknown);
        };
        let bill = draft.account.bill(key).ok_or(Refusal::BillPaid)?;
        let owed = bill.open_as_posted();
        drop(bill);
        if owed.is_zero() {
            return Err(Refusal::BillPaid);
        }
        draft.adjust(key, Adjusted::Released);
        Ok(owed)
    }
}

/// So much of a repayment is taken back, or all that was not before. What was paid out of it can't be.
fn reverse(draft: &mut Draft<'_>, claim: &Claim<'_>, told: Option<Yen>) -> Result<Yen, Refusal> {
    let &Claim::Paid { repayment, taken_back } = claim else { return Err(Refusal::RepaymentUnknown) };
    let Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), .. } = repayment.event.as_ref()
    else {
        return Err(Refusal::RepaymentUnknown);
    };
    let there = payment.amount.minus_or_zero(taken_back);
    let amount = told.unwrap_or(there);
    if amount > payment.amount {
        return Err(Refusal::OverRepayment { amount: payment.amount });
    }
    let left = draft.account.reversible(repayment.lsn).min(there);
    if amount > left || amount.is_zero() {
        return Err(Refusal::AlreadyPaidOut { left, paid_out: there - left, taken_back });
    }
    draft.reverse(repayment.lsn, amount);
    Ok(amount)
}

fn waive(draft: &mut Draft<'_>, Fee { bill: key, late }: Fee) -> Result<Yen, Refusal> {
    let bill = draft.account.bill(key).filter(|bill| bill.is_issued()).ok_or(Refusal::BillUnknown)?;
    let (what, amount) = match late {
        None => {
            let fee = bill.fee.filter(|fee| !fee.is_zero()).ok_or(Refusal::FeeUnknown)?;
            if bill.is_fee_waived() {
                return Err(Refusal::FeeWaivedAlready);
            }
            (Adjusted::BillFeeWaived(fee), fee)
        }
        Some(date) => {
            let amount = bill.late_fee_of(date).ok_or(Refusal::FeeUnknown)?;
            (Adjusted::LateFeeWaived(LateFee { date, amount }), amount)
        }
    };
    drop(bill);
    draft.adjust(key, what);
    Ok(amount)
}

fn reverse_damages(draft: &mut Draft<'_>, posting: &Receipt) -> Result<Yen, Refusal> {
    let Event::Settled { cause, .. } = posting.event.as_ref() else { return Err(Refusal::PostingUnknown) };
    let (key, _) = cause.posted().ok_or(Refusal::PostingUnknown)?;
    let bill = draft.account.bill(key).ok_or(Refusal::BillUnknown)?;
    // News that came since may have taken all of it back.
    let posted = bill.damages.iter().find(|posted| posted.fact == posting.lsn).copied();
    drop(bill);
    let posted = posted.ok_or(Refusal::PostingUnknown)?;
    draft.adjust(key, Adjusted::DamagesReversed(posted));
    Ok(posted.amount)
}

fn apply_credit(draft: &mut Draft<'_>, amount: Yen, key: BillKey) -> Result<Yen, Refusal> {
    let bill = draft.account.bill(key).filter(|bill| !bill.is_issued()).ok_or(Refusal::NotAnOpenMonth)?;
    let open = bill.unpaid();
    drop(bill);
    let credit = draft.account.credit() + draft.account.payout_due();
    if amount > credit {
        return Err(Refusal::OverCredit { credit });
    }
    if amount > open {
        return Err(Refusal::OverUsage { open });
    }
    draft.adjust(key, Adjusted::CreditApplied(amount));
    Ok(amount)
}

//! What staff and banks told us of a customer that moves no money yet: provisional payments, blocks, slips.

use super::account::Account;
use crate::domain::model::bounds::SLIPS_KEPT;
use crate::domain::model::ids::OfficeId;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{Lines, SlipKind};
use crate::domain::model::time::{Date, Millis, Month};

/// What staff and banks told us of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub pending: Vec<Pending>,
    /// Blocks by staff that were not released.
    pub blocks: Vec<OfficeId>,
    /// Payment slips that money may still come on.
    pub slips: Vec<Slip>,
}

/// Provisional news of a payment: it lifts the block and stops fees, and gives room only when it is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub id: OfficeId,
    pub amount: Yen,
    pub paid_at: Millis,
    /// From here on it is as if it had never been.
    pub expires_at: Millis,
}

/// A slip that a customer can pay with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slip {
    /// None of one that is not given again: money came on it, or it is older than the keeping of kinds.
    pub kind: Option<SlipKind>,
    pub number: u64,
    pub amount: Yen,
    /// Money that was paid on it later settles principal first.
    pub expires_at: Millis,
}

impl Account {
    /// Takes in what a note says.
    pub fn note(&mut self, note: &Note, today: Date) {
        /// How long after its expiry a slip is remembered, days; one that is not counts as expired too.
        const SLIP_DAYS: i32 = 92;
        let notes = self.notes_mut();
        match note {
            Note::Pending { id, amount, paid_at, expires_at } => {
                let pending = Pending { id: *id, amount: *amount, paid_at: *paid_at, expires_at: *expires_at };
                notes.pending.push(pending);
            }
            Note::Withdrawn { id } => self.forget_pending(*id),
            Note::Blocked { id, reason: _ } => notes.blocks.push(*id),
            Note::Released { id } => notes.blocks.retain(|block| block != id),
            Note::SlipIssued(issued) => {
                notes.slips.retain(|slip| slip.expires_at.date().plus_days(SLIP_DAYS) >= today);
                notes.slips.push(Slip {
                    kind: Some(issued.kind),
                    number: issued.number,
                    amount: issued.lines.total(),
                    expires_at: issued.expires_at,
                });
                let too_many = notes.slips.len().saturating_sub(SLIPS_KEPT);
                notes.slips.drain(..too_many);
            }
        }
    }

    /// Money came: provisional news of it has ended, and the slip it was paid on is not given again.
    pub fn end_news(&mut self, cause: &Cause) {
        let (Cause::Repayment(payment) | Cause::Final(payment)) = cause else { return };
        if matches!(cause, Cause::Final(_)) {
            self.forget_pending(payment.id);
        }
        if let Some(notes) = self.debt.as_mut().and_then(|debt| debt.notes.as_mut()) {
            let paid = notes.slips.iter_mut().filter(|slip| Some(slip.number) == payment.slip);
            paid.for_each(|slip| slip.kind = None);
        }
    }

    /// What was provisional has ended.
    pub fn forget_pending(&mut self, id: OfficeId) {
        if let Some(notes) = self.debt.as_mut().and_then(|debt| debt.notes.as_mut()) {
            notes.pending.retain(|pending| pending.id != id);
        }
    }
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

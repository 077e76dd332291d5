//! What the back office told us lately, by its own ids: the same id again is answered as the first time and changes
//! nothing. Older ones are found in the ledger.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::event::Event;
use crate::domain::billing::notes::{Cause, Note};
use crate::domain::model::correction::Correction;
use crate::domain::model::ids::{CustomerIx, Lsn, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::time::Millis;

/// What an id is of. Ids of different kinds may be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReceiptKind {
    Repayment = 1,
    Damages,
    Payout,
    /// Provisional news.
    Pending,
    /// What became of it: final or withdrawn.
    Ending,
    Block,
    Release,
    /// A payout that came back; its id is that of the payout.
    Bounce,
    /// A repayment that was booked by mistake; its id is that of the repayment, unless it has one of its own.
    Reversal,
    /// Of a fee; its id says which.
    Waiver,
    /// Of damages; its id is that of their posting.
    DamagesReversal,
    WriteOff,
    /// Of a write-off, whose id it is.
    WriteOffRelease,
    CreditApplication,
    Freeze = 20,
    Unfreeze,
    /// A sale in suspense was settled. It is no customer's.
    Suspense,
}

impl ReceiptKind {
    pub const ALL: [Self; 17] = [
        Self::Repayment,
        Self::Damages,
        Self::Payout,
        Self::Pending,
        Self::Ending,
        Self::Block,
        Self::Release,
        Self::Bounce,
        Self::Reversal,
        Self::Waiver,
        Self::DamagesReversal,
        Self::WriteOff,
        Self::WriteOffRelease,
        Self::CreditApplication,
        Self::Freeze,
        Self::Unfreeze,
        Self::Suspense,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Repayment => "repayment",
            Self::Damages => "damages",
            Self::Payout => "payout",
            Self::Pending => "pending",
            Self::Ending => "ending",
            Self::Block => "block",
            Self::Release => "release",
            Self::Bounce => "bounce",
            Self::Reversal => "reversal",
            Self::Waiver => "waiver",
            Self::DamagesReversal => "damages_reversal",
            Self::WriteOff => "write_off",
            Self::WriteOffRelease => "write_off_release",
            Self::CreditApplication => "credit_application",
            Self::Freeze => "freeze",
            Self::Unfreeze => "freeze_release",
            Self::Suspense => "suspense_settlement",
        }
    }
}

/// What a fact answers for. Memory finds it by kind and id alone: an id is one customer's, over all customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceiptKey {
    pub customer: CustomerIx,
    pub kind: ReceiptKind,
    pub id: OfficeId,
}

/// A fact that answers for its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub lsn: Lsn,
    pub at: Millis,
    /// Shared with the answers that tell of it: one may name a thousand bills.
    pub event: Arc<Event>,
}

/// What the ledger has of some ids, of any age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Everything up to this record was in it when it was read.
    pub as_of: Lsn,
    pub receipts: Vec<Receipt>,
}

impl Known {
    /// Where there is no ledger, memory is all there is.
    pub const fn nothing() -> Self {
        Self { as_of: Lsn(u64::MAX), receipts: Vec::new() }
    }

    /// The part that is about one id.
    pub fn of(&self, id: OfficeId) -> Self {
        let is_of = |receipt: &&Receipt| receipt.event.receipt_key().is_some_and(|key| key.id == id);
        Self { as_of: self.as_of, receipts: self.receipts.iter().filter(is_of).cloned().collect() }
    }
}

impl Event {
    /// The id that it answers for, if it came with one.
    pub fn receipt_key(&self) -> Option<ReceiptKey> {
        let (customer, kind, id) = match self {
            Self::Settled { cause, books } => match cause {
                Cause::Calendar => return None,
                Cause::Repayment(payment) => (books.customer, ReceiptKind::Repayment, payment.id),
                Cause::Damages { id, .. } | Cause::NpDamages { id, .. } => (books.customer, ReceiptKind::Damages, *id),
                Cause::Payout { id, .. } => (books.customer, ReceiptKind::Payout, *id),
                Cause::Final(payment) => (books.customer, ReceiptKind::Ending, payment.id),
                Cause::Withdrawn { id, .. } => (books.customer, ReceiptKind::Ending, *id),
                Cause::Bounced { payout, .. } => (books.customer, ReceiptKind::Bounce, *payout),
                Cause::Corrected { correction, .. } => {
                    let (kind, id) = corrected(correction);
                    (books.customer, kind, id)
                }
            },
            Self::Noted { customer, note } => match note {
                Note::Pending { id, .. } => (*customer, ReceiptKind::Pending, *id),
                Note::Withdrawn { id, .. } => (*customer, ReceiptKind::Ending, *id),
                Note::Blocked { id, .. } => (*customer, ReceiptKind::Block, *id),
                Note::Released { id, .. } => (*customer, ReceiptKind::Release, *id),
                Note::Frozen { id } => (*customer, ReceiptKind::Freeze, *id),
                Note::Unfrozen { id, .. } => (*customer, ReceiptKind::Unfreeze, *id),
                Note::SlipIssued(_) => return None,
            },
            Self::SuspenseSettled(settled) => (CustomerIx::NOBODY, ReceiptKind::Suspense, settled.id),
            _ => return None,
        };
        Some(ReceiptKey { customer, kind, id })
    }
}

impl Event {
    /// The repayment that it takes back, and how much of it.
    pub const fn reversal(&self) -> Option<(OfficeId, Yen)> {
        match self {
            Self::Settled {
                cause: Cause::Corrected { correction: Correction::ReverseRepayment { repayment, .. }, amount, .. },
                ..
            } => Some((*repayment, *amount)),
            _ => None,
        }
    }
}

/// What makes a correction the same as an earlier one.
pub(crate) const fn corrected(correction: &Correction) -> (ReceiptKind, OfficeId) {
    match correction {
        Correction::ReverseRepayment { reversal: Some(id), .. } => (ReceiptKind::Reversal, **id),
        Correction::ReverseRepayment { reversal: None, repayment, .. } => (ReceiptKind::Reversal, *repayment),
        Correction::WaiveFee { id, .. } => (ReceiptKind::Waiver, *id),
        Correction::ReverseDamages { posting } => (ReceiptKind::DamagesReversal, *posting),
        Correction::WriteOff { id, .. } => (ReceiptKind::WriteOff, *id),
        Correction::ReleaseWriteOff { id } => (ReceiptKind::WriteOffRelease, *id),
        Correction::ApplyCredit { id, .. } => (ReceiptKind::CreditApplication, *id),
    }
}

/// The receipts of the last days.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    by_id: HashMap<(ReceiptKind, OfficeId), Receipt, RandomState>,
    /// Oldest first. Where two customers had the same id, which an older version allowed, only the later is in the map.
    order: VecDeque<(ReceiptKind, OfficeId, Lsn)>,
    /// The latest that memory has let go of.
    forgotten: Lsn,
}

impl Receipts {
    /// Some 500 bytes each.
    pub const MOST: usize = 2_000_000;

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub fn get(&self, kind: ReceiptKind, id: OfficeId) -> Option<&Receipt> {
        self.by_id.get(&(kind, id))
    }

    /// What is up to this record may be in the ledger alone.
    pub const fn forgotten(&self) -> Lsn {
        self.forgotten
    }

    fn at(&self, (kind, id, lsn): (ReceiptKind, OfficeId, Lsn)) -> Option<&Receipt> {
        self.get(kind, id).filter(|receipt| receipt.lsn == lsn)
    }

    /// Facts come in order of their record.
    pub fn push(&mut self, key: ReceiptKey, receipt: Receipt) {
        self.order.push_back((key.kind, key.id, receipt.lsn));
        self.by_id.insert((key.kind, key.id), receipt);
    }

    /// Those of later records.
    pub fn later(&self, than: Lsn) -> impl Iterator<Item = &Receipt> {
        let later = self.order.iter().rev().take_while(move |(.., lsn)| *lsn > than);
        later.filter_map(|place| self.at(*place))
    }

    /// Oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Receipt> {
        self.order.iter().filter_map(|place| self.at(*place))
    }

    /// Frees those of before `until` that are in the ledger, at most so many.
    pub fn forget(&mut self, until: Millis, posted: Lsn, most: usize) {
        for _ in 0..most {
            let Some(oldest) = self.order.front().copied() else { return };
            if let Some(receipt) = self.at(oldest) {
                if receipt.at >= until || receipt.lsn > posted {
                    return;
                }
                self.by_id.remove(&(oldest.0, oldest.1));
            }
            self.forgotten = self.forgotten.max(oldest.2);
            self.order.pop_front();
        }
    }
}

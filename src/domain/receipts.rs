//! What the back office told us lately, by its own ids: the same id again is answered as the first time and changes
//! nothing. Older ones are found in the ledger.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::event::{Cause, Event, Note};
use super::ids::{CustomerIx, Lsn, OfficeId};
use super::jst::Millis;

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
}

impl ReceiptKind {
    pub const ALL: [Self; 7] =
        [Self::Repayment, Self::Damages, Self::Payout, Self::Pending, Self::Ending, Self::Block, Self::Release];
}

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
    pub event: Box<Event>,
}

impl Event {
    /// The id that it answers for, if it came with one.
    pub fn receipt_key(&self) -> Option<ReceiptKey> {
        let (customer, kind, id) = match self {
            Self::Settled { cause, books } => match cause {
                Cause::Calendar => return None,
                Cause::Repayment(payment) => (books.customer, ReceiptKind::Repayment, payment.id),
                Cause::Damages { id, .. } => (books.customer, ReceiptKind::Damages, *id),
                Cause::Payout { id, .. } => (books.customer, ReceiptKind::Payout, *id),
                Cause::Final(payment) => (books.customer, ReceiptKind::Ending, payment.id),
            },
            Self::Noted { customer, note } => match note {
                Note::Pending { id, .. } => (*customer, ReceiptKind::Pending, *id),
                Note::Withdrawn { id } => (*customer, ReceiptKind::Ending, *id),
                Note::Blocked { id, .. } => (*customer, ReceiptKind::Block, *id),
                Note::Released { id } => (*customer, ReceiptKind::Release, *id),
                Note::SlipIssued(_) => return None,
            },
            _ => return None,
        };
        Some(ReceiptKey { customer, kind, id })
    }
}

/// The receipts of the last days.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    by_key: HashMap<ReceiptKey, Receipt, RandomState>,
    /// Oldest first.
    order: VecDeque<ReceiptKey>,
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

    pub fn get(&self, key: &ReceiptKey) -> Option<&Receipt> {
        self.by_key.get(key)
    }

    /// Facts come in order of their record.
    pub fn push(&mut self, key: ReceiptKey, receipt: Receipt) {
        if self.by_key.insert(key, receipt).is_none() {
            self.order.push_back(key);
        }
    }

    /// Oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Receipt> {
        self.order.iter().filter_map(|key| self.by_key.get(key))
    }

    /// Frees those of before `until` that are in the ledger, at most so many.
    pub fn forget(&mut self, until: Millis, posted: Lsn, most: usize) {
        for _ in 0..most {
            let oldest = self.order.front().and_then(|key| Some((*key, self.by_key.get(key)?)));
            let Some((key, _)) = oldest.filter(|(_, receipt)| receipt.at < until && receipt.lsn <= posted) else {
                return;
            };
            self.by_key.remove(&key);
            self.order.pop_front();
        }
    }
}

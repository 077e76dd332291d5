//! What staff and banks told us of a customer that moves no money yet: provisional payments, blocks, slips.

use crate::domain::model::correction::Correction;
use crate::domain::model::ids::{Lsn, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Lines, SlipKind};
use crate::domain::model::request::Staff;
use crate::domain::model::time::{Date, Millis, Month};

/// What staff and banks told us of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub pending: Vec<Pending>,
    /// Blocks by staff that were not released.
    pub blocks: Vec<OfficeId>,
    /// Lost phones that the customer told of and that were not found or replaced: each keeps in-store payments shut.
    pub freezes: Vec<OfficeId>,
    /// Payment slips that money may still come on.
    pub slips: Vec<Slip>,
}

impl Notes {
    /// Lets go of slips that nobody pays with any more; one that is not known counts as expired too.
    pub fn forget_slips(&mut self, today: Date) {
        self.slips.retain(|slip| !slip.is_forgotten(today));
    }

    /// From when the oldest provisional news counts, run out or not: it may still turn out final.
    pub fn news_from(&self) -> Option<Millis> {
        self.pending.iter().map(|pending| pending.paid_at).min()
    }
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

impl Slip {
    /// Whether it says nothing any more, long after its expiry.
    pub fn is_forgotten(&self, today: Date) -> bool {
        /// Days.
        const KEPT: i32 = 92;
        self.expires_at.date().plus_days(KEPT) < today
    }
}

/// Why money met bills. Who of the staff told of it, and why, is kept where they said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Time passed: bills were issued, fees fell due, credit is to be paid out.
    Calendar,
    Repayment(Payment),
    /// Staff posts damages on a month's bill; the charge is in the books.
    Damages {
        id: OfficeId,
        month: Month,
        amount: Yen,
        staff: Option<Box<Staff>>,
    },
    /// Staff posts damages on the invoice of the NP Atobarai purchase of this record.
    NpDamages {
        id: OfficeId,
        order: Lsn,
        amount: Yen,
        staff: Option<Box<Staff>>,
    },
    /// Money was transferred to the customer.
    Payout {
        id: OfficeId,
        amount: Yen,
        /// The bank's name of the transfer, where it was told.
        bank_reference: Option<Box<str>>,
        staff: Option<Box<Staff>>,
    },
    /// Provisional news of a payment became final; its id is that of the news.
    Final(Payment),
    /// It did not come, and what the news had held up is charged. Where nothing was, it is a [`Note::Withdrawn`].
    Withdrawn {
        id: OfficeId,
        staff: Option<Box<Staff>>,
    },
    /// The bank sent a payout back.
    Bounced {
        payout: OfficeId,
        /// Of the payout.
        amount: Yen,
        staff: Box<Staff>,
    },
    /// Staff corrected something in the books; so much was taken back, waived, given up or moved.
    Corrected {
        correction: Correction,
        amount: Yen,
        staff: Box<Staff>,
    },
}

impl Cause {
    /// Staff posts damages on a bill.
    pub const fn damages(id: OfficeId, (bill, amount): (BillKey, Yen), staff: Option<Box<Staff>>) -> Self {
        match bill {
            BillKey::Month(month) => Self::Damages { id, month, amount, staff },
            BillKey::Np(order) => Self::NpDamages { id, order, amount, staff },
        }
    }

    /// The bill that staff posted damages on, and how much.
    pub const fn posted(&self) -> Option<(BillKey, Yen)> {
        match *self {
            Self::Damages { month, amount, .. } => Some((BillKey::Month(month), amount)),
            Self::NpDamages { order, amount, .. } => Some((BillKey::Np(order), amount)),
            _ => None,
        }
    }
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
        staff: Option<Box<Staff>>,
    },
    Blocked {
        id: OfficeId,
        reason: Box<str>,
        /// Who of the staff, and the name of the key.
        by: Option<Box<str>>,
        key: Option<Box<str>>,
    },
    Released {
        id: OfficeId,
        staff: Option<Box<Staff>>,
    },
    SlipIssued(SlipIssued),
    /// A phone was lost: nothing is paid with codes until it is lifted. The live code was voided by a record of its own.
    Frozen {
        id: OfficeId,
    },
    Unfrozen {
        id: OfficeId,
        staff: Box<Staff>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlipIssued {
    pub kind: SlipKind,
    pub number: u64,
    /// What was owed when it was issued, by line; its amount is their sum.
    pub lines: Lines,
    pub expires_at: Millis,
}

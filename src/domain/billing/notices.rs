//! What a customer is told of a bill as time goes on: that its amount is fixed, that it is due soon, that it is overdue and
//! so codes are refused, and that this has ended. Each is a fact, told once: the bill remembers.

use super::notes::SlipIssued;
use crate::domain::model::payment::{BillKey, Lines, PaymentMethod};
use crate::domain::model::time::{Date, Month};

/// What was told of a bill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told(u8);

impl Told {
    pub const FIXED: Self = Self(1);
    pub const DUE_SOON: Self = Self(2);
    /// And that it ended was not told since.
    pub const OVERDUE: Self = Self(4);

    pub const fn has(self, what: Self) -> bool {
        self.0 & what.0 != 0
    }

    pub(super) const fn with(self, what: Self) -> Self {
        Self(self.0 | what.0)
    }

    pub(super) const fn without(self, what: Self) -> Self {
        Self(self.0 & !what.0)
    }

    /// As it is stored.
    pub const fn number(self) -> u8 {
        self.0
    }

    pub fn from_number(number: u8) -> Option<Self> {
        (number < 8).then_some(Self(number))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The amount of a month's bill can change no more by cancels. `charged` is before what credit has paid of it.
    BillFixed {
        month: Month,
        method: PaymentMethod,
        due: Date,
        charged: Lines,
        owed: Lines,
        /// Over all that is owed, where it is paid at convenience stores.
        slip: Option<SlipIssued>,
    },
    DueSoon {
        bill: BillKey,
        due: Date,
        owed: Lines,
    },
    FellOverdue {
        bill: BillKey,
        due: Date,
        owed: Lines,
    },
    /// It was paid, or news of money covers it.
    OverdueEnded {
        bill: BillKey,
    },
    /// The first bill is overdue: from now on nothing can be bought.
    Blocked,
    /// No bill is overdue any more.
    BlockLifted,
}

impl Notice {
    pub const fn bill(&self) -> Option<BillKey> {
        match *self {
            Self::BillFixed { month, .. } => Some(BillKey::Month(month)),
            Self::DueSoon { bill, .. } | Self::FellOverdue { bill, .. } | Self::OverdueEnded { bill } => Some(bill),
            Self::Blocked | Self::BlockLifted => None,
        }
    }
}

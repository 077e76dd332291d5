//! What staff may correct in a customer's books, each with a reason.

use super::ids::{CustomerId, OfficeId};
use super::money::Yen;
use super::payment::BillKey;
use super::time::Date;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Correction {
    /// A repayment was booked by mistake: so much of it, or all that is left.
    ReverseRepayment {
        /// What the office calls this reversal; none where it goes by the repayment's own id. Few have one, and every receipt in
        /// memory would be as large as the two ids.
        reversal: Option<Box<OfficeId>>,
        repayment: OfficeId,
        amount: Option<Yen>,
    },
    /// The id is that of [`Fee::waiver_of`].
    WaiveFee {
        id: OfficeId,
        fee: Fee,
    },
    ReverseDamages {
        posting: OfficeId,
    },
    /// The bill is given up.
    WriteOff {
        id: OfficeId,
        bill: BillKey,
    },
    /// What is open of a bill that was given up is owed no longer.
    ReleaseWriteOff {
        id: OfficeId,
    },
    /// Credit lowers what a month that is still open will bill.
    ApplyCredit {
        id: OfficeId,
        amount: Yen,
        bill: BillKey,
    },
}

/// Which fee of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee {
    pub bill: BillKey,
    /// Of a late fee: its day.
    pub late: Option<Date>,
}

impl Fee {
    /// What makes a waiver the same as an earlier one: a fee is waived once.
    pub fn waiver_of(&self, customer: CustomerId) -> Option<OfficeId> {
        let bill = match self.bill {
            BillKey::Month(month) => month.to_string(),
            BillKey::Np(order) => format!("np{}", order.0),
        };
        let late = self.late.map_or_else(String::new, |date| format!("_{date}"));
        OfficeId::new(&format!("{customer}_{bill}{late}")).ok()
    }
}

//! What the rows of a customer must come to, by the account: for `verify`.

use super::cells::Cells;
use super::movements::Movement;
use super::{Book, LedgerError};
use crate::domain::billing::account::Account;
use crate::domain::model::ids::CustomerId;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::Lines;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::Millis;

/// The accounts of a customer's that the state knows too.
pub const OWN: [Book; 7] =
    [Book::Exposure, Book::BillFee, Book::LateFee, Book::Damages, Book::Credit, Book::PayoutDue, Book::WrittenOff];

/// What the rows of one customer come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomerSums {
    pub customer: CustomerId,
    /// By [`OWN`].
    pub on: [i64; OWN.len()],
    /// Of the exposure, by [`Channel::ALL`]; none where some row of it does not tell its channel.
    pub channels: Option<[i64; Channel::ALL.len()]>,
    /// What the customer's own row says beside them; none where it is of a later record.
    pub row: Option<OwnRow>,
}

/// Figures that a customer's own row repeats, for those who read the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRow {
    pub credit: i64,
    pub payout_due: i64,
    /// Unpaid principal.
    pub principal: i64,
}

fn signed(yen: Yen) -> i64 {
    yen.get().cast_signed()
}

impl CustomerSums {
    /// Of the customer; the sums by [`OWN`] and by [`Channel::ALL`]; how many rows tell no channel; whether the customer's
    /// own row is of the last record asked about; and its figures.
    pub(crate) fn read(cells: &dyn Cells) -> Result<Self, LedgerError> {
        let sum = |at: usize| cells.int(1 + at);
        let (first, last) = (OWN.len(), OWN.len() + Channel::ALL.len());
        let mut found = Self {
            customer: cells.text(0, |text| CustomerId::new(text).ok())?,
            on: [0; OWN.len()],
            channels: None,
            row: None,
        };
        for (at, on) in found.on.iter_mut().enumerate() {
            *on = sum(at)?;
        }
        if sum(last)? == 0 {
            let mut channels = [0; Channel::ALL.len()];
            for (at, channel) in channels.iter_mut().enumerate() {
                *channel = sum(first + at)?;
            }
            found.channels = Some(channels);
        }
        if sum(last + 1)? != 0 {
            found.row = Some(OwnRow { credit: sum(last + 2)?, payout_due: sum(last + 3)?, principal: sum(last + 4)? });
        }
        Ok(found)
    }

    /// What they must be, by the account as its last record left it.
    pub fn of(account: &Account) -> Self {
        let mut owed = Lines::default();
        let mut paid = Lines::default();
        let mut channels = [0; Channel::ALL.len()];
        let mut written_off = 0;
        for bill in account.bills() {
            if bill.written_off_at(Millis(i64::MAX)).is_some() {
                written_off += signed(bill.open_as_posted());
            }
            let is_charged = !bill.is_fee_waived();
            owed += Lines {
                principal: bill.net(),
                bill_fee: bill.fee.filter(|_| is_charged).unwrap_or_default(),
                late_fees: bill.late_fees.iter().map(|late| late.amount).sum(),
                damages: bill.damages_posted(),
            };
            paid += bill.covered();
            for (sum, channel) in channels.iter_mut().zip(Channel::ALL) {
                *sum += signed(bill.unpaid_of(channel));
            }
        }
        let principal = signed(owed.principal) - signed(paid.principal);
        let mut held = 0;
        // A hold counts until its end is posted, whether its time has run out or not.
        for hold in account.holds() {
            held += signed(hold.amount);
            for (sum, _) in channels.iter_mut().zip(Channel::ALL).filter(|(_, channel)| *channel == hold.channel) {
                *sum += signed(hold.amount);
            }
        }
        let (credit, payout_due) = (signed(account.credit()), signed(account.payout_due()));
        let on = OWN.map(|book| match book {
            Book::Exposure => principal + held,
            Book::BillFee => signed(owed.bill_fee) - signed(paid.bill_fee),
            Book::LateFee => signed(owed.late_fees) - signed(paid.late_fees),
            Book::Damages => signed(owed.damages) - signed(paid.damages),
            Book::Credit => credit,
            Book::PayoutDue => payout_due,
            Book::WrittenOff => written_off,
            _ => 0,
        });
        let row = OwnRow { credit, payout_due, principal };
        Self { customer: account.id, on, channels: Some(channels), row: Some(row) }
    }
}

impl Movement {
    /// Account, far side and amount.
    pub const fn sides(&self) -> (Book, Book, i64) {
        (self.account, self.counter, self.amount)
    }
}

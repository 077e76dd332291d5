//! What the ledger has of one bill: what was charged on it, and the money that came on it and left it.

use crate::domain::billing::notes::Cause;
use crate::domain::billing::settlement::Transfer;
use crate::domain::model::ids::{Lsn, OfficeId};
use crate::domain::model::payment::{BillKey, Lines};
use crate::domain::model::time::Millis;
use crate::domain::state::event::Event;
use crate::ledger::{Book, CustomerPast, Entry, EntryKind, Far};

/// A bill as it was posted, for those that the engine has let go because they are paid.
#[derive(Clone, Copy, Default)]
pub(crate) struct Posted {
    pub(crate) charged: Lines,
    /// Was given up, and is owed no longer.
    pub(crate) released: Lines,
    pub(crate) points: i64,
}

impl Posted {
    pub(crate) fn of(entries: &[&Entry]) -> Self {
        let mut posted = Self::default();
        let mut sums = [0_i64; 4];
        let mut released = [0_i64; 4];
        for entry in entries {
            use EntryKind as Kind;
            match (entry.account, entry.kind) {
                (Book::Points, _) => posted.points += entry.amount,
                (Book::Exposure, Kind::Purchase | Kind::Capture | Kind::Cancel | Kind::Refund) => {
                    sums[0] += entry.amount;
                }
                (Book::BillFee, Kind::BillFee | Kind::BillFeeWaived) => sums[1] += entry.amount,
                (Book::LateFee, Kind::LateFee | Kind::LateFeeTakenBack | Kind::LateFeeWaived) => {
                    sums[2] += entry.amount;
                }
                (Book::Damages, Kind::DamagesPosted | Kind::DamagesTakenBack | Kind::DamagesReversed) => {
                    sums[3] += entry.amount;
                }
                (Book::Exposure, Kind::Released) => released[0] -= entry.amount,
                (Book::BillFee, Kind::Released) => released[1] -= entry.amount,
                (Book::LateFee, Kind::Released) => released[2] -= entry.amount,
                (Book::Damages, Kind::Released) => released[3] -= entry.amount,
                _ => {}
            }
        }
        posted.charged = lines(sums);
        posted.released = lines(released);
        posted
    }
}

fn lines(sums: [i64; 4]) -> Lines {
    let [principal, bill_fee, late_fees, damages] = sums.map(|sum| u64::try_from(sum).unwrap_or(0).into());
    Lines { principal, bill_fee, late_fees, damages }
}

/// Some money is put on a bill, or leaves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) bill: BillKey,
    /// None of what time alone has moved and no record says yet.
    record: Option<Lsn>,
    pub(crate) recorded_at: Millis,
    money: Lsn,
    /// The own day of the money.
    pub(crate) day: Millis,
    pub(crate) far: Far,
    /// Less than nothing for what leaves.
    pub(crate) amount: i64,
}

impl Move {
    /// A movement of the ledger. What is put on a line lowers what is owed there.
    pub(crate) fn recorded(entry: &Entry) -> Option<Self> {
        let (bill, moved) = (entry.bill()?, entry.moved?);
        Some(Self {
            bill,
            record: Some(entry.lsn),
            recorded_at: entry.recorded_at,
            money: moved.money,
            day: moved.day,
            far: moved.far,
            amount: -entry.amount,
        })
    }

    /// Both ends of a transfer that no record says yet, those that are bills.
    pub(crate) fn of(transfer: &Transfer, now: Millis) -> impl Iterator<Item = Self> {
        let Transfer { money, from, to, amount } = *transfer;
        let amount = amount.get().cast_signed();
        let end = move |bill, far, amount| Self {
            bill,
            record: None,
            recorded_at: now,
            money: money.fact,
            day: money.day,
            far,
            amount,
        };
        let out = from.bill().map(|bill| end(bill, to.into(), -amount));
        let into = to.bill().map(|bill| end(bill, from.into(), amount));
        out.into_iter().chain(into)
    }

    /// Whether both are one row: the same money, by the same record, from or to the same place.
    pub(crate) fn is_with(&self, other: &Self) -> bool {
        let what = |moved: &Self| (moved.record, moved.money, moved.day);
        what(self) == what(other) && self.far == other.far
    }

    /// The repayment that brought the money. Of money that an older version moved only that is known which came in.
    pub(crate) fn repayment(&self, past: &CustomerPast) -> Option<OfficeId> {
        let fact = if self.money == Lsn(0) && self.far == Far::Received { self.record? } else { self.money };
        let receipt = past.receipts.iter().find(|receipt| receipt.lsn == fact)?;
        match receipt.event.as_ref() {
            Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), .. } => Some(payment.id),
            other => other.reversal().map(|(repayment, _)| repayment),
        }
    }
}

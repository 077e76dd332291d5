//! Settlements as they were written before a transfer said which money it moves: read for ever, and written again only as
//! what was read so.

use super::{BadEvent, Field, Got, Out};

use crate::domain::billing::notes::Cause;
use crate::domain::billing::settlement::{Charge, Counted, Place, Settlement, Transfer};
use crate::domain::billing::sums::Money;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line};
use crate::domain::model::time::Millis;
use crate::domain::state::event::Refunded;

/// Where money lay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pot {
    Received,
    Refund,
    Bill {
        bill: BillKey,
        line: Line,
    },
    Credit,
    /// Paid out by the office's word, or owed in cash by itself.
    Payout,
}

struct OldTransfer {
    from: Pot,
    to: Pot,
    amount: Yen,
    at: Millis,
}

struct OldCounted {
    bill: BillKey,
    on_time: bool,
}

records! {
    OldTransfer { from, to, amount, at }
    OldCounted { bill, on_time }
}

choices! {
    Pot {
        1 = Received,
        2 = Refund,
        3 = Bill { bill, line },
        4 = Credit,
        5 = Payout,
    }
}

impl OldTransfer {
    /// `is_payout`: the office told of a payout that was made.
    fn now(self, is_payout: bool) -> Transfer {
        let Self { from, to, amount, at } = self;
        let paid_out = if is_payout { Place::PaidOut { at, payout: Money::OWN } } else { Place::PayoutDue };
        let from = match from {
            Pot::Received => Place::Received,
            Pot::Refund => Place::Refund,
            Pot::Bill { bill, line } => Place::Freed { bill, line, at },
            Pot::Credit => Place::Credit,
            Pot::Payout => paid_out,
        };
        let to = match to {
            Pot::Received => Place::Received,
            Pot::Refund => Place::Refund,
            Pot::Bill { bill, line } => Place::Line { bill, line, at },
            Pot::Credit => Place::Credit,
            Pot::Payout => paid_out,
        };
        Transfer { money: Money::unknown(at), from, to, amount }
    }

    fn of(transfer: &Transfer) -> Self {
        let pot = |place| match place {
            Place::Received => Pot::Received,
            Place::Refund => Pot::Refund,
            Place::Freed { bill, line, .. } | Place::Line { bill, line, .. } => Pot::Bill { bill, line },
            Place::Credit => Pot::Credit,
            // The last two are never of it.
            Place::PayoutDue | Place::PaidOut { .. } | Place::Reversed { .. } | Place::Bounced { .. } => Pot::Payout,
        };
        let &Transfer { money, from, to, amount } = transfer;
        Self { from: pot(from), to: pot(to), amount, at: money.day }
    }
}

/// Whether it was read in the old form, or could have been written in it.
pub(super) fn is_old(books: &Settlement) -> bool {
    let is_new_charge = |charge: &Charge| {
        matches!(charge, Charge::DamagesTakenBack { .. } | Charge::Adjusted { .. } | Charge::Released { .. })
    };
    books.transfers.iter().all(|transfer| !transfer.money.is_known())
        && books.counted.iter().all(|counted| counted.lost.is_none())
        && !books.charges.iter().any(is_new_charge)
        && books.counts_from.is_none()
}

/// Whether a settlement of before could have had this cause.
pub(super) fn is_old_cause(cause: &Cause) -> bool {
    let is_new = matches!(
        cause,
        Cause::Withdrawn { .. } | Cause::Bounced { .. } | Cause::NpDamages { .. } | Cause::Corrected { .. }
    );
    let says_more = matches!(
        cause,
        Cause::Payout { bank_reference: Some(_), .. }
            | Cause::Payout { staff: Some(_), .. }
            | Cause::Damages { staff: Some(_), .. }
    );
    !is_new && !says_more
}

fn put(books: &Settlement, out: &mut Out<'_>) {
    let Settlement { customer, charges, transfers, counted, steps, record, counts_from: _ } = books;
    customer.put(out);
    charges.put(out);
    transfers.iter().map(OldTransfer::of).collect::<Vec<_>>().put(out);
    let old = |counted: &Counted| OldCounted { bill: counted.bill, on_time: counted.on_time };
    counted.iter().map(old).collect::<Vec<_>>().put(out);
    steps.put(out);
    record.put(out);
}

fn get(input: &mut &[u8], is_payout: bool) -> Got<Settlement> {
    let customer = Field::get(input)?;
    let charges = Field::get(input)?;
    let transfers: Vec<OldTransfer> = Field::get(input)?;
    let counted: Vec<OldCounted> = Field::get(input)?;
    Ok(Settlement {
        customer,
        charges,
        transfers: transfers.into_iter().map(|transfer| transfer.now(is_payout)).collect(),
        counted: counted.into_iter().map(|old| Counted { bill: old.bill, on_time: old.on_time, lost: None }).collect(),
        steps: Field::get(input)?,
        record: Field::get(input)?,
        counts_from: None,
    })
}

/// `Settled` of kind 15.
pub(super) struct OldSettled {
    pub cause: Cause,
    pub books: Settlement,
}

impl Field for OldSettled {
    fn put(&self, out: &mut Out<'_>) {
        self.cause.put(out);
        put(&self.books, out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        let cause = Cause::get(input)?;
        let books = get(input, matches!(cause, Cause::Payout { .. }))?;
        Ok(Self { cause, books })
    }
}

/// `Refunded` of kind 12, which says no time of the shop's.
pub(super) struct OldRefunded(pub Refunded);

impl Field for OldRefunded {
    fn put(&self, out: &mut Out<'_>) {
        let Refunded {
            order, refund_id, customer, channel, amount, month, bought_at, destination, points, books, ..
        } = &self.0;
        order.put(out);
        refund_id.put(out);
        customer.put(out);
        channel.put(out);
        amount.put(out);
        month.put(out);
        bought_at.put(out);
        destination.put(out);
        points.put(out);
        put(books, out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        Ok(Self(Refunded {
            order: Field::get(input)?,
            refund_id: Field::get(input)?,
            customer: Field::get(input)?,
            channel: Field::get(input)?,
            amount: Field::get(input)?,
            month: Field::get(input)?,
            bought_at: Field::get(input)?,
            destination: Field::get(input)?,
            points: Field::get(input)?,
            books: Box::new(get(input, false)?),
            paid_at: None,
        }))
    }
}

/// A settlement with one of everything, for the golden bytes.
#[cfg(test)]
pub(crate) fn example(customer: crate::domain::model::ids::CustomerIx) -> Settlement {
    use crate::domain::billing::settlement::{LadderStep, StepReason};
    use crate::domain::model::customer::Record;
    use crate::domain::model::ids::Lsn;
    use crate::domain::model::payment::PaymentMethod;
    use crate::domain::model::time::{Date, Month};
    let month = Month::parse("2026-10").unwrap();
    let (bill, date) = (BillKey::Month(month), Date::new(2026, 12, 10).unwrap());
    let (amount, at) = (Yen::new(100), Millis(1_795_423_500_000));
    let transfer = |from, to| OldTransfer { from, to, amount, at }.now(false);
    let principal = Pot::Bill { bill: BillKey::Np(Lsn(5)), line: Line::Principal };
    Settlement {
        customer,
        charges: vec![
            Charge::Issued { month, method: PaymentMethod::Debit, due: date, fee: Yen::ZERO, principal: amount },
            Charge::BillFeeWaived { month, amount },
            Charge::LateFee { bill, date, amount },
            Charge::LateFeeTakenBack { bill, date, amount },
            Charge::Damages { bill, amount },
        ],
        transfers: vec![
            transfer(Pot::Received, principal),
            transfer(Pot::Refund, Pot::Credit),
            transfer(principal, Pot::Payout),
        ],
        counted: vec![Counted { bill, on_time: true, lost: None }],
        steps: vec![LadderStep { from: 1, to: 2, why: StepReason::ConditionsMet, policy: 1 }],
        record: Some(Record { on_time_bills: 1, purchases: 2, months_active: 3, latest: Some(month) }),
        counts_from: None,
    }
}

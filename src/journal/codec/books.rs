//! The parts of events that are about money: bills, settlements, notes. The ledger keeps a customer's story in the same
//! bytes.

use super::{BadEvent, Field, Got, Out, TooLarge, numbered, put_list, take, written};

use crate::domain::billing::bill::{Bill, Change, ChangeKind, Changes, LateFee, Stretch};
use crate::domain::billing::notes::{Cause, Note, Notes, Payment, Pending, Slip, SlipIssued};
use crate::domain::billing::settlement::{Charge, Counted, LadderStep, Pot, Settlement, StepReason, Transfer};
use crate::domain::model::customer::Record;
use crate::domain::model::ids::OfficeId;
use crate::domain::model::order::{Applied, AppliedTo};
use crate::domain::model::payment::{BillKey, Line, Lines, SlipKind};
use crate::domain::model::time::Millis;

/// All of a customer that only a story tells, as the ledger keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dossier {
    pub bills: Vec<Bill>,
    pub credit_since: Option<Millis>,
    pub notes: Notes,
}

impl Dossier {
    /// The kinds of its slips come last: a ledger made before they were kept ends without them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TooLarge> {
        let mut bytes = Vec::new();
        written(self, &mut bytes)?;
        let kinds: Vec<_> = self.notes.slips.iter().map(|slip| slip.kind).collect();
        written(&kinds, &mut bytes)?;
        Ok(bytes)
    }

    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, BadEvent> {
        let mut dossier = Self::get(&mut bytes)?;
        if !bytes.is_empty() {
            let kinds: Vec<Option<SlipKind>> = Vec::get(&mut bytes)?;
            dossier.notes.slips.iter_mut().zip(kinds).for_each(|(slip, kind)| slip.kind = kind);
        }
        if bytes.is_empty() { Ok(dossier) } else { Err(BadEvent("bytes left over")) }
    }
}

/// A bill without its changes, as the ledger keeps it.
pub fn bill_to_bytes(bill: &Bill) -> Result<Vec<u8>, TooLarge> {
    let mut bytes = Vec::new();
    written(&bill.without_changes(), &mut bytes).map(|()| bytes)
}

pub fn bill_from_bytes(mut bytes: &[u8]) -> Result<Bill, BadEvent> {
    let bill = Bill::get(&mut bytes)?;
    if bytes.is_empty() { Ok(bill) } else { Err(BadEvent("bytes left over")) }
}

/// Where a refund went, as the ledger keeps it.
pub fn applied_to_bytes(applied: &Vec<Applied>) -> Result<Vec<u8>, TooLarge> {
    let mut bytes = Vec::new();
    written(applied, &mut bytes).map(|()| bytes)
}

pub fn applied_from_bytes(mut bytes: &[u8]) -> Result<Vec<Applied>, BadEvent> {
    Vec::get(&mut bytes)
}

names!(OfficeId);

wrapped! {
    Line: u8, |value| *value as u8, |n| numbered(&Line::ALL, n);
    ChangeKind: u8, |value| *value as u8, |n| numbered(&ChangeKind::ALL, n);
    StepReason: u8, |value| *value as u8, |n| numbered(&StepReason::ALL, n);
    SlipKind: u8, |value| *value as u8, |n| numbered(&SlipKind::ALL, n);
}

/// Written as its list; the sums follow from it.
impl Field for Changes {
    fn put(&self, out: &mut Out<'_>) {
        put_list(self.as_slice(), out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        (0..u16::get(input)?).map(|_| Change::get(input)).collect()
    }
}

records! {
    Lines { principal, bill_fee, late_fees, damages }
    Stretch { channel, since, amount }
    Change { at, kind, amount }
    LateFee { date, amount }
    Bill { key, billed_by, due, fee, purchases, changes, late_fees, damages, paid_fees, counted }
    Record { on_time_bills, purchases, months_active, latest }
    Pending { id, amount, paid_at, expires_at }
    Slip { number, amount, expires_at } - { kind }
    Notes { pending, blocks, slips }
    Dossier { bills, credit_since, notes }
    Transfer { from, to, amount, at }
    Counted { bill, on_time }
    LadderStep { from, to, why, policy }
    Settlement { customer, charges, transfers, counted, steps, record }
    Payment { id, amount, paid_at, slip }
    SlipIssued { kind, number, lines, expires_at }
    Applied { to, amount }
}

choices! {
    BillKey {
        1 = Month(month),
        2 = Np(order),
    }
    Charge {
        1 = Issued { month, method, due, fee, principal },
        2 = BillFeeWaived { month, amount },
        3 = LateFee { bill, date, amount },
        4 = LateFeeTakenBack { bill, date, amount },
        5 = Damages { bill, amount },
    }
    Pot {
        1 = Received,
        2 = Refund,
        3 = Bill { bill, line },
        4 = Credit,
        5 = Payout,
    }
    Cause {
        1 = Calendar,
        2 = Repayment(payment),
        3 = Damages { id, month, amount },
        4 = Payout { id, amount },
        5 = Final(payment),
    }
    Note {
        1 = Pending { id, amount, paid_at, expires_at },
        2 = Withdrawn { id },
        3 = Blocked { id, reason },
        4 = Released { id },
        5 = SlipIssued(issued),
    }
    AppliedTo {
        1 = Bill(bill),
        2 = Credit,
        3 = Payout,
    }
}

/// A settlement with one of everything, for the golden bytes.
#[cfg(test)]
pub(crate) fn example(customer: crate::domain::model::ids::CustomerIx) -> Settlement {
    use crate::domain::model::ids::Lsn;
    use crate::domain::model::money::Yen;
    use crate::domain::model::payment::PaymentMethod;
    use crate::domain::model::time::{Date, Month};
    let month = Month::parse("2026-10").unwrap();
    let (bill, date) = (BillKey::Month(month), Date::new(2026, 12, 10).unwrap());
    let (amount, at) = (Yen::new(100), Millis(1_795_423_500_000));
    let transfer = |from, to| Transfer { from, to, amount, at };
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
        counted: vec![Counted { bill, on_time: true }],
        steps: vec![LadderStep { from: 1, to: 2, why: StepReason::ConditionsMet, policy: 1 }],
        record: Some(Record { on_time_bills: 1, purchases: 2, months_active: 3, latest: Some(month) }),
    }
}

#[cfg(test)]
pub(crate) fn payment() -> Payment {
    let id = OfficeId::new("P-1").unwrap();
    Payment { id, amount: 300.into(), paid_at: Millis(1_795_423_400_000), slip: Some(123_456_789_012) }
}

#[cfg(test)]
pub(crate) fn note() -> Note {
    let id = OfficeId::new("N-1").unwrap();
    Note::Pending { id, amount: 300.into(), paid_at: Millis(1), expires_at: Millis(2) }
}

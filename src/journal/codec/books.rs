//! The parts of events that are about money: bills, settlements, notes. The ledger keeps a customer's story in the same
//! bytes.

use super::{BadEvent, Field, Got, Out, TooLarge, numbered, put_list, take, written};

use std::sync::Arc;

use crate::domain::billing::account::Debt;
use crate::domain::billing::adjustments::{Adjusted, Adjustment, Adjustments};
use crate::domain::billing::bill::{Bill, Change, ChangeKind, LateFee, Lost, Posted, Stretch};
use crate::domain::billing::notes::{Cause, Note, Notes, Payment, Pending, Slip, SlipIssued};
use crate::domain::billing::notices::{Notice, Told};
use crate::domain::billing::outflows::{Outflow, Why};
use crate::domain::billing::settlement::{Charge, Counted, LadderStep, Place, Settlement, StepReason, Transfer};
use crate::domain::billing::stories::{Recall, Story};
use crate::domain::billing::sums::{Money, Sum};
use crate::domain::model::correction::{Correction, Fee};
use crate::domain::model::customer::Record;
use crate::domain::model::ids::{Lsn, OfficeId};
use crate::domain::model::order::{Applied, AppliedTo};
use crate::domain::model::payment::{BillKey, Line, Lines, SlipKind};
use crate::domain::model::request::Staff;
use crate::domain::model::time::Millis;

/// What lies beside a customer's bills, as the ledger keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dossier {
    pub sums: Vec<Sum>,
    pub met_at: Millis,
    pub met_by: Lsn,
    pub outflows: Vec<Outflow>,
    pub notes: Notes,
}

impl Dossier {
    pub fn of(debt: Option<&Debt>) -> Self {
        let Some(debt) = debt else { return Self::default() };
        Self {
            sums: debt.sums.as_slice().to_vec(),
            met_at: debt.met.0,
            met_by: debt.met.1,
            outflows: debt.outflows.clone(),
            notes: debt.notes.as_deref().cloned().unwrap_or_default(),
        }
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>, TooLarge> {
        bytes_of(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadEvent> {
        whole(bytes)
    }
}

/// The record, if it changed: 0 or 1. Before it may stand, as 2, from when the books were worked out anew.
struct Ending {
    record: Option<Record>,
    counts_from: Option<Millis>,
}

impl Field for Ending {
    fn put(&self, out: &mut Out<'_>) {
        if let Some(counts_from) = self.counts_from {
            out.extend(&[2]);
            counts_from.put(out);
        }
        self.record.put(out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        let counts_from = match input.first() {
            Some(2) => {
                u8::get(input)?;
                Some(Field::get(input)?)
            }
            _ => None,
        };
        Ok(Self { record: Field::get(input)?, counts_from })
    }
}

impl Field for Settlement {
    fn put(&self, out: &mut Out<'_>) {
        let &Self { customer, ref charges, ref transfers, ref counted, ref steps, record, counts_from } = self;
        customer.put(out);
        charges.put(out);
        transfers.put(out);
        counted.put(out);
        steps.put(out);
        Ending { record, counts_from }.put(out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        let (customer, charges, transfers) = (Field::get(input)?, Field::get(input)?, Field::get(input)?);
        let (counted, steps) = (Field::get(input)?, Field::get(input)?);
        let Ending { record, counts_from } = Ending::get(input)?;
        Ok(Self { customer, charges, transfers, counted, steps, record, counts_from })
    }
}

/// What being late has cost: 0 for nothing, 1 as it was kept before it said when, 2 with its time first.
struct Cost(Option<Lost>);

impl Field for Cost {
    fn put(&self, out: &mut Out<'_>) {
        match &self.0 {
            None => out.extend(&[0]),
            Some(Lost { at: Millis(0), from, to, before, after }) => {
                out.extend(&[1]);
                from.put(out);
                to.put(out);
                before.put(out);
                after.put(out);
            }
            Some(lost) => {
                out.extend(&[2]);
                lost.put(out);
            }
        }
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        Ok(Self(match u8::get(input)? {
            0 => None,
            1 => {
                let (from, to, before) = (Field::get(input)?, Field::get(input)?, Field::get(input)?);
                Some(Lost { at: Millis(0), from, to, before, after: Field::get(input)? })
            }
            2 => Some(Lost::get(input)?),
            _ => return Err(BadEvent("no such cost of being late")),
        }))
    }
}

impl Field for Adjustments {
    fn put(&self, out: &mut Out<'_>) {
        put_list(self.as_slice(), out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        Vec::get(input).map(Self::from_iter)
    }
}

impl Field for Counted {
    fn put(&self, out: &mut Out<'_>) {
        self.bill.put(out);
        self.on_time.put(out);
        Cost(self.lost).put(out);
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        Ok(Self { bill: Field::get(input)?, on_time: Field::get(input)?, lost: Cost::get(input)?.0 })
    }
}

fn bytes_of(value: &impl Field) -> Result<Vec<u8>, TooLarge> {
    let mut bytes = Vec::new();
    written(value, &mut bytes).map(|()| bytes)
}

fn whole<T: Field>(mut bytes: &[u8]) -> Result<T, BadEvent> {
    let value = T::get(&mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(BadEvent("bytes left over")) }
}

/// A bill without its changes, as the ledger keeps it.
pub fn bill_to_bytes(bill: &Bill) -> Result<Vec<u8>, TooLarge> {
    bytes_of(bill)
}

pub fn bill_from_bytes(bytes: &[u8]) -> Result<Bill, BadEvent> {
    whole(bytes)
}

/// One change of a bill, as the ledger keeps it.
pub fn change_to_bytes(change: &Change) -> Result<Vec<u8>, TooLarge> {
    bytes_of(change)
}

pub fn change_from_bytes(bytes: &[u8]) -> Result<Change, BadEvent> {
    whole(bytes)
}

/// What memory has let go of, as the ledger keeps it.
pub fn story_to_bytes(story: &Story) -> Result<Vec<u8>, TooLarge> {
    bytes_of(story)
}

pub fn story_from_bytes(bytes: &[u8]) -> Result<Story, BadEvent> {
    whole(bytes)
}

/// Where a refund went, as the ledger keeps it.
pub fn applied_to_bytes(applied: &Vec<Applied>) -> Result<Vec<u8>, TooLarge> {
    bytes_of(applied)
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
    Told: u8, |told| told.number(), Told::from_number;
}

records! {
    Lines { principal, bill_fee, late_fees, damages }
    Stretch { channel, since, amount }
    Money { fact, day, on_old_slip }
    Change { at, kind, money, lines }
    LateFee { date, amount }
    Posted { fact, at, amount }
    Lost { at, from, to, before, after }
    Bill {
        key, billed_by, due, fee, is_fee_refunded, issued_at, issued_by, purchases, late_fees, damages, counted, lost, told,
        adjustments,
    } - { changes }
    Sum { money, amount, due }
    Outflow { money, amount, due, at, fact, why }
    Adjustment { fact, at, what }
    Record { on_time_bills, purchases, months_active, latest }
    Pending { id, amount, paid_at, expires_at }
    Slip { number, amount, expires_at, kind }
    Notes { pending, blocks, slips, freezes }
    Dossier { sums, met_at, met_by, outflows, notes }
    Transfer { money, from, to, amount }
    LadderStep { from, to, why, policy }
    Payment { id, amount, paid_at, slip }
    SlipIssued { kind, number, lines, expires_at }
    Staff { by, key, reason }
    Fee { bill, late }
    Applied { to, amount }
    Recall { stories, let_go }
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
        6 = DamagesTakenBack { bill, posted, amount },
        7 = Adjusted { bill, what },
        8 = Released { bill, release, at, lines },
    }
    Adjusted {
        1 = BillFeeWaived(amount),
        2 = LateFeeWaived(late),
        3 = DamagesReversed(posted),
        4 = WrittenOff,
        5 = Released,
        6 = CreditApplied(amount),
    }
    Why {
        1 = PaidOut,
        2 = Bounced(payout),
        3 = Reversed(of),
    }
    Place {
        1 = Received,
        2 = Refund,
        3 = Line { bill, line, at },
        4 = Credit,
        5 = PayoutDue,
        6 = PaidOut { at, payout },
        7 = Freed { bill, line, at },
        8 = Reversed { at, reversal, of },
        9 = Bounced { at, bounce, payout },
    }
    Cause {
        1 = Calendar,
        2 = Repayment(payment),
        3 = Damages { id, month, amount } with { staff = None },
        4 = Payout { id, amount } with { bank_reference = None, staff = None },
        5 = Final(payment),
        6 = Withdrawn { id } with { staff = None },
        7 = Payout { id, amount, bank_reference } with { staff = None },
        8 = Bounced { payout, amount, staff },
        9 = NpDamages { id, order, amount } with { staff = None },
        10 = Corrected { correction, amount, staff },
        11 = Damages { id, month, amount, staff },
        12 = Payout { id, amount, bank_reference, staff },
        13 = Withdrawn { id, staff },
        14 = NpDamages { id, order, amount, staff },
    }
    Correction {
        1 = ReverseRepayment { repayment, amount },
        2 = WaiveFee { id, fee },
        3 = ReverseDamages { posting },
        4 = WriteOff { id, bill },
        5 = ReleaseWriteOff { id },
        6 = ApplyCredit { id, amount, bill },
    }
    Note {
        1 = Pending { id, amount, paid_at, expires_at },
        2 = Withdrawn { id } with { staff = None },
        3 = Blocked { id, reason } with { by = None, key = None },
        4 = Released { id } with { staff = None },
        5 = SlipIssued(issued),
        6 = Frozen { id },
        7 = Unfrozen { id, staff },
        8 = Withdrawn { id, staff },
        9 = Blocked { id, reason, by, key },
        10 = Released { id, staff },
    }
    Notice {
        1 = BillFixed { month, method, due, charged, owed, slip },
        2 = DueSoon { bill, due, owed },
        3 = FellOverdue { bill, due, owed },
        4 = OverdueEnded { bill },
        5 = Blocked,
        6 = BlockLifted,
    }
    AppliedTo {
        1 = Bill(bill),
        2 = Credit,
        3 = Payout,
        4 = WaivedFee(month),
    }
}

/// A tag; then a bill with its changes behind it, or the parts of a payout.
impl Field for Story {
    fn put(&self, out: &mut Out<'_>) {
        match self {
            Self::Bill(bill) => {
                out.extend(&[1]);
                bill.put(out);
                put_list(bill.changes.as_slice(), out);
            }
            Self::Outflow(parts) => {
                out.extend(&[2]);
                parts.put(out);
            }
        }
    }
    fn get(input: &mut &[u8]) -> Got<Self> {
        match u8::get(input)? {
            1 => {
                let bill = Bill::get(input)?;
                let changes: Vec<Change> = Field::get(input)?;
                let changes = changes.into_iter().collect();
                Ok(Self::Bill(Arc::new(Bill { changes, ..bill })))
            }
            2 => Ok(Self::Outflow(Field::get(input)?)),
            _ => Err(BadEvent("unknown kind of Story")),
        }
    }
}

/// A settlement with one of everything, for the golden bytes.
#[cfg(test)]
pub(crate) fn example(customer: crate::domain::model::ids::CustomerIx) -> Settlement {
    let old = super::old_books::example(customer);
    let (at, bill) = (Millis(1_795_423_500_000), BillKey::Np(Lsn(5)));
    let money = Money { fact: Lsn(6), day: Millis(1_795_423_400_000), on_old_slip: true };
    let transfer = |money, from, to| Transfer { money, from, to, amount: 100.into() };
    let line = Place::Line { bill, line: Line::Damages, at };
    let freed = Place::Freed { bill, line: Line::Principal, at };
    let record = Record { on_time_bills: 1, purchases: 2, months_active: 3, latest: None };
    let lost = Some(Lost { at: Millis(0), from: 3, to: 2, before: record, after: Record::default() });
    Settlement {
        charges: [old.charges, vec![Charge::DamagesTakenBack { bill, posted: Lsn(7), amount: 100.into() }]].concat(),
        transfers: vec![
            transfer(Money::own(at), Place::Received, line),
            transfer(Money::own(at), freed, Place::Credit),
            transfer(money, line, Place::PayoutDue),
            transfer(money, Place::PayoutDue, Place::PaidOut { at, payout: Money::OWN }),
        ],
        counted: vec![Counted { bill, on_time: false, lost }],
        ..old
    }
}

/// News that counts from later than its own day.
#[cfg(test)]
pub(crate) fn clamped(customer: crate::domain::model::ids::CustomerIx) -> crate::domain::state::event::Event {
    let books = Settlement { counts_from: Some(Millis(1_795_423_450_000)), ..example(customer) };
    crate::domain::state::event::Event::Settled { cause: Cause::Repayment(payment()), books: Box::new(books) }
}

#[cfg(test)]
pub(crate) fn payment() -> Payment {
    let id = OfficeId::new("P-1").unwrap();
    Payment { id, amount: 300.into(), paid_at: Millis(1_795_423_400_000), slip: Some(123_456_789_012) }
}

#[cfg(test)]
pub(crate) fn payout() -> Cause {
    let id = OfficeId::new("O-1").unwrap();
    Cause::Payout { id, amount: 700.into(), bank_reference: Some("2026-11/0042".into()), staff: None }
}

#[cfg(test)]
pub(crate) fn staff() -> Staff {
    Staff { by: "tanaka".into(), key: "office".into(), reason: "口座なし".into() }
}

#[cfg(test)]
pub(crate) fn bounced() -> Cause {
    let payout = OfficeId::new("O-1").unwrap();
    Cause::Bounced { payout, amount: 700.into(), staff: Box::new(staff()) }
}

#[cfg(test)]
pub(crate) fn notices() -> Vec<Notice> {
    use crate::domain::model::payment::PaymentMethod;
    use crate::domain::model::time::{Date, Month};
    let (month, bill) = (Month::parse("2026-11").unwrap(), BillKey::Np(Lsn(5)));
    let due = Date::new(2026, 12, 10).unwrap();
    let charged = Lines { principal: 1_980.into(), bill_fee: 209.into(), ..Lines::default() };
    let owed = Lines { principal: 1_000.into(), ..charged };
    let (kind, number, expires_at) = (SlipKind::AppBarcode, 123_456_789_012, Millis(1_795_423_500_000));
    let slip = Some(SlipIssued { kind, number, lines: owed, expires_at });
    vec![
        Notice::BillFixed { month, method: PaymentMethod::Konbini, due, charged, owed, slip },
        Notice::DueSoon { bill, due, owed },
        Notice::FellOverdue { bill, due, owed },
        Notice::OverdueEnded { bill },
        Notice::Blocked,
        Notice::BlockLifted,
    ]
}

#[cfg(test)]
pub(crate) fn frozen() -> Note {
    Note::Frozen { id: OfficeId::new("Z-1").unwrap() }
}

#[cfg(test)]
pub(crate) fn unfrozen() -> Note {
    let staff = Staff { by: "tanaka".into(), key: "office".into(), reason: "見つかった".into() };
    Note::Unfrozen { id: OfficeId::new("Z-1").unwrap(), staff: Box::new(staff) }
}

/// What the office told from its beginning on, with who told it and why.
#[cfg(test)]
pub(crate) fn told_by_staff(
    customer: crate::domain::model::ids::CustomerIx,
) -> Vec<crate::domain::state::event::Event> {
    use crate::domain::model::time::Month;
    use crate::domain::state::event::Event;
    let (id, amount, month) = (payment().id, 700.into(), Month::parse("2026-11").unwrap());
    let staff = || Some(Box::new(staff()));
    let causes = [
        Cause::Damages { id, month, amount, staff: staff() },
        Cause::Payout { id, amount, bank_reference: None, staff: staff() },
        Cause::Withdrawn { id, staff: staff() },
        Cause::NpDamages { id, order: Lsn(9), amount, staff: staff() },
    ];
    let notes = [
        Note::Withdrawn { id, staff: staff() },
        Note::Blocked { id, reason: "電話番号".into(), by: Some("tanaka".into()), key: Some("office".into()) },
        Note::Released { id, staff: staff() },
        Note::Blocked { id, reason: "電話番号".into(), by: None, key: None },
        Note::Released { id, staff: None },
    ];
    let books = || Box::new(Settlement::nothing(customer));
    let settled = causes.into_iter().map(|cause| Event::Settled { cause, books: books() });
    settled.chain(notes.into_iter().map(|note| Event::Noted { customer, note })).collect()
}

/// Each correction once, the first with all that only corrections record.
#[cfg(test)]
pub(crate) fn corrections(customer: crate::domain::model::ids::CustomerIx) -> Vec<crate::domain::state::event::Event> {
    use crate::domain::model::time::Date;
    let (id, amount, at) = (payment().id, 700.into(), Millis(1_795_423_500_000));
    let (bill, date) = (BillKey::Np(Lsn(5)), Date::MAX);
    let adjusted = [
        Adjusted::BillFeeWaived(amount),
        Adjusted::LateFeeWaived(LateFee { date, amount }),
        Adjusted::DamagesReversed(Posted { fact: Lsn(4), at, amount }),
        Adjusted::WrittenOff,
        Adjusted::Released,
        Adjusted::CreditApplied(amount),
    ];
    let money = Money { fact: Lsn(6), day: at, on_old_slip: false };
    let record = Record { on_time_bills: 1, purchases: 2, months_active: 3, latest: None };
    let lost = Some(Lost { at, from: 3, to: 2, before: record, after: Record::default() });
    let mut charges: Vec<_> = adjusted.into_iter().map(|what| Charge::Adjusted { bill, what }).collect();
    charges.push(Charge::Released { bill, release: Money::OWN, at, lines: Lines::of(Line::Damages, amount) });
    let all = Settlement {
        charges,
        transfers: vec![
            Transfer {
                money,
                from: Place::Credit,
                to: Place::Reversed { at, reversal: Money::OWN, of: Lsn(6) },
                amount,
            },
            Transfer { money, from: Place::Bounced { at, bounce: Lsn(7), payout: Lsn(3) }, to: Place::Credit, amount },
        ],
        counted: vec![Counted { bill, on_time: false, lost }],
        ..Settlement::nothing(customer)
    };
    let corrections = [
        Correction::ReverseRepayment { repayment: id, amount: Some(amount) },
        Correction::WaiveFee { id, fee: Fee { bill, late: Some(date) } },
        Correction::ReverseDamages { posting: id },
        Correction::WriteOff { id, bill },
        Correction::ReleaseWriteOff { id },
        Correction::ApplyCredit { id, amount, bill },
    ];
    let staff = Staff { by: "tanaka".into(), key: "office".into(), reason: "二重入金".into() };
    let settled = |(place, correction)| {
        let books = if place == 0 { all.clone() } else { Settlement::nothing(customer) };
        let cause = Cause::Corrected { correction, amount, staff: Box::new(staff.clone()) };
        crate::domain::state::event::Event::Settled { cause, books: Box::new(books) }
    };
    corrections.into_iter().enumerate().map(settled).collect()
}

#[cfg(test)]
pub(crate) fn note() -> Note {
    let id = OfficeId::new("N-1").unwrap();
    Note::Pending { id, amount: 300.into(), paid_at: Millis(1), expires_at: Millis(2) }
}

#[cfg(test)]
pub(crate) fn recall() -> Recall {
    use crate::domain::model::purchase::Channel;
    use crate::domain::model::time::{Date, Month};
    let month = Month::parse("2026-09").unwrap();
    let mut bill = Bill { due: Some(month.next().day(10)), fee: Some(209.into()), ..Bill::empty_month(month) };
    bill.charge(Channel::Online, Millis(1_790_000_000_000), 1_000.into());
    let at = Millis(1_791_000_000_000);
    let money = Money { fact: Lsn(6), day: at, on_old_slip: false };
    let lines = Lines { principal: 1_000.into(), bill_fee: 209.into(), ..Lines::default() };
    bill.changes.add(Change { at, kind: ChangeKind::Paid, money, lines });
    let part = Outflow { money, amount: 300.into(), due: 100.into(), at, fact: Lsn(8), why: Why::PaidOut };
    Recall { stories: vec![Story::Bill(Arc::new(bill)), Story::Outflow(vec![part])], let_go: Date::new(2026, 7, 31) }
}

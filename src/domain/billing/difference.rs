//! The difference between the books before and after, as a fact records it: what is charged and taken back, and which
//! money goes from where to where. Nothing is recorded of what stays as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::account::Account;
use super::bill::{Bill, Change, ChangeKind, Posted};
use super::settlement::{Charge, Place, Transfer};
use super::sums::Money;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::time::Date;

/// The bills that are not the same any more, with what they were.
fn changed<'a>(before: &'a Account, after: &'a Account) -> impl Iterator<Item = (Option<&'a Bill>, &'a Arc<Bill>)> {
    let mut old = before.listed_bills().iter().peekable();
    after.listed_bills().iter().filter_map(move |bill| {
        while old.next_if(|old| old.key < bill.key).is_some() {}
        let old = old.next_if(|old| old.key == bill.key);
        let is_same = old.is_some_and(|old| Arc::ptr_eq(old, bill));
        (!is_same).then_some((old.map(AsRef::as_ref), bill))
    })
}

/// What is owed more, or less; a bill that is issued before what else is charged on it.
pub(super) fn charges(before: &Account, after: &Account) -> Vec<Charge> {
    let mut charges = Vec::new();
    for (old, bill) in changed(before, after) {
        let key = bill.key;
        if let (BillKey::Month(month), Some(method), Some(due), Some(fee)) = (key, bill.billed_by, bill.due, bill.fee) {
            if old.is_none_or(|old| !old.is_issued()) {
                charges.push(Charge::Issued { month, method, due, fee, principal: bill.principal_at_issue() });
            }
            if bill.is_fee_waived && old.is_none_or(|old| !old.is_fee_waived) {
                charges.push(Charge::BillFeeWaived { month, amount: fee });
            }
        }
        late_fees(old, bill, &mut charges);
        damages(old, bill, &mut charges);
    }
    charges
}

fn late_fees(old: Option<&Bill>, bill: &Bill, charges: &mut Vec<Charge>) {
    let key = bill.key;
    for late in old.map_or(&[][..], |old| &old.late_fees) {
        let amount = late.amount.minus_or_zero(bill.late_fee_of(late.date).unwrap_or_default());
        if !amount.is_zero() {
            charges.push(Charge::LateFeeTakenBack { bill: key, date: late.date, amount });
        }
    }
    for late in &bill.late_fees {
        let before = old.and_then(|old| old.late_fee_of(late.date)).unwrap_or_default();
        let amount = late.amount.minus_or_zero(before);
        if !amount.is_zero() {
            charges.push(Charge::LateFee { bill: key, date: late.date, amount });
        }
    }
}

fn damages(old: Option<&Bill>, bill: &Bill, charges: &mut Vec<Charge>) {
    let key = bill.key;
    let find = |list: &[Posted], fact| list.iter().find(|posted| posted.fact == fact).map(|posted| posted.amount);
    let before = old.map_or(&[][..], |old| &old.damages);
    for posted in before {
        let amount = posted.amount.minus_or_zero(find(&bill.damages, posted.fact).unwrap_or_default());
        if !amount.is_zero() {
            charges.push(Charge::DamagesTakenBack { bill: key, posted: posted.fact, amount });
        }
    }
    for posted in bill.damages.iter().filter(|posted| find(before, posted.fact).is_none()) {
        charges.push(Charge::Damages { bill: key, amount: posted.amount });
    }
}

/// How much more and how much less of one money is at each place.
struct Moves {
    money: Money,
    places: BTreeMap<Place, (Yen, Yen)>,
}

impl Moves {
    /// Where more lies than before (or from where less came), and where less; bills by their due date, then the rest.
    fn sides(self, due: &impl Fn(BillKey) -> Date) -> [Vec<(Place, Yen)>; 2] {
        let mut places: Vec<_> = self.places.into_iter().collect();
        places.sort_by_key(|(place, _)| (place.bill().map_or(Date::MAX, due), place.bill().is_none()));
        let side = |more: fn(&(Yen, Yen)) -> Yen| {
            let amounts = places.iter().map(|(place, both)| (*place, more(both)));
            amounts.filter(|(_, amount)| !amount.is_zero()).collect()
        };
        [side(|(more, less)| more.minus_or_zero(*less)), side(|(more, less)| less.minus_or_zero(*more))]
    }
}

/// Which money went where, the oldest first. What came in with this fact is from `origin`.
pub(super) fn transfers(
    before: &Account,
    after: &Account,
    origin: Place,
    due: impl Fn(BillKey) -> Date,
) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    for moves in moves(before, after) {
        let money = moves.money;
        let [into, mut out_of] = moves.sides(&due);
        let sum = |list: &[(Place, Yen)]| list.iter().map(|(_, amount)| *amount).sum::<Yen>();
        let came = sum(&into).minus_or_zero(sum(&out_of));
        if !came.is_zero() {
            out_of.push((origin, came));
        }
        let mut sources = out_of.into_iter();
        let mut source = sources.next();
        for (to, amount) in into {
            let mut left = amount;
            while let Some((from, there)) = source.as_mut().filter(|_| !left.is_zero()) {
                let part = left.min(*there);
                transfers.push(Transfer { money, from: *from, to, amount: part });
                left -= part;
                *there -= part;
                if there.is_zero() {
                    source = sources.next();
                }
            }
        }
    }
    transfers
}

/// What is not where it was, the oldest money first.
fn moves(before: &Account, after: &Account) -> Vec<Moves> {
    let mut all: BTreeMap<Lsn, Moves> = BTreeMap::new();
    let mut add = |money: Money, place: Place, amount: Yen, is_more: bool| {
        let moves = all.entry(money.fact).or_insert_with(|| Moves { money, places: BTreeMap::new() });
        let (more, less) = moves.places.entry(place).or_default();
        *(if is_more { more } else { less }) += amount;
    };
    for (old, bill) in changed(before, after) {
        let (was, is) = differing(old.map_or(&[], |old| old.changes.as_slice()), bill.changes.as_slice());
        for (changes, is_now) in [(was, false), (is, true)] {
            on_bill(bill.key, changes, |money, place, amount| {
                // What became free on a bill came from there.
                let is_source = matches!(place, Place::Freed { .. });
                add(money, place, amount, is_now != is_source);
            });
        }
    }
    for (account, is_now) in [(before, false), (after, true)] {
        beside_bills(account, |money, place, amount| add(money, place, amount, is_now));
    }
    let mut all: Vec<Moves> = all.into_values().collect();
    all.sort_by_key(|moves| moves.money.age());
    all
}

/// Two lists without what they begin and end with alike: a bill may have thousands of changes.
fn differing<'c>(was: &'c [Change], is: &'c [Change]) -> (&'c [Change], &'c [Change]) {
    let same = was.iter().zip(is).take_while(|(was, is)| was == is).count();
    let (was, is) = (&was[same..], &is[same..]);
    let same = was.iter().rev().zip(is.iter().rev()).take_while(|(was, is)| was == is).count();
    (&was[..was.len() - same], &is[..is.len() - same])
}

fn on_bill(key: BillKey, changes: &[Change], mut add: impl FnMut(Money, Place, Yen)) {
    for change in changes.iter().filter(|change| change.kind != ChangeKind::Refunded) {
        let at = change.at;
        for (line, amount) in change.parts() {
            let place = match change.kind {
                ChangeKind::Freed => Place::Freed { bill: key, line, at },
                ChangeKind::Paid | ChangeKind::Refunded => Place::Line { bill: key, line, at },
            };
            add(change.money, place, amount);
        }
    }
}

fn beside_bills(account: &Account, mut add: impl FnMut(Money, Place, Yen)) {
    for sum in account.sums() {
        add(sum.money, Place::Credit, sum.credit());
        add(sum.money, Place::PayoutDue, sum.due);
    }
    for paid in account.debt.iter().flat_map(|debt| &debt.paid_out) {
        add(paid.money, Place::PaidOut { at: paid.at, payout: paid.payout }, paid.amount);
    }
}

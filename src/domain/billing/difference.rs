//! The difference between the books before and after, as a fact records it: what is charged and taken back, and which
//! money goes from where to where. Nothing is recorded of what stays as it was.

use std::sync::Arc;

use super::account::Account;
use super::adjustments::{Adjusted, Adjustment};
use super::bill::{Bill, Change, ChangeKind, Posted};
use super::lateness::BillRules;
use super::outflows::Outflow;
use super::settlement::{Charge, Place, Transfer};
use super::sums::Money;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Lines};
use crate::domain::model::time::{Date, Millis};

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
            if bill.is_fee_refunded && old.is_none_or(|old| !old.is_fee_refunded) {
                charges.push(Charge::BillFeeWaived { month, amount: fee });
            }
        }
        let was = |of: &&Adjustment| old.is_some_and(|old| old.adjustments().iter().any(|was| was.fact == of.fact));
        let new: Vec<Adjusted> = bill.adjustments().iter().filter(|of| !was(of)).map(|of| of.what).collect();
        late_fees(old, (bill, &new), &mut charges);
        damages(old, (bill, &new), &mut charges);
        charges.extend(new.iter().map(|what| Charge::Adjusted { bill: key, what: *what }));
        released(old, bill, &mut charges);
    }
    charges
}

/// What each release has released, where that is not what it was.
fn released(old: Option<&Bill>, bill: &Bill, charges: &mut Vec<Charge>) {
    let key = bill.key;
    let was: Vec<&Change> = old.map_or_else(Vec::new, |old| old.changes.released().collect());
    let is: Vec<&Change> = bill.changes.released().collect();
    let charge = |of: &Change, lines| Charge::Released { bill: key, release: of.money.fact, at: of.at, lines };
    let gone = was.iter().filter(|was| is.iter().all(|is| is.money.fact != was.money.fact));
    charges.extend(gone.map(|of| charge(of, Lines::default())));
    charges.extend(is.iter().filter(|is| !was.contains(is)).map(|of| charge(of, of.lines)));
}

/// A fee that is waived now was charged until now.
fn late_fees(old: Option<&Bill>, (bill, new): (&Bill, &[Adjusted]), charges: &mut Vec<Charge>) {
    let key = bill.key;
    let waived =
        || new.iter().filter_map(|what| if let Adjusted::LateFeeWaived(late) = what { Some(late) } else { None });
    let is_now = |date: Date| {
        let waived = || waived().find(|late| late.date == date).map(|late| late.amount);
        bill.late_fee_of(date).or_else(waived).unwrap_or_default()
    };
    for late in old.map_or(&[][..], |old| &old.late_fees) {
        let amount = late.amount.minus_or_zero(is_now(late.date));
        if !amount.is_zero() {
            charges.push(Charge::LateFeeTakenBack { bill: key, date: late.date, amount });
        }
    }
    for late in bill.late_fees.iter().chain(waived()) {
        let before = old.and_then(|old| old.late_fee_of(late.date)).unwrap_or_default();
        let amount = late.amount.minus_or_zero(before);
        if !amount.is_zero() {
            charges.push(Charge::LateFee { bill: key, date: late.date, amount });
        }
    }
}

/// Damages that are taken back by staff now were owed until now.
fn damages(old: Option<&Bill>, (bill, new): (&Bill, &[Adjusted]), charges: &mut Vec<Charge>) {
    let key = bill.key;
    let find = |list: &[Posted], fact| list.iter().find(|posted| posted.fact == fact).map(|posted| posted.amount);
    let reversed =
        new.iter().filter_map(|what| if let Adjusted::DamagesReversed(of) = what { Some(*of) } else { None });
    let is_now: Vec<Posted> = bill.damages.iter().copied().chain(reversed).collect();
    let before = old.map_or(&[][..], |old| &old.damages);
    for posted in before {
        let amount = posted.amount.minus_or_zero(find(&is_now, posted.fact).unwrap_or_default());
        if !amount.is_zero() {
            charges.push(Charge::DamagesTakenBack { bill: key, posted: posted.fact, amount });
        }
    }
    for posted in bill.damages.iter().filter(|posted| find(before, posted.fact).is_none()) {
        charges.push(Charge::Damages { bill: key, amount: posted.amount });
    }
}

/// How much more and how much less of one money is at a place.
#[derive(Clone, Copy)]
struct Move {
    money: Money,
    place: Place,
    /// When the bill there is due; last of all what is no bill.
    due: Date,
    more: Yen,
    less: Yen,
}

/// What is of one money: where more lies than before (or from where less came), and where less; bills by their due date,
/// then the rest.
fn sides(moves: &[Move]) -> [Vec<(Place, Yen)>; 2] {
    let side = |amount: fn(&Move) -> Yen| {
        let amounts = moves.iter().map(|of| (of.place, amount(of)));
        amounts.filter(|(_, amount)| !amount.is_zero()).collect()
    };
    [side(|of| of.more.minus_or_zero(of.less)), side(|of| of.less.minus_or_zero(of.more))]
}

/// Which money went where, the oldest first. What came in with this fact is from `origin`.
pub(super) fn transfers(
    (before, after): (&Account, &Account),
    origin: Place,
    by: &BillRules<'_>,
    today: Date,
) -> Vec<Transfer> {
    let all = moves(before, after, by, today);
    let mut transfers = Vec::with_capacity(all.len());
    for moves in all.chunk_by(|a, b| a.money.fact == b.money.fact) {
        let Some(Move { money, .. }) = moves.first().copied() else { continue };
        let [into, mut out_of] = sides(moves);
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
fn moves(before: &Account, after: &Account, by: &BillRules<'_>, today: Date) -> Vec<Move> {
    let mut all: Vec<Move> = Vec::with_capacity(2 * changed(before, after).count());
    let mut add = |money: Money, (place, due): (Place, Date), amount: Yen, is_more: bool| {
        let (more, less) = if is_more { (amount, Yen::ZERO) } else { (Yen::ZERO, amount) };
        all.push(Move { money, place, due, more, less });
    };
    for (old, bill) in changed(before, after) {
        let (was, is) = differing(old.map_or(&[], |old| old.changes.as_slice()), bill.changes.as_slice());
        let due = bill.due(by);
        for (changes, is_now) in [(was, false), (is, true)] {
            on_bill(bill.key, changes, |money, place, amount| {
                // What became free on a bill came from there.
                let is_source = matches!(place, Place::Freed { .. });
                add(money, (place, due), amount, is_now != is_source);
            });
        }
    }
    let keeps_from = before.keeps_from(today);
    let is_kept = |outflow: &&Outflow| outflow.is_kept(today, keeps_from);
    for (account, is_now) in [(before, false), (after, true)] {
        beside_bills(account, is_kept, |money, place, amount| {
            // What came back came from there.
            let is_source = matches!(place, Place::Bounced { .. });
            add(money, (place, Date::MAX), amount, is_now != is_source);
        });
    }
    // Unknown money is one sum, whatever day its parts say.
    let age = |money: Money| if money.is_known() { money.age() } else { Money::unknown(Millis::default()).age() };
    all.sort_unstable_by_key(|of| (age(of.money), of.due, of.place));
    all.dedup_by(|next, first| {
        let is_same = next.money.fact == first.money.fact && next.place == first.place;
        if is_same {
            first.more += next.more;
            first.less += next.less;
        }
        is_same
    });
    all.retain(|of| of.more != of.less);
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
    for change in changes.iter().filter(|change| change.kind.is_of_money()) {
        let at = change.at;
        for (line, amount) in change.parts() {
            let place = match change.kind {
                ChangeKind::Freed => Place::Freed { bill: key, line, at },
                _ => Place::Line { bill: key, line, at },
            };
            add(change.money, place, amount);
        }
    }
}

fn beside_bills(account: &Account, is_kept: impl Fn(&&Outflow) -> bool, mut add: impl FnMut(Money, Place, Yen)) {
    for sum in account.sums() {
        add(sum.money, Place::Credit, sum.credit());
        add(sum.money, Place::PayoutDue, sum.due);
    }
    for outflow in account.debt.iter().flat_map(|debt| &debt.outflows).filter(is_kept) {
        add(outflow.money, outflow.place(), outflow.amount);
    }
}

//! Where the money of each payment lies now. The books name money by the record that brought it, and what a refund, a waiver or
//! a reversal sets free on a bill by that record: here it is followed back to the payments. What becomes free on a line is
//! of the payment that came there last; a reversal takes back its own payment's first. Where it had to take another's, that one
//! has what the payment left elsewhere: so each payment is always told in full, and no yen twice.

use std::collections::{BTreeMap, BTreeSet};

use super::settlement::{Place, Transfer};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line};
use crate::domain::model::time::Millis;

/// Where some of a payment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    Credit,
    PayoutDue,
    Line(BillKey, Line),
    PaidOut,
    /// It was taken back.
    Reversed,
}

/// So much of some money came to a spot, or left it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The record that brought or freed the money.
    pub money: Lsn,
    /// The money's own day.
    pub day: Millis,
    pub spot: Spot,
    /// From when it lies on a line, or was free there.
    pub at: Millis,
    pub amount: Yen,
    pub is_in: bool,
}

impl Step {
    /// Both ends of a transfer, as far as they say where money lies.
    pub fn of(transfer: &Transfer) -> impl Iterator<Item = Self> + use<> {
        let Transfer { money, from, to, amount } = *transfer;
        let step = move |place: Place, is_in| {
            let (spot, at) = match place {
                Place::Line { bill, line, at } | Place::Freed { bill, line, at } => (Spot::Line(bill, line), at),
                Place::Credit => (Spot::Credit, Millis(0)),
                Place::PayoutDue => (Spot::PayoutDue, Millis(0)),
                Place::Reversed { .. } => (Spot::Reversed, Millis(0)),
                Place::Received | Place::Refund | Place::PaidOut { .. } | Place::Bounced { .. } => return None,
            };
            Some(Self { money: money.fact, day: money.day, spot, at, amount, is_in })
        };
        step(from, false).into_iter().chain(step(to, true))
    }
}

/// A payment, and what of it was taken back by which records.
#[derive(Clone, Debug)]
pub struct Came {
    pub fact: Lsn,
    pub amount: Yen,
    pub reversals: Vec<(Lsn, Yen)>,
}

/// Money of no payment that is known: an older version did not tell it apart.
pub const NOBODY: Lsn = Lsn(0);

/// Money by the payment that it is of.
type Parts = Vec<(Lsn, Yen)>;

/// How much of each payment lies where.
#[derive(Debug, Default)]
pub struct Whereabouts(BTreeMap<(Lsn, Spot), Yen>);

impl Whereabouts {
    pub fn new(payments: &[Came], steps: impl IntoIterator<Item = Step>) -> Self {
        let mut nets: BTreeMap<(Lsn, Spot, Millis), (Yen, Yen)> = BTreeMap::new();
        let mut days: BTreeMap<Lsn, Millis> = BTreeMap::new();
        for Step { money, day, spot, at, amount, is_in } in steps {
            days.insert(money, day);
            let at = if matches!(spot, Spot::Line(..)) { at } else { Millis(0) };
            let (into, out) = nets.entry((money, spot, at)).or_default();
            *(if is_in { into } else { out }) += amount;
        }
        let mut played = Played::new(payments);
        let day = |money: Lsn| days.get(&money).copied().unwrap_or_default();
        played.play(nets.iter().filter_map(|(key, net)| on_line(*key, *net, day(key.0))).collect());
        let mut all = Self::default();
        for ((bill, line), parts) in played.lines {
            parts.into_iter().for_each(|(of, part)| all.add(of, Spot::Line(bill, line), part));
        }
        for (money, mut purse) in played.purses {
            for spot in [Spot::PayoutDue, Spot::Credit, Spot::Reversed] {
                let (into, out) = nets.get(&(money, spot, Millis(0))).copied().unwrap_or_default();
                let parts = take(&mut purse, into.minus_or_zero(out), None);
                parts.into_iter().for_each(|(of, part)| all.add(of, spot, part));
            }
            // Where it went otherwise no entry says.
            purse.into_iter().for_each(|(of, part)| all.add(of, Spot::PaidOut, part));
        }
        let reversed = |came: &Came| (came.fact, came.reversals.iter().map(|(_, amount)| *amount).sum());
        all.agree(&payments.iter().map(reversed).collect());
        all
    }

    /// Of one payment.
    pub fn of(&self, payment: Lsn) -> impl Iterator<Item = (Spot, Yen)> {
        self.0.range((payment, Spot::Credit)..=(payment, Spot::Reversed)).map(|((_, spot), amount)| (*spot, *amount))
    }

    fn get(&self, of: Lsn, spot: Spot) -> Yen {
        self.0.get(&(of, spot)).copied().unwrap_or_default()
    }

    fn add(&mut self, of: Lsn, spot: Spot, amount: Yen) {
        if !amount.is_zero() {
            *self.0.entry((of, spot)).or_default() += amount;
        }
    }

    /// Takes up to so much off a spot; says how much.
    fn take(&mut self, of: Lsn, spot: Spot, most: Yen) -> Yen {
        let Some(there) = self.0.get_mut(&(of, spot)) else { return Yen::ZERO };
        let part = most.min(*there);
        *there -= part;
        if there.is_zero() {
            self.0.remove(&(of, spot));
        }
        part
    }

    /// As much of each payment is taken back as its reversals say, whosever money they found in its place.
    fn agree(&mut self, reversed: &BTreeMap<Lsn, Yen>) {
        let wanted = |of: Lsn| reversed.get(&of).copied().unwrap_or_default();
        let owners: BTreeSet<Lsn> = self.0.keys().map(|(of, _)| *of).collect();
        for (&of, &amount) in reversed.iter().filter(|(_, amount)| !amount.is_zero()) {
            let mut need = amount.minus_or_zero(self.get(of, Spot::Reversed));
            for &other in owners.iter().filter(|other| **other != of) {
                let over = self.get(other, Spot::Reversed).minus_or_zero(wanted(other));
                need -= self.swap(of, (other, Spot::Reversed), need.min(over));
            }
            let own = self.take(of, Spot::PaidOut, need);
            self.add(of, Spot::Reversed, own);
            need -= own;
            for &other in owners.iter().filter(|other| **other != of) {
                let over = self.get(other, Spot::PaidOut);
                need -= self.swap(of, (other, Spot::PaidOut), need.min(over));
            }
        }
        for of in owners {
            let over = self.get(of, Spot::Reversed).minus_or_zero(wanted(of));
            let over = self.take(of, Spot::Reversed, over);
            self.add(of, Spot::PaidOut, over);
        }
    }

    /// Up to so much of what is another's at a spot was taken back of this payment, and the other has what this one has
    /// elsewhere; says how much.
    fn swap(&mut self, of: Lsn, (other, spot): (Lsn, Spot), most: Yen) -> Yen {
        let mut left = most;
        let elsewhere: Vec<(Spot, Yen)> = self.of(of).filter(|(spot, _)| *spot != Spot::Reversed).collect();
        for (place, there) in elsewhere {
            let part = there.min(left).min(self.get(other, spot));
            let part = self.take(of, place, part);
            self.take(other, spot, part);
            self.add(other, place, part);
            self.add(of, Spot::Reversed, part);
            left -= part;
        }
        most - left
    }
}

/// Some money is put on a line, or becomes free there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Move {
    at: Millis,
    /// Of one moment the oldest money first, whenever it was heard of.
    day: Millis,
    money: Lsn,
    /// What a record frees it frees before it puts it elsewhere.
    is_put_on: bool,
    line: (BillKey, Line),
    amount: Yen,
}

fn on_line((money, spot, at): (Lsn, Spot, Millis), (into, out): (Yen, Yen), day: Millis) -> Option<Move> {
    let Spot::Line(bill, line) = spot else { return None };
    let (is_put_on, amount) = if into > out { (true, into - out) } else { (false, out - into) };
    (!amount.is_zero()).then_some(Move { at, day, money, is_put_on, line: (bill, line), amount })
}

/// Where money is while the moves are played: with the record of its name, or on a line.
#[derive(Default)]
struct Played {
    purses: BTreeMap<Lsn, Parts>,
    lines: BTreeMap<(BillKey, Line), Parts>,
    /// The payments that records have taken back.
    reversed: BTreeMap<Lsn, Lsn>,
}

impl Played {
    fn new(payments: &[Came]) -> Self {
        let purses = payments.iter().map(|came| (came.fact, vec![(came.fact, came.amount)]));
        let reversed = payments.iter().flat_map(|came| came.reversals.iter().map(|(by, _)| (*by, came.fact)));
        Self { purses: purses.collect(), reversed: reversed.collect(), ..Self::default() }
    }

    /// All in their order. What happens in one moment has no order of its own, so a move waits until its money is there.
    fn play(&mut self, mut moves: Vec<Move>) {
        moves.sort_unstable();
        let mut waiting: Vec<Move> = Vec::new();
        for next in moves {
            waiting.push(next);
            while let Some(ready) = waiting.iter().position(|next| self.is_there(next)) {
                self.make(waiting.remove(ready));
            }
        }
        waiting.into_iter().for_each(|next| self.make(next));
    }

    fn is_there(&self, next: &Move) -> bool {
        let from = if next.is_put_on { self.purses.get(&next.money) } else { self.lines.get(&next.line) };
        let there: Yen = from.into_iter().flatten().map(|(_, part)| *part).sum();
        there >= next.amount || next.is_put_on && next.money == NOBODY
    }

    fn make(&mut self, Move { money, is_put_on, line, amount, .. }: Move) {
        let (purse, line) = (self.purses.entry(money).or_default(), self.lines.entry(line).or_default());
        let (from, to) = if is_put_on { (purse, line) } else { (line, purse) };
        let parts = take(from, amount, self.reversed.get(&money).copied());
        to.extend(parts);
    }
}

/// Takes so much: what is of `first` before the rest, the latest before the others. What is not there is nobody's.
fn take(from: &mut Parts, amount: Yen, first: Option<Lsn>) -> Parts {
    let mut left = amount;
    let mut taken = Parts::new();
    for is_first in [true, false] {
        for (of, there) in from.iter_mut().rev().filter(|(of, _)| (Some(*of) == first) == is_first) {
            let part = left.min(*there);
            *there -= part;
            left -= part;
            taken.push((*of, part));
        }
    }
    taken.push((NOBODY, left));
    for parts in [from, &mut taken] {
        parts.retain(|(_, part)| !part.is_zero());
    }
    taken
}

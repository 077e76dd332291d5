//! What happened to a bill since it was issued: money put on it and taken off again, and refunds, in the order in which
//! they count. The sums are kept beside the list, so that what is paid of a bill costs the same to know however many
//! payments it took.

use smallvec::SmallVec;

use super::sums::Money;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{Line, Lines};
use crate::domain::model::time::Millis;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    Paid = 1,
    /// Money that had been paid is free from this moment on, because a refund made it too much.
    Freed,
    Refunded,
    /// Owed no longer, though nobody paid it.
    Released,
}

impl ChangeKind {
    pub const ALL: [Self; 4] = [Self::Paid, Self::Freed, Self::Refunded, Self::Released];

    /// Whether it says where money lies.
    pub const fn is_of_money(self) -> bool {
        matches!(self, Self::Paid | Self::Freed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// From when it counts: the day the customer paid, not the day we heard.
    pub at: Millis,
    pub kind: ChangeKind,
    /// Which money: that was put on the bill, or that became free. Of a refund, its own fact.
    pub money: Money,
    pub lines: Lines,
}

/// All changes of one bill, by the moment from which they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Most bills are paid at once.
    list: SmallVec<[Change; 1]>,
    put_on: Lines,
    freed: Lines,
    refunded: Yen,
}

impl Changes {
    /// Adds a change at its place: by its moment, then by its record. What one money does at one moment is one change.
    pub fn add(&mut self, change: Change) {
        match change.kind {
            ChangeKind::Paid | ChangeKind::Released => self.put_on += change.lines,
            ChangeKind::Freed => self.freed += change.lines,
            ChangeKind::Refunded => self.refunded += change.lines.principal,
        }
        if change.kind.is_of_money()
            && let Some(same) = self.find(change.kind, change.money, change.at)
        {
            same.lines += change.lines;
            return;
        }
        let place = |change: &Change| (change.at, change.money.fact, change.kind as u8);
        // Most are heard in the order in which they count.
        let at = match self.list.last() {
            Some(last) if place(last) > place(&change) => {
                self.list.partition_point(|other| place(other) <= place(&change))
            }
            _ => self.list.len(),
        };
        self.list.insert(at, change);
    }

    /// Undoes a part of what money did at one moment; nothing where it is not there.
    pub fn take(&mut self, change: Change) {
        let Change { at, kind, money, lines } = change;
        let Some(same) = self.find(kind, money, at) else { return };
        same.lines -= lines;
        *(if kind == ChangeKind::Paid { &mut self.put_on } else { &mut self.freed }) -= lines;
        self.list.retain(|change| change.kind == ChangeKind::Refunded || change.lines != Lines::default());
    }

    fn find(&mut self, kind: ChangeKind, money: Money, at: Millis) -> Option<&mut Change> {
        let from = self.list.partition_point(|change| change.at < at);
        let of_moment = self.list.iter_mut().skip(from).take_while(|change| change.at == at);
        of_moment.into_iter().find(|change| change.kind == kind && change.money.fact == money.fact)
    }

    /// Where those begin that count from later than `at`.
    fn after(&self, at: Millis) -> usize {
        if self.list.last().is_none_or(|last| last.at <= at) {
            return self.list.len();
        }
        self.list.partition_point(|change| change.at <= at)
    }

    /// Those that count from later than `at`.
    pub fn later(&self, at: Millis) -> &[Change] {
        self.list.get(self.after(at)..).unwrap_or_default()
    }

    /// Takes off the money that was put on or became free later than `at`, but what an older version put there: it does
    /// not know which money that was.
    pub fn roll_back(&mut self, at: Millis) -> SmallVec<[Change; 1]> {
        let moves = |change: &Change| change.at > at && change.kind != ChangeKind::Refunded && change.money.is_known();
        let gone: SmallVec<[Change; 1]> = self.list.iter().copied().filter(moves).collect();
        if !gone.is_empty() {
            let kept = self.list.iter().copied().filter(|change| !moves(change));
            *self = kept.collect();
        }
        gone
    }

    pub fn as_slice(&self) -> &[Change] {
        &self.list
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.list.iter()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Paid or released of each line, less what of it became free.
    pub fn covered(&self) -> Lines {
        let mut covered = self.put_on;
        covered -= self.freed;
        covered
    }

    /// Of that, what was paid.
    pub fn paid(&self) -> Lines {
        let mut paid = self.covered();
        self.released().for_each(|change| paid -= change.lines);
        paid
    }

    /// What was released.
    pub fn released(&self) -> impl Iterator<Item = &Change> {
        self.list.iter().filter(|change| change.kind == ChangeKind::Released)
    }

    /// Says anew how much the release of a record has released.
    pub(super) fn set_released(&mut self, released: Change) {
        let is_it = |change: &Change| change.kind == ChangeKind::Released && change.money.fact == released.money.fact;
        if self.list.iter().any(is_it) {
            *self = self.list.iter().copied().filter(|change| !is_it(change)).collect();
        }
        if released.lines != Lines::default() {
            self.add(released);
        }
    }

    pub fn covered_of(&self, line: Line) -> Yen {
        self.put_on.get(line) - self.freed.get(line)
    }

    pub fn refunded(&self) -> Yen {
        self.refunded
    }

    /// Refunded after a moment, and in that moment by later records than this one.
    pub fn refunded_after(&self, at: Millis, upto: Lsn) -> Yen {
        let later = self.list.iter().rev().take_while(|change| (change.at, change.money.fact) > (at, upto));
        later.filter(|change| change.kind == ChangeKind::Refunded).map(|change| change.lines.principal).sum()
    }

    /// The latest refund until then.
    pub fn latest_refund(&self, at: Millis, upto: Lsn) -> Option<&Change> {
        let until = self.list.iter().rev().skip_while(|change| (change.at, change.money.fact) > (at, upto));
        until.into_iter().find(|change| change.kind == ChangeKind::Refunded)
    }
}

impl Change {
    /// What is put on the lines, or comes off them.
    pub fn parts(&self) -> impl Iterator<Item = (Line, Yen)> {
        let lines = self.lines;
        Line::ALL.into_iter().map(move |line| (line, lines.get(line))).filter(|(_, amount)| !amount.is_zero())
    }
}

impl FromIterator<Change> for Changes {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut all = Self::default();
        changes.into_iter().for_each(|change| all.add(change));
        all
    }
}

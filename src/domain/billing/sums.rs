//! Money that lies on no bill: sums that are free for the next debt.

use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::time::{Date, Millis};

/// Which money it is, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// The record that brought it, or that freed it from a bill.
    pub fact: Lsn,
    /// Its own day: when the customer paid it, else when it was freed.
    pub day: Millis,
    /// It came on an old slip: on the bills that it meets then it settles principal first.
    pub on_old_slip: bool,
}

impl Money {
    /// Stands for the record that is being worked out, which has no number yet.
    pub const OWN: Lsn = Lsn(u64::MAX);
    /// Money that a record of before this was kept has moved: which it was is not known, so it stays where it lies.
    const UNKNOWN: Lsn = Lsn(0);

    pub const fn own(day: Millis) -> Self {
        Self { fact: Self::OWN, day, on_old_slip: false }
    }

    pub const fn unknown(day: Millis) -> Self {
        Self { fact: Self::UNKNOWN, day, on_old_slip: false }
    }

    pub const fn is_known(&self) -> bool {
        self.fact.0 != Self::UNKNOWN.0
    }

    pub const fn is_own(&self) -> bool {
        self.fact.0 == Self::OWN.0
    }

    /// The same under the name of this record, where it has none of its own.
    #[must_use]
    pub const fn or_named(self, fact: Lsn) -> Self {
        if self.is_known() { self } else { Self { fact, ..self } }
    }

    /// The same once its record has a number.
    #[must_use]
    pub const fn recorded(self, lsn: Lsn) -> Self {
        if self.is_own() { Self { fact: lsn, ..self } } else { self }
    }

    /// By its own day; of one day, in the order of the records.
    pub const fn age(&self) -> (Millis, Lsn) {
        (self.day, self.fact)
    }
}

/// Money that is free for the next debt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    pub money: Money,
    pub amount: Yen,
    /// Of `amount`: owed to the customer in cash (`payout_due`). The rest is credit.
    pub due: Yen,
}

impl Sum {
    pub fn credit(&self) -> Yen {
        self.amount - self.due
    }

    /// Whether it has been free for so many months.
    pub fn is_old(&self, months: i8, today: Date) -> bool {
        self.money.day.date().plus_months(months) <= today
    }
}

/// All sums of an account, the oldest own day first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(Vec<Sum>);

impl Sums {
    pub fn as_slice(&self) -> &[Sum] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is free and not yet owed in cash.
    pub fn credit(&self) -> Yen {
        self.0.iter().map(Sum::credit).sum()
    }

    pub fn due(&self) -> Yen {
        self.0.iter().map(|sum| sum.due).sum()
    }

    pub fn find(&self, money: Money) -> Option<&Sum> {
        self.0.iter().find(|sum| sum.money.fact == money.fact)
    }

    /// Adds to a sum, or makes it.
    pub fn add(&mut self, money: Money, amount: Yen, due: Yen) {
        if let Some(sum) = self.0.iter_mut().find(|sum| sum.money.fact == money.fact) {
            sum.amount += amount;
            sum.due += due;
            return;
        }
        let at = self.0.partition_point(|sum| sum.money.age() <= money.age());
        self.0.insert(at, Sum { money, amount, due });
    }

    /// Takes from a sum, of which so much is due.
    pub fn take(&mut self, money: Money, amount: Yen, due: Yen) {
        if let Some(sum) = self.0.iter_mut().find(|sum| sum.money.fact == money.fact) {
            sum.amount -= amount;
            sum.due = sum.due.minus_or_zero(due).min(sum.amount);
        }
        self.0.retain(|sum| !sum.amount.is_zero());
    }

    /// Says which part of each sum is due.
    pub fn set_due(&mut self, due: impl Fn(&Sum) -> Yen) {
        self.0.iter_mut().for_each(|sum| sum.due = due(sum).min(sum.amount));
    }

    /// Up to so much of the credit of the sums that are ripe is due from now on, the oldest first.
    pub fn make_due(&mut self, left: &mut Yen, is_ripe: impl Fn(&Sum) -> bool) {
        for sum in self.0.iter_mut().filter(|sum| is_ripe(sum)) {
            let part = sum.credit().min(*left);
            sum.due += part;
            *left -= part;
        }
    }

    /// Takes up to so much from the oldest sums on; says which money and how much of it.
    pub fn take_oldest(&mut self, most: Yen) -> Vec<(Money, Yen)> {
        let mut left = most;
        let mut taken = Vec::new();
        for sum in &mut self.0 {
            let part = sum.amount.min(left);
            if part.is_zero() {
                break;
            }
            sum.amount -= part;
            sum.due = sum.due.minus_or_zero(part);
            left -= part;
            taken.push((sum.money, part));
        }
        self.0.retain(|sum| !sum.amount.is_zero());
        taken
    }
}

impl FromIterator<Sum> for Sums {
    fn from_iter<I: IntoIterator<Item = Sum>>(sums: I) -> Self {
        let mut all = Self::default();
        sums.into_iter().for_each(|sum| all.add(sum.money, sum.amount, sum.due));
        all
    }
}

//! Money: whole yen, never negative, never a float.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use serde::Serialize;

/// An amount in whole yen. There is no minor unit in JPY (ISO 4217 exponent 0).
///
/// Arithmetic is checked: an overflow or a negative result is a bug in our own sums,
/// so it stops the process instead of wrapping. Where a shortfall is legal
/// (a limit below the exposure), use [`Yen::minus_or_zero`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Yen(u64);

impl Yen {
    pub const ZERO: Self = Self(0);

    pub const fn new(yen: u64) -> Self {
        Self(yen)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// What is left of `self` after `other`, zero when `other` is larger.
    pub const fn minus_or_zero(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(yen) => Some(Self(yen)),
            None => None,
        }
    }
}

impl From<u64> for Yen {
    fn from(yen: u64) -> Self {
        Self(yen)
    }
}

impl Add for Yen {
    type Output = Self;
    #[expect(clippy::expect_used, reason = "2^64 yen cannot occur: amounts are capped at 9,999,999 at the edge")]
    fn add(self, other: Self) -> Self {
        Self(self.0.checked_add(other.0).expect("a sum of yen overflowed"))
    }
}

impl AddAssign for Yen {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Yen {
    type Output = Self;
    #[expect(clippy::expect_used, reason = "taking away more than is there is a bug; going on would lose money")]
    fn sub(self, other: Self) -> Self {
        Self(self.0.checked_sub(other.0).expect("an amount of yen went below zero"))
    }
}

impl SubAssign for Yen {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Yen {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Yen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences() {
        assert_eq!(Yen::new(2) + Yen::new(3), Yen::new(5));
        assert_eq!(Yen::new(2).minus_or_zero(Yen::new(3)), Yen::ZERO);
        assert_eq!(Yen::new(2).checked_sub(Yen::new(3)), None);
    }

    #[test]
    #[should_panic(expected = "below zero")]
    fn a_negative_amount_stops_the_process() {
        let _ = Yen::new(2) - Yen::new(3);
    }
}

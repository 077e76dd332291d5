//! The customers of a run: who buys next, and what the answers make of their exposure.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// Limits given to the customers by the office, yen.
pub const LIMIT: u64 = 9_000_000;
/// Room that is left unused, so that no intended approval fails at the limit.
const SPARE: u64 = 20_000;
/// How often the dice are cast again for a customer who is busy.
const CASTS: u32 = 8;

/// A barcode, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Code {
    text: [u8; 32],
    length: u8,
}

impl Code {
    pub fn new(text: &str) -> Option<Self> {
        let mut code = Self { text: [0; 32], length: u8::try_from(text.len()).ok()? };
        code.text.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(code)
    }

    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// With another last digit.
    pub fn tampered(mut self) -> Self {
        if let Some(last) = usize::from(self.length).checked_sub(1).and_then(|last| self.text.get_mut(last)) {
            *last = if *last == b'9' { b'0' } else { *last + 1 };
        }
        self
    }
}

#[derive(Clone, Default)]
pub struct Customer {
    /// What they owed before the run, yen.
    pub before: u64,
    /// What they may owe by now, at most: approvals and what is still under way.
    pub at_most: u64,
    /// Sales begun.
    pub sales: u32,
    pub is_busy: bool,
    /// Alive and unused.
    pub code: Code,
    /// A code that has paid.
    pub used: Code,
}

pub struct Crowd {
    pub all: Vec<Customer>,
    /// `None`: in turn, each one once.
    zipf: Option<Zipf<f64>>,
    cursor: usize,
    pub random: SmallRng,
}

impl Crowd {
    /// `exponent` of the Zipf distribution, or `None` to go through them once, in order.
    pub fn new(all: Vec<Customer>, exponent: Option<f64>, seed: u64) -> Self {
        let zipf = exponent.and_then(|exponent| Zipf::new(all.len() as f64, exponent).ok());
        Self { all, zipf, cursor: 0, random: SmallRng::seed_from_u64(seed) }
    }

    fn is_free(&self, at: usize) -> bool {
        self.all.get(at).is_some_and(|customer| !customer.is_busy && customer.at_most + SPARE < LIMIT)
    }

    /// Whether there will be anybody, ever.
    pub fn is_spent(&self) -> bool {
        self.zipf.is_none() && self.cursor >= self.all.len()
    }

    /// The next to buy, now busy. `None` if all are.
    pub fn pick(&mut self) -> Option<usize> {
        let at = match self.zipf {
            None => {
                let at = self.cursor;
                self.cursor = (at + 1).min(self.all.len());
                (at < self.all.len()).then_some(at)
            }
            Some(zipf) => self.cast(zipf).or_else(|| self.anybody()),
        }?;
        self.all.get_mut(at)?.is_busy = true;
        Some(at)
    }

    fn cast(&mut self, zipf: Zipf<f64>) -> Option<usize> {
        for _ in 0..CASTS {
            let at = rank(zipf.sample(&mut self.random));
            if self.is_free(at) {
                return Some(at);
            }
        }
        None
    }

    /// The next free one in turn.
    fn anybody(&mut self) -> Option<usize> {
        for _ in 0..self.all.len() {
            self.cursor = if self.cursor + 1 < self.all.len() { self.cursor + 1 } else { 0 };
            if self.is_free(self.cursor) {
                return Some(self.cursor);
            }
        }
        None
    }

    /// Whether a flow has this property.
    pub fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.random_bool(share.min(1.0))
    }
}

/// Ranks start at 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to the number of customers")]
fn rank(sample: f64) -> usize {
    (sample as usize).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(count: usize, exponent: Option<f64>) -> Crowd {
        Crowd::new(vec![Customer::default(); count], exponent, 5)
    }

    #[test]
    fn customers_come_as_zipf_says() {
        let count = 1_000_usize;
        let exponent = 0.9;
        let draws = 200_000;
        let mut crowd = crowd(count, Some(exponent));
        let mut seen = vec![0_u32; count];
        for _ in 0..draws {
            let at = crowd.pick().unwrap();
            crowd.all[at].is_busy = false;
            seen[at] += 1;
        }
        let weight = |rank: usize| (rank as f64).powf(-exponent);
        let all: f64 = (1..=count).map(weight).sum();
        for rank in [1, 2, 3, 10, 100] {
            let expected = f64::from(draws) * weight(rank) / all;
            let found = f64::from(seen[rank - 1]);
            // Five standard deviations.
            assert!((found - expected).abs() < 5.0 * expected.sqrt(), "rank {rank}: {found}, expected {expected}");
        }
        let tail: u32 = seen[500..].iter().sum();
        let expected = f64::from(draws) * (501..=count).map(weight).sum::<f64>() / all;
        assert!((f64::from(tail) - expected).abs() < 5.0 * expected.sqrt());
    }

    #[test]
    fn one_flow_for_each_customer_and_none_near_the_limit() {
        let mut crowd = crowd(10, Some(1.0));
        crowd.all[3].at_most = LIMIT - 10_000;
        let mut picked: Vec<_> = std::iter::from_fn(|| crowd.pick()).collect();
        picked.sort_unstable();
        assert_eq!(picked, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
        assert!(!crowd.is_spent(), "they will be free again");
    }

    #[test]
    fn in_turn_each_one_buys_once() {
        let mut crowd = crowd(3, None);
        assert_eq!(std::iter::from_fn(|| crowd.pick()).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(crowd.is_spent());
    }

    #[test]
    fn a_tampered_code_differs_in_its_last_digit() {
        let code = Code::new("900012345678901234567899").unwrap();
        assert_eq!(code.tampered().as_str(), "900012345678901234567890");
        assert_eq!((code.as_str().len(), Code::default().is_empty()), (24, true));
        assert_eq!(Code::new(&"1".repeat(33)), None);
    }
}

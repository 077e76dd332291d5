//! Latencies: a histogram, and the requests that were never answered. Those count as infinitely slow; leaving
//! them out would make a server look better the more it drops.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::{MICROSECOND, Nanos, SECOND, millis};

/// Longest latency that is told apart, ns.
const LONGEST: Nanos = 600 * SECOND;

#[derive(Clone)]
pub struct Latencies {
    finite: Histogram<u64>,
    infinite: u64,
}

/// Percentiles in ms; `None` is infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub count: u64,
    pub infinite: u64,
    pub mean_ms: f64,
    pub p50_ms: Option<f64>,
    pub p90_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub p999_ms: Option<f64>,
    pub max_ms: Option<f64>,
}

impl Default for Latencies {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the histogram takes")]
    fn default() -> Self {
        let finite = Histogram::new_with_bounds(MICROSECOND, LONGEST, 3).expect("bounds in order");
        Self { finite, infinite: 0 }
    }
}

impl Latencies {
    pub fn record(&mut self, time: Nanos) {
        self.finite.saturating_record(time.max(MICROSECOND));
    }

    pub fn record_infinite(&mut self) {
        self.infinite += 1;
    }

    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        self.finite.add(&other.finite).ok();
        self.infinite += other.infinite;
    }

    pub fn clear(&mut self) {
        self.finite.reset();
        self.infinite = 0;
    }

    pub fn count(&self) -> u64 {
        self.finite.len() + self.infinite
    }

    /// The latency that this share of all requests did not exceed; `None` is infinite. Zero if there are none.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count times a share of it")]
    pub fn at(&self, share: f64) -> Option<Nanos> {
        let rank = ((self.count() as f64 * share).ceil() as u64).clamp(1, self.count().max(1));
        if rank > self.finite.len() {
            return (self.count() == 0).then_some(0);
        }
        // Half a rank less, so that rounding can't reach for the next one.
        Some(self.finite.value_at_quantile((rank as f64 - 0.5) / self.finite.len() as f64))
    }

    pub fn percentiles(&self) -> Percentiles {
        let at = |share| self.at(share).map(millis);
        Percentiles {
            count: self.count(),
            infinite: self.infinite,
            mean_ms: self.finite.mean() / 1e6,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: if self.infinite > 0 { None } else { Some(millis(self.finite.max())) },
        }
    }

    /// Points of the percentile curve: the share not exceeded, and the latency in ms. From the median on, each
    /// point halves the share that is slower, as far as the count can tell.
    pub fn curve(&self) -> Vec<(f64, Option<f64>)> {
        let mut points = vec![(0.0, self.at(0.0).map(millis)), (0.25, self.at(0.25).map(millis))];
        let mut slower = 0.5;
        while slower * self.count() as f64 >= 1.0 {
            points.push((1.0 - slower, self.at(1.0 - slower).map(millis)));
            slower /= std::f64::consts::SQRT_2;
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLISECOND;

    fn is_about(found: Option<Nanos>, expected: Nanos) -> bool {
        found.is_some_and(|found| found.abs_diff(expected) as f64 <= expected as f64 * 0.001)
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut all = Latencies::default();
        for ms in (1..=1_000).rev() {
            all.record(ms * MILLISECOND);
        }
        for (share, ms) in [(0.0, 1), (0.5, 500), (0.9, 900), (0.99, 990), (0.999, 999), (1.0, 1_000)] {
            assert!(is_about(all.at(share), ms * MILLISECOND), "{share}: {:?}", all.at(share));
        }
    }

    #[test]
    fn what_was_never_answered_is_infinitely_slow() {
        let mut all = Latencies::default();
        for _ in 0..98 {
            all.record(MILLISECOND);
        }
        all.record_infinite();
        all.record_infinite();
        let told = all.percentiles();
        assert_eq!((told.count, told.infinite), (100, 2));
        assert!(is_about(all.at(0.98), MILLISECOND));
        assert_eq!((all.at(0.99), told.p99_ms, told.max_ms), (None, None, None));
        assert!(told.p50_ms.is_some_and(|p50| (p50 - 1.0).abs() < 0.001));
    }

    #[test]
    fn nothing_is_zero_and_only_timeouts_are_infinite() {
        let mut all = Latencies::default();
        assert_eq!((all.at(0.5), all.count()), (Some(0), 0));
        all.record_infinite();
        assert_eq!((all.at(0.5), all.count()), (None, 1));
    }

    #[test]
    fn sums_are_as_if_recorded_at_once() {
        let (mut a, mut b, mut both) = (Latencies::default(), Latencies::default(), Latencies::default());
        for ms in 1..100 {
            (if ms % 3 == 0 { &mut a } else { &mut b }).record(ms * MILLISECOND);
            both.record(ms * MILLISECOND);
        }
        b.record_infinite();
        both.record_infinite();
        a.add(&b);
        assert_eq!(a.percentiles(), both.percentiles());
        assert_eq!(a.curve(), both.curve());
        a.clear();
        assert_eq!(a.count(), 0);
    }

    #[test]
    fn beyond_the_longest_is_the_longest() {
        let mut all = Latencies::default();
        all.record(LONGEST * 2);
        assert!(is_about(all.at(0.5), LONGEST));
    }
}

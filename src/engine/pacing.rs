//! How far apart syncs begin.
//!
//! A sync as soon as the one before has ended is best for an idle machine and bad for a busy one: with several thousand
//! syncs a second beside other work, some disks stall for 10 ms and more (`docs/decisions/0009`). So the gap
//! grows with the load, up to a longest one. And it never waits for nobody: when as many requests wait in the group
//! as there were callers lately, half of them in this group and half in the one on its way, no more will come before
//! some are answered.

use std::time::{Duration, Instant};

/// Answers a second at which the gap is the longest.
const FULL_RATE: u64 = 10_000;
/// The rate is counted over so long.
const WINDOW: Duration = Duration::from_millis(50);

/// Pace of the committer. Times are given by the caller.
pub struct Pacing {
    longest: Duration,
    last_began: Option<Instant>,
    window_began: Instant,
    /// Answers since the window began.
    count: u64,
    /// Answers a second in the window before.
    rate: u64,
}

impl Pacing {
    pub fn new(longest: Duration, now: Instant) -> Self {
        Self { longest, last_began: None, window_began: now, count: 0, rate: 0 }
    }

    /// A sync begins, for so many answers.
    pub fn began(&mut self, answers: usize, now: Instant) {
        self.turn_window(now);
        self.count += u64::try_from(answers).unwrap_or(u64::MAX);
        self.last_began = Some(now);
    }

    /// When the next may begin.
    pub fn due(&mut self, now: Instant) -> Instant {
        self.turn_window(now);
        self.last_began.map_or(now, |last| last + self.gap())
    }

    fn gap(&self) -> Duration {
        let longest = u64::try_from(self.longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(longest / FULL_RATE * self.rate.min(FULL_RATE))
    }

    fn turn_window(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.window_began);
        if passed >= WINDOW {
            let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).max(1);
            self.rate = self.count.saturating_mul(1_000_000) / micros;
            (self.window_began, self.count) = (now, 0);
        }
    }
}

/// The most callers that waited at once lately: in this window or the one before.
pub struct Callers {
    window_began: Instant,
    before: usize,
    most: usize,
}

impl Callers {
    pub fn new(now: Instant) -> Self {
        Self { window_began: now, before: 0, most: 0 }
    }

    pub fn saw(&mut self, waiting: usize, now: Instant) {
        let passed = now.saturating_duration_since(self.window_began);
        if passed >= WINDOW {
            self.before = if passed < 2 * WINDOW { self.most } else { 0 };
            (self.window_began, self.most) = (now, 0);
        }
        self.most = self.most.max(waiting);
    }

    /// Whether a group of this size should not wait for more: half of all callers are in it.
    pub fn is_half(&self, group: usize) -> bool {
        2 * group >= self.most.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The gap after a second of this many syncs of one answer each.
    fn gap_at(rate: u32) -> Duration {
        let start = Instant::now();
        let mut pacing = Pacing::new(MS, start);
        for n in 0..rate {
            pacing.began(1, start + Duration::from_secs(1) / rate * n);
        }
        let last = pacing.last_began.unwrap();
        pacing.due(last + Duration::from_micros(1)) - last
    }

    #[test]
    fn the_gap_grows_with_the_load_up_to_the_longest() {
        for (rate, micros) in [(100, 10), (1_000, 100), (5_000, 500), (10_000, 1_000), (50_000, 1_000)] {
            let gap = gap_at(rate);
            let wanted = Duration::from_micros(micros);
            assert!(gap.abs_diff(wanted) <= wanted / 10, "{rate} a second: {gap:?}");
        }
    }

    #[test]
    fn an_idle_machine_syncs_at_once() {
        let start = Instant::now();
        let mut pacing = Pacing::new(MS, start);
        assert_eq!(pacing.due(start), start);
        for n in 0..1_000 {
            pacing.began(16, start + n * MS);
        }
        let later = start + 1_300 * MS;
        assert!(pacing.due(later) <= later, "the burst is long past");
        let mut never = Pacing::new(Duration::ZERO, start);
        never.began(10, start);
        assert_eq!(never.due(start + MS), start, "a longest gap of 0 leaves the pace to the disk");
    }

    #[test]
    fn half_of_the_callers_are_enough() {
        let start = Instant::now();
        let mut callers = Callers::new(start);
        callers.saw(64, start);
        assert!(callers.is_half(32) && !callers.is_half(31));
        callers.saw(10, start + WINDOW);
        assert!(!callers.is_half(31), "the window before still counts");
        callers.saw(10, start + 2 * WINDOW);
        assert!(callers.is_half(5) && !callers.is_half(4));
        callers.saw(1, start + 10 * WINDOW);
        assert!(callers.is_half(1), "what was long ago does not");
    }
}

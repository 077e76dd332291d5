//! What is counted while it runs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::{Nanos, SECOND, millis, seconds};
use crate::latency::Latencies;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Issue,
    Authorize,
    Retry,
    Cancel,
    Refund,
    Inquire,
}

impl Call {
    pub const ALL: [Self; 6] = [Self::Issue, Self::Authorize, Self::Retry, Self::Cancel, Self::Refund, Self::Inquire];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Authorize => "authorize",
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Refund => "refund",
            Self::Inquire => "inquire",
        }
    }
}

/// Counts of one stair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Flows that were meant to begin.
    pub arrivals: u64,
    /// Requests of all kinds that were answered, errors too.
    pub answers: u64,
    /// Flows meant to be approved.
    pub intended: u64,
    /// Of these, approved.
    pub approved: u64,
    /// Of these, denied.
    pub denied_unexpectedly: u64,
    /// Flows meant to be denied, and denied.
    pub denied_as_meant: u64,
    /// Flows meant to be denied, and approved.
    pub approved_unexpectedly: u64,
    /// 503, and denials because the deadline had passed.
    pub shed: u64,
    /// 429.
    pub throttled: u64,
    /// Other answers that are no success.
    pub refused: u64,
    /// Sent and not answered in time.
    pub timeouts: u64,
    /// Not sent in time, as no connection was free.
    pub unsent: u64,
    /// Connections that broke under a request.
    pub broken: u64,
}

impl Counts {
    pub fn errors(&self) -> u64 {
        self.shed + self.throttled + self.refused + self.timeouts + self.unsent + self.broken
    }

    /// All that was asked, answered or not.
    pub fn requests(&self) -> u64 {
        self.answers + self.timeouts + self.unsent + self.broken
    }

    pub fn add(&mut self, other: &Self) {
        self.arrivals += other.arrivals;
        self.answers += other.answers;
        self.intended += other.intended;
        self.approved += other.approved;
        self.denied_unexpectedly += other.denied_unexpectedly;
        self.denied_as_meant += other.denied_as_meant;
        self.approved_unexpectedly += other.approved_unexpectedly;
        self.shed += other.shed;
        self.throttled += other.throttled;
        self.refused += other.refused;
        self.timeouts += other.timeouts;
        self.unsent += other.unsent;
        self.broken += other.broken;
    }
}

#[derive(Clone)]
pub struct StepStats {
    pub is_measured: bool,
    pub calls: [Latencies; 6],
    /// Answers by call that say that nothing was done.
    pub turned_away: [u64; 6],
    /// How fast 503 and 429 were said.
    pub shed: Latencies,
    pub counts: Counts,
}

impl StepStats {
    pub fn new(is_measured: bool) -> Self {
        let calls = std::array::from_fn(|_| Latencies::default());
        Self { is_measured, calls, turned_away: [0; 6], shed: Latencies::default(), counts: Counts::default() }
    }

    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.calls.iter_mut().zip(&other.calls) {
            mine.add(theirs);
        }
        for (mine, theirs) in self.turned_away.iter_mut().zip(other.turned_away) {
            *mine += theirs;
        }
        self.shed.add(&other.shed);
        self.counts.add(&other.counts);
    }

    pub fn of(&mut self, call: Call) -> &mut Latencies {
        let [issue, authorize, retry, cancel, refund, inquire] = &mut self.calls;
        match call {
            Call::Issue => issue,
            Call::Authorize => authorize,
            Call::Retry => retry,
            Call::Cancel => cancel,
            Call::Refund => refund,
            Call::Inquire => inquire,
        }
    }
}

/// One point of the curves over time; authorizations, by the time of their answers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Point {
    /// Its begin, seconds since the begin of the measurement.
    pub at: f64,
    pub authorizations_per_s: f64,
    pub answers_per_s: f64,
    pub errors_per_s: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub p999_ms: Option<f64>,
    pub max_ms: Option<f64>,
}

/// The present point.
struct Current {
    began: Nanos,
    latencies: Latencies,
    answers: u64,
    errors: u64,
}

pub struct Stats {
    pub steps: Vec<StepStats>,
    /// From a flow's intended begin until the generator took it up: its own lateness.
    pub lateness: Latencies,
    /// From a flow's intended begin until its first request was sent: the lateness, and the wait for a connection.
    pub waited: Latencies,
    /// Denials by reason, of all steps.
    pub reasons: BTreeMap<String, u64>,
    /// Refusals by status and reason, of all steps.
    pub refusals: BTreeMap<String, u64>,
    /// What the server says of its stages, by sample.
    pub stages: BTreeMap<String, Latencies>,
    pub points: Vec<Point>,
    current: Current,
    /// Length of a point.
    every: Nanos,
    /// Begin of the measurement.
    pub begins: Nanos,
}

impl Stats {
    pub fn new(measured: &[bool], begins: Nanos, every: Nanos) -> Self {
        let current = Current { began: begins, latencies: Latencies::default(), answers: 0, errors: 0 };
        Self {
            steps: measured.iter().map(|is_measured| StepStats::new(*is_measured)).collect(),
            lateness: Latencies::default(),
            waited: Latencies::default(),
            reasons: BTreeMap::new(),
            refusals: BTreeMap::new(),
            stages: BTreeMap::new(),
            points: Vec::new(),
            current,
            every,
            begins,
        }
    }

    #[expect(clippy::indexing_slicing, reason = "steps are numbered by their place")]
    pub fn step(&mut self, step: usize) -> &mut StepStats {
        &mut self.steps[step]
    }

    pub fn is_measured(&self, step: usize) -> bool {
        self.steps.get(step).is_some_and(|step| step.is_measured)
    }

    /// An answer came, whatever it says.
    pub fn answered(&mut self, step: usize, call: Call, took: Nanos) {
        if self.is_measured(step) {
            self.current.answers += 1;
            if call == Call::Authorize {
                self.current.latencies.record(took);
            }
        }
        let step = self.step(step);
        step.counts.answers += 1;
        step.of(call).record(took);
    }

    /// An answer that says that nothing was done: it stays out of the latencies of what was done.
    pub fn turned_away(&mut self, step: usize, call: Call, took: Nanos) {
        if self.is_measured(step) {
            self.current.answers += 1;
            self.current.errors += 1;
        }
        let step = self.step(step);
        step.counts.answers += 1;
        step.turned_away[call as usize] += 1;
        step.shed.record(took);
    }

    /// No answer came.
    pub fn lost(&mut self, step: usize, call: Call) {
        if self.is_measured(step) {
            self.current.errors += 1;
            if call == Call::Authorize {
                self.current.latencies.record_infinite();
            }
        }
        self.step(step).of(call).record_infinite();
    }

    /// Closes the points whose time is over.
    pub fn tick(&mut self, now: Nanos) {
        while now >= self.current.began + self.every {
            let current = &mut self.current;
            let length = seconds(self.every);
            let told = current.latencies.percentiles();
            let any = told.count > 0;
            let per_second = |count: u64| count as f64 / length;
            self.points.push(Point {
                at: seconds(current.began - self.begins),
                authorizations_per_s: per_second(told.count - told.infinite),
                answers_per_s: per_second(current.answers),
                errors_per_s: per_second(current.errors),
                p50_ms: told.p50_ms.filter(|_| any),
                p99_ms: told.p99_ms.filter(|_| any),
                p999_ms: told.p999_ms.filter(|_| any),
                max_ms: told.max_ms.filter(|_| any),
            });
            current.latencies.clear();
            (current.answers, current.errors) = (0, 0);
            current.began += self.every;
        }
    }

    /// Stages of a `Server-Timing` header: `parse;dur=0.026, verify;dur=0.004`.
    pub fn server_timing(&mut self, header: &[u8]) {
        for part in String::from_utf8_lossy(header).split(',') {
            let Some((name, took)) = part.trim().split_once(";dur=") else { continue };
            let Ok(took) = took.parse::<f64>() else { continue };
            let stage = self.stages.entry(name.to_owned()).or_default();
            stage.record(crate::clock::from_seconds(took / 1e3));
        }
    }

    /// All measured steps together.
    pub fn total(&self) -> StepStats {
        let mut total = StepStats::new(true);
        for step in self.steps.iter().filter(|step| step.is_measured) {
            total.add(step);
        }
        total
    }

    /// The progress line of the last point.
    pub fn line(&self) -> Option<String> {
        let point = self.points.last()?;
        let ms = |value: Option<f64>| value.map_or_else(|| "   -  ".to_owned(), |ms| format!("{ms:6.2}"));
        Some(format!(
            "{:6.1} s  {:>7.0} authorizations/s  p50 {}  p99 {}  max {} ms  errors {:.0}/s",
            point.at + seconds(self.every),
            point.authorizations_per_s,
            ms(point.p50_ms),
            ms(point.p99_ms),
            ms(point.max_ms),
            point.errors_per_s
        ))
    }
}

/// Length of a point for a run of this length: short ones get half seconds.
pub fn point_length(run: Nanos) -> Nanos {
    match run / SECOND {
        0..=60 => SECOND / 2,
        61..=600 => SECOND,
        more => SECOND * (more / 400 + 1),
    }
}

/// Mean, p50 and p99 of a stage, in ms.
pub fn brief(latencies: &Latencies) -> (f64, f64, f64) {
    let at = |share| latencies.at(share).map_or(f64::INFINITY, millis);
    (latencies.percentiles().mean_ms, at(0.5), at(0.99))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLISECOND;

    #[test]
    fn points_are_closed_by_time_and_lost_requests_are_infinite() {
        let mut stats = Stats::new(&[false, true], SECOND, SECOND / 2);
        stats.answered(1, Call::Authorize, 2 * MILLISECOND);
        stats.answered(1, Call::Issue, MILLISECOND);
        stats.tick(SECOND + 400 * MILLISECOND);
        assert!(stats.points.is_empty());
        stats.tick(2 * SECOND + 100 * MILLISECOND);
        stats.lost(1, Call::Authorize);
        stats.tick(3 * SECOND);
        let told: Vec<_> = stats.points.iter().map(|point| (point.at, point.authorizations_per_s)).collect();
        assert_eq!(told, [(0.0, 2.0), (0.5, 0.0), (1.0, 0.0), (1.5, 0.0)]);
        assert!(stats.points[0].p50_ms.is_some_and(|p50| (p50 - 2.0).abs() < 0.01));
        assert_eq!((stats.points[1].p50_ms, stats.points[2].p50_ms, stats.points[2].errors_per_s), (None, None, 2.0));
        assert_eq!(stats.total().calls[1].percentiles().infinite, 1);
    }

    #[test]
    fn the_servers_stages_are_read() {
        let mut stats = Stats::new(&[true], 0, SECOND);
        stats.server_timing(b"parse;dur=0.026, journal;dur=0.360,odd;x");
        assert_eq!(stats.stages.keys().collect::<Vec<_>>(), ["journal", "parse"]);
        let (mean, ..) = brief(&stats.stages["journal"]);
        assert!((mean - 0.36).abs() < 0.001);
    }
}

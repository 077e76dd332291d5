//! A stair of the schedule, and what became of its flows.

use std::collections::BTreeMap;

use serde::Serialize;

use loadtest::latency::Percentiles;
use loadtest::stats::{Call, Counts, StepStats};

#[derive(Serialize)]
pub struct Stair {
    /// Flows a second that were meant to begin; none in a closed loop.
    pub rate: Option<f64>,
    pub seconds: f64,
    pub counts: Counts,
    /// First authorizations that were answered with a decision, a second.
    pub decisions_per_s: f64,
    pub approvals_per_s: f64,
    pub calls: BTreeMap<&'static str, Percentiles>,
    /// By call, answers that say that nothing was done: 503, 429, errors.
    pub not_done: BTreeMap<&'static str, u64>,
    /// How fast 503 and 429 were said.
    pub turned_away: Percentiles,
}

impl Stair {
    pub fn new(rate: Option<f64>, seconds: f64, stats: &StepStats) -> Self {
        let calls = Call::ALL.iter().zip(&stats.calls).filter(|(_, latencies)| latencies.count() > 0);
        let counts = stats.counts;
        let decisions =
            counts.approved + counts.denied_unexpectedly + counts.denied_as_meant + counts.approved_unexpectedly;
        Self {
            rate,
            seconds,
            counts,
            decisions_per_s: decisions as f64 / seconds,
            approvals_per_s: counts.approved as f64 / seconds,
            calls: calls.map(|(call, latencies)| (call.name(), latencies.percentiles())).collect(),
            not_done: Call::ALL.iter().map(|call| call.name()).zip(stats.turned_away).collect(),
            turned_away: stats.shed.percentiles(),
        }
    }

    pub fn error_ratio(&self) -> f64 {
        self.counts.errors() as f64 / self.counts.requests().max(1) as f64
    }
}

//! The report: everything that is told, as one value. It is written as JSON, as text and as a page.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::audit::Audit;
use crate::lag::Lag;
use crate::overload::Overload;
use crate::profile::Profile;
use crate::slo::Target;
use crate::stair::Stair;
use loadtest::latency::{Latencies, Percentiles};
use loadtest::probe::Machine;
use loadtest::stats::{Call, Counts, Point};

/// Fewer of the intended approvals, and the run is void.
pub const LEAST_APPROVALS: f64 = 0.95;

#[derive(Serialize)]
pub struct Stage {
    pub name: String,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Processor seconds a second, and memory.
#[derive(Default, Serialize)]
pub struct Costs {
    pub generator_cpus: Option<f64>,
    pub server_cpus: Option<f64>,
    /// Processor time of the server for each decision, µs.
    pub server_us_per_decision: Option<f64>,
    pub server_resident_mib: Option<u64>,
}

#[derive(Default, Serialize)]
pub struct Ledger {
    /// Records not yet posted when the last answer had come; none if the metrics are not to be had.
    pub lag_at_end: Option<u64>,
    /// How long it took to post them, s.
    pub drained_in_s: Option<f64>,
    /// Seen meanwhile, where more is offered than can be done.
    pub lags: Vec<Lag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Good,
    BooksDiffer,
    TargetMissed,
    Void,
}

impl Verdict {
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::BooksDiffer => 1,
            Self::TargetMissed => 3,
            Self::Void => 4,
        }
    }

    pub const fn text(self) -> &'static str {
        match self {
            Self::Good => "all is well",
            Self::BooksDiffer => "THE BOOKS DIFFER FROM THE ANSWERS",
            Self::TargetMissed => "a target was missed",
            Self::Void => "void: too little of what was intended took place",
        }
    }
}

#[derive(Serialize)]
pub struct Report {
    pub version: &'static str,
    pub started_at: String,
    pub command: String,
    pub server: String,
    /// How its authorizations were sent.
    pub transport: &'static str,
    /// `open` or `closed`.
    pub loop_kind: &'static str,
    pub profile: Profile,
    pub seed: u64,
    pub processors: usize,
    pub kernel: String,
    /// What a relative profile's rates are multiples of.
    pub capacity: Option<f64>,
    pub setup_s: f64,
    pub stairs: Vec<Stair>,
    pub total: Stair,
    /// Share of the intended approvals that happened.
    pub approval_ratio: f64,
    /// The generator's own: from the intended begin of a flow until it was taken up.
    pub lateness: Percentiles,
    /// From there until its first request was sent: the lateness, and the wait for a connection.
    pub waited: Percentiles,
    pub reconnects: u64,
    pub stages: Vec<Stage>,
    pub denials: BTreeMap<String, u64>,
    pub refusals: BTreeMap<String, u64>,
    /// Share not exceeded, and ms; none is infinite. Of authorizations.
    pub curve: Vec<(f64, Option<f64>)>,
    pub points: Vec<Point>,
    pub machine: Machine,
    pub costs: Costs,
    pub ledger: Ledger,
    pub audit: Audit,
    /// Of `loadtest overload` only.
    pub overload: Option<Overload>,
    pub targets: Vec<Target>,
    pub verdict: Verdict,
}

/// Share of the intended approvals that happened. Where more is offered than can be done, those that were decided
/// count.
pub fn approval_ratio(counts: &Counts, expects_shedding: bool) -> f64 {
    let of = if expects_shedding { counts.approved + counts.denied_unexpectedly } else { counts.intended };
    if of == 0 { 1.0 } else { counts.approved as f64 / of as f64 }
}

pub fn stages(stages: &BTreeMap<String, Latencies>) -> Vec<Stage> {
    let told = stages.iter().map(|(name, latencies)| {
        let (mean_ms, p50_ms, p99_ms) = loadtest::stats::brief(latencies);
        Stage { name: name.clone(), mean_ms, p50_ms, p99_ms }
    });
    let mut told: Vec<_> = told.collect();
    let order = ["parse", "verify", "queue", "decide", "journal", "answer"];
    told.sort_by_key(|stage| order.iter().position(|name| *name == stage.name).unwrap_or(order.len()));
    told
}

impl Report {
    pub fn judge(&mut self) {
        self.verdict = if self.audit.differences > 0 {
            Verdict::BooksDiffer
        } else if self.approval_ratio < LEAST_APPROVALS || self.overload.as_ref().is_some_and(Overload::is_void) {
            Verdict::Void
        } else if self.targets.iter().any(|target| !target.is_met) {
            Verdict::TargetMissed
        } else {
            Verdict::Good
        };
    }

    /// Judges a run of three stairs as an overload too, and adds its targets.
    pub fn judge_overload(&mut self) -> Result<()> {
        let peak = self.capacity.context("an overload has a peak")?;
        let overload = Overload::of(peak, &self.stairs, &self.points, &self.ledger.lags)?;
        self.targets.extend(overload.targets());
        self.overload = Some(overload);
        self.judge();
        Ok(())
    }

    /// The latencies that the targets are about.
    pub fn authorizations(&self) -> Percentiles {
        self.total.calls.get(Call::Authorize.name()).copied().unwrap_or_default()
    }
}

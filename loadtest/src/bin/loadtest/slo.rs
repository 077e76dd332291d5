//! Targets of a run, and whether it met them. All are of authorizations.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use loadtest::latency::Percentiles;

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slo {
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub p999_ms: Option<f64>,
    /// Errors, timeouts and shed requests, to all requests.
    pub max_error_ratio: Option<f64>,
    /// Approvals, to those intended.
    pub min_approval_ratio: Option<f64>,
}

/// One target. What was never answered is infinitely slow and told as none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    pub name: &'static str,
    pub target: f64,
    pub found: Option<f64>,
    pub is_met: bool,
}

impl Slo {
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("{}", file.display()))
    }

    pub fn judge(&self, latencies: &Percentiles, error_ratio: f64, approval_ratio: f64) -> Vec<Target> {
        let at_most = |name, target: Option<f64>, found: Option<f64>| {
            target.map(|target| Target { name, target, found, is_met: found.is_some_and(|found| found <= target) })
        };
        let none = latencies.count == 0;
        let time = |found: Option<f64>| found.filter(|_| !none);
        let lines = [
            at_most("p50_ms", self.p50_ms, time(latencies.p50_ms)),
            at_most("p99_ms", self.p99_ms, time(latencies.p99_ms)),
            at_most("p999_ms", self.p999_ms, time(latencies.p999_ms)),
            at_most("max_error_ratio", self.max_error_ratio, Some(error_ratio)),
            self.min_approval_ratio.map(|target| Target {
                name: "min_approval_ratio",
                target,
                found: Some(approval_ratio),
                is_met: approval_ratio >= target,
            }),
        ];
        lines.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinite_latency_and_no_latency_meet_no_target() {
        let slo: Slo =
            toml::from_str("p50_ms = 1.0\np99_ms = 2.0\nmax_error_ratio = 0.01\nmin_approval_ratio = 0.95").unwrap();
        let told = Percentiles { count: 10, p50_ms: Some(0.5), p99_ms: None, ..Percentiles::default() };
        let met: Vec<_> = slo.judge(&told, 0.02, 0.96).iter().map(|line| (line.name, line.is_met)).collect();
        let expected = [("p50_ms", true), ("p99_ms", false), ("max_error_ratio", false), ("min_approval_ratio", true)];
        assert_eq!(met, expected);
        let none = Percentiles { p50_ms: Some(0.0), p99_ms: Some(0.0), ..Percentiles::default() };
        assert!(!slo.judge(&none, 0.0, 1.0)[0].is_met);
    }
}

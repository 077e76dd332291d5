//! An overload judged: a normal load, many times the peak, and the normal load again.

use anyhow::{Result, bail};
use serde::Serialize;

use crate::lag::Lag;
use crate::slo::Target;
use crate::stair::Stair;
use loadtest::figures::{count, ms};
use loadtest::latency::Percentiles;
use loadtest::stats::{Call, Point};

/// Approvals in the overload, to the peak.
const LEAST_GOODPUT: f64 = 0.9;
/// p99 of the accepted authorizations in the overload, to that of the normal load.
const MOST_SLOWER: f64 = 2.0;
/// Until the normal load is as before, s.
const MOST_RECOVERY: f64 = 5.0;
/// p99 of what is turned away, ms: far below what a register waits, and most of them need a few ms.
const MOST_TURNED_AWAY_MS: f64 = 100.0;
/// Requests without any answer, to all.
const MOST_UNANSWERED: f64 = 0.001;
/// Retries, cancels and inquiries that were answered as they should be, to those sent.
const LEAST_SETTLED: f64 = 0.999;
/// Less of the intended flows sent, and it was no such overload.
const LEAST_OFFERED: f64 = 0.95;

/// What settles an uncertain sale, during the overload.
#[derive(Serialize)]
pub struct Settled {
    pub call: &'static str,
    pub sent: u64,
    pub answered_share: f64,
    pub p99_ms: Option<f64>,
    pub normal_p99_ms: Option<f64>,
}

#[derive(Serialize)]
pub struct Overload {
    /// Approvals a second in a closed loop.
    pub peak_per_s: f64,
    pub times: f64,
    pub normal_per_s: f64,
    /// Flows whose first request went out in time.
    pub offered_per_s: f64,
    pub offered_share: f64,
    /// Approvals a second in the overload.
    pub goodput_per_s: f64,
    pub goodput_share: f64,
    /// Of authorizations that were decided; none is infinite.
    pub normal_p99_ms: Option<f64>,
    pub overload_p99_ms: Option<f64>,
    pub p99_ratio: Option<f64>,
    pub turned_away_per_s: f64,
    pub turned_away: Percentiles,
    pub throttled: u64,
    /// Timeouts, broken connections, and what found no connection in time.
    pub unanswered: u64,
    pub unanswered_share: f64,
    pub settled: Vec<Settled>,
    /// From the end of the overload to the first half second in which the p99 is normal and nobody is turned away.
    pub normal_again_after_s: Option<f64>,
    /// Records not posted at the end of the overload; none if the metrics are not to be had.
    pub ledger_lag: Option<u64>,
    /// From there until it is as little behind as it was under the normal load.
    pub ledger_caught_up_after_s: Option<f64>,
}

fn p99(stair: &Stair, call: Call) -> Option<f64> {
    stair.calls.get(call.name()).filter(|told| told.count > 0).and_then(|told| told.p99_ms)
}

fn settled(normal: &Stair, overload: &Stair) -> Vec<Settled> {
    let told = [Call::Retry, Call::Cancel, Call::Inquire].into_iter().map(|call| {
        let told = overload.calls.get(call.name()).copied().unwrap_or_default();
        let not_done = overload.not_done.get(call.name()).copied().unwrap_or(0);
        let answered = told.count - told.infinite;
        let sent = told.count + not_done;
        Settled {
            call: call.name(),
            sent,
            answered_share: share(answered, sent),
            p99_ms: p99(overload, call),
            normal_p99_ms: p99(normal, call),
        }
    });
    told.collect()
}

fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

impl Overload {
    /// Of a run of three stairs. `peak`: approvals a second in a closed loop.
    pub fn of(peak: f64, stairs: &[Stair], points: &[Point], lags: &[Lag]) -> Result<Self> {
        let [normal, overload, _] = stairs else { bail!("an overload has three stairs") };
        let counts = &overload.counts;
        let unanswered = counts.timeouts + counts.broken + counts.unsent;
        let sent = counts.arrivals.saturating_sub(counts.unsent) as f64 / overload.seconds;
        let wanted = overload.rate.unwrap_or(0.0);
        let (normal_p99, overload_p99) = (p99(normal, Call::Authorize), p99(overload, Call::Authorize));
        let (ledger_lag, ledger_caught_up_after_s) = lag(lags, normal.seconds, overload.seconds);
        Ok(Self {
            peak_per_s: peak,
            times: wanted / peak,
            normal_per_s: normal.rate.unwrap_or(0.0),
            offered_per_s: sent,
            offered_share: sent / wanted,
            goodput_per_s: overload.approvals_per_s,
            goodput_share: overload.approvals_per_s / peak,
            normal_p99_ms: normal_p99,
            overload_p99_ms: overload_p99,
            p99_ratio: overload_p99.zip(normal_p99).map(|(overload, normal)| overload / normal),
            turned_away_per_s: overload.turned_away.count as f64 / overload.seconds,
            turned_away: overload.turned_away,
            throttled: counts.throttled,
            unanswered,
            unanswered_share: share(unanswered, counts.requests()),
            settled: settled(normal, overload),
            normal_again_after_s: normal_again(points, normal_p99, normal.seconds + overload.seconds),
            ledger_lag,
            ledger_caught_up_after_s,
        })
    }

    pub fn targets(&self) -> Vec<Target> {
        let at_most = |name, target, found: Option<f64>| Target {
            name,
            target,
            found,
            is_met: found.is_some_and(|found| found <= target),
        };
        let at_least = |name, target, found: f64| Target { name, target, found: Some(found), is_met: found >= target };
        let least_settled = self.settled.iter().map(|settled| settled.answered_share).fold(1.0, f64::min);
        vec![
            at_least("goodput_share", LEAST_GOODPUT, self.goodput_share),
            at_most("p99_ratio", MOST_SLOWER, self.p99_ratio),
            at_most("normal_again_after_s", MOST_RECOVERY, self.normal_again_after_s),
            at_most("turned_away_p99_ms", MOST_TURNED_AWAY_MS, self.turned_away.p99_ms),
            at_most("unanswered_share", MOST_UNANSWERED, Some(self.unanswered_share)),
            at_least("settled_share", LEAST_SETTLED, least_settled),
        ]
    }

    /// So little went out that nothing can be said.
    pub fn is_void(&self) -> bool {
        self.offered_share < LEAST_OFFERED
    }

    /// The table.
    pub fn render(&self) -> String {
        let mut rows = vec![
            ("peak, closed loop", format!("{:.0} approvals/s", self.peak_per_s)),
            ("normal load", format!("{:.0}/s: p99 {} ms", self.normal_per_s, ms(self.normal_p99_ms))),
            (
                "offered",
                format!("{:.0}/s, {:.1} times the peak", self.offered_per_s, self.offered_per_s / self.peak_per_s),
            ),
            ("approved", format!("{:.0}/s, {:.1} % of the peak", self.goodput_per_s, self.goodput_share * 100.0)),
            ("p99 of authorizations", format!("{} ms, {} times normal", ms(self.overload_p99_ms), ms(self.p99_ratio))),
            ("turned away (503)", self.turned_away_text()),
            ("no answer", format!("{}; throttled (429) {}", count(self.unanswered), self.throttled)),
        ];
        let settled = self.settled.iter().map(|Settled { call, sent, answered_share, p99_ms, normal_p99_ms }| {
            let p99 = ms(*p99_ms);
            let before = ms(*normal_p99_ms);
            let share = answered_share * 100.0;
            (*call, format!("{} sent, {share:.2} % answered, p99 {p99} ms (normal {before})", count(*sent)))
        });
        rows.extend(settled);
        let after =
            |time: Option<f64>| time.map_or_else(|| "not in this run".to_owned(), |time| format!("{time:.1} s after"));
        rows.push(("as before", after(self.normal_again_after_s)));
        if let Some(lag) = self.ledger_lag {
            let text = format!("{} records behind, caught up {}", count(lag), after(self.ledger_caught_up_after_s));
            rows.push(("ledger at the end", text));
        }
        rows.iter().map(|(name, text)| format!("  {name:<22} {text}\n")).collect()
    }

    fn turned_away_text(&self) -> String {
        let told = &self.turned_away;
        format!(
            "{:.0}/s: p50 {}, p99 {}, max {} ms",
            self.turned_away_per_s,
            ms(told.p50_ms),
            ms(told.p99_ms),
            ms(told.max_ms)
        )
    }
}

/// The begin of the first point after the overload that is like before it, in seconds from its end.
fn normal_again(points: &[Point], normal_p99: Option<f64>, end: f64) -> Option<f64> {
    let limit = normal_p99? * MOST_SLOWER;
    let is_normal = |p99: Option<f64>| p99.is_some_and(|p99| p99 <= limit);
    let after = points.iter().filter(|point| point.at >= end);
    let first = after.into_iter().find(|point| point.errors_per_s <= 0.0 && is_normal(point.p99_ms))?;
    Some(first.at - end)
}

/// How far the ledger was behind at the end of the overload, and how long it took to be as near as before it.
fn lag(lags: &[Lag], normal: f64, overload: f64) -> (Option<u64>, Option<f64>) {
    let end = normal + overload;
    let before = lags.iter().filter(|lag| lag.at < normal).map(|lag| lag.records).max();
    let at_end = lags.iter().rfind(|lag| lag.at <= end).map(|lag| lag.records);
    let near = lags.iter().find(|lag| lag.at >= end && Some(lag.records) <= before);
    (at_end, near.map(|lag| lag.at - end))
}

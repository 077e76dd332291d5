//! A load profile: what is sent, how often. A file of `config/load/`, or made from the command line.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use loadtest::schedule::{Spacing, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Issue a code, then authorize with it; both are measured
    Pair,
    /// Authorize only: the codes are issued before the run, one for each customer
    Authorize,
    /// Authorize online, without a code
    Online,
}

/// Shares of all flows, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Sales answered, then sent again under the same order id: must replay.
    pub retry: f64,
    /// Approved sales that are then cancelled; half of these are then sent again: must be denied.
    pub cancel: f64,
    /// Approved sales that are then refunded, half of them in part.
    pub refund: f64,
    /// Sales that are then asked about.
    pub inquire: f64,
    /// Sales above the limit.
    pub over_limit: f64,
    /// Sales with a code that has paid already.
    pub used_code: f64,
    /// Sales with another issuer's code.
    pub other_issuer: f64,
    /// Sales with a code of ours that was tampered with. A service shuts out their source after a few.
    pub forged: f64,
    /// Approved sales that an impatient client sends again, under new order ids.
    pub hurried: f64,
    /// How often it does.
    pub hurried_times: u8,
}

impl Mix {
    /// A shop's day.
    pub const EVERYDAY: Self = Self {
        retry: 0.03,
        cancel: 0.02,
        refund: 0.01,
        inquire: 0.05,
        over_limit: 0.01,
        used_code: 0.005,
        other_issuer: 0.005,
        forged: 0.0,
        hurried: 0.0,
        hurried_times: 0,
    };
    /// Sales that are approved, and nothing else.
    pub const PLAIN: Self = Self {
        retry: 0.0,
        cancel: 0.0,
        refund: 0.0,
        inquire: 0.0,
        over_limit: 0.0,
        used_code: 0.0,
        other_issuer: 0.0,
        forged: 0.0,
        hurried: 0.0,
        hurried_times: 0,
    };

    fn check(&self) -> Result<()> {
        let denied = [self.over_limit, self.used_code, self.other_issuer, self.forged];
        let shares = [self.retry, self.cancel, self.refund, self.inquire, self.hurried];
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        ensure!(shares.iter().chain(&denied).all(is_share), "[mix]: each is a share from 0 to 1");
        ensure!(denied.iter().sum::<f64>() <= 0.5, "[mix]: at most half of the flows may be meant to be denied");
        ensure!(self.cancel + self.refund <= 1.0, "[mix]: a sale is cancelled or refunded, not both");
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stair {
    /// Flows a second; with `relative`, in capacities.
    pub rate: f64,
    pub seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    pub name: String,
    pub mode: Mode,
    pub spacing: Spacing,
    /// Rates are multiples of the closed-loop capacity, which is given by `--capacity` or measured before the run.
    pub relative: bool,
    /// More is offered than can be done: what is turned away counts as an error, but does not make the run void.
    pub expects_shedding: bool,
    pub connections: usize,
    /// Most requests under way on one connection.
    pub pipeline: usize,
    pub timeout_ms: u64,
    /// At the first stair's rate.
    pub warmup_seconds: f64,
    pub customers: usize,
    /// Exponent of the customers' Zipf distribution; 0: all alike.
    pub zipf: f64,
    pub merchants: usize,
    /// Different amounts in use, from 1 yen up.
    pub prices: u32,
    pub mix: Mix,
    #[serde(rename = "step")]
    pub steps: Vec<Stair>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            name: "run".to_owned(),
            mode: Mode::Pair,
            spacing: Spacing::Poisson,
            relative: false,
            expects_shedding: false,
            connections: 64,
            pipeline: 1,
            timeout_ms: 2_000,
            warmup_seconds: 2.0,
            customers: 10_000,
            zipf: 0.9,
            merchants: 20,
            prices: 200,
            mix: Mix::EVERYDAY,
            steps: Vec::new(),
        }
    }
}

impl Profile {
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let profile: Self = toml::from_str(&text).with_context(|| format!("{}", file.display()))?;
        profile.check().with_context(|| format!("{}", file.display()))?;
        Ok(profile)
    }

    pub fn check(&self) -> Result<()> {
        self.mix.check()?;
        ensure!((1..=10_000).contains(&self.connections), "connections: 1 to 10,000");
        ensure!((1..=1_000).contains(&self.pipeline), "pipeline: 1 to 1,000");
        ensure!((10..=600_000).contains(&self.timeout_ms), "timeout_ms: 10 to 600,000");
        ensure!((1..=50_000_000).contains(&self.customers), "customers: 1 to 50,000,000");
        ensure!((1..=1_000).contains(&self.merchants), "merchants: 1 to 1,000");
        ensure!((1..=10_000).contains(&self.prices), "prices: 1 to 10,000");
        ensure!((0.0..=5.0).contains(&self.zipf), "zipf: 0 to 5");
        ensure!((0.0..=3_600.0).contains(&self.warmup_seconds), "warmup_seconds: 0 to 3,600");
        for stair in &self.steps {
            ensure!((0.0..=10_000_000.0).contains(&stair.rate), "rate: 0 to 10,000,000");
            ensure!(stair.seconds > 0.0 && stair.seconds <= 86_400.0, "seconds: above 0, at most a day");
        }
        if self.mode == Mode::Online && self.mix.used_code + self.mix.other_issuer + self.mix.forged > 0.0 {
            bail!("[mix]: online sales have no codes to be used up, foreign or forged");
        }
        if self.mode == Mode::Authorize && self.mix.used_code > 0.0 {
            bail!("[mix]: used_code needs the mode `pair`");
        }
        Ok(())
    }

    /// The staircase, with the warm-up as its first stair.
    pub fn staircase(&self, capacity: f64) -> Vec<Step> {
        let unit = if self.relative { capacity } else { 1.0 };
        let first = self.steps.first().map_or(0.0, |stair| stair.rate);
        let warmup = Step { rate: first * unit, seconds: self.warmup_seconds, is_measured: false };
        let measured =
            self.steps.iter().map(|stair| Step { rate: stair.rate * unit, seconds: stair.seconds, is_measured: true });
        std::iter::once(warmup).filter(|step| step.seconds > 0.0).chain(measured).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_profiles_are_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/load");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let profile = Profile::load(&path).unwrap_or_else(|error| panic!("{error:#}"));
            assert!(!profile.steps.is_empty(), "{} has no steps", profile.name);
            assert_eq!(path.file_stem().unwrap().to_str(), Some(profile.name.as_str()));
            names.push(profile.name);
        }
        names.sort();
        assert_eq!(names, ["limited-drop", "overload-10x", "payday", "smoke", "store-rush"]);
    }

    #[test]
    fn a_misspelt_key_or_an_impossible_value_is_refused() {
        for wrong in ["conections = 3", "zipf = 9.0", "[mix]\nretry = 1.5", "[[step]]\nrate = 1.0\nseconds = 0.0"] {
            let profile = toml::from_str::<Profile>(wrong).map_err(anyhow::Error::from);
            assert!(profile.and_then(|profile| profile.check()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_warm_up_is_a_stair_that_is_not_measured() {
        let stairs = vec![Stair { rate: 0.5, seconds: 3.0 }, Stair { rate: 10.0, seconds: 4.0 }];
        let profile = Profile { relative: true, steps: stairs, ..Profile::default() };
        let steps = profile.staircase(1_000.0);
        assert_eq!(steps.iter().map(|step| step.rate).collect::<Vec<_>>(), [500.0, 500.0, 10_000.0]);
        assert_eq!(steps.iter().map(|step| step.is_measured).collect::<Vec<_>>(), [false, true, true]);
    }
}

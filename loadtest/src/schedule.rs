//! When requests are meant to be sent: decided beforehand, whatever the server does.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1};

use crate::clock::{Nanos, from_seconds};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Spacing {
    /// Equal gaps
    Fixed,
    /// Random gaps, as of many customers who know nothing of each other
    Poisson,
}

/// One stair of the staircase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Arrivals a second.
    pub rate: f64,
    pub seconds: f64,
    /// The warm-up is played but not measured.
    pub is_measured: bool,
}

/// One flow that is meant to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub at: Nanos,
    pub step: usize,
}

pub struct Schedule {
    steps: Vec<Step>,
    spacing: Spacing,
    random: SmallRng,
    step: usize,
    step_began: Nanos,
    /// Arrivals so far in this step.
    count: u64,
    /// Seconds since the step's begin.
    at: f64,
}

impl Schedule {
    pub fn new(steps: Vec<Step>, spacing: Spacing, begins: Nanos, seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self { steps, spacing, random, step: 0, step_began: begins, count: 0, at: 0.0 }
    }

    /// The end of every step, in order.
    pub fn ends(steps: &[Step], begins: Nanos) -> Vec<Nanos> {
        let mut at = begins;
        steps
            .iter()
            .map(|step| {
                at += from_seconds(step.seconds);
                at
            })
            .collect()
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let step = self.steps.get(self.step)?;
            let at = match self.spacing {
                // From the count and not from the one before: rounding must not add up.
                Spacing::Fixed => self.count as f64 / step.rate,
                Spacing::Poisson => {
                    let gap: f64 = Exp1.sample(&mut self.random);
                    self.at + gap / step.rate
                }
            };
            // No arrivals at all with a rate of zero: `at` is not a number or infinite.
            if at < step.seconds {
                self.at = at;
                self.count += 1;
                return Some(Arrival { at: self.step_began + from_seconds(at), step: self.step });
            }
            self.step_began += from_seconds(step.seconds);
            self.step += 1;
            self.count = 0;
            self.at = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{MILLISECOND, SECOND};

    fn step(rate: f64, seconds: f64) -> Step {
        Step { rate, seconds, is_measured: true }
    }

    #[test]
    fn a_fixed_schedule_is_exact() {
        let steps = vec![step(1_000.0, 0.004), step(0.0, 1.0), step(500.0, 0.004)];
        let all: Vec<_> = Schedule::new(steps, Spacing::Fixed, SECOND, 1).collect();
        let ms = |count: u64| SECOND + count * MILLISECOND;
        let at: Vec<_> = all.iter().map(|arrival| (arrival.at, arrival.step)).collect();
        assert_eq!(at, [(ms(0), 0), (ms(1), 0), (ms(2), 0), (ms(3), 0), (ms(1_004), 2), (ms(1_006), 2)]);
    }

    #[test]
    fn rounding_does_not_add_up() {
        let all: Vec<_> = Schedule::new(vec![step(3_000.0, 100.0)], Spacing::Fixed, 0, 1).collect();
        assert_eq!(all.len(), 300_000);
        assert_eq!(all[299_997].at / MILLISECOND, 99_999);
    }

    #[test]
    fn a_poisson_schedule_has_its_rate_and_its_spread() {
        let all: Vec<_> = Schedule::new(vec![step(5_000.0, 20.0), step(100.0, 10.0)], Spacing::Poisson, 0, 7).collect();
        let (fast, slow): (Vec<Arrival>, Vec<Arrival>) =
            all.iter().copied().partition(|arrival: &Arrival| arrival.step == 0);
        // Five standard deviations of a count of n are 5 √n.
        assert!((98_419..=101_581).contains(&fast.len()), "{}", fast.len());
        assert!((842..=1_158).contains(&slow.len()), "{}", slow.len());
        assert!(all.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert!(slow.iter().all(|arrival| (20 * SECOND..30 * SECOND).contains(&arrival.at)));
        let gaps: Vec<f64> = fast.windows(2).map(|pair| (pair[1].at - pair[0].at) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // The gaps of a Poisson process are exponential: mean = standard deviation.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{}", variance.sqrt() / mean);
    }

    #[test]
    fn the_same_seed_plays_the_same() {
        let play = |seed| Schedule::new(vec![step(100.0, 1.0)], Spacing::Poisson, 0, seed).collect::<Vec<_>>();
        assert_eq!(play(3), play(3));
        assert_ne!(play(3), play(4));
    }
}

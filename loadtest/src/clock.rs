//! Time of a run: nanoseconds since its start.

use std::time::{Duration, Instant};

/// Nanoseconds since the start of the run.
pub type Nanos = u64;

pub const MICROSECOND: Nanos = 1_000;
pub const MILLISECOND: Nanos = 1_000_000;
pub const SECOND: Nanos = 1_000_000_000;

#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(self) -> Nanos {
        nanos(self.0.elapsed())
    }
}

pub fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

/// Nanoseconds of a figure given in seconds. Negative and absurd ones are clipped.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clipped before")]
pub fn from_seconds(seconds: f64) -> Nanos {
    (seconds.clamp(0.0, 1e9) * 1e9) as Nanos
}

pub fn seconds(time: Nanos) -> f64 {
    time as f64 / 1e9
}

pub fn millis(time: Nanos) -> f64 {
    time as f64 / 1e6
}

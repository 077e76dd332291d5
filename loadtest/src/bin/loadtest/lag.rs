//! How far the ledger is behind, looked at now and then while a play goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

use loadtest::clock::{Clock, Nanos, seconds};
use loadtest::setup::{Target, ledger_lag, pause};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lag {
    /// Seconds since the begin of the measurement.
    pub at: f64,
    /// Not yet posted.
    pub records: u64,
}

pub struct LagWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Lag>>,
}

impl LagWatch {
    /// Looks from `begins` on, at the metrics of the service.
    pub fn start(target: &Target, clock: Clock, begins: Nanos) -> Self {
        let target = target.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !told.load(Ordering::Acquire) {
                let now = clock.now();
                if now >= begins
                    && let Some(records) = ledger_lag(&target)
                {
                    seen.push(Lag { at: seconds(now - begins), records });
                }
                pause(EVERY);
            }
            seen
        });
        Self { stop, thread }
    }

    /// What was seen; nothing if the metrics are not to be had.
    pub fn stop(self) -> Vec<Lag> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap_or_default()
    }
}

//! What the machine did meanwhile: how fast its disk syncs, and how much of its processors others took. A thread
//! of its own, asleep nearly always.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::clock::{Clock, Nanos, seconds};
use crate::latency::{Latencies, Percentiles};

/// Between two syncs.
const EVERY: Duration = Duration::from_millis(50);
const BLOCK: usize = 4_096;
const BLOCKS: u64 = 256;

/// Ticks of all processors since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ticks {
    pub all: u64,
    pub idle: u64,
    pub steal: u64,
}

impl Ticks {
    /// Reads `/proc/stat`.
    pub fn now() -> Self {
        std::fs::read_to_string("/proc/stat").ok().and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        // user nice system idle iowait irq softirq steal; guests are in user already.
        let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
        let [.., idle, wait, _, _, steal] = *ticks.as_slice() else { return None };
        Some(Self { all: ticks.iter().sum(), idle: idle + wait, steal })
    }

    /// Share of steal since `before`.
    pub fn steal_since(self, before: Self) -> f64 {
        share(self.steal.saturating_sub(before.steal), self.all.saturating_sub(before.all))
    }

    /// Share of all that was not idle since `before`.
    pub fn busy_since(self, before: Self) -> f64 {
        1.0 - share(self.idle.saturating_sub(before.idle), self.all.saturating_sub(before.all))
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// The machine at one moment of the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moment {
    /// Seconds since the begin of the measurement.
    pub at: f64,
    /// Slowest sync since the moment before, ms.
    pub sync_max_ms: Option<f64>,
    pub steal: f64,
}

/// What the probe saw.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// `fdatasync` of 4 KiB into a file of zeros, about 20 a second.
    pub disk: Option<Percentiles>,
    pub steal: f64,
    pub busy: f64,
    pub moments: Vec<Moment>,
}

pub struct Probe {
    stop: Sender<()>,
    thread: JoinHandle<Result<Machine>>,
}

fn prepare(folder: &Path) -> Result<File> {
    let file =
        tempfile::tempfile_in(folder).with_context(|| format!("the disk probe's file in {}", folder.display()))?;
    for block in 0..BLOCKS {
        file.write_all_at(&[0; BLOCK], block * BLOCK as u64)?;
    }
    file.sync_all()?;
    Ok(file)
}

impl Probe {
    /// Watches from `begins` on. Without a folder, the disk is left alone. A moment of the report is `every` long.
    pub fn start(folder: Option<&Path>, clock: Clock, begins: Nanos, every: Nanos) -> Result<Self> {
        let file = folder.map(prepare).transpose()?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("probe".to_owned()).spawn(move || {
            let mut machine = Machine::default();
            let mut disk = Latencies::default();
            let pause = |time| matches!(stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout));
            if !pause(Duration::from_nanos(begins.saturating_sub(clock.now()))) {
                return Ok(machine);
            }
            let begin = Ticks::now();
            let mut before = begin;
            let mut next = clock.now() + every;
            let mut slowest = None;
            let mut block = 0;
            while pause(EVERY) {
                if let Some(file) = &file {
                    block = (block + 1) % BLOCKS;
                    let began = clock.now();
                    file.write_all_at(&[1; BLOCK], block * BLOCK as u64)?;
                    file.sync_data()?;
                    let took = clock.now() - began;
                    disk.record(took);
                    slowest = slowest.max(Some(took));
                }
                if clock.now() >= next {
                    let now = Ticks::now();
                    machine.moments.push(Moment {
                        at: machine.moments.len() as f64 * seconds(every),
                        sync_max_ms: slowest.take().map(crate::clock::millis),
                        steal: now.steal_since(before),
                    });
                    (before, next) = (now, next + every);
                }
            }
            let end = Ticks::now();
            machine.steal = end.steal_since(begin);
            machine.busy = end.busy_since(begin);
            machine.disk = file.is_some().then(|| disk.percentiles());
            Ok(machine)
        })?;
        Ok(Self { stop, thread })
    }

    pub fn stop(self) -> Result<Machine> {
        // It may have ended by an error already; that is told by the join.
        self.stop.send(()).ok();
        self.thread.join().map_err(|_| anyhow::anyhow!("the disk probe panicked"))?
    }
}

/// Processor time that a process has used.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets; utime and stime are the 12th and 13th word behind it.
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = words.get(11)?.parse::<u64>().ok()? + words.get(12)?.parse::<u64>().ok()?;
    // 100 a second on every Linux of today (USER_HZ).
    Some(Duration::from_millis(ticks * 10))
}

/// Resident memory of a process, bytes.
pub fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// The same in MiB.
pub fn resident_mib(pid: u32) -> Option<u64> {
    resident(pid).map(|bytes| bytes / (1_024 * 1_024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLISECOND;

    #[test]
    fn the_ticks_are_those_of_proc_stat() {
        let before = Ticks::parse("cpu  10 0 10 70 5 1 1 3 0 0\ncpu0 1\n").unwrap();
        assert_eq!(before, Ticks { all: 100, idle: 75, steal: 3 });
        let after = Ticks { all: 200, idle: 125, steal: 13 };
        assert!((after.steal_since(before) - 0.1).abs() < 1e-9);
        assert!((after.busy_since(before) - 0.5).abs() < 1e-9);
        assert_eq!(Ticks::parse("intr 1"), None);
        assert!(Ticks::now().all > 0);
    }

    #[test]
    fn the_probe_syncs_some_twenty_times_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::start();
        let probe = Probe::start(Some(folder.path()), clock, 0, 200 * MILLISECOND).unwrap();
        crate::setup::pause(Duration::from_millis(700));
        let machine = probe.stop().unwrap();
        let count = machine.disk.unwrap().count;
        assert!((1..=14).contains(&count), "{count}");
        assert!(cpu_time(std::process::id()).is_some() && resident_mib(std::process::id()).is_some());
    }
}

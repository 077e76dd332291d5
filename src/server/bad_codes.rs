//! Who sends too many bad codes: sliding one-minute counts per key, merchant and terminal, and per key, so that
//! made-up terminals do not get around it. A customer's account is never touched by it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::domain::ids::{MerchantId, TerminalId};

const WINDOW: Duration = Duration::from_secs(60);

/// Where a code came from. `key` is the caller's number, `key_limit` its bound over all its terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub key: u32,
    pub key_limit: usize,
    pub merchant: MerchantId,
    pub terminal: Option<TerminalId>,
}

/// Whether a source may have a new code judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Open,
    /// Not before this long.
    Shut(Duration),
}

/// Times of one source's bad codes, oldest first; never more than the limit.
type Times = VecDeque<Instant>;

#[derive(Default)]
struct Counts {
    by_terminal: HashMap<Source, Times, RandomState>,
    by_key: HashMap<u32, Times, RandomState>,
}

pub struct BadCodes {
    per_terminal: usize,
    /// Most terminals counted at once.
    most: usize,
    counts: Mutex<Counts>,
}

fn add(times: &mut Times, now: Instant) {
    trim(times, now);
    times.push_back(now);
}

fn trim(times: &mut Times, now: Instant) {
    while times.front().is_some_and(|at| now.saturating_duration_since(*at) >= WINDOW) {
        times.pop_front();
    }
}

/// How long until one more fits, if none does now.
fn wait(times: Option<&Times>, limit: usize, now: Instant) -> Option<Duration> {
    let times = times?;
    let in_force = times.iter().filter(|at| now.saturating_duration_since(**at) < WINDOW);
    let oldest = in_force.clone().next()?;
    (in_force.count() >= limit).then(|| WINDOW.saturating_sub(now.saturating_duration_since(*oldest)))
}

impl BadCodes {
    pub fn new(per_terminal: usize, most: usize) -> Self {
        Self { per_terminal, most, counts: Mutex::default() }
    }

    /// Whether a code from here may be judged, and counts it if it is bad. It counts before the judgement, so
    /// that many at once do not slip through; [`BadCodes::forgive`] takes it back.
    pub fn check(&self, source: &Source, is_bad: bool, now: Instant) -> Pass {
        let mut counts = self.counts.lock();
        let waits = [
            wait(counts.by_terminal.get(source), self.per_terminal, now),
            wait(counts.by_key.get(&source.key), source.key_limit, now),
        ];
        if let Some(longest) = waits.into_iter().flatten().max() {
            return Pass::Shut(longest);
        }
        if !is_bad {
            return Pass::Open;
        }
        if !counts.by_terminal.contains_key(source) && counts.by_terminal.len() >= self.most {
            counts.by_terminal.retain(|_, times| {
                trim(times, now);
                !times.is_empty()
            });
            if counts.by_terminal.len() >= self.most {
                // No room to count one more source, and no count in force is given up for it.
                return Pass::Shut(WINDOW);
            }
        }
        add(counts.by_terminal.entry(*source).or_default(), now);
        add(counts.by_key.entry(source.key).or_default(), now);
        Pass::Open
    }

    /// Takes back the latest count: it was a known order sent again, not a new code.
    pub fn forgive(&self, source: &Source) {
        let mut counts = self.counts.lock();
        if let Some(times) = counts.by_terminal.get_mut(source) {
            times.pop_back();
        }
        if let Some(times) = counts.by_key.get_mut(&source.key) {
            times.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_LIMIT: usize = 7;

    fn source(key: u32, terminal: &str) -> Source {
        Source {
            key,
            key_limit: KEY_LIMIT,
            merchant: MerchantId::new("mrc_a").unwrap(),
            terminal: Some(TerminalId::new(terminal).unwrap()),
        }
    }

    #[test]
    fn the_sixth_bad_code_in_a_minute_waits() {
        let (codes, start) = (BadCodes::new(5, 100), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for second in 0..5 {
            assert_eq!(codes.check(&source(1, "T1"), true, after(second)), Pass::Open);
        }
        assert_eq!(codes.check(&source(1, "T1"), false, after(10)), Pass::Shut(Duration::from_secs(50)));
        assert_eq!(codes.check(&source(1, "T2"), true, after(10)), Pass::Open, "another terminal is not slowed");
        assert_eq!(codes.check(&source(1, "T1"), true, after(60)), Pass::Open, "the first has left the window");
        assert_eq!(codes.check(&source(1, "T1"), true, after(60)), Pass::Shut(Duration::from_secs(1)));
    }

    #[test]
    fn made_up_terminals_are_counted_by_their_key() {
        let (codes, now) = (BadCodes::new(5, 100), Instant::now());
        for n in 0..7 {
            assert_eq!(codes.check(&source(1, &format!("T{n}")), true, now), Pass::Open);
        }
        assert_eq!(codes.check(&source(1, "T9"), true, now), Pass::Shut(WINDOW));
        assert_eq!(codes.check(&source(2, "T9"), true, now), Pass::Open);
    }

    #[test]
    fn a_full_map_refuses_new_sources_and_keeps_its_counts() {
        let (codes, now) = (BadCodes::new(1, 2), Instant::now());
        assert_eq!(codes.check(&source(1, "T1"), true, now), Pass::Open);
        assert_eq!(codes.check(&source(1, "T2"), true, now), Pass::Open);
        assert_eq!(codes.check(&source(1, "T3"), true, now), Pass::Shut(WINDOW));
        assert_eq!(codes.check(&source(1, "T3"), false, now), Pass::Open, "good codes pass");
        assert_ne!(codes.check(&source(1, "T1"), true, now), Pass::Open, "the old count stands");
        assert_eq!(codes.check(&source(1, "T3"), true, now + WINDOW), Pass::Open);
    }

    #[test]
    fn a_replay_is_forgiven() {
        let (codes, now) = (BadCodes::new(1, 2), Instant::now());
        assert_eq!(codes.check(&source(1, "T1"), true, now), Pass::Open);
        codes.forgive(&source(1, "T1"));
        assert_eq!(codes.check(&source(1, "T1"), true, now), Pass::Open);
    }
}

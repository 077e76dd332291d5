//! The nonces of one key's signed requests, each remembered for as long as its request could be sent again.
//!
//! The rule that a clock stepping back cannot break: a nonce is forgotten only below a floor, the floor only rises,
//! and what was signed before the floor is refused. A small step back changes nothing; after a large one, requests
//! are refused until the clock is where it was, or the service was started again.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::domain::model::time::Millis;

/// Locks, so that the threads of the edge seldom wait for each other and none sweeps all nonces at once.
const SHARDS: usize = 16;
/// How far the floor rises between two sweeps, ms; and where there is no room.
const SWEEP_EVERY: i64 = 15_000;
const SWEEP_EVERY_FULL: i64 = 1_000;

/// Why a nonce is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Signed so long ago that its nonce may be forgotten.
    Stale,
    /// Used already.
    Used,
    /// No room to remember one more, and none in force is forgotten for it.
    Full,
}

pub(crate) struct Nonces {
    hasher: RandomState,
    /// Most nonces of a shard.
    most: usize,
    shards: [Mutex<Shard>; SHARDS],
}

struct Shard {
    /// When the request was signed, by the hash of its nonce. Two nonces with one hash of 64 bits would only refuse
    /// an honest request, and nobody outside knows the hasher's seed.
    live: HashMap<u64, i64, foldhash::fast::FixedState>,
    /// Nothing signed before it is taken, ms.
    floor: i64,
    /// The floor at the last sweep.
    swept: i64,
}

impl Nonces {
    /// At most `most` nonces in all. `born`: what was signed earlier may have been taken by a process before this.
    pub(crate) fn new(most: usize, born: Millis) -> Self {
        // Times of signing are in whole seconds.
        let floor = born.0.div_euclid(1_000) * 1_000;
        let shard = || Mutex::new(Shard { live: HashMap::default(), floor, swept: floor });
        Self { hasher: RandomState::default(), most: most.div_ceil(SHARDS), shards: std::array::from_fn(|_| shard()) }
    }

    /// What was signed earlier may have been taken by another one, which decided until now.
    pub(crate) fn begin_at(&self, now: Millis) {
        // The second that has begun is that one's too.
        let floor = (now.0.div_euclid(1_000) + 1) * 1_000;
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.floor = shard.floor.max(floor);
        }
    }

    /// Uses a nonce up. `oldest`: nothing signed before it is taken any more, now or later.
    pub(crate) fn take(&self, nonce: &str, created: Millis, oldest: Millis) -> Result<(), Refusal> {
        let hash = self.hasher.hash_one(nonce);
        let shard = usize::try_from(hash % SHARDS as u64).ok().and_then(|at| self.shards.get(at));
        shard.map_or(Err(Refusal::Full), |shard| shard.lock().take(hash, created.0, oldest.0, self.most))
    }
}

impl Shard {
    fn take(&mut self, hash: u64, created: i64, oldest: i64, most: usize) -> Result<(), Refusal> {
        self.floor = self.floor.max(oldest);
        if created < self.floor {
            return Err(Refusal::Stale);
        }
        if self.live.get(&hash).is_some_and(|used| *used >= self.floor) {
            return Err(Refusal::Used);
        }
        let is_full = self.live.len() >= most;
        if self.floor - self.swept >= if is_full { SWEEP_EVERY_FULL } else { SWEEP_EVERY } {
            let floor = self.floor;
            self.live.retain(|_, created| *created >= floor);
            self.swept = floor;
        }
        if self.live.len() >= most {
            return Err(Refusal::Full);
        }
        self.live.insert(hash, created);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_790_000_000_000;
    const TOLERANCE: i64 = 60_000;

    fn at(ms: i64) -> Millis {
        Millis(START + ms)
    }

    /// A request signed at `created`, at a time `now`.
    fn take(nonces: &Nonces, nonce: &str, created: i64, now: i64) -> Result<(), Refusal> {
        nonces.take(nonce, at(created), at(now - TOLERANCE))
    }

    #[test]
    fn what_another_node_may_have_taken_is_not_taken() {
        let nonces = Nonces::new(1_024, Millis(0));
        nonces.begin_at(Millis(10_500));
        assert_eq!(nonces.take("a", Millis(10_000), Millis(0)), Err(Refusal::Stale));
        assert_eq!(nonces.take("a", Millis(11_000), Millis(0)), Ok(()));
    }

    #[test]
    fn a_nonce_is_good_once_whatever_else_was_signed_with_it() {
        let nonces = Nonces::new(100, at(0));
        assert_eq!(take(&nonces, "a", 0, 0), Ok(()));
        assert_eq!(take(&nonces, "b", 0, 0), Ok(()));
        assert_eq!(take(&nonces, "a", 0, 60_000), Err(Refusal::Used), "to the last moment of its window");
        assert_eq!(take(&nonces, "a", 30_000, 30_000), Err(Refusal::Used), "signed again with the same nonce");
        assert_eq!(take(&nonces, "a", 0, 60_001), Err(Refusal::Stale));
        assert_eq!(take(&nonces, "a", 200_000, 200_000), Ok(()), "long after, it is a new one");
    }

    #[test]
    fn a_clock_that_steps_back_does_not_open_the_window_again() {
        let nonces = Nonces::new(1_000, at(0));
        assert_eq!(take(&nonces, "a", 1_000, 1_000), Ok(()));
        assert_eq!(take(&nonces, "future", 60_000, 1_000), Ok(()));
        // An hour later all of it is forgotten: every shard has seen a request and swept.
        for n in 0..500 {
            assert_eq!(take(&nonces, &n.to_string(), 3_600_000, 3_600_000), Ok(()));
        }
        assert!(nonces.shards.iter().all(|shard| shard.lock().live.values().all(|created| *created > at(60_000).0)));
        // Back at the first second, by its clock the requests are fresh.
        assert_eq!(take(&nonces, "a", 1_000, 1_000), Err(Refusal::Stale));
        assert_eq!(take(&nonces, "future", 60_000, 1_000), Err(Refusal::Stale));
        assert_eq!(take(&nonces, "new", 1_000, 1_000), Err(Refusal::Stale), "none can be told from a replay");
        // A step within the tolerance is nothing: what it would let in is remembered.
        assert_eq!(take(&nonces, "0", 3_600_000, 3_550_000), Err(Refusal::Used));
        assert_eq!(take(&nonces, "new", 3_550_000, 3_550_000), Ok(()));
    }

    #[test]
    fn what_was_signed_before_the_start_may_have_been_used() {
        let nonces = Nonces::new(100, at(5_700));
        assert_eq!(take(&nonces, "a", 4_000, 5_700), Err(Refusal::Stale));
        assert_eq!(take(&nonces, "a", 5_000, 5_700), Ok(()), "the second of the start");
    }

    #[test]
    fn no_live_nonce_is_forgotten_for_a_new_one() {
        let nonces = Nonces::new(SHARDS, at(0));
        let results: Vec<_> = (0..200).map(|n| take(&nonces, &n.to_string(), 0, 0)).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), SHARDS);
        assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(Refusal::Full))));
        for (n, result) in results.iter().enumerate().filter(|(_, result)| result.is_ok()) {
            assert_eq!(take(&nonces, &n.to_string(), 0, 60_000), Err(Refusal::Used), "{result:?}");
        }
        // Once they can't be sent again, there is room.
        let freed = (0..200).filter(|n| take(&nonces, &format!("later {n}"), 62_000, 62_000).is_ok()).count();
        assert_eq!(freed, SHARDS);
    }
}

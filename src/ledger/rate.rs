//! How fast records come in, by which the writer gives way.

use std::time::{Duration, Instant};

use crate::domain::model::ids::Lsn;

/// While more records a second than this come in, the ledger takes a tenth of the time: it shares cores and disk with
/// the answers, and the dirty pages of its transactions hold the journal's syncs up (`docs/decisions/0010`). An
/// authorization with its code makes two records, so up to 15,000 of them a second nothing is held back.
pub(crate) const RUSH: u64 = 30_000;
/// Behind by so many records it works on all the same: some ten seconds of draining, a gigabyte of journal.
pub(crate) const MOST_BEHIND: u64 = 2_000_000;
/// Rests of a tenth's worker, for each time it worked.
pub(crate) const RESTS: u32 = 9;
/// The rate is counted over at least so long, and a rest is looked at again after it.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// How fast records come in.
pub(crate) struct Rate {
    since: Instant,
    last: Lsn,
    /// Records a second, lately.
    rate: u64,
}

impl Rate {
    pub(crate) fn new(last: Lsn, now: Instant) -> Self {
        Self { since: now, last, rate: 0 }
    }

    pub(crate) fn at(&mut self, last: Lsn, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.since);
        if passed >= LOOK {
            let records = last.0.saturating_sub(self.last.0);
            self.rate = records.saturating_mul(1_000) / u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
            (self.since, self.last) = (now, last);
        }
        self.rate
    }
}

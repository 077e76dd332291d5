//! Damage found in the journal while the service runs. What a start would refuse ends the service at once: no approval
//! may rest on a journal that could not be recovered (`docs/decisions/0015`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::follow::TailError;
use super::stop::leave;
use crate::domain::model::ids::Lsn;
use crate::http::{Condition, Readiness};
use crate::journal::local::recover::{first_read, segments_of};

/// As for a journal that is damaged at a start.
const EXIT: i32 = 65;

/// Where readers of the live journal report what they find. Each has a clone.
#[derive(Clone)]
pub(crate) struct Damage {
    dir: PathBuf,
    /// The ledger's position.
    posted: Arc<AtomicU64>,
    pub readiness: Arc<Readiness>,
    /// The engine's.
    is_halted: Arc<AtomicBool>,
}

impl Damage {
    pub fn new(dir: &Path, posted: &Arc<AtomicU64>, readiness: &Arc<Readiness>, is_halted: &Arc<AtomicBool>) -> Self {
        let (posted, readiness, is_halted) = (Arc::clone(posted), Arc::clone(readiness), Arc::clone(is_halted));
        Self { dir: dir.to_owned(), posted, readiness, is_halted }
    }

    /// Whether recovery reads this segment: that of the ledger's position, or a later one. Where the folder can't be
    /// listed only a segment behind the position is known to be one.
    pub fn is_needed(&self, segment: Lsn) -> bool {
        let posted = Lsn(self.posted.load(Ordering::Acquire));
        segment > posted || segments_of(&self.dir).is_ok_and(|firsts| segment >= first_read(&firsts, posted))
    }

    /// The first record behind a segment that can't be read.
    pub fn behind(&self, segment: Lsn) -> Option<Lsn> {
        segments_of(&self.dir).ok()?.into_iter().find(|&first| first > segment)
    }

    /// Ends the process. Nothing new is taken from this moment on, and what is under way is not answered.
    pub fn stop(&self, error: &TailError) -> ! {
        self.is_halted.store(true, Ordering::Relaxed);
        self.readiness.set(Condition::JournalSound, false);
        let error = error.to_string();
        leave(EXIT, move || tracing::error!(error, "the journal is damaged; stopping"))
    }
}

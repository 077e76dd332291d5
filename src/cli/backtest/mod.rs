//! `sokketsu backtest`: what another policy would have said to every sale of a journal, with all that follows from it. It
//! only reads, and may run beside a live server. docs/decisions/0023 has what is assumed and why.

pub mod anew;
pub mod report;
pub mod worlds;

use std::sync::Arc;

use super::serve::backends::{AtRest, NoJournal, at_rest, may_be_read};
use crate::config::Records;
use crate::domain::model::ids::Lsn;
use crate::domain::model::policy::{BadPolicy, Policy};
use crate::domain::model::time::Date;
use crate::domain::state::State;
use crate::engine::recovery::{RecoveryError, replay};
use crate::journal::JournalError;
use report::Report;
use worlds::Worlds;

/// Records between two rounds of freeing memory and telling how far it is.
const FREE_EVERY: u64 = 10_000;

/// What becomes of a sale that only the tried policy approves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Assume {
    /// Paid when the customer's real bill of that month was, and unpaid where that was not.
    #[default]
    AsBilled,
    /// Paid on its due date.
    Paid,
    Unpaid,
}

/// What is tried, and on which days (both included).
#[derive(Clone, Debug)]
pub struct Trial {
    pub text: Box<str>,
    pub policy: Arc<Policy>,
    pub from: Option<Date>,
    pub to: Option<Date>,
    pub assume: Assume,
}

impl Trial {
    pub fn of(text: &str) -> Result<Self, BadPolicy> {
        let policy = Arc::new(Policy::parse(text)?);
        Ok(Self { text: text.into(), policy, from: None, to: None, assume: Assume::default() })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    NoJournal(#[from] NoJournal),
    #[error(
        "the journal begins at record {0}: records 1 to {before} were released, and with them what customers owed by then; \
         run it on a copy of the journal that has them", before = .0.0.saturating_sub(1)
    )]
    Released(Lsn),
}

/// Plays the journal in both worlds. `progress` is told the record being read.
pub fn backtest(records: &Records, trial: Trial, progress: &mut dyn FnMut(Lsn, Lsn)) -> Result<Report, BacktestError> {
    may_be_read(records)?;
    let AtRest { mut journal, .. } = at_rest(records)?;
    let found = journal.examine(Lsn::ZERO)?;
    if found.first > Lsn(1) && found.last > Lsn::ZERO {
        return Err(BacktestError::Released(found.first));
    }
    let mut real = State::new(records.settings);
    let mut worlds = Worlds::new(records.settings, trial);
    replay(&mut real, journal.as_mut(), |real, lsn, event, now| {
        worlds.hear(real, lsn, event, now);
        if lsn.0.is_multiple_of(FREE_EVERY) {
            real.forget(now.at, lsn, usize::MAX);
            worlds.forget(now, lsn);
            progress(lsn, found.last);
        }
    })?;
    Ok(worlds.finish(&real))
}

#[cfg(test)]
mod tests;

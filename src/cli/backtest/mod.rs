//! `sokketsu backtest`: what another policy would have said to every sale of a journal, with all that follows from it. It
//! only reads, and may run beside a live server. docs/decisions/0023 has what is assumed and why.

pub mod anew;
pub mod report;
pub mod worlds;

use std::sync::Arc;

use super::whole::{WholeError, whole_journal};
use crate::config::Records;
use crate::domain::model::ids::Lsn;
use crate::domain::model::policy::{BadPolicy, Policy};
use crate::domain::model::time::Date;
use crate::domain::state::State;
use crate::engine::recovery::replay;
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

/// Plays the journal in both worlds. `progress` is told the record being read.
pub fn backtest(records: &Records, trial: Trial, progress: &mut dyn FnMut(Lsn, Lsn)) -> Result<Report, WholeError> {
    let (mut journal, last) = whole_journal(records)?;
    let mut real = State::new(records.settings);
    let mut worlds = Worlds::new(records.settings, trial);
    replay(&mut real, journal.as_mut(), |real, lsn, event, now| {
        worlds.hear(real, lsn, event, now);
        if lsn.0.is_multiple_of(FREE_EVERY) {
            real.forget(now.at, lsn, usize::MAX);
            worlds.forget(now, lsn);
            progress(lsn, last);
        }
    })?;
    Ok(worlds.finish(&real))
}

#[cfg(test)]
mod tests;

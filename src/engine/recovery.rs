//! Coming back: accounts from the ledger, then the journal after its position.

use crate::domain::model::ids::Lsn;
use crate::domain::model::settings::Settings;
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::journal::{JournalError, JournalReader, Record, codec};
use crate::ledger::{LedgerError, Snapshot};

/// Records between two rounds of freeing memory.
const FREE_EVERY: u64 = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the ledger could not be read: {0}")]
    Ledger(#[from] LedgerError),
    /// The directories do not belong together, or the journal was cut by hand.
    #[error("the ledger has records up to {ledger}, the journal only up to {journal}")]
    LedgerAhead { ledger: Lsn, journal: Lsn },
    #[error("record {lsn} is intact but {problem}; a newer version may have written it")]
    Event { lsn: Lsn, problem: codec::BadEvent },
}

/// The state as of the journal's last record, and how many records were applied after the ledger's.
pub fn recover(
    settings: Settings,
    ledger: &dyn Snapshot,
    journal: &mut dyn JournalReader,
    progress: &mut dyn FnMut(u64),
) -> Result<(State, u64), RecoveryError> {
    let mut state = State::new(settings);
    ledger.load(&mut state)?;
    let last = journal.last();
    if state.lsn > last {
        return Err(RecoveryError::LedgerAhead { ledger: state.lsn, journal: last });
    }
    let from = state.lsn;
    let applied = replay(&mut state, journal, |state, _, event, now| {
        state.apply(event, now);
        if (state.lsn.0 - from.0).is_multiple_of(FREE_EVERY) {
            state.forget(now.at, from, usize::MAX);
            progress(state.lsn.0 - from.0);
        }
    })?;
    Ok((state, applied))
}

/// Gives the records after `state.lsn` up to the journal's last one to `each`, which applies them.
pub fn replay(
    state: &mut State,
    journal: &mut dyn JournalReader,
    mut each: impl FnMut(&mut State, Lsn, &Event, &Now),
) -> Result<u64, RecoveryError> {
    let mut record = Record::default();
    let mut now = Now::at(Millis(0));
    let mut count = 0;
    let mut lsn = state.lsn;
    let last = journal.last();
    while lsn < last && journal.next(lsn, &mut record)? {
        lsn = record.lsn;
        let event = codec::decode(&record.payload).map_err(|problem| RecoveryError::Event { lsn, problem })?;
        if now.at.0 != record.time_ms {
            now = Now::at(Millis(record.time_ms));
        }
        each(state, lsn, &event, &now);
        count += 1;
    }
    Ok(count)
}

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
    /// Another service's ledger, or another one's journal.
    #[error("record {0} of the ledger is not the one of the journal: they do not belong together")]
    NotTogether(Lsn),
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
    belongs(&state, |after, record| journal.next(after, record))?;
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

/// The last record that the ledger has must be the journal's own, by its time: a ledger in a server is found by an address,
/// which may be another service's. One that was released or can't be read is not looked at here.
pub fn belongs(
    state: &State,
    mut next: impl FnMut(Lsn, &mut Record) -> Result<bool, JournalError>,
) -> Result<(), RecoveryError> {
    let Some(before) = state.lsn.0.checked_sub(1) else { return Ok(()) };
    let mut record = Record::default();
    match next(Lsn(before), &mut record) {
        Ok(true) if record.time_ms != state.time.0 => Err(RecoveryError::NotTogether(state.lsn)),
        Ok(false) => Err(RecoveryError::LedgerAhead { ledger: state.lsn, journal: Lsn(before) }),
        _ => Ok(()),
    }
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

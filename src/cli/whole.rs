//! For commands that play a journal from its first record on.

use super::serve::backends::{AtRest, NoJournal, at_rest, may_be_read};
use crate::config::Records;
use crate::domain::model::ids::Lsn;
use crate::engine::recovery::RecoveryError;
use crate::journal::{JournalError, JournalReader};

/// Why a journal can't be played whole.
#[derive(Debug, thiserror::Error)]
pub enum WholeError {
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

/// The journal from record 1 on, and its last record.
pub(super) fn whole_journal(records: &Records) -> Result<(Box<dyn JournalReader>, Lsn), WholeError> {
    may_be_read(records)?;
    let AtRest { mut journal, .. } = at_rest(records)?;
    let found = journal.examine(Lsn::ZERO)?;
    if found.first > Lsn(1) && found.last > Lsn::ZERO {
        return Err(WholeError::Released(found.first));
    }
    Ok((journal, found.last))
}

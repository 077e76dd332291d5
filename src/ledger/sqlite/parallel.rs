//! Several of SQLite's connections at one position.

use std::path::Path;

use rusqlite::Connection;

use super::{open_reader, position};
use crate::ledger::LedgerError;
use crate::ledger::parallel::Readers;

/// As many as the cores of the smallest machine. Each decodes about as fast as the state takes rows in.
const READERS: usize = 2;
/// Tries to have all readers at one position; a writer moves it twice a second, a try takes milliseconds.
const TRIES: usize = 20;

pub(crate) fn open(path: &Path) -> Result<Readers<Connection>, LedgerError> {
    for _ in 0..TRIES {
        let readers = (0..READERS).map(|_| begin(path)).collect::<Result<Vec<_>, _>>()?;
        let positions = readers.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        if positions.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(Readers(readers));
        }
    }
    Err(LedgerError::Busy("it changes faster than it can be read at one position".to_owned()))
}

/// The transaction's first read, that of the position, fixes what it sees.
fn begin(path: &Path) -> Result<Connection, LedgerError> {
    let db = open_reader(path)?;
    db.execute_batch("BEGIN")?;
    position(&db)?;
    Ok(db)
}

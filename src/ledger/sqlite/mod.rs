//! The ledger in SQLite: one file beside the journal, nothing to install.

pub(crate) mod accounts;
mod audit;
pub(crate) mod books;
mod error;
pub(crate) mod keys;
#[cfg(test)]
mod keys_tests;
mod lists;
#[cfg(test)]
mod lists_tests;
pub(crate) mod load;
pub(crate) mod parallel;
pub(crate) mod read;
pub(crate) mod rows;
pub(crate) mod schema;
#[cfg(test)]
mod sides_tests;
#[cfg(test)]
mod stories_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whereabouts_tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::ledger::posting::{self, Accounts};
use crate::ledger::{Checkpoint, LedgerError, Posting, Snapshot};
pub use books::SqliteBooks;
use rows::SqliteRows;

/// How long a call waits for another's lock before it says [`LedgerError::Busy`].
const BUSY: Duration = Duration::from_secs(2);
/// Page cache of the writer, KiB: the account, month and code tables of some 200,000 customers.
const CACHE_KIB: i64 = 64 * 1_024;
/// WAL pages after which they are synced and copied home: 1 MiB. Larger ones collect unsynced data, and writing that
/// out holds the journal's own syncs up: at 1,000 authorizations/s the slowest answer took 49 ms
/// with 64 MiB and 8 ms with 1 MiB (one pair of runs; `docs/decisions/0008-the-ledger-shares-the-machine.md`).
const CHECKPOINT_PAGES: i64 = 256;
/// More statements than there are.
const STATEMENTS: usize = 96;

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, LedgerError> {
    let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(db)
}

/// A connection that only reads, to a ledger with the tables of this program.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, LedgerError> {
    let db = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match schema::check(&db)? {
        schema::KNOWN => Ok(db),
        found => Err(LedgerError::Schema(format!("schema {found} was not brought up to {}", schema::KNOWN))),
    }
}

/// The writer's handle. There is one.
pub struct SqliteLedger {
    db: Connection,
    path: PathBuf,
    /// As the tables have them: nobody else writes.
    accounts: Accounts,
}

impl SqliteLedger {
    /// Opens the ledger, makes it if it is not there, and brings its tables up to date.
    pub fn open(path: &Path, now: Millis) -> Result<Self, LedgerError> {
        let mut db = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(LedgerError::Schema(format!("the journal mode is {mode}, not WAL: no reader could work")));
        }
        // NORMAL syncs at checkpoints, not at commits. After a power cut the ledger may be back at an earlier
        // position, consistent in itself, and the journal, which is the truth and is synced, is posted from there
        // again. So no decision depends on it, and a chunk costs no sync.
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "foreign_keys", false)?;
        db.pragma_update(None, "cache_size", -CACHE_KIB)?;
        db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        schema::migrate(&mut db, now)?;
        Ok(Self { db, path: path.to_owned(), accounts: Accounts::default() })
    }

    /// Puts the files of a ledger aside, under the name of its schema, so that a new one can be made in their place.
    pub fn set_aside(file: &Path, schema: i64) -> Result<PathBuf, LedgerError> {
        let named = |file: &Path, end: &str| {
            let mut name = file.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let aside = named(file, &format!(".schema-{schema}"));
        // The file itself last: as long as it is there, this can be done again.
        for end in ["-wal", "-shm", ""] {
            let from = named(file, end);
            if from.exists() {
                std::fs::rename(from, named(&aside, end)).map_err(|error| LedgerError::Io(error.to_string()))?;
            }
        }
        Ok(aside)
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.db
    }
}

pub(crate) fn position(db: &Connection) -> Result<Lsn, LedgerError> {
    let lsn: i64 = db.prepare_cached("SELECT lsn FROM posted")?.query_row([], |row| row.get(0))?;
    Ok(Lsn(lsn.cast_unsigned()))
}

impl Checkpoint for SqliteLedger {
    fn position(&mut self) -> Result<Lsn, LedgerError> {
        position(&self.db)
    }

    fn post(&mut self, postings: &[Posting]) -> Result<(), LedgerError> {
        // The transaction is rolled back where it is dropped without a commit.
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Some(chunk) = posting::after(position(&tx)?, postings)? else { return Ok(()) };
        // Put back once it is committed: of a chunk that is rolled back nothing may be remembered.
        let mut accounts = std::mem::take(&mut self.accounts);
        posting::post(&mut SqliteRows::new(&tx), &mut accounts, chunk.postings)?;
        let place = params![chunk.last.lsn.0.cast_signed(), chunk.last.time.0];
        tx.prepare_cached("UPDATE posted SET lsn = ?1, time = ?2")?.execute(place)?;
        tx.commit()?;
        self.accounts = accounts;
        Ok(())
    }

    fn maintain(&mut self) -> Result<bool, LedgerError> {
        keys::build(&mut self.db)
    }

    /// A commit is in the WAL, which nothing syncs until a checkpoint copies it home. PASSIVE waits for nobody: with a
    /// reader in the way it copies only a part, and says so.
    fn secure(&mut self) -> Result<Option<Lsn>, LedgerError> {
        let position = position(&self.db)?;
        let (busy, pages, copied): (i64, i64, i64) =
            self.db
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok((busy == 0 && pages == copied).then_some(position))
    }
}

impl Snapshot for SqliteLedger {
    fn load(&self, state: &mut State) -> Result<(), LedgerError> {
        load::load(&self.path, state)
    }
}

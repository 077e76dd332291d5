//! Questions about the past, on a few open connections that are lent to whoever asks.

use std::path::{Path, PathBuf};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::{BUSY, keys, load, open_reader, position, read};
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, OfficeId};
use crate::domain::model::order::Order;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::receipts::{Known, Receipt, ReceiptKind};
use crate::ledger::{BOOKS_CONNECTIONS, Books, Entry, Issued, LedgerError, Snapshot};

/// Connections to a ledger that a writer has made. Each is opened, and its tables checked, when a question finds none
/// idle; one that gave an error is closed.
pub struct SqliteBooks {
    path: PathBuf,
    pool: Mutex<Pool>,
    /// One came back, or was closed.
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Idle, lent or being opened.
    open: usize,
}

/// A connection while its question is asked.
struct Lent<'a> {
    books: &'a SqliteBooks,
    /// None if it is to be closed.
    db: Option<Connection>,
}

impl SqliteBooks {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), pool: Mutex::default(), freed: Condvar::new() }
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let mut lent = self.lend()?;
        let Some(db) = lent.db.take() else { return Err(busy()) };
        let answer = question(&db);
        lent.db = answer.is_ok().then_some(db);
        answer
    }

    /// An idle connection, or a new one; where all are lent, the next that comes back, within the time that a lock is
    /// waited for.
    fn lend(&self) -> Result<Lent<'_>, LedgerError> {
        let mut pool = self.pool.lock();
        let idle = loop {
            match pool.idle.pop() {
                None if pool.open >= BOOKS_CONNECTIONS => {
                    if self.freed.wait_for(&mut pool, BUSY).timed_out() {
                        return Err(busy());
                    }
                }
                idle => break idle,
            }
        };
        pool.open += usize::from(idle.is_none());
        drop(pool);
        let mut lent = Lent { books: self, db: idle };
        if lent.db.is_none() {
            lent.db = Some(open_reader(&self.path)?);
        }
        Ok(lent)
    }
}

fn busy() -> LedgerError {
    LedgerError::Busy("all its readers are at work".to_owned())
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.books.pool.lock();
        match self.db.take() {
            Some(db) => pool.idle.push(db),
            None => pool.open -= 1,
        }
        self.books.freed.notify_one();
    }
}

impl Snapshot for SqliteBooks {
    fn load(&self, state: &mut State) -> Result<(), LedgerError> {
        load::load(&self.path, state)
    }
}

impl Books for SqliteBooks {
    fn as_of(&self) -> Result<Lsn, LedgerError> {
        self.ask(position)
    }

    fn past_order(&self, id: AuthorizationId) -> Result<Option<Order>, LedgerError> {
        self.ask(|db| read::past_order(db, id))
    }

    fn past_order_by_key(&self, key: &OrderKey) -> Result<Option<Order>, LedgerError> {
        self.ask(|db| keys::past_order_by_key(db, key))
    }

    fn names(&self, orders: &[Lsn]) -> Result<Vec<AuthorizationId>, LedgerError> {
        self.ask(|db| read::names(db, orders))
    }

    fn known(&self, ids: &[OfficeId]) -> Result<Known, LedgerError> {
        self.ask(|db| read::known(db, ids))
    }

    fn entries(&self, customer: &CustomerId, from: Millis, to: Millis) -> Result<Vec<Entry>, LedgerError> {
        self.ask(|db| read::entries(db, customer, from, to))
    }

    fn receipts(&self, customer: &CustomerId, kinds: &[ReceiptKind]) -> Result<Vec<Receipt>, LedgerError> {
        self.ask(|db| read::receipts(db, customer, kinds))
    }

    fn issued(&self, customer: &CustomerId) -> Result<Vec<Issued>, LedgerError> {
        self.ask(|db| read::issued(db, customer))
    }

    fn count_decisions(&self, upto: Lsn) -> Result<u64, LedgerError> {
        self.ask(|db| read::count_decisions(db, upto))
    }

    fn exposure_sums(&self, upto: Lsn) -> Result<Vec<(CustomerId, i64)>, LedgerError> {
        self.ask(|db| read::exposure_sums(db, upto))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::domain::model::time::Millis;
    use crate::ledger::sqlite::SqliteLedger;

    /// Idle ones, and all.
    fn open(books: &SqliteBooks) -> (usize, usize) {
        let pool = books.pool.lock();
        (pool.idle.len(), pool.open)
    }

    fn made() -> (SqliteBooks, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        drop(SqliteLedger::open(&path, Millis(0)).unwrap());
        (SqliteBooks::new(&path), dir)
    }

    #[test]
    fn a_connection_is_used_again_and_one_that_failed_is_closed() {
        let (books, dir) = made();
        for _ in 0..5 {
            assert_eq!(books.as_of().unwrap(), Lsn::ZERO);
            assert_eq!(open(&books), (1, 1));
        }
        let failed: Result<(), _> = books.ask(|_| Err(LedgerError::Corrupt("a page".to_owned())));
        assert!(matches!(failed, Err(LedgerError::Corrupt(_))));
        assert_eq!(open(&books), (0, 0));
        assert_eq!(books.as_of().unwrap(), Lsn::ZERO);
        std::fs::remove_file(dir.path().join("ledger.db")).unwrap();
        let none = SqliteBooks::new(&dir.path().join("ledger.db"));
        assert!(matches!(none.as_of(), Err(LedgerError::Io(_))));
        assert_eq!(open(&none), (0, 0), "what could not be opened takes no place");
    }

    #[test]
    fn more_questions_than_connections_wait_for_one_that_comes_back() {
        let (books, _dir) = made();
        let (all_asked, go_on) = (Barrier::new(BOOKS_CONNECTIONS + 1), Barrier::new(BOOKS_CONNECTIONS + 1));
        std::thread::scope(|scope| {
            for _ in 0..BOOKS_CONNECTIONS {
                scope.spawn(|| {
                    books.ask(|db| {
                        all_asked.wait();
                        go_on.wait();
                        position(db)
                    })
                });
            }
            all_asked.wait();
            assert_eq!(open(&books), (0, BOOKS_CONNECTIONS));
            let patient = scope.spawn(|| books.as_of());
            let refused = books.as_of();
            assert!(matches!(refused, Err(LedgerError::Busy(_))), "they are lent for longer than a lock is waited for");
            assert!(patient.join().unwrap().is_err());
            let late = scope.spawn(|| books.as_of());
            go_on.wait();
            assert_eq!(late.join().unwrap().unwrap(), Lsn::ZERO);
        });
        assert_eq!(open(&books), (BOOKS_CONNECTIONS, BOOKS_CONNECTIONS), "all came back");
    }
}

//! A few open connections to the books, lent to whoever asks.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{BOOKS_CONNECTIONS, LedgerError};

/// Each is opened when a question finds none idle; one that gave an error is closed.
pub(crate) struct Pool<C> {
    lent: Mutex<Places<C>>,
    /// One came back, or was closed.
    freed: Condvar,
    /// How long a question waits for a connection.
    patience: Duration,
}

struct Places<C> {
    idle: Vec<C>,
    /// Idle, lent or being opened.
    open: usize,
}

/// A connection while its question is asked.
struct Lent<'a, C> {
    pool: &'a Pool<C>,
    /// None if it is to be closed.
    connection: Option<C>,
}

impl<C> Pool<C> {
    pub fn new(patience: Duration) -> Self {
        Self { lent: Mutex::new(Places { idle: Vec::new(), open: 0 }), freed: Condvar::new(), patience }
    }

    /// Asks on an idle connection, or on a new one; where all are lent, on the next that comes back in time. `ready` begins
    /// a question: an idle connection that can't is closed, and another is taken.
    pub fn ask<T>(
        &self,
        open: impl FnOnce() -> Result<C, LedgerError>,
        ready: impl Fn(&mut C) -> Result<(), LedgerError>,
        question: impl FnOnce(&mut C) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let (mut lent, mut connection) = loop {
            let mut lent = self.lend()?;
            match lent.connection.take() {
                Some(mut idle) => match ready(&mut idle) {
                    Ok(()) => break (lent, idle),
                    Err(error) => tracing::debug!(%error, "an idle connection to the ledger has gone"),
                },
                None => {
                    let mut new = open()?;
                    ready(&mut new)?;
                    break (lent, new);
                }
            }
        };
        let answer = question(&mut connection);
        lent.connection = answer.is_ok().then_some(connection);
        answer
    }

    fn lend(&self) -> Result<Lent<'_, C>, LedgerError> {
        let mut places = self.lent.lock();
        let idle = loop {
            match places.idle.pop() {
                None if places.open >= BOOKS_CONNECTIONS => {
                    if self.freed.wait_for(&mut places, self.patience).timed_out() {
                        return Err(LedgerError::Busy("all its readers are at work".to_owned()));
                    }
                }
                idle => break idle,
            }
        };
        places.open += usize::from(idle.is_none());
        Ok(Lent { pool: self, connection: idle })
    }

    /// Idle ones, and all.
    #[cfg(test)]
    pub fn open(&self) -> (usize, usize) {
        let places = self.lent.lock();
        (places.idle.len(), places.open)
    }
}

impl<C> Drop for Lent<'_, C> {
    fn drop(&mut self) {
        let mut places = self.pool.lent.lock();
        match self.connection.take() {
            Some(connection) => places.idle.push(connection),
            None => places.open -= 1,
        }
        self.pool.freed.notify_one();
    }
}

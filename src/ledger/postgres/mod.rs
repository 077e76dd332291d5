//! The ledger in PostgreSQL, beside a journal of files or of a database: where an issuer keeps its other books.
//!
//! `session` is a connection, `schema` the tables and the roles' rights, `rows` (with `batch` and `accounts`) writes a chunk,
//! `load` rebuilds the engine's state, `books` and `audit` answer questions. The design is `docs/decisions/0020`.

mod accounts;
mod audit;
mod batch;
mod books;
mod error;
mod lists;
mod load;
mod orders;
mod read;
mod rows;
mod schema;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::database::Server;
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::ledger::posting::{self, Accounts};
use crate::ledger::{Checkpoint, LedgerError, Posting, Snapshot};
pub use books::PostgresBooks;
use rows::PostgresRows;
use session::{Purpose, Session};

/// The stream of a journal of files.
const STREAM: i16 = 0;

/// Makes the tables or brings them up to date, as their owner: which version they had, and have now.
pub fn migrate(server: &Server, now: Millis) -> Result<(i64, i64), LedgerError> {
    schema::migrate(server, now)
}

/// The writer's handle.
pub struct PostgresLedger {
    server: Arc<Server>,
    stream: i16,
    /// In a sandbox any role will do.
    sandbox: bool,
    /// None while the database is away.
    session: Option<Session>,
    /// As the tables have them at `posted`; forgotten with it.
    accounts: Accounts,
    posted: Option<Lsn>,
}

impl PostgresLedger {
    /// Connects, and sees that tables, role and server are as they have to be.
    pub fn open(server: Arc<Server>, sandbox: bool) -> Result<Self, LedgerError> {
        let (session, accounts) = (None, Accounts::default());
        let mut ledger = Self { server, stream: STREAM, sandbox, session, accounts, posted: None };
        ledger.session()?;
        Ok(ledger)
    }

    /// The connection, made anew where there is none.
    fn session(&mut self) -> Result<&mut Session, LedgerError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let mut session = Session::open(&self.server, Purpose::Posting)?;
                schema::check(&mut session)?;
                if !self.sandbox {
                    schema::check_rights(&mut session)?;
                }
                session
            }
        };
        Ok(self.session.insert(session))
    }

    /// Does it on the connection. After any error the connection is closed, with which the server takes back what was under
    /// way, and nothing is remembered: what was committed is asked for anew.
    fn on<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let done = act(self);
        if done.is_err() {
            self.session = None;
            self.posted = None;
            self.accounts = Accounts::default();
        }
        done
    }

    fn posted(&mut self) -> Result<Lsn, LedgerError> {
        if let Some(posted) = self.posted {
            return Ok(posted);
        }
        let stream = self.stream;
        let posted = position(self.session()?, stream)?;
        self.posted = Some(posted);
        Ok(posted)
    }

    fn post_chunk(&mut self, postings: &[Posting]) -> Result<(), LedgerError> {
        let posted = self.posted()?;
        let Some(chunk) = posting::after(posted, postings)? else { return Ok(()) };
        let (stream, mut accounts) = (self.stream, std::mem::take(&mut self.accounts));
        let (from, to) = (posted.0.cast_signed(), chunk.last.lsn.0.cast_signed());
        let session = self.session()?;
        session.run("BEGIN")?;
        // Compare and set: of two who post the same records one finds the other's position, and posts nothing.
        let moved = "UPDATE posted SET lsn = $2, time = $3 WHERE stream = $1 AND lsn = $4";
        if session.execute(moved, &[&stream, &to, &chunk.last.time.0, &from])? != 1 {
            return Err(LedgerError::Busy("another service posts to it, too".to_owned()));
        }
        let mut rows = PostgresRows::new(session, stream);
        posting::post(&mut rows, &mut accounts, chunk.postings)?;
        rows.write()?;
        session.run("COMMIT")?;
        self.posted = Some(chunk.last.lsn);
        self.accounts = accounts;
        Ok(())
    }
}

fn position(session: &mut Session, stream: i16) -> Result<Lsn, LedgerError> {
    session.one("SELECT lsn FROM posted WHERE stream = $1", &[&stream], |cells| cells.lsn(0))
}

impl Checkpoint for PostgresLedger {
    fn position(&mut self) -> Result<Lsn, LedgerError> {
        self.on(|ledger| {
            let stream = ledger.stream;
            let position = position(ledger.session()?, stream)?;
            // Another one may have moved it, and changed the accounts.
            if ledger.posted.replace(position) != Some(position) {
                ledger.accounts = Accounts::default();
            }
            Ok(position)
        })
    }

    fn post(&mut self, postings: &[Posting]) -> Result<(), LedgerError> {
        self.on(|ledger| ledger.post_chunk(postings))
    }

    /// A commit that is waited for: the log is one line, so with it all commits before it are on disk, and where the server
    /// has synchronous standbys, on theirs.
    fn secure(&mut self) -> Result<Option<Lsn>, LedgerError> {
        self.on(|ledger| {
            let stream = ledger.stream;
            let session = ledger.session()?;
            session.run("BEGIN; SET LOCAL synchronous_commit = on")?;
            let secure = "UPDATE posted SET secured = lsn WHERE stream = $1 RETURNING lsn";
            let secured = session.one(secure, &[&stream], |cells| cells.lsn(0))?;
            session.run("COMMIT")?;
            Ok(Some(secured))
        })
    }
}

impl Snapshot for PostgresLedger {
    fn load(&self, state: &mut State) -> Result<(), LedgerError> {
        PostgresBooks::new(Arc::clone(&self.server)).load(state)
    }
}

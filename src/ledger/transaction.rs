//! One transaction of the books: what a chunk of facts asks of a backend.

use super::LedgerError;
use super::order_rows::OrderNow;
use super::tables::{Table, Value};
use crate::domain::billing::account::Account;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::time::{Date, Millis, Now};

/// Place and time of the fact whose rows are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub lsn: Lsn,
    pub now: Now,
}

/// The tables within one transaction. A backend may gather what it is told and write it at the end of the chunk: no row is
/// written twice in one chunk, but the receipts of an id, of which the last stays.
pub(crate) trait Tables {
    /// A new order: its row of [`DECISION`], and what it is, of [`DECISION_NOW`].
    fn decision(&mut self, row: &[Value<'_>], now: &[Value<'_>]) -> Result<(), LedgerError>;
    /// A new row.
    fn insert(&mut self, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError>;
    /// A row that is there, by its key; whether it is there may be found out at the end.
    fn update(&mut self, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError>;
    /// A row in place of the one of its key, if there is one.
    fn put(&mut self, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError>;
    fn delete(&mut self, table: &'static Table, key: &[Value<'_>]) -> Result<(), LedgerError>;
    /// Of a key but for its last column, all rows from this one on.
    fn delete_from(&mut self, table: &'static Table, key: &[Value<'_>]) -> Result<(), LedgerError>;
    fn opened(&mut self, sandbox: bool) -> Result<(), LedgerError>;

    /// The accounts of these customers, as far as they are there, before this chunk.
    fn accounts(&mut self, customers: &[CustomerIx]) -> Result<Vec<(CustomerIx, Account)>, LedgerError>;
    /// What became of these orders, as far as they are there, before this chunk.
    fn orders(&mut self, orders: &[Lsn]) -> Result<Vec<(Lsn, OrderNow)>, LedgerError>;
    /// The first code's record and the end of its life.
    fn oldest_code(&mut self) -> Result<Option<(Lsn, Millis)>, LedgerError>;
    /// Removes codes of before a record that have ended by then, and what was voided before the oldest.
    fn forget_codes(&mut self, before: Lsn, ended_by: Millis, oldest: Lsn) -> Result<(), LedgerError>;
    /// Removes stories that were kept until before today, at most so many.
    fn forget_stories(&mut self, today: Date, most: usize) -> Result<(), LedgerError>;
}

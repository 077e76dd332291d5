//! How SQLite's rows are read.

use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::domain::model::ids::Lsn;
use crate::domain::model::order::{Order, RefundMade};
use crate::domain::model::time::Millis;
use crate::domain::state::checkpoint::OrderLoad;
use crate::ledger::LedgerError;
use crate::ledger::cells::Cells;
use crate::ledger::order_rows::{ORDER_COLUMNS, REFUND_COLUMNS, ReadOrder, refund_made};

/// For [`first_since`].
pub(crate) const DECIDED_FROM: &str = "SELECT lsn, decided_at FROM decision WHERE lsn >= ?1 ORDER BY lsn LIMIT 1";

/// One row.
pub(crate) struct SqliteCells<'r>(pub &'r Row<'r>);

impl Cells for SqliteCells<'_> {
    fn opt(&self, column: usize) -> Result<Option<i64>, LedgerError> {
        Ok(self.0.get(column)?)
    }

    fn opt_str(&self, column: usize) -> Result<Option<&str>, LedgerError> {
        let this: &dyn Cells = self;
        self.0.get_ref(column)?.as_str_or_null().map_err(|_| this.damaged(column))
    }

    fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, LedgerError> {
        let this: &dyn Cells = self;
        self.0.get_ref(column)?.as_blob_or_null().map_err(|_| this.damaged(column))
    }

    fn name(&self, column: usize) -> &str {
        self.0.as_ref().column_name(column).unwrap_or("a column")
    }
}

/// Every row that a query finds.
pub(crate) fn all<T>(
    db: &Connection,
    sql: &str,
    of: impl Params,
    read: impl Fn(&dyn Cells) -> Result<T, LedgerError>,
) -> Result<Vec<T>, LedgerError> {
    db.prepare_cached(sql)?.query_and_then(of, |row| read(&SqliteCells(row)))?.collect()
}

/// The first row that a query finds.
pub(crate) fn first<T>(
    db: &Connection,
    sql: &str,
    of: impl Params,
    read: impl Fn(&dyn Cells) -> Result<T, LedgerError>,
) -> Result<Option<T>, LedgerError> {
    let mut query = db.prepare_cached(sql)?;
    query.query_and_then(of, |row| read(&SqliteCells(row)))?.next().transpose()
}

/// An order of any age, with all its refunds.
pub(crate) fn order(db: &Connection, cells: &dyn Cells) -> Result<Order, LedgerError> {
    let read = ReadOrder::read(cells)?;
    let refunds = refunds(db, &read)?;
    Ok(read.whole(refunds))
}

/// An order as memory has it.
pub(crate) fn remembered(db: &Connection, cells: &dyn Cells) -> Result<OrderLoad, LedgerError> {
    let read = ReadOrder::read(cells)?;
    let refunds = refunds(db, &read)?;
    read.remembered(refunds)
}

fn refunds(db: &Connection, of: &ReadOrder) -> Result<Vec<(Lsn, RefundMade)>, LedgerError> {
    if !of.was_refunded {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT {REFUND_COLUMNS} FROM refund WHERE order_lsn = ?1 ORDER BY lsn");
    all(db, &sql, [of.lsn().0.cast_signed()], refund_made)
}

/// A query of orders.
pub(crate) fn orders_where(filter: &str) -> String {
    format!("SELECT {ORDER_COLUMNS} FROM decision d LEFT JOIN decision f ON f.lsn = d.first_lsn WHERE {filter}")
}

/// The smallest number from which on every row's time is at or after `since`. `next` gives number and time of the
/// first row from a number on; numbers and times rise together, so no index on times is needed.
pub(crate) fn first_since(db: &Connection, next: &str, end: i64, since: Millis) -> Result<i64, LedgerError> {
    let mut query = db.prepare_cached(next)?;
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = query.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((number, time)) if time < since.0 => low = number + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

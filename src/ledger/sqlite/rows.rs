//! The tables within one transaction of SQLite: each row is written as it is told.

use std::fmt::Write;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Params, params, params_from_iter};

use super::accounts::{account_row, accounts};
use super::read::first;
use crate::domain::billing::account::Account;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::time::{Date, Millis};
use crate::ledger::LedgerError;
use crate::ledger::order_rows::{NOW_COLUMNS, OrderNow, bits};
use crate::ledger::tables::{DECISION, DECISION_NOW, Kind, SUSPENSE_END, Table, Value};
use crate::ledger::transaction::Tables;

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// What a statement does to a table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Insert,
    Update,
    Put,
    Delete,
    DeleteFrom,
    /// Both halves of an order, in one row.
    Decide,
}

struct Prepared<'c> {
    doing: Doing,
    table: &'static Table,
    statement: CachedStatement<'c>,
}

pub(crate) struct SqliteRows<'c> {
    pub(crate) db: &'c Connection,
    /// Those that this chunk has used: some twenty, and to make the text of one takes as long as to run it.
    statements: Vec<Prepared<'c>>,
}

fn list(sql: &mut String, between: &str, columns: &[(&str, Kind)], mut one: impl FnMut(&mut String, usize, &str)) {
    for (at, (name, _)) in columns.iter().enumerate() {
        if at > 0 {
            sql.push_str(between);
        }
        one(sql, at, name);
    }
}

/// Writes `customer = ?1 AND kind = ?2`.
fn equal(sql: &mut String, between: &str, from: usize, columns: &[(&str, Kind)]) {
    list(sql, between, columns, |sql, at, name| {
        // Writing into a String cannot fail.
        write!(sql, "{name} = ?{}", from + at + 1).unwrap_or_default();
    });
}

fn insert(sql: &mut String, verb: &str, name: &str, columns: &[(&str, Kind)], more: &[(&str, Kind)]) {
    write!(sql, "{verb} INTO {name} (").unwrap_or_default();
    let names =
        |sql: &mut String, columns: &[(&str, Kind)]| list(sql, ", ", columns, |sql, _, name| sql.push_str(name));
    names(sql, columns);
    if !more.is_empty() {
        sql.push_str(", ");
        names(sql, more);
    }
    sql.push_str(") VALUES (?1");
    for at in 2..=columns.len() + more.len() {
        write!(sql, ", ?{at}").unwrap_or_default();
    }
    sql.push(')');
}

fn statement(doing: Doing, table: &Table) -> String {
    // What became of an order stands in its own row.
    let name = if std::ptr::eq(table, &raw const DECISION_NOW) { DECISION.name } else { table.name };
    let (key, rest) = table.columns.split_at(table.key);
    let mut sql = String::with_capacity(512);
    match doing {
        Doing::Insert => insert(&mut sql, "INSERT", name, table.columns, &[]),
        Doing::Put => insert(&mut sql, "INSERT OR REPLACE", name, table.columns, &[]),
        Doing::Decide => {
            insert(&mut sql, "INSERT", name, DECISION.columns, &DECISION_NOW.columns[DECISION_NOW.key..]);
        }
        Doing::Update => {
            write!(sql, "UPDATE {name} SET ").unwrap_or_default();
            equal(&mut sql, ", ", table.key, rest);
            sql.push_str(" WHERE ");
            equal(&mut sql, " AND ", 0, key);
            if std::ptr::eq(table, &raw const SUSPENSE_END) {
                sql.push_str(" AND cleared_lsn IS NULL");
            }
        }
        Doing::Delete | Doing::DeleteFrom => {
            write!(sql, "DELETE FROM {name} WHERE ").unwrap_or_default();
            equal(&mut sql, " AND ", 0, key);
            if doing == Doing::DeleteFrom
                && let Some(at) = sql.rfind('=')
            {
                sql.insert(at, '>');
            }
        }
    }
    sql
}

impl<'c> SqliteRows<'c> {
    pub(crate) fn new(db: &'c Connection) -> Self {
        Self { db, statements: Vec::with_capacity(32) }
    }

    fn write(&mut self, doing: Doing, table: &'static Table, row: impl Params) -> Result<usize, LedgerError> {
        let is_it = |known: &&mut Prepared<'c>| known.doing == doing && std::ptr::eq(known.table, table);
        if let Some(known) = self.statements.iter_mut().find(is_it) {
            return Ok(known.statement.execute(row)?);
        }
        let mut statement = self.db.prepare_cached(&statement(doing, table))?;
        let rows = statement.execute(row)?;
        self.statements.push(Prepared { doing, table, statement });
        Ok(rows)
    }

    pub(crate) fn run(&self, sql: &str, params: impl Params) -> Result<usize, LedgerError> {
        Ok(self.db.prepare_cached(sql)?.execute(params)?)
    }
}

/// A change of the one row that the fact says is there.
fn one(name: &str, rows: usize) -> Result<(), LedgerError> {
    match rows {
        1 => Ok(()),
        rows => Err(LedgerError::Corrupt(format!("a fact changes a row of {name}, and {rows} are there"))),
    }
}

impl Tables for SqliteRows<'_> {
    fn decision(&mut self, row: &[Value<'_>], now: &[Value<'_>]) -> Result<(), LedgerError> {
        let row = row.iter().chain(now.get(DECISION_NOW.key..).unwrap_or_default());
        self.write(Doing::Decide, &DECISION, params_from_iter(row)).map(drop)
    }

    fn insert(&mut self, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError> {
        self.write(Doing::Insert, table, params_from_iter(row)).map(drop)
    }

    fn update(&mut self, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError> {
        one(table.name, self.write(Doing::Update, table, params_from_iter(row))?)
    }

    fn put(&mut self, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError> {
        self.write(Doing::Put, table, params_from_iter(row)).map(drop)
    }

    fn delete(&mut self, table: &'static Table, key: &[Value<'_>]) -> Result<(), LedgerError> {
        self.write(Doing::Delete, table, params_from_iter(key)).map(drop)
    }

    fn delete_from(&mut self, table: &'static Table, key: &[Value<'_>]) -> Result<(), LedgerError> {
        self.write(Doing::DeleteFrom, table, params_from_iter(key)).map(drop)
    }

    fn opened(&mut self, sandbox: bool) -> Result<(), LedgerError> {
        one("posted", self.run("UPDATE posted SET sandbox = ?1", [sandbox])?)
    }

    /// A customer of whom nothing lies beside the row takes one look-up.
    fn accounts(&mut self, customers: &[CustomerIx]) -> Result<Vec<(CustomerIx, Account)>, LedgerError> {
        let read = |customer: &CustomerIx| {
            let at = i64::from(customer.0);
            let found = match account_row(self.db, at)? {
                Some(row) if row.is_beside => accounts(self.db, at, at + 1)?.pop(),
                row => row.map(|row| row.account),
            };
            Ok(found.map(|account| (*customer, account)))
        };
        customers.iter().filter_map(|customer| read(customer).transpose()).collect()
    }

    fn orders(&mut self, orders: &[Lsn]) -> Result<Vec<(Lsn, OrderNow)>, LedgerError> {
        let sql = format!("SELECT {NOW_COLUMNS} FROM decision WHERE lsn = ?1");
        let read = |order: &Lsn| first(self.db, &sql, [bits(order.0)], OrderNow::read).transpose();
        orders.iter().filter_map(read).collect()
    }

    fn oldest_code(&mut self) -> Result<Option<(Lsn, Millis)>, LedgerError> {
        let oldest = "SELECT lsn, expires_at FROM code ORDER BY lsn LIMIT 1";
        first(self.db, oldest, [], |cells| Ok((cells.lsn(0)?, cells.millis(1)?)))
    }

    fn forget_codes(&mut self, before: Lsn, ended_by: Millis, oldest: Lsn) -> Result<(), LedgerError> {
        let gone = "DELETE FROM code WHERE lsn < ?1 AND expires_at <= ?2";
        self.run(gone, [bits(before.0), ended_by.0])?;
        self.run("DELETE FROM code_void WHERE lsn < ?1", [bits(oldest.0)]).map(drop)
    }

    fn forget_stories(&mut self, today: Date, most: usize) -> Result<(), LedgerError> {
        let gone = "DELETE FROM past_story WHERE (customer, kind, number) IN
            (SELECT customer, kind, number FROM past_story WHERE kept_until < ?1 ORDER BY kept_until LIMIT ?2)";
        self.run(gone, params![today.to_number(), i64::try_from(most).unwrap_or(i64::MAX)]).map(drop)
    }
}

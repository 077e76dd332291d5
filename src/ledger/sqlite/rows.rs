//! The tables within one transaction of SQLite: each row is written as it is told.

use std::fmt::Write;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, params, params_from_iter};

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

/// What each statement does to a table; they are made once a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Doing {
    Insert,
    Update,
    Put,
    Delete,
    DeleteFrom,
    /// Both halves of an order, in one row.
    Decide,
}

pub(crate) struct SqliteRows<'c> {
    pub(crate) db: &'c Connection,
    /// The statement's text is what prepared ones are found by.
    sql: String,
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

impl<'c> SqliteRows<'c> {
    pub(crate) fn new(db: &'c Connection) -> Self {
        Self { db, sql: String::with_capacity(512) }
    }

    fn statement(&mut self, doing: Doing, table: &Table) {
        // What became of an order stands in its own row.
        let name = if table.name == DECISION_NOW.name { DECISION.name } else { table.name };
        let (key, rest) = table.columns.split_at(table.key);
        let sql = &mut self.sql;
        sql.clear();
        match doing {
            Doing::Insert => insert(sql, "INSERT", name, table.columns, &[]),
            Doing::Put => insert(sql, "INSERT OR REPLACE", name, table.columns, &[]),
            Doing::Decide => {
                insert(sql, "INSERT", name, DECISION.columns, &DECISION_NOW.columns[DECISION_NOW.key..]);
            }
            Doing::Update => {
                write!(sql, "UPDATE {name} SET ").unwrap_or_default();
                equal(sql, ", ", table.key, rest);
                sql.push_str(" WHERE ");
                equal(sql, " AND ", 0, key);
            }
            Doing::Delete | Doing::DeleteFrom => {
                write!(sql, "DELETE FROM {name} WHERE ").unwrap_or_default();
                equal(sql, " AND ", 0, key);
                if doing == Doing::DeleteFrom
                    && let Some(at) = sql.rfind('=')
                {
                    sql.insert(at, '>');
                }
            }
        }
    }

    fn write(&mut self, doing: Doing, table: &Table, row: impl Params) -> Result<usize, LedgerError> {
        self.statement(doing, table);
        self.run(&self.sql, row)
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

    fn clear_suspense(&mut self, row: &[Value<'_>]) -> Result<(), LedgerError> {
        self.statement(Doing::Update, &SUSPENSE_END);
        self.sql.push_str(" AND cleared_lsn IS NULL");
        one(SUSPENSE_END.name, self.run(&self.sql, params_from_iter(row))?)
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

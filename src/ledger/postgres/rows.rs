//! The tables within one transaction of PostgreSQL: what a chunk writes is gathered, and written at its end in one statement
//! for each table.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::accounts::some_accounts;
use super::batch::{Batch, Doing};
use super::session::Session;
use crate::domain::billing::account::Account;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::time::{Date, Millis};
use crate::ledger::LedgerError;
use crate::ledger::order_rows::{NOW_COLUMNS, OrderNow, bits};
use crate::ledger::tables::{DECISION, DECISION_NOW, Table, Value};
use crate::ledger::transaction::Tables;

pub(crate) struct PostgresRows<'s> {
    session: &'s mut Session,
    stream: i16,
    batches: Vec<Batch>,
    /// Rows of which the last one of a key stays.
    put: HashMap<(&'static str, Vec<Value<'static>>), Put, FixedState>,
}

struct Put {
    table: &'static Table,
    row: Vec<Value<'static>>,
}

fn owned(row: &[Value<'_>]) -> Vec<Value<'static>> {
    let cell = |value: &Value<'_>| match value {
        Value::Null => Value::Null,
        Value::Int(number) => Value::Int(*number),
        Value::Text(text) => Value::from(text.clone().into_owned()),
        Value::Bytes(bytes) => Value::Bytes(bytes.clone()),
    };
    row.iter().map(cell).collect()
}

impl<'s> PostgresRows<'s> {
    pub fn new(session: &'s mut Session, stream: i16) -> Self {
        Self { session, stream, batches: Vec::new(), put: HashMap::default() }
    }

    fn gather(&mut self, doing: Doing, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError> {
        // There are some thirty.
        let is_it = |batch: &&mut Batch| batch.doing == doing && std::ptr::eq(batch.table, table);
        if let Some(batch) = self.batches.iter_mut().find(is_it) {
            return batch.push(row);
        }
        let mut batch = Batch::new(doing, table);
        batch.push(row)?;
        self.batches.push(batch);
        Ok(())
    }

    /// Writes all that was gathered.
    pub fn write(mut self) -> Result<(), LedgerError> {
        for Put { table, row } in std::mem::take(&mut self.put).into_values() {
            self.gather(Doing::Put, table, &row)?;
        }
        self.batches.sort_by_key(|batch| batch.doing);
        self.batches.iter().try_for_each(|batch| batch.write(self.session, self.stream))
    }
}

impl Tables for PostgresRows<'_> {
    fn decision(&mut self, row: &[Value<'_>], now: &[Value<'_>]) -> Result<(), LedgerError> {
        self.gather(Doing::Insert, &DECISION, row)?;
        self.gather(Doing::Insert, &DECISION_NOW, now)
    }

    fn insert(&mut self, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError> {
        self.gather(Doing::Insert, table, row)
    }

    fn update(&mut self, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError> {
        self.gather(Doing::Update, table, row)
    }

    fn put(&mut self, table: &'static Table, row: &[Value<'_>]) -> Result<(), LedgerError> {
        let row = owned(row);
        let key = row.get(..table.key).unwrap_or_default().to_vec();
        self.put.insert((table.name, key), Put { table, row });
        Ok(())
    }

    fn delete(&mut self, table: &'static Table, key: &[Value<'_>]) -> Result<(), LedgerError> {
        self.gather(Doing::Delete, table, key)
    }

    fn delete_from(&mut self, table: &'static Table, key: &[Value<'_>]) -> Result<(), LedgerError> {
        self.gather(Doing::DeleteFrom, table, key)
    }

    fn opened(&mut self, sandbox: bool) -> Result<(), LedgerError> {
        let sandbox = i16::from(sandbox);
        self.session.execute("UPDATE posted SET sandbox = $2 WHERE stream = $1", &[&self.stream, &sandbox]).map(drop)
    }

    fn accounts(&mut self, customers: &[CustomerIx]) -> Result<Vec<(CustomerIx, Account)>, LedgerError> {
        some_accounts(self.session, self.stream, customers)
    }

    fn orders(&mut self, orders: &[Lsn]) -> Result<Vec<(Lsn, OrderNow)>, LedgerError> {
        let sql = format!("SELECT {NOW_COLUMNS} FROM decided WHERE stream = $1 AND lsn = ANY($2)");
        let orders: Vec<i64> = orders.iter().map(|order| bits(order.0)).collect();
        self.session.all(&sql, &[&self.stream, &orders], OrderNow::read)
    }

    fn oldest_code(&mut self) -> Result<Option<(Lsn, Millis)>, LedgerError> {
        let oldest = "SELECT lsn, expires_at FROM code WHERE stream = $1 ORDER BY lsn LIMIT 1";
        self.session.first(oldest, &[&self.stream], |cells| Ok((cells.lsn(0)?, cells.millis(1)?)))
    }

    fn forget_codes(&mut self, before: Lsn, ended_by: Millis, oldest: Lsn) -> Result<(), LedgerError> {
        let (before, oldest) = (bits(before.0), bits(oldest.0));
        let gone = "DELETE FROM code WHERE stream = $1 AND lsn < $2 AND expires_at <= $3";
        self.session.execute(gone, &[&self.stream, &before, &ended_by.0])?;
        let gone = "DELETE FROM code_void WHERE stream = $1 AND lsn < $2";
        self.session.execute(gone, &[&self.stream, &oldest]).map(drop)
    }

    fn forget_stories(&mut self, today: Date, most: usize) -> Result<(), LedgerError> {
        let gone = "DELETE FROM past_story WHERE stream = $1 AND (customer, kind, number) IN
            (SELECT customer, kind, number FROM past_story WHERE stream = $1 AND kept_until < $2 ORDER BY kept_until LIMIT $3)";
        let today = i32::try_from(today.to_number()).unwrap_or(i32::MAX);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.session.execute(gone, &[&self.stream, &today, &most]).map(drop)
    }
}

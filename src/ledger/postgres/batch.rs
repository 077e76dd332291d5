//! Rows of one table, gathered until the chunk is written: as columns, which one statement takes whole.

use std::fmt::Write;

use tokio_postgres::types::{ToSql, Type};

use super::session::{Params, Session};
use crate::ledger::LedgerError;
use crate::ledger::tables::{Kind, SUSPENSE_END, Table, Value};

/// What is done with the rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doing {
    // In this order: a list is cut short before it grows, and a row may be new and changed in one chunk.
    Delete,
    DeleteFrom,
    Insert,
    Put,
    Update,
}

#[derive(Debug)]
enum Column {
    Small(Vec<Option<i16>>),
    Int(Vec<Option<i32>>),
    Big(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

fn unfit(name: &str) -> LedgerError {
    LedgerError::Corrupt(format!("{name} does not fit into its column"))
}

impl Column {
    const fn new(kind: Kind) -> Self {
        match kind {
            Kind::Small => Self::Small(Vec::new()),
            Kind::Int | Kind::Hash => Self::Int(Vec::new()),
            Kind::Big => Self::Big(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
            Kind::Bytes => Self::Bytes(Vec::new()),
        }
    }

    fn push(&mut self, (name, kind): (&str, Kind), value: &Value<'_>) -> Result<(), LedgerError> {
        let number = |value: &Value<'_>| match value {
            Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(*number)),
            Value::Text(_) | Value::Bytes(_) => Err(unfit(name)),
        };
        match self {
            Self::Small(all) => {
                let number = number(value)?.map(i16::try_from).transpose();
                all.push(number.map_err(|_| unfit(name))?);
            }
            Self::Int(all) if kind == Kind::Hash => {
                // Bit for bit: it is compared for equality only.
                let number = number(value)?.map(u32::try_from).transpose();
                all.push(number.map_err(|_| unfit(name))?.map(u32::cast_signed));
            }
            Self::Int(all) => {
                let number = number(value)?.map(i32::try_from).transpose();
                all.push(number.map_err(|_| unfit(name))?);
            }
            Self::Big(all) => all.push(number(value)?),
            Self::Text(all) => all.push(match value {
                Value::Null => None,
                Value::Text(text) => Some(text.clone().into_owned()),
                Value::Int(_) | Value::Bytes(_) => return Err(unfit(name)),
            }),
            Self::Bytes(all) => all.push(match value {
                Value::Null => None,
                Value::Bytes(bytes) => Some(bytes.clone()),
                Value::Int(_) | Value::Text(_) => return Err(unfit(name)),
            }),
        }
        Ok(())
    }

    fn whole(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Small(all) => all,
            Self::Int(all) => all,
            Self::Big(all) => all,
            Self::Text(all) => all,
            Self::Bytes(all) => all,
        }
    }

    fn cell(&self, row: usize) -> Option<&(dyn ToSql + Sync)> {
        fn at<T: ToSql + Sync>(all: &[T], row: usize) -> Option<&(dyn ToSql + Sync)> {
            all.get(row).map(|cell| cell as &(dyn ToSql + Sync))
        }
        match self {
            Self::Small(all) => at(all, row),
            Self::Int(all) => at(all, row),
            Self::Big(all) => at(all, row),
            Self::Text(all) => at(all, row),
            Self::Bytes(all) => at(all, row),
        }
    }
}

const fn type_of(kind: Kind) -> (Type, &'static str) {
    match kind {
        Kind::Small => (Type::INT2, "smallint"),
        Kind::Int | Kind::Hash => (Type::INT4, "integer"),
        Kind::Big => (Type::INT8, "bigint"),
        Kind::Text => (Type::TEXT, "text"),
        Kind::Bytes => (Type::BYTEA, "bytea"),
    }
}

pub(crate) struct Batch {
    pub doing: Doing,
    pub table: &'static Table,
    columns: Vec<Column>,
    rows: usize,
}

impl Batch {
    pub fn new(doing: Doing, table: &'static Table) -> Self {
        let columns = written(doing, table).iter().map(|(_, kind)| Column::new(*kind)).collect();
        Self { doing, table, columns, rows: 0 }
    }

    pub fn push(&mut self, row: &[Value<'_>]) -> Result<(), LedgerError> {
        for ((column, of), value) in self.columns.iter_mut().zip(written(self.doing, self.table)).zip(row) {
            column.push(*of, value)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// In one statement.
    pub fn write(&self, session: &mut Session, stream: i16) -> Result<(), LedgerError> {
        if self.doing == Doing::Insert {
            return self.copy(session, stream);
        }
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&stream];
        params.extend(self.columns.iter().map(Column::whole));
        let changed = session.execute(&statement(self.doing, self.table), Params::from(&params))?;
        if self.doing == Doing::Update && changed != self.rows as u64 {
            let (name, rows) = (self.table.name, self.rows);
            return Err(LedgerError::Corrupt(format!("facts change {rows} rows of {name}, and {changed} are there")));
        }
        Ok(())
    }

    fn copy(&self, session: &mut Session, stream: i16) -> Result<(), LedgerError> {
        let names: Vec<&str> = self.table.columns.iter().map(|(name, _)| *name).collect();
        let sql = format!("COPY {} (stream, {}) FROM STDIN (FORMAT binary)", self.table.name, names.join(", "));
        let types: Vec<Type> =
            std::iter::once(Type::INT2).chain(self.table.columns.iter().map(|(_, kind)| type_of(*kind).0)).collect();
        let row = |row: usize| {
            let stream: &(dyn ToSql + Sync) = &stream;
            std::iter::once(stream).chain(self.columns.iter().filter_map(|column| column.cell(row))).collect()
        };
        session.copy(&sql, &types, (0..self.rows).map(row)).map(drop)
    }
}

/// The columns that a statement is given.
fn written(doing: Doing, table: &Table) -> &'static [(&'static str, Kind)] {
    match doing {
        Doing::Delete | Doing::DeleteFrom => table.columns.get(..table.key).unwrap_or_default(),
        Doing::Insert | Doing::Put | Doing::Update => table.columns,
    }
}

/// The stream is `$1`, and each column an array behind it.
fn statement(doing: Doing, table: &Table) -> String {
    let columns = written(doing, table);
    let (key, rest) = columns.split_at(table.key.min(columns.len()));
    let names = |columns: &[(&str, Kind)], one: &dyn Fn(&str) -> String, between: &str| {
        columns.iter().map(|(name, _)| one(name)).collect::<Vec<_>>().join(between)
    };
    let all = names(columns, &str::to_owned, ", ");
    let mut given = String::new();
    for (at, (_, kind)) in columns.iter().enumerate() {
        // Writing into a String cannot fail.
        write!(given, "{}${}::{}[]", if at > 0 { ", " } else { "" }, at + 2, type_of(*kind).1).unwrap_or_default();
    }
    let given = format!("unnest({given}) AS u ({all})");
    let same = names(key, &|name| format!("t.{name} = u.{name}"), " AND ");
    let table_name = table.name;
    match doing {
        Doing::Delete => format!("DELETE FROM {table_name} t USING {given} WHERE t.stream = $1 AND {same}"),
        Doing::DeleteFrom => {
            let (before, after) = same.rsplit_once('=').unwrap_or((&same, ""));
            format!("DELETE FROM {table_name} t USING {given} WHERE t.stream = $1 AND {before}>={after}")
        }
        Doing::Update => {
            let set = names(rest, &|name| format!("{name} = u.{name}"), ", ");
            let open = if std::ptr::eq(table, &raw const SUSPENSE_END) { " AND t.cleared_lsn IS NULL" } else { "" };
            format!("UPDATE {table_name} t SET {set} FROM {given} WHERE t.stream = $1 AND {same}{open}")
        }
        Doing::Put | Doing::Insert => {
            let key = names(key, &str::to_owned, ", ");
            let set = names(rest, &|name| format!("{name} = excluded.{name}"), ", ");
            format!(
                "INSERT INTO {table_name} (stream, {all}) SELECT $1, u.* FROM {given}
                ON CONFLICT (stream, {key}) DO UPDATE SET {set}"
            )
        }
    }
}

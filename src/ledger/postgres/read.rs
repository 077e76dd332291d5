//! How PostgreSQL's rows are read.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::ledger::LedgerError;
use crate::ledger::cells::Cells;

pub(crate) struct PostgresCells<'r>(pub &'r Row);

impl Cells for PostgresCells<'_> {
    fn opt(&self, column: usize) -> Result<Option<i64>, LedgerError> {
        let kind = self.0.columns().get(column).map(|column| column.type_());
        Ok(match kind {
            Some(&Type::INT2) => self.0.try_get::<_, Option<i16>>(column)?.map(i64::from),
            Some(&Type::INT4) => self.0.try_get::<_, Option<i32>>(column)?.map(i64::from),
            Some(&Type::BOOL) => self.0.try_get::<_, Option<bool>>(column)?.map(i64::from),
            _ => self.0.try_get(column)?,
        })
    }

    fn opt_str(&self, column: usize) -> Result<Option<&str>, LedgerError> {
        Ok(self.0.try_get(column)?)
    }

    fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, LedgerError> {
        Ok(self.0.try_get(column)?)
    }

    fn name(&self, column: usize) -> &str {
        self.0.columns().get(column).map_or("a column", |column| column.name())
    }
}

//! Customers, read back from SQLite's tables.

use std::sync::LazyLock;

use rusqlite::Connection;

use super::read::{all, first};
use crate::domain::billing::account::Account;
use crate::domain::state::checkpoint;
use crate::ledger::LedgerError;
use crate::ledger::account_rows::{
    ACCOUNT_COLUMNS, Beside, HOLD_COLUMNS, OwnRow, STORY_COLUMNS, account, dossier, hold, put_together, story,
    story_change,
};

static OWN_ROWS: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE customer >= ?1 AND customer < ?2 ORDER BY customer")
});

/// What the row of one customer says.
pub(crate) fn account_row(db: &Connection, customer: i64) -> Result<Option<OwnRow>, LedgerError> {
    first(db, &OWN_ROWS, [customer, customer + 1], account)
}

/// The accounts from customer `from` to before `to`, all of them.
pub(crate) fn accounts(db: &Connection, from: i64, to: i64) -> Result<Vec<Account>, LedgerError> {
    let within = |columns: &str, table: &str, order: &str| {
        format!("SELECT {columns} FROM {table} WHERE customer >= ?1 AND customer < ?2 ORDER BY customer{order}")
    };
    let mut rows = all(db, &OWN_ROWS, [from, to], account)?;
    if rows.iter().map(|row| i64::from(row.customer.0)).ne(from..to) {
        return Err(LedgerError::Corrupt("customers are missing".to_owned()));
    }
    let beside = Beside {
        holds: all(db, &within(HOLD_COLUMNS, "hold", ", order_lsn"), [from, to], hold)?,
        dossiers: all(db, &within("customer, body", "dossier", ""), [from, to], dossier)?,
        stories: all(db, &within(STORY_COLUMNS, "story", ", kind, number"), [from, to], story)?,
        changes: all(db, &within(STORY_COLUMNS, "story_change", ", kind, number, place"), [from, to], story_change)?,
    };
    put_together(&mut rows, beside)?;
    let mut accounts = Vec::with_capacity(checkpoint::BLOCK);
    accounts.extend(rows.into_iter().map(|row| row.account));
    Ok(accounts)
}

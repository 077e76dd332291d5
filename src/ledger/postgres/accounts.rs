//! Customers, read back from PostgreSQL's tables.

use super::session::{Params, Session};
use crate::domain::billing::account::Account;
use crate::domain::model::ids::{CustomerId, CustomerIx};
use crate::domain::state::checkpoint;
use crate::ledger::LedgerError;
use crate::ledger::account_rows::{
    ACCOUNT_COLUMNS, Beside, HOLD_COLUMNS, OwnRow, STORY_COLUMNS, account, dossier, hold, put_together, story,
    story_change,
};

/// Of customers from `$2` to before `$3`, or of a list.
const RANGE: &str = "customer >= $2 AND customer < $3";
const LISTED: &str = "customer = ANY($2)";

/// The number of a customer.
pub(crate) fn customer_ix(
    session: &mut Session,
    stream: i16,
    customer: &CustomerId,
) -> Result<Option<CustomerIx>, LedgerError> {
    let of = "SELECT customer FROM account WHERE stream = $1 AND customer_id = $2";
    session.first(of, &[&stream, &customer.as_str()], |cells| cells.customer(0))
}

fn own_rows(session: &mut Session, which: &str, params: Params<'_>) -> Result<Vec<OwnRow>, LedgerError> {
    let sql = format!("SELECT {ACCOUNT_COLUMNS} FROM account WHERE stream = $1 AND {which} ORDER BY customer");
    session.all(&sql, params, account)
}

fn beside(session: &mut Session, which: &str, params: Params<'_>) -> Result<Beside, LedgerError> {
    let of = |columns: &str, table: &str, order: &str| {
        format!("SELECT {columns} FROM {table} WHERE stream = $1 AND {which} ORDER BY customer{order}")
    };
    Ok(Beside {
        holds: session.all(&of(HOLD_COLUMNS, "hold", ", order_lsn"), params, hold)?,
        dossiers: session.all(&of("customer, body", "dossier", ""), params, dossier)?,
        stories: session.all(&of(STORY_COLUMNS, "story", ", kind, number"), params, story)?,
        changes: session.all(&of(STORY_COLUMNS, "story_change", ", kind, number, place"), params, story_change)?,
    })
}

fn number(customer: i64) -> Result<i32, LedgerError> {
    i32::try_from(customer).map_err(|_| LedgerError::Corrupt("a customer's number is too large".to_owned()))
}

/// The accounts from customer `from` to before `to`, all of them.
pub(crate) fn accounts(session: &mut Session, stream: i16, from: i64, to: i64) -> Result<Vec<Account>, LedgerError> {
    let (first, end) = (number(from)?, number(to)?);
    let params: Params<'_> = &[&stream, &first, &end];
    let mut rows = own_rows(session, RANGE, params)?;
    if rows.iter().map(|row| i64::from(row.customer.0)).ne(from..to) {
        return Err(LedgerError::Corrupt("customers are missing".to_owned()));
    }
    if rows.iter().any(|row| row.is_beside) {
        let beside = beside(session, RANGE, params)?;
        put_together(&mut rows, beside)?;
    }
    let mut accounts = Vec::with_capacity(checkpoint::BLOCK);
    accounts.extend(rows.into_iter().map(|row| row.account));
    Ok(accounts)
}

/// Those of a list that are there.
pub(crate) fn some_accounts(
    session: &mut Session,
    stream: i16,
    customers: &[CustomerIx],
) -> Result<Vec<(CustomerIx, Account)>, LedgerError> {
    let listed = customers.iter().map(|customer| number(customer.0.into())).collect::<Result<Vec<_>, _>>()?;
    let mut rows = own_rows(session, LISTED, &[&stream, &listed])?;
    let listed: Vec<i32> =
        rows.iter().filter(|row| row.is_beside).map(|row| number(row.customer.0.into())).collect::<Result<_, _>>()?;
    if !listed.is_empty() {
        let beside = beside(session, LISTED, &[&stream, &listed])?;
        put_together(&mut rows, beside)?;
    }
    Ok(rows.into_iter().map(|row| (row.customer, row.account)).collect())
}

//! Sums over all rows, for `verify`.

use rusqlite::{Connection, params};

use super::read::{SqliteCells, all};
use crate::domain::model::ids::Lsn;
use crate::domain::model::purchase::Channel;
use crate::ledger::audit::{CustomerSums, OWN};
use crate::ledger::cells::Cells;
use crate::ledger::{Book, LedgerError};

/// What they come to by account and far side; what is in suspense is no customer's.
pub(crate) fn totals(db: &Connection, upto: Lsn) -> Result<Vec<(Book, Book, i64)>, LedgerError> {
    let sql = "SELECT account, counter_account, sum(amount) FROM (
            SELECT account, counter_account, amount FROM entry WHERE lsn <= ?1
            UNION ALL SELECT ?2, ?3, amount FROM suspense WHERE order_lsn <= ?1
            UNION ALL SELECT ?2, cleared_counter, -amount FROM suspense WHERE cleared_lsn <= ?1
        ) GROUP BY account, counter_account";
    let book = |cells: &dyn Cells, column| cells.one_of(column, Book::ALL, |book| book as u8);
    let total = |cells: &dyn Cells| Ok((book(cells, 0)?, book(cells, 1)?, cells.int(2)?));
    all(db, sql, params![upto.0.cast_signed(), Book::Suspense as u8, Book::MerchantPayable as u8], total)
}

/// Those of each customer, in one pass over the rows.
pub(crate) fn sums(db: &Connection, upto: Lsn, each: &mut dyn FnMut(CustomerSums)) -> Result<(), LedgerError> {
    let exposure = Book::Exposure as u8;
    let of_book = |book: Book| format!("sum(iif(account = {}, amount, 0))", book as u8);
    let of_channel =
        |channel: Channel| format!("sum(iif(account = {exposure} AND channel = {}, amount, 0))", channel as u8);
    let sums: Vec<String> = OWN.into_iter().map(of_book).chain(Channel::ALL.map(of_channel)).collect();
    let last = OWN.len() + Channel::ALL.len();
    let columns = |from: usize, to: usize| (from..to).map(|n| format!("ifnull(s.c{n}, 0), ")).collect::<String>();
    let named = sums.iter().enumerate().map(|(n, sum)| format!("{sum} AS c{n}, ")).collect::<String>();
    let sql = format!(
        "SELECT a.customer_id, {}ifnull(s.untold, 0), (SELECT lsn FROM posted) = ?1, a.credit, a.payout_due,
            a.in_store + a.online + a.story_principal
        FROM account a LEFT JOIN (
            SELECT customer, {named}sum(account = {exposure} AND value_at IS NULL AND order_lsn = 0) AS untold
            FROM entry WHERE lsn <= ?1 GROUP BY customer
        ) s ON s.customer = a.customer",
        columns(0, last)
    );
    let mut query = db.prepare(&sql)?;
    let mut rows = query.query([upto.0.cast_signed()])?;
    while let Some(row) = rows.next()? {
        let cells: &dyn Cells = &SqliteCells(row);
        each(CustomerSums::read(cells)?);
    }
    Ok(())
}

/// The records that leave something between two accounts of one customer: what one gives, the other takes.
pub(crate) fn unclear(db: &Connection, upto: Lsn) -> Result<Vec<Lsn>, LedgerError> {
    let sql = "SELECT m.lsn FROM movement m JOIN word w ON w.list = 'side' AND w.number = m.account
        WHERE m.counter_account = ?2 AND m.lsn <= ?1
        GROUP BY m.lsn, m.customer HAVING sum(iif(w.word = 'debit', m.amount, -m.amount)) <> 0";
    all(db, sql, params![upto.0.cast_signed(), Book::Clearing as u8], |cells| cells.lsn(0))
}

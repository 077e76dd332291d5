//! Sums over all rows, for `verify`.

use super::session::Session;
use crate::domain::model::ids::Lsn;
use crate::domain::model::purchase::Channel;
use crate::ledger::audit::{CustomerSums, OWN};
use crate::ledger::{Book, LedgerError};

/// What they come to by account and far side; what is in suspense is no customer's.
pub(crate) fn totals(session: &mut Session, stream: i16, upto: Lsn) -> Result<Vec<(Book, Book, i64)>, LedgerError> {
    let (suspense, payable) = (Book::Suspense as u8, Book::MerchantPayable as u8);
    let sql = format!(
        "SELECT account, counter_account, sum(amount)::bigint FROM (
            SELECT account, counter_account, amount FROM entry WHERE stream = $1 AND lsn <= $2
            UNION ALL SELECT {suspense}, {payable}, amount FROM suspense WHERE stream = $1 AND order_lsn <= $2
            UNION ALL SELECT {suspense}, cleared_counter, -amount FROM suspense WHERE stream = $1 AND cleared_lsn <= $2
        ) all_rows GROUP BY account, counter_account"
    );
    session.all(&sql, &[&stream, &upto.0.cast_signed()], |cells| {
        let book = |column| cells.one_of(column, Book::ALL, |book| book as u8);
        Ok((book(0)?, book(1)?, cells.int(2)?))
    })
}

/// Those of each customer, in one pass over the rows.
pub(crate) fn sums(
    session: &mut Session,
    stream: i16,
    upto: Lsn,
    each: &mut dyn FnMut(CustomerSums),
) -> Result<(), LedgerError> {
    let exposure = Book::Exposure as u8;
    let sum = |which: String| format!("coalesce(sum(amount) FILTER (WHERE {which}), 0)::bigint");
    let of_book = |book: Book| sum(format!("account = {}", book as u8));
    let of_channel = |channel: Channel| sum(format!("account = {exposure} AND channel = {}", channel as u8));
    let sums: Vec<String> = OWN.into_iter().map(of_book).chain(Channel::ALL.map(of_channel)).collect();
    let columns = (0..sums.len()).map(|n| format!("coalesce(s.c{n}, 0), ")).collect::<String>();
    let named = sums.iter().enumerate().map(|(n, sum)| format!("{sum} AS c{n}, ")).collect::<String>();
    let sql = format!(
        "SELECT a.customer_id, {columns}coalesce(s.untold, 0), (SELECT lsn FROM posted WHERE stream = $1) = $2, a.credit,
            a.payout_due, a.in_store + a.online + a.story_principal
        FROM account a LEFT JOIN (
            SELECT customer, {named}
                count(*) FILTER (WHERE account = {exposure} AND value_at IS NULL AND order_lsn = 0) AS untold
            FROM entry WHERE stream = $1 AND lsn <= $2 GROUP BY customer
        ) s ON s.customer = a.customer WHERE a.stream = $1"
    );
    session.each(&sql, &[&stream, &upto.0.cast_signed()], |cells| {
        each(CustomerSums::read(cells)?);
        Ok(())
    })
}

/// The records that leave something between two accounts of one customer: what one gives, the other takes.
pub(crate) fn unclear(session: &mut Session, stream: i16, upto: Lsn) -> Result<Vec<Lsn>, LedgerError> {
    let sql = format!(
        "SELECT m.lsn FROM movement m JOIN word w ON w.list = 'side' AND w.number = m.account
        WHERE m.stream = $1 AND m.counter_account = {} AND m.lsn <= $2
        GROUP BY m.lsn, m.customer HAVING sum(CASE WHEN w.word = 'debit' THEN m.amount ELSE -m.amount END) <> 0",
        Book::Clearing as u8
    );
    session.all(&sql, &[&stream, &upto.0.cast_signed()], |cells| cells.lsn(0))
}

//! Answers about the past, on a few open connections that are lent to whoever asks.

use std::path::{Path, PathBuf};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, params};

use super::read::{Cells, DECIDED_FROM, NO_CHANNEL, all, far_end, first, first_since, order, orders_where, receipt_of};
use super::{BUSY, audit, keys, load, open_reader, position, stories};
use crate::domain::billing::settlement::{LadderStep, StepReason};
use crate::domain::billing::stories::Kept;
use crate::domain::model::advice::Booked;
use crate::domain::model::customer::{Limits, Status};
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, MerchantId, OfficeId, OrderId, RefundId};
use crate::domain::model::order::Order;
use crate::domain::model::payment::{BillKey, PaymentMethod};
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::{Millis, Month};
use crate::domain::state::State;
use crate::domain::state::receipts::{Known, Receipt, ReceiptKind};
use crate::journal::codec::Dossier;
use crate::ledger::{
    BOOKS_CONNECTIONS, Book, Books, CustomerSums, Entry, EntryKind, Far, Graded, InSuspense, Issued, LedgerError,
    Moved, OwedInCash, PaidOut, Purchase, RecordId, Snapshot, Stepped,
};

const ENTRIES: &str = "SELECT e.lsn, e.kind, e.account, e.amount, e.month, e.recorded_at,
    d.authorization_id, d.merchant_id, e.channel, e.money, e.own_day, e.far, e.far_bill, e.counter_account, e.value_at
    FROM entry e LEFT JOIN decision d ON d.lsn = e.order_lsn
    WHERE e.block = ?1 AND e.customer = ?2 AND e.recorded_at >= ?3 AND e.recorded_at < ?4 ORDER BY e.lsn, e.kind";

const IN_SUSPENSE: &str = "SELECT d.authorization_id, d.merchant_id, d.order_id, d.channel, s.amount, s.recorded_at,
    d.advice, a.customer_id FROM suspense s JOIN decision d ON d.lsn = s.order_lsn
    LEFT JOIN account a ON a.customer = s.customer WHERE s.cleared_lsn IS NULL";

/// Connections to a ledger that a writer has made. Each is opened, and its tables checked, when a question finds none
/// idle; one that gave an error is closed.
pub struct SqliteBooks {
    path: PathBuf,
    pool: Mutex<Pool>,
    /// One came back, or was closed.
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Idle, lent or being opened.
    open: usize,
}

/// A connection while its question is asked.
struct Lent<'a> {
    books: &'a SqliteBooks,
    /// None if it is to be closed.
    db: Option<Connection>,
}

impl SqliteBooks {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), pool: Mutex::default(), freed: Condvar::new() }
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let mut lent = self.lend()?;
        let Some(db) = lent.db.take() else { return Err(busy()) };
        let answer = question(&db);
        lent.db = answer.is_ok().then_some(db);
        answer
    }

    /// An idle connection, or a new one; where all are lent, the next that comes back, within the time that a lock is
    /// waited for.
    fn lend(&self) -> Result<Lent<'_>, LedgerError> {
        let mut pool = self.pool.lock();
        let idle = loop {
            match pool.idle.pop() {
                None if pool.open >= BOOKS_CONNECTIONS => {
                    if self.freed.wait_for(&mut pool, BUSY).timed_out() {
                        return Err(busy());
                    }
                }
                idle => break idle,
            }
        };
        pool.open += usize::from(idle.is_none());
        drop(pool);
        let mut lent = Lent { books: self, db: idle };
        if lent.db.is_none() {
            lent.db = Some(open_reader(&self.path)?);
        }
        Ok(lent)
    }
}

fn busy() -> LedgerError {
    LedgerError::Busy("all its readers are at work".to_owned())
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.books.pool.lock();
        match self.db.take() {
            Some(db) => pool.idle.push(db),
            None => pool.open -= 1,
        }
        self.books.freed.notify_one();
    }
}

impl Snapshot for SqliteBooks {
    fn load(&self, state: &mut State) -> Result<(), LedgerError> {
        load::load(&self.path, state)
    }
}

impl Books for SqliteBooks {
    fn as_of(&self) -> Result<Lsn, LedgerError> {
        self.ask(position)
    }

    fn past_order(&self, id: AuthorizationId) -> Result<Option<Order>, LedgerError> {
        let by_id = orders_where("d.lsn = ?1");
        let found = self.ask(|db| first(db, &by_id, [id.lsn.0.cast_signed()], |cells| order(db, cells.0)))?;
        Ok(found.filter(|order| order.id == id && !order.is_tombstone()))
    }

    fn past_order_by_key(&self, key: &OrderKey) -> Result<Option<Order>, LedgerError> {
        self.ask(|db| keys::past_order_by_key(db, key))
    }

    fn names(&self, orders: &[Lsn]) -> Result<Vec<AuthorizationId>, LedgerError> {
        let sql = "SELECT authorization_id FROM decision WHERE lsn = ?1";
        let name = |db: &Connection, order: &Lsn| {
            first(db, sql, [order.0.cast_signed()], |cells| cells.text(0, AuthorizationId::parse))
        };
        self.ask(|db| orders.iter().filter_map(|order| name(db, order).transpose()).collect())
    }

    /// The position is read first: what is posted after it may be missing from the facts, and never the other way.
    fn known(&self, ids: &[OfficeId]) -> Result<Known, LedgerError> {
        let sql = "SELECT lsn, recorded_at, event FROM receipt WHERE id = ?1 OR about = ?1 ORDER BY lsn";
        self.ask(|db| {
            let mut found = Known { as_of: position(db)?, receipts: Vec::new() };
            for id in ids {
                found.receipts.extend(all(db, sql, [id.as_str()], receipt_of)?);
            }
            Ok(found)
        })
    }

    fn entries(&self, customer: &CustomerId, from: Millis, to: Millis) -> Result<Vec<Entry>, LedgerError> {
        self.ask(|db| entries(db, customer, from, to))
    }

    fn record_ids(&self, records: &[Lsn]) -> Result<Vec<(Lsn, RecordId)>, LedgerError> {
        let sql =
            "SELECT kind, id FROM receipt WHERE lsn = ?1 UNION ALL SELECT NULL, refund_id FROM refund WHERE lsn = ?1";
        let id = |cells: &Cells<'_>| match cells.opt(0)? {
            None => Ok(RecordId::Refund(cells.text(1, |text| RefundId::new(text).ok())?)),
            Some(_) => {
                let kind = cells.one_of(0, &ReceiptKind::ALL, |kind| kind as u8)?;
                Ok(RecordId::Office(kind, cells.text(1, |text| OfficeId::new(text).ok())?))
            }
        };
        let found =
            |db: &Connection, record: &Lsn| Ok(first(db, sql, [record.0.cast_signed()], id)?.map(|id| (*record, id)));
        self.ask(|db| records.iter().filter_map(|record| found(db, record).transpose()).collect())
    }

    fn receipts(&self, customer: &CustomerId, kinds: &[ReceiptKind]) -> Result<Vec<Receipt>, LedgerError> {
        let sql = "SELECT r.lsn, r.recorded_at, r.event FROM receipt r JOIN account a ON a.customer = r.customer
            WHERE a.customer_id = ?1 AND r.kind = ?2";
        self.ask(|db| {
            let mut found = Vec::new();
            for kind in kinds {
                found.extend(all(db, sql, params![customer.as_str(), *kind as u8], receipt_of)?);
            }
            found.sort_by_key(|receipt| receipt.lsn);
            Ok(found)
        })
    }

    fn issued(&self, customer: &CustomerId) -> Result<Vec<Issued>, LedgerError> {
        let sql = "SELECT b.month, b.method, b.due FROM bill b JOIN account a ON a.customer = b.customer
            WHERE a.customer_id = ?1 ORDER BY b.month";
        let issued = |cells: &Cells<'_>| {
            let method = cells.one_of(1, &PaymentMethod::ALL, |method| method as u8)?;
            Ok(Issued { month: cells.month(0)?, method, due: cells.date(2)? })
        };
        self.ask(|db| all(db, sql, [customer.as_str()], issued))
    }

    fn ladder_steps(&self, customer: &CustomerId) -> Result<Vec<Stepped>, LedgerError> {
        let sql = "SELECT s.recorded_at, s.from_rung, s.to_rung, s.why, s.policy
            FROM ladder_step s JOIN account a ON a.customer = s.customer WHERE a.customer_id = ?1 ORDER BY s.lsn, s.id";
        let stepped = |cells: &Cells<'_>| {
            let why = cells.one_of(3, &StepReason::ALL, |why| why as u8)?;
            let step = LadderStep { from: cells.num(1)?, to: cells.num(2)?, why, policy: cells.num(4)? };
            Ok(Stepped { at: cells.opt(0)?.map(Millis), step })
        };
        self.ask(|db| all(db, sql, [customer.as_str()], stepped))
    }

    fn graded(&self, customer: &CustomerId) -> Result<Vec<(Millis, Graded)>, LedgerError> {
        let sql = "SELECT g.recorded_at, g.rung, g.limit_total, g.limit_in_store
            FROM grade g JOIN account a ON a.customer = g.customer WHERE a.customer_id = ?1 ORDER BY g.lsn";
        let graded = |cells: &Cells<'_>| {
            let limits = cells.opt_yen(2)?.zip(cells.opt_yen(3)?);
            let limits = limits.map(|(total, in_store)| Limits { total, in_store });
            Ok((cells.millis(0)?, Graded { rung: cells.num(1)?, limits }))
        };
        self.ask(|db| all(db, sql, [customer.as_str()], graded))
    }

    fn policies(&self, from: Millis, to: Millis) -> Result<Vec<(Millis, String)>, LedgerError> {
        let sql = "SELECT set_at, text FROM policy WHERE set_at < ?2
            AND lsn >= (SELECT ifnull(max(lsn), 0) FROM policy WHERE set_at <= ?1) ORDER BY lsn";
        let policy = |cells: &Cells<'_>| Ok((cells.millis(0)?, cells.text(1, |text| Some(text.to_owned()))?));
        self.ask(|db| all(db, sql, [from.0, to.0], policy))
    }

    fn payouts_due(&self, after: Option<&CustomerId>, most: usize) -> Result<Vec<OwedInCash>, LedgerError> {
        let sql = "SELECT a.customer_id, a.status, d.body FROM account a JOIN dossier d ON d.customer = a.customer
            WHERE a.payout_due > 0 AND a.customer_id > ?1 ORDER BY a.customer_id LIMIT ?2";
        let owed = |cells: &Cells<'_>| {
            let status = cells.one_of(1, &Status::ALL, |status| status as u8)?;
            let sums = cells.blob(2, Dossier::from_bytes)?.sums;
            Ok(OwedInCash { customer: cells.text(0, |text| CustomerId::new(text).ok())?, status, sums })
        };
        let after = after.map_or("", CustomerId::as_str);
        self.ask(|db| all(db, sql, params![after, rows(most)], owed))
    }

    fn payouts_made(&self, after: Lsn, most: usize) -> Result<Vec<PaidOut>, LedgerError> {
        let sql = "SELECT r.lsn, r.recorded_at, r.event, a.customer_id, b.recorded_at
            FROM receipt r JOIN account a ON a.customer = r.customer
            LEFT JOIN receipt b ON b.customer = r.customer AND b.kind = ?3 AND b.id = r.id
            WHERE r.kind = 3 AND r.lsn > ?1 ORDER BY r.lsn LIMIT ?2";
        let paid = |cells: &Cells<'_>| {
            let customer = cells.text(3, |text| CustomerId::new(text).ok())?;
            Ok(PaidOut { customer, receipt: receipt_of(cells)?, bounced_at: cells.opt(4)?.map(Millis) })
        };
        let of = params![after.0.cast_signed(), rows(most), ReceiptKind::Bounce as u8];
        self.ask(|db| all(db, sql, of, paid))
    }

    fn kept(&self, customer: &CustomerId) -> Result<Kept, LedgerError> {
        self.ask(|db| stories::kept(db, customer))
    }

    fn suspense(&self, after: Lsn, most: usize) -> Result<Vec<InSuspense>, LedgerError> {
        let sql = format!("{IN_SUSPENSE} AND s.order_lsn > ?1 ORDER BY s.order_lsn LIMIT ?2");
        self.ask(|db| all(db, &sql, params![after.0.cast_signed(), rows(most)], in_suspense))
    }

    fn suspense_of(&self, order: AuthorizationId) -> Result<Option<InSuspense>, LedgerError> {
        let sql = format!("{IN_SUSPENSE} AND s.order_lsn = ?1");
        self.ask(|db| first(db, &sql, [order.lsn.0.cast_signed()], in_suspense))
    }

    /// Tombstones are none.
    fn count_decisions(&self, upto: Lsn) -> Result<u64, LedgerError> {
        let count = "SELECT count(*) FROM decision WHERE state <> 1 AND lsn <= ?1";
        let rows: i64 = self.ask(|db| Ok(db.query_row(count, [upto.0.cast_signed()], |row| row.get(0))?))?;
        Ok(rows.unsigned_abs())
    }

    fn totals(&self, upto: Lsn) -> Result<Vec<(Book, Book, i64)>, LedgerError> {
        self.ask(|db| audit::totals(db, upto))
    }

    fn sums(&self, upto: Lsn, each: &mut dyn FnMut(CustomerSums)) -> Result<(), LedgerError> {
        self.ask(|db| audit::sums(db, upto, each))
    }

    fn unclear(&self, upto: Lsn) -> Result<Vec<Lsn>, LedgerError> {
        self.ask(|db| audit::unclear(db, upto))
    }
}

/// How many rows are asked for.
fn rows(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// The index on movements begins with blocks of 65,536 records. Asked are those from the one of the last decision before
/// `from` to the one of the first decision from `to` on.
fn entries(db: &Connection, customer: &CustomerId, from: Millis, to: Millis) -> Result<Vec<Entry>, LedgerError> {
    let customer_ix = "SELECT customer FROM account WHERE customer_id = ?1";
    let Some(ix) = first(db, customer_ix, [customer.as_str()], |cells| cells.int(0))? else { return Ok(Vec::new()) };
    let end = position(db)?.next().0.cast_signed();
    let oldest = (first_since(db, DECIDED_FROM, end, from)? - 1).max(0) >> 16;
    let after = first_since(db, DECIDED_FROM, end, to)?;
    let latest = first(db, DECIDED_FROM, [after], |cells| cells.int(0))?.unwrap_or(end) >> 16;
    let mut found = Vec::new();
    for block in oldest..=latest {
        found.extend(all(db, ENTRIES, params![block, ix, from.0, to.0], entry)?);
    }
    Ok(found)
}

fn in_suspense(cells: &Cells<'_>) -> Result<InSuspense, LedgerError> {
    Ok(InSuspense {
        authorization: cells.text(0, AuthorizationId::parse)?,
        merchant: cells.text(1, |text| MerchantId::new(text).ok())?,
        order_id: cells.text(2, |text| OrderId::new(text).ok())?,
        channel: cells.channel(3)?,
        amount: cells.yen(4)?,
        at: cells.millis(5)?,
        why: cells.made(6, |number| Booked::from_number(number)?.suspense())?,
        customer: cells.opt_text(7, |text| CustomerId::new(text).ok())?,
    })
}

fn entry(cells: &Cells<'_>) -> Result<Entry, LedgerError> {
    let value_at = cells.opt(14)?.map(Millis);
    // A row from before the value was kept names a channel only where it names a purchase.
    let is_told =
        cells.num::<u8>(8)? != NO_CHANNEL && (value_at.is_some() || cells.opt_text(6, |_| Some(()))?.is_some());
    let channel = if is_told { Some(cells.channel(8)?) } else { None };
    let purchase = match cells.opt_text(6, AuthorizationId::parse)? {
        None => None,
        Some(authorization) => {
            let merchant = cells.text(7, |text| MerchantId::new(text).ok())?;
            Some(Purchase { authorization, merchant, channel: cells.channel(8)? })
        }
    };
    Ok(Entry {
        lsn: cells.lsn(0)?,
        kind: cells.one_of(1, EntryKind::ALL, |kind| kind as u8)?,
        account: cells.one_of(2, Book::ALL, |book| book as u8)?,
        counter: cells.one_of(13, Book::ALL, |book| book as u8)?,
        amount: cells.int(3)?,
        month: cells.opt_made(4, Month::from_number)?,
        recorded_at: cells.millis(5)?,
        value_at,
        channel,
        purchase,
        moved: moved(cells)?,
    })
}

/// The money that makes an entry, and its other end.
fn moved(cells: &Cells<'_>) -> Result<Option<Moved>, LedgerError> {
    if cells.opt(9)?.is_none() {
        return Ok(None);
    }
    let far = match cells.num(11)? {
        far_end::MONTH => Far::Bill(BillKey::Month(cells.month(12)?)),
        far_end::NP => Far::Bill(BillKey::Np(cells.lsn(12)?)),
        _ => cells.made(11, |end: u8| match end {
            far_end::RECEIVED => Some(Far::Received),
            far_end::REFUND => Some(Far::Refund),
            far_end::CREDIT => Some(Far::Credit),
            far_end::PAYOUT_DUE => Some(Far::PayoutDue),
            far_end::PAID_OUT => Some(Far::PaidOut),
            far_end::REVERSED => Some(Far::Reversed),
            _ => None,
        })?,
    };
    Ok(Some(Moved { money: cells.lsn(9)?, day: cells.millis(10)?, far }))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::domain::model::time::Millis;
    use crate::ledger::sqlite::SqliteLedger;

    /// Idle ones, and all.
    fn open(books: &SqliteBooks) -> (usize, usize) {
        let pool = books.pool.lock();
        (pool.idle.len(), pool.open)
    }

    fn made() -> (SqliteBooks, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        drop(SqliteLedger::open(&path, Millis(0)).unwrap());
        (SqliteBooks::new(&path), dir)
    }

    #[test]
    fn a_connection_is_used_again_and_one_that_failed_is_closed() {
        let (books, dir) = made();
        for _ in 0..5 {
            assert_eq!(books.as_of().unwrap(), Lsn::ZERO);
            assert_eq!(open(&books), (1, 1));
        }
        let failed: Result<(), _> = books.ask(|_| Err(LedgerError::Corrupt("a page".to_owned())));
        assert!(matches!(failed, Err(LedgerError::Corrupt(_))));
        assert_eq!(open(&books), (0, 0));
        assert_eq!(books.as_of().unwrap(), Lsn::ZERO);
        std::fs::remove_file(dir.path().join("ledger.db")).unwrap();
        let none = SqliteBooks::new(&dir.path().join("ledger.db"));
        assert!(matches!(none.as_of(), Err(LedgerError::Io(_))));
        assert_eq!(open(&none), (0, 0), "what could not be opened takes no place");
    }

    #[test]
    fn more_questions_than_connections_wait_for_one_that_comes_back() {
        let (books, _dir) = made();
        let (all_asked, go_on) = (Barrier::new(BOOKS_CONNECTIONS + 1), Barrier::new(BOOKS_CONNECTIONS + 1));
        std::thread::scope(|scope| {
            for _ in 0..BOOKS_CONNECTIONS {
                scope.spawn(|| {
                    books.ask(|db| {
                        all_asked.wait();
                        go_on.wait();
                        position(db)
                    })
                });
            }
            all_asked.wait();
            assert_eq!(open(&books), (0, BOOKS_CONNECTIONS));
            let patient = scope.spawn(|| books.as_of());
            let refused = books.as_of();
            assert!(matches!(refused, Err(LedgerError::Busy(_))), "they are lent for longer than a lock is waited for");
            assert!(patient.join().unwrap().is_err());
            let late = scope.spawn(|| books.as_of());
            go_on.wait();
            assert_eq!(late.join().unwrap().unwrap(), Lsn::ZERO);
        });
        assert_eq!(open(&books), (BOOKS_CONNECTIONS, BOOKS_CONNECTIONS), "all came back");
    }
}

//! Answers about the past, as SQLite is asked for them.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::accounts::accounts;
use super::read::{DECIDED_FROM, all, first, first_since, order, orders_where};
use super::{BUSY, audit, keys, lists, load, open_reader, position};
use crate::domain::billing::account::Account;
use crate::domain::billing::stories::Kept;
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, MerchantId, OfficeId};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::order::Order;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::receipts::{Known, Receipt, ReceiptKind};
use crate::ledger::lists::{CustomersOf, Listed, Page, PageOf, rows};
use crate::ledger::pool::Pool;
use crate::ledger::{
    Book, Books, CustomerSums, Entry, Graded, InSuspense, Issued, LedgerError, OwedInCash, PaidOut, RecordId, Snapshot,
    Stepped, answers,
};

/// Connections to a ledger that a writer has made. Its tables are checked when one is opened.
pub struct SqliteBooks {
    path: PathBuf,
    pool: Pool<Connection>,
}

impl SqliteBooks {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), pool: Pool::new(BUSY) }
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        self.pool.ask(|| open_reader(&self.path), |_| Ok(()), |db| question(db))
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
        let found = self.ask(|db| first(db, &by_id, [id.lsn.0.cast_signed()], |cells| order(db, cells)))?;
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
                found.receipts.extend(all(db, sql, [id.as_str()], answers::receipt)?);
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
        let found = |db: &Connection, record: &Lsn| {
            Ok(first(db, sql, [record.0.cast_signed()], answers::record_id)?.map(|id| (*record, id)))
        };
        self.ask(|db| records.iter().filter_map(|record| found(db, record).transpose()).collect())
    }

    fn receipts(&self, customer: &CustomerId, kinds: &[ReceiptKind]) -> Result<Vec<Receipt>, LedgerError> {
        let sql = "SELECT r.lsn, r.recorded_at, r.event FROM receipt r JOIN account a ON a.customer = r.customer
            WHERE a.customer_id = ?1 AND r.kind = ?2";
        self.ask(|db| {
            let mut found = Vec::new();
            for kind in kinds {
                found.extend(all(db, sql, params![customer.as_str(), *kind as u8], answers::receipt)?);
            }
            found.sort_by_key(|receipt| receipt.lsn);
            Ok(found)
        })
    }

    fn issued(&self, customer: &CustomerId) -> Result<Vec<Issued>, LedgerError> {
        let sql = "SELECT b.month, b.method, b.due FROM bill b JOIN account a ON a.customer = b.customer
            WHERE a.customer_id = ?1 ORDER BY b.month";
        self.ask(|db| all(db, sql, [customer.as_str()], answers::issued))
    }

    fn ladder_steps(&self, customer: &CustomerId) -> Result<Vec<Stepped>, LedgerError> {
        let sql = format!(
            "SELECT {} FROM ladder_step s JOIN account a ON a.customer = s.customer
            WHERE a.customer_id = ?1 ORDER BY s.lsn, s.id",
            answers::STEPPED
        );
        self.ask(|db| all(db, &sql, [customer.as_str()], answers::stepped))
    }

    fn graded(&self, customer: &CustomerId) -> Result<Vec<(Millis, Graded)>, LedgerError> {
        let sql = format!(
            "SELECT {} FROM grade g JOIN account a ON a.customer = g.customer WHERE a.customer_id = ?1 ORDER BY g.lsn",
            answers::GRADED
        );
        self.ask(|db| all(db, &sql, [customer.as_str()], answers::graded))
    }

    fn policies(&self, from: Millis, to: Millis) -> Result<Vec<(Millis, String)>, LedgerError> {
        let sql = "SELECT set_at, text FROM policy WHERE set_at < ?2
            AND lsn >= (SELECT ifnull(max(lsn), 0) FROM policy WHERE set_at <= ?1) ORDER BY lsn";
        self.ask(|db| all(db, sql, [from.0, to.0], answers::policy))
    }

    fn payouts_due(&self, after: Option<&CustomerId>, most: usize) -> Result<Vec<OwedInCash>, LedgerError> {
        let sql = "SELECT a.customer_id, a.status, d.body FROM account a JOIN dossier d ON d.customer = a.customer
            WHERE a.payout_due > 0 AND a.customer_id > ?1 ORDER BY a.customer_id LIMIT ?2";
        let after = after.map_or("", CustomerId::as_str);
        self.ask(|db| all(db, sql, params![after, rows(most)], answers::owed_in_cash))
    }

    fn payouts_made(&self, after: Lsn, most: usize) -> Result<Vec<PaidOut>, LedgerError> {
        let sql = "SELECT r.lsn, r.recorded_at, r.event, a.customer_id, b.recorded_at
            FROM receipt r JOIN account a ON a.customer = r.customer
            LEFT JOIN receipt b ON b.customer = r.customer AND b.kind = ?3 AND b.id = r.id
            WHERE r.kind = 3 AND r.lsn > ?1 ORDER BY r.lsn LIMIT ?2";
        let of = params![after.0.cast_signed(), rows(most), ReceiptKind::Bounce as u8];
        self.ask(|db| all(db, sql, of, answers::paid_out))
    }

    fn kept(&self, customer: &CustomerId) -> Result<Kept, LedgerError> {
        self.ask(|db| kept(db, customer))
    }

    fn suspense(&self, after: Lsn, most: usize) -> Result<Vec<InSuspense>, LedgerError> {
        let sql = in_suspense("s.order_lsn > ?1 ORDER BY s.order_lsn LIMIT ?2");
        self.ask(|db| all(db, &sql, params![after.0.cast_signed(), rows(most)], answers::in_suspense))
    }

    fn suspense_of(&self, order: AuthorizationId) -> Result<Option<InSuspense>, LedgerError> {
        let sql = in_suspense("s.order_lsn = ?1");
        self.ask(|db| first(db, &sql, [order.lsn.0.cast_signed()], answers::in_suspense))
    }

    fn list(&self, of: &PageOf, keep: &dyn Fn(&Listed) -> bool) -> Result<Page<Listed, Lsn>, LedgerError> {
        self.ask(|db| lists::list(db, of, keep))
    }

    fn customers(
        &self,
        of: &CustomersOf,
        keep: &dyn Fn(&Account) -> bool,
    ) -> Result<Page<Account, CustomerId>, LedgerError> {
        self.ask(|db| lists::customers(db, of, keep))
    }

    fn merchants(&self, after: Option<&MerchantId>, limit: usize) -> Result<Page<Merchant, MerchantId>, LedgerError> {
        self.ask(|db| lists::merchants(db, after, limit))
    }

    fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>, LedgerError> {
        self.ask(|db| lists::merchant(db, id))
    }

    /// Tombstones are none.
    fn count_decisions(&self, upto: Lsn) -> Result<u64, LedgerError> {
        let count = "SELECT count(*) FROM decision WHERE state <> 1 AND lsn <= ?1";
        let counted = self.ask(|db| first(db, count, [upto.0.cast_signed()], |cells| cells.bits(0)))?;
        Ok(counted.unwrap_or_default())
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

/// The index on movements begins with blocks of 65,536 records. Asked are those from the one of the last decision before
/// `from` to the one of the first decision from `to` on.
fn entries(db: &Connection, customer: &CustomerId, from: Millis, to: Millis) -> Result<Vec<Entry>, LedgerError> {
    let customer_ix = "SELECT customer FROM account WHERE customer_id = ?1";
    let Some(ix) = first(db, customer_ix, [customer.as_str()], |cells| cells.int(0))? else { return Ok(Vec::new()) };
    let end = position(db)?.next().0.cast_signed();
    let oldest = (first_since(db, DECIDED_FROM, end, from)? - 1).max(0) >> 16;
    let after = first_since(db, DECIDED_FROM, end, to)?;
    let latest = first(db, DECIDED_FROM, [after], |cells| cells.int(0))?.unwrap_or(end) >> 16;
    let sql = format!(
        "SELECT {} FROM entry e LEFT JOIN decision d ON d.lsn = e.order_lsn
        WHERE e.block = ?1 AND e.customer = ?2 AND e.recorded_at >= ?3 AND e.recorded_at < ?4 ORDER BY e.lsn, e.kind",
        answers::ENTRY
    );
    let mut found = Vec::new();
    for block in oldest..=latest {
        found.extend(all(db, &sql, params![block, ix, from.0, to.0], answers::entry)?);
    }
    Ok(found)
}

/// A query of sales in suspense.
fn in_suspense(filter: &str) -> String {
    format!(
        "SELECT {} FROM suspense s JOIN decision d ON d.lsn = s.order_lsn
        LEFT JOIN account a ON a.customer = s.customer WHERE s.cleared_lsn IS NULL AND {filter}",
        answers::IN_SUSPENSE
    )
}

/// All stories of a customer, at one moment.
fn kept(db: &Connection, customer: &CustomerId) -> Result<Kept, LedgerError> {
    let tx = db.unchecked_transaction()?;
    let as_of = position(&tx)?;
    let of = "SELECT customer FROM account WHERE customer_id = ?1";
    let Some(ix) = first(&tx, of, [customer.as_str()], |cells| cells.int(0))? else {
        return Ok(Kept { as_of, stories: Vec::new() });
    };
    let past = "SELECT body FROM past_story WHERE customer = ?1";
    let mut stories = all(&tx, past, [ix], answers::past_story)?;
    if let Some(debt) = accounts(&tx, ix, ix + 1)?.pop().and_then(|account| account.debt) {
        stories.extend(answers::listed_stories(&debt));
    }
    Ok(Kept { as_of, stories })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::ledger::BOOKS_CONNECTIONS;
    use crate::ledger::sqlite::SqliteLedger;

    /// Idle ones, and all.
    fn open(books: &SqliteBooks) -> (usize, usize) {
        books.pool.open()
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

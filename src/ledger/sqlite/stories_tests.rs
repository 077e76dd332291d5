//! Bills with a story in the tables: what a fact writes, and what older ledgers kept elsewhere.

use rusqlite::{Connection, params};

use super::SqliteLedger;
use super::rows::SqliteRows;
use crate::domain::billing::bill::{Bill, ChangeKind};
use crate::domain::commands::history::{History, assert_alike};
use crate::domain::commands::request::Request;
use crate::domain::commands::{Ruling, dispatch};
use crate::domain::model::ids::{CustomerIx, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::Instruction;
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::receipts::Known;
use crate::journal::codec::Dossier;
use crate::ledger::Checkpoint;
use crate::ledger::contract_tests::{loaded, postings};
use crate::ledger::posting::Rows;

/// The customer with the largest unpaid bill pays one yen.
fn one_yen(history: &mut History, number: usize) {
    let unpaid = |ix: u32| {
        let account = history.state.account(CustomerIx(ix)).unwrap();
        account.listed_bills().iter().map(|bill| bill.unpaid()).max().unwrap_or(Yen::ZERO)
    };
    let count = u32::try_from(history.state.accounts().count()).unwrap();
    let most = (0..count).max_by_key(|ix| unpaid(*ix)).unwrap();
    let customer = history.state.account(CustomerIx(most)).unwrap().id;
    let id = OfficeId::new(&format!("one-yen-{number}")).unwrap();
    let instruction = Instruction::Repay { id, amount: Yen::new(1), paid_at: None, slip: None };
    let request = Request::Instruct { customer, instruction, ledger: Some(Known::nothing()) };
    let Ruling::Record(event, _) = dispatch(&history.state, &request, &Now::at(history.now()), 0, &mut || 0) else {
        panic!("payment {number} is not recorded");
    };
    history.record(event);
}

#[test]
fn a_payment_on_a_bill_with_many_writes_no_more_than_the_first() {
    let mut history = History::new(106, 1_200);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let mut ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
    let post = |ledger: &mut SqliteLedger, history: &History, from: usize| {
        ledger.post(&postings(history)[from..]).unwrap();
        ledger.connection().total_changes()
    };
    let mut before = post(&mut ledger, &history, 0);
    let rows: Vec<u64> = (0..300)
        .map(|number| {
            let from = history.events.len();
            one_yen(&mut history, number);
            let now = post(&mut ledger, &history, from);
            now - std::mem::replace(&mut before, now)
        })
        .collect();
    assert!(rows.iter().max() == rows.first() && rows[0] < 12, "rows written by each payment: {rows:?}");
    assert_alike(&loaded(&ledger), &history.state, history.now(), "with 300 payments");
}

/// The ledger as it was before bills had one form: months and NP purchases of which nothing was paid yet are sums in tables
/// of their own. How many of each these are.
fn put_back_sums(db: &Connection, history: &History) -> (usize, usize) {
    db.execute_batch(
        "CREATE TABLE open_month (customer INTEGER NOT NULL, month INTEGER NOT NULL, billed_by INTEGER,
            in_store INTEGER NOT NULL, online INTEGER NOT NULL, PRIMARY KEY (customer, month)) STRICT, WITHOUT ROWID;
        CREATE TABLE np_bill (customer INTEGER NOT NULL, order_lsn INTEGER NOT NULL, due INTEGER NOT NULL,
            unpaid INTEGER NOT NULL, PRIMARY KEY (customer, order_lsn)) STRICT, WITHOUT ROWID;
        DELETE FROM schema_migrations WHERE version >= 11",
    )
    .unwrap();
    let yen = |amount: Yen| amount.get().cast_signed();
    let (mut months, mut np) = (0, 0);
    for (ix, account) in history.state.accounts().enumerate() {
        let ix = i64::try_from(ix).unwrap();
        // The newest month lay in the customer's row unless a still newer one had come.
        if let Some(open) = account.month.filter(|_| ix % 2 == 0) {
            db.execute("UPDATE account SET month = NULL, in_store = 0, online = 0 WHERE customer = ?1", [ix]).unwrap();
            let of = |channel| if open.channel == channel { yen(open.amount) } else { 0 };
            let row = params![ix, open.month.to_number(), of(Channel::InStore), of(Channel::Online)];
            db.execute("INSERT INTO open_month VALUES (?1, ?2, NULL, ?3, ?4)", row).unwrap();
            months += 1;
        }
        for bill in account.listed_bills() {
            let BillKey::Np(order) = bill.key else { continue };
            let due = bill.due.unwrap();
            let was_paid =
                bill.changes.iter().any(|change| change.kind != ChangeKind::Refunded || change.at.date() > due);
            if was_paid || !bill.late_fees.is_empty() {
                continue;
            }
            let row = params![ix, order.0.cast_signed(), due.to_number(), yen(bill.net())];
            db.execute("INSERT INTO np_bill VALUES (?1, ?2, ?3, ?4)", row).unwrap();
            let gone = [ix, order.0.cast_signed()];
            db.execute("DELETE FROM story WHERE customer = ?1 AND kind = 2 AND number = ?2", gone).unwrap();
            db.execute("DELETE FROM story_change WHERE customer = ?1 AND kind = 2 AND number = ?2", gone).unwrap();
            let less = "UPDATE account SET story_principal = story_principal - ?2 WHERE customer = ?1";
            db.execute(less, params![ix, yen(bill.unpaid())]).unwrap();
            np += 1;
        }
    }
    (months, np)
}

/// The ledger as it was before bills had a table: those with a story are in the dossiers.
fn put_back_dossiers(db: &Connection, history: &History) {
    for (ix, account) in history.state.accounts().enumerate() {
        let ix = i64::try_from(ix).unwrap();
        let has_story = |bill: &Bill| {
            let (kind, number) = match bill.key {
                BillKey::Month(month) => (1, i64::from(month.to_number())),
                BillKey::Np(order) => (2, order.0.cast_signed()),
            };
            let mut query =
                db.prepare("SELECT 1 FROM story WHERE customer = ?1 AND kind = ?2 AND number = ?3").unwrap();
            query.exists(params![ix, kind, number]).unwrap()
        };
        let bills = account.listed_bills().iter().map(|bill| bill.as_ref().clone()).filter(has_story).collect();
        let notes = account.notes().cloned().unwrap_or_default();
        let dossier = Dossier { bills, credit_since: account.credit_since(), notes };
        if dossier != Dossier::default() {
            let row = params![ix, dossier.to_bytes().unwrap()];
            db.execute("INSERT OR REPLACE INTO dossier VALUES (?1, ?2)", row).unwrap();
        }
    }
    let later = "ALTER TABLE account DROP COLUMN touched; ALTER TABLE account DROP COLUMN beside;
        ALTER TABLE refund DROP COLUMN paid_at;
        ALTER TABLE np_bill ADD COLUMN charged_lsn INTEGER NOT NULL DEFAULT 0; DROP TABLE story; DROP TABLE story_change;
        DROP TABLE key_run; DROP TABLE key_run_built; DROP INDEX receipt_id;
        DELETE FROM schema_migrations WHERE version >= 5";
    db.execute_batch(later).unwrap();
}

#[test]
fn the_bills_of_an_older_ledger_are_carried_over() {
    let (mut months, mut np) = (0, 0);
    for (seed, many, version) in [(107, 1_200, 4), (108, 900, 10), (109, 500, 10), (110, 300, 10)] {
        let history = History::new(seed, many);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let mut ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
        ledger.post(&postings(&history)).unwrap();
        let sums = put_back_sums(ledger.connection(), &history);
        (months, np) = (months + sums.0, np + sums.1);
        if version == 4 {
            put_back_dossiers(ledger.connection(), &history);
        }
        drop(ledger);
        let ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
        let state = loaded(&ledger);
        assert_alike(&state, &history.state, history.now(), "carried over");
        let mut rows = SqliteRows::new(ledger.connection()).unwrap();
        for (customer, account) in (0..).map(CustomerIx).zip(state.accounts()) {
            let one = rows.accounts(&[customer]).unwrap();
            let (_, mut read) = one.into_iter().next().unwrap();
            // Of the order book, and in no table.
            read.latest_approval = account.latest_approval;
            assert_eq!(&read, account, "read alone, as for posting");
        }
    }
    assert!(months > 5 && np > 5, "{months} months and {np} NP purchases were sums");
}

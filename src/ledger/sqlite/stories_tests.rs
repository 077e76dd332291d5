//! Bills with a story in the tables: what a fact writes, and what older ledgers kept elsewhere.

use rusqlite::{Connection, params};

use super::SqliteLedger;
use super::rows::SqliteRows;
use crate::domain::commands::history::{History, assert_alike};
use crate::domain::commands::request::Request;
use crate::domain::commands::{Ruling, rule};
use crate::domain::model::ids::{CustomerIx, OfficeId};
use crate::domain::model::money::Yen;
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
        account.stories().iter().map(|bill| bill.unpaid()).max().unwrap_or(Yen::ZERO)
    };
    let count = u32::try_from(history.state.accounts().count()).unwrap();
    let most = (0..count).max_by_key(|ix| unpaid(*ix)).unwrap();
    let customer = history.state.account(CustomerIx(most)).unwrap().id;
    let id = OfficeId::new(&format!("one-yen-{number}")).unwrap();
    let instruction = Instruction::Repay { id, amount: Yen::new(1), paid_at: None, slip: None };
    let request = Request::Instruct { customer, instruction, ledger: Some(Known::nothing()) };
    let Ruling::Record(event) = rule(&history.state, &request, &Now::at(history.now()), 0, &mut || 0) else {
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

/// The ledger as it was before bills had a table: they are in the dossiers.
fn put_back(db: &Connection, history: &History) {
    for (ix, account) in history.state.accounts().enumerate() {
        let bills: Vec<_> = account.stories().iter().map(|bill| bill.as_ref().clone()).collect();
        if bills.is_empty() {
            continue;
        }
        let credit_since = account.rare.as_ref().and_then(|rare| rare.credit_since);
        let dossier = Dossier { bills, credit_since, notes: account.notes().cloned().unwrap_or_default() };
        let row = params![i64::try_from(ix).unwrap(), dossier.to_bytes().unwrap()];
        db.execute("INSERT OR REPLACE INTO dossier VALUES (?1, ?2)", row).unwrap();
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
    let history = History::new(107, 1_200);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let mut ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
    ledger.post(&postings(&history)).unwrap();
    put_back(ledger.connection(), &history);
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

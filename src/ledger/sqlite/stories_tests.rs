//! Bills with a story in the tables: what a fact writes, and that an older ledger is refused.

use super::SqliteLedger;
use crate::domain::commands::history::{History, assert_alike};
use crate::domain::commands::request::Request;
use crate::domain::commands::{Ruling, dispatch};
use crate::domain::model::ids::{CustomerIx, Lsn, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::request::Instruction;
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::receipts::Known;
use crate::ledger::contract_tests::{loaded, postings};
use crate::ledger::{Checkpoint, LedgerError};

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
    history.calendar();
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

#[test]
fn an_older_ledger_that_holds_records_is_to_be_posted_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let older = |ledger: SqliteLedger| {
        ledger.connection().execute_batch("DELETE FROM schema_migrations WHERE version >= 12").unwrap();
    };
    let mut ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
    ledger.post(&postings(&History::new(107, 300))).unwrap();
    older(ledger);
    let refused = SqliteLedger::open(&path, Millis(0)).err();
    let posted = Lsn(300);
    assert!(
        matches!(refused, Some(LedgerError::OlderSchema { found: 11, oldest: 17, posted: at }) if at >= posted),
        "{refused:?}"
    );
    let aside = SqliteLedger::set_aside(&path, 11).unwrap();
    assert!(aside.exists() && !path.exists());
    let mut new = SqliteLedger::open(&path, Millis(0)).unwrap();
    assert_eq!(new.position().unwrap(), Lsn::ZERO);
}

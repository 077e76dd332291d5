//! Bills with a story in the tables: what a fact writes, and that an older ledger is refused.

use std::sync::Arc;

use super::SqliteLedger;
use crate::domain::billing::account::Account;
use crate::domain::billing::bill::Bill;
use crate::domain::billing::notes::Note;
use crate::domain::billing::notices::Told;
use crate::domain::commands::history::{History, assert_alike};
use crate::domain::commands::request::Request;
use crate::domain::commands::{Ruling, dispatch};
use crate::domain::model::ids::{CustomerIx, Lsn, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::request::{Instruction, Staff};
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::event::Event;
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
        matches!(refused, Some(LedgerError::OlderSchema { found: 11, oldest: 14, posted: at }) if at >= posted),
        "{refused:?}"
    );
    let aside = SqliteLedger::set_aside(&path, 11).unwrap();
    assert!(aside.exists() && !path.exists());
    let mut new = SqliteLedger::open(&path, Millis(0)).unwrap();
    assert_eq!(new.position().unwrap(), Lsn::ZERO);
}

/// Notes ended where the list of lost phones begins, and bills where it begins what was told of them.
#[test]
fn notes_and_bills_of_before_schema_16_are_brought_up_to_date() {
    // What was not kept then: money that left the books otherwise than by a payout, sales in suspense that were charged.
    let is_of_before = |history: &History| {
        let has_outflows = |account: &Account| account.debt.as_ref().is_some_and(|debt| !debt.outflows.is_empty());
        let is_settled = |(_, _, event): &(Lsn, Millis, Event)| matches!(event, Event::SuspenseSettled(_));
        let bills = || history.state.accounts().flat_map(Account::listed_bills);
        let told = bills().filter(|bill| bill.told != Told::default()).count();
        let is_plain = bills().all(|bill| bill.adjustments.is_none());
        told > 5 && is_plain && !history.state.accounts().any(has_outflows) && !history.events.iter().any(is_settled)
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let mut ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
    let mut history = (107..).map(|seed| History::new(seed, 300)).find(is_of_before).unwrap();
    let frozen: Vec<(CustomerIx, OfficeId)> = (0..)
        .map(CustomerIx)
        .zip(history.state.accounts())
        .flat_map(|(ix, account)| {
            account.notes().into_iter().flat_map(move |notes| notes.freezes.iter().map(move |id| (ix, *id)))
        })
        .collect();
    for (customer, id) in frozen {
        let staff = Staff { by: "u".into(), key: "k".into(), reason: "r".into() };
        history.record(Event::Noted { customer, note: Note::Unfrozen { id, staff: Box::new(staff) } });
    }
    ledger.post(&postings(&history)).unwrap();
    let before = "DELETE FROM schema_migrations WHERE version = 16;
        DROP INDEX suspense_open;
        DROP VIEW entries;
        ALTER TABLE suspense DROP COLUMN cleared_kind;
        ALTER TABLE suspense DROP COLUMN cleared_counter;
        ALTER TABLE decision DROP COLUMN charged;
        CREATE VIEW entries AS SELECT 1;
        UPDATE dossier SET body = substr(body, 1, length(body) - 4);
        UPDATE story SET body = substr(body, 1, length(body) - 3);";
    ledger.connection().execute_batch(before).unwrap();
    drop(ledger);
    let ledger = SqliteLedger::open(&path, Millis(0)).unwrap();
    let mut expected = history.state.clone();
    let told = |bill: &Arc<Bill>| bill.told != Told::default();
    let mut were_told = 0;
    for ix in (0..expected.next_customer().0).map(CustomerIx) {
        let bills = expected.account_mut(ix).debt.iter_mut().flat_map(|debt| &mut debt.bills);
        for bill in bills.filter(|bill| told(bill)) {
            Arc::make_mut(bill).told = Told::default();
            were_told += 1;
        }
    }
    assert!(were_told > 5, "{were_told} bills were told of");
    assert_alike(&loaded(&ledger), &expected, history.now(), "brought up to date");
}

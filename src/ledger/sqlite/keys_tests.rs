//! Looking an order up by its key among very many records: what it costs, and that it finds what the index finds.

use std::cell::Cell;

use rusqlite::Connection;
use tempfile::TempDir;

use super::keys::{OF_BLOCK, OF_RUN, SLICES, past_order_by_key};
use super::{SqliteLedger, open_reader};
use crate::domain::commands::history::History;
use crate::domain::model::ids::{MerchantId, OrderId};
use crate::domain::model::order::Order;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::Millis;
use crate::ledger::Checkpoint;
use crate::ledger::contract_tests::postings;
use crate::ledger::order_rows::key_hash;

thread_local! {
    pub(crate) static PROBES: Cell<u64> = const { Cell::new(0) };
}

/// Records of a run.
const RUN: i64 = 1 << 22;
const RUN_BLOCKS: u64 = 64;

fn open(dir: &TempDir) -> SqliteLedger {
    SqliteLedger::open(&dir.path().join("ledger.db"), Millis(0)).unwrap()
}

fn key(order_id: &str) -> OrderKey {
    OrderKey { merchant: MerchantId::new("M").unwrap(), order_id: OrderId::new(order_id).unwrap() }
}

/// Rows of decisions, one in every `step` records from 0 on, `N-0`, `N-1` …: what stands in a ledger of `rows * step` records
/// as far as look-ups see it. Copies of a decision that the code posted.
fn fill(ledger: &SqliteLedger, rows: i64, step: i64) {
    let db = ledger.connection();
    let mut columns = db.prepare("SELECT name FROM pragma_table_info('decision')").unwrap();
    let names: Vec<String> = columns.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let values = names.iter().map(|name| match name.as_str() {
        "lsn" => format!("i * {step}"),
        "merchant_id" => "'M'".to_owned(),
        "order_id" => "'N-' || i".to_owned(),
        // Spread as a hash is, and no key's own.
        "key_hash" => "i * 2654435761 & 4294967295".to_owned(),
        other => format!("one.{other}"),
    });
    let values = values.collect::<Vec<_>>().join(", ");
    db.execute_batch(&format!(
        "CREATE TEMP TABLE one AS SELECT * FROM decision WHERE state = 4 AND refunded = 0 LIMIT 1;
        DELETE FROM decision;
        INSERT INTO decision WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows})
            SELECT {values} FROM n, one;
        DROP TABLE one;
        UPDATE posted SET lsn = {}",
        rows * step - 1
    ))
    .unwrap();
}

/// Gives a row the hash that its key has.
fn make_real(db: &Connection, order_id: &str) {
    let changed =
        db.execute("UPDATE decision SET key_hash = ?1 WHERE order_id = ?2", (key_hash(&key(order_id)), order_id));
    assert_eq!(changed.unwrap(), 1);
}

fn filled(rows: i64, step: i64) -> (SqliteLedger, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(&dir);
    let history = History::new(5, 600);
    ledger.post(&postings(&history)).unwrap();
    fill(&ledger, rows, step);
    (ledger, dir)
}

/// How many probes a look-up takes, and whether it finds.
fn look(db: &Connection, id: &str) -> (u64, bool) {
    PROBES.with(Cell::take);
    let found = past_order_by_key(db, &key(id)).unwrap();
    assert!(found.as_ref().is_none_or(|order| order.key == key(id)));
    (PROBES.with(Cell::take), found.is_some())
}

fn build_all(ledger: &mut SqliteLedger) -> i64 {
    let mut steps = 0;
    while ledger.maintain().unwrap() {
        steps += 1;
    }
    steps
}

/// A million rows stand for 64 million records: 976 blocks, of which 15 runs are whole.
#[test]
fn an_unseen_key_costs_a_probe_a_run_and_those_of_the_last_blocks() {
    const STEP: i64 = 64;
    let rows = 1_000_000;
    let (mut ledger, dir) = filled(rows, STEP);
    let whole = rows * STEP / RUN;
    let known = ["N-3", "N-70000", "N-500000", "N-999999"];
    known.iter().for_each(|id| make_real(ledger.connection(), id));
    assert!(known.iter().all(|id| look(ledger.connection(), id).1));
    let (before, _) = look(ledger.connection(), "UNSEEN");
    assert_eq!(before, (rows * STEP).unsigned_abs().div_ceil(65_536), "every block");

    assert_eq!(build_all(&mut ledger), whole * SLICES);
    let most = whole.unsigned_abs() + RUN_BLOCKS;
    let reader = open_reader(&dir.path().join("ledger.db")).unwrap();
    let (after, found) = look(&reader, "UNSEEN");
    assert!(!found && after <= most, "{after} probes");
    for id in known {
        let (probes, found) = look(&reader, id);
        assert!(found && probes <= most, "{id}: {found}, {probes} probes");
    }
}

#[test]
fn runs_are_made_by_small_steps_that_go_on_after_a_restart_and_the_newest_order_is_found() {
    // Two whole runs and the begin of a third.
    const STEP: i64 = 1_024;
    let rows = 2 * RUN / STEP + 100;
    let (mut ledger, dir) = filled(rows, STEP);
    // One key in both runs and behind them, one that was only cancelled before it came.
    let ids = ["N-5", "N-4100", "N-8200", "N-77"];
    let db = ledger.connection();
    for id in &ids[..3] {
        let hash = key_hash(&key("TWICE"));
        db.execute("UPDATE decision SET order_id = 'TWICE', key_hash = ?1 WHERE order_id = ?2", (hash, id)).unwrap();
    }
    make_real(db, ids[3]);
    db.execute("UPDATE decision SET state = 1 WHERE order_id = ?1", [ids[3]]).unwrap();
    let lsn = |order: Option<Order>| order.map(|order| order.touched.0.cast_signed());
    let newest = past_order_by_key(ledger.connection(), &key("TWICE")).unwrap();
    let count =
        |db: &Connection| -> i64 { db.query_row("SELECT count(*) FROM key_run", [], |row| row.get(0)).unwrap() };
    let mut largest = 0;
    for steps in 0.. {
        let before = count(ledger.connection());
        if !ledger.maintain().unwrap() {
            assert_eq!(steps, 2 * SLICES);
            break;
        }
        largest = largest.max(count(ledger.connection()) - before);
        if steps % 500 == 7 {
            drop(ledger);
            ledger = open(&dir);
        }
        if steps % 100 == 0 {
            assert_eq!(lsn(past_order_by_key(ledger.connection(), &key("TWICE")).unwrap()), lsn(newest.clone()));
            assert!(past_order_by_key(ledger.connection(), &key(ids[3])).unwrap().is_none());
        }
    }
    assert!((1..100).contains(&largest), "{largest} rows in one step");
    let db = ledger.connection();
    assert_eq!(count(db), 2 * RUN / STEP, "each decision of the two runs once");
    // Without the newest ones the older ones are found, each in its run.
    for id in [8_200, 4_100, 5] {
        let found = past_order_by_key(ledger.connection(), &key("TWICE")).unwrap();
        assert!(found.is_some(), "the one at {}", id * STEP);
        ledger.connection().execute("DELETE FROM decision WHERE lsn = ?1", [id * STEP]).unwrap();
    }
    assert!(past_order_by_key(ledger.connection(), &key("TWICE")).unwrap().is_none());
    // One record short of a run nothing is begun.
    ledger.connection().execute("UPDATE posted SET lsn = ?1", [3 * RUN - 2]).unwrap();
    assert!(!ledger.maintain().unwrap());
    ledger.connection().execute("UPDATE posted SET lsn = ?1", [3 * RUN - 1]).unwrap();
    assert!(ledger.maintain().unwrap());
}

#[test]
fn runs_are_made_and_asked_through_their_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(&dir);
    let plan = |sql: &str| -> String {
        let mut query = ledger.connection().prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = query.raw_query().mapped(|row| row.get::<_, String>(3)).map(Result::unwrap).collect::<Vec<_>>();
        steps.join("; ")
    };
    let (of_block, of_run) = (plan(OF_BLOCK), plan(OF_RUN));
    assert!(of_block.contains("SEARCH decision USING COVERING INDEX decision_key"), "{of_block}");
    assert!(of_run.contains("SEARCH key_run USING PRIMARY KEY (run=? AND key_hash=?)"), "{of_run}");
    assert!(!of_run.contains("TEMP B-TREE"), "{of_run}");
}

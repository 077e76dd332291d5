//! The contract suite on SQLite, and what is SQLite's own: schema, views, crashes, readers.

use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::parallel;
use super::schema::KNOWN;
use super::{SqliteBooks, SqliteLedger};
use crate::domain::commands::history::{History, assert_alike, replay};
use crate::domain::model::ids::Lsn;
use crate::domain::model::order::OrderState;
use crate::domain::model::settings::Settings;
use crate::domain::model::time::{DAY, Millis};
use crate::domain::state::State;
use crate::domain::state::event::{Event, Outcome};
use crate::ledger::contract_tests::{Made, contract, loaded, postings};
use crate::ledger::{Books, Checkpoint, LedgerError, Snapshot};

/// A ledger with the directory that goes with it.
pub(super) struct Temporary {
    pub(super) ledger: SqliteLedger,
    pub(super) dir: TempDir,
}

pub(super) fn temporary() -> Temporary {
    let dir = tempfile::tempdir().unwrap();
    Temporary { ledger: open(dir.path()).unwrap(), dir }
}

fn open(dir: &Path) -> Result<SqliteLedger, LedgerError> {
    SqliteLedger::open(&dir.join("ledger.db"), Millis(0))
}

/// For the contract: the same by its traits.
fn made() -> Made {
    let Temporary { ledger, dir } = temporary();
    let books = Box::new(SqliteBooks::new(&dir.path().join("ledger.db")));
    Made { checkpoint: Box::new(ledger), books, _place: Box::new(dir) }
}

contract!(made: the_ledger_is_the_checkpoint);
contract!(made, every 1);

#[test]
fn the_views_have_the_columns_of_the_contract() {
    let Temporary { ledger, dir: _dir } = temporary();
    let columns = |view: &str| {
        let query = ledger.connection().prepare(&format!("SELECT * FROM {view}")).unwrap();
        query.column_names().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        columns("decisions"),
        "authorization_id order_id merchant_id store_id terminal_id customer_id channel amount decision reason \
         decided_at statement_month lsn stream"
    );
    assert_eq!(
        columns("entries"),
        "lsn customer_id kind account amount statement_month authorization_id recorded_at repayment_id refund_id channel \
         value_at counter_account bill cause cause_id money_day merchant_id stream"
    );
    assert_eq!(
        columns("postings"),
        "lsn customer_id kind account counter_account unit amount change statement_month bill channel authorization_id \
         repayment_id refund_id cause cause_id merchant_id recorded_at value_at money_day stream"
    );
    assert_eq!(columns("ledger_position"), "lsn stream");
    assert!(columns("statements").starts_with("customer_id month "));
    assert!(columns("customers").starts_with("customer_id "));
}

pub(super) fn text(db: &Connection, sql: &str) -> Vec<String> {
    let mut query = db.prepare(sql).unwrap();
    let rows = query.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
    rows.map(|cell| cell.unwrap().unwrap_or_default()).collect()
}

pub(super) fn number(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Rows of the views against the history, in the words that callers see.
#[test]
fn the_views_say_what_was_decided() {
    let mut history = History::new(5, 1_500);
    history.expire_holds();
    let Temporary { mut ledger, dir: _dir } = temporary();
    ledger.post(&postings(&history)).unwrap();
    let db = ledger.connection();
    let mut wanted = Vec::new();
    for (lsn, time, event) in &history.events {
        let decided = match event {
            Event::Decided(decided) => decided,
            Event::Advised(advised) => &advised.decided,
            _ => continue,
        };
        let order = &history.orders[lsn];
        let customer = decided.customer.and_then(|ix| history.state.account(ix)).map(|account| account.id);
        let (decision, reason) = match &decided.outcome {
            Outcome::Approved(_) => ("approved", ""),
            Outcome::Denied { reason, .. } => ("denied", reason.row().name),
        };
        let captured = matches!(order.state, OrderState::Captured { .. });
        let month =
            if captured && decided.customer.is_some() { order.terms().month.to_string() } else { String::new() };
        let customer = customer.map(|id| id.to_string()).unwrap_or_default();
        let channel = order.channel.name();
        wanted.push(format!(
            "{} {} {customer} {channel} {} {decision} {reason} {time} {month} {lsn}",
            order.id, order.key.order_id, order.amount
        ));
    }
    let sql = "SELECT concat_ws(' ', authorization_id, order_id, ifnull(customer_id, ''), channel, amount, decision,
        ifnull(reason, ''), decided_at, CASE status WHEN 'captured' THEN ifnull(statement_month, '') ELSE '' END, lsn)
        FROM (SELECT v.*, CASE d.state WHEN 4 THEN 'captured' END AS status
        FROM decisions v JOIN decision d USING (lsn)) ORDER BY lsn";
    assert_eq!(text(db, sql), wanted);
    assert_eq!(number(db, "SELECT lsn FROM ledger_position"), i64::try_from(history.events.len()).unwrap());
    assert_eq!(number(db, "SELECT count(*) FROM decisions WHERE channel IS NULL OR decided_at IS NULL"), 0);
    assert_eq!(number(db, "SELECT count(*) FROM entries WHERE kind IS NULL OR account IS NULL"), 0);
    // Suspense is an account of its own, with the customer it names, or without.
    let suspense = "SELECT sum(amount) FROM entries WHERE account = 'suspense'";
    assert_eq!(number(db, suspense), i64::try_from(history.state.suspense.get()).unwrap());
    for named in ["NULL", "NOT NULL"] {
        let rows = format!("SELECT count(*) FROM entries WHERE kind = 'suspense' AND customer_id IS {named}");
        assert!(number(db, &rows) > 0, "{named}");
    }
    let unfiled = "SELECT count(*) FROM entries WHERE account = 'suspense' AND authorization_id IS NULL";
    assert_eq!(number(db, unfiled), 0);
    // The books agree with themselves: exposure by customer in both views, statements with unpaid principal.
    let differing = "SELECT count(*) FROM customers c WHERE exposure <>
        (SELECT ifnull(sum(amount), 0) FROM entries e WHERE e.customer_id = c.customer_id AND account = 'exposure')";
    assert_eq!(number(db, differing), 0);
    assert!(number(db, "SELECT count(*) FROM statements WHERE principal > 0") > 10);
    let strange = "SELECT count(*) FROM statements WHERE unpaid_principal NOT BETWEEN 0 AND principal OR paid < 0";
    assert_eq!(number(db, strange), 0);
    assert!(number(db, "SELECT count(*) FROM statements WHERE paid > 0 AND unpaid_principal < principal") > 10);
    // Each movement has its far side.
    assert_eq!(number(db, "SELECT count(*) FROM entry WHERE account = counter_account OR amount = 0"), 0);
    assert_eq!(
        number(
            db,
            "SELECT count(*) FROM entry WHERE account BETWEEN 7 AND 13 OR account = 23
            OR counter_account NOT BETWEEN 7 AND 13 AND counter_account <> 23"
        ),
        0
    );
}

#[test]
fn large_indexes_are_used_by_block() {
    let Temporary { ledger, dir: _dir } = temporary();
    let by_key = plan(ledger.connection(), "SELECT 1 FROM decision d WHERE d.lsn >> 16 = 1 AND d.key_hash = 2");
    assert!(by_key[0].contains("decision_key"), "{by_key:?}");
    let of = "SELECT e.amount, d.authorization_id FROM entry e LEFT JOIN decision d ON d.lsn = e.order_lsn
        WHERE e.block = 1 AND e.customer = 2 AND e.recorded_at >= 3 AND e.recorded_at < 9 ORDER BY e.lsn, e.kind";
    let of = plan(ledger.connection(), of);
    let uses = |index: &str| of.iter().filter(|step| step.contains(index)).count();
    assert_eq!((uses("decision_customer"), uses("movement_customer"), uses("SCAN decision")), (2, 1, 0), "{of:?}");
    let touched = plan(ledger.connection(), "SELECT lsn FROM decision WHERE touched_at > 5");
    assert!(touched[0].contains("decision_touched"), "{touched:?}");
}

fn plan(db: &Connection, sql: &str) -> Vec<String> {
    let mut query = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let rows = query.query_map([], |row| row.get::<_, String>(3)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_schema_that_is_not_ours_is_refused() {
    let Temporary { ledger, dir } = temporary();
    drop(ledger);
    let path = dir.path().join("ledger.db");
    let alter = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    assert!(open(dir.path()).is_ok(), "opening again changes nothing");

    alter("INSERT INTO schema_migrations VALUES (99, 'from the future', 'x', 0)");
    assert!(matches!(open(dir.path()), Err(LedgerError::NewerSchema { found: 99, known: KNOWN })));
    assert!(matches!(SqliteBooks::new(&path).as_of(), Err(LedgerError::NewerSchema { .. })));
    alter("DELETE FROM schema_migrations WHERE version = 99");

    alter("UPDATE schema_migrations SET sha256 = 'drifted'");
    assert!(matches!(open(dir.path()), Err(LedgerError::Schema(_))));
    alter("DELETE FROM schema_migrations");
    assert!(matches!(open(dir.path()), Err(LedgerError::Schema(_))), "tables without their migration");

    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("ledger.db"), "this is no database, but long enough to be read as one").unwrap();
    assert!(matches!(open(other.path()), Err(LedgerError::Corrupt(_))));
    assert!(matches!(SqliteBooks::new(&other.path().join("none.db")).as_of(), Err(LedgerError::Io(_))));
}

/// A full disk stops a chunk anywhere in its middle; then all of it is posted later, or nothing.
#[test]
fn a_chunk_that_fails_half_way_leaves_no_trace() {
    let history = History::new(3, 1_200);
    let postings = postings(&history);
    let Temporary { mut ledger, dir: _dir } = temporary();
    let (mut at, mut failures) = (0, 0);
    let mut pages = number(ledger.connection(), "PRAGMA page_count");
    while at < postings.len() {
        let end = (at + 150).min(postings.len());
        ledger.connection().pragma_update(None, "max_page_count", pages).unwrap();
        match ledger.post(&postings[at..end]) {
            Ok(()) => at = end,
            Err(error) => {
                assert!(matches!(error, LedgerError::Full(_)) && error.is_retriable(), "{error}");
                failures += 1;
                pages += 1;
                let position = ledger.position().unwrap();
                assert_eq!(position, Lsn(at as u64));
                let time = if at == 0 { Millis(0) } else { postings[at - 1].time };
                assert_alike(&loaded(&ledger), &replay(&history.events, position), time, "after a failure");
            }
        }
    }
    assert!(failures > 20, "{failures} failures only");
    assert_alike(&loaded(&ledger), &history.state, history.now(), "in the end");
}

/// A power cut may take the end of the write-ahead log: the ledger is then at an earlier chunk, whole, and the
/// journal is posted from there.
#[test]
fn a_power_cut_takes_back_whole_chunks() {
    let history = History::new(4, 1_200);
    let postings = postings(&history);
    let Temporary { mut ledger, dir } = temporary();
    // A power cut takes unsynced pages only, and a checkpoint syncs the log before it copies it home. So that the
    // log may be cut anywhere, none of it is copied home here.
    ledger.connection().pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    for chunk in postings.chunks(40) {
        ledger.post(chunk).unwrap();
    }
    let mut positions = std::collections::BTreeSet::new();
    for eighth in 0..=8 {
        let cut = tempfile::tempdir().unwrap();
        std::fs::copy(dir.path().join("ledger.db"), cut.path().join("ledger.db")).unwrap();
        let log = std::fs::read(dir.path().join("ledger.db-wal")).unwrap();
        std::fs::write(cut.path().join("ledger.db-wal"), &log[..(log.len() / 8 * eighth + eighth).min(log.len())])
            .unwrap();
        let mut survivor = open(cut.path()).unwrap();
        let position = survivor.position().unwrap();
        assert!(position.0.is_multiple_of(40) || position == history.state.lsn, "not a whole chunk: {position}");
        positions.insert(position);
        let time = position.0.checked_sub(1).map_or(Millis(0), |at| postings[usize::try_from(at).unwrap()].time);
        assert_alike(&loaded(&survivor), &replay(&history.events, position), time, "after the cut");
        survivor.post(&postings).unwrap();
        assert_alike(&loaded(&survivor), &history.state, history.now(), "posted again");
    }
    assert!(positions.len() > 4, "{positions:?}");
}

/// The position of a ledger whose WAL a power cut took whole: nothing of it had been synced.
fn without_the_log(dir: &Path) -> Lsn {
    let cut = tempfile::tempdir().unwrap();
    std::fs::copy(dir.join("ledger.db"), cut.path().join("ledger.db")).unwrap();
    open(cut.path()).unwrap().position().unwrap()
}

#[test]
fn what_is_secured_no_power_cut_takes_back_and_a_reader_in_the_way_is_told() {
    let history = History::new(4, 60);
    let postings = postings(&history);
    let (first, rest) = postings.split_at(30);
    let Temporary { mut ledger, dir } = temporary();
    ledger.connection().pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    ledger.post(first).unwrap();
    assert_eq!(without_the_log(dir.path()), Lsn(0), "a commit alone is not durable");
    assert_eq!(ledger.secure().unwrap(), Some(Lsn(30)));
    assert_eq!(without_the_log(dir.path()), Lsn(30));
    // One who reads the books as they were keeps the pages behind them from being copied home.
    let reader = Connection::open(dir.path().join("ledger.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT lsn FROM posted;").unwrap();
    ledger.post(rest).unwrap();
    assert_eq!(ledger.secure().unwrap(), None, "not all of it");
    assert_eq!(without_the_log(dir.path()), Lsn(30));
    drop(reader);
    assert_eq!(ledger.secure().unwrap(), Some(history.state.lsn));
    assert_eq!(without_the_log(dir.path()), history.state.lsn);
}

#[test]
fn a_fact_that_does_not_fit_the_books_stops_the_posting() {
    let history = History::new(9, 900);
    let mut postings = postings(&history);
    let at = postings.iter().position(|posting| matches!(posting.event, Event::Refunded(_))).unwrap();
    if let Event::Refunded(refund) = &mut postings[at].event {
        refund.amount = crate::domain::model::money::Yen::new(9_000_000);
    }
    let Temporary { mut ledger, dir: _dir } = temporary();
    let error = ledger.post(&postings).unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt(_)) && !error.is_retriable(), "{error}");
    assert_eq!(ledger.position().unwrap(), Lsn::ZERO);
}

#[test]
fn readers_and_the_writer_do_not_wait_for_each_other() {
    let history = History::new(11, 1_500);
    let postings = postings(&history);
    let Temporary { mut ledger, dir } = temporary();
    ledger.post(&postings[..500]).unwrap();
    let reader = SqliteBooks::new(&dir.path().join("ledger.db"));
    let ids: Vec<_> = history.orders.values().map(|order| order.id).collect();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut found = 0;
            while reader.as_of().unwrap() < history.state.lsn {
                for id in &ids {
                    found += usize::from(reader.past_order(*id).unwrap().is_some());
                }
            }
            found
        });
        for chunk in postings[500..].chunks(10) {
            ledger.post(chunk).unwrap();
        }
        assert!(reading.join().unwrap() > 0);
    });
    let mut state = State::new(Settings::default());
    reader.load(&mut state).unwrap();
    assert_alike(&state, &history.state, history.now(), "read by a reader");
}

#[test]
fn a_state_loaded_beside_the_writer_is_of_one_position() {
    let history = History::new(13, 1_500);
    let postings = postings(&history);
    let Temporary { mut ledger, dir } = temporary();
    ledger.post(&postings[..500]).unwrap();
    let reader = SqliteBooks::new(&dir.path().join("ledger.db"));
    let begun = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = Lsn::ZERO;
            begun.wait();
            while at < history.state.lsn {
                let mut state = State::new(Settings::default());
                reader.load(&mut state).unwrap();
                assert_alike(&state, &replay(&history.events, state.lsn), state.time, "loaded beside the writer");
                assert!(at <= state.lsn);
                at = state.lsn;
            }
        });
        begun.wait();
        for chunk in postings[500..].chunks(5) {
            ledger.post(chunk).unwrap();
        }
    });
}

#[test]
fn blocks_come_in_order_and_the_first_error_ends_them() {
    let Temporary { ledger: _ledger, dir } = temporary();
    let mut readers = parallel::open(&dir.path().join("ledger.db")).unwrap();
    let mut taken = Vec::new();
    readers
        .in_blocks(3..100, 7, |_, from, to| Ok((from..to).collect::<Vec<_>>()), |block| taken.extend(block))
        .unwrap();
    assert_eq!(taken, (3..100).collect::<Vec<i64>>());

    let mut count = 0;
    let read = |_: &mut Connection, from, to| match from {
        35.. => Err(LedgerError::Corrupt(format!("block {from}"))),
        _ => Ok(to - from),
    };
    let error = readers.in_blocks(0..1_000, 7, read, |numbers| count += numbers).unwrap_err();
    assert!(matches!(&error, LedgerError::Corrupt(what) if what == "block 35"), "{error}");
    assert_eq!(count, 35);
}

#[test]
fn a_missing_customer_stops_the_load() {
    let history = History::new(3, 300);
    for gone in ["customer = 1", "customer = (SELECT max(customer) - 1 FROM account)"] {
        let Temporary { mut ledger, dir: _dir } = temporary();
        ledger.post(&postings(&history)).unwrap();
        ledger.connection().execute(&format!("DELETE FROM account WHERE {gone}"), []).unwrap();
        let error = ledger.load(&mut State::new(Settings::default())).unwrap_err();
        assert!(matches!(&error, LedgerError::Corrupt(what) if what == "customers are missing"), "{error}");
    }
}

#[test]
fn codes_past_their_time_do_not_pile_up() {
    let history = History::new(12, 3_000);
    let Temporary { mut ledger, dir: _dir } = temporary();
    let mut most = 0;
    for chunk in postings(&history).chunks(50) {
        ledger.post(chunk).unwrap();
        let rows = number(ledger.connection(), "SELECT count(*) FROM code");
        let time = chunk.last().unwrap().time.0;
        let past =
            number(ledger.connection(), &format!("SELECT count(*) FROM code WHERE expires_at + 172800000 <= {time}"));
        assert!(past <= rows / 2 + 100, "{past} of {rows} are past their time");
        most = most.max(rows);
    }
    let issued = history.kinds["CodeIssued"] + history.kinds["Tok19Issued"];
    assert!(most < i64::from(issued), "{most} rows of {issued} codes");
    assert!(history.now().0 > history.events[0].1.0 + 10 * DAY);
}

//! Lists over many blocks of records, and what a ledger of before them comes to have.

use rusqlite::Connection;

use super::SqliteBooks;
use super::tests::{Temporary, temporary};
use crate::domain::commands::history::History;
use crate::domain::model::ids::{Lsn, MerchantId};
use crate::domain::model::time::Millis;
use crate::ledger::contract_tests::postings;
use crate::ledger::lists::{List, PageOf, Whose};
use crate::ledger::{Books, Checkpoint};

fn posted(seed: u64, facts: usize) -> (Temporary, SqliteBooks) {
    let mut made = temporary();
    made.ledger.post(&postings(&History::new(seed, facts))).unwrap();
    let books = SqliteBooks::new(&made.dir.path().join("ledger.db"));
    (made, books)
}

/// All of `order_step`, as text.
fn steps(db: &Connection) -> Vec<String> {
    let sql = "SELECT lsn || ' ' || kind || ' ' || order_lsn || ' ' || ifnull(merchant_id, '-') || ' ' ||
        ifnull(customer, '-') || ' ' || ifnull(refund_id, '-') || ' ' || amount || ' ' || recorded_at
        FROM order_step ORDER BY lsn";
    db.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// What the file that adds the lists makes of the rows of before is what is posted since.
#[test]
fn an_older_ledger_has_its_captures_and_refunds_in_the_lists() {
    for seed in [330, 331] {
        let (made, _) = posted(seed, 4_000);
        let db = made.ledger.connection();
        let posted = steps(db);
        assert!(posted.len() > 30, "{}", posted.len());
        db.execute("DELETE FROM order_step", []).unwrap();
        let file = include_str!("schema/0021_lists.sql");
        let inserts = file.split(';').filter(|part| part.trim_start().starts_with("INSERT"));
        assert_eq!(inserts.clone().count(), 2);
        inserts.for_each(|insert| db.execute(insert, []).map(drop).unwrap());
        assert_eq!(steps(db), posted, "seed {seed}");
    }
}

/// Copies of the decisions, far apart as those of other years are: the pages find each, and stop now and then on the way.
#[test]
fn a_list_goes_through_the_blocks() {
    let (made, books) = posted(332, 300);
    let db = made.ledger.connection();
    let shop: String =
        db.query_row("SELECT merchant_id FROM decision WHERE state <> 1 LIMIT 1", [], |row| row.get(0)).unwrap();
    let columns: Vec<String> =
        db.prepare("SELECT * FROM decision").unwrap().column_names().map(str::to_owned).collect();
    let (key, rest) = columns.split_first().unwrap();
    assert_eq!(key, "lsn");
    // Of blocks 0, 1, 300, 301 and 9,000: the page looks at 256 at once, and at 4,096 in all.
    let rest = rest.join(", ");
    let last = 9_000_i64 << 16;
    for block in [1_i64, 300, 301, 9_000] {
        let copy = format!("INSERT INTO decision SELECT lsn + {}, {rest} FROM decision WHERE lsn < 65536", block << 16);
        db.execute(&copy, []).unwrap();
    }
    db.execute("UPDATE posted SET lsn = ?1", [last + 60_000]).unwrap();
    let sql = "SELECT lsn FROM decision WHERE merchant_id = ?1 AND state <> 1 ORDER BY lsn DESC";
    let wanted: Vec<i64> =
        db.prepare(sql).unwrap().query_map([&shop], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let list = List::Decisions(Whose::Merchant(MerchantId::new(&shop).unwrap()));
    let (mut found, mut before, mut empty): (Vec<i64>, Option<Lsn>, usize) = (Vec::new(), None, 0);
    loop {
        let of = PageOf { list, from: Millis(0), to: Millis(i64::MAX), before, limit: 7 };
        let page = books.list(&of, &|_| true).unwrap();
        assert!(page.rows.len() <= 7);
        empty += usize::from(page.rows.is_empty());
        found.extend(page.rows.iter().map(|row| row.lsn.0.cast_signed()));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, wanted);
    assert_eq!(wanted.len() % 5, 0);
    assert!(empty >= 1, "between block 301 and 9,000 a page ends with nothing");
}

/// Each list is found by an index, not by reading all there is.
#[test]
fn no_list_reads_a_whole_table() {
    let (made, _) = posted(333, 300);
    let db = made.ledger.connection();
    for (question, index) in [
        (
            "SELECT 1 FROM decision d WHERE d.lsn >> 16 = 1 AND d.merchant_id = 'm' AND d.lsn < 9 ORDER BY d.lsn DESC",
            "decision_merchant",
        ),
        (
            "SELECT 1 FROM decision d WHERE d.lsn >> 16 = 1 AND d.customer = 1 AND d.lsn < 9 ORDER BY d.lsn DESC",
            "decision_customer",
        ),
        ("SELECT 1 FROM decision d WHERE d.charged = 1 AND d.lsn < 9 ORDER BY d.lsn DESC", "decision_charged"),
        (
            "SELECT 1 FROM decision d WHERE d.lsn >> 16 = 1 AND substr(d.authorization_id, -6) = 'x' AND d.reason IS NULL AND d.lsn < 9 ORDER BY d.lsn DESC",
            "decision_approval",
        ),
        (
            "SELECT 1 FROM order_step s WHERE s.merchant_id = 'm' AND s.kind = 1 AND s.lsn < 9 ORDER BY s.lsn DESC",
            "order_step_merchant",
        ),
        (
            "SELECT 1 FROM order_step s WHERE s.customer = 1 AND s.kind = 2 AND s.lsn < 9 ORDER BY s.lsn DESC",
            "order_step_customer",
        ),
        (
            "SELECT 1 FROM order_step s WHERE s.merchant_id = 'm' AND s.refund_id = 'r' AND s.lsn < 9 ORDER BY s.lsn DESC",
            "order_step_refund",
        ),
    ] {
        let plan: Vec<String> = db
            .prepare(&format!("EXPLAIN QUERY PLAN {question}"))
            .unwrap()
            .query_map([], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(plan.len() == 1 && plan[0].contains(index), "{index}: {plan:?}");
    }
}

//! What it costs to look an order up by its key among very many.
//!
//! `cargo bench --bench ledger -- keys [--records-per-key N] KEYS…`, the sizes rising; a key is a decision, and with its
//! code's issue it takes two records unless told otherwise. Rows are written straight into the table in a folder under
//! TMPDIR, which needs some 500 bytes a key and loses them at the end; runs are made by the ledger itself, as in service.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a bench tells what it found")]

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use rustix::fs::{Advice, fadvise, statvfs};

use sokketsu::domain::model::ids::{MerchantId, OrderId};
use sokketsu::domain::model::request::OrderKey;
use sokketsu::domain::model::time::Millis;
use sokketsu::ledger::sqlite::{SqliteBooks, SqliteLedger};
use sokketsu::ledger::{Books, Checkpoint};

use super::sales::Sales;

const MERCHANT: &str = "mrc_konbini";
/// Of the table with its indexes, rounded up.
const BYTES_PER_KEY: u64 = 500;
/// As in `ledger/sqlite/keys.rs`.
const BLOCK_BITS: u32 = 16;
const RUN_BITS: u32 = 22;
/// Look-ups of each kind; each of another key.
const LOOKS: u64 = 1_000;
/// Look-ups of each kind with nothing of the ledger in the system's cache.
const COLD_LOOKS: u64 = 20;

pub fn run(args: &[String]) {
    let (records_per_key, sizes) = match args {
        [flag, number, sizes @ ..] if flag == "--records-per-key" => (number.parse().expect("a number"), sizes),
        sizes => (2, sizes),
    };
    let sizes: Vec<u64> = sizes.iter().map(|size| size.parse().expect("a number of keys")).collect();
    let largest = *sizes.last().expect("sizes, rising");
    let dir = tempfile::tempdir().expect("a scratch directory");
    let disk = statvfs(dir.path()).expect("a file system");
    let free = disk.f_bavail * disk.f_frsize;
    assert!(free > largest * BYTES_PER_KEY + (1 << 30), "{free} bytes are free, too few for {largest} keys");
    let file = dir.path().join("ledger.db");
    let mut keys = Keys { file: &file, records_per_key, count: 0 };
    keys.begin();
    let mut before = None;
    for size in sizes {
        keys.grow_to(size);
        let median = keys.report();
        if let Some((smaller, earlier)) = before.replace((size, median)) {
            let doublings = (size as f64 / smaller as f64).log2();
            let by = |now: Duration, then: Duration| (now.as_secs_f64() / then.as_secs_f64()).powf(1.0 / doublings);
            let [unseen, seen] = [0, 1].map(|kind| by(median[kind], earlier[kind]));
            println!("  a doubling from {smaller} keys on: unseen × {unseen:.2}, seen × {seen:.2}");
        }
    }
}

/// The ledger, and how many keys it has.
struct Keys<'a> {
    file: &'a Path,
    records_per_key: u64,
    count: u64,
}

fn order_id(n: u64) -> String {
    format!("R-{n:012}")
}

fn key(order_id: &str) -> OrderKey {
    let merchant = MerchantId::new(MERCHANT).expect("a name");
    OrderKey { merchant, order_id: OrderId::new(order_id).expect("a name") }
}

impl Keys<'_> {
    /// A ledger whose one decision is the pattern for all rows.
    fn begin(&self) {
        let mut ledger = SqliteLedger::open(self.file, Millis(0)).expect("a ledger");
        let mut sales = Sales::new(1);
        let customer: Vec<_> = sales.customers().collect();
        ledger.post(&customer).expect("posted");
        ledger.post(&sales.chunk(1, true)).expect("posted");
        drop(ledger);
        let db = Connection::open(self.file).expect("the ledger");
        db.execute_batch("CREATE TABLE one AS SELECT * FROM decision; DELETE FROM decision").expect("a pattern");
    }

    /// Writes the rows, and has the ledger make its runs of them.
    fn grow_to(&mut self, size: u64) {
        let began = Instant::now();
        let mut db = Connection::open(self.file).expect("the ledger");
        // Nothing here need survive a power cut, and the rows should not be written twice.
        db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144")
            .expect("pragmas");
        let tx = db.transaction().expect("a transaction");
        {
            let mut insert = tx.prepare(&copy_of_one(&tx)).expect("a statement");
            for n in self.count..size {
                let id = order_id(n);
                let hash = crc32c::crc32c_append(crc32c::crc32c(MERCHANT.as_bytes()), id.as_bytes());
                insert.execute(params![(n * self.records_per_key).cast_signed(), id, hash]).expect("a row");
            }
        }
        tx.execute("UPDATE posted SET lsn = ?1", [(size * self.records_per_key - 1).cast_signed()])
            .expect("the position");
        tx.commit().expect("committed");
        drop(db);
        self.count = size;
        let written = began.elapsed();
        let mut ledger = SqliteLedger::open(self.file, Millis(0)).expect("a ledger");
        let (began, mut steps) = (Instant::now(), 0);
        while ledger.maintain().expect("a step") {
            steps += 1;
        }
        println!("{size} keys: rows written in {written:.1?}; {steps} steps of runs in {:.1?}", began.elapsed());
    }

    /// Prints what look-ups cost now; the medians of unseen keys and of seen ones.
    fn report(&self) -> [Duration; 2] {
        let records = self.count * self.records_per_key;
        let runs = records >> RUN_BITS;
        let blocks = ((records - 1) >> BLOCK_BITS) + 1 - (runs << (RUN_BITS - BLOCK_BITS));
        println!("  {records} records: {runs} runs and {blocks} blocks to probe for an unseen key");
        let db = Connection::open(self.file).expect("the ledger");
        for index in ["decision_key", "key_run"] {
            let bytes: i64 = db
                .query_row("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = ?1", [index], |row| row.get(0))
                .expect("sizes of pages");
            println!("  {index}: {:.1} bytes a key", bytes as f64 / self.count as f64);
        }
        drop(db);
        let unseen = self.measure("unseen", false, |n| format!("NEVER-{n}"));
        // Of all ages, in no order.
        let seen = self.measure("seen", true, |n| order_id(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.count));
        [unseen, seen]
    }

    /// Looks keys up, first with nothing in the cache: those leave less in it than the others. The median of the others.
    fn measure(&self, what: &str, is_there: bool, name: impl Fn(u64) -> String) -> Duration {
        let books = SqliteBooks::new(self.file);
        let look = |n| {
            let key = key(&name(n));
            let began = Instant::now();
            let found = books.past_order_by_key(&key).expect("an answer");
            let took = began.elapsed();
            assert_eq!(found.map(|order| order.key), is_there.then_some(key));
            took
        };
        let cold = sorted((0..COLD_LOOKS).map(|n| {
            self.forget_pages();
            look(n)
        }));
        (0..LOOKS).for_each(|n| {
            look(n);
        });
        let warm = sorted((0..LOOKS).map(look));
        println!(
            "  {what:6}: median {:.1?}, p99 {:.1?}; nothing in the cache: median {:.2?}, most {:.2?}",
            at(&warm, 50),
            at(&warm, 99),
            at(&cold, 50),
            at(&cold, 100)
        );
        at(&warm, 50)
    }

    /// Asks the system to drop the ledger's pages from its cache.
    fn forget_pages(&self) {
        let file = File::open(self.file).expect("the ledger");
        file.sync_all().expect("a sync");
        fadvise(&file, 0, None, Advice::DontNeed).expect("advice");
    }
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Inserts a copy of the pattern with a record (1), an order id (2) and the hash of its key (3) of its own.
fn copy_of_one(db: &Connection) -> String {
    let mut columns = db.prepare("SELECT name FROM pragma_table_info('decision')").expect("the columns");
    let names = columns.query_map([], |row| row.get::<_, String>(0)).expect("names");
    let values = names.map(|name| match name.expect("a name").as_str() {
        "lsn" => "?1".to_owned(),
        "order_id" => "?2".to_owned(),
        "key_hash" => "?3".to_owned(),
        other => other.to_owned(),
    });
    format!("INSERT INTO decision SELECT {} FROM one", values.collect::<Vec<_>>().join(", "))
}

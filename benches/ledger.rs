//! Posting rate: chunks of sales with a code, captured at once, into a SQLite ledger on disk.
//!
//! With `LEDGER_BENCH_HISTORY=3000000` it posts that many sales first, to see what a long history costs.
//! `cargo bench --bench ledger -- keys 1000000 10000000` measures look-ups of orders by their keys instead ([`keys`]).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group};

use sokketsu::domain::model::settings::Settings;
use sokketsu::domain::model::time::Millis;
use sokketsu::domain::state::State;
use sokketsu::ledger::sqlite::SqliteLedger;
use sokketsu::ledger::{Checkpoint, Posting, Snapshot};

#[path = "keys/mod.rs"]
mod keys;
#[path = "sales/mod.rs"]
mod sales;

use sales::Sales;

const CUSTOMERS: u32 = 100_000;

fn ledger_of(dir: &tempfile::TempDir, sales: &mut Sales) -> SqliteLedger {
    let mut ledger = SqliteLedger::open(&dir.path().join("ledger.db"), Millis(0)).expect("a ledger");
    let customers: Vec<Posting> = sales.customers().collect();
    ledger.post(&customers).expect("posted");
    ledger
}

/// A chunk is one transaction, its checkpoint included.
fn chunk(c: &mut Criterion) {
    let history = std::env::var_os("LEDGER_BENCH_HISTORY").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(0u64);
    let mut group = c.benchmark_group("ledger chunk");
    for (name, sales_each, codes) in
        [("1,000 decisions", 1_000, false), ("1,000 records", 500, true), ("10,000 records", 5_000, true)]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let mut sales = Sales::new(CUSTOMERS);
        let mut ledger = ledger_of(&dir, &mut sales);
        for _ in 0..history / sales_each {
            ledger.post(&sales.chunk(sales_each, codes)).expect("posted");
        }
        let records = if codes { 2 * sales_each } else { sales_each };
        group.throughput(Throughput::Elements(records)).sample_size(20);
        group.bench_function(name, |b| {
            b.iter_batched(
                || sales.chunk(sales_each, codes),
                |chunk| ledger.post(black_box(&chunk)).expect("posted"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// The start of the service: 100,000 customers and 200,000 sales with their codes, all still remembered.
/// The bench `recovery` does it at any size.
fn load(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut sales = Sales::new(CUSTOMERS);
    let mut ledger = ledger_of(&dir, &mut sales);
    for _ in 0..200 {
        ledger.post(&sales.chunk(1_000, true)).expect("posted");
    }
    let mut group = c.benchmark_group("ledger_load");
    group.throughput(Throughput::Elements(200_000)).sample_size(10);
    group.bench_function("sales", |b| {
        b.iter(|| {
            let mut state = State::new(Settings::default());
            ledger.load(&mut state).expect("loaded");
            state
        });
    });
    group.finish();
}

criterion_group!(benches, chunk, load);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.split_first() {
        Some((first, sizes)) if first == "keys" => keys::run(sizes),
        _ => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}

//! The ledger catching up with a journal, and the two ways back from them: loading the ledger, replaying the journal.
//!
//! `cargo bench --bench recovery -- [CUSTOMERS SALES [DIR]]`; 100,000 customers and 450,000 sales, each with its code
//! (1 million records), in a scratch directory unless told otherwise. A DIR that holds them already is only read.
//! Processor time is that of the whole process: checkpoints are in it, and reading and checking the journal.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]
#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a bench tells what it found")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sokketsu::domain::model::ids::Lsn;
use sokketsu::domain::model::settings::Settings;
use sokketsu::domain::model::time::Millis;
use sokketsu::domain::state::State;
use sokketsu::engine::recovery::replay;
use sokketsu::journal::local::reader::LocalReader;
use sokketsu::journal::local::{LocalJournal, Options};
use sokketsu::journal::{Batch, Journal, JournalReader, Record, codec};
use sokketsu::ledger::sqlite::SqliteLedger;
use sokketsu::ledger::{Checkpoint, Posting, Snapshot};

#[path = "sales/mod.rs"]
mod sales;

use sales::Sales;

/// Records a transaction, as the writer takes them when it is behind.
const CHUNK: usize = 10_000;

fn main() {
    let numbers: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let number = |at: usize, default: u32| numbers.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (customers, count) = (number(0, 100_000), number(1, 450_000));
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dir = numbers.get(2).map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    let (journal, file) = (dir.join("journal"), dir.join("ledger.db"));
    if !journal.exists() {
        std::fs::create_dir_all(&dir).expect("the directory");
        write(&journal, customers, count);
    }
    let mut reader = LocalReader::at_rest(&journal);
    let last = reader.examine(Lsn::ZERO).expect("a whole journal").last;
    let mut ledger = SqliteLedger::open(&file, Millis(0)).expect("a ledger");
    if ledger.position().expect("a position") < last {
        let customers = Lsn(u64::from(customers));
        timed("post customers", customers.0, || post(&mut ledger, &mut reader, customers));
        timed("post codes and sales", last.0 - customers.0, || post(&mut ledger, &mut reader, last));
    }
    let mut loaded = State::new(Settings::default());
    timed("load the ledger", last.0, || ledger.load(&mut loaded).expect("loaded"));
    drop(loaded);
    let mut state = State::new(Settings::default());
    timed("replay the journal", last.0, || {
        replay(&mut state, &mut reader, |state, _, event, now| {
            state.apply(event, now);
        })
        .expect("replayed");
    });
}

fn write(dir: &Path, customers: u32, count: u32) {
    let (mut journal, _) = LocalJournal::open(dir, &Options::default(), 0).expect("a new journal");
    let mut batch = Batch::default();
    let mut commit = |postings: &[Posting]| {
        for part in postings.chunks(250) {
            batch.clear();
            for Posting { time, event, .. } in part {
                batch.offer(time.0, |bytes| codec::encode(event, bytes)).expect("it fits a record");
            }
            journal.write(&batch).expect("a write");
            journal.sync().expect("a sync");
        }
    };
    let mut sales = Sales::new(customers);
    let mut all = sales.customers();
    loop {
        let part: Vec<Posting> = all.by_ref().take(10_000).collect();
        if part.is_empty() {
            break;
        }
        commit(&part);
    }
    drop(all);
    for _ in 0..count / 1_000 {
        commit(&sales.chunk(1_000, true));
    }
}

/// Reads, checks, decodes and posts, as the write-behind worker does.
fn post(ledger: &mut SqliteLedger, journal: &mut dyn JournalReader, until: Lsn) {
    let mut at = ledger.position().expect("a position");
    let (mut record, mut chunk) = (Record::default(), Vec::with_capacity(CHUNK));
    loop {
        chunk.clear();
        while chunk.len() < CHUNK && at < until && journal.next(at, &mut record).expect("a record") {
            at = record.lsn;
            let event = codec::decode(&record.payload).expect("an event");
            chunk.push(Posting { lsn: at, time: Millis(record.time_ms), event });
        }
        if chunk.is_empty() {
            return;
        }
        ledger.post(&chunk).expect("posted");
    }
}

fn timed(what: &str, records: u64, act: impl FnOnce()) {
    let (began, before) = (Instant::now(), processor_time());
    act();
    let (took, used) = (began.elapsed(), processor_time() - before);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / records as f64;
    println!(
        "{what:22} {records:>9} records in {:6.2} s, processor {:6.2} s; a record {:5.2} us, processor {:5.2} us",
        took.as_secs_f64(),
        used.as_secs_f64(),
        each(took),
        each(used)
    );
}

/// User and system time of this process, from the kernel's counters of 1/100 s.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after = stat.rsplit(')').next().expect("fields after the name");
    let ticks = after.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

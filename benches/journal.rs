//! What a durable commit costs beside the bare disk: the same bytes, written and synced by hand to a file of
//! zeros, in the same run. Their quotient is the figure; the absolute times are the disk's.

#![allow(clippy::expect_used, reason = "a benchmark that can't run should stop")]

mod batch;

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sokketsu::domain::model::ids::Lsn;
use sokketsu::domain::model::time::Millis;
use sokketsu::journal::local::{LocalJournal, Options};
use sokketsu::journal::{Journal, Release, record};

use batch::{PAYLOAD, batch_of};

const FILE: usize = 64 << 20;

/// A file of zeros, written and synced.
fn zeroed(path: &Path) -> File {
    let file = File::create(path).expect("a scratch file");
    let piece = vec![0; 1 << 20];
    for at in (0..FILE).step_by(piece.len()) {
        file.write_all_at(&piece, at as u64).expect("zeros");
    }
    file.sync_all().expect("a sync");
    file
}

fn commit(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let (mut journal, _) =
        LocalJournal::open(&dir.path().join("journal"), &Options::default(), 0).expect("a new journal");
    let file = zeroed(&dir.path().join("bare"));
    let mut at = 0;
    let mut group = c.benchmark_group("commit");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3)).sample_size(50);
    for records in [1, 16, 64, 256] {
        let batch = batch_of(records);
        let bytes = vec![7; batch.size()];
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(BenchmarkId::new("journal", records), |b| {
            b.iter_custom(|rounds| {
                let start = Instant::now();
                for _ in 0..rounds {
                    black_box(journal.write(&batch).expect("a write"));
                    journal.sync().expect("a sync");
                }
                let took = start.elapsed();
                let release = journal.release();
                while release.release_oldest(Lsn(u64::MAX >> 1), Millis(i64::MAX)).expect("old segments go").is_some() {
                }
                took
            });
        });
        group.bench_function(BenchmarkId::new("bare write and fdatasync", records), |b| {
            b.iter(|| {
                if at + bytes.len() > FILE {
                    at = 0;
                }
                file.write_all_at(&bytes, at as u64).expect("a write");
                file.sync_data().expect("a sync");
                at += bytes.len();
            });
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    let payload = vec![7; PAYLOAD];
    let meta = record::Meta { lsn: Lsn(2), durable: Lsn(1), time_ms: 1, prev: record::Link([1; 16]) };
    let mut buf = Vec::new();
    group.bench_function("encode", |b| {
        b.iter(|| {
            buf.clear();
            record::encode(&mut buf, black_box(&meta), black_box(&payload)).expect("it is short")
        });
    });
    group.bench_function("parse", |b| b.iter(|| matches!(record::parse(black_box(&buf)), record::Parsed::Good(_))));
    group.finish();
}

criterion_group!(benches, commit, encode);
criterion_main!(benches);

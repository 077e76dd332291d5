//! The edges of one authorization: bytes into the question, the decision into bytes, and the code's pictures.

#![allow(clippy::unwrap_used, reason = "a test or a bench stops at the first surprise")]

mod sample;
mod shop;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use sokketsu::code::{Issuers, Keyring, barcode, qr};
use sokketsu::domain::model::time::Millis;
use sokketsu::http::steps;

use sample::{BODY, HEAD, approval, decided_within, minted, scanned};
use shop::START;

fn json(criterion: &mut Criterion) {
    let (_, told) = approval();
    let now = Millis(START + 1_000);
    let mut group = criterion.benchmark_group("json");
    group.bench_function("in: the body of an authorization", |bencher| {
        bencher.iter(|| steps::read_authorization(black_box(BODY.as_bytes()), scanned).unwrap());
    });
    group.bench_function("out: the body of an approval", |bencher| {
        bencher.iter(|| steps::write_decision(black_box(&told), false, now).unwrap());
    });
    group.finish();
}

fn head(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    group.bench_function("watch a connection of 100 requests", |bencher| {
        let reads = [HEAD.as_bytes(), BODY.as_bytes()].repeat(100);
        bencher.iter(|| assert_eq!(steps::watch(black_box(&reads).iter().copied()), 0));
    });
    group.bench_function("server-timing", |bencher| {
        let times = decided_within(Instant::now(), Duration::from_micros(3), Duration::from_micros(1));
        bencher.iter(|| steps::write_timing(black_box(&times), Instant::now()).unwrap());
    });
    group.finish();
}

fn pictures(criterion: &mut Criterion) {
    let minted = minted(&Keyring::sandbox(), &Issuers::sandbox());
    let mut group = criterion.benchmark_group("pictures");
    group.bench_function("barcode.svg", |bencher| {
        bencher.iter(|| barcode::svg(black_box(&minted.barcode), 561).unwrap());
    });
    group.bench_function("qr.svg", |bencher| bencher.iter(|| qr::svg(black_box(&minted.qr), 360).unwrap()));
    group.finish();
}

criterion_group!(benches, json, head, pictures);
criterion_main!(benches);

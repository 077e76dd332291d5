//! The core's cost of one purchase: `decide` and `apply`, and the check of a scanned code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

mod shop;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sokketsu::code::{Issuers, Keyring, mint, read};
use sokketsu::domain::commands::authorize::{Judgement, Verdict, decide};
use sokketsu::domain::model::ids::Handle;
use sokketsu::domain::model::time::{Millis, Now};
use sokketsu::domain::state::State;
use sokketsu::domain::state::event::{Decided, Event};

use shop::{START, purchase, visit, with_codes};

const CUSTOMERS: u32 = 100_000;
/// Purchases judged and applied in one measured run.
const RUN: u32 = 20_000;

fn core(criterion: &mut Criterion) {
    let fresh = with_codes(CUSTOMERS);
    let events = |state: &State| -> Vec<Event> {
        let now = Now::at(Millis(START + 1_000));
        let policy = state.policy.clone().unwrap();
        (0..RUN)
            .map(|order| {
                let input = purchase(visit(order, CUSTOMERS), order);
                let Verdict::Judged(judged) = decide(state, &input, &now, &policy.policy) else { panic!("known") };
                let Judgement { customer, room, outcome, basis } = judged;
                let (random, input) = (u64::from(order), Arc::new(input));
                Event::Decided(Decided { random, policy: 1, input, customer, room, outcome, basis })
            })
            .collect()
    };
    let events = events(&fresh);
    let mut group = criterion.benchmark_group("core");
    group.throughput(criterion::Throughput::Elements(u64::from(RUN)));
    group.sample_size(20);
    let now = Now::at(Millis(START + 1_000));
    let policy = fresh.policy.clone().unwrap();
    // One element is one purchase: judged against the state as it is, then made true in it.
    group.bench_function("decide and apply, 100,000 customers", |bencher| {
        bencher.iter_batched_ref(
            || fresh.clone(),
            |state| {
                for event in &events {
                    let Event::Decided(decided) = event else { continue };
                    black_box(decide(state, &decided.input, &now, &policy.policy));
                    state.apply(event, &now);
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn codes(criterion: &mut Criterion) {
    let (keys, issuers) = (Keyring::sandbox(), Issuers::sandbox());
    let issuer = issuers.issuer(sokketsu::code::Form::L24).unwrap();
    let handle = Handle::new(314_159_265).unwrap();
    let minted = mint(&keys, keys.active(), &issuer, handle, START, 300, 7, 0xA1B2_C3D4).ok().unwrap();
    let mut group = criterion.benchmark_group("codes");
    group.bench_function("verify a barcode", |bencher| {
        bencher.iter(|| read(black_box(&minted.barcode), &issuers, &keys, START + 5_000));
    });
    group.bench_function("verify a QR", |bencher| {
        bencher.iter(|| read(black_box(&minted.qr), &issuers, &keys, START + 5_000));
    });
    group.bench_function("mint both forms", |bencher| {
        bencher.iter(|| mint(&keys, keys.active(), &issuer, black_box(handle), START, 300, 7, 1));
    });
    group.finish();
}

criterion_group!(benches, core, codes);
criterion_main!(benches);

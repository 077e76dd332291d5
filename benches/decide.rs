//! The core's cost of one purchase: `decide` and `apply`, and the check of a scanned code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sokketsu::code::{Issuers, Keyring, mint, read};
use sokketsu::domain::account::{Channel, Identity, Profile};
use sokketsu::domain::decide::{Verdict, decide};
use sokketsu::domain::event::{CodeIssued, Decided, Event};
use sokketsu::domain::ids::{CustomerId, CustomerIx, Handle, MerchantId, OrderId, Part};
use sokketsu::domain::jst::{Date, Millis, Now};
use sokketsu::domain::merchant::{Merchant, MerchantLimits, MerchantStatus};
use sokketsu::domain::money::Yen;
use sokketsu::domain::request::{Authorize, OrderKey, Payer, Proof, Scanned};
use sokketsu::domain::state::{Settings, State};

const CUSTOMERS: u32 = 100_000;
const START: i64 = 1_795_423_500_000;

/// Purchases judged and applied in one measured run.
const RUN: u32 = 20_000;

fn state() -> State {
    let mut state = State::new(Settings::default());
    let now = Now::at(Millis(START));
    state.apply(&Event::PolicySet { version: 1, text: include_str!("../config/policy.toml").into() }, &now);
    let merchant = Merchant {
        id: MerchantId::new("mrc_konbini").unwrap(),
        name: "konbini".into(),
        mcc: 5_499,
        status: MerchantStatus::Active,
        limits: MerchantLimits::default(),
    };
    state.apply(&Event::MerchantSet(Box::new(merchant)), &now);
    for n in 0..CUSTOMERS {
        let id = CustomerId::new(&format!("{n:08}")).unwrap();
        let profile =
            Profile { identity: Identity::Verified, birth_date: Date::new(1990, 4, 1), rung: 3, ..Profile::newcomer() };
        state.apply(&Event::CustomerSet { ix: CustomerIx(n), id, profile: Box::new(profile) }, &now);
        state.apply(&Event::CodeIssued(issued(n, &id)), &now);
    }
    state
}

fn issued(n: u32, id: &CustomerId) -> CodeIssued {
    let expires_at = Millis(START + 300_000);
    let handle = Handle::draw(Part::of(id), u64::from(n));
    CodeIssued { customer: CustomerIx(n), handle, generation: 1, id_random: 1, counter: 1, random: 2, expires_at }
}

fn purchase(n: u32, order: u32) -> Authorize {
    // A stride prime to the number of customers visits them in an order that caches do not guess.
    let customer = CustomerId::new(&format!("{n:08}")).unwrap();
    let handle = issued(n, &customer).handle;
    let epoch = u64::try_from(START / 1_000).unwrap() / 600;
    Authorize::new(
        OrderKey {
            merchant: MerchantId::new("mrc_konbini").unwrap(),
            order_id: OrderId::new(&format!("R-{order:012}")).unwrap(),
        },
        Payer::Code(Scanned::Sealed { handle, proof: Proof::Barcode { epoch } }),
        Channel::InStore,
        Yen::new(1_980),
    )
}

fn core(criterion: &mut Criterion) {
    let fresh = state();
    let events = |state: &State| -> Vec<Event> {
        let now = Now::at(Millis(START + 1_000));
        let policy = state.policy.clone().unwrap();
        (0..RUN)
            .map(|order| {
                let input = purchase(order.wrapping_mul(7_919) % CUSTOMERS, order);
                let Verdict::Judged(judged) = decide(state, &input, &now, &policy.policy) else { panic!("known") };
                let (customer, room, outcome) = (judged.customer, judged.room, judged.outcome);
                let (random, input) = (u64::from(order), Arc::new(input));
                Event::Decided(Decided { random, policy: 1, input, customer, room, outcome })
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
    let minted = mint(&keys, &issuer, handle, START, 300, 7, 0xA1B2_C3D4).ok().unwrap();
    let mut group = criterion.benchmark_group("codes");
    group.bench_function("verify a barcode", |bencher| {
        bencher.iter(|| read(black_box(&minted.barcode), &issuers, &keys, START + 5_000));
    });
    group.bench_function("verify a QR", |bencher| {
        bencher.iter(|| read(black_box(&minted.qr), &issuers, &keys, START + 5_000));
    });
    group.bench_function("mint both forms", |bencher| {
        bencher.iter(|| mint(&keys, &issuer, black_box(handle), START, 300, 7, 1));
    });
    group.finish();
}

criterion_group!(benches, core, codes);
criterion_main!(benches);

//! Posting rate: chunks of 1,000 sales with a code, captured at once, into a SQLite ledger on disk.
//!
//! With `LEDGER_BENCH_HISTORY=3000000` it posts that many sales first, to see what a long history costs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]
#![expect(clippy::expect_used, reason = "a bench that can't go on stops")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use sokketsu::domain::account::{Channel, Profile};
use sokketsu::domain::event::{Approval, CodeIssued, Decided, Event, Outcome};
use sokketsu::domain::ids::{CustomerId, CustomerIx, Handle, Lsn, MerchantId, OrderId, Part, StoreId, TerminalId};
use sokketsu::domain::jst::{Millis, Now, SECOND};
use sokketsu::domain::money::Yen;
use sokketsu::domain::request::{Authorize, OrderKey, Payer, Proof, Scanned};
use sokketsu::domain::state::{Settings, State};
use sokketsu::ledger::sqlite::SqliteLedger;
use sokketsu::ledger::{Ledger, Posting};

const CUSTOMERS: u32 = 100_000;
const CHUNK: u64 = 1_000;

/// Customers in no order, one sale after the other.
struct Sales {
    lsn: u64,
    sale: u64,
    at: Millis,
}

impl Sales {
    fn posting(&mut self, event: Event) -> Posting {
        self.lsn += 1;
        Posting { lsn: Lsn(self.lsn), time: self.at, event }
    }

    fn customers(&mut self) -> Vec<Posting> {
        let all = 0..CUSTOMERS;
        all.map(|n| {
            let id = CustomerId::new(&format!("c{n}")).expect("a name");
            self.posting(Event::CustomerSet { ix: CustomerIx(n), id, profile: Box::new(Profile::newcomer()) })
        })
        .collect()
    }

    fn next(&mut self) -> (CustomerIx, Handle) {
        self.sale += 1;
        let mixed = self.sale.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        let customer = u32::try_from(mixed % u64::from(CUSTOMERS)).unwrap_or(0);
        (CustomerIx(customer), Handle::draw(Part::from_number(mixed >> 7), mixed >> 3))
    }

    fn issued(&mut self, customer: CustomerIx, handle: Handle) -> Posting {
        let expires_at = self.at.plus(300 * SECOND);
        let issued =
            CodeIssued { customer, handle, generation: 1, id_random: self.sale, counter: 1, random: 2, expires_at };
        self.posting(Event::CodeIssued(issued))
    }

    fn sold(&mut self, customer: CustomerIx, handle: Handle) -> Posting {
        let now = Now::at(self.at);
        let input = Authorize {
            store: StoreId::new("S001").ok(),
            terminal: TerminalId::new("T01").ok(),
            ..Authorize::new(
                OrderKey {
                    merchant: MerchantId::new("mrc_konbini").expect("a name"),
                    order_id: OrderId::new(&format!("R-{:012}", self.sale)).expect("a name"),
                },
                Payer::Code(Scanned::Sealed { handle, proof: Proof::Barcode { epoch: 1 } }),
                Channel::InStore,
                Yen::new(1_980),
            )
        };
        let approval = Approval { month: now.month, due: now.month.next().day(10), points: 9, hold_expires_at: None };
        let outcome = Outcome::Approved(approval);
        let (random, room) = (self.sale, Yen::new(5_000));
        let customer = Some(customer);
        self.posting(Event::Decided(Decided { random, policy: 1, input: Arc::new(input), customer, room, outcome }))
    }

    /// `CHUNK` sales; with `codes`, each after the issue of its code. About 1,000 sales a second pass.
    fn chunk(&mut self, codes: bool) -> Vec<Posting> {
        let mut chunk = Vec::new();
        self.at = self.at.plus(SECOND);
        for _ in 0..CHUNK {
            let (customer, handle) = self.next();
            if codes {
                chunk.push(self.issued(customer, handle));
            }
            chunk.push(self.sold(customer, handle));
        }
        chunk
    }
}

fn post(c: &mut Criterion) {
    let history = std::env::var_os("LEDGER_BENCH_HISTORY").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(0u64);
    let mut group = c.benchmark_group("ledger_post");
    group.throughput(Throughput::Elements(CHUNK)).sample_size(40);
    for (name, codes) in [("decided", false), ("issued_and_decided", true)] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = SqliteLedger::open(&dir.path().join("ledger.db"), Millis(0)).expect("a ledger");
        let at = Millis::parse("2026-11-23T17:00:00+09:00").expect("a time");
        let mut sales = Sales { lsn: 0, sale: 0, at };
        ledger.post(&sales.customers()).expect("posted");
        for _ in 0..history / CHUNK {
            ledger.post(&sales.chunk(codes)).expect("posted");
        }
        group.bench_function(name, |b| {
            b.iter_batched(
                || sales.chunk(codes),
                |chunk| ledger.post(black_box(&chunk)).expect("posted"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// The start of the service: 100,000 customers and 200,000 sales with their codes, all still remembered.
fn load(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = SqliteLedger::open(&dir.path().join("ledger.db"), Millis(0)).expect("a ledger");
    let at = Millis::parse("2026-11-23T17:00:00+09:00").expect("a time");
    let mut sales = Sales { lsn: 0, sale: 0, at };
    ledger.post(&sales.customers()).expect("posted");
    for _ in 0..200 {
        ledger.post(&sales.chunk(true)).expect("posted");
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

criterion_group!(benches, post, load);
criterion_main!(benches);

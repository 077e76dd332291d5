//! What a customer, a code and an order cost in memory, how long the slowest step of growing takes, and how fast
//! decisions are when nothing fits into the caches.
//!
//! `cargo bench --bench footprint -- [CUSTOMERS] [SALES]`, by default a million of each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]
#![allow(clippy::float_arithmetic, clippy::print_stdout, reason = "it prints averages; no money is in them")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use sokketsu::domain::account::{Channel, Identity, Limits, Profile};
use sokketsu::domain::event::{CodeIssued, Event};
use sokketsu::domain::ids::{CustomerId, CustomerIx, Handle, MerchantId, OrderId, Part};
use sokketsu::domain::jst::{Date, Millis, Now};
use sokketsu::domain::merchant::{Merchant, MerchantLimits, MerchantStatus};
use sokketsu::domain::money::Yen;
use sokketsu::domain::request::{Authorize, OrderKey, Payer, Proof, Request, Scanned};
use sokketsu::domain::rule::{Ruling, reply_after, rule};
use sokketsu::domain::state::{Settings, State};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 2026-11-23 in Japan.
const START: i64 = 1_795_423_500_000;
/// Requests between two calls of `make_room`: the engine's batch.
const BATCH: u32 = 256;

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn id(n: u32) -> CustomerId {
    CustomerId::new(&format!("{n:08}")).unwrap()
}

fn issued(n: u32) -> CodeIssued {
    let handle = Handle::draw(Part::of(&id(n)), u64::from(n));
    let expires_at = Millis(START + 300_000);
    CodeIssued { customer: CustomerIx(n), handle, generation: 1, id_random: 1, counter: 1, random: 2, expires_at }
}

fn rules(state: &mut State, now: &Now) {
    state.apply(&Event::PolicySet { version: 1, text: include_str!("../config/policy.toml").into() }, now);
    let merchant = Merchant {
        id: MerchantId::new("mrc_konbini").unwrap(),
        name: "konbini".into(),
        mcc: 5_499,
        status: MerchantStatus::Active,
        limits: MerchantLimits::default(),
    };
    state.apply(&Event::MerchantSet(Box::new(merchant)), now);
}

fn purchase(n: u32, order: u32) -> Request {
    let epoch = u64::try_from(START / 1_000).unwrap() / 600;
    let key = OrderKey {
        merchant: MerchantId::new("mrc_konbini").unwrap(),
        order_id: OrderId::new(&format!("R-{order:012}")).unwrap(),
    };
    let payer = Payer::Code(Scanned::Sealed { handle: issued(n).handle, proof: Proof::Barcode { epoch } });
    let input = Authorize::new(key, payer, Channel::InStore, Yen::new(1_980));
    Request::Authorize { input: Arc::new(input), throttled: false }
}

/// Times of single steps.
#[derive(Default)]
struct Times {
    sum: Duration,
    worst: Duration,
    /// Steps above the 0.3 ms that nothing should take.
    slow: u32,
}

impl Times {
    fn time<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let made = step();
        let took = started.elapsed();
        self.sum += took;
        self.worst = self.worst.max(took);
        self.slow += u32::from(took > Duration::from_micros(300));
        made
    }
}

/// Makes `many` things one by one, with room made between batches, and prints what one costs.
fn grow(state: &mut State, what: &str, many: u32, make: impl Fn(u32) -> Event) {
    let (before, now) = (resident(), Now::at(Millis(START)));
    let (mut single, mut room) = (Times::default(), Times::default());
    for n in 0..many {
        if n % BATCH == 0 {
            room.time(|| state.make_room());
        }
        let event = make(n);
        single.time(|| state.apply(&event, &now));
    }
    let each = resident().saturating_sub(before) / u64::from(many);
    println!(
        "{many} {what}: {each} bytes each; slowest insert {:?} ({} above 0.3 ms), slowest make_room {:?} ({})",
        single.worst, single.slow, room.worst, room.slow
    );
}

fn sell(state: &mut State, customers: u32, sales: u32) {
    let (before, now) = (resident(), Now::at(Millis(START + 1_000)));
    let (mut batches, mut requests) = (Times::default(), Vec::new());
    for first in (0..sales).step_by(usize::try_from(BATCH).unwrap()) {
        // A stride prime to the number of customers visits them in an order that caches do not guess.
        let visit = |order: u32| u32::try_from(u64::from(order) * 7_919 % u64::from(customers)).unwrap();
        requests.clear();
        requests.extend((first..sales.min(first + BATCH)).map(|order| purchase(visit(order), order)));
        batches.time(|| {
            state.make_room();
            for request in &requests {
                let Ruling::Record(event) = rule(state, request, &now, &mut || 7) else { panic!("known") };
                state.apply(&event, &now);
                std::hint::black_box(reply_after(state, request, &event, true, &now));
            }
        });
    }
    let each = resident().saturating_sub(before) / u64::from(sales);
    let rate = f64::from(sales) / batches.sum.as_secs_f64();
    println!(
        "{sales} sales: {each} bytes each; {rate:.0} decided, applied and answered a second; slowest batch {:?}",
        batches.worst
    );
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let customers = numbers.next().unwrap_or(1_000_000);
    let sales = numbers.next().unwrap_or(1_000_000).min(customers);
    let mut state = State::new(Settings::default());
    rules(&mut state, &Now::at(Millis(START)));
    grow(&mut state, "customers", customers, |n| {
        let limits = Limits { total: Yen::new(50_000), in_store: Yen::new(15_000) };
        let profile = Profile {
            identity: Identity::Verified,
            birth_date: Date::new(1990, 4, 1),
            rung: 3,
            limits: (n % 2 == 0).then_some(limits),
            ..Profile::newcomer()
        };
        Event::CustomerSet { ix: CustomerIx(n), id: id(n), profile: Box::new(profile) }
    });
    println!("{} bytes of the whole process a customer", resident() / u64::from(customers));
    grow(&mut state, "codes", customers, |n| Event::CodeIssued(issued(n)));
    sell(&mut state, customers, sales);
}

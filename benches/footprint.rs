//! What a customer, a code and an order cost in memory, how long the slowest step of growing takes, and how fast
//! decisions are when nothing fits into the caches.
//!
//! `cargo bench --bench footprint -- [CUSTOMERS] [SALES]`, by default a million of each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]
#![allow(clippy::float_arithmetic, clippy::print_stdout, reason = "it prints averages; no money is in them")]

mod shop;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sokketsu::domain::billing::bill::Bill;
use sokketsu::domain::commands::request::Request;
use sokketsu::domain::commands::{Ruling, dispatch};
use sokketsu::domain::model::customer::{Limits, Profile};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::time::{Millis, Now};
use sokketsu::domain::state::State;
use sokketsu::domain::state::event::Event;

use shop::{START, customer, issued, open, purchase, verified, visit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests between two calls of `make_room`: the engine's batch.
const BATCH: u32 = 256;

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
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
        let request = |order| {
            let input = Arc::new(purchase(visit(order, customers), order));
            Request::Authorize { input, throttled: false, sealed_by: None }
        };
        requests.clear();
        requests.extend((first..sales.min(first + BATCH)).map(request));
        batches.time(|| {
            state.make_room();
            for request in &requests {
                let Ruling::Record(event, answer) = dispatch(state, request, &now, 0, &mut || 7) else {
                    panic!("known")
                };
                state.apply(&event, &now);
                std::hint::black_box(answer(state, &event, &now));
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
    let mut state = open();
    grow(&mut state, "customers", customers, |n| {
        let limits = Limits { total: Yen::new(50_000), in_store: Yen::new(15_000) };
        customer(n, Profile { limits: (n % 2 == 0).then(|| Box::new(limits)), ..verified() })
    });
    println!("a paid bill that is kept: {} B, of an invoice or a month of one channel", size_of::<Bill>() + 16);
    println!("{} bytes of the whole process a customer", resident() / u64::from(customers));
    grow(&mut state, "codes", customers, |n| Event::CodeIssued(issued(n)));
    sell(&mut state, customers, sales);
}

//! What an approval asks the allocator for: nothing, unless it is the first of a month, a hold or an invoice of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

mod memory;
#[path = "../benches/shop/mod.rs"]
mod shop;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use allocation_counter::measure;
use sokketsu::domain::commands::reply::Reply;
use sokketsu::domain::commands::request::Request;
use sokketsu::domain::commands::{Ruling, dispatch};
use sokketsu::domain::model::ids::{Category, CustomerIx, Handle, Part};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::purchase::Channel;
use sokketsu::domain::model::request::{Authorize, Payer, Proof, Scanned};
use sokketsu::domain::model::time::{DAY, Millis, Now};
use sokketsu::domain::state::State;
use sokketsu::domain::state::event::{CodeIssued, Decided, Event, Outcome};
use sokketsu::engine::board::Board;
use sokketsu::engine::{Engine, Sync};

use shop::{START, customer, id, key, open, verified};

const CUSTOMERS: u32 = 2_000;
/// Requests between two calls of `make_room`: the engine's batch.
const BATCH: u32 = 256;

fn state() -> State {
    let (mut state, now) = (open(), Now::at(Millis(START)));
    for n in 0..CUSTOMERS {
        state.apply(&customer(n, verified()), &now);
    }
    state
}

/// One purchase of the given kind; the number makes it unlike any other.
fn purchase(payer: Payer, channel: Channel, number: u32) -> Authorize {
    let categories = vec![Category::new("food").unwrap()];
    Authorize { confirm_repeat: true, categories, ..Authorize::new(key(number), payer, channel, Yen::new(1)) }
}

/// A fresh code and the purchase that shows it.
fn with_code(state: &mut State, n: u32, number: u32, now: &Now) -> Authorize {
    let handle = Handle::draw(Part::of(&id(n)), u64::from(number));
    let expires_at = now.at.plus(300_000);
    let (customer, generation, id_random, counter, random) = (CustomerIx(n), 1, 1, 1, 2);
    state.apply(
        &Event::CodeIssued(CodeIssued { customer, handle, generation, id_random, counter, random, expires_at }),
        now,
    );
    let proof = Proof::Barcode { epoch: u64::try_from(now.at.0 / 1_000).unwrap() / 600 };
    purchase(Payer::Code(Scanned::Sealed { handle, proof }), Channel::InStore, number)
}

/// Judges a purchase and makes it true, as the engine does; it must be approved.
fn buy(state: &mut State, request: &Request, now: &Now) {
    let Ruling::Record(event, answer) = dispatch(state, request, now, 0, &mut || 7) else {
        panic!("not a new decision")
    };
    assert!(matches!(event, Event::Decided(Decided { outcome: Outcome::Approved(_), .. })), "{event:?}");
    state.apply(&event, now);
    let reply = answer(state, &event, now);
    assert!(matches!(reply, Reply::Decision { replayed: false, .. }));
}

/// Allocations of `rounds` purchases of each customer, with room made between the batches or not.
fn allocations(room: bool, rounds: u32, at: i64, make: impl Fn(&mut State, u32, u32, &Now) -> Authorize) -> u64 {
    let mut state = state();
    let mut counted = 0;
    let now = Now::at(Millis(START + at));
    for number in 0..rounds * CUSTOMERS {
        if room && number % BATCH == 0 {
            state.make_room();
        }
        let input = Arc::new(make(&mut state, number % CUSTOMERS, number, &now));
        let request = Request::Authorize { input, throttled: false, sealed_by: None };
        counted += measure(|| buy(&mut state, &request, &now)).count_total;
    }
    counted
}

/// 180,000 orders start 43 chunks and grow each of the index's 4,096 shards, which have room for 28 at first.
#[test]
fn approvals_that_start_chunks_and_grow_shards_allocate_nothing() {
    let online = |_: &mut State, n, number, _: &Now| purchase(Payer::Customer(id(n)), Channel::Online, number);
    assert_eq!(allocations(true, 90, 0, online), 0);
    assert!(allocations(false, 90, 0, online) > 43, "the counter counts");
}

#[test]
fn an_approval_with_a_code_allocates_nothing() {
    assert_eq!(allocations(true, 20, 0, with_code), 0);
}

/// What a customer has beside the open month is kept on the heap. The first of it makes room for all of it, and a bill is an
/// allocation of its own.
#[test]
fn holds_and_invoices_allocate_once_a_customer_and_once_a_bill() {
    let customers = u64::from(CUSTOMERS);
    let hold = |_: &mut State, n, number, _: &Now| Authorize {
        capture: false,
        ..purchase(Payer::Customer(id(n)), Channel::Online, number)
    };
    assert_eq!(allocations(true, 2, 0, hold), customers, "up to two holds open at once");
    let np = |_: &mut State, n, number, _: &Now| purchase(Payer::Customer(id(n)), Channel::NpAtobarai, number);
    assert_eq!(allocations(true, 2, 0, np), customers + 2 * customers, "up to two invoices open at once");
}

#[test]
fn the_first_purchase_of_the_next_month_allocates_the_bill_of_the_one_before() {
    let mut state = state();
    let mut number = 0;
    let mut counted = Vec::new();
    // November, then December before the bill of November is due, then once more in December.
    for at in [0, 8 * DAY, 8 * DAY + 1] {
        let now = Now::at(Millis(START + at));
        let mut allocated = 0;
        for n in 0..CUSTOMERS {
            if number % BATCH == 0 {
                state.make_room();
            }
            let input = Arc::new(with_code(&mut state, n, number, &now));
            let request = Request::Authorize { input, throttled: false, sealed_by: None };
            allocated += measure(|| buy(&mut state, &request, &now)).count_total;
            number += 1;
        }
        counted.push(allocated);
    }
    assert!(state.accounts().all(|account| account.bills().count() == 2));
    assert_eq!(counted, [0, 2 * u64::from(CUSTOMERS), 0]);
}

/// A batch asks for the list of its replies, which grows by doubling and is given away; a decision for nothing.
#[test]
fn the_engine_allocates_by_the_batch() {
    let (mut state, now) = (state(), Now::at(Millis(START)));
    let batches: Vec<Vec<_>> = (0..8)
        .map(|batch| {
            (0..BATCH).map(|n| n + batch * BATCH).map(|n| with_code(&mut state, n % CUSTOMERS, n, &now)).collect()
        })
        .collect();
    let journal = memory::MemoryJournal::default();
    let (board, posted) = (Arc::new(Board::default()), Arc::new(AtomicU64::new(0)));
    let mut engine = Engine::new(state, Box::new(journal.clone()), Sync::BeforeAnswer, [1; 32], board, posted);
    for (at, batch) in batches.into_iter().enumerate() {
        let batch: Vec<_> = batch
            .into_iter()
            .map(|input| Request::Authorize { input: Arc::new(input), throttled: false, sealed_by: None })
            .collect();
        engine.begin(now.at);
        let counted = measure(|| batch.iter().for_each(|request| engine.take(request))).count_total;
        assert!(engine.commit().unwrap().iter().all(|reply| matches!(reply, Reply::Decision { replayed: false, .. })));
        // The first batch also makes the engine's own lists, once, and registers the metrics.
        assert!(at == 0 || counted <= 10, "{counted} allocations in batch {at}");
    }
    let sales = journal.durable().iter().filter(|(_, event)| matches!(event, Event::Decided(_))).count();
    assert_eq!(sales, 8 * usize::try_from(BATCH).unwrap());
}

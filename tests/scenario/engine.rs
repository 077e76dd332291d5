//! What the engine promises beyond the rules: twins in one batch, time, what is synced when, order of undoing.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sokketsu::domain::commands::past::Past;
use sokketsu::domain::commands::reply::Reply;
use sokketsu::domain::commands::request::{OnOrder, Request};
use sokketsu::domain::model::bounds::Full;
use sokketsu::domain::model::ids::{CustomerId, MerchantId, OfficeId, OrderId, RefundId};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::order::OrderStatus;
use sokketsu::domain::model::purchase::Channel;
use sokketsu::domain::model::request::{Authorize, Cancel, Capture, Instruction, Named, OrderKey, Payer, Refund};
use sokketsu::domain::model::settings::Settings;
use sokketsu::domain::model::time::{Millis, Now};
use sokketsu::domain::state::State;
use sokketsu::domain::state::event::Event;
use sokketsu::domain::state::receipts::Known;
use sokketsu::engine::board::Board;
use sokketsu::engine::{Engine, Sync};

use super::direct::POLICY;
use super::parse;
use crate::memory::MemoryJournal;

const START: i64 = 1_795_423_500_000;

fn house(sync: Sync, settings: Settings) -> (Engine, MemoryJournal) {
    let journal = MemoryJournal::default();
    let posted = Arc::new(AtomicU64::new(u64::MAX));
    let board = Arc::new(Board::default());
    let mut engine = Engine::new(State::new(settings), Box::new(journal.clone()), sync, [1; 32], board, posted);
    engine.begin(Millis(START));
    engine.record(&Event::Opened { sandbox: true }).expect("it fits a record");
    engine.record(&Event::PolicySet { version: 1, text: POLICY.into() }).expect("it fits a record");
    engine.commit().unwrap();
    engine.settle().unwrap();
    let mut world = super::direct::Direct::new(super::direct::Loose(engine));
    world.set_time(START);
    for line in ["merchant M", "customer C identity=verified birth=1990-01-01 limits=50000/15000"] {
        super::World::step(&mut world, &parse(line).pop().unwrap());
    }
    (world.into_core().0, journal)
}

fn usual() -> (Engine, MemoryJournal) {
    house(Sync::BeforeAnswer, Settings::default())
}

fn key(order: &str) -> OrderKey {
    OrderKey { merchant: MerchantId::new("M").unwrap(), order_id: OrderId::new(order).unwrap() }
}

fn buy(order: &str, yen: u64) -> Request {
    let input = Authorize {
        confirm_repeat: true,
        ..Authorize::new(
            OrderKey { merchant: key(order).merchant, order_id: key(order).order_id },
            Payer::Customer(CustomerId::new("C").unwrap()),
            Channel::Online,
            Yen::new(yen),
        )
    };
    Request::Authorize { input: Arc::new(input), throttled: false, sealed_by: None }
}

/// There is no ledger here.
fn on_order(doing: OnOrder) -> Request {
    Request::OnOrder { doing: Box::new(doing), past: Past::Orders(Vec::new()) }
}

fn cancel(order: &str) -> Request {
    on_order(OnOrder::Cancel(Cancel::new(key(order))))
}

fn ask(engine: &mut Engine, requests: &[Request]) -> Vec<Reply> {
    engine.begin(Millis(START + 1_000));
    requests.iter().for_each(|request| engine.take(request));
    let replies = engine.commit().unwrap();
    engine.settle().unwrap();
    replies
}

fn exposure(engine: &Engine) -> u64 {
    let now = Now::at(Millis(START + 1_000));
    let rules = engine.state().rules().unwrap();
    engine.state().accounts().map(|account| account.exposure(&now, rules).total.get()).sum()
}

#[test]
fn twins_in_one_batch_are_one_sale() {
    let (mut engine, journal) = usual();
    let before = journal.durable().len();
    let replies = ask(&mut engine, &[buy("R-1", 700), buy("R-1", 700), buy("R-1", 701)]);
    let [
        Reply::Decision { order: first, replayed: false },
        Reply::Decision { order: again, replayed: true },
        Reply::OrderIdReused { .. },
    ] = replies.as_slice()
    else {
        panic!("{replies:?}")
    };
    assert_eq!(first, again);
    assert_eq!((exposure(&engine), journal.durable().len() - before), (700, 1));
}

#[test]
fn every_order_of_authorize_retry_cancel_cancel_inquire_ends_uncharged() {
    let acts = [
        buy("R-1", 700),
        buy("R-1", 700),
        cancel("R-1"),
        cancel("R-1"),
        on_order(OnOrder::Find(Named::Key(key("R-1")))),
    ];
    let mut orders = vec![Vec::new()];
    for _ in 0..acts.len() {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                let left = (0..acts.len()).filter(|act| !order.contains(act)).collect::<Vec<_>>();
                left.into_iter().map(move |act| order.iter().copied().chain([act]).collect())
            })
            .collect();
    }
    assert_eq!(orders.len(), 120);
    for order in orders {
        let (mut engine, _) = usual();
        let mut decisions = Vec::new();
        for act in &order {
            let reply = ask(&mut engine, std::slice::from_ref(&acts[*act])).pop().unwrap();
            if let Reply::Decision { order, .. } = reply {
                decisions.push(order.status(Millis(START + 1_000)));
            }
        }
        assert_eq!(exposure(&engine), 0, "{order:?}");
        // Whatever is asked after the cancel is told that it is cancelled.
        let cancelled_first =
            order.iter().position(|act| *act == 2 || *act == 3) < order.iter().position(|act| *act < 2);
        if cancelled_first {
            assert!(decisions.iter().all(|status| *status == OrderStatus::Denied), "{order:?}: {decisions:?}");
        }
        let Reply::Decision { order: last, .. } = ask(&mut engine, &[buy("R-1", 700)]).pop().unwrap() else {
            panic!("{order:?}")
        };
        assert!(!last.status(Millis(START + 1_000)).stands(), "{order:?}");
    }
}

#[test]
fn time_in_the_journal_never_goes_back() {
    let (mut engine, journal) = usual();
    ask(&mut engine, &[buy("R-1", 700)]);
    engine.begin(Millis(START - 3_600_000));
    engine.take(&buy("R-2", 700));
    engine.commit().unwrap();
    let times: Vec<_> = journal.durable().iter().map(|(at, _)| *at).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(times.last(), Some(&Millis(START + 1_000)));
}

#[test]
fn yen_at_risk_stay_within_the_budget() {
    let (mut engine, journal) = house(Sync::Bounded { at_risk_yen: 1_000 }, Settings::default());
    let durable = |journal: &MemoryJournal| journal.durable().len();
    let before = durable(&journal);
    engine.begin(Millis(START + 1_000));
    engine.take(&buy("R-1", 600));
    engine.take(&buy("R-2", 400));
    assert_eq!(engine.commit().unwrap().len(), 2);
    assert_eq!(durable(&journal), before, "1,000 yen may be answered before their sync");
    engine.settle().unwrap();
    assert_eq!(durable(&journal), before + 2, "which follows at once");
    engine.begin(Millis(START + 2_000));
    engine.take(&buy("R-3", 1_001));
    engine.commit().unwrap();
    assert_eq!(durable(&journal), before + 3, "1,001 yen may not");
}

#[test]
fn yen_taken_back_or_paid_are_at_risk_too() {
    let (mut engine, journal) = house(Sync::Bounded { at_risk_yen: 1_000 }, Settings::default());
    let mut is_synced = |request: &Request| {
        let before = journal.durable().len();
        engine.begin(Millis(START + 1_000));
        engine.take(request);
        let reply = engine.commit().unwrap().pop().unwrap();
        let is_synced = journal.durable().len() > before;
        engine.settle().unwrap();
        assert!(journal.durable().len() > before, "it is recorded: {reply:?}");
        let id = match reply {
            Reply::Decision { order, .. } => Some(order.id),
            _ => None,
        };
        (is_synced, id)
    };
    // More than usage and holds keep back from payouts.
    let customer = CustomerId::new("C").unwrap();
    let plenty = OfficeId::new("PLENTY").unwrap();
    let instruction = Instruction::Repay { id: plenty, amount: Yen::new(20_000), paid_at: None, slip: None };
    is_synced(&Request::Instruct { customer, instruction, ledger: Some(Known::nothing()) });
    for (yen, synced_first) in [(1_000, false), (1_001, true)] {
        let order = |name: &str| format!("{name}-{yen}");
        for sale in ["C", "R"] {
            is_synced(&buy(&order(sale), yen));
        }
        let Request::Authorize { input, .. } = buy(&order("H"), yen) else { unreachable!("a sale") };
        let hold = Authorize { capture: false, ..Authorize::clone(&input) };
        let hold = Request::Authorize { input: Arc::new(hold), throttled: false, sealed_by: None };
        let (_, Some(held)) = is_synced(&hold) else { panic!("a hold") };
        let (_, Some(bought)) = is_synced(&buy(&order("F"), yen)) else { panic!("a sale") };
        let amount = Yen::new(yen);
        let repayment =
            Instruction::Repay { id: OfficeId::new(&order("P")).unwrap(), amount, paid_at: None, slip: None };
        let payout =
            Instruction::PayOut { id: OfficeId::new(&order("O")).unwrap(), amount, bank_reference: None, staff: None };
        let requests = [
            ("cancel", cancel(&order("C"))),
            ("capture", on_order(OnOrder::Capture(Capture { authorization: held, amount }))),
            ("refund", on_order(OnOrder::Refund(Refund::new(bought, RefundId::new(&order("F")).unwrap(), amount)))),
            ("repayment", Request::Instruct { customer, instruction: repayment, ledger: Some(Known::nothing()) }),
            ("payout", Request::Instruct { customer, instruction: payout, ledger: Some(Known::nothing()) }),
        ];
        for (name, request) in requests {
            assert_eq!(is_synced(&request).0, synced_first, "{name} of {yen}");
        }
    }
    assert!(is_synced(&cancel("NEVER-SEEN")).0, "a late sale of any amount would be approved");
}

#[test]
fn what_was_recorded_ahead_of_the_clock_is_on_the_board_at_once() {
    let (engine, journal) = usual();
    let last = engine.state().time;
    assert_eq!(engine.board().time(), Millis(START));
    let mut state = State::new(Settings::default());
    for (at, event) in journal.durable() {
        state.apply(&event, &Now::at(at));
    }
    let (board, posted) = (Arc::new(Board::default()), Arc::new(AtomicU64::new(u64::MAX)));
    let again = Engine::new(state, Box::new(journal), Sync::BeforeAnswer, [2; 32], Arc::clone(&board), posted);
    let (owner, _) = again.into_parts();
    assert_eq!((board.time(), owner.now().at), (last, last));
    // Nor does the time go back where nothing was recorded at it: readers were shown it.
    let mut engine = engine;
    for wall in [START + 5_000, START + 1_000] {
        engine.begin(Millis(wall));
        engine.commit().unwrap();
        assert_eq!(engine.board().time(), Millis(START + 5_000));
    }
}

#[test]
fn at_the_bound_known_orders_are_answered_and_nothing_is_evicted() {
    let (mut engine, _) = house(Sync::BeforeAnswer, Settings { orders_max: 2, ..Settings::default() });
    ask(&mut engine, &[buy("R-1", 1), buy("R-2", 2)]);
    let replies = ask(&mut engine, &[buy("R-3", 3), buy("R-1", 1), cancel("R-4"), cancel("R-2"), buy("R-2", 2)]);
    assert!(matches!(replies[0], Reply::Full(Full::Orders)), "a new order: {:?}", replies[0]);
    assert!(matches!(replies[1], Reply::Decision { replayed: true, .. }));
    assert!(matches!(replies[2], Reply::Full(Full::Orders)), "a tombstone is an order too");
    assert!(matches!(replies[3], Reply::Cancelled { .. }));
    assert!(matches!(replies[4], Reply::Decision { replayed: true, .. }));
    assert_eq!(exposure(&engine), 1);
}

#[test]
fn what_no_record_can_hold_is_refused_before_it_is_true() {
    let (mut engine, journal) = usual();
    let (before, recorded) = (engine.state().policy.as_ref().map(|in_force| in_force.version), journal.durable().len());
    engine.begin(Millis(START + 1_000));
    let text = format!("{POLICY}\n# {}", "x".repeat(1 << 20));
    let version = before.unwrap() + 1;
    assert!(engine.record(&Event::PolicySet { version, text: text.into() }).is_err());
    assert_eq!(engine.state().policy.as_ref().map(|in_force| in_force.version), before);
    // The group goes on without it.
    engine.take(&buy("R-1", 100));
    engine.commit().unwrap();
    engine.settle().unwrap();
    assert_eq!(journal.durable().len(), recorded + 1);
}

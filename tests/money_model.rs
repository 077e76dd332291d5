//! The money calendar against an independent model: random histories of purchases, refunds, repayments and time must
//! come to the same figures in both, to the yen, after every step.
//!
//! The model (`money/books.rs`) is written from the rules of the service and shares no arithmetic with the product:
//! not its calendar, not its allocation, not its lateness. `PROPTEST_CASES` sets how many histories are played:
//! `PROPTEST_CASES=6000 cargo test --test money_model` takes some two minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

mod money;

use money::act::{Act, Part, Until};
use money::books::{Method, Way};
use money::calendar::{DAY, HOUR, MINUTE, date, start_of};
use money::play::{LIMITS, Play};
use proptest::prelude::*;

const AMOUNTS: [u64; 8] = [1, 150, 500, 1_000, 2_000, 3_125, 7_000, 15_000];

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        4 => Just(Part::All),
        2 => Just(Part::Half),
        1 => Just(Part::AllButOne),
        1 => Just(Part::More),
        2 => prop::sample::select(vec![1, 100, 209, 1_000, 5_000, 20_000]).prop_map(Part::Yen),
    ]
}

fn until() -> impl Strategy<Value = Until> {
    let later = prop::sample::select(vec![1, MINUTE, HOUR, DAY, 3 * DAY, 8 * DAY, 35 * DAY, 100 * DAY]);
    let day = prop::sample::select(vec![1, 10, 11, 21, 25, 28, 29, 31]);
    let moment = prop::sample::select(vec![-1, 0, 1, 15 * MINUTE - 1, 15 * MINUTE, 12 * HOUR]);
    prop_oneof![later.prop_map(Until::Later), (day, moment).prop_map(|(day, ms)| Until::DayOfMonth(day, ms))]
}

/// How long after the payment we hear of it.
fn late() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 0, HOUR, 2 * DAY, 6 * DAY, 20 * DAY, 34 * DAY, 60 * DAY, 150 * DAY, 399 * DAY])
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..LIMITS.len();
    let pick = || 0usize..1_000;
    let way = prop_oneof![3 => Just(Way::InStore), 3 => Just(Way::Online), 2 => Just(Way::Np)];
    let method = prop::sample::select(vec![Method::Konbini, Method::Postcard, Method::Debit]);
    let life = prop::sample::select(vec![HOUR, 3 * DAY, 30 * DAY]);
    let amount = prop::sample::select(AMOUNTS.to_vec());
    prop_oneof![
        12 => (who(), way, amount, prop::bool::weighted(0.2))
            .prop_map(|(who, way, amount, hold)| Act::Buy { who, way, amount, hold }),
        3 => (pick(), part()).prop_map(|(pick, part)| Act::Capture { pick, part }),
        4 => pick().prop_map(|pick| Act::Cancel { pick }),
        5 => (pick(), part()).prop_map(|(pick, part)| Act::Refund { pick, part }),
        6 => (who(), part(), late(), any::<bool>())
            .prop_map(|(who, part, late, slip)| Act::Pay { who, part, late, slip }),
        1 => who().prop_map(|who| Act::Slip { who }),
        2 => (who(), part(), late(), life).prop_map(|(who, part, late, life)| Act::News { who, part, late, life }),
        2 => (who(), any::<bool>()).prop_map(|(who, came)| Act::EndNews { who, came }),
        1 => (who(), method).prop_map(|(who, method)| Act::SetMethod { who, method }),
        2 => (who(), pick(), part()).prop_map(|(who, pick, part)| Act::PostDamages { who, pick, part }),
        2 => (who(), part()).prop_map(|(who, part)| Act::PayOut { who, part }),
        1 => (who(), prop::bool::weighted(0.4)).prop_map(|(who, closed)| Act::SetClosed { who, closed }),
        12 => until().prop_map(Act::Wait),
        4 => who().prop_map(|who| Act::Sweep { who }),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    /// From June 2021, the month of the worked numbers, and from before a year's end and a leap day.
    #[test]
    fn every_figure_agrees_with_the_model(
        month in prop::sample::select(vec![2_021 * 12 + 5, 2_023 * 12 + 11, 2_024 * 12 + 1]),
        old_credit in prop::bool::weighted(0.3),
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut play = Play::new(start_of(date(month, 20)) + 10 * HOUR);
        let before = if old_credit { credit_of_ninety_days() } else { Vec::new() };
        for act in before.iter().chain(&acts) {
            play.step(act).map_err(TestCaseError::fail)?;
        }
    }
}

/// Everybody's: it soon becomes due, but for what usage and holds keep back.
fn credit_of_ninety_days() -> Vec<Act> {
    let pay = |who| Act::Pay { who, part: Part::Yen(3_000), late: 0, slip: false };
    (0..LIMITS.len()).map(pay).chain([Act::Wait(Until::Later(90 * DAY))]).collect()
}

fn play(acts: &[Act]) -> Result<(), String> {
    let mut play = Play::new(start_of(date(2_021 * 12 + 5, 20)) + 10 * HOUR);
    acts.iter().try_for_each(|act| play.step(act))
}

/// Found by the property: the days before a refund went with it.
#[test]
fn a_late_np_invoice_keeps_its_damages_when_it_is_refunded() {
    let buy = Act::Buy { who: 0, way: Way::Np, amount: 15_000, hold: false };
    let wait = || Act::Wait(Until::Later(35 * DAY));
    play(&[buy, wait(), Act::Refund { pick: 0, part: Part::Half }, wait()]).unwrap();
}

/// Found by the property: the money of a paid purchase was nowhere after its cancel.
#[test]
fn the_money_of_a_paid_np_purchase_is_credit_after_its_cancel() {
    let buy = Act::Buy { who: 0, way: Way::Np, amount: 1_000, hold: false };
    let pay = Act::Pay { who: 0, part: Part::All, late: 0, slip: false };
    play(&[buy, pay, Act::Cancel { pick: 0 }, Act::Wait(Until::Later(35 * DAY))]).unwrap();
}

/// One that was refunded in part can be refunded, but not cancelled.
#[test]
fn what_was_refunded_in_part_is_refunded_further() {
    let buy = Act::Buy { who: 0, way: Way::Online, amount: 1_000, hold: false };
    let refund = |part| Act::Refund { pick: 0, part };
    play(&[buy, refund(Part::Half), Act::Cancel { pick: 0 }, refund(Part::All)]).unwrap();
}

/// A bill paid late, with damages posted, and let go of: half a year later we hear that it was paid in time.
#[test]
fn a_bill_that_was_let_go_is_put_right() {
    let buy = |amount| Act::Buy { who: 0, way: Way::Online, amount, hold: false };
    let pay = |part, late| Act::Pay { who: 0, part, late, slip: false };
    let wait = |days| Act::Wait(Until::Later(days * DAY));
    let sweep = || Act::Sweep { who: 0 };
    let damages = || Act::PostDamages { who: 0, pick: 0, part: Part::Half };
    let late = [buy(15_000), wait(50), damages(), pay(Part::All, 0), buy(7_000), wait(100), pay(Part::All, 0)];
    let long_after = [wait(80), sweep(), wait(1), damages(), sweep(), pay(Part::Yen(15_209), 213 * DAY), Act::Restart];
    let paid_out = [Act::PayOut { who: 0, part: Part::All }, wait(120), sweep(), pay(Part::Yen(500), 300 * DAY)];
    play(&[&late[..], &long_after, &paid_out].concat()).unwrap();
}

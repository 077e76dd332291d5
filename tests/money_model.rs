//! The money calendar against an independent model: random histories of purchases, refunds, repayments and time must
//! come to the same figures in both, to the yen, after every step.
//!
//! The model (`money/books.rs`) is written from the rules of the service and shares no arithmetic with the product:
//! not its calendar, not its allocation, not its lateness. `PROPTEST_CASES` sets how many histories are played:
//! `PROPTEST_CASES=1500 cargo test --test money_model` takes some two minutes; README.md has the command of a long run.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the long run is told how long, and shows how far it is"
)]

mod money;

use std::cell::RefCell;

use money::act::{Act, Part, Until};
use money::books::{Method, Way};
use money::calendar::{DAY, HOUR, MINUTE, MonthNo, date, start_of};
use money::play::{Done, LIMITS, Play};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

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
        3 => (who(), pick(), part()).prop_map(|(who, pick, part)| Act::PostDamages { who, pick, part }),
        2 => (who(), part()).prop_map(|(who, part)| Act::PayOut { who, part }),
        2 => (who(), pick()).prop_map(|(who, pick)| Act::Bounce { who, pick }),
        2 => (who(), pick(), part()).prop_map(|(who, pick, part)| Act::Reverse { who, pick, part }),
        2 => (who(), pick()).prop_map(|(who, pick)| Act::Waive { who, pick }),
        3 => (who(), pick()).prop_map(|(who, pick)| Act::ReverseDamages { who, pick }),
        3 => (who(), pick()).prop_map(|(who, pick)| Act::WriteOff { who, pick }),
        4 => (who(), pick()).prop_map(|(who, pick)| Act::Release { who, pick }),
        4 => (who(), part()).prop_map(|(who, part)| Act::ApplyCredit { who, part }),
        1 => (who(), prop::bool::weighted(0.4)).prop_map(|(who, closed)| Act::SetClosed { who, closed }),
        12 => until().prop_map(Act::Wait),
        4 => who().prop_map(|who| Act::Sweep { who }),
        1 => Just(Act::Restart),
    ]
}

#[derive(Clone, Debug)]
struct History {
    month: MonthNo,
    before: Before,
    acts: Vec<Act>,
}

impl History {
    /// The history as it was played, or where the two sides first differ.
    fn play(&self) -> Result<Play, TestCaseError> {
        let mut play = Play::new(start_of(date(self.month, 20)) + 10 * HOUR);
        let before = self.before.acts();
        before.iter().chain(&self.acts).try_for_each(|act| play.step(act)).map_err(TestCaseError::fail)?;
        Ok(play)
    }
}

/// From June 2021, the month of the worked numbers, and from before a year's end and a leap day.
fn history() -> impl Strategy<Value = History> {
    let month = prop::sample::select(vec![2_021 * 12 + 5, 2_023 * 12 + 11, 2_024 * 12 + 1]);
    let acts = prop::collection::vec(act(), 1..60);
    let before = prop_oneof![4 => Just(Before::Nothing), 2 => Just(Before::OldCredit), 3 => Just(Before::OldDebts)];
    (month, before, acts).prop_map(|(month, before, acts)| History { month, before, acts })
}

const MOST_SHRINKS: u32 = 4_000;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: MOST_SHRINKS, ..ProptestConfig::default() })]

    #[test]
    fn every_figure_agrees_with_the_model(history in history()) {
        history.play()?;
    }
}

/// One customer, what comes and what goes back: payouts, reversals, news and bills are together more often than among all
/// acts.
fn money_act() -> impl Strategy<Value = Act> {
    let who = || Just(0);
    let life = prop::sample::select(vec![HOUR, 3 * DAY, 30 * DAY]);
    let amount = prop::sample::select(AMOUNTS.to_vec());
    let way = prop_oneof![3 => Just(Way::InStore), 3 => Just(Way::Online), 2 => Just(Way::Np)];
    prop_oneof![
        3 => (who(), way, amount).prop_map(|(who, way, amount)| Act::Buy { who, way, amount, hold: false }),
        4 => (who(), part(), late()).prop_map(|(who, part, late)| Act::Pay { who, part, late, slip: false }),
        3 => (who(), part(), late(), life).prop_map(|(who, part, late, life)| Act::News { who, part, late, life }),
        3 => (who(), any::<bool>()).prop_map(|(who, came)| Act::EndNews { who, came }),
        3 => (who(), part()).prop_map(|(who, part)| Act::PayOut { who, part }),
        2 => (who(), 0usize..5).prop_map(|(who, pick)| Act::Bounce { who, pick }),
        3 => (who(), 0usize..5, part()).prop_map(|(who, pick, part)| Act::Reverse { who, pick, part }),
        2 => (0usize..5, part()).prop_map(|(pick, part)| Act::Refund { pick, part }),
        3 => until().prop_map(Act::Wait),
        3 => who().prop_map(|who| Act::Sweep { who }),
    ]
}
proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: MOST_SHRINKS, ..ProptestConfig::default() })]

    #[test]
    fn money_that_goes_back_and_forth_agrees_with_the_model(acts in prop::collection::vec(money_act(), 4..25), is_old in any::<bool>()) {
        let before = if is_old { Before::OldCredit } else { Before::Nothing };
        let acts = [before.acts(), acts].concat();
        play(&acts).map_err(TestCaseError::fail)?;
    }
}

/// `MONEY_MODEL_OPERATIONS` says how many, a million if nothing is said.
#[test]
#[ignore = "a million operations take minutes"]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it is told how long, and shows how far it is")]
fn long() {
    const HISTORIES: u32 = 1_000;
    let wanted = std::env::var("MONEY_MODEL_OPERATIONS").map_or(1_000_000, |text| text.parse::<usize>().unwrap());
    let config = ProptestConfig {
        cases: HISTORIES,
        max_shrink_iters: MOST_SHRINKS,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let (mut histories, total) = (0, RefCell::new(Done::default()));
    while total.borrow().operations < wanted {
        let played = TestRunner::new(config.clone()).run(&history(), |history| {
            *total.borrow_mut() += history.play()?.done;
            Ok(())
        });
        played.unwrap_or_else(|difference| panic!("{difference}"));
        histories += HISTORIES;
        let done = total.borrow();
        println!("{} operations of {wanted} in {histories} histories agree: {:?}", done.operations, done.by_name);
    }
}

/// What everybody's books begin with.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    /// Of ninety days: it soon becomes due, but for what usage and holds keep back.
    OldCredit,
    /// Bills and invoices that have been late for weeks, with damages and late fees.
    OldDebts,
}

impl Before {
    fn acts(self) -> Vec<Act> {
        let all = || 0..LIMITS.len();
        let pay = |who| Act::Pay { who, part: Part::Yen(3_000), late: 0, slip: false };
        let buy = |way| move |who| Act::Buy { who, way, amount: 1_400, hold: false };
        let wait = |days| Act::Wait(Until::Later(days * DAY));
        match self {
            Self::Nothing => Vec::new(),
            Self::OldCredit => all().map(pay).chain([wait(90)]).collect(),
            Self::OldDebts => all().map(buy(Way::InStore)).chain(all().map(buy(Way::Np))).chain([wait(80)]).collect(),
        }
    }
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

/// Found by the property: the money of the payout was there twice.
#[test]
fn news_of_before_a_payout_that_came_back() {
    let pay = |part, late| Act::Pay { who: 0, part, late, slip: false };
    let wait = || Act::Wait(Until::Later(DAY));
    let pay_out = Act::PayOut { who: 0, part: Part::Yen(2_000) };
    let bounce = Act::Bounce { who: 0, pick: 0 };
    play(&[pay(Part::Yen(3_000), 0), wait(), pay_out, wait(), bounce, wait(), pay(Part::Yen(1), 3 * DAY - HOUR)])
        .unwrap();
}

/// Found by the property: the answer told more than the payment, for what the bank had sent back of it was told with what had
/// been paid out in its place.
#[test]
fn a_payment_whose_money_went_out_and_came_back_is_told_once() {
    let pay = |part| Act::Pay { who: 0, part, late: 150 * DAY, slip: false };
    let pay_out = |part| Act::PayOut { who: 0, part };
    let buy = Act::Buy { who: 0, way: Way::Np, amount: 2_000, hold: false };
    let mut acts = Before::OldCredit.acts();
    acts.extend([pay_out(Part::Half), buy, Act::Bounce { who: 0, pick: 0 }]);
    acts.extend([pay(Part::All), pay_out(Part::All), pay(Part::More)]);
    play(&acts).unwrap();
}

/// Found by the property: what a refund had moved to a late fee was taken for paid out.
#[test]
fn a_repayment_is_taken_back_from_where_a_refund_has_moved_it() {
    let buy = Act::Buy { who: 0, way: Way::InStore, amount: 500, hold: false };
    let to = |day| Act::Wait(Until::DayOfMonth(day, 0));
    let pay = Act::Pay { who: 0, part: Part::Half, late: 0, slip: false };
    let refund = Act::Refund { pick: 0, part: Part::AllButOne };
    let reverse = Act::Reverse { who: 0, pick: 0, part: Part::All };
    play(&[buy, to(10), pay, to(25), to(10), refund, reverse, to(25)]).unwrap();
}

/// Found by the property: what had been released became credit.
#[test]
fn what_was_released_is_no_money() {
    let buy = || Act::Buy { who: 0, way: Way::Online, amount: 15_000, hold: false };
    let wait = || Act::Wait(Until::Later(35 * DAY));
    let post = Act::PostDamages { who: 0, pick: 0, part: Part::All };
    let (give_up, release) = (Act::WriteOff { who: 0, pick: 0 }, Act::Release { who: 0, pick: 0 });
    let reverse = Act::ReverseDamages { who: 0, pick: 0 };
    let refund = |part| Act::Refund { pick: 0, part };
    let news = |amount| Act::Pay { who: 0, part: Part::Yen(amount), late: 20 * DAY, slip: false };
    let mut acts = vec![buy(), wait(), wait(), post, news(1_000), give_up, release, reverse, refund(Part::Half)];
    acts.extend([wait(), news(500), Act::Wait(Until::Later(1)), refund(Part::All), news(20_000)]);
    play(&acts).unwrap();
}

/// Found by the property: the credit was lost, or covered the next purchase.
#[test]
fn credit_on_an_open_month_is_credit_again_when_its_purchases_go_back() {
    let pay = || Act::Pay { who: 0, part: Part::Yen(2_000), late: 0, slip: false };
    let buy = || Act::Buy { who: 0, way: Way::Online, amount: 1_000, hold: false };
    let apply = || Act::ApplyCredit { who: 0, part: Part::Yen(700) };
    let wait = |ms| Act::Wait(Until::Later(ms));
    let back = [Act::Cancel { pick: 0 }, Act::Refund { pick: 0, part: Part::Half }];
    for back in back {
        let news = Act::Pay { who: 0, part: Part::Yen(1), late: HOUR, slip: false };
        let acts = [pay(), buy(), wait(MINUTE), apply(), wait(MINUTE), back, buy(), wait(MINUTE), news, wait(35 * DAY)];
        play(&acts).unwrap();
    }
    // Just after midnight, when the month has its bill already.
    let midnight = Act::Wait(Until::DayOfMonth(1, -MINUTE));
    play(&[pay(), midnight, buy(), buy(), apply(), wait(2 * MINUTE), Act::Cancel { pick: 0 }, wait(DAY)]).unwrap();
}

/// Found by the property: the bill was let go although damages had just been taken back, so news of the hour before did not
/// meet them.
#[test]
fn news_of_before_a_correction_of_an_old_bill() {
    let buy = Act::Buy { who: 0, way: Way::Np, amount: 15_000, hold: false };
    let wait = || Act::Wait(Until::Later(100 * DAY));
    let pay = |late| Act::Pay { who: 0, part: Part::All, late, slip: false };
    let post = Act::PostDamages { who: 0, pick: 0, part: Part::All };
    let reverse = Act::ReverseDamages { who: 0, pick: 0 };
    let news = Act::News { who: 0, part: Part::Yen(36), late: HOUR, life: HOUR };
    play(&[buy, wait(), pay(0), post, wait(), news, reverse, Act::EndNews { who: 0, came: true }]).unwrap();
}

/// Found by the property: a release named the late fees that provisional news holds up.
#[test]
fn a_release_while_news_holds_late_fees_up() {
    let buy = Act::Buy { who: 0, way: Way::Online, amount: 1_000, hold: false };
    let news = Act::News { who: 0, part: Part::All, late: 20 * DAY, life: HOUR };
    let (give_up, release) = (Act::WriteOff { who: 0, pick: 0 }, Act::Release { who: 0, pick: 0 });
    let pay = Act::Pay { who: 0, part: Part::All, late: 0, slip: false };
    play(&[buy, Act::Wait(Until::Later(80 * DAY)), news, give_up, pay, release]).unwrap();
}

/// Found by the property: what a refund took away later was taken for not bought yet, so the credit was not put on it again.
#[test]
fn news_of_before_credit_was_put_on_a_month_that_was_refunded_since() {
    let who = 1;
    let buy = Act::Buy { who, way: Way::InStore, amount: 3_125, hold: false };
    let apply = Act::ApplyCredit { who, part: Part::All };
    let refund = Act::Refund { pick: 0, part: Part::All };
    let news = Act::Pay { who, part: Part::All, late: 60 * DAY, slip: false };
    let acts = vec![buy, apply, Act::Wait(Until::Later(35 * DAY)), refund, news];
    History { month: 24_287, before: Before::OldCredit, acts }.play().unwrap();
}

/// What was taken back of a bill is not taken from the money that came in its place.
#[test]
fn a_second_part_is_taken_of_what_is_left_of_a_repayment() {
    let buy = Act::Buy { who: 1, way: Way::Np, amount: 6_000, hold: false };
    let pay = |yen| Act::Pay { who: 1, part: Part::Yen(yen), late: 0, slip: false };
    let reverse = |part| Act::Reverse { who: 1, pick: 0, part };
    let pay_out = Act::PayOut { who: 1, part: Part::All };
    let wait = || Act::Wait(Until::Later(100 * DAY));
    let parts = [Part::Yen(4_000), Part::Yen(2_000), Part::All, Part::Yen(1_000), Part::All];
    for is_long_ago in [false, true] {
        let mut acts = vec![buy.clone(), pay(8_000), pay_out.clone(), reverse(Part::Yen(3_000)), pay(3_000)];
        for part in parts {
            acts.extend(is_long_ago.then(wait));
            acts.push(reverse(part));
        }
        play(&acts).unwrap();
    }
}

/// Found by the property: it came from an invoice that is due later than the month.
#[test]
fn a_repayment_is_taken_back_from_an_open_month_before_any_bill() {
    let buy = |way| Act::Buy { who: 0, way, amount: 1, hold: false };
    let mut acts = Before::OldCredit.acts();
    let apply = Act::ApplyCredit { who: 0, part: Part::All };
    let reverse = Act::Reverse { who: 0, pick: 0, part: Part::AllButOne };
    acts.extend([Act::Wait(Until::DayOfMonth(28, -1)), buy(Way::InStore), apply, buy(Way::Np), reverse]);
    play(&acts).unwrap();
}

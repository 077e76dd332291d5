//! Worked examples of the model alone: what the rules of the service say in figures.

use super::bill::{Bill, Key, Lines};
use super::books::{Customer, Fact, Pending, Sale, Way};
use super::calendar::{Banks, DAY, HOUR, MINUTE, date, start_of};
use super::fold::Books;

const JUNE: i64 = 2_021 * 12 + 5;

/// Noon of a day of 2021.
fn noon(month: i64, day: i64) -> i64 {
    start_of(date(2_021 * 12 + month - 1, day)) + 12 * HOUR
}

struct Story {
    customer: Customer,
    banks: Banks,
}

impl Story {
    fn new() -> Self {
        Self { customer: Customer::default(), banks: Banks::read("") }
    }

    /// Gives the number of the sale.
    fn buy(&mut self, way: Way, amount: u64, at: i64) -> usize {
        let order = self.customer.sales.len();
        let captured = Some((amount, at));
        self.customer.sales.push(Sale { order, way, amount, held_until: None, captured, cancelled: false });
        self.hear(at, Fact::Bought { sale: order }, at);
        order
    }

    /// 30,000 bought in June: a bill of 30,209 that is due on July 10th. Its fee is paid on the 1st of July.
    fn with_june_bill() -> Self {
        let mut story = Self::new();
        story.buy(Way::Online, 30_000, noon(6, 20));
        story.pay(209, noon(7, 1), noon(7, 1));
        story
    }

    /// Gives the number of the fact.
    fn hear(&mut self, at: i64, fact: Fact, now: i64) -> usize {
        self.customer.hear(at, fact, now, &self.banks)
    }

    fn pay(&mut self, amount: u64, paid_at: i64, heard: i64) -> usize {
        self.hear(paid_at, Fact::Paid { amount, principal_first: false }, heard)
    }

    fn refund(&mut self, sale: usize, amount: u64, at: i64) {
        self.hear(at, Fact::Refunded { sale, amount }, at);
    }

    fn post_damages(&mut self, amount: u64, at: i64) -> usize {
        self.hear(at, Fact::DamagesPosted { bill: Key::Month(JUNE), amount }, at)
    }

    fn pay_out(&mut self, amount: u64, at: i64) -> usize {
        self.hear(at, Fact::PaidOut { amount }, at)
    }

    fn cancel(&mut self, sale: usize, at: i64) {
        self.customer.cancel(sale, at, &self.banks);
    }

    fn sweep(&mut self, at: i64) {
        self.customer.sweep(at, &self.banks);
    }

    fn books(&self, now: i64) -> Books {
        self.customer.books(now, &self.banks).0
    }

    fn june(&self, now: i64) -> Bill {
        self.books(now).bill(Key::Month(JUNE)).unwrap().clone()
    }

    fn owed(&self, now: i64) -> u64 {
        self.books(now).bills.iter().map(Bill::owed).sum()
    }

    /// Own day, yen and yen due for payout of the free sums.
    fn free(&self, now: i64) -> Vec<(i64, u64, u64)> {
        self.books(now).free.iter().map(|sum| (sum.money.day, sum.amount, sum.due)).collect()
    }
}

#[test]
fn late_fees_and_damages_by_the_table() {
    let story = Story::with_june_bill();
    for (month, day, fees, damages) in [
        (7, 10, 0, 0),
        (7, 11, 0, 12),
        (8, 9, 0, 360),
        (8, 10, 100, 372),
        (8, 24, 100, 540),
        (8, 25, 200, 552),
        (9, 10, 300, 744),
        (9, 25, 400, 924),
        (10, 9, 400, 1_092),
        (10, 10, 500, 1_104),
        (19, 10, 2_300, 4_380),
    ] {
        let bill = story.june(noon(month, day));
        let figures = (bill.charged.late_fees, bill.owed(), bill.accrued());
        assert_eq!(figures, (fees, 30_000 + fees, damages), "{month}-{day}");
    }
}

#[test]
fn money_heard_late_meets_what_was_bought_since() {
    let mut story = Story::new();
    let np = story.buy(Way::Np, 187, noon(7, 6));
    story.pay(4_028, noon(7, 4), noon(7, 7));
    let books = story.books(noon(7, 7));
    assert_eq!(books.bill(Key::Np(np)).unwrap().paid.principal, 187);
    assert_eq!(story.free(noon(7, 7)), [(noon(7, 4), 4_028 - 187, 0)]);
}

#[test]
fn credit_meets_an_invoice_when_it_is_made() {
    let mut story = Story::new();
    story.pay(10_000, noon(7, 1), noon(7, 1));
    story.buy(Way::Np, 500, noon(7, 2));
    assert_eq!((story.owed(noon(7, 2)), story.free(noon(7, 2))), (0, vec![(noon(7, 1), 9_500, 0)]));
}

#[test]
fn a_month_is_issued_at_midnight_and_credit_meets_it_oldest_first() {
    let mut story = Story::new();
    story.buy(Way::InStore, 1_000, noon(6, 20));
    story.pay(500, noon(6, 22), noon(6, 23));
    story.pay(800, noon(6, 21), noon(6, 24));
    let july = start_of(date(JUNE + 1, 1));
    assert_eq!(story.free(july - 1), [(noon(6, 21), 800, 0), (noon(6, 22), 500, 0)]);
    assert_eq!(story.books(july - 1).exposure(&story.customer, july - 1).in_store, 1_000);
    assert_eq!((story.june(july).owed(), story.free(july)), (0, vec![(noon(6, 22), 91, 0)]));
    story.pay(10, july, july);
    assert_eq!(story.free(july), [(noon(6, 22), 91, 0), (july, 10, 0)]);
}

#[test]
fn a_bill_paid_in_time_gives_posted_damages_back() {
    let mut story = Story::with_june_bill();
    let (due, posted, heard) = (noon(7, 10), noon(7, 27), noon(7, 28));
    story.post_damages(200, posted);
    assert_eq!(story.owed(posted), 30_200);
    let mut unpaid = Story { customer: story.customer.clone(), banks: Banks::read("") };
    unpaid.pay(30_000, due, heard);
    assert_eq!((unpaid.owed(heard), unpaid.free(heard)), (0, vec![]));
    story.pay(200, posted, posted);
    assert_eq!(story.june(posted).paid.damages, 200);
    story.pay(30_000, due, heard);
    assert_eq!((story.owed(heard), story.free(heard)), (0, vec![(posted, 200, 0)]));
}

#[test]
fn of_posted_damages_the_latest_are_cut() {
    let mut story = Story::with_june_bill();
    story.post_damages(100, noon(7, 20));
    story.post_damages(150, noon(7, 31));
    assert_eq!(story.june(noon(7, 31)).charged.damages, 250);
    story.pay(15_000, noon(7, 20), noon(8, 1));
    // It pays 100 yen of damages, then principal: ten days of 30,000 and eleven of 15,100 come to 186.44 yen.
    let bill = story.june(noon(7, 31));
    assert_eq!((bill.accrued(), bill.charged.damages), (186, 186));
    story.pay(30_000, noon(7, 11), noon(8, 2));
    assert_eq!(story.june(noon(8, 2)).charged.damages, 12);
}

#[test]
fn late_fees_are_taken_back_and_what_was_paid_of_them_is_free() {
    let mut story = Story::with_june_bill();
    story.pay(100, noon(8, 11), noon(8, 11));
    assert_eq!(story.june(noon(8, 11)).paid.late_fees, 100);
    story.pay(30_000, noon(7, 9), noon(8, 12));
    assert_eq!((story.owed(noon(8, 12)), story.free(noon(8, 12))), (0, vec![(noon(8, 11), 100, 0)]));
}

#[test]
fn money_that_a_refund_frees_is_one_new_sum() {
    let mut story = Story::new();
    let sale = story.buy(Way::Online, 3_000, noon(6, 20));
    story.pay(1_000, noon(7, 2), noon(7, 2));
    story.pay(2_209, noon(7, 3), noon(7, 3));
    story.refund(sale, 1_200, noon(7, 4));
    assert_eq!(story.free(noon(7, 4)), [(noon(7, 4), 1_200, 0)]);
    // By the due date: the fee goes too.
    story.refund(sale, 1_800, noon(7, 10));
    assert_eq!(story.free(noon(7, 10)), [(noon(7, 4), 1_200, 0), (noon(7, 10), 2_009, 0)]);
    assert_eq!(story.june(noon(7, 10)).charged, Lines::default());
}

#[test]
fn money_that_a_refund_frees_meets_other_bills() {
    let mut story = Story::new();
    let sale = story.buy(Way::Np, 3_000, noon(6, 1));
    story.pay(3_000, noon(6, 2), noon(6, 2));
    let other = story.buy(Way::Np, 500, noon(6, 3));
    story.refund(sale, 600, noon(6, 4));
    let books = story.books(noon(6, 4));
    assert_eq!(books.bill(Key::Np(other)).unwrap().owed(), 0);
    assert_eq!(story.free(noon(6, 4)), [(noon(6, 4), 100, 0)]);
}

#[test]
fn a_cancel_gives_money_back_to_its_sums() {
    let mut story = Story::new();
    story.pay(300, noon(6, 1), noon(6, 1));
    let sale = story.buy(Way::Np, 1_000, noon(6, 29));
    story.pay(900, noon(6, 30), noon(6, 30));
    assert_eq!(story.free(noon(6, 30)), [(noon(6, 30), 200, 0)]);
    story.cancel(sale, noon(6, 30));
    assert_eq!(story.free(noon(6, 30)), [(noon(6, 1), 300, 0), (noon(6, 30), 900, 0)]);
}

#[test]
fn a_cancel_after_midnight_empties_the_month_s_bill() {
    let mut story = Story::new();
    let sale = story.buy(Way::InStore, 1_000, noon(6, 30));
    let paid = start_of(date(JUNE + 1, 1)) + MINUTE;
    story.pay(1_209, paid, paid);
    assert_eq!((story.owed(paid), story.free(paid)), (0, vec![]));
    story.cancel(sale, paid + 10 * MINUTE);
    let books = story.books(paid + 10 * MINUTE);
    assert!(books.bills.is_empty(), "{books:?}");
    assert_eq!(story.free(paid + 10 * MINUTE), [(paid, 1_209, 0)]);
}

#[test]
fn credit_of_three_days_is_not_that_of_three_months() {
    let mut story = Story::new();
    story.pay(1, noon(6, 20), noon(6, 20));
    story.pay(5_000, noon(9, 17), noon(9, 17));
    story.sweep(noon(9, 19));
    assert_eq!(story.books(noon(9, 19)).payout_due(), 0);
    story.sweep(noon(9, 20));
    assert_eq!(story.free(noon(9, 20)), [(noon(6, 20), 1, 1), (noon(9, 17), 5_000, 0)]);
}

#[test]
fn as_much_as_unbilled_usage_is_kept_back() {
    let mut story = Story::new();
    story.pay(1_000, noon(6, 1), noon(6, 1));
    let sale = story.buy(Way::Online, 300, noon(9, 1));
    story.sweep(noon(9, 1));
    assert_eq!(story.free(noon(9, 1)), [(noon(6, 1), 1_000, 700)]);
    assert_eq!(story.books(noon(9, 1)).credit_to_spare(&story.customer, noon(9, 1)), 0);
    // A debt takes what is due first, as a payout does.
    story.buy(Way::Np, 100, noon(9, 2));
    assert_eq!(story.free(noon(9, 2)), [(noon(6, 1), 900, 600)]);
    story.pay_out(550, noon(9, 3));
    assert_eq!(story.free(noon(9, 3)), [(noon(6, 1), 350, 50)]);
    story.refund(sale, 200, noon(9, 4));
    story.sweep(noon(9, 4));
    assert_eq!(story.free(noon(9, 4)), [(noon(6, 1), 350, 250)]);
}

#[test]
fn the_surplus_of_a_closed_customer_is_due_at_once() {
    let mut story = Story::with_june_bill();
    story.customer.is_closed = true;
    story.pay(31_000, noon(7, 2), noon(7, 5));
    story.sweep(noon(7, 5));
    assert_eq!(story.free(noon(7, 5)), [(noon(7, 2), 1_000, 1_000)]);
    story.customer.is_closed = false;
    story.pay(10, noon(7, 6), noon(7, 6));
    assert_eq!((story.books(noon(7, 6)).payout_due(), story.books(noon(7, 6)).credit()), (1_000, 10));
}

#[test]
fn what_is_due_meets_a_new_debt() {
    let mut story = Story::new();
    story.pay(1_000, noon(3, 1), noon(3, 1));
    story.sweep(noon(6, 1));
    assert_eq!(story.books(noon(6, 1)).payout_due(), 1_000);
    story.buy(Way::Np, 400, noon(6, 2));
    assert_eq!(story.free(noon(6, 2)), [(noon(3, 1), 600, 600)]);
}

#[test]
fn a_payout_stays_whatever_is_heard_later() {
    let mut story = Story::new();
    story.pay(1_000, noon(6, 5), noon(6, 5));
    story.pay_out(600, noon(6, 6));
    story.pay(500, noon(6, 4), noon(6, 7));
    assert_eq!(story.free(noon(6, 7)), [(noon(6, 5), 900, 0)]);
    assert_eq!(story.books(noon(6, 7)).paid_out, 600);
}

/// Principal of the older bill, its fee, then the next bill.
#[test]
fn money_on_an_old_slip_goes_bill_by_bill() {
    let mut story = Story::new();
    story.buy(Way::Online, 1_000, noon(6, 20));
    story.buy(Way::Np, 500, noon(7, 1));
    story.hear(noon(7, 16), Fact::Paid { amount: 1_150, principal_first: true }, noon(7, 16));
    let paid = Lines { principal: 1_000, bill_fee: 150, ..Lines::default() };
    assert_eq!((story.june(noon(7, 16)).paid, story.owed(noon(7, 16))), (paid, 559));
}

#[test]
fn news_lifts_overdue_and_fees_but_gives_no_room() {
    let mut story = Story::with_june_bill();
    let (heard, expires_at) = (noon(8, 12), noon(8, 13));
    let news = Pending { id: 1, amount: 30_000, paid_at: noon(7, 10), expires_at, settled: false };
    story.customer.pending.push(news);
    let (books, as_if) = story.customer.books(heard, &story.banks);
    assert_eq!((books.bills[0].owed(), as_if.bills[0].owed()), (30_000, 0));
    assert_eq!(books.exposure(&story.customer, heard).total, 30_000);
    assert_eq!(story.owed(expires_at), 30_100);
    assert!(story.june(expires_at + DAY).is_overdue(date(JUNE + 2, 14)));
}

#[test]
fn a_payout_that_bounces_was_away_in_between() {
    let mut story = Story::new();
    story.pay(1_000, noon(3, 1), noon(3, 1));
    story.sweep(noon(6, 1));
    story.pay(200, noon(6, 2), noon(6, 2));
    let payout = story.pay_out(1_100, noon(6, 3));
    story.buy(Way::Np, 500, noon(6, 4));
    story.hear(noon(6, 25), Fact::Bounced { payout }, noon(6, 25));
    // The 100 that were there met the invoice at once; of what came back the oldest sum does, and of it what was due.
    assert_eq!((story.owed(noon(6, 20)), story.owed(noon(6, 25))), (400, 0));
    assert_eq!(story.free(noon(6, 25)), [(noon(3, 1), 600, 600), (noon(6, 2), 100, 0)]);
    assert_eq!(story.books(noon(6, 25)).paid_out, 0);
    // Due on the 18th: the 400 were late from the 19th to the 25th, and are so still after news of another payment.
    let np = Key::Np(0);
    assert_eq!(story.books(noon(6, 25)).bill(np).unwrap().yen_days, 7 * 400);
    story.pay(100, noon(6, 10), noon(6, 26));
    assert_eq!(story.books(noon(6, 26)).bill(np).unwrap().yen_days, 7 * 300);
}

#[test]
fn a_reversal_counts_from_its_own_moment() {
    let mut story = Story::with_june_bill();
    let of = story.pay(30_500, noon(7, 9), noon(7, 9));
    story.hear(noon(8, 20), Fact::Reversed { of, amount: 20_500 }, noon(8, 20));
    // The 500 of credit, then principal; the fee of August 10th and the damages until the 20th are not charged.
    let bill = story.june(noon(8, 20));
    assert_eq!((bill.open(), bill.owed(), bill.yen_days), (20_000, 20_000, 0));
    assert!(bill.is_overdue(date(JUNE + 2, 20)));
    assert_eq!(story.june(noon(8, 25)).charged.late_fees, 100);
    assert_eq!(story.june(noon(8, 25)).yen_days, 5 * 20_000);
    assert_eq!((story.free(noon(8, 20)), story.books(noon(8, 20)).reversed), (vec![], 20_500));
}

#[test]
fn what_was_paid_out_is_not_taken_back() {
    let mut story = Story::new();
    let first = story.pay(300, noon(6, 1), noon(6, 1));
    let second = story.pay(400, noon(6, 2), noon(6, 2));
    story.pay_out(500, noon(6, 3));
    let books = story.books(noon(6, 3));
    assert_eq!((books.reversible(first), books.reversible(second)), (0, 200));
    story.hear(noon(6, 4), Fact::Reversed { of: second, amount: 200 }, noon(6, 4));
    // Older money comes to be what was paid out, and what is taken back stays taken back.
    story.pay(1_000, noon(5, 1), noon(6, 5));
    assert_eq!(story.free(noon(6, 5)), [(noon(5, 1), 500, 0), (noon(6, 1), 300, 0), (noon(6, 2), 200, 0)]);
}

#[test]
fn what_was_taken_back_of_a_bill_is_not_there_to_be_taken_again() {
    let mut story = Story::new();
    story.buy(Way::Np, 6_000, noon(6, 1));
    let of = story.pay(8_000, noon(6, 2), noon(6, 2));
    story.pay_out(2_000, noon(6, 3));
    story.hear(noon(6, 4), Fact::Reversed { of, amount: 3_000 }, noon(6, 4));
    let other = story.pay(3_000, noon(6, 5), noon(6, 5));
    let books = story.books(noon(6, 5));
    assert_eq!((books.reversible(of), books.reversible(other)), (3_000, 3_000));
}

#[test]
fn a_reversal_follows_what_a_refund_set_free() {
    let mut story = Story::new();
    let sale = story.buy(Way::Np, 3_000, noon(6, 1));
    let of = story.pay(3_000, noon(6, 2), noon(6, 2));
    let other = story.buy(Way::Np, 500, noon(6, 3));
    story.refund(sale, 600, noon(6, 4));
    assert_eq!(story.books(noon(6, 4)).reversible(of), 3_000);
    story.hear(noon(6, 5), Fact::Reversed { of, amount: 3_000 }, noon(6, 5));
    let books = story.books(noon(6, 5));
    assert_eq!((books.bill(Key::Np(sale)).unwrap().owed(), books.bill(Key::Np(other)).unwrap().owed()), (2_400, 500));
    assert_eq!(story.free(noon(6, 5)), []);
}

#[test]
fn waived_fees_meet_other_debts_and_are_charged_never_again() {
    let mut story = Story::with_june_bill();
    let june = Key::Month(JUNE);
    story.hear(noon(7, 5), Fact::Waived { bill: june, late: None }, noon(7, 5));
    let bill = story.june(noon(7, 5));
    assert_eq!((bill.charged.bill_fee, bill.paid.principal, bill.owed()), (0, 209, 29_791));
    let late = Some(date(JUNE + 2, 10));
    story.hear(noon(8, 11), Fact::Waived { bill: june, late }, noon(8, 11));
    assert_eq!((story.june(noon(8, 11)).charged.late_fees, story.june(noon(8, 25)).charged.late_fees), (0, 100));
    story.pay(1_000, noon(7, 30), noon(8, 26));
    assert_eq!(story.june(noon(8, 26)).charged.late_fees, 100);
}

#[test]
fn a_waived_fee_that_was_paid_is_a_sum_of_that_day() {
    let mut story = Story::with_june_bill();
    story.pay(30_000, noon(7, 2), noon(7, 2));
    story.hear(noon(7, 5), Fact::Waived { bill: Key::Month(JUNE), late: None }, noon(7, 5));
    assert_eq!(story.free(noon(7, 5)), [(noon(7, 5), 209, 0)]);
}

#[test]
fn damages_that_were_taken_back_can_be_posted_again() {
    let mut story = Story::with_june_bill();
    let posting = story.post_damages(200, noon(7, 27));
    story.pay(30_200, noon(7, 28), noon(7, 28));
    let back = Fact::DamagesReversed { bill: Key::Month(JUNE), posting };
    story.hear(noon(7, 30), back, noon(7, 30));
    assert_eq!((story.june(noon(7, 30)).charged.damages, story.free(noon(7, 30))), (0, vec![(noon(7, 30), 200, 0)]));
    // 18 days until the 28th came to 216; more is never posted.
    story.post_damages(500, noon(8, 1));
    assert_eq!((story.june(noon(8, 1)).charged.damages, story.owed(noon(8, 1))), (216, 16));
}

#[test]
fn a_bill_that_was_given_up_accrues_nothing_and_stays_overdue_until_it_is_released() {
    let mut story = Story::with_june_bill();
    let june = Key::Month(JUNE);
    story.hear(noon(7, 20), Fact::WrittenOff { bill: june }, noon(7, 20));
    let bill = story.june(noon(9, 1));
    assert_eq!((bill.yen_days, bill.charged.late_fees), (10 * 30_000, 0));
    assert!(bill.is_overdue(date(JUNE + 3, 1)));
    let exposure = |story: &Story, now| {
        let exposure = story.books(now).exposure(&story.customer, now);
        (exposure.total, exposure.billed, exposure.written_off)
    };
    assert_eq!(exposure(&story, noon(9, 1)), (30_000, 0, 30_000));
    // Recovered, before and after the release.
    story.pay(4_000, noon(9, 2), noon(9, 2));
    assert_eq!(exposure(&story, noon(9, 2)), (26_000, 0, 26_000));
    story.hear(noon(9, 3), Fact::Released { bill: june }, noon(9, 3));
    assert_eq!((exposure(&story, noon(9, 3)), story.owed(noon(9, 3))), ((0, 0, 0), 0));
    assert!(!story.june(noon(9, 3)).is_overdue(date(JUNE + 3, 3)));
    story.pay(1_000, noon(9, 1), noon(9, 4));
    assert_eq!((story.june(noon(9, 4)).paid.principal, story.free(noon(9, 4))), (5_000, vec![]));
    story.pay(700, noon(9, 4), noon(9, 5));
    assert_eq!(story.free(noon(9, 5)), [(noon(9, 4), 700, 0)]);
    // A refund takes from what was released; only then is it money.
    story.refund(0, 25_000, noon(9, 6));
    assert_eq!(story.free(noon(9, 6)), [(noon(9, 4), 700, 0)]);
    story.refund(0, 1_000, noon(9, 7));
    assert_eq!(story.free(noon(9, 7)), [(noon(9, 4), 700, 0), (noon(9, 7), 1_000, 0)]);
}

#[test]
fn credit_on_an_open_month_lowers_exposure_and_its_bill() {
    let mut story = Story::new();
    story.pay(1_500, noon(6, 1), noon(6, 1));
    let first = story.buy(Way::InStore, 1_000, noon(6, 10));
    story.buy(Way::Online, 500, noon(6, 11));
    story.hear(noon(6, 12), Fact::Applied { amount: 1_200 }, noon(6, 12));
    let exposure = story.books(noon(6, 12)).exposure(&story.customer, noon(6, 12));
    assert_eq!((exposure.total, exposure.in_store, exposure.unbilled), (300, 0, 300));
    assert_eq!(story.free(noon(6, 12)), [(noon(6, 1), 300, 0)]);
    // 800 are left of the month.
    story.refund(first, 700, noon(6, 13));
    assert_eq!(story.free(noon(6, 13)), [(noon(6, 1), 700, 0)]);
    assert_eq!(story.books(noon(6, 13)).exposure(&story.customer, noon(6, 13)).total, 0);
    story.buy(Way::Online, 50, noon(6, 14));
    assert_eq!(story.books(noon(6, 14)).exposure(&story.customer, noon(6, 14)).total, 50);
    let july = start_of(date(JUNE + 1, 1));
    assert_eq!((story.june(july).paid.principal, story.owed(july)), (850, 0));
    assert_eq!(story.free(july), [(noon(6, 1), 700 - 50 - 209, 0)]);
}

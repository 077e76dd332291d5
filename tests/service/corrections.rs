//! What staff corrects, by HTTP on the real binary: a repayment booked by mistake, fees and damages that are not to be paid,
//! bills given up, credit put on a month that is still open. Each figure follows from the rules, none from the server.

use std::process::Command;

use serde_json::{Value, json};

use super::money::{House, number, text};
use super::server::{Answer, BINARY};

impl House {
    fn corrects(&mut self, customer: &str, call: &str, more: &Value) -> Answer {
        let mut body = json!({"by": "tanaka", "reason": "二重入金のため"});
        more.as_object().expect("fields").iter().for_each(|(name, value)| body[name] = value.clone());
        self.office(customer, call, &body)
    }

    fn corrected(&mut self, customer: &str, call: &str, more: &Value) -> Value {
        let answer = self.corrects(customer, call, more);
        assert_eq!(answer.status, 200, "{call}: {answer:?}");
        answer.json()
    }

    fn refused(&mut self, customer: &str, call: &str, more: &Value) -> (u16, String, Value) {
        let answer = self.corrects(customer, call, more);
        let problem = answer.json();
        (answer.status, text(&problem["reason"]).to_owned(), problem)
    }

    /// Status, principal, bill fee, late fees, posted damages, paid, written off and what is due.
    fn bill(&mut self, customer: &str) -> (String, [u64; 7]) {
        let bill = self.statement(customer, "2021-06");
        let names = ["principal", "bill_fee", "late_fees", "damages_posted", "paid", "written_off", "total_due"];
        let sums = names.map(|name| number(&bill[name]));
        let [principal, bill_fee, late_fees, damages, paid, written_off, due] = sums;
        assert_eq!(principal + bill_fee + late_fees + damages, paid + written_off + due, "{bill}");
        let rows = bill["payments"].as_array().expect("rows").iter();
        let rows: i64 = rows.map(|row| row["amount"].as_i64().expect("an amount")).sum();
        assert_eq!(rows, i64::try_from(paid).expect("yen"), "{bill}");
        (text(&bill["status"]).to_owned(), sums)
    }

    /// A repayment, told later than it was made.
    fn repaid_on(&mut self, customer: &str, id: &str, amount: u64, paid_at: &str) -> Value {
        let paid_at = format!("{paid_at}:00+09:00");
        let told =
            self.office(customer, "repayments", &json!({"repayment_id": id, "amount": amount, "paid_at": paid_at}));
        assert_eq!(told.status, 200, "{told:?}");
        told.json()
    }

    fn exposure(&mut self, customer: &str) -> [u64; 4] {
        let standing = self.standing(customer);
        ["total", "unbilled", "billed", "written_off"].map(|name| number(&standing["exposure"][name]))
    }
}

/// The ledger agrees with the journal, sum by sum.
fn agrees(house: &House) {
    let verify = Command::new(BINARY).args(["verify", "--sandbox", "--data"]).arg(&house.server.data).output();
    let verify = verify.expect("verify runs");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}

fn shown(status: &str, sums: [u64; 7]) -> (String, [u64; 7]) {
    (status.to_owned(), sums)
}

/// 30,000 yen of June: 30,209 are due on July 10.
fn with_a_june_bill() -> House {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.buy("2000", "online", 30_000);
    house.at("2021-07-05");
    house
}

#[test]
fn a_repayment_booked_by_mistake_is_taken_back_from_now_on() {
    let mut house = with_a_june_bill();
    house.repay("2000", "P-1", 30_209);
    assert_eq!(house.bill("2000"), shown("paid", [30_000, 209, 0, 0, 30_209, 0, 0]));
    house.at("2021-07-20");
    let unknown = house.refused("2000", "repayments/P-9/reversal", &json!({}));
    assert_eq!((unknown.0, unknown.1.as_str()), (404, "payment_unknown"));
    let too_much = house.refused("2000", "repayments/P-1/reversal", &json!({"amount": 30_210}));
    assert_eq!((too_much.0, too_much.1.as_str()), (422, "over_repayment"));
    let nameless = house.office("2000", "repayments/P-1/reversal", &json!({"reason": "x"}));
    assert_eq!((nameless.status, &nameless.json()["errors"][0]["pointer"]), (422, &json!("/by")), "{nameless:?}");

    let back = house.corrected("2000", "repayments/P-1/reversal", &json!({}));
    assert_eq!(back["moved"], json!([{"from": "2021-06", "to": "reversal", "amount": 30_209}]));
    assert_eq!((&back["amount"], &back["blocked_by"]), (&json!(30_209), &json!("overdue")), "{back}");
    assert_eq!((&back["by"], &back["key"]), (&json!("tanaka"), &json!("sandbox-office")));
    assert_eq!(house.bill("2000"), shown("overdue", [30_000, 209, 0, 0, 0, 0, 30_209]));
    assert_eq!(house.statement("2000", "2021-06")["damages"], 0, "until now it counted as paid");
    house.at("2021-07-21");
    assert_eq!(house.statement("2000", "2021-06")["damages"], 12, "a day of 30,000");
    house.again();
    assert_eq!(house.corrected("2000", "repayments/P-1/reversal", &json!({}))["replayed"], true);
    let other = house.refused("2000", "repayments/P-1/reversal", &json!({"amount": 5}));
    assert_eq!((other.0, other.1.as_str()), (409, "id_reused"));
    let repayments = house.read("2000", "repayments");
    let lies = &repayments["repayments"][0]["lies"];
    assert_eq!((&lies["reversed"], &lies["settled"]), (&json!(30_209), &json!(0)), "{repayments}");
    agrees(&house);
}

#[test]
fn what_went_back_to_the_customer_is_not_taken_back() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.repay("2001", "Q-1", 1_000);
    let paid = house.office("2001", "payouts", &json!({"payout_id": "O-1", "amount": 600}));
    assert_eq!(paid.status, 200, "{paid:?}");
    let (status, reason, problem) = house.refused("2001", "repayments/Q-1/reversal", &json!({}));
    assert_eq!((status, reason.as_str()), (409, "already_paid_out"), "{problem}");
    assert_eq!((&problem["already_paid_out"], &problem["reversible"]), (&json!(600), &json!(400)));
    let back = house.corrected("2001", "repayments/Q-1/reversal", &json!({"amount": 400}));
    assert_eq!((&back["credit"], &back["payout_due"]), (&json!(0), &json!(0)));
    assert_eq!(back["moved"], json!([{"from": "credit", "to": "reversal", "amount": 400}]));
    agrees(&house);
}

#[test]
fn fees_are_waived_damages_reversed_and_a_bill_is_given_up_and_released() {
    let mut house = with_a_june_bill();
    house.at("2021-08-10");
    let fee = "fees/fee_2021-06_2021-08-10/waiver";
    assert_eq!(house.bill("2000"), shown("overdue", [30_000, 209, 100, 0, 0, 0, 30_309]));
    for (wrong, status, reason) in [
        ("fees/fee_2021-06_2021-08-25/waiver", 404, "fee_unknown"),
        ("fees/fee_2021-05/waiver", 404, "bill_unknown"),
        ("fees/late/waiver", 400, "malformed"),
        ("damages/D-1/reversal", 404, "posting_unknown"),
        ("write-offs/W-1/release", 404, "write_off_unknown"),
    ] {
        let refused = house.refused("2000", wrong, &json!({}));
        assert_eq!((refused.0, refused.1.as_str()), (status, reason), "{wrong}");
    }
    let waived = house.corrected("2000", fee, &json!({}));
    assert_eq!((&waived["fee_id"], &waived["amount"]), (&json!("fee_2021-06_2021-08-10"), &json!(100)));
    assert_eq!((&waived["bill"], &waived["replayed"]), (&json!("2021-06"), &json!(false)));
    assert_eq!(house.corrected("2000", fee, &json!({}))["replayed"], true);
    assert_eq!(house.bill("2000"), shown("overdue", [30_000, 209, 0, 0, 0, 0, 30_209]));
    house.corrected("2000", "fees/fee_2021-06/waiver", &json!({}));
    house.at("2021-08-25");
    assert_eq!(
        house.bill("2000"),
        shown("overdue", [30_000, 0, 100, 0, 0, 0, 30_100]),
        "a waived fee never comes back"
    );
    let fees = house.statement("2000", "2021-06")["fees"].clone();
    let fees = fees.as_array().expect("rows").iter().map(|fee| (text(&fee["fee_id"]), fee["waived"] == true));
    let listed: Vec<_> = fees.collect();
    let expected = [("fee_2021-06_2021-08-25", false), ("fee_2021-06_2021-08-10", true), ("fee_2021-06", true)];
    assert!(listed.len() == 3 && expected.iter().all(|fee| listed.contains(fee)), "{listed:?}");

    // 46 days of 30,000 yen.
    let posted = house.office("2000", "damages", &json!({"posting_id": "D-1", "bill": "2021-06", "amount": 552}));
    assert_eq!(posted.status, 200, "{posted:?}");
    assert_eq!(house.bill("2000").1[3..], [552, 0, 0, 30_652]);
    let reversed = house.corrected("2000", "damages/D-1/reversal", &json!({}));
    assert_eq!((&reversed["amount"], &reversed["posting_id"]), (&json!(552), &json!("D-1")));
    assert_eq!(house.bill("2000").1[3..], [0, 0, 0, 30_100]);

    let given_up = house.corrected("2000", "write-offs", &json!({"write_off_id": "W-1", "bill": "2021-06"}));
    assert_eq!((&given_up["amount"], &given_up["blocked_by"]), (&json!(30_100), &json!("overdue")), "{given_up}");
    let twice = house.refused("2000", "write-offs", &json!({"write_off_id": "W-2", "bill": "2021-06"}));
    assert_eq!((twice.0, twice.1.as_str()), (409, "already_written_off"));
    house.at("2021-10-10");
    assert_eq!(house.bill("2000"), shown("written_off", [30_000, 0, 100, 0, 0, 30_100, 0]), "no fee since");
    assert_eq!(house.statement("2000", "2021-06")["damages"], 552, "nor damages");
    assert_eq!(house.exposure("2000"), [30_000, 0, 0, 30_000]);
    house.repay("2000", "P-1", 10_100);
    assert_eq!(house.bill("2000"), shown("written_off", [30_000, 0, 100, 0, 10_100, 20_000, 0]));
    assert_eq!(house.exposure("2000"), [20_000, 0, 0, 20_000]);
    house.again();
    let released = house.corrected("2000", "write-offs/W-1/release", &json!({}));
    assert_eq!((&released["amount"], &released["blocked_by"]), (&json!(20_000), &json!(null)), "{released}");
    assert_eq!(house.exposure("2000"), [0, 0, 0, 0]);
    assert_eq!(house.bill("2000"), shown("written_off", [30_000, 0, 100, 0, 10_100, 20_000, 0]));
    // Money that comes now is credit.
    let credit = house.repay("2000", "P-2", 500);
    assert_eq!(credit["credit"], 500, "{credit}");
    // The news is from before the release: it pays the bill first, and less was released.
    let told = json!({"repayment_id": "P-3", "amount": 5_000, "paid_at": "2021-10-09T12:00:00+09:00"});
    let late = house.office("2000", "repayments", &told).json();
    let applied = &late["applied"][0];
    assert_eq!((&applied["late_fees"], &applied["principal"]), (&json!(100), &json!(4_900)), "{late}");
    assert_eq!(house.bill("2000"), shown("written_off", [30_000, 0, 100, 0, 15_100, 15_000, 0]));
    assert_eq!(house.exposure("2000"), [0, 0, 0, 0]);
    agrees(&house);
}

#[test]
fn credit_on_an_open_month_lowers_exposure_at_once_and_comes_back() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.repay("2000", "C-1", 5_000);
    let sale = house.buy("2000", "online", 3_000);
    assert_eq!(house.exposure("2000"), [3_000, 3_000, 0, 0], "credit gives no room by itself");
    let apply = |id: &str, amount: u64| json!({"application_id": id, "amount": amount, "bill": "2021-06"});
    let done = house.office("2000", "credit/applications", &apply("A-1", 2_000)).json();
    assert_eq!((&done["credit"], &done["spendable"]["online"]), (&json!(3_000), &json!(49_000)), "{done}");
    assert_eq!(house.exposure("2000"), [1_000, 1_000, 0, 0]);
    for (amount, reason) in [(3_001, "over_credit"), (1_001, "over_usage")] {
        let refused = house.office("2000", "credit/applications", &apply("A-2", amount)).json();
        assert_eq!(refused["reason"], reason, "{amount}");
    }
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": sale["order_id"]});
    let undone = house.client.send("register", "POST", "/v1/cancellations", &cancel).json();
    assert_eq!(undone["action"], "reversed", "{undone}");
    assert_eq!(house.exposure("2000"), [0, 0, 0, 0]);
    assert_eq!(house.read("2000", "credit")["credit"], 5_000);
    house.at("2021-07-02");
    let closed = house.office("2000", "credit/applications", &apply("A-3", 1)).json();
    assert_eq!(closed["reason"], "not_an_open_month", "{closed}");
    agrees(&house);
}

#[test]
fn what_was_taken_back_lies_nowhere_any_more() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let invoice = house.buy("2001", "np_atobarai", 2_000)["authorization_id"].clone();
    house.repay("2001", "Z-1", 800);
    house.repay("2001", "Z-2", 1_200);
    house.corrected("2001", "repayments/Z-2/reversal", &json!({}));
    for day in ["2021-06-15T01:00:00.000", "2022-01-15"] {
        house.at(day);
        let shown = house.read("2001", "repayments");
        let lies = |at: usize| &shown["repayments"][at]["lies"];
        assert_eq!((&lies(0)["on_bills"], &lies(0)["reversed"]), (&json!([]), &json!(1_200)), "{shown}");
        assert_eq!((&lies(0)["settled"], &lies(1)["on_bills"][0]["principal"]), (&json!(0), &json!(800)), "{shown}");
    }
    let bill = house.statement("2001", text(&invoice));
    let rows = bill["payments"].as_array().expect("rows").iter();
    let back = rows.filter(|row| row["moved_to"] == "reversal").map(|row| (&row["repayment_id"], &row["amount"]));
    assert_eq!(back.collect::<Vec<_>>(), [(&json!("Z-2"), &json!(-1_200))], "{bill}");
}

/// The fee is taken out of the books once, whoever waived it first.
#[test]
fn a_bill_fee_that_staff_waived_is_not_waived_again_by_a_refund() {
    let waive = |house: &mut House| house.corrected("2000", "fees/fee_2021-06/waiver", &json!({}));
    let refund = |house: &mut House, order: &str| {
        let path = format!("/v1/authorizations/{order}/refunds");
        let answer = house.client.send("office", "POST", &path, &json!({"refund_id": "F-1", "amount": 1_000}));
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    for story in [
        "waived, then refunded in time",
        "paid, waived, refunded in time",
        "refunded late, then waived",
        "refunded in time, so that there is none to waive",
    ] {
        let mut house = House::born("2021-06-15T00:00:00+09:00");
        let sale = house.bought("2000", "online", 1_000);
        let order = text(&sale["authorization_id"]);
        house.at("2021-07-02");
        if story.starts_with("paid") {
            house.repay("2000", "P-1", 1_209);
        }
        if story.contains("late") {
            house.at("2021-07-12");
            refund(&mut house, order);
            waive(&mut house);
        } else if story.starts_with("refunded") {
            refund(&mut house, order);
            let refused = house.refused("2000", "fees/fee_2021-06/waiver", &json!({}));
            assert_eq!((refused.0, refused.1.as_str()), (409, "already_waived"), "{story}");
        } else {
            waive(&mut house);
            refund(&mut house, order);
        }
        assert_eq!(house.bill("2000").1, [0; 7], "{story}");
        agrees(&house);
        house.again();
        house.at("2021-08-01");
        agrees(&house);
    }
}

/// A payment, and where it lies: on bills by name; credit, owed in cash, paid out, taken back.
type Lies = (String, Vec<(String, u64)>, [u64; 4]);

/// All of a customer's, the oldest first.
fn lies(house: &mut House, customer: &str) -> Vec<Lies> {
    let shown = house.read(customer, "repayments");
    let of_one = |paid: &Value| {
        let lies = &paid["lies"];
        let rest = ["credit", "payout_due", "paid_out", "reversed"].map(|name| number(&lies[name]));
        let lines = ["principal", "bill_fee", "late_fees", "damages"];
        let bills = lies["on_bills"].as_array().expect("bills").iter().map(|bill| {
            assert_eq!(bill["month"].is_null(), text(&bill["bill"]).starts_with("aut_"), "{shown}");
            (text(&bill["bill"]).to_owned(), lines.map(|line| number(&bill[line])).iter().sum::<u64>())
        });
        let bills: Vec<_> = bills.collect();
        let on_bills: u64 = bills.iter().map(|(_, amount)| amount).sum();
        assert_eq!(on_bills + rest.iter().sum::<u64>(), number(&paid["amount"]), "{shown}");
        assert_eq!(lies["settled"], 0, "{shown}");
        (text(&paid["repayment_id"]).to_owned(), bills, rest)
    };
    shown["repayments"].as_array().expect("repayments").iter().rev().map(of_one).collect()
}

fn on(bill: &str, amount: u64) -> Vec<(String, u64)> {
    vec![(bill.to_owned(), amount)]
}

impl House {
    fn refund(&mut self, sale: &Value, id: &str, amount: u64) {
        let path = format!("/v1/authorizations/{}/refunds", text(&sale["authorization_id"]));
        let answer = self.client.send("office", "POST", &path, &json!({"refund_id": id, "amount": amount}));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn no_damages_are_posted_on_a_bill_that_was_given_up() {
    let mut house = with_a_june_bill();
    house.at("2021-08-05");
    house.corrected("2000", "write-offs", &json!({"write_off_id": "W-1", "bill": "2021-06"}));
    let posting = json!({"posting_id": "D-1", "bill": "2021-06", "amount": 10});
    let refused = house.office("2000", "damages", &posting);
    assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("already_written_off")), "{refused:?}");
    agrees(&house);
}

#[test]
fn what_cannot_be_corrected_says_why() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    for who in ["2000", "2001", "2002"] {
        house.bought(who, "online", 3_000);
    }
    let sale = house.bought("2003", "online", 3_000);
    house.at("2021-07-05");
    house.repay("2000", "P-1", 3_209);
    let body = json!({"refund_id": "F-1", "amount": 3_000});
    let path = format!("/v1/authorizations/{}/refunds", text(&sale["authorization_id"]));
    assert_eq!(house.client.send("office", "POST", &path, &body).status, 200);
    house.bought("2000", "online", 1_000);
    let write_off = |bill: &str| json!({"write_off_id": "W-1", "bill": bill});
    for (who, call, more, status, reason, words) in [
        ("2000", "fees/fee_2021-07/waiver", json!({}), 404, "bill_unknown", "not billed yet"),
        ("2000", "fees/fee_2021-05/waiver", json!({}), 404, "bill_unknown", "nothing was bought"),
        ("2000", "fees/fee_2021-06_2021-08-10/waiver", json!({}), 404, "fee_unknown", "No such fee"),
        ("2003", "fees/fee_2021-06/waiver", json!({}), 409, "already_waived", "charged no longer"),
        ("2000", "write-offs", write_off("2021-07"), 404, "bill_unknown", "not billed yet"),
        ("2000", "write-offs", write_off("2021-06"), 409, "nothing_owed", "it is paid"),
    ] {
        let refused = house.refused(who, call, &more);
        assert_eq!((refused.0, refused.1.as_str()), (status, reason), "{who} {call}: {}", refused.2);
        assert!(text(&refused.2["detail"]).contains(words), "{who} {call}: {}", refused.2);
    }
    // A fee of a bill that is paid is waived like any other; once.
    let waived = house.corrected("2000", "fees/fee_2021-06/waiver", &json!({}));
    assert_eq!(waived["moved"], json!([{"from": "2021-06", "to": "credit", "amount": 209}]));
    let (status, reason, problem) = house.refused("2000", "fees/fee_2021-06/waiver", &json!({"reason": "another"}));
    assert_eq!((status, reason.as_str()), (409, "id_reused"));
    assert!(text(&problem["detail"]).starts_with("The fee was waived before"), "{problem}");
    // Also long after memory has let its bill go.
    house.at("2021-10-01");
    house.again();
    let refused = house.refused("2000", "write-offs", &write_off("2021-06"));
    assert_eq!((refused.0, refused.1.as_str()), (409, "nothing_owed"), "{}", refused.2);
    agrees(&house);
}

#[test]
fn money_that_a_waived_fee_sets_free_is_shown_on_the_lines_that_it_meets() {
    let mut house = with_a_june_bill();
    house.at("2021-08-20");
    house.repay("2000", "P-1", 309);
    let posted = house.office("2000", "damages", &json!({"posting_id": "D-1", "bill": "2021-06", "amount": 150}));
    assert_eq!(posted.status, 200, "{posted:?}");
    let waived = house.corrected("2000", "fees/fee_2021-06/waiver", &json!({}));
    let row = |to: &str, amount: u64| json!({"from": "2021-06", "to": "2021-06", "from_line": "bill_fee", "to_line": to, "amount": amount});
    assert_eq!(waived["moved"], json!([row("principal", 59), row("damages", 150)]), "{waived}");
    assert_eq!(house.bill("2000"), shown("overdue", [30_000, 0, 100, 150, 309, 0, 29_941]));
    let again = house.corrected("2000", "fees/fee_2021-06/waiver", &json!({}));
    assert_eq!((&again["moved"], &again["replayed"]), (&waived["moved"], &json!(true)));
    agrees(&house);
}

#[test]
fn whoever_of_the_staff_tells_of_a_block_damages_a_payout_or_a_withdrawal_is_recorded() {
    let mut house = with_a_june_bill();
    house.at("2021-08-10");
    house.repay("2001", "C-1", 1_000);
    let block = json!({"block_id": "B-1", "reason": "電話番号", "by": "tanaka"});
    assert_eq!(house.office("2000", "blocks", &block).status, 200);
    let listed = house.read("2000", "blocks")["blocks"][0].clone();
    assert_eq!((&listed["by"], &listed["key"]), (&json!("tanaka"), &json!("sandbox-office")), "{listed}");
    let expires_at = "2021-09-01T00:00:00+09:00";
    let pending = json!({"payment_id": "W-1", "amount": 500, "expires_at": expires_at});
    assert_eq!(house.office("2000", "payments-pending", &pending).status, 200);
    let damages = json!({"posting_id": "D-1", "bill": "2021-06", "amount": 10});
    let payout = json!({"payout_id": "O-1", "amount": 100});
    let kinds = ["block_released", "payment_withdrawn", "damages_posted", "paid_out"];
    for (who, call, more, kind) in [
        ("2000", "blocks/B-1/release", json!({}), kinds[0]),
        ("2000", "payments-pending/W-1/withdrawn", json!({}), kinds[1]),
        ("2000", "damages", damages.clone(), kinds[2]),
        ("2001", "payouts", payout, kinds[3]),
    ] {
        for replayed in [false, true] {
            let told = house.corrected(who, call, &more);
            assert_eq!((&told["by"], &told["reason"]), (&json!("tanaka"), &json!("二重入金のため")), "{told}");
            assert_eq!((&told["key"], &told["replayed"]), (&json!("sandbox-office"), &json!(replayed)), "{told}");
            house.again();
        }
        // What is not said is not compared.
        assert_eq!(house.office(who, call, &more).json()["replayed"], true, "{call}");
        let mut other = more.clone();
        other["reason"] = json!("another");
        let refused = house.refused(who, call, &other);
        assert_eq!((refused.0, refused.1.as_str()), (409, "id_reused"), "{call}");
        let page = house.client.get("ops", "/v1/events?after=1000&limit=1000").text;
        let event = page.lines().find(|line| line.contains(&format!("\"kind\":\"{kind}\""))).expect("its event");
        let event: Value = serde_json::from_str(event).expect("JSON");
        assert_eq!((&event["by"], &event["key"]), (&json!("tanaka"), &json!("sandbox-office")), "{event}");
    }
    // Nobody need be named.
    let plain = json!({"posting_id": "D-2", "bill": "2021-06", "amount": 10});
    let told = house.office("2000", "damages", &plain).json();
    assert_eq!((&told["replayed"], told.get("by")), (&json!(false), None), "{told}");
    agrees(&house);
}

#[test]
fn what_a_refund_set_free_and_was_taken_back_is_told_once() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let sale = house.buy("2000", "online", 8_000);
    house.at("2021-07-05");
    house.repay("2000", "2r", 8_000);
    house.at("2021-07-20");
    house.repay("2000", "3r", 209);
    house.refund(&sale, "F-1", 1_106);
    // The last 209 are too much first, then 897 of the first payment.
    let (first, second) =
        (("2r".to_owned(), on("2021-06", 7_103), [897, 0, 0, 0]), ("3r".to_owned(), vec![], [209, 0, 0, 0]));
    assert_eq!(lies(&mut house, "2000"), [first, second]);
    house.repay("2000", "4r", 9_000);
    house.corrected("2000", "repayments/2r/reversal", &json!({}));
    // 7,103 are owed again, and meet the oldest credit.
    let told = [
        ("2r".to_owned(), vec![], [0, 0, 0, 8_000]),
        ("3r".to_owned(), on("2021-06", 209), [0; 4]),
        ("4r".to_owned(), on("2021-06", 6_894), [2_106, 0, 0, 0]),
    ];
    assert_eq!(lies(&mut house, "2000"), told);
    for later in ["2021-09-01", "2023-03-01"] {
        house.at(later);
        assert_eq!(lies(&mut house, "2000")[..2], told[..2], "{later}");
        house.again();
    }
    agrees(&house);
}

#[test]
fn each_payment_names_its_bills_at_any_age_and_what_is_not_there() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.repay("2001", "C-1", 5_000);
    // It was credit first, and meets an invoice that is paid at once.
    let sale = house.buy("2001", "np_atobarai", 3_000);
    let invoice = text(&sale["authorization_id"]).to_owned();
    assert_eq!(lies(&mut house, "2001"), [("C-1".to_owned(), on(&invoice, 3_000), [2_000, 0, 0, 0])]);
    house.refund(&sale, "F-1", 500);
    assert_eq!(lies(&mut house, "2001"), [("C-1".to_owned(), on(&invoice, 2_500), [2_500, 0, 0, 0])]);
    assert_eq!(house.office("2001", "payouts", &json!({"payout_id": "O-1", "amount": 600})).status, 200);
    let told = [("C-1".to_owned(), on(&invoice, 2_500), [1_900, 0, 600, 0])];
    assert_eq!(lies(&mut house, "2001"), told);
    // Old credit is owed in cash; bills and payouts that memory has let go are named as before.
    for later in ["2022-06-15", "2024-01-15"] {
        house.at(later);
        house.again();
        let lies = lies(&mut house, "2001");
        let [credit, due, paid_out, reversed] = lies[0].2;
        assert_eq!((&lies[0].1, credit + due, paid_out, reversed), (&told[0].1, 1_900, 600, 0), "{later}");
    }
    house.office("2001", "payouts/O-1/bounced", &json!({"by": "tanaka", "reason": "no such account"}));
    let [credit, due, paid_out, _] = lies(&mut house, "2001")[0].2;
    assert_eq!((credit + due, paid_out), (2_500, 0));
    agrees(&house);
}

#[test]
fn a_repayment_is_taken_back_part_by_part() {
    let mut house = with_a_june_bill();
    house.repay("2000", "P-1", 30_209);
    let call = "repayments/P-1/reversal";
    let unknown = house.refused("2000", "repayments/P-9/reversal", &json!({}));
    assert!(text(&unknown.2["detail"]).contains("made no repayment"), "{}", unknown.2);
    let first = house.corrected("2000", call, &json!({"amount": 1_000}));
    assert_eq!((&first["repayment_id"], &first["reversal_id"]), (&json!("P-1"), &json!("P-1")), "{first}");
    assert_eq!(house.corrected("2000", call, &json!({"amount": 1_000}))["replayed"], true);
    // A whole one after a part is not told as done, and another part has an id of its own.
    for other in [json!({}), json!({"amount": 30_209}), json!({"amount": 2_000})] {
        let (status, reason, problem) = house.refused("2000", call, &other);
        assert_eq!((status, reason.as_str(), &problem["amount"]), (409, "id_reused", &json!(1_000)), "{other}");
    }
    let second = house.corrected("2000", call, &json!({"reversal_id": "V-1", "amount": 2_000}));
    assert_eq!((&second["reversal_id"], &second["replayed"]), (&json!("V-1"), &json!(false)), "{second}");
    let (status, reason, problem) = house.refused("2000", call, &json!({"reversal_id": "V-2", "amount": 30_209}));
    assert_eq!((status, reason.as_str()), (409, "already_paid_out"), "{problem}");
    let sums = ["already_paid_out", "already_reversed", "reversible"].map(|name| number(&problem[name]));
    assert_eq!(sums, [0, 3_000, 27_209], "{problem}");
    assert_eq!(lies(&mut house, "2000"), [("P-1".to_owned(), on("2021-06", 27_209), [0, 0, 0, 3_000])]);
    house.at("2022-01-10");
    house.again();
    let rest = house.corrected("2000", call, &json!({"reversal_id": "V-2"}));
    assert_eq!((&rest["amount"], &rest["replayed"]), (&json!(27_209), &json!(false)), "{rest}");
    assert_eq!(house.corrected("2000", call, &json!({"reversal_id": "V-2"}))["replayed"], true);
    let (status, _, problem) = house.refused("2000", call, &json!({"reversal_id": "V-3", "amount": 1}));
    assert_eq!((status, &problem["reversible"]), (409, &json!(0)), "{problem}");
    assert_eq!(lies(&mut house, "2000"), [("P-1".to_owned(), vec![], [0, 0, 0, 30_209])]);
    // Rows and entries name the repayment, whatever its reversal is called.
    let bill = house.statement("2000", "2021-06");
    let back = bill["payments"].as_array().expect("rows").iter().filter(|row| row["moved_to"] == "reversal");
    let back: Vec<_> = back.map(|row| (text(&row["repayment_id"]), row["amount"].as_i64().expect("yen"))).collect();
    assert_eq!(back, [("P-1", -1_000), ("P-1", -2_000), ("P-1", -27_209)], "{bill}");
    let ledger = rusqlite::Connection::open(house.server.data.join("ledger.db")).expect("a ledger");
    let sql = "SELECT sum(amount) FROM entries WHERE kind = 'reversal' AND repayment_id = 'P-1'";
    assert_eq!(ledger.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a sum"), 30_209);
    let sql = "SELECT count(DISTINCT cause_id) FROM entries WHERE kind = 'reversal'";
    assert_eq!(ledger.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count"), 3);
    agrees(&house);
}

/// A repeated call is answered as the first time, whatever has happened since; what counts now is not in it.
#[test]
fn a_replay_shows_the_first_answer() {
    let mut house = with_a_june_bill();
    house.repay("2001", "C-1", 9_000);
    house.at("2021-08-20");
    let staff = |more: Value| {
        let mut body = json!({"by": "tanaka", "reason": "r"});
        more.as_object().expect("fields").iter().for_each(|(name, value)| body[name] = value.clone());
        body
    };
    house.buy("2001", "online", 1_000);
    let calls = [
        ("2000", "damages", json!({"posting_id": "D-1", "bill": "2021-06", "amount": 50})),
        ("2000", "damages/D-1/reversal", staff(json!({}))),
        ("2000", "fees/fee_2021-06_2021-08-10/waiver", staff(json!({}))),
        ("2000", "write-offs", staff(json!({"write_off_id": "W-1", "bill": "2021-06"}))),
        ("2000", "write-offs/W-1/release", staff(json!({}))),
        ("2001", "payouts", json!({"payout_id": "O-1", "amount": 2_000})),
        ("2001", "credit/applications", json!({"application_id": "A-1", "amount": 300, "bill": "2021-08"})),
        ("2001", "repayments/C-1/reversal", staff(json!({"amount": 400}))),
        ("2001", "payouts/O-1/bounced", staff(json!({}))),
    ];
    let first: Vec<Value> = calls
        .iter()
        .map(|(who, call, body)| {
            let answer = house.office(who, call, body);
            assert_eq!(answer.status, 200, "{call}: {answer:?}");
            answer.json()
        })
        .collect();
    assert_eq!(["payout_due", "credit"].map(|name| number(&first[5][name])), [0, 7_000], "{}", first[5]);
    assert_eq!(number(&first[7]["credit"]), 9_000 - 2_000 - 300 - 400, "{}", first[7]);
    for round in 0..2 {
        house.repay("2000", &format!("Z-{round}"), 777);
        house.repay("2001", &format!("Y-{round}"), 777);
        for ((who, call, body), first) in calls.iter().zip(&first) {
            let mut expected = first.clone();
            expected["replayed"] = json!(true);
            for now in ["spendable", "blocked_by"] {
                expected.as_object_mut().expect("members").remove(now);
            }
            let mut again = house.office(who, call, body).json();
            if *call == "payouts" {
                again["bounced_at"] = json!(null);
            }
            assert_eq!(again, expected, "{call}");
        }
        house.at("2022-03-20");
        house.again();
    }
    agrees(&house);
}

/// Of a bill that was given up, money alone is recovered, and nobody is asked to pay it.
#[test]
fn what_is_waived_of_a_bill_that_was_given_up_is_given_up_no_more() {
    let mut house = with_a_june_bill();
    house.corrected("2000", "write-offs", &json!({"write_off_id": "W-1", "bill": "2021-06"}));
    assert_eq!(house.standing("2000")["next_bill"], json!(null));
    house.corrected("2000", "fees/fee_2021-06/waiver", &json!({}));
    house.repay("2000", "P-1", 1_000);
    let account = house.read("2000", "account?from=2021-06-01");
    let rows = account["movements"].as_array().expect("movements").iter();
    let given_up = rows.filter(|row| row["account"] == "written_off").map(|row| (text(&row["kind"]), &row["amount"]));
    let wanted = [("written_off", -30_209), ("written_off", 209), ("recovered", 1_000)];
    let given_up: Vec<_> = given_up.map(|(kind, amount)| (kind, amount.as_i64().expect("yen"))).collect();
    assert_eq!(given_up, wanted, "{account}");
    assert_eq!(house.bill("2000"), shown("written_off", [30_000, 0, 0, 0, 1_000, 29_000, 0]));
    agrees(&house);
}

/// Before the reversal the payment had put 500 on the invoice; the other 500 are credit. What went out and came back in between
/// is told once: the payout came back whole, and of other money no more is taken back than before.
#[test]
fn a_payment_is_told_once_where_a_payout_came_back() {
    let mut house = House::born("2021-07-28T09:00:00+09:00");
    let purchase = house.buy("2000", "np_atobarai", 1_000);
    let purchase = text(&purchase["authorization_id"]).to_owned();
    house.repaid_on("2000", "P-1", 1_200, "2021-07-02T12:00");
    house.repay("2000", "P-2", 600);
    house.at("2021-07-30");
    house.corrected("2000", "repayments/P-1/reversal", &json!({"reversal_id": "V-1", "amount": 700}));
    house.at("2021-08-01");
    let refund = json!({"refund_id": "R-1", "amount": 800});
    let refund = house.client.send("office", "POST", &format!("/v1/authorizations/{purchase}/refunds"), &refund);
    assert_eq!(refund.status, 200, "{refund:?}");
    house.repaid_on("2000", "P-3", 400, "2021-07-13T12:00");
    house.at("2021-08-02");
    house.corrected("2000", "repayments/P-3/reversal", &json!({"reversal_id": "V-2", "amount": 400}));
    house.at("2021-08-03");
    house.corrected("2000", "payouts", &json!({"payout_id": "O-1", "amount": 700}));
    house.at("2021-08-05");
    house.corrected("2000", "payouts/O-1/bounced", &json!({}));
    let before = number(&house.standing("2000")["credit"]);
    let told = house.repaid_on("2000", "P-0", 1_000, "2021-07-05T12:00");
    assert_eq!(told["applied"][0]["principal"], 500, "{told}");
    assert_eq!([&told["credit"], &told["payout_due"]], [500, 0], "{told}");
    let beside = |end: &str| {
        let moved = told["also_moved"].as_array().expect("rows").iter();
        moved.filter(|moved| moved[end] == "credit").map(|moved| number(&moved["amount"])).sum::<u64>()
    };
    assert_eq!(before + 500 + beside("to") - beside("from"), number(&house.standing("2000")["credit"]), "{told}");
    let repayments = house.read("2000", "repayments");
    let shown =
        repayments["repayments"].as_array().expect("repayments").iter().find(|paid| paid["repayment_id"] == "P-0");
    assert!(shown.is_some_and(|shown| (&shown["applied"], &shown["credit"]) == (&told["applied"], &told["credit"])));
    lies(&mut house, "2000");
    agrees(&house);
}

/// The last reversal takes money that stands in for its payment's in several places: of none more than is too much there.
#[test]
fn no_payout_is_told_where_none_was_made() {
    let mut house = House::born("2021-07-03T00:20:00+09:00");
    let back = |id: &str, amount: u64| json!({"reversal_id": id, "amount": amount});
    let profile = json!({"identity": "verified", "birth_date": "1980-01-01", "payment_method": "postcard",
        "limits": {"total": 1_000_000, "in_store": 500_000}});
    assert_eq!(house.client.send("office", "PUT", "/v1/customers/3000", &profile).status, 201);
    house.buy("3000", "online", 4_759);
    house.at("2021-07-13T14:00:00.000");
    let refunded = house.buy("3000", "online", 5_240);
    house.at("2021-07-15T02:00:00.000");
    house.repay("3000", "P-1", 2_100);
    house.at("2021-08-02T17:00:00.000");
    house.buy("3000", "np_atobarai", 18_037);
    house.corrected("3000", "write-offs", &json!({"write_off_id": "W-1", "bill": "2021-07"}));
    house.at("2021-08-06T21:00:00.000");
    house.buy("3000", "online", 4_156);
    house.at("2021-08-14T22:00:00.000");
    house.repay("3000", "P-2", 18_224);
    house.corrected("3000", "write-offs/W-1/release", &json!({}));
    house.at("2021-09-01T00:05:00.000");
    house.corrected("3000", "fees/fee_2021-07/waiver", &json!({}));
    house.at("2021-10-06T04:14:00.000");
    house.repaid_on("3000", "P-3", 2_407, "2021-09-18T22:14");
    house.at("2021-10-13T12:14:00.000");
    let path = format!("/v1/authorizations/{}/refunds", text(&refunded["authorization_id"]));
    let refund = house.client.send("office", "POST", &path, &json!({"refund_id": "R-1", "amount": 5_240}));
    assert_eq!(refund.status, 200, "{refund:?}");
    house.corrected("3000", "repayments/P-2/reversal", &back("V-1", 4_678));
    house.at("2022-01-16T15:00:00.000");
    house.repay("3000", "P-4", 4_398);
    house.at("2022-01-26T12:00:00.000");
    house.repaid_on("3000", "P-5", 1_618, "2022-01-09T07:00");
    house.corrected("3000", "repayments/P-4/reversal", &back("V-2", 633));
    house.at("2022-02-10T00:00:00.000");
    // From before the payments that were heard of until now.
    house.repaid_on("3000", "P-6", 5_249, "2021-07-02T10:00");
    house.at("2022-02-16T00:00:00.000");
    house.buy("3000", "online", 4_782);
    house.at("2022-03-01T00:00:00.000");
    house.repay("3000", "P-7", 3_947);
    house.at("2022-03-14T15:00:00.000");
    house.repay("3000", "P-8", 1_064);
    house.corrected("3000", "repayments/P-6/reversal", &back("V-3", 5_249));
    let paid_out: u64 = lies(&mut house, "3000").iter().map(|(.., rest)| rest[2]).sum();
    assert_eq!(paid_out, 0);
    agrees(&house);
}

/// Found by a reader: the money that a refund sets free was told as of whom we had heard of last.
#[test]
fn money_that_is_freed_is_of_the_payment_that_was_made_last_however_it_was_heard() {
    let mut house = House::born("2021-06-05T10:00:00+09:00");
    let told = [("2000", ["05", "06"]), ("2001", ["06", "05"])];
    let sales = told.map(|(customer, _)| text(&house.bought(customer, "online", 1_500)["authorization_id"]).to_owned());
    house.at("2021-06-07");
    for (customer, days) in told {
        for day in days {
            let paid = json!({"repayment_id": format!("{customer}-{day}"), "amount": 1_000, "paid_at": format!("2021-06-{day}T12:00:00+09:00")});
            assert_eq!(house.office(customer, "repayments", &paid).status, 200);
        }
    }
    house.at("2021-07-05");
    for (at, (customer, _)) in told.into_iter().enumerate() {
        let refund = format!("/v1/authorizations/{}/refunds", sales[at]);
        let body = json!({"refund_id": "F", "amount": 57});
        assert_eq!(house.client.send("office", "POST", &refund, &body).status, 200);
        let repayments = house.read(customer, "repayments");
        let lies = repayments["repayments"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["repayment_id"] == format!("{customer}-06"));
        let lies = &lies.unwrap()["lies"];
        assert_eq!(lies["credit"], 348, "{customer}: {lies}");
    }
}

//! Money that is owed to customers in cash, by HTTP on the real binary: the list of it, transfers made, and those that came
//! back; and what staff reads of an account.

use std::time::Duration;

use serde_json::{Value, json};

use super::money::{House, number, text};
use super::server::wait_until;

impl House {
    fn payouts(&mut self, query: &str) -> Value {
        let answer = self.client.get("office", &format!("/v1/payouts?{query}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.json()
    }

    fn pays_out(&mut self, customer: &str, id: &str, amount: u64) -> Value {
        let answer = self.office(customer, "payouts", &json!({"payout_id": id, "amount": amount}));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    fn bounce(&mut self, customer: &str, id: &str) -> Value {
        let staff = json!({"by": "tanaka", "reason": "no such account"});
        let answer = self.office(customer, &format!("payouts/{id}/bounced"), &staff);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Credit, and what of it is owed in cash; the page of all customers says the same of the one.
    fn free(&mut self, customer: &str) -> (u64, u64) {
        let credit = self.read(customer, "credit");
        let due: u64 = array(&credit["sums"]).iter().map(|sum| number(&sum["due"])).sum();
        assert_eq!(due, number(&credit["payout_due"]), "{credit}");
        let page = self.payouts("status=due");
        let own = array(&page["payouts"]).iter().filter(|due| due["customer_id"] == customer);
        assert_eq!(own.map(|sum| number(&sum["amount"])).sum::<u64>(), due, "{page}");
        (number(&credit["credit"]), due)
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} should be a list"))
}

/// Customer, amount and cause of what is due; own day and since when.
fn due(page: &Value) -> Vec<[String; 5]> {
    let names = ["customer_id", "amount", "cause", "own_day", "due_since"];
    let shown = |sum: &Value| names.map(|name| sum[name].to_string().replace('"', ""));
    array(&page["payouts"]).iter().map(shown).collect()
}

fn end(page: &Value) -> (&str, bool) {
    (page["end"]["after"].as_str().unwrap_or_default(), page["end"]["more"].as_bool().expect("a flag"))
}

/// A house in which 1001 and 2000 have paid more than they owed long ago, and 2001 before its account was closed.
fn with_money_due() -> House {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.repay("2000", "R-1", 3_000);
    house.repay("1001", "R-2", 40);
    house.repay("2001", "R-3", 500);
    let closed = house.client.send("office", "PUT", "/v1/customers/2001", &json!({"status": "closed"}));
    assert_eq!(closed.status, 200, "{closed:?}");
    let day = "2021-06-15T00:00:00.000+09:00";
    assert_eq!(due(&house.payouts("status=due")), [["2001", "500", "closed", day, "null"]]);
    let credit = house.read("2000", "credit");
    let sum = json!({"own_day": day, "amount": 3_000, "due": 0, "becomes_due": "2021-09-15"});
    assert_eq!(credit, json!({"credit": 3_000, "payout_due": 0, "kept_back": 0, "sums": [sum]}));
    house.at("2021-09-14");
    assert_eq!(house.free("2000"), (3_000, 0), "on the last day it is credit");
    // The round of the day begins when yesterday's last sale can no longer be cancelled.
    house.at("2021-09-15T00:30:00.000");
    wait_until("all is due", Duration::from_secs(10), || due(&house.payouts("status=due")).len() == 3);
    house
}

#[test]
fn what_is_owed_in_cash_is_listed_with_its_cause_and_paid_once() {
    let mut house = with_money_due();
    let (day, since) = ("2021-06-15T00:00:00.000+09:00", "2021-09-15");
    let all =
        [["1001", "40", "age", day, since], ["2000", "3000", "age", day, since], ["2001", "500", "age", day, since]];
    let page = house.payouts("status=due");
    assert_eq!((due(&page), end(&page)), (all.map(|sum| sum.map(str::to_owned)).to_vec(), ("2001", false)));
    let first = house.payouts("status=due&limit=2");
    assert_eq!((due(&first).len(), end(&first)), (2, ("2000", true)));
    let rest = house.payouts("status=due&limit=2&after=2000");
    assert_eq!((due(&rest).len(), end(&rest)), (1, ("2001", false)));
    assert_eq!(house.payouts("status=due&after=2001"), json!({"payouts": [], "end": {"after": null, "more": false}}));
    for wrong in ["", "status=paid", "status=due&limit=0", "status=due&after=%20", "status=made&after=x"] {
        let refused = house.client.get("office", &format!("/v1/payouts?{wrong}"));
        assert_eq!((refused.status, &refused.json()["reason"]), (422, &json!("invalid_field")), "{wrong}");
    }

    let told = json!({"payout_id": "O-1", "amount": 2_000, "bank_reference": "T/2021 09"});
    let paid = house.office("2000", "payouts", &told).json();
    let shown = json!({"payout_id": "O-1", "amount": 2_000, "bank_reference": "T/2021 09", "payout_due": 1_000,
        "credit": 0, "bounced_at": null, "replayed": false});
    assert_eq!(paid, shown);
    assert_eq!(house.free("2000"), (0, 1_000));
    let again = house.pays_out("2000", "O-1", 2_000);
    assert_eq!((&again["bank_reference"], &again["replayed"]), (&json!("T/2021 09"), &json!(true)));
    for (name, other) in [("bank_reference", json!("T/2")), ("amount", json!(1))] {
        let mut told = told.clone();
        told[name] = other;
        let refused = house.office("2000", "payouts", &told);
        assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("id_reused")), "{name}");
    }
    for wrong in ["", "振込", "tab\t", &"x".repeat(65)] {
        let told = json!({"payout_id": "O-9", "amount": 1, "bank_reference": wrong});
        let refused = house.office("2000", "payouts", &told).json();
        assert_eq!(refused["errors"][0]["pointer"], "/bank_reference", "{refused}");
    }
    house.pays_out("2001", "O-2", 500);
    let made = house.payouts("status=made&limit=1");
    assert_eq!((text(&made["payouts"][0]["bank_reference"]), end(&made).1), ("T/2021 09", true));
    let next = house.payouts(&format!("status=made&after={}", end(&made).0));
    let second = json!({"customer_id": "2001", "payout_id": "O-2", "amount": 500, "bank_reference": null,
        "at": "2021-09-15T00:30:00.000+09:00", "bounced_at": null});
    assert_eq!((&next["payouts"], end(&next).1), (&json!([second]), false));
}

#[test]
fn what_a_closed_account_was_owed_stays_so_once_it_is_open_again() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.repay("2001", "R-1", 500);
    for status in ["closed", "active"] {
        let set = house.client.send("office", "PUT", "/v1/customers/2001", &json!({ "status": status }));
        assert_eq!(set.status, 200, "{set:?}");
    }
    let day = "2021-06-15T00:00:00.000+09:00";
    assert_eq!(due(&house.payouts("status=due")), [["2001", "500", "earlier", day, "null"]]);
    assert_eq!(house.free("2001"), (0, 500));
}

#[test]
fn a_payout_that_came_back_meets_what_is_owed_by_then() {
    let mut house = with_money_due();
    house.pays_out("2000", "O-1", 2_000);
    house.pays_out("2001", "O-2", 300);
    let known = |house: &mut House, id: &str, reason: &str| {
        let answer = house.office("2001", &format!("payouts/{id}/bounced"), &json!({"by": "sato", "reason": reason}));
        (answer.status, answer.json()["reason"].clone())
    };
    assert_eq!(known(&mut house, "O-3", "x"), (404, json!("payout_unknown")));
    assert_eq!(known(&mut house, "O-1", "x"), (404, json!("payout_unknown")), "another customer's");
    let back = house.bounce("2001", "O-2");
    assert_eq!((&back["applied"], number(&back["credit"]), number(&back["payout_due"])), (&json!([]), 0, 300));
    assert_eq!(
        (text(&back["by"]), text(&back["key"]), text(&back["reason"])),
        ("tanaka", "sandbox-office", "no such account")
    );
    let again = house.pays_out("2001", "O-2", 300);
    assert!(again["replayed"] == true && text(&again["bounced_at"]).starts_with("2021-09-15T00:30"), "{again}");
    let sum = &house.payouts("status=due&after=2000")["payouts"][0];
    assert_eq!((number(&sum["amount"]), text(&sum["own_day"])), (500, "2021-06-15T00:00:00.000+09:00"));
    assert_eq!(known(&mut house, "O-2", "another reason"), (409, json!("id_reused")));

    // What was owed in cash meets the bill when it is issued; the payout is away until it comes back.
    house.bought("2000", "online", 4_000);
    house.bought("2000", "np_atobarai", 600);
    assert_eq!(house.free("2000"), (0, 400), "the list says at once that the invoice has met it");
    house.at("2021-10-05");
    assert_eq!(number(&house.statement("2000", "2021-09")["total_due"]), 4_000 + 209 - 400);
    let back = house.bounce("2000", "O-1");
    let [bill] = array(&back["applied"]) else { panic!("one bill: {back}") };
    let met: u64 = ["principal", "bill_fee"].iter().map(|line| number(&bill[line])).sum();
    assert_eq!((text(&bill["bill"]), met), ("2021-09", 2_000), "{back}");
    assert_eq!(number(&house.statement("2000", "2021-09")["total_due"]), 4_000 + 209 - 400 - 2_000);
    assert_eq!(house.free("2000"), (0, 0));
    house.again();
    let again = house.bounce("2000", "O-1");
    assert_eq!((&again["applied"], &again["replayed"]), (&back["applied"], &json!(true)));
    let made = house.payouts("status=made");
    let at = array(&made["payouts"]).iter().map(|paid| text(&paid["bounced_at"]));
    assert_eq!(at.collect::<Vec<_>>(), ["2021-10-05T00:00:00.000+09:00", "2021-09-15T00:30:00.000+09:00"]);
}

#[test]
fn a_payout_comes_back_though_only_the_ledger_remembers_it() {
    let mut house = with_money_due();
    house.pays_out("1001", "O-1", 30);
    assert_eq!(house.free("1001"), (0, 10));
    house.at("2022-03-01");
    house.again();
    let back = house.bounce("1001", "O-1");
    assert_eq!((number(&back["payout_due"]), number(&back["credit"])), (30, 0));
    assert_eq!(house.free("1001"), (0, 40));
    let sums = &house.read("1001", "credit")["sums"];
    assert_eq!((array(sums).len(), text(&sums[0]["own_day"])), (1, "2021-06-15T00:00:00.000+09:00"));
    assert_eq!(house.bounce("1001", "O-1")["replayed"], true);
}

#[test]
fn staff_reads_where_the_money_of_a_customer_lies() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let sale = house.bought("2000", "online", 2_000);
    house.at("2021-07-05");
    house.repay("2000", "R-1", 3_000);
    house.office("2000", "payouts", &json!({"payout_id": "O-1", "amount": 100}));
    let paid = house.read("2000", "repayments")["repayments"][0].clone();
    assert_eq!((text(&paid["repayment_id"]), number(&paid["credit"])), ("R-1", 791));
    let lies = &paid["lies"];
    let beside = ["credit", "payout_due", "paid_out", "settled"].map(|name| number(&lies[name]));
    assert_eq!(beside, [691, 0, 100, 0], "{paid}");
    let bill = &lies["on_bills"][0];
    assert_eq!((text(&bill["bill"]), number(&bill["principal"]), number(&bill["bill_fee"])), ("2021-06", 2_000, 209));
    assert_eq!(paid["applied"], lies["on_bills"]);

    let points = house.read("2000", "points");
    assert_eq!(["earned", "taken_back", "balance"].map(|name| number(&points[name])), [10, 0, 10]);
    let path = format!("/v1/authorizations/{}/refunds", text(&sale["authorization_id"]));
    assert_eq!(house.client.send("office", "POST", &path, &json!({"refund_id": "F", "amount": 1_000})).status, 200);
    let points = house.read("2000", "points");
    assert_eq!(points["months"], json!([{"month": "2021-06", "earned": 10, "taken_back": 5, "balance": 5}]));

    let block = json!({"block_id": "B-1", "reason": "telephone number of a known fraud"});
    house.office("2000", "blocks", &block);
    house.office("2000", "blocks", &json!({"block_id": "B-2", "reason": "x"}));
    house.office("2000", "blocks/B-2/release", &json!({}));
    let at = "2021-07-05T00:00:00.000+09:00";
    let stands = json!({"block_id": "B-1", "reason": block["reason"], "by": null, "key": null, "recorded_at": at});
    assert_eq!(house.read("2000", "blocks"), json!({"blocks": [stands], "freezes": []}));

    for (id, expires_at) in [("P-1", "2021-07-06T00:00:00+09:00"), ("P-2", "2021-07-20T00:00:00+09:00")] {
        let news = json!({"payment_id": id, "amount": 300, "expires_at": expires_at});
        assert_eq!(house.office("2000", "payments-pending", &news).status, 200);
    }
    house.at("2021-07-06");
    let pending = house.read("2000", "payments-pending");
    let pending = array(&pending["payments"]).iter().map(|told| (text(&told["payment_id"]), text(&told["status"])));
    assert_eq!(pending.collect::<Vec<_>>(), [("P-1", "expired"), ("P-2", "pending")]);
}

#[test]
fn the_ladder_tells_each_step_and_what_is_left_to_the_next() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let ladder = house.read("1002", "ladder");
    assert_eq!((number(&ladder["rung"]), &ladder["steps"]), (0, &json!([])));
    assert_eq!(ladder["next_rung"]["purchases"], json!({"has": 0, "needs": 1, "left": 1}));
    house.bought("1002", "online", 1_000);
    let ladder = house.read("1002", "ladder");
    assert_eq!(ladder["next_rung"]["purchases"], json!({"has": 1, "needs": 1, "left": 0}), "{ladder}");
    let needs = &ladder["next_rung"]["on_time_bills"];
    assert_eq!(number(&needs["left"]), number(&needs["needs"]));
    house.at("2021-07-05");
    house.repay("1002", "R-1", 1_209);
    let ladder = house.read("1002", "ladder");
    let step = json!({"from": 0, "to": 1, "reason": "conditions_met", "policy": 1,
        "recorded_at": "2021-07-05T00:00:00.000+09:00"});
    assert_eq!((number(&ladder["rung"]), &ladder["steps"]), (1, &json!([step])), "{ladder}");
    assert_eq!(house.read("2000", "ladder")["next_rung"], json!(null), "on the highest");
}

/// Found by a reader: what was owed in cash of a payout was more than the payout, and the process stopped.
#[test]
fn a_payout_of_money_that_news_moves_stays_as_it_was_made() {
    let mut house = House::born("2021-08-02T10:00:00+09:00");
    house.repay("2000", "S-1", 2_000);
    house.pays_out("2000", "O-1", 2_000);
    house.bought("2000", "online", 705);
    house.at("2021-09-02");
    house.repay("2000", "S-2", 2_000);
    let closed = json!({"status": "closed"});
    assert_eq!(house.client.send("office", "PUT", "/v1/customers/2000", &closed).status, 200);
    house.pays_out("2000", "O-2", 1_086);
    house.at("2021-09-03");
    house.bounce("2000", "O-1");
    house.pays_out("2000", "O-3", 2_000);
    house.at("2021-09-04");
    for id in ["S-3", "S-4"] {
        let news = json!({"repayment_id": id, "amount": 1, "paid_at": "2021-08-20T10:00:00+09:00"});
        let told = house.office("2000", "repayments", &news);
        assert_eq!(told.status, 200, "{told:?}");
    }
    house.again();
    let made = house.payouts("status=made");
    let own = array(&made["payouts"]).iter().filter(|paid| paid["customer_id"] == "2000");
    let own: Vec<_> = own.map(|paid| (text(&paid["payout_id"]), number(&paid["amount"]))).collect();
    assert_eq!(own, [("O-1", 2_000), ("O-2", 1_086), ("O-3", 2_000)], "{made}");
}

/// Found by a reader: a refund in the open month that came with a step of the ladder hid the invoice from the credit.
#[test]
fn credit_meets_an_invoice_whatever_comes_between() {
    let mut house = House::born("2021-06-05T10:00:00+09:00");
    for month in 6..9 {
        house.at(&format!("2021-0{month}-06"));
        house.bought("1002", "online", 100);
        house.at(&format!("2021-0{}-05", month + 1));
        house.repay("1002", &format!("R-{month}"), 309);
    }
    house.repay("1002", "CREDIT", 3_000);
    house.at("2021-09-06");
    house.bought("1002", "np_atobarai", 1_000);
    let bought = house.bought("1002", "online", 500);
    let refund = format!("/v1/authorizations/{}/refunds", text(&bought["authorization_id"]));
    assert_eq!(house.client.send("office", "POST", &refund, &json!({"refund_id": "F", "amount": 100})).status, 200);
    assert_eq!(house.free("1002"), (2_000, 0));
    house.at("2021-09-25");
    assert_eq!(house.standing("1002")["blocked_by"], json!(null));
}

/// What is listed as due can be paid: of a closed account too, what usage and holds keep back is credit until it is free.
#[test]
fn usage_that_is_not_billed_yet_keeps_its_money() {
    let mut house = House::born("2021-06-05T10:00:00+09:00");
    house.repay("2000", "R", 5_000);
    house.bought("2000", "online", 1_500);
    let sale = json!({"order_id": "HOLD", "customer_id": "2000", "channel": "online", "amount": 2_500, "capture": false,
        "merchant": {"id": "mrc_konbini"}});
    let held = house.client.send("register", "POST", "/v1/authorizations", &sale).json();
    assert_eq!(held["status"], "authorized", "{held}");
    assert_eq!(house.client.send("office", "PUT", "/v1/customers/2000", &json!({"status": "closed"})).status, 200);
    assert_eq!(house.free("2000"), (4_000, 1_000));
    let too_much = json!({"payout_id": "O", "amount": 1_001});
    assert_eq!(house.office("2000", "payouts", &too_much).json()["reason"], "over_credit");
    house.pays_out("2000", "O", 1_000);
    house.repay("2000", "R-2", 300);
    assert_eq!(house.free("2000"), (4_000, 300));
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "HOLD"});
    assert_eq!(house.client.send("register", "POST", "/v1/cancellations", &cancel).status, 200);
    wait_until("the hold's credit is due", Duration::from_secs(10), || house.free("2000") == (1_500, 2_800));
    house.pays_out("2000", "O-2", 2_800);
    // The bill of June takes the rest.
    house.at("2021-07-02");
    wait_until("the bill is paid", Duration::from_secs(10), || house.free("2000") == (0, 0));
}

/// An office pays what is listed: usage keeps back credit alone.
#[test]
fn what_is_listed_as_owed_in_cash_is_paid_whole_beside_usage() {
    let mut house = House::born("2021-06-01T12:00:00+09:00");
    house.repay("2000", "R-1", 1_422);
    house.at("2021-09-02T12:00:00.000");
    let due = |house: &mut House| house.read("2000", "credit")["payout_due"].clone();
    wait_until("it is due", Duration::from_secs(10), || due(&mut house) == json!(1_422));
    house.bought("2000", "online", 4_540);
    assert_eq!(due(&mut house), 1_422);
    let body = |amount: u64| json!({"payout_id": "O-1", "amount": amount, "bank_reference": "T-1"});
    let refused = house.office("2000", "payouts", &body(1_423));
    assert_eq!((refused.status, &refused.json()["credit"]), (422, &json!(1_422)), "{refused:?}");
    let paid = house.office("2000", "payouts", &body(1_422));
    assert_eq!((paid.status, &paid.json()["payout_due"]), (200, &json!(0)), "{paid:?}");
}

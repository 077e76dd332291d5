//! What the mail and the app hear of a customer, on the feed of events: a whole story with the sandbox's clock, and each of
//! it once, whatever restarts.

use std::time::Duration;

use serde_json::{Value, json};

use super::money::{House, text};
use super::server::wait_until;

const KINDS: [&str; 9] = [
    "bill_fixed",
    "due_soon",
    "fell_overdue",
    "overdue_ended",
    "fee_charged",
    "blocked",
    "block_lifted",
    "money_arrived",
    "payout_made",
];

impl House {
    /// All that was told of a customer so far, in order.
    fn told(&mut self, customer: &str) -> Vec<Value> {
        let feed = self.client.get("ops", "/v1/events?limit=100000").text;
        let lines = feed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let is_notice = |line: &Value| line["kind"].as_str().is_some_and(|kind| KINDS.contains(&kind));
        lines.filter(|line| is_notice(line) && line["customer_id"] == customer).collect()
    }

    /// Waits until this many things were told; nothing else is there.
    fn hears(&mut self, customer: &str, kinds: &[&str]) -> Vec<Value> {
        wait_until("all is told", Duration::from_secs(10), || self.told(customer).len() >= kinds.len());
        let told = self.told(customer);
        let heard: Vec<_> = told.iter().map(|line| text(&line["kind"])).collect();
        assert_eq!(heard, kinds, "{told:?}");
        told
    }

    /// Until the day's round has been: a customer who always has something to be told was looked at.
    fn round(&mut self, time: &str) {
        self.at(time);
        let day = &time[..10];
        wait_until("the round", Duration::from_secs(10), || {
            let feed = self.client.get("ops", "/v1/events?limit=100000").text;
            feed.lines().any(|line| line.contains("\"calendar\"") && line.contains(&format!("\"recorded_at\":\"{day}")))
        });
    }
}

/// Members of a line, as one JSON object.
fn part(line: &Value, members: &[&str]) -> Value {
    members.iter().map(|name| ((*name).to_owned(), line[*name].clone())).collect()
}

#[test]
fn a_bill_from_its_issue_over_its_fee_to_its_payment() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let who = "2000";
    house.bought(who, "online", 30_000);
    house.at("2021-07-01T00:10:00.000");
    house.standing(who);
    assert_eq!(house.told(who), [] as [Value; 0]);
    house.at("2021-07-01T00:15:00.000");
    let mut kinds = vec!["bill_fixed"];
    let fixed = house.hears(who, &kinds).remove(0);
    let members = ["bill", "payment_method", "due", "principal", "bill_fee", "paid", "total_due"];
    let shown = json!({"bill": "2021-06", "payment_method": "konbini", "due": "2021-07-10", "principal": 30_000,
        "bill_fee": 209, "paid": 0, "total_due": 30_209});
    assert_eq!(part(&fixed, &members), shown);
    assert!(text(&fixed["recorded_at"]).starts_with("2021-07-01T00:15"), "{fixed}");
    // It is the slip that the app is given, too.
    let slip = house.office(who, "payment-slips", &json!({"kind": "app_barcode"})).json();
    assert_eq!(part(&slip, &["number", "barcode", "amount", "expires_at"]), fixed["slip"]);
    assert_eq!(text(&slip["barcode"]).len(), 44);

    house.at("2021-07-07T01:00:00.000");
    kinds.push("due_soon");
    let soon = house.hears(who, &kinds).remove(1);
    assert_eq!(
        part(&soon, &["bill", "due", "total_due"]),
        json!({"bill": "2021-06", "due": "2021-07-10", "total_due": 30_209})
    );
    // The round after a start finds that it was told.
    house.again();
    house.at("2021-07-11T01:00:00.000");
    kinds.extend(["fell_overdue", "blocked"]);
    let told = house.hears(who, &kinds);
    assert_eq!((&told[2]["principal"], &told[3]["cause"]), (&json!(30_000), &json!("overdue")));

    // News of the payment comes and goes.
    let news = json!({"payment_id": "P-1", "amount": 30_209, "expires_at": "2021-09-01T00:00:00+09:00"});
    assert_eq!(house.office(who, "payments-pending", &news).status, 200);
    kinds.extend(["overdue_ended", "block_lifted"]);
    house.hears(who, &kinds);
    house.again();
    assert_eq!(house.office(who, "payments-pending/P-1/withdrawn", &json!({})).status, 200);
    kinds.extend(["fell_overdue", "blocked"]);
    house.hears(who, &kinds);

    house.at("2021-08-10T01:00:00.000");
    kinds.push("fee_charged");
    let fee = house.hears(who, &kinds).pop().expect("a fee");
    let shown = json!({"fee": "late_fee", "fee_id": "fee_2021-06_2021-08-10", "bill": "2021-06", "amount": 100});
    assert_eq!(part(&fee, &["fee", "fee_id", "bill", "amount"]), shown);

    house.repay(who, "R-1", 31_000);
    kinds.extend(["money_arrived", "overdue_ended", "block_lifted"]);
    let told = house.hears(who, &kinds);
    let arrived = &told[told.len() - 3];
    assert_eq!(
        (&arrived["repayment_id"], &arrived["amount"], &arrived["credit"]),
        (&json!("R-1"), &json!(31_000), &json!(691))
    );
    assert_eq!(
        part(&arrived["applied"][0], &["bill", "principal", "bill_fee", "late_fees"]),
        json!({"bill": "2021-06", "principal": 30_000, "bill_fee": 209, "late_fees": 100})
    );
    let payout = json!({"payout_id": "O-1", "amount": 691, "bank_reference": "T-1"});
    assert_eq!(house.office(who, "payouts", &payout).status, 200);
    kinds.push("payout_made");
    let paid = house.hears(who, &kinds).pop().expect("a payout");
    assert_eq!(part(&paid, &["payout_id", "amount", "bank_reference"]), payout);
    house.again();
    house.at("2021-08-26T01:00:00.000");
    house.hears(who, &kinds);
}

#[test]
fn other_methods_invoices_credit_and_blocks() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    house.repay("2001", "R-1", 5_000);
    house.bought("2001", "online", 3_000);
    house.client.send("wallet", "PUT", "/v1/customers/2002/payment-method", &json!({"payment_method": "debit"}));
    house.bought("2002", "online", 4_000);
    let invoice = house.bought("2003", "np_atobarai", 2_000);
    house.at("2021-06-26T01:00:00.000");
    let soon = house.hears("2003", &["due_soon"]).remove(0);
    let np = text(&invoice["authorization_id"]);
    assert_eq!(
        part(&soon, &["bill", "month", "due", "total_due"]),
        json!({"bill": np, "month": null, "due": "2021-06-29", "total_due": 2_000})
    );
    house.at("2021-06-30T01:00:00.000");
    house.hears("2003", &["due_soon", "fell_overdue", "blocked"]);

    house.round("2021-07-01T00:20:00.000");
    // Credit has paid it: nothing is due soon or overdue.
    let fixed = house.hears("2001", &["money_arrived", "bill_fixed"]).remove(1);
    let members = ["principal", "bill_fee", "paid", "total_due", "slip"];
    assert_eq!(
        part(&fixed, &members),
        json!({"principal": 3_000, "bill_fee": 209, "paid": 3_209, "total_due": 0, "slip": null})
    );
    let fixed = house.hears("2002", &["bill_fixed"]).remove(0);
    assert_eq!(
        (text(&fixed["payment_method"]), text(&fixed["due"]), &fixed["slip"]),
        ("debit", "2021-07-27", &Value::Null)
    );
    house.at("2021-07-24T01:00:00.000");
    house.hears("2002", &["bill_fixed", "due_soon"]);
    house.at("2021-07-28T01:00:00.000");
    house.hears("2002", &["bill_fixed", "due_soon", "fell_overdue", "blocked"]);
    house.hears("2001", &["money_arrived", "bill_fixed"]);

    house.office("2004", "blocks", &json!({"block_id": "B-1", "reason": "x"}));
    house.office("2004", "blocks/B-1/release", &json!({}));
    house.office("2004", "freeze", &json!({"freeze_id": "Z-1"}));
    house.office("2004", "freeze/Z-1/release", &json!({"by": "tanaka", "reason": "found"}));
    let told = house.hears("2004", &["blocked", "block_lifted", "blocked", "block_lifted"]);
    let causes: Vec<_> = told.iter().map(|line| text(&line["cause"])).collect();
    assert_eq!(causes, ["staff", "staff", "lost_phone", "lost_phone"]);
    assert_eq!((&told[1]["block_id"], &told[3]["freeze_id"]), (&json!("B-1"), &json!("Z-1")));

    // A record may be several lines, and a page has all of them.
    let feed = house.client.get("ops", "/v1/events?limit=100000").text;
    let lines: Vec<Value> = feed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let at =
        lines.iter().position(|line| line["kind"] == "noticed" && line["customer_id"] == "2002").expect("a notice");
    let before = lines[at]["lsn"].as_u64().expect("a position") - 1;
    let page = house.client.get("ops", &format!("/v1/events?after={before}&limit=1")).text;
    let page: Vec<Value> = page.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&page[0]["kind"], &page[1]["kind"]), (&json!("noticed"), &json!("bill_fixed")));
    assert_eq!((page.len(), &page[2]["end"]["after"]), (3, &json!(before + 1)));
}

#[test]
fn a_payment_that_is_taken_back_leaves_the_bill_overdue_again() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let who = "2000";
    house.bought(who, "online", 3_000);
    house.at("2021-07-11T01:00:00.000");
    let mut kinds = vec!["bill_fixed", "fell_overdue", "blocked"];
    house.hears(who, &kinds);
    house.repay(who, "R-1", 3_209);
    kinds.extend(["money_arrived", "overdue_ended", "block_lifted"]);
    house.hears(who, &kinds);
    let staff = json!({"by": "tanaka", "reason": "of another customer"});
    assert_eq!(house.office(who, "repayments/R-1/reversal", &staff).status, 200);
    kinds.extend(["fell_overdue", "blocked"]);
    let told = house.hears(who, &kinds);
    assert_eq!(part(&told[6], &["bill", "total_due"]), json!({"bill": "2021-06", "total_due": 3_209}));
}

/// Nothing makes an invoice cost more, so that a slip over it and the month's bill is good until the bill's fee day.
#[test]
fn a_slip_outlives_an_overdue_invoice_that_costs_no_fee() {
    let mut house = House::born("2021-06-01T00:00:00+09:00");
    let who = "2000";
    house.bought(who, "np_atobarai", 2_000);
    house.bought(who, "online", 3_000);
    house.at("2021-07-01T00:20:00.000");
    let fixed = house.hears(who, &["fell_overdue", "bill_fixed", "blocked"]).remove(1);
    let slip = &fixed["slip"];
    assert_eq!((&slip["amount"], &slip["expires_at"]), (&json!(5_209), &json!("2021-08-09T23:59:59.999+09:00")));
}

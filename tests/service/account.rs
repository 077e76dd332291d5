//! The account statement by HTTP on the real binary: what an office mails to a customer who asks why they owe it.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::money::{House, text};

fn statement(house: &mut House, customer: &str, query: &str) -> Value {
    house.read(customer, &format!("account?{query}"))
}

fn yen(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} should be a whole number"))
}

/// The movements in words, once it is sure that they add up.
fn rows(statement: &Value) -> Vec<String> {
    let mut balance = yen(&statement["opening_balance"]);
    let mut told = Vec::new();
    for row in statement["movements"].as_array().expect("movements") {
        balance += yen(&row["amount"]);
        assert_eq!(yen(&row["balance"]), balance, "{row}");
        assert!(!text(&row["text"]["ja"]).is_empty() && !text(&row["text"]["en"]).contains('{'), "{row}");
        let day = |member: &str| text(&row[member])[5..10].to_owned();
        let id = row["id"].as_str().filter(|id| !id.starts_with("aut_")).unwrap_or("-");
        told.push(format!(
            "{} {} {} {} {} {id}",
            day("recorded_at"),
            day("value_at"),
            text(&row["kind"]),
            text(&row["account"]),
            row["amount"]
        ));
    }
    assert_eq!(yen(&statement["closing_balance"]), balance, "{statement}");
    told
}

/// Until the day's round has recorded what fell due by now.
fn settled(house: &mut House, customer: &str, query: &str, movements: usize) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        let told = statement(house, customer, query);
        if told["movements"].as_array().expect("movements").len() >= movements {
            return told;
        }
    }
    panic!("the round does not come: {}", statement(house, customer, query));
}

#[test]
fn a_mailed_statement_never_changes_whatever_is_heard_later() {
    let mut house = House::born("2021-06-15T12:00:00+09:00");
    house.bought("2000", "online", 3_000);
    house.at("2021-07-02T12:00:00.000");
    settled(&mut house, "2000", "from=2021-07-01", 1);
    house.at("2021-08-10T12:00:00.000");
    let august = "from=2021-08-01&to=2021-08-10";
    settled(&mut house, "2000", august, 1);
    house.at("2021-08-12T12:00:00.000");
    let mailed = statement(&mut house, "2000", "from=2021-06-01&to=2021-08-11");
    let told = [
        "06-15 06-15 purchase principal 3000 -",
        "07-02 07-01 bill_fee bill_fee 209 fee_2021-06",
        "08-10 08-10 late_fee late_fees 100 fee_2021-06_2021-08-10",
    ];
    assert_eq!((rows(&mailed), &mailed["final"]), (told.map(str::to_owned).to_vec(), &json!(true)));
    assert_eq!(mailed["movements"][2]["text"]["en"], "Late fee of 2021-08-10, on the bill of 2021-06");
    assert_eq!((yen(&mailed["opening_balance"]), yen(&mailed["closing_balance"])), (0, 3_309));

    // Paid before the fee, and too much of it: heard today.
    let news = json!({"repayment_id": "R-1", "amount": 3_500, "paid_at": "2021-08-09T10:00:00+09:00"});
    assert_eq!(house.office("2000", "repayments", &news).status, 200);
    let id = text(&house.bought("2000", "np_atobarai", 500)["authorization_id"]).to_owned();
    house.at("2021-08-13T12:00:00.000");
    // The credit has met the invoice at once; the round of the next day records it.
    settled(&mut house, "2000", "from=2021-08-12&to=2021-08-13", 7);
    house.at("2021-08-14T12:00:00.000");
    assert_eq!(statement(&mut house, "2000", "from=2021-06-01&to=2021-08-11"), mailed);
    let later = statement(&mut house, "2000", "from=2021-08-12&to=2021-08-13");
    assert_eq!(later["opening_balance"], mailed["closing_balance"]);
    let taken_back = "08-12 08-10 late_fee_taken_back late_fees -100 fee_2021-06_2021-08-10".to_owned();
    let told = rows(&later);
    assert!(
        told.contains(&taken_back) && told.contains(&"08-12 08-09 repayment credit -291 R-1".to_owned()),
        "{told:?}"
    );
    assert_eq!(yen(&later["closing_balance"]), 209, "an invoice of 500 less 291: {told:?}");
    assert_eq!(house.standing("2000")["credit"], 0, "the credit has met the invoice");
    let used = later["movements"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["kind"] == "credit_applied" && row["account"] == "principal");
    let used = used.unwrap_or_else(|| panic!("{later}"));
    assert_eq!((&used["bill"], &used["authorization_id"], &used["id"]), (&json!(id), &json!(id), &json!("R-1")));
    assert_eq!(used["text"]["ja"], "お預かり金から充当（NP後払いのご請求のご利用代金）");

    // By the day of value the same movements stand in another order.
    let by_value = statement(&mut house, "2000", "from=2021-06-01&to=2021-08-13&by=value");
    let by_entry = statement(&mut house, "2000", "from=2021-06-01&to=2021-08-13");
    let (value, mut entry) = (rows(&by_value), rows(&by_entry));
    assert_ne!(value, entry);
    assert!(value.is_sorted_by_key(|row| row[6..11].to_owned()), "{value:?}");
    let mut sorted = value;
    sorted.sort();
    entry.sort();
    assert_eq!(sorted, entry);
    assert_eq!(by_value["closing_balance"], by_entry["closing_balance"]);
    let today = statement(&mut house, "2000", "");
    assert_eq!(
        (&today["from"], &today["to"], &today["final"]),
        (&json!("2021-08-01"), &json!("2021-08-14"), &json!(false))
    );
}

#[test]
fn holds_and_points_owe_nothing_and_channels_are_one_row() {
    let mut house = House::born("2021-06-15T12:00:00+09:00");
    house.bought("2000", "online", 3_000);
    let code = house.client.send("wallet", "POST", "/v1/codes", &json!({"customer_id": "2000"})).json();
    let sale = json!({"order_id": "S-1", "code": code["barcode"], "amount": 1_000, "merchant": {"id": "mrc_konbini"}});
    assert_eq!(house.client.send("register", "POST", "/v1/authorizations", &sale).json()["decision"], "approved");
    let hold = json!({"order_id": "H-1", "customer_id": "2000", "channel": "online", "amount": 700,
        "merchant": {"id": "mrc_konbini"}, "capture": false});
    assert_eq!(house.client.send("register", "POST", "/v1/authorizations", &hold).json()["decision"], "approved");
    house.at("2021-07-05T12:00:00.000");
    house.repay("2000", "R-1", 3_709);
    let july = statement(&mut house, "2000", "from=2021-07-05&to=2021-07-05");
    let told = rows(&july);
    let paid = ["07-05 07-05 repayment bill_fee -209 R-1", "07-05 07-05 repayment principal -3500 R-1"];
    let repaid: Vec<_> = told.iter().filter(|row| row.contains("repayment")).collect();
    assert!(paid.iter().all(|row| repaid.contains(&&(*row).to_owned())) && repaid.len() == 2, "{told:?}");
    assert_eq!(yen(&july["closing_balance"]), 500);
}

#[test]
fn who_may_read_it_and_what_is_refused() {
    let mut house = House::born("2021-06-15T12:00:00+09:00");
    let path = |rest: &str| format!("/v1/customers/2000/account{rest}");
    for role in ["wallet", "register", "ops"] {
        assert_eq!(house.client.get(role, &path("")).status, 403, "{role}");
    }
    assert_eq!(house.client.get("office", "/v1/customers/nobody/account").status, 404);
    for (query, field) in [
        ("?from=2021-06-16", "from"),
        ("?to=2021-06-16", "to"),
        ("?from=2001-01-01", "from"),
        ("?from=June", "from"),
        ("?by=day", "by"),
        ("?x=1", "x"),
    ] {
        let answer = house.client.get("office", &path(query));
        assert_eq!((answer.status, &answer.json()["errors"][0]["parameter"]), (422, &json!(field)), "{query}");
    }
    let nothing = statement(&mut house, "2000", "");
    assert_eq!(
        (&nothing["movements"], &nothing["opening_balance"], &nothing["closing_balance"]),
        (&json!([]), &json!(0), &json!(0))
    );
}

/// What the ledger does not have yet is not left out: the call waits for it, and then says that it cannot tell.
#[test]
fn nothing_is_told_while_the_ledger_is_behind() {
    let mut house = House::born("2021-06-15T12:00:00+09:00");
    house.bought("2000", "online", 3_000);
    assert_eq!(rows(&statement(&mut house, "2000", "")).len(), 1);
    let ledger = Connection::open(house.server.data.join("ledger.db")).expect("a ledger");
    ledger.execute_batch("BEGIN IMMEDIATE").expect("the ledger's lock");
    house.bought("2000", "online", 500);
    let answer = house.client.get("office", "/v1/customers/2000/account");
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &json!("not_ready")));
    ledger.execute_batch("ROLLBACK").expect("the lock is ours");
    assert_eq!(yen(&statement(&mut house, "2000", "")["closing_balance"]), 3_500);
}

/// Nobody waits for the day's round: what a fact makes due is booked just after it.
#[test]
fn what_credit_meets_and_what_news_holds_up_is_booked_at_once() {
    let mut house = House::born("2021-06-15T12:00:00+09:00");
    house.repay("2000", "R-1", 5_000);
    house.bought("2000", "np_atobarai", 2_000);
    let told = settled(&mut house, "2000", "", 4);
    let booked = [
        "06-15 06-15 repayment credit -5000 R-1",
        "06-15 06-15 purchase principal 2000 -",
        "06-15 06-15 credit_applied credit 2000 R-1",
        "06-15 06-15 credit_applied principal -2000 R-1",
    ];
    let mut rows_told = rows(&told);
    rows_told.sort();
    let mut booked = booked.map(str::to_owned);
    booked.sort();
    assert_eq!(rows_told, booked);

    house.bought("2001", "online", 5_000);
    house.at("2021-07-02T12:00:00.000");
    settled(&mut house, "2001", "from=2021-06-01", 2);
    house.at("2021-08-10T12:00:00.000");
    let late = settled(&mut house, "2001", "from=2021-06-01", 3);
    assert_eq!(yen(&late["closing_balance"]), 5_309);
    house.at("2021-08-12T12:00:00.000");
    let news = json!({"payment_id": "N-1", "amount": 5_209, "paid_at": "2021-08-05T12:00:00+09:00",
        "expires_at": "2021-08-20T00:00:00+09:00"});
    assert_eq!(house.office("2001", "payments-pending", &news).status, 200);
    assert_eq!(house.statement("2001", "2021-06")["total_due"], 5_209);
    let held_up = settled(&mut house, "2001", "from=2021-06-01", 4);
    assert_eq!(yen(&held_up["closing_balance"]), 5_209, "{held_up}");
}

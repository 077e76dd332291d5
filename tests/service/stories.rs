//! What memory has let go of, by HTTP on the real binary: news that reaches back to it, damages on it, and what happens
//! while the ledger can't tell.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::money::{House, number, text};
use super::server::{Answer, BINARY};
use super::statements::all_add_up_of;

/// On the third rung.
const WHO: &str = "1001";

fn figures(bill: &Value) -> [u64; 6] {
    ["late_fees", "damages", "damages_posted", "paid", "written_off", "total_due"].map(|name| number(&bill[name]))
}

fn news(house: &mut House, id: &str, amount: u64, paid_at: &str) -> Answer {
    let paid_at = format!("{paid_at}T12:00:00+09:00");
    house.office(WHO, "repayments", &json!({"repayment_id": id, "amount": amount, "paid_at": paid_at}))
}

/// Facts of a kind in the journal.
fn told(house: &mut House, kind: &str) -> usize {
    let page = house.client.get("ops", "/v1/events?after=1000&limit=1000");
    page.text.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count()
}

/// June's bill of 30,209 yen, due on 2021-07-10, paid on 08-20 with a late fee and 100 yen of posted damages. All of it and
/// what came after was let go by 2022-02-15.
fn paid_late_long_ago(changes: &[(&str, &str)]) -> House {
    let mut house = House::with("2021-06-15T00:00:00+09:00", changes, &[]);
    house.bought(WHO, "online", 30_000);
    house.at("2021-08-15");
    let posting = json!({"posting_id": "D-1", "bill": "2021-06", "amount": 100});
    assert_eq!(house.office(WHO, "damages", &posting).status, 200);
    house.at("2021-08-20");
    let late = house.repay(WHO, "LATE", 30_409);
    assert_eq!(late["applied"][0]["late_fees"], 100, "{late}");
    house.at("2021-09-15");
    house.bought(WHO, "online", 5_000);
    house.at("2021-10-05");
    house.repay(WHO, "NEXT", 5_209);
    house.at("2022-02-15");
    house
}

/// Nothing of the customer is in memory: a start reads what the ledger has, and the calendar lets the rest go.
fn let_go(house: &mut House) {
    house.at("2022-02-15T01:00:00.000");
    house.again();
}

/// Journal and ledger agree.
fn verifies(house: &House) {
    let verify = Command::new(BINARY).args(["verify", "--sandbox", "--data"]).arg(&house.server.data).output();
    let verify = verify.expect("verify runs");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}

#[test]
fn a_bill_that_was_let_go_is_put_right_when_its_payment_was_in_time() {
    let mut house = paid_late_long_ago(&[("late_bill = \"keep\"", "late_bill = \"down\"")]);
    let_go(&mut house);
    // 41 days late: 30,000 × 0.146 × 41 / 365.
    assert_eq!(figures(&house.statement(WHO, "2021-06")), [100, 492, 100, 30_409, 0, 0]);
    assert_eq!(house.read(WHO, "ladder")["rung"], 2);
    assert_eq!(told(&mut house, "stories_recalled"), 0);

    let answer = news(&mut house, "IN-TIME", 30_209, "2021-07-10");
    let answer = answer.json();
    let applied = &answer["applied"][0];
    assert_eq!(
        (&applied["bill"], &applied["principal"], &applied["bill_fee"]),
        (&json!("2021-06"), &json!(30_000), &json!(209))
    );
    assert_eq!((&answer["credit"], &answer["payout_due"]), (&json!(0), &json!(0)), "{answer}");
    // All of the late money moved on: what it had paid is free, with its own day.
    let moved = answer["also_moved"].as_array().expect("a list");
    assert!(moved.iter().all(|row| row["from"] == "2021-06" || row["from"] == "2021-09"), "{answer}");
    assert_eq!(told(&mut house, "stories_recalled"), 1);

    let check = |house: &mut House| {
        let june = house.statement(WHO, "2021-06");
        assert_eq!(figures(&june), [0, 0, 0, 30_209, 0, 0], "{june}");
        assert_eq!(
            june["payments"].as_array().unwrap().iter().filter(|row| row["repayment_id"] == "IN-TIME").count(),
            1
        );
        assert_eq!(house.read(WHO, "ladder")["rung"], 3, "the rung is given back");
        // Of 30,409 on 08-20, 5,209 met September's bill when it was issued; NEXT is free.
        let sums = house.read(WHO, "credit");
        let sums: Vec<_> = sums["sums"]
            .as_array()
            .unwrap()
            .iter()
            .map(|sum| (text(&sum["own_day"])[..10].to_owned(), number(&sum["amount"])))
            .collect();
        assert_eq!(sums, [("2021-08-20".to_owned(), 25_200), ("2021-10-05".to_owned(), 5_209)]);
        let steps = house.read(WHO, "ladder")["steps"].clone();
        let steps: Vec<_> = steps.as_array().unwrap().iter().map(|step| text(&step["reason"]).to_owned()).collect();
        assert_eq!(steps.last().map(String::as_str), Some("late_bill_undone"), "{steps:?}");
        all_add_up_of(WHO, house);
    };
    check(&mut house);
    house.again();
    check(&mut house);
    // What came back is let go again, and known again.
    house.at("2022-02-20T01:00:00.000");
    check(&mut house);
    let replayed = news(&mut house, "IN-TIME", 30_209, "2021-07-10").json();
    assert_eq!((&replayed["replayed"], &replayed["applied"]), (&json!(true), &answer["applied"]));
    assert_eq!(told(&mut house, "stories_recalled"), 1, "a replay needs nothing");
    // Without the ledger the journal says all of it.
    house.server.kill();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        drop(std::fs::remove_file(house.server.data.join(name)));
    }
    house.server.start_again();
    house.client = house.server.client();
    check(&mut house);
    verifies(&house);
}

#[test]
fn damages_on_a_bill_that_was_let_go_are_shown_and_can_be_posted_at_any_age() {
    let mut house = paid_late_long_ago(&[]);
    for (at, id, amount, posted) in
        [("2022-02-15T02:00:00.000", "D-2", 50, 150), ("2023-06-01T02:00:00.000", "D-3", 342, 492)]
    {
        house.at(at);
        house.again();
        let before = figures(&house.statement(WHO, "2021-06"));
        assert_eq!(before[1], 492, "{at}");
        let over = json!({"posting_id": "D-X", "bill": "2021-06", "amount": 492 - posted + amount + 1});
        let over = house.office(WHO, "damages", &over);
        assert_eq!((over.status, &over.json()["reason"]), (422, &json!("over_damages")), "{at}");
        let posting = json!({"posting_id": id, "bill": "2021-06", "amount": amount});
        let answer = house.office(WHO, "damages", &posting);
        assert_eq!((answer.status, &answer.json()["total_due"]), (200, &json!(amount)), "{answer:?}");
        assert_eq!(figures(&house.statement(WHO, "2021-06"))[2], posted);
        assert_eq!(house.standing(WHO)["blocked_by"], json!(null), "damages alone never block");
        all_add_up_of(WHO, &mut house);
        house.again();
        assert_eq!(number(&house.statement(WHO, "2021-06")["total_due"]), amount);
        house.repay(WHO, &format!("PAID-{id}"), amount);
        assert_eq!(number(&house.statement(WHO, "2021-06")["total_due"]), 0);
    }
    let none = house.office(WHO, "damages", &json!({"posting_id": "D-9", "bill": "2021-06", "amount": 1}));
    assert_eq!((none.status, &none.json()["reason"]), (422, &json!("over_damages")), "all is posted");
    let unknown = house.office(WHO, "damages", &json!({"posting_id": "D-9", "bill": "2021-05", "amount": 1}));
    assert_eq!((unknown.status, &unknown.json()["reason"]), (404, &json!("bill_unknown")), "{unknown:?}");
    verifies(&house);
}

#[test]
fn while_the_ledger_is_behind_old_news_is_told_to_come_again_and_a_file_ends_there() {
    let mut house = paid_late_long_ago(&[]);
    let_go(&mut house);
    house.statement(WHO, "2021-06");
    let ledger = rusqlite::Connection::open(house.server.data.join("ledger.db")).expect("the ledger");
    ledger.busy_timeout(Duration::from_secs(20)).expect("a timeout");
    ledger.execute_batch("BEGIN IMMEDIATE").expect("the ledger's lock");
    // The account moves on, and the ledger does not hear of it.
    house.bought(WHO, "online", 700);
    let refused = news(&mut house, "OLD", 300, "2021-07-05");
    assert_eq!((refused.status, &refused.json()["reason"]), (503, &json!("not_ready")), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let damages = house.office(WHO, "damages", &json!({"posting_id": "D-2", "bill": "2021-06", "amount": 50}));
    assert_eq!(damages.status, 503, "{damages:?}");
    // What does not reach back needs no ledger, nor does an account that has let nothing go.
    assert_eq!(news(&mut house, "NEW", 300, "2022-02-10").status, 200);
    house.bought("2001", "online", 700);
    let other = json!({"repayment_id": "O", "amount": 300, "paid_at": "2021-07-05T12:00:00+09:00"});
    assert_eq!(house.office("2001", "repayments", &other).status, 200);
    let file = format!(
        "id,type,customer_id,amount,paid_at\n\
         F-1,repayment,{WHO},10,2022-02-14T12:00:00+09:00\n\
         F-2,repayment,2002,10,2022-02-14T12:00:00+09:00\n\
         F-3,debit_paid,{WHO},10,2021-07-05T12:00:00+09:00\n\
         F-4,repayment,2002,10,2022-02-14T12:00:00+09:00\n"
    );
    let broken = house.client.import("office", &file);
    let shown = broken.json();
    assert_eq!((broken.status, &shown["reason"]), (503, &json!("not_ready")), "{broken:?}");
    assert_eq!((number(&shown["line"]), number(&shown["posted"]), number(&shown["replayed"])), (4, 2, 0), "{shown}");
    assert_eq!(house.standing("2002")["credit"], 10, "no line after it was posted");
    ledger.execute_batch("ROLLBACK").expect("let go");
    drop(ledger);
    let shown = house.client.import("office", &file).json();
    assert_eq!((number(&shown["posted"]), number(&shown["replayed"])), (2, 2), "{shown}");
    assert_eq!(news(&mut house, "OLD", 300, "2021-07-05").status, 200);
    assert_eq!(told(&mut house, "stories_recalled"), 1, "the same day it is still there");
    all_add_up_of(WHO, &mut house);
    house.again();
    all_add_up_of(WHO, &mut house);
}

#[test]
fn a_refund_of_a_bill_that_was_let_go_counts_on_that_bill() {
    let mut house = House::born("2021-06-15T00:00:00+09:00");
    let sale = house.bought(WHO, "online", 30_000);
    house.at("2021-08-20");
    house.repay(WHO, "LATE", 30_309);
    house.at("2022-02-15");
    let_go(&mut house);
    assert_eq!(figures(&house.statement(WHO, "2021-06")), [100, 492, 0, 30_309, 0, 0]);
    // The shop gave all of it back before the due date, and said so half a year later.
    let file = format!(
        "id,type,amount,paid_at,authorization_id\nR-1,refund,30000,2021-07-05T12:00:00+09:00,{}\n",
        text(&sale["authorization_id"])
    );
    let shown = house.client.import("office", &file).json();
    assert_eq!(number(&shown["posted"]), 1, "{shown}");
    let june = house.statement(WHO, "2021-06");
    assert_eq!(figures(&june), [0, 0, 0, 0, 0, 0], "nothing was owed, so nothing was late: {june}");
    assert_eq!((number(&june["principal"]), number(&june["bill_fee"])), (0, 0), "{june}");
    let credit = house.read(WHO, "credit");
    assert_eq!(number(&credit["credit"]) + number(&credit["payout_due"]), 30_309, "{credit}");
    all_add_up_of(WHO, &mut house);
    house.again();
    all_add_up_of(WHO, &mut house);
    verifies(&house);
}

/// Found by a reader: news that stood beside brought money back that a reversal had taken long before.
#[test]
fn a_late_fee_that_is_waived_beside_news_leaves_what_was_taken_back_long_ago() {
    let mut house = House::born("2021-06-05T10:00:00+09:00");
    let corrected = |house: &mut House, call: &str, body: &Value| {
        let answer = house.office("2000", call, body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    house.bought("2000", "online", 7_119);
    house.at("2021-07-15");
    house.repay("2000", "P-1", 333);
    house.at("2021-08-20");
    corrected(
        &mut house,
        "repayments/P-1/reversal",
        &json!({"reversal_id": "V-1", "amount": 34, "by": "tanaka", "reason": "another customer's"}),
    );
    house.at("2022-01-10");
    let news = json!({"payment_id": "K-1", "amount": 100, "expires_at": "2022-03-01T12:00:00+09:00"});
    assert_eq!(house.office("2000", "payments-pending", &news).status, 200);
    house.at("2022-01-12");
    let waived =
        corrected(&mut house, "fees/fee_2021-06_2021-08-10/waiver", &json!({"by": "tanaka", "reason": "goodwill"}));
    assert_eq!(waived["moved"], json!([]), "{waived}");
    let statement = house.read("2000", "statements/2021-06");
    assert_eq!(statement["paid"], 299, "{statement}");
    verifies(&house);
}

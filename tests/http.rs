//! The HTTP edge over real sockets: every call, every role, every way to get a request wrong.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod http_support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http_support::{Client, House, Looks, Plan, purchase, request};
use serde_json::{Value, json};
use sokketsu::code::{Aid, Application, Form, Issuers, Label, Prefix};
use sokketsu::domain::billing::notes::Note;
use sokketsu::domain::model::ids::{CustomerIx, Handle, Lsn, OfficeId};
use sokketsu::domain::model::time::Millis;
use sokketsu::domain::state::event::{CodeIssued, Event};
use sokketsu::engine::queues::Bounds;
use sokketsu::engine::readiness::Condition;
use sokketsu::http::routes::{Call, ROUTES};
use sokketsu::http::trust::callers::Role;
use sokketsu::http::{EVENT_FEEDS, Options};
use sokketsu::journal::FeedError;

const REGISTER: &str = "sandbox-register";
const WALLET: &str = "sandbox-wallet";
const OFFICE: &str = "sandbox-office";
const OPS: &str = "sandbox-ops";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} should be a string"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_from_code_to_late_retry() {
    let house = House::usual();
    let mut client = house.client().await;
    let code = client.code("1001").await;
    assert_eq!(text(&code["barcode"]).len(), 24);
    assert_eq!(code["spendable"], json!({"in_store": 15_000, "online": 50_000}));

    let order = purchase("R-1001", &code, 1_980);
    let answer = client.post("/v1/authorizations", REGISTER, &order).await;
    assert_eq!(answer.status, 200);
    let timing = answer.header("server-timing").unwrap();
    for stage in ["parse", "verify", "queue", "decide", "journal", "answer"] {
        assert!(timing.contains(&format!("{stage};dur=")), "{timing}");
    }
    let first = answer.json();
    assert_eq!((&first["decision"], &first["status"]), (&json!("approved"), &json!("captured")));
    assert_eq!((&first["response_code"], &first["reason"], &first["points"]), (&json!("00"), &json!(null), &json!(9)));
    assert_eq!((&first["retry"], &first["replayed"]), (&json!("never"), &json!(false)));
    assert_eq!(text(&first["approval_code"]).len(), 6);
    assert!(text(&first["clerk"]["ja"]).contains("完了"));
    assert!(text(&first["decided_at"]).ends_with("+09:00"));
    assert_eq!(text(&first["statement"]["due"]).len(), 10);

    let again = client.post("/v1/authorizations", REGISTER, &order).await.json();
    assert_eq!((&again["replayed"], &again["approval_code"]), (&json!(true), &first["approval_code"]));

    let other = client.post("/v1/authorizations", REGISTER, &purchase("R-1001", &code, 1_981)).await;
    assert_eq!(other.problem(), (409, "order_id_reused".into(), String::new()));

    let used = client.post("/v1/authorizations", REGISTER, &purchase("R-1002", &code, 500)).await.json();
    assert_eq!((&used["reason"], &used["retry"]), (&json!("code_used"), &json!("new_code")));
    assert_eq!((&used["first"]["order_id"], &used["first"]["amount"]), (&json!("R-1001"), &json!(1_980)));

    let id = text(&first["authorization_id"]);
    for path in
        [format!("/v1/authorizations/{id}"), "/v1/authorizations?merchant_id=mrc_konbini&order_id=R-1001".into()]
    {
        for key in [REGISTER, OFFICE, "konbini-key"] {
            let stored = client.get(&path, key).await.json();
            assert_eq!(stored["authorization_id"], first["authorization_id"]);
            assert_eq!((&stored["captured_amount"], &stored["refunded_amount"]), (&json!(1_980), &json!(0)));
        }
    }

    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "R-1001", "code": code["barcode"]});
    let cancelled = client.post("/v1/cancellations", REGISTER, &cancel).await.json();
    assert_eq!(cancelled, json!({"action": "reversed", "authorization_id": id, "replayed": false}));
    let repeat = client.post("/v1/cancellations", REGISTER, &cancel).await.json();
    assert_eq!(repeat, json!({"action": "reversed", "authorization_id": id, "replayed": true}));

    let late = client.post("/v1/authorizations", REGISTER, &order).await.json();
    assert_eq!((&late["decision"], &late["reason"]), (&json!("denied"), &json!("cancelled")));
    assert_eq!((&late["status"], &late["replayed"]), (&json!("cancelled"), &json!(true)));
    assert_eq!((&late["approval_code"], &late["response_code"]), (&json!(null), &json!("12")));
    let stored = client.get(&format!("/v1/authorizations/{id}"), REGISTER).await.json();
    assert_eq!((&stored["decision"], &stored["status"]), (&json!("approved"), &json!("cancelled")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_comes_first_blocks_its_order() {
    let house = House::usual();
    let mut client = house.client().await;
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "R-2"});
    let blocked = client.post("/v1/cancellations", REGISTER, &cancel).await.json();
    assert_eq!(blocked, json!({"action": "blocked", "authorization_id": null, "replayed": false}));
    let denied = client.buy("1001", "R-2", 100).await;
    assert_eq!((&denied["decision"], &denied["reason"]), (&json!("denied"), &json!("cancelled")));
    // The late sale was denied; what was first said of it stands.
    for _ in 0..2 {
        let again = client.post("/v1/cancellations", REGISTER, &cancel).await.json();
        assert_eq!(again, json!({"action": "blocked", "authorization_id": null, "replayed": true}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_captured_in_part_and_refunded_in_parts() {
    let house = House::usual();
    let mut client = house.client().await;
    let code = client.code("2000").await;
    let mut order = purchase("H-1", &code, 5_000);
    order["capture"] = json!(false);
    let held = client.post("/v1/authorizations", REGISTER, &order).await.json();
    assert_eq!(held["status"], "authorized");
    let id = text(&held["authorization_id"]).to_owned();
    let (captures, refunds) = (format!("/v1/authorizations/{id}/captures"), format!("/v1/authorizations/{id}/refunds"));

    let early = client.post(&refunds, REGISTER, &json!({"refund_id": "F-1", "amount": 1})).await;
    assert_eq!(early.problem().1, "not_captured");
    let over = client.post(&captures, REGISTER, &json!({"amount": 5_001})).await;
    assert_eq!(over.problem(), (422, "over_hold".into(), "/amount".into()));
    let captured = client.post(&captures, REGISTER, &json!({"amount": 4_000})).await.json();
    assert_eq!(
        (&captured["status"], &captured["captured_amount"], &captured["replayed"]),
        (&json!("captured"), &json!(4_000), &json!(false))
    );
    let again = client.post(&captures, REGISTER, &json!({"amount": 4_000})).await.json();
    assert_eq!(again["replayed"], true);
    let otherwise = client.post(&captures, REGISTER, &json!({"amount": 3_000})).await;
    assert_eq!(otherwise.problem().1, "captured_otherwise");

    let made = client.post(&refunds, REGISTER, &json!({"refund_id": "F-1", "amount": 1_500})).await.json();
    assert_eq!((&made["refundable_left"], &made["outcome"]), (&json!(2_500), &json!("usage_reduced")));
    assert_eq!((&made["spendable_restored"], &made["replayed"]), (&json!(1_500), &json!(false)));
    assert_eq!(made["applied"], json!([{"to": captured["statement"]["month"], "amount": 1_500}]));
    let again = client.post(&refunds, OFFICE, &json!({"refund_id": "F-1", "amount": 1_500})).await.json();
    assert_eq!(again["replayed"], true);
    let reused = client.post(&refunds, OFFICE, &json!({"refund_id": "F-1", "amount": 1_501})).await;
    assert_eq!(reused.problem().1, "refund_id_reused");
    let over = client.post(&refunds, OFFICE, &json!({"refund_id": "F-2", "amount": 2_501})).await;
    assert_eq!(over.problem(), (422, "over_refundable".into(), "/amount".into()));
    let cancel =
        client.post("/v1/cancellations", REGISTER, &json!({"merchant_id": "mrc_konbini", "order_id": "H-1"})).await;
    assert_eq!(cancel.problem(), (409, "use_refund".into(), String::new()));
    let stored = client.get(&format!("/v1/authorizations/{id}"), OFFICE).await.json();
    assert_eq!((&stored["status"], &stored["refunded_amount"]), (&json!("partially_refunded"), &json!(1_500)));
    let unknown = "/v1/authorizations/aut_00000000000000000000000000/refunds";
    let unknown = client.post(unknown, OFFICE, &json!({"refund_id": "F", "amount": 1})).await;
    assert_eq!(unknown.problem().1, "authorization_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_go_to_the_phone_and_not_to_the_register() {
    let house = House::usual();
    let mut client = house.client().await;
    let code = client.code("1002").await;
    let denied = client.post("/v1/authorizations", REGISTER, &purchase("N-1", &code, 2_001)).await.json();
    assert_eq!((&denied["reason"], &denied["response_code"]), (&json!("over_in_store_limit"), &json!("51")));
    assert_eq!((&denied["statement"], &denied["points"]), (&json!(null), &json!(0)));
    assert!(!denied["clerk"].to_string().contains("2,0"), "{denied}");
    let path = format!("/v1/codes/{}", text(&code["code_id"]));
    let mirror = client.get(&path, WALLET).await.json();
    assert_eq!(
        (&mirror["status"], &mirror["attempts"], &mirror["decision"]),
        (&json!("live"), &json!(1), &json!("denied"))
    );
    let attempt = &mirror["last_attempt"];
    assert_eq!((&attempt["reason"], &attempt["shop"]), (&json!("over_in_store_limit"), &json!("サンプルコンビニ")));
    assert_eq!(attempt["customer"]["en"], "You can spend 2,000 yen in store (2,001 yen this time).");

    let paid = client.post("/v1/authorizations", REGISTER, &purchase("N-2", &code, 1_500)).await.json();
    assert_eq!(paid["decision"], "approved", "a denial leaves the code live");
    let mirror = client.get(&path, WALLET).await.json();
    assert_eq!((&mirror["status"], &mirror["attempts"]), (&json!("used"), &json!(2)));
    assert_eq!(mirror["spendable"], json!({"in_store": 500, "online": 48_500}));
    assert!(text(&mirror["last_attempt"]["customer"]["ja"]).contains("サンプルコンビニでの1,500円"));
    let picture = client.get(&format!("{path}/qr.svg"), WALLET).await;
    assert_eq!(picture.problem().1, "code_not_live");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_shown_mirrored_and_voided() {
    let house = House::usual();
    let mut client = house.client().await;
    let answer = client.post("/v1/codes", WALLET, &json!({"customer_id": "1001"})).await;
    let code = answer.json();
    let path = format!("/v1/codes/{}", text(&code["code_id"]));
    assert_eq!(answer.header("location"), Some(path.as_str()));
    for picture in ["barcode.svg", "qr.svg?width=500"] {
        let answer = client.get(&format!("{path}/{picture}"), WALLET).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/svg+xml")));
        assert!(answer.text().starts_with("<svg"));
    }
    let qr = json!({"order_id": "Q-1", "code": code["qr"], "amount": 100, "merchant": {"id": "mrc_electronics"}});
    assert_eq!(client.post("/v1/authorizations", REGISTER, &qr).await.json()["decision"], "approved");

    let code = client.code("1001").await;
    let path = format!("/v1/codes/{}", text(&code["code_id"]));
    for _ in 0..2 {
        let voided = client.call("DELETE", &path, WALLET, None).await;
        assert_eq!((voided.status, &voided.json()["status"]), (200, &json!("voided")));
    }
    let denied = client.post("/v1/authorizations", REGISTER, &purchase("V-1", &code, 100)).await.json();
    assert_eq!(denied["reason"], "code_voided");
    for unknown in ["cod_nothing", "cod_00000000000000000000000000"] {
        assert_eq!(client.get(&format!("/v1/codes/{unknown}"), WALLET).await.problem().1, "code_unknown");
    }
    for (customer, status, reason) in [
        ("1003", 403, "identity_required"),
        ("1004", 403, "overdue"),
        ("1005", 403, "consent_required"),
        ("1006", 403, "suspended"),
        ("9999", 404, "customer_unknown"),
    ] {
        let refused = client.post("/v1/codes", WALLET, &json!({"customer_id": customer})).await;
        assert_eq!(refused.problem(), (status, reason.into(), String::new()));
        assert!(!text(&refused.json()["next_step"]["ja"]).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_hears_at_once_what_the_register_did() {
    let house = House::usual();
    let (mut phone, mut register) = (house.client().await, house.client().await);
    let code = register.code("1001").await;
    let path = format!("/v1/codes/{}", text(&code["code_id"]));
    let started = Instant::now();
    let silent = phone.get(&format!("{path}?wait_ms=200"), WALLET).await.json();
    assert_eq!(silent["status"], "live");
    assert!(started.elapsed() >= Duration::from_millis(200));

    phone.send(request("GET", &format!("{path}?wait_ms=30000"), WALLET, None).as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    register.post("/v1/authorizations", REGISTER, &purchase("P-1", &code, 20_000)).await;
    let denied = phone.answer().await.json();
    assert_eq!((&denied["status"], &denied["decision"]), (&json!("live"), &json!("denied")));

    let after = |mirror: &Value| format!("{path}?wait_ms=30000&after={}", mirror["version"]);
    let missed = phone.get(&after(&silent), WALLET).await.json();
    assert_eq!(missed["attempts"], 1, "what was missed is told at once");
    phone.send(request("GET", &after(&missed), WALLET, None).as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    register.code("1001").await;
    assert_eq!(phone.answer().await.json()["status"], "voided", "a newer code ends the older one");
    phone.get(&format!("{path}?wait_ms=30000"), WALLET).await;
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(phone.get(&format!("{path}?wait_ms=30001"), WALLET).await.problem().2, "wait_ms");
    assert_eq!(phone.get(&format!("{path}?after=-1"), WALLET).await.problem().2, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_waited_past_the_end_of_the_lease_is_told_nothing() {
    let house = House::usual();
    let (mut phone, mut register) = (house.client().await, house.client().await);
    let code = register.code("1001").await;
    let poll = request("GET", &format!("/v1/codes/{}?wait_ms=300", text(&code["code_id"])), WALLET, None);
    phone.send(poll.as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    house.readiness.set(Condition::LeaseHeld, false);
    assert_eq!(phone.answer().await.problem().1, "not_ready");
    house.readiness.set(Condition::LeaseHeld, true);
    phone.send(poll.as_bytes()).await;
    assert_eq!(phone.answer().await.json()["status"], "live");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_is_gone_keeps_no_place_and_one_that_has_said_all_is_answered() {
    let options = Options { max_connections_per_ip: 9, ..Options::default() };
    let house = House::open(Plan { options, ..Plan::default() });
    let mut client = house.client().await;
    let code = client.code("1001").await;
    let poll = request("GET", &format!("/v1/codes/{}?wait_ms=30000", text(&code["code_id"])), WALLET, None);
    let started = Instant::now();
    let mut last = house.client().await;
    last.send(poll.as_bytes()).await;
    last.half_close().await;
    assert_eq!(last.answer().await.json()["status"], "live", "the wait ends early");
    // Forty phones that go while they wait, through seven places.
    for n in 0..40 {
        loop {
            let mut phone = house.client().await;
            // Without a place it is closed at once.
            if !phone.is_silent(Duration::from_millis(20)).await {
                assert!(started.elapsed() < Duration::from_secs(20), "place {n} is not given back");
                continue;
            }
            phone.send(poll.as_bytes()).await;
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_put_customers_and_merchants() {
    let house = House::usual();
    let mut client = house.client().await;
    let path = "/v1/customers/3001";
    assert_eq!(client.get(path, OFFICE).await.problem().1, "customer_unknown");
    let body =
        json!({"identity": "verified", "birth_date": "1990-04-01", "limits": {"total": 30_000, "in_store": 10_000}});
    let created = client.put(path, OFFICE, &body).await;
    assert_eq!((created.status, &created.json()["limits_from"]), (201, &json!("staff")));
    let changed = client.put(path, OFFICE, &json!({"limits": null})).await;
    assert_eq!((changed.status, &changed.json()["limits"]["in_store"]), (200, &json!(2_000)));
    assert_eq!(changed.json()["identity"], "verified", "what is absent stays");
    let standing = client.get(path, WALLET).await.json();
    assert_eq!(standing["blocked_channels"], json!({"in_store": null, "online": null, "np_atobarai": null}));
    assert_eq!(standing["next_rung"]["needs"], json!({"on_time_bills": 1, "purchases": 1, "months_active": 1}));
    assert_eq!(standing["next_bill"], json!(null));
    client.buy("3001", "S-1", 800).await;
    let standing = client.get(path, WALLET).await.json();
    let exposure = json!({"total": 800, "in_store": 800, "held": 0, "unbilled": 800, "billed": 0, "written_off": 0});
    assert_eq!(standing["exposure"], exposure);
    assert_eq!(standing["next_bill"]["principal"], 800);

    let method =
        client.put(&format!("{path}/payment-method"), WALLET, &json!({"payment_method": "postcard"})).await.json();
    assert_eq!(
        (&method["payment_method"], &method["first_bill"]["month"]),
        (&json!("postcard"), &standing["next_bill"]["month"])
    );
    assert!(text(&method["first_bill"]["due"]).ends_with("-20"));
    let unknown = client.put("/v1/customers/3999/payment-method", WALLET, &json!({"payment_method": "konbini"})).await;
    assert_eq!(unknown.problem().1, "customer_unknown");
    let overdue = client.get("/v1/customers/1004", OFFICE).await.json();
    assert_eq!((&overdue["blocked_by"], &overdue["exposure"]["billed"]), (&json!("overdue"), &json!(3_000)));

    let shop = json!({"name": "本屋", "mcc": "5942", "limits": {"per_payment": 3_000}});
    assert_eq!(client.put("/v1/merchants/mrc_books", OFFICE, &shop).await.status, 201);
    let again = client.put("/v1/merchants/mrc_books", OFFICE, &shop).await;
    assert_eq!((again.status, &again.json()["limits"]["per_payment"]), (200, &json!(3_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn online_purchases_name_the_customer() {
    let house = House::usual();
    let mut client = house.client().await;
    let mut order = json!({"order_id": "O-1", "customer_id": "1003", "channel": "online", "amount": 20_000, "merchant": {"id": "mrc_electronics"}});
    let online = client.post("/v1/authorizations", REGISTER, &order).await.json();
    assert_eq!(online["decision"], "approved", "identity is for the store; only the total limit applies");
    order["order_id"] = json!("O-2");
    order["channel"] = json!("np_atobarai");
    order["amount"] = json!(20_001);
    assert_eq!(client.post("/v1/authorizations", REGISTER, &order).await.json()["decision"], "approved");
    order["order_id"] = json!("O-3");
    let denied = client.post("/v1/authorizations", REGISTER, &order).await.json();
    assert_eq!(denied["reason"], "duplicate_suspect");
    assert_eq!(denied["first"]["order_id"], "O-2");
    order["order_id"] = json!("O-4");
    order["confirm_repeat"] = json!(true);
    assert_eq!(client.post("/v1/authorizations", REGISTER, &order).await.json()["reason"], "over_total_limit");
    order["order_id"] = json!("O-5");
    order["currency"] = json!("USD");
    assert_eq!(client.post("/v1/authorizations", REGISTER, &order).await.json()["reason"], "currency_not_supported");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_ledger_remembers() {
    let house = House::usual();
    let mut client = house.client().await;
    let id = house.old.id.to_string();
    let stored = client.get(&format!("/v1/authorizations/{id}"), REGISTER).await.json();
    assert_eq!((&stored["order_id"], &stored["captured_amount"]), (&json!("OLD-1"), &json!(3_000)));
    let by_key = client.get("/v1/authorizations?merchant_id=mrc_konbini&order_id=OLD-1", OFFICE).await.json();
    assert_eq!(by_key["authorization_id"], id);
    let before = house.records();
    let cancel =
        client.post("/v1/cancellations", REGISTER, &json!({"merchant_id": "mrc_konbini", "order_id": "OLD-1"})).await;
    assert_eq!(cancel.problem(), (409, "use_refund".into(), String::new()));
    let captures = format!("/v1/authorizations/{id}/captures");
    assert_eq!(client.post(&captures, REGISTER, &json!({"amount": 3_000})).await.json()["replayed"], true);
    assert_eq!(client.post(&captures, REGISTER, &json!({"amount": 2_000})).await.problem().1, "captured_otherwise");
    assert_eq!(house.records(), before, "nothing was recorded");
    let refund = json!({"refund_id": "F-9", "amount": 3_000});
    let made = client.post(&format!("/v1/authorizations/{id}/refunds"), OFFICE, &refund).await.json();
    assert_eq!((&made["outcome"], &made["refundable_left"]), (&json!("bill_reduced"), &json!(0)));
    assert_eq!(client.get("/v1/customers/1004", WALLET).await.json()["blocked_by"], json!(null));
    assert_eq!(client.get(&format!("/v1/authorizations/{id}"), OFFICE).await.json()["status"], "refunded");
}

/// A file of refunds of purchases that only the ledger could know; each takes a look of its own, and several questions.
fn old_refunds() -> String {
    let lines = (0..200).map(|n| format!("F-{n},refund,100,{}\n", concrete("{authorization_id}")));
    format!("id,type,amount,authorization_id\n{}", lines.collect::<String>())
}

fn import(file: &str) -> String {
    request("POST", "/v1/imports", OFFICE, Some(file)).replace("application/json", "text/csv")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_ledger_is_away_is_broken_off_at_once() {
    let looks = Looks { take: Duration::from_millis(400), fail: true, ..Looks::default() };
    let house = House::open(Plan { looks, ..Plan::default() });
    let mut client = house.client().await;
    let asked = Instant::now();
    client.send(import(&old_refunds()).as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!(answer.problem(), (503, "not_ready".into(), String::new()));
    assert_eq!((&answer.json()["line"], &answer.json()["posted"]), (&json!(2), &json!(0)));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_file_whose_orders_are_being_looked_up() {
    let looks = Looks { take: Duration::from_millis(100), ..Looks::default() };
    let begun = Arc::clone(&looks.begun);
    let mut house = House::open(Plan { looks, ..Plan::default() });
    let mut client = house.client().await;
    client.send(import(&old_refunds()).as_bytes()).await;
    // Looks come before the first line is asked; all of them take seconds.
    while begun.load(Ordering::SeqCst) < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = Instant::now();
    house.stop();
    let answer = client.answer().await;
    assert_eq!(answer.problem(), (503, "not_ready".into(), String::new()));
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    assert!(begun.load(Ordering::SeqCst) < 100, "no look is begun after the stop");
    assert_eq!(answer.json()["line"], 2, "nothing of it was asked");
    assert_eq!(house.closed().await, 0, "nobody was cut");
}

/// A path of the table with its names filled in.
fn concrete(path: &str) -> String {
    path.replace("{customer_id}", "1001")
        .replace("{merchant_id}", "mrc_konbini")
        .replace("{code_id}", "cod_00000000000000000000000000")
        .replace("{authorization_id}", "aut_00000000000000000000000000")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_for_its_roles_only() {
    let house = House::usual();
    let before = house.records();
    for route in ROUTES {
        let mut client = house.client().await;
        let (method, path) = (route.method.as_str(), concrete(route.path));
        let body = route.takes_body.then_some("{}");
        if route.roles.is_empty() {
            let answer = client.call(method, &path, "", body).await;
            assert!(matches!(answer.status, 200 | 404), "{method} {path}: {answer:?}");
            continue;
        }
        for (key, reason) in [("", "unauthorized"), ("sandbox-nobody", "unauthorized")] {
            let mut client = house.client().await;
            let answer = client.call(method, &path, key, body).await;
            assert_eq!(answer.problem(), (401, reason.into(), String::new()), "{method} {path}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
        for role in Role::ALL {
            let mut client = house.client().await;
            let answer = client.call(method, &path, &format!("sandbox-{}", role.name()), body).await;
            assert_eq!(answer.status == 403, !route.roles.contains(&role), "{method} {path} as {role:?}: {answer:?}");
        }
    }
    let mut client = house.client().await;
    let other = client.call("PATCH", "/v1/codes", WALLET, Some("{}")).await;
    assert_eq!((other.problem().1.as_str(), other.header("allow")), ("method_not_allowed", Some("POST")));
    let mut client = house.client().await;
    assert_eq!(client.get("/v2/codes", WALLET).await.problem().1, "not_found");
    assert_eq!(house.records(), before, "nothing was recorded but by calls that were allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_key_speaks_for_its_own_only() {
    let house = House::usual();
    let mut client = house.client().await;
    let (code, key) = (client.code("1001").await, "konbini-key");
    let before = house.records();
    let with =
        |merchant: Value| json!({"order_id": "B-1", "code": code["barcode"], "amount": 100, "merchant": merchant});
    for (merchant, field) in [
        (json!({"id": "mrc_electronics", "terminal_id": "T01"}), "/merchant/id"),
        (json!({"id": "mrc_konbini", "terminal_id": "T02"}), "/merchant/terminal_id"),
        (json!({"id": "mrc_konbini"}), "/merchant/terminal_id"),
    ] {
        let refused = client.post("/v1/authorizations", key, &with(merchant)).await;
        assert_eq!(refused.problem(), (403, "forbidden".into(), field.into()));
    }
    let online = json!({"order_id": "B-2", "customer_id": "1001", "channel": "online", "amount": 100, "merchant": {"id": "mrc_konbini", "terminal_id": "T01"}});
    assert_eq!(client.post("/v1/authorizations", key, &online).await.problem().2, "/channel");
    let cancel = json!({"merchant_id": "mrc_electronics", "order_id": "B-1"});
    assert_eq!(client.post("/v1/cancellations", key, &cancel).await.problem().2, "/merchant_id");
    assert_eq!(house.records(), before);
    let own =
        client.post("/v1/authorizations", key, &with(json!({"id": "mrc_konbini", "terminal_id": "T01"}))).await.json();
    assert_eq!(own["decision"], "approved");
    let refunds = format!("/v1/authorizations/{}/refunds", text(&own["authorization_id"]));
    assert_eq!(client.post(&refunds, key, &json!({"refund_id": "F", "amount": 1})).await.problem().0, 403);
    let foreign = json!({"order_id": "B-3", "customer_id": "1001", "channel": "online", "amount": 100, "merchant": {"id": "mrc_electronics"}});
    let foreign = client.post("/v1/authorizations", REGISTER, &foreign).await.json();
    let id = text(&foreign["authorization_id"]);
    assert_eq!(client.get(&format!("/v1/authorizations/{id}"), key).await.problem().0, 404);
    let capture = client.post(&format!("/v1/authorizations/{id}/captures"), key, &json!({"amount": 100})).await;
    assert_eq!(capture.problem().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_fields_are_named_and_nothing_is_recorded() {
    let house = House::usual();
    let mut client = house.client().await;
    let code = client.code("1001").await;
    let before = house.records();
    let long = "x".repeat(65);
    let shop = json!({"id": "mrc_konbini"});
    for (field, value, pointer) in [
        ("amount", json!(1980.0), "/amount"),
        ("amount", json!("1980"), "/amount"),
        ("amount", json!(0), "/amount"),
        ("amount", json!(-5), "/amount"),
        ("amount", json!(19.8), "/amount"),
        ("amount", json!(10_000_000), "/amount"),
        ("amount", json!(null), "/amount"),
        ("order_id", json!(long), "/order_id"),
        ("order_id", json!(""), "/order_id"),
        ("order_id", json!("a b"), "/order_id"),
        ("order_id", json!(7), "/order_id"),
        ("code", json!(900_099_991), "/code"),
        ("currency", json!("YENN"), "/currency"),
        ("capture", json!("yes"), "/capture"),
        ("deadline_ms", json!(60_001), "/deadline_ms"),
        ("entry_mode", json!("nfc"), "/entry_mode"),
        ("requested_at", json!("yesterday"), "/requested_at"),
        ("merchant", json!("mrc_konbini"), "/merchant"),
        ("merchant", json!({"id": "mrc_konbini", "till": 1}), "/merchant/till"),
        ("merchant", json!({"id": "mrc_konbini", "terminal_id": "T12345678"}), "/merchant/terminal_id"),
        ("merchant", json!({"id": "x".repeat(33)}), "/merchant/id"),
        ("items", json!([{}, {"category": 1}]), "/items/1/category"),
        ("tip", json!(1), "/tip"),
        ("customer_id", json!("1001"), "/customer_id"),
        ("channel", json!("online"), "/channel"),
    ] {
        let mut body = json!({"order_id": "X-1", "code": code["barcode"], "amount": 100, "merchant": shop});
        body[field] = value;
        let answer = client.post("/v1/authorizations", REGISTER, &body).await;
        assert_eq!(answer.problem(), (422, "invalid_field".into(), pointer.into()), "{body}");
        assert!(!answer.closes(), "a body that was read leaves the connection usable");
    }
    for (missing, pointer) in
        [("order_id", "/order_id"), ("amount", "/amount"), ("merchant", "/merchant"), ("code", "/code")]
    {
        let mut body = json!({"order_id": "X-1", "code": code["barcode"], "amount": 100, "merchant": shop});
        body.as_object_mut().unwrap().remove(missing);
        let answer = client.post("/v1/authorizations", REGISTER, &body).await;
        assert_eq!(answer.problem(), (422, "invalid_field".into(), pointer.into()));
    }
    assert_eq!(house.records(), before, "nothing was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_and_queries_of_the_other_calls_too() {
    let house = House::usual();
    let mut client = house.client().await;
    let before = house.records();
    for (method, path, key, body, field) in [
        ("POST", "/v1/codes", WALLET, r#"{"customer_id":"1001","kind":"qr"}"#, "/kind"),
        ("POST", "/v1/codes", WALLET, r#"{"customer_id":1001}"#, "/customer_id"),
        ("POST", "/v1/cancellations", REGISTER, r#"{"merchant_id":"mrc_konbini"}"#, "/order_id"),
        ("POST", "/v1/authorizations/aut_x/refunds", OFFICE, r#"{"refund_id":"F","amount":1.5}"#, "/amount"),
        ("POST", "/v1/authorizations/aut_x/captures", REGISTER, r#"{"amount":-1}"#, "/amount"),
        ("PUT", "/v1/customers/1001", OFFICE, r#"{"limits":{"total":1,"in_store":2}}"#, "/limits/in_store"),
        ("PUT", "/v1/customers/1001", OFFICE, r#"{"limits":{"total":-1,"in_store":0}}"#, "/limits/total"),
        ("PUT", "/v1/customers/1001", OFFICE, r#"{"identity":"maybe"}"#, "/identity"),
        ("PUT", "/v1/customers/a.b", OFFICE, "{}", "customer_id"),
        ("PUT", "/v1/customers/1001/payment-method", WALLET, r#"{"payment_method":"card"}"#, "/payment_method"),
        ("PUT", "/v1/merchants/mrc_x", OFFICE, r#"{"name":"x","mcc":"12"}"#, "/mcc"),
        ("POST", "/sandbox/clock", OPS, r#"{"now":"tomorrow"}"#, "/now"),
    ] {
        let answer = client.call(method, path, key, Some(body)).await;
        assert_eq!(answer.problem(), (422, "invalid_field".into(), field.into()), "{method} {path} {body}");
    }
    let account = "/v1/customers/1001";
    for (body, field) in
        [(r#"{"birth_date":"1990-W01-1"}"#, "/birth_date"), (r#"{"birth_date":"10990-1-01"}"#, "/birth_date")]
    {
        assert_eq!(client.call("PUT", account, OFFICE, Some(body)).await.problem().2, field, "{body}");
    }
    // Beyond what a month can be is no month, never another one.
    for month in ["7488-03", "5461-01", "0000-01", "2026-13", "2026-1", "november"] {
        let answer = client.get(&format!("{account}/statements/{month}"), OFFICE).await;
        assert_eq!(answer.problem(), (400, "malformed".into(), "bill".into()), "{month}");
        for field in ["month", "bill"] {
            let body = format!(r#"{{"posting_id":"D-1","{field}":"{month}","amount":1}}"#);
            let answer = client.call("POST", &format!("{account}/damages"), OFFICE, Some(&body)).await;
            assert_eq!(answer.problem(), (422, "invalid_field".into(), format!("/{field}")), "{month}");
        }
    }
    for (from, field) in
        [("2026-W01-1", "from"), ("20260101T0", "from"), ("9999-12-31", "from"), ("-001-01-01", "from")]
    {
        let answer = client.get(&format!("{account}/history?from={from}"), OFFICE).await;
        assert_eq!((answer.problem().0, answer.problem().2), (422, field.into()), "{from}");
    }
    for query in
        ["?order_id=1", "?merchant_id=m", "?merchant_id=m&order_id=1&x=1", "?merchant_id=m&merchant_id=m&order_id=1"]
    {
        assert_eq!(client.get(&format!("/v1/authorizations{query}"), OFFICE).await.problem().0, 422, "{query}");
    }
    for body in ["", "{", "{\"order_id\":", "nonsense", "{\"order_id\":\"X\",}"] {
        let answer = client.call("POST", "/v1/authorizations", REGISTER, Some(body)).await;
        assert_eq!(answer.problem().0, 400, "{body}");
    }
    assert_eq!(house.records(), before, "nothing was recorded");
    assert_eq!(client.get("/livez", "").await.status, 200, "the same connection is still usable");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_can_be_read_two_ways_are_refused() {
    let house = House::usual();
    let before = house.records();
    let order = r#"{"order_id":"X-1","code":"1","amount":100,"merchant":{"id":"mrc_konbini"}}"#;
    let common = format!("Authorization: Bearer {REGISTER}\r\nContent-Type: application/json\r\n");
    let chunked = format!("{:x}\r\n{order}\r\n0\r\n\r\n", order.len());
    let length = order.len();
    for (bytes, status) in [
        (format!("POST /v1/authorizations HTTP/1.1\r\n{common}Content-Length: {length}\r\n\r\n{order}"), 400),
        (
            format!(
                "POST /v1/authorizations HTTP/1.1\r\nHost: a\r\nHost: a\r\n{common}Content-Length: {length}\r\n\r\n{order}"
            ),
            400,
        ),
        (
            format!(
                "POST /v1/authorizations HTTP/1.1\r\nHost: a\r\n{common}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
            ),
            400,
        ),
        (
            format!(
                "POST /v1/authorizations HTTP/1.1\r\nHost: a\r\n{common}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{chunked}"
            ),
            400,
        ),
        (
            format!(
                "POST https://a/v1/authorizations HTTP/1.1\r\nHost: a\r\n{common}Content-Length: {length}\r\n\r\n{order}"
            ),
            400,
        ),
        (
            format!(
                "POST /v1/authorizations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {REGISTER}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{order}"
            ),
            415,
        ),
        (
            format!(
                "POST /v1/authorizations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {REGISTER}\r\nContent-Length: {length}\r\n\r\n{order}"
            ),
            415,
        ),
        (format!("GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{order}"), 400),
    ] {
        let mut client = house.client().await;
        client.send(bytes.as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.problem().0, status, "{bytes}");
        assert!(answer.closes(), "{bytes}");
        assert!(client.is_closed().await, "{bytes}");
    }
    let mut client = house.client().await;
    client.send(b"nonsense\r\n\r\n").await;
    assert_eq!(client.head().await.status, 400);
    let mut client = house.client().await;
    client.send(format!("GET /livez HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(80)).as_bytes()).await;
    assert_eq!(client.head().await.status, 431);
    assert_eq!(house.records(), before, "nothing was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_slow_bodies_are_refused() {
    let house = House::usual();
    let before = house.records();
    let big = format!("{{\"order_id\":\"{}\"}}", "x".repeat(20_000));
    let head = format!(
        "POST /v1/authorizations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {REGISTER}\r\nContent-Type: application/json\r\n"
    );
    let chunks: String = big
        .as_bytes()
        .chunks(1_000)
        .map(|piece| format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece)))
        .collect();
    for bytes in [
        format!("{head}Content-Length: {}\r\n\r\n{big}", big.len()),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
        // Refused before a byte of the body is sent, and without being asked to send it.
        format!("{head}Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"),
    ] {
        let mut client = house.client().await;
        client.send(bytes.as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.problem(), (413, "too_large".into(), String::new()));
        assert!(answer.closes() && client.is_closed().await);
    }
    // A head that stays half-sent is cut off long before an idle connection would be.
    let mut client = house.client().await;
    client.send(b"GET /livez HTTP/1.1\r\nHost: a").await;
    assert!(client.is_closed().await);
    let mut client = house.client().await;
    client.send(format!("{head}Content-Length: 10\r\n\r\n{{").as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!(answer.problem(), (408, "body_timeout".into(), String::new()));
    assert!(answer.closes());

    let mut client = house.client().await;
    let exact = format!("{{\"order_id\":\"{}\"}}", "x".repeat(16 * 1_024 - 15));
    assert_eq!(exact.len(), 16 * 1_024);
    let answer = client.call("POST", "/v1/authorizations", REGISTER, Some(&exact)).await;
    assert_eq!(answer.problem(), (422, "invalid_field".into(), "/order_id".into()), "16 KiB is not too large");
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n[true\r\n1\r\n]\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(client.answer().await.status, 422, "a chunked body is read");
    assert_eq!(house.records(), before, "nothing was recorded");
}

/// A prefix of each form.
fn both_forms() -> Plan {
    let prefix = |text| Prefix::parse(text).unwrap();
    let aid = Aid::parse("F0000000000001").unwrap();
    let application = Application { aid, form: Form::L24, label: Label::parse("TESTPAY").unwrap() };
    let prefixes = vec![(prefix("90009999"), Form::L24), (prefix("90008888"), Form::Tok19)];
    Plan { issuers: Issuers::new(prefixes, vec![application]).unwrap(), ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_19_digits_is_issued_shown_and_paid_with() {
    let usual = House::usual();
    let tok19 = json!({"customer_id": "1001", "form": "tok19"});
    let mut client = usual.client().await;
    let refused = client.post("/v1/codes", WALLET, &tok19).await;
    assert_eq!((refused.problem().0, refused.problem().2.as_str()), (422, "/form"), "no prefix has it");

    let house = House::open(both_forms());
    let mut client = house.client().await;
    let unknown = client.post("/v1/codes", WALLET, &json!({"customer_id": "1001", "form": "l25"})).await;
    assert_eq!((unknown.problem().0, unknown.problem().2.as_str()), (422, "/form"));
    let code = client.code("1001").await;
    assert_eq!(text(&code["barcode"]).len(), 24, "the form of the first prefix");
    let code = client.post("/v1/codes", WALLET, &tok19).await.json();
    let barcode = text(&code["barcode"]);
    assert!(barcode.len() == 19 && barcode.starts_with("90008888"), "{code}");
    let second = |key: &str| Millis::parse(text(&code[key])).unwrap().0;
    assert_eq!(second("expires_at") - second("issued_at"), 60_000);
    let path = format!("/v1/codes/{}", text(&code["code_id"]));
    let mut pictures = Vec::new();
    for picture in ["barcode.svg", "qr.svg"] {
        let answer = client.get(&format!("{path}/{picture}"), WALLET).await;
        assert_eq!(answer.status, 200);
        pictures.push(answer.text());
    }
    assert_eq!(sokketsu::code::barcode::svg(barcode, 561).as_deref(), Some(pictures[0].as_str()));
    assert_eq!(sokketsu::code::qr::svg(text(&code["qr"]), 360).as_deref(), Some(pictures[1].as_str()));
    let over = client.post("/v1/authorizations", REGISTER, &purchase("T-1", &code, 3_001)).await.json();
    assert_eq!(over["reason"], "over_payment_cap");
    let paid = client.post("/v1/authorizations", REGISTER, &purchase("T-2", &code, 3_000)).await.json();
    assert_eq!((&paid["decision"], &paid["response_code"]), (&json!("approved"), &json!("00")));
    assert_eq!(client.get(&format!("{path}/barcode.svg"), WALLET).await.problem().1, "code_not_live");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_guesses_of_19_digits_and_a_terminal_waits() {
    let house = House::open(both_forms());
    let mut client = house.client().await;
    let guess = |n: u32, terminal: &str| {
        let merchant = json!({"id": "mrc_konbini", "terminal_id": terminal});
        // Well-formed, of a handle that nobody has.
        json!({"order_id": format!("G-{n}"), "code": "9000888810000000000", "amount": 100, "merchant": merchant})
    };
    for n in 0..2 {
        let answer = client.post("/v1/authorizations", REGISTER, &guess(n, "T01")).await.json();
        assert_eq!((&answer["reason"], &answer["retry"]), (&json!("code_invalid"), &json!("new_code")));
        let again = client.post("/v1/authorizations", REGISTER, &guess(n, "T01")).await.json();
        assert_eq!(again["replayed"], true);
    }
    let before = house.records();
    assert_eq!(client.post("/v1/authorizations", REGISTER, &guess(2, "T01")).await.problem().0, 429);
    assert_eq!(house.records(), before, "it was not judged");
    assert_eq!(client.post("/v1/authorizations", REGISTER, &guess(0, "T01")).await.json()["replayed"], true);
    let mut code = client.code("1001").await;
    let sealed = client.post("/v1/authorizations", REGISTER, &purchase("G-3", &code, 100)).await.json();
    assert_eq!(sealed["decision"], "approved", "a sealed code is no guess");
    code = client.post("/v1/codes", WALLET, &json!({"customer_id": "1001", "form": "tok19"})).await.json();
    let good = client.post("/v1/authorizations", REGISTER, &purchase("G-4", &code, 200)).await;
    assert_eq!(good.status, 429, "a good one of 19 digits would tell the guesser that it is good");
    let other = client.post("/v1/authorizations", REGISTER, &guess(5, "T05")).await.json();
    assert_eq!(other["reason"], "code_invalid", "another terminal is not slowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_bad_code_of_a_terminal_waits() {
    let house = House::usual();
    let mut client = house.client().await;
    let known = client.buy("1001", "K-1", 100).await;
    let bad = |n: u32, terminal: &str| {
        let merchant = json!({"id": "mrc_konbini", "terminal_id": terminal});
        json!({"order_id": format!("BAD-{n}"), "code": "900099991314159265005630", "amount": 100, "merchant": merchant})
    };
    for n in 0..5 {
        let answer = client.post("/v1/authorizations", REGISTER, &bad(n, "T01")).await.json();
        assert_eq!((&answer["reason"], &answer["retry"]), (&json!("code_invalid"), &json!("new_code")));
        let again = client.post("/v1/authorizations", REGISTER, &bad(n, "T01")).await.json();
        assert_eq!(again["replayed"], true, "a replay is not another bad code");
    }
    let before = house.records();
    let slowed = client.post("/v1/authorizations", REGISTER, &bad(5, "T01")).await;
    assert_eq!(slowed.problem(), (429, "too_many_bad_codes".into(), String::new()));
    assert!((1..=60).contains(&slowed.header("retry-after").unwrap().parse::<u32>().unwrap()));
    let code = client.code("1001").await;
    let good = client.post("/v1/authorizations", REGISTER, &purchase("K-2", &code, 200)).await;
    assert_eq!(good.status, 429, "the source is slowed, whatever it sends");
    assert_eq!(house.records(), before + 1, "only the new code was recorded");
    let replay = client.post("/v1/authorizations", REGISTER, &bad(0, "T01")).await.json();
    assert_eq!(replay["replayed"], true, "known orders are answered before the limit");
    let id = text(&known["authorization_id"]);
    assert_eq!(client.get(&format!("/v1/authorizations/{id}"), REGISTER).await.status, 200);
    assert_eq!(client.post("/v1/authorizations", REGISTER, &bad(6, "T02")).await.status, 200, "another terminal");
    let named = json!({"order_id": "K-3", "customer_id": "1001", "channel": "online", "amount": 100, "merchant": {"id": "mrc_konbini", "terminal_id": "T01"}});
    assert_eq!(client.post("/v1/authorizations", REGISTER, &named).await.status, 200, "no code, no bad code");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_admin_address_staff_calls_are_there_only() {
    let house = House::open(Plan { admin: true, ..Plan::default() });
    let (mut public, mut admin) = (house.client().await, Client::to(house.admin.unwrap()).await);
    for route in ROUTES {
        let staff =
            route.roles.iter().any(|role| matches!(role, Role::Office | Role::Ops)) || route.call == Call::Metrics;
        if staff && !route.takes_body {
            let key = if route.roles.contains(&Role::Ops) { OPS } else { OFFICE };
            let answer = public.call(route.method.as_str(), &concrete(route.path), key, None).await;
            assert!(matches!(answer.problem().0, 403 | 404), "{}: {answer:?}", route.label);
        }
    }
    assert_eq!(public.get("/v1/customers/1001", WALLET).await.status, 200);
    assert_eq!(admin.get("/v1/customers/1001", OFFICE).await.status, 200);
    assert_eq!(admin.get("/v1/events", OPS).await.status, 200);
    for client in [&mut public, &mut admin] {
        assert_eq!(client.get("/readyz", "").await.json(), json!({"ready": true, "reasons": []}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_headers_and_head_is_a_get() {
    let house = House::usual();
    let mut client = house.client().await;
    client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Request-Id: till-7:0001\r\n\r\nHEAD /readyz HTTP/1.1\r\nHost: a\r\nX-Request-Id: a b\r\n\r\nGET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let live = client.answer().await;
    assert_eq!((live.json(), live.header("x-request-id")), (json!({"status": "ok"}), Some("till-7:0001")));
    assert_eq!((live.header("cache-control"), live.header("server")), (Some("no-store"), None));
    let ready = client.head().await;
    assert_eq!(ready.status, 200);
    assert_ne!(ready.header("x-request-id"), Some("a b"), "an id that could break a log is replaced");
    let openapi = client.answer().await;
    assert_eq!(openapi.json()["openapi"], "3.1.0", "pipelined requests are answered in order");
    let missing = client.get("/metrics", "").await;
    assert_eq!(missing.problem().1, "not_found", "no recorder is installed in this test");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ready_or_busy_says_so() {
    let bounds = Bounds { normal: 1, urgent: 1, batch: 1, target: Duration::from_millis(5) };
    let house = House::open(Plan { engine: false, bounds, ..Plan::default() });
    let (mut first, mut second) = (house.client().await, house.client().await);
    let order =
        json!({"order_id": "X", "customer_id": "1001", "channel": "online", "amount": 1, "merchant": {"id": "m"}});
    house.readiness.set(Condition::Recovered, false);
    let early = first.post("/v1/authorizations", REGISTER, &order).await;
    assert_eq!(
        (early.problem().0, early.problem().1.as_str(), early.header("retry-after")),
        (503, "not_ready", Some("1"))
    );
    assert_eq!(first.get("/readyz", "").await.json(), json!({"ready": false, "reasons": ["recovering"]}));
    house.readiness.set(Condition::Recovered, true);
    first.send(request("POST", "/v1/authorizations", REGISTER, Some(&order.to_string())).as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let busy = second.post("/v1/authorizations", REGISTER, &order).await;
    assert_eq!((busy.problem().0, busy.problem().1.as_str(), busy.header("retry-after")), (503, "busy", Some("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_and_followed() {
    let house = House::usual();
    let at = Millis::parse("2026-11-23T17:45:00+09:00").unwrap();
    let issued = |random| {
        let (customer, handle) = (CustomerIx(0), Handle::new(314_159_265).unwrap());
        let (generation, counter) = (1, 1);
        let issued = CodeIssued { customer, handle, generation, id_random: random, counter, random: 2, expires_at: at };
        Event::CodeIssued(issued)
    };
    let add = |lsn, event| house.events.lock().push((Lsn(lsn), at, event));
    add(1, Event::Opened { sandbox: true });
    add(2, issued(7));
    add(3, issued(8));
    let mut client = house.client().await;
    let list = client.get("/v1/events?after=1&limit=1", OPS).await;
    assert_eq!(list.header("content-type"), Some("application/x-ndjson"));
    let line: Value = serde_json::from_str(list.text().lines().next().unwrap()).unwrap();
    assert_eq!((&line["lsn"], &line["kind"], &line["customer_id"]), (&json!(2), &json!("code_issued"), &json!("1001")));
    assert_eq!(line["recorded_at"], "2026-11-23T17:45:00.000+09:00");
    assert!(!list.text().contains("314159265"));
    for (asked, events, end) in [
        ("after=1&limit=1", 1, json!({"after": 2, "more": true})),
        ("after=1&limit=2", 2, json!({"after": 3, "more": false})),
        ("", 3, json!({"after": 3, "more": false})),
        ("limit=5", 3, json!({"after": 3, "more": false})),
        ("after=3", 0, json!({"after": 3, "more": false})),
        ("after=9", 0, json!({"after": 9, "more": false})),
    ] {
        let text = client.get(&format!("/v1/events?{asked}"), OPS).await.text();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[events]), (events + 1, &json!({ "end": end })), "{asked}: {text}");
    }
    assert_eq!(client.get("/v1/events?after=x", OPS).await.problem().2, "after");

    // What it has seen since it began with `after` stands in the header.
    let asks =
        |head: &str| format!("GET /v1/events?after=0 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OPS}\r\n{head}\r\n");
    for broken in ["Last-Event-ID: x\r\n", "Last-Event-ID: 2\r\nLast-Event-ID: 3\r\nAccept: text/event-stream\r\n"] {
        client.send(asks(broken).as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.problem(), (400, "malformed".into(), String::new()));
        assert_eq!(answer.json()["errors"][0]["header"], "Last-Event-ID");
    }
    client.send(asks("Last-Event-ID: 2\r\n").as_bytes()).await;
    assert_eq!(client.answer().await.text().lines().count(), 2, "one event and the end");
    let head = "Accept: text/event-stream\r\nLast-Event-ID: 2\r\n";
    client
        .send(
            format!("GET /v1/events?after=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OPS}\r\n{head}\r\n")
                .as_bytes(),
        )
        .await;
    assert_eq!(client.head().await.header("content-type"), Some("text/event-stream"));
    let first = String::from_utf8(client.until(b"\n\n").await).unwrap();
    assert!(first.contains("id: 3\ndata: {"), "{first}");
    add(4, Event::Opened { sandbox: false });
    let news = String::from_utf8(client.until(b"\n\n").await).unwrap();
    assert!(news.contains("id: 4\n") && news.contains("\"kind\":\"opened\""), "{news}");
    // A record of two lines has its position on the last one: whoever hears only the first hears both again.
    add(5, Event::Noted { customer: CustomerIx(0), note: Note::Frozen { id: OfficeId::new("Z-1").unwrap() } });
    let first = String::from_utf8(client.until(b"\n\n").await).unwrap();
    assert!(!first.contains("id: ") && first.contains("\"kind\":\"frozen\""), "{first}");
    let last = String::from_utf8(client.until(b"\n\n").await).unwrap();
    assert!(last.contains("id: 5\n") && last.contains("\"kind\":\"blocked\""), "{last}");
}

/// Readers of a feed, as many as may be, of which nobody hears anything: nothing happens.
async fn quiet_feeds(house: &House) -> Vec<Client> {
    let mut readers = Vec::new();
    for _ in 0..EVENT_FEEDS {
        let mut reader = house.client().await;
        let head = "GET /v1/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n";
        reader.send(format!("{head}Authorization: Bearer {OPS}\r\n\r\n").as_bytes()).await;
        assert_eq!(reader.head().await.status, 200);
        readers.push(reader);
    }
    readers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_feed_that_is_gone_gives_its_place_back_before_the_feed_has_anything_to_say() {
    let house = House::usual();
    let readers = quiet_feeds(&house).await;
    let mut other = house.client().await;
    assert_eq!(other.get("/v1/events?after=0", OPS).await.problem().0, 503, "all places are taken");
    drop(readers);
    let gone = Instant::now();
    while other.get("/v1/events?after=0", OPS).await.status != 200 {
        // A silent feed says that it is alive after 15 s.
        assert!(gone.elapsed() < Duration::from_secs(10), "a reader that is gone keeps its place");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_feed_that_only_says_no_more_goes_on_hearing() {
    let house = House::usual();
    let mut reader = quiet_feeds(&house).await.swap_remove(0);
    reader.half_close().await;
    for lsn in 1..=3 {
        // Longer than it takes to find a reader gone.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let at = Millis::parse("2026-11-23T17:45:00+09:00").unwrap();
        house.events.lock().push((Lsn(lsn), at, Event::Opened { sandbox: true }));
        let heard = String::from_utf8(reader.until(b"}\n\n").await).unwrap();
        assert!(heard.contains(&format!("id: {lsn}\ndata: {{")), "{heard}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_damaged_journal_nothing_is_answered_any_more() {
    let house = House::usual();
    let mut client = house.client().await;
    let code = client.code("1001").await;
    house.is_halted.store(true, std::sync::atomic::Ordering::Relaxed);
    let records = house.records();
    let body = purchase("H-1", &code, 100).to_string();
    client.send(request("POST", "/v1/authorizations", REGISTER, Some(&body)).as_bytes()).await;
    assert!(client.is_silent(Duration::from_millis(300)).await);
    assert_eq!(house.records(), records, "and nothing is decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_cannot_be_read_are_410_or_an_aborted_body_and_never_a_clean_end() {
    let house = House::usual();
    let at = Millis::parse("2026-11-23T17:45:00+09:00").unwrap();
    for lsn in [1, 2] {
        house.events.lock().push((Lsn(lsn), at, Event::Opened { sandbox: true }));
    }
    let (list, follow) = ("", "Accept: text/event-stream\r\n");
    let asks =
        |head: &str| format!("GET /v1/events?after=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OPS}\r\n{head}\r\n");
    *house.trouble.lock() = Some((Lsn(0), FeedError::Gone { first: Lsn(7) }));
    for head in [list, follow] {
        let mut client = house.client().await;
        client.send(asks(head).as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.problem(), (410, "events_released".into(), String::new()));
        let body = answer.json();
        assert_eq!(body["first"], 7, "{body}");
        assert!(body["detail"].as_str().unwrap().contains("`after=6`"), "{body}");
    }
    *house.trouble.lock() = Some((Lsn(0), FeedError::Failed("no handle is left".to_owned())));
    let mut client = house.client().await;
    client.send(asks(list).as_bytes()).await;
    assert_eq!(client.answer().await.problem().0, 503, "it may be asked again");
    // The first page is good, the next one is not.
    for trouble in [FeedError::Gone { first: Lsn(7) }, FeedError::Failed("an error of the disk".to_owned())] {
        *house.trouble.lock() = Some((Lsn(2), trouble));
        for head in [list, follow] {
            let mut client = house.client().await;
            client.send(asks(head).as_bytes()).await;
            assert_eq!(client.head().await.status, 200);
            let rest = client.rest().await;
            assert!(rest.contains("\"lsn\":2"), "{rest}");
            assert!(!rest.ends_with("0\r\n\r\n"), "the end of a whole body: {rest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_clock_goes_forward_only() {
    let house = House::usual();
    let mut client = house.client().await;
    let set = client.post("/sandbox/clock", OPS, &json!({"now": "2098-01-01T00:00:00Z"})).await;
    assert_eq!((set.status, set.json()), (200, json!({"now": "2098-01-01T09:00:00.000+09:00"})));
    let back = client.post("/sandbox/clock", OPS, &json!({"now": "2097-01-01T00:00:00Z"})).await;
    assert_eq!(back.problem(), (422, "invalid_field".into(), "/now".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_is_in_flight_and_closes_the_rest() {
    let mut house = House::usual();
    let (mut idle, mut waiting, mut feed) = (house.client().await, house.client().await, house.client().await);
    let code = idle.code("1001").await;
    waiting
        .send(request("GET", &format!("/v1/codes/{}?wait_ms=30000", text(&code["code_id"])), WALLET, None).as_bytes())
        .await;
    feed.send(
        format!(
            "GET /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OPS}\r\nAccept: text/event-stream\r\n\r\n"
        )
        .as_bytes(),
    )
    .await;
    feed.head().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    house.stop();
    let answer = waiting.answer().await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("live")));
    assert!(idle.is_closed().await && waiting.is_closed().await);
    let address = house.address;
    assert_eq!(house.readiness.reasons(), ["draining"]);
    assert_eq!(house.closed().await, 0, "no connection was cut");
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_idle_ones_end() {
    let options = Options { max_connections_per_ip: 2, idle_timeout: Duration::from_millis(300), ..Options::default() };
    let house = House::open(Plan { options, ..Plan::default() });
    let (mut a, mut b) = (house.client().await, house.client().await);
    assert_eq!((a.get("/livez", "").await.status, b.get("/livez", "").await.status), (200, 200));
    let mut third = house.client().await;
    assert!(third.is_closed().await, "over the cap of its address");
    assert!(a.is_closed().await && b.is_closed().await, "idle for too long");
    let mut next = house.client().await;
    assert_eq!(next.get("/livez", "").await.status, 200, "the places were given back");
}

/// An answer has exactly the members that the OpenAPI file tells of it.
fn fits(file: &Value, schema: &str, answer: &Value) {
    let parts = |name: &str| {
        let schema = &file["components"]["schemas"][name];
        let all = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        all.into_iter().map(|part| match part["$ref"].as_str() {
            Some(reference) => file.pointer(&reference[1..]).unwrap().clone(),
            None => part,
        })
    };
    let answer = answer.as_object().unwrap();
    for part in parts(schema) {
        for name in part["required"].as_array().unwrap() {
            assert!(answer.contains_key(text(name)), "{schema}: {name} is missing");
        }
    }
    for name in answer.keys() {
        assert!(parts(schema).any(|part| part["properties"].get(name).is_some()), "{schema}: {name} is not described");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_members_that_openapi_tells() {
    let house = House::usual();
    let mut client = house.client().await;
    let file = client.get("/openapi.json", "").await.json();
    let fits = |schema, answer: &Value| fits(&file, schema, answer);
    let code = client.code("2001").await;
    fits("Code", &code);
    let decision = client.post("/v1/authorizations", REGISTER, &purchase("S-1", &code, 300)).await.json();
    fits("Decision", &decision);
    let again = client.post("/v1/authorizations", REGISTER, &purchase("S-2", &code, 300)).await.json();
    fits("Decision", &again);
    fits("FirstSale", &again["first"]);
    let id = text(&decision["authorization_id"]);
    fits("StoredDecision", &client.get(&format!("/v1/authorizations/{id}"), OFFICE).await.json());
    let mirror = client.get(&format!("/v1/codes/{}", text(&code["code_id"])), WALLET).await.json();
    fits("Mirror", &mirror);
    fits("Attempt", &mirror["last_attempt"]);
    assert!(text(&mirror["last_attempt"]["customer"]["en"]).contains("already paid at サンプルコンビニ"));
    let refund = json!({"refund_id": "F-1", "amount": 100});
    fits("RefundMade", &client.post(&format!("/v1/authorizations/{id}/refunds"), OFFICE, &refund).await.json());
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "S-9"});
    fits("Cancelled", &client.post("/v1/cancellations", REGISTER, &cancel).await.json());
    fits("Standing", &client.get("/v1/customers/2001", WALLET).await.json());
    let method =
        client.put("/v1/customers/2001/payment-method", WALLET, &json!({"payment_method": "debit"})).await.json();
    fits("PaymentMethodSet", &method);
    let shop = json!({"name": "x", "mcc": "5499"});
    fits("Merchant", &client.put("/v1/merchants/mrc_x", OFFICE, &shop).await.json());
    fits("Ready", &client.get("/readyz", "").await.json());
    fits("Problem", &client.get("/v1/codes/x", WALLET).await.json());
}

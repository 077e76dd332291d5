//! Between shops and terminals: what a key is not bound to, it neither acts on nor is told of.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

mod http_support;

use http_support::{Client, House};
use serde_json::{Value, json};

const ANY: &str = "sandbox-register";
const TILL_1: &str = "till-1-key";
const TILL_2: &str = "till-2-key";
const CHAIN: &str = "chain-key";
const ELECTRONICS: &str = "electronics-key";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} should be a string")).to_owned()
}

/// A sale at a till of a shop; by code, or by name where `code` is null.
fn sale(order: &str, shop: &str, till: Option<&str>, code: &Value) -> Value {
    let mut merchant = json!({ "id": shop });
    if let Some(till) = till {
        merchant["terminal_id"] = json!(till);
    }
    let mut body = json!({"order_id": order, "amount": 1_000, "merchant": merchant});
    if code.is_null() {
        (body["customer_id"], body["channel"]) = (json!("1001"), json!("online"));
        body["confirm_repeat"] = json!(true);
    } else {
        body["code"] = code.clone();
    }
    body
}

async fn buy(client: &mut Client, key: &str, body: &Value) -> Value {
    let answer = client.post("/v1/authorizations", key, body).await;
    assert_eq!(answer.status, 200, "{body}: {answer:?}");
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_is_told_where_the_key_may_speak_for_its_merchant() {
    let house = House::usual();
    let mut client = house.client().await;
    let code = client.code("1001").await["barcode"].clone();
    let paid = buy(&mut client, TILL_1, &sale("F-1", "mrc_konbini", Some("T01"), &code)).await;
    assert_eq!(paid["decision"], "approved");
    let sees = [
        (ANY, "F-2", "mrc_electronics", None, true),
        (ELECTRONICS, "F-3", "mrc_electronics", None, false),
        (CHAIN, "F-4", "mrc_konbini", None, true),
        (TILL_2, "F-5", "mrc_konbini", Some("T02"), true),
    ];
    for (key, order, shop, till, is_told) in sees {
        let wanted = if is_told { paid["authorization_id"].clone() } else { Value::Null };
        let body = sale(order, shop, till, &code);
        let denied = buy(&mut client, key, &body).await;
        assert_eq!(denied["reason"], "code_used", "{key}");
        let again = buy(&mut client, key, &body).await;
        let id = text(&denied["authorization_id"]);
        let looked = client.get(&format!("/v1/authorizations/{id}"), key).await.json();
        let found = client.get(&format!("/v1/authorizations?merchant_id={shop}&order_id={order}"), key).await.json();
        for answer in [denied, again, looked, found] {
            let first = answer.get("first").unwrap_or_else(|| panic!("{key}: {answer}"));
            assert_eq!(first["authorization_id"], wanted, "{key}: {answer}");
            assert_eq!(first.is_null(), !is_told, "{key}: {answer}");
        }
    }
    // The office sees all; a key of the same shop is told of the same basket.
    let found =
        client.get("/v1/authorizations?merchant_id=mrc_electronics&order_id=F-3", "sandbox-office").await.json();
    assert_eq!(found["first"]["order_id"], "F-1");
    let code = client.code("1001").await["barcode"].clone();
    let twice = buy(&mut client, TILL_2, &sale("F-6", "mrc_konbini", Some("T02"), &code)).await;
    assert_eq!((&twice["reason"], &twice["first"]["order_id"]), (&json!("duplicate_suspect"), &json!("F-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_terminals_speaks_for_them_in_every_call_that_names_an_order() {
    let house = House::usual();
    let mut client = house.client().await;
    let hold = |order: &str, till: Option<&str>| {
        let mut body = sale(order, "mrc_konbini", till, &Value::Null);
        body["capture"] = json!(false);
        body
    };
    for (order, till) in [("B-1", Some("T01")), ("B-2", None)] {
        let held = buy(&mut client, ANY, &hold(order, till)).await;
        let path = format!("/v1/authorizations/{}", text(&held["authorization_id"]));
        let by_key = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={order}");
        let cancel = json!({"merchant_id": "mrc_konbini", "order_id": order});
        let before = house.records();
        for answer in [
            client.get(&path, TILL_2).await,
            client.get(&by_key, TILL_2).await,
            client.post(&format!("{path}/captures"), TILL_2, &json!({"amount": 1_000})).await,
            client.post(&format!("{path}/refunds"), TILL_2, &json!({"refund_id": "r", "amount": 1})).await,
            client.post("/v1/cancellations", TILL_2, &cancel).await,
        ] {
            let (status, reason, _) = answer.problem();
            assert_eq!((status, reason.as_str()), (403, "forbidden"), "{order}");
            assert!(!answer.text().contains("aut_"), "{}", answer.text());
        }
        // The same order id is another sale at another till, which is not told of.
        let reused = client.post("/v1/authorizations", TILL_2, &hold(order, Some("T02"))).await;
        assert_eq!(reused.problem().1, "order_id_reused");
        assert!(reused.json().get("authorization_id").is_none(), "{}", reused.text());
        assert_eq!(house.records(), before, "nothing was recorded");
        // Another merchant's key does not learn that it exists.
        assert_eq!(client.get(&path, ELECTRONICS).await.problem().1, "authorization_unknown");
        let captured = client.post(&format!("{path}/captures"), CHAIN, &json!({"amount": 1_000})).await;
        assert_eq!(captured.status, 200, "{captured:?}");
    }
    let own = buy(&mut client, TILL_2, &hold("B-3", Some("T02"))).await;
    let path = format!("/v1/authorizations/{}", text(&own["authorization_id"]));
    assert_eq!(client.get(&path, TILL_2).await.status, 200);
    assert_eq!(client.post(&format!("{path}/captures"), TILL_2, &json!({"amount": 900})).await.status, 200);
    let refund = json!({"refund_id": "r", "amount": 100});
    assert_eq!(client.post(&format!("{path}/refunds"), TILL_2, &refund).await.status, 200);
    // Never seen: nobody's yet, and blocked by whoever takes it back.
    let unseen = json!({"merchant_id": "mrc_konbini", "order_id": "B-4"});
    for replayed in [false, true] {
        let blocked = client.post("/v1/cancellations", TILL_2, &unseen).await.json();
        assert_eq!((&blocked["action"], &blocked["replayed"]), (&json!("blocked"), &json!(replayed)));
    }
    let own = buy(&mut client, TILL_2, &sale("B-5", "mrc_konbini", Some("T02"), &Value::Null)).await;
    assert_eq!(own["decision"], "approved");
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "B-5"});
    assert_eq!(client.post("/v1/cancellations", TILL_1, &cancel).await.status, 403);
    assert_eq!(client.post("/v1/cancellations", TILL_2, &cancel).await.json()["action"], "reversed");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_till_does_not_shut_its_chain_and_429_says_which_bound_it_was() {
    let house = House::usual();
    let mut client = house.client().await;
    let bad =
        |n: usize, till: &str| sale(&format!("X-{n}"), "mrc_konbini", Some(till), &json!("900099991314159265005630"));
    for n in 0..5 {
        assert_eq!(buy(&mut client, CHAIN, &bad(n, "T01")).await["reason"], "code_invalid");
    }
    let shut = client.post("/v1/authorizations", CHAIN, &bad(5, "T01")).await;
    assert_eq!((shut.problem().0, &shut.json()["source"]), (429, &json!("terminal")));
    let code = client.code("1001").await["barcode"].clone();
    let good = buy(&mut client, CHAIN, &sale("X-good", "mrc_konbini", Some("T02"), &code)).await;
    assert_eq!(good["decision"], "approved", "the chain's other tills go on");
    for n in 6..51 {
        let reason = buy(&mut client, CHAIN, &bad(n, &format!("K{n}"))).await["reason"].clone();
        assert_eq!(reason, "code_invalid", "{n}");
    }
    let shut = client.post("/v1/authorizations", CHAIN, &bad(99, "T09")).await;
    assert_eq!((shut.problem().0, &shut.json()["source"]), (429, &json!("key")));
    assert!(text(&shut.json()["detail"]).contains("all terminals of this key"), "{}", shut.text());
    assert_eq!(buy(&mut client, ANY, &bad(100, "T09")).await["reason"], "code_invalid", "another key is not slowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_scanner_puts_around_a_code_is_taken_off() {
    let house = House::usual();
    let mut client = house.client().await;
    let around = |text: &str| {
        [
            format!("]C0{text}"),
            format!("]Q1{text}"),
            format!("\u{2}{text}\u{3}"),
            format!(" {text}\r\n"),
            format!("\u{2}]d2 {text}\t\u{3}"),
            format!("\u{3000}{text}\u{3000}"),
        ]
    };
    for (n, form) in ["barcode", "qr"].into_iter().enumerate() {
        for at in 0..6 {
            let code = text(&client.code(&format!("20{n}{at}")).await[form]);
            let order = format!("S-{form}-{at}");
            let scanned = sale(&order, "mrc_konbini", None, &json!(around(&code)[at]));
            let paid = buy(&mut client, ANY, &scanned).await;
            assert_eq!(paid["decision"], "approved", "{form} {at}: {paid}");
            let again = buy(&mut client, ANY, &sale(&order, "mrc_konbini", None, &json!(code))).await;
            assert_eq!(again["replayed"], true, "the same code, however it was scanned");
        }
    }
}

//! What RFC 9110 and RFC 9112 demand of an origin server, over real sockets; and what every call has in common.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod http_support;

use http_support::{Answer, House, purchase, request};
use serde_json::{Value, json};
use sokketsu::domain::model::ids::Lsn;
use sokketsu::domain::model::time::Millis;
use sokketsu::domain::state::event::Event;
use sokketsu::http::routes::{ROUTES, Route};

const REGISTER: &str = "sandbox-register";
const WALLET: &str = "sandbox-wallet";
const OFFICE: &str = "sandbox-office";
const OPS: &str = "sandbox-ops";

fn named(order_id: &str) -> Value {
    let merchant = json!({"id": "mrc_konbini"});
    json!({"order_id": order_id, "customer_id": "1001", "channel": "online", "amount": 100, "merchant": merchant})
}

/// A purchase with these lines of its head, framed by them.
fn sale(target: &str, host: &str, lines: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\n{host}Authorization: Bearer {REGISTER}\r\nContent-Type: application/json\r\n{lines}\r\n{body}"
    )
}

/// What is answered to these bytes alone, and whether the connection was closed after it.
async fn told(house: &House, bytes: &str) -> (Answer, bool) {
    let mut client = house.client().await;
    client.send(bytes.as_bytes()).await;
    let answer = client.answer().await;
    let closes = answer.closes() && client.is_closed().await;
    (answer, closes)
}

#[tokio::test(flavor = "multi_thread")]
async fn transfer_codings_other_than_chunked_are_refused_and_the_connection_ends() {
    let house = House::usual();
    let before = house.records();
    let order = named("T-1").to_string();
    let chunked = format!("{:x}\r\n{order}\r\n0\r\n\r\n", order.len());
    for (lines, status, reason) in [
        ("Transfer-Encoding: gzip, chunked\r\n", 501, "coding_unknown"),
        ("Transfer-Encoding: GZIP,chunked\r\n", 501, "coding_unknown"),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501, "coding_unknown"),
        ("Transfer-Encoding: identity, chunked\r\n", 501, "coding_unknown"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400, "malformed"),
        ("Transfer-Encoding: chunked, chunked\r\n", 400, "malformed"),
        ("Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n", 400, "malformed"),
    ] {
        let (answer, closed) = told(&house, &sale("/v1/authorizations", "Host: a\r\n", lines, &chunked)).await;
        assert_eq!(answer.problem(), (status, reason.into(), String::new()), "{lines}");
        assert!(closed, "{lines}: what follows can't be told from the body");
    }
    // These the library refuses by itself, and without a body.
    for lines in ["Transfer-Encoding: gzip\r\n", "Transfer-Encoding: chunked, gzip\r\n", "Transfer-Encoding: x\r\n"] {
        let mut client = house.client().await;
        client.send(sale("/v1/authorizations", "Host: a\r\n", lines, &chunked).as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, client.is_closed().await), (400, true), "{lines}");
    }
    assert_eq!(house.records(), before, "nothing was recorded");
    let alone = sale("/v1/authorizations", "Host: a\r\n", "Transfer-Encoding: Chunked\r\n", &chunked);
    assert_eq!(told(&house, &alone).await.0.json()["decision"], "approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_of_one_kind() {
    let house = House::usual();
    let order = named("K-1").to_string();
    let length = format!("Content-Length: {}\r\n", order.len());
    let before = house.records();
    for other in ["text/plain", "application/json; charset=utf-8", ""] {
        let lines = format!("{length}Content-Type: {other}\r\n");
        let (answer, _) = told(&house, &sale("/v1/authorizations", "Host: a\r\n", &lines, &order)).await;
        assert_eq!(answer.problem(), (400, "malformed".into(), String::new()), "{other}");
    }
    assert_eq!(house.records(), before);
    let lines = format!("{length}Content-Type: application/json\r\n");
    let (answer, _) = told(&house, &sale("/v1/authorizations", "Host: a\r\n", &lines, &order)).await;
    assert_eq!(answer.json()["decision"], "approved", "said twice, it is said once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_address_is_a_target_and_other_forms_are_not() {
    let house = House::usual();
    let mut client = house.client().await;
    for (target, host) in [
        ("http://shop.example/livez", "Host: other.example\r\n"),
        ("HTTP://127.0.0.1:80/livez", "Host: a\r\n"),
        ("http://[::1]:8080/livez?", "Host: a\r\n"),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        assert_eq!(client.answer().await.json(), json!({"status": "ok"}), "{target}");
    }
    let order = named("A-1").to_string();
    let length = format!("Content-Length: {}\r\n", order.len());
    client.send(sale("http://a/v1/authorizations", "Host: a\r\n", &length, &order).as_bytes()).await;
    assert_eq!(client.answer().await.json()["decision"], "approved");
    client.send(b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.problem().0, 404, "the address alone is the path /");
    for (target, host) in [
        ("https://a/livez", "Host: a\r\n"),
        ("ftp://a/livez", "Host: a\r\n"),
        ("http://user@a/livez", "Host: a\r\n"),
        ("http://user:word@a/livez", "Host: a\r\n"),
        ("http://a/livez", ""),
        ("http://a/livez", "Host: a\r\nHost: a\r\n"),
        ("/livez", "Host: user@a\r\n"),
        ("/livez", "Host: a b\r\n"),
        ("/livez", "Host: a/livez\r\n"),
        ("a:80", "Host: a\r\n"),
        ("a", "Host: a\r\n"),
    ] {
        let mut client = house.client().await;
        client.send(format!("GET {target} HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        assert_eq!(client.answer().await.status, 400, "{target} {host}");
    }
    // A fragment is the caller's own (RFC 9112, section 3.2), also where it comes in pieces.
    for target in ["/livez#f", "/livez?#", "/livez#", "http://a/livez#f"] {
        for cut in [1, 6, 11, 40] {
            let mut client = house.client().await;
            let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let (begin, rest) = bytes.split_at(cut.min(bytes.len()));
            client.send(begin.as_bytes()).await;
            tokio::task::yield_now().await;
            client.send(rest.as_bytes()).await;
            let answer = client.answer().await;
            assert_eq!(answer.problem(), (400, "malformed".into(), String::new()), "{target}");
            assert!(answer.text().contains("without a fragment"), "{}", answer.text());
        }
    }
    let mut client = house.client().await;
    client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nReferer: http://a/#f\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200, "elsewhere it is nothing");
    for (line, status) in [("GET *", 400), ("OPTIONS *", 405), ("CONNECT a:80", 405), ("OPTIONS /v1/codes", 405)] {
        let mut client = house.client().await;
        client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.problem().0, status, "{line}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_body_is_refused_with_what_is_accepted() {
    let house = House::usual();
    let before = house.records();
    let order = named("C-1").to_string();
    let length = format!("Content-Length: {}\r\n", order.len());
    for coding in ["gzip", "br", "identity, gzip", "x-gzip"] {
        let lines = format!("{length}Content-Encoding: {coding}\r\n");
        let (answer, _) = told(&house, &sale("/v1/authorizations", "Host: a\r\n", &lines, &order)).await;
        assert_eq!(answer.problem(), (415, "unsupported_media_type".into(), String::new()), "{coding}");
        assert_eq!(answer.header("accept-encoding"), Some("identity"), "{coding}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("plain"), "{coding}");
    }
    assert_eq!(house.records(), before, "nothing was recorded");
    let lines = format!("{length}Content-Encoding: identity\r\n");
    let (answer, _) = told(&house, &sale("/v1/authorizations", "Host: a\r\n", &lines, &order)).await;
    assert_eq!(answer.json()["decision"], "approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_events_that_a_stop_cuts_says_that_more_is_there() {
    const EVENTS: u64 = 8_000;
    let mut house = House::usual();
    let at = Millis::parse("2026-11-23T17:45:00+09:00").unwrap();
    // More than the sockets hold between a service and a reader who does not read.
    let text: Box<str> = "x".repeat(4_000).into();
    let policy = |version| Event::PolicySet { version, text: text.clone() };
    house.events.lock().extend((1..=EVENTS).map(|lsn| (Lsn(lsn), at, policy(1))));
    let mut client = house.client().await;
    client.send(request("GET", "/v1/events?limit=100000", OPS, None).as_bytes()).await;
    assert_eq!(client.head().await.status, 200);
    house.stop();
    let rest = client.rest().await;
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "the end of a whole body");
    let end =
        rest.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok().filter(Value::is_object)).unwrap();
    assert_eq!(end["end"]["more"], true, "{end}");
    assert!(end["end"]["after"].as_u64().unwrap() < EVENTS, "{end}");
}

/// A path of the table with its names filled in.
fn concrete(path: &str) -> String {
    path.replace("{code_id}", "cod_00000000000000000000000000")
        .replace("{authorization_id}", "aut_00000000000000000000000000")
        .replace("{customer_id}", "1001")
        .replace("{month}", "2026-11")
        .replace(['{', '}'], "")
}

fn key_of(route: &Route) -> String {
    route.roles.first().map(|role| format!("sandbox-{}", role.name())).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_query_is_refused_by_every_call() {
    let house = House::usual();
    let before = house.records();
    for route in ROUTES {
        let path = format!("{}?dry_run=true", concrete(route.path));
        let mut client = house.client().await;
        let answer = client.call(route.method.as_str(), &path, &key_of(route), route.takes_body.then_some("{}")).await;
        // What can't be read as a file of lines is told before.
        if route.body().media_type == "application/json" {
            assert_eq!(answer.problem(), (422, "invalid_field".into(), "dry_run".into()), "{}", route.label);
        }
    }
    let sale = house.client().await.post("/v1/authorizations?x", REGISTER, &named("Q-1")).await;
    assert_eq!(sale.problem().2, "x");
    assert_eq!(house.client().await.get("/livez?", "").await.status, 200, "an empty query is none");
    assert_eq!(house.records(), before, "nothing was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_beyond_all_numbers_is_named_in_every_field() {
    let house = House::usual();
    let mut client = house.client().await;
    let before = house.records();
    let digits = "9".repeat(400);
    for number in [digits.as_str(), "1e400", "-1e400"] {
        for (method, path, key, body, field) in [
            (
                "POST",
                "/v1/authorizations",
                REGISTER,
                r#"{"order_id":"X","customer_id":"1001","channel":"online","amount":N,"merchant":{"id":"m"}}"#,
                "/amount",
            ),
            (
                "POST",
                "/v1/authorizations",
                REGISTER,
                r#"{"order_id":"X","code":"1","amount":1,"deadline_ms":N,"merchant":{"id":"m"}}"#,
                "/deadline_ms",
            ),
            ("POST", "/v1/authorizations", REGISTER, r#"{"order_id":N,"amount":1}"#, "/order_id"),
            ("POST", "/v1/authorizations/aut_x/captures", REGISTER, r#"{"amount":N}"#, "/amount"),
            ("POST", "/v1/authorizations/aut_x/refunds", OFFICE, r#"{"refund_id":"F","amount":N}"#, "/amount"),
            ("POST", "/v1/customers/1001/repayments", OFFICE, r#"{"repayment_id":"P","amount":N}"#, "/amount"),
            ("POST", "/v1/customers/1001/payouts", OFFICE, r#"{"payout_id":"P","amount":N}"#, "/amount"),
            ("PUT", "/v1/customers/1001", OFFICE, r#"{"limits":{"total":N,"in_store":1}}"#, "/limits/total"),
            (
                "PUT",
                "/v1/merchants/m",
                OFFICE,
                r#"{"name":"x","mcc":"5499","limits":{"in_store":N}}"#,
                "/limits/in_store",
            ),
            ("PUT", "/v1/merchants/m", OFFICE, r#"{"name":"x","mcc":N}"#, "/mcc"),
        ] {
            let answer = client.call(method, path, key, Some(&body.replace('N', number))).await;
            assert_eq!(answer.problem(), (422, "invalid_field".into(), field.into()), "{path} {body}");
        }
    }
    let deep = format!(r#"{{"items":[{{"name":{}"#, "[".repeat(5_000));
    assert_eq!(client.call("POST", "/v1/authorizations", REGISTER, Some(&deep)).await.problem().1, "malformed");
    assert_eq!(house.records(), before, "nothing was recorded");
    // The register's own figures are not judged, however large.
    let mut order = named("N-1").to_string();
    order.pop();
    order += &format!(r#","items":[{{"quantity":{digits},"unit_price":-1e400}}]}}"#);
    let bought = client.call("POST", "/v1/authorizations", REGISTER, Some(&order)).await;
    assert_eq!(bought.json()["decision"], "approved", "{bought:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn null_clears_what_a_customer_may_be_without() {
    let house = House::usual();
    let mut client = house.client().await;
    let path = "/v1/customers/3001";
    let all = json!({"identity": "rejected", "identity_reason": "blurred", "birth_date": "1990-04-01", "guardian_consent": true,
        "limits": {"total": 5_000, "in_store": 1_000}});
    let standing = client.put(path, OFFICE, &all).await.json();
    assert_eq!((&standing["birth_date"], &standing["minor"]), (&json!("1990-04-01"), &json!(false)));
    let kept = client.put(path, OFFICE, &json!({})).await.json();
    assert_eq!((&kept["birth_date"], &kept["identity_reason"]), (&json!("1990-04-01"), &json!("blurred")));
    let cleared = client.put(path, OFFICE, &json!({"birth_date": null})).await.json();
    assert_eq!((&cleared["birth_date"], &cleared["minor"]), (&json!(null), &json!(true)));
    assert_eq!(cleared["identity_reason"], "blurred", "and nothing else");
    let rest = json!({"identity_reason": null, "limits": null});
    let cleared = client.put(path, OFFICE, &rest).await.json();
    assert_eq!((&cleared["identity_reason"], &cleared["limits_from"]), (&json!(null), &json!("ladder")));
    assert_eq!(client.get(path, OFFICE).await.json()["birth_date"], json!(null));
    for always in ["identity", "guardian_consent", "payment_method", "status"] {
        let answer = client.put(path, OFFICE, &json!({ always: null })).await;
        assert_eq!(answer.problem(), (422, "invalid_field".into(), format!("/{always}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_went_through_the_engine_says_where_its_time_went() {
    let house = House::usual();
    let mut client = house.client().await;
    let code = client.code("1001").await;
    let bought = client.post("/v1/authorizations", REGISTER, &purchase("S-1", &code, 500)).await;
    let id = bought.json()["authorization_id"].as_str().unwrap().to_owned();
    let of_sale = |rest: &str| format!("/v1/authorizations/{id}{rest}");
    let mirror = format!("/v1/codes/{}", code["code_id"].as_str().unwrap());
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "S-9"});
    let slip = json!({"kind": "app_barcode"});
    let block = json!({"block_id": "B-1", "reason": "x"});
    let pay = json!({"repayment_id": "P-1", "amount": 10});
    let asked: Vec<(&str, String, &str, Option<Value>, bool)> = vec![
        ("POST", "/v1/authorizations".into(), REGISTER, Some(purchase("S-1", &code, 500)), true),
        ("POST", "/v1/authorizations".into(), REGISTER, Some(purchase("S-1", &code, 501)), true),
        ("POST", "/v1/codes".into(), WALLET, Some(json!({"customer_id": "1001"})), true),
        ("POST", "/v1/codes".into(), WALLET, Some(json!({"customer_id": "1006"})), true),
        ("GET", mirror.clone(), WALLET, None, true),
        ("GET", format!("{mirror}/qr.svg"), WALLET, None, true),
        ("DELETE", mirror, WALLET, None, true),
        ("GET", of_sale(""), OFFICE, None, true),
        ("GET", "/v1/authorizations?merchant_id=m&order_id=nothing".into(), OFFICE, None, true),
        ("POST", of_sale("/captures"), REGISTER, Some(json!({"amount": 500})), true),
        ("POST", of_sale("/refunds"), OFFICE, Some(json!({"refund_id": "F", "amount": 5})), true),
        ("POST", of_sale("/refunds"), OFFICE, Some(json!({"refund_id": "G", "amount": 5_000})), true),
        ("POST", "/v1/cancellations".into(), REGISTER, Some(cancel), true),
        ("PUT", "/v1/customers/1001".into(), OFFICE, Some(json!({})), true),
        ("PUT", "/v1/customers/1001/payment-method".into(), WALLET, Some(json!({"payment_method": "konbini"})), true),
        ("PUT", "/v1/merchants/mrc_x".into(), OFFICE, Some(json!({"name": "x", "mcc": "5499"})), true),
        ("GET", "/v1/customers/1001/statements".into(), OFFICE, None, true),
        ("GET", "/v1/customers/1001/history".into(), OFFICE, None, true),
        ("POST", "/v1/customers/1001/payment-slips".into(), OFFICE, Some(slip), true),
        ("POST", "/v1/customers/1001/blocks".into(), OFFICE, Some(block), true),
        ("POST", "/v1/customers/1001/repayments".into(), OFFICE, Some(pay), true),
        ("GET", "/v1/customers/1001/credit".into(), OFFICE, None, true),
        // Nobody asked the engine.
        ("POST", "/v1/authorizations".into(), REGISTER, Some(json!({})), false),
        ("GET", "/v1/codes/cod_x".into(), WALLET, None, false),
        ("GET", "/livez".into(), "", None, false),
        ("GET", "/readyz".into(), "", None, false),
        ("GET", "/v1/events".into(), OPS, None, false),
    ];
    for (method, path, key, body, went) in asked {
        let body = body.map(|body| body.to_string());
        client.send(request(method, &path, key, body.as_deref()).as_bytes()).await;
        let answer = client.answer().await;
        let timing = answer.header("server-timing");
        assert_eq!(timing.is_some(), went, "{method} {path} {body:?}: {answer:?}");
        for stage in ["parse;dur=", "queue;dur=", "decide;dur=", "journal;dur=", "answer;dur="] {
            assert!(timing.is_none_or(|timing| timing.matches(stage).count() == 1), "{method} {path}: {timing:?}");
        }
    }
}

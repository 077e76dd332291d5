//! What a clerk and a customer read, over real sockets: the order's present status, the next step of an identity, and why a
//! code was voided.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod http_support;

use http_support::{Client, House, Plan, purchase};
use serde_json::{Value, json};
use sokketsu::clock::Clock;
use sokketsu::domain::model::denial::Reason;
use sokketsu::domain::model::order::OrderStatus;
use sokketsu::domain::model::wording::of_status;

const REGISTER: &str = "sandbox-register";
const WALLET: &str = "sandbox-wallet";
const OFFICE: &str = "sandbox-office";
const OPS: &str = "sandbox-ops";

/// A sale or a hold; its body to be sent again, and its first answer.
async fn sell(client: &mut Client, customer: &str, order_id: &str, capture: bool) -> (Value, Value) {
    let code = client.code(customer).await;
    let mut body = purchase(order_id, &code, 1_000);
    body["capture"] = json!(capture);
    let first = client.post("/v1/authorizations", REGISTER, &body).await.json();
    (body, first)
}

/// Retry, inquiry by id, inquiry by key: each with this status, and words that hold all of `said` and none of "complete".
async fn told_alike(client: &mut Client, body: &Value, first: &Value, status: &str, said: [&str; 2]) {
    let id = first["authorization_id"].as_str().unwrap();
    let order_id = body["order_id"].as_str().unwrap();
    let by_key = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={order_id}");
    let answers = [
        client.post("/v1/authorizations", REGISTER, body).await.json(),
        client.get(&format!("/v1/authorizations/{id}"), REGISTER).await.json(),
        client.get(&by_key, REGISTER).await.json(),
    ];
    for answer in answers {
        assert_eq!((&answer["status"], &answer["replayed"]), (&json!(status), &json!(true)), "{answer}");
        speaks(&answer, status, said);
        for kept in ["amount", "decided_at", "points"] {
            if answer["decision"] == first["decision"] {
                assert_eq!(answer[kept], first[kept], "{kept} as first given");
            }
        }
    }
}

fn speaks(answer: &Value, status: &str, [ja, en]: [&str; 2]) {
    let (clerk, english) = (answer["clerk"]["ja"].as_str().unwrap(), answer["clerk"]["en"].as_str().unwrap());
    assert!(clerk.contains(ja) && english.contains(en), "{status}: {answer}");
    assert_eq!(clerk.contains("完了しました"), status == "captured", "{status}: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clerk_is_told_the_present_status_in_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::sandbox(folder.path(), None).unwrap();
    let house = House::open(Plan { clock: Some(clock), ..Plan::default() });
    let mut client = house.client().await;
    let (done, held) = (["完了しました", "complete"], ["仮売上", "not complete yet"]);

    let (body, first) = sell(&mut client, "2000", "W-1", true).await;
    speaks(&first, "captured", done);
    told_alike(&mut client, &body, &first, "captured", done).await;
    let refunds = format!("/v1/authorizations/{}/refunds", first["authorization_id"].as_str().unwrap());
    assert_eq!(client.post(&refunds, REGISTER, &json!({"refund_id": "F-1", "amount": 400})).await.status, 200);
    told_alike(&mut client, &body, &first, "partially_refunded", ["一部返金", "in part"]).await;
    assert_eq!(client.post(&refunds, REGISTER, &json!({"refund_id": "F-2", "amount": 600})).await.status, 200);
    told_alike(&mut client, &body, &first, "refunded", ["全額返金", "in full"]).await;

    let (body, first) = sell(&mut client, "2001", "W-2", true).await;
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "W-2"});
    assert_eq!(client.post("/v1/cancellations", REGISTER, &cancel).await.status, 200);
    told_alike(&mut client, &body, &first, "cancelled", ["取消済み", "cancelled"]).await;

    let (body, first) = sell(&mut client, "2002", "W-3", false).await;
    speaks(&first, "authorized", held);
    told_alike(&mut client, &body, &first, "authorized", held).await;
    let captures = format!("/v1/authorizations/{}/captures", first["authorization_id"].as_str().unwrap());
    for _ in 0..2 {
        speaks(&client.post(&captures, REGISTER, &json!({"amount": 1_000})).await.json(), "captured", done);
    }
    told_alike(&mut client, &body, &first, "captured", done).await;
    let refunds = captures.replace("captures", "refunds");
    assert_eq!(client.post(&refunds, REGISTER, &json!({"refund_id": "F-3", "amount": 1_000})).await.status, 200);
    speaks(
        &client.post(&captures, REGISTER, &json!({"amount": 1_000})).await.json(),
        "refunded",
        ["返金済み", "refunded"],
    );

    let (body, first) = sell(&mut client, "1001", "W-4", true).await;
    speaks(&first, "captured", done);
    let mut other = body.clone();
    other["order_id"] = json!("W-5");
    let used = client.post("/v1/authorizations", REGISTER, &other).await.json();
    speaks(&used, "denied", ["使用済み", "already used"]);
    told_alike(&mut client, &other, &used, "denied", ["使用済み", "already used"]).await;

    // Last, because the clock goes forward only.
    let (body, first) = sell(&mut client, "2003", "W-6", false).await;
    speaks(&first, "authorized", held);
    let decided = sokketsu::domain::model::time::Millis::parse(first["decided_at"].as_str().unwrap()).unwrap();
    let later = decided.plus(8 * 24 * 3_600_000).to_string();
    assert_eq!(client.post("/sandbox/clock", OPS, &json!({ "now": later })).await.status, 200);
    told_alike(&mut client, &body, &first, "expired", ["期限が切れた", "run out"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_an_identity_has_its_next_step() {
    let house = House::usual();
    let mut client = house.client().await;
    let code = client.code("2000").await;
    let mirror = format!("/v1/codes/{}", code["code_id"].as_str().unwrap());
    let mut seen = Vec::new();
    for (identity, reason, holds) in [
        ("unverified", json!(null), "お済ませ"),
        ("pending", json!(null), "審査中"),
        ("rejected", json!("書類不鮮明"), "書類不鮮明"),
        ("rejected", json!("生年月日不一致"), "生年月日不一致"),
    ] {
        let mut change = json!({ "identity": identity });
        if reason.is_string() {
            change["identity_reason"] = reason;
        }
        assert_eq!(client.put("/v1/customers/2000", OFFICE, &change).await.status, 200);
        let refused = client.post("/v1/codes", WALLET, &json!({"customer_id": "2000"})).await;
        assert_eq!(refused.problem().1, "identity_required");
        let step = refused.json()["next_step"].clone();
        assert!(step["ja"].as_str().unwrap().contains(holds), "{step}");
        assert!(!seen.contains(&step), "{identity}");

        let order = purchase(&format!("I-{}", seen.len()), &code, 500);
        let denied = client.post("/v1/authorizations", REGISTER, &order).await.json();
        assert_eq!(denied["reason"], "identity_required");
        assert!(!denied.to_string().contains("本人") && !denied.to_string().contains("不"), "{denied}");
        let shown = client.get(&mirror, WALLET).await.json();
        assert_eq!(shown["last_attempt"]["customer"], step);
        seen.push(step);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voided_code_says_why_to_its_phone_and_nothing_to_the_clerk() {
    let house = House::usual();
    let mut client = house.client().await;
    let by_newer = client.code("2000").await;
    client.code("2000").await;
    let by_customer = client.code("2001").await;
    let path = |code: &Value| format!("/v1/codes/{}", code["code_id"].as_str().unwrap());
    assert_eq!(client.get(&path(&by_customer), WALLET).await.json()["voided_by"], json!(null));
    client.call("DELETE", &path(&by_customer), WALLET, None).await;
    let by_seals = client.code("2002").await;
    for guess in 0..3 {
        let mut digits = by_seals["barcode"].as_str().unwrap().as_bytes().to_vec();
        let last = digits.last_mut().unwrap();
        *last = b'0' + (*last - b'0' + 1 + guess) % 10;
        let mut order = purchase(&format!("S-{guess}"), &by_seals, 500);
        order["code"] = json!(String::from_utf8(digits).unwrap());
        assert_eq!(client.post("/v1/authorizations", REGISTER, &order).await.json()["reason"], "code_invalid");
    }
    let mut clerks = Vec::new();
    for (at, (code, why, holds)) in [
        (by_newer, "newer_code", "最新のコード"),
        (by_customer, "customer", "アプリでの操作"),
        (by_seals, "wrong_seals", "安全のため"),
    ]
    .into_iter()
    .enumerate()
    {
        let denied =
            client.post("/v1/authorizations", REGISTER, &purchase(&format!("V-{at}"), &code, 500)).await.json();
        assert_eq!(denied["reason"], "code_voided");
        clerks.push(denied["clerk"].clone());
        let shown = client.get(&path(&code), WALLET).await.json();
        assert_eq!((&shown["status"], &shown["voided_by"]), (&json!("voided"), &json!(why)));
        assert!(shown["last_attempt"]["customer"]["ja"].as_str().unwrap().contains(holds), "{shown}");
    }
    assert!(clerks.iter().all(|clerk| *clerk == clerks[0]), "{clerks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_scanned_again_says_that_it_has_paid_only_while_its_sale_is_paid() {
    let house = House::usual();
    let mut client = house.client().await;
    let cancel = |order_id: &str| json!({"merchant_id": "mrc_konbini", "order_id": order_id});
    for (customer, capture) in [("2000", true), ("2001", false), ("2002", true)] {
        let code = client.code(customer).await;
        let mirror = format!("/v1/codes/{}", code["code_id"].as_str().unwrap());
        let order_id = format!("A-{customer}");
        let mut body = purchase(&order_id, &code, 1_000);
        body["capture"] = json!(capture);
        let sold = client.post("/v1/authorizations", REGISTER, &body).await.json();
        assert_eq!(sold["decision"], "approved");
        let again = purchase(&format!("B-{customer}"), &code, 1_000);
        assert_eq!(client.post("/v1/authorizations", REGISTER, &again).await.json()["reason"], "code_used");
        let refunds = format!("/v1/authorizations/{}/refunds", sold["authorization_id"].as_str().unwrap());
        let speaks = async |client: &mut Client, ja: &str, en: &str| {
            let told = client.get(&mirror, WALLET).await.json()["last_attempt"]["customer"].clone();
            let (japanese, english) = (told["ja"].as_str().unwrap(), told["en"].as_str().unwrap());
            assert!(japanese.contains(ja) && english.contains(en), "{told}");
            assert!(japanese.contains("サンプルコンビニ") && english.contains("サンプルコンビニ"), "{told}");
            let is_paid = en.contains("has already paid");
            assert_eq!(english.contains("has already paid"), is_paid, "{told}");
            assert_eq!(japanese.contains("お支払いに使われ"), is_paid, "{told}");
        };
        if capture {
            speaks(&mut client, "お支払いに使われました", "has already paid").await;
        } else {
            speaks(&mut client, "まだ確定していません", "not charged yet").await;
        }
        match customer {
            "2000" | "2001" => {
                assert_eq!(client.post("/v1/cancellations", REGISTER, &cancel(&order_id)).await.status, 200);
                speaks(&mut client, "取り消されたため、ご請求はありません", "was cancelled, and nothing is charged")
                    .await;
            }
            _ => {
                let refund = json!({"refund_id": "F-1", "amount": 400});
                assert_eq!(client.post(&refunds, REGISTER, &refund).await.status, 200);
                speaks(&mut client, "一部は返金されました", "has already paid").await;
                let refund = json!({"refund_id": "F-2", "amount": 600});
                assert_eq!(client.post(&refunds, REGISTER, &refund).await.status, 200);
                speaks(&mut client, "全額返金されました", "refunded in full").await;
            }
        }
    }
}

/// Every clerk's text in the examples of the API's description, with the reason beside it.
fn examples(value: &Value, found: &mut Vec<(Value, Value)>) {
    match value {
        Value::Object(members) => {
            if members.get("clerk").is_some_and(|clerk| clerk["ja"].is_string()) {
                found.push((value["reason"].clone(), value["clerk"].clone()));
            }
            members.values().for_each(|member| examples(member, found));
        }
        Value::Array(list) => list.iter().for_each(|member| examples(member, found)),
        _ => {}
    }
}

#[test]
fn the_examples_of_the_api_have_the_words_of_the_table() {
    let file: Value = serde_json::from_str(sokketsu::http::OPENAPI).unwrap();
    let mut found = Vec::new();
    examples(&file, &mut found);
    assert!(found.len() > 2, "{found:?}");
    for (reason, clerk) in found {
        let words = reason.as_str().map_or_else(
            || of_status(OrderStatus::Captured).unwrap(),
            |name| Reason::ALL.into_iter().find(|reason| reason.name() == name).unwrap().row().clerk,
        );
        assert_eq!(clerk, json!({"ja": words.ja, "en": words.en}), "{reason}");
    }
}

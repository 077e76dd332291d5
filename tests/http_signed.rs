//! Signed requests over HTTP: a key that signs is refused whatever is not signed, and other keys notice nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod http_support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};
use sokketsu::clock::Clock;

use http_support::{Answer, Client, House, SIGNATURE_SECRET, purchase};

/// What a signature says about its time and its nonce.
struct Stamp {
    created: i64,
    nonce: String,
}

fn stamp(seconds_ago: i64, nonce: &str) -> Stamp {
    Stamp { created: Clock::system().now().0 / 1_000 - seconds_ago, nonce: nonce.to_owned() }
}

/// A request with its signature, as `docs/signing.md` tells integrators to make it.
fn signed(method: &str, target: &str, body: &str, stamp: &Stamp) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut covered = String::from("\"@method\" \"@path\"");
    let mut base = format!("\"@method\": {method}\n\"@path\": {path}\n");
    if let Some(query) = query {
        covered += " \"@query\"";
        base += &format!("\"@query\": ?{query}\n");
    }
    covered += " \"authorization\"";
    base += "\"authorization\": Bearer signed-key\n";
    let mut headers = String::from("Host: sokketsu\r\nAuthorization: Bearer signed-key\r\n");
    if !body.is_empty() {
        let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body.as_bytes())));
        covered += " \"content-digest\"";
        base += &format!("\"content-digest\": {digest}\n");
        let length = body.len();
        headers +=
            &format!("Content-Type: application/json\r\nContent-Length: {length}\r\nContent-Digest: {digest}\r\n");
    }
    let Stamp { created, nonce } = stamp;
    let input = format!("({covered});created={created};nonce=\"{nonce}\";keyid=\"pos\";alg=\"hmac-sha256\"");
    base += &format!("\"@signature-params\": {input}");
    let mut mac = Hmac::<Sha256>::new_from_slice(SIGNATURE_SECRET).unwrap();
    mac.update(base.as_bytes());
    let tag = STANDARD.encode(mac.finalize().into_bytes());
    format!(
        "{method} {target} HTTP/1.1\r\n{headers}Signature-Input: sig1={input}\r\nSignature: sig1=:{tag}:\r\n\r\n{body}"
    )
}

async fn send(client: &mut Client, request: &str) -> Answer {
    client.send(request.as_bytes()).await;
    client.answer().await
}

/// The reason of a refusal for its signature, which is told with what to sign.
fn refusal(answer: &Answer) -> String {
    let (status, reason, _) = answer.problem();
    assert_eq!(status, 401, "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"sokketsu\""));
    let accept = answer.header("accept-signature").unwrap();
    assert!(accept.contains("\"@method\" \"@path\"") && accept.contains("keyid=\"pos\""), "{accept}");
    reason
}

#[tokio::test]
async fn a_signed_purchase_is_decided_once_and_its_retry_signed_anew_is_replayed() {
    let house = House::usual();
    let mut client = house.client().await;
    let body = purchase("S-1", &client.code("2000").await, 1_000).to_string();
    let request = signed("POST", "/v1/authorizations", &body, &stamp(0, "nonce-0001"));
    let first = send(&mut client, &request).await;
    assert_eq!((first.status, &first.json()["decision"]), (200, &json!("approved")), "{first:?}");
    let records = house.records();
    assert_eq!(refusal(&send(&mut client, &request).await), "signature_replayed");
    let retry = signed("POST", "/v1/authorizations", &body, &stamp(0, "nonce-0002"));
    let retry = send(&mut client, &retry).await;
    assert_eq!((retry.status, &retry.json()["replayed"]), (200, &json!(true)));
    let target = "/v1/authorizations?merchant_id=mrc_konbini&order_id=S-1";
    let inquiry = send(&mut client, &signed("GET", target, "", &stamp(0, "nonce-0003"))).await;
    assert_eq!((inquiry.status, &inquiry.json()["status"]), (200, &json!("captured")));
    assert_eq!(house.records(), records, "nothing was decided twice");
}

#[tokio::test]
async fn what_is_unsigned_altered_or_stale_is_refused_and_nothing_is_recorded() {
    let house = House::usual();
    let mut client = house.client().await;
    let body = purchase("S-2", &client.code("2001").await, 1_000).to_string();
    let records = house.records();
    let unsigned = client.call("POST", "/v1/authorizations", "signed-key", Some(&body)).await;
    assert_eq!(refusal(&unsigned), "signature_missing");
    assert!(unsigned.header("accept-signature").unwrap().contains("\"content-digest\""));

    let request = signed("POST", "/v1/authorizations", &body, &stamp(0, "nonce-0001"));
    for (from, to) in [("\"amount\":1000", "\"amount\":9000"), ("Signature: sig1=:", "Signature: sig1=:AAAA")] {
        let altered = request.replacen(from, to, 1);
        assert_ne!(altered, request, "{from}");
        assert_eq!(refusal(&send(&mut client, &altered).await), "signature_invalid", "{from}");
    }
    let another_call = request.replacen("POST /v1/authorizations", "POST /v1/cancellations", 1);
    assert_eq!(refusal(&send(&mut client, &another_call).await), "signature_invalid");
    for ago in [65, -65] {
        let stale = signed("POST", "/v1/authorizations", &body, &stamp(ago, "nonce-0002"));
        assert_eq!(refusal(&send(&mut client, &stale).await), "signature_stale", "{ago} s ago");
    }
    assert_eq!(house.records(), records);
    assert_eq!(send(&mut client, &request).await.status, 200, "nothing of it used up the nonce");
}

#[tokio::test]
async fn the_signature_is_judged_before_the_role_and_the_body() {
    let house = House::usual();
    let mut client = house.client().await;
    let unsigned = client.call("POST", "/v1/codes", "signed-key", Some("{}")).await;
    assert_eq!(refusal(&unsigned), "signature_missing");
    let role = send(&mut client, &signed("POST", "/v1/codes", "{}", &stamp(0, "nonce-0001"))).await;
    assert_eq!(role.problem().1, "forbidden");
    let nonsense = client.call("POST", "/v1/authorizations", "signed-key", Some("{")).await;
    assert_eq!(refusal(&nonsense), "signature_missing");
    let nonsense = send(&mut client, &signed("POST", "/v1/authorizations", "{", &stamp(0, "nonce-0002"))).await;
    assert_eq!(nonsense.problem().1, "malformed");
}

#[tokio::test]
async fn a_key_that_does_not_sign_is_not_asked_to() {
    let house = House::usual();
    let mut client = house.client().await;
    assert_eq!(client.buy("2002", "S-3", 1_000).await["decision"], "approved");
    // A signature that nobody asked for is not looked at.
    let body = purchase("S-4", &client.code("2003").await, 1_000).to_string();
    let request = signed("POST", "/v1/authorizations", &body, &stamp(500, "nonce-0001"));
    let answer = send(&mut client, &request.replacen("signed-key", "sandbox-register", 1)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

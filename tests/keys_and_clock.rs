//! Keys that were rotated and a clock that was set back, through the whole service: over HTTP and over the network's link.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

mod http_support;
#[path = "service/iso.rs"]
mod iso;

use http_support::{Client, House, Plan, purchase};
use iso::{Peer, Text, sale};
use serde_json::{Value, json};
use sokketsu::code::{Form, GenerationKeys, Issuers, KeyState, Keyring, Minted, SecretKey, mint};
use sokketsu::domain::model::ids::Handle;
use sokketsu::domain::model::time::{MINUTE, Millis};
use sokketsu::link::Options;

const REGISTER: &str = "sandbox-register";

async fn pay(client: &mut Client, order: &str, scan: &str, terminal: &str) -> Value {
    let merchant = json!({"id": "mrc_konbini", "terminal_id": terminal});
    let body = json!({"order_id": order, "code": scan, "amount": 100, "merchant": merchant, "confirm_repeat": true});
    client.post("/v1/authorizations", REGISTER, &body).await.json()
}

/// One message over the link, which has a client of its own that blocks.
async fn by_link(house: &House, message: Text) -> Text {
    let address = house.link.unwrap();
    tokio::task::spawn_blocking(move || Peer::to(address).ask(&message)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_clock_was_set_back_codes_pay_as_before() {
    let house = House::open(Plan { ahead: 25 * MINUTE, link: Some(Options::default()), ..Plan::default() });
    let mut client = house.client().await;
    // More than shut a till, had they been taken for forged ones.
    for n in 0..7 {
        let code = client.code(&(2_000 + n).to_string()).await;
        let scan = code[if n % 2 == 0 { "barcode" } else { "qr" }].as_str().unwrap();
        let answer = pay(&mut client, &format!("R-{n}"), scan, "T01").await;
        assert_eq!(answer["decision"], "approved", "{answer}");
        let mirror = format!("/v1/codes/{}", code["code_id"].as_str().unwrap());
        assert_eq!(client.get(&mirror, "sandbox-wallet").await.json()["status"], "used");
    }
    for n in 7..14 {
        let code = client.code(&(2_000 + n).to_string()).await;
        let scan = code[if n % 2 == 0 { "barcode" } else { "qr" }].as_str().unwrap();
        let answer = by_link(&house, sale(n, scan, 100)).await;
        assert_eq!(answer.code(), "00", "{answer:?}");
    }
    // What is shown is of the same time.
    let old = client.get(&format!("/v1/authorizations/{}", house.old.id), REGISTER).await;
    assert_eq!(old.status, 200);
    let shown = client.buy("2015", "R-15", 100).await;
    let at = Millis::parse(shown["decided_at"].as_str().unwrap()).unwrap();
    assert!(at > sokketsu::clock::Clock::system().now().plus(20 * MINUTE), "{shown}");
}

fn keys(seed: u8) -> SecretKey {
    SecretKey::new(std::array::from_fn(|at| seed ^ u8::try_from(at).unwrap()))
}

fn rotated() -> Keyring {
    let old = GenerationKeys::new(0, KeyState::VerifyOnly, keys(0x40), keys(0x80));
    Keyring::new([old, GenerationKeys::new(1, KeyState::Active, keys(0x60), keys(0xA0))]).unwrap()
}

/// The code of the wallet's answer sealed again with the old keys, as one can who knows them and saw the phone's screen.
fn sealed_with_old_keys(code: &Value) -> Minted {
    use base64::Engine as _;
    let barcode = code["barcode"].as_str().unwrap();
    let handle = Handle::new(barcode[9..18].parse().unwrap()).unwrap();
    let qr = base64::engine::general_purpose::STANDARD.decode(code["qr"].as_str().unwrap()).unwrap();
    // 9F36 02 counter, 9F37 04 random: the first two objects of template 63.
    let at = qr.windows(3).position(|window| window == [0x9F, 0x36, 2]).unwrap();
    let counter = u16::from_be_bytes(qr[at + 3..at + 5].try_into().unwrap());
    let random = u32::from_be_bytes(qr[at + 8..at + 12].try_into().unwrap());
    let issued = Millis::parse(code["issued_at"].as_str().unwrap()).unwrap().0;
    let issuers = Issuers::sandbox();
    let issuer = issuers.issuer(Form::L24).unwrap();
    mint(&rotated(), 0, &issuer, handle, issued, 300, counter, random).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_of_keys_that_leaked_pays_nothing_and_is_counted() {
    let house = House::open(Plan { keyring: rotated(), link: Some(Options::default()), ..Plan::default() });
    let mut client = house.client().await;
    let mirror = async |client: &mut Client, code: &Value| {
        let path = format!("/v1/codes/{}", code["code_id"].as_str().unwrap());
        client.get(&path, "sandbox-wallet").await.json()["status"].clone()
    };
    let code = client.code("2001").await;
    let forged = sealed_with_old_keys(&code);
    for (n, scan) in [&forged.barcode, &forged.qr].into_iter().enumerate() {
        let answer = pay(&mut client, &format!("L-{n}"), scan, "T01").await;
        assert_eq!((&answer["decision"], &answer["reason"]), (&json!("denied"), &json!("code_invalid")), "{answer}");
    }
    assert_eq!(mirror(&mut client, &code).await, "live");
    // The third, by the link, voids it.
    let answer = by_link(&house, sale(1, &forged.barcode, 100)).await;
    assert_eq!((answer.code(), &answer.get(44)[..4]), ("14", "1401"), "{answer:?}");
    assert_eq!(mirror(&mut client, &code).await, "voided");

    // An advice with one is charged to nobody.
    let code = client.code("2002").await;
    let advice = sale(2, &sealed_with_old_keys(&code).qr, 100).with(&[(48, "R91011")]).as_type("0220");
    let order = advice.order_id();
    assert_eq!(by_link(&house, advice).await.code(), "00");
    let told =
        client.get(&format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={order}"), REGISTER).await.json();
    assert_eq!((&told["decision"], &told["statement"]), (&json!("approved"), &Value::Null), "in suspense: {told}");

    // Five a minute of one till; also of handles that nobody has, where the old keys make any seal.
    let issuers = Issuers::sandbox();
    let issuer = issuers.issuer(Form::L24).unwrap();
    let now = sokketsu::clock::Clock::system().now().0;
    for n in 0..5 {
        let handle = Handle::new(900_000_000 + n).unwrap();
        let minted = mint(&rotated(), 0, &issuer, handle, now, 300, 1, 2).unwrap();
        let scan = if n % 2 == 0 { minted.barcode } else { minted.qr };
        let answer = pay(&mut client, &format!("G-{n}"), &scan, "T02").await;
        assert_eq!(answer["reason"], "code_invalid", "{answer}");
    }
    let code = client.code("2003").await;
    let scan = code["barcode"].as_str().unwrap();
    assert_eq!(pay(&mut client, "G-5", scan, "T02").await["reason"], "too_many_bad_codes");
    let answer = client.post("/v1/authorizations", REGISTER, &purchase("G-6", &code, 100)).await.json();
    assert_eq!(answer["decision"], "approved", "another till: {answer}");
}
